//! What the host pays to run a plan again. Run by name, it prints: `cargo test --release --features wgpu --test it -- --ignored replay --nocapture`.

use super::fresh;
use lazuli::prelude::*;

/// Nanoseconds this thread has run, where the system tells.
fn thread_ns() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}

/// Milliseconds of the thread's time on average, and of the clock's at best, for a plan of `kernels` small products.
pub fn cost(d: Device, kernels: usize) -> (f64, f64) {
    d.scope(|| {
        let side = 16;
        let w = Tensor::from_vec(crate::rng::Rng(1).floats(side * side, -0.2, 0.2), [side, side]);
        let x = Tensor::from_vec(crate::rng::Rng(2).floats(side * side, -1.0, 1.0), [side, side]);
        let chain = jit(move |x: Tensor| (0..kernels).fold(x, |x, _| x.matmul(&w)));
        for _ in 0..10 {
            chain(x.clone()).unwrap().eval().unwrap();
        }
        let launches = lazuli::stats().launches;
        chain(x.clone()).unwrap().eval().unwrap();
        assert_eq!(lazuli::stats().launches - launches, kernels as u64);
        d.synchronize().unwrap();
        let (mut submitting, mut wall) = (0.0, f64::INFINITY);
        const RUNS: usize = 300;
        let before = thread_ns();
        for _ in 0..RUNS {
            let t = std::time::Instant::now();
            let y = chain(x.clone()).unwrap();
            y.eval().unwrap();
            let took = t.elapsed().as_secs_f64() * 1e3;
            (submitting, wall) = (submitting + took, wall.min(took));
            d.synchronize().unwrap();
        }
        // With the waiting, which sleeps.
        let cpu = before.zip(thread_ns()).map_or(submitting / RUNS as f64, |(a, b)| (b - a) as f64 * 1e-6 / RUNS as f64);
        (cpu, wall)
    })
}

#[test]
#[ignore = "asserts nothing, prints times: cargo test --release --features wgpu --test it -- --ignored wgpu::replay --nocapture"]
fn replay() {
    let Some(d) = fresh("replay", |_| {}) else { return };
    for kernels in [1, 10, 100] {
        let (cpu, wall) = cost(d, kernels);
        println!("replay of {kernels} kernels: {cpu:.3} ms of thread time, {wall:.3} ms until submitted");
    }
}
