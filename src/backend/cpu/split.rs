//! Splits loop axes so that quotients and remainders disappear: where `x / c` or `x % c` crosses an axis that divides evenly, two axes
//! take its place and the index is affine.

use super::nest;
use crate::loops::{Bound, ExprKind, Index, IndexId, Kernel, LoopAxis};

/// More splits than any real chain of reshapes needs.
const MOST: usize = 16;

/// The kernel with axes split, or None if nothing is to be gained.
pub fn split(k: &Kernel) -> Option<Kernel> {
    if !k.indices.iter().any(|i| matches!(i, Index::Div(..) | Index::Mod(..))) {
        return None;
    }
    let mut out: Option<Kernel> = None;
    for _ in 0..MOST {
        let now = out.as_ref().unwrap_or(k);
        let Some((axis, inner)) = candidate(now) else { break };
        out = Some(apply(now, axis, inner));
    }
    out
}

/// An axis and the extent of its inner half.
fn candidate(k: &Kernel) -> Option<(usize, usize)> {
    if k.axes.len() >= 32 {
        return None;
    }
    let forms = nest::forms(k);
    for (i, ix) in k.indices.iter().enumerate() {
        let (Index::Div(y, c) | Index::Mod(y, c)) = *ix else { continue };
        if !forms[i].atoms.iter().any(|a| a.0 as usize == i) {
            continue;
        }
        let f = &forms[y.index()];
        for (a, &s) in f.strides.iter().enumerate() {
            let s = s.unsigned_abs() as i64;
            if s == 0 || s % c == 0 || c % s != 0 {
                continue;
            }
            let inner = (c / s) as usize;
            if k.axes[a].extent > inner && k.axes[a].extent.is_multiple_of(inner) && f.base % s == 0 {
                return Some((a, inner));
            }
        }
    }
    None
}

fn apply(k: &Kernel, axis: usize, inner: usize) -> Kernel {
    let mut q = k.clone();
    q.axes[axis].extent = k.axes[axis].extent / inner;
    q.axes.insert(axis + 1, LoopAxis { extent: inner, row: k.axes[axis].row });
    let mut map: Vec<IndexId> = Vec::with_capacity(k.indices.len());
    q.indices.clear();
    for ix in &k.indices {
        let push = |q: &mut Kernel, i: Index| {
            q.indices.push(i);
            IndexId(q.indices.len() as u32 - 1)
        };
        let at = |i: IndexId| map[i.index()];
        let new = match *ix {
            Index::Axis(a) if a as usize == axis => {
                let outer = push(&mut q, Index::Axis(a));
                let outer = push(&mut q, Index::Mul(outer, inner as i64));
                let inner = push(&mut q, Index::Axis(a + 1));
                push(&mut q, Index::Add(outer, inner))
            }
            Index::Axis(a) if a as usize > axis => push(&mut q, Index::Axis(a + 1)),
            Index::Add(a, b) => push(&mut q, Index::Add(at(a), at(b))),
            Index::Mul(a, c) => push(&mut q, Index::Mul(at(a), c)),
            Index::Div(a, c) => push(&mut q, Index::Div(at(a), c)),
            Index::Mod(a, c) => push(&mut q, Index::Mod(at(a), c)),
            other => push(&mut q, other),
        };
        map.push(new);
    }
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
