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
    ("nn.functional.max_unpool1d", max_unpool::<1>),
    ("nn.functional.max_unpool2d", max_unpool::<2>),
    ("nn.functional.max_unpool3d", max_unpool::<3>),
    ("nn.functional.unfold", |a| {
        let (x, kernel) = (a.tensor(0, "input")?, a.each::<2>(1, "kernel_size", [1; 2])?);
        Ok(vec![x.im2col(kernel, &windows(a, 2)?)])
    }),
    ("nn.functional.fold", |a| {
        let (x, out, kernel) = (a.tensor(0, "input")?, a.each::<2>(1, "output_size", [1; 2])?, a.each::<2>(2, "kernel_size", [1; 2])?);
        Ok(vec![x.col2im(out, kernel, &windows(a, 3)?)])
    }),
];

/// `dilation, padding, stride` from a position on.
fn windows(a: &Args, at: usize) -> R<ConvOptions> {
    let (dilation, padding) = (a.each::<2>(at, "dilation", [1; 2])?, a.each::<2>(at + 1, "padding", [0; 2])?);
    Ok(ConvOptions::new().dilation(dilation).padding(padding).stride(a.each::<2>(at + 2, "stride", [1; 2])?))
}

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
    if !a.bool_or(6, "return_indices", false)? {
        return Ok(vec![x.max_pool(N, &o)]);
    }
    let (value, places) = x.max_pool_with_indices(N, &o);
    Ok(vec![value, places])
}

fn avg_pool<const N: usize>(a: &Args) -> R {
    let o = options::<N>(a)?.ceil_mode(a.bool_or(4, "ceil_mode", false)?).count_include_pad(a.bool_or(5, "count_include_pad", true)?);
    let o = match a.int_opt(6, "divisor_override")? {
        Some(n) => o.divisor(n),
        None => o,
    };
    Ok(vec![a.tensor(0, "input")?.avg_pool(N, &o)])
}

fn adaptive_avg_pool<const N: usize>(a: &Args) -> R {
    adaptive::<N>(a, |x, out| Ok(vec![x.adaptive_avg_pool(out)]))
}

fn adaptive_max_pool<const N: usize>(a: &Args) -> R {
    let places = a.bool_or(2, "return_indices", false)?;
    adaptive::<N>(a, |x, out| {
        if !places {
            return Ok(vec![x.adaptive_max_pool(out)]);
        }
        let (v, i) = x.adaptive_max_pool_with_indices(out);
        Ok(vec![v, i])
    })
}

/// `max_unpool(input, indices, kernel_size, stride, padding, output_size)`
fn max_unpool<const N: usize>(a: &Args) -> R {
    let (x, i) = (a.tensor(0, "input")?, a.tensor(1, "indices")?);
    let kernel = a.each::<N>(2, "kernel_size", [1; N])?;
    let (stride, padding) = (a.each::<N>(3, "stride", kernel)?, a.each::<N>(4, "padding", [0; N])?);
    let spatial = x.shape()[x.rank() - N..].to_vec();
    let out: Vec<usize> = match a.ints_opt(5, "output_size")? {
        Some(l) => l[l.len() - N..].iter().map(|&n| n as usize).collect(),
        None => (0..N).map(|d| (spatial[d] - 1) * stride[d] + kernel[d] - 2 * padding[d]).collect(),
    };
    Ok(vec![x.max_unpool(&i, &out)])
}

fn adaptive<const N: usize>(a: &Args, f: impl Fn(&Tensor, &[usize]) -> R) -> R {
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
    f(&x, &out)
}
