//! Gradients kept within bounds.

use super::params::trained;
use crate::function::tree::{self, Leaf, Tree};
use crate::{DType, Tensor};

/// Gradients scaled down together so that their Euclidean norm is at most `max_norm`, and the norm they had (F32 0-d), as PyTorch's:
/// with an infinite norm the finite ones become 0 and the others NaN, with a NaN all become NaN.
///
/// Measured and scaled are the floating-point tensors that are not frozen.
#[track_caller]
pub fn clip_grad_norm<T: Tree>(grads: &T, max_norm: f64) -> (T, Tensor) {
    let mut squares: Option<Tensor> = None;
    tree::visit(grads, &mut |_, leaf| {
        if let (true, Leaf::Tensor { tensor, .. }) = (trained(&leaf), &leaf) {
            let s = tensor.cast(DType::F32).square().sum(..);
            squares = Some(match squares.take() {
                Some(sum) => sum + s,
                None => s,
            });
        }
    });
    let norm = squares.unwrap_or_else(|| Tensor::zeros([])).sqrt();
    // As PyTorch: the small number keeps zero gradients zero.
    let factor = ((&norm + 1e-6).reciprocal() * max_norm).clamp_max(1.0);
    (each(grads, &mut |g| (g * &factor).cast(g.dtype())), norm)
}

/// Gradients with every element brought into `-limit..=limit`. NaN stays NaN.
#[track_caller]
pub fn clip_grad_value<T: Tree>(grads: &T, limit: f64) -> T {
    each(grads, &mut |g| g.clamp(-limit, limit))
}

fn each<T: Tree>(grads: &T, f: &mut dyn FnMut(&Tensor) -> Tensor) -> T {
    let mut chosen = Vec::new();
    tree::visit(grads, &mut |_, leaf| {
        if matches!(leaf, Leaf::Tensor { .. }) {
            chosen.push(trained(&leaf));
        }
    });
    let mut chosen = chosen.into_iter();
    grads.map(&mut |g| if chosen.next() == Some(true) { f(g) } else { g.clone() })
}
