//! Convolution and pooling over images `[n, channels, height, width]`.

use super::init;
use crate::{Tensor, Tree};

/// One number for height and width, or one each.
pub trait Pair {
    /// (height, width).
    fn pair(self) -> [usize; 2];
}
impl Pair for usize {
    fn pair(self) -> [usize; 2] {
        [self, self]
    }
}
impl Pair for [usize; 2] {
    fn pair(self) -> [usize; 2] {
        self
    }
}
impl Pair for (usize, usize) {
    fn pair(self) -> [usize; 2] {
        [self.0, self.1]
    }
}

/// 2-d convolution (cross-correlation, as everywhere in the field).
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::nn::Conv2d;
/// let layer = Conv2d::new(3, 8, 3).stride(2).padding(1);
/// let y = layer.forward(&Tensor::zeros([1, 3, 32, 32]));
/// assert_eq!(y.shape()[..], [1, 8, 16, 16]);
/// ```
#[derive(Tree, Clone)]
pub struct Conv2d {
    /// `[outputs, inputs / groups, height, width]`.
    pub weight: Tensor,
    /// `[outputs]`, or none.
    pub bias: Option<Tensor>,
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
}

impl Conv2d {
    /// From `inputs` to `outputs` channels; stride 1, no padding, with a bias.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, kernel: impl Pair) -> Conv2d {
        Conv2d::grouped(inputs, outputs, kernel.pair(), 1)
    }

    /// Channels in `groups`, each convolved on its own. The weights are drawn anew.
    ///
    /// # Panics
    /// If inputs and outputs do not divide into so many groups.
    #[track_caller]
    pub fn groups(self, groups: usize) -> Conv2d {
        let s = self.weight.shape();
        let (inputs, outputs) = (s[1] * self.groups, s[0]);
        assert!(
            groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups),
            "{inputs} input and {outputs} output channels do not divide into {groups} groups"
        );
        let Conv2d { weight, mut bias, .. } = Conv2d::grouped(inputs, outputs, [s[2], s[3]], groups);
        bias = bias.filter(|_| self.bias.is_some());
        Conv2d { weight, bias, groups, ..self }
    }

    #[track_caller]
    fn grouped(inputs: usize, outputs: usize, [h, w]: [usize; 2], groups: usize) -> Conv2d {
        let fan_in = inputs / groups * h * w;
        Conv2d {
            weight: init::kaiming([outputs, inputs / groups, h, w], fan_in),
            bias: Some(init::kaiming([outputs], fan_in)),
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups,
        }
    }

    /// How far the window moves.
    pub fn stride(mut self, stride: impl Pair) -> Conv2d {
        self.stride = stride.pair();
        self
    }

    /// Zeros on each side.
    pub fn padding(mut self, padding: impl Pair) -> Conv2d {
        self.padding = padding.pair();
        self
    }

    /// The distance between the window's elements.
    pub fn dilation(mut self, dilation: impl Pair) -> Conv2d {
        self.dilation = dilation.pair();
        self
    }

    /// With or without a bias. Switching it off drops the one it has; switching it on makes a new one where there is none.
    #[track_caller]
    pub fn bias(mut self, yes: bool) -> Conv2d {
        let (outputs, fan_in) = (self.weight.shape()[0], self.weight.shape()[1..].iter().product());
        self.bias = yes.then(|| self.bias.unwrap_or_else(|| init::kaiming([outputs], fan_in)));
        self
    }

    /// `[n, inputs, height, width]` to `[n, outputs, .., ..]`.
    ///
    /// # Panics
    /// If the channels do not fit or the window is larger than the padded image.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.conv2d(&self.weight, self.bias.as_ref(), self.stride, self.padding, self.dilation, self.groups)
    }
}

macro_rules! pool {
    ($name:ident, $method:ident, $what:literal) => {
        #[doc = $what]
        #[derive(Tree, Clone)]
        pub struct $name {
            kernel: [usize; 2],
            stride: [usize; 2],
            padding: [usize; 2],
        }

        impl $name {
            /// Windows side by side: the stride is the window's size; no padding.
            pub fn new(kernel: impl Pair) -> $name {
                let kernel = kernel.pair();
                $name { kernel, stride: kernel, padding: [0, 0] }
            }

            /// How far the window moves.
            pub fn stride(mut self, stride: impl Pair) -> $name {
                self.stride = stride.pair();
                self
            }

            /// Added on each side.
            pub fn padding(mut self, padding: impl Pair) -> $name {
                self.padding = padding.pair();
                self
            }

            /// `[n, channels, height, width]` to `[n, channels, .., ..]`.
            ///
            /// # Panics
            /// If the window is larger than the padded image.
            #[track_caller]
            pub fn forward(&self, x: &Tensor) -> Tensor {
                x.$method(self.kernel, self.stride, self.padding)
            }
        }
    };
}
pool!(MaxPool2d, max_pool2d, "The largest element of each window. Padding never wins.");
pool!(AvgPool2d, avg_pool2d, "The mean of each window. Padding counts as zeros, as in PyTorch.");
