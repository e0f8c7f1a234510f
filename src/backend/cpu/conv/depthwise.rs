//! One output per group: the windows' rows times the kernel's numbers, added up.

use super::super::drive::Ptrs;
use super::super::kernels::{TileFn, moves, window};
use super::super::micro::STRIP;
use super::super::run::{Task, with_scratch};
use super::{Call, Conv};
use crate::base::DType;

/// Most positions of a block.
const BLOCK: usize = 4096;

impl Conv {
    /// # Safety
    /// As [`Conv::run`], with complete factors.
    pub(super) unsafe fn run_depthwise(&self, call: &Call<'_>, multiply_add: TileFn) {
        let size = self.dtype.size();
        let cg = self.channels / self.groups;
        let (e, args) = (&self.epilogue, Ptrs(call.args));
        let pieces = self.npositions.div_ceil(BLOCK);
        let block = self.npositions.div_ceil(pieces).next_multiple_of(16).min(self.npositions);
        let blocks = self.npositions.div_ceil(block);
        let step = self.positions.inner().1;
        let (input, weights, params) = (call.input, call.weights, call.params);
        // All taps of a run at once, where its positions are neighbours.
        let whole = (step == 1 && self.dtype == DType::F32).then(window::sum);
        let offsets: Vec<isize> = (0..self.ntaps).map(|t| self.taps.offset(t)).collect();
        let task = |i: usize| {
            let (p, o, b) = (i % blocks, i / blocks % self.outputs, i / (blocks * self.outputs));
            let p0 = p * block;
            let n = block.min(self.npositions - p0);
            let row = (n * size).next_multiple_of(STRIP);
            with_scratch(2 * row + e.task_bytes(), |mem| {
                // SAFETY: the parts follow each other in the scratch memory; runs of positions lie inside their plane.
                unsafe {
                    let (sum, unfolded) = (mem, mem.add(row));
                    std::ptr::write_bytes(sum, 0, row);
                    for c in 0..cg {
                        let plane = input.get().add((b * self.strides[0] + (o * cg + c) * self.strides[1]) * size);
                        if let Some(f) = whole {
                            let w = weights.get().cast::<f32>().add((o * cg + c) * self.ntaps);
                            self.positions.runs(p0, n, |at, offset, m| {
                                f(sum.cast::<f32>().add(at), plane.cast::<f32>().offset(offset), offsets.as_ptr(), w, self.ntaps, m)
                            });
                            continue;
                        }
                        for t in 0..self.ntaps {
                            let from = plane.offset(self.taps.offset(t) * size as isize);
                            let w = weights.get().add(((o * cg + c) * self.ntaps + t) * size);
                            self.positions.runs(p0, n, |at, offset, m| {
                                let (src, to) = (from.offset(offset * size as isize), unfolded.add(at * size));
                                if step == 1 { moves::copy(to, src, m * size) } else { moves::load_strided(to, src, step, m, size) }
                            });
                            multiply_add(sum, unfolded, w, sum, n);
                        }
                    }
                    let mut t = Task::start(e, args.get(), params.get().cast(), mem.add(2 * row));
                    t.seek(b * self.outputs + o);
                    t.set_point_result(sum.wrapping_sub(p0 * size));
                    t.enter(0);
                    t.place(0, p0);
                    t.tiles(0, p0, p0 + n);
                    t.finish();
                }
            });
        };
        call.pool.run(self.batch * self.outputs * blocks, self.cost > super::super::drive::SERIAL_NS, &task);
    }
}
