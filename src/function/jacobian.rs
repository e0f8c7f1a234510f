//! Whole matrices of derivatives, by batches of directional ones.

use super::custom::Next;
use super::graph_transform::zeros_of;
use super::tree::{self, Tree};
use super::{grad, jvp, vjp, vmap};
use crate::base::Shape;
use crate::tensor::{Tensor, record};
use std::collections::BTreeMap;
use std::ops::Index;

/// A tree whose tensors may be results of a function from `I` of which a Jacobian is asked: the Jacobian has the structure of the tree,
/// with an `I` in the place of each tensor. So it is a tensor for a function of one tensor with one tensor as its result, and a pair of
/// `I` for one with two. For a struct with `#[derive(Tree)]` it is [`Blocks`], by the paths of its tensors.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known as the result of a function with a Jacobian",
    note = "tensors, tuples, arrays, `Vec`, `Option`, `Box`, maps and structs with `#[derive(Tree)]` are"
)]
pub trait HasJacobian<I: Tree>: Tree {
    /// The structure of the tree, with an `I` in the place of each tensor.
    type Jacobian;
    /// Puts the derivatives of the tensors, which come in the order of the leaves, in their places.
    fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> Self::Jacobian;
}

impl<I: Tree> HasJacobian<I> for Tensor {
    type Jacobian = I;
    fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> I {
        next(self)
    }
}

impl<I: Tree, T: HasJacobian<I>> HasJacobian<I> for Box<T> {
    type Jacobian = T::Jacobian;
    fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> T::Jacobian {
        (**self).jacobian(next)
    }
}

impl<I: Tree, T: HasJacobian<I>> HasJacobian<I> for Option<T> {
    type Jacobian = Option<T::Jacobian>;
    fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> Self::Jacobian {
        self.as_ref().map(|x| x.jacobian(next))
    }
}

impl<I: Tree, T: HasJacobian<I>> HasJacobian<I> for Vec<T> {
    type Jacobian = Vec<T::Jacobian>;
    fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> Self::Jacobian {
        self.iter().map(|x| x.jacobian(next)).collect()
    }
}

impl<I: Tree, T: HasJacobian<I>, const N: usize> HasJacobian<I> for [T; N] {
    type Jacobian = [T::Jacobian; N];
    fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> Self::Jacobian {
        std::array::from_fn(|i| self[i].jacobian(next))
    }
}

impl<I: Tree, T: HasJacobian<I>> HasJacobian<I> for BTreeMap<String, T> {
    type Jacobian = BTreeMap<String, T::Jacobian>;
    fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> Self::Jacobian {
        self.iter().map(|(k, x)| (k.clone(), x.jacobian(next))).collect()
    }
}

macro_rules! tuples {
    ($(($($t:ident $n:tt),+);)*) => {$(
        impl<I: Tree, $($t: HasJacobian<I>),+> HasJacobian<I> for ($($t,)+) {
            type Jacobian = ($($t::Jacobian,)+);
            fn jacobian(&self, next: &mut dyn FnMut(&Tensor) -> I) -> Self::Jacobian {
                ($(self.$n.jacobian(next),)+)
            }
        }
    )*};
}
tree::for_tuples!(tuples);

/// The Jacobian of a function whose result is a struct: the derivatives of each of its tensors, by path.
///
/// ```
/// use lazuli::prelude::*;
/// #[derive(Tree, Clone)]
/// struct Body { position: Tensor, velocity: Tensor }
/// let b = Body { position: Tensor::zeros([2]), velocity: Tensor::ones([2]) };
/// let j = jacfwd(|b: &Body| Body { position: &b.position + &b.velocity * 0.5, velocity: b.velocity.clone() }, &b);
/// assert_eq!(j["position"].velocity.to_vec::<f32>()?, [0.5, 0.0, 0.0, 0.5]);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Blocks<I>(Vec<(String, I)>);

impl<I: Tree> Blocks<I> {
    /// For each tensor of a tree, what `next` gives for it. The derive macro calls it.
    pub fn of<T: Tree>(tree: &T, next: &mut dyn FnMut(&Tensor) -> I) -> Blocks<I> {
        Blocks(tree::named_leaves(tree).into_iter().map(|(name, t)| (name, next(&t))).collect())
    }

    /// The derivatives of the tensor at that path.
    pub fn get(&self, path: &str) -> Option<&I> {
        self.0.iter().find(|b| b.0 == path).map(|b| &b.1)
    }

    /// Paths and derivatives, in the order of the tensors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &I)> {
        self.0.iter().map(|(n, i)| (n.as_str(), i))
    }
}

impl<I: Tree> Index<&str> for Blocks<I> {
    type Output = I;
    fn index(&self, path: &str) -> &I {
        match self.get(path) {
            Some(i) => i,
            None => panic!("no tensor of the result is at `{path}`; there is {:?}", self.0.iter().map(|b| &b.0).collect::<Vec<_>>()),
        }
    }
}

/// The unit vectors of the space of `like`: `[n, like..]` for its `n` elements.
#[track_caller]
fn basis(like: &Tensor) -> Tensor {
    let n = like.numel();
    Tensor::eye(n).cast(like.dtype()).reshape_shape(&joined([n], like))
}

fn joined(front: impl IntoIterator<Item = usize>, back: &Tensor) -> Shape {
    front.into_iter().chain(back.shape().iter().copied()).collect()
}

/// The tensors of a tree, and which of them are differentiated.
fn active<T: Tree>(tree: &T) -> Vec<(Tensor, bool)> {
    let all = tree::leaves(tree).into_iter().zip(tree::frozen(tree));
    all.map(|(t, frozen)| (t.clone(), !frozen && t.dtype().is_float())).collect()
}

/// The leaves of a tree as zeros, but for one.
fn one_of(leaves: &[(Tensor, bool)], i: usize, t: &Tensor) -> impl Iterator<Item = Tensor> {
    leaves.iter().enumerate().map(move |(k, (l, _))| if k == i { t.clone() } else { zeros_of(l) })
}

/// A tree shaped like `x` of blocks `[y.., x_i..]`: what `block` gives for the number of the leaf, zeros where that is nothing.
fn blocks<T: Tree>(x: &T, y: &Tensor, mut block: impl FnMut(usize) -> Option<Tensor>) -> T {
    let mut i = 0;
    tree::map_tensors(x, |l, _| {
        i += 1;
        let shape = joined(y.shape().iter().copied(), l);
        match block(i - 1) {
            Some(b) => b.reshape_shape(&shape),
            None => Tensor::zeros(shape).cast(l.dtype()),
        }
    })
}

/// The Jacobian of `f` at `x`, row by row in reverse mode: for each tensor y of the result the derivatives with respect to each tensor of
/// `x`, of shape `[y.., x..]`, nested as [`HasJacobian`] says. For functions with fewer results than arguments. What is not differentiated has
/// zeros.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0, 3.0], [3]);
/// let j = jacrev(|x: &Tensor| Tensor::stack(&[&x.sum(..), &(x * x).sum(..)], 0), &x);
/// assert_eq!(j.to_vec::<f32>()?, [1.0, 1.0, 1.0, 2.0, 4.0, 6.0]);
///
/// // Two arguments, two results.
/// let f = |(a, b): &(Tensor, Tensor)| (a * b, b.sum(..));
/// let ((da, db), (sa, sb)) = jacrev(f, &(x.clone(), x));
/// assert_eq!(da.to_vec::<f32>()?, [1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0]);
/// assert_eq!((db.shape().to_vec(), sa.to_vec::<f32>()?, sb.to_vec::<f32>()?), (vec![3, 3], vec![0.0; 3], vec![1.0; 3]));
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If `f` cannot be differentiated.
#[track_caller]
pub fn jacrev<T: Tree + Clone + Send + Sync, O: HasJacobian<T> + Send + Sync>(f: impl Fn(&T) -> O + Send + Sync, x: &T) -> O::Jacobian {
    let (y, pull) = vjp(f, x);
    let outs = active(&y);
    let wrt = active(x);
    let rows: Vec<Option<Vec<Tensor>>> = outs
        .iter()
        .enumerate()
        .map(|(k, (o, _))| {
            o.dtype().is_float().then(|| {
                let along = |v: &Tensor| pull(&y.map(&mut Next(one_of(&outs, k, v))));
                tree::leaves(&vmap(along, 0)(&basis(o)))
            })
        })
        .collect();
    let mut k = 0;
    y.jacobian(&mut |o| {
        k += 1;
        blocks(x, o, |i| rows[k - 1].as_ref().filter(|_| wrt[i].1).map(|r| r[i].clone()))
    })
}

/// The Jacobian of `f` at `x`, column by column in forward mode: as [`jacrev`]. For functions with fewer arguments than results.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![2f32], [1]);
/// let j = jacfwd(|x: &Tensor| Tensor::cat(&[x, &(x * x), &(x * x * x)], 0), &x);
/// assert_eq!((j.shape().to_vec(), j.to_vec::<f32>()?), (vec![3, 1], vec![1.0, 4.0, 12.0]));
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// As [`jacrev`]; also if an op on the way has no forward derivative.
#[track_caller]
pub fn jacfwd<T: Tree + Send + Sync, O: HasJacobian<T>>(f: impl Fn(&T) -> O + Send + Sync, x: &T) -> O::Jacobian {
    let wrt = active(x);
    let y = record::in_transform(|| f(x));
    // For each leaf of the argument, the tangents of all results, examples in front.
    let columns: Vec<Option<Vec<Tensor>>> = wrt
        .iter()
        .enumerate()
        .map(|(i, (l, active))| {
            active.then(|| {
                let along = |v: &Tensor| jvp(&f, x, &x.map(&mut Next(one_of(&wrt, i, v)))).1;
                tree::leaves(&vmap(along, 0)(&basis(l)))
            })
        })
        .collect();
    let mut k = 0;
    y.jacobian(&mut |o| {
        k += 1;
        blocks(x, o, |i| {
            let c = columns[i].as_ref().filter(|_| o.dtype().is_float())?;
            let last: Vec<isize> = (1..c[k - 1].rank() as isize).chain([0]).collect();
            Some(c[k - 1].permute(last))
        })
    })
}

/// The second derivatives of a function with one float as its result: for each two tensors a and b of the argument a block of shape
/// `[a.., b..]`, nested as [`HasJacobian`] says of the gradient. Forward over reverse.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0], [2]);
/// let h = hessian(|x: &Tensor| (x * x * x).sum(..), &x);
/// assert_eq!(h.to_vec::<f32>()?, [6.0, 0.0, 0.0, 12.0]);
///
/// let f = |(a, b): &(Tensor, Tensor)| (a * a * b).sum(..);
/// let ((_, ab), (ba, _)) = hessian(f, &(x.clone(), x));
/// assert_eq!((ab.to_vec::<f32>()?, ba.to_vec::<f32>()?), (vec![2.0, 0.0, 0.0, 4.0], vec![2.0, 0.0, 0.0, 4.0]));
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// As [`jacfwd`], and as [`grad`] if the result is not a single float.
#[track_caller]
pub fn hessian<T: HasJacobian<T> + Send + Sync>(f: impl Fn(&T) -> Tensor + Send + Sync, x: &T) -> <T as HasJacobian<T>>::Jacobian {
    jacfwd(|x: &T| grad(&f, x), x)
}

/// The Hessian of `f` at `x` times `v`, which is a tree of the same shapes, without forming it.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0], [2]);
/// let hv = hvp(|x: &Tensor| (x * x * x).sum(..), &x, &Tensor::ones([2]));
/// assert_eq!(hv.to_vec::<f32>()?, [6.0, 12.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// As [`hessian`], or if the shapes differ.
#[track_caller]
pub fn hvp<T: Tree>(f: impl Fn(&T) -> Tensor, x: &T, v: &T) -> T {
    jvp(|x: &T| grad(&f, x), x, v).1
}
