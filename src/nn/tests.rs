//! First values, statistics, and what forms of a layer have in common. The mathematics is tested where it lives, in `tensor`.

use super::*;
use crate::Tensor;

fn close(got: &Tensor, want: &[f32]) {
    let got = got.to_vec::<f32>().unwrap();
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-5 * w.abs().max(1.0), "{got:?} is not {want:?}");
    }
}

#[test]
fn first_values_are_kaiming_uniform() {
    let a = Linear::new(25, 400);
    let w = a.weight.to_vec::<f32>().unwrap();
    assert!(w.iter().all(|x| x.abs() <= 0.2) && w.iter().any(|&x| x > 0.195) && w.iter().any(|&x| x < -0.195));
    assert!((w.iter().sum::<f32>() / w.len() as f32).abs() < 0.005);
    assert!(a.bias.as_ref().unwrap().to_vec::<f32>().unwrap().iter().all(|x| x.abs() <= 0.2));
    let conv = Conv2d::new(4, 8, 5).groups(2);
    assert_eq!(*conv.weight.shape(), [8, 2, 5, 5]);
    let bound = 1.0 / 50f32.sqrt();
    assert!(conv.weight.to_vec::<f32>().unwrap().iter().all(|x| x.abs() <= bound));
    assert_ne!(Linear::new(25, 400).weight.to_vec::<f32>().unwrap(), w);
}

#[test]
fn linear_by_hand() {
    let layer =
        Linear { weight: Tensor::from_vec(vec![1f32, 2., 3., 4., 5., 6.], [2, 3]), bias: Some(Tensor::from_vec(vec![10f32, 20.], [2])) };
    let x = Tensor::from_vec(vec![1f32, 0., -1.], [1, 3]);
    close(&layer.forward(&x), &[8.0, 18.0]);
    close(&layer.bias(false).forward(&x), &[-2.0, -2.0]);
}

#[test]
fn convolution_by_hand() {
    let mut layer = Conv2d::new(1, 1, 2).stride(2).padding((1, 0));
    layer.weight = Tensor::from_vec(vec![1f32, 10., 100., 1000.], [1, 1, 2, 2]);
    layer.bias = Some(Tensor::from_vec(vec![0.5f32], [1]));
    let x = Tensor::from_vec(vec![1f32, 2., 3., 4.], [1, 1, 2, 2]);
    let y = layer.forward(&x);
    assert_eq!(*y.shape(), [1, 1, 2, 1]);
    close(&y, &[2100.5, 43.5]);
}

#[test]
fn pools_by_hand() {
    let x = Tensor::from_vec(vec![-1f32, -2., -3., -4.], [1, 1, 2, 2]);
    close(&MaxPool2d::new(2).forward(&x), &[-1.0]);
    close(&AvgPool2d::new(2).forward(&x), &[-2.5]);
    close(&MaxPool2d::new(2).padding(1).forward(&x), &[-1.0, -2.0, -3.0, -4.0]);
    close(&AvgPool2d::new(2).padding(1).forward(&x), &[-0.25, -0.5, -0.75, -1.0]);
    close(&AvgPool2d::new((2, 1)).stride(1).forward(&x), &[-2.0, -3.0]);
}

#[test]
fn batch_norm_moves_its_statistics() {
    let mut norm = BatchNorm::new(2).eps(0.0);
    let x = Tensor::from_vec(vec![1f32, 10., 3., 30.], [2, 2]);
    close(&norm.forward(&x), &[1.0, 10.0, 3.0, 30.0]);
    let (y, stats) = norm.forward_train(&x);
    close(&y, &[-1.0, -1.0, 1.0, 1.0]);
    norm.update(stats);
    // Means 2 and 20; unbiased variances 2 and 200.
    close(&norm.running_mean, &[0.2, 2.0]);
    close(&norm.running_var, &[1.1, 20.9]);
    let images = Tensor::from_vec((0..8).map(|i| i as f32).collect(), [2, 1, 2, 2]);
    let (y, stats) = BatchNorm::new(1).momentum(1.0).forward_train(&images);
    close(&y.mean(..), &[0.0]);
    close(&stats.mean, &[3.5]);
    close(&stats.var, &[6.0]);
}

#[test]
fn the_other_norms_agree_where_they_mean_the_same() {
    let x = Tensor::from_vec((0..24).map(|i| (i * i % 7) as f32).collect(), [2, 4, 3]);
    let group = GroupNorm::new(1, 4).forward(&x).to_vec::<f32>().unwrap();
    close(&LayerNorm::new([4, 3]).forward(&x), &group);
    close(&LayerNorm::new([4, 3]).bias(false).forward(&x), &group);
    let row = Tensor::from_vec(vec![3f32, 4.], [1, 2]);
    close(&RmsNorm::new([2]).eps(0.0).forward(&row), &[3.0 / 12.5f32.sqrt(), 4.0 / 12.5f32.sqrt()]);
    let caught = crate::catch(|| LayerNorm::new([5]).forward(&x)).err().unwrap();
    assert_eq!(caught.kind(), crate::ErrorKind::Shape);
}

#[test]
fn embedding_and_dropout() {
    let table = Embedding { weight: Tensor::from_vec(vec![0f32, 1., 10., 11., 20., 21.], [3, 2]) };
    close(&table.forward(&Tensor::from_vec(vec![2i64, 0], [2])), &[20.0, 21.0, 0.0, 1.0]);
    let x = Tensor::ones([10_000]);
    let layer = Dropout::new(0.25);
    close(&layer.forward(&x, false), &[1.0; 10_000]);
    let y = layer.forward(&x, true).to_vec::<f32>().unwrap();
    let kept = y.iter().filter(|&&v| v != 0.0).count();
    assert!((7_300..7_700).contains(&kept), "{kept}");
    assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.75).abs() < 1e-6));
}
