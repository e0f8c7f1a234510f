//! Reductions along axes, and running ones.
//!
//! Axes are one, several or `..` for all; `*_keepdim` leaves reduced axes with extent 1.

use super::compose::{AxisVec, compute_dtype, or_poison, pass_poison, slip_now};
use super::{Lit, LitInt, Tensor};
use crate::base::{Axes, Axis, DType, Scalar};
use crate::trace::{Op, Reduce};

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident $keepdim:ident($($arg:ident: $t:ty),*) $body:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// # Panics
            /// If an axis is out of range or named twice, or the dtype does not fit.
            #[track_caller]
            pub fn $name(&self, axes: impl Into<Axes> $(, $arg: $t)*) -> Tensor {
                pass_poison!(self);
                let axes = or_poison!(axes.into().resolve(self.rank(), stringify!($name)));
                self.$body(&axes $(, $arg)*)
            }

            #[doc = concat!("As [`", stringify!($name), "`](Tensor::", stringify!($name), "), the reduced axes kept with extent 1.")]
            #[track_caller]
            pub fn $keepdim(&self, axes: impl Into<Axes> $(, $arg: $t)*) -> Tensor {
                pass_poison!(self);
                let axes = or_poison!(axes.into().resolve(self.rank(), stringify!($name)));
                let r = self.$body(&axes $(, $arg)*);
                pass_poison!(r);
                r.reshape_shape(&self.shape().keepdim(&axes))
            }
        )*}
    };
}
reductions! {
    /// Sum over the axes; 0 for no elements. Integers and Bool give I64.
    sum sum_keepdim() sum_over;
    /// Product over the axes; 1 for no elements. Integers and Bool give I64.
    prod prod_keepdim() prod_over;
    /// Arithmetic mean over the axes, of a float tensor; NaN for no elements.
    mean mean_keepdim() mean_over;
    /// Largest over the axes; NaN if any is. Where several are equal they share the gradient.
    max max_keepdim() max_over;
    /// Smallest over the axes; NaN if any is. Where several are equal they share the gradient.
    min min_keepdim() min_over;
    /// PyTorch's name of [`max`](Tensor::max) over axes.
    amax amax_keepdim() max_over;
    /// PyTorch's name of [`min`](Tensor::min) over axes.
    amin amin_keepdim() min_over;
    /// Arithmetic mean over the axes of what is not NaN.
    nanmean nanmean_keepdim() nanmean_over;
    /// Whether any element along the axes differs from 0: Bool (U8 for U8).
    any any_keepdim() any_over;
    /// Whether all elements along the axes differ from 0: Bool (U8 for U8).
    all all_keepdim() all_over;
    /// How many elements along the axes differ from 0: I64.
    count_nonzero count_nonzero_keepdim() count_nonzero_over;
    /// Sum over the axes of what is not NaN.
    nansum nansum_keepdim() nansum_over;
    /// `log(sum(e^x))` over the axes, stable.
    logsumexp logsumexp_keepdim() logsumexp_over;
    /// Variance over the axes, of a float tensor: squared deviations from the mean, divided by `n - correction` (1: unbiased).
    var var_keepdim(correction: usize) var_over;
    /// Standard deviation: the square root of [`var`](Tensor::var). Its derivative is 0 where it is 0.
    std std_keepdim(correction: usize) std_over;
}

impl Tensor {
    #[track_caller]
    fn sum_over(&self, axes: &[usize]) -> Tensor {
        let x = if self.dtype().is_float() { self.clone() } else { self.cast(DType::I64) };
        x.reduce_axes(Reduce::Sum, axes)
    }

    #[track_caller]
    fn prod_over(&self, axes: &[usize]) -> Tensor {
        let x = if self.dtype().is_float() { self.clone() } else { self.cast(DType::I64) };
        x.reduce_axes(Reduce::Prod, axes)
    }

    #[track_caller]
    fn mean_over(&self, axes: &[usize]) -> Tensor {
        let d = self.dtype();
        if !d.is_float() {
            slip_now!(DType, "mean: the input is {d}, not a float: cast it first, as in `x.cast(DType::F32).mean(..)`");
        }
        // Sums of halves overflow before their mean does.
        (self.cast(compute_dtype(d)).reduce_axes(Reduce::Sum, axes) / Lit(self.count_along(axes) as f64)).cast(d)
    }

    #[track_caller]
    fn max_over(&self, axes: &[usize]) -> Tensor {
        self.reduce_axes(Reduce::Max, axes)
    }

    #[track_caller]
    fn min_over(&self, axes: &[usize]) -> Tensor {
        self.reduce_axes(Reduce::Min, axes)
    }

    /// PyTorch's `any` and `all` of U8 are U8, which was its type of truth values before there was Bool.
    #[track_caller]
    fn of_truth(&self, t: Tensor) -> Tensor {
        if self.dtype() == DType::U8 { t.cast(DType::U8) } else { t }
    }

    #[track_caller]
    fn any_over(&self, axes: &[usize]) -> Tensor {
        let _on = self.device().enter();
        if self.count_along(axes) == 0 {
            return self.of_truth(Tensor::constant(Scalar::Bool(false), DType::Bool, &self.shape().without(axes)));
        }
        self.of_truth(self.cast(DType::Bool).reduce_axes(Reduce::Max, axes))
    }

    #[track_caller]
    fn all_over(&self, axes: &[usize]) -> Tensor {
        let _on = self.device().enter();
        if self.count_along(axes) == 0 {
            return self.of_truth(Tensor::constant(Scalar::Bool(true), DType::Bool, &self.shape().without(axes)));
        }
        self.of_truth(self.cast(DType::Bool).reduce_axes(Reduce::Min, axes))
    }

    #[track_caller]
    fn count_nonzero_over(&self, axes: &[usize]) -> Tensor {
        self.cast(DType::Bool).cast(DType::I64).reduce_axes(Reduce::Sum, axes)
    }

    #[track_caller]
    fn nansum_over(&self, axes: &[usize]) -> Tensor {
        if self.dtype().is_float() { self.replace(&self.isnan(), 0.0).sum_over(axes) } else { self.sum_over(axes) }
    }

    #[track_caller]
    fn nanmean_over(&self, axes: &[usize]) -> Tensor {
        pass_poison!(self);
        if !self.dtype().is_float() {
            slip_now!(DType, "nanmean: the input is {}, not a float: cast it first", self.dtype());
        }
        let x = self.cast(compute_dtype(self.dtype()));
        let n = x.eq(&x).cast(x.dtype()).reduce_axes(Reduce::Sum, axes);
        (x.nansum_over(axes) / n).cast(self.dtype())
    }

    #[track_caller]
    fn logsumexp_over(&self, axes: &[usize]) -> Tensor {
        let x = self.to_float();
        let d = x.dtype();
        let x = x.cast(compute_dtype(d));
        if x.count_along(axes) == 0 {
            return x.reduce_axes(Reduce::Sum, axes).log().cast(d);
        }
        let kept = x.shape().keepdim(axes);
        let m = x.detach().reduce_axes(Reduce::Max, axes);
        // An infinite maximum would make infinity minus infinity.
        let m = m.keep_where(&m.isfinite(), 0.0);
        let sum = (x - m.reshape_shape(&kept)).exp().reduce_axes(Reduce::Sum, axes);
        (sum.log() + m).cast(d)
    }

    #[track_caller]
    fn var_over(&self, axes: &[usize], correction: usize) -> Tensor {
        let d = self.dtype();
        if !d.is_float() {
            slip_now!(DType, "var: the input is {d}, not a float: cast it first, as in `x.cast(DType::F32).var(.., 1)`");
        }
        let x = self.cast(compute_dtype(d));
        let n = self.count_along(axes);
        let mean = x.reduce_axes(Reduce::Sum, axes) / Lit(n as f64);
        let squares = (&x - mean.reshape_shape(&x.shape().keepdim(axes))).square();
        (squares.reduce_axes(Reduce::Sum, axes) / Lit(n.saturating_sub(correction) as f64)).cast(d)
    }

    #[track_caller]
    fn std_over(&self, axes: &[usize], correction: usize) -> Tensor {
        self.var_over(axes, correction).sqrt_or_zero()
    }

    /// Square root whose derivative at 0 is 0 instead of infinite.
    #[track_caller]
    pub(crate) fn sqrt_or_zero(&self) -> Tensor {
        pass_poison!(self);
        let zero = self.eq(LitInt(0));
        self.replace(&zero, 1.0).sqrt().replace(&zero, 0.0)
    }

    /// The vector norm of order `ord` over the axes: 2 (Euclidean), 1, 0 (how many differ from 0), infinity (largest magnitude),
    /// negative infinity (smallest), or any p: `sum(|x|^p)^(1/p)`. The order is part of the structure. The gradient at 0 is 0.
    ///
    /// # Panics
    /// If an axis is out of range or named twice.
    #[track_caller]
    pub fn norm(&self, ord: impl Into<f64>, axes: impl Into<Axes>) -> Tensor {
        pass_poison!(self);
        let axes = or_poison!(axes.into().resolve(self.rank(), "norm"));
        self.norm_over(ord.into(), &axes)
    }

    /// As [`norm`](Tensor::norm), the reduced axes kept with extent 1.
    #[track_caller]
    pub fn norm_keepdim(&self, ord: impl Into<f64>, axes: impl Into<Axes>) -> Tensor {
        pass_poison!(self);
        let axes = or_poison!(axes.into().resolve(self.rank(), "norm"));
        let r = self.norm_over(ord.into(), &axes);
        pass_poison!(r);
        r.reshape_shape(&self.shape().keepdim(&axes))
    }

    #[track_caller]
    fn norm_over(&self, ord: f64, axes: &[usize]) -> Tensor {
        let x = self.to_float();
        let d = x.dtype();
        let x = x.cast(compute_dtype(d));
        let r = if ord == 0.0 {
            x.ne(Lit(0.0)).cast(x.dtype()).reduce_axes(Reduce::Sum, axes)
        } else if ord == 1.0 {
            x.abs().reduce_axes(Reduce::Sum, axes)
        } else if ord == 2.0 {
            x.square().reduce_axes(Reduce::Sum, axes).sqrt_or_zero()
        } else if ord == f64::INFINITY {
            x.abs().reduce_axes(Reduce::Max, axes)
        } else if ord == f64::NEG_INFINITY {
            x.abs().reduce_axes(Reduce::Min, axes)
        } else {
            // Powers of 0, and the root of a sum that is 0, have no finite derivative: both are taken out.
            let at_zero = if ord > 0.0 { 0.0 } else { f64::INFINITY };
            let zero = x.eq(Lit(0.0));
            let powers = x.abs().replace(&zero, 1.0).pow_literal(ord).replace(&zero, at_zero);
            let sum = powers.reduce_axes(Reduce::Sum, axes);
            let dead = sum.eq(Lit(at_zero));
            sum.replace(&dead, 1.0).pow_literal(1.0 / ord).replace(&dead, 0.0)
        };
        r.cast(d)
    }

    /// To a power that is part of the structure.
    #[track_caller]
    fn pow_literal(&self, p: f64) -> Tensor {
        self.binary(crate::trace::Binary::Pow, Lit(p), super::operand::Meet::Promote)
    }

    /// Mean and variance over the axes: `(mean, var)`, both without the reduced axes. See [`var`](Tensor::var).
    #[track_caller]
    pub fn mean_var(&self, axes: impl Into<Axes>, correction: usize) -> (Tensor, Tensor) {
        let axes: Axes = axes.into();
        (self.mean(axes.clone()), self.var(axes, correction))
    }

    /// Variance and mean over the axes: [`mean_var`](Tensor::mean_var) in PyTorch's order.
    #[track_caller]
    pub fn var_mean(&self, axes: impl Into<Axes>, correction: usize) -> (Tensor, Tensor) {
        let (mean, var) = self.mean_var(axes, correction);
        (var, mean)
    }

    /// Standard deviation and mean over the axes.
    #[track_caller]
    pub fn std_mean(&self, axes: impl Into<Axes>, correction: usize) -> (Tensor, Tensor) {
        let axes: Axes = axes.into();
        (self.std(axes.clone(), correction), self.mean(axes))
    }

    /// Smallest and largest over the axes.
    #[track_caller]
    pub fn aminmax(&self, axes: impl Into<Axes>) -> (Tensor, Tensor) {
        let axes: Axes = axes.into();
        (self.min(axes.clone()), self.max(axes))
    }

    /// PyTorch's `linalg.vector_norm`: [`norm`](Tensor::norm).
    #[track_caller]
    pub fn vector_norm(&self, ord: impl Into<f64>, axes: impl Into<Axes>) -> Tensor {
        self.norm(ord, axes)
    }

    /// `log(cumsum(e^x))` along an axis, stable at every element: each doubling of the distance is one pass.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn logcumsumexp(&self, axis: impl Into<Axis>) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        let Some(a) = or_poison!(x.axis(axis.into(), "logcumsumexp")) else { return x };
        let (d, n) = (x.dtype(), x.shape()[a]);
        let (mut x, mut step) = (x.cast(compute_dtype(d)), 1);
        while step < n {
            let (u, v) = (x.slice_axis(a, step, n, 1), x.slice_axis(a, 0, n - step, 1));
            let t = &u - &v;
            // Equal infinities have no difference; they are what the sum is.
            let same = u.eq(&v).bitwise_and(u.isinf());
            let t = t.replace(&same, 0.0);
            let below = t.lt(Lit(0.0));
            let far = Tensor::where_(&below, &t, t.neg_of()).exp().log1p();
            let sum = Tensor::where_(&below, &v, &u) + far;
            x = Tensor::concat_axis(&[x.slice_axis(a, 0, step, 1), sum], a);
            step *= 2;
        }
        x.cast(d)
    }

    /// Largest along an axis and where: `(values, I64 indices)`, without the axis. Of equal elements the first is taken, and it alone
    /// gets the gradient.
    ///
    /// # Panics
    /// If the axis is out of range or has no elements.
    #[track_caller]
    pub fn max_with_indices(&self, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.extreme_with_indices(Reduce::ArgMax, axis.into(), "max_with_indices")
    }

    /// Smallest along an axis and where: see [`max_with_indices`](Tensor::max_with_indices).
    #[track_caller]
    pub fn min_with_indices(&self, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.extreme_with_indices(Reduce::ArgMin, axis.into(), "min_with_indices")
    }

    #[track_caller]
    fn extreme_with_indices(&self, kind: Reduce, axis: Axis, op: &str) -> (Tensor, Tensor) {
        let index = self.arg_axis(kind, axis, op);
        if index.0.poison().is_some() {
            return (index.clone(), index);
        }
        if self.rank() == 0 {
            return (self.clone(), index);
        }
        let a = axis.resolve(self.rank(), op).unwrap_or(0);
        let kept = self.shape().keepdim(&[a]);
        let value = self.gather_axis(a, &index.reshape_shape(&kept)).reshape_shape(index.shape());
        (value, index)
    }

    /// I64 position of the largest along an axis, which disappears; the first of equal ones; a NaN counts as largest.
    ///
    /// # Panics
    /// If the axis is out of range or has no elements.
    #[track_caller]
    pub fn argmax(&self, axis: impl Into<Axis>) -> Tensor {
        self.arg_axis(Reduce::ArgMax, axis.into(), "argmax")
    }

    /// I64 position of the smallest along an axis: see [`argmax`](Tensor::argmax).
    #[track_caller]
    pub fn argmin(&self, axis: impl Into<Axis>) -> Tensor {
        self.arg_axis(Reduce::ArgMin, axis.into(), "argmin")
    }

    /// [`argmax`](Tensor::argmax), the axis kept with extent 1.
    #[track_caller]
    pub fn argmax_keepdim(&self, axis: impl Into<Axis>) -> Tensor {
        let axis = axis.into();
        let r = self.arg_axis(Reduce::ArgMax, axis, "argmax");
        self.keep_axis(r, axis)
    }

    /// [`argmin`](Tensor::argmin), the axis kept with extent 1.
    #[track_caller]
    pub fn argmin_keepdim(&self, axis: impl Into<Axis>) -> Tensor {
        let axis = axis.into();
        let r = self.arg_axis(Reduce::ArgMin, axis, "argmin");
        self.keep_axis(r, axis)
    }

    /// I64 position of the largest of all elements, in row-major order.
    #[track_caller]
    pub fn argmax_all(&self) -> Tensor {
        pass_poison!(self);
        self.flatten_all().argmax(0)
    }

    /// I64 position of the smallest of all elements, in row-major order.
    #[track_caller]
    pub fn argmin_all(&self) -> Tensor {
        pass_poison!(self);
        self.flatten_all().argmin(0)
    }

    #[track_caller]
    fn keep_axis(&self, reduced: Tensor, axis: Axis) -> Tensor {
        pass_poison!(reduced);
        let a = axis.resolve(self.rank(), "keepdim").unwrap_or(0);
        reduced.reshape_shape(&self.shape().keepdim(&[a]))
    }

    #[track_caller]
    fn arg_axis(&self, kind: Reduce, axis: Axis, op: &str) -> Tensor {
        pass_poison!(self);
        match or_poison!(self.axis(axis, op)) {
            Some(a) => self.reduce_axes(kind, &[a]),
            None => self.reshape_shape(&[1].into()).reduce_axes(kind, &[0]),
        }
    }

    #[track_caller]
    pub(crate) fn flatten_all(&self) -> Tensor {
        self.reshape_shape(&[self.numel()].into())
    }

    /// Running sum along an axis. Integers and Bool give I64.
    #[track_caller]
    pub fn cumsum(&self, axis: impl Into<Axis>) -> Tensor {
        let x = if self.dtype().is_float() { self.clone() } else { self.cast(DType::I64) };
        x.cumulative(Reduce::Sum, axis.into(), "cumsum")
    }

    /// Running product along an axis. Integers and Bool give I64.
    #[track_caller]
    pub fn cumprod(&self, axis: impl Into<Axis>) -> Tensor {
        let x = if self.dtype().is_float() { self.clone() } else { self.cast(DType::I64) };
        x.cumulative(Reduce::Prod, axis.into(), "cumprod")
    }

    #[track_caller]
    fn cumulative(&self, kind: Reduce, axis: Axis, op: &str) -> Tensor {
        pass_poison!(self);
        match or_poison!(self.axis(axis, op)) {
            Some(a) => Tensor::record(Op::Cumulative { kind, axis: a as u8, reverse: false }, &[self]),
            None => self.clone(),
        }
    }

    /// Running largest along an axis and where it is: `(values, I64 indices)`; of equal ones the last.
    #[track_caller]
    pub fn cummax(&self, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.cumulative_extreme(Reduce::Max, axis.into(), "cummax")
    }

    /// Running smallest along an axis and where it is: `(values, I64 indices)`; of equal ones the last.
    #[track_caller]
    pub fn cummin(&self, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.cumulative_extreme(Reduce::Min, axis.into(), "cummin")
    }

    #[track_caller]
    fn cumulative_extreme(&self, kind: Reduce, axis: Axis, op: &str) -> (Tensor, Tensor) {
        let running = self.cumulative(kind, axis, op);
        if running.0.poison().is_some() {
            return (running.clone(), running);
        }
        if self.rank() == 0 {
            return (self.clone(), Tensor::constant(Scalar::Int(0), DType::I64, self.shape()));
        }
        let a = axis.resolve(self.rank(), op).unwrap_or(0);
        // The last place up to here at which an element set the record (or was NaN).
        let record = self.detach().eq(running.detach()).bitwise_or(self.isnan());
        let place = self.iota_along(a).broadcast_shape(self.shape()).keep_where(&record, 0.0);
        let index = place.cumulative(Reduce::Max, axis, op);
        (running, index)
    }

    /// `e^x / sum(e^x)` along an axis, stable. Halves are computed in f32.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn softmax(&self, axis: impl Into<Axis>) -> Tensor {
        self.softmax_axis(axis.into(), false)
    }

    /// `log(softmax(x))` along an axis, stable. Halves are computed in f32.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn log_softmax(&self, axis: impl Into<Axis>) -> Tensor {
        self.softmax_axis(axis.into(), true)
    }

    /// `softmax(-x)` along an axis.
    #[track_caller]
    pub fn softmin(&self, axis: impl Into<Axis>) -> Tensor {
        self.to_float().neg_of().softmax(axis)
    }

    #[track_caller]
    fn softmax_axis(&self, axis: Axis, log: bool) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        let axes: AxisVec = or_poison!(x.axis(axis, if log { "log_softmax" } else { "softmax" })).into_iter().collect();
        if x.numel() == 0 {
            return x;
        }
        let d = x.dtype();
        let x = x.cast(compute_dtype(d));
        let kept = x.shape().keepdim(&axes);
        // The shift cancels in the result, so no derivative need pass through it.
        let shifted = &x - x.detach().reduce_axes(Reduce::Max, &axes).reshape_shape(&kept);
        let e = shifted.exp();
        let sum = e.reduce_axes(Reduce::Sum, &axes).reshape_shape(&kept);
        (if log { shifted - sum.log() } else { e / sum }).cast(d)
    }

    /// `x / max(norm(x, p), eps)` along the axes.
    #[track_caller]
    pub fn normalize(&self, p: impl Into<f64>, axes: impl Into<Axes>, eps: f64) -> Tensor {
        let n = self.norm_keepdim(p, axes).clamp_min(Lit(eps));
        self / n
    }
}
