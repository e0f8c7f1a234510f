//! Lazuli: a JIT-tracing tensor engine.
#![deny(unsafe_op_in_unsafe_fn)]
extern crate self as lazuli;

pub mod backend;
pub mod base;
pub mod function;
pub mod fuse;
pub mod loops;
pub mod plan;
pub mod profile;
pub mod simplify;
pub mod tensor;
pub mod trace;
pub mod transform;

pub use base::error::catch;
pub use base::{Axes, Axis, DType, Dims, Element, Error, ErrorKind, Result, Scalar, Shape};
pub use tensor::{Device, Tensor, eval};

/// Everything a program usually needs.
pub mod prelude {
    pub use crate::{DType, Device, Error, Result, Tensor};
}
