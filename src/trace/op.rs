//! The op set: what one instruction of a trace can be.

use super::elementwise::{Binary, Compare, Unary};
use super::region::Region;
use crate::base::Scalar;
use smallvec::SmallVec;
use std::sync::Arc;

/// A short list of axis numbers.
pub type AxisList = SmallVec<[u8; 8]>;

/// How a reduction or cumulative scan combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reduce {
    /// Sum; 0 for no elements. F16 and BF16 accumulate in f32. Not on Bool.
    Sum,
    /// Product; 1 for no elements. Not on Bool.
    Prod,
    /// Largest; NaN if any is. Needs an element. On Bool: any.
    Max,
    /// Smallest; NaN if any is. Needs an element. On Bool: all.
    Min,
    /// I64 position of the first largest (the first NaN counts as largest) in the row-major order of the reduced axes.
    ArgMax,
    /// I64 position of the first smallest (the first NaN counts as smallest).
    ArgMin,
}

impl Reduce {
    /// Every member.
    pub const ALL: [Reduce; 6] = [Reduce::Sum, Reduce::Prod, Reduce::Max, Reduce::Min, Reduce::ArgMax, Reduce::ArgMin];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Reduce::Sum => "sum",
            Reduce::Prod => "prod",
            Reduce::Max => "max",
            Reduce::Min => "min",
            Reduce::ArgMax => "argmax",
            Reduce::ArgMin => "argmin",
        }
    }

    /// The member with that name.
    pub fn from_name(name: &str) -> Option<Reduce> {
        Reduce::ALL.into_iter().find(|r| r.name() == name)
    }

    /// True for ArgMax and ArgMin, whose result is I64.
    pub const fn is_arg(self) -> bool {
        matches!(self, Reduce::ArgMax | Reduce::ArgMin)
    }
}

/// What a scatter does where it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ScatterMode {
    /// The last update in row-major order wins.
    Set,
    /// Adds, in row-major order.
    Add,
    /// Keeps the larger.
    Max,
    /// Keeps the smaller.
    Min,
    /// Multiplies, in row-major order. Not on Bool, nor is Add.
    Prod,
}

impl ScatterMode {
    /// Every member.
    pub const ALL: [ScatterMode; 5] = [ScatterMode::Set, ScatterMode::Add, ScatterMode::Max, ScatterMode::Min, ScatterMode::Prod];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            ScatterMode::Set => "set",
            ScatterMode::Add => "add",
            ScatterMode::Max => "max",
            ScatterMode::Min => "min",
            ScatterMode::Prod => "prod",
        }
    }

    /// What combines an element and an update; None for Set.
    pub const fn combines(self) -> Option<Binary> {
        match self {
            ScatterMode::Set => None,
            ScatterMode::Add => Some(Binary::Add),
            ScatterMode::Max => Some(Binary::Max),
            ScatterMode::Min => Some(Binary::Min),
            ScatterMode::Prod => Some(Binary::Mul),
        }
    }

    /// Whether there is such a scatter of truth values.
    pub const fn takes_bool(self) -> bool {
        !matches!(self, ScatterMode::Add | ScatterMode::Prod)
    }
}

/// `start..end` by `step` along every axis; `start <= end <= extent`, `step >= 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SliceSpec {
    /// First index of each axis.
    pub start: SmallVec<[usize; 4]>,
    /// One past the last index of each axis.
    pub end: SmallVec<[usize; 4]>,
    /// Distance between taken indices, at least 1.
    pub step: SmallVec<[usize; 4]>,
}

/// Elements to add before and after along every axis, and their value.
#[derive(Clone, Debug)]
pub struct PadSpec {
    /// Elements added in front.
    pub lo: SmallVec<[usize; 4]>,
    /// Elements added behind.
    pub hi: SmallVec<[usize; 4]>,
    /// What they hold, of the operand's dtype.
    pub value: Scalar,
}

impl PartialEq for PadSpec {
    fn eq(&self, o: &PadSpec) -> bool {
        self.lo == o.lo && self.hi == o.hi && self.value.same(o.value)
    }
}

/// An n-d convolution (cross-correlation, as everywhere in machine learning).
///
/// Input `[N, C, spatial..]`, kernel `[O, C/groups, window..]`, output `[N, O, out..]` with, per spatial axis,
/// `out = (((x-1)*lhs_dilation+1 + lo + hi) - ((w-1)*rhs_dilation+1)) / stride + 1`.
/// Output element `o` reads position `o*stride + k*rhs_dilation - lo` of the input spread by `lhs_dilation`
/// (zeros in between and outside).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Per spatial axis, at least 1.
    pub stride: SmallVec<[usize; 3]>,
    /// Zeros in front; negative crops.
    pub lo: SmallVec<[isize; 3]>,
    /// Zeros behind; negative crops.
    pub hi: SmallVec<[isize; 3]>,
    /// Spacing put between input elements (transposed convolution), at least 1.
    pub lhs_dilation: SmallVec<[usize; 3]>,
    /// Spacing between window elements, at least 1.
    pub rhs_dilation: SmallVec<[usize; 3]>,
    /// Channel groups: both C and O divide by it.
    pub groups: usize,
}

/// One instruction. Shapes of elementwise operands are equal (broadcasts are explicit); see `infer` for each rule.
#[derive(Clone, Debug)]
pub enum Op {
    /// A value from outside: the trace's input of that number.
    Input(u32),
    /// A 0-d number passed as data, never inspected: the trace's parameter of that number.
    Param(u32),
    /// A 0-d number that is part of the trace and may be folded.
    Const(Scalar),

    /// Elementwise.
    Unary(Unary),
    /// Elementwise.
    Binary(Binary),
    /// Elementwise, Bool result.
    Compare(Compare),
    /// `(mask, a, b)`: a where mask holds, else b.
    Select,
    /// To the instruction's dtype. A cast to the operand's own dtype is the identity through which no derivative flows.
    Cast,

    /// Over the given axes, which disappear.
    Reduce(Reduce, AxisList),

    /// Row-major order kept, to the instruction's shape.
    Reshape,
    /// Axis i of the result is axis `perm[i]` of the operand.
    Permute(AxisList),
    /// To the instruction's shape, aligned at the right.
    Broadcast,
    /// A strided part.
    Slice(Box<SliceSpec>),
    /// Surrounded by a constant.
    Pad(Box<PadSpec>),
    /// Reversed along the given axes.
    Flip(AxisList),

    /// Operands one after another along an axis.
    Concat(u8),
    /// The index along an axis, in the instruction's shape and dtype.
    Iota(u8),
    /// `(x [B.., N, R..], index [B.., K..]) -> [B.., K.., R..]` with the given number of batch axes B.
    /// An index outside `0..N` is clamped.
    Gather(u8),
    /// `(x [B.., N, R..], index [B.., K..], updates [B.., K.., R..])` -> x updated. An index outside `0..N` is dropped.
    Scatter(ScatterMode, u8),
    /// `(a [B.., M, K], b [B.., K, N]) -> [B.., M, N]`.
    Dot,
    /// See [`ConvSpec`].
    Conv(Box<ConvSpec>),
    /// `(key, offset)`, both 0-d I64 -> U32 bits: element i is word `i % 4` of Philox4x32-10 at counter `offset + i / 4`.
    Random,
    /// I64 positions that sort the last axis stably; NaN counts as largest. `true`: descending.
    ArgSort(bool),
    /// Running Sum, Prod, Max or Min along an axis; `reverse` runs from the end.
    Cumulative {
        /// How to combine.
        kind: Reduce,
        /// Along which axis.
        axis: u8,
        /// From the end.
        reverse: bool,
    },

    /// A sub-trace; its results are read by [`Op::Output`].
    Region(Arc<Region>),
    /// That output of the region which is the operand.
    Output(u32),
}

impl PartialEq for Op {
    fn eq(&self, other: &Op) -> bool {
        use Op::*;
        match (self, other) {
            (Input(a), Input(b)) | (Param(a), Param(b)) | (Output(a), Output(b)) => a == b,
            (Const(a), Const(b)) => a.same(*b),
            (Unary(a), Unary(b)) => a == b,
            (Binary(a), Binary(b)) => a == b,
            (Compare(a), Compare(b)) => a == b,
            (Reduce(a, x), Reduce(b, y)) => a == b && x == y,
            (Permute(x), Permute(y)) | (Flip(x), Flip(y)) => x == y,
            (Slice(x), Slice(y)) => x == y,
            (Pad(x), Pad(y)) => x == y,
            (Concat(x), Concat(y)) | (Iota(x), Iota(y)) | (Gather(x), Gather(y)) => x == y,
            (Scatter(a, x), Scatter(b, y)) => a == b && x == y,
            (Conv(x), Conv(y)) => x == y,
            (ArgSort(x), ArgSort(y)) => x == y,
            (Cumulative { kind: a, axis: b, reverse: c }, Cumulative { kind: d, axis: e, reverse: f }) => a == d && b == e && c == f,
            (Region(x), Region(y)) => Arc::ptr_eq(x, y) || x == y,
            (Select, Select) | (Cast, Cast) | (Reshape, Reshape) | (Broadcast, Broadcast) | (Dot, Dot) | (Random, Random) => true,
            _ => false,
        }
    }
}

impl Op {
    /// The name in the text form and in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::Param(_) => "param",
            Op::Const(_) => "const",
            Op::Unary(u) => u.name(),
            Op::Binary(b) => b.name(),
            Op::Compare(c) => c.name(),
            Op::Select => "select",
            Op::Cast => "cast",
            Op::Reduce(..) => "reduce",
            Op::Reshape => "reshape",
            Op::Permute(_) => "permute",
            Op::Broadcast => "broadcast",
            Op::Slice(_) => "slice",
            Op::Pad(_) => "pad",
            Op::Flip(_) => "flip",
            Op::Concat(_) => "concat",
            Op::Iota(_) => "iota",
            Op::Gather(_) => "gather",
            Op::Scatter(..) => "scatter",
            Op::Dot => "dot",
            Op::Conv(_) => "conv",
            Op::Random => "random",
            Op::ArgSort(_) => "argsort",
            Op::Cumulative { .. } => "cumulative",
            Op::Region(_) => "region",
            Op::Output(_) => "output",
        }
    }

    /// Unary, binary, compare, select, cast: one output element from the same element of each operand.
    pub fn is_elementwise(&self) -> bool {
        matches!(self, Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast)
    }

    /// The six view ops, which only say where elements lie.
    pub fn is_view(&self) -> bool {
        matches!(self, Op::Reshape | Op::Permute(_) | Op::Broadcast | Op::Slice(_) | Op::Pad(_) | Op::Flip(_))
    }
}
