// 4 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;
var<workgroup> shared_f: array<f32, 256>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn opaque_f(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ p[0].x);
}

fn f_inf() -> f32 {
    return bitcast<f32>(0x7f800000u ^ p[0].x);
}

fn f_nan() -> f32 {
    return bitcast<f32>(0x7fc00000u ^ p[0].x);
}

fn f_max(a: f32, b: f32) -> f32 {
    return select(max(a, b), a + b, is_nan(a) || is_nan(b));
}

fn pow2(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

fn scale2(y: f32, n: i32) -> f32 {
    let half = n >> 1u;
    return opaque_f(y * pow2(half)) * pow2(n - half);
}

fn exp_unit(r: f32) -> f32 {
    let q = 4.999999702e-01 + r * (1.666654199e-01 + r * (4.166720435e-02 + r * (8.366647176e-03 + r * 1.388249686e-03)));
    return (r * r * q + r) + 1.0;
}

fn exp_rest(x: f32, n: f32) -> f32 {
    return (x - n * 0.69314575) - n * 1.4286068e-6;
}

fn exp_shifted(x: f32, shift: i32) -> f32 {
    let c = clamp(x, -105.0, 90.0);
    let n = round(c * 1.44269504);
    return scale2(exp_unit(exp_rest(c, n)), i32(n) + shift);
}

fn f_exp(x: f32) -> f32 {
    return select(exp_shifted(x, 0), x, is_nan(x));
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

fn log_from(k: f32, f: f32) -> f32 {
    let r = 3.333331347e-01 + f * (-2.500000894e-01 + f * (2.000211924e-01 + f * (-1.666799635e-01 + f * (1.421955228e-01
        + f * (-1.240558922e-01 + f * (1.188816130e-01 + f * (-1.167565063e-01 + f * 6.746640056e-02)))))));
    let ff = f * f;
    let y = (ff * f) * r + k * 1.4286068e-6;
    let z = (ff * -0.5 + y) + f;
    return k * 0.69314575 + z;
}

fn log_edges(x: f32, y: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7fffffffu) == 0u) {
        return -f_inf();
    }
    // By the sign's bit: some devices do not tell a subnormal number from zero.
    if (is_nan(x) || bitcast<i32>(x) < 0) {
        return f_nan();
    }
    return select(y, x, bitcast<u32>(x) == 0x7f800000u);
}

fn f_log(x: f32) -> f32 {
    let m = log_reduce(x);
    return log_edges(x, log_from(m.y, m.x - 1.0));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let lane = lid % 16u;
    let sub = lid / 16u;
    let live = group * 16u + sub < p[0].y;
    let at = min(group * 16u + sub, p[0].y - 1u);
    let i0 = i32(at);
    let n1 = i0 * bitcast<i32>(p[0].z);
    var r0_0: f32 = bitcast<f32>(p[0].w);
    {
        for (var r = lane; r < p[1].x; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            r0_0 = f_max(r0_0, e0);
        }
    }
    shared_f[lid] = r0_0;
    workgroupBarrier();
    for (var h = 8u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r0_0 = f_max(r0_0, shared_f[other]);
            shared_f[lid] = r0_0;
        }
        workgroupBarrier();
    }
    r0_0 = shared_f[sub * 16u];
    workgroupBarrier();
    let x0_0 = r0_0;
    var r1_0: f32 = bitcast<f32>(p[1].y);
    {
        for (var r = lane; r < p[1].z; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            let e2 = e0 - x0_0;
            let e3 = f_exp(e2);
            r1_0 = r1_0 + e3;
        }
    }
    shared_f[lid] = r1_0;
    workgroupBarrier();
    for (var h = 8u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r1_0 = r1_0 + shared_f[other];
            shared_f[lid] = r1_0;
        }
        workgroupBarrier();
    }
    r1_0 = shared_f[sub * 16u];
    workgroupBarrier();
    let x1_0 = r1_0;
    let e5 = f_log(x1_0);
    {
        for (var r = lane; r < p[1].w; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            let e2 = e0 - x0_0;
            let e6 = e2 - e5;
            if (live) {
                b1[n3] = e6;
            }
        }
    }
}

