// 192 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> b1: array<vec2<u32>>;

fn l_eq(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x == b.x && a.y == b.y;
}

fn l_from_i32(x: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let q1 = at / p[0].z;
    let i1 = i32(at - q1 * p[0].z);
    let i0 = i32(q1);
    let n3 = i0 * bitcast<i32>(p[0].w);
    let n5 = n3 + i1;
    let e1 = b0[i0];
    let e0 = l_from_i32(i1);
    let e2 = l_eq(e1, e0);
    let e3 = vec2<u32>(select(0u, 1u, e2), 0u);
    b1[n5] = e3;
}

