// 2 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 4>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let ll = al * bl;
    let lh = al * bh;
    let hl = ah * bl;
    let mid = (ll >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);
    return vec2<u32>(a * b, ah * bh + (lh >> 16u) + (hl >> 16u) + (mid >> 16u));
}

fn l_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let x = a.x + b.x;
    return vec2<u32>(x, a.y + b.y + select(0u, 1u, x < a.x));
}

fn l_neg(a: vec2<u32>) -> vec2<u32> {
    let x = ~a.x + 1u;
    return vec2<u32>(x, ~a.y + select(0u, 1u, x == 0u));
}

fn l_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn l_mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let w = mul_wide(a.x, b.x);
    return vec2<u32>(w.x, w.y + a.x * b.y + a.y * b.x);
}

fn l_eq(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x == b.x && a.y == b.y;
}

fn l_lt(a: vec2<u32>, b: vec2<u32>) -> bool {
    return bitcast<i32>(a.y) < bitcast<i32>(b.y) || (a.y == b.y && a.x < b.x);
}

fn l_abs(a: vec2<u32>) -> vec2<u32> {
    return select(a, l_neg(a), bitcast<i32>(a.y) < 0);
}

fn ul_divide(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
    if (a.y == 0u && b.y == 0u) {
        return vec4<u32>(a.x / b.x, 0u, a.x % b.x, 0u);
    }
    var q = vec2<u32>(0u, 0u);
    var r = vec2<u32>(0u, 0u);
    for (var i = 63; i >= 0; i = i - 1) {
        let top = (r.y >> 31u) == 1u;
        let bit = select(a.x >> u32(i & 31), a.y >> u32(i & 31), i >= 32) & 1u;
        r = vec2<u32>((r.x << 1u) | bit, (r.y << 1u) | (r.x >> 31u));
        let below = r.y < b.y || (r.y == b.y && r.x < b.x);
        if (top || !below) {
            r = l_sub(r, b);
            if (i >= 32) {
                q.y = q.y | (1u << u32(i - 32));
            } else {
                q.x = q.x | (1u << u32(i));
            }
        }
    }
    return vec4<u32>(q.x, q.y, r.x, r.y);
}

fn l_rem(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if ((b.x | b.y) == 0u) {
        return vec2<u32>(0u, 0u);
    }
    let r = ul_divide(l_abs(a), l_abs(b)).zw;
    return select(r, l_neg(r), (a.y >> 31u) == 1u);
}

fn l_from_i32(x: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u));
}

fn l_held(a: vec2<u32>) -> i32 {
    let high = bitcast<i32>(a.y);
    let low = bitcast<i32>(a.x);
    if (high == (low >> 31u)) {
        return low;
    }
    return select(2147483647, -2147483647, high < 0);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let q_i1 = at / p[0].z;
    let i1 = i32(at - q_i1 * p[0].z);
    let i0 = i32(q_i1);
    let n1 = i0 * bitcast<i32>(p[0].w);
    let n3 = n1 + i1;
    let n4 = i0 * bitcast<i32>(p[1].x);
    let e2 = l_from_i32(n3);
    let e1 = vec2<u32>(p[1].y, p[1].z);
    let e3 = l_mul(e2, e1);
    let e0 = vec2<u32>(p[1].w, p[2].x);
    let e4 = l_rem(e3, e0);
    let e7 = vec2<u32>(0u, 0u);
    let e12 = !l_eq(e4, e7);
    let e10 = l_lt(e4, e7);
    let e8 = vec2<u32>(p[2].y, p[2].z);
    let e9 = l_lt(e8, e7);
    let e11 = e10 != e9;
    let e13 = e12 & e11;
    let e5 = vec2<u32>(p[2].w, p[3].x);
    let e6 = l_add(e4, e5);
    let e14 = select(e4, e6, e13);
    let e17 = l_lt(e14, e7);
    let e15 = vec2<u32>(96u, 0u);
    let e16 = l_add(e14, e15);
    let e18 = select(e14, e16, e17);
    let n5 = clamp(l_held(e18), 0, bitcast<i32>(p[3].y));
    let n6 = n4 + n5;
    let e19 = b0[n6];
    b1[n3] = e19;
}

