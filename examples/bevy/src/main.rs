//! A Bevy scene whose mesh and texture are tensors: a coral grows on a torus, computed by a tensor program on Bevy's own graphics device, in
//! the encoders of Bevy's frame. Nothing is read back, nothing waits, and only Bevy submits. Needs Rust 1.97, as Bevy does.

// The device is Bevy's.
#[path = "../../common/app.rs"]
#[allow(dead_code)]
mod app;
mod coral;
mod plugin;
mod scene;

use bevy::app::{AppExit, ScheduleRunnerPlugin};
use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::window::ExitCondition;
use bevy::winit::WinitPlugin;
use scene::ScenePlugin;
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
A coral that grows on a torus. Drag to plant it, with the right button to take it away; it grows again.

cargo run --release --manifest-path examples/bevy/Cargo.toml -- [OPTIONS]

  --frames N   ends after so many   [until the window is closed; 240 without one]
  --out DIR    no window: every 60th frame goes to DIR as a PNG file
  --help       this text";

fn main() -> lazuli::Result<AppExit> {
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
        return Ok(AppExit::Success);
    }
    let window = Window { title: "a coral of tensors".into(), resolution: scene::PIXELS.into(), ..default() };
    let live = DefaultPlugins.set(WindowPlugin { primary_window: Some(window), ..default() });
    let mut bevy = App::new();
    match out {
        None => bevy.add_plugins((live, ScenePlugin { frames, out: None })),
        Some(_) => {
            let nowhere = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
            // Every frame shows everything.
            let patient = RenderPlugin { synchronous_pipeline_compilation: true, ..default() };
            let unseen = live.set(nowhere).set(patient).disable::<WinitPlugin>();
            bevy.add_plugins((unseen, ScheduleRunnerPlugin::run_loop(Duration::ZERO)));
            bevy.add_plugins(ScenePlugin { frames: Some(frames.unwrap_or(240)), out })
        }
    };
    Ok(bevy.run())
}
