// 256 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read> b2: array<f32>;
@group(0) @binding(4) var<storage, read_write> b3: array<f32>;
var<workgroup> shared_f: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let lane = lid % 8u;
    let sub = lid / 8u;
    let live = group * 32u + sub < 8192u;
    let at = min(group * 32u + sub, 8192u - 1u);
    let q3 = at / 16u;
    let i3 = i32(at - q3 * 16u);
    let q2 = q3 / 16u;
    let i2 = i32(q3 - q2 * 16u);
    let q1 = q2 / 8u;
    let i1 = i32(q2 - q1 * 8u);
    let i0 = i32(q1);
    let n1 = i0 * 1536;
    let n3 = i2 * 16;
    let n4 = n1 + n3;
    let n6 = n4 + i3;
    let n15 = (-17);
    let n18 = (-1);
    let n23 = i1 * 54;
    var r0_0: f32 = bitcast<f32>(p[0].y);
    {
        for (var r = lane; r < 54u; r = r + 8u) {
            let q6 = r / 3u;
            let i6 = i32(r - q6 * 3u);
            let q5 = q6 / 3u;
            let i5 = i32(q6 - q5 * 3u);
            let i4 = i32(q5);
            let n8 = i4 * 256;
            let n9 = n6 + n8;
            let n11 = i5 * 16;
            let n12 = n9 + n11;
            let n14 = n12 + i6;
            let n16 = n14 + n15;
            let n17 = i2 + i5;
            let n19 = n17 + n18;
            let n20 = i3 + i6;
            let n21 = n20 + n18;
            var e0: f32 = bitcast<f32>(p[0].z);
            if ((n19 >= 0 && n19 < 16) && (n21 >= 0 && n21 < 16)) { e0 = b0[n16]; }
            let n24 = i4 * 9;
            let n25 = n23 + n24;
            let n26 = i5 * 3;
            let n27 = n25 + n26;
            let n28 = n27 + i6;
            let e1 = b1[n28];
            r0_0 = r0_0 + (e0 * e1);
        }
    }
    shared_f[lid] = r0_0;
    workgroupBarrier();
    for (var h = 4u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            r0_0 = r0_0 + shared_f[lid + h * 1u];
            shared_f[lid] = r0_0;
        }
        workgroupBarrier();
    }
    r0_0 = shared_f[sub * 8u];
    workgroupBarrier();
    let x0_0 = r0_0;
    if (live && lane == 0u) {
        let n29 = i0 * 2048;
        let n30 = i1 * 256;
        let n31 = n29 + n30;
        let n32 = n31 + n3;
        let n33 = n32 + i3;
        let e2 = b2[i1];
        let e4 = x0_0 + e2;
        b3[n33] = e4;
    }
}

