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

fn exp2_unit(r: f32) -> f32 {
    let q = 6.931471825e-01 + r * (2.402264774e-01 + r * (5.550331250e-02 + r * (9.618442506e-03 + r * (1.339939074e-03 + r * 1.535294577e-04))));
    return r * q + 1.0;
}

fn f_erf(x: f32) -> f32 {
    let a = abs(x);
    let u = a * a;
    let q = 1.283791661e-01 + u * (-3.761263788e-01 + u * (1.128373072e-01 + u * (-2.686123736e-02 + u * (5.205444992e-03
        + u * (-8.191986126e-04 + u * 8.577320114e-05)))));
    // Of the smallest the product with q would be subnormal.
    let small = select(a * q + a, a * 1.128379167, a < 1e-30);
    let t = min(a, 4.0);
    let g = -2.301908389e-04 + t * (-1.627109170e+00 + t * (-9.188909531e-01 + t * (-1.502677351e-01 + t * (3.222503141e-02
        + t * (-4.430435132e-03 + t * 2.867816074e-04)))));
    let n = round(g);
    let large = 1.0 - exp2_unit(g - n) * pow2(i32(n));
    return select(copysign(select(small, large, a >= 0.9), x), x, is_nan(x));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e1 = b0[i0];
    let e4 = 0.70710677f;
    let e5 = e1 * e4;
    let e6 = f_erf(e5);
    let e3 = 1.0f;
    let e7 = e6 + e3;
    let e0 = 0.5f;
    let e2 = e1 * e0;
    let e8 = e7 * e2;
    b1[i0] = e8;
}

