//! Batched gathers and scatters. If the index is batched, the batch is one of the op's batch axes; an index that all examples share is
//! kept, and the batch axis becomes part of the rows that it names.

use super::{Batch, move_axis};
use crate::trace::{Inst, Op, ScatterMode, ValueId};

impl Batch<'_> {
    /// `x [B.., N, R..]` at `index [B.., K..]` for every example.
    pub(super) fn gather(&mut self, inst: &Inst, batch: usize) -> ValueId {
        let (x, index) = (self.of(inst.args[0]), self.of(inst.args[1]));
        let rank = self.t.shape(inst.args[1]).rank();
        let t = &mut *self.t;
        match (x.batched, index.batched) {
            (true, true) => t.gather(x.value, index.value, batch + 1),
            (true, false) => {
                let x = move_axis(t, x.value, 0, batch + 1);
                let y = t.gather(x, index.value, batch);
                move_axis(t, y, rank, 0)
            }
            // The examples are some more indices into the same rows.
            (false, _) => {
                let index = move_axis(t, index.value, 0, batch);
                let y = t.gather(x.value, index, batch);
                move_axis(t, y, batch, 0)
            }
        }
    }

    /// `updates [B.., K.., R..]` into `x [B.., N, R..]` at `index [B.., K..]` for every example.
    pub(super) fn scatter(&mut self, inst: &Inst, mode: ScatterMode, batch: usize) -> ValueId {
        let index = self.of(inst.args[1]);
        let rank = self.t.shape(inst.args[1]).rank();
        let (x, updates) = (self.full(inst.args[0]), self.full(inst.args[2]));
        let t = &mut *self.t;
        if index.batched {
            return t.apply(Op::Scatter(mode, batch as u8 + 1), &[x, index.value, updates]);
        }
        let x = move_axis(t, x, 0, batch + 1);
        let updates = move_axis(t, updates, 0, rank);
        let y = t.apply(Op::Scatter(mode, batch as u8), &[x, index.value, updates]);
        move_axis(t, y, batch + 1, 0)
    }
}
