//! What a pass writes: reductions, row scratch, stores, and the operands of a scatter.

use super::*;

impl Emitter<'_, '_> {
    pub(super) fn reduce(&mut self, pass: usize, r: usize) -> Result<()> {
        let s = self.k.passes[pass].reduces[r];
        let acc = self.slot(Slot::Acc(r as u16));
        let (kind, e) = match s.kind {
            ReduceKind::Fold(kind, e) => (kind, e),
            ReduceKind::Dot(a, _) => (Reduce::Sum, a),
        };
        let d = compute(self.k.exprs[e.index()].dtype);
        let red = reduction(kind);
        self.p.sinks.push(Sink { kind: red, dtype: d, arg: kind.is_arg(), acc, result: (self.results + r) as u16 });
        let column = self.an.nest.mode != Mode::Row;
        if kind.is_arg() {
            let v = self.vector(e.0, d.size());
            self.push(VECTOR, Instr::Arg(r as u16, v), || kind.name().into());
            self.release(e.0);
            self.p.cost += 100;
            return Ok(());
        }
        self.p.cost += 60;
        // Accumulators are operands beside values: they stand in as a value of their own.
        let fold = |this: &mut Self, v: u32| -> Result<()> {
            let none = || internal(&format!("there is no reduction {red:?} of {d}"));
            if column {
                let op = TileOp::Binary(
                    match red {
                        Reduction::Sum => Binary::Add,
                        Reduction::Prod => Binary::Mul,
                        Reduction::Max => Binary::Max,
                        Reduction::Min => Binary::Min,
                    },
                    d,
                );
                let slot = this.vector(v, d.size());
                let f = lookup(op, Scalars::NONE).ok_or_else(none)?;
                this.push(VECTOR, Instr::Tile { f, dst: acc, a: acc, b: slot, c: NONE }, || format!("{op:?}"));
            } else {
                let slot = this.vector(v, d.size());
                let f = lookup(TileOp::Accumulate(red, d), Scalars::NONE).ok_or_else(none)?;
                this.push(VECTOR, Instr::Tile { f, dst: acc, a: slot, b: NONE, c: NONE }, || format!("accumulate {red:?} {d}"));
            }
            this.release(v);
            Ok(())
        };
        let step = |this: &mut Self, op: TileOp, a: u32, b: Option<u32>, third: u16| -> Result<()> {
            let x = this.vector(a, d.size());
            let y = match b {
                Some(b) => this.vector(b, d.size()),
                None => NONE,
            };
            let f = lookup(op, Scalars::NONE).ok_or_else(|| internal(&format!("there is no tile kernel for {op:?}")))?;
            this.push(VECTOR, Instr::Tile { f, dst: acc, a: x, b: y, c: third }, || format!("{op:?}"));
            this.release(a);
            b.into_iter().for_each(|b| this.release(b));
            Ok(())
        };
        match (self.sums[r], s.kind) {
            (Some(SumOf::Squares(a, b)), _) => {
                let (x, y) = (self.vals[a as usize].slot, self.vals[b as usize].slot);
                let f = lookup(TileOp::AccumulateSquares, Scalars::B).ok_or_else(|| internal("there is no sum of squares"))?;
                self.push(VECTOR, Instr::Tile { f, dst: acc, a: x, b: y, c: NONE }, || "accumulate squares".into());
                self.release(a);
                self.release(b);
                Ok(())
            }
            (Some(SumOf::Product(a, b)), _) if column => step(self, TileOp::MulAdd(MulAdd::Add, d), a, Some(b), acc),
            (Some(SumOf::Product(a, b)), _) => step(self, TileOp::AccumulateMulAdd(d), a, Some(b), NONE),
            (Some(SumOf::Step(first, negated, a, b)), _) => step(self, TileOp::AccumulateOf(first, negated), a, Some(b), NONE),
            (Some(SumOf::Negated(a)), _) => step(self, TileOp::AccumulateNeg, a, None, NONE),
            (None, ReduceKind::Fold(..)) => fold(self, e.0),
            (None, ReduceKind::Dot(a, b)) => {
                let v = self.arith(TileOp::Binary(Binary::Mul, d), d, &[a.0, b.0], [d.size(); 3], None)?;
                let x = self.temporary(v);
                fold(self, x)
            }
        }
    }

    pub(super) fn scratch(&mut self, pass: usize, s: usize) -> Result<()> {
        let (id, e) = self.k.passes[pass].scratch[s];
        let d = compute(self.k.scratch[id.index()]);
        if self.p.slots[self.vals[e.index()].slot as usize] == Slot::Scratch(id.0 as u16) {
            self.release(e.0);
            self.p.cost += 40;
            return Ok(());
        }
        let v = self.vector(e.0, d.size());
        let slot = self.slot(Slot::Scratch(id.0 as u16));
        self.push(VECTOR, Instr::Tile { f: tile::copy(d.size()), dst: slot, a: v, b: NONE, c: NONE }, || "copy".into());
        self.release(e.0);
        self.p.cost += 60;
        Ok(())
    }

    pub(super) fn store(&mut self, pass: usize, s: usize) -> Result<()> {
        let st = self.k.passes[pass].stores[s];
        let (arg, x) = (st.arg.index(), st.value.0);
        let d = self.k.args[arg].dtype;
        let size = d.size();
        if self.direct[st.value.index()] == s as u16 {
            self.p.cost += 60;
            self.release(x);
            return Ok(());
        }
        let c = compute(d);
        let level = self.vals[x as usize].level;
        let path = self.an.stores[pass][s];
        let narrow = |this: &mut Self, a: u16, level: u8, dst: Option<u16>| -> Result<Val> {
            let op = TileOp::Cast { from: c, to: d };
            let f = lookup(op, Scalars::NONE).ok_or_else(|| internal("no cast to a half type"))?;
            let (dst, reg) = match dst {
                Some(s) => (s, NONE),
                None if level == VECTOR => {
                    let r = this.register(size);
                    (r, r)
                }
                None => (this.scalar(), NONE),
            };
            this.push(level, Instr::Tile { f, dst, a, b: NONE, c: NONE }, || format!("{op:?}"));
            Ok(Val { slot: dst, reg, level })
        };
        match path {
            Path::Uniform => {
                let (slot, _) = self.access(arg, st.index, false);
                let (level, a) = (level.max(UNIFORM), self.vals[x as usize].slot);
                if d != c {
                    narrow(self, a, level, Some(slot))?;
                } else {
                    self.push(level, Instr::Tile { f: tile::copy(size), dst: slot, a, b: NONE, c: NONE }, || "store".into());
                }
            }
            Path::Stream | Path::Staged(_) => {
                let slot = match path {
                    Path::Staged(i) => self.slot(Slot::Staged(i)),
                    _ => self.access(arg, st.index, true).0,
                };
                let a = if d != c || level == VECTOR { self.vector(x, c.size()) } else { self.vals[x as usize].slot };
                let stream = self.style.streams(arg) && path == Path::Stream;
                if d != c {
                    if stream {
                        let v = narrow(self, a, VECTOR, None)?;
                        self.push(VECTOR, Instr::Tile { f: tile::stream_copy(size), dst: slot, a: v.slot, b: NONE, c: NONE }, || {
                            "stream".into()
                        });
                        self.drop_reg(v.reg);
                    } else {
                        narrow(self, a, VECTOR, Some(slot))?;
                    }
                } else if level == VECTOR {
                    let f = if stream { tile::stream_copy(size) } else { tile::copy(size) };
                    self.push(VECTOR, Instr::Tile { f, dst: slot, a, b: NONE, c: NONE }, || if stream { "stream" } else { "store" }.into());
                    let access = |s: u16| matches!(self.p.slots[s as usize], Slot::Access(_));
                    if !self.style.late && !stream && access(slot) && access(a) {
                        self.p.copy = Some((slot, a));
                    }
                } else {
                    let f = if stream { tile::stream_fill(size) } else { tile::fill(size) };
                    self.push(VECTOR, Instr::Tile { f, dst: slot, a, b: NONE, c: NONE }, || if stream { "stream" } else { "fill" }.into());
                }
                self.p.cost += 80 * size as u32 / 4 + 20;
            }
            Path::Walk(w) => {
                let dynamic = match self.offset(st.index) {
                    Some(y) => {
                        let s = self.vals[y as usize].slot;
                        self.release(y);
                        s
                    }
                    None => NONE,
                };
                let a = self.vector(x, c.size());
                let v = if d != c { narrow(self, a, VECTOR, None)? } else { Val { slot: a, ..NO_VAL } };
                self.p.walks.push(WalkOp {
                    kind: WalkKind::Store { arg: arg as u16 },
                    walk: w,
                    dynamic,
                    size: size as u8,
                    reg: v.slot,
                    out: NONE,
                });
                let i = self.p.walks.len() - 1;
                self.push(VECTOR, Instr::Walk(i as u16), || "store".into());
                self.drop_reg(v.reg);
                self.p.cost += 400;
            }
            Path::Indexed => {
                let i = self.value(st.index);
                let index = self.vector(i, 8);
                let a = self.vector(x, c.size());
                let v = if d != c { narrow(self, a, VECTOR, None)? } else { Val { slot: a, ..NO_VAL } };
                self.p.indexed.push(Indexed { arg: arg as u16, size: size as u8, index, mask: NONE, fill: NONE, reg: v.slot });
                let g = self.p.indexed.len() - 1;
                self.push(VECTOR, Instr::Scatter(g as u16), || "scatter".into());
                self.drop_reg(v.reg);
                self.release(i);
                self.p.cost += 800;
            }
        }
        self.release(x);
        Ok(())
    }

    /// Leaves index, validity and value in slots for the scatter loop. They stay alive: nothing is emitted after them.
    pub(super) fn scatter(&mut self, st: Store, run: bool) -> Result<()> {
        let get = |this: &Self, x: u32| {
            let v = this.vals[x as usize];
            (v.slot, v.level < VECTOR)
        };
        let valid = match st.valid {
            Some(b) => {
                let v = self.bounds_mask(&[b]);
                (v.slot, v.level < VECTOR)
            }
            None => (NONE, true),
        };
        let index = if run { (self.access(st.arg.index(), st.index, true).0, false) } else { get(self, self.value(st.index)) };
        self.p.scatter_run = run;
        self.p.scatter = Some([index, valid, get(self, st.value.0)]);
        self.p.cost += 1500;
        Ok(())
    }
}
