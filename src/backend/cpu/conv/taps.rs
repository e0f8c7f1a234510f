//! Positions times outputs, summed over large windows: `[B P, C W]` times `[C W, O]`.
//!
//! So a kernel's gradient runs: its few positions are the elements of the kernel, its window is the whole image. The rows of the left factor are
//! rows of the images themselves, shifted by the position; only the right factor is packed, a part of the window at a time. Long sums are cut into
//! chunks, which are added at the end.

use super::super::drive::{Held, Ptr, Ptrs, SERIAL_NS};
use super::super::kernels::{Scalars, TileOp, lookup, moves};
use super::super::micro::{Left, ROWS, STRIP};
use super::super::run::{Task, with_scratch};
use super::{Call, Conv, DEPTH, Grid};
use crate::base::Result;
use crate::trace::Binary;

/// Bytes of the result that one task should keep in cache.
const BAND: usize = 256 << 10;
/// Tasks there should be, if the work can be cut into so many.
const TASKS: usize = 8;
/// Steps of the contraction that are worth a chunk of their own.
const CHUNK: usize = 512;

/// Part of a window: stretches of its innermost axis.
struct Block {
    /// Number of the first element.
    first: usize,
    /// Its place in a plane.
    offset: isize,
    len: usize,
    segs: usize,
}

/// A window cut into parts of about [`DEPTH`] elements.
pub(super) struct Blocks {
    parts: Vec<Block>,
    step: isize,
    seg: isize,
}

impl Blocks {
    pub(super) fn new(window: &Grid) -> Blocks {
        let (len, step) = window.inner();
        let total: usize = window.dims.iter().map(|d| d.0).product();
        let mut parts = Vec::new();
        let (rows, seg) = match window.dims.len() {
            1 => (1, 0),
            n => window.dims[n - 2],
        };
        for group in 0..total / (len * rows).max(1) {
            let first = group * len * rows;
            if len > DEPTH {
                let cut = len.div_ceil(len.div_ceil(DEPTH));
                for row in 0..rows {
                    for at in (0..len).step_by(cut) {
                        let first = first + row * len + at;
                        parts.push(Block { first, offset: window.offset(first), len: cut.min(len - at), segs: 1 });
                    }
                }
            } else {
                let fit = (DEPTH / len).clamp(1, rows);
                let cut = rows.div_ceil(rows.div_ceil(fit));
                for row in (0..rows).step_by(cut) {
                    let first = first + row * len;
                    parts.push(Block { first, offset: window.offset(first), len, segs: cut.min(rows - row) });
                }
            }
        }
        Blocks { parts, step, seg }
    }
}

impl Conv {
    /// # Safety
    /// As [`Conv::run`], with complete factors.
    pub(super) unsafe fn run_taps(&self, call: &Call<'_>, blocks: &Blocks) -> Result<()> {
        let size = self.dtype.size();
        let lanes = STRIP / size;
        let (cg, og) = (self.channels / self.groups, self.outputs / self.groups);
        let (m, ld) = (self.batch * self.npositions, og.next_multiple_of(lanes));
        let parts = cg * blocks.parts.len();
        let depth = cg * self.ntaps;
        let [wo, wc] = call.window_strides;
        // Bands of rows, then chunks of the sum.
        let mut bands = (m * ld * size).div_ceil(BAND);
        let chunks = TASKS.div_ceil(bands * self.groups).min(depth / CHUNK).clamp(1, parts.max(1));
        if bands * chunks * self.groups < TASKS {
            bands = TASKS.div_ceil(chunks * self.groups).min(m.div_ceil(8 * ROWS));
        }
        let rows = m.div_ceil(bands).next_multiple_of(ROWS);
        let bands = m.div_ceil(rows);
        let sum = m * ld * size;
        let sums = Held::new(call.mem, self.groups * chunks * sum)?;
        let c = Ptr(sums.get());
        let taps: Vec<isize> = (0..self.npositions).map(|t| self.positions.offset(t)).collect();
        let widest = blocks.parts.iter().map(|b| b.len * b.segs).max().unwrap_or(0);
        let strips = ld / lanes;
        let (input, weights) = (call.input, call.weights);
        let task = |i: usize| {
            let (band, chunk, g) = (i % bands, i / bands % chunks, i / (bands * chunks));
            let (r0, r1) = (band * rows, m.min((band + 1) * rows));
            // SAFETY: inside the temporary.
            let c = unsafe { c.get().add((g * chunks + chunk) * sum) };
            with_scratch(strips * widest * STRIP, |mem| {
                let (from, to) = (parts * chunk / chunks, parts * (chunk + 1) / chunks);
                for part in from..to {
                    let (ch, b) = (part / blocks.parts.len(), &blocks.parts[part % blocks.parts.len()]);
                    let k = b.len * b.segs;
                    // SAFETY: rows of the planes and of the windows; the bands and chunks of the result are disjoint.
                    unsafe {
                        let w = weights.get().add((g * og * wo + ch * wc + b.first) * size);
                        for s in 0..strips {
                            let (to, n) = (mem.add(s * k * STRIP), lanes.min(og - s * lanes));
                            if n < lanes {
                                std::ptr::write_bytes(to, 0, k * STRIP);
                            }
                            moves::transpose(to, lanes as isize, w.add(s * lanes * wo * size), wo as isize, n, k, size);
                        }
                        let plane = |r: usize| r / self.npositions * self.strides[0] + (g * cg + ch) * self.strides[1];
                        for s in 0..strips {
                            let mut r = r0;
                            while r < r1 {
                                let take = ROWS.min(r1 - r);
                                let row = |i: usize| {
                                    let r = r + i.min(take - 1);
                                    let at = plane(r) as isize + taps[r % self.npositions] + b.offset;
                                    input.get().offset(at * size as isize).cast_const()
                                };
                                let left =
                                    Left { rows: std::array::from_fn(row), step: blocks.step, len: b.len, seg: blocks.seg, segs: b.segs };
                                let to = c.add((r * ld + s * lanes) * size);
                                self.micro[take - 1](&left, mem.add(s * k * STRIP), to, ld, part > from);
                                r += take;
                            }
                        }
                    }
                }
                if from == to {
                    // SAFETY: as above.
                    unsafe { std::ptr::write_bytes(c.add(r0 * ld * size), 0, (r1 - r0) * ld * size) };
                }
            });
        };
        let parallel = self.cost > SERIAL_NS;
        call.pool.run(bands * chunks * self.groups, parallel, &task);

        let (e, args, params) = (&self.epilogue, Ptrs(call.args), call.params);
        let add = lookup(TileOp::Binary(Binary::Add, self.dtype), Scalars::NONE);
        let images = (4096 / (og * self.npositions)).max(1);
        let per_group = self.batch.div_ceil(images);
        let finish = |i: usize| {
            let (b0, g) = (i % per_group * images, i / per_group);
            let block = (og * self.npositions * size).next_multiple_of(64);
            with_scratch(block + e.task_bytes(), |mem| {
                // SAFETY: the rows of these images belong to this task; the scratch holds the block, then the task's memory.
                unsafe {
                    let mut t = Task::start(e, args.get(), params.get().cast(), mem.add(block));
                    t.seek(b0);
                    let b1 = self.batch.min(b0 + images);
                    for b in b0..b1 {
                        let n = self.npositions * ld;
                        let first = c.get().add(g * chunks * sum + b * n * size);
                        for chunk in 1..chunks {
                            if let Some(f) = add {
                                f(first, first, first.add(chunk * sum), std::ptr::null(), n);
                            }
                        }
                        moves::transpose(mem, self.npositions as isize, first, ld as isize, self.npositions, og, size);
                        let (v0, v1) = (g * og * self.npositions, (g + 1) * og * self.npositions);
                        t.set_point_result(mem.wrapping_sub(v0 * size));
                        t.enter(0);
                        t.place(0, v0);
                        t.tiles(0, v0, v1);
                        if b + 1 < b1 {
                            t.step();
                        }
                    }
                    t.finish();
                }
            });
        };
        call.pool.run(per_group * self.groups, parallel, &finish);
        Ok(())
    }
}
