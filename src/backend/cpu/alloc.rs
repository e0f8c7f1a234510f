//! The caching allocator of host memory, and the storage it hands out.
//!
//! Writing freshly mapped memory costs ten times what rewriting touched memory costs, so blocks are kept. Up to 1 MiB a block comes
//! from one of four size bins per power of two (waste at most a quarter); above it has the exact size in pages and is reused
//! for requests of at least four fifths of its size. Nothing goes back to the system before `trim`, a memory limit or exhaustion.

use crate::backend::MemoryStats;
use crate::base::error::{Result, bail, err};
use crate::base::{DeviceId, Storage};
use std::alloc::Layout;
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Alignment of every block.
pub const ALIGN: usize = 64;
/// Largest size served from bins.
const BINNED: usize = 1 << 20;
const MIN_SHIFT: u32 = 6;
const BINS: usize = (20 - MIN_SHIFT as usize) * 4 + 1;
const PAGE: usize = 4096;
/// From this size on blocks are aligned to, and asked to be backed by, huge pages.
const HUGE: usize = 4 << 20;
const HUGE_PAGE: usize = 2 << 20;

/// The allocator.
pub struct Allocator {
    bins: [Mutex<Vec<usize>>; BINS],
    large: Mutex<BTreeSet<(usize, usize)>>,
    live: AtomicUsize,
    peak: AtomicUsize,
    reserved: AtomicUsize,
    limit: AtomicUsize,
}

/// A block in use: address and capacity.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Its first byte.
    pub ptr: *mut u8,
    size: usize,
}

fn bin_of(bytes: usize) -> usize {
    if bytes <= 1 << MIN_SHIFT {
        return 0;
    }
    // The quarter of its power of two that the last byte falls into; the bin's size is that quarter's upper end.
    let last = bytes - 1;
    let shift = last.ilog2();
    ((shift - MIN_SHIFT) as usize) * 4 + (last >> (shift - 2)) - 4 + 1
}

fn bin_size(bin: usize) -> usize {
    if bin == 0 {
        return 1 << MIN_SHIFT;
    }
    let (power, quarter) = ((bin - 1) / 4, (bin - 1) % 4);
    (1 << (power + MIN_SHIFT as usize)) / 4 * (5 + quarter)
}

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, if size >= HUGE { HUGE_PAGE } else { ALIGN }).ok()
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Allocator {
    fn default() -> Allocator {
        Allocator::new()
    }
}

impl Allocator {
    /// Empty, without a limit.
    pub const fn new() -> Allocator {
        Allocator {
            bins: [const { Mutex::new(Vec::new()) }; BINS],
            large: Mutex::new(BTreeSet::new()),
            live: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
        }
    }

    /// An uninitialised block of at least `bytes` bytes.
    pub fn take(&self, bytes: usize) -> Result<Block> {
        let (size, cached) = if bytes <= BINNED {
            let bin = bin_of(bytes);
            (bin_size(bin), lock(&self.bins[bin]).pop())
        } else {
            if bytes > isize::MAX as usize / 2 {
                bail!(Memory, "cpu: {bytes} bytes asked for, more than any address space holds");
            }
            let size = bytes.next_multiple_of(PAGE);
            let mut large = lock(&self.large);
            let found = large.range((size, 0)..=(size + size / 4, usize::MAX)).next().copied();
            if let Some(b) = found {
                large.remove(&b);
            }
            match found {
                Some((s, p)) => (s, Some(p)),
                None => (size, None),
            }
        };
        let ptr = match cached {
            Some(p) => p as *mut u8,
            None => self.fresh(size, bytes)?,
        };
        let live = self.live.fetch_add(size, Relaxed) + size;
        if live > self.peak.load(Relaxed) {
            self.peak.fetch_max(live, Relaxed);
        }
        Ok(Block { ptr, size })
    }

    /// Gives a block back for reuse.
    pub fn give(&self, b: Block) {
        self.live.fetch_sub(b.size, Relaxed);
        if b.size <= BINNED {
            lock(&self.bins[bin_of(b.size)]).push(b.ptr as usize);
        } else {
            lock(&self.large).insert((b.size, b.ptr as usize));
        }
    }

    fn reserve(&self, size: usize) -> bool {
        let limit = self.limit.load(Relaxed);
        self.reserved.fetch_update(Relaxed, Relaxed, |r| r.checked_add(size).filter(|&t| t <= limit)).is_ok()
    }

    fn fresh(&self, size: usize, bytes: usize) -> Result<*mut u8> {
        let refuse = || {
            let s = self.stats();
            let limit = s.limit.map_or(String::from("no limit set"), |l| format!("limit {l} bytes"));
            err!(
                Memory,
                "cpu: cannot allocate {bytes} bytes: {} bytes live, {} reserved, {limit}; free tensors, or raise the limit",
                s.live,
                s.reserved
            )
        };
        let Some(layout) = layout(size) else { return Err(refuse()) };
        if !self.reserve(size) {
            self.trim();
            if !self.reserve(size) {
                return Err(refuse());
            }
        }
        // SAFETY: the layout's size is not zero.
        let mut p = unsafe { std::alloc::alloc(layout) };
        if p.is_null() {
            self.trim();
            // SAFETY: as above.
            p = unsafe { std::alloc::alloc(layout) };
        }
        if p.is_null() {
            self.reserved.fetch_sub(size, Relaxed);
            return Err(refuse());
        }
        #[cfg(target_os = "linux")]
        if size >= HUGE {
            // SAFETY: advice about memory this call just obtained; a refusal changes nothing.
            unsafe { libc::madvise(p.cast(), size, libc::MADV_HUGEPAGE) };
        }
        Ok(p)
    }

    /// Returns every cached block to the system.
    pub fn trim(&self) {
        let free = |size: usize, p: usize| {
            self.reserved.fetch_sub(size, Relaxed);
            if let Some(l) = layout(size) {
                // SAFETY: the block came from `alloc` with this layout and nobody holds it.
                unsafe { std::alloc::dealloc(p as *mut u8, l) };
            }
        };
        for (i, bin) in self.bins.iter().enumerate() {
            for p in std::mem::take(&mut *lock(bin)) {
                free(bin_size(i), p);
            }
        }
        for (size, p) in std::mem::take(&mut *lock(&self.large)) {
            free(size, p);
        }
    }

    /// Current use.
    pub fn stats(&self) -> MemoryStats {
        let limit = self.limit.load(Relaxed);
        MemoryStats {
            live: self.live.load(Relaxed),
            reserved: self.reserved.load(Relaxed),
            peak: self.peak.load(Relaxed),
            limit: (limit != usize::MAX).then_some(limit),
        }
    }

    /// Limits what is reserved; cached memory above a new limit goes back at once.
    pub fn set_limit(&self, limit: Option<usize>) {
        let limit = limit.unwrap_or(usize::MAX);
        self.limit.store(limit, Relaxed);
        if self.reserved.load(Relaxed) > limit {
            self.trim();
        }
    }

    /// A storage over a fresh block.
    pub fn storage(&'static self, bytes: usize) -> Result<Arc<dyn Storage>> {
        let block = self.take(bytes)?;
        Ok(Arc::new(CpuStorage { bytes, ptr: block.ptr, owner: Owner::Block(self, block.size) }))
    }

    /// A storage that takes over a vector, which must be aligned for any element.
    ///
    /// # Errors
    /// `Memory` beyond the limit; the vector is dropped.
    pub fn adopt(&'static self, bytes: Vec<u8>) -> Result<Arc<dyn Storage>> {
        let size = bytes.capacity();
        if !self.reserve(size) {
            self.trim();
            if !self.reserve(size) {
                bail!(Memory, "cpu: taking over {size} bytes exceeds the memory limit of {} bytes", self.limit.load(Relaxed));
            }
        }
        let live = self.live.fetch_add(size, Relaxed) + size;
        self.peak.fetch_max(live, Relaxed);
        let mut v = bytes;
        Ok(Arc::new(CpuStorage { bytes: v.len(), ptr: v.as_mut_ptr(), owner: Owner::Vector(self, v) }))
    }
}

enum Owner {
    Block(&'static Allocator, usize),
    Vector(&'static Allocator, Vec<u8>),
}

/// Host memory of one tensor.
pub struct CpuStorage {
    ptr: *mut u8,
    bytes: usize,
    owner: Owner,
}

// SAFETY: the storage owns its memory; who may write when is decided by the plans that use it.
unsafe impl Send for CpuStorage {}
// SAFETY: as above.
unsafe impl Sync for CpuStorage {}

impl CpuStorage {
    /// Its first byte.
    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }
}

impl std::fmt::Debug for CpuStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CpuStorage({} bytes)", self.bytes)
    }
}

impl Storage for CpuStorage {
    fn device(&self) -> DeviceId {
        DeviceId(0)
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for CpuStorage {
    fn drop(&mut self) {
        match &self.owner {
            Owner::Block(a, size) => a.give(Block { ptr: self.ptr, size: *size }),
            Owner::Vector(a, v) => {
                a.live.fetch_sub(v.capacity(), Relaxed);
                a.reserved.fetch_sub(v.capacity(), Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ErrorKind;

    #[test]
    fn bins_waste_at_most_a_quarter() {
        for bytes in (1..5000).chain([65_536, 65_537, 1 << 20, (1 << 20) - 1, 700_001]) {
            let size = bin_size(bin_of(bytes));
            assert!(size >= bytes, "{bytes} -> {size}");
            assert!(bytes <= 64 || size - bytes <= bytes / 4 + 1, "{bytes} -> {size}");
            assert_eq!(bin_size(bin_of(size)), size);
        }
    }

    #[test]
    fn blocks_are_reused_and_limits_hold() {
        static A: Allocator = Allocator::new();
        let a = A.storage(1000).unwrap();
        let p = a.as_any().downcast_ref::<CpuStorage>().unwrap().ptr();
        assert_eq!(p as usize % ALIGN, 0);
        drop(a);
        let b = A.storage(1010).unwrap();
        assert_eq!(b.as_any().downcast_ref::<CpuStorage>().unwrap().ptr(), p);
        let big = A.take(5 << 20).unwrap();
        A.give(big);
        let again = A.take((5 << 20) - 8192).unwrap();
        assert_eq!(again.ptr, big.ptr);
        A.give(again);
        A.set_limit(Some(6 << 20));
        // The cached block does not fit beside this one: it is flushed, and the request succeeds.
        let c = A.storage(4 << 20).unwrap();
        let e = A.storage(3 << 20).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory);
        assert!(e.message().contains(&(3usize << 20).to_string()), "{e}");
        drop((b, c));
        A.set_limit(None);
        assert_eq!(A.stats().live, 0);
        A.trim();
        assert_eq!(A.stats().reserved, 0);
        assert_eq!(A.storage(1 << 60).unwrap_err().kind(), ErrorKind::Memory);
        assert_eq!(A.storage(usize::MAX).unwrap_err().kind(), ErrorKind::Memory);
        drop(A.storage(0).unwrap());
    }
}
