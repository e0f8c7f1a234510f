//! Where the largest elements of windows lie, and putting them back.

use super::compose::{AxisVec, lowest, or_poison, pass_poison, slip_now, whole};
use super::pool::{MAX_SLICES, Window};
use super::{LitInt, PoolOptions, Tensor};
use crate::base::error::err;
use crate::base::{DType, Shape};

impl Tensor {
    /// [`max_pool`](Tensor::max_pool) and where each largest element lies, in the row-major order of the last `axes` axes: `(values, I64)`.
    ///
    /// # Panics
    /// As [`max_pool`](Tensor::max_pool).
    #[track_caller]
    pub fn max_pool_with_indices(&self, axes: usize, options: &PoolOptions) -> (Tensor, Tensor) {
        let value = self.max_pool(axes, options);
        if value.0.poison().is_some() {
            return (value.clone(), value);
        }
        let windows = match Window::all("max_pool", self.shape(), options, axes) {
            Ok(w) => w,
            Err(e) => {
                let p = Tensor::poisoned(e);
                return (p.clone(), p);
            }
        };
        let index = self.detach().window_places(&windows, axes, value.shape());
        (value, index)
    }

    /// The position of the first largest element of each window.
    #[track_caller]
    fn window_places(&self, windows: &[Window], axes: usize, out: &Shape) -> Tensor {
        let _on = self.device().enter();
        if out.numel() == 0 {
            return Tensor::constant(crate::Scalar::Int(0), DType::I64, out);
        }
        let lead = self.rank() - axes;
        if windows.iter().map(|w| w.kernel).product::<usize>() <= MAX_SLICES && i32::try_from(self.numel()).is_ok() {
            return self.winning_places(windows, lead, out);
        }
        let of = |x: &Tensor, pad: crate::Scalar| {
            let mut t = x.clone();
            for w in windows {
                let (lo, hi) = w.padding();
                t = t.pad_axis(w.axis, lo, hi, pad);
                t = t.windows(w.axis, w.kernel, w.stride, w.dilation);
                // The window's own axis goes to the end, so that the next axis is where it was.
                t = t.move_axis(w.axis + 1, t.rank() - 1);
            }
            let shape: Shape = t.shape()[..lead + axes].iter().copied().chain([windows.iter().map(|w| w.kernel).product()]).collect();
            t.reshape_shape(&shape)
        };
        let spatial = Shape::new(&self.shape()[lead..]);
        let ones: Shape = std::iter::repeat_n(1, lead).chain(spatial.iter().copied()).collect();
        let number = Tensor::iota_shape(&[spatial.numel()].into(), 0, DType::I64).reshape_shape(&ones);
        let (values, number) = (of(self, super::compose::lowest(self.dtype())), of(&number, crate::Scalar::Int(-1)));
        // Padding counts as the lowest value, so among equal lowest ones it might be found first: real elements go before it.
        let real = number.ge(super::LitInt(0));
        let k = values.rank() - 1;
        let best = values.reduce_axes(crate::trace::Reduce::Max, &[k]).unsqueeze(-1);
        let is_best = values.eq(&best);
        let is_best = if values.dtype().is_float() { is_best.bitwise_or(values.isnan()) } else { is_best };
        let first = is_best.bitwise_and(&real).cast(DType::I32).argmax(-1).unsqueeze(-1);
        let number = number.broadcast_shape(values.shape());
        number.gather_axis(k, &first).reshape_shape(out)
    }

    /// The same for small windows: their elements are slices, compared one after the other.
    #[track_caller]
    fn winning_places(&self, windows: &[Window], lead: usize, out: &Shape) -> Tensor {
        let places = Shape::new(&out[lead..]);
        let strides = Shape::new(&self.shape()[lead..]).strides();
        // Where a window starts, and how far behind that its first element is that is none of the padding.
        let (mut start, mut skipped): (Option<Tensor>, Option<Tensor>) = (None, None);
        let mut x = self.clone();
        for (i, w) in windows.iter().enumerate() {
            let (lo, hi) = w.padding();
            x = x.pad_axis(w.axis, lo, hi, lowest(self.dtype()));
            let by = LitInt(strides[i] as i64);
            let from = Tensor::iota_shape(&places, i, DType::I32) * LitInt(w.stride as i64) - LitInt(lo as i64);
            let d = LitInt(w.dilation as i64);
            let skip = (from.neg_of() + LitInt(w.dilation as i64 - 1)).maximum(LitInt(0)).floor_divide(d) * d;
            let (from, skip) = (from * by, skip * by);
            start = Some(start.map_or_else(|| from.clone(), |s| s + &from));
            if lo > 0 {
                skipped = Some(skipped.map_or_else(|| skip.clone(), |s| s + &skip));
            }
        }
        let none = Tensor::constant(crate::Scalar::Int(0), DType::I32, out);
        let mut at = skipped.map_or(none, |s| s.broadcast_shape(out));
        let mut best: Option<Tensor> = None;
        let total: usize = windows.iter().map(|w| w.kernel).product();
        for tap in 0..total {
            let (mut spec, mut rest, mut offset) = (whole(x.shape()), tap, 0);
            for (i, w) in windows.iter().enumerate().rev() {
                let k = (rest % w.kernel) * w.dilation;
                rest /= w.kernel;
                offset += k * strides[i];
                (spec.start[w.axis], spec.end[w.axis], spec.step[w.axis]) = (k, k + (w.out - 1) * w.stride + 1, w.stride);
            }
            let v = x.slice_spec(spec);
            // What is first without being larger than anything: only its own if the padding is not before it.
            let padded = windows.iter().any(|w| w.padding().0 > 0);
            let Some(b) = best.take().or_else(|| padded.then(|| Tensor::constant(lowest(self.dtype()), self.dtype(), out))) else {
                best = Some(v);
                continue;
            };
            let wins = v.gt(&b);
            let wins = if v.dtype().is_float() { wins.bitwise_or(v.isnan()) } else { wins };
            let offset = Tensor::constant(crate::Scalar::Int(offset as i64), DType::I32, &Shape::scalar());
            at = Tensor::where_(&wins, &offset, &at);
            best = Some(Tensor::where_(&wins, &v, &b));
        }
        match start {
            Some(s) => (at + s).cast(DType::I64),
            None => at.cast(DType::I64),
        }
    }

    /// [`adaptive_max_pool`](Tensor::adaptive_max_pool) and where each largest element lies, as
    /// [`max_pool_with_indices`](Tensor::max_pool_with_indices).
    ///
    /// # Panics
    /// As [`adaptive_max_pool`](Tensor::adaptive_max_pool).
    #[track_caller]
    pub fn adaptive_max_pool_with_indices(&self, out: &[usize]) -> (Tensor, Tensor) {
        let value = self.adaptive_max_pool(out);
        if value.0.poison().is_some() {
            return (value.clone(), value);
        }
        let lead = self.rank() - out.len();
        let _on = self.device().enter();
        let spatial = Shape::new(&self.shape()[lead..]);
        let ones: Shape = std::iter::repeat_n(1, lead).chain(spatial.iter().copied()).collect();
        let number = Tensor::iota_shape(&[spatial.numel()].into(), 0, DType::I64).reshape_shape(&ones).broadcast_shape(self.shape());
        // Each axis's winners, and the numbers that go with them.
        let (mut x, mut number) = (self.detach(), number);
        for (i, &m) in out.iter().enumerate().rev() {
            let (axis, n) = (lead + i, self.shape()[lead + i]);
            let (mut values, mut numbers) = (Vec::with_capacity(m), Vec::with_capacity(m));
            for j in 0..m {
                let (from, to) = (j * n / m, ((j + 1) * n).div_ceil(m));
                let (cell, names) = (x.slice_axis(axis, from, to, 1), number.slice_axis(axis, from, to, 1));
                let at = cell.argmax_keepdim(axis);
                values.push(cell.gather_axis(axis, &at));
                numbers.push(names.gather_axis(axis, &at));
            }
            x = Tensor::concat_axis(&values, axis);
            number = Tensor::concat_axis(&numbers, axis);
        }
        (value, number)
    }

    /// The reverse of a max pool: zeros with the last `out.len()` axes of extents `out`, and this tensor's elements where `indices` (of
    /// this shape, as [`max_pool_with_indices`](Tensor::max_pool_with_indices) gives them) say.
    ///
    /// # Panics
    /// If `indices` are no integers of this shape or there are more extents than axes.
    #[track_caller]
    pub fn max_unpool(&self, indices: &Tensor, out: &[usize]) -> Tensor {
        pass_poison!(self, indices);
        if !self.dtype().is_float() {
            slip_now!(DType, "max_unpool: the input is {}, not a float: cast it first", self.dtype());
        }
        if !indices.dtype().is_int() || indices.shape() != self.shape() {
            slip_now!(
                Shape,
                "max_unpool: indices {} {} for shape {}: expected integers of the same shape",
                indices.dtype(),
                indices.shape(),
                self.shape()
            );
        }
        let lead =
            or_poison!(self.rank().checked_sub(out.len()).ok_or_else(|| err!(Shape, "max_unpool: to {out:?} from shape {}", self.shape())));
        let _on = self.device().enter();
        let (outer, places): (AxisVec, usize) = (self.shape()[..lead].into(), out.iter().product());
        let with = |n: usize| -> Shape { outer.iter().copied().chain([n]).collect() };
        let zeros = Tensor::constant(crate::Scalar::Int(0), self.dtype(), &with(places));
        let count = self.shape()[lead..].iter().product();
        let full: Shape = outer.iter().copied().chain(out.iter().copied()).collect();
        let (at, x) = (indices.reshape_shape(&with(count)), self.reshape_shape(&with(count)));
        let out = zeros.scatter(-1, &at, x.detach());
        // Windows that overlap name an element twice: each of them gets its gradient, as in PyTorch.
        let slope = (&x - x.detach()).keep_where(&x.isfinite(), 0.0);
        (out + zeros.scatter_add(-1, &at, slope)).reshape(&full)
    }
}
