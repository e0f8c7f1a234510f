//! The pieces of reductions: lanes that accumulate, the tree that folds them, and the search for the index of an extreme.
//!
//! A row is reduced by accumulating tile after tile into [`ACC_LANES`] lanes that start as [`identity`], then folding these. Lane assignment
//! and tree depend on positions only: the same on every instruction set and for every number of threads.

use super::drive::{Map, NONE, ONE, TILE, give, pick, take};
use super::general::{max_f64, min_f64};
use super::simd::{Plain, Simd};
use super::single;
use super::{First, Isa, TileFn};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use crate::base::{DType, Scalar};

/// Lanes of an accumulator, of every dtype.
pub const ACC_LANES: usize = 64;

/// Lanes that [`accumulate`] keeps in registers.
const LANES_AT_ONCE: usize = 16;

/// How elements combine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduction {
    /// Integers wrap. Not for Bool.
    Sum,
    /// Integers wrap. Not for Bool.
    Prod,
    /// NaN if any element is. On Bool: any.
    Max,
    /// NaN if any element is. On Bool: all.
    Min,
}

/// The value that changes nothing: 0, 1, the least or the greatest of `dtype`.
pub fn identity(reduction: Reduction, dtype: DType) -> Scalar {
    let extreme = |least: bool| match dtype {
        DType::Bool => Scalar::Bool(!least),
        DType::I32 => Scalar::Int(if least { i32::MIN as i64 } else { i32::MAX as i64 }),
        DType::I64 => Scalar::Int(if least { i64::MIN } else { i64::MAX }),
        DType::U32 => Scalar::Int(if least { 0 } else { u32::MAX as i64 }),
        DType::U8 => Scalar::Int(if least { 0 } else { u8::MAX as i64 }),
        _ => Scalar::Float(if least { f64::NEG_INFINITY } else { f64::INFINITY }),
    };
    match reduction {
        Reduction::Sum if dtype.is_float() => Scalar::Float(0.0),
        Reduction::Prod if dtype.is_float() => Scalar::Float(1.0),
        Reduction::Sum => Scalar::Int(0),
        Reduction::Prod => Scalar::Int(1),
        Reduction::Max => extreme(true),
        Reduction::Min => extreme(false),
    }
}

/// Combines an accumulated element with one or two new ones.
pub(super) trait Step {
    type T: Copy + Default;
    fn call(acc: Self::T, x: Self::T, y: Self::T) -> Self::T;
}

/// A [`Map`] of (accumulated, x, y) as a step of one element.
struct OneLane<K>(std::marker::PhantomData<K>);
impl<K: Map> Step for OneLane<K> {
    type T = f32;
    #[inline(always)]
    fn call(acc: f32, x: f32, y: f32) -> f32 {
        K::call(Plain, acc, x, y)
    }
}

#[inline(always)]
unsafe fn accumulate<K: Step, const B: u8>(dst: *mut u8, a: *const u8, b: *const u8, n: usize) {
    let (dst, a, b) = (dst.cast::<K::T>(), a.cast::<K::T>(), b.cast::<K::T>());
    // SAFETY: such an operand is one element.
    let one = if B == ONE { unsafe { *b } } else { K::T::default() };
    let whole = n - n % ACC_LANES;
    // Some lanes at a time, which stay in registers.
    for lane in (0..ACC_LANES).step_by(LANES_AT_ONCE) {
        let (mut acc, mut x, mut y) = ([K::T::default(); LANES_AT_ONCE], [K::T::default(); LANES_AT_ONCE], [one; LANES_AT_ONCE]);
        // SAFETY: dst has ACC_LANES elements; the operands have them at every multiple below `whole`.
        unsafe {
            take(&mut acc, dst.add(lane), LANES_AT_ONCE);
            for i in (lane..whole).step_by(ACC_LANES) {
                take(&mut x, a.add(i), LANES_AT_ONCE);
                if B == TILE {
                    take(&mut y, b.add(i), LANES_AT_ONCE);
                }
                for j in 0..LANES_AT_ONCE {
                    acc[j] = K::call(acc[j], x[j], y[j]);
                }
            }
            give(dst.add(lane), &acc, LANES_AT_ONCE);
        }
    }
    for j in 0..n - whole {
        // SAFETY: so many elements are left, fewer than lanes.
        unsafe {
            let y = if B == TILE { *b.add(whole + j) } else { one };
            *dst.add(j) = K::call(*dst.add(j), *a.add(whole + j), y);
        }
    }
}

/// [`accumulate`] of f32 with the lanes in `REGS` registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn accumulate_f32<S: Simd, K: Map, const REGS: usize, const B: u8>(s: S, dst: *mut u8, a: *const u8, b: *const u8, n: usize) {
    let (dst, a, b) = (dst.cast::<f32>(), a.cast::<f32>(), b.cast::<f32>());
    // SAFETY: such an operand is one element.
    let one = s.splat(if B == ONE { unsafe { *b } } else { 0.0 });
    let mut acc = [s.splat(0.0); REGS];
    for (j, acc) in acc.iter_mut().enumerate() {
        // SAFETY: dst has ACC_LANES = REGS * LANES elements.
        *acc = unsafe { s.load(dst.add(j * S::LANES)) };
    }
    let whole = n - n % ACC_LANES;
    let mut i = 0;
    while i < whole {
        for (j, acc) in acc.iter_mut().enumerate() {
            // SAFETY: i + (j + 1) * LANES <= whole <= n.
            unsafe {
                let x = s.load(a.add(i + j * S::LANES));
                let y = if B == TILE { s.load(b.add(i + j * S::LANES)) } else { one };
                *acc = K::call(s, *acc, x, y);
            }
        }
        i += ACC_LANES;
    }
    for (j, acc) in acc.iter().enumerate() {
        // SAFETY: as for loading.
        unsafe { s.store(dst.add(j * S::LANES), *acc) };
    }
    let mut lane = 0;
    while i < n {
        let m = S::LANES.min(n - i);
        // SAFETY: m elements are left, as many lanes from `lane` on exist; partial access only touches those.
        unsafe {
            if m == S::LANES {
                let x = s.load(a.add(i));
                let y = if B == TILE { s.load(b.add(i)) } else { one };
                s.store(dst.add(lane), K::call(s, s.load(dst.add(lane)), x, y));
            } else {
                let x = s.load_first(a.add(i), m);
                let y = if B == TILE { s.load_first(b.add(i), m) } else { one };
                s.store_first(dst.add(lane), m, K::call(s, s.load_first(dst.add(lane), m), x, y));
            }
        }
        i += m;
        lane += m;
    }
}

pick! {
    pick_f32 [K: Map] [B: u8] (dst: *mut u8, a: *const u8, b: *const u8, _c: *const u8, n: usize),
    accumulate::<OneLane<K>, B>(dst, a, b, n),
    accumulate_f32::<Avx2, K, 8, B>(Avx2::new(), dst, a, b, n),
    accumulate_f32::<Avx512, K, 4, B>(Avx512::new(), dst, a, b, n)
}

/// Adds `rows` rows of `n` elements, the first at `a` and `stride` bytes apart, to the `n` elements of `dst`, first row first.
///
/// # Safety
/// `dst` is valid for `n` elements, `a` for `n` at each row; all are aligned to their elements; none overlaps `dst`.
pub type RowsFn = unsafe fn(dst: *mut u8, a: *const u8, stride: isize, rows: usize, n: usize);

/// Rows taken at once: enough to pay for the accumulators' way to memory and back, few enough that rows which lie a power of two apart
/// stay in the L1 together.
const AT_ONCE: usize = 4;
/// Elements of each row in flight.
const ROW_CHUNK: usize = 32;

#[inline(always)]
unsafe fn add_rows<K: Step>(dst: *mut u8, a: *const u8, stride: isize, rows: usize, n: usize) {
    let dst = dst.cast::<K::T>();
    let mut row = 0;
    while row < rows {
        let group = if row + AT_ONCE <= rows { AT_ONCE } else { 1 };
        let at = |r: usize, i: usize| a.wrapping_offset((row + r) as isize * stride).cast::<K::T>().wrapping_add(i);
        let mut i = 0;
        while i < n {
            let m = ROW_CHUNK.min(n - i);
            let (mut acc, mut x) = ([K::T::default(); ROW_CHUNK], [K::T::default(); ROW_CHUNK]);
            // SAFETY: dst and each row have m elements left.
            unsafe {
                take(&mut acc, dst.add(i), m);
                if group == AT_ONCE {
                    for r in 0..AT_ONCE {
                        take(&mut x, at(r, i), m);
                        for j in 0..ROW_CHUNK {
                            acc[j] = K::call(acc[j], x[j], x[j]);
                        }
                    }
                } else {
                    take(&mut x, at(0, i), m);
                    for j in 0..ROW_CHUNK {
                        acc[j] = K::call(acc[j], x[j], x[j]);
                    }
                }
                give(dst.add(i), &acc, m);
            }
            i += ROW_CHUNK;
        }
        row += group;
    }
}

/// [`add_rows`] of f32 in registers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn add_rows_f32<S: Simd, K: Map>(s: S, dst: *mut u8, a: *const u8, stride: isize, rows: usize, n: usize) {
    const REGS: usize = 4;
    let whole = n - n % (REGS * S::LANES);
    let mut row = 0;
    while row < rows {
        let group = if row + AT_ONCE <= rows { AT_ONCE } else { 1 };
        let first = a.wrapping_offset(row as isize * stride);
        let at = |r: usize, i: usize| first.wrapping_offset(r as isize * stride).cast::<f32>().wrapping_add(i);
        let to = dst.cast::<f32>();
        let mut i = 0;
        while i < whole {
            let mut acc = [s.splat(0.0); REGS];
            // SAFETY: dst and each row have REGS * LANES elements left.
            unsafe {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = s.load(to.add(i + j * S::LANES));
                }
                if group == AT_ONCE {
                    for r in 0..AT_ONCE {
                        for (j, acc) in acc.iter_mut().enumerate() {
                            let x = s.load(at(r, i + j * S::LANES));
                            *acc = K::call(s, *acc, x, x);
                        }
                    }
                } else {
                    for (j, acc) in acc.iter_mut().enumerate() {
                        let x = s.load(at(0, i + j * S::LANES));
                        *acc = K::call(s, *acc, x, x);
                    }
                }
                for (j, acc) in acc.iter().enumerate() {
                    s.store(to.add(i + j * S::LANES), *acc);
                }
            }
            i += REGS * S::LANES;
        }
        row += group;
    }
    if whole < n {
        // SAFETY: the rest of every row.
        unsafe { add_rows::<OneLane<K>>(dst.add(whole * 4), a.add(whole * 4), stride, rows, n - whole) };
    }
}

pick! {
    pick_rows_f32 [K: Map] [] (dst: *mut u8, a: *const u8, stride: isize, rows: usize, n: usize),
    add_rows::<OneLane<K>>(dst, a, stride, rows, n),
    add_rows_f32::<Avx2, K>(Avx2::new(), dst, a, stride, rows, n),
    add_rows_f32::<Avx512, K>(Avx512::new(), dst, a, stride, rows, n)
}

pick! {
    pick_rows [K: Step] [] (dst: *mut u8, a: *const u8, stride: isize, rows: usize, n: usize),
    add_rows::<K>(dst, a, stride, rows, n),
    add_rows::<K>(dst, a, stride, rows, n),
    add_rows::<K>(dst, a, stride, rows, n)
}

pick! {
    pick_wide [K: Step] [B: u8] (dst: *mut u8, a: *const u8, b: *const u8, _c: *const u8, n: usize),
    accumulate::<K, B>(dst, a, b, n),
    accumulate::<K, B>(dst, a, b, n),
    accumulate::<K, B>(dst, a, b, n)
}

/// AVX-512 would gain these little.
fn pick_general<K: Step, const B: u8>(isa: Isa) -> TileFn {
    pick_wide::<K, B>(if isa == Isa::Avx512 { Isa::Avx2 } else { isa })
}

pick! {
    pick_fold [K: Step] [] (dst: *mut u8, a: *const u8, _b: *const u8, _c: *const u8, n: usize),
    fold::<K>(dst, a, n),
    fold::<K>(dst, a, n),
    fold::<K>(dst, a, n)
}

/// Combines each of the first `M` lanes with the one `M` further.
#[inline(always)]
fn halve<K: Step, const M: usize>(lanes: &mut [K::T; ACC_LANES]) {
    for i in 0..M {
        lanes[i] = K::call(lanes[i], lanes[i + M], lanes[i + M]);
    }
}

/// The first ACC_LANES elements, each with those that follow at that distance; then lane i with lane i + 32, i + 16, ... as far as they exist.
#[inline(always)]
unsafe fn fold<K: Step>(dst: *mut u8, a: *const u8, n: usize) {
    let mut lanes = [K::T::default(); ACC_LANES];
    let first = n.min(ACC_LANES);
    // SAFETY: a has n elements.
    unsafe {
        take(&mut lanes, a.cast(), first);
        if n > first {
            accumulate::<K, NONE>(lanes.as_mut_ptr().cast(), a.cast::<K::T>().add(first).cast(), a, n - first);
        }
    }
    if first == ACC_LANES {
        // The usual case, in whole vectors.
        halve::<K, 32>(&mut lanes);
        halve::<K, 16>(&mut lanes);
        halve::<K, 8>(&mut lanes);
        halve::<K, 4>(&mut lanes);
        halve::<K, 2>(&mut lanes);
        halve::<K, 1>(&mut lanes);
    } else {
        let mut m = ACC_LANES / 2;
        while m > 0 {
            for i in 0..m.min(first.saturating_sub(m)) {
                lanes[i] = K::call(lanes[i], lanes[i + m], lanes[i + m]);
            }
            m /= 2;
        }
    }
    // SAFETY: dst has one element.
    unsafe { *dst.cast::<K::T>() = lanes[0] };
}

macro_rules! step {
    ($t:ty, |$acc:ident, $x:ident, $y:pat_param| $e:expr) => {
        struct K;
        impl Step for K {
            type T = $t;
            #[inline(always)]
            fn call($acc: $t, $x: $t, $y: $t) -> $t {
                $e
            }
        }
    };
}

macro_rules! map_step {
    (|$s:ident, $acc:ident, $x:ident, $y:pat_param| $e:expr) => {
        struct K;
        impl Map for K {
            #[inline(always)]
            fn call<S: Simd>($s: S, $acc: S::F, $x: S::F, $y: S::F) -> S::F {
                $e
            }
        }
    };
}

/// What becomes of a reduction's step: a kernel.
trait Finish {
    type Out;
    fn single<K: Map>(isa: Isa) -> Self::Out;
    fn general<K: Step>(isa: Isa) -> Self::Out;
}

struct Accumulate;
impl Finish for Accumulate {
    type Out = TileFn;
    fn single<K: Map>(isa: Isa) -> TileFn {
        pick_f32::<K, NONE>(isa)
    }
    fn general<K: Step>(isa: Isa) -> TileFn {
        pick_general::<K, NONE>(isa)
    }
}

struct Fold;
impl Finish for Fold {
    type Out = TileFn;
    fn single<K: Map>(isa: Isa) -> TileFn {
        pick_fold::<OneLane<K>>(isa)
    }
    fn general<K: Step>(isa: Isa) -> TileFn {
        pick_fold::<K>(isa)
    }
}

struct Rows;
impl Finish for Rows {
    type Out = RowsFn;
    fn single<K: Map>(isa: Isa) -> RowsFn {
        pick_rows_f32::<K>(isa)
    }
    fn general<K: Step>(isa: Isa) -> RowsFn {
        pick_rows::<K>(isa)
    }
}

fn finish<F: Finish>(isa: Isa, reduction: Reduction, dtype: DType) -> Option<F::Out> {
    macro_rules! single {
        (|$s:ident, $acc:ident, $x:ident| $e:expr) => {{
            map_step!(|$s, $acc, $x, _| $e);
            F::single::<K>(isa)
        }};
    }
    macro_rules! general {
        ($t:ty, |$acc:ident, $x:ident| $e:expr) => {{
            step!($t, |$acc, $x, _| $e);
            F::general::<K>(isa)
        }};
    }
    macro_rules! integer {
        ($t:ty) => {
            match reduction {
                Reduction::Sum => general!($t, |a, x| a.wrapping_add(x)),
                Reduction::Prod => general!($t, |a, x| a.wrapping_mul(x)),
                Reduction::Max => general!($t, |a, x| a.max(x)),
                Reduction::Min => general!($t, |a, x| a.min(x)),
            }
        };
    }
    Some(match (dtype, reduction) {
        (DType::F32, Reduction::Sum) => single!(|s, a, x| s.add(a, x)),
        (DType::F32, Reduction::Prod) => single!(|s, a, x| s.mul(a, x)),
        (DType::F32, Reduction::Max) => single!(|s, a, x| single::max(s, a, x)),
        (DType::F32, Reduction::Min) => single!(|s, a, x| single::min(s, a, x)),
        (DType::F64, Reduction::Sum) => general!(f64, |a, x| a + x),
        (DType::F64, Reduction::Prod) => general!(f64, |a, x| a * x),
        (DType::F64, Reduction::Max) => general!(f64, |a, x| max_f64(a, x)),
        (DType::F64, Reduction::Min) => general!(f64, |a, x| min_f64(a, x)),
        (DType::I32, _) => integer!(i32),
        (DType::I64, _) => integer!(i64),
        (DType::U32, _) => integer!(u32),
        (DType::U8, _) => integer!(u8),
        (DType::Bool, Reduction::Max) => general!(u8, |a, x| a | x),
        (DType::Bool, Reduction::Min) => general!(u8, |a, x| a & x),
        (DType::Bool | DType::F16 | DType::BF16, _) => return None,
    })
}

/// Reduces whole rows: the elements at `dst`, `step` bytes apart, become those of `rows` rows of `n` elements, the first at `a` and `stride`
/// bytes apart. `identity` holds the [`identity`] as an element. The same tree as accumulating tile by tile and folding then.
///
/// # Safety
/// The rows are valid for reading, the results for writing; all are aligned to their elements.
pub type WholeFn = unsafe fn(dst: *mut u8, step: usize, a: *const u8, stride: isize, rows: usize, n: usize, identity: u64);

/// Calls `row` with lanes that hold the identity and each row, and folds them.
#[inline(always)]
unsafe fn each_row<K: Step>(
    (dst, step): (*mut u8, usize),
    (a, stride): (*const u8, isize),
    rows: usize,
    identity: u64,
    row: impl Fn(*mut u8, *const u8),
) {
    // SAFETY: as promised; an element is no larger than 8 bytes.
    unsafe {
        let start = (&raw const identity).cast::<K::T>().read();
        for r in 0..rows {
            let mut lanes = [start; ACC_LANES];
            row(lanes.as_mut_ptr().cast(), a.offset(r as isize * stride));
            fold::<K>(dst.add(r * step), lanes.as_ptr().cast(), ACC_LANES);
        }
    }
}

pick! {
    pick_whole_f32 [K: Map] [] (dst: *mut u8, step: usize, a: *const u8, stride: isize, rows: usize, n: usize, identity: u64),
    each_row::<OneLane<K>>((dst, step), (a, stride), rows, identity, |to, row| accumulate::<OneLane<K>, NONE>(to, row, row, n)),
    each_row::<OneLane<K>>((dst, step), (a, stride), rows, identity, |to, row| accumulate_f32::<Avx2, K, 8, NONE>(Avx2::new(), to, row, row, n)),
    each_row::<OneLane<K>>((dst, step), (a, stride), rows, identity, |to, row| accumulate_f32::<Avx512, K, 4, NONE>(Avx512::new(), to, row, row, n))
}

pick! {
    pick_whole [K: Step] [] (dst: *mut u8, step: usize, a: *const u8, stride: isize, rows: usize, n: usize, identity: u64),
    each_row::<K>((dst, step), (a, stride), rows, identity, |to, row| accumulate::<K, NONE>(to, row, row, n)),
    each_row::<K>((dst, step), (a, stride), rows, identity, |to, row| accumulate::<K, NONE>(to, row, row, n)),
    each_row::<K>((dst, step), (a, stride), rows, identity, |to, row| accumulate::<K, NONE>(to, row, row, n))
}

struct Whole;
impl Finish for Whole {
    type Out = WholeFn;
    fn single<K: Map>(isa: Isa) -> WholeFn {
        pick_whole_f32::<K>(isa)
    }
    fn general<K: Step>(isa: Isa) -> WholeFn {
        pick_whole::<K>(isa)
    }
}

/// Reduces whole rows. None for Bool sums and half types.
pub(super) fn whole_for(isa: Isa, reduction: Reduction, dtype: DType) -> Option<WholeFn> {
    finish::<Whole>(isa, reduction, dtype)
}

/// [`whole_for`] the chosen instruction set.
pub fn whole(reduction: Reduction, dtype: DType) -> Option<WholeFn> {
    whole_for(super::isa(), reduction, dtype)
}

/// Adds `n` elements of `a` to the [`ACC_LANES`] lanes at `dst`: element i to lane i % ACC_LANES. None for Bool sums and half types.
pub(super) fn accumulate_for(isa: Isa, reduction: Reduction, dtype: DType) -> Option<TileFn> {
    finish::<Accumulate>(isa, reduction, dtype)
}

/// Adds whole rows lane by lane, first row first. None for Bool sums and half types.
pub(super) fn rows_for(isa: Isa, reduction: Reduction, dtype: DType) -> Option<RowsFn> {
    finish::<Rows>(isa, reduction, dtype)
}

/// [`rows_for`] the chosen instruction set.
pub fn rows(reduction: Reduction, dtype: DType) -> Option<RowsFn> {
    rows_for(super::isa(), reduction, dtype)
}

/// One element at `dst` from `n >= 1` of `a`.
pub(super) fn fold_for(isa: Isa, reduction: Reduction, dtype: DType) -> Option<TileFn> {
    finish::<Fold>(isa, reduction, dtype)
}

/// As [`accumulate_for`] with Sum, of the products of `a` and `b`; F32 and F64.
pub(super) fn accumulate_mul_add_for(isa: Isa, dtype: DType) -> Option<TileFn> {
    match dtype {
        DType::F32 => {
            map_step!(|s, acc, x, y| s.mad(x, y, acc));
            Some(pick_f32::<K, TILE>(isa))
        }
        DType::F64 if isa == Isa::Plain => {
            step!(f64, |acc, x, y| x * y + acc);
            Some(pick_general::<K, TILE>(isa))
        }
        DType::F64 => {
            step!(f64, |acc, x, y| x.mul_add(y, acc));
            Some(pick_general::<K, TILE>(isa))
        }
        _ => None,
    }
}

/// As [`accumulate_for`] with Sum, of the squares of `a` minus the one element `b`; F32.
pub(super) fn accumulate_squares_for(isa: Isa) -> TileFn {
    map_step!(|s, acc, x, y| {
        let d = s.sub(x, y);
        s.mad(d, d, acc)
    });
    pick_f32::<K, ONE>(isa)
}

/// As [`accumulate_for`] with Sum, of a step on `a` and `b`, or its negation: a sum less x is the sum plus -x, bit for bit. F32.
pub(super) fn accumulate_of_for(isa: Isa, first: First, negated: bool) -> Option<TileFn> {
    macro_rules! of {
        (|$s:ident, $acc:ident, $x:ident, $y:ident| $e:expr) => {{
            map_step!(|$s, $acc, $x, $y| $e);
            Some(pick_f32::<K, TILE>(isa))
        }};
    }
    match (first, negated) {
        (First::Add, false) => of!(|s, acc, x, y| s.add(acc, s.add(x, y))),
        (First::Add, true) => of!(|s, acc, x, y| s.sub(acc, s.add(x, y))),
        (First::Sub, false) => of!(|s, acc, x, y| s.add(acc, s.sub(x, y))),
        (First::Sub, true) => of!(|s, acc, x, y| s.sub(acc, s.sub(x, y))),
        (First::Mul, _) => None,
    }
}

/// As [`accumulate_for`] with Sum, of `-a`; F32.
pub(super) fn accumulate_neg_for(isa: Isa) -> TileFn {
    map_step!(|s, acc, x, _| s.sub(acc, x));
    pick_f32::<K, NONE>(isa)
}
