//! Functions over closures and trees: `grad`, `value_and_grad`, `jvp`, `vjp`, `checkpoint`, `custom_vjp`, `custom_jvp`.
//!
//! A closure is run on tensors that stand for its inputs; what it records is a graph like any other. Differentiation imports that
//! graph into a [`Trace`](crate::trace::Trace), lets [`transform`](crate::transform) extend it, and records what was appended as ordinary
//! nodes. So derivatives share, simplify and fuse with what they differentiate, and nest without bookkeeping.

pub(crate) mod graph_transform;
mod region;
