//! Adapters: which there are, which to use, how much of it.

use crate::base::Result;
use crate::base::error::{bail, err};
use std::fmt::Write;

/// How much of an adapter to use.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Bounds {
    /// No more than every WebGPU device has: what an application that asks for nothing would hand over.
    pub floor: bool,
    /// At most so many buffers bound by a kernel.
    pub bindings: Option<u32>,
    /// At most so many bytes bound at once.
    pub binding_bytes: Option<u64>,
    /// At most so many bytes in one buffer.
    pub buffer_bytes: Option<u64>,
    /// Bytes of host memory for copies of what was uploaded, from which [`recover`](crate::Device::recover) restores; `None`: 64 MiB.
    pub host_copies: Option<usize>,
    /// For tests: a software adapter gets the modules of a graphics processor. What would take it too many iterations is not refused then.
    #[doc(hidden)]
    pub hardware: bool,
}

fn instance() -> wgpu::Instance {
    let mut d = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // The only indirect launches are our own, of sizes that were checked when they were recorded.
    d.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
    wgpu::Instance::new(d)
}

/// Every adapter of this machine, software ones included.
pub(super) async fn adapters() -> Vec<wgpu::Adapter> {
    instance().enumerate_adapters(wgpu::Backends::all()).await
}

/// A device of our own, just opened.
pub(super) struct Opened {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: wgpu::AdapterInfo,
    pub limits: wgpu::Limits,
}

impl Opened {
    /// On the adapter that [`choose`] takes.
    ///
    /// # Errors
    /// `Device` if there is none, or it refuses.
    pub async fn new(bounds: &Bounds) -> Result<Opened> {
        let adapter = choose(adapters().await)?;
        let info = adapter.get_info();
        let limits = if bounds.floor { wgpu::Limits::default() } else { adapter.limits() };
        use wgpu::Features as F;
        let features = adapter.features() & (F::TIMESTAMP_QUERY | F::SUBGROUP | F::SHADER_INT64 | F::SHADER_F64 | F::PIPELINE_CACHE);
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("lazuli"),
                required_features: features,
                required_limits: limits.clone(),
                experimental_features: wgpu::ExperimentalFeatures::disabled(),
                memory_hints: wgpu::MemoryHints::Performance,
                trace: wgpu::Trace::Off,
            })
            .await
            .map_err(|e| err!(Device, "wgpu: {} cannot be opened: {e}", info.name))?;
        Ok(Opened { device, queue, info, limits })
    }
}

/// The adapter to use: the one whose name contains what `LAZULI_ADAPTER` says; else the best piece of hardware. In a browser: the one it
/// gives.
///
/// # Errors
/// `Device` if there is none.
fn choose(all: Vec<wgpu::Adapter>) -> Result<wgpu::Adapter> {
    if cfg!(target_arch = "wasm32") {
        return all.into_iter().next().ok_or_else(|| err!(Device, "wgpu: the browser has no WebGPU adapter; use the cpu device"));
    }
    let list = |all: &[wgpu::Adapter]| all.iter().map(|a| a.get_info().name).collect::<Vec<_>>().join(", ");
    if let Ok(name) = std::env::var("LAZULI_ADAPTER")
        && !name.is_empty()
    {
        let wanted = name.to_lowercase();
        let found = all.iter().find(|a| {
            let i = a.get_info();
            format!("{} {} {}", i.name, i.driver, i.driver_info).to_lowercase().contains(&wanted)
        });
        return found.cloned().ok_or_else(|| err!(Device, "wgpu: no adapter is called {name}; there are: {}", list(&all)));
    }
    let rank = |a: &wgpu::Adapter| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 9,
    };
    let best = all.iter().min_by_key(|a| rank(a)).filter(|a| rank(a) < 9);
    match best {
        Some(a) => Ok(a.clone()),
        None if all.is_empty() => bail!(Device, "wgpu: no graphics adapter was found; use the cpu device"),
        None => bail!(Device, "wgpu: only software adapters were found ({}): name one in LAZULI_ADAPTER to use it", list(&all)),
    }
}

/// One readable line.
pub(super) fn describe(i: &wgpu::AdapterInfo, l: &wgpu::Limits, f: wgpu::Features) -> String {
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
        (wgpu::Features::PIPELINE_CACHE, "pipeline cache"),
    ];
    let names: Vec<&str> = has.iter().filter(|(x, _)| f.contains(*x)).map(|(_, n)| *n).collect();
    let _ = write!(s, "; has {}", if names.is_empty() { "no extras".to_string() } else { names.join(", ") });
    s
}
