//! Images: moving between channels, space and windows. `[N, C, spatial..]`. Resizing is in `resample`.

use super::compose::{AxisVec, or_poison, pass_poison, slip_now};
use super::conv::each;
use super::{ConvOptions, Tensor};
use crate::base::error::{Result, bail};
use crate::base::{DType, Shape};

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
        let mut x = self.pad_constant(&[0, 0, lo[0], lo[1]], &[0, 0, hi[0], hi[1]], crate::Scalar::Int(0));
        for i in 0..2 {
            let reach = dilation[i] * (kernel[i].max(1) - 1) + 1;
            if kernel[i] == 0 || stride[i] == 0 || dilation[i] == 0 || reach > x.shape()[2 + 2 * i] {
                slip_now!(
                    Shape,
                    "im2col: a window {kernel:?} (stride {stride:?}, dilation {dilation:?}) over shape {}, padded by {lo:?}",
                    self.shape()
                );
            }
            x = x.windows(2 + 2 * i, kernel[i], stride[i], dilation[i]);
        }
        // [N, C, rows, KH, columns, KW]
        let s = x.shape().clone();
        x.permute_axes(&[0, 1, 3, 5, 2, 4]).reshape_shape(&[s[0], s[1] * s[3] * s[5], s[2] * s[4]].into())
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
        // Each channel and place of the window has a kernel of its own, which is 1 at that place.
        let (i, j) = ([c * taps, taps].into(), DType::I64);
        let own = Tensor::iota_shape(&i, 0, j).fmod(super::LitInt(taps as i64)).eq(Tensor::iota_shape(&i, 1, j)).cast(self.dtype());
        let own = own.reshape_shape(&[c * taps, 1, kernel[0], kernel[1]].into());
        let x = self.reshape_shape(&[n, c * taps, rows, columns].into());
        // What the windows do not reach behind is cropped or added at the end.
        let spread = ConvOptions::new().stride(&stride[..]).dilation(&dilation[..]).groups(c);
        let image = x.conv_transpose_with(&own, None, &spread);
        pass_poison!(image);
        let widths: Vec<(isize, isize)> =
            (0..2).map(|a| (-(lo[a] as isize), (out[a] + lo[a]) as isize - image.shape()[a + 2] as isize)).collect();
        image.pad(&widths, 0.0)
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
