use super::*;
use crate::{DType, PadMode, tensor};

#[test]
fn views() {
    let x = counting([2, 3]);
    assert_eq!(ints(&x.t()), [0, 3, 1, 4, 2, 5]);
    assert_eq!(*x.unsqueeze(-1).shape(), [2, 3, 1]);
    assert_eq!(*x.unsqueeze(1).squeeze().shape(), [2, 3]);
    assert_eq!(*counting([2, 3, 4, 5]).flatten(1, 2).shape(), [2, 12, 5]);
    assert_eq!(*counting([2, 12]).unflatten(1, [3, -1]).shape(), [2, 3, 4]);
    assert_eq!(*counting([2, 3, 4]).movedim([0, 1], [-1, 0]).shape(), [3, 4, 2]);
    assert_eq!(*counting([1, 3]).expand([2, -1, -1]).shape(), [2, 1, 3]);
    assert_eq!(ints(&Tensor::arange(3).repeat(&[2, 2])), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    assert_eq!(ints(&Tensor::arange(3).repeat_interleave(2, 0)), [0, 0, 1, 1, 2, 2]);
    assert_eq!(ints(&Tensor::arange(4).roll(&[1], 0)), [3, 0, 1, 2]);
    assert_eq!(ints(&x.rot90(1, 0, 1)), [2, 5, 1, 4, 0, 3]);
    assert_eq!(ints(&x.rot90(-1, 0, 1)), [3, 0, 4, 1, 5, 2]);
    assert_eq!(ints(&x.rot90(2, 0, 1)), [5, 4, 3, 2, 1, 0]);
}

#[test]
fn diagonals_and_triangles() {
    let x = counting([3, 4]);
    assert_eq!(ints(&x.diagonal(0, 0, 1)), [0, 5, 10]);
    assert_eq!(ints(&x.diagonal(2, 0, 1)), [2, 7]);
    assert_eq!(ints(&x.diagonal(-1, 0, 1)), [4, 9]);
    assert_eq!(x.diagonal(7, 0, 1).numel(), 0);
    assert_eq!(ints(&x.t().trace()), [15]);
    for k in -2..=2 {
        let m = tensor![1, 2, 3].diag(k);
        assert_eq!(*m.shape(), [3 + k.unsigned_abs(); 2]);
        assert_eq!(ints(&m.diag(k)), [1, 2, 3], "{k}");
        assert_eq!(ints(&m.sum(..)), [6]);
    }
    assert_eq!(ints(&counting([2, 2]).tril(-1)), [0, 0, 2, 0]);
    assert_eq!(ints(&counting([2, 3]).triu(1)), [0, 1, 2, 0, 0, 5]);
    assert_eq!(floats(&Tensor::eye(2)), [1., 0., 0., 1.]);
}

#[test]
fn joining() {
    let (a, b) = (counting([2, 2]), Tensor::ones([1, 2]));
    let c = Tensor::cat(&[&a, &b], 0);
    assert_eq!((c.dtype(), floats(&c)), (DType::F32, vec![0., 1., 2., 3., 1., 1.]));
    assert_eq!(*Tensor::stack(&[a.clone(), a.clone(), a.clone()], -1).shape(), [2, 2, 3]);
    assert_eq!(counting([7]).split(3, 0).iter().map(|t| t.numel()).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(counting([7]).chunk(3, 0).iter().map(|t| t.numel()).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(counting([3, 2]).unbind(1).iter().map(ints).collect::<Vec<_>>(), [[0, 2, 4], [1, 3, 5]]);
    let g = Tensor::meshgrid(&[Tensor::arange(2), Tensor::arange(3)], "xy");
    assert_eq!((g[0].shape().to_vec(), ints(&g[0])), (vec![3, 2], vec![0, 1, 0, 1, 0, 1]));
    let (kind, text) = slip(|| Tensor::cat(&[&a, &b], 1));
    assert_eq!(kind, ErrorKind::Shape);
    assert!(text.contains("[2, 2]") && text.contains("[1, 2]"), "{text}");
}

#[test]
fn padding() {
    let x = Tensor::arange(4);
    let p = |mode| ints(&x.pad_with(&[(2, 3)], mode));
    assert_eq!(p(PadMode::Reflect), [2, 1, 0, 1, 2, 3, 2, 1, 0]);
    assert_eq!(p(PadMode::Replicate), [0, 0, 0, 1, 2, 3, 3, 3, 3]);
    assert_eq!(p(PadMode::Circular), [2, 3, 0, 1, 2, 3, 0, 1, 2]);
    assert_eq!(ints(&x.pad(&[(1, -2)], 7)), [7, 0, 1]);
    assert_eq!(*counting([2, 2]).pad(&[(1, 1)], 0).shape(), [2, 4]);
    assert_eq!(slip(|| x.pad_with(&[(4, 0)], PadMode::Reflect)).0, ErrorKind::Shape);
    assert_eq!(slip(|| x.pad(&[(-3, -2)], 0)).0, ErrorKind::Shape);
}

#[test]
fn windows() {
    assert_eq!(ints(&Tensor::arange(5).unfold(0, 3, 2)), [0, 1, 2, 2, 3, 4]);
    assert_eq!(ints(&Tensor::arange(5).unfold(0, 2, 2)), [0, 1, 2, 3]);
    assert_eq!(*counting([2, 7, 3]).unfold(1, 3, 2).shape(), [2, 3, 3, 3]);
    let x = counting([1, 1, 4, 4]).cast(DType::F32);
    assert_eq!(floats(&x.max_pool2d([2, 2], [2, 2], [0, 0])), [5., 7., 13., 15.]);
    assert_eq!(floats(&x.avg_pool2d([2], [2], [0])), [2.5, 4.5, 10.5, 12.5]);
    assert_eq!(floats(&x.avg_pool2d([3], [2], [1])), [10. / 9., 24. / 9., 51. / 9., 90. / 9.]);
    let uneven = crate::PoolOptions::new([3]).stride([2]).padding([1]).count_include_pad(false);
    assert_eq!(floats(&x.avg_pool(2, &uneven)), [2.5, 4., 8.5, 10.]);
    // The same by the other ways: large windows are gathered or reduced.
    let long = Tensor::arange(100).cast(DType::F32).reshape([1, 1, 100]);
    let o = crate::PoolOptions::new([21]).stride([7]);
    let maxima: Vec<f32> = (0..12).map(|i| (i * 7 + 20) as f32).collect();
    assert_eq!(floats(&long.max_pool(1, &o)), maxima);
    assert_eq!(floats(&long.avg_pool(1, &o)), maxima.iter().map(|m| m - 10.0).collect::<Vec<_>>());
    assert_eq!(floats(&long.adaptive_avg_pool(&[3])), [16.5, 49.5, 82.5].map(|v: f32| v));
    assert_eq!(floats(&long.adaptive_max_pool(&[4])), [24., 49., 74., 99.]);
}

#[test]
fn products() {
    let (a, b) = (counting([2, 3]), counting([3, 2]));
    assert_eq!(ints(&a.matmul(&b)), [10, 13, 28, 40]);
    assert_eq!(*Tensor::zeros([5, 1, 2, 3]).matmul(&Tensor::zeros([4, 3, 6])).shape(), [5, 4, 2, 6]);
    assert_eq!(*Tensor::zeros([4, 2, 3]).matmul(&Tensor::zeros([3])).shape(), [4, 2]);
    assert_eq!(*Tensor::zeros([3]).matmul(&Tensor::zeros([4, 3, 2])).shape(), [4, 2]);
    assert_eq!(ints(&Tensor::einsum("ij,jk->ki", &[&a, &b])), [10, 28, 13, 40]);
    assert_eq!(ints(&Tensor::einsum("...i,...i", &[&a, &a])), [5, 50]);
    assert_eq!(ints(&Tensor::einsum("ii->i", &[&a.matmul(&b)])), [10, 40]);
    assert_eq!(ints(&Tensor::einsum("ij,kl->", &[&a, &b])), [225]);
    let c = Tensor::multi_dot(&[&a, &b, &a, &Tensor::arange(3)]);
    assert_eq!(ints(&c), ints(&a.matmul(&b).matmul(&a).matmul(&Tensor::arange(3))));
    let (kind, text) = slip(|| a.matmul(&a));
    assert_eq!(kind, ErrorKind::Shape);
    assert!(text.contains("matmul") && text.contains("[2, 3]"), "{text}");
    assert_eq!(slip(|| Tensor::einsum("ij,jk", &[&a])).0, ErrorKind::Argument);
    assert_eq!(slip(|| Tensor::einsum("ij,ij->", &[&a, &b])).0, ErrorKind::Shape);
}

#[test]
fn empty_and_0d() {
    let e = Tensor::zeros([0, 3]);
    assert_eq!(floats(&e.sum(0)), [0.; 3]);
    assert!(floats(&e.mean(0)).iter().all(|v| v.is_nan()));
    assert_eq!(*e.softmax(-1).shape(), [0, 3]);
    assert_eq!(*e.max(1).shape(), [0]);
    assert_eq!(slip(|| e.max(0)).0, ErrorKind::Shape);
    assert!(!e.any(..).item::<bool>().unwrap());
    assert_eq!(e.all(0).to_vec::<bool>().unwrap(), [true; 3]);
    assert_eq!(floats(&e.logsumexp(0)), [f32::NEG_INFINITY; 3]);
    let x = Tensor::full([], 2.0);
    assert_eq!(floats(&x.softmax(-1)), [1.0]);
    assert_eq!(floats(&x.sum(0)), [2.0]);
    assert_eq!(ints(&x.argmax(0)), [0]);
    assert_eq!(ints(&x.sort(-1).1), [0]);
    assert_eq!(slip(|| x.sum(1)).0, ErrorKind::Index);
}
