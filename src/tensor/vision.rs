//! Images: moving between channels, space and windows. `[N, C, spatial..]`. Resizing is in `resample`.

use super::compose::{AxisVec, or_poison, pass_poison, slip_now};
use super::conv::each;
use super::{ConvOptions, LitInt, Tensor};
use crate::base::error::{Result, bail};
use crate::base::{DType, Shape};
use crate::trace::{Op, ScatterMode};

impl Tensor {
    /// Channels into space: `[.., C r^2, H, W] -> [.., C, H r, W r]`.
    ///
    /// # Panics
    /// If there are fewer than three axes or channels do not divide by `r^2`.
    #[track_caller]
    pub fn pixel_shuffle(&self, r: usize) -> Tensor {
        pass_poison!(self);
        let (lead, [c, h, w]) = or_poison!(self.image_axes("pixel_shuffle"));
        if r == 0 || c % (r * r) != 0 {
            slip_now!(Shape, "pixel_shuffle: {c} channels of shape {} do not divide by {r}^2", self.shape());
        }
        let of = |tail: &[usize]| -> Shape { lead.iter().chain(tail).copied().collect() };
        // [C, ry, rx, H, W] to [C, H, ry, W, rx].
        let b = lead.rank();
        let perm: AxisVec = (0..b).chain([b, b + 3, b + 1, b + 4, b + 2]).collect();
        let c = c / (r * r);
        self.reshape_shape(&of(&[c, r, r, h, w])).permute_axes(&perm).reshape_shape(&of(&[c, h * r, w * r]))
    }

    /// Space into channels, the inverse of [`pixel_shuffle`](Tensor::pixel_shuffle): `[.., C, H r, W r] -> [.., C r^2, H, W]`.
    ///
    /// # Panics
    /// If there are fewer than three axes or the last two do not divide by `r`.
    #[track_caller]
    pub fn pixel_unshuffle(&self, r: usize) -> Tensor {
        pass_poison!(self);
        let (lead, [c, h, w]) = or_poison!(self.image_axes("pixel_unshuffle"));
        if r == 0 || h % r != 0 || w % r != 0 {
            slip_now!(Shape, "pixel_unshuffle: the last axes of shape {} do not divide by {r}", self.shape());
        }
        let of = |tail: &[usize]| -> Shape { lead.iter().chain(tail).copied().collect() };
        // [C, H, ry, W, rx] to [C, ry, rx, H, W].
        let b = lead.rank();
        let perm: AxisVec = (0..b).chain([b, b + 2, b + 4, b + 1, b + 3]).collect();
        let (h, w) = (h / r, w / r);
        self.reshape_shape(&of(&[c, h, r, w, r])).permute_axes(&perm).reshape_shape(&of(&[c * r * r, h, w]))
    }

    /// Channels interleaved: `[N, C, ..]` with C as `[groups, C / groups]` becomes `[C / groups, groups]`.
    ///
    /// # Panics
    /// If there is no axis 1 or it does not divide.
    #[track_caller]
    pub fn channel_shuffle(&self, groups: usize) -> Tensor {
        pass_poison!(self);
        if self.rank() < 2 || groups == 0 || !self.shape()[1].is_multiple_of(groups) {
            slip_now!(Shape, "channel_shuffle: shape {} in {groups} groups of channels (axis 1)", self.shape());
        }
        let s = self.shape();
        let split: Shape = [s[0], groups, s[1] / groups].into_iter().chain(s[2..].iter().copied()).collect();
        let perm: AxisVec = [0, 2, 1].into_iter().chain(3..split.rank()).collect();
        self.reshape_shape(&split).permute_axes(&perm).reshape_shape(s)
    }

    /// PyTorch's `nn.functional.unfold`: every window of an image `[N, C, H, W]` (or `[C, H, W]`) as a column, `[N, C KH KW, windows]`.
    /// Of the options, stride, padding and dilation count.
    ///
    /// # Panics
    /// If shapes do not fit or the window is larger than the padded image.
    #[track_caller]
    pub fn im2col(&self, kernel: [usize; 2], options: &ConvOptions) -> Tensor {
        pass_poison!(self);
        if self.rank() == 3 {
            let columns = self.unsqueeze(0).im2col(kernel, options);
            pass_poison!(columns);
            return columns.reshape_shape(&columns.shape().without(&[0]));
        }
        if self.rank() != 4 {
            slip_now!(Shape, "im2col: shape {} is not [N, C, H, W] or [C, H, W]", self.shape());
        }
        let (stride, dilation) =
            (or_poison!(each("im2col", "stride", &options.stride, 2)), or_poison!(each("im2col", "dilation", &options.dilation, 2)));
        let (lo, hi) =
            (or_poison!(each("im2col", "padding", &options.padding_lo, 2)), or_poison!(each("im2col", "padding", &options.padding_hi, 2)));
        let x = self.pad_constant(&[0, 0, lo[0], lo[1]], &[0, 0, hi[0], hi[1]], crate::Scalar::Int(0));
        let mut counts = [0; 2];
        for i in 0..2 {
            let reach = dilation[i] * (kernel[i].max(1) - 1) + 1;
            if kernel[i] == 0 || stride[i] == 0 || dilation[i] == 0 || reach > x.shape()[2 + i] {
                slip_now!(
                    Shape,
                    "im2col: a window {kernel:?} (stride {stride:?}, dilation {dilation:?}) over shape {}, padded by {lo:?}",
                    self.shape()
                );
            }
            counts[i] = (x.shape()[2 + i] - reach) / stride[i] + 1;
        }
        // The places of a channel's pixels are the same for every channel.
        let _on = self.device().enter();
        let (s, places) = (x.shape().clone(), Shape::new(&[kernel[0], kernel[1], counts[0], counts[1]]));
        let along = |axis: usize, by: usize| Tensor::iota_shape(&places, axis, DType::I64) * LitInt(by as i64);
        let at = along(0, dilation[0] * s[3]) + along(1, dilation[1]) + along(2, stride[0] * s[3]) + along(3, stride[1]);
        let (channels, all) = (s[0] * s[1], places.numel());
        let at = at.flatten_all().broadcast_shape(&[channels, all].into());
        let columns = Tensor::record(Op::Gather(1), &[&x.reshape_shape(&[channels, s[2] * s[3]].into()), &at]);
        pass_poison!(columns);
        columns.reshape_shape(&[s[0], s[1] * kernel[0] * kernel[1], counts[0] * counts[1]].into())
    }

    /// PyTorch's `nn.functional.fold`, the transpose of [`im2col`](Tensor::im2col): windows added into an image of extents `out`.
    ///
    /// # Panics
    /// If shapes do not fit, or this is no float.
    #[track_caller]
    pub fn col2im(&self, out: [usize; 2], kernel: [usize; 2], options: &ConvOptions) -> Tensor {
        pass_poison!(self);
        if self.rank() == 2 {
            let image = self.unsqueeze(0).col2im(out, kernel, options);
            pass_poison!(image);
            return image.reshape_shape(&image.shape().without(&[0]));
        }
        let taps = kernel[0] * kernel[1];
        let (stride, dilation) =
            (or_poison!(each("col2im", "stride", &options.stride, 2)), or_poison!(each("col2im", "dilation", &options.dilation, 2)));
        let (lo, hi) =
            (or_poison!(each("col2im", "padding", &options.padding_lo, 2)), or_poison!(each("col2im", "padding", &options.padding_hi, 2)));
        let count = |i: usize| {
            let (have, need) = (out[i] + lo[i] + hi[i], dilation[i] * (kernel[i].max(1) - 1) + 1);
            if stride[i] == 0 || have < need { 0 } else { (have - need) / stride[i] + 1 }
        };
        let (rows, columns) = (count(0), count(1));
        if self.rank() != 3
            || taps == 0
            || !self.shape()[1].is_multiple_of(taps)
            || self.shape()[2] != rows * columns
            || rows * columns == 0
        {
            slip_now!(
                Shape,
                "col2im: shape {} into an image {out:?} by windows {kernel:?}: expected [N, C {taps}, {rows} {columns}]",
                self.shape()
            );
        }
        if !self.dtype().is_float() {
            slip_now!(DType, "col2im is not defined for {}: cast it to a float first", self.dtype());
        }
        let _on = self.device().enter();
        let (n, c) = (self.shape()[0], self.shape()[1] / taps);
        // Where each element of a window goes is the same for every channel; outside of the image it is dropped.
        let d = self.dtype();
        let x = self.cast(super::compose::compute_dtype(d)).reshape_shape(&[n * c, taps * rows * columns].into());
        let places = Shape::new(&[kernel[0], kernel[1], rows, columns]);
        let along = |a: usize| {
            let within = Tensor::iota_shape(&places, a, DType::I64) * LitInt(dilation[a] as i64);
            let at = within + Tensor::iota_shape(&places, a + 2, DType::I64) * LitInt(stride[a] as i64) - LitInt(lo[a] as i64);
            let inside = at.ge(LitInt(0)).bitwise_and(at.lt(LitInt(out[a] as i64)));
            (at, inside)
        };
        let ((y, y_inside), (x_at, x_inside)) = (along(0), along(1));
        let at = (y * LitInt(out[1] as i64) + x_at).keep_where(&y_inside.bitwise_and(&x_inside), -1.0);
        let at = at.flatten_all().broadcast_shape(x.shape());
        let zeros = Tensor::constant(crate::Scalar::Int(0), x.dtype(), &[n * c, out[0] * out[1]].into());
        let image = Tensor::record(Op::Scatter(ScatterMode::Add, 1), &[&zeros, &at, &x]);
        pass_poison!(image);
        image.reshape_shape(&[n, c, out[0], out[1]].into()).cast(d)
    }

    fn image_axes(&self, op: &str) -> Result<(Shape, [usize; 3])> {
        let r = self.rank();
        if r < 3 {
            bail!(Shape, "{op}: shape {} is not [.., C, H, W]", self.shape());
        }
        let s = self.shape();
        Ok((Shape::new(&s[..r - 3]), [s[r - 3], s[r - 2], s[r - 1]]))
    }
}
