//! The type rule of every op: result dtype and shape from the operands', or an error that names both.

use super::op::{ConvSpec, Op, Reduce};
use crate::base::error::bail;
use crate::base::{DType, Error, Result, Shape};

/// The result type of `op` on operands of the given types.
///
/// `Input`, `Param`, `Const`, `Cast`, `Reshape`, `Broadcast`, `Iota` and `Output` carry part of their type themselves; for them see [`check`].
///
/// # Errors
/// `Shape`, `DType` or `Index`, naming the op and the operand types.
pub fn infer(op: &Op, args: &[(DType, &Shape)]) -> Result<(DType, Shape)> {
    let name = op.name();
    let arity = |n: usize| -> Result<()> {
        if args.len() != n {
            bail!(Internal, "{name} takes {n} operands, got {}", args.len());
        }
        Ok(())
    };
    let same = |from: usize| -> Result<()> {
        for w in args[from..].windows(2) {
            if w[0].0 != w[1].0 {
                bail!(DType, "{name}: dtypes {} and {} differ", w[0].0, w[1].0);
            }
            if w[0].1 != w[1].1 {
                bail!(Shape, "{name}: shapes {} and {} differ", w[0].1, w[1].1);
            }
        }
        Ok(())
    };
    Ok(match op {
        Op::Unary(u) => {
            arity(1)?;
            if !u.accepts(args[0].0) {
                bail!(DType, "{name} is not defined for {}", args[0].0);
            }
            (args[0].0, args[0].1.clone())
        }
        Op::Binary(b) => {
            arity(2)?;
            same(0)?;
            if !b.accepts(args[0].0) {
                bail!(DType, "{name} is not defined for {}", args[0].0);
            }
            (args[0].0, args[0].1.clone())
        }
        Op::Compare(_) => {
            arity(2)?;
            same(0)?;
            (DType::Bool, args[0].1.clone())
        }
        Op::Select => {
            arity(3)?;
            same(1)?;
            if args[0].0 != DType::Bool {
                bail!(DType, "select: the mask is {}, not bool", args[0].0);
            }
            if args[0].1 != args[1].1 {
                bail!(Shape, "select: mask {} against {}", args[0].1, args[1].1);
            }
            (args[1].0, args[1].1.clone())
        }
        Op::Reduce(kind, axes) => {
            arity(1)?;
            let (d, s) = args[0];
            let axes = axis_set(axes, s, kind.name())?;
            if matches!(kind, Reduce::Sum | Reduce::Prod) && d == DType::Bool {
                bail!(DType, "{} is not defined for bool: cast to an integer first", kind.name());
            }
            if !matches!(kind, Reduce::Sum | Reduce::Prod) && axes.iter().any(|&a| s[a] == 0) && s.without(&axes).numel() > 0 {
                bail!(Shape, "{}: shape {s} has no elements along the reduced axes {axes:?}, and there is no identity", kind.name());
            }
            (if kind.is_arg() { DType::I64 } else { d }, s.without(&axes))
        }
        Op::Permute(perm) => {
            arity(1)?;
            let s = args[0].1;
            if perm.len() != s.rank() || (0..s.rank()).any(|a| !perm.contains(&(a as u8))) {
                bail!(Index, "permute: {perm:?} is no order of the axes of shape {s}");
            }
            (args[0].0, perm.iter().map(|&p| s[p as usize]).collect())
        }
        Op::Slice(spec) => {
            arity(1)?;
            let s = args[0].1;
            if spec.start.len() != s.rank() || spec.end.len() != s.rank() || spec.step.len() != s.rank() {
                bail!(Index, "slice: {} ranges for shape {s}", spec.start.len());
            }
            let mut out = s.clone();
            for i in 0..s.rank() {
                let (a, b, st) = (spec.start[i], spec.end[i], spec.step[i]);
                if a > b || b > s[i] || st == 0 {
                    bail!(Index, "slice: {a}..{b} by {st} is out of range for axis {i} of shape {s}");
                }
                out[i] = (b - a).div_ceil(st);
            }
            (args[0].0, out)
        }
        Op::Pad(spec) => {
            arity(1)?;
            let s = args[0].1;
            if spec.lo.len() != s.rank() || spec.hi.len() != s.rank() {
                bail!(Index, "pad: {} axes padded of shape {s}", spec.lo.len());
            }
            if spec.value.category() != args[0].0.category() {
                bail!(DType, "pad: value {:?} for dtype {}", spec.value, args[0].0);
            }
            (args[0].0, (0..s.rank()).map(|i| s[i] + spec.lo[i] + spec.hi[i]).collect())
        }
        Op::Flip(axes) => {
            arity(1)?;
            axis_set(axes, args[0].1, name)?;
            (args[0].0, args[0].1.clone())
        }
        Op::Concat(axis) => {
            let Some(&(d, first)) = args.first() else { bail!(Argument, "concat: no operands") };
            let axis = *axis as usize;
            if axis >= first.rank() {
                bail!(Index, "concat: axis {axis} of shape {first}");
            }
            let mut out = first.clone();
            out[axis] = 0;
            for (dt, s) in args {
                if *dt != d {
                    bail!(DType, "concat: dtypes {d} and {dt} differ");
                }
                if s.rank() != first.rank() || s.keepdim(&[axis]) != first.keepdim(&[axis]) {
                    bail!(Shape, "concat along axis {axis}: shapes {first} and {s} differ elsewhere");
                }
                out[axis] += s[axis];
            }
            (d, out)
        }
        Op::Gather(batch) => {
            arity(2)?;
            let (x, ix) = (args[0].1, args[1].1);
            let b = index_operands(name, *batch as usize, args)?;
            (args[0].0, ix.iter().chain(&x[b + 1..]).copied().collect())
        }
        Op::Scatter(mode, batch) => {
            arity(3)?;
            let (x, ix, up) = (args[0].1, args[1].1, args[2].1);
            let b = index_operands(name, *batch as usize, args)?;
            let want: Shape = ix.iter().chain(&x[b + 1..]).copied().collect();
            if args[0].0 == DType::Bool && !mode.takes_bool() {
                bail!(DType, "scatter {} is not defined for bool: cast to an integer first", mode.name());
            }
            if *up != want || args[2].0 != args[0].0 {
                bail!(Shape, "scatter into {} {x} at {ix}: updates are {} {up}, expected {} {want}", args[0].0, args[2].0, args[0].0);
            }
            (args[0].0, x.clone())
        }
        Op::Dot => {
            arity(2)?;
            let (a, b) = (args[0].1, args[1].1);
            let r = a.rank();
            if args[0].0 != args[1].0 {
                bail!(DType, "dot: dtypes {} and {} differ", args[0].0, args[1].0);
            }
            if args[0].0 == DType::Bool {
                bail!(DType, "dot is not defined for bool");
            }
            if r < 2 || b.rank() != r || a[..r - 2] != b[..r - 2] || a[r - 1] != b[r - 2] {
                bail!(Shape, "dot: shapes {a} and {b} are not [B.., M, K] and [B.., K, N]");
            }
            let mut s = a.clone();
            s[r - 1] = b[r - 1];
            (args[0].0, s)
        }
        Op::Conv(spec) => {
            arity(2)?;
            if args[0].0 != args[1].0 || !args[0].0.is_float() {
                bail!(DType, "conv: input is {}, kernel {}: both must be one float type", args[0].0, args[1].0);
            }
            (args[0].0, conv_shape(spec, args[0].1, args[1].1)?)
        }
        Op::ArgSort(_) => {
            arity(1)?;
            if args[0].1.rank() == 0 {
                bail!(Shape, "argsort: a 0-d operand has no last axis");
            }
            (DType::I64, args[0].1.clone())
        }
        Op::Cumulative { kind, axis, .. } => {
            arity(1)?;
            if *axis as usize >= args[0].1.rank() {
                bail!(Index, "cumulative {}: axis {axis} of shape {}", kind.name(), args[0].1);
            }
            if kind.is_arg() || (args[0].0 == DType::Bool && matches!(kind, Reduce::Sum | Reduce::Prod)) {
                bail!(DType, "cumulative {} is not defined for {}", kind.name(), args[0].0);
            }
            (args[0].0, args[0].1.clone())
        }
        Op::Region(r) => {
            arity(r.arity())?;
            for (i, &(d, s)) in args.iter().enumerate() {
                let want = r.operand(i);
                if d != want.0 || *s != want.1 {
                    bail!(Shape, "region: operand {i} is {d} {s}, its body takes {} {}", want.0, want.1);
                }
            }
            if r.results() == 0 {
                bail!(Argument, "region: the body has no outputs");
            }
            r.result(0)
        }
        Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Cast | Op::Reshape | Op::Broadcast | Op::Iota(_) | Op::Random | Op::Output(_) => {
            bail!(Internal, "{name} carries its own type")
        }
    })
}

/// Checks that an instruction of `op` on `args` may have type `(dtype, shape)`.
///
/// # Errors
/// As [`infer`]; `Internal` if the type is not the inferred one.
pub fn check(op: &Op, args: &[(DType, &Shape)], dtype: DType, shape: &Shape) -> Result<()> {
    let name = op.name();
    let arity = |n: usize| -> Result<(), Error> {
        if args.len() != n {
            bail!(Internal, "{name} takes {n} operands, got {}", args.len());
        }
        Ok(())
    };
    match op {
        Op::Input(_) => arity(0),
        Op::Param(_) | Op::Const(_) => {
            arity(0)?;
            if shape.rank() != 0 {
                bail!(Shape, "{name} is 0-d, not {shape}");
            }
            match op {
                Op::Const(c) if !c.same(c.cast(dtype)) => bail!(DType, "const {c:?} is no value of {dtype}"),
                _ => Ok(()),
            }
        }
        Op::Iota(axis) => {
            arity(0)?;
            if *axis as usize >= shape.rank() || dtype == DType::Bool {
                bail!(Index, "iota along axis {axis} of {dtype} {shape}");
            }
            Ok(())
        }
        Op::Cast => {
            arity(1)?;
            if args[0].1 != shape {
                bail!(Shape, "cast: shape {} becomes {shape}", args[0].1);
            }
            Ok(())
        }
        Op::Reshape => {
            arity(1)?;
            if args[0].1.numel() != shape.numel() || args[0].0 != dtype {
                bail!(Shape, "reshape: {} {} to {dtype} {shape}", args[0].0, args[0].1);
            }
            Ok(())
        }
        Op::Broadcast => {
            arity(1)?;
            let s = args[0].1;
            if s.rank() > shape.rank() || args[0].0 != dtype || s.iter().rev().zip(shape.iter().rev()).any(|(&a, &b)| a != b && a != 1) {
                bail!(Shape, "broadcast: {} {s} to {dtype} {shape}: aligned at the right, extents must be equal or 1", args[0].0);
            }
            Ok(())
        }
        Op::Random => {
            arity(2)?;
            if dtype != DType::U32 || args.iter().any(|a| a.0 != DType::I64 || a.1.rank() != 0) {
                bail!(DType, "random takes two 0-d i64 and gives u32");
            }
            Ok(())
        }
        Op::Output(_) => arity(1),
        _ => {
            let (d, s) = infer(op, args)?;
            if d != dtype || s != *shape {
                bail!(Internal, "{name} yields {d} {s}, but its type says {dtype} {shape}");
            }
            Ok(())
        }
    }
}

/// The output shape of a convolution.
///
/// # Errors
/// `Shape`, naming both operands, if ranks, channels or groups do not fit or the window is larger than the padded input.
pub fn conv_shape(spec: &ConvSpec, x: &Shape, w: &Shape) -> Result<Shape> {
    let n = spec.stride.len();
    if x.rank() != n + 2 || w.rank() != n + 2 {
        bail!(Shape, "conv: input {x} and kernel {w} must both have {} axes for {n} spatial ones", n + 2);
    }
    let g = spec.groups;
    if g == 0 || !x[1].is_multiple_of(g) || !w[0].is_multiple_of(g) || w[1] * g != x[1] {
        bail!(Shape, "conv: input {x}, kernel {w}, {g} groups: the kernel wants {} input channels in all", w[1] * g);
    }
    let mut out = Shape::new(&[x[0], w[0]]);
    out = out.iter().copied().chain((0..n).map(|_| 0)).collect();
    for i in 0..n {
        if spec.stride[i] == 0 || spec.lhs_dilation[i] == 0 || spec.rhs_dilation[i] == 0 {
            bail!(Argument, "conv: stride and dilation must be at least 1");
        }
        let spread = |e: usize, d: usize| if e == 0 { 0 } else { ((e - 1) * d + 1) as isize };
        let have = spread(x[i + 2], spec.lhs_dilation[i]) + spec.lo[i] + spec.hi[i];
        let need = spread(w[i + 2], spec.rhs_dilation[i]);
        if need > have || w[i + 2] == 0 {
            bail!(Shape, "conv: kernel {w} (dilated to {need}) is larger than the padded input ({have}) along spatial axis {i} of {x}");
        }
        out[i + 2] = ((have - need) / spec.stride[i] as isize) as usize + 1;
    }
    Ok(out)
}

fn axis_set(axes: &[u8], s: &Shape, op: &str) -> Result<Vec<usize>> {
    let v: Vec<usize> = axes.iter().map(|&a| a as usize).collect();
    if v.windows(2).any(|w| w[0] >= w[1]) || v.iter().any(|&a| a >= s.rank()) {
        bail!(Index, "{op}: axes {v:?} of shape {s} must ascend and exist");
    }
    Ok(v)
}

fn index_operands(name: &str, b: usize, args: &[(DType, &Shape)]) -> Result<usize> {
    let (x, ix) = (args[0].1, args[1].1);
    if !matches!(args[1].0, DType::I64 | DType::I32) {
        bail!(DType, "{name}: indices are {}, expected i64 or i32", args[1].0);
    }
    if x.rank() <= b || ix.rank() < b || x[..b] != ix[..b] {
        bail!(Shape, "{name}: {x} indexed by {ix} with {b} batch axes");
    }
    if x[b] == 0 && ix.numel() > 0 && x.without(&[b]).numel() > 0 {
        bail!(Index, "{name}: axis {b} of {x} has no elements to index");
    }
    Ok(b)
}
