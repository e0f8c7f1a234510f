// 4 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<vec2<u32>>;
var<workgroup> shared_f: array<f32, 256>;
var<workgroup> shared_p: array<u32, 256>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    let lane = lid % 16u;
    let sub = lid / 16u;
    let live = group * 16u + sub < p[0].y;
    let at = min(group * 16u + sub, p[0].y - 1u);
    let i0 = i32(at);
    let n1 = i0 * bitcast<i32>(p[0].z);
    var r0_0: f32 = f32();
    var p0_0 = 0xffffffffu;
    {
        for (var r = lane; r < p[0].w; r = r + 16u) {
            let i1 = i32(r);
            let at_row = r * 1u;
            let n3 = n1 + i1;
            let e0 = b0[n3];
            if (p0_0 == 0xffffffffu || (is_nan(e0) && (!is_nan(r0_0) || at_row < p0_0)) || (!is_nan(r0_0) && (e0 > r0_0 || (e0 == r0_0 && at_row < p0_0)))) { r0_0 = e0; p0_0 = at_row; }
        }
    }
    shared_f[lid] = r0_0;
    shared_p[lid] = p0_0;
    workgroupBarrier();
    for (var h = 8u; h > 0u; h = h >> 1u) {
        if (lane < h) {
            let other = lid + h * 1u;
            let v0 = shared_f[other];
            let w0 = shared_p[other];
            if (w0 != 0xffffffffu && (p0_0 == 0xffffffffu || (is_nan(v0) && (!is_nan(r0_0) || w0 < p0_0)) || (!is_nan(r0_0) && (v0 > r0_0 || (v0 == r0_0 && w0 < p0_0))))) { r0_0 = v0; p0_0 = w0; }
            shared_f[lid] = r0_0;
            shared_p[lid] = p0_0;
        }
        workgroupBarrier();
    }
    r0_0 = shared_f[sub * 16u];
    p0_0 = shared_p[sub * 16u];
    workgroupBarrier();
    let x0_0 = vec2<u32>(select(p0_0, 0u, p0_0 == 0xffffffffu), 0u);
    if (live && lane == 0u) {
        b1[i0] = x0_0;
    }
}

