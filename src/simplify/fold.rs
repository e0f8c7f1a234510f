//! Constants and algebra. Every identity here is exact: for NaN, infinities, -0 and wrapping integers alike.
//! So there is no `x * 0 = 0`, no `x / x = 1`, and `x + 0 = x` only for a zero of the sign that keeps -0.

use super::Builder;
use super::cse::commutes;
use crate::base::dtype::round_float;
use crate::base::{DType, Scalar};
use crate::trace::scalar::{eval_binary, eval_compare, eval_unary};
use crate::trace::{Binary, Compare, Inst, Op, Reduce, Unary, ValueId};
use smallvec::SmallVec;

/// A value equal to `inst`, if a rule knows a simpler one.
pub(super) fn rule(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    if inst.op.is_elementwise()
        && let Some(v) = constant(b, inst).or_else(|| hoist(b, inst))
    {
        return Some(v);
    }
    match inst.op {
        Op::Unary(op) => unary(b, inst, op),
        Op::Binary(op) => binary(b, inst, op),
        Op::Compare(op) => compare(b, inst, op),
        Op::Select => select(b, inst),
        Op::Cast => cast(b, inst),
        Op::Reduce(..) => reduce(b, inst),
        _ => None,
    }
}

/// Elementwise on constants: a constant.
fn constant(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    let a: SmallVec<[Scalar; 3]> = inst.args.iter().map(|&a| b.splat(a)).collect::<Option<_>>()?;
    let value = match inst.op {
        Op::Unary(op) => eval_unary(op, inst.dtype, a[0]),
        Op::Binary(op) => eval_binary(op, inst.dtype, a[0], a[1]),
        Op::Compare(op) => Scalar::Bool(eval_compare(op, a[0], a[1])),
        Op::Select => a[if a[0].as_bool() { 1 } else { 2 }],
        _ => a[0].cast(inst.dtype),
    };
    Some(b.constant(value, inst.dtype, &inst.shape))
}

/// Elementwise on broadcast 0-d values: computed once, then broadcast.
fn hoist(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    if inst.shape.rank() == 0 {
        return None;
    }
    let scalars: SmallVec<[ValueId; 3]> = inst.args.iter().map(|&a| b.filled(a)).collect::<Option<_>>()?;
    let one = b.build(inst.op.clone(), &scalars, inst.dtype, &Default::default(), inst.site);
    Some(b.fill(one, &inst.shape))
}

/// The operand of `v`, if `v` is that unary op.
fn under(b: &Builder, v: ValueId, op: Unary) -> Option<ValueId> {
    (b.t[v].op == Op::Unary(op)).then(|| b.t[v].args[0])
}

fn unary(b: &mut Builder, inst: &Inst, op: Unary) -> Option<ValueId> {
    use Unary::*;
    let x = inst.args[0];
    let inner = match b.t[x].op {
        Op::Unary(u) => u,
        Op::Compare(c) if op == Not => {
            let exact = !b.t.dtype(b.t[x].args[0]).is_float();
            let args = b.t[x].args.clone();
            return opposite(c, exact).map(|c| b.like(inst, Op::Compare(c), &args));
        }
        _ => return None,
    };
    let y = b.t[x].args[0];
    match (op, inner) {
        (Neg, Neg) | (Not, Not) => Some(y),
        (Abs, Abs) | (Sign, Sign) => Some(x),
        // Of an unsigned number the negative is another number with another absolute value.
        (Abs, Neg) if !matches!(inst.dtype, DType::U8 | DType::U32) => Some(b.like(inst, Op::Unary(Abs), &[y])),
        (Floor | Ceil | Round | Trunc, Floor | Ceil | Round | Trunc) => Some(x),
        _ => None,
    }
}

/// The comparison that holds exactly where `c` does not. With NaN only equality has one (`exact` says there is none).
fn opposite(c: Compare, exact: bool) -> Option<Compare> {
    use Compare::*;
    match c {
        Eq => Some(Ne),
        Ne => Some(Eq),
        Lt if exact => Some(Ge),
        Le if exact => Some(Gt),
        Gt if exact => Some(Le),
        Ge if exact => Some(Lt),
        _ => None,
    }
}

fn binary(b: &mut Builder, inst: &Inst, op: Binary) -> Option<ValueId> {
    let (x, y) = (inst.args[0], inst.args[1]);
    if let Some(c) = b.splat(y) {
        return with_constant(b, inst, op, x, c);
    }
    if b.splat(x).is_some() {
        // Constants stand at the right, where the rules look for them.
        return commutes(&inst.op).then(|| b.like(inst, inst.op.clone(), &[y, x]));
    }
    let float = inst.dtype.is_float();
    let (nx, ny) = (under(b, x, Unary::Neg), under(b, y, Unary::Neg));
    match (op, nx, ny) {
        (Binary::Max | Binary::Min | Binary::And | Binary::Or, ..) if x == y => Some(x),
        (Binary::Sub | Binary::Xor, ..) if x == y && !float => Some(b.constant(Scalar::Int(0).cast(inst.dtype), inst.dtype, &inst.shape)),
        (Binary::Add, _, Some(y)) => Some(b.like(inst, Op::Binary(Binary::Sub), &[x, y])),
        (Binary::Add, Some(x), None) => Some(b.like(inst, Op::Binary(Binary::Sub), &[y, x])),
        (Binary::Sub, _, Some(y)) => Some(b.like(inst, Op::Binary(Binary::Add), &[x, y])),
        (Binary::Mul, Some(x), Some(y)) => Some(b.like(inst, inst.op.clone(), &[x, y])),
        (Binary::Div, Some(x), Some(y)) if float => Some(b.like(inst, inst.op.clone(), &[x, y])),
        _ => None,
    }
}

/// `x op c`, `x` no constant.
fn with_constant(b: &mut Builder, inst: &Inst, op: Binary, x: ValueId, c: Scalar) -> Option<ValueId> {
    use Binary::*;
    let d = inst.dtype;
    match c {
        Scalar::Float(v) => match op {
            Add if v == 0.0 && v.is_sign_negative() => Some(x),
            Sub if v == 0.0 && v.is_sign_positive() => Some(x),
            Mul | Div if v == 1.0 => Some(x),
            Mul | Div if v == -1.0 => Some(b.like(inst, Op::Unary(Unary::Neg), &[x])),
            Mul if let Some(x) = under(b, x, Unary::Neg) => {
                let c = b.constant(Scalar::Float(-v), d, &inst.shape);
                Some(b.like(inst, inst.op.clone(), &[x, c]))
            }
            // By a power of two whose reciprocal the dtype holds (as a normal number, as devices flush others): the product and the
            // quotient round the same number.
            Div if v.is_normal() && v.to_bits() << 12 == 0 && round_float(d, 1.0 / v) == 1.0 / v && (1.0 / v).abs() >= smallest(d) => {
                let c = b.constant(Scalar::Float(1.0 / v), d, &inst.shape);
                Some(b.like(inst, Op::Binary(Mul), &[x, c]))
            }
            Pow if v == 0.0 => Some(b.constant(Scalar::Float(1.0), d, &inst.shape)),
            Pow if v == 1.0 => Some(x),
            Pow if v == 2.0 => Some(b.like(inst, Op::Binary(Mul), &[x, x])),
            Pow if v == -1.0 => Some(b.like(inst, Op::Unary(Unary::Recip), &[x])),
            _ => None,
        },
        Scalar::Int(v) => {
            let ones = Scalar::Int(-1).cast(d).as_i64();
            match op {
                Add | Sub | Or | Xor | Shl | Shr if v == 0 => Some(x),
                Mul | And if v == 0 => Some(b.constant(c, d, &inst.shape)),
                Mul | Div if v == 1 => Some(x),
                And if v == ones => Some(x),
                Or if v == ones => Some(b.constant(c, d, &inst.shape)),
                Xor if v == ones => Some(b.like(inst, Op::Unary(Unary::Not), &[x])),
                Pow if v == 0 => Some(b.constant(Scalar::Int(1), d, &inst.shape)),
                Pow if v == 1 => Some(x),
                Pow if v == 2 => Some(b.like(inst, Op::Binary(Mul), &[x, x])),
                // (y op c2) op c: integers wrap, so these associate.
                Add | Mul | And | Or | Xor | Max | Min if b.t[x].op == inst.op => {
                    let (y, c2) = (b.t[x].args[0], b.splat(b.t[x].args[1])?);
                    let c = b.constant(eval_binary(op, d, c2, c), d, &inst.shape);
                    Some(b.like(inst, inst.op.clone(), &[y, c]))
                }
                _ => None,
            }
        }
        Scalar::Bool(v) => match (op, v) {
            (And | Min, true) | (Or | Max | Xor, false) => Some(x),
            (And | Min, false) | (Or | Max, true) => Some(b.constant(c, d, &inst.shape)),
            (Xor, true) => Some(b.like(inst, Op::Unary(Unary::Not), &[x])),
            _ => None,
        },
    }
}

/// The smallest normal number of a float dtype.
fn smallest(d: DType) -> f64 {
    match d {
        DType::F16 => half::f16::MIN_POSITIVE.to_f64(),
        DType::F64 => f64::MIN_POSITIVE,
        _ => f32::MIN_POSITIVE as f64,
    }
}

fn compare(b: &mut Builder, inst: &Inst, op: Compare) -> Option<ValueId> {
    // Of equal operands; a float might be NaN.
    if inst.args[0] != inst.args[1] || b.t.dtype(inst.args[0]).is_float() {
        return None;
    }
    let holds = matches!(op, Compare::Eq | Compare::Le | Compare::Ge);
    Some(b.constant(Scalar::Bool(holds), DType::Bool, &inst.shape))
}

fn select(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    let (m, x, y) = (inst.args[0], inst.args[1], inst.args[2]);
    if x == y {
        return Some(x);
    }
    if let Some(c) = b.splat(m) {
        return Some(if c.as_bool() { x } else { y });
    }
    if let Some(m) = under(b, m, Unary::Not) {
        return Some(b.like(inst, Op::Select, &[m, y, x]));
    }
    match (b.splat(x), b.splat(y)) {
        (Some(Scalar::Bool(true)), Some(Scalar::Bool(false))) => Some(m),
        (Some(Scalar::Bool(false)), Some(Scalar::Bool(true))) => Some(b.like(inst, Op::Unary(Unary::Not), &[m])),
        (Some(x1), Some(y1)) if x1.same(y1) => Some(x),
        _ => None,
    }
}

fn cast(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    let x = inst.args[0];
    let middle = b.t.dtype(x);
    if middle == inst.dtype {
        return Some(x);
    }
    if b.t[x].op != Op::Cast {
        return None;
    }
    let y = b.t[x].args[0];
    let from = b.t.dtype(y);
    // A float on its way to an integer saturates where an integer would wrap.
    let saturates = from.is_int() && middle.is_float() && inst.dtype.is_int() && !holds(inst.dtype, from);
    (holds(middle, from) && !saturates).then(|| b.like(inst, Op::Cast, &[y]))
}

/// Whether every value of `from` is a value of `to`.
fn holds(to: DType, from: DType) -> bool {
    use DType::*;
    match from {
        _ if from == to => true,
        Bool => true,
        U8 => to != Bool,
        F16 | BF16 => matches!(to, F32 | F64),
        F32 => to == F64,
        I32 | U32 => matches!(to, I64 | F64),
        F64 | I64 => false,
    }
}

fn reduce(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    let Op::Reduce(kind, axes) = &inst.op else { return None };
    let x = inst.args[0];
    let count: usize = axes.iter().map(|&a| b.t.shape(x)[a as usize]).product();
    if kind.is_arg() {
        return (count == 1).then(|| b.constant(Scalar::Int(0), DType::I64, &inst.shape));
    }
    if axes.is_empty() {
        return Some(x);
    }
    if count == 1 {
        return Some(b.like(inst, Op::Reshape, &[x]));
    }
    if let Some(c) = b.splat(x)
        && let Some(c) = reduced(*kind, c, count, inst.dtype)
    {
        return Some(b.constant(c, inst.dtype, &inst.shape));
    }
    // Two reductions in a row are one where the order and rounding between them do not matter.
    let exact = !inst.dtype.is_float() || matches!(kind, Reduce::Max | Reduce::Min);
    if let Op::Reduce(inner, first) = &b.t[x].op
        && inner == kind
        && exact
    {
        let y = b.t[x].args[0];
        let left: SmallVec<[u8; 8]> = (0..b.t.shape(y).rank() as u8).filter(|a| !first.contains(a)).collect();
        let mut all = first.clone();
        all.extend(axes.iter().map(|&a| left[a as usize]));
        all.sort_unstable();
        return Some(b.like(inst, Op::Reduce(*kind, all), &[y]));
    }
    None
}

/// `count` times the same element, reduced.
fn reduced(kind: Reduce, c: Scalar, count: usize, dtype: DType) -> Option<Scalar> {
    match (kind, c) {
        (Reduce::Max | Reduce::Min, c) if count > 0 => Some(c),
        (Reduce::Sum, Scalar::Int(c)) => Some(Scalar::Int(c.wrapping_mul(count as i64)).cast(dtype)),
        // Every partial sum of a number of 24 bits is exact in f64, so adding one by one gives the same.
        (Reduce::Sum, Scalar::Float(c)) if dtype != DType::F64 && count > 0 && count < 1 << 28 => {
            Some(Scalar::Float(round_float(dtype, c * count as f64)))
        }
        _ => None,
    }
}
