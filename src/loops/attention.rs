//! The parts of an attention kernel: what its archetype promises, found by structure.

use super::order::Node;
use super::{Archetype, ExprId, ExprKind, Index, Kernel, ReduceKind};
use crate::base::DType;
use crate::trace::{Binary, Compare, Reduce, Unary};

/// Axes and expressions of an [`Archetype::Attention`] kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// The axis of the queries.
    pub queries: usize,
    /// The axis of the result's columns.
    pub columns: usize,
    /// The axis of the keys: a row axis.
    pub keys: usize,
    /// The axis a score is summed over: a row axis, the last.
    pub depth: usize,
    /// First factor of a score; the same for all keys and columns.
    pub query: ExprId,
    /// Second factor of a score; the same for all queries and columns.
    pub key: ExprId,
    /// What the softmax is of, computed from the score.
    pub logit: ExprId,
    /// `exp(logit - shift)`.
    pub weight: ExprId,
    /// What is averaged; the same for all queries.
    pub value: ExprId,
    /// Whether the shift is 0 where all logits are -inf, so that their weights are 0 and not NaN.
    pub guarded: bool,
}

/// What an expression is made of.
struct Cone {
    axes: Vec<bool>,
    reduced: Vec<(u32, u32)>,
}

impl Kernel {
    /// The parts, if this is a kernel of the attention archetype and keeps its promises.
    pub fn attention(&self) -> Option<Attention> {
        if self.archetype != Archetype::Attention || !self.scratch.is_empty() {
            return None;
        }
        let n = self.axes.len();
        let rows: Vec<bool> = self.axes.iter().map(|a| a.row).collect();
        if n < 4 || rows[..n - 2].contains(&true) || rows[n - 2..] != [true, true] {
            return None;
        }
        let (queries, columns, keys, depth) = (n - 4, n - 3, n - 2, n - 1);
        let [scores, maximum, sums, last] = &self.passes[..] else { return None };
        let plain = |p: &super::Pass| p.row && p.stores.is_empty() && p.scratch.is_empty();
        if ![scores, maximum, sums].into_iter().all(plain) || last.row {
            return None;
        }
        let ([score], [highest], [total, mean]) = (&scores.reduces[..], &maximum.reduces[..], &sums.reduces[..]) else { return None };
        let (ReduceKind::Dot(query, key), ReduceKind::Fold(Reduce::Max, logit)) = (score.kind, highest.kind) else { return None };
        let (ReduceKind::Fold(Reduce::Sum, weight), ReduceKind::Dot(again, value)) = (total.kind, mean.kind) else { return None };
        let kind = |e: ExprId| self.exprs.get(e.index()).map(|e| &e.kind);
        let Some(&ExprKind::Unary(Unary::Exp, difference)) = kind(weight) else { return None };
        let Some(&ExprKind::Binary(Binary::Sub, of, shift)) = kind(difference) else { return None };
        let highest = |e: ExprId| matches!(kind(e), Some(ExprKind::Reduced(1, 0)));
        let number = |e: ExprId, x: f64| matches!(kind(e), Some(ExprKind::Const(c)) if c.as_f64() == x);
        let guarded = match kind(shift) {
            Some(&ExprKind::Select(hidden, zero, m)) => {
                let Some(&ExprKind::Compare(Compare::Eq, x, lowest)) = kind(hidden) else { return None };
                if !(highest(x) && number(lowest, f64::NEG_INFINITY) && number(zero, 0.0) && highest(m)) {
                    return None;
                }
                true
            }
            _ if highest(shift) => false,
            _ => return None,
        };
        let dtype = self.exprs[weight.index()].dtype;
        let (of_query, of_key) = (self.cone(query)?, self.cone(key)?);
        let (of_logit, of_value) = (self.cone(logit)?, self.cone(value)?);
        let apart = |c: &Cone, axes: &[usize]| axes.iter().all(|&a| !c.axes[a]);
        let independent = apart(&of_query, &[keys, columns])
            && apart(&of_key, &[queries, columns])
            && apart(&of_logit, &[columns, depth])
            && apart(&of_value, &[queries, depth]);
        let computed =
            [&of_query, &of_key, &of_value].iter().any(|c| !c.reduced.is_empty()) || of_logit.reduced.iter().any(|&r| r != (0, 0));
        let fits = again == weight && of == logit && independent && !computed && matches!(dtype, DType::F32 | DType::F64);
        fits.then_some(Attention { queries, columns, keys, depth, query, key, logit, weight, value, guarded })
    }

    fn cone(&self, e: ExprId) -> Option<Cone> {
        let mut c = Cone { axes: vec![false; self.axes.len()], reduced: Vec::new() };
        for n in self.order([Node::Expr(e)]).ok()? {
            match n {
                Node::Index(i) => {
                    if let Index::Axis(a) = self.indices[i.index()] {
                        // An axis of one point is the same everywhere.
                        c.axes[a as usize] |= self.axes[a as usize].extent > 1;
                    }
                }
                Node::Expr(x) => {
                    if let ExprKind::Reduced(p, r) = self.exprs[x.index()].kind {
                        c.reduced.push((p, r));
                    }
                }
            }
        }
        Some(c)
    }
}
