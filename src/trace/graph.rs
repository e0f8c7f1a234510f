//! The recorded graph: immutable nodes that users' tensors hold and that share their operands.
//!
//! Recording takes no lock. What may change later, a node's recipe, which a *cut* drops, lies in a cell that only the holder of
//! the graph's one owner may open: walks and cuts take that owner, recording and dropping do not.

pub use super::node_ref::{NodeRef, WeakNode};

use super::op::Op;
use crate::base::{DType, DeviceId, Error, Result, Scalar, Shape, Site, Value};
use qcell::{TCell, TCellOwner};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

/// Marks the cells of the graph.
pub struct Graph;
/// The right to open recipes.
pub type Owner = TCellOwner<Graph>;

static OWNER: LazyLock<Mutex<Owner>> = LazyLock::new(|| Mutex::new(Owner::new()));

/// Takes the graph's owner. Not to be held while recording user code, compiling or running.
pub fn owner() -> MutexGuard<'static, Owner> {
    OWNER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A recorded value.
pub struct Node {
    /// Element type.
    pub dtype: DType,
    /// Where it lives or will be computed.
    pub device: DeviceId,
    /// Length of the longest recipe chain below, for the automatic flush.
    pub depth: u32,
    /// Shape.
    pub shape: Shape,
    /// The user's line.
    pub site: Site,
    /// Set when computed, or from the start for data; an error marks a poisoned tensor.
    pub value: OnceLock<Result<Value>>,
    /// Outputs of one transform that are evaluated together.
    pub bundle: OnceLock<Arc<Bundle>>,
    recipe: TCell<Graph, Recipe>,
    /// What became of a leaf's data: written only under the owner.
    claim: AtomicU8,
    /// (walk generation << 32) | number in that walk. Written only under the owner.
    mark: AtomicU64,
}

/// How a node's value comes about.
#[derive(Debug)]
pub enum Recipe {
    /// Data, or a value whose recipe was let go by `eval` or an optimiser step.
    Leaf,
    /// A value whose recipe was let go by the automatic flush: a gradient may not pass.
    Flushed,
    /// An input of a region or program that is being recorded; the number is unique in the process.
    Placeholder(u64),
    /// An op on operands.
    Made(Op, Inputs),
}

/// Operands of a recorded op.
pub type Inputs = SmallVec<[Input; 2]>;

/// An operand: another node, or a number that stretches to the op's shape.
#[derive(Clone, Debug)]
pub enum Input {
    /// A recorded value.
    Node(NodeRef),
    /// A number; see [`Input::param`] and [`Input::constant`].
    Number(Number),
}

/// A number as an operand, in two words.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// As [`Scalar::bits`].
    bits: u64,
    /// Its element type.
    pub dtype: DType,
    /// A user's number: data, not structure. Else written by a library composition: part of the structure.
    pub is_param: bool,
}

impl Number {
    /// The value.
    pub fn value(self) -> Scalar {
        Scalar::from_bits(self.bits, self.dtype)
    }

    /// As [`Scalar::bits`].
    pub fn bits(self) -> u64 {
        self.bits
    }
}

impl Input {
    /// A user's number, of the dtype's category: data, not structure.
    #[inline]
    pub fn param(value: Scalar, dtype: DType) -> Input {
        debug_assert_eq!(value.category(), dtype.category());
        Input::Number(Number { bits: value.bits(), dtype, is_param: true })
    }

    /// A number written by a library composition, of the dtype's category: part of the structure.
    #[inline]
    pub fn constant(value: Scalar, dtype: DType) -> Input {
        debug_assert_eq!(value.category(), dtype.category());
        Input::Number(Number { bits: value.bits(), dtype, is_param: false })
    }
}

/// Outputs of one transform call; evaluating one evaluates all that are still held.
#[derive(Debug)]
pub struct Bundle(pub Vec<WeakNode>);

impl Bundle {
    /// Ties nodes together. A node that is already in a bundle stays in that one.
    pub fn tie(nodes: &[NodeRef]) {
        let made: Vec<_> = nodes.iter().filter(|n| n.value.get().is_none()).collect();
        if made.len() > 1 {
            let b = Arc::new(Bundle(made.iter().map(|n| n.downgrade()).collect()));
            for n in made {
                let _ = n.bundle.set(b.clone());
            }
        }
    }
}

impl Node {
    /// A node without a value.
    pub(super) fn new(recipe: Recipe, dtype: DType, shape: Shape, device: DeviceId, site: Site, depth: u32) -> Node {
        Node {
            dtype,
            device,
            depth,
            shape,
            site,
            value: OnceLock::new(),
            bundle: OnceLock::new(),
            recipe: TCell::new(recipe),
            claim: AtomicU8::new(Claim::Free as u8),
            mark: AtomicU64::new(0),
        }
    }

    /// Lets go of everything the node holds.
    pub(super) fn reset(&mut self) {
        *self.recipe.get_mut() = Recipe::Leaf;
        self.value.take();
        self.bundle.take();
        *self.claim.get_mut() = Claim::Free as u8;
        *self.mark.get_mut() = 0;
    }

    /// The recipe of a node that nobody else holds.
    pub(super) fn recipe_mut(&mut self) -> &mut Recipe {
        self.recipe.get_mut()
    }

    /// The recipe.
    pub fn recipe<'a>(&'a self, owner: &'a Owner) -> &'a Recipe {
        owner.ro(&self.recipe)
    }

    /// The error of a poisoned tensor.
    pub fn poison(&self) -> Option<&Error> {
        self.value.get().and_then(|v| v.as_ref().err())
    }

    /// The value, if computed.
    pub fn ready(&self) -> Option<&Value> {
        self.value.get().and_then(|v| v.as_ref().ok())
    }

    /// Lets the recipe go; the node must have its value. Returns what was held, to be dropped without the owner.
    pub fn cut(&self, owner: &mut Owner, flushed: bool) -> Option<Recipe> {
        debug_assert!(self.value.get().is_some());
        let r = owner.rw(&self.recipe);
        match r {
            Recipe::Made(..) => Some(std::mem::replace(r, if flushed { Recipe::Flushed } else { Recipe::Leaf })),
            _ => None,
        }
    }

    /// The number this walk gave the node, if it was visited.
    pub fn number(&self, generation: u32) -> Option<u32> {
        let m = self.mark.load(Ordering::Relaxed);
        ((m >> 32) as u32 == generation && m as u32 != u32::MAX).then_some(m as u32)
    }

    /// What became of a leaf's data. Meaningful while the owner is held.
    pub fn claim(&self) -> Claim {
        match self.claim.load(Ordering::Relaxed) {
            0 => Claim::Free,
            1 => Claim::Taken,
            _ => Claim::Lost,
        }
    }

    fn visited(&self, generation: u32) -> bool {
        (self.mark.load(Ordering::Relaxed) >> 32) as u32 == generation
    }

    fn set_number(&self, generation: u32, n: u32) {
        self.mark.store(((generation as u64) << 32) | n as u64, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({} {})", self.dtype, self.shape)
    }
}

/// What became of a leaf's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Claim {
    /// It is there.
    Free,
    /// An evaluation that runs now may overwrite it.
    Taken,
    /// An evaluation that failed half way has overwritten it.
    Lost,
}

static SETTLED: Condvar = Condvar::new();

/// Sets what became of leaves, and wakes who waits for them.
pub fn set_claims(_: &mut Owner, leaves: &[NodeRef], claim: Claim) {
    for n in leaves {
        n.claim.store(claim as u8, Ordering::Relaxed);
    }
    // Waking costs a system call.
    if !leaves.is_empty() && claim != Claim::Taken {
        SETTLED.notify_all();
    }
}

/// Gives the owner away until some claim has changed.
pub fn wait_for_claims(owner: MutexGuard<'static, Owner>) -> MutexGuard<'static, Owner> {
    SETTLED.wait(owner).unwrap_or_else(PoisonError::into_inner)
}

/// Whether the data of all leaves of a walk can be read.
///
/// # Errors
/// `Memory` if that of some leaf is lost.
pub fn readable(walk: &Walk<'_>) -> Result<bool> {
    let mut taken = false;
    for n in walk.order.iter().filter(|_| walk.claimed) {
        match n.claim() {
            Claim::Free => {}
            Claim::Taken => taken = true,
            Claim::Lost => {
                return Err(crate::base::error::err!(
                    Memory,
                    "the data of a {} {} is lost: the evaluation it was given to failed half way",
                    n.dtype,
                    n.shape
                )
                .at(n.site));
            }
        }
    }
    Ok(!taken)
}

/// What counts as a leaf of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Through {
    /// Nodes that have a value are leaves: for evaluation.
    Unevaluated,
    /// Every kept recipe is followed, also below values: for differentiation.
    Recipes,
}

/// Nodes below some roots, operands first, each with a number valid while the owner is held.
pub struct Walk<'a> {
    /// In post-order of a depth-first walk, operands left to right: the canonical numbering.
    pub order: SmallVec<[&'a NodeRef; 8]>,
    /// Of this walk, for [`Node::number`].
    pub generation: u32,
    /// Some node carries an error.
    pub poisoned: bool,
    /// The data of some leaf is not, or not for now, there.
    pub claimed: bool,
    /// Some node without a value belongs to a bundle.
    pub bundled: bool,
    /// Bytes of the largest leaf.
    pub largest: usize,
}

static GENERATION: AtomicU64 = AtomicU64::new(1);

/// Numbers all nodes below `roots`. Iterative.
pub fn walk<'a>(owner: &'a Owner, roots: impl Iterator<Item = &'a NodeRef>, through: Through) -> Walk<'a> {
    // A generation is 32 bits of the mark; marks of 2^32 walks ago could only confuse a node untouched since then.
    let generation = GENERATION.fetch_add(1, Ordering::Relaxed) as u32;
    let mut w = Walk { order: SmallVec::new(), generation, poisoned: false, claimed: false, bundled: false, largest: 0 };
    let mut stack: SmallVec<[(&NodeRef, &[Input]); 8]> = SmallVec::new();
    let operands = |n: &'a Node| -> &'a [Input] {
        match n.recipe(owner) {
            Recipe::Made(_, inputs) if through == Through::Recipes || n.value.get().is_none() => inputs,
            _ => &[],
        }
    };
    for root in roots {
        if root.visited(generation) {
            continue;
        }
        root.set_number(generation, u32::MAX);
        stack.push((root, operands(root)));
        while let Some((node, rest)) = stack.last_mut() {
            match rest.split_first() {
                Some((first, tail)) => {
                    *rest = tail;
                    if let Input::Node(n) = first
                        && !n.visited(generation)
                    {
                        n.set_number(generation, u32::MAX);
                        stack.push((n, operands(n)));
                    }
                }
                None => {
                    node.set_number(generation, w.order.len() as u32);
                    match node.value.get() {
                        None => w.bundled |= node.bundle.get().is_some(),
                        Some(Ok(v)) => w.largest = w.largest.max(v.storage.bytes()),
                        Some(Err(_)) => w.poisoned = true,
                    }
                    w.claimed |= node.claim() != Claim::Free;
                    w.order.push(node);
                    stack.pop();
                }
            }
        }
    }
    w
}
