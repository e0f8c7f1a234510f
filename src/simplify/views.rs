//! Views of views are one view, views that change nothing are nothing. Elementwise ops are never moved across a view.

use super::Builder;
use crate::base::Shape;
use crate::trace::op::{AxisList, Op, PadSpec, SliceSpec};
use crate::trace::{Args, Inst, ValueId};
use smallvec::SmallVec;

/// A value equal to `inst`, if a rule knows a simpler one.
pub(super) fn rule(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    match &inst.op {
        Op::Reshape | Op::Broadcast | Op::Permute(_) | Op::Slice(_) | Op::Flip(_) | Op::Pad(_) => {}
        Op::Concat(axis) => return concat(b, inst, *axis),
        Op::Gather(_) => return fill(b, inst),
        _ => return None,
    }
    let x = inst.args[0];
    if let Op::Pad(spec) = &inst.op {
        return pad(b, inst, spec);
    }
    if same_layout(b, inst) {
        return Some(x);
    }
    if let Some(v) = fill(b, inst) {
        return Some(v);
    }
    match &inst.op {
        Op::Reshape => reshape(b, inst),
        Op::Broadcast => broadcast(b, inst),
        Op::Permute(perm) => permute(b, inst, perm),
        Op::Slice(spec) => slice(b, inst, spec),
        Op::Flip(axes) => flip(b, inst, axes),
        _ => None,
    }
}

/// Whether the view leaves every element in its place.
fn same_layout(b: &Builder, inst: &Inst) -> bool {
    let from = b.t.shape(inst.args[0]);
    *from == inst.shape
        && match &inst.op {
            Op::Permute(perm) => perm.iter().enumerate().all(|(i, &p)| i == p as usize),
            Op::Flip(axes) => axes.iter().all(|&a| from[a as usize] <= 1),
            // Of equal extents: nothing is cut off.
            _ => true,
        }
}

/// A view (or a gather) of a broadcast 0-d value is a broadcast of it.
fn fill(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    let x = inst.args[0];
    let c = b.filled(x)?;
    // Of a 0-d value itself only a broadcast is left to build.
    (c != x || inst.op == Op::Reshape).then(|| b.fill(c, &inst.shape))
}

fn reshape(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    let x = &b.t[inst.args[0]];
    let y = *x.args.first()?;
    (x.op == Op::Reshape).then(|| b.like(inst, Op::Reshape, &[y]))
}

fn broadcast(b: &mut Builder, inst: &Inst) -> Option<ValueId> {
    let v = inst.args[0];
    let x = &b.t[v];
    if x.shape.rank() > 0 && x.shape.numel() == inst.shape.numel() && inst.shape.numel() > 0 {
        // Only axes of one element are added.
        return Some(b.like(inst, Op::Reshape, &[v]));
    }
    let y = *x.args.first()?;
    let s = b.t.shape(y);
    let composes = match x.op {
        Op::Broadcast => true,
        // A 0-d value stays visible as one, for scalar arithmetic.
        Op::Reshape => x.shape.rank() > 0 && s.rank() <= inst.shape.rank() && trim(s) == trim(&x.shape),
        _ => false,
    };
    composes.then(|| b.like(inst, Op::Broadcast, &[y]))
}

/// The extents without the ones in front.
fn trim(s: &Shape) -> &[usize] {
    let lead = s.iter().take_while(|&&d| d == 1).count();
    &s[lead..]
}

fn permute(b: &mut Builder, inst: &Inst, perm: &AxisList) -> Option<ValueId> {
    let v = inst.args[0];
    let x = &b.t[v];
    let long = perm.iter().filter(|&&p| x.shape[p as usize] != 1);
    if long.clone().zip(long.skip(1)).all(|(p, q)| p < q) {
        // Only axes of one element move.
        return Some(b.like(inst, Op::Reshape, &[v]));
    }
    let Op::Permute(first) = &x.op else { return None };
    let (y, both) = (x.args[0], perm.iter().map(|&p| first[p as usize]).collect());
    Some(b.like(inst, Op::Permute(both), &[y]))
}

fn slice(b: &mut Builder, inst: &Inst, spec: &SliceSpec) -> Option<ValueId> {
    let x = &b.t[inst.args[0]];
    let rank = inst.shape.rank();
    let wanted = |i: usize| inst.shape[i] > 0;
    // The last index taken along an axis that takes any.
    let last = |i: usize| spec.start[i] + (inst.shape[i] - 1) * spec.step[i];
    match &x.op {
        Op::Slice(first) => {
            let mut s = spec.clone();
            for i in 0..rank {
                s.start[i] = first.start[i] + spec.start[i] * first.step[i];
                s.step[i] = spec.step[i].saturating_mul(first.step[i]);
                s.end[i] = if wanted(i) { first.start[i] + last(i) * first.step[i] + 1 } else { s.start[i] };
                if inst.shape[i] <= 1 {
                    s.step[i] = 1;
                }
                if !wanted(i) {
                    // An empty range that starts in bounds.
                    (s.start[i], s.end[i]) = (first.start[i], first.start[i]);
                }
            }
            let y = x.args[0];
            Some(b.like(inst, Op::Slice(Box::new(s)), &[y]))
        }
        Op::Pad(p) => {
            // Only of what was padded.
            let y = x.args[0];
            let from = b.t.shape(y);
            if !(0..rank).all(|i| wanted(i) && spec.start[i] >= p.lo[i] && last(i) < p.lo[i] + from[i]) {
                return None;
            }
            let shift = |v: &SmallVec<[usize; 4]>| v.iter().zip(&p.lo).map(|(a, lo)| a - lo).collect();
            let end = (0..rank).map(|i| last(i) + 1 - p.lo[i]).collect();
            let s = SliceSpec { start: shift(&spec.start), end, step: spec.step.clone() };
            Some(b.like(inst, Op::Slice(Box::new(s)), &[y]))
        }
        Op::Concat(axis) => {
            // Of one of the parts.
            let axis = *axis as usize;
            if !wanted(axis) {
                return None;
            }
            let mut before = 0;
            for &part in &x.args {
                let extent = b.t.shape(part)[axis];
                if (before..before + extent).contains(&spec.start[axis]) {
                    if last(axis) >= before + extent {
                        return None;
                    }
                    let mut s = spec.clone();
                    s.end[axis] = last(axis) + 1 - before;
                    s.start[axis] -= before;
                    return Some(b.like(inst, Op::Slice(Box::new(s)), &[part]));
                }
                before += extent;
            }
            None
        }
        _ => None,
    }
}

fn flip(b: &mut Builder, inst: &Inst, axes: &AxisList) -> Option<ValueId> {
    let x = &b.t[inst.args[0]];
    if let Op::Flip(first) = &x.op {
        let y = x.args[0];
        let both = (0..inst.shape.rank() as u8).filter(|a| axes.contains(a) != first.contains(a)).collect();
        return Some(b.like(inst, Op::Flip(both), &[y]));
    }
    if axes.iter().any(|&a| inst.shape[a as usize] <= 1) {
        let long = axes.iter().copied().filter(|&a| inst.shape[a as usize] > 1).collect();
        return Some(b.like(inst, Op::Flip(long), &inst.args));
    }
    None
}

fn pad(b: &mut Builder, inst: &Inst, spec: &PadSpec) -> Option<ValueId> {
    let v = inst.args[0];
    if *b.t.shape(v) == inst.shape {
        return Some(v);
    }
    if b.splat(v).is_some_and(|c| c.same(spec.value)) || b.t.shape(v).numel() == 0 {
        return Some(b.constant(spec.value, inst.dtype, &inst.shape));
    }
    let Op::Pad(first) = &b.t[v].op else { return None };
    if !first.value.same(spec.value) {
        return None;
    }
    let add = |a: &SmallVec<[usize; 4]>, b: &SmallVec<[usize; 4]>| a.iter().zip(b).map(|(a, b)| a + b).collect();
    let both = PadSpec { lo: add(&first.lo, &spec.lo), hi: add(&first.hi, &spec.hi), value: spec.value };
    let y = b.t[v].args[0];
    Some(b.like(inst, Op::Pad(Box::new(both)), &[y]))
}

fn concat(b: &mut Builder, inst: &Inst, axis: u8) -> Option<ValueId> {
    if let [one] = inst.args[..] {
        return Some(one);
    }
    // A concatenation of fills with the same value is one.
    if let Some(c) = b.filled(inst.args[0])
        && inst.args.iter().all(|&a| b.filled(a) == Some(c))
    {
        return Some(b.fill(c, &inst.shape));
    }
    let some: Args = inst.args.iter().copied().filter(|&a| b.t.shape(a)[axis as usize] > 0).collect();
    if some.len() == inst.args.len() || some.is_empty() {
        return None;
    }
    Some(b.like(inst, Op::Concat(axis), &some))
}
