//! Trace to Trace, meaning kept: what a program asks for, in fewer and simpler instructions.
//!
//! One forward sweep rebuilds the trace. Each instruction, its operands already simplified, is offered to the rules of `fold`
//! (constants, algebra, scalar arithmetic kept scalar) and `views` (compositions of views), each of which returns a replacement or
//! nothing; what remains is hash-consed (`cse`). `inline` then replaces regions by their bodies, a second sweep simplifies across
//! their borders, and `dce` drops what no output needs. Branches and loops stay, and are programs of their own (`control`). Nothing is iterated to a fixed point: operands come first, so a sweep sees
//! every opportunity that rules look one or two instructions deep for, in linear time.
//!
//! Invariants: results are equal bit for bit (any NaN for any NaN) by the reference semantics, NaN, infinities and -0
//! included; inputs and params keep their numbers, used or not; rules never make more work per element; after regions are inlined nothing
//! that costs anything is merged, so that what a `Checkpoint` recomputes stays computed twice. (Simplifying the result again would
//! merge it: the region that forbade it is gone.)
//! No decision here depends on a device; fusion comes after.

mod control;
mod cse;
mod dce;
mod fold;
mod inline;
#[cfg(test)]
mod tests;
mod views;

use crate::base::{DType, Scalar, Shape, Site};
use crate::trace::{Args, Inst, Op, Trace, ValueId};
use cse::{Cse, Merge};
use smallvec::SmallVec;

/// A trace of the same meaning, simplified, without regions but branches and loops.
pub fn simplify(t: &Trace) -> Trace {
    let t = checked("dce", dce::dce(t));
    let mut t = checked("sweep", merged(&t));
    if t.insts.iter().any(|i| matches!(&i.op, Op::Region(r) if !r.kind.is_control())) {
        t = checked("inline", inline::inline(&t));
        t = checked("sweep", sweep(&t, Merge::Free));
    }
    t = checked("dce", dce::dce(&t));
    if control::any(&t) {
        t = checked("prune", control::prune(&t));
        t = checked("dce", dce::dce(&t));
    }
    t
}

/// Everything equal merged, branches and loops too.
fn merged(t: &Trace) -> Trace {
    let mut t = sweep(t, Merge::All);
    control::merge(&mut t);
    t
}

/// The verifier between passes, in debug builds.
fn checked(pass: &str, t: Trace) -> Trace {
    if cfg!(debug_assertions)
        && let Err(e) = crate::trace::verify::verify(&t)
    {
        panic!("{pass} built an invalid trace: {e}\n{t}");
    }
    t
}

/// Rebuilds a trace through the rules.
fn sweep(t: &Trace, merge: Merge) -> Trace {
    let mut b = Builder { t: Trace::new(), cse: Cse::new(merge) };
    b.t.insts.reserve(t.insts.len());
    let mut map: Vec<ValueId> = Vec::with_capacity(t.insts.len());
    for inst in &t.insts {
        let args: Args = inst.args.iter().map(|a| map[a.index()]).collect();
        map.push(b.emit(Inst { args, ..inst.clone() }));
    }
    b.t.outputs = t.outputs.iter().map(|o| map[o.index()]).collect();
    b.t
}

/// The trace being rebuilt. Everything in it is simplified already.
struct Builder {
    t: Trace,
    cse: Cse,
}

impl Builder {
    /// The value of an instruction: what a rule makes of it, an equal instruction, or itself appended.
    ///
    /// Rules build their replacement with this, so it is simplified in turn; each rule leaves less to do, so this ends.
    fn emit(&mut self, inst: Inst) -> ValueId {
        if let Some(v) = fold::rule(self, &inst).or_else(|| views::rule(self, &inst)) {
            debug_assert!(self.t.dtype(v) == inst.dtype && *self.t.shape(v) == inst.shape, "{inst:?} became {:?}", self.t[v]);
            return v;
        }
        if let Some(v) = self.cse.find(&self.t, &inst) {
            return v;
        }
        let v = self.t.push_typed(inst.op, &inst.args, inst.dtype, inst.shape, inst.site);
        self.cse.note(&self.t, v);
        v
    }

    /// As [`emit`](Builder::emit), from parts.
    fn build(&mut self, op: Op, args: &[ValueId], dtype: DType, shape: &Shape, site: Option<Site>) -> ValueId {
        self.emit(Inst { op, args: SmallVec::from_slice(args), dtype, shape: shape.clone(), site })
    }

    /// The instruction `like` with another op and operands.
    fn like(&mut self, like: &Inst, op: Op, args: &[ValueId]) -> ValueId {
        self.build(op, args, like.dtype, &like.shape, like.site)
    }

    /// A constant filling `shape`.
    fn constant(&mut self, value: Scalar, dtype: DType, shape: &Shape) -> ValueId {
        // One NaN, so that equal constants are merged.
        let value = match value {
            Scalar::Float(x) if x.is_nan() => Scalar::Float(f64::NAN),
            v => v,
        };
        let c = self.build(Op::Const(value), &[], dtype, &Shape::scalar(), None);
        self.fill(c, shape)
    }

    /// A 0-d value spread over `shape`.
    fn fill(&mut self, scalar: ValueId, shape: &Shape) -> ValueId {
        if shape.rank() == 0 {
            return scalar;
        }
        let (dtype, site) = (self.t.dtype(scalar), self.t[scalar].site);
        self.build(Op::Broadcast, &[scalar], dtype, shape, site)
    }

    /// The 0-d value that fills `v`, if `v` is a broadcast of one or is one.
    fn filled(&self, v: ValueId) -> Option<ValueId> {
        let inst = &self.t[v];
        match inst.op {
            _ if inst.shape.rank() == 0 => Some(v),
            Op::Broadcast if self.t.shape(inst.args[0]).rank() == 0 => Some(inst.args[0]),
            _ => None,
        }
    }

    /// The constant that fills `v`.
    fn splat(&self, v: ValueId) -> Option<Scalar> {
        match self.t[self.filled(v)?].op {
            Op::Const(c) => Some(c),
            _ => None,
        }
    }
}
