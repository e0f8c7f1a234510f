// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

fn f_nan() -> f32 {
    return bitcast<f32>(0x7fc00000u ^ p[0].x);
}

fn quadrant_large(x: f32) -> vec2<u32> {
    var table = array<u32, 9>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u);
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    let m = (bits & 0x7fffffu) | 0x800000u;
    // Bits of 2/pi before this one contribute multiples of 4.
    let start = (bits >> 23u) - 150u - 2u + 32u;
    let word = min(start >> 5u, 5u);
    let shift = start & 31u;
    let a = table[word];
    let b = table[word + 1u];
    let c = table[word + 2u];
    let d = table[word + 3u];
    var h = a;
    var i = b;
    var l = c;
    if (shift != 0u) {
        h = (a << shift) | (b >> (32u - shift));
        i = (b << shift) | (c >> (32u - shift));
        l = (c << shift) | (d >> (32u - shift));
    }
    // The low 96 bits of m times the window.
    let pl = mul_wide(m, l);
    let pi = mul_wide(m, i);
    let mid = pl.y + pi.x;
    let high = m * h + pi.y + select(0u, 1u, mid < pl.y);
    // To the nearest quadrant: its number is in the top two bits.
    let n = (high + 0x20000000u) >> 30u;
    let sh = high - (n << 30u);
    let negative = (sh & 0x80000000u) != 0u;
    var top = sh;
    var low = mid;
    if (negative) {
        low = ~mid + 1u;
        top = ~sh + select(0u, 1u, low == 0u);
    }
    // 62 bits of fraction.
    let f = l_to_f32(vec2<u32>(low, top)) * 2.16840434e-19;
    let r = f * 1.57079633;
    return vec2<u32>(n, bitcast<u32>(select(r, -r, negative)));
}

fn quadrant(x: f32) -> vec2<u32> {
    let a = abs(x);
    if (a < 4096.0) {
        let n = round(x * 0.636619772);
        // pi/2 in four parts; n has at most 12 bits, and so have the first three.
        let r = ((x - n * 1.5703125) - n * 4.837512969970703e-4) - n * 7.549533620476723e-08;
        return vec2<u32>(bitcast<u32>(i32(n)) & 3u, bitcast<u32>(r - n * 2.5633441e-12));
    }
    let q = quadrant_large(a);
    if (x < 0.0) {
        return vec2<u32>((4u - q.x) & 3u, q.y ^ 0x80000000u);
    }
    return vec2<u32>(q.x & 3u, q.y);
}

fn sin_unit(r: f32) -> f32 {
    let u = r * r;
    return (u * r) * (-1.666665375e-01 + u * (8.332090452e-03 + u * -1.950524020e-04)) + r;
}

fn cos_unit(r: f32) -> f32 {
    let u = r * r;
    return (u * u) * (4.166664556e-02 + u * (-1.388725126e-03 + u * 2.442492405e-05)) + (u * -0.5 + 1.0);
}

fn f_sin(x: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) {
        return f_nan();
    }
    let q = quadrant(x);
    let r = bitcast<f32>(q.y);
    let y = select(sin_unit(r), cos_unit(r), (q.x & 1u) == 1u);
    return select(select(y, -y, q.x >= 2u), x, x == 0.0);
}

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

fn l_neg(a: vec2<u32>) -> vec2<u32> {
    let x = ~a.x + 1u;
    return vec2<u32>(x, ~a.y + select(0u, 1u, x == 0u));
}

fn l_abs(a: vec2<u32>) -> vec2<u32> {
    return select(a, l_neg(a), bitcast<i32>(a.y) < 0);
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

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e0 = b0[i0];
    let e1 = f_sin(e0);
    b1[i0] = e1;
}

