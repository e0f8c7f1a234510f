//! Running bound kernels: how their domain is cut into tasks, and the order of their passes.
//!
//! Tasks depend on the shape only. A reduction's tree does too: pieces of a row, and chunks of a tall column, have fixed lengths
//! and are folded in a fixed order, whether one thread computes them or many.

use super::alloc::{Allocator, Block};
use super::kernels::arg::{ArgState, arg_extreme};
use super::kernels::moves;
use super::kernels::reduce::Reduction;
use super::nest::Mode;
use super::pool::Pool;
use super::run::{Bound, PIECE, STAGE_LANES, STAGE_ROWS, Task, with_scratch};
use super::sort::{Between, between_column, between_row};
use crate::base::{DType, Result};

/// Points a task should have.
const GRAIN: usize = 32_768;
/// Row points per chunk of a column reduction that is split.
const CHUNK: usize = 512;
/// Work below this (in nanoseconds) stays on the calling thread.
pub const SERIAL_NS: u64 = 25_000;

/// How a bound kernel runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    /// Units (base point, piece of the vector domain), some per task.
    Tiled {
        /// Lanes of a piece.
        piece: usize,
        /// Units per task.
        per_task: usize,
    },
    /// Units (base point apart from the stage axis, block of that axis, block of lanes), through transposed blocks.
    Blocked {
        /// Units per task.
        per_task: usize,
    },
    /// Pieces of one row after the other in parallel, pass by pass.
    RowPieces,
    /// Chunks of tall columns in parallel, then their sums.
    ColumnChunks,
}

/// A bound kernel and how to run it.
pub struct Driver {
    /// The kernel.
    pub b: Bound,
    /// How.
    pub plan: Plan,
    /// Estimated nanoseconds.
    pub cost: u64,
    /// What happens to row scratch after pass 0.
    pub between: Option<Between>,
    /// Compute dtypes of the row scratch.
    pub scratch: Vec<DType>,
    /// Points of the row.
    pub row: usize,
}

impl Driver {
    /// Chooses how to run `b`.
    pub fn plan(b: &Bound, between: bool) -> Plan {
        let n = b.vec_total;
        match b.nest.mode {
            Mode::Row if !between && n >= 2 * PIECE && b.par_total < 16 => Plan::RowPieces,
            Mode::Row => Plan::Tiled { piece: n.max(1), per_task: (GRAIN / 2 / n.max(1)).max(1) },
            Mode::Column => {
                let units = b.par_total * n.div_ceil(b.tile.max(1));
                let simple = !between
                    && b.programs.iter().enumerate().all(|(k, p)| p.row == (k == 0))
                    && b.programs[0].sinks.iter().all(|s| !s.arg)
                    && !b.programs[0].sinks.is_empty();
                let long = b.mid_total >= 4 * CHUNK || (units < 4 && b.mid_total >= 2 * CHUNK);
                if simple && units < 64 && long {
                    Plan::ColumnChunks
                } else {
                    Plan::Tiled { piece: b.tile, per_task: (GRAIN / (b.tile * b.mid_total.max(1))).max(1) }
                }
            }
            Mode::Point if b.nest.stage_axis.is_some() && !b.nest.stages.is_empty() => Plan::Blocked { per_task: 4 },
            Mode::Point => {
                let piece = if n > GRAIN { (GRAIN / b.tile) * b.tile } else { n.max(1) };
                Plan::Tiled { piece, per_task: (GRAIN / piece).max(1) }
            }
        }
    }

    /// Blocks of the stage axis, blocks of lanes, and base points apart from the stage axis.
    fn blocks(&self) -> (usize, usize, usize) {
        let b = &self.b;
        let e = b.nest.stage_axis.map_or(1, |a| b.nest.par[a]);
        (e.div_ceil(STAGE_ROWS), b.vec_total.div_ceil(STAGE_LANES), b.par_total.checked_div(e).unwrap_or(0))
    }

    fn units(&self, piece: usize) -> usize {
        let b = &self.b;
        if b.nest.mode == Mode::Row { b.par_total } else { b.par_total * b.vec_total.div_ceil(piece) }
    }

    /// Tasks of a kernel that is one parallel region; None where it is several.
    pub fn tasks(&self) -> Option<usize> {
        match self.plan {
            Plan::Tiled { piece, per_task } => Some(self.units(piece).div_ceil(per_task)),
            Plan::Blocked { per_task } => {
                let (rows, lanes, rest) = self.blocks();
                Some((rows * lanes * rest).div_ceil(per_task))
            }
            _ => None,
        }
    }

    /// Runs task `i`.
    ///
    /// # Safety
    /// `args` are the kernel's buffers, `params` its parameters (see [`Task::start`]).
    pub unsafe fn task(&self, i: usize, args: &[*mut u8], params: *const u64) {
        let (piece, per_task) = match self.plan {
            Plan::Tiled { piece, per_task } => (piece, per_task),
            // SAFETY: as promised.
            Plan::Blocked { per_task } => return unsafe { self.blocked(i, per_task, args, params) },
            _ => return,
        };
        let (from, to) = (i * per_task, self.units(piece).min((i + 1) * per_task));
        with_scratch(self.b.task_bytes(), |mem| {
            // SAFETY: as promised.
            unsafe { self.walk(&mut Task::start(&self.b, args, params, mem), piece, from, to) }
        });
    }

    /// If all of the kernel is one tiled task that is worth no second thread: the lanes of its pieces and the number of its units.
    pub fn single(&self) -> Option<(usize, usize)> {
        match self.plan {
            Plan::Tiled { piece, per_task } if self.cost <= SERIAL_NS && self.units(piece) <= per_task => Some((piece, self.units(piece))),
            _ => None,
        }
    }

    /// Runs units `from..to` of a tiled plan.
    ///
    /// # Safety
    /// `t` is a task of this kernel, and the units are inside its domain.
    pub unsafe fn walk(&self, t: &mut Task<'_>, piece: usize, from: usize, to: usize) {
        let b = &self.b;
        // SAFETY: as promised.
        unsafe {
            match b.nest.mode {
                Mode::Row => {
                    t.seek(from);
                    if let (Some(lean), None) = (&b.lean, &self.between) {
                        let mut u = from;
                        while u < to {
                            let n = t.run_of_rows(lean.rows.min(to - u));
                            t.lean_rows(lean, n);
                            u += n;
                            if u < to {
                                t.skip(n);
                            }
                        }
                        t.finish();
                        return;
                    }
                    for u in from..to {
                        self.row_point(t);
                        if u + 1 < to {
                            t.step();
                        }
                    }
                }
                _ => {
                    let pieces = b.vec_total.div_ceil(piece).max(1);
                    let mut p = from % pieces;
                    t.seek(from / pieces);
                    if let ([p], 1, Mode::Point) = (&b.programs[..], pieces, b.nest.mode)
                        && let Some(slots) = p.copy
                    {
                        t.copies(slots, to - from);
                        t.finish();
                        return;
                    }
                    for u in from..to {
                        let (v0, v1) = (p * piece, b.vec_total.min((p + 1) * piece));
                        if b.nest.mode == Mode::Column {
                            self.column_block(t, v0, v1);
                        } else {
                            for k in 0..b.programs.len() {
                                t.enter(k);
                                t.place(k, v0);
                                t.tiles(k, v0, v1);
                            }
                        }
                        p += 1;
                        if p == pieces && u + 1 < to {
                            p = 0;
                            t.step();
                        }
                    }
                }
            }
            t.finish();
        }
    }

    unsafe fn blocked(&self, i: usize, per_task: usize, args: &[*mut u8], params: *const u64) {
        let b = &self.b;
        let (rows, lanes, rest) = self.blocks();
        let Some(axis) = b.nest.stage_axis else { return };
        let extent = b.nest.par[axis];
        let inner: usize = b.nest.par[axis + 1..].iter().product();
        with_scratch(b.task_bytes(), |mem| {
            // SAFETY: as promised to `task`.
            unsafe {
                let mut t = Task::start(b, args, params, mem);
                for u in i * per_task..(rows * lanes * rest).min((i + 1) * per_task) {
                    let (l, r, o) = (u % lanes, u / lanes % rows, u / (lanes * rows));
                    let (r0, v0) = (r * STAGE_ROWS, l * STAGE_LANES);
                    let at = (o / inner * extent + r0) * inner + o % inner;
                    t.block(at, inner, STAGE_ROWS.min(extent - r0), v0, b.vec_total.min(v0 + STAGE_LANES));
                }
                t.finish();
            }
        });
    }

    unsafe fn row_point(&self, t: &mut Task<'_>) {
        let b = &self.b;
        for k in 0..b.programs.len() {
            // SAFETY: as promised to `task`. An empty row has no point to enter.
            unsafe {
                if !b.programs[k].row {
                    t.enter(k);
                } else {
                    if b.vec_total > 0 {
                        t.enter(k);
                    }
                    t.row(k);
                }
                if k == 0
                    && let Some(h) = &self.between
                {
                    between_row(h, b.vec_total, t.scratch(0), t.scratch(1));
                }
            }
        }
    }

    unsafe fn column_block(&self, t: &mut Task<'_>, v0: usize, v1: usize) {
        let b = &self.b;
        for k in 0..b.programs.len() {
            // SAFETY: as promised to `task`.
            unsafe {
                t.column(k, v0, v1, 0, b.mid_total);
                if k == 0
                    && let Some(h) = &self.between
                {
                    between_column(h, b.mid_total, b.tile, v1 - v0, t.scratch(0), t.scratch(1));
                }
            }
        }
    }

    /// Runs the kernel, with the pool where it pays.
    ///
    /// # Errors
    /// As [`regions`](Driver::regions).
    ///
    /// # Safety
    /// As [`task`](Driver::task).
    pub unsafe fn run(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<()> {
        match self.tasks() {
            Some(n) => {
                let (args, params) = (Ptrs(args), Ptr(params.cast_mut().cast()));
                // SAFETY: as promised.
                pool.run(n, self.cost > SERIAL_NS, &|i| unsafe { self.task(i, args.get(), params.get().cast()) });
                Ok(())
            }
            // SAFETY: as promised.
            None => unsafe { self.regions(pool, mem, args, params) },
        }
    }

    /// Runs a kernel that takes several parallel regions.
    ///
    /// # Errors
    /// `Memory` if there is none for partial results.
    ///
    /// # Safety
    /// As [`task`](Driver::task).
    pub unsafe fn regions(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<()> {
        // SAFETY: as promised.
        unsafe {
            match self.plan {
                Plan::RowPieces => self.row_pieces(pool, mem, args, params),
                Plan::ColumnChunks => self.column_chunks(pool, mem, args, params),
                Plan::Tiled { .. } | Plan::Blocked { .. } => Ok(()),
            }
        }
    }

    unsafe fn row_pieces(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<()> {
        let b = &self.b;
        let pieces = b.vec_total.div_ceil(PIECE);
        let results: usize = b.programs.iter().map(|p| p.sinks.len()).sum();
        let most = b.programs.iter().map(|p| p.sinks.len()).max().unwrap_or(0);
        let shared = Held::new(mem, results * 8 + most * pieces * 16)?;
        let rows = self.scratch.iter().map(|d| Held::new(mem, self.row * d.size())).collect::<Result<Vec<_>>>()?;
        let args = Ptrs(args);
        let params = Ptr(params.cast_mut().cast());
        // SAFETY: results, then partial results, lie in the shared block.
        let partial = |s: usize| unsafe { shared.get().add(results * 8 + s * pieces * 16) };
        let ready = |t: &mut Task<'_>, at: usize| {
            for r in 0..results {
                // SAFETY: as above.
                t.set_result(r, unsafe { shared.get().add(r * 8) });
            }
            t.seek(at);
        };
        for at in 0..b.par_total {
            for (k, p) in b.programs.iter().enumerate() {
                let work = |i: usize| {
                    with_scratch(b.task_bytes(), |m| {
                        // SAFETY: as promised.
                        unsafe {
                            let mut t = Task::start(b, args.get(), params.get().cast(), m);
                            ready(&mut t, at);
                            for (s, r) in rows.iter().enumerate() {
                                t.share_scratch(s, r.get());
                            }
                            t.enter(k);
                            if !p.row {
                                t.finish();
                                return;
                            }
                            let (v0, v1) = (i * PIECE, b.vec_total.min((i + 1) * PIECE));
                            t.place(k, v0);
                            if p.sinks.is_empty() {
                                t.tiles(k, v0, v1);
                            } else {
                                t.piece(k, v0, v1, false, &mut |s| {
                                    partial(s).add(i * if p.sinks[s].arg { 16 } else { b.sinks[k][s].size })
                                });
                            }
                            t.finish();
                        }
                    })
                };
                pool.run(if p.row { pieces } else { 1 }, true, &work);
                if !p.row {
                    continue;
                }
                for (s, sink) in p.sinks.iter().enumerate() {
                    let null = std::ptr::null();
                    // SAFETY: every piece has left its partial result.
                    unsafe {
                        let dst = shared.get().add(sink.result as usize * 8);
                        if sink.arg {
                            let mut best = ArgState::EMPTY;
                            if let Some(f) = arg_extreme(sink.kind == Reduction::Max, sink.dtype) {
                                for i in 0..pieces {
                                    let x = &*partial(s).cast::<ArgState>().add(i);
                                    if let Some(at) = x.index() {
                                        f(&mut best, x.value().as_ptr(), at, 1);
                                    }
                                }
                            }
                            *dst.cast::<i64>() = best.index().unwrap_or(0);
                        } else if let Some(fold) = b.sinks[k][s].fold {
                            fold(dst, partial(s), null, null, pieces);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    unsafe fn column_chunks(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<()> {
        let b = &self.b;
        let blocks = b.vec_total.div_ceil(b.tile);
        let units = b.par_total * blocks;
        let chunks = b.mid_total.div_ceil(CHUNK);
        let sinks = b.programs[0].sinks.len();
        let bytes = b.tile * 8;
        let shared = Held::new(mem, units * sinks * chunks * bytes)?;
        // SAFETY: inside the block.
        let partial = |u: usize, s: usize, c: usize| unsafe { shared.get().add(((u * sinks + s) * chunks + c) * bytes) };
        let args = Ptrs(args);
        let params = Ptr(params.cast_mut().cast());
        let range = |u: usize| ((u % blocks) * b.tile, b.vec_total.min((u % blocks + 1) * b.tile));
        let chunk = |i: usize| {
            let (u, c) = (i % units, i / units);
            with_scratch(b.task_bytes(), |m| {
                // SAFETY: as promised.
                unsafe {
                    let mut t = Task::start(b, args.get(), params.get().cast(), m);
                    t.seek(u / blocks);
                    let (v0, v1) = range(u);
                    t.column(0, v0, v1, c * CHUNK, CHUNK.min(b.mid_total - c * CHUNK));
                    for (s, sink) in b.programs[0].sinks.iter().enumerate() {
                        moves::copy(partial(u, s, c), t.result(sink.result as usize), (v1 - v0) * b.sinks[0][s].size);
                    }
                }
            })
        };
        pool.run(units * chunks, true, &chunk);
        let finish = |u: usize| {
            with_scratch(b.task_bytes(), |m| {
                // SAFETY: as promised.
                unsafe {
                    let mut t = Task::start(b, args.get(), params.get().cast(), m);
                    t.seek(u / blocks);
                    let (v0, v1) = range(u);
                    for (s, sink) in b.programs[0].sinks.iter().enumerate() {
                        let mut step = 1;
                        while step < chunks {
                            for c in (0..chunks - step).step_by(2 * step) {
                                let to = partial(u, s, c);
                                if let Some(f) = b.sinks[0][s].combine {
                                    f(to, to, partial(u, s, c + step), std::ptr::null(), v1 - v0);
                                }
                            }
                            step *= 2;
                        }
                        t.set_result(sink.result as usize, partial(u, s, 0));
                    }
                    for k in 1..b.programs.len() {
                        t.column(k, v0, v1, 0, 1);
                    }
                    t.finish();
                }
            })
        };
        pool.run(units, self.cost > SERIAL_NS, &finish);
        Ok(())
    }
}

/// A block given back when dropped.
pub struct Held(&'static Allocator, Block);

// SAFETY: tasks write disjoint parts.
unsafe impl Sync for Held {}

impl Held {
    /// Takes `bytes` bytes.
    ///
    /// # Errors
    /// `Memory`.
    pub fn new(a: &'static Allocator, bytes: usize) -> Result<Held> {
        Ok(Held(a, a.take(bytes.max(1))?))
    }

    /// Its first byte.
    pub fn get(&self) -> *mut u8 {
        self.1.ptr
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.give(self.1);
    }
}

/// A pointer that tasks share; which of them writes where is the drivers' business.
#[derive(Clone, Copy)]
pub struct Ptr(pub *mut u8);
// SAFETY: see above.
unsafe impl Sync for Ptr {}
// SAFETY: see above.
unsafe impl Send for Ptr {}
impl Ptr {
    /// The pointer. (A method, so that closures capture the whole.)
    pub fn get(&self) -> *mut u8 {
        self.0
    }
}

/// Buffer pointers that tasks share.
#[derive(Clone, Copy)]
pub struct Ptrs<'a>(pub &'a [*mut u8]);
// SAFETY: see `Ptr`.
unsafe impl Sync for Ptrs<'_> {}
impl<'a> Ptrs<'a> {
    /// The pointers.
    pub fn get(&self) -> &'a [*mut u8] {
        self.0
    }
}
