//! Transposing a linear program: from cotangents of its results to cotangents of its arguments, in reverse order.
//!
//! Only ops that can be linear in an operand have a rule, and only for the operands they are linear in. `conv`,
//! `index` and `slices` hold the longer rules, `region` and `control` those of sub-traces.

mod control;
mod conv;
mod index;
mod region;
mod slices;

use super::linearize::Linear;
use super::rebuild::PLACEHOLDER;
use super::set_site;
use crate::base::Result;
use crate::base::error::bail;
use crate::trace::{Binary, Inst, Op, Reduce, ScatterMode, SliceSpec, Trace, Unary, ValueId};
use slices::{Part, unslice};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;
use std::ops::Range;

/// Appends the cotangents of a linear program's arguments, given those of its results, which have their types.
/// A result that depends on no argument has no use for its cotangent.
///
/// # Errors
/// `Gradient` if the program is not linear, or a reverse rule does not fit: only a custom rule can cause either.
pub(super) fn transpose(t: &mut Trace, linear: &Linear, cotangents: &[ValueId]) -> Result<Vec<Option<ValueId>>> {
    let seeds: Vec<(ValueId, ValueId)> = linear.results.iter().zip(cotangents).filter_map(|(r, &c)| r.map(|r| (r, c))).collect();
    let args: Vec<ValueId> = linear.tangents.iter().flatten().copied().collect();
    let found = backward(t, linear.range.clone(), &args, &seeds)?;
    let mut found = found.into_iter();
    Ok(linear.tangents.iter().map(|p| p.and_then(|_| found.next().flatten())).collect())
}

/// The cotangents of `args`, on which the linear part of `range` depends, given `(result, cotangent)` pairs.
fn backward(t: &mut Trace, range: Range<usize>, args: &[ValueId], seeds: &[(ValueId, ValueId)]) -> Result<Vec<Option<ValueId>>> {
    let mut linear = vec![false; range.len()];
    args.iter().for_each(|a| linear[a.index() - range.start] = true);
    for i in range.clone() {
        let depends = t.insts[i].args.iter().any(|a| a.index().checked_sub(range.start).is_some_and(|k| linear[k]));
        linear[i - range.start] |= depends;
    }
    let mut back =
        Back { cotangent: vec![None; range.len()], regions: HashMap::new(), parts: HashMap::new(), start: range.start, linear, t };
    seeds.iter().for_each(|&(v, c)| back.give(v, c));
    for i in range.clone().rev() {
        let v = ValueId::new(i);
        if !back.linear[i - range.start] {
            continue;
        }
        let mark = back.t.insts.len();
        back.settle(v);
        if let Op::Region(r) = &back.t.insts[i].op {
            let r = r.clone();
            let Some(cotangents) = back.regions.remove(&v) else { continue };
            let inst = back.t.insts[i].clone();
            back.region(&inst, &r, &cotangents).map_err(|e| located(e, &inst))?;
            set_site(back.t, mark, inst.site);
        } else if let Some(c) = back.cotangent[i - range.start] {
            let inst = &back.t.insts[i];
            if matches!(inst.op, Op::Input(_)) || inst.op == PLACEHOLDER {
                continue;
            }
            let inst = inst.clone();
            back.rule(&inst, c).map_err(|e| located(e, &inst))?;
            set_site(back.t, mark, inst.site);
        }
    }
    Ok(args.iter().map(|a| back.cotangent[a.index() - range.start]).collect())
}

fn located(e: crate::base::Error, inst: &Inst) -> crate::base::Error {
    match inst.site {
        Some(s) => e.at(s),
        None => e,
    }
}

/// The state of a transposition.
struct Back<'a> {
    t: &'a mut Trace,
    /// First instruction of the linear program.
    start: usize,
    /// Which of its instructions are linear, by distance from `start`.
    linear: Vec<bool>,
    /// What each has received so far.
    cotangent: Vec<Option<ValueId>>,
    /// What the outputs of each region have received so far.
    regions: HashMap<ValueId, Vec<Option<ValueId>>>,
    /// Cotangents of parts, not yet added to that of the whole.
    parts: HashMap<ValueId, Vec<Part>>,
}

impl Back<'_> {
    fn is_linear(&self, v: ValueId) -> bool {
        v.index().checked_sub(self.start).is_some_and(|i| self.linear.get(i) == Some(&true))
    }

    /// Adds `c` to the cotangent of `v`; nothing if `v` is no part of the linear program.
    fn give(&mut self, v: ValueId, c: ValueId) {
        if self.is_linear(v) {
            let slot = v.index() - self.start;
            self.cotangent[slot] = Some(match self.cotangent[slot] {
                Some(sum) => self.t.add(sum, c),
                None => c,
            });
        }
    }

    /// Adds what `make` builds, which is not called if `v` is no part of the linear program.
    fn give_with(&mut self, v: ValueId, make: impl FnOnce(&mut Trace) -> ValueId) {
        if self.is_linear(v) {
            let c = make(self.t);
            self.give(v, c);
        }
    }

    /// Adds the parts of `v` to its cotangent.
    fn settle(&mut self, v: ValueId) {
        if let Some(parts) = self.parts.remove(&v) {
            let shape = self.t.shape(v).clone();
            if let Some(c) = slices::assemble(self.t, parts, &shape) {
                self.give(v, c);
            }
        }
    }

    /// Fails if `v`, in which `inst` is not linear, is part of the linear program.
    fn coefficient(&self, inst: &Inst, v: ValueId) -> Result<()> {
        if self.is_linear(v) {
            bail!(
                Gradient,
                "{} ({} {}) is not linear in a tangent: a custom forward rule must be, to be used in reverse mode",
                inst.op.name(),
                inst.dtype,
                inst.shape
            );
        }
        Ok(())
    }

    /// Passes the cotangent `c` of `inst` on to its operands.
    fn rule(&mut self, inst: &Inst, c: ValueId) -> Result<()> {
        let x = &inst.args;
        let shape = |s: &Self, i: usize| s.t.shape(x[i]).clone();
        match &inst.op {
            Op::Unary(Unary::Neg) => self.give_with(x[0], |t| t.neg(c)),
            Op::Binary(Binary::Add) => {
                self.give(x[0], c);
                self.give(x[1], c);
            }
            Op::Binary(Binary::Sub) => {
                self.give(x[0], c);
                self.give_with(x[1], |t| t.neg(c));
            }
            Op::Binary(Binary::Mul) => {
                if self.is_linear(x[0]) {
                    self.coefficient(inst, x[1])?;
                }
                self.give_with(x[0], |t| t.mul(c, x[1]));
                self.give_with(x[1], |t| t.mul(c, x[0]));
            }
            Op::Binary(Binary::Div) => {
                self.coefficient(inst, x[1])?;
                self.give_with(x[0], |t| t.div(c, x[1]));
            }
            // The branch not taken gets an exact zero, whatever its derivative is.
            Op::Select => {
                self.coefficient(inst, x[0])?;
                let zeros = self.t.zeros_like(c);
                self.give_with(x[1], |t| t.select(x[0], c, zeros));
                self.give_with(x[2], |t| t.select(x[0], zeros, c));
            }
            Op::Cast => {
                let dtype = self.t.dtype(x[0]);
                if !dtype.is_float() {
                    self.coefficient(inst, x[0])?;
                }
                self.give_with(x[0], |t| t.cast(c, dtype));
            }
            Op::Reduce(Reduce::Sum, axes) => {
                let (axes, to): (SmallVec<[usize; 8]>, _) = (axes.iter().map(|&a| a as usize).collect(), shape(self, 0));
                self.give_with(x[0], |t| t.broadcast_over(c, &axes, &to));
            }
            Op::Reshape => {
                let to = shape(self, 0);
                self.give_with(x[0], |t| t.reshape(c, &to));
            }
            Op::Broadcast => {
                let to = shape(self, 0);
                self.give_with(x[0], |t| t.sum_to(c, &to));
            }
            Op::Permute(perm) => {
                let mut inverse: SmallVec<[usize; 8]> = smallvec![0; perm.len()];
                perm.iter().enumerate().for_each(|(i, &p)| inverse[p as usize] = i);
                self.give_with(x[0], |t| t.permute(c, &inverse));
            }
            Op::Flip(axes) => {
                let axes: SmallVec<[usize; 8]> = axes.iter().map(|&a| a as usize).collect();
                self.give_with(x[0], |t| t.flip(c, &axes));
            }
            Op::Slice(_) if inst.shape.numel() == 0 => {}
            Op::Slice(spec) => {
                let to = shape(self, 0);
                match Part::of(spec, &to, c) {
                    Some(part) if self.is_linear(x[0]) => self.parts.entry(x[0]).or_default().push(part),
                    _ => self.give_with(x[0], |t| unslice(t, c, spec, &to)),
                }
            }
            Op::Pad(spec) => {
                let from = shape(self, 0);
                let inner = SliceSpec {
                    start: spec.lo.clone(),
                    end: spec.lo.iter().zip(from.iter()).map(|(&l, &n)| l + n).collect(),
                    step: smallvec![1; from.rank()],
                };
                self.give_with(x[0], |t| t.slice(c, inner));
            }
            Op::Concat(axis) => {
                let (axis, mut at) = (*axis as usize, 0);
                for (i, &part) in x.iter().enumerate() {
                    let n = shape(self, i)[axis];
                    self.give_with(part, |t| t.slice_axis(c, axis, at, at + n));
                    at += n;
                }
            }
            Op::Gather(batch) => {
                self.coefficient(inst, x[1])?;
                self.gather(*batch, x[0], x[1], c);
            }
            Op::Scatter(mode @ (ScatterMode::Add | ScatterMode::Set), batch) => {
                self.coefficient(inst, x[1])?;
                self.scatter(*mode, *batch, x, c);
            }
            Op::Dot => {
                if self.is_linear(x[0]) {
                    self.coefficient(inst, x[1])?;
                }
                self.give_with(x[0], |t| {
                    let b = t.transpose_last(x[1]);
                    t.dot(c, b)
                });
                self.give_with(x[1], |t| {
                    let a = t.transpose_last(x[0]);
                    t.dot(a, c)
                });
            }
            Op::Conv(spec) => {
                if self.is_linear(x[0]) {
                    self.coefficient(inst, x[1])?;
                }
                self.give_with(x[0], |t| conv::input(t, spec, x[0], x[1], c));
                self.give_with(x[1], |t| conv::kernel(t, spec, x[0], x[1], c));
            }
            Op::Cumulative { kind: Reduce::Sum, axis, reverse } => {
                let op = Op::Cumulative { kind: Reduce::Sum, axis: *axis, reverse: !reverse };
                self.give_with(x[0], |t| t.apply(op, &[c]));
            }
            Op::Output(k) => self.give_output(x[0], *k as usize, c),
            _ => {
                for &a in x {
                    self.coefficient(inst, a)?;
                }
            }
        }
        Ok(())
    }

    /// Adds to the cotangent of a region's output.
    fn give_output(&mut self, region: ValueId, k: usize, c: ValueId) {
        let Op::Region(r) = &self.t[region].op else { unreachable!("an output of what is no region") };
        let n = r.results();
        let slot = &mut self.regions.entry(region).or_insert_with(|| vec![None; n])[k];
        *slot = Some(match *slot {
            Some(sum) => self.t.add(sum, c),
            None => c,
        });
    }
}
