//! Training steps: forward, loss, backward, optimiser, loss read back.

use super::data::{dense, ids, normal, randn};
use super::{Case, Produced, Rate, Step};
use crate::base::Result;
use crate::base::error::bail;
use crate::optim::Adam;
use crate::{Tensor, fori_loop, jit, value_and_grad};

/// Steps of `sgd_regress`.
const STEPS: usize = 10_000;

pub fn cases() -> Vec<Case> {
    let mlp_what = "784-512-512-10, relu, batch 128, cross-entropy, Adam, loss read";
    let lenet_what = "LeNet, 1x28x28, batch 64, cross-entropy, Adam, loss read";
    let regress_what = "10,000 steps of linear regression, w[100], b, 64 batches of 32 rows";
    let steps = Rate::Steps(STEPS as f64);
    vec![
        Case::new("mlp_step", mlp_what, 411e6, 0.0, || train(mlp_parts())),
        Case::new("mlp_step_jit", "as mlp_step, the step by jit", 411e6, 0.0, || train_jit(mlp_parts())),
        Case::new("lenet_step", lenet_what, 145e6, 0.0, || train(lenet_parts())),
        Case::new("lenet_step_jit", "as lenet_step, the step by jit", 145e6, 0.0, || train_jit(lenet_parts())),
        Case::new("sgd_regress", regress_what, 0.0, 0.0, || regress(false)).rate(steps),
        Case::new("sgd_regress_jit", "as sgd_regress, the step by jit", 0.0, 0.0, || regress(true)).rate(steps),
        Case::new("sgd_regress_scan", "as sgd_regress, all steps one loop in the trace", 0.0, 0.0, regress_loop).rate(steps),
    ]
}

/// Parameters, a batch, its labels, and the network.
type Parts = (Vec<Tensor>, Tensor, Tensor, Model);

fn mlp_parts() -> Parts {
    let parameters = [dense(784, 512, 1), dense(512, 512, 2), dense(512, 10, 3)].into_iter().flatten().collect();
    (parameters, randn([128, 784], 0, 1.0), ids(128, 10, 9), mlp)
}

fn lenet_parts() -> Parts {
    let mut parameters = vec![randn([6, 1, 5, 5], 1, 0.2), randn([6], 2, 0.01), randn([16, 6, 5, 5], 3, 0.08), randn([16], 4, 0.01)];
    parameters.extend([dense(400, 120, 5), dense(120, 84, 6), dense(84, 10, 7)].into_iter().flatten());
    (parameters, randn([64, 1, 28, 28], 0, 1.0), ids(64, 10, 9), lenet)
}

type Model = fn(&[Tensor], &Tensor) -> Tensor;

fn train((mut parameters, x, y, model): Parts) -> Result<Step> {
    let mut adam = Adam::new(1e-3);
    Ok(Box::new(move || {
        let (loss, gradients) = value_and_grad(|p: &Vec<Tensor>| model(p, &x).cross_entropy(&y), &parameters);
        adam.step(&mut parameters, &gradients)?;
        Ok(Produced::Number(loss.item::<f32>()? as f64))
    }))
}

fn train_jit((parameters, x, y, model): Parts) -> Result<Step> {
    let step = jit(move |(mut parameters, mut adam): (Vec<Tensor>, Adam)| {
        let (loss, gradients) = value_and_grad(|p: &Vec<Tensor>| model(p, &x).cross_entropy(&y), &parameters);
        adam.step(&mut parameters, &gradients)?;
        Ok((parameters, adam, loss))
    });
    let mut state = Some((parameters, Adam::new(1e-3)));
    Ok(Box::new(move || {
        let Some(now) = state.take() else { bail!(Internal, "an earlier step failed") };
        let (parameters, adam, loss) = step(now)?;
        state = Some((parameters, adam));
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

/// Weights and bias.
type At = (Tensor, Tensor);

fn batches() -> Vec<(Tensor, Tensor)> {
    let truth = normal(100, 1, 1.0);
    let batch = |i: u64| {
        let (x, noise) = (normal(32 * 100, 100 + i, 1.0), normal(32, 200 + i, 0.1));
        let y = x.chunks(100).zip(noise).map(|(row, e)| row.iter().zip(&truth).map(|(a, b)| a * b).sum::<f32>() + 0.5 + e).collect();
        (Tensor::from_vec(x, [32, 100]), Tensor::from_vec(y, [32]))
    };
    (0..64).map(batch).collect()
}

fn descend((at, x, y): (At, Tensor, Tensor)) -> At {
    let (_, (gw, gb)) = value_and_grad(|(w, b): &At| (x.matmul(w) + b - &y).square().mean(..), &at);
    (&at.0 - gw * 0.01, &at.1 - gb * 0.01)
}

fn regress_loop() -> Result<Step> {
    let (xs, ys): (Vec<Tensor>, Vec<Tensor>) = batches().into_iter().unzip();
    let (xs, ys) = (Tensor::stack(&xs, 0), Tensor::stack(&ys, 0));
    crate::eval(&[&xs, &ys])?;
    Ok(Box::new(move || {
        let at = fori_loop(0..STEPS, (Tensor::zeros([100]), Tensor::zeros([])), |i, at: At| {
            let row = (i % 64).reshape([1]);
            descend((at, xs.index_select(0, &row).select(0, 0), ys.index_select(0, &row).select(0, 0)))
        });
        Ok(Produced::Tensors(vec![at.0]))
    }))
}

fn regress(recorded: bool) -> Result<Step> {
    let batches = batches();
    let step = jit(descend);
    Ok(Box::new(move || {
        let mut at = (Tensor::zeros([100]), Tensor::zeros([]));
        for i in 0..STEPS {
            let (x, y) = batches[i % 64].clone();
            if recorded {
                at = step((at, x, y))?;
            } else {
                at = descend((at, x, y));
                crate::eval(&[&at.0, &at.1])?;
            }
        }
        Ok(Produced::Tensors(vec![at.0]))
    }))
}
