//! Device memory: buffers kept by size for the next who asks, a limit, and the tensors' handles to them.
//!
//! A buffer given back may be handed out at once: the queue runs what was submitted in order.

use super::gpu::Gpu;
use crate::backend::MemoryStats;
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Result, Storage};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sizes are multiples of this, and so are the offsets of a plan's temporaries.
pub const ALIGN: usize = 256;
/// Larger buffers are reused for what is at most a quarter smaller; smaller ones come in steps of a quarter of a power of two.
const BINNED: usize = 1 << 20;

/// A buffer of the device.
#[derive(Debug)]
pub struct Block {
    /// The buffer.
    pub buffer: wgpu::Buffer,
    /// Unique in the process.
    pub id: u64,
    size: usize,
}

#[derive(Default)]
struct State {
    /// Free buffers by size.
    free: BTreeMap<usize, Vec<Block>>,
    live: usize,
    peak: usize,
    reserved: usize,
    limit: Option<usize>,
}

/// The caching allocator of a device.
#[derive(Default)]
pub struct Allocator {
    state: Mutex<State>,
    next: AtomicU64,
    /// Fresh buffers to hand out before the device is said to be full; negative: no such fault.
    faults: AtomicI64,
}

fn rounded(bytes: usize) -> usize {
    let n = bytes.max(ALIGN);
    if n > BINNED {
        return n.next_multiple_of(4096);
    }
    let step = (n.next_power_of_two() / 8).max(ALIGN);
    n.next_multiple_of(step)
}

impl Allocator {
    pub(super) fn new() -> Allocator {
        Allocator { faults: AtomicI64::new(-1), ..Allocator::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uninitialised memory.
    ///
    /// # Errors
    /// `Memory` beyond the limit, the device's memory or what it can bind.
    pub(super) fn take(&self, gpu: &Gpu, bytes: usize) -> Result<Block> {
        gpu.alive()?;
        let most = (gpu.limits.max_buffer_size).min(gpu.limits.max_storage_buffer_binding_size) as usize;
        if bytes > most {
            bail!(Memory, "wgpu: {bytes} bytes asked for, the device binds at most {most} at once: split the tensor");
        }
        let size = rounded(bytes).min(most / ALIGN * ALIGN).max(bytes.next_multiple_of(ALIGN));
        let mut s = self.lock();
        let near = if size > BINNED { size + size / 4 } else { size };
        if let Some((&found, list)) = s.free.range_mut(size..=near).find(|(_, l)| !l.is_empty())
            && let Some(b) = list.pop()
        {
            s.live += found;
            s.peak = s.peak.max(s.live);
            return Ok(b);
        }
        let refuse = |s: &State, why: &str| {
            let limit = s.limit.map_or(String::from("no limit set"), |l| format!("limit {l} bytes"));
            err!(
                Memory,
                "wgpu: cannot allocate {bytes} bytes ({why}): {} bytes live, {} reserved, {limit}; free tensors, or raise the limit",
                s.live,
                s.reserved
            )
        };
        let fits = |s: &State| s.limit.is_none_or(|l| s.reserved + size <= l);
        if !fits(&s) {
            flush(&mut s);
            if !fits(&s) {
                return Err(refuse(&s, "limit"));
            }
        }
        s.reserved += size;
        drop(s);
        let made = self.fresh(gpu, size).or_else(|_| {
            flush(&mut self.lock());
            gpu.forget_bindings();
            // What was freed goes back to the device once the work that used it is done.
            gpu.wait()?;
            self.fresh(gpu, size)
        });
        let mut s = self.lock();
        match made {
            Ok(b) => {
                s.live += size;
                s.peak = s.peak.max(s.live);
                Ok(b)
            }
            Err(e) => {
                s.reserved -= size;
                Err(refuse(&s, e.message()))
            }
        }
    }

    fn fresh(&self, gpu: &Gpu, size: usize) -> Result<Block> {
        if self.faults.load(Relaxed) >= 0 && self.faults.fetch_sub(1, Relaxed) <= 0 {
            self.faults.store(0, Relaxed);
            bail!(Memory, "the device is full");
        }
        use wgpu::BufferUsages as U;
        let buffer = gpu.guarded(|| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: size as u64,
                usage: U::STORAGE | U::COPY_SRC | U::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        Ok(Block { buffer, id: self.next.fetch_add(1, Relaxed), size })
    }

    pub(super) fn give(&self, b: Block) {
        let mut s = self.lock();
        s.live -= b.size;
        s.free.entry(b.size).or_default().push(b);
    }

    /// Returns free buffers to the device.
    pub(super) fn trim(&self) {
        flush(&mut self.lock());
    }

    pub(super) fn stats(&self) -> MemoryStats {
        let s = self.lock();
        MemoryStats { live: s.live, reserved: s.reserved, peak: s.peak, limit: s.limit }
    }

    pub(super) fn set_limit(&self, limit: Option<usize>) {
        let mut s = self.lock();
        s.limit = limit;
        if limit.is_some_and(|l| s.reserved > l) {
            flush(&mut s);
        }
    }

    /// After `n` more fresh buffers the device is said to be full; `None`: no more.
    pub(super) fn fail_after(&self, n: Option<u32>) {
        self.faults.store(n.map_or(-1, i64::from), Relaxed);
    }
}

fn flush(s: &mut State) {
    for (size, list) in std::mem::take(&mut s.free) {
        s.reserved -= size * list.len();
    }
}

/// The memory of one tensor.
pub struct WgpuStorage {
    gpu: &'static Gpu,
    block: Option<Block>,
    bytes: usize,
}

impl WgpuStorage {
    pub(super) fn new(gpu: &'static Gpu, bytes: usize) -> Result<Arc<WgpuStorage>> {
        Ok(Arc::new(WgpuStorage { gpu, block: Some(gpu.memory.take(gpu, bytes)?), bytes }))
    }

    /// The whole of it.
    pub(super) fn view(&self) -> View {
        let b = self.block.as_ref().expect("there until it is dropped");
        View { buffer: b.buffer.clone(), id: b.id, offset: 0, len: (self.bytes as u64).next_multiple_of(16).max(16), shift: 0 }
    }
}

impl std::fmt::Debug for WgpuStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WgpuStorage({} bytes)", self.bytes)
    }
}

impl Storage for WgpuStorage {
    fn device(&self) -> DeviceId {
        self.gpu.id
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for WgpuStorage {
    fn drop(&mut self) {
        if let Some(b) = self.block.take() {
            self.gpu.memory.give(b);
        }
    }
}

/// A part of a buffer, as a kernel binds it.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) buffer: wgpu::Buffer,
    pub(super) id: u64,
    /// First byte bound: a multiple of [`ALIGN`].
    pub(super) offset: u64,
    /// Bytes bound.
    pub(super) len: u64,
    /// Where the value begins behind `offset`.
    pub(super) shift: u64,
}

impl View {
    /// The value `bytes` further on.
    pub(super) fn moved(&self, bytes: usize) -> View {
        View { shift: self.shift + bytes as u64, ..self.clone() }
    }
}
