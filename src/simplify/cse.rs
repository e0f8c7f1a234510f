//! Common subexpressions: an instruction equal to an earlier one is that one. `Random` is pure and takes part; regions do not,
//! because a `Checkpoint` is there to be computed again.

use crate::trace::op::Op;
use crate::trace::{Binary, Inst, Trace, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Which equal instructions become one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Merge {
    /// All but regions.
    All,
    /// Only those that cost nothing to compute again: constants, index counters, broadcast scalars.
    Free,
}

/// The instructions so far, by content.
pub(super) struct Cse {
    merge: Merge,
    seen: HashMap<u64, SmallVec<[ValueId; 1]>>,
}

impl Cse {
    pub(super) fn new(merge: Merge) -> Cse {
        Cse { merge, seen: HashMap::new() }
    }

    /// An earlier instruction equal to `inst`, operands of a commutative op in either order.
    pub(super) fn find(&self, t: &Trace, inst: &Inst) -> Option<ValueId> {
        if !self.takes(t, inst) {
            return None;
        }
        let same = |v: &ValueId| {
            let o = &t[*v];
            o.op == inst.op
                && o.dtype == inst.dtype
                && o.shape == inst.shape
                && (o.args == inst.args || (commutes(&inst.op) && o.args[0] == inst.args[1] && o.args[1] == inst.args[0]))
        };
        self.seen.get(&hash(inst))?.iter().copied().find(same)
    }

    /// Remembers an instruction of the trace.
    pub(super) fn note(&mut self, t: &Trace, v: ValueId) {
        if self.takes(t, &t[v]) {
            self.seen.entry(hash(&t[v])).or_default().push(v);
        }
    }

    fn takes(&self, t: &Trace, inst: &Inst) -> bool {
        match (&inst.op, self.merge) {
            (Op::Region(_) | Op::Input(_) | Op::Param(_), _) => false,
            (_, Merge::All) => true,
            (Op::Const(_) | Op::Iota(_), Merge::Free) => true,
            (Op::Broadcast, Merge::Free) => t.shape(inst.args[0]).rank() == 0,
            (_, Merge::Free) => false,
        }
    }
}

/// Whether exchanging the two operands changes no bit of the result.
pub(super) fn commutes(op: &Op) -> bool {
    use Binary::*;
    matches!(op, Op::Binary(Add | Mul | Max | Min | And | Or | Xor))
}

fn hash(inst: &Inst) -> u64 {
    let mut h = DefaultHasher::new();
    std::mem::discriminant(&inst.op).hash(&mut h);
    match &inst.op {
        Op::Input(n) | Op::Param(n) | Op::Output(n) => n.hash(&mut h),
        Op::Const(c) => c.bits().hash(&mut h),
        Op::Unary(x) => x.hash(&mut h),
        Op::Binary(x) => x.hash(&mut h),
        Op::Compare(x) => x.hash(&mut h),
        Op::Reduce(k, axes) => {
            (k, axes).hash(&mut h);
        }
        Op::Permute(x) | Op::Flip(x) => x.hash(&mut h),
        Op::Slice(x) => x.hash(&mut h),
        Op::Pad(x) => {
            (&x.lo, &x.hi).hash(&mut h);
            x.value.bits().hash(&mut h);
        }
        Op::Concat(x) | Op::Iota(x) | Op::Gather(x) => x.hash(&mut h),
        Op::Scatter(m, x) => (m, x).hash(&mut h),
        Op::Conv(x) => x.hash(&mut h),
        Op::ArgSort(x) => x.hash(&mut h),
        Op::Cumulative { kind, axis, reverse } => {
            (kind, axis, reverse).hash(&mut h);
        }
        Op::Select | Op::Cast | Op::Reshape | Op::Broadcast | Op::Dot | Op::Random | Op::Region(_) => {}
    }
    inst.dtype.hash(&mut h);
    inst.shape.hash(&mut h);
    if commutes(&inst.op) {
        let (a, b) = (inst.args[0], inst.args[1]);
        (a.min(b), a.max(b)).hash(&mut h);
    } else {
        inst.args.hash(&mut h);
    }
    h.finish()
}
