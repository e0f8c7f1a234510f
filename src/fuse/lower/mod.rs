//! Lowering: a group becomes a kernel of Loop IR: its axes, passes and stores. Values are evaluated at points ([`values`]); an explicit stack serves
//! groups of thousands of ops.

mod attention;
mod values;

use super::cost;
use super::group::{Group, Grouping, Kind, Level};
use super::index::{Atom, Indices, Lin, Point};
use crate::base::{DType, Result, Scalar, Shape, error::bail};
use crate::loops::{
    Access, Archetype, Arg, ArgId, Bound, Expr, ExprId, ExprKind, Index, IndexId, Kernel, LoopAxis, Pass, ReduceKind, ReduceSink,
    ScratchId, Store,
};
use crate::trace::{Binary, Compare, Op, ScatterMode, Trace, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;
use values::ExprKey;

/// Rows up to this long may keep a dear value for the next pass instead of computing it again.
const SCRATCH_ROW: usize = 16 * 1024;
/// From this cost on a value is kept.
const SCRATCH_COST: u32 = 8;

/// A kernel and the values its arguments and parameters stand for.
pub struct Lowered {
    /// The code.
    pub kernel: Kernel,
    /// The value each argument holds.
    pub args: Vec<ValueId>,
    /// The trace parameter behind each kernel parameter.
    pub params: Vec<u32>,
}

/// Where a value is evaluated: a point, and the bounds under which the result matters (from pads above).
#[derive(Clone, PartialEq, Eq, Hash)]
struct Env {
    point: Point,
    bounds: SmallVec<[(Lin, i64, i64); 2]>,
}

type EnvId = u32;
/// A value at a point.
type Place = (ValueId, EnvId);

struct Lowering<'a> {
    t: &'a Trace,
    g: &'a Grouping,
    group: &'a Group,
    /// The loop axis each domain axis became.
    axis_of: Vec<u8>,
    id: u32,
    ix: Indices,
    envs: Vec<Env>,
    env_ids: HashMap<Env, EnvId>,
    memo: HashMap<(ValueId, EnvId), ExprId>,
    expr_ids: HashMap<ExprKey, ExprId>,
    index_ids: HashMap<Index, IndexId>,
    kernel: Kernel,
    args: Vec<ValueId>,
    arg_ids: HashMap<ValueId, ArgId>,
    params: Vec<u32>,
    param_ids: HashMap<u32, u32>,
    /// Reductions already placed: pass and number.
    reduced: HashMap<ValueId, (u32, u32)>,
    /// Integer expressions that are positions, or differ from one by a number.
    positions: HashMap<ExprId, Lin>,
    /// Values that are an expression wherever they are read.
    given: HashMap<ValueId, ExprId>,
    /// Values kept in row scratch by an earlier pass.
    kept: HashMap<ValueId, ScratchId>,
    elem: EnvId,
}

/// Lowers group `id`.
///
/// # Errors
/// `Internal` if the grouping broke one of its rules.
pub fn lower(t: &Trace, g: &Grouping, id: u32) -> Result<Lowered> {
    let group = &g.groups[id as usize];
    // A sort or scan walks its row innermost, whichever axis of the domain that is.
    let mut order: Vec<usize> = (0..group.axes.len()).collect();
    if matches!(group.kind, Kind::Row(_)) {
        order.sort_by_key(|&k| group.axes[k].1);
    }
    let mut axis_of = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, &k)| axis_of[k] = at as u8);
    let axes: Vec<LoopAxis> = order.iter().map(|&k| LoopAxis { extent: group.axes[k].0, row: group.axes[k].1 }).collect();
    let kernel = Kernel {
        archetype: Archetype::Pointwise,
        axes,
        args: Vec::new(),
        params: Vec::new(),
        exprs: Vec::new(),
        indices: Vec::new(),
        passes: Vec::new(),
        scratch: Vec::new(),
    };
    let mut l = Lowering {
        t,
        g,
        group,
        axis_of,
        id,
        ix: Indices::default(),
        envs: Vec::new(),
        env_ids: HashMap::new(),
        memo: HashMap::new(),
        expr_ids: HashMap::new(),
        index_ids: HashMap::new(),
        kernel,
        args: Vec::new(),
        arg_ids: HashMap::new(),
        params: Vec::new(),
        param_ids: HashMap::new(),
        reduced: HashMap::new(),
        given: HashMap::new(),
        kept: HashMap::new(),
        positions: HashMap::new(),
        elem: 0,
    };
    l.elem = l.env(Env { point: Point::new(), bounds: SmallVec::new() });
    match group.kind {
        Kind::Loop => l.loops()?,
        Kind::Contraction(v) => l.contraction(v)?,
        Kind::Attention(v) => l.attention(v)?,
        Kind::Scatter(v) => l.scatter(v)?,
        Kind::Init(v) => l.init(v)?,
        Kind::Row(v) => l.row_op(v)?,
        Kind::Control(_) => bail!(Internal, "a branch or loop is no kernel"),
    }
    if l.kernel.axes.is_empty() {
        l.kernel.axes.push(LoopAxis { extent: 1, row: false });
    }
    Ok(Lowered { kernel: l.kernel, args: l.args, params: l.params })
}

impl Lowering<'_> {
    /// Pass numbers: a reduction runs in the pass after all reductions it depends on.
    fn stages(&self) -> HashMap<ValueId, u32> {
        // Members were placed last to first; walk them first to last. Light values inside the group pass the stage on.
        let mut stage: HashMap<ValueId, u32> = HashMap::new();
        let mut cone: Vec<ValueId> = self.group.members.clone();
        let mut seen: std::collections::HashSet<ValueId> = cone.iter().copied().collect();
        let mut i = 0;
        while i < cone.len() {
            for &a in &self.t[cone[i]].args {
                let outside = matches!(self.t[a].op, Op::Input(_) | Op::Const(_) | Op::Param(_))
                    || (self.g.home[a.index()].is_some_and(|h| h != self.id) && !self.g.recomputed[a.index()]);
                if !outside && seen.insert(a) {
                    cone.push(a);
                }
            }
            i += 1;
        }
        cone.sort_unstable();
        for v in cone {
            let below = self.t[v].args.iter().filter_map(|a| stage.get(a)).max().copied().unwrap_or(0);
            let own = matches!(self.t[v].op, Op::Reduce(..)) && self.g.home[v.index()] == Some(self.id);
            stage.insert(v, below + own as u32);
        }
        stage
    }

    fn loops(&mut self) -> Result<()> {
        let stage = self.stages();
        let members = {
            let mut m = self.group.members.clone();
            m.sort_unstable();
            m
        };
        let has_row = self.group.axes.iter().any(|a| a.1);
        let is_reduce = |v: ValueId| matches!(self.t[v].op, Op::Reduce(..));
        let passes = members.iter().map(|&v| {
            if is_reduce(v) {
                stage[&v]
            } else if self.g.level[v.index()] == Level::Elem {
                stage[&v] + 1
            } else {
                0
            }
        });
        let last = if has_row { passes.max().unwrap_or(0) } else { 0 };
        let row = self.group.axes.iter().filter(|a| a.1).map(|a| a.0).product::<usize>();
        let row_last = self.group.axes.iter().rev().find(|a| a.0 > 1).is_some_and(|a| a.1);
        for p in 1..=last {
            let mut pass = Pass { row: true, ..Pass::default() };
            // What was evaluated for the pass before is not kept, except reductions and scratch.
            self.memo.clear();
            for &v in &members {
                if is_reduce(v) && stage[&v] == p {
                    let Op::Reduce(kind, _) = &self.t[v].op else { continue };
                    let x = self.t[v].args[0];
                    let e = self.elem_env_of(x);
                    let value = self.eval(x, e)?;
                    pass.reduces.push(ReduceSink { kind: ReduceKind::Fold(*kind, value), dtype: self.t.dtype(v) });
                    self.reduced.insert(v, (p - 1, pass.reduces.len() as u32 - 1));
                } else if !is_reduce(v) && self.g.level[v.index()] == Level::Elem && stage[&v] + 1 == p && self.g.stored[v.index()] {
                    let e = self.elem_env_of(v);
                    let value = self.eval(v, e)?;
                    let s = self.store(v, e, value);
                    pass.stores.push(s);
                }
            }
            // Dear values that a later pass reads again are kept.
            if p < last && row_last && row <= SCRATCH_ROW {
                for &v in &members {
                    let dear = cost::op_cost(&self.t[v].op) >= SCRATCH_COST && self.g.level[v.index()] == Level::Elem;
                    if !dear || self.kept.contains_key(&v) || is_reduce(v) {
                        continue;
                    }
                    let e = self.elem_env_of(v);
                    if let Some(&x) = self.memo.get(&(v, e))
                        && self.read_after(v, p, &stage)
                    {
                        let s = ScratchId(self.kernel.scratch.len() as u32);
                        self.kernel.scratch.push(self.t.dtype(v));
                        pass.scratch.push((s, x));
                        self.kept.insert(v, s);
                    }
                }
            }
            self.kernel.passes.push(pass);
        }
        let mut outer = Pass::default();
        self.memo.clear();
        for &v in &members {
            if !self.g.stored[v.index()] || (has_row && self.g.level[v.index()] == Level::Elem) {
                continue;
            }
            let level = if has_row { Level::Row } else { Level::Elem };
            let shape = self.t.shape(v).clone();
            let e = self.env_at(level, &shape);
            let value = self.eval(v, e)?;
            let s = self.store(v, e, value);
            outer.stores.push(s);
        }
        if !outer.stores.is_empty() || !has_row {
            self.kernel.passes.push(outer);
        }
        self.kernel.archetype = if !has_row {
            Archetype::Pointwise
        } else if self.along_row() {
            Archetype::RowReduction
        } else {
            Archetype::ColumnReduction
        };
        Ok(())
    }

    /// Whether a member's consumers in this group run in a pass after `p`.
    fn read_after(&self, v: ValueId, p: u32, stage: &HashMap<ValueId, u32>) -> bool {
        // Anything that depends on v and has a later stage evaluates it again.
        let mut depends: std::collections::HashSet<ValueId> = [v].into();
        let mut members: Vec<ValueId> = stage.keys().copied().filter(|&u| u > v).collect();
        members.sort_unstable();
        for u in members {
            if self.t[u].args.iter().any(|a| depends.contains(a)) {
                let reduce = matches!(self.t[u].op, Op::Reduce(..)) && self.g.home[u.index()] == Some(self.id);
                if reduce {
                    if stage[&u] > p {
                        return true;
                    }
                    continue;
                }
                if self.g.stored[u.index()] && self.g.home[u.index()] == Some(self.id) && stage[&u] + 1 > p {
                    return true;
                }
                depends.insert(u);
            }
        }
        false
    }

    /// Whether most of what the row passes touch lies along the row: innermost memory axis is a row axis.
    fn along_row(&self) -> bool {
        let k = &self.kernel;
        let last_row = k.axes.iter().rposition(|a| a.row && a.extent > 1);
        let last_outer = k.axes.iter().rposition(|a| !a.row && a.extent > 1);
        let (Some(r), Some(o)) = (last_row, last_outer) else { return last_row.is_some() || last_outer.is_none() };
        let mut votes = 0i64;
        let indices = k
            .exprs
            .iter()
            .filter_map(|e| if let ExprKind::Load { index, .. } = &e.kind { Some(*index) } else { None })
            .chain(k.passes.iter().filter(|p| p.row).flat_map(|p| p.stores.iter().map(|s| s.index)));
        for i in indices {
            if let Some(a) = k.affine(i) {
                votes += (a.strides[r].abs() == 1 && a.strides[o] != 0) as i64;
                votes -= (a.strides[o].abs() == 1 && a.strides[r] != 0) as i64;
            }
        }
        if votes == 0 { r > o } else { votes > 0 }
    }

    fn contraction(&mut self, v: ValueId) -> Result<()> {
        let (a, b) = (self.t[v].args[0], self.t[v].args[1]);
        let shape = self.t.shape(v).clone();
        let outer = self.group.axes.len();
        let axis = |s: &mut Self, k: usize, d: usize| s.ix.atom(Atom::Axis(k as u8), 0, d as i64 - 1);
        let sink = match &self.t[v].op {
            Op::Dot => {
                let r = shape.rank();
                let k = self.t.shape(a)[r - 1];
                self.kernel.axes.push(LoopAxis { extent: k, row: true });
                let mut p: Point = (0..r).map(|i| axis(self, i, shape[i])).collect();
                let kk = axis(self, outer, k);
                let (m, n) = (p[r - 2].clone(), p[r - 1].clone());
                p[r - 1] = kk.clone();
                let lhs = self.env(Env { point: p.clone(), bounds: SmallVec::new() });
                (p[r - 2], p[r - 1]) = (kk, n);
                let _ = m;
                let rhs = self.env(Env { point: p, bounds: SmallVec::new() });
                self.kernel.archetype = Archetype::Matmul;
                ReduceKind::Dot(self.eval(a, lhs)?, self.eval(b, rhs)?)
            }
            Op::Conv(spec) => {
                let (x, w) = (self.t.shape(a).clone(), self.t.shape(b).clone());
                let n = spec.stride.len();
                for &d in &w[1..] {
                    self.kernel.axes.push(LoopAxis { extent: d, row: true });
                }
                let point: Point = (0..shape.rank()).map(|i| axis(self, i, shape[i])).collect();
                let window: Point = (0..=n).map(|i| axis(self, outer + i, w[i + 1])).collect();
                // Input channel: group of the output channel, then the channel within it.
                let per = (shape[1] / spec.groups) as i64;
                let of_group = self.ix.div(&point[1], per);
                let channel = self.ix.add(&self.ix.mul(&of_group, w[1] as i64), &window[0]);
                let mut at: Point = SmallVec::from_vec(vec![point[0].clone(), channel]);
                let mut bounds: SmallVec<[(Lin, i64, i64); 2]> = SmallVec::new();
                for i in 0..n {
                    let mut pos = self.ix.mul(&point[i + 2], spec.stride[i] as i64);
                    pos = self.ix.add(&pos, &self.ix.mul(&window[i + 1], spec.rhs_dilation[i] as i64));
                    pos = self.ix.add(&pos, &Lin::constant(-(spec.lo[i] as i64)));
                    let d = spec.lhs_dilation[i] as i64;
                    if d > 1 {
                        let gap = self.ix.rem(&pos, d);
                        bounds.push((gap, 0, 1));
                        pos = self.ix.div(&pos, d);
                    }
                    let (lo, hi) = self.ix.range(&pos);
                    if lo < 0 || hi >= x[i + 2] as i64 {
                        bounds.push((pos.clone(), 0, x[i + 2] as i64));
                    }
                    at.push(pos);
                }
                let (va, _) = cost::base_of(self.t, a);
                let (vb, _) = cost::base_of(self.t, b);
                // Arguments 0 and 1 by contract of the archetype.
                self.arg(va, Access::Read);
                self.arg(vb, Access::Read);
                let xe = self.env(Env { point: at, bounds });
                let mut wp: Point = SmallVec::from_vec(vec![point[1].clone()]);
                wp.extend(window);
                let we = self.env(Env { point: wp, bounds: SmallVec::new() });
                self.kernel.archetype =
                    Archetype::Conv { spec: spec.clone(), input: SmallVec::from_slice(&x), window: SmallVec::from_slice(&w) };
                ReduceKind::Dot(self.eval(a, xe)?, self.eval(b, we)?)
            }
            other => bail!(Internal, "{} is no contraction", other.name()),
        };
        self.kernel.passes.push(Pass { row: true, reduces: vec![ReduceSink { kind: sink, dtype: self.t.dtype(v) }], ..Pass::default() });
        self.reduced.insert(v, (0, 0));
        self.memo.clear();
        self.epilogue()
    }

    /// An outer pass that stores the group's results.
    fn epilogue(&mut self) -> Result<()> {
        let mut epilogue = Pass::default();
        let mut members = self.group.members.clone();
        members.sort_unstable();
        for u in members {
            if self.g.stored[u.index()] {
                let shape = self.t.shape(u).clone();
                let e = self.env_at(Level::Elem, &shape);
                let value = self.eval(u, e)?;
                let s = self.store(u, e, value);
                epilogue.stores.push(s);
            }
        }
        self.kernel.passes.push(epilogue);
        Ok(())
    }

    /// Writes the scatter's starting values into the buffer of its result.
    fn init(&mut self, v: ValueId) -> Result<()> {
        let x = self.t[v].args[0];
        let shape = self.t.shape(v).clone();
        let e = self.env_at(Level::Elem, &shape);
        let value = self.eval(x, e)?;
        let s = self.store(v, e, value);
        let mut pass = Pass { stores: vec![s], ..Pass::default() };
        let mut members = self.group.members.clone();
        members.sort_unstable();
        for u in members {
            if self.g.stored[u.index()] {
                let shape = self.t.shape(u).clone();
                let e = self.env_at(Level::Elem, &shape);
                let value = self.eval(u, e)?;
                let s = self.store(u, e, value);
                pass.stores.push(s);
            }
        }
        self.kernel.passes.push(pass);
        Ok(())
    }

    fn scatter(&mut self, v: ValueId) -> Result<()> {
        let Op::Scatter(mode, batch) = &self.t[v].op else { bail!(Internal, "not a scatter") };
        let (mode, b): (ScatterMode, usize) = (*mode, *batch as usize);
        let (i, up) = (self.t[v].args[1], self.t[v].args[2]);
        let (x, k) = (self.t.shape(v).clone(), self.t.shape(i).rank());
        let updates = self.t.shape(up).clone();
        let e = self.env_at(Level::Elem, &updates);
        let point = self.envs[e as usize].point.clone();
        let ie = self.env(Env { point: point[..k].iter().cloned().collect(), bounds: SmallVec::new() });
        let at = self.eval(i, ie)?;
        let value = self.eval(up, e)?;
        let n = x[b] as i64;
        let row = self.ix.atom(Atom::Value(at, n), 0, (n - 1).max(0));
        let raw = self.ix.atom(Atom::Value(at, 0), i64::MIN / 4, i64::MAX / 4);
        let mut target: Point = point[..b].iter().cloned().collect();
        target.push(row);
        target.extend(point[k..].iter().cloned());
        let l = self.ix.linear(&target, &x);
        let index = self.index(&l);
        let raw = self.index(&raw);
        let arg = self.arg(v, Access::Update);
        self.kernel.archetype = Archetype::Scatter(mode);
        self.kernel
            .passes
            .push(Pass { stores: vec![Store { arg, index, value, valid: Some(Bound { index: raw, lo: 0, hi: n }) }], ..Pass::default() });
        Ok(())
    }

    fn row_op(&mut self, v: ValueId) -> Result<()> {
        let x = self.t[v].args[0];
        let e = self.elem_env_of(x);
        let value = self.eval(x, e)?;
        let (archetype, dtype) = match &self.t[v].op {
            Op::ArgSort(descending) => (Archetype::Sort(*descending), DType::I64),
            Op::Cumulative { kind, reverse, .. } => (Archetype::Cumulative { kind: *kind, reverse: *reverse }, self.t.dtype(v)),
            other => bail!(Internal, "{} is no row op", other.name()),
        };
        self.kernel.archetype = archetype;
        self.kernel.scratch = vec![self.t.dtype(x), dtype];
        self.kernel.passes.push(Pass { row: true, scratch: vec![(ScratchId(0), value)], ..Pass::default() });
        let out = self.expr(ExprKind::Scratch(ScratchId(1)), dtype);
        let ve = self.elem_env_of(v);
        let s = self.store(v, ve, out);
        self.kernel.passes.push(Pass { row: true, stores: vec![s], ..Pass::default() });
        Ok(())
    }
}
