//! Device memory: buffers kept by size for the next who asks, a limit, and the tensors' handles to them.
//!
//! A buffer given back may be handed out at once: the queue runs what was submitted in order. A value larger than the largest buffer lies
//! in several, all but the last of that size.

use super::gpu::{Gpu, lock};
use super::host::{Promise, State};
use super::texture::Source;
use crate::backend::MemoryStats;
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Result, Storage};
use smallvec::SmallVec;
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
struct Pool {
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
    state: Mutex<Pool>,
    /// Fresh buffers to hand out before the device is said to be full; negative: no such fault.
    faults: AtomicI64,
}

/// Names buffers: of every device, so that none is taken for another's.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name for another buffer.
pub(super) fn next_id() -> u64 {
    NEXT.fetch_add(1, Relaxed)
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

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uninitialised memory in one buffer.
    ///
    /// # Errors
    /// `Memory` beyond the limit or the device's memory.
    fn take(&self, gpu: &Gpu, bytes: usize) -> Result<Block> {
        gpu.alive()?;
        let most = gpu.largest() as usize;
        let size = rounded(bytes).min(most).max(bytes.next_multiple_of(ALIGN));
        let mut s = self.lock();
        let near = if size > BINNED { size + size / 4 } else { size };
        if let Some((&found, list)) = s.free.range_mut(size..=near).find(|(_, l)| !l.is_empty())
            && let Some(b) = list.pop()
        {
            s.live += found;
            s.peak = s.peak.max(s.live);
            return Ok(b);
        }
        let refuse = |s: &Pool, why: &str| {
            let limit = s.limit.map_or(String::from("no limit set"), |l| format!("limit {l} bytes"));
            err!(
                Memory,
                "wgpu: cannot allocate {bytes} bytes ({why}): {} bytes live, {} reserved, {limit}; free tensors, or raise the limit",
                s.live,
                s.reserved
            )
        };
        let fits = |s: &Pool| s.limit.is_none_or(|l| s.reserved + size <= l);
        if !fits(&s) {
            flush(&mut s);
            // Recorded plans hold buffers too; dropping them may give some back.
            drop(s);
            gpu.forget_bindings();
            s = self.lock();
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
            // What was freed goes back to the device once the work that used it is done. An application waits for its own device itself.
            if gpu.borrowed {
                gpu.alive()?;
            } else {
                gpu.wait()?;
            }
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
                if super::gpu::is_lost(&e) { Err(e) } else { Err(refuse(&s, e.message())) }
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
                usage: U::STORAGE | U::COPY_SRC | U::COPY_DST | U::VERTEX | U::INDEX,
                mapped_at_creation: false,
            })
        })?;
        Ok(Block { buffer, id: next_id(), size })
    }

    /// Forgets a buffer that somebody may still write to: it is freed when nobody holds it any more.
    fn forget(&self, b: Block) {
        let mut s = self.lock();
        s.live -= b.size;
        s.reserved -= b.size;
    }

    fn give(&self, b: Block) {
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

fn flush(s: &mut Pool) {
    for (size, list) in std::mem::take(&mut s.free) {
        s.reserved -= size * list.len();
    }
}

/// The memory of one tensor.
pub struct WgpuStorage {
    id: DeviceId,
    bytes: usize,
    held: Mutex<Held>,
}

struct Held {
    gpu: Arc<Gpu>,
    blocks: SmallVec<[Block; 1]>,
    /// What was uploaded, as long as it is what the buffers hold.
    copy: Option<Box<[u8]>>,
    /// The buffer is the application's; where the value begins in it.
    external: Option<u64>,
    /// What is to write it, if that lies in an encoder of the application.
    promise: Option<Arc<Promise>>,
    /// The application's texture that it is filled from whenever it is used.
    texture: Option<Source>,
}

impl WgpuStorage {
    pub(super) fn new(gpu: &Arc<Gpu>, bytes: usize) -> Result<Arc<WgpuStorage>> {
        let mut held = Held { gpu: gpu.clone(), blocks: SmallVec::new(), copy: None, external: None, promise: None, texture: None };
        let made = held.fill(bytes);
        // What there is of a value that does not fit goes back.
        let s = WgpuStorage { id: gpu.id, bytes, held: Mutex::new(held) };
        made.map(|()| Arc::new(s))
    }

    /// A value in a buffer of the application, from byte `offset` on.
    pub(super) fn external(gpu: &Arc<Gpu>, buffer: wgpu::Buffer, offset: u64, bytes: usize) -> Arc<WgpuStorage> {
        let block = Block { buffer, id: next_id(), size: bytes };
        let blocks = smallvec::smallvec![block];
        let held = Held { gpu: gpu.clone(), blocks, copy: None, external: Some(offset), promise: None, texture: None };
        Arc::new(WgpuStorage { id: gpu.id, bytes, held: Mutex::new(held) })
    }

    /// Memory for what a texture of the application holds.
    pub(super) fn of_texture(gpu: &Arc<Gpu>, texture: Source, bytes: usize) -> Result<Arc<WgpuStorage>> {
        let s = WgpuStorage::new(gpu, bytes)?;
        lock(&s.held).texture = Some(texture);
        Ok(s)
    }

    /// The texture it is filled from, if there is one.
    pub(super) fn texture(&self) -> Option<Source> {
        lock(&self.held).texture.clone()
    }

    /// The application's buffer that it is, if it is one.
    pub(super) fn borrowed_buffer(&self) -> Option<wgpu::Buffer> {
        let held = lock(&self.held);
        held.external.and_then(|_| held.blocks.first().map(|b| b.buffer.clone()))
    }

    /// Its buffer, and where the value begins in it.
    ///
    /// # Errors
    /// `Memory` if it lies in several, else as [`view`](WgpuStorage::view).
    pub(super) fn place(&self, gpu: &Arc<Gpu>) -> Result<(wgpu::Buffer, u64)> {
        self.promised()?;
        if self.texture().is_some() {
            bail!(Argument, "wgpu: a tensor made of a texture has no buffer of its own: take that of something computed from it");
        }
        let v = self.contents(gpu)?;
        if v.parts.is_some() {
            bail!(Memory, "wgpu: a tensor of {} bytes lies in several buffers", self.bytes);
        }
        Ok((v.buffer, v.offset))
    }

    /// Its value will be there once the encoder is submitted that a ticket stands for.
    pub(super) fn promise(&self, p: &Arc<Promise>) {
        lock(&self.held).promise = Some(p.clone());
    }

    /// The promise that is still open, if there is one.
    ///
    /// # Errors
    /// `NotReady` if it was broken.
    pub(super) fn promised(&self) -> Result<Option<Arc<Promise>>> {
        let mut held = lock(&self.held);
        match held.promise.as_ref().map(|p| p.state()) {
            None => Ok(None),
            Some(State::Open) => Ok(held.promise.clone()),
            Some(State::Kept) => {
                held.promise = None;
                Ok(None)
            }
            Some(State::Broken) => {
                bail!(
                    NotReady,
                    "wgpu: this value was encoded, but its ticket was dropped before Ticket::submitted(), or submitted out of order"
                )
            }
        }
    }

    /// That its value is there.
    ///
    /// # Errors
    /// `NotReady` if it is still in an encoder.
    pub(super) fn ready(&self) -> Result<()> {
        match self.promised()? {
            None => Ok(()),
            Some(_) => {
                bail!(NotReady, "wgpu: this value is in an encoder that was not submitted: submit it, then call Ticket::submitted()")
            }
        }
    }

    /// The whole of it.
    ///
    /// # Errors
    /// `DeviceLost` if its contents were lost with another device than `gpu`, `NotReady` if they are still in an encoder.
    pub(super) fn view(&self, gpu: &Arc<Gpu>) -> Result<View> {
        self.ready()?;
        self.contents(gpu)
    }

    /// The whole of it, whether it has been written or not.
    pub(super) fn contents(&self, gpu: &Arc<Gpu>) -> Result<View> {
        let held = lock(&self.held);
        let first = held.blocks.first().filter(|_| Arc::ptr_eq(&held.gpu, gpu));
        let Some(b) = first else {
            // A loss is the better reason while it lasts.
            gpu.alive()?;
            bail!(DeviceLost, "wgpu: the device was lost, and with it this tensor's {} bytes: compute or upload them again", self.bytes);
        };
        let parts = (held.blocks.len() > 1).then(|| held.blocks.iter().map(|b| (b.buffer.clone(), b.id)).collect());
        let mut len = (self.bytes as u64).next_multiple_of(16).max(16);
        let offset = held.external.unwrap_or(0);
        if held.external.is_some() {
            len = len.min((b.buffer.size() - offset) / 4 * 4);
        }
        Ok(View { buffer: b.buffer.clone(), id: b.id, offset, len, shift: 0, parts, part_bytes: gpu.largest() })
    }

    /// What names the buffers a recorded plan is bound to; `None` where there are several, or none.
    pub(super) fn buffer_id(&self, gpu: &Arc<Gpu>) -> Option<u64> {
        let held = lock(&self.held);
        if held.blocks.len() == 1 && Arc::ptr_eq(&held.gpu, gpu) { Some(held.blocks[0].id) } else { None }
    }

    /// Keeps `bytes`, which it was made from, for a day the device is lost.
    pub(super) fn keep(self: &Arc<Self>, bytes: &[u8]) {
        let mut held = lock(&self.held);
        let taken = held.gpu.copies_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes.len()));
        if taken.is_err() {
            return;
        }
        held.copy = Some(bytes.into());
        let mut all = lock(&held.gpu.copied);
        if all.len() == all.capacity() {
            all.retain(|w| w.strong_count() > 0);
            let n = all.len();
            all.reserve(n.max(64));
        }
        all.push(Arc::downgrade(self));
    }

    /// It is about to be overwritten.
    pub(super) fn forget_copy(&self) {
        let mut held = lock(&self.held);
        if let Some(c) = held.copy.take() {
            held.gpu.copies_left.fetch_add(c.len(), Relaxed);
        }
    }

    /// Fills memory of the new device with what the host kept; whether it kept it.
    pub(super) fn restore(self: &Arc<Self>, gpu: &Arc<Gpu>) -> Result<bool> {
        let copy = lock(&self.held).copy.take();
        let Some(copy) = copy else { return Ok(false) };
        let fresh = gpu.upload(&copy)?;
        {
            let mut held = lock(&self.held);
            let mut new = lock(&fresh.held);
            std::mem::swap(&mut *held, &mut *new);
        }
        self.keep(&copy);
        Ok(true)
    }
}

impl Held {
    fn fill(&mut self, bytes: usize) -> Result<()> {
        let most = self.gpu.largest() as usize;
        let mut left = bytes;
        loop {
            let n = left.min(most);
            let b = self.gpu.memory.take(&self.gpu, n)?;
            self.blocks.push(b);
            left -= n;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

impl std::fmt::Debug for WgpuStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WgpuStorage({} bytes)", self.bytes)
    }
}

impl Storage for WgpuStorage {
    fn device(&self) -> DeviceId {
        self.id
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
    fn lent(&self) -> bool {
        let held = lock(&self.held);
        held.external.is_some() || held.texture.is_some()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for WgpuStorage {
    fn drop(&mut self) {
        self.forget_copy();
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        if held.external.is_some() {
            return;
        }
        // An encoder nobody answers for may be submitted yet.
        let kept = held.promise.as_ref().is_none_or(|p| p.state() == State::Kept);
        for b in held.blocks.drain(..) {
            if kept { held.gpu.memory.give(b) } else { held.gpu.memory.forget(b) }
        }
    }
}

/// A part of a value's memory.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) buffer: wgpu::Buffer,
    pub(super) id: u64,
    /// First byte: a multiple of [`ALIGN`].
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: u64,
    /// Where the value begins behind `offset`.
    pub(super) shift: u64,
    /// Buffers of `part_bytes` each, where there are several.
    pub(super) parts: Option<Arc<[(wgpu::Buffer, u64)]>>,
    pub(super) part_bytes: u64,
}

/// A range of one buffer, as a kernel binds it.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub buffer: wgpu::Buffer,
    pub id: u64,
    pub offset: u64,
    pub len: u64,
}

impl View {
    /// The value `bytes` further on.
    pub(super) fn moved(&self, bytes: usize) -> View {
        View { shift: self.shift + bytes as u64, ..self.clone() }
    }

    /// The part from byte `at` on, a multiple of [`ALIGN`].
    pub(super) fn part(&self, at: u64, len: u64) -> View {
        View { offset: self.offset + at, len, ..self.clone() }
    }

    /// All of it, if it lies in one buffer.
    pub(super) fn whole(&self) -> Option<Range> {
        self.range(self.offset, self.len)
    }

    /// So many bytes from byte `start` of the value's buffers on, if they lie in one buffer.
    pub(super) fn range(&self, start: u64, len: u64) -> Option<Range> {
        let Some(parts) = &self.parts else {
            return Some(Range { buffer: self.buffer.clone(), id: self.id, offset: start, len });
        };
        let (part, offset) = (start / self.part_bytes, start % self.part_bytes);
        let (buffer, id) = parts[part as usize].clone();
        (offset + len <= self.part_bytes).then_some(Range { buffer, id, offset, len })
    }

    /// So many bytes from byte `start` of the value's buffers on, buffer by buffer.
    pub(super) fn ranges(&self, mut start: u64, mut len: u64) -> SmallVec<[Range; 2]> {
        let mut all = SmallVec::new();
        while len > 0 {
            let n = if self.parts.is_some() { len.min(self.part_bytes - start % self.part_bytes) } else { len };
            all.extend(self.range(start, n));
            (start, len) = (start + n, len - n);
        }
        all
    }
}
