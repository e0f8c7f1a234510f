//! Recipes made of numbers alone: they hold no data, so they can be computed wherever their partner in an operation lives.
//!
//! Compositions write constants, positions and blanks without asking where; gradients seed themselves with ones. A recipe stands for a
//! device only if some leaf or placeholder is below it.

use super::graph::{self, Input, Inputs, NodeRef, Owner, Recipe};
use crate::base::DeviceId;
use std::collections::{HashMap, HashSet};

/// Nodes looked at before a recipe is taken for one with data.
const MOST: usize = 4096;

/// Brings operands of several devices to one and returns it: that of those with data below them, or the first's if none has. `Err`: two
/// devices whose data would meet.
pub fn adopt(inputs: &mut Inputs) -> Result<DeviceId, (DeviceId, DeviceId)> {
    let owner = graph::owner();
    let mut at: Option<DeviceId> = None;
    let mut free = Vec::new();
    for (i, x) in inputs.iter().enumerate() {
        let Input::Node(n) = x else { continue };
        match below(n, &owner) {
            Some(order) => free.push((i, order)),
            None => match at {
                Some(d) if d != n.device => return Err((d, n.device)),
                _ => at = Some(n.device),
            },
        }
    }
    // Operands differ, so there is a first.
    let at = at.or_else(|| free.first().and_then(|(_, order)| order.last()).map(|n| n.device)).expect("operands of two devices");
    let mut made = Vec::new();
    for (i, order) in free {
        if order.last().is_some_and(|n| n.device != at) {
            made.push((i, copied(&order, at, &owner)));
        }
    }
    drop(owner);
    for (i, n) in made {
        inputs[i] = Input::Node(n);
    }
    Ok(at)
}

/// The device of the first of these that has data below it, else of the first; `None` if there is none.
pub fn place<'a>(nodes: impl Iterator<Item = &'a NodeRef> + Clone) -> Option<DeviceId> {
    let first = nodes.clone().next()?.device;
    if nodes.clone().all(|n| n.device == first) {
        return Some(first);
    }
    let owner = graph::owner();
    nodes.into_iter().find(|n| below(n, &owner).is_none()).map(|n| n.device).or(Some(first))
}

/// A recipe of numbers alone, operands first; `None` if there is data below.
fn below(root: &NodeRef, owner: &Owner) -> Option<Vec<NodeRef>> {
    let mut seen = HashSet::new();
    let mut order: Vec<NodeRef> = Vec::new();
    // A node comes a second time when its operands are done.
    let mut stack = vec![(root.clone(), false)];
    while let Some((n, done)) = stack.pop() {
        if done {
            order.push(n);
            continue;
        }
        if !seen.insert(std::ptr::from_ref(&*n)) {
            continue;
        }
        let Recipe::Made(_, inputs) = n.recipe(owner) else { return None };
        if seen.len() > MOST || n.poison().is_some() {
            return None;
        }
        stack.push((n.clone(), true));
        stack.extend(inputs.iter().filter_map(|i| if let Input::Node(m) = i { Some((m.clone(), false)) } else { None }));
    }
    Some(order)
}

fn copied(order: &[NodeRef], at: DeviceId, owner: &Owner) -> NodeRef {
    let mut new: HashMap<*const graph::Node, NodeRef> = HashMap::new();
    for n in order {
        let Recipe::Made(op, inputs) = n.recipe(owner) else { unreachable!("looked at by `below`") };
        let of = |i: &Input| match i {
            Input::Node(m) => Input::Node(new[&std::ptr::from_ref(&**m)].clone()),
            Input::Number(x) => Input::Number(*x),
        };
        let recipe = Recipe::Made(op.clone(), inputs.iter().map(of).collect());
        let copy = NodeRef::new(recipe, n.dtype, n.shape.clone(), at, n.site, n.depth, None);
        new.insert(std::ptr::from_ref(&**n), copy);
    }
    new[&std::ptr::from_ref(&**order.last().expect("the root at least"))].clone()
}
