#![allow(clippy::erasing_op)] // A product with zero is what is tested.
//! What compiles, what hits, what launches.

use super::alone;
use crate::rng::Rng;
use lazuli::optim::Adam;
use lazuli::prelude::*;
use lazuli::stats;

fn data(shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_vec(Rng(n as u64).floats(n, -1.0, 1.0), shape)
}

alone! {
    fn a_new_number_hits_the_plan_and_counts() {
        let (a, b) = (Tensor::from_vec(vec![1f32, 2.0], [2]), Tensor::from_vec(vec![10f32, 20.0], [2]));
        assert_eq!((&a * 2.0 + &b * 2.0).to_vec::<f32>().unwrap(), [22.0, 44.0]);
        let before = stats();
        assert_eq!((&a * 2.0 + &b * 3.0).to_vec::<f32>().unwrap(), [32.0, 64.0]);
        let after = stats();
        assert_eq!(after.plan_misses, before.plan_misses);
        assert_eq!(after.plan_hits, before.plan_hits + 1);
        assert_eq!(after.compiles, before.compiles);
    }

    fn a_learning_rate_that_changes_never_compiles() {
        let x = data(&[16, 8]);
        let mut w = data(&[8]);
        let step = |w: &Tensor, lr: f64| {
            let g = grad(|w: &Tensor| (x.matmul(w) - 1.0).square().mean(..), w);
            let next = w - g * lr;
            next.eval().unwrap();
            next
        };
        w = step(&w, 0.5);
        let before = stats();
        for i in 1..1000 {
            w = step(&w, 0.5 / i as f64);
        }
        let after = stats();
        assert_eq!(after.compiles, before.compiles);
        assert_eq!(after.plan_misses, before.plan_misses);
        assert_eq!(after.plan_hits, before.plan_hits + 999);
        assert!(w.to_vec::<f32>().unwrap().iter().all(|x| x.is_finite()));
    }

    fn warming_up_from_a_rate_of_zero() {
        let mut w = Tensor::from_vec(vec![1f32, f32::NAN, f32::INFINITY], [3]);
        let g = Tensor::from_vec(vec![1f32, 1.0, 1.0], [3]);
        let step = |w: &Tensor, lr: f64| {
            let next = w - &g * lr;
            next.eval().unwrap();
            next
        };
        w = step(&w, 0.0);
        let before = stats();
        for i in 0..10 {
            w = step(&w, i as f64 * 0.01);
        }
        assert_eq!(stats().plan_misses, before.plan_misses);
        let v = w.to_vec::<f32>().unwrap();
        assert!((v[0] - 0.55).abs() < 1e-6 && v[1].is_nan() && v[2].is_infinite(), "{v:?}");
    }

    fn zero_times_nan_is_nan() {
        let x = Tensor::from_vec(vec![f32::NAN, f32::INFINITY, -1.0], [3]);
        for zero in [&x * 0.0, &x * 0, &x * Tensor::zeros([3]), &x * Tensor::zeros([])] {
            let v = zero.to_vec::<f32>().unwrap();
            assert!(v[0].is_nan() && v[1].is_nan() && v[2].to_bits() == (-0f32).to_bits(), "{v:?}");
        }
        // Nor does adding a zero lose the sign of one.
        let z = Tensor::from_vec(vec![-0f32], [1]);
        assert_eq!((&z + 0.0).item::<f32>().unwrap().to_bits(), 0f32.to_bits());
        assert_eq!((&z - 0.0).item::<f32>().unwrap().to_bits(), (-0f32).to_bits());
    }

    fn a_loss_and_its_gradients_run_the_forward_pass_once() {
        let (x, w) = (data(&[32, 16]), data(&[16, 8]));
        let read = |together: bool| {
            let (loss, g) = value_and_grad(|w: &Tensor| x.matmul(w).tanh().square().mean(..), &w);
            let before = stats().launches;
            if together {
                lazuli::eval(&[&loss, &g]).unwrap();
            } else {
                assert!(loss.item::<f32>().unwrap() > 0.0);
                let between = stats().launches;
                assert_eq!(g.to_vec::<f32>().unwrap().len(), 128);
                assert_eq!(stats().launches, between, "reading the gradient ran something");
            }
            stats().launches - before
        };
        assert_eq!(read(false), read(true));
    }

    fn printing_again_runs_nothing() {
        let y = data(&[4, 4]).exp();
        let text = y.to_string();
        let before = stats().launches;
        assert_eq!(y.to_string(), text);
        y.to_vec::<f32>().unwrap();
        assert_eq!(stats().launches, before);
    }

    fn adam_updates_all_parameters_in_one_launch() {
        let mut model: Vec<Tensor> = [&[64, 32][..], &[32], &[32, 10], &[10]].iter().map(|s| data(s)).collect();
        let g: Vec<Tensor> = model.iter().map(|p| p * 0.1).collect();
        lazuli::eval(&g).unwrap();
        let mut opt = Adam::new(1e-3);
        opt.step(&mut model, &g).unwrap();
        let before = stats();
        opt.step(&mut model, &g).unwrap();
        let after = stats();
        assert_eq!(after.launches - before.launches, 1);
        opt.step(&mut model, &g).unwrap();
        assert_eq!(stats().plan_misses, after.plan_misses);
    }

    fn an_mlp_training_step_takes_its_kernels() {
        let mut model = lazuli::models::Mlp::new(&[784, 512, 512, 10]);
        let mut opt = Adam::new(1e-3);
        let (x, y) = (data(&[128, 784]), Tensor::from_vec((0..128).map(|i| i % 10).collect::<Vec<i64>>(), [128]));
        let mut step = || {
            let before = stats();
            let (loss, g) = value_and_grad(|m: &lazuli::models::Mlp| m.forward(&x).cross_entropy(&y), &model);
            opt.step(&mut model, &g).unwrap();
            assert!(loss.item::<f32>().unwrap().is_finite());
            drop(g);
            let after = stats();
            (after.launches - before.launches, after.plan_misses - before.plan_misses)
        };
        step();
        step();
        assert_eq!(step(), (13, 0), "launches and plans of a step");
    }

    fn a_new_batch_size_replans_but_compiles_nothing() {
        let w = data(&[32, 32]);
        let run = |n: usize| (data(&[n, 32]).matmul(&w) + 1.0).tanh().to_vec::<f32>().unwrap().len();
        // On a graphics device the extents of small kernels are data, those of others constants of the module.
        let unit = if Device::current() == Device::cpu() { 64 } else { 8 };
        assert_eq!(run(unit), unit * 32);
        run(unit * 3 / 2);
        let before = stats();
        assert_eq!(run(2 * unit), 2 * unit * 32);
        let after = stats();
        assert_eq!(after.plan_misses, before.plan_misses + 1);
        assert_eq!(after.compiles, before.compiles);
    }

    fn threads_that_ask_for_one_program_compile_it_once() {
        let x = data(&[50, 50]);
        let before = stats();
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| assert_eq!(((&x + 1.0).log1p() * 2.0).to_vec::<f32>().unwrap().len(), 2500));
            }
        });
        let after = stats();
        assert_eq!(after.plan_misses, before.plan_misses + 1);
        assert_eq!(after.plan_hits, before.plan_hits + 7);
    }

    fn a_closed_loop_is_flushed_by_itself() {
        let mut x = Tensor::from_vec(vec![0f32; 8], [8]);
        for _ in 0..50_000 {
            x += 1.0;
        }
        assert_eq!(x.to_vec::<f32>().unwrap(), [50_000.0; 8]);
        assert!(stats().flushes > 0);
    }
}
