//! Attention against sums in f64, whichever way it is computed: streamed in one kernel, or by products where somebody reads the weights.

use super::{read, vector};
use crate::rng::Rng;
use lazuli::prelude::*;
use lazuli::tensor::AttentionOptions;

/// `[batch, queries, keys, depth, columns]`.
type Sizes = [usize; 5];

struct Case {
    sizes: Sizes,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Case {
    fn new(sizes: Sizes, spread: f32) -> Case {
        let [b, l, s, e, c] = sizes;
        let mut rng = Rng(sizes.iter().fold(7, |h, n| h * 1009 + *n as u64));
        let mut floats = |n: usize| rng.floats(n, -spread, spread);
        Case { sizes, q: floats(b * l * e), k: floats(b * s * e), v: floats(b * s * c) }
    }

    fn tensors(&self) -> [Tensor; 3] {
        let [b, l, s, e, c] = self.sizes;
        let leaf = |x: &[f32], shape: [usize; 3]| Tensor::from_slice(x, shape);
        [leaf(&self.q, [b, l, e]), leaf(&self.k, [b, s, e]), leaf(&self.v, [b, s, c])]
    }

    /// The definition; `logit(batch, query, key, score)`. A row of -inf is `hidden`.
    fn expected(&self, logit: impl Fn(usize, usize, usize, f64) -> f64, hidden: f64) -> Vec<f64> {
        let [b, l, s, e, c] = self.sizes;
        let mut out = Vec::with_capacity(b * l * c);
        for (i, j) in (0..b).flat_map(|i| (0..l).map(move |j| (i, j))) {
            let row: Vec<f64> = (0..s)
                .map(|k| {
                    let terms = (0..e).map(|d| self.q[(i * l + j) * e + d] as f64 * self.k[(i * s + k) * e + d] as f64);
                    logit(i, j, k, terms.sum::<f64>() / (e as f64).sqrt())
                })
                .collect();
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = row.iter().map(|x| (x - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            for d in 0..c {
                let sum: f64 = (0..s).map(|k| weights[k] * self.v[(i * s + k) * c + d] as f64).sum();
                out.push(if top == f64::NEG_INFINITY { hidden } else { sum / total });
            }
        }
        out
    }
}

#[track_caller]
fn near(got: &Tensor, want: &[f64], tolerance: f64) {
    let got = read(&got.cast(DType::F32));
    assert_eq!(got.len(), want.len());
    for (n, (g, w)) in got.iter().zip(want).enumerate() {
        let close = (*g as f64 - w).abs() <= tolerance * (1.0 + w.abs()) || (g.is_nan() && w.is_nan());
        assert!(close, "element {n} is {g}, expected {w}");
    }
}

#[track_caller]
fn kernels(t: &Tensor) -> usize {
    lazuli::explain(&[t]).kernels().len()
}

/// Around the sizes at which blocks, tiles, fours and parts of columns begin.
const SIZES: [Sizes; 12] = [
    [1, 2, 2, 1, 1],
    [1, 2, 2, 2, 1],
    [2, 3, 5, 4, 2],
    [1, 5, 7, 3, 9],
    [3, 16, 32, 8, 8],
    [2, 65, 33, 16, 20],
    [1, 130, 64, 64, 64],
    [2, 17, 40, 68, 80],
    [1, 9, 21, 33, 130],
    [1, 40, 1100, 12, 4],
    [5, 8, 4, 4, 4],
    [1, 4, 9, 256, 256],
];

#[test]
fn plain_and_masked_in_one_kernel() {
    for sizes in SIZES {
        let c = Case::new(sizes, 2.0);
        let [q, k, v] = c.tensors();
        let [b, l, s, e, _] = sizes;
        let o = AttentionOptions::new();
        let one = |y: &Tensor, want: &[f64]| {
            // A sum of one term is no product.
            if e > 1 {
                assert_eq!(kernels(y), 1, "{sizes:?}");
            }
            near(y, want, 2e-5);
        };
        one(&q.scaled_dot_product_attention(&k, &v, &o), &c.expected(|_, _, _, x| x, f64::NAN));
        let causal = |_: usize, q: usize, k: usize, x: f64| if k <= q { x } else { f64::NEG_INFINITY };
        one(&q.scaled_dot_product_attention(&k, &v, &o.clone().causal(true)), &c.expected(causal, f64::NAN));
        let mut rng = Rng(l as u64);
        // The first query sees nothing.
        let seen: Vec<bool> = (0..l * s).map(|i| i >= s && rng.below(3) > 0).collect();
        let mask = Tensor::from_slice(&seen, [l, s]);
        let masked = |_: usize, q: usize, k: usize, x: f64| if seen[q * s + k] { x } else { f64::NEG_INFINITY };
        one(&q.scaled_dot_product_attention(&k, &v, &o.clone().mask(&mask)), &c.expected(masked, 0.0));
        let bias = rng.floats(b * l * s, -3.0, 3.0);
        let mask = Tensor::from_slice(&bias, [b, l, s]);
        let biased = |i: usize, q: usize, k: usize, x: f64| x + bias[(i * l + q) * s + k] as f64;
        one(&q.scaled_dot_product_attention(&k, &v, &o.clone().mask(&mask)), &c.expected(biased, 0.0));
    }
}

#[test]
fn written_out_by_hand() {
    let c = Case::new([2, 12, 10, 8, 6], 1.0);
    let [q, k, v] = c.tensors();
    let scores = q.matmul(&k.mt()) / 8f64.sqrt();
    let y = scores.softmax(-1).matmul(&v);
    assert_eq!(kernels(&y), 1);
    near(&y, &c.expected(|_, _, _, x| x, f64::NAN), 1e-5);
    // What follows joins; so does a slope computed from positions.
    let slope = Tensor::arange(10).cast(DType::F32) * 0.1;
    let scores = q.matmul(&k.mt()) / 8f64.sqrt() + &slope;
    let y = (scores.softmax(-1).matmul(&v) * 2.0 + &v.slice(s![.., 0..1, ..])).relu();
    assert_eq!(kernels(&y), 1);
    let plain = c.expected(|_, _, k, x| x + 0.1 * k as f64, f64::NAN);
    let want: Vec<f64> = plain.iter().enumerate().map(|(i, y)| (2.0 * y + c.v[i / (12 * 6) * 10 * 6 + i % 6] as f64).max(0.0)).collect();
    near(&y, &want, 1e-5);
}

#[test]
fn a_row_of_nothing_is_no_number_where_nobody_guards_it() {
    let c = Case::new([1, 3, 6, 4, 4], 1.0);
    let [q, k, v] = c.tensors();
    let mask = Tensor::from_slice(&[true, true, false], [3, 1]);
    let scores = Tensor::where_(&mask, &(q.matmul(&k.mt()) / 2.0), f64::NEG_INFINITY);
    let y = scores.softmax(-1).matmul(&v);
    assert_eq!(kernels(&y), 1);
    near(&y, &c.expected(|_, q, _, x| if q < 2 { x } else { f64::NEG_INFINITY }, f64::NAN), 1e-5);
}

#[test]
fn large_logits_and_those_that_are_no_numbers() {
    let mut c = Case::new([1, 6, 50, 4, 4], 300.0);
    let [q, k, v] = c.tensors();
    let o = AttentionOptions::new();
    near(&q.scaled_dot_product_attention(&k, &v, &o), &c.expected(|_, _, _, x| x, f64::NAN), 1e-3);
    // Rising and falling maxima: each key larger than the one before, or smaller.
    for sign in [1.0, -1.0] {
        let rising = vector(&(0..50).map(|i| sign * i as f32 * 40.0).collect::<Vec<_>>());
        let y = q.scaled_dot_product_attention(&k, &v, &o.clone().scale(0.0).mask(&rising));
        let best = if sign > 0.0 { 49 } else { 0 };
        let want: Vec<f64> = (0..24).map(|i| c.v[best * 4 + i % 4] as f64).collect();
        near(&y, &want, 1e-5);
    }
    for odd in [f32::NAN, f32::INFINITY] {
        c.q[4] = odd;
        c.k.iter_mut().for_each(|x| *x = x.abs().max(1.0));
        let [q, k, v] = c.tensors();
        let y = read(&q.scaled_dot_product_attention(&k, &v, &o));
        assert!(y[4..8].iter().all(|x| x.is_nan()) && y[..4].iter().chain(&y[8..]).all(|x| x.is_finite()), "{odd}: {y:?}");
    }
}

#[test]
fn halves_are_computed_in_f32() {
    for d in [DType::F16, DType::BF16] {
        let c = Case::new([2, 20, 30, 16, 12], 1.0);
        let halves = c.tensors().map(|t| t.cast(d));
        let rounded = halves.each_ref().map(|t| read(&t.cast(DType::F32)));
        let [q, k, v] = halves;
        let y = q.scaled_dot_product_attention(&k, &v, &AttentionOptions::new());
        assert_eq!((kernels(&y), y.dtype()), (1, d));
        let [q, k, v] = rounded;
        let c = Case { q, k, v, ..c };
        near(&y, &c.expected(|_, _, _, x| x, f64::NAN), if d == DType::F16 { 1e-3 } else { 8e-3 });
    }
}

#[test]
fn weights_that_somebody_reads_are_stored() {
    let c = Case::new([1, 8, 6, 4, 4], 1.0);
    let [q, k, v] = c.tensors();
    let weights = (q.matmul(&k.mt()) / 2.0).softmax(-1);
    let y = weights.matmul(&v);
    lazuli::eval(&[&y, &weights]).unwrap();
    near(&y, &c.expected(|_, _, _, x| x, f64::NAN), 1e-5);
    near(&weights.sum(-1), &[1.0; 8], 1e-5);
}

#[test]
fn a_softmax_over_other_rows_is_no_attention() {
    let c = Case::new([1, 4, 6, 8, 5], 1.0);
    let [q, k, v] = c.tensors();
    // Each half of the keys by itself, and all queries of a key.
    let scores = q.matmul(&k.mt());
    let halves = scores.reshape([8, 3]).softmax(-1).reshape([1, 4, 6]).matmul(&v);
    let across = scores.softmax(1).matmul(&v);
    let by_steps = |f: &dyn Fn(&Tensor) -> Tensor| {
        let s = q.matmul(&k.mt());
        s.eval().unwrap();
        let w = f(&s);
        w.eval().unwrap();
        read(&w.matmul(&v)).iter().map(|x| *x as f64).collect::<Vec<_>>()
    };
    near(&halves, &by_steps(&|s| s.reshape([8, 3]).softmax(-1).reshape([1, 4, 6])), 1e-5);
    near(&across, &by_steps(&|s| s.softmax(1)), 1e-5);
    // Nor is one whose shift is another row's maximum.
    let shift = scores.max_keepdim(-1).flip(1);
    let e = |s: &Tensor| (s - s.max_keepdim(-1).flip(1)).exp();
    let y = (&(&scores - shift).exp() / e(&scores).sum_keepdim(-1)).matmul(&v);
    near(&y, &by_steps(&|s| e(s) / e(s).sum_keepdim(-1)), 1e-5);
}

#[test]
fn few_queries_of_many_keys() {
    let c = Case::new([1, 2, 9000, 8, 4], 1.0);
    let [q, k, v] = c.tensors();
    let y = q.scaled_dot_product_attention(&k, &v, &AttentionOptions::new());
    // Keys are shared among threads, so three kernels.
    assert!(kernels(&y) > 1);
    near(&y, &c.expected(|_, _, _, x| x, f64::NAN), 1e-5);
}

#[test]
fn an_attention_of_an_attention() {
    let c = Case::new([1, 8, 8, 8, 8], 1.0);
    let [q, k, v] = c.tensors();
    let o = AttentionOptions::new();
    let inner = q.scaled_dot_product_attention(&k, &v, &o);
    let y = inner.scaled_dot_product_attention(&k, &v, &o);
    assert_eq!(kernels(&y), 2);
    let first: Vec<f32> = c.expected(|_, _, _, x| x, f64::NAN).iter().map(|x| *x as f32).collect();
    let second = Case { q: first, k: c.k.clone(), v: c.v.clone(), sizes: c.sizes };
    near(&y, &second.expected(|_, _, _, x| x, f64::NAN), 1e-5);
    // The scores of the second are what the first averages.
    let w = (q.matmul(&k.mt()).softmax(-1).matmul(&v)).softmax(-1).matmul(&k);
    let by_steps = {
        let s = q.matmul(&k.mt()).softmax(-1);
        s.eval().unwrap();
        let s = s.matmul(&v);
        s.eval().unwrap();
        let s = s.softmax(-1);
        s.eval().unwrap();
        s.matmul(&k)
    };
    near(&w, &read(&by_steps).iter().map(|x| *x as f64).collect::<Vec<_>>(), 1e-5);
}

#[test]
fn gradients_and_batches_of_a_streamed_one() {
    let c = Case::new([2, 5, 7, 4, 4], 1.0);
    let [q, k, v] = c.tensors();
    let o = AttentionOptions::new().causal(true);
    let f = |q: &Tensor| q.scaled_dot_product_attention(&k, &v, &o);
    let kept = checkpoint(f);
    let (a, b) = (grad(|q: &Tensor| f(q).square().sum(..), &q), grad(|q: &Tensor| kept(q).square().sum(..), &q));
    near(&b, &read(&a).iter().map(|x| *x as f64).collect::<Vec<_>>(), 1e-5);
    let each = vmap(|(q, k, v): &(Tensor, Tensor, Tensor)| q.scaled_dot_product_attention(k, v, &o), 0);
    let y = each(&(q.clone(), k.clone(), v.clone()));
    assert_eq!(kernels(&y), 1);
    near(&y, &read(&f(&q)).iter().map(|x| *x as f64).collect::<Vec<_>>(), 1e-6);
}

#[test]
fn heads_of_a_layer() {
    // [batch, length, heads * width] taken apart and put together again, all by views.
    let c = Case::new([6, 10, 10, 8, 8], 1.0);
    let [q, k, v] = c.tensors();
    let together = |t: &Tensor| t.reshape([2, 3, 10, 8]).permute([0, 2, 1, 3]).reshape([2, 10, 24]);
    let [tq, tk, tv] = [&q, &k, &v].map(|t| together(t).cast(DType::F32));
    lazuli::eval(&[&tq, &tk, &tv]).unwrap();
    let apart = |t: &Tensor| t.reshape([2, 10, 3, 8]).transpose(1, 2);
    let y = apart(&tq).scaled_dot_product_attention(&apart(&tk), &apart(&tv), &AttentionOptions::new());
    assert_eq!(kernels(&y), 1);
    near(&y, &c.expected(|_, _, _, x| x, f64::NAN), 1e-5);
}
