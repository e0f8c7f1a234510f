//! Whole matrices of derivatives, by a batch of directional ones.

use super::{grad, jvp, vjp, vmap};
use crate::tensor::Tensor;

/// The unit vectors of the space of `like`: `[n, like..]` for its `n` elements.
#[track_caller]
fn basis(like: &Tensor) -> Tensor {
    let n = like.numel();
    let shape: Vec<usize> = std::iter::once(n).chain(like.shape().iter().copied()).collect();
    Tensor::eye(n).cast(like.dtype()).reshape_shape(&shape.into())
}

/// The Jacobian of `f` at `x`, row by row in reverse mode: shape `[y.., x..]`. For functions with fewer results than arguments.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0, 3.0], [3]);
/// let j = jacrev(|x: &Tensor| Tensor::stack(&[&x.sum(..), &(x * x).sum(..)], 0), &x);
/// assert_eq!(j.to_vec::<f32>()?, [1.0, 1.0, 1.0, 2.0, 4.0, 6.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If `f` cannot be differentiated or its result is no float.
#[track_caller]
pub fn jacrev(f: impl Fn(&Tensor) -> Tensor + Send + Sync, x: &Tensor) -> Tensor {
    let (y, pull) = vjp(f, x);
    let rows = vmap(|v: &Tensor| pull(v), 0)(&basis(&y));
    let shape: Vec<usize> = y.shape().iter().chain(x.shape().iter()).copied().collect();
    rows.reshape_shape(&shape.into())
}

/// The Jacobian of `f` at `x`, column by column in forward mode: shape `[y.., x..]`. For functions with fewer arguments than results.
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
pub fn jacfwd(f: impl Fn(&Tensor) -> Tensor + Send + Sync, x: &Tensor) -> Tensor {
    let columns = vmap(|v: &Tensor| jvp(&f, x, v).1, 0)(&basis(x));
    let rank = columns.rank();
    let last: Vec<isize> = (1..rank as isize).chain([0]).collect();
    let shape: Vec<usize> = columns.shape().iter().skip(1).chain(x.shape().iter()).copied().collect();
    columns.permute(last).reshape_shape(&shape.into())
}

/// The second derivatives of a function with one float as its result: shape `[x.., x..]`. Forward over reverse.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0], [2]);
/// let h = hessian(|x: &Tensor| (x * x * x).sum(..), &x);
/// assert_eq!(h.to_vec::<f32>()?, [6.0, 0.0, 0.0, 12.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// As [`jacfwd`], and as [`grad`] if the result is not a single float.
#[track_caller]
pub fn hessian(f: impl Fn(&Tensor) -> Tensor + Send + Sync, x: &Tensor) -> Tensor {
    jacfwd(|x: &Tensor| grad(&f, x), x)
}

/// The Hessian of `f` at `x` times `v`, which has the shape of `x`, without forming it.
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
pub fn hvp(f: impl Fn(&Tensor) -> Tensor, x: &Tensor, v: &Tensor) -> Tensor {
    jvp(|x: &Tensor| grad(&f, x), x, v).1
}
