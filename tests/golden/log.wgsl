// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn f_inf() -> f32 {
    return bitcast<f32>(0x7f800000u ^ p[0].x);
}

fn f_nan() -> f32 {
    return bitcast<f32>(0x7fc00000u ^ p[0].x);
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
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e0 = b0[i0];
    let e1 = f_log(e0);
    b1[i0] = e1;
}

