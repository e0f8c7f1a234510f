//! How a kernel is traversed, and where its loads and stores lie in that traversal.
//!
//! Loop axes fall into three groups: *base* axes (one base point after the other, shared among threads), *mid* axes (row axes that
//! each lane walks on its own, innermost loop around the tile) and *vector* axes, whose flattened points are the lanes of the tiles.
//! Adjacent axes of a group merge where every index allows. Each used index is a *line*: an affine offset over these axes, plus
//! *atoms* (quotients, remainders, computed values) that are no affine function.

use crate::base::error::bail;
use crate::base::{Error, ErrorKind, Result};
use crate::loops::{Archetype, Bound, ExprId, ExprKind, Index, IndexId, Kernel, ReduceKind};
use smallvec::{SmallVec, smallvec};

/// Same value in the whole kernel.
pub const CONST: u8 = 0;
/// Same value for all lanes of a base (and mid) point.
pub const UNIFORM: u8 = 1;
/// Differs from lane to lane.
pub const VECTOR: u8 = 2;

/// No line.
pub const NO_LINE: u16 = u16::MAX;

/// How a kernel is traversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Lanes are points of the outer axes; row axes do not take part.
    Point,
    /// Lanes are points of the row.
    Row,
    /// Lanes are points of the outer axes; row axes are mid axes.
    Column,
}

/// `base + strides * axes + sum of coefficient * atom`.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// Constant part.
    pub base: i64,
    /// Per loop axis.
    pub strides: SmallVec<[i64; 6]>,
    /// Index nodes that are not affine, and their factors.
    pub atoms: SmallVec<[(u32, i64); 1]>,
}

/// The affine part of an index in the nest.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Value at the origin.
    pub base: i64,
    /// Per base axis.
    pub par: SmallVec<[i64; 4]>,
    /// Per mid axis.
    pub mid: SmallVec<[i64; 2]>,
    /// Per vector axis.
    pub vec: SmallVec<[i64; 4]>,
}

/// A piece of the vector domain as some lines see it.
#[derive(Clone, Debug)]
pub struct Dim {
    /// Points.
    pub extent: usize,
    /// One stride per line of the walk.
    pub strides: SmallVec<[i64; 2]>,
}

/// An access whose lanes are visited segment by segment.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The element's line first (if there is one), then those of the bounds.
    pub lines: SmallVec<[u16; 2]>,
    /// Whether the first line is an element offset (else all are bounds).
    pub element: bool,
    /// `lo..hi` of each bound.
    pub limits: SmallVec<[(i64, i64); 2]>,
    /// Outermost first; at least one.
    pub dims: SmallVec<[Dim; 2]>,
}

/// How an access reaches its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// One element for all lanes.
    Uniform,
    /// Lane i is the i-th element from a pointer.
    Stream,
    /// By `Nest::walks`.
    Walk(u16),
    /// As a stream, through a transposed block (`Nest::stages`).
    Staged(u16),
    /// By an index tile.
    Indexed,
}

/// An access that is contiguous along a base axis instead of the vector: blocks of it are transposed through memory that stays in cache.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Kernel argument.
    pub arg: u16,
    /// Its line.
    pub line: u16,
    /// Bytes per element.
    pub size: usize,
    /// Distance of lanes in elements.
    pub stride: isize,
    /// Successive points of the stage axis are one element apart, downwards.
    pub reversed: bool,
    /// Written, else read.
    pub store: bool,
}

/// The traversal of a kernel, with everything that depends on extents and strides.
#[derive(Clone, Debug)]
pub struct Nest {
    /// Its mode.
    pub mode: Mode,
    /// Extents of the base axes.
    pub par: SmallVec<[usize; 4]>,
    /// Extents of the mid axes.
    pub mid: SmallVec<[usize; 2]>,
    /// Extents of the vector axes.
    pub vec: SmallVec<[usize; 4]>,
    /// Affine parts of used indices.
    pub lines: Vec<Line>,
    /// Walks, in the order in which the analysis met them.
    pub walks: Vec<Walk>,
    /// Transposed accesses; all are contiguous along `stage_axis`.
    pub stages: Vec<Stage>,
    /// A base axis.
    pub stage_axis: Option<usize>,
}

/// What the compiler asks about a kernel.
pub struct Analysis<'k> {
    /// The kernel.
    pub k: &'k Kernel,
    /// Its traversal.
    pub nest: Nest,
    /// Per index: the affine part with its atoms.
    pub forms: Vec<Form>,
    /// Per index: its line or `NO_LINE`.
    pub line_of: Vec<u16>,
    /// Per expression.
    pub level: Vec<u8>,
    /// Per index, as a value.
    pub index_level: Vec<u8>,
    /// Per load expression; for `Index` and `InBounds` expressions their walk.
    pub paths: Vec<Path>,
    /// Per index used as a value: the walk that produces its affine part.
    pub iota: Vec<u16>,
    /// Per pass, per store.
    pub stores: Vec<SmallVec<[Path; 2]>>,
    /// Everything reachable, operands first; expressions as they are numbered, then indices.
    pub order: Vec<u32>,
}

/// Points of a list of extents.
pub fn product(x: &[usize]) -> usize {
    x.iter().product()
}

fn expr_children(k: &Kernel, e: usize, out: &mut Vec<u32>) {
    let n = k.exprs.len() as u32;
    match &k.exprs[e].kind {
        ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Reduced(..) | ExprKind::Scratch(_) => {}
        ExprKind::Load { index, mask, .. } => {
            out.push(n + index.0);
            out.extend(mask.iter().map(|b| n + b.index.0));
        }
        ExprKind::Index(i) => out.push(n + i.0),
        ExprKind::InBounds(mask) => out.extend(mask.iter().map(|b| n + b.index.0)),
        ExprKind::Unary(_, a) | ExprKind::Cast(a) => out.push(a.0),
        ExprKind::Binary(_, a, b) | ExprKind::Compare(_, a, b) => out.extend([a.0, b.0]),
        ExprKind::Select(a, b, c) => out.extend([a.0, b.0, c.0]),
        ExprKind::Random(a, b, i) => out.extend([a.0, b.0, n + i.0]),
    }
}

/// What a node (an expression, or an index from `exprs.len()` on) depends on. Indices are reached through their atoms only: their
/// affine parts are known.
pub fn children(k: &Kernel, forms: &[Form], x: usize, out: &mut Vec<u32>) {
    let ne = k.exprs.len();
    if x < ne {
        expr_children(k, x, out);
        return;
    }
    let i = x - ne;
    for &(a, _) in &forms[i].atoms {
        if a as usize != i {
            out.push(ne as u32 + a);
        } else {
            match k.indices[i] {
                Index::Div(y, _) | Index::Mod(y, _) => out.push(ne as u32 + y.0),
                Index::Value(e, _) => out.push(e.0),
                _ => {}
            }
        }
    }
}

/// Depth-first post-order over nodes numbered densely.
pub fn post_order(total: usize, roots: &[u32], mut children: impl FnMut(u32, &mut Vec<u32>)) -> Vec<u32> {
    const NEW: u8 = 0;
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![NEW; total];
    let mut out = Vec::new();
    let mut stack: Vec<u32> = Vec::new();
    let mut kids = Vec::new();
    for &r in roots {
        stack.push(r);
        while let Some(&x) = stack.last() {
            match state[x as usize] {
                NEW => {
                    state[x as usize] = OPEN;
                    kids.clear();
                    children(x, &mut kids);
                    // Reversed, so that the first operand is evaluated first.
                    stack.extend(kids.iter().rev().filter(|&&c| state[c as usize] == NEW));
                }
                OPEN => {
                    state[x as usize] = DONE;
                    out.push(x);
                    stack.pop();
                }
                _ => {
                    stack.pop();
                }
            }
        }
    }
    out
}

/// Every index as affine part and atoms. Quotients and remainders that are affine over the whole domain become so.
pub fn forms(k: &Kernel) -> Vec<Form> {
    let n = k.axes.len();
    let zero = || Form { base: 0, strides: smallvec![0; n], atoms: SmallVec::new() };
    let mut out: Vec<Form> = Vec::with_capacity(k.indices.len());
    // A remainder term stays within 0..c over the domain.
    let within = |rest: &Form, c: i64| {
        let (mut lo, mut hi) = (rest.base, rest.base);
        for (s, a) in rest.strides.iter().zip(&k.axes) {
            let reach = s.saturating_mul(a.extent.saturating_sub(1) as i64);
            if reach < 0 { lo = lo.saturating_add(reach) } else { hi = hi.saturating_add(reach) }
        }
        lo >= 0 && hi < c
    };
    for (i, ix) in k.indices.iter().enumerate() {
        let atom = || Form { atoms: smallvec![(i as u32, 1)], ..zero() };
        let f = match *ix {
            Index::Axis(a) => {
                let mut f = zero();
                f.strides[a as usize] = 1;
                f
            }
            Index::Const(c) => Form { base: c, ..zero() },
            Index::Add(a, b) => {
                let mut f = out[a.index()].clone();
                let g = &out[b.index()];
                f.base += g.base;
                f.strides.iter_mut().zip(&g.strides).for_each(|(s, t)| *s += t);
                for &(x, c) in &g.atoms {
                    match f.atoms.iter_mut().find(|y| y.0 == x) {
                        Some(y) => y.1 += c,
                        None => f.atoms.push((x, c)),
                    }
                }
                f
            }
            Index::Mul(a, c) => {
                let mut f = out[a.index()].clone();
                f.base *= c;
                f.strides.iter_mut().for_each(|s| *s *= c);
                f.atoms.iter_mut().for_each(|x| x.1 *= c);
                f
            }
            Index::Div(a, c) | Index::Mod(a, c) => {
                let f = &out[a.index()];
                let (mut whole, mut rest) = (zero(), zero());
                whole.base = f.base.div_euclid(c);
                rest.base = f.base.rem_euclid(c);
                for (d, &s) in f.strides.iter().enumerate() {
                    if s % c == 0 { whole.strides[d] = s / c } else { rest.strides[d] = s }
                }
                if f.atoms.is_empty() && within(&rest, c) { if matches!(ix, Index::Div(..)) { whole } else { rest } } else { atom() }
            }
            Index::Value(..) => atom(),
        };
        out.push(f);
    }
    out
}

type Merged = SmallVec<[(usize, usize); 4]>;

impl<'k> Analysis<'k> {
    /// Analyses passes `first..` of the kernel in the given mode. `split` names the first vector axis among the outer axes (Point and Column
    /// modes); without it, enough inner axes are taken to fill tiles.
    ///
    /// # Errors
    /// `Internal` if the kernel is malformed.
    pub fn new(k: &'k Kernel, forms: Vec<Form>, mode: Mode, split: Option<usize>, first: usize) -> Result<Analysis<'k>> {
        let (ne, ni) = (k.exprs.len(), k.indices.len());
        let mut roots: Vec<u32> = Vec::new();
        for p in &k.passes[first.min(k.passes.len())..] {
            for r in &p.reduces {
                match r.kind {
                    ReduceKind::Fold(_, e) => roots.push(e.0),
                    ReduceKind::Dot(a, b) => roots.extend([a.0, b.0]),
                }
            }
            roots.extend(p.scratch.iter().map(|s| s.1.0));
            for s in &p.stores {
                roots.extend([s.value.0, ne as u32 + s.index.0]);
                roots.extend(s.valid.map(|b| ne as u32 + b.index.0));
            }
        }
        let order = post_order(ne + ni, &roots, |x, out| children(k, &forms, x as usize, out));
        let mut line_of = vec![NO_LINE; ni];
        let mut used: Vec<usize> = Vec::new();
        for &x in &order {
            if x as usize >= ne {
                let i = x as usize - ne;
                if used.len() >= NO_LINE as usize {
                    bail!(Internal, "cpu: a kernel uses more than 65,000 indices");
                }
                line_of[i] = used.len() as u16;
                used.push(i);
            }
        }
        let merge = |axes: &[usize]| -> Merged {
            let mut out = Merged::new();
            for &a in axes.iter().rev() {
                let e = k.axes[a].extent;
                if e == 1 {
                    continue;
                }
                match out.last_mut() {
                    Some((n, inner)) if used.iter().all(|&i| forms[i].strides[a] == forms[i].strides[*inner] * *n as i64) => *n *= e,
                    _ => out.push((e, a)),
                }
            }
            out.reverse();
            out
        };
        let pick = |row: bool| -> Vec<usize> { (0..k.axes.len()).filter(|&a| k.axes[a].row == row).collect() };
        let (outer, row) = (pick(false), pick(true));
        let (par, mid, vec) = match (mode, split) {
            (Mode::Row, _) => (merge(&outer), Merged::new(), merge(&row)),
            (_, Some(s)) => {
                let s = outer.iter().position(|&a| a >= s).unwrap_or(outer.len());
                let mid = if mode == Mode::Column { merge(&row) } else { Merged::new() };
                (merge(&outer[..s]), mid, merge(&outer[s..]))
            }
            _ => {
                let all = merge(&outer);
                // Computed positions (gathers, scatters) usually pick rows: then the row alone is the vector, and its start is computed once.
                let computed = used.iter().any(|&i| !forms[i].atoms.is_empty());
                let enough = match mode {
                    Mode::Column => 128,
                    _ if computed => 32,
                    _ => 512,
                };
                let (mut at, mut n) = (all.len(), 1);
                while at > 0 && (n < enough || at == all.len()) {
                    at -= 1;
                    n *= all[at].0;
                }
                let mid = if mode == Mode::Column { merge(&row) } else { Merged::new() };
                (all[..at].into(), mid, all[at..].into())
            }
        };
        let lines: Vec<Line> = used
            .iter()
            .map(|&i| {
                let f = &forms[i];
                Line {
                    base: f.base,
                    par: par.iter().map(|x| f.strides[x.1]).collect(),
                    mid: mid.iter().map(|x| f.strides[x.1]).collect(),
                    vec: vec.iter().map(|x| f.strides[x.1]).collect(),
                }
            })
            .collect();
        let ext = |m: &Merged| m.iter().map(|x| x.0).collect::<SmallVec<[usize; 4]>>();
        let nest = Nest {
            mode,
            par: ext(&par),
            mid: mid.iter().map(|x| x.0).collect(),
            vec: ext(&vec),
            lines,
            walks: Vec::new(),
            stages: Vec::new(),
            stage_axis: None,
        };
        let mut an = Analysis {
            k,
            nest,
            line_of,
            level: vec![CONST; ne],
            index_level: vec![CONST; ni],
            paths: vec![Path::Uniform; ne],
            iota: vec![NO_LINE; ni],
            stores: Vec::new(),
            order,
            forms,
        };
        if mode == Mode::Point && split.is_none() && !matches!(k.archetype, Archetype::Scatter(_)) {
            an.nest.stage_axis = an.choose_stage_axis();
        }
        an.classify()?;
        Ok(an)
    }

    /// A base axis along which index `i` is contiguous, the distance of its lanes, which is the same everywhere, and whether the axis runs
    /// downwards.
    fn transposed(&self, i: IndexId) -> Option<(usize, isize, bool)> {
        let line = &self.nest.lines[self.line_of[i.index()] as usize];
        let stride = *line.vec.last()?;
        let mut want = stride;
        for (&s, &e) in line.vec.iter().zip(&self.nest.vec).rev() {
            if s != want {
                return None;
            }
            want *= e as i64;
        }
        let axis = line.par.iter().zip(&self.nest.par).position(|(&s, &e)| s.abs() == 1 && e >= 16)?;
        (stride.abs() >= 16 && self.forms[i.index()].atoms.is_empty()).then_some((axis, stride as isize, line.par[axis] < 0))
    }

    fn choose_stage_axis(&self) -> Option<usize> {
        if product(&self.nest.vec) < 64 {
            return None;
        }
        let mut votes: SmallVec<[usize; 8]> = SmallVec::from_elem(0, self.nest.par.len());
        let mut vote = |i: IndexId| {
            if self.line_of[i.index()] != NO_LINE
                && let Some((axis, ..)) = self.transposed(i)
            {
                votes[axis] += 1;
            }
        };
        for &x in &self.order {
            if let Some(ExprKind::Load { index, mask, .. }) = self.k.exprs.get(x as usize).map(|e| &e.kind)
                && mask.is_empty()
            {
                vote(*index);
            }
        }
        self.k.passes.iter().flat_map(|p| &p.stores).for_each(|s| vote(s.index));
        (0..votes.len()).filter(|&a| votes[a] > 0).max_by_key(|&a| votes[a])
    }

    /// The transposed block of an access, if it is one.
    fn stage(&mut self, arg: usize, index: IndexId, store: bool) -> Option<Path> {
        let axis = self.nest.stage_axis?;
        let (a, stride, reversed) = self.transposed(index)?;
        if a != axis {
            return None;
        }
        let size = self.k.args[arg].dtype.size();
        self.nest.stages.push(Stage { arg: arg as u16, line: self.line_of[index.index()], size, stride, reversed, store });
        Some(Path::Staged((self.nest.stages.len() - 1) as u16))
    }

    /// Whether the affine part of index `i` differs between lanes.
    pub fn affine_varies(&self, i: usize) -> bool {
        self.line_of[i] != NO_LINE && self.nest.lines[self.line_of[i] as usize].vec.iter().any(|&s| s != 0)
    }

    fn classify(&mut self) -> Result<()> {
        let ne = self.k.exprs.len();
        for at in 0..self.order.len() {
            let x = self.order[at] as usize;
            if x >= ne {
                let i = x - ne;
                let mut level = if self.affine_varies(i) {
                    VECTOR
                } else if self.forms[i].strides.iter().any(|&s| s != 0) {
                    UNIFORM
                } else {
                    CONST
                };
                for &(a, _) in &self.forms[i].atoms {
                    let l = if a as usize != i {
                        self.index_level[a as usize]
                    } else {
                        match self.k.indices[i] {
                            Index::Div(y, _) | Index::Mod(y, _) => self.index_level[y.index()].max(UNIFORM),
                            Index::Value(e, _) => self.level[e.index()],
                            _ => UNIFORM,
                        }
                    };
                    level = level.max(l);
                }
                self.index_level[i] = level;
                continue;
            }
            let l = |e: ExprId| self.level[e.index()];
            let level = match &self.k.exprs[x].kind {
                ExprKind::Const(_) | ExprKind::Param(_) => CONST,
                ExprKind::Reduced(..) => {
                    if self.nest.mode == Mode::Row {
                        UNIFORM
                    } else {
                        VECTOR
                    }
                }
                ExprKind::Scratch(_) => VECTOR,
                ExprKind::Unary(_, a) | ExprKind::Cast(a) => l(*a),
                ExprKind::Binary(_, a, b) | ExprKind::Compare(_, a, b) => l(*a).max(l(*b)),
                ExprKind::Select(a, b, c) => l(*a).max(l(*b)).max(l(*c)),
                ExprKind::Random(a, b, i) => l(*a).max(l(*b)).max(self.index_level[i.index()]).max(UNIFORM),
                ExprKind::Index(i) => self.index_level[i.index()].max(UNIFORM),
                ExprKind::InBounds(mask) => {
                    let mask = mask.clone();
                    self.paths[x] = self.path(None, &mask);
                    self.bounds_level(&mask)
                }
                ExprKind::Load { arg, index, mask, .. } => {
                    let (arg, index, mask) = (arg.index(), *index, mask.clone());
                    let staged = if mask.is_empty() { self.stage(arg, index, false) } else { None };
                    self.paths[x] = staged.unwrap_or_else(|| self.path(Some(index), &mask));
                    let level = self.index_level[index.index()];
                    if mask.is_empty() { level } else { level.max(self.bounds_level(&mask)) }
                }
            };
            self.level[x] = level;
        }
        self.value_walks();
        for p in 0..self.k.passes.len() {
            let mut paths = SmallVec::new();
            for s in 0..self.k.passes[p].stores.len() {
                let st = self.k.passes[p].stores[s];
                let reached = self.line_of[st.index.index()] != NO_LINE;
                paths.push(if reached {
                    self.stage(st.arg.index(), st.index, true).unwrap_or_else(|| self.path(Some(st.index), &[]))
                } else {
                    Path::Uniform
                });
            }
            self.stores.push(paths);
        }
        Ok(())
    }

    /// Whether the affine part of index `i` is zero everywhere.
    pub fn affine_zero(&self, i: usize) -> bool {
        let f = &self.forms[i];
        f.base == 0 && f.strides.iter().all(|&s| s == 0)
    }

    /// Whether successive lanes have successive values of index `i`.
    pub fn is_run(&self, i: IndexId) -> bool {
        let line = &self.nest.lines[self.line_of[i.index()] as usize];
        let mut want = 1;
        self.forms[i.index()].atoms.is_empty()
            && !line.vec.is_empty()
            && line.vec.iter().zip(&self.nest.vec).rev().all(|(&s, &e)| {
                let ok = s == want;
                want *= e as i64;
                ok
            })
    }

    fn bounds_level(&self, mask: &[Bound]) -> u8 {
        mask.iter().map(|b| self.index_level[b.index.index()]).max().unwrap_or(UNIFORM).max(UNIFORM)
    }

    /// Whether the atoms of an index are the same for all lanes.
    fn atoms_uniform(&self, i: IndexId) -> bool {
        self.forms[i.index()].atoms.iter().all(|&(a, _)| self.index_level[a as usize] < VECTOR)
    }

    fn path(&mut self, index: Option<IndexId>, mask: &[Bound]) -> Path {
        if index.is_some_and(|i| !self.atoms_uniform(i)) || mask.iter().any(|b| !self.forms[b.index.index()].atoms.is_empty()) {
            return Path::Indexed;
        }
        if mask.is_empty()
            && let Some(i) = index
        {
            let line = &self.nest.lines[self.line_of[i.index()] as usize];
            if line.vec.iter().all(|&s| s == 0) {
                return Path::Uniform;
            }
            let mut want = 1;
            let contiguous = line.vec.iter().zip(&self.nest.vec).rev().all(|(&s, &e)| {
                let ok = s == want;
                want *= e as i64;
                ok
            });
            if contiguous {
                return Path::Stream;
            }
        }
        let lines: SmallVec<[u16; 2]> = index.into_iter().chain(mask.iter().map(|b| b.index)).map(|i| self.line_of[i.index()]).collect();
        let limits = mask.iter().map(|b| (b.lo, b.hi)).collect();
        Path::Walk(self.add_walk(lines, index.is_some(), limits))
    }

    fn add_walk(&mut self, lines: SmallVec<[u16; 2]>, element: bool, limits: SmallVec<[(i64, i64); 2]>) -> u16 {
        let mut dims: SmallVec<[Dim; 2]> = SmallVec::new();
        for (d, &e) in self.nest.vec.iter().enumerate().rev() {
            let strides: SmallVec<[i64; 2]> = lines.iter().map(|&l| self.nest.lines[l as usize].vec[d]).collect();
            match dims.last_mut() {
                Some(inner) if strides.iter().zip(&inner.strides).all(|(&s, &t)| s == t * inner.extent as i64) => inner.extent *= e,
                _ => dims.push(Dim { extent: e, strides }),
            }
        }
        if dims.is_empty() {
            dims.push(Dim { extent: 1, strides: smallvec![0; lines.len()] });
        }
        dims.reverse();
        self.nest.walks.push(Walk { lines, element, limits, dims });
        (self.nest.walks.len() - 1) as u16
    }

    /// Adds the walks of all indices that may be wanted as numbers: here, and not in the compiler, so that a cached program finds them.
    fn value_walks(&mut self) {
        let ne = self.k.exprs.len();
        let mut wanted: Vec<IndexId> = Vec::new();
        for at in 0..self.order.len() {
            let x = self.order[at] as usize;
            if x >= ne {
                if let Index::Div(y, _) | Index::Mod(y, _) = self.k.indices[x - ne] {
                    wanted.push(y);
                }
                continue;
            }
            match &self.k.exprs[x].kind {
                ExprKind::Index(i) | ExprKind::Random(_, _, i) => wanted.push(*i),
                ExprKind::Load { index, mask, .. } if self.paths[x] == Path::Indexed => {
                    wanted.push(*index);
                    wanted.extend(mask.iter().map(|b| b.index));
                }
                ExprKind::InBounds(mask) if self.paths[x] == Path::Indexed => wanted.extend(mask.iter().map(|b| b.index)),
                _ => {}
            }
        }
        for p in &self.k.passes {
            for s in &p.stores {
                wanted.push(s.index);
                wanted.extend(s.valid.map(|b| b.index));
            }
        }
        for i in wanted {
            let i = i.index();
            if self.line_of[i] != NO_LINE && self.iota[i] == NO_LINE {
                self.iota[i] = self.add_walk(smallvec![self.line_of[i]], true, SmallVec::new());
            }
        }
    }

    /// The walk that gives the affine part of index `i` as numbers.
    pub fn iota_walk(&self, i: usize) -> u16 {
        self.iota[i]
    }
}

/// An error that says the engine broke its own rules.
pub fn internal(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("cpu: {what}; please report this"))
}
