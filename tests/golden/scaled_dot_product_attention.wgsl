// 8 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 17>;
@group(0) @binding(1) var<storage, read> b0: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b1: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> b2: array<vec4<f32>>;
var<workgroup> tile_l: array<vec4<f32>, 256>;
var<workgroup> tile_r: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    if (group >= p[0].y) { return; }
    let tile_n = (group % p[0].z) * 64u;
    let above = group / p[0].z;
    let tile_m = (above % p[0].w) * 64u;
    let batch = above / p[0].w;
    let q_i1 = batch / p[1].x;
    let i1 = i32(batch - q_i1 * p[1].x);
    let i0 = i32(q_i1);
    let tx = lid % 16u;
    let ty = lid / 16u;
    var acc0_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc1_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc2_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var acc3_0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    for (var k0 = 0u; k0 < p[1].z; k0 = k0 + 16u) {
        for (var j = lid; j < 1024u; j = j + 256u) {
            let s = j % 64u;
            let d = j / 64u;
            var x = 0.0;
            let there = tile_m + s;
            let deep = k0 + d;
            if (there < p[1].y && deep < p[1].z) {
                let i2 = i32(there);
                let i4 = i32(deep);
                let n1 = i0 * bitcast<i32>(p[2].x);
                let n3 = i1 * bitcast<i32>(p[2].y);
                let n4 = n1 + n3;
                let n6 = i2 * bitcast<i32>(p[2].z);
                let n7 = n4 + n6;
                let n9 = n7 + i4;
                let e1 = b0[u32(n9) >> 2u][u32(n9) & 3u];
                let e0 = 0.35355338f;
                let e2 = e1 * e0;
                x = e2;
            }
            tile_l[d * 16u + (s >> 2u)][s & 3u] = x;
        }
        for (var j = lid; j < 1024u; j = j + 256u) {
            let s = j % 64u;
            let d = j / 64u;
            var x = 0.0;
            let there = tile_n + s;
            let deep = k0 + d;
            if (there < p[1].w && deep < p[1].z) {
                let i3 = i32(there);
                let i4 = i32(deep);
                let n10 = i0 * bitcast<i32>(p[2].w);
                let n11 = i1 * bitcast<i32>(p[3].x);
                let n12 = n10 + n11;
                let n14 = i3 * bitcast<i32>(p[3].y);
                let n15 = n12 + n14;
                let n16 = n15 + i4;
                let e3 = b1[u32(n16) >> 2u][u32(n16) & 3u];
                x = e3;
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
        if (quad < p[3].z) {
            let at0 = min(quad * 4u + 0u, p[3].w);
            let c0_3 = i32(at0);
            let at1 = min(quad * 4u + 1u, p[3].w);
            let c1_3 = i32(at1);
            let at2 = min(quad * 4u + 2u, p[3].w);
            let c2_3 = i32(at2);
            let at3 = min(quad * 4u + 3u, p[3].w);
            let c3_3 = i32(at3);
            {
                let row = tile_m + 0u + ty * 4u;
                if (row < p[1].y) {
                    let i2 = i32(row);
                    let acc = acc0_0;
                    if (quad * 4u + 0u < p[4].x) {
                        let i3 = c0_3;
                        let n17 = i0 * bitcast<i32>(p[4].y);
                        let n18 = i1 * bitcast<i32>(p[4].z);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[4].w);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[0];
                    }
                    if (quad * 4u + 1u < p[4].x) {
                        let i3 = c1_3;
                        let n17 = i0 * bitcast<i32>(p[5].x);
                        let n18 = i1 * bitcast<i32>(p[5].y);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[5].z);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[1];
                    }
                    if (quad * 4u + 2u < p[4].x) {
                        let i3 = c2_3;
                        let n17 = i0 * bitcast<i32>(p[5].w);
                        let n18 = i1 * bitcast<i32>(p[6].x);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[6].y);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[2];
                    }
                    if (quad * 4u + 3u < p[4].x) {
                        let i3 = c3_3;
                        let n17 = i0 * bitcast<i32>(p[6].z);
                        let n18 = i1 * bitcast<i32>(p[6].w);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[7].x);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[3];
                    }
                }
            }
            {
                let row = tile_m + 1u + ty * 4u;
                if (row < p[1].y) {
                    let i2 = i32(row);
                    let acc = acc1_0;
                    if (quad * 4u + 0u < p[7].y) {
                        let i3 = c0_3;
                        let n17 = i0 * bitcast<i32>(p[7].z);
                        let n18 = i1 * bitcast<i32>(p[7].w);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[8].x);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[0];
                    }
                    if (quad * 4u + 1u < p[7].y) {
                        let i3 = c1_3;
                        let n17 = i0 * bitcast<i32>(p[8].y);
                        let n18 = i1 * bitcast<i32>(p[8].z);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[8].w);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[1];
                    }
                    if (quad * 4u + 2u < p[7].y) {
                        let i3 = c2_3;
                        let n17 = i0 * bitcast<i32>(p[9].x);
                        let n18 = i1 * bitcast<i32>(p[9].y);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[9].z);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[2];
                    }
                    if (quad * 4u + 3u < p[7].y) {
                        let i3 = c3_3;
                        let n17 = i0 * bitcast<i32>(p[9].w);
                        let n18 = i1 * bitcast<i32>(p[10].x);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[10].y);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[3];
                    }
                }
            }
            {
                let row = tile_m + 2u + ty * 4u;
                if (row < p[1].y) {
                    let i2 = i32(row);
                    let acc = acc2_0;
                    if (quad * 4u + 0u < p[10].z) {
                        let i3 = c0_3;
                        let n17 = i0 * bitcast<i32>(p[10].w);
                        let n18 = i1 * bitcast<i32>(p[11].x);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[11].y);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[0];
                    }
                    if (quad * 4u + 1u < p[10].z) {
                        let i3 = c1_3;
                        let n17 = i0 * bitcast<i32>(p[11].z);
                        let n18 = i1 * bitcast<i32>(p[11].w);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[12].x);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[1];
                    }
                    if (quad * 4u + 2u < p[10].z) {
                        let i3 = c2_3;
                        let n17 = i0 * bitcast<i32>(p[12].y);
                        let n18 = i1 * bitcast<i32>(p[12].z);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[12].w);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[2];
                    }
                    if (quad * 4u + 3u < p[10].z) {
                        let i3 = c3_3;
                        let n17 = i0 * bitcast<i32>(p[13].x);
                        let n18 = i1 * bitcast<i32>(p[13].y);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[13].z);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[3];
                    }
                }
            }
            {
                let row = tile_m + 3u + ty * 4u;
                if (row < p[1].y) {
                    let i2 = i32(row);
                    let acc = acc3_0;
                    if (quad * 4u + 0u < p[13].w) {
                        let i3 = c0_3;
                        let n17 = i0 * bitcast<i32>(p[14].x);
                        let n18 = i1 * bitcast<i32>(p[14].y);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[14].z);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[0];
                    }
                    if (quad * 4u + 1u < p[13].w) {
                        let i3 = c1_3;
                        let n17 = i0 * bitcast<i32>(p[14].w);
                        let n18 = i1 * bitcast<i32>(p[15].x);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[15].y);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[1];
                    }
                    if (quad * 4u + 2u < p[13].w) {
                        let i3 = c2_3;
                        let n17 = i0 * bitcast<i32>(p[15].z);
                        let n18 = i1 * bitcast<i32>(p[15].w);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[16].x);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[2];
                    }
                    if (quad * 4u + 3u < p[13].w) {
                        let i3 = c3_3;
                        let n17 = i0 * bitcast<i32>(p[16].y);
                        let n18 = i1 * bitcast<i32>(p[16].z);
                        let n19 = n17 + n18;
                        let n20 = i2 * bitcast<i32>(p[16].w);
                        let n21 = n19 + n20;
                        let n22 = n21 + i3;
                        b2[u32(n22) >> 2u][u32(n22) & 3u] = acc[3];
                    }
                }
            }
        }
    }
}

// 2 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;
var<workgroup> shared_f: array<f32, 256>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn opaque_f(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ p[0].x);
}

fn f_max(a: f32, b: f32) -> f32 {
    return select(max(a, b), a + b, is_nan(a) || is_nan(b));
}

fn pow2(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

fn scale2(y: f32, n: i32) -> f32 {
    let half = n >> 1u;
    return opaque_f(y * pow2(half)) * pow2(n - half);
}

fn exp_unit(r: f32) -> f32 {
    let q = 4.999999702e-01 + r * (1.666654199e-01 + r * (4.166720435e-02 + r * (8.366647176e-03 + r * 1.388249686e-03)));
    return (r * r * q + r) + 1.0;
}

fn exp_rest(x: f32, n: f32) -> f32 {
    return (x - n * 0.69314575) - n * 1.4286068e-6;
}

fn exp_shifted(x: f32, shift: i32) -> f32 {
    let c = clamp(x, -105.0, 90.0);
    let n = round(c * 1.44269504);
    return scale2(exp_unit(exp_rest(c, n)), i32(n) + shift);
}

fn f_exp(x: f32) -> f32 {
    return select(exp_shifted(x, 0), x, is_nan(x));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let lane = lid % 4u;
    let sub = lid / 4u;
    let live = group * 64u + sub < p[0].y;
    let at = min(group * 64u + sub, p[0].y - 1u);
    let i0 = i32(at);
    let n1 = i0 * bitcast<i32>(p[0].z);
    var r0_0: f32 = bitcast<f32>(p[0].w);
    {
        for (var r = lane; r < p[1].x; r = r + 4u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            r0_0 = f_max(r0_0, e0);
        }
    }
    shared_f[lid] = r0_0;
    workgroupBarrier();
    for (var h = 2u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r0_0 = f_max(r0_0, shared_f[other]);
            shared_f[lid] = r0_0;
        }
        workgroupBarrier();
    }
    r0_0 = shared_f[sub * 4u];
    workgroupBarrier();
    let x0_0 = r0_0;
    var r1_0: f32 = bitcast<f32>(p[1].y);
    {
        for (var r = lane; r < p[1].z; r = r + 4u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            let e2 = e0 - x0_0;
            let e3 = f_exp(e2);
            r1_0 = r1_0 + e3;
        }
    }
    shared_f[lid] = r1_0;
    workgroupBarrier();
    for (var h = 2u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            r1_0 = r1_0 + shared_f[other];
            shared_f[lid] = r1_0;
        }
        workgroupBarrier();
    }
    r1_0 = shared_f[sub * 4u];
    workgroupBarrier();
    let x1_0 = r1_0;
    {
        for (var r = lane; r < p[1].w; r = r + 4u) {
            let i1 = i32(r);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            let e2 = e0 - x0_0;
            let e3 = f_exp(e2);
            let e6 = e3 / x1_0;
            if (live) {
                b1[n3] = e6;
            }
        }
    }
}

// 16 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 4>;
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
    let q_i3 = at / p[0].z;
    let i3 = i32(at - q_i3 * p[0].z);
    let q_i2 = q_i3 / p[0].w;
    let i2 = i32(q_i3 - q_i2 * p[0].w);
    let q_i1 = q_i2 / p[1].x;
    let i1 = i32(q_i2 - q_i1 * p[1].x);
    let i0 = i32(q_i1);
    let n1 = i0 * bitcast<i32>(p[1].y);
    let n3 = i1 * bitcast<i32>(p[1].z);
    let n4 = n1 + n3;
    let n6 = i2 * bitcast<i32>(p[1].w);
    let n7 = n4 + n6;
    let n10 = i0 * bitcast<i32>(p[2].x);
    let n11 = i1 * bitcast<i32>(p[2].y);
    let n12 = n10 + n11;
    let n14 = n12 + i3;
    var r0_0: f32 = bitcast<f32>(p[2].z);
    {
        for (var r = lane; r < p[2].w; r = r + 4u) {
            let i4 = i32(r);
            let n9 = n7 + i4;
            let e0 = b0[n9];
            let n15 = i4 * bitcast<i32>(p[3].x);
            let n16 = n14 + n15;
            let e1 = b1[n16];
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
        let n17 = i0 * bitcast<i32>(p[3].y);
        let n18 = i1 * bitcast<i32>(p[3].z);
        let n19 = n17 + n18;
        let n20 = i2 * bitcast<i32>(p[3].w);
        let n21 = n19 + n20;
        let n22 = n21 + i3;
        b2[n22] = x0_0;
    }
}

