// 6 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<u32>;

fn f_ne(a: f32, b: f32) -> bool {
    return !(a == b);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let first = (group * 256u + lid) * 4u;
    if (first >= p[0].y) { return; }
    var w0 = 0u;
    for (var j = 0u; j < 4u; j = j + 1u) {
        let at = first + j;
        if (at < p[0].y) {
            let i0 = i32(at);
            let e0 = b0[i0];
            let e1 = f_ne(e0, e0);
            w0 = w0 | ((select(0u, 1u, e1)) << (j * 8u));
        }
    }
    b1[first / 4u] = w0;
}

