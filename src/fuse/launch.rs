//! Launches: equal kernels over different buffers, as an optimiser's update of every parameter is, become one; kernels of a single
//! element ride along.

use super::lower::Lowered;
use crate::loops::{Access, Archetype, ExprKind, Index, Kernel, LoopAxis};
use crate::trace::{Region, ValueId};
use std::collections::HashSet;
use std::sync::Arc;

/// A kernel, or a branch or loop.
pub enum Step {
    /// As lowered.
    Kernel(Box<Lowered>),
    /// As it stands in the trace.
    Control(FusedControl),
}

/// A step of a program.
pub enum FusedLaunch {
    /// One or more kernels that run together, independent of each other: of one class, and perhaps some of a single element.
    Kernels(Vec<Lowered>),
    /// A branch or loop.
    Control(FusedControl),
}

/// A branch or loop, and the values it takes and yields.
pub struct FusedControl {
    /// What it does.
    pub region: Arc<Region>,
    /// The values whose buffers it reads.
    pub operands: Vec<ValueId>,
    /// The value each of its results is, if anybody reads it.
    pub results: Vec<Option<ValueId>>,
}

/// Groups equal kernels whose results nobody else in the plan reads; they run last.
pub fn launches(steps: Vec<Step>) -> Vec<FusedLaunch> {
    let read: HashSet<ValueId> = steps
        .iter()
        .flat_map(|s| match s {
            Step::Kernel(k) => k.args.iter().zip(&k.kernel.args).filter(|(_, a)| a.access != Access::Write).map(|(&v, _)| v).collect(),
            Step::Control(c) => c.operands.clone(),
        })
        .collect();
    let mut out: Vec<FusedLaunch> = Vec::new();
    let mut last: Vec<Vec<Lowered>> = Vec::new();
    for step in steps {
        let mut k = match step {
            Step::Kernel(k) => *k,
            Step::Control(c) => {
                out.push(FusedLaunch::Control(c));
                continue;
            }
        };
        let final_results = k.args.iter().zip(&k.kernel.args).all(|(v, a)| a.access == Access::Read || !read.contains(v));
        if !final_results || !flatten(&mut k.kernel) {
            out.push(FusedLaunch::Kernels(vec![k]));
            continue;
        }
        match last.iter_mut().find(|l| same_code(&l[0].kernel, &k.kernel)) {
            Some(l) => l.push(k),
            None => last.push(vec![k]),
        }
    }
    // A single number (a step count, say) rides along instead of costing a launch of its own.
    let single = |l: &Vec<Lowered>| l.len() == 1 && l[0].kernel.axes[0].extent == 1;
    let (riders, mut last): (Vec<_>, Vec<_>) = last.into_iter().partition(single);
    match last.first_mut() {
        Some(l) => l.extend(riders.into_iter().flatten()),
        None => last = riders,
    }
    out.extend(last.into_iter().map(FusedLaunch::Kernels));
    out
}

/// Turns a pointwise kernel all of whose accesses are the point itself or one fixed element into a kernel over one axis.
fn flatten(k: &mut Kernel) -> bool {
    if k.archetype != Archetype::Pointwise {
        return false;
    }
    let mut strides = vec![1i64; k.axes.len()];
    for i in (0..k.axes.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * k.axes[i + 1].extent as i64;
    }
    let n: usize = k.axes.iter().map(|a| a.extent).product();
    let mut indices: Vec<Index> = vec![Index::Axis(0), Index::Const(0)];
    let mut flat = |k: &Kernel, i: crate::loops::IndexId| {
        let a = k.affine(i)?;
        // Axes of one point have no stride to speak of.
        if a.base == 0 && a.strides.iter().zip(&strides).zip(&k.axes).all(|((s, t), x)| x.extent == 1 || s == t) && n > 1 {
            return Some(crate::loops::IndexId(0));
        }
        if !a.strides.iter().zip(&k.axes).all(|(s, x)| *s == 0 || x.extent == 1) {
            return None;
        }
        if a.base == 0 {
            return Some(crate::loops::IndexId(1));
        }
        indices.push(Index::Const(a.base));
        Some(crate::loops::IndexId(indices.len() as u32 - 1))
    };
    let mut exprs = k.exprs.clone();
    let mut passes = k.passes.clone();
    for e in &mut exprs {
        match &mut e.kind {
            ExprKind::Load { index, mask, .. } if mask.is_empty() => match flat(k, *index) {
                Some(i) => *index = i,
                None => return false,
            },
            ExprKind::Load { .. } | ExprKind::Index(_) | ExprKind::InBounds(_) | ExprKind::Random(..) => return false,
            _ => {}
        }
    }
    for p in &mut passes {
        for s in &mut p.stores {
            match flat(k, s.index) {
                Some(i) => s.index = i,
                None => return false,
            }
        }
    }
    (k.exprs, k.passes, k.indices) = (exprs, passes, indices);
    k.axes = vec![LoopAxis { extent: n, row: false }];
    true
}

/// Whether two flattened kernels differ only in how many elements they visit.
fn same_code(a: &Kernel, b: &Kernel) -> bool {
    let fixed = |k: &Kernel| k.axes[0].extent == 1;
    a.archetype == b.archetype
        && fixed(a) == fixed(b)
        && a.exprs == b.exprs
        && a.passes == b.passes
        && a.indices == b.indices
        && a.scratch == b.scratch
        && a.params == b.params
        && a.args.len() == b.args.len()
        && a.args.iter().zip(&b.args).all(|(x, y)| x.dtype == y.dtype && x.access == y.access)
}
