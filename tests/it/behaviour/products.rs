//! Products with few results and long sums, which are carried out in parts.

use super::read;
use crate::rng::Rng;
use lazuli::prelude::*;

fn numbers(seed: u64, shape: &[usize]) -> (Tensor, Vec<f64>) {
    let v = Rng(seed).floats(shape.iter().product(), -1.0, 1.0);
    (Tensor::from_vec(v.clone(), shape), v.iter().map(|&x| f64::from(x)).collect())
}

/// The product of `[batch, m, k]` and `[batch, k, n]`, and what its terms add up to regardless of signs.
fn product(a: &[f64], b: &[f64], [batch, m, n, k]: [usize; 4]) -> (Vec<f64>, Vec<f64>) {
    let at = |p: usize, sign: bool| {
        let (g, i, j) = (p / (m * n), p / n % m, p % n);
        let terms = (0..k).map(|x| a[(g * m + i) * k + x] * b[(g * k + x) * n + j]);
        if sign { terms.sum() } else { terms.map(f64::abs).sum() }
    };
    let all = |sign| (0..batch * m * n).map(|p| at(p, sign)).collect();
    (all(true), all(false))
}

#[track_caller]
fn close(what: &str, got: &Tensor, (want, terms): &(Vec<f64>, Vec<f64>), within: f64) {
    let got = read(&got.cast(DType::F32));
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, g) in got.iter().enumerate() {
        assert!((f64::from(*g) - want[i]).abs() <= within * terms[i], "{what}, element {i}: {g}, expected {}", want[i]);
    }
}

#[test]
fn values() {
    // The last two: a sum that no part divides, and one that is too short.
    for (batch, m, n, k) in [
        (1, 64, 48, 8192),
        (1, 9, 12, 4096),
        (1, 17, 33, 6000),
        (2, 16, 20, 5120),
        (1, 1, 1, 40_960),
        (1, 3, 1, 24_576),
        (1, 1, 30, 30_000),
        (1, 12, 10, 5003),
        (1, 12, 10, 2048),
    ] {
        let ((a, va), (b, vb)) = (numbers(k as u64, &[batch, m, k]), numbers(n as u64, &[batch, k, n]));
        let want = product(&va, &vb, [batch, m, n, k]);
        let what = format!("{batch} times {m} x {n} x {k}");
        close(&what, &a.matmul(&b), &want, 3e-7);
        // Factors that lie the other way round, and what follows.
        let (at, bt) = (a.permute([0, 2, 1]) * 1.0, b.permute([0, 2, 1]) * 1.0);
        lazuli::eval(&[&at, &bt]).unwrap();
        let y = at.permute([0, 2, 1]).matmul(&bt.permute([0, 2, 1]));
        close(&format!("{what}, transposed"), &y, &want, 3e-7);
        let after = (a.matmul(&b) * 0.5 + 1.0).square();
        let wanted: Vec<f64> = want.0.iter().map(|x| (x * 0.5 + 1.0) * (x * 0.5 + 1.0)).collect();
        close(&format!("{what}, and more"), &after, &(wanted, want.1.iter().map(|t| 1.0 + t).collect()), 3e-5);
        // Halves are summed in f32: the result is rounded once.
        let half = |v: &[f64]| -> Vec<f64> { v.iter().map(|&x| half::f16::from_f64(x).to_f64()).collect() };
        let want = product(&half(&va), &half(&vb), [batch, m, n, k]);
        let (ha, hb) = (a.cast(DType::F16), b.cast(DType::F16));
        lazuli::eval(&[&ha, &hb]).unwrap();
        let y = ha.matmul(&hb);
        let largest = want.0.iter().fold(1.0f64, |l, x| l.max(x.abs()));
        close(&format!("{what}, halves"), &y, &(want.0, vec![largest; m * n * batch]), 6e-4);
    }
}

/// The gradient of a layer's weights is a sum over all examples.
#[test]
fn gradients_of_weights() {
    let (examples, inputs, outputs) = (8192, 12, 10);
    let ((x, vx), (w, _), (ct, vc)) = (numbers(1, &[examples, inputs]), numbers(2, &[inputs, outputs]), numbers(3, &[examples, outputs]));
    let g = grad(|w: &Tensor| (x.matmul(w) * &ct).sum(..), &w);
    let transposed: Vec<f64> = (0..inputs * examples).map(|i| vx[i % examples * inputs + i / examples]).collect();
    close("the weights' gradient", &g, &product(&transposed, &vc, [1, inputs, outputs, examples]), 3e-7);
    // And through a product that is split itself.
    let ((a, va), (b, vb)) = (numbers(4, &[10, 4096]), numbers(5, &[4096, 9]));
    let (ga, gb) = grad(|(a, b): &(Tensor, Tensor)| a.matmul(b).square().sum(..), &(a.clone(), b.clone()));
    let (y, _) = product(&va, &vb, [1, 10, 9, 4096]);
    let twice: Vec<f64> = y.iter().map(|v| 2.0 * v).collect();
    let flip =
        |v: &[f64], rows: usize, columns: usize| -> Vec<f64> { (0..rows * columns).map(|i| v[i % rows * columns + i / rows]).collect() };
    close("of the left factor", &ga, &product(&twice, &flip(&vb, 4096, 9), [1, 10, 4096, 9]), 1e-5);
    close("of the right factor", &gb, &product(&flip(&va, 10, 4096), &twice, [1, 4096, 9, 10]), 1e-5);
}

/// Infinities and NaNs come through, where they are and nowhere else.
#[test]
fn what_is_not_finite() {
    let mut a = vec![1.0f32; 4 * 16_384];
    (a[16_384 + 5], a[2 * 16_384 + 16_000], a[3 * 16_384 + 1]) = (f32::INFINITY, f32::NAN, f32::NEG_INFINITY);
    let y = Tensor::from_vec(a, [4, 16_384]).matmul(&Tensor::ones([16_384, 2]));
    let y = read(&y);
    assert_eq!((y[0], y[2], y[6]), (16_384.0, f32::INFINITY, f32::NEG_INFINITY), "{y:?}");
    assert!(y[4].is_nan() && y[5].is_nan(), "{y:?}");
}
