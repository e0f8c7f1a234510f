//! Stochastic gradient descent.

use super::params::{self, Param, Rule};
use crate::base::error::bail;
use crate::{Result, Tensor, Tree};

/// Stochastic gradient descent with momentum, Nesterov or plain, as PyTorch's `SGD`.
///
/// With g the gradient plus `weight_decay` times the parameter: v becomes `momentum * v + (1 - dampening) * g` (g itself in the first
/// step), and the parameter falls by `lr * v`, or by `lr * (g + momentum * v)` for Nesterov.
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::optim::Sgd;
/// let mut x = Tensor::from_vec(vec![4f32], [1]);
/// let mut opt = Sgd::new(0.25);
/// let g = grad(|x: &Tensor| (x * x).sum(..), &x);
/// opt.step(&mut x, &g)?;
/// assert_eq!(x.item::<f32>()?, 2.0);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Tree, Clone)]
pub struct Sgd {
    lr: Tensor,
    velocity: Vec<Tensor>,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
}

impl Sgd {
    /// Plain descent with learning rate `lr`.
    ///
    /// # Panics
    /// If `lr` is negative or not finite.
    #[track_caller]
    pub fn new(lr: f64) -> Sgd {
        Sgd { lr: params::rate(lr), velocity: Vec::new(), momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }

    /// How much of the last step goes on, in 0..1.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.momentum = params::decay("momentum", momentum);
        self
    }

    /// Takes this share off each gradient before it joins the momentum.
    #[track_caller]
    pub fn dampening(mut self, dampening: f64) -> Sgd {
        self.dampening = dampening;
        self
    }

    /// Adds this times the parameter to each gradient (an L2 penalty).
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.weight_decay = params::not_negative("weight_decay", weight_decay);
        self
    }

    /// Looks ahead by the momentum. Needs momentum and no dampening, else a step is an error.
    pub fn nesterov(mut self, yes: bool) -> Sgd {
        self.nesterov = yes;
        self
    }

    /// Another learning rate from now on. Compiles nothing.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = params::rate(lr);
    }

    /// Changes the model's parameters by its gradients.
    ///
    /// # Errors
    /// `Shape` or `Argument` if gradients, model and state do not fit together; what the device reports.
    pub fn step<T: Tree>(&mut self, model: &mut T, grads: &T) -> Result<()> {
        params::step(self, model, grads)
    }
}

impl Rule for Sgd {
    fn update(&mut self, params: &[Param]) -> Result<Vec<Tensor>> {
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            bail!(Argument, "step: Nesterov needs momentum and no dampening, got {} and {}", self.momentum, self.dampening);
        }
        let lr = params::rate_at(&self.lr, params);
        let first = self.velocity.is_empty();
        if self.momentum != 0.0 {
            params::prepare(&mut self.velocity, params)?;
        }
        let mut out = Vec::with_capacity(params.len());
        for (i, Param { value, grad }) in params.iter().enumerate() {
            let mut g = grad.clone();
            if self.weight_decay != 0.0 {
                g += value * self.weight_decay;
            }
            if self.momentum != 0.0 {
                let v = if first { g.clone() } else { &self.velocity[i] * self.momentum + &g * (1.0 - self.dampening) };
                g = if self.nesterov { g + &v * self.momentum } else { v.clone() };
                self.velocity[i] = v;
            }
            out.push(value - g * &lr);
        }
        Ok(out)
    }

    fn state(&self) -> Vec<&Tensor> {
        self.velocity.iter().collect()
    }
}
