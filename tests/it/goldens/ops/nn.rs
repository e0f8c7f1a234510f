//! Activations, normalisation, attention.

use super::{Table, operand};
use crate::goldens::args::{Args, R};
use lazuli::{AttentionOptions, AttentionWeights, DType, Tensor};

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
    ("nn.functional.hardshrink", |a| Ok(vec![a.tensor(0, "input")?.hardshrink(a.float_or(1, "lambd", 0.5)?)])),
    ("nn.functional.softshrink", |a| Ok(vec![a.tensor(0, "input")?.softshrink(a.float_or(1, "lambd", 0.5)?)])),
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
                let _ = a.get(i, ["", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"][i]);
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
    ("nn.functional.local_response_norm", |a| {
        let (x, size) = (a.tensor(0, "input")?, a.int(1, "size")? as usize);
        Ok(vec![x.local_response_norm(size, a.float_or(2, "alpha", 1e-4)?, a.float_or(3, "beta", 0.75)?, a.float_or(4, "k", 1.0)?)])
    }),
    ("nn.functional.multi_head_attention_forward", multi_head),
];

fn attention(a: &Args) -> R {
    let (q, k, v) = (a.tensor(0, "query")?, a.tensor(1, "key")?, a.tensor(2, "value")?);
    let mut o = AttentionOptions::new().dropout(a.float_or(4, "dropout_p", 0.0)?).causal(a.bool_or(5, "is_causal", false)?);
    if let Some(m) = a.tensor_opt(3, "attn_mask")? {
        o = o.mask(&m);
    }
    if let Some(s) = a.float_opt(6, "scale")? {
        o = o.scale(s);
    }
    Ok(vec![q.scaled_dot_product_attention(&k, &v, &o.grouped(a.bool_or(7, "enable_gqa", false)?))])
}

/// `multi_head_attention_forward(query, key, value, embed_dim, heads, in_proj_weight, in_proj_bias, bias_k, bias_v, add_zero_attn,
/// dropout_p, out_proj_weight, out_proj_bias, training, key_padding_mask, need_weights, attn_mask, use_separate_proj_weight,
/// q_proj_weight, k_proj_weight, v_proj_weight, static_k, static_v, average_attn_weights, is_causal)`: lengths come first, masks say
/// where not to look.
fn multi_head(a: &Args) -> R {
    let (q, k, v) = (a.tensor(0, "query")?, a.tensor(1, "key")?, a.tensor(2, "value")?);
    a.get(3, "embed_dim_to_check");
    let heads = a.int(4, "num_heads")? as usize;
    let (out, out_bias) = (a.tensor(11, "out_proj_weight")?, a.tensor_opt(12, "out_proj_bias")?);
    let bias = a.tensor_opt(6, "in_proj_bias")?;
    let separate = a.bool_or(17, "use_separate_proj_weight", false)?;
    let own = [a.tensor_opt(18, "q_proj_weight")?, a.tensor_opt(19, "k_proj_weight")?, a.tensor_opt(20, "v_proj_weight")?];
    let packed = match (separate, own, a.tensor_opt(5, "in_proj_weight")?) {
        (true, [Some(x), Some(y), Some(z)], _) => {
            let mut w = AttentionWeights::packed(&Tensor::cat(&[&x, &x, &x], 0), bias.as_ref(), &out, out_bias.as_ref());
            w.input = [x, y, z];
            w
        }
        (false, _, Some(w)) => AttentionWeights::packed(&w, bias.as_ref(), &out, out_bias.as_ref()),
        _ => return Err("no projections".into()),
    };
    let mut w = packed;
    if let (Some(x), Some(y)) = (a.tensor_opt(7, "bias_k")?, a.tensor_opt(8, "bias_v")?) {
        w.extra = Some([x, y]);
    }
    w.zero_key = a.bool_or(9, "add_zero_attn", false)?;
    let training = a.bool_or(13, "training", true)?;
    let p = a.float_or(10, "dropout_p", 0.0)?;
    let mut o = AttentionOptions::new().dropout(if training { p } else { 0.0 });
    // As numbers to add: minus infinity where not to look.
    let added = |m: Tensor| if m.dtype() == DType::Bool { Tensor::where_(&m, f64::NEG_INFINITY, 0.0) } else { m };
    let mask = match a.tensor_opt(16, "attn_mask")? {
        // [L, S], or [B heads, L, S]
        Some(m) if m.rank() == 3 => Some(added(m.unflatten(0, [-1, heads as isize]))),
        Some(m) => Some(added(m)),
        None => None,
    };
    let hidden = a.tensor_opt(14, "key_padding_mask")?.map(|m| if m.rank() == 2 { added(m).unsqueeze(1).unsqueeze(1) } else { added(m) });
    if let Some(m) = match (mask, hidden) {
        (Some(m), Some(h)) => Some(m + h),
        (m, h) => m.or(h),
    } {
        o = o.mask(&m);
    }
    a.get(24, "is_causal");
    let first = |t: &Tensor| if t.rank() == 3 { t.transpose(0, 1) } else { t.clone() };
    let (y, weights) = first(&q).multi_head_attention(&first(&k), &first(&v), heads, &w, &o);
    let mut outputs = vec![first(&y)];
    if a.bool_or(15, "need_weights", true)? {
        outputs.push(if a.bool_or(23, "average_attn_weights", true)? { weights.mean(-3) } else { weights });
    }
    Ok(outputs)
}
