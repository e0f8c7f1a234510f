//! What a backend is asked to prepare: kernels in order, and the memory they touch.

use super::Kernel;
use crate::base::DType;
use std::sync::Arc;

/// A buffer of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SlotId(pub u32);

/// Where a slot's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The caller's buffer of that number; written only if it was [donated](Schedule::donated).
    Input(u32),
    /// A fresh buffer that becomes the result of that number.
    Output(u32),
    /// Bytes of the plan's arena from this offset on, shared by lifetime.
    Arena(usize),
}

/// A buffer of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Storage type.
    pub dtype: DType,
    /// Elements.
    pub numel: usize,
    /// Memory.
    pub place: Place,
}

impl Slot {
    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.numel * self.dtype.size()
    }
}

/// A kernel with the buffers and numbers it is bound to.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The code.
    pub kernel: Arc<Kernel>,
    /// One slot per kernel argument.
    pub slots: Vec<SlotId>,
    /// For each kernel parameter, the plan parameter of that number.
    pub params: Vec<u32>,
}

/// A step of a plan.
#[derive(Clone, Debug)]
pub enum Launch {
    /// Usually one instance; several where the same kernel runs over many buffers (grouped optimiser updates): kernels of one class and
    /// perhaps some of a single element, all independent of each other.
    Kernels(Vec<Instance>),
    /// A branch or loop.
    Control(Box<Control>),
}

impl Launch {
    /// The kernels of this step itself; those inside of a branch or loop are its programs'.
    pub fn instances(&self) -> &[Instance] {
        match self {
            Launch::Kernels(i) => i,
            Launch::Control(_) => &[],
        }
    }
}

/// A branch or loop: programs that are run as data says.
#[derive(Clone, Debug)]
pub struct Control {
    /// What it reads.
    pub operands: Vec<SlotId>,
    /// Where its results go; `None`: nobody reads that one.
    pub results: Vec<Option<SlotId>>,
    /// What it does.
    pub kind: ControlKind,
}

/// What a branch or loop does.
#[derive(Clone, Debug)]
pub enum ControlKind {
    /// Operand 0, a single Bool, chooses the first program or the second; both take the operands and yield the results.
    Cond(Arc<[Program; 2]>),
    /// See [`LoopProgram`].
    Loop(Arc<LoopProgram>),
}

/// A loop, as [`LoopSpec`](crate::trace::LoopSpec) says. Its operands are consts, initial carry and stacks, its results the last carry, stacks, and
/// the number of iterations.
#[derive(Clone, Debug)]
pub struct LoopProgram {
    /// Operands that every iteration reads.
    pub consts: usize,
    /// Bytes of each carried value.
    pub carry: Vec<usize>,
    /// Bytes of a row of each stack that is read.
    pub stacks: Vec<usize>,
    /// Bytes of a row of each stack of results.
    pub rows: Vec<usize>,
    /// Most iterations; `None`: no bound.
    pub length: Option<usize>,
    /// The first const says how many iterations there are.
    pub counted: bool,
    /// Rows are visited from the last to the first.
    pub reverse: bool,
    /// Takes the consts, the carry, a row of each stack and the number of the iteration; yields the next carry, rows, and, if the loop has a
    /// condition, whether another iteration follows. A carried value that it yields in the buffer of its input has been overwritten.
    pub body: Program,
    /// Takes the consts, the carry and a number; yields whether there is a first iteration.
    pub first: Option<Program>,
}

/// A program inside of a plan.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it runs; it has no parameters.
    pub schedule: Schedule,
    /// Where each of its results is.
    pub results: Vec<PlanResult>,
}

/// Where a wanted value is after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanResult {
    /// In that output of the schedule.
    Output(u32),
    /// It is that input, perhaps under another shape.
    Leaf(u32),
}

/// A whole plan as a backend sees it.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// The buffers.
    pub slots: Vec<Slot>,
    /// In execution order.
    pub launches: Vec<Launch>,
    /// dtype of each plan parameter.
    pub params: Vec<DType>,
    /// Bytes of arena needed.
    pub arena_bytes: usize,
    /// Caller's buffers that were given for good, by number: kernels may write them, and they may come back as results.
    pub donated: Vec<u32>,
}
