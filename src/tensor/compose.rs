//! What the families of operations share: early exits for poisoned operands and slips, axes, elementwise ops of several operands.

use super::{Lit, Operand, Rhs, Tensor};
use crate::base::error::{Result, err};
use crate::base::{Axis, DType, Scalar, Shape};
use crate::trace::graph::{Input, Inputs};
use crate::trace::{AxisList, Op, PadSpec, Reduce, SliceSpec};
use smallvec::SmallVec;

/// Axis numbers of one tensor.
pub(crate) type AxisVec = SmallVec<[usize; 4]>;

/// Returns the first poisoned tensor of the list, if any, as the result.
macro_rules! pass_poison {
    ($($t:expr),+ $(,)?) => {$(
        if $t.0.poison().is_some() {
            return $crate::Tensor::clone(&$t);
        }
    )+};
}

/// Unwraps a `Result`, or reports the slip and returns a poisoned tensor.
macro_rules! or_poison {
    ($e:expr) => {
        match $e {
            Ok(v) => v,
            Err(e) => return $crate::Tensor::poisoned(e),
        }
    };
}

/// Reports a slip and returns a poisoned tensor: `slip_now!(Shape, "matmul: ...")`.
macro_rules! slip_now {
    ($kind:ident, $($arg:tt)*) => { return $crate::Tensor::poisoned($crate::base::error::err!($kind, $($arg)*)) };
}
pub(crate) use {or_poison, pass_poison, slip_now};

/// The dtype in which compositions (mean, variance, softmax...) of `d` are computed: f32 for the half types, F32 for what is no float.
pub(crate) fn compute_dtype(d: DType) -> DType {
    match d {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// The float dtype a function of `d` yields: itself, or F32.
pub(crate) fn float_dtype(d: DType) -> DType {
    if d.is_float() { d } else { DType::F32 }
}

/// The smallest value of a dtype: -inf for floats.
pub(crate) fn lowest(d: DType) -> Scalar {
    match d {
        DType::I32 => Scalar::Int(i32::MIN as i64),
        DType::I64 => Scalar::Int(i64::MIN),
        DType::U32 | DType::U8 => Scalar::Int(0),
        DType::Bool => Scalar::Bool(false),
        _ => Scalar::Float(f64::NEG_INFINITY),
    }
}

/// The largest value of a dtype: inf for floats.
pub(crate) fn highest(d: DType) -> Scalar {
    match d {
        DType::I32 => Scalar::Int(i32::MAX as i64),
        DType::I64 => Scalar::Int(i64::MAX),
        DType::U32 => Scalar::Int(u32::MAX as i64),
        DType::U8 => Scalar::Int(255),
        DType::Bool => Scalar::Bool(true),
        _ => Scalar::Float(f64::INFINITY),
    }
}

impl Rhs {
    /// The dtype of the operand alone.
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Rhs::Tensor(t) => t.dtype(),
            Rhs::Number(n) | Rhs::Literal(n) => n.default_dtype(),
        }
    }

    /// The shape of the operand: 0-d for numbers.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Rhs::Tensor(t) => t.shape().clone(),
            _ => Shape::scalar(),
        }
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Rhs::Tensor(_) => None,
            Rhs::Number(n) | Rhs::Literal(n) => match n.to_scalar(DType::F64) {
                Scalar::Float(x) => Some(x),
                _ => None,
            },
        }
    }

    /// The tensor, if it is one.
    pub(crate) fn tensor(&self) -> Option<&Tensor> {
        match self {
            Rhs::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// As an operand of an elementwise op of the given dtype and shape.
    #[track_caller]
    pub(crate) fn input(&self, dtype: DType, shape: &Shape) -> Input {
        match self {
            Rhs::Tensor(t) => Input::Node(t.cast(dtype).broadcast_shape(shape).0),
            Rhs::Number(n) => Input::param(n.to_scalar(dtype), dtype),
            Rhs::Literal(n) => Input::constant(n.to_scalar(dtype), dtype),
        }
    }

    /// As a tensor of `dtype`: a number becomes a 0-d tensor, still data if the user wrote it.
    #[track_caller]
    pub(crate) fn to_tensor(&self, dtype: DType) -> Tensor {
        match self {
            Rhs::Tensor(t) => t.cast(dtype),
            Rhs::Number(n) => {
                let p = Input::param(n.to_scalar(dtype), dtype);
                Tensor::record_inputs(Op::Broadcast, Inputs::from_iter([p]), dtype, Shape::scalar())
            }
            Rhs::Literal(n) => Tensor::constant(n.to_scalar(dtype), dtype, &Shape::scalar()),
        }
    }
}

/// The dtype two operands meet at, neither of which need be a tensor.
pub(crate) fn meet_dtype(a: &Rhs, b: &Rhs) -> DType {
    match (a, b) {
        (Rhs::Tensor(x), Rhs::Tensor(y)) => x.promote_with(y),
        (Rhs::Tensor(x), Rhs::Number(n) | Rhs::Literal(n)) | (Rhs::Number(n) | Rhs::Literal(n), Rhs::Tensor(x)) => n.meet(x.dtype()),
        _ => a.dtype().promote(b.dtype()),
    }
}

/// Shapes broadcast together, with the op's name in the message.
pub(crate) fn broadcast_all(op: &str, shapes: &[&Shape]) -> Result<Shape> {
    let mut out = Shape::scalar();
    for s in shapes {
        out = out.broadcast(s).map_err(|e| {
            let list: Vec<String> = shapes.iter().map(|s| s.to_string()).collect();
            err!(Shape, "{op}: shapes {} do not broadcast together: {}", list.join(", "), e.message())
        })?;
    }
    Ok(out)
}

/// All axes whole: a starting point for a [`SliceSpec`].
pub(crate) fn whole(shape: &Shape) -> SliceSpec {
    SliceSpec { start: SmallVec::from_elem(0, shape.rank()), end: SmallVec::from_slice(shape), step: SmallVec::from_elem(1, shape.rank()) }
}

impl Tensor {
    /// The axis's number; `None` for a 0-d tensor, which accepts 0 and -1.
    pub(crate) fn axis(&self, axis: Axis, op: &str) -> Result<Option<usize>> {
        let a = axis.resolve(self.rank(), op)?;
        Ok((self.rank() > 0).then_some(a))
    }

    /// The axis's number, of a tensor that must have one.
    pub(crate) fn axis_required(&self, axis: Axis, op: &str) -> Result<usize> {
        if self.rank() == 0 {
            return Err(err!(Shape, "{op}: a 0-d tensor has no axis {}", axis.0));
        }
        axis.resolve(self.rank(), op)
    }

    /// `mask ? a : b` over operands that may be numbers; dtypes meet, shapes broadcast. The mask is Bool.
    #[track_caller]
    pub(crate) fn select_rhs(op: &str, mask: &Tensor, a: &Rhs, b: &Rhs) -> Tensor {
        Tensor::select_as(op, mask, a, b, meet_dtype(a, b))
    }

    /// As [`select_rhs`](Tensor::select_rhs), of a given dtype.
    #[track_caller]
    pub(crate) fn select_as(op: &str, mask: &Tensor, a: &Rhs, b: &Rhs, dtype: DType) -> Tensor {
        pass_poison!(mask);
        for t in [a, b].into_iter().filter_map(|x| x.tensor()) {
            pass_poison!(t);
        }
        if mask.dtype() != DType::Bool {
            slip_now!(DType, "{op}: the mask is {}, not bool: compare it first, as in `mask.ne(0)`", mask.dtype());
        }
        let shape = or_poison!(broadcast_all(op, &[mask.shape(), &a.shape(), &b.shape()]));
        let m = mask.broadcast_shape(&shape);
        let inputs = Inputs::from_iter([Input::Node(m.0), a.input(dtype, &shape), b.input(dtype, &shape)]);
        Tensor::record_inputs(Op::Select, inputs, dtype, shape)
    }

    /// `mask ? a : self` with a constant `a` of the library's own, in this tensor's dtype.
    #[track_caller]
    pub(crate) fn replace(&self, mask: &Tensor, a: f64) -> Tensor {
        Tensor::select_as("where", mask, &Lit(a).operand(), &self.operand(), self.dtype())
    }

    /// `mask ? self : b` with a constant `b` of the library's own, in this tensor's dtype.
    #[track_caller]
    pub(crate) fn keep_where(&self, mask: &Tensor, b: f64) -> Tensor {
        Tensor::select_as("where", mask, &self.operand(), &Lit(b).operand(), self.dtype())
    }

    /// A reduction over ascending axes; itself for none (not for arg reductions).
    #[track_caller]
    pub(crate) fn reduce_axes(&self, kind: Reduce, axes: &[usize]) -> Tensor {
        if axes.is_empty() && !kind.is_arg() {
            return self.clone();
        }
        let axes: AxisList = axes.iter().map(|&a| a as u8).collect();
        Tensor::record(Op::Reduce(kind, axes), &[self])
    }

    /// Axis i of the result is axis `perm[i]`; itself for the identity.
    #[track_caller]
    pub(crate) fn permute_axes(&self, perm: &[usize]) -> Tensor {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return self.clone();
        }
        Tensor::record(Op::Permute(perm.iter().map(|&p| p as u8).collect()), &[self])
    }

    /// With one axis moved to another place.
    #[track_caller]
    pub(crate) fn move_axis(&self, from: usize, to: usize) -> Tensor {
        let mut perm: AxisVec = (0..self.rank()).filter(|&a| a != from).collect();
        perm.insert(to, from);
        self.permute_axes(&perm)
    }

    /// A strided part; itself if it is everything.
    #[track_caller]
    pub(crate) fn slice_spec(&self, spec: SliceSpec) -> Tensor {
        if spec == whole(self.shape()) {
            return self.clone();
        }
        Tensor::record(Op::Slice(Box::new(spec)), &[self])
    }

    /// `start..end` by `step` along one axis.
    #[track_caller]
    pub(crate) fn slice_axis(&self, axis: usize, start: usize, end: usize, step: usize) -> Tensor {
        let mut spec = whole(self.shape());
        (spec.start[axis], spec.end[axis], spec.step[axis]) = (start, end, step);
        self.slice_spec(spec)
    }

    /// Surrounded by a constant; itself if nothing is added.
    #[track_caller]
    pub(crate) fn pad_constant(&self, lo: &[usize], hi: &[usize], value: Scalar) -> Tensor {
        if lo.iter().chain(hi).all(|&n| n == 0) {
            return self.clone();
        }
        let value = value.cast(self.dtype());
        Tensor::record(Op::Pad(Box::new(PadSpec { lo: SmallVec::from_slice(lo), hi: SmallVec::from_slice(hi), value })), &[self])
    }

    /// Extended along one axis.
    #[track_caller]
    pub(crate) fn pad_axis(&self, axis: usize, lo: usize, hi: usize, value: Scalar) -> Tensor {
        let mut l: SmallVec<[usize; 4]> = SmallVec::from_elem(0, self.rank());
        let mut h = l.clone();
        (l[axis], h[axis]) = (lo, hi);
        self.pad_constant(&l, &h, value)
    }

    /// Reversed along the axes; itself for none.
    #[track_caller]
    pub(crate) fn flip_axes(&self, axes: &[usize]) -> Tensor {
        if axes.is_empty() {
            return self.clone();
        }
        Tensor::record(Op::Flip(axes.iter().map(|&a| a as u8).collect()), &[self])
    }

    /// The index along `axis` in `shape`.
    #[track_caller]
    pub(crate) fn iota_shape(shape: &Shape, axis: usize, dtype: DType) -> Tensor {
        Tensor::record_inputs(Op::Iota(axis as u8), Inputs::new(), dtype, shape.clone())
    }

    /// The index along `axis` of this tensor, shaped `[1, .., n, .., 1]` so that it broadcasts against it.
    #[track_caller]
    pub(crate) fn iota_along(&self, axis: usize) -> Tensor {
        let _on = self.device().enter();
        let mut s: Shape = self.shape().iter().map(|_| 1).collect();
        s[axis] = self.shape()[axis];
        Tensor::iota_shape(&Shape::new(&[s[axis]]), 0, DType::I64).reshape_shape(&s)
    }

    /// Several tensors one after another along an axis, all of one dtype and fitting.
    #[track_caller]
    pub(crate) fn concat_axis(parts: &[Tensor], axis: usize) -> Tensor {
        match parts {
            [one] => one.clone(),
            _ => Tensor::record(Op::Concat(axis as u8), &parts.iter().collect::<Vec<_>>()),
        }
    }

    /// Indices that count from the end where negative: `n` is added to them.
    #[track_caller]
    pub(crate) fn wrap_negative(&self, n: usize) -> Tensor {
        match self.dtype() {
            DType::I32 | DType::I64 => {
                let wrapped = self + super::LitInt(n as i64);
                Tensor::select_as("index", &self.lt(super::LitInt(0)), &wrapped.operand(), &self.operand(), self.dtype())
            }
            _ => self.cast(DType::I64),
        }
    }

    /// This value with the derivative cut: no gradient passes.
    ///
    /// Recorded as a cast to the dtype it has, which the transforms take as the end of differentiation.
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        Tensor::record_typed(Op::Cast, &[self], self.dtype(), self.shape().clone())
    }

    /// The number of elements along some axes.
    pub(crate) fn count_along(&self, axes: &[usize]) -> usize {
        axes.iter().map(|&a| self.shape()[a]).product()
    }
}
