use super::*;
use crate::base::DType::{self, *};
use crate::trace::op::*;
use crate::trace::{Binary, Compare, ValueId};
use smallvec::smallvec;
use std::sync::Arc;

fn f(shape: &[usize], v: &[f32]) -> HostTensor {
    HostTensor::from_slice(shape, v).unwrap()
}
fn i(shape: &[usize], v: &[i64]) -> HostTensor {
    HostTensor::from_slice(shape, v).unwrap()
}
fn count(shape: &[usize]) -> HostTensor {
    let n = shape.iter().product::<usize>();
    f(shape, &(0..n).map(|x| x as f32).collect::<Vec<_>>())
}

/// The value of one op on `args`.
fn one(args: &[HostTensor], build: impl FnOnce(&mut Trace, &[ValueId]) -> ValueId) -> HostTensor {
    let mut t = Trace::new();
    let ids: Vec<ValueId> = args.iter().map(|a| t.input(a.dtype, a.shape.clone())).collect();
    let out = build(&mut t, &ids);
    t.outputs.push(out);
    interpret(&t, args, &[]).unwrap().remove(0)
}

#[test]
fn views() {
    let x = count(&[2, 3]);
    assert_eq!(one(std::slice::from_ref(&x), |t, a| t.permute(a[0], &[1, 0])), f(&[3, 2], &[0., 3., 1., 4., 2., 5.]));
    assert_eq!(one(std::slice::from_ref(&x), |t, a| t.reshape(a[0], &[6].into())), count(&[6]));
    assert_eq!(one(&[count(&[2, 1])], |t, a| t.broadcast(a[0], &[2, 2, 2].into())), f(&[2, 2, 2], &[0., 0., 1., 1., 0., 0., 1., 1.]));
    assert_eq!(one(std::slice::from_ref(&x), |t, a| t.flip(a[0], &[1])), f(&[2, 3], &[2., 1., 0., 5., 4., 3.]));
    let s = SliceSpec { start: smallvec![0, 0], end: smallvec![2, 3], step: smallvec![1, 2] };
    assert_eq!(one(std::slice::from_ref(&x), |t, a| t.slice(a[0], s)), f(&[2, 2], &[0., 2., 3., 5.]));
    let p = PadSpec { lo: smallvec![1, 0], hi: smallvec![0, 1], value: Scalar::Float(9.0) };
    assert_eq!(one(std::slice::from_ref(&x), |t, a| t.pad(a[0], p)), f(&[3, 4], &[9., 9., 9., 9., 0., 1., 2., 9., 3., 4., 5., 9.]));
    assert_eq!(one(&[x, f(&[2, 1], &[7., 8.])], |t, a| t.concat(a, 1)), f(&[2, 4], &[0., 1., 2., 7., 3., 4., 5., 8.]));
    assert_eq!(one(&[], |t, _| t.iota(1, U8, &[2, 3].into())).to_vec::<u8>(), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn reductions() {
    let nan = f32::NAN;
    let x = f(&[2, 3], &[1., 5., 5., nan, -2., nan]);
    let arg = |kind| one(std::slice::from_ref(&x), |t, a| t.reduce(kind, a[0], &[1])).to_vec::<i64>();
    assert_eq!((arg(Reduce::ArgMax), arg(Reduce::ArgMin)), (vec![1, 0], vec![0, 0]));
    let max = one(std::slice::from_ref(&x), |t, a| t.reduce(Reduce::Max, a[0], &[1])).to_vec::<f32>();
    assert!(max[0] == 5.0 && max[1].is_nan());
    assert_eq!(one(&[count(&[2, 3])], |t, a| t.reduce(Reduce::ArgMax, a[0], &[0, 1])), i(&[], &[5]));
    assert_eq!(one(&[count(&[2, 3, 2])], |t, a| t.reduce(Reduce::Sum, a[0], &[0, 2])), f(&[3], &[14., 22., 30.]));
    assert_eq!(one(&[count(&[0, 2])], |t, a| t.reduce(Reduce::Prod, a[0], &[0])), f(&[2], &[1., 1.]));
    // 2048 + 1 is lost in f16; the sum of 2048 and 64 ones is not.
    let mut v = vec![half::f16::ONE; 65];
    v[0] = half::f16::from_f32(2048.0);
    let h = HostTensor::from_slice([65], &v).unwrap();
    assert_eq!(one(std::slice::from_ref(&h), |t, a| t.reduce(Reduce::Sum, a[0], &[0])).get(0).as_f64(), 2112.0);
    let bytes = HostTensor::from_slice([3], &[200u8, 100, 50]).unwrap();
    assert_eq!(one(&[bytes], |t, a| t.reduce(Reduce::Sum, a[0], &[0])).get(0).as_i64(), 350 - 256);
    let b = HostTensor::from_slice([2], &[true, false]).unwrap();
    assert!(!one(&[b], |t, a| t.reduce(Reduce::Min, a[0], &[0])).get(0).as_bool());
    let cum = |kind, reverse| one(&[f(&[2, 3], &[1., 2., 3., 4., 5., 6.])], |t, a| t.apply(Op::Cumulative { kind, axis: 1, reverse }, a));
    assert_eq!(cum(Reduce::Sum, false), f(&[2, 3], &[1., 3., 6., 4., 9., 15.]));
    assert_eq!(cum(Reduce::Prod, true), f(&[2, 3], &[6., 6., 3., 120., 30., 6.]));
    assert_eq!(one(&[count(&[2, 0, 3])], |t, a| t.apply(Op::Cumulative { kind: Reduce::Max, axis: 1, reverse: true }, a)).numel(), 0);
}

#[test]
fn sort_gather_scatter() {
    let x = f(&[2, 4], &[3., f32::NAN, 1., 3., 0., -0., f32::NAN, 2.]);
    let sort = |d| one(std::slice::from_ref(&x), |t, a| t.apply(Op::ArgSort(d), a)).to_vec::<i64>();
    assert_eq!(sort(false), [2, 0, 3, 1, 0, 1, 3, 2]);
    assert_eq!(sort(true), [1, 0, 3, 2, 2, 3, 0, 1]);
    let ix = i(&[2, 2], &[1, -5, 9, 0]);
    assert_eq!(one(&[count(&[3, 2]), ix.clone()], |t, a| t.gather(a[0], a[1], 0)), f(&[2, 2, 2], &[2., 3., 0., 1., 4., 5., 0., 1.]));
    assert_eq!(one(&[count(&[2, 3]), ix.clone()], |t, a| t.gather(a[0], a[1], 1)), f(&[2, 2], &[1., 0., 5., 3.]));
    let up = f(&[4], &[10., 20., 30., 40.]);
    let ix = i(&[4], &[0, 2, 0, 3]);
    let sc = |m| one(&[count(&[3]), ix.clone(), up.clone()], |t, a| t.apply(Op::Scatter(m, 0), a)).to_vec::<f32>();
    assert_eq!(sc(ScatterMode::Set), [30., 1., 20.]);
    assert_eq!(sc(ScatterMode::Add), [40., 1., 22.]);
    assert_eq!(sc(ScatterMode::Max), [30., 1., 20.]);
    assert_eq!(sc(ScatterMode::Min), [0., 1., 2.]);
}

#[test]
fn products() {
    assert_eq!(one(&[count(&[2, 3]), count(&[3, 2])], |t, a| t.dot(a[0], a[1])), f(&[2, 2], &[10., 13., 28., 40.]));
    assert_eq!(one(&[count(&[1, 0]), count(&[0, 1])], |t, a| t.dot(a[0], a[1])), f(&[1, 1], &[0.]));
    let conv = |x: HostTensor, w: HostTensor, c: ConvSpec| one(&[x, w], |t, a| t.apply(Op::Conv(Box::new(c)), a));
    let spec = |stride, lo, hi, ld, rd, groups| ConvSpec {
        stride: smallvec![stride],
        lo: smallvec![lo],
        hi: smallvec![hi],
        lhs_dilation: smallvec![ld],
        rhs_dilation: smallvec![rd],
        groups,
    };
    let x = f(&[1, 1, 4], &[1., 2., 3., 4.]);
    let w = f(&[1, 1, 2], &[1., 10.]);
    assert_eq!(conv(x.clone(), w.clone(), spec(1, 0, 0, 1, 1, 1)), f(&[1, 1, 3], &[21., 32., 43.]));
    assert_eq!(conv(x.clone(), w.clone(), spec(2, 1, 1, 1, 1, 1)), f(&[1, 1, 3], &[10., 32., 4.]));
    assert_eq!(conv(x.clone(), w.clone(), spec(1, 0, 0, 1, 3, 1)), f(&[1, 1, 1], &[41.]));
    assert_eq!(conv(x.clone(), w.clone(), spec(1, 0, 0, 2, 1, 1)), f(&[1, 1, 6], &[1., 20., 2., 30., 3., 40.]));
    assert_eq!(conv(x, w, spec(1, -1, 0, 1, 1, 1)), f(&[1, 1, 2], &[32., 43.]));
    // Two groups: each output channel sees its own half of the input channels.
    let x = f(&[1, 2, 2], &[1., 2., 3., 4.]);
    assert_eq!(conv(x, f(&[2, 1, 1], &[1., 10.]), spec(1, 0, 0, 1, 1, 2)), f(&[1, 2, 2], &[1., 2., 30., 40.]));
}

#[test]
fn random_bits() {
    let mut t = Trace::new();
    let key = t.constant(Scalar::Int(0), I64, &Shape::scalar());
    let off = t.constant(Scalar::Int(-1), I64, &Shape::scalar());
    let r = t.push_typed(Op::Random, &[key, off], U32, [6].into(), None);
    t.outputs.push(r);
    let bits = interpret(&t, &[], &[]).unwrap().remove(0).to_vec::<u32>();
    // The counter wraps: elements 4 and 5 are at counter 0.
    assert_eq!(bits[4..], [0x6627e8d5, 0xe169c58d]);
}

#[test]
fn regions_and_params() {
    let mut body = Trace::new();
    let x = body.input(F32, [2].into());
    let y = body.add(x, x);
    body.outputs.extend([y, x]);
    let mut t = Trace::new();
    let a = t.input(F32, [2].into());
    let p = t.param(F32);
    let p = t.broadcast(p, &[2].into());
    let r = t.apply(Op::Region(Arc::new(Region { kind: RegionKind::Checkpoint(0), body: Arc::new(body) })), &[a]);
    let o = t.push_typed(Op::Output(0), &[r], F32, [2].into(), None);
    let m = t.mul(o, p);
    let c = t.compare(Compare::Gt, m, a);
    let s = t.select(c, m, a);
    t.outputs.extend([s]);
    let out = interpret(&t, &[f(&[2], &[1., -1.])], &[Scalar::Float(3.0)]).unwrap();
    assert_eq!(out, [f(&[2], &[6., -1.])]);
    assert_eq!(interpret_all(&t, &[f(&[2], &[1., -1.])], &[Scalar::Float(3.0)]).unwrap()[r.index()], f(&[2], &[2., -2.]));
    assert!(interpret(&t, &[], &[]).is_err());
    assert!(interpret(&t, &[f(&[1], &[1.])], &[Scalar::Float(3.0)]).unwrap_err().message().contains("input 0"));
}

#[test]
fn results_are_rounded_to_their_dtype() {
    let x = f(&[1], &[0.1]);
    let y = one(std::slice::from_ref(&x), |t, a| t.binary(Binary::Div, a[0], a[0]));
    assert_eq!(y, f(&[1], &[1.0]));
    let y = one(&[x], |t, a| t.mul(a[0], a[0]));
    assert_eq!(y.get(0).as_f64(), (0.1f32 * 0.1f32) as f64);
    let big = HostTensor::from_slice([1], &[1e10f64]).unwrap();
    assert_eq!(one(&[big], |t, a| t.cast(a[0], DType::I32)).get(0).as_i64(), i32::MAX as i64);
}

#[test]
fn bytes_round_trip() {
    for d in DType::ALL {
        let t = HostTensor::from_scalars(d, [4].into(), [0, 1, -3, 200].map(Scalar::Int));
        assert_eq!(HostTensor::from_bytes(d, [4].into(), &t.to_bytes()).unwrap(), t, "{d}");
        assert!(HostTensor::from_bytes(d, [5].into(), &t.to_bytes()).is_err());
    }
}
