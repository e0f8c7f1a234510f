//! What the machine can do at best, measured in the same run: the floor under the times.

use super::control::{MULTIPLY_ADD_LANES, multiply_add, on_two_threads, read, triad};
use super::{Case, data, measure};
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Peaks of two threads.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// GB/s of the best stream: reading, or reading two and writing one by ordinary stores.
    pub gbps: f64,
    /// GFLOP/s of f32 multiply-adds in registers.
    pub gflops: f64,
}

impl Peaks {
    /// Milliseconds below which no implementation can be; 0 where neither flops nor bytes are counted. Work that fits the caches can
    /// be below.
    pub fn floor_ms(&self, case: &Case) -> f64 {
        (case.flop / self.gflops / 1e6).max(case.bytes / self.gbps / 1e6)
    }
}

/// Measures for about a second. Rounds are short, far under the time slices of an operating system, and many, so that some of them run
/// undisturbed on a busy machine.
pub fn peaks() -> Peaks {
    // Far larger than caches; a round takes the next part of it.
    const N: usize = 24 << 20;
    const PART: usize = 1 << 20;
    let (x, z) = (data::normal(N, 0, 1.0), vec![0.5f32; N]);
    let y = [0, 1].map(|_| Mutex::new(vec![1.0f32; N / 2]));
    let round_number = AtomicUsize::new(0);
    // This thread's part in this round, as an offset into its half.
    let at = || round_number.load(Relaxed) % (N / 2 / PART) * PART;
    let best = |work: &(dyn Fn(usize) + Sync), rounds: usize| {
        on_two_threads(work, |round| {
            (0..rounds).fold(f64::INFINITY, |best, i| {
                round_number.store(i, Relaxed);
                let start = Instant::now();
                round();
                best.min(measure::ms(start))
            })
        })
    };
    let of = |v: &'_ [f32], i: usize| -> std::ops::Range<usize> { i * v.len() / 2 + at()..i * v.len() / 2 + at() + PART };
    let reading = best(
        &|i| {
            black_box(read(&x[of(&x, i)]));
        },
        200,
    );
    let streaming = best(
        &|i| {
            let mut y = y[i].lock().unwrap_or_else(|e| e.into_inner());
            triad(&x[of(&x, i)], &z[of(&z, i)], &mut y[at()..at() + PART]);
        },
        200,
    );
    const TIMES: usize = 1 << 17;
    let arithmetic = best(
        &|_| {
            black_box(multiply_add(black_box(TIMES)));
        },
        500,
    );
    let bytes = 4.0 * 2.0 * PART as f64;
    Peaks {
        gbps: (bytes / reading).max(3.0 * bytes / streaming) / 1e6,
        gflops: 2.0 * 2.0 * (TIMES * MULTIPLY_ADD_LANES) as f64 / arithmetic / 1e6,
    }
}
