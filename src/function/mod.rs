//! Functions over closures and trees: [`grad`], [`value_and_grad`], [`jvp`], [`vjp`], [`vmap`], [`jit`], [`checkpoint`], [`custom_vjp`],
//! [`custom_jvp`].
//!
//! A closure is run on tensors that stand for its inputs; what it records is a graph like any other. A transform imports that
//! graph into a [`Trace`](crate::trace::Trace), lets [`transform`](crate::transform) extend it, and records what was appended as ordinary
//! nodes. So derivatives and batches share, simplify and fuse with what they differentiate, and nest without bookkeeping.
//!
//! [`tree`] says what such functions take and return. Invariant: nothing is computed, cut or flushed while a closure is recorded.

mod autocast;
mod checkpoint;
pub(crate) mod compiled;
mod control;
mod custom;
mod differentiate;
pub(crate) mod graph_transform;
mod jacobian;
mod jit;
pub(crate) mod region;
pub mod tree;
mod vmap;

pub use autocast::{Autocast, autocast};
pub use checkpoint::{Policy, Saveable, checkpoint, checkpoint_name, checkpoint_with};
pub use control::{cond, fori_loop, scan, scan_reversed, while_loop};
pub use custom::{Func, custom_jvp, custom_vjp};
pub use differentiate::{Linearized, Loss, Pullback, grad, jvp, linearize, stop_gradient, value_and_grad, vjp};
pub use graph_transform::record_trace;
pub use jacobian::{Blocks, HasJacobian, hessian, hvp, jacfwd, jacrev};
pub use jit::{Jit, Outcome, jit};
pub use lazuli_derive::Tree;
pub use tree::Tree;
pub use vmap::{BatchAxes, vmap, vmap_with};
