//! Functions whose interior reverse mode computes again, and policies for what of it is kept all the same.

use super::custom::{Call, Func, as_region};
use super::tree::Tree;
use crate::base::{DType, Shape};
use crate::tensor::Tensor;
use crate::trace::{Op, Region, RegionKind, Trace, ValueId};
use std::cell::RefCell;
use std::sync::Arc;

/// A value inside a checkpointed function, as a [`Policy`] sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Saveable<'a> {
    /// The op that computes it, by the name that printed programs use: `dot`, `conv`, `exp`, `reduce`...
    pub op: &'static str,
    /// The name [`checkpoint_name`] gave it.
    pub name: Option<&'a str>,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub shape: &'a Shape,
}

/// Which values inside a checkpointed function are kept for reverse mode; the others are computed again when they are needed.
///
/// Less kept means less memory between the two passes and more work in the second. Gradients are the same under every policy, to the bit: only
/// where a policy of your own keeps a product that is otherwise fused with the sum it goes into, that product is rounded once more.
#[derive(Clone)]
pub struct Policy(Arc<dyn Fn(&Saveable<'_>) -> bool + Send + Sync>);

impl Policy {
    /// Keeps nothing but the function's arguments and results: [`checkpoint`].
    pub fn nothing() -> Policy {
        Policy::when(|_| false)
    }

    /// Keeps every value that reverse mode reads, as without a checkpoint. (Views are free, and never kept.)
    pub fn everything() -> Policy {
        Policy::when(|_| true)
    }

    /// Keeps results of matrix products and convolutions, which are dear to compute again, and drops what is cheap.
    pub fn dots() -> Policy {
        Policy::when(|v| matches!(v.op, "dot" | "conv"))
    }

    /// Keeps the values to which [`checkpoint_name`] gave one of these names.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Policy {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Policy::when(move |v| v.name.is_some_and(|n| names.iter().any(|x| x == n)))
    }

    /// Keeps the values for which `keep` says so.
    pub fn when(keep: impl Fn(&Saveable<'_>) -> bool + Send + Sync + 'static) -> Policy {
        Policy(Arc::new(keep))
    }

    /// Keeps what this or `other` keeps.
    pub fn or(self, other: Policy) -> Policy {
        Policy::when(move |v| (self.0)(v) || (other.0)(v))
    }

    /// The values of a body to keep.
    fn choose(&self, body: &Trace, named: &[(String, ValueId)]) -> Vec<ValueId> {
        let saveable = |v: &ValueId| {
            let op = &body[*v].op;
            !op.is_view() && !matches!(op, Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota(_) | Op::Region(_))
        };
        let name = |v: ValueId| named.iter().find(|n| n.1 == v).map(|n| n.0.as_str());
        let keep = |v: &ValueId| {
            let i = &body[*v];
            // What is named was meant to be, even if it is a view.
            (saveable(v) || name(*v).is_some()) && (self.0)(&Saveable { op: i.op.name(), name: name(*v), dtype: i.dtype, shape: &i.shape })
        };
        body.values().filter(keep).collect()
    }
}

/// `f`, whose interior reverse mode does not keep but computes again: less memory for more work. Values and gradients are the same.
///
/// ```
/// use lazuli::prelude::*;
/// let f = checkpoint(|x: &Tensor| x.tanh().exp());
/// let x = Tensor::from_vec(vec![0.5f32], [1]);
/// let a = grad(|x: &Tensor| f(x).sum(..), &x);
/// let b = grad(|x: &Tensor| x.tanh().exp().sum(..), &x);
/// assert_eq!(a.to_vec::<f32>()?, b.to_vec::<f32>()?);
/// # Ok::<(), lazuli::Error>(())
/// ```
pub fn checkpoint<'f, T: Tree, O: Tree>(f: impl Fn(&T) -> O + Send + Sync + 'f) -> Func<'f, T, O> {
    checkpoint_with(Policy::nothing(), f)
}

/// [`checkpoint`] that keeps the values a policy chooses.
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::{checkpoint_name, checkpoint_with, Policy};
/// let w = Tensor::eye(3);
/// let layer = |x: &Tensor| checkpoint_name(&x.matmul(&w), "hidden").tanh().exp();
/// let cheap = checkpoint_with(Policy::dots(), layer);
/// let named = checkpoint_with(Policy::names(["hidden"]), layer);
/// let x = Tensor::ones([2, 3]);
/// let (a, b) = (grad(|x: &Tensor| cheap(x).sum(..), &x), grad(|x: &Tensor| named(x).sum(..), &x));
/// assert_eq!(a.to_vec::<f32>()?, b.to_vec::<f32>()?);
/// # Ok::<(), lazuli::Error>(())
/// ```
pub fn checkpoint_with<'f, T: Tree, O: Tree>(policy: Policy, f: impl Fn(&T) -> O + Send + Sync + 'f) -> Func<'f, T, O> {
    Func(Box::new(move |x: &T| {
        as_region(x, &f, |Call { mut body, named, .. }| {
            let kept = policy.choose(&body.trace, &named);
            body.trace.outputs.extend(&kept);
            Ok((Region { kind: RegionKind::Checkpoint(kept.len() as u32), body: Arc::new(body.trace) }, body.captured))
        })
    }))
}

thread_local! {
    /// The names given in each function that this thread is recording, innermost last.
    static NAMED: RefCell<Vec<Vec<(String, Tensor)>>> = const { RefCell::new(Vec::new()) };
}

/// `x`, under a name by which [`Policy::names`] can keep it inside the innermost [`checkpoint_with`]. Anywhere else it is just `x`.
pub fn checkpoint_name(x: &Tensor, name: &str) -> Tensor {
    NAMED.with_borrow_mut(|n| {
        if let Some(n) = n.last_mut() {
            n.push((name.to_string(), x.clone()));
        }
    });
    x.clone()
}

/// Runs `f`; returns also what it named.
pub(super) fn named<R>(f: impl FnOnce() -> R) -> (R, Vec<(String, Tensor)>) {
    /// Pops this call's entry also when the user's closure panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            // Dropped outside of the borrow: a tensor may take others with it.
            let _names = NAMED.with_borrow_mut(|n| n.pop());
        }
    }
    NAMED.with_borrow_mut(|n| n.push(Vec::new()));
    let _leave = Leave;
    let r = f();
    let names = NAMED.with_borrow_mut(|n| n.last_mut().map(std::mem::take).unwrap_or_default());
    (r, names)
}
