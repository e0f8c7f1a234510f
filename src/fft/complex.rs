//! Complex tensors as pairs of real ones.

use crate::base::Error;
use crate::base::error::err;
use crate::tensor::Operand;
use crate::{Tensor, Tree};
use std::ops::{Add, Mul, Neg, Sub};

/// Complex numbers: real and imaginary parts in two real tensors. Operators broadcast; anything else is written in the parts. A tree like any pair,
/// so derivatives are with respect to the parts.
///
/// ```
/// use lazuli::Complex;
/// use lazuli::prelude::*;
/// let z = Complex::new(&tensor![3.0, 0.0], &tensor![4.0, 1.0]);
/// assert_eq!(z.abs().to_vec::<f32>()?, [5.0, 1.0]);
/// assert_eq!((&z * &z).re.to_vec::<f32>()?, [-7.0, -1.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Tree, Clone)]
pub struct Complex {
    /// The real part.
    pub re: Tensor,
    /// The imaginary part.
    pub im: Tensor,
}

/// What can be transformed: a real tensor or a [`Complex`]; made from either by `into`.
#[derive(Clone)]
pub struct Signal {
    pub(super) re: Tensor,
    /// Absent for real tensors.
    pub(super) im: Option<Tensor>,
}

impl From<&Tensor> for Signal {
    fn from(x: &Tensor) -> Signal {
        Signal { re: x.clone(), im: None }
    }
}

impl From<Tensor> for Signal {
    fn from(x: Tensor) -> Signal {
        Signal { re: x, im: None }
    }
}

impl From<&Complex> for Signal {
    fn from(x: &Complex) -> Signal {
        x.clone().into()
    }
}

impl From<Complex> for Signal {
    fn from(x: Complex) -> Signal {
        Signal { re: x.re, im: Some(x.im) }
    }
}

impl Signal {
    pub(super) fn poison(&self) -> Option<Complex> {
        let im = self.im.as_ref().unwrap_or(&self.re);
        Complex { re: self.re.clone(), im: im.clone() }.poison()
    }

    /// In F32 or F64. Parts written as fields of a `Complex` may differ: they meet at the wider dtype and shape.
    #[track_caller]
    pub(super) fn to_float(&self) -> Signal {
        let Some(im) = &self.im else {
            return Signal { re: self.re.to_float(), im: None };
        };
        let (re, im) = (self.re.to_float(), im.to_float());
        if re.dtype() == im.dtype() && re.shape() == im.shape() {
            return Signal { re, im: Some(im) };
        }
        let both = Complex::new(&re, &im);
        Signal { re: both.re, im: Some(both.im) }
    }
}

impl Complex {
    /// From both parts, which broadcast and promote.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn new(re: &Tensor, im: &Tensor) -> Complex {
        let dtype = re.to_float().dtype().promote(im.to_float().dtype());
        let parts = Tensor::broadcast_tensors(&[re, im]);
        Complex { re: parts[0].cast(dtype), im: parts[1].cast(dtype) }
    }

    /// From a last axis of two: real and imaginary part, as `torch.view_as_complex`.
    ///
    /// # Panics
    /// If the last axis is not 2, or the dtype no float.
    #[track_caller]
    pub fn from_real(x: &Tensor) -> Complex {
        if x.0.poison().is_some() {
            return Complex { re: x.clone(), im: x.clone() };
        }
        if x.shape().last() != Some(&2) || !x.dtype().is_float() {
            return Complex::poisoned(err!(Shape, "from_real: {} {}: takes floats with a last axis of 2", x.dtype(), x.shape()));
        }
        Complex { re: x.select(-1, 0), im: x.select(-1, 1) }
    }

    /// With a new last axis of two: real and imaginary part, as `torch.view_as_real`.
    #[track_caller]
    pub fn to_real(&self) -> Tensor {
        Tensor::stack(&[&self.re, &self.im], -1)
    }

    /// The magnitude.
    #[track_caller]
    pub fn abs(&self) -> Tensor {
        self.re.hypot(&self.im)
    }

    /// The angle, from -pi to pi.
    #[track_caller]
    pub fn angle(&self) -> Tensor {
        self.im.atan2(&self.re)
    }

    /// The conjugate.
    #[track_caller]
    pub fn conj(&self) -> Complex {
        Complex { re: self.re.clone(), im: -&self.im }
    }

    /// Multiplied by real numbers.
    #[track_caller]
    pub fn scale(&self, factor: impl Operand) -> Complex {
        let factor = factor.operand();
        Complex { re: &self.re * factor.clone(), im: &self.im * factor }
    }

    pub(super) fn map_parts(self, f: impl Fn(Tensor) -> Tensor) -> Complex {
        Complex { re: f(self.re), im: f(self.im) }
    }

    pub(super) fn poison(&self) -> Option<Complex> {
        let bad = [&self.re, &self.im].into_iter().find(|t| t.0.poison().is_some())?;
        Some(Complex { re: bad.clone(), im: bad.clone() })
    }

    /// Reports a slip.
    #[track_caller]
    pub(super) fn poisoned(e: Error) -> Complex {
        let t = Tensor::poisoned(e);
        Complex { re: t.clone(), im: t }
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        impl $trait for &Complex {
            type Output = Complex;
            #[track_caller]
            fn $method(self, rhs: &Complex) -> Complex {
                let ($a, $b) = (self, rhs);
                $e
            }
        }
        impl $trait for Complex {
            type Output = Complex;
            #[track_caller]
            fn $method(self, rhs: Complex) -> Complex {
                (&self).$method(&rhs)
            }
        }
    )*};
}
operators! {
    Add add |a, b| Complex { re: &a.re + &b.re, im: &a.im + &b.im };
    Sub sub |a, b| Complex { re: &a.re - &b.re, im: &a.im - &b.im };
    Mul mul |a, b| Complex { re: &a.re * &b.re - &a.im * &b.im, im: &a.re * &b.im + &a.im * &b.re };
}

impl Neg for &Complex {
    type Output = Complex;
    #[track_caller]
    fn neg(self) -> Complex {
        Complex { re: -&self.re, im: -&self.im }
    }
}

impl Neg for Complex {
    type Output = Complex;
    #[track_caller]
    fn neg(self) -> Complex {
        -&self
    }
}
