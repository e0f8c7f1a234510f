//! Losses.

use super::Table;
use crate::goldens::args::{Args, R};
use lazuli::Tensor;
use lazuli::tensor::{CrossEntropyOptions, Reduction};

/// A loss with a reduction; a weight, where given, multiplies the terms.
macro_rules! loss {
    ($with:ident $(, $arg:ident: $default:expr)*) => {
        |a| {
            let (x, t) = pair(a)?;
            terms_or(a, |r| Ok(x.$with(&t $(, a.float_or(usize::MAX, stringify!($arg), $default)?)*, r)))
        }
    };
}

pub const TABLE: Table = &[
    ("nn.functional.cross_entropy", |a| {
        let (x, t) = pair(a)?;
        Ok(vec![x.cross_entropy_with(&t, &class_options(a)?)])
    }),
    ("nn.functional.nll_loss", |a| {
        let (x, t) = pair(a)?;
        Ok(vec![x.nll_loss_with(&t, &class_options(a)?)])
    }),
    ("nn.functional.mse_loss", loss!(mse_loss_with)),
    ("nn.functional.l1_loss", loss!(l1_loss_with)),
    ("nn.functional.smooth_l1_loss", loss!(smooth_l1_loss_with, beta: 1.0)),
    ("nn.functional.huber_loss", loss!(huber_loss_with, delta: 1.0)),
    ("nn.functional.binary_cross_entropy", loss!(binary_cross_entropy_with)),
    ("nn.functional.soft_margin_loss", loss!(soft_margin_loss_with)),
    ("nn.functional.hinge_embedding_loss", loss!(hinge_embedding_loss_with, margin: 1.0)),
    ("nn.functional.binary_cross_entropy_with_logits", |a| {
        let (x, t) = pair(a)?;
        match a.tensor_opt(usize::MAX, "pos_weight")? {
            None => terms_or(a, |r| Ok(x.binary_cross_entropy_with_logits_with(&t, r))),
            Some(p) => reduced(a, (1.0 - &t) * &x - ((p - 1.0) * &t + 1.0) * x.logsigmoid()),
        }
    }),
    ("nn.functional.kl_div", |a| {
        let (x, t) = pair(a)?;
        if a.bool_or(usize::MAX, "log_target", false)? {
            let terms = t.exp() * (&t - &x);
            return if batch_mean(a) { Ok(vec![terms.sum(..) / x.shape()[0]]) } else { reduced(a, terms) };
        }
        if batch_mean(a) {
            return Ok(vec![x.kl_div_with(&t, Reduction::Sum) / x.shape()[0]]);
        }
        terms_or(a, |r| Ok(x.kl_div_with(&t, r)))
    }),
    ("nn.functional.poisson_nll_loss", |a| {
        let (x, t) = pair(a)?;
        let eps = a.float_or(usize::MAX, "eps", 1e-8)?;
        let log_input = a.bool_or(2, "log_input", true)?;
        let mut l = if log_input { x.poisson_nll_loss_with(&t, Reduction::None) } else { &x - &t * (&x + eps).log() };
        if a.bool_or(3, "full", false)? {
            let large = t.gt(1);
            let safe = Tensor::where_(&large, &t, 1.0);
            let stirling = &t * safe.log() - &t + (&safe * (2.0 * std::f64::consts::PI)).log() * 0.5;
            l += Tensor::where_(&large, stirling, 0.0);
        }
        reduced(a, l)
    }),
    ("nn.functional.gaussian_nll_loss", |a| {
        let (x, t, var) = (a.tensor(0, "input")?, a.tensor(1, "target")?, a.tensor(2, "var")?);
        let (eps, full) = (a.float_or(4, "eps", 1e-6)?, a.bool_or(3, "full", false)?);
        let var = if var.rank() < x.rank() { var.unsqueeze(-1) } else { var };
        if !full && reduction(a)? == Reduction::Mean {
            return Ok(vec![x.gaussian_nll_loss(&t, &var, eps)]);
        }
        let var = &var + (var.clamp_min(eps) - &var).detach();
        let l = (var.log() + (&x - &t).square() / &var) * 0.5;
        reduced(a, if full { l + 0.5 * (2.0 * std::f64::consts::PI).ln() } else { l })
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
        if reduction(a)? == Reduction::Mean {
            return Ok(vec![x.cosine_embedding_loss(&y, &t, margin)]);
        }
        let cos = x.cosine_similarity(&y, -1, 1e-8);
        reduced(a, Tensor::where_(&t.eq(1), 1.0 - &cos, (&cos - margin).relu()))
    }),
];

fn pair(a: &Args) -> R<(Tensor, Tensor)> {
    Ok((a.tensor(0, "input")?, a.tensor(1, "target")?))
}

fn batch_mean(a: &Args) -> bool {
    a.str_or(usize::MAX, "reduction", "mean") == Ok("batchmean")
}

fn reduction(a: &Args) -> R<Reduction> {
    Ok(match a.str_or(usize::MAX, "reduction", "mean")? {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        r => return Err(format!("reduction {r}")),
    })
}

/// The loss with the call's reduction, or with weighted terms.
fn terms_or(a: &Args, f: impl Fn(Reduction) -> R<Tensor>) -> R {
    if a.get(usize::MAX, "weight").is_some() { reduced(a, f(Reduction::None)?) } else { Ok(vec![f(reduction(a)?)?]) }
}

/// The terms, weighted and reduced as the call says.
fn reduced(a: &Args, terms: Tensor) -> R {
    let terms = match a.tensor_opt(usize::MAX, "weight")? {
        Some(w) => terms * w,
        None => terms,
    };
    Ok(vec![match reduction(a)? {
        Reduction::None => terms,
        Reduction::Sum => terms.sum(..),
        _ => terms.mean(..),
    }])
}

fn class_options(a: &Args) -> R<CrossEntropyOptions> {
    let mut o = CrossEntropyOptions::new()
        .ignore_index(a.int_or(usize::MAX, "ignore_index", -100)? as i64)
        .label_smoothing(a.float_or(usize::MAX, "label_smoothing", 0.0)?)
        .reduction(reduction(a)?);
    if let Some(w) = a.tensor_opt(2, "weight")? {
        o = o.weight(&w);
    }
    Ok(o)
}
