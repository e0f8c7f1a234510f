//! What is recorded.
//!
//! - [`graph`]: the nodes a user's tensors hold, recorded lazily; [`key`] walks them into a canonical key.
//! - [`Trace`]: the same program as a flat list, on which every transform and pass works.
//!
//! Rules of a trace (checked by [`verify`]):
//! 1. operands come before their users; inputs and params are numbered in order;
//! 2. every instruction has the type [`infer`] gives it; elementwise operands have equal shapes, broadcasts are explicit;
//! 3. a region is read only through `Output`; its traces have no params, and take and yield what [`RegionKind`] says;
//! 4. a constant is a value of its dtype;
//! 5. sizes are sane: at most 64 axes, nonzero extents whose product is below 2^47 (2^30 where pointers have 32 bits), paddings and steps below that, 65,536
//!    operands, regions nested 32 deep. So no pass needs checked arithmetic on extents.

pub mod adopt;
pub mod elementwise;
#[doc(hidden)]
pub mod generate;
pub mod graph;
pub mod import;
pub mod infer;
pub mod interp;
pub mod ir;
pub mod key;
mod node_ref;
pub mod op;
pub mod region;
pub mod scalar;
pub mod text;
pub mod verify;

pub use elementwise::{Binary, Compare, Unary};
pub use ir::{Args, Inst, Trace, ValueId};
pub use op::{AxisList, ConvSpec, Op, PadSpec, Reduce, ScatterMode, SliceSpec};
pub use region::{LoopSpec, Region, RegionKind, Trip};
