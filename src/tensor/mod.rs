//! What a user holds: [`Tensor`], a handle to a recorded value, and everything that can be asked of it, by family.
//!
//! Methods record; they never compute. Values are computed when read ([`Tensor::to_vec`], printing) or on [`eval`].
//! A slip (shapes that do not fit) panics at the user's line, or is kept by [`crate::catch`].
//! This folder composes ops; meaning lives in `trace`, speed in `fuse` and the backends.

mod activation;
mod attention;
mod bag;
mod cells;
pub(crate) mod compose;
mod conv;
mod create;
mod device;
mod display;
mod einsum;
mod elementwise;
#[cfg(feature = "wgpu")]
mod embed;
mod host;
mod index;
mod join;
mod linalg;
mod loss;
mod loss_options;
mod max_pool;
mod max_unpool;
mod norm;
mod operand;
pub mod ops;
mod pad;
mod pool;
mod random;
pub(crate) mod record;
mod reduce;
mod resample;
mod shape;
mod slice;
mod sort;
mod special;
mod stack;
#[cfg(test)]
mod tests;
mod vision;

pub use attention::{AttentionOptions, AttentionWeights};
pub use bag::{BagMode, BagOptions};
pub use conv::ConvOptions;
pub use create::Literal;
pub use device::Device;
#[cfg(feature = "wgpu")]
pub use embed::{Budget, Ticket, WgpuBuffer};
pub use index::ScatterReduce;
pub use loss::{CrossEntropyOptions, Reduction};
pub use loss_options::{KlOptions, NllOptions, TripletOptions};
pub(crate) use operand::{Lit, LitInt};
pub use operand::{Number, Operand, Rhs};
pub use pad::PadMode;
pub use pool::PoolOptions;
pub(crate) use random::draws;
pub use random::{Generator, manual_seed};
pub(crate) use random::{default_draws, draw_token, reserve_default, reserve_draws};
pub use resample::{GridMode, GridPadding, Interpolate};
pub use slice::{NewAxis, SliceItem};

use crate::base::{DType, Result, Shape};
use crate::plan;
use crate::trace::graph::NodeRef;
use std::borrow::Borrow;

/// An n-dimensional array of numbers: a cheap handle to a recorded, perhaps not yet computed value.
///
/// Cloning copies the handle. Operations never change a tensor; they return new ones.
///
/// ```
/// use lazuli::prelude::*;
/// let a = Tensor::from_vec(vec![1f32, 2., 3., 4.], [2, 2]);
/// let b = (&a * 2.0 + 1.0).sum(0);
/// assert_eq!(b.to_vec::<f32>()?, [10.0, 14.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(pub(crate) NodeRef);

impl Tensor {
    /// The extents, outermost first.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.shape.rank()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.0.shape.numel()
    }

    /// Where it lives or will be computed.
    pub fn device(&self) -> Device {
        Device::from_id(self.0.device)
    }

    /// Computes the value now and lets its recipe go: the tensor becomes a leaf, through which no gradient passes, and what only
    /// its recipe held is freed. Inside a transform it only records.
    ///
    /// # Errors
    /// What the device reports, or the slip a poisoned tensor carries.
    pub fn eval(&self) -> Result<()> {
        eval(&[self])
    }
}

/// Computes several tensors in one plan, as [`Tensor::eval`].
///
/// # Errors
/// As [`Tensor::eval`].
pub fn eval<T: Borrow<Tensor>>(tensors: &[T]) -> Result<()> {
    eval_over(tensors, &[])
}

/// As [`eval`]; the caller then lets go of one handle of each node of `spare`, whose memory may be reused.
pub(crate) fn eval_over<T: Borrow<Tensor>>(tensors: &[T], spare: &[NodeRef]) -> Result<()> {
    let nodes: Vec<NodeRef> = tensors.iter().map(|t| t.borrow().0.clone()).collect();
    if record::inside_transform() {
        return record::first_poison(&nodes);
    }
    plan::evaluate_over(&nodes, plan::Keep::Cut, spare)
}
