// 1 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let lane = lid % 1u;
    let sub = lid / 1u;
    let live = group * 256u + sub < p[0].y;
    let at = min(group * 256u + sub, p[0].y - 1u);
    let i0 = i32(at);
    let piece = (p[0].z + 0u) / 1u;
    let from_ = min(lane * piece, p[0].z);
    let to_ = min(from_ + piece, p[0].z);
    var acc: f32 = bitcast<f32>(p[0].w);
    if (live) {
        for (var r = from_; r < to_; r = r + 1u) {
            let i1 = i32(r);
            let n1 = i0 * bitcast<i32>(p[1].x);
            let n3 = n1 + i1;
            let e0 = b0[n3];
            acc = acc + e0;
            let running = acc;
            b1[n3] = running;
        }
    }
}

