// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn copysign(x: f32, y: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(y) & 0x80000000u));
}

fn pow2(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

fn exp_rest(x: f32, n: f32) -> f32 {
    return (x - n * 0.69314575) - n * 1.4286068e-6;
}

fn f_tanh(x: f32) -> f32 {
    let b = min(abs(x), 9.1) * 2.0;
    let n = round(b * 1.44269504);
    let r = exp_rest(b, n);
    let q = 4.999999702e-01 + r * (1.666654199e-01 + r * (4.166720435e-02 + r * (8.366647176e-03 + r * 1.388249686e-3)));
    let s = pow2(i32(n));
    let t = (r * r * q + r) * s + (s - 1.0);
    return select(copysign(t / (t + 2.0), x), x, is_nan(x));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e0 = b0[i0];
    let e1 = f_tanh(e0);
    b1[i0] = e1;
}

