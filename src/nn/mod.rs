//! Layers: values made of parameters, with a `forward` that records. They are [`Tree`](crate::Tree)s, so gradients, optimisers, files
//! and `jit` see through them; a model is a struct of layers and a function that calls them.
//!
//! What has no parameters and no settings (relu, gelu, softmax, losses...) is a method of [`Tensor`](crate::Tensor). Nothing here keeps
//! hidden state: [`BatchNorm`] hands out new statistics, [`Dropout`] draws from the default generator, and both are told whether they
//! train.
//!
//! Names of parameters, their shapes and their first values are PyTorch's, so weights can be exchanged. First values depend on
//! [`manual_seed`](crate::manual_seed) alone.

mod conv;
mod embedding;
mod init;
mod linear;
mod norm;

pub use conv::{AvgPool2d, Conv2d, MaxPool2d, Pair};
pub use embedding::{Dropout, Embedding};
pub use linear::Linear;
pub use norm::{BatchNorm, BatchStats, GroupNorm, LayerNorm, RmsNorm};

#[cfg(test)]
mod tests;
