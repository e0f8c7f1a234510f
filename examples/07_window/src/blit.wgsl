// A texture over the whole target.
@group(0) @binding(0) var picture: texture_2d<f32>;
@group(0) @binding(1) var smooth_sampler: sampler;

struct Out {
    @builtin(position) at: vec4<f32>,
    @location(0) uv: vec2<f32>,
}

@vertex
fn everywhere(@builtin(vertex_index) v: u32) -> Out {
    let corner = vec2<f32>(f32(v & 1u) * 2.0, f32(v >> 1u) * 2.0);
    var o: Out;
    o.at = vec4<f32>(corner * 2.0 - 1.0, 0.0, 1.0);
    o.uv = vec2<f32>(corner.x, 1.0 - corner.y);
    return o;
}

@fragment
fn show(i: Out) -> @location(0) vec4<f32> {
    return textureSample(picture, smooth_sampler, i.uv);
}
