// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f64>;
@group(0) @binding(2) var<storage, read> b1: array<f64>;
@group(0) @binding(3) var<storage, read_write> b2: array<f64>;

fn d_of(low: u32, high: u32) -> f64 {
    return bitcast<f64>(u64(low) | (u64(high) << 32u));
}

fn d_nan() -> f64 {
    return bitcast<f64>(0x7ff8000000000000lu ^ u64(p[0].x));
}

fn d_ne(a: f64, b: f64) -> bool {
    return !(a == b);
}

fn d_zeros(a: u64) -> u32 {
    let high = u32(a >> 32u);
    return select(countLeadingZeros(high), 32u + countLeadingZeros(u32(a)), high == 0u);
}

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

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e1 = b1[i0];
    let e0 = b0[i0];
    let e2 = d_rem(e1, e0);
    let e4 = d_of(p[0].z, p[0].w);
    let e8 = d_ne(e2, e4);
    let e6 = e2 < e4;
    let e5 = e0 < e4;
    let e7 = e6 != e5;
    let e9 = e8 & e7;
    let e3 = e2 + e0;
    let e10 = select(e2, e3, e9);
    b2[i0] = e10;
}

