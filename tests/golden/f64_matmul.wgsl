// 1 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<vec4<f64>>;
@group(0) @binding(2) var<storage, read> b1: array<vec4<f64>>;
@group(0) @binding(3) var<storage, read_write> b2: array<vec4<f64>>;
var<workgroup> tile_l: array<vec4<f64>, 256>;
var<workgroup> tile_r: array<vec4<f64>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    if (group >= 1u) { return; }
    let tile_n = (group % 1u) * 64u;
    let above = group / 1u;
    let tile_m = (above % 1u) * 64u;
    let batch = above / 1u;
    _ = batch;
    let tx = lid % 16u;
    let ty = lid / 16u;
    var acc0_0 = vec4<f64>(0.0lf, 0.0lf, 0.0lf, 0.0lf);
    var acc1_0 = vec4<f64>(0.0lf, 0.0lf, 0.0lf, 0.0lf);
    var acc2_0 = vec4<f64>(0.0lf, 0.0lf, 0.0lf, 0.0lf);
    var acc3_0 = vec4<f64>(0.0lf, 0.0lf, 0.0lf, 0.0lf);
    for (var k0 = 0u; k0 < 96u; k0 = k0 + 16u) {
        for (var j = lid; j < 256u; j = j + 256u) {
            let s = j / 4u;
            let d = (j % 4u) * 4u;
            var x = vec4<f64>(0.0lf, 0.0lf, 0.0lf, 0.0lf);
            let there = tile_m + s;
            if (there < 64u && k0 + d < 96u) {
                let i0 = i32(there);
                let four = (k0 + d) / 4u;
                let quad_ = i32(four);
                let base = quad_ * 4;
                {
                    let n1 = i0 * 96;
                    let i2 = base;
                    let n3 = n1 + i2;
                    let w0 = b0[u32(n3) >> 2u];
                    {
                        let e0 = w0[0];
                        let n3 = n1 + i2;
                        x[0] = e0;
                    }
                    {
                        let i2 = base + 1;
                        let e0 = w0[1];
                        let n3 = n1 + i2;
                        x[1] = e0;
                    }
                    {
                        let i2 = base + 2;
                        let e0 = w0[2];
                        let n3 = n1 + i2;
                        x[2] = e0;
                    }
                    {
                        let i2 = base + 3;
                        let e0 = w0[3];
                        let n3 = n1 + i2;
                        x[3] = e0;
                    }
                }
            }
            tile_l[(d + 0u) * 16u + (s >> 2u)][s & 3u] = x[0];
            tile_l[(d + 1u) * 16u + (s >> 2u)][s & 3u] = x[1];
            tile_l[(d + 2u) * 16u + (s >> 2u)][s & 3u] = x[2];
            tile_l[(d + 3u) * 16u + (s >> 2u)][s & 3u] = x[3];
        }
        for (var j = lid; j < 256u; j = j + 256u) {
            let s = tile_n + (j % 16u) * 4u;
            let d = k0 + j / 16u;
            var x = vec4<f64>(0.0lf, 0.0lf, 0.0lf, 0.0lf);
            if (s < 32u && d < 96u) {
                let i2 = i32(d);
                let four = s / 4u;
                let quad_ = i32(four);
                let base = quad_ * 4;
                {
                    let n5 = i2 * 32;
                    let i1 = base;
                    let n6 = i1 + n5;
                    let w1 = b1[u32(n6) >> 2u];
                    {
                        let e1 = w1[0];
                        let n6 = i1 + n5;
                        x[0] = e1;
                    }
                    {
                        let i1 = base + 1;
                        let e1 = w1[1];
                        let n6 = i1 + n5;
                        x[1] = e1;
                    }
                    {
                        let i1 = base + 2;
                        let e1 = w1[2];
                        let n6 = i1 + n5;
                        x[2] = e1;
                    }
                    {
                        let i1 = base + 3;
                        let e1 = w1[3];
                        let n6 = i1 + n5;
                        x[3] = e1;
                    }
                }
            }
            tile_r[j] = x;
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
        if (quad < 8u) {
            let quad_ = i32(quad);
            let base = quad_ * 4;
            {
                let row = tile_m + 0u + ty * 4u;
                if (row < 64u) {
                    let i0 = i32(row);
                    let acc = acc0_0;
                    {
                        let n7 = i0 * 32;
                        let i1 = base;
                        let n8 = n7 + i1;
                        var o0: vec4<f64>;
                        {
                            let n8 = n7 + i1;
                            o0[0] = acc[0];
                        }
                        {
                            let i1 = base + 1;
                            let n8 = n7 + i1;
                            o0[1] = acc[1];
                        }
                        {
                            let i1 = base + 2;
                            let n8 = n7 + i1;
                            o0[2] = acc[2];
                        }
                        {
                            let i1 = base + 3;
                            let n8 = n7 + i1;
                            o0[3] = acc[3];
                        }
                        b2[u32(n8) >> 2u] = o0;
                    }
                }
            }
            {
                let row = tile_m + 1u + ty * 4u;
                if (row < 64u) {
                    let i0 = i32(row);
                    let acc = acc1_0;
                    {
                        let n7 = i0 * 32;
                        let i1 = base;
                        let n8 = n7 + i1;
                        var o0: vec4<f64>;
                        {
                            let n8 = n7 + i1;
                            o0[0] = acc[0];
                        }
                        {
                            let i1 = base + 1;
                            let n8 = n7 + i1;
                            o0[1] = acc[1];
                        }
                        {
                            let i1 = base + 2;
                            let n8 = n7 + i1;
                            o0[2] = acc[2];
                        }
                        {
                            let i1 = base + 3;
                            let n8 = n7 + i1;
                            o0[3] = acc[3];
                        }
                        b2[u32(n8) >> 2u] = o0;
                    }
                }
            }
            {
                let row = tile_m + 2u + ty * 4u;
                if (row < 64u) {
                    let i0 = i32(row);
                    let acc = acc2_0;
                    {
                        let n7 = i0 * 32;
                        let i1 = base;
                        let n8 = n7 + i1;
                        var o0: vec4<f64>;
                        {
                            let n8 = n7 + i1;
                            o0[0] = acc[0];
                        }
                        {
                            let i1 = base + 1;
                            let n8 = n7 + i1;
                            o0[1] = acc[1];
                        }
                        {
                            let i1 = base + 2;
                            let n8 = n7 + i1;
                            o0[2] = acc[2];
                        }
                        {
                            let i1 = base + 3;
                            let n8 = n7 + i1;
                            o0[3] = acc[3];
                        }
                        b2[u32(n8) >> 2u] = o0;
                    }
                }
            }
            {
                let row = tile_m + 3u + ty * 4u;
                if (row < 64u) {
                    let i0 = i32(row);
                    let acc = acc3_0;
                    {
                        let n7 = i0 * 32;
                        let i1 = base;
                        let n8 = n7 + i1;
                        var o0: vec4<f64>;
                        {
                            let n8 = n7 + i1;
                            o0[0] = acc[0];
                        }
                        {
                            let i1 = base + 1;
                            let n8 = n7 + i1;
                            o0[1] = acc[1];
                        }
                        {
                            let i1 = base + 2;
                            let n8 = n7 + i1;
                            o0[2] = acc[2];
                        }
                        {
                            let i1 = base + 3;
                            let n8 = n7 + i1;
                            o0[3] = acc[3];
                        }
                        b2[u32(n8) >> 2u] = o0;
                    }
                }
            }
        }
    }
}

