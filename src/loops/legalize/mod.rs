//! What targets without the CPU's freedoms need made of a kernel, before it is printed: Kernel to Kernel, and how its arguments are stored.
//!
//! [`inline_scratch`] takes row scratch out; [`check_width`] proves that indices fit 32 bits; [`storage`] says how a type narrower than a
//! word lies in memory and which stores may write a whole word. It knows no target's language.
//!
//! Invariants: a kernel means the same before and after; nothing is decided by the data.

mod collapse;
mod storage;

pub use collapse::collapse;
pub use storage::{StoreForm, per_word, store_forms};

use super::symbolic::Symbolic;
use super::{ExprId, ExprKind, Index, Kernel, ReduceKind};
use crate::base::Result;
use crate::base::error::bail;

impl ExprKind {
    /// The same with other operands.
    fn with_operands(&self, f: impl Fn(ExprId) -> ExprId) -> ExprKind {
        match self {
            ExprKind::Unary(op, a) => ExprKind::Unary(*op, f(*a)),
            ExprKind::Binary(op, a, b) => ExprKind::Binary(*op, f(*a), f(*b)),
            ExprKind::Compare(op, a, b) => ExprKind::Compare(*op, f(*a), f(*b)),
            ExprKind::Select(a, b, c) => ExprKind::Select(f(*a), f(*b), f(*c)),
            ExprKind::Cast(a) => ExprKind::Cast(f(*a)),
            ExprKind::Random(a, b, i) => ExprKind::Random(f(*a), f(*b), *i),
            other => other.clone(),
        }
    }
}

/// Computes again what a kernel keeps in row scratch between its passes. Not for sorts and scans, whose scratch is what they do.
pub fn inline_scratch(k: &Kernel) -> Kernel {
    let mut out = k.clone();
    let writer = |s: super::ScratchId| k.passes.iter().flat_map(|p| &p.scratch).find(|w| w.0 == s).map(|w| w.1);
    let mut map: Vec<ExprId> = (0..k.exprs.len() as u32).map(ExprId).collect();
    for n in 0..k.exprs.len() {
        if let ExprKind::Scratch(s) = k.exprs[n].kind
            && let Some(e) = writer(s)
        {
            map[n] = map[e.index()];
            continue;
        }
        out.exprs[n].kind = k.exprs[n].kind.with_operands(|e| map[e.index()]);
    }
    for i in &mut out.indices {
        if let Index::Value(e, _) = i {
            *e = map[e.index()];
        }
    }
    for p in &mut out.passes {
        p.scratch.clear();
        for r in &mut p.reduces {
            r.kind = match r.kind {
                ReduceKind::Fold(kind, e) => ReduceKind::Fold(kind, map[e.index()]),
                ReduceKind::Dot(a, b) => ReduceKind::Dot(map[a.index()], map[b.index()]),
            };
        }
        p.stores.iter_mut().for_each(|s| s.value = map[s.value.index()]);
    }
    out.scratch.clear();
    out
}

/// Whether every index fits 32 signed bits.
///
/// # Errors
/// `Argument` if an argument has 2^31 elements or more, or the kernel visits as many points.
pub fn check_width(k: &Kernel, s: &Symbolic) -> Result<()> {
    const MOST: usize = i32::MAX as usize;
    if let Some(a) = k.args.iter().find(|a| a.numel > MOST) {
        bail!(Argument, "a tensor of {} elements: this device indexes with 32 bits; split it, or use the cpu device", a.numel);
    }
    if k.outer_len() > MOST || k.row_len() > MOST {
        bail!(Argument, "a kernel of {} by {} points: this device indexes with 32 bits; split it", k.outer_len(), k.row_len());
    }
    for (n, i) in k.indices.iter().enumerate() {
        let (lo, hi) = s.range(super::IndexId(n as u32));
        // A computed value as it is gets held within 32 bits where it is read.
        let raw = matches!(i, Index::Value(_, 0));
        if !raw && (lo < i32::MIN as i64 || hi > i32::MAX as i64) {
            bail!(Argument, "an index of a kernel lies in {lo}..={hi}: this device indexes with 32 bits; split the tensor");
        }
    }
    Ok(())
}
