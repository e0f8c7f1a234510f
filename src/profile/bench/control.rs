//! Hand-written loops for some of the cases: two threads, plain code that the compiler vectorises.
//!
//! Timed in the same run and printed beside the engine's times, so that a ratio can be trusted where a time cannot: both saw the same
//! machine. The mathematics is what the engine's kernels use in kind: a rational tanh, a polynomial exp. Results go to memory already
//! touched, by ordinary stores.

use super::measure::{self, Rules, Timing};
use super::{Case, data};
use crate::base::Result;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// Runs a function compiled for the widest vectors this processor has.
///
/// The bodies are `#[inline(always)]` functions with a const parameter that says whether fused multiply-add is one instruction.
macro_rules! widest {
    ($($(#[$doc:meta])* $name:ident = $body:ident($($arg:ident: $t:ty),*) -> $r:ty;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name($($arg: $t),*) -> $r {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                fn avx512($($arg: $t),*) -> $r { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $t),*) -> $r { $body::<true>($($arg),*) }
                let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                if fma
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                {
                    // SAFETY: the processor has all the features the function is compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if fma {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    )*};
}
widest! {
    chain = chain_body(x: &[f32], y: &mut [f32]) -> ();
    exp_sum = exp_sum_body(x: &[f32]) -> f64;
    softmax = softmax_body(x: &[f32], y: &mut [f32], row: usize) -> ();
    layer_norm = layer_norm_body(x: &[f32], y: &mut [f32], gamma: &[f32], beta: &[f32]) -> ();
    triad = triad_body(w: &[f32], g: &[f32], y: &mut [f32]) -> ();
    read = read_body(x: &[f32]) -> f32;
    multiply_add = multiply_add_body(times: usize) -> f32;
}

/// Partial sums kept side by side, so that adding is limited by throughput and not by latency.
const LANES: usize = 64;

#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` would be a call.
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The rational approximation that Eigen uses: odd numerator of degree 13 over even denominator of degree 6.
#[inline(always)]
fn tanh<const FMA: bool>(x: f32) -> f32 {
    let x = x.clamp(-7.905, 7.905);
    let s = x * x;
    let mut p = -2.760_768_5e-16f32;
    for c in [2.000_188e-13f32, -8.604_672e-11, 5.122_297_1e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3] {
        p = fma::<FMA>(p, s, c);
    }
    let mut q = 1.198_258_4e-6f32;
    for c in [1.185_347_1e-4f32, 2.268_434_6e-3, 4.893_525e-3] {
        q = fma::<FMA>(q, s, c);
    }
    x * p / q
}

/// `2^n * p(f)` with `x = (n + f) ln 2`, |f| <= 1/2; the polynomial is that of Cephes.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let t = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    let f = fma::<FMA>(n, 2.121_944_4e-4, fma::<FMA>(n, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_2e-3f32, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        p = fma::<FMA>(p, f, c);
    }
    let p = fma::<FMA>(p * f, f, f) + 1.0;
    p * f32::from_bits(t.to_bits().wrapping_add(127) << 23)
}

#[inline(always)]
fn chain_body<const FMA: bool>(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = fma::<FMA>(tanh::<FMA>(fma::<FMA>(x, 2.0, 1.0)), x, 0.5);
    }
}

#[inline(always)]
fn exp_sum_body<const FMA: bool>(x: &[f32]) -> f64 {
    let mut total = 0.0;
    // Blocks are summed in f64: a running f32 sum of millions loses digits.
    for block in x.chunks(4096) {
        total += fold(block, 0.0, |a, x| a + exp::<FMA>(-x * x), |a, b| a + b) as f64;
    }
    total
}

/// A reduction with [`LANES`] accumulators.
#[inline(always)]
fn fold(x: &[f32], start: f32, step: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for c in chunks {
        for (a, &x) in lanes.iter_mut().zip(c) {
            *a = step(*a, x);
        }
    }
    let mut all = start;
    for a in lanes {
        all = join(all, a);
    }
    rest.iter().fold(all, |a, &x| step(a, x))
}

#[inline(always)]
fn softmax_body<const FMA: bool>(x: &[f32], y: &mut [f32], row: usize) {
    for (x, y) in x.chunks_exact(row).zip(y.chunks_exact_mut(row)) {
        let max = |a: f32, b: f32| if b > a { b } else { a };
        let largest = fold(x, f32::NEG_INFINITY, max, max);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = exp::<FMA>(x - largest);
        }
        let scale = 1.0 / fold(y, 0.0, |a, b| a + b, |a, b| a + b);
        for y in y.iter_mut() {
            *y *= scale;
        }
    }
}

#[inline(always)]
fn layer_norm_body<const FMA: bool>(x: &[f32], y: &mut [f32], gamma: &[f32], beta: &[f32]) {
    let n = gamma.len();
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        let mean = fold(x, 0.0, |a, b| a + b, |a, b| a + b) / n as f32;
        let var = fold(x, 0.0, |a, b| fma::<FMA>(b - mean, b - mean, a), |a, b| a + b) / n as f32;
        let scale = 1.0 / (var + 1e-5).sqrt();
        for (((y, &x), &g), &b) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
            *y = fma::<FMA>((x - mean) * scale, g, b);
        }
    }
}

#[inline(always)]
fn triad_body<const FMA: bool>(w: &[f32], g: &[f32], y: &mut [f32]) {
    for ((y, &w), &g) in y.iter_mut().zip(w).zip(g) {
        *y = fma::<FMA>(g, -0.01, w);
    }
}

#[inline(always)]
fn read_body<const FMA: bool>(x: &[f32]) -> f32 {
    fold(x, 0.0, |a, b| a + b, |a, b| a + b)
}

/// `times` multiply-adds on each of 96 numbers, which stay in registers.
#[inline(always)]
fn multiply_add_body<const FMA: bool>(times: usize) -> f32 {
    let mut lanes = [0.5f32; MULTIPLY_ADD_LANES];
    for _ in 0..times {
        for a in &mut lanes {
            *a = fma::<FMA>(*a, 0.999, 0.001);
        }
    }
    lanes.iter().sum()
}

/// Numbers of [`multiply_add`].
pub(super) const MULTIPLY_ADD_LANES: usize = 96;

/// Two threads that share a piece of work over and over, handing over by spinning as an engine's workers do.
struct Pair {
    /// Rounds asked for; `usize::MAX` ends the helper.
    round: AtomicUsize,
    done: AtomicUsize,
}

/// Ends the helper also when the other thread panics.
struct End<'a>(&'a Pair);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.round.store(usize::MAX, Release);
    }
}

/// Calls `driver` with a function that runs `work(0)` here and `work(1)` on a second thread, and returns when both are done.
pub(super) fn on_two_threads<R>(work: impl Fn(usize) + Sync, driver: impl FnOnce(&mut dyn FnMut()) -> R) -> R {
    let pair = Pair { round: AtomicUsize::new(0), done: AtomicUsize::new(0) };
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut seen = 0;
            loop {
                match pair.round.load(Acquire) {
                    usize::MAX => return,
                    r if r != seen => {
                        seen = r;
                        work(1);
                        pair.done.store(r, Release);
                    }
                    _ => std::hint::spin_loop(),
                }
            }
        });
        let _end = End(&pair);
        let mut round = 0;
        driver(&mut || {
            round += 1;
            pair.round.store(round, Release);
            work(0);
            while pair.done.load(Acquire) != round {
                std::hint::spin_loop();
            }
        })
    })
}

/// Each thread's half of a result, already touched. The locks are never contended.
fn halves(n: usize) -> [Mutex<Vec<f32>>; 2] {
    [0, 1].map(|_| Mutex::new(vec![1.0; n / 2]))
}

fn half(x: &[f32], i: usize) -> &[f32] {
    let (a, b) = x.split_at(x.len() / 2);
    [a, b][i]
}

/// The hand-written time of a case, and the mean magnitude of its result; `None` if there is no control for it.
pub fn run(case: &Case, rules: &Rules) -> Option<Result<(Timing, f64)>> {
    const BIG: usize = 16 << 20;
    const ROWS: (usize, usize) = (4096, 1024);
    let out = |n| halves(n);
    let mean = |y: &[Mutex<Vec<f32>>; 2]| {
        let (mut sum, mut n) = (0.0, 0);
        for y in y {
            let y = y.lock().unwrap_or_else(|e| e.into_inner());
            sum += y.iter().map(|x| x.abs() as f64).sum::<f64>();
            n += y.len();
        }
        sum / n as f64
    };
    let timed = |work: &(dyn Fn(usize) + Sync), check: &dyn Fn() -> f64| {
        on_two_threads(work, |round| {
            measure::measure(
                rules,
                || {
                    round();
                    Ok(())
                },
                |()| Ok(check()),
            )
        })
    };
    macro_rules! lock {
        ($y:expr, $i:expr) => {
            &mut $y[$i].lock().unwrap_or_else(|e| e.into_inner())
        };
    }
    Some(match case.name {
        "ew_chain" => {
            let (x, y) = (data::normal(BIG, 0, 1.0), out(BIG));
            timed(&|i| chain(half(&x, i), lock!(y, i)), &|| mean(&y))
        }
        "ew_sum" => {
            let x = data::normal(BIG, 0, 1.0);
            let sums = [0, 1].map(|_| Mutex::new(0.0));
            timed(&|i| **lock!(sums, i) = exp_sum(half(&x, i)), &|| **lock!(sums, 0) + **lock!(sums, 1))
        }
        "sgd_triad" => {
            let (w, g, y) = (data::normal(BIG, 0, 1.0), data::normal(BIG, 1, 1.0), out(BIG));
            timed(&|i| triad(half(&w, i), half(&g, i), lock!(y, i)), &|| mean(&y))
        }
        "softmax" => {
            let n = ROWS.0 * ROWS.1;
            let (x, y) = (data::normal(n, 0, 1.0), out(n));
            timed(&|i| softmax(half(&x, i), lock!(y, i), ROWS.1), &|| mean(&y))
        }
        "layernorm_fwd" => {
            let n = ROWS.0 * ROWS.1;
            let (x, y) = (data::normal(n, 0, 1.0), out(n));
            let gamma: Vec<f32> = data::normal(ROWS.1, 1, 0.1).iter().map(|g| g + 1.0).collect();
            let beta = data::normal(ROWS.1, 2, 0.1);
            timed(&|i| layer_norm(half(&x, i), lock!(y, i), &gamma, &beta), &|| mean(&y))
        }
        "reduce_axis1" => {
            let (x, y) = (data::normal(8192 * 2048, 0, 1.0), out(8192));
            let rows = |x: &[f32], y: &mut [f32]| x.chunks_exact(2048).zip(y).for_each(|(x, y)| *y = read(x));
            timed(&|i| rows(half(&x, i), lock!(y, i)), &|| mean(&y))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_the_standard_library() {
        for i in -2000..=2000 {
            let x = i as f32 * 0.01;
            let (t, e) = (tanh::<false>(x), exp::<false>(x));
            assert!((t as f64 - (x as f64).tanh()).abs() < 6e-7, "tanh {x}: {t}");
            assert!((e as f64 / (x as f64).exp() - 1.0).abs() < 3e-7, "exp {x}: {e}");
        }
    }

    #[test]
    fn rows_are_normalised() {
        let x = data::normal(4 * 256, 3, 2.0);
        let mut y = vec![0.0; x.len()];
        softmax(&x, &mut y, 256);
        for (x, y) in x.chunks(256).zip(y.chunks(256)) {
            let largest = x.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = x.iter().map(|&x| ((x - largest) as f64).exp()).sum();
            assert!(x.iter().zip(y).all(|(&x, &y)| (y as f64 - ((x - largest) as f64).exp() / sum).abs() < 1e-6));
        }
        layer_norm(&x, &mut y, &[1.0; 256], &[0.0; 256]);
        for y in y.chunks(256) {
            let (mean, square) = (y.iter().sum::<f32>() / 256.0, y.iter().map(|y| y * y).sum::<f32>() / 256.0);
            assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
        }
    }

    #[test]
    fn both_halves_are_done_each_round() {
        let counts = [0, 1].map(|_| AtomicUsize::new(0));
        on_two_threads(
            |i| {
                counts[i].fetch_add(1, Relaxed);
            },
            |round| {
                for n in 1..=100 {
                    round();
                    assert_eq!([counts[0].load(Relaxed), counts[1].load(Relaxed)], [n, n]);
                }
            },
        );
    }
}
