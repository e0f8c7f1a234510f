//! A fluid in a window, on the window's own graphics device: the pointer stirs it, a tensor program moves it, the application draws it, in
//! one encoder a frame. Where there is no display it stirs itself, and frames go to files.

#[path = "../../common/app.rs"]
mod app;
mod fluid;
#[path = "../../common/png.rs"]
mod png;
mod scene;
mod show;
mod window;

use app::Gpu;
use fluid::Stir;
use lazuli::prelude::*;
use scene::Scene;
use std::path::{Path, PathBuf};
use winit::event_loop::EventLoop;

const HELP: &str = "\
A fluid in a window. Drag to stir; space: pause, c: clear, esc: quit.

cargo run --release --manifest-path examples/07_window/Cargo.toml -- [OPTIONS]

  --frames N   ends after so many   [until the window is closed; 240 without one]
  --out DIR    no window: every 60th frame goes to DIR as a PNG file
  --help       this text";

/// Frames without a window, at 60 a second.
fn headless(frames: usize, out: &Path) -> Result<()> {
    let gpu = Gpu::open()?;
    println!("the application's adapter: {}", gpu.adapter.name);
    let target = gpu.picture([1024, 576]);
    let mut scene = Scene::new(gpu, target.format())?;
    for frame in 0..frames {
        let time = frame as f32 / 60.0;
        scene.frame(&target, Some((&Stir::by_itself(time), 1.0 / 60.0)))?;
        if (frame + 1) % 60 == 0 || frame + 1 == frames {
            let path = out.join(format!("07_window_{:04}.png", frame + 1));
            png::write(&path, target.width() as usize, &scene.gpu.read(&target)?)?;
            println!("frame {}: {}", frame + 1, path.display());
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let (mut frames, mut out) = (None, None::<PathBuf>);
    let go = app::options(HELP, |name, value| {
        match name {
            "--frames" => frames = Some(app::positive(value)?),
            "--out" => out = Some(value.into()),
            _ => return Err("no such option".into()),
        }
        Ok(())
    })?;
    if !go {
        return Ok(());
    }
    if let Some(out) = out {
        return headless(frames.unwrap_or(240), &out);
    }
    match EventLoop::new() {
        Ok(events) => window::run(events, frames),
        Err(e) => {
            println!("there is no window to be had ({e}): frames go to files");
            headless(frames.unwrap_or(240), Path::new("."))
        }
    }
}
