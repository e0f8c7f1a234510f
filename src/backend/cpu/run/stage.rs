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
        let memory = |t: &Self, i: usize, s: &Stage| {
            // SAFETY: inside the task's memory; the element is inside the buffer.
            unsafe {
                let o = *t.cur.add(s.line as usize) as isize + (v0 * s.stride) as isize;
                (t.mem.add(b.layout.stages[i]), t.args[s.arg as usize].wrapping_offset(o * s.size as isize))
            }
        };
        // Squares of at most this side keep the lines of both sides in L1.
        const SIDE: usize = 32;
        self.seek(at);
        for (i, s) in b.nest.stages.iter().enumerate().filter(|s| !s.1.store) {
            let (block, src) = memory(self, i, s);
            for v in (0..lanes).step_by(SIDE) {
                for r in (0..rows).step_by(SIDE) {
                    // SAFETY: lanes and rows of the block; sources are elements the kernel reads.
                    unsafe {
                        let (from, to) = (src.add((v * s.stride + r) * s.size), block.add((r * STAGE_LANES + v) * s.size));
                        moves::transpose(to, STAGE_LANES, from, s.stride, SIDE.min(lanes - v), SIDE.min(rows - r), s.size);
                    }
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
            let (block, dst) = memory(self, i, s);
            for v in (0..lanes).step_by(SIDE) {
                for r in (0..rows).step_by(SIDE) {
                    // SAFETY: as above; the destinations are elements the kernel writes.
                    unsafe {
                        let (from, to) = (block.add((r * STAGE_LANES + v) * s.size), dst.add((v * s.stride + r) * s.size));
                        moves::transpose(to, s.stride, from, STAGE_LANES, SIDE.min(rows - r), SIDE.min(lanes - v), s.size);
                    }
                }
            }
        }
    }
}
