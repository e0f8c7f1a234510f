//! Decompositions of small matrices in the last two axes, with their derivatives: Cholesky, triangular solve, QR, inverse, determinant, solve.
//!
//! Written against the public API. Each runs as one loop in the trace ([`fori_loop`](crate::fori_loop)) over the columns of the whole batch, so
//! it costs the same to compile whatever the size; an iteration touches the whole matrix, which suits matrices of up to a few
//! hundred rows. Derivatives are the closed forms and reuse the result (see `implicit`).
//!
//! Invariant: errors that depend on values cannot be raised in a trace. Where PyTorch raises one, the result has NaN or
//! infinities, as each function says.

mod elimination;
mod factors;
mod implicit;

use crate::base::error::{Result, bail};
use crate::{DType, Tensor};

/// Checks dtype and rank of an operand.
fn matrix(op: &str, a: &Tensor) -> Result<()> {
    if !matches!(a.dtype(), DType::F32 | DType::F64) {
        bail!(DType, "{op}: {} {} : takes f32 and f64 (cast first)", a.dtype(), a.shape());
    }
    if a.rank() < 2 {
        bail!(Shape, "{op}: shape {} is no matrix or batch of matrices", a.shape());
    }
    Ok(())
}

/// As `matrix`, and square; returns the side.
fn square(op: &str, a: &Tensor) -> Result<usize> {
    matrix(op, a)?;
    let (m, n) = sides(a);
    if m != n {
        bail!(Shape, "{op}: the matrices of shape {} are not square", a.shape());
    }
    Ok(n)
}

/// Rows and columns.
fn sides(a: &Tensor) -> (usize, usize) {
    let r = a.rank();
    (a.shape()[r - 2], a.shape()[r - 1])
}

/// The shape of a batch of `m` by `n` matrices with the batch axes of `a`.
fn batch_of(a: &Tensor, m: usize, n: usize) -> Vec<usize> {
    a.shape()[..a.rank() - 2].iter().copied().chain([m, n]).collect()
}

/// Identities in the batch shape of `a`, in its dtype.
fn eye_like(a: &Tensor, n: usize) -> Tensor {
    Tensor::eye(n).cast(a.dtype()).broadcast_to(batch_of(a, n, n))
}

/// Checks that two operands have one dtype.
fn same_dtype(op: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dtype() != b.dtype() {
        bail!(DType, "{op}: {} {} and {} {}: dtypes differ (cast one)", a.dtype(), a.shape(), b.dtype(), b.shape());
    }
    Ok(())
}

/// Two batches of matrices with their batch axes broadcast together.
fn broadcast_batches(op: &str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let lead = |t: &Tensor| crate::Shape::new(&t.shape()[..t.rank() - 2]);
    let Ok(batch) = lead(a).broadcast(&lead(b)) else {
        bail!(Shape, "{op}: batch axes of shapes {} and {} do not broadcast together", a.shape(), b.shape())
    };
    let wide = |t: &Tensor| {
        let (m, n) = sides(t);
        t.broadcast_to(batch.iter().copied().chain([m, n]).collect::<Vec<_>>())
    };
    Ok((wide(a), wide(b)))
}
