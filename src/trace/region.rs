//! Sub-traces: what a region means, what its bodies take and yield.
//!
//! A region has one operand for each value its bodies take from outside. `Checkpoint` and the custom rules compute their body once;
//! [`Cond`](RegionKind::Cond) one of two; a [`Loop`](RegionKind::Loop) repeats it, and is the one form of every repetition: counted loops,
//! scans over rows, loops until a condition fails.

use super::ir::{Trace, ValueId};
use super::op::Op;
use crate::base::{DType, Shape};
use std::sync::Arc;

/// A sub-trace with a meaning attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// What the region means.
    pub kind: RegionKind,
    /// What it computes. But for loops: one input per operand.
    pub body: Arc<Trace>,
}

/// What a region means.
#[derive(Clone, Debug, PartialEq)]
pub enum RegionKind {
    /// Reverse mode recomputes the body instead of keeping its interior, but for its last outputs, so many, which are kept.
    Checkpoint(u32),
    /// Forward rule: inputs are the operands, then their tangents; outputs are the tangents of the body's outputs.
    CustomJvp(Arc<Trace>),
    /// Reverse rule: inputs are the operands, the outputs, then the outputs' cotangents; outputs are the operands' cotangents.
    CustomVjp(Arc<Trace>),
    /// Operand 0 is a single Bool: where it holds, the body is run, else this trace, which has the body's inputs and output types.
    Cond(Arc<Trace>),
    /// The body is run again and again.
    Loop(Arc<LoopSpec>),
}

/// How a body is repeated.
///
/// The region's operands are `consts`, which every iteration reads, then the initial `carry`, then stacks, `length` rows along axis 0.
/// The body takes the consts, the carry, a row of each stack, and the number of the iteration (I64, from 0); it yields the next carry, then
/// what is written to rows of results. The region yields the last carry, the stacks of results (`length` rows; those never written hold
/// zeros), and the number of iterations that were run (I64).
#[derive(Clone, Debug, PartialEq)]
pub struct LoopSpec {
    /// Operands that every iteration reads.
    pub consts: usize,
    /// Values that go from iteration to iteration.
    pub carry: usize,
    /// Most iterations; `None`: no bound (then there are no stacks).
    pub length: Option<usize>,
    /// What ends it before.
    pub trip: Trip,
    /// Rows are visited from the last one that an iteration has to the first.
    pub reverse: bool,
    /// A part of a longer loop, short enough for reverse mode to keep every state.
    pub segment: bool,
}

/// What ends a loop before its `length`.
#[derive(Clone, Debug, PartialEq)]
pub enum Trip {
    /// Nothing.
    Fixed,
    /// It takes the consts, the carry and the iteration's number and yields a single Bool: whether to go on.
    While(Arc<Trace>),
    /// The first const, an I64, says how many iterations there are (clamped to `0..=length`); rows behind them are not touched.
    Count,
}

impl RegionKind {
    /// The name in the text form.
    pub const fn name(&self) -> &'static str {
        match self {
            RegionKind::Checkpoint(_) => "checkpoint",
            RegionKind::CustomJvp(_) => "custom_jvp",
            RegionKind::CustomVjp(_) => "custom_vjp",
            RegionKind::Cond(_) => "cond",
            RegionKind::Loop(_) => "loop",
        }
    }

    /// Whether which instructions run depends on data: such regions are run as programs of their own, the others are replaced by their bodies.
    pub const fn is_control(&self) -> bool {
        matches!(self, RegionKind::Cond(_) | RegionKind::Loop(_))
    }
}

impl Region {
    /// A region as an op.
    pub fn op(kind: RegionKind, body: Trace) -> Op {
        Op::Region(Arc::new(Region { kind, body: Arc::new(body) }))
    }

    /// How many operands it takes.
    pub fn arity(&self) -> usize {
        // A loop's body also takes the iteration's number.
        self.body.inputs.len() - usize::from(matches!(self.kind, RegionKind::Loop(_)))
    }

    /// The type of operand `i`.
    pub fn operand(&self, i: usize) -> (DType, Shape) {
        let v = self.body.inputs[i];
        let (d, s) = (self.body.dtype(v), self.body.shape(v));
        match &self.kind {
            RegionKind::Loop(l) if i >= l.consts + l.carry => (d, l.stack(s)),
            _ => (d, s.clone()),
        }
    }

    /// How many results it has.
    pub fn results(&self) -> usize {
        self.body.outputs.len() + usize::from(matches!(self.kind, RegionKind::Loop(_)))
    }

    /// The type of result `k`.
    pub fn result(&self, k: usize) -> (DType, Shape) {
        let Some(&v) = self.body.outputs.get(k) else { return (DType::I64, Shape::scalar()) };
        let (d, s) = (self.body.dtype(v), self.body.shape(v));
        match &self.kind {
            RegionKind::Loop(l) if k >= l.carry => (d, l.stack(s)),
            _ => (d, s.clone()),
        }
    }

    /// The region with other traces.
    pub fn with_traces(&self, mut f: impl FnMut(&Arc<Trace>) -> Arc<Trace>) -> Region {
        let body = f(&self.body);
        let kind = match &self.kind {
            &RegionKind::Checkpoint(saved) => RegionKind::Checkpoint(saved),
            RegionKind::CustomJvp(t) => RegionKind::CustomJvp(f(t)),
            RegionKind::CustomVjp(t) => RegionKind::CustomVjp(f(t)),
            RegionKind::Cond(t) => RegionKind::Cond(f(t)),
            RegionKind::Loop(l) => match &l.trip {
                Trip::While(go) => RegionKind::Loop(Arc::new(LoopSpec { trip: Trip::While(f(go)), ..(**l).clone() })),
                Trip::Fixed | Trip::Count => self.kind.clone(),
            },
        };
        Region { kind, body }
    }

    /// The trace it holds besides its body.
    pub fn other(&self) -> Option<&Arc<Trace>> {
        match &self.kind {
            RegionKind::CustomJvp(t) | RegionKind::CustomVjp(t) | RegionKind::Cond(t) => Some(t),
            RegionKind::Loop(l) => match &l.trip {
                Trip::While(t) => Some(t),
                Trip::Fixed | Trip::Count => None,
            },
            RegionKind::Checkpoint(_) => None,
        }
    }
}

impl LoopSpec {
    /// The shape of a stack of rows.
    pub fn stack(&self, row: &Shape) -> Shape {
        std::iter::once(self.length.unwrap_or(0)).chain(row.iter().copied()).collect()
    }

    /// The row that iteration `i` of `count` reads and writes.
    pub fn row(&self, i: usize, count: usize) -> usize {
        if self.reverse { count - 1 - i } else { i }
    }
}

impl Trace {
    /// Appends a region and returns all its results.
    pub fn region(&mut self, kind: RegionKind, body: Trace, args: &[ValueId]) -> Vec<ValueId> {
        let op = Region::op(kind, body);
        let v = self.apply(op.clone(), args);
        let Op::Region(r) = &op else { unreachable!("made above") };
        (0..r.results())
            .map(|k| {
                let (d, s) = r.result(k);
                self.push_typed(Op::Output(k as u32), &[v], d, s, None)
            })
            .collect()
    }
}
