//! [`NodeRef`]: a counted handle of a node. Recording is the engine's innermost loop, so a node that nobody holds any more is not
//! given back to the allocator but kept by its thread for the next op, and long recipes are taken apart by a loop.
//!
//! Invariant: every [`Node`] is behind a `NodeRef`, so that a chain of a million nodes never drops by recursion.

use super::graph::{Input, Inputs, Node, Recipe};
use crate::base::{DType, DeviceId, Result, Shape, Site, Value};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::{Arc, Weak};

/// A counted handle of a node; cloning copies the handle.
#[derive(Clone, Debug)]
pub struct NodeRef(Option<Arc<Node>>);

/// A handle that does not keep its node.
#[derive(Clone, Debug)]
pub struct WeakNode(Weak<Node>);

/// Spare nodes a thread keeps: some 800 KiB at most.
const SPARE: usize = 4096;

thread_local! {
    static SPARES: RefCell<Vec<Arc<Node>>> = const { RefCell::new(Vec::new()) };
}

impl NodeRef {
    /// A node with a recipe. `value` is preset for data and for poisoned tensors.
    #[inline]
    pub fn new(
        recipe: Recipe,
        dtype: DType,
        shape: Shape,
        device: DeviceId,
        site: Site,
        depth: u32,
        value: Option<Result<Value>>,
    ) -> NodeRef {
        // No spares at the end of a thread.
        let spare = SPARES.try_with(|s| s.borrow_mut().pop()).ok().flatten();
        let arc = match spare {
            Some(mut arc) => {
                let node = Arc::get_mut(&mut arc).expect("a spare node is held by nobody else");
                (node.dtype, node.device, node.depth, node.site) = (dtype, device, depth, site);
                node.shape = shape;
                *node.recipe_mut() = recipe;
                arc
            }
            None => Arc::new(Node::new(recipe, dtype, shape, device, site, depth)),
        };
        if let Some(v) = value {
            let _ = arc.value.set(v);
        }
        NodeRef(Some(arc))
    }

    /// Whether both are handles of one node.
    pub fn same(&self, other: &NodeRef) -> bool {
        std::ptr::eq(&**self, &**other)
    }

    /// A handle that does not keep the node.
    pub fn downgrade(&self) -> WeakNode {
        WeakNode(self.0.as_ref().map_or_else(Weak::new, Arc::downgrade))
    }

    /// How many handles there are.
    pub fn holders(&self) -> usize {
        self.0.as_ref().map_or(0, Arc::strong_count)
    }
}

impl WeakNode {
    /// The node, if anybody holds it.
    pub fn upgrade(&self) -> Option<NodeRef> {
        self.0.upgrade().map(|n| NodeRef(Some(n)))
    }
}

impl Deref for NodeRef {
    type Target = Node;
    #[inline]
    fn deref(&self) -> &Node {
        self.0.as_ref().expect("only dropping empties a handle")
    }
}

impl Drop for NodeRef {
    #[inline]
    fn drop(&mut self) {
        if let Some(arc) = self.0.take() {
            release(arc);
        }
    }
}

type Pending = SmallVec<[Arc<Node>; 8]>;

/// Gives a handle up. A node that nobody else holds gives up its operands, one after another, and becomes a spare.
fn release(arc: Arc<Node>) {
    let mut pending = Pending::new();
    let mut next = Some(arc);
    while let Some(mut arc) = next {
        // The count is read first: to a shared node `get_mut` would write.
        let sole = if Arc::strong_count(&arc) == 1 { Arc::get_mut(&mut arc) } else { None };
        match sole {
            Some(node) => {
                if let Recipe::Made(_, inputs) = node.recipe_mut() {
                    give_up(inputs, &mut pending);
                }
                node.reset();
                let _ = SPARES.try_with(|s| {
                    let mut s = s.borrow_mut();
                    if s.len() < SPARE {
                        s.push(arc);
                    }
                });
            }
            // Shared, or bundled: a bundle refers to it weakly.
            None => {
                if let Some(mut node) = Arc::into_inner(arc)
                    && let Recipe::Made(_, inputs) = node.recipe_mut()
                {
                    give_up(inputs, &mut pending);
                }
            }
        }
        next = pending.pop();
    }
}

#[inline]
fn give_up(inputs: &mut Inputs, pending: &mut Pending) {
    while let Some(i) = inputs.pop() {
        if let Input::Node(mut n) = i
            && let Some(arc) = n.0.take()
        {
            pending.push(arc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Op, Unary};

    fn node(of: Option<NodeRef>) -> NodeRef {
        let recipe = of.map_or(Recipe::Leaf, |n| Recipe::Made(Op::Unary(Unary::Neg), Inputs::from_iter([Input::Node(n)])));
        NodeRef::new(recipe, DType::F32, Shape::scalar(), DeviceId(0), std::panic::Location::caller(), 0, None)
    }

    #[test]
    fn a_spare_node_keeps_nothing_of_its_former_life() {
        let a = node(None);
        let weak = a.downgrade();
        drop(node(Some(a.clone())));
        let b = node(None);
        assert!(matches!(b.recipe(&super::super::graph::owner()), Recipe::Leaf) && b.value.get().is_none() && b.bundle.get().is_none());
        assert_eq!(a.holders(), 1);
        drop(a);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_long_chain_drops_on_a_small_stack_also_when_bundled() {
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(|| {
                let mut weak = Vec::new();
                let mut n = node(None);
                for i in 0..100_000 {
                    n = node(Some(n));
                    if i % 3 == 0 {
                        weak.push(n.downgrade());
                    }
                }
                drop(n);
                assert!(weak.iter().all(|w| w.upgrade().is_none()));
            })
            .expect("a thread")
            .join()
            .expect("no overflow");
    }
}
