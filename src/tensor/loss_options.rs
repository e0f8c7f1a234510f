//! Losses with all of PyTorch's options; the plain forms are in `loss`.

use super::compose::{pass_poison, slip_now};
use super::{Lit, LitInt, Reduction, Tensor};
use std::f64::consts::PI;

/// Options of [`Tensor::gaussian_nll_loss_with`] and [`Tensor::poisson_nll_loss_options`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NllOptions {
    /// Whether the constant term is added (for Poisson, Stirling's approximation of it).
    pub full: bool,
    /// Gaussian: the least variance. Poisson: what is added to a rate before its logarithm is taken.
    pub eps: f64,
    /// Poisson: whether rates are given as logarithms. True by default.
    pub log_input: bool,
    /// Mean by default.
    pub reduction: Reduction,
}

impl NllOptions {
    /// Not full, eps 1e-6 as PyTorch has it for Gaussians (Poisson: 1e-8), logarithms of rates, the mean.
    pub fn new() -> Self {
        NllOptions { full: false, eps: 1e-6, log_input: true, reduction: Reduction::Mean }
    }
    /// Whether the constant term is added.
    pub fn full(mut self, yes: bool) -> Self {
        self.full = yes;
        self
    }
    /// The least variance, or what is added to a rate.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
    /// Poisson: whether rates are given as logarithms.
    pub fn log_input(mut self, yes: bool) -> Self {
        self.log_input = yes;
        self
    }
    /// How terms are reduced.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl Default for NllOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Options of [`Tensor::kl_div_options`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KlOptions {
    /// Whether the target is given as logarithms too.
    pub log_target: bool,
    /// Mean by default.
    pub reduction: Reduction,
    /// Whether the sum is divided by the extent of axis 0, as the definition has it (PyTorch's `batchmean`), instead of `reduction`.
    pub batch_mean: bool,
}

impl KlOptions {
    /// Probabilities as targets, the mean of all terms.
    pub fn new() -> Self {
        Self::default()
    }
    /// Whether the target is given as logarithms too.
    pub fn log_target(mut self, yes: bool) -> Self {
        self.log_target = yes;
        self
    }
    /// How terms are reduced.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
    /// The sum over the extent of axis 0.
    pub fn batch_mean(mut self) -> Self {
        self.batch_mean = true;
        self
    }
}

/// Options of [`Tensor::triplet_margin_loss_with`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TripletOptions {
    /// 1 by default.
    pub margin: f64,
    /// The order of the norm; 2 by default.
    pub p: f64,
    /// Added to each difference; 1e-6 by default.
    pub eps: f64,
    /// Whether the distance from the positive to the negative counts where it is smaller (Balntas et al. 2016).
    pub swap: bool,
    /// Mean by default.
    pub reduction: Reduction,
}

impl Default for TripletOptions {
    fn default() -> Self {
        TripletOptions { margin: 1.0, p: 2.0, eps: 1e-6, swap: false, reduction: Reduction::Mean }
    }
}

impl TripletOptions {
    /// PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }
    /// The margin.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }
    /// The order of the norm.
    pub fn p(mut self, p: f64) -> Self {
        self.p = p;
        self
    }
    /// Added to each difference.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }
    /// Whether the distance from the positive to the negative counts where it is smaller.
    pub fn swap(mut self, yes: bool) -> Self {
        self.swap = yes;
        self
    }
    /// How terms are reduced.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

impl Tensor {
    /// [`gaussian_nll_loss`](Tensor::gaussian_nll_loss) with options. The variance may lack the last axis, or have it with extent 1.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn gaussian_nll_loss_with(&self, target: &Tensor, var: &Tensor, options: &NllOptions) -> Tensor {
        pass_poison!(self, target, var);
        let var = if var.rank() + 1 == self.rank() { var.unsqueeze(-1) } else { var.clone() };
        let var = &var + (var.clamp_min(Lit(options.eps)) - &var).detach();
        let terms = (var.log() + (self - target).square() / &var) * Lit(0.5);
        let terms = if options.full { terms + Lit(0.5 * (2.0 * PI).ln()) } else { terms };
        terms.reduced(options.reduction)
    }

    /// [`poisson_nll_loss`](Tensor::poisson_nll_loss) with options: of log rates, or of rates.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn poisson_nll_loss_options(&self, target: &Tensor, options: &NllOptions) -> Tensor {
        pass_poison!(self, target);
        let (x, y) = (self.to_float(), target.to_float());
        let mut terms = if options.log_input { x.exp() - &y * &x } else { &x - &y * (&x + Lit(options.eps)).log() };
        if options.full {
            let large = y.gt(Lit(1.0));
            let safe = y.keep_where(&large, 1.0);
            let stirling = &y * safe.log() - &y + (safe * Lit(2.0 * PI)).log() * Lit(0.5);
            terms += stirling.keep_where(&large, 0.0);
        }
        terms.reduced(options.reduction)
    }

    /// [`kl_div`](Tensor::kl_div) with options.
    ///
    /// # Panics
    /// If shapes do not broadcast together, or the mean over the batch is asked of a tensor without axes.
    #[track_caller]
    pub fn kl_div_options(&self, target: &Tensor, options: &KlOptions) -> Tensor {
        pass_poison!(self, target);
        let terms = if options.log_target { target.exp() * (target - self) } else { self.kl_div_with(target, Reduction::None) };
        if !options.batch_mean {
            return terms.reduced(options.reduction);
        }
        if self.rank() == 0 {
            slip_now!(Shape, "kl_div: a 0-d tensor has no batch to take the mean over");
        }
        terms.sum(..) / Lit(self.shape()[0] as f64)
    }

    /// [`binary_cross_entropy`](Tensor::binary_cross_entropy) with a factor for each term, which broadcasts.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn binary_cross_entropy_weighted(&self, target: &Tensor, weight: Option<&Tensor>, reduction: Reduction) -> Tensor {
        weighted(self.binary_cross_entropy_with(target, Reduction::None), weight).reduced(reduction)
    }

    /// [`binary_cross_entropy_with_logits`](Tensor::binary_cross_entropy_with_logits) with a factor for each term and one for the
    /// positive part of each, which broadcast.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits_weighted(
        &self,
        target: &Tensor,
        weight: Option<&Tensor>,
        positive: Option<&Tensor>,
        reduction: Reduction,
    ) -> Tensor {
        pass_poison!(self, target);
        let terms = match positive {
            None => self.binary_cross_entropy_with_logits_with(target, Reduction::None),
            Some(p) => {
                let y = target.to_float();
                (y.neg_of() + Lit(1.0)) * self - ((p - Lit(1.0)) * &y + Lit(1.0)) * self.logsigmoid()
            }
        };
        weighted(terms, weight).reduced(reduction)
    }

    /// [`cosine_embedding_loss`](Tensor::cosine_embedding_loss), reduced as asked. One pair of vectors `[D]` has a 0-d label.
    ///
    /// # Panics
    /// If shapes do not fit.
    #[track_caller]
    pub fn cosine_embedding_loss_with(&self, other: &Tensor, label: &Tensor, margin: f64, reduction: Reduction) -> Tensor {
        pass_poison!(self, other, label);
        let (x, y) = (self.to_float(), other.to_float());
        // Within the squared lengths, not their maximum: PyTorch's choice for this loss.
        let square = |t: &Tensor| (t.square()).sum(-1) + Lit(1e-12);
        let c = (&x * &y).sum(-1) / (square(&x) * square(&y)).sqrt();
        let away = (&c - Lit(margin)).clamp_min(Lit(0.0));
        let (near, far) = (label.eq(LitInt(1)), label.eq(LitInt(-1)));
        let terms = Tensor::where_(&near, c.neg_of() + Lit(1.0), Lit(0.0)) + Tensor::where_(&far, away, Lit(0.0));
        terms.reduced(reduction)
    }

    /// [`margin_ranking_loss`](Tensor::margin_ranking_loss), reduced as asked.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn margin_ranking_loss_with(&self, other: &Tensor, label: &Tensor, margin: f64, reduction: Reduction) -> Tensor {
        pass_poison!(self, other, label);
        (label.neg_of() * (self - other) + Lit(margin)).clamp_min(Lit(0.0)).reduced(reduction)
    }

    /// [`triplet_margin_loss`](Tensor::triplet_margin_loss) with options.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn triplet_margin_loss_with(&self, positive: &Tensor, negative: &Tensor, options: &TripletOptions) -> Tensor {
        pass_poison!(self, positive, negative);
        let o = options;
        let near = self.pairwise_distance(positive, o.p, o.eps);
        let mut far = self.pairwise_distance(negative, o.p, o.eps);
        if o.swap {
            far = far.minimum(positive.pairwise_distance(negative, o.p, o.eps));
        }
        (near - far + Lit(o.margin)).clamp_min(Lit(0.0)).reduced(o.reduction)
    }

    /// The norm of order `p` of `self - other + eps` along the last axis.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn pairwise_distance(&self, other: &Tensor, p: f64, eps: f64) -> Tensor {
        (self - other + Lit(eps)).norm(p, -1)
    }
}

#[track_caller]
fn weighted(terms: Tensor, weight: Option<&Tensor>) -> Tensor {
    match weight {
        Some(w) => terms * w,
        None => terms,
    }
}
