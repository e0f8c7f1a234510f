//! Convolution and pooling.

use super::Table;
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::Tensor;

pub const TABLE: Table = &[
    ("nn.functional.conv1d", conv::<1>),
    ("nn.functional.conv2d", conv::<2>),
    ("nn.functional.conv3d", conv::<3>),
    ("nn.functional.conv_transpose1d", conv_transpose::<1>),
    ("nn.functional.conv_transpose2d", conv_transpose::<2>),
    ("nn.functional.conv_transpose3d", conv_transpose::<3>),
    ("nn.functional.max_pool1d", max_pool::<1>),
    ("nn.functional.max_pool2d", max_pool::<2>),
    ("nn.functional.max_pool3d", max_pool::<3>),
    ("nn.functional.avg_pool1d", avg_pool::<1>),
    ("nn.functional.avg_pool2d", avg_pool::<2>),
    ("nn.functional.avg_pool3d", avg_pool::<3>),
    ("nn.functional.adaptive_avg_pool1d", adaptive_avg_pool::<1>),
    ("nn.functional.adaptive_avg_pool2d", adaptive_avg_pool::<2>),
    ("nn.functional.adaptive_avg_pool3d", adaptive_avg_pool::<3>),
];

/// Runs on a batch; an input without a batch axis gets one for the time being.
fn batched(x: Tensor, spatial: usize, f: impl FnOnce(Tensor) -> R) -> R {
    if x.rank() == spatial + 1 {
        Ok(f(x.unsqueeze(0))?.into_iter().map(|y| y.squeeze_axis(0)).collect())
    } else {
        f(x)
    }
}

fn conv<const N: usize>(a: &Args) -> R {
    let (x, w, b) = (a.tensor(0, "input")?, a.tensor(1, "weight")?, a.tensor_opt(2, "bias")?);
    let stride = a.each::<N>(3, "stride", [1; N])?;
    let dilation = a.each::<N>(5, "dilation", [1; N])?;
    let groups = a.int_or(6, "groups", 1)? as usize;
    let mut padding = [(0, 0); N];
    match a.get(4, "padding") {
        Some(Arg::Str(s)) if s == "valid" => {}
        Some(Arg::Str(s)) if s == "same" => {
            for i in 0..N {
                let total = dilation[i] * (w.shape()[i + 2] - 1);
                padding[i] = (total / 2, total - total / 2);
            }
        }
        _ => padding = a.each::<N>(4, "padding", [0; N])?.map(|p| (p, p)),
    }
    batched(x, N, |x| {
        // The methods pad alike on both sides; what is over on one is added before.
        let uneven: Vec<(isize, isize)> = padding.iter().map(|&(l, h)| (0, h as isize - l as isize)).collect();
        let x = if uneven.iter().any(|&w| w != (0, 0)) { x.pad(&uneven, 0.0) } else { x };
        let p = padding.map(|(l, _)| l);
        Ok(vec![x.conv(&w, b.as_ref(), &stride, &p, &dilation, groups)])
    })
}

fn conv_transpose<const N: usize>(a: &Args) -> R {
    let (x, w, b) = (a.tensor(0, "input")?, a.tensor(1, "weight")?, a.tensor_opt(2, "bias")?);
    let (stride, padding) = (a.each::<N>(3, "stride", [1; N])?, a.each::<N>(4, "padding", [0; N])?);
    let output_padding = a.each::<N>(5, "output_padding", [0; N])?;
    let (groups, dilation) = (a.int_or(6, "groups", 1)? as usize, a.each::<N>(7, "dilation", [1; N])?);
    batched(x, N, |x| Ok(vec![x.conv_transpose(&w, b.as_ref(), &stride, &padding, &output_padding, &dilation, groups)]))
}

/// The extent of a pooled axis.
fn pooled(n: usize, k: usize, s: usize, p: usize, d: usize, ceil: bool) -> usize {
    let span = n + 2 * p - d * (k - 1) - 1;
    let mut out = if ceil { span.div_ceil(s) } else { span / s } + 1;
    // The last window must start inside the input or the padding before it.
    if ceil && (out - 1) * s >= n + p {
        out -= 1;
    }
    out
}

struct Windows<const N: usize> {
    kernel: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
    dilation: [usize; N],
    ceil: bool,
}

impl<const N: usize> Windows<N> {
    /// `[n, c, spatial..]` to `[n, c, out.., window]`, padded with `value`.
    fn of(&self, x: &Tensor, value: f64) -> Tensor {
        let mut t = x.clone();
        for i in 0..N {
            let (k, s, p, d) = (self.kernel[i], self.stride[i], self.padding[i], self.dilation[i]);
            let n = x.shape()[i + 2];
            let out = pooled(n, k, s, p, d, self.ceil);
            let right = ((out - 1) * s + d * (k - 1) + 1).saturating_sub(n + p);
            let mut widths = vec![(0, 0); t.rank()];
            widths[i + 2] = (p as isize, right as isize);
            let index: Vec<i64> = (0..out).flat_map(|o| (0..k).map(move |j| (o * s + j * d) as i64)).collect();
            // [.., out, .., k]: window positions collect behind.
            t = t.pad(&widths, value).take(&Tensor::from_vec(index, [out, k]), i + 2);
            t = t.movedim(i + 3, -1);
        }
        t.flatten(-(N as isize), -1)
    }
}

fn windows<const N: usize>(a: &Args, dilation: [usize; N], ceil: bool) -> R<Windows<N>> {
    let kernel = a.each::<N>(1, "kernel_size", [1; N])?;
    Ok(Windows { kernel, stride: a.each::<N>(2, "stride", kernel)?, padding: a.each::<N>(3, "padding", [0; N])?, dilation, ceil })
}

fn max_pool<const N: usize>(a: &Args) -> R {
    // OpInfo calls the variant with indices or the one without; positions are those of the plain signature.
    let w = windows::<N>(a, a.each::<N>(4, "dilation", [1; N])?, a.bool_or(5, "ceil_mode", false)?)?;
    let indices = a.bool_or(6, "return_indices", false)?;
    batched(a.tensor(0, "input")?, N, |x| {
        let (value, at) = w.of(&x, f64::NEG_INFINITY).max_with_indices(-1);
        if !indices {
            return Ok(vec![value]);
        }
        // Row-major places of the input, seen through the same windows.
        let spatial = &x.shape()[2..];
        let places = Tensor::arange(spatial.iter().product::<usize>()).reshape([&[1, 1], spatial].concat());
        let places = w.of(&places, 0.0).broadcast_to([value.shape().as_ref(), &[w.kernel.iter().product()]].concat());
        Ok(vec![value, places.gather(-1, &at.unsqueeze(-1)).squeeze_axis(-1)])
    })
}

fn avg_pool<const N: usize>(a: &Args) -> R {
    let w = windows::<N>(a, [1; N], a.bool_or(4, "ceil_mode", false)?)?;
    let (count_pad, divisor) = (a.bool_or(5, "count_include_pad", true)?, a.float_opt(6, "divisor_override")?);
    batched(a.tensor(0, "input")?, N, |x| {
        let sum = w.of(&x, 0.0).sum(-1);
        if let Some(d) = divisor {
            return Ok(vec![sum / d]);
        }
        // What counts: the input, and padding named by the call, but not what a last window sticks out.
        let spatial: Vec<usize> = x.shape()[2..].to_vec();
        let ones = Tensor::ones([&[1, 1], &spatial[..]].concat());
        let counted = if count_pad {
            let widths: Vec<(isize, isize)> = w.padding.iter().map(|&p| (p as isize, p as isize)).collect();
            let padded = ones.pad(&widths, 1.0);
            Windows { padding: [0; N], ..Windows { kernel: w.kernel, stride: w.stride, padding: [0; N], dilation: [1; N], ceil: w.ceil } }.of(&padded, 0.0)
        } else {
            w.of(&ones, 0.0)
        };
        Ok(vec![sum / counted.sum(-1)])
    })
}

fn adaptive_avg_pool<const N: usize>(a: &Args) -> R {
    let sizes: Vec<Option<usize>> = match a.get(1, "output_size") {
        Some(Arg::List(l)) => l
            .iter()
            .map(|x| match x {
                Arg::None => Ok(None),
                Arg::Int(i) => Ok(Some(*i as usize)),
                x => Err(format!("output_size {x:?}")),
            })
            .collect::<R<_>>()?,
        Some(Arg::Int(i)) => vec![Some(*i as usize); N],
        x => return Err(format!("output_size {x:?}")),
    };
    batched(a.tensor(0, "input")?, N, |x| {
        let mut t = x;
        for (i, size) in sizes.iter().enumerate() {
            let n = t.shape()[i + 2];
            let Some(m) = *size else { continue };
            // Cell j is the mean over floor(j n / m) .. ceil((j + 1) n / m).
            let cells: Vec<Tensor> = (0..m)
                .map(|j| {
                    let (from, to) = (j * n / m, ((j + 1) * n).div_ceil(m));
                    t.narrow(i + 2, from as isize, to - from).mean_keepdim(i + 2)
                })
                .collect();
            t = Tensor::cat(&cells, i + 2);
        }
        Ok(vec![t])
    })
}
