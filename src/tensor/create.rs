//! Tensors from nothing: constants, ranges, identity matrices, literals.

use super::compose::{or_poison, pass_poison, slip_now};
use super::{Device, Lit, LitInt, Number, Operand, Rhs, Tensor};
use crate::base::error::err;
use crate::base::{Axis, DType, Result, Scalar, Shape};
use crate::trace::Op;
use crate::trace::graph::Inputs;

impl Tensor {
    /// Zeros of dtype F32.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>) -> Tensor {
        Tensor::constant(Scalar::Float(0.0), DType::F32, &shape.into())
    }

    /// Ones of dtype F32.
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>) -> Tensor {
        Tensor::constant(Scalar::Float(1.0), DType::F32, &shape.into())
    }

    /// `value` in every element: F32 for a float, I64 for an integer, Bool for a truth value, or the dtype of a 0-d tensor.
    /// The number is data: a new one compiles nothing.
    ///
    /// # Panics
    /// If `value` is a tensor whose shape does not stretch to `shape`.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: impl Operand) -> Tensor {
        let v = value.operand();
        let dtype = v.dtype();
        Tensor::full_shape(shape.into(), v, dtype)
    }

    #[track_caller]
    fn full_shape(shape: Shape, v: Rhs, dtype: DType) -> Tensor {
        if let Rhs::Tensor(t) = &v {
            return t.cast(dtype).broadcast_to(shape);
        }
        let input = v.input(dtype, &shape);
        Tensor::record_inputs(Op::Broadcast, Inputs::from_iter([input]), dtype, shape)
    }

    /// Zeros of this tensor's shape and dtype (false for Bool).
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        pass_poison!(self);
        let _on = self.device().enter();
        Tensor::constant(Scalar::Int(0), self.dtype(), self.shape())
    }

    /// Ones of this tensor's shape and dtype (true for Bool).
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        pass_poison!(self);
        let _on = self.device().enter();
        Tensor::constant(Scalar::Int(1), self.dtype(), self.shape())
    }

    /// `value` in this tensor's shape and dtype.
    #[track_caller]
    pub fn full_like(&self, value: impl Operand) -> Tensor {
        pass_poison!(self);
        let v = value.operand();
        let _on = self.device().enter();
        Tensor::full_shape(self.shape().clone(), v, self.dtype())
    }

    /// `0..end`, shape `[end]`: I64 for an integer `end`, F32 for a float.
    ///
    /// # Panics
    /// If `end` is negative or not finite.
    #[track_caller]
    pub fn arange(end: impl Into<Number>) -> Tensor {
        Tensor::arange_numbers(Number::Int(0), end.into(), Number::Int(1))
    }

    /// `start, start + step, ..` up to, not including, `end`: I64 if all three are integers, else F32.
    ///
    /// # Panics
    /// If `step` is 0 or leads away from `end`, or a number is not finite.
    #[track_caller]
    pub fn arange_range(start: impl Into<Number>, end: impl Into<Number>, step: impl Into<Number>) -> Tensor {
        Tensor::arange_numbers(start.into(), end.into(), step.into())
    }

    #[track_caller]
    fn arange_numbers(start: Number, end: Number, step: Number) -> Tensor {
        if let (Number::Int(a), Number::Int(b), Number::Int(s)) = (start, end, step) {
            let span = b as i128 - a as i128;
            if s == 0 || (span != 0 && (span > 0) != (s > 0)) {
                slip_now!(Argument, "arange: {a}..{b} by {s}: the step is 0 or leads away from the end");
            }
            let n = (span.unsigned_abs()).div_ceil(s.unsigned_abs() as u128) as usize;
            let i = Tensor::iota_shape(&Shape::new(&[n]), 0, DType::I64);
            let i = if s == 1 { i } else { i * LitInt(s) };
            return if a == 0 { i } else { i + LitInt(a) };
        }
        let [a, b, s] = [start, end, step].map(|n| n.to_scalar(DType::F64).as_f64());
        let n = ((b - a) / s).ceil();
        if !n.is_finite() || !(a + b + s).is_finite() || s == 0.0 || n < 0.0 {
            slip_now!(Argument, "arange: {a}..{b} by {s}: the step is 0 or leads away from the end, or a number is not finite");
        }
        let i = Tensor::iota_shape(&Shape::new(&[n as usize]), 0, DType::F32);
        let i = if s == 1.0 { i } else { i * Lit(s) };
        if a == 0.0 { i } else { i + Lit(a) }
    }

    /// `steps` numbers from `start` to `end`, both included: F32 `[steps]`.
    #[track_caller]
    pub fn linspace(start: impl Into<f64>, end: impl Into<f64>, steps: usize) -> Tensor {
        let (a, b) = (start.into(), end.into());
        let shape = Shape::new(&[steps]);
        if steps < 2 {
            return Tensor::constant(Scalar::Float(a), DType::F32, &shape);
        }
        let step = (b - a) / (steps - 1) as f64;
        let i = Tensor::iota_shape(&shape, 0, DType::F32);
        // From both ends, so that the last number is `end` itself.
        let up = &i * Lit(step) + Lit(a);
        let down = (&i - Lit((steps - 1) as f64)) * Lit(step) + Lit(b);
        Tensor::where_(&i.lt(Lit((steps / 2) as f64)), &up, &down)
    }

    /// The identity matrix, F32 `[n, n]`.
    #[track_caller]
    pub fn eye(n: usize) -> Tensor {
        Tensor::eye_rect(n, n)
    }

    /// Ones on the main diagonal, zeros elsewhere, F32 `[rows, columns]`.
    #[track_caller]
    pub fn eye_rect(rows: usize, columns: usize) -> Tensor {
        Tensor::diagonal_mask(rows, columns, 0).cast(DType::F32)
    }

    /// Bool `[rows, columns]`: true where `column == row + k`.
    #[track_caller]
    pub(crate) fn diagonal_mask(rows: usize, columns: usize, k: isize) -> Tensor {
        let shape = Shape::new(&[rows, columns]);
        let (row, column) = (Tensor::iota_shape(&shape, 0, DType::I64), Tensor::iota_shape(&shape, 1, DType::I64));
        let row = if k == 0 { row } else { row + LitInt(k as i64) };
        column.eq(&row)
    }

    /// Ones at and below the `k`-th diagonal (0 is the main one, positive above it), F32 `[rows, columns]`.
    #[track_caller]
    pub fn tri(rows: usize, columns: usize, k: isize) -> Tensor {
        Tensor::lower_mask(rows, columns, k).cast(DType::F32)
    }

    /// Bool `[rows, columns]`: true where `column <= row + k`.
    #[track_caller]
    pub(crate) fn lower_mask(rows: usize, columns: usize, k: isize) -> Tensor {
        let shape = Shape::new(&[rows, columns]);
        let (row, column) = (Tensor::iota_shape(&shape, 0, DType::I64), Tensor::iota_shape(&shape, 1, DType::I64));
        let row = if k == 0 { row } else { row + LitInt(k as i64) };
        column.le(&row)
    }

    /// The index along `axis`, of a numeric dtype.
    ///
    /// # Panics
    /// If `shape` has no such axis, or `dtype` is Bool.
    #[track_caller]
    pub fn iota(shape: impl Into<Shape>, axis: impl Into<Axis>, dtype: DType) -> Tensor {
        let (shape, axis): (Shape, Axis) = (shape.into(), axis.into());
        if shape.rank() == 0 || dtype == DType::Bool {
            slip_now!(Argument, "iota: {dtype} {shape}: a numeric dtype and an axis are needed");
        }
        let axis = or_poison!(axis.resolve(shape.rank(), "iota"));
        Tensor::iota_shape(&shape, axis, dtype)
    }

    /// This tensor on `device`; itself if it is there. Between devices the value is computed and copied: no gradient passes.
    ///
    /// # Panics
    /// Inside a transform or `jit`, where nothing is computed, and if the value cannot be computed or copied.
    #[track_caller]
    pub fn to_device(&self, device: &Device) -> Tensor {
        pass_poison!(self);
        if self.device() == *device {
            return self.clone();
        }
        let copied = self.to_bytes().and_then(|bytes| device.scope(|| Tensor::from_bytes(&bytes, self.dtype(), self.shape())));
        Tensor::or_slip(copied.map_err(|e| err!(Device, "to_device({device}): {}", e.message())))
    }

    /// From nested arrays: see [`tensor!`](macro@crate::tensor).
    #[track_caller]
    pub fn from_literal<L: Literal>(literal: L) -> Tensor {
        let mut shape = Vec::new();
        L::shape(&mut shape);
        let mut values = Vec::new();
        literal.flatten(&mut values);
        Tensor::or_slip(Tensor::from_scalars(&values, L::DTYPE, Shape::new(&shape)))
    }

    /// From numbers, each converted to `dtype`.
    #[track_caller]
    pub(crate) fn from_scalars(values: &[Scalar], dtype: DType, shape: Shape) -> Result<Tensor> {
        let size = dtype.size();
        let mut bytes = vec![0u8; values.len() * size];
        for (v, out) in values.iter().zip(bytes.chunks_exact_mut(size)) {
            v.write(dtype, out);
        }
        Tensor::from_bytes(&bytes, dtype, shape)
    }
}

/// What [`tensor!`](macro@crate::tensor) accepts: numbers and nested arrays of them.
pub trait Literal {
    /// The dtype of the tensor: F32 for floats, I64 for integers, Bool.
    const DTYPE: DType;
    /// Appends the extents.
    fn shape(out: &mut Vec<usize>);
    /// Appends the numbers, row-major.
    fn flatten(&self, out: &mut Vec<Scalar>);
}

macro_rules! literal {
    ($($t:ty => $d:ident, $s:ident as $w:ty;)*) => {$(
        impl Literal for $t {
            const DTYPE: DType = DType::$d;
            fn shape(_: &mut Vec<usize>) {}
            fn flatten(&self, out: &mut Vec<Scalar>) { out.push(Scalar::$s(*self as $w)); }
        }
    )*};
}
literal! {
    f32 => F32, Float as f64;
    f64 => F32, Float as f64;
    i32 => I64, Int as i64;
    i64 => I64, Int as i64;
    usize => I64, Int as i64;
    bool => Bool, Bool as bool;
}

impl<L: Literal, const N: usize> Literal for [L; N] {
    const DTYPE: DType = L::DTYPE;
    fn shape(out: &mut Vec<usize>) {
        out.push(N);
        L::shape(out);
    }
    fn flatten(&self, out: &mut Vec<Scalar>) {
        for x in self {
            x.flatten(out);
        }
    }
}

/// A tensor from (nested) literals: `tensor![1., 2.]`, `tensor![[1, 2], [3, 4]]`. Floats become F32, integers I64, truth values Bool.
///
/// ```
/// use lazuli::prelude::*;
/// let a = tensor![[1., 2.], [3., 4.]];
/// assert_eq!((a.shape().to_vec(), a.dtype()), (vec![2, 2], DType::F32));
/// ```
#[macro_export]
macro_rules! tensor {
    () => { $crate::Tensor::zeros([0]) };
    ($($x:tt)*) => { $crate::Tensor::from_literal([$($x)*]) };
}
