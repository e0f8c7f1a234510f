// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read_write> b2: array<f32>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn opaque_f(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ p[0].x);
}

fn f_nan() -> f32 {
    return bitcast<f32>(0x7fc00000u ^ p[0].x);
}

fn pow2(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

fn scale2(y: f32, n: i32) -> f32 {
    let half = n >> 1u;
    return opaque_f(y * pow2(half)) * pow2(n - half);
}

fn log_reduce(x: f32) -> vec2<f32> {
    var bits = bitcast<u32>(x);
    var k = 0.0;
    if (bits < 0x00800000u) {
        // Subnormal, as an integer: some devices take it for zero.
        bits = bitcast<u32>(f32(bits));
        k = -149.0;
    }
    let i = bitcast<i32>(bits - 0x3f3504f3u);
    let m = bitcast<f32>((bitcast<u32>(i) & 0x007fffffu) + 0x3f3504f3u);
    return vec2<f32>(m, k + f32(i >> 23u));
}

fn product_error(a: f32, b: f32, q: f32) -> f32 {
    let ah = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
    let bh = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
    let al = a - ah;
    let bl = b - bh;
    return ((ah * bh - q) + ah * bl + al * bh) + al * bl;
}

fn f_pow(x: f32, y: f32) -> f32 {
    let a = abs(x);
    let ay = abs(y);
    // x^0 and 1^y are 1 even for NaN, and so is (-1)^(+-inf).
    if (y == 0.0 || x == 1.0 || (x == -1.0 && bitcast<u32>(ay) == 0x7f800000u)) {
        return 1.0;
    }
    if (is_nan(x) || is_nan(y)) {
        return f_nan();
    }
    let big = ay >= 16777216.0;
    let whole = big || trunc(y) == y;
    let odd = !big && whole && trunc(y * 0.5) != y * 0.5;
    let sign = select(0u, bitcast<u32>(x) & 0x80000000u, odd);
    let zero = (bitcast<u32>(a) == 0u);
    let infinite = bitcast<u32>(a) == 0x7f800000u;
    if (zero || infinite) {
        let up = zero != (y > 0.0);
        return bitcast<f32>(select(0u, 0x7f800000u, up) ^ sign ^ p[0].x);
    }
    if (x < 0.0 && !whole) {
        return f_nan();
    }
    if (a == 1.0) {
        return bitcast<f32>(0x3f800000u ^ sign);
    }
    let m = log_reduce(a);
    let num = m.x - 1.0;
    let den = opaque_f(m.x + 1.0);
    let den_low = m.x - opaque_f(den - 1.0);
    let z = num / den;
    let zd = z * den;
    let z_low = (((num - zd) - product_error(z, den, opaque_f(zd))) - z * den_low) / den;
    let u = z * z;
    let tail = u * (0.96179669 + u * (0.57707802 + u * (0.4121984 + u * (0.32061644 + u * (0.26144224 + u * 0.24294213)))));
    let h = opaque_f(z * 2.88539);
    let l = product_error(z, 2.88539, h) + (z * 3.851926e-08 + (z_low * 2.88539 + z * tail));
    // k + h + l: k is 0 or larger than h.
    let s = opaque_f(m.y + h);
    let low = (h - opaque_f(s - m.y)) + l;
    let log_high = opaque_f(s + low);
    let log_low = low - opaque_f(log_high - s);
    let e = opaque_f(y * log_high);
    if (abs(e) > 160.0 || ay > 1e30) {
        let over = (a > 1.0) == (y > 0.0);
        return bitcast<f32>(select(0u, 0x7f800000u, over) ^ sign ^ p[0].x);
    }
    let n = round(e);
    let f = (e - n) + (product_error(y, log_high, e) + y * log_low);
    let q = 0.69314718 + f * (0.24022651 + f * (0.055504104 + f * (0.0096180272 + f * (0.0013333923 + f * (0.00015469317 + f * 1.5201901e-05)))));
    let r = scale2(f * q + 1.0, i32(n));
    return bitcast<f32>(bitcast<u32>(r) ^ sign);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e1 = b1[i0];
    let e0 = b0[i0];
    let e2 = f_pow(e1, e0);
    b2[i0] = e2;
}

