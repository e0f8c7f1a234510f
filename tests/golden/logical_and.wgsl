// 6 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read_write> b2: array<u32>;

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
            let e2 = b1[i0];
            let e3 = (bitcast<u32>(e2) & 0x7fffffffu) != 0u;
            let e0 = b0[i0];
            let e1 = (bitcast<u32>(e0) & 0x7fffffffu) != 0u;
            let e4 = e3 & e1;
            w0 = w0 | ((select(0u, 1u, e4)) << (j * 8u));
        }
    }
    b2[first / 4u] = w0;
}

