//! One small program for every op that takes or yields floats, to order 2; the list is closed by exhaustive matches.

use super::*;
use crate::trace::{AxisList, Binary, Compare, ConvSpec, Op, PadSpec, Reduce, Region, RegionKind, ScatterMode, SliceSpec, Unary};
use smallvec::smallvec;
use std::collections::BTreeSet;

/// The name of what needs a program of its own, if the op can lie between a float input and a float output.
fn wanted(op: &Op) -> Option<String> {
    Some(match op {
        Op::Reduce(k, _) if k.is_arg() => return None,
        Op::Reduce(k, _) => format!("reduce {}", k.name()),
        Op::Cumulative { kind, reverse, .. } => format!("cumulative {} {reverse}", kind.name()),
        Op::Scatter(m, _) => format!("scatter {}", m.name()),
        Op::Region(r) => r.kind.name().to_string(),
        Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota(_) | Op::Random | Op::Compare(_) | Op::ArgSort(_) | Op::Output(_) => {
            return None;
        }
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Reshape | Op::Permute(_) | Op::Broadcast | Op::Slice(_) | Op::Pad(_) => {
            op.name().to_string()
        }
        Op::Flip(_) | Op::Concat(_) | Op::Gather(_) | Op::Dot | Op::Conv(_) => op.name().to_string(),
    })
}

#[test]
fn every_differentiable_op_to_order_two() {
    let x = f64s(&[2, 3], &[0.3, 0.9, 0.45, 0.7, 0.2, 0.8]);
    let y = f64s(&[2, 3], &[0.6, 0.4, 1.1, 0.37, 0.95, 0.15]);
    let mut seen = BTreeSet::new();
    let mut want = BTreeSet::new();
    let mut run = |points: &[HostTensor], build: &dyn Fn(&mut Trace, &[ValueId]) -> ValueId| {
        // Squared, so that the second derivative of a linear op is one of it too.
        let t = trace(points, |t, x| {
            let v = build(t, x);
            vec![t.mul(v, v)]
        });
        check_grads(&t, points, &[], 2).unwrap_or_else(|e| panic!("{e}\n{}", show(&t)));
        seen.extend(t.insts.iter().filter_map(|i| wanted(&i.op)));
    };
    let one = std::slice::from_ref(&x);
    let two = [x.clone(), y.clone()];
    for u in Unary::ALL.iter().copied().filter(|u| u.accepts(DType::F64)) {
        run(one, &|t, x| t.unary(u, x[0]));
        want.insert(u.name().to_string());
    }
    for b in Binary::ALL.iter().copied().filter(|b| b.accepts(DType::F64)) {
        run(&two, &|t, x| t.binary(b, x[0], x[1]));
        want.insert(b.name().to_string());
    }
    run(&two, &|t, x| {
        let mask = t.compare(Compare::Lt, x[0], x[1]);
        t.select(mask, x[0], x[1])
    });
    for k in Reduce::ALL.into_iter().filter(|k| !k.is_arg()) {
        run(one, &|t, x| t.reduce(k, x[0], &[1]));
        want.insert(format!("reduce {}", k.name()));
        for reverse in [false, true] {
            run(one, &|t, x| t.apply(Op::Cumulative { kind: k, axis: 1, reverse }, &[x[0]]));
            want.insert(format!("cumulative {} {reverse}", k.name()));
        }
    }
    run(one, &|t, x| t.reshape(x[0], &Shape::from([3, 2])));
    run(one, &|t, x| t.permute(x[0], &[1, 0]));
    run(one, &|t, x| t.broadcast(x[0], &Shape::from([4, 2, 3])));
    run(one, &|t, x| t.slice(x[0], SliceSpec { start: smallvec![0, 1], end: smallvec![2, 3], step: smallvec![1, 2] }));
    run(one, &|t, x| t.pad(x[0], PadSpec { lo: smallvec![1, 0], hi: smallvec![0, 2], value: Scalar::Float(0.5) }));
    run(one, &|t, x| t.apply(Op::Flip(AxisList::from_slice(&[0, 1])), &[x[0]]));
    run(&two, &|t, x| t.concat(&[x[0], x[1], x[0]], 1));
    let index = i64s(&[3], &[1, 0, 1]);
    run(&[x.clone(), index.clone()], &|t, x| t.gather(x[0], x[1], 0));
    for mode in ScatterMode::ALL {
        // A set of one place twice has no derivative to speak of.
        let at = if mode == ScatterMode::Set { i64s(&[3], &[1, 0, 5]) } else { index.clone() };
        run(&[x.clone(), at, f64s(&[3, 3], &[0.41, 0.33, 1.3, 0.12, 0.77, 0.05, 0.99, 0.61, 1.9])], &|t, x| {
            t.apply(Op::Scatter(mode, 0), &[x[0], x[1], x[2]])
        });
        want.insert(format!("scatter {}", mode.name()));
    }
    run(&two, &|t, x| {
        let b = t.permute(x[1], &[1, 0]);
        t.dot(x[0], b)
    });
    let spec = ConvSpec {
        stride: smallvec![1],
        lo: smallvec![1],
        hi: smallvec![0],
        lhs_dilation: smallvec![1],
        rhs_dilation: smallvec![1],
        groups: 1,
    };
    run(&[f64s(&[1, 2, 3], &[0.3, 0.9, 0.45, 0.7, 0.2, 0.8]), f64s(&[1, 2, 2], &[0.6, 0.4, 1.1, 0.35])], &|t, x| {
        t.apply(Op::Conv(Box::new(spec.clone())), &[x[0], x[1]])
    });
    let body = trace(one, |t, x| vec![t.unary(Unary::Sin, x[0])]);
    let rule = trace(&two, |t, x| {
        let c = t.unary(Unary::Cos, x[0]);
        vec![t.mul(c, x[1])]
    });
    for kind in [RegionKind::Checkpoint(0), RegionKind::CustomJvp(rule.into())] {
        run(one, &|t, x| {
            let r = t.apply(Op::Region(Region { kind: kind.clone(), body: body.clone().into() }.into()), &[x[0]]);
            t.push_typed(Op::Output(0), &[r], DType::F64, Shape::from([2, 3]), None)
        });
        want.insert(kind.name().to_string());
    }
    want.extend(
        ["select", "cast", "reshape", "permute", "broadcast", "slice", "pad", "flip", "concat", "gather", "dot", "conv"].map(String::from),
    );
    // A cast, there and back. (Checked apart: `check_grads` makes all floats F64, and a cast to its own dtype ends derivatives.)
    let mut t = trace(one, |t, x| {
        let n = t.cast(x[0], DType::F32);
        let w = t.cast(n, DType::F64);
        vec![t.mul(w, w)]
    });
    let (y, x0) = (t.outputs[0], t.inputs[0]);
    let first = grad(&mut t, y, x0);
    let second = grad(&mut t, first, x0);
    t.outputs = vec![second];
    assert_eq!(interpret(&t, one, &[]).unwrap()[0].to_vec::<f64>(), [2.0; 6]);
    seen.extend(t.insts.iter().filter_map(|i| wanted(&i.op)));
    let missing: Vec<_> = want.difference(&seen).collect();
    assert!(missing.is_empty(), "without a program: {missing:?}");
}
