//! The transpose of slices. The parts of one value are collected and put together at once: parts that lie side by side
//! along an axis, as of a split or unbind, become one concatenation instead of a padded copy of the whole each.

use crate::base::Shape;
use crate::trace::{SliceSpec, Trace, ValueId};
use smallvec::{SmallVec, smallvec};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The cotangent of `start..end` along one axis of a value.
pub(super) struct Part {
    axis: usize,
    start: usize,
    end: usize,
    c: ValueId,
}

impl Part {
    /// The part that `spec` takes of `shape`, if it is a range of one axis and all of the others.
    pub(super) fn of(spec: &SliceSpec, shape: &Shape, c: ValueId) -> Option<Part> {
        let mut cut = (0..shape.rank()).filter(|&i| spec.start[i] > 0 || spec.end[i] < shape[i] || spec.step[i] > 1);
        let axis = cut.next()?;
        let single = cut.next().is_none() && spec.step[axis] == 1;
        single.then(|| Part { axis, start: spec.start[axis], end: spec.end[axis], c })
    }
}

/// The sum of all parts, each in its place in `shape`; `None` for no parts.
pub(super) fn assemble(t: &mut Trace, mut parts: Vec<Part>, shape: &Shape) -> Option<ValueId> {
    // As few layers of parts that do not overlap as there can be: sorted by start, each goes to the layer that ends first.
    parts.sort_by_key(|p| (p.axis, p.start, p.end));
    let mut layers: Vec<Vec<Part>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
    let mut axis = None;
    for p in parts {
        if axis.replace(p.axis) != Some(p.axis) {
            ends.clear();
        }
        let layer = match ends.peek() {
            Some(&Reverse((end, layer))) if end <= p.start => {
                ends.pop();
                layer
            }
            _ => {
                layers.push(Vec::new());
                layers.len() - 1
            }
        };
        ends.push(Reverse((p.end, layer)));
        layers[layer].push(p);
    }
    let whole: Vec<ValueId> = layers.iter().map(|l| side_by_side(t, l, shape)).collect();
    whole.into_iter().reduce(|a, b| t.add(a, b))
}

/// Parts along one axis, in order, with zeros around and between them.
fn side_by_side(t: &mut Trace, parts: &[Part], shape: &Shape) -> ValueId {
    let (axis, dtype) = (parts[0].axis, t.dtype(parts[0].c));
    let mut row: Vec<ValueId> = Vec::with_capacity(parts.len());
    let mut at = parts[0].start;
    for p in parts {
        if p.start > at {
            let mut gap = shape.clone();
            gap[axis] = p.start - at;
            row.push(t.constant(crate::base::Scalar::Int(0), dtype, &gap));
        }
        row.push(p.c);
        at = p.end;
    }
    let joined = t.concat(&row, axis);
    let (mut lo, mut hi): (SmallVec<[usize; 4]>, SmallVec<[usize; 4]>) = (smallvec![0; shape.rank()], smallvec![0; shape.rank()]);
    (lo[axis], hi[axis]) = (parts[0].start, shape[axis] - at);
    if lo[axis] + hi[axis] == 0 { joined } else { t.pad_zeros(joined, &lo, &hi) }
}

/// Puts the elements of `c` where `spec` took them from `shape`, zeros elsewhere.
///
/// Steps need no padding between elements: with an axis of extent 1 behind each stepped one, padding that axis to the step
/// and merging the two puts `step - 1` zeros behind every element.
pub(super) fn unslice(t: &mut Trace, c: ValueId, spec: &SliceSpec, shape: &Shape) -> ValueId {
    let taken = t.shape(c).clone();
    let (mut c, rank) = (c, shape.rank());
    // How far the elements reach once spread, which may be beyond the end of the axis.
    let mut reach = taken.clone();
    if spec.step.iter().any(|&s| s != 1) {
        let (mut split, mut behind) = (Vec::new(), SmallVec::<[usize; 4]>::new());
        for i in 0..rank {
            split.push(taken[i]);
            behind.push(0);
            if spec.step[i] != 1 {
                split.push(1);
                behind.push(spec.step[i] - 1);
                reach[i] = taken[i] * spec.step[i];
            }
        }
        let apart = t.reshape(c, &Shape::from(split));
        let zeros: SmallVec<[usize; 4]> = smallvec![0; behind.len()];
        let spread = t.pad_zeros(apart, &zeros, &behind);
        c = t.reshape(spread, &reach);
    }
    let end: SmallVec<[usize; 4]> = (0..rank).map(|i| reach[i].min(shape[i] - spec.start[i])).collect();
    if end[..] != reach[..] {
        c = t.slice(c, SliceSpec { start: smallvec![0; rank], end: end.clone(), step: smallvec![1; rank] });
    }
    let hi: SmallVec<[usize; 4]> = (0..rank).map(|i| shape[i] - spec.start[i] - end[i]).collect();
    if spec.start.iter().chain(&hi).all(|&n| n == 0) { c } else { t.pad_zeros(c, &spec.start, &hi) }
}
