//! Training steps: forward, loss, backward, optimiser, loss read back.

use super::data::{dense, ids, normal, randn};
use super::{Case, Produced, Rate, Step};
use crate::base::Result;
use crate::optim::Adam;
use crate::{Tensor, value_and_grad};

/// Steps of `sgd_regress`.
const STEPS: usize = 10_000;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("mlp_step", "784-512-512-10, relu, batch 128, cross-entropy, Adam, loss read", 411e6, 0.0, || {
            let parameters: Vec<Tensor> = [dense(784, 512, 1), dense(512, 512, 2), dense(512, 10, 3)].into_iter().flatten().collect();
            train(parameters, randn([128, 784], 0, 1.0), ids(128, 10, 9), mlp)
        }),
        Case::new("lenet_step", "LeNet, 1x28x28, batch 64, cross-entropy, Adam, loss read", 145e6, 0.0, || {
            let mut parameters =
                vec![randn([6, 1, 5, 5], 1, 0.2), randn([6], 2, 0.01), randn([16, 6, 5, 5], 3, 0.08), randn([16], 4, 0.01)];
            parameters.extend([dense(400, 120, 5), dense(120, 84, 6), dense(84, 10, 7)].into_iter().flatten());
            train(parameters, randn([64, 1, 28, 28], 0, 1.0), ids(64, 10, 9), lenet)
        }),
        Case::new("sgd_regress", "10,000 steps of linear regression, w[100], b, 64 batches of 32 rows", 0.0, 0.0, regress)
            .rate(Rate::Steps(STEPS as f64)),
    ]
}

type Model = fn(&[Tensor], &Tensor) -> Tensor;

fn train(parameters: Vec<Tensor>, x: Tensor, y: Tensor, model: Model) -> Result<Step> {
    let (mut parameters, mut adam) = (parameters, Adam::new(1e-3));
    Ok(Box::new(move || {
        let (loss, gradients) = value_and_grad(|p: &Vec<Tensor>| model(p, &x).cross_entropy(&y), &parameters);
        adam.step(&mut parameters, &gradients)?;
        Ok(Produced::Number(loss.item::<f32>()? as f64))
    }))
}

fn linear(x: &Tensor, p: &[Tensor]) -> Tensor {
    x.matmul(&p[0]) + &p[1]
}

fn mlp(p: &[Tensor], x: &Tensor) -> Tensor {
    let x = linear(x, &p[0..]).relu();
    let x = linear(&x, &p[2..]).relu();
    linear(&x, &p[4..])
}

fn lenet(p: &[Tensor], x: &Tensor) -> Tensor {
    let x = x.conv2d(&p[0], Some(&p[1]), [1], [2], [1], 1).relu().max_pool2d([2], [2], [0]);
    let x = x.conv2d(&p[2], Some(&p[3]), [1], [0], [1], 1).relu().max_pool2d([2], [2], [0]);
    let x = x.reshape([-1, 400]);
    let x = linear(&x, &p[4..]).relu();
    let x = linear(&x, &p[6..]).relu();
    linear(&x, &p[8..])
}

fn regress() -> Result<Step> {
    let truth = normal(100, 1, 1.0);
    let batches: Vec<(Tensor, Tensor)> = (0..64)
        .map(|i| {
            let (x, noise) = (normal(32 * 100, 100 + i, 1.0), normal(32, 200 + i, 0.1));
            let y = x.chunks(100).zip(noise).map(|(row, e)| row.iter().zip(&truth).map(|(a, b)| a * b).sum::<f32>() + 0.5 + e).collect();
            (Tensor::from_vec(x, [32, 100]), Tensor::from_vec(y, [32]))
        })
        .collect();
    Ok(Box::new(move || {
        let mut at = (Tensor::zeros([100]), Tensor::zeros([]));
        for i in 0..STEPS {
            let (x, y) = &batches[i % 64];
            let (_, (gw, gb)) = value_and_grad(|(w, b): &(Tensor, Tensor)| (x.matmul(w) + b - y).square().mean(..), &at);
            at = (&at.0 - gw * 0.01, &at.1 - gb * 0.01);
            crate::eval(&[&at.0, &at.1])?;
        }
        Ok(Produced::Tensors(vec![at.0]))
    }))
}
