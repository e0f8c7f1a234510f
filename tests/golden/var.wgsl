// 4 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;
var<workgroup> shared_f: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let lane = lid % 16u;
    let sub = lid / 16u;
    let live = group * 16u + sub < p[0].y;
    let at = min(group * 16u + sub, p[0].y - 1u);
    let i0 = i32(at);
    let n1 = i0 * bitcast<i32>(p[0].z);
    var r0_0: f32 = bitcast<f32>(p[0].w);
    {
        for (var r = lane; r < p[1].x; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            r0_0 = r0_0 + e0;
        }
    }
    shared_f[lid] = r0_0;
    workgroupBarrier();
    for (var h = 8u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r0_0 = r0_0 + shared_f[other];
            shared_f[lid] = r0_0;
        }
        workgroupBarrier();
    }
    r0_0 = shared_f[sub * 16u];
    workgroupBarrier();
    let x0_0 = r0_0;
    let e1 = 96.0f;
    let e3 = x0_0 / e1;
    var r1_0: f32 = bitcast<f32>(p[1].y);
    {
        for (var r = lane; r < p[1].z; r = r + 16u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            let e4 = e0 - e3;
            let e5 = e4 * e4;
            r1_0 = r1_0 + e5;
        }
    }
    shared_f[lid] = r1_0;
    workgroupBarrier();
    for (var h = 8u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r1_0 = r1_0 + shared_f[other];
            shared_f[lid] = r1_0;
        }
        workgroupBarrier();
    }
    r1_0 = shared_f[sub * 16u];
    workgroupBarrier();
    let x1_0 = r1_0;
    if (live && lane == 0u) {
        let e6 = 95.0f;
        let e8 = x1_0 / e6;
        b1[i0] = e8;
    }
}

