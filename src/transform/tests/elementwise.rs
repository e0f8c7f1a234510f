//! Scalar functions, select, cast.

use super::*;
use crate::trace::{Binary, Compare, Unary};

#[test]
fn every_unary_op() {
    let any = f64s(&[6], &[-2.3, -0.7, -0.2, 0.3, 0.8, 1.7]);
    let positive = f64s(&[4], &[0.2, 0.9, 1.6, 3.1]);
    let small = f64s(&[5], &[-0.9, -0.4, 0.1, 0.5, 0.8]);
    for u in Unary::ALL.iter().copied().filter(|u| u.accepts(DType::F64)) {
        let p = match u {
            Unary::Sqrt | Unary::Rsqrt | Unary::Log | Unary::Log2 | Unary::Log1p => &positive,
            Unary::Asin | Unary::Acos | Unary::Tan => &small,
            _ => &any,
        };
        let t = trace(std::slice::from_ref(p), |t, x| vec![t.unary(u, x[0])]);
        check_grads(&t, std::slice::from_ref(p), &[], 3).unwrap_or_else(|e| panic!("{}: {e}", u.name()));
    }
}

#[test]
fn every_binary_op() {
    let a = f64s(&[5], &[0.4, 1.3, 2.2, 0.7, 1.9]);
    let b = f64s(&[5], &[1.1, -0.6, 0.9, 2.4, -1.7]);
    for op in Binary::ALL.iter().copied().filter(|b| b.accepts(DType::F64)) {
        let name = op.name();
        let both = [a.clone(), b.clone()];
        for (what, t) in [
            ("both", trace(&both, |t, x| vec![t.binary(op, x[0], x[1])])),
            ("equal", trace(&both, |t, x| vec![t.binary(op, x[0], x[0]), t.neg(x[1])])),
            ("left", trace(&both, |t, x| vec![t.binary_const(op, x[0], 1.25), t.neg(x[1])])),
            (
                "right",
                trace(&both, |t, x| {
                    let c = t.constant_like(1.5, x[1]);
                    vec![t.binary(op, c, x[1])]
                }),
            ),
        ] {
            // x rem x jumps where max(x, x) merely bends: zero times the quotient's step.
            if what == "equal" && op == Binary::Rem {
                continue;
            }
            check_grads(&t, &both, &[], 2).unwrap_or_else(|e| panic!("{name} {what}: {e}"));
        }
    }
}

#[test]
fn powers_with_literal_exponents() {
    for n in [0.0, 1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 0.5, 1.7] {
        let p = [f64s(&[3], &[0.6, 1.4, 2.1])];
        let t = trace(&p, |t, x| vec![t.binary_const(Binary::Pow, x[0], n), t.neg(x[0])]);
        check_grads(&t, &p, &[], 3).unwrap_or_else(|e| panic!("{n}: {e}"));
    }
    let p = [f64s(&[2], &[-1.5, 3.0])];
    let t = trace(&p, |t, x| vec![t.binary_const(Binary::Pow, x[0], 2.0)]);
    assert_eq!(grads(&t, &p)[0], [-3.0, 6.0]);
    let t = trace(&p, |t, x| vec![t.binary_const(Binary::Pow, x[0], 0.0)]);
    assert_eq!(grads(&t, &p)[0], [0.0, 0.0]);
}

#[test]
fn powers_at_zero_and_of_negative_bases() {
    let p = [f64s(&[5], &[0.0, 0.0, 0.0, 0.0, -2.0]), f64s(&[5], &[0.0, 1.0, 2.0, 0.5, 3.0])];
    let t = trace(&p, |t, x| vec![t.binary(Binary::Pow, x[0], x[1])]);
    let g = grads(&t, &p);
    assert_eq!(g[0], [0.0, 1.0, 0.0, f64::INFINITY, 12.0]);
    assert_eq!(g[1][..4], [0.0; 4]);
    assert!(g[1][4].is_nan());
    // Second derivatives in the base alone are finite too.
    let q = [f64s(&[3], &[0.0, 0.0, 0.0]), f64s(&[3], &[0.0, 1.0, 2.0])];
    let mut t = trace(&q, |t, x| vec![t.binary(Binary::Pow, x[0], x[1])]);
    let (y, x0) = (t.outputs[0], t.inputs[0]);
    let g = grad(&mut t, y, x0);
    t.outputs = vec![grad(&mut t, g, x0)];
    assert_eq!(interpret(&t, &q, &[]).unwrap()[0].to_vec::<f64>(), [0.0, 0.0, 2.0]);
}

#[test]
fn points_without_a_derivative_follow_pytorch() {
    let at = |x: &[f64], f: &dyn Fn(&mut Trace, ValueId) -> ValueId| {
        let p = [f64s(&[x.len()], x)];
        let t = trace(&p, |t, x| vec![f(t, x[0])]);
        grads(&t, &p).remove(0)
    };
    assert_eq!(at(&[0.0, -1.0, 2.0], &|t, x| t.unary(Unary::Abs, x)), [0.0, -1.0, 1.0]);
    assert_eq!(at(&[0.0], &|t, x| t.unary(Unary::Sqrt, x)), [f64::INFINITY]);
    for u in [Unary::Sign, Unary::Floor, Unary::Ceil, Unary::Round, Unary::Trunc] {
        assert_eq!(at(&[0.0, 1.5, -2.0], &|t, x| t.unary(u, x)), [0.0; 3], "{}", u.name());
    }
    for (op, low, high) in [(Binary::Max, 0.0, 1.0), (Binary::Min, 1.0, 0.0)] {
        assert_eq!(at(&[-1.0, 0.0, 1.0], &|t, x| t.binary_const(op, x, 0.0)), [low, 0.5, high]);
        let p = [f64s(&[3], &[1.0, 2.0, 3.0]), f64s(&[3], &[1.0, 3.0, 2.0])];
        let g = grads(&trace(&p, |t, x| vec![t.binary(op, x[0], x[1])]), &p);
        assert_eq!(g, [vec![0.5, low, high], vec![0.5, high, low]]);
    }
    let p = [f64s(&[3], &[7.5, -7.5, 7.5]), f64s(&[3], &[2.0, 2.0, -2.0])];
    let g = grads(&trace(&p, |t, x| vec![t.binary(Binary::Rem, x[0], x[1])]), &p);
    assert_eq!(g, [vec![1.0; 3], vec![-3.0, 3.0, 3.0]]);
}

#[test]
fn select_keeps_nan_and_infinity_of_the_other_branch_out() {
    let p = [f64s(&[3], &[0.0, -1.0, 4.0])];
    let t = trace(&p, |t, x| {
        let zero = t.zeros_like(x[0]);
        let m = t.compare(Compare::Gt, x[0], zero);
        let one = t.constant_like(1.0, x[0]);
        let safe = t.select(m, x[0], one);
        let l = t.unary(Unary::Sqrt, safe);
        vec![t.select(m, l, zero)]
    });
    assert_eq!(grads(&t, &p)[0], [0.0, 0.0, 0.25]);
    // The branch itself is not entered: the cotangent of what is not taken is exactly 0.
    let q = [f64s(&[2], &[f64::INFINITY, 3.0]), f64s(&[2], &[2.0, f64::NAN])];
    let t = trace(&q, |t, x| {
        let m = t.compare(Compare::Lt, x[0], x[1]);
        vec![t.select(m, x[0], x[1])]
    });
    assert_eq!(grads(&t, &q), [vec![0.0, 0.0], vec![1.0, 1.0]]);
    check(&[points(&[4], 1), points(&[4], 2)], |t, x| {
        let m = t.compare(Compare::Lt, x[0], x[1]);
        let (a, b) = (t.mul(x[0], x[0]), t.mul(x[0], x[1]));
        t.select(m, a, b)
    });
    check(&[points(&[4], 1)], |t, x| {
        let zero = t.zeros_like(x[0]);
        let m = t.compare(Compare::Lt, x[0], zero);
        let s = t.mul(x[0], x[0]);
        t.select(m, zero, s)
    });
}

#[test]
fn casts_to_integers_have_no_derivative() {
    let p = [points(&[3], 0)];
    let t = trace(&p, |t, x| {
        let i = t.cast(x[0], DType::I64);
        let f = t.cast(i, DType::F64);
        vec![t.mul(f, x[0])]
    });
    let want: Vec<f64> = p[0].scalars().map(|x| x.as_f64().trunc()).collect();
    assert_eq!(grads(&t, &p)[0], want);
}
