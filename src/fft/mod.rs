//! Discrete Fourier transforms, with PyTorch's names, arguments and conventions.
//!
//! There is no complex dtype: a complex tensor is a [`Complex`], two real tensors of one shape. Any length is possible. Short axes are
//! products with a table of cosines and sines; longer ones are split into factors of such lengths (Cooley and Tukey), and lengths
//! with a large prime factor become a convolution of a longer, even length (Bluestein), so that the work grows as n log n. All of it is composed of
//! ordinary operations: it fuses, differentiates and batches like them.
//!
//! ```
//! use lazuli::fft::{self, Norm};
//! use lazuli::prelude::*;
//! let x = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0], [4]);
//! let y = fft::rfft(&x, None, -1, Norm::Backward);
//! assert_eq!(y.re.to_vec::<f32>()?, [10.0, -2.0, -2.0]);
//! let back = fft::irfft(&y, 4, -1, Norm::Backward);
//! assert!((back - x).abs().max(..).item::<f32>()? < 1e-6);
//! # Ok::<(), lazuli::Error>(())
//! ```

mod complex;
mod transform;

pub use complex::{Complex, Signal};

use crate::base::Axis;
use crate::base::error::{Result, bail};
use crate::tensor::Lit;
use crate::{DType, Scalar, Tensor};
use transform::{Direction, dft};

/// By what a transform is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norm {
    /// The inverse by n (PyTorch's default).
    #[default]
    Backward,
    /// Both by the root of n, so that lengths are kept.
    Ortho,
    /// The forward transform by n.
    Forward,
}

impl Norm {
    fn factor(self, direction: Direction, n: usize) -> Option<f64> {
        match (self, direction) {
            (Norm::Backward, Direction::Inverse) | (Norm::Forward, Direction::Forward) => Some(1.0 / n as f64),
            (Norm::Ortho, _) => Some(1.0 / (n as f64).sqrt()),
            _ => None,
        }
    }
}

/// The axis, as a number, of what can be transformed.
fn checked(op: &str, x: &Tensor, axis: Axis, n: Option<usize>) -> Result<usize> {
    if x.dtype().is_float() && !matches!(x.dtype(), DType::F32 | DType::F64) {
        bail!(DType, "{op}: {} {}: takes f32, f64, integers and bool (cast first)", x.dtype(), x.shape());
    }
    if x.rank() == 0 {
        bail!(Shape, "{op}: a 0-d tensor has no axis to transform");
    }
    let a = axis.resolve(x.rank(), op)?;
    if n == Some(0) || (n.is_none() && x.shape()[a] == 0) {
        bail!(Argument, "{op}: shape {}, axis {a}: the length of a transform must be at least 1", x.shape());
    }
    Ok(a)
}

/// Cut, or filled with zeros at the end, to `n` along an axis.
fn resized(x: &Tensor, axis: usize, n: usize) -> Tensor {
    let have = x.shape()[axis];
    match have >= n {
        true => x.slice_axis(axis, 0, n, 1),
        false => x.pad_axis(axis, 0, n - have, Scalar::Float(0.0)),
    }
}

/// Along one axis; `x` is already float.
fn along(x: &Signal, axis: usize, n: usize, direction: Direction, norm: Norm) -> Complex {
    let last = x.re.rank() - 1;
    let ready = |t: &Tensor| resized(t, axis, n).move_axis(axis, last);
    let y = dft(ready(&x.re), x.im.as_ref().map(ready), direction);
    let scale = |t: Tensor| match norm.factor(direction, n) {
        Some(f) => t * Lit(f),
        None => t,
    };
    y.map_parts(|t| scale(t.move_axis(last, axis)))
}

/// `n` by default the extent; both directions of full transforms.
#[track_caller]
fn full(op: &str, x: Signal, n: Option<usize>, axis: Axis, direction: Direction, norm: Norm) -> Complex {
    if let Some(p) = x.poison() {
        return p;
    }
    match checked(op, &x.re, axis, n) {
        Ok(a) => {
            let _on = x.re.device().enter();
            let x = x.to_float();
            along(&x, a, n.unwrap_or(x.re.shape()[a]), direction, norm)
        }
        Err(e) => Complex::poisoned(e),
    }
}

/// The Fourier transform along an axis, as `torch.fft.fft`: the input (a [`Tensor`] or a [`Complex`]) is cut or filled with zeros to `n`.
///
/// # Panics
/// If the axis is out of range, the length 0, or the dtype a half float.
#[track_caller]
pub fn fft(x: impl Into<Signal>, n: impl Into<Option<usize>>, axis: impl Into<Axis>, norm: Norm) -> Complex {
    full("fft", x.into(), n.into(), axis.into(), Direction::Forward, norm)
}

/// The inverse of [`fft`], as `torch.fft.ifft`.
///
/// # Panics
/// As [`fft`].
#[track_caller]
pub fn ifft(x: impl Into<Signal>, n: impl Into<Option<usize>>, axis: impl Into<Axis>, norm: Norm) -> Complex {
    full("ifft", x.into(), n.into(), axis.into(), Direction::Inverse, norm)
}

/// The Fourier transform of a real tensor along an axis, as `torch.fft.rfft`: the `n / 2 + 1` coefficients of frequencies that are not negative; the
/// others are their conjugates.
///
/// # Panics
/// As [`fft`].
#[track_caller]
pub fn rfft(x: &Tensor, n: impl Into<Option<usize>>, axis: impl Into<Axis>, norm: Norm) -> Complex {
    half("rfft", x, n.into(), axis.into(), norm)
}

#[track_caller]
fn half(op: &str, x: &Tensor, n: Option<usize>, axis: Axis, norm: Norm) -> Complex {
    let y = full(op, x.into(), n, axis, Direction::Forward, norm);
    if y.poison().is_some() {
        return y;
    }
    let a = axis.resolve(x.rank(), op).expect("checked by `full`");
    let kept = n.unwrap_or(x.shape()[a]) / 2 + 1;
    y.map_parts(|t| t.slice_axis(a, 0, kept, 1))
}

/// The inverse of [`rfft`], as `torch.fft.irfft`: a real tensor of length `n`, by default `2 (m - 1)` for `m` coefficients (give `n` where it
/// was odd). The coefficients are cut or filled with zeros to `n / 2 + 1`.
///
/// # Panics
/// As [`fft`].
#[track_caller]
pub fn irfft(x: impl Into<Signal>, n: impl Into<Option<usize>>, axis: impl Into<Axis>, norm: Norm) -> Tensor {
    real("irfft", x.into(), n.into(), axis.into(), norm)
}

#[track_caller]
fn real(op: &str, x: Signal, n: Option<usize>, axis: Axis, norm: Norm) -> Tensor {
    if let Some(p) = x.poison() {
        return p.re;
    }
    let a = match checked(op, &x.re, axis, n) {
        Ok(a) => a,
        Err(e) => return Tensor::poisoned(e),
    };
    let n = n.unwrap_or(2 * (x.re.shape()[a].max(1) - 1));
    if n == 0 {
        return Tensor::poisoned(crate::base::error::err!(
            Argument,
            "{op}: shape {}, axis {a}: one coefficient gives a length of 0: say n",
            x.re.shape()
        ));
    }
    let _on = x.re.device().enter();
    let x = x.to_float();
    let m = n / 2 + 1;
    // The conjugates of coefficients 1.. in reverse; of an even length the middle one stands once.
    let mirrored = |t: &Tensor, flip_sign: bool| {
        let t = resized(t, a, m);
        let tail = t.slice_axis(a, 1, 1 + (n - m), 1).flip_axes(&[a]);
        Tensor::concat_axis(&[t, if flip_sign { -tail } else { tail }], a)
    };
    let whole = Signal { re: mirrored(&x.re, false), im: x.im.as_ref().map(|t| mirrored(t, true)) };
    along(&whole, a, n, Direction::Inverse, norm).re
}

/// Sizes and axes of a two-dimensional transform.
fn pairs(sizes: Option<[usize; 2]>) -> [Option<usize>; 2] {
    sizes.map_or([None; 2], |s| s.map(Some))
}

/// Checks that two axes differ.
fn distinct(op: &str, x: &Tensor, axes: [isize; 2]) -> Result<()> {
    let (a, b) = (Axis(axes[0]).resolve(x.rank(), op)?, Axis(axes[1]).resolve(x.rank(), op)?);
    if x.rank() < 2 || a == b {
        bail!(Shape, "{op}: shape {}, axes {axes:?}: two different axes are needed", x.shape());
    }
    Ok(())
}

#[track_caller]
fn full2(op: &str, x: Signal, sizes: Option<[usize; 2]>, axes: [isize; 2], direction: Direction, norm: Norm) -> Complex {
    if let Some(p) = x.poison() {
        return p;
    }
    if let Err(e) = distinct(op, &x.re, axes) {
        return Complex::poisoned(e);
    }
    let [m, n] = pairs(sizes);
    let rows = full(op, x, n, Axis(axes[1]), direction, norm);
    full(op, rows.into(), m, Axis(axes[0]), direction, norm)
}

/// The two-dimensional Fourier transform, as `torch.fft.fft2` (whose default axes are `[-2, -1]`).
///
/// # Panics
/// As [`fft`], and if the axes are not two different ones.
#[track_caller]
pub fn fft2(x: impl Into<Signal>, sizes: impl Into<Option<[usize; 2]>>, axes: [isize; 2], norm: Norm) -> Complex {
    full2("fft2", x.into(), sizes.into(), axes, Direction::Forward, norm)
}

/// The inverse of [`fft2`], as `torch.fft.ifft2`.
///
/// # Panics
/// As [`fft2`].
#[track_caller]
pub fn ifft2(x: impl Into<Signal>, sizes: impl Into<Option<[usize; 2]>>, axes: [isize; 2], norm: Norm) -> Complex {
    full2("ifft2", x.into(), sizes.into(), axes, Direction::Inverse, norm)
}

/// The two-dimensional transform of a real tensor, as `torch.fft.rfft2`: half of the coefficients along the last of the axes.
///
/// # Panics
/// As [`fft2`].
#[track_caller]
pub fn rfft2(x: &Tensor, sizes: impl Into<Option<[usize; 2]>>, axes: [isize; 2], norm: Norm) -> Complex {
    if x.0.poison().is_some() {
        return Complex { re: x.clone(), im: x.clone() };
    }
    if let Err(e) = distinct("rfft2", x, axes) {
        return Complex::poisoned(e);
    }
    let [m, n] = pairs(sizes.into());
    full("rfft2", half("rfft2", x, n, Axis(axes[1]), norm).into(), m, Axis(axes[0]), Direction::Forward, norm)
}

/// The inverse of [`rfft2`], as `torch.fft.irfft2`: a real tensor. `sizes` are those of the result.
///
/// # Panics
/// As [`fft2`].
#[track_caller]
pub fn irfft2(x: impl Into<Signal>, sizes: impl Into<Option<[usize; 2]>>, axes: [isize; 2], norm: Norm) -> Tensor {
    let x: Signal = x.into();
    if let Some(p) = x.poison() {
        return p.re;
    }
    if let Err(e) = distinct("irfft2", &x.re, axes) {
        return Tensor::poisoned(e);
    }
    let [m, n] = pairs(sizes.into());
    real("irfft2", full("irfft2", x, m, Axis(axes[0]), Direction::Inverse, norm).into(), n, Axis(axes[1]), norm)
}
