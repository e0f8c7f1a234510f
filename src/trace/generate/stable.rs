//! Which instructions give comparable results.

use super::build::Known;
use crate::base::DType;
use crate::trace::elementwise::{Binary, Unary};
use crate::trace::interp::HostTensor;
use crate::trace::ir::Inst;
use crate::trace::op::{Op, Reduce, ScatterMode};

/// Whether the operands are in the op's domain, and where the op jumps, the operands are exact or stay clear of the jump.
pub(super) fn clear_of_jumps(inst: &Inst, args: &[&Known]) -> bool {
    let Some(first) = args.first() else { return true };
    let x = |f: &dyn Fn(f64) -> bool| first.value.scalars().all(|s| f(s.as_f64()));
    let pairs = |f: &dyn Fn(f64, f64) -> bool| first.value.scalars().zip(args[1].value.scalars()).all(|(a, b)| f(a.as_f64(), b.as_f64()));
    let float = first.value.dtype.is_float();
    let exact = args.iter().all(|k| k.tolerance == 0.0);
    let tol = args.iter().map(|k| k.tolerance).fold(0.0, f64::max);
    // Exact, or farther from the jump than any error gets.
    let clear = |distance: f64, size: f64| exact || distance > 4.0 * tol * (1.0 + size.abs());
    let from_whole = |v: f64| (v - v.round()).abs();
    match &inst.op {
        Op::Unary(u) if float => match u {
            Unary::Recip => x(&|v| v.abs() >= 0.1),
            Unary::Sqrt => x(&|v| v >= 0.01),
            Unary::Rsqrt | Unary::Log | Unary::Log2 => x(&|v| v >= 0.05),
            Unary::Log1p => x(&|v| v >= -0.9),
            Unary::Sin | Unary::Cos => x(&|v| v.abs() <= 100.0),
            Unary::Tan => x(&|v| v.abs() <= 100.0 && v.cos().abs() >= 0.2),
            Unary::Asin | Unary::Acos => x(&|v| v.abs() <= 0.95),
            Unary::Sign => x(&|v| clear(v.abs(), v)),
            Unary::Floor | Unary::Ceil | Unary::Trunc => x(&|v| clear(from_whole(v), v)),
            Unary::Round => x(&|v| clear(from_whole(v + 0.5), v)),
            _ => true,
        },
        Op::Binary(b) if float => match b {
            Binary::Div => pairs(&|_, b| b.abs() >= 0.1),
            Binary::Rem => exact && pairs(&|_, b| b != 0.0),
            Binary::Pow => pairs(&|a, b| a >= 0.1 && b.abs() <= 4.0),
            Binary::Atan2 => pairs(&|a, b| a.abs() > 0.1 || b > 0.1),
            _ => true,
        },
        Op::Compare(_) if float => pairs(&|a, b| clear((a - b).abs(), a)),
        Op::Cast if float && inst.dtype == DType::Bool => x(&|v| clear(v.abs(), v)),
        Op::Cast if float && matches!(inst.dtype, DType::U8 | DType::U32) => x(&|v| (0.0..255.0).contains(&v) && clear(from_whole(v), v)),
        Op::Cast if float && inst.dtype.is_int() => x(&|v| clear(from_whole(v), v)),
        // Beyond this an integer need not be a float of the dtype, and implementations may go by way of f32.
        Op::Cast if inst.dtype.is_float() => x(&|v| v.abs() <= 16_777_216.0),
        Op::ArgSort(_) => exact,
        Op::Reduce(kind, _) if kind.is_arg() => exact,
        _ => true,
    }
}

/// Whether every implementation gives the same bits for exact operands: nothing is rounded, or there is but one way to round.
pub(super) fn computed_alike(inst: &Inst, args: &[&Known], value: &HostTensor) -> bool {
    if !inst.dtype.is_float() {
        return true;
    }
    // Whole numbers up to here add and multiply without rounding, in any order.
    let whole = match inst.dtype {
        DType::BF16 => 256.0,
        DType::F16 => 2048.0,
        _ => 16_777_216.0,
    };
    let is_whole = |t: &HostTensor| t.scalars().all(|s| s.as_f64().fract() == 0.0);
    let largest = |t: &HostTensor| t.scalars().map(|s| s.as_f64().abs()).fold(0.0, f64::max);
    let wholes = || args.iter().all(|k| is_whole(&k.value));
    let size = |i: usize| largest(&args[i].value);
    match &inst.op {
        Op::Unary(u) => matches!(u, Unary::Neg | Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc),
        Op::Binary(Binary::Max | Binary::Min | Binary::Rem) => true,
        Op::Binary(Binary::Add | Binary::Sub | Binary::Mul) => wholes() && largest(value) <= whole,
        Op::Binary(_) => false,
        Op::Cast => args[0].value.dtype != DType::F64 || matches!(inst.dtype, DType::F32 | DType::F64),
        Op::Reduce(Reduce::Sum, _) | Op::Cumulative { kind: Reduce::Sum, .. } => {
            wholes() && args[0].value.numel() as f64 * size(0) <= whole
        }
        Op::Reduce(Reduce::Prod, _) | Op::Cumulative { kind: Reduce::Prod, .. } => false,
        Op::Scatter(ScatterMode::Prod, _) => false,
        Op::Scatter(ScatterMode::Add, _) => wholes() && size(0) + args[2].value.numel() as f64 * size(2) <= whole,
        Op::Dot => wholes() && args[0].value.shape[args[0].value.shape.rank() - 1] as f64 * size(0) * size(1) <= whole,
        Op::Conv(_) => wholes() && args[1].value.numel() as f64 * size(0) * size(1) <= whole,
        _ => true,
    }
}
