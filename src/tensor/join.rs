//! Joining and splitting tensors.

use super::Tensor;
use super::compose::{or_poison, pass_poison, slip_now};
use crate::base::error::{Result, bail, err};
use crate::base::{Axis, Shape};
use std::borrow::Borrow;

impl Tensor {
    /// Tensors one after another along an axis; dtypes promote.
    ///
    /// # Panics
    /// If there are none, the axis is out of range or other extents differ.
    #[track_caller]
    pub fn cat<T: Borrow<Tensor>>(tensors: &[T], axis: impl Into<Axis>) -> Tensor {
        let parts: Vec<Tensor> = tensors.iter().map(|t| t.borrow().clone()).collect();
        Tensor::cat_all(parts, axis.into(), "cat")
    }

    #[track_caller]
    fn cat_all(parts: Vec<Tensor>, axis: Axis, op: &str) -> Tensor {
        for p in &parts {
            pass_poison!(p);
        }
        let parts = or_poison!(Tensor::promoted(parts, op));
        // As PyTorch, an empty 1-D tensor joins anything.
        let kept: Vec<Tensor> =
            if parts.iter().any(|p| p.rank() != 1) { parts.into_iter().filter(|p| *p.shape() != [0]).collect() } else { parts };
        let first = &kept[0];
        let axis = or_poison!(first.axis_required(axis, op));
        for p in &kept[1..] {
            if p.rank() != first.rank() || p.shape().keepdim(&[axis]) != first.shape().keepdim(&[axis]) {
                slip_now!(Shape, "{op} along axis {axis}: shapes {} and {} differ elsewhere", first.shape(), p.shape());
            }
        }
        Tensor::concat_axis(&kept, axis)
    }

    /// All cast to the dtype they meet at.
    #[track_caller]
    fn promoted(parts: Vec<Tensor>, op: &str) -> Result<Vec<Tensor>> {
        let Some(first) = parts.first() else { bail!(Argument, "{op}: no tensors are given") };
        let d = parts.iter().fold(first.dtype(), |d, p| d.promote(p.dtype()));
        let mut out = Vec::with_capacity(parts.len());
        for p in &parts {
            out.push(p.cast(d));
        }
        Ok(out)
    }

    /// Tensors of one shape along a new axis, which becomes axis `axis` of the result; dtypes promote.
    ///
    /// # Panics
    /// If there are none or their shapes differ.
    #[track_caller]
    pub fn stack<T: Borrow<Tensor>>(tensors: &[T], axis: impl Into<Axis>) -> Tensor {
        let parts: Vec<Tensor> = tensors.iter().map(|t| t.borrow().clone()).collect();
        Tensor::stack_all(parts, axis.into())
    }

    #[track_caller]
    fn stack_all(parts: Vec<Tensor>, axis: Axis) -> Tensor {
        for p in &parts {
            pass_poison!(p);
        }
        let parts = or_poison!(Tensor::promoted(parts, "stack"));
        let shape = parts[0].shape().clone();
        if let Some(other) = parts.iter().find(|p| *p.shape() != shape) {
            slip_now!(Shape, "stack: shapes {shape} and {} differ", other.shape());
        }
        let a = or_poison!(axis.resolve(shape.rank() + 1, "stack"));
        let mut dims = shape.to_vec();
        dims.insert(a, 1);
        let one = Shape::new(&dims);
        let mut rows = Vec::with_capacity(parts.len());
        for p in &parts {
            rows.push(p.reshape_shape(&one));
        }
        Tensor::concat_axis(&rows, a)
    }

    /// Parts of `size` along an axis; the last may be smaller.
    ///
    /// # Panics
    /// If `size` is 0 or the axis is out of range.
    #[track_caller]
    pub fn split(&self, size: usize, axis: impl Into<Axis>) -> Vec<Tensor> {
        self.split_every(size, axis.into(), "split")
    }

    #[track_caller]
    fn split_every(&self, size: usize, axis: Axis, op: &str) -> Vec<Tensor> {
        let a = match self.axis_required(axis, op) {
            _ if self.0.poison().is_some() => return vec![self.clone()],
            Ok(_) if size == 0 => return vec![Tensor::poisoned(err!(Argument, "{op}: parts of size 0"))],
            Ok(a) => a,
            Err(e) => return vec![Tensor::poisoned(e)],
        };
        let n = self.shape()[a];
        let mut out = Vec::new();
        for start in (0..n.max(1)).step_by(size) {
            out.push(self.slice_axis(a, start, (start + size).min(n), 1));
        }
        out
    }

    /// Parts of the given sizes along an axis.
    ///
    /// # Panics
    /// If the sizes do not add up to the extent, or the axis is out of range.
    #[track_caller]
    pub fn split_sizes(&self, sizes: &[usize], axis: impl Into<Axis>) -> Vec<Tensor> {
        let a = match self.axis_required(axis.into(), "split") {
            _ if self.0.poison().is_some() => return sizes.iter().map(|_| self.clone()).collect(),
            Ok(a) if sizes.iter().sum::<usize>() != self.shape()[a] => {
                let e = err!(Shape, "split: sizes {sizes:?} do not add up to axis {a} of shape {}", self.shape());
                let p = Tensor::poisoned(e);
                return sizes.iter().map(|_| p.clone()).collect();
            }
            Ok(a) => a,
            Err(e) => {
                let p = Tensor::poisoned(e);
                return sizes.iter().map(|_| p.clone()).collect();
            }
        };
        let (mut start, mut out) = (0, Vec::with_capacity(sizes.len()));
        for n in sizes {
            out.push(self.slice_axis(a, start, start + n, 1));
            start += n;
        }
        out
    }

    /// At most `n` parts of equal size (the last may be smaller) along an axis.
    ///
    /// # Panics
    /// If `n` is 0 or the axis is out of range.
    #[track_caller]
    pub fn chunk(&self, n: usize, axis: impl Into<Axis>) -> Vec<Tensor> {
        let axis = axis.into();
        if n == 0 {
            return vec![Tensor::poisoned(err!(Argument, "chunk: into 0 parts"))];
        }
        let extent = axis.resolve(self.rank(), "chunk").ok().and_then(|a| self.shape().get(a).copied()).unwrap_or(1);
        self.split_every(extent.div_ceil(n).max(1), axis, "chunk")
    }

    /// The slices along an axis, which disappears.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn unbind(&self, axis: impl Into<Axis>) -> Vec<Tensor> {
        let a = match self.axis_required(axis.into(), "unbind") {
            _ if self.0.poison().is_some() => return vec![self.clone()],
            Ok(a) => a,
            Err(e) => return vec![Tensor::poisoned(e)],
        };
        let rest = self.shape().without(&[a]);
        let mut out = Vec::new();
        for i in 0..self.shape()[a] {
            out.push(self.slice_axis(a, i, i + 1, 1).reshape_shape(&rest));
        }
        out
    }

    /// Coordinates on a grid from vectors: tensor i varies along axis i (`"ij"`), or with the first two axes swapped (`"xy"`).
    ///
    /// # Panics
    /// If a tensor has more than one axis, or `indexing` is neither `"ij"` nor `"xy"`.
    #[track_caller]
    pub fn meshgrid<T: Borrow<Tensor>>(tensors: &[T], indexing: &str) -> Vec<Tensor> {
        let vectors: Vec<Tensor> = tensors.iter().map(|t| t.borrow().clone()).collect();
        Tensor::meshgrid_all(vectors, indexing)
    }

    #[track_caller]
    fn meshgrid_all(vectors: Vec<Tensor>, indexing: &str) -> Vec<Tensor> {
        let bad = vectors.iter().find(|v| v.rank() > 1);
        if bad.is_some() || !matches!(indexing, "ij" | "xy") {
            let p = Tensor::poisoned(err!(
                Shape,
                "meshgrid: takes tensors of at most one axis and \"ij\" or \"xy\", got shape {} and {indexing:?}",
                bad.map_or(Shape::scalar(), |b| b.shape().clone())
            ));
            return vectors.iter().map(|_| p.clone()).collect();
        }
        let n = vectors.len();
        let place = |i: usize| if indexing == "xy" && n > 1 && i < 2 { 1 - i } else { i };
        let shape: Shape = (0..n).map(|axis| vectors[place(axis)].numel()).collect();
        let mut out = Vec::with_capacity(n);
        for (i, v) in vectors.iter().enumerate() {
            let one: Shape = (0..n).map(|a| if a == place(i) { v.numel() } else { 1 }).collect();
            out.push(v.reshape_shape(&one).broadcast_shape(&shape));
        }
        out
    }
}
