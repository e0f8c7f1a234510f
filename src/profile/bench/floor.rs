//! What the machine can do at best, measured in the same run: the floor under the times.

use super::control::{MULTIPLY_ADD_LANES, multiply_add, on_two_threads, read, triad};
use super::{Case, data, measure};
use std::hint::black_box;
use std::sync::Mutex;
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

/// Measures for about half a second.
pub fn peaks() -> Peaks {
    // Far larger than caches.
    const N: usize = 24 << 20;
    let (x, z) = (data::normal(N, 0, 1.0), vec![0.5f32; N]);
    let y = [0, 1].map(|_| Mutex::new(vec![1.0f32; N / 2]));
    let part = |i: usize| i * (N / 2)..(i + 1) * (N / 2);
    let best = |work: &(dyn Fn(usize) + Sync), repeats: usize| {
        on_two_threads(work, |round| {
            round();
            (0..repeats).fold(f64::INFINITY, |best, _| {
                let start = Instant::now();
                round();
                best.min(measure::ms(start))
            })
        })
    };
    let reading = best(&|i| drop(black_box(read(&x[part(i)]))), 8);
    let streaming = best(&|i| triad(&x[part(i)], &z[part(i)], &mut y[i].lock().unwrap_or_else(|e| e.into_inner())), 8);
    const TIMES: usize = 1 << 20;
    let arithmetic = best(&|_| drop(black_box(multiply_add(black_box(TIMES)))), 12);
    let bytes = 4.0 * N as f64;
    Peaks {
        gbps: (bytes / reading).max(3.0 * bytes / streaming) / 1e6,
        gflops: 2.0 * 2.0 * (TIMES * MULTIPLY_ADD_LANES) as f64 / arithmetic / 1e6,
    }
}
