//! Executing tile programs: one task's pointer tables, position and registers.
//!
//! A task's memory is one block of its thread's scratch: offsets of the lines, pointer tables, scalars, results, accumulators, registers and row
//! scratch. Nothing is allocated or looked up while tiles run.

use super::kernels::arg::{ArgState, arg_extreme, arg_lanes};
use super::kernels::reduce::{ACC_LANES, Reduction, identity};
use super::kernels::{Scalars, TileFn, TileOp, lookup, moves, philox};
use super::nest::{Mode, Nest, internal, product};
use super::program::{Instr, NONE, Program, Slot, WalkKind};
use crate::base::{DType, Result, Scalar};
use crate::trace::Binary;
use smallvec::SmallVec;
use std::cell::RefCell;

/// Longest run that is accumulated into one set of lanes before these are added to the next level.
const LEVEL: usize = 4096;
/// Longest piece of a row with its own partial result; these are folded pairwise. Fixed, so that the tree depends on the shape only.
pub const PIECE: usize = 65_536;
/// Row points a lane accumulates before adding to the next level (column mode).
const COLUMN_LEVEL: usize = 64;

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
    partials: usize,
    scratch: SmallVec<[usize; 2]>,
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
    ) -> Result<Bound> {
        let column = nest.mode != Mode::Row;
        let (par_total, mid_total, vec_total) = (product(&nest.par), product(&nest.mid), product(&nest.vec));
        let lane_bytes = programs.iter().map(Program::lane_bytes).max().unwrap_or(0) + if nest.mode == Mode::Column { 16 } else { 0 };
        let mut tile = match nest.mode {
            // Tall columns are read in pieces of whole pages' worth where registers allow it.
            Mode::Column => (16_384 / lane_bytes.max(4)).clamp(128, 1024) / 64 * 64,
            _ if lane_bytes <= 8 => 256,
            _ => 128,
        };
        tile = tile.min(vec_total.max(1).next_multiple_of(ACC_LANES));
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
        let mut b = Bound {
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
        };
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
        l.partials = take(self.vec_total.div_ceil(PIECE).max(1) * 8);
        for s in &self.scratch_sizes {
            let lanes = if self.nest.mode == Mode::Column { self.tile } else { 1 };
            l.scratch.push(take(row * lanes * s));
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

/// A thread's walk through a bound kernel.
pub struct Task<'a> {
    /// The kernel.
    pub b: &'a Bound,
    args: &'a [*mut u8],
    mem: *mut u8,
    cur: *mut i64,
    par: SmallVec<[usize; 4]>,
    rows: SmallVec<[*mut u8; 2]>,
}

impl<'a> Task<'a> {
    /// Sets up tables and registers in `mem`, and computes what is the same in the whole kernel.
    ///
    /// # Safety
    /// `mem` has `b.task_bytes()` bytes, aligned to 64; `args` point to the kernel's buffers and stay valid; `params` has the kernel's parameters,
    /// 8 bytes each in their compute dtype.
    pub unsafe fn start(b: &'a Bound, args: &'a [*mut u8], params: *const u64, mem: *mut u8) -> Task<'a> {
        let mut t = Task { b, args, mem, cur: mem.cast(), par: SmallVec::from_elem(0, b.nest.par.len()), rows: SmallVec::new() };
        // SAFETY: inside the memory.
        t.rows = b.layout.scratch.iter().map(|&o| unsafe { mem.add(o) }).collect();
        for (i, line) in b.nest.lines.iter().enumerate() {
            // SAFETY: the lines' offsets are the first part of the memory.
            unsafe { *t.cur.add(i) = line.base };
        }
        for (k, p) in b.programs.iter().enumerate() {
            let table = t.table(k);
            // SAFETY: the parts of the layout lie inside the memory.
            unsafe {
                let scalars = mem.add(b.layout.scalars[k]);
                let regs = mem.add(b.layout.regs[k]);
                // Registers of one size follow each other, the widest first, so that all stay aligned.
                let mut bases = [0usize; 4];
                let mut at = 0;
                for c in (0..4).rev() {
                    bases[c] = at;
                    at += (p.regs[c] as usize) << c;
                }
                for (i, s) in p.slots.iter().enumerate() {
                    *table.add(i) = match *s {
                        Slot::Reg(c, r) => regs.add((bases[c as usize] + ((r as usize) << c)) * b.tile),
                        Slot::Scalar(r) => scalars.add(r as usize * 8),
                        Slot::Const(c) => p.consts.as_ptr().add(c as usize).cast_mut().cast(),
                        Slot::Param(c) => params.add(c as usize).cast_mut().cast(),
                        Slot::Acc(a) => t.acc(k, a as usize, 0),
                        Slot::Reduced(r) => t.result(r as usize),
                        Slot::Scratch(s) => t.scratch(s as usize),
                        Slot::Access(_) | Slot::Walked => std::ptr::null_mut(),
                    };
                }
                t.exec(k, &p.once, 0, 1);
            }
        }
        t
    }

    fn table(&self, k: usize) -> *mut *mut u8 {
        // SAFETY: inside the memory.
        unsafe { self.mem.add(self.b.layout.tables[k]).cast() }
    }

    /// Accumulator `level` of sink `s` of pass `k`.
    fn acc(&self, k: usize, s: usize, level: usize) -> *mut u8 {
        let lanes = if self.b.nest.mode == Mode::Row { ACC_LANES } else { self.b.tile };
        // SAFETY: inside the memory.
        unsafe { self.mem.add(self.b.layout.accs[k] + s * lanes * ACC_BYTES + level * lanes * 8) }
    }

    /// Result number `r` of the current base point.
    pub fn result(&self, r: usize) -> *mut u8 {
        // SAFETY: inside the memory.
        unsafe { self.mem.add(self.b.layout.results + r * self.b.result_stride()) }
    }

    /// Row scratch `s`.
    pub fn scratch(&self, s: usize) -> *mut u8 {
        self.rows[s]
    }

    /// Replaces what a result slot points to, in every program.
    pub fn set_result(&mut self, r: usize, p: *mut u8) {
        self.set_slots(|s| s == Slot::Reduced(r as u16), p);
    }

    /// Points row scratch `s` at shared memory.
    pub fn share_scratch(&mut self, s: usize, p: *mut u8) {
        self.rows[s] = p;
    }

    fn set_slots(&mut self, which: impl Fn(Slot) -> bool, p: *mut u8) {
        for (k, prog) in self.b.programs.iter().enumerate() {
            for (i, s) in prog.slots.iter().enumerate() {
                if which(*s) {
                    // SAFETY: the table has an entry per slot.
                    unsafe { *self.table(k).add(i) = p };
                }
            }
        }
    }

    /// Goes to base point number `at`.
    pub fn seek(&mut self, mut at: usize) {
        for d in (0..self.par.len()).rev() {
            let e = self.b.nest.par[d].max(1);
            self.par[d] = at % e;
            at /= e;
        }
        for (i, line) in self.b.nest.lines.iter().enumerate() {
            let o: i64 = line.par.iter().zip(&self.par).map(|(s, &c)| s * c as i64).sum();
            // SAFETY: one entry per line.
            unsafe { *self.cur.add(i) = line.base + o };
        }
    }

    /// Goes to the next base point.
    pub fn step(&mut self) {
        for d in (0..self.par.len()).rev() {
            self.par[d] += 1;
            let wrap = self.par[d] == self.b.nest.par[d];
            let by = if wrap { -(self.b.nest.par[d] as i64 - 1) } else { 1 };
            for (i, line) in self.b.nest.lines.iter().enumerate() {
                // SAFETY: one entry per line.
                unsafe { *self.cur.add(i) += line.par[d] * by };
            }
            if !wrap {
                return;
            }
            self.par[d] = 0;
        }
    }

    /// Points the accesses of pass `k` at the current point and computes what all its lanes share.
    ///
    /// # Safety
    /// The current point is inside the kernel's domain.
    pub unsafe fn enter(&mut self, k: usize) {
        let p = &self.b.programs[k];
        let t = self.table(k);
        for a in &p.accesses {
            if a.dynamic == NONE {
                // SAFETY: slots and lines are inside their tables.
                unsafe {
                    *t.add(a.slot as usize) =
                        self.args[a.arg as usize].wrapping_offset(*self.cur.add(a.line as usize) as isize * a.size as isize)
                };
            }
        }
        // SAFETY: as promised.
        unsafe { self.exec(k, &p.base, 0, 1) };
    }

    /// Moves the streams of pass `k` from vector position 0 to `v`.
    pub fn place(&mut self, k: usize, v: usize) {
        if v != 0 {
            self.advance(k, v);
        }
        if self.b.nest.mode != Mode::Column {
            let p = &self.b.programs[k];
            for (i, s) in p.slots.iter().enumerate() {
                if let Slot::Scratch(s) = *s {
                    // SAFETY: the table has an entry per slot.
                    unsafe { *self.table(k).add(i) = self.scratch(s as usize).wrapping_add(v * self.b.scratch_sizes[s as usize]) };
                }
            }
        }
    }

    #[inline]
    fn advance(&mut self, k: usize, n: usize) {
        let t = self.table(k);
        for a in &self.b.programs[k].accesses {
            if a.stream {
                // SAFETY: the table has an entry per slot.
                unsafe { *t.add(a.slot as usize) = (*t.add(a.slot as usize)).wrapping_add(n * a.size as usize) };
            }
        }
    }

    /// Runs the tiles of pass `k` from vector position `v0` (where the streams are) to `v1`.
    ///
    /// # Safety
    /// The range is inside the vector domain, and the pass was entered.
    pub unsafe fn tiles(&mut self, k: usize, v0: usize, v1: usize) {
        let p = &self.b.programs[k];
        let scratch = !self.b.scratch_sizes.is_empty() && self.b.nest.mode != Mode::Column;
        let mut v = v0;
        while v < v1 {
            let n = self.b.tile.min(v1 - v);
            // SAFETY: as promised.
            unsafe { self.exec(k, &p.body, v, n) };
            v += n;
            self.advance(k, n);
            if scratch {
                let t = self.table(k);
                for (i, s) in p.slots.iter().enumerate() {
                    if let Slot::Scratch(s) = *s {
                        // SAFETY: the table has an entry per slot.
                        unsafe { *t.add(i) = (*t.add(i)).wrapping_add(n * self.b.scratch_sizes[s as usize]) };
                    }
                }
            }
        }
    }

    /// Runs instructions for `n` lanes from vector position `v`.
    #[inline]
    unsafe fn exec(&mut self, k: usize, code: &[Instr], v: usize, n: usize) {
        let t = self.table(k);
        // SAFETY: slots are inside the table; what they point to is valid for the lanes by the rules of Loop IR and the compiler.
        unsafe {
            for i in code {
                match *i {
                    Instr::Tile { f, dst, a, b, c } => {
                        let get = |s: u16| if s == NONE { std::ptr::null() } else { *t.add(s as usize) as *const u8 };
                        f(*t.add(dst as usize), get(a), get(b), get(c), n)
                    }
                    Instr::Splat(f, dst, a) => f(*t.add(dst as usize), *t.add(a as usize), std::ptr::null(), std::ptr::null(), self.b.tile),
                    Instr::Walk(w) => self.walk(k, w as usize, v, n),
                    Instr::Gather(g) => {
                        let g = &self.b.programs[k].indexed[g as usize];
                        let base = self.args[g.arg as usize];
                        let (dst, index) = (*t.add(g.reg as usize), *t.add(g.index as usize) as *const i64);
                        if g.mask == NONE {
                            moves::gather_i64(dst, base, index, 1, n, g.size as usize);
                        } else {
                            let mask = *t.add(g.mask as usize) as *const u8;
                            super::access::gather_masked(dst, base, index, mask, *t.add(g.fill as usize), n, g.size as usize);
                        }
                    }
                    Instr::Scatter(g) => {
                        let g = &self.b.programs[k].indexed[g as usize];
                        let (src, index) = (*t.add(g.reg as usize), *t.add(g.index as usize) as *const i64);
                        super::access::scatter(self.args[g.arg as usize], index, src, n, g.size as usize);
                    }
                    Instr::Point(a) => {
                        let a = &self.b.programs[k].accesses[a as usize];
                        let o = *self.cur.add(a.line as usize) + *(*t.add(a.dynamic as usize)).cast::<i64>();
                        *t.add(a.slot as usize) = self.args[a.arg as usize].wrapping_offset(o as isize * a.size as isize);
                    }
                    Instr::Random(d, key, o, i) => {
                        let at = |s: u16| *t.add(s as usize) as *const i64;
                        let (d, key, o, i) = ((*t.add(d as usize)).cast::<u32>(), at(key), at(o), at(i));
                        for l in 0..n {
                            let e = *i.add(l);
                            let block = philox::philox(*key.add(l) as u64, (*o.add(l)).wrapping_add(e.div_euclid(4)) as u64);
                            *d.add(l) = block[e.rem_euclid(4) as usize];
                        }
                    }
                    Instr::RandomRun(d, key, o, line) => {
                        let at = |s: u16| *(*t.add(s as usize) as *const i64);
                        let first = at(o).wrapping_mul(4).wrapping_add(*self.cur.add(line as usize)).wrapping_add(v as i64);
                        philox::philox_fill((*t.add(d as usize)).cast(), at(key) as u64, first as u64, n);
                    }
                    Instr::Arg(s, value) => self.arg(k, s as usize, *t.add(value as usize), v, n),
                }
            }
        }
    }

    unsafe fn arg(&mut self, k: usize, s: usize, value: *const u8, v: usize, n: usize) {
        let sink = &self.b.programs[k].sinks[s];
        let max = sink.kind == Reduction::Max;
        // SAFETY: accumulators and results have a place per lane; the dtype is a compute dtype, for which the functions exist.
        unsafe {
            if self.b.nest.mode == Mode::Row {
                if let Some(f) = arg_extreme(max, sink.dtype) {
                    f(&mut *self.acc(k, s, 0).cast::<ArgState>(), value, v as i64, n);
                }
            } else if let Some(f) = arg_lanes(max, sink.dtype) {
                let at = *self.acc(k, s, 1).cast::<i64>();
                f(self.acc(k, s, 0), self.result(sink.result as usize).cast(), value, at, n);
            }
        }
    }

    unsafe fn walk(&mut self, k: usize, w: usize, v: usize, n: usize) {
        let op = &self.b.programs[k].walks[w];
        let walk = &self.b.nest.walks[op.walk as usize];
        let t = self.table(k);
        // SAFETY: slots are inside the table.
        unsafe {
            let dynamic = if op.dynamic == NONE { 0 } else { *(*t.add(op.dynamic as usize)).cast::<i64>() };
            let reg = *t.add(op.reg as usize);
            match op.kind {
                WalkKind::Load { arg, fill } => {
                    let fill = *t.add(fill as usize);
                    let p = super::access::load(walk, self.cur, dynamic, self.args[arg as usize], v, n, reg, fill, op.size as usize);
                    *t.add(op.out as usize) = p;
                }
                WalkKind::Iota => {
                    super::access::iota(walk, self.cur, dynamic, v, n, reg.cast());
                    *t.add(op.out as usize) = reg;
                }
                WalkKind::InBounds => {
                    super::access::in_bounds(walk, self.cur, v, n, reg);
                    *t.add(op.out as usize) = reg;
                }
                WalkKind::Store { arg } => {
                    super::access::store(walk, self.cur, dynamic, self.args[arg as usize], v, n, reg, op.size as usize)
                }
            }
        }
    }

    // ---- reductions along the row ----

    fn fill_acc(&self, k: usize, s: usize, level: usize) {
        let f = &self.b.sinks[k][s];
        let lanes = if self.b.nest.mode == Mode::Row { ACC_LANES } else { self.b.tile };
        // SAFETY: each level has `lanes` elements.
        unsafe { moves::fill(self.acc(k, s, level), (&raw const f.identity).cast(), lanes, f.size) }
    }

    /// Row mode: reduces vector positions `v0..v1` of the entered pass, and leaves one element per sink at `out(sink)` (an `ArgState` for arg
    /// sinks, continued if `resume`).
    ///
    /// # Safety
    /// As `tiles`; `out` gives places of 8 (16 for arg sinks) bytes.
    pub unsafe fn piece(&mut self, k: usize, v0: usize, v1: usize, resume: bool, out: &mut dyn FnMut(usize) -> *mut u8) {
        let p = &self.b.programs[k];
        for (s, sink) in p.sinks.iter().enumerate() {
            if sink.arg {
                if !resume {
                    // SAFETY: the accumulator has room for the state.
                    unsafe { *self.acc(k, s, 0).cast::<ArgState>() = ArgState::EMPTY };
                }
            } else {
                self.fill_acc(k, s, 0);
                if self.b.sinks[k][s].levels {
                    self.fill_acc(k, s, 1);
                }
            }
        }
        let mut v = v0;
        while v < v1 {
            let end = v1.min(v + LEVEL);
            // SAFETY: as promised.
            unsafe { self.tiles(k, v, end) };
            v = end;
            if v1 - v0 <= LEVEL {
                break;
            }
            for s in 0..p.sinks.len() {
                let f = self.b.sinks[k][s];
                if f.levels
                    && let Some(add) = f.accumulate
                {
                    // SAFETY: both levels have ACC_LANES elements.
                    unsafe { add(self.acc(k, s, 1), self.acc(k, s, 0), std::ptr::null(), std::ptr::null(), ACC_LANES) };
                    self.fill_acc(k, s, 0);
                }
            }
        }
        for (s, sink) in p.sinks.iter().enumerate() {
            let f = self.b.sinks[k][s];
            let dst = out(s);
            let null = std::ptr::null();
            // SAFETY: accumulators have ACC_LANES elements; the destination has room for the result.
            unsafe {
                if sink.arg {
                    *dst.cast::<ArgState>() = *self.acc(k, s, 0).cast::<ArgState>();
                } else if let Some(fold) = f.fold {
                    let level = (f.levels && v1 - v0 > LEVEL) as usize;
                    fold(dst, self.acc(k, s, level), null, null, ACC_LANES);
                }
            }
        }
    }

    /// Row mode: runs the entered pass over the whole row and leaves its results.
    ///
    /// # Safety
    /// As `tiles`.
    pub unsafe fn row(&mut self, k: usize) {
        let n = self.b.vec_total;
        let b = self.b;
        let sinks = &b.programs[k].sinks;
        self.place(k, 0);
        if sinks.is_empty() {
            // SAFETY: as promised.
            unsafe { self.tiles(k, 0, n) };
            return;
        }
        let pieces = n.div_ceil(PIECE).max(1);
        // Partial results of each sink follow each other, so that the fold takes them as a tile.
        let single = pieces == 1;
        let mut states = [ArgState::EMPTY; 1];
        let partials: Vec<u64> = if single { Vec::new() } else { vec![0; pieces * sinks.len()] };
        let base = partials.as_ptr() as *mut u8;
        for i in 0..pieces {
            let (v0, v1) = (i * PIECE, n.min((i + 1) * PIECE));
            let results: SmallVec<[*mut u8; 4]> = sinks.iter().map(|s| self.result(s.result as usize)).collect();
            let state = states.as_mut_ptr();
            // SAFETY: as promised; places are inside `partials` or the results.
            unsafe {
                self.piece(k, v0, v1, i > 0, &mut |s| {
                    if sinks[s].arg {
                        state.cast()
                    } else if single {
                        results[s]
                    } else {
                        base.add(s * pieces * 8 + i * b.sinks[k][s].size)
                    }
                });
            }
        }
        for (s, sink) in sinks.iter().enumerate() {
            let dst = self.result(sink.result as usize);
            // SAFETY: results have 8 bytes; the state of an arg sink is in its accumulator.
            unsafe {
                if sink.arg {
                    *dst.cast::<i64>() = (*self.acc(k, s, 0).cast::<ArgState>()).index().unwrap_or(0);
                } else if !single && let Some(fold) = b.sinks[k][s].fold {
                    fold(dst, base.add(s * pieces * 8), std::ptr::null(), std::ptr::null(), pieces);
                }
            }
        }
    }

    // ---- lanes as rows ----

    /// Column mode: runs pass `k` for lanes `v0..v1` (at most a tile), over all mid points if it is a row pass, and leaves its results.
    /// `between` is called once per mid point after its tile, with the point's number.
    ///
    /// # Safety
    /// As `tiles`.
    pub unsafe fn column(&mut self, k: usize, v0: usize, v1: usize, first: usize, count: usize) {
        let b = self.b;
        let p = &b.programs[k];
        let n = v1 - v0;
        if !p.row {
            // SAFETY: as promised.
            unsafe {
                self.enter(k);
                self.place(k, v0);
                self.exec(k, &p.body, v0, n);
            }
            return;
        }
        for (s, sink) in p.sinks.iter().enumerate() {
            if sink.arg {
                let none = -1i64;
                // SAFETY: the result has a place per lane.
                unsafe { moves::fill(self.result(sink.result as usize), (&raw const none).cast(), b.tile, 8) };
            } else {
                for level in 0..if b.sinks[k][s].levels { 3 } else { 1 } {
                    self.fill_acc(k, s, level);
                }
            }
        }
        let mut coords: SmallVec<[usize; 4]> = SmallVec::from_elem(0, b.nest.mid.len());
        let mut rest = first;
        for d in (0..coords.len()).rev() {
            coords[d] = rest % b.nest.mid[d].max(1);
            rest /= b.nest.mid[d].max(1);
        }
        let shift = |this: &mut Self, d: usize, by: i64| {
            for (i, line) in b.nest.lines.iter().enumerate() {
                // SAFETY: one entry per line.
                unsafe { *this.cur.add(i) += line.mid[d] * by };
            }
        };
        for d in 0..coords.len() {
            shift(self, d, coords[d] as i64);
        }
        let carry = |this: &mut Self, from: usize| {
            for (s, f) in b.sinks[k].iter().enumerate() {
                if f.levels
                    && let Some(add) = f.combine
                {
                    let (to, x) = (this.acc(k, s, from + 1), this.acc(k, s, from));
                    // SAFETY: each level has a tile of elements.
                    unsafe { add(to, to, x, std::ptr::null(), n) };
                    this.fill_acc(k, s, from);
                }
            }
        };
        for point in first..first + count {
            for s in 0..p.sinks.len() {
                if p.sinks[s].arg {
                    // SAFETY: the second part of an arg accumulator holds the position.
                    unsafe { *self.acc(k, s, 1).cast::<i64>() = point as i64 };
                }
            }
            // SAFETY: as promised.
            unsafe {
                self.enter(k);
                self.place(k, v0);
                let t = self.table(k);
                for (i, s) in p.slots.iter().enumerate() {
                    if let Slot::Scratch(s) = *s {
                        *t.add(i) = self.scratch(s as usize).add(point * b.tile * b.scratch_sizes[s as usize]);
                    }
                }
                self.exec(k, &p.body, v0, n);
            }
            let done = point + 1 - first;
            if done.is_multiple_of(COLUMN_LEVEL) {
                carry(self, 0);
                if done.is_multiple_of(COLUMN_LEVEL * COLUMN_LEVEL) {
                    carry(self, 1);
                }
            }
            for d in (0..coords.len()).rev() {
                coords[d] += 1;
                if coords[d] < b.nest.mid[d] {
                    shift(self, d, 1);
                    break;
                }
                shift(self, d, -(b.nest.mid[d] as i64 - 1));
                coords[d] = 0;
            }
        }
        for d in 0..coords.len() {
            shift(self, d, -(coords[d] as i64));
        }
        if count >= COLUMN_LEVEL {
            carry(self, 0);
            carry(self, 1);
        }
        for (s, sink) in p.sinks.iter().enumerate() {
            if !sink.arg {
                let f = b.sinks[k][s];
                let level = if f.levels && count >= COLUMN_LEVEL { 2 } else { 0 };
                // SAFETY: result and accumulator have a tile of elements each.
                unsafe { moves::copy(self.result(sink.result as usize), self.acc(k, s, level), n * f.size) };
            }
        }
    }

    /// To be called when the task has written all it writes.
    pub fn finish(&mut self) {
        if self.b.streams {
            moves::stream_fence();
        }
    }

    /// Where slot `s` of pass `k` pointed during the tile of `n` lanes just run: streams have moved on.
    pub fn earlier(&self, k: usize, s: u16, n: usize) -> *mut u8 {
        // SAFETY: slots are inside the table.
        let p = unsafe { *self.table(k).add(s as usize) };
        match self.b.programs[k].slots[s as usize] {
            Slot::Access(a) => {
                let a = &self.b.programs[k].accesses[a as usize];
                if a.stream { p.wrapping_sub(n * a.size as usize) } else { p }
            }
            _ => p,
        }
    }
}

/// Parameters as elements of their compute dtypes.
pub fn param_block(dtypes: &[DType], which: &[u32], values: &[Scalar], out: &mut SmallVec<[u64; 16]>) {
    out.clear();
    for (d, &i) in dtypes.iter().zip(which) {
        out.push(super::compile::element(values[i as usize], *d));
    }
}
