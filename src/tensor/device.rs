//! The device handle.

use crate::backend::{self, MemoryStats};
use crate::base::{DeviceId, Result};
use std::cell::Cell;
use std::sync::atomic::{AtomicU16, Ordering};

/// A device tensors live on. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device(pub(crate) DeviceId);

static DEFAULT: AtomicU16 = AtomicU16::new(0);
thread_local! {
    static SCOPE: Cell<Option<DeviceId>> = const { Cell::new(None) };
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

    /// The fastest device present.
    pub fn best() -> Device {
        Device::cpu()
    }

    /// Every device present.
    pub fn all() -> Vec<Device> {
        vec![Device::cpu()]
    }

    /// Where new tensors go: the innermost [`scope`](Device::scope) of this thread, else the process's default.
    pub fn current() -> Device {
        Device(SCOPE.get().unwrap_or_else(|| DeviceId(DEFAULT.load(Ordering::Relaxed))))
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
