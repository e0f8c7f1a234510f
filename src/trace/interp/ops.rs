//! One op on host values.

use super::HostTensor;
use crate::base::error::{Result, bail};
use crate::base::{DType, Scalar, Shape};
use crate::trace::elementwise::{Binary, Compare};
use crate::trace::ir::Inst;
use crate::trace::op::{ConvSpec, Op, Reduce, ScatterMode};
use crate::trace::scalar::{eval_binary, eval_compare, eval_unary, philox};

/// The value of a verified instruction. Inputs, parameters and regions are the caller's.
pub(in crate::trace) fn eval(inst: &Inst, args: &[&HostTensor]) -> Result<HostTensor> {
    let (dtype, shape) = (inst.dtype, inst.shape.clone());
    let n = shape.numel();
    let map = |f: &dyn Fn(usize) -> Scalar| HostTensor::from_scalars(dtype, inst.shape.clone(), (0..n).map(f));
    Ok(match &inst.op {
        Op::Const(c) => HostTensor::full(dtype, shape, *c),
        Op::Unary(u) => map(&|i| eval_unary(*u, dtype, args[0].get(i))),
        Op::Binary(b) => map(&|i| eval_binary(*b, dtype, args[0].get(i), args[1].get(i))),
        Op::Compare(c) => map(&|i| Scalar::Bool(eval_compare(*c, args[0].get(i), args[1].get(i)))),
        Op::Select => map(&|i| args[if args[0].get(i).as_bool() { 1 } else { 2 }].get(i)),
        Op::Cast => map(&|i| args[0].get(i).cast(dtype)),

        Op::Reshape => HostTensor { dtype, shape, data: args[0].data.clone() },
        Op::Permute(perm) => {
            let s = args[0].shape.strides();
            let strides: Vec<isize> = perm.iter().map(|&p| s[p as usize] as isize).collect();
            view(args[0], shape, 0, &strides)
        }
        Op::Broadcast => {
            let (from, s) = (&args[0].shape, args[0].shape.strides());
            let lead = shape.rank() - from.rank();
            let strides: Vec<isize> =
                (0..shape.rank()).map(|i| if i < lead || from[i - lead] == 1 { 0 } else { s[i - lead] as isize }).collect();
            view(args[0], shape, 0, &strides)
        }
        Op::Slice(spec) => {
            let s = args[0].shape.strides();
            let offset: usize = spec.start.iter().zip(&s).map(|(a, b)| a * b).sum();
            let strides: Vec<isize> = spec.step.iter().zip(&s).map(|(a, b)| (a.wrapping_mul(*b)) as isize).collect();
            view(args[0], shape, offset as isize, &strides)
        }
        Op::Flip(axes) => {
            let from = &args[0].shape;
            let mut strides: Vec<isize> = from.strides().iter().map(|&s| s as isize).collect();
            let mut offset = 0;
            for &a in axes {
                let a = a as usize;
                offset += strides[a] * (from[a] as isize - 1);
                strides[a] = -strides[a];
            }
            view(args[0], shape, offset, &strides)
        }
        Op::Pad(spec) => {
            let mut out = HostTensor::full(dtype, shape, spec.value);
            let s = out.shape.strides();
            let offset: usize = spec.lo.iter().zip(&s).map(|(a, b)| a * b).sum();
            let strides: Vec<isize> = s.iter().map(|&s| s as isize).collect();
            for (i, p) in places(&args[0].shape, offset as isize, &strides).into_iter().enumerate() {
                out.set(p, args[0].get(i));
            }
            out
        }
        Op::Concat(axis) => {
            let axis = *axis as usize;
            let mut out = HostTensor::full(dtype, shape, Scalar::Int(0));
            let s = out.shape.strides();
            let strides: Vec<isize> = s.iter().map(|&s| s as isize).collect();
            let mut start = 0;
            for a in args {
                for (i, p) in places(&a.shape, (start * s[axis]) as isize, &strides).into_iter().enumerate() {
                    out.set(p, a.get(i));
                }
                start += a.shape[axis];
            }
            out
        }

        Op::Iota(axis) => {
            let (stride, extent) = (shape.strides()[*axis as usize], shape[*axis as usize]);
            map(&|i| Scalar::Int((i / stride % extent) as i64))
        }
        Op::Random => {
            let (key, offset) = (args[0].get(0).as_i64() as u64, args[1].get(0).as_i64() as u64);
            map(&|i| Scalar::Int(philox(key, offset.wrapping_add(i as u64 / 4))[i % 4] as i64))
        }
        Op::Gather(batch) => {
            let (n, places) = index_places(args[0], args[1], *batch as usize);
            let places: Vec<usize> =
                places.into_iter().map(|(base, i, inner)| base + (i.clamp(0, n as i64 - 1) as usize) * inner).collect();
            args[0].take(shape, &places)
        }
        Op::Scatter(mode, batch) => scatter(*mode, args, *batch as usize)?,

        Op::Reduce(kind, axes) => {
            let axes: Vec<usize> = axes.iter().map(|&a| a as usize).collect();
            reduce(*kind, args[0], &axes, dtype, shape)
        }
        Op::Cumulative { kind, axis, reverse } => {
            let mut out = args[0].clone();
            let extent = shape[*axis as usize];
            let stride = shape.strides()[*axis as usize];
            for start in places(&shape.keepdim(&[*axis as usize]), 0, &strides_of(&shape)) {
                let mut acc = Accumulator::new(*kind);
                for k in 0..extent {
                    let p = start + stride * if *reverse { extent - 1 - k } else { k };
                    acc.add(args[0].get(p));
                    out.set(p, acc.value(dtype).cast(dtype));
                }
            }
            out
        }
        Op::ArgSort(descending) => {
            let len = shape[shape.rank() - 1];
            let mut out = Vec::with_capacity(n);
            for row in 0..n.checked_div(len).unwrap_or(0) {
                let mut order: Vec<usize> = (0..len).collect();
                order.sort_by(|&a, &b| {
                    let (a, b) = if *descending { (b, a) } else { (a, b) };
                    total_order(args[0].get(row * len + a), args[0].get(row * len + b))
                });
                out.extend(order.into_iter().map(|p| Scalar::Int(p as i64)));
            }
            HostTensor::from_scalars(dtype, shape, out)
        }
        Op::Dot => dot(args[0], args[1], shape),
        Op::Conv(spec) => conv(spec, args[0], args[1], shape),
        Op::Input(_) | Op::Param(_) | Op::Region(_) | Op::Output(_) => bail!(Internal, "has no value of its own"),
    })
}

fn strides_of(s: &Shape) -> Vec<isize> {
    s.strides().iter().map(|&s| s as isize).collect()
}

/// The place `offset + index . strides` of every index of `shape`, in row-major order.
fn places(shape: &Shape, offset: isize, strides: &[isize]) -> Vec<usize> {
    let n = shape.numel();
    let mut out = Vec::with_capacity(n);
    let mut index = vec![0usize; shape.rank()];
    let mut at = offset;
    for _ in 0..n {
        out.push(at as usize);
        for i in (0..shape.rank()).rev() {
            index[i] += 1;
            at = at.wrapping_add(strides[i]);
            if index[i] < shape[i] {
                break;
            }
            at = at.wrapping_sub(strides[i].wrapping_mul(shape[i] as isize));
            index[i] = 0;
        }
    }
    out
}

fn view(x: &HostTensor, shape: Shape, offset: isize, strides: &[isize]) -> HostTensor {
    let p = places(&shape, offset, strides);
    x.take(shape, &p)
}

/// For every element of a gather's result (a scatter's updates), in row-major order: its place in `x` for index 0, the index,
/// and the distance of one index step. Before them, N.
fn index_places(x: &HostTensor, index: &HostTensor, batch: usize) -> (usize, Vec<(usize, i64, usize)>) {
    let product = |s: &[usize]| s.iter().product::<usize>();
    let (outer, n, inner) = (product(&x.shape[..batch]), x.shape[batch], product(&x.shape[batch + 1..]));
    let per = product(&index.shape[batch..]);
    let mut out = Vec::with_capacity(outer * per * inner);
    for b in 0..outer {
        for k in 0..per {
            let i = index.get(b * per + k).as_i64();
            out.extend((0..inner).map(|r| (b * n * inner + r, i, inner)));
        }
    }
    (n, out)
}

fn scatter(mode: ScatterMode, args: &[&HostTensor], batch: usize) -> Result<HostTensor> {
    let dtype = args[0].dtype;
    if dtype == DType::Bool && !mode.takes_bool() {
        bail!(DType, "scatter {} is not defined for bool", mode.name());
    }
    let (n, places) = index_places(args[0], args[1], batch);
    // Carried at full width: sums and products are rounded once, at the end.
    let mut acc: Vec<Scalar> = args[0].scalars().collect();
    let wide = if dtype.is_float() { DType::F64 } else { dtype };
    for (u, (base, i, inner)) in places.into_iter().enumerate() {
        if !(0..n as i64).contains(&i) {
            continue;
        }
        let (p, v) = (base + i as usize * inner, args[2].get(u));
        acc[p] = match mode.combines() {
            None => v,
            Some(op) => eval_binary(op, wide, acc[p], v),
        };
    }
    Ok(HostTensor::from_scalars(dtype, args[0].shape.clone(), acc))
}

/// NaN is largest and equals NaN; zeros are equal.
pub(crate) fn total_order(a: Scalar, b: Scalar) -> std::cmp::Ordering {
    let nan = |s: Scalar| s.as_f64().is_nan();
    if eval_compare(Compare::Lt, a, b) {
        std::cmp::Ordering::Less
    } else if eval_compare(Compare::Gt, a, b) {
        std::cmp::Ordering::Greater
    } else {
        nan(a).cmp(&nan(b))
    }
}

/// A reduction in progress: full width, in order.
pub(crate) struct Accumulator {
    kind: Reduce,
    best: Option<Scalar>,
    seen: i64,
    position: i64,
}

impl Accumulator {
    pub(crate) fn new(kind: Reduce) -> Accumulator {
        Accumulator { kind, best: None, seen: 0, position: 0 }
    }

    pub(crate) fn add(&mut self, x: Scalar) {
        let wide = match x {
            Scalar::Float(_) => DType::F64,
            Scalar::Int(_) => DType::I64,
            Scalar::Bool(_) => DType::Bool,
        };
        let nan = |s: Scalar| s.as_f64().is_nan();
        self.best = Some(match self.best {
            None => x,
            Some(b) => match self.kind {
                Reduce::Sum => eval_binary(Binary::Add, wide, b, x),
                Reduce::Prod => eval_binary(Binary::Mul, wide, b, x),
                Reduce::Max => eval_binary(Binary::Max, wide, b, x),
                Reduce::Min => eval_binary(Binary::Min, wide, b, x),
                Reduce::ArgMax | Reduce::ArgMin => {
                    let better = if self.kind == Reduce::ArgMax { Compare::Gt } else { Compare::Lt };
                    if !nan(b) && (nan(x) || eval_compare(better, x, b)) {
                        self.position = self.seen;
                        x
                    } else {
                        b
                    }
                }
            },
        });
        self.seen += 1;
    }

    pub(crate) fn value(&self, dtype: DType) -> Scalar {
        match (self.kind, self.best) {
            (Reduce::ArgMax | Reduce::ArgMin, _) => Scalar::Int(self.position),
            (_, Some(b)) => b,
            (kind, None) => Scalar::Int((kind == Reduce::Prod) as i64).cast(dtype),
        }
    }
}

fn reduce(kind: Reduce, x: &HostTensor, axes: &[usize], dtype: DType, shape: Shape) -> HostTensor {
    let kept: Shape = x.shape.without(axes);
    let inner: Shape = axes.iter().map(|&a| x.shape[a]).collect();
    let s = strides_of(&x.shape);
    let outer_strides: Vec<isize> = (0..x.shape.rank()).filter(|a| !axes.contains(a)).map(|a| s[a]).collect();
    let inner_strides: Vec<isize> = axes.iter().map(|&a| s[a]).collect();
    let inner_places = places(&inner, 0, &inner_strides);
    let out = places(&kept, 0, &outer_strides).into_iter().map(|start| {
        let mut acc = Accumulator::new(kind);
        for p in &inner_places {
            acc.add(x.get(start + p));
        }
        acc.value(dtype)
    });
    HostTensor::from_scalars(dtype, shape, out.collect::<Vec<_>>())
}

fn dot(a: &HostTensor, b: &HostTensor, shape: Shape) -> HostTensor {
    let r = shape.rank();
    let (m, n, k) = (shape[r - 2], shape[r - 1], a.shape[r - 1]);
    let batches: usize = shape[..r - 2].iter().product();
    let mut out = Vec::with_capacity(shape.numel());
    for batch in 0..batches {
        for i in 0..m {
            for j in 0..n {
                let at = |l: usize| (a.get((batch * m + i) * k + l), b.get((batch * k + l) * n + j));
                out.push(if a.dtype.is_float() {
                    Scalar::Float((0..k).map(at).fold(0.0, |s, (x, y)| s + x.as_f64() * y.as_f64()))
                } else {
                    Scalar::Int((0..k).map(at).fold(0, |s, (x, y)| s.wrapping_add(x.as_i64().wrapping_mul(y.as_i64()))))
                });
            }
        }
    }
    HostTensor::from_scalars(a.dtype, shape, out)
}

fn conv(spec: &ConvSpec, x: &HostTensor, w: &HostTensor, shape: Shape) -> HostTensor {
    let (xs, ws) = (x.shape.strides(), w.shape.strides());
    let per_group = (x.shape[1] / spec.groups, w.shape[0] / spec.groups);
    let window: Shape = w.shape[2..].iter().copied().collect();
    let indices = |s: &Shape| -> Vec<Vec<usize>> {
        let st = s.strides();
        (0..s.numel()).map(|i| (0..s.rank()).map(|a| i / st[a] % s[a]).collect()).collect()
    };
    let taps = indices(&window);
    let mut out = Vec::with_capacity(shape.numel());
    for o in indices(&shape) {
        let (batch, channel) = (o[0], o[1]);
        let group = channel / per_group.1;
        let mut sum = 0.0;
        for tap in &taps {
            // The place of this tap in one channel, or None where it meets padding or dilation zeros.
            let spot = (0..window.rank()).try_fold(0usize, |p, a| {
                let at = (o[a + 2] * spec.stride[a] + tap[a] * spec.rhs_dilation[a]) as isize - spec.lo[a];
                let d = spec.lhs_dilation[a] as isize;
                let inside = at >= 0 && at % d == 0 && at / d < x.shape[a + 2] as isize;
                inside.then(|| p + (at / d) as usize * xs[a + 2])
            });
            let Some(spot) = spot else { continue };
            let tap_place: usize = tap.iter().enumerate().map(|(a, t)| t * ws[a + 2]).sum();
            for c in 0..per_group.0 {
                let a = x.get(batch * xs[0] + (group * per_group.0 + c) * xs[1] + spot).as_f64();
                let b = w.get(channel * ws[0] + c * ws[1] + tap_place).as_f64();
                sum += a * b;
            }
        }
        out.push(Scalar::Float(sum));
    }
    HostTensor::from_scalars(x.dtype, shape, out)
}
