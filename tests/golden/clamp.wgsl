// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e0 = b0[i0];
    let e1 = bitcast<f32>(p[0].z);
    let e2 = e0 < e1;
    let e3 = select(e0, e1, e2);
    let e4 = bitcast<f32>(p[0].w);
    let e5 = e3 > e4;
    let e6 = select(e3, e4, e5);
    b1[i0] = e6;
}

