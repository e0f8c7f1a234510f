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
    assert_eq!(run(true), run(false));
    // The state is empty before the first step and has its moments after it.
    assert_eq!(step.records(), 2);
}

#[test]
fn another_kind_of_argument_records_again() {
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
