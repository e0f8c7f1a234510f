//! Dynamic loss scaling: small F16 gradients kept from vanishing.

use crate::base::error::bail;
use crate::function::tree::{from_leaves, frozen, leaves, map_tensors, named_leaves};
use crate::tensor::record;
use crate::{DType, Result, Tensor, Tree, catch, eval};
use std::collections::HashMap;

/// An optimiser, for what works with any.
pub trait Optimizer: Tree + Clone {
    /// Changes the model's parameters by its gradients.
    ///
    /// # Errors
    /// If gradients, model and state do not fit together; what the device reports.
    fn step<T: Tree>(&mut self, model: &mut T, grads: &T) -> Result<()>;
}

macro_rules! optimizers {
    ($($t:ty),*) => {$(
        impl Optimizer for $t {
            fn step<T: Tree>(&mut self, model: &mut T, grads: &T) -> Result<()> {
                <$t>::step(self, model, grads)
            }
        }
    )*};
}
optimizers!(super::Adam, super::AdamW, super::Sgd, super::RmsProp);

/// Scales a loss so that its F16 gradients do not vanish, and finds the scale by itself, as PyTorch's `GradScaler`: a step whose gradients
/// are not all finite is skipped and halves the scale; after many good steps in a row it doubles.
///
/// All of this happens on the device, without a host read: a skipped step is a choice between the old and the new values. So a training step
/// with a scaler can be recorded by [`jit`](crate::jit), with the scaler as part of its argument and result.
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::optim::{GradScaler, Sgd};
/// let (mut w, mut opt, mut scaler) = (Tensor::full([2], 3.0), Sgd::new(0.25), GradScaler::new());
/// let g = grad(|w: &Tensor| scaler.scale(&w.square().sum(..)), &w);
/// scaler.step(&mut opt, &mut w, &g)?;
/// assert_eq!(w.to_vec::<f32>()?, [1.5, 1.5]);
/// // Gradients that are not finite change nothing but the scale.
/// let scale = scaler.factor().item::<f32>()?;
/// scaler.step(&mut opt, &mut w, &Tensor::full([2], f32::INFINITY))?;
/// assert_eq!(w.to_vec::<f32>()?, [1.5, 1.5]);
/// assert_eq!(scaler.factor().item::<f32>()?, scale / 2.0);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Tree, Clone)]
pub struct GradScaler {
    scale: Tensor,
    /// Good steps since the scale last changed, I32.
    good: Tensor,
    growth: f64,
    backoff: f64,
    interval: usize,
}

impl Default for GradScaler {
    fn default() -> GradScaler {
        GradScaler::new()
    }
}

impl GradScaler {
    /// Starts at 65536, doubles after 2000 good steps, halves after a bad one.
    pub fn new() -> GradScaler {
        GradScaler {
            scale: Tensor::full([], 65536.0f32),
            good: Tensor::zeros([]).cast(DType::I32),
            growth: 2.0,
            backoff: 0.5,
            interval: 2000,
        }
    }

    /// Another scale to start from.
    ///
    /// # Panics
    /// If it is not positive and finite.
    #[track_caller]
    pub fn initial(mut self, scale: f64) -> GradScaler {
        assert!(scale > 0.0 && scale.is_finite(), "a scale is positive and finite, got {scale}");
        self.scale = Tensor::full([], scale as f32);
        self
    }

    /// By what the scale grows after so many good steps in a row.
    ///
    /// # Panics
    /// If the factor is not above 1, or the number is 0.
    #[track_caller]
    pub fn growth(mut self, factor: f64, every: usize) -> GradScaler {
        assert!(
            factor > 1.0 && factor.is_finite() && every > 0,
            "a scale grows by a factor above 1 after at least a step, got {factor}, {every}"
        );
        (self.growth, self.interval) = (factor, every);
        self
    }

    /// By what the scale shrinks after a bad step.
    ///
    /// # Panics
    /// If it is not in 0..1.
    #[track_caller]
    pub fn backoff(mut self, factor: f64) -> GradScaler {
        assert!(factor > 0.0 && factor < 1.0, "a scale shrinks by a factor between 0 and 1, got {factor}");
        self.backoff = factor;
        self
    }

    /// The scale, 0-d F32.
    pub fn factor(&self) -> &Tensor {
        &self.scale
    }

    /// The loss to differentiate.
    #[track_caller]
    pub fn scale(&self, loss: &Tensor) -> Tensor {
        loss * &self.scale
    }

    /// Gradients of the scaled loss as those of the loss itself, in F32 or wider, and whether all are finite (0-d Bool). For clipping and the
    /// like before the step; then pass both on to [`step_unscaled`](GradScaler::step_unscaled).
    #[track_caller]
    pub fn unscale<T: Tree>(&self, grads: &T) -> (T, Tensor) {
        let mut finite: Option<Tensor> = None;
        let g = map_tensors(grads, |g, frozen| {
            if frozen || !g.dtype().is_float() {
                return g.clone();
            }
            let g = g.cast(g.dtype().accumulator()) / &self.scale;
            let all = g.isfinite().min(..);
            finite = Some(match finite.take() {
                Some(f) => f.bitwise_and(&all),
                None => all,
            });
            g
        });
        (g, finite.unwrap_or_else(|| Tensor::ones([]).cast(DType::Bool)))
    }

    /// Unscales the gradients of a scaled loss and lets the optimiser take its step if they are finite; else model and optimiser stay as they
    /// are. Then adapts the scale. (State that an optimiser makes in its first step counts as zeros before.)
    ///
    /// # Errors
    /// As the optimiser's own `step`; model, optimiser and scaler stay as they were then.
    pub fn step<T: Tree>(&mut self, optimizer: &mut impl Optimizer, model: &mut T, grads: &T) -> Result<()> {
        let (grads, finite) = catch(|| self.unscale(grads))?;
        self.step_unscaled(optimizer, model, &grads, &finite)
    }

    /// As [`step`](GradScaler::step), with what [`unscale`](GradScaler::unscale) gave.
    ///
    /// # Errors
    /// As [`step`](GradScaler::step).
    pub fn step_unscaled<O: Optimizer, T: Tree>(&mut self, optimizer: &mut O, model: &mut T, grads: &T, finite: &Tensor) -> Result<()> {
        let (new_model, new_optimizer, new_scaler) = catch(|| -> Result<_> {
            // A gradient is compared with its parameter: of the same structure, perhaps wider.
            if frozen(model) != frozen(grads) {
                bail!(Argument, "step: the gradients are not shaped like the model");
            }
            let (mut m, mut o) = (map_tensors(model, |t, _| t.clone()), optimizer.clone());
            // Inside a transform nothing is computed yet: whether the step counts is not known.
            record::in_transform(|| o.step(&mut m, grads))?;
            let chosen = |old: HashMap<String, Tensor>, new: Vec<(String, Tensor)>| -> Vec<Tensor> {
                let pick = |(path, new): (String, Tensor)| match old.get(&path) {
                    Some(old) if old.0.same(&new.0) => new,
                    Some(old) => Tensor::where_(finite, &new, old),
                    None => Tensor::where_(finite, &new, new.zeros_like()),
                };
                new.into_iter().map(pick).collect()
            };
            let by_path = |leaves: Vec<(String, Tensor)>| leaves.into_iter().collect::<HashMap<_, _>>();
            let m = from_leaves(&m, chosen(by_path(named_leaves(model)), named_leaves(&m)));
            let o = from_leaves(&o, chosen(by_path(named_leaves(optimizer)), named_leaves(&o)));
            let good = &self.good + 1;
            let grown = good.ge(self.interval as i64);
            let up = Tensor::where_(&grown, &self.scale * self.growth as f32, &self.scale);
            let mut s = self.clone();
            s.scale = Tensor::where_(finite, &up, &self.scale * self.backoff as f32);
            let none = good.zeros_like();
            s.good = Tensor::where_(finite, Tensor::where_(&grown, &none, &good), &none);
            Ok((m, o, s))
        })??;
        let mut all = leaves(&new_model);
        all.extend(leaves(&new_optimizer));
        all.extend(leaves(&new_scaler));
        eval(&all)?;
        *model = new_model;
        *optimizer = new_optimizer;
        *self = new_scaler;
        Ok(())
    }
}
