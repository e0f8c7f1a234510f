//! Transposed blocks of accesses that are contiguous along a base axis.

use super::*;

impl Task<'_> {
    /// Point mode with transposed accesses: runs all passes for `rows` points of the stage axis (from base point `at`, `step` apart) and lanes
    /// `v0..v1`.
    ///
    /// # Safety
    /// As `tiles`; the block has at most [`STAGE_ROWS`] rows and [`STAGE_LANES`] lanes.
    pub unsafe fn block(&mut self, at: usize, step: usize, rows: usize, v0: usize, v1: usize) {
        let b = self.b;
        let lanes = v1 - v0;
        // Element (v, r) of the stage's block, and of the buffer: the lower end of `count` rows from r on, and how far rows are apart in the block.
        let place = |t: &Self, i: usize, s: &Stage, first: i64, v: usize, r: usize, count: usize| {
            let (r, first, apart) = match s.reversed {
                false => (r, first as isize + r as isize, STAGE_LANES as isize),
                true => (r + count - 1, first as isize - (r + count - 1) as isize, -(STAGE_LANES as isize)),
            };
            let o = first + (v0 + v) as isize * s.stride;
            let block = t.mem.wrapping_add(b.layout.stages[i] + (r * STAGE_LANES + v) * s.size);
            (block, t.args[s.arg as usize].wrapping_offset(o * s.size as isize), apart)
        };
        // SAFETY: one entry per line.
        let first = |t: &Self, s: &Stage| unsafe { *t.cur.add(s.line as usize) };
        // Squares of at most this side keep the lines of both sides in L1.
        const SIDE: usize = 32;
        self.seek(at);
        for (i, s) in b.nest.stages.iter().enumerate().filter(|s| !s.1.store) {
            let first = first(self, s);
            for v in (0..lanes).step_by(SIDE) {
                for r in (0..rows).step_by(SIDE) {
                    let count = SIDE.min(rows - r);
                    let (to, from, apart) = place(self, i, s, first, v, r, count);
                    // SAFETY: lanes and rows of the block; sources are elements the kernel reads.
                    unsafe { moves::transpose(to, apart, from, s.stride, SIDE.min(lanes - v), count, s.size) };
                }
            }
        }
        for r in 0..rows {
            if r > 0 {
                self.seek(at + r * step);
            }
            for (i, s) in b.nest.stages.iter().enumerate() {
                let o = (r * STAGE_LANES) as isize - v0 as isize;
                self.staged[i] = self.mem.wrapping_add(b.layout.stages[i]).wrapping_offset(o * s.size as isize);
            }
            for k in 0..b.programs.len() {
                // SAFETY: as promised.
                unsafe {
                    self.enter(k);
                    self.place(k, v0);
                    self.tiles(k, v0, v1);
                }
            }
        }
        if b.nest.stages.iter().any(|s| s.store) {
            self.seek(at);
        }
        for (i, s) in b.nest.stages.iter().enumerate().filter(|s| s.1.store) {
            let first = first(self, s);
            for v in (0..lanes).step_by(SIDE) {
                for r in (0..rows).step_by(SIDE) {
                    let count = SIDE.min(rows - r);
                    let (from, to, apart) = place(self, i, s, first, v, r, count);
                    // SAFETY: as above; the destinations are elements the kernel writes.
                    unsafe { moves::transpose(to, s.stride, from, apart, count, SIDE.min(lanes - v), s.size) };
                }
            }
        }
    }
}
