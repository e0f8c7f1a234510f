//! The device as the layers above see it: an open [`Gpu`], and after a loss the next one, under the same name.

use super::adapter::{Bounds, Opened};
use super::executable::Prepared;
use super::gpu::{Gpu, lock, ready};
use super::memory::{ALIGN, WgpuStorage};
use crate::backend::{Artefacts, Backend, Executable, Failed, MemoryStats, Reading};
use crate::base::error::{bail, err};
use crate::base::{DType, DeviceId, Result, Scalar, Storage};
use crate::fuse::Limits;
use crate::loops::schedule::Schedule;
use std::sync::{Arc, Mutex};

/// A device of this process. It is never dropped.
pub struct WgpuDevice {
    id: DeviceId,
    bounds: Bounds,
    gpu: Mutex<Arc<Gpu>>,
}

impl WgpuDevice {
    /// A device of our own.
    pub(super) fn open(id: DeviceId, opened: &Opened, bounds: &Bounds) -> WgpuDevice {
        WgpuDevice { id, bounds: bounds.clone(), gpu: Mutex::new(Gpu::own_device(id, opened, bounds)) }
    }

    /// The application's own device.
    ///
    /// # Errors
    /// `Device` if it cannot compute.
    pub(super) fn borrow(id: DeviceId, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<WgpuDevice> {
        let bounds = Bounds { host_copies: Some(0), ..Bounds::default() };
        let gpu = Gpu::borrow(id, device, queue, &bounds)?;
        Ok(WgpuDevice { id, bounds, gpu: Mutex::new(gpu) })
    }

    pub(super) fn id(&self) -> DeviceId {
        self.id
    }

    pub(super) fn gpu(&self) -> Arc<Gpu> {
        lock(&self.gpu).clone()
    }
}

impl Gpu {
    /// The memory of one of its tensors.
    ///
    /// # Errors
    /// `Device` if it is another device's.
    pub(super) fn own<'a>(&self, s: &'a dyn Storage) -> Result<&'a WgpuStorage> {
        let found = s.as_any().downcast_ref::<WgpuStorage>().filter(|_| s.device() == self.id);
        found.ok_or_else(|| {
            err!(Device, "wgpu: a buffer of device {} was given to device {}: move it with to_device", s.device().0, self.id.0)
        })
    }
}

impl Backend for &'static WgpuDevice {
    fn describe(&self) -> String {
        format!("wgpu: {}", self.gpu().describe())
    }

    fn alignment(&self) -> usize {
        ALIGN
    }

    fn kernel_limits(&self) -> Limits {
        super::LIMITS
    }

    fn kind(&self) -> &'static str {
        super::KIND
    }

    fn supports(&self, d: DType) -> bool {
        super::supports(d) || self.gpu().target.double
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Storage>> {
        Ok(WgpuStorage::new(&self.gpu(), bytes)?)
    }

    fn upload(&self, bytes: &[u8]) -> Result<Arc<dyn Storage>> {
        let s = self.gpu().upload(bytes)?;
        s.keep(bytes);
        Ok(s)
    }

    fn download(&self, from: &dyn Storage, out: &mut [u8]) -> Result<()> {
        let gpu = self.gpu();
        let s = gpu.own(from)?;
        if out.len() > from.bytes() {
            bail!(Internal, "wgpu: {} bytes asked from a buffer of {}", out.len(), from.bytes());
        }
        gpu.load(&[s])?;
        gpu.read(&s.view(&gpu)?, out)
    }

    fn read(&self, from: Arc<dyn Storage>, bytes: usize) -> Reading {
        let gpu = self.gpu();
        Box::pin(async move {
            let own = gpu.own(&*from)?;
            gpu.load(&[own])?;
            let view = own.view(&gpu)?;
            if bytes > from.bytes() {
                bail!(Internal, "wgpu: {bytes} bytes asked from a buffer of {}", from.bytes());
            }
            gpu.read_later(from, view, bytes).await
        })
    }

    fn identity(&self) -> String {
        let gpu = self.gpu();
        format!("wgpu {:?} {:?} {:?}", gpu.target, gpu.limits, gpu.features)
    }

    fn prepare(&self, schedule: &Schedule, artefacts: &mut Artefacts) -> Result<Arc<dyn Executable>> {
        Ok(Arc::new(Prepared::new(&self.gpu(), schedule, artefacts)?))
    }

    fn run(&self, exe: &dyn Executable, inputs: &[Arc<dyn Storage>], params: &[Scalar]) -> Result<Vec<Arc<dyn Storage>>, Failed> {
        let exe: &Prepared =
            exe.as_any().downcast_ref().ok_or_else(|| err!(Device, "wgpu: an executable of another device was given to this one"))?;
        exe.run(&self.gpu(), inputs, params)
    }

    fn synchronize(&self) -> Result<()> {
        self.gpu().wait()
    }

    fn memory_stats(&self) -> MemoryStats {
        self.gpu().memory.stats()
    }

    fn set_memory_limit(&self, limit: Option<usize>) {
        self.gpu().memory.set_limit(limit);
    }

    fn trim(&self) {
        let gpu = self.gpu();
        gpu.forget_bindings();
        gpu.memory.trim();
    }

    /// A new wgpu device on the adapter; what the host holds a copy of is uploaded again.
    fn recover(&self) -> Result<usize> {
        let mut current = lock(&self.gpu);
        let old = current.clone();
        // One that is well may have been opened by another thread a moment ago.
        if old.alive().is_ok() {
            return Ok(0);
        }
        if old.borrowed {
            bail!(Device, "wgpu: the lost device is the application's own: open another, and give that to Device::from_wgpu");
        }
        let new = Gpu::own_device(self.id, &ready(Opened::new(&self.bounds))??, &self.bounds);
        new.memory.set_limit(old.memory.stats().limit);
        *current = new.clone();
        drop(current);
        old.forget_bindings();
        drop(lock(&old.numbers).take());
        let copied = std::mem::take(&mut *lock(&old.copied));
        let mut restored = 0;
        for s in copied.iter().filter_map(std::sync::Weak::upgrade) {
            restored += usize::from(s.restore(&new)?);
        }
        Ok(restored)
    }

    fn time(&self, on: bool) -> Result<Vec<(Arc<str>, f64)>> {
        self.gpu().timing.switch(on)
    }
}
