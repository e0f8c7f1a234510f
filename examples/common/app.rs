//! What the examples' applications have in common: a wgpu device of their own, pictures, and options.

use lazuli::wgpu;
use lazuli::{Error, ErrorKind, Result};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The application's device.
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: wgpu::AdapterInfo,
}

pub fn failed(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Device, format!("{what}: {why}"))
}

/// Natively wgpu's futures are ready at once.
fn now<F: Future>(f: F) -> Result<F::Output> {
    match pin!(f).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(x) => Ok(x),
        Poll::Pending => Err(failed("wgpu", "it did not answer")),
    }
}

impl Gpu {
    /// Opens hardware if there is any, else a software adapter; `LAZULI_ADAPTER` names another.
    pub fn open() -> Result<Gpu> {
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
        Ok(Gpu { device, queue, adapter: adapter.get_info() })
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// A picture of 8 bits a channel, stored as sRGB, that can be drawn, read by shaders and copied.
    pub fn picture(&self, [width, height]: [u32; 2]) -> wgpu::Texture {
        use wgpu::TextureUsages as U;
        self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("picture"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8UnormSrgb,
            usage: U::RENDER_ATTACHMENT | U::TEXTURE_BINDING | U::COPY_SRC | U::COPY_DST,
            view_formats: &[],
        })
    }

    /// The picture as it is now: RGB, a byte each.
    pub fn read(&self, picture: &wgpu::Texture) -> Result<Vec<u8>> {
        let row = picture.width() * 4;
        let pitch = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("frame"),
            size: (pitch * picture.height()) as u64,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(pitch), rows_per_image: None };
        encoder.copy_texture_to_buffer(picture.as_image_copy(), wgpu::TexelCopyBufferInfo { buffer: &staging, layout }, picture.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| failed("the device", e))?;
        let bytes = staging.get_mapped_range(..).map_err(|e| failed("the frame", e))?;
        let rows = bytes.chunks(pitch as usize).map(|r| &r[..row as usize]);
        Ok(rows.flat_map(|r| r.chunks(4)).flat_map(|p| [p[0], p[1], p[2]]).collect())
    }
}

/// Reads options `--name value` by `set`, which says what is wrong with one; whether to go on (`--help` prints the help).
pub fn options(help: &str, mut set: impl FnMut(&str, &str) -> Result<(), String>) -> Result<bool> {
    let mut args = std::env::args().skip(1);
    while let Some(a) = args.next() {
        if a == "--help" {
            println!("{help}");
            return Ok(false);
        }
        let wrong = |why: &str| Error::new(ErrorKind::Argument, format!("{a}: {why}\n\n{help}"));
        let value = args.next().ok_or_else(|| wrong("a value is missing, or no such option"))?;
        set(&a, &value).map_err(|why| wrong(&why))?;
    }
    Ok(true)
}

/// A positive number.
pub fn positive(value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|&n| n > 0).ok_or_else(|| format!("{value} is not a positive number"))
}
