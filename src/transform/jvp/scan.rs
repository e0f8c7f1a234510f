//! Derivatives of reductions and cumulative scans. None divides by an operand, so zeros are nothing special.

use super::{latest, positions};
use crate::base::{DType, Scalar, Shape};
use crate::trace::{Compare, Op, PadSpec, Reduce, Trace, ValueId};
use smallvec::{SmallVec, smallvec};

/// `y` is the reduction of `x` over `axes`, `d` the tangent of x.
pub(super) fn reduce(t: &mut Trace, kind: Reduce, axes: &[usize], x: ValueId, y: ValueId, d: ValueId) -> Option<ValueId> {
    let shape = t.shape(x).clone();
    let n: usize = axes.iter().map(|&a| shape[a]).product();
    match kind {
        Reduce::Sum => Some(t.reduce(kind, d, axes)),
        _ if n == 0 => None,
        _ if n == 1 => {
            let out = t.shape(y).clone();
            Some(t.reshape(d, &out))
        }
        Reduce::Prod => {
            let (x, axis) = gather_axes(t, x, axes);
            let (d, _) = gather_axes(t, d, axes);
            let others = if n == 2 {
                t.flip(x, &[axis])
            } else {
                let before = exclusive(t, x, axis, false);
                let after = exclusive(t, x, axis, true);
                t.mul(before, after)
            };
            let terms = t.mul(d, others);
            Some(t.reduce(Reduce::Sum, terms, &[axis]))
        }
        // Those that attain the extreme share it alike.
        Reduce::Max | Reduce::Min => {
            let dtype = t.dtype(x);
            let spread = t.broadcast_over(y, axes, &shape);
            let attains = t.compare(Compare::Eq, x, spread);
            let ones = t.cast(attains, dtype);
            let count = t.reduce(Reduce::Sum, ones, axes);
            let zeros = t.zeros_like(x);
            let part = t.select(attains, d, zeros);
            let sum = t.reduce(Reduce::Sum, part, axes);
            Some(t.div(sum, count))
        }
        Reduce::ArgMax | Reduce::ArgMin => None,
    }
}

/// `y` is the running reduction of `x`, `d` the tangent of x.
pub(super) fn cumulative(t: &mut Trace, kind: Reduce, axis: usize, reverse: bool, x: ValueId, y: ValueId, d: ValueId) -> ValueId {
    match kind {
        Reduce::Prod => running_product(t, axis, reverse, x, d),
        Reduce::Max | Reduce::Min => {
            // The tangent of whoever holds the extreme so far, the latest of equals.
            let holds = t.compare(Compare::Eq, x, y);
            let at = positions(t, axis, x);
            let last = t.shape(x)[axis].saturating_sub(1);
            let none = t.constant_like(if reverse { last as f64 } else { 0.0 }, at);
            let marked = t.select(holds, at, none);
            let holder = t.apply(Op::Cumulative { kind: latest(reverse), axis: axis as u8, reverse }, &[marked]);
            take_along(t, d, holder, axis)
        }
        _ => t.apply(Op::Cumulative { kind, axis: axis as u8, reverse }, &[d]),
    }
}

/// The recurrence `dy_i = dy_(i-1) x_i + y_(i-1) dx_i` by recursive doubling (Hillis and Steele, 1986): after step k each
/// element covers its 2^k nearest. Only products and sums, hence right to any order whatever elements are zero.
fn running_product(t: &mut Trace, axis: usize, reverse: bool, x: ValueId, d: ValueId) -> ValueId {
    let n = t.shape(x)[axis];
    let (mut p, mut d, mut step) = (x, d, 1);
    while step < n {
        let earlier_p = shift(t, p, axis, step, 1.0, reverse);
        let earlier_d = shift(t, d, axis, step, 0.0, reverse);
        let (own, inherited) = (t.mul(d, earlier_p), t.mul(earlier_d, p));
        d = t.add(own, inherited);
        step *= 2;
        if step < n {
            p = t.mul(p, earlier_p);
        }
    }
    d
}

/// The product of all elements before (in scan order) each.
fn exclusive(t: &mut Trace, x: ValueId, axis: usize, reverse: bool) -> ValueId {
    let s = shift(t, x, axis, 1, 1.0, reverse);
    t.apply(Op::Cumulative { kind: Reduce::Prod, axis: axis as u8, reverse }, &[s])
}

/// Element i becomes what element `i - by` (`i + by` in reverse) was; `fill` where there is none.
fn shift(t: &mut Trace, x: ValueId, axis: usize, by: usize, fill: f64, reverse: bool) -> ValueId {
    let (rank, n) = (t.shape(x).rank(), t.shape(x)[axis]);
    let kept = if reverse { t.slice_axis(x, axis, by, n) } else { t.slice_axis(x, axis, 0, n - by) };
    let (mut lo, mut hi): (SmallVec<[usize; 4]>, SmallVec<[usize; 4]>) = (smallvec![0; rank], smallvec![0; rank]);
    if reverse {
        hi[axis] = by
    } else {
        lo[axis] = by
    }
    t.pad(kept, PadSpec { lo, hi, value: Scalar::Float(fill) })
}

/// The same elements with all of `axes` as one axis, and which that is.
fn gather_axes(t: &mut Trace, x: ValueId, axes: &[usize]) -> (ValueId, usize) {
    if let [axis] = axes {
        return (x, *axis);
    }
    let shape = t.shape(x).clone();
    let kept: Vec<usize> = (0..shape.rank()).filter(|a| !axes.contains(a)).collect();
    let perm: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let n = axes.iter().map(|&a| shape[a]).product();
    let flat: Shape = kept.iter().map(|&a| shape[a]).chain([n]).collect();
    let moved = t.permute(x, &perm);
    (t.reshape(moved, &flat), kept.len())
}

/// `out[.., i, ..] = x[.., index[.., i, ..], ..]` along `axis`.
fn take_along(t: &mut Trace, x: ValueId, index: ValueId, axis: usize) -> ValueId {
    debug_assert_eq!(t.dtype(index), DType::I64);
    let rank = t.shape(x).rank();
    let mut swap: Vec<usize> = (0..rank).collect();
    swap.swap(axis, rank - 1);
    let (x, index) = (t.permute(x, &swap), t.permute(index, &swap));
    let taken = t.gather(x, index, rank - 1);
    t.permute(taken, &swap)
}
