// 8 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 3>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read_write> b2: array<f32>;
var<workgroup> shared_f: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let lane = lid % 4u;
    let sub = lid / 4u;
    let live = group * 64u + sub < p[0].y;
    let at = min(group * 64u + sub, p[0].y - 1u);
    let q_i2 = at / p[0].z;
    let i2 = i32(at - q_i2 * p[0].z);
    let q_i1 = q_i2 / p[0].w;
    let i1 = i32(q_i2 - q_i1 * p[0].w);
    let i0 = i32(q_i1);
    let n1 = i0 * bitcast<i32>(p[1].x);
    let n3 = i1 * bitcast<i32>(p[1].y);
    let n4 = n1 + n3;
    let n7 = i0 * bitcast<i32>(p[1].z);
    let n9 = n7 + i2;
    var r0_0: f32 = bitcast<f32>(p[1].w);
    {
        for (var r = lane; r < p[2].x; r = r + 4u) {
            let i3 = i32(r);
            let n6 = n4 + i3;
            let e0 = b0[n6];
            let n10 = i3 * bitcast<i32>(p[2].y);
            let n11 = n9 + n10;
            let e1 = b1[n11];
            r0_0 = r0_0 + (e0 * e1);
        }
    }
    shared_f[lid] = r0_0;
    workgroupBarrier();
    for (var h = 2u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r0_0 = r0_0 + shared_f[other];
            shared_f[lid] = r0_0;
        }
        workgroupBarrier();
    }
    r0_0 = shared_f[sub * 4u];
    workgroupBarrier();
    let x0_0 = r0_0;
    if (live && lane == 0u) {
        let n12 = i0 * bitcast<i32>(p[2].z);
        let n13 = i1 * bitcast<i32>(p[2].w);
        let n14 = n12 + n13;
        let n15 = n14 + i2;
        b2[n15] = x0_0;
    }
}

