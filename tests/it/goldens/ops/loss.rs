//! Losses.

use super::Table;
use crate::goldens::args::{Args, R};
use lazuli::Tensor;

pub const TABLE: Table = &[
    ("nn.functional.cross_entropy", cross_entropy),
    ("nn.functional.nll_loss", |a| {
        let (x, t) = (a.tensor(0, "input")?, a.tensor(1, "target")?);
        negative_log_likelihood(a, &x, &t)
    }),
    ("nn.functional.mse_loss", |a| {
        let (x, t) = pair(a)?;
        match (a.get(usize::MAX, "weight").is_some(), reduction(a)?) {
            (false, "mean") => Ok(vec![x.mse_loss(&t)]),
            _ => reduced(a, (x - t).square()),
        }
    }),
    ("nn.functional.l1_loss", |a| {
        let (x, t) = pair(a)?;
        match (a.get(usize::MAX, "weight").is_some(), reduction(a)?) {
            (false, "mean") => Ok(vec![x.l1_loss(&t)]),
            _ => reduced(a, (x - t).abs()),
        }
    }),
    ("nn.functional.smooth_l1_loss", |a| {
        let (x, t) = pair(a)?;
        let beta = a.float_or(usize::MAX, "beta", 1.0)?;
        let d = (&x - &t).abs();
        if beta == 0.0 {
            return reduced(a, d);
        }
        let near = d.square() * (0.5 / beta);
        reduced(a, Tensor::where_(&d.lt(beta), near, &d - 0.5 * beta))
    }),
    ("nn.functional.huber_loss", |a| {
        let (x, t) = pair(a)?;
        let delta = a.float_or(usize::MAX, "delta", 1.0)?;
        let d = (&x - &t).abs();
        reduced(a, Tensor::where_(&d.le(delta), d.square() * 0.5, (&d - 0.5 * delta) * delta))
    }),
    ("nn.functional.binary_cross_entropy", |a| {
        let (x, t) = pair(a)?;
        // PyTorch limits both logarithms to -100.
        let limited = |p: Tensor| p.log().clamp_min(-100.0);
        reduced(a, (&t * limited(x.clone()) + (1.0 - &t) * limited(1.0 - &x)).neg())
    }),
    ("nn.functional.binary_cross_entropy_with_logits", |a| {
        let (x, t) = pair(a)?;
        let base = match a.tensor_opt(usize::MAX, "pos_weight")? {
            None => {
                if reduction(a)? == "mean" && a.get(2, "weight").is_none() {
                    return Ok(vec![x.binary_cross_entropy_with_logits(&t)]);
                }
                (1.0 - &t) * &x - x.logsigmoid()
            }
            Some(p) => (1.0 - &t) * &x - ((p - 1.0) * &t + 1.0) * x.logsigmoid(),
        };
        reduced(a, base)
    }),
    ("nn.functional.kl_div", |a| {
        let (x, t) = (a.tensor(0, "input")?, a.tensor(1, "target")?);
        let terms = if a.bool_or(usize::MAX, "log_target", false)? {
            t.exp() * (&t - &x)
        } else {
            let zero = t.eq(0);
            Tensor::where_(&zero, 0.0, &t * Tensor::where_(&zero, 1.0, &t).log()) - &t * &x
        };
        if reduction(a)? == "batchmean" {
            return Ok(vec![terms.sum(..) / x.shape()[0]]);
        }
        reduced(a, terms)
    }),
    ("nn.functional.poisson_nll_loss", |a| {
        let (x, t) = (a.tensor(0, "input")?, a.tensor(1, "target")?);
        let eps = a.float_or(usize::MAX, "eps", 1e-8)?;
        let mut l = if a.bool_or(2, "log_input", true)? { x.exp() - &t * &x } else { &x - &t * (&x + eps).log() };
        if a.bool_or(3, "full", false)? {
            let large = t.gt(1);
            let safe = Tensor::where_(&large, &t, 1.0);
            let stirling = &t * safe.log() - &t + (&safe * (2.0 * std::f64::consts::PI)).log() * 0.5;
            l = l + Tensor::where_(&large, stirling, 0.0);
        }
        reduced(a, l)
    }),
    ("nn.functional.gaussian_nll_loss", |a| {
        let (x, t, var) = (a.tensor(0, "input")?, a.tensor(1, "target")?, a.tensor(2, "var")?);
        let eps = a.float_or(4, "eps", 1e-6)?;
        let var = if var.rank() < x.rank() { var.unsqueeze(-1) } else { var };
        // The limit does not see the gradient.
        let var = &var + (var.clamp_min(eps) - &var).detach();
        let mut l = (var.log() + (&x - &t).square() / &var) * 0.5;
        if a.bool_or(3, "full", false)? {
            l = l + 0.5 * (2.0 * std::f64::consts::PI).ln();
        }
        reduced(a, l)
    }),
    ("nn.functional.hinge_embedding_loss", |a| {
        let (x, t) = (a.tensor(0, "input")?, a.tensor(1, "target")?);
        let margin = a.float_or(2, "margin", 1.0)?;
        let far = Tensor::where_(&t.eq(1), 0.0, (margin as f32 - &x).clamp_min(0.0));
        reduced(a, far + Tensor::where_(&t.eq(-1), 0.0, &x))
    }),
    ("nn.functional.soft_margin_loss", |a| {
        let (x, t) = pair(a)?;
        reduced(a, (-&t * &x).softplus())
    }),
    ("nn.functional.margin_ranking_loss", |a| {
        let (x, y, t) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?, a.tensor(2, "target")?);
        let margin = a.float_or(3, "margin", 0.0)?;
        reduced(a, (-&t * (x - y) + margin).clamp_min(0.0))
    }),
    ("nn.functional.triplet_margin_loss", |a| {
        let (x, p, n) = (a.tensor(0, "anchor")?, a.tensor(1, "positive")?, a.tensor(2, "negative")?);
        let (margin, ord, eps) = (a.float_or(3, "margin", 1.0)?, a.float_or(4, "p", 2.0)?, a.float_or(5, "eps", 1e-6)?);
        let dist = |u: &Tensor, v: &Tensor| (u - v + eps).norm(ord, -1);
        let near = dist(&x, &p);
        let mut far = dist(&x, &n);
        if a.bool_or(6, "swap", false)? {
            far = far.minimum(&dist(&p, &n));
        }
        reduced(a, (near - far + margin).clamp_min(0.0))
    }),
    ("nn.functional.cosine_embedding_loss", |a| {
        let (x, y, t) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?, a.tensor(2, "target")?);
        let margin = a.float_or(3, "margin", 0.0)?;
        // As PyTorch's loss (not its cosine_similarity): the root of the product of squared norms, each with a little added.
        let eps = 1e-12;
        let (xy, xx, yy) = ((&x * &y).sum(-1), x.square().sum(-1) + eps, y.square().sum(-1) + eps);
        let cos = xy / (xx * yy).sqrt();
        let near = Tensor::where_(&t.eq(1), 1.0 - &cos, 0.0);
        let far = Tensor::where_(&t.eq(-1), (&cos - margin).clamp_min(0.0), 0.0);
        reduced(a, near + far)
    }),
];

fn pair(a: &Args) -> R<(Tensor, Tensor)> {
    Ok((a.tensor(0, "input")?, a.tensor(1, "target")?))
}

fn reduction<'a>(a: &Args<'a>) -> R<&'a str> {
    a.str_or(usize::MAX, "reduction", "mean")
}

/// The terms, weighted and reduced as the call says.
fn reduced(a: &Args, terms: Tensor) -> R {
    let terms = match a.tensor_opt(usize::MAX, "weight")? {
        Some(w) => terms * w,
        None => terms,
    };
    Ok(vec![match reduction(a)? {
        "none" => terms,
        "sum" => terms.sum(..),
        "mean" => terms.mean(..),
        r => return Err(format!("reduction {r}")),
    }])
}

/// Log probabilities `[N, C, ..]` or `[C]` against class numbers `[N, ..]`.
fn negative_log_likelihood(a: &Args, x: &Tensor, target: &Tensor) -> R {
    let smoothing = a.float_or(usize::MAX, "label_smoothing", 0.0)?;
    let ignore = a.int_or(usize::MAX, "ignore_index", -100)? as i64;
    let axis = if x.rank() == 1 { 0 } else { 1 };
    let classes = x.shape()[axis];
    let kept = target.ne(ignore);
    let safe = Tensor::where_(&kept, target, 0);
    let weights = a.tensor_opt(2, "weight")?;
    let weight = match &weights {
        Some(w) => w.take(&safe, 0),
        None => safe.ones_like().cast(x.dtype()),
    } * kept.cast(x.dtype());
    let picked = x.gather(axis, &safe.unsqueeze(axis)).squeeze_axis(axis);
    let mut terms = picked.neg() * &weight;
    if smoothing > 0.0 {
        let mut shape = vec![1; x.rank()];
        shape[axis] = classes;
        let all = match &weights {
            Some(w) => x * w.reshape(shape),
            None => x.clone(),
        };
        let all = all.sum(axis).neg() * kept.cast(x.dtype());
        terms = terms * (1.0 - smoothing) + all * (smoothing / classes as f64);
    }
    Ok(vec![match reduction(a)? {
        "none" => terms,
        "sum" => terms.sum(..),
        "mean" => terms.sum(..) / weight.sum(..),
        r => return Err(format!("reduction {r}")),
    }])
}

fn cross_entropy(a: &Args) -> R {
    let (x, t) = pair(a)?;
    let axis = if x.rank() == 1 { 0 } else { 1 };
    if !t.dtype().is_float() {
        let options = ["weight", "ignore_index", "label_smoothing"].iter().any(|n| a.get(usize::MAX, n).is_some());
        if !options && reduction(a)? == "mean" && x.rank() == 2 {
            return Ok(vec![x.cross_entropy(&t)]);
        }
        return negative_log_likelihood(a, &x.log_softmax(axis), &t);
    }
    // Probabilities for targets.
    let smoothing = a.float_or(usize::MAX, "label_smoothing", 0.0)?;
    let classes = x.shape()[axis];
    let t = if smoothing > 0.0 { t * (1.0 - smoothing) + smoothing / classes as f64 } else { t };
    a.get(usize::MAX, "ignore_index");
    let mut terms = x.log_softmax(axis) * t;
    if let Some(w) = a.tensor_opt(2, "weight")? {
        let mut shape = vec![1; x.rank()];
        shape[axis] = classes;
        terms = terms * w.reshape(shape);
    }
    let terms = terms.sum(axis).neg();
    Ok(vec![match reduction(a)? {
        "none" => terms,
        "sum" => terms.sum(..),
        "mean" => terms.sum(..) / (x.numel() / classes),
        r => return Err(format!("reduction {r}")),
    }])
}
