//! Any GPU: Loop IR kernels as WGSL through wgpu (Vulkan, Metal, DX12, WebGPU).
//!
//! A kernel takes this way: `loops::legalize` makes of it what WGSL can say; [`emit`] prints a module; [`pipelines`] compiles it (once per
//! text) and binds it; [`preparing`] knows what another process has emitted already; [`executable`] strings launches together: one encoder,
//! one pass, one submission per plan, kept by [`record`] for the next run; [`control`] records branches and loops, [`gate`] lets the device
//! choose among what is recorded; [`pieces`] cuts up kernels over tensors larger than can be bound, [`results`] those of very many results;
//! [`memory`] hands out buffers, [`transfer`] fills and reads them; [`gpu`] is the open device, [`device`] the name it goes by; [`host`] is
//! all of this on an application's own device, [`texture`] its textures; [`listing`] is a recorded plan as data. It does not lower: the
//! schedule is the one the CPU gets.
//!
//! A tensor is a buffer of its own (several, if it is larger than a buffer can be), a plan's temporaries are parts of one. Each argument is
//! bound by itself, typed; types narrower than a word are packed in words; I64 is a pair of words, with arithmetic of our own, on every
//! device. F64 is native where the device has it (Vulkan's `shaderFloat64`, with 64-bit integers), its functions our own: GLSL's are of 32
//! bits only. Elsewhere it is refused.
//!
//! Invariants: a module's text does not depend on where buffers lie; errors of the device are errors of the call, never panics; the queue
//! runs submissions in order, so a buffer given back may be handed out at once.

mod adapter;
mod control;
mod device;
pub mod emit;
mod executable;
mod gate;
mod gpu;
pub mod host;
mod inside;
#[cfg(not(target_arch = "wasm32"))]
pub mod listing;
mod memory;
mod pieces;
mod pipelines;
mod preparing;
mod record;
mod results;
#[cfg(test)]
mod tests;
pub mod texture;
mod timing;
mod transfer;

use crate::base::error::err;
use crate::base::{DType, DeviceId, Result};
use crate::fuse::Limits;
pub use adapter::Bounds;
use adapter::Opened;
use device::WgpuDevice;
use std::sync::Mutex;

/// What devices of this backend are called.
pub const KIND: &str = "wgpu";

/// How large kernels are: drivers take far more than twice as long for a module of twice as many lines.
pub const LIMITS: Limits = Limits { values: 256, operands: 32 };

/// Whether the kernels of every device know a type.
pub fn supports(d: DType) -> bool {
    d != DType::F64
}

/// What each adapter of this machine is, readable.
pub fn adapters() -> Vec<String> {
    let all = gpu::ready(adapter::adapters()).unwrap_or_default();
    all.iter().map(|a| adapter::describe(&a.get_info(), &a.limits(), a.features())).collect()
}

/// Checks a module as a device with no more than the target's capabilities would, before any driver sees it. A browser does so itself.
///
/// # Errors
/// `Internal`, with the place and the reason.
#[cfg(not(target_arch = "wasm32"))]
pub fn validate(text: &str, target: &emit::Target) -> Result<()> {
    use ::wgpu::naga::{self, valid};
    let refused = |e: String| err!(Internal, "wgpu: a module is not valid: {e}");
    let module = naga::front::wgsl::parse_str(text).map_err(|e| refused(e.emit_to_string(text)))?;
    let mut has = valid::Capabilities::empty();
    has.set(valid::Capabilities::SHADER_INT64, target.long || target.double);
    has.set(valid::Capabilities::FLOAT64, target.double);
    has.set(valid::Capabilities::SUBGROUP, target.subgroup > 0);
    let mut v = valid::Validator::new(valid::ValidationFlags::all(), has);
    if target.subgroup > 0 {
        v.subgroup_stages(valid::ShaderStages::COMPUTE).subgroup_operations(valid::SubgroupOperationSet::all());
    }
    v.validate(&module).map(|_| ()).map_err(|e| refused(e.emit_to_string(text)))
}

/// Opens the adapter that `LAZULI_ADAPTER` names, or the best hardware there is.
///
/// # Errors
/// `Device` if there is none, or it cannot be opened; `NotReady` in a browser: see [`open_async`].
pub fn open(bounds: &Bounds) -> Result<DeviceId> {
    gpu::ready(open_async(bounds))?
}

/// As [`open`], without blocking.
///
/// # Errors
/// `Device` if there is none, or it cannot be opened.
pub async fn open_async(bounds: &Bounds) -> Result<DeviceId> {
    let opened = Opened::new(bounds).await?;
    super::register(|id| {
        // A device and its backend live as long as the process.
        let d: &'static WgpuDevice = Box::leak(Box::new(WgpuDevice::open(id, &opened, bounds)));
        gpu::lock(&OPEN).push(d);
        Ok(Box::leak(Box::new(d)))
    })
}

/// All that were opened.
static OPEN: Mutex<Vec<&'static WgpuDevice>> = Mutex::new(Vec::new());

fn opened(id: DeviceId) -> Result<&'static WgpuDevice> {
    gpu::lock(&OPEN).iter().copied().find(|d| d.id() == id).ok_or_else(|| err!(Device, "device {} is no wgpu device", id.0))
}

/// Fault injection, for tests: from the `n`-th fresh buffer on the device is said to be full; `None` ends that.
///
/// # Errors
/// `Device` if it is no wgpu device.
pub fn fail_after(device: DeviceId, n: Option<u32>) -> Result<()> {
    opened(device).map(|d| d.gpu().memory.fail_after(n))
}

/// Takes a device for lost, as its driver says (to the application, if it is that's): every later call on it is an error.
///
/// # Errors
/// `Device` if it is no wgpu device.
pub fn lose(device: DeviceId) -> Result<()> {
    opened(device).map(|d| d.gpu().set_lost("given up"))
}

/// Fault injection, for tests: destroys the device under the submission in which the `n`-th launch from now on is.
///
/// # Errors
/// `Device` if it is no wgpu device.
pub fn lose_after(device: DeviceId, n: u32) -> Result<()> {
    opened(device).map(|d| d.gpu().lose_after(n))
}
