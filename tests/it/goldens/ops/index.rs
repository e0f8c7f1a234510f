//! Indexing, gathering, scattering.

use super::{Table, axis_of, operand};
use crate::goldens::args::{Args, Either, R};
use crate::goldens::case::Arg;
use lazuli::tensor::ScatterReduce;
use lazuli::{DType, NewAxis, SliceItem, Tensor};

pub const TABLE: Table = &[
    ("__getitem__", |a| {
        let (x, items) = (a.tensor(0, "input")?, items(a, 1)?);
        Ok(vec![x.slice(items)])
    }),
    ("index_select", |a| Ok(vec![a.tensor(0, "input")?.index_select(a.int(1, "dim")?, &a.tensor(2, "index")?)])),
    ("gather", |a| {
        a.ignore("sparse_grad");
        Ok(vec![a.tensor(0, "input")?.gather(a.int(1, "dim")?, &a.tensor(2, "index")?)])
    }),
    ("take_along_dim", |a| {
        let (x, i) = (a.tensor(0, "input")?, a.tensor(1, "indices")?);
        Ok(vec![match a.int_opt(2, "dim")? {
            Some(d) => x.take_along_dim(&i, d),
            None => x.reshape([-1]).take_along_dim(&i.reshape([-1]), 0),
        }])
    }),
    ("take", |a| Ok(vec![a.tensor(0, "input")?.reshape([-1]).take(&a.tensor(1, "index")?, 0)])),
    ("scatter", scatter),
    ("scatter_add", |a| Ok(vec![a.tensor(0, "input")?.scatter_add(a.int(1, "dim")?, &a.tensor(2, "index")?, &a.tensor(3, "src")?)])),
    ("scatter_reduce", |a| {
        let (x, dim, index, src) = (a.tensor(0, "input")?, a.int(1, "dim")?, a.tensor(2, "index")?, a.tensor(3, "src")?);
        let own = a.bool_or(5, "include_self", true)?;
        let how = match a.str_or(4, "reduce", "sum")? {
            "sum" => ScatterReduce::Sum,
            "mean" => ScatterReduce::Mean,
            "amax" => ScatterReduce::Max,
            "amin" => ScatterReduce::Min,
            "prod" if own => return Ok(vec![scatter_product(&x, axis_of(&x, dim)?, &index, &src)]),
            r => return Err(format!("reduce={r}")),
        };
        Ok(vec![x.scatter_reduce(dim, &index, &src, how, own)])
    }),
    ("index_add", |a| {
        let (x, dim, index, src) = (a.tensor(0, "input")?, a.int(1, "dim")?, a.tensor(2, "index")?, a.tensor(3, "source")?);
        let src = operand!(a.either_or(usize::MAX, "alpha", 1.0)?, s => &src * s);
        Ok(vec![x.index_add(dim, &index, &src)])
    }),
    ("index_copy", |a| Ok(vec![a.tensor(0, "input")?.index_copy(a.int(1, "dim")?, &a.tensor(2, "index")?, &a.tensor(3, "source")?)])),
    ("index_fill", |a| {
        let (x, dim, index) = (a.tensor(0, "input")?, a.int(1, "dim")?, a.tensor(2, "index")?.reshape([-1]));
        let d = axis_of(&x, dim)?;
        let mut shape = x.shape().to_vec();
        if let Some(e) = shape.get_mut(d) {
            *e = index.numel();
        }
        let src = match a.either(3, "value")? {
            Either::Tensor(t) => t.cast(x.dtype()).broadcast_to(shape),
            Either::Int(v) => Tensor::full(shape, v).cast(x.dtype()),
            Either::Float(v) => Tensor::full(shape, v).cast(x.dtype()),
            Either::Bool(v) => Tensor::full(shape, v).cast(x.dtype()),
        };
        Ok(vec![x.index_copy(dim, &index, &src)])
    }),
    ("index_put", |a| {
        let (x, indices, values) = (a.tensor(0, "input")?, a.tensors(1, "indices")?, a.tensor(2, "values")?);
        let indices: Vec<&Tensor> = indices.iter().collect();
        Ok(vec![x.index_put(&indices, &values, a.bool_or(3, "accumulate", false)?)])
    }),
    ("masked_fill", |a| {
        let (x, mask) = (a.tensor(0, "input")?, a.tensor(1, "mask")?);
        // PyTorch stretches the input to the mask, this method only the mask.
        let x = if mask.rank() > x.rank() { x.broadcast_to(mask.shape()) } else { x };
        Ok(vec![operand!(a.either(2, "value")?, v => x.masked_fill(&mask, v))])
    }),
    ("select_scatter", |a| {
        let (x, src, dim) = (a.tensor(0, "input")?, a.tensor(1, "src")?, axis_of(&a.tensor(0, "input")?, a.int(2, "dim")?)?);
        let mut items: Vec<SliceItem> = (0..dim).map(|_| SliceItem::from(..).step(1)).collect();
        items.push(SliceItem::from(a.int(3, "index")?));
        Ok(vec![x.slice_update(items, &src)])
    }),
    ("slice_scatter", |a| {
        let (x, src) = (a.tensor(0, "input")?, a.tensor(1, "src")?);
        let dim = axis_of(&x, a.int_or(2, "dim", 0)?)?;
        let n = x.shape()[dim] as isize;
        let (start, end, step) = (a.int_or(3, "start", 0)?, a.int_or(4, "end", n)?, a.int_or(5, "step", 1)?);
        let mut items: Vec<SliceItem> = (0..dim).map(|_| SliceItem::from(..).step(1)).collect();
        items.push(SliceItem::from(start..end.min(n)).step(step));
        Ok(vec![x.slice_update(items, &src)])
    }),
    ("nn.functional.one_hot", |a| {
        let x = a.tensor(0, "tensor")?;
        let classes = match a.int_or(1, "num_classes", -1)? {
            // PyTorch then looks at the values: the caller's business here.
            -1 => a.host(0, "tensor")?.into_iter().max().map_or(0, |i| i + 1) as usize,
            n => n as usize,
        };
        Ok(vec![x.one_hot(classes)])
    }),
    ("nn.functional.embedding", |a| {
        a.ignore("sparse");
        Ok(vec![weight_for(a)?.embedding(&a.tensor(1, "idx")?)])
    }),
    ("nn.functional.embedding_bag", embedding_bag),
];

/// The index expression at a position: one item or a tuple of them.
fn items(a: &Args, at: usize) -> R<Vec<SliceItem>> {
    let one = |x: &Arg| -> R<SliceItem> {
        Ok(match x {
            Arg::Int(i) => SliceItem::from(*i as isize),
            Arg::None => SliceItem::from(NewAxis),
            Arg::Ellipsis => SliceItem::from(..),
            Arg::Tensor(..) => SliceItem::from(a.to_tensor(x)?),
            Arg::Slice([start, end, step]) => {
                let (start, step) = (start.unwrap_or(0) as isize, step.unwrap_or(1) as isize);
                match end {
                    Some(e) => SliceItem::from(start..*e as isize).step(step),
                    None => SliceItem::from(start..).step(step),
                }
            }
            x => return Err(format!("index {x:?}")),
        })
    };
    match a.get(at, "idx") {
        Some(Arg::List(l)) => l.iter().map(one).collect(),
        Some(x) => Ok(vec![one(x)?]),
        None => Err("no index".into()),
    }
}

fn scatter(a: &Args) -> R {
    let (x, dim, index) = (a.tensor(0, "input")?, a.int(1, "dim")?, a.tensor(2, "index")?);
    let src = if a.count() > 3 {
        a.either(3, "src")?
    } else if a.get(usize::MAX, "value").is_some() {
        a.either(usize::MAX, "value")?
    } else {
        a.either(usize::MAX, "src")?
    };
    Ok(vec![match a.str_or(4, "reduce", "")? {
        "" => operand!(src, s => x.scatter(dim, &index, s)),
        "add" => operand!(src, s => x.scatter_add(dim, &index, s)),
        "multiply" => {
            let src = match src {
                Either::Tensor(t) => t,
                Either::Int(v) => Tensor::full(index.shape(), v as f64),
                Either::Float(v) => Tensor::full(index.shape(), v),
                Either::Bool(_) => return Err("a truth value to multiply by".into()),
            };
            scatter_product(&x, axis_of(&x, dim)?, &index, &src)
        }
        r => return Err(format!("reduce={r}")),
    }])
}

/// There is no scatter that multiplies: for every place, the product of the updates that name it.
fn scatter_product(x: &Tensor, axis: usize, index: &Tensor, src: &Tensor) -> Tensor {
    if x.rank() == 0 {
        return x * src;
    }
    let whole: Vec<SliceItem> = index.shape().iter().map(|&n| SliceItem::from(0..n)).collect();
    let (last, n) = (x.rank() as isize, x.shape()[axis]);
    // [.., k, ..] against places 0..n in a new last axis, multiplied over k, the new axis moved to k's place.
    let hit = index.unsqueeze(last).eq(Tensor::arange(n));
    let factors = Tensor::where_(&hit, src.slice(whole).unsqueeze(last), 1.0).prod(axis).movedim(last - 1, axis);
    let widths: Vec<(isize, isize)> = (0..x.rank()).map(|i| (0, (x.shape()[i] - factors.shape()[i]) as isize)).collect();
    x * factors.pad(&widths, 1.0)
}

/// The table with PyTorch's options applied: rows renormalised in place, rows without a gradient, gradients divided by frequency.
fn weight_for(a: &Args) -> R<Tensor> {
    let (mut w, ids) = (a.tensor(0, "weight")?, a.tensor(1, "idx")?);
    let rows = w.shape()[0];
    let uses = || -> Tensor { ids.reshape([-1]).one_hot(rows).sum(0).cast(DType::F32).unsqueeze(-1) };
    let p = a.float_or(usize::MAX, "norm_type", 2.0)?;
    if let Some(max) = a.float_opt(usize::MAX, "max_norm")? {
        // Only rows that are used are touched, and the gradient does not see it.
        let norm = w.detach().norm_keepdim(p, 1);
        let large = norm.gt(max).logical_and(&uses().gt(0));
        let scaled = w.detach() * (max / 1.0) / (norm + 1e-7);
        w = Tensor::where_(&large, scaled, w.detach()) + (&w - w.detach());
    }
    if let Some(row) = a.int_opt(usize::MAX, "padding_idx")? {
        let row = row.rem_euclid(rows as isize);
        let frozen = Tensor::arange(rows).eq(row as i64).unsqueeze(-1);
        w = Tensor::where_(&frozen, w.detach(), &w);
    }
    if a.bool_or(usize::MAX, "scale_grad_by_freq", false)? {
        w = w.detach() + (&w - w.detach()) / uses().clamp_min(1);
    }
    Ok(w)
}

/// Bags of rows, summed, averaged or their largest; bag borders are structure. Rows of `padding_idx` do not count.
fn embedding_bag(a: &Args) -> R {
    a.ignore("sparse");
    let (w, ids, host) = (weight_for(a)?, a.tensor(1, "idx")?, a.host(1, "idx")?);
    let padding = a.int_opt(usize::MAX, "padding_idx")?.map(|r| r.rem_euclid(w.shape()[0] as isize) as i64);
    let count = ids.numel();
    let starts: Vec<usize> = if ids.rank() == 2 {
        (0..ids.shape()[0]).map(|r| r * ids.shape()[1]).collect()
    } else {
        a.host(2, "offsets")?.into_iter().map(|i| i as usize).collect()
    };
    let mut ends: Vec<usize> = starts.iter().skip(1).copied().collect();
    if a.bool_or(usize::MAX, "include_last_offset", false)? {
        ends.truncate(starts.len() - 1);
    } else {
        ends.push(count);
    }
    let weights = a.tensor_opt(usize::MAX, "per_sample_weights")?.map(|t| t.reshape([-1]));
    let (mode, width) = (a.str_or(usize::MAX, "mode", "mean")?, w.shape()[1]);
    let mut bags = Vec::new();
    for (&start, &end) in starts.iter().zip(&ends) {
        let kept: Vec<i64> = (start..end).filter(|&i| padding != Some(host[i])).map(|i| i as i64).collect();
        if kept.is_empty() {
            bags.push(Tensor::zeros([width]));
            continue;
        }
        let n = kept.len();
        let at = Tensor::from_vec(kept, [n]);
        let mut rows = w.embedding(&ids.reshape([-1]).index_select(0, &at));
        if let Some(s) = &weights {
            rows *= s.index_select(0, &at).unsqueeze(-1);
        }
        bags.push(match mode {
            "sum" => rows.sum(0),
            "mean" => rows.mean(0),
            "max" => rows.max_with_indices(0).0,
            m => return Err(format!("mode {m}")),
        });
    }
    Ok(vec![if bags.is_empty() { Tensor::zeros([0, width]) } else { Tensor::stack(&bags, 0) }])
}
