//! How many kernels an evaluation is, by `explain`. A number that grows is a loss of fusion.

use crate::rng::Rng;
use lazuli::prelude::*;

fn data(shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_vec(Rng(n as u64).floats(n, -1.0, 1.0), shape)
}

/// The number of kernels, after checking that all were explained.
#[track_caller]
fn kernels(tensors: &[&Tensor]) -> usize {
    let report = lazuli::explain(tensors);
    let n = report.kernels().len();
    assert!(n > 0, "no kernels: {report}");
    n
}

#[track_caller]
fn at_most(limit: usize, tensors: &[&Tensor]) {
    let n = kernels(tensors);
    assert!(n <= limit, "{n} kernels, expected at most {limit}:\n{}", lazuli::explain(tensors));
}

#[test]
fn a_chain_of_elementwise_ops_is_one_kernel() {
    let (x, y) = (data(&[64, 128]), data(&[64, 128]));
    at_most(1, &[&(((&x * 2.0 + &y).tanh() - &x).exp() / 3.0)]);
}

#[test]
fn views_cost_no_kernel() {
    let x = data(&[8, 12, 20]);
    at_most(1, &[&(x.permute([2, 0, 1]).flip(0).slice(s![1..;2, .., ..]) * 2.0)]);
    at_most(1, &[&(x.reshape([96, 20]).t() + x.select(0, 0).select(0, 1).unsqueeze(1))]);
}

#[test]
fn several_outputs_of_one_domain_are_one_kernel() {
    let x = data(&[1000]);
    let y = x.sin();
    at_most(1, &[&y, &(&y * 2.0), &x.cos()]);
}

#[test]
fn softmax_and_log_softmax() {
    let x = data(&[64, 300]);
    at_most(1, &[&x.softmax(-1)]);
    at_most(1, &[&x.log_softmax(-1)]);
}

#[test]
fn attention() {
    let (q, k, v) = (data(&[2, 3, 20, 8]), data(&[2, 3, 30, 8]), data(&[2, 3, 30, 8]));
    at_most(1, &[&(q.matmul(&k.mt()).softmax(-1).matmul(&v) + &q)]);
    // The weights, if they are asked for, are stored by the softmax.
    let weights = q.matmul(&k.mt()).softmax(-1);
    at_most(3, &[&weights.matmul(&v), &weights]);
}

#[test]
fn softmax_backward() {
    let (x, ct) = (data(&[64, 300]), data(&[64, 300]));
    at_most(1, &[&grad(|x: &Tensor| (x.softmax(-1) * &ct).sum(..), &x)]);
}

#[test]
fn layer_norm_and_rms_norm() {
    let (x, w, b) = (data(&[64, 300]), data(&[300]), data(&[300]));
    at_most(1, &[&x.layer_norm([300], Some(&w), Some(&b), 1e-5)]);
    at_most(1, &[&x.rms_norm([300], Some(&w), 1e-6)]);
}

#[test]
fn layer_norm_backward() {
    let (x, w, b, ct) = (data(&[64, 300]), data(&[300]), data(&[300]), data(&[64, 300]));
    let (dx, dw, db) = grad(
        |(x, w, b): &(Tensor, Tensor, Tensor)| (x.layer_norm([300], Some(w), Some(b), 1e-5) * &ct).sum(..),
        &(x.clone(), w.clone(), b.clone()),
    );
    at_most(2, &[&dx, &dw, &db]);
}

#[test]
fn cross_entropy() {
    let x = data(&[64, 100]);
    let y = Tensor::from_vec((0..64).map(|i| i % 100).collect::<Vec<i64>>(), [64]);
    at_most(2, &[&x.cross_entropy(&y)]);
    at_most(2, &[&grad(|x: &Tensor| x.cross_entropy(&y), &x)]);
}

#[test]
fn an_epilogue_joins_its_product() {
    let (x, w, b) = (data(&[32, 64]), data(&[64, 48]), data(&[48]));
    at_most(1, &[&(x.matmul(&w) + &b).gelu()]);
}

/// Products of parts, and their sum with what follows; of many results, or of a short sum, one kernel.
#[test]
fn a_product_with_a_long_sum_is_two() {
    let (x, w, b) = (data(&[32, 8192]), data(&[8192, 48]), data(&[48]));
    assert_eq!(kernels(&[&(x.matmul(&w) + &b).gelu()]), 2);
    let (x, w) = (data(&[32, 2048]), data(&[2048, 48]));
    at_most(1, &[&x.matmul(&w)]);
    let (x, w) = (data(&[320, 4096]), data(&[4096, 320]));
    at_most(1, &[&x.matmul(&w)]);
    // A gradient and the step it is for.
    let (x, w, ct) = (data(&[8192, 24]), data(&[24, 16]), data(&[8192, 16]));
    let g = grad(|w: &Tensor| (x.matmul(w) * &ct).sum(..), &w);
    at_most(2, &[&(&w - g * 0.1)]);
}

#[test]
fn a_transposed_operand_is_no_kernel() {
    let (x, w) = (data(&[32, 64]), data(&[48, 64]));
    at_most(1, &[&x.matmul(&w.t())]);
}

#[test]
fn columns_standardised() {
    let x = data(&[500, 40]);
    at_most(2, &[&((&x - x.mean_keepdim(0)) / x.std_keepdim(0, 1))]);
}

#[test]
fn a_long_sum_is_split_in_two() {
    let x = Tensor::from_vec(vec![1f32; 1 << 24], [1 << 24]);
    assert_eq!(kernels(&[&x.sum(..)]), 2);
}

#[test]
fn a_short_sum_is_one_kernel() {
    at_most(1, &[&(data(&[1000]) * 2.0).square().sum(..)]);
}

#[test]
fn mean_and_variance_of_rows() {
    let x = data(&[64, 300]);
    let (m, v) = x.mean_var(1, 1);
    at_most(1, &[&m, &v]);
}

#[test]
fn unfused_is_more() {
    // What the counts above save; also that explain tells computed tensors from others.
    let x = data(&[64]);
    let y = (&x * 2.0).exp();
    at_most(1, &[&y]);
    y.eval().unwrap();
    assert_eq!(lazuli::explain(&[&y]).kernels().len(), 0);
}
