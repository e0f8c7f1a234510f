// 64 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<f32>;
@group(0) @binding(2) var<storage, read_write> b1: array<vec2<u32>>;
var<workgroup> sorted0: array<u32, 128>;
var<workgroup> sorted1: array<u32, 128>;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn sort_key(x: f32) -> u32 {
    let b = bitcast<u32>(x);
    if (is_nan(x)) {
        return 0xffffffffu;
    }
    if ((b & 0x7fffffffu) == 0u) {
        return 0x80000000u;
    }
    return select(b | 0x80000000u, ~b, (b >> 31u) == 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let group = wid.y * nwg.x + wid.x;
    for (var at = group; at < p[0].y; at = at + 64u) {
        let i0 = i32(at);
        for (var r = lid; r < 128u; r = r + 64u) {
            var key0 = 0xffffffffu;
            if (r < p[0].z) {
                let i1 = i32(r);
                let n1 = i0 * bitcast<i32>(p[0].w);
                let n3 = n1 + i1;
                let e0 = b0[n3];
                key0 = sort_key(e0);
            }
            sorted0[r] = key0;
            sorted1[r] = r;
        }
        workgroupBarrier();
        for (var size = 2u; size <= 128u; size = size << 1u) {
            for (var stride = size >> 1u; stride > 0u; stride = stride >> 1u) {
                for (var i = lid; i < 64u; i = i + 64u) {
                    let low = 2u * i - (i & (stride - 1u));
                    let high = low + stride;
                    let x1 = sorted1[low];
                    let y1 = sorted1[high];
                    let x0 = sorted0[low];
                    let y0 = sorted0[high];
                    if ((x0 > y0 || (x0 == y0 && (x1 > y1 || (x1 == y1 && false)))) == ((low & size) == 0u)) {
                        sorted0[low] = y0;
                        sorted0[high] = x0;
                        sorted1[low] = y1;
                        sorted1[high] = x1;
                    }
                }
                workgroupBarrier();
            }
        }
        for (var r = lid; r < p[0].z; r = r + 64u) {
            let i1 = i32(r);
            let position = vec2<u32>(sorted1[r], 0u);
            let n1 = i0 * bitcast<i32>(p[1].x);
            let n3 = n1 + i1;
            b1[n3] = position;
        }
        workgroupBarrier();
    }
}

// 24 workgroups, 0 bytes of workspace
@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 2>;
@group(0) @binding(1) var<storage, read> b0: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> b1: array<f32>;
@group(0) @binding(3) var<storage, read_write> b2: array<f32>;

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
    let e0 = b0[n3];
    let n4 = clamp(l_held(e0), 0, bitcast<i32>(p[1].x));
    let n5 = n1 + n4;
    let e1 = b1[n5];
    b2[n3] = e1;
}

