//! The application's renderer: one scene, in pictures of any size.

use crate::app::Gpu;
use lazuli::wgpu;

pub struct Scene {
    pipeline: wgpu::RenderPipeline,
}

impl Scene {
    pub fn new(gpu: &Gpu) -> Scene {
        let module = gpu.device.create_shader_module(wgpu::include_wgsl!("scene.wgsl"));
        let state = |entry_point| (Some(entry_point), wgpu::PipelineCompilationOptions::default());
        let ((vertex, options), (fragment, _)) = (state("everywhere"), state("draw"));
        let target =
            wgpu::ColorTargetState { format: wgpu::TextureFormat::Rgba8UnormSrgb, blend: None, write_mask: wgpu::ColorWrites::ALL };
        let pipeline = gpu.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("scene"),
            layout: None,
            vertex: wgpu::VertexState { module: &module, entry_point: vertex, compilation_options: options.clone(), buffers: &[] },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: Default::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: fragment,
                compilation_options: options,
                targets: &[Some(target)],
            }),
            multiview_mask: None,
            cache: None,
        });
        Scene { pipeline }
    }

    /// Draws the scene as it is at a time, with so many samples along each side of a texel.
    pub fn draw(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, picture: &wgpu::Texture, time: f32, samples: u32) {
        let view = [picture.width() as f32, picture.height() as f32, time, samples as f32];
        let uniform = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("view"),
            size: 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        gpu.queue.write_buffer(&uniform, 0, &view.map(f32::to_ne_bytes).concat());
        let bindings = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("view"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: uniform.as_entire_binding() }],
        });
        let target = picture.create_view(&wgpu::TextureViewDescriptor::default());
        let ops = wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store };
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment { view: &target, resolve_target: None, depth_slice: None, ops })],
            ..Default::default()
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.draw(0..3, 0..1);
    }
}
