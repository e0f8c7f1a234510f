//! Training as a user writes it: what repeats, what compiles, what memory it takes.

use super::alone;
use crate::rng::Rng;
use lazuli::data::Dataset;
use lazuli::models::Mlp;
use lazuli::nn::{BatchNorm, Dropout, Linear};
use lazuli::optim::{Adam, AdamW, RmsProp, Schedule, Sgd, clip_grad_norm};
use lazuli::prelude::*;
use lazuli::{Stats, stats};

/// Points in the plane, in three classes by their angle.
fn points() -> Dataset {
    let x = Rng(5).floats(2 * 192, -1.0, 1.0);
    let class = |p: &[f32]| ((p[1].atan2(p[0]) / std::f32::consts::TAU + 0.5) * 2.999) as i64;
    let y = x.chunks(2).map(class).collect();
    Dataset::from_vecs(x, [192, 2], y, [192]).unwrap()
}

/// Trains for `epochs`; returns the losses.
fn train(epochs: u64, mut step: impl FnMut(&mut Mlp, &Mlp)) -> Vec<f32> {
    manual_seed(11);
    let data = points();
    let mut model = Mlp::new(&[2, 16, 3]);
    let mut losses = Vec::new();
    for epoch in 0..epochs {
        for batch in data.batches(32).unwrap().shuffle(11, epoch).prefetch(2) {
            let (x, y) = batch.unwrap();
            let (loss, g) = value_and_grad(|m: &Mlp| m.forward(&x).cross_entropy(&y), &model);
            step(&mut model, &g);
            losses.push(loss.item::<f32>().unwrap());
        }
    }
    losses
}

/// What two moments must have in common for nothing to have been planned or compiled in between.
fn made(s: Stats) -> (u64, u64) {
    (s.plan_misses, s.compiles)
}

/// Steps with a rate that never repeats plan nothing once the first two are done, and the loss falls.
fn check_optimiser(name: &str, mut step: impl FnMut(f64, &mut Mlp, &Mlp)) {
    let schedule = Schedule::cosine(1.0, 200).warmup(20).floor(0.1);
    let (mut n, mut before) = (0, None);
    let losses = train(20, |model, g| {
        step(schedule.at(n), model, g);
        n += 1;
        // The first step makes the state, the loss of the second is read for the first time.
        if n == 3 {
            before = Some(made(stats()));
        }
    });
    assert_eq!(before, Some(made(stats())), "{name} planned again");
    let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len() as f32;
    let (first, last) = (mean(&losses[..6]), mean(&losses[114..]));
    assert!(last < 0.6 * first, "{name}: the loss went from {first} to {last}");
}

alone! {
    fn an_optimiser_plans_once_whatever_the_rate() {
        let mut o = Sgd::new(0.0).momentum(0.9);
        check_optimiser("sgd", |lr, m, g| { o.set_lr(0.1 * lr); o.step(m, g).unwrap() });
        let mut o = Adam::new(0.0);
        check_optimiser("adam", |lr, m, g| { o.set_lr(0.02 * lr); o.step(m, g).unwrap() });
        let mut o = AdamW::new(0.0);
        check_optimiser("adamw", |lr, m, g| { o.set_lr(0.02 * lr); o.step(m, g).unwrap() });
        let mut o = RmsProp::new(0.0);
        check_optimiser("rmsprop", |lr, m, g| { o.set_lr(0.01 * lr); o.step(m, g).unwrap() });
        let mut o = Adam::new(0.0);
        check_optimiser("adam with clipping", |lr, m, g| {
            o.set_lr(0.02 * lr);
            o.step(m, &clip_grad_norm(g, 1.0).0).unwrap()
        });
    }

    fn the_same_seed_gives_the_same_training() {
        let run = || {
            let mut o = Adam::new(0.01);
            train(3, |m, g| o.step(m, g).unwrap())
        };
        assert_eq!(run(), run());
        let layer = |seed| {
            manual_seed(seed);
            (Linear::new(25, 4).weight.to_vec::<f32>().unwrap(), Dropout::new(0.5).forward(&Tensor::ones([64]), true).to_vec::<f32>().unwrap())
        };
        assert_eq!(layer(1), layer(1));
        let (a, b) = (layer(1), layer(2));
        assert!(a.0 != b.0 && a.1 != b.1);
    }

    fn batch_norm_trains_in_flat_memory() {
        manual_seed(3);
        let (mut norm, mut opt) = (BatchNorm::new(2), Adam::new(0.05));
        let x = Tensor::from_vec(Rng(1).floats(128, 2.0, 4.0), [64, 2]);
        let target = &x * 0.5;
        target.eval().unwrap();
        let mut seen = Vec::new();
        for i in 0..200 {
            let ((_loss, stats_of_batch), g) = value_and_grad(
                |m: &BatchNorm| {
                    let (y, s) = m.forward_train(&x);
                    ((y - &target).square().mean(..), s)
                },
                &norm,
            );
            norm.update(stats_of_batch);
            opt.step(&mut norm, &g).unwrap();
            if [5, 199].contains(&i) {
                seen.push((stats().bytes_live, made(stats())));
            }
        }
        assert_eq!(seen[0], seen[1]);
        let (mean, want) = (norm.running_mean.to_vec::<f32>().unwrap(), x.mean(0).to_vec::<f32>().unwrap());
        assert!(mean.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-4), "{mean:?} is not {want:?}");
        let (var, want) = (norm.running_var.to_vec::<f32>().unwrap(), x.var(0, 1).to_vec::<f32>().unwrap());
        assert!(var.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-4), "{var:?} is not {want:?}");
        // What it learned holds with the running statistics as well.
        let off = (norm.forward(&x) - &target).square().mean(..).item::<f32>().unwrap();
        assert!(off < 0.01, "{off}");
    }
}
