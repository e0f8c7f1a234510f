//! Images: resizing, and moving between channels and space. `[N, C, spatial..]`.

use super::compose::{AxisVec, compute_dtype, or_poison, pass_poison, slip_now};
use super::{Lit, LitInt, Tensor};
use crate::base::error::{Result, bail};
use crate::base::{DType, Shape};

/// How [`Tensor::interpolate`] reads between pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interpolate {
    /// The pixel whose cell the place is in.
    Nearest,
    /// Linear between neighbours, along every axis; pixels are cells, whose corners are aligned.
    Linear,
    /// Linear between neighbours; the centres of the corner pixels are aligned.
    LinearAlignCorners,
}

impl Tensor {
    /// Resized along the last axes to the extents in `size`.
    ///
    /// # Panics
    /// If there are fewer than two axes more than extents, or an extent is 0.
    #[track_caller]
    pub fn interpolate(&self, size: &[usize], mode: Interpolate) -> Tensor {
        pass_poison!(self);
        let Some(lead) = self.rank().checked_sub(size.len()) else { slip_now!(Shape, "interpolate: shape {} to {size:?}", self.shape()) };
        if self.shape()[lead..].iter().chain(size).any(|&n| n == 0) {
            slip_now!(Shape, "interpolate: shape {} to {size:?}: extents of 0", self.shape());
        }
        let _on = self.device().enter();
        let mut x = if mode == Interpolate::Nearest { self.clone() } else { self.to_float() };
        for (i, &m) in size.iter().enumerate() {
            x = x.resize_axis(lead + i, m, mode);
        }
        x
    }

    #[track_caller]
    fn resize_axis(&self, axis: usize, m: usize, mode: Interpolate) -> Tensor {
        let n = self.shape()[axis];
        if m == n {
            return self.clone();
        }
        if mode == Interpolate::Nearest {
            if m.is_multiple_of(n) {
                return self.repeat_interleave(m / n, axis);
            }
            // floor(i n / m), in integers.
            let i = Tensor::iota_shape(&Shape::new(&[m]), 0, DType::I64);
            return self.gather_rows(axis, &(i * LitInt(n as i64)).floor_divide(LitInt(m as i64)));
        }
        let d = compute_dtype(self.dtype());
        let i = Tensor::iota_shape(&Shape::new(&[m]), 0, d);
        let place = match mode {
            Interpolate::LinearAlignCorners if m > 1 => i * Lit((n - 1) as f64 / (m - 1) as f64),
            Interpolate::LinearAlignCorners => i * Lit(0.0),
            _ => ((i + Lit(0.5)) * Lit(n as f64 / m as f64) - Lit(0.5)).clamp_min(Lit(0.0)),
        };
        let low = place.floor().clamp_max(Lit((n - 1) as f64));
        let part = place - &low;
        let low = low.cast(DType::I64);
        let high = (&low + LitInt(1)).clamp_max(LitInt(n as i64 - 1));
        let along: Shape = (0..self.rank()).map(|a| if a == axis { m } else { 1 }).collect();
        let w = part.cast(self.dtype()).reshape_shape(&along);
        self.gather_rows(axis, &low) * (w.neg_of() + Lit(1.0)) + self.gather_rows(axis, &high) * w
    }

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

    fn image_axes(&self, op: &str) -> Result<(Shape, [usize; 3])> {
        let r = self.rank();
        if r < 3 {
            bail!(Shape, "{op}: shape {} is not [.., C, H, W]", self.shape());
        }
        let s = self.shape();
        Ok((Shape::new(&s[..r - 3]), [s[r - 3], s[r - 2], s[r - 1]]))
    }
}
