//! Elementwise arithmetic, comparisons, logic and mathematical functions.
//!
//! Operands promote and broadcast as in PyTorch. Float functions take integers and Bool as F32. The activation functions of neural
//! networks are in `activation`.

use super::compose::{broadcast_all, float_dtype, meet_dtype, pass_poison, slip_now};
use super::operand::Meet;
use super::{Lit, LitInt, Number, Operand, Rhs, Tensor};
use crate::base::DType;
use crate::trace::{Binary, Compare, Unary};

macro_rules! float_functions {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {
        /// Float functions of one operand: same shape; integers and Bool become F32.
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor { self.float_unary(Unary::$op) }
        )*}
    };
}
float_functions! {
    /// Square root; NaN below 0.
    sqrt Sqrt;
    /// `1 / sqrt(x)`.
    rsqrt Rsqrt;
    /// `1 / x`.
    reciprocal Recip;
    /// e^x.
    exp Exp;
    /// 2^x.
    exp2 Exp2;
    /// `e^x - 1`, accurate near 0.
    expm1 Expm1;
    /// Natural logarithm.
    log Log;
    /// Base-2 logarithm.
    log2 Log2;
    /// `log(1 + x)`, accurate near 0.
    log1p Log1p;
    /// Sine, x in radians.
    sin Sin;
    /// Cosine, x in radians.
    cos Cos;
    /// Tangent, x in radians.
    tan Tan;
    /// Inverse sine, in radians.
    asin Asin;
    /// Inverse cosine, in radians.
    acos Acos;
    /// Inverse tangent, in radians.
    atan Atan;
    /// Hyperbolic sine.
    sinh Sinh;
    /// Hyperbolic cosine.
    cosh Cosh;
    /// Hyperbolic tangent.
    tanh Tanh;
    /// The error function.
    erf Erf;
}

macro_rules! rounding {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {
        /// Rounding: same shape and dtype; integers stay as they are.
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                if self.dtype().is_int() && self.0.poison().is_none() { self.clone() } else { self.unary(Unary::$op) }
            }
        )*}
    };
}
rounding! {
    /// Smallest integer not below.
    ceil Ceil;
    /// Largest integer not above.
    floor Floor;
    /// Nearest integer, ties to even.
    round Round;
    /// Integer part, towards zero.
    trunc Trunc;
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {
        /// Comparisons: Bool, in the broadcast shape.
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, rhs: impl Operand) -> Tensor { self.compare(Compare::$op, rhs) }
        )*}
    };
}
comparisons! {
    /// `self == rhs`; NaN equals nothing.
    eq Eq;
    /// `self != rhs`; true for NaN.
    ne Ne;
    /// `self < rhs`.
    lt Lt;
    /// `self <= rhs`.
    le Le;
    /// `self > rhs`.
    gt Gt;
    /// `self >= rhs`.
    ge Ge;
}

macro_rules! binaries {
    ($($(#[$doc:meta])* $name:ident $op:ident $meet:ident;)*) => {
        /// Two operands that promote and broadcast.
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, rhs: impl Operand) -> Tensor { self.binary(Binary::$op, rhs, Meet::$meet) }
        )*}
    };
}
binaries! {
    /// The larger of two; NaN if either is.
    maximum Max Promote;
    /// The smaller of two; NaN if either is.
    minimum Min Promote;
    /// Remainder with the sign of `self`, as C's `fmod`. (`%` and [`remainder`](Tensor::remainder) take the sign of `rhs`.)
    fmod Rem Promote;
    /// Angle of the point (x = `rhs`, y = `self`), in radians.
    atan2 Atan2 Float;
    /// Bitwise and (logical on Bool).
    bitwise_and And Promote;
    /// Bitwise or (logical on Bool).
    bitwise_or Or Promote;
    /// Bitwise exclusive or (logical on Bool).
    bitwise_xor Xor Promote;
    /// Integers: `self << rhs`; 0 when `rhs` is not below the width.
    bitwise_left_shift Shl Promote;
    /// Integers: `self >> rhs`, arithmetic for signed types.
    bitwise_right_shift Shr Promote;
    /// `self / rhs`, true division: integers become F32.
    true_divide Div Float;
}

macro_rules! logic {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {
        /// Logic on truth values; numbers count as `!= 0`.
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, rhs: &Tensor) -> Tensor {
                self.cast(DType::Bool).binary(Binary::$op, &rhs.cast(DType::Bool), Meet::Promote)
            }
        )*}
    };
}
logic! {
    /// Both.
    logical_and And;
    /// Either.
    logical_or Or;
    /// Exactly one.
    logical_xor Xor;
}

impl Tensor {
    /// Neither: `x == 0`, Bool.
    #[track_caller]
    pub fn logical_not(&self) -> Tensor {
        self.cast(DType::Bool).unary(Unary::Not)
    }

    /// Bitwise not of integers, logical not of Bool.
    #[track_caller]
    pub fn bitwise_not(&self) -> Tensor {
        self.unary(Unary::Not)
    }

    /// Absolute value; its derivative at 0 is 0.
    #[track_caller]
    pub fn abs(&self) -> Tensor {
        self.unary(Unary::Abs)
    }

    /// -1, 0 or 1; 0 for NaN. Of Bool, itself.
    #[track_caller]
    pub fn sign(&self) -> Tensor {
        pass_poison!(self);
        match self.dtype() {
            DType::Bool => self.clone(),
            d if d.is_float() => self.replace(&self.isnan(), 0.0).unary(Unary::Sign),
            _ => self.unary(Unary::Sign),
        }
    }

    /// `x * x`; of Bool, as I64.
    #[track_caller]
    pub fn square(&self) -> Tensor {
        if self.dtype() == DType::Bool {
            let x = self.cast(DType::I64);
            return x.binary(Binary::Mul, &x, Meet::Promote);
        }
        self.binary(Binary::Mul, self, Meet::Promote)
    }

    /// Base-10 logarithm.
    #[track_caller]
    pub fn log10(&self) -> Tensor {
        self.log2() * Lit(std::f64::consts::LOG10_2)
    }

    /// Fraction left of [`trunc`](Tensor::trunc), with the sign of x.
    #[track_caller]
    pub fn frac(&self) -> Tensor {
        self - self.trunc()
    }

    /// Inverse hyperbolic sine.
    #[track_caller]
    pub fn asinh(&self) -> Tensor {
        pass_poison!(self);
        let x = self.cast(float_dtype(self.dtype()));
        // log1p(a + a^2 / (1 + sqrt(a^2 + 1))) is accurate near 0; from 2^12 on, where a^2 would overflow in f16, log(2a) is exact.
        let a = x.abs();
        let big = a.gt(Lit(4096.0));
        let s = a.replace(&big, 1.0);
        let near = (&s + s.square() / ((s.square() + Lit(1.0)).sqrt() + Lit(1.0))).log1p();
        let far = a.replace(&big.logical_not(), 1.0).log() + Lit(std::f64::consts::LN_2);
        // At 0 the magnitude has a kink, asinh has not: there it is x itself.
        let odd = Tensor::where_(&big, &far, &near).copysign(&x);
        Tensor::where_(&x.eq(Lit(0.0)), &x, &odd)
    }

    /// Inverse hyperbolic cosine; NaN below 1.
    #[track_caller]
    pub fn acosh(&self) -> Tensor {
        pass_poison!(self);
        let x = self.cast(float_dtype(self.dtype()));
        let big = x.gt(Lit(4096.0));
        let s = x.replace(&big, 2.0);
        // With t = x - 1, sqrt(x^2 - 1) = sqrt(t) sqrt(t + 2): nothing cancels near 1, and both are NaN far below it.
        let t = &s - Lit(1.0);
        let near = (&t + t.sqrt() * (&t + Lit(2.0)).sqrt()).log1p();
        let far = x.replace(&big.logical_not(), 1.0).log() + Lit(std::f64::consts::LN_2);
        Tensor::where_(&big, &far, &near)
    }

    /// Inverse hyperbolic tangent; infinite at -1 and 1.
    #[track_caller]
    pub fn atanh(&self) -> Tensor {
        pass_poison!(self);
        let x = self.cast(float_dtype(self.dtype()));
        ((&x * Lit(2.0)) / (x.neg_of() + Lit(1.0))).log1p() * Lit(0.5)
    }

    #[track_caller]
    pub(crate) fn neg_of(&self) -> Tensor {
        self.unary(Unary::Neg)
    }

    /// `-self`.
    #[track_caller]
    pub fn neg(&self) -> Tensor {
        self.unary(Unary::Neg)
    }

    /// True where NaN; false for integers and Bool.
    #[track_caller]
    pub fn isnan(&self) -> Tensor {
        self.compare(Compare::Ne, self)
    }

    /// True where infinite.
    #[track_caller]
    pub fn isinf(&self) -> Tensor {
        pass_poison!(self);
        if self.dtype().is_float() { self.abs().eq(Lit(f64::INFINITY)) } else { self.compare(Compare::Ne, self) }
    }

    /// True where neither NaN nor infinite.
    #[track_caller]
    pub fn isfinite(&self) -> Tensor {
        pass_poison!(self);
        if self.dtype().is_float() { self.abs().lt(Lit(f64::INFINITY)) } else { self.compare(Compare::Eq, self) }
    }

    /// Quotient rounded down. Integers stay integers; an integer over 0 is 0.
    #[track_caller]
    pub fn floor_divide(&self, rhs: impl Operand) -> Tensor {
        self.floor_divide_rhs(rhs.operand())
    }

    #[track_caller]
    fn floor_divide_rhs(&self, rhs: Rhs) -> Tensor {
        pass_poison!(self);
        let d = meet_dtype(&self.operand(), &rhs);
        let a = self.cast(d);
        if d.is_float() {
            // As Python: from the exact remainder, so that the quotient is not one off near an integer.
            let m = a.binary(Binary::Rem, rhs.clone(), Meet::Promote);
            let q = (&a - &m) / rhs.clone();
            let step = m.ne(LitInt(0)).bitwise_and(m.lt(LitInt(0)).bitwise_xor(zero_like_below(&rhs, &m)));
            let q = Tensor::select_as("floor_divide", &step, &(&q - Lit(1.0)).operand(), &q.operand(), d).round();
            let plain = &a / rhs.clone();
            let zero = is_zero(&rhs, &m);
            return Tensor::select_as("floor_divide", &zero, &plain.operand(), &q.operand(), d);
        }
        let q = a.binary(Binary::Div, rhs.clone(), Meet::Promote);
        if matches!(d, DType::U8 | DType::U32 | DType::Bool) {
            return q;
        }
        let m = a.binary(Binary::Rem, rhs.clone(), Meet::Promote);
        let differ = m.binary(Binary::Xor, rhs, Meet::Promote).lt(LitInt(0));
        let step = m.ne(LitInt(0)).bitwise_and(&differ);
        Tensor::select_as("floor_divide", &step, &(&q - LitInt(1)).operand(), &q.operand(), d)
    }

    /// `self` to the power of `rhs`. An integer number as exponent is part of the structure (`x.pow(2)` is `x * x`); a float
    /// number is data.
    ///
    /// # Panics
    /// If integers are raised to a negative integer number.
    #[track_caller]
    pub fn pow(&self, rhs: impl Operand) -> Tensor {
        self.pow_rhs(rhs.operand())
    }

    #[track_caller]
    fn pow_rhs(&self, rhs: Rhs) -> Tensor {
        pass_poison!(self);
        let whole = match &rhs {
            Rhs::Number(Number::Int(n)) | Rhs::Literal(Number::Int(n)) => Some(*n),
            Rhs::Literal(Number::F64(x)) if x.fract() == 0.0 && x.abs() < 64.0 && self.dtype().is_float() => Some(*x as i64),
            _ => None,
        };
        let Some(n) = whole else { return self.binary(Binary::Pow, rhs, Meet::Promote) };
        let x = if self.dtype() == DType::Bool { self.cast(DType::I64) } else { self.clone() };
        if n < 0 && !x.dtype().is_float() {
            slip_now!(Argument, "pow: {} to the negative integer power {n}: cast to a float first", x.dtype());
        }
        match n {
            0 => x.ones_like(),
            1 => x,
            2 => x.square(),
            3 => x.square() * &x,
            4 => x.square().square(),
            -1 => x.reciprocal(),
            -2 => x.square().reciprocal(),
            _ => x.binary(Binary::Pow, LitInt(n), Meet::Promote),
        }
    }

    /// `number` to the power of each element.
    #[track_caller]
    pub fn rpow(&self, base: impl Operand) -> Tensor {
        self.clone().binary_left(Binary::Pow, base, Meet::Promote)
    }

    /// `sqrt(x^2 + y^2)`, without overflow on the way.
    #[track_caller]
    pub fn hypot(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        let d = float_dtype(self.promote_with(rhs));
        let (x, y) = (self.cast(d), rhs.cast(d));
        // Scaled by the larger one, which does not take part in the derivative.
        let m = x.abs().maximum(y.abs()).detach();
        let usable = m.gt(Lit(0.0)).bitwise_and(m.isfinite());
        let s = m.keep_where(&usable, 1.0);
        let (u, v) = (&x / &s, &y / &s);
        let r = (u.square() + v.square()).sqrt() * s;
        r.replace(&x.isinf().bitwise_or(y.isinf()), f64::INFINITY)
    }

    /// The magnitude of `self` with the sign of `rhs` (its sign bit; that of a NaN counts as positive).
    #[track_caller]
    pub fn copysign(&self, rhs: impl Operand) -> Tensor {
        self.copysign_rhs(rhs.operand())
    }

    #[track_caller]
    fn copysign_rhs(&self, rhs: Rhs) -> Tensor {
        pass_poison!(self);
        let d = float_dtype(meet_dtype(&self.operand(), &rhs));
        let sign = rhs.to_tensor(if rhs.dtype().is_float() && rhs.tensor().is_some() { rhs.dtype() } else { d }).detach();
        pass_poison!(sign);
        // A negative zero shows only in its reciprocal, negative infinity only in itself.
        let negative = sign.minimum(sign.reciprocal()).lt(Lit(0.0));
        let a = self.cast(d).abs();
        Tensor::select_as("copysign", &negative, &a.neg_of().operand(), &a.operand(), d)
    }

    /// `log(e^self + e^rhs)`, stable.
    #[track_caller]
    pub fn logaddexp(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        let d = float_dtype(self.promote_with(rhs));
        let (a, b) = (self.cast(d), rhs.cast(d));
        let t = &a - &b;
        let below = t.lt(Lit(0.0));
        // The same branch for both terms, so that the derivative is right at a tie.
        let far = Tensor::where_(&below, &t, t.neg_of()).exp().log1p();
        let sum = Tensor::where_(&below, &b, &a) + far;
        let same_infinity = a.eq(&b).bitwise_and(a.isinf());
        Tensor::where_(&same_infinity, &a, &sum)
    }

    /// `log(x / (1 - x))`; with `eps`, x is first clamped to `eps..=1 - eps`.
    #[track_caller]
    pub fn logit(&self, eps: Option<f64>) -> Tensor {
        let x = match eps {
            // The lower limit wins where they cross.
            Some(e) => {
                let high = self.to_float().clamp_max(Lit(1.0 - e));
                Tensor::where_(&self.lt(Lit(e)), Lit(e), &high)
            }
            None => self.to_float(),
        };
        (&x / (x.neg_of() + Lit(1.0))).log()
    }

    /// `self + weight * (end - self)`, exact at both ends.
    #[track_caller]
    pub fn lerp(&self, end: &Tensor, weight: impl Operand) -> Tensor {
        self.lerp_rhs(end, weight.operand())
    }

    #[track_caller]
    fn lerp_rhs(&self, end: &Tensor, w: Rhs) -> Tensor {
        pass_poison!(self, end);
        let d = float_dtype(meet_dtype(&self.cast(self.promote_with(end)).operand(), &w));
        let number = w.number();
        let (a, b, w) = (self.cast(d), end.cast(d), w.to_tensor(d));
        let span = &b - &a;
        let near = || &a + &w * &span;
        let far = || &b - &span * (w.neg_of() + Lit(1.0));
        // Of a number it is known which form is exact.
        if let Some(x) = number {
            return if x.abs() < 0.5 { near() } else { far() };
        }
        Tensor::where_(&w.abs().lt(Lit(0.5)), &near(), &far())
    }

    /// Limited to `min..=max`; NaN stays NaN; if `min > max` the result is `max`. The derivative is 1 inside and at the limits.
    #[track_caller]
    pub fn clamp(&self, min: impl Operand, max: impl Operand) -> Tensor {
        pass_poison!(self);
        let (min, max) = (min.operand(), max.operand());
        if self.dtype() == DType::Bool && min.dtype() == DType::Bool && max.dtype() == DType::Bool {
            slip_now!(DType, "clamp is not defined for bool tensors: cast to a number first");
        }
        let (min, max) = (self.one_number(min), self.one_number(max));
        self.clamp_rhs(min, Compare::Lt).clamp_rhs(max, Compare::Gt)
    }

    /// At least `min`; NaN stays NaN.
    #[track_caller]
    pub fn clamp_min(&self, min: impl Operand) -> Tensor {
        self.clamp_rhs(min.operand(), Compare::Lt)
    }

    /// At most `max`; NaN stays NaN.
    #[track_caller]
    pub fn clamp_max(&self, max: impl Operand) -> Tensor {
        self.clamp_rhs(max.operand(), Compare::Gt)
    }

    /// A number that is used twice as one value, so that it is seen to be the same.
    #[track_caller]
    pub(crate) fn one_number(&self, x: Rhs) -> Rhs {
        match x {
            Rhs::Number(_) if self.dtype().is_float() => Rhs::Tensor(x.to_tensor(self.dtype())),
            x => x,
        }
    }

    /// `limit` where `self op limit`.
    #[track_caller]
    fn clamp_rhs(&self, limit: Rhs, op: Compare) -> Tensor {
        pass_poison!(self);
        let d = meet_dtype(&self.operand(), &limit);
        let outside = self.cast(d).compare(op, limit.clone());
        Tensor::select_as("clamp", &outside, &limit, &self.operand(), d)
    }

    /// NaN becomes 0, infinities the largest and smallest finite value of the dtype.
    #[track_caller]
    pub fn nan_to_num(&self) -> Tensor {
        self.nan_to_num_with(Lit(0.0), None, None)
    }

    /// NaN becomes `nan`, infinities `posinf` and `neginf` (by default the largest and smallest finite value of the dtype).
    #[track_caller]
    pub fn nan_to_num_with(&self, nan: impl Operand, posinf: Option<f64>, neginf: Option<f64>) -> Tensor {
        pass_poison!(self);
        let d = self.dtype();
        if !d.is_float() {
            return self.clone();
        }
        let largest = match d {
            DType::F64 => f64::MAX,
            DType::F16 => 65504.0,
            DType::BF16 => half::bf16::MAX.to_f64(),
            _ => f32::MAX as f64,
        };
        let nan = nan.operand();
        if posinf.is_none() && neginf.is_none() {
            // Only infinities are beyond the limits.
            let x = self.clamp(Lit(-largest), Lit(largest));
            return Tensor::select_as("nan_to_num", &x.isnan(), &nan, &x.operand(), d);
        }
        let put = |x: Option<f64>, default: f64| x.map_or(Lit(default).operand(), |x| x.operand());
        let (hi, lo) = (put(posinf, largest), put(neginf, -largest));
        let x = Tensor::select_as("nan_to_num", &self.isnan(), &nan, &self.operand(), d);
        let x = Tensor::select_as("nan_to_num", &self.eq(Lit(f64::INFINITY)), &hi, &x.operand(), d);
        Tensor::select_as("nan_to_num", &self.eq(Lit(f64::NEG_INFINITY)), &lo, &x.operand(), d)
    }

    /// `self + value * a / b`.
    #[track_caller]
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: impl Operand) -> Tensor {
        self + (a / b) * value
    }

    /// `self + value * a * b`.
    #[track_caller]
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: impl Operand) -> Tensor {
        self + (a * b) * value
    }

    /// `a` where `mask` holds, else `b`; shapes broadcast, dtypes promote. Gradients go only to the element taken.
    ///
    /// # Panics
    /// If `mask` is not Bool or shapes do not fit.
    #[track_caller]
    pub fn where_(mask: &Tensor, a: impl Operand, b: impl Operand) -> Tensor {
        Tensor::select_rhs("where", mask, &a.operand(), &b.operand())
    }

    /// True where the values differ by at most `atol + rtol * |other|`, elementwise.
    #[track_caller]
    pub fn isclose(&self, other: &Tensor, rtol: f64, atol: f64) -> Tensor {
        pass_poison!(self, other);
        let d = self.promote_with(other);
        let (a, b) = (self.cast(d), other.cast(d));
        if d == DType::Bool {
            return a.eq(&b);
        }
        let near = (&a - &b).abs().le(b.abs() * Lit(rtol) + Lit(atol));
        a.eq(&b).bitwise_or(near.bitwise_and(b.isfinite()))
    }

    /// Shapes broadcast together, each tensor stretched to the result.
    #[track_caller]
    pub fn broadcast_tensors(tensors: &[&Tensor]) -> Vec<Tensor> {
        let shapes: Vec<_> = tensors.iter().map(|t| t.shape()).collect();
        match broadcast_all("broadcast_tensors", &shapes) {
            Ok(s) => tensors.iter().map(|t| t.broadcast_to(&s)).collect(),
            Err(e) => {
                let p = Tensor::poisoned(e);
                tensors.iter().map(|_| p.clone()).collect()
            }
        }
    }

    /// As a float: integers and Bool become F32.
    #[track_caller]
    pub(crate) fn to_float(&self) -> Tensor {
        if self.dtype().is_float() { self.clone() } else { self.cast(DType::F32) }
    }
}

/// `rhs < 0`, in the dtype and shape of `like`.
#[track_caller]
fn zero_like_below(rhs: &Rhs, like: &Tensor) -> Tensor {
    compare_zero(rhs, like, Compare::Lt)
}

#[track_caller]
fn is_zero(rhs: &Rhs, like: &Tensor) -> Tensor {
    compare_zero(rhs, like, Compare::Eq)
}

#[track_caller]
fn compare_zero(rhs: &Rhs, like: &Tensor, op: Compare) -> Tensor {
    rhs.to_tensor(like.dtype()).compare(op, LitInt(0))
}
