//! Donation: which leaves an evaluation may overwrite, because nobody can read them afterwards.
//!
//! A leaf is given for good iff all its handles are operands of recipes that end with this evaluation: recipes of the values that are
//! cut, and of nodes that only such recipes hold. A caller that is about to let handles go (an optimiser, of the old parameters) may
//! name them as spare. Other threads that come upon such a leaf while it is being overwritten wait; see [`graph::Claim`].

use crate::trace::graph::{Input, NodeRef, Owner, Recipe, Walk};
use std::sync::Arc;

/// Smaller buffers are not worth a second plan: the caching allocator has one at hand.
pub const WORTHWHILE: usize = 256 << 10;

fn is_leaf(owner: &Owner, n: &NodeRef) -> bool {
    n.value.get().is_some() || !matches!(n.recipe(owner), Recipe::Made(..))
}

/// The leaves that [`donated`] chose.
pub fn leaves(owner: &Owner, walk: &Walk<'_>, donated: &[bool]) -> Vec<NodeRef> {
    walk.order.iter().filter(|n| is_leaf(owner, n)).zip(donated).filter(|(_, d)| **d).map(|(n, _)| (*n).clone()).collect()
}

/// For each leaf of the walk, in its order, whether it is given for good; empty if none is. `spare` holds a second handle of each node
/// that the caller lets go afterwards.
pub fn donated(owner: &Owner, walk: &Walk<'_>, roots: &[NodeRef], spare: &[NodeRef]) -> Vec<bool> {
    let large =
        |n: &NodeRef| n.ready().is_some_and(|v| v.storage.bytes() >= WORTHWHILE && Arc::strong_count(&v.storage) == 1 && !v.storage.lent());
    if walk.largest < WORTHWHILE || !walk.order.iter().any(|n| large(n)) {
        return Vec::new();
    }
    let number = |n: &NodeRef| n.number(walk.generation).map(|k| k as usize);
    let mut stays = vec![false; walk.order.len()];
    let mut handles = vec![0usize; walk.order.len()];
    for n in spare.iter().filter_map(number) {
        handles[n] += 2;
    }
    let mut is_root = vec![false; walk.order.len()];
    for n in roots.iter().filter_map(number) {
        is_root[n] = true;
    }
    // Users come before their operands here.
    for (k, n) in walk.order.iter().enumerate().rev() {
        // A bundle can bring a node back that nobody holds.
        let ends = is_root[k] || (!stays[k] && n.holders() == handles[k] && n.bundle.get().is_none());
        stays[k] = !ends;
        if is_leaf(owner, n) {
            continue;
        }
        if let Recipe::Made(_, inputs) = n.recipe(owner) {
            for i in inputs {
                if let Input::Node(x) = i
                    && let Some(k) = number(x)
                {
                    handles[k] += 1;
                    stays[k] |= !ends;
                }
            }
        }
    }
    let out: Vec<bool> =
        walk.order.iter().enumerate().filter(|(_, n)| is_leaf(owner, n)).map(|(k, n)| !stays[k] && !is_root[k] && large(n)).collect();
    if out.contains(&true) { out } else { Vec::new() }
}
