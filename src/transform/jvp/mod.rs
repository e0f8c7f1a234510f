//! Forward mode: one rule per op, in order of the trace.
//!
//! `elementwise` scalar functions; `scan` reductions and cumulative scans; `region` sub-traces with a rule of
//! their own; `control` branches and loops. Structural and bilinear ops are few lines each and stand here.
//!
//! A rule gets the operands, the primal result and the operands' tangents, and emits instructions that are linear in
//! the tangents: every tangent meets only additions, views, and products with coefficients made of primal values. That is
//! what makes the result transposable. Coefficients reuse the primal result where they can.

mod control;
mod elementwise;
mod region;
mod scan;

pub(super) use region::fits;

use super::{add_opt, or_undo, same_type, set_site};
use crate::base::{DType, Result};
use crate::trace::{Compare, Inst, Op, Reduce, ScatterMode, Trace, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Tangents of an instruction's operands.
type Tangents = SmallVec<[Option<ValueId>; 3]>;

/// What forward mode does where a region has only a reverse rule.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Custom {
    /// Refuse: there is no tangent to give.
    Refuse,
    /// Leave a marker for the transpose to replace.
    Mark,
}

/// Appends to `t` the tangents of `of`, given `(value, tangent)` seeds; `None` where a value does not depend on any.
///
/// A value that is a seed and also depends on another seed gets the sum.
///
/// # Errors
/// `Shape` or `DType` if a seed's tangent has not the value's type; `Gradient` if a seed is no float, or a function with
/// only a reverse rule lies on the way.
pub fn jvp(t: &mut Trace, seeds: &[(ValueId, ValueId)], of: &[ValueId]) -> Result<Vec<Option<ValueId>>> {
    for &(v, d) in seeds {
        same_type(t, v, d, "tangent")?;
    }
    let end = t.insts.len();
    or_undo(t, |t| forward(t, seeds, of, end, Custom::Refuse))
}

/// [`jvp`] over the first `end` instructions.
pub(super) fn forward(
    t: &mut Trace,
    seeds: &[(ValueId, ValueId)],
    of: &[ValueId],
    end: usize,
    custom: Custom,
) -> Result<Vec<Option<ValueId>>> {
    let needed = needed(t, end, of);
    let mut tangent: Vec<Option<ValueId>> = vec![None; end];
    for &(v, d) in seeds {
        if needed[v.index()] {
            tangent[v.index()] = add_opt(t, tangent[v.index()], Some(d));
        }
    }
    let first = seeds.iter().map(|s| s.0.index()).min().unwrap_or(end);
    let reads = region::Reads::of(t, end, &needed);
    let mut regions: HashMap<ValueId, Vec<Option<ValueId>>> = HashMap::new();
    for i in first..end {
        if !needed[i] {
            continue;
        }
        let args = &t.insts[i].args;
        if let Op::Output(k) = t.insts[i].op {
            let d = regions.get(&args[0]).and_then(|o| o[k as usize]);
            tangent[i] = add_opt(t, d, tangent[i]);
            continue;
        }
        if args.iter().all(|a| tangent[a.index()].is_none()) {
            continue;
        }
        let (inst, v, mark) = (t.insts[i].clone(), ValueId::new(i), t.insts.len());
        let d: Tangents = inst.args.iter().map(|a| tangent[a.index()]).collect();
        if let Op::Region(r) = &inst.op {
            let outs = region::region(t, v, &inst, r, &d, &reads, custom).map_err(|e| match inst.site {
                Some(s) => e.at(s),
                None => e,
            })?;
            regions.insert(v, outs);
        } else if inst.dtype.is_float() {
            let own = rule(t, &inst, v, &d);
            tangent[i] = add_opt(t, own, tangent[i]);
        }
        set_site(t, mark, inst.site);
    }
    Ok(of.iter().map(|v| tangent[v.index()]).collect())
}

/// Which values the tangents of `of` can depend on.
fn needed(t: &Trace, end: usize, of: &[ValueId]) -> Vec<bool> {
    let mut needed = vec![false; end];
    of.iter().for_each(|v| needed[v.index()] = true);
    for i in (0..end).rev() {
        let inst = &t.insts[i];
        let passes = match inst.op {
            Op::Region(_) => true,
            Op::Unary(u) => !elementwise::is_flat(u),
            _ => inst.dtype.is_float(),
        };
        if needed[i] && passes {
            inst.args.iter().for_each(|a| needed[a.index()] = true);
        }
    }
    needed
}

/// The tangent of `v`, the result of `inst`, from those of its operands, of which at least one is not zero.
fn rule(t: &mut Trace, inst: &Inst, v: ValueId, d: &Tangents) -> Option<ValueId> {
    let x = &inst.args;
    match &inst.op {
        Op::Unary(u) => elementwise::unary(t, *u, x[0], v, d[0]?),
        Op::Binary(b) => elementwise::binary(t, *b, (x[0], x[1]), v, (d[0], d[1])),
        Op::Select => {
            let a = or_zeros(t, d[1], x[1]);
            let b = or_zeros(t, d[2], x[2]);
            Some(t.select(x[0], a, b))
        }
        // A cast to its own dtype is how a user's `detach` is recorded: nothing flows through it.
        Op::Cast if t.dtype(inst.args[0]) == inst.dtype => None,
        Op::Cast => Some(t.cast(d[0]?, inst.dtype)),
        Op::Reduce(kind, axes) => {
            let axes: SmallVec<[usize; 8]> = axes.iter().map(|&a| a as usize).collect();
            scan::reduce(t, *kind, &axes, x[0], v, d[0]?)
        }
        Op::Cumulative { kind, axis, reverse } => Some(scan::cumulative(t, *kind, *axis as usize, *reverse, x[0], v, d[0]?)),
        Op::Reshape => Some(t.reshape(d[0]?, &inst.shape)),
        Op::Broadcast => Some(t.broadcast(d[0]?, &inst.shape)),
        Op::Permute(_) | Op::Slice(_) | Op::Flip(_) => Some(t.apply(inst.op.clone(), &[d[0]?])),
        Op::Pad(p) => Some(t.pad_zeros(d[0]?, &p.lo, &p.hi)),
        Op::Concat(axis) => {
            let parts: Vec<ValueId> = x.iter().zip(d).map(|(&x, &d)| or_zeros(t, d, x)).collect();
            Some(t.concat(&parts, *axis as usize))
        }
        Op::Gather(batch) => Some(t.gather(d[0]?, x[1], *batch as usize)),
        Op::Scatter(mode, batch) => scatter(t, *mode, *batch, x, v, d),
        Op::Dot | Op::Conv(_) => {
            let a = d[0].map(|d| t.apply(inst.op.clone(), &[d, x[1]]));
            let b = d[1].map(|d| t.apply(inst.op.clone(), &[x[0], d]));
            add_opt(t, a, b)
        }
        // No operands or integer results, or handled by the caller.
        Op::Input(_)
        | Op::Param(_)
        | Op::Const(_)
        | Op::Iota(_)
        | Op::Random
        | Op::Compare(_)
        | Op::ArgSort(_)
        | Op::Region(_)
        | Op::Output(_) => None,
    }
}

fn scatter(t: &mut Trace, mode: ScatterMode, batch: u8, x: &[ValueId], y: ValueId, d: &Tangents) -> Option<ValueId> {
    let (base, index, updates) = (x[0], x[1], x[2]);
    let add = Op::Scatter(ScatterMode::Add, batch);
    match mode {
        ScatterMode::Add => {
            let Some(du) = d[2] else { return d[0] };
            let db = or_zeros(t, d[0], base);
            Some(t.apply(add, &[db, index, du]))
        }
        ScatterMode::Set => {
            let db = or_zeros(t, d[0], base);
            let du = or_zeros(t, d[2], updates);
            Some(t.apply(Op::Scatter(mode, batch), &[db, index, du]))
        }
        // Each factor has what the others multiply to: without zeros the product of those that are none, divided by it.
        ScatterMode::Prod => {
            let prod = Op::Scatter(mode, batch);
            let ones = t.constant_like(1.0, base);
            let zeros = t.zeros_like(y);
            let mut sum = zeros;
            if let Some(db) = d[0] {
                let rest = t.apply(prod.clone(), &[ones, index, updates]);
                sum = t.mul(rest, db);
            }
            if let Some(du) = d[2] {
                let (none, own_ones) = (t.zeros_like(updates), t.constant_like(1.0, updates));
                let (zero_b, zero_u) = (t.compare(Compare::Eq, base, zeros), t.compare(Compare::Eq, updates, none));
                let (b, u) = (t.select(zero_b, ones, base), t.select(zero_u, own_ones, updates));
                let product = t.apply(prod, &[b, index, u]);
                let (count_b, own) = (t.cast(zero_b, DType::I32), t.cast(zero_u, DType::I32));
                let count = t.apply(add.clone(), &[count_b, index, own]);
                let (product, count) = (t.gather(product, index, batch as usize), t.gather(count, index, batch as usize));
                let others = t.div(product, u);
                // No zero but its own, if it is one.
                let alone = t.compare(Compare::Eq, count, own);
                let coefficient = t.select(alone, others, none);
                let part = t.mul(coefficient, du);
                sum = t.apply(add, &[sum, index, part]);
            }
            Some(sum)
        }
        // All that equal the extreme share alike, the base among them. An update outside is dropped by the scatters.
        ScatterMode::Max | ScatterMode::Min => {
            let dtype = t.dtype(y);
            let base_wins = t.compare(Compare::Eq, base, y);
            let there = t.gather(y, index, batch as usize);
            let update_wins = t.compare(Compare::Eq, updates, there);
            let (ones_b, ones_u) = (t.cast(base_wins, dtype), t.cast(update_wins, dtype));
            let count = t.apply(add.clone(), &[ones_b, index, ones_u]);
            let zeros = t.zeros_like(y);
            let mut sum = d[0].map_or(zeros, |d| t.select(base_wins, d, zeros));
            if let Some(du) = d[2] {
                let none = t.zeros_like(du);
                let part = t.select(update_wins, du, none);
                sum = t.apply(add, &[sum, index, part]);
            }
            // Where neither attains it (NaN) there is nothing to share: 0/0 tells.
            Some(t.div(sum, count))
        }
    }
}

/// The tangent itself, or zeros of the primal's type.
fn or_zeros(t: &mut Trace, d: Option<ValueId>, like: ValueId) -> ValueId {
    d.unwrap_or_else(|| t.zeros_like(like))
}

/// Positions 0, 1, .. along `axis`, in the shape of `like`, as indices.
fn positions(t: &mut Trace, axis: usize, like: ValueId) -> ValueId {
    let shape = t.shape(like).clone();
    t.iota(axis, crate::base::DType::I64, &shape)
}

/// The reduction whose running form carries positions in scan order.
fn latest(reverse: bool) -> Reduce {
    if reverse { Reduce::Min } else { Reduce::Max }
}
