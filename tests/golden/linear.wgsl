// 1 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read> b2: array<f32>;
@group(0) @binding(4) var<storage, read_write> b3: array<f32>;
var<workgroup> tile_a: array<f32, 1024>;
var<workgroup> tile_b: array<f32, 1024>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    if (group >= 1u) { return; }
    let tile_n = i32(group % 1u) * 64;
    let above = group / 1u;
    let tile_m = i32(above % 1u) * 64;
    let batch = above / 1u;
    _ = batch;
    let tx = lid % 16u;
    let ty = lid / 16u;
    var acc0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc1 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc2 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc3 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    for (var k0 = 0; k0 < 96; k0 = k0 + 16) {
        for (var j = lid; j < 1024u; j = j + 256u) {
            let s = j / 16u;
            let d = j % 16u;
            let i0 = tile_m + i32(s);
            let i2 = k0 + i32(d);
            var x = 0.0;
            if (i0 < 64 && i2 < 96) {
                let n1 = i0 * 96;
                let n3 = n1 + i2;
                let e0 = b0[n3];
                x = e0;
            }
            tile_a[d * 64u + s] = x;
        }
        for (var j = lid; j < 1024u; j = j + 256u) {
            let s = j / 16u;
            let d = j % 16u;
            let i1 = tile_n + i32(s);
            let i2 = k0 + i32(d);
            var x = 0.0;
            if (i1 < 32 && i2 < 96) {
                let n5 = i1 * 96;
                let n6 = n5 + i2;
                let e1 = b1[n6];
                x = e1;
            }
            tile_b[d * 64u + s] = x;
        }
        workgroupBarrier();
        for (var d = 0u; d < 16u; d = d + 1u) {
            let ra = d * 64u + ty * 4u;
            let rb = d * 64u + tx * 4u;
            let column = vec4<f32>(tile_b[rb], tile_b[rb + 1u], tile_b[rb + 2u], tile_b[rb + 3u]);
            acc0 = acc0 + tile_a[ra + 0u] * column;
            acc1 = acc1 + tile_a[ra + 1u] * column;
            acc2 = acc2 + tile_a[ra + 2u] * column;
            acc3 = acc3 + tile_a[ra + 3u] * column;
        }
        workgroupBarrier();
    }
    let m0 = tile_m + i32(ty) * 4;
    let n0 = tile_n + i32(tx) * 4;
    if (m0 + 0 < 64) {
        let i0 = m0 + 0;
        if (n0 + 0 < 32) {
            let i1 = n0 + 0;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc0[0] + e2;
            b3[n8] = e4;
        }
        if (n0 + 1 < 32) {
            let i1 = n0 + 1;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc0[1] + e2;
            b3[n8] = e4;
        }
        if (n0 + 2 < 32) {
            let i1 = n0 + 2;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc0[2] + e2;
            b3[n8] = e4;
        }
        if (n0 + 3 < 32) {
            let i1 = n0 + 3;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc0[3] + e2;
            b3[n8] = e4;
        }
    }
    if (m0 + 1 < 64) {
        let i0 = m0 + 1;
        if (n0 + 0 < 32) {
            let i1 = n0 + 0;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc1[0] + e2;
            b3[n8] = e4;
        }
        if (n0 + 1 < 32) {
            let i1 = n0 + 1;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc1[1] + e2;
            b3[n8] = e4;
        }
        if (n0 + 2 < 32) {
            let i1 = n0 + 2;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc1[2] + e2;
            b3[n8] = e4;
        }
        if (n0 + 3 < 32) {
            let i1 = n0 + 3;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc1[3] + e2;
            b3[n8] = e4;
        }
    }
    if (m0 + 2 < 64) {
        let i0 = m0 + 2;
        if (n0 + 0 < 32) {
            let i1 = n0 + 0;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc2[0] + e2;
            b3[n8] = e4;
        }
        if (n0 + 1 < 32) {
            let i1 = n0 + 1;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc2[1] + e2;
            b3[n8] = e4;
        }
        if (n0 + 2 < 32) {
            let i1 = n0 + 2;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc2[2] + e2;
            b3[n8] = e4;
        }
        if (n0 + 3 < 32) {
            let i1 = n0 + 3;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc2[3] + e2;
            b3[n8] = e4;
        }
    }
    if (m0 + 3 < 64) {
        let i0 = m0 + 3;
        if (n0 + 0 < 32) {
            let i1 = n0 + 0;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc3[0] + e2;
            b3[n8] = e4;
        }
        if (n0 + 1 < 32) {
            let i1 = n0 + 1;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc3[1] + e2;
            b3[n8] = e4;
        }
        if (n0 + 2 < 32) {
            let i1 = n0 + 2;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc3[2] + e2;
            b3[n8] = e4;
        }
        if (n0 + 3 < 32) {
            let i1 = n0 + 3;
            let n7 = i0 * 32;
            let n8 = n7 + i1;
            let e2 = b2[i1];
            let e4 = acc3[3] + e2;
            b3[n8] = e4;
        }
    }
}

