//! What moves elements without computing: copies, strided and indexed loads, fills, sequences, transposes. Sizes are in bytes: 1, 2, 4 or 8.

use super::drive::{give, pick};
use super::{Isa, isa};
use crate::base::DType;

/// Calls `$body` with `T` an unsigned integer of that size.
macro_rules! by_size {
    ($size:expr, $t:ident => $body:expr) => {
        match $size {
            1 => {
                type $t = u8;
                $body
            }
            2 => {
                type $t = u16;
                $body
            }
            4 => {
                type $t = u32;
                $body
            }
            8 => {
                type $t = u64;
                $body
            }
            size => unreachable!("no element has {size} bytes"),
        }
    };
}
pub(in crate::backend::cpu) use by_size;

/// Copies `bytes` bytes.
///
/// # Safety
/// `src` is valid for reading and `dst` for writing that many bytes; they do not overlap.
#[inline]
pub unsafe fn copy(dst: *mut u8, src: *const u8, bytes: usize) {
    // A few bytes ahead of its source modulo a page, each load seems to wait for the store just before it: ten times slower, in the C
    // library's copy too. Copied from the end, loads stay ahead of the stores.
    let ahead = (dst as usize).wrapping_sub(src as usize) % 4096;
    // SAFETY: the caller's promise.
    unsafe {
        if ahead.wrapping_sub(1) < 63 && bytes >= 512 {
            copy_from_the_end(dst, src, bytes)
        } else {
            std::ptr::copy_nonoverlapping(src, dst, bytes)
        }
    }
}

/// # Safety
/// As [`copy`].
unsafe fn copy_from_the_end(dst: *mut u8, src: *const u8, bytes: usize) {
    const BLOCK: usize = 128;
    let mut at = bytes;
    // SAFETY: whole blocks below `bytes`.
    unsafe {
        while at >= BLOCK {
            at -= BLOCK;
            let block = src.add(at).cast::<[u64; BLOCK / 8]>().read_unaligned();
            dst.add(at).cast::<[u64; BLOCK / 8]>().write_unaligned(block);
        }
        std::ptr::copy_nonoverlapping(src, dst, at);
    }
}

/// Copies `bytes` bytes past the caches where the processor can: for outputs that nobody reads soon and that exceed the caches. Call
/// [`stream_fence`] before another thread may read them.
///
/// # Safety
/// As [`copy`].
pub unsafe fn stream_copy(dst: *mut u8, src: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        let head = dst.align_offset(64).min(bytes);
        let lines = (bytes - head) / 64;
        let done = head + lines * 64;
        // SAFETY: all offsets are below `bytes`; from `head` on dst is aligned to cache lines; SSE2 is part of the target.
        unsafe {
            copy(dst, src, head);
            for line in 0..lines {
                let (d, s) = (dst.add(head + line * 64).cast::<__m128i>(), src.add(head + line * 64).cast::<__m128i>());
                let x = [_mm_loadu_si128(s), _mm_loadu_si128(s.add(1)), _mm_loadu_si128(s.add(2)), _mm_loadu_si128(s.add(3))];
                for (k, x) in x.into_iter().enumerate() {
                    _mm_stream_si128(d.add(k), x);
                }
            }
            copy(dst.add(done), src.add(done), bytes - done);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        copy(dst, src, bytes)
    }
}

/// As [`fill`], past the caches where the processor can: see [`stream_copy`].
///
/// # Safety
/// As [`fill`].
pub unsafe fn stream_fill(dst: *mut u8, value: *const u8, n: usize, size: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        let bytes = n * size;
        let head = dst.align_offset(64).min(bytes);
        let lines = (bytes - head) / 64;
        let done = head + lines * 64;
        // SAFETY: all offsets are below `bytes` and whole elements, whose sizes divide 64; from `head` on dst is aligned to cache lines;
        // SSE2 is part of the target.
        unsafe {
            let mut block = [0u64; 2];
            fill(block.as_mut_ptr().cast(), value, 16 / size, size);
            let x = _mm_loadu_si128(block.as_ptr().cast());
            fill(dst, value, head / size, size);
            for i in 0..lines * 4 {
                _mm_stream_si128(dst.add(head).cast::<__m128i>().add(i), x);
            }
            fill(dst.add(done), value, (bytes - done) / size, size);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        fill(dst, value, n, size)
    }
}

/// Asks for the cache lines of `bytes` bytes from `p` on.
#[inline(always)]
pub fn fetch(p: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(64) {
        // SAFETY: a hint, which never faults; SSE is part of the target.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (p, bytes);
}

/// Orders earlier [`stream_copy`]s of this thread before its later stores.
#[inline]
pub fn stream_fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of the target.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}

/// dst\[i\] = src\[i * stride\], the stride in elements (any sign, or 0).
///
/// # Safety
/// `dst` is valid for writing `n` elements, `src` for reading those; both are aligned; they do not overlap.
pub unsafe fn load_strided(dst: *mut u8, src: *const u8, stride: isize, n: usize, size: usize) {
    by_size!(size, T => {
        // SAFETY: the caller's promise.
        unsafe { pick_load::<T>(isa())(dst.cast::<T>(), src.cast::<T>(), stride, n) }
    })
}

/// dst\[i * stride\] = src\[i\], the stride in elements.
///
/// # Safety
/// As [`load_strided`], with the roles exchanged.
pub unsafe fn store_strided(dst: *mut u8, stride: isize, src: *const u8, n: usize, size: usize) {
    by_size!(size, T => {
        // SAFETY: the caller's promise.
        unsafe { pick_store::<T>(isa())(dst.cast::<T>(), stride, src.cast::<T>(), n) }
    })
}

/// Strides that are known when compiling become shuffles.
#[inline(always)]
unsafe fn load_by<T: Copy>(dst: *mut T, src: *const T, stride: isize, n: usize) {
    #[inline(always)]
    unsafe fn by<T: Copy, const S: usize>(dst: *mut T, src: *const T, n: usize) {
        // SAFETY: the elements up to the last one read.
        let (to, from) = unsafe { (std::slice::from_raw_parts_mut(dst, n), std::slice::from_raw_parts(src, (n - 1) * S + 1)) };
        let whole = n - 1;
        for (d, s) in to[..whole].iter_mut().zip(from.chunks_exact(S)) {
            *d = s[0];
        }
        to[whole] = from[whole * S];
    }
    // SAFETY: the caller's promise.
    unsafe {
        match stride {
            _ if n == 0 => {}
            -1 => {
                let from = std::slice::from_raw_parts(src.sub(n - 1), n);
                std::slice::from_raw_parts_mut(dst, n).iter_mut().zip(from.iter().rev()).for_each(|(d, s)| *d = *s);
            }
            2 => by::<T, 2>(dst, src, n),
            3 => by::<T, 3>(dst, src, n),
            4 => by::<T, 4>(dst, src, n),
            _ => (0..n).for_each(|i| *dst.add(i) = *src.offset(i as isize * stride)),
        }
    }
}

/// As [`load_by`], for stores. What lies between is not touched.
#[inline(always)]
unsafe fn store_by<T: Copy>(dst: *mut T, stride: isize, src: *const T, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if stride == -1 && n > 0 {
            let from = std::slice::from_raw_parts(src, n);
            std::slice::from_raw_parts_mut(dst.sub(n - 1), n).iter_mut().zip(from.iter().rev()).for_each(|(d, s)| *d = *s);
            return;
        }
        let (mut i, mut to) = (0, dst);
        while i + 4 <= n {
            let x = [*src.add(i), *src.add(i + 1), *src.add(i + 2), *src.add(i + 3)];
            *to = x[0];
            *to.wrapping_offset(stride) = x[1];
            *to.wrapping_offset(2 * stride) = x[2];
            *to.wrapping_offset(3 * stride) = x[3];
            to = to.wrapping_offset(4 * stride);
            i += 4;
        }
        (i..n).for_each(|i| *dst.offset(i as isize * stride) = *src.add(i));
    }
}

pick! {
    pick_load [T: Copy] [] (dst: *mut T, src: *const T, stride: isize, n: usize),
    load_by(dst, src, stride, n),
    load_by(dst, src, stride, n),
    load_by(dst, src, stride, n)
}

pick! {
    pick_store [T: Copy] [] (dst: *mut T, stride: isize, src: *const T, n: usize),
    store_by(dst, stride, src, n),
    store_by(dst, stride, src, n),
    store_by(dst, stride, src, n)
}

/// dst\[i\] = base\[index\[i\] * scale\], offsets in elements.
///
/// # Safety
/// `dst` is valid for writing `n` elements, `index` for reading `n`, `base` for reading the elements named; all are aligned, none overlaps dst.
pub unsafe fn gather_i64(dst: *mut u8, base: *const u8, index: *const i64, scale: isize, n: usize, size: usize) {
    by_size!(size, T => {
        let (dst, base) = (dst.cast::<T>(), base.cast::<T>());
        let mut i = 0;
        // The usual scale needs no product, and several loads at a time leave less to count.
        while scale == 1 && i + 8 <= n {
            for j in i..i + 8 {
                // SAFETY: the caller's promise.
                unsafe { *dst.add(j) = *base.offset(*index.add(j) as isize) };
            }
            i += 8;
        }
        for i in i..n {
            // SAFETY: the caller's promise.
            unsafe { *dst.add(i) = *base.offset(*index.add(i) as isize * scale) };
        }
    })
}

/// As [`gather_i64`], with indices of 32 bits.
///
/// # Safety
/// As [`gather_i64`].
pub unsafe fn gather_i32(dst: *mut u8, base: *const u8, index: *const i32, scale: isize, n: usize, size: usize) {
    by_size!(size, T => {
        let (dst, base) = (dst.cast::<T>(), base.cast::<T>());
        for i in 0..n {
            // SAFETY: the caller's promise.
            unsafe { *dst.add(i) = *base.offset(*index.add(i) as isize * scale) };
        }
    })
}

/// `n` copies of the element at `value`.
///
/// # Safety
/// `dst` is valid for writing `n` elements, `value` for reading one; both are aligned.
pub unsafe fn fill(dst: *mut u8, value: *const u8, n: usize, size: usize) {
    by_size!(size, T => {
        // SAFETY: the caller's promise.
        let (dst, value) = unsafe { (std::slice::from_raw_parts_mut(dst.cast::<std::mem::MaybeUninit<T>>(), n), *value.cast::<T>()) };
        dst.fill(std::mem::MaybeUninit::new(value));
    })
}

const CHUNK: usize = 16;

#[inline(always)]
unsafe fn sequence<T: Copy + Default>(dst: *mut T, n: usize, at: impl Fn(i64) -> T) {
    let mut i = 0;
    while i < n {
        let mut x = [T::default(); CHUNK];
        for (j, x) in x.iter_mut().enumerate() {
            *x = at((i + j) as i64);
        }
        // SAFETY: dst has that many elements left.
        unsafe { give(dst.add(i), &x, CHUNK.min(n - i)) };
        i += CHUNK;
    }
}

/// dst\[k\] = base + k * step, wrapped to `dtype`: I64, I32, U32 or U8.
///
/// # Safety
/// `dst` is valid for writing `n` elements, and aligned.
///
/// # Panics
/// For another dtype.
pub unsafe fn iota_int(dst: *mut u8, dtype: DType, base: i64, step: i64, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            DType::I64 => sequence(dst.cast(), n, |k| base.wrapping_add(k.wrapping_mul(step))),
            // In 32 bits the same, and vectorised.
            DType::I32 | DType::U32 => {
                let (base, step) = (base as i32, step as i32);
                sequence(dst.cast(), n, move |k| base.wrapping_add((k as i32).wrapping_mul(step)))
            }
            DType::U8 => sequence(dst.cast(), n, |k| base.wrapping_add(k.wrapping_mul(step)) as u8),
            _ => panic!("iota_int of {dtype}"),
        }
    }
}

/// dst\[k\] = base + (first + k) * step, computed in f64 and rounded to `dtype`: F32 or F64. The same element has the same value whichever
/// tile it falls in.
///
/// # Safety
/// `dst` is valid for writing `n` elements, and aligned.
///
/// # Panics
/// For another dtype.
pub unsafe fn iota_float(dst: *mut u8, dtype: DType, base: f64, step: f64, first: i64, n: usize) {
    let at = |k: i64| base + (first + k) as f64 * step;
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            DType::F32 => sequence(dst.cast(), n, |k| at(k) as f32),
            DType::F64 => sequence(dst.cast(), n, at),
            _ => panic!("iota_float of {dtype}"),
        }
    }
}

/// dst\[j * dst_stride + i\] = src\[i * src_stride + j\] for i below `rows` and j below `cols`, strides in elements, of any sign. Cut large
/// matrices into blocks that fit L1 (32 x 32 or so).
///
/// # Safety
/// `src` is valid for reading and `dst` for writing the elements named; both are aligned; they do not overlap.
pub unsafe fn transpose(dst: *mut u8, dst_stride: isize, src: *const u8, src_stride: isize, rows: usize, cols: usize, size: usize) {
    let (mut done_rows, mut done_cols) = (0, 0);
    if size == 4 {
        (done_rows, done_cols) = (rows / 8 * 8, cols / 8 * 8);
        let block = pick_transpose_8x8(isa());
        for i in (0..done_rows).step_by(8) {
            for j in (0..done_cols).step_by(8) {
                // SAFETY: the block's elements are among those named.
                unsafe {
                    let to = dst.cast::<f32>().offset(j as isize * dst_stride + i as isize);
                    block(to, dst_stride, src.cast::<f32>().offset(i as isize * src_stride + j as isize), src_stride)
                };
            }
        }
    }
    by_size!(size, T => {
        let (dst, src) = (dst.cast::<T>(), src.cast::<T>());
        for i in 0..rows {
            let from = if i < done_rows { done_cols } else { 0 };
            for j in from..cols {
                // SAFETY: the caller's promise.
                unsafe { *dst.offset(j as isize * dst_stride + i as isize) = *src.offset(i as isize * src_stride + j as isize) };
            }
        }
    })
}

/// Transposes a 16 x 16 block of 4-byte elements, strides in elements.
///
/// # Safety
/// As [`transpose`] with 16 rows and columns.
pub unsafe fn transpose_16x16(dst: *mut u8, dst_stride: isize, src: *const u8, src_stride: isize) {
    // SAFETY: the caller's promise.
    unsafe { transpose(dst, dst_stride, src, src_stride, 16, 16, 4) }
}

/// # Safety
/// As [`transpose`] with 8 rows and columns.
#[inline(always)]
unsafe fn transpose_8x8_plain(dst: *mut f32, dst_stride: isize, src: *const f32, src_stride: isize) {
    for i in 0..8 {
        for j in 0..8 {
            // SAFETY: the caller's promise.
            unsafe { *dst.offset(j as isize * dst_stride + i as isize) = *src.offset(i as isize * src_stride + j as isize) };
        }
    }
}

/// # Safety
/// As [`transpose`] with 8 rows and columns; the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_8x8_avx2(dst: *mut f32, dst_stride: isize, src: *const f32, src_stride: isize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    unsafe {
        // Pairs of half rows (rows i and i + 4), so that what remains stays within 128-bit lanes.
        let half = |i: usize, j: usize| {
            let low = _mm_loadu_ps(src.offset(i as isize * src_stride + j as isize));
            let high = _mm_loadu_ps(src.offset((i + 4) as isize * src_stride + j as isize));
            _mm256_set_m128(high, low)
        };
        for j in [0usize, 4] {
            let at = |k: usize| dst.offset((j + k) as isize * dst_stride);
            let (a, b, c, d) = (half(0, j), half(1, j), half(2, j), half(3, j));
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            _mm256_storeu_ps(at(0), _mm256_shuffle_ps::<0x44>(ab_low, cd_low));
            _mm256_storeu_ps(at(1), _mm256_shuffle_ps::<0xEE>(ab_low, cd_low));
            _mm256_storeu_ps(at(2), _mm256_shuffle_ps::<0x44>(ab_high, cd_high));
            _mm256_storeu_ps(at(3), _mm256_shuffle_ps::<0xEE>(ab_high, cd_high));
        }
    }
}

pick! {
    pick_transpose_8x8 [] [] (dst: *mut f32, dst_stride: isize, src: *const f32, src_stride: isize),
    transpose_8x8_plain(dst, dst_stride, src, src_stride),
    transpose_8x8_avx2(dst, dst_stride, src, src_stride),
    transpose_8x8_avx2(dst, dst_stride, src, src_stride)
}
