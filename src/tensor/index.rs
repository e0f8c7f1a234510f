//! Gathering and scattering by tensors of indices, along one axis. The `s![]` expressions are in `slice`.
//!
//! Indices are integers; a negative one counts from the end. One that is out of range reads the nearest element; an update there is
//! dropped. (Values are not known when an op is recorded, so this cannot be reported.)

use super::compose::{AxisVec, broadcast_all, highest, lowest, meet_dtype, or_poison, pass_poison, slip_now, whole};
use super::{LitInt, Operand, Rhs, Tensor};
use crate::base::error::{Result, bail};
use crate::base::{Axis, DType, Scalar, Shape};
use crate::trace::{Op, ScatterMode};

/// How [`Tensor::scatter_reduce`] combines what meets at one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScatterReduce {
    /// The sum.
    Sum,
    /// The product.
    Prod,
    /// The arithmetic mean.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

impl Tensor {
    /// `[.., N, ..]` indexed along an axis by a tensor of any shape: its axes take the axis's place. Indices are not negative.
    #[track_caller]
    pub(crate) fn gather_rows(&self, axis: usize, index: &Tensor) -> Tensor {
        let k = index.rank();
        let g = Tensor::record(Op::Gather(0), &[&self.move_axis(axis, 0), index]);
        pass_poison!(g);
        let perm: AxisVec = (k..k + axis).chain(0..k).chain(k + axis..g.rank()).collect();
        g.permute_axes(&perm)
    }

    /// Element by element along an axis: `index` has this tensor's shape except along it. Indices are not negative.
    #[track_caller]
    pub(crate) fn gather_axis(&self, axis: usize, index: &Tensor) -> Tensor {
        pass_poison!(self, index);
        let last = self.rank() - 1;
        let g = Tensor::record(Op::Gather(last as u8), &[&self.move_axis(axis, last), &index.move_axis(axis, last)]);
        pass_poison!(g);
        g.move_axis(last, axis)
    }

    /// The slices along an axis that a 1-d (or 0-d) integer tensor names; the axis has its length.
    ///
    /// # Panics
    /// If the axis is out of range, or `index` is not integer or has more than one axis.
    #[track_caller]
    pub fn index_select(&self, axis: impl Into<Axis>, index: &Tensor) -> Tensor {
        pass_poison!(self, index);
        let a = or_poison!(self.axis(axis.into(), "index_select"));
        or_poison!(integer("index_select", index));
        let Some(a) = a else {
            // As PyTorch, a 0-d tensor counts as one element.
            if index.numel() != 1 {
                slip_now!(Shape, "index_select: indices of shape {} for a 0-d tensor, which has one element", index.shape());
            }
            return self.flatten_all().gather_rows(0, &index.wrap_negative(1).flatten_all()).reshape_shape(self.shape());
        };
        if index.rank() > 1 {
            slip_now!(Shape, "index_select: indices of shape {} have more than one axis: use slice or gather", index.shape());
        }
        let i = index.wrap_negative(self.shape()[a]).flatten_all();
        self.gather_rows(a, &i)
    }

    /// The slices along an axis that an integer tensor of any shape names: its axes take the axis's place (NumPy's `take`).
    ///
    /// # Panics
    /// If the axis is out of range, or `index` is not integer.
    #[track_caller]
    pub fn take(&self, index: &Tensor, axis: impl Into<Axis>) -> Tensor {
        pass_poison!(self, index);
        let a = or_poison!(self.axis_required(axis.into(), "take"));
        or_poison!(integer("take", index));
        self.gather_rows(a, &index.wrap_negative(self.shape()[a]))
    }

    /// `out[i][j][k] = self[i][index[i][j][k]][k]` for axis 1 of three, as `torch.gather`: the result has `index`'s shape.
    ///
    /// # Panics
    /// If ranks differ, `index` is not integer, or it is longer than this tensor along another axis.
    #[track_caller]
    pub fn gather(&self, axis: impl Into<Axis>, index: &Tensor) -> Tensor {
        pass_poison!(self, index);
        let a = or_poison!(self.axis(axis.into(), "gather"));
        if index.numel() == 0 {
            // As PyTorch, no indices may have any shape; they name no element, whose derivative would be.
            or_poison!(integer("gather", index));
            return self.flatten_all().slice_axis(0, 0, 0, 1).reshape_shape(index.shape());
        }
        or_poison!(self.along("gather", a, index));
        let Some(a) = a else { return self.flatten_all().gather_rows(0, &index.wrap_negative(1)) };
        let mut spec = whole(self.shape());
        for i in (0..self.rank()).filter(|&i| i != a) {
            spec.end[i] = index.shape()[i];
        }
        self.slice_spec(spec).gather_axis(a, &index.wrap_negative(self.shape()[a]))
    }

    /// As [`gather`](Tensor::gather), the other axes broadcast together.
    ///
    /// # Panics
    /// If ranks differ, `index` is not integer or shapes do not broadcast.
    #[track_caller]
    pub fn take_along_dim(&self, index: &Tensor, axis: impl Into<Axis>) -> Tensor {
        pass_poison!(self, index);
        let a = or_poison!(self.axis_required(axis.into(), "take_along_dim"));
        or_poison!(integer("take_along_dim", index));
        if index.rank() != self.rank() {
            slip_now!(Shape, "take_along_dim: shape {} and indices of shape {} differ in rank", self.shape(), index.shape());
        }
        let common = or_poison!(broadcast_all("take_along_dim", &[&self.shape().keepdim(&[a]), &index.shape().keepdim(&[a])]));
        let with = |n: usize| {
            let mut s = common.clone();
            s[a] = n;
            s
        };
        let (n, k) = (self.shape()[a], index.shape()[a]);
        self.broadcast_shape(&with(n)).gather_axis(a, &index.wrap_negative(n).broadcast_shape(&with(k)))
    }

    /// This tensor with `src[i][j][k]` put at `[i][index[i][j][k]][k]` (axis 1 of three), as `torch.scatter`. `src` may be a number. Of
    /// several that meet, the last in row-major order wins.
    ///
    /// # Panics
    /// If ranks or dtypes differ, `index` is not integer, or it is longer than this tensor along another axis or than `src` along any.
    #[track_caller]
    pub fn scatter(&self, axis: impl Into<Axis>, index: &Tensor, src: impl Operand) -> Tensor {
        self.scatter_mode("scatter", axis.into(), index, &src.operand(), ScatterMode::Set)
    }

    /// As [`scatter`](Tensor::scatter), adding.
    ///
    /// # Panics
    /// As [`scatter`](Tensor::scatter).
    #[track_caller]
    pub fn scatter_add(&self, axis: impl Into<Axis>, index: &Tensor, src: impl Operand) -> Tensor {
        self.scatter_mode("scatter_add", axis.into(), index, &src.operand(), ScatterMode::Add)
    }

    /// As [`scatter`](Tensor::scatter), combining what meets at one element; without `include_self`, elements that are hit forget
    /// the value they had.
    ///
    /// # Panics
    /// As [`scatter`](Tensor::scatter).
    #[track_caller]
    pub fn scatter_reduce(
        &self,
        axis: impl Into<Axis>,
        index: &Tensor,
        src: impl Operand,
        reduce: ScatterReduce,
        include_self: bool,
    ) -> Tensor {
        self.scatter_reduce_rhs(axis.into(), index, &src.operand(), reduce, include_self)
    }

    #[track_caller]
    fn scatter_reduce_rhs(&self, axis: Axis, index: &Tensor, src: &Rhs, reduce: ScatterReduce, include_self: bool) -> Tensor {
        let op = "scatter_reduce";
        pass_poison!(self, index);
        let start = if include_self {
            self.clone()
        } else {
            let hit = self.hits(op, axis, index, DType::Bool);
            pass_poison!(hit);
            let value = match reduce {
                ScatterReduce::Max => lowest(self.dtype()),
                ScatterReduce::Min => highest(self.dtype()),
                ScatterReduce::Prod => Scalar::Int(1),
                _ => Scalar::Int(0),
            };
            let _on = self.device().enter();
            let blank = Tensor::constant(value, self.dtype(), self.shape());
            Tensor::where_(&hit, &blank, self)
        };
        let mode = match reduce {
            ScatterReduce::Max => ScatterMode::Max,
            ScatterReduce::Min => ScatterMode::Min,
            ScatterReduce::Prod => ScatterMode::Prod,
            _ => ScatterMode::Add,
        };
        let out = start.scatter_mode(op, axis, index, src, mode);
        if reduce != ScatterReduce::Mean {
            return out;
        }
        let n = self.hits(op, axis, index, DType::I32);
        let n = if include_self { n + LitInt(1) } else { n.maximum(LitInt(1)) };
        let n = n.cast(self.dtype());
        if self.dtype().is_float() { out / n } else { out.floor_divide(&n) }
    }

    /// The updates of a scatter, of this dtype and cut to the shape of the indices.
    #[track_caller]
    fn updates(&self, op: &str, index: &Tensor, src: &Rhs) -> Result<Tensor> {
        let Some(t) = src.tensor() else { return Ok(src.to_tensor(self.dtype()).broadcast_shape(index.shape())) };
        if t.0.poison().is_some() {
            return Ok(t.clone());
        }
        if t.dtype() != self.dtype() {
            bail!(DType, "{op}: the updates are {}, the tensor {}: cast one", t.dtype(), self.dtype());
        }
        // A 0-d tensor counts as one element.
        let t = if t.rank() == 0 && index.rank() == 1 { t.flatten_all() } else { t.clone() };
        let t = if t.numel() == 1 && index.rank() == 0 { t.reshape_shape(index.shape()) } else { t };
        if t.rank() != index.rank() || (0..t.rank()).any(|i| index.shape()[i] > t.shape()[i]) {
            bail!(Shape, "{op}: indices of shape {} are longer than the updates {}", index.shape(), t.shape());
        }
        let mut spec = whole(t.shape());
        spec.end.copy_from_slice(index.shape());
        Ok(t.slice_spec(spec))
    }

    /// How many updates meet at each element; of Bool, whether any do.
    #[track_caller]
    fn hits(&self, op: &str, axis: Axis, index: &Tensor, dtype: DType) -> Tensor {
        let _on = self.device().enter();
        let zeros = Tensor::constant(Scalar::Int(0).cast(dtype), dtype, self.shape());
        let one = Tensor::constant(Scalar::Int(1).cast(dtype), dtype, &Shape::scalar());
        let mode = if dtype == DType::Bool { ScatterMode::Set } else { ScatterMode::Add };
        zeros.scatter_mode(op, axis, index, &Rhs::Tensor(one.broadcast_shape(index.shape())), mode)
    }

    #[track_caller]
    fn scatter_mode(&self, op: &str, axis: Axis, index: &Tensor, src: &Rhs, mode: ScatterMode) -> Tensor {
        pass_poison!(self, index);
        let a = or_poison!(self.axis(axis, op));
        or_poison!(self.along(op, a, index));
        let src = or_poison!(self.updates(op, index, src));
        pass_poison!(src);
        let mode = if self.dtype() == DType::Bool { of_truth_values(mode) } else { mode };
        if index.numel() == 0 {
            return self.clone();
        }
        let Some(a) = a else {
            let one = Shape::new(&[1]);
            let parts = [self.reshape_shape(&one), index.reshape_shape(&one), src.reshape_shape(&one)];
            return Tensor::record(Op::Scatter(mode, 0), &[&parts[0], &parts[1], &parts[2]]).reshape_shape(self.shape());
        };
        let index = index.wrap_negative(self.shape()[a]);
        // Where the indices do not cover the other axes, only a corner takes part.
        let mut corner = whole(self.shape());
        for i in (0..self.rank()).filter(|&i| i != a) {
            corner.end[i] = index.shape()[i];
        }
        let part = self.slice_spec(corner.clone());
        // The axes behind are part of the place, so that nothing is transposed.
        let (n, inner) = (part.shape()[a], part.count_along(&(a + 1..part.rank()).collect::<AxisVec>()));
        let flat = |t: &Tensor| {
            let shape: Shape = t.shape()[..a].iter().copied().chain([t.shape()[a] * inner]).collect();
            t.reshape_shape(&shape)
        };
        let index = if inner == 1 {
            index
        } else {
            let _on = self.device().enter();
            let shape: Shape = index.shape()[a + 1..].iter().copied().collect();
            let behind = Tensor::iota_shape(&Shape::new(&[inner]), 0, DType::I64).reshape_shape(&shape);
            // What is outside stays outside, however far.
            let row = index.cast(DType::I64).maximum(LitInt(-1)).minimum(LitInt(n as i64));
            row * LitInt(inner as i64) + behind
        };
        let out = Tensor::record(Op::Scatter(mode, a as u8), &[&flat(&part), &flat(&index), &flat(&src)]);
        pass_poison!(out);
        let out = out.reshape_shape(part.shape());
        if out.shape() == self.shape() {
            return out;
        }
        let items: Vec<super::SliceItem> = corner.end.iter().map(|&e| (0..e).into()).collect();
        self.slice_update(items, &out)
    }

    /// This tensor with `src`'s slices along an axis added to the slices that a 1-d integer tensor names.
    ///
    /// # Panics
    /// If the axis is out of range, `index` is not 1-d integer, or `src` does not have its length there and this shape elsewhere.
    #[track_caller]
    pub fn index_add(&self, axis: impl Into<Axis>, index: &Tensor, src: &Tensor) -> Tensor {
        self.index_update("index_add", axis.into(), index, src, ScatterMode::Add)
    }

    /// This tensor with the slices along an axis that a 1-d integer tensor names replaced by `src`'s.
    ///
    /// # Panics
    /// As [`index_add`](Tensor::index_add).
    #[track_caller]
    pub fn index_copy(&self, axis: impl Into<Axis>, index: &Tensor, src: &Tensor) -> Tensor {
        self.index_update("index_copy", axis.into(), index, src, ScatterMode::Set)
    }

    #[track_caller]
    fn index_update(&self, op: &str, axis: Axis, index: &Tensor, src: &Tensor, mode: ScatterMode) -> Tensor {
        pass_poison!(self, index, src);
        let a = or_poison!(self.axis(axis, op));
        or_poison!(integer(op, index));
        let Some(a) = a else {
            let one = Shape::new(&[1]);
            return self.reshape_shape(&one).index_update(op, axis, index, &src.reshape_shape(&one), mode).reshape_shape(self.shape());
        };
        let mut want = self.shape().clone();
        want[a] = index.numel();
        if index.rank() > 1 || *src.shape() != want || src.dtype() != self.dtype() {
            slip_now!(
                Shape,
                "{op}: into {} {} along axis {a} at indices {}: updates are {} {}, expected {} {want}",
                self.dtype(),
                self.shape(),
                index.shape(),
                src.dtype(),
                src.shape(),
                self.dtype()
            );
        }
        let index = index.wrap_negative(self.shape()[a]).flatten_all();
        let mode = if self.dtype() == DType::Bool { of_truth_values(mode) } else { mode };
        let each: Shape = self.shape()[..a].iter().copied().chain([index.numel()]).collect();
        Tensor::record(Op::Scatter(mode, a as u8), &[self, &index.broadcast_shape(&each), src])
    }

    /// This tensor with the slices along an axis that a 1-d integer tensor names filled with `value` (a number or a 0-d tensor).
    ///
    /// # Panics
    /// If the axis is out of range, `index` is not 1-d integer, or a float goes into an integer tensor.
    #[track_caller]
    pub fn index_fill(&self, axis: impl Into<Axis>, index: &Tensor, value: impl Operand) -> Tensor {
        self.index_fill_rhs(axis.into(), index, &value.operand())
    }

    #[track_caller]
    fn index_fill_rhs(&self, axis: Axis, index: &Tensor, value: &Rhs) -> Tensor {
        pass_poison!(self, index);
        if meet_dtype(&self.operand(), value).is_float() && !self.dtype().is_float() {
            slip_now!(DType, "index_fill: a {} value does not go into a {} tensor: cast the tensor first", value.dtype(), self.dtype());
        }
        let a = or_poison!(self.axis(axis, "index_fill"));
        let mut shape = self.shape().clone();
        if let Some(a) = a {
            shape[a] = index.numel();
        }
        let value = value.to_tensor(self.dtype()).broadcast_to(&shape);
        pass_poison!(value);
        self.index_update("index_fill", axis, index, &value, ScatterMode::Set)
    }

    /// This tensor with the slice at `index` of an axis replaced by `src`.
    ///
    /// # Panics
    /// If the axis or index is out of range or `src` does not broadcast to the slice.
    #[track_caller]
    pub fn select_scatter(&self, src: &Tensor, axis: impl Into<Axis>, index: isize) -> Tensor {
        pass_poison!(self, src);
        let a = or_poison!(self.axis_required(axis.into(), "select_scatter"));
        let items = (0..a).map(|_| super::SliceItem::from(..).step(1)).chain([super::SliceItem::from(index)]);
        self.slice_update(items, src)
    }

    /// This tensor with `start..end` by `step` of an axis replaced by `src`.
    ///
    /// # Panics
    /// If the axis is out of range, `step` is not positive or `src` does not broadcast to the part.
    #[track_caller]
    pub fn slice_scatter(&self, src: &Tensor, axis: impl Into<Axis>, start: isize, end: isize, step: usize) -> Tensor {
        pass_poison!(self, src);
        let a = or_poison!(self.axis_required(axis.into(), "slice_scatter"));
        let items = (0..a).map(|_| super::SliceItem::from(..).step(1)).chain([super::SliceItem::from(start..end).step(step as isize)]);
        self.slice_update(items, src)
    }

    /// This tensor with `value` where `mask` (which broadcasts to it) holds. The dtype stays.
    ///
    /// # Panics
    /// If the mask is not Bool or does not broadcast to this shape, or a float goes into an integer tensor.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: impl Operand) -> Tensor {
        self.masked_fill_rhs(mask, &value.operand())
    }

    #[track_caller]
    fn masked_fill_rhs(&self, mask: &Tensor, value: &Rhs) -> Tensor {
        pass_poison!(self, mask);
        if let Some(t) = value.tensor() {
            pass_poison!(t);
        }
        if meet_dtype(&self.operand(), value).is_float() && !self.dtype().is_float() {
            slip_now!(DType, "masked_fill: a {} value does not go into a {} tensor: cast the tensor first", value.dtype(), self.dtype());
        }
        let shape = or_poison!(broadcast_all("masked_fill", &[self.shape(), mask.shape(), &value.shape()]));
        if shape != *self.shape() {
            slip_now!(Shape, "masked_fill: a mask of shape {} does not broadcast to shape {}", mask.shape(), self.shape());
        }
        Tensor::select_as("masked_fill", mask, value, &self.operand(), self.dtype())
    }

    /// I64 `[.., classes]` with a 1 at each index, zeros elsewhere (everywhere if the index is out of range).
    ///
    /// # Panics
    /// If this tensor is not integer.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        pass_poison!(self);
        or_poison!(integer("one_hot", self));
        let _on = self.device().enter();
        let shape: Shape = self.shape().iter().copied().chain([classes]).collect();
        let zeros = Tensor::constant(Scalar::Int(0), DType::I64, &Shape::new(&[shape.numel()]));
        if shape.numel() == 0 {
            return zeros.reshape_shape(&shape);
        }
        // One update for each row; that of an index out of range is dropped.
        let (id, n) = (self.cast(DType::I64).flatten_all(), classes as i64);
        let row = Tensor::iota_shape(id.shape(), 0, DType::I64) * LitInt(n);
        let there = id.ge(LitInt(0)).bitwise_and(id.lt(LitInt(n)));
        let at = (row + &id).keep_where(&there, -1.0);
        let one = Tensor::constant(Scalar::Int(1), DType::I64, id.shape());
        Tensor::record(Op::Scatter(ScatterMode::Set, 0), &[&zeros, &at, &one]).reshape_shape(&shape)
    }

    /// The rows of this table `[V, D]` that an integer tensor of any shape names: `[ids.., D]`. Ids are not negative.
    ///
    /// # Panics
    /// If this is no matrix or `ids` are not integer.
    #[track_caller]
    pub fn embedding(&self, ids: &Tensor) -> Tensor {
        pass_poison!(self, ids);
        or_poison!(integer("embedding", ids));
        if self.rank() != 2 {
            slip_now!(Shape, "embedding: the table has shape {}, expected [V, D]", self.shape());
        }
        let ids = if matches!(ids.dtype(), DType::I32 | DType::I64) { ids.clone() } else { ids.cast(DType::I64) };
        Tensor::record(Op::Gather(0), &[self, &ids])
    }

    /// Checks the operands of gather and scatter along an axis.
    fn along(&self, op: &str, axis: Option<usize>, index: &Tensor) -> Result<()> {
        integer(op, index)?;
        let fits = self.rank() == index.rank() && (0..self.rank()).all(|i| Some(i) == axis || index.shape()[i] <= self.shape()[i]);
        // As PyTorch, a 0-d tensor counts as one element.
        let one = self.rank() == 0 && index.numel() == 1 && index.rank() <= 1;
        if !(fits || one) {
            bail!(
                Shape,
                "{op}: indices of shape {} do not fit shape {}: as many axes, and no longer except along the axis",
                index.shape(),
                self.shape()
            );
        }
        Ok(())
    }
}

/// A sum of truth values is "or", a product "and".
fn of_truth_values(mode: ScatterMode) -> ScatterMode {
    match mode {
        ScatterMode::Add => ScatterMode::Max,
        ScatterMode::Prod => ScatterMode::Min,
        mode => mode,
    }
}

pub(super) fn integer(op: &str, index: &Tensor) -> Result<()> {
    if !index.dtype().is_int() {
        bail!(DType, "{op}: indices are {}, not integers", index.dtype());
    }
    Ok(())
}
