// 192 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read_write> b0: array<vec2<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e0 = vec2<u32>(0u, 0u);
    b0[i0] = e0;
}

// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> b1: array<vec2<u32>>;

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

fn l_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let x = a.x + b.x;
    return vec2<u32>(x, a.y + b.y + select(0u, 1u, x < a.x));
}

fn l_mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let w = mul_wide(a.x, b.x);
    return vec2<u32>(w.x, w.y + a.x * b.y + a.y * b.x);
}

fn l_lt(a: vec2<u32>, b: vec2<u32>) -> bool {
    return bitcast<i32>(a.y) < bitcast<i32>(b.y) || (a.y == b.y && a.x < b.x);
}

fn l_from_i32(x: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u));
}

fn l_held(a: vec2<u32>) -> i32 {
    let high = bitcast<i32>(a.y);
    let low = bitcast<i32>(a.x);
    if (high == (low >> 31u)) {
        return low;
    }
    return select(2147483647, -2147483647, high < 0);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let first = i32(at / p[0].z);
    let column = at % p[0].z;
    let row_from = first * bitcast<i32>(p[0].w) + 0;
    let row_to = row_from + bitcast<i32>(p[0].w);
    _ = column;
    for (var i0 = 0; i0 < bitcast<i32>(p[1].x); i0 = i0 + 1) {
        let e1 = b0[i0];
        let e7 = vec2<u32>(0u, 0u);
        let e8 = !l_lt(e1, e7);
        let e2 = vec2<u32>(8u, 0u);
        let e6 = l_lt(e1, e2);
        let e9 = e8 & e6;
        let e3 = l_from_i32(i0);
        let e4 = l_mul(e3, e2);
        let e5 = l_add(e4, e1);
        let e0 = vec2<u32>(4294967295u, 4294967295u);
        let e10 = select(e0, e5, e9);
        let n2 = l_held(e10);
        if ((n2 >= 0 && n2 < bitcast<i32>(p[1].y)) && n2 >= row_from && n2 < row_to) {
            let n1 = clamp(l_held(e10), 0, bitcast<i32>(p[1].z));
            let e11 = vec2<u32>(1u, 0u);
            let result = e11;
            b1[n1] = result;
        }
    }
}

