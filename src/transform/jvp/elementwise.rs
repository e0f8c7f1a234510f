//! Derivatives of the scalar functions. At points without one they follow PyTorch.

use super::super::{add_opt, literal};
use crate::trace::{Binary, Compare, Trace, Unary, ValueId};
use std::f64::consts::{FRAC_2_SQRT_PI, LN_2};

/// Whether the derivative is zero wherever it exists.
pub(super) fn is_flat(u: Unary) -> bool {
    matches!(u, Unary::Sign | Unary::Not | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc)
}

/// `y = u(x)`, `d` the tangent of x.
pub(super) fn unary(t: &mut Trace, u: Unary, x: ValueId, y: ValueId, d: ValueId) -> Option<ValueId> {
    use Binary::{Add, Mul};
    let coefficient = match u {
        _ if is_flat(u) => return None,
        Unary::Neg => return Some(t.neg(d)),
        Unary::Sqrt => {
            let c = t.add(y, y);
            return Some(t.div(d, c));
        }
        Unary::Log => return Some(t.div(d, x)),
        Unary::Log2 => {
            let c = t.binary_const(Mul, x, LN_2);
            return Some(t.div(d, c));
        }
        Unary::Log1p => {
            let c = t.binary_const(Add, x, 1.0);
            return Some(t.div(d, c));
        }
        Unary::Atan => {
            let c = one_plus_square(t, x);
            return Some(t.div(d, c));
        }
        Unary::Abs => {
            // Not `Sign`, which keeps NaN: as in PyTorch, NaN gets no gradient.
            let (zero, one, minus) = (t.zeros_like(x), t.constant_like(1.0, x), t.constant_like(-1.0, x));
            let (above, below) = (t.compare(Compare::Gt, x, zero), t.compare(Compare::Lt, x, zero));
            let rest = t.select(below, minus, zero);
            t.select(above, one, rest)
        }
        Unary::Recip => {
            let s = t.mul(y, y);
            t.neg(s)
        }
        Unary::Rsqrt => {
            let s = t.mul(y, y);
            let h = t.binary_const(Mul, y, -0.5);
            t.mul(h, s)
        }
        Unary::Exp => y,
        Unary::Exp2 => t.binary_const(Mul, y, LN_2),
        Unary::Expm1 => t.binary_const(Add, y, 1.0),
        Unary::Sin => t.unary(Unary::Cos, x),
        Unary::Cos => {
            let s = t.unary(Unary::Sin, x);
            t.neg(s)
        }
        Unary::Tan => one_plus_square(t, y),
        Unary::Asin => {
            let s = one_minus_square(t, x);
            t.unary(Unary::Rsqrt, s)
        }
        Unary::Acos => {
            let s = one_minus_square(t, x);
            let r = t.unary(Unary::Rsqrt, s);
            t.neg(r)
        }
        Unary::Sinh => t.unary(Unary::Cosh, x),
        Unary::Cosh => t.unary(Unary::Sinh, x),
        Unary::Tanh => one_minus_square(t, y),
        Unary::Erf => {
            let s = t.mul(x, x);
            let n = t.neg(s);
            let e = t.unary(Unary::Exp, n);
            t.binary_const(Mul, e, FRAC_2_SQRT_PI)
        }
        Unary::Sign | Unary::Not | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc => return None,
    };
    Some(t.mul(d, coefficient))
}

fn one_plus_square(t: &mut Trace, x: ValueId) -> ValueId {
    let s = t.mul(x, x);
    t.binary_const(Binary::Add, s, 1.0)
}

fn one_minus_square(t: &mut Trace, x: ValueId) -> ValueId {
    let s = t.mul(x, x);
    let one = t.constant_like(1.0, x);
    t.sub(one, s)
}

/// `y = op(a, b)`, `da` and `db` their tangents.
pub(super) fn binary(
    t: &mut Trace,
    op: Binary,
    (a, b): (ValueId, ValueId),
    y: ValueId,
    d: (Option<ValueId>, Option<ValueId>),
) -> Option<ValueId> {
    let (da, db) = d;
    match op {
        Binary::Add => add_opt(t, da, db),
        Binary::Sub => match (da, db) {
            (Some(da), Some(db)) => Some(t.sub(da, db)),
            (da, None) => da,
            (None, Some(db)) => Some(t.neg(db)),
        },
        Binary::Mul if a == b => {
            // The tangent is doubled, not the value, which may be close to the largest float.
            let da = da?;
            let twice = t.add(da, da);
            Some(t.mul(twice, a))
        }
        Binary::Mul => {
            let p = da.map(|d| t.mul(d, b));
            let q = db.map(|d| t.mul(d, a));
            add_opt(t, p, q)
        }
        Binary::Div => match (da, db) {
            (Some(da), Some(db)) => {
                let p = t.mul(db, y);
                let s = t.sub(da, p);
                Some(t.div(s, b))
            }
            (Some(da), None) => Some(t.div(da, b)),
            (None, db) => {
                let q = t.div(y, b);
                let c = t.neg(q);
                Some(t.mul(db?, c))
            }
        },
        Binary::Rem => {
            let q = db.map(|d| {
                let q = t.div(a, b);
                let n = t.unary(Unary::Trunc, q);
                t.mul(d, n)
            });
            match (da, q) {
                (Some(da), Some(q)) => Some(t.sub(da, q)),
                (da, None) => da,
                (None, Some(q)) => Some(t.neg(q)),
            }
        }
        Binary::Max => extreme(t, Compare::Lt, a, b, d),
        Binary::Min => extreme(t, Compare::Gt, a, b, d),
        Binary::Pow => {
            let p = da.and_then(|d| power_base(t, a, b, y, d));
            let q = db.map(|d| power_exponent(t, a, b, y, d));
            add_opt(t, p, q)
        }
        Binary::Atan2 => {
            let (sa, sb) = (t.mul(a, a), t.mul(b, b));
            let r = t.add(sa, sb);
            let p = da.map(|d| t.mul(d, b));
            let q = db.map(|d| t.mul(d, a));
            let s = match (p, q) {
                (Some(p), Some(q)) => t.sub(p, q),
                (Some(p), None) => p,
                (None, q) => t.neg(q?),
            };
            Some(t.div(s, r))
        }
        // Not on floats.
        Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr => None,
    }
}

/// Max or min: the tangent of the one that wins; half of each where they tie.
fn extreme(t: &mut Trace, loses: Compare, a: ValueId, b: ValueId, (da, db): (Option<ValueId>, Option<ValueId>)) -> Option<ValueId> {
    let (zero, half, one) = (t.zeros_like(a), t.constant_like(0.5, a), t.constant_like(1.0, a));
    let ties = t.compare(Compare::Eq, a, b);
    let share = |t: &mut Trace, x: ValueId, other: ValueId, d: ValueId| {
        let lost = t.compare(loses, x, other);
        let rest = t.select(ties, half, one);
        let share = t.select(lost, zero, rest);
        t.mul(d, share)
    };
    let p = da.map(|d| share(t, a, b, d));
    let q = db.map(|d| share(t, b, a, d));
    add_opt(t, p, q)
}

/// The part of `d(a^b)` that comes from a: `b a^(b-1) da`, zero where b is 0 (also at a = 0).
fn power_base(t: &mut Trace, a: ValueId, b: ValueId, y: ValueId, d: ValueId) -> Option<ValueId> {
    let Some(n) = literal(t, b) else {
        // At a = b = 0 the exponent is taken as 0, not -1: 0 * 0^-1 would be NaN, and so would its derivatives, which a
        // select around the product would not prevent.
        let zero = t.zeros_like(a);
        let a0 = t.compare(Compare::Eq, a, zero);
        let b0 = t.compare(Compare::Eq, b, zero);
        let both = t.binary(Binary::And, a0, b0);
        let one = t.constant_like(1.0, a);
        let e = t.select(both, one, b);
        let e = t.sub(e, one);
        let p = t.binary(Binary::Pow, a, e);
        let c = t.mul(b, p);
        return Some(t.mul(d, c));
    };
    let c = match n {
        0.0 => return None,
        1.0 => return Some(d),
        2.0 => t.add(a, a),
        0.5 => {
            let c = t.add(y, y);
            return Some(t.div(d, c));
        }
        -1.0 => {
            let s = t.mul(y, y);
            t.neg(s)
        }
        _ => {
            let p = if n == 3.0 { t.mul(a, a) } else { t.binary_const(Binary::Pow, a, n - 1.0) };
            t.binary_const(Binary::Mul, p, n)
        }
    };
    Some(t.mul(d, c))
}

/// The part of `d(a^b)` that comes from b: `a^b log(a) db`, zero where a is 0 and b is not negative.
fn power_exponent(t: &mut Trace, a: ValueId, b: ValueId, y: ValueId, d: ValueId) -> ValueId {
    let c = match literal(t, a) {
        Some(base) if base > 0.0 => t.binary_const(Binary::Mul, y, base.ln()),
        _ => {
            // The logarithm is taken of 1 there, so that no infinity arises that would turn a zero into NaN.
            let zero = t.zeros_like(a);
            let a0 = t.compare(Compare::Eq, a, zero);
            let up = t.compare(Compare::Ge, b, zero);
            let both = t.binary(Binary::And, a0, up);
            let one = t.constant_like(1.0, a);
            let safe = t.select(both, one, a);
            let l = t.unary(Unary::Log, safe);
            t.mul(y, l)
        }
    };
    t.mul(d, c)
}
