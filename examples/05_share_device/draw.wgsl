// Particles as soft discs, one instance each: x, y, and the speed.
struct Out {
    @builtin(position) at: vec4<f32>,
    @location(0) corner: vec2<f32>,
    @location(1) colour: vec3<f32>,
}

@vertex
fn particle(@builtin(vertex_index) v: u32, @location(0) at: vec2<f32>, @location(1) speed: vec2<f32>) -> Out {
    let corner = vec2<f32>(f32(v & 1u) * 2.0 - 1.0, f32(v >> 1u) * 2.0 - 1.0);
    let fast = clamp(length(speed) * 0.55, 0.0, 1.0);
    var o: Out;
    o.at = vec4<f32>(at * vec2<f32>(0.5625, 1.0) + corner * vec2<f32>(0.5625, 1.0) * 0.006, 0.0, 1.0);
    o.corner = corner;
    o.colour = mix(vec3<f32>(0.10, 0.28, 0.95), vec3<f32>(1.0, 0.62, 0.25), fast);
    return o;
}

@fragment
fn disc(i: Out) -> @location(0) vec4<f32> {
    let r = dot(i.corner, i.corner);
    return vec4<f32>(i.colour * max(0.0, 1.0 - r) * 0.30, 1.0);
}

// What was drawn before fades.
@vertex
fn everywhere(@builtin(vertex_index) v: u32) -> @builtin(position) vec4<f32> {
    return vec4<f32>(f32(v & 1u) * 4.0 - 1.0, f32(v >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment
fn fade() -> @location(0) vec4<f32> {
    return vec4<f32>(0.0, 0.0, 0.0, 0.14);
}
