#![allow(clippy::reversed_empty_ranges, reason = "an index expression walks backwards, as in NumPy")]

use super::*;
use crate::{DType, NewAxis, ScatterReduce, s, tensor};

#[test]
fn basic_items() {
    let x = counting([4, 5, 6]);
    let at = |i: i64, j: i64, k: i64| i * 30 + j * 6 + k;
    let y = x.slice(s![1, 0..3, ..;2]);
    assert_eq!(*y.shape(), [3, 3]);
    assert_eq!(
        ints(&y),
        [at(1, 0, 0), at(1, 0, 2), at(1, 0, 4), at(1, 1, 0), at(1, 1, 2), at(1, 1, 4), at(1, 2, 0), at(1, 2, 2), at(1, 2, 4)]
    );
    assert_eq!(ints(&x.slice(s![-1, -1, -2..])), [at(3, 4, 4), at(3, 4, 5)]);
    assert_eq!(ints(&x.slice(s![0, 0, ..=2])), [0, 1, 2]);
    assert_eq!(ints(&x.slice(s![0, 0, ..=-1])), [0, 1, 2, 3, 4, 5]);
    assert_eq!(ints(&x.slice(s![0, 0, 1..100])), [1, 2, 3, 4, 5], "ranges are clipped");
    assert_eq!(*x.slice(s![3..1]).shape(), [0, 5, 6]);
    // A bare `..` is as many axes as are left, perhaps none; several are one each.
    assert_eq!(*x.slice(s![.., 0]).shape(), [4, 5]);
    assert_eq!(*x.slice(s![.., 0..1, ..;2, 0]).shape(), [1, 3]);
    assert_eq!(*x.slice(s![.., 0, ..]).shape(), [4, 6]);
    assert_eq!(*counting([2, 2]).slice(s![.., 0..1, ..;2]).shape(), [1, 1]);
    assert_eq!(*x.slice(s![NewAxis, 0, .., NewAxis]).shape(), [1, 5, 6, 1]);
    assert_eq!(*x.slice(s![]).shape(), [4, 5, 6]);
}

#[test]
fn negative_steps_walk_as_numpy() {
    let x = Tensor::arange(10);
    let take = |i: [crate::SliceItem; 1]| ints(&x.slice(i));
    assert_eq!(take(s![..;-1]), (0..10).rev().collect::<Vec<_>>());
    assert_eq!(take(s![..;-3]), [9, 6, 3, 0]);
    assert_eq!(take(s![7..2;-2]), [7, 5, 3]);
    assert_eq!(take(s![..4;-2]), [9, 7, 5]);
    assert_eq!(take(s![3..;-2]), [3, 1]);
    assert_eq!(take(s![-2..-5;-1]), [8, 7, 6]);
    assert!(take(s![2..7;-1]).is_empty());
    assert_eq!(take(s![1..;4]), [1, 5, 9]);
}

#[test]
fn tensor_items() {
    let x = counting([3, 4, 5]);
    let (i, j) = (tensor![0, -1], tensor![[1], [3]]);
    // Side by side: in place of the first.
    let y = x.slice(s![.., &i, &j]);
    assert_eq!(*y.shape(), [3, 2, 2]);
    assert_eq!(ints(&y.slice(s![1])), [20 + 1, 20 + 15 + 1, 20 + 3, 20 + 15 + 3]);
    // Apart: in front.
    let y = x.slice(s![&i, .., &tensor![2, 4]]);
    assert_eq!(*y.shape(), [2, 4]);
    assert_eq!(ints(&y), [2, 7, 12, 17, 44, 49, 54, 59]);
    // Integers are applied first, as PyTorch does.
    assert_eq!(*x.slice(s![0, .., &i]).shape(), [4, 2]);
    // A mask takes as many axes as it has.
    let mask = counting([3, 4]).fmod(5).eq(1);
    let y = x.slice(s![&mask, 0]);
    assert_eq!(ints(&y), [5, 30, 55]);
    assert_eq!(ints(&counting([2, 2]).masked_select(&tensor![[true, false], [false, true]])), [0, 3]);
    assert_eq!(ints(&tensor![[0, 2], [3, 0]].nonzero()), [0, 1, 1, 0]);
    // Out of range: the nearest, and never another row's.
    assert_eq!(ints(&counting([2, 3]).slice(s![&tensor![0], &tensor![7]])), [2]);
}

#[test]
fn updates() {
    let x = counting([3, 4]);
    assert_eq!(ints(&x.slice_update(s![1, ..], &tensor![9, 8, 7, 6])), [0, 1, 2, 3, 9, 8, 7, 6, 8, 9, 10, 11]);
    assert_eq!(ints(&x.slice_update(s![.., 1..3], -1)), [0, -1, -1, 3, 4, -1, -1, 7, 8, -1, -1, 11]);
    assert_eq!(ints(&x.slice_update(s![0, ..;-2], &tensor![50, 60])), [0, 60, 2, 50, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(ints(&x.slice_update(s![1..;2, 1..;2], 0)), [0, 1, 2, 3, 4, 0, 6, 0, 8, 9, 10, 11]);
    assert_eq!(ints(&x.slice_update(s![..], 5)), [5; 12]);
    assert_eq!(ints(&x.slice_update(s![&tensor![2, 0]], &tensor![[1], [2]])), [2, 2, 2, 2, 4, 5, 6, 7, 1, 1, 1, 1]);
    assert_eq!(ints(&x.slice_update(s![1.., &tensor![3, 0]], 0)), [0, 1, 2, 3, 0, 5, 6, 0, 0, 9, 10, 0]);
    assert_eq!(ints(&x.slice_update(s![&x.gt(9)], 0)), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0]);
    assert_eq!(ints(&x.index_put(&[&tensor![0, 0], &tensor![1, 1]], &tensor![10, 20], true))[..2], [0, 31]);
    // A place out of range is dropped, and does not hit another row.
    assert_eq!(ints(&x.index_put(&[&tensor![0], &tensor![5]], 99, false)), ints(&x));
    assert_eq!(slip(|| x.slice_update(s![0], &tensor![1, 2])).0, ErrorKind::Shape);
}

#[test]
fn gather_and_scatter() {
    let x = counting([3, 4]);
    let i = tensor![[0, 2], [3, -1]];
    assert_eq!(ints(&x.gather(1, &i)), [0, 2, 7, 7]);
    assert_eq!(ints(&x.gather(0, &tensor![[2, 0, 1]])), [8, 1, 6]);
    let z = Tensor::zeros([2, 3]);
    assert_eq!(floats(&z.scatter(1, &tensor![[2], [0]], 5.0)), [0., 0., 5., 5., 0., 0.]);
    assert_eq!(floats(&z.scatter_add(1, &tensor![[1, 1]], &tensor![[2., 3.]])), [0., 5., 0., 0., 0., 0.]);
    let (at, new) = (tensor![0, 0, 2], tensor![4., 8., -1.]);
    let reduce = |how, own| floats(&tensor![1., 1., 1.].scatter_reduce(0, &at, &new, how, own));
    assert_eq!(reduce(ScatterReduce::Max, true), [8., 1., 1.]);
    assert_eq!(reduce(ScatterReduce::Min, false), [4., 1., -1.]);
    assert_eq!(reduce(ScatterReduce::Mean, false), [6., 1., -1.]);
    assert_eq!(reduce(ScatterReduce::Sum, true), [13., 1., 0.]);
    assert_eq!(floats(&Tensor::ones([2, 2]).index_add(0, &tensor![1, 1], &tensor![[1., 2.], [3., 4.]])), [1., 1., 5., 7.]);
    assert_eq!(ints(&x.take_along_dim(&tensor![[1]], 0)), [4, 5, 6, 7]);
    assert_eq!(ints(&tensor![1, 0].one_hot(3)), [0, 1, 0, 1, 0, 0]);
    let w = counting([4, 2]);
    assert_eq!(ints(&w.embedding(&tensor![[3], [0]])), [6, 7, 0, 1]);
    assert_eq!(*w.take(&tensor![[0, 1, -1]], 1).shape(), [4, 1, 3]);
}

#[test]
fn slips_name_axis_and_extent() {
    let x = counting([2, 3]);
    let (kind, text) = slip(|| x.slice(s![0, 3]));
    assert_eq!(kind, ErrorKind::Index);
    assert!(text.contains("index 3") && text.contains("axis 1") && text.contains("extent 3"), "{text}");
    assert_eq!(slip(|| x.slice(s![0, 0, 0])).0, ErrorKind::Index);
    assert_eq!(slip(|| x.slice(s![0; 2])).0, ErrorKind::Argument);
    assert_eq!(slip(|| x.slice(s![..;0])).0, ErrorKind::Argument);
    assert_eq!(slip(|| x.slice(s![&tensor![0.5]])).0, ErrorKind::DType);
    assert_eq!(slip(|| x.slice(s![&tensor![true]])).0, ErrorKind::Shape);
    assert_eq!(slip(|| x.masked_fill(&tensor![true, false], 1)).0, ErrorKind::Shape);
    assert_eq!(slip(|| x.masked_fill(&x.gt(1), 0.5)).0, ErrorKind::DType);
    assert_eq!(x.masked_fill(&x.gt(1), 0).dtype(), DType::I64);
}
