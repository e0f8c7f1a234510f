//! Gradients kept within bounds.

use super::params::trained;
use crate::function::tree::{frozen, leaves, map_tensors};
use crate::{DType, Tensor, Tree};

/// Gradients scaled down together so that their Euclidean norm is at most `max_norm`, and the norm they had (F32 0-d), as PyTorch's:
/// with an infinite norm the finite ones become 0 and the others NaN, with a NaN all become NaN.
///
/// Measured and scaled are the floating-point tensors that are not frozen.
#[track_caller]
pub fn clip_grad_norm<T: Tree>(grads: &T, max_norm: f64) -> (T, Tensor) {
    let measured = leaves(grads).into_iter().zip(frozen(grads)).filter(|(g, frozen)| trained(g, *frozen));
    let squares = measured.map(|(g, _)| g.cast(DType::F32).square().sum(..)).reduce(|a, b| a + b);
    let norm = squares.unwrap_or_else(|| Tensor::zeros([])).sqrt();
    // As PyTorch: the small number keeps zero gradients zero.
    let factor = ((&norm + 1e-6).reciprocal() * max_norm).clamp_max(1.0);
    (each(grads, |g| (g * &factor).cast(g.dtype())), norm)
}

/// Gradients with every element brought into `-limit..=limit`. NaN stays NaN.
#[track_caller]
pub fn clip_grad_value<T: Tree>(grads: &T, limit: f64) -> T {
    each(grads, |g| g.clamp(-limit, limit))
}

fn each<T: Tree>(grads: &T, f: impl Fn(&Tensor) -> Tensor) -> T {
    map_tensors(grads, |g, frozen| if trained(g, frozen) { f(g) } else { g.clone() })
}
