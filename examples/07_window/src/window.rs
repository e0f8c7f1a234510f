//! The window: what the pointer does stirs the fluid.

use crate::app::{Gpu, failed, now};
use crate::fluid::{Stir, colour};
use crate::scene::Scene;
use lazuli::{Result, wgpu};
use std::sync::Arc;
use std::time::Instant;
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::{ElementState, MouseButton, WindowEvent};
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::keyboard::{Key, NamedKey};
use winit::window::{Window, WindowId};

/// Shows the fluid until the window is closed, or for so many frames.
pub fn run(events: EventLoop<()>, frames: Option<usize>) -> Result<()> {
    let mut live = Live { frames, open: None, pointer: Pointer::default(), failure: None };
    events.run_app(&mut live).map_err(|e| failed("the window", e))?;
    live.failure.map_or(Ok(()), Err)
}

#[derive(Default)]
struct Pointer {
    at: [f32; 2],
    before: [f32; 2],
    held: bool,
}

struct Open {
    window: Arc<Window>,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    scene: Scene,
    begun: Instant,
    shown: usize,
    last: f32,
    paused: bool,
}

struct Live {
    frames: Option<usize>,
    open: Option<Open>,
    pointer: Pointer,
    failure: Option<lazuli::Error>,
}

impl Open {
    fn new(events: &ActiveEventLoop) -> Result<Open> {
        let attributes = Window::default_attributes().with_title("a fluid of tensors").with_inner_size(LogicalSize::new(1024, 576));
        let window = Arc::new(events.create_window(attributes).map_err(|e| failed("the window", e))?);
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let surface = instance.create_surface(window.clone()).map_err(|e| failed("the window", e))?;
        let asked = wgpu::RequestAdapterOptions { compatible_surface: Some(&surface), ..Default::default() };
        let adapter = now(instance.request_adapter(&asked))?.map_err(|e| failed("the adapter", e))?;
        let (device, queue) = now(adapter.request_device(&wgpu::DeviceDescriptor::default()))?.map_err(|e| failed("the device", e))?;
        let size = window.inner_size();
        let mut config = surface
            .get_default_config(&adapter, size.width.max(1), size.height.max(1))
            .ok_or_else(|| failed("the window", "this adapter cannot draw to it"))?;
        let formats = surface.get_capabilities(&adapter).formats;
        config.format = formats.iter().copied().find(wgpu::TextureFormat::is_srgb).unwrap_or(config.format);
        surface.configure(&device, &config);
        let scene = Scene::new(Gpu { device, queue, adapter: adapter.get_info() }, config.format)?;
        Ok(Open { window, surface, config, scene, begun: Instant::now(), shown: 0, last: 0.0, paused: false })
    }

    fn configure(&self) {
        self.surface.configure(&self.scene.gpu.device, &self.config);
    }

    fn frame(&mut self, pointer: &mut Pointer) -> Result<()> {
        let time = self.begun.elapsed().as_secs_f32();
        let dt = (time - self.last).clamp(1e-3, 1.0 / 30.0);
        self.last = time;
        let stir = match pointer.held {
            true => {
                let size = [self.scene.columns(), self.scene.rows()];
                let push = [0, 1].map(|k| (pointer.at[k] - pointer.before[k]) * size[k] as f32 / dt * 0.5);
                Stir { at: pointer.at, push, dye: colour(time * 0.13).map(|c| c * 14.0) }
            }
            false => Stir::by_itself(time),
        };
        pointer.before = pointer.at;
        let target = match self.surface.get_current_texture() {
            wgpu::CurrentSurfaceTexture::Success(t) => t,
            wgpu::CurrentSurfaceTexture::Timeout | wgpu::CurrentSurfaceTexture::Occluded => return Ok(()),
            wgpu::CurrentSurfaceTexture::Suboptimal(_) | wgpu::CurrentSurfaceTexture::Outdated | wgpu::CurrentSurfaceTexture::Lost => {
                self.configure();
                return Ok(());
            }
            wgpu::CurrentSurfaceTexture::Validation => return Err(failed("the window", "it gives no picture to draw to")),
        };
        self.scene.frame(&target.texture, (!self.paused).then_some((&stir, dt)))?;
        self.scene.gpu.queue.present(target);
        self.shown += 1;
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let seconds = self.begun.elapsed().as_secs_f32();
        println!("{} frames in {seconds:.1} s on {}", self.shown, self.scene.gpu.adapter.name);
    }
}

impl Live {
    fn end(&mut self, events: &ActiveEventLoop, why: Option<lazuli::Error>) {
        self.failure = self.failure.take().or(why);
        self.open = None;
        events.exit();
    }
}

impl ApplicationHandler for Live {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        match Open::new(events) {
            Ok(open) => {
                println!("drag to stir; space: pause, c: clear, esc: quit");
                open.window.request_redraw();
                self.open = Some(open);
            }
            Err(e) => self.end(events, Some(e)),
        }
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let Some(open) = &mut self.open else { return };
        match event {
            WindowEvent::CloseRequested => self.end(events, None),
            WindowEvent::Resized(size) => {
                (open.config.width, open.config.height) = (size.width.max(1), size.height.max(1));
                open.configure();
            }
            WindowEvent::CursorMoved { position, .. } => {
                let size = open.window.inner_size();
                self.pointer.at = [position.x as f32 / size.width.max(1) as f32, position.y as f32 / size.height.max(1) as f32];
            }
            WindowEvent::MouseInput { state, button: MouseButton::Left, .. } => {
                self.pointer.held = state == ElementState::Pressed;
                self.pointer.before = self.pointer.at;
            }
            WindowEvent::KeyboardInput { event, .. } if event.state == ElementState::Pressed => match event.logical_key.as_ref() {
                Key::Named(NamedKey::Escape) => self.end(events, None),
                Key::Named(NamedKey::Space) => open.paused = !open.paused,
                Key::Character("c") => open.scene.clear(),
                _ => {}
            },
            WindowEvent::RedrawRequested => {
                let drawn = open.frame(&mut self.pointer);
                let done = self.frames.is_some_and(|n| open.shown >= n);
                open.window.request_redraw();
                match drawn {
                    Ok(()) if !done => {}
                    Ok(()) => self.end(events, None),
                    Err(e) => self.end(events, Some(e)),
                }
            }
            _ => {}
        }
    }
}
