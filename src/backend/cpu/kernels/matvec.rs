//! A matrix of f32 times a vector: rows that lie in one piece as dot products, columns that do as multiples that are added up.
//!
//! There is no data to use again, so nothing is packed; what counts is to keep several sums in flight.

use super::drive::pick;
use super::simd::{Plain, Simd};
use super::{Isa, isa};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// Longest run summed into one set of lanes; the sums of runs are added one by one.
const RUN: usize = 4096;
/// Rows that share a pass over the vector.
const ROWS: usize = 4;
/// Vectors of results that columns are added to at once.
const STRIP: usize = 8;
/// A matrix by columns of so many elements at most: it is visited in strips, which suits caches but not memory.
const COLUMNS: usize = 1 << 17;

/// `dst[i * ds] = sum over k of a[i * ars + k * acs] * x[k * xs]` for `m` rows of `k` elements, strides in elements. False, and nothing done,
/// for orders in memory that this has no loop for.
///
/// # Safety
/// All elements named are valid, `dst` for writing, and aligned; `dst` overlaps neither factor.
pub unsafe fn matvec(
    (m, k): (usize, usize),
    (dst, ds): (*mut f32, isize),
    (a, ars, acs): (*const f32, isize, isize),
    (x, xs): (*const f32, isize),
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if k <= 1 || (acs == 1 && xs == 1) {
            pick_rows(isa())(m, k, dst, ds, a, ars, x);
            true
        } else if (m <= 1 || (ars == 1 && ds == 1)) && m.saturating_mul(k) <= COLUMNS {
            pick_columns(isa())(m, k, dst, a, acs, x, xs);
            true
        } else {
            false
        }
    }
}

/// The sums of `N` rows of `k` elements.
#[inline(always)]
unsafe fn dots<S: Simd, const N: usize>(s: S, a: *const f32, ars: isize, x: *const f32, k: usize) -> [f32; N] {
    let mut out = [0f32; N];
    let mut from = 0;
    while from < k {
        let to = k.min(from + RUN);
        // Two sets of lanes a row: multiply-adds take four cycles or so.
        let mut acc = [[s.splat(0.0); 2]; N];
        let mut i = from;
        // SAFETY: i + 2 * LANES <= to <= k, then what is left of the row.
        unsafe {
            while i + 2 * S::LANES <= to {
                let (x0, x1) = (s.load(x.add(i)), s.load(x.add(i + S::LANES)));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let row = a.offset(r as isize * ars).add(i);
                    acc[0] = s.mad(s.load(row), x0, acc[0]);
                    acc[1] = s.mad(s.load(row.add(S::LANES)), x1, acc[1]);
                }
                i += 2 * S::LANES;
            }
            if i + S::LANES <= to {
                let x0 = s.load(x.add(i));
                for (r, acc) in acc.iter_mut().enumerate() {
                    acc[0] = s.mad(s.load(a.offset(r as isize * ars).add(i)), x0, acc[0]);
                }
                i += S::LANES;
            }
            if i < to {
                let x1 = s.load_first(x.add(i), to - i);
                for (r, acc) in acc.iter_mut().enumerate() {
                    acc[1] = s.mad(s.load_first(a.offset(r as isize * ars).add(i), to - i), x1, acc[1]);
                }
            }
        }
        for (out, acc) in out.iter_mut().zip(acc) {
            let mut lanes = [0f32; MAX_LANES];
            // SAFETY: there is room for a vector.
            unsafe { s.store(lanes.as_mut_ptr(), s.add(acc[0], acc[1])) };
            let mut half = S::LANES / 2;
            while half > 0 {
                for j in 0..half {
                    lanes[j] += lanes[j + half];
                }
                half /= 2;
            }
            *out += lanes[0];
        }
        from = to;
    }
    out
}

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn by_rows<S: Simd>(s: S, m: usize, k: usize, dst: *mut f32, ds: isize, a: *const f32, ars: isize, x: *const f32) {
    let mut i = 0;
    // SAFETY: rows below m.
    unsafe {
        while i + ROWS <= m {
            let sums = dots::<S, ROWS>(s, a.offset(i as isize * ars), ars, x, k);
            for (r, sum) in sums.into_iter().enumerate() {
                *dst.offset((i + r) as isize * ds) = sum;
            }
            i += ROWS;
        }
        while i < m {
            *dst.offset(i as isize * ds) = dots::<S, 1>(s, a.offset(i as isize * ars), ars, x, k)[0];
            i += 1;
        }
    }
}

/// `V` vectors of results, the last of them of `last` lanes.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn strip<S: Simd, const V: usize, const WHOLE: bool>(
    s: S,
    k: usize,
    dst: *mut f32,
    a: *const f32,
    acs: isize,
    x: *const f32,
    xs: isize,
    last: usize,
) {
    let mut acc = [s.splat(0.0); V];
    // SAFETY: the elements of the strip.
    unsafe {
        for c in 0..k as isize {
            let by = s.splat(*x.offset(c * xs));
            let column = a.offset(c * acs);
            for (v, acc) in acc.iter_mut().enumerate() {
                let p = column.add(v * S::LANES);
                let y = if WHOLE || v + 1 < V { s.load(p) } else { s.load_first(p, last) };
                *acc = s.mad(y, by, *acc);
            }
        }
        for (v, acc) in acc.into_iter().enumerate() {
            let p = dst.add(v * S::LANES);
            if WHOLE || v + 1 < V { s.store(p, acc) } else { s.store_first(p, last, acc) }
        }
    }
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn by_columns<S: Simd>(s: S, m: usize, k: usize, dst: *mut f32, a: *const f32, acs: isize, x: *const f32, xs: isize) {
    let mut i = 0;
    // SAFETY: strips of rows below m.
    unsafe {
        while i + STRIP * S::LANES <= m {
            strip::<S, STRIP, true>(s, k, dst.add(i), a.add(i), acs, x, xs, 0);
            i += STRIP * S::LANES;
        }
        while i + 4 * S::LANES <= m {
            strip::<S, 4, true>(s, k, dst.add(i), a.add(i), acs, x, xs, 0);
            i += 4 * S::LANES;
        }
        while i + S::LANES <= m {
            strip::<S, 1, true>(s, k, dst.add(i), a.add(i), acs, x, xs, 0);
            i += S::LANES;
        }
        if i < m {
            strip::<S, 1, false>(s, k, dst.add(i), a.add(i), acs, x, xs, m - i);
        }
    }
}

pick! {
    pick_rows [] [] (m: usize, k: usize, dst: *mut f32, ds: isize, a: *const f32, ars: isize, x: *const f32),
    by_rows(Plain, m, k, dst, ds, a, ars, x),
    by_rows(Avx2::new(), m, k, dst, ds, a, ars, x),
    by_rows(Avx512::new(), m, k, dst, ds, a, ars, x)
}

pick! {
    pick_columns [] [] (m: usize, k: usize, dst: *mut f32, a: *const f32, acs: isize, x: *const f32, xs: isize),
    by_columns(Plain, m, k, dst, a, acs, x, xs),
    by_columns(Avx2::new(), m, k, dst, a, acs, x, xs),
    by_columns(Avx512::new(), m, k, dst, a, acs, x, xs)
}
