//! The application: a wgpu device of its own, a picture it draws particles into, frames it reads back.

use lazuli::wgpu;
use lazuli::{Error, ErrorKind, Result};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub const WIDTH: u32 = 1024;
pub const HEIGHT: u32 = 576;
const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8UnormSrgb;

pub struct Host {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: String,
    picture: wgpu::Texture,
    particles: wgpu::RenderPipeline,
    fade: wgpu::RenderPipeline,
    staging: wgpu::Buffer,
}

fn failed(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Device, format!("{what}: {why}"))
}

/// Natively wgpu's futures are ready at once.
fn now<F: Future>(f: F) -> Result<F::Output> {
    match pin!(f).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(x) => Ok(x),
        Poll::Pending => Err(failed("wgpu", "it did not answer")),
    }
}

impl Host {
    /// Opens hardware if there is any, else a software adapter; `LAZULI_ADAPTER` names another.
    pub fn new() -> Result<Host> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let wanted = std::env::var("LAZULI_ADAPTER").unwrap_or_default().to_lowercase();
        let mut all = now(instance.enumerate_adapters(wgpu::Backends::all()))?;
        all.retain(|a| format!("{} {}", a.get_info().name, a.get_info().driver).to_lowercase().contains(&wanted));
        all.sort_by_key(|a| match a.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::Cpu => 2,
            _ => 1,
        });
        let adapter = all.first().ok_or_else(|| failed("wgpu", "there is no graphics adapter, not even one in software"))?;
        let asked = adapter.request_device(&wgpu::DeviceDescriptor::default());
        let (device, queue) = now(asked)?.map_err(|e| failed("the device", e))?;
        let picture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d { width: WIDTH, height: HEIGHT, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("frame"),
            size: (WIDTH * HEIGHT * 4) as u64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let module = device.create_shader_module(wgpu::include_wgsl!("draw.wgsl"));
        let add = wgpu::BlendComponent {
            src_factor: wgpu::BlendFactor::One,
            dst_factor: wgpu::BlendFactor::One,
            operation: wgpu::BlendOperation::Add,
        };
        let attributes = wgpu::vertex_attr_array![0 => Float32x2, 1 => Float32x2];
        let instance = wgpu::VertexBufferLayout { array_stride: 16, step_mode: wgpu::VertexStepMode::Instance, attributes: &attributes };
        let pipeline = |vertex, fragment, blend, buffers: &[Option<wgpu::VertexBufferLayout<'_>>]| {
            device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
                label: Some(vertex),
                layout: None,
                vertex: wgpu::VertexState { module: &module, entry_point: Some(vertex), compilation_options: Default::default(), buffers },
                primitive: wgpu::PrimitiveState { topology: wgpu::PrimitiveTopology::TriangleStrip, ..Default::default() },
                depth_stencil: None,
                multisample: Default::default(),
                fragment: Some(wgpu::FragmentState {
                    module: &module,
                    entry_point: Some(fragment),
                    compilation_options: Default::default(),
                    targets: &[Some(wgpu::ColorTargetState { format: FORMAT, blend: Some(blend), write_mask: wgpu::ColorWrites::ALL })],
                }),
                multiview_mask: None,
                cache: None,
            })
        };
        let particles = pipeline("particle", "disc", wgpu::BlendState { color: add, alpha: add }, &[Some(instance)]);
        let fade = pipeline("everywhere", "fade", wgpu::BlendState::ALPHA_BLENDING, &[]);
        let adapter = adapter.get_info().name;
        Ok(Host { device, queue, adapter, picture, particles, fade, staging })
    }

    /// Draws `n` particles that lie in a buffer as x, y and speed, over what fades of the frame before.
    pub fn draw(&self, encoder: &mut wgpu::CommandEncoder, buffer: &wgpu::Buffer, offset: u64, n: u32, first: bool) {
        let view = self.picture.create_view(&wgpu::TextureViewDescriptor::default());
        let load = if first { wgpu::LoadOp::Clear(wgpu::Color::BLACK) } else { wgpu::LoadOp::Load };
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &view,
                resolve_target: None,
                depth_slice: None,
                ops: wgpu::Operations { load, store: wgpu::StoreOp::Store },
            })],
            ..Default::default()
        });
        pass.set_pipeline(&self.fade);
        pass.draw(0..3, 0..1);
        pass.set_pipeline(&self.particles);
        pass.set_vertex_buffer(0, buffer.slice(offset..offset + n as u64 * 16));
        pass.draw(0..4, 0..n);
    }

    /// The picture as it is now: RGB, a byte each.
    pub fn frame(&self) -> Result<Vec<u8>> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(
            self.picture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &self.staging,
                layout: wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(WIDTH * 4), rows_per_image: None },
            },
            self.picture.size(),
        );
        self.queue.submit([encoder.finish()]);
        self.staging.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| failed("the device", e))?;
        let rgb = {
            let bytes = self.staging.get_mapped_range(..).map_err(|e| failed("the frame", e))?;
            bytes.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect()
        };
        self.staging.unmap();
        Ok(rgb)
    }
}
