//! Whole ideas in a few lines, that need several transforms at once.

use super::{near, read, scalar};
use lazuli::function::tree;
use lazuli::prelude::*;

fn wide(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape)
}

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let n = shape.iter().product();
    let v: Vec<f64> = crate::rng::Rng(seed).floats(n, -1.0, 1.0).into_iter().map(f64::from).collect();
    wide(&v, shape)
}

fn numbers(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f64>().unwrap()
}

#[track_caller]
fn agree(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= tolerance * (1.0 + y.abs()), "{a:?}\n{b:?}");
    }
}

#[test]
fn recursion_in_rust_inside_jit() {
    // Products over a binary tree of halves: the recursion is run once, while recording.
    fn product(x: &Tensor) -> Tensor {
        match x.shape()[0] {
            1 => x.select(0, 0),
            n => product(&x.narrow(0, 0, n / 2)) * product(&x.narrow(0, (n / 2) as isize, n - n / 2)),
        }
    }
    let f = jit(|x: Tensor| value_and_grad(|x: &Tensor| product(x), &x));
    for k in 1..4 {
        let x = Tensor::arange_range(1, 8, 1).cast(DType::F32) * k;
        let (y, g) = f(x.clone()).unwrap();
        let want = 5040.0 * (k as f32).powi(7);
        near(&y, &[want], 1e-6);
        near(&g, &read(&x).iter().map(|x| want / x).collect::<Vec<_>>(), 1e-5);
    }
    assert_eq!(f.records(), 1);
    // How deep it goes may depend on a number that is no tensor: another structure, another record.
    fn power(x: &Tensor, n: u32) -> Tensor {
        match n {
            0 => Tensor::ones([]),
            n if n.is_multiple_of(2) => power(&(x * x), n / 2),
            n => x * power(x, n - 1),
        }
    }
    let f = jit(|(x, n): (Tensor, u32)| power(&x, n));
    for (n, want) in [(0, 1.0), (10, 1024.0), (13, 8192.0), (10, 1024.0)] {
        assert_eq!(read(&f((scalar(2.0), n)).unwrap()), [want]);
    }
    assert_eq!(f.records(), 3);
}

#[test]
fn forward_and_reverse_jacobians_are_equal() {
    crate::devices::needs_f64!("forward_and_reverse_jacobians_are_equal");
    let w = random(1, &[4, 3]);
    type Function<'a> = Box<dyn Fn(&Tensor) -> Tensor + Send + Sync + 'a>;
    let functions: Vec<Function> = vec![
        Box::new(|x| x.exp().sin()),
        Box::new(|x| x.matmul(&w).softmax(-1)),
        Box::new(|x| x.cumsum(0) * x.flip(0) + x.max_keepdim(0)),
        Box::new(|x| scan(Tensor::zeros([]).cast(DType::F64), x, |c, x: Tensor| ((c.sin() + &x) * &x, c)).1),
        Box::new(|x| fori_loop(0..5, x.clone(), |i, s| s * (x + i.cast(DType::F64) * 0.1).cos())),
        Box::new(|x| cond(&x.sum(..).gt(0.0), |x: &Tensor| x.square(), |x: &Tensor| x.tanh(), x)),
        Box::new(|x| x.sort(0).0 * x.outer(x).sum(1)),
    ];
    for (i, f) in functions.iter().enumerate() {
        let x = random(10 + i as u64, &[4]);
        let (a, b) = (jacfwd(|x: &Tensor| f(x), &x), jacrev(|x: &Tensor| f(x), &x));
        assert_eq!(a.shape(), b.shape());
        agree(&numbers(&a), &numbers(&b), 1e-13);
        assert!(numbers(&a).iter().any(|x| x.abs() > 1e-3), "function {i}");
    }
}

/// A perceptron's loss as a function of all its weights in one vector of 23.
fn perceptron(p: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
    let part = |from: isize, shape: &[usize]| p.narrow(0, from, shape.iter().product()).reshape(shape);
    let hidden = (x.matmul(&part(0, &[3, 4])) + part(12, &[4])).tanh();
    let out = hidden.matmul(&part(16, &[4, 1])) + part(20, &[1]);
    (out - y).square().mean(..) + part(21, &[2]).square().sum(..)
}

#[test]
fn the_hessian_of_a_small_perceptron() {
    crate::devices::needs_f64!("the_hessian_of_a_small_perceptron");
    let (p, x, y) = (random(2, &[23]), random(3, &[5, 3]), random(4, &[5, 1]));
    let f = |p: &Tensor| perceptron(p, &x, &y);
    let h = hessian(f, &p);
    assert_eq!(h.shape()[..], [23, 23]);
    let got = numbers(&h);
    // Central differences of the gradient.
    let step = 1e-5;
    for i in 0..23 {
        let mut e = vec![0.0; 23];
        e[i] = step;
        let e = wide(&e, &[23]);
        let slope = (grad(f, &(&p + &e)) - grad(f, &(&p - &e))) / (2.0 * step);
        agree(&got[i * 23..(i + 1) * 23], &numbers(&slope), 1e-8);
    }
    agree(&got, &numbers(&h.mt()), 1e-13);
    agree(&got, &numbers(&jacfwd(|p: &Tensor| grad(f, p), &p)), 1e-13);
    agree(&got, &numbers(&jacrev(|p: &Tensor| grad(f, p), &p)), 1e-13);
    let v = random(5, &[23]);
    agree(&numbers(&hvp(f, &p, &v)), &numbers(&h.mv(&v)), 1e-12);
}

#[test]
fn learning_to_learn_through_an_inner_loop() {
    crate::devices::needs_f64!("learning_to_learn_through_an_inner_loop");
    // Two tasks: lines through points. The start is to be good after three steps of descent on a task's first half.
    let loss = |(w, b): &(Tensor, Tensor), x: &Tensor, y: &Tensor| (x * w + b - y).tanh().square().mean(..);
    let xs = random(6, &[2, 8]);
    let ys = &xs * wide(&[0.7, -1.1], &[2, 1]) + wide(&[0.2, 0.4], &[2, 1]);
    let descend = |p: (Tensor, Tensor), rate: &Tensor, x: &Tensor, y: &Tensor| {
        let g = grad(|p: &(Tensor, Tensor)| loss(p, x, y), &p);
        (p.0 - g.0 * rate, p.1 - g.1 * rate)
    };
    type Meta = ((Tensor, Tensor), Tensor);
    let task = |looped: bool, (start, rate): &Meta, x: &Tensor, y: &Tensor| {
        let (x1, y1) = (x.narrow(0, 0, 4), y.narrow(0, 0, 4));
        let tuned = match looped {
            true => fori_loop(0..3, start.clone(), |_, p| descend(p, rate, &x1, &y1)),
            false => (0..3).fold(start.clone(), |p, _| descend(p, rate, &x1, &y1)),
        };
        loss(&tuned, &x.narrow(0, 4, 4), &y.narrow(0, 4, 4))
    };
    let meta = |looped: bool, m: &Meta| {
        let each = vmap(|(x, y): &(Tensor, Tensor)| task(looped, m, x, y), 0);
        each(&(xs.clone(), ys.clone())).mean(..)
    };
    let at: Meta = ((wide(&[0.3], &[]), wide(&[-0.1], &[])), wide(&[0.2], &[]));
    let gradient =
        |looped: bool, at: &Meta| -> Vec<f64> { tree::leaves(&grad(|m: &Meta| meta(looped, m), at)).iter().flat_map(numbers).collect() };
    let (by_for, by_loop) = (gradient(false, &at), gradient(true, &at));
    agree(&by_for, &by_loop, 1e-12);
    // Against differences of the value, of the starting weight, bias and of the inner learning rate.
    let value = |m: &Meta| numbers(&meta(true, m))[0];
    for i in 0..3 {
        let moved = |by: f64| {
            let mut leaves = tree::leaves(&at);
            leaves[i] = &leaves[i] + by;
            value(&tree::from_leaves(&at, leaves))
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((slope - by_loop[i]).abs() < 1e-8 && slope.abs() > 1e-4, "{i}: {slope} {by_loop:?}");
    }
    // It helps.
    let mut m = at.clone();
    for _ in 0..30 {
        let g = grad(|m: &Meta| meta(true, m), &m);
        m = tree::from_leaves(&m, tree::leaves(&m).iter().zip(tree::leaves(&g)).map(|(x, g)| x - g * 0.5));
    }
    assert!(value(&m) < 0.5 * value(&at), "{} {}", value(&m), value(&at));
}

#[derive(Tree, Clone)]
struct Recurrent {
    input: Tensor,
    hidden: Tensor,
    bias: Tensor,
    output: Tensor,
}

#[test]
fn a_recurrent_network_learns_to_copy() {
    const SYMBOLS: usize = 4;
    const LENGTH: usize = 3;
    const WIDTH: usize = 32;
    const BATCH: usize = 64;
    manual_seed(7);
    let init = |m: usize, n: usize| Tensor::randn([m, n]) / (m as f32).sqrt();
    let mut net = Recurrent {
        input: init(SYMBOLS + 1, WIDTH),
        hidden: Tensor::eye(WIDTH) * 0.9 + init(WIDTH, WIDTH) * 0.2,
        bias: Tensor::zeros([WIDTH]),
        output: init(WIDTH, SYMBOLS),
    };
    // Symbols are shown, then blanks, during which they are to be said in the same order.
    let run = |net: &Recurrent, words: &Tensor| {
        let blank = Tensor::full([LENGTH, BATCH], SYMBOLS as i64);
        let seen = Tensor::cat(&[words, &blank], 0).one_hot(SYMBOLS + 1).cast(DType::F32);
        let step = |h: Tensor, x: Tensor| {
            let h = (x.matmul(&net.input) + h.matmul(&net.hidden) + &net.bias).tanh();
            (h.clone(), h.matmul(&net.output))
        };
        scan(Tensor::zeros([BATCH, WIDTH]), &seen, step).1.narrow(0, LENGTH as isize, LENGTH)
    };
    let loss = |net: &Recurrent, words: &Tensor| {
        let said = run(net, words).log_softmax(-1);
        -(said * words.one_hot(SYMBOLS).cast(DType::F32)).sum(-1).mean(..)
    };
    let step = jit(|(mut net, mut adam): (Recurrent, Adam)| {
        let words = Tensor::randint(0, SYMBOLS as i64, [LENGTH, BATCH]);
        let (l, g) = value_and_grad(|net: &Recurrent| loss(net, &words), &net);
        adam.step(&mut net, &g)?;
        Ok((net, adam, l))
    });
    let mut adam = Adam::new(0.01);
    let (mut first, mut last) = (0.0, 0.0);
    for i in 0..400 {
        let l;
        (net, adam, l) = step((net, adam)).unwrap();
        last = l.item::<f32>().unwrap();
        if i == 0 {
            first = last;
        }
    }
    assert!(first > 1.2, "{first}");
    assert!(last < 0.2, "{last}");
    let words = Tensor::randint(0, SYMBOLS as i64, [LENGTH, BATCH]);
    let right = run(&net, &words).argmax(-1).eq(&words).cast(DType::F32).mean(..).item::<f32>().unwrap();
    assert!(right > 0.9, "{right}");
}

#[test]
fn the_mandelbrot_set_by_a_loop_for_each_point() {
    crate::devices::needs_f64!("the_mandelbrot_set_by_a_loop_for_each_point");
    const MOST: usize = 60;
    let escape = |c: &(Tensor, Tensor)| {
        let zero = Tensor::zeros([]).cast(DType::F64);
        let start = (zero.clone(), zero, Tensor::zeros([]).cast(DType::I64));
        while_loop(
            start,
            |(x, y, n)| (x * x + y * y).le(4.0).logical_and(&n.lt(MOST as i64)),
            |(x, y, n)| (&x * &x - &y * &y + &c.0, &x * &y * 2.0 + &c.1, n + 1),
            None,
        )
        .2
    };
    let (w, h) = (33, 21);
    let points: Vec<(f64, f64)> = (0..w * h).map(|i| (-2.2 + 3.2 * (i % w) as f64 / 32.0, -1.2 + 2.4 * (i / w) as f64 / 20.0)).collect();
    let count = |&(cx, cy): &(f64, f64)| {
        let (mut x, mut y, mut n) = (0.0f64, 0.0f64, 0i64);
        while x * x + y * y <= 4.0 && n < MOST as i64 {
            (x, y) = (x * x - y * y + cx, x * y * 2.0 + cy);
            n += 1;
        }
        n
    };
    let want: Vec<i64> = points.iter().map(count).collect();
    let (cx, cy): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
    let c = (wide(&cx, &[h, w]), wide(&cy, &[h, w]));
    // Over both axes, one inside of the other.
    let all = vmap(|row: &(Tensor, Tensor)| vmap(escape, 0)(row), 0);
    let got = all(&c).to_vec::<i64>().unwrap();
    // Rounding may differ where products are added in one step; a count then moves only where the orbit is chaotic.
    let differ = got.iter().zip(&want).filter(|(a, b)| a != b).count();
    assert!(differ == 0, "{differ} of {} counts differ", want.len());
    assert!(want.contains(&(MOST as i64)) && want.contains(&1));
}

#[test]
fn a_root_by_newton_with_its_implicit_gradient() {
    crate::devices::needs_f64!("a_root_by_newton_with_its_implicit_gradient");
    // x^3 + a x = b has one root for a > 0; dx/da = -x / (3 x^2 + a), dx/db = 1 / (3 x^2 + a).
    let newton = |(a, b): &(Tensor, Tensor)| {
        let f = |x: &Tensor| x * x * x + a * x - b;
        let start = (b.clone(), Tensor::ones([]).cast(DType::F64));
        // No bound: reverse mode could not go through the loop, and need not.
        while_loop(
            start,
            |(_, change)| change.abs().gt(1e-13),
            |(x, _)| {
                let (value, slope) = jvp(f, &x, &x.ones_like());
                let change = value / slope;
                (x - &change, change)
            },
            None,
        )
        .0
    };
    let root = custom_vjp(newton, |(a, _): &(Tensor, Tensor), x: &Tensor, dx: &Tensor| {
        let db = dx / (x * x * 3.0 + a);
        (-(x * &db), db)
    });
    let at = (wide(&[2.0], &[]), wide(&[12.0], &[]));
    agree(&numbers(&root(&at)), &[2.0], 1e-12);
    let (da, db) = grad(|p: &(Tensor, Tensor)| root(p), &at);
    agree(&[numbers(&da)[0], numbers(&db)[0]], &[-2.0 / 14.0, 1.0 / 14.0], 1e-12);
    // Without it, the loop is refused.
    let e = lazuli::catch(|| grad(|p: &(Tensor, Tensor)| newton(p), &at)).unwrap_err();
    assert!(e.to_string().contains("without a bound"), "{e}");
    // For many equations at once, each as long as it needs; and recorded.
    let many = (wide(&[2.0, 1.0, 0.5], &[3]), wide(&[12.0, 10.0, -1.5], &[3]));
    let roots = vmap(|p: &(Tensor, Tensor)| root(p), 0)(&many);
    agree(&numbers(&roots), &[2.0, 2.0, -1.0], 1e-12);
    let slopes = jit(|many: (Tensor, Tensor)| vmap(|p: &(Tensor, Tensor)| grad(|p: &(Tensor, Tensor)| root(p), p), 0)(&many));
    let (da, db) = slopes(many).unwrap();
    agree(&numbers(&da), &[-2.0 / 14.0, -2.0 / 13.0, 1.0 / 3.5], 1e-12);
    agree(&numbers(&db), &[1.0 / 14.0, 1.0 / 13.0, 1.0 / 3.5], 1e-12);
}
