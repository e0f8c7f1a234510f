//! Devices. A backend is one folder and one [`Backend`].
//!
//! A backend gets a [`Schedule`] of Loop IR kernels, prepares it once into something it can run again and again with other
//! buffers and other parameters, and owns its memory through a caching allocator. It knows nothing of traces or tensors.

mod artefacts;
pub mod cpu;
pub mod files;
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use artefacts::Artefacts;

use crate::base::error::err;
use crate::base::{DType, DeviceId, Error, Result, Scalar, Storage};
use crate::fuse::Limits;
use crate::loops::schedule::Schedule;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A prepared plan. Dropping it frees what it holds on the device.
pub trait Executable: Send + Sync {
    /// For the backend that made it.
    fn as_any(&self) -> &dyn Any;
    /// The emitted code of a launch, readable (the CPU: its tile program as text).
    fn source(&self, launch: usize) -> String;
}

/// How much memory of a device is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Bytes tensors and running plans hold.
    pub live: usize,
    /// Bytes taken from the system, cached ones included.
    pub reserved: usize,
    /// Largest `live` so far.
    pub peak: usize,
    /// The limit on `reserved`, if one is set.
    pub limit: Option<usize>,
}

/// A run that did not come to its end.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// Whether kernels may have written to inputs that were given for good.
    pub started: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { error, started: false }
    }
}

/// The bytes of a value, later.
pub type Reading = Pin<Box<dyn Future<Output = Result<Vec<u8>>> + Send>>;

/// A device.
pub trait Backend: Send + Sync {
    /// One readable line: processor or adapter, what it can do.
    fn describe(&self) -> String;
    /// `cpu`, `wgpu`, `cuda`, `npu`.
    fn kind(&self) -> &'static str;
    /// Whether elements of `dtype` can be stored and computed with.
    fn supports(&self, dtype: DType) -> bool;
    /// Parts of a buffer that kernels use start at multiples of so many bytes.
    fn alignment(&self) -> usize {
        64
    }
    /// How large kernels may be.
    fn kernel_limits(&self) -> Limits {
        Limits::default()
    }
    /// Uninitialised memory.
    ///
    /// # Errors
    /// `Memory` if the limit or the device is exhausted.
    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Storage>>;
    /// A copy of host bytes.
    ///
    /// # Errors
    /// As `allocate`.
    fn upload(&self, bytes: &[u8]) -> Result<Arc<dyn Storage>>;
    /// Takes over a host vector's bytes without copying where the device can; else copies.
    ///
    /// # Errors
    /// As `allocate`.
    fn adopt(&self, bytes: Vec<u8>) -> Result<Arc<dyn Storage>> {
        self.upload(&bytes)
    }
    /// Copies the first `out.len()` bytes to the host, after all work queued so far.
    ///
    /// # Errors
    /// `Device` if it is lost.
    fn download(&self, from: &dyn Storage, out: &mut [u8]) -> Result<()>;
    /// Copies the first bytes to the host after all work queued so far, without blocking whoever polls where the device works in the
    /// background.
    fn read(&self, from: Arc<dyn Storage>, bytes: usize) -> Reading;
    /// What schedules and artefacts are good for: they may be used again, by another process too, on a device that says the same.
    fn identity(&self) -> String {
        self.describe()
    }
    /// Compiles what is not in the kernel cache yet. What takes its time and would be the same another time is taken from `artefacts`, or
    /// put there.
    ///
    /// # Errors
    /// If the device lacks something the kernels need.
    fn prepare(&self, schedule: &Schedule, artefacts: &mut Artefacts) -> Result<Arc<dyn Executable>>;
    /// Runs a prepared plan: `inputs` by slot place `Input(i)`; returns the buffers of `Output(i)`. A kernel that updates an `Input` slot
    /// changes the caller's buffer: a plan does that only with inputs it was given for good. Another argument of that kernel may be the
    /// same buffer then, see [`may_overwrite`](crate::loops::Kernel::may_overwrite).
    ///
    /// # Errors
    /// `Memory` or `Device`.
    fn run(&self, exe: &dyn Executable, inputs: &[Arc<dyn Storage>], params: &[Scalar]) -> Result<Vec<Arc<dyn Storage>>, Failed>;
    /// Waits for all queued work.
    ///
    /// # Errors
    /// `Device` if it is lost.
    fn synchronize(&self) -> Result<()>;
    /// Current use.
    fn memory_stats(&self) -> MemoryStats;
    /// Limits what is reserved; `None` lifts the limit.
    fn set_memory_limit(&self, limit: Option<usize>);
    /// Returns cached memory to the system.
    fn trim(&self);
    /// Opens the device again if it is lost; the number of values that the host still held and that are there again. Others are errors
    /// when they are used.
    ///
    /// # Errors
    /// `Device` if it cannot be opened.
    fn recover(&self) -> Result<usize> {
        Ok(0)
    }
    /// Begins or ends taking the time of every kernel on the device; what was taken since it began: kernels in the order in which they
    /// ran, and microseconds.
    ///
    /// # Errors
    /// `Device` if the device cannot tell.
    fn time(&self, on: bool) -> Result<Vec<(Arc<str>, f64)>> {
        if on { Err(err!(Device, "the {} device does not time its kernels", self.kind())) } else { Ok(Vec::new()) }
    }
}

/// Counters of a backend and the layers above, process totals.
pub mod counters {
    use std::sync::atomic::AtomicU64;
    /// Kernels compiled (kernel cache misses).
    pub static COMPILES: AtomicU64 = AtomicU64::new(0);
    /// Kernel cache hits.
    pub static KERNEL_HITS: AtomicU64 = AtomicU64::new(0);
    /// Kernel launches.
    pub static LAUNCHES: AtomicU64 = AtomicU64::new(0);
    /// Times a thread waited for a device.
    pub static WAITS: AtomicU64 = AtomicU64::new(0);
}

/// Most devices of a process.
const MOST: usize = 64;

/// Devices besides the CPU, in the order in which they were opened.
static OPENED: [OnceLock<&'static dyn Backend>; MOST] = [const { OnceLock::new() }; MOST];

/// The devices of this process by id.
///
/// # Panics
/// If there is none of that id.
pub fn of(id: DeviceId) -> &'static dyn Backend {
    match id {
        DeviceId(0) => cpu::device(),
        DeviceId(n) => match OPENED.get(n as usize - 1).and_then(OnceLock::get) {
            Some(d) => *d,
            None => panic!("device {n} does not exist"),
        },
    }
}

/// The ids of all devices opened so far, the CPU first.
pub fn opened() -> Vec<DeviceId> {
    let more = (0..MOST).take_while(|&n| OPENED[n].get().is_some()).map(|n| DeviceId(n as u16 + 1));
    std::iter::once(DeviceId(0)).chain(more).collect()
}

/// Opens another device and gives it the next id.
///
/// # Errors
/// What `open` reports; `Device` if there are too many.
pub fn register(open: impl FnOnce(DeviceId) -> Result<&'static dyn Backend>) -> Result<DeviceId> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let n = OPENED.iter().position(|d| d.get().is_none()).ok_or_else(|| err!(Device, "{MOST} devices are open already"))?;
    let id = DeviceId(n as u16 + 1);
    let device = open(id)?;
    OPENED[n].get_or_init(|| device);
    Ok(id)
}
