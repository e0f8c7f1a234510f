//! Matrix products, convolutions, attention: what arithmetic limits.

use super::data::randn;
use super::{Case, MIB, Produced, Step};
use crate::base::Result;
use crate::{Tensor, vjp};

const N3: f64 = 1073741824.0;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("matmul_1024", "A@B, 1024^3", 2.0 * N3, 12.0 * MIB, || matmul(1024)),
        Case::new("matmul_2048", "A@B, 2048^3", 16.0 * N3, 48.0 * MIB, || matmul(2048)),
        Case::new("matmul_bias_gelu_1024", "gelu(A@B + bias), 1024^3", 2.0 * N3, 12.0 * MIB, || matmul_bias_gelu(1024)),
        Case::new("matmul_bias_gelu_2048", "gelu(A@B + bias), 2048^3", 16.0 * N3, 48.0 * MIB, || matmul_bias_gelu(2048)),
        Case::new("bmm", "(64,128,64)@(64,64,128)", 134.2e6, 8.0 * MIB, || {
            let (a, b) = (randn([64, 128, 64], 0, 1.0), randn([64, 64, 128], 1, 1.0));
            Ok(Box::new(move || Produced::of([a.matmul(&b)])))
        }),
        Case::new("conv2d_b1_fwd", "3x3, 64->64 channels, 56x56, pad 1, batch 1", 231.2e6, 0.0, || conv(1)),
        Case::new("conv2d_b16_fwd", "the same, batch 16", 3699e6, 0.0, || conv(16)),
        Case::new("conv2d_b1_fwdbwd", "the same, batch 1, then dx and dw for a given dy", 693.6e6, 0.0, || conv_backward(1)),
        Case::new("conv2d_b16_fwdbwd", "the same, batch 16, then dx and dw for a given dy", 11098e6, 0.0, || conv_backward(16)),
        Case::new("attention_s128_fwd", "softmax(q k^T / sqrt(D)) v, B4 H12 S128 D64", 201.3e6, 6.0 * MIB, || attend([4, 12, 128, 64])),
        Case::new("attention_s1024_fwd", "the same, B1 H8 S1024 D64", 2147.5e6, 8.0 * MIB, || attend([1, 8, 1024, 64])),
        Case::new("attention_s128_fwdbwd", "then dq, dk, dv for a given dy", 604e6, 0.0, || attend_backward([4, 12, 128, 64])),
        Case::new("attention_s1024_fwdbwd", "then dq, dk, dv for a given dy", 6442e6, 0.0, || attend_backward([1, 8, 1024, 64])),
    ]
}

fn matmul(n: usize) -> Result<Step> {
    let (a, b) = (randn([n, n], 0, 1.0), randn([n, n], 1, 1.0));
    Ok(Box::new(move || Produced::of([a.matmul(&b)])))
}

fn matmul_bias_gelu(n: usize) -> Result<Step> {
    let (a, b, bias) = (randn([n, n], 0, 1.0), randn([n, n], 1, 1.0), randn([n], 2, 1.0));
    Ok(Box::new(move || Produced::of([(a.matmul(&b) + &bias).gelu_tanh()])))
}

fn conv_inputs(batch: usize) -> (Tensor, Tensor) {
    (randn([batch, 64, 56, 56], 0, 1.0), randn([64, 64, 3, 3], 1, 0.04))
}

fn conv(batch: usize) -> Result<Step> {
    let (x, w) = conv_inputs(batch);
    Ok(Box::new(move || Produced::of([conv3x3(&x, &w)])))
}

fn conv_backward(batch: usize) -> Result<Step> {
    let (at, dy) = (conv_inputs(batch), randn([batch, 64, 56, 56], 2, 1.0));
    Ok(Box::new(move || {
        let (y, pull) = vjp(|(x, w): &(Tensor, Tensor)| conv3x3(x, w), &at);
        let (dx, dw) = pull(&dy);
        Produced::of([y, dx, dw])
    }))
}

fn conv3x3(x: &Tensor, w: &Tensor) -> Tensor {
    x.conv2d(w, None, [1], [1], [1], 1)
}

/// `softmax(q k^T / sqrt(D)) v` over the last two axes.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    q.attention(k, v, None, false, None)
}

fn attend(shape: [usize; 4]) -> Result<Step> {
    let [q, k, v] = [0, 1, 2].map(|seed| randn(shape, seed, 1.0));
    Ok(Box::new(move || Produced::of([attention(&q, &k, &v)])))
}

fn attend_backward(shape: [usize; 4]) -> Result<Step> {
    let [q, k, v, dy] = [0, 1, 2, 3].map(|seed| randn(shape, seed, 1.0));
    let at = (q, k, v);
    Ok(Box::new(move || {
        let (y, pull) = vjp(|(q, k, v): &(Tensor, Tensor, Tensor)| attention(q, k, v), &at);
        let (dq, dk, dv) = pull(&dy);
        Produced::of([y, dq, dk, dv])
    }))
}
