//! A whole encoder layer, forward and backward.

use super::contraction::attention;
use super::data::{dense, randn};
use super::memory::layer_norm;
use super::{Case, Produced};
use crate::{Tensor, vjp};

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "bert_layer_fwdbwd",
        "post-norm encoder layer, hidden 768, 12 heads, ffn 3072, gelu, batch 4, seq 128; gradients of input and parameters",
        22350e6,
        0.0,
        || {
            let (x, dy) = (randn([4, 128, 768], 0, 1.0), randn([4, 128, 768], 5, 1.0));
            let norm = || [Tensor::ones([768]), Tensor::zeros([768])];
            let parameters: Vec<Tensor> =
                [dense(768, 2304, 1), dense(768, 768, 2), norm(), dense(768, 3072, 3), dense(3072, 768, 4), norm()]
                    .into_iter()
                    .flatten()
                    .collect();
            crate::eval(&parameters)?;
            let at = (x, parameters);
            Ok(Box::new(move || {
                let (y, pull) = vjp(|(x, p): &(Tensor, Vec<Tensor>)| encoder(x, p), &at);
                let (dx, dp) = pull(&dy);
                let mut all = vec![y, dx];
                all.extend(dp);
                Ok(Produced::Tensors(all))
            }))
        },
    )]
}

fn encoder(x: &Tensor, p: &[Tensor]) -> Tensor {
    let [wqkv, bqkv, wo, bo, g1, b1, w1, c1, w2, c2, g2, b2] = p else { panic!("an encoder layer has 12 parameters") };
    let (batch, seq) = (x.shape()[0], x.shape()[1]);
    let qkv = (x.matmul(wqkv) + bqkv).reshape([batch, seq, 3, 12, 64]).permute([2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|i| qkv.select(0, i));
    let a = attention(&q, &k, &v).permute([0, 2, 1, 3]).reshape([batch, seq, 768]);
    let x = layer_norm(&(x + (a.matmul(wo) + bo)), g1, b1);
    let f = (x.matmul(w1) + c1).gelu_tanh().matmul(w2) + c2;
    layer_norm(&(&x + f), g2, b2)
}
