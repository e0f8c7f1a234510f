//! Compiled kernels by their text, what they share, and bind groups of buffers that come again.
//!
//! Where the driver gives its compiled code away (`PIPELINE_CACHE`), it is kept in a [file](files).

use super::emit::Binding;
use super::gpu::{Gpu, lock};
use super::memory::Range;
use crate::backend::{counters, files};
use crate::base::error::{bail, err};
use crate::base::{Error, Result};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// How a module with many numbers declares them.
pub(super) const NUMBERS_IN_STORAGE: &str = "var<storage, read> p:";
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

/// Which bindings are writable, and whether the numbers are in storage.
type LayoutKey = (Vec<bool>, bool);

/// Layout, size of the block of numbers, and the parts of buffers bound.
type GroupKey = (u64, u32, Vec<(u64, u64, u64)>);

pub(super) struct Pipelines {
    by_text: Mutex<HashMap<String, Arc<Pipeline>>>,
    layouts: Mutex<HashMap<LayoutKey, Arc<Layout>>>,
    groups: Mutex<HashMap<GroupKey, wgpu::BindGroup>>,
    next: AtomicU64,
    driver: Option<DriverCache>,
}

/// The driver's compiled code.
struct DriverCache {
    cache: wgpu::PipelineCache,
    file: PathBuf,
    /// Pipelines made since it was written.
    fresh: AtomicU64,
}

/// Begins every file: a change of what follows changes it.
const MAGIC: &[u8; 8] = b"lzlpipe1";

impl DriverCache {
    fn open(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Option<DriverCache> {
        let key = wgpu::util::pipeline_cache_key(info)?;
        let driver = files::checksum(format!("{} {} {}", info.name, info.driver, info.driver_info).as_bytes());
        let file = files::folder()?.join(format!("{key}_{driver:08x}"));
        let stored = files::read(&file, MAGIC);
        let data = stored.as_deref();
        // SAFETY: the data is what this library wrote for the same adapter and driver, by its checksum; the driver checks its own header.
        let cache = unsafe { device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor { label: Some("lazuli"), data, fallback: true }) };
        Some(DriverCache { cache, file, fresh: AtomicU64::new(0) })
    }

    /// Writes it out, whole or not at all.
    fn save(&self) {
        if self.fresh.swap(0, Relaxed) == 0 {
            return;
        }
        // Some drivers have a header and nothing else: no use.
        let Some(data) = self.cache.get_data().filter(|d| d.len() > 256) else { return };
        if let Err(e) = files::write(&self.file, MAGIC, &data) {
            log::warn!("wgpu: compiled kernels cannot be kept in {}: {e}", self.file.display());
        }
    }
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, info: &wgpu::AdapterInfo, features: wgpu::Features) -> Pipelines {
        let driver = features.contains(wgpu::Features::PIPELINE_CACHE).then(|| DriverCache::open(device, info)).flatten();
        Pipelines { by_text: Mutex::default(), layouts: Mutex::default(), groups: Mutex::default(), next: AtomicU64::new(0), driver }
    }

    pub(super) fn forget_bindings(&self) {
        lock(&self.groups).clear();
    }

    /// Keeps what was compiled for other processes.
    pub(super) fn save(&self) {
        if let Some(d) = &self.driver {
            d.save();
        }
    }
}

impl Gpu {
    fn layout(&self, writable: &[bool], many: bool) -> Result<Arc<Layout>> {
        let key = (writable.to_vec(), many);
        if let Some(l) = lock(&self.pipelines.layouts).get(&key) {
            return Ok(l.clone());
        }
        let entry = |binding: usize, ty: wgpu::BufferBindingType, dynamic: bool| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size: None },
            count: None,
        };
        let numbers = if many { wgpu::BufferBindingType::Storage { read_only: true } } else { wgpu::BufferBindingType::Uniform };
        let mut entries = vec![entry(0, numbers, true)];
        entries.extend(writable.iter().enumerate().map(|(n, w)| entry(n + 1, wgpu::BufferBindingType::Storage { read_only: !w }, false)));
        let l = self.guarded(|| {
            let bindings = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
            let pipeline = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&bindings)],
                immediate_size: 0,
            });
            Arc::new(Layout { id: self.pipelines.next.fetch_add(1, Relaxed), bindings, pipeline })
        })?;
        Ok(lock(&self.pipelines.layouts).entry(key).or_insert(l).clone())
    }

    /// The compiled form of a module, from the cache if it is there.
    ///
    /// # Errors
    /// `Internal` if the module is refused: with the text and the reason.
    pub(super) fn pipeline(&self, text: &str, bindings: &[Binding], workspace: bool) -> Result<Arc<Pipeline>> {
        let writable: Vec<bool> = bindings.iter().map(|b| b.writable).chain(workspace.then_some(true)).collect();
        self.pipeline_of(text, &writable)
    }

    /// Whether a block of so many numbers is more than a uniform binding holds: it is bound as storage then.
    pub(super) fn many_numbers(&self, words: usize) -> bool {
        words * 4 > (self.limits.max_uniform_buffer_binding_size as usize).min(64 << 10)
    }

    /// As [`pipeline`](Gpu::pipeline), for storage bindings that are writable or not.
    pub(super) fn pipeline_of(&self, text: &str, writable: &[bool]) -> Result<Arc<Pipeline>> {
        if let Some(p) = lock(&self.pipelines.by_text).get(text) {
            counters::KERNEL_HITS.fetch_add(1, Relaxed);
            return Ok(p.clone());
        }
        let most = self.limits.max_storage_buffers_per_shader_stage as usize;
        if writable.len() > most {
            bail!(Device, "wgpu: a kernel reads and writes {} buffers, {} binds at most {most}", writable.len(), self.info.name);
        }
        let many = text.contains(NUMBERS_IN_STORAGE);
        if many && writable.len() >= most {
            bail!(
                Device,
                "wgpu: a kernel of {} buffers takes more numbers than fit a uniform binding: evaluate parts of it apart",
                writable.len()
            );
        }
        let layout = self.layout(writable, many)?;
        let refused = |e: Error| {
            if super::gpu::is_lost(&e) { e } else { err!(Internal, "wgpu: a kernel was refused: {}\n{text}", e.message()) }
        };
        let driver = self.pipelines.driver.as_ref();
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
                    cache: driver.map(|d| &d.cache),
                })
            })
            .map_err(refused)?;
        counters::COMPILES.fetch_add(1, Relaxed);
        driver.map(|d| d.fresh.fetch_add(1, Relaxed));
        let p = Arc::new(Pipeline { pipeline, layout, text: text.to_string() });
        Ok(lock(&self.pipelines.by_text).entry(text.to_string()).or_insert(p).clone())
    }

    /// A bind group of these ranges, its block of numbers in `numbers`.
    pub(super) fn bind(&self, layout: &Layout, numbers: &wgpu::Buffer, block: usize, ranges: &[Range]) -> wgpu::BindGroup {
        let whole = |buffer, offset, bytes| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: std::num::NonZeroU64::new(bytes) })
        };
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: whole(numbers, 0, block as u64) }];
        entries.extend(
            ranges
                .iter()
                .enumerate()
                .map(|(n, r)| wgpu::BindGroupEntry { binding: n as u32 + 1, resource: whole(&r.buffer, r.offset, r.len) }),
        );
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout.bindings, entries: &entries })
    }

    /// As [`bind`](Gpu::bind), with the device's own buffer of numbers; kept for the next who asks.
    pub(super) fn bind_kept(&self, layout: &Layout, block: usize, ranges: &[Range]) -> wgpu::BindGroup {
        let key: GroupKey = (layout.id, block as u32, ranges.iter().map(|v| (v.id, v.offset, v.len)).collect());
        let mut groups = lock(&self.pipelines.groups);
        if let Some(g) = groups.get(&key) {
            return g.clone();
        }
        let g = self.bind(layout, &self.params, block, ranges);
        if groups.len() >= GROUPS {
            groups.clear();
        }
        groups.insert(key, g.clone());
        g
    }
}
