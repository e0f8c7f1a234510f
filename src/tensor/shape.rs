//! Changing shapes: views and repeats. Nothing here computes; views cost nothing in a fused kernel.

use super::compose::{AxisVec, or_poison, pass_poison, slip_now};
use super::{LitInt, Tensor};

use crate::base::{Axes, Axis, DType, Dims, Scalar, Shape};
use smallvec::SmallVec;

impl Tensor {
    /// Row-major order kept, in another shape. One extent may be -1: whatever is left.
    ///
    /// # Panics
    /// If the numbers of elements differ.
    #[track_caller]
    pub fn reshape(&self, dims: impl Into<Dims>) -> Tensor {
        pass_poison!(self);
        let shape = or_poison!(dims.into().resolve(self.shape()));
        self.reshape_shape(&shape)
    }

    /// The axes `from..=to` as one.
    ///
    /// # Panics
    /// If an axis is out of range or `from` is after `to`.
    #[track_caller]
    pub fn flatten(&self, from: impl Into<Axis>, to: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let (a, b) = (or_poison!(from.into().resolve(self.rank(), "flatten")), or_poison!(to.into().resolve(self.rank(), "flatten")));
        if self.rank() == 0 {
            return self.flatten_all();
        }
        if a > b {
            slip_now!(Index, "flatten: axis {a} is after axis {b}");
        }
        let s = self.shape();
        let merged = s[a..=b].iter().product();
        self.reshape_shape(&s[..a].iter().copied().chain([merged]).chain(s[b + 1..].iter().copied()).collect())
    }

    /// One axis as several: the inverse of [`flatten`](Tensor::flatten). One extent may be -1.
    ///
    /// # Panics
    /// If the axis is out of range or its extent is not the product of `dims`.
    #[track_caller]
    pub fn unflatten(&self, axis: impl Into<Axis>, dims: impl Into<Dims>) -> Tensor {
        pass_poison!(self);
        let a = or_poison!(self.axis_required(axis.into(), "unflatten"));
        let s = self.shape();
        let parts = or_poison!(dims.into().resolve(&Shape::new(&[s[a]])));
        self.reshape_shape(&s[..a].iter().chain(parts.iter()).chain(&s[a + 1..]).copied().collect())
    }

    /// Axis i of the result is axis `order[i]` of this tensor.
    ///
    /// # Panics
    /// If `order` does not name every axis once.
    #[track_caller]
    pub fn permute(&self, order: impl Into<Axes>) -> Tensor {
        pass_poison!(self);
        let order = or_poison!(order.into().resolve_ordered(self.rank(), "permute"));
        if order.len() != self.rank() {
            slip_now!(Index, "permute: {} axes are named, shape {} has {}", order.len(), self.shape(), self.rank());
        }
        self.permute_axes(&order)
    }

    /// The transpose of a matrix; tensors of fewer than two axes stay as they are.
    ///
    /// # Panics
    /// If there are more than two axes: name them with [`transpose`](Tensor::transpose).
    #[track_caller]
    pub fn t(&self) -> Tensor {
        pass_poison!(self);
        match self.rank() {
            0 | 1 => self.clone(),
            2 => self.permute_axes(&[1, 0]),
            _ => slip_now!(Shape, "t: shape {} has more than two axes: name two with transpose(a, b)", self.shape()),
        }
    }

    /// Two axes swapped.
    ///
    /// # Panics
    /// If an axis is out of range.
    #[track_caller]
    pub fn transpose(&self, a: impl Into<Axis>, b: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let (a, b) = (or_poison!(a.into().resolve(self.rank(), "transpose")), or_poison!(b.into().resolve(self.rank(), "transpose")));
        let mut perm: AxisVec = (0..self.rank()).collect();
        if self.rank() > 0 {
            perm.swap(a, b);
        }
        self.permute_axes(&perm)
    }

    /// The last two axes swapped.
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn mt(&self) -> Tensor {
        pass_poison!(self);
        if self.rank() < 2 {
            slip_now!(Shape, "mt: shape {} has fewer than two axes", self.shape());
        }
        self.transpose(-2, -1)
    }

    /// Axes moved to other places; the rest keep their order.
    ///
    /// # Panics
    /// If an axis is out of range or named twice, or the lists differ in length.
    #[track_caller]
    pub fn movedim(&self, from: impl Into<Axes>, to: impl Into<Axes>) -> Tensor {
        pass_poison!(self);
        let from = or_poison!(from.into().resolve_ordered(self.rank(), "movedim"));
        let to = or_poison!(to.into().resolve_ordered(self.rank(), "movedim"));
        if from.len() != to.len() {
            slip_now!(Index, "movedim: {} axes go to {} places", from.len(), to.len());
        }
        let mut rest = (0..self.rank()).filter(|a| !from.contains(a));
        let perm: AxisVec =
            (0..self.rank()).map(|i| to.iter().position(|&t| t == i).map_or_else(|| rest.next().unwrap_or(i), |p| from[p])).collect();
        self.permute_axes(&perm)
    }

    /// Without all axes of extent 1.
    #[track_caller]
    pub fn squeeze(&self) -> Tensor {
        pass_poison!(self);
        self.reshape_shape(&self.shape().iter().copied().filter(|&d| d != 1).collect())
    }

    /// Without those of the given axes that have extent 1.
    ///
    /// # Panics
    /// If an axis is out of range or named twice.
    #[track_caller]
    pub fn squeeze_axis(&self, axes: impl Into<Axes>) -> Tensor {
        pass_poison!(self);
        let mut axes = or_poison!(axes.into().resolve(self.rank(), "squeeze"));
        axes.retain(|a| self.shape()[*a] == 1);
        self.reshape_shape(&self.shape().without(&axes))
    }

    /// With a new axis of extent 1, which becomes axis `axis` of the result.
    ///
    /// # Panics
    /// If the result has no such axis.
    #[track_caller]
    pub fn unsqueeze(&self, axis: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let a = or_poison!(axis.into().resolve(self.rank() + 1, "unsqueeze"));
        let mut dims: Vec<usize> = self.shape().to_vec();
        dims.insert(a, 1);
        self.reshape_shape(&Shape::new(&dims))
    }

    /// Stretched to `shape`: aligned at the right, axes of extent 1 and missing ones repeat.
    ///
    /// # Panics
    /// If an extent is neither equal nor 1.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Tensor {
        pass_poison!(self);
        let shape = shape.into();
        match self.shape().broadcast(&shape) {
            Ok(s) if s == shape => self.broadcast_shape(&shape),
            _ => slip_now!(
                Shape,
                "broadcast_to: shape {} does not stretch to {shape}: aligned at the right, extents must be equal or 1",
                self.shape()
            ),
        }
    }

    /// As [`broadcast_to`](Tensor::broadcast_to); -1 keeps an extent.
    ///
    /// # Panics
    /// If an extent is neither equal nor 1.
    #[track_caller]
    pub fn expand(&self, dims: impl Into<Dims>) -> Tensor {
        pass_poison!(self);
        let dims = dims.into().0;
        let Some(lead) = dims.len().checked_sub(self.rank()) else {
            slip_now!(Shape, "expand: shape {} has more axes than {dims:?}", self.shape())
        };
        let mut shape = Shape::scalar();
        for (i, &d) in dims.iter().enumerate() {
            let e = match d {
                -1 if i >= lead => self.shape()[i - lead],
                d if d >= 0 => d as usize,
                _ => slip_now!(Shape, "expand: shape {} to {dims:?}: axis {i} has no extent to keep", self.shape()),
            };
            shape = shape.iter().copied().chain([e]).collect();
        }
        self.broadcast_to(shape)
    }

    /// `length` indices from `start` along an axis. A negative start counts from the end.
    ///
    /// # Panics
    /// If they are out of range.
    #[track_caller]
    pub fn narrow(&self, axis: impl Into<Axis>, start: isize, length: usize) -> Tensor {
        pass_poison!(self);
        let a = or_poison!(self.axis_required(axis.into(), "narrow"));
        let n = self.shape()[a] as isize;
        let first = if start < 0 { start + n } else { start };
        if first < 0 || first + length as isize > n {
            slip_now!(Index, "narrow: {length} indices from {start} are out of range for axis {a} of extent {n}");
        }
        self.slice_axis(a, first as usize, first as usize + length, 1)
    }

    /// One index along an axis, which disappears. Negative counts from the end.
    ///
    /// # Panics
    /// If it is out of range.
    #[track_caller]
    pub fn select(&self, axis: impl Into<Axis>, index: isize) -> Tensor {
        pass_poison!(self);
        let a = or_poison!(self.axis_required(axis.into(), "select"));
        let n = self.shape()[a] as isize;
        let i = if index < 0 { index + n } else { index };
        if i < 0 || i >= n {
            slip_now!(Index, "select: index {index} is out of range for axis {a} of extent {n}");
        }
        self.slice_axis(a, i as usize, i as usize + 1, 1).reshape_shape(&self.shape().without(&[a]))
    }

    /// The whole tensor repeated so many times along each axis; more counts than axes add axes in front.
    ///
    /// # Panics
    /// If there are fewer counts than axes.
    #[track_caller]
    pub fn repeat(&self, counts: &[usize]) -> Tensor {
        pass_poison!(self);
        let Some(lead) = counts.len().checked_sub(self.rank()) else {
            slip_now!(Shape, "repeat: {} counts for shape {}: give one for each axis", counts.len(), self.shape())
        };
        let s: Shape = std::iter::repeat_n(1, lead).chain(self.shape().iter().copied()).collect();
        let one: Shape = s.iter().flat_map(|&d| [1, d]).collect();
        let many: Shape = s.iter().zip(counts).flat_map(|(&d, &c)| [c, d]).collect();
        let out: Shape = s.iter().zip(counts).map(|(&d, &c)| d * c).collect();
        if out == s {
            return self.reshape_shape(&s);
        }
        self.reshape_shape(&one).broadcast_shape(&many).reshape_shape(&out)
    }

    /// As [`repeat`](Tensor::repeat); fewer counts than axes apply to the last ones.
    #[track_caller]
    pub fn tile(&self, counts: &[usize]) -> Tensor {
        let lead = self.rank().saturating_sub(counts.len());
        let counts: SmallVec<[usize; 4]> = std::iter::repeat_n(1, lead).chain(counts.iter().copied()).collect();
        self.repeat(&counts)
    }

    /// Every index along an axis so many times in a row.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn repeat_interleave(&self, count: usize, axis: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let a = or_poison!(self.axis_required(axis.into(), "repeat_interleave"));
        let s = self.shape();
        let with = |c: usize| -> Shape { s[..=a].iter().copied().chain([c]).chain(s[a + 1..].iter().copied()).collect() };
        let mut out = s.clone();
        out[a] *= count;
        self.reshape_shape(&with(1)).broadcast_shape(&with(count)).reshape_shape(&out)
    }

    /// Moved along axes by so many places; what leaves at one end enters at the other.
    ///
    /// # Panics
    /// If an axis is out of range or the lists differ in length.
    #[track_caller]
    pub fn roll(&self, shifts: &[isize], axes: impl Into<Axes>) -> Tensor {
        pass_poison!(self);
        let axes = axes.into();
        let axes = or_poison!(axes.resolve_ordered(self.rank(), "roll"));
        if axes.len() != shifts.len() {
            slip_now!(Index, "roll: {} shifts for {} axes", shifts.len(), axes.len());
        }
        let mut x = self.clone();
        for (&a, &shift) in axes.iter().zip(shifts) {
            let n = x.shape()[a];
            if n == 0 {
                continue;
            }
            let cut = (n as isize - shift.rem_euclid(n as isize)) as usize % n;
            if cut != 0 {
                x = Tensor::concat_axis(&[x.slice_axis(a, cut, n, 1), x.slice_axis(a, 0, cut, 1)], a);
            }
        }
        x
    }

    /// Reversed along the axes.
    ///
    /// # Panics
    /// If an axis is out of range or named twice.
    #[track_caller]
    pub fn flip(&self, axes: impl Into<Axes>) -> Tensor {
        pass_poison!(self);
        let axes = or_poison!(axes.into().resolve(self.rank(), "flip"));
        self.flip_axes(&axes)
    }

    /// Turned by `k` quarters from axis `a` towards axis `b`.
    ///
    /// # Panics
    /// If the axes are out of range or the same.
    #[track_caller]
    pub fn rot90(&self, k: isize, a: impl Into<Axis>, b: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let (a, b) = (or_poison!(self.axis_required(a.into(), "rot90")), or_poison!(self.axis_required(b.into(), "rot90")));
        if a == b {
            slip_now!(Index, "rot90: both axes are axis {a}");
        }
        match k.rem_euclid(4) {
            0 => self.clone(),
            1 => self.flip_axes(&[b]).transpose(a, b),
            2 => self.flip_axes(&[a.min(b), a.max(b)]),
            _ => self.transpose(a, b).flip_axes(&[b]),
        }
    }

    /// A vector as the `k`-th diagonal of a square matrix of zeros, or the `k`-th diagonal of a matrix (positive: above the main one).
    ///
    /// # Panics
    /// If there are neither one nor two axes.
    #[track_caller]
    pub fn diag(&self, k: isize) -> Tensor {
        pass_poison!(self);
        match self.rank() {
            1 => self.diag_embed(k),
            2 => self.diagonal(k, 0, 1),
            _ => slip_now!(Shape, "diag: shape {} has neither one nor two axes", self.shape()),
        }
    }

    /// The last axis as the `k`-th diagonal of square matrices in the last two axes, zeros elsewhere.
    ///
    /// # Panics
    /// If there is no axis.
    #[track_caller]
    pub fn diag_embed(&self, k: isize) -> Tensor {
        pass_poison!(self);
        if self.rank() == 0 {
            slip_now!(Shape, "diag_embed: a 0-d tensor has no axis");
        }
        let (lead, len) = (&self.shape()[..self.rank() - 1], self.shape()[self.rank() - 1]);
        let n = len + k.unsigned_abs();
        let of = |tail: &[usize]| -> Shape { lead.iter().chain(tail).copied().collect() };
        if len == 0 {
            let _on = self.device().enter();
            return Tensor::constant(Scalar::Int(0), self.dtype(), &of(&[n, n]));
        }
        // Every row has the whole vector where its columns would be, and keeps the element of its own.
        let (before, after) = if k >= 0 { (n - len, 0) } else { (0, n - len) };
        let axis = lead.len();
        let rows = self.pad_axis(axis, before, after, Scalar::Int(0)).unsqueeze(-2).broadcast_shape(&of(&[n, n]));
        let _on = self.device().enter();
        rows.keep_where(&Tensor::diagonal_mask(n, n, k), 0.0)
    }

    /// The `k`-th diagonal of the matrices in two axes, as the last axis of the result.
    ///
    /// # Panics
    /// If the axes are out of range or the same.
    #[track_caller]
    pub fn diagonal(&self, k: isize, a: impl Into<Axis>, b: impl Into<Axis>) -> Tensor {
        pass_poison!(self);
        let (a, b) = (or_poison!(self.axis_required(a.into(), "diagonal")), or_poison!(self.axis_required(b.into(), "diagonal")));
        if a == b {
            slip_now!(Index, "diagonal: both axes are axis {a}");
        }
        let mut perm: AxisVec = (0..self.rank()).filter(|&x| x != a && x != b).collect();
        perm.extend([a, b]);
        let x = self.permute_axes(&perm);
        let r = x.rank();
        let (n, m) = (x.shape()[r - 2], x.shape()[r - 1]);
        let lead = Shape::new(&x.shape()[..r - 2]);
        let (row, column) = if k >= 0 { (0, k as usize) } else { (k.unsigned_abs(), 0) };
        let len = n.saturating_sub(row).min(m.saturating_sub(column));
        let flat = x.reshape_shape(&lead.iter().copied().chain([n * m]).collect());
        let start = if len == 0 { 0 } else { row * m + column };
        let end = if len == 0 { 0 } else { start + (len - 1) * (m + 1) + 1 };
        flat.slice_axis(r - 2, start, end, m + 1)
    }

    /// The sum of the main diagonal of a matrix.
    ///
    /// # Panics
    /// If there are not two axes.
    #[track_caller]
    pub fn trace(&self) -> Tensor {
        pass_poison!(self);
        if self.rank() != 2 {
            slip_now!(Shape, "trace: shape {} is no matrix", self.shape());
        }
        self.diagonal(0, 0, 1).sum(0)
    }

    /// The lower triangle of the matrices in the last two axes, up to the `k`-th diagonal; zeros above.
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn tril(&self, k: isize) -> Tensor {
        self.triangle(k, true)
    }

    /// The upper triangle of the matrices in the last two axes, from the `k`-th diagonal; zeros below.
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn triu(&self, k: isize) -> Tensor {
        self.triangle(k, false)
    }

    #[track_caller]
    fn triangle(&self, k: isize, lower: bool) -> Tensor {
        pass_poison!(self);
        let r = self.rank();
        if r < 2 {
            slip_now!(Shape, "{}: shape {} has fewer than two axes", if lower { "tril" } else { "triu" }, self.shape());
        }
        let _on = self.device().enter();
        let (n, m) = (self.shape()[r - 2], self.shape()[r - 1]);
        if lower { self.keep_where(&Tensor::lower_mask(n, m, k), 0.0) } else { self.replace(&Tensor::lower_mask(n, m, k - 1), 0.0) }
    }

    /// Windows of `size` along an axis, `step` apart, as a new last axis.
    ///
    /// # Panics
    /// If the window is larger than the extent, `step` is 0, or the axis is out of range.
    #[track_caller]
    pub fn unfold(&self, axis: impl Into<Axis>, size: usize, step: usize) -> Tensor {
        pass_poison!(self);
        if self.rank() == 0 && size <= 1 && step > 0 {
            // As PyTorch, a 0-d tensor counts as one element.
            return self.reshape_shape(&[1].into()).slice_axis(0, 0, size, 1);
        }
        let a = or_poison!(self.axis_required(axis.into(), "unfold"));
        let n = self.shape()[a];
        if size == 0 || size > n || step == 0 {
            slip_now!(Argument, "unfold: windows of {size}, {step} apart, along axis {a} of extent {n}");
        }
        let w = self.windows(a, size, step, 1);
        w.move_axis(a + 1, w.rank() - 1)
    }

    /// Windows along an axis: `[.., windows, size, ..]`, elements of one window `dilation` apart. They fit.
    #[track_caller]
    pub(crate) fn windows(&self, axis: usize, size: usize, step: usize, dilation: usize) -> Tensor {
        let s = self.shape();
        let count = (s[axis] - (size - 1) * dilation - 1) / step + 1;
        let shaped = |outer: usize, inner: usize| -> Shape {
            s[..axis].iter().copied().chain([outer, inner]).chain(s[axis + 1..].iter().copied()).collect()
        };
        if step == size && dilation == 1 {
            return self.slice_axis(axis, 0, count * size, 1).reshape_shape(&shaped(count, size));
        }
        let _on = self.device().enter();
        let grid = Shape::new(&[count, size]);
        let starts = Tensor::iota_shape(&grid, 0, DType::I64) * LitInt(step as i64);
        let index = starts + Tensor::iota_shape(&grid, 1, DType::I64) * LitInt(dilation as i64);
        self.gather_rows(axis, &index)
    }
}
