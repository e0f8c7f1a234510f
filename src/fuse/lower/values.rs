//! The expression of each value at a point: views change the point, light ops become expressions, stored values become loads. Positions stay known
//! as such, so that comparing them gives bounds, and gathering at them is a view.

use super::*;

/// Expressions are hash-consed by kind (debug form of rare ones) and dtype.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct ExprKey(u8, u64, SmallVec<[u64; 6]>, DType);

impl<'a> Lowering<'a> {
    pub(super) fn env(&mut self, e: Env) -> EnvId {
        if let Some(&id) = self.env_ids.get(&e) {
            return id;
        }
        let id = self.envs.len() as EnvId;
        self.envs.push(e.clone());
        self.env_ids.insert(e, id);
        id
    }

    /// The environment in which a value of `shape` is computed once per point (or per row) of the group's domain.
    pub(super) fn env_at(&mut self, level: Level, shape: &Shape) -> EnvId {
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

    pub(super) fn expr(&mut self, kind: ExprKind, dtype: DType) -> ExprId {
        let key = expr_key(&kind, dtype);
        if let Some(&e) = self.expr_ids.get(&key) {
            return e;
        }
        self.kernel.exprs.push(Expr { kind, dtype });
        let e = ExprId(self.kernel.exprs.len() as u32 - 1);
        self.expr_ids.insert(key, e);
        e
    }

    pub(super) fn index(&mut self, l: &Lin) -> IndexId {
        self.ix.emit(l, &mut self.kernel.indices, &mut self.index_ids)
    }

    pub(super) fn bounds(&mut self, b: &[(Lin, i64, i64)]) -> SmallVec<[Bound; 2]> {
        b.iter().map(|(l, lo, hi)| Bound { index: self.index(l), lo: *lo, hi: *hi }).collect()
    }

    pub(super) fn arg(&mut self, v: ValueId, access: Access) -> ArgId {
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
    pub(super) fn ready(&mut self, v: ValueId, e: EnvId) -> Option<ExprId> {
        let inst = &self.t[v];
        if let Some(&s) = self.kept.get(&v)
            && e == self.elem_env_of(v)
        {
            return Some(self.expr(ExprKind::Scratch(s), inst.dtype));
        }
        if let Some(&x) = self.given.get(&v) {
            return Some(x);
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
    pub(super) fn computed_here(&self, v: ValueId) -> bool {
        self.g.recomputed[v.index()]
    }

    pub(super) fn elem_env_of(&mut self, v: ValueId) -> EnvId {
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
    pub(super) fn eval(&mut self, v: ValueId, e: EnvId) -> Result<ExprId> {
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

    pub(super) fn store(&mut self, v: ValueId, e: EnvId, value: ExprId) -> Store {
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
