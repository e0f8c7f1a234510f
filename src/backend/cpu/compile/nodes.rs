//! Expressions and computed indices, each as one or a few instructions.

use super::*;

impl Emitter<'_, '_> {
    pub(super) fn node(&mut self, x: u32, pass: usize) -> Result<()> {
        let (ne, ni) = (self.ne, self.ni);
        let v = if (x as usize) < ne {
            self.expr(x as usize, pass)?
        } else {
            let i = (x as usize - ne) % ni;
            match (x as usize - ne) / ni {
                0 => self.emit_atom(i)?,
                1 => self.emit_value(i)?,
                _ => self.sum_atoms(i, None)?,
            }
        };
        self.vals[x as usize] = v;
        Ok(())
    }

    pub(super) fn emit_atom(&mut self, i: usize) -> Result<Val> {
        match self.k.indices[i] {
            Index::Div(y, c) | Index::Mod(y, c) => {
                let f = if matches!(self.k.indices[i], Index::Div(..)) { tile::div } else { tile::rem };
                let y = self.value(y);
                let v = self.vals[y as usize];
                let c = self.constant(c as u64);
                self.release(y);
                Ok(self.plain("index divide", f, 8, v.level, v.slot, c, NONE))
            }
            Index::Value(e, n) => {
                let v = self.vals[e.index()];
                let d = self.k.exprs[e.index()].dtype;
                let mut v = if d == DType::I64 {
                    // Shares its register.
                    if v.reg != NONE {
                        self.refs[v.reg as usize] += 1;
                    }
                    self.release(e.0);
                    v
                } else {
                    self.arith(TileOp::Cast { from: compute(d), to: DType::I64 }, DType::I64, &[e.0], [8; 3], None)?
                };
                if n > 0 {
                    let c = self.constant(n as u64);
                    self.drop_reg(v.reg);
                    v = self.plain("index clamp", tile::clamp, 8, v.level, v.slot, c, NONE);
                }
                Ok(v)
            }
            _ => Err(internal("an affine index was taken for a computed one")),
        }
    }

    /// The whole index as a number.
    pub(super) fn emit_value(&mut self, i: usize) -> Result<Val> {
        let level = self.an.index_level[i].max(UNIFORM);
        let zero = self.an.affine_zero(i) && !self.an.forms[i].atoms.is_empty();
        let affine = if zero {
            None
        } else {
            let varies = self.an.affine_varies(i);
            let walk = self.an.iota_walk(i);
            let at = if varies { VECTOR } else { UNIFORM };
            Some(self.walk(WalkKind::Iota, walk, NONE, 8, at, "iota"))
        };
        match affine {
            Some(v) if self.an.forms[i].atoms.is_empty() => Ok(v),
            _ => {
                let v = self.sum_atoms(i, affine)?;
                debug_assert!(v.level <= level);
                Ok(v)
            }
        }
    }

    pub(super) fn sum_atoms(&mut self, i: usize, start: Option<Val>) -> Result<Val> {
        let atoms = self.an.forms[i].atoms.clone();
        let mut acc = start;
        for (a, c) in atoms {
            let x = self.atom(a as usize);
            let v = self.vals[x as usize];
            if acc.is_none() && c == 1 {
                if v.reg != NONE {
                    self.refs[v.reg as usize] += 1;
                }
                self.release(x);
                acc = Some(v);
                continue;
            }
            let coefficient = self.constant(c as u64);
            acc = Some(match acc {
                None => {
                    self.release(x);
                    self.plain("index scale", tile::scale, 8, v.level, v.slot, coefficient, NONE)
                }
                Some(s) => {
                    let level = v.level.max(s.level);
                    let slot = if level == VECTOR { self.vector(x, 8) } else { v.slot };
                    let f = if s.level < level { tile::axpy_scalar } else { tile::axpy };
                    self.release(x);
                    self.drop_reg(s.reg);
                    self.plain("index multiply-add", f, 8, level, slot, coefficient, s.slot)
                }
            });
        }
        acc.ok_or_else(|| internal("an index without parts"))
    }

    pub(super) fn walk(&mut self, kind: WalkKind, walk: u16, dynamic: u16, size: usize, level: u8, name: &'static str) -> Val {
        let level = level.max(UNIFORM);
        let reg = if level == VECTOR { self.register(size) } else { self.scalar() };
        let out = self.slot(Slot::Walked);
        self.p.walks.push(WalkOp { kind, walk, dynamic, size: size as u8, reg, out });
        let w = self.p.walks.len() - 1;
        if level == VECTOR {
            self.p.cost += 300;
        }
        self.push(level, Instr::Walk(w as u16), || name.into());
        Val { slot: out, reg: if level == VECTOR { reg } else { NONE }, level }
    }

    pub(super) fn access(&mut self, arg: usize, index: IndexId, stream: bool) -> (u16, u8) {
        let size = self.k.args[arg].dtype.size();
        let i = self.p.accesses.len() as u16;
        let slot = self.slot(Slot::Access(i));
        let dynamic = match self.offset(index) {
            Some(x) => {
                let s = self.vals[x as usize].slot;
                self.release(x);
                s
            }
            None => NONE,
        };
        let line = self.an.line_of[index.index()];
        self.p.accesses.push(Access { slot, arg: arg as u16, line, dynamic, size: size as u8, stream });
        if dynamic != NONE {
            // A stream comes back to its start with every base point.
            let level = if stream { UNIFORM } else { self.an.index_level[index.index()] };
            self.push(level, Instr::Point(i), || "point".into());
        }
        (slot, size as u8)
    }

    pub(super) fn bounds_mask(&mut self, mask: &[crate::loops::Bound]) -> Val {
        let mut acc = NO_VAL;
        let level = mask.iter().map(|b| self.vals[self.value(b.index) as usize].level).max().unwrap_or(UNIFORM);
        for b in mask {
            let x = self.value(b.index);
            let slot = if level == VECTOR { self.vector(x, 8) } else { self.vals[x as usize].slot };
            let c = self.constant(b.lo as u64);
            self.p.consts.push(b.hi as u64);
            self.release(x);
            let (f, prev) = if acc.slot == NONE { (tile::in_range as TileFn, NONE) } else { (tile::in_range_and as TileFn, acc.slot) };
            self.drop_reg(acc.reg);
            acc = self.plain("in range", f, 1, level, slot, c, prev);
        }
        acc
    }

    /// Storage type to compute type.
    pub(super) fn widen(&mut self, v: Val, d: DType) -> Result<Val> {
        if d == compute(d) {
            return Ok(v);
        }
        let op = TileOp::Cast { from: d, to: compute(d) };
        let f = lookup(op, Scalars::NONE).ok_or_else(|| internal("no cast from a half type"))?;
        self.drop_reg(v.reg);
        let level = v.level;
        let (dst, reg) = if level == VECTOR {
            let r = self.register(4);
            (r, r)
        } else {
            (self.scalar(), NONE)
        };
        self.p.cost += 60;
        self.push(level, Instr::Tile { f, dst, a: v.slot, b: NONE, c: NONE }, || format!("{op:?}"));
        Ok(Val { slot: dst, reg, level })
    }

    /// A load, by a walk or by indices straight to `into` where that is given.
    pub(super) fn load(&mut self, x: usize, into: Option<u16>) -> Result<Val> {
        let ExprKind::Load { arg, index, mask, fill } = &self.k.exprs[x].kind else { return Err(internal("not a load")) };
        let (arg, index, d) = (arg.index(), *index, self.k.args[arg.index()].dtype);
        let mut bits = [0u8; 8];
        fill.write(d, &mut bits);
        let v = match self.an.paths[x] {
            Path::Uniform => {
                let (slot, _) = self.access(arg, index, false);
                Val { slot, reg: NONE, level: self.an.index_level[index.index()] }
            }
            Path::Stream => {
                let (slot, _) = self.access(arg, index, true);
                self.p.cost += 40 * d.size() as u32 / 4 + 10;
                Val { slot, reg: NONE, level: VECTOR }
            }
            Path::Staged(i) => {
                self.p.cost += 250;
                Val { slot: self.slot(Slot::Staged(i)), reg: NONE, level: VECTOR }
            }
            Path::Walk(w) => {
                let dynamic = match self.offset(index) {
                    Some(y) => {
                        let s = self.vals[y as usize].slot;
                        self.release(y);
                        s
                    }
                    None => NONE,
                };
                let fill = self.constant(u64::from_ne_bytes(bits));
                let kind = WalkKind::Load { arg: arg as u16, fill };
                let Some(slot) = into else {
                    let v = self.walk(kind, w, dynamic, d.size(), self.an.level[x], "load");
                    return self.widen(v, d);
                };
                self.p.walks.push(WalkOp { kind, walk: w, dynamic, size: d.size() as u8, reg: slot, out: NONE });
                let i = self.p.walks.len() - 1;
                self.p.cost += 300;
                self.push(VECTOR, Instr::Walk(i as u16), || "load".into());
                Val { slot, reg: NONE, level: VECTOR }
            }
            Path::Indexed => {
                let fill = self.constant(u64::from_ne_bytes(bits));
                let i = self.value(index);
                let mask = if mask.is_empty() { NO_VAL } else { self.bounds_mask(mask) };
                let level = self.vals[i as usize].level.max(mask.level).max(UNIFORM);
                let tile = |this: &mut Self, v: Val, size: usize| {
                    if level < VECTOR || v.level == VECTOR || v.slot == NONE {
                        return v;
                    }
                    // A single element among tiles.
                    this.p.regs[class(size)] += 1;
                    let r = this.p.regs[class(size)] - 1;
                    let r = this.slot(Slot::Reg(class(size) as u8, r));
                    this.push(v.level, Instr::Splat(tile::fill(size), r, v.slot), || "splat".into());
                    Val { slot: r, reg: NONE, level }
                };
                let iv = self.vals[i as usize];
                let iv = tile(self, iv, 8);
                let mv = tile(self, mask, 1);
                let reg = match into {
                    Some(slot) => slot,
                    None if level == VECTOR => self.register(d.size()),
                    None => self.scalar(),
                };
                self.p.indexed.push(Indexed { arg: arg as u16, size: d.size() as u8, index: iv.slot, mask: mv.slot, fill, reg });
                let g = self.p.indexed.len() - 1;
                self.push(level, Instr::Gather(g as u16), || "gather".into());
                self.release(i);
                self.drop_reg(mask.reg);
                if level == VECTOR {
                    self.p.cost += 800;
                }
                Val { slot: reg, reg: if level == VECTOR && into.is_none() { reg } else { NONE }, level }
            }
        };
        self.widen(v, d)
    }

    pub(super) fn expr(&mut self, x: usize, pass: usize) -> Result<Val> {
        let e = &self.k.exprs[x];
        let d = compute(e.dtype);
        let size = |this: &Self, y: ExprId| compute(this.k.exprs[y.index()].dtype).size();
        let mut kids = Vec::new();
        if self.direct[x] != NONE || self.kept[x] != NONE {
            self.children(x as u32, &mut kids);
        }
        let vectors = kids.iter().any(|&c| self.vals[c as usize].level == VECTOR);
        let elementwise = match e.kind {
            // In more than one step: the last of them is not this one.
            ExprKind::Cast(_) if e.dtype != d || matches!(d, DType::U32 | DType::U8) => false,
            ExprKind::Unary(..) | ExprKind::Binary(..) | ExprKind::Compare(..) | ExprKind::Select(..) => vectors,
            ExprKind::Cast(a) => vectors && compute(self.k.exprs[a.index()].dtype) != d,
            ExprKind::Load { arg, .. } => {
                matches!(self.an.paths[x], Path::Walk(_) | Path::Indexed)
                    && self.an.level[x] == VECTOR
                    && self.k.args[arg.index()].dtype == d
            }
            _ => false,
        };
        let into = if elementwise && self.direct[x] != NONE {
            Some({
                let s = self.direct[x] as usize;
                let st = self.k.passes[pass].stores[s];
                (s, st)
            })
        } else {
            None
        };
        // A direct store whose offset is computed needs that offset first; such stores copy.
        let into = match into {
            Some((_, st)) if self.offset(st.index).is_none() => {
                let (slot, _) = self.access(st.arg.index(), st.index, true);
                Some(slot)
            }
            _ => {
                self.direct[x] = NONE;
                None
            }
        };
        if into.is_none() {
            self.direct[x] = NONE;
        }
        let into = match into {
            None if self.kept[x] != NONE && elementwise && e.dtype == d => {
                let (id, _) = self.k.passes[pass].scratch[self.kept[x] as usize];
                Some(self.slot(Slot::Scratch(id.0 as u16)))
            }
            other => other,
        };
        if let Some(c) = self.combined[x].clone() {
            if c.op == (TileOp::Cast { from: d, to: d }) {
                // The value itself.
                let v = self.vals[c.operands[0] as usize];
                if v.reg != NONE {
                    self.refs[v.reg as usize] += 1;
                }
                self.release(c.operands[0]);
                return Ok(v);
            }
            let mut sizes = [d.size(); 3];
            for (s, &o) in sizes.iter_mut().zip(&c.operands) {
                *s = compute(self.k.exprs[o as usize].dtype).size();
            }
            return self.arith(c.op, d, &c.operands, sizes, into);
        }
        match &e.kind {
            ExprKind::Const(c) => {
                let mut bits = [0u8; 8];
                c.write(d, &mut bits);
                let slot = self.constant(u64::from_ne_bytes(bits));
                Ok(Val { slot, reg: NONE, level: CONST })
            }
            ExprKind::Param(i) => Ok(Val { slot: self.slot(Slot::Param(*i as u16)), reg: NONE, level: CONST }),
            ExprKind::Load { .. } => self.load(x, into),
            ExprKind::Index(i) => {
                let v = self.value(*i);
                if e.dtype == DType::I64 {
                    let val = self.vals[v as usize];
                    if val.reg != NONE {
                        self.refs[val.reg as usize] += 1;
                    }
                    self.release(v);
                    return Ok(val);
                }
                self.arith(TileOp::Cast { from: DType::I64, to: d }, d, &[v], [8; 3], None)
            }
            ExprKind::InBounds(mask) => match self.an.paths[x] {
                Path::Walk(w) => Ok(self.walk(WalkKind::InBounds, w, NONE, 1, self.an.level[x], "in bounds")),
                _ if mask.is_empty() => Ok(Val { slot: self.constant(0x0101_0101_0101_0101), reg: NONE, level: CONST }),
                _ => Ok(self.bounds_mask(mask)),
            },
            ExprKind::Unary(u, a) => self.arith(TileOp::Unary(*u, d), d, &[a.0], [size(self, *a); 3], into),
            ExprKind::Binary(b, a, c) => self.arith(TileOp::Binary(*b, d), d, &[a.0, c.0], [d.size(); 3], into),
            ExprKind::Compare(c, a, b) => {
                let t = compute(self.k.exprs[a.index()].dtype);
                self.arith(TileOp::Compare(*c, t), DType::Bool, &[a.0, b.0], [t.size(); 3], into)
            }
            ExprKind::Select(m, a, b) => self.arith(TileOp::Select(d), d, &[m.0, a.0, b.0], [1, d.size(), d.size()], into),
            ExprKind::Cast(a) => {
                let from = compute(self.k.exprs[a.index()].dtype);
                if e.dtype != d {
                    // Rounded to the half type and widened again.
                    let v = self.arith(TileOp::Cast { from, to: e.dtype }, e.dtype, &[a.0], [from.size(); 3], None)?;
                    return self.widen(v, e.dtype).map(|w| Val { level: w.level.max(v.level), ..w });
                }
                if from.is_float() && matches!(d, DType::U32 | DType::U8) {
                    // Negative numbers wrap, as integers do.
                    let v = self.arith(TileOp::Cast { from, to: DType::I64 }, DType::I64, &[a.0], [from.size(); 3], None)?;
                    let x = self.temporary(v);
                    return self.arith(TileOp::Cast { from: DType::I64, to: d }, d, &[x], [8; 3], None);
                }
                if from == d {
                    let v = self.vals[a.index()];
                    if v.reg != NONE {
                        self.refs[v.reg as usize] += 1;
                    }
                    self.release(a.0);
                    return Ok(v);
                }
                self.arith(TileOp::Cast { from, to: d }, d, &[a.0], [from.size(); 3], into)
            }
            ExprKind::Random(key, offset, i) => {
                let level = self.an.level[x].max(UNIFORM);
                let uniform = self.vals[key.index()].level < VECTOR && self.vals[offset.index()].level < VECTOR;
                let line = self.an.line_of[i.index()];
                let run = self.run_of(*i);
                let (k, o) = if level == VECTOR && !(run && uniform) {
                    (self.vector(key.0, 8), self.vector(offset.0, 8))
                } else {
                    (self.vals[key.index()].slot, self.vals[offset.index()].slot)
                };
                let number = if run && !uniform {
                    let w = self.an.iota_walk(i.index());
                    self.walk(WalkKind::Iota, w, NONE, 8, level, "iota")
                } else if run {
                    NO_VAL
                } else {
                    let v = self.value(*i);
                    if level == VECTOR {
                        let slot = self.vector(v, 8);
                        Val { slot, ..NO_VAL }
                    } else {
                        self.vals[v as usize]
                    }
                };
                let (dst, reg) = if level == VECTOR {
                    let r = self.register(4);
                    (r, r)
                } else {
                    (self.scalar(), NONE)
                };
                let instr = if run && uniform { Instr::RandomRun(dst, k, o, line) } else { Instr::Random(dst, k, o, number.slot) };
                self.push(level, instr, || "random".into());
                self.p.cost += 1500;
                self.release(key.0);
                self.release(offset.0);
                if run {
                    self.drop_reg(number.reg);
                } else {
                    let v = self.value(*i);
                    self.release(v);
                }
                Ok(Val { slot: dst, reg, level })
            }
            ExprKind::Reduced(p, r) => {
                let n: usize = self.k.passes[..*p as usize].iter().map(|q| q.reduces.len()).sum();
                let slot = self.slot(Slot::Reduced((n + *r as usize) as u16));
                let level = if self.an.nest.mode == Mode::Row { UNIFORM } else { VECTOR };
                Ok(Val { slot, reg: NONE, level })
            }
            ExprKind::Scratch(s) => Ok(Val { slot: self.slot(Slot::Scratch(s.0 as u16)), reg: NONE, level: VECTOR }),
        }
    }
}
