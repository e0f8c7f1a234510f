// 8 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b1: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> b2: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> b3: array<vec4<f32>>;
var<workgroup> tile_key: array<vec4<f32>, 64>;
var<workgroup> tile_value: array<vec4<f32>, 64>;

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

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    if (group >= 8u) { return; }
    let first_column = i32(group % 1u) * 8;
    let above = group / 1u;
    let query = (above % 1u) * 16u + lid;
    let batch = above / 1u;
    let q_i1 = batch / 4u;
    let i1 = i32(batch - q_i1 * 4u);
    let i0 = i32(q_i1);
    let live = query < 16u;
    let i2 = i32(min(query, 16u - 1u));
    var query_ = array<vec4<f32>, 2>();
    for (var c = 0; c < 2; c = c + 1) {
        let at = c * 4;
        query_[c] = vec4<f32>(0.0, 0.0, 0.0, 0.0);
        {
            let n1 = i0 * 512;
            let n3 = i1 * 128;
            let n4 = n1 + n3;
            let n6 = i2 * 8;
            let n7 = n4 + n6;
            let e0 = 0.35355338f;
            let i5 = at;
            let n9 = n7 + i5;
            let w1 = b0[u32(n9) >> 2u];
            {
                let e1 = w1[0];
                let n9 = n7 + i5;
                let e2 = e1 * e0;
                query_[c][0] = e2;
            }
            {
                let i5 = at + 1;
                let e1 = w1[1];
                let n9 = n7 + i5;
                let e2 = e1 * e0;
                query_[c][1] = e2;
            }
            {
                let i5 = at + 2;
                let e1 = w1[2];
                let n9 = n7 + i5;
                let e2 = e1 * e0;
                query_[c][2] = e2;
            }
            {
                let i5 = at + 3;
                let e1 = w1[3];
                let n9 = n7 + i5;
                let e2 = e1 * e0;
                query_[c][3] = e2;
            }
        }
    }
    let query0 = query_[0];
    let query1 = query_[1];
    var mean0 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    var mean1 = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    let lowest = bitcast<f32>(p[0].y);
    var highest = lowest;
    var total = 0.0;
    for (var first = 0; first < 24; first = first + 32) {
        for (var j = lid; j < 64u; j = j + 16u) {
            var four = vec4<f32>(0.0, 0.0, 0.0, 0.0);
            let i4 = first + i32(j / 2u);
            if (i4 < 24) {
                let at = 0 + i32(j % 2u) * 4;
                {
                    let n10 = i0 * 768;
                    let n11 = i1 * 192;
                    let n12 = n10 + n11;
                    let n14 = i4 * 8;
                    let n15 = n12 + n14;
                    let i5 = at;
                    let n16 = n15 + i5;
                    let w3 = b1[u32(n16) >> 2u];
                    {
                        let e3 = w3[0];
                        let n16 = n15 + i5;
                        four[0] = e3;
                    }
                    {
                        let i5 = at + 1;
                        let e3 = w3[1];
                        let n16 = n15 + i5;
                        four[1] = e3;
                    }
                    {
                        let i5 = at + 2;
                        let e3 = w3[2];
                        let n16 = n15 + i5;
                        four[2] = e3;
                    }
                    {
                        let i5 = at + 3;
                        let e3 = w3[3];
                        let n16 = n15 + i5;
                        four[3] = e3;
                    }
                }
            }
            tile_key[j] = four;
        }
        for (var j = lid; j < 64u; j = j + 16u) {
            var four = vec4<f32>(0.0, 0.0, 0.0, 0.0);
            let i4 = first + i32(j / 2u);
            if (i4 < 24) {
                let at = first_column + i32(j % 2u) * 4;
                {
                    let n10 = i0 * 768;
                    let n11 = i1 * 192;
                    let n12 = n10 + n11;
                    let n14 = i4 * 8;
                    let i3 = at;
                    let n18 = n12 + i3;
                    let n19 = n18 + n14;
                    let w8 = b2[u32(n19) >> 2u];
                    {
                        let e8 = w8[0];
                        let n18 = n12 + i3;
                        let n19 = n18 + n14;
                        four[0] = e8;
                    }
                    {
                        let i3 = at + 1;
                        let e8 = w8[1];
                        let n18 = n12 + i3;
                        let n19 = n18 + n14;
                        four[1] = e8;
                    }
                    {
                        let i3 = at + 2;
                        let e8 = w8[2];
                        let n18 = n12 + i3;
                        let n19 = n18 + n14;
                        four[2] = e8;
                    }
                    {
                        let i3 = at + 3;
                        let e8 = w8[3];
                        let n18 = n12 + i3;
                        let n19 = n18 + n14;
                        four[3] = e8;
                    }
                }
            }
            tile_value[j] = four;
        }
        workgroupBarrier();
        for (var near = 0; near < 32; near = near + 4) {
            var dot0 = vec2<f32>();
            var dot1 = vec2<f32>();
            var dot2 = vec2<f32>();
            var dot3 = vec2<f32>();
            let key0_0 = tile_key[(near + 0) * 2 + 0];
            dot0 = fma(query0.xy, key0_0.xy, dot0);
            dot0 = fma(query0.zw, key0_0.zw, dot0);
            let key0_1 = tile_key[(near + 1) * 2 + 0];
            dot1 = fma(query0.xy, key0_1.xy, dot1);
            dot1 = fma(query0.zw, key0_1.zw, dot1);
            let key0_2 = tile_key[(near + 2) * 2 + 0];
            dot2 = fma(query0.xy, key0_2.xy, dot2);
            dot2 = fma(query0.zw, key0_2.zw, dot2);
            let key0_3 = tile_key[(near + 3) * 2 + 0];
            dot3 = fma(query0.xy, key0_3.xy, dot3);
            dot3 = fma(query0.zw, key0_3.zw, dot3);
            let key1_0 = tile_key[(near + 0) * 2 + 1];
            dot0 = fma(query1.xy, key1_0.xy, dot0);
            dot0 = fma(query1.zw, key1_0.zw, dot0);
            let key1_1 = tile_key[(near + 1) * 2 + 1];
            dot1 = fma(query1.xy, key1_1.xy, dot1);
            dot1 = fma(query1.zw, key1_1.zw, dot1);
            let key1_2 = tile_key[(near + 2) * 2 + 1];
            dot2 = fma(query1.xy, key1_2.xy, dot2);
            dot2 = fma(query1.zw, key1_2.zw, dot2);
            let key1_3 = tile_key[(near + 3) * 2 + 1];
            dot3 = fma(query1.xy, key1_3.xy, dot3);
            dot3 = fma(query1.zw, key1_3.zw, dot3);
            let score0 = dot0.x + dot0.y;
            let score1 = dot1.x + dot1.y;
            let score2 = dot2.x + dot2.y;
            let score3 = dot3.x + dot3.y;
            var logit0: f32;
            {
                let i4 = min(first + near + 0, 24 - 1);
                logit0 = select(lowest, score0, first + near + 0 < 24);
            }
            var logit1: f32;
            {
                let i4 = min(first + near + 1, 24 - 1);
                logit1 = select(lowest, score1, first + near + 1 < 24);
            }
            var logit2: f32;
            {
                let i4 = min(first + near + 2, 24 - 1);
                logit2 = select(lowest, score2, first + near + 2 < 24);
            }
            var logit3: f32;
            {
                let i4 = min(first + near + 3, 24 - 1);
                logit3 = select(lowest, score3, first + near + 3 < 24);
            }
            let top0 = f_max(highest, logit0);
            let top1 = f_max(top0, logit1);
            let top2 = f_max(top1, logit2);
            let top3 = f_max(top2, logit3);
            if (top3 != highest) {
                let less = highest - top3;
                let scale = select(f_exp(less), 0.0, highest == lowest);
                total = total * scale;
                mean0 = mean0 * vec4<f32>(scale);
                mean1 = mean1 * vec4<f32>(scale);
                highest = top3;
            }
            let shift = select(highest, 0.0, highest == lowest);
            let less0 = logit0 - shift;
            let weight0 = f_exp(less0);
            total = total + weight0;
            let less1 = logit1 - shift;
            let weight1 = f_exp(less1);
            total = total + weight1;
            let less2 = logit2 - shift;
            let weight2 = f_exp(less2);
            total = total + weight2;
            let less3 = logit3 - shift;
            let weight3 = f_exp(less3);
            total = total + weight3;
            mean0 = fma(vec4<f32>(weight0), tile_value[(near + 0) * 2 + 0], mean0);
            mean0 = fma(vec4<f32>(weight1), tile_value[(near + 1) * 2 + 0], mean0);
            mean0 = fma(vec4<f32>(weight2), tile_value[(near + 2) * 2 + 0], mean0);
            mean0 = fma(vec4<f32>(weight3), tile_value[(near + 3) * 2 + 0], mean0);
            mean1 = fma(vec4<f32>(weight0), tile_value[(near + 0) * 2 + 1], mean1);
            mean1 = fma(vec4<f32>(weight1), tile_value[(near + 1) * 2 + 1], mean1);
            mean1 = fma(vec4<f32>(weight2), tile_value[(near + 2) * 2 + 1], mean1);
            mean1 = fma(vec4<f32>(weight3), tile_value[(near + 3) * 2 + 1], mean1);
        }
        workgroupBarrier();
    }
    var mean = array<vec4<f32>, 2>(mean0, mean1);
    if (highest == lowest) {
        let nan = bitcast<f32>(p[0].z);
        total = nan;
        for (var c = 0; c < 2; c = c + 1) { mean[c] = vec4<f32>(nan); }
    }
    let highest4 = vec4<f32>(highest);
    let total4 = vec4<f32>(total);
    if (live) {
        for (var c = 0; c < 2; c = c + 1) {
            let at = first_column + c * 4;
            let own = mean[c];
            if (at < 8) {
                {
                    let n1 = i0 * 512;
                    let n3 = i1 * 128;
                    let n4 = n1 + n3;
                    let n6 = i2 * 8;
                    let n7 = n4 + n6;
                    let i3 = at;
                    let n20 = n7 + i3;
                    var o0: vec4<f32>;
                    {
                        let n20 = n7 + i3;
                        let e11 = own[0] / total4[0];
                        o0[0] = e11;
                    }
                    {
                        let i3 = at + 1;
                        let n20 = n7 + i3;
                        let e11 = own[1] / total4[1];
                        o0[1] = e11;
                    }
                    {
                        let i3 = at + 2;
                        let n20 = n7 + i3;
                        let e11 = own[2] / total4[2];
                        o0[2] = e11;
                    }
                    {
                        let i3 = at + 3;
                        let n20 = n7 + i3;
                        let e11 = own[3] / total4[3];
                        o0[3] = e11;
                    }
                    b3[u32(n20) >> 2u] = o0;
                }
            }
        }
    }
}

