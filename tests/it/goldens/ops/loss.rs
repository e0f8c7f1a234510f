//! Losses. `size_average` and `reduce`, which PyTorch keeps for old programs, are null in every case.

use super::Table;
use crate::goldens::args::{Args, R};
use lazuli::Tensor;
use lazuli::tensor::{CrossEntropyOptions, KlOptions, NllOptions, Reduction, TripletOptions};

/// A loss with a reduction at a position, and perhaps a number at one.
macro_rules! loss {
    ($with:ident, $reduction:literal $(, $arg:literal $at:literal $default:expr)*) => {
        |a| {
            let (x, t) = pair(a)?;
            Ok(vec![x.$with(&t $(, a.float_or($at, $arg, $default)?)*, reduction(a, $reduction)?)])
        }
    };
}

/// As [`loss!`], with a weight of the terms at a position.
macro_rules! weighted_loss {
    ($with:ident, $mean:ident, $reduction:literal, $weight:literal $(, $arg:literal $at:literal $default:expr)*) => {
        |a| {
            let ((x, t), r) = (pair(a)?, reduction(a, $reduction)?);
            Ok(vec![match a.tensor_opt($weight, "weight")? {
                None => x.$with(&t $(, a.float_or($at, $arg, $default)?)*, r),
                Some(w) => $mean(x.$with(&t $(, a.float_or($at, $arg, $default)?)*, Reduction::None) * &w, &w, r),
            }])
        }
    };
}

pub const TABLE: Table = &[
    ("nn.functional.cross_entropy", |a| {
        let (x, t) = pair(a)?;
        let o = class_options(a)?.label_smoothing(a.float_or(7, "label_smoothing", 0.0)?);
        Ok(vec![x.cross_entropy_with(&t, &o)])
    }),
    ("nn.functional.nll_loss", |a| {
        let (x, t) = pair(a)?;
        Ok(vec![x.nll_loss_with(&t, &class_options(a)?)])
    }),
    ("nn.functional.mse_loss", weighted_loss!(mse_loss_with, weighted_mean, 4, 5)),
    ("nn.functional.l1_loss", weighted_loss!(l1_loss_with, weighted_mean, 4, 5)),
    ("nn.functional.huber_loss", weighted_loss!(huber_loss_with, plain_mean, 2, 4, "delta" 3 1.0)),
    ("nn.functional.smooth_l1_loss", loss!(smooth_l1_loss_with, 4, "beta" 5 1.0)),
    ("nn.functional.soft_margin_loss", loss!(soft_margin_loss_with, 4)),
    ("nn.functional.hinge_embedding_loss", loss!(hinge_embedding_loss_with, 5, "margin" 2 1.0)),
    ("nn.functional.binary_cross_entropy", |a| {
        let ((x, t), w) = (pair(a)?, a.tensor_opt(2, "weight")?);
        Ok(vec![x.binary_cross_entropy_weighted(&t, w.as_ref(), reduction(a, 5)?)])
    }),
    ("nn.functional.binary_cross_entropy_with_logits", |a| {
        let ((x, t), w, p) = (pair(a)?, a.tensor_opt(2, "weight")?, a.tensor_opt(6, "pos_weight")?);
        Ok(vec![x.binary_cross_entropy_with_logits_weighted(&t, w.as_ref(), p.as_ref(), reduction(a, 5)?)])
    }),
    ("nn.functional.kl_div", |a| {
        let (x, t) = pair(a)?;
        let o = KlOptions::new().log_target(a.bool_or(5, "log_target", false)?);
        let o = if a.str_or(4, "reduction", "mean")? == "batchmean" { o.batch_mean() } else { o.reduction(reduction(a, 4)?) };
        Ok(vec![x.kl_div_options(&t, &o)])
    }),
    ("nn.functional.poisson_nll_loss", |a| {
        let (x, t) = pair(a)?;
        let o = NllOptions::new().log_input(a.bool_or(2, "log_input", true)?).full(a.bool_or(3, "full", false)?);
        Ok(vec![x.poisson_nll_loss_options(&t, &o.eps(a.float_or(5, "eps", 1e-8)?).reduction(reduction(a, 7)?))])
    }),
    ("nn.functional.gaussian_nll_loss", |a| {
        let ((x, t), var) = (pair(a)?, a.tensor(2, "var")?);
        let o = NllOptions::new().full(a.bool_or(3, "full", false)?).eps(a.float_or(4, "eps", 1e-6)?);
        Ok(vec![x.gaussian_nll_loss_with(&t, &var, &o.reduction(reduction(a, 5)?))])
    }),
    ("nn.functional.margin_ranking_loss", |a| {
        let (x, y, t) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?, a.tensor(2, "target")?);
        Ok(vec![x.margin_ranking_loss_with(&y, &t, a.float_or(3, "margin", 0.0)?, reduction(a, 6)?)])
    }),
    ("nn.functional.triplet_margin_loss", |a| {
        let (x, p, n) = (a.tensor(0, "anchor")?, a.tensor(1, "positive")?, a.tensor(2, "negative")?);
        let o = TripletOptions::new().margin(a.float_or(3, "margin", 1.0)?).p(a.float_or(4, "p", 2.0)?).eps(a.float_or(5, "eps", 1e-6)?);
        Ok(vec![x.triplet_margin_loss_with(&p, &n, &o.swap(a.bool_or(6, "swap", false)?).reduction(reduction(a, 9)?))])
    }),
    ("nn.functional.cosine_embedding_loss", |a| {
        let (x, y, t) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?, a.tensor(2, "target")?);
        Ok(vec![x.cosine_embedding_loss_with(&y, &t, a.float_or(3, "margin", 0.0)?, reduction(a, 6)?)])
    }),
    ("nn.functional.pairwise_distance", |a| {
        let (x, y) = (a.tensor(0, "x1")?, a.tensor(1, "x2")?);
        let d = x.pairwise_distance(&y, a.float_or(2, "p", 2.0)?, a.float_or(3, "eps", 1e-6)?);
        Ok(vec![if a.bool_or(4, "keepdim", false)? { d.unsqueeze(-1) } else { d }])
    }),
];

fn pair(a: &Args) -> R<(Tensor, Tensor)> {
    Ok((a.tensor(0, "input")?, a.tensor(1, "target")?))
}

fn reduction(a: &Args, at: usize) -> R<Reduction> {
    Ok(match a.str_or(at, "reduction", "mean")? {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        r => return Err(format!("reduction {r}")),
    })
}

fn plain_mean(terms: Tensor, _: &Tensor, r: Reduction) -> Tensor {
    match r {
        Reduction::None => terms,
        Reduction::Sum => terms.sum(..),
        _ => terms.mean(..),
    }
}

/// The mean over the sum of weights.
fn weighted_mean(terms: Tensor, weight: &Tensor, r: Reduction) -> Tensor {
    if r == Reduction::Mean { terms.sum(..) / weight.sum(..) } else { plain_mean(terms, weight, r) }
}

fn class_options(a: &Args) -> R<CrossEntropyOptions> {
    let o = CrossEntropyOptions::new().ignore_index(a.int_or(4, "ignore_index", -100)? as i64).reduction(reduction(a, 6)?);
    Ok(match a.tensor_opt(2, "weight")? {
        Some(w) => o.weight(&w),
        None => o,
    })
}
