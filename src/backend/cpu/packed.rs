//! Products of strided integer matrices: one factor packed in strips, the other read where it lies. Sums wrap around, so their order is free.

use super::kernels::moves;
use super::micro::{Left, Micro, ROWS, STRIP};
use super::run::with_scratch;

/// Steps of the contraction that are packed at once.
const DEPTH: usize = 128;

/// A matrix: its first element, row and column stride in elements.
pub type Matrix = (*mut u8, isize, isize);

/// dst = a b for elements of `size` bytes.
///
/// # Safety
/// The matrices `[m, k]`, `[k, n]` and `[m, n]` with these strides are valid; dst overlaps neither factor.
pub unsafe fn product(micro: &Micro, size: usize, (m, n, k): (usize, usize, usize), dst: Matrix, a: Matrix, b: Matrix) {
    let lanes = STRIP / size;
    let strips = n.div_ceil(lanes);
    let ld = strips * lanes;
    let steps = k.min(DEPTH);
    with_scratch(strips * steps * STRIP + m * ld * size, |mem| {
        // SAFETY: packed strips, then the result, lie in the scratch memory; elements are those of the matrices.
        unsafe {
            let c = mem.add(strips * steps * STRIP);
            if k == 0 {
                std::ptr::write_bytes(c, 0, m * ld * size);
            }
            for k0 in (0..k).step_by(DEPTH) {
                let kn = DEPTH.min(k - k0);
                for s in 0..strips {
                    let (to, cols) = (mem.add(s * steps * STRIP), lanes.min(n - s * lanes));
                    let from = b.0.offset((k0 as isize * b.1 + (s * lanes) as isize * b.2) * size as isize);
                    pack(to, from, b.1, b.2, kn, cols, size);
                }
                for s in 0..strips {
                    for r in (0..m).step_by(ROWS) {
                        let take = ROWS.min(m - r);
                        let row = |i: usize| {
                            let r = (r + i.min(take - 1)) as isize;
                            a.0.offset((r * a.1 + k0 as isize * a.2) * size as isize).cast_const()
                        };
                        let left = Left { rows: std::array::from_fn(row), step: a.2, len: kn, seg: 0, segs: 1 };
                        micro[take - 1](&left, mem.add(s * steps * STRIP), c.add((r * ld + s * lanes) * size), ld, k0 > 0);
                    }
                }
            }
            for r in 0..m {
                let (to, from) = (dst.0.offset(r as isize * dst.1 * size as isize), c.add(r * ld * size));
                if dst.2 == 1 { moves::copy(to, from, n * size) } else { moves::store_strided(to, dst.2, from, n, size) }
            }
        }
    });
}

/// Packs `cols` columns of `rows` rows into one strip; the other lanes are zero.
unsafe fn pack(to: *mut u8, from: *const u8, by_row: isize, by_col: isize, rows: usize, cols: usize, size: usize) {
    // SAFETY: the caller's promise: the elements exist, and `to` has room for a strip a row.
    unsafe {
        if cols * size < STRIP {
            std::ptr::write_bytes(to, 0, rows * STRIP);
        }
        if by_row == 1 && by_col > 0 {
            moves::transpose(to, (STRIP / size) as isize, from, by_col, cols, rows, size);
            return;
        }
        for i in 0..rows {
            let (to, from) = (to.add(i * STRIP), from.offset(i as isize * by_row * size as isize));
            if by_col == 1 { moves::copy(to, from, cols * size) } else { moves::load_strided(to, from, by_col, cols, size) }
        }
    }
}
