//! The device handle.

use crate::backend::{self, MemoryStats};
use crate::base::{DeviceId, Result};
use std::cell::Cell;
use std::sync::atomic::{AtomicU16, Ordering};

/// A device tensors live on. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device(pub(crate) DeviceId);

/// The process-wide default; not yet chosen at first.
static DEFAULT: AtomicU16 = AtomicU16::new(u16::MAX);

/// What `LAZULI_DEVICE` names, the CPU if it names nothing.
///
/// # Panics
/// If it names a device that is not there.
#[cold]
fn chosen() -> DeviceId {
    let id = match std::env::var("LAZULI_DEVICE") {
        Ok(name) if !name.is_empty() => Device::named(&name).unwrap_or_else(|e| panic!("LAZULI_DEVICE={name}: {e}")).0,
        _ => DeviceId(0),
    };
    // Somebody may have set one meanwhile.
    let _ = DEFAULT.compare_exchange(u16::MAX, id.0, Ordering::Relaxed, Ordering::Relaxed);
    DeviceId(DEFAULT.load(Ordering::Relaxed))
}
thread_local! {
    static SCOPE: Cell<Option<DeviceId>> = const { Cell::new(None) };
}

/// The graphics processor that is opened once.
#[cfg(feature = "wgpu")]
fn first() -> std::sync::MutexGuard<'static, Option<Device>> {
    static FIRST: std::sync::Mutex<Option<Device>> = std::sync::Mutex::new(None);
    FIRST.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Restores the thread's default device when dropped.
pub(crate) struct Scoped(Option<DeviceId>);

impl Drop for Scoped {
    fn drop(&mut self) {
        SCOPE.set(self.0);
    }
}

impl Device {
    pub(crate) fn from_id(id: DeviceId) -> Device {
        Device(id)
    }

    /// The processor this program runs on. Always there.
    pub fn cpu() -> Device {
        Device(DeviceId(0))
    }

    /// The graphics processor: the adapter whose name contains what the variable `LAZULI_ADAPTER` says, else the best piece of hardware.
    /// Software adapters (lavapipe, SwiftShader) are used only if named. It is opened once; later calls give the same device.
    ///
    /// # Errors
    /// `Device` if there is none, it cannot be opened, or the crate was built without its feature `wgpu`; `NotReady` in a browser, before
    /// `Device::wgpu_async`.
    pub fn wgpu() -> Result<Device> {
        #[cfg(feature = "wgpu")]
        {
            let mut first = first();
            if let Some(d) = *first {
                return Ok(d);
            }
            let d = Device::open_wgpu(&backend::wgpu::Bounds::default())?;
            *first = Some(d);
            Ok(d)
        }
        #[cfg(not(feature = "wgpu"))]
        Err(crate::base::error::err!(Device, "this program was built without lazuli's feature `wgpu`"))
    }

    /// As [`wgpu`](Device::wgpu), without blocking: in a browser, the way to open its WebGPU device. There, too, it is opened once; from
    /// then on [`wgpu`](Device::wgpu), [`best`](Device::best) and the like find it. A page cannot wait: there `eval` submits, values are
    /// had by [`Tensor::read`](crate::Tensor::read), and host reads that would block are `NotReady`.
    ///
    /// ```no_run
    /// # use lazuli::prelude::*;
    /// # async fn page() -> Result<()> {
    /// Device::wgpu_async().await?.set_default();
    /// let x = Tensor::randn([256, 256]);
    /// let total = x.matmul(&x).sum(..).read::<f32>().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Device` if there is none, or it cannot be opened.
    #[cfg(feature = "wgpu")]
    pub async fn wgpu_async() -> Result<Device> {
        if let Some(d) = *first() {
            return Ok(d);
        }
        let d = Device(backend::wgpu::open_async(&backend::wgpu::Bounds::default()).await?);
        // Somebody may have opened one meanwhile.
        Ok(*first().get_or_insert(d))
    }

    /// Another device on the adapter of [`wgpu`](Device::wgpu), with memory and a queue of its own, within `bounds`.
    ///
    /// # Errors
    /// As [`wgpu`](Device::wgpu).
    #[cfg(feature = "wgpu")]
    pub fn open_wgpu(bounds: &backend::wgpu::Bounds) -> Result<Device> {
        backend::wgpu::open(bounds).map(Device)
    }

    /// The device of that name: `cpu`, `wgpu`, or `best`.
    ///
    /// # Errors
    /// `Argument` for another name, else as [`wgpu`](Device::wgpu).
    pub fn named(name: &str) -> Result<Device> {
        match name {
            "cpu" => Ok(Device::cpu()),
            "wgpu" => Device::wgpu(),
            "best" => Ok(Device::best()),
            other => Err(crate::base::error::err!(Argument, "no device is called {other}: cpu, wgpu or best")),
        }
    }

    /// The fastest device present: a graphics processor if there is one, else the CPU. A software adapter counts only if
    /// `LAZULI_ADAPTER` names it.
    pub fn best() -> Device {
        Device::wgpu().unwrap_or_else(|_| Device::cpu())
    }

    /// Every device present: the CPU, the graphics processor if there is one, and what was opened besides.
    pub fn all() -> Vec<Device> {
        // Its absence is no error here.
        let _ = Device::wgpu();
        backend::opened().into_iter().map(Device).collect()
    }

    /// Where new tensors go: the innermost [`scope`](Device::scope) of this thread, else the process's default, which is the CPU unless
    /// [`set_default`](Device::set_default) or the variable `LAZULI_DEVICE` says something else.
    ///
    /// # Panics
    /// If `LAZULI_DEVICE` names a device that is not there.
    pub fn current() -> Device {
        Device(SCOPE.get().unwrap_or_else(|| match DEFAULT.load(Ordering::Relaxed) {
            u16::MAX => chosen(),
            id => DeviceId(id),
        }))
    }

    /// The device that `--device NAME` in the program's arguments names, else [`current`](Device::current): for small programs.
    ///
    /// # Errors
    /// As [`named`](Device::named).
    pub fn from_args() -> Result<Device> {
        let mut args = std::env::args().skip(1);
        while let Some(a) = args.next() {
            if a == "--device" {
                let name = args.next();
                return Device::named(name.as_deref().unwrap_or("(nothing)"));
            }
            if let Some(name) = a.strip_prefix("--device=") {
                return Device::named(name);
            }
        }
        Ok(Device::current())
    }

    /// Makes this device the process-wide default.
    pub fn set_default(&self) {
        DEFAULT.store(self.0.0, Ordering::Relaxed);
    }

    /// Runs `f` with this device as the default of this thread. Threads started inside do not inherit it.
    pub fn scope<R>(&self, f: impl FnOnce() -> R) -> R {
        let _restore = self.enter();
        f()
    }

    /// As [`scope`](Device::scope), until what it returns is dropped: for bodies that report their caller's line, which a closure
    /// would hide.
    pub(crate) fn enter(&self) -> Scoped {
        Scoped(SCOPE.replace(Some(self.0)))
    }

    /// The name under which the layers below know it.
    pub fn id(&self) -> DeviceId {
        self.0
    }

    /// `cpu`, `wgpu`, `cuda` or `npu`.
    pub fn kind(&self) -> &'static str {
        self.backend().kind()
    }

    /// One readable line: what it is and can do.
    pub fn describe(&self) -> String {
        self.backend().describe()
    }

    /// Current use of its memory.
    pub fn memory_stats(&self) -> MemoryStats {
        self.backend().memory_stats()
    }

    /// Limits what the engine takes of its memory; beyond it, cached memory is released first, then calls fail with
    /// [`ErrorKind::Memory`](crate::ErrorKind::Memory). `None` lifts the limit.
    pub fn set_memory_limit(&self, bytes: Option<usize>) {
        self.backend().set_memory_limit(bytes);
    }

    /// Returns cached memory to the system.
    pub fn trim(&self) {
        self.backend().trim();
    }

    /// Opens the device again after it was lost ([`ErrorKind::DeviceLost`](crate::ErrorKind::DeviceLost)). Tensors that were made from
    /// host data and not overwritten since are there again, as far as the host kept copies; the number of them is returned. Others stay
    /// errors: compute or load them again. Nothing happens to a device that is well.
    ///
    /// # Errors
    /// `Device` if it cannot be opened.
    pub fn recover(&self) -> Result<usize> {
        self.backend().recover()
    }

    /// Runs `f` and tells how long each kernel took on the device meanwhile: names in the order in which they ran, and microseconds.
    /// Kernels run one by one for it.
    ///
    /// # Errors
    /// `Device` if the device cannot tell.
    pub fn time_kernels<R>(&self, f: impl FnOnce() -> R) -> Result<(R, Vec<(String, f64)>)> {
        self.backend().time(true)?;
        let r = f();
        let taken = self.backend().time(false)?;
        Ok((r, taken.into_iter().map(|(name, us)| (name.to_string(), us)).collect()))
    }

    /// Waits until all work given to it is done.
    ///
    /// # Errors
    /// `Device` if it is lost.
    pub fn synchronize(&self) -> Result<()> {
        self.backend().synchronize()
    }

    pub(crate) fn backend(&self) -> &'static dyn backend::Backend {
        backend::of(self.0)
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}
