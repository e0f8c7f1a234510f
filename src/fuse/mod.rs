//! Fusion: from a simplified trace to kernels in Loop IR, once, for all backends.
//!
//! [`prepare`] copies what must lie in memory and splits long reductions and products; [`group`](group::group) decides which values are computed in
//! which kernel; [`lower`](lower::lower) writes each kernel; [`launch`] orders them and joins equal ones into grouped launches.
//! It knows no memory addresses (that is `plan`) and emits no code (that is a backend).
//!
//! Invariants: views cost nothing and never become kernels of their own, except outputs that are views in another order than memory;
//! a stored value is written by exactly one kernel (a scatter's result by its initialisation and then its updates); the kernels' order
//! follows every dependency.

mod attention;
pub mod cost;
pub mod group;
pub mod index;
pub mod launch;
pub mod lower;
mod merge;
pub mod prepare;
pub mod report;
#[cfg(test)]
mod tests;

use crate::base::{Result, error::bail};
use crate::trace::{Op, Trace, ValueId};
use group::{Group, Grouping, Kind};
use launch::{FusedControl, FusedLaunch, Step};

/// A fused program.
pub struct Fused {
    /// The prepared trace that the kernels' arguments refer to.
    pub trace: Trace,
    /// In execution order.
    pub launches: Vec<FusedLaunch>,
    /// For each output: the value whose buffer holds it (an input, or a stored value), row-major.
    pub outputs: Vec<ValueId>,
    /// Why values were not fused.
    pub refusals: Vec<report::Refusal>,
}

/// How large the kernels of a device may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Values computed in one: beyond, one more launch costs nothing beside the work, and compiling stays linear.
    pub values: usize,
    /// Operands of a concatenation: of more, it is one of concatenations.
    pub operands: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { values: 4096, operands: usize::MAX }
    }
}

/// Fuses a simplified trace (no regions but branches and loops). `fusing = false` gives every op its own kernel.
///
/// # Errors
/// `Internal` if a pass broke a rule.
pub fn fuse(simplified: &Trace, fusing: bool, limits: &Limits) -> Result<Fused> {
    let trace = prepare::prepare(simplified, limits);
    let grouping = group::group(&trace, fusing, limits);
    let mut steps = Vec::new();
    for id in order(&grouping) {
        let g = &grouping.groups[id as usize];
        if let Kind::Control(v) = g.kind {
            steps.push(Step::Control(control(&trace, v, g)?));
            continue;
        }
        let lowered = lower::lower(&trace, &grouping, id)?;
        // Nothing to write: every result has no elements.
        if lowered.args.iter().zip(&lowered.kernel.args).all(|(_, a)| a.access == crate::loops::Access::Read || a.numel == 0)
            || (matches!(g.kind, Kind::Scatter(_)) && lowered.kernel.outer_len() == 0)
        {
            continue;
        }
        #[cfg(debug_assertions)]
        crate::loops::verify::verify(&lowered.kernel)?;
        steps.push(Step::Kernel(Box::new(lowered)));
    }
    let outputs = trace.outputs.iter().map(|&o| cost::base_of(&trace, o).0).collect();
    let launches = launch::launches(steps);
    Ok(Fused { trace, launches, outputs, refusals: grouping.refusals })
}

/// The branch or loop `v`.
fn control(t: &Trace, v: ValueId, g: &Group) -> Result<FusedControl> {
    let Op::Region(region) = &t[v].op else { bail!(Internal, "{} is no branch or loop", t[v].op.name()) };
    let mut results = vec![None; region.results()];
    for &o in &g.members {
        if let Op::Output(k) = t[o].op {
            results[k as usize].get_or_insert(o);
        }
    }
    let operands = t[v].args.iter().map(|&a| cost::base_of(t, a).0).collect();
    Ok(FusedControl { region: region.clone(), operands, results })
}

/// Groups in an order that follows every dependency; among those that are ready, the one whose values the user wrote first.
fn order(g: &Grouping) -> Vec<u32> {
    let n = g.groups.len();
    let mut waits = vec![0usize; n];
    for x in g.groups.iter().filter(|x| !x.dead) {
        for &s in &x.succ {
            waits[s as usize] += 1;
        }
    }
    let first = |i: usize| {
        let x = &g.groups[i];
        let own = match x.kind {
            Kind::Init(v) | Kind::Scatter(v) | Kind::Row(v) | Kind::Contraction(v) | Kind::Attention(v) => Some(v),
            Kind::Loop | Kind::Control(_) => None,
        };
        x.members.iter().copied().chain(own).min().map_or(usize::MAX, ValueId::index)
    };
    let mut ready: std::collections::BTreeSet<(usize, usize)> =
        (0..n).filter(|&i| !g.groups[i].dead && waits[i] == 0).map(|i| (first(i), i)).collect();
    let mut out = Vec::new();
    while let Some((_, i)) = ready.pop_first() {
        out.push(i as u32);
        for &s in &g.groups[i].succ {
            waits[s as usize] -= 1;
            if waits[s as usize] == 0 {
                ready.insert((first(s as usize), s as usize));
            }
        }
    }
    debug_assert_eq!(out.len(), g.groups.iter().filter(|x| !x.dead).count(), "a cycle among groups");
    out
}
