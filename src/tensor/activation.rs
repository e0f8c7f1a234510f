//! The activation functions of neural networks.
//!
//! Each is written so that no branch that is not taken can bring a NaN or an infinity into a derivative, and so that derivatives at
//! kinks are PyTorch's. Same shape and dtype as the input; integers become F32.

use super::compose::{or_poison, pass_poison, slip_now};
use super::{Lit, Operand, Tensor};
use crate::base::{Axis, Shape};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

impl Tensor {
    /// `1 / (1 + e^-x)`, accurate in both tails.
    #[track_caller]
    pub fn sigmoid(&self) -> Tensor {
        let x = self.to_float();
        // The exponent is never positive; the same branch in both places keeps every derivative right at 0.
        let below = x.lt(Lit(0.0));
        let e = Tensor::where_(&below, &x, x.neg_of()).exp();
        e.keep_where(&below, 1.0) / (e + Lit(1.0))
    }

    /// `max(x, 0)`; its derivative at 0 is 0; NaN stays NaN.
    #[track_caller]
    pub fn relu(&self) -> Tensor {
        self.replace(&self.le(super::LitInt(0)), 0.0)
    }

    /// x limited to `0..=6`; the derivative is 0 at both limits.
    #[track_caller]
    pub fn relu6(&self) -> Tensor {
        self.hardtanh(Lit(0.0), Lit(6.0))
    }

    /// x limited to `min..=max`; unlike [`clamp`](Tensor::clamp), the derivative is 0 at the limits.
    #[track_caller]
    pub fn hardtanh(&self, min: impl Operand, max: impl Operand) -> Tensor {
        pass_poison!(self);
        let (lo, hi) = (self.one_number(min.operand()), self.one_number(max.operand()));
        let x = Tensor::select_as("hardtanh", &self.ge(hi.clone()), &hi, &self.operand(), self.dtype());
        Tensor::select_as("hardtanh", &x.le(lo.clone()), &lo, &x.operand(), self.dtype())
    }

    /// `x` above 0, else `alpha * (e^x - 1)`.
    #[track_caller]
    pub fn elu(&self, alpha: impl Operand) -> Tensor {
        let x = self.to_float();
        // Not "above 0", so that NaN takes the branch of slope 1, as in PyTorch.
        let below = x.le(Lit(0.0));
        let low = x.keep_where(&below, 0.0).expm1() * alpha;
        Tensor::where_(&below, &low, &x)
    }

    /// `scale * elu(x, alpha)` with the constants of Klambauer et al., "Self-Normalizing Neural Networks".
    #[track_caller]
    pub fn selu(&self) -> Tensor {
        self.elu(Lit(1.673_263_242_354_377_2)) * Lit(1.050_700_987_355_480_5)
    }

    /// `x` above 0, else `alpha * (e^(x / alpha) - 1)`.
    #[track_caller]
    pub fn celu(&self, alpha: impl Operand) -> Tensor {
        let (x, alpha) = (self.to_float(), alpha.operand());
        let below = x.le(Lit(0.0));
        let low = (x.keep_where(&below, 0.0) / alpha.clone()).expm1() * alpha;
        Tensor::where_(&below, &low, &x)
    }

    /// `x * P(N <= x)` for a standard normal N, by the error function.
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        let x = self.to_float();
        ((&x * Lit(FRAC_1_SQRT_2)).erf() + Lit(1.0)) * (&x * Lit(0.5))
    }

    /// The usual approximation of [`gelu`](Tensor::gelu) by a tanh.
    #[track_caller]
    pub fn gelu_tanh(&self) -> Tensor {
        let x = self.to_float();
        let inner = (x.square() * &x * Lit(0.044715) + &x) * Lit((2.0 / PI).sqrt());
        (inner.tanh() + Lit(1.0)) * (&x * Lit(0.5))
    }

    /// `x * sigmoid(x)`, also called swish.
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        self.sigmoid() * self
    }

    /// `x * tanh(softplus(x))`.
    #[track_caller]
    pub fn mish(&self) -> Tensor {
        self.softplus().tanh() * self
    }

    /// `log(1 + e^x)`, stable.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        let x = self.to_float();
        let below = x.lt(Lit(0.0));
        let e = Tensor::where_(&below, &x, x.neg_of()).exp();
        x.replace(&below, 0.0) + e.log1p()
    }

    /// `log(1 + e^(beta x)) / beta`, and x itself where `beta * x` is above `threshold`.
    #[track_caller]
    pub fn softplus_with(&self, beta: impl Operand, threshold: impl Operand) -> Tensor {
        let (x, beta) = (self.to_float(), beta.operand());
        let scaled = &x * beta.clone();
        Tensor::where_(&scaled.gt(threshold), &x, scaled.softplus() / beta)
    }

    /// `log(sigmoid(x))`, stable.
    #[track_caller]
    pub fn logsigmoid(&self) -> Tensor {
        self.to_float().neg_of().softplus().neg_of()
    }

    /// `x / (1 + |x|)`.
    #[track_caller]
    pub fn softsign(&self) -> Tensor {
        let x = self.to_float();
        &x / (x.abs() + Lit(1.0))
    }

    /// `x - tanh(x)`.
    #[track_caller]
    pub fn tanhshrink(&self) -> Tensor {
        let x = self.to_float();
        &x - x.tanh()
    }

    /// `x` above 0, else `slope * x`.
    #[track_caller]
    pub fn leaky_relu(&self, slope: impl Operand) -> Tensor {
        let x = self.to_float();
        Tensor::where_(&x.gt(Lit(0.0)), &x, &x * slope)
    }

    /// As [`leaky_relu`](Tensor::leaky_relu) with a learnt slope: of one element, or one for each index of axis 1.
    ///
    /// # Panics
    /// If the number of slopes is neither 1 nor the extent of axis 1.
    #[track_caller]
    pub fn prelu(&self, slope: &Tensor) -> Tensor {
        pass_poison!(self, slope);
        let n = slope.numel();
        let mut shape: Shape = self.shape().iter().map(|_| 1).collect();
        if n != 1 {
            if self.rank() < 2 || self.shape()[1] != n {
                slip_now!(Shape, "prelu: {n} slopes for shape {}: there must be one, or one for each index of axis 1", self.shape());
            }
            shape[1] = n;
        }
        self.leaky_relu(slope.reshape_shape(&shape))
    }

    /// `(x + 3) / 6` limited to `0..=1`.
    #[track_caller]
    pub fn hardsigmoid(&self) -> Tensor {
        // The product of 6 and 1 / 6 is rounded to 1.
        (self.to_float() + Lit(3.0)).hardtanh(Lit(0.0), Lit(6.0)) * Lit(1.0 / 6.0)
    }

    /// `x * hardsigmoid(x)`.
    #[track_caller]
    pub fn hardswish(&self) -> Tensor {
        let x = self.to_float();
        &x * x.hardsigmoid()
    }

    /// x where it is above `threshold`, else `value`.
    #[track_caller]
    pub fn threshold(&self, threshold: impl Operand, value: impl Operand) -> Tensor {
        pass_poison!(self);
        Tensor::select_as("threshold", &self.le(threshold), &value.operand(), &self.operand(), self.dtype())
    }

    /// x where its magnitude is above `lambda`, else 0.
    #[track_caller]
    pub fn hardshrink(&self, lambda: f64) -> Tensor {
        pass_poison!(self);
        self.replace(&self.detach().abs().le(Lit(lambda)), 0.0)
    }

    /// x moved towards 0 by `lambda`, 0 where it would pass it.
    #[track_caller]
    pub fn softshrink(&self, lambda: f64) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        &x - x.clamp(Lit(-lambda), Lit(lambda))
    }

    /// [`leaky_relu`](Tensor::leaky_relu) with the mean slope of `lower..upper`; in training, a slope drawn for each element.
    ///
    /// # Panics
    /// If `lower` is above `upper`.
    #[track_caller]
    pub fn rrelu(&self, lower: f64, upper: f64, training: bool) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        if lower.is_nan() || upper.is_nan() || lower > upper {
            slip_now!(Argument, "rrelu: slopes from {lower} to {upper}");
        }
        if !training {
            return x.leaky_relu(Lit((lower + upper) / 2.0));
        }
        let slope = x.rand_like() * Lit(upper - lower) + Lit(lower);
        x.leaky_relu(&slope)
    }

    /// `a * sigmoid(b)` with a and b the halves of x along `axis`.
    ///
    /// # Panics
    /// If the extent of `axis` is odd.
    #[track_caller]
    pub fn glu(&self, axis: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let axis = or_poison!(self.axis_required(axis.into(), "glu"));
        let n = self.shape()[axis];
        if !n.is_multiple_of(2) {
            slip_now!(Shape, "glu: axis {axis} of shape {} has an odd extent", self.shape());
        }
        self.slice_axis(axis, 0, n / 2, 1) * self.slice_axis(axis, n / 2, n, 1).sigmoid()
    }
}
