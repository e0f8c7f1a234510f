//! Every op to order 2 against central differences, and the conventions at points without a derivative.

mod conv;
mod coverage;
mod elementwise;
mod regions;
mod structure;

use super::{check_grads, jvp, vjp};
use crate::base::{DType, Scalar, Shape};
use crate::trace::interp::{HostTensor, interpret};
use crate::trace::verify::verify;
use crate::trace::{Trace, ValueId};

fn f64s(shape: &[usize], values: &[f64]) -> HostTensor {
    HostTensor::from_slice(shape, values).unwrap()
}

fn i64s(shape: &[usize], values: &[i64]) -> HostTensor {
    HostTensor::from_slice(shape, values).unwrap()
}

/// Distinct values in some -1.5..1.5, none near zero.
fn points(shape: &[usize], seed: usize) -> HostTensor {
    let n: usize = shape.iter().product();
    let v: Vec<f64> = (0..n)
        .map(|i| {
            let x = ((i * 7 + seed * 5) as f64 * 0.618_033_988_75).fract() * 3.0 - 1.5;
            x + 0.1 * x.signum()
        })
        .collect();
    f64s(shape, &v)
}

/// A trace with an input per point, and what `build` yields as outputs.
fn trace(points: &[HostTensor], build: impl FnOnce(&mut Trace, &[ValueId]) -> Vec<ValueId>) -> Trace {
    let mut t = Trace::new();
    let x: Vec<ValueId> = points.iter().map(|p| t.input(p.dtype, p.shape.clone())).collect();
    t.outputs = build(&mut t, &x);
    verify(&t).unwrap();
    t
}

/// Derivatives of one output to order 2.
#[track_caller]
fn check(points: &[HostTensor], build: impl FnOnce(&mut Trace, &[ValueId]) -> ValueId) {
    let t = trace(points, |t, x| vec![build(t, x)]);
    if let Err(e) = check_grads(&t, points, &[], 2) {
        panic!("{e}\n{}", show(&t));
    }
}

fn show(t: &Trace) -> String {
    t.insts.iter().enumerate().map(|(i, n)| format!("%{i} = {:?} {:?} {} {}\n", n.op, n.args, n.dtype, n.shape)).collect()
}

/// Gradients of the sum of the first output with respect to every input; zeros where there is none.
fn grads(t: &Trace, points: &[HostTensor]) -> Vec<Vec<f64>> {
    let mut t = t.clone();
    let y = t.outputs[0];
    let ones = t.constant_like(1.0, y);
    let wrt = t.inputs.clone();
    let g = vjp(&mut t, &[(y, ones)], &wrt).unwrap();
    t.outputs = g.iter().flatten().copied().collect();
    let mut out = interpret(&t, points, &[]).unwrap().into_iter();
    g.iter()
        .zip(points)
        .map(|(g, p)| g.and_then(|_| out.next()).map_or(vec![0.0; p.numel()], |v| v.scalars().map(Scalar::as_f64).collect()))
        .collect()
}

/// Appends the gradient of the sum of `y` with respect to `x`.
fn grad(t: &mut Trace, y: ValueId, x: ValueId) -> ValueId {
    let ones = t.constant_like(1.0, y);
    vjp(t, &[(y, ones)], &[x]).unwrap()[0].expect("a dependence")
}

fn scalar(t: &Trace, v: ValueId, points: &[HostTensor]) -> f64 {
    let mut t = t.clone();
    t.outputs = vec![v];
    interpret(&t, points, &[]).unwrap()[0].get(0).as_f64()
}

#[test]
fn total_derivatives_and_sums_of_seeds() {
    let x = [f64s(&[], &[0.5])];
    let mut t = trace(&x, |t, x| {
        let y = t.mul(x[0], x[0]);
        let z = t.mul(y, x[0]);
        vec![y, z]
    });
    let (x0, y, z) = (t.inputs[0], t.outputs[0], t.outputs[1]);
    let one = t.constant(Scalar::Float(1.0), DType::F64, &Shape::scalar());
    // z = y x = x^3: dz/dy = x with x held, dz/dx in all.
    let g = vjp(&mut t, &[(z, one)], &[y, x0, y]).unwrap();
    assert_eq!(g.iter().map(|g| scalar(&t, g.unwrap(), &x)).collect::<Vec<_>>(), [0.5, 0.75, 0.5]);
    // The output itself, and something it does not depend on.
    let g = vjp(&mut t, &[(y, one)], &[y, z]).unwrap();
    assert_eq!(g, [Some(one), None]);
    // Seeds 1 for x and 1 for y: y gets 2x + 1, z then (2x+1) x + y.
    let d = jvp(&mut t, &[(x0, one), (y, one)], &[y, z]).unwrap();
    assert_eq!(scalar(&t, d[0].unwrap(), &x), 2.0);
    assert_eq!(scalar(&t, d[1].unwrap(), &x), 1.25);
    // A seed that is its own result.
    assert_eq!(jvp(&mut t, &[(x0, one)], &[x0]).unwrap(), [Some(one)]);
}

#[test]
fn the_primal_part_stays_and_nothing_superfluous_is_left() {
    let x = [points(&[3], 0)];
    let mut t = trace(&x, |t, x| {
        let e = t.unary(crate::trace::Unary::Exp, x[0]);
        vec![t.reduce(crate::trace::Reduce::Sum, e, &[0])]
    });
    let before = t.clone();
    let (y, x0) = (t.outputs[0], t.inputs[0]);
    let one = t.constant(Scalar::Float(1.0), DType::F64, &Shape::scalar());
    let n = t.insts.len();
    vjp(&mut t, &[(y, one)], &[x0]).unwrap();
    assert_eq!(t.insts[..before.insts.len()], before.insts[..]);
    assert_eq!((&t.inputs, &t.outputs), (&before.inputs, &before.outputs));
    // Reshape to [1], broadcast, times e.
    assert_eq!(t.insts.len() - n, 3, "{}", show(&t));
}

#[test]
fn seeds_of_another_type_and_integers_are_refused() {
    use crate::base::ErrorKind;
    let x = [points(&[3], 0), i64s(&[3], &[1, 2, 3])];
    let mut t = trace(&x, |t, x| vec![t.neg(x[0]), t.neg(x[1])]);
    let (x0, x1, y0, y1) = (t.inputs[0], t.inputs[1], t.outputs[0], t.outputs[1]);
    let narrow = t.constant(Scalar::Float(1.0), DType::F32, &Shape::from([3]));
    let short = t.constant(Scalar::Float(1.0), DType::F64, &Shape::from([2]));
    let n = t.insts.len();
    assert_eq!(vjp(&mut t, &[(y0, narrow)], &[x0]).unwrap_err().kind(), ErrorKind::DType);
    assert_eq!(vjp(&mut t, &[(y0, short)], &[x0]).unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(vjp(&mut t, &[(y1, x1)], &[x1]).unwrap_err().kind(), ErrorKind::Gradient);
    assert_eq!(jvp(&mut t, &[(x1, x1)], &[y1]).unwrap_err().kind(), ErrorKind::Gradient);
    assert_eq!(t.insts.len(), n);
    assert_eq!(vjp(&mut t, &[(y0, x0)], &[x1]).unwrap(), [None]);
}

#[test]
fn third_derivative_of_tanh() {
    let x = [f64s(&[], &[2.0])];
    let mut t = trace(&x, |t, x| vec![t.unary(crate::trace::Unary::Tanh, x[0])]);
    let (mut y, x0) = (t.outputs[0], t.inputs[0]);
    let mut found = vec![];
    for _ in 0..3 {
        y = grad(&mut t, y, x0);
        found.push(scalar(&t, y, &x));
    }
    let y = 2f64.tanh();
    for (got, want) in found.iter().zip([1.0 - y * y, -2.0 * y * (1.0 - y * y), 0.252_654_05]) {
        assert!((got - want).abs() < 2e-8, "{found:?}");
    }
}

#[test]
fn ten_thousand_ops_in_linear_time() {
    let chain = |n: usize| {
        let x = [points(&[2], 0)];
        let t = trace(&x, |t, x| {
            let mut y = x[0];
            for i in 0..n {
                y = if i % 2 == 0 { t.unary(crate::trace::Unary::Sin, y) } else { t.add(y, x[0]) };
            }
            vec![y]
        });
        (t, x)
    };
    let (mut t, _) = chain(10_000);
    let (y, x0, n) = (t.outputs[0], t.inputs[0], t.insts.len());
    let ones = t.constant_like(1.0, y);
    vjp(&mut t, &[(y, ones)], &[x0]).unwrap();
    // Per pair of ops: a cosine, a product, a sum.
    assert!(t.insts.len() - n < 15_100, "{}", t.insts.len() - n);
    verify(&t).unwrap();
    let (t, x) = chain(30);
    check_grads(&t, &x, &[], 2).unwrap();
}

#[test]
fn derivatives_are_located_where_their_primal_was_recorded() {
    let here = std::panic::Location::caller();
    let x = [points(&[2], 0)];
    let mut t = trace(&x, |t, x| {
        let s = t.push(crate::trace::Op::Unary(crate::trace::Unary::Sin), &[x[0]], Some(here)).unwrap();
        vec![t.push(crate::trace::Op::Unary(crate::trace::Unary::Cos), &[s], Some(here)).unwrap()]
    });
    let (y, x0, n) = (t.outputs[0], t.inputs[0], t.insts.len());
    vjp(&mut t, &[(y, x0)], &[x0]).unwrap();
    assert!(t.insts.len() > n && t.insts[n..].iter().all(|i| i.site == Some(here)), "{}", show(&t));
}

#[test]
fn halves_and_f32_keep_their_dtype() {
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let mut t = Trace::new();
        let x = t.input(dtype, Shape::from([2]));
        let s = t.unary(crate::trace::Unary::Sqrt, x);
        let wide = t.cast(s, DType::F32);
        let m = t.mul(wide, wide);
        let y = t.cast(m, DType::F64);
        t.outputs = vec![y];
        let g = grad(&mut t, y, x);
        assert_eq!(t.dtype(g), dtype);
        t.outputs = vec![g];
        let x = HostTensor::from_scalars(dtype, Shape::from([2]), [4.0, 0.25].map(Scalar::Float));
        assert_eq!(interpret(&t, &[x], &[]).unwrap()[0].to_vec::<f64>(), [1.0, 1.0]);
    }
}

#[test]
fn a_wrong_derivative_is_found() {
    use crate::trace::{Op, Region, RegionKind};
    // A rule that says 2 dx for exp.
    let x = [points(&[2], 1)];
    let body = trace(&x, |t, x| vec![t.unary(crate::trace::Unary::Exp, x[0])]);
    let rule = trace(&[x[0].clone(), x[0].clone()], |t, x| vec![t.add(x[1], x[1])]);
    let t = trace(&x, |t, x| {
        let region = Region { kind: RegionKind::CustomJvp(rule.into()), body: body.into() };
        let r = t.apply(Op::Region(region.into()), &[x[0]]);
        vec![t.push_typed(Op::Output(0), &[r], DType::F64, Shape::from([2]), None)]
    });
    let e = check_grads(&t, &x, &[], 1).unwrap_err();
    assert!(e.message().contains("central differences"), "{e}");
}
