//! Reading images between their pixels: resizing, and sampling on a grid. `[N, C, spatial..]`.
//!
//! Places are computed in F32 (F64 for F64 images), as PyTorch does: which pixel is nearest can depend on that rounding.

use super::cells::Reader;
use super::compose::{compute_dtype, or_poison, pass_poison, slip_now};
use super::{Lit, LitInt, Tensor};
use crate::base::error::{Result, bail};
use crate::base::{DType, Shape};
use crate::trace::Op;

/// How [`Tensor::interpolate`] reads between pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interpolate {
    /// The pixel at `floor(i * n / m)`, as PyTorch's `nearest`.
    Nearest,
    /// The pixel whose cell the centre is in, as PyTorch's `nearest-exact`.
    NearestExact,
    /// Linear between neighbours, along every axis; pixels are cells, whose corners are aligned.
    Linear,
    /// Linear between neighbours; the centres of the corner pixels are aligned.
    LinearAlignCorners,
    /// Cubic convolution of four neighbours (Keys 1981, a = -0.75), along every axis; pixels are cells, whose corners are aligned.
    Cubic,
    /// As `Cubic`; the centres of the corner pixels are aligned.
    CubicAlignCorners,
    /// The mean of the cell: [`Tensor::adaptive_avg_pool`].
    Area,
}

impl Interpolate {
    fn aligned(self) -> bool {
        matches!(self, Interpolate::LinearAlignCorners | Interpolate::CubicAlignCorners)
    }

    fn moves(self) -> bool {
        matches!(self, Interpolate::Nearest | Interpolate::NearestExact)
    }
}

/// How [`Tensor::grid_sample`] reads between pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GridMode {
    /// The nearest pixel, ties to even.
    Nearest,
    /// Linear along every axis.
    Linear,
    /// Cubic convolution along every axis.
    Cubic,
}

/// What [`Tensor::grid_sample`] reads outside of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GridPadding {
    /// Zeros.
    Zeros,
    /// The nearest pixel of the border.
    Border,
    /// The image mirrored at its border.
    Reflection,
}

/// Places of pixels that are computed at most for one image.
const MAX_PLACES: usize = 1 << 16;

/// The distance of output pixels in input pixels, rounded as PyTorch rounds it.
fn distance(n: usize, m: usize, scale: Option<f64>, d: DType) -> f64 {
    match scale {
        Some(s) => 1.0 / s,
        None if d == DType::F64 => n as f64 / m as f64,
        None => (n as f32 / m as f32) as f64,
    }
}

/// One axis of a grid.
#[derive(Clone, Copy)]
struct GridAxis {
    extent: usize,
    padding: GridPadding,
    align: bool,
}

impl Tensor {
    /// Resized along the last axes to the extents in `size`.
    ///
    /// # Panics
    /// If there are fewer axes than extents, an extent is 0, or an integer image is not read by the nearest pixel.
    #[track_caller]
    pub fn interpolate(&self, size: &[usize], mode: Interpolate) -> Tensor {
        self.resize(size, None, mode)
    }

    /// Resized along the last axes by factors: to `floor(n * scale)`, and places are found with the factor itself, as PyTorch's
    /// `scale_factor` (with `recompute_scale_factor`, it is [`interpolate`](Tensor::interpolate) to those extents).
    ///
    /// # Panics
    /// As [`interpolate`](Tensor::interpolate).
    #[track_caller]
    pub fn interpolate_scale(&self, scale: &[f64], mode: Interpolate) -> Tensor {
        pass_poison!(self);
        let Some(lead) = self.rank().checked_sub(scale.len()) else { slip_now!(Shape, "interpolate: shape {} by {scale:?}", self.shape()) };
        if scale.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            slip_now!(Argument, "interpolate: factors {scale:?}");
        }
        let size: Vec<usize> = self.shape()[lead..].iter().zip(scale).map(|(&n, s)| (n as f64 * s).floor() as usize).collect();
        self.resize(&size, Some(scale), mode)
    }

    #[track_caller]
    fn resize(&self, size: &[usize], scale: Option<&[f64]>, mode: Interpolate) -> Tensor {
        pass_poison!(self);
        let Some(lead) = self.rank().checked_sub(size.len()) else { slip_now!(Shape, "interpolate: shape {} to {size:?}", self.shape()) };
        if self.shape()[lead..].iter().chain(size).any(|&n| n == 0) {
            slip_now!(Shape, "interpolate: shape {} to {size:?}: extents of 0", self.shape());
        }
        if !mode.moves() && !self.dtype().is_float() {
            slip_now!(DType, "interpolate: {mode:?} of {}: cast it to a float first", self.dtype());
        }
        if mode == Interpolate::Area {
            return self.adaptive_avg_pool(size);
        }
        let _on = self.device().enter();
        let d = self.dtype();
        if mode.moves() && size.iter().product::<usize>() <= MAX_PLACES {
            return self.nearest(size, scale, mode);
        }
        let mut x = if mode.moves() { self.clone() } else { self.cast(compute_dtype(d)) };
        // What shrinks most goes first: fewer elements are moved.
        let mut order: Vec<usize> = (0..size.len()).rev().collect();
        order.sort_by(|&a, &b| {
            let growth = |i: usize| size[i] as f64 / self.shape()[lead + i] as f64;
            growth(a).total_cmp(&growth(b))
        });
        for i in order {
            let m = size[i];
            let ratio = distance(x.shape()[lead + i], m, scale.map(|s| s[i]), d);
            x = x.resize_axis(lead + i, m, ratio, mode);
        }
        x.cast(d)
    }

    /// The nearest pixels, all axes at once: where they lie in an image is one small tensor.
    #[track_caller]
    fn nearest(&self, size: &[usize], scale: Option<&[f64]>, mode: Interpolate) -> Tensor {
        let lead = self.rank() - size.len();
        let (from, to) = (Shape::new(&self.shape()[lead..]), Shape::new(size));
        if from == to && scale.is_none_or(|s| s.iter().all(|&s| s == 1.0)) {
            return self.clone();
        }
        let d = compute_dtype(self.dtype());
        let mut at: Option<Tensor> = None;
        for (a, (&n, &m)) in from.iter().zip(size).enumerate() {
            let ratio = distance(n, m, scale.map(|s| s[a]), self.dtype());
            let i = Tensor::iota_shape(&to, a, d);
            // As PyTorch, whose factor does not matter where the extent stays or doubles.
            let place = match mode {
                Interpolate::Nearest if m == n => i,
                Interpolate::Nearest if m == 2 * n => i * Lit(0.5),
                Interpolate::Nearest => i * Lit(ratio),
                _ => (i + Lit(0.5)) * Lit(ratio),
            };
            let pixel = place.floor().cast(DType::I64).minimum(LitInt(n as i64 - 1));
            at = Some(at.map_or_else(|| pixel.clone(), |t| t * LitInt(n as i64) + &pixel));
        }
        let Some(at) = at else { return self.clone() };
        let (images, pixels) = (self.shape()[..lead].iter().product::<usize>(), to.numel());
        let at = at.flatten_all().broadcast_shape(&Shape::new(&[images, pixels]));
        let y = Tensor::record(Op::Gather(1), &[&self.reshape_shape(&Shape::new(&[images, from.numel()])), &at]);
        pass_poison!(y);
        let out: Shape = self.shape()[..lead].iter().chain(size).copied().collect();
        y.reshape_shape(&out)
    }

    #[track_caller]
    fn resize_axis(&self, axis: usize, m: usize, ratio: f64, mode: Interpolate) -> Tensor {
        let n = self.shape()[axis];
        let linear = matches!(mode, Interpolate::Linear | Interpolate::LinearAlignCorners);
        // As PyTorch, whose factor then does not matter.
        if m == n && (ratio == 1.0 || mode.aligned() || linear || mode == Interpolate::Nearest) {
            return self.clone();
        }
        if mode == Interpolate::Nearest && (m == 2 * n || (m.is_multiple_of(n) && ratio == n as f64 / m as f64)) {
            return self.repeat_interleave(m / n, axis);
        }
        let d = compute_dtype(self.dtype());
        let reader = Reader::new(self, axis, m);
        let i = reader.number(d);
        let last = n as i64 - 1;
        let within = |at: Tensor| at.maximum(LitInt(0)).minimum(LitInt(last));
        let centre = |i: Tensor| (i + Lit(0.5)) * Lit(ratio);
        if mode.moves() {
            let place = if mode == Interpolate::Nearest { i * Lit(ratio) } else { centre(i) };
            return reader.done(&reader.read(&within(place.floor().cast(DType::I64))));
        }
        let place = match mode.aligned() {
            true if m > 1 => i * Lit(if d == DType::F64 { last as f64 / (m - 1) as f64 } else { (last as f32 / (m - 1) as f32) as f64 }),
            true => i * Lit(0.0),
            false => centre(i) - Lit(0.5),
        };
        let place = if linear { place.clamp_min(Lit(0.0)) } else { place };
        let low = place.floor();
        let part = place - &low;
        let low = low.cast(DType::I64);
        let pick = |k: i64| reader.read(&within(&low + LitInt(k)));
        if linear {
            return reader.done(&(pick(0) * reader.spread(&(part.neg_of() + Lit(1.0))) + pick(1) * reader.spread(&part)));
        }
        let taps = (-1..3).map(|k| pick(k) * reader.spread(&cubic_weight(&part, k)));
        taps.reduce(|a, b| a + b).map_or_else(|| self.clone(), |y| reader.done(&y))
    }

    /// This image `[N, C, spatial..]` read at the places of `grid` `[N, out.., n]`, whose last axis has a coordinate for each of the n
    /// (2 or 3) spatial axes, the last axis first (x, y, z), from -1 to 1 over the image: over its pixels' centres with `align_corners`,
    /// else over their edges. `[N, C, out..]`.
    ///
    /// # Panics
    /// If shapes or dtypes do not fit, or the image is empty.
    #[track_caller]
    pub fn grid_sample(&self, grid: &Tensor, mode: GridMode, padding: GridPadding, align_corners: bool) -> Tensor {
        pass_poison!(self, grid);
        let n = or_poison!(self.grid_axes(grid));
        let _on = self.device().enter();
        // In the order of the image's axes.
        let axes: Vec<GridAxis> = (0..n).map(|a| GridAxis { extent: self.shape()[a + 2], padding, align: align_corners }).collect();
        let at: Vec<Tensor> = (0..n).map(|a| axes[a].place(grid.select(-1, (n - 1 - a) as isize))).collect();
        match mode {
            GridMode::Nearest => {
                let whole: Vec<Tensor> = at.iter().zip(&axes).map(|(t, a)| a.inside(t).detach().round()).collect();
                self.pixels(&whole)
            }
            GridMode::Linear => {
                let at: Vec<Tensor> = at.iter().zip(&axes).map(|(t, a)| a.inside(t)).collect();
                let low: Vec<Tensor> = at.iter().map(|t| t.detach().floor()).collect();
                let part: Vec<Tensor> = at.iter().zip(&low).map(|(t, l)| t - l).collect();
                let corner = |bits: usize| {
                    // The last axis changes first, as in PyTorch: sums round alike.
                    let upper = |a: usize| bits >> (n - 1 - a) & 1 == 1;
                    let place: Vec<Tensor> = (0..n).map(|a| if upper(a) { &low[a] + Lit(1.0) } else { low[a].clone() }).collect();
                    let weight = (0..n).rev().map(|a| if upper(a) { part[a].clone() } else { part[a].neg_of() + Lit(1.0) });
                    let weight = weight.reduce(|a, b| a * b).unwrap_or_else(|| low[0].ones_like());
                    self.pixels(&place) * weight.unsqueeze(1)
                };
                (0..1usize << n).map(corner).reduce(|a, b| a + b).unwrap_or_else(|| self.clone())
            }
            GridMode::Cubic => {
                let low: Vec<Tensor> = at.iter().map(|t| t.detach().floor()).collect();
                let part: Vec<Tensor> = at.iter().zip(&low).map(|(t, l)| t - l).collect();
                let tap = |number: usize| {
                    // Every tap is brought into the image by itself; the last axis changes first.
                    let k = |a: usize| (number >> (2 * (n - 1 - a)) & 3) as i64 - 1;
                    let place: Vec<Tensor> = (0..n).map(|a| axes[a].inside(&(&low[a] + Lit(k(a) as f64)))).collect();
                    let weight = (0..n).rev().map(|a| cubic_weight(&part[a], k(a))).reduce(|a, b| a * b);
                    self.pixels(&place) * weight.unwrap_or_else(|| low[0].ones_like()).unsqueeze(1)
                };
                let taps = (0..1usize << (2 * n)).map(tap);
                taps.reduce(|a, b| a + b).unwrap_or_else(|| self.clone())
            }
        }
    }

    /// The number of spatial axes, if everything fits.
    fn grid_axes(&self, grid: &Tensor) -> Result<usize> {
        let n = self.rank().saturating_sub(2);
        let fits = (2..=3).contains(&n) && grid.rank() == n + 2 && grid.shape()[0] == self.shape()[0] && grid.shape()[n + 1] == n;
        if !fits {
            bail!(Shape, "grid_sample: image {} and grid {}: expected [N, C, spatial..] and [N, out.., n]", self.shape(), grid.shape());
        }
        if self.dtype() != grid.dtype() || !self.dtype().is_float() {
            bail!(DType, "grid_sample: image {} and grid {}: both must be one float type", self.dtype(), grid.dtype());
        }
        if self.shape()[2..].contains(&0) {
            bail!(Shape, "grid_sample: the image {} has no pixels", self.shape());
        }
        Ok(n)
    }

    /// The pixels at whole coordinates, one tensor `[N, out..]` for each spatial axis; 0 outside of the image. `[N, C, out..]`.
    #[track_caller]
    fn pixels(&self, at: &[Tensor]) -> Tensor {
        let (n, c) = (self.shape()[0], self.shape()[1]);
        let extents = &self.shape()[2..];
        let count: usize = extents.iter().product();
        let (mut flat, mut valid): (Option<Tensor>, Option<Tensor>) = (None, None);
        for (t, &e) in at.iter().zip(extents) {
            let t = t.detach();
            let top = e as f64 - 1.0;
            let ok = t.ge(Lit(0.0)).bitwise_and(t.le(Lit(top)));
            let i = t.replace(&ok.logical_not(), 0.0).cast(DType::I64);
            flat = Some(flat.map_or(i.clone(), |f| f * LitInt(e as i64) + &i));
            valid = Some(valid.map_or(ok.clone(), |v| v.bitwise_and(&ok)));
        }
        let (Some(flat), Some(valid)) = (flat, valid) else { return self.clone() };
        let out: Shape = flat.shape()[1..].iter().copied().collect();
        let index = flat.reshape_shape(&[n, 1, out.numel()].into()).broadcast_shape(&[n, c, out.numel()].into());
        let shape: Shape = [n, c].into_iter().chain(out.iter().copied()).collect();
        let got = self.reshape_shape(&[n, c, count].into()).gather_axis(2, &index).reshape_shape(&shape);
        got.keep_where(&valid.unsqueeze(1), 0.0)
    }
}

impl GridAxis {
    /// From -1..1 to pixels.
    #[track_caller]
    fn place(&self, t: Tensor) -> Tensor {
        let e = self.extent as f64;
        if self.align { (t + Lit(1.0)) / Lit(2.0) * Lit(e - 1.0) } else { ((t + Lit(1.0)) * Lit(e) - Lit(1.0)) / Lit(2.0) }
    }

    /// A coordinate brought into the image; zeros leave it. Both borders have derivative 0 at the limit itself.
    #[track_caller]
    fn inside(&self, t: &Tensor) -> Tensor {
        let top = self.extent as f64 - 1.0;
        match self.padding {
            GridPadding::Zeros => t.clone(),
            GridPadding::Border => t.hardtanh(Lit(0.0), Lit(top)),
            GridPadding::Reflection => {
                let (low, high) = if self.align { (0.0, top) } else { (-0.5, self.extent as f64 - 0.5) };
                let span = high - low;
                if span == 0.0 {
                    return t.zeros_like();
                }
                let d = (t - Lit(low)).abs();
                let extra = d.fmod(Lit(span));
                let even = (&d / Lit(span)).detach().floor().fmod(Lit(2.0)).eq(Lit(0.0));
                Tensor::where_(&even, &extra + Lit(low), extra.neg_of() + Lit(span + low)).hardtanh(Lit(0.0), Lit(top))
            }
        }
    }
}

/// Keys' cubic convolution with a = -0.75, of the tap `k` (-1 to 2) for a place `part` behind tap 0.
#[track_caller]
fn cubic_weight(part: &Tensor, k: i64) -> Tensor {
    let a = -0.75;
    // Distances are positive for every tap, so no absolute value with its kink is needed.
    let d = match k {
        -1 => part + Lit(1.0),
        0 => part.clone(),
        _ => part.neg_of() + Lit(k as f64),
    };
    if k == 0 || k == 1 {
        ((&d * Lit(a + 2.0) - Lit(a + 3.0)) * &d) * &d + Lit(1.0)
    } else {
        ((&d * Lit(a) - Lit(5.0 * a)) * &d + Lit(8.0 * a)) * &d - Lit(4.0 * a)
    }
}
