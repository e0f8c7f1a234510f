//! A small convolutional network for small images.

use crate::nn::{Conv2d, Linear, MaxPool2d};
use crate::{Tensor, Tree};

/// After LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998): twice a 3x3 convolution (8, then 16
/// channels), ReLU and a 2x2 max-pool; then one linear layer.
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::models::Cnn;
/// let model = Cnn::new([28, 28], 10);
/// let logits = model.forward(&Tensor::zeros([2, 28, 28]));
/// assert_eq!(logits.shape()[..], [2, 10]);
/// ```
#[derive(Tree, Clone)]
pub struct Cnn {
    /// 1 to 8 channels.
    pub conv1: Conv2d,
    /// 8 to 16 channels.
    pub conv2: Conv2d,
    /// Halves height and width.
    pub pool: MaxPool2d,
    /// To the classes.
    pub head: Linear,
}

impl Cnn {
    /// For grey images of `size` (height, width) and so many classes.
    ///
    /// # Panics
    /// If a side is shorter than 4.
    #[track_caller]
    pub fn new(size: [usize; 2], classes: usize) -> Cnn {
        assert!(size[0] >= 4 && size[1] >= 4, "two 2x2 pools leave nothing of images of {size:?}");
        Cnn {
            conv1: Conv2d::new(1, 8, 3).padding(1),
            conv2: Conv2d::new(8, 16, 3).padding(1),
            pool: MaxPool2d::new(2),
            head: Linear::new(16 * (size[0] / 4) * (size[1] / 4), classes),
        }
    }

    /// `[n, height, width]` to `[n, classes]`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.pool.forward(&self.conv1.forward(&x.unsqueeze(1)).relu());
        let x = self.pool.forward(&self.conv2.forward(&x).relu());
        self.head.forward(&x.flatten(1, -1))
    }
}
