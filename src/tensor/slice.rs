//! The `s![]` index expressions: what they mean, reading ([`Tensor::slice`]) and writing ([`Tensor::slice_update`]) through them.
//!
//! Basic items (integers, ranges, `..`, [`NewAxis`]) become views. Tensor items gather: several broadcast together, as NumPy's
//! advanced indices; their axes take the place of the first if they stand side by side, else they come first. Integers are applied
//! before, as PyTorch does.

use super::compose::{AxisVec, broadcast_all, or_poison, pass_poison, slip_now, whole};
use super::{LitInt, Operand, Rhs, Tensor};
use crate::base::error::{Result, bail, err};
use crate::base::{DType, Scalar, Shape};
use crate::trace::{Op, ScatterMode, SliceSpec};
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// One item of an index expression: see [`s!`](crate::s).
#[derive(Clone, Debug)]
pub struct SliceItem(Item);

#[derive(Clone, Debug)]
enum Item {
    Index(isize),
    Range {
        start: Option<isize>,
        end: Option<isize>,
        step: isize,
    },
    /// A bare `..`.
    Rest,
    NewAxis,
    Tensor(Tensor),
    /// A step where there can be none.
    Stepped,
}

/// In `s![]`: a new axis of extent 1.
#[derive(Clone, Copy, Debug)]
pub struct NewAxis;

impl SliceItem {
    /// Every `step`-th index of a range; a negative step walks backwards, from `start` (by default the last) down to, not including,
    /// `end`, as in NumPy.
    pub fn step(self, step: isize) -> SliceItem {
        SliceItem(match self.0 {
            Item::Range { start, end, .. } => Item::Range { start, end, step },
            Item::Rest => Item::Range { start: None, end: None, step },
            _ => Item::Stepped,
        })
    }

    fn range(start: Option<isize>, end: Option<isize>) -> SliceItem {
        SliceItem(Item::Range { start, end, step: 1 })
    }

    /// The end of `..=last`: one further, where -1 is the end itself.
    fn after(last: isize) -> Option<isize> {
        if last == -1 { None } else { Some(last + 1) }
    }
}

macro_rules! from_ints {
    ($($t:ty),*) => {$(
        impl From<$t> for SliceItem { fn from(x: $t) -> Self { SliceItem(Item::Index(x as isize)) } }
        impl From<Range<$t>> for SliceItem { fn from(x: Range<$t>) -> Self { SliceItem::range(Some(x.start as isize), Some(x.end as isize)) } }
        impl From<RangeFrom<$t>> for SliceItem { fn from(x: RangeFrom<$t>) -> Self { SliceItem::range(Some(x.start as isize), None) } }
        impl From<RangeTo<$t>> for SliceItem { fn from(x: RangeTo<$t>) -> Self { SliceItem::range(None, Some(x.end as isize)) } }
        impl From<RangeInclusive<$t>> for SliceItem {
            fn from(x: RangeInclusive<$t>) -> Self { SliceItem::range(Some(*x.start() as isize), SliceItem::after(*x.end() as isize)) }
        }
        impl From<RangeToInclusive<$t>> for SliceItem {
            fn from(x: RangeToInclusive<$t>) -> Self { SliceItem::range(None, SliceItem::after(x.end as isize)) }
        }
    )*};
}
from_ints!(isize, usize, i32, i64);
impl From<RangeFull> for SliceItem {
    fn from(_: RangeFull) -> Self {
        SliceItem(Item::Rest)
    }
}
impl From<NewAxis> for SliceItem {
    fn from(_: NewAxis) -> Self {
        SliceItem(Item::NewAxis)
    }
}
impl From<&Tensor> for SliceItem {
    fn from(t: &Tensor) -> Self {
        SliceItem(Item::Tensor(t.clone()))
    }
}
impl From<Tensor> for SliceItem {
    fn from(t: Tensor) -> Self {
        SliceItem(Item::Tensor(t))
    }
}

/// An index expression for [`Tensor::slice`](crate::Tensor::slice) and [`Tensor::slice_update`](crate::Tensor::slice_update).
///
/// Items, one an axis from the first: an integer (negative counts from the end; the axis disappears), a range (clipped to the
/// extent), a range with a step as in `..;2`, `NewAxis`, or a tensor of indices or of Bool. One bare `..` stands for all axes not
/// named, like NumPy's `...`; where there are several, each is one whole axis, as is `..;1`.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::zeros([4, 5, 6]);
/// assert_eq!(x.slice(s![1, 0..3, ..;2]).shape().to_vec(), [3, 3]);
/// assert_eq!(x.slice(s![.., -1]).shape().to_vec(), [4, 5]);
/// ```
#[macro_export]
macro_rules! s {
    (@ [$($o:tt)*]) => { [$($o)*] };
    (@ [$($o:tt)*] $e:expr ; $st:expr , $($r:tt)*) => { $crate::s!(@ [$($o)* $crate::SliceItem::from($e).step($st),] $($r)*) };
    (@ [$($o:tt)*] $e:expr ; $st:expr) => { $crate::s!(@ [$($o)* $crate::SliceItem::from($e).step($st),]) };
    (@ [$($o:tt)*] $e:expr , $($r:tt)*) => { $crate::s!(@ [$($o)* $crate::SliceItem::from($e),] $($r)*) };
    (@ [$($o:tt)*] $e:expr) => { $crate::s!(@ [$($o)* $crate::SliceItem::from($e),]) };
    ($($t:tt)*) => { $crate::s!(@ [] $($t)*) };
}

/// An index expression resolved for one shape.
struct Plan {
    /// The strided part, before backward steps.
    spec: SliceSpec,
    /// Axes walked backwards.
    flips: AxisVec,
    /// The result of the basic items: integer axes gone, new axes in.
    dims: Shape,
    /// Tensor items: their axis in `dims`, and integer indices.
    tensors: Vec<(usize, Tensor)>,
}

impl Plan {
    #[track_caller]
    fn new(x: &Tensor, items: &[SliceItem]) -> Result<Plan> {
        let rank = x.rank();
        let takes = |i: &Item| match i {
            Item::NewAxis => 0,
            Item::Tensor(t) if t.dtype() == DType::Bool => t.rank(),
            _ => 1,
        };
        let rests = items.iter().filter(|i| matches!(i.0, Item::Rest)).count();
        let named: usize = items.iter().filter(|i| !matches!(i.0, Item::Rest)).map(|i| takes(&i.0)).sum();
        let rest = if rests == 1 { rank.saturating_sub(named) } else { 1 };
        if named + if rests == 1 { 0 } else { rests } > rank {
            bail!(Index, "slice: {} indices for shape {} of {rank} axes", named + if rests == 1 { 0 } else { rests }, x.shape());
        }
        let mut p = Plan { spec: whole(x.shape()), flips: AxisVec::new(), dims: Shape::scalar(), tensors: Vec::new() };
        let (mut axis, mut dims) = (0, Vec::new());
        for item in items {
            match &item.0 {
                Item::NewAxis => dims.push(1),
                Item::Stepped => bail!(Argument, "slice: a step after something that is no range"),
                Item::Rest => {
                    dims.extend_from_slice(&x.shape()[axis..axis + rest]);
                    axis += rest;
                }
                Item::Index(i) => {
                    let n = x.shape()[axis] as isize;
                    let at = if *i < 0 { i + n } else { *i };
                    if at < 0 || at >= n {
                        bail!(Index, "slice: index {i} is out of range for axis {axis} of extent {n} (shape {})", x.shape());
                    }
                    (p.spec.start[axis], p.spec.end[axis]) = (at as usize, at as usize + 1);
                    axis += 1;
                }
                Item::Range { start, end, step } => {
                    dims.push(p.range(axis, x.shape()[axis], *start, *end, *step)?);
                    axis += 1;
                }
                Item::Tensor(t) if t.dtype() == DType::Bool => {
                    let over = Shape::new(&x.shape()[axis..axis + t.rank()]);
                    if *t.shape() != over {
                        bail!(Shape, "slice: a mask of shape {} over axes {axis}.. of shape {}", t.shape(), x.shape());
                    }
                    for index in t.nonzero_axes("slice by a mask")? {
                        p.tensors.push((dims.len(), index));
                        dims.push(x.shape()[axis]);
                        axis += 1;
                    }
                }
                Item::Tensor(t) => {
                    if !t.dtype().is_int() {
                        bail!(DType, "slice: indices are {}, not integers or bool", t.dtype());
                    }
                    p.tensors.push((dims.len(), t.wrap_negative(x.shape()[axis])));
                    dims.push(x.shape()[axis]);
                    axis += 1;
                }
            }
        }
        dims.extend_from_slice(&x.shape()[axis..]);
        p.dims = Shape::new(&dims);
        Ok(p)
    }

    /// Enters one range, clipped as in Python; returns how many indices it takes.
    fn range(&mut self, axis: usize, extent: usize, start: Option<isize>, end: Option<isize>, step: isize) -> Result<usize> {
        let n = extent as isize;
        if step == 0 {
            bail!(Argument, "slice: step 0 along axis {axis}");
        }
        let clip = |i: isize, lo: isize, hi: isize| (if i < 0 { i + n } else { i }).clamp(lo, hi);
        let by = step.unsigned_abs();
        if step > 0 {
            let a = start.map_or(0, |i| clip(i, 0, n)) as usize;
            let b = (end.map_or(n, |i| clip(i, 0, n)) as usize).max(a);
            (self.spec.start[axis], self.spec.end[axis], self.spec.step[axis]) = (a, b, by);
            return Ok((b - a).div_ceil(by));
        }
        // Downwards from `first`; the same indices upwards start where that walk ends.
        let first = start.map_or(n - 1, |i| clip(i, -1, n - 1));
        let stop = end.map_or(-1, |i| clip(i, -1, n - 1));
        let count = if first > stop { ((first - stop) as usize).div_ceil(by) } else { 0 };
        let low = if count == 0 { 0 } else { first as usize - (count - 1) * by };
        (self.spec.start[axis], self.spec.end[axis], self.spec.step[axis]) = (low, if count == 0 { low } else { first as usize + 1 }, by);
        if count > 1 {
            self.flips.push(axis);
        }
        Ok(count)
    }

    /// The extents of the strided part.
    fn kept(&self) -> Shape {
        (0..self.spec.start.len()).map(|a| (self.spec.end[a] - self.spec.start[a]).div_ceil(self.spec.step[a])).collect()
    }

    /// Applies the basic items.
    #[track_caller]
    fn view(&self, x: &Tensor) -> Tensor {
        x.slice_spec(self.spec.clone()).flip_axes(&self.flips).reshape_shape(&self.dims)
    }
}

impl Tensor {
    /// The part an index expression names: `x.slice(s![0, 1..3, ..;2])`, see [`s!`](crate::s).
    ///
    /// A Bool tensor in it is evaluated, because the shape depends on it. A run-time index below 0 counts from the end; one out of
    /// range reads the nearest element.
    ///
    /// # Panics
    /// If there are more items than axes, an integer is out of range, index tensors do not broadcast together or a mask does not fit.
    #[track_caller]
    pub fn slice(&self, items: impl IntoIterator<Item = SliceItem>) -> Tensor {
        let items: Vec<SliceItem> = items.into_iter().collect();
        self.slice_items(&items)
    }

    #[track_caller]
    fn slice_items(&self, items: &[SliceItem]) -> Tensor {
        pass_poison!(self);
        for i in items {
            if let Item::Tensor(t) = &i.0 {
                pass_poison!(t);
            }
        }
        let p = or_poison!(Plan::new(self, items));
        let x = p.view(self);
        match &p.tensors[..] {
            [] => x,
            [(axis, index)] => x.gather_rows(*axis, index),
            several => {
                let axes: AxisVec = several.iter().map(|(a, _)| *a).collect();
                let side_by_side = axes.windows(2).all(|w| w[1] == w[0] + 1);
                let first = if side_by_side { axes[0] } else { 0 };
                let mut perm: AxisVec = (0..x.rank()).filter(|a| !axes.contains(a)).collect();
                perm.insert_many(first, axes.iter().copied());
                let x = x.permute_axes(&perm);
                let extents: AxisVec = (first..first + axes.len()).map(|a| x.shape()[a]).collect();
                let list: Vec<Tensor> = several.iter().map(|(_, i)| i.clone()).collect();
                let index = or_poison!(flat_index("slice", &list, &extents, false));
                let merged = merge(x.shape(), first, axes.len());
                x.reshape_shape(&merged).gather_rows(first, &index)
            }
        }
    }

    /// This tensor with the part an index expression names replaced by `value`, which broadcasts to that part and is cast to this
    /// dtype. The tensor itself does not change. Where tensors of indices name an element twice, the last in row-major order wins.
    ///
    /// # Panics
    /// As [`slice`](Tensor::slice), and if `value` does not broadcast to the part.
    #[track_caller]
    pub fn slice_update(&self, items: impl IntoIterator<Item = SliceItem>, value: impl Operand) -> Tensor {
        let items: Vec<SliceItem> = items.into_iter().collect();
        self.update_items(&items, &value.operand(), ScatterMode::Set)
    }

    #[track_caller]
    fn update_items(&self, items: &[SliceItem], value: &Rhs, mode: ScatterMode) -> Tensor {
        pass_poison!(self);
        for i in items {
            if let Item::Tensor(t) = &i.0 {
                pass_poison!(t);
            }
        }
        let p = or_poison!(Plan::new(self, items));
        let value = value.to_tensor(self.dtype());
        pass_poison!(value);
        if !p.tensors.is_empty() {
            return self.update_scattered(&p, items, &value, mode);
        }
        let fits = value.shape().broadcast(&p.dims).is_ok_and(|s| s == p.dims);
        if !fits {
            slip_now!(Shape, "slice_update: a value of shape {} does not broadcast to the part's shape {}", value.shape(), p.dims);
        }
        let mut v = value.broadcast_shape(&p.dims).reshape_shape(&p.kept()).flip_axes(&p.flips);
        let mut mask: Option<Tensor> = None;
        for a in 0..self.rank() {
            let (start, end, step, n) = (p.spec.start[a], p.spec.end[a], p.spec.step[a], self.shape()[a]);
            if (start, end, step) == (0, n, 1) {
                continue;
            }
            v = v.spread(a, step);
            v = v.pad_axis(a, start, n - start - v.shape()[a], Scalar::Int(0));
            let i = self.iota_along(a);
            let mut here = i.ge(LitInt(start as i64)).bitwise_and(i.lt(LitInt(end as i64)));
            if step > 1 {
                here = here.bitwise_and((i - LitInt(start as i64)).fmod(LitInt(step as i64)).eq(LitInt(0)));
            }
            mask = Some(match mask {
                Some(m) => m.bitwise_and(&here),
                None => here,
            });
        }
        match mask {
            Some(m) => Tensor::select_as("slice_update", &m, &v.operand(), &self.operand(), self.dtype()),
            None => v,
        }
    }

    /// `step - 1` zeros between the elements of an axis.
    #[track_caller]
    pub(crate) fn spread(&self, axis: usize, step: usize) -> Tensor {
        let n = self.shape()[axis];
        if step == 1 || n < 2 {
            return self.clone();
        }
        let with = |a: usize, b: usize| -> Shape {
            self.shape()[..axis].iter().copied().chain([a, b]).chain(self.shape()[axis + 1..].iter().copied()).collect()
        };
        let mut flat = self.shape().clone();
        flat[axis] = n * step;
        let padded = self.reshape_shape(&with(n, 1)).pad_axis(axis + 1, 0, step - 1, Scalar::Int(0));
        padded.reshape_shape(&flat).slice_axis(axis, 0, (n - 1) * step + 1, 1)
    }

    /// An update through tensors of indices.
    #[track_caller]
    fn update_scattered(&self, p: &Plan, items: &[SliceItem], value: &Tensor, mode: ScatterMode) -> Tensor {
        let m = p.tensors.len();
        let leading = p.dims == *self.shape() && p.tensors.iter().enumerate().all(|(i, (a, _))| i == *a);
        if leading && p.spec == whole(self.shape()) {
            // Whole rows of the leading axes.
            let list: Vec<Tensor> = p.tensors.iter().map(|(_, i)| i.clone()).collect();
            let index = or_poison!(flat_index("slice_update", &list, &self.shape()[..m], true));
            let rows = merge(self.shape(), 0, m);
            let want: Shape = index.shape().iter().chain(&rows[1..]).copied().collect();
            let updates = value.broadcast_to(want);
            pass_poison!(updates);
            let x = self.reshape_shape(&rows);
            let out = Tensor::record(Op::Scatter(mode, 0), &[&x, &index, &updates]);
            pass_poison!(out);
            return out.reshape_shape(self.shape());
        }
        // Anything else: where each taken element lies, by indexing the places themselves.
        let _on = self.device().enter();
        let places = Tensor::iota_shape(&Shape::new(&[self.numel()]), 0, DType::I64).reshape_shape(self.shape()).slice_items(items);
        pass_poison!(places);
        let updates = value.broadcast_to(places.shape());
        pass_poison!(updates);
        let scattered = Tensor::record(Op::Scatter(mode, 0), &[&self.flatten_all(), &places.flatten_all(), &updates.flatten_all()]);
        pass_poison!(scattered);
        scattered.reshape_shape(self.shape())
    }

    /// This tensor with the elements at `indices` (one tensor for each of the first axes, broadcast together; integers, or Bool masks,
    /// which are evaluated) set to `values`, or, with `accumulate`, with `values` added there.
    ///
    /// # Panics
    /// As [`slice_update`](Tensor::slice_update).
    #[track_caller]
    pub fn index_put(&self, indices: &[&Tensor], values: impl Operand, accumulate: bool) -> Tensor {
        let items: Vec<SliceItem> = indices.iter().map(|t| SliceItem::from(*t)).collect();
        // A sum of truth values is "or".
        let add = if self.dtype() == DType::Bool { ScatterMode::Max } else { ScatterMode::Add };
        self.update_items(&items, &values.operand(), if accumulate { add } else { ScatterMode::Set })
    }

    /// The positions of the elements that differ from 0, I64 `[count, rank]`, in row-major order. Evaluates, because the shape depends
    /// on the values.
    ///
    /// # Panics
    /// Inside a transform or `jit`, or if the value cannot be computed.
    #[track_caller]
    pub fn nonzero(&self) -> Tensor {
        pass_poison!(self);
        let axes = or_poison!(self.cast(DType::Bool).nonzero_axes("nonzero"));
        if axes.is_empty() {
            // A 0-d tensor has one element, or none, and no axis to name it by.
            let count = or_poison!(self.cast(DType::Bool).true_places("nonzero")).len();
            return Tensor::zeros([count, 0]).cast(DType::I64);
        }
        Tensor::stack(&axes, 1)
    }

    /// The positions of true elements of a Bool tensor, one I64 `[count]` for each axis.
    #[track_caller]
    pub(crate) fn nonzero_axes(&self, op: &str) -> Result<Vec<Tensor>> {
        let _on = self.device().enter();
        let places = self.true_places(op)?;
        let strides = self.shape().strides();
        let mut out = Vec::with_capacity(self.rank());
        for a in 0..self.rank() {
            let index: Vec<i64> = places.iter().map(|p| (p / strides[a] % self.shape()[a]) as i64).collect();
            out.push(Tensor::from_vec(index, [places.len()]));
        }
        Ok(out)
    }

    /// The row-major positions of true elements of a Bool tensor.
    fn true_places(&self, op: &str) -> Result<Vec<usize>> {
        let bytes = self.to_bytes().map_err(|e| {
            err!(
                Argument,
                "{op} needs the values, because the result's shape depends on them: {} (use where_ to keep the shape)",
                e.message()
            )
        })?;
        Ok(bytes.iter().enumerate().filter(|(_, b)| **b != 0).map(|(i, _)| i).collect())
    }

    /// The elements where `mask` (broadcast together with this tensor) holds, in row-major order: 1-d. Evaluates the mask.
    ///
    /// # Panics
    /// If the mask is not Bool or does not broadcast; inside a transform or `jit`; if the mask cannot be computed.
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Tensor {
        pass_poison!(self, mask);
        if mask.dtype() != DType::Bool {
            slip_now!(DType, "masked_select: the mask is {}, not bool", mask.dtype());
        }
        let shape = or_poison!(broadcast_all("masked_select", &[self.shape(), mask.shape()]));
        let places = or_poison!(mask.broadcast_shape(&shape).true_places("masked_select"));
        let _on = self.device().enter();
        let count = places.len();
        let index = Tensor::from_vec(places.into_iter().map(|p| p as i64).collect(), [count]);
        self.broadcast_shape(&shape).flatten_all().gather_rows(0, &index)
    }
}

/// `shape` with `count` axes from `first` as one.
fn merge(shape: &Shape, first: usize, count: usize) -> Shape {
    let n = shape[first..first + count].iter().product();
    shape[..first].iter().copied().chain([n]).chain(shape[first + count..].iter().copied()).collect()
}

/// Several indices, broadcast together, as one index into the row-major order of their axes. What is out of range becomes -1 if
/// `drop`, else the nearest index: it must not alias another element.
#[track_caller]
fn flat_index(op: &str, indices: &[Tensor], extents: &[usize], drop: bool) -> Result<Tensor> {
    let shapes: Vec<&Shape> = indices.iter().map(|t| t.shape()).collect();
    let shape = broadcast_all(op, &shapes)?;
    if let [one] = indices {
        return Ok(one.clone());
    }
    let mut flat: Option<Tensor> = None;
    let mut invalid: Option<Tensor> = None;
    for (i, &n) in indices.iter().zip(extents) {
        let (last, i) = (n as i64 - 1, i.cast(DType::I64).broadcast_shape(&shape));
        let inside = i.maximum(LitInt(0)).minimum(LitInt(last));
        if drop {
            let bad = i.ne(&inside);
            invalid = Some(match invalid {
                Some(b) => b.bitwise_or(&bad),
                None => bad,
            });
        }
        flat = Some(match flat {
            Some(f) => f * LitInt(n as i64) + inside,
            None => inside,
        });
    }
    let flat = flat.ok_or_else(|| err!(Argument, "{op}: no indices"))?;
    Ok(match invalid {
        Some(b) => flat.replace(&b, -1.0),
        None => flat,
    })
}
