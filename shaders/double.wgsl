// Functions of f64 for kernels, on devices that have it and words of 64 bits. What float.wgsl says of `p`, and of what nothing relies on,
// holds here: sums whose rounding error is wanted are `opaque`, no result depends on whether a product and a sum are rounded once or twice.

fn d_of(low: u32, high: u32) -> f64 {
    return bitcast<f64>(u64(low) | (u64(high) << 32u));
}

fn d_words(x: f64) -> vec2<u32> {
    let b = bitcast<u64>(x);
    return vec2<u32>(u32(b), u32(b >> 32u));
}

fn d_is_nan(x: f64) -> bool {
    return (bitcast<u64>(x) & 0x7ffffffffffffffflu) > 0x7ff0000000000000lu;
}

fn opaque_d(x: f64) -> f64 {
    return bitcast<f64>(bitcast<u64>(x) ^ u64(p[0].x));
}

fn d_inf() -> f64 {
    return bitcast<f64>(0x7ff0000000000000lu ^ u64(p[0].x));
}

fn d_nan() -> f64 {
    return bitcast<f64>(0x7ff8000000000000lu ^ u64(p[0].x));
}

fn d_copysign(x: f64, y: f64) -> f64 {
    return bitcast<f64>((bitcast<u64>(x) & 0x7ffffffffffffffflu) | (bitcast<u64>(y) & 0x8000000000000000lu));
}

fn d_max(a: f64, b: f64) -> f64 {
    return select(max(a, b), a + b, d_is_nan(a) || d_is_nan(b));
}

fn d_min(a: f64, b: f64) -> f64 {
    return select(min(a, b), a + b, d_is_nan(a) || d_is_nan(b));
}

fn d_ne(a: f64, b: f64) -> bool {
    return !(a == b);
}

// By bits: some devices take a subnormal for zero.
fn d_not_zero(x: f64) -> bool {
    return (bitcast<u64>(x) << 1u) != 0lu;
}

fn d_sign(x: f64) -> f64 {
    if (d_is_nan(x) || !d_not_zero(x)) {
        return x;
    }
    return d_copysign(1.0lf, x);
}

fn d_sqrt(x: f64) -> f64 {
    return sqrt(x);
}

fn d_rsqrt(x: f64) -> f64 {
    return 1.0lf / sqrt(x);
}

// These four by bits and exact sums: drivers that lack them build them from sums which they then simplify away, or lose the sign of zero.
fn d_trunc(x: f64) -> f64 {
    let b = bitcast<u64>(x);
    let e = u32(b >> 52u) & 0x7ffu;
    if (e < 1023u) {
        return bitcast<f64>(b & 0x8000000000000000lu);
    }
    if (e >= 1075u) {
        return x;
    }
    return bitcast<f64>(b & ~((1lu << (1075u - e)) - 1lu));
}

fn d_floor(x: f64) -> f64 {
    let t = d_trunc(x);
    return select(t, t - 1.0lf, t > x);
}

fn d_ceil(x: f64) -> f64 {
    let t = d_trunc(x);
    return select(t, t + 1.0lf, t < x);
}

// To nearest, ties to even.
fn d_round(x: f64) -> f64 {
    let t = d_trunc(x);
    let rest = abs(opaque_d(x - t));
    let odd = d_not_zero(opaque_d(t * 0.5lf) - d_trunc(t * 0.5lf));
    return select(t, t + d_copysign(1.0lf, x), rest > 0.5lf || (rest == 0.5lf && odd));
}

// An integer within a hair of 1/2.
fn d_near(x: f64) -> f64 {
    return floor(x + 0.5lf);
}

// Leading zeros of 64 bits that are not all zero.
fn d_zeros(a: u64) -> u32 {
    let high = u32(a >> 32u);
    return select(countLeadingZeros(high), 32u + countLeadingZeros(u32(a)), high == 0u);
}

// The remainder of the truncated quotient, exact: long division of the mantissas, eleven bits of the quotient at a time.
fn d_rem(x: f64, y: f64) -> f64 {
    let sign = bitcast<u64>(x) & 0x8000000000000000lu;
    let a = bitcast<u64>(x) & 0x7ffffffffffffffflu;
    let b = bitcast<u64>(y) & 0x7ffffffffffffffflu;
    if (b == 0lu || a >= 0x7ff0000000000000lu || b > 0x7ff0000000000000lu) {
        return d_nan();
    }
    if (a < b) {
        return x;
    }
    var ea = i32(u32(a >> 52u));
    var ma = a & 0xffffffffffffflu;
    if (ea == 0) {
        let s = d_zeros(ma) - 11u;
        ma = ma << s;
        ea = 1 - i32(s);
    } else {
        ma = ma | 0x10000000000000lu;
    }
    var eb = i32(u32(b >> 52u));
    var mb = b & 0xffffffffffffflu;
    if (eb == 0) {
        let s = d_zeros(mb) - 11u;
        mb = mb << s;
        eb = 1 - i32(s);
    } else {
        mb = mb | 0x10000000000000lu;
    }
    var r = ma % mb;
    var left = ea - eb;
    while (left > 0 && r != 0lu) {
        let s = min(left, 11);
        r = (r << u32(s)) % mb;
        left = left - s;
    }
    if (r == 0lu) {
        return bitcast<f64>(sign ^ u64(p[0].x));
    }
    let s = d_zeros(r) - 11u;
    r = r << s;
    let e = eb - i32(s);
    if (e > 0) {
        return bitcast<f64>(sign | (r - 0x10000000000000lu) | (u64(u32(e)) << 52u));
    }
    return bitcast<f64>(sign | (r >> u32(1 - e)));
}

// The rounding error of the product q = a b.
fn d_product_error(a: f64, b: f64, q: f64) -> f64 {
    let ah = bitcast<f64>(bitcast<u64>(a) & 0xfffffffff8000000lu);
    let bh = bitcast<f64>(bitcast<u64>(b) & 0xfffffffff8000000lu);
    let al = a - ah;
    let bl = b - bh;
    return ((ah * bh - q) + ah * bl + al * bh) + al * bl;
}

// 2^n for -1022 <= n <= 1023.
fn d_pow2(n: i32) -> f64 {
    return bitcast<f64>(u64(u32(n + 1023)) << 52u);
}

// y 2^n for |n| <= 2044.
fn d_scale2(y: f64, n: i32) -> f64 {
    let half = n >> 1u;
    return opaque_d(y * d_pow2(half)) * d_pow2(n - half);
}

// From here on: conversions.

fn d_from_f32(x: f32) -> f64 {
    let b = bitcast<u32>(x);
    let a = b & 0x7fffffffu;
    if (a < 0x00800000u) {
        // Subnormal, as an integer: some devices take it for zero.
        let y = f64(a) * 1.401298464324817e-45lf;
        return bitcast<f64>(bitcast<u64>(y) | (u64(b & 0x80000000u) << 32u));
    }
    return f64(x);
}

// To f32: to nearest even, or rounded to odd, so that a second rounding to a half type is the only one.
fn d_narrow(x: f64, odd: bool) -> f32 {
    let b = bitcast<u64>(x);
    let s = u32(b >> 32u) & 0x80000000u;
    let a = b & 0x7ffffffffffffffflu;
    if (a > 0x7ff0000000000000lu) {
        return bitcast<f32>(s | 0x7fc00000u);
    }
    if (a == 0lu) {
        return bitcast<f32>(s);
    }
    // Exponent and mantissa as they are to be, with so many bits too many.
    var m = a - 0x3800000000000000lu;
    var shift = 29u;
    if (a < 0x3810000000000000lu) {
        m = (a & 0xffffffffffffflu) | 0x10000000000000lu;
        shift = min(926u - u32(a >> 52u), 60u);
    }
    var q = m >> shift;
    let rest = m & ((1lu << shift) - 1lu);
    let half = 1lu << (shift - 1u);
    if (odd) {
        q = q | select(0lu, 1lu, rest != 0lu);
    } else {
        q = q + select(0lu, 1lu, rest > half || (rest == half && (q & 1lu) == 1lu));
    }
    return bitcast<f32>(s | u32(min(q, 0x7f800000lu)));
}

fn d_to_f32(x: f64) -> f32 {
    return d_narrow(x, false);
}

fn d_to_f32_odd(x: f64) -> f32 {
    return d_narrow(x, true);
}

// As Rust's `as`: truncated, held at the ends, 0 for NaN.
fn d_to_i32(x: f64) -> i32 {
    if (d_is_nan(x)) {
        return 0;
    }
    if (x >= 2147483647.0lf) {
        return 2147483647;
    }
    if (x <= -2147483648.0lf) {
        return bitcast<i32>(0x80000000u);
    }
    return i32(x);
}

fn d_to_l(x: f64) -> vec2<u32> {
    let b = bitcast<u64>(x);
    let a = b & 0x7ffffffffffffffflu;
    let negative = (b >> 63u) == 1lu;
    if (a > 0x7ff0000000000000lu || a < 0x3ff0000000000000lu) {
        return vec2<u32>(0u, 0u);
    }
    if (a >= 0x43e0000000000000lu) {
        return select(vec2<u32>(0xffffffffu, 0x7fffffffu), vec2<u32>(0u, 0x80000000u), negative);
    }
    let e = i32(u32(a >> 52u)) - 1075;
    var m = (a & 0xffffffffffffflu) | 0x10000000000000lu;
    if (e >= 0) {
        m = m << u32(e);
    } else {
        m = m >> u32(-e);
    }
    if (negative) {
        m = ~m + 1lu;
    }
    return vec2<u32>(u32(m), u32(m >> 32u));
}

// Both parts are exact, so their sum is rounded once.
fn d_from_l(a: vec2<u32>) -> f64 {
    return f64(bitcast<i32>(a.y)) * 4294967296.0lf + f64(a.x);
}

// An unsigned number in the order of floats, low word first: both zeros equal, NaN above all.
fn d_sort_key(x: f64) -> vec2<u32> {
    let w = d_words(x);
    if (d_is_nan(x)) {
        return vec2<u32>(0xffffffffu, 0xffffffffu);
    }
    if ((w.x | (w.y & 0x7fffffffu)) == 0u) {
        return vec2<u32>(0u, 0x80000000u);
    }
    return select(vec2<u32>(w.x, w.y | 0x80000000u), ~w, (w.y >> 31u) == 1u);
}
