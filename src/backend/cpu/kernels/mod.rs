//! Tile kernels: the instructions of a tile program.
//!
//! A kernel reads up to three operands of `n` elements each (or one element, where [`Scalars`] says so) and writes `n` elements. It is one
//! tight loop, compiled ahead of time for AVX-512, AVX2 with FMA, and plain code for every other processor; [`isa`] is chosen once.
//! Kernels know nothing of shapes, strides or threads: the caller cuts its work into tiles (128 to 256 elements is best) that stay in L1.
//!
//! - [`lookup`] gives the elementwise kernels. They run on F32, F64, I32, I64, U32, U8 and Bool (a byte 0 or 1); F16 and BF16 are storage
//!   types, which only `Cast` and `Select` know.
//! - [`reduce`] and [`arg`] have the pieces of reductions, [`moves`] copies, gathers and fills, [`philox`] random bits.
//!
//! Invariants: no kernel touches memory beyond its `n` elements; `dst` may be an operand exactly (a tile of the same element size), never
//! overlap one in part; pointers are aligned to their elements. A result depends on the operands only, never on `n` or on an element's position
//! (fused multiply-adds and the functions built of them may differ in the last place between instruction sets).
//!
//! f32 functions are within 2 ulp everywhere (`tests`), with C's special cases; f64 functions are those of the platform's library.

pub mod arg;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod cast;
mod double;
mod drive;
mod exp_log;
mod general;
pub mod index;
mod integer;
pub mod matvec;
pub mod moves;
pub mod philox;
mod power;
pub mod reduce;
mod simd;
mod single;
mod supers;
mod trig;
pub mod window;

#[cfg(test)]
mod tests;

use crate::base::DType;
use crate::trace::elementwise::{Binary, Compare, Unary};
pub use reduce::{ACC_LANES, Reduction};
use std::sync::OnceLock;

/// `n` elements of `dst` from up to three operands; unused ones are ignored (null is fine).
///
/// # Safety
/// `dst` is valid for writing `n` elements; each operand the op has is valid for reading `n` elements, or one where [`Scalars`] says so;
/// all are aligned to their elements. `dst` equals an operand of the same element size exactly, or overlaps none.
pub type TileFn = unsafe fn(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize);

/// The instruction set of the kernels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// What the compilation target has.
    Plain,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL besides.
    Avx512,
}

/// The best instruction set of this processor, or the lower one that the environment variable `LAZULI_ISA` (`plain`, `avx2`, `avx512`) names.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let best = detect();
        match std::env::var("LAZULI_ISA").as_deref() {
            Ok("plain") => Isa::Plain,
            Ok("avx2") if best == Isa::Avx512 => Isa::Avx2,
            _ => best,
        }
    })
}

/// What the processor has.
fn detect() -> Isa {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        return if avx512 { Isa::Avx512 } else { Isa::Avx2 };
    }
    Isa::Plain
}

/// A multiply-add: fused, but for plain code on targets without the instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MulAdd {
    /// a * b + c
    Add,
    /// a * b - c
    Sub,
    /// c - a * b
    NegAdd,
}

/// What the operand of a function is computed from on the way, so that it needs no tile of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Inner {
    /// -a
    Neg,
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a * b
    Mul,
    /// -(a * b)
    NegMul,
    /// a * b + c, as [`MulAdd`]
    MulAdd,
}

/// The first of two steps: of `a` and `b`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum First {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a * b
    Mul,
}

/// The second of two steps: of the first's result x and `c`, each rounded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Then {
    /// x + c
    Add,
    /// x - c
    Sub,
    /// c - x
    From,
    /// x * c
    Mul,
    /// x / c
    Div,
}

/// What an elementwise kernel computes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TileOp {
    /// Of `a`.
    Unary(Unary, DType),
    /// Of `a` and `b`.
    Binary(Binary, DType),
    /// Of `a` and `b`, whose dtype is given; writes Bool.
    Compare(Compare, DType),
    /// `b` where `a`, which is Bool, is true, else `c`.
    Select(DType),
    /// `a`, converted.
    Cast {
        /// The dtype of `a`.
        from: DType,
        /// The dtype of `dst`.
        to: DType,
    },
    /// Of `a`, `b` and `c`; F32 and F64.
    MulAdd(MulAdd, DType),
    /// The function of a value computed of `a`, `b` and `c`; F32, and the functions of [`fused_functions`].
    Of(Unary, Inner),
    /// Two steps on `a`, `b` and `c`; F32. A product comes first only before a product or quotient: the others are multiply-adds.
    Steps(First, Then),
    /// Compares a step on `a` and `b` with `c`; F32, writes Bool.
    CompareOf(Compare, First),
    /// `c` where `a` compares so with `b`, else `a`; with true it is `a` there, else `c`. F32.
    PickBy(Compare, bool),
    /// As `PickBy`, of the magnitude of `a`; Le and Gt only. F32.
    PickByMagnitude(Compare, bool),
    /// `a` limited by `b`, then by `c`: the limit where it compares so with it. F32; a test for "below" and one for "above", both strict or
    /// neither.
    Limit(Compare, Compare),
    /// `a` where it compares so with `c`, else `a * b`. F32.
    PickOrScaled(Compare),
    /// `-a` where `b` is less than `c`, else `a`. F32.
    NegateBelow,
    /// -(a * b); F32.
    NegMul,
    /// `a` limited by `-b` and `b`, and `c` for NaN. F32.
    Finite,
    /// `a` where it is greater than `b` or NaN, else `b`. F32.
    Greater,
    /// The sign of `a`; 0 for NaN. F32.
    SignOrZero,
    /// `a + b` where `a` is negative, else `a`; I64 and I32.
    Wrap(DType),
    /// `a` plus one where `b`, which is Bool, is true; F32.
    AddFlag,
    /// As `Accumulate` with Sum, of the squares of `a` minus the one element `b` (fused as `MulAdd`); F32.
    AccumulateSquares,
    /// As `Accumulate` with Sum, of the step on `a` and `b` (not a product), or of its negation where .1 is true; F32.
    AccumulateOf(First, bool),
    /// As `Accumulate` with Sum, of -a; F32.
    AccumulateNeg,
    /// Combines `n` elements of `a` into the [`ACC_LANES`] lanes at `dst`: element i into lane i % ACC_LANES. Lanes start as
    /// [`identity`](reduce::identity); a row may come in several tiles whose lengths, but for the last, are multiples of ACC_LANES.
    /// Compute dtypes; Bool has Max (any) and Min (all). The same on every instruction set.
    Accumulate(Reduction, DType),
    /// As `Accumulate` with Sum, of the products of `a` and `b` (fused as `MulAdd`); F32 and F64.
    AccumulateMulAdd(DType),
    /// One element at `dst` from `n >= 1` of `a` (usually an accumulator) by a fixed tree. `dst` may be `a`.
    Fold(Reduction, DType),
}

/// Which operands are one element instead of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scalars {
    /// `a` is.
    pub a: bool,
    /// `b` is.
    pub b: bool,
    /// `c` is.
    pub c: bool,
}

impl Scalars {
    /// Every operand is a tile.
    pub const NONE: Scalars = Scalars { a: false, b: false, c: false };
    /// Only `a` is a scalar.
    pub const A: Scalars = Scalars { a: true, b: false, c: false };
    /// Only `b` is a scalar.
    pub const B: Scalars = Scalars { a: false, b: true, c: false };
    /// Only `c` is a scalar.
    pub const C: Scalars = Scalars { a: false, b: false, c: true };
    /// `b` and `c` are scalars.
    pub const BC: Scalars = Scalars { a: false, b: true, c: true };
}

/// The kernel of `op`, for [`isa`]; None where there is none. With [`Scalars::NONE`] there is one wherever `accepts` of the op says so
/// (compute dtypes), for comparisons of every compute dtype, and for `Select` and `Cast` of all dtypes. Besides:
///
/// | op | dtypes | scalars |
/// | --- | --- | --- |
/// | Add Sub Mul Div Max Min Pow | F32, F64 | `a` or `b` |
/// | comparisons | all | `b` |
/// | Select | F32 | `b`, `c`, both |
/// | MulAdd | F32 | `b`, `c`, both (a scalar `a` with a tile `b`: swap them) |
/// | Of | F32 | `b`; `a` too before Sub; as MulAdd before that |
/// | Steps, CompareOf, PickBy, PickByMagnitude, Limit, PickOrScaled, NegateBelow, Finite | F32 | `b`, `c`, both |
/// | NegMul, Greater | F32 | `b` |
/// | Wrap | I64, I32 | `b` |
pub fn lookup(op: TileOp, scalars: Scalars) -> Option<TileFn> {
    lookup_for(isa(), op, scalars)
}

/// The functions that [`TileOp::Of`] knows.
pub fn fused_functions() -> &'static [Unary] {
    &[Unary::Exp, Unary::Tanh, Unary::Recip]
}

fn takes_third(op: TileOp) -> bool {
    use TileOp::*;
    matches!(
        op,
        Select(_)
            | MulAdd(..)
            | Of(_, Inner::MulAdd)
            | Steps(..)
            | CompareOf(..)
            | PickBy(..)
            | PickByMagnitude(..)
            | Limit(..)
            | PickOrScaled(_)
            | NegateBelow
            | Finite
    )
}

/// [`lookup`] for a chosen instruction set, which the processor must have.
fn lookup_for(isa: Isa, op: TileOp, scalars: Scalars) -> Option<TileFn> {
    let only_a = scalars == Scalars::NONE;
    match op {
        TileOp::Unary(op, DType::F32) if only_a => single::unary(isa, op),
        TileOp::Unary(op, dtype) if only_a => general::unary(isa, op, dtype),
        TileOp::Cast { from, to } if only_a => Some(cast::cast(isa, from, to)),
        TileOp::Unary(..) | TileOp::Cast { .. } => None,
        _ if scalars.c && !takes_third(op) => None,
        TileOp::Binary(op, DType::F32) => single::binary(isa, op, scalars),
        TileOp::Binary(op, dtype) => general::binary(isa, op, dtype, scalars),
        TileOp::Compare(op, DType::F32) => single::compare(isa, op, scalars),
        TileOp::Compare(op, dtype) => general::compare(isa, op, dtype, scalars),
        TileOp::Select(DType::F32) => single::select(isa, scalars),
        TileOp::Select(dtype) => general::select(isa, dtype, scalars),
        TileOp::MulAdd(op, DType::F32) => single::mul_add(isa, op, scalars),
        TileOp::MulAdd(op, DType::F64) => general::mul_add_f64(isa, op, scalars),
        TileOp::MulAdd(..) => None,
        TileOp::Of(op, inner) => supers::of(isa, op, inner, scalars),
        TileOp::Steps(first, then) => supers::steps(isa, first, then, scalars),
        TileOp::CompareOf(op, first) => supers::compare_of(isa, op, first, scalars),
        TileOp::PickBy(op, keep) => supers::pick_by(isa, op, keep, scalars),
        TileOp::PickByMagnitude(op, keep) => supers::pick_by_magnitude(isa, op, keep, scalars),
        TileOp::Limit(first, then) => supers::limit(isa, first, then, scalars),
        TileOp::PickOrScaled(op) => supers::pick_or_scaled(isa, op, scalars),
        TileOp::NegateBelow => supers::negate_below(isa, scalars),
        TileOp::NegMul => supers::neg_mul(isa, scalars),
        TileOp::Greater => supers::greater(isa, scalars),
        TileOp::Finite => supers::finite(isa, scalars),
        TileOp::SignOrZero if only_a => Some(supers::sign_or_zero(isa)),
        TileOp::Wrap(dtype) => general::wrap(isa, dtype, scalars),
        TileOp::AddFlag if only_a => Some(supers::add_flag(isa)),
        TileOp::AccumulateSquares if scalars == Scalars::B => Some(reduce::accumulate_squares_for(isa)),
        TileOp::AccumulateOf(first, negated) if only_a => reduce::accumulate_of_for(isa, first, negated),
        TileOp::AccumulateNeg if only_a => Some(reduce::accumulate_neg_for(isa)),
        TileOp::SignOrZero | TileOp::AddFlag | TileOp::AccumulateSquares | TileOp::AccumulateOf(..) | TileOp::AccumulateNeg => None,
        TileOp::Accumulate(reduction, dtype) if only_a => reduce::accumulate_for(isa, reduction, dtype),
        TileOp::AccumulateMulAdd(dtype) if only_a => reduce::accumulate_mul_add_for(isa, dtype),
        TileOp::Fold(reduction, dtype) if only_a => reduce::fold_for(isa, reduction, dtype),
        TileOp::Accumulate(..) | TileOp::AccumulateMulAdd(_) | TileOp::Fold(..) => None,
    }
}
