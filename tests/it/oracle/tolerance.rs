//! How far a device may be from the interpreter, which computes every op in f64 and rounds once.
//!
//! | class | f32 | f64 | f16, bf16 | what |
//! | --- | --- | --- | --- | --- |
//! | `Exact` | 0 | 0 | 0 | moves, comparisons, integers, + - * / sqrt, roundings; -0 differs from 0 |
//! | `Choice` | 0 | 0 | 0 | maximum, minimum, sorting: which of 0 and -0 is open |
//! | `Function` | 3 ulp | 4 ulp | 1 ulp | exp, log, sin, ... |
//! | `Power` | 4 ulp | 4 ulp | 1 ulp | pow, atan2, and 1/sqrt |
//! | `Sum` | 1e-6 s | 1e-14 s | 1 ulp + 1e-6 s | sums, products of matrices, convolutions; s is the sum of the terms' magnitudes |
//! | `Scatter` | 1e-6 s | 1e-14 s | 4 ulp of s | scattered sums, whose halves may be rounded at each step |
//! | `Product` | 1e-5 r | 1e-13 r | 1 ulp + 1e-5 r | products; r is the result's magnitude |

use lazuli::trace::interp::HostTensor;
use lazuli::{DType, Scalar};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Exact,
    Choice,
    Function,
    Power,
    Sum,
    Scatter,
    Product,
}

impl Class {
    pub fn accumulates(self) -> bool {
        matches!(self, Class::Sum | Class::Scatter)
    }

    /// Units in the last place, and a factor for the terms' (or result's) magnitude.
    fn limits(self, d: DType) -> (f64, f64) {
        let half = matches!(d, DType::F16 | DType::BF16);
        match (self, d) {
            (Class::Exact | Class::Choice, _) => (0.0, 0.0),
            (Class::Function | Class::Power, _) if half => (1.0, 0.0),
            (Class::Function, DType::F64) => (4.0, 0.0),
            (Class::Function, _) => (3.0, 0.0),
            (Class::Power, _) => (4.0, 0.0),
            (Class::Scatter, DType::F16) => (0.0, 4.0 / 1024.0),
            (Class::Scatter, DType::BF16) => (0.0, 4.0 / 128.0),
            (Class::Sum | Class::Scatter, DType::F64) => (0.0, 1e-14),
            (Class::Sum | Class::Scatter, _) => (half as u8 as f64, 1e-6),
            (Class::Product, DType::F64) => (0.0, 1e-13),
            (Class::Product, _) => (half as u8 as f64, 1e-5),
        }
    }
}

/// The distance between neighbours at `x`, and the largest finite value.
fn ulp(d: DType, x: f64) -> (f64, f64) {
    let (mantissa, least, max) = match d {
        DType::F64 => (53, -1074, f64::MAX),
        DType::F16 => (11, -24, 65504.0),
        DType::BF16 => (8, -133, 3.3895313892515355e38),
        _ => (24, -149, f32::MAX as f64),
    };
    let e = if x == 0.0 || !x.is_finite() { least } else { (x.abs().log2().floor() as i32 - mantissa + 1).max(least) };
    (2f64.powi(e.max(-1022)) * if e < -1022 { 2f64.powi(e + 1022) } else { 1.0 }, max)
}

/// The operand with which an accumulating op yields the size of its terms.
pub fn magnitude(x: &HostTensor) -> HostTensor {
    if !x.dtype.is_float() {
        return x.clone();
    }
    HostTensor::from_scalars(x.dtype, x.shape.clone(), x.scalars().map(|s| Scalar::Float(s.as_f64().abs())).collect::<Vec<_>>())
}

/// Below, a device may take a number of that type for zero: half types are computed in f32, in which those of f16 are normal.
pub fn least_normal(d: DType) -> f64 {
    match d {
        DType::F32 | DType::BF16 => f32::MIN_POSITIVE as f64,
        DType::F64 => f64::MIN_POSITIVE,
        _ => 0.0,
    }
}

/// Whether two results are both zero or subnormal.
fn flushed(d: DType, x: f64, y: f64) -> bool {
    let small = |v: f64| v.abs() < least_normal(d);
    small(x) && small(y) && (x != 0.0 || y != 0.0) && (x == 0.0 || y == 0.0)
}

/// `graphics`: the device may take subnormal numbers for zero.
pub fn compare(got: &HostTensor, want: &HostTensor, scale: Option<&HostTensor>, class: Class, graphics: bool) -> Result<(), String> {
    if got.dtype != want.dtype || got.shape != want.shape {
        return Err(format!("{} {}, expected {} {}", got.dtype, got.shape, want.dtype, want.shape));
    }
    let d = want.dtype;
    let (ulps, factor) = class.limits(d);
    let (mut count, mut first) = (0, None);
    for (i, (g, w)) in got.scalars().zip(want.scalars()).enumerate() {
        let good = if d.is_float() {
            let (x, y) = (g.as_f64(), w.as_f64());
            let size = scale.map_or(y.abs(), |s| s.get(i).as_f64());
            if x.is_nan() || y.is_nan() {
                x.is_nan() && y.is_nan()
            } else if graphics && flushed(d, x, y) {
                true
            } else if x == y {
                class != Class::Exact || x.is_sign_negative() == y.is_sign_negative()
            } else {
                let (unit, max) = ulp(d, y);
                // An infinity counts as one step beyond the largest value.
                let finite = |v: f64| if v.is_infinite() { max.copysign(v) } else { v };
                let step = if x.is_infinite() != y.is_infinite() { ulp(d, max).0 } else { 0.0 };
                let limit =
                    ulps * unit.max(if y.is_infinite() { ulp(d, max).0 } else { 0.0 }) + if size.is_finite() { factor * size } else { 0.0 };
                (finite(x) - finite(y)).abs() + step <= limit
            }
        } else {
            g.same(w)
        };
        if !good {
            count += 1;
            first.get_or_insert((i, g, w));
        }
    }
    match first {
        None => Ok(()),
        Some((i, g, w)) => Err(format!("{count} of {} elements off, first at {i}: {g:?}, expected {w:?}", got.numel())),
    }
}

/// Two infinities of different dtypes and the table above are easy to get wrong.
#[test]
fn ulps() {
    assert_eq!(ulp(DType::F32, 1.0).0, f32::EPSILON as f64);
    assert_eq!(ulp(DType::F32, 1e-44).0, 2f64.powi(-149));
    assert_eq!(ulp(DType::F16, 1.0).0, 2f64.powi(-10));
    assert_eq!(ulp(DType::BF16, 1.0).0, 2f64.powi(-7));
    assert_eq!(ulp(DType::F64, 0.0).0, f64::from_bits(1));
    let t = |x: f64| HostTensor::from_scalars(DType::F32, lazuli::Shape::scalar(), [Scalar::Float(x)]);
    assert!(compare(&t(f64::INFINITY), &t(f32::MAX as f64), None, Class::Function, false).is_ok());
    assert!(compare(&t(f64::INFINITY), &t(1e30), None, Class::Function, false).is_err());
    assert!(compare(&t(f64::INFINITY), &t(f64::NEG_INFINITY), None, Class::Function, false).is_err());
    assert!(compare(&t(0.0), &t(-0.0), None, Class::Exact, false).is_err());
    assert!(compare(&t(0.0), &t(-0.0), None, Class::Choice, false).is_ok());
    assert!(compare(&t(1.0), &t(1.0 + 2f64.powi(-23)), None, Class::Exact, false).is_err());
}
