//! How long each kernel takes on the device, asked of it by timestamps: each launch in a pass of its own.

use super::gpu::{Gpu, lock};
use super::record::{Ready, dispatch};
use crate::base::Result;
use crate::base::error::{bail, err};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Launches of one submission.
const MOST: usize = 1024;

pub(super) struct Timing {
    possible: bool,
    wanted: AtomicBool,
    taken: Mutex<Vec<(Arc<str>, f64)>>,
}

impl Timing {
    pub(super) fn new(possible: bool) -> Timing {
        Timing { possible, wanted: AtomicBool::new(false), taken: Mutex::default() }
    }

    pub(super) fn on(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// Begins or ends it; returns what was taken: names and microseconds, in order.
    ///
    /// # Errors
    /// `Device` if the device has no timestamps.
    pub(super) fn switch(&self, on: bool) -> Result<Vec<(Arc<str>, f64)>> {
        if on && (!self.possible || cfg!(target_arch = "wasm32")) {
            bail!(Device, "wgpu: this device has no timestamps that can be waited for");
        }
        self.wanted.store(on, Relaxed);
        Ok(std::mem::take(&mut *lock(&self.taken)))
    }
}

impl Gpu {
    /// Submits launches, waits for them and notes their times.
    pub(super) fn timed(&self, ready: &[Ready]) -> Result<()> {
        use wgpu::BufferUsages as U;
        for part in ready.chunks(MOST) {
            let count = 2 * part.len() as u32;
            let set = self.device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count });
            let make = |usage| {
                self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: count as u64 * 8, usage, mapped_at_creation: false })
            };
            let (resolved, staging) = (make(U::QUERY_RESOLVE | U::COPY_SRC), make(U::COPY_DST | U::MAP_READ));
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            for (n, r) in part.iter().enumerate() {
                if let Ready::Copy { from, to } = r {
                    encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, from.len);
                    continue;
                }
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: &set,
                    beginning_of_pass_write_index: Some(2 * n as u32),
                    end_of_pass_write_index: Some(2 * n as u32 + 1),
                };
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) });
                dispatch(&mut pass, std::slice::from_ref(r));
            }
            encoder.resolve_query_set(&set, 0..count, &resolved, 0);
            encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, count as u64 * 8);
            let index = self.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., |_| {});
            let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: None };
            self.poll(wait)?;
            let stamps = staging.get_mapped_range(..).map_err(|e| err!(Device, "wgpu: timestamps cannot be read: {e}"))?;
            let period = self.queue.get_timestamp_period() as f64 * 1e-3;
            let at = |n: usize| stamps.get(8 * n..8 * n + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
            let mut taken = lock(&self.timing.taken);
            for (n, r) in part.iter().enumerate() {
                if let Ready::Launch { name, .. } = r {
                    taken.push((name.clone(), at(2 * n + 1).saturating_sub(at(2 * n)) as f64 * period));
                }
            }
        }
        Ok(())
    }
}
