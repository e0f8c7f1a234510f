// 4 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read> b0: array<f64>;
@group(0) @binding(2) var<storage, read_write> b1: array<f64>;
var<workgroup> shared_d: array<f64, 256>;

fn d_of(low: u32, high: u32) -> f64 {
    return bitcast<f64>(u64(low) | (u64(high) << 32u));
}

fn d_is_nan(x: f64) -> bool {
    return (bitcast<u64>(x) & 0x7ffffffffffffffflu) > 0x7ff0000000000000lu;
}

fn opaque_d(x: f64) -> f64 {
    return bitcast<f64>(bitcast<u64>(x) ^ u64(p[0].x));
}

fn d_max(a: f64, b: f64) -> f64 {
    return select(max(a, b), a + b, d_is_nan(a) || d_is_nan(b));
}

fn d_near(x: f64) -> f64 {
    return floor(x + 0.5lf);
}

fn d_pow2(n: i32) -> f64 {
    return bitcast<f64>(u64(u32(n + 1023)) << 52u);
}

fn d_scale2(y: f64, n: i32) -> f64 {
    let half = n >> 1u;
    return opaque_d(y * d_pow2(half)) * d_pow2(n - half);
}

fn d_exp_rest(x: f64, n: f64) -> vec2<f64> {
    return vec2<f64>(x - n * 0.6931471803691238lf, n * 1.9082149292705877e-10lf);
}

fn d_expm1_unit(hi: f64, lo: f64) -> f64 {
    let r = hi - lo;
    let u = r * r;
    let c = r - u * (0.16666666666666602lf + u * (-0.0027777777777015593lf + u * (6.613756321437934e-05lf + u * (-1.6533902205465252e-06lf
        + u * 4.1381367970572385e-08lf))));
    return hi + (r * c / (2.0lf - c) - lo);
}

fn d_exp_shifted(x: f64, shift: i32) -> f64 {
    let c = clamp(x, -750.0lf, 720.0lf);
    let n = d_near(c * 1.4426950408889634lf);
    let r = d_exp_rest(c, n);
    return d_scale2(1.0lf + d_expm1_unit(r.x, r.y), i32(n) + shift);
}

fn d_exp(x: f64) -> f64 {
    if (d_is_nan(x)) {
        return x;
    }
    return d_exp_shifted(x, 0);
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
    var r0_0: f64 = d_of(p[0].w, p[1].x);
    {
        for (var r = lane; r < p[1].y; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            r0_0 = d_max(r0_0, e0);
        }
    }
    shared_d[lid] = r0_0;
    workgroupBarrier();
    for (var h = 8u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r0_0 = d_max(r0_0, shared_d[other]);
            shared_d[lid] = r0_0;
        }
        workgroupBarrier();
    }
    r0_0 = shared_d[sub * 16u];
    workgroupBarrier();
    let x0_0 = r0_0;
    var r1_0: f64 = d_of(p[1].z, p[1].w);
    {
        for (var r = lane; r < p[2].x; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            let e2 = e0 - x0_0;
            let e3 = d_exp(e2);
            r1_0 = r1_0 + e3;
        }
    }
    shared_d[lid] = r1_0;
    workgroupBarrier();
    for (var h = 8u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r1_0 = r1_0 + shared_d[other];
            shared_d[lid] = r1_0;
        }
        workgroupBarrier();
    }
    r1_0 = shared_d[sub * 16u];
    workgroupBarrier();
    let x1_0 = r1_0;
    {
        for (var r = lane; r < p[2].y; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            let e2 = e0 - x0_0;
            let e3 = d_exp(e2);
            let e6 = e3 / x1_0;
            if (live) {
                b1[n3] = e6;
            }
        }
    }
}

