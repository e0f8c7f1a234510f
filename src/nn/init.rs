//! First values of parameters.

use crate::{Shape, Tensor};

/// Computes a new parameter, so that it is a leaf and the random numbers are drawn once. Where that fails the recipe stays, and who
/// uses the parameter gets the error.
fn leaf(t: Tensor) -> Tensor {
    let _ = t.eval();
    t
}

/// Uniform within `±1 / sqrt(fan_in)`: what Kaiming-uniform (He et al., 2015) with PyTorch's default slope, sqrt(5), comes to.
#[track_caller]
pub(super) fn kaiming(shape: impl Into<Shape>, fan_in: usize) -> Tensor {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    leaf(Tensor::rand(shape) * (2.0 * bound) - bound)
}

/// Normal with mean 0 and deviation 1.
#[track_caller]
pub(super) fn normal(shape: impl Into<Shape>) -> Tensor {
    leaf(Tensor::randn(shape))
}

#[track_caller]
pub(super) fn zeros(shape: impl Into<Shape>) -> Tensor {
    leaf(Tensor::zeros(shape))
}

#[track_caller]
pub(super) fn ones(shape: impl Into<Shape>) -> Tensor {
    leaf(Tensor::ones(shape))
}
