//! A wgpu device: how it is chosen, its compiled kernels and bindings, its queue.

use super::emit::{Binding, DATA_POINTS, Target};
use super::memory::{Allocator, View};
use crate::backend::counters;
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Error, Result};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Bytes of the buffer that holds the blocks of numbers of one submission.
pub(super) const PARAMS: usize = 1 << 20;
/// Bind groups kept.
const GROUPS: usize = 8192;

/// A compiled kernel.
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: Arc<Layout>,
    pub text: String,
}

/// What kernels with the same kinds of bindings share.
pub(super) struct Layout {
    id: u64,
    bindings: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// Layout, size of the block of numbers, and the parts of buffers bound.
type GroupKey = (u64, u32, Vec<(u64, u64, u64)>);

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
}

/// What the device said when nobody was listening, and whether it is lost.
#[derive(Default)]
pub(super) struct Trouble {
    lost: Option<String>,
    error: Option<String>,
}

/// A device of this process. It is never dropped.
pub struct Gpu {
    pub(super) id: DeviceId,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) info: wgpu::AdapterInfo,
    pub(super) limits: wgpu::Limits,
    pub(super) features: wgpu::Features,
    pub(super) target: Target,
    pub(super) memory: Allocator,
    pub(super) params: wgpu::Buffer,
    /// Held while a plan is recorded and submitted.
    pub(super) running: Mutex<()>,
    pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    layouts: Mutex<HashMap<Vec<bool>, Arc<Layout>>>,
    groups: Mutex<HashMap<GroupKey, wgpu::BindGroup>>,
    staging: Mutex<Vec<wgpu::Buffer>>,
    next: AtomicU64,
    trouble: Arc<Mutex<Trouble>>,
}

pub(super) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a future that natively is ready as soon as it is asked.
pub(super) fn ready<F: Future>(f: F) -> Result<F::Output> {
    let mut f = pin!(f);
    match f.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(x) => Ok(x),
        Poll::Pending => Err(err!(Device, "wgpu: this platform cannot wait for the device; use the asynchronous calls")),
    }
}

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env())
}

/// Every adapter of this machine, software ones included.
pub(super) fn adapters() -> Vec<wgpu::Adapter> {
    ready(instance().enumerate_adapters(wgpu::Backends::all())).unwrap_or_default()
}

/// The adapter to use: the one whose name contains what `LAZULI_ADAPTER` says; else the best piece of hardware.
///
/// # Errors
/// `Device` if there is none.
pub(super) fn choose() -> Result<wgpu::Adapter> {
    let all = adapters();
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
    best.cloned().ok_or_else(|| match all.is_empty() {
        true => err!(Device, "wgpu: no graphics adapter was found; use the cpu device"),
        false => err!(Device, "wgpu: only software adapters were found ({}): name one in LAZULI_ADAPTER to use it", list(&all)),
    })
}

impl Gpu {
    /// Opens an adapter.
    ///
    /// # Errors
    /// `Device` if the adapter refuses.
    pub(super) fn open(adapter: &wgpu::Adapter, id: DeviceId, bounds: &Bounds) -> Result<Gpu> {
        let info = adapter.get_info();
        let mut limits = if bounds.floor { wgpu::Limits::default() } else { adapter.limits() };
        let wanted = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP | wgpu::Features::SHADER_INT64;
        let features = adapter.features() & wanted;
        let (device, queue) = ready(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("lazuli"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        }))?
        .map_err(|e| err!(Device, "wgpu: {} cannot be opened: {e}", info.name))?;
        // Lower ones are for us to keep.
        if let Some(n) = bounds.bindings {
            limits.max_storage_buffers_per_shader_stage = limits.max_storage_buffers_per_shader_stage.min(n.max(2));
        }
        if let Some(n) = bounds.binding_bytes {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(n);
        }
        let software = info.device_type == wgpu::DeviceType::Cpu;
        let trouble = Arc::new(Mutex::new(Trouble::default()));
        let heard = trouble.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            lock(&heard).error.get_or_insert_with(|| e.to_string());
        }));
        let heard = trouble.clone();
        device.set_device_lost_callback(move |reason, text| {
            lock(&heard).lost.get_or_insert_with(|| format!("{reason:?} {text}"));
        });
        let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x).min(256);
        let target = Target {
            workgroup: if software { 64 } else { most },
            most,
            shared: limits.max_compute_workgroup_storage_size,
            software,
            data_points: DATA_POINTS,
            wide: true,
            long: software && features.contains(wgpu::Features::SHADER_INT64),
            subgroup: match features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size {
                true => info.subgroup_min_size,
                false => 0,
            },
        };
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("numbers"),
            size: PARAMS as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(Gpu {
            id,
            device,
            queue,
            info,
            limits,
            features,
            target,
            memory: Allocator::new(),
            params,
            running: Mutex::new(()),
            pipelines: Mutex::default(),
            layouts: Mutex::default(),
            groups: Mutex::default(),
            staging: Mutex::default(),
            next: AtomicU64::new(0),
            trouble,
        })
    }

    /// `Device` if it is lost, or if it reported an error nobody expected.
    pub(super) fn alive(&self) -> Result<()> {
        let mut t = lock(&self.trouble);
        if let Some(why) = &t.lost {
            bail!(Device, "wgpu: {} is lost ({}): tensors on it are gone", self.info.name, why.trim());
        }
        match t.error.take() {
            Some(e) => Err(err!(Device, "wgpu: {}: {e}", self.info.name)),
            None => Ok(()),
        }
    }

    /// Marks the device as lost: every later call is an error.
    pub(super) fn set_lost(&self, why: &str) {
        lock(&self.trouble).lost.get_or_insert_with(|| why.to_string());
    }

    /// Runs `f`; what it makes the device complain about is the error.
    pub(super) fn guarded<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        use wgpu::ErrorFilter as F;
        let scopes = [F::Internal, F::Validation, F::OutOfMemory].map(|k| self.device.push_error_scope(k));
        let r = f();
        let mut first: Option<wgpu::Error> = None;
        for s in scopes.into_iter().rev() {
            let e = ready(s.pop())?;
            first = first.or(e);
        }
        match first {
            None => Ok(r),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(err!(Memory, "the device is full")),
            Some(e) => Err(err!(Device, "wgpu: {e}")),
        }
    }

    fn layout(&self, writable: &[bool]) -> Result<Arc<Layout>> {
        if let Some(l) = lock(&self.layouts).get(writable) {
            return Ok(l.clone());
        }
        let entry = |binding: usize, ty: wgpu::BufferBindingType, dynamic: bool| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, true)];
        entries.extend(writable.iter().enumerate().map(|(n, w)| entry(n + 1, wgpu::BufferBindingType::Storage { read_only: !w }, false)));
        let l = self.guarded(|| {
            let bindings = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
            let pipeline = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&bindings)],
                immediate_size: 0,
            });
            Arc::new(Layout { id: self.next.fetch_add(1, Relaxed), bindings, pipeline })
        })?;
        Ok(lock(&self.layouts).entry(writable.to_vec()).or_insert(l).clone())
    }

    /// The compiled form of a module, from the cache if it is there.
    ///
    /// # Errors
    /// `Internal` if the module is refused: with the text and the reason.
    pub(super) fn pipeline(&self, text: &str, bindings: &[Binding], workspace: bool) -> Result<Arc<Pipeline>> {
        if let Some(p) = lock(&self.pipelines).get(text) {
            counters::KERNEL_HITS.fetch_add(1, Relaxed);
            return Ok(p.clone());
        }
        let writable: Vec<bool> = bindings.iter().map(|b| b.writable).chain(workspace.then_some(true)).collect();
        let most = self.limits.max_storage_buffers_per_shader_stage as usize;
        if writable.len() > most {
            bail!(Device, "wgpu: a kernel reads and writes {} buffers, {} binds at most {most}", writable.len(), self.info.name);
        }
        let layout = self.layout(&writable)?;
        let refused = |e: Error| err!(Internal, "wgpu: a kernel was refused: {}\n{text}", e.message());
        let pipeline = self
            .guarded(|| {
                let module = self
                    .device
                    .create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(text.into()) });
                self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: None,
                    layout: Some(&layout.pipeline),
                    module: &module,
                    entry_point: Some("main"),
                    // Every template writes workgroup memory before it reads it.
                    compilation_options: wgpu::PipelineCompilationOptions { zero_initialize_workgroup_memory: false, ..Default::default() },
                    cache: None,
                })
            })
            .map_err(refused)?;
        counters::COMPILES.fetch_add(1, Relaxed);
        let p = Arc::new(Pipeline { pipeline, layout, text: text.to_string() });
        Ok(lock(&self.pipelines).entry(text.to_string()).or_insert(p).clone())
    }

    /// The bind group of these buffers.
    pub(super) fn bind(&self, layout: &Layout, block: usize, views: &[View]) -> wgpu::BindGroup {
        let key: GroupKey = (layout.id, block as u32, views.iter().map(|v| (v.id, v.offset, v.len)).collect());
        let mut groups = lock(&self.groups);
        if let Some(g) = groups.get(&key) {
            return g.clone();
        }
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &self.params,
                offset: 0,
                size: std::num::NonZeroU64::new(block as u64),
            }),
        }];
        entries.extend(views.iter().enumerate().map(|(n, v)| wgpu::BindGroupEntry {
            binding: n as u32 + 1,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &v.buffer,
                offset: v.offset,
                size: std::num::NonZeroU64::new(v.len),
            }),
        }));
        let g = self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout.bindings, entries: &entries });
        if groups.len() >= GROUPS {
            groups.clear();
        }
        groups.insert(key, g.clone());
        g
    }

    /// Lets go of the buffers that kept bind groups hold.
    pub(super) fn forget_bindings(&self) {
        lock(&self.groups).clear();
    }

    /// Waits for all submitted work.
    pub(super) fn wait(&self) -> Result<()> {
        self.alive()?;
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| err!(Device, "wgpu: {e}"))?;
        self.alive()
    }

    /// Copies `out.len()` bytes of a value to the host, after all submitted work.
    pub(super) fn read(&self, from: &View, out: &mut [u8]) -> Result<()> {
        if out.is_empty() {
            return self.alive();
        }
        self.alive()?;
        // Copies are of whole words; a value may begin within one.
        let start = (from.offset + from.shift) / 4 * 4;
        let skip = (from.offset + from.shift - start) as usize;
        const PIECE: usize = 64 << 20;
        let mut done = 0;
        while done < out.len() {
            let n = (out.len() - done).min(PIECE - skip);
            let words = (n + skip).next_multiple_of(4);
            self.piece(&from.buffer, start + done as u64, words, skip, &mut out[done..done + n])?;
            done += n;
        }
        Ok(())
    }

    fn piece(&self, from: &wgpu::Buffer, start: u64, words: usize, skip: usize, out: &mut [u8]) -> Result<()> {
        let size = (words as u64).next_power_of_two().max(256);
        let kept = {
            let mut s = lock(&self.staging);
            s.iter().position(|b| b.size() == size).map(|i| s.swap_remove(i))
        };
        let (sent, received) = std::sync::mpsc::channel();
        let staging = self.guarded(|| {
            let staging = kept.unwrap_or_else(|| {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("staging"),
                    size,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            });
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            encoder.copy_buffer_to_buffer(from, start, &staging, 0, words as u64);
            self.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, 0..words as u64, move |r| _ = sent.send(r));
            staging
        })?;
        let mapped = loop {
            self.wait()?;
            // Another thread's wait may have taken the answer and be about to pass it on.
            match received.recv_timeout(std::time::Duration::from_millis(200)) {
                Ok(m) => break m,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(_) => bail!(Device, "wgpu: {} did not answer", self.info.name),
            }
        };
        mapped.map_err(|e| err!(Device, "wgpu: memory cannot be read: {e}"))?;
        {
            let range = staging.get_mapped_range(0..words as u64).map_err(|e| err!(Device, "wgpu: memory cannot be read: {e}"))?;
            out.copy_from_slice(&range[skip..skip + out.len()]);
        }
        staging.unmap();
        let mut s = lock(&self.staging);
        if s.len() < 8 && size <= 16 << 20 {
            s.push(staging);
        }
        Ok(())
    }
}
