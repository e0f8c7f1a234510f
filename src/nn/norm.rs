//! Normalisation.

use super::init;
use crate::{Shape, Tensor, Tree};

/// Normalises every channel over the batch (Ioffe and Szegedy, 2015), for inputs `[n, channels, ..]`.
///
/// In training the statistics are the batch's, and they have to find their way into the running ones that are used afterwards. A layer
/// is a value, so [`forward_train`](BatchNorm::forward_train) returns them; they leave the loss function beside the loss, and
/// [`update`](BatchNorm::update) takes them in before the optimiser's step, which computes everything in one plan:
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::nn::BatchNorm;
/// let (mut norm, mut opt) = (BatchNorm::new(3), Adam::new(1e-3));
/// let x = Tensor::randn([8, 3]);
/// let ((loss, stats), g) = value_and_grad(
///     |m: &BatchNorm| {
///         let (y, stats) = m.forward_train(&x);
///         ((y * &x).sum(..), stats)
///     },
///     &norm,
/// );
/// norm.update(stats);
/// opt.step(&mut norm, &g)?;
/// let y = norm.forward(&x); // running statistics
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Tree, Clone)]
pub struct BatchNorm {
    /// `[channels]`, factor after normalising.
    pub weight: Tensor,
    /// `[channels]`, added then.
    pub bias: Tensor,
    /// `[channels]`, average of the batches' means. Not trained.
    #[tree(frozen)]
    pub running_mean: Tensor,
    /// `[channels]`, average of the batches' variances. Not trained.
    #[tree(frozen)]
    pub running_var: Tensor,
    momentum: f64,
    eps: f64,
}

/// New running statistics of one [`BatchNorm`].
#[derive(Tree, Clone)]
pub struct BatchStats {
    /// `[channels]`.
    pub mean: Tensor,
    /// `[channels]`.
    pub var: Tensor,
}

impl BatchNorm {
    /// For so many channels; momentum 0.1, eps 1e-5.
    #[track_caller]
    pub fn new(channels: usize) -> BatchNorm {
        BatchNorm {
            weight: init::ones([channels]),
            bias: init::zeros([channels]),
            running_mean: init::zeros([channels]),
            running_var: init::ones([channels]),
            momentum: 0.1,
            eps: 1e-5,
        }
    }

    /// The share of a batch's statistics in the running ones.
    pub fn momentum(mut self, momentum: f64) -> BatchNorm {
        self.momentum = momentum;
        self
    }

    /// Added to the variance.
    pub fn eps(mut self, eps: f64) -> BatchNorm {
        self.eps = eps;
        self
    }

    /// Normalised by the running statistics. `x`: `[n, channels, ..]`.
    ///
    /// # Panics
    /// If the second extent of `x` is not the number of channels.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.batch_norm(&self.running_mean, &self.running_var, Some(&self.weight), Some(&self.bias), self.eps)
    }

    /// Normalised by the batch's own statistics, and the new running ones (with the unbiased variance, as PyTorch).
    ///
    /// # Panics
    /// If the second extent of `x` is not the number of channels.
    #[track_caller]
    pub fn forward_train(&self, x: &Tensor) -> (Tensor, BatchStats) {
        let axes: Vec<usize> = (0..x.rank()).filter(|&a| a != 1).collect();
        let (mean, var) = x.mean_var(&axes[..], 0);
        let y = x.batch_norm(&mean, &var, Some(&self.weight), Some(&self.bias), self.eps);
        let n = x.numel() / self.weight.numel().max(1);
        let unbiased = n as f64 / n.saturating_sub(1).max(1) as f64;
        let blend = |old: &Tensor, new: &Tensor, scale: f64| {
            (old * (1.0 - self.momentum) + new.detach() * (self.momentum * scale)).cast(old.dtype())
        };
        let stats = BatchStats { mean: blend(&self.running_mean, &mean, 1.0), var: blend(&self.running_var, &var, unbiased) };
        (y, stats)
    }

    /// Takes in what [`forward_train`](BatchNorm::forward_train) returned.
    pub fn update(&mut self, stats: BatchStats) {
        (self.running_mean, self.running_var) = (stats.mean, stats.var);
    }
}

/// Normalises over the last axes (Ba et al., 2016).
#[derive(Tree, Clone)]
pub struct LayerNorm {
    /// Of the normalised axes: factor after normalising.
    pub weight: Tensor,
    /// Of the normalised axes: added then.
    pub bias: Option<Tensor>,
    eps: f64,
}

impl LayerNorm {
    /// Over the last axes, which have these extents; eps 1e-5.
    #[track_caller]
    pub fn new(shape: impl Into<Shape>) -> LayerNorm {
        let shape = shape.into();
        LayerNorm { weight: init::ones(&shape), bias: Some(init::zeros(&shape)), eps: 1e-5 }
    }

    /// With or without a bias.
    #[track_caller]
    pub fn bias(mut self, yes: bool) -> LayerNorm {
        self.bias = yes.then(|| self.bias.unwrap_or_else(|| init::zeros(self.weight.shape())));
        self
    }

    /// Added to the variance.
    pub fn eps(mut self, eps: f64) -> LayerNorm {
        self.eps = eps;
        self
    }

    /// Same shape.
    ///
    /// # Panics
    /// If the last extents of `x` are not those of the weight.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.shape(), Some(&self.weight), self.bias.as_ref(), self.eps)
    }
}

/// Divides by the root of the mean square over the last axes (Zhang and Sennrich, 2019).
#[derive(Tree, Clone)]
pub struct RmsNorm {
    /// Of the normalised axes: factor after normalising.
    pub weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// Over the last axes, which have these extents; eps 1e-6.
    #[track_caller]
    pub fn new(shape: impl Into<Shape>) -> RmsNorm {
        RmsNorm { weight: init::ones(shape), eps: 1e-6 }
    }

    /// Added to the mean square.
    pub fn eps(mut self, eps: f64) -> RmsNorm {
        self.eps = eps;
        self
    }

    /// Same shape.
    ///
    /// # Panics
    /// If the last extents of `x` are not those of the weight.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.rms_norm(self.weight.shape(), Some(&self.weight), self.eps)
    }
}

/// Normalises groups of channels of each example (Wu and He, 2018), for inputs `[n, channels, ..]`.
#[derive(Tree, Clone)]
pub struct GroupNorm {
    /// `[channels]`, factor after normalising.
    pub weight: Tensor,
    /// `[channels]`, added then.
    pub bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// `channels` in `groups` groups of equal size; eps 1e-5.
    ///
    /// # Panics
    /// If the channels do not divide into groups.
    #[track_caller]
    pub fn new(groups: usize, channels: usize) -> GroupNorm {
        assert!(groups > 0 && channels.is_multiple_of(groups), "{channels} channels do not divide into {groups} groups");
        GroupNorm { weight: init::ones([channels]), bias: init::zeros([channels]), groups, eps: 1e-5 }
    }

    /// Added to the variance.
    pub fn eps(mut self, eps: f64) -> GroupNorm {
        self.eps = eps;
        self
    }

    /// Same shape.
    ///
    /// # Panics
    /// If the second extent of `x` is not the number of channels.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.eps)
    }
}
