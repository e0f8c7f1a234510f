//! Matrix products. All become batched `[B.., M, K] x [B.., K, N]` products, reshaped; dtypes promote.

use super::compose::{AxisVec, or_poison, pass_poison, slip_now};
use super::{Operand, Tensor};
use crate::base::error::{Result, bail, err};
use crate::base::{Axes, DType, Shape};
use crate::trace::Op;
use std::borrow::Borrow;

impl Tensor {
    /// The matrix product, as NumPy's and PyTorch's `matmul`: `[B.., M, K] x [B.., K, N] -> [B.., M, N]`, batch axes broadcast; a
    /// 1-d operand is a row at the left, a column at the right, and its axis disappears.
    ///
    /// # Panics
    /// If inner extents differ, batch axes do not broadcast, an operand is 0-d, or both are Bool.
    #[track_caller]
    pub fn matmul(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        let (a, b) = or_poison!(same_dtype("matmul", self, rhs));
        let (sa, sb) = (a.shape().clone(), b.shape().clone());
        let wrong =
            || err!(Shape, "matmul: shapes {sa} and {sb} do not fit: the last axis of the left must be the last but one of the right");
        match (sa.rank(), sb.rank()) {
            (0, _) | (_, 0) => slip_now!(Shape, "matmul: shapes {sa} and {sb}: a 0-d operand is no matrix (use *)"),
            (1, 1) => {
                if sa != sb {
                    return Tensor::poisoned(wrong());
                }
                let k = sa[0];
                a.reshape_shape(&[1, k].into()).dot2(&b.reshape_shape(&[k, 1].into())).reshape_shape(&Shape::scalar())
            }
            (1, _) => {
                let r = a.reshape_shape(&[1, sa[0]].into()).matmul_ranked(&b, wrong);
                pass_poison!(r);
                r.reshape_shape(&r.shape().without(&[r.rank() - 2]))
            }
            (_, 1) => {
                let r = a.matmul_ranked(&b.reshape_shape(&[sb[0], 1].into()), wrong);
                pass_poison!(r);
                r.reshape_shape(&r.shape().without(&[r.rank() - 1]))
            }
            _ => a.matmul_ranked(&b, wrong),
        }
    }

    /// Both have at least two axes and one dtype.
    #[track_caller]
    fn matmul_ranked(&self, rhs: &Tensor, wrong: impl Fn() -> crate::Error) -> Tensor {
        let (sa, sb) = (self.shape(), rhs.shape());
        let (ra, rb) = (sa.rank(), sb.rank());
        let (m, k, n) = (sa[ra - 2], sa[ra - 1], sb[rb - 1]);
        if sb[rb - 2] != k {
            return Tensor::poisoned(wrong());
        }
        if rb == 2 {
            // One matrix for the whole batch: the batch joins the rows.
            let rows = sa[..ra - 1].iter().product();
            let out: Shape = sa[..ra - 1].iter().copied().chain([n]).collect();
            return self.reshape_shape(&[rows, k].into()).dot2(rhs).reshape_shape(&out);
        }
        let Ok(batch) = Shape::new(&sa[..ra - 2]).broadcast(&Shape::new(&sb[..rb - 2])) else {
            slip_now!(Shape, "matmul: batch axes of shapes {sa} and {sb} do not broadcast together")
        };
        let full = |s: [usize; 2]| -> Shape { batch.iter().copied().chain(s).collect() };
        self.broadcast_shape(&full([m, k])).dot2(&rhs.broadcast_shape(&full([k, n])))
    }

    /// The product of fitting `[B.., M, K]` and `[B.., K, N]`.
    #[track_caller]
    pub(crate) fn dot2(&self, rhs: &Tensor) -> Tensor {
        Tensor::record(Op::Dot, &[self, rhs])
    }

    /// The product of two matrices.
    ///
    /// # Panics
    /// If they are no matrices or do not fit.
    #[track_caller]
    pub fn mm(&self, rhs: &Tensor) -> Tensor {
        self.matmul_of_ranks("mm", rhs, 2, 2)
    }

    /// The products of two batches of matrices, `[B, M, K] x [B, K, N]`.
    ///
    /// # Panics
    /// If they are not 3-d or do not fit.
    #[track_caller]
    pub fn bmm(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        if self.rank() == 3 && rhs.rank() == 3 && self.shape()[0] != rhs.shape()[0] {
            slip_now!(Shape, "bmm: batches of shapes {} and {} differ", self.shape(), rhs.shape());
        }
        self.matmul_of_ranks("bmm", rhs, 3, 3)
    }

    /// The product of a matrix and a vector.
    ///
    /// # Panics
    /// If they are not, or do not fit.
    #[track_caller]
    pub fn mv(&self, rhs: &Tensor) -> Tensor {
        self.matmul_of_ranks("mv", rhs, 2, 1)
    }

    /// The scalar product of two vectors.
    ///
    /// # Panics
    /// If they are no vectors of one length.
    #[track_caller]
    pub fn dot(&self, rhs: &Tensor) -> Tensor {
        self.matmul_of_ranks("dot", rhs, 1, 1)
    }

    #[track_caller]
    fn matmul_of_ranks(&self, op: &str, rhs: &Tensor, a: usize, b: usize) -> Tensor {
        pass_poison!(self, rhs);
        if (self.rank(), rhs.rank()) != (a, b) {
            slip_now!(Shape, "{op}: shapes {} and {}: takes {a} and {b} axes (matmul takes any)", self.shape(), rhs.shape());
        }
        self.matmul(rhs)
    }

    /// Sums of products over the last axis of both: `[A.., K] x [B.., K] -> [A.., B..]`. With a 0-d operand, the plain product.
    ///
    /// # Panics
    /// If the last extents differ.
    #[track_caller]
    pub fn inner(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        if self.rank() == 0 || rhs.rank() == 0 {
            return self * rhs;
        }
        self.tensordot(rhs, [-1], [-1])
    }

    /// All products of two vectors: `[N] x [M] -> [N, M]`.
    ///
    /// # Panics
    /// If they are no vectors.
    #[track_caller]
    pub fn outer(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        if self.rank() != 1 || rhs.rank() != 1 {
            slip_now!(Shape, "outer: shapes {} and {} are no vectors", self.shape(), rhs.shape());
        }
        self.unsqueeze(1) * rhs
    }

    /// `beta * self + alpha * (a x b)` of matrices; `self` broadcasts.
    ///
    /// # Panics
    /// As [`mm`](Tensor::mm), and if `self` does not broadcast to the product.
    #[track_caller]
    pub fn addmm(&self, a: &Tensor, b: &Tensor, beta: impl Operand, alpha: impl Operand) -> Tensor {
        self * beta + a.mm(b) * alpha
    }

    /// `beta * self + alpha * (a x b)` of batches of matrices; `self` broadcasts.
    ///
    /// # Panics
    /// As [`bmm`](Tensor::bmm), and if `self` does not broadcast to the product.
    #[track_caller]
    pub fn baddbmm(&self, a: &Tensor, b: &Tensor, beta: impl Operand, alpha: impl Operand) -> Tensor {
        self * beta + a.bmm(b) * alpha
    }

    /// `beta * self + alpha * sum of (a x b)` over batches of matrices; `self` broadcasts.
    ///
    /// # Panics
    /// As [`bmm`](Tensor::bmm), and if `self` does not broadcast to the product.
    #[track_caller]
    pub fn addbmm(&self, a: &Tensor, b: &Tensor, beta: impl Operand, alpha: impl Operand) -> Tensor {
        let product = a.bmm(b);
        pass_poison!(product);
        // Unlike `sum`, PyTorch keeps the integer dtype here.
        self * beta + product.reduce_axes(crate::trace::Reduce::Sum, &[0]) * alpha
    }

    /// `beta * self + alpha * (a x v)` of a matrix and a vector; `self` broadcasts.
    ///
    /// # Panics
    /// As [`mv`](Tensor::mv), and if `self` does not broadcast to the product.
    #[track_caller]
    pub fn addmv(&self, a: &Tensor, v: &Tensor, beta: impl Operand, alpha: impl Operand) -> Tensor {
        self * beta + a.mv(v) * alpha
    }

    /// `beta * self + alpha * outer(u, v)` of two vectors; `self` broadcasts.
    ///
    /// # Panics
    /// As [`outer`](Tensor::outer), and if `self` does not broadcast to the product.
    #[track_caller]
    pub fn addr(&self, u: &Tensor, v: &Tensor, beta: impl Operand, alpha: impl Operand) -> Tensor {
        self * beta + u.outer(v) * alpha
    }

    /// The scalar product of two real vectors: [`dot`](Tensor::dot).
    ///
    /// # Panics
    /// As [`dot`](Tensor::dot).
    #[track_caller]
    pub fn vdot(&self, rhs: &Tensor) -> Tensor {
        self.dot(rhs)
    }

    /// `x_i w_oij y_j + bias_o` with this tensor as x `[.., I]`, `other` as y `[.., J]`, weight `[O, I, J]`, bias `[O]`: `[.., O]`.
    ///
    /// # Panics
    /// If shapes do not fit.
    #[track_caller]
    pub fn bilinear(&self, other: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        pass_poison!(self, other, weight);
        let fits = weight.rank() == 3
            && self.rank() == other.rank()
            && self.rank() > 0
            && self.shape()[..self.rank() - 1] == other.shape()[..other.rank() - 1]
            && self.shape()[self.rank() - 1] == weight.shape()[1]
            && other.shape()[other.rank() - 1] == weight.shape()[2];
        if !fits {
            slip_now!(
                Shape,
                "bilinear: inputs {} and {}, weight {}: expected [.., I], [.., J] and [O, I, J]",
                self.shape(),
                other.shape(),
                weight.shape()
            );
        }
        let y = Tensor::einsum("...i,oij,...j->...o", &[self.clone(), weight.clone(), other.clone()]);
        match bias {
            Some(b) => y + b,
            None => y,
        }
    }

    /// Sums of products over pairs of axes: axis `axes[i]` of this with axis `rhs_axes[i]` of `rhs`; the other axes follow in order.
    ///
    /// # Panics
    /// If an axis is out of range or paired extents differ.
    #[track_caller]
    pub fn tensordot(&self, rhs: &Tensor, axes: impl Into<Axes>, rhs_axes: impl Into<Axes>) -> Tensor {
        pass_poison!(self, rhs);
        let left = or_poison!(axes.into().resolve_ordered(self.rank(), "tensordot"));
        let right = or_poison!(rhs_axes.into().resolve_ordered(rhs.rank(), "tensordot"));
        let (a, b) = or_poison!(same_dtype("tensordot", self, rhs));
        let pairs = || left.iter().copied().zip(right.iter().copied());
        if left.len() != right.len() || pairs().any(|(i, j)| a.shape()[i] != b.shape()[j] && a.shape()[i] != 1 && b.shape()[j] != 1) {
            slip_now!(Shape, "tensordot: axes {left:?} of shape {} against {right:?} of {}", a.shape(), b.shape());
        }
        // An extent of 1 stretches, so that the other side is summed.
        let (mut wide_a, mut wide_b) = (a.shape().clone(), b.shape().clone());
        for (i, j) in pairs() {
            let n = if wide_a[i] == 1 { wide_b[j] } else { wide_a[i] };
            (wide_a[i], wide_b[j]) = (n, n);
        }
        let (a, b) = (a.broadcast_shape(&wide_a), b.broadcast_shape(&wide_b));
        let (free_a, free_b) = (a.shape().without(&sorted(&left)), b.shape().without(&sorted(&right)));
        let k = a.count_along(&left);
        let perm_a: AxisVec = (0..a.rank()).filter(|x| !left.contains(x)).chain(left.iter().copied()).collect();
        let perm_b: AxisVec = right.iter().copied().chain((0..b.rank()).filter(|x| !right.contains(x))).collect();
        let x = a.permute_axes(&perm_a).reshape_shape(&[free_a.numel(), k].into());
        let y = b.permute_axes(&perm_b).reshape_shape(&[k, free_b.numel()].into());
        x.dot2(&y).reshape_shape(&free_a.iter().chain(free_b.iter()).copied().collect())
    }

    /// The Kronecker product.
    #[track_caller]
    pub fn kron(&self, rhs: &Tensor) -> Tensor {
        pass_poison!(self, rhs);
        let r = self.rank().max(rhs.rank());
        let lead = |t: &Tensor| -> Shape { std::iter::repeat_n(1, r - t.rank()).chain(t.shape().iter().copied()).collect() };
        let (sa, sb) = (lead(self), lead(rhs));
        let a = self.reshape_shape(&sa.iter().flat_map(|&d| [d, 1]).collect());
        let b = rhs.reshape_shape(&sb.iter().flat_map(|&d| [1, d]).collect());
        (a * b).reshape((0..r).map(|i| sa[i] * sb[i]).collect::<Vec<usize>>())
    }

    /// The product of several matrices, in the order of the fewest multiplications. The first and the last may be vectors.
    ///
    /// # Panics
    /// If there are fewer than two, or they do not fit.
    #[track_caller]
    pub fn multi_dot<T: Borrow<Tensor>>(tensors: &[T]) -> Tensor {
        let list: Vec<Tensor> = tensors.iter().map(|t| t.borrow().clone()).collect();
        Tensor::multi_dot_all(&list)
    }

    #[track_caller]
    fn multi_dot_all(list: &[Tensor]) -> Tensor {
        for t in list {
            pass_poison!(t);
        }
        let n = list.len();
        let fits = |i: usize| list[i].rank() == 2 || (list[i].rank() == 1 && (i == 0 || i == n - 1));
        if n < 2 || !(0..n).all(fits) {
            let shapes: Vec<String> = list.iter().map(|t| t.shape().to_string()).collect();
            slip_now!(Shape, "multi_dot: takes two or more matrices (the first and last may be vectors), got {}", shapes.join(", "));
        }
        let mut m: Vec<Tensor> = list.to_vec();
        let (row, column) = (m[0].rank() == 1, m[n - 1].rank() == 1);
        if row {
            m[0] = m[0].unsqueeze(0);
        }
        if column {
            m[n - 1] = m[n - 1].unsqueeze(1);
        }
        // cost[i][j]: multiplications of the product i..=j; cut[i][j]: where its last product splits.
        let d: Vec<usize> = m.iter().map(|t| t.shape()[0]).chain([m[n - 1].shape()[1]]).collect();
        let (mut cost, mut cut) = (vec![vec![0u128; n]; n], vec![vec![0usize; n]; n]);
        for len in 1..n {
            for i in 0..n - len {
                let j = i + len;
                cost[i][j] = u128::MAX;
                for k in i..j {
                    let c = cost[i][k] + cost[k + 1][j] + d[i] as u128 * d[k + 1] as u128 * d[j + 1] as u128;
                    if c < cost[i][j] {
                        (cost[i][j], cut[i][j]) = (c, k);
                    }
                }
            }
        }
        // In post-order, without recursion.
        let (mut todo, mut done): (Vec<(usize, usize, bool)>, Vec<Tensor>) = (vec![(0, n - 1, false)], Vec::new());
        while let Some((i, j, ready)) = todo.pop() {
            if i == j {
                done.push(m[i].clone());
            } else if ready {
                let (b, a) = (done.pop(), done.pop());
                if let (Some(a), Some(b)) = (a, b) {
                    done.push(a.matmul(&b));
                }
            } else {
                let k = cut[i][j];
                todo.extend([(i, j, true), (k + 1, j, false), (i, k, false)]);
            }
        }
        let out = done.remove(0);
        pass_poison!(out);
        let drop: AxisVec = [row.then_some(0), column.then_some(1)].into_iter().flatten().collect();
        out.reshape_shape(&out.shape().without(&drop))
    }
}

fn sorted(axes: &[usize]) -> AxisVec {
    let mut v = AxisVec::from_slice(axes);
    v.sort_unstable();
    v
}

/// Both in the dtype they meet at, which must be one with products.
#[track_caller]
pub(crate) fn same_dtype(op: &str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let d = a.dtype().promote(b.dtype());
    if d == DType::Bool {
        bail!(DType, "{op} is not defined for bool tensors: cast to a number first");
    }
    Ok((a.cast(d), b.cast(d)))
}
