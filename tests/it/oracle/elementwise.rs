//! Unary, binary, compare, select, cast, param, const.

use super::tolerance::Class;
use super::{Checker, data, rng, shapes};
use lazuli::trace::interp::HostTensor;
use lazuli::trace::{Binary, Compare, Op, Trace, Unary};
use lazuli::{DType, Device, Scalar, Shape};

crate::devices::each_device!(unary, binary, compare_and_select, cast, const_and_param);

fn unary_class(op: Unary, d: DType) -> Class {
    use Unary::*;
    match op {
        _ if !d.is_float() => Class::Exact,
        Neg | Abs | Sign | Not | Sqrt | Recip | Floor | Ceil | Round | Trunc => Class::Exact,
        Rsqrt => Class::Power,
        _ => Class::Function,
    }
}

fn binary_class(op: Binary, d: DType) -> Class {
    use Binary::*;
    match op {
        _ if !d.is_float() => Class::Exact,
        Max | Min => Class::Choice,
        Pow | Atan2 => Class::Power,
        _ => Class::Exact,
    }
}

fn unary(device: Device) {
    let mut c = Checker::on(device);
    for &op in Unary::ALL {
        for d in DType::ALL.into_iter().filter(|&d| op.accepts(d)) {
            let name = format!("{} {d}", op.name());
            let mut r = rng(&name);
            let mut operands = vec![data::line(d, &mut r)];
            operands.extend(shapes().iter().map(|s| data::wild(d, s, &mut r)));
            for x in operands {
                // A whole turn is reduced exactly up to here; beyond, the design promises nothing of the periodic functions.
                let x = if matches!(op, Unary::Sin | Unary::Cos | Unary::Tan) { limited(&x, 1e5) } else { x };
                c.op(&name, &[x], unary_class(op, d), |t, v| t.unary(op, v[0]));
            }
        }
    }
    c.finish();
}

fn limited(x: &HostTensor, limit: f64) -> HostTensor {
    let f = |s: Scalar| if s.as_f64().abs() > limit && s.as_f64().is_finite() { Scalar::Float(limit / 3.0) } else { s };
    HostTensor::from_scalars(x.dtype, x.shape.clone(), x.scalars().map(f).collect::<Vec<_>>())
}

fn binary(device: Device) {
    let mut c = Checker::on(device);
    for &op in Binary::ALL {
        for d in DType::ALL.into_iter().filter(|&d| op.accepts(d)) {
            let name = format!("{} {d}", op.name());
            let mut r = rng(&name);
            let mut operands = vec![data::pairs(d, &mut r)];
            operands.extend(shapes().iter().map(|s| [data::wild(d, s, &mut r), data::wild(d, s, &mut r)]));
            for xy in operands {
                c.op(&name, &xy, binary_class(op, d), |t, v| t.binary(op, v[0], v[1]));
            }
            // The same operand twice, and a number for the other one: what backends special-case.
            let x = data::line(d, &mut r);
            c.op(&format!("{name} with itself"), &[x], binary_class(op, d), |t, v| t.binary(op, v[0], v[0]));
            for s in data::specials(d).into_iter().filter(|&s| c.keeps(d, s)).collect::<Vec<_>>() {
                let mut t = Trace::new();
                let x = data::line(d, &mut r);
                let v = t.input(d, x.shape.clone());
                let p = t.param(d);
                let p = t.broadcast(p, &x.shape);
                let k = t.constant(s, d, &x.shape);
                t.outputs = vec![t.binary(op, v, p), t.binary(op, k, v)];
                c.check(&format!("{name} with the number {s:?}"), &t, &[x], &[s], binary_class(op, d));
            }
        }
    }
    c.finish();
}

fn compare_and_select(device: Device) {
    let mut c = Checker::on(device);
    for d in DType::ALL {
        let mut r = rng(d.name());
        for &op in Compare::ALL {
            let name = format!("{} {d}", op.name());
            c.op(&name, &data::pairs(d, &mut r), Class::Exact, |t, v| t.compare(op, v[0], v[1]));
            for s in shapes() {
                let xy = [data::ties(d, &s, &mut r), data::ties(d, &s, &mut r)];
                c.op(&name, &xy, Class::Exact, |t, v| t.compare(op, v[0], v[1]));
            }
        }
        for s in shapes() {
            let operands = [data::wild(DType::Bool, &s, &mut r), data::wild(d, &s, &mut r), data::wild(d, &s, &mut r)];
            c.op(&format!("select {d}"), &operands, Class::Exact, |t, v| t.select(v[0], v[1], v[2]));
        }
    }
    c.finish();
}

fn cast(device: Device) {
    let mut c = Checker::on(device);
    for from in DType::ALL {
        for to in DType::ALL {
            let name = format!("cast {from} to {to}");
            let mut r = rng(&name);
            let mut operands = vec![data::line(from, &mut r)];
            operands.extend(shapes().iter().map(|s| data::wild(from, s, &mut r)));
            for x in operands {
                c.op(&name, &[x], Class::Exact, |t, v| {
                    // To its own dtype too: the identity that ends differentiation.
                    let shape = t.shape(v[0]).clone();
                    t.push_typed(Op::Cast, &[v[0]], to, shape, None)
                });
            }
        }
    }
    c.finish();
}

fn const_and_param(device: Device) {
    let mut c = Checker::on(device);
    for d in DType::ALL {
        for s in data::specials(d).into_iter().filter(|&s| c.keeps(d, s)).collect::<Vec<_>>() {
            let mut t = Trace::new();
            let k = t.constant(s, d, &Shape::new(&[3]));
            let p = t.param(d);
            t.outputs = vec![k, p];
            c.check(&format!("const and param {d} {s:?}"), &t, &[], &[s], Class::Exact);
        }
    }
    c.finish();
}
