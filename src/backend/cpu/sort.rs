//! What happens to row scratch between two passes: positions that sort a row, running combinations along it.

use super::kernels::{Scalars, TileFn, TileOp, lookup};
use crate::base::DType;
use crate::trace::{Binary, Reduce};

/// What is made of row scratch 0; the result is row scratch 1.
#[derive(Clone, Debug)]
pub enum Between {
    /// I64 positions that sort the row stably; NaN counts as largest.
    Sort {
        /// Compute dtype of scratch 0.
        dtype: DType,
        /// Largest first.
        descending: bool,
    },
    /// The running combination.
    Cumulative {
        /// Compute dtype of both.
        dtype: DType,
        /// How to combine.
        kind: Reduce,
        /// From the end.
        reverse: bool,
    },
}

/// An element as an unsigned key of the same order (all NaN last, both zeros equal).
trait Key: Copy {
    fn key(self) -> u64;
}
macro_rules! keys {
    ($($t:ty: |$x:ident| $e:expr;)*) => {$( impl Key for $t { #[inline(always)] fn key(self) -> u64 { let $x = self; $e } } )*};
}
keys! {
    u8: |x| x as u64;
    u32: |x| x as u64;
    i32: |x| (x as u32 ^ 1 << 31) as u64;
    i64: |x| x as u64 ^ 1 << 63;
    f32: |x| if x.is_nan() { u32::MAX as u64 } else {
        let b = (x + 0.0).to_bits();
        (if b >> 31 == 1 { !b } else { b | 1 << 31 }) as u64
    };
    f64: |x| if x.is_nan() { u64::MAX } else {
        let b = (x + 0.0).to_bits();
        if b >> 63 == 1 { !b } else { b | 1 << 63 }
    };
}

fn argsort<T: Key>(get: impl Fn(usize) -> T, n: usize, descending: bool, mut put: impl FnMut(usize, i64)) {
    if size_of::<T>() <= 4 && n <= u32::MAX as usize {
        // Key and position in one word: an unstable sort of distinct words is a stable sort of the keys.
        let flip = if descending { u32::MAX as u64 } else { 0 };
        let mut words: Vec<u64> = (0..n).map(|i| (get(i).key() ^ flip) << 32 | i as u64).collect();
        words.sort_unstable();
        words.iter().enumerate().for_each(|(i, w)| put(i, (*w & u32::MAX as u64) as i64));
    } else {
        let flip = if descending { u64::MAX } else { 0 };
        let mut words: Vec<(u64, i64)> = (0..n).map(|i| (get(i).key() ^ flip, i as i64)).collect();
        words.sort_unstable();
        words.iter().enumerate().for_each(|(i, w)| put(i, w.1));
    }
}

/// Values that can be combined running along a row. Float sums run in f64, so that long rows stay exact to the last place.
trait Running: Copy {
    type Acc: Copy;
    fn start(self) -> Self::Acc;
    fn step(kind: Reduce, acc: Self::Acc, x: Self) -> Self::Acc;
    fn end(acc: Self::Acc) -> Self;
}
macro_rules! running {
    (int $($t:ty),*) => {$( impl Running for $t {
        type Acc = $t;
        fn start(self) -> $t { self }
        #[inline(always)]
        fn step(kind: Reduce, a: $t, x: $t) -> $t {
            match kind {
                Reduce::Sum => a.wrapping_add(x),
                Reduce::Prod => a.wrapping_mul(x),
                Reduce::Max | Reduce::ArgMax => a.max(x),
                Reduce::Min | Reduce::ArgMin => a.min(x),
            }
        }
        fn end(a: $t) -> $t { a }
    } )*};
    (float $($t:ty),*) => {$( impl Running for $t {
        type Acc = f64;
        fn start(self) -> f64 { self as f64 }
        #[inline(always)]
        fn step(kind: Reduce, a: f64, x: $t) -> f64 {
            let y = x as f64;
            match kind {
                Reduce::Sum => a + y,
                // Rounded every time: a product may leave the range of the type and must stay outside.
                Reduce::Prod => (a as $t * x) as f64,
                Reduce::Max | Reduce::ArgMax => if y.is_nan() || y > a { y } else { a },
                Reduce::Min | Reduce::ArgMin => if y.is_nan() || y < a { y } else { a },
            }
        }
        fn end(a: f64) -> $t { a as $t }
    } )*};
}
running!(int u8, u32, i32, i64);
running!(float f32, f64);

/// Running sums of a row of f32, in f64. Each four elements are summed on their own and then added, so that only one addition in four waits
/// for the one before. `at` numbers the elements in running order.
fn running_sums(src: &[f32], dst: &mut [f32], at: impl Fn(usize) -> usize) {
    const TOGETHER: usize = 4;
    // The number that changes no other, -0 included.
    let mut sum = -0.0f64;
    let n = src.len();
    let whole = n - n % TOGETHER;
    for i in (0..whole).step_by(TOGETHER) {
        let mut part = src[at(i)] as f64;
        dst[at(i)] = (sum + part) as f32;
        for j in i + 1..i + TOGETHER {
            part += src[at(j)] as f64;
            dst[at(j)] = (sum + part) as f32;
        }
        sum += part;
    }
    for i in whole..n {
        sum += src[at(i)] as f64;
        dst[at(i)] = sum as f32;
    }
}

fn cumulate<T: Running>(src: &[T], dst: &mut [T], kind: Reduce, reverse: bool) {
    fn go<T: Running>(kind: Reduce, pairs: impl Iterator<Item = (T, *mut T)>) {
        let mut acc: Option<T::Acc> = None;
        for (x, d) in pairs {
            let a = match acc {
                None => x.start(),
                Some(a) => T::step(kind, a, x),
            };
            acc = Some(a);
            // SAFETY: the pointers come from the exclusive slice of the caller.
            unsafe { *d = T::end(a) };
        }
    }
    let base = dst.as_mut_ptr();
    let pair = |i: usize| (src[i], base.wrapping_add(i));
    // The kind is a constant of each loop.
    macro_rules! kinds {
        ($($k:ident),*) => { match kind { $(Reduce::$k => if reverse {
            go(Reduce::$k, (0..src.len()).rev().map(pair))
        } else {
            go(Reduce::$k, (0..src.len()).map(pair))
        }),* } };
    }
    kinds!(Sum, Prod, Max, Min, ArgMax, ArgMin)
}

macro_rules! typed {
    ($d:expr, |$t:ident| $e:expr) => {
        match $d {
            DType::F32 | DType::F16 | DType::BF16 => {
                type $t = f32;
                $e
            }
            DType::F64 => {
                type $t = f64;
                $e
            }
            DType::I32 => {
                type $t = i32;
                $e
            }
            DType::I64 => {
                type $t = i64;
                $e
            }
            DType::U32 => {
                type $t = u32;
                $e
            }
            DType::U8 | DType::Bool => {
                type $t = u8;
                $e
            }
        }
    };
}

/// Scratch 0 to scratch 1 of one row of `n` points.
///
/// # Safety
/// Both are valid for a row of their dtype.
pub unsafe fn between_row(h: &Between, n: usize, src: *mut u8, dst: *mut u8) {
    match *h {
        Between::Sort { dtype, descending } => typed!(dtype, |T| {
            // SAFETY: as promised.
            let src = unsafe { std::slice::from_raw_parts(src.cast::<T>(), n) };
            // SAFETY: positions are I64.
            argsort(|i| src[i], n, descending, |i, p| unsafe { *dst.cast::<i64>().add(i) = p })
        }),
        Between::Cumulative { dtype: DType::F32, kind: Reduce::Sum, reverse } => {
            // SAFETY: as promised; the two are different memory.
            let (src, dst) =
                unsafe { (std::slice::from_raw_parts(src.cast::<f32>(), n), std::slice::from_raw_parts_mut(dst.cast::<f32>(), n)) };
            if reverse { running_sums(src, dst, |i| n - 1 - i) } else { running_sums(src, dst, |i| i) }
        }
        Between::Cumulative { dtype, kind, reverse } => typed!(dtype, |T| {
            // SAFETY: as promised; the two are different memory.
            let (src, dst) =
                unsafe { (std::slice::from_raw_parts(src.cast::<T>(), n), std::slice::from_raw_parts_mut(dst.cast::<T>(), n)) };
            cumulate(src, dst, kind, reverse)
        }),
    }
}

/// Scratch 0 to scratch 1 of `lanes` rows side by side: point p of lane l is element `p * tile + l`.
///
/// # Safety
/// Both are valid for `n` tiles of their dtype.
pub unsafe fn between_column(h: &Between, n: usize, tile: usize, lanes: usize, src: *mut u8, dst: *mut u8) {
    match *h {
        Between::Sort { dtype, descending } => typed!(dtype, |T| for l in 0..lanes {
            // SAFETY: as promised.
            let get = |i: usize| unsafe { *src.cast::<T>().add(i * tile + l) };
            // SAFETY: positions are I64.
            argsort(get, n, descending, |i, p| unsafe { *dst.cast::<i64>().add(i * tile + l) = p })
        }),
        Between::Cumulative { dtype, kind, reverse } => {
            let sum_f32 = kind == Reduce::Sum && matches!(dtype, DType::F32);
            let op = match kind {
                Reduce::Sum => Binary::Add,
                Reduce::Prod => Binary::Mul,
                Reduce::Max | Reduce::ArgMax => Binary::Max,
                Reduce::Min | Reduce::ArgMin => Binary::Min,
            };
            let size = dtype.size();
            let f: Option<TileFn> = lookup(TileOp::Binary(op, dtype), Scalars::NONE);
            match f {
                Some(f) if !sum_f32 => {
                    for i in 0..n {
                        let at = |i: usize| if reverse { n - 1 - i } else { i } * tile * size;
                        // SAFETY: as promised.
                        unsafe {
                            if i == 0 {
                                std::ptr::copy_nonoverlapping(src.add(at(0)), dst.add(at(0)), lanes * size);
                            } else {
                                f(dst.add(at(i)), dst.add(at(i - 1)), src.add(at(i)), std::ptr::null(), lanes);
                            }
                        }
                    }
                }
                _ => {
                    // In f64, a lane group at a time.
                    let mut acc = vec![0f64; lanes];
                    let (src, dst) = (src.cast::<f32>(), dst.cast::<f32>());
                    for i in 0..n {
                        let at = if reverse { n - 1 - i } else { i } * tile;
                        for (l, a) in acc.iter_mut().enumerate() {
                            // SAFETY: as promised.
                            unsafe {
                                *a += *src.add(at + l) as f64;
                                *dst.add(at + l) = *a as f32;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_sums_are_those_one_by_one() {
        let x: Vec<f32> = (0..23).map(|i| if i == 0 { -0.0 } else { (i * 37 % 11) as f32 - 5.0 }).collect();
        for n in [1, 3, 4, 9, 23] {
            let (mut got, mut back) = (vec![7.0; n], vec![7.0; n]);
            running_sums(&x[..n], &mut got, |i| i);
            running_sums(&x[..n], &mut back, |i| n - 1 - i);
            for i in 0..n {
                assert_eq!(got[i], x[..=i].iter().sum::<f32>());
                assert_eq!(back[i], x[i..n].iter().sum::<f32>());
            }
            assert_eq!(got[0].to_bits(), (-0.0f32).to_bits());
        }
    }

    #[test]
    fn sorts_are_stable_and_know_nan() {
        let x = [2.0f32, f32::NAN, -0.0, 0.0, -1.0, 2.0, f32::INFINITY];
        let go = |descending| {
            let mut out = vec![0; x.len()];
            argsort(|i| x[i], x.len(), descending, |i, p| out[i] = p);
            out
        };
        assert_eq!(go(false), [4, 2, 3, 0, 5, 6, 1]);
        assert_eq!(go(true), [1, 6, 0, 5, 2, 3, 4]);
        let y = [3i64, i64::MIN, i64::MAX, 3];
        let mut out = vec![0; 4];
        argsort(|i| y[i], 4, false, |i, p| out[i] = p);
        assert_eq!(out, [1, 0, 3, 2]);
    }
}
