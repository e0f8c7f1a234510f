//! Reductions, running ones, sorting.

use super::{Table, axes_of, axis_of, operand};
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::{DType, Tensor};

/// `method(axes)` and `method_keepdim(axes)` over `dim`, after a cast to `dtype`.
macro_rules! reduction {
    ($method:ident, $keepdim:ident) => {
        |a| {
            let x = a.tensor(0, "input")?;
            let x = a.cast(x, usize::MAX, "dtype")?;
            let axes = axes_of(&x, a.ints_opt(1, "dim")?)?;
            Ok(vec![if a.bool_or(2, "keepdim", false)? { x.$keepdim(axes) } else { x.$method(axes) }])
        }
    };
}

pub const TABLE: Table = &[
    ("sum", reduction!(sum, sum_keepdim)),
    ("nansum", reduction!(nansum, nansum_keepdim)),
    ("mean", reduction!(mean, mean_keepdim)),
    ("prod", reduction!(prod, prod_keepdim)),
    ("any", reduction!(any, any_keepdim)),
    ("all", reduction!(all, all_keepdim)),
    ("amax", reduction!(amax, amax_keepdim)),
    ("amin", reduction!(amin, amin_keepdim)),
    ("logsumexp", reduction!(logsumexp, logsumexp_keepdim)),
    ("count_nonzero", reduction!(count_nonzero, count_nonzero_keepdim)),
    ("nanmean", reduction!(nanmean, nanmean_keepdim)),
    ("aminmax", |a| {
        let x = a.tensor(0, "input")?;
        let axes = axes_of(&x, a.ints_opt(1, "dim")?)?;
        Ok(if a.bool_or(2, "keepdim", false)? {
            vec![x.min_keepdim(&axes[..]), x.max_keepdim(&axes[..])]
        } else {
            vec![x.min(&axes[..]), x.max(&axes[..])]
        })
    }),
    ("var", |a| Ok(vec![variance(a)?.1])),
    ("std", |a| Ok(vec![deviation(a)?.1])),
    ("var_mean", |a| variance(a).map(|(m, v)| vec![v, m])),
    ("std_mean", |a| deviation(a).map(|(m, v)| vec![v, m])),
    ("max", |a| extreme(a, |x, y| x.maximum(y), |x| x.max(..), Tensor::max_with_indices)),
    ("min", |a| extreme(a, |x, y| x.minimum(y), |x| x.min(..), Tensor::min_with_indices)),
    ("argmax", |a| arg(a, Tensor::argmax_all, Tensor::argmax, Tensor::argmax_keepdim)),
    ("argmin", |a| arg(a, Tensor::argmin_all, Tensor::argmin, Tensor::argmin_keepdim)),
    ("median", |a| {
        let x = a.tensor(0, "input")?;
        match a.int_opt(1, "dim")? {
            None => Ok(vec![x.ravel().median(0).0]),
            Some(d) => picked(a, &x, d, 2, x.median(d)),
        }
    }),
    ("linalg.vector_norm", |a| {
        let x = a.tensor(0, "input")?;
        let x = a.cast(x, usize::MAX, "dtype")?;
        let ord = a.float_or(1, "ord", 2.0)?;
        let axes = axes_of(&x, a.ints_opt(2, "dim")?)?;
        Ok(vec![if a.bool_or(3, "keepdim", false)? { x.norm_keepdim(ord, axes) } else { x.norm(ord, axes) }])
    }),
    ("norm", |a| norm(a, ["p", "dim", "keepdim"])),
    ("linalg.norm", |a| norm(a, ["ord", "dim", "keepdim"])),
    ("cumsum", |a| running(a, Tensor::cumsum)),
    ("cumprod", |a| running(a, Tensor::cumprod)),
    ("logcumsumexp", |a| running(a, Tensor::logcumsumexp)),
    ("cummax", |a| {
        let (v, i) = a.tensor(0, "input")?.cummax(a.int(1, "dim")?);
        Ok(vec![v, i])
    }),
    ("cummin", |a| {
        let (v, i) = a.tensor(0, "input")?.cummin(a.int(1, "dim")?);
        Ok(vec![v, i])
    }),
    ("softmax", |a| softmax(a, Tensor::softmax)),
    ("log_softmax", |a| softmax(a, Tensor::log_softmax)),
    ("nn.functional.softmin", softmin),
    ("sort", |a| {
        let (x, axis) = (a.tensor(0, "input")?, a.int_or(1, "dim", -1)?);
        a.ignore("stable");
        let (v, i) = if a.bool_or(2, "descending", false)? { x.sort_descending(axis) } else { x.sort(axis) };
        Ok(vec![v, i])
    }),
    ("argsort", |a| {
        let (x, axis) = (a.tensor(0, "input")?, a.int_or(1, "dim", -1)?);
        a.ignore("stable");
        Ok(vec![x.argsort(axis, a.bool_or(2, "descending", false)?)])
    }),
    ("searchsorted", |a| {
        let (sorted, values) = (a.tensor(0, "sorted_sequence")?, a.either(1, "input")?);
        let sorted = match a.tensor_opt(usize::MAX, "sorter")? {
            Some(order) => sorted.take_along_dim(&order, -1),
            None => sorted,
        };
        let right = a.bool_or(usize::MAX, "right", false)? || a.str_or(usize::MAX, "side", "left")? == "right";
        let d = if a.bool_or(usize::MAX, "out_int32", false)? { DType::I32 } else { DType::I64 };
        Ok(vec![operand!(values, v => sorted.searchsorted(&super::tensor_of(v), right)).cast(d)])
    }),
    ("bucketize", |a| {
        let (values, sorted) = (a.either(0, "input")?, a.tensor(1, "boundaries")?);
        let right = a.bool_or(usize::MAX, "right", false)?;
        let d = if a.bool_or(usize::MAX, "out_int32", false)? { DType::I32 } else { DType::I64 };
        Ok(vec![operand!(values, v => super::tensor_of(v).bucketize(&sorted, right)).cast(d)])
    }),
    ("msort", |a| Ok(vec![a.tensor(0, "input")?.sort(0).0])),
    ("topk", |a| {
        let (x, k, axis) = (a.tensor(0, "input")?, a.int(1, "k")? as usize, a.int_or(2, "dim", -1)?);
        a.ignore("sorted");
        a.get(4, "sorted");
        let (v, i) = if a.bool_or(3, "largest", true)? { x.topk(k, axis) } else { x.bottomk(k, axis) };
        Ok(vec![v, i])
    }),
    ("kthvalue", |a| {
        let (x, k, axis) = (a.tensor(0, "input")?, a.int(1, "k")? as usize, a.int_or(2, "dim", -1)?);
        picked(a, &x, axis, 3, x.kthvalue(k, axis))
    }),
];

/// Mean and variance over `dim`. Corrections that are no whole number rescale the plain variance.
fn variance(a: &Args) -> R<(Tensor, Tensor)> {
    let x = a.tensor(0, "input")?;
    // `var(input, unbiased)` has its flag where others have `dim`.
    let flag = matches!(a.get(1, "dim"), Some(Arg::Bool(_)));
    let axes = axes_of(&x, if flag { None } else { a.ints_opt(1, "dim")? })?;
    let unbiased = if flag { a.bool_or(1, "dim", true)? } else { a.bool_or(2, "unbiased", true)? };
    let correction = a.float_or(usize::MAX, "correction", unbiased as u8 as f64)?;
    let keepdim = a.bool_or(3, "keepdim", false)?;
    let v = if correction == 0.0 || correction == 1.0 {
        x.var_keepdim(&axes[..], correction as usize)
    } else {
        let n: usize = axes.iter().map(|&i| x.shape()[i]).product();
        x.var_keepdim(&axes[..], 0) * (n as f64 / (n as f64 - correction).max(0.0))
    };
    let m = x.mean_keepdim(&axes[..]);
    Ok(if keepdim { (m, v) } else { (m.squeeze_axis(&axes[..]), v.squeeze_axis(&axes[..])) })
}

/// Mean and standard deviation.
fn deviation(a: &Args) -> R<(Tensor, Tensor)> {
    let (x, correction) = (a.tensor(0, "input")?, a.float_opt(usize::MAX, "correction")?);
    let (m, v) = variance(a)?;
    if correction.is_some_and(|c| c != 0.0 && c != 1.0) {
        return Ok((m, v.sqrt()));
    }
    let flag = matches!(a.get(1, "dim"), Some(Arg::Bool(_)));
    let axes = axes_of(&x, if flag { None } else { a.ints_opt(1, "dim")? })?;
    let unbiased = if flag { a.bool_or(1, "dim", true)? } else { a.bool_or(2, "unbiased", true)? };
    let correction = correction.unwrap_or(unbiased as u8 as f64) as usize;
    Ok((m, if a.bool_or(3, "keepdim", false)? { x.std_keepdim(axes, correction) } else { x.std(axes, correction) }))
}

/// Values and indices, the axis kept if asked.
fn picked(a: &Args, x: &Tensor, axis: isize, keepdim_at: usize, (v, i): (Tensor, Tensor)) -> R {
    let keep = a.bool_or(keepdim_at, "keepdim", false)? && x.rank() > 0;
    let axis = axis_of(x, axis)?;
    Ok(if keep { vec![v.unsqueeze(axis), i.unsqueeze(axis)] } else { vec![v, i] })
}

/// A running reduction, of and in the dtype the call names.
fn running(a: &Args, f: fn(&Tensor, isize) -> Tensor) -> R {
    let x = a.tensor(0, "input")?;
    let y = f(&a.cast(x, usize::MAX, "dtype")?, a.int(1, "dim")?);
    Ok(vec![a.cast(y, usize::MAX, "dtype")?])
}

/// `norm` and `linalg.norm`: of vectors, and those of matrices that need no singular values.
fn norm(a: &Args, [ord, dim, keepdim]: [&str; 3]) -> R {
    let x = a.tensor(0, "input|A")?;
    let x = a.cast(x, usize::MAX, "dtype")?;
    let dims = a.ints_opt(2, dim)?.filter(|d| !d.is_empty());
    let keep = a.bool_or(3, keepdim, false)?;
    let vector = |p: f64, axes: Vec<usize>| if keep { x.norm_keepdim(p, axes) } else { x.norm(p, axes) };
    let given = a.get(1, ord);
    let fro = matches!(given, Some(Arg::Str(s)) if s == "fro");
    if let Some(Arg::Str(s)) = given
        && s == "nuc"
    {
        return Err("norm nuc".into());
    }
    let axes = axes_of(&x, dims.clone())?;
    if fro || given.is_none() {
        return Ok(vec![vector(2.0, axes)]);
    }
    let p = a.float_or(1, ord, 2.0)?;
    if ord == "p" || axes.len() != 2 {
        return Ok(vec![vector(p, axes)]);
    }
    // A matrix norm: the largest or smallest sum of magnitudes of rows (infinity) or columns (1).
    let order: Vec<usize> = dims.map_or(Ok(axes), |d| d.iter().map(|&i| axis_of(&x, i)).collect())?;
    let over = if p.abs() == 1.0 { order[0] } else { order[1] };
    if p.abs() != 1.0 && p.abs() != f64::INFINITY {
        return Err(format!("a matrix norm of order {p} needs singular values"));
    }
    let sums = x.abs().sum_keepdim(over);
    let y = if p > 0.0 { sums.amax_keepdim(order) } else { sums.amin_keepdim(order) };
    Ok(vec![if keep { y } else { y.squeeze_axis(a.ints_opt(2, dim)?.unwrap_or(vec![0, 1])) }])
}

type WithIndices = fn(&Tensor, isize) -> (Tensor, Tensor);

/// `max(input)`, `max(input, other)` or `max(input, dim, keepdim)`.
fn extreme(a: &Args, of_two: fn(&Tensor, &Tensor) -> Tensor, of_all: fn(&Tensor) -> Tensor, along: WithIndices) -> R {
    let x = a.tensor(0, "input")?;
    if let Some(Arg::Tensor(..)) = a.get(1, "other") {
        return Ok(vec![of_two(&x, &a.tensor(1, "other")?)]);
    }
    let keepdim = a.bool_or(2, "keepdim", false)?;
    match a.int_opt(1, "dim")? {
        None => Ok(vec![of_all(&x)]),
        Some(d) => {
            let (v, i) = along(&x, d);
            let d = axis_of(&x, d)?;
            Ok(if keepdim && x.rank() > 0 { vec![v.unsqueeze(d), i.unsqueeze(d)] } else { vec![v, i] })
        }
    }
}

type Along = fn(&Tensor, isize) -> Tensor;

fn arg(a: &Args, of_all: fn(&Tensor) -> Tensor, along: Along, kept: Along) -> R {
    let (x, keepdim) = (a.tensor(0, "input")?, a.bool_or(2, "keepdim", false)?);
    Ok(vec![match a.int_opt(1, "dim")? {
        None if keepdim => of_all(&x).reshape(vec![1usize; x.rank()]),
        None => of_all(&x),
        Some(d) if keepdim => kept(&x, d),
        Some(d) => along(&x, d),
    }])
}

fn softmax(a: &Args, f: Along) -> R {
    let x = a.tensor(0, "input")?;
    let x = a.cast(x, 2, "dtype")?;
    Ok(vec![f(&x, a.int(1, "dim")?)])
}

/// As PyTorch: negated in the input's dtype, then cast.
fn softmin(a: &Args) -> R {
    let x = a.tensor(0, "input")?;
    a.get(2, "_stacklevel");
    let (dtype, dim) = (a.dtype(3, "dtype")?, a.int(1, "dim")?);
    Ok(vec![match dtype {
        Some(d) => x.neg().cast(d).softmax(dim),
        None => x.softmin(dim),
    }])
}
