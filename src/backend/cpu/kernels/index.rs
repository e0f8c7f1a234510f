//! Arithmetic on tiles of computed positions, which are I64.
//!
//! `b` and `c` are one element, unless a function says otherwise.

use super::drive::{NONE, ONE, TILE, Zip, pick_zip};
use super::{TileFn, isa};

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident $kernel:ident [$kb:ident: $b:ty, $kc:ident: $c:ty] -> $r:ty |$x:ident, $y:pat_param, $z:pat_param| $e:expr;)*) => {$(
        struct $kernel;
        impl Zip for $kernel {
            type A = i64;
            type B = $b;
            type C = $c;
            type R = $r;
            #[inline(always)]
            fn call($x: i64, $y: $b, $z: $c) -> $r {
                $e
            }
        }
        $(#[$doc])*
        pub fn $name() -> TileFn {
            pick_zip::<$kernel, TILE, $kb, $kc>(isa())
        }
    )*};
}
functions! {
    /// a * b.
    scale Scale [ONE: i64, NONE: i64] -> i64 |x, b, _| x.wrapping_mul(b);
    /// a * b + c, of a tile `c`.
    axpy Axpy [ONE: i64, TILE: i64] -> i64 |x, b, c| x.wrapping_mul(b).wrapping_add(c);
    /// a * b + c.
    axpy_scalar AxpyScalar [ONE: i64, ONE: i64] -> i64 |x, b, c| x.wrapping_mul(b).wrapping_add(c);
    /// a + c, of a tile `c` that comes second.
    plus Plus [TILE: i64, NONE: i64] -> i64 |x, c, _| x.wrapping_add(c);
    /// a + c, where `c` comes second.
    plus_scalar PlusScalar [ONE: i64, NONE: i64] -> i64 |x, c, _| x.wrapping_add(c);
    /// Euclidean quotient by b > 0.
    div Div [ONE: i64, NONE: i64] -> i64 |x, b, _| quotient(x, b);
    /// Euclidean remainder by b > 0.
    rem Rem [ONE: i64, NONE: i64] -> i64 |x, b, _| x.wrapping_sub(quotient(x, b).wrapping_mul(b));
    /// Into 0..b.
    clamp Clamp [ONE: i64, NONE: i64] -> i64 |x, b, _| x.min(b - 1).max(0);
    /// Into 0..b, plus c.
    clamp_plus ClampPlus [ONE: i64, ONE: i64] -> i64 |x, b, c| x.min(b - 1).max(0).wrapping_add(c);
    /// b\[0\] <= a < b\[1\].
    in_range InRange [ONE: [i64; 2], NONE: u8] -> u8 |x, b, _| (x >= b[0]) as u8 & (x < b[1]) as u8;
    /// b\[0\] <= a < b\[1\], and c, which is a tile.
    in_range_and InRangeAnd [ONE: [i64; 2], TILE: u8] -> u8 |x, b, c| (x >= b[0]) as u8 & (x < b[1]) as u8 & c;
}

/// Exact for |x| < 2^51 in floating point, which is several times faster than integer division.
#[inline(always)]
fn quotient(x: i64, c: i64) -> i64 {
    if x.unsigned_abs() < 1 << 51 && c < 1 << 51 { ((x as f64 + 0.5) / c as f64).floor() as i64 } else { x.div_euclid(c) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotients() {
        for c in [1i64, 2, 3, 7, 10, 641, 1 << 40, (1 << 50) + 1] {
            for x in
                (-50..50).chain([i64::MAX, i64::MIN, (1 << 51) - 1, -(1 << 51) + 1, (1 << 50) + 1, 641 * 1_000_003, 641 * 1_000_003 - 1])
            {
                assert_eq!(super::quotient(x, c), x.div_euclid(c), "{x} / {c}");
            }
        }
    }
}
