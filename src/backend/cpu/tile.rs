//! Tile functions the compiler needs besides the arithmetic ones: copies, fills, and integer arithmetic on index tiles.

use super::kernels::{TileFn, index, moves};

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
    ($($name:ident)*) => {$(
        #[doc = concat!("[`index::", stringify!($name), "`].")]
        ///
        /// # Safety
        /// As every tile function.
        pub unsafe fn $name(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
            // SAFETY: the caller's promise.
            unsafe { index::$name()(dst, a, b, c, n) }
        }
    )*};
}
index_ops! { scale div rem clamp clamp_plus in_range in_range_and }

macro_rules! sums {
    ($($name:ident $plus:ident)*) => {$(
        #[doc = concat!("[`index::", stringify!($name), "`]; without the product where it is by 1.")]
        ///
        /// # Safety
        /// As every tile function.
        pub unsafe fn $name(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
            // SAFETY: the caller's promise; `b` is one element.
            unsafe {
                if *b.cast::<i64>() == 1 {
                    index::$plus()(dst, a, c, c, n)
                } else {
                    index::$name()(dst, a, b, c, n)
                }
            }
        }
    )*};
}
sums! { axpy plus axpy_scalar plus_scalar }
