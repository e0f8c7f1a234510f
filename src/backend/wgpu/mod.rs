//! Any GPU: Loop IR kernels as WGSL through wgpu (Vulkan, Metal, DX12, WebGPU).
//!
//! A kernel takes this way: `loops::legalize` makes of it what WGSL can say; [`emit`] prints a module; [`gpu`] compiles it (once per text)
//! and binds it; [`executable`] strings launches together: one encoder, one pass, one submission per plan; [`control`] records branches and
//! loops; [`memory`] hands out buffers. It does not lower: the schedule is the one the CPU gets.
//!
//! A tensor is a buffer of its own, a plan's temporaries are parts of one. Each argument is bound by itself, typed; types narrower than
//! a word are packed in words; I64 is a pair of words, with arithmetic of our own, on every device; there is no F64.
//!
//! Invariants: a module's text does not depend on where buffers lie; errors of the device are errors of the call, never panics; the queue
//! runs submissions in order, so a buffer given back may be handed out at once.

mod control;
pub mod emit;
mod executable;
mod gpu;
mod memory;
#[cfg(test)]
mod tests;

use super::{Backend, Executable, Failed, MemoryStats};
use crate::base::error::err;
use crate::base::{DType, DeviceId, Result, Scalar, Storage};
use crate::loops::schedule::Schedule;
pub use gpu::Bounds;
use gpu::Gpu;
use memory::WgpuStorage;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

/// What an adapter is, readable.
pub fn adapters() -> Vec<String> {
    gpu::adapters().iter().map(|a| describe(&a.get_info(), &a.limits(), a.features())).collect()
}

fn describe(i: &wgpu::AdapterInfo, l: &wgpu::Limits, f: wgpu::Features) -> String {
    let mut s = format!("{} ({:?}, {:?}; {} {})", i.name, i.backend, i.device_type, i.driver, i.driver_info);
    let _ = write!(
        s,
        ": buffers of {} MiB, {} MiB bound at once, {} bindings a kernel, {} invocations and {} KiB a workgroup",
        l.max_buffer_size >> 20,
        l.max_storage_buffer_binding_size >> 20,
        l.max_storage_buffers_per_shader_stage,
        l.max_compute_invocations_per_workgroup,
        l.max_compute_workgroup_storage_size >> 10
    );
    let has = [
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::SHADER_F16, "f16"),
        (wgpu::Features::SHADER_F64, "f64"),
        (wgpu::Features::SHADER_INT64, "i64"),
        (wgpu::Features::SHADER_FLOAT32_ATOMIC, "f32 atomics"),
        (wgpu::Features::TIMESTAMP_QUERY, "timestamps"),
    ];
    let names: Vec<&str> = has.iter().filter(|(x, _)| f.contains(*x)).map(|(_, n)| *n).collect();
    let _ = write!(s, "; has {}", if names.is_empty() { "no extras".to_string() } else { names.join(", ") });
    s
}

/// Checks a module as a device with no more than the target's capabilities would, before any driver sees it.
///
/// # Errors
/// `Internal`, with the place and the reason.
pub fn validate(text: &str, target: &emit::Target) -> Result<()> {
    use ::wgpu::naga::{self, valid};
    let refused = |e: String| err!(Internal, "wgpu: a module is not valid: {e}");
    let module = naga::front::wgsl::parse_str(text).map_err(|e| refused(e.emit_to_string(text)))?;
    let mut has = valid::Capabilities::empty();
    has.set(valid::Capabilities::SHADER_INT64, target.long);
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
/// `Device` if there is none, or it cannot be opened.
pub fn open(id: DeviceId, bounds: &Bounds) -> Result<&'static dyn Backend> {
    // A device and its backend live as long as the process.
    let g: &'static Gpu = Box::leak(Box::new(Gpu::open(&gpu::choose()?, id, bounds)?));
    gpu::lock(&OPEN).push(g);
    Ok(Box::leak(Box::new(g)))
}

/// All that were opened.
static OPEN: Mutex<Vec<&'static Gpu>> = Mutex::new(Vec::new());

fn opened(id: DeviceId) -> Result<&'static Gpu> {
    gpu::lock(&OPEN).iter().copied().find(|g| g.id == id).ok_or_else(|| err!(Device, "device {} is no wgpu device", id.0))
}

/// Fault injection, for tests: from the `n`-th fresh buffer on the device is said to be full; `None` ends that.
///
/// # Errors
/// `Device` if it is no wgpu device.
pub fn fail_after(device: DeviceId, n: Option<u32>) -> Result<()> {
    opened(device).map(|g| g.memory.fail_after(n))
}

/// Takes a device for lost, as if its driver had said so: every later call on it is an error.
///
/// # Errors
/// `Device` if it is no wgpu device.
pub fn lose(device: DeviceId) -> Result<()> {
    opened(device).map(|g| g.set_lost("given up"))
}

impl Gpu {
    fn own<'a>(&self, s: &'a dyn Storage) -> Result<&'a WgpuStorage> {
        let found = s.as_any().downcast_ref::<WgpuStorage>().filter(|_| s.device() == self.id);
        found.ok_or_else(|| {
            err!(Device, "wgpu: a buffer of device {} was given to device {}: move it with to_device", s.device().0, self.id.0)
        })
    }

    /// 0, 1, 2... as I64, at least `n` of them.
    fn numbers(&'static self, n: usize) -> Result<Arc<WgpuStorage>> {
        static KEPT: Mutex<Vec<Arc<WgpuStorage>>> = Mutex::new(Vec::new());
        let mut kept = gpu::lock(&KEPT);
        if let Some(s) = kept.iter().find(|s| s.device() == self.id && s.bytes() >= n * 8) {
            return Ok(s.clone());
        }
        let n = n.next_power_of_two().max(2048);
        let bytes: Vec<u8> = (0..n as i64).flat_map(i64::to_ne_bytes).collect();
        let s = self.upload_own(&bytes)?;
        kept.retain(|s| s.device() != self.id);
        kept.push(s.clone());
        Ok(s)
    }

    fn upload_own(&'static self, bytes: &[u8]) -> Result<Arc<WgpuStorage>> {
        let s = WgpuStorage::new(self, bytes.len())?;
        if bytes.is_empty() {
            return Ok(s);
        }
        let view = s.view();
        let whole = bytes.len() / 4 * 4;
        self.guarded(|| {
            if whole > 0 {
                self.queue.write_buffer(&view.buffer, 0, &bytes[..whole]);
            }
            if whole < bytes.len() {
                let mut last = [0u8; 4];
                last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                self.queue.write_buffer(&view.buffer, whole as u64, &last);
            }
            if bytes.len() > 16 << 20 {
                // Copies wait in memory of their own until something is submitted.
                self.queue.submit([]);
            }
        })?;
        Ok(s)
    }
}

impl Backend for &'static Gpu {
    fn describe(&self) -> String {
        format!("wgpu: {}", describe(&self.info, &self.limits, self.features))
    }

    fn alignment(&self) -> usize {
        memory::ALIGN
    }

    fn kind(&self) -> &'static str {
        "wgpu"
    }

    fn supports(&self, d: DType) -> bool {
        d != DType::F64
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Storage>> {
        Ok(WgpuStorage::new(self, bytes)?)
    }

    fn upload(&self, bytes: &[u8]) -> Result<Arc<dyn Storage>> {
        Ok(self.upload_own(bytes)?)
    }

    fn download(&self, from: &dyn Storage, out: &mut [u8]) -> Result<()> {
        let s = self.own(from)?;
        if out.len() > from.bytes() {
            return Err(err!(Internal, "wgpu: {} bytes asked from a buffer of {}", out.len(), from.bytes()));
        }
        self.read(&s.view(), out)
    }

    fn prepare(&self, schedule: &Schedule) -> Result<Arc<dyn Executable>> {
        Ok(Arc::new(executable::Prepared::new(self, schedule, None)?))
    }

    fn run(&self, exe: &dyn Executable, inputs: &[Arc<dyn Storage>], params: &[Scalar]) -> Result<Vec<Arc<dyn Storage>>, Failed> {
        let exe: &executable::Prepared =
            exe.as_any().downcast_ref().ok_or_else(|| err!(Device, "wgpu: an executable of another device was given to this one"))?;
        exe.run(inputs, params)
    }

    fn synchronize(&self) -> Result<()> {
        self.wait()
    }

    fn memory_stats(&self) -> MemoryStats {
        self.memory.stats()
    }

    fn set_memory_limit(&self, limit: Option<usize>) {
        self.memory.set_limit(limit);
    }

    fn trim(&self) {
        self.forget_bindings();
        self.memory.trim();
    }
}
