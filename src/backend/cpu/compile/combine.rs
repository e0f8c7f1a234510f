//! Which expressions become one instruction: multiply-adds and the other superinstructions.
//!
//! An expression that is used once, by another, may be computed inside the instruction of that one. Multiply-adds are found first, because
//! they save an operation besides a tile; the rest changes no bit of any result.

use super::slots::mirrored;
use super::*;
use crate::backend::cpu::kernels::{First, Inner, Then, fused_functions};
use crate::trace::{Compare, Unary};

/// A superinstruction.
#[derive(Clone, Debug)]
pub(super) struct Combined {
    pub op: TileOp,
    pub operands: SmallVec<[u32; 3]>,
}

/// What a sum adds up, computed on the way.
#[derive(Clone, Copy, Debug)]
pub(super) enum SumOf {
    /// The product, by a multiply-add.
    Product(u32, u32),
    /// The square of the difference.
    Squares(u32, u32),
    /// The step, or its negation.
    Step(First, bool, u32, u32),
    /// Minus the value.
    Negated(u32),
}

impl Emitter<'_, '_> {
    /// A tile of `d` that only one instruction reads.
    fn passing(&self, e: ExprId, d: impl Fn(DType) -> bool) -> bool {
        self.uses[e.index()] == 1 && self.an.level[e.index()] == VECTOR && d(compute(self.k.exprs[e.index()].dtype))
    }

    fn product(&self, e: ExprId) -> bool {
        self.combined[e.index()].is_none()
            && self.passing(e, |d| matches!(d, DType::F32 | DType::F64))
            && matches!(self.k.exprs[e.index()].kind, ExprKind::Binary(Binary::Mul, ..))
    }

    /// Chooses superinstructions. True if there are any: then the order of evaluation is another.
    pub(super) fn combine(&mut self, order: &[u32], pass: usize) -> bool {
        let mut any = self.reductions(pass);
        // Products that multiply-adds have taken in.
        let mut taken = vec![false; self.ne];
        let exprs = || order.iter().map(|&x| x as usize).filter(|&x| x < self.ne);
        let exprs: Vec<usize> = exprs().filter(|&x| self.an.level[x] == VECTOR).collect();
        for &x in &exprs {
            let ExprKind::Binary(op, a, b) = self.k.exprs[x].kind else { continue };
            let fused = match op {
                Binary::Add if self.product(a) => Some((MulAdd::Add, a, b)),
                Binary::Add if self.product(b) => Some((MulAdd::Add, b, a)),
                Binary::Sub if self.product(a) => Some((MulAdd::Sub, a, b)),
                Binary::Sub if self.product(b) => Some((MulAdd::NegAdd, b, a)),
                _ => None,
            };
            if let Some((m, product, rest)) = fused
                && let ExprKind::Binary(_, f, g) = self.k.exprs[product.index()].kind
            {
                let d = compute(self.k.exprs[x].dtype);
                self.combined[x] = Some(Combined { op: TileOp::MulAdd(m, d), operands: SmallVec::from_slice(&[f.0, g.0, rest.0]) });
                taken[product.index()] = true;
                any = true;
            }
        }
        for &x in &exprs {
            if let Some(c) = self.rounded_by_store(x, pass) {
                self.combined[x] = Some(c);
                any = true;
            }
            if self.combined[x].is_none()
                && !taken[x]
                && let Some((c, parts)) = self.chain(x, &taken)
            {
                self.combined[x] = Some(c);
                parts.iter().for_each(|p| taken[p.index()] = true);
                any = true;
            }
        }
        any
    }

    /// A conversion to a half type that is only stored as that: the store rounds, so the value need not be rounded and widened before.
    fn rounded_by_store(&self, x: usize, pass: usize) -> Option<Combined> {
        let e = &self.k.exprs[x];
        let ExprKind::Cast(a) = e.kind else { return None };
        let stored = || self.k.passes[pass].stores.iter().any(|s| s.value.index() == x && self.k.args[s.arg.index()].dtype == e.dtype);
        let as_is = e.dtype != DType::F32 && compute(e.dtype) == DType::F32 && compute(self.k.exprs[a.index()].dtype) == DType::F32;
        (as_is && self.uses[x] == 1 && stored())
            .then(|| Combined { op: TileOp::Cast { from: DType::F32, to: DType::F32 }, operands: SmallVec::from_slice(&[a.0]) })
    }

    /// Sums of products, and of squared differences.
    fn reductions(&mut self, pass: usize) -> bool {
        let mut any = false;
        for (r, s) in self.k.passes[pass].reduces.iter().enumerate() {
            let float = |e: ExprId| matches!(compute(self.k.exprs[e.index()].dtype), DType::F32 | DType::F64);
            match s.kind {
                ReduceKind::Fold(Reduce::Sum, e) if self.product(e) => {
                    let ExprKind::Binary(_, a, b) = self.k.exprs[e.index()].kind else { continue };
                    self.sums[r] = Some(SumOf::Product(a.0, b.0));
                    any = true;
                    if a == b
                        && self.uses[a.index()] == 2
                        && self.an.nest.mode == Mode::Row
                        && let ExprKind::Binary(Binary::Sub, c, d) = self.k.exprs[a.index()].kind
                        && compute(self.k.exprs[a.index()].dtype) == DType::F32
                        && self.an.level[c.index()] == VECTOR
                        && self.an.level[d.index()] < VECTOR
                    {
                        self.sums[r] = Some(SumOf::Squares(c.0, d.0));
                    }
                }
                ReduceKind::Fold(Reduce::Sum, e) if self.an.nest.mode == Mode::Row => {
                    self.sums[r] = self.sum_of_step(e);
                    any |= self.sums[r].is_some();
                }
                ReduceKind::Dot(a, b) if float(a) => self.sums[r] = Some(SumOf::Product(a.0, b.0)),
                _ => {}
            }
        }
        any
    }

    /// A sum or difference that is only summed up, or the negation of anything. Where a multiply-add can have a product, it does.
    fn sum_of_step(&self, e: ExprId) -> Option<SumOf> {
        let single = |e: ExprId| self.passing(e, |d| d == DType::F32) && self.k.exprs[e.index()].dtype == DType::F32;
        let (x, negated) = match self.k.exprs[e.index()].kind {
            ExprKind::Unary(Unary::Neg, a) if single(e) => (a, true),
            _ => (e, false),
        };
        match self.k.exprs[x.index()].kind {
            ExprKind::Binary(op @ (Binary::Add | Binary::Sub), f, g) if single(x) && !self.product(f) && !self.product(g) => {
                Some(SumOf::Step(if op == Binary::Add { First::Add } else { First::Sub }, negated, f.0, g.0))
            }
            _ => negated.then_some(SumOf::Negated(x.0)),
        }
    }

    /// The instruction that computes `x` together with operands that nobody else reads, and these.
    fn chain(&self, x: usize, taken: &[bool]) -> Option<(Combined, SmallVec<[ExprId; 2]>)> {
        let single = |d: DType| d == DType::F32;
        let e = &self.k.exprs[x];
        let inside = |a: ExprId| self.passing(a, single) && !taken[a.index()];
        let plain = |a: ExprId| inside(a) && self.combined[a.index()].is_none();
        let done = |op: TileOp, operands: &[ExprId], parts: &[ExprId]| {
            let operands = operands.iter().map(|o| o.0).collect();
            Some((Combined { op, operands }, SmallVec::from_slice(parts)))
        };
        // The first of two steps.
        let first = |a: ExprId, product: bool| match self.k.exprs[a.index()].kind {
            _ if !plain(a) => None,
            ExprKind::Binary(Binary::Add, f, g) => Some((First::Add, f, g)),
            ExprKind::Binary(Binary::Sub, f, g) => Some((First::Sub, f, g)),
            ExprKind::Binary(Binary::Mul, f, g) if product => Some((First::Mul, f, g)),
            _ => None,
        };
        // Minus a value.
        let negated = |a: ExprId| match self.k.exprs[a.index()].kind {
            ExprKind::Unary(Unary::Neg, f) if plain(a) => Some(f),
            _ => None,
        };
        match e.kind {
            ExprKind::Compare(c, a, b) => {
                if let Some((f, p, q)) = first(a, true) {
                    return done(TileOp::CompareOf(c, f), &[p, q, b], &[a]);
                }
                let (f, p, q) = first(b, true)?;
                done(TileOp::CompareOf(mirrored(c), f), &[p, q, a], &[b])
            }
            ExprKind::Select(m, yes, no) if matches!(e.dtype, DType::I64 | DType::I32) => {
                // An index that counts from the end.
                let (ExprKind::Compare(Compare::Lt, p, q), ExprKind::Binary(Binary::Add, f, g)) =
                    (&self.k.exprs[m.index()].kind, &self.k.exprs[yes.index()].kind)
                else {
                    return None;
                };
                let alone = |x: ExprId| self.passing(x, |_| true) && !taken[x.index()] && self.combined[x.index()].is_none();
                let by = if *f == no { *g } else { *f };
                let zero = matches!(self.k.exprs[q.index()].kind, ExprKind::Const(Scalar::Int(0)));
                let fits = *p == no && (*f == no || *g == no) && zero && alone(m) && alone(yes);
                if !fits || self.an.level[no.index()] != VECTOR { None } else { done(TileOp::Wrap(e.dtype), &[no, by], &[m, yes]) }
            }
            _ if compute(e.dtype) != DType::F32 || e.dtype != DType::F32 => None,
            ExprKind::Select(m, yes, no) => {
                // The first of the largest, NaN being larger than numbers.
                if let ExprKind::Binary(Binary::Or, f, g) = self.k.exprs[m.index()].kind
                    && let (ExprKind::Compare(Compare::Gt, p, q), ExprKind::Compare(Compare::Ne, r, s)) =
                        (&self.k.exprs[f.index()].kind, &self.k.exprs[g.index()].kind)
                    && (*p, *q, *r, *s) == (yes, no, yes, yes)
                    && [m, f, g].iter().all(|&x| self.passing(x, |_| true) && !taken[x.index()] && self.combined[x.index()].is_none())
                    && self.an.level[yes.index()] == VECTOR
                {
                    return done(TileOp::Greater, &[yes, no], &[m, f, g]);
                }
                // A test of one of the two that are chosen from.
                let ExprKind::Compare(c, p, q) = self.k.exprs[m.index()].kind else { return None };
                let kind = |x: ExprId| &self.k.exprs[x.index()].kind;
                let vector = |x: ExprId| self.an.level[x.index()] == VECTOR;
                if !self.passing(m, |_| true)
                    || taken[m.index()]
                    || self.combined[m.index()].is_some()
                    || self.k.exprs[p.index()].dtype != DType::F32
                {
                    return None;
                }
                let exists = |op: TileOp| lookup(op, Scalars::NONE).is_some();
                let by = |c: Compare, x: ExprId, limit: ExprId| {
                    if !vector(x) {
                        return None;
                    }
                    if x == no {
                        // A number within limits, and what there is instead of none.
                        if c == Compare::Ne
                            && limit == x
                            && self.uses[x.index()] == 3
                            && let Some(Combined { op: TileOp::Limit(Compare::Lt, Compare::Gt), operands: o }) = &self.combined[x.index()]
                            && let (ExprKind::Const(Scalar::Float(low)), ExprKind::Const(Scalar::Float(high))) =
                                (kind(ExprId(o[1])), kind(ExprId(o[2])))
                            && *low == -high
                        {
                            return done(TileOp::Finite, &[ExprId(o[0]), ExprId(o[2]), yes], &[m, x]);
                        }
                        // A limit after a limit.
                        if yes == limit
                            && inside(x)
                            && let Some(Combined { op: TileOp::PickBy(before, false), operands: o }) = &self.combined[x.index()]
                            && o[1] == o[2]
                            && exists(TileOp::Limit(*before, c))
                        {
                            return done(TileOp::Limit(*before, c), &[ExprId(o[0]), ExprId(o[1]), limit], &[m, x]);
                        }
                        return done(TileOp::PickBy(c, false), &[x, limit, yes], &[m]);
                    }
                    if x == yes {
                        if let ExprKind::Binary(Binary::Mul, f, g) = *kind(no)
                            && (f == x || g == x)
                            && plain(no)
                            && exists(TileOp::PickOrScaled(c))
                        {
                            return done(TileOp::PickOrScaled(c), &[x, if f == x { g } else { f }, limit], &[m, no]);
                        }
                        return done(TileOp::PickBy(c, true), &[x, limit, no], &[m]);
                    }
                    if let ExprKind::Unary(Unary::Abs, y) = *kind(x)
                        && plain(x)
                        && (y == yes || y == no)
                        && exists(TileOp::PickByMagnitude(c, y == yes))
                    {
                        return done(TileOp::PickByMagnitude(c, y == yes), &[y, limit, if y == yes { no } else { yes }], &[m, x]);
                    }
                    if c == Compare::Lt
                        && let ExprKind::Unary(Unary::Neg, y) = *kind(yes)
                        && y == no
                        && plain(yes)
                    {
                        return done(TileOp::NegateBelow, &[no, x, limit], &[m, yes]);
                    }
                    None
                };
                by(c, p, q).or_else(|| by(mirrored(c), q, p))
            }
            ExprKind::Unary(Unary::Neg, a) => match self.k.exprs[a.index()].kind {
                ExprKind::Binary(Binary::Mul, f, g) if plain(a) => done(TileOp::NegMul, &[f, g], &[a]),
                _ => None,
            },
            ExprKind::Unary(Unary::Sign, a) => {
                // Of a number or, where it is none, 0.
                let Some(Combined { op: TileOp::PickBy(Compare::Ne, false), operands: o }) = &self.combined[a.index()] else { return None };
                let zero = matches!(self.k.exprs[o[2] as usize].kind, ExprKind::Const(Scalar::Float(z)) if z.to_bits() == 0);
                if o[0] == o[1] && zero && inside(a) { done(TileOp::SignOrZero, &[ExprId(o[0])], &[a]) } else { None }
            }
            ExprKind::Unary(u, a) if fused_functions().contains(&u) && inside(a) => match &self.combined[a.index()] {
                Some(Combined { op: TileOp::MulAdd(MulAdd::Add, _), operands }) => {
                    Some((Combined { op: TileOp::Of(u, Inner::MulAdd), operands: operands.clone() }, SmallVec::from_slice(&[a])))
                }
                Some(Combined { op: TileOp::NegMul, operands }) => {
                    Some((Combined { op: TileOp::Of(u, Inner::NegMul), operands: operands.clone() }, SmallVec::from_slice(&[a])))
                }
                Some(_) => None,
                None => match self.k.exprs[a.index()].kind {
                    ExprKind::Unary(Unary::Neg, f) => done(TileOp::Of(u, Inner::Neg), &[f], &[a]),
                    ExprKind::Binary(Binary::Add, f, g) => done(TileOp::Of(u, Inner::Add), &[f, g], &[a]),
                    ExprKind::Binary(Binary::Sub, f, g) => done(TileOp::Of(u, Inner::Sub), &[f, g], &[a]),
                    ExprKind::Binary(Binary::Mul, f, g) => done(TileOp::Of(u, Inner::Mul), &[f, g], &[a]),
                    _ => None,
                },
            },
            ExprKind::Binary(Binary::Div, a, b) => {
                let (f, p, q) = first(a, true)?;
                done(TileOp::Steps(f, Then::Div), &[p, q, b], &[a])
            }
            ExprKind::Binary(op @ (Binary::Add | Binary::Sub | Binary::Mul), a, b) => {
                let flag = |x: ExprId| match self.k.exprs[x.index()].kind {
                    ExprKind::Cast(m) if plain(x) && self.k.exprs[m.index()].dtype == DType::Bool => Some(m),
                    _ => None,
                };
                if op == Binary::Add {
                    if let Some(m) = flag(a) {
                        return done(TileOp::AddFlag, &[b, m], &[a]);
                    }
                    if let Some(m) = flag(b) {
                        return done(TileOp::AddFlag, &[a, m], &[b]);
                    }
                }
                if op == Binary::Mul {
                    if let Some(n) = negated(a) {
                        return done(TileOp::NegMul, &[n, b], &[a]);
                    }
                    if let Some(n) = negated(b) {
                        return done(TileOp::NegMul, &[n, a], &[b]);
                    }
                }
                let left = match op {
                    Binary::Add => Then::Add,
                    Binary::Sub => Then::Sub,
                    _ => Then::Mul,
                };
                if let Some((f, p, q)) = first(a, op == Binary::Mul) {
                    return done(TileOp::Steps(f, left), &[p, q, b], &[a]);
                }
                let right = if op == Binary::Sub { Then::From } else { left };
                let (f, p, q) = first(b, op == Binary::Mul)?;
                done(TileOp::Steps(f, right), &[p, q, a], &[b])
            }
            _ => None,
        }
    }
}
