//! Outputs times positions: the kernel `[O, C W]` times unfolded windows `[C W, P]`.
//!
//! A block of positions is packed strip by strip, [`DEPTH`] window elements at a time, each a few short copies; then all outputs pass over it.

use super::super::drive::{Ptrs, SERIAL_NS};
#[cfg(target_arch = "x86_64")]
use super::super::kernels::{Isa, isa};
use super::super::micro::{Left, ROWS, STRIP};
use super::super::run::{Task, with_scratch};
use super::{Call, Conv, DEPTH, Grid};
use smallvec::SmallVec;

/// Most positions of a block.
const BLOCK: usize = 256;
/// Rows of the kernel that stay in cache while the strips of a block pass.
const PANEL: usize = 16 * ROWS;

/// The positions of a strip as runs: first lane, offset, length.
type Runs = SmallVec<[(usize, isize, usize); 4]>;

impl Conv {
    /// # Safety
    /// As [`Conv::run`], with complete factors.
    pub(super) unsafe fn run_unfolded(&self, call: &Call<'_>) {
        let size = self.dtype.size();
        let lanes = STRIP / size;
        let positions = self.npositions;
        let (cg, og) = (self.channels / self.groups, self.outputs / self.groups);
        let depth = cg * self.ntaps;
        // Where each window element lies, from the group's first plane.
        let offsets: Vec<isize> = {
            let taps: SmallVec<[isize; 32]> = (0..self.ntaps).map(|t| self.taps.offset(t)).collect();
            (0..cg).flat_map(|c| taps.iter().map(move |t| ((c * self.strides[1]) as isize + t) * size as isize)).collect()
        };
        let mut pieces = positions.div_ceil(BLOCK);
        if pieces * self.batch * self.groups < 8 && positions >= 8 * 4 * lanes {
            pieces = 8;
        }
        let block = positions.div_ceil(pieces).next_multiple_of(lanes);
        let blocks = positions.div_ceil(block);
        let tasks = self.batch * self.groups * blocks;
        let rows = if tasks < 4 && og >= 128 { og.div_ceil(4).next_multiple_of(ROWS) } else { og };
        let bands = og.div_ceil(rows);
        let steps = depth.div_ceil(depth.div_ceil(DEPTH).max(1));
        let pack_fn = packer();
        let (e, args) = (&self.epilogue, Ptrs(call.args));
        let (input, weights, params, end) = (call.input, call.weights, call.params, call.end);
        let task = |i: usize| {
            let (band, p, g, b) = (i % bands, i / bands % blocks, i / (bands * blocks) % self.groups, i / (bands * blocks * self.groups));
            let (p0, o0) = (p * block, band * rows);
            let (n, m) = (block.min(positions - p0), rows.min(og - o0));
            let strips = n.div_ceil(lanes);
            let ld = strips * lanes;
            let packed = (strips * steps + 1) * STRIP;
            with_scratch(packed + m * ld * size + e.task_bytes(), |mem| {
                // SAFETY: the parts follow each other in the scratch memory; factors are complete.
                unsafe {
                    let c = mem.add(packed);
                    let x = input.get().add((b * self.strides[0] + g * cg * self.strides[1]) * size);
                    let w = weights.get().add((g * og + o0) * depth * size);
                    let runs: SmallVec<[Runs; 16]> =
                        (0..strips).map(|s| strip_runs(&self.positions, p0 + s * lanes, lanes.min(n - s * lanes))).collect();
                    let mut k0 = 0;
                    while k0 < depth {
                        let k = steps.min(depth - k0);
                        for (s, r) in runs.iter().enumerate() {
                            pack_fn(r, self.positions.inner().1, x, &offsets[k0..k0 + k], mem.add(s * k * STRIP), size, end.get());
                        }
                        let mut first = 0;
                        while first < m {
                            let panel = PANEL.min(m - first);
                            for s in 0..strips {
                                let mut r = first;
                                while r < first + panel {
                                    let take = ROWS.min(first + panel - r);
                                    let row = |i: usize| w.add(((r + i.min(take - 1)) * depth + k0) * size).cast_const();
                                    let left = Left { rows: std::array::from_fn(row), step: 1, len: k, seg: 0, segs: 1 };
                                    self.micro[take - 1](&left, mem.add(s * k * STRIP), c.add((r * ld + s * lanes) * size), ld, k0 > 0);
                                    r += take;
                                }
                            }
                            first += panel;
                        }
                        k0 += k;
                    }
                    if depth == 0 {
                        std::ptr::write_bytes(c, 0, m * ld * size);
                    }
                    let mut t = Task::start(e, args.get(), params.get().cast(), c.add(m * ld * size));
                    t.seek(b * self.outputs + g * og + o0);
                    for y in 0..m {
                        t.set_point_result(c.wrapping_offset(((y * ld) as isize - p0 as isize) * size as isize));
                        t.enter(0);
                        t.place(0, p0);
                        t.tiles(0, p0, p0 + n);
                        if y + 1 < m {
                            t.step();
                        }
                    }
                    t.finish();
                }
            });
        };
        call.pool.run(tasks * bands, self.cost > SERIAL_NS, &task);
    }
}

fn strip_runs(g: &Grid, from: usize, n: usize) -> Runs {
    let mut out = Runs::new();
    g.runs(from, n, |at, offset, m| out.push((at, offset, m)));
    out
}

/// [`pack`], compiled for the processor.
fn packer() -> unsafe fn(&Runs, isize, *const u8, &[isize], *mut u8, usize, *const u8) {
    #[cfg(target_arch = "x86_64")]
    if isa() != Isa::Plain {
        return pack_avx2;
    }
    pack_plain
}

/// # Safety
/// As [`pack`].
unsafe fn pack_plain(runs: &Runs, step: isize, x: *const u8, offsets: &[isize], dst: *mut u8, size: usize, end: *const u8) {
    // SAFETY: the caller's promise.
    unsafe { pack(runs, step, x, offsets, dst, size, end) }
}

/// # Safety
/// As [`pack`]; the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn pack_avx2(runs: &Runs, step: isize, x: *const u8, offsets: &[isize], dst: *mut u8, size: usize, end: *const u8) {
    // SAFETY: the caller's promise.
    unsafe { pack(runs, step, x, offsets, dst, size, end) }
}

/// Packs one strip: for each offset the elements of all runs. Lanes that no run fills hold anything.
///
/// # Safety
/// All elements lie before `end`; `dst` has room for the strips and one more.
#[inline(always)]
unsafe fn pack(runs: &Runs, step: isize, x: *const u8, offsets: &[isize], dst: *mut u8, size: usize, end: *const u8) {
    let lanes = STRIP / size;
    // SAFETY: as promised. A copy of a whole strip that would read beyond the end is cut; what it writes too much is written again.
    unsafe {
        match &runs[..] {
            &[(_, from, n)] if step == 1 && n == lanes => {
                let x = x.offset(from * size as isize);
                for (k, &o) in offsets.iter().enumerate() {
                    std::ptr::copy_nonoverlapping(x.offset(o), dst.add(k * STRIP), STRIP);
                }
            }
            _ if step == 1 => {
                for (k, &o) in offsets.iter().enumerate() {
                    let to = dst.add(k * STRIP);
                    for &(at, from, n) in runs {
                        let src = x.offset(from * size as isize + o);
                        if src.wrapping_add(STRIP) <= end {
                            std::ptr::copy_nonoverlapping(src, to.add(at * size), STRIP);
                        } else {
                            std::ptr::copy_nonoverlapping(src, to.add(at * size), n * size);
                        }
                    }
                }
            }
            _ => {
                let mut each = [0isize; STRIP / 4];
                let mut n = 0;
                for &(_, from, m) in runs {
                    for i in 0..m {
                        each[n] = from + i as isize * step;
                        n += 1;
                    }
                }
                for i in n..lanes {
                    each[i] = each[n - 1];
                }
                for (k, &o) in offsets.iter().enumerate() {
                    let (to, src) = (dst.add(k * STRIP), x.offset(o));
                    if size == 4 {
                        for (i, &e) in each.iter().enumerate() {
                            *to.cast::<u32>().add(i) = *src.cast::<u32>().offset(e);
                        }
                    } else {
                        for (i, &e) in each[..STRIP / 8].iter().enumerate() {
                            *to.cast::<u64>().add(i) = *src.cast::<u64>().offset(e);
                        }
                    }
                }
            }
        }
    }
}
