//! Elementwise functions, comparisons, choices.

use super::{Table, operand};
use crate::goldens::args::{Args, Either, R};
use crate::goldens::case::Arg;
use lazuli::{DType, Tensor};

/// `|a| Ok(vec![input.method()])`
macro_rules! unary {
    ($method:ident) => {
        |a| Ok(vec![a.tensor(0, "input")?.$method()])
    };
}

/// Input and a tensor or number.
macro_rules! binary {
    ($method:ident) => {
        |a| {
            let x = left(a)?;
            Ok(vec![operand!(a.either(1, "other|exponent|values|divisor")?, o => x.$method(o))])
        }
    };
}

/// Two tensors.
macro_rules! tensors {
    ($method:ident) => {
        |a| Ok(vec![a.tensor(0, "input")?.$method(&a.tensor(1, "other")?)])
    };
}

pub const TABLE: Table = &[
    ("abs", unary!(abs)),
    ("neg", unary!(neg)),
    ("negative", unary!(neg)),
    ("ceil", unary!(ceil)),
    ("floor", unary!(floor)),
    ("trunc", unary!(trunc)),
    ("frac", unary!(frac)),
    ("sign", unary!(sign)),
    ("square", unary!(square)),
    ("sqrt", unary!(sqrt)),
    ("rsqrt", unary!(rsqrt)),
    ("reciprocal", unary!(reciprocal)),
    ("exp", unary!(exp)),
    ("exp2", unary!(exp2)),
    ("expm1", unary!(expm1)),
    ("log", unary!(log)),
    ("log2", unary!(log2)),
    ("log10", unary!(log10)),
    ("log1p", unary!(log1p)),
    ("sin", unary!(sin)),
    ("cos", unary!(cos)),
    ("tan", unary!(tan)),
    ("asin", unary!(asin)),
    ("acos", unary!(acos)),
    ("atan", unary!(atan)),
    ("sinh", unary!(sinh)),
    ("cosh", unary!(cosh)),
    ("tanh", unary!(tanh)),
    ("asinh", unary!(asinh)),
    ("acosh", unary!(acosh)),
    ("atanh", unary!(atanh)),
    ("erf", unary!(erf)),
    ("erfc", unary!(erfc)),
    ("sinc", unary!(sinc)),
    ("sgn", unary!(sgn)),
    ("signbit", unary!(signbit)),
    ("isposinf", unary!(isposinf)),
    ("isneginf", unary!(isneginf)),
    ("sigmoid", unary!(sigmoid)),
    ("logit", |a| Ok(vec![a.tensor(0, "input")?.logit(a.float_opt(1, "eps")?)])),
    ("logical_not", unary!(logical_not)),
    ("bitwise_not", unary!(bitwise_not)),
    ("isnan", unary!(isnan)),
    ("isinf", unary!(isinf)),
    ("isfinite", unary!(isfinite)),
    ("nan_to_num", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![x.nan_to_num_with(a.float_or(1, "nan", 0.0)?, a.float_opt(2, "posinf")?, a.float_opt(3, "neginf")?)])
    }),
    ("deg2rad", unary!(deg2rad)),
    ("rad2deg", unary!(rad2deg)),
    ("positive", unary!(positive)),
    ("clone", |a| Ok(vec![a.tensor(0, "input")?])),
    ("contiguous", |a| Ok(vec![a.tensor(0, "input")?])),
    ("zeros_like", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![a.cast(x, usize::MAX, "dtype")?.zeros_like()])
    }),
    ("ones_like", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![a.cast(x, usize::MAX, "dtype")?.ones_like()])
    }),
    ("float", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::F32)])),
    ("double", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::F64)])),
    ("half", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::F16)])),
    ("bfloat16", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::BF16)])),
    ("int", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::I32)])),
    ("long", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::I64)])),
    ("byte", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::U8)])),
    ("bool", |a| Ok(vec![a.tensor(0, "input")?.cast(DType::Bool)])),
    ("round", round),
    ("add", add),
    ("sub", sub),
    ("rsub", rsub),
    ("__radd__", binary!(radd)),
    ("__rmul__", binary!(rmul)),
    ("__rsub__", rsub),
    ("__rmod__", |a| {
        let x = left(a)?;
        Ok(vec![operand!(a.either(1, "other")?, o => super::tensor_of(o).remainder(&x))])
    }),
    ("__rand__", binary!(bitwise_and)),
    ("__ror__", binary!(bitwise_or)),
    ("__rxor__", binary!(bitwise_xor)),
    ("__rdiv__", |a| {
        let x = left(a)?;
        Ok(vec![operand!(a.either(1, "other")?, o => x.reciprocal() * o)])
    }),
    ("__rpow__", |a| {
        let x = left(a)?;
        Ok(vec![operand!(a.either(1, "other")?, o => x.rpow(o))])
    }),
    ("mul", binary!(rmul)),
    ("div", div),
    ("true_divide", binary!(true_divide)),
    ("floor_divide", binary!(floor_divide)),
    ("fmod", binary!(fmod)),
    ("remainder", binary!(remainder)),
    ("pow", pow),
    ("float_power", binary!(float_power)),
    ("atan2", binary!(atan2)),
    ("hypot", tensors!(hypot)),
    ("logaddexp", tensors!(logaddexp)),
    ("maximum", binary!(maximum)),
    ("minimum", binary!(minimum)),
    ("fmax", binary!(fmax)),
    ("fmin", binary!(fmin)),
    ("copysign", binary!(copysign)),
    ("eq", binary!(eq)),
    ("ne", binary!(ne)),
    ("lt", binary!(lt)),
    ("le", binary!(le)),
    ("gt", binary!(gt)),
    ("ge", binary!(ge)),
    ("logical_and", tensors!(logical_and)),
    ("logical_or", tensors!(logical_or)),
    ("logical_xor", tensors!(logical_xor)),
    ("bitwise_and", binary!(bitwise_and)),
    ("bitwise_or", binary!(bitwise_or)),
    ("bitwise_xor", binary!(bitwise_xor)),
    ("bitwise_left_shift", binary!(bitwise_left_shift)),
    ("bitwise_right_shift", binary!(bitwise_right_shift)),
    ("heaviside", binary!(heaviside)),
    ("xlogy", binary!(xlogy)),
    ("ldexp", binary!(ldexp)),
    ("logaddexp2", tensors!(logaddexp2)),
    ("isin", |a| {
        let (x, v) = (left(a)?, a.either(1, "test_elements")?);
        a.ignore("assume_unique");
        let found = operand!(v, o => x.isin(&super::tensor_of(o)));
        Ok(vec![if a.bool_or(usize::MAX, "invert", false)? { found.logical_not() } else { found }])
    }),
    ("addcmul", |a| {
        let (x, s, t) = (a.tensor(0, "input")?, a.tensor(1, "tensor1")?, a.tensor(2, "tensor2")?);
        Ok(vec![operand!(a.either_or(3, "value", 1.0)?, v => x.addcmul(&s, &t, v))])
    }),
    ("addcdiv", |a| {
        let (x, s, t) = (a.tensor(0, "input")?, a.tensor(1, "tensor1")?, a.tensor(2, "tensor2")?);
        Ok(vec![operand!(a.either_or(3, "value", 1.0)?, v => x.addcdiv(&s, &t, v))])
    }),
    ("lerp", |a| {
        let (x, end) = (a.tensor(0, "input")?, a.tensor(1, "end")?);
        Ok(vec![operand!(a.either(2, "weight")?, w => x.lerp(&end, w))])
    }),
    ("where", |a| {
        // Recorded as the method: self.where(condition, other).
        let (first, second) = (a.tensor(0, "condition")?, a.tensor(1, "self")?);
        let other = a.either(2, "other")?;
        let (mask, x) = if first.dtype() == DType::Bool && second.dtype() != DType::Bool { (first, second) } else { (second, first) };
        Ok(vec![operand!(other, o => Tensor::where_(&mask, &x, o))])
    }),
    ("clamp", clamp),
    ("clip", clamp),
    ("clamp_min", |a| {
        let x = left(a)?;
        Ok(vec![operand!(a.either(1, "min")?, m => x.clamp_min(m))])
    }),
    ("clamp_max", |a| {
        let x = left(a)?;
        Ok(vec![operand!(a.either(1, "max")?, m => x.clamp_max(m))])
    }),
    ("isclose", |a| Ok(vec![close(a)?])),
    ("allclose", |a| Ok(vec![close(a)?.all(..)])),
];

/// Names for operators, so that the macros can call them as methods.
trait Operators {
    fn radd(&self, o: impl lazuli::Operand) -> Tensor;
    fn rmul(&self, o: impl lazuli::Operand) -> Tensor;
}

impl Operators for Tensor {
    fn radd(&self, o: impl lazuli::Operand) -> Tensor {
        self + o
    }
    fn rmul(&self, o: impl lazuli::Operand) -> Tensor {
        self * o
    }
}

/// The first operand, which may be a number.
fn left(a: &Args) -> R<Tensor> {
    Ok(match a.either(0, "input")? {
        Either::Tensor(t) => t,
        Either::Int(i) => Tensor::full([], i),
        Either::Float(f) => Tensor::full([], f),
        Either::Bool(b) => Tensor::full([], b),
    })
}

fn close(a: &Args) -> R<Tensor> {
    let (x, y) = (a.tensor(0, "input")?, a.tensor(1, "other")?);
    let (rtol, atol) = (a.float_or(2, "rtol", 1e-5)?, a.float_or(3, "atol", 1e-8)?);
    Ok(if a.bool_or(4, "equal_nan", false)? { x.isclose_or_nan(&y, rtol, atol) } else { x.isclose(&y, rtol, atol) })
}

fn scaled(a: &Args) -> R<Either> {
    let other = a.either(1, "other")?;
    Ok(match (other, a.get(usize::MAX, "alpha").is_some()) {
        (o, false) => o,
        (Either::Tensor(t), true) => Either::Tensor(operand!(a.either(usize::MAX, "alpha")?, s => &t * s)),
        (Either::Int(i), true) if matches!(a.get(usize::MAX, "alpha"), Some(Arg::Int(_))) => {
            Either::Int(i * a.int(usize::MAX, "alpha")? as i64)
        }
        (Either::Int(i), true) => Either::Float(i as f64 * a.float_or(usize::MAX, "alpha", 1.0)?),
        (Either::Float(f), true) => Either::Float(f * a.float_or(usize::MAX, "alpha", 1.0)?),
        (Either::Bool(_), true) => return Err("alpha times a truth value".into()),
    })
}

fn add(a: &Args) -> R {
    let x = left(a)?;
    Ok(vec![operand!(scaled(a)?, o => &x + o)])
}

fn sub(a: &Args) -> R {
    let x = left(a)?;
    Ok(vec![operand!(scaled(a)?, o => &x - o)])
}

/// other - alpha * input
fn rsub(a: &Args) -> R {
    let mut x = left(a)?;
    if a.get(usize::MAX, "alpha").is_some() {
        x = operand!(a.either(usize::MAX, "alpha")?, s => &x * s);
    }
    Ok(vec![operand!(a.either(1, "other")?, o => x.rsub(o))])
}

fn div(a: &Args) -> R {
    let x = left(a)?;
    let o = a.either(1, "other")?;
    Ok(vec![match a.str_or(2, "rounding_mode", "")? {
        "" => operand!(o, o => &x / o),
        "floor" => operand!(o, o => x.floor_divide(o)),
        "trunc" => operand!(o, o => x.trunc_divide(o)),
        m => return Err(format!("rounding_mode {m}")),
    }])
}

fn pow(a: &Args) -> R {
    if let Either::Tensor(x) = a.either(0, "input")? {
        return Ok(vec![operand!(a.either(1, "exponent")?, o => x.pow(o))]);
    }
    let y = a.tensor(1, "exponent")?;
    Ok(vec![operand!(a.either(0, "input")?, x => y.rpow(x))])
}

fn round(a: &Args) -> R {
    let x = a.tensor(0, "input")?;
    Ok(vec![x.round_decimals(a.int_or(usize::MAX, "decimals", 0)? as i32)])
}

fn clamp(a: &Args) -> R {
    let mut x = left(a)?;
    if a.get(1, "min").is_some() {
        x = operand!(a.either(1, "min")?, m => x.clamp_min(m));
    }
    if a.get(2, "max").is_some() {
        x = operand!(a.either(2, "max")?, m => x.clamp_max(m));
    }
    Ok(vec![x])
}
