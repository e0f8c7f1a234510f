//! Loads and stores of tiles that are not one run of memory: visited segment by segment along the innermost axis of their own shape.
//!
//! Bounds become an interval of lanes per segment: nothing is tested per element.

use super::kernels::moves::{self, by_size};
use super::nest::Walk;
use smallvec::SmallVec;

/// A stretch of lanes along the innermost axis of a walk.
struct Segment<'a> {
    /// First lane.
    at: usize,
    /// Lanes.
    n: usize,
    /// Value of each line at the first lane.
    offsets: &'a [i64],
    /// Lanes (relative to `at`) where all bounds hold.
    inside: (usize, usize),
}

/// Lanes `l` of `0..n` with `lo <= start + stride * l < hi`, as an interval.
#[inline]
fn interval(start: i64, stride: i64, lo: i64, hi: i64, n: usize) -> (usize, usize) {
    let n = n as i64;
    let ceil = |a: i64, b: i64| a.div_euclid(b).saturating_add((a.rem_euclid(b) != 0) as i64);
    let (a, b) = match stride {
        0 => return if start >= lo && start < hi { (0, n as usize) } else { (0, 0) },
        1 => (lo.saturating_sub(start), hi.saturating_sub(start)),
        s if s > 0 => (ceil(lo.saturating_sub(start), s), ceil(hi.saturating_sub(start), s)),
        // start - |s| l >= lo and < hi
        s => {
            let s = -s;
            (start.saturating_sub(hi).div_euclid(s).saturating_add(1), start.saturating_sub(lo).div_euclid(s).saturating_add(1))
        }
    };
    let (a, b) = (a.clamp(0, n), b.clamp(0, n));
    if a < b { (a as usize, b as usize) } else { (0, 0) }
}

/// Calls `f` for the segments of lanes `v..v + n`.
#[inline]
unsafe fn segments(w: &Walk, cur: *const i64, dynamic: i64, v: usize, n: usize, mut f: impl FnMut(&Segment<'_>)) {
    let rank = w.dims.len();
    let lines = w.lines.len();
    let mut coords: SmallVec<[usize; 8]> = SmallVec::from_elem(0, rank);
    // SAFETY: every line has an entry.
    let mut offsets: SmallVec<[i64; 6]> = w.lines.iter().map(|&l| unsafe { *cur.add(l as usize) }).collect();
    if w.element {
        offsets[0] += dynamic;
    }
    let mut rest = v;
    for d in (0..rank).rev() {
        let e = w.dims[d].extent.max(1);
        coords[d] = if d == 0 { rest } else { rest % e };
        rest /= e;
        for (o, s) in offsets.iter_mut().zip(&w.dims[d].strides) {
            *o += s * coords[d] as i64;
        }
    }
    let inner = &w.dims[rank - 1];
    let first = w.element as usize;
    let mut at = 0;
    loop {
        // What is computed once per row has one lane, also where the row has none.
        let m = (inner.extent.max(1) - coords[rank - 1]).min(n - at);
        let mut inside = (0, m);
        for b in first..lines {
            let (lo, hi) = w.limits[b - first];
            let (x, y) = interval(offsets[b], inner.strides[b], lo, hi, m);
            inside = (inside.0.max(x), inside.1.min(y));
        }
        if inside.0 >= inside.1 {
            inside = (0, 0);
        }
        f(&Segment { at, n: m, offsets: &offsets, inside });
        at += m;
        if at >= n {
            return;
        }
        // The innermost coordinate has reached its end: carry.
        for (o, s) in offsets.iter_mut().zip(&inner.strides) {
            *o -= s * coords[rank - 1] as i64;
        }
        coords[rank - 1] = 0;
        for d in (0..rank - 1).rev() {
            coords[d] += 1;
            let wrap = coords[d] == w.dims[d].extent && d > 0;
            let by = if wrap { -(w.dims[d].extent as i64 - 1) } else { 1 };
            for (o, s) in offsets.iter_mut().zip(&w.dims[d].strides) {
                *o += s * by;
            }
            if !wrap {
                break;
            }
            coords[d] = 0;
        }
    }
}

/// Innermost axes up to this length are walked together with the next one, element by element: their runs are too short to be worth a segment each.
const SHORT: usize = 8;

/// Whether lanes are better walked by [`short`].
#[inline]
fn is_short(w: &Walk) -> bool {
    let rank = w.dims.len();
    rank >= 2 && w.lines.len() == 1 && w.element && (2..=SHORT).contains(&w.dims[rank - 1].extent)
}

/// Calls `f` with each lane of `v..v + n` and its offset.
///
/// # Safety
/// `cur` has the walk's line; the walk [is short](is_short).
#[inline(always)]
unsafe fn short(w: &Walk, cur: *const i64, dynamic: i64, v: usize, n: usize, mut f: impl FnMut(usize, isize)) {
    let rank = w.dims.len();
    let (inner, next) = (&w.dims[rank - 1], &w.dims[rank - 2]);
    let (e, step, by) = (inner.extent, inner.strides[0] as isize, next.strides[0] as isize);
    // SAFETY: the line has an entry.
    let base = unsafe { *cur.add(w.lines[0] as usize) } + dynamic;
    let mut at = 0;
    while at < n {
        let (mut j, mut rest) = ((v + at) % e, (v + at) / e);
        let i = if rank == 2 { rest } else { rest % next.extent.max(1) };
        let lanes = if rank == 2 { n - at } else { (n - at).min((next.extent.max(1) - i) * e - j) };
        rest /= next.extent.max(1);
        let mut o = base as isize + i as isize * by;
        for d in (0..rank - 2).rev() {
            let extent = w.dims[d].extent.max(1);
            o += w.dims[d].strides[0] as isize * (if d == 0 { rest } else { rest % extent }) as isize;
            rest /= extent;
        }
        let mut l = 0;
        if e == 2 && j == 0 {
            while l + 2 <= lanes {
                f(at + l, o);
                f(at + l + 1, o + step);
                o += by;
                l += 2;
            }
        }
        while l < lanes {
            f(at + l, o + j as isize * step);
            l += 1;
            j += 1;
            if j == e {
                j = 0;
                o += by;
            }
        }
        at += lanes;
    }
}

/// Loads lanes `v..v + n` into `reg`, `fill` outside the bounds. Returns where they are: in the register, or in the buffer itself.
///
/// # Safety
/// `cur` has the walk's lines; inside the bounds the offsets are inside the buffer at `base`; `reg` has room for a tile.
#[allow(clippy::too_many_arguments)]
pub unsafe fn load(
    w: &Walk,
    cur: *const i64,
    dynamic: i64,
    base: *const u8,
    v: usize,
    n: usize,
    reg: *mut u8,
    fill: *const u8,
    size: usize,
) -> *mut u8 {
    if is_short(w) {
        by_size!(size, T => {
            let (base, reg) = (base.cast::<T>(), reg.cast::<T>());
            // SAFETY: as promised; a lane is below n.
            unsafe { short(w, cur, dynamic, v, n, |l, o| *reg.add(l) = *base.wrapping_offset(o)) }
        });
        return reg;
    }
    let stride = w.dims[w.dims.len() - 1].strides[0] as isize;
    let mut direct = std::ptr::null_mut();
    // SAFETY: as promised.
    unsafe {
        segments(w, cur, dynamic, v, n, |s| {
            let (a, b) = s.inside;
            let dst = reg.add(s.at * size);
            let src = base.wrapping_offset((s.offsets[0] as isize + a as isize * stride) * size as isize);
            if stride == 1 && a == 0 && b == n {
                direct = src.cast_mut();
                return;
            }
            if a > 0 || a == b {
                moves::fill(dst, fill, if a == b { s.n } else { a }, size);
            }
            if a < b {
                let to = dst.add(a * size);
                match stride {
                    1 => std::ptr::copy_nonoverlapping(src, to, (b - a) * size),
                    0 => moves::fill(to, src, b - a, size),
                    _ => moves::load_strided(to, src, stride, b - a, size),
                }
                if b < s.n {
                    moves::fill(dst.add(b * size), fill, s.n - b, size);
                }
            }
        });
    }
    if direct.is_null() { reg } else { direct }
}

/// The first line's values.
///
/// # Safety
/// As [`load`].
pub unsafe fn iota(w: &Walk, cur: *const i64, dynamic: i64, v: usize, n: usize, reg: *mut i64) {
    if is_short(w) {
        // SAFETY: as promised; a lane is below n.
        return unsafe { short(w, cur, dynamic, v, n, |l, o| *reg.add(l) = o as i64) };
    }
    let stride = w.dims[w.dims.len() - 1].strides[0];
    // SAFETY: as promised.
    unsafe {
        segments(w, cur, dynamic, v, n, |s| {
            for i in 0..s.n {
                *reg.add(s.at + i) = s.offsets[0] + stride * i as i64;
            }
        });
    }
}

/// Whether all bounds hold.
///
/// # Safety
/// As [`load`].
pub unsafe fn in_bounds(w: &Walk, cur: *const i64, v: usize, n: usize, reg: *mut u8) {
    // SAFETY: as promised.
    unsafe {
        segments(w, cur, 0, v, n, |s| {
            let (a, b) = s.inside;
            std::ptr::write_bytes(reg.add(s.at), 0, s.n);
            std::ptr::write_bytes(reg.add(s.at + a), 1, b - a);
        });
    }
}

/// Writes lanes `v..v + n`.
///
/// # Safety
/// As [`load`]; the buffer is writable.
#[allow(clippy::too_many_arguments)]
pub unsafe fn store(w: &Walk, cur: *const i64, dynamic: i64, base: *mut u8, v: usize, n: usize, src: *const u8, size: usize) {
    if is_short(w) {
        by_size!(size, T => {
            let (base, src) = (base.cast::<T>(), src.cast::<T>());
            // SAFETY: as promised; a lane is below n.
            unsafe { short(w, cur, dynamic, v, n, |l, o| *base.wrapping_offset(o) = *src.add(l)) }
        });
        return;
    }
    let stride = w.dims[w.dims.len() - 1].strides[0] as isize;
    // SAFETY: as promised.
    unsafe {
        segments(w, cur, dynamic, v, n, |s| {
            let dst = base.wrapping_offset(s.offsets[0] as isize * size as isize);
            let from = src.add(s.at * size);
            match stride {
                1 => std::ptr::copy(from, dst, s.n * size),
                _ => moves::store_strided(dst, stride, from, s.n, size),
            }
        });
    }
}

/// dst\[i\] = base\[index\[i\]\] where the mask holds, else the fill element.
///
/// # Safety
/// Where the mask holds, indices are inside the buffer.
pub unsafe fn gather_masked(dst: *mut u8, base: *const u8, index: *const i64, mask: *const u8, fill: *const u8, n: usize, size: usize) {
    by_size!(size, T => {
        for i in 0..n {
            // SAFETY: as promised.
            unsafe {
                *dst.cast::<T>().add(i) =
                    if *mask.add(i) != 0 { *base.cast::<T>().offset(*index.add(i) as isize) } else { *fill.cast::<T>() }
            };
        }
    })
}

/// base\[index\[i\]\] = src\[i\].
///
/// # Safety
/// Indices are inside the buffer.
pub unsafe fn scatter(base: *mut u8, index: *const i64, src: *const u8, n: usize, size: usize) {
    by_size!(size, T => {
        for i in 0..n {
            // SAFETY: as promised.
            unsafe { *base.cast::<T>().offset(*index.add(i) as isize) = *src.cast::<T>().add(i) };
        }
    })
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn intervals() {
        for stride in [-7i64, -3, -1, 0, 1, 2, 5] {
            for start in -12i64..12 {
                for (lo, hi) in [(0, 5), (-3, 3), (2, 2), (4, 1), (i64::MIN, 3), (-2, i64::MAX)] {
                    let (a, b) = interval(start, stride, lo, hi, 9);
                    for l in 0..9usize {
                        let v = start + stride * l as i64;
                        assert_eq!(a <= l && l < b, lo <= v && v < hi, "{start} {stride} {lo} {hi} {l}");
                    }
                }
            }
        }
    }
}
