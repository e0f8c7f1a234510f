//! Rewriting kernels before they are compiled: other axes, and expressions replaced by earlier ones.

use crate::loops::{Bound, Expr, ExprId, ExprKind, Index, IndexId, Kernel, LoopAxis, ReduceKind};

/// The indices of a kernel under construction.
pub struct Indices(Vec<Index>);

impl Indices {
    /// Adds an index.
    pub fn push(&mut self, i: Index) -> IndexId {
        self.0.push(i);
        IndexId(self.0.len() as u32 - 1)
    }

    /// A loop axis.
    pub fn axis(&mut self, a: u8) -> IndexId {
        self.push(Index::Axis(a))
    }

    /// An index plus a number.
    pub fn plus(&mut self, i: IndexId, by: i64) -> IndexId {
        if by == 0 {
            return i;
        }
        let by = self.push(Index::Const(by));
        self.push(Index::Add(i, by))
    }
}

/// Adds the position among `axes`, row-major.
pub fn row_major(q: &mut Kernel, axes: &[usize]) -> IndexId {
    let mut numel = 1;
    let mut at: Option<IndexId> = None;
    let push = |q: &mut Kernel, i: Index| {
        q.indices.push(i);
        IndexId(q.indices.len() as u32 - 1)
    };
    for &a in axes.iter().rev() {
        let x = push(q, Index::Axis(a as u8));
        let x = push(q, Index::Mul(x, numel));
        at = Some(match at {
            Some(y) => push(q, Index::Add(y, x)),
            None => x,
        });
        numel *= q.axes[a].extent as i64;
    }
    at.unwrap_or_else(|| push(q, Index::Const(0)))
}

/// The kernel over other loop axes; `of` says what each axis it had is in terms of these.
pub fn at_axes(k: &Kernel, axes: Vec<LoopAxis>, mut of: impl FnMut(&mut Indices, u8) -> IndexId) -> Kernel {
    let mut map: Vec<IndexId> = Vec::with_capacity(k.indices.len());
    let mut out = Indices(Vec::with_capacity(k.indices.len() + 8));
    for ix in &k.indices {
        let at = |i: IndexId| map[i.index()];
        let new = match *ix {
            Index::Axis(a) => of(&mut out, a),
            Index::Add(a, b) => out.push(Index::Add(at(a), at(b))),
            Index::Mul(a, c) => out.push(Index::Mul(at(a), c)),
            Index::Div(a, c) => out.push(Index::Div(at(a), c)),
            Index::Mod(a, c) => out.push(Index::Mod(at(a), c)),
            other => out.push(other),
        };
        map.push(new);
    }
    let mut q = k.clone();
    q.axes = axes;
    q.indices = out.0;
    let at = |i: &mut IndexId| *i = map[i.index()];
    let bounds = |m: &mut [Bound]| m.iter_mut().for_each(|b| b.index = map[b.index.index()]);
    for e in &mut q.exprs {
        match &mut e.kind {
            ExprKind::Load { index, mask, .. } => {
                at(index);
                bounds(mask);
            }
            ExprKind::Index(i) | ExprKind::Random(_, _, i) => at(i),
            ExprKind::InBounds(mask) => bounds(mask),
            _ => {}
        }
    }
    for s in q.passes.iter_mut().flat_map(|p| &mut p.stores) {
        at(&mut s.index);
        bounds(s.valid.as_mut_slice());
    }
    q
}

/// Asks `f` of every expression, operands first, what it is instead: an earlier expression (`Ok`), another kind of the same dtype (`Err`), or
/// itself. What becomes unused stays in the arena.
pub fn resolve(q: &mut Kernel, mut f: impl FnMut(&[Expr], usize) -> Option<Result<ExprId, ExprKind>>) {
    let mut map: Vec<ExprId> = (0..q.exprs.len() as u32).map(ExprId).collect();
    for i in 0..q.exprs.len() {
        let at = |e: &mut ExprId| *e = map[e.index()];
        match &mut q.exprs[i].kind {
            ExprKind::Unary(_, a) | ExprKind::Cast(a) => at(a),
            ExprKind::Binary(_, a, b) | ExprKind::Compare(_, a, b) | ExprKind::Random(a, b, _) => {
                at(a);
                at(b);
            }
            ExprKind::Select(a, b, c) => {
                at(a);
                at(b);
                at(c);
            }
            _ => {}
        }
        match f(&q.exprs, i) {
            Some(Ok(e)) => map[i] = e,
            Some(Err(kind)) => q.exprs[i].kind = kind,
            None => {}
        }
    }
    let at = |e: &mut ExprId| *e = map[e.index()];
    for ix in &mut q.indices {
        if let Index::Value(e, _) = ix {
            at(e);
        }
    }
    for p in &mut q.passes {
        for r in &mut p.reduces {
            match &mut r.kind {
                ReduceKind::Fold(_, e) => at(e),
                ReduceKind::Dot(a, b) => {
                    at(a);
                    at(b);
                }
            }
        }
        p.scratch.iter_mut().for_each(|s| at(&mut s.1));
        p.stores.iter_mut().for_each(|s| at(&mut s.value));
    }
}
