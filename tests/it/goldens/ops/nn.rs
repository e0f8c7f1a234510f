//! Activations, normalisation, attention.

use super::{Table, operand};
use crate::goldens::args::{Args, R};
use lazuli::Tensor;

macro_rules! activation {
    ($method:ident) => {
        |a| {
            a.ignore("inplace");
            Ok(vec![a.tensor(0, "input")?.$method()])
        }
    };
}

pub const TABLE: Table = &[
    ("nn.functional.relu", activation!(relu)),
    ("nn.functional.relu6", activation!(relu6)),
    ("nn.functional.selu", activation!(selu)),
    ("nn.functional.silu", activation!(silu)),
    ("nn.functional.mish", activation!(mish)),
    ("nn.functional.tanhshrink", activation!(tanhshrink)),
    ("nn.functional.softsign", activation!(softsign)),
    ("nn.functional.logsigmoid", activation!(logsigmoid)),
    ("nn.functional.hardsigmoid", activation!(hardsigmoid)),
    ("nn.functional.hardswish", activation!(hardswish)),
    ("nn.functional.gelu", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![match a.str_or(usize::MAX, "approximate", "none")? {
            "none" => x.gelu(),
            "tanh" => x.gelu_tanh(),
            m => return Err(format!("approximate={m}")),
        }])
    }),
    ("nn.functional.hardtanh", |a| {
        a.ignore("inplace");
        Ok(vec![a.tensor(0, "input")?.hardtanh(a.float_or(1, "min_val", -1.0)?, a.float_or(2, "max_val", 1.0)?)])
    }),
    ("nn.functional.elu", |a| {
        a.ignore("inplace");
        Ok(vec![a.tensor(0, "input")?.elu(a.float_or(1, "alpha", 1.0)?)])
    }),
    ("nn.functional.celu", |a| {
        a.ignore("inplace");
        Ok(vec![a.tensor(0, "input")?.celu(a.float_or(1, "alpha", 1.0)?)])
    }),
    ("nn.functional.leaky_relu", |a| {
        a.ignore("inplace");
        Ok(vec![a.tensor(0, "input")?.leaky_relu(a.float_or(1, "negative_slope", 0.01)?)])
    }),
    ("nn.functional.softplus", |a| {
        Ok(vec![a.tensor(0, "input")?.softplus_with(a.float_or(1, "beta", 1.0)?, a.float_or(2, "threshold", 20.0)?)])
    }),
    ("nn.functional.threshold", |a| {
        a.ignore("inplace");
        let x = a.tensor(0, "input")?;
        Ok(vec![operand!(a.either(1, "threshold")?, t => operand!(a.either(2, "value")?, v => x.threshold(t, v)))])
    }),
    ("nn.functional.hardshrink", |a| {
        let (x, l) = (a.tensor(0, "input")?, a.float_or(1, "lambd", 0.5)?);
        Ok(vec![Tensor::where_(&x.abs().le(l), 0.0, &x)])
    }),
    ("nn.functional.softshrink", |a| {
        let (x, l) = (a.tensor(0, "input")?, a.float_or(1, "lambd", 0.5)?);
        Ok(vec![Tensor::where_(&x.gt(l), &x - l, Tensor::where_(&x.lt(-l), &x + l, &x * 0.0))])
    }),
    ("nn.functional.prelu", |a| Ok(vec![a.tensor(0, "input")?.prelu(&a.tensor(1, "weight")?)])),
    ("nn.functional.glu", |a| Ok(vec![a.tensor(0, "input")?.glu(a.int_or(1, "dim", -1)?)])),
    ("nn.functional.normalize", |a| {
        let x = a.tensor(0, "input")?;
        Ok(vec![x.normalize(a.float_or(1, "p", 2.0)?, a.int_or(2, "dim", 1)?, a.float_or(3, "eps", 1e-12)?)])
    }),
    ("nn.functional.layer_norm", |a| {
        let (x, shape) = (a.tensor(0, "input")?, a.usizes(1, "normalized_shape")?);
        let (w, b) = (a.tensor_opt(2, "weight")?, a.tensor_opt(3, "bias")?);
        Ok(vec![x.layer_norm(shape, w.as_ref(), b.as_ref(), a.float_or(4, "eps", 1e-5)?)])
    }),
    ("nn.functional.rms_norm", |a| {
        let (x, shape) = (a.tensor(0, "input")?, a.usizes(1, "normalized_shape")?);
        let w = a.tensor_opt(2, "weight")?;
        Ok(vec![x.rms_norm(shape, w.as_ref(), a.float_or(3, "eps", f32::EPSILON as f64)?)])
    }),
    ("nn.functional.group_norm", |a| {
        let (x, groups) = (a.tensor(0, "input")?, a.int(1, "num_groups")? as usize);
        let (w, b) = (a.tensor_opt(2, "weight")?, a.tensor_opt(3, "bias")?);
        Ok(vec![x.group_norm(groups, w.as_ref(), b.as_ref(), a.float_or(4, "eps", 1e-5)?)])
    }),
    ("nn.functional.batch_norm", |a| {
        let x = a.tensor(0, "input")?;
        if x.numel() == 0 && x.rank() < 2 {
            // PyTorch hands an empty input through before it looks for channels.
            (1..8).for_each(|i| {
                let _ = a.get(i, ["", "", "", "", "", "training", "momentum", "eps"][i]);
            });
            return Ok(vec![x]);
        }
        let (mean, var) = (a.tensor_opt(1, "running_mean")?, a.tensor_opt(2, "running_var")?);
        let (w, b) = (a.tensor_opt(3, "weight")?, a.tensor_opt(4, "bias")?);
        let (training, eps) = (a.bool_or(5, "training", false)?, a.float_or(7, "eps", 1e-5)?);
        // New running statistics are no output of the call.
        a.get(6, "momentum");
        let (mean, var) = match (training, mean, var) {
            (false, Some(m), Some(v)) => (m, v),
            _ => {
                let axes: Vec<usize> = (0..x.rank()).filter(|&i| i != 1).collect();
                x.mean_var(axes, 0)
            }
        };
        Ok(vec![x.batch_norm(&mean, &var, w.as_ref(), b.as_ref(), eps)])
    }),
    ("nn.functional.instance_norm", |a| {
        let x = a.tensor(0, "input")?;
        let (mean, var) = (a.tensor_opt(1, "running_mean")?, a.tensor_opt(2, "running_var")?);
        let (w, b) = (a.tensor_opt(3, "weight")?, a.tensor_opt(4, "bias")?);
        let own = a.bool_or(5, "use_input_stats", true)?;
        let eps = a.float_or(7, "eps", 1e-5)?;
        a.get(6, "momentum");
        if let (false, Some(m), Some(v)) = (own, mean, var) {
            return Ok(vec![x.batch_norm(&m, &v, w.as_ref(), b.as_ref(), eps)]);
        }
        Ok(vec![x.instance_norm(w.as_ref(), b.as_ref(), eps)])
    }),
    ("nn.functional.scaled_dot_product_attention", attention),
    ("nn.functional.cosine_similarity", |a| {
        let (x, y, d) = (a.tensor(0, "x1")?, a.tensor(1, "x2")?, a.int_or(2, "dim", 1)?);
        Ok(vec![x.cosine_similarity(&y, d, a.float_or(3, "eps", 1e-8)?)])
    }),
    ("nn.functional.pairwise_distance", |a| {
        let (x, y) = (a.tensor(0, "x1")?, a.tensor(1, "x2")?);
        let (p, eps) = (a.float_or(2, "p", 2.0)?, a.float_or(3, "eps", 1e-6)?);
        let d = &x - &y + eps;
        Ok(vec![if a.bool_or(4, "keepdim", false)? { d.norm_keepdim(p, -1) } else { d.norm(p, -1) }])
    }),
    ("nn.functional.dropout", random),
    ("nn.functional.alpha_dropout", random),
    ("nn.functional.feature_alpha_dropout", random),
];

fn random(_: &Args) -> R {
    Err("dropout is random".into())
}

fn attention(a: &Args) -> R {
    if a.float_or(4, "dropout_p", 0.0)? > 0.0 {
        return Err("dropout is random".into());
    }
    let (q, mut k, mut v) = (a.tensor(0, "query")?, a.tensor(1, "key")?, a.tensor(2, "value")?);
    let mask = a.tensor_opt(3, "attn_mask")?;
    let causal = a.bool_or(5, "is_causal", false)?;
    let scale = a.float_opt(6, "scale")?;
    if a.bool_or(7, "enable_gqa", false)? && q.rank() > 2 {
        let heads = q.shape()[q.rank() - 3];
        for t in [&mut k, &mut v] {
            let own = t.shape()[t.rank() - 3];
            *t = t.repeat_interleave(heads / own, -3);
        }
    }
    Ok(vec![q.attention(&k, &v, mask.as_ref(), causal, scale)])
}
