//! The multi-layer perceptron.

use crate::nn::Linear;
use crate::{Tensor, Tree};

/// Linear layers with ReLU in between.
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::models::Mlp;
/// let model = Mlp::new(&[784, 128, 10]);
/// let logits = model.forward(&Tensor::zeros([5, 28, 28]));
/// assert_eq!(logits.shape()[..], [5, 10]);
/// ```
#[derive(Tree, Clone)]
pub struct Mlp {
    /// First to last.
    pub layers: Vec<Linear>,
}

impl Mlp {
    /// `sizes`: of the input, of each hidden layer, of the output.
    ///
    /// # Panics
    /// If there are fewer than two sizes.
    #[track_caller]
    pub fn new(sizes: &[usize]) -> Mlp {
        assert!(sizes.len() >= 2, "an MLP needs the sizes of its input and output, got {sizes:?}");
        Mlp { layers: sizes.windows(2).map(|w| Linear::new(w[0], w[1])).collect() }
    }

    /// `[n, ..]`, each example flattened to the input size, to `[n, outputs]`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mut h = x.flatten(1, -1);
        for (i, layer) in self.layers.iter().enumerate() {
            h = layer.forward(&if i > 0 { h.relu() } else { h });
        }
        h
    }
}
