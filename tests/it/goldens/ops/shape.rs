//! Views, joining, splitting, repeating, padding.

use super::{Table, axis_of};
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::Tensor;
use lazuli::tensor::PadMode;

macro_rules! one {
    (|$a:ident, $x:ident| $body:expr) => {
        |$a| {
            let $x = $a.tensor(0, "input")?;
            Ok(vec![$body])
        }
    };
}

pub const TABLE: Table = &[
    ("reshape", one!(|a, x| x.reshape(a.ints(1, "shape")?))),
    ("view", one!(|a, x| x.view(a.ints(1, "shape|size")?))),
    ("view_as", one!(|a, x| x.reshape_as(&a.tensor(1, "other")?))),
    ("reshape_as", one!(|a, x| x.reshape_as(&a.tensor(1, "other")?))),
    ("ravel", one!(|_a, x| x.ravel())),
    ("swapaxes", one!(|a, x| x.swapaxes(a.int(1, "axis0")?, a.int(2, "axis1")?))),
    ("alias", one!(|_a, x| x)),
    ("H", one!(|_a, x| x.t())),
    ("mH", one!(|_a, x| x.mt())),
    ("flatten", one!(|a, x| x.flatten(a.int_or(1, "start_dim", 0)?, a.int_or(2, "end_dim", -1)?))),
    ("unflatten", one!(|a, x| x.unflatten(a.int(1, "dim")?, a.ints(2, "sizes")?))),
    ("permute", one!(|a, x| x.permute(a.ints(1, "dims")?))),
    ("transpose", one!(|a, x| x.transpose(a.int(1, "dim0")?, a.int(2, "dim1")?))),
    ("t", one!(|_a, x| x.t())),
    ("T", one!(|_a, x| x.t())),
    ("mT", one!(|_a, x| x.mt())),
    ("movedim", one!(|a, x| x.movedim(a.ints(1, "source")?, a.ints(2, "destination")?))),
    (
        "squeeze",
        one!(|a, x| match a.ints_opt(1, "dim")? {
            None => x.squeeze(),
            Some(d) => x.squeeze_axis(d),
        }),
    ),
    ("unsqueeze", one!(|a, x| x.unsqueeze(a.int(1, "dim")?))),
    ("expand", one!(|a, x| x.expand(a.ints(1, "size")?))),
    ("expand_as", one!(|a, x| x.expand_as(&a.tensor(1, "other")?))),
    ("broadcast_to", one!(|a, x| x.broadcast_to(a.usizes(1, "size")?))),
    ("broadcast_tensors", |a| {
        let t = a.all_tensors()?;
        Ok(Tensor::broadcast_tensors(&t.iter().collect::<Vec<_>>()))
    }),
    ("cat", |a| Ok(vec![Tensor::cat(&a.tensors(0, "tensors")?, a.int_or(1, "dim", 0)?)])),
    ("stack", |a| Ok(vec![Tensor::stack(&a.tensors(0, "tensors")?, a.int_or(1, "dim", 0)?)])),
    ("hstack", |a| Ok(vec![Tensor::hstack(&a.tensors(0, "tensors")?)])),
    ("vstack", |a| Ok(vec![Tensor::vstack(&a.tensors(0, "tensors")?)])),
    ("dstack", |a| Ok(vec![Tensor::dstack(&a.tensors(0, "tensors")?)])),
    ("column_stack", |a| Ok(vec![Tensor::column_stack(&a.tensors(0, "tensors")?)])),
    ("atleast_1d", |a| Ok(a.all_tensors()?.iter().map(Tensor::atleast_1d).collect())),
    ("atleast_2d", |a| Ok(a.all_tensors()?.iter().map(Tensor::atleast_2d).collect())),
    ("atleast_3d", |a| Ok(a.all_tensors()?.iter().map(Tensor::atleast_3d).collect())),
    ("tensor_split", |a| {
        let (x, d) = (a.tensor(0, "input")?, a.int_or(2, "dim", 0)?);
        cut(a, "indices_or_sections|indices|sections", |n| x.tensor_split(n, d), |at| x.tensor_split_at(at, d))
    }),
    ("hsplit", |a| split_along(a, |x| if x.rank() == 1 { 0 } else { 1 })),
    ("vsplit", |a| split_along(a, |_| 0)),
    ("dsplit", |a| split_along(a, |_| 2)),
    ("split", split),
    ("split_with_sizes", split),
    ("chunk", |a| Ok(a.tensor(0, "input")?.chunk(a.int(1, "chunks")? as usize, a.int_or(2, "dim", 0)?))),
    ("unbind", |a| Ok(a.tensor(0, "input")?.unbind(a.int_or(1, "dim", 0)?))),
    ("narrow", one!(|a, x| x.narrow(a.int(1, "dim")?, a.int(2, "start")?, a.int(3, "length")? as usize))),
    ("select", one!(|a, x| x.select(a.int(1, "dim")?, a.int(2, "index")?))),
    ("tile", one!(|a, x| x.tile(&a.usizes(1, "dims")?))),
    ("repeat", one!(|a, x| x.repeat(&a.usizes(1, "repeats")?))),
    ("repeat_interleave", |a| {
        let (x, dim) = (a.tensor(0, "input")?, a.int_opt(2, "dim")?);
        a.ignore("output_size");
        let (x, dim) = if let Some(d) = dim { (x.atleast_1d(), d) } else { (x.ravel(), 0) };
        let counts = match a.get(1, "repeats") {
            Some(Arg::Int(n)) => vec![*n],
            _ => a.host(1, "repeats")?,
        };
        let counts: Vec<usize> = counts.into_iter().map(|n| n as usize).collect();
        Ok(vec![if counts.len() == 1 { x.repeat_interleave(counts[0], dim) } else { x.repeat_interleave_each(&counts, dim) }])
    }),
    ("roll", |a| {
        let (x, shifts) = (a.tensor(0, "input")?, a.ints(1, "shifts")?);
        Ok(vec![match a.ints_opt(2, "dims")? {
            Some(d) if !d.is_empty() => x.roll(&shifts, d),
            _ => x.reshape([-1]).roll(&shifts, 0).reshape(x.shape()),
        }])
    }),
    ("flip", one!(|a, x| x.flip(a.ints(1, "dims")?))),
    ("fliplr", one!(|_a, x| x.fliplr())),
    ("flipud", one!(|_a, x| x.flipud())),
    ("diagflat", one!(|a, x| x.diagflat(a.int_or(1, "offset", 0)?))),
    ("rot90", |a| {
        let (x, k) = (a.tensor(0, "input")?, a.int_or(1, "k", 1)?);
        let d = a.ints_opt(2, "dims")?.unwrap_or(vec![0, 1]);
        Ok(vec![x.rot90(k, d[0], d[1])])
    }),
    ("diag", one!(|a, x| x.diag(a.int_or(1, "diagonal", 0)?))),
    ("diag_embed", |a| {
        let (x, k) = (a.tensor(0, "input")?, a.int_or(1, "offset", 0)?);
        let (p, q) = (a.int_or(2, "dim1", -2)?, a.int_or(3, "dim2", -1)?);
        Ok(vec![x.diag_embed(k).movedim([-2, -1], [p, q])])
    }),
    ("diagonal", one!(|a, x| x.diagonal(a.int_or(1, "offset", 0)?, a.int_or(2, "dim1", 0)?, a.int_or(3, "dim2", 1)?))),
    ("trace", one!(|_a, x| x.trace())),
    ("tril", one!(|a, x| x.tril(a.int_or(1, "diagonal", 0)?))),
    ("triu", one!(|a, x| x.triu(a.int_or(1, "diagonal", 0)?))),
    ("meshgrid", |a| {
        let t = a.all_tensors()?;
        Ok(Tensor::meshgrid(&t, a.str_or(usize::MAX, "indexing", "ij")?))
    }),
    ("constant_pad_nd", one!(|a, x| x.constant_pad_nd(&a.ints(1, "pad")?, a.float_or(2, "value", 0.0)?))),
    ("nn.functional.pad", |a| {
        let mode = a.str_or(2, "mode", "constant")?;
        pad(a, mode)
    }),
    ("unfold", one!(|a, x| x.unfold(a.int(1, "dimension")?, a.int(2, "size")? as usize, a.int(3, "step")? as usize))),
    ("diff", |a| {
        let (x, n, d) = (a.tensor(0, "input")?, a.int_or(1, "n", 1)? as usize, a.int_or(2, "dim", -1)?);
        if n == 0 {
            a.get(3, "prepend");
            a.get(4, "append");
            return Ok(vec![x]);
        }
        // A number of what is added counts as one slice.
        let mut parts = vec![x.clone()];
        let slice = |t: Tensor| -> R<Tensor> {
            let mut s = x.shape().to_vec();
            s[axis_of(&x, d)?] = 1;
            Ok(if t.rank() == 0 { t.broadcast_to(s) } else { t })
        };
        if let Some(t) = a.tensor_opt(3, "prepend")? {
            parts.insert(0, slice(t)?);
        }
        if let Some(t) = a.tensor_opt(4, "append")? {
            parts.push(slice(t)?);
        }
        Ok(vec![Tensor::cat(&parts, d).diff(n, d)])
    }),
    ("nn.functional.pixel_shuffle", one!(|a, x| x.pixel_shuffle(a.int(1, "upscale_factor")? as usize))),
    ("nn.functional.pixel_unshuffle", one!(|a, x| x.pixel_unshuffle(a.int(1, "downscale_factor")? as usize))),
    ("nn.functional.channel_shuffle", one!(|a, x| x.channel_shuffle(a.int(1, "groups")? as usize))),
];

/// Into a number of parts, or at indices (a list or a tensor).
fn cut(a: &Args, name: &str, parts: impl FnOnce(usize) -> Vec<Tensor>, at: impl FnOnce(&[isize]) -> Vec<Tensor>) -> R {
    Ok(match a.get(1, name) {
        Some(Arg::Int(n)) => parts(*n as usize),
        Some(Arg::List(_)) => at(&a.ints(1, name)?),
        _ => {
            let host: Vec<isize> = a.host(1, name)?.into_iter().map(|i| i as isize).collect();
            if a.tensor(1, name)?.rank() == 0 { parts(host[0] as usize) } else { at(&host) }
        }
    })
}

/// `hsplit` and its like: parts must be equal.
fn split_along(a: &Args, axis: fn(&Tensor) -> isize) -> R {
    let x = a.tensor(0, "input")?;
    let d = axis(&x);
    cut(a, "indices_or_sections|indices|sections", |n| x.tensor_split(n, d), |at| x.tensor_split_at(at, d))
}

fn split(a: &Args) -> R {
    let (x, axis) = (a.tensor(0, "tensor")?, a.int_or(2, "dim", 0)?);
    Ok(match a.get(1, "split_size_or_sections|split_size|split_sizes") {
        Some(Arg::List(_)) => x.split_sizes(&a.usizes(1, "split_size_or_sections|split_size|split_sizes")?, axis),
        _ => x.split(a.int(1, "split_size_or_sections|split_size|split_sizes")? as usize, axis),
    })
}

/// PyTorch names the last axis first: `[left, right, top, bottom, ..]`.
fn pad(a: &Args, mode: &str) -> R {
    let (x, p) = (a.tensor(0, "input")?, a.ints(1, "pad")?);
    let mut widths: Vec<(isize, isize)> = p.chunks(2).map(|c| (c[0], c[1])).collect();
    widths.reverse();
    let value = a.float_or(3, "value", 0.0)?;
    Ok(vec![match mode {
        "constant" => x.constant_pad_nd(&p, value),
        "reflect" => x.pad_with(&widths, PadMode::Reflect),
        "replicate" => x.pad_with(&widths, PadMode::Replicate),
        "circular" => x.pad_with(&widths, PadMode::Circular),
        m => return Err(format!("mode {m}")),
    }])
}
