//! Derivatives, of every order and through everything that moves data.

use super::{near, read, scalar, vector};
use lazuli::prelude::*;

#[test]
fn three_derivatives_of_tanh_at_two() {
    let x = scalar(2.0);
    let first = |x: &Tensor| grad(|x: &Tensor| x.tanh(), x);
    let second = |x: &Tensor| grad(first, x);
    let third = |x: &Tensor| grad(second, x);
    near(&first(&x), &[0.070_650_82], 1e-5);
    near(&second(&x), &[-0.136_218_67], 1e-5);
    near(&third(&x), &[0.252_654_05], 1e-5);
}

#[test]
fn forward_and_reverse_mode_mix() {
    let (x, one) = (scalar(2.0), scalar(1.0));
    let first = |x: &Tensor| jvp(|x: &Tensor| x.tanh(), x, &one).1;
    near(&first(&x), &[0.070_650_82], 1e-5);
    near(&grad(first, &x), &[-0.136_218_67], 1e-5);
    near(&jvp(|x: &Tensor| grad(|x: &Tensor| x.tanh(), x), &x, &one).1, &[-0.136_218_67], 1e-5);
}

#[test]
fn a_power_built_by_a_loop() {
    let x = scalar(1.5);
    let f = |x: &Tensor| {
        let mut p = x.clone();
        for _ in 1..6 {
            p *= x;
        }
        p
    };
    near(&grad(f, &x), &[6.0 * 1.5f32.powi(5)], 1e-5);
    near(&grad(|x: &Tensor| grad(f, x), &x), &[30.0 * 1.5f32.powi(4)], 1e-5);
}

#[test]
fn through_a_slice_update() {
    let (x, v) = (vector(&[1.0, 2.0, 3.0, 4.0]), vector(&[10.0, 20.0]));
    let (gx, gv) = grad(
        |(x, v): &(Tensor, Tensor)| {
            let y = x.slice_update(s![1..3], v);
            (&y * &y).sum(..)
        },
        &(x, v),
    );
    assert_eq!(read(&gx), [2.0, 0.0, 0.0, 8.0]);
    assert_eq!(read(&gv), [20.0, 40.0]);
}

#[test]
fn through_a_gather_of_repeated_indices() {
    let x = vector(&[1.0, 2.0, 3.0]);
    let ids = Tensor::from_vec(vec![0i64, 2, 0, 0], [4]);
    let weights = vector(&[1.0, 10.0, 100.0, 1000.0]);
    let g = grad(|x: &Tensor| (x.index_select(0, &ids) * &weights).sum(..), &x);
    assert_eq!(read(&g), [1101.0, 0.0, 10.0]);
}

#[test]
fn through_where_without_the_branch_not_taken() {
    let x = vector(&[0.0, 4.0]);
    let g = grad(|x: &Tensor| Tensor::where_(&x.gt(0.0), Tensor::where_(&x.gt(0.0), x, 1.0).sqrt(), 0.0).sum(..), &x);
    assert_eq!(read(&g), [0.0, 0.25]);
}

#[test]
fn a_maximum_shares_or_picks() {
    let x = vector(&[1.0, 3.0, 3.0, 2.0]);
    assert_eq!(read(&grad(|x: &Tensor| x.max(..), &x)), [0.0, 0.5, 0.5, 0.0]);
    assert_eq!(read(&grad(|x: &Tensor| x.max_with_indices(0).0, &x)), [0.0, 1.0, 0.0, 0.0]);
    let y = vector(&[1.0, 5.0, 3.0, 2.0]);
    let (gx, gy) = grad(|(x, y): &(Tensor, Tensor)| x.maximum(y).sum(..), &(x, y));
    assert_eq!(read(&gx), [0.5, 0.0, 0.5, 0.5]);
    assert_eq!(read(&gy), [0.5, 1.0, 0.5, 0.5]);
}

#[test]
fn through_sort_and_cumsum() {
    let x = vector(&[3.0, 1.0, 2.0]);
    let weights = vector(&[1.0, 10.0, 100.0]);
    assert_eq!(read(&grad(|x: &Tensor| (x.sort(0).0 * &weights).sum(..), &x)), [100.0, 1.0, 10.0]);
    assert_eq!(read(&grad(|x: &Tensor| (x.cumsum(0) * &weights).sum(..), &x)), [111.0, 110.0, 100.0]);
}

#[test]
fn through_strided_views() {
    let x = Tensor::from_vec((0..24).map(|i| i as f32).collect(), [2, 3, 4]);
    let g = grad(
        |x: &Tensor| {
            let v = x.permute([2, 0, 1]).flip(0).slice(s![0..4;2, .., 1..]);
            (&v * &v).sum(..) * 0.5
        },
        &x,
    );
    let want: Vec<f32> = (0..24).map(|i| if i % 4 % 2 == 1 && i / 4 % 3 >= 1 { i as f32 } else { 0.0 }).collect();
    assert_eq!(read(&g), want);
}

#[test]
fn through_a_broadcast_and_back() {
    let (a, b) = (Tensor::ones([3, 1]), Tensor::ones([4]));
    let (ga, gb) = grad(|(a, b): &(Tensor, Tensor)| (a * b).sum(..), &(a, b));
    assert_eq!((ga.shape().to_vec(), gb.shape().to_vec()), (vec![3, 1], vec![4]));
    assert_eq!((read(&ga), read(&gb)), (vec![4.0; 3], vec![3.0; 4]));
}

#[test]
fn detach_ends_it() {
    let x = scalar(3.0);
    near(&grad(|x: &Tensor| x * x.detach(), &x), &[3.0], 0.0);
}

#[test]
fn vjp_pulls_back_what_it_is_given() {
    let x = vector(&[1.0, 2.0, 3.0]);
    let (y, pull) = vjp(|x: &Tensor| x.square(), &x);
    assert_eq!(read(&y), [1.0, 4.0, 9.0]);
    assert_eq!(read(&pull(&vector(&[1.0, 0.0, 10.0]))), [2.0, 0.0, 60.0]);
    assert_eq!(read(&pull(&vector(&[0.0, 1.0, 0.0]))), [0.0, 4.0, 0.0]);
}

#[test]
fn custom_and_checkpointed_functions() {
    let x = vector(&[0.5, -1.0]);
    // A rule that is wrong on purpose is the one that is used.
    let f = custom_vjp(|x: &Tensor| x.exp(), |_: &Tensor, y: &Tensor, dy: &Tensor| dy * y * 10.0);
    near(&grad(|x: &Tensor| f(x).sum(..), &x), &[16.487_213, 3.678_794], 1e-5);
    let c = checkpoint(|x: &Tensor| x.sin().exp());
    let plain = grad(|x: &Tensor| x.sin().exp().sum(..), &x);
    near(&grad(|x: &Tensor| c(x).sum(..), &x), &read(&plain), 1e-6);
}

#[test]
fn trees_of_every_sort() {
    let (w, b) = (vector(&[1.0, 2.0]), scalar(3.0));
    let tree = (vec![w.clone(), w.clone()], Some(b.clone()), [w.clone(), b.clone()]);
    type Tree3 = (Vec<Tensor>, Option<Tensor>, [Tensor; 2]);
    let g = grad(|(v, o, a): &Tree3| (&v[0] * &v[1]).sum(..) * o.as_ref().unwrap() + a[1].square(), &tree);
    assert_eq!(read(&g.0[0]), [3.0, 6.0]);
    assert_eq!(read(g.1.as_ref().unwrap()), [5.0]);
    assert_eq!((read(&g.2[0]), read(&g.2[1])), (vec![0.0, 0.0], vec![6.0]));
}

#[test]
fn a_loss_with_something_beside_it() {
    let w = vector(&[1.0, 2.0]);
    let ((loss, aux), g) = value_and_grad(|w: &Tensor| (w.square().sum(..), w * 10.0), &w);
    assert_eq!((loss.item::<f32>().unwrap(), read(&aux), read(&g)), (5.0, vec![10.0, 20.0], vec![2.0, 4.0]));
}

#[test]
fn integers_get_zeros() {
    let n = Tensor::from_vec(vec![1i64, 2], [2]);
    let (gx, gn) = grad(|(x, n): &(Tensor, Tensor)| (x * n).sum(..), &(vector(&[1.0, 1.0]), n));
    assert_eq!(read(&gx), [1.0, 2.0]);
    assert_eq!(gn.cast(DType::F32).to_vec::<f32>().unwrap(), [0.0, 0.0]);
}

#[test]
fn a_panic_in_a_closure_leaves_the_engine_whole() {
    let x = vector(&[1.0, 2.0]);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        grad(
            |x: &Tensor| {
                let _recorded = x.exp();
                panic!("the user's own");
                #[expect(unreachable_code)]
                Tensor::zeros([])
            },
            &x,
        )
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"the user's own"));
    // Outside again: reading, cutting and differentiating work.
    assert_eq!(read(&(&x + 1.0)), [2.0, 3.0]);
    let y = &x * 2.0;
    y.eval().unwrap();
    assert_eq!(read(&grad(|x: &Tensor| (x * &y).sum(..), &x)), [2.0, 4.0]);
}

/// The gradient of every window's maximum goes to its first largest element, or its last NaN: against a loop, over tiling, overlapping, gapped and
/// padded windows, with many ties.
#[test]
fn max_pool_gives_the_gradient_to_the_first_largest() {
    let (h, w) = (9usize, 11usize);
    let mut x: Vec<f32> = (0..2 * h * w).map(|i| ((i * 7919) % 5) as f32 - 2.0).collect();
    x[17] = f32::NAN;
    for (kernel, stride, padding) in
        [([2, 2], [2, 2], [0, 0]), ([3, 3], [2, 2], [1, 1]), ([3, 2], [1, 3], [0, 1]), ([2, 3], [3, 1], [1, 0]), ([4, 4], [3, 2], [2, 2])]
    {
        let out = [(h + 2 * padding[0] - kernel[0]) / stride[0] + 1, (w + 2 * padding[1] - kernel[1]) / stride[1] + 1];
        let weight = |p: usize, oy: usize, ox: usize| (1 + (p * 31 + oy * 13 + ox * 5) % 17) as f32;
        let mut want = vec![0.0f32; x.len()];
        let mut weights = Vec::new();
        for p in 0..2 {
            for oy in 0..out[0] {
                for ox in 0..out[1] {
                    let mut best: Option<usize> = None;
                    for ky in 0..kernel[0] {
                        for kx in 0..kernel[1] {
                            let (y, z) = (oy * stride[0] + ky, ox * stride[1] + kx);
                            if y < padding[0] || y >= h + padding[0] || z < padding[1] || z >= w + padding[1] {
                                continue;
                            }
                            let at = p * h * w + (y - padding[0]) * w + z - padding[1];
                            if best.is_none_or(|b| x[at] > x[b] || x[at].is_nan()) {
                                best = Some(at);
                            }
                        }
                    }
                    weights.push(weight(p, oy, ox));
                    want[best.unwrap()] += weight(p, oy, ox);
                }
            }
        }
        let t = Tensor::from_vec(x.clone(), [1, 2, h, w]);
        let c = Tensor::from_vec(weights, [1, 2, out[0], out[1]]);
        let (_, pull) = lazuli::vjp(|t: &Tensor| t.max_pool2d(kernel, stride, padding), &t);
        let got: Vec<f32> = pull(&c).to_vec().unwrap();
        assert_eq!(got, want, "kernel {kernel:?}, stride {stride:?}, padding {padding:?}");
    }
}
