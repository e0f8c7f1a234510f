//! Reduce, cumulative, dot, conv, argsort.

use super::tolerance::Class;
use super::{Checker, FLOATS, data, rng, shapes};
use lazuli::trace::interp::HostTensor;
use lazuli::trace::{ConvSpec, Op, Reduce, Trace};
use lazuli::{DType, Device, Scalar, Shape};
use smallvec::smallvec;

crate::devices::each_device!(reduce, long_reduce, cumulative, dot, conv, argsort, rows_reduced_twice);

fn reduce_class(kind: Reduce, d: DType) -> Class {
    match kind {
        _ if !d.is_float() => Class::Exact,
        Reduce::Sum => Class::Sum,
        Reduce::Prod => Class::Product,
        _ => Class::Choice,
    }
}

fn accepts(kind: Reduce, d: DType) -> bool {
    d != DType::Bool || !matches!(kind, Reduce::Sum | Reduce::Prod)
}

/// Operands of a reduction: tame ones, and ones with a few NaN and infinities where sums stay in range.
fn operands(kind: Reduce, d: DType, s: &Shape, r: &mut crate::rng::Rng) -> Vec<HostTensor> {
    if !matches!(kind, Reduce::Sum | Reduce::Prod) || !d.is_float() {
        return vec![data::wild(d, s, r), data::ties(d, s, r)];
    }
    let near_one = |t: HostTensor, r: &mut crate::rng::Rng| {
        // Products of many numbers leave the range of the half types otherwise.
        let v: Vec<Scalar> = t.scalars().map(|_| Scalar::Float(r.float(0.97, 1.04) * if r.below(2) == 0 { 1.0 } else { -1.0 })).collect();
        HostTensor::from_scalars(d, s.clone(), v)
    };
    let tame = data::tame(d, s, r);
    let tame = if kind == Reduce::Prod { near_one(tame, r) } else { tame };
    let spoilt: Vec<Scalar> = tame
        .scalars()
        .map(|x| match r.below(40) {
            0 => Scalar::Float(f64::NAN),
            1 => Scalar::Float(f64::INFINITY),
            2 => Scalar::Float(0.0),
            _ => x,
        })
        .collect();
    vec![tame, HostTensor::from_scalars(d, s.clone(), spoilt)]
}

fn reduce(device: Device) {
    let mut c = Checker::on(device);
    let mut all = shapes();
    all.extend([&[5, 300][..], &[300, 5], &[2, 130, 3], &[1, 1025], &[3, 4, 2, 3, 2]].map(Shape::new));
    for kind in Reduce::ALL {
        for d in DType::ALL.into_iter().filter(|&d| accepts(kind, d)) {
            let name = format!("reduce {} {d}", kind.name());
            let mut r = rng(&name);
            for s in &all {
                // Every set of axes.
                for set in 0..1usize << s.rank() {
                    let axes: Vec<usize> = (0..s.rank()).filter(|a| set >> a & 1 == 1).collect();
                    let no_identity = !matches!(kind, Reduce::Sum | Reduce::Prod);
                    let empty = axes.iter().any(|&a| s[a] == 0) && s.without(&axes).numel() > 0;
                    if (axes.is_empty() && s.rank() > 0) || (no_identity && empty) {
                        continue;
                    }
                    for x in operands(kind, d, s, &mut r) {
                        c.op(&format!("{name} over {axes:?}"), &[x], reduce_class(kind, d), |t, v| {
                            let axes = axes.iter().map(|&a| a as u8).collect();
                            t.apply(Op::Reduce(kind, axes), &[v[0]])
                        });
                    }
                }
            }
        }
    }
    c.finish();
}

fn long_reduce(device: Device) {
    let mut c = Checker::on(device);
    for d in [DType::F32, DType::F16, DType::F64, DType::I32] {
        for s in [&[1 << 18][..], &[3, 70_001], &[70_001, 3]].map(Shape::new) {
            let mut r = rng(d.name());
            for kind in [Reduce::Sum, Reduce::Max, Reduce::ArgMin] {
                for axes in [&[0usize][..], &[s.rank() - 1]] {
                    // Halves of one sign would overflow; around zero they stay small.
                    let x = data::tame(d, &s, &mut r);
                    let axes = axes.iter().map(|&a| a as u8).collect();
                    c.op(&format!("long reduce {} {d} over {axes:?}", kind.name()), &[x], reduce_class(kind, d), |t, v| {
                        t.apply(Op::Reduce(kind, axes), &[v[0]])
                    });
                }
            }
        }
    }
    c.finish();
}

fn cumulative(device: Device) {
    let mut c = Checker::on(device);
    for kind in [Reduce::Sum, Reduce::Prod, Reduce::Max, Reduce::Min] {
        for d in DType::ALL.into_iter().filter(|&d| accepts(kind, d)) {
            let name = format!("cumulative {} {d}", kind.name());
            let mut r = rng(&name);
            for s in shapes() {
                for axis in 0..s.rank() as u8 {
                    for reverse in [false, true] {
                        for x in operands(kind, d, &s, &mut r) {
                            let op = Op::Cumulative { kind, axis, reverse };
                            c.op(&format!("{name} along {axis} reverse {reverse}"), &[x], reduce_class(kind, d), |t, v| {
                                t.apply(op, &[v[0]])
                            });
                        }
                    }
                }
            }
        }
    }
    c.finish();
}

fn dot(device: Device) {
    let mut c = Checker::on(device);
    let sizes: [(&[usize], usize, usize, usize); 12] = [
        (&[], 1, 1, 1),
        (&[], 3, 4, 5),
        (&[], 1, 7, 9),
        (&[], 9, 7, 1),
        (&[], 17, 33, 65),
        (&[], 64, 64, 64),
        (&[2, 3], 4, 5, 6),
        (&[5], 1, 6, 1),
        (&[], 4, 0, 3),
        (&[], 0, 3, 2),
        (&[0], 2, 3, 2),
        (&[2], 100, 3, 50),
    ];
    for d in DType::ALL.into_iter().filter(|&d| d != DType::Bool) {
        let name = format!("dot {d}");
        let mut r = rng(&name);
        for (batch, m, k, n) in sizes {
            let s = |tail: [usize; 2]| -> Shape { batch.iter().copied().chain(tail).collect() };
            for transposed in [false, true] {
                let a = data::tame(d, &s([m, k]), &mut r);
                let b = data::tame(d, &if transposed { s([n, k]) } else { s([k, n]) }, &mut r);
                let class = if d.is_float() { Class::Sum } else { Class::Exact };
                c.op(&format!("{name}{}", if transposed { " transposed" } else { "" }), &[a, b], class, |t, v| {
                    let b = if transposed { t.transpose_last(v[1]) } else { v[1] };
                    t.dot(v[0], b)
                });
            }
        }
        if d.is_float() {
            // One NaN and one infinity spread over a row and a column, no farther.
            let mut a = data::tame(d, &Shape::new(&[6, 9]), &mut r);
            let values: Vec<Scalar> = a.scalars().enumerate().map(|(i, x)| if i == 13 { Scalar::Float(f64::NAN) } else { x }).collect();
            a = HostTensor::from_scalars(d, a.shape.clone(), values);
            let b = data::tame(d, &Shape::new(&[9, 5]), &mut r);
            c.op(&format!("{name} with NaN"), &[a, b], Class::Sum, |t, v| t.dot(v[0], v[1]));
        }
    }
    c.finish();
}

fn conv(device: Device) {
    let mut c = Checker::on(device);
    // (input, kernel, stride, lo, hi, lhs dilation, rhs dilation, groups), one number for every spatial axis
    type Case = (&'static [usize], &'static [usize], usize, isize, isize, usize, usize, usize);
    let cases: [Case; 12] = [
        (&[1, 1, 5], &[1, 1, 3], 1, 0, 0, 1, 1, 1),
        (&[2, 3, 9], &[4, 3, 3], 2, 1, 1, 1, 1, 1),
        (&[2, 4, 9], &[6, 2, 2], 1, 2, 0, 1, 2, 2),
        (&[2, 3, 8, 7], &[5, 3, 3, 3], 1, 1, 1, 1, 1, 1),
        (&[1, 4, 9, 9], &[4, 1, 3, 3], 2, 1, 2, 1, 1, 4),
        (&[1, 2, 5, 5], &[3, 2, 3, 3], 1, 2, 3, 2, 1, 1),
        (&[1, 2, 8, 8], &[3, 2, 3, 3], 1, -1, -1, 1, 1, 1),
        (&[1, 2, 9, 9], &[2, 2, 2, 2], 3, 0, 0, 1, 3, 1),
        (&[2, 2, 4, 5, 4], &[3, 2, 2, 2, 2], 1, 1, 0, 1, 1, 1),
        (&[3, 2, 1, 1], &[4, 2, 1, 1], 1, 0, 0, 1, 1, 1),
        (&[0, 2, 4, 4], &[3, 2, 2, 2], 1, 0, 0, 1, 1, 1),
        (&[2, 8, 12, 12], &[16, 8, 3, 3], 1, 1, 1, 1, 1, 1),
    ];
    for d in FLOATS {
        let name = format!("conv {d}");
        let mut r = rng(&name);
        for (x, w, stride, lo, hi, lhs, rhs, groups) in cases {
            let n = x.len() - 2;
            let spec = ConvSpec {
                stride: smallvec![stride; n],
                lo: smallvec![lo; n],
                hi: smallvec![hi; n],
                lhs_dilation: smallvec![lhs; n],
                rhs_dilation: smallvec![rhs; n],
                groups,
            };
            let operands = [data::tame(d, &Shape::new(x), &mut r), data::tame(d, &Shape::new(w), &mut r)];
            c.op(&format!("{name} {spec:?}"), &operands, Class::Sum, |t, v| t.apply(Op::Conv(Box::new(spec)), v));
        }
    }
    c.finish();
}

fn argsort(device: Device) {
    let mut c = Checker::on(device);
    for d in DType::ALL {
        let mut r = rng(d.name());
        for descending in [false, true] {
            for s in shapes().into_iter().filter(|s| s.rank() > 0).chain([Shape::new(&[3, 2000])]) {
                for x in [data::wild(d, &s, &mut r), data::ties(d, &s, &mut r)] {
                    c.op(&format!("argsort {d} descending {descending}"), &[x], Class::Exact, |t, v| {
                        t.apply(Op::ArgSort(descending), &[v[0]])
                    });
                }
            }
        }
    }
    c.finish();
}

/// A chain that reduces, broadcasts back and reduces again: what fuses into one kernel with a row in reach.
fn rows_reduced_twice(device: Device) {
    let mut c = Checker::on(device);
    for d in [DType::F32, DType::F64] {
        for (rows, n) in [(1, 1), (3, 7), (5, 256), (2, 1000), (300, 2), (4, 4099)] {
            let mut r = rng(d.name());
            let x = data::tame(d, &Shape::new(&[rows, n]), &mut r);
            let mut t = Trace::new();
            let v = t.input(d, x.shape.clone());
            let shape = x.shape.clone();
            let max = t.reduce(Reduce::Max, v, &[1]);
            let max = t.broadcast_over(max, &[1], &shape);
            let e = t.sub(v, max);
            let e = t.unary(lazuli::trace::Unary::Exp, e);
            let sum = t.reduce(Reduce::Sum, e, &[1]);
            let sum = t.broadcast_over(sum, &[1], &shape);
            let y = t.div(e, sum);
            let total = t.reduce(Reduce::Sum, y, &[1]);
            t.outputs = vec![y, total];
            c.check(&format!("softmax {d}"), &t, &[x], &[], Class::Product);
        }
    }
    c.finish();
}
