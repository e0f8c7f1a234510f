//! Steps against the textbook recursions in f64, and what a step promises.

use super::*;
use crate::{DType, ErrorKind, Result, Tensor, Tree};

const X0: [f64; 3] = [1.0, -2.0, 0.5];

/// The gradient used in step `k` for element `i`.
fn gradient(k: usize, i: usize) -> f64 {
    ((k * 3 + i * 5 + 1) as f64).sin() * 10f64.powi(i as i32 - 1)
}

fn tensor(x: impl Fn(usize) -> f64, dtype: DType) -> Tensor {
    Tensor::from_vec((0..3).map(|i| x(i) as f32).collect(), [3]).cast(dtype)
}

/// Runs five steps of an optimiser, and of `rule(step, element, x, g)`, which keeps its own state.
fn compare(mut step: impl FnMut(usize, &mut Tensor, &Tensor) -> Result<()>, mut rule: impl FnMut(usize, usize, f64, f64) -> f64) {
    let mut x = tensor(|i| X0[i], DType::F32);
    let mut want = X0;
    for k in 0..5 {
        step(k, &mut x, &tensor(|i| gradient(k, i), DType::F32)).unwrap();
        want = std::array::from_fn(|i| rule(k, i, want[i], gradient(k, i)));
        for (got, want) in x.to_vec::<f32>().unwrap().into_iter().zip(want) {
            assert!((got as f64 - want).abs() <= 2e-6 * want.abs().max(1.0), "step {k}: {got} is not {want}");
        }
    }
}

#[test]
fn sgd_in_all_its_forms() {
    let mut opt = Sgd::new(0.1);
    compare(|_, x, g| opt.step(x, g), |_, _, x, g| x - 0.1 * g);
    let mut opt = Sgd::new(0.1).momentum(0.9).dampening(0.5).weight_decay(0.01);
    let mut v = [0.0; 3];
    compare(
        |_, x, g| opt.step(x, g),
        |k, i, x, g| {
            let g = g + 0.01 * x;
            v[i] = if k == 0 { g } else { 0.9 * v[i] + 0.5 * g };
            x - 0.1 * v[i]
        },
    );
    let mut opt = Sgd::new(0.1).momentum(0.9).nesterov(true);
    let mut v = [0.0; 3];
    compare(
        |_, x, g| opt.step(x, g),
        |_, i, x, g| {
            v[i] = 0.9 * v[i] + g;
            x - 0.1 * (g + 0.9 * v[i])
        },
    );
}

/// The textbook's Adam: `[m, v]` of every element is the state.
fn adam(lr: f64, l2: f64, decoupled: f64) -> impl FnMut(usize, usize, f64, f64) -> f64 {
    let mut s = [[0.0; 2]; 3];
    move |k, i, x, g| {
        let g = g + l2 * x;
        s[i] = [0.9 * s[i][0] + 0.1 * g, 0.999 * s[i][1] + 0.001 * g * g];
        let t = k as i32 + 1;
        let (m, v) = (s[i][0] / (1.0 - 0.9f64.powi(t)), s[i][1] / (1.0 - 0.999f64.powi(t)));
        x * (1.0 - lr * decoupled) - lr * m / (v.sqrt() + 1e-8)
    }
}

#[test]
fn adam_and_its_decays() {
    let mut opt = Adam::new(0.1);
    compare(|_, x, g| opt.step(x, g), adam(0.1, 0.0, 0.0));
    let mut opt = Adam::new(0.1).weight_decay(0.1);
    compare(|_, x, g| opt.step(x, g), adam(0.1, 0.1, 0.0));
    let mut opt = AdamW::new(0.1).weight_decay(0.1);
    compare(|_, x, g| opt.step(x, g), adam(0.1, 0.0, 0.1));
}

#[test]
fn rmsprop_with_and_without_momentum() {
    for momentum in [0.0, 0.5] {
        let mut opt = RmsProp::new(0.01).alpha(0.9).momentum(momentum);
        let mut s = [[0.0; 2]; 3];
        compare(
            |_, x, g| opt.step(x, g),
            |_, i, x, g| {
                s[i][0] = 0.9 * s[i][0] + 0.1 * g * g;
                s[i][1] = momentum * s[i][1] + g / (s[i][0].sqrt() + 1e-8);
                x - 0.01 * s[i][1]
            },
        );
    }
}

#[test]
fn a_new_learning_rate_counts_at_once() {
    let mut opt = Sgd::new(1.0);
    compare(
        |k, x, g| {
            opt.set_lr(0.1 * (k + 1) as f64);
            opt.step(x, g)
        },
        |k, _, x, g| x - 0.1 * (k + 1) as f64 * g,
    );
}

#[derive(Tree, Clone)]
struct Mixed {
    weight: Tensor,
    #[tree(frozen)]
    mean: Tensor,
    ids: Tensor,
    half: Tensor,
}

#[test]
fn frozen_integer_and_half_tensors() {
    let ones = |d: DType| Tensor::ones([2]).cast(d);
    let mixed = |x: Tensor| Mixed { weight: x.clone(), mean: x.clone(), ids: x.cast(DType::I64), half: x.cast(DType::F16) };
    let (mut model, grads) = (mixed(ones(DType::F32)), mixed(ones(DType::F32)));
    let mut opt = Adam::new(0.25);
    opt.step(&mut model, &grads).unwrap();
    assert_eq!(model.weight.to_vec::<f32>().unwrap(), [0.75; 2]);
    assert_eq!(model.mean.to_vec::<f32>().unwrap(), [1.0; 2]);
    assert_eq!(model.ids.to_vec::<i64>().unwrap(), [1; 2]);
    assert_eq!(model.half.dtype(), DType::F16);
    assert_eq!(model.half.cast(DType::F32).to_vec::<f32>().unwrap(), [0.75; 2]);
    let state = crate::function::tree::leaves(&opt);
    assert!(state.iter().all(|t| t.dtype() == DType::F32));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut x = Tensor::ones([3]);
    let mut opt = Adam::new(0.1);
    assert_eq!(opt.step(&mut x, &Tensor::ones([1])).unwrap_err().kind(), ErrorKind::Shape);
    opt.step(&mut x, &Tensor::ones([3])).unwrap();
    let before = x.to_vec::<f32>().unwrap();
    let mut other = Tensor::ones([4]);
    assert_eq!(opt.step(&mut other, &Tensor::ones([4])).unwrap_err().kind(), ErrorKind::Shape);
    let mut two = vec![x.clone(), x.clone()];
    assert_eq!(opt.step(&mut two, &vec![x.clone(), x.clone()]).unwrap_err().kind(), ErrorKind::Argument);
    assert_eq!(opt.step(&mut two, &vec![x.clone()]).unwrap_err().kind(), ErrorKind::Argument);
    let e = Sgd::new(0.1).nesterov(true).step(&mut x, &Tensor::ones([3])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Argument);
    assert_eq!(x.to_vec::<f32>().unwrap(), before);
}

#[test]
fn clipping() {
    let g = vec![Tensor::from_vec(vec![3f32, 0.], [2]), Tensor::from_vec(vec![-4f32], [1])];
    let (clipped, norm) = clip_grad_norm(&g, 2.5);
    assert_eq!(norm.item::<f32>().unwrap(), 5.0);
    for (t, want) in clipped.iter().zip([vec![1.5f32, 0.0], vec![-2.0]]) {
        assert!(t.to_vec::<f32>().unwrap().iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    let (same, _) = clip_grad_norm(&g, 10.0);
    assert_eq!(same[1].to_vec::<f32>().unwrap(), [-4.0]);
    let zero = vec![Tensor::zeros([2])];
    assert_eq!(clip_grad_norm(&zero, 1.0).0[0].to_vec::<f32>().unwrap(), [0.0; 2]);
    assert_eq!(clip_grad_value(&g, 2.0)[0].to_vec::<f32>().unwrap(), [2.0, 0.0]);
}
