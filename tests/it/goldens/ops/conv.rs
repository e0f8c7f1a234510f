//! Convolution and pooling.

use super::Table;
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::Tensor;
use lazuli::tensor::{ConvOptions, PoolOptions};

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
    ("nn.functional.adaptive_max_pool1d", adaptive_max_pool::<1>),
    ("nn.functional.adaptive_max_pool2d", adaptive_max_pool::<2>),
    ("nn.functional.adaptive_max_pool3d", adaptive_max_pool::<3>),
];

/// Runs on a batch; an input without a batch axis gets one for the time being.
fn batched(x: Tensor, spatial: usize, f: impl FnOnce(Tensor) -> R) -> R {
    if x.rank() == spatial + 1 { Ok(f(x.unsqueeze(0))?.into_iter().map(|y| y.squeeze_axis(0)).collect()) } else { f(x) }
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
        let (lo, hi) = (padding.map(|p| p.0), padding.map(|p| p.1));
        let o = ConvOptions::new().stride(stride).padding_sides(lo, hi).dilation(dilation).groups(groups);
        Ok(vec![x.conv_with(&w, b.as_ref(), &o)])
    })
}

fn conv_transpose<const N: usize>(a: &Args) -> R {
    let (x, w, b) = (a.tensor(0, "input")?, a.tensor(1, "weight")?, a.tensor_opt(2, "bias")?);
    let (stride, padding) = (a.each::<N>(3, "stride", [1; N])?, a.each::<N>(4, "padding", [0; N])?);
    let output_padding = a.each::<N>(5, "output_padding", [0; N])?;
    let (groups, dilation) = (a.int_or(6, "groups", 1)? as usize, a.each::<N>(7, "dilation", [1; N])?);
    batched(x, N, |x| Ok(vec![x.conv_transpose(&w, b.as_ref(), &stride, &padding, &output_padding, &dilation, groups)]))
}

fn options<const N: usize>(a: &Args) -> R<PoolOptions> {
    let kernel = a.each::<N>(1, "kernel_size", [1; N])?;
    Ok(PoolOptions::new(kernel).stride(a.each::<N>(2, "stride", kernel)?).padding(a.each::<N>(3, "padding", [0; N])?))
}

fn max_pool<const N: usize>(a: &Args) -> R {
    let o = options::<N>(a)?.dilation(a.each::<N>(4, "dilation", [1; N])?).ceil_mode(a.bool_or(5, "ceil_mode", false)?);
    let x = a.tensor(0, "input")?;
    let value = x.max_pool(N, &o);
    if !a.bool_or(6, "return_indices", false)? {
        return Ok(vec![value]);
    }
    let places = places::<N>(&x.detach(), &o, value.shape());
    Ok(vec![value, places])
}

/// Where the largest element of each window lies, in the row-major order of the spatial axes. The library does not return it; this
/// reads the same windows through an index of their elements.
fn places<const N: usize>(x: &Tensor, o: &PoolOptions, out: &[usize]) -> Tensor {
    let lead = x.rank() - N;
    let of = |x: &Tensor, value: f64| {
        let mut t = x.clone();
        for i in 0..N {
            let at = |l: &[usize]| l[i.min(l.len() - 1)];
            let (k, s, p, d) = (at(&o.kernel), at(&o.stride), at(&o.padding), at(&o.dilation));
            let (n, m) = (x.shape()[lead + i], out[lead + i]);
            let right = ((m - 1) * s + d * (k - 1) + 1).saturating_sub(n + p);
            let mut widths = vec![(0, 0); t.rank()];
            widths[lead + i] = (p as isize, right as isize);
            let index: Vec<i64> = (0..m).flat_map(|w| (0..k).map(move |j| (w * s + j * d) as i64)).collect();
            // [.., out, .., k]: window positions collect behind.
            t = t.pad(&widths, value).take(&Tensor::from_vec(index, [m, k]), lead + i).movedim(lead + i + 1, -1);
        }
        t.flatten(-(N as isize), -1)
    };
    let spatial = &x.shape()[lead..];
    let place = Tensor::arange(spatial.iter().product::<usize>()).reshape([&vec![1; lead], spatial].concat());
    let (values, place) = (of(x, f64::NEG_INFINITY), of(&place, 0.0));
    let best = values.argmax_keepdim(-1);
    place.broadcast_to(values.shape()).gather(-1, &best).squeeze_axis(-1)
}

fn avg_pool<const N: usize>(a: &Args) -> R {
    let o = options::<N>(a)?.ceil_mode(a.bool_or(4, "ceil_mode", false)?).count_include_pad(a.bool_or(5, "count_include_pad", true)?);
    if a.get(6, "divisor_override").is_some() {
        return Err("divisor_override".into());
    }
    Ok(vec![a.tensor(0, "input")?.avg_pool(N, &o)])
}

fn adaptive_avg_pool<const N: usize>(a: &Args) -> R {
    adaptive::<N>(a, Tensor::adaptive_avg_pool)
}

fn adaptive_max_pool<const N: usize>(a: &Args) -> R {
    adaptive::<N>(a, Tensor::adaptive_max_pool)
}

fn adaptive<const N: usize>(a: &Args, f: fn(&Tensor, &[usize]) -> Tensor) -> R {
    let x = a.tensor(0, "input")?;
    let spatial = &x.shape()[x.rank() - N..];
    let out: Vec<usize> = match a.get(1, "output_size") {
        Some(Arg::List(l)) => l
            .iter()
            .zip(spatial)
            .map(|(s, &n)| match s {
                Arg::None => Ok(n),
                Arg::Int(i) => Ok(*i as usize),
                s => Err(format!("output_size {s:?}")),
            })
            .collect::<R<_>>()?,
        Some(Arg::Int(i)) => vec![*i as usize; N],
        s => return Err(format!("output_size {s:?}")),
    };
    Ok(vec![f(&x, &out)])
}
