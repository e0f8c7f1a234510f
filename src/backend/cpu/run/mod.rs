//! Executing tile programs: one task's pointer tables, position and registers.
//!
//! A task's memory is one block of its thread's scratch: offsets of the lines, pointer tables, scalars, results, accumulators, registers and row
//! scratch. Nothing is allocated or looked up while tiles run.

mod lean;
mod rows;
mod stage;
mod task;

pub use lean::Lean;
pub use task::Task;

use super::kernels::arg::{ArgState, arg_extreme, arg_lanes};
use super::kernels::reduce::{ACC_LANES, Reduction, RowsFn, WholeFn, identity, rows, whole};
use super::kernels::{Scalars, TileFn, TileOp, lookup, moves, philox};
use super::nest::{Mode, Nest, Stage, internal, product};
use super::program::{Instr, NONE, Program, Sink, Slot, WalkKind};
use crate::base::{DType, Result, Scalar};
use crate::trace::Binary;
use smallvec::SmallVec;
use std::cell::RefCell;

/// Longest run that is accumulated into one set of lanes before these are added to the next level.
const LEVEL: usize = 4096;
/// Longest piece of a row with its own partial result; these are folded pairwise. Fixed, so that the tree depends on the shape only.
pub const PIECE: usize = 65_536;
/// Longest tile along a row, and bytes its registers and the parts of buffers beside them may take: two thirds of a small L1.
const ROW_TILE: usize = 1024;
/// See [`ROW_TILE`].
const ROW_BYTES: usize = 20_480;
/// Up to so many instructions tiles are as long as those along a row.
const FEW: usize = 4;
/// From so many instructions on tiles are as long as registers of [`LONG_REGS`] bytes allow.
const LONG: usize = 64;
/// See [`LONG`].
const LONG_REGS: usize = 12_288;
/// Row points a lane accumulates before adding to the next level (column mode).
const COLUMN_LEVEL: usize = 64;

/// Rows (points of the stage axis) and lanes of a transposed block.
pub const STAGE_ROWS: usize = 64;
/// See [`STAGE_ROWS`].
pub const STAGE_LANES: usize = 256;

/// Bytes to ask for of a run that begins anywhere in memory: from there on the processor notices by itself.
pub const FETCH: usize = 1024;

/// What a program needs of the reduction kernels, found once.
#[derive(Clone, Copy)]
pub struct SinkFns {
    /// Adds a tile to accumulator lanes.
    pub accumulate: Option<TileFn>,
    /// Tile to one element.
    pub fold: Option<TileFn>,
    /// Two tiles, lane by lane.
    pub combine: Option<TileFn>,
    identity: u64,
    /// Bytes of an element.
    pub size: usize,
    /// A float sum: carried in levels.
    levels: bool,
}

/// Byte offsets in a task's memory.
#[derive(Clone, Debug, Default)]
struct Layout {
    tables: SmallVec<[usize; 4]>,
    scalars: SmallVec<[usize; 4]>,
    regs: SmallVec<[usize; 4]>,
    accs: SmallVec<[usize; 4]>,
    results: usize,
    row_results: usize,
    partials: usize,
    scratch: SmallVec<[usize; 2]>,
    stages: SmallVec<[usize; 2]>,
    total: usize,
}

/// A kernel's programs with the data of one traversal.
pub struct Bound {
    /// One per pass.
    pub programs: std::sync::Arc<Vec<Program>>,
    /// Reduction functions per pass.
    pub sinks: Vec<SmallVec<[SinkFns; 2]>>,
    /// The traversal.
    pub nest: Nest,
    /// Lanes of a full tile.
    pub tile: usize,
    /// Points of the base axes.
    pub par_total: usize,
    /// Points of the mid axes.
    pub mid_total: usize,
    /// Points of the vector axes.
    pub vec_total: usize,
    scratch_sizes: SmallVec<[usize; 2]>,
    layout: Layout,
    results: usize,
    streams: bool,
    /// Per program: slots besides the buffer streams that advance with the tiles, and their bytes per lane.
    moving: Vec<SmallVec<[(u16, Slot, usize); 2]>>,
    /// Per program: how its sinks take several rows at once, where the pass does nothing but that.
    plain: Vec<SmallVec<[PlainSink; 1]>>,
    /// How several rows go through the passes together, where they can.
    pub lean: Option<Lean>,
}

/// A reduction of a buffer as it is, down columns.
struct PlainSink {
    sink: usize,
    f: RowsFn,
    /// Slot of the buffer's stream.
    slot: u16,
    /// Bytes from row to row.
    stride: isize,
}

/// The sinks of a column pass whose instructions all combine a buffer's rows with accumulators; empty for other passes.
fn plain_sinks(p: &Program, nest: &Nest) -> SmallVec<[PlainSink; 1]> {
    let sink = |i: &Instr| {
        let Instr::Tile { dst, a, b, .. } = *i else { return None };
        let s = p.sinks.iter().position(|s| s.acc == dst && dst == a && !s.arg)?;
        let access = p.accesses.iter().find(|x| x.slot == b && x.stream && x.dynamic == NONE)?;
        let stride = nest.lines[access.line as usize].mid[0] as isize * access.size as isize;
        let f = rows(p.sinks[s].kind, p.sinks[s].dtype)?;
        Some(PlainSink { sink: s, f, slot: b, stride })
    };
    if nest.mode != Mode::Column || !p.row || !p.base.is_empty() || nest.mid.len() != 1 || p.body.len() != p.sinks.len() {
        return SmallVec::new();
    }
    p.body.iter().map(sink).collect::<Option<_>>().unwrap_or_default()
}

/// Bytes of accumulator per sink and lane: three levels in column mode, or value and position.
const ACC_BYTES: usize = 24;

impl Bound {
    /// Binds programs to a traversal. `results` counts reductions of all passes; `scratch` lists the compute dtypes of row scratch, of
    /// `row` points each.
    ///
    /// # Errors
    /// `Internal` if a reduction kernel is missing.
    pub fn new(
        programs: std::sync::Arc<Vec<Program>>,
        nest: Nest,
        results: usize,
        scratch: &[DType],
        row: usize,
        streams: bool,
        result_size: usize,
    ) -> Result<Bound> {
        let column = nest.mode != Mode::Row;
        let (par_total, mid_total, vec_total) = (product(&nest.par), product(&nest.mid), product(&nest.vec));
        let lane_bytes = programs.iter().map(Program::lane_bytes).max().unwrap_or(0) + if nest.mode == Mode::Column { 16 } else { 0 };
        let streams_of = |p: &Program| p.accesses.iter().filter(|a| a.stream).map(|a| a.size as usize).sum::<usize>();
        let stream_bytes = programs.iter().map(streams_of).max().unwrap_or(0);
        let mut tile = match nest.mode {
            // Tall columns are read in pieces of whole pages' worth where registers allow it.
            Mode::Column => (16_384 / lane_bytes.max(4)).clamp(128, 1024) / 64 * 64,
            // A row passes several times: after the first it comes from the L1, and longer tiles have fewer steps.
            Mode::Row => (ROW_BYTES / (lane_bytes + stream_bytes).max(4)).clamp(128, ROW_TILE) / ACC_LANES * ACC_LANES,
            // So many instructions leave the L1 themselves: each should do more.
            Mode::Point if programs.iter().any(|p| p.body.len() > LONG) => {
                (LONG_REGS / lane_bytes.max(4)).clamp(128, 512) / ACC_LANES * ACC_LANES
            }
            // Passing from tile to tile costs as much as so few instructions on short ones.
            Mode::Point if programs.iter().all(|p| p.body.len() <= FEW) => {
                (ROW_BYTES / (lane_bytes + stream_bytes).max(4)).clamp(256, ROW_TILE) / ACC_LANES * ACC_LANES
            }
            _ if lane_bytes <= 8 => 256,
            _ => 128,
        };
        tile = tile.min(vec_total.max(1).next_multiple_of(ACC_LANES));
        if nest.mode == Mode::Row {
            // As many tiles as needed, all about as long.
            tile = vec_total.max(1).div_ceil(vec_total.max(1).div_ceil(tile)).next_multiple_of(ACC_LANES);
        }
        let mut sinks = Vec::new();
        for p in programs.iter() {
            let mut list: SmallVec<[SinkFns; 2]> = SmallVec::new();
            for s in &p.sinks {
                let combine = match s.kind {
                    Reduction::Sum => Binary::Add,
                    Reduction::Prod => Binary::Mul,
                    Reduction::Max => Binary::Max,
                    Reduction::Min => Binary::Min,
                };
                let mut id = [0u8; 8];
                if !s.arg {
                    identity(s.kind, s.dtype).write(s.dtype, &mut id);
                }
                let f = SinkFns {
                    accumulate: lookup(TileOp::Accumulate(s.kind, s.dtype), Scalars::NONE),
                    fold: lookup(TileOp::Fold(s.kind, s.dtype), Scalars::NONE),
                    combine: lookup(TileOp::Binary(combine, s.dtype), Scalars::NONE),
                    identity: u64::from_ne_bytes(id),
                    size: s.dtype.size(),
                    levels: s.kind == Reduction::Sum && s.dtype.is_float() && !s.arg,
                };
                let missing = if column { f.combine.is_none() } else { f.accumulate.is_none() || f.fold.is_none() };
                if missing && !s.arg {
                    return Err(internal(&format!("there is no reduction {:?} of {}", s.kind, s.dtype)));
                }
                list.push(f);
            }
            sinks.push(list);
        }
        let moving = programs
            .iter()
            .map(|p| {
                let moves = |s: Slot| match s {
                    Slot::Scratch(i) if nest.mode != Mode::Column => Some(scratch[i as usize].size()),
                    Slot::Reduced(_) if nest.mode == Mode::Point => Some(result_size),
                    Slot::Staged(i) => Some(nest.stages[i as usize].size),
                    _ => None,
                };
                p.slots.iter().enumerate().filter_map(|(i, &s)| moves(s).map(|n| (i as u16, s, n))).collect()
            })
            .collect();
        let plain = programs.iter().map(|p| plain_sinks(p, &nest)).collect();
        let mut b = Bound {
            moving,
            plain,
            programs,
            sinks,
            nest,
            tile,
            par_total,
            mid_total,
            vec_total,
            scratch_sizes: scratch.iter().map(|d| d.size()).collect(),
            layout: Layout::default(),
            results,
            streams,
            lean: None,
        };
        b.lean = Lean::new(&b);
        b.lay_out(row);
        Ok(b)
    }

    fn lay_out(&mut self, row: usize) {
        let mut at = 0usize;
        let mut take = |bytes: usize| {
            let o = at;
            at = (at + bytes).next_multiple_of(64);
            o
        };
        let mut l = Layout::default();
        take(self.nest.lines.len() * 8);
        let column = self.nest.mode != Mode::Row;
        for p in self.programs.iter() {
            l.tables.push(take(p.slots.len() * 8));
            l.scalars.push(take(p.scalars as usize * 8));
            l.regs.push(take(p.lane_bytes() * self.tile));
            let lanes = if column { self.tile } else { ACC_LANES };
            l.accs.push(take(p.sinks.len() * lanes * ACC_BYTES));
        }
        l.results = take(self.results * self.result_stride());
        let rows = self.lean.as_ref().map_or(1, |l| l.rows);
        l.row_results = take(self.lean.as_ref().map_or(0, |l| self.results * l.rows * 8));
        l.partials = take(self.vec_total.div_ceil(PIECE).max(1) * 8);
        for s in &self.scratch_sizes {
            let lanes = if self.nest.mode == Mode::Column { self.tile } else { rows };
            l.scratch.push(take(row * lanes * s));
        }
        for s in &self.nest.stages {
            l.stages.push(take(STAGE_ROWS * STAGE_LANES * s.size));
        }
        l.total = at;
        self.layout = l;
    }

    /// Row scratch is given to tasks instead of lying in their memory.
    pub fn share_rows(&mut self) {
        self.lay_out(0);
    }

    fn result_stride(&self) -> usize {
        if self.nest.mode == Mode::Row { 8 } else { self.tile * 8 }
    }

    /// Bytes of memory a task needs.
    pub fn task_bytes(&self) -> usize {
        self.layout.total
    }

    /// Estimated nanoseconds of pass `p` for one lane-visit of every point.
    pub fn cost_ns(&self) -> u64 {
        let mut ps = 0u64;
        for p in self.programs.iter() {
            let points = match (self.nest.mode, p.row) {
                (Mode::Row, false) => self.par_total,
                (Mode::Column, true) => self.par_total * self.mid_total * self.vec_total,
                _ => self.par_total * self.vec_total,
            };
            ps = ps.saturating_add(points as u64 * p.cost as u64);
        }
        ps / 1000
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// Memory of a thread, kept for its next task.
struct Buffer {
    ptr: *mut u8,
    layout: std::alloc::Layout,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(self.ptr, self.layout) }
    }
}

/// Calls `f` with at least `bytes` bytes of this thread's scratch memory, aligned to 64, uninitialised. Calls may nest.
pub fn with_scratch<R>(bytes: usize, f: impl FnOnce(*mut u8) -> R) -> R {
    let kept = SCRATCH.with_borrow_mut(Vec::pop).filter(|b| b.layout.size() >= bytes);
    let b = kept.unwrap_or_else(|| {
        let size = bytes.max(1 << 15).next_power_of_two();
        let layout = std::alloc::Layout::from_size_align(size, 4096).unwrap_or_else(|_| panic!("cpu: {bytes} bytes of scratch memory"));
        // SAFETY: the size is not zero.
        let ptr = unsafe { std::alloc::alloc(layout) };
        if ptr.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        Buffer { ptr, layout }
    });
    let r = f(b.ptr);
    SCRATCH.with_borrow_mut(|s| s.push(b));
    r
}

/// Parameters as elements of their compute dtypes.
pub fn param_block(dtypes: &[DType], which: &[u32], values: &[Scalar], out: &mut SmallVec<[u64; 16]>) {
    out.clear();
    for (d, &i) in dtypes.iter().zip(which) {
        out.push(super::compile::element(values[i as usize], *d));
    }
}
