//! Lazuli: a JIT-tracing tensor engine.
#![deny(unsafe_op_in_unsafe_fn)]
extern crate self as lazuli;

pub mod backend;
pub mod base;
pub mod loops;
pub mod simplify;
pub mod trace;
pub mod transform;
