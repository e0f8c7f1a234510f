//! A tensor program in the middle of an application's frame: the application has a wgpu device, a picture and an encoder of its own; the
//! engine moves the particles, in the same encoder, and the application draws them from the tensor's buffer. Nothing is copied, nothing
//! waits, and but for the application nobody submits.

#[path = "../common/app.rs"]
mod app;
mod host;
#[path = "../common/png.rs"]
mod png;

use host::{HEIGHT, Host, WIDTH};
use lazuli::prelude::*;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const HELP: &str = "\
Particles that a tensor program moves and the application draws.

cargo run --release --features wgpu --example 05_share_device -- [OPTIONS]

  --frames N      frames                                    [240]
  --every N       every so many are written, and the last   [60]
  --particles N   how many                                  [20000]
  --out DIR       where the PNG files go                    [.]
  --help          this text";

/// The next state of the particles, `[n, 4]`: x, y, and their speed. Three weights circle among them and drag them along.
fn step(state: &Tensor, time: f32) -> Tensor {
    const DT: f32 = 1.0 / 60.0;
    let [x, y, vx, vy] = [0, 1, 2, 3].map(|k| state.select(1, k));
    let (mut fx, mut fy) = (&vx * -0.6, &vy * -0.6);
    for k in 0..3 {
        let angle = time * (0.7 + 0.17 * k as f32) + 2.1 * k as f32;
        // A user's numbers are parameters: the kernel is the same in every frame.
        let (dx, dy) = (1.05 * angle.cos() - &x, 0.62 * (1.3 * angle).sin() - &y);
        let near = 1.0 / (&dx * &dx + &dy * &dy + 0.03);
        // Towards the weight, and around it.
        fx += (&dx * 0.45 + &dy * 0.5) * &near;
        fy += (&dy * 0.45 - &dx * 0.5) * &near;
    }
    let (vx, vy) = (vx + fx * DT, vy + fy * DT);
    Tensor::stack(&[x + &vx * DT, y + &vy * DT, vx, vy], 1)
}

fn main() -> Result<()> {
    let (mut frames, mut every, mut n, mut out) = (240usize, 60usize, 20_000usize, PathBuf::from("."));
    let go = app::options(HELP, |name, value| {
        match name {
            "--frames" => frames = app::positive(value)?,
            "--every" => every = app::positive(value)?,
            "--particles" => n = app::positive(value)?,
            "--out" => out = value.into(),
            _ => return Err("no such option".into()),
        }
        Ok(())
    })?;
    if !go {
        return Ok(());
    }

    let host = Host::new()?;
    let dev = Device::from_wgpu(&host.gpu.device, &host.gpu.queue)?;
    println!("the application's adapter: {}", host.gpu.adapter.name);
    manual_seed(5);
    let mut state = dev.scope(|| Tensor::cat(&[Tensor::randn([n, 2]) * 0.55, Tensor::zeros([n, 2])], 1));
    let (mut recording, mut dispatches, mut settled) = (Duration::ZERO, 0, (0, 0));
    for frame in 0..frames {
        state = step(&state, frame as f32 / 60.0);
        let mut encoder = host.gpu.encoder();
        let begun = Instant::now();
        let ticket = dev.encode_into(&mut encoder, &[&state])?;
        if frame > 2 {
            recording += begun.elapsed();
            dispatches += ticket.dispatches();
        }
        let particles = state.wgpu_buffer()?;
        host.draw(&mut encoder, &particles.buffer, particles.offset, n as u32, frame == 0);
        host.gpu.queue.submit([encoder.finish()]);
        ticket.submitted()?;
        let now = (dev.memory_stats().reserved, lazuli::stats().compiles);
        if frame == 2 {
            settled = now;
        }
        if (frame + 1) % every == 0 || frame + 1 == frames {
            let path = out.join(format!("05_share_device_{:04}.png", frame + 1));
            png::write(&path, WIDTH as usize, &host.gpu.read(&host.picture)?)?;
            println!("frame {}: {} ({WIDTH} x {HEIGHT})", frame + 1, path.display());
        }
        if frame > 2 && now != settled {
            println!("frame {frame}: {} bytes reserved, {} kernels compiled; after frame 2: {settled:?}", now.0, now.1);
            settled = now;
        }
    }
    if dispatches > 0 {
        let each = recording.as_secs_f64() * 1e6 / dispatches as f64;
        println!(
            "{n} particles, {frames} frames: {each:.1} us to record and encode each of {dispatches} dispatches; {} bytes reserved",
            settled.0
        );
    }
    Ok(())
}
