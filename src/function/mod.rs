//! Functions over closures and trees.

pub mod tree;

pub use lazuli_derive::Tree;
pub use tree::Tree;
