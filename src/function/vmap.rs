//! Functions of one example applied to many at once.

use super::checkpoint::{checkpoint_name, named as naming};
use super::custom::{Func, Next};
use super::graph_transform::{Captured, tie};
use super::tree::{self, Leaf, Tree, TreeVisitor};
use crate::base::error::{Error, bail, err, slip};
use crate::base::{Axis, Result, Site};
use crate::tensor::{Tensor, draws, record};
use crate::trace::ValueId;
use crate::transform::{self, move_axis, stacked};
use std::panic::Location;

/// Which axis of each tensor of a tree counts the examples; `None`: the tensor has no such axis, all examples share it.
///
/// One entry stands for a whole tree: `0`, `-1`, `None`. A tuple, array or `Vec` of entries goes to the parts of a tree in order (of a
/// tuple, `Vec`, map, or struct), and may nest: `(0, None)`, `((0, 1), None)`. Negative axes count from the end.
#[derive(Clone, Debug)]
pub struct BatchAxes(Entry);

#[derive(Clone, Debug)]
enum Entry {
    All(Option<Axis>),
    Parts(Vec<Entry>),
}

impl From<Axis> for BatchAxes {
    fn from(axis: Axis) -> BatchAxes {
        BatchAxes(Entry::All(Some(axis)))
    }
}
impl From<Option<isize>> for BatchAxes {
    fn from(axis: Option<isize>) -> BatchAxes {
        BatchAxes(Entry::All(axis.map(Axis)))
    }
}
macro_rules! from_numbers {
    ($($t:ty),*) => {$(
        impl From<$t> for BatchAxes {
            fn from(axis: $t) -> BatchAxes {
                Axis::from(axis).into()
            }
        }
    )*};
}
from_numbers!(isize, usize, i32);
impl<A: Into<BatchAxes>, const N: usize> From<[A; N]> for BatchAxes {
    fn from(parts: [A; N]) -> BatchAxes {
        BatchAxes(Entry::Parts(parts.into_iter().map(|p| p.into().0).collect()))
    }
}
impl<A: Into<BatchAxes>> From<Vec<A>> for BatchAxes {
    fn from(parts: Vec<A>) -> BatchAxes {
        BatchAxes(Entry::Parts(parts.into_iter().map(|p| p.into().0).collect()))
    }
}
macro_rules! from_tuples {
    ($(($($t:ident $n:tt),+);)*) => {$(
        impl<$($t: Into<BatchAxes>),+> From<($($t,)+)> for BatchAxes {
            fn from(parts: ($($t,)+)) -> BatchAxes {
                BatchAxes(Entry::Parts(vec![$(parts.$n.into().0),+]))
            }
        }
    )*};
}
tree::for_tuples!(from_tuples);

/// `f`, a function of one example, as a function of many: it is recorded once, and every op becomes one over all examples. So a batch of
/// matrix products is one product, and gradients of single examples need no loop.
///
/// `in_axes` says which axis of each tensor of the argument counts the examples (see [`BatchAxes`]); `f` sees the tensors without it. The
/// results have it in front; [`vmap_with`] puts it elsewhere. What `f` takes from outside is shared by all examples; random numbers it draws
/// are each example's own. Works inside and around every other transform, and itself.
///
/// ```
/// use lazuli::prelude::*;
/// // Gradients of single examples.
/// let w = Tensor::from_vec(vec![1f32, -1.0], [2]);
/// let x = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2]);
/// let y = Tensor::from_vec(vec![0f32, 1.0, 2.0], [3]);
/// let loss = |w: &Tensor, x: &Tensor, y: &Tensor| ((w * x).sum(..) - y).square();
/// let each = vmap(|(x, y): &(Tensor, Tensor)| grad(|w: &Tensor| loss(w, x, y), &w), 0);
/// assert_eq!(each(&(x, y)).to_vec::<f32>()?, [-2.0, -4.0, -12.0, -16.0, -30.0, -36.0]);
///
/// // All distances between two sets of points: one axis from each.
/// let a = Tensor::from_vec(vec![0f32, 0.0, 3.0, 4.0], [2, 2]);
/// let distance = |(p, q): &(Tensor, Tensor)| (p - q).square().sum(..).sqrt();
/// let row = vmap(distance, (None, 0));
/// let all = vmap(|x: &(Tensor, Tensor)| row(x), (0, None));
/// assert_eq!(all(&(a.clone(), a)).to_vec::<f32>()?, [0.0, 5.0, 5.0, 0.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// The function returned panics if no tensor has a batch axis, one lacks the axis it should have, or their numbers of examples differ.
#[track_caller]
pub fn vmap<'f, T: Tree, O: Tree>(f: impl Fn(&T) -> O + Send + Sync + 'f, in_axes: impl Into<BatchAxes>) -> Func<'f, T, O> {
    vmap_with(f, in_axes, 0)
}

/// [`vmap`] that puts the examples of each tensor of the result along an axis of choice; negative ones count from the end of the batched
/// result. `None` is for results that are the same for all examples, which then get no such axis.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]);
/// // Columns in, columns out.
/// let f = vmap_with(|c: &Tensor| c / c.sum(..), 1, 1);
/// assert_eq!(f(&x).slice(s![.., 0]).to_vec::<f32>()?, [0.2, 0.8]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// As [`vmap`], or if a result lacks the axis, or is to have none but depends on the example.
#[track_caller]
pub fn vmap_with<'f, T: Tree, O: Tree>(
    f: impl Fn(&T) -> O + Send + Sync + 'f,
    in_axes: impl Into<BatchAxes>,
    out_axes: impl Into<BatchAxes>,
) -> Func<'f, T, O> {
    let site = Location::caller();
    let (in_axes, out_axes) = (in_axes.into(), out_axes.into());
    Func(Box::new(move |x: &T| {
        let leaves = tree::named_leaves(x);
        // A poisoned argument has no shape to speak of; it was reported where it came about.
        let plan = match leaves.iter().find_map(|(_, t)| t.0.poison()) {
            Some(e) => Err(e.clone()),
            None => plan(&in_axes, x, &leaves).map_err(|e| report(e, site)),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(e) => {
                // Inside `catch`: some result has to be there, and only `f` knows of what structure.
                let y = record::in_transform(|| f(x));
                return y.map(&mut Next(std::iter::repeat(Tensor::poison_quietly(e, site))));
            }
        };
        let stand: Vec<Tensor> = leaves.iter().zip(&plan.axes).map(|((_, t), axis)| stand_in(t, *axis)).collect();
        let run = || draws::per_example(plan.size, || record::in_transform(|| f(&x.map(&mut Next(stand.iter().cloned())))));
        let ((y, drawn), names) = naming(run);
        let outs = tree::named_leaves(&y);
        let made = match outs.iter().find_map(|(_, t)| t.0.poison()) {
            Some(e) => Err(e.clone()),
            None => batch(&plan, &leaves, &stand, (&drawn, &names), (&out_axes, &y, &outs), site).map_err(|e| report(e, site)),
        };
        match made {
            Ok(new) => {
                tie(new.iter());
                y.map(&mut Next(new.into_iter()))
            }
            Err(e) => y.map(&mut Next(std::iter::repeat(Tensor::poison_quietly(e, site)))),
        }
    }))
}

/// Reports a slip of this call.
fn report(e: Error, site: Site) -> Error {
    let e = e.at(site);
    slip(&e);
    e
}

/// What is mapped over.
struct Plan {
    size: usize,
    /// Of each leaf of the argument.
    axes: Vec<Option<usize>>,
}

/// What the function sees of a leaf: one example of it.
fn stand_in(t: &Tensor, axis: Option<usize>) -> Tensor {
    match axis {
        Some(a) => Tensor::placeholder(t.dtype(), t.shape().without(&[a]), t.0.device),
        None => t.clone(),
    }
}

fn plan<T: Tree>(in_axes: &BatchAxes, x: &T, leaves: &[(String, Tensor)]) -> Result<Plan> {
    let given = entries(&in_axes.0, x, "in_axes")?;
    let mut axes = Vec::with_capacity(leaves.len());
    // The first leaf with a batch axis; all others must agree with it.
    let mut first: Option<(usize, usize)> = None;
    for (i, ((name, t), axis)) in leaves.iter().zip(given).enumerate() {
        let Some(axis) = axis else {
            axes.push(None);
            continue;
        };
        if t.rank() == 0 {
            bail!(
                Index,
                "vmap: {} is {} [], which has no axis {} to map over: give it the axis None to share it",
                named(name),
                t.dtype(),
                axis.0
            );
        }
        let a =
            axis.resolve(t.rank(), "vmap").map_err(|e| err!(Index, "{}: {} is {} {}", e.message(), named(name), t.dtype(), t.shape()))?;
        let size = t.shape()[a];
        match first {
            None => first = Some((i, a)),
            Some((j, b)) if leaves[j].1.shape()[b] != size => {
                let (other, u) = &leaves[j];
                bail!(
                    Shape,
                    "vmap: {} ({} {}) has {} examples along axis {b}, but {} ({} {}) has {size} along axis {a}",
                    named(other),
                    u.dtype(),
                    u.shape(),
                    u.shape()[b],
                    named(name),
                    t.dtype(),
                    t.shape()
                );
            }
            _ => {}
        }
        axes.push(Some(a));
    }
    match first {
        Some((i, a)) => Ok(Plan { size: leaves[i].1.shape()[a], axes }),
        None => bail!(Argument, "vmap: no tensor of the argument has a batch axis, so there is nothing to map over"),
    }
}

/// Records the batched results.
fn batch<O: Tree>(
    plan: &Plan,
    leaves: &[(String, Tensor)],
    stand: &[Tensor],
    (drawn, names): (&[Tensor], &[(String, Tensor)]),
    (out_axes, y, outs): (&BatchAxes, &O, &[(String, Tensor)]),
    site: Site,
) -> Result<Vec<Tensor>> {
    let out_axes = entries(&out_axes.0, y, "out_axes")?;
    let roots: Vec<Tensor> = outs.iter().map(|(_, t)| t.clone()).collect();
    let mut c = Captured::with_flushed(&roots, stand)?;
    let mut seeds = Vec::new();
    for ((v, axis), (_, t)) in c.values_of(stand).into_iter().zip(&plan.axes).zip(leaves) {
        if let (Some(v), Some(axis)) = (v, *axis) {
            let whole = c.add_input(t);
            seeds.push((v, move_axis(&mut c.trace, whole, axis, 0)));
        }
    }
    let draws: Vec<ValueId> = c.values_of(drawn).into_iter().flatten().collect();
    let tensors: Vec<Tensor> = names.iter().map(|n| n.1.clone()).collect();
    let (names, inner): (Vec<&str>, Vec<ValueId>) =
        names.iter().zip(c.values_of(&tensors)).filter_map(|(n, v)| v.map(|v| (n.0.as_str(), v))).unzip();
    let of: Vec<ValueId> = c.trace.outputs.iter().chain(&draws).chain(&inner).copied().collect();
    let found = transform::vmap(&mut c.trace, plan.size, &seeds, &draws, &of)?;
    let (results, rest) = found.split_at(roots.len());
    let mut values = Vec::with_capacity(of.len());
    for ((l, axis), (name, t)) in results.iter().zip(out_axes).zip(outs) {
        let Some(axis) = axis else {
            if l.batched {
                bail!(
                    Argument,
                    "vmap: {} of the result ({} {}) depends on the example, so its out axis cannot be None",
                    named(name),
                    t.dtype(),
                    t.shape()
                );
            }
            values.push(l.value);
            continue;
        };
        let to = axis.resolve(t.rank() + 1, "vmap: out axis").map_err(|e| {
            err!(Index, "{}: {} of the result is {} {} for each of {} examples", e.message(), named(name), t.dtype(), t.shape(), plan.size)
        })?;
        let full = if l.batched { l.value } else { c.trace.broadcast(l.value, &stacked(plan.size, t.shape())) };
        values.push(move_axis(&mut c.trace, full, 0, to));
    }
    let count = values.len();
    values.extend(rest.iter().map(|l| l.value));
    let mut tensors = c.record(&values, site);
    // To a function around this one the draws of all examples are one draw.
    let mut rest = tensors.split_off(count);
    for (t, name) in rest.split_off(draws.len()).iter().zip(names) {
        checkpoint_name(t, name);
    }
    rest.iter().chain(drawn).for_each(draws::note);
    Ok(tensors)
}

/// How a message calls a leaf.
fn named(path: &str) -> String {
    if path.is_empty() { "the tensor".to_string() } else { format!("tensor `{path}`") }
}

/// The entry of every tensor of a tree, in order.
fn entries<T: Tree>(axes: &Entry, tree: &T, what: &'static str) -> Result<Vec<Option<Axis>>> {
    struct Walk<'a> {
        what: &'static str,
        /// The entries around the place of the visit, and how many parts of each were seen.
        stack: Vec<(&'a Entry, usize)>,
        path: Vec<String>,
        out: Vec<Option<Axis>>,
        error: Option<Error>,
    }
    impl Walk<'_> {
        fn place(&self) -> String {
            if self.path.is_empty() { "the tree".to_string() } else { format!("`{}`", self.path.join(".")) }
        }

        fn fail(&mut self, e: Error) {
            self.error.get_or_insert(e);
        }

        /// Checks that every entry found a part.
        fn close(&mut self) {
            if let Some((Entry::Parts(p), seen)) = self.stack.pop()
                && p.len() != seen
            {
                let e = err!(Argument, "vmap: {} has {} entries for {}, which has {seen} parts", self.what, p.len(), self.place());
                self.fail(e);
            }
        }
    }
    impl TreeVisitor for Walk<'_> {
        fn leaf(&mut self, leaf: Leaf<'_>) {
            if matches!(leaf, Leaf::Static(_)) {
                return;
            }
            let axis = match self.stack.last() {
                Some((Entry::All(axis), _)) => *axis,
                Some((Entry::Parts(p), _)) => {
                    let e = err!(Argument, "vmap: {} has {} entries for {}, which is one tensor", self.what, p.len(), self.place());
                    self.fail(e);
                    None
                }
                None => None,
            };
            self.out.push(axis);
        }
        fn enter(&mut self, name: &str) {
            let next = match self.stack.last_mut() {
                Some((Entry::Parts(p), seen)) => {
                    *seen += 1;
                    // One too many is reported when they have been counted.
                    p.get(*seen - 1).unwrap_or(&Entry::All(None))
                }
                Some((all, _)) => *all,
                None => &Entry::All(None),
            };
            self.stack.push((next, 0));
            self.path.push(name.to_string());
        }
        fn leave(&mut self) {
            self.close();
            self.path.pop();
        }
    }
    let mut w = Walk { what, stack: vec![(axes, 0)], path: Vec::new(), out: Vec::new(), error: None };
    tree.visit(&mut w);
    w.close();
    match w.error {
        Some(e) => Err(e),
        None => Ok(w.out),
    }
}
