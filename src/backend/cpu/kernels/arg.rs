//! The index of the extreme element: along a row ([`arg_extreme`]), and in every lane of a tile over successive tiles ([`arg_lanes`]).
//!
//! The first of equals wins; NaN counts as the extreme, whichever is sought.

use super::Isa;
use super::drive::{give, pick, take};
use super::isa;
use crate::base::DType;

/// The best element of a row so far.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct ArgState {
    /// The element's bytes, from the first.
    value: [u8; 8],
    /// Its index; negative before the first element.
    index: i64,
}

impl ArgState {
    /// Before the first element.
    pub const EMPTY: ArgState = ArgState { value: [0; 8], index: -1 };

    /// The index of the extreme; None before the first element.
    pub fn index(&self) -> Option<i64> {
        (self.index >= 0).then_some(self.index)
    }

    /// The extreme's bytes (the dtype's size of them).
    pub fn value(&self) -> &[u8; 8] {
        &self.value
    }
}

/// Updates a state with `n` elements of `a`, whose indices start at `base >= 0`. Tiles come in order.
///
/// # Safety
/// `a` is valid for reading `n` elements, and aligned. The state was [`ArgState::EMPTY`] or last updated for the same dtype.
pub type ArgFn = unsafe fn(state: &mut ArgState, a: *const u8, base: i64, n: usize);

/// Updates `n` pairs (value, index) with the elements of `a`, all of which have the index `index >= 0`. A pair whose index is negative is empty.
///
/// # Safety
/// `values` and `a` are valid for `n` elements, `indices` for `n`, all aligned, none overlapping.
pub type ArgLanesFn = unsafe fn(values: *mut u8, indices: *mut i64, a: *const u8, index: i64, n: usize);

/// An element type: NaN test and order.
pub(super) trait Arg: Copy + PartialOrd + Default {
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn is_nan(self) -> bool {
        self != self
    }
}
impl Arg for f32 {}
impl Arg for f64 {}
impl Arg for i32 {}
impl Arg for i64 {}
impl Arg for u32 {}
impl Arg for u8 {}

#[inline(always)]
fn beats<T: Arg, const MAX: bool>(x: T, y: T) -> bool {
    if MAX { x > y } else { x < y }
}

const CHUNK: usize = 16;

#[inline(always)]
unsafe fn extreme<T: Arg, const MAX: bool>(state: &mut ArgState, a: *const u8, base: i64, n: usize) {
    let a = a.cast::<T>();
    if n == 0 {
        return;
    }
    // SAFETY: the state is aligned and holds a T, whose size is at most 8 bytes.
    let seen = unsafe { state.value.as_ptr().cast::<T>().read() };
    if state.index >= 0 && seen.is_nan() {
        return;
    }
    // Most tiles do not change the state: look for its value first, for its place after.
    // SAFETY: a has n >= 1 elements.
    let mut best = [unsafe { *a }; CHUNK];
    let mut x = best;
    let mut nan = false;
    let mut i = 0;
    while i < n {
        // SAFETY: the tile has that many elements left; what remains of the last chunk was seen before.
        unsafe { take(&mut x, a.add(i), CHUNK.min(n - i)) };
        for j in 0..CHUNK {
            nan |= x[j].is_nan();
            best[j] = if beats::<T, MAX>(x[j], best[j]) { x[j] } else { best[j] };
        }
        i += CHUNK;
    }
    let mut top = best[0];
    for &b in &best[1..] {
        if beats::<T, MAX>(b, top) {
            top = b;
        }
    }
    if nan || state.index < 0 || beats::<T, MAX>(top, seen) {
        for i in 0..n {
            // SAFETY: i < n.
            let x = unsafe { *a.add(i) };
            if if nan { x.is_nan() } else { x == top } {
                // SAFETY: as for reading.
                unsafe { state.value.as_mut_ptr().cast::<T>().write(x) };
                state.index = base + i as i64;
                return;
            }
        }
    }
}

#[inline(always)]
unsafe fn lanes<T: Arg, const MAX: bool>(values: *mut u8, indices: *mut i64, a: *const u8, index: i64, n: usize) {
    let (values, a) = (values.cast::<T>(), a.cast::<T>());
    let (mut v, mut k, mut x) = ([T::default(); CHUNK], [0i64; CHUNK], [T::default(); CHUNK]);
    let mut i = 0;
    while i < n {
        let m = CHUNK.min(n - i);
        // SAFETY: all have m elements left.
        unsafe {
            take(&mut v, values.add(i), m);
            take(&mut k, indices.add(i), m);
            take(&mut x, a.add(i), m);
        }
        for j in 0..CHUNK {
            let better = beats::<T, MAX>(x[j], v[j]) | (x[j].is_nan() & !v[j].is_nan()) | (k[j] < 0);
            v[j] = if better { x[j] } else { v[j] };
            k[j] = if better { index } else { k[j] };
        }
        // SAFETY: as above.
        unsafe {
            give(values.add(i), &v, m);
            give(indices.add(i), &k, m);
        }
        i += CHUNK;
    }
}

pick! {
    pick_row [T: Arg] [MAX: bool] (state: &mut ArgState, a: *const u8, base: i64, n: usize),
    extreme::<T, MAX>(state, a, base, n),
    extreme::<T, MAX>(state, a, base, n),
    extreme::<T, MAX>(state, a, base, n)
}
pick! {
    pick_lanes [T: Arg] [MAX: bool] (values: *mut u8, indices: *mut i64, a: *const u8, index: i64, n: usize),
    lanes::<T, MAX>(values, indices, a, index, n),
    lanes::<T, MAX>(values, indices, a, index, n),
    lanes::<T, MAX>(values, indices, a, index, n)
}

/// AVX-512 would gain these little.
fn narrower(isa: Isa) -> Isa {
    if isa == Isa::Avx512 { Isa::Avx2 } else { isa }
}

macro_rules! by_dtype {
    ($pick:ident, $isa:expr, $max:expr, $dtype:expr) => {{
        macro_rules! sides {
            ($t:ty) => {
                if $max { $pick::<$t, true>(narrower($isa)) } else { $pick::<$t, false>(narrower($isa)) }
            };
        }
        Some(match $dtype {
            DType::F32 => sides!(f32),
            DType::F64 => sides!(f64),
            DType::I32 => sides!(i32),
            DType::I64 => sides!(i64),
            DType::U32 => sides!(u32),
            DType::U8 | DType::Bool => sides!(u8),
            DType::F16 | DType::BF16 => return None,
        })
    }};
}

pub(super) fn arg_extreme_for(isa: Isa, max: bool, dtype: DType) -> Option<ArgFn> {
    by_dtype!(pick_row, isa, max, dtype)
}

pub(super) fn arg_lanes_for(isa: Isa, max: bool, dtype: DType) -> Option<ArgLanesFn> {
    by_dtype!(pick_lanes, isa, max, dtype)
}

/// The search along a row for the maximum (or minimum); None for the half types.
pub fn arg_extreme(max: bool, dtype: DType) -> Option<ArgFn> {
    arg_extreme_for(isa(), max, dtype)
}

/// The search in every lane for the maximum (or minimum); None for the half types.
pub fn arg_lanes(max: bool, dtype: DType) -> Option<ArgLanesFn> {
    arg_lanes_for(isa(), max, dtype)
}
