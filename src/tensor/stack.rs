//! Joining and splitting by PyTorch's NumPy-like names, and a few views that only have another name or default.

use super::Tensor;
use super::compose::{or_poison, pass_poison, slip_now};
use crate::base::error::err;
use crate::base::{Axis, Dims, Shape};
use crate::trace::Reduce;
use std::borrow::Borrow;

fn owned<T: Borrow<Tensor>>(tensors: &[T]) -> Vec<Tensor> {
    tensors.iter().map(|t| t.borrow().clone()).collect()
}

macro_rules! stacks {
    ($($(#[$doc:meta])* $name:ident |$parts:ident| $body:expr;)*) => {
        /// Joining along a given axis; dtypes promote.
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// # Panics
            /// If there are none or their shapes do not fit.
            #[track_caller]
            pub fn $name<T: Borrow<Tensor>>(tensors: &[T]) -> Tensor {
                let $parts = owned(tensors);
                $body
            }
        )*}
    };
}
stacks! {
    /// Side by side: along axis 1, or 0 for tensors of one axis (or none).
    hstack |t| {
        let t: Vec<Tensor> = t.iter().map(Tensor::atleast_1d).collect();
        let axis = if t.first().is_some_and(|t| t.rank() == 1) { 0 } else { 1 };
        Tensor::cat(&t, axis)
    };
    /// One below the other: along axis 0, tensors of one axis as rows.
    vstack |t| Tensor::cat(&t.iter().map(Tensor::atleast_2d).collect::<Vec<_>>(), 0);
    /// One behind the other: along axis 2.
    dstack |t| Tensor::cat(&t.iter().map(Tensor::atleast_3d).collect::<Vec<_>>(), 2);
    /// Along axis 1, tensors of one axis (or none) as columns.
    column_stack |t| {
        let columns: Vec<Tensor> = t.iter().map(|t| if t.rank() < 2 && t.0.poison().is_none() { t.reshape([-1, 1]) } else { t.clone() }).collect();
        Tensor::cat(&columns, 1)
    };
}

/// Views with another name or default.
impl Tensor {
    /// Itself, with an axis of extent 1 if it has none.
    #[track_caller]
    pub fn atleast_1d(&self) -> Tensor {
        pass_poison!(self);
        if self.rank() == 0 { self.flatten_all() } else { self.clone() }
    }

    /// Itself, with leading axes of extent 1 up to two axes.
    #[track_caller]
    pub fn atleast_2d(&self) -> Tensor {
        pass_poison!(self);
        if self.rank() < 2 { self.reshape_shape(&[1, self.numel()].into()) } else { self.clone() }
    }

    /// Itself with up to three axes: `[N]` becomes `[1, N, 1]`, `[N, M]` becomes `[N, M, 1]`.
    #[track_caller]
    pub fn atleast_3d(&self) -> Tensor {
        pass_poison!(self);
        match self.shape()[..] {
            [] | [_] => self.reshape_shape(&[1, self.numel(), 1].into()),
            [n, m] => self.reshape_shape(&[n, m, 1].into()),
            _ => self.clone(),
        }
    }

    /// All axes as one.
    #[track_caller]
    pub fn ravel(&self) -> Tensor {
        pass_poison!(self);
        self.flatten_all()
    }

    /// PyTorch's other name of [`reshape`](Tensor::reshape): every tensor can be viewed in another shape.
    ///
    /// # Panics
    /// As [`reshape`](Tensor::reshape).
    #[track_caller]
    pub fn view(&self, dims: impl Into<Dims>) -> Tensor {
        self.reshape(dims)
    }

    /// In the shape of another tensor of as many elements.
    ///
    /// # Panics
    /// If it has not as many.
    #[track_caller]
    pub fn reshape_as(&self, other: &Tensor) -> Tensor {
        pass_poison!(self, other);
        self.reshape(other.shape())
    }

    /// Stretched to the shape of another tensor.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn expand_as(&self, other: &Tensor) -> Tensor {
        pass_poison!(self, other);
        self.broadcast_to(other.shape())
    }

    /// Two axes exchanged: [`transpose`](Tensor::transpose).
    ///
    /// # Panics
    /// If an axis is out of range.
    #[track_caller]
    pub fn swapaxes(&self, a: impl Into<Axis>, b: impl Into<Axis>) -> Tensor {
        self.transpose(a, b)
    }

    /// Reversed along axis 1.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn fliplr(&self) -> Tensor {
        self.flip(1)
    }

    /// Reversed along axis 0.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn flipud(&self) -> Tensor {
        self.flip(0)
    }

    /// All elements on the `k`-th diagonal of a square matrix of zeros.
    #[track_caller]
    pub fn diagflat(&self, k: isize) -> Tensor {
        pass_poison!(self);
        self.flatten_all().diag_embed(k)
    }

    /// Differences between neighbours along an axis, `n` times over; the axis has `n` elements less.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn diff(&self, n: usize, axis: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let a = or_poison!(self.axis_required(axis.into(), "diff"));
        let mut x = self.clone();
        for _ in 0..n {
            let extent = x.shape()[a];
            let (high, low) = (x.slice_axis(a, extent.min(1), extent, 1), x.slice_axis(a, 0, extent.saturating_sub(1), 1));
            // PyTorch takes differences of truth values as "exclusive or".
            x = if x.dtype() == crate::DType::Bool { high.bitwise_xor(&low) } else { high - low };
            pass_poison!(x);
        }
        x
    }

    /// Cut into `n` parts along an axis, the first ones larger by one where it does not divide.
    ///
    /// # Panics
    /// If `n` is 0 or the axis is out of range.
    #[track_caller]
    pub fn tensor_split(&self, n: usize, axis: impl Into<Axis>) -> Vec<Tensor> {
        let a = match self.axis_required(axis.into(), "tensor_split") {
            _ if self.0.poison().is_some() => return vec![self.clone()],
            Ok(_) if n == 0 => return vec![Tensor::poisoned(err!(Argument, "tensor_split: into 0 parts"))],
            Ok(a) => a,
            Err(e) => return vec![Tensor::poisoned(e)],
        };
        let (each, larger) = (self.shape()[a] / n, self.shape()[a] % n);
        let sizes: Vec<usize> = (0..n).map(|i| each + usize::from(i < larger)).collect();
        self.split_sizes(&sizes, a)
    }

    /// Cut before each of the given indices (negative: from the end) along an axis. Indices beyond the end give empty parts.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn tensor_split_at(&self, indices: &[isize], axis: impl Into<Axis>) -> Vec<Tensor> {
        let a = match self.axis_required(axis.into(), "tensor_split") {
            _ if self.0.poison().is_some() => return vec![self.clone()],
            Ok(a) => a,
            Err(e) => return vec![Tensor::poisoned(e)],
        };
        let n = self.shape()[a] as isize;
        let cut = |i: isize| (if i < 0 { i + n } else { i }).clamp(0, n) as usize;
        let (mut start, mut out) = (0, Vec::with_capacity(indices.len() + 1));
        for end in indices.iter().map(|&i| cut(i)).chain([n as usize]) {
            out.push(self.slice_axis(a, start, end.max(start), 1));
            start = end;
        }
        out
    }

    /// Every index `i` along an axis `counts[i]` times in a row.
    ///
    /// # Panics
    /// If the axis is out of range or has not as many elements as there are counts.
    #[track_caller]
    pub fn repeat_interleave_each(&self, counts: &[usize], axis: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let a = or_poison!(self.axis_required(axis.into(), "repeat_interleave"));
        if counts.len() != self.shape()[a] {
            slip_now!(Shape, "repeat_interleave: {} counts for axis {a} of shape {}", counts.len(), self.shape());
        }
        let _on = self.device().enter();
        let index: Vec<i64> = counts.iter().enumerate().flat_map(|(i, &c)| std::iter::repeat_n(i as i64, c)).collect();
        let n = index.len();
        if n == 0 {
            return self.slice_axis(a, 0, 0, 1);
        }
        self.gather_rows(a, &Tensor::from_vec(index, [n]))
    }
}

/// Positions in order.
impl Tensor {
    /// Where each of `values` would be put into this sorted tensor so that it stays sorted: how many elements are smaller (or, with
    /// `right`, not larger). Both have the same leading axes, or this has only the last. I64 of `values`' shape. Every pair is compared.
    ///
    /// # Panics
    /// If shapes do not fit.
    #[track_caller]
    pub fn searchsorted(&self, values: &Tensor, right: bool) -> Tensor {
        pass_poison!(self, values);
        let lead = self.rank().saturating_sub(1);
        let fits = self.rank() == 1 || (self.rank() == values.rank() && self.rank() > 0 && self.shape()[..lead] == values.shape()[..lead]);
        if !fits {
            slip_now!(Shape, "searchsorted: {} among sorted {}: leading axes differ", values.shape(), self.shape());
        }
        let n = self.shape()[lead];
        let sorted = if self.rank() == 1 { self.clone() } else { self.unsqueeze(-2) };
        let values = values.unsqueeze(-1);
        let before = if right { sorted.le(&values) } else { sorted.lt(&values) };
        let before = if values.dtype().is_float() { before.bitwise_or(values.isnan()) } else { before };
        if n == 0 {
            return before.cast(crate::DType::I64).sum(-1);
        }
        before.cast(crate::DType::I64).reduce_axes(Reduce::Sum, &[before.rank() - 1])
    }

    /// The number of the bucket each element lies in, between the sorted `boundaries`: [`searchsorted`](Tensor::searchsorted).
    ///
    /// # Panics
    /// If `boundaries` are not 1-d.
    #[track_caller]
    pub fn bucketize(&self, boundaries: &Tensor, right: bool) -> Tensor {
        pass_poison!(self, boundaries);
        if boundaries.rank() != 1 {
            slip_now!(Shape, "bucketize: boundaries of shape {} are no vector", boundaries.shape());
        }
        boundaries.searchsorted(self, right)
    }

    /// The `k`-th smallest along an axis (`k` from 1) and where it is: `(values, I64 indices)`, without the axis.
    ///
    /// # Panics
    /// If the axis is out of range or has no `k` elements.
    #[track_caller]
    pub fn kthvalue(&self, k: usize, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        let axis = axis.into();
        let extent = if self.rank() == 0 { 1 } else { axis.resolve(self.rank(), "kthvalue").map_or(0, |a| self.shape()[a]) };
        if self.0.poison().is_some() {
            return (self.clone(), self.clone());
        }
        if k == 0 || k > extent {
            let p = Tensor::poisoned(err!(Argument, "kthvalue: number {k} of {extent} along axis {} of shape {}", axis.0, self.shape()));
            return (p.clone(), p);
        }
        let (v, i) = self.sort(axis);
        if self.rank() == 0 { (v, i) } else { (v.select(axis, k as isize - 1), i.select(axis, k as isize - 1)) }
    }

    /// The median along an axis and where it is, the lower one of two: `(values, I64 indices)`, without the axis. NaN if any is.
    ///
    /// # Panics
    /// If the axis is out of range or has no elements.
    #[track_caller]
    pub fn median(&self, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        let axis = axis.into();
        let n = if self.rank() == 0 { 1 } else { axis.resolve(self.rank(), "median").map_or(0, |a| self.shape()[a]) };
        let (v, i) = self.kthvalue(n.div_ceil(2), axis);
        if !self.dtype().is_float() || v.0.poison().is_some() || self.rank() == 0 {
            return (v, i);
        }
        // NaN sorts last: the largest is NaN if any is.
        let (last, at) = self.max_with_indices(axis);
        let nan = last.isnan();
        (Tensor::where_(&nan, &last, &v), Tensor::where_(&nan, &at, &i))
    }

    /// This tensor with `src`'s elements, in row-major order, put where `mask` (which broadcasts to this shape) holds.
    ///
    /// # Panics
    /// If the mask is not Bool or does not broadcast, dtypes differ, or `src` has no elements though there are places.
    #[track_caller]
    pub fn masked_scatter(&self, mask: &Tensor, src: &Tensor) -> Tensor {
        pass_poison!(self, mask, src);
        if mask.dtype() != crate::DType::Bool || src.dtype() != self.dtype() {
            slip_now!(DType, "masked_scatter: mask {}, updates {} into {}", mask.dtype(), src.dtype(), self.dtype());
        }
        let shape: Shape = self.shape().clone();
        let m = mask.broadcast_to(&shape);
        pass_poison!(m);
        if self.numel() == 0 || src.numel() == 0 {
            return self.clone();
        }
        let flat = m.flatten_all();
        let place = flat.cast(crate::DType::I64).cumsum(0) - super::LitInt(1);
        let taken = src.flatten_all().gather_rows(0, &place.maximum(super::LitInt(0))).reshape_shape(&shape);
        Tensor::where_(&m, &taken, self)
    }
}

#[cfg(test)]
mod tests {
    use crate::tensor::tests::{floats, ints, slip};
    use crate::{ErrorKind, Tensor, tensor};

    #[test]
    fn stacks_and_splits() {
        let (a, b) = (tensor![1., 2.], tensor![3., 4.]);
        assert_eq!(floats(&Tensor::hstack(&[&a, &b])), [1., 2., 3., 4.]);
        assert_eq!(floats(&Tensor::vstack(&[&a, &b]).t()), [1., 3., 2., 4.]);
        assert_eq!(Tensor::dstack(&[&a, &b]).shape().to_vec(), [1, 2, 2]);
        assert_eq!(floats(&Tensor::column_stack(&[&a, &b])), [1., 3., 2., 4.]);
        let parts = tensor![0, 1, 2, 3, 4, 5, 6].tensor_split(3, 0);
        assert_eq!(parts.iter().map(|p| p.numel()).collect::<Vec<_>>(), [3, 2, 2]);
        let parts = tensor![0, 1, 2, 3, 4].tensor_split_at(&[1, -1, 9], 0);
        assert_eq!(parts.iter().map(|p| p.numel()).collect::<Vec<_>>(), [1, 3, 1, 0]);
        assert_eq!(ints(&tensor![7, 8, 9].repeat_interleave_each(&[2, 0, 1], 0)), [7, 7, 9]);
        assert_eq!(slip(|| tensor![7, 8].repeat_interleave_each(&[2], 0)).0, ErrorKind::Shape);
        assert_eq!(slip(|| tensor![7, 8].tensor_split(0, 0)).0, ErrorKind::Argument);
    }

    #[test]
    fn orders() {
        let s = tensor![1., 3., 3., 5.];
        assert_eq!(ints(&s.searchsorted(&tensor![0., 3., 6.], false)), [0, 1, 4]);
        assert_eq!(ints(&tensor![0., 3., 6.].bucketize(&s, true)), [0, 3, 4]);
        let (v, i) = tensor![3., 1., 2., 9.].median(0);
        assert_eq!((floats(&v), ints(&i)), (vec![2.], vec![2]));
        assert!(floats(&tensor![3., f32::NAN, 2.].median(0).0)[0].is_nan());
        assert_eq!(slip(|| s.kthvalue(5, 0)).0, ErrorKind::Argument);
        let m = tensor![true, false, true];
        assert_eq!(floats(&tensor![0., 1., 2.].masked_scatter(&m, &tensor![8., 9.])), [8., 1., 9.]);
        assert_eq!(
            slip(|| s.searchsorted(&tensor![1., 2.], false).searchsorted(&Tensor::zeros([2, 2, 2]), false).reshape([77])).0,
            ErrorKind::Shape
        );
    }
}
