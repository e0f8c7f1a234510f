//! An open wgpu device: its queue and limits, whether it is well, and what is kept for it. Once lost it stays lost;
//! [`WgpuDevice`](super::device::WgpuDevice) opens another.

use super::adapter::{self, Bounds, Opened};
use super::emit::{DATA_POINTS, Target};
use super::host::{Budget, OneBuffer};
use super::memory::{ALIGN, Allocator, WgpuStorage};
use super::pipelines::Pipelines;
use super::record::Recipes;
use super::texture::Kernels;
use super::timing::Timing;
use super::transfer::Transfers;
use crate::backend::counters;
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Error, Result};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// Bytes of the buffer that holds the blocks of numbers of one submission.
pub(super) const PARAMS: usize = 1 << 20;
/// Host copies of uploads, unless the bounds say something else.
const HOST_COPIES: usize = 64 << 20;

/// What the device said when nobody was listening, and whether it is lost.
#[derive(Default)]
struct Trouble {
    lost: Option<String>,
    error: Option<String>,
}

/// An open device.
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
    pub(super) pipelines: Pipelines,
    pub(super) recipes: Recipes,
    pub(super) transfers: Transfers,
    pub(super) timing: Timing,
    /// Held while a plan is recorded and submitted.
    pub(super) running: Mutex<()>,
    /// 0, 1, 2... as I64.
    pub(super) numbers: Mutex<Option<Arc<WgpuStorage>>>,
    /// What can be restored after a loss.
    pub(super) copied: Mutex<Vec<Weak<WgpuStorage>>>,
    /// Bytes of host copies that may still be made.
    pub(super) copies_left: AtomicUsize,
    /// It is the application's: it polls, it submits, its callbacks stay.
    pub(super) borrowed: bool,
    /// What a frame may take of it.
    pub(super) budget: Mutex<Budget>,
    pub(super) probe: OneBuffer,
    pub(super) textures: Kernels,
    /// Launches until the device is lost, for tests; negative: no such fault.
    faults: AtomicI64,
    trouble: Arc<Mutex<Trouble>>,
}

pub(super) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an error says that the device is gone.
pub(super) fn is_lost(e: &Error) -> bool {
    e.kind() == crate::base::ErrorKind::DeviceLost
}

/// The value of a future that natively is ready as soon as it is asked.
///
/// # Errors
/// `NotReady` in a browser, which answers later.
pub(super) fn ready<F: Future>(f: F) -> Result<F::Output> {
    let mut f = pin!(f);
    match f.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(x) => Ok(x),
        Poll::Pending => Err(err!(NotReady, "wgpu: a browser opens its device later: await Device::wgpu_async() first")),
    }
}

impl Gpu {
    /// A device of our own.
    pub(super) fn own_device(id: DeviceId, o: &Opened, bounds: &Bounds) -> Arc<Gpu> {
        Gpu::over(id, &o.device, &o.queue, o.info.clone(), o.limits.clone(), bounds, false)
    }

    /// The application's own device, as it is.
    ///
    /// # Errors
    /// `Device` if it cannot compute.
    pub(super) fn borrow(id: DeviceId, device: &wgpu::Device, queue: &wgpu::Queue, bounds: &Bounds) -> Result<Arc<Gpu>> {
        let (info, limits) = (device.adapter_info(), device.limits());
        if limits.max_compute_invocations_per_workgroup < 64
            || limits.max_compute_workgroups_per_dimension == 0
            || limits.max_storage_buffers_per_shader_stage < 2
        {
            bail!(
                Device,
                "wgpu: {} was opened without compute ({} invocations a workgroup, {} storage buffers): ask for at least Limits::downlevel_defaults()",
                info.name,
                limits.max_compute_invocations_per_workgroup,
                limits.max_storage_buffers_per_shader_stage
            );
        }
        Ok(Gpu::over(id, device, queue, info, limits, bounds, true))
    }

    fn over(
        id: DeviceId,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        info: wgpu::AdapterInfo,
        mut limits: wgpu::Limits,
        bounds: &Bounds,
        borrowed: bool,
    ) -> Arc<Gpu> {
        use wgpu::Features as F;
        let (device, queue, features) = (device.clone(), queue.clone(), device.features());
        // Lower ones are for us to keep.
        if let Some(n) = bounds.bindings {
            limits.max_storage_buffers_per_shader_stage = limits.max_storage_buffers_per_shader_stage.min(n.max(2));
        }
        if let Some(n) = bounds.binding_bytes {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(n.max(ALIGN as u64));
        }
        if let Some(n) = bounds.buffer_bytes {
            limits.max_buffer_size = limits.max_buffer_size.min(n.max(ALIGN as u64));
        }
        let trouble = Arc::new(Mutex::new(Trouble::default()));
        // There is one place for each of these callbacks, and on a borrowed device it is not ours.
        if !borrowed {
            let heard = trouble.clone();
            device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
                lock(&heard).error.get_or_insert_with(|| e.to_string());
            }));
            let heard = trouble.clone();
            device.set_device_lost_callback(move |reason, text| {
                lock(&heard).lost.get_or_insert_with(|| format!("{reason:?} {text}"));
            });
        }
        // What is made on the device that does nothing is for others.
        let software = info.device_type == wgpu::DeviceType::Cpu && info.backend != wgpu::Backend::Noop && !bounds.hardware;
        let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x).min(256);
        let target = Target {
            workgroup: if software { 64 } else { most },
            most,
            shared: limits.max_compute_workgroup_storage_size,
            software,
            data_points: DATA_POINTS,
            wide: true,
            long: software && !bounds.floor && features.contains(F::SHADER_INT64),
            double: !bounds.floor && features.contains(F::SHADER_F64 | F::SHADER_INT64),
            subgroup: match features.contains(F::SUBGROUP) && !bounds.floor && info.subgroup_min_size == info.subgroup_max_size {
                true => info.subgroup_min_size,
                false => 0,
            },
        };
        let params = uniform(&device, PARAMS);
        let pipelines = Pipelines::new(&device, &info, features);
        Arc::new(Gpu {
            id,
            borrowed,
            budget: Mutex::default(),
            probe: OneBuffer::default(),
            textures: Kernels::default(),
            timing: Timing::new(features.contains(F::TIMESTAMP_QUERY)),
            device,
            queue,
            info,
            limits,
            features,
            target,
            memory: Allocator::new(),
            params,
            pipelines,
            recipes: Recipes::default(),
            transfers: Transfers::default(),
            running: Mutex::new(()),
            numbers: Mutex::default(),
            copied: Mutex::default(),
            copies_left: AtomicUsize::new(bounds.host_copies.unwrap_or(HOST_COPIES)),
            faults: AtomicI64::new(-1),
            trouble,
        })
    }

    /// Bytes of the largest buffer.
    pub(super) fn largest(&self) -> u64 {
        self.limits.max_buffer_size / ALIGN as u64 * ALIGN as u64
    }

    /// Bytes that an argument of a kernel may span.
    pub(super) fn span(&self) -> u64 {
        self.largest().min(self.limits.max_storage_buffer_binding_size / ALIGN as u64 * ALIGN as u64)
    }

    /// `DeviceLost` if it is lost, `Device` if it reported an error nobody expected.
    pub(super) fn alive(&self) -> Result<()> {
        let mut t = lock(&self.trouble);
        if let Some(why) = &t.lost {
            bail!(DeviceLost, "wgpu: {} is lost ({}): Device::recover() opens it again", self.info.name, why.trim());
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

    /// For tests: after `n` more launches the device is destroyed under the plan that runs.
    pub(super) fn lose_after(&self, n: u32) {
        self.faults.store(n as i64, Relaxed);
    }

    /// Counts `n` launches towards that.
    pub(super) fn launched(&self, n: usize) {
        if self.faults.load(Relaxed) >= 0 && self.faults.fetch_sub(n as i64, Relaxed) < n as i64 {
            self.faults.store(-1, Relaxed);
            self.device.destroy();
        }
    }

    /// Runs `f`; what it makes the device complain about is the error. In a browser complaints come later, to whom it may concern: what
    /// our own device hears is the error of a later call, an application's hears its own.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn guarded<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        self.alive()?;
        Ok(f())
    }

    /// Runs `f`; what it makes the device complain about is the error.
    #[cfg(not(target_arch = "wasm32"))]
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
            Some(e) => Err(self.alive().err().filter(is_lost).unwrap_or_else(|| err!(Device, "wgpu: {e}"))),
        }
    }

    /// That the device may be waited for, which only a thread can that is not a browser's.
    ///
    /// # Errors
    /// `NotReady` in a browser, with what to do instead.
    pub(super) fn may_wait(&self) -> Result<()> {
        if cfg!(target_arch = "wasm32") {
            bail!(NotReady, "wgpu: a page cannot wait for the device: await Tensor::read(), which comes after all work given to it so far");
        }
        Ok(())
    }

    /// Lets go of the buffers that kept bind groups hold.
    pub(super) fn forget_bindings(&self) {
        self.pipelines.forget_bindings();
        self.recipes.clear();
    }

    pub(super) fn poll(&self, how: wgpu::PollType) -> Result<()> {
        if !matches!(how, wgpu::PollType::Poll) {
            counters::WAITS.fetch_add(1, Relaxed);
        }
        let Err(e) = self.device.poll(how) else { return self.alive() };
        // What a lost device refuses comes before it says that it is lost.
        let _ = self.device.poll(wgpu::PollType::Poll);
        self.alive()?;
        bail!(Device, "wgpu: {e}")
    }

    /// Waits for all submitted work.
    pub(super) fn wait(&self) -> Result<()> {
        self.alive()?;
        self.may_wait()?;
        self.poll(wgpu::PollType::wait_indefinitely())?;
        self.alive()
    }

    /// 0, 1, 2... as I64, at least `n` of them.
    pub(super) fn numbers(self: &Arc<Self>, n: usize) -> Result<Arc<WgpuStorage>> {
        use crate::base::Storage;
        let mut kept = lock(&self.numbers);
        if let Some(s) = kept.as_ref().filter(|s| s.bytes() >= n * 8) {
            return Ok(s.clone());
        }
        let n = n.next_power_of_two().max(2048);
        let bytes: Vec<u8> = (0..n as i64).flat_map(i64::to_ne_bytes).collect();
        let s = self.upload(&bytes)?;
        *kept = Some(s.clone());
        Ok(s)
    }

    pub(super) fn describe(&self) -> String {
        adapter::describe(&self.info, &self.limits, self.features)
    }
}

/// A buffer for blocks of numbers.
pub(super) fn uniform(device: &wgpu::Device, bytes: usize) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("numbers"),
        size: bytes.next_multiple_of(16).max(16) as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
