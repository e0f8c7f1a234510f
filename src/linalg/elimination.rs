//! Gauss-Jordan elimination with partial pivoting: `inverse`, `solve`, `det`, `slogdet`.

use super::implicit::implicit;
use super::{batch_of, broadcast_batches, eye_like, same_dtype, sides, square};
use crate::tensor::Lit;
use crate::tensor::compose::{or_poison, pass_poison, slip_now};
use crate::{DType, Tensor, fori_loop};

/// Where the index along the rows (or columns) of `a` equals `k`.
fn at(a: &Tensor, axis: isize, k: &Tensor) -> Tensor {
    Tensor::iota(a.shape(), axis, DType::I64).eq(k)
}

/// Row `pivot` of each matrix moved to row `k` and back, `[.., 1, n]` each: row k, and the pivot's row.
fn two_rows(a: &Tensor, is_k: &Tensor, is_pivot: &Tensor) -> (Tensor, Tensor) {
    let pick = |mask: &Tensor| Tensor::where_(mask, a, a.zeros_like()).sum_keepdim(-2);
    (pick(is_k), pick(is_pivot))
}

/// The column at `k` from row `k` on, and the row of its largest element by magnitude, `[.., 1, 1]`.
fn pivot(a: &Tensor, k: &Tensor) -> Tensor {
    let column = Tensor::where_(&at(a, -1, k), a, a.zeros_like()).sum_keepdim(-1).abs();
    let left = Tensor::iota(column.shape(), -2, DType::I64).ge(k);
    Tensor::where_(&left, &column, column.full_like(Lit(-1.0))).argmax_keepdim(-2)
}

/// `a^-1 b` from `[a | b]`. A column without a pivot is divided by 0.
fn gauss_jordan(a: &Tensor, b: &Tensor) -> Tensor {
    let n = sides(a).0;
    let both = fori_loop(0..n, Tensor::cat(&[a, b], -1), |k, m| {
        let p = pivot(&m, k);
        let rows = Tensor::iota(m.shape(), -2, DType::I64);
        let (is_k, is_pivot) = (rows.eq(k), rows.eq(&p));
        let (row, chosen) = two_rows(&m, &is_k, &is_pivot);
        let swapped = Tensor::where_(&is_pivot, &row, &m);
        let in_column = at(&m, -1, k);
        let scale = Tensor::where_(&at(&chosen, -1, k), &chosen, chosen.zeros_like()).sum_keepdim(-1);
        let unit = chosen / scale;
        let factor = Tensor::where_(&in_column, &swapped, swapped.zeros_like()).sum_keepdim(-1);
        Tensor::where_(&is_k, &unit, &swapped - factor * &unit)
    });
    both.narrow(-1, n as isize, sides(b).1)
}

/// The signs and the logarithms of the magnitudes of determinants, and the determinants: `[..]` each.
fn determinants(a: &Tensor) -> (Tensor, Tensor, Tensor) {
    let n = sides(a).0;
    let one = a.ones_like().narrow(-1, 0, 1).narrow(-2, 0, 1);
    let start = (a.clone(), one.clone(), one.zeros_like(), one.clone());
    let (_, sign, log, det) = fori_loop(0..n, start, |k, (m, sign, log, det)| {
        let p = pivot(&m, k);
        let rows = Tensor::iota(m.shape(), -2, DType::I64);
        let (is_k, is_pivot) = (rows.eq(k), rows.eq(&p));
        let (row, chosen) = two_rows(&m, &is_k, &is_pivot);
        let swapped = Tensor::where_(&is_pivot, &row, &m);
        let scale = Tensor::where_(&at(&chosen, -1, k), &chosen, chosen.zeros_like()).sum_keepdim(-1);
        // Nothing is left to eliminate in a column of zeros.
        let divisor = Tensor::where_(&scale.eq(Lit(0.0)), scale.ones_like(), &scale);
        let factor = Tensor::where_(&at(&m, -1, k), &swapped, swapped.zeros_like()).sum_keepdim(-1) / divisor;
        let below = rows.gt(k);
        let next = Tensor::where_(&below, &swapped - factor * &chosen, &swapped);
        let turn = Tensor::where_(&p.eq(k), scale.ones_like(), -scale.ones_like());
        (next, sign * scale.sign() * &turn, log + scale.abs().log(), det * scale * turn)
    });
    let flat = |t: Tensor| t.squeeze_axis([-2, -1]);
    (flat(sign), flat(log), flat(det))
}

/// Sum over the matrices of `inverse^T * da`: the relative change of the determinant.
fn relative_change(a: &Tensor, da: &Tensor) -> Tensor {
    (a.inverse().mt() * da).sum([-2, -1])
}

impl Tensor {
    /// The inverses of the square matrices in the last two axes, as `torch.linalg.inv`. F32 and F64.
    ///
    /// A singular matrix gives NaN or infinities (PyTorch raises an error).
    ///
    /// ```
    /// use lazuli::prelude::*;
    /// let a = tensor![[2., 0.], [1., 4.]];
    /// assert_eq!(a.inverse().to_vec::<f32>()?, [0.5, 0.0, -0.125, 0.25]);
    /// # Ok::<(), lazuli::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the matrices are not square, or of another dtype.
    #[track_caller]
    pub fn inverse(&self) -> Tensor {
        let _here = self.device().enter();
        pass_poison!(self);
        let n = or_poison!(square("inverse", self));
        if self.numel() == 0 {
            return self.clone();
        }
        let _on = self.device().enter();
        implicit(self.clone(), |a| gauss_jordan(a, &eye_like(a, n)), |_, y, da| -y.matmul(&da.matmul(y)))
    }

    /// The solution `x` of `self @ x = b`, as `torch.linalg.solve`: `b` is `[.., n, k]`, or `[.., n]` for a vector (for each matrix, if
    /// `b` has exactly the batch axes of `self`). Batch axes broadcast. F32 and F64.
    ///
    /// A singular matrix gives NaN or infinities (PyTorch raises an error).
    ///
    /// ```
    /// use lazuli::prelude::*;
    /// let x = tensor![[2., 0.], [1., 4.]].solve(&tensor![2., 9.]);
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), lazuli::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the matrices are not square, the rows of `b` are not as many, or dtypes differ or are others.
    #[track_caller]
    pub fn solve(&self, b: &Tensor) -> Tensor {
        let _here = self.device().enter();
        pass_poison!(self, b);
        let n = or_poison!(square("solve", self));
        or_poison!(same_dtype("solve", self, b));
        let vector = b.rank() == 1 || (b.rank() + 1 == self.rank() && b.shape()[..] == self.shape()[..self.rank() - 1]);
        let columns = if vector { b.unsqueeze(-1) } else { b.clone() };
        if columns.rank() < 2 || sides(&columns).0 != n {
            slip_now!(
                Shape,
                "solve: matrices of shape {} against right-hand sides of shape {}: expected {n} rows",
                self.shape(),
                b.shape()
            );
        }
        let (a, columns) = or_poison!(broadcast_batches("solve", self, &columns));
        let _on = self.device().enter();
        let x = match a.numel() * columns.numel() {
            0 => columns,
            _ => implicit((a, columns), |(a, b)| gauss_jordan(a, b), |(a, _), x, (da, db)| a.inverse().matmul(&(db - da.matmul(x)))),
        };
        if vector { x.squeeze_axis(-1) } else { x }
    }

    /// The determinants of the square matrices in the last two axes, as `torch.linalg.det`. F32 and F64.
    ///
    /// At a singular matrix the value is right, but the derivative, `det * trace(inverse * da)`, is NaN.
    ///
    /// ```
    /// use lazuli::prelude::*;
    /// assert_eq!(tensor![[2., 1.], [1., 4.]].det().item::<f32>()?, 7.0);
    /// # Ok::<(), lazuli::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the matrices are not square, or of another dtype.
    #[track_caller]
    pub fn det(&self) -> Tensor {
        let _here = self.device().enter();
        pass_poison!(self);
        let n = or_poison!(square("det", self));
        if n == 0 || self.numel() == 0 {
            return self.sum([-2, -1]) + Lit(1.0);
        }
        let _on = self.device().enter();
        implicit(self.clone(), |a| determinants(a).2, |a, y, da| y * relative_change(a, da))
    }

    /// The signs of the determinants and the logarithms of their magnitudes, as `torch.linalg.slogdet`: no overflow where a determinant
    /// would. A singular matrix gives 0 and -infinity. F32 and F64.
    ///
    /// # Panics
    /// As [`det`](Tensor::det).
    #[track_caller]
    pub fn slogdet(&self) -> (Tensor, Tensor) {
        let _here = self.device().enter();
        let poisoned = |t: Tensor| (t.clone(), t);
        if self.0.poison().is_some() {
            return poisoned(self.clone());
        }
        let n = match square("slogdet", self) {
            Ok(n) => n,
            Err(e) => return poisoned(Tensor::poisoned(e)),
        };
        if n == 0 || self.numel() == 0 {
            let zero = self.sum([-2, -1]);
            return (&zero + Lit(1.0), zero);
        }
        let _on = self.device().enter();
        let run = |a: &Tensor| {
            let (sign, log, _) = determinants(a);
            (sign, log)
        };
        implicit(self.clone(), run, |a, (sign, _), da| (sign.zeros_like(), relative_change(a, da)))
    }

    /// The solution `x` of `self @ x = b` (or of `x @ self = b`, without `left`) for triangular matrices, as
    /// `torch.linalg.solve_triangular`. Only the upper (or lower) triangle is read; with `unitriangular` its diagonal is taken to be
    /// ones. Batch axes broadcast. F32 and F64.
    ///
    /// A zero on the diagonal gives NaN or infinities.
    ///
    /// # Panics
    /// If the matrices are not square, `b` does not fit, or dtypes differ or are others.
    #[track_caller]
    pub fn solve_triangular(&self, b: &Tensor, upper: bool, left: bool, unitriangular: bool) -> Tensor {
        let _here = self.device().enter();
        pass_poison!(self, b);
        let n = or_poison!(square("solve_triangular", self));
        or_poison!(same_dtype("solve_triangular", self, b));
        if b.rank() < 2 || (if left { sides(b).0 } else { sides(b).1 }) != n {
            let side = if left { "rows" } else { "columns" };
            slip_now!(Shape, "solve_triangular: matrices of shape {} against shape {}: expected {n} {side}", self.shape(), b.shape());
        }
        if !left {
            return self.mt().solve_triangular(&b.mt(), !upper, true, unitriangular).mt();
        }
        let (a, b) = or_poison!(broadcast_batches("solve_triangular", self, b));
        if a.numel() == 0 || b.numel() == 0 {
            return b;
        }
        let _on = self.device().enter();
        // Read backwards in both axes, an upper triangle is a lower one.
        let (a, b) = if upper { (a.flip([-2, -1]), b.flip(-2)) } else { (a, b) };
        let l = if unitriangular { a.tril(-1) + eye_like(&a, n) } else { a.tril(0) };
        let x = implicit((l, b), |(l, b)| forward_substitution(l, b), |(l, _), x, (dl, db)| lower_inverse(l).matmul(&(db - dl.matmul(x))));
        if upper { x.flip(-2) } else { x }
    }
}

/// The inverses of lower triangles. What the derivatives of the others are made of: its own needs nothing but itself.
pub(super) fn lower_inverse(l: &Tensor) -> Tensor {
    let n = sides(l).0;
    implicit(l.clone(), |l| forward_substitution(l, &eye_like(l, n)), |_, y, dl| -y.matmul(&dl.matmul(y)))
}

/// `l^-1 b` of lower triangles, row by row.
fn forward_substitution(l: &Tensor, b: &Tensor) -> Tensor {
    let (n, columns) = sides(b);
    fori_loop(0..n, Tensor::zeros(batch_of(b, n, columns)).cast(b.dtype()), |k, x| {
        let is_k = at(b, -2, k);
        let row = |t: &Tensor| Tensor::where_(&at(t, -2, k), t, t.zeros_like()).sum_keepdim(-2);
        let lk = row(l);
        let diagonal = Tensor::where_(&at(&lk, -1, k), &lk, lk.zeros_like()).sum_keepdim(-1);
        // Rows of `x` from k on are still zeros; what stands right of the diagonal is too.
        let known = Tensor::where_(&Tensor::iota(lk.shape(), -1, DType::I64).lt(k), &lk, lk.zeros_like());
        let xk = (row(b) - (known.mt() * &x).sum_keepdim(-2)) / diagonal;
        Tensor::where_(&is_k, &xk, &x)
    })
}
