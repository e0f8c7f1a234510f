//! Checkpoints and custom rules.

use super::*;
use crate::base::ErrorKind;
use crate::trace::{Binary, Op, Reduce, Region, RegionKind, Unary};

/// Appends a region and the readings of all its outputs.
fn region(t: &mut Trace, kind: RegionKind, body: Trace, args: &[ValueId]) -> Vec<ValueId> {
    let types: Vec<(DType, Shape)> = body.outputs.iter().map(|&o| (body.dtype(o), body.shape(o).clone())).collect();
    let r = t.apply(Op::Region(Region { kind, body: body.into() }.into()), args);
    types.into_iter().enumerate().map(|(k, (d, s))| t.push_typed(Op::Output(k as u32), &[r], d, s, None)).collect()
}

/// sin(x) y and its sum, from x and y.
fn two_outputs(p: &[HostTensor]) -> Trace {
    trace(p, |t, x| {
        let s = t.unary(Unary::Sin, x[0]);
        let m = t.mul(s, x[1]);
        vec![m, t.reduce(Reduce::Sum, m, &[0])]
    })
}

#[test]
fn checkpoints() {
    let p = [points(&[3], 1), points(&[3], 2)];
    let body = two_outputs(&p);
    check(&p, |t, x| {
        let o = region(t, RegionKind::Checkpoint(0), body.clone(), &[x[0], x[1]]);
        let b = t.broadcast(o[1], &Shape::from([3]));
        t.mul(o[0], b)
    });
    // One output read; one operand fixed; the same operand twice.
    check(&p, |t, x| {
        let o = region(t, RegionKind::Checkpoint(0), body.clone(), &[x[0], x[0]]);
        t.mul(o[0], x[1])
    });
    check(&p[..1], |t, x| {
        let c = t.constant_like(0.7, x[0]);
        region(t, RegionKind::Checkpoint(0), body.clone(), &[x[0], c])[1]
    });
    // An operand that is passed through.
    check(&p, |t, x| {
        let id = trace(&p, |t, x| vec![x[1], t.mul(x[0], x[1]), x[0]]);
        let o = region(t, RegionKind::Checkpoint(0), id, &[x[0], x[1]]);
        let s = t.mul(o[0], o[1]);
        t.mul(s, o[2])
    });
}

#[test]
fn checkpoints_that_keep_values() {
    let p = [points(&[3], 1), points(&[3], 2)];
    // Results: tanh(exp(sin(x)) y); kept: sin(x), and the product.
    let body = trace(&p, |t, x| {
        let s = t.unary(Unary::Sin, x[0]);
        let e = t.unary(Unary::Exp, s);
        let m = t.mul(e, x[1]);
        vec![t.unary(Unary::Tanh, m), s, m]
    });
    for saved in [1, 2] {
        check(&p, |t, x| {
            let o = region(t, RegionKind::Checkpoint(saved), body.clone(), &[x[0], x[1]]);
            t.mul(o[0], x[1])
        });
        // A kept value that is also read.
        check(&p, |t, x| {
            let o = region(t, RegionKind::Checkpoint(saved), body.clone(), &[x[0], x[1]]);
            t.mul(o[0], o[2])
        });
    }
    let mut t = trace(&p, |t, x| vec![region(t, RegionKind::Checkpoint(2), body, &[x[0], x[1]])[0]]);
    let (y, x0) = (t.outputs[0], t.inputs[0]);
    grad(&mut t, y, x0);
    verify(&t).unwrap();
    let Some(Op::Region(r)) = t.insts.iter().rev().map(|i| &i.op).find(|o| matches!(o, Op::Region(_))) else { panic!("{}", show(&t)) };
    let has = |u: Unary| r.body.insts.iter().any(|i| i.op == Op::Unary(u));
    assert!(!has(Unary::Sin) && has(Unary::Exp) && has(Unary::Tanh), "{}", show(&r.body));
}

#[test]
fn nested_checkpoints_to_third_order() {
    let p = [points(&[2], 1)];
    let inner = trace(&p, |t, x| vec![t.unary(Unary::Tanh, x[0])]);
    let middle = trace(&p, |t, x| {
        let s = t.mul(x[0], x[0]);
        region(t, RegionKind::Checkpoint(0), inner, &[s])
    });
    let t = trace(&p, |t, x| {
        let o = region(t, RegionKind::Checkpoint(0), middle, &[x[0]]);
        vec![t.mul(o[0], x[0])]
    });
    check_grads(&t, &p, &[], 3).unwrap();
}

#[test]
fn reverse_mode_recomputes_a_checkpoint_from_its_operands() {
    let p = [points(&[3], 1)];
    let body = trace(&p, |t, x| {
        let e = t.unary(Unary::Exp, x[0]);
        vec![t.unary(Unary::Sin, e)]
    });
    let mut t = trace(&p, |t, x| region(t, RegionKind::Checkpoint(0), body, &[x[0]]));
    let (y, x0) = (t.outputs[0], t.inputs[0]);
    grad(&mut t, y, x0);
    verify(&t).unwrap();
    let regions: Vec<_> = t.insts.iter().filter(|i| matches!(i.op, Op::Region(_))).collect();
    assert_eq!(regions.len(), 2);
    // The second takes the operand and the cotangent, and evaluates exp itself.
    assert_eq!(regions[1].args.len(), 2);
    assert_eq!(regions[1].args[0], x0);
    let Op::Region(r) = &regions[1].op else { unreachable!() };
    assert!(r.kind == RegionKind::Checkpoint(0) && r.body.insts.iter().any(|i| i.op == Op::Unary(Unary::Exp)));
    assert!(!r.body.insts.iter().any(|i| i.op == Op::Unary(Unary::Sin)), "the primal result is not needed");
}

/// exp with its own forward rule `dy = dx exp(x)`, and a second, constant output.
fn custom_exp(p: &[HostTensor]) -> (RegionKind, Trace) {
    let body = trace(p, |t, x| vec![t.unary(Unary::Exp, x[0]), t.neg(x[1])]);
    let rule = trace(&[p, p].concat(), |t, x| {
        let e = t.unary(Unary::Exp, x[0]);
        let d = t.mul(x[2], e);
        vec![d, t.neg(x[3])]
    });
    (RegionKind::CustomJvp(rule.into()), body)
}

#[test]
fn custom_forward_rules() {
    let p = [points(&[3], 1), points(&[3], 2)];
    check(&p, |t, x| {
        let (kind, body) = custom_exp(&p);
        let o = region(t, kind, body, &[x[0], x[1]]);
        t.mul(o[0], o[1])
    });
    check(&p[..1], |t, x| {
        let (kind, body) = custom_exp(&p);
        let c = t.constant_like(0.5, x[0]);
        region(t, kind, body, &[x[0], c])[0]
    });
    // Inside a checkpoint, and with a checkpoint inside the rule.
    check(&p, |t, x| {
        let (kind, body) = custom_exp(&p);
        let outer = trace(&p, |t, x| region(t, kind, body, &[x[0], x[1]]));
        let o = region(t, RegionKind::Checkpoint(0), outer, &[x[1], x[0]]);
        t.mul(o[0], o[1])
    });
    check(&p[..1], |t, x| {
        let q = [p[0].clone(), p[0].clone()];
        let body = trace(&p[..1], |t, x| vec![t.unary(Unary::Sin, x[0])]);
        let product = trace(&q, |t, x| {
            let c = t.unary(Unary::Cos, x[0]);
            vec![t.mul(c, x[1])]
        });
        let rule = trace(&q, |t, x| region(t, RegionKind::Checkpoint(0), product, &[x[0], x[1]]));
        region(t, RegionKind::CustomJvp(rule.into()), body, &[x[0]])[0]
    });
}

#[test]
fn a_custom_forward_rule_that_is_not_linear_is_refused() {
    let p = [points(&[3], 1)];
    let q = [p[0].clone(), p[0].clone()];
    for op in [Binary::Mul, Binary::Max, Binary::Div] {
        let body = trace(&p, |t, x| vec![t.neg(x[0])]);
        let rule = trace(&q, |t, x| {
            let c = t.constant_like(2.0, x[0]);
            let a = if op == Binary::Mul { x[1] } else { c };
            vec![t.binary(op, a, x[1])]
        });
        let mut t = trace(&p, |t, x| region(t, RegionKind::CustomJvp(rule.into()), body, &[x[0]]));
        let (y, x0, n) = (t.outputs[0], t.inputs[0], t.insts.len());
        let e = vjp(&mut t, &[(y, x0)], &[x0]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Gradient, "{e}");
        assert!(e.message().contains(op.name()), "{e}");
        assert_eq!(t.insts.len(), n);
    }
}

/// `x y` with a reverse rule that gives `3 y dz` and `x dz + z`.
fn custom_product(p: &[HostTensor]) -> (RegionKind, Trace) {
    let body = trace(p, |t, x| vec![t.mul(x[0], x[1])]);
    let rule = trace(&[p[0].clone(), p[1].clone(), p[0].clone(), p[0].clone()], |t, x| {
        let a = t.mul(x[1], x[3]);
        let a = t.binary_const(Binary::Mul, a, 3.0);
        let b = t.mul(x[0], x[3]);
        vec![a, t.add(b, x[2])]
    });
    (RegionKind::CustomVjp(rule.into()), body)
}

#[test]
fn custom_reverse_rules() {
    let p = [f64s(&[], &[1.5]), f64s(&[], &[-0.7])];
    let (x, y) = (1.5, -0.7);
    for nested in [false, true] {
        let mut t = trace(&p, |t, v| {
            let (kind, body) = custom_product(&p);
            if nested {
                let outer = trace(&p, |t, v| region(t, kind, body, &[v[0], v[1]]));
                region(t, RegionKind::Checkpoint(0), outer, &[v[0], v[1]])
            } else {
                region(t, kind, body, &[v[0], v[1]])
            }
        });
        let (z, x0, x1) = (t.outputs[0], t.inputs[0], t.inputs[1]);
        let (gx, gy) = (grad(&mut t, z, x0), grad(&mut t, z, x1));
        verify(&t).unwrap();
        assert_eq!(scalar(&t, gx, &p), 3.0 * y);
        assert_eq!(scalar(&t, gy, &p), x + x * y);
        // The rule is differentiated like anything else: gy = x + z, through whose z the rule applies again.
        let gyy = grad(&mut t, gy, x1);
        assert_eq!(scalar(&t, gyy, &p), x + x * y);
        let gyx = grad(&mut t, gy, x0);
        assert_eq!(scalar(&t, gyx, &p), 1.0 + 3.0 * y);
        let gxy = grad(&mut t, gx, x1);
        assert_eq!(scalar(&t, gxy, &p), 3.0);
        // One operand alone.
        let e = jvp(&mut t, &[(x0, x0)], &[z]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Gradient);
        assert!(e.message().contains("custom_vjp"), "{e}");
        verify(&t).unwrap();
    }
}

#[test]
fn unread_outputs_get_zero_cotangents() {
    let p = [points(&[2], 1)];
    let body = trace(&p, |t, x| vec![t.neg(x[0]), t.mul(x[0], x[0])]);
    // Both cotangents, the second tenfold.
    let rule = trace(&vec![p[0].clone(); 5], |t, x| {
        let c = t.binary_const(Binary::Mul, x[4], 10.0);
        vec![t.add(x[3], c)]
    });
    for (k, want) in [(0, 1.0), (1, 10.0)] {
        let t = trace(&p, |t, x| vec![region(t, RegionKind::CustomVjp(rule.clone().into()), body.clone(), &[x[0]])[k]]);
        assert_eq!(grads(&t, &p)[0], [want, want]);
    }
    // Only one output is read at all.
    let mut t = trace(&p, |t, x| {
        let r = t.apply(Op::Region(Region { kind: RegionKind::CustomVjp(rule.into()), body: body.into() }.into()), &[x[0]]);
        vec![t.push_typed(Op::Output(1), &[r], DType::F64, Shape::from([2]), None)]
    });
    assert_eq!(grads(&t, &p)[0], [10.0, 10.0]);
    let (y, x0) = (t.outputs[0], t.inputs[0]);
    grad(&mut t, y, x0);
    verify(&t).unwrap();
}

#[test]
fn integer_operands_of_regions() {
    let p = [points(&[4], 1), i64s(&[3], &[2, 2, 0])];
    let body = trace(&p, |t, x| {
        let s = t.unary(Unary::Sin, x[0]);
        let n = t.binary_const(Binary::Add, x[1], 1.0);
        vec![t.gather(s, x[1], 0), n]
    });
    check(&p, |t, x| {
        let o = region(t, RegionKind::Checkpoint(0), body.clone(), &[x[0], x[1]]);
        let g = t.gather(o[0], o[1], 0);
        t.mul(g, o[0])
    });
    // A rule has a place for the tangent of an integer, which holds zeros.
    let rule = trace(&[p[0].clone(), p[1].clone(), p[0].clone(), p[1].clone()], |t, x| {
        let c = t.unary(Unary::Cos, x[0]);
        let d = t.mul(x[2], c);
        vec![t.gather(d, x[1], 0), x[3]]
    });
    check(&p, |t, x| {
        let o = region(t, RegionKind::CustomJvp(rule.into()), body.clone(), &[x[0], x[1]]);
        t.mul(o[0], o[0])
    });
}

#[test]
fn parameters_are_ordinary_coefficients() {
    let p = [f64s(&[3], &[0.4, 1.2, 2.0])];
    let t = trace(&p, |t, x| {
        let n = t.param(DType::F64);
        let n = t.broadcast(n, &Shape::from([3]));
        let y = t.binary(Binary::Pow, x[0], n);
        vec![t.div(y, n)]
    });
    check_grads(&t, &p, &[Scalar::Float(2.5)], 2).unwrap();
}
