//! Process totals that tests assert on and programs show.

use super::cache;
use crate::backend::{self, MemoryStats, counters};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static PLAN_HITS: AtomicU64 = AtomicU64::new(0);
static PLAN_MISSES: AtomicU64 = AtomicU64::new(0);
static PLAN_READS: AtomicU64 = AtomicU64::new(0);
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
    /// Of those, plans that were read from a file, where another process had left them: nothing was simplified, fused or emitted.
    pub plan_reads: u64,
    /// Plans in the cache.
    pub plans: u64,
    /// Bytes of the plan cache.
    pub plan_bytes: u64,
    /// Kernel launches.
    pub launches: u64,
    /// Times a thread was made to wait for a graphics device.
    pub waits: u64,
    /// Recipes computed because they had grown long.
    pub flushes: u64,
    /// Bytes tensors and running plans hold on all devices.
    pub bytes_live: u64,
    /// Bytes taken from the system, cached ones included.
    pub bytes_reserved: u64,
    /// Sum of the devices' largest `bytes_live` so far.
    pub bytes_peak: u64,
}

/// The totals so far.
pub fn stats() -> Stats {
    let m: Vec<MemoryStats> = backend::opened().into_iter().map(|d| backend::of(d).memory_stats()).collect();
    let sum = |f: fn(&MemoryStats) -> usize| m.iter().map(f).sum::<usize>() as u64;
    let (plans, plan_bytes) = cache::plans().size();
    Stats {
        compiles: counters::COMPILES.load(Relaxed),
        kernel_hits: counters::KERNEL_HITS.load(Relaxed),
        plan_hits: PLAN_HITS.load(Relaxed),
        plan_misses: PLAN_MISSES.load(Relaxed),
        plan_reads: PLAN_READS.load(Relaxed),
        plans: plans as u64,
        plan_bytes: plan_bytes as u64,
        launches: counters::LAUNCHES.load(Relaxed),
        waits: counters::WAITS.load(Relaxed),
        flushes: FLUSHES.load(Relaxed),
        bytes_live: sum(|m| m.live),
        bytes_reserved: sum(|m| m.reserved),
        bytes_peak: sum(|m| m.peak),
    }
}

pub(crate) fn looked_up(hit: bool) {
    if hit { &PLAN_HITS } else { &PLAN_MISSES }.fetch_add(1, Relaxed);
}

pub(super) fn read() {
    PLAN_READS.fetch_add(1, Relaxed);
}

pub(super) fn flushed() {
    FLUSHES.fetch_add(1, Relaxed);
}
