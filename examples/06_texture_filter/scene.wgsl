// An animated picture with edges in all directions: the renderer whose pictures the network learns to enlarge.
struct View {
    // Texels of the picture.
    size: vec2<f32>,
    // Seconds.
    time: f32,
    // Samples along each side of a texel.
    samples: f32,
}

@group(0) @binding(0) var<uniform> view: View;

@vertex
fn everywhere(@builtin(vertex_index) v: u32) -> @builtin(position) vec4<f32> {
    return vec4<f32>(f32(v & 1u) * 4.0 - 1.0, f32(v >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

fn turned(p: vec2<f32>, angle: f32) -> vec2<f32> {
    let c = cos(angle);
    let s = sin(angle);
    return vec2<f32>(c * p.x - s * p.y, s * p.x + c * p.y);
}

// The scene at a point: y from -1 to 1, x by the picture's proportions.
fn scene(p: vec2<f32>) -> vec3<f32> {
    let t = view.time;
    // A sky, and hills before it.
    var colour = mix(vec3<f32>(0.02, 0.05, 0.14), vec3<f32>(0.45, 0.20, 0.22), smoothstep(-0.6, 1.0, -p.y));
    let ridge = 0.45 + 0.16 * sin(p.x * 2.3 + t * 0.3) + 0.07 * sin(p.x * 5.1 - t * 0.2);
    if p.y > ridge {
        colour = vec3<f32>(0.015, 0.03, 0.05);
    }
    // A wheel with spokes.
    let q = turned(p - vec2<f32>(-0.85, -0.1), t * 0.4);
    let r = length(q);
    let spoke = abs(fract(atan2(q.y, q.x) * 12.0 / 6.2831853) - 0.5) * r;
    if r < 0.62 && (r > 0.54 || r < 0.10 || spoke < 0.045) {
        colour = vec3<f32>(0.90, 0.62, 0.18);
    }
    // A turning square of checks, with thin lines around it.
    let s = turned(p - vec2<f32>(0.75, 0.05), -t * 0.25);
    let side = max(abs(s.x), abs(s.y));
    if side < 0.44 {
        let check = (i32(floor(s.x * 7.0)) + i32(floor(s.y * 7.0))) & 1;
        colour = select(vec3<f32>(0.75, 0.80, 0.85), vec3<f32>(0.07, 0.22, 0.48), check == 0);
    } else if side < 0.62 && fract(side * 11.0 + 0.3) < 0.45 {
        colour = vec3<f32>(0.80, 0.85, 0.90);
    }
    // Discs on their way.
    for (var k = 0; k < 5; k++) {
        let a = t * 0.5 + f32(k) * 1.257;
        let d = length(p - vec2<f32>(1.2 * cos(a), 0.62 * sin(a * 1.3)));
        if d < 0.10 {
            colour = select(vec3<f32>(0.85, 0.16, 0.20), vec3<f32>(0.95, 0.95, 0.90), d < 0.055);
        }
    }
    return colour;
}

@fragment
fn draw(@builtin(position) at: vec4<f32>) -> @location(0) vec4<f32> {
    let n = i32(view.samples);
    var sum = vec3<f32>(0.0);
    for (var i = 0; i < n * n; i++) {
        let within = (vec2<f32>(f32(i % n), f32(i / n)) + 0.5) / view.samples;
        let p = (floor(at.xy) + within) / view.size * 2.0 - 1.0;
        sum += scene(p * vec2<f32>(view.size.x / view.size.y, 1.0));
    }
    return vec4<f32>(sum / (view.samples * view.samples), 1.0);
}
