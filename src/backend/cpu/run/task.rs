//! A task: pointer tables, position, and the instruction loop.

use super::*;

/// A thread's walk through a bound kernel.
pub struct Task<'a> {
    /// The kernel.
    pub b: &'a Bound,
    pub(super) args: &'a [*mut u8],
    pub(super) mem: *mut u8,
    pub(super) cur: *mut i64,
    pub(super) par: SmallVec<[usize; 4]>,
    pub(super) rows: SmallVec<[*mut u8; 2]>,
    pub(super) point_result: *mut u8,
    pub(super) staged: SmallVec<[*mut u8; 2]>,
}

impl<'a> Task<'a> {
    /// Sets up tables and registers in `mem`, and computes what is the same in the whole kernel.
    ///
    /// # Safety
    /// `mem` has `b.task_bytes()` bytes, aligned to 64; `args` point to the kernel's buffers and stay valid; `params` has the kernel's parameters,
    /// 8 bytes each in their compute dtype.
    pub unsafe fn start(b: &'a Bound, args: &'a [*mut u8], params: *const u64, mem: *mut u8) -> Task<'a> {
        let mut t = Task {
            b,
            args,
            mem,
            cur: mem.cast(),
            par: SmallVec::from_elem(0, b.nest.par.len()),
            rows: SmallVec::new(),
            point_result: std::ptr::null_mut(),
            staged: SmallVec::from_elem(std::ptr::null_mut(), b.nest.stages.len()),
        };
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
                        Slot::Access(_) | Slot::Walked | Slot::Staged(_) => std::ptr::null_mut(),
                    };
                }
            }
        }
        // SAFETY: as promised.
        unsafe { t.compute_constants() };
        t
    }

    /// Computes what is the same in the whole kernel; the current point is the first one.
    unsafe fn compute_constants(&mut self) {
        let b = self.b;
        // Buffers of an empty row have no element to read.
        let empty = b.vec_total == 0 || b.mid_total == 0;
        for (k, p) in b.programs.iter().enumerate().filter(|(_, p)| !(p.once.is_empty() || (p.row && empty))) {
            self.point_accesses(k);
            // SAFETY: as promised to `start`.
            unsafe { self.exec(k, &p.once, 0, 1) };
        }
    }

    /// Goes back to the first point of a kernel over other buffers.
    ///
    /// # Safety
    /// As [`start`](Task::start).
    pub unsafe fn rebind(&mut self, args: &'a [*mut u8]) {
        self.args = args;
        // SAFETY: as promised.
        unsafe { self.compute_constants() };
    }

    /// Points the accesses of pass `k` at the current point.
    #[inline]
    fn point_accesses(&mut self, k: usize) {
        let t = self.table(k);
        for a in self.b.programs[k].accesses.iter().filter(|a| a.dynamic == NONE) {
            // SAFETY: slots and lines are inside their tables.
            unsafe {
                *t.add(a.slot as usize) =
                    self.args[a.arg as usize].wrapping_offset(*self.cur.add(a.line as usize) as isize * a.size as isize)
            };
        }
    }

    pub(super) fn table(&self, k: usize) -> *mut *mut u8 {
        // SAFETY: inside the memory.
        unsafe { self.mem.add(self.b.layout.tables[k]).cast() }
    }

    /// Accumulator `level` of sink `s` of pass `k`.
    pub(super) fn acc(&self, k: usize, s: usize, level: usize) -> *mut u8 {
        let lanes = if self.b.nest.mode == Mode::Row { ACC_LANES } else { self.b.tile };
        // SAFETY: inside the memory.
        unsafe { self.mem.add(self.b.layout.accs[k] + s * lanes * ACC_BYTES + level * lanes * 8) }
    }

    /// Result number `r` of the current base point.
    pub fn result(&self, r: usize) -> *mut u8 {
        // SAFETY: inside the memory.
        unsafe { self.mem.add(self.b.layout.results + r * self.b.result_stride()) }
    }

    /// Point mode: where `place` finds lane 0 of the result.
    pub fn set_point_result(&mut self, p: *mut u8) {
        self.point_result = p;
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

    pub(super) fn set_slots(&mut self, which: impl Fn(Slot) -> bool, p: *mut u8) {
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
        let b = self.b;
        self.point_accesses(k);
        // SAFETY: as promised.
        unsafe { self.exec(k, &b.programs[k].base, 0, 1) };
    }

    /// Moves the streams of pass `k` from vector position 0 to `v`.
    pub fn place(&mut self, k: usize, v: usize) {
        for &(i, s, _) in &self.b.moving[k] {
            let base = match s {
                Slot::Scratch(s) => self.scratch(s as usize),
                Slot::Staged(s) => self.staged[s as usize],
                _ => self.point_result,
            };
            // SAFETY: the table has an entry per slot.
            unsafe { *self.table(k).add(i as usize) = base };
        }
        if v != 0 {
            self.advance(k, v);
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, k: usize, n: usize) {
        let t = self.table(k);
        for a in &self.b.programs[k].accesses {
            if a.stream {
                // SAFETY: the table has an entry per slot.
                unsafe { *t.add(a.slot as usize) = (*t.add(a.slot as usize)).wrapping_add(n * a.size as usize) };
            }
        }
        for &(i, _, size) in &self.b.moving[k] {
            // SAFETY: as above.
            unsafe { *t.add(i as usize) = (*t.add(i as usize)).wrapping_add(n * size) };
        }
    }

    /// Runs the tiles of pass `k` from vector position `v0` (where the streams are) to `v1`.
    ///
    /// # Safety
    /// The range is inside the vector domain, and the pass was entered.
    pub unsafe fn tiles(&mut self, k: usize, v0: usize, v1: usize) {
        let p = &self.b.programs[k];
        let mut v = v0;
        while v < v1 {
            let n = self.b.tile.min(v1 - v);
            // SAFETY: as promised.
            unsafe { self.exec(k, &p.body, v, n) };
            v += n;
            self.advance(k, n);
        }
    }

    /// Runs instructions for `n` lanes from vector position `v`.
    #[inline]
    pub(super) unsafe fn exec(&mut self, k: usize, code: &[Instr], v: usize, n: usize) {
        let t = self.table(k);
        // SAFETY: slots are inside the table; what they point to is valid for the lanes by the rules of Loop IR and the compiler.
        unsafe {
            for i in code {
                match *i {
                    Instr::Tile { f, dst, a, b, c } => {
                        let get = |s: u16| *t.add(s as usize) as *const u8;
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
                            crate::backend::cpu::access::gather_masked(dst, base, index, mask, *t.add(g.fill as usize), n, g.size as usize);
                        }
                    }
                    Instr::Scatter(g) => {
                        let g = &self.b.programs[k].indexed[g as usize];
                        let (src, index) = (*t.add(g.reg as usize), *t.add(g.index as usize) as *const i64);
                        crate::backend::cpu::access::scatter(self.args[g.arg as usize], index, src, n, g.size as usize);
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
                        let e = (*self.cur.add(line as usize)).wrapping_add(v as i64);
                        let counter = at(o).wrapping_add(e.div_euclid(4));
                        philox::philox_fill((*t.add(d as usize)).cast(), at(key) as u64, counter as u64, e.rem_euclid(4) as u64, n);
                    }
                    Instr::Arg(s, value) => self.arg(k, s as usize, *t.add(value as usize), v, n),
                }
            }
        }
    }

    pub(super) unsafe fn arg(&mut self, k: usize, s: usize, value: *const u8, v: usize, n: usize) {
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

    pub(super) unsafe fn walk(&mut self, k: usize, w: usize, v: usize, n: usize) {
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
                    let p = crate::backend::cpu::access::load(
                        walk,
                        self.cur,
                        dynamic,
                        self.args[arg as usize],
                        v,
                        n,
                        reg,
                        fill,
                        op.size as usize,
                    );
                    if op.out != NONE {
                        *t.add(op.out as usize) = p;
                    } else if p != reg {
                        moves::copy(reg, p, n * op.size as usize);
                    }
                }
                WalkKind::Iota => {
                    crate::backend::cpu::access::iota(walk, self.cur, dynamic, v, n, reg.cast());
                    *t.add(op.out as usize) = reg;
                }
                WalkKind::InBounds => {
                    crate::backend::cpu::access::in_bounds(walk, self.cur, v, n, reg);
                    *t.add(op.out as usize) = reg;
                }
                WalkKind::Store { arg } => {
                    crate::backend::cpu::access::store(walk, self.cur, dynamic, self.args[arg as usize], v, n, reg, op.size as usize)
                }
            }
        }
    }

    /// Point mode: runs the only pass, which copies the vector of each point from elsewhere, for `count` points from the current one on. The
    /// places of several points are found, and fetched, before anything is copied.
    ///
    /// # Safety
    /// The points are inside the kernel's domain; `dst` and `src` are the slots of `Program::copy`.
    pub unsafe fn copies(&mut self, (dst, src): (u16, u16), count: usize) {
        const AHEAD: usize = 8;
        let p = &self.b.programs[0];
        let size = p.accesses.iter().find(|a| a.slot == dst).map_or(0, |a| a.size as usize);
        let bytes = self.b.vec_total * size;
        let mut places = [(std::ptr::null_mut(), std::ptr::null_mut()); AHEAD];
        let mut done = 0;
        while done < count {
            let n = AHEAD.min(count - done);
            for x in &mut places[..n] {
                // SAFETY: as promised.
                unsafe { self.enter(0) };
                *x = (self.earlier(0, dst, 0), self.earlier(0, src, 0));
                moves::fetch(x.1, bytes.min(FETCH));
                done += 1;
                if done < count {
                    self.step();
                }
            }
            for x in &places[..n] {
                // SAFETY: the vector is contiguous in both buffers, and these do not overlap.
                unsafe { moves::copy(x.0, x.1, bytes) };
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
