//! The planner's arena against the most bytes that are alive at any time of the order it chose: at most 1.1 times as many.

use crate::rng::Rng;
use lazuli::base::DeviceId;
use lazuli::models::{Cnn, Mlp};
use lazuli::plan::of_trace;
use lazuli::prelude::*;
use lazuli::trace::generate::random_program;

fn data(shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_vec(Rng(n as u64).floats(n, -1.0, 1.0), shape)
}

#[track_caller]
fn check(what: &str, r: &lazuli::plan::Report) {
    assert!(
        r.arena_bytes() as f64 <= 1.1 * r.live_bytes() as f64,
        "{what}: an arena of {} bytes for {} alive",
        r.arena_bytes(),
        r.live_bytes()
    );
}

fn step<M: Tree>(what: &str, model: &M, loss: impl Fn(&M) -> Tensor) {
    let (loss, g) = value_and_grad(loss, model);
    let all: Vec<Tensor> = std::iter::once(loss).chain(lazuli::function::tree::leaves(&g)).collect();
    let r = lazuli::explain(&all);
    assert!(r.live_bytes() > 0, "{what} keeps nothing: {r}");
    check(what, &r);
}

#[test]
fn training_steps() {
    let labels = Tensor::from_vec((0..64).map(|i| i % 10).collect::<Vec<i64>>(), [64]);
    step("mlp", &Mlp::new(&[784, 512, 512, 10]), |m| m.forward(&data(&[64, 784])).cross_entropy(&labels));
    step("cnn", &Cnn::new([28, 28], 10), |m| m.forward(&data(&[64, 28, 28])).cross_entropy(&labels));
    let layer: Vec<Tensor> = [[64, 192], [64, 64], [64, 256], [256, 64]].iter().map(|s| data(s)).collect();
    let x = data(&[2, 128, 64]);
    let attention = |p: &Vec<Tensor>| {
        let mut x = x.clone();
        for _ in 0..4 {
            let qkv = x.layer_norm([64], None, None, 1e-5).matmul(&p[0]).reshape([2, 128, 3, 4, 16]);
            let [q, k, v] = [0, 1, 2].map(|i| qkv.slice(s![.., .., i]).transpose(1, 2));
            let a = (q.matmul(&k.transpose(2, 3)) * 0.25).softmax(-1).matmul(&v);
            x = &x + a.transpose(1, 2).reshape([2, 128, 64]).matmul(&p[1]);
            x = &x + x.layer_norm([64], None, None, 1e-5).matmul(&p[2]).gelu().matmul(&p[3]);
        }
        x.square().mean(..)
    };
    step("transformer", &layer, attention);
}

#[test]
fn random_traces() {
    let cpu = lazuli::backend::of(DeviceId(0));
    for seed in 0..400 {
        let p = random_program(seed, 10 + seed as usize % 60);
        check(&format!("program {seed}"), &of_trace(&p.trace, cpu).unwrap());
    }
}
