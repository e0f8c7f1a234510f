//! Row kernels of plain instructions over rows of moderate length: several rows go through a pass together.
//!
//! What a row starts with (a sum's fold, then the few scalars of the row) is a chain of dependent instructions; while it runs for one row,
//! the processor already works on the next. Pointers move from row to row by constants, and no instruction looks anything up.

use super::*;

/// Bytes of buffers and row scratch that the rows of a batch may take: they are read again by the next pass, at best from the L1.
const BATCH_BYTES: usize = 16_384;
/// Most rows of a batch.
const MOST_ROWS: usize = 16;

/// A tile function and its slots.
struct Op {
    f: TileFn,
    dst: u16,
    a: u16,
    b: u16,
    c: u16,
    /// It fills a whole register.
    splat: bool,
}

/// Where a pointer is at the first row of a batch.
#[derive(Clone, Copy)]
enum Start {
    /// In argument .0, at line .1, of elements of .2 bytes.
    Arg(u16, u16, usize),
    Result(u16),
    Scratch(u16),
}

/// A slot whose pointer moves.
struct Moving {
    slot: u16,
    start: Start,
    /// Bytes from the last tile of a row to the first one of the next.
    row: isize,
    /// Bytes from lane to lane.
    lane: usize,
}

struct Fold {
    acc: u16,
    f: TileFn,
    identity: u64,
    size: usize,
    result: u16,
}

/// A row pass that only reduces a buffer as it is.
struct Plain {
    f: WholeFn,
    arg: u16,
    line: u16,
    size: usize,
    /// Bytes from row to row.
    stride: isize,
}

struct Pass {
    row: bool,
    plain: Option<Plain>,
    base: Vec<Op>,
    body: Vec<Op>,
    moving: Vec<Moving>,
    folds: Vec<Fold>,
}

/// The passes of a kernel as [`Task::lean_rows`] runs them.
pub struct Lean {
    passes: Vec<Pass>,
    /// Rows of a batch.
    pub rows: usize,
}

fn ops(code: &[Instr]) -> Option<Vec<Op>> {
    let op = |i: &Instr| match *i {
        Instr::Tile { f, dst, a, b, c } => {
            // Absent operands name any slot that exists.
            let or = |s: u16| if s == NONE { dst } else { s };
            Some(Op { f, dst, a: or(a), b: or(b), c: or(c), splat: false })
        }
        Instr::Splat(f, dst, a) => Some(Op { f, dst, a, b: a, c: a, splat: true }),
        _ => None,
    };
    code.iter().map(op).collect()
}

fn pass(b: &Bound, k: usize) -> Option<Pass> {
    let p = &b.programs[k];
    if p.accesses.iter().any(|a| a.dynamic != NONE) || p.sinks.iter().any(|s| s.arg) {
        return None;
    }
    let before = (b.vec_total - 1) / b.tile * b.tile;
    let moving = |(i, s): (usize, &Slot)| {
        let (start, row, lane) = match *s {
            Slot::Access(a) => {
                let a = &p.accesses[a as usize];
                let size = a.size as usize;
                let stride = b.nest.lines[a.line as usize].par.last().copied().unwrap_or(0) as isize;
                (Start::Arg(a.arg, a.line, size), stride * size as isize, if a.stream { size } else { 0 })
            }
            Slot::Reduced(r) => (Start::Result(r), 8, 0),
            Slot::Scratch(x) => {
                let size = b.scratch_sizes[x as usize];
                (Start::Scratch(x), (b.vec_total * size) as isize, size)
            }
            _ => return None,
        };
        let tiles = if p.row { before * lane } else { 0 };
        Some(Moving { slot: i as u16, start, row: row - tiles as isize, lane })
    };
    let fold = |(s, f): (&Sink, &SinkFns)| Some(Fold { acc: s.acc, f: f.fold?, identity: f.identity, size: f.size, result: s.result });
    let plain = || {
        let ([Instr::Tile { f, dst, a, .. }], [s], [fns]) = (&p.body[..], &p.sinks[..], &b.sinks[k][..]) else { return None };
        let x = p.accesses.iter().find(|x| x.slot == *a && x.stream)?;
        let same = *dst == s.acc && std::ptr::fn_addr_eq(fns.accumulate?, *f);
        let size = x.size as usize;
        let stride = b.nest.lines[x.line as usize].par.last().copied().unwrap_or(0) as isize * size as isize;
        let f = whole(s.kind, s.dtype).filter(|_| same && p.row && p.base.is_empty())?;
        Some(Plain { f, arg: x.arg, line: x.line, size, stride })
    };
    Some(Pass {
        row: p.row,
        plain: plain(),
        base: ops(&p.base)?,
        body: ops(&p.body)?,
        moving: p.slots.iter().enumerate().filter_map(moving).collect(),
        folds: p.sinks.iter().zip(&b.sinks[k]).map(fold).collect::<Option<_>>()?,
    })
}

impl Lean {
    /// The kernel's passes, if all of it is that plain and its rows are neither empty nor so long that sums need levels.
    pub(super) fn new(b: &Bound) -> Option<Lean> {
        if b.nest.mode != Mode::Row || b.vec_total == 0 || b.vec_total > LEVEL {
            return None;
        }
        let passes = (0..b.programs.len()).map(|k| pass(b, k)).collect::<Option<Vec<_>>>()?;
        let mut streams: Vec<(u16, u16, usize)> = Vec::new();
        for m in passes.iter().flat_map(|p| &p.moving) {
            if let Start::Arg(arg, line, size) = m.start
                && m.lane > 0
                && b.nest.lines[line as usize].par.iter().any(|&s| s != 0)
                && !streams.contains(&(arg, line, size))
            {
                streams.push((arg, line, size));
            }
        }
        let bytes = streams.iter().map(|s| s.2).sum::<usize>() + b.scratch_sizes.iter().sum::<usize>();
        let fit = BATCH_BYTES / (bytes * b.vec_total).max(1);
        let once = passes.iter().filter(|p| p.row).all(|p| p.plain.is_some()) && passes.iter().filter(|p| p.row).count() == 1;
        let least = if once {
            MOST_ROWS
        } else if b.vec_total <= 2 * ROW_TILE {
            2
        } else {
            1
        };
        Some(Lean { passes, rows: fit.clamp(least, MOST_ROWS) })
    }
}

/// Fills the lanes of an accumulator.
///
/// # Safety
/// `acc` has [`ACC_LANES`] elements of `size` bytes and is aligned to 8.
#[inline(always)]
unsafe fn reset(acc: *mut u8, identity: u64, size: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match size {
            4 => *acc.cast() = [identity as u32; ACC_LANES],
            8 => *acc.cast() = [identity; ACC_LANES],
            _ => moves::fill(acc, (&raw const identity).cast(), ACC_LANES, size),
        }
    }
}

impl Task<'_> {
    /// Rows that can follow the current one with pointers that move by constants, up to `most`.
    pub fn run_of_rows(&self, most: usize) -> usize {
        match (self.b.nest.par.last(), self.par.last()) {
            (Some(e), Some(at)) => most.min(e - at),
            _ => most.min(1),
        }
    }

    /// Goes `n` base points on, within the last base axis or to its end.
    pub fn skip(&mut self, n: usize) {
        if n > 1
            && let Some(d) = self.par.len().checked_sub(1)
        {
            self.par[d] += n - 1;
            for (i, line) in self.b.nest.lines.iter().enumerate() {
                // SAFETY: one entry per line.
                unsafe { *self.cur.add(i) += line.par[d] * (n as i64 - 1) };
            }
        }
        self.step();
    }

    /// Runs all passes for `count` rows from the current one on.
    ///
    /// # Safety
    /// The rows are inside the kernel's domain, at most `lean.rows`, and as many as [`run_of_rows`](Task::run_of_rows) allows.
    pub unsafe fn lean_rows(&mut self, lean: &Lean, count: usize) {
        let b = self.b;
        // SAFETY: slots are inside the table; what they point to is valid for the lanes by the rules of Loop IR and the compiler.
        unsafe {
            for (k, p) in lean.passes.iter().enumerate() {
                let t = self.table(k);
                let get = |s: u16| *t.add(s as usize);
                let results = |r: u16| self.mem.add(b.layout.row_results + r as usize * lean.rows * 8);
                if let (Some(x), [to]) = (&p.plain, &p.folds[..]) {
                    let from = self.args[x.arg as usize].wrapping_offset(*self.cur.add(x.line as usize) as isize * x.size as isize);
                    (x.f)(results(to.result), 8, from, x.stride, count, b.vec_total, to.identity);
                    continue;
                }
                for m in &p.moving {
                    *t.add(m.slot as usize) = match m.start {
                        Start::Arg(arg, line, size) => {
                            self.args[arg as usize].wrapping_offset(*self.cur.add(line as usize) as isize * size as isize)
                        }
                        Start::Result(r) => results(r),
                        Start::Scratch(s) => self.rows[s as usize],
                    };
                }
                for row in 0..count {
                    if row > 0 {
                        for m in &p.moving {
                            *t.add(m.slot as usize) = get(m.slot).wrapping_offset(m.row);
                        }
                    }
                    for o in &p.base {
                        (o.f)(get(o.dst), get(o.a), get(o.b), get(o.c), if o.splat { b.tile } else { 1 });
                    }
                    if !p.row {
                        continue;
                    }
                    for f in &p.folds {
                        reset(get(f.acc), f.identity, f.size);
                    }
                    let mut left = b.vec_total;
                    loop {
                        let n = b.tile.min(left);
                        for o in &p.body {
                            (o.f)(get(o.dst), get(o.a), get(o.b), get(o.c), n);
                        }
                        left -= n;
                        if left == 0 {
                            break;
                        }
                        for m in &p.moving {
                            *t.add(m.slot as usize) = get(m.slot).wrapping_add(n * m.lane);
                        }
                    }
                    for f in &p.folds {
                        (f.f)(results(f.result).add(row * 8), get(f.acc), std::ptr::null(), std::ptr::null(), ACC_LANES);
                    }
                }
            }
        }
    }
}
