//! Pooling over the spatial axes of `[N, C, spatial..]` (or one example `[C, spatial..]`).
//!
//! Small windows are combined from strided slices, elementwise, so that pooling fuses with what surrounds it; windows that tile the
//! input exactly become a reduction; others are gathered.

use super::compose::{AxisVec, lowest, or_poison, pass_poison, slip_now, whole};
use super::conv::each;
use super::{Lit, Tensor};
use crate::base::error::{Result, bail};
use crate::base::{Scalar, Shape};
use crate::trace::Reduce;
use smallvec::SmallVec;

/// The most slices that are combined elementwise.
pub(super) const MAX_SLICES: usize = 16;

/// Options of the pools. Lists have one number for each spatial axis, or one for all.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Extents of the window.
    pub kernel: SmallVec<[usize; 3]>,
    /// Distance between windows; the kernel by default.
    pub stride: SmallVec<[usize; 3]>,
    /// Padding on both sides; 0 by default.
    pub padding: SmallVec<[usize; 3]>,
    /// Distance between the elements of a window; 1 by default. Not for averages.
    pub dilation: SmallVec<[usize; 3]>,
    /// Whether a last window may stick out.
    pub ceil_mode: bool,
    /// Averages: whether padding counts as zeros. True by default.
    pub count_include_pad: bool,
    /// Averages: what sums are divided by, instead of the number of elements.
    pub divisor: Option<isize>,
}

impl PoolOptions {
    /// Windows that tile the input.
    pub fn new(kernel: impl AsRef<[usize]>) -> Self {
        let kernel: SmallVec<[usize; 3]> = SmallVec::from_slice(kernel.as_ref());
        let all = |n: usize| SmallVec::from_slice(&[n]);
        PoolOptions {
            stride: kernel.clone(),
            kernel,
            padding: all(0),
            dilation: all(1),
            ceil_mode: false,
            count_include_pad: true,
            divisor: None,
        }
    }
    /// Distance between windows.
    pub fn stride(mut self, stride: impl AsRef<[usize]>) -> Self {
        self.stride = SmallVec::from_slice(stride.as_ref());
        self
    }
    /// Padding on both sides.
    pub fn padding(mut self, padding: impl AsRef<[usize]>) -> Self {
        self.padding = SmallVec::from_slice(padding.as_ref());
        self
    }
    /// Distance between the elements of a window.
    pub fn dilation(mut self, dilation: impl AsRef<[usize]>) -> Self {
        self.dilation = SmallVec::from_slice(dilation.as_ref());
        self
    }
    /// Whether a last window may stick out.
    pub fn ceil_mode(mut self, yes: bool) -> Self {
        self.ceil_mode = yes;
        self
    }
    /// Averages: what sums are divided by (PyTorch's `divisor_override`).
    pub fn divisor(mut self, divisor: isize) -> Self {
        self.divisor = Some(divisor);
        self
    }
    /// Averages: whether padding counts as zeros.
    pub fn count_include_pad(mut self, yes: bool) -> Self {
        self.count_include_pad = yes;
        self
    }
}

/// One spatial axis of a pool.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) axis: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// Extents of the output and of the input.
    pub(super) out: usize,
    extent: usize,
    lo: usize,
    /// Padding the caller named behind, and all that the last window needs.
    named: usize,
    hi: usize,
}

impl Window {
    pub(super) fn all(op: &str, shape: &Shape, o: &PoolOptions, n: usize) -> Result<SmallVec<[Window; 3]>> {
        let (kernel, stride) = (each(op, "kernel", &o.kernel, n)?, each(op, "stride", &o.stride, n)?);
        let (padding, dilation) = (each(op, "padding", &o.padding, n)?, each(op, "dilation", &o.dilation, n)?);
        (0..n)
            .map(|i| {
                let (axis, k, s, p, d) = (shape.rank() - n + i, kernel[i], stride[i], padding[i], dilation[i]);
                let extent = shape[axis];
                if k == 0 || s == 0 || d == 0 || p > k / 2 {
                    bail!(
                        Argument,
                        "{op}: kernel {k}, stride {s}, padding {p}, dilation {d}: padding is at most half the kernel, the rest at least 1"
                    );
                }
                let reach = d * (k - 1) + 1;
                let Some(span) = (extent + 2 * p).checked_sub(reach) else {
                    bail!(Shape, "{op}: a window of {reach} is larger than the padded axis {axis} of shape {shape}")
                };
                let mut out = if o.ceil_mode { span.div_ceil(s) } else { span / s } + 1;
                // A last window must start inside the input or the padding before it.
                if o.ceil_mode && (out - 1) * s >= extent + p {
                    out -= 1;
                }
                let hi = ((out - 1) * s + reach).saturating_sub(extent + p);
                Ok(Window { axis, kernel: k, stride: s, dilation: d, out, extent, lo: p, named: p, hi })
            })
            .collect()
    }

    /// Elements added before and behind.
    pub(super) fn padding(&self) -> (usize, usize) {
        (self.lo, self.hi)
    }

    /// Whether windows lie side by side and cover all they touch.
    fn tiles(&self) -> bool {
        self.stride == self.kernel && self.dilation == 1 && self.lo == 0 && self.hi == 0
    }

    /// How many windows an element can be in.
    pub(super) fn starts(&self) -> usize {
        self.kernel.div_ceil(self.stride)
    }

    /// How many elements each window sees: of the input, or of the input with the named padding.
    fn counts(&self, with_padding: bool) -> Vec<usize> {
        let (first, last) = if with_padding { (0, self.lo + self.extent + self.named) } else { (self.lo, self.lo + self.extent) };
        (0..self.out)
            .map(|o| {
                let begin = o * self.stride;
                (begin + self.kernel).min(last).saturating_sub(begin.max(first))
            })
            .collect()
    }
}

macro_rules! ranked {
    ($($max:ident $avg:ident $adaptive_avg:ident $adaptive_max:ident $n:literal;)*) => {
        /// Pools of a given number of spatial axes.
        impl Tensor {$(
            #[doc = concat!("The largest of each window, over ", $n, " spatial axes: see [`max_pool`](Tensor::max_pool).")]
            ///
            /// # Panics
            /// As [`max_pool`](Tensor::max_pool).
            #[track_caller]
            pub fn $max(&self, kernel: impl AsRef<[usize]>, stride: impl AsRef<[usize]>, padding: impl AsRef<[usize]>) -> Tensor {
                self.max_pool($n, &PoolOptions::new(kernel).stride(stride).padding(padding))
            }
            #[doc = concat!("The mean of each window, over ", $n, " spatial axes: see [`avg_pool`](Tensor::avg_pool).")]
            ///
            /// # Panics
            /// As [`avg_pool`](Tensor::avg_pool).
            #[track_caller]
            pub fn $avg(&self, kernel: impl AsRef<[usize]>, stride: impl AsRef<[usize]>, padding: impl AsRef<[usize]>) -> Tensor {
                self.avg_pool($n, &PoolOptions::new(kernel).stride(stride).padding(padding))
            }
            #[doc = concat!("Means over as many cells as `out` says, over ", $n, " spatial axes: see [`adaptive_avg_pool`](Tensor::adaptive_avg_pool).")]
            ///
            /// # Panics
            /// As [`adaptive_avg_pool`](Tensor::adaptive_avg_pool).
            #[track_caller]
            pub fn $adaptive_avg(&self, out: [usize; $n]) -> Tensor {
                self.adaptive_avg_pool(&out)
            }
            #[doc = concat!("Largest of as many cells as `out` says, over ", $n, " spatial axes: see [`adaptive_max_pool`](Tensor::adaptive_max_pool).")]
            ///
            /// # Panics
            /// As [`adaptive_max_pool`](Tensor::adaptive_max_pool).
            #[track_caller]
            pub fn $adaptive_max(&self, out: [usize; $n]) -> Tensor {
                self.adaptive_max_pool(&out)
            }
        )*}
    };
}
ranked! {
    max_pool1d avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d 1;
    max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d 2;
    max_pool3d avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d 3;
}

impl Tensor {
    /// The largest element of each window over the last `axes` axes; NaN if any is. Padding never wins. The first of equal elements
    /// gets the gradient.
    ///
    /// # Panics
    /// If there are fewer than `axes + 1` axes, a window does not fit or padding is more than half of it.
    #[track_caller]
    pub fn max_pool(&self, axes: usize, options: &PoolOptions) -> Tensor {
        pass_poison!(self);
        let windows = or_poison!(self.pool_windows("max_pool", axes, options));
        let x = self.pool_pad(&windows, lowest(self.dtype()));
        let plain = x.dtype().is_float() && windows.iter().all(|w| w.dilation == 1);
        if plain && windows.iter().map(|w| w.kernel).product::<usize>() <= MAX_SLICES {
            pass_poison!(x);
            return x.window_max(&windows);
        }
        if windows.iter().map(|w| w.kernel).product::<usize>() <= MAX_SLICES {
            return x.combine(&windows, true);
        }
        // Axis by axis, from the last: of equal elements the first in row-major order still wins.
        let mut y = x;
        for w in windows.iter().rev() {
            y = if w.kernel <= MAX_SLICES {
                y.combine(&[*w], true)
            } else {
                y.windows(w.axis, w.kernel, w.stride, w.dilation).max_with_indices(w.axis + 1).0
            };
        }
        y
    }

    /// The mean of each window over the last `axes` axes.
    ///
    /// # Panics
    /// If there are fewer than `axes + 1` axes, a window does not fit, padding is more than half of it, or it is dilated.
    #[track_caller]
    pub fn avg_pool(&self, axes: usize, options: &PoolOptions) -> Tensor {
        pass_poison!(self);
        if !self.dtype().is_float() {
            slip_now!(DType, "avg_pool: the input is {}, not a float: cast it first", self.dtype());
        }
        let x = self.clone();
        if options.divisor == Some(0) {
            slip_now!(Argument, "avg_pool: a divisor of 0");
        }
        let windows = or_poison!(x.pool_windows("avg_pool", axes, options));
        if windows.iter().any(|w| w.dilation != 1) {
            slip_now!(Argument, "avg_pool: windows have no dilation");
        }
        let d = x.dtype();
        let x = x.cast(super::compose::compute_dtype(d));
        if options.divisor.is_none() && windows.iter().all(Window::tiles) {
            return x.tile_sum(&windows).cast(d);
        }
        let x = x.pool_pad(&windows, Scalar::Int(0));
        let sum = if windows.iter().map(|w| w.kernel).product::<usize>() <= MAX_SLICES {
            x.combine(&windows, false)
        } else {
            let mut y = x;
            for w in windows.iter().rev() {
                y = if w.kernel <= MAX_SLICES {
                    y.combine(&[*w], false)
                } else {
                    y.windows(w.axis, w.kernel, w.stride, 1).reduce_axes(Reduce::Sum, &[w.axis + 1])
                };
            }
            y
        };
        if let Some(n) = options.divisor {
            return (sum / Lit(n as f64)).cast(d);
        }
        // Where all windows see equally many elements, one constant divides.
        let counts: SmallVec<[Vec<usize>; 3]> = windows.iter().map(|w| w.counts(options.count_include_pad)).collect();
        if counts.iter().all(|c| c.windows(2).all(|p| p[0] == p[1])) {
            let n: usize = counts.iter().filter_map(|c| c.first()).product();
            return (sum / Lit(n as f64)).cast(d);
        }
        let mut out = sum;
        for (w, c) in windows.iter().zip(&counts) {
            out = out.divide_along(w.axis, c);
        }
        out.cast(d)
    }

    /// Divided by a number for each index along an axis. The numbers change only near the ends, so they are made of an index and limits.
    #[track_caller]
    fn divide_along(&self, axis: usize, counts: &[usize]) -> Tensor {
        let usual = counts[counts.len() / 2];
        let i = self.iota_along(axis);
        let mut by = i.cast(self.dtype()).ones_like() * Lit(usual as f64);
        for (k, &c) in counts.iter().enumerate().filter(|(_, c)| **c != usual) {
            by = by.replace(&i.eq(super::LitInt(k as i64)), c as f64);
        }
        self / by
    }

    /// The windows of the last `n` axes.
    fn pool_windows(&self, op: &str, n: usize, o: &PoolOptions) -> Result<SmallVec<[Window; 3]>> {
        if n == 0 || self.rank() < n + 1 {
            bail!(Shape, "{op}: shape {} is not [N, C, spatial..] with {n} spatial axes", self.shape());
        }
        Window::all(op, self.shape(), o, n)
    }

    #[track_caller]
    fn pool_pad(&self, windows: &[Window], value: Scalar) -> Tensor {
        let (mut lo, mut hi) = (AxisVec::from_elem(0, self.rank()), AxisVec::from_elem(0, self.rank()));
        for w in windows {
            (lo[w.axis], hi[w.axis]) = (w.lo, w.hi);
        }
        self.pad_constant(&lo, &hi, value)
    }

    /// The first largest, or the sum, of each window, by one strided slice for each of its elements.
    #[track_caller]
    fn combine(&self, windows: &[Window], max: bool) -> Tensor {
        let total: usize = windows.iter().map(|w| w.kernel).product();
        let mut best: Option<Tensor> = None;
        for t in 0..total {
            let (mut spec, mut rest) = (whole(self.shape()), t);
            for w in windows.iter().rev() {
                let k = (rest % w.kernel) * w.dilation;
                rest /= w.kernel;
                (spec.start[w.axis], spec.end[w.axis], spec.step[w.axis]) = (k, k + (w.out - 1) * w.stride + 1, w.stride);
            }
            let tap = self.slice_spec(spec);
            best = Some(match best {
                None => tap,
                Some(b) if !max => b + tap,
                Some(b) => {
                    let wins = tap.gt(&b);
                    let wins = if tap.dtype().is_float() { wins.bitwise_or(tap.isnan()) } else { wins };
                    Tensor::where_(&wins, &tap, &b)
                }
            });
        }
        match best {
            Some(b) => b,
            None => self.clone(),
        }
    }

    /// The means of windows that tile the input: one reduction.
    #[track_caller]
    fn tile_sum(&self, windows: &[Window]) -> Tensor {
        let first = windows.first().map_or(self.rank(), |w| w.axis);
        let mut spec = whole(self.shape());
        for w in windows {
            spec.end[w.axis] = w.out * w.kernel;
        }
        let split: Shape = self.shape()[..first].iter().copied().chain(windows.iter().flat_map(|w| [w.out, w.kernel])).collect();
        let axes: AxisVec = (0..windows.len()).map(|i| first + 2 * i + 1).collect();
        let count: usize = windows.iter().map(|w| w.kernel).product();
        self.slice_spec(spec).reshape_shape(&split).reduce_axes(Reduce::Sum, &axes) / Lit(count as f64)
    }
}
