//! Both models learn real digits.

use super::*;
use crate::data::Mnist;
use crate::optim::Adam;
use crate::{Tensor, Tree, value_and_grad};

/// Trains on the first digits; returns the losses and the accuracy on other digits.
fn train<M: Tree>(mut model: M, scores: impl Fn(&M, &Tensor) -> Tensor, steps: usize) -> (Vec<f32>, f64) {
    let data = Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist10k")).unwrap();
    let mut opt = Adam::new(3e-3);
    let mut losses = Vec::new();
    for batch in data.train.batches(64).unwrap().shuffle(1, 0).take(steps) {
        let (x, y) = batch.unwrap();
        let (loss, grads) = value_and_grad(|m: &M| scores(m, &x).cross_entropy(&y), &model);
        opt.step(&mut model, &grads).unwrap();
        losses.push(loss.item::<f32>().unwrap());
    }
    let (x, y) = data.test.get(&(0..500).collect::<Vec<_>>()).unwrap();
    let right = scores(&model, &x).argmax(-1).eq(&y).cast(crate::DType::F32).mean(..);
    (losses, right.item::<f64>().unwrap())
}

#[test]
fn mlp_learns_digits() {
    let (losses, accuracy) = train(Mlp::new(&[784, 32, 10]), |m, x| m.forward(x), 60);
    assert!(losses[0] > 2.0 && losses[59] < 1.0, "{losses:?}");
    assert!(accuracy > 0.8, "{accuracy}");
}

#[test]
fn cnn_learns_digits() {
    let (losses, accuracy) = train(Cnn::new([28, 28], 10), |m, x| m.forward(x), 40);
    assert!(losses[0] > 2.0 && losses[39] < 1.0, "{losses:?}");
    assert!(accuracy > 0.7, "{accuracy}");
}
