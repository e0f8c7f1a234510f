//! Reductions, running ones, sorting.

use super::{Table, axes_of, axis_of};
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::Tensor;

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
    ("amax", reduction!(max, max_keepdim)),
    ("amin", reduction!(min, min_keepdim)),
    ("logsumexp", reduction!(logsumexp, logsumexp_keepdim)),
    ("count_nonzero", reduction!(count_nonzero, count_nonzero_keepdim)),
    ("nanmean", |a| {
        let x = a.tensor(0, "input")?;
        let axes = axes_of(&x, a.ints_opt(1, "dim")?)?;
        let (sum, n) = (x.nansum_keepdim(&axes[..]), x.isnan().logical_not().count_nonzero_keepdim(&axes[..]));
        let mean = sum / n.cast(x.dtype());
        Ok(vec![if a.bool_or(2, "keepdim", false)? { mean } else { mean.squeeze_axis(axes) }])
    }),
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
        let keepdim = a.bool_or(2, "keepdim", false)?;
        // The lower of the two in the middle.
        let of = |x: &Tensor, d: isize| {
            let (v, i) = x.sort(d);
            let k = x.shape().get(axis_of(x, d).unwrap_or(0)).map_or(0, |n| n.saturating_sub(1) / 2) as isize;
            (v.narrow(d, k, 1), i.narrow(d, k, 1))
        };
        match a.int_opt(1, "dim")? {
            None => Ok(vec![of(&x.reshape([-1]), 0).0.squeeze()]),
            Some(_) if x.rank() == 0 => Ok(vec![x.clone(), Tensor::full([], 0)]),
            Some(d) => {
                let (v, i) = of(&x, d);
                Ok(if keepdim { vec![v, i] } else { vec![v.squeeze_axis(d), i.squeeze_axis(d)] })
            }
        }
    }),
    ("linalg.vector_norm", |a| {
        let x = a.tensor(0, "input")?;
        let x = a.cast(x, usize::MAX, "dtype")?;
        let ord = a.float_or(1, "ord", 2.0)?;
        let axes = axes_of(&x, a.ints_opt(2, "dim")?)?;
        Ok(vec![if a.bool_or(3, "keepdim", false)? { x.norm_keepdim(ord, axes) } else { x.norm(ord, axes) }])
    }),
    ("norm", |a| {
        let x = a.tensor(0, "input")?;
        let x = a.cast(x, usize::MAX, "dtype")?;
        if let Some(Arg::Str(s)) = a.get(1, "p")
            && s != "fro"
            && s != "inf"
            && s != "-inf"
        {
            return Err(format!("norm {s}"));
        }
        let ord = match a.get(1, "p") {
            Some(Arg::Str(s)) if s == "fro" => 2.0,
            _ => a.float_or(1, "p", 2.0)?,
        };
        let axes = axes_of(&x, a.ints_opt(2, "dim")?)?;
        Ok(vec![if a.bool_or(3, "keepdim", false)? { x.norm_keepdim(ord, axes) } else { x.norm(ord, axes) }])
    }),
    ("cumsum", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![a.cast(x, usize::MAX, "dtype")?.cumsum(a.int(1, "dim")?)])
    }),
    ("cumprod", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![a.cast(x, usize::MAX, "dtype")?.cumprod(a.int(1, "dim")?)])
    }),
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
    ("nn.functional.softmin", |a| softmax(a, Tensor::softmin)),
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
    ("msort", |a| Ok(vec![a.tensor(0, "input")?.sort(0).0])),
    ("topk", |a| {
        let (x, k, axis) = (a.tensor(0, "input")?, a.int(1, "k")? as usize, a.int_or(2, "dim", -1)?);
        a.ignore("sorted");
        a.get(4, "sorted");
        let (v, i) = if a.bool_or(3, "largest", true)? { x.topk(k, axis) } else { x.bottomk(k, axis) };
        Ok(vec![v, i])
    }),
    ("kthvalue", |a| {
        let (x, k, axis) = (a.tensor(0, "input")?, a.int(1, "k")?, a.int_or(2, "dim", -1)?);
        let keepdim = a.bool_or(3, "keepdim", false)?;
        let (v, i) = x.sort(axis);
        let at = |t: Tensor| if keepdim { t.narrow(axis, k - 1, 1) } else { t.select(axis, k - 1) };
        Ok(vec![at(v), at(i)])
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
    a.ignore("_stacklevel");
    let x = a.cast(x, usize::MAX, "dtype")?;
    Ok(vec![f(&x, a.int(1, "dim")?)])
}
