//! Adam and AdamW.

use super::params::{self, Param, Rule};
use crate::{Result, Tensor, Tree};

/// Adam (Kingma and Ba, 2015), as PyTorch's: `weight_decay` is added to the gradient. See [`AdamW`] for the decoupled one.
///
/// With m and v the moving averages of the gradient and its square, after t steps a parameter falls by
/// `lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)`.
///
/// ```
/// use lazuli::prelude::*;
/// let mut x = Tensor::from_vec(vec![4f32, -4.], [2]);
/// let mut opt = Adam::new(0.5);
/// let g = grad(|x: &Tensor| (x * x).sum(..), &x);
/// opt.step(&mut x, &g)?;
/// assert_eq!(x.to_vec::<f32>()?, [3.5, -3.5]);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Tree, Clone)]
pub struct Adam {
    lr: Tensor,
    m: Vec<Tensor>,
    v: Vec<Tensor>,
    /// Steps taken, F32 0-d: a tensor, so that a recorded function counts on.
    t: Tensor,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    decoupled: bool,
}

impl Adam {
    /// With learning rate `lr`, betas 0.9 and 0.999, eps 1e-8.
    ///
    /// # Panics
    /// If `lr` is negative or not finite.
    #[track_caller]
    pub fn new(lr: f64) -> Adam {
        Adam {
            lr: params::rate(lr),
            m: Vec::new(),
            v: Vec::new(),
            t: Tensor::zeros([]),
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
        }
    }

    /// How slowly the averages of the gradient and of its square move, both in 0..1.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Adam {
        self.betas = (params::decay("beta1", beta1), params::decay("beta2", beta2));
        self
    }

    /// Added to the root in the denominator.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn eps(mut self, eps: f64) -> Adam {
        self.eps = params::not_negative("eps", eps);
        self
    }

    /// Adds this times the parameter to each gradient (an L2 penalty).
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn weight_decay(mut self, weight_decay: f64) -> Adam {
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

impl Rule for Adam {
    fn update(&mut self, params: &[Param]) -> Result<Vec<Tensor>> {
        params::prepare(&mut self.m, params)?;
        params::prepare(&mut self.v, params)?;
        let lr = params::rate_at(&self.lr, params);
        self.t = params::rate_at(&self.t, params) + 1.0;
        let (beta1, beta2) = self.betas;
        // 1 - beta^t without the cancellation that costs F32 four digits for beta = 0.999 and small t.
        let bias = |beta: f64| -(&self.t * beta.ln()).expm1();
        let (bias1, bias2) = (bias(beta1), bias(beta2));
        let mut out = Vec::with_capacity(params.len());
        for (i, Param { value, grad }) in params.iter().enumerate() {
            let (mut p, mut g) = (value.clone(), grad.clone());
            if self.weight_decay != 0.0 {
                let share = value * self.weight_decay;
                if self.decoupled { p -= share * &lr } else { g += share }
            }
            let m = &self.m[i] * beta1 + &g * (1.0 - beta1);
            let v = &self.v[i] * beta2 + &g * &g * (1.0 - beta2);
            out.push(p - (&m / &bias1) / ((&v / &bias2).sqrt() + self.eps) * &lr);
            (self.m[i], self.v[i]) = (m, v);
        }
        Ok(out)
    }

    fn state(&self) -> Vec<&Tensor> {
        self.m.iter().chain(&self.v).chain([&self.t]).collect()
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019): each step also takes `lr * weight_decay` off every parameter.
#[derive(Tree, Clone)]
pub struct AdamW {
    adam: Adam,
}

impl AdamW {
    /// With learning rate `lr`, betas 0.9 and 0.999, eps 1e-8, weight decay 0.01.
    ///
    /// # Panics
    /// If `lr` is negative or not finite.
    #[track_caller]
    pub fn new(lr: f64) -> AdamW {
        AdamW { adam: Adam { decoupled: true, ..Adam::new(lr).weight_decay(0.01) } }
    }

    /// As [`Adam::betas`].
    ///
    /// # Panics
    /// If they are not in 0..1.
    #[track_caller]
    pub fn betas(self, beta1: f64, beta2: f64) -> AdamW {
        AdamW { adam: self.adam.betas(beta1, beta2) }
    }

    /// As [`Adam::eps`].
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn eps(self, eps: f64) -> AdamW {
        AdamW { adam: self.adam.eps(eps) }
    }

    /// The share, times `lr`, that each step takes off every parameter.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn weight_decay(self, weight_decay: f64) -> AdamW {
        AdamW { adam: self.adam.weight_decay(weight_decay) }
    }

    /// Another learning rate from now on. Compiles nothing.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn set_lr(&mut self, lr: f64) {
        self.adam.set_lr(lr);
    }

    /// Changes the model's parameters by its gradients.
    ///
    /// # Errors
    /// As [`Adam::step`].
    pub fn step<T: Tree>(&mut self, model: &mut T, grads: &T) -> Result<()> {
        params::step(&mut self.adam, model, grads)
    }
}
