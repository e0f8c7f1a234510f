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
            // Nobody refers to it any more; it is the same expression once again.
            map[n] = map[e.index()];
            out.exprs[n].kind = out.exprs[map[n].index()].kind.clone();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{DType, Scalar, Shape};
    use crate::loops::{Archetype, interp, samples};
    use crate::trace::interp::HostTensor;

    /// Kernels mean the same after legalisation: the interpreter gives the same results.
    #[test]
    fn meaning_is_kept() {
        // Two scratch values, one of another: what the lowering keeps for a dear function.
        let kept = "kernel row_reduction\naxes 2, 3 row\nargs a0: read f32[6], a1: write f32[6]\nscratch f32, f32\nn0 = i0\nn1 = n0 * 3\n\
            n2 = i1\nn3 = n1 + n2\ne0: f32 = load a0[n3]\ne1: f32 = exp e0\ne2: f32 = scratch s0\ne3: f32 = sin e2\ne4: f32 = scratch s1\n\
            e5: f32 = reduced r0.0\ne6: f32 = add e4, e5\ne7: f32 = mul e6, e2\npass 0 row\n  r0.0: f32 = sum e1\n  s0 = e1\npass 1 row\n  s1 = e3\n\
            pass 2 row\n  a1[n3] = e7\n";
        let contiguous = "kernel pointwise\naxes 2, 3, 4\nargs a0: read f32[24], a1: read f32[4], a2: write f32[24]\nn0 = i0\nn1 = i1\n\
            n2 = i2\nn3 = n0 * 12\nn4 = n1 * 4\nn5 = n3 + n4\nn6 = n5 + n2\ne0: f32 = load a0[n6]\ne1: f32 = load a1[n2]\ne2: f32 = mul e0, e1\n\
            pass 0 outer\n  a2[n6] = e2\n";
        let mut changed = 0;
        for text in samples::ALL.into_iter().chain([kept, contiguous]) {
            let k: Kernel = text.trim_start().parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
            if matches!(k.archetype, Archetype::Sort(_) | Archetype::Cumulative { .. }) {
                continue;
            }
            let l = inline_scratch(&k);
            let l = collapse(&l, &Symbolic::new(&l).unwrap());
            check_width(&l, &Symbolic::new(&l).unwrap()).unwrap();
            changed += usize::from(l.axes.len() < k.axes.len() || !k.scratch.is_empty());
            assert!(l.scratch.is_empty());
            let mut state = 1u64;
            let args: Vec<HostTensor> = k
                .args
                .iter()
                .map(|a| {
                    let values: Vec<Scalar> = (0..a.numel)
                        .map(|_| {
                            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                            match a.dtype {
                                DType::I64 => Scalar::Int((state >> 60) as i64 - 4),
                                _ => Scalar::Float(((state >> 40) as f64 / (1 << 24) as f64 - 0.5) * 4.0),
                            }
                        })
                        .collect();
                    HostTensor::from_scalars(a.dtype, Shape::new(&[a.numel]), values)
                })
                .collect();
            let params: Vec<Scalar> = k.params.iter().map(|_| Scalar::Float(1.5)).collect();
            let (mut before, mut after) = (args.clone(), args);
            interp::run(&k, &mut before, &params).unwrap_or_else(|e| panic!("{e}\n{text}"));
            interp::run(&l, &mut after, &params).unwrap_or_else(|e| panic!("{e}\n{l}"));
            assert!(before.iter().zip(&after).all(|(a, b)| a.same(b)), "{text}\nbecame\n{l}");
        }
        assert!(changed >= 2, "{changed}");
    }

    #[test]
    fn what_does_not_fit_32_bits_is_refused() {
        let k: Kernel = "kernel pointwise\naxes 3\nargs a0: read f32[3000000000], a1: write f32[3]\nn0 = i0\nn1 = n0 * 1000000000\n\
            e0: f32 = load a0[n1]\npass 0 outer\n  a1[n0] = e0\n"
            .parse()
            .unwrap();
        let e = check_width(&k, &Symbolic::new(&k).unwrap()).unwrap_err();
        assert!(e.message().contains("3000000000"), "{e}");
    }
}
