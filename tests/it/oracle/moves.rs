//! Views, concat, iota, gather, scatter, random bits, regions.

use super::tolerance::Class;
use super::{Checker, data, rng, shapes};
use lazuli::trace::{Op, PadSpec, Region, RegionKind, ScatterMode, SliceSpec, Trace, Unary};
use lazuli::{DType, Device, Scalar, Shape};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

crate::devices::each_device!(views, concat_and_iota, gather, scatter, random_bits, regions);

fn views(device: Device) {
    let mut c = Checker::on(device);
    for d in DType::ALL {
        let mut r = rng(d.name());
        for s in shapes() {
            let name = format!("{d} {s}");
            let x = data::wild(d, &s, &mut r);
            let rank = s.rank();
            c.op(&format!("reshape {name}"), &[x.clone()], Class::Exact, |t, v| t.reshape(v[0], &Shape::new(&[s.numel()])));
            c.op(&format!("broadcast {name}"), &[x.clone()], Class::Exact, |t, v| {
                let wide: Shape = [2, 3].into_iter().chain(s.iter().map(|&e| if e == 1 { 4 } else { e })).collect();
                t.broadcast(v[0], &wide)
            });
            c.op(&format!("pad {name}"), &[x.clone()], Class::Exact, |t, v| {
                let value = data::specials(d)[1];
                let (lo, hi) = ((0..rank).map(|i| i % 3).collect(), (0..rank).map(|i| 2 - i % 2).collect());
                t.pad(v[0], PadSpec { lo, hi, value })
            });
            if rank == 0 {
                continue;
            }
            c.op(&format!("permute {name}"), &[x.clone()], Class::Exact, |t, v| {
                let perm: Vec<usize> = (0..rank).rev().collect();
                t.permute(v[0], &perm)
            });
            c.op(&format!("rotate axes {name}"), &[x.clone()], Class::Exact, |t, v| {
                let perm: Vec<usize> = (0..rank).map(|i| (i + 1) % rank).collect();
                t.permute(v[0], &perm)
            });
            for set in 1..1usize << rank {
                let axes: Vec<usize> = (0..rank).filter(|a| set >> a & 1 == 1).collect();
                c.op(&format!("flip {axes:?} {name}"), &[x.clone()], Class::Exact, |t, v| t.flip(v[0], &axes));
            }
            for step in [1, 2, 3] {
                c.op(&format!("slice by {step} {name}"), &[x.clone()], Class::Exact, |t, v| {
                    let start: SmallVec<[usize; 4]> = s.iter().map(|&e| e.min(1)).collect();
                    t.slice(v[0], SliceSpec { start, end: SmallVec::from_slice(&s), step: smallvec![step; rank] })
                });
            }
            // Views of views, then a use of two of them at once.
            c.op(&format!("composed {name}"), &[x.clone()], Class::Exact, |t, v| {
                let flipped = t.flip(v[0], &[rank - 1]);
                let perm: Vec<usize> = (0..rank).rev().collect();
                let turned = t.permute(flipped, &perm);
                let padded = t.pad_zeros(turned, &vec![1; rank], &vec![2; rank]);
                let back = t.permute(padded, &perm);
                let shape = t.shape(back).clone();
                let spec = SliceSpec { start: smallvec![1; rank], end: SmallVec::from_slice(&shape), step: smallvec![2; rank] };
                let part = t.slice(back, spec);
                let n = t.shape(part).numel();
                t.reshape(part, &Shape::new(&[n]))
            });
        }
    }
    c.finish();
}

fn concat_and_iota(device: Device) {
    let mut c = Checker::on(device);
    for d in DType::ALL {
        let mut r = rng(d.name());
        for (rest, axis) in [(&[][..], 0), (&[3], 0), (&[3], 1), (&[2, 4], 1), (&[0], 1)] {
            let shaped = |n: usize| -> Shape { rest[..axis].iter().copied().chain([n]).chain(rest[axis..].iter().copied()).collect() };
            let parts: Vec<_> = [2, 0, 5, 1].iter().map(|&n| data::wild(d, &shaped(n), &mut r)).collect();
            c.op(&format!("concat {d} along {axis}"), &parts, Class::Exact, |t, v| t.concat(v, axis));
            c.op(&format!("concat of itself {d} along {axis}"), &parts[..1], Class::Exact, |t, v| t.concat(&[v[0], v[0], v[0]], axis));
        }
        if d == DType::Bool {
            continue;
        }
        for s in shapes() {
            for axis in 0..s.rank() {
                let mut t = Trace::new();
                let i = t.iota(axis, d, &s);
                t.outputs = vec![i];
                c.check(&format!("iota {d} {s} along {axis}"), &t, &[], &[], Class::Exact);
            }
        }
    }
    c.finish();
}

/// (x, index, batch axes)
const INDEXED: [(&[usize], &[usize], u8); 9] = [
    (&[5], &[], 0),
    (&[5], &[7], 0),
    (&[5, 3], &[2, 4], 0),
    (&[4, 5], &[4, 6], 1),
    (&[2, 3, 5, 2], &[2, 3, 4], 2),
    (&[4, 5, 300], &[4, 2], 1),
    (&[5, 3], &[0], 0),
    (&[5, 0], &[3], 0),
    (&[0, 5], &[0, 2], 1),
];

fn gather(device: Device) {
    let mut c = Checker::on(device);
    for d in DType::ALL {
        for index in [DType::I64, DType::I32] {
            let mut r = rng(d.name());
            for (x, i, batch) in INDEXED {
                // Out of range on both sides: clamped.
                let operands = [data::wild(d, &Shape::new(x), &mut r), data::indices(index, &Shape::new(i), -3, 8, &mut r)];
                c.op(&format!("gather {d} by {index}, {batch} batch axes"), &operands, Class::Exact, |t, v| {
                    t.gather(v[0], v[1], batch as usize)
                });
            }
        }
    }
    c.finish();
}

fn scatter(device: Device) {
    let mut c = Checker::on(device);
    for mode in ScatterMode::ALL {
        for d in DType::ALL {
            if d == DType::Bool && !mode.takes_bool() {
                continue;
            }
            let name = format!("scatter {} {d}", mode.name());
            let mut r = rng(&name);
            for (x, i, batch) in INDEXED {
                let b = batch as usize;
                let updates: Shape = i.iter().chain(&x[b + 1..]).copied().collect();
                // Repeated and out of range: the last wins, sums add up, what is outside is dropped.
                let index = data::indices(DType::I64, &Shape::new(i), -2, 7, &mut r);
                let rounds = matches!(mode, ScatterMode::Add | ScatterMode::Prod);
                let mut operand = |s: &Shape| if rounds { data::tame(d, s, &mut r) } else { data::wild(d, s, &mut r) };
                let operands = [operand(&Shape::new(x)), index, operand(&updates)];
                let class = match mode {
                    ScatterMode::Set => Class::Exact,
                    ScatterMode::Add | ScatterMode::Prod if d.is_float() => Class::Scatter,
                    _ => Class::Choice,
                };
                c.op(&format!("{name}, {batch} batch axes"), &operands, class, |t, v| t.apply(Op::Scatter(mode, batch), v));
            }
        }
    }
    c.finish();
}

fn random_bits(device: Device) {
    let mut c = Checker::on(device);
    for s in shapes() {
        for (key, offset) in [(0, 0), (7, 0), (7, 3), (-1, 1 << 40), (i64::MAX, 5), (1, i64::MAX)] {
            let mut t = Trace::new();
            let (k, o) = (t.param(DType::I64), t.param(DType::I64));
            let bits = t.push_typed(Op::Random, &[k, o], DType::U32, s.clone(), None);
            t.outputs = vec![bits];
            c.check(&format!("random {s}"), &t, &[], &[Scalar::Int(key), Scalar::Int(offset)], Class::Exact);
        }
    }
    c.finish();
}

fn regions(device: Device) {
    let mut c = Checker::on(device);
    let mut r = rng("regions");
    let s = Shape::new(&[4, 6]);
    let mut body = Trace::new();
    let (a, b) = (body.input(DType::F32, s.clone()), body.input(DType::F32, s.clone()));
    let sum = body.add(a, b);
    let neg = body.unary(Unary::Neg, sum);
    let total = body.reduce(lazuli::trace::Reduce::Max, neg, &[0, 1]);
    body.outputs = vec![neg, total];
    let body = Arc::new(body);
    let mut jvp = Trace::new();
    let v: Vec<_> = (0..4).map(|_| jvp.input(DType::F32, s.clone())).collect();
    let zero = jvp.constant(Scalar::Int(0), DType::F32, &Shape::scalar());
    jvp.outputs = vec![v[2], zero];
    for kind in [RegionKind::Checkpoint(0), RegionKind::CustomJvp(Arc::new(jvp))] {
        let mut t = Trace::new();
        let x = [data::wild(DType::F32, &s, &mut r), data::wild(DType::F32, &s, &mut r)];
        let v: Vec<_> = x.iter().map(|x| t.input(x.dtype, x.shape.clone())).collect();
        let name = kind.name();
        let region = t.apply(Op::Region(Arc::new(Region { kind, body: body.clone() })), &v);
        let first = t.push_typed(Op::Output(0), &[region], DType::F32, s.clone(), None);
        let second = t.push_typed(Op::Output(1), &[region], DType::F32, Shape::scalar(), None);
        t.outputs = vec![first, second];
        c.check(name, &t, &x, &[], Class::Choice);
    }
    c.finish();
}
