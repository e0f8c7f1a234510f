//! The application: a picture it draws particles into, on a device of its own.

use crate::app::Gpu;
use lazuli::Result;
use lazuli::wgpu;

pub const WIDTH: u32 = 1024;
pub const HEIGHT: u32 = 576;

pub struct Host {
    pub gpu: Gpu,
    pub picture: wgpu::Texture,
    particles: wgpu::RenderPipeline,
    fade: wgpu::RenderPipeline,
}

impl Host {
    pub fn new() -> Result<Host> {
        let gpu = Gpu::open()?;
        let device = &gpu.device;
        let picture = gpu.picture([WIDTH, HEIGHT]);
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
                    targets: &[Some(wgpu::ColorTargetState {
                        format: picture.format(),
                        blend: Some(blend),
                        write_mask: wgpu::ColorWrites::ALL,
                    })],
                }),
                multiview_mask: None,
                cache: None,
            })
        };
        let particles = pipeline("particle", "disc", wgpu::BlendState { color: add, alpha: add }, &[Some(instance)]);
        let fade = pipeline("everywhere", "fade", wgpu::BlendState::ALPHA_BLENDING, &[]);
        Ok(Host { gpu, picture, particles, fade })
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
}
