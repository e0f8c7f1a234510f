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

fn copysign(x: f32, y: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(y) & 0x80000000u));
}

fn atan_unit(z: f32) -> f32 {
    let u = z * z;
    let q = -3.333329856e-01 + u * (1.999854892e-01 + u * (-1.426424235e-01 + u * (1.095218584e-01 + u * (-8.403450996e-02
        + u * (5.795760825e-02 + u * (-3.117786162e-02 + u * (1.091461442e-02 + u * -1.793623785e-03)))))));
    return (u * z) * q + z;
}

fn from_const(hi: f32, lo: f32, y: f32) -> f32 {
    return hi - opaque_f(y - lo);
}

fn f_atan2(y: f32, x: f32) -> f32 {
    if (is_nan(x) || is_nan(y)) {
        return f_nan();
    }
    let ay = abs(y);
    let ax = abs(x);
    let steep = ax < ay;
    let lo = select(ay, ax, steep);
    let hi = select(ax, ay, steep);
    // 0/0 is the angle 0 and inf/inf that of the diagonal. Halves and doubles keep the quotient of extremes normal.
    let s = select(select(1.0, 0.25, hi > 1e38), 16777216.0, hi < 1e-30);
    var q = (lo * s) / (hi * s);
    q = select(q, 0.0, hi == 0.0);
    q = select(q, 0.0, bitcast<u32>(hi) == 0x7f800000u);
    q = select(q, 1.0, bitcast<u32>(lo) == 0x7f800000u);
    var r = atan_unit(q);
    r = select(r, from_const(1.57079637, -4.371139e-8, r), steep);
    r = select(r, from_const(3.14159274, -8.742278e-8, r), (bitcast<u32>(x) & 0x80000000u) != 0u);
    return copysign(r, y);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e1 = b1[i0];
    let e0 = b0[i0];
    let e2 = f_atan2(e1, e0);
    b2[i0] = e2;
}

