// 6 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 4>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

fn f_ne(a: f32, b: f32) -> bool {
    return !(a == b);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let q_i1 = at / p[0].z;
    let i1 = i32(at - q_i1 * p[0].z);
    let i0 = i32(q_i1);
    let n27 = i0 * bitcast<i32>(p[0].w);
    let n29 = n27 + i1;
    let n20 = i0 * bitcast<i32>(p[1].x);
    let n22 = i1 * bitcast<i32>(p[1].y);
    let n23 = n20 + n22;
    let n24 = bitcast<i32>(p[1].z);
    let n25 = n23 + n24;
    let e11 = b0[n25];
    let n13 = i0 * bitcast<i32>(p[1].w);
    let n15 = i1 * bitcast<i32>(p[2].x);
    let n16 = n13 + n15;
    let n17 = bitcast<i32>(p[2].y);
    let n18 = n16 + n17;
    let e6 = b0[n18];
    let n6 = i0 * bitcast<i32>(p[2].z);
    let n8 = i1 * bitcast<i32>(p[2].w);
    let n9 = n6 + n8;
    let n10 = 1;
    let n11 = n9 + n10;
    let e1 = b0[n11];
    let n1 = i0 * bitcast<i32>(p[3].x);
    let n3 = i1 * bitcast<i32>(p[3].y);
    let n4 = n1 + n3;
    let e0 = b0[n4];
    let e3 = e1 > e0;
    let e2 = f_ne(e1, e1);
    let e4 = e3 | e2;
    let e5 = select(e0, e1, e4);
    let e8 = e6 > e5;
    let e7 = f_ne(e6, e6);
    let e9 = e8 | e7;
    let e10 = select(e5, e6, e9);
    let e13 = e11 > e10;
    let e12 = f_ne(e11, e11);
    let e14 = e13 | e12;
    let e15 = select(e10, e11, e14);
    b1[n29] = e15;
}

