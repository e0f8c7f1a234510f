//! Loop IR to tile programs: one program per pass.
//!
//! Work is driven by what the pass writes: nodes (expressions, and the values of indices that are not affine) are emitted operands first, each
//! once. A value that is the same for all lanes is computed as one element, once per base point or once per task. Contiguous loads are
//! no instruction: the operand points into the buffer; a contiguous store is the destination of the instruction that computes its value.

use super::kernels::{MulAdd, Scalars, TileFn, TileOp, lookup, reduce::Reduction};
use super::nest::{Analysis, CONST, Mode, Path, UNIFORM, VECTOR, internal, post_order};
use super::program::{Access, Indexed, Instr, NONE, Program, Sink, Slot, WalkKind, WalkOp};
use super::tile;
use crate::base::{DType, Result, Scalar};
use crate::loops::{ExprId, ExprKind, Index, IndexId, Kernel, ReduceKind, Store};
use crate::trace::{Binary, Compare, Reduce, Unary};

/// How stores may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreStyle {
    /// An argument is read and written: nothing may be written before all is read.
    pub late: bool,
    /// Bit per argument: so large that it is written past the caches.
    pub stream: u64,
}

/// The dtype in which values of `d` are computed.
pub fn compute(d: DType) -> DType {
    d.accumulator()
}

/// The tile reduction of a fold; for arg kinds the extreme's.
pub fn reduction(r: Reduce) -> Reduction {
    match r {
        Reduce::Sum => Reduction::Sum,
        Reduce::Prod => Reduction::Prod,
        Reduce::Max | Reduce::ArgMax => Reduction::Max,
        Reduce::Min | Reduce::ArgMin => Reduction::Min,
    }
}

#[derive(Clone, Copy)]
struct Val {
    slot: u16,
    /// The register it holds a reference to.
    reg: u16,
    level: u8,
}

const NO_VAL: Val = Val { slot: NONE, reg: NONE, level: CONST };

/// What a pass writes, in emission order.
#[derive(Clone, Copy)]
enum Out {
    Reduce(usize),
    Scratch(usize),
    Store(usize),
}

/// How an expression is emitted where not as written.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Plain,
    /// Multiply-add of the factors of expression .1 and expression .2.
    Fused(MulAdd, u32, u32),
}

struct Emitter<'a, 'k> {
    an: &'a mut Analysis<'k>,
    k: &'k Kernel,
    ne: usize,
    ni: usize,
    p: Program,
    vals: Vec<Val>,
    splats: Vec<u16>,
    uses: Vec<u32>,
    shapes: Vec<Shape>,
    /// Sums whose product is accumulated by a multiply-add, per reduction.
    dots: Vec<Option<(u32, u32)>>,
    free: [Vec<u16>; 4],
    refs: Vec<u32>,
    style: StoreStyle,
    /// Per expression: the store it may write itself.
    direct: Vec<u16>,
    results: usize,
    names: bool,
}

fn class(size: usize) -> usize {
    size.trailing_zeros() as usize
}

fn mirrored(c: Compare) -> Compare {
    match c {
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
        c => c,
    }
}

fn price(op: TileOp) -> u32 {
    let base = match op {
        TileOp::Unary(u, _) => match u {
            Unary::Neg | Unary::Abs | Unary::Not | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc | Unary::Sign => 60,
            Unary::Recip | Unary::Sqrt | Unary::Rsqrt => 120,
            _ => 500,
        },
        TileOp::Binary(b, _) => match b {
            Binary::Pow | Binary::Atan2 | Binary::Rem => 1500,
            Binary::Div => 150,
            _ => 60,
        },
        _ => 60,
    };
    let wide = matches!(op, TileOp::Unary(_, DType::F64) | TileOp::Binary(_, DType::F64));
    if wide && base >= 500 { base * 10 } else { base }
}

/// Compiles pass `pass` of the analysed kernel.
///
/// # Errors
/// `Internal` if the kernel is malformed or has more than 65,000 values.
pub fn compile(an: &mut Analysis<'_>, pass: usize, style: StoreStyle, scatter: bool, names: bool) -> Result<Program> {
    let k = an.k;
    let (ne, ni) = (k.exprs.len(), k.indices.len());
    let total = ne + 3 * ni;
    let results = k.passes[..pass].iter().map(|p| p.reduces.len()).sum();
    let pa = &k.passes[pass];
    let mut e = Emitter {
        an,
        k,
        ne,
        ni,
        p: Program { row: pa.row, ..Program::default() },
        vals: vec![NO_VAL; total],
        splats: vec![NONE; total],
        uses: vec![0; total],
        shapes: vec![Shape::Plain; ne],
        dots: vec![None; pa.reduces.len()],
        free: Default::default(),
        refs: Vec::new(),
        style,
        direct: vec![NONE; ne],
        results,
        names,
    };
    e.pass(pass, scatter)?;
    Ok(e.p)
}

impl StoreStyle {
    fn streams(self, arg: usize) -> bool {
        arg < 64 && self.stream >> arg & 1 == 1
    }
}

impl Emitter<'_, '_> {
    fn atom(&self, i: usize) -> u32 {
        (self.ne + i) as u32
    }
    fn value(&self, i: IndexId) -> u32 {
        (self.ne + self.ni) as u32 + i.0
    }
    fn dynamic(&self, i: IndexId) -> u32 {
        (self.ne + 2 * self.ni) as u32 + i.0
    }

    /// The nodes whose values node `x` needs.
    fn children(&self, x: u32, out: &mut Vec<u32>) {
        let (ne, ni) = (self.ne, self.ni);
        let x = x as usize;
        if x >= ne {
            let i = (x - ne) % ni;
            if x < ne + ni {
                match self.k.indices[i] {
                    Index::Div(y, _) | Index::Mod(y, _) => out.push(self.value(y)),
                    Index::Value(e, _) => out.push(e.0),
                    _ => {}
                }
            } else {
                out.extend(self.an.forms[i].atoms.iter().map(|a| self.atom(a.0 as usize)));
            }
            return;
        }
        match &self.k.exprs[x].kind {
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Reduced(..) | ExprKind::Scratch(_) => {}
            ExprKind::Load { index, mask, .. } => match self.an.paths[x] {
                Path::Indexed => {
                    out.push(self.value(*index));
                    out.extend(mask.iter().map(|b| self.value(b.index)));
                }
                _ => out.extend(self.offset(*index)),
            },
            ExprKind::Index(i) => out.push(self.value(*i)),
            ExprKind::InBounds(mask) => {
                if self.an.paths[x] == Path::Indexed {
                    out.extend(mask.iter().map(|b| self.value(b.index)));
                }
            }
            ExprKind::Unary(_, a) | ExprKind::Cast(a) => out.push(a.0),
            ExprKind::Binary(_, a, b) => match self.shapes[x] {
                Shape::Plain => out.extend([a.0, b.0]),
                Shape::Fused(_, m, c) => {
                    if let ExprKind::Binary(_, a, b) = self.k.exprs[m as usize].kind {
                        out.extend([a.0, b.0, c]);
                    }
                }
            },
            ExprKind::Compare(_, a, b) => out.extend([a.0, b.0]),
            ExprKind::Select(a, b, c) => out.extend([a.0, b.0, c.0]),
            ExprKind::Random(a, b, i) => {
                out.extend([a.0, b.0]);
                if !self.run_of(*i) {
                    out.push(self.value(*i));
                }
            }
        }
    }

    /// The computed part of an index, if it has one.
    fn offset(&self, i: IndexId) -> Option<u32> {
        (!self.an.forms[i.index()].atoms.is_empty()).then(|| self.dynamic(i))
    }

    /// Element numbers that follow each other lane by lane.
    fn run_of(&self, i: IndexId) -> bool {
        self.an.is_run(i)
    }

    fn out_children(&self, pass: usize, o: Out, scatter: bool, out: &mut Vec<u32>) {
        let pa = &self.k.passes[pass];
        match o {
            Out::Reduce(r) => match (self.dots[r], pa.reduces[r].kind) {
                (Some((a, b)), _) => out.extend([a, b]),
                (None, ReduceKind::Fold(_, e)) => out.push(e.0),
                (None, ReduceKind::Dot(a, b)) => out.extend([a.0, b.0]),
            },
            Out::Scratch(s) => out.push(pa.scratch[s].1.0),
            Out::Store(s) => {
                let st = pa.stores[s];
                out.push(st.value.0);
                if scatter {
                    out.push(self.value(st.index));
                    out.extend(st.valid.map(|b| self.value(b.index)));
                } else if self.an.stores[pass][s] == Path::Indexed {
                    out.push(self.value(st.index));
                } else {
                    out.extend(self.offset(st.index));
                }
            }
        }
    }

    fn count(&mut self, order: &[u32], outs: &[Out], pass: usize, scatter: bool) {
        self.uses.fill(0);
        let mut kids = Vec::new();
        for &x in order {
            kids.clear();
            if x as usize >= self.vals.len() {
                self.out_children(pass, outs[x as usize - self.vals.len()], scatter, &mut kids);
            } else {
                self.children(x, &mut kids);
            }
            for &c in &kids {
                self.uses[c as usize] += 1;
            }
        }
    }

    fn pass(&mut self, pass: usize, scatter: bool) -> Result<()> {
        let pa = &self.k.passes[pass];
        let outs: Vec<Out> = (0..pa.scratch.len())
            .map(Out::Scratch)
            .chain((0..pa.reduces.len()).map(Out::Reduce))
            .chain((0..pa.stores.len()).map(Out::Store))
            .collect();
        let base = self.vals.len() as u32;
        let roots: Vec<u32> = (0..outs.len() as u32).map(|i| base + i).collect();
        let order_of = |this: &Self| {
            post_order(base as usize + outs.len(), &roots, |x, kids| {
                if x >= base { this.out_children(pass, outs[(x - base) as usize], scatter, kids) } else { this.children(x, kids) }
            })
        };
        let order = order_of(self);
        self.count(&order, &outs, pass, scatter);
        let fused = self.fuse(&order, pass);
        let order = if fused { order_of(self) } else { order };
        if fused {
            self.count(&order, &outs, pass, scatter);
        }
        for (s, st) in pa.stores.iter().enumerate() {
            let d = self.k.args[st.arg.index()].dtype;
            if !scatter
                && !self.style.late
                && !self.style.streams(st.arg.index())
                && d == compute(d)
                && self.an.stores[pass][s] == Path::Stream
            {
                self.direct[st.value.index()] = s as u16;
            }
        }
        for &x in &order {
            if x >= base {
                match outs[(x - base) as usize] {
                    Out::Reduce(r) => self.reduce(pass, r)?,
                    Out::Scratch(s) => self.scratch(pass, s)?,
                    Out::Store(s) if scatter => self.scatter(pa.stores[s])?,
                    Out::Store(s) => self.store(pass, s)?,
                }
            } else {
                self.node(x, pass)?;
            }
        }
        if self.p.slots.len() >= NONE as usize {
            return Err(internal("a kernel holds more than 65,000 values"));
        }
        Ok(())
    }

    /// Finds products that are used once, by a sum: one multiply-add does both.
    fn fuse(&mut self, order: &[u32], pass: usize) -> bool {
        let product = |this: &Self, e: ExprId| -> bool {
            let x = &this.k.exprs[e.index()];
            this.uses[e.index()] == 1
                && this.an.level[e.index()] == VECTOR
                && matches!(compute(x.dtype), DType::F32 | DType::F64)
                && matches!(x.kind, ExprKind::Binary(Binary::Mul, ..))
                && this.shapes[e.index()] == Shape::Plain
        };
        let mut any = false;
        for (r, s) in self.k.passes[pass].reduces.iter().enumerate() {
            let float = |e: ExprId| matches!(compute(self.k.exprs[e.index()].dtype), DType::F32 | DType::F64);
            match s.kind {
                ReduceKind::Fold(Reduce::Sum, e) if product(self, e) => {
                    if let ExprKind::Binary(_, a, b) = self.k.exprs[e.index()].kind {
                        self.dots[r] = Some((a.0, b.0));
                        any = true;
                    }
                }
                ReduceKind::Dot(a, b) if float(a) => self.dots[r] = Some((a.0, b.0)),
                _ => {}
            }
        }
        for &x in order {
            if x as usize >= self.ne {
                continue;
            }
            let x = x as usize;
            let ExprKind::Binary(op, a, b) = self.k.exprs[x].kind else { continue };
            let fused = match op {
                Binary::Add if product(self, a) => Some((MulAdd::Add, a.0, b.0)),
                Binary::Add if product(self, b) => Some((MulAdd::Add, b.0, a.0)),
                Binary::Sub if product(self, a) => Some((MulAdd::Sub, a.0, b.0)),
                Binary::Sub if product(self, b) => Some((MulAdd::NegAdd, b.0, a.0)),
                _ => None,
            };
            if let Some((m, product, rest)) = fused {
                self.shapes[x] = Shape::Fused(m, product, rest);
                any = true;
            }
        }
        any
    }

    // ---- slots ----

    fn slot(&mut self, s: Slot) -> u16 {
        self.p.slots.push(s);
        self.refs.push(0);
        // Numbers beyond the limit are reported when the pass is complete.
        (self.p.slots.len() - 1).min(NONE as usize - 1) as u16
    }

    fn constant(&mut self, bits: u64) -> u16 {
        self.p.consts.push(bits);
        let i = self.p.consts.len() - 1;
        self.slot(Slot::Const(i as u16))
    }

    fn scalar(&mut self) -> u16 {
        self.p.scalars += 1;
        let i = self.p.scalars - 1;
        self.slot(Slot::Scalar(i))
    }

    fn register(&mut self, size: usize) -> u16 {
        let c = class(size);
        let s = match self.free[c].pop() {
            Some(s) => s,
            None => {
                self.p.regs[c] += 1;
                let i = self.p.regs[c] - 1;
                self.slot(Slot::Reg(c as u8, i))
            }
        };
        self.refs[s as usize] = 1;
        s
    }

    fn drop_reg(&mut self, reg: u16) {
        if reg == NONE {
            return;
        }
        let r = &mut self.refs[reg as usize];
        *r -= 1;
        if *r == 0
            && let Slot::Reg(c, _) = self.p.slots[reg as usize]
        {
            self.free[c as usize].push(reg);
        }
    }

    fn release(&mut self, x: u32) {
        let u = &mut self.uses[x as usize];
        *u = u.saturating_sub(1);
        if *u == 0 {
            self.drop_reg(self.vals[x as usize].reg);
        }
    }

    fn push(&mut self, level: u8, i: Instr, name: impl FnOnce() -> String) {
        let at = level as usize;
        if self.names {
            self.p.names[at].push(name());
        }
        match level {
            CONST => self.p.once.push(i),
            UNIFORM => self.p.base.push(i),
            _ => self.p.body.push(i),
        }
    }

    /// The value as a tile.
    fn vector(&mut self, x: u32, size: usize) -> u16 {
        let v = self.vals[x as usize];
        if v.level == VECTOR {
            return v.slot;
        }
        if self.splats[x as usize] == NONE {
            // Never freed: it is filled outside the tile loop.
            self.p.regs[class(size)] += 1;
            let i = self.p.regs[class(size)] - 1;
            let r = self.slot(Slot::Reg(class(size) as u8, i));
            self.splats[x as usize] = r;
            self.push(v.level, Instr::Splat(tile::fill(size), r, v.slot), || "splat".into());
        }
        self.splats[x as usize]
    }

    /// Emits one arithmetic instruction and returns where its result is.
    fn arith(&mut self, mut op: TileOp, out: DType, ops: &[u32], sizes: [usize; 3], into: Option<u16>) -> Result<Val> {
        let mut x: [u32; 3] = [u32::MAX; 3];
        x[..ops.len()].copy_from_slice(ops);
        let lv = |this: &Self, i: usize| if x[i] == u32::MAX { CONST } else { this.vals[x[i] as usize].level };
        let level = lv(self, 0).max(lv(self, 1)).max(lv(self, 2));
        let none = || internal(&format!("there is no tile kernel for {op:?}"));
        let f: TileFn;
        let mut s = [NONE; 3];
        if level < VECTOR {
            f = lookup(op, Scalars::NONE).ok_or_else(none)?;
            for i in 0..ops.len() {
                s[i] = self.vals[x[i] as usize].slot;
            }
        } else {
            let n = ops.len();
            let scalar = |this: &Self, y: u32| this.vals[y as usize].level < VECTOR;
            // Kernels take the scalar as second operand where the order is free.
            if n >= 2 && scalar(self, x[0]) && !scalar(self, x[1]) {
                let swapped = match op {
                    TileOp::MulAdd(..) => Some(op),
                    TileOp::Binary(b, d) if matches!(b, Binary::Add | Binary::Mul | Binary::Max | Binary::Min) => {
                        Some(TileOp::Binary(b, d))
                    }
                    TileOp::Compare(c, d) => Some(TileOp::Compare(mirrored(c), d)),
                    _ => None,
                };
                if let Some(o) = swapped {
                    op = o;
                    x.swap(0, 1);
                }
            }
            let flag = |this: &Self, i: usize| i < n && scalar(this, x[i]);
            let flags = Scalars { a: flag(self, 0), b: flag(self, 1), c: flag(self, 2) };
            match lookup(op, flags) {
                Some(g) => {
                    f = g;
                    for i in 0..n {
                        s[i] = self.vals[x[i] as usize].slot;
                    }
                }
                None => {
                    f = lookup(op, Scalars::NONE).ok_or_else(|| internal(&format!("there is no tile kernel for {op:?}")))?;
                    for i in 0..n {
                        s[i] = self.vector(x[i], sizes[i]);
                    }
                }
            }
            self.p.cost += price(op) * out.size().max(4) as u32 / 4;
        }
        for &o in ops {
            self.release(o);
        }
        let (dst, reg) = match (level, into) {
            (VECTOR, Some(slot)) => (slot, NONE),
            (VECTOR, None) => {
                let r = self.register(out.size());
                (r, r)
            }
            _ => (self.scalar(), NONE),
        };
        self.push(level, Instr::Tile { f, dst, a: s[0], b: s[1], c: s[2] }, || format!("{op:?}"));
        Ok(Val { slot: dst, reg, level })
    }

    /// An instruction on values all of which are tiles (or all single elements), with a plain function.
    fn plain(&mut self, name: &'static str, f: TileFn, size: usize, level: u8, a: u16, b: u16, c: u16) -> Val {
        let (dst, reg) = if level == VECTOR {
            let r = self.register(size);
            (r, r)
        } else {
            (self.scalar(), NONE)
        };
        if level == VECTOR {
            self.p.cost += 300;
        }
        self.push(level, Instr::Tile { f, dst, a, b, c }, || name.into());
        Val { slot: dst, reg, level }
    }

    // ---- nodes ----

    fn node(&mut self, x: u32, pass: usize) -> Result<()> {
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

    fn emit_atom(&mut self, i: usize) -> Result<Val> {
        match self.k.indices[i] {
            Index::Div(y, c) | Index::Mod(y, c) => {
                let f = if matches!(self.k.indices[i], Index::Div(..)) { tile::div } else { tile::rem };
                let y = self.value(y);
                let v = self.vals[y as usize];
                let c = self.constant(c as u64);
                self.release(y);
                Ok(self.plain("index divide", f, 8, v.level.max(UNIFORM), v.slot, c, NONE))
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
    fn emit_value(&mut self, i: usize) -> Result<Val> {
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

    fn sum_atoms(&mut self, i: usize, start: Option<Val>) -> Result<Val> {
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

    fn walk(&mut self, kind: WalkKind, walk: u16, dynamic: u16, size: usize, level: u8, name: &'static str) -> Val {
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

    fn access(&mut self, arg: usize, index: IndexId, stream: bool) -> (u16, u8) {
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
            self.push(UNIFORM, Instr::Point(i), || "point".into());
        }
        (slot, size as u8)
    }

    fn bounds_mask(&mut self, mask: &[crate::loops::Bound]) -> Val {
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
    fn widen(&mut self, v: Val, d: DType) -> Result<Val> {
        if d == compute(d) {
            return Ok(v);
        }
        let op = TileOp::Cast { from: d, to: compute(d) };
        let f = lookup(op, Scalars::NONE).ok_or_else(|| internal("no cast from a half type"))?;
        self.drop_reg(v.reg);
        let level = v.level.max(UNIFORM);
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

    fn load(&mut self, x: usize) -> Result<Val> {
        let ExprKind::Load { arg, index, mask, fill } = &self.k.exprs[x].kind else { return Err(internal("not a load")) };
        let (arg, index, d) = (arg.index(), *index, self.k.args[arg.index()].dtype);
        let mut bits = [0u8; 8];
        fill.write(d, &mut bits);
        let v = match self.an.paths[x] {
            Path::Uniform => {
                let (slot, _) = self.access(arg, index, false);
                Val { slot, reg: NONE, level: UNIFORM }
            }
            Path::Stream => {
                let (slot, _) = self.access(arg, index, true);
                self.p.cost += 40 * d.size() as u32 / 4 + 10;
                Val { slot, reg: NONE, level: VECTOR }
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
                self.walk(WalkKind::Load { arg: arg as u16, fill }, w, dynamic, d.size(), self.an.level[x], "load")
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
                let reg = if level == VECTOR { self.register(d.size()) } else { self.scalar() };
                self.p.indexed.push(Indexed { arg: arg as u16, size: d.size() as u8, index: iv.slot, mask: mv.slot, fill, reg });
                let g = self.p.indexed.len() - 1;
                self.push(level, Instr::Gather(g as u16), || "gather".into());
                self.release(i);
                self.drop_reg(mask.reg);
                if level == VECTOR {
                    self.p.cost += 800;
                }
                Val { slot: reg, reg: if level == VECTOR { reg } else { NONE }, level }
            }
        };
        self.widen(v, d)
    }

    fn expr(&mut self, x: usize, pass: usize) -> Result<Val> {
        let e = &self.k.exprs[x];
        let d = compute(e.dtype);
        let size = |this: &Self, y: ExprId| compute(this.k.exprs[y.index()].dtype).size();
        let mut kids = Vec::new();
        if self.direct[x] != NONE {
            self.children(x as u32, &mut kids);
        }
        let into = if kids.iter().any(|&c| self.vals[c as usize].level == VECTOR) {
            let elementwise = match e.kind {
                ExprKind::Unary(..) | ExprKind::Binary(..) | ExprKind::Compare(..) | ExprKind::Select(..) => true,
                ExprKind::Cast(a) => compute(self.k.exprs[a.index()].dtype) != d,
                _ => false,
            };
            elementwise.then(|| {
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
        match &e.kind {
            ExprKind::Const(c) => {
                let mut bits = [0u8; 8];
                c.write(d, &mut bits);
                let slot = self.constant(u64::from_ne_bytes(bits));
                Ok(Val { slot, reg: NONE, level: CONST })
            }
            ExprKind::Param(i) => Ok(Val { slot: self.slot(Slot::Param(*i as u16)), reg: NONE, level: CONST }),
            ExprKind::Load { .. } => self.load(x),
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
            ExprKind::Binary(b, a, c) => match self.shapes[x] {
                Shape::Fused(m, product, rest) => {
                    let ExprKind::Binary(_, f, g) = self.k.exprs[product as usize].kind else { return Err(internal("fused nothing")) };
                    self.arith(TileOp::MulAdd(m, d), d, &[f.0, g.0, rest], [d.size(); 3], into)
                }
                Shape::Plain => self.arith(TileOp::Binary(*b, d), d, &[a.0, c.0], [d.size(); 3], into),
            },
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

    // ---- outputs ----

    fn reduce(&mut self, pass: usize, r: usize) -> Result<()> {
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
            self.push(VECTOR, Instr::Arg(r as u16, v), || format!("{}", kind.name()));
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
        match (self.dots[r], s.kind) {
            (Some((a, b)), _) => {
                let (x, y) = (self.vector(a, d.size()), self.vector(b, d.size()));
                let (op, c) = if column { (TileOp::MulAdd(MulAdd::Add, d), acc) } else { (TileOp::AccumulateMulAdd(d), NONE) };
                let f = lookup(op, Scalars::NONE).ok_or_else(|| internal(&format!("there is no tile kernel for {op:?}")))?;
                self.push(VECTOR, Instr::Tile { f, dst: acc, a: x, b: y, c }, || format!("{op:?}"));
                self.release(a);
                self.release(b);
                Ok(())
            }
            (None, ReduceKind::Fold(..)) => fold(self, e.0),
            (None, ReduceKind::Dot(a, b)) => {
                let v = self.arith(TileOp::Binary(Binary::Mul, d), d, &[a.0, b.0], [d.size(); 3], None)?;
                // The product is a node of no expression: the unused tail of the table holds it.
                self.vals.push(v);
                self.splats.push(NONE);
                self.uses.push(1);
                fold(self, self.vals.len() as u32 - 1)
            }
        }
    }

    fn scratch(&mut self, pass: usize, s: usize) -> Result<()> {
        let (id, e) = self.k.passes[pass].scratch[s];
        let d = compute(self.k.scratch[id.index()]);
        let v = self.vector(e.0, d.size());
        let slot = self.slot(Slot::Scratch(id.0 as u16));
        self.push(VECTOR, Instr::Tile { f: tile::copy(d.size()), dst: slot, a: v, b: NONE, c: NONE }, || "copy".into());
        self.release(e.0);
        self.p.cost += 60;
        Ok(())
    }

    fn store(&mut self, pass: usize, s: usize) -> Result<()> {
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
            Path::Stream => {
                let (slot, _) = self.access(arg, st.index, true);
                let a = if d != c || level == VECTOR { self.vector(x, c.size()) } else { self.vals[x as usize].slot };
                let stream = self.style.streams(arg);
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
                } else {
                    self.push(VECTOR, Instr::Tile { f: tile::fill(size), dst: slot, a, b: NONE, c: NONE }, || "fill".into());
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
    fn scatter(&mut self, st: Store) -> Result<()> {
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
        let index = self.value(st.index);
        self.p.scatter = Some([get(self, index), valid, get(self, st.value.0)]);
        self.p.cost += 1500;
        Ok(())
    }
}

/// A number as an element of the compute type of `d`.
pub fn element(s: Scalar, d: DType) -> u64 {
    let mut bits = [0u8; 8];
    s.cast(d).write(compute(d), &mut bits);
    u64::from_ne_bytes(bits)
}
