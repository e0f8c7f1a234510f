//! Half types where they are safe: autocast and loss scaling.

use super::{near, read, vector};
use lazuli::Autocast;
use lazuli::models::Mlp;
use lazuli::optim::{GradScaler, Sgd};
use lazuli::prelude::*;

fn matrix(seed: u64, shape: [usize; 2]) -> Tensor {
    Tensor::from_vec(crate::rng::Rng(seed).floats(shape[0] * shape[1], -1.0, 1.0), shape)
}

/// The dtypes that ops of a name have in a simplified trace.
fn dtypes(trace: &str, op: &str) -> Vec<String> {
    let of = |l: &str| -> Option<String> {
        let (_, rest) = l.split_once(" = ")?;
        rest.starts_with(op).then(|| rest.rsplit_once(" : ").map_or("", |t| t.1).split('[').next().unwrap_or("").to_string())
    };
    trace.lines().filter_map(of).collect()
}

#[test]
fn each_op_is_on_its_list() {
    let (x, w) = (matrix(1, [4, 8]), matrix(2, [8, 8]));
    let f = |w: &Tensor| {
        let h = (x.matmul(w) * 0.5).relu();
        (h.softmax(-1), (&h + 1.0).log(), &h + &x, h.matmul(w), h.sum(1), h.masked_fill(&h.lt(0.5), -1e9))
    };
    let cast = autocast(DType::F16, f);
    let (a, b) = (f(&w), cast(&w));
    let all = lazuli::function::tree::leaves(&b);
    assert!(all.iter().all(|t| t.dtype() == DType::F32));
    let r = lazuli::explain(&all);
    for (half, full) in all.iter().zip(lazuli::function::tree::leaves(&a)) {
        near(half, &read(&full), 4e-3);
    }
    let of = |op| dtypes(r.trace(), op);
    assert_eq!(of("dot"), ["f16", "f16"]);
    assert_eq!((of("exp"), of("log")), (vec!["f32".to_string()], vec!["f32".to_string()]));
    assert!(of("reduce sum").iter().all(|d| d == "f32"), "{}", r.trace());
    // Scaling and relu follow the product; what meets an F32 tensor, or a number half cannot hold, does not.
    assert_eq!((of("mul"), of("select")), (vec!["f16".to_string()], vec!["f16".to_string(), "f32".to_string()]), "{}", r.trace());

    // Other lists.
    let own = Autocast::new(DType::BF16).full("dot").half("tanh").meet("exp");
    let y = autocast(own, |x: &Tensor| (x.matmul(&w), x.tanh().exp()))(&x);
    let r = lazuli::explain(&[y.0, y.1]);
    assert_eq!(
        (dtypes(r.trace(), "dot"), dtypes(r.trace(), "tanh"), dtypes(r.trace(), "exp")),
        (vec!["f32".into()], vec!["bf16".into()], vec!["bf16".to_string()])
    );
    let e = lazuli::catch(|| autocast(Autocast::new(DType::F16).full("softmax"), |x: &Tensor| x.clone())(&x)).map(|_| ()).unwrap_err();
    assert!(e.message().contains("`softmax` is no op"), "{e}");
    let e = lazuli::catch(|| autocast(DType::F64, |x: &Tensor| x.clone())(&x)).map(|_| ()).unwrap_err();
    assert!(e.message().contains("f64 is no half type"), "{e}");
}

#[test]
fn autocast_reaches_into_branches_and_loops() {
    let (x, w) = (matrix(3, [5, 4]), matrix(4, [4, 4]));
    let flag = Tensor::full([], true);
    let f = |w: &Tensor| {
        let (last, rows) = scan(matrix(5, [1, 4]), &x, |h: Tensor, x: Tensor| {
            let h = (h.matmul(w) + x).tanh();
            (h.clone(), h)
        });
        let either = cond(&flag, |h: &Tensor| h.matmul(w), |h: &Tensor| h.matmul(&(w * 2.0)), &last);
        (rows, either)
    };
    let (full, half) = (f(&w), autocast(DType::F16, f)(&w));
    assert_eq!((half.0.dtype(), half.1.dtype()), (DType::F32, DType::F32));
    let r = lazuli::explain(&[&half.0, &half.1]);
    assert_eq!(dtypes(r.trace(), "dot"), ["f16"; 3], "{}", r.trace());
    near(&half.0, &read(&full.0), 4e-3);
    near(&half.1, &read(&full.1), 8e-3);
    // And back out: the gradient passes the casts of every iteration.
    let loss = |f: &dyn Fn(&Tensor) -> (Tensor, Tensor), w: &Tensor| {
        let (rows, either) = f(w);
        rows.square().sum(..) + either.sum(..)
    };
    let exact = grad(|w: &Tensor| loss(&f, w), &w);
    let cast = grad(|w: &Tensor| loss(&|w: &Tensor| autocast(DType::BF16, f)(w), w), &w);
    assert_eq!(cast.dtype(), DType::F32);
    near(&cast, &read(&exact), 0.2);
}

#[test]
fn autocast_composes_with_the_other_transforms() {
    let (x, w) = (matrix(1, [6, 4]), matrix(2, [4, 4]));
    let f = |w: &Tensor| x.matmul(w).tanh().square().sum(..);
    let half = autocast(DType::BF16, f);
    let g = grad(|w: &Tensor| half(w), &w);
    assert_eq!(g.dtype(), DType::F32);
    near(&g, &read(&grad(f, &w)), 0.05);
    // Around a gradient: the products of the backward pass are in half too.
    let inside = autocast(DType::BF16, |w: &Tensor| grad(f, w))(&w);
    assert_eq!(dtypes(lazuli::explain(&[&inside]).trace(), "dot"), ["bf16", "bf16"]);
    near(&inside, &read(&grad(f, &w)), 0.05);
    let row = autocast(DType::BF16, |x: &Tensor| x.matmul(&w).softmax(-1));
    let each = vmap(|x: &Tensor| row(x), 0)(&x);
    assert_eq!(dtypes(lazuli::explain(&[&each]).trace(), "dot"), ["bf16"]);
    near(&each, &read(&row(&x)), 1e-2);
    near(&autocast(DType::BF16, |x: &Tensor| vmap(|x: &Tensor| x.matmul(&w).softmax(-1), 0)(x))(&x), &read(&each), 1e-2);
    let recorded = jit(|x: Tensor| row(&x));
    near(&recorded(x.clone()).unwrap(), &read(&row(&x)), 1e-2);
    // Through a checkpoint, whose body is cast as well.
    let kept = autocast(DType::BF16, |w: &Tensor| checkpoint(|w: &Tensor| x.matmul(w).tanh())(w).square().sum(..));
    let g = grad(|w: &Tensor| kept(w), &w);
    assert_eq!(dtypes(lazuli::explain(&[&g]).trace(), "dot"), ["bf16"; 3]);
    near(&g, &read(&grad(f, &w)), 0.05);
    let (_, t) = jvp(|w: &Tensor| half(w), &w, &w);
    near(&t, &read(&jvp(f, &w, &w).1), 0.05);
}

/// Trains a small classifier; returns the first and last loss.
fn train(half: Option<DType>, recorded: bool) -> (f32, f32) {
    manual_seed(3);
    let x = matrix(1, [64, 8]);
    let y = x.slice(s![.., 0..3]).argmax(1);
    let init = |s: u64, n: usize, m: usize| matrix(s, [n, m]) * (1.0 / (n as f32).sqrt());
    let mut model = Mlp::new(&[8, 32, 3]);
    for (i, l) in model.layers.iter_mut().enumerate() {
        let s = l.weight.shape().to_vec();
        l.weight = init(10 + i as u64, s[0], s[1]);
    }
    let lists = Autocast::new(half.unwrap_or(DType::F16));
    let lists = if half.is_some() { lists } else { lists.full("dot") };
    let step = |(mut m, mut o, mut s): (Mlp, Adam, GradScaler)| {
        let forward = autocast(lists.clone(), |m: &Mlp| m.forward(&x).cross_entropy(&y));
        let (loss, g) = value_and_grad(|m: &Mlp| s.scale(&forward(m)), &m);
        let loss = loss / s.factor();
        s.step(&mut o, &mut m, &g)?;
        Ok((m, o, s, loss))
    };
    let fast = jit(step);
    let mut state = (model, Adam::new(0.02), GradScaler::new().growth(2.0, 10));
    let mut losses = Vec::new();
    for _ in 0..60 {
        let out: Result<_> = if recorded { fast(state) } else { step(state) };
        let (m, o, s, loss) = out.unwrap();
        losses.push(loss.item::<f32>().unwrap());
        state = (m, o, s);
    }
    assert!(lazuli::function::tree::leaves(&state.0).iter().all(|t| t.dtype() == DType::F32));
    if recorded {
        assert!(fast.records() <= 2, "{} recordings", fast.records());
    }
    (losses[0], losses[59])
}

#[test]
fn a_net_trains_in_half_as_in_single() {
    let (first, full) = train(None, false);
    assert!(full < 0.3 * first, "{first} {full}");
    for half in [DType::F16, DType::BF16] {
        let (start, end) = train(Some(half), false);
        assert!((start - first).abs() < 0.02 && (end - full).abs() < 0.05 * first, "{half}: {start} {end}, F32: {first} {full}");
        let (start, again) = train(Some(half), true);
        assert!((start - first).abs() < 0.02 && (again - end).abs() < 0.02 * first, "{half} recorded: {again}, {end}");
    }
}

#[test]
fn a_step_that_is_not_finite_is_skipped_on_the_device() {
    let mut w = vector(&[1.0, -2.0]);
    let mut opt = Adam::new(0.1);
    let mut scaler = GradScaler::new().initial(1024.0).growth(2.0, 2);
    // Twice the same, with bad gradients in between or not.
    let mut plain = (w.clone(), Adam::new(0.1));
    let mut scales = Vec::new();
    for k in 0..8 {
        let bad = k == 0 || k == 4 || k == 5;
        let g = if bad { vector(&[f32::NAN, 1.0]) } else { vector(&[1.0, 2.0 * k as f32]) * scaler.factor() };
        scaler.step(&mut opt, &mut w, &g).unwrap();
        if !bad {
            plain.1.step(&mut plain.0, &vector(&[1.0, 2.0 * k as f32])).unwrap();
        }
        assert_eq!(read(&w), read(&plain.0), "step {k}");
        scales.push(scaler.factor().item::<f32>().unwrap());
    }
    assert_eq!(scales, [512.0, 512.0, 1024.0, 1024.0, 512.0, 256.0, 256.0, 512.0]);
    // Momentum, clipping in between, and an infinite gradient.
    let (mut w, mut opt, mut scaler) = (vector(&[3.0]), Sgd::new(0.5).momentum(0.9), GradScaler::new().initial(8.0));
    let (g, finite) = scaler.unscale(&vector(&[16.0]));
    assert_eq!((read(&g), finite.to_vec::<bool>().unwrap()), (vec![2.0], vec![true]));
    scaler.step_unscaled(&mut opt, &mut w, &g.clamp(-1.0, 1.0), &finite).unwrap();
    assert_eq!(read(&w), [2.5]);
    scaler.step(&mut opt, &mut w, &vector(&[f32::INFINITY])).unwrap();
    assert_eq!((read(&w), read(scaler.factor())), (vec![2.5], vec![4.0]));
    // What does not fit changes nothing.
    let e = scaler.step(&mut opt, &mut w, &vector(&[1.0, 2.0])).unwrap_err();
    assert!(e.kind() == lazuli::ErrorKind::Shape, "{e}");
    assert_eq!((read(&w), read(scaler.factor())), (vec![2.5], vec![4.0]));
}

/// Gradients that F16 cannot hold unscaled.
#[test]
fn scaling_keeps_small_gradients() {
    let x = matrix(1, [4, 4]);
    let loss = autocast(DType::F16, |w: &Tensor| x.matmul(w).sum(..) * 1e-7);
    let w = Tensor::zeros([4, 4]);
    let plain = grad(|w: &Tensor| loss(w), &w);
    let scaler = GradScaler::new();
    let (scaled, _) = scaler.unscale(&grad(|w: &Tensor| scaler.scale(&loss(w)), &w));
    let want = read(&(x.sum(0).reshape([4, 1]) * 1e-7));
    let error = |g: &Tensor| read(g).chunks(4).zip(&want).map(|(g, w)| ((g[0] - w) / w).abs()).fold(0.0, f32::max);
    assert!(error(&scaled) < 0.01 && error(&plain) > 0.1, "{} {}", error(&scaled), error(&plain));
}
