//! `vmap`: a function of one example, on many, against a loop over them.

use super::{near, read, scalar, vector};
use crate::rng::Rng;
use lazuli::function::tree;
use lazuli::prelude::*;
use lazuli::{ErrorKind, eval, explain};

fn floats(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::from_vec(Rng(seed).floats(shape.iter().product(), -1.5, 1.5), shape)
}

fn ints(values: &[i64], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape)
}

/// `f` of every example along axis 0 of all leaves, stacked.
fn one_by_one<T: Tree>(f: impl Fn(&T) -> Tensor, x: &T) -> Tensor {
    let n = tree::leaves(x)[0].shape()[0];
    let each: Vec<Tensor> = (0..n).map(|e| f(&tree::map_tensors(x, |t, _| t.select(0, e as isize)))).collect();
    Tensor::stack(&each, 0)
}

/// The batch of `f` is the loop, forward and for gradients of single examples.
#[track_caller]
fn same<T: Tree>(x: T, f: impl Fn(&T) -> Tensor + Send + Sync) {
    let (got, want) = (vmap(&f, 0)(&x), one_by_one(&f, &x));
    assert_eq!((got.dtype(), got.shape()), (want.dtype(), want.shape()));
    near(&got.cast(DType::F32), &read(&want.cast(DType::F32)), 1e-5);
    if !got.dtype().is_float() {
        return;
    }
    // Weights, so that no gradient is zero by symmetry.
    let loss = |x: &T| {
        let y = f(x);
        let w = (Tensor::arange(y.numel() as i64).cast(DType::F32) * 0.7).cos().reshape(y.shape());
        (y * w).sum(..)
    };
    let got = vmap(|x: &T| grad(loss, x), 0)(&x);
    let n = tree::leaves(&x)[0].shape()[0];
    let each: Vec<Vec<Tensor>> =
        (0..n).map(|e| tree::leaves(&grad(loss, &tree::map_tensors(&x, |t, _| t.select(0, e as isize))))).collect();
    for (k, got) in tree::leaves(&got).iter().enumerate() {
        let want = Tensor::stack(&each.iter().map(|g| &g[k]).collect::<Vec<_>>(), 0);
        assert_eq!(got.shape(), want.shape());
        near(&got.cast(DType::F32), &read(&want.cast(DType::F32)), 1e-4);
    }
}

#[test]
fn products() {
    same((floats(1, &[4, 2, 3]), floats(2, &[4, 3, 5])), |(a, b)| a.matmul(b));
    let (w, wide) = (floats(3, &[3, 5]), floats(4, &[2, 5, 3]));
    same(floats(5, &[4, 2, 3]), |a| a.matmul(&w));
    same(floats(6, &[4, 3]), |a| a.matmul(&w));
    same(floats(7, &[4, 3, 2]), |b| wide.matmul(b));
    same(floats(8, &[4, 3]), |b| wide.matmul(b));
    // A layer on single examples is the layer on the batch.
    let (layer, x) = (lazuli::nn::Linear::new(3, 2), floats(9, &[6, 3]));
    near(&vmap(|x: &Tensor| layer.forward(x), 0)(&x), &read(&layer.forward(&x)), 1e-6);
}

#[test]
fn convolutions() {
    let (x, w) = (floats(1, &[3, 2, 4, 6, 5]), floats(2, &[3, 6, 2, 3, 2]));
    let conv = |x: &Tensor, w: &Tensor| x.conv_with(w, None, &lazuli::ConvOptions::new().stride([2, 1]).padding([1, 0]).groups(2));
    same((x.clone(), w.clone()), |(x, w)| conv(x, w));
    let (one_x, one_w) = (x.select(0, 1), w.select(0, 1));
    same(x, |x| conv(x, &one_w));
    same(w, |w| conv(&one_x, w));
    same(floats(3, &[3, 1, 2, 4, 4]), |x| x.max_pool2d([2, 2], [2, 2], [0, 0]));
}

#[test]
fn indexing() {
    let table = floats(1, &[5, 3]);
    let ids = ints(&[0, 4, 2, 2, 1, 3], &[3, 2]);
    near(&vmap(|i: &Tensor| table.embedding(i), 0)(&ids), &read(&table.embedding(&ids)), 0.0);
    same((floats(2, &[3, 5, 2]), ids.clone()), |(x, i)| x.index_select(0, i));
    let shared = ints(&[3, 0, 3], &[3]);
    same(floats(3, &[4, 2, 5]), |x| x.index_select(1, &shared));
    same((floats(4, &[3, 5]), ids.clone(), floats(5, &[3, 2])), |(x, i, u)| x.scatter_add(0, i, u));
    same((floats(6, &[3, 5]), floats(7, &[3, 3])), |(x, u)| x.scatter_add(0, &shared, u));
    let base = floats(8, &[5]);
    same((ids, floats(9, &[3, 2])), |(i, u)| base.scatter(0, i, u));
    same(floats(10, &[3, 4, 2]), |x| x.slice_update(s![1..3, 0], 7.0).flip(0).slice(s![..;2, ..]));
}

#[test]
fn rows() {
    let x = floats(1, &[4, 3, 6]);
    same(x.clone(), |x| x.softmax(-1));
    same(x.clone(), |x| x.softmax(0) * x.max(..));
    same(x.clone(), |x| x.cumsum(0).cumprod(1));
    same(x.clone(), |x| x.sort(0).0);
    same(x.clone(), |x| x.argsort(1, true));
    same(x.clone(), |x| x.layer_norm([6], None, None, 1e-5));
    same(x.clone(), |x| x.gt(0.0).cast(DType::I64).sum(0));
    same((x.clone(), ints(&[0, 5, 2, 1, 1, 3, 4, 4, 0, 2, 5, 3], &[4, 3])), |(x, t)| x.cross_entropy(t));
    same((x.select(1, 0), ints(&[0, 5, 2, 1], &[4])), |(x, t)| x.cross_entropy(t));
    // What depends on no example is computed once and repeated in the result.
    let f = vmap(|x: &Tensor| (x.sum(..), Tensor::ones([2]) * 3.0), 0);
    let (sums, threes) = f(&x);
    assert_eq!((sums.shape().to_vec(), threes.shape().to_vec()), (vec![4], vec![4, 2]));
    assert_eq!(read(&threes), [3.0; 8]);
}

#[test]
fn gradients_of_single_examples_of_a_model() {
    let model = lazuli::models::Mlp::new(&[3, 5, 2]);
    let (x, y) = (floats(1, &[6, 3]), ints(&[0, 1, 1, 0, 1, 0], &[6]));
    let loss = |m: &lazuli::models::Mlp, x: &Tensor, y: &Tensor| m.forward(&x.unsqueeze(0)).cross_entropy(&y.unsqueeze(0));
    let each = vmap(|(x, y): &(Tensor, Tensor)| value_and_grad(|m: &lazuli::models::Mlp| loss(m, x, y), &model), 0);
    let (losses, grads) = each(&(x.clone(), y.clone()));
    for e in 0..6 {
        let (xe, ye) = (x.select(0, e), y.select(0, e));
        let (l, g) = value_and_grad(|m: &lazuli::models::Mlp| loss(m, &xe, &ye), &model);
        near(&losses.select(0, e), &read(&l), 1e-5);
        for (all, one) in tree::leaves(&grads).iter().zip(tree::leaves(&g)) {
            near(&all.select(0, e), &read(&one), 1e-5);
        }
    }
    // Their mean is the gradient of the mean.
    let whole = grad(|m: &lazuli::models::Mlp| m.forward(&x).cross_entropy(&y), &model);
    for (all, one) in tree::leaves(&grads).iter().zip(tree::leaves(&whole)) {
        near(&all.mean(0), &read(&one), 1e-5);
    }
    // Many models on one example each.
    let models = tree::map_tensors(&model, |t, _| Tensor::stack(&[t, &(t * 2.0)], 0));
    let two = vmap(|(m, x): &(lazuli::models::Mlp, Tensor)| m.forward(&x.unsqueeze(0)), 0)(&(models, x.narrow(0, 0, 2)));
    near(&two.select(0, 0), &read(&model.forward(&x.narrow(0, 0, 1))), 1e-5);
}

#[test]
fn nested() {
    let (a, b) = (floats(1, &[4, 3]), floats(2, &[5, 3]));
    let row = vmap(|(p, q): &(Tensor, Tensor)| (p - q).square().sum(..).sqrt(), (None, 0));
    let all = vmap(|x: &(Tensor, Tensor)| row(x), (0, None));
    let want = (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(-1).sqrt();
    let got = all(&(a.clone(), b.clone()));
    assert_eq!(got.shape().to_vec(), [4, 5]);
    near(&got, &read(&want), 1e-6);
    // Around and inside of every derivative.
    let pair = |x: &Tensor| all(&(x.clone(), b.clone())).square().sum(..);
    let plain = |x: &Tensor| (x.unsqueeze(1) - b.unsqueeze(0)).square().sum(..);
    near(&grad(pair, &a), &read(&grad(plain, &a)), 1e-5);
    let d = floats(3, &[4, 3]);
    near(&jvp(pair, &a, &d).1, &read(&jvp(plain, &a, &d).1), 1e-5);
    let c = floats(4, &[3]);
    let cubes = |x: &Tensor| (x * x * x * &c).sum(..);
    let hessian = |x: &Tensor| vmap(|v: &Tensor| jvp(|x: &Tensor| grad(cubes, x), x, v).1, 0)(&Tensor::eye(3));
    let want: Vec<f32> = read(&c).iter().zip(read(&a)).map(|(c, x)| 6.0 * c * x).collect();
    let h = hessian(&a.select(0, 0));
    let diagonal = Tensor::eye(3) * Tensor::from_slice(&want, [3]);
    near(&h, &read(&diagonal), 1e-5);
    let all = vmap(|x: &Tensor| hessian(x), 0)(&a);
    assert_eq!(all.shape().to_vec(), [4, 3, 3]);
    near(&all.select(0, 0), &read(&diagonal), 1e-5);
    // A Jacobian by rows and by columns.
    let f = |x: &Tensor| x.softmax(0);
    let x = a.select(0, 1);
    let (_, pull) = vjp(f, &x);
    let rows = vmap(|v: &Tensor| pull(v), 0)(&Tensor::eye(3));
    let columns = vmap_with(|v: &Tensor| jvp(f, &x, v).1, 0, 1)(&Tensor::eye(3));
    near(&rows, &read(&columns), 1e-6);
}

/// What is written for one example runs as what is written for a batch.
#[test]
fn as_few_kernels_as_by_hand() {
    let kernels = |t: Tensor| explain(&[&t]).kernels().len();
    let (layer, x) = (lazuli::nn::Linear::new(30, 20), floats(1, &[60, 30]));
    assert_eq!(kernels(vmap(|x: &Tensor| layer.forward(x).tanh(), 0)(&x)), kernels(layer.forward(&x).tanh()));
    assert_eq!(kernels(vmap(|x: &Tensor| (x * 2.0).softmax(0), 0)(&x)), 1);
    let (images, w) = (floats(2, &[5, 3, 8, 8]), floats(3, &[4, 3, 3, 3]));
    let conv = |x: &Tensor| x.conv_with(&w, None, &lazuli::ConvOptions::new()).relu();
    assert_eq!(kernels(vmap(|x: &Tensor| conv(&x.unsqueeze(0)).squeeze(), 0)(&images)), kernels(conv(&images)));
    let noisy = |x: &Tensor| (x + Tensor::randn(x.shape())).exp();
    assert_eq!(kernels(vmap(noisy, 0)(&x)), kernels(noisy(&x)));
}

#[test]
fn axes_in_and_out() {
    let (x, y) = (floats(1, &[2, 3, 4]), floats(2, &[3, 4]));
    let f = |(x, y): &(Tensor, Tensor)| x.t().matmul(&x.ones_like()) + y.sum(..);
    let want = one_by_one(f, &(x.movedim(2, 0), y.t()));
    let args = (x.clone(), y.clone());
    near(&vmap(f, (2, 1))(&args), &read(&want), 1e-5);
    near(&vmap(f, (-1, -1))(&args), &read(&want), 1e-5);
    near(&vmap(f, [-1, 1])(&args), &read(&want), 1e-5);
    near(&vmap(f, -1)(&args), &read(&want), 1e-5);
    near(&vmap_with(f, -1, 1)(&args), &read(&want.movedim(0, 1)), 1e-5);
    near(&vmap_with(f, -1, -1)(&args), &read(&want.movedim(0, 2)), 1e-5);
    near(&vmap_with(f, vec![Some(2), Some(1)], 2)(&args), &read(&want.movedim(0, 2)), 1e-5);
    // Shared arguments and results, nested parts.
    let g = vmap_with(|((x, y), w): &((Tensor, Tensor), Tensor)| (x.sum(..) + y.sum(..), w * 2.0), ((-1, None), None), (0, None));
    let (sums, doubled) = g(&((x.clone(), scalar(1.0)), y.clone()));
    near(&sums, &read(&(x.sum([0, 1]) + 1.0)), 1e-5);
    assert_eq!(doubled.shape(), y.shape());
    // Vectors, options, structs and numbers.
    let h = vmap(|(v, o, k): &(Vec<Tensor>, Option<Tensor>, usize)| &v[0] * &v[1] + o.as_ref().unwrap() * *k, ([Some(1), None], 0, None));
    let got = h(&(vec![floats(3, &[2, 3]), vector(&[10.0, 100.0])], Some(vector(&[1.0, 2.0, 3.0])), 5));
    let v = floats(3, &[2, 3]).t() * vector(&[10.0, 100.0]) + vector(&[5.0, 10.0, 15.0]).unsqueeze(1);
    near(&got, &read(&v), 1e-5);
}

#[test]
fn every_example_draws_for_itself() {
    manual_seed(3);
    let x = Tensor::zeros([50, 40]);
    let outside = Tensor::rand([40]);
    let noisy = |x: &Tensor| (x + Tensor::randn([40]), Tensor::rand([]), x + &outside);
    let (a, b, c) = vmap(noisy, 0)(&x);
    eval(&[&a, &b, &c]).unwrap();
    assert_eq!((a.shape().to_vec(), b.shape().to_vec()), (vec![50, 40], vec![50]));
    let distinct = |t: &Tensor| {
        let mut v: Vec<u32> = read(t).iter().map(|x| x.to_bits()).collect();
        v.sort_unstable();
        v.dedup();
        v.len()
    };
    // Draws from 2^24 numbers: some few may meet.
    assert!(distinct(&a) > 1990 && distinct(&b) > 48);
    let (mean, var): (f32, f32) = (a.mean(..).item().unwrap(), a.square().mean(..).item().unwrap());
    assert!(mean.abs() < 0.1 && (var - 1.0).abs() < 0.15, "{mean} {var}");
    // What was drawn outside is everybody's.
    assert_eq!(distinct(&c), 40);
    // What comes next overlaps with none of it.
    let next = read(&Tensor::randn([40]));
    assert!(!read(&a).chunks(40).any(|row| row == next));
    // Nested: an example of an example too; what the middle draws is shared by the inner.
    let z = Tensor::zeros([3, 4]);
    let inner = |x: &Tensor| {
        let mine = Tensor::rand([]);
        let (sums, mine) = vmap(|y: &Tensor| (y + Tensor::rand([5]), &mine + y), 0)(x);
        (sums, mine)
    };
    let (deep, middle) = vmap(inner, 0)(&z);
    assert_eq!(deep.shape().to_vec(), [3, 4, 5]);
    assert!(distinct(&deep) > 58);
    assert_eq!(distinct(&middle), 3);
    // Inside of gradients, checkpoints and dropout; the mask of an example is one, forward and backward.
    let f = checkpoint(|x: &Tensor| (x * 3.0).dropout(0.5));
    let w = Tensor::ones([64]);
    let (y, g) = vmap(
        |x: &Tensor| {
            value_and_grad(
                |w: &Tensor| {
                    let y = f(&(w * x));
                    (y.sum(..), y)
                },
                &w,
            )
        },
        0,
    )(&Tensor::ones([8]));
    let (y, g) = (read(&y.1), read(&g));
    assert_eq!(y, g);
    assert!(y.iter().all(|&v| v == 0.0 || v == 6.0));
    assert!((1..8).all(|e| y[..64] != y[64 * e..64 * (e + 1)]));
    // One example draws what the function draws.
    manual_seed(11);
    let alone = read(&Tensor::randn([7]));
    manual_seed(11);
    assert_eq!(read(&vmap(|_: &Tensor| Tensor::randn([7]), 0)(&Tensor::zeros([1]))), alone);
}

#[test]
fn functions_with_rules_of_their_own() {
    let x = floats(1, &[5, 3]);
    let w = floats(2, &[3]);
    let c = checkpoint(|(x, w): &(Tensor, Tensor)| (x * w).sin());
    same(x.clone(), |x| c(&(x.clone(), w.clone())));
    let f = custom_vjp(|x: &Tensor| x.exp(), |_: &Tensor, y: &Tensor, dy: &Tensor| dy * y * 10.0);
    same(x.clone(), |x| f(x) * x);
    let j = custom_jvp(|x: &Tensor| x.exp(), |x: &Tensor, dx: &Tensor| dx * x.exp() * 10.0);
    same(x.clone(), |x| j(x) * x);
    // Differentiated from outside: an argument all examples share gets the sum.
    let g = custom_vjp(|(x, w): &(Tensor, Tensor)| x * w, |(x, w): &(Tensor, Tensor), _: &Tensor, dy: &Tensor| (dy * w, dy * x));
    let loss = |w: &Tensor| vmap(|x: &Tensor| g(&(x.clone(), w.clone())), 0)(&x).square().sum(..);
    let plain = |w: &Tensor| (&x * w).square().sum(..);
    near(&grad(loss, &w), &read(&grad(plain, &w)), 1e-5);
    // Even where the rule gives every example the same.
    let k = custom_vjp(
        |(x, w): &(Tensor, Tensor)| x * w,
        |(_, w): &(Tensor, Tensor), _: &Tensor, dy: &Tensor| (dy.zeros_like(), w.ones_like() * 3.0),
    );
    let loss = |w: &Tensor| vmap(|x: &Tensor| k(&(x.clone(), w.clone())), 0)(&x).sum(..);
    near(&grad(loss, &w), &[15.0; 3], 0.0);
    // Also the other way round: batched inside of a checkpoint.
    let batched = checkpoint(|w: &Tensor| vmap(|x: &Tensor| (x * w).tanh(), 0)(&x));
    near(&grad(|w: &Tensor| batched(w).sum(..), &w), &read(&grad(|w: &Tensor| (&x * w).tanh().sum(..), &w)), 1e-5);
}

#[test]
fn batched_functions_are_differentiated_and_evaluated_with_numbers_that_change() {
    let (x, w) = (floats(1, &[4, 3]), floats(2, &[3]));
    for scale in [1.0f32, 2.5] {
        let loss = |w: &Tensor| vmap(|x: &Tensor| ((x * w).sum(..) * scale).tanh(), 0)(&x).sum(..);
        let plain = |w: &Tensor| ((&x * w).sum(1) * scale).tanh().sum(..);
        near(&loss(&w), &read(&plain(&w)), 1e-5);
        near(&grad(loss, &w), &read(&grad(plain, &w)), 1e-5);
    }
    // What it takes from outside may be the end of a chain that was computed and let go.
    let mut end = Tensor::zeros([3]);
    for _ in 0..5000 {
        end += 1.0;
    }
    near(&vmap(|x: &Tensor| x * 0.0 + &end, 0)(&x), &[5000.0; 12], 0.0);
    // No examples at all.
    let none = vmap(|x: &Tensor| x.matmul(&x.t()).softmax(0).sort(-1).0, 0)(&Tensor::zeros([0, 2, 3]));
    assert_eq!((none.shape().to_vec(), read(&none).len()), (vec![0, 2, 2], 0));
    // The identity, and a function of nothing.
    assert_eq!(read(&vmap(|x: &Tensor| x.clone(), 0)(&x)), read(&x));
    assert_eq!(vmap(|_: &Tensor| Tensor::zeros([2]), 1)(&x).shape().to_vec(), [3, 2]);
}

#[test]
fn slips_name_the_tensor() {
    let (x, y) = (Tensor::zeros([3, 4]), Tensor::zeros([5]));
    let add = |(a, b): &(Tensor, Tensor)| a + b;
    #[track_caller]
    fn slip<T>(f: impl Fn() -> T, kind: ErrorKind, texts: &[&str]) {
        let e = lazuli::catch(f).map(|_| ()).unwrap_err();
        let text = e.to_string();
        assert_eq!(e.kind(), kind, "{text}");
        for t in texts.iter().chain(&["vmap", file!()]) {
            assert!(text.contains(t), "{text:?} does not say {t:?}");
        }
    }
    slip(|| vmap(add, 0)(&(x.clone(), y.clone())), ErrorKind::Shape, &["`0`", "[3, 4]", "3 examples", "`1`", "[5]", "has 5"]);
    slip(|| vmap(add, (0, 1))(&(x.clone(), y.clone())), ErrorKind::Index, &["axis 1", "`1`", "[5]"]);
    slip(|| vmap(add, 0)(&(x.clone(), scalar(1.0))), ErrorKind::Index, &["`1`", "None"]);
    slip(|| vmap(add, (None, None))(&(x.clone(), y.clone())), ErrorKind::Argument, &["nothing to map over"]);
    slip(|| vmap(add, (0, None, 0))(&(x.clone(), y.clone())), ErrorKind::Argument, &["in_axes", "3 entries", "2 parts"]);
    slip(|| vmap(add, (0, (0, 1)))(&(x.clone(), y.clone())), ErrorKind::Argument, &["`1`", "one tensor"]);
    slip(|| vmap_with(|x: &Tensor| x.exp(), 0, None)(&x), ErrorKind::Argument, &["out axis", "[4]"]);
    slip(|| vmap_with(|x: &Tensor| x.exp(), 0, 2)(&x), ErrorKind::Index, &["out axis", "axis 2", "[4]"]);
    slip(|| vmap_with(|x: &Tensor| x.exp(), 0, (0, 0))(&x), ErrorKind::Argument, &["out_axes", "one tensor"]);
    // A slip inside of the function is its own.
    let e = lazuli::catch(|| vmap(|x: &Tensor| x.matmul(&y), 0)(&Tensor::zeros([2, 3]))).unwrap_err();
    assert!(e.message().contains("matmul"), "{e}");
    // Outside of `catch` it is a panic, and a panic of the function's own leaves no draws behind.
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        vmap(|_: &Tensor| -> Tensor { panic!("the user's own") }, 0)(&x);
    }));
    assert!(panics.is_err());
    manual_seed(5);
    let one = read(&Tensor::rand([3]));
    let two = read(&Tensor::rand([3]));
    manual_seed(5);
    assert_eq!((read(&Tensor::rand([3])), read(&Tensor::rand([3]))), (one, two));
}

#[test]
fn jacobians_by_rows_and_by_columns_and_hessians() {
    let (w, x) = (floats(5, &[3, 4]), floats(6, &[2, 4]));
    let f = |x: &Tensor| x.matmul(&w.t()).tanh();
    let (rows, columns) = (jacrev(f, &x), jacfwd(f, &x));
    assert_eq!((rows.shape().to_vec(), columns.shape().to_vec()), (vec![2, 3, 2, 4], vec![2, 3, 2, 4]));
    near(&rows, &read(&columns), 1e-6);
    // A row of x has no part in the results of the other.
    assert!(read(&rows.select(0, 0).select(1, 1)).iter().all(|v| *v == 0.0));
    let loss = |x: &Tensor| f(x).square().sum(..);
    let h = hessian(loss, &x).reshape([8, 8]);
    near(&h, &read(&h.t()), 1e-5);
    let v = floats(7, &[2, 4]);
    near(&hvp(loss, &x, &v).reshape([8]), &read(&h.matmul(&v.reshape([8]))), 1e-5);
}
