//! The affine map.

use super::init;
use crate::{Tensor, Tree};

/// `y = x W^T + b`.
///
/// ```
/// use lazuli::prelude::*;
/// let layer = Linear::new(3, 2);
/// let y = layer.forward(&Tensor::ones([5, 3]));
/// assert_eq!(y.shape()[..], [5, 2]);
/// ```
#[derive(Tree, Clone)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Tensor,
    /// `[outputs]`, or none.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// From `inputs` to `outputs` features, with a bias.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize) -> Linear {
        Linear { weight: init::kaiming([outputs, inputs], inputs), bias: Some(init::kaiming([outputs], inputs)) }
    }

    /// With or without a bias. Switching it off drops the one it has; switching it on makes a new one where there is none.
    #[track_caller]
    pub fn bias(mut self, yes: bool) -> Linear {
        let (outputs, inputs) = (self.weight.shape()[0], self.weight.shape()[1]);
        self.bias = yes.then(|| self.bias.unwrap_or_else(|| init::kaiming([outputs], inputs)));
        self
    }

    /// `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Panics
    /// If the last extent of `x` is not the number of inputs.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}
