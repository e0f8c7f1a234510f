//! An application with a wgpu device of its own, for tests: what it makes, draws and reads.

use lazuli::prelude::*;
use lazuli::{ErrorKind, wgpu};
use std::future::Future;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

pub fn now<F: Future>(f: F) -> F::Output {
    match pin!(f).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(x) => x,
        Poll::Pending => panic!("natively these are ready at once"),
    }
}

/// An application with a device of its own.
pub struct Host {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub dev: Device,
}

pub fn open(limits: wgpu::Limits) -> Option<(wgpu::Device, wgpu::Queue)> {
    let name = std::env::var("LAZULI_ADAPTER").unwrap_or_default().to_lowercase();
    // wgpu tells devices apart by number within an instance.
    static INSTANCE: LazyLock<wgpu::Instance> =
        LazyLock::new(|| wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env()));
    let instance = &*INSTANCE;
    let all = now(instance.enumerate_adapters(wgpu::Backends::all()));
    let found = all.into_iter().find(|a| {
        let i = a.get_info();
        format!("{} {} {}", i.name, i.driver, i.driver_info).to_lowercase().contains(&name)
            && (!name.is_empty() || i.device_type != wgpu::DeviceType::Cpu)
    });
    let Some(adapter) = found else {
        println!("skipped: no adapter (LAZULI_ADAPTER names a software one)");
        return None;
    };
    Some(now(adapter.request_device(&wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() })).expect("a device"))
}

pub fn host() -> Option<Host> {
    let (device, queue) = open(wgpu::Limits::default())?;
    let dev = Device::from_wgpu(&device, &queue).expect("a device with compute");
    Some(Host { device, queue, dev })
}

impl Host {
    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    pub fn buffer(&self, data: &[f32], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let size = data.len() as u64 * 4;
        let b = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_ne_bytes()).collect();
        self.queue.write_buffer(&b, 0, &bytes);
        b
    }

    pub fn storage(&self, data: &[f32]) -> wgpu::Buffer {
        self.buffer(data, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC)
    }

    pub fn submit(&self, e: wgpu::CommandEncoder) {
        self.queue.submit([e.finish()]);
    }

    pub fn read(&self, from: &wgpu::Buffer, offset: u64, n: usize) -> Vec<f32> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let size = n as u64 * 4;
        let to = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        let mut e = self.encoder();
        e.copy_buffer_to_buffer(from, offset, &to, 0, size);
        self.submit(e);
        to.map_async(wgpu::MapMode::Read, .., |r| r.expect("mapped"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
        let bytes = to.get_mapped_range(..).expect("mapped");
        bytes.chunks(4).map(|c| f32::from_ne_bytes(c.try_into().expect("4 bytes"))).collect()
    }

    pub fn texture(&self, format: wgpu::TextureFormat, [width, height]: [u32; 2], usage: wgpu::TextureUsages) -> wgpu::Texture {
        self.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        })
    }

    /// Rows of texels, one behind the other.
    pub fn write_texture(&self, t: &wgpu::Texture, rows: &[u8]) {
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(rows.len() as u32 / t.height()), rows_per_image: None };
        self.queue.write_texture(t.as_image_copy(), rows, layout, t.size());
    }

    pub fn read_texture(&self, t: &wgpu::Texture) -> Vec<u8> {
        let row = t.width() * t.format().block_copy_size(None).expect("a format of one aspect");
        let pitch = row.next_multiple_of(256);
        let to = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: (pitch * t.height()) as u64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut e = self.encoder();
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(pitch), rows_per_image: None };
        e.copy_texture_to_buffer(t.as_image_copy(), wgpu::TexelCopyBufferInfo { buffer: &to, layout }, t.size());
        self.submit(e);
        to.map_async(wgpu::MapMode::Read, .., |r| r.expect("mapped"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
        let bytes = to.get_mapped_range(..).expect("mapped");
        bytes.chunks(pitch as usize).flat_map(|r| r[..row as usize].to_vec()).collect()
    }

    /// A render pass that fills a texture with a colour.
    pub fn fill(&self, e: &mut wgpu::CommandEncoder, t: &wgpu::Texture, [r, g, b, a]: [f64; 4]) {
        let view = t.create_view(&wgpu::TextureViewDescriptor::default());
        let ops = wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color { r, g, b, a }), store: wgpu::StoreOp::Store };
        e.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment { view: &view, resolve_target: None, depth_slice: None, ops })],
            ..Default::default()
        });
    }
}

pub fn kind<T>(r: Result<T>) -> ErrorKind {
    match r {
        Ok(_) => panic!("an error was expected"),
        Err(e) => {
            assert!(!e.message().is_empty());
            e.kind()
        }
    }
}
