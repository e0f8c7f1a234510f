//! Weighted sums of elements at fixed distances: a window passing over a row.

use super::drive::pick;
use super::simd::{Plain, Simd};
use super::{Isa, isa};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// dst\[i\] += sum over t of `weights[t] * from[offsets[t] + i]` for i below `n`, f32, each a multiply-add in the order of t.
///
/// # Safety
/// `dst` is valid for reading and writing `n` elements, `weights` and `offsets` for reading `taps`, `from` for reading the elements named; `dst`
/// overlaps none of them.
pub type WindowFn = unsafe fn(dst: *mut f32, from: *const f32, offsets: *const isize, weights: *const f32, taps: usize, n: usize);

/// Vectors summed at once: as many as a multiply-add's latency.
const AT_ONCE: usize = 4;

#[inline(always)]
unsafe fn window<S: Simd>(s: S, dst: *mut f32, from: *const f32, offsets: *const isize, weights: *const f32, taps: usize, n: usize) {
    let mut i = 0;
    while i + AT_ONCE * S::LANES <= n {
        let mut acc = [s.splat(0.0); AT_ONCE];
        // SAFETY: AT_ONCE vectors are left, at every tap.
        unsafe {
            for (j, acc) in acc.iter_mut().enumerate() {
                *acc = s.load(dst.add(i + j * S::LANES));
            }
            for t in 0..taps {
                let (x, w) = (from.offset(*offsets.add(t) + i as isize), s.splat(*weights.add(t)));
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = s.mad(s.load(x.add(j * S::LANES)), w, *acc);
                }
            }
            for (j, acc) in acc.iter().enumerate() {
                s.store(dst.add(i + j * S::LANES), *acc);
            }
        }
        i += AT_ONCE * S::LANES;
    }
    while i < n {
        let m = S::LANES.min(n - i);
        // SAFETY: m elements are left, at every tap; partial access only touches those.
        unsafe {
            let get = |p: *const f32| if m == S::LANES { s.load(p) } else { s.load_first(p, m) };
            let mut acc = get(dst.add(i));
            for t in 0..taps {
                acc = s.mad(get(from.offset(*offsets.add(t) + i as isize)), s.splat(*weights.add(t)), acc);
            }
            if m == S::LANES { s.store(dst.add(i), acc) } else { s.store_first(dst.add(i), m, acc) }
        }
        i += m;
    }
}

pick! {
    pick_window [] [] (dst: *mut f32, from: *const f32, offsets: *const isize, weights: *const f32, taps: usize, n: usize),
    window(Plain, dst, from, offsets, weights, taps, n),
    window(Avx2::new(), dst, from, offsets, weights, taps, n),
    window(Avx512::new(), dst, from, offsets, weights, taps, n)
}

/// The function for the processor.
pub fn sum() -> WindowFn {
    window_for(isa())
}

fn window_for(isa: Isa) -> WindowFn {
    pick_window(isa)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Rng, isas};
    use super::*;

    #[test]
    fn windows_are_sums_of_products() {
        let mut rng = Rng(3);
        let x: Vec<f32> = (0..400).map(|_| rng.below(64) as f32 - 32.0).collect();
        for isa in isas() {
            for n in [1, 7, 8, 31, 64, 100] {
                for taps in [0, 1, 3, 9] {
                    let offsets: Vec<isize> = (0..taps).map(|_| rng.below(200) as isize).collect();
                    let weights: Vec<f32> = (0..taps).map(|_| rng.below(16) as f32).collect();
                    let mut got = vec![5.0; n + 1];
                    // SAFETY: offsets and n stay within x.
                    unsafe { window_for(isa)(got.as_mut_ptr(), x[50..].as_ptr(), offsets.as_ptr(), weights.as_ptr(), taps, n) };
                    for i in 0..n {
                        let sum: f32 = (0..taps).map(|t| weights[t] * x[(50 + offsets[t]) as usize + i]).sum();
                        assert_eq!(got[i], 5.0 + sum, "element {i} of {n}, {taps} taps on {isa:?}");
                    }
                    assert_eq!(got[n], 5.0);
                }
            }
        }
    }
}
