// 25 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 4>;
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
    let n15 = i0 * bitcast<i32>(p[0].w);
    let n16 = n15 + i1;
    let e5 = (i1 >= 0 && i1 < 1);
    let n1 = i0 * bitcast<i32>(p[1].x);
    let n9 = n1 + i1;
    let n13 = 1;
    let n14 = n9 + n13;
    var e2: f32 = bitcast<f32>(p[1].y);
    if ((i1 >= 0 && i1 < 1)) { e2 = b0[n14]; }
    let n10 = (-1);
    let n12 = i1 + n10;
    let e3 = (n12 >= 0 && n12 < bitcast<i32>(p[1].z));
    let n11 = n9 + n10;
    var e1: f32 = bitcast<f32>(p[1].w);
    if ((n12 >= 0 && n12 < bitcast<i32>(p[2].x))) { e1 = b0[n11]; }
    let n3 = i1 * (-1);
    let n4 = n1 + n3;
    let n5 = bitcast<i32>(p[2].y);
    let n6 = n4 + n5;
    let n7 = bitcast<i32>(p[2].z);
    let n8 = i1 + n7;
    var e0: f32 = bitcast<f32>(p[2].w);
    if ((n8 >= 0 && n8 < bitcast<i32>(p[3].x))) { e0 = b0[n6]; }
    let e4 = select(e0, e1, e3);
    let e6 = select(e4, e2, e5);
    b1[n16] = e6;
}

