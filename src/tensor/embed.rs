//! Inside an application that has a wgpu device of its own: its device, its buffers, its encoder.

use super::{Device, Tensor};
use crate::backend::wgpu::{host, texture};
use crate::base::error::bail;
use crate::base::{DType, Result, Shape, Value};
use crate::plan;
use crate::trace::graph::NodeRef;
use std::borrow::Borrow;

pub use host::{Budget, Ticket};

/// Where a tensor's elements lie on its device. They stay there as long as this is held.
#[derive(Clone, Debug)]
pub struct WgpuBuffer {
    /// The buffer: of usage `STORAGE`, `VERTEX`, `INDEX`, `COPY_SRC` and `COPY_DST` if it is the engine's. Read it only.
    pub buffer: wgpu::Buffer,
    /// The first byte in it.
    pub offset: u64,
    /// Bytes: elements row-major, Bool and U8 a byte each, F16 and BF16 two, I64 as two words, the lower first.
    pub size: u64,
    _pinned: std::sync::Arc<dyn crate::base::Storage>,
}

impl Device {
    /// The application's own device: tensors live in its memory, and programs are put in its encoders by
    /// [`encode_into`](Device::encode_into). To be called once for a device: what a second call returns is another one to the engine. Of its
    /// callbacks none is touched. `eval` and host reads are there too: they submit to the queue and wait, because they are asked to; nothing
    /// else does. F64 is there if it was opened with `Features::SHADER_F64` and `SHADER_INT64`.
    ///
    /// # Errors
    /// `Device` if it was opened without compute.
    pub fn from_wgpu(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Device> {
        host::borrow(device, queue).map(Device)
    }

    /// Puts the computation of the tensors in an encoder of the application: one compute pass, its parameters with it, so that several
    /// encodings before one submission have their own. The tensors become leaves, as by `eval`; other encodings may use them at once, the
    /// host can read them after [`Ticket::submitted`]. Nothing is submitted and nothing waited for; a program seen for the first time is
    /// compiled, unless [`prepare`](Device::prepare) has done so.
    ///
    /// ```no_run
    /// # use lazuli::prelude::*;
    /// # fn frame(device: &lazuli::wgpu::Device, queue: &lazuli::wgpu::Queue, state: &Tensor) -> Result<Tensor> {
    /// let dev = Device::from_wgpu(device, queue)?;
    /// let next = (state * 0.99).tanh();
    /// let mut encoder = device.create_command_encoder(&Default::default());
    /// let ticket = dev.encode_into(&mut encoder, &[&next])?;
    /// // ... the application's own passes, which may draw from next.wgpu_buffer()? ...
    /// queue.submit([encoder.finish()]);
    /// ticket.submitted()?;
    /// # Ok(next)
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotReady` while the program is being prepared, or if it uses a value whose ticket was dropped; `Memory` beyond the
    /// [frame's budget](Device::set_frame_budget) or the device's memory; `Device` for tensors of other devices, or if a buffer of the
    /// application is gone; `Argument` if a branch or loop has to look at data. The encoder is as it was then.
    #[track_caller]
    pub fn encode_into(&self, encoder: &mut wgpu::CommandEncoder, tensors: &[impl Borrow<Tensor>]) -> Result<Ticket> {
        let nodes = self.nodes(tensors, "encode_into")?;
        let mut tickets = Vec::new();
        plan::evaluate_elsewhere(&nodes, &mut |plan, leaves, params, wanted| {
            let (outputs, ticket) = host::encode(self.0, &*plan.executable, leaves, params, encoder)?;
            tickets.push(ticket);
            Ok(plan::results_of(plan, outputs, leaves, wanted))
        })?;
        Ok(tickets.pop().unwrap_or_default())
    }

    /// Compiles the program of these tensors in the background: [`encode_into`](Device::encode_into) of them, or of others recorded the
    /// same way, is `NotReady` until that is done, and never compiles itself.
    ///
    /// # Errors
    /// `Device` for tensors of other devices, or if no thread can be started; the slip a poisoned tensor carries.
    pub fn prepare(&self, tensors: &[impl Borrow<Tensor>]) -> Result<()> {
        plan::prepare(&self.nodes(tensors, "prepare")?)
    }

    /// What `call` is to compute on this device.
    fn nodes(&self, tensors: &[impl Borrow<Tensor>], call: &str) -> Result<Vec<NodeRef>> {
        if super::record::inside_transform() {
            bail!(Argument, "{call} inside a transform that records a function once: call it outside");
        }
        if self.kind() != "wgpu" {
            bail!(Device, "{call}: the {self} device has no encoders: this is for Device::from_wgpu and Device::wgpu");
        }
        let nodes: Vec<NodeRef> = tensors.iter().map(|t| t.borrow().0.clone()).collect();
        match nodes.iter().find(|n| n.device != self.0) {
            Some(n) => bail!(Device, "{call}: a tensor of device {} on device {}: move it with to_device", n.device.0, self.0.0),
            None => Ok(nodes),
        }
    }

    /// Limits what a program may take that is put in an encoder: one that takes more is an error, and the encoder as it was.
    ///
    /// # Errors
    /// `Device` if it is no wgpu device.
    pub fn set_frame_budget(&self, budget: Budget) -> Result<()> {
        host::set_budget(self.0, budget)
    }

    /// Takes note of what the device has done, without waiting: reads under way come to their end. Applications that poll their own
    /// device need not.
    ///
    /// # Errors
    /// `DeviceLost`.
    pub fn poll(&self) -> Result<()> {
        host::poll(self.0)
    }

    /// To be told by the application whose device it is, which alone hears of it: that the device was lost. Every later call is an error.
    ///
    /// # Errors
    /// `Device` if it is no wgpu device.
    pub fn notify_lost(&self) -> Result<()> {
        crate::backend::wgpu::lose(self.0)
    }
}

impl Tensor {
    /// A buffer of the application as a tensor, without a copy. Programs read it when they run; it is never written, cached or given
    /// back, and stays alive as long as the tensor does.
    ///
    /// # Errors
    /// `Argument` if the buffer is too small or its usage lacks `STORAGE`; `Device` if it is another device's, or destroyed; `DType` if
    /// the device lacks that. Buffers of another `wgpu::Instance` cannot be told apart: wgpu panics, or takes one of its own for them.
    #[track_caller]
    pub fn from_wgpu_buffer(device: &Device, buffer: wgpu::Buffer, dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::from_wgpu_buffer_at(device, buffer, 0, dtype, shape)
    }

    /// As [`from_wgpu_buffer`](Tensor::from_wgpu_buffer), from byte `offset` on, a multiple of 256.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn from_wgpu_buffer_at(
        device: &Device,
        buffer: wgpu::Buffer,
        offset: u64,
        dtype: DType,
        shape: impl Into<Shape>,
    ) -> Result<Tensor> {
        let shape = shape.into();
        if !device.backend().supports(dtype) {
            bail!(DType, "from_wgpu_buffer: {device} has no {dtype}");
        }
        let Some(bytes) = shape.numel().checked_mul(dtype.size()) else { bail!(Shape, "from_wgpu_buffer: {shape} is too large") };
        let storage = host::import(device.0, buffer, offset, bytes)?;
        Ok(Tensor::leaf(Value { storage, dtype }, shape))
    }

    /// The buffer that holds the elements. What is not computed yet is computed first; what lies in an encoder may be drawn from in the
    /// same encoder.
    ///
    /// # Errors
    /// `Device` if the tensor is not on a wgpu device, `Memory` if it lies in several buffers, what evaluating it reports.
    pub fn wgpu_buffer(&self) -> Result<WgpuBuffer> {
        let value = self.value()?;
        let (buffer, offset) = host::place(self.device().0, &*value.storage)?;
        let size = (self.numel() * self.dtype().size()) as u64;
        Ok(WgpuBuffer { buffer, offset, size, _pinned: value.storage.clone() })
    }

    /// A texture of the application as a tensor of F32 `[rows, columns, channels]`, channels in the order red, green, blue, alpha. Values are
    /// linear: what is stored as sRGB is decoded. Every program that the tensor is part of reads the texture when it runs, in the encoder it
    /// is put in: after what the application drew there before. Nothing goes by way of the host.
    ///
    /// Formats: `R8Unorm`, `R16Float`, `R32Float` (one channel), `Rgba8Unorm`, `Rgba8UnormSrgb`, `Bgra8Unorm`, `Bgra8UnormSrgb`, `Rgba16Float`,
    /// `Rgba32Float` (four).
    ///
    /// ```no_run
    /// # use lazuli::prelude::*;
    /// # use lazuli::wgpu;
    /// # fn frame(dev: &Device, encoder: &mut wgpu::CommandEncoder, drawn: &wgpu::Texture, shown: &wgpu::Texture) -> Result<()> {
    /// let picture = Tensor::from_texture(dev, drawn)?;
    /// let grey = picture.slice(s![.., .., 0..3]).mean_keepdim(2);
    /// let sepia = &grey * tensor![1.0, 0.85, 0.6].to_device(dev);
    /// let ticket = sepia.copy_to_texture(encoder, shown)?;
    /// // ... queue.submit([encoder.finish()]), then:
    /// ticket.submitted()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Argument` if it is of another format, not two-dimensional, of several layers or samples, or lacks the usage `TEXTURE_BINDING`;
    /// `Device` if it is another device's, or destroyed; `Memory` if its values take more than the device has, or binds at once.
    #[track_caller]
    pub fn from_texture(device: &Device, texture: &wgpu::Texture) -> Result<Tensor> {
        let (storage, shape) = texture::import(device.0, texture)?;
        Ok(Tensor::leaf(Value { storage, dtype: DType::F32 }, Shape::from(shape)))
    }

    /// Puts the tensor in a texture of the application: what it still has to compute is put in the encoder, as by
    /// [`encode_into`](Device::encode_into), and then the copy. The tensor is F32, `[rows, columns]` for a format of one channel, `[rows,
    /// columns, channels]` for any; with three channels for a format of four, alpha becomes 1. Values are linear: a format that is stored as
    /// sRGB gets them encoded. What a format cannot hold becomes the nearest it can. Formats as with [`from_texture`](Tensor::from_texture).
    ///
    /// # Errors
    /// `Shape` or `DType` if the tensor is no picture of the texture's size; `Argument` if the texture is of another format, not
    /// two-dimensional, of several layers or samples, or lacks the usage `COPY_DST`; `Device` if it is another device's, or destroyed; those
    /// of [`encode_into`](Device::encode_into). The encoder is as it was then.
    #[track_caller]
    pub fn copy_to_texture(&self, encoder: &mut wgpu::CommandEncoder, texture: &wgpu::Texture) -> Result<Ticket> {
        if self.dtype() != DType::F32 {
            bail!(DType, "copy_to_texture: the tensor is {}: cast it to F32", self.dtype());
        }
        let picture = match **self.shape() {
            [rows, columns] => [rows, columns, 1],
            [rows, columns, channels] => [rows, columns, channels],
            _ => bail!(Shape, "copy_to_texture: the tensor is {}: a picture is [rows, columns, channels]", self.shape()),
        };
        let device = self.device();
        device.nodes(std::slice::from_ref(self), "copy_to_texture")?;
        let to = texture::Destination::new(device.0, texture, picture)?;
        let mut ticket = device.encode_into(encoder, std::slice::from_ref(self))?;
        to.encode(&self.value()?.storage, encoder, &mut ticket)?;
        Ok(ticket)
    }
}
