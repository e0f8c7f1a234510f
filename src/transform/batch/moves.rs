//! Batched views and scans along an axis.

use super::Batch;
use crate::base::Shape;
use crate::trace::{Inst, Op, PadSpec, SliceSpec, ValueId};

impl Batch<'_> {
    /// A view of every example; `shape` is that of the batched result.
    pub(super) fn view(&mut self, inst: &Inst, shape: Shape) -> ValueId {
        let x = self.of(inst.args[0]).value;
        let t = &mut *self.t;
        match &inst.op {
            Op::Permute(perm) => {
                let perm = std::iter::once(0).chain(perm.iter().map(|p| p + 1)).collect();
                t.apply(Op::Permute(perm), &[x])
            }
            Op::Broadcast => {
                // Aligned at the right, so the axes that are new come between the batch axis and the old ones.
                let from = t.shape(x);
                let new = shape.rank() - from.rank();
                let aligned: Shape =
                    std::iter::once(self.size).chain(std::iter::repeat_n(1, new)).chain(from[1..].iter().copied()).collect();
                let x = t.reshape(x, &aligned);
                t.broadcast(x, &shape)
            }
            Op::Slice(spec) => {
                let SliceSpec { mut start, mut end, mut step } = (**spec).clone();
                start.insert(0, 0);
                end.insert(0, self.size);
                step.insert(0, 1);
                t.slice(x, SliceSpec { start, end, step })
            }
            Op::Pad(spec) => {
                let PadSpec { mut lo, mut hi, value } = (**spec).clone();
                lo.insert(0, 0);
                hi.insert(0, 0);
                t.pad(x, PadSpec { lo, hi, value })
            }
            Op::Flip(axes) => t.apply(Op::Flip(axes.iter().map(|a| a + 1).collect()), &[x]),
            _ => t.reshape(x, &shape),
        }
    }

    /// Sorting (along the last axis) and running reductions of every example.
    pub(super) fn along(&mut self, inst: &Inst) -> ValueId {
        let x = self.of(inst.args[0]).value;
        let op = match inst.op {
            Op::Cumulative { kind, axis, reverse } => Op::Cumulative { kind, axis: axis + 1, reverse },
            ref op => op.clone(),
        };
        self.t.apply(op, &[x])
    }
}
