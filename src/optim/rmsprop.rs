//! RMSprop.

use super::params::{self, Param, Rule};
use crate::{Result, Tensor, Tree};

/// RMSprop (Tieleman and Hinton, 2012), as PyTorch's.
///
/// With s the moving average of the squared gradient, a parameter falls by `lr * g / (sqrt(s) + eps)`, through a momentum if there is
/// one.
#[derive(Tree, Clone)]
pub struct RmsProp {
    lr: Tensor,
    square: Vec<Tensor>,
    velocity: Vec<Tensor>,
    alpha: f64,
    eps: f64,
    momentum: f64,
    weight_decay: f64,
}

impl RmsProp {
    /// With learning rate `lr`, alpha 0.99, eps 1e-8.
    ///
    /// # Panics
    /// If `lr` is negative or not finite.
    #[track_caller]
    pub fn new(lr: f64) -> RmsProp {
        let lr = params::rate(lr);
        RmsProp { lr, square: Vec::new(), velocity: Vec::new(), alpha: 0.99, eps: 1e-8, momentum: 0.0, weight_decay: 0.0 }
    }

    /// How slowly the average of the squares moves, in 0..1.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn alpha(mut self, alpha: f64) -> RmsProp {
        self.alpha = params::decay("alpha", alpha);
        self
    }

    /// Added to the root in the denominator.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn eps(mut self, eps: f64) -> RmsProp {
        self.eps = params::not_negative("eps", eps);
        self
    }

    /// How much of the last step goes on, in 0..1.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn momentum(mut self, momentum: f64) -> RmsProp {
        self.momentum = params::decay("momentum", momentum);
        self
    }

    /// Adds this times the parameter to each gradient (an L2 penalty).
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn weight_decay(mut self, weight_decay: f64) -> RmsProp {
        self.weight_decay = params::not_negative("weight_decay", weight_decay);
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

impl Rule for RmsProp {
    fn update(&mut self, params: &[Param]) -> Result<Vec<Tensor>> {
        params::prepare(&mut self.square, params)?;
        if self.momentum != 0.0 {
            params::prepare(&mut self.velocity, params)?;
        }
        let lr = params::rate_at(&self.lr, params);
        let mut out = Vec::with_capacity(params.len());
        for (i, Param { value, grad }) in params.iter().enumerate() {
            let mut g = grad.clone();
            if self.weight_decay != 0.0 {
                g += value * self.weight_decay;
            }
            let s = &self.square[i] * self.alpha + &g * &g * (1.0 - self.alpha);
            let mut fall = g / (s.sqrt() + self.eps);
            if self.momentum != 0.0 {
                fall += &self.velocity[i] * self.momentum;
                self.velocity[i] = fall.clone();
            }
            out.push(value - fall * &lr);
            self.square[i] = s;
        }
        Ok(out)
    }

    fn state(&self) -> Vec<&Tensor> {
        self.square.iter().chain(&self.velocity).collect()
    }
}
