//! A network between two textures of an application: it learns from the application's own renderer to draw three times as large, and sharp,
//! what was drawn small. Then it runs in every frame, in the application's encoder: from the
//! texture that was drawn to the texture that is shown.

#[path = "../common/app.rs"]
mod app;
#[path = "../common/png.rs"]
mod png;
mod scene;

use app::Gpu;
use lazuli::nn::Conv2d;
use lazuli::optim::{Adam, Schedule};
use lazuli::prelude::*;
use lazuli::{Interpolate, wgpu};
use scene::Scene;
use std::path::PathBuf;
use std::time::Instant;

const HELP: &str = "\
A network that learns to enlarge an application's pictures, and does so in every frame.

cargo run --release --features wgpu --example 06_texture_filter -- [OPTIONS]

  --frames N   frames                                    [90]
  --every N    every so many are written, and the last   [30]
  --steps N    training steps                            [2000]
  --out DIR    where the PNG files go                    [.]
  --help       this text";

/// Times as large along each side.
const SCALE: usize = 3;
const SMALL: [u32; 2] = [160, 90];
const LARGE: [u32; 2] = [SMALL[0] * SCALE as u32, SMALL[1] * SCALE as u32];
/// Rows and columns of a small patch to train on.
const PATCH: [usize; 2] = [30, 32];
const PICTURES: usize = 40;
const BATCH: usize = 8;
/// Features of a texel.
const WIDTH: usize = 24;

/// Features of the small picture, and from them nine texels for each of its own, as a change of what interpolation makes of it.
/// W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network", 2016.
#[derive(Tree, Clone)]
struct Enlarge {
    look: Conv2d,
    think: Vec<Conv2d>,
    draw: Conv2d,
}

impl Enlarge {
    fn new() -> Enlarge {
        // It begins as interpolation.
        let mut draw = Conv2d::new(WIDTH, 3 * SCALE * SCALE, 3).padding(1);
        draw.weight = draw.weight.zeros_like();
        draw.bias = None;
        Enlarge {
            look: Conv2d::new(3, WIDTH, 5).padding(2),
            think: (0..2).map(|_| Conv2d::new(WIDTH, WIDTH, 3).padding(1)).collect(),
            draw,
        }
    }

    /// `[n, 3, h, w]` to `[n, 3, 3 h, 3 w]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let seen = self.look.forward(x).relu();
        let features = self.think.iter().fold(seen, |x, layer| &x + layer.forward(&x).relu());
        enlarged(x) + self.draw.forward(&features).pixel_shuffle(SCALE)
    }
}

/// What there is without a network.
fn enlarged(x: &Tensor) -> Tensor {
    let size = [x.shape()[2] * SCALE, x.shape()[3] * SCALE];
    x.interpolate(&size, Interpolate::Linear)
}

/// A texture's linear values `[h, w, 4]` as `[1, 3, h, w]`, spaced as the eye sees them.
fn seen(texture: &Tensor) -> Tensor {
    texture.slice(s![.., .., 0..3]).clamp(0.0, 1.0).sqrt().permute([2, 0, 1]).unsqueeze(0)
}

/// The way back, `[h, w, 3]`.
fn shown(picture: &Tensor) -> Tensor {
    picture.squeeze().clamp(0.0, 1.0).square().permute([1, 2, 0])
}

/// A picture cut up: `[n, 3, rows, columns]`.
fn patches(picture: &Tensor, [rows, columns]: [usize; 2]) -> Tensor {
    let (h, w) = (picture.shape()[2] / rows, picture.shape()[3] / columns);
    picture.reshape([3, h, rows, w, columns]).permute([1, 3, 0, 2, 4]).reshape([h * w, 3, rows, columns])
}

/// Signal to noise of a picture in decibels: `10 log10(1 / mean squared error)`.
fn decibels(picture: &Tensor, truth: &Tensor) -> Result<f32> {
    Ok(-10.0 * (picture.clamp(0.0, 1.0) - truth).square().mean(..).item::<f32>()?.log10())
}

struct Studio {
    gpu: Gpu,
    dev: Device,
    scene: Scene,
    small: wgpu::Texture,
    large: wgpu::Texture,
}

impl Studio {
    /// What the network is given and what it should have made of it, at a time.
    fn pair(&self, time: f32) -> Result<[Tensor; 2]> {
        let mut encoder = self.gpu.encoder();
        self.scene.draw(&self.gpu, &mut encoder, &self.small, time, 4);
        self.scene.draw(&self.gpu, &mut encoder, &self.large, time, 4);
        self.gpu.queue.submit([encoder.finish()]);
        let of = |t: &wgpu::Texture| Tensor::from_texture(&self.dev, t).map(|t| seen(&t));
        let pair = [of(&self.small)?, of(&self.large)?];
        // Before the next is drawn.
        lazuli::eval(&pair)?;
        Ok(pair)
    }

    fn train(&self, steps: usize) -> Result<Enlarge> {
        // A graphics adapter in software is no faster than the processor it runs on.
        let trainer = if self.gpu.adapter.device_type == wgpu::DeviceType::Cpu { Device::cpu() } else { self.dev };
        let (mut given, mut wanted) = (Vec::new(), Vec::new());
        for k in 0..PICTURES {
            let [small, large] = self.pair(100.0 + k as f32 * 1.77)?;
            given.push(patches(&small, PATCH).to_device(&trainer));
            wanted.push(patches(&large, PATCH.map(|n| n * SCALE)).to_device(&trainer));
        }
        let (given, wanted) = (Tensor::cat(&given, 0), Tensor::cat(&wanted, 0));
        let n = given.shape()[0];
        println!("training on {n} patches of {PICTURES} pictures: {}", trainer.describe());
        let begun = Instant::now();
        let mut net = trainer.scope(Enlarge::new);
        let schedule = Schedule::cosine(2e-3, steps);
        let mut opt = Adam::new(schedule.at(0));
        for step in 0..steps {
            let ids = trainer.scope(|| Tensor::randint(0, n as i64, [BATCH]));
            let (x, y) = (given.index_select(0, &ids), wanted.index_select(0, &ids));
            let (loss, grads) = value_and_grad(|net: &Enlarge| (net.forward(&x) - &y).square().mean(..), &net);
            opt.set_lr(schedule.at(step));
            opt.step(&mut net, &grads)?;
            if (step + 1) % 200 == 0 || step + 1 == steps {
                println!("step {:4}: {:.1} dB, {:.1} s", step + 1, -10.0 * loss.item::<f32>()?.log10(), begun.elapsed().as_secs_f32());
            }
        }
        Ok(lazuli::function::tree::map_tensors(&net, |t, _| t.to_device(&self.dev)))
    }
}

/// The picture as it was drawn, texel by texel; what the network made of it; what it should have made.
fn side_by_side(small: &[u8], net: &[u8], truth: &[u8]) -> (usize, Vec<u8>) {
    let [w, h] = LARGE.map(|n| n as usize);
    let mut all = Vec::with_capacity(9 * w * h);
    for y in 0..h {
        let row = &small[y / SCALE * (w / SCALE) * 3..][..w / SCALE * 3];
        all.extend(row.chunks(3).flat_map(|p| [p; SCALE].concat()));
        all.extend_from_slice(&net[y * w * 3..][..w * 3]);
        all.extend_from_slice(&truth[y * w * 3..][..w * 3]);
    }
    (3 * w, all)
}

fn main() -> Result<()> {
    let (mut frames, mut every, mut steps, mut out) = (90usize, 30usize, 2000usize, PathBuf::from("."));
    let go = app::options(HELP, |name, value| {
        match name {
            "--frames" => frames = app::positive(value)?,
            "--every" => every = app::positive(value)?,
            "--steps" => steps = app::positive(value)?,
            "--out" => out = value.into(),
            _ => return Err("no such option".into()),
        }
        Ok(())
    })?;
    if !go {
        return Ok(());
    }

    let gpu = Gpu::open()?;
    println!("the application's adapter: {}", gpu.adapter.name);
    let dev = Device::from_wgpu(&gpu.device, &gpu.queue)?;
    let (scene, small, large) = (Scene::new(&gpu), gpu.picture(SMALL), gpu.picture(LARGE));
    let result = gpu.picture(LARGE);
    let studio = Studio { gpu, dev, scene, small, large };
    manual_seed(3);
    let net = studio.train(steps)?;
    let [small, large] = studio.pair(3.0)?;
    println!(
        "a picture it never saw: {:.1} dB by interpolation, {:.1} dB by the network",
        decibels(&enlarged(&small), &large)?,
        decibels(&net.forward(&small), &large)?
    );

    let Studio { gpu, dev, scene, small, large } = &studio;
    // The frame: what was drawn goes in, what is shown comes out.
    let drawn = Tensor::from_texture(dev, small)?;
    let mut dispatches = 0;
    for frame in 0..frames {
        let time = frame as f32 / 30.0;
        let mut encoder = gpu.encoder();
        scene.draw(gpu, &mut encoder, small, time, 4);
        let ticket = shown(&net.forward(&seen(&drawn))).copy_to_texture(&mut encoder, &result)?;
        dispatches = ticket.dispatches();
        gpu.queue.submit([encoder.finish()]);
        ticket.submitted()?;
        if (frame + 1) % every == 0 || frame + 1 == frames {
            let mut encoder = gpu.encoder();
            scene.draw(gpu, &mut encoder, large, time, 4);
            gpu.queue.submit([encoder.finish()]);
            let (width, rgb) = side_by_side(&gpu.read(small)?, &gpu.read(&result)?, &gpu.read(large)?);
            let path = out.join(format!("06_texture_filter_{:04}.png", frame + 1));
            png::write(&path, width, &rgb)?;
            println!("frame {}: {}: as drawn, by the network, as it should be", frame + 1, path.display());
        }
    }
    println!("{frames} frames, {dispatches} dispatches each; {} bytes reserved", dev.memory_stats().reserved);
    Ok(())
}
