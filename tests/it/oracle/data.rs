//! Operands: random and special values of every dtype.

use crate::rng::Rng;
use lazuli::trace::interp::HostTensor;
use lazuli::{DType, Scalar, Shape};

/// Values at which things go wrong.
pub fn specials(d: DType) -> Vec<Scalar> {
    let floats = |max: f64, least: f64, tiny: f64| {
        let inf = f64::INFINITY;
        let v = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            3.0,
            1e-3,
            88.5,
            -104.0,
            11.0,
            f64::NAN,
            inf,
            -inf,
            max,
            -max,
            least,
            tiny,
            -tiny,
        ];
        v.map(Scalar::Float).to_vec()
    };
    let ints = |list: &[i64]| list.iter().map(|&i| Scalar::Int(i)).collect();
    match d {
        DType::F32 => floats(f32::MAX as f64, f32::MIN_POSITIVE as f64, 1e-42),
        DType::F16 => floats(65504.0, 6.104e-5, 1.2e-7),
        DType::BF16 => floats(3.3895e38, 1.1755e-38, 1e-40),
        DType::F64 => floats(f64::MAX, f64::MIN_POSITIVE, 1e-310),
        DType::I32 => ints(&[0, 1, -1, 2, 3, -7, 31, 32, 33, i32::MAX as i64, i32::MIN as i64]),
        DType::I64 => ints(&[0, 1, -1, 2, 3, -7, 63, 64, 65, i64::MAX, i64::MIN, 1 << 40]),
        DType::U32 => ints(&[0, 1, 2, 3, 31, 32, 33, u32::MAX as i64, 1 << 31]),
        DType::U8 => ints(&[0, 1, 2, 7, 8, 9, 127, 128, 255]),
        _ => vec![Scalar::Bool(false), Scalar::Bool(true)],
    }
}

/// A random value of moderate size.
pub fn moderate(d: DType, r: &mut Rng) -> Scalar {
    match d {
        DType::Bool => Scalar::Bool(r.below(2) == 1),
        DType::U8 => Scalar::Int(r.below(256) as i64),
        DType::U32 => Scalar::Int(r.below(1000) as i64),
        d if d.is_int() => Scalar::Int(r.below(2001) as i64 - 1000),
        _ => Scalar::Float(r.float(-4.0, 4.0)),
    }
}

/// Random values, a third of them special.
pub fn wild(d: DType, shape: &Shape, r: &mut Rng) -> HostTensor {
    let list = specials(d);
    let n = shape.numel();
    let values: Vec<Scalar> = (0..n)
        .map(|_| match r.below(6) {
            0 | 1 => list[r.below(list.len())],
            2 if d.is_float() => Scalar::Float(r.float(-1.0, 1.0) * 10f64.powf(r.float(-6.0, 6.0))),
            2 if d.is_int() => Scalar::Int(r.bits() as i64),
            _ => moderate(d, r),
        })
        .collect();
    HostTensor::from_scalars(d, shape.clone(), values)
}

/// Moderate values only.
pub fn tame(d: DType, shape: &Shape, r: &mut Rng) -> HostTensor {
    HostTensor::from_scalars(d, shape.clone(), (0..shape.numel()).map(|_| moderate(d, r)).collect::<Vec<_>>())
}

/// Few different values, so that many are equal; NaN and both zeros among the floats.
pub fn ties(d: DType, shape: &Shape, r: &mut Rng) -> HostTensor {
    let mut list: Vec<Scalar> = (0..4).map(|_| moderate(d, r)).collect();
    if d.is_float() {
        list.extend([0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Scalar::Float));
    }
    HostTensor::from_scalars(d, shape.clone(), (0..shape.numel()).map(|_| list[r.below(list.len())]).collect::<Vec<_>>())
}

/// Indices in `lo..hi`.
pub fn indices(d: DType, shape: &Shape, lo: i64, hi: i64, r: &mut Rng) -> HostTensor {
    let n = (hi - lo).max(1) as usize;
    HostTensor::from_scalars(d, shape.clone(), (0..shape.numel()).map(|_| Scalar::Int(lo + r.below(n) as i64)).collect::<Vec<_>>())
}

/// Every special value against every other, then random pairs.
pub fn pairs(d: DType, r: &mut Rng) -> [HostTensor; 2] {
    let list = specials(d);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for &x in &list {
        for &y in &list {
            a.push(x);
            b.push(y);
        }
    }
    for _ in 0..200 {
        a.push(moderate(d, r));
        b.push(moderate(d, r));
    }
    let shape = Shape::new(&[a.len()]);
    [HostTensor::from_scalars(d, shape.clone(), a), HostTensor::from_scalars(d, shape, b)]
}

/// Every special value, then numbers over many orders of magnitude.
pub fn line(d: DType, r: &mut Rng) -> HostTensor {
    let mut v = specials(d);
    for _ in 0..500 {
        v.push(match d {
            d if d.is_float() => Scalar::Float(r.float(-1.0, 1.0) * 10f64.powf(r.float(-5.0, 3.0))),
            d if d.is_int() => Scalar::Int(r.bits() as i64 >> r.below(60)),
            _ => moderate(d, r),
        });
    }
    HostTensor::from_scalars(d, Shape::new(&[v.len()]), v)
}
