//! What a user may rely on of `jit`.

use lazuli::prelude::*;
use lazuli::{ErrorKind, Generator};

#[test]
fn a_step_is_recorded_once_and_computes_as_without() {
    let x = Tensor::from_vec(crate::rng::Rng(1).floats(64, -1.0, 1.0), [16, 4]);
    let y = x.sum(1) * 0.5 + 1.0;
    let train = |(mut w, mut opt, x, y): (Tensor, Adam, Tensor, Tensor)| {
        let (loss, g) = value_and_grad(|w: &Tensor| (x.matmul(w) - &y).square().mean(..), &w);
        opt.step(&mut w, &g)?;
        Ok((w, opt, loss))
    };
    let step = jit(train);
    let run = |recorded: bool| {
        let (mut w, mut opt) = (Tensor::zeros([4]), Adam::new(0.1));
        let mut losses = Vec::new();
        for i in 0..20 {
            opt.set_lr(0.1 / (1 + i) as f64);
            let args = (w, opt, x.clone(), y.clone());
            let out: Result<(Tensor, Adam, Tensor)> = if recorded { step(args) } else { train(args) };
            let loss;
            (w, opt, loss) = out.unwrap();
            losses.push(loss.item::<f32>().unwrap());
        }
        (losses, w.to_vec::<f32>().unwrap())
    };
    let (a, b) = (run(true), run(false));
    if Device::current() == Device::cpu() {
        assert_eq!(a, b);
    }
    // Other devices may join a product and a sum in one program and not in the other.
    assert!(a.0.iter().chain(&a.1).zip(b.0.iter().chain(&b.1)).all(|(a, b)| (a - b).abs() <= 1e-6 * (1.0 + b.abs())), "{a:?}, {b:?}");
    // The state is empty before the first step and has its moments after it.
    assert_eq!(step.records(), 2);
}

#[test]
fn another_kind_of_argument_records_again() {
    crate::devices::needs_f64!("another_kind_of_argument_records_again");
    let f = jit(|(x, k): (Tensor, usize)| x * k as i32);
    let x = |n: usize| Tensor::ones([n]);
    assert_eq!(f((x(2), 3)).unwrap().to_vec::<f32>().unwrap(), [3.0, 3.0]);
    assert_eq!(f((x(2), 3)).unwrap().to_vec::<f32>().unwrap(), [3.0, 3.0]);
    assert_eq!(f.records(), 1);
    assert_eq!(f((x(2), 4)).unwrap().to_vec::<f32>().unwrap(), [4.0, 4.0]);
    assert_eq!(f((x(3), 4)).unwrap().to_vec::<f32>().unwrap(), [4.0; 3]);
    assert_eq!(f((x(3).cast(DType::F64), 4)).unwrap().dtype(), DType::F64);
    assert_eq!(f.records(), 4);
}

#[test]
fn what_it_takes_from_outside_is_held() {
    let scale = Tensor::from_vec(vec![2f32, 3.0], [2]).exp().log();
    let offset = 1.5;
    let f = jit(|x: Tensor| (x * &scale + offset, scale.clone(), Tensor::arange(2)));
    for k in 1..4 {
        let (y, s, i) = f(Tensor::full([2], k as f32)).unwrap();
        let y = y.to_vec::<f32>().unwrap();
        assert!((y[0] - (2.0 * k as f32 + 1.5)).abs() < 1e-5 && (y[1] - (3.0 * k as f32 + 1.5)).abs() < 1e-5, "{y:?}");
        assert!((s.to_vec::<f32>().unwrap()[1] - 3.0).abs() < 1e-5);
        assert_eq!(i.to_vec::<i64>().unwrap(), [0, 1]);
    }
    assert_eq!(f.records(), 1);
}

#[test]
fn each_call_draws_new_numbers_and_a_seed_repeats_them() {
    let f = jit(|x: Tensor| (x + Tensor::randn([4]), Tensor::rand([3])));
    let draw = || {
        let (a, b) = f(Tensor::zeros([4])).unwrap();
        (a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap())
    };
    let (first, second) = (draw(), draw());
    assert!(first.0 != second.0 && first.1 != second.1);
    let g = Generator::new(3);
    let e = jit(|x: Tensor| x + g.randn([4]))(Tensor::zeros([4])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Argument);
}

#[test]
fn examples_of_a_batch_draw_their_own_numbers_inside() {
    let noisy = vmap(|x: &Tensor| x + Tensor::randn([2]), 0);
    let f = jit(|x: Tensor| noisy(&x));
    let draw = || f(Tensor::zeros([3, 2])).unwrap().to_vec::<f32>().unwrap();
    let (a, b) = (draw(), draw());
    assert!(a != b && a[..2] != a[2..4] && a[2..4] != a[4..]);
}

#[test]
fn slips_and_reads_inside_are_errors_and_the_engine_works_on() {
    let f = jit(|x: Tensor| x.matmul(&x));
    assert_eq!(f(Tensor::ones([2, 3])).unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(f(Tensor::ones([2, 2])).unwrap().to_vec::<f32>().unwrap(), [2.0; 4]);
    let read = jit(|x: Tensor| -> Result<Tensor> { Ok(&x * x.sum(..).item::<f32>()?) });
    assert_eq!(read(Tensor::ones([2])).unwrap_err().kind(), ErrorKind::Argument);
    let own = jit(|_: Tensor| -> Result<Tensor> { Err(lazuli::Error::new(ErrorKind::Format, "mine")) });
    assert_eq!(own(Tensor::ones([2])).unwrap_err().message(), "mine");
    let poison = lazuli::catch(|| {
        let bad = Tensor::ones([2]).reshape([3]);
        assert!(jit(|x: Tensor| x)(bad).is_err());
    });
    assert_eq!(poison.unwrap_err().kind(), ErrorKind::Shape);
}

#[test]
fn it_nests_and_differentiates() {
    let cube = jit(|x: Tensor| &x * &x * &x);
    let outer = jit(|x: Tensor| cube(x.clone()).map(|y| y + &x));
    let x = Tensor::from_vec(vec![2f32, -1.0], [2]);
    assert_eq!(outer(x.clone()).unwrap().to_vec::<f32>().unwrap(), [10.0, -2.0]);
    let g = grad(|x: &Tensor| outer(x.clone()).unwrap().sum(..), &x);
    assert_eq!(g.to_vec::<f32>().unwrap(), [13.0, 4.0]);
    assert_eq!(cube.records(), 0, "inside another function it is the closure itself");
}

#[test]
fn arguments_somebody_holds_are_kept() {
    let n = 1 << 18;
    let f = jit(|x: Tensor| x * 2.0 + 1.0);
    let x = Tensor::from_vec(crate::rng::Rng(4).floats(n, -1.0, 1.0), [n]);
    let before = x.to_vec::<f32>().unwrap();
    let mut y = f(x.clone()).unwrap();
    assert!(x.to_vec::<f32>().unwrap() == before);
    // Given away: overwritten, with the same result.
    let again = f(x).unwrap();
    assert!(again.to_vec::<f32>().unwrap() == y.to_vec::<f32>().unwrap());
    for _ in 0..3 {
        y = f(y).unwrap();
    }
    let want: Vec<f32> = before.iter().map(|v| (((v * 2.0 + 1.0) * 2.0 + 1.0) * 2.0 + 1.0) * 2.0 + 1.0).collect();
    assert!(y.to_vec::<f32>().unwrap() == want);
}

#[test]
fn threads_share_a_recording() {
    let f = jit(|x: Tensor| x.sum(..) + 1.0);
    std::thread::scope(|s| {
        for k in 0..4 {
            let f = &f;
            s.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(f(Tensor::full([8], k as f32)).unwrap().item::<f32>().unwrap(), 8.0 * k as f32 + 1.0);
                }
            });
        }
    });
}

#[test]
fn every_static_part_is_a_guard() {
    #[derive(Tree, Clone)]
    enum Kind {
        Relu,
        Scaled(f64),
    }
    #[derive(Tree, Clone)]
    struct Config {
        kind: Kind,
        name: String,
        bias: Option<Tensor>,
        layers: Vec<Tensor>,
        deep: bool,
    }
    let f = jit(|(x, c): (Tensor, Config)| {
        let x = c.layers.iter().fold(x, |x, w| x * w);
        let x = match c.kind {
            Kind::Relu => x.relu(),
            Kind::Scaled(s) => x * s as f32,
        };
        let x = if c.deep { x.exp() } else { x };
        c.bias.map_or(x.clone(), |b| x + b) + c.name.len() as i32
    });
    let one = || Tensor::ones([2]);
    let base = Config { kind: Kind::Relu, name: "a".into(), bias: None, layers: vec![], deep: false };
    let read = |c: &Config| f((one(), c.clone())).unwrap().to_vec::<f32>().unwrap()[0];
    let mut seen = 0;
    for (c, want) in [
        (base.clone(), 2.0),
        (Config { kind: Kind::Scaled(3.0), ..base.clone() }, 4.0),
        (Config { kind: Kind::Scaled(4.0), ..base.clone() }, 5.0),
        (Config { name: "abc".into(), ..base.clone() }, 4.0),
        (Config { bias: Some(one()), ..base.clone() }, 3.0),
        (Config { layers: vec![one() * 2.0, one() * 3.0], ..base.clone() }, 7.0),
        (Config { layers: vec![one() * 2.0], ..base.clone() }, 3.0),
        (Config { deep: true, ..base.clone() }, 1.0 + 1f32.exp()),
    ] {
        for _ in 0..2 {
            assert!((read(&c) - want).abs() < 1e-6);
        }
        seen += 1;
        assert_eq!(f.records(), seen);
    }
    assert_eq!(f((one().reshape([1, 2]), base)).unwrap().shape().to_vec(), [1, 2]);
    assert_eq!(f.records(), seen + 1);
}

#[test]
fn around_and_inside_of_other_transforms() {
    let w = Tensor::from_vec(crate::rng::Rng(2).floats(9, -1.0, 1.0), [3, 3]);
    let x = Tensor::from_vec(crate::rng::Rng(3).floats(12, -1.0, 1.0), [4, 3]);
    let loss = |x: &Tensor| x.matmul(&w).tanh().square().sum(..);
    let read = |t: Tensor| t.to_vec::<f32>().unwrap();
    let near = |a: Vec<f32>, b: Vec<f32>| assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    let each: Vec<f32> = (0..4).flat_map(|i| read(grad(loss, &x.select(0, i)))).collect();
    let inner = jit(|x: Tensor| loss(&x));
    let value = |x: &Tensor| inner(x.clone()).unwrap();
    // jit of vmap of grad of jit, and the other way round.
    let f = jit(|x: Tensor| vmap(|x: &Tensor| grad(value, x), 0)(&x));
    near(read(f(x.clone()).unwrap()), each.clone());
    near(read(vmap(|x: &Tensor| jit(|x: Tensor| grad(loss, &x))(x.clone()).unwrap(), 0)(&x)), each.clone());
    near(read(jvp(|x: &Tensor| f(x.clone()).unwrap(), &x, &x).1), read(jvp(|x: &Tensor| vmap(|x: &Tensor| grad(loss, x), 0)(x), &x, &x).1));
    let h = jit(|x: Tensor| hessian(loss, &x));
    near(read(h(x.select(0, 0)).unwrap()), read(hessian(loss, &x.select(0, 0))));
    assert_eq!((inner.records(), f.records(), h.records()), (0, 1, 1), "inside another function it is the closure itself");
    // Checkpointed and batched inside.
    let c = checkpoint(|x: &Tensor| vmap(loss, 0)(x).sum(..));
    near(read(jit(|x: Tensor| grad(|x: &Tensor| c(x), &x))(x).unwrap()), each);
}

#[test]
fn stand_ins_that_leak_are_errors() {
    let leak: std::sync::Mutex<Option<Tensor>> = std::sync::Mutex::new(None);
    let f = jit(|x: Tensor| {
        *leak.lock().unwrap() = Some(x.exp());
        x * 2.0
    });
    assert_eq!(f(Tensor::ones([2])).unwrap().to_vec::<f32>().unwrap(), [2.0; 2]);
    let leaked = leak.lock().unwrap().take().unwrap();
    let e = leaked.to_vec::<f32>().unwrap_err();
    assert!(e.kind() == ErrorKind::Argument && e.message().contains("stands for an input"), "{e}");
    assert_eq!(leaked.eval().unwrap_err().kind(), ErrorKind::Argument);
    assert_eq!(lazuli::eval(&[Tensor::ones([2]) + &leaked]).unwrap_err().kind(), ErrorKind::Argument);
    // Into another recorded function.
    let g = jit(|x: Tensor| x + &leaked);
    assert_eq!(g(Tensor::ones([2])).unwrap_err().kind(), ErrorKind::Argument);
    assert_eq!(f(Tensor::ones([2])).unwrap().to_vec::<f32>().unwrap(), [2.0; 2]);
}

#[test]
fn what_hangs_on_data_is_an_error_that_says_so() {
    let x = || Tensor::ones([3]);
    for (what, e) in [
        ("host read", jit(|x: Tensor| -> Result<Tensor> { x.to_vec::<f32>().map(|_| x) })(x()).unwrap_err()),
        (
            "host read",
            jit(|x: Tensor| -> Result<Tensor> {
                let k = x.sum(..).item::<f32>()?;
                Ok(x * k)
            })(x())
            .unwrap_err(),
        ),
    ] {
        assert!(e.kind() == ErrorKind::Argument && e.message().contains(what), "{e}");
    }
    // Printing never fails: it says that there is nothing to show yet.
    let f = jit(|x: Tensor| {
        assert!(!format!("{x}").is_empty());
        x
    });
    assert!(f(x()).is_ok());
    // `eval` only records.
    let f = jit(|x: Tensor| -> Result<Tensor> {
        let y = x.exp();
        y.eval()?;
        Ok(grad(|x: &Tensor| (x * &y).sum(..), &x))
    });
    assert_eq!(f(Tensor::zeros([3])).unwrap().to_vec::<f32>().unwrap(), [1.0; 3]);
}
