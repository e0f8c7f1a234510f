//! Reductions, scans, views, concatenation, indexing, dot.

use super::*;
use crate::trace::{Op, PadSpec, Reduce, ScatterMode, SliceSpec, Unary};
use smallvec::SmallVec;

/// `x * x`, so that second derivatives say something.
fn square(t: &mut Trace, x: ValueId) -> ValueId {
    t.mul(x, x)
}

#[test]
fn reductions() {
    for kind in [Reduce::Sum, Reduce::Prod, Reduce::Max, Reduce::Min] {
        for axes in [&[0][..], &[1], &[2], &[0, 2], &[0, 1, 2], &[]] {
            check(&[points(&[2, 3, 2], 3)], |t, x| {
                let s = square(t, x[0]);
                let r = t.reduce(kind, s, axes);
                t.unary(Unary::Sin, r)
            });
        }
        for shape in [[1, 3], [3, 1], [3, 2]] {
            check(&[points(&shape, 1)], |t, x| t.reduce(kind, x[0], &[1]));
        }
    }
    check(&[points(&[0, 3], 0), points(&[3], 1)], |t, x| {
        let (a, b) = (t.reduce(Reduce::Sum, x[0], &[0]), t.reduce(Reduce::Prod, x[0], &[0]));
        let s = t.add(a, b);
        t.mul(s, x[1])
    });
}

#[test]
fn products_with_zeros() {
    let p = [f64s(&[3, 3], &[2.0, 0.0, 5.0, 0.0, 0.0, 7.0, 2.0, 3.0, 4.0])];
    let t = trace(&p, |t, x| vec![t.reduce(Reduce::Prod, x[0], &[1])]);
    assert_eq!(grads(&t, &p)[0], [0.0, 10.0, 0.0, 0.0, 0.0, 0.0, 12.0, 8.0, 6.0]);
    check(&p, |t, x| t.reduce(Reduce::Prod, x[0], &[1]));
    check(&p, |t, x| t.reduce(Reduce::Prod, x[0], &[0, 1]));
    for reverse in [false, true] {
        for axis in [0, 1] {
            check(&p, |t, x| t.apply(Op::Cumulative { kind: Reduce::Prod, axis, reverse }, &[x[0]]));
        }
    }
}

#[test]
fn extremes_share_among_ties() {
    let p = [f64s(&[2, 4], &[3.0, 1.0, 3.0, 0.0, 2.0, 5.0, 5.0, 5.0])];
    let t = trace(&p, |t, x| vec![t.reduce(Reduce::Max, x[0], &[1])]);
    let third = 1.0 / 3.0;
    assert_eq!(grads(&t, &p)[0], [0.5, 0.0, 0.5, 0.0, 0.0, third, third, third]);
}

#[test]
fn cumulative_scans() {
    for kind in [Reduce::Sum, Reduce::Prod, Reduce::Max, Reduce::Min] {
        for reverse in [false, true] {
            for axis in 0..3 {
                check(&[points(&[2, 5, 3], 2)], |t, x| {
                    let s = square(t, x[0]);
                    t.apply(Op::Cumulative { kind, axis, reverse }, &[s])
                });
            }
            check(&[points(&[1], 2)], |t, x| t.apply(Op::Cumulative { kind, axis: 0, reverse }, &[x[0]]));
        }
    }
    // The latest of equals holds the extreme.
    let p = [f64s(&[5], &[1.0, 3.0, 2.0, 3.0, 0.0])];
    for (reverse, want) in [(false, [1.0, 2.0, 0.0, 2.0, 0.0]), (true, [0.0, 2.0, 0.0, 2.0, 1.0])] {
        let t = trace(&p, |t, x| vec![t.apply(Op::Cumulative { kind: Reduce::Max, axis: 0, reverse }, &[x[0]])]);
        assert_eq!(grads(&t, &p)[0], want);
    }
}

#[test]
fn views() {
    let x = || [points(&[3, 4], 1)];
    check(&x(), |t, x| {
        let s = square(t, x[0]);
        t.reshape(s, &Shape::from([2, 6]))
    });
    check(&[points(&[2, 3, 4], 1)], |t, x| {
        let s = square(t, x[0]);
        t.permute(s, &[2, 0, 1])
    });
    check(&[points(&[3, 1], 1)], |t, x| {
        let s = square(t, x[0]);
        t.broadcast(s, &Shape::from([2, 3, 4]))
    });
    check(&[points(&[], 1)], |t, x| {
        let s = square(t, x[0]);
        t.broadcast(s, &Shape::from([2, 1]))
    });
    check(&x(), |t, x| {
        let s = square(t, x[0]);
        t.flip(s, &[0, 1])
    });
    check(&x(), |t, x| {
        let s = square(t, x[0]);
        t.pad(s, PadSpec { lo: SmallVec::from_slice(&[1, 0]), hi: SmallVec::from_slice(&[2, 1]), value: Scalar::Float(2.5) })
    });
}

#[test]
fn slices_with_every_start_end_and_step() {
    for start in 0..=7usize {
        for end in start..=7 {
            for step in 1..=4 {
                let p = [points(&[2, 7], 4)];
                let t = trace(&p, |t, x| {
                    let spec = SliceSpec {
                        start: SmallVec::from_slice(&[0, start]),
                        end: SmallVec::from_slice(&[2, end]),
                        step: SmallVec::from_slice(&[1, step]),
                    };
                    vec![t.slice(x[0], spec)]
                });
                let want: Vec<f64> =
                    (0..14).map(|i| i % 7).map(|i| (i >= start && i < end && (i - start) % step == 0) as u8 as f64).collect();
                assert_eq!(grads(&t, &p)[0], want, "{start}..{end} by {step}");
            }
        }
    }
    check(&[points(&[5, 3, 6], 1)], |t, x| {
        let s = square(t, x[0]);
        let spec = SliceSpec {
            start: SmallVec::from_slice(&[1, 0, 0]),
            end: SmallVec::from_slice(&[5, 3, 5]),
            step: SmallVec::from_slice(&[2, 1, 3]),
        };
        t.slice(s, spec)
    });
}

#[test]
fn parts_of_one_value_are_put_together() {
    let split = |cuts: &'static [(usize, usize, usize)]| {
        let p = [points(&[6, 4], 1)];
        let mut t = trace(&p, |t, x| {
            let s = square(t, x[0]);
            let parts: Vec<ValueId> = cuts
                .iter()
                .enumerate()
                .map(|(i, &(axis, a, b))| {
                    let part = t.slice_axis(s, axis, a, b);
                    let part = t.binary_const(crate::trace::Binary::Mul, part, i as f64 + 1.0);
                    t.reduce(Reduce::Sum, part, &[0, 1])
                })
                .collect();
            vec![parts.into_iter().reduce(|a, b| t.mul(a, b)).unwrap()]
        });
        check_grads(&t, &p, &[], 2).unwrap_or_else(|e| panic!("{cuts:?}: {e}"));
        let (y, x0, n) = (t.outputs[0], t.inputs[0], t.insts.len());
        grad(&mut t, y, x0);
        let count = |op: fn(&Op) -> bool| t.insts[n..].iter().filter(|i| op(&i.op)).count();
        (count(|op| matches!(op, Op::Concat(_))), count(|op| matches!(op, Op::Pad(_))))
    };
    assert_eq!(split(&[(0, 0, 2), (0, 4, 6), (0, 2, 4)]), (1, 0));
    assert_eq!(split(&[(1, 1, 2), (1, 3, 4)]), (1, 1));
    assert_eq!(split(&[(1, 1, 2)]), (0, 1));
    assert_eq!(split(&[(1, 0, 2), (1, 1, 3), (1, 2, 4)]), (1, 1));
    assert_eq!(split(&[(1, 0, 2), (0, 0, 3), (1, 2, 4), (0, 1, 6), (0, 3, 3)]), (1, 2));
}

#[test]
fn concatenation_and_dot() {
    check(&[points(&[2, 1], 1), points(&[2, 3], 2)], |t, x| {
        let (a, c) = (square(t, x[0]), t.constant(Scalar::Float(2.0), DType::F64, &Shape::from([2, 2])));
        t.concat(&[a, c, x[1], a], 1)
    });
    check(&[points(&[3, 2], 1), points(&[2, 4], 2)], |t, x| t.dot(x[0], x[1]));
    check(&[points(&[2, 3, 3], 1)], |t, x| t.dot(x[0], x[0]));
    check(&[points(&[2, 2, 3, 2], 1), points(&[2, 2, 2, 1], 2)], |t, x| t.dot(x[0], x[1]));
}

#[test]
fn gathers_with_repeated_and_clamped_indices() {
    for (xs, batch, index) in [
        (&[4, 3][..], 0, i64s(&[5], &[0, 3, 3, 1, 3])),
        (&[4, 3], 0, i64s(&[2, 2], &[0, -5, 9, 1])),
        (&[2, 4], 1, i64s(&[2, 3], &[0, 0, 3, 7, 2, -1])),
        (&[2, 3, 2], 1, i64s(&[2], &[2, 0])),
        (&[3], 0, i64s(&[], &[2])),
        (&[3, 2], 0, i64s(&[0], &[])),
    ] {
        check(&[points(xs, 1), index], |t, x| {
            let s = square(t, x[0]);
            t.gather(s, x[1], batch)
        });
    }
    // What came before is kept where a gather adds its part.
    check(&[points(&[4], 1), i64s(&[3], &[1, 1, 9])], |t, x| {
        let s = square(t, x[0]);
        let g = t.gather(s, x[1], 0);
        let (a, b) = (t.reduce(Reduce::Sum, g, &[0]), t.reduce(Reduce::Max, s, &[0]));
        let h = t.gather(s, x[1], 0);
        let c = t.reduce(Reduce::Prod, h, &[0]);
        let ab = t.mul(a, b);
        t.mul(ab, c)
    });
}

#[test]
fn sorting_by_gather() {
    check(&[points(&[2, 4], 3)], |t, x| {
        let order = t.apply(Op::ArgSort(true), &[x[0]]);
        let s = t.gather(x[0], order, 1);
        square(t, s)
    });
    let p = [points(&[2, 4], 3)];
    let t = trace(&p, |t, x| {
        let order = t.apply(Op::ArgSort(false), &[x[0]]);
        vec![t.gather(x[0], order, 1)]
    });
    let mut g = t.clone();
    let (y, x0) = (t.outputs[0], t.inputs[0]);
    grad(&mut g, y, x0);
    let clamps = g.insts.iter().filter(|i| matches!(i.op, Op::Binary(_))).count();
    assert_eq!(clamps, 0, "positions from a sort need no clamp");
}

#[test]
fn scatters_with_repeated_and_dropped_indices() {
    for mode in ScatterMode::ALL {
        for (xs, batch, index, us) in [
            (&[4, 2][..], 0, i64s(&[5], &[0, 3, 3, 1, 3]), &[5, 2][..]),
            (&[4], 0, i64s(&[2, 3], &[0, -1, 9, 1, 0, 0]), &[2, 3]),
            (&[2, 4], 1, i64s(&[2, 3], &[0, 0, 3, 7, 2, -1]), &[2, 3]),
            (&[2, 3, 2], 1, i64s(&[2], &[2, 0]), &[2, 2]),
            (&[3], 0, i64s(&[], &[1]), &[]),
            (&[3], 0, i64s(&[], &[5]), &[]),
        ] {
            check(&[points(xs, 1), index.clone(), points(us, 4)], |t, x| {
                let (a, u) = (square(t, x[0]), square(t, x[2]));
                t.apply(Op::Scatter(mode, batch), &[a, x[1], u])
            });
            // One of the two alone.
            check(&[points(xs, 1), index.clone(), points(us, 4)], |t, x| {
                let (a, u) = (t.constant_like(0.3, x[0]), square(t, x[2]));
                let y = t.apply(Op::Scatter(mode, batch), &[a, x[1], u]);
                t.mul(y, x[0])
            });
            check(&[points(xs, 1), index], |t, x| {
                let u = t.constant(Scalar::Float(0.3), DType::F64, &Shape::new(us));
                let a = square(t, x[0]);
                t.apply(Op::Scatter(mode, batch), &[a, x[1], u])
            });
        }
    }
}

#[test]
fn scatter_extremes_share_among_ties() {
    let p = [f64s(&[3], &[2.0, 5.0, 1.0]), i64s(&[4], &[0, 0, 1, 9]), f64s(&[4], &[2.0, 2.0, 4.0, 8.0])];
    let t = trace(&p, |t, x| vec![t.apply(Op::Scatter(ScatterMode::Max, 0), &[x[0], x[1], x[2]])]);
    let (g, third) = (grads(&t, &p), 1.0 / 3.0);
    assert_eq!(g[0], [third, 1.0, 1.0]);
    assert_eq!(g[2], [third, third, 0.0, 0.0]);
}
