//! Splits loop axes so that quotients and remainders disappear: where `x / c` or `x % c` crosses an axis that divides evenly, two axes
//! take its place and the index is affine.

use super::nest;
use super::rewrite::at_axes;
use crate::loops::{Index, Kernel, LoopAxis};
use std::cmp::Ordering;

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
    let mut axes = k.axes.clone();
    axes[axis].extent /= inner;
    axes.insert(axis + 1, LoopAxis { extent: inner, row: axes[axis].row });
    at_axes(k, axes, |q, a| match (a as usize).cmp(&axis) {
        Ordering::Less => q.axis(a),
        Ordering::Greater => q.axis(a + 1),
        Ordering::Equal => {
            let (outer, rest) = (q.axis(a), q.axis(a + 1));
            let outer = q.push(Index::Mul(outer, inner as i64));
            q.push(Index::Add(outer, rest))
        }
    })
}
