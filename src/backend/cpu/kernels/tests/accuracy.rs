//! f32 functions against f64 ones, in units in the last place.

use super::super::{Isa, Scalars, TileOp, double, lookup_for};
use super::{EDGES, Rng, isas};
use crate::base::DType;
use crate::trace::elementwise::{Binary, Unary};
use std::ptr::null;

/// Units in the last place between `r` and the exact `y`; infinite where they differ in kind, or in the sign of a zero.
fn ulps(r: f32, y: f64) -> f64 {
    if y.is_nan() || r.is_nan() {
        return if y.is_nan() == r.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if y == 0.0 || y.is_infinite() {
        return if r as f64 == y && r.is_sign_negative() == y.is_sign_negative() { 0.0 } else { f64::INFINITY };
    }
    if r == 0.0 && r.is_sign_negative() != y.is_sign_negative() {
        return f64::INFINITY;
    }
    // An infinite result counts as the number after the greatest.
    let r = if r.is_infinite() { 2f64.powi(128).copysign(r as f64) } else { r as f64 };
    let y = y.clamp(-(2f64.powi(128)), 2f64.powi(128));
    let exponent = (((y.to_bits() >> 52) & 0x7ff) as i32 - 1023).clamp(-126, 127);
    (r - y).abs() / 2f64.powi(exponent - 23)
}

type Function = (Unary, fn(f64) -> f64);

const FUNCTIONS: &[Function] = &[
    (Unary::Recip, |x| 1.0 / x),
    (Unary::Sqrt, f64::sqrt),
    (Unary::Rsqrt, |x| 1.0 / x.sqrt()),
    (Unary::Exp, f64::exp),
    (Unary::Exp2, f64::exp2),
    (Unary::Expm1, f64::exp_m1),
    (Unary::Log, f64::ln),
    (Unary::Log2, f64::log2),
    (Unary::Log1p, f64::ln_1p),
    (Unary::Sin, f64::sin),
    (Unary::Cos, f64::cos),
    (Unary::Tan, f64::tan),
    (Unary::Asin, f64::asin),
    (Unary::Acos, f64::acos),
    (Unary::Atan, f64::atan),
    (Unary::Sinh, f64::sinh),
    (Unary::Cosh, f64::cosh),
    (Unary::Tanh, f64::tanh),
    (Unary::Erf, double::erf),
];

/// The worst error of `op` over `x`, and where.
fn worst_unary(isa: Isa, op: Unary, f: fn(f64) -> f64, x: &[f32]) -> (f64, f32) {
    let kernel = lookup_for(isa, TileOp::Unary(op, DType::F32), Scalars::NONE).unwrap();
    let mut y = vec![0f32; x.len()];
    // SAFETY: both have that many elements.
    unsafe { kernel(y.as_mut_ptr().cast(), x.as_ptr().cast(), null(), null(), x.len()) };
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let e = ulps(y, f(x as f64));
        if e > worst.0 {
            worst = (e, x);
        }
    }
    worst
}

/// Every exponent and sign with random mantissas, the special values, and more where functions bend.
fn arguments(per_exponent: usize, near: usize) -> Vec<f32> {
    let mut rng = Rng(1);
    let mut x: Vec<f32> = EDGES.iter().map(|&x| x as f32).collect();
    for high in 0..512u32 {
        for k in 0..per_exponent {
            let mantissa = match k {
                0 => 0,
                1 => 0x7f_ffff,
                _ => rng.next() as u32 & 0x7f_ffff,
            };
            x.push(f32::from_bits(high << 23 | mantissa));
        }
    }
    for k in 0..near {
        let scale = [1.0, 4.0, 30.0, 110.0, 5000.0][k % 5];
        x.push(((rng.unit() * 2.0 - 1.0) * scale) as f32);
    }
    x
}

#[test]
fn functions_within_two_ulp() {
    let x = arguments(24, 16_000);
    for isa in isas() {
        for &(op, f) in FUNCTIONS {
            let (e, at) = worst_unary(isa, op, f, &x);
            assert!(e <= 2.0, "{op:?} on {isa:?}: {e} ulp at {at:e} ({:#x})", at.to_bits());
        }
    }
}

/// The pairs on which the two-argument functions are checked.
fn pairs(n: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng(2);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for &a in &EDGES {
        for &b in &EDGES {
            x.push(a as f32);
            y.push(b as f32);
        }
    }
    for k in 0..n {
        let (a, b) = match k % 4 {
            // Any bits; positive bases with moderate exponents; bases near 1 with large ones; small whole numbers.
            0 => (f32::from_bits(rng.next() as u32), f32::from_bits(rng.next() as u32)),
            1 => ((rng.unit() * 20.0) as f32, (rng.unit() * 60.0 - 30.0) as f32),
            2 => ((1.0 + (rng.unit() - 0.5) * 0.01) as f32, ((rng.unit() - 0.5) * 2e4) as f32),
            _ => (rng.below(40) as f32 - 20.0, rng.below(40) as f32 - 20.0),
        };
        x.push(a);
        y.push(b);
    }
    (x, y)
}

fn worst_binary(isa: Isa, op: Binary, f: fn(f64, f64) -> f64, x: &[f32], y: &[f32]) -> (f64, f32, f32) {
    let kernel = lookup_for(isa, TileOp::Binary(op, DType::F32), Scalars::NONE).unwrap();
    let mut r = vec![0f32; x.len()];
    // SAFETY: all have that many elements.
    unsafe { kernel(r.as_mut_ptr().cast(), x.as_ptr().cast(), y.as_ptr().cast(), null(), x.len()) };
    let mut worst = (0.0, 0.0, 0.0);
    for ((&x, &y), &r) in x.iter().zip(y).zip(&r) {
        let e = ulps(r, f(x as f64, y as f64));
        if e > worst.0 {
            worst = (e, x, y);
        }
    }
    worst
}

type Paired = (Binary, fn(f64, f64) -> f64, f64);

/// With the greatest error allowed: division and fmod are exact.
const PAIRED: &[Paired] =
    &[(Binary::Pow, f64::powf, 2.0), (Binary::Atan2, f64::atan2, 2.0), (Binary::Rem, |x, y| x % y, 0.0), (Binary::Div, |x, y| x / y, 0.5)];

#[test]
fn functions_of_two_within_two_ulp() {
    let (x, y) = pairs(40_000);
    for isa in isas() {
        for &(op, f, limit) in PAIRED {
            let (e, a, b) = worst_binary(isa, op, f, &x, &y);
            assert!(e <= limit + 1e-6, "{op:?} on {isa:?}: {e} ulp at {a:e}, {b:e}");
        }
    }
}

#[test]
fn erf_of_f64() {
    // From mpmath.
    for (x, y) in [
        (1e-310, 1.1283791670955e-310),
        (1e-09, 1.1283791670955127e-09),
        (0.01, 0.011283415555849618),
        (0.3, 0.3286267594591274),
        (0.84, 0.7651427114549945),
        (0.85, 0.7706680576083526),
        (1.0, 0.8427007929497149),
        (1.2, 0.9103139782296353),
        (1.3, 0.9340079449406524),
        (2.0, 0.9953222650189527),
        (2.8, 0.9999249868053346),
        (2.9, 0.9999589021219005),
        (4.5, 0.9999999998033839),
        (5.9, 0.9999999999999999),
        (6.5, 1.0),
    ] {
        let e = (double::erf(x) - y).abs() / (y.abs() * f64::EPSILON).max(5e-324);
        assert!(e <= 1.0, "erf {x}: {e} epsilon");
        assert_eq!(double::erf(-x), -double::erf(x));
    }
    assert!(double::erf(f64::NAN).is_nan());
    assert_eq!(double::erf(f64::NEG_INFINITY), -1.0);
    assert_eq!(double::erf(-0.0).to_bits(), (-0.0f64).to_bits());
}

/// Prints the worst error of each function over every `LAZULI_STRIDE`-th float (all by default): a long run for changes of polynomials.
#[test]
#[ignore = "every float, minutes to hours: cargo test --release --lib -- --ignored survey --nocapture"]
fn survey() {
    let stride: u64 = std::env::var("LAZULI_STRIDE").map_or(1, |s| s.parse().unwrap());
    let only = std::env::var("LAZULI_OP").ok();
    for isa in isas() {
        for &(op, f) in FUNCTIONS {
            if only.as_ref().is_some_and(|o| o != op.name()) {
                continue;
            }
            let half = |from: u64| {
                let mut worst = (0.0, 0.0);
                let mut i = from << 31;
                while i < (from + 1) << 31 {
                    let x: Vec<f32> = (0..65536)
                        .map(|k| i + k * stride)
                        .take_while(|&b| b < (from + 1) << 31)
                        .map(|b| f32::from_bits(b as u32))
                        .collect();
                    let w = worst_unary(isa, op, f, &x);
                    if w.0 > worst.0 {
                        worst = w;
                    }
                    i += 65536 * stride;
                }
                worst
            };
            let (p, q) = std::thread::scope(|s| {
                let p = s.spawn(move || half(0));
                (half(1), p.join().unwrap())
            });
            let (e, at) = if p.0 > q.0 { p } else { q };
            println!("{isa:?} {:8} {e:.3} ulp at {at:e}", op.name());
        }
        let (x, y) = pairs((1u64 << 26).div_ceil(stride) as usize);
        for &(op, f, _) in PAIRED {
            let (e, a, b) = worst_binary(isa, op, f, &x, &y);
            println!("{isa:?} {:8} {e:.3} ulp at {a:e}, {b:e}", op.name());
        }
    }
}
