//! Timings, printed, never asserted: `cargo test --release -- --ignored --nocapture bench`.

use super::contractions::{Conv, conv, matmul, plain_conv, scatter};
use super::pointwise::chain;
use super::reductions::{layer_norm, reduce, softmax};
use super::*;
use crate::trace::Reduce;
use std::time::Instant;

/// Processor time of all threads, which says more than wall time where other programs run.
fn cpu_seconds() -> f64 {
    #[cfg(target_os = "linux")]
    {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the place is valid for writing.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
        t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
    }
    #[cfg(not(target_os = "linux"))]
    0.0
}

/// `gemm` alone, for comparison.
fn gemm_alone(n: usize) {
    let (a, b, mut c) = (vec![0.5f32; n * n], vec![0.25f32; n * n], vec![0f32; n * n]);
    let mut busy = f64::MAX;
    for _ in 0..8 {
        let used = cpu_seconds();
        let s = n as isize;
        let f = |p: *const f32| p as *mut u8;
        // SAFETY: square matrices of n * n elements.
        unsafe {
            crate::backend::cpu::matmul::gemm_block(
                DType::F32,
                (n, n, n),
                (c.as_mut_ptr().cast(), s, 1),
                (f(a.as_ptr()), s, 1),
                (f(b.as_ptr()), s, 1),
            )
        };
        busy = busy.min(cpu_seconds() - used);
    }
    println!("gemm alone {n}: processor {:.1} us", busy * 1e6);
}

/// Taking and giving back a small buffer.
fn small_buffers() {
    let start = Instant::now();
    for _ in 0..100_000 {
        std::hint::black_box(crate::backend::cpu::MEMORY.storage(64).unwrap());
    }
    println!("buffer of 64 bytes: {:.1} ns", start.elapsed().as_secs_f64() * 1e9 / 1e5);
}

fn time(name: &str, k: &Kernel, rounds: usize) {
    let start = Instant::now();
    let exe = CpuExecutable::new(&schedule(std::slice::from_ref(k))).unwrap();
    let cold = start.elapsed();
    let start = Instant::now();
    drop(CpuExecutable::new(&schedule(std::slice::from_ref(k))).unwrap());
    let warm = start.elapsed();
    let inputs: Vec<_> = k
        .args
        .iter()
        .filter(|a| a.access != Access::Write)
        .map(|a| {
            let bytes: Vec<u8> = match a.dtype {
                DType::F32 => (0..a.numel).flat_map(|i| ((i % 97) as f32 * 0.01 - 0.5).to_ne_bytes()).collect(),
                DType::I64 => (0..a.numel).flat_map(|i| ((i as i64 * 7919) % 1000).to_ne_bytes()).collect(),
                _ => vec![0; a.numel * a.dtype.size()],
            };
            crate::backend::cpu::device().upload(&bytes).unwrap()
        })
        .collect();
    let (mut best, mut busy) = (f64::MAX, f64::MAX);
    for _ in 0..rounds {
        let (start, used) = (Instant::now(), cpu_seconds());
        let out = exe.run(&inputs, &vec![Scalar::Float(1.0); k.params.len()]).unwrap();
        best = best.min(start.elapsed().as_secs_f64());
        busy = busy.min(cpu_seconds() - used);
        drop(out);
    }
    println!(
        "{name:28} {:10.1} us, processor {:10.1} us   prepare {:6.1} us, again {:6.1} us",
        best * 1e6,
        busy * 1e6,
        cold.as_secs_f64() * 1e6,
        warm.as_secs_f64() * 1e6
    );
}

fn transpose_add(n: usize) -> Kernel {
    let mut t =
        Text::new("pointwise", &[(n, false), (n, false)], &format!("a0: read f32[{0}], a1: read f32[{0}], a2: write f32[{0}]", n * n), "");
    let (i, j) = (t.ix(&[n as i64, 1], 0), t.ix(&[1, n as i64], 0));
    let x = t.e("f32", &format!("load a0[{j}]"));
    let y = t.e("f32", &format!("load a1[{i}]"));
    let z = t.e("f32", &format!("add {x}, {y}"));
    t.pass(false, &[format!("a2[{i}] = {z}")]);
    t.build()
}

fn long_chain(ops: usize, n: usize) -> Kernel {
    let mut t = Text::new("pointwise", &[(n, false)], &format!("a0: read f32[{n}], a1: write f32[{n}]"), "");
    let i = t.ix(&[1], 0);
    let x = t.e("f32", &format!("load a0[{i}]"));
    let mut y = x.clone();
    let c = t.e("f32", "const 0.75");
    for k in 0..ops {
        y = if k % 2 == 0 { t.e("f32", &format!("mul {y}, {c}")) } else { t.e("f32", &format!("add {y}, {x}")) };
    }
    t.pass(false, &[format!("a1[{i}] = {y}")]);
    t.build()
}

fn gather(rows: usize, cols: usize, picks: usize) -> Kernel {
    let mut t = Text::new(
        "pointwise",
        &[(picks, false), (cols, false)],
        &format!("a0: read f32[{}], a1: read i64[{picks}], a2: write f32[{}]", rows * cols, picks * cols),
        "",
    );
    let at = t.ix(&[1, 0], 0);
    let k = t.e("i64", &format!("load a1[{at}]"));
    let v = t.n(&format!("value {k} clamp {rows}"));
    let v = t.n(&format!("{v} * {cols}"));
    let c = t.n("i1");
    let s = t.n(&format!("{v} + {c}"));
    let o = t.ix(&[cols as i64, 1], 0);
    let x = t.e("f32", &format!("load a0[{s}]"));
    t.pass(false, &[format!("a2[{o}] = {x}")]);
    t.build()
}

#[test]
#[ignore = "asserts nothing, prints times: cargo test --release --lib -- --ignored cpu::tests::bench --nocapture"]
fn timings() {
    println!("{}", crate::backend::cpu::device().describe());
    small_buffers();
    gemm_alone(1024);
    time("tiny chain 16", &chain(16), 2000);
    time("chain 1000 ops x 16", &long_chain(1000, 16), 500);
    time("ew_chain 16Mi", &chain(1 << 24), 15);
    time("ew_sum 16Mi", &reduce(Reduce::Sum, "f32", 1, 1 << 24, false), 15);
    time("softmax 4096x1024", &softmax(4096, 1024, "f32"), 15);
    time("layer_norm 4096x1024", &layer_norm(4096, 1024), 15);
    time("chain 256Ki", &chain(1 << 18), 200);
    time("softmax 100000x64", &softmax(100_000, 64, "f32"), 10);
    time("softmax 100000x10", &softmax(100_000, 10, "f32"), 15);
    time("column sum 8192x2048", &reduce(Reduce::Sum, "f32", 8192, 2048, true), 15);
    time("row sum 8192x2048", &reduce(Reduce::Sum, "f32", 8192, 2048, false), 15);
    time("transpose_add 4096", &transpose_add(4096), 8);
    time("gather 16384 of 1000x256", &gather(1000, 256, 16_384), 10);
    time("scatter_add 16384x256", &scatter("add", "f32", 1000, 256, 16_384), 10);
    time("matmul 1024", &matmul("f32", 1, 1024, 1024, 1024, false, false, false, false), 10);
    time("matmul 1024 epilogue", &matmul("f32", 1, 1024, 1024, 1024, false, false, false, true), 10);
    time("matmul 128x784x512", &matmul("f32", 1, 128, 512, 784, false, false, false, true), 50);
    time("matmul 784x128x512 T", &matmul("f32", 1, 784, 512, 128, true, false, false, false), 50);
    time("matmul 128x512x10", &matmul("f32", 1, 128, 10, 512, false, false, false, true), 50);
    time("bmm 64x128x128x64", &matmul("f32", 64, 128, 128, 64, false, true, false, false), 20);
    let c = Conv { batch: 1, channels: 64, outputs: 64, input: vec![56, 56], ..plain_conv() };
    time("conv 64x56x56 b1", &conv("f32", &c, true), 20);
    time("conv 64x56x56 b16", &conv("f32", &Conv { batch: 16, ..c.clone() }, true), 5);
    time("conv depthwise 64", &conv("f32", &Conv { groups: 64, ..c }, true), 10);
}
