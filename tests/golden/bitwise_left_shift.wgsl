// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> b1: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> b2: array<vec2<u32>>;

fn l_shl(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if (b.y != 0u || b.x >= 64u) {
        return vec2<u32>(0u, 0u);
    }
    if (b.x >= 32u) {
        return vec2<u32>(0u, a.x << (b.x - 32u));
    }
    if (b.x == 0u) {
        return a;
    }
    return vec2<u32>(a.x << b.x, (a.y << b.x) | (a.x >> (32u - b.x)));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let at = group * 256u + lid;
    if (at >= p[0].y) { return; }
    let i0 = i32(at);
    let e1 = b1[i0];
    let e0 = b0[i0];
    let e2 = l_shl(e1, e0);
    b2[i0] = e2;
}

