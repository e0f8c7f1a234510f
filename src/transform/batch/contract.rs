//! Batched products and convolutions. An operand that all examples share is read once: the batch becomes rows or columns of one matrix
//! product, images or channels of one convolution.

use super::{Batch, move_axis};
use crate::base::Shape;
use crate::trace::{ConvSpec, Inst, Op, Trace, ValueId};

/// Groups of a convolution stay below this.
const MAX_GROUPS: usize = 1 << 16;

impl Batch<'_> {
    /// `a [B.., M, K] b [B.., K, N]` for every example.
    pub(super) fn dot(&mut self, inst: &Inst) -> ValueId {
        let (a, b) = (self.of(inst.args[0]), self.of(inst.args[1]));
        let (size, batch) = (self.size, inst.shape.rank() - 2);
        let t = &mut *self.t;
        match (a.batched, b.batched) {
            (true, true) => t.dot(a.value, b.value),
            // [V, B.., M, K] to [B.., V M, K], and the result back.
            (true, false) => {
                let a = move_axis(t, a.value, 0, batch);
                let a = join(t, a, batch);
                let y = t.dot(a, b.value);
                let y = split(t, y, batch, size);
                move_axis(t, y, batch, 0)
            }
            // [V, B.., K, N] to [B.., K, V N], and the result back.
            (false, _) => {
                let b = move_axis(t, b.value, 0, batch + 1);
                let b = join(t, b, batch + 1);
                let y = t.dot(a.value, b);
                let y = split(t, y, batch + 1, size);
                move_axis(t, y, batch + 1, 0)
            }
        }
    }

    /// A convolution of every example.
    pub(super) fn conv(&mut self, inst: &Inst, spec: &ConvSpec) -> ValueId {
        let (x, w) = (self.of(inst.args[0]), self.of(inst.args[1]));
        let (size, groups) = (self.size, spec.groups);
        let conv = |t: &mut Trace, x: ValueId, w: ValueId, groups: usize| {
            t.apply(Op::Conv(Box::new(ConvSpec { groups, ..spec.clone() })), &[x, w])
        };
        let t = &mut *self.t;
        match (x.batched, w.batched) {
            // More images: [V, N, C, ..] to [V N, C, ..].
            (true, false) => {
                let x = join(t, x.value, 0);
                let y = conv(t, x, w.value, groups);
                split(t, y, 0, size)
            }
            // More channels of output, those of a group beside each other: [V, G O, ..] to [G, V, O, ..] to [G V O, ..].
            (false, _) => {
                let w = split(t, w.value, 1, groups);
                let w = move_axis(t, w, 0, 1);
                let w = join(t, w, 0);
                let w = join(t, w, 0);
                let y = conv(t, x.value, w, groups);
                let y = split(t, y, 1, groups);
                let y = split(t, y, 2, size);
                let y = move_axis(t, y, 2, 0);
                join(t, y, 2)
            }
            // More groups: [V, N, C, ..] to [N, V C, ..], [V, O, ..] to [V O, ..].
            (true, true) => {
                let each = (MAX_GROUPS - 1) / groups.max(1);
                let parts: Vec<ValueId> = (0..size)
                    .step_by(each.max(1))
                    .map(|start| {
                        let end = size.min(start + each.max(1));
                        let (x, w) = if end - start == size {
                            (x.value, w.value)
                        } else {
                            (t.slice_axis(x.value, 0, start, end), t.slice_axis(w.value, 0, start, end))
                        };
                        let x = move_axis(t, x, 0, 1);
                        let (x, w) = (join(t, x, 1), join(t, w, 0));
                        let y = conv(t, x, w, groups * (end - start));
                        let y = split(t, y, 1, end - start);
                        move_axis(t, y, 1, 0)
                    })
                    .collect();
                t.concat(&parts, 0)
            }
        }
    }
}

/// Axes `axis` and `axis + 1` as one.
fn join(t: &mut Trace, v: ValueId, axis: usize) -> ValueId {
    let s = t.shape(v);
    let shape: Shape = s[..axis].iter().copied().chain([s[axis] * s[axis + 1]]).chain(s[axis + 2..].iter().copied()).collect();
    t.reshape(v, &shape)
}

/// An axis as two, the first of which has `outer` elements.
fn split(t: &mut Trace, v: ValueId, axis: usize, outer: usize) -> ValueId {
    let s = t.shape(v);
    let shape: Shape = s[..axis].iter().copied().chain([outer, s[axis] / outer]).chain(s[axis + 1..].iter().copied()).collect();
    t.reshape(v, &shape)
}
