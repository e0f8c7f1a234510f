//! Normalisation layers and attention as functions. Statistics of halves are computed in f32.

use super::compose::{AxisVec, compute_dtype, or_poison, pass_poison, slip_now};
use super::{Lit, Tensor};
use crate::base::error::{Result, bail};
use crate::base::{Axes, Axis, DType, Shape};
use crate::trace::Reduce;

impl Tensor {
    /// `(x - mean) / sqrt(var + eps)` over the last axes, which have `shape`, then times `weight` plus `bias` of that shape.
    ///
    /// # Panics
    /// If this shape does not end in `shape`, or `weight` or `bias` has another one.
    #[track_caller]
    pub fn layer_norm(&self, shape: impl Into<Shape>, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        self.normalise_last(shape.into(), weight, bias, eps, true, "layer_norm")
    }

    /// `x / sqrt(mean(x^2) + eps)` over the last axes, which have `shape`, then times `weight` of that shape.
    ///
    /// # Panics
    /// If this shape does not end in `shape`, or `weight` has another one.
    #[track_caller]
    pub fn rms_norm(&self, shape: impl Into<Shape>, weight: Option<&Tensor>, eps: f64) -> Tensor {
        self.normalise_last(shape.into(), weight, None, eps, false, "rms_norm")
    }

    #[track_caller]
    fn normalise_last(&self, over: Shape, w: Option<&Tensor>, b: Option<&Tensor>, eps: f64, centre: bool, op: &str) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        for t in [w, b].into_iter().flatten() {
            pass_poison!(t);
            if *t.shape() != over {
                slip_now!(Shape, "{op}: a weight or bias of shape {} for axes of shape {over}", t.shape());
            }
        }
        let lead = x.rank().checked_sub(over.rank());
        let Some(lead) = lead.filter(|&l| x.shape()[l..] == over[..] && over.rank() > 0) else {
            slip_now!(Shape, "{op}: shape {} does not end in {over}", x.shape())
        };
        let axes: AxisVec = (lead..x.rank()).collect();
        x.standardise(&axes, eps, centre).scale_shift(w, b, x.dtype())
    }

    /// Divided by the root of the mean square over the axes (of the deviations from the mean, if `centre`), in the computing dtype.
    #[track_caller]
    fn standardise(&self, axes: &[usize], eps: f64, centre: bool) -> Tensor {
        let x = self.cast(compute_dtype(self.dtype()));
        let (kept, n) = (x.shape().keepdim(axes), Lit(x.count_along(axes) as f64));
        let x = if centre { &x - (x.reduce_axes(Reduce::Sum, axes) / n).reshape_shape(&kept) } else { x };
        let var = (x.square().reduce_axes(Reduce::Sum, axes) / n).reshape_shape(&kept);
        &x * (var + Lit(eps)).rsqrt()
    }

    /// `x * w + b` in this dtype, then cast.
    #[track_caller]
    fn scale_shift(&self, w: Option<&Tensor>, b: Option<&Tensor>, dtype: DType) -> Tensor {
        let mut y = self.clone();
        if let Some(w) = w {
            y *= w.cast(y.dtype());
        }
        if let Some(b) = b {
            y += b.cast(y.dtype());
        }
        y.cast(dtype)
    }

    /// `(x - mean) / sqrt(var + eps) * weight + bias` with statistics and parameters `[C]` for each index of axis 1. In training, pass
    /// `x.mean_var([0, 2, ..], 0)`.
    ///
    /// # Panics
    /// If there is no axis 1, or an operand is not `[C]`.
    #[track_caller]
    pub fn batch_norm(&self, mean: &Tensor, var: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        let x = self.to_float();
        pass_poison!(x, mean, var);
        if x.numel() == 0 {
            return x;
        }
        let d = x.dtype();
        let x = x.cast(compute_dtype(d));
        let mean = or_poison!(x.per_channel(mean, "batch_norm"));
        let var = or_poison!(x.per_channel(var, "batch_norm"));
        let scale = (var + Lit(eps)).rsqrt();
        let (w, b) = or_poison!(x.affine(weight, bias, "batch_norm"));
        ((x - mean) * scale).scale_shift(w.as_ref(), b.as_ref(), d)
    }

    /// `[C]` as `[1, C, 1, ..]`, in this tensor's dtype.
    #[track_caller]
    fn per_channel(&self, t: &Tensor, op: &str) -> Result<Tensor> {
        if self.rank() < 2 || t.rank() != 1 || t.numel() != self.shape()[1] {
            bail!(Shape, "{op}: {} for the channels (axis 1) of shape {}", t.shape(), self.shape());
        }
        let shape: Shape = (0..self.rank()).map(|a| if a == 1 { t.numel() } else { 1 }).collect();
        Ok(t.cast(self.dtype()).reshape_shape(&shape))
    }

    #[track_caller]
    fn affine(&self, w: Option<&Tensor>, b: Option<&Tensor>, op: &str) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let w = match w {
            Some(w) => Some(self.per_channel(w, op)?),
            None => None,
        };
        let b = match b {
            Some(b) => Some(self.per_channel(b, op)?),
            None => None,
        };
        Ok((w, b))
    }

    /// Standardised over each example's groups of channels (axis 1) and all later axes, then times `weight` plus `bias`, both `[C]`.
    ///
    /// # Panics
    /// If there is no axis 1, the channels do not divide into groups, or a parameter is not `[C]`.
    #[track_caller]
    pub fn group_norm(&self, groups: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        if x.rank() < 2 || groups == 0 || !x.shape()[1].is_multiple_of(groups) {
            slip_now!(Shape, "group_norm: shape {} does not divide into {groups} groups of channels (axis 1)", x.shape());
        }
        let (w, b) = or_poison!(x.affine(weight, bias, "group_norm"));
        let s = x.shape();
        let split: Shape = [s[0], groups, s[1] / groups].into_iter().chain(s[2..].iter().copied()).collect();
        let axes: AxisVec = (2..split.rank()).collect();
        x.reshape_shape(&split).standardise(&axes, eps, true).reshape_shape(s).scale_shift(w.as_ref(), b.as_ref(), x.dtype())
    }

    /// Each channel of each example standardised over its later axes: [`group_norm`](Tensor::group_norm) with a group for each channel.
    ///
    /// # Panics
    /// As [`group_norm`](Tensor::group_norm).
    #[track_caller]
    pub fn instance_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        pass_poison!(self);
        self.group_norm(self.shape().get(1).copied().unwrap_or(0), weight, bias, eps)
    }

    /// `x / (k + alpha * mean(x^2 over size neighbouring channels))^beta`, channels on axis 1 (Krizhevsky et al. 2012, as PyTorch).
    ///
    /// # Panics
    /// If there is no axis 1 or `size` is 0.
    #[track_caller]
    pub fn local_response_norm(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Tensor {
        pass_poison!(self);
        if !self.dtype().is_float() {
            slip_now!(DType, "local_response_norm: the input is {}, not a float: cast it first", self.dtype());
        }
        let x = self.clone();
        if x.rank() < 2 || size == 0 {
            slip_now!(Shape, "local_response_norm over {size} channels of shape {}", x.shape());
        }
        let c = x.shape()[1];
        let padded = x.square().pad_axis(1, size / 2, (size - 1) / 2, crate::Scalar::Int(0));
        let mut sum = padded.slice_axis(1, 0, c, 1);
        for i in 1..size {
            sum += padded.slice_axis(1, i, i + c, 1);
        }
        let base = sum * Lit(alpha / size as f64) + Lit(k);
        &x / base.binary(crate::trace::Binary::Pow, Lit(beta), super::operand::Meet::Promote)
    }

    /// `x . y / (max(|x|, eps) * max(|y|, eps))` along an axis; other axes broadcast.
    ///
    /// # Panics
    /// If shapes do not broadcast or the axis is out of range.
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Tensor, axis: impl Into<Axis>, eps: f64) -> Tensor {
        pass_poison!(self, other);
        let t = Tensor::broadcast_tensors(&[self, other]);
        let (x, y) = (t[0].to_float(), t[1].to_float());
        pass_poison!(x, y);
        let axis = Axes::from(axis.into().0);
        let norm = |t: &Tensor| t.norm_keepdim(2.0, axis.clone()).clamp_min(Lit(eps));
        let (u, v) = (&x / norm(&x), &y / norm(&y));
        (u * v).sum(axis)
    }

    /// Scaled dot-product attention `softmax(q k^T * scale + mask) v`, with `self` as q `[.., L, E]`, k `[.., S, E]`, v `[.., S, V]`.
    /// The scale is `1 / sqrt(E)` unless given. A Bool mask (which broadcasts to `[.., L, S]`) keeps where it is true, a float mask is
    /// added; `causal` lets position i see positions up to i.
    ///
    /// # Panics
    /// If shapes do not fit.
    #[track_caller]
    pub fn attention(&self, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, causal: bool, scale: Option<f64>) -> Tensor {
        pass_poison!(self, k, v);
        if self.rank() < 2 || k.rank() < 2 || v.rank() < 2 || self.shape()[self.rank() - 1] != k.shape()[k.rank() - 1] {
            slip_now!(
                Shape,
                "attention: q {}, k {}, v {} are not [.., L, E], [.., S, E] and [.., S, V]",
                self.shape(),
                k.shape(),
                v.shape()
            );
        }
        let weights = self.attention_weights(k, mask, causal, scale);
        pass_poison!(weights);
        weights.matmul(v)
    }

    /// `x w^T + bias` with w `[out, in]`, bias `[out]`: `[.., in] -> [.., out]`.
    ///
    /// # Panics
    /// If shapes do not fit.
    #[track_caller]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        pass_poison!(self, weight);
        if !(1..=2).contains(&weight.rank()) {
            slip_now!(Shape, "linear: the weight has shape {}, expected [out, in]", weight.shape());
        }
        let y = self.matmul(&weight.t());
        match bias {
            Some(b) => y + b,
            None => y,
        }
    }
}
