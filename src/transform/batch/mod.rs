//! Batching (`vmap`): what a program computes for one example becomes what it computes for all, one rule per op.
//!
//! `moves` views, joins and scans; `index` gather and scatter; `contract` dot and conv; `region` sub-traces; `random` bits.
//! Elementwise ops and reductions are few lines each and stand here.
//!
//! Invariants:
//! 1. A batched value has the type of the value it stands for, with the batch axis in front.
//! 2. What depends on no batched value is neither batched nor copied; a rule stretches an operand over the batch only where the op has
//!    no cheaper form.
//! 3. An example's result is that of the program on that example alone, also in the order of its sums.
//! 4. A batch of no examples has results without elements, and no rule sees it.

mod contract;
mod control;
mod index;
mod moves;
mod random;
mod region;
#[cfg(test)]
mod tests;

use super::{or_undo, set_site};
use crate::base::error::bail;
use crate::base::{Result, Scalar, Shape};
use crate::trace::verify::MAX_RANK;
use crate::trace::{Inst, Op, Trace, ValueId};
use std::collections::HashMap;

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// The value itself, or what stands for it.
    pub value: ValueId,
    /// Whether it has a batch axis, in front.
    pub batched: bool,
}

/// Appends to `t` what the values `of` are for `size` examples at once, given `(value, batched value)` pairs.
///
/// `draws` are `Random` instructions that draw for every example anew: their bits are those of one draw of `size` times the shape, which
/// the caller's counters must have room for; so are all draws inside of a region that has one of these as an operand. Any other `Random` gives all examples that share its key and offset the same bits.
///
/// # Errors
/// `Shape` or `DType` if a batched value has not its value's type behind an axis of `size`, or a value has too many axes.
pub fn vmap(t: &mut Trace, size: usize, batched: &[(ValueId, ValueId)], draws: &[ValueId], of: &[ValueId]) -> Result<Vec<Lifted>> {
    for &(v, b) in batched {
        let (p, q) = (&t[v], &t[b]);
        if p.dtype != q.dtype {
            bail!(DType, "vmap: a batch of dtype {} for a value of {} ({} {})", q.dtype, p.op.name(), p.dtype, p.shape);
        }
        if q.shape != stacked(size, &p.shape) {
            bail!(Shape, "vmap: a batch of shape {} for {size} examples of {} ({} {})", q.shape, p.op.name(), p.dtype, p.shape);
        }
    }
    if let Some(&d) = draws.iter().find(|&&d| t[d].op != Op::Random) {
        bail!(Argument, "vmap: {} draws no random bits", t[d].op.name());
    }
    or_undo(t, |t| lift(t, size, batched, draws, of))
}

/// [`vmap`] of seeds known to fit.
fn lift(t: &mut Trace, size: usize, batched: &[(ValueId, ValueId)], draws: &[ValueId], of: &[ValueId]) -> Result<Vec<Lifted>> {
    let end = t.insts.len();
    let mut b = Batch { t, size, map: vec![None; end], regions: HashMap::new(), drawn: vec![false; end] };
    for &(v, value) in batched {
        b.map[v.index()] = Some(Lifted { value, batched: true });
    }
    let needed = b.needed(of);
    draws.iter().for_each(|d| b.drawn[d.index()] = true);
    for (i, needed) in needed.into_iter().enumerate() {
        let args = &b.t.insts[i].args;
        if !needed || b.map[i].is_some() || (!b.drawn[i] && args.iter().all(|a| b.map[a.index()].is_none())) {
            continue;
        }
        let (inst, mark) = (b.t.insts[i].clone(), b.t.insts.len());
        let new = b.instruction(&inst, b.drawn[i]).map_err(|e| match inst.site {
            Some(s) => e.at(s),
            None => e,
        })?;
        b.map[i] = Some(new);
        set_site(b.t, mark, inst.site);
    }
    Ok(of.iter().map(|&v| b.of(v)).collect())
}

/// The shape of `size` values of a shape.
pub(crate) fn stacked(size: usize, shape: &Shape) -> Shape {
    std::iter::once(size).chain(shape.iter().copied()).collect()
}

/// A region whose body was batched.
struct Batched {
    /// The new region; none for a batch of no examples.
    region: Option<ValueId>,
    outputs: Vec<Part>,
}

/// What became of a region's result.
#[derive(Clone, Copy)]
struct Part {
    /// Its number among the new region's.
    number: u32,
    batched: bool,
    /// Rows come first, then the batch.
    rows: bool,
}

/// A trace that is being batched.
struct Batch<'a> {
    t: &'a mut Trace,
    size: usize,
    /// What became of each value; `None`: it stays as it is.
    map: Vec<Option<Lifted>>,
    /// Which values are draws for each example anew.
    drawn: Vec<bool>,
    /// By what stands for the original region.
    regions: HashMap<ValueId, Batched>,
}

impl Batch<'_> {
    /// Which values `of` depend on, looking no further than what is given in batches.
    fn needed(&self, of: &[ValueId]) -> Vec<bool> {
        let mut needed = vec![false; self.map.len()];
        of.iter().for_each(|v| needed[v.index()] = true);
        for i in (0..needed.len()).rev() {
            if needed[i] && self.map[i].is_none() {
                self.t.insts[i].args.iter().for_each(|a| needed[a.index()] = true);
            }
        }
        needed
    }

    /// What became of a value.
    fn of(&self, v: ValueId) -> Lifted {
        self.map[v.index()].unwrap_or(Lifted { value: v, batched: false })
    }

    /// A value with a batch axis, stretched over it if it has none.
    fn full(&mut self, v: ValueId) -> ValueId {
        let l = self.of(v);
        if l.batched { l.value } else { stretch(self.t, l.value, self.size) }
    }

    /// What stands for an instruction with an operand that did not stay as it was, or for a draw.
    fn instruction(&mut self, inst: &Inst, draws: bool) -> Result<Lifted> {
        if let Op::Output(k) = inst.op {
            return Ok(self.output(k, inst));
        }
        if !draws && inst.args.iter().all(|&a| !self.of(a).batched) {
            let args: Vec<ValueId> = inst.args.iter().map(|&a| self.of(a).value).collect();
            let value = self.t.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site);
            return Ok(Lifted { value, batched: false });
        }
        if inst.shape.rank() >= MAX_RANK {
            bail!(
                Shape,
                "vmap: {} {} {} has no room for a batch axis: {MAX_RANK} axes are the most",
                inst.op.name(),
                inst.dtype,
                inst.shape
            );
        }
        let value = match &inst.op {
            Op::Region(r) => self.region(inst, r)?,
            _ if self.size == 0 => self.no_elements(inst),
            _ => self.rule(inst),
        };
        Ok(Lifted { value, batched: true })
    }

    /// The batch of no examples of an instruction's result.
    fn no_elements(&mut self, inst: &Inst) -> ValueId {
        let shape = stacked(0, &inst.shape);
        self.t.constant(Scalar::Int(0), inst.dtype, &shape)
    }

    /// The batched result of an instruction, at least one of whose operands is batched, or which is a draw.
    fn rule(&mut self, inst: &Inst) -> ValueId {
        let shape = stacked(self.size, &inst.shape);
        match &inst.op {
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast => {
                let args: Vec<ValueId> = inst.args.iter().map(|&a| self.full(a)).collect();
                self.t.push_typed(inst.op.clone(), &args, inst.dtype, shape, inst.site)
            }
            Op::Reduce(kind, axes) => {
                let x = self.of(inst.args[0]).value;
                self.t.apply(Op::Reduce(*kind, axes.iter().map(|a| a + 1).collect()), &[x])
            }
            Op::Reshape | Op::Permute(_) | Op::Broadcast | Op::Slice(_) | Op::Pad(_) | Op::Flip(_) => self.view(inst, shape),
            Op::Concat(axis) => {
                let parts: Vec<ValueId> = inst.args.iter().map(|&a| self.full(a)).collect();
                self.t.apply(Op::Concat(axis + 1), &parts)
            }
            Op::ArgSort(_) | Op::Cumulative { .. } => self.along(inst),
            Op::Gather(batch) => self.gather(inst, *batch as usize),
            Op::Scatter(mode, batch) => self.scatter(inst, *mode, *batch as usize),
            Op::Dot => self.dot(inst),
            Op::Conv(spec) => self.conv(inst, spec),
            Op::Random => self.random(inst, shape),
            Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota(_) | Op::Region(_) | Op::Output(_) => {
                unreachable!("{} has no operands, or is not done here", inst.op.name())
            }
        }
    }
}

/// A value stretched over a new axis in front.
fn stretch(t: &mut Trace, mut v: ValueId, size: usize) -> ValueId {
    let shape = stacked(size, t.shape(v));
    // Broadcasts compose: what is stretched again is what was stretched before.
    while matches!(t[v].op, Op::Broadcast) {
        v = t[v].args[0];
    }
    t.broadcast(v, &shape)
}

/// The value with axis `from` at place `to`, the others in their order.
pub(crate) fn move_axis(t: &mut Trace, v: ValueId, from: usize, to: usize) -> ValueId {
    let mut perm: Vec<usize> = (0..t.shape(v).rank()).filter(|&a| a != from).collect();
    perm.insert(to, from);
    t.permute(v, &perm)
}
