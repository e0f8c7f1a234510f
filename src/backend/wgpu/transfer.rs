//! Between host and device memory: a ring of staging buffers each way, reads that wait and reads that do not.

use super::gpu::{Gpu, lock};
use super::memory::{View, WgpuStorage};
use crate::base::Result;
use crate::base::error::{bail, err};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

/// Bytes copied at a time.
const PIECE: usize = 16 << 20;
/// Smaller uploads are left to the queue's own staging.
const RING: usize = 64 << 10;
/// Bytes of free staging buffers kept each way.
const KEPT: u64 = 64 << 20;

/// Free staging buffers.
#[derive(Default)]
struct Free {
    list: Vec<wgpu::Buffer>,
    bytes: u64,
}

impl Free {
    fn take(&mut self, size: u64) -> Option<wgpu::Buffer> {
        let i = self.list.iter().position(|b| b.size() == size)?;
        self.bytes -= size;
        Some(self.list.swap_remove(i))
    }

    fn give(&mut self, b: wgpu::Buffer) {
        if self.bytes + b.size() <= KEPT {
            self.bytes += b.size();
            self.list.push(b);
        }
    }
}

#[derive(Default)]
pub(super) struct Transfers {
    /// Not mapped, for reads.
    down: Mutex<Free>,
    /// Mapped for writing.
    up: Arc<Mutex<Free>>,
    #[cfg(not(target_arch = "wasm32"))]
    poller: Mutex<Option<std::sync::mpsc::Sender<wgpu::SubmissionIndex>>>,
}

/// What becomes of a mapping, and who waits for it.
#[derive(Default)]
struct Answer {
    result: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

/// A mapping under way.
struct Mapping(Arc<Mutex<Answer>>);

impl Future for Mapping {
    type Output = Result<(), wgpu::BufferAsyncError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut a = lock(&self.0);
        match a.result.take() {
            Some(r) => Poll::Ready(r),
            None => {
                a.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A piece of a read that has been submitted.
struct Piece {
    staging: wgpu::Buffer,
    mapping: Mapping,
    index: wgpu::SubmissionIndex,
    /// Of the staging buffer: what is mapped, and where the value's bytes begin in it.
    words: u64,
    skip: usize,
}

fn size_of(bytes: u64) -> u64 {
    bytes.next_power_of_two().max(256)
}

impl Gpu {
    fn buffer(&self, size: u64, usage: wgpu::BufferUsages, mapped: bool) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor { label: Some("staging"), size, usage, mapped_at_creation: mapped })
    }

    /// A copy of host bytes.
    ///
    /// # Errors
    /// `Memory` if they do not fit.
    pub(super) fn upload(self: &Arc<Self>, bytes: &[u8]) -> Result<Arc<WgpuStorage>> {
        let s = WgpuStorage::new(self, bytes.len())?;
        if bytes.is_empty() {
            return Ok(s);
        }
        let view = s.view(self)?;
        let mut done = 0;
        for r in view.ranges(0, bytes.len() as u64) {
            let mut at = r.offset;
            let (mut rest, after) = (&bytes[done..][..r.len as usize], done + r.len as usize);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(PIECE));
                self.write(&r.buffer, at, now)?;
                (at, rest) = (at + now.len() as u64, later);
            }
            done = after;
        }
        Ok(s)
    }

    /// Writes bytes at a multiple of 4; up to 3 bytes behind them become zero.
    fn write(&self, to: &wgpu::Buffer, at: u64, bytes: &[u8]) -> Result<()> {
        let whole = bytes.len() / 4 * 4;
        let mut last = [0u8; 4];
        last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
        // On a borrowed device only the application submits.
        if bytes.len() < RING || self.borrowed {
            return self.guarded(|| {
                if whole > 0 {
                    self.queue.write_buffer(to, at, &bytes[..whole]);
                }
                if whole < bytes.len() {
                    self.queue.write_buffer(to, at + whole as u64, &last);
                }
            });
        }
        let words = bytes.len().next_multiple_of(4);
        let size = size_of(words as u64);
        let kept = lock(&self.transfers.up).take(size);
        let written = self.guarded(|| -> Result<()> {
            let staging = kept.unwrap_or_else(|| self.buffer(size, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC, true));
            {
                let mut range =
                    staging.get_mapped_range_mut(0..words as u64).map_err(|e| err!(Device, "wgpu: memory cannot be written: {e}"))?;
                range.slice(..whole).copy_from_slice(&bytes[..whole]);
                if whole < bytes.len() {
                    range.slice(whole..words).copy_from_slice(&last);
                }
            }
            staging.unmap();
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            encoder.copy_buffer_to_buffer(&staging, 0, to, at, words as u64);
            self.queue.submit([encoder.finish()]);
            // Once the copy is done it can be filled again.
            let (free, own): (Weak<Mutex<Free>>, _) = (Arc::downgrade(&self.transfers.up), staging.clone());
            staging.map_async(wgpu::MapMode::Write, .., move |r| {
                if let (Ok(()), Some(free)) = (r, free.upgrade()) {
                    lock(&free).give(own);
                }
            });
            Ok(())
        });
        // Hears of copies done.
        let _ = self.device.poll(wgpu::PollType::Poll);
        written?
    }

    /// Submits a copy of `out` bytes from byte `start` of a buffer, and asks for them.
    fn ask(&self, from: &wgpu::Buffer, start: u64, out: usize) -> Result<Piece> {
        // Copies are of whole words; a value may begin within one.
        let first = start / 4 * 4;
        let skip = (start - first) as usize;
        let words = (out + skip).next_multiple_of(4) as u64;
        let size = size_of(words);
        let kept = lock(&self.transfers.down).take(size);
        let answer = Arc::new(Mutex::new(Answer::default()));
        let heard = answer.clone();
        self.alive()?;
        self.guarded(|| {
            let staging = kept.unwrap_or_else(|| self.buffer(size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST, false));
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            encoder.copy_buffer_to_buffer(from, first, &staging, 0, words);
            let index = self.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, 0..words, move |r| {
                let waker = {
                    let mut a = lock(&heard);
                    a.result = Some(r);
                    a.waker.take()
                };
                if let Some(w) = waker {
                    w.wake();
                }
            });
            Piece { staging, mapping: Mapping(answer), index, words, skip }
        })
    }

    fn take(&self, p: Piece, answer: Result<(), wgpu::BufferAsyncError>, out: &mut [u8]) -> Result<()> {
        if let Err(e) = answer {
            self.alive()?;
            bail!(Device, "wgpu: memory cannot be read: {e}");
        }
        {
            let range = p.staging.get_mapped_range(0..p.words).map_err(|e| err!(Device, "wgpu: memory cannot be read: {e}"))?;
            out.copy_from_slice(&range[p.skip..p.skip + out.len()]);
        }
        p.staging.unmap();
        lock(&self.transfers.down).give(p.staging);
        // What a lost device left there is nothing.
        self.alive()
    }

    /// Copies `out.len()` bytes of a value to the host, after all submitted work.
    pub(super) fn read(&self, from: &View, out: &mut [u8]) -> Result<()> {
        self.alive()?;
        self.may_wait()?;
        let mut rest = out;
        for r in from.ranges(from.offset + from.shift, rest.len() as u64) {
            let mut at = r.offset;
            let end = r.offset + r.len;
            while at < end {
                let n = ((end - at) as usize).min(PIECE);
                let (now, later) = rest.split_at_mut(n);
                let p = self.ask(&r.buffer, at, n)?;
                let answer = self.answer(&p)?;
                self.take(p, answer, now)?;
                (at, rest) = (at + n as u64, later);
            }
        }
        Ok(())
    }

    /// Waits for a piece.
    fn answer(&self, p: &Piece) -> Result<Result<(), wgpu::BufferAsyncError>> {
        loop {
            self.alive()?;
            let wait = wgpu::PollType::Wait { submission_index: Some(p.index.clone()), timeout: None };
            self.poll(wait)?;
            if let Some(r) = lock(&p.mapping.0).result.take() {
                return Ok(r);
            }
            // Another thread's poll has taken the answer and is about to pass it on.
            std::thread::yield_now();
        }
    }

    /// Copies the first bytes of a value to the host without blocking whoever polls.
    pub(super) async fn read_later(self: Arc<Self>, s: Arc<dyn crate::base::Storage>, from: View, bytes: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; bytes];
        self.alive()?;
        let mut rest = &mut out[..];
        for r in from.ranges(from.offset + from.shift, bytes as u64) {
            let mut at = r.offset;
            let end = r.offset + r.len;
            while at < end {
                let n = ((end - at) as usize).min(PIECE);
                let (now, later) = rest.split_at_mut(n);
                let mut p = self.ask(&r.buffer, at, n)?;
                self.polled(&p.index)?;
                let answer = Pin::new(&mut p.mapping).await;
                self.take(p, answer, now)?;
                (at, rest) = (at + n as u64, later);
            }
        }
        drop(s);
        Ok(out)
    }

    /// Has the device asked until that submission is done; browsers do so themselves.
    #[cfg(target_arch = "wasm32")]
    fn polled(self: &Arc<Self>, _: &wgpu::SubmissionIndex) -> Result<()> {
        Ok(())
    }

    /// Has the device asked, by a thread of its own, until that submission is done.
    #[cfg(not(target_arch = "wasm32"))]
    fn polled(self: &Arc<Self>, index: &wgpu::SubmissionIndex) -> Result<()> {
        let mut poller = lock(&self.transfers.poller);
        let mut index = index.clone();
        if let Some(p) = &*poller {
            match p.send(index) {
                Ok(()) => return Ok(()),
                Err(e) => index = e.0,
            }
        }
        let (send, receive) = std::sync::mpsc::channel::<wgpu::SubmissionIndex>();
        let _ = send.send(index);
        let device = self.device.clone();
        let body = move || {
            while let Ok(i) = receive.recv() {
                let wait = wgpu::PollType::Wait { submission_index: Some(i), timeout: None };
                if device.poll(wait).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("lazuli-wgpu".into()).spawn(body).map_err(|e| err!(Device, "wgpu: no thread: {e}"))?;
        *poller = Some(send);
        Ok(())
    }
}
