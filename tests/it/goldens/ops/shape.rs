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
    ("view", one!(|a, x| x.reshape(a.ints(1, "shape")?))),
    ("view_as", one!(|a, x| x.reshape(a.tensor(1, "other")?.shape()))),
    ("reshape_as", one!(|a, x| x.reshape(a.tensor(1, "other")?.shape()))),
    ("ravel", one!(|_a, x| x.reshape([-1]))),
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
    ("expand_as", one!(|a, x| x.broadcast_to(a.tensor(1, "other")?.shape()))),
    ("broadcast_to", one!(|a, x| x.broadcast_to(a.usizes(1, "size")?))),
    ("broadcast_tensors", |a| {
        let t = a.all_tensors()?;
        Ok(Tensor::broadcast_tensors(&t.iter().collect::<Vec<_>>()))
    }),
    ("cat", |a| Ok(vec![Tensor::cat(&a.tensors(0, "tensors")?, a.int_or(1, "dim", 0)?)])),
    ("stack", |a| Ok(vec![Tensor::stack(&a.tensors(0, "tensors")?, a.int_or(1, "dim", 0)?)])),
    ("hstack", |a| {
        let t: Vec<Tensor> = a.tensors(0, "tensors")?.iter().map(at_least_1d).collect();
        let axis = if t[0].rank() == 1 { 0 } else { 1 };
        Ok(vec![Tensor::cat(&t, axis)])
    }),
    ("vstack", |a| {
        let t: Vec<Tensor> = a.tensors(0, "tensors")?.iter().map(at_least_2d).collect();
        Ok(vec![Tensor::cat(&t, 0)])
    }),
    ("split", split),
    ("split_with_sizes", split),
    ("chunk", |a| Ok(a.tensor(0, "input")?.chunk(a.int(1, "chunks")? as usize, a.int_or(2, "dim", 0)?))),
    ("unbind", |a| Ok(a.tensor(0, "input")?.unbind(a.int_or(1, "dim", 0)?))),
    ("narrow", one!(|a, x| x.narrow(a.int(1, "dim")?, a.int(2, "start")?, a.int(3, "length")? as usize))),
    ("select", one!(|a, x| x.select(a.int(1, "dim")?, a.int(2, "index")?))),
    ("tile", one!(|a, x| x.tile(&a.usizes(1, "dims")?))),
    ("repeat", one!(|a, x| x.repeat(&a.usizes(1, "repeats")?))),
    ("repeat_interleave", |a| {
        let (x, n) = (a.tensor(0, "input")?, a.int(1, "repeats")? as usize);
        Ok(vec![match a.int_opt(2, "dim")? {
            Some(d) => x.repeat_interleave(n, d),
            None => x.reshape([-1]).repeat_interleave(n, 0),
        }])
    }),
    ("roll", |a| {
        let (x, shifts) = (a.tensor(0, "input")?, a.ints(1, "shifts")?);
        Ok(vec![match a.ints_opt(2, "dims")? {
            Some(d) if !d.is_empty() => x.roll(&shifts, d),
            _ => x.reshape([-1]).roll(&shifts, 0).reshape(x.shape()),
        }])
    }),
    ("flip", one!(|a, x| x.flip(a.ints(1, "dims")?))),
    ("fliplr", one!(|_a, x| x.flip(1))),
    ("flipud", one!(|_a, x| x.flip(0))),
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
    ("constant_pad_nd", |a| pad(a, "constant", 2)),
    ("nn.functional.pad", |a| {
        let mode = a.str_or(2, "mode", "constant")?;
        pad(a, mode, 3)
    }),
    ("unfold", one!(|a, x| x.unfold(a.int(1, "dimension")?, a.int(2, "size")? as usize, a.int(3, "step")? as usize))),
    ("diff", |a| {
        let (mut x, n) = (a.tensor(0, "input")?, a.int_or(1, "n", 1)?);
        let d = axis_of(&x, a.int_or(2, "dim", -1)?)?;
        for _ in 0..n {
            let len = x.shape()[d].saturating_sub(1);
            x = x.narrow(d, (x.shape()[d] - len) as isize, len) - x.narrow(d, 0, len);
        }
        Ok(vec![x])
    }),
    ("nn.functional.pixel_shuffle", |a| {
        let (x, r) = (a.tensor(0, "input")?, a.int(1, "upscale_factor")? as usize);
        let (lead, s) = x.shape().split_at(x.rank() - 3);
        let (c, h, w) = (s[0] / (r * r), s[1], s[2]);
        let n = lead.len() as isize;
        let order: Vec<isize> = (0..n).chain([n, n + 3, n + 1, n + 4, n + 2]).collect();
        Ok(vec![x.reshape([lead, &[c, r, r, h, w]].concat()).permute(order).reshape([lead, &[c, h * r, w * r]].concat())])
    }),
    ("nn.functional.pixel_unshuffle", |a| {
        let (x, r) = (a.tensor(0, "input")?, a.int(1, "downscale_factor")? as usize);
        let (lead, s) = x.shape().split_at(x.rank() - 3);
        let (c, h, w) = (s[0], s[1] / r, s[2] / r);
        let n = lead.len() as isize;
        let order: Vec<isize> = (0..n).chain([n, n + 2, n + 4, n + 1, n + 3]).collect();
        Ok(vec![x.reshape([lead, &[c, h, r, w, r]].concat()).permute(order).reshape([lead, &[c * r * r, h, w]].concat())])
    }),
    ("nn.functional.channel_shuffle", |a| {
        let (x, g) = (a.tensor(0, "input")?, a.int(1, "groups")? as usize);
        let s = x.shape();
        let split = [&[s[0], g, s[1] / g], &s[2..]].concat();
        Ok(vec![x.reshape(split).transpose(1, 2).reshape(s)])
    }),
];

fn at_least_1d(t: &Tensor) -> Tensor {
    if t.rank() == 0 { t.reshape([1]) } else { t.clone() }
}

fn at_least_2d(t: &Tensor) -> Tensor {
    if t.rank() < 2 { t.reshape([1, -1]) } else { t.clone() }
}

fn split(a: &Args) -> R {
    let (x, axis) = (a.tensor(0, "tensor")?, a.int_or(2, "dim", 0)?);
    Ok(match a.get(1, "split_size_or_sections") {
        Some(Arg::List(_)) => x.split_sizes(&a.usizes(1, "split_size_or_sections")?, axis),
        _ => x.split(a.int(1, "split_size_or_sections")? as usize, axis),
    })
}

/// PyTorch names the last axis first: `[left, right, top, bottom, ..]`.
fn pad(a: &Args, mode: &str, value_at: usize) -> R {
    let (x, p) = (a.tensor(0, "input")?, a.ints(1, "pad")?);
    let mut widths: Vec<(isize, isize)> = p.chunks(2).map(|c| (c[0], c[1])).collect();
    widths.reverse();
    let value = a.float_or(value_at, "value", 0.0)?;
    Ok(vec![match mode {
        "constant" => x.pad(&widths, value),
        "reflect" => x.pad_with(&widths, PadMode::Reflect),
        "replicate" => x.pad_with(&widths, PadMode::Replicate),
        "circular" => x.pad_with(&widths, PadMode::Circular),
        m => return Err(format!("mode {m}")),
    }])
}
