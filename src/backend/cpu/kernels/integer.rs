//! Integers by way of floating point, where that is exact: division of I64, and F32 to I64, for which vector instructions are missing.

use super::drive::{give, pick, take};
use super::{Isa, TileFn};

const CHUNK: usize = 8;
/// Integers below this magnitude have quotients that floating point gets right: the nearest of them are further apart than its error.
const LIMIT: i64 = 1 << 51;
/// 1.5 * 2^52: added to a whole number below 2^51, it leaves that number in the low bits.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// Exact for |x| < 2^51.
#[inline(always)]
fn to_float(x: i64) -> f64 {
    f64::from_bits(x.wrapping_add(MAGIC.to_bits() as i64) as u64) - MAGIC
}

/// The inverse of [`to_float`].
#[inline(always)]
fn to_int(x: f64) -> i64 {
    ((x + MAGIC).to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64)
}

/// One division, towards zero; 0 for a divisor of 0.
fn single<const REM: bool>(x: i64, y: i64) -> i64 {
    match y {
        0 => 0,
        _ if REM => x.wrapping_rem(y),
        _ => x.wrapping_div(y),
    }
}

#[inline(always)]
unsafe fn divide<const REM: bool>(dst: *mut u8, a: *const u8, b: *const u8, n: usize) {
    let (dst, a, b) = (dst.cast::<i64>(), a.cast::<i64>(), b.cast::<i64>());
    let (mut x, mut y, mut r) = ([0i64; CHUNK], [1i64; CHUNK], [0i64; CHUNK]);
    let mut i = 0;
    while i < n {
        let m = CHUNK.min(n - i);
        // SAFETY: the operands have m elements left.
        unsafe {
            take(&mut x, a.add(i), m);
            take(&mut y, b.add(i), m);
        }
        let mut beyond = 0;
        for j in 0..CHUNK {
            beyond |= (x[j].wrapping_add(LIMIT) as u64 | y[j].wrapping_add(LIMIT) as u64) >> 52;
        }
        if beyond == 0 {
            for j in 0..CHUNK {
                let (p, q) = (to_float(x[j]), to_float(y[j]));
                let t = (p / q).trunc();
                let whole = to_int(if REM { p - t * q } else { t });
                r[j] = if y[j] == 0 { 0 } else { whole };
            }
        } else {
            for j in 0..CHUNK {
                r[j] = single::<REM>(x[j], y[j]);
            }
        }
        // SAFETY: so has dst.
        unsafe { give(dst.add(i), &r, m) };
        i += m;
    }
}

#[inline(always)]
unsafe fn truncate(dst: *mut u8, a: *const u8, n: usize) {
    let (dst, a) = (dst.cast::<i64>(), a.cast::<f32>());
    let (mut x, mut r) = ([0f32; CHUNK], [0i64; CHUNK]);
    let mut i = 0;
    while i < n {
        let m = CHUNK.min(n - i);
        // SAFETY: the operand has m elements left.
        unsafe { take(&mut x, a.add(i), m) };
        let mut within = true;
        for x in x {
            within &= x.abs() < 2_147_483_648.0;
        }
        if within {
            for j in 0..CHUNK {
                // SAFETY: no NaN, and below 2^31.
                r[j] = unsafe { x[j].to_int_unchecked::<i32>() } as i64;
            }
        } else {
            for j in 0..CHUNK {
                r[j] = x[j] as i64;
            }
        }
        // SAFETY: so has dst.
        unsafe { give(dst.add(i), &r, m) };
        i += m;
    }
}

pick! {
    pick_divide [] [REM: bool] (dst: *mut u8, a: *const u8, b: *const u8, _c: *const u8, n: usize),
    divide::<REM>(dst, a, b, n),
    divide::<REM>(dst, a, b, n),
    divide::<REM>(dst, a, b, n)
}
pick! {
    pick_truncate [] [] (dst: *mut u8, a: *const u8, _b: *const u8, _c: *const u8, n: usize),
    truncate(dst, a, n),
    truncate(dst, a, n),
    truncate(dst, a, n)
}

/// a / b of I64 towards zero, or the remainder with the sign of `a`; 0 where `b` is.
pub(super) fn division(isa: Isa, remainder: bool) -> TileFn {
    if remainder { pick_divide::<true>(isa) } else { pick_divide::<false>(isa) }
}

/// F32 to I64: towards zero, to the nearest there is beyond its range, NaN to 0.
pub(super) fn truncation(isa: Isa) -> TileFn {
    pick_truncate(isa)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Rng, isas};

    #[test]
    fn divisions() {
        let mut rng = Rng(5);
        let edges = [0, 1, -1, 2, 3, -7, (1 << 51) - 1, -(1 << 51) + 1, 1 << 51, -(1 << 51), (1 << 51) - 2, i64::MAX, i64::MIN, 1 << 31];
        for isa in isas() {
            for n in [1, 7, 8, 40, 1000] {
                let small = |rng: &mut Rng| match rng.below(3) {
                    0 => rng.below(2001) as i64 - 1000,
                    1 => (rng.below(1 << 26) as i64) << 25 | rng.below(1 << 25) as i64,
                    _ => edges[rng.below(7)],
                };
                for wide in [false, true] {
                    let mut draw = || {
                        (0..n).map(|_| if wide && rng.below(4) == 0 { edges[rng.below(14)] } else { small(&mut rng) }).collect::<Vec<_>>()
                    };
                    let (a, b) = (draw(), draw());
                    for rem in [false, true] {
                        let mut got = vec![0i64; n];
                        // SAFETY: all have n elements.
                        unsafe {
                            super::division(isa, rem)(got.as_mut_ptr().cast(), a.as_ptr().cast(), b.as_ptr().cast(), std::ptr::null(), n)
                        };
                        for i in 0..n {
                            let want = if b[i] == 0 {
                                0
                            } else if rem {
                                a[i].wrapping_rem(b[i])
                            } else {
                                a[i].wrapping_div(b[i])
                            };
                            assert_eq!(got[i], want, "{} by {} on {isa:?}, remainder {rem}", a[i], b[i]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn truncations() {
        let edges =
            [0.0, -0.0, 0.9, -0.9, 2147483520.0, 2147483648.0, -2147483648.0, 1e18, 1e30, -1e30, f32::NAN, f32::INFINITY, 5.5, -7.5];
        for isa in isas() {
            for n in [1, 5, 8, 14] {
                let mut got = vec![0i64; n];
                // SAFETY: both have n elements.
                unsafe { super::truncation(isa)(got.as_mut_ptr().cast(), edges.as_ptr().cast(), std::ptr::null(), std::ptr::null(), n) };
                assert!(got.iter().zip(edges).all(|(&g, x)| g == x as i64), "{got:?}");
            }
        }
    }
}
