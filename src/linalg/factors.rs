//! Factorisations: `cholesky` and `qr`.

use super::elimination::lower_inverse;
use super::implicit::implicit;
use super::{eye_like, matrix, sides, square};
use crate::tensor::Lit;
use crate::tensor::compose::{or_poison, pass_poison};
use crate::{DType, Tensor, fori_loop};

/// Indices along the rows (-2) or columns (-1).
fn index(a: &Tensor, axis: isize) -> Tensor {
    Tensor::iota(a.shape(), axis, DType::I64)
}

/// Column `k`, `[.., m, 1]`.
fn column(a: &Tensor, k: &Tensor) -> Tensor {
    Tensor::where_(&index(a, -1).eq(k), a, a.zeros_like()).sum_keepdim(-1)
}

/// The lower triangle with half of the diagonal.
fn phi(a: &Tensor) -> Tensor {
    (a.tril(0) + a.tril(-1)) * Lit(0.5)
}

/// L with L L^T = `a`, reading the lower triangle: a column is finished, and its outer product taken off what is left.
fn cholesky_columns(a: &Tensor) -> Tensor {
    let n = sides(a).0;
    let (_, l) = fori_loop(0..n, (a.tril(0), a.zeros_like()), |k, (rest, l)| {
        let c = column(&rest, k);
        let row = index(&c, -2);
        let top = Tensor::where_(&row.eq(k), &c, c.zeros_like()).sum_keepdim(-2);
        let c = Tensor::where_(&row.ge(k), &c / top.sqrt(), c.zeros_like());
        let next = rest - &c * c.mt();
        (next, Tensor::where_(&index(&l, -1).eq(k), &c, &l))
    });
    l
}

/// Q `[.., m, m]` and R `[.., m, n]` by Householder's reflections, with LAPACK's signs.
fn householder(a: &Tensor) -> (Tensor, Tensor) {
    let (m, n) = sides(a);
    fori_loop(0..m.min(n), (eye_like(a, m), a.clone()), |k, (q, r)| {
        let c = column(&r, k);
        let row = index(&c, -2);
        let pick = |mask: Tensor| Tensor::where_(&mask, &c, c.zeros_like());
        let alpha = pick(row.eq(k)).sum_keepdim(-2);
        let tail = pick(row.gt(k));
        let tail2 = tail.square().sum_keepdim(-2);
        let reflects = tail2.gt(Lit(0.0));
        // Away from the diagonal element, so that nothing cancels.
        let norm = (alpha.square() + &tail2).sqrt();
        let beta = Tensor::where_(&alpha.ge(Lit(0.0)), -&norm, &norm);
        let first = &alpha - &beta;
        let v = Tensor::where_(&row.eq(k), &first, &tail);
        let weight = Tensor::where_(&reflects, (first.square() + &tail2).reciprocal() * Lit(2.0), tail2.zeros_like());
        let down = (&v * &r).sum_keepdim(-2) * &weight;
        let across = (&q * v.mt()).sum_keepdim(-1) * weight;
        (q - across * v.mt(), r - v * down)
    })
}

impl Tensor {
    /// The lower triangular L with `L @ L.mt() = self` of the symmetric positive definite matrices in the last two axes (or with `upper`
    /// its transpose), as `torch.linalg.cholesky`. Only the lower triangle is read. F32 and F64.
    ///
    /// A matrix that is not positive definite gives NaN (PyTorch raises an error).
    ///
    /// ```
    /// use lazuli::prelude::*;
    /// let l = tensor![[4., 2.], [2., 10.]].cholesky(false);
    /// assert_eq!(l.to_vec::<f32>()?, [2.0, 0.0, 1.0, 3.0]);
    /// # Ok::<(), lazuli::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the matrices are not square, or of another dtype.
    #[track_caller]
    pub fn cholesky(&self, upper: bool) -> Tensor {
        let _here = self.device().enter();
        pass_poison!(self);
        or_poison!(square("cholesky", self));
        if self.numel() == 0 {
            return self.clone();
        }
        let _on = self.device().enter();
        let l = implicit(self.clone(), cholesky_columns, |_, l, da| {
            let inverse = lower_inverse(l);
            let symmetric = (da + da.mt()) * Lit(0.5);
            l.matmul(&phi(&inverse.matmul(&symmetric).matmul(&inverse.mt())))
        });
        if upper { l.mt() } else { l }
    }

    /// Q with orthonormal columns and R upper triangular with `Q @ R = self`, for the matrices in the last two axes, as `torch.linalg.qr`,
    /// reduced: of `[.., m, n]` Q is `[.., m, k]` and R `[.., k, n]` with `k = min(m, n)`. F32 and F64.
    ///
    /// The derivative needs the first `k` columns to be linearly independent; else it is NaN or infinite.
    ///
    /// # Panics
    /// If there are fewer than two axes, or for another dtype.
    #[track_caller]
    pub fn qr(&self) -> (Tensor, Tensor) {
        let _here = self.device().enter();
        let poisoned = |t: Tensor| (t.clone(), t);
        if self.0.poison().is_some() {
            return poisoned(self.clone());
        }
        if let Err(e) = matrix("qr", self) {
            return poisoned(Tensor::poisoned(e));
        }
        let (m, n) = sides(self);
        let _on = self.device().enter();
        if self.numel() == 0 {
            let k = m.min(n);
            return (self.narrow(-1, 0, k), self.narrow(-2, 0, k));
        }
        if m < n {
            // The first m columns decide; the others are seen in their axes.
            let (q, r) = self.narrow(-1, 0, m).qr();
            let rest = q.mt().matmul(&self.narrow(-1, m as isize, n - m));
            return (q, Tensor::cat(&[r, rest], -1));
        }
        let run = |a: &Tensor| {
            let (q, r) = householder(a);
            (q.narrow(-1, 0, n), r.narrow(-2, 0, n).triu(0))
        };
        implicit(self.clone(), run, |_, (q, r), da| {
            // da r^-1, then its part in the span of q, split into a rotation and an upper triangle.
            let x = da.matmul(&lower_inverse(&r.mt()).mt());
            let inside = q.mt().matmul(&x);
            let lower = inside.tril(-1);
            let turn = &lower - lower.mt();
            (q.matmul(&(&turn - &inside)) + &x, (inside - turn).matmul(r))
        })
    }
}
