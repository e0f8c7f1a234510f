//! Process totals that tests assert on and programs show.

use super::cache;
use crate::backend::{self, counters};
use crate::base::DeviceId;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static PLAN_HITS: AtomicU64 = AtomicU64::new(0);
static PLAN_MISSES: AtomicU64 = AtomicU64::new(0);
static FLUSHES: AtomicU64 = AtomicU64::new(0);

/// What the engine has done since the process started, over all threads and devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Kernels compiled.
    pub compiles: u64,
    /// Kernels found in the kernel cache when a new plan was prepared.
    pub kernel_hits: u64,
    /// Evaluations that ran a cached plan.
    pub plan_hits: u64,
    /// Evaluations that had to make a plan.
    pub plan_misses: u64,
    /// Plans in the cache.
    pub plans: u64,
    /// Bytes of the plan cache.
    pub plan_bytes: u64,
    /// Kernel launches.
    pub launches: u64,
    /// Recipes computed because they had grown long.
    pub flushes: u64,
    /// Bytes tensors and running plans hold on the CPU device.
    pub bytes_live: u64,
    /// Bytes taken from the system, cached ones included.
    pub bytes_reserved: u64,
    /// Largest `bytes_live` so far.
    pub bytes_peak: u64,
}

/// The totals so far.
pub fn stats() -> Stats {
    let m = backend::of(DeviceId(0)).memory_stats();
    let (plans, plan_bytes) = cache::plans().size();
    Stats {
        compiles: counters::COMPILES.load(Relaxed),
        kernel_hits: counters::KERNEL_HITS.load(Relaxed),
        plan_hits: PLAN_HITS.load(Relaxed),
        plan_misses: PLAN_MISSES.load(Relaxed),
        plans: plans as u64,
        plan_bytes: plan_bytes as u64,
        launches: counters::LAUNCHES.load(Relaxed),
        flushes: FLUSHES.load(Relaxed),
        bytes_live: m.live as u64,
        bytes_reserved: m.reserved as u64,
        bytes_peak: m.peak as u64,
    }
}

pub(crate) fn looked_up(hit: bool) {
    if hit { &PLAN_HITS } else { &PLAN_MISSES }.fetch_add(1, Relaxed);
}

pub(super) fn flushed() {
    FLUSHES.fetch_add(1, Relaxed);
}
