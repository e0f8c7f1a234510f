//! Lowering: a group becomes a kernel of Loop IR. Values are evaluated at points: views change the point, light ops become expressions,
//! stored values become loads. An explicit stack serves groups of thousands of ops.

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
    /// Values kept in row scratch by an earlier pass.
    kept: HashMap<ValueId, ScratchId>,
    elem: EnvId,
}

/// Expressions are hash-consed by kind (debug form of rare ones) and dtype.
#[derive(PartialEq, Eq, Hash)]
struct ExprKey(u8, u64, SmallVec<[u64; 6]>, DType);

impl<'a> Lowering<'a> {
    fn env(&mut self, e: Env) -> EnvId {
        if let Some(&id) = self.env_ids.get(&e) {
            return id;
        }
        let id = self.envs.len() as EnvId;
        self.envs.push(e.clone());
        self.env_ids.insert(e, id);
        id
    }

    /// The environment in which a value of `shape` is computed once per point (or per row) of the group's domain.
    fn env_at(&mut self, level: Level, shape: &Shape) -> EnvId {
        let (mut point, mut extents) = (Point::new(), SmallVec::<[usize; 6]>::new());
        for (k, &(d, row)) in self.group.axes.iter().enumerate() {
            if level == Level::Row && row {
                continue;
            }
            point.push(self.ix.atom(Atom::Axis(self.axis_of[k]), 0, d as i64 - 1));
            extents.push(d);
        }
        let point = self.ix.reshape(&point, &extents, shape);
        self.env(Env { point, bounds: SmallVec::new() })
    }

    fn expr(&mut self, kind: ExprKind, dtype: DType) -> ExprId {
        let key = expr_key(&kind, dtype);
        if let Some(&e) = self.expr_ids.get(&key) {
            return e;
        }
        self.kernel.exprs.push(Expr { kind, dtype });
        let e = ExprId(self.kernel.exprs.len() as u32 - 1);
        self.expr_ids.insert(key, e);
        e
    }

    fn index(&mut self, l: &Lin) -> IndexId {
        self.ix.emit(l, &mut self.kernel.indices, &mut self.index_ids)
    }

    fn bounds(&mut self, b: &[(Lin, i64, i64)]) -> SmallVec<[Bound; 2]> {
        b.iter().map(|(l, lo, hi)| Bound { index: self.index(l), lo: *lo, hi: *hi }).collect()
    }

    fn arg(&mut self, v: ValueId, access: Access) -> ArgId {
        if let Some(&a) = self.arg_ids.get(&v) {
            return a;
        }
        let a = ArgId(self.kernel.args.len() as u32);
        self.kernel.args.push(Arg { dtype: self.t.dtype(v), numel: self.t.shape(v).numel(), access });
        self.args.push(v);
        self.arg_ids.insert(v, a);
        a
    }

    /// How `v` is obtained in this kernel at `e` without evaluating operands, if it is.
    fn ready(&mut self, v: ValueId, e: EnvId) -> Option<ExprId> {
        let inst = &self.t[v];
        if let Some(&s) = self.kept.get(&v)
            && e == self.elem_env_of(v)
        {
            return Some(self.expr(ExprKind::Scratch(s), inst.dtype));
        }
        if let Some(&(p, k)) = self.reduced.get(&v) {
            return Some(self.expr(ExprKind::Reduced(p, k), inst.dtype));
        }
        match &inst.op {
            Op::Const(c) => return Some(self.expr(ExprKind::Const(*c), inst.dtype)),
            Op::Param(n) => {
                let next = self.params.len() as u32;
                let k = *self.param_ids.entry(*n).or_insert(next);
                if k == next {
                    self.params.push(*n);
                    self.kernel.params.push(inst.dtype);
                }
                return Some(self.expr(ExprKind::Param(k), inst.dtype));
            }
            _ => {}
        }
        let elsewhere = self.g.home[v.index()].is_some_and(|h| h != self.id) && self.g.stored[v.index()];
        let loads = matches!(inst.op, Op::Input(_)) || (elsewhere && !self.computed_here(v));
        if loads {
            let env = self.envs[e as usize].clone();
            let l = self.ix.linear(&env.point, &inst.shape);
            let index = self.index(&l);
            let mask = self.bounds(&env.bounds);
            let arg = self.arg(v, Access::Read);
            let fill = Scalar::Int(0).cast(inst.dtype);
            return Some(self.expr(ExprKind::Load { arg, index, mask, fill }, inst.dtype));
        }
        None
    }

    /// One number that costs nothing is computed again rather than loaded.
    fn computed_here(&self, v: ValueId) -> bool {
        self.g.recomputed[v.index()]
    }

    fn elem_env_of(&mut self, v: ValueId) -> EnvId {
        let shape = self.t.shape(v).clone();
        self.env_at(Level::Elem, &shape)
    }

    /// The operands `v` needs, with where, as far as they are known; `Err` means an index operand must come first.
    fn needs(&mut self, v: ValueId, e: EnvId) -> Result<SmallVec<[Place; 4]>, Place> {
        let inst = &self.t[v];
        let env = self.envs[e as usize].clone();
        let mut out = SmallVec::new();
        match &inst.op {
            op if op.is_elementwise() => out.extend(inst.args.iter().map(|&a| (a, e))),
            Op::Pad(s) => {
                let mut inner = Env { point: self.ix.through(self.t, v, &env.point), bounds: env.bounds };
                let from = self.t.shape(inst.args[0]).clone();
                for k in 0..from.rank() {
                    if s.lo[k] + s.hi[k] > 0 {
                        let b = (inner.point[k].clone(), 0, from[k] as i64);
                        if !inner.bounds.contains(&b) {
                            inner.bounds.push(b);
                        }
                    }
                }
                let id = self.env(inner);
                out.push((inst.args[0], id));
            }
            op if op.is_view() => {
                let point = self.ix.through(self.t, v, &env.point);
                let id = self.env(Env { point, bounds: env.bounds });
                out.push((inst.args[0], id));
            }
            Op::Gather(batch) => {
                let (x, i) = (inst.args[0], inst.args[1]);
                let k = self.t.shape(i).rank();
                let ie = self.env(Env { point: env.point[..k].iter().cloned().collect(), bounds: env.bounds.clone() });
                let Some(&at) = self.memo.get(&(i, ie)) else { return Err((i, ie)) };
                let b = *batch as usize;
                let n = self.t.shape(x)[b] as i64;
                // A position that stays inside is an index like any other.
                let known = self.positions.get(&at).filter(|l| matches!(self.ix.range(l), (lo, hi) if lo >= 0 && hi < n)).cloned();
                let row = known.unwrap_or_else(|| self.ix.atom(Atom::Value(at, n), 0, (n - 1).max(0)));
                let mut point: Point = env.point[..b].iter().cloned().collect();
                point.push(row);
                point.extend(env.point[k..].iter().cloned());
                let xe = self.env(Env { point, bounds: env.bounds });
                out.push((x, xe));
            }
            Op::Concat(axis) => {
                let a = *axis as usize;
                let mut start = 0i64;
                for &part in &inst.args {
                    let n = self.t.shape(part)[a] as i64;
                    if n == 0 {
                        continue;
                    }
                    let mut inner = env.clone();
                    inner.point[a] = self.ix.add(&env.point[a], &Lin::constant(-start));
                    inner.bounds.push((inner.point[a].clone(), 0, n));
                    start += n;
                    let id = self.env(inner);
                    out.push((part, id));
                }
            }
            Op::Random => {
                let id = self.env(Env { point: Point::new(), bounds: SmallVec::new() });
                out.extend(inst.args.iter().map(|&a| (a, id)));
            }
            _ => {}
        }
        Ok(out)
    }

    /// The expression for `v` once its operands are there.
    fn build(&mut self, v: ValueId, e: EnvId, ops: &[(ValueId, EnvId)]) -> Result<ExprId> {
        let inst = &self.t[v];
        let x: SmallVec<[ExprId; 4]> = ops.iter().map(|o| self.memo[o]).collect();
        let d = inst.dtype;
        Ok(match &inst.op {
            Op::Unary(u) => self.expr(ExprKind::Unary(*u, x[0]), d),
            Op::Binary(b) => {
                let sum = self.expr(ExprKind::Binary(*b, x[0], x[1]), d);
                let position = match b {
                    Binary::Add => self.combined(x[0], x[1], 1),
                    Binary::Sub => self.combined(x[0], x[1], -1),
                    Binary::Mul => self.multiple(x[0], x[1]).or_else(|| self.multiple(x[1], x[0])),
                    _ => None,
                };
                if let Some(l) = position {
                    self.positions.insert(sum, l);
                }
                sum
            }
            Op::Compare(c) => match self.positional(*c, x[0], x[1]) {
                Some(kind) => self.expr(kind, d),
                None => self.expr(ExprKind::Compare(*c, x[0], x[1]), d),
            },
            Op::Select => {
                // What is only read within bounds needs no choice.
                if let (ExprKind::InBounds(m), ExprKind::Load { arg, index, mask, .. }, ExprKind::Const(fill)) =
                    (&self.kernel.exprs[x[0].index()].kind, &self.kernel.exprs[x[1].index()].kind, &self.kernel.exprs[x[2].index()].kind)
                    && mask.is_empty()
                {
                    let kind = ExprKind::Load { arg: *arg, index: *index, mask: m.clone(), fill: *fill };
                    return Ok(self.expr(kind, d));
                }
                self.expr(ExprKind::Select(x[0], x[1], x[2]), d)
            }
            Op::Cast if self.t.dtype(inst.args[0]) == d => x[0],
            Op::Cast => self.expr(ExprKind::Cast(x[0]), d),
            Op::Pad(s) => {
                // A load takes the fill itself; anything else is chosen after the fact.
                let outer = self.envs[e as usize].bounds.len();
                let inner = self.envs[ops[0].1 as usize].bounds.clone();
                if inner.len() == outer {
                    return Ok(x[0]);
                }
                // (Not if a pad below already gave the load a fill of its own.)
                if let ExprKind::Load { arg, index, mask, .. } = self.kernel.exprs[x[0].index()].kind.clone()
                    && mask.len() == inner.len()
                {
                    return Ok(self.expr(ExprKind::Load { arg, index, mask, fill: s.value }, d));
                }
                let inside = self.bounds(&inner[outer..]);
                let m = self.expr(ExprKind::InBounds(inside), DType::Bool);
                let fill = self.expr(ExprKind::Const(s.value), d);
                self.expr(ExprKind::Select(m, x[0], fill), d)
            }
            op if op.is_view() => x[0],
            Op::Gather(_) => x[0],
            Op::Concat(_) => {
                let outer = self.envs[e as usize].bounds.len();
                let mut acc = match x.last() {
                    Some(&l) => l,
                    None => self.expr(ExprKind::Const(Scalar::Int(0).cast(d)), d),
                };
                for k in (0..x.len().saturating_sub(1)).rev() {
                    let inner = self.envs[ops[k].1 as usize].bounds.clone();
                    let inside = self.bounds(&inner[outer..]);
                    let m = self.expr(ExprKind::InBounds(inside), DType::Bool);
                    acc = self.expr(ExprKind::Select(m, x[k], acc), d);
                }
                acc
            }
            Op::Iota(a) => {
                let l = self.envs[e as usize].point[*a as usize].clone();
                let index = self.index(&l);
                let x = self.expr(ExprKind::Index(index), d);
                if d.is_int() {
                    self.positions.insert(x, l);
                }
                x
            }
            Op::Random => {
                let p = self.envs[e as usize].point.clone();
                let l = self.ix.linear(&p, &inst.shape);
                let index = self.index(&l);
                self.expr(ExprKind::Random(x[0], x[1], index), d)
            }
            other => bail!(Internal, "{} was to be computed inside another kernel", other.name()),
        })
    }

    /// `a + by * b`, where both are positions or numbers and nothing can wrap.
    fn combined(&self, a: ExprId, b: ExprId, by: i64) -> Option<Lin> {
        let lin = |x: ExprId| match self.kernel.exprs[x.index()].kind {
            ExprKind::Const(Scalar::Int(c)) if c.unsigned_abs() < 1 << 31 => Some(Lin::constant(c)),
            _ => self.positions.get(&x).cloned(),
        };
        let l = self.ix.add(&lin(a)?, &self.ix.mul(&lin(b)?, by));
        self.exact(a, l)
    }

    /// A position times a number.
    fn multiple(&self, a: ExprId, by: ExprId) -> Option<Lin> {
        let ExprKind::Const(Scalar::Int(c)) = self.kernel.exprs[by.index()].kind else { return None };
        let l = self.positions.get(&a)?;
        (c.unsigned_abs() < 1 << 20).then(|| self.ix.mul(l, c)).and_then(|l| self.exact(a, l))
    }

    /// `l`, if it cannot leave the dtype of `like`.
    fn exact(&self, like: ExprId, l: Lin) -> Option<Lin> {
        let (lo, hi) = self.ix.range(&l);
        let ends = match self.kernel.exprs[like.index()].dtype {
            DType::I64 => 1i64 << 40,
            DType::I32 => 1 << 31,
            _ => return None,
        };
        (lo > -ends && hi < ends).then_some(l)
    }

    /// A comparison of positions as a bound, which is known for whole runs of them.
    fn positional(&mut self, c: Compare, a: ExprId, b: ExprId) -> Option<ExprKind> {
        let l = self.combined(a, b, -1)?;
        let (lo, hi) = self.ix.range(&l);
        let (from, to) = match c {
            Compare::Eq => (0, 1),
            Compare::Lt => (lo, 0),
            Compare::Le => (lo, 1),
            Compare::Gt => (1, hi + 1),
            Compare::Ge => (0, hi + 1),
            Compare::Ne => return None,
        };
        if hi < from || lo >= to {
            return Some(ExprKind::Const(Scalar::Bool(false)));
        }
        if lo >= from && hi < to {
            return Some(ExprKind::Const(Scalar::Bool(true)));
        }
        Some(ExprKind::InBounds(SmallVec::from_elem(Bound { index: self.index(&l), lo: from, hi: to }, 1)))
    }

    /// The expression for `v` at `e`.
    fn eval(&mut self, v: ValueId, e: EnvId) -> Result<ExprId> {
        let mut stack: Vec<(ValueId, EnvId)> = vec![(v, e)];
        while let Some(&(v, e)) = stack.last() {
            if self.memo.contains_key(&(v, e)) {
                stack.pop();
                continue;
            }
            if let Some(x) = self.ready(v, e) {
                self.memo.insert((v, e), x);
                stack.pop();
                continue;
            }
            match self.needs(v, e) {
                Err(first) => stack.push(first),
                Ok(ops) => {
                    let before = stack.len();
                    stack.extend(ops.iter().filter(|o| !self.memo.contains_key(o)));
                    if stack.len() == before {
                        let x = self.build(v, e, &ops)?;
                        self.memo.insert((v, e), x);
                        stack.pop();
                    }
                }
            }
        }
        Ok(self.memo[&(v, e)])
    }

    fn store(&mut self, v: ValueId, e: EnvId, value: ExprId) -> Store {
        let p = self.envs[e as usize].point.clone();
        let l = self.ix.linear(&p, self.t.shape(v));
        let index = self.index(&l);
        Store { arg: self.arg(v, Access::Write), index, value, valid: None }
    }
}

fn expr_key(kind: &ExprKind, dtype: DType) -> ExprKey {
    let mut rest: SmallVec<[u64; 6]> = SmallVec::new();
    let bounds = |b: &[Bound], rest: &mut SmallVec<[u64; 6]>| {
        for x in b {
            rest.extend([x.index.0 as u64, x.lo as u64, x.hi as u64]);
        }
    };
    let (tag, word) = match kind {
        ExprKind::Const(c) => (0, c.bits()),
        ExprKind::Param(n) => (1, *n as u64),
        ExprKind::Load { arg, index, mask, fill } => {
            rest.extend([index.0 as u64, fill.bits()]);
            bounds(mask, &mut rest);
            (2, arg.0 as u64)
        }
        ExprKind::Index(i) => (3, i.0 as u64),
        ExprKind::InBounds(b) => {
            bounds(b, &mut rest);
            (4, 0)
        }
        ExprKind::Unary(u, a) => {
            rest.push(a.0 as u64);
            (5, *u as u64)
        }
        ExprKind::Binary(o, a, b) => {
            rest.extend([a.0 as u64, b.0 as u64]);
            (6, *o as u64)
        }
        ExprKind::Compare(o, a, b) => {
            rest.extend([a.0 as u64, b.0 as u64]);
            (7, *o as u64)
        }
        ExprKind::Select(a, b, c) => {
            rest.extend([b.0 as u64, c.0 as u64]);
            (8, a.0 as u64)
        }
        ExprKind::Cast(a) => (9, a.0 as u64),
        ExprKind::Random(a, b, i) => {
            rest.extend([b.0 as u64, i.0 as u64]);
            (10, a.0 as u64)
        }
        ExprKind::Reduced(p, k) => (11, (*p as u64) << 32 | *k as u64),
        ExprKind::Scratch(s) => (12, s.0 as u64),
    };
    ExprKey(tag, word, rest, dtype)
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
        kept: HashMap::new(),
        positions: HashMap::new(),
        elem: 0,
    };
    l.elem = l.env(Env { point: Point::new(), bounds: SmallVec::new() });
    match group.kind {
        Kind::Loop => l.loops()?,
        Kind::Contraction(v) => l.contraction(v)?,
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
