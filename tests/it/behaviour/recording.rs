//! Recording and reading: it looks eager.

use super::{near, read, scalar, vector};
use lazuli::prelude::*;

#[test]
fn a_branch_on_a_host_read_is_taken_both_ways() {
    let f = |x: &Tensor| if x.sum(..).item::<f32>().unwrap() > 0.0 { x * 2.0 } else { x - 1.0 };
    assert_eq!(read(&f(&vector(&[1.0, 2.0]))), [2.0, 4.0]);
    assert_eq!(read(&f(&vector(&[-1.0, -2.0]))), [-2.0, -3.0]);
}

#[test]
fn a_host_value_is_read_in_a_loop() {
    let mut x = scalar(1.0);
    let mut steps = 0;
    while x.item::<f32>().unwrap() < 1000.0 {
        x = &x * 2.0 + 1.0;
        steps += 1;
    }
    assert_eq!((x.item::<f32>().unwrap(), steps), (1023.0, 9));
}

#[test]
fn two_numbers_that_are_equal_today_are_two_numbers() {
    let (a, b) = (scalar(3.0), scalar(5.0));
    let f = |p: f64, q: f64| (&a * p + &b * q).item::<f32>().unwrap();
    assert_eq!((f(2.0, 2.0), f(2.0, 3.0), f(4.0, 4.0)), (16.0, 21.0, 32.0));
}

#[test]
fn a_printed_loss_can_be_differentiated() {
    let w = vector(&[1.0, 2.0]);
    let loss = (&w * &w).sum(..);
    assert_eq!(loss.item::<f32>().unwrap(), 5.0);
    assert!(loss.to_string().contains('5'), "{loss}");
    let [g] = loss.grad(&[&w]);
    assert_eq!(read(&g), [2.0, 4.0]);
}

#[test]
fn two_draws_of_one_shape_differ() {
    let (a, b) = (Tensor::randn([16]), Tensor::randn([16]));
    let both = Tensor::cat(&[&a, &b], 0).to_vec::<f32>().unwrap();
    assert_ne!(both[..16], both[16..]);
    // The same tensor read twice, and through two plans, keeps its numbers.
    assert_eq!(read(&a), both[..16]);
    assert_eq!(read(&(&a + 0.0)), both[..16]);
}

#[test]
fn a_tensor_that_is_held_is_never_overwritten() {
    let x = vector(&[1.0, 2.0, 3.0]);
    x.eval().unwrap();
    let before = x.clone();
    let mut y = x.clone();
    for i in 0..5 {
        y = y.slice_update(s![1], i as f64);
        y.eval().unwrap();
    }
    assert_eq!((read(&x), read(&before), read(&y)), (vec![1.0, 2.0, 3.0], vec![1.0, 2.0, 3.0], vec![1.0, 4.0, 3.0]));
    let mut z = &x + 0.0;
    z.eval().unwrap();
    let held = z.clone();
    z *= 10.0;
    z.eval().unwrap();
    assert_eq!((read(&held), read(&z)), (vec![1.0, 2.0, 3.0], vec![10.0, 20.0, 30.0]));
}

#[test]
fn an_update_runs_after_the_readers_of_the_old_value() {
    let x = vector(&[1.0, 2.0, 3.0, 4.0]);
    x.eval().unwrap();
    let shifted = x.slice_update(s![1..], &x.slice(s![..-1]));
    let sum = &shifted + &x;
    lazuli::eval(&[&shifted, &sum]).unwrap();
    assert_eq!(read(&shifted), [1.0, 1.0, 2.0, 3.0]);
    assert_eq!(read(&sum), [2.0, 3.0, 5.0, 7.0]);
}

#[test]
fn in_place_operators_are_new_values() {
    let mut x = vector(&[1.0, 2.0]);
    let old = x.clone();
    x += 1.0;
    x *= &old;
    x -= 1;
    x /= 2.0;
    assert_eq!((read(&x), read(&old)), (vec![0.5, 2.5], vec![1.0, 2.0]));
}

#[test]
fn a_cut_value_still_reads_and_has_no_gradient_behind_it() {
    let w = vector(&[1.0, 2.0]);
    let y = &w * 3.0;
    y.eval().unwrap();
    assert_eq!(read(&y), [3.0, 6.0]);
    let loss = (&y * &y).sum(..);
    let e = lazuli::catch(|| loss.grad(&[&w])).unwrap_err();
    assert_eq!(e.kind(), lazuli::ErrorKind::Gradient, "{e}");
    let [g] = loss.grad(&[&y]);
    assert_eq!(read(&g), [6.0, 12.0]);
}

#[test]
fn a_million_ops_fit_a_small_stack() {
    let run = || {
        let mut x = vector(&[0.0; 4]);
        for _ in 0..1_000_000 {
            x += 1.0;
        }
        assert_eq!(read(&x), [1e6; 4]);
        drop(x);
        // Never evaluated, only dropped: inside a gradient nothing is flushed.
        let y = scalar(1.0);
        let g = grad(
            |y: &Tensor| {
                let mut z = y.clone();
                for _ in 0..20_000 {
                    z *= 1.0001;
                }
                z
            },
            &y,
        );
        near(&g, &[1.0001f64.powi(20_000) as f32], 1e-3);
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_wide_graph_evaluates() {
    let x = vector(&[1.0, 2.0, 3.0]);
    let parts: Vec<Tensor> = (0..2000).map(|i| &x * i as f64).collect();
    let sum = Tensor::stack(&parts, 0).sum(0);
    near(&sum, &[1_999_000.0, 3_998_000.0, 5_997_000.0], 1e-6);
}

#[test]
fn reading_without_blocking() {
    let y = vector(&[1.0, 2.0]) * 2.0;
    let mut future = Box::pin(y.read::<f32>());
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    let v = loop {
        if let std::task::Poll::Ready(v) = future.as_mut().poll(&mut context) {
            break v.unwrap();
        }
        std::thread::yield_now();
    };
    assert_eq!(v, [2.0, 4.0]);
}
