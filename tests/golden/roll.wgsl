// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let q_i1 = at / p[0].z;
    let i1 = i32(at - q_i1 * p[0].z);
    let i0 = i32(q_i1);
    let n1 = i0 * bitcast<i32>(p[0].w);
    let n3 = n1 + i1;
    let e2 = (i1 >= 0 && i1 < bitcast<i32>(p[1].x));
    let n7 = bitcast<i32>(p[1].y);
    let n8 = n3 + n7;
    var e1: f32 = bitcast<f32>(p[1].z);
    if ((i1 >= 0 && i1 < bitcast<i32>(p[1].w))) { e1 = b0[n8]; }
    let n4 = bitcast<i32>(p[2].x);
    let n5 = n3 + n4;
    let n6 = i1 + n4;
    var e0: f32 = bitcast<f32>(p[2].y);
    if ((n6 >= 0 && n6 < bitcast<i32>(p[2].z))) { e0 = b0[n5]; }
    let e3 = select(e0, e1, e2);
    b1[n3] = e3;
}

