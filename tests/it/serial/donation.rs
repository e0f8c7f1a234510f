//! Memory of leaves that nobody can read any more is reused; what anybody holds is never overwritten.

use super::alone;
use crate::rng::Rng;
use lazuli::optim::{Adam, Sgd};
use lazuli::prelude::*;
use lazuli::stats;

const N: usize = 4 << 20;
const BYTES: usize = 4 * N;

fn data(seed: u64, n: usize) -> Vec<f32> {
    Rng(seed).floats(n, -1.0, 1.0)
}

fn leaf(seed: u64) -> Tensor {
    Tensor::from_vec(data(seed, N), [N])
}

/// Runs `f` while the device has room for `extra` more bytes.
fn with_room<R>(extra: usize, f: impl FnOnce() -> R) -> R {
    let cpu = Device::cpu();
    cpu.trim();
    cpu.set_memory_limit(Some(stats().bytes_reserved as usize + extra));
    let r = f();
    cpu.set_memory_limit(None);
    r
}

alone! {
    fn a_leaf_that_only_the_recipe_holds_is_overwritten() {
        let x = leaf(1);
        let mut y = x * 2.0;
        for _ in 0..3 {
            y += 1.0;
            with_room(BYTES / 2, || y.eval()).unwrap();
        }
        let want = data(1, N);
        assert!(y.to_vec::<f32>().unwrap().iter().zip(&want).all(|(a, b)| *a == b * 2.0 + 1.0 + 1.0 + 1.0));
    }

    fn a_tensor_that_is_still_held_is_never_overwritten() {
        let x = leaf(2);
        let kept = x.clone();
        let view = x.reshape([2, N / 2]);
        let y = x * 3.0;
        y.eval().unwrap();
        assert!(kept.to_vec::<f32>().unwrap() == data(2, N));
        assert!(view.to_vec::<f32>().unwrap() == data(2, N));
        // Held by another recipe alone.
        let x = leaf(3);
        let later = &x + 1.0;
        let y = x * 3.0;
        y.eval().unwrap();
        assert!(later.to_vec::<f32>().unwrap().iter().zip(data(3, N)).all(|(a, b)| *a == b + 1.0));
        // Reading cuts nothing: a gradient can still be taken.
        let x = leaf(4);
        let y = (&x * &x).sum(..);
        drop(x.clone());
        y.item::<f32>().unwrap();
        let [g] = y.grad(&[&x]);
        assert!(g.to_vec::<f32>().unwrap().iter().zip(data(4, N)).all(|(a, b)| *a == b * 2.0));
    }

    fn a_kernel_that_reads_elsewhere_gets_its_own_memory() {
        let n = 2048;
        let (x, v) = (Tensor::from_vec(data(5, n * n), [n, n]), data(5, n * n));
        let y = x.transpose(0, 1) + &x;
        drop(x);
        y.eval().unwrap();
        let got = y.to_vec::<f32>().unwrap();
        assert!((0..n).all(|i| (0..n).step_by(97).all(|j| got[i * n + j] == v[j * n + i] + v[i * n + j])));
        let z = y.flip([0]) * 1.0;
        drop(y);
        z.eval().unwrap();
        assert!(z.to_vec::<f32>().unwrap()[..n] == got[(n - 1) * n..]);
    }

    fn rows_and_epilogues_are_overwritten_rightly() {
        let n = 512;
        let (x, m, w) = (data(6, n * n), data(7, n * n), data(8, n * n));
        let made = |v: &Vec<f32>| Tensor::from_vec(v.clone(), [n, n]);
        let held = made(&x);
        let (rows, rows_again) = (held.softmax(1), made(&x).softmax(1));
        lazuli::eval(&[&rows]).unwrap();
        lazuli::eval(&[&rows_again]).unwrap();
        assert!(rows.to_vec::<f32>().unwrap() == rows_again.to_vec::<f32>().unwrap());
        let (a, b) = (made(&m), made(&w));
        let p = made(&x);
        let plain = a.matmul(&b) * &p + &p;
        plain.eval().unwrap();
        let over = { let q = made(&x); a.matmul(&b) * &q + &q };
        over.eval().unwrap();
        assert!(plain.to_vec::<f32>().unwrap() == over.to_vec::<f32>().unwrap());
        // A factor of the product is no epilogue.
        let square = { let q = made(&x); q.matmul(&b) + &q };
        square.eval().unwrap();
        let p = made(&x);
        assert!(square.to_vec::<f32>().unwrap() == (p.matmul(&b) + &p).to_vec::<f32>().unwrap());
    }

    fn an_optimiser_updates_in_place_unless_the_old_model_is_held() {
        let step = |w: &mut Tensor, opt: &mut Adam| {
            let g = grad(|w: &Tensor| (w * w).sum(..), w);
            opt.step(w, &g)
        };
        let run = |hold: bool| {
            let (mut w, mut opt) = (leaf(9), Adam::new(0.1));
            // The first step makes the state.
            step(&mut w, &mut opt).unwrap();
            let old = hold.then(|| (w.clone(), w.to_vec::<f32>().unwrap()));
            // The gradient is held too, and gets its own memory.
            let room = if hold { 3 * BYTES } else { BYTES + BYTES / 2 };
            for _ in 0..3 {
                with_room(room, || step(&mut w, &mut opt)).unwrap();
            }
            if let Some((old, values)) = old {
                assert!(old.to_vec::<f32>().unwrap() == values);
            }
            w.to_vec::<f32>().unwrap()
        };
        assert!(run(false) == run(true), "the same steps in other memory");
        let before = stats();
        let (mut w, mut opt) = (leaf(10), Sgd::new(0.1).momentum(0.9));
        for _ in 0..20 {
            let g = grad(|w: &Tensor| (w * w).sum(..), &w);
            opt.step(&mut w, &g).unwrap();
        }
        assert!(stats().plan_misses - before.plan_misses <= 3);
    }

    fn an_update_of_a_part_writes_only_that_part() {
        let mut cache = Tensor::from_vec(data(11, N), [N / 64, 64]);
        let row = Tensor::from_vec(vec![7f32; 64], [1, 64]);
        let mut want = data(11, N);
        for i in [3usize, 1000, N / 64 - 1] {
            let at = Tensor::from_vec(vec![i as i64], [1]);
            cache = cache.slice_update(s![&at], &row);
            with_room(BYTES / 2, || cache.eval()).unwrap();
            want[i * 64..(i + 1) * 64].fill(7.0);
        }
        assert!(cache.to_vec::<f32>().unwrap() == want);
    }

    fn threads_that_want_the_same_value_all_get_it() {
        for round in 0..20 {
            let n = 1 << 18;
            let y = Tensor::from_vec(data(round, n), [n]) * 2.0;
            let y = &(y + 1.0);
            let want: Vec<f32> = data(round, n).iter().map(|v| v * 2.0 + 1.0).collect();
            std::thread::scope(|s| {
                for k in 0..4 {
                    let want = &want;
                    s.spawn(move || {
                        if k % 2 == 0 {
                            y.eval().unwrap();
                            assert!(&y.to_vec::<f32>().unwrap() == want);
                        } else {
                            assert!((y + 0.5).to_vec::<f32>().unwrap().iter().zip(want).all(|(a, b)| *a == b + 0.5));
                        }
                    });
                }
            });
        }
    }
}
