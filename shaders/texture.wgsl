// Between textures and buffers of f32, row by row, the channels of a texel together. One module, two entry points.

// Components of a texel in the texture; bytes of each; whether the first and third change places; whether the first three are stored as sRGB.
override CHANNELS: u32 = 4u;
override BYTES: u32 = 4u;
override SWAPPED: bool = false;
override SRGB: bool = false;

struct Shape {
    // Texels.
    width: u32,
    height: u32,
    // Words from one row of the texture's copy to the next.
    pitch: u32,
    // Components the tensor has of each texel.
    depth: u32,
}

@group(0) @binding(0) var image: texture_2d<f32>;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;

// The device decodes: sRGB becomes linear, the channels are red, green, blue, alpha.
@compute @workgroup_size(8, 8)
fn load(@builtin(global_invocation_id) at: vec3<u32>) {
    let size = textureDimensions(image);
    if at.x >= size.x || at.y >= size.y {
        return;
    }
    let texel = textureLoad(image, at.xy, 0);
    let first = (at.y * size.x + at.x) * CHANNELS;
    for (var c = 0u; c < CHANNELS; c++) {
        values[first + c] = texel[c];
    }
}

@group(0) @binding(0) var<storage, read> given: array<f32>;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;
@group(0) @binding(2) var<uniform> shape: Shape;

// IEC 61966-2-1.
fn srgb(x: f32) -> f32 {
    let v = clamp(x, 0.0, 1.0);
    return select(1.055 * pow(v, 1.0 / 2.4) - 0.055, 12.92 * v, v <= 0.0031308);
}

// The n-th component of a row. An alpha that the tensor does not have is 1.
fn component(row: u32, n: u32) -> f32 {
    let x = n / CHANNELS;
    var c = n % CHANNELS;
    if x >= shape.width {
        return 0.0;
    }
    if SWAPPED && c < 3u {
        c = 2u - c;
    }
    if c >= shape.depth {
        return 1.0;
    }
    let v = given[(row * shape.width + x) * shape.depth + c];
    if SRGB && c < 3u {
        return srgb(v);
    }
    return v;
}

// Half precision holds no more; what does not fit would be any number.
fn half(x: f32) -> f32 {
    return clamp(x, -65504.0, 65504.0);
}

@compute @workgroup_size(64)
fn store(@builtin(global_invocation_id) at: vec3<u32>) {
    let w = at.x;
    let row = at.y;
    if w >= shape.pitch || row >= shape.height {
        return;
    }
    var word = 0u;
    if BYTES == 1u {
        let n = w * 4u;
        word = pack4x8unorm(vec4<f32>(component(row, n), component(row, n + 1u), component(row, n + 2u), component(row, n + 3u)));
    } else if BYTES == 2u {
        let n = w * 2u;
        word = pack2x16float(vec2<f32>(half(component(row, n)), half(component(row, n + 1u))));
    } else {
        word = bitcast<u32>(component(row, w));
    }
    words[row * shape.pitch + w] = word;
}
