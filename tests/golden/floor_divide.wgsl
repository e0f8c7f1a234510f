// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read_write> b2: array<f32>;

fn f_nan() -> f32 {
    return bitcast<f32>(0x7fc00000u ^ p[0].x);
}

fn f_ne(a: f32, b: f32) -> bool {
    return !(a == b);
}

fn f_rem(x: f32, y: f32) -> f32 {
    let sign = bitcast<u32>(x) & 0x80000000u;
    let a = bitcast<u32>(x) & 0x7fffffffu;
    let b = bitcast<u32>(y) & 0x7fffffffu;
    if (b == 0u || a >= 0x7f800000u || b > 0x7f800000u) {
        return f_nan();
    }
    if (a < b) {
        return x;
    }
    var ea = i32(a >> 23u);
    var ma = a & 0x7fffffu;
    if (ea == 0) {
        let s = countLeadingZeros(ma) - 8u;
        ma = ma << s;
        ea = 1 - i32(s);
    } else {
        ma = ma | 0x800000u;
    }
    var eb = i32(b >> 23u);
    var mb = b & 0x7fffffu;
    if (eb == 0) {
        let s = countLeadingZeros(mb) - 8u;
        mb = mb << s;
        eb = 1 - i32(s);
    } else {
        mb = mb | 0x800000u;
    }
    while (ea > eb) {
        if (ma >= mb) {
            ma = ma - mb;
        }
        ma = ma << 1u;
        ea = ea - 1;
    }
    if (ma >= mb) {
        ma = ma - mb;
    }
    if (ma == 0u) {
        return bitcast<f32>(sign ^ p[0].x);
    }
    let s = countLeadingZeros(ma) - 8u;
    ma = ma << s;
    ea = ea - i32(s);
    if (ea > 0) {
        return bitcast<f32>(sign | (ma - 0x800000u) | (u32(ea) << 23u));
    }
    return bitcast<f32>(sign | (ma >> u32(1 - ea)));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e0 = b0[i0];
    let e7 = bitcast<f32>(p[0].z);
    let e16 = e0 == e7;
    let e1 = b1[i0];
    let e15 = e1 / e0;
    let e2 = f_rem(e1, e0);
    let e11 = f_ne(e2, e7);
    let e9 = e2 < e7;
    let e8 = e0 < e7;
    let e10 = e9 != e8;
    let e12 = e11 & e10;
    let e3 = e1 - e2;
    let e4 = e3 / e0;
    let e5 = 1.0f;
    let e6 = e4 - e5;
    let e13 = select(e4, e6, e12);
    let e14 = round(e13);
    let e17 = select(e14, e15, e16);
    b2[i0] = e17;
}

