// 1 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read_write> b0: array<vec2<u32>>;

fn l_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let x = a.x + b.x;
    return vec2<u32>(x, a.y + b.y + select(0u, 1u, x < a.x));
}

fn l_from_i32(x: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e4 = false;
    let e0 = l_from_i32(i0);
    let e1 = vec2<u32>(96u, 0u);
    let e2 = l_add(e0, e1);
    let e5 = select(e0, e2, e4);
    b0[i0] = e5;
}

// 3 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read_write> b2: array<f32>;

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
    let q_i1 = at / p[0].z;
    let i1 = i32(at - q_i1 * p[0].z);
    let i0 = i32(q_i1);
    let n5 = i0 * bitcast<i32>(p[0].w);
    let n6 = n5 + i1;
    let n2 = i0 * bitcast<i32>(p[1].x);
    let e0 = b0[i1];
    let n3 = clamp(l_held(e0), 0, bitcast<i32>(p[1].y));
    let n4 = n2 + n3;
    let e1 = b1[n4];
    b2[n6] = e1;
}

