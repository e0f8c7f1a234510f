//! Tile functions the compiler needs besides the arithmetic ones: copies, fills, and integer arithmetic on index tiles.

use super::kernels::{TileFn, moves};

macro_rules! sized {
    ($($(#[$m:meta])* $name:ident($dst:ident, $a:ident, $n:ident, $size:ident) $body:block;)*) => {$(
        $(#[$m])*
        pub fn $name(size: usize) -> TileFn {
            unsafe fn go<const S: usize>($dst: *mut u8, $a: *const u8, _: *const u8, _: *const u8, $n: usize) {
                let $size = S;
                $body
            }
            match size {
                1 => go::<1>,
                2 => go::<2>,
                4 => go::<4>,
                _ => go::<8>,
            }
        }
    )*};
}
sized! {
    /// Copies a tile; the two may be the same.
    copy(dst, a, n, size) {
        // SAFETY: both are valid for n elements.
        unsafe { std::ptr::copy(a, dst, n * size) }
    };
    /// Copies a tile past the caches.
    stream_copy(dst, a, n, size) {
        // SAFETY: both are valid for n elements and do not overlap.
        unsafe { moves::stream_copy(dst, a, n * size) }
    };
    /// Fills a tile with the element at `a`, past the caches.
    stream_fill(dst, a, n, size) {
        // SAFETY: dst is valid for n elements, a for one.
        unsafe { moves::stream_fill(dst, a, n, size) }
    };
    /// Fills a tile with the element at `a`.
    fill(dst, a, n, size) {
        // SAFETY: dst is valid for n elements, a for one.
        unsafe { moves::fill(dst, a, n, size) }
    };
}

macro_rules! index_ops {
    ($($(#[$m:meta])* $name:ident |$x:ident, $b:ident, $c:ident, $i:ident| -> $t:ty $e:block;)*) => {$(
        $(#[$m])*
        ///
        /// # Safety
        /// As every tile function.
        pub unsafe fn $name(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
            let (dst, a, $b, $c) = (dst.cast::<$t>(), a.cast::<i64>(), b.cast::<i64>(), c);
            for $i in 0..n {
                // SAFETY: the operands are valid for n elements, or one where the function reads only the first.
                unsafe {
                    let $x = *a.add($i);
                    *dst.add($i) = $e;
                }
            }
        }
    )*};
}
index_ops! {
    /// a * b\[0\].
    scale |x, b, _c, i| -> i64 { x.wrapping_mul(*b) };
    /// a * b\[0\] + c.
    axpy |x, b, c, i| -> i64 { x.wrapping_mul(*b).wrapping_add(*c.cast::<i64>().add(i)) };
    /// a * b\[0\] + c\[0\].
    axpy_scalar |x, b, c, i| -> i64 { x.wrapping_mul(*b).wrapping_add(*c.cast::<i64>()) };
    /// Euclidean quotient by b\[0\].
    div |x, b, _c, i| -> i64 { quotient(x, *b) };
    /// Euclidean remainder by b\[0\].
    rem |x, b, _c, i| -> i64 { x - quotient(x, *b) * *b };
    /// Into 0..b\[0\].
    clamp |x, b, _c, i| -> i64 { x.clamp(0, *b - 1) };
    /// b\[0\] <= a < b\[1\].
    in_range |x, b, _c, i| -> u8 { (x >= *b && x < *b.add(1)) as u8 };
    /// b\[0\] <= a < b\[1\], and c.
    in_range_and |x, b, c, i| -> u8 { (x >= *b && x < *b.add(1)) as u8 & *c.add(i) };
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
