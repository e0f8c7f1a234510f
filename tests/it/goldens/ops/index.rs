//! Indexing, gathering, scattering.

use super::{Table, axis_of, operand};
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::tensor::{BagMode, BagOptions, ScatterReduce};
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
            "prod" => ScatterReduce::Prod,
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
        let (x, dim, index) = (a.tensor(0, "input")?, a.int(1, "dim")?, a.tensor(2, "index")?);
        Ok(vec![operand!(a.either(3, "value")?, v => x.index_fill(dim, &index, v))])
    }),
    ("masked_select", |a| Ok(vec![a.tensor(0, "input")?.masked_select(&a.tensor(1, "mask")?)])),
    ("masked_scatter", |a| {
        let (x, mask) = (a.tensor(0, "input")?, a.tensor(1, "mask")?);
        let shape = Tensor::broadcast_tensors(&[&x, &mask])[0].shape().clone();
        Ok(vec![x.broadcast_to(&shape).masked_scatter(&mask, &a.tensor(2, "source")?)])
    }),
    ("nonzero", |a| {
        let x = a.tensor(0, "input")?;
        Ok(if a.bool_or(usize::MAX, "as_tuple", false)? { x.atleast_1d().nonzero().unbind(1) } else { vec![x.nonzero()] })
    }),
    ("argwhere", |a| Ok(vec![a.tensor(0, "input")?.nonzero()])),
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
    ("select_scatter", |a| Ok(vec![a.tensor(0, "input")?.select_scatter(&a.tensor(1, "src")?, a.int(2, "dim")?, a.int(3, "index")?)])),
    ("slice_scatter", |a| {
        let (x, src, dim) = (a.tensor(0, "input")?, a.tensor(1, "src")?, a.int_or(2, "dim", 0)?);
        let n = x.shape()[axis_of(&x, dim)?] as isize;
        Ok(vec![x.slice_scatter(&src, dim, a.int_or(3, "start", 0)?, a.int_or(4, "end", n)?.min(n), a.int_or(5, "step", 1)? as usize)])
    }),
    ("slice", |a| {
        let (x, dim) = (a.tensor(0, "input")?, a.int_or(1, "dim", 0)?);
        let d = axis_of(&x, dim)?;
        let n = x.shape()[d] as isize;
        let mut items: Vec<SliceItem> = (0..d).map(|_| SliceItem::from(..).step(1)).collect();
        items.push(SliceItem::from(a.int_or(2, "start", 0)?..a.int_or(3, "end", n)?.min(n)).step(a.int_or(4, "step", 1)?));
        Ok(vec![x.slice(items)])
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
        let (w, ids) = table_and_ids(a)?;
        a.get(6, "sparse");
        let o = [a.get(2, "padding_idx"), a.get(3, "max_norm"), a.get(4, "norm_type"), a.get(5, "scale_grad_by_freq")];
        Ok(vec![weight_for(w, &ids, o)?.embedding(&ids)])
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
            Arg::Bool(b) => SliceItem::from(Tensor::full([], *b)),
            Arg::List(l) => {
                // A list of numbers is a tensor of indices (or a mask).
                let ints: Option<Vec<i64>> = l.iter().map(|x| if let Arg::Int(i) = x { Some(*i) } else { None }).collect();
                let bools: Option<Vec<bool>> = l.iter().map(|x| if let Arg::Bool(b) = x { Some(*b) } else { None }).collect();
                match (ints, bools) {
                    (Some(v), _) => SliceItem::from(Tensor::from_vec(v, [l.len()])),
                    (None, Some(v)) => SliceItem::from(Tensor::from_vec(v, [l.len()])),
                    _ => return Err(format!("index {x:?}")),
                }
            }
            x => return Err(format!("index {x:?}")),
        })
    };
    match a.get(at, "idx|key") {
        Some(Arg::List(l)) => l.iter().map(one).collect(),
        Some(x) => Ok(vec![one(x)?]),
        None if a.count() > at => Ok(vec![SliceItem::from(NewAxis)]),
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
        "multiply" => operand!(src, s => x.scatter_reduce(dim, &index, s, ScatterReduce::Prod, true)),
        r => return Err(format!("reduce={r}")),
    }])
}

/// PyTorch's function has the ids first, OpInfo's samples the table.
fn table_and_ids(a: &Args) -> R<(Tensor, Tensor)> {
    let (x, y) = (a.tensor(0, "input")?, a.tensor(1, "idx|weight")?);
    Ok(if x.dtype().is_float() { (x, y) } else { (y, x) })
}

/// The table with PyTorch's options applied: rows renormalised in place, rows without a gradient, gradients divided by frequency.
fn weight_for(mut w: Tensor, ids: &Tensor, [padding, max_norm, norm_type, by_freq]: [Option<&Arg>; 4]) -> R<Tensor> {
    let rows = w.shape()[0];
    let uses = || -> Tensor { ids.reshape([-1]).one_hot(rows).sum(0).cast(DType::F32).unsqueeze(-1) };
    let number = |a: Option<&Arg>| match a {
        Some(Arg::Int(i)) => Ok(Some(*i as f64)),
        Some(Arg::Float(f)) => Ok(Some(*f)),
        None => Ok(None),
        Some(a) => Err(format!("{a:?} is no number")),
    };
    if let Some(max) = number(max_norm)? {
        // Only rows that are used are touched, and the gradient does not see it.
        let norm = w.detach().norm_keepdim(number(norm_type)?.unwrap_or(2.0), 1);
        let large = norm.gt(max).logical_and(&uses().gt(0));
        let scaled = w.detach() * (max / 1.0) / (norm + 1e-7);
        w = Tensor::where_(&large, scaled, w.detach()) + (&w - w.detach());
    }
    if let Some(Arg::Int(row)) = padding {
        let row = row.rem_euclid(rows as i64);
        let frozen = Tensor::arange(rows).eq(row).unsqueeze(-1);
        w = Tensor::where_(&frozen, w.detach(), &w);
    }
    if matches!(by_freq, Some(Arg::Bool(true))) {
        w = w.detach() + (&w - w.detach()) / uses().clamp_min(1);
    }
    Ok(w)
}

/// `embedding_bag(input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights,
/// include_last_offset, padding_idx)`
fn embedding_bag(a: &Args) -> R {
    let (w, ids) = table_and_ids(a)?;
    a.get(7, "sparse");
    let padding = a.get(10, "padding_idx");
    let o = [padding, a.get(3, "max_norm"), a.get(4, "norm_type"), a.get(5, "scale_grad_by_freq")];
    let rows = w.shape()[0] as isize;
    let w = weight_for(w, &ids, o)?;
    let mut offsets = a.tensor_opt(2, "offsets")?;
    if a.bool_or(9, "include_last_offset", false)? {
        offsets = offsets.map(|t| t.narrow(0, 0, t.numel() - 1));
    }
    let mut options = BagOptions::new().mode(match a.str_or(6, "mode", "mean")? {
        "sum" => BagMode::Sum,
        "mean" => BagMode::Mean,
        "max" => BagMode::Max,
        m => return Err(format!("mode {m}")),
    });
    if let Some(p) = a.int_opt(10, "padding_idx")? {
        options = options.padding(p.rem_euclid(rows) as usize);
    }
    if let Some(s) = a.tensor_opt(8, "per_sample_weights")? {
        options = options.weights(&s);
    }
    Ok(vec![w.embedding_bag(&ids, offsets.as_ref(), &options)])
}
