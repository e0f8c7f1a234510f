//! A trace: whole-tensor values in SSA form, and the methods with which transforms build one.

use super::elementwise::{Binary, Compare, Unary};
use super::infer;
use super::op::{AxisList, Op, PadSpec, Reduce, SliceSpec};
use crate::base::{DType, Result, Scalar, Shape, Site};
use smallvec::{SmallVec, smallvec};
use std::num::NonZeroU32;

/// A value of a trace: the instruction that makes it. `Option<ValueId>` is as small as `ValueId`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(NonZeroU32);

impl ValueId {
    /// From the position of its instruction.
    pub fn new(i: usize) -> ValueId {
        ValueId(NonZeroU32::new(i as u32 + 1).expect("fewer than 2^32 instructions"))
    }

    /// The position of its instruction.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl std::fmt::Debug for ValueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "%{}", self.index())
    }
}

/// Operands of an instruction.
pub type Args = SmallVec<[ValueId; 3]>;

/// One instruction: an op, its operands (earlier values), the type of its result, and the user's line.
#[derive(Clone, Debug)]
pub struct Inst {
    /// What it computes.
    pub op: Op,
    /// From which values.
    pub args: Args,
    /// Element type of the result.
    pub dtype: DType,
    /// Shape of the result.
    pub shape: Shape,
    /// Where the user recorded it. Not part of equality or of any key.
    pub site: Option<Site>,
}

impl PartialEq for Inst {
    fn eq(&self, o: &Inst) -> bool {
        self.op == o.op && self.args == o.args && self.dtype == o.dtype && self.shape == o.shape
    }
}

/// A program over whole tensors: instructions in an order in which operands come first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The instructions; [`ValueId`] numbers them.
    pub insts: Vec<Inst>,
    /// `inputs[i]` is the instruction `Input(i)`.
    pub inputs: Vec<ValueId>,
    /// `params[i]` is the instruction `Param(i)`.
    pub params: Vec<ValueId>,
    /// What the trace yields.
    pub outputs: Vec<ValueId>,
}

impl std::ops::Index<ValueId> for Trace {
    type Output = Inst;
    fn index(&self, v: ValueId) -> &Inst {
        &self.insts[v.index()]
    }
}

/// Construction. The methods that cannot return an error are for passes and rules, which build only what is
/// well typed by construction; a violation is a bug of theirs and panics.
impl Trace {
    /// An empty trace.
    pub fn new() -> Trace {
        Trace::default()
    }

    /// All values, in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = ValueId> + use<> {
        (0..self.insts.len()).map(ValueId::new)
    }

    /// The dtype of a value.
    pub fn dtype(&self, v: ValueId) -> DType {
        self[v].dtype
    }

    /// The shape of a value.
    pub fn shape(&self, v: ValueId) -> &Shape {
        &self[v].shape
    }

    /// Appends an instruction whose type follows from its operands.
    ///
    /// # Errors
    /// If the operands' types do not fit the op.
    pub fn push(&mut self, op: Op, args: &[ValueId], site: Option<Site>) -> Result<ValueId> {
        let (dtype, shape) = self.infer(&op, args)?;
        Ok(self.push_typed(op, args, dtype, shape, site))
    }

    /// The result type of `op` on `args`, for ops whose type follows from their operands.
    ///
    /// # Errors
    /// If the operands' types do not fit the op.
    pub fn infer(&self, op: &Op, args: &[ValueId]) -> Result<(DType, Shape)> {
        let types: SmallVec<[(DType, &Shape); 3]> = args.iter().map(|&a| (self[a].dtype, &self[a].shape)).collect();
        infer::infer(op, &types)
    }

    /// Appends an instruction of the given type without checking it (the verifier does, in debug builds).
    pub fn push_typed(&mut self, op: Op, args: &[ValueId], dtype: DType, shape: Shape, site: Option<Site>) -> ValueId {
        let v = ValueId::new(self.insts.len());
        match op {
            Op::Input(_) => self.inputs.push(v),
            Op::Param(_) => self.params.push(v),
            _ => {}
        }
        self.insts.push(Inst { op, args: SmallVec::from_slice(args), dtype, shape, site });
        v
    }

    /// A new input.
    pub fn input(&mut self, dtype: DType, shape: Shape) -> ValueId {
        let n = self.inputs.len() as u32;
        self.push_typed(Op::Input(n), &[], dtype, shape, None)
    }

    /// A new 0-d parameter.
    pub fn param(&mut self, dtype: DType) -> ValueId {
        let n = self.params.len() as u32;
        self.push_typed(Op::Param(n), &[], dtype, Shape::scalar(), None)
    }

    /// Appends with an inferred type; panics if ill typed. The site is that of the first operand.
    fn emit(&mut self, op: Op, args: &[ValueId]) -> ValueId {
        let site = args.first().and_then(|&a| self[a].site);
        match self.push(op, args, site) {
            Ok(v) => v,
            Err(e) => panic!("a rule built an ill-typed instruction: {e}"),
        }
    }

    /// A constant of `dtype` filling `shape`.
    pub fn constant(&mut self, value: Scalar, dtype: DType, shape: &Shape) -> ValueId {
        let c = self.push_typed(Op::Const(value.cast(dtype)), &[], dtype, Shape::scalar(), None);
        self.broadcast(c, shape)
    }

    /// A constant of the dtype and shape of `like`.
    pub fn constant_like(&mut self, value: f64, like: ValueId) -> ValueId {
        let (d, s) = (self.dtype(like), self.shape(like).clone());
        self.constant(Scalar::Float(value), d, &s)
    }

    /// Zeros of the dtype and shape of `like`.
    pub fn zeros_like(&mut self, like: ValueId) -> ValueId {
        self.constant_like(0.0, like)
    }

    /// Elementwise, one operand.
    pub fn unary(&mut self, op: Unary, a: ValueId) -> ValueId {
        self.emit(Op::Unary(op), &[a])
    }

    /// Elementwise, two operands of one type.
    pub fn binary(&mut self, op: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.emit(Op::Binary(op), &[a, b])
    }

    /// Elementwise with a constant at the right.
    pub fn binary_const(&mut self, op: Binary, a: ValueId, b: f64) -> ValueId {
        let c = self.constant_like(b, a);
        self.binary(op, a, c)
    }

    /// a + b.
    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(Binary::Add, a, b)
    }
    /// a - b.
    pub fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(Binary::Sub, a, b)
    }
    /// a * b.
    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(Binary::Mul, a, b)
    }
    /// a / b.
    pub fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.binary(Binary::Div, a, b)
    }
    /// -a.
    pub fn neg(&mut self, a: ValueId) -> ValueId {
        self.unary(Unary::Neg, a)
    }

    /// Elementwise comparison.
    pub fn compare(&mut self, op: Compare, a: ValueId, b: ValueId) -> ValueId {
        self.emit(Op::Compare(op), &[a, b])
    }

    /// Elementwise choice.
    pub fn select(&mut self, mask: ValueId, a: ValueId, b: ValueId) -> ValueId {
        self.emit(Op::Select, &[mask, a, b])
    }

    /// To `dtype`; the value itself if it already is.
    pub fn cast(&mut self, a: ValueId, dtype: DType) -> ValueId {
        if self.dtype(a) == dtype {
            return a;
        }
        let (shape, site) = (self.shape(a).clone(), self[a].site);
        self.push_typed(Op::Cast, &[a], dtype, shape, site)
    }

    /// Reduction over `axes`, which disappear; the value itself for no axes (except arg reductions).
    pub fn reduce(&mut self, kind: Reduce, a: ValueId, axes: &[usize]) -> ValueId {
        if axes.is_empty() && !kind.is_arg() {
            return a;
        }
        self.emit(Op::Reduce(kind, axes.iter().map(|&x| x as u8).collect()), &[a])
    }

    /// To `shape`, row-major order kept; the value itself if it has that shape.
    pub fn reshape(&mut self, a: ValueId, shape: &Shape) -> ValueId {
        if self.shape(a) == shape {
            return a;
        }
        debug_assert_eq!(self.shape(a).numel(), shape.numel(), "reshape {} to {shape}", self.shape(a));
        let (dtype, site) = (self.dtype(a), self[a].site);
        self.push_typed(Op::Reshape, &[a], dtype, shape.clone(), site)
    }

    /// Axis i of the result is axis `perm[i]` of the operand; the value itself for the identity.
    pub fn permute(&mut self, a: ValueId, perm: &[usize]) -> ValueId {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return a;
        }
        self.emit(Op::Permute(perm.iter().map(|&x| x as u8).collect()), &[a])
    }

    /// Swaps the last two axes.
    pub fn transpose_last(&mut self, a: ValueId) -> ValueId {
        let r = self.shape(a).rank();
        let mut perm: SmallVec<[usize; 8]> = (0..r).collect();
        perm.swap(r - 1, r - 2);
        self.permute(a, &perm)
    }

    /// To `shape`, aligned at the right; the value itself if it has that shape.
    pub fn broadcast(&mut self, a: ValueId, shape: &Shape) -> ValueId {
        if self.shape(a) == shape {
            return a;
        }
        let (dtype, site) = (self.dtype(a), self[a].site);
        self.push_typed(Op::Broadcast, &[a], dtype, shape.clone(), site)
    }

    /// Spreads the result of a reduction over `axes` of `shape` back to `shape`.
    pub fn broadcast_over(&mut self, a: ValueId, axes: &[usize], shape: &Shape) -> ValueId {
        let kept = self.reshape(a, &shape.keepdim(axes));
        self.broadcast(kept, shape)
    }

    /// The adjoint of a broadcast: sums `a` down to `shape`.
    pub fn sum_to(&mut self, a: ValueId, shape: &Shape) -> ValueId {
        let from = self.shape(a).clone();
        let lead = from.rank() - shape.rank();
        let axes: SmallVec<[usize; 8]> = (0..from.rank()).filter(|&i| i < lead || (shape[i - lead] == 1 && from[i] != 1)).collect();
        let r = self.reduce(Reduce::Sum, a, &axes);
        self.reshape(r, shape)
    }

    /// A strided part.
    pub fn slice(&mut self, a: ValueId, spec: SliceSpec) -> ValueId {
        self.emit(Op::Slice(Box::new(spec)), &[a])
    }

    /// `start..end` along one axis.
    pub fn slice_axis(&mut self, a: ValueId, axis: usize, start: usize, end: usize) -> ValueId {
        let shape = self.shape(a).clone();
        let mut spec = SliceSpec { start: smallvec![0; shape.rank()], end: SmallVec::from_slice(&shape), step: smallvec![1; shape.rank()] };
        (spec.start[axis], spec.end[axis]) = (start, end);
        self.slice(a, spec)
    }

    /// Surrounded by a constant.
    pub fn pad(&mut self, a: ValueId, spec: PadSpec) -> ValueId {
        self.emit(Op::Pad(Box::new(spec)), &[a])
    }

    /// Surrounded by zeros (false for Bool).
    pub fn pad_zeros(&mut self, a: ValueId, lo: &[usize], hi: &[usize]) -> ValueId {
        let value = Scalar::Int(0).cast(self.dtype(a));
        self.pad(a, PadSpec { lo: SmallVec::from_slice(lo), hi: SmallVec::from_slice(hi), value })
    }

    /// Reversed along `axes`.
    pub fn flip(&mut self, a: ValueId, axes: &[usize]) -> ValueId {
        if axes.is_empty() {
            return a;
        }
        let axes: AxisList = axes.iter().map(|&x| x as u8).collect();
        self.emit(Op::Flip(axes), &[a])
    }

    /// One after another along `axis`.
    pub fn concat(&mut self, parts: &[ValueId], axis: usize) -> ValueId {
        if parts.len() == 1 { parts[0] } else { self.emit(Op::Concat(axis as u8), parts) }
    }

    /// The index along `axis` of `shape`.
    pub fn iota(&mut self, axis: usize, dtype: DType, shape: &Shape) -> ValueId {
        self.push_typed(Op::Iota(axis as u8), &[], dtype, shape.clone(), None)
    }

    /// See [`Op::Gather`].
    pub fn gather(&mut self, x: ValueId, index: ValueId, batch: usize) -> ValueId {
        self.emit(Op::Gather(batch as u8), &[x, index])
    }

    /// See [`Op::Dot`].
    pub fn dot(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.emit(Op::Dot, &[a, b])
    }

    /// Any op whose type follows from its operands.
    pub fn apply(&mut self, op: Op, args: &[ValueId]) -> ValueId {
        self.emit(op, args)
    }

    /// Copies the instructions of `body`, its inputs replaced by `args`; returns its outputs here.
    /// `body` has no parameters of its own (regions take them as operands).
    pub fn inline(&mut self, body: &Trace, args: &[ValueId]) -> Vec<ValueId> {
        let mut map: Vec<ValueId> = Vec::with_capacity(body.insts.len());
        for inst in &body.insts {
            let v = match inst.op {
                Op::Input(i) => args[i as usize],
                Op::Param(_) => panic!("a region's body takes parameters as operands"),
                _ => {
                    let a: Args = inst.args.iter().map(|x| map[x.index()]).collect();
                    self.push_typed(inst.op.clone(), &a, inst.dtype, inst.shape.clone(), inst.site)
                }
            };
            map.push(v);
        }
        body.outputs.iter().map(|o| map[o.index()]).collect()
    }
}
