//! Ready models, made of the layers in [`nn`](crate::nn) as a user would make them.

mod cnn;
mod mlp;

pub use cnn::Cnn;
pub use mlp::Mlp;

#[cfg(test)]
mod tests;
