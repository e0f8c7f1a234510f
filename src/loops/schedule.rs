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

/// One launch: usually one instance; several where the same kernel runs over many buffers (grouped optimiser updates).
#[derive(Clone, Debug)]
pub struct Launch {
    /// Kernels of one class and perhaps some of a single element, all independent of each other.
    pub instances: Vec<Instance>,
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
