//! The innermost step of products: a few rows of one factor times a packed strip of the other, accumulated in registers.
//!
//! The left factor is read where it lies: a pointer for each row, with steps along the contraction, so that a matrix of either order and the windows
//! of an image serve alike. The right factor is packed: for each step of the contraction [`STRIP`] bytes, one vector or two. Every element of the
//! result is summed in the order of the contraction, whatever the instruction set.

#[cfg(target_arch = "x86_64")]
use super::kernels::{Isa, isa};
use crate::base::DType;

/// Bytes of a packed row: 16 elements of 4 bytes, 8 of 8.
pub const STRIP: usize = 64;
/// Rows of the left factor that one call can take.
pub const ROWS: usize = 6;

/// Rows of the left factor: `rows[i][s * seg + j * step]` is element `s * len + j` of the contraction. Distances are in elements.
pub struct Left {
    /// Where each row begins; rows that are not used repeat one that is.
    pub rows: [*const u8; ROWS],
    /// From one element to the next.
    pub step: isize,
    /// Elements of a stretch.
    pub len: usize,
    /// Distance of stretches.
    pub seg: isize,
    /// How many there are.
    pub segs: usize,
}

/// `c[i][..strip] = left[i] . right`, or added to it; rows of `c` are `ld` elements apart.
///
/// # Safety
/// The rows of `left` are valid for reading, `right` for `segs * len` strips, and whole strips of the rows of `c` for writing (and reading, to add).
pub type RowsByStrip = unsafe fn(left: &Left, right: *const u8, c: *mut u8, ld: usize, add: bool);

/// The kernels for one dtype: entry `m - 1` takes m rows.
pub type Micro = [RowsByStrip; ROWS];

/// Half a strip of lanes, and a multiply-add.
trait Lanes: Copy {
    type T: Copy;
    type V: Copy;
    const N: usize;
    unsafe fn zero() -> Self::V;
    unsafe fn splat(p: *const Self::T) -> Self::V;
    unsafe fn load(p: *const Self::T) -> Self::V;
    unsafe fn store(p: *mut Self::T, v: Self::V);
    unsafe fn mad(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
}

/// Ordinary code.
#[derive(Clone, Copy)]
struct Plain<T, const N: usize>(std::marker::PhantomData<T>);

macro_rules! plain {
    ($($t:ty, $n:literal, $mad:expr, $add:expr;)*) => {$( impl Lanes for Plain<$t, $n> {
        type T = $t;
        type V = [$t; $n];
        const N: usize = $n;
        #[inline(always)]
        unsafe fn zero() -> [$t; $n] { [0 as $t; $n] }
        #[inline(always)]
        // SAFETY: the caller's promise, here and below.
        unsafe fn splat(p: *const $t) -> [$t; $n] { [unsafe { *p }; $n] }
        #[inline(always)]
        // SAFETY: as above.
        unsafe fn load(p: *const $t) -> [$t; $n] { unsafe { p.cast::<[$t; $n]>().read_unaligned() } }
        #[inline(always)]
        // SAFETY: as above.
        unsafe fn store(p: *mut $t, v: [$t; $n]) { unsafe { p.cast::<[$t; $n]>().write_unaligned(v) } }
        #[inline(always)]
        unsafe fn mad(a: [$t; $n], b: [$t; $n], c: [$t; $n]) -> [$t; $n] { std::array::from_fn(|i| ($mad)(a[i], b[i], c[i])) }
        #[inline(always)]
        unsafe fn add(a: [$t; $n], b: [$t; $n]) -> [$t; $n] { std::array::from_fn(|i| ($add)(a[i], b[i])) }
    } )*};
}
plain! {
    f32, 8, |a: f32, b: f32, c: f32| a * b + c, |a: f32, b: f32| a + b;
    f64, 4, |a: f64, b: f64, c: f64| a * b + c, |a: f64, b: f64| a + b;
    i32, 8, |a: i32, b: i32, c: i32| a.wrapping_mul(b).wrapping_add(c), i32::wrapping_add;
    i64, 4, |a: i64, b: i64, c: i64| a.wrapping_mul(b).wrapping_add(c), i64::wrapping_add;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    macro_rules! avx2 {
        ($($name:ident, $t:ty, $v:ty, $n:literal, $zero:expr, $splat:expr, $load:expr, $store:expr, $mad:expr, $add:expr;)*) => {$(
            #[derive(Clone, Copy)]
            pub struct $name;
            impl Lanes for $name {
                type T = $t;
                type V = $v;
                const N: usize = $n;
                #[inline(always)]
                // SAFETY: only the wrappers compiled for AVX2 and FMA use this; pointers are the caller's promise. So below.
                unsafe fn zero() -> $v { unsafe { $zero() } }
                #[inline(always)]
                // SAFETY: as above.
                unsafe fn splat(p: *const $t) -> $v { unsafe { $splat(*p) } }
                #[inline(always)]
                // SAFETY: as above.
                unsafe fn load(p: *const $t) -> $v { unsafe { $load(p.cast()) } }
                #[inline(always)]
                // SAFETY: as above.
                unsafe fn store(p: *mut $t, v: $v) { unsafe { $store(p.cast(), v) } }
                #[inline(always)]
                // SAFETY: as above.
                unsafe fn mad(a: $v, b: $v, c: $v) -> $v { unsafe { $mad(a, b, c) } }
                #[inline(always)]
                // SAFETY: as above.
                unsafe fn add(a: $v, b: $v) -> $v { unsafe { $add(a, b) } }
            }
        )*};
    }
    #[inline(always)]
    unsafe fn mad_i32(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        // SAFETY: as the caller.
        unsafe { _mm256_add_epi32(_mm256_mullo_epi32(a, b), c) }
    }
    avx2! {
        F32, f32, __m256, 8, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps;
        F64, f64, __m256d, 4, _mm256_setzero_pd, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, _mm256_add_pd;
        I32, i32, __m256i, 8, _mm256_setzero_si256, _mm256_set1_epi32, _mm256_loadu_si256, _mm256_storeu_si256, mad_i32, _mm256_add_epi32;
    }
}

#[inline(always)]
unsafe fn rows_by_strip<L: Lanes, const M: usize>(left: &Left, right: *const u8, c: *mut u8, ld: usize, add: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[L::zero(); 2]; M];
        let mut rows: [*const L::T; M] = std::array::from_fn(|i| left.rows[i].cast());
        let mut right = right.cast::<L::T>();
        let (step, len, seg) = (left.step, left.len, left.seg);
        for _ in 0..left.segs {
            let mut at = 0isize;
            for _ in 0..len {
                let (x, y) = (L::load(right), L::load(right.add(L::N)));
                for i in 0..M {
                    let a = L::splat(rows[i].offset(at));
                    acc[i][0] = L::mad(a, x, acc[i][0]);
                    acc[i][1] = L::mad(a, y, acc[i][1]);
                }
                right = right.add(2 * L::N);
                at += step;
            }
            for r in &mut rows {
                *r = r.wrapping_offset(seg);
            }
        }
        for (i, [x, y]) in acc.into_iter().enumerate() {
            let to = c.cast::<L::T>().add(i * ld);
            if add {
                L::store(to, L::add(L::load(to), x));
                L::store(to.add(L::N), L::add(L::load(to.add(L::N)), y));
            } else {
                L::store(to, x);
                L::store(to.add(L::N), y);
            }
        }
    }
}

unsafe fn plain<L: Lanes, const M: usize>(left: &Left, right: *const u8, c: *mut u8, ld: usize, add: bool) {
    // SAFETY: the caller's promise.
    unsafe { rows_by_strip::<L, M>(left, right, c, ld, add) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<L: Lanes, const M: usize>(left: &Left, right: *const u8, c: *mut u8, ld: usize, add: bool) {
    // SAFETY: the caller's promise.
    unsafe { rows_by_strip::<L, M>(left, right, c, ld, add) }
}

/// The kernels of a dtype; None for dtypes that are not multiplied.
pub fn micro(dtype: DType) -> Option<Micro> {
    macro_rules! each {
        ($f:ident, $l:ty) => {
            Some([$f::<$l, 1>, $f::<$l, 2>, $f::<$l, 3>, $f::<$l, 4>, $f::<$l, 5>, $f::<$l, 6>])
        };
    }
    #[cfg(target_arch = "x86_64")]
    if isa() != Isa::Plain {
        match dtype {
            DType::F32 => return each!(avx2, x86::F32),
            DType::F64 => return each!(avx2, x86::F64),
            DType::I32 | DType::U32 => return each!(avx2, x86::I32),
            DType::I64 => return each!(avx2, Plain<i64, 4>),
            _ => {}
        }
    }
    match dtype {
        DType::F32 => each!(plain, Plain<f32, 8>),
        DType::F64 => each!(plain, Plain<f64, 4>),
        DType::I32 | DType::U32 => each!(plain, Plain<i32, 8>),
        DType::I64 => each!(plain, Plain<i64, 4>),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_times_strips() {
        let Some(f) = micro(DType::F32) else { panic!("f32 has kernels") };
        // Three stretches of four, stretches 10 apart, elements 2 apart; rows 3 apart.
        let a: Vec<f32> = (0..60).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
        let b: Vec<f32> = (0..12 * 16).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
        for m in 1..=ROWS {
            let rows = std::array::from_fn(|i| a[3 * i.min(m - 1)..].as_ptr().cast());
            let left = Left { rows, step: 2, len: 4, seg: 10, segs: 3 };
            let mut c = vec![1.0f32; m * 20];
            // SAFETY: the vectors are long enough.
            unsafe { f[m - 1](&left, b.as_ptr().cast(), c.as_mut_ptr().cast(), 20, true) };
            for i in 0..m {
                for j in 0..16 {
                    let want: f32 = (0..12).map(|k| a[3 * i + k / 4 * 10 + k % 4 * 2] * b[k * 16 + j]).sum();
                    assert_eq!(c[i * 20 + j], want + 1.0);
                }
                assert!(c[i * 20 + 16..(i + 1) * 20].iter().all(|&x| x == 1.0));
            }
        }
        assert!(micro(DType::Bool).is_none());
    }
}
