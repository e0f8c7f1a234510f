//! Convolution (cross-correlation, as everywhere in machine learning) and its transpose, over any number of spatial axes.

use super::Tensor;
use super::compose::{AxisVec, or_poison, pass_poison, slip_now};
use super::linalg::same_dtype;
use crate::base::Shape;
use crate::base::error::{Result, bail};
use crate::trace::{ConvSpec, Op};
use smallvec::SmallVec;

/// Options of [`Tensor::conv_with`] and [`Tensor::conv_transpose_with`]. Lists have one number for each spatial axis, or one for all.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConvOptions {
    /// Distance between windows; 1 by default.
    pub stride: SmallVec<[usize; 3]>,
    /// Zeros in front of each spatial axis; 0 by default.
    pub padding_lo: SmallVec<[usize; 3]>,
    /// Zeros behind each spatial axis; 0 by default.
    pub padding_hi: SmallVec<[usize; 3]>,
    /// Distance between the elements of a window; 1 by default.
    pub dilation: SmallVec<[usize; 3]>,
    /// Transposed convolution: elements added behind the output; 0 by default.
    pub output_padding: SmallVec<[usize; 3]>,
    /// Channel groups that do not see each other; 1 by default.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        let all = |n: usize| SmallVec::from_slice(&[n]);
        ConvOptions { stride: all(1), padding_lo: all(0), padding_hi: all(0), dilation: all(1), output_padding: all(0), groups: 1 }
    }
}

impl ConvOptions {
    /// Stride 1, no padding, no dilation, one group.
    pub fn new() -> Self {
        Self::default()
    }
    /// Distance between windows.
    pub fn stride(mut self, stride: impl AsRef<[usize]>) -> Self {
        self.stride = SmallVec::from_slice(stride.as_ref());
        self
    }
    /// Zeros on both sides.
    pub fn padding(mut self, padding: impl AsRef<[usize]>) -> Self {
        self.padding_lo = SmallVec::from_slice(padding.as_ref());
        self.padding_hi = self.padding_lo.clone();
        self
    }
    /// Zeros in front and behind, which may differ.
    pub fn padding_sides(mut self, lo: impl AsRef<[usize]>, hi: impl AsRef<[usize]>) -> Self {
        (self.padding_lo, self.padding_hi) = (SmallVec::from_slice(lo.as_ref()), SmallVec::from_slice(hi.as_ref()));
        self
    }
    /// Distance between the elements of a window.
    pub fn dilation(mut self, dilation: impl AsRef<[usize]>) -> Self {
        self.dilation = SmallVec::from_slice(dilation.as_ref());
        self
    }
    /// Transposed convolution: elements added behind the output.
    pub fn output_padding(mut self, padding: impl AsRef<[usize]>) -> Self {
        self.output_padding = SmallVec::from_slice(padding.as_ref());
        self
    }
    /// Channel groups that do not see each other.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }
}

/// One number for each of `n` spatial axes.
pub(crate) fn each(op: &str, what: &str, list: &[usize], n: usize) -> Result<SmallVec<[usize; 3]>> {
    match list {
        [one] => Ok(SmallVec::from_elem(*one, n)),
        l if l.len() == n => Ok(SmallVec::from_slice(l)),
        l => bail!(Argument, "{op}: {what} {l:?} for {n} spatial axes"),
    }
}

macro_rules! ranked {
    ($($(#[$doc:meta])* $name:ident $transpose:ident $n:literal;)*) => {
        /// Convolutions of a given number of spatial axes.
        impl Tensor {$(
            $(#[$doc])*
            /// [`conv`](Tensor::conv) says what the arguments mean.
            ///
            /// # Panics
            /// As [`conv`](Tensor::conv).
            #[track_caller]
            pub fn $name(
                &self,
                weight: &Tensor,
                bias: Option<&Tensor>,
                stride: impl AsRef<[usize]>,
                padding: impl AsRef<[usize]>,
                dilation: impl AsRef<[usize]>,
                groups: usize,
            ) -> Tensor {
                pass_poison!(self, weight);
                if weight.rank() != $n + 2 {
                    slip_now!(Shape, "{}: a kernel of shape {}, expected {} axes", stringify!($name), weight.shape(), $n + 2);
                }
                self.conv(weight, bias, stride, padding, dilation, groups)
            }

            #[doc = concat!("The transpose of [`", stringify!($name), "`](Tensor::", stringify!($name), "): see [`conv_transpose`](Tensor::conv_transpose).")]
            ///
            /// # Panics
            /// As [`conv_transpose`](Tensor::conv_transpose).
            #[track_caller]
            #[expect(clippy::too_many_arguments, reason = "PyTorch's arguments; conv_transpose_with takes options")]
            pub fn $transpose(
                &self,
                weight: &Tensor,
                bias: Option<&Tensor>,
                stride: impl AsRef<[usize]>,
                padding: impl AsRef<[usize]>,
                output_padding: impl AsRef<[usize]>,
                dilation: impl AsRef<[usize]>,
                groups: usize,
            ) -> Tensor {
                pass_poison!(self, weight);
                if weight.rank() != $n + 2 {
                    slip_now!(Shape, "{}: a kernel of shape {}, expected {} axes", stringify!($transpose), weight.shape(), $n + 2);
                }
                self.conv_transpose(weight, bias, stride, padding, output_padding, dilation, groups)
            }
        )*}
    };
}
ranked! {
    /// Convolution of `[N, C, L]` with `[O, C/groups, K]`.
    conv1d conv_transpose1d 1;
    /// Convolution of `[N, C, H, W]` with `[O, C/groups, KH, KW]`.
    conv2d conv_transpose2d 2;
    /// Convolution of `[N, C, D, H, W]` with `[O, C/groups, KD, KH, KW]`.
    conv3d conv_transpose3d 3;
}

impl Tensor {
    /// Convolution of `[N, C, spatial..]` (or one example `[C, spatial..]`) with `weight` `[O, C/groups, window..]`, plus `bias` `[O]`.
    /// `stride`, `padding` (zeros on both sides) and `dilation` have one number for each spatial axis, or one for all.
    ///
    /// # Panics
    /// If shapes, channels or groups do not fit, or the window is larger than the padded input.
    #[track_caller]
    pub fn conv(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        stride: impl AsRef<[usize]>,
        padding: impl AsRef<[usize]>,
        dilation: impl AsRef<[usize]>,
        groups: usize,
    ) -> Tensor {
        self.conv_with(weight, bias, &ConvOptions::new().stride(stride).padding(padding).dilation(dilation).groups(groups))
    }

    /// As [`conv`](Tensor::conv), with [`ConvOptions`].
    ///
    /// # Panics
    /// As [`conv`](Tensor::conv).
    #[track_caller]
    pub fn conv_with(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvOptions) -> Tensor {
        pass_poison!(self, weight);
        let n = weight.rank().saturating_sub(2);
        if self.rank() > 0 && self.rank() == n + 1 {
            let out = self.unsqueeze(0).conv_with(weight, bias, options);
            pass_poison!(out);
            return out.reshape_shape(&out.shape().without(&[0]));
        }
        let spec = or_poison!(ConvSpec::forward(options, n));
        let (x, w) = or_poison!(same_dtype("conv", self, weight));
        Tensor::record(Op::Conv(Box::new(spec)), &[&x, &w]).channel_bias(bias)
    }

    /// The transpose (gradient) of a convolution, of `[N, I, spatial..]` with `weight` `[I, O/groups, window..]`, plus `bias` `[O]`:
    /// `out = (in - 1) * stride - 2 * padding + dilation * (window - 1) + output_padding + 1`.
    ///
    /// # Panics
    /// If shapes, channels or groups do not fit, or padding exceeds the output.
    #[track_caller]
    #[expect(clippy::too_many_arguments, reason = "PyTorch's arguments; conv_transpose_with takes options")]
    pub fn conv_transpose(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        stride: impl AsRef<[usize]>,
        padding: impl AsRef<[usize]>,
        output_padding: impl AsRef<[usize]>,
        dilation: impl AsRef<[usize]>,
        groups: usize,
    ) -> Tensor {
        let options = ConvOptions::new().stride(stride).padding(padding).output_padding(output_padding).dilation(dilation).groups(groups);
        self.conv_transpose_with(weight, bias, &options)
    }

    /// As [`conv_transpose`](Tensor::conv_transpose), with [`ConvOptions`].
    ///
    /// # Panics
    /// As [`conv_transpose`](Tensor::conv_transpose).
    #[track_caller]
    pub fn conv_transpose_with(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvOptions) -> Tensor {
        pass_poison!(self, weight);
        let n = weight.rank().saturating_sub(2);
        if self.rank() > 0 && self.rank() == n + 1 {
            let out = self.unsqueeze(0).conv_transpose_with(weight, bias, options);
            pass_poison!(out);
            return out.reshape_shape(&out.shape().without(&[0]));
        }
        let (g, ws) = (options.groups, weight.shape());
        if weight.rank() < 3 || g == 0 || ws[0] % g != 0 || self.rank() != n + 2 || self.shape()[1] != ws[0] {
            slip_now!(
                Shape,
                "conv_transpose: input {} and kernel {ws} in {g} groups: expected [N, I, spatial..] and [I, O/groups, window..]",
                self.shape()
            );
        }
        // The kernel of the equivalent convolution: reversed, input and output channels exchanged within each group.
        let (inner, outer) = (ws[0] / g, ws[1]);
        let window = &ws[2..];
        let of = |lead: &[usize]| -> Shape { lead.iter().chain(window).copied().collect() };
        let mut perm: AxisVec = (0..n + 3).collect();
        perm.swap(1, 2);
        let axes: AxisVec = (2..n + 2).collect();
        let w = weight.reshape_shape(&of(&[g, inner, outer])).permute_axes(&perm).reshape_shape(&of(&[g * outer, inner])).flip_axes(&axes);
        let spec = or_poison!(ConvSpec::transposed(options, window));
        let (x, w) = or_poison!(same_dtype("conv_transpose", self, &w));
        Tensor::record(Op::Conv(Box::new(spec)), &[&x, &w]).channel_bias(bias)
    }

    /// Plus `[C]` along axis 1.
    #[track_caller]
    fn channel_bias(self, bias: Option<&Tensor>) -> Tensor {
        pass_poison!(self);
        let Some(b) = bias else { return self };
        pass_poison!(b);
        if b.rank() != 1 || b.numel() != self.shape()[1] {
            slip_now!(Shape, "conv: a bias of shape {} for {} output channels", b.shape(), self.shape()[1]);
        }
        let shape: Shape = (0..self.rank()).map(|a| if a == 1 { b.numel() } else { 1 }).collect();
        &self + b.reshape_shape(&shape)
    }
}

impl ConvSpec {
    /// The op of a convolution over `n` spatial axes.
    fn forward(o: &ConvOptions, n: usize) -> Result<ConvSpec> {
        let signed = |list: &[usize]| -> Result<SmallVec<[isize; 3]>> {
            Ok(each("conv", "padding", list, n)?.iter().map(|&p| p as isize).collect())
        };
        Ok(ConvSpec {
            stride: each("conv", "stride", &o.stride, n)?,
            lo: signed(&o.padding_lo)?,
            hi: signed(&o.padding_hi)?,
            lhs_dilation: SmallVec::from_elem(1, n),
            rhs_dilation: each("conv", "dilation", &o.dilation, n)?,
            groups: o.groups,
        })
    }

    /// The op of a transposed convolution with a window: the input is spread by the stride, and padding is what the window leaves.
    fn transposed(o: &ConvOptions, window: &[usize]) -> Result<ConvSpec> {
        let (op, n) = ("conv_transpose", window.len());
        let (stride, dilation) = (each(op, "stride", &o.stride, n)?, each(op, "dilation", &o.dilation, n)?);
        let (lo, hi) = (each(op, "padding", &o.padding_lo, n)?, each(op, "padding", &o.padding_hi, n)?);
        let extra = each(op, "output_padding", &o.output_padding, n)?;
        if let Some(i) = (0..n).find(|&i| extra[i] >= stride[i].max(dilation[i])) {
            bail!(Argument, "{op}: output_padding {} is not below the stride {} or dilation {}", extra[i], stride[i], dilation[i]);
        }
        let reach = |i: usize| (dilation[i] * (window[i].max(1) - 1)) as isize;
        Ok(ConvSpec {
            stride: SmallVec::from_elem(1, n),
            lo: (0..n).map(|i| reach(i) - lo[i] as isize).collect(),
            hi: (0..n).map(|i| reach(i) - hi[i] as isize + extra[i] as isize).collect(),
            lhs_dilation: stride,
            rhs_dilation: dilation,
            groups: o.groups,
        })
    }
}
