//! Every rule against the program run on one example after another, by the interpreter, bit for bit.

use super::{Lifted, stacked, stretch, vmap};
use crate::base::{DType, ErrorKind, Scalar, Shape};
use crate::trace::elementwise::{Binary, Compare, Unary};
use crate::trace::generate::random_program;
use crate::trace::interp::{HostTensor, interpret};
use crate::trace::verify::verify;
use crate::trace::{ConvSpec, Op, PadSpec, Reduce, Region, RegionKind, ScatterMode, SliceSpec, Trace, ValueId};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// Distinct numbers around zero.
fn floats(shape: &[usize]) -> HostTensor {
    let n: usize = shape.iter().product();
    HostTensor::from_slice(shape, &(0..n).map(|i| ((i * 7 + 3) as f64 * 0.618_033_988_75).fract() * 3.0 - 1.5).collect::<Vec<_>>()).unwrap()
}

fn ints(shape: &[usize], values: &[i64]) -> HostTensor {
    HostTensor::from_slice(shape, values).unwrap()
}

fn bools(shape: &[usize]) -> HostTensor {
    let n: usize = shape.iter().product();
    HostTensor::from_slice(shape, &(0..n).map(|i| i % 3 == 0).collect::<Vec<_>>()).unwrap()
}

/// Example `e`: the same elements in another order.
fn example(x: &HostTensor, e: usize) -> HostTensor {
    let mut v: Vec<Scalar> = x.scalars().collect();
    if !v.is_empty() {
        let n = v.len();
        v.rotate_left(e % n);
    }
    if x.numel() == 1 && x.dtype.is_float() {
        v = vec![Scalar::Float(v[0].as_f64() + e as f64)];
    }
    HostTensor::from_scalars(x.dtype, x.shape.clone(), v)
}

fn stack(parts: &[HostTensor], dtype: DType, shape: &Shape) -> HostTensor {
    HostTensor::from_scalars(dtype, stacked(parts.len(), shape), parts.iter().flat_map(|p| p.scalars().collect::<Vec<_>>()))
}

/// The trace for `size` examples of the inputs for which `batched` holds, all outputs stretched over the batch; also what became of them.
fn batched_trace(t: &Trace, size: usize, batched: &[bool]) -> (Trace, Vec<Lifted>) {
    let mut b = t.clone();
    let seeds: Vec<(ValueId, ValueId)> = (0..batched.len())
        .filter(|&i| batched[i])
        .map(|i| {
            let v = t.inputs[i];
            (v, b.input(t.dtype(v), stacked(size, t.shape(v))))
        })
        .collect();
    let found = vmap(&mut b, size, &seeds, &[], &t.outputs).unwrap();
    b.outputs = found.iter().map(|l| if l.batched { l.value } else { stretch(&mut b, l.value, size) }).collect();
    verify(&b).unwrap_or_else(|e| panic!("{e}\n{t}"));
    (b, found)
}

/// What is wrong with the batch of `size` examples.
fn fault(t: &Trace, inputs: &[HostTensor], params: &[Scalar], size: usize, batched: &[bool]) -> Option<String> {
    let (b, _) = batched_trace(t, size, batched);
    let of =
        |e: usize| -> Vec<HostTensor> { inputs.iter().zip(batched).map(|(x, &b)| if b { example(x, e) } else { x.clone() }).collect() };
    // What is batched must not be read in its unbatched form: that holds something else.
    let nothing = |x: &HostTensor| HostTensor::full(x.dtype, x.shape.clone(), Scalar::Int(0).cast(x.dtype));
    let mut all: Vec<HostTensor> = inputs.iter().zip(batched).map(|(x, &b)| if b { nothing(x) } else { x.clone() }).collect();
    for (i, x) in inputs.iter().enumerate().filter(|(i, _)| batched[*i]) {
        let parts: Vec<HostTensor> = (0..size).map(|e| of(e).swap_remove(i)).collect();
        all.push(stack(&parts, x.dtype, &x.shape));
    }
    let have = interpret(&b, &all, params).unwrap_or_else(|e| panic!("{e}\n{t}"));
    let runs: Vec<Vec<HostTensor>> = (0..size).map(|e| interpret(t, &of(e), params).unwrap()).collect();
    for (k, have) in have.iter().enumerate() {
        let parts: Vec<HostTensor> = runs.iter().map(|r| r[k].clone()).collect();
        let want = stack(&parts, t.dtype(t.outputs[k]), t.shape(t.outputs[k]));
        if !have.same(&want) {
            return Some(format!("output {k} of {size} examples over {batched:?}: {have:?}, expected {want:?}\n{t}"));
        }
    }
    None
}

/// The rule for whatever inputs are batched, for no, one and three examples.
#[track_caller]
fn check(inputs: &[HostTensor], build: impl FnOnce(&mut Trace, &[ValueId]) -> Vec<ValueId>) -> Trace {
    let mut t = Trace::new();
    let x: Vec<ValueId> = inputs.iter().map(|p| t.input(p.dtype, p.shape.clone())).collect();
    t.outputs = build(&mut t, &x);
    verify(&t).unwrap();
    for subset in 1..1usize << inputs.len() {
        let batched: Vec<bool> = (0..inputs.len()).map(|i| subset >> i & 1 == 1).collect();
        for size in [0, 1, 3] {
            if let Some(f) = fault(&t, inputs, &[], size, &batched) {
                panic!("{f}");
            }
        }
    }
    t
}

/// How often the batched trace has an op of that name behind the first `from` instructions.
fn count(t: &Trace, from: usize, name: &str) -> usize {
    t.insts[from..].iter().filter(|i| i.op.name() == name).count()
}

#[test]
fn elementwise() {
    check(&[floats(&[2, 3]), floats(&[2, 3]), bools(&[2, 3])], |t, x| {
        let y = t.unary(Unary::Tanh, x[0]);
        let z = t.binary(Binary::Atan2, y, x[1]);
        let c = t.compare(Compare::Lt, x[0], x[1]);
        let s = t.select(x[2], z, x[0]);
        vec![z, c, s, t.cast(c, DType::I32)]
    });
    // Numbers that stretch, and 0-d examples.
    check(&[floats(&[]), floats(&[4])], |t, x| {
        let s = Shape::from([4]);
        let a = t.broadcast(x[0], &s);
        let b = t.binary_const(Binary::Mul, a, 3.0);
        vec![t.add(b, x[1]), t.unary(Unary::Exp, x[0])]
    });
}

#[test]
fn reductions_and_scans() {
    for kind in Reduce::ALL {
        check(&[floats(&[2, 3, 2])], |t, x| {
            let mut out = vec![t.reduce(kind, x[0], &[0, 2]), t.reduce(kind, x[0], &[1]), t.reduce(kind, x[0], &[0, 1, 2])];
            if !kind.is_arg() {
                out.push(t.apply(Op::Cumulative { kind, axis: 0, reverse: false }, &[x[0]]));
                out.push(t.apply(Op::Cumulative { kind, axis: 2, reverse: true }, &[x[0]]));
            }
            out
        });
    }
    check(&[floats(&[2, 5])], |t, x| vec![t.apply(Op::ArgSort(false), &[x[0]]), t.apply(Op::ArgSort(true), &[x[0]])]);
}

#[test]
fn views_and_joins() {
    check(&[floats(&[2, 3])], |t, x| {
        let spec = SliceSpec { start: smallvec![0, 1], end: smallvec![2, 3], step: smallvec![1, 2] };
        let pad = PadSpec { lo: smallvec![1, 0], hi: smallvec![0, 2], value: Scalar::Float(7.0) };
        vec![
            t.reshape(x[0], &[3, 1, 2].into()),
            t.reshape(x[0], &[6].into()),
            t.permute(x[0], &[1, 0]),
            t.broadcast(x[0], &[4, 2, 3].into()),
            t.slice(x[0], spec),
            t.pad(x[0], pad),
            t.flip(x[0], &[1]),
        ]
    });
    check(&[floats(&[1, 3])], |t, x| vec![t.broadcast(x[0], &[2, 5, 3].into()), t.broadcast(x[0], &[5, 3].into())]);
    check(&[floats(&[2, 3]), floats(&[2, 1]), floats(&[2, 2])], |t, x| vec![t.concat(x, 1)]);
}

#[test]
fn gathers() {
    let (x, ix) = (floats(&[4, 2, 3]), ints(&[2, 3], &[0, 3, -1, 9, 2, 1]));
    check(&[x.clone(), ix], |t, v| vec![t.gather(v[0], v[1], 0)]);
    check(&[x.clone(), ints(&[], &[2])], |t, v| vec![t.gather(v[0], v[1], 0)]);
    check(&[x.clone(), ints(&[4, 3], &[0, 1, 1, 0, 0, 0, 1, 1, 1, 7, 0, -2])], |t, v| vec![t.gather(v[0], v[1], 1)]);
    check(&[x, ints(&[4, 2], &[0, 2, 1, 1, 0, 2, 2, 2])], |t, v| vec![t.gather(v[0], v[1], 2)]);
    // An index that all examples share is not stretched, nor is a table.
    let t = check(&[floats(&[5, 3]), ints(&[2], &[1, 4])], |t, v| vec![t.gather(v[0], v[1], 0)]);
    for batched in [[true, false], [false, true]] {
        let (b, _) = batched_trace(&t, 3, &batched);
        assert_eq!((count(&b, t.insts.len(), "gather"), count(&b, t.insts.len(), "broadcast")), (1, 0));
    }
}

#[test]
fn scatters() {
    for mode in ScatterMode::ALL {
        let scatter = |batch: u8| move |t: &mut Trace, v: &[ValueId]| vec![t.apply(Op::Scatter(mode, batch), v)];
        check(&[floats(&[4, 2]), ints(&[3], &[1, 1, 9]), floats(&[3, 2])], scatter(0));
        check(&[floats(&[4]), ints(&[2, 2], &[0, 3, 3, -1]), floats(&[2, 2])], scatter(0));
        check(&[floats(&[2, 3, 2]), ints(&[2, 3], &[1, 1, 0, 2, 5, 2]), floats(&[2, 3, 2])], scatter(1));
        check(&[floats(&[2, 3]), ints(&[2], &[1, 0]), floats(&[2])], scatter(1));
    }
}

#[test]
fn products() {
    let t = check(&[floats(&[2, 3]), floats(&[3, 4])], |t, x| vec![t.dot(x[0], x[1])]);
    check(&[floats(&[2, 2, 3]), floats(&[2, 3, 4])], |t, x| vec![t.dot(x[0], x[1])]);
    check(&[floats(&[1, 3]), floats(&[3, 1])], |t, x| vec![t.dot(x[0], x[1])]);
    check(&[floats(&[2, 0]), floats(&[0, 4])], |t, x| vec![t.dot(x[0], x[1])]);
    // One side batched: one matrix product, of which the shared side is not stretched.
    for (batched, shape) in [([true, false], [6, 4]), ([false, true], [2, 12])] {
        let (b, _) = batched_trace(&t, 3, &batched);
        let dot = b.insts[t.insts.len()..].iter().find(|i| i.op == Op::Dot).unwrap();
        assert_eq!(dot.shape, shape);
        assert_eq!(count(&b, t.insts.len(), "broadcast"), 0);
    }
}

fn conv_spec(groups: usize, n: usize) -> ConvSpec {
    ConvSpec {
        stride: SmallVec::from_elem(2, n),
        lo: SmallVec::from_elem(1, n),
        hi: SmallVec::from_elem(0, n),
        lhs_dilation: SmallVec::from_elem(1, n),
        rhs_dilation: SmallVec::from_elem(2, n),
        groups,
    }
}

#[test]
fn convolutions() {
    for (groups, x, w) in
        [(1, [2, 3, 5, 4], [4, 3, 2, 1]), (2, [2, 4, 5, 4], [6, 2, 2, 2]), (3, [1, 3, 4, 4], [3, 1, 2, 2]), (1, [0, 3, 5, 4], [4, 3, 2, 1])]
    {
        let t = check(&[floats(&x), floats(&w)], |t, v| vec![t.apply(Op::Conv(Box::new(conv_spec(groups, 2))), v)]);
        for batched in [[true, false], [false, true], [true, true]] {
            assert_eq!(count(&batched_trace(&t, 3, &batched).0, t.insts.len(), "conv"), 1);
        }
    }
    check(&[floats(&[2, 2, 6]), floats(&[2, 2, 3])], |t, v| vec![t.apply(Op::Conv(Box::new(conv_spec(1, 1))), v)]);
    // More groups than a convolution may have: in parts.
    let mut t = Trace::new();
    let (x, w) = (t.input(DType::F32, [1, 20_000, 1].into()), t.input(DType::F32, [20_000, 1, 1].into()));
    let spec = ConvSpec { lo: smallvec![0], stride: smallvec![1], ..conv_spec(20_000, 1) };
    t.outputs = vec![t.apply(Op::Conv(Box::new(spec)), &[x, w])];
    let inputs: Vec<HostTensor> =
        [x, w].iter().map(|&v| HostTensor::from_scalars(DType::F32, t.shape(v).clone(), (0..20_000).map(Scalar::Int))).collect();
    assert_eq!(fault(&t, &inputs, &[], 4, &[true, true]), None);
}

#[test]
fn random_bits_of_own_keys_and_of_draws() {
    check(&[ints(&[], &[5]), ints(&[], &[9])], |t, v| vec![t.push_typed(Op::Random, v, DType::U32, [2, 3].into(), None)]);
    // Keys that differ.
    let mut t = Trace::new();
    let keys = t.input(DType::I64, [2].into());
    let (key, offset) = (t.reduce(Reduce::Max, keys, &[0]), t.constant(Scalar::Int(3), DType::I64, &Shape::scalar()));
    t.outputs = vec![t.push_typed(Op::Random, &[key, offset], DType::U32, [5].into(), None)];
    let mut b = t.clone();
    let all = b.input(DType::I64, [2, 2].into());
    b.outputs = vmap(&mut b, 2, &[(keys, all)], &[], &t.outputs).unwrap().iter().map(|l| l.value).collect();
    let bits = interpret(&b, &[ints(&[2], &[0, 0]), ints(&[2, 2], &[1, 4, 8, 2])], &[]).unwrap();
    let own = |k: i64| interpret(&t, &[ints(&[2], &[k, k])], &[]).unwrap().swap_remove(0).to_vec::<i64>();
    assert_eq!(bits[0].to_vec::<i64>(), [own(4), own(8)].concat());

    // A draw is as many draws as there are examples, of counters that follow each other; another is the same for all.
    let mut t = Trace::new();
    let x = t.input(DType::F64, Shape::scalar());
    let (key, offset) = (t.param(DType::I64), t.param(DType::I64));
    let own = t.push_typed(Op::Random, &[key, offset], DType::U32, [6].into(), None);
    let shared = t.push_typed(Op::Random, &[key, offset], DType::U32, [2].into(), None);
    let all = t.input(DType::F64, [4].into());
    let found = vmap(&mut t, 4, &[(x, all)], &[own], &[own, shared, x]).unwrap();
    assert_eq!(found.iter().map(|l| l.batched).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(found[1].value, shared);
    let long = t.push_typed(Op::Random, &[key, offset], DType::U32, [24].into(), None);
    t.outputs = vec![found[0].value, long];
    let zeros = [HostTensor::full(DType::F64, Shape::scalar(), Scalar::Float(0.0)), floats(&[4])];
    let out = interpret(&t, &zeros, &[Scalar::Int(7), Scalar::Int(100)]).unwrap();
    assert_eq!(out[0].shape, [4, 6]);
    assert_eq!(out[0].to_vec::<i64>(), out[1].to_vec::<i64>());
}

fn region(t: &mut Trace, kind: RegionKind, body: Trace, args: &[ValueId]) -> Vec<ValueId> {
    let types: Vec<(DType, Shape)> = body.outputs.iter().map(|&o| (body.dtype(o), body.shape(o).clone())).collect();
    let r = t.apply(Op::Region(Arc::new(Region { kind, body: Arc::new(body) })), args);
    types.into_iter().enumerate().map(|(k, (d, s))| t.push_typed(Op::Output(k as u32), &[r], d, s, None)).collect()
}

/// Of `a` and `b`: their product, the sine of `b`, and a position.
fn body() -> Trace {
    let mut t = Trace::new();
    let (a, b) = (t.input(DType::F64, [3].into()), t.input(DType::F64, [3].into()));
    let p = t.mul(a, b);
    let s = t.unary(Unary::Sin, b);
    t.outputs = vec![p, s, t.reduce(Reduce::ArgMax, a, &[0])];
    t
}

/// The true cotangents of `body`.
fn reverse_rule() -> Trace {
    let mut t = Trace::new();
    let v: Vec<ValueId> = [DType::F64, DType::F64, DType::F64, DType::F64, DType::I64, DType::F64, DType::F64, DType::I64]
        .into_iter()
        .map(|d| t.input(d, if d == DType::I64 { Shape::scalar() } else { [3].into() }))
        .collect();
    let (a, b, dp, ds) = (v[0], v[1], v[5], v[6]);
    let da = t.mul(dp, b);
    let cos = t.unary(Unary::Cos, b);
    let (x, y) = (t.mul(dp, a), t.mul(ds, cos));
    t.outputs = vec![da, t.add(x, y)];
    t
}

/// The true tangents of `body`.
fn forward_rule() -> Trace {
    let mut t = Trace::new();
    let v: Vec<ValueId> = (0..4).map(|_| t.input(DType::F64, [3].into())).collect();
    let (x, y) = (t.mul(v[2], v[1]), t.mul(v[0], v[3]));
    let cos = t.unary(Unary::Cos, v[1]);
    let (dp, ds) = (t.add(x, y), t.mul(cos, v[3]));
    let none = t.constant(Scalar::Int(0), DType::I64, &Shape::scalar());
    t.outputs = vec![dp, ds, none];
    t
}

fn kinds() -> [RegionKind; 3] {
    [RegionKind::Checkpoint(0), RegionKind::CustomJvp(Arc::new(forward_rule())), RegionKind::CustomVjp(Arc::new(reverse_rule()))]
}

#[test]
fn regions() {
    for kind in kinds() {
        let t = check(&[floats(&[3]), floats(&[3])], |t, x| {
            let outs = region(t, kind.clone(), body(), x);
            let twice = t.add(outs[1], outs[1]);
            [outs, vec![twice]].concat()
        });
        // Where only `a` is batched, the sine of `b` is not, nor what is made of it, but for the sake of a reverse rule.
        let (_, found) = batched_trace(&t, 3, &[true, false]);
        let all = matches!(kind, RegionKind::CustomVjp(_));
        assert_eq!(found.iter().map(|l| l.batched).collect::<Vec<_>>(), [true, all, true, all], "{kind:?}");
    }
}

/// Cotangents through a batched region are the batch of cotangents through it; of what the examples share, their sum.
#[test]
fn derivatives_of_batched_regions() {
    use super::super::{jvp, vjp};
    let size = 4;
    let (a, b) = (floats(&[3]), floats(&[3]));
    for kind in kinds() {
        let mut t = Trace::new();
        let x: Vec<ValueId> = (0..2).map(|_| t.input(DType::F64, [3].into())).collect();
        t.outputs = region(&mut t, kind.clone(), body(), &x);
        for batched in [[true, false], [false, true], [true, true]] {
            let (mut whole, _) = batched_trace(&t, size, &batched);
            let wrt: Vec<ValueId> =
                (0..2).map(|i| if batched[i] { whole.inputs[2 + batched[..i].iter().filter(|b| **b).count()] } else { x[i] }).collect();
            let (y0, y1) = (whole.outputs[0], whole.outputs[1]);
            let c = whole.constant_like(0.5, y0);
            let g = vjp(&mut whole, &[(y0, c), (y1, c)], &wrt).unwrap();
            whole.outputs = g.iter().map(|g| g.unwrap()).collect();
            if !matches!(kind, RegionKind::CustomVjp(_)) {
                let seeds: Vec<(ValueId, ValueId)> = wrt.iter().map(|&v| (v, v)).collect();
                let d = jvp(&mut whole, &seeds, &[y0, y1]).unwrap();
                whole.outputs.extend(d.iter().map(|d| d.unwrap()));
            }
            verify(&whole).unwrap();
            let of = |e: usize| [&a, &b].iter().zip(batched).map(|(x, b)| if b { example(x, e) } else { (*x).clone() }).collect::<Vec<_>>();
            let mut inputs = vec![a.clone(), b.clone()];
            for i in (0..2).filter(|&i| batched[i]) {
                let parts: Vec<HostTensor> = (0..size).map(|e| of(e).swap_remove(i)).collect();
                inputs.push(stack(&parts, DType::F64, &[3].into()));
            }
            let have: Vec<Vec<f64>> = interpret(&whole, &inputs, &[]).unwrap().iter().map(|x| x.to_vec()).collect();
            // By hand: y0 = a b, y1 = sin b.
            let (mut da, mut db, mut dy0, mut dy1) = (vec![], vec![], vec![], vec![]);
            for e in 0..size {
                let v: Vec<Vec<f64>> = of(e).iter().map(|x| x.to_vec()).collect();
                for (a, b) in v[0].iter().zip(&v[1]) {
                    da.push(0.5 * b);
                    db.push(0.5 * a + 0.5 * b.cos());
                    dy0.push(2.0 * a * b);
                    dy1.push(b * b.cos());
                }
            }
            let fold = |v: Vec<f64>, batched: bool| if batched { v } else { (0..3).map(|i| v.iter().skip(i).step_by(3).sum()).collect() };
            let mut want = vec![fold(da, batched[0]), fold(db, batched[1])];
            if !matches!(kind, RegionKind::CustomVjp(_)) {
                want.extend([dy0, dy1]);
            }
            for (h, w) in have.iter().zip(&want) {
                assert!(
                    h.len() == w.len() && h.iter().zip(w).all(|(h, w)| (h - w).abs() < 1e-12),
                    "{kind:?} {batched:?}: {have:?}, expected {want:?}"
                );
            }
            assert_eq!(have.len(), want.len());
        }
    }
}

#[test]
fn what_depends_on_no_batch_stays() {
    let mut t = Trace::new();
    let (x, w) = (t.input(DType::F64, [3].into()), t.input(DType::F64, [3].into()));
    let e = t.unary(Unary::Exp, w);
    let s = t.unary(Unary::Sqrt, e);
    let y = t.mul(x, s);
    let all = t.input(DType::F64, [5, 3].into());
    let n = t.insts.len();
    let before = t.clone();
    let found = vmap(&mut t, 5, &[(x, all)], &[], &[s, y, all]).unwrap();
    assert_eq!(found[0], Lifted { value: s, batched: false });
    assert_eq!(found[2], Lifted { value: all, batched: false });
    assert_eq!(t.shape(found[1].value), &Shape::from([5, 3]));
    assert_eq!(t.insts[..n], before.insts[..]);
    // The broadcast of the root and the product.
    assert_eq!(t.insts.len() - n, 2);
}

#[test]
fn ten_thousand_ops_and_located_where_they_were_recorded() {
    let here = std::panic::Location::caller();
    let mut t = Trace::new();
    let x = t.input(DType::F64, [2].into());
    let mut y = x;
    for _ in 0..10_000 {
        y = t.push(Op::Unary(Unary::Sin), &[y], Some(here)).unwrap();
    }
    let all = t.input(DType::F64, [3, 2].into());
    let n = t.insts.len();
    vmap(&mut t, 3, &[(x, all)], &[], &[y]).unwrap();
    assert_eq!(t.insts.len() - n, 10_000);
    assert!(t.insts[n..].iter().all(|i| i.site == Some(here)));
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut t = Trace::new();
    let (x, deep) = (t.input(DType::F64, [2].into()), t.input(DType::F64, Shape::from(vec![1; 64])));
    let (short, narrow, all) = (t.input(DType::F64, [3, 1].into()), t.input(DType::F32, [3, 2].into()), t.input(DType::F64, [3, 2].into()));
    let y = t.neg(x);
    let wide = t.broadcast(x, &Shape::from([vec![1; 63], vec![2]].concat()));
    let n = t.insts.len();
    let kind = |t: &mut Trace, b: ValueId, draws: &[ValueId], of: ValueId| vmap(t, 3, &[(x, b)], draws, &[of]).unwrap_err().kind();
    assert_eq!(kind(&mut t, short, &[], y), ErrorKind::Shape);
    assert_eq!(kind(&mut t, narrow, &[], y), ErrorKind::DType);
    assert_eq!(kind(&mut t, all, &[y], y), ErrorKind::Argument);
    assert_eq!(kind(&mut t, all, &[], wide), ErrorKind::Shape);
    assert_eq!(t.insts.len(), n);
    assert!(vmap(&mut t, 3, &[(x, all)], &[], &[y, deep]).is_ok());
}

#[test]
fn random_programs() {
    let mut batched_outputs = 0;
    for seed in 0..600u64 {
        let p = random_program(seed, 4 + seed as usize % 40);
        let n = p.inputs.len();
        if n == 0 {
            continue;
        }
        let batched: Vec<bool> = (0..n).map(|i| (seed >> (i % 8)) & 1 == 0 || i as u64 == seed % n as u64).collect();
        if let Some(f) = fault(&p.trace, &p.inputs, &p.params, 1 + seed as usize % 3, &batched) {
            panic!("seed {seed}: {f}");
        }
        batched_outputs += batched_trace(&p.trace, 2, &batched).1.iter().filter(|l| l.batched).count();
    }
    assert!(batched_outputs > 500, "{batched_outputs}");
}
