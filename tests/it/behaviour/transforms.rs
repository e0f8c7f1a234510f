//! Jacobians over trees, linear maps, rules of the user's own over several arguments, what a checkpoint keeps.

use super::{near, read, scalar, vector};
use lazuli::models::Mlp;
use lazuli::prelude::*;
use lazuli::{Policy, checkpoint_name, checkpoint_with};

fn matrix(seed: u64, shape: [usize; 2]) -> Tensor {
    Tensor::from_vec(crate::rng::Rng(seed).floats(shape[0] * shape[1], -1.0, 1.0), shape)
}

#[test]
fn jacobians_by_columns_and_by_rows_agree() {
    let x = vector(&[0.5, -1.0, 2.0]);
    let f = |x: &Tensor| Tensor::cat(&[&x.sin(), &(x.sum(..) * x).exp()], 0);
    let (a, b) = (jacfwd(f, &x), jacrev(f, &x));
    assert_eq!(a.shape().to_vec(), [6, 3]);
    near(&a, &read(&b), 1e-5);

    // Two arguments of different shapes, one not differentiated; a list and a tensor as results.
    let (w, k) = (matrix(1, [2, 3]), Tensor::from_vec(vec![2i64, 3], [2]));
    let g = |(w, x, k): &(Tensor, Tensor, Tensor)| (vec![w.matmul(x), (w * w).sum(..)], x.tanh() * k.sum(..));
    let (f, r) = (jacfwd(g, &(w.clone(), x.clone(), k.clone())), jacrev(g, &(w.clone(), x.clone(), k)));
    for (a, b, y) in [(&f.0[0], &r.0[0], vec![2]), (&f.0[1], &r.0[1], vec![]), (&f.1, &r.1, vec![3])] {
        let shape = |rest: &[usize]| [&y[..], rest].concat();
        assert_eq!((a.0.shape().to_vec(), b.0.shape().to_vec()), (shape(&[2, 3]), shape(&[2, 3])));
        assert_eq!((a.1.shape().to_vec(), a.2.shape().to_vec(), a.2.dtype()), (shape(&[3]), shape(&[2]), DType::I64));
        near(&a.0, &read(&b.0), 1e-5);
        near(&a.1, &read(&b.1), 1e-5);
        assert_eq!(a.2.to_vec::<i64>().unwrap(), b.2.to_vec::<i64>().unwrap());
    }
    near(&f.0[0].1, &read(&w), 1e-6);
    // Inside and around other transforms.
    let rows = vmap(|x: &Tensor| jacrev(|x: &Tensor| x * x, x), 0)(&matrix(3, [4, 3]));
    assert_eq!(rows.shape().to_vec(), [4, 3, 3]);
    let f = jit(|x: Tensor| jacfwd(|x: &Tensor| x * x, &x));
    assert_eq!(f(vector(&[1.0, 3.0])).unwrap().to_vec::<f32>().unwrap(), [2.0, 0.0, 0.0, 6.0]);
    let third = grad(|x: &Tensor| jacrev(|x: &Tensor| x * x * x, x).sum(..), &vector(&[2.0]));
    near(&third, &[12.0], 1e-6);
}

#[test]
fn the_hessian_of_a_small_mlp() {
    let model = Mlp::new(&[3, 4, 2]);
    let (x, y) = (matrix(5, [6, 3]), Tensor::from_vec(vec![0i64, 1, 1, 0, 1, 0], [6]));
    let loss = |m: &Mlp| m.forward(&x).sigmoid().cross_entropy(&y);
    let h = hessian(loss, &model);
    let names: Vec<String> = h.iter().map(|(n, _)| n.to_string()).collect();
    assert_eq!(names, lazuli::function::tree::named_leaves(&model).into_iter().map(|l| l.0).collect::<Vec<_>>());
    // H v, by the products of blocks and directly.
    let mut seed = 7;
    let v = lazuli::function::tree::map_tensors(&model, |t, _| {
        seed += 1;
        Tensor::from_vec(crate::rng::Rng(seed).floats(t.numel(), -1.0, 1.0), t.shape())
    });
    let direct = hvp(loss, &model, &v);
    let flat = |m: &Mlp| lazuli::function::tree::leaves(m);
    for ((_, row), want) in h.iter().zip(flat(&direct)) {
        let products = flat(row).into_iter().zip(flat(&v)).map(|(block, v)| {
            let n = want.numel() as isize;
            block.reshape([n, v.numel() as isize]).matmul(&v.reshape([v.numel() as isize]))
        });
        let sum = products.reduce(|a, b| a + b).unwrap();
        near(&sum, &read(&want), 1e-4);
    }
    // Symmetric.
    let (a, b) = (flat(&h[names[0].as_str()])[1].clone(), flat(&h[names[1].as_str()])[0].clone());
    let (n, m) = (flat(&model)[0].numel() as isize, flat(&model)[1].numel() as isize);
    near(&a.reshape([n, m]).t(), &read(&b.reshape([m, n])), 1e-4);
}

#[test]
fn a_derivative_recorded_once_serves_many_directions() {
    let (w, x) = (matrix(1, [3, 3]), vector(&[0.1, 0.2, -0.3]));
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let f = |(w, x): &(Tensor, Tensor)| {
        calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (w.matmul(x).tanh(), x.exp() * 2.0)
    };
    let at = (w, x);
    let (y, lin) = linearize(f, &at);
    for seed in 3..6 {
        let v = (matrix(seed, [3, 3]), vector(&[seed as f32, 1.0, -1.0]));
        let (want_y, want) = jvp(f, &at, &v);
        let got = lin(&v);
        near(&got.0, &read(&want.0), 1e-6);
        near(&got.1, &read(&want.1), 1e-6);
        near(&y.0, &read(&want_y.0), 1e-6);
    }
    assert_eq!(calls.into_inner(), 4);
    let e = lazuli::catch(|| lin(&(matrix(1, [2, 3]), vector(&[1.0, 1.0, 1.0])))).map(|_| ()).unwrap_err();
    assert!(e.kind() == lazuli::ErrorKind::Shape && e.message().contains("[2, 3]") && e.message().contains("[3, 3]"), "{e}");
    // Linear maps are differentiated, batched and recorded like anything else.
    let columns = vmap(|v: &Tensor| lin(&(Tensor::zeros([3, 3]), v.clone())).0, 0)(&Tensor::eye(3));
    let j = jacfwd(|x: &Tensor| at.0.matmul(x).tanh(), &at.1);
    near(&columns.t(), &read(&j), 1e-6);
    let g = grad(|x: &Tensor| linearize(|x: &Tensor| x * x * x, x).1(&Tensor::ones([3])).sum(..), &at.1);
    near(&g, &[0.6, 1.2, -1.8], 1e-6);
}

#[test]
fn what_a_linear_map_takes_from_its_point_is_computed_once() {
    let x = Tensor::from_vec(crate::rng::Rng(2).floats(64 * 64, -1.0, 1.0), [64, 64]);
    let (y, lin) = linearize(|x: &Tensor| x.matmul(x).tanh(), &x);
    y.to_vec::<f32>().unwrap();
    let report = lazuli::explain(&[lin(&x)]);
    let dots = report.kernels().iter().filter(|k| k.name() == "matmul").count();
    assert_eq!(dots, 2, "two products with the tangent, none of the value:\n{report}");
}

#[test]
fn stop_gradient_makes_constants() {
    let g = grad(
        |(a, b): &(Tensor, Tensor)| {
            let (c, d) = stop_gradient(&(a.clone(), b.clone()));
            a * c + b * b * d
        },
        &(scalar(3.0), scalar(2.0)),
    );
    near(&g.0, &[3.0], 0.0);
    near(&g.1, &[8.0], 0.0);
    let (_, t) = jvp(|x: &Tensor| x * stop_gradient(x), &scalar(5.0), &scalar(1.0));
    near(&t, &[5.0], 0.0);
}

#[test]
fn own_rules_over_several_arguments() {
    // Forward and reverse rules of a * sin(b), off by factors so that they show.
    let f = custom_vjp(
        |(a, b): &(Tensor, Tensor)| (a * b.sin(), a.sum(..)),
        |(a, b): &(Tensor, Tensor), _: &(Tensor, Tensor), (dy, ds): &(Tensor, Tensor)| (dy * b.sin() * 10.0 + ds, dy * a * b.cos() * 100.0),
    );
    let (a, b) = (vector(&[1.0, 2.0]), vector(&[0.3, 0.7]));
    let (ga, gb) = grad(
        |p: &(Tensor, Tensor)| {
            let (y, s) = f(p);
            y.sum(..) + s * 7.0
        },
        &(a.clone(), b.clone()),
    );
    near(&ga, &[10.0 * 0.3f32.sin() + 7.0, 10.0 * 0.7f32.sin() + 7.0], 1e-5);
    near(&gb, &[100.0 * 0.3f32.cos(), 200.0 * 0.7f32.cos()], 1e-5);
    let h = custom_jvp(|(a, b): &(Tensor, Tensor)| a * b, |(a, b): &(Tensor, Tensor), (da, db): &(Tensor, Tensor)| da * b * 3.0 + a * db);
    let p = (a, b);
    near(&jvp(|p: &(Tensor, Tensor)| h(p), &p, &(vector(&[1.0, 0.0]), vector(&[0.0, 1.0]))).1, &[0.9, 2.0], 1e-5);
    let (ga, gb) = grad(|p: &(Tensor, Tensor)| h(p).sum(..), &p);
    near(&ga, &[0.9, 2.1], 1e-5);
    near(&gb, &[1.0, 2.0], 1e-5);
    // For every example of a batch.
    let each = vmap(|p: &(Tensor, Tensor)| grad(|p: &(Tensor, Tensor)| h(p), p), 0)(&p);
    near(&each.0, &[0.9, 2.1], 1e-5);
}

/// A block of layers with much between its products.
fn block(ws: &[Tensor], x: &Tensor) -> Tensor {
    let n = x.shape()[1];
    ws.iter().fold(x.clone(), |x, w| {
        let h = checkpoint_name(&x.layer_norm([n], None, None, 1e-5).matmul(w), "product");
        checkpoint_name(&h.gelu(), "activation") + &x
    })
}

fn policies() -> Vec<(&'static str, Policy)> {
    vec![
        ("nothing", Policy::nothing()),
        ("activations", Policy::names(["activation"])),
        ("dots", Policy::dots()),
        ("exp and erf", Policy::when(|v| matches!(v.op, "erf" | "exp"))),
        ("both names", Policy::names(["product"]).or(Policy::names(["activation"]))),
        ("everything", Policy::everything()),
    ]
}

#[test]
fn gradients_are_the_same_bits_whatever_is_kept() {
    let ws: Vec<Vec<Tensor>> = (0..3).map(|b| (0..2).map(|i| matrix(10 * b + i, [16, 16]) * 0.3).collect()).collect();
    let x = matrix(99, [8, 16]);
    let loss = |policy: Option<Policy>, ws: &Vec<Vec<Tensor>>| {
        let mut h = x.clone();
        for w in ws {
            h = match &policy {
                None => block(w, &h),
                Some(p) => checkpoint_with(p.clone(), |(w, x): &(Vec<Tensor>, Tensor)| block(w, x))(&(w.clone(), h)),
            };
        }
        h.square().mean(..)
    };
    let bits = |policy: Option<Policy>| {
        let (l, g) = value_and_grad(|ws: &Vec<Vec<Tensor>>| loss(policy.clone(), ws), &ws);
        let mut all = vec![read(&l)];
        all.extend(lazuli::function::tree::leaves(&g).iter().map(read));
        all.into_iter().flatten().map(f32::to_bits).collect::<Vec<u32>>()
    };
    let plain = bits(None);
    for (name, p) in policies() {
        let got = bits(Some(p.clone()));
        // A kept activation is rounded before it is added to the residual; else its last product and that sum are one rounding.
        match name {
            "activations" | "both names" => {
                let near = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs() <= 1e-6;
                assert!(got.iter().zip(&plain).all(near), "{name}");
            }
            _ => assert!(got == plain, "{name}"),
        }
        // Captured weights and second derivatives.
        let w = &ws[0];
        let f = checkpoint_with(p, |x: &Tensor| block(w, x));
        near(&hvp(|x: &Tensor| f(x).square().mean(..), &x, &x), &read(&hvp(|x: &Tensor| block(w, x).square().mean(..), &x, &x)), 1e-5);
    }
}

#[test]
fn names_inside_a_batch_are_found() {
    let keep = Policy::when(|v| {
        assert!(v.name.is_none() || v.shape.to_vec() == [5, 3], "{v:?}");
        v.name == Some("h")
    });
    let f = checkpoint_with(keep, |x: &Tensor| vmap(|x: &Tensor| checkpoint_name(&x.sin(), "h").exp(), 0)(x));
    let x = matrix(4, [5, 3]);
    let (y, pull) = vjp(|x: &Tensor| f(x), &x);
    let report = lazuli::explain(&[pull(&Tensor::ones([5, 3])), y]);
    assert!(report.trace().matches("sin").count() == 1 && report.trace().matches("exp").count() == 2, "{}", report.trace());
}

/// What each policy keeps between the passes, as the plan lays it out.
#[test]
fn what_is_kept_is_what_the_policy_says() {
    let (n, layers, blocks) = (64, 4, 4);
    let ws: Vec<Vec<Tensor>> = (0..blocks).map(|b| (0..layers).map(|i| matrix(10 * b + i, [n, n]) * 0.3).collect()).collect();
    let x = matrix(99, [256, n]);
    let live = |p: Policy| {
        let (l, g) = value_and_grad(
            |ws: &Vec<Vec<Tensor>>| {
                let step =
                    |h: Tensor, w: &Vec<Tensor>| checkpoint_with(p.clone(), |(w, x): &(Vec<Tensor>, Tensor)| block(w, x))(&(w.clone(), h));
                ws.iter().fold(x.clone(), step).square().mean(..)
            },
            &ws,
        );
        let mut all = lazuli::function::tree::leaves(&g);
        all.push(l);
        lazuli::explain(&all).live_bytes()
    };
    let [nothing, dots, everything] = [Policy::nothing(), Policy::dots(), Policy::everything()].map(live);
    assert!(nothing < dots && dots < everything, "{nothing} {dots} {everything}");
}
