//! Right-hand sides of operators: tensors and numbers, and what dtype they meet at.

use super::Tensor;
use crate::base::{Category, DType, Scalar, Shape};
use crate::trace::graph::{Input, Inputs};
use crate::trace::{Binary, Compare, Op, Unary};
use std::ops::{Add, AddAssign, BitAnd, BitOr, BitXor, Div, DivAssign, Mul, MulAssign, Neg, Not, Rem, RemAssign, Shl, Shr, Sub, SubAssign};

/// A number a user wrote, before it meets a dtype.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An f32; widened to f64 through its shortest decimal, so that `x * 0.1f32` means 0.1 for an F64 `x`.
    F32(f32),
    /// An f64.
    F64(f64),
    /// Any integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Number {
    /// The value for a tensor of `dtype`.
    pub fn to_scalar(self, dtype: DType) -> Scalar {
        match self {
            Number::F32(x) if dtype == DType::F64 && x.is_finite() => Scalar::Float(x.to_string().parse().unwrap_or(x as f64)),
            Number::F32(x) => Scalar::Float(x as f64).cast(dtype),
            Number::F64(x) => Scalar::Float(x).cast(dtype),
            Number::Int(x) => Scalar::Int(x).cast(dtype),
            Number::Bool(x) => Scalar::Bool(x).cast(dtype),
        }
    }

    /// Its promotion category.
    pub fn category(self) -> Category {
        match self {
            Number::F32(_) | Number::F64(_) => Category::Float,
            Number::Int(_) => Category::Int,
            Number::Bool(_) => Category::Bool,
        }
    }

    /// The dtype of a tensor made from the number alone: F32, I64 or Bool.
    pub fn default_dtype(self) -> DType {
        match self.category() {
            Category::Float => DType::F32,
            Category::Int => DType::I64,
            Category::Bool => DType::Bool,
        }
    }

    /// The dtype at which it meets a tensor of `dtype`: the tensor's, unless the number's category is higher.
    pub fn meet(self, dtype: DType) -> DType {
        if self.category() > dtype.category() { self.default_dtype() } else { dtype }
    }
}

/// What can stand at the right of an operator: `Tensor`, `&Tensor`, `f32`, `f64`, `i32`, `i64`, `usize`, `bool`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be combined with a tensor",
    label = "expected Tensor, &Tensor, f32, f64, i32, i64, usize or bool"
)]
pub trait Operand {
    /// As one or the other.
    fn operand(self) -> Rhs;
}

/// An operand in one type.
#[derive(Clone)]
pub enum Rhs {
    /// A tensor.
    Tensor(Tensor),
    /// A user's number: data, not structure, so that a new value never compiles anything.
    Number(Number),
    /// A number written by a composition of the library's own: part of the structure, may be folded.
    Literal(Number),
}

/// A number in a composition of the library's own, as in `x * Lit(0.5)`; see [`Rhs::Literal`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lit(pub f64);

impl Operand for Lit {
    fn operand(self) -> Rhs {
        Rhs::Literal(Number::F64(self.0))
    }
}

/// As [`Lit`], of the integer category: it keeps the dtype of integer tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LitInt(pub i64);

impl Operand for LitInt {
    fn operand(self) -> Rhs {
        Rhs::Literal(Number::Int(self.0))
    }
}

impl From<Tensor> for Rhs {
    fn from(t: Tensor) -> Rhs {
        Rhs::Tensor(t)
    }
}

impl Operand for Tensor {
    fn operand(self) -> Rhs {
        Rhs::Tensor(self)
    }
}
impl Operand for &Tensor {
    fn operand(self) -> Rhs {
        Rhs::Tensor(self.clone())
    }
}
impl Operand for Number {
    fn operand(self) -> Rhs {
        Rhs::Number(self)
    }
}
impl Operand for Rhs {
    fn operand(self) -> Rhs {
        self
    }
}
macro_rules! number {
    ($($t:ty => $e:expr;)*) => {$(
        impl Operand for $t { fn operand(self) -> Rhs { Rhs::Number($e(self)) } }
    )*};
}
number! {
    f32 => Number::F32;
    f64 => Number::F64;
    i32 => |x| Number::Int(x as i64);
    i64 => Number::Int;
    usize => |x| Number::Int(x as i64);
    bool => Number::Bool;
}
macro_rules! into_number {
    ($($t:ty),*) => {$(
        impl From<$t> for Number {
            fn from(x: $t) -> Number {
                match x.operand() {
                    Rhs::Number(n) | Rhs::Literal(n) => n,
                    Rhs::Tensor(_) => unreachable!("a number is no tensor"),
                }
            }
        }
    )*};
}
into_number!(f32, f64, i32, i64, usize, bool);

/// How an elementwise op of two operands chooses the dtype it computes in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meet {
    /// The promoted dtype.
    Promote,
    /// The promoted dtype, but a float: integers and Bool become F32 (true division, atan2).
    Float,
}

impl Meet {
    fn dtype(self, d: DType) -> DType {
        if self == Meet::Float && !d.is_float() { DType::F32 } else { d }
    }
}

impl Tensor {
    /// The dtype two tensors meet at. As PyTorch: a 0-d tensor is weak within and below the other's category.
    pub(crate) fn promote_with(&self, other: &Tensor) -> DType {
        match (self.rank(), other.rank()) {
            (0, r) if r > 0 && self.dtype().category() <= other.dtype().category() => other.dtype(),
            (r, 0) if r > 0 && other.dtype().category() <= self.dtype().category() => self.dtype(),
            _ => self.dtype().promote(other.dtype()),
        }
    }

    /// Brings two operands to one dtype and shape as inputs of an elementwise op; the poisoned tensor where one is poisoned or they
    /// do not fit. Takes the left one by value, so that `x * 2.0` on a tensor that is not used again counts no reference up and down.
    #[track_caller]
    #[inline]
    pub(crate) fn meet(self, rhs: Rhs, how: Meet, op: &str) -> Result<(Inputs, DType, Shape), Tensor> {
        if self.0.poison().is_some() {
            return Err(self);
        }
        match rhs {
            Rhs::Number(n) => Ok(self.meet_number(n, true, how)),
            Rhs::Literal(n) => Ok(self.meet_number(n, false, how)),
            Rhs::Tensor(b) => self.meet_tensor(b, how, op),
        }
    }

    #[track_caller]
    fn meet_number(self, n: Number, is_param: bool, how: Meet) -> (Inputs, DType, Shape) {
        let d = how.dtype(n.meet(self.dtype()));
        let a = self.into_dtype(d);
        let shape = a.shape().clone();
        let number = if is_param { Input::param(n.to_scalar(d), d) } else { Input::constant(n.to_scalar(d), d) };
        (Inputs::from_buf([Input::Node(a.0), number]), d, shape)
    }

    #[track_caller]
    fn meet_tensor(self, b: Tensor, how: Meet, op: &str) -> Result<(Inputs, DType, Shape), Tensor> {
        if b.0.poison().is_some() {
            return Err(b);
        }
        let d = how.dtype(self.promote_with(&b));
        let (mut a, mut b) = (self.into_dtype(d), b.into_dtype(d));
        let shape = if a.shape() == b.shape() {
            a.shape().clone()
        } else {
            let shape = match a.shape().broadcast(b.shape()) {
                Ok(s) => s,
                Err(e) => return Err(Tensor::poisoned(crate::base::Error::new(e.kind(), format!("{op}: {}", e.message())))),
            };
            (a, b) = (a.broadcast_shape(&shape), b.broadcast_shape(&shape));
            shape
        };
        Ok((Inputs::from_buf([Input::Node(a.0), Input::Node(b.0)]), d, shape))
    }

    /// As [`cast`](Tensor::cast), by value.
    #[track_caller]
    #[inline]
    fn into_dtype(self, dtype: DType) -> Tensor {
        if self.dtype() == dtype { self } else { self.cast(dtype) }
    }

    /// An elementwise op on two operands, which promote and broadcast.
    #[track_caller]
    pub(crate) fn binary(&self, op: Binary, rhs: impl Operand, how: Meet) -> Tensor {
        self.clone().binary_rhs(op, rhs.operand(), how)
    }

    #[track_caller]
    fn binary_rhs(self, op: Binary, rhs: Rhs, how: Meet) -> Tensor {
        match self.meet(rhs, how, op.name()) {
            Ok((inputs, d, shape)) => Tensor::record_binary(op, inputs, d, shape),
            Err(poison) => poison,
        }
    }

    /// `number op self`.
    #[track_caller]
    pub(crate) fn binary_left(self, op: Binary, left: impl Operand, how: Meet) -> Tensor {
        match self.meet(left.operand(), how, op.name()) {
            Ok((mut inputs, d, shape)) => {
                inputs.swap(0, 1);
                Tensor::record_binary(op, inputs, d, shape)
            }
            Err(poison) => poison,
        }
    }

    #[track_caller]
    #[inline]
    fn record_binary(op: Binary, inputs: Inputs, d: DType, shape: Shape) -> Tensor {
        // On truth values a sum is "or" and a product "and", as in PyTorch.
        let op = match op {
            Binary::Add if d == DType::Bool => Binary::Or,
            Binary::Mul if d == DType::Bool => Binary::And,
            op => op,
        };
        if op.accepts(d) {
            return Tensor::record_inputs(Op::Binary(op), inputs, d, shape);
        }
        Tensor::poisoned(crate::base::error::err!(
            DType,
            "{} is not defined for {d} tensors{}",
            op.name(),
            if d == DType::Bool { ": cast to a number first, or use & | ^" } else { "" }
        ))
    }

    /// An elementwise comparison; the operands promote and broadcast.
    #[track_caller]
    pub(crate) fn compare(&self, op: Compare, rhs: impl Operand) -> Tensor {
        match self.clone().meet(rhs.operand(), Meet::Promote, op.name()) {
            Ok((inputs, _, shape)) => Tensor::record_inputs(Op::Compare(op), inputs, DType::Bool, shape),
            Err(poison) => poison,
        }
    }

    /// An elementwise op on one operand of a dtype it accepts.
    #[track_caller]
    pub(crate) fn unary(&self, op: Unary) -> Tensor {
        if op.accepts(self.dtype()) {
            let (d, s) = (self.dtype(), self.shape().clone());
            return Tensor::record_typed(Op::Unary(op), &[self], d, s);
        }
        Tensor::record(Op::Unary(op), &[self])
    }

    /// An elementwise float function: integers and Bool become F32 first.
    #[track_caller]
    pub(crate) fn float_unary(&self, op: Unary) -> Tensor {
        if self.dtype().is_float() { self.unary(op) } else { self.cast(DType::F32).unary(op) }
    }

    /// To another dtype: floats round to nearest even, a float to an integer truncates and saturates (NaN gives 0), integers wrap,
    /// anything to Bool is `!= 0`. Itself if it has that dtype.
    #[track_caller]
    pub fn cast(&self, dtype: DType) -> Tensor {
        if self.dtype() == dtype {
            return self.clone();
        }
        Tensor::record_typed(Op::Cast, &[self], dtype, self.shape().clone())
    }

    /// `self % rhs` with the sign of the divisor, as Python and PyTorch.
    #[track_caller]
    pub fn remainder(&self, rhs: impl Operand) -> Tensor {
        self.clone().remainder_rhs(rhs.operand())
    }

    #[track_caller]
    pub(crate) fn remainder_rhs(self, rhs: Rhs) -> Tensor {
        match self.meet(rhs, Meet::Promote, "remainder") {
            Ok((inputs, d, shape)) => Tensor::remainder_inputs(inputs, d, shape),
            Err(poison) => poison,
        }
    }

    /// fmod, then one step towards the divisor's sign where the signs differ.
    #[track_caller]
    fn remainder_inputs(inputs: Inputs, d: DType, shape: Shape) -> Tensor {
        if d == DType::Bool {
            return Tensor::poisoned(crate::base::error::err!(DType, "remainder is not defined for bool tensors"));
        }
        let b = inputs[1].clone();
        let r = Tensor::record_inputs(Op::Binary(Binary::Rem), inputs, d, shape.clone());
        if matches!(d, DType::U8 | DType::U32) {
            return r;
        }
        let zero = Input::constant(Scalar::Int(0).cast(d), d);
        let cmp = |op: Compare, x: &Input| {
            Tensor::record_inputs(Op::Compare(op), Inputs::from_buf([x.clone(), zero.clone()]), DType::Bool, shape.clone())
        };
        let ri = Input::Node(r.0.clone());
        let differ = cmp(Compare::Lt, &ri).binary(Binary::Xor, cmp(Compare::Lt, &b), Meet::Promote);
        let fix = cmp(Compare::Ne, &ri).binary(Binary::And, &differ, Meet::Promote);
        let moved = Tensor::record_inputs(Op::Binary(Binary::Add), Inputs::from_buf([ri, b]), d, shape.clone());
        Tensor::record_typed(Op::Select, &[&fix, &moved, &r], d, shape)
    }
}

macro_rules! operators {
    ($($T:ident $m:ident $A:ident $am:ident: $f:ident($($arg:expr),*);)*) => {$(
        impl<R: Operand> $T<R> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $m(self, r: R) -> Tensor { Tensor::$f(self, $($arg,)* r.operand()) }
        }
        impl<R: Operand> $T<R> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $m(self, r: R) -> Tensor { Tensor::$f(self.clone(), $($arg,)* r.operand()) }
        }
        impl<R: Operand> $A<R> for Tensor {
            #[track_caller]
            fn $am(&mut self, r: R) { *self = Tensor::$f(self.clone(), $($arg,)* r.operand()); }
        }
    )*};
}
impl Tensor {
    #[track_caller]
    fn op_promote(self, op: Binary, r: Rhs) -> Tensor {
        self.binary_rhs(op, r, Meet::Promote)
    }
    #[track_caller]
    fn op_float(self, op: Binary, r: Rhs) -> Tensor {
        self.binary_rhs(op, r, Meet::Float)
    }
}
operators! {
    Add add AddAssign add_assign: op_promote(Binary::Add);
    Sub sub SubAssign sub_assign: op_promote(Binary::Sub);
    Mul mul MulAssign mul_assign: op_promote(Binary::Mul);
    Div div DivAssign div_assign: op_float(Binary::Div);
    Rem rem RemAssign rem_assign: remainder_rhs();
}

macro_rules! left {
    ($t:ty, $n:expr; $($T:ident $m:ident $op:ident $how:ident;)*) => {$(
        impl $T<Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $m(self, r: Tensor) -> Tensor { r.binary_left(Binary::$op, $n(self), Meet::$how) }
        }
        impl $T<&Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $m(self, r: &Tensor) -> Tensor { r.clone().binary_left(Binary::$op, $n(self), Meet::$how) }
        }
    )*
        impl Rem<Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn rem(self, r: Tensor) -> Tensor { self % &r }
        }
        impl Rem<&Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn rem(self, r: &Tensor) -> Tensor {
                match r.clone().meet(Rhs::Number($n(self)), Meet::Promote, "remainder") {
                    Ok((mut inputs, d, shape)) => {
                        inputs.swap(0, 1);
                        Tensor::remainder_inputs(inputs, d, shape)
                    }
                    Err(poison) => poison,
                }
            }
        }
    };
}
left!(f32, Number::F32; Add add Add Promote; Sub sub Sub Promote; Mul mul Mul Promote; Div div Div Float;);
left!(i32, |x| Number::Int(x as i64); Add add Add Promote; Sub sub Sub Promote; Mul mul Mul Promote; Div div Div Float;);

macro_rules! bit_operators {
    ($($T:ident $m:ident $op:ident;)*) => {$(
        impl<R: Operand> $T<R> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $m(self, r: R) -> Tensor { self.binary(Binary::$op, r, Meet::Promote) }
        }
        impl<R: Operand> $T<R> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $m(self, r: R) -> Tensor { self.binary(Binary::$op, r, Meet::Promote) }
        }
    )*};
}
bit_operators! { BitAnd bitand And; BitOr bitor Or; BitXor bitxor Xor; Shl shl Shl; Shr shr Shr; }

impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        self.unary(Unary::Neg)
    }
}
impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        self.unary(Unary::Neg)
    }
}
impl Not for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn not(self) -> Tensor {
        self.unary(Unary::Not)
    }
}
impl Not for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn not(self) -> Tensor {
        self.unary(Unary::Not)
    }
}
