//! Losses. Each has a plain form, the mean as PyTorch's default, and where PyTorch has options, a `_with` form.

use super::compose::{compute_dtype, or_poison, pass_poison, slip_now};
use super::{Lit, LitInt, Tensor};
use crate::base::{Axis, DType};
use crate::trace::graph::{Input, Inputs};
use crate::trace::{Compare, Op, Region, RegionKind, Trace};
use std::sync::Arc;

/// How the terms of a loss become its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reduction {
    /// The terms themselves.
    None,
    /// Their mean (weighted, where there are weights for classes).
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// Options of [`Tensor::cross_entropy_with`] and [`Tensor::nll_loss_with`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CrossEntropyOptions {
    /// A factor for each class, `[C]`.
    pub weight: Option<Tensor>,
    /// Class indices that do not count. None by default (PyTorch: -100): counting them costs a reduction over the batch.
    pub ignore_index: Option<i64>,
    /// Share of the target that is spread over all classes, 0 to 1. Part of the structure.
    pub label_smoothing: f64,
    /// Mean by default.
    pub reduction: Reduction,
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        CrossEntropyOptions { weight: None, ignore_index: None, label_smoothing: 0.0, reduction: Reduction::Mean }
    }
}

impl CrossEntropyOptions {
    /// PyTorch's defaults, but no index is ignored.
    pub fn new() -> Self {
        Self::default()
    }
    /// A factor for each class, `[C]`.
    pub fn weight(mut self, weight: &Tensor) -> Self {
        self.weight = Some(weight.clone());
        self
    }
    /// Class indices that do not count.
    pub fn ignore_index(mut self, index: i64) -> Self {
        self.ignore_index = Some(index);
        self
    }
    /// Share of the target that is spread over all classes.
    pub fn label_smoothing(mut self, share: f64) -> Self {
        self.label_smoothing = share;
        self
    }
    /// How terms are reduced.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }
}

macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident $with:ident $terms:ident($($arg:ident: $t:ty),*);)*) => {
        impl Tensor {$(
            $(#[$doc])*
            /// The mean of all terms.
            ///
            /// # Panics
            /// If shapes do not broadcast together.
            #[track_caller]
            pub fn $name(&self, target: &Tensor $(, $arg: $t)*) -> Tensor {
                self.$terms(target $(, $arg)*).reduced(Reduction::Mean)
            }
            #[doc = concat!("As [`", stringify!($name), "`](Tensor::", stringify!($name), "), reduced as asked.")]
            #[track_caller]
            pub fn $with(&self, target: &Tensor $(, $arg: $t)*, reduction: Reduction) -> Tensor {
                self.$terms(target $(, $arg)*).reduced(reduction)
            }
        )*}
    };
}
losses! {
    /// Mean squared error, `(x - y)^2`.
    mse_loss mse_loss_with mse_terms();
    /// Mean absolute error, `|x - y|`.
    l1_loss l1_loss_with l1_terms();
    /// Half the square of `x - y` over `beta` where it is below `beta`, else the magnitude less `beta / 2`.
    smooth_l1_loss smooth_l1_loss_with smooth_l1_terms(beta: f64);
    /// Half the square of `x - y` up to `delta`, beyond it linear with slope `delta`.
    huber_loss huber_loss_with huber_terms(delta: f64);
    /// Binary cross entropy of probabilities, `-(y log x + (1 - y) log(1 - x))`, logarithms limited to -100.
    binary_cross_entropy binary_cross_entropy_with bce_terms();
    /// Binary cross entropy of logits, stable.
    binary_cross_entropy_with_logits binary_cross_entropy_with_logits_with bce_logits_terms();
    /// Kullback-Leibler divergence of log-probabilities x from probabilities y: `y (log y - x)`.
    kl_div kl_div_with kl_terms();
    /// Poisson negative log likelihood of log rates x: `e^x - y x`.
    poisson_nll_loss poisson_nll_loss_with poisson_terms();
    /// x where y is 1, `max(0, margin - x)` where y is -1.
    hinge_embedding_loss hinge_embedding_loss_with hinge_terms(margin: f64);
    /// `log(1 + e^(-y x))` for y of 1 and -1.
    soft_margin_loss soft_margin_loss_with soft_margin_terms();
}

impl Tensor {
    #[track_caller]
    pub(crate) fn reduced(&self, reduction: Reduction) -> Tensor {
        match reduction {
            Reduction::None => self.clone(),
            Reduction::Mean => self.mean(..),
            Reduction::Sum => self.sum(..),
        }
    }

    #[track_caller]
    fn mse_terms(&self, y: &Tensor) -> Tensor {
        (self.to_float() - y).square()
    }

    #[track_caller]
    fn l1_terms(&self, y: &Tensor) -> Tensor {
        (self.to_float() - y).abs()
    }

    #[track_caller]
    fn smooth_l1_terms(&self, y: &Tensor, beta: f64) -> Tensor {
        if beta == 0.0 {
            return self.l1_terms(y);
        }
        let d = self.l1_terms(y);
        d.limited_square(beta, 1.0 / beta)
    }

    #[track_caller]
    fn huber_terms(&self, y: &Tensor, delta: f64) -> Tensor {
        let d = self.l1_terms(y);
        d.limited_square(delta, 1.0)
    }

    /// `d^2 / 2` up to a limit, from there on straight, by a factor; of `d >= 0`. Without a choice between the two: with c the smaller of d
    /// and the limit both are `c (d - c / 2)`.
    #[track_caller]
    fn limited_square(&self, limit: f64, factor: f64) -> Tensor {
        let c = self.clamp_max(Lit(limit));
        let x = (self - &c * Lit(0.5)) * &c;
        if factor == 1.0 { x } else { x * Lit(factor) }
    }

    #[track_caller]
    fn bce_terms(&self, y: &Tensor) -> Tensor {
        let p = self.to_float();
        let q = p.neg_of() + Lit(1.0);
        (y * p.limited_log() + (y.neg_of_float() + Lit(1.0)) * q.limited_log()).neg_of()
    }

    /// The logarithm, at least -100; its derivative is `1 / max(x, 1e-12)`, so that a hopeless probability still learns, as in PyTorch.
    #[track_caller]
    fn limited_log(&self) -> Tensor {
        let floored = self + (self.clamp_min(Lit(1e-12)) - self).detach();
        let log = floored.log();
        let value = self.log().clamp_min(Lit(-100.0));
        &log + (value - &log).detach()
    }

    #[track_caller]
    fn neg_of_float(&self) -> Tensor {
        self.to_float().neg_of()
    }

    #[track_caller]
    fn bce_logits_terms(&self, y: &Tensor) -> Tensor {
        let x = self.to_float();
        (y.neg_of_float() + Lit(1.0)) * &x - x.logsigmoid()
    }

    #[track_caller]
    fn kl_terms(&self, y: &Tensor) -> Tensor {
        let y = y.to_float();
        // y log y is 0 at 0.
        let none = y.eq(Lit(0.0));
        let entropy = (&y * y.replace(&none, 1.0).log()).replace(&none, 0.0);
        entropy - y * self.to_float()
    }

    #[track_caller]
    fn poisson_terms(&self, y: &Tensor) -> Tensor {
        let x = self.to_float();
        x.exp() - y * &x
    }

    #[track_caller]
    fn hinge_terms(&self, y: &Tensor, margin: f64) -> Tensor {
        let x = self.to_float();
        let far = (x.neg_of() + Lit(margin)).relu();
        let (near, away) = (y.eq(LitInt(1)), y.eq(LitInt(-1)));
        Tensor::where_(&near, Lit(0.0), far) + Tensor::where_(&away, Lit(0.0), &x)
    }

    #[track_caller]
    fn soft_margin_terms(&self, y: &Tensor) -> Tensor {
        (y.neg_of_float() * self).softplus()
    }

    /// Gaussian negative log likelihood of means x with variances: `(log var + (x - y)^2 / var) / 2`, mean of all terms. The variance
    /// counts as at least `eps`; that limit does not see the gradient.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn gaussian_nll_loss(&self, target: &Tensor, var: &Tensor, eps: f64) -> Tensor {
        pass_poison!(self, target, var);
        let var = var + (var.clamp_min(Lit(eps)) - var).detach();

        ((var.log() + (self - target).square() / &var) * Lit(0.5)).mean(..)
    }

    /// `1 - cos(x, y)` where the label is 1, `max(0, cos(x, y) - margin)` where it is -1; the mean over the batch. x and y are `[N, D]`.
    ///
    /// # Panics
    /// If shapes do not fit.
    #[track_caller]
    pub fn cosine_embedding_loss(&self, other: &Tensor, label: &Tensor, margin: f64) -> Tensor {
        let c = self.cosine_similarity(other, -1, 1e-8);
        let away = (&c - Lit(margin)).relu();
        Tensor::where_(&label.eq(LitInt(1)), c.neg_of() + Lit(1.0), away).mean(..)
    }

    /// `max(0, |x - positive| - |x - negative| + margin)` with Euclidean distances along the last axis; the mean.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn triplet_margin_loss(&self, positive: &Tensor, negative: &Tensor, margin: f64) -> Tensor {
        let near = (self - positive + Lit(1e-6)).norm(2.0, -1);
        let far = (self - negative + Lit(1e-6)).norm(2.0, -1);
        (near - far + Lit(margin)).relu().mean(..)
    }

    /// `max(0, -label * (x - other) + margin)`, the mean.
    ///
    /// # Panics
    /// If shapes do not broadcast together.
    #[track_caller]
    pub fn margin_ranking_loss(&self, other: &Tensor, label: &Tensor, margin: f64) -> Tensor {
        (label.neg_of_float() * (self - other) + Lit(margin)).relu().mean(..)
    }

    /// Cross entropy of logits `[N, C]` (or `[N, C, d..]`, or `[C]`) against class indices `[N]` (`[N, d..]`, 0-d; I64 or another integer
    /// dtype) or probabilities of this shape: the mean over the batch.
    ///
    /// # Panics
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor) -> Tensor {
        self.cross_entropy_with(target, &CrossEntropyOptions::default())
    }

    /// As [`cross_entropy`](Tensor::cross_entropy), with options.
    ///
    /// # Panics
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn cross_entropy_with(&self, target: &Tensor, options: &CrossEntropyOptions) -> Tensor {
        pass_poison!(self, target);
        if self.rank() == 0 {
            slip_now!(Shape, "cross_entropy: 0-d logits have no classes");
        }
        let classes = Axis(if self.rank() == 1 { 0 } else { 1 });
        let x = self.to_float();
        let d = x.dtype();
        let x = x.cast(compute_dtype(d));
        if !target.dtype().is_float() {
            return x.class_loss(target, options, "cross_entropy", true).cast(d);
        }
        let logp = x.log_softmax(classes);
        if target.shape() != self.shape() {
            slip_now!(Shape, "cross_entropy: probabilities of shape {} for logits of shape {}", target.shape(), self.shape());
        }
        let axis = classes.0 as usize;
        let count = self.shape()[axis];
        let mut p = target.cast(logp.dtype());
        if options.label_smoothing > 0.0 {
            p = p * Lit(1.0 - options.label_smoothing) + Lit(options.label_smoothing / count as f64);
        }
        let mut terms = p * &logp;
        if let Some(w) = &options.weight {
            terms *= or_poison!(logp.class_weights(w, axis));
        }
        let terms = terms.sum(axis).neg_of();
        match options.reduction {
            // The mean over the batch and positions, not over classes.
            Reduction::Mean => terms.sum(..) / Lit((self.numel() / count.max(1)) as f64),
            r => terms.reduced(r),
        }
        .cast(d)
    }

    /// Negative log likelihood of log-probabilities: [`cross_entropy`](Tensor::cross_entropy) without the log-softmax.
    ///
    /// # Panics
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn nll_loss(&self, target: &Tensor) -> Tensor {
        self.nll_loss_with(target, &CrossEntropyOptions::default())
    }

    /// As [`nll_loss`](Tensor::nll_loss), with options (label smoothing does not apply).
    ///
    /// # Panics
    /// If shapes or dtypes do not fit.
    #[track_caller]
    pub fn nll_loss_with(&self, target: &Tensor, options: &CrossEntropyOptions) -> Tensor {
        pass_poison!(self, target);
        let options = CrossEntropyOptions { label_smoothing: 0.0, ..options.clone() };
        self.class_loss(target, &options, "nll_loss", false)
    }

    /// `[C]` weights along the class axis.
    #[track_caller]
    fn class_weights(&self, w: &Tensor, axis: usize) -> crate::Result<Tensor> {
        if w.rank() != 1 || w.numel() != self.shape()[axis] {
            crate::base::error::bail!(Shape, "cross_entropy: weights of shape {} for {} classes", w.shape(), self.shape()[axis]);
        }
        let shape = (0..self.rank()).map(|a| if a == axis { w.numel() } else { 1 }).collect();
        Ok(w.cast(self.dtype()).reshape_shape(&shape))
    }

    /// The element of each row (the last axis) that `wanted` `[.., 1]` names, the nearest for one out of range. Its derivative is written as a
    /// comparison with every element, not as a scatter: so it fuses with those of what else depends on the row.
    #[track_caller]
    fn class_element(&self, wanted: &Tensor) -> Tensor {
        let (axis, d) = (self.rank() - 1, self.dtype());
        let mut body = Trace::new();
        let (x, w) = (body.input(d, self.shape().clone()), body.input(DType::I64, wanted.shape().clone()));
        let element = body.gather(x, w, axis);
        body.outputs = vec![element];
        let mut rule = Trace::new();
        let (_, w) = (rule.input(d, self.shape().clone()), rule.input(DType::I64, wanted.shape().clone()));
        let (dx, _) = (rule.input(d, self.shape().clone()), rule.input(DType::I64, wanted.shape().clone()));
        let number = rule.iota(axis, DType::I64, self.shape());
        let w = rule.broadcast(w, self.shape());
        let hit = rule.compare(Compare::Eq, w, number);
        let zeros = rule.zeros_like(dx);
        let part = rule.select(hit, dx, zeros);
        let sum = rule.reduce(crate::trace::Reduce::Sum, part, &[axis]);
        let sum = rule.reshape(sum, wanted.shape());
        rule.outputs = vec![sum];
        let region = Op::Region(Arc::new(Region { kind: RegionKind::CustomJvp(Arc::new(rule)), body: Arc::new(body) }));
        let inputs: Inputs = [Input::Node(self.0.clone()), Input::Node(wanted.0.clone())].into_iter().collect();
        let r = Tensor::record_inputs(region, inputs, d, wanted.shape().clone());
        Tensor::record_typed(Op::Output(0), &[&r], d, wanted.shape().clone())
    }

    /// The loss against class indices, of log-probabilities or of logits (`logits`).
    #[track_caller]
    fn class_loss(&self, target: &Tensor, o: &CrossEntropyOptions, op: &str, logits: bool) -> Tensor {
        let axis = if self.rank() == 1 { 0 } else { 1 };
        if !target.dtype().is_int() || self.rank() == 0 || *target.shape() != self.shape().without(&[axis]) {
            slip_now!(
                Shape,
                "{op}: targets {} {} for scores of shape {}: expected class indices of shape {}",
                target.dtype(),
                target.shape(),
                self.shape(),
                self.shape().without(&[axis.min(self.rank().saturating_sub(1))])
            );
        }
        let count = self.shape()[axis];
        let t = target.cast(DType::I64);
        let wanted = t.reshape_shape(&self.shape().keepdim(&[axis]));
        let counted = o.ignore_index.map(|i| t.ne(LitInt(i)));
        let count_in = |x: Tensor| match &counted {
            Some(c) => x.keep_where(c, 0.0),
            None => x,
        };
        let weights = match &o.weight {
            Some(w) => Some(or_poison!(self.class_weights(w, axis))),
            None => None,
        };
        let known = wanted.ge(LitInt(0)).bitwise_and(wanted.lt(LitInt(count as i64)));
        let picked = |x: &Tensor| {
            let at = wanted.clamp(LitInt(0), LitInt(count as i64 - 1));
            x.gather_axis(axis, &at).keep_where(&known, 0.0).reshape_shape(t.shape())
        };
        let factor = o.weight.as_ref().map(|w| {
            let at = t.clamp(LitInt(0), LitInt(count as i64 - 1));
            w.cast(self.dtype()).gather_rows(0, &at).keep_where(&known.reshape_shape(t.shape()), 0.0)
        });
        let logp = if logits { self.log_softmax(Axis(axis as isize)) } else { self.clone() };
        let mut terms = match logits && axis + 1 == self.rank() && count > 0 && self.numel() > 0 {
            // Of the logits, from which what they have in common is taken afterwards: no other element's logarithm is needed.
            true => {
                let kept = self.shape().keepdim(&[axis]);
                let most = self.detach().reduce_axes(crate::trace::Reduce::Max, &[axis]).reshape_shape(&kept);
                let sum = (self - &most).exp().reduce_axes(crate::trace::Reduce::Sum, &[axis]).reshape_shape(&kept);
                ((self.class_element(&wanted) - most) - sum.log()).keep_where(&known, 0.0).reshape_shape(t.shape()).neg_of()
            }
            false if logits => {
                let hit = wanted.broadcast_shape(self.shape()).eq(self.iota_along(axis));
                logp.keep_where(&hit, 0.0).sum(axis).neg_of()
            }
            false => picked(&logp).neg_of(),
        };
        if let Some(f) = &factor {
            terms *= f;
        }
        if o.label_smoothing > 0.0 {
            let all = match &weights {
                Some(w) => (&logp * w).sum(axis),
                None => logp.sum(axis),
            };
            terms = terms * Lit(1.0 - o.label_smoothing) - all * Lit(o.label_smoothing / count as f64);
        }
        let terms = count_in(terms);
        match o.reduction {
            Reduction::Mean => {
                let total = match (&factor, &counted) {
                    (Some(f), _) => count_in(f.clone()).sum(..),
                    (None, Some(c)) => c.cast(terms.dtype()).sum(..),
                    (None, None) => return terms.mean(..),
                };
                terms.sum(..) / total
            }
            r => terms.reduced(r),
        }
    }
}
