//! Random bits of every example.

use super::{Batch, stacked};
use crate::base::Shape;
use crate::trace::{Inst, Op, Trace, ValueId};

/// Most operands joined at once.
const MAX_PARTS: usize = 4096;

impl Batch<'_> {
    /// A draw, whose key and offset all examples share, is one draw of more bits. Where the key or the offset is an example's own, its bits
    /// are those of that counter, which no single op gives: one op per example.
    pub(super) fn random(&mut self, inst: &Inst, shape: Shape) -> ValueId {
        let operands = [self.of(inst.args[0]), self.of(inst.args[1])];
        let t = &mut *self.t;
        if operands.iter().all(|o| !o.batched) {
            let args = operands.map(|o| o.value);
            return t.push_typed(Op::Random, &args, inst.dtype, shape, inst.site);
        }
        let one = stacked(1, &inst.shape);
        let mut parts: Vec<ValueId> = (0..self.size)
            .map(|e| {
                let args = operands.map(|o| if o.batched { element(t, o.value, e) } else { o.value });
                let bits = t.push_typed(Op::Random, &args, inst.dtype, inst.shape.clone(), inst.site);
                t.reshape(bits, &one)
            })
            .collect();
        while parts.len() > 1 {
            parts = parts.chunks(MAX_PARTS).map(|p| t.concat(p, 0)).collect();
        }
        parts[0]
    }
}

/// Element `e` of a vector, 0-d.
fn element(t: &mut Trace, v: ValueId, e: usize) -> ValueId {
    let one = t.slice_axis(v, 0, e, e + 1);
    t.reshape(one, &Shape::scalar())
}
