// Integers: 64-bit ones as pairs of words, low first; division and shifts by the rules of the op set.

fn i_div(a: i32, b: i32) -> i32 {
    if (b == 0) {
        return 0;
    }
    if (b == -1) {
        return 0 - a;
    }
    return a / b;
}

fn i_rem(a: i32, b: i32) -> i32 {
    if (b == 0 || b == -1) {
        return 0;
    }
    return a % b;
}

fn i_shl(a: i32, b: i32) -> i32 {
    return select(0, a << (u32(b) & 31u), b >= 0 && b < 32);
}

fn i_shr(a: i32, b: i32) -> i32 {
    return a >> select(31u, u32(b) & 31u, b >= 0 && b < 32);
}

fn i_pow(x: i32, y: i32) -> i32 {
    if (y < 0) {
        return select(select(0, 1 - 2 * (y & 1), x == -1), 1, x == 1);
    }
    return bitcast<i32>(u_pow(bitcast<u32>(x), bitcast<u32>(y)));
}

fn u_div(a: u32, b: u32) -> u32 {
    if (b == 0u) {
        return 0u;
    }
    return a / b;
}

fn u_rem(a: u32, b: u32) -> u32 {
    if (b == 0u) {
        return 0u;
    }
    return a % b;
}

fn u_shl(a: u32, b: u32) -> u32 {
    return select(0u, a << (b & 31u), b < 32u);
}

fn u_shr(a: u32, b: u32) -> u32 {
    return select(0u, a >> (b & 31u), b < 32u);
}

fn u_pow(x: u32, y: u32) -> u32 {
    var r = 1u;
    var b = x;
    var e = y;
    while (e > 0u) {
        if ((e & 1u) == 1u) {
            r = r * b;
        }
        b = b * b;
        e = e >> 1u;
    }
    return r;
}

// The 64-bit product of two words.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let ll = al * bl;
    let lh = al * bh;
    let hl = ah * bl;
    let mid = (ll >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);
    return vec2<u32>(a * b, ah * bh + (lh >> 16u) + (hl >> 16u) + (mid >> 16u));
}

fn l_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let x = a.x + b.x;
    return vec2<u32>(x, a.y + b.y + select(0u, 1u, x < a.x));
}

fn l_neg(a: vec2<u32>) -> vec2<u32> {
    let x = ~a.x + 1u;
    return vec2<u32>(x, ~a.y + select(0u, 1u, x == 0u));
}

fn l_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn l_mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let w = mul_wide(a.x, b.x);
    return vec2<u32>(w.x, w.y + a.x * b.y + a.y * b.x);
}

fn l_eq(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x == b.x && a.y == b.y;
}

fn l_lt(a: vec2<u32>, b: vec2<u32>) -> bool {
    return bitcast<i32>(a.y) < bitcast<i32>(b.y) || (a.y == b.y && a.x < b.x);
}

fn l_max(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, l_lt(a, b));
}

fn l_min(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(b, a, l_lt(a, b));
}

fn l_abs(a: vec2<u32>) -> vec2<u32> {
    return select(a, l_neg(a), bitcast<i32>(a.y) < 0);
}

fn l_sign(a: vec2<u32>) -> vec2<u32> {
    if (bitcast<i32>(a.y) < 0) {
        return vec2<u32>(0xffffffffu, 0xffffffffu);
    }
    return vec2<u32>(select(0u, 1u, (a.x | a.y) != 0u), 0u);
}

fn l_shl(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if (b.y != 0u || b.x >= 64u) {
        return vec2<u32>(0u, 0u);
    }
    if (b.x >= 32u) {
        return vec2<u32>(0u, a.x << (b.x - 32u));
    }
    if (b.x == 0u) {
        return a;
    }
    return vec2<u32>(a.x << b.x, (a.y << b.x) | (a.x >> (32u - b.x)));
}

fn l_shr(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let high = bitcast<i32>(a.y);
    let fill = bitcast<u32>(high >> 31u);
    if (b.y != 0u || b.x >= 64u) {
        return vec2<u32>(fill, fill);
    }
    if (b.x >= 32u) {
        return vec2<u32>(bitcast<u32>(high >> (b.x - 32u)), fill);
    }
    if (b.x == 0u) {
        return a;
    }
    return vec2<u32>((a.x >> b.x) | (a.y << (32u - b.x)), bitcast<u32>(high >> b.x));
}

// Quotient (first two words) and remainder of unsigned numbers; b is not 0.
fn ul_divide(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    if (a.y == 0u && b.y == 0u) {
        return vec4<u32>(a.x / b.x, 0u, a.x % b.x, 0u);
    }
    var q = vec2<u32>(0u, 0u);
    var r = vec2<u32>(0u, 0u);
    for (var i = 63; i >= 0; i = i - 1) {
        let top = (r.y >> 31u) == 1u;
        let bit = select(a.x >> u32(i & 31), a.y >> u32(i & 31), i >= 32) & 1u;
        r = vec2<u32>((r.x << 1u) | bit, (r.y << 1u) | (r.x >> 31u));
        let below = r.y < b.y || (r.y == b.y && r.x < b.x);
        if (top || !below) {
            r = l_sub(r, b);
            if (i >= 32) {
                q.y = q.y | (1u << u32(i - 32));
            } else {
                q.x = q.x | (1u << u32(i));
            }
        }
    }
    return vec4<u32>(q.x, q.y, r.x, r.y);
}

fn l_div(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if ((b.x | b.y) == 0u) {
        return vec2<u32>(0u, 0u);
    }
    let q = ul_divide(l_abs(a), l_abs(b)).xy;
    return select(q, l_neg(q), ((a.y ^ b.y) >> 31u) == 1u);
}

fn l_rem(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if ((b.x | b.y) == 0u) {
        return vec2<u32>(0u, 0u);
    }
    let r = ul_divide(l_abs(a), l_abs(b)).zw;
    return select(r, l_neg(r), (a.y >> 31u) == 1u);
}

fn l_pow(x: vec2<u32>, y: vec2<u32>) -> vec2<u32> {
    let one = vec2<u32>(1u, 0u);
    if (bitcast<i32>(y.y) < 0) {
        if (l_eq(x, one)) {
            return one;
        }
        if ((x.x & x.y) == 0xffffffffu) {
            return select(one, x, (y.x & 1u) == 1u);
        }
        return vec2<u32>(0u, 0u);
    }
    var r = one;
    var b = x;
    var e = y;
    while ((e.x | e.y) != 0u) {
        if ((e.x & 1u) == 1u) {
            r = l_mul(r, b);
        }
        b = l_mul(b, b);
        e = vec2<u32>((e.x >> 1u) | (e.y << 31u), e.y >> 1u);
    }
    return r;
}

fn l_from_i32(x: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u));
}

fn l_to_i32(a: vec2<u32>) -> i32 {
    return bitcast<i32>(a.x);
}

// Held within the i32, for bounds that lie inside of them.
fn l_held(a: vec2<u32>) -> i32 {
    let high = bitcast<i32>(a.y);
    let low = bitcast<i32>(a.x);
    if (high == (low >> 31u)) {
        return low;
    }
    return select(2147483647, -2147483647, high < 0);
}

// An unsigned number as f32, to nearest even.
fn ul_to_f32(a: vec2<u32>) -> f32 {
    if ((a.x | a.y) == 0u) {
        return 0.0;
    }
    let z = select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u);
    let n = l_shl(a, vec2<u32>(z, 0u));
    // 24 bits above, 40 below, of which all but the first are sticky.
    let below = ((n.y & 0xffu) << 24u) | select(0u, 1u, n.x != 0u);
    let up = below > 0x80000000u || (below == 0x80000000u && (n.y & 0x100u) != 0u);
    return bitcast<f32>(((190u - z) << 23u) + ((n.y >> 8u) & 0x7fffffu) + select(0u, 1u, up));
}

fn l_to_f32(a: vec2<u32>) -> f32 {
    let r = ul_to_f32(l_abs(a));
    return select(r, -r, bitcast<i32>(a.y) < 0);
}

// To f32 rounded to odd, so that a second rounding to a half type is the only one.
fn l_to_f32_odd(v: vec2<u32>) -> f32 {
    let a = l_abs(v);
    if ((a.x | a.y) == 0u) {
        return 0.0;
    }
    let z = select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u);
    let n = l_shl(a, vec2<u32>(z, 0u));
    let sticky = select(0u, 1u, ((n.y & 0xffu) | n.x) != 0u);
    let r = ((190u - z) << 23u) + (((n.y >> 8u) & 0x7fffffu) | sticky);
    return bitcast<f32>(r | (v.y & 0x80000000u));
}

fn f32_to_l(x: f32) -> vec2<u32> {
    let b = bitcast<u32>(x);
    let a = b & 0x7fffffffu;
    let negative = (b >> 31u) == 1u;
    if (a > 0x7f800000u || a < 0x3f800000u) {
        return vec2<u32>(0u, 0u);
    }
    if (a >= 0x5f000000u) {
        return select(vec2<u32>(0xffffffffu, 0x7fffffffu), vec2<u32>(0u, 0x80000000u), negative);
    }
    let e = i32(a >> 23u) - 150;
    let m = vec2<u32>((a & 0x7fffffu) | 0x800000u, 0u);
    var r = m;
    if (e >= 0) {
        r = l_shl(m, vec2<u32>(u32(e), 0u));
    } else {
        r.x = m.x >> u32(-e);
    }
    return select(r, l_neg(r), negative);
}

// Euclidean quotient and remainder by a positive divisor.
fn div_floor(x: i32, c: i32) -> i32 {
    let q = x / c;
    return q - select(0, 1, x - q * c < 0);
}

fn rem_floor(x: i32, c: i32) -> i32 {
    let r = x % c;
    return r + select(0, c, r < 0);
}

// Word `n` mod 4 of the bits that Philox4x32-10 gives for a key at `offset + n / 4`.
fn philox(key: vec2<u32>, offset: vec2<u32>, n: u32) -> u32 {
    let at = l_add(offset, vec2<u32>(n >> 2u, 0u));
    var c = vec4<u32>(at.x, at.y, 0u, 0u);
    var k = key;
    for (var i = 0; i < 10; i = i + 1) {
        let a = mul_wide(c.x, 0xD2511F53u);
        let b = mul_wide(c.z, 0xCD9E8D57u);
        c = vec4<u32>(b.y ^ c.y ^ k.x, b.x, a.y ^ c.w ^ k.y, a.x);
        k = vec2<u32>(k.x + 0x9E3779B9u, k.y + 0xBB67AE85u);
    }
    let w = n & 3u;
    return select(select(c.x, c.y, w == 1u), select(c.z, c.w, w == 3u), w >= 2u);
}
