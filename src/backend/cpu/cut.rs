//! Cuts a pointwise kernel's domain where bounds change: concatenations, pads and rolls read one source in each part of their domain. In a part
//! whose bounds all hold, or all fail, nothing is tested, and sources that lie elsewhere are not read.

use super::nest::{self, Form};
use super::rewrite::{at_axes, resolve};
use crate::base::{DType, Scalar};
use crate::loops::{Archetype, Bound, Expr, ExprKind, Kernel, LoopAxis};
use crate::trace::Binary;
use smallvec::SmallVec;
use std::ops::Range;

/// Domains smaller than this are not worth more than one program.
const FEWEST: usize = 8192;
/// Most parts, and most expressions of all parts together.
const MOST: usize = 256;
/// See [`MOST`].
const MOST_EXPRS: usize = 1 << 16;

/// The kernel in parts that write disjoint elements, or None if nothing is to be gained.
pub fn cut(k: &Kernel) -> Option<Vec<Kernel>> {
    if k.archetype != Archetype::Pointwise || k.outer_len() < FEWEST || k.passes.len() != 1 || k.axes.iter().any(|a| a.row) {
        return None;
    }
    let forms = nest::forms(k);
    let mut cuts: Vec<Vec<usize>> = vec![Vec::new(); k.axes.len()];
    for b in k.exprs.iter().flat_map(bounds) {
        let Some((axis, inside)) = along_one_axis(k, &forms[b.index.index()], b) else { continue };
        cuts[axis].extend([inside.start, inside.end].into_iter().filter(|&c| c > 0 && c < k.axes[axis].extent));
    }
    for c in &mut cuts {
        c.sort_unstable();
        c.dedup();
    }
    let parts = cuts.iter().try_fold(1usize, |n, c| n.checked_mul(c.len() + 1))?;
    if parts == 1 || parts > MOST || parts * k.exprs.len() > MOST_EXPRS {
        return None;
    }
    let mut out = Vec::with_capacity(parts);
    for mut n in 0..parts {
        let mut part: SmallVec<[Range<usize>; 6]> = SmallVec::new();
        for (c, a) in cuts.iter().zip(&k.axes) {
            let i = n % (c.len() + 1);
            n /= c.len() + 1;
            part.push(if i == 0 { 0 } else { c[i - 1] }..c.get(i).copied().unwrap_or(a.extent));
        }
        out.push(within(k, &part));
    }
    Some(out)
}

fn bounds(e: &Expr) -> &[Bound] {
    match &e.kind {
        ExprKind::Load { mask, .. } | ExprKind::InBounds(mask) => mask,
        _ => &[],
    }
}

/// If `b` depends on one axis alone: that axis, and the interval of it where it holds.
fn along_one_axis(k: &Kernel, f: &Form, b: &Bound) -> Option<(usize, Range<usize>)> {
    if !f.atoms.is_empty() {
        return None;
    }
    let mut varying = (0..k.axes.len()).filter(|&a| f.strides[a] != 0 && k.axes[a].extent > 1);
    let (axis, None) = (varying.next()?, varying.next()) else { return None };
    let (s, n) = (f.strides[axis], k.axes[axis].extent as i64);
    let ceil = |a: i64, b: i64| a.div_euclid(b).saturating_add((a.rem_euclid(b) != 0) as i64);
    let (lo, hi) = (b.lo.saturating_sub(f.base), b.hi.saturating_sub(f.base));
    // s * i in lo..hi
    let (from, to) = if s > 0 {
        (ceil(lo, s), ceil(hi, s))
    } else {
        let (lo, hi) = (hi.saturating_sub(1).saturating_neg(), lo.saturating_sub(1).saturating_neg());
        (ceil(lo, -s), ceil(hi, -s))
    };
    let (from, to) = (from.clamp(0, n) as usize, to.clamp(0, n) as usize);
    Some((axis, from..to.max(from)))
}

/// The kernel over a part of its domain.
fn within(k: &Kernel, part: &[Range<usize>]) -> Kernel {
    let axes = part.iter().map(|r| LoopAxis { extent: r.len(), row: false }).collect();
    let mut q = at_axes(k, axes, |q, a| {
        let axis = q.axis(a);
        q.plus(axis, part[a as usize].start as i64)
    });
    settle(&mut q);
    q
}

/// Decides what is the same in the whole domain: bounds, and choices by them.
fn settle(q: &mut Kernel) {
    let forms = nest::forms(q);
    let extents: SmallVec<[usize; 6]> = q.axes.iter().map(|a| a.extent).collect();
    let holds = |b: &Bound| {
        let f = &forms[b.index.index()];
        if !f.atoms.is_empty() {
            return None;
        }
        let (mut lo, mut hi) = (f.base, f.base);
        for (s, &n) in f.strides.iter().zip(&extents) {
            let reach = s.saturating_mul(n as i64 - 1);
            if reach < 0 { lo = lo.saturating_add(reach) } else { hi = hi.saturating_add(reach) }
        }
        match () {
            _ if lo >= b.lo && hi < b.hi => Some(true),
            _ if hi < b.lo || lo >= b.hi => Some(false),
            _ => None,
        }
    };
    resolve(q, |exprs, i| {
        let known = |e: crate::loops::ExprId| match exprs[e.index()].kind {
            ExprKind::Const(s) if exprs[e.index()].dtype == DType::Bool => Some(s.as_bool()),
            _ => None,
        };
        let constant = |b: bool| Some(Err(ExprKind::Const(Scalar::Bool(b))));
        match &exprs[i].kind {
            ExprKind::Load { mask, .. } | ExprKind::InBounds(mask) if !mask.is_empty() => {
                let rest: SmallVec<[Bound; 2]> = mask.iter().filter(|b| holds(b) != Some(true)).copied().collect();
                let never = mask.iter().any(|b| holds(b) == Some(false));
                match &exprs[i].kind {
                    ExprKind::Load { fill, .. } if never => Some(Err(ExprKind::Const(*fill))),
                    ExprKind::Load { arg, index, fill, .. } => {
                        Some(Err(ExprKind::Load { arg: *arg, index: *index, mask: rest, fill: *fill }))
                    }
                    _ if never => constant(false),
                    _ if rest.is_empty() => constant(true),
                    _ => Some(Err(ExprKind::InBounds(rest))),
                }
            }
            ExprKind::Select(m, a, b) => known(*m).map(|m| Ok(if m { *a } else { *b })),
            ExprKind::Binary(op @ (Binary::And | Binary::Or), a, b) if exprs[i].dtype == DType::Bool => {
                let ends = *op == Binary::Or;
                match (known(*a), known(*b)) {
                    (Some(x), _) | (_, Some(x)) if x == ends => constant(ends),
                    (Some(_), _) => Some(Ok(*b)),
                    (_, Some(_)) => Some(Ok(*a)),
                    _ => None,
                }
            }
            _ => None,
        }
    });
}
