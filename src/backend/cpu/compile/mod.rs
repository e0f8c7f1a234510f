//! Loop IR to tile programs: one program per pass.
//!
//! Work is driven by what the pass writes: nodes (expressions, and the values of indices that are not affine) are emitted operands first, each
//! once. A value that is the same for all lanes is computed as one element, once per base point or once per task. Contiguous loads are
//! no instruction: the operand points into the buffer; a contiguous store is the destination of the instruction that computes its value.

mod combine;
mod nodes;
mod outputs;
mod slots;

use super::kernels::{MulAdd, Scalars, TileFn, TileOp, lookup, reduce::Reduction};
use super::nest::{Analysis, CONST, Mode, Path, UNIFORM, VECTOR, internal, post_order};
use super::program::{Access, Indexed, Instr, NONE, Program, Sink, Slot, WalkKind, WalkOp};
use super::tile;
use crate::base::{DType, Result, Scalar};
use crate::loops::{ExprId, ExprKind, Index, IndexId, Kernel, ReduceKind, Store};
use crate::trace::{Binary, Reduce};
use combine::{Combined, SumOf};
use smallvec::SmallVec;

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

struct Emitter<'a, 'k> {
    an: &'a mut Analysis<'k>,
    k: &'k Kernel,
    ne: usize,
    ni: usize,
    p: Program,
    vals: Vec<Val>,
    splats: Vec<u16>,
    uses: Vec<u32>,
    /// Per expression: the superinstruction that computes it.
    combined: Vec<Option<Combined>>,
    /// Sums of what the accumulating instruction computes itself of one or two values, per reduction.
    sums: Vec<Option<SumOf>>,
    free: [Vec<u16>; 4],
    refs: Vec<u32>,
    style: StoreStyle,
    /// Per expression: the store it may write itself.
    direct: Vec<u16>,
    /// Per expression: the row scratch it may write itself.
    kept: Vec<u16>,
    results: usize,
    names: bool,
}

fn class(size: usize) -> usize {
    size.trailing_zeros() as usize
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
        combined: vec![None; ne],
        sums: vec![None; pa.reduces.len()],
        free: Default::default(),
        refs: Vec::new(),
        style,
        direct: vec![NONE; ne],
        kept: vec![NONE; ne],
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
        if let Some(c) = &self.combined[x] {
            out.extend(&c.operands);
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
            ExprKind::Binary(_, a, b) => out.extend([a.0, b.0]),
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
            Out::Reduce(r) => match (self.sums[r], pa.reduces[r].kind) {
                (Some(SumOf::Product(a, b) | SumOf::Squares(a, b) | SumOf::Step(_, _, a, b)), _) => out.extend([a, b]),
                (Some(SumOf::Negated(a)), _) => out.push(a),
                (None, ReduceKind::Fold(_, e)) => out.push(e.0),
                (None, ReduceKind::Dot(a, b)) => out.extend([a.0, b.0]),
            },
            Out::Scratch(s) => out.push(pa.scratch[s].1.0),
            Out::Store(s) => {
                let st = pa.stores[s];
                out.push(st.value.0);
                if scatter && self.run_scatter(pass, s) {
                    out.extend(self.offset(st.index));
                    out.extend(st.valid.map(|b| self.value(b.index)));
                } else if scatter {
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

    /// Lanes of a base point update neighbouring elements, all of them or none.
    fn run_scatter(&self, pass: usize, s: usize) -> bool {
        let valid = self.k.passes[pass].stores[s].valid;
        self.an.stores[pass][s] == Path::Stream && valid.is_none_or(|b| self.an.index_level[b.index.index()] < VECTOR)
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
        let fused = self.combine(&order, pass);
        let order = if fused { order_of(self) } else { order };
        if fused {
            self.count(&order, &outs, pass, scatter);
        }
        // An argument may be written over another: all of a tile is read before anything of it is stored.
        let is_store = |x: &u32| *x >= base && matches!(outs[(x - base) as usize], Out::Store(_));
        let order: Vec<u32> = if self.style.late && !scatter {
            let (stores, rest): (Vec<u32>, Vec<u32>) = order.iter().partition(|x| is_store(x));
            rest.into_iter().chain(stores).collect()
        } else {
            order
        };
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
        for (i, (id, e)) in pa.scratch.iter().enumerate() {
            let d = self.k.scratch[id.index()];
            if d == compute(d) && self.k.exprs[e.index()].dtype == d && self.direct[e.index()] == NONE {
                self.kept[e.index()] = i as u16;
            }
        }
        for &x in &order {
            if x >= base {
                match outs[(x - base) as usize] {
                    Out::Reduce(r) => self.reduce(pass, r)?,
                    Out::Scratch(s) => self.scratch(pass, s)?,
                    Out::Store(s) if scatter => {
                        let run = self.run_scatter(pass, s);
                        self.scatter(pa.stores[s], run)?;
                    }
                    Out::Store(s) => self.store(pass, s)?,
                }
            } else {
                self.node(x, pass)?;
            }
        }
        if self.p.body.len() != 1 {
            self.p.copy = None;
        }
        let most = self.p.slots.len().max(self.p.walks.len()).max(self.p.indexed.len()).max(self.an.nest.walks.len());
        if most >= NONE as usize {
            return Err(internal("a kernel holds more than 65,000 values"));
        }
        Ok(())
    }
}

/// A number as an element of the compute type of `d`.
pub fn element(s: Scalar, d: DType) -> u64 {
    let mut bits = [0u8; 8];
    match (d, s) {
        // Nearly all there are.
        (DType::F32, Scalar::Float(x)) => bits[..4].copy_from_slice(&(x as f32).to_ne_bytes()),
        _ => s.cast(d).write(compute(d), &mut bits),
    }
    u64::from_ne_bytes(bits)
}
