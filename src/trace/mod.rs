//! What is recorded.
pub mod elementwise;
pub use elementwise::{Binary, Compare, Unary};
