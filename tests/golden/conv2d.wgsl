// 16 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read> b2: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> b3: array<vec4<f32>>;
var<workgroup> tile_l: array<vec4<f32>, 256>;
var<workgroup> tile_r: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    if (group >= 16u) { return; }
    let tile_n = (group % 16u) * 64u;
    let above = group / 16u;
    let tile_m = (above % 1u) * 64u;
    let batch = above / 1u;
    _ = batch;
    let tx = lid % 16u;
    let ty = lid / 16u;
    var acc0_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc1_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc2_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc3_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    for (var k0 = 0u; k0 < 54u; k0 = k0 + 16u) {
        for (var j = lid; j < 1024u; j = j + 256u) {
            let s = j % 64u;
            let d = j / 64u;
            var x = 0.0;
            let there = tile_m + s;
            let deep = k0 + d;
            if (there < 8u && deep < 54u) {
                let i1 = i32(there);
                let q_i6 = deep / 3u;
                let i6 = i32(deep - q_i6 * 3u);
                let q_i5 = q_i6 / 3u;
                let i5 = i32(q_i6 - q_i5 * 3u);
                let i4 = i32(q_i5);
                let n23 = i1 * 54;
                let n24 = i4 * 9;
                let n25 = n23 + n24;
                let n26 = i5 * 3;
                let n27 = n25 + n26;
                let n28 = n27 + i6;
                let e1 = b1[n28];
                x = e1;
            }
            tile_l[d * 16u + (s >> 2u)][s & 3u] = x;
        }
        for (var j = lid; j < 1024u; j = j + 256u) {
            let s = j % 64u;
            let d = j / 64u;
            var x = 0.0;
            let there = tile_n + s;
            let deep = k0 + d;
            if (there < 1024u && deep < 54u) {
                let q_i3 = there / 16u;
                let i3 = i32(there - q_i3 * 16u);
                let q_i2 = q_i3 / 16u;
                let i2 = i32(q_i3 - q_i2 * 16u);
                let i0 = i32(q_i2);
                let q_i6 = deep / 3u;
                let i6 = i32(deep - q_i6 * 3u);
                let q_i5 = q_i6 / 3u;
                let i5 = i32(q_i6 - q_i5 * 3u);
                let i4 = i32(q_i5);
                let n1 = i0 * 1536;
                let n3 = i2 * 16;
                let n4 = n1 + n3;
                let n6 = n4 + i3;
                let n8 = i4 * 256;
                let n9 = n6 + n8;
                let n11 = i5 * 16;
                let n12 = n9 + n11;
                let n14 = n12 + i6;
                let n15 = (-17);
                let n16 = n14 + n15;
                let n17 = i2 + i5;
                let n18 = (-1);
                let n19 = n17 + n18;
                let n20 = i3 + i6;
                let n21 = n20 + n18;
                var e0: f32 = bitcast<f32>(p[0].y);
                if ((n19 >= 0 && n19 < 16) && (n21 >= 0 && n21 < 16)) { e0 = b0[n16]; }
                x = e0;
            }
            tile_r[d * 16u + (s >> 2u)][s & 3u] = x;
        }
        workgroupBarrier();
        for (var d = 0u; d < 16u; d = d + 1u) {
            let left0 = tile_l[d * 16u + ty + 0u];
            let right0 = tile_r[d * 16u + tx + 0u];
            acc0_0 = acc0_0 + left0[0] * right0;
            acc1_0 = acc1_0 + left0[1] * right0;
            acc2_0 = acc2_0 + left0[2] * right0;
            acc3_0 = acc3_0 + left0[3] * right0;
        }
        workgroupBarrier();
    }
    {
        let quad = tile_n / 4u + tx + 0u;
        if (quad < 256u) {
            let q_quad_ = quad / 4u;
            let quad_ = i32(quad - q_quad_ * 4u);
            let q_i2 = q_quad_ / 16u;
            let i2 = i32(q_quad_ - q_i2 * 16u);
            let i0 = i32(q_i2);
            let base = quad_ * 4;
            {
                let row = tile_m + 0u + ty * 4u;
                if (row < 8u) {
                    let i1 = i32(row);
                    let acc = acc0_0;
                    {
                        let n29 = i0 * 2048;
                        let n30 = i1 * 256;
                        let n31 = n29 + n30;
                        let n3 = i2 * 16;
                        let n32 = n31 + n3;
                        let e2 = b2[u32(i1) >> 2u][u32(i1) & 3u];
                        let i3 = base;
                        let n33 = n32 + i3;
                        var o0: vec4<f32>;
                        {
                            let n33 = n32 + i3;
                            let e4 = acc[0] + e2;
                            o0[0] = e4;
                        }
                        {
                            let i3 = base + 1;
                            let n33 = n32 + i3;
                            let e4 = acc[1] + e2;
                            o0[1] = e4;
                        }
                        {
                            let i3 = base + 2;
                            let n33 = n32 + i3;
                            let e4 = acc[2] + e2;
                            o0[2] = e4;
                        }
                        {
                            let i3 = base + 3;
                            let n33 = n32 + i3;
                            let e4 = acc[3] + e2;
                            o0[3] = e4;
                        }
                        b3[u32(n33) >> 2u] = o0;
                    }
                }
            }
            {
                let row = tile_m + 1u + ty * 4u;
                if (row < 8u) {
                    let i1 = i32(row);
                    let acc = acc1_0;
                    {
                        let n29 = i0 * 2048;
                        let n30 = i1 * 256;
                        let n31 = n29 + n30;
                        let n3 = i2 * 16;
                        let n32 = n31 + n3;
                        let e2 = b2[u32(i1) >> 2u][u32(i1) & 3u];
                        let i3 = base;
                        let n33 = n32 + i3;
                        var o0: vec4<f32>;
                        {
                            let n33 = n32 + i3;
                            let e4 = acc[0] + e2;
                            o0[0] = e4;
                        }
                        {
                            let i3 = base + 1;
                            let n33 = n32 + i3;
                            let e4 = acc[1] + e2;
                            o0[1] = e4;
                        }
                        {
                            let i3 = base + 2;
                            let n33 = n32 + i3;
                            let e4 = acc[2] + e2;
                            o0[2] = e4;
                        }
                        {
                            let i3 = base + 3;
                            let n33 = n32 + i3;
                            let e4 = acc[3] + e2;
                            o0[3] = e4;
                        }
                        b3[u32(n33) >> 2u] = o0;
                    }
                }
            }
            {
                let row = tile_m + 2u + ty * 4u;
                if (row < 8u) {
                    let i1 = i32(row);
                    let acc = acc2_0;
                    {
                        let n29 = i0 * 2048;
                        let n30 = i1 * 256;
                        let n31 = n29 + n30;
                        let n3 = i2 * 16;
                        let n32 = n31 + n3;
                        let e2 = b2[u32(i1) >> 2u][u32(i1) & 3u];
                        let i3 = base;
                        let n33 = n32 + i3;
                        var o0: vec4<f32>;
                        {
                            let n33 = n32 + i3;
                            let e4 = acc[0] + e2;
                            o0[0] = e4;
                        }
                        {
                            let i3 = base + 1;
                            let n33 = n32 + i3;
                            let e4 = acc[1] + e2;
                            o0[1] = e4;
                        }
                        {
                            let i3 = base + 2;
                            let n33 = n32 + i3;
                            let e4 = acc[2] + e2;
                            o0[2] = e4;
                        }
                        {
                            let i3 = base + 3;
                            let n33 = n32 + i3;
                            let e4 = acc[3] + e2;
                            o0[3] = e4;
                        }
                        b3[u32(n33) >> 2u] = o0;
                    }
                }
            }
            {
                let row = tile_m + 3u + ty * 4u;
                if (row < 8u) {
                    let i1 = i32(row);
                    let acc = acc3_0;
                    {
                        let n29 = i0 * 2048;
                        let n30 = i1 * 256;
                        let n31 = n29 + n30;
                        let n3 = i2 * 16;
                        let n32 = n31 + n3;
                        let e2 = b2[u32(i1) >> 2u][u32(i1) & 3u];
                        let i3 = base;
                        let n33 = n32 + i3;
                        var o0: vec4<f32>;
                        {
                            let n33 = n32 + i3;
                            let e4 = acc[0] + e2;
                            o0[0] = e4;
                        }
                        {
                            let i3 = base + 1;
                            let n33 = n32 + i3;
                            let e4 = acc[1] + e2;
                            o0[1] = e4;
                        }
                        {
                            let i3 = base + 2;
                            let n33 = n32 + i3;
                            let e4 = acc[2] + e2;
                            o0[2] = e4;
                        }
                        {
                            let i3 = base + 3;
                            let n33 = n32 + i3;
                            let e4 = acc[3] + e2;
                            o0[3] = e4;
                        }
                        b3[u32(n33) >> 2u] = o0;
                    }
                }
            }
        }
    }
}

