//! Branches and loops in the trace.

use lazuli::prelude::*;

fn t(v: &[f32]) -> Tensor {
    Tensor::from_vec(v.to_vec(), [v.len()])
}

fn x(v: f32) -> Tensor {
    Tensor::from_vec(vec![v], [])
}

fn item(t: Tensor) -> f32 {
    t.item::<f32>().unwrap()
}

#[track_caller]
fn close(a: &Tensor, b: &[f32]) {
    let v = a.to_vec::<f32>().unwrap();
    assert_eq!(v.len(), b.len());
    for (x, y) in v.iter().zip(b) {
        assert!((x - y).abs() <= 1e-4 * (1.0 + y.abs()), "{v:?} {b:?}");
    }
}

/// Multiplies by x until the power is 6, which only the counter in the state knows.
fn sixth_power(x: &Tensor, max: Option<usize>) -> Tensor {
    let start = (Tensor::ones([]), Tensor::from_vec(vec![0i64], []));
    while_loop(start, |(_, n)| n.lt(6), |(p, n)| (p * x, n + 1), max).0
}

#[test]
fn a_while_loop_and_its_derivatives() {
    for max in [Some(6), Some(10), Some(100), Some(5000)] {
        let f = |x: &Tensor| sixth_power(x, max);
        assert_eq!(item(f(&x(2.0))), 64.0);
        assert_eq!(item(grad(f, &x(2.0))), 192.0, "{max:?}");
        let second = grad(|y: &Tensor| grad(f, y), &x(2.0));
        assert_eq!(item(second), 480.0, "{max:?}");
        let (y, dy) = jvp(f, &x(2.0), &x(1.0));
        assert_eq!((item(y), item(dy)), (64.0, 192.0));
        let forward_of_reverse = jvp(|y: &Tensor| grad(f, y), &x(2.0), &x(1.0)).1;
        assert_eq!(item(forward_of_reverse), 480.0);
    }
    // The bound is one.
    assert_eq!(item(sixth_power(&x(2.0), Some(4))), 16.0);
    assert_eq!(item(grad(|x: &Tensor| sixth_power(x, Some(4)), &x(2.0))), 32.0);
    // Without a bound: forward mode only.
    assert_eq!(item(sixth_power(&x(2.0), None)), 64.0);
    assert_eq!(item(jvp(|x: &Tensor| sixth_power(x, None), &x(2.0), &x(1.0)).1), 192.0);
    let e = lazuli::catch(|| grad(|x: &Tensor| sixth_power(x, None), &x(2.0))).unwrap_err();
    assert!(e.to_string().contains("without a bound"), "{e}");
}

#[test]
fn a_loop_whose_end_depends_on_data() {
    // Halved until below 1: the number of iterations is that of the value.
    let f = |v: &Tensor| while_loop(v.clone(), |v| v.ge(1.0), |v| v / 2.0, 200);
    assert_eq!(item(f(&x(100.0))), 100.0 / 128.0);
    assert_eq!(item(grad(f, &x(100.0))), 1.0 / 128.0);
    assert_eq!(item(grad(f, &x(0.5))), 1.0);
    let each = vmap(f, 0);
    close(&each(&t(&[100.0, 0.5, 3.0])), &[100.0 / 128.0, 0.5, 0.75]);
    let slopes = vmap(|v: &Tensor| grad(f, v), 0);
    close(&slopes(&t(&[100.0, 0.5, 3.0])), &[1.0 / 128.0, 1.0, 0.25]);
    let whole = grad(|v: &Tensor| each(v).sum(..), &t(&[100.0, 0.5, 3.0]));
    close(&whole, &[1.0 / 128.0, 1.0, 0.25]);
    let forward = jvp(|v: &Tensor| each(v), &t(&[100.0, 0.5, 3.0]), &t(&[1.0, 2.0, 4.0])).1;
    close(&forward, &[1.0 / 128.0, 2.0, 1.0]);
}

#[test]
fn scans() {
    let v = t(&[1.0, 2.0, 3.0, 4.0]);
    let run = |v: &Tensor| {
        scan(x(1.0), v, |p, v| {
            let p = p * v;
            (p.clone(), p)
        })
    };
    let (last, all) = run(&v);
    assert_eq!(item(last), 24.0);
    close(&all, &[1.0, 2.0, 6.0, 24.0]);
    close(&grad(|v: &Tensor| run(v).0, &v), &[24.0, 12.0, 8.0, 6.0]);
    // All prefixes, differentiated: against cumprod's.
    close(&grad(|v: &Tensor| run(v).1.sum(..), &v), &grad(|v: &Tensor| v.cumprod(0).sum(..), &v).to_vec::<f32>().unwrap());
    let hess = |f: &(dyn Fn(&Tensor) -> Tensor + Send + Sync)| hessian(|v: &Tensor| f(v), &v).to_vec::<f32>().unwrap();
    close(&hessian(|v: &Tensor| run(v).1.sum(..), &v), &hess(&|v: &Tensor| v.cumprod(0).sum(..)));
    // From the end.
    let (_, suffixes) = scan_reversed(x(0.0), &v, |s, v| {
        let s = s + v;
        (s.clone(), s)
    });
    close(&suffixes, &[10.0, 9.0, 7.0, 4.0]);
    let g = grad(
        |v: &Tensor| {
            let (_, s) = scan_reversed(x(0.0), v, |s, v| {
                let s = s * 0.5 + v;
                (s.clone(), s.square())
            });
            s.sum(..)
        },
        &v,
    );
    let direct = grad(
        |v: &Tensor| {
            let mut s = x(0.0);
            let mut sum = x(0.0);
            for i in (0..4).rev() {
                s = s * 0.5 + v.select(0, i);
                sum += s.square();
            }
            sum
        },
        &v,
    );
    close(&g, &direct.to_vec::<f32>().unwrap());
}

#[test]
fn a_scan_over_trees_with_products() {
    let w = Tensor::from_vec((0..9).map(|i| (i as f32 - 4.0) / 9.0).collect::<Vec<_>>(), [3, 3]);
    let xs = Tensor::from_vec((0..15).map(|i| (i as f32).sin()).collect::<Vec<_>>(), [5, 3]);
    let rnn = |w: &Tensor, xs: &Tensor| {
        let ((h, n), ys) = scan((Tensor::zeros([1, 3]), Tensor::zeros([])), &(xs.clone(), xs * 2.0), |(h, n), (a, b)| {
            let h = (h.matmul(w) + a.unsqueeze(0) - b * 0.1).tanh();
            ((h.clone(), n + 1.0), (h.select(0, 0), h.sum(..)))
        });
        h.sum(..) + n + ys.0.square().sum(..) + ys.1.sum(..)
    };
    let direct = |w: &Tensor, xs: &Tensor| {
        let (mut h, mut sum) = (Tensor::zeros([1, 3]), Tensor::zeros([]));
        for i in 0..5 {
            let a = xs.select(0, i);
            h = (h.matmul(w) + a.unsqueeze(0) - &a * 2.0 * 0.1).tanh();
            sum = sum + h.square().sum(..) + h.sum(..);
        }
        h.sum(..) + 5.0 + sum
    };
    close(&rnn(&w, &xs), &direct(&w, &xs).to_vec::<f32>().unwrap());
    for (f, g) in [
        (grad(|w: &Tensor| rnn(w, &xs), &w), grad(|w: &Tensor| direct(w, &xs), &w)),
        (grad(|x: &Tensor| rnn(&w, x), &xs), grad(|x: &Tensor| direct(&w, x), &xs)),
    ] {
        close(&f, &g.to_vec::<f32>().unwrap());
    }
    // A batch of sequences, and of weights.
    let many = Tensor::stack(&[&xs, &(&xs * 0.5)], 0);
    let batch = vmap(|x: &Tensor| grad(|w: &Tensor| rnn(w, x), &w), 0)(&many);
    let halves: Vec<f32> = [&xs, &(&xs * 0.5)].iter().flat_map(|x| grad(|w: &Tensor| direct(w, x), &w).to_vec::<f32>().unwrap()).collect();
    close(&batch, &halves);
}

#[test]
fn branches() {
    let f = |v: &Tensor| cond(&v.gt(0.0), |v: &Tensor| v.log(), |v: &Tensor| v * v, v);
    assert_eq!(item(f(&x(1.0))), 0.0);
    assert_eq!(item(f(&x(-3.0))), 9.0);
    assert_eq!(item(grad(f, &x(4.0))), 0.25);
    assert_eq!(item(grad(f, &x(-3.0))), -6.0);
    assert_eq!(item(grad(|v: &Tensor| grad(f, v), &x(-3.0))), 2.0);
    assert_eq!(item(jvp(f, &x(-3.0), &x(1.0)).1), -6.0);
    // Each example its own branch; the logarithm of what is negative is nowhere to be seen.
    close(&vmap(f, 0)(&t(&[1.0, -3.0])), &[0.0, 9.0]);
    close(&vmap(|v: &Tensor| grad(f, v), 0)(&t(&[4.0, -3.0])), &[0.25, -6.0]);
    // One branch for all examples, what is captured included.
    let p = x(1.0);
    let g = |v: &Tensor| cond(&p.gt(0.0), |v: &Tensor| v * &p, |v: &Tensor| v.exp(), v);
    close(&vmap(g, 0)(&t(&[1.0, -3.0])), &[1.0, -3.0]);
    // Only one branch is computed: the other would not end.
    let h = cond(&x(1.0).gt(0.0), |v: &Tensor| v + 1.0, |v: &Tensor| while_loop(v.clone(), |v| v.gt(-1.0), |v| v + 0.0, None), &x(1.0));
    assert_eq!(item(h), 2.0);
}

#[test]
fn loops_in_loops() {
    // sum over i < 4 of sum over j < i of x^j
    let f = |v: &Tensor| {
        fori_loop(0..4, x(0.0), |i, s| {
            let inner = while_loop(
                (x(0.0), Tensor::ones([]), Tensor::from_vec(vec![0i64], [])),
                |(_, _, j)| j.lt(i),
                |(s, p, j)| (s + &p, p * v, j + 1),
                8,
            );
            s + inner.0
        })
    };
    // i = 1: 1; i = 2: 1 + x; i = 3: 1 + x + x^2.
    assert_eq!(item(f(&x(2.0))), 11.0);
    assert_eq!(item(grad(f, &x(2.0))), 6.0);
    assert_eq!(item(grad(|v: &Tensor| grad(f, v), &x(2.0))), 2.0);
    close(&vmap(|v: &Tensor| grad(f, v), 0)(&t(&[2.0, 1.0])), &[6.0, 4.0]);
    let branchy = |v: &Tensor| fori_loop(0..5, v.clone(), |i, s| cond(&i.lt(2), |s: &Tensor| s * 2.0, |s: &Tensor| s + v, &s));
    assert_eq!(item(branchy(&x(3.0))), 21.0);
    assert_eq!(item(grad(branchy, &x(3.0))), 7.0);
    close(&vmap(branchy, 0)(&t(&[3.0, 1.0])), &[21.0, 7.0]);
}

#[test]
fn what_nobody_reads() {
    // One result of the branch is read only by a loop that carries it for nothing.
    let (a, b) = cond(&x(1.0).gt(0.0), |v: &Tensor| (v * 2.0, v.exp()), |v: &Tensor| (v.clone(), v.sin()), &x(3.0));
    let (y, _) = fori_loop(0..3, (a, b), |_, (a, b)| (a + 1.0, b.cos()));
    assert_eq!(item(y), 9.0);
    // A loop of which only the rows count, and one of which nothing does but how it ends.
    let (_, rows) = scan((x(0.0), t(&[1.0, 2.0])), &t(&[1.0, 2.0, 3.0]), |(s, v), r: Tensor| ((s + &r, v.sin()), r * 2.0));
    close(&rows, &[2.0, 4.0, 6.0]);
    let n =
        while_loop((x(100.0), Tensor::from_vec(vec![0i64], []), t(&[5.0])), |s| s.0.ge(1.0), |(v, n, w)| (v / 2.0, n + 1, w * 2.0), None).1;
    assert_eq!(n.item::<i64>().unwrap(), 7);
}

#[test]
fn no_iterations_and_one() {
    assert_eq!(item(fori_loop(0..0, x(3.0), |_, s| s * 2.0)), 3.0);
    assert_eq!(item(grad(|v: &Tensor| fori_loop(0..0, v.clone(), |_, s| s * 2.0), &x(3.0))), 1.0);
    assert_eq!(item(fori_loop(5..6, x(3.0), |i, s| s * i)), 15.0);
    assert_eq!(item(while_loop(x(3.0), |s| s.lt(0.0), |s| s * 2.0, None)), 3.0);
    let (c, ys) = scan(x(3.0), &Tensor::zeros([0, 2]), |c, x: Tensor| (c, x));
    assert_eq!((item(c), ys.shape().to_vec()), (3.0, vec![0, 2]));
}

#[test]
fn states_that_change_places_and_stand_still() {
    // Fibonacci: one half of the state becomes the other.
    let (a, _) = fori_loop(0..20, (Tensor::from_vec(vec![0i64], []), Tensor::from_vec(vec![1i64], [])), |_, (a, b)| (b.clone(), a + b));
    assert_eq!(a.item::<i64>().unwrap(), 6765);
    let big = |v: f32| Tensor::full([1000], v);
    let (a, b, c) = fori_loop(0..7, (big(1.0), big(2.0), big(3.0)), |_, (a, b, c)| (b, a, c));
    assert_eq!((item(a.max(..)), item(b.min(..))), (2.0, 1.0));
    // A sum over a thousand is exact, a graphics device's division by a thousand need not be.
    let off = if Device::current() == Device::cpu() { 0.0 } else { 1e-6 };
    super::near(&c.mean(..), &[3.0], off);
    let (a, b) = fori_loop(0..3, (big(1.0), big(2.0)), |_, (a, b)| {
        let s = a + b;
        (s.clone(), s)
    });
    assert_eq!((item(a.max(..)), item(b.min(..))), (12.0, 12.0));
    // Shifted: each element reads its neighbour, so nothing can be written in place.
    let v = fori_loop(0..3, Tensor::arange(8).cast(lazuli::DType::F32), |_, v| v.roll(&[1], 0));
    close(&v, &[5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
    // One row after the other is written.
    let rows = fori_loop(0..4, Tensor::zeros([4, 2]), |i, m| m.index_add(0, &i.reshape([1]), &Tensor::ones([1, 2])) * 2.0);
    close(&rows, &[16.0, 16.0, 8.0, 8.0, 4.0, 4.0, 2.0, 2.0]);
}

#[test]
fn a_hundred_thousand_iterations() {
    let n = fori_loop(0..100_000, Tensor::from_vec(vec![0i64], []), |i, s| (s + i) % 1_000_003);
    let want = (0..100_000i64).fold(0, |s, i| (s + i) % 1_000_003);
    assert_eq!(n.item::<i64>().unwrap(), want);
    // A gradient through as many: of x in x + x/N + x/N + ...
    let g = grad(|x: &Tensor| fori_loop(0..100_000, x.clone(), |_, s| s + x / 100_000.0), &x(1.0));
    assert!((item(g) - 2.0).abs() < 1e-2);
    // With a bound of that, some 2 * 317 states are enough.
    let g = grad(|x: &Tensor| while_loop(x.clone(), |s| s.lt(1000.0), |s| s * 1.0001, 100_000), &x(1.0));
    let steps = (1000f64.ln() / 1.0001f64.ln()).ceil();
    assert!((item(g) as f64 / 1.0001f64.powf(steps) - 1.0).abs() < 0.05);
}

#[test]
fn every_iteration_draws_anew() {
    lazuli::manual_seed(1);
    let (_, ys) = scan(x(0.0), &Tensor::zeros([50]), |c, x: Tensor| (c, x + Tensor::rand([3])));
    let v = ys.to_vec::<f32>().unwrap();
    let mut sorted = v.clone();
    sorted.sort_by(f32::total_cmp);
    sorted.dedup();
    assert_eq!(sorted.len(), 150);
    // The generator goes on behind them.
    let next = Tensor::rand([3]).to_vec::<f32>().unwrap();
    assert!(next.iter().all(|x| !v.contains(x)));
    // Each of a batch of examples draws its own, in every iteration, also where nothing else depends on the example.
    let walk = |x: &Tensor| fori_loop(0..5, Tensor::zeros([]), |_, s| s + Tensor::rand([])) + x * 0.0;
    let v = vmap(walk, 0)(&Tensor::zeros([40])).to_vec::<f32>().unwrap();
    let mut sorted = v.clone();
    sorted.sort_by(f32::total_cmp);
    sorted.dedup();
    assert_eq!(sorted.len(), 40);
    // What reverse mode runs again draws the same.
    let noisy = |x: &Tensor| {
        let r = fori_loop(0..5, x.clone(), |_, s| s * Tensor::rand([]));
        r.clone()
    };
    let (y, g) = value_and_grad(noisy, &x(2.0));
    assert!((item(y) - 2.0 * item(g)).abs() < 1e-6);
    let both = vmap(|x: &Tensor| value_and_grad(noisy, x), 0)(&Tensor::full([4], 2.0));
    close(&both.0, &(both.1 * 2.0).to_vec::<f32>().unwrap());
    // By jit too: each call goes on where the last one ended.
    let f = jit(|x: Tensor| fori_loop(0..3, x, |_, s| s + Tensor::rand([])));
    assert_ne!(item(f(x(0.0)).unwrap()), item(f(x(0.0)).unwrap()));
}

#[test]
fn slips_are_named() {
    let e = |f: &dyn Fn()| lazuli::catch(f).unwrap_err().to_string();
    let m = e(&|| _ = while_loop(t(&[1.0, 2.0]), |s| s.sum(..).lt(9.0), |s| s.sum(..), 9));
    assert!(m.contains("while_loop") && m.contains("f32 [2] before an iteration") && m.contains("f32 [] after it"), "{m}");
    let m = e(&|| _ = while_loop((x(0.0), x(1.0)), |s| s.0.lt(9.0), |(a, b)| (a.cast(DType::F64), b), 9));
    assert!(m.contains("tensor `0` is f32 [] before an iteration, but f64 [] after it"), "{m}");
    let m = e(&|| _ = while_loop(t(&[1.0]), |s| s.clone(), |s| s, 9));
    assert!(m.contains("the condition is f32 [1], expected a single bool"), "{m}");
    let m = e(&|| _ = cond(&x(1.0), |x: &Tensor| x.clone(), |x: &Tensor| x.clone(), &x(1.0)));
    assert!(m.contains("cond: the predicate is f32 []"), "{m}");
    let m = e(&|| _ = cond(&x(1.0).gt(0.0), |x: &Tensor| x.clone(), |x: &Tensor| x.reshape([1]), &x(1.0)));
    assert!(m.contains("f32 [] where the predicate holds") && m.contains("f32 [1] where it does not"), "{m}");
    let m = e(&|| _ = cond(&x(1.0).gt(0.0), |x: &Tensor| vec![x.clone()], |_: &Tensor| vec![], &x(1.0)));
    assert!(m.contains("structure"), "{m}");
    let m = e(&|| _ = scan(x(0.0), &(t(&[1.0]), t(&[1.0, 2.0])), |c, (a, _): (Tensor, Tensor)| (c, a)));
    assert!(m.contains("1 rows") && m.contains("has 2"), "{m}");
    let m = e(&|| _ = scan(x(0.0), &x(0.0), |c, a: Tensor| (c, a)));
    assert!(m.contains("no axis 0"), "{m}");
    let m = e(&|| _ = scan(x(0.0), &(), |c, ()| (c, ())));
    assert!(m.contains("fori_loop"), "{m}");
    // A value is not to be looked at inside.
    let seen = std::sync::Mutex::new(String::new());
    fori_loop(0..3, x(1.0), |_, s| {
        *seen.lock().unwrap() = s.item::<f32>().unwrap_err().to_string();
        s
    });
    assert!(!seen.into_inner().unwrap().is_empty());
}

#[test]
fn under_jit_and_inside() {
    let f = jit(|v: Tensor| while_loop(v, |v| v.sum(..).lt(100.0), |v| v * 2.0, None));
    for _ in 0..3 {
        close(&f(t(&[1.0, 2.0])).unwrap(), &[64.0, 128.0][..].iter().map(|x| x / 1.0).collect::<Vec<_>>());
    }
    close(&f(t(&[200.0])).unwrap(), &[200.0]);
    // A factor that changes is data.
    let g = |k: f32| fori_loop(0..10, x(1.0), move |_, s| s * k);
    assert_eq!(item(g(1.0)), 1.0);
    assert_eq!(item(g(2.0)), 1024.0);
}
