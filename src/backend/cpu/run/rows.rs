//! Reductions: along the row in lanes that are folded, and down columns lane by lane.

use super::*;

impl Task<'_> {
    pub(super) fn fill_acc(&self, k: usize, s: usize, level: usize) {
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
                if self.b.sinks[k][s].levels && v1 - v0 > LEVEL {
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
        let plain = &b.plain[k];
        if !plain.is_empty() {
            // SAFETY: as promised.
            unsafe {
                self.enter(k);
                self.place(k, v0);
                let mut done = 0;
                while done < count {
                    let rows = COLUMN_LEVEL.min(count - done);
                    for x in plain {
                        let from = (*self.table(k).add(x.slot as usize)).wrapping_offset(done as isize * x.stride);
                        (x.f)(self.acc(k, x.sink, 0), from, x.stride, rows, n);
                    }
                    done += rows;
                    if done.is_multiple_of(COLUMN_LEVEL) {
                        carry(self, 0);
                        if done.is_multiple_of(COLUMN_LEVEL * COLUMN_LEVEL) {
                            carry(self, 1);
                        }
                    }
                }
            }
        }
        let stepped = if plain.is_empty() { count } else { 0 };
        for point in first..first + stepped {
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
}
