//! Textures of an application as values of tensors, and values into its textures. What the engine's kernels read and write are buffers;
//! two small kernels (`shaders/texture.wgsl`) stand between those and a texture.
//!
//! A tensor made of a texture has memory of its own, which is filled anew for every program that reads it, in the same encoder: it sees
//! what the application drew before. What goes into a texture is packed into a scratch buffer first and copied from there: so a texture
//! needs no usage but `COPY_DST`, and formats that no kernel can write (sRGB) are like the others.

use super::gpu::{Gpu, lock};
use super::host::Ticket;
use super::memory::{View, WgpuStorage};
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Result, Storage};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wgpu::{TextureFormat as F, TextureUsages as U};

/// How the texels of a format lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Texel {
    channels: u32,
    /// Of each.
    bytes: u32,
    /// Blue comes first.
    swapped: bool,
    srgb: bool,
}

/// The formats there are, for messages.
const FORMATS: &str = "R8Unorm, R16Float, R32Float, Rgba8Unorm, Rgba8UnormSrgb, Bgra8Unorm, Bgra8UnormSrgb, Rgba16Float, Rgba32Float";

fn texel(f: F) -> Option<Texel> {
    let of = |channels, bytes| Texel { channels, bytes, swapped: false, srgb: false };
    Some(match f {
        F::R8Unorm => of(1, 1),
        F::R16Float => of(1, 2),
        F::R32Float => of(1, 4),
        F::Rgba8Unorm => of(4, 1),
        F::Rgba8UnormSrgb => Texel { srgb: true, ..of(4, 1) },
        F::Bgra8Unorm => Texel { swapped: true, ..of(4, 1) },
        F::Bgra8UnormSrgb => Texel { swapped: true, srgb: true, ..of(4, 1) },
        F::Rgba16Float => of(4, 2),
        F::Rgba32Float => of(4, 4),
        _ => return None,
    })
}

/// That it is one picture, of a format and for a use that will do.
fn check(call: &str, t: &wgpu::Texture, usage: U) -> Result<Texel> {
    let Some(texel) = texel(t.format()) else { bail!(Argument, "{call}: the texture's format is {:?}: it can be {FORMATS}", t.format()) };
    if !t.usage().contains(usage) {
        bail!(Argument, "{call}: the texture's usage is {:?}: create it with {usage:?}", t.usage());
    }
    if t.dimension() != wgpu::TextureDimension::D2 || t.depth_or_array_layers() != 1 || t.sample_count() != 1 {
        bail!(
            Argument,
            "{call}: the texture is {:?} of {} layers and {} samples: it can be a D2 of one layer and one sample",
            t.dimension(),
            t.depth_or_array_layers(),
            t.sample_count()
        );
    }
    Ok(texel)
}

/// A kernel of ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Which {
    Load { channels: u32 },
    Store(Texel),
}

#[derive(Clone, Debug)]
struct Kernel {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroupLayout,
}

/// Those that were needed so far.
#[derive(Default)]
pub(super) struct Kernels(Mutex<HashMap<Which, Kernel>>);

impl Kernels {
    fn get(&self, gpu: &Gpu, which: Which) -> Result<Kernel> {
        let mut all = lock(&self.0);
        if let Some(k) = all.get(&which) {
            return Ok(k.clone());
        }
        let k = gpu.guarded(|| compile(&gpu.device, which))?;
        all.insert(which, k.clone());
        Ok(k)
    }
}

fn compile(device: &wgpu::Device, which: Which) -> Kernel {
    use wgpu::BufferBindingType as B;
    let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
    let image = wgpu::BindingType::Texture {
        sample_type: wgpu::TextureSampleType::Float { filterable: false },
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    };
    let [read, write] = [true, false].map(|read_only| buffer(B::Storage { read_only }));
    let (entry, types, constants): (_, &[_], Vec<(&str, f64)>) = match which {
        Which::Load { channels } => ("load", &[image, write], vec![("CHANNELS", channels.into())]),
        Which::Store(t) => {
            let flags = [("SWAPPED", t.swapped), ("SRGB", t.srgb)].map(|(n, on)| (n, f64::from(u8::from(on))));
            let sizes = [("CHANNELS", t.channels.into()), ("BYTES", t.bytes.into())];
            ("store", &[read, write, buffer(B::Uniform)], sizes.into_iter().chain(flags).collect())
        }
    };
    let one = |(n, &ty): (usize, &wgpu::BindingType)| wgpu::BindGroupLayoutEntry {
        binding: n as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty,
        count: None,
    };
    let entries: Vec<_> = types.iter().enumerate().map(one).collect();
    let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(entry), entries: &entries });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(entry),
        bind_group_layouts: &[Some(&bindings)],
        immediate_size: 0,
    });
    let source = wgpu::ShaderSource::Wgsl(include_str!("../../../shaders/texture.wgsl").into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("texture"), source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry),
        layout: Some(&layout),
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
        cache: None,
    });
    Kernel { pipeline, bindings }
}

/// A texture that a tensor's values come from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    texture: wgpu::Texture,
    channels: u32,
}

/// A texture to be read.
struct Load {
    kernel: Kernel,
    bindings: wgpu::BindGroup,
    width: u32,
    height: u32,
}

/// Textures to be read before the launches of a program.
#[derive(Default)]
pub(super) struct Loads(SmallVec<[Load; 1]>);

impl Loads {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        if self.0.is_empty() {
            return;
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("textures"), timestamp_writes: None });
        for l in &self.0 {
            pass.set_pipeline(&l.kernel.pipeline);
            pass.set_bind_group(0, &l.bindings, &[]);
            pass.dispatch_workgroups(l.width.div_ceil(8), l.height.div_ceil(8), 1);
        }
    }
}

fn whole(v: &View) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &v.buffer, offset: v.offset, size: std::num::NonZeroU64::new(v.len) })
}

impl Gpu {
    /// What has to be read from textures before these values are used.
    ///
    /// # Errors
    /// `Device` if a texture is another device's, or destroyed.
    pub(super) fn loads(self: &Arc<Self>, storages: &[&WgpuStorage]) -> Result<Loads> {
        let mut all = Loads::default();
        for s in storages {
            let Some(Source { texture, channels }) = s.texture() else { continue };
            let kernel = self.textures.get(self, Which::Load { channels })?;
            let to = s.contents(self)?;
            // Made each time: it is also the question whether the texture is still there.
            let bindings = self
                .guarded(|| {
                    let view = texture.create_view(&wgpu::TextureViewDescriptor { mip_level_count: Some(1), ..Default::default() });
                    let entries = [
                        wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(&view) },
                        wgpu::BindGroupEntry { binding: 1, resource: whole(&to) },
                    ];
                    let layout = &kernel.bindings;
                    self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some("texture"), layout, entries: &entries })
                })
                .map_err(|e| err!(Device, "a texture of the application cannot be read: {}", e.message()))?;
            all.0.push(Load { kernel, bindings, width: texture.width(), height: texture.height() });
        }
        Ok(all)
    }

    /// Reads textures now.
    pub(super) fn load(self: &Arc<Self>, storages: &[&WgpuStorage]) -> Result<()> {
        let loads = self.loads(storages)?;
        if loads.len() == 0 {
            return Ok(());
        }
        self.guarded(|| {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            loads.encode(&mut encoder);
            self.queue.submit([encoder.finish()]);
        })
    }
}

/// A texture as the value of a tensor of F32, and its shape: rows, columns, channels.
///
/// # Errors
/// `Argument` for a format, kind or usage that will not do; `Device` if it is another device's, or destroyed; `Memory` if there is not
/// enough.
pub fn import(device: DeviceId, texture: &wgpu::Texture) -> Result<(Arc<dyn Storage>, [usize; 3])> {
    let gpu = super::opened(device)?.gpu();
    gpu.alive()?;
    let texel = check("from_texture", texture, U::TEXTURE_BINDING)?;
    let shape = [texture.height() as usize, texture.width() as usize, texel.channels as usize];
    let bytes = shape.iter().product::<usize>() * 4;
    if bytes as u64 > gpu.span() {
        bail!(Memory, "from_texture: {bytes} bytes are more than the device binds at once ({})", gpu.span());
    }
    let s = WgpuStorage::of_texture(&gpu, Source { texture: texture.clone(), channels: texel.channels }, bytes)?;
    gpu.loads(&[&s])?;
    Ok((s, shape))
}

/// A texture that a tensor's values will be copied to.
pub struct Destination {
    gpu: Arc<Gpu>,
    texture: wgpu::Texture,
    kernel: Kernel,
    scratch: Arc<WgpuStorage>,
    shape: wgpu::Buffer,
    /// Words of a row of the scratch buffer.
    pitch: u32,
}

impl Destination {
    /// For a tensor of so many rows, columns and channels.
    ///
    /// # Errors
    /// `Argument` for a format, kind or usage that will not do, `Shape` if the tensor is no picture of its size; `Device` if it is another
    /// device's, or destroyed; `Memory` if there is not enough.
    pub fn new(device: DeviceId, texture: &wgpu::Texture, [rows, columns, of]: [usize; 3]) -> Result<Destination> {
        let gpu = super::opened(device)?.gpu();
        gpu.alive()?;
        let texel = check("copy_to_texture", texture, U::COPY_DST)?;
        let (width, height) = (texture.width(), texture.height());
        let enough = of == texel.channels as usize || (texel.channels, of) == (4, 3);
        if (rows, columns) != (height as usize, width as usize) || !enough {
            bail!(
                Shape,
                "copy_to_texture: a tensor of {rows} rows, {columns} columns and {of} channels does not fit a texture of {height} rows, {width} columns and {} channels",
                texel.channels
            );
        }
        let pitch = (width * texel.channels * texel.bytes).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let bytes = pitch as usize * rows;
        if bytes as u64 > gpu.span() || (rows * columns * of * 4) as u64 > gpu.span() {
            bail!(Memory, "copy_to_texture: {rows} x {columns} texels are more than the device binds at once ({} bytes)", gpu.span());
        }
        let kernel = gpu.textures.get(&gpu, Which::Store(texel))?;
        let scratch = WgpuStorage::new(&gpu, bytes)?;
        let pitch = pitch / 4;
        let made = gpu.guarded(|| -> Result<wgpu::Buffer> {
            let shape = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("texture"),
                size: 16,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            let words: Vec<u8> = [width, height, pitch, of as u32].iter().flat_map(|w| w.to_ne_bytes()).collect();
            shape
                .get_mapped_range_mut(..)
                .map_err(|e| err!(Device, "wgpu: memory cannot be written: {e}"))?
                .slice(..)
                .copy_from_slice(&words);
            shape.unmap();
            Ok(shape)
        })??;
        let to = Destination { gpu: gpu.clone(), texture: texture.clone(), kernel, scratch, shape: made, pitch };
        // An encoder that is never submitted tells whether it is this device's texture, a view whether it is still there. (One of which there
        // are no views can only be copied on.)
        let view = to.scratch.contents(&gpu)?;
        gpu.guarded(|| {
            if texture.usage().intersects(U::TEXTURE_BINDING | U::STORAGE_BINDING | U::RENDER_ATTACHMENT) {
                let _ = texture.create_view(&wgpu::TextureViewDescriptor::default());
            }
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("probe") });
            to.copy(&mut encoder, &view.buffer, view.offset);
            drop(encoder.finish());
        })
        .map_err(|e| err!(Device, "a texture of the application cannot be written: {}", e.message()))?;
        Ok(to)
    }

    fn copy(&self, encoder: &mut wgpu::CommandEncoder, buffer: &wgpu::Buffer, offset: u64) {
        let layout = wgpu::TexelCopyBufferLayout { offset, bytes_per_row: Some(self.pitch * 4), rows_per_image: None };
        let size = wgpu::Extent3d { width: self.texture.width(), height: self.texture.height(), depth_or_array_layers: 1 };
        encoder.copy_buffer_to_texture(wgpu::TexelCopyBufferInfo { buffer, layout }, self.texture.as_image_copy(), size);
    }

    /// Puts the copy of a value in the encoder; the ticket is for that too.
    ///
    /// # Errors
    /// `NotReady` if the value's ticket was dropped, `Memory` if it lies in several buffers. The encoder is as it was then.
    pub fn encode(self, value: &Arc<dyn Storage>, encoder: &mut wgpu::CommandEncoder, ticket: &mut Ticket) -> Result<()> {
        let gpu = &self.gpu;
        let own = gpu.own(&**value)?;
        let needs = own.promised()?;
        let from = own.contents(gpu)?;
        if from.parts.is_some() {
            bail!(Memory, "copy_to_texture: the tensor lies in several buffers");
        }
        let loads = gpu.loads(&[own])?;
        let scratch = self.scratch.contents(gpu)?;
        gpu.guarded(|| {
            let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("texture"),
                layout: &self.kernel.bindings,
                entries: &[
                    wgpu::BindGroupEntry { binding: 0, resource: whole(&from) },
                    wgpu::BindGroupEntry { binding: 1, resource: whole(&scratch) },
                    wgpu::BindGroupEntry { binding: 2, resource: self.shape.as_entire_binding() },
                ],
            });
            loads.encode(encoder);
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("texture"), timestamp_writes: None });
                pass.set_pipeline(&self.kernel.pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(self.pitch.div_ceil(64), self.texture.height(), 1);
            }
            self.copy(encoder, &scratch.buffer, scratch.offset);
        })?;
        ticket.also(needs, [value.clone(), self.scratch.clone() as Arc<dyn Storage>], loads.len() + 1);
        self.scratch.promise(&ticket.promise);
        Ok(())
    }
}
