//! Many threads, one engine.

use super::{read, vector};
use lazuli::prelude::*;
use std::sync::Arc;

#[test]
fn tensors_go_between_threads() {
    fn checks<T: Send + Sync + Clone + 'static>() {}
    checks::<Tensor>();
    let y = vector(&[1.0, 2.0]) * 3.0;
    let z = std::thread::spawn(move || &y + 1.0).join().unwrap();
    assert_eq!(read(&z), [4.0, 7.0]);
}

#[test]
fn many_threads_record_and_evaluate_at_once() {
    let shared = Arc::new(vector(&[1.0, 2.0, 3.0, 4.0]).exp());
    std::thread::scope(|s| {
        for id in 0..16 {
            let shared = shared.clone();
            s.spawn(move || {
                let mut x = Tensor::full([4], id as f64);
                for step in 0..60 {
                    // Different programs, and every thread also reads what all share.
                    x = &x * 0.5 + &*shared * (step % 3) as f64;
                    if step % 7 == id % 7 {
                        x.eval().unwrap();
                    }
                    let g = grad(|x: &Tensor| (x * x).sum(..), &x);
                    if step % 10 == 0 {
                        let (x, g) = (read(&x), read(&g));
                        assert!(x.iter().zip(&g).all(|(x, g)| (2.0 * x - g).abs() <= 1e-4 * x.abs()), "{x:?} {g:?}");
                    }
                }
                let want: f64 = {
                    let mut v = id as f64;
                    for step in 0..60 {
                        v = v * 0.5 + 1f64.exp() * (step % 3) as f64;
                    }
                    v
                };
                let got = read(&x)[0] as f64;
                assert!((got - want).abs() < 1e-4 * want, "{got}, expected {want}");
            });
        }
    });
}

#[test]
fn two_threads_evaluate_one_tensor() {
    for round in 0..50 {
        let y = (vector(&[1.0; 100]) * round as f64).sin();
        let values: Vec<Vec<f32>> = std::thread::scope(|s| {
            let handles: Vec<_> = (0..4).map(|_| s.spawn(|| read(&y))).collect();
            handles.into_iter().map(|h| h.join().unwrap()).collect()
        });
        assert!(values.iter().all(|v| *v == values[0]));
    }
}

#[test]
fn a_slip_is_its_threads_own() {
    let inside = std::sync::Barrier::new(2);
    std::thread::scope(|s| {
        s.spawn(|| {
            let r = lazuli::catch(|| {
                inside.wait();
                let t = Tensor::zeros([2]).reshape([3]);
                inside.wait();
                t
            });
            assert!(r.is_err());
        });
        s.spawn(|| {
            inside.wait();
            let r = std::panic::catch_unwind(|| drop(Tensor::zeros([2]).reshape([5])));
            assert!(r.is_err(), "another thread's catch took this slip");
            inside.wait();
        });
    });
}

#[test]
fn the_same_seed_gives_the_same_sums_on_any_number_of_threads() {
    let x = Tensor::from_vec(crate::rng::Rng(9).floats(1 << 20, -1.0, 1.0), [1 << 20]);
    let alone = x.sum(..).item::<f32>().unwrap();
    let many: Vec<f32> = std::thread::scope(|s| {
        let handles: Vec<_> = (0..6).map(|_| s.spawn(|| (&x + 0.0).sum(..).item::<f32>().unwrap())).collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    assert!(many.iter().all(|s| s.to_bits() == many[0].to_bits()), "{many:?}");
    assert!((alone - many[0]).abs() <= 1e-6 * (1 << 19) as f32);
}

#[test]
fn a_scope_is_its_threads_own() {
    let outside = Device::current();
    Device::cpu().scope(|| {
        let other = std::thread::spawn(|| Tensor::zeros([1]).device()).join().unwrap();
        assert_eq!(other, outside);
    });
}
