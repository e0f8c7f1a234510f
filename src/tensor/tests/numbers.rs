use super::*;
use crate::{CrossEntropyOptions, DType, Generator, Interpolate, Reduction, grad, tensor};

fn near(a: &Tensor, want: &[f32], tolerance: f32) {
    let got = floats(a);
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= tolerance || g == w || (g.is_nan() && w.is_nan()), "{got:?} against {want:?}");
    }
}

#[test]
fn dtypes_are_pytorch_s() {
    let (i, f, h, b) = (tensor![1, 2], tensor![1., 2.], tensor![1., 2.].cast(DType::F16), tensor![true, false]);
    let d = |t: &Tensor| t.dtype();
    assert_eq!(d(&(&i + 1.5)), DType::F32);
    assert_eq!(d(&(&h * 1.5)), DType::F16);
    assert_eq!(d(&(&h * &f)), DType::F32);
    assert_eq!(d(&(&h * &f.sum(..))), DType::F16, "a 0-d tensor is weak");
    assert_eq!(d(&(&i / 2)), DType::F32);
    assert_eq!(d(&i.sqrt()), DType::F32);
    assert_eq!(d(&b.sum(..)), DType::I64);
    assert_eq!(d(&h.mean(..)), DType::F16);
    assert_eq!(d(&i.floor_divide(2)), DType::I64);
    assert_eq!(d(&Tensor::where_(&b, 1, 2.5)), DType::F32);
    assert_eq!(d(&Tensor::where_(&b, &i, 2)), DType::I64);
    assert_eq!(d(&h.softmax(0)), DType::F16);
    assert_eq!(d(&i.clamp(0, 1)), DType::I64);
    assert_eq!(d(&i.clamp(0.5, 1.5)), DType::F32);
    assert_eq!(d(&f.argmax(0)), DType::I64);
    assert_eq!(d(&i.pow(2)), DType::I64);
    assert_eq!(slip(|| i.mean(..)).0, ErrorKind::DType);
    assert_eq!(slip(|| i.pow(-1)).0, ErrorKind::Argument);
    assert_eq!(slip(|| b.clamp(false, true)).0, ErrorKind::DType);
    assert_eq!(slip(|| tensor![1., 2.].maximum(&tensor![1., 2., 3.])).0, ErrorKind::Shape);
}

#[test]
fn poison_propagates_and_the_first_slip_is_told() {
    let a = tensor![[1., 2.]];
    let (kind, text) = slip(|| a.matmul(&a).softmax(-1).sum([0, 1]).reshape([7]).cross_entropy(&tensor![0]));
    assert_eq!(kind, ErrorKind::Shape);
    assert!(text.contains("matmul"), "{text}");
}

#[test]
fn elementwise_values() {
    near(&tensor![-7., 7.].floor_divide(&tensor![2., -2.]), &[-4., -4.], 0.0);
    assert_eq!(ints(&tensor![-7, 7, 7].floor_divide(&tensor![2, -2, 0])), [-4, -4, 0]);
    near(&tensor![3., 0.].hypot(&tensor![4., 0.]), &[5., 0.], 1e-6);
    near(&tensor![3e30].hypot(&tensor![4e30]), &[5e30], 1e25);
    near(&tensor![1., -2.].copysign(&tensor![-0., 1.]), &[-1., 2.], 0.0);
    near(&tensor![0., f32::INFINITY].logaddexp(&tensor![0., f32::INFINITY]), &[std::f32::consts::LN_2, f32::INFINITY], 1e-6);
    near(&tensor![-0.5, 1e-4, 30.].asinh(), &[-0.481_211_84, 1e-4, 4.094_622], 1e-6);
    near(&tensor![1., 2., 1e6].acosh(), &[0., 1.316_958, 14.508_658], 1e-5);
    near(&tensor![0.5].atanh(), &[0.549_306_15], 1e-6);
    near(&tensor![-200., 0., 200.].sigmoid(), &[0., 0.5, 1.], 0.0);
    near(&tensor![f32::NAN, f32::INFINITY].nan_to_num(), &[0., f32::MAX], 0.0);
    near(&tensor![0., 10.].lerp(&tensor![1., 20.], 1.0), &[1., 20.], 0.0);
    assert_eq!(ints(&(tensor![1, 2] << 3)), [8, 16]);
    assert_eq!(ints(&tensor![6, 5].bitwise_and(3)), [2, 1]);
    near(&Tensor::linspace(0.0, 1.0, 5), &[0., 0.25, 0.5, 0.75, 1.], 0.0);
    near(&Tensor::arange_range(1.0, 2.0, 0.25), &[1., 1.25, 1.5, 1.75], 0.0);
    assert_eq!(ints(&Tensor::arange_range(5, 0, -2)), [5, 3, 1]);
    assert_eq!(slip(|| Tensor::arange_range(0, 5, -1)).0, ErrorKind::Argument);
}

#[test]
fn derivatives_at_kinks() {
    let g = |f: fn(&Tensor) -> Tensor, x: &[f32]| floats(&grad(|x: &Tensor| f(x).sum(..), &Tensor::from_slice(x, [x.len()])));
    assert_eq!(g(|x| x.relu(), &[-1., 0., 1.]), [0., 0., 1.]);
    assert_eq!(g(|x| x.relu6(), &[0., 3., 6.]), [0., 1., 0.]);
    assert_eq!(g(|x| x.clamp(0.0, 1.0), &[0., 1., 2.]), [1., 1., 0.]);
    assert_eq!(g(|x| x.sigmoid(), &[-200., 0., 200.]), [0., 0.25, 0.]);
    assert_eq!(g(|x| x.softplus(), &[-200., 0., 200.]), [0., 0.5, 1.]);
    assert_eq!(g(|x| x.logsigmoid(), &[-200., 0., 200.]), [1., 0.5, 0.]);
    assert_eq!(g(|x| x.elu(1.0), &[0., 200.]), [1., 1.]);
    assert_eq!(g(|x| x.norm(2.0, ..), &[0., 0.]), [0., 0.]);
    assert_eq!(g(|x| x.norm(3.0, ..), &[0., 0.]), [0., 0.]);
    assert_eq!(g(|x| x.std(.., 1), &[2., 2.]), [0., 0.]);
    assert_eq!(g(|x| x.max(..), &[1., 5., 5.]), [0., 0.5, 0.5]);
    assert_eq!(g(|x| x.max_with_indices(0).0, &[1., 5., 5.]), [0., 1., 0.]);
    assert_eq!(g(|x| x.reshape([1, 1, 4]).max_pool1d([2], [2], [0]), &[3., 3., 1., 2.]), [1., 0., 0., 1.]);
    assert_eq!(g(|x| x.logaddexp(&x.detach()), &[1., 2.]), [0.5, 0.5]);
    // A derivative of a derivative, where the branches meet.
    let second = grad(|x: &Tensor| grad(|x: &Tensor| x.softplus().sum(..), x).sum(..), &tensor![0., 1.]);
    near(&second, &[0.25, 0.196_611_93], 1e-6);
}

#[test]
fn losses() {
    let x = tensor![[1., 2., 3.], [1., 1., 1.]];
    let y = tensor![2, 0];
    let terms = [0.407_605_96f32, 3f32.ln()];
    near(&x.cross_entropy(&y), &[(terms[0] + terms[1]) / 2.0], 1e-6);
    let with = |o: CrossEntropyOptions| x.cross_entropy_with(&y, &o);
    near(&with(CrossEntropyOptions::new().reduction(Reduction::None)), &terms, 1e-6);
    near(&with(CrossEntropyOptions::new().ignore_index(0)), &terms[..1], 1e-6);
    near(&with(CrossEntropyOptions::new().weight(&tensor![1., 1., 3.])), &[(3.0 * terms[0] + terms[1]) / 4.0], 1e-6);
    near(&x.cross_entropy(&y.one_hot(3).cast(DType::F32)), &[(terms[0] + terms[1]) / 2.0], 1e-6);
    near(&x.log_softmax(1).nll_loss(&y), &[(terms[0] + terms[1]) / 2.0], 1e-6);
    let smooth = with(CrossEntropyOptions::new().label_smoothing(0.3));
    let target = y.one_hot(3).cast(DType::F32) * 0.7 + 0.1;
    near(&smooth, &floats(&x.cross_entropy(&target)), 1e-6);
    let (kind, text) = slip(|| x.cross_entropy(&tensor![1]));
    assert_eq!(kind, ErrorKind::Shape);
    assert!(text.contains("[2, 3]") && text.contains("[1]"), "{text}");
    let p = tensor![0., 0.5, 1.];
    near(&p.binary_cross_entropy_with(&tensor![1., 1., 0.], Reduction::None), &[100., 2f32.ln(), 100.], 1e-4);
}

#[test]
fn sorting_and_running() {
    let x = tensor![3., f32::NAN, 1., 2.];
    let (v, i) = x.sort(-1);
    near(&v, &[1., 2., 3., f32::NAN], 0.0);
    assert_eq!(ints(&i), [2, 3, 0, 1]);
    assert_eq!(ints(&tensor![[1, 3], [2, 0]].topk(1, 0).1), [1, 0]);
    assert_eq!(ints(&tensor![5, 1, 4].bottomk(2, 0).0), [1, 4]);
    let (v, i) = tensor![1., 3., 2., 3., f32::NAN, 9.].cummax(0);
    near(&v, &[1., 3., 3., 3., f32::NAN, f32::NAN], 0.0);
    assert_eq!(ints(&i), [0, 1, 1, 3, 4, 4]);
    assert_eq!(ints(&tensor![[1, 2], [3, 4]].cumsum(0)), [1, 2, 4, 6]);
    assert_eq!(slip(|| x.topk(5, 0)).0, ErrorKind::Argument);
}

#[test]
fn random_numbers() {
    let g = Generator::new(5);
    let (a, b) = (g.rand([1000]), g.rand([1000]));
    assert_eq!(floats(&a), floats(&Generator::new(5).rand([1000])), "the seed decides");
    assert_ne!(floats(&a), floats(&b), "each call draws anew");
    assert_eq!(floats(&a), floats(&a), "computed again, the same");
    assert!(floats(&a).iter().all(|v| (0.0..1.0).contains(v)));
    let n = floats(&g.randn([20_000]));
    let mean = n.iter().sum::<f32>() / 2e4;
    let var = n.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 2e4;
    // Five standard errors.
    assert!(mean.abs() < 0.036 && (var - 1.0).abs() < 0.05, "mean {mean}, variance {var}");
    let r = ints(&g.randint(-3, 4, [7000]));
    for v in -3..4 {
        let count = r.iter().filter(|&&x| x == v).count();
        assert!((850..1150).contains(&count), "{v} came {count} times");
    }
    assert!(ints(&g.randint(i64::MIN / 2, i64::MAX / 2, [100])).iter().any(|v| v.unsigned_abs() > 1 << 40));
    let mut p = ints(&g.permutation(100));
    assert_ne!(p, (0..100).collect::<Vec<_>>());
    p.sort();
    assert_eq!(p, (0..100).collect::<Vec<_>>());
    let coins = floats(&g.bernoulli(0.25, [10_000])).iter().sum::<f32>();
    assert!((2250.0..2750.0).contains(&coins), "{coins}");
    assert_eq!(slip(|| g.randint(3, 3, [1])).0, ErrorKind::Argument);
    let dropped = floats(&Tensor::ones([10_000]).dropout(0.5));
    assert!(dropped.iter().all(|&v| v == 0.0 || v == 2.0) && (4700..5300).contains(&dropped.iter().filter(|v| **v == 0.0).count()));
}

#[test]
fn resizing() {
    let x = tensor![[[0., 1., 2.]]];
    near(&x.interpolate(&[6], Interpolate::Nearest), &[0., 0., 1., 1., 2., 2.], 0.0);
    near(&x.interpolate(&[2], Interpolate::Nearest), &[0., 1.], 0.0);
    near(&x.interpolate(&[6], Interpolate::Linear), &[0., 0.25, 0.75, 1.25, 1.75, 2.], 1e-6);
    near(&x.interpolate(&[5], Interpolate::LinearAlignCorners), &[0., 0.5, 1., 1.5, 2.], 1e-6);
    let y = counting([1, 4, 2, 3]);
    assert_eq!(ints(&y.pixel_shuffle(2).pixel_unshuffle(2)), ints(&y));
}

#[test]
fn printing() {
    assert_eq!(tensor![[1., 2.5], [-3., 4.]].to_string(), "[[ 1.0000,  2.5000],\n [-3.0000,  4.0000]]\nf32 [2, 2]");
    assert_eq!(tensor![1, -20].to_string(), "[  1, -20] i64 [2]");
    assert_eq!(tensor![true].to_string(), "[true] bool [1]");
    assert_eq!(Tensor::full([], 3.0).to_string(), "3. f32 []");
    assert_eq!(Tensor::zeros([0]).to_string(), "[] f32 [0]");
    assert_eq!(tensor![f32::NAN, 1.].to_string(), "[nan,  1.] f32 [2]");
    assert_eq!(tensor![1e-7, 1.].to_string(), "[1.0000e-07, 1.0000e+00] f32 [2]");
    let long = Tensor::arange(5000).to_string();
    assert!(long.contains("2, ..., 4997"), "{long}");
    let text = format!("{:?}", tensor![1., 2.] * 2.0 + 1.0);
    assert!(text.contains("mul") && text.contains("add"), "{text}");
    let shown = catch(|| {
        let a = tensor![1., 2.];
        let bad = a.matmul(&tensor![[1., 2., 3.]]);
        assert!(bad.to_string().contains("matmul"));
    });
    assert!(shown.is_err());
}
