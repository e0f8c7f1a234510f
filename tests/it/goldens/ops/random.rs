//! Random tensors and tensors from nothing. Values of random ops cannot be PyTorch's: their properties are checked instead.

use super::{Table, operand};
use crate::goldens::args::{Args, R};
use crate::goldens::case::{Arg, Case};
use lazuli::{DType, Tensor};

macro_rules! dropout {
    ($method:ident) => {
        |a| {
            let (x, p, training) = (a.tensor(0, "input")?, a.float_or(1, "p", 0.5)?, a.bool_or(2, "training", true)?);
            a.get(3, "inplace");
            Ok(vec![if training { x.$method(p) } else { x }])
        }
    };
}

pub const TABLE: Table = &[
    ("nn.functional.dropout", dropout!(dropout)),
    ("nn.functional.dropout1d", features),
    ("nn.functional.dropout2d", features),
    ("nn.functional.dropout3d", features),
    ("nn.functional.alpha_dropout", |a| {
        let (x, p, training) = (a.tensor(0, "input")?, a.float_or(1, "p", 0.5)?, a.bool_or(2, "training", false)?);
        a.get(3, "inplace");
        Ok(vec![if training { x.alpha_dropout(p) } else { x }])
    }),
    ("nn.functional.feature_alpha_dropout", |a| {
        let (x, p, training) = (a.tensor(0, "input")?, a.float_or(1, "p", 0.5)?, a.bool_or(2, "training", false)?);
        a.get(3, "inplace");
        Ok(vec![if training { x.feature_alpha_dropout(p) } else { x }])
    }),
    ("nn.functional.rrelu", |a| {
        let (low, high) = (a.float_or(1, "lower", 1.0 / 8.0)?, a.float_or(2, "upper", 1.0 / 3.0)?);
        a.get(4, "inplace");
        Ok(vec![a.tensor(0, "input")?.rrelu(low, high, a.bool_or(3, "training", false)?)])
    }),
    ("bernoulli", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![match a.float_opt(1, "p")? {
            Some(p) => Tensor::bernoulli(p, x.shape()).cast(x.dtype()),
            None => x.bernoulli_like(),
        }])
    }),
    ("multinomial", |a| {
        Ok(vec![a.tensor(0, "input")?.multinomial(a.int(1, "num_samples")? as usize, a.bool_or(2, "replacement", false)?)])
    }),
    ("randperm", |a| Ok(vec![Tensor::randperm(a.int(0, "n")? as usize)])),
    ("rand", |a| made(a, Tensor::rand(shape(a, 0)?))),
    ("randn", |a| made(a, Tensor::randn(shape(a, 0)?))),
    ("randint", |a| {
        // randint(high, size) or randint(low, high, size)
        let ends = a.count() > 2 || matches!(a.get(1, "high"), Some(Arg::Int(_)));
        let (low, high) = if ends { (a.int(0, "low")?, a.int(1, "high")?) } else { (0, a.int(0, "high|low")?) };
        made(a, Tensor::randint(low as i64, high as i64, shape(a, if ends { 2 } else { 1 })?))
    }),
    ("rand_like", |a| Ok(vec![like(a)?.rand_like()])),
    ("randn_like", |a| Ok(vec![like(a)?.randn_like()])),
    ("randint_like", |a| {
        let x = like(a)?;
        let two = a.get(2, "high").is_some() && a.get(1, "low").is_some();
        let (low, high) = if two { (a.int(1, "low")?, a.int(2, "high")?) } else { (0, a.int(1, "high|low")?) };
        Ok(vec![x.randint_like(low as i64, high as i64)])
    }),
    ("zeros", |a| made(a, Tensor::zeros(shape(a, 0)?))),
    ("ones", |a| made(a, Tensor::ones(shape(a, 0)?))),
    ("full", |a| {
        let s = shape(a, 0)?;
        made(a, operand!(a.either(1, "fill_value")?, v => Tensor::full(s, v)))
    }),
    ("full_like", |a| {
        let x = like(a)?;
        Ok(vec![operand!(a.either(1, "fill_value")?, v => x.full_like(v))])
    }),
    ("new_zeros", |a| made_as(a, Tensor::zeros(shape(a, 1)?))),
    ("new_ones", |a| made_as(a, Tensor::ones(shape(a, 1)?))),
    ("new_full", |a| {
        let s = shape(a, 1)?;
        made_as(a, operand!(a.either(2, "fill_value")?, v => Tensor::full(s, v)))
    }),
    ("eye", |a| {
        let n = a.int(0, "n")? as usize;
        made(a, Tensor::eye_rect(n, a.int_or(1, "m", n as isize)? as usize))
    }),
    ("arange", |a| {
        let number = |x: &Arg| match x {
            Arg::Int(i) => Ok(lazuli::Number::from(*i)),
            Arg::Float(f) => Ok(lazuli::Number::from(*f)),
            x => Err(format!("arange of {x:?}")),
        };
        let (first, second, step) = (a.get(0, "end"), a.get(1, "end"), a.get(2, "step"));
        let (start, end) = match (first, second) {
            (Some(s), Some(e)) if a.count() > 1 || a.get(usize::MAX, "end").is_some() => (number(s)?, number(e)?),
            (Some(e), _) => (lazuli::Number::from(0i64), number(e)?),
            _ => return Err("arange without an end".into()),
        };
        made(a, Tensor::arange_range(start, end, step.map_or(Ok(lazuli::Number::from(1i64)), number)?))
    }),
    ("linspace", |a| {
        let (start, end) = (a.either(0, "start")?, a.either(1, "end")?);
        let steps = a.int(2, "steps")? as usize;
        let host = |e: crate::goldens::args::Either, at: usize, name: &str| -> R<f64> {
            Ok(match e {
                crate::goldens::args::Either::Tensor(t) => t.cast(DType::F64).item::<f64>().map_err(|e| e.to_string())?,
                _ => a.float_or(at, name, 0.0)?,
            })
        };
        made(a, Tensor::linspace(host(start, 0, "start")?, host(end, 1, "end")?, steps))
    }),
];

fn features(a: &Args) -> R {
    let (x, p, training) = (a.tensor(0, "input")?, a.float_or(1, "p", 0.5)?, a.bool_or(2, "training", true)?);
    a.get(3, "inplace");
    Ok(vec![if training { x.feature_dropout(p) } else { x }])
}

fn shape(a: &Args, at: usize) -> R<Vec<usize>> {
    // Sizes may be given one by one.
    if matches!(a.get(at, "size"), Some(Arg::Int(_))) && a.count() > at + 1 && at == 0 {
        return (0..a.count()).map(|i| Ok(a.int(i, "size")? as usize)).collect();
    }
    a.usizes(at, "size")
}

/// In the dtype the call names.
fn made(a: &Args, t: Tensor) -> R {
    Ok(vec![a.cast(t, usize::MAX, "dtype")?])
}

/// In the dtype the call names, or the input's.
fn made_as(a: &Args, t: Tensor) -> R {
    let d = a.tensor(0, "input")?.dtype();
    Ok(vec![t.cast(a.dtype(usize::MAX, "dtype")?.unwrap_or(d))])
}

/// The input, in the dtype the call names.
fn like(a: &Args) -> R<Tensor> {
    let x = a.tensor(0, "input")?;
    a.cast(x, usize::MAX, "dtype")
}

/// What must hold of a random result, in words where it does not; `None` if the call is not random.
pub fn property(case: &Case, a: &Args, out: &[Tensor]) -> Option<Result<(), String>> {
    let number = |t: &Tensor| -> Vec<f64> { t.cast(DType::F64).to_vec().unwrap_or_default() };
    let p = |at: usize, name: &str, default: f64| a.float_or(at, name, default).unwrap_or(default);
    let flag = |at: usize, name: &str, default: bool| a.bool_or(at, name, default).unwrap_or(default);
    let all = |ok: bool, what: &str| if ok { Ok(()) } else { Err(format!("{}: {what}", case.op)) };
    let values = number(&out[0]);
    Some(match case.op.as_str() {
        "nn.functional.dropout" | "nn.functional.dropout1d" | "nn.functional.dropout2d" | "nn.functional.dropout3d" => {
            let p = p(1, "p", 0.5);
            if p == 0.0 || p == 1.0 || !flag(2, "training", true) {
                return None;
            }
            let x = number(&a.tensor(0, "input").ok()?);
            let scaled = |v: f64, x: f64| v == 0.0 || (v - x / (1.0 - p)).abs() <= 1e-5 * (1.0 + x.abs() / (1.0 - p));
            all(values.iter().zip(&x).all(|(v, x)| scaled(*v, *x)), "an element is neither 0 nor scaled")
        }
        "nn.functional.alpha_dropout" | "nn.functional.feature_alpha_dropout" => {
            if matches!(p(1, "p", 0.5), 0.0 | 1.0) || !flag(2, "training", false) {
                return None;
            }
            all(values.iter().all(|v| v.is_finite()), "not finite")
        }
        "nn.functional.rrelu" => {
            if !flag(3, "training", false) {
                return None;
            }
            let x = number(&a.tensor(0, "input").ok()?);
            let (low, high) = (p(1, "lower", 1.0 / 8.0), p(2, "upper", 1.0 / 3.0));
            let good = |v: f64, x: f64| if x > 0.0 { v == x } else { v <= x * low + 1e-6 && v >= x * high - 1e-6 };
            all(values.iter().zip(&x).all(|(v, x)| good(*v, *x)), "a slope is out of its range")
        }
        "nn.functional.scaled_dot_product_attention" => {
            if p(4, "dropout_p", 0.0) == 0.0 {
                return None;
            }
            all(values.iter().all(|v| v.is_finite()), "not finite")
        }
        "nn.functional.multi_head_attention_forward" => {
            if p(10, "dropout_p", 0.0) == 0.0 || !flag(13, "training", true) {
                return None;
            }
            all(values.iter().all(|v| v.is_finite()), "not finite")
        }
        "bernoulli" => {
            let x = number(&a.tensor(0, "input").ok()?);
            let given = a.float_opt(1, "p").ok()?;
            let good = |v: f64, x: f64| (v == 0.0 && given.unwrap_or(x) < 1.0) || (v == 1.0 && given.unwrap_or(x) > 0.0);
            all(values.iter().zip(&x).all(|(v, x)| good(*v, *x)), "an outcome of probability 0")
        }
        "multinomial" => {
            let x = a.tensor(0, "input").ok()?;
            let weights = number(&x);
            let (k, n) = (x.shape()[x.rank() - 1], out[0].shape()[out[0].rank() - 1]);
            let apart = flag(2, "replacement", false);
            let rows = values.chunks(n).enumerate();
            all(
                rows.into_iter().all(|(r, row)| {
                    let mut seen = vec![false; k];
                    row.iter().all(|&v| {
                        let i = v as usize;
                        i < k && weights[r * k + i] > 0.0 && (apart || !std::mem::replace(&mut seen[i], true))
                    })
                }),
                "an index is out of range, has no weight or is there twice",
            )
        }
        "randperm" => {
            let mut sorted: Vec<usize> = values.iter().map(|v| *v as usize).collect();
            sorted.sort_unstable();
            all(sorted == (0..values.len()).collect::<Vec<_>>(), "not a permutation")
        }
        "rand" | "rand_like" => all(values.iter().all(|v| (0.0..1.0).contains(v)), "outside of 0..1"),
        "randn" | "randn_like" => all(values.iter().all(|v| v.abs() < 10.0), "no normal number"),
        "randint" | "randint_like" => all(values.iter().all(|v| v.fract() == 0.0), "no integer"),
        _ => return None,
    })
}
