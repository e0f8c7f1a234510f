//! Less common elementwise functions, composed from those of `elementwise`.

use super::compose::{float_dtype, meet_dtype, pass_poison, slip_now};
use super::operand::Meet;
use super::{Lit, LitInt, Operand, Rhs, Tensor};
use crate::base::DType;
use crate::trace::{Binary, Compare};
use std::f64::consts::{LN_2, PI};

/// Coefficients of `log(erfc(x) / t) + x^2` in `t = 1 / (1 + x / 2)`, highest power first: Press et al., "Numerical
/// Recipes", section 6.2. The relative error is below 1.2e-7 for all x >= 0.
const ERFC: [f64; 10] =
    [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223];

macro_rules! of_two {
    ($($(#[$doc:meta])* $name:ident $body:ident;)*) => {
        /// Functions of two operands, which promote and broadcast.
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, rhs: impl Operand) -> Tensor { self.$body(rhs.operand()) }
        )*}
    };
}
of_two! {
    /// The larger of two; where one is NaN, the other.
    fmax fmax_rhs;
    /// The smaller of two; where one is NaN, the other.
    fmin fmin_rhs;
    /// 0 below 0, 1 above, `rhs` at 0; NaN stays NaN.
    heaviside heaviside_rhs;
    /// `self * log(rhs)`, 0 where `self` is 0 (unless `rhs` is NaN).
    xlogy xlogy_rhs;
    /// `self * 2^rhs`; integers become F32.
    ldexp ldexp_rhs;
    /// Both as F64: `self` to the power of `rhs`.
    float_power float_power_rhs;
    /// Quotient rounded towards zero. Integers stay integers; an integer over 0 is 0.
    trunc_divide trunc_divide_rhs;
    /// `rhs - self`.
    rsub rsub_rhs;
}

impl Tensor {
    /// `1 - erf(x)`, accurate where that is small (in F32 and the half types).
    #[track_caller]
    pub fn erfc(&self) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        let plain = x.erf().neg_of() + Lit(1.0);
        if x.dtype() != DType::F32 {
            return plain;
        }
        let t = (x.abs() * Lit(0.5) + Lit(1.0)).reciprocal();
        let series = ERFC.iter().skip(1).fold(Tensor::full_like(&t, Lit(ERFC[0])), |sum, &c| sum * &t + Lit(c));
        let tail = (&t * (series - x.square()).exp()).detach();
        // The plain form has the derivative, which is accurate everywhere: -2 / sqrt(pi) e^(-x^2).
        let tail = tail + (&plain - plain.detach());
        Tensor::where_(&x.gt(Lit(0.5)), &tail, &plain)
    }

    /// `sin(pi x) / (pi x)`, 1 at 0.
    #[track_caller]
    pub fn sinc(&self) -> Tensor {
        let x = self.to_float() * Lit(PI);
        pass_poison!(x);
        let zero = x.eq(Lit(0.0));
        let s = x.replace(&zero, 1.0);
        (s.sin() / &s).replace(&zero, 1.0)
    }

    /// Degrees to radians.
    #[track_caller]
    pub fn deg2rad(&self) -> Tensor {
        self.to_float() * Lit(PI / 180.0)
    }

    /// Radians to degrees.
    #[track_caller]
    pub fn rad2deg(&self) -> Tensor {
        self.to_float() * Lit(180.0 / PI)
    }

    /// As [`sign`](Tensor::sign), which it is for real numbers.
    #[track_caller]
    pub fn sgn(&self) -> Tensor {
        self.sign()
    }

    /// The tensor itself, of a number dtype.
    ///
    /// # Panics
    /// If it is Bool.
    #[track_caller]
    pub fn positive(&self) -> Tensor {
        pass_poison!(self);
        if self.dtype() == DType::Bool {
            slip_now!(DType, "positive is not defined for bool tensors: cast to a number first");
        }
        self.clone()
    }

    /// True where the sign bit is set: below 0, and for -0.
    #[track_caller]
    pub fn signbit(&self) -> Tensor {
        pass_poison!(self);
        if self.dtype() == DType::Bool {
            return self.zeros_like();
        }
        let below = self.lt(LitInt(0));
        if !self.dtype().is_float() {
            return below;
        }
        // A negative zero shows only in its reciprocal.
        below.bitwise_or(self.eq(Lit(0.0)).bitwise_and(self.reciprocal().lt(Lit(0.0))))
    }

    /// True where infinite and positive.
    #[track_caller]
    pub fn isposinf(&self) -> Tensor {
        self.is_value(f64::INFINITY)
    }

    /// True where infinite and negative.
    #[track_caller]
    pub fn isneginf(&self) -> Tensor {
        self.is_value(f64::NEG_INFINITY)
    }

    #[track_caller]
    fn is_value(&self, value: f64) -> Tensor {
        pass_poison!(self);
        if self.dtype().is_float() { self.eq(Lit(value)) } else { self.compare(Compare::Ne, self) }
    }

    /// Rounded to `decimals` decimal places, ties to even; negative numbers round before the point.
    #[track_caller]
    pub fn round_decimals(&self, decimals: i32) -> Tensor {
        let scale = 10f64.powi(decimals.abs());
        match decimals {
            0 => self.round(),
            _ if self.dtype().is_int() => self.clone(),
            d if d > 0 => (self * Lit(scale)).round() / Lit(scale),
            _ => (self / Lit(scale)).round() * Lit(scale),
        }
    }

    /// `log2(2^self + 2^rhs)`, stable.
    #[track_caller]
    pub fn logaddexp2(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        let d = float_dtype(self.promote_with(rhs));
        let (a, b) = (self.cast(d), rhs.cast(d));
        let t = &a - &b;
        let below = t.lt(Lit(0.0));
        let far = Tensor::where_(&below, &t, t.neg_of()).exp2().log1p() * Lit(1.0 / LN_2);
        let sum = Tensor::where_(&below, &b, &a) + far;
        let same_infinity = a.eq(&b).bitwise_and(a.isinf());
        Tensor::where_(&same_infinity, &a, &sum)
    }

    #[track_caller]
    fn fmax_rhs(&self, rhs: Rhs) -> Tensor {
        self.unless_nan(rhs, Compare::Ge)
    }

    #[track_caller]
    fn fmin_rhs(&self, rhs: Rhs) -> Tensor {
        self.unless_nan(rhs, Compare::Le)
    }

    /// The operand that wins; the gradient of a tie goes to the left one.
    #[track_caller]
    fn unless_nan(&self, rhs: Rhs, wins: Compare) -> Tensor {
        pass_poison!(self);
        let d = meet_dtype(&self.operand(), &rhs);
        let (a, b) = (self.cast(d), rhs.to_tensor(d));
        pass_poison!(b);
        let left = a.compare(wins, &b);
        let left = if d.is_float() { left.bitwise_or(b.isnan()) } else { left };
        Tensor::where_(&left, &a, &b)
    }

    #[track_caller]
    fn heaviside_rhs(&self, rhs: Rhs) -> Tensor {
        pass_poison!(self);
        let d = meet_dtype(&self.operand(), &rhs);
        let x = self.cast(d);
        let step = Tensor::select_as("heaviside", &x.eq(LitInt(0)), &rhs, &x.gt(LitInt(0)).cast(d).operand(), d);
        if d.is_float() { Tensor::where_(&x.isnan(), &x, &step) } else { step }
    }

    #[track_caller]
    fn xlogy_rhs(&self, rhs: Rhs) -> Tensor {
        pass_poison!(self);
        let d = float_dtype(meet_dtype(&self.operand(), &rhs));
        let (x, y) = (self.cast(d), rhs.to_tensor(d));
        pass_poison!(y);
        let zero = x.eq(Lit(0.0)).bitwise_and(y.eq(&y));
        let log = Tensor::select_as("xlogy", &zero, &Lit(1.0).operand(), &(&y).operand(), d).log();
        // The slope along x where x is 0 is still log y.
        let at_zero = y.log().binary(Binary::Mul, &x - x.detach(), Meet::Promote);
        let live = zero.bitwise_and(y.gt(Lit(0.0))).bitwise_and(y.isfinite());
        let at_zero = at_zero.keep_where(&live, 0.0);
        let product = x * log;
        Tensor::where_(&zero, &at_zero, &product)
    }

    #[track_caller]
    fn ldexp_rhs(&self, rhs: Rhs) -> Tensor {
        pass_poison!(self);
        let power = rhs.to_tensor(float_dtype(rhs.dtype())).exp2();
        self.binary(Binary::Mul, &power, Meet::Float)
    }

    #[track_caller]
    fn float_power_rhs(&self, rhs: Rhs) -> Tensor {
        let x = self.cast(DType::F64);
        match &rhs {
            Rhs::Tensor(t) => x.pow(t.cast(DType::F64)),
            _ => x.pow(rhs),
        }
    }

    #[track_caller]
    fn trunc_divide_rhs(&self, rhs: Rhs) -> Tensor {
        pass_poison!(self);
        let d = meet_dtype(&self.operand(), &rhs);
        if d == DType::Bool {
            slip_now!(DType, "trunc_divide is not defined for bool tensors: cast to a number first");
        }
        let q = self.cast(d).binary(Binary::Div, rhs, Meet::Promote);
        if d.is_float() { q.trunc() } else { q }
    }

    #[track_caller]
    fn rsub_rhs(&self, rhs: Rhs) -> Tensor {
        self.clone().binary_left(Binary::Sub, rhs, Meet::Promote)
    }

    /// Whether all elements are close, as [`isclose`](Tensor::isclose): 0-d Bool.
    #[track_caller]
    pub fn allclose(&self, other: &Tensor, rtol: f64, atol: f64) -> Tensor {
        self.isclose(other, rtol, atol).all(..)
    }

    /// As [`isclose`](Tensor::isclose), a NaN close to a NaN.
    #[track_caller]
    pub fn isclose_or_nan(&self, other: &Tensor, rtol: f64, atol: f64) -> Tensor {
        self.isclose(other, rtol, atol).bitwise_or(self.isnan().bitwise_and(other.isnan()))
    }

    /// True where an element is one of `values` (of any shape). Every pair is compared.
    #[track_caller]
    pub fn isin(&self, values: &Tensor) -> Tensor {
        pass_poison!(self, values);
        self.unsqueeze(-1).eq(values.flatten_all()).any(-1)
    }
}
