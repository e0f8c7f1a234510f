//! Padding: with a constant, or continued beyond the edges.

use super::Tensor;
use super::compose::{AxisVec, or_poison, pass_poison, slip_now, whole};
use crate::base::Scalar;
use crate::base::error::{Result, bail};
use smallvec::SmallVec;

/// How [`Tensor::pad_with`] continues a tensor beyond its edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PadMode {
    /// Mirrored about the first and last element, which are not repeated: `c b | a b c | b a`.
    Reflect,
    /// The first and last element again: `a a | a b c | c c`.
    Replicate,
    /// Wrapped around: `b c | a b c | a b`.
    Circular,
}

impl Tensor {
    /// Surrounded by a constant. One `(before, after)` for each of the last axes, outermost first; negative numbers crop. The value
    /// is part of the structure.
    ///
    /// # Panics
    /// If there are more pairs than axes, or more is cropped than there is.
    #[track_caller]
    pub fn pad(&self, widths: &[(isize, isize)], value: impl Into<f64>) -> Tensor {
        pass_poison!(self);
        let value = value.into();
        let widths = or_poison!(self.pad_widths(widths, "pad"));
        let mut spec = whole(self.shape());
        let (mut lo, mut hi): (AxisVec, AxisVec) = (AxisVec::new(), AxisVec::new());
        for (a, &(before, after)) in widths.iter().enumerate() {
            let n = self.shape()[a] as isize;
            if n + before.min(0) + after.min(0) < 0 || n + before + after < 0 {
                slip_now!(Shape, "pad: ({before}, {after}) crops more than axis {a} of shape {} has", self.shape());
            }
            (spec.start[a], spec.end[a]) = ((-before.min(0)) as usize, (n + after.min(0)) as usize);
            lo.push(before.max(0) as usize);
            hi.push(after.max(0) as usize);
        }
        let value = if value.fract() == 0.0 && value.abs() < 9e15 { Scalar::Int(value as i64) } else { Scalar::Float(value) };
        self.slice_spec(spec).pad_constant(&lo, &hi, value)
    }

    /// PyTorch's `constant_pad_nd`: as [`pad`](Tensor::pad), the widths in PyTorch's order, `[before, after]` of the last axis first.
    ///
    /// # Panics
    /// As [`pad`](Tensor::pad), and if the number of widths is odd.
    #[track_caller]
    pub fn constant_pad_nd(&self, widths: &[isize], value: impl Into<f64>) -> Tensor {
        pass_poison!(self);
        if !widths.len().is_multiple_of(2) {
            slip_now!(Argument, "constant_pad_nd: {} widths, expected two for each padded axis", widths.len());
        }
        let pairs: Vec<(isize, isize)> = widths.chunks(2).rev().map(|w| (w[0], w[1])).collect();
        self.pad(&pairs, value)
    }

    /// Continued beyond its edges: see [`PadMode`]. Widths as in [`pad`](Tensor::pad); what a negative one crops is cropped after that (before it, if it
    /// goes round).
    ///
    /// # Panics
    /// If there are more pairs than axes, or a width is more than the mode can fill.
    #[track_caller]
    pub fn pad_with(&self, widths: &[(isize, isize)], mode: PadMode) -> Tensor {
        pass_poison!(self);
        let widths = or_poison!(self.pad_widths(widths, "pad"));
        let mut x = self.clone();
        for (a, &(before, after)) in widths.iter().enumerate() {
            if before == 0 && after == 0 {
                continue;
            }
            if mode == PadMode::Circular {
                // What is cropped is gone before the rest goes round.
                let n = x.shape()[a];
                let (front, back) = (before.min(0).unsigned_abs(), after.min(0).unsigned_abs());
                if front + back > n {
                    slip_now!(Shape, "pad: ({before}, {after}) crops more than axis {a} of shape {} has", self.shape());
                }
                x = x.slice_axis(a, front, n - back, 1);
            }
            let n = x.shape()[a];
            let (before, after) = if mode == PadMode::Circular { (before.max(0), after.max(0)) } else { (before, after) };
            let limit = match mode {
                PadMode::Reflect => n.saturating_sub(1),
                PadMode::Circular => n,
                PadMode::Replicate if n > 0 => usize::MAX,
                PadMode::Replicate => 0,
            };
            let (grow, crop) = ([before.max(0), after.max(0)], [before.min(0), after.min(0)]);
            if grow.iter().any(|&w| w as usize > limit) || n as isize + before + after < 0 {
                slip_now!(Shape, "pad: {mode:?} cannot continue axis {a} of shape {} by ({before}, {after})", self.shape());
            }
            let (l, h) = (grow[0] as usize, grow[1] as usize);
            let mut parts = Vec::with_capacity(3);
            let stretched = |count: usize| {
                let mut s = x.shape().clone();
                s[a] = count;
                s
            };
            if l > 0 {
                parts.push(match mode {
                    PadMode::Reflect => x.slice_axis(a, 1, l + 1, 1).flip_axes(&[a]),
                    PadMode::Circular => x.slice_axis(a, n - l, n, 1),
                    PadMode::Replicate => x.slice_axis(a, 0, 1, 1).broadcast_shape(&stretched(l)),
                });
            }
            parts.push(x.clone());
            if h > 0 {
                parts.push(match mode {
                    PadMode::Reflect => x.slice_axis(a, n - 1 - h, n - 1, 1).flip_axes(&[a]),
                    PadMode::Circular => x.slice_axis(a, 0, h, 1),
                    PadMode::Replicate => x.slice_axis(a, n - 1, n, 1).broadcast_shape(&stretched(h)),
                });
            }
            x = Tensor::concat_axis(&parts, a);
            if crop != [0, 0] {
                x = x.slice_axis(a, crop[0].unsigned_abs(), x.shape()[a] - crop[1].unsigned_abs(), 1);
            }
        }
        x
    }

    /// A pair for every axis, zeros for those not named.
    fn pad_widths(&self, widths: &[(isize, isize)], op: &str) -> Result<SmallVec<[(isize, isize); 4]>> {
        let Some(lead) = self.rank().checked_sub(widths.len()) else {
            bail!(Shape, "{op}: {} widths for shape {}", widths.len(), self.shape())
        };
        Ok(std::iter::repeat_n((0, 0), lead).chain(widths.iter().copied()).collect())
    }
}
