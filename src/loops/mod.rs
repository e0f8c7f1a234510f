//! Loop IR: one value of it is one kernel.
//!
//! A [`Kernel`] is a nest of loop axes, some of which form the *row* (the axes it reduces or revisits), an arena of
//! scalar expressions, and an ordered list of [`Pass`]es. For every point of the outer axes the passes run in order;
//! a row pass visits the whole row, an outer pass runs once. View ops do not exist here: they became [`Index`] expressions.
//!
//! Rules (checked by [`verify`](verify::verify)):
//! 1. An expression's operands come before it in the arena; so do those of an index.
//! 2. `Reduced(p, k)` is reduction k of pass p and is used only in passes after p. `Scratch(s)` is used only in passes after
//!    the one that writes s; both are per outer point. Scratch is one value per point of the row.
//! 3. An outer pass, and every reduction result (but a score of [`Archetype::Attention`]), depends on no row axis. An expression that does is "row-level"; each pass
//!    evaluates from loads what it needs (nothing is kept between passes but reductions and scratch).
//! 4. Elements a load can touch lie inside its argument: wherever all bounds of its mask hold, the index is in range.
//! 5. Every argument element is written at most once by a kernel, except by scatter stores; an `Update` argument is read
//!    only at the index that the same point writes.
//! 6. F16 and BF16 expressions are computed in f32: only `Load`, `Cast` and stores round to the storage type.
//!
//! The archetype is a promise about the shape of the passes, so that an emitter can choose its template.

mod attention;
mod in_place;
pub mod interp;
pub mod legalize;
pub mod order;
pub mod packed;
#[cfg(test)]
pub(crate) mod samples;
pub mod schedule;
pub mod symbolic;
pub mod text;
pub mod verify;

pub use attention::Attention;

use crate::base::{DType, Scalar};
use crate::trace::{Binary, Compare, ConvSpec, Reduce, ScatterMode, Unary};
use smallvec::SmallVec;

macro_rules! id {
    ($($(#[$m:meta])* $t:ident;)*) => {$(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $t(pub u32);
        impl $t {
            /// The position in its arena.
            pub fn index(self) -> usize { self.0 as usize }
        }
    )*};
}
id! {
    /// An expression of a kernel.
    ExprId;
    /// An index expression of a kernel.
    IndexId;
    /// A kernel argument: a buffer.
    ArgId;
    /// A row scratch: one value per point of the row.
    ScratchId;
}

/// A kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Which template it fits.
    pub archetype: Archetype,
    /// All loop axes, outermost first, in the row-major order of the domain.
    pub axes: Vec<LoopAxis>,
    /// The buffers it touches.
    pub args: Vec<Arg>,
    /// The numbers passed as data.
    pub params: Vec<DType>,
    /// Scalar expressions, operands first.
    pub exprs: Vec<Expr>,
    /// Index expressions, operands first.
    pub indices: Vec<Index>,
    /// What runs for every outer point, in order.
    pub passes: Vec<Pass>,
    /// dtype of each row scratch.
    pub scratch: Vec<DType>,
}

/// A loop axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoopAxis {
    /// How many points.
    pub extent: usize,
    /// Part of the row (reduced or revisited), else outer (parallel).
    pub row: bool,
}

/// The template a kernel fits.
#[derive(Clone, Debug, PartialEq)]
pub enum Archetype {
    /// No row axes; one outer pass.
    Pointwise,
    /// Row axes are innermost in memory for most loads: vectorise along the row, fold lanes at its end.
    RowReduction,
    /// An outer axis is innermost in memory: vectorise along it, each lane its own row.
    ColumnReduction,
    /// Pass 0 is one `Dot` reduction over the single row axis; outer axes are `[batch.., M, N]`. Pass 1 is the epilogue, an
    /// outer pass over all outer axes. A factor that is not a plain `Load` is a prologue.
    Matmul,
    /// As `Matmul`, for a convolution: outer axes `[N, O, out..]`, row axes `[C/groups, window..]`; the factors are loads of
    /// arguments 0 (input) and 1 (kernel), contiguous, of the shapes given; without groups, the first two axes of either may be exchanged in memory.
    Conv {
        /// The convolution.
        spec: Box<ConvSpec>,
        /// Shape of argument 0.
        input: SmallVec<[usize; 6]>,
        /// Shape of argument 1.
        window: SmallVec<[usize; 6]>,
    },
    /// `softmax(q k) v` without the scores in memory. Outer axes `[batch.., queries, columns]`, row axes keys and depth, the last two. Pass 0 is one
    /// `Dot` over the depth alone, so `Reduced(0, 0)`, a score, is a value per key (and no pass but 0 knows of the depth). Pass 1 is the maximum
    /// of a logit, over the keys alone; pass 2 the sum of `exp(logit - shift)`, where the shift is that maximum, or 0 where it is -inf, and the
    /// `Dot` of these weights with values; pass 3 the epilogue, an outer pass. [`Kernel::attention`] names the parts.
    Attention,
    /// One outer pass with one store of that mode; points are visited in row-major order where the mode makes order matter.
    Scatter(ScatterMode),
    /// Pass 0 writes scratch 0 along the single row axis (last); scratch 1 (I64) becomes the positions that sort it stably, NaN
    /// counting as largest; pass 1 stores. `true`: descending.
    Sort(bool),
    /// Pass 0 writes scratch 0 along the single row axis; scratch 1 becomes its running combination; pass 1 stores.
    Cumulative {
        /// How to combine.
        kind: Reduce,
        /// From the end.
        reverse: bool,
    },
}

/// A buffer argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arg {
    /// Storage type of its elements.
    pub dtype: DType,
    /// Number of elements.
    pub numel: usize,
    /// How it is used.
    pub access: Access,
}

/// How an argument is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    Read,
    /// Only written, every element.
    Write,
    /// Already holds values; some elements are changed in place.
    Update,
}

/// A scalar expression with the dtype of its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it computes.
    pub kind: ExprKind,
    /// Of which type.
    pub dtype: DType,
}

/// What a scalar expression computes.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number.
    Const(Scalar),
    /// The kernel parameter of that number.
    Param(u32),
    /// An element of an argument where `mask` holds, else `fill`.
    Load {
        /// From which buffer.
        arg: ArgId,
        /// Element offset.
        index: IndexId,
        /// All must hold for the element to be read.
        mask: SmallVec<[Bound; 2]>,
        /// The value elsewhere.
        fill: Scalar,
    },
    /// An index expression as a number of the expression's (integer or float) dtype.
    Index(IndexId),
    /// Whether all bounds hold (Bool).
    InBounds(SmallVec<[Bound; 2]>),
    /// One operand.
    Unary(Unary, ExprId),
    /// Two operands of one dtype.
    Binary(Binary, ExprId, ExprId),
    /// Two operands of one dtype, Bool result.
    Compare(Compare, ExprId, ExprId),
    /// Mask, value where it holds, value elsewhere.
    Select(ExprId, ExprId, ExprId),
    /// To the expression's dtype.
    Cast(ExprId),
    /// Philox bits: key, offset (I64), element number (U32 result).
    Random(ExprId, ExprId, IndexId),
    /// Result of reduction `.1` of pass `.0`.
    Reduced(u32, u32),
    /// The row's scratch at this point.
    Scratch(ScratchId),
}

/// `lo <= index < hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// What is tested.
    pub index: IndexId,
    /// Smallest value that passes.
    pub lo: i64,
    /// Smallest value beyond.
    pub hi: i64,
}

/// An integer expression over the loop axes. Division and remainder are Euclidean by positive constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// The loop axis of that number.
    Axis(u8),
    /// A number.
    Const(i64),
    /// Sum.
    Add(IndexId, IndexId),
    /// Multiple.
    Mul(IndexId, i64),
    /// Quotient.
    Div(IndexId, i64),
    /// Remainder.
    Mod(IndexId, i64),
    /// A computed I64 or I32 value (indirect access), clamped to `0..n`; n = 0: as it is (only in a scatter store's `valid`).
    Value(ExprId, i64),
}

/// One visit of the row (if `row`) or of the outer point alone.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Pass {
    /// Whether it runs over the row axes too.
    pub row: bool,
    /// Values folded over the row; results are read as `Reduced`.
    pub reduces: Vec<ReduceSink>,
    /// Values kept for later passes.
    pub scratch: Vec<(ScratchId, ExprId)>,
    /// Values written to buffers.
    pub stores: Vec<Store>,
}

/// A fold over the row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReduceSink {
    /// How elements combine; for arg kinds the result is the I64 position in the row.
    pub kind: ReduceKind,
    /// dtype of the result (accumulation is in its [`DType::accumulator`]).
    pub dtype: DType,
}

/// What is folded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReduceKind {
    /// One value per point of the row.
    Fold(Reduce, ExprId),
    /// The sum of products of two values.
    Dot(ExprId, ExprId),
}

/// A write to a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Store {
    /// To which buffer.
    pub arg: ArgId,
    /// Element offset.
    pub index: IndexId,
    /// What is written; its dtype is the argument's.
    pub value: ExprId,
    /// For scatter kernels: where this does not hold, the write is dropped.
    pub valid: Option<Bound>,
}

/// An index that is `base + sum(stride[k] * axis[k])`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affine {
    /// Offset.
    pub base: i64,
    /// One per loop axis.
    pub strides: SmallVec<[i64; 6]>,
}

impl Kernel {
    /// The index as an affine function of the loop axes, if it is one.
    pub fn affine(&self, i: IndexId) -> Option<Affine> {
        let zero = || Affine { base: 0, strides: SmallVec::from_elem(0, self.axes.len()) };
        // Shared parts are walked once.
        let mut known: std::collections::HashMap<IndexId, Affine> = std::collections::HashMap::new();
        for n in self.order([order::Node::Index(i)]).ok()? {
            let order::Node::Index(n) = n else { return None };
            let a = match self.indices[n.index()] {
                Index::Axis(k) => {
                    let mut a = zero();
                    a.strides[k as usize] = 1;
                    a
                }
                Index::Const(c) => Affine { base: c, ..zero() },
                Index::Add(x, y) => {
                    let (mut a, b) = (known[&x].clone(), &known[&y]);
                    a.base += b.base;
                    a.strides.iter_mut().zip(&b.strides).for_each(|(s, t)| *s += t);
                    a
                }
                Index::Mul(x, c) => {
                    let mut a = known[&x].clone();
                    a.base *= c;
                    a.strides.iter_mut().for_each(|s| *s *= c);
                    a
                }
                Index::Div(..) | Index::Mod(..) | Index::Value(..) => return None,
            };
            known.insert(n, a);
        }
        known.remove(&i)
    }

    /// Points of the outer axes.
    pub fn outer_len(&self) -> usize {
        self.axes.iter().filter(|a| !a.row).map(|a| a.extent).product()
    }

    /// Points of the row axes.
    pub fn row_len(&self) -> usize {
        self.axes.iter().filter(|a| a.row).map(|a| a.extent).product()
    }
}
