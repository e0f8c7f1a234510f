//! What numbers come out: exact where they can be, IEEE where that says so, wrapped where they are integers.

use super::{near, read, scalar, vector};
use crate::rng::Rng;
use lazuli::prelude::*;

#[test]
fn sixteen_million_ones_are_summed_exactly() {
    let n = 1usize << 24;
    assert_eq!(Tensor::from_vec(vec![1f32; n], [n]).sum(..).item::<f32>().unwrap(), n as f32);
    assert_eq!(Tensor::ones([1 << 12, 1 << 12]).sum(..).item::<f32>().unwrap(), n as f32);
    assert_eq!(Tensor::ones([1 << 12, 1 << 12]).sum(0).sum(0).item::<f32>().unwrap(), n as f32);
}

#[test]
fn four_million_mixed_terms_are_summed_well() {
    let n = 4 << 20;
    let mut r = Rng(4);
    let v: Vec<f32> = (0..n).map(|_| (r.float(-1.0, 1.0) * 10f64.powf(r.float(-3.0, 3.0))) as f32).collect();
    let (sum, size) = v.iter().fold((0f64, 0f64), |(s, a), &x| (s + x as f64, a + (x as f64).abs()));
    let t = Tensor::from_vec(v, [n]);
    for got in [t.sum(..), t.reshape([1024, -1]).sum(0).sum(0), t.reshape([1024, -1]).sum(1).sum(0)] {
        let got = got.item::<f32>().unwrap() as f64;
        assert!((got - sum).abs() <= 1e-6 * size, "{got}, expected {sum} within {}", 1e-6 * size);
    }
}

#[test]
fn nan_and_infinity_go_through() {
    let x = vector(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
    assert!(x.max(..).item::<f32>().unwrap().is_nan());
    assert!(x.min(..).item::<f32>().unwrap().is_nan());
    assert!(x.sum(..).item::<f32>().unwrap().is_nan());
    assert!(x.maximum(0.0).to_vec::<f32>().unwrap()[0].is_nan());
    assert!(x.relu().to_vec::<f32>().unwrap()[0].is_nan());
    assert!(x.sigmoid().to_vec::<f32>().unwrap()[0].is_nan());
    assert_eq!(read(&x.sigmoid())[1..], [1.0, 0.0, 0.731_058_6]);
    assert_eq!(x.isnan().to_vec::<bool>().unwrap(), [true, false, false, false]);
    assert_eq!(x.eq(&x).to_vec::<bool>().unwrap(), [false, true, true, true]);
    assert_eq!(x.argmax(0).item::<i64>().unwrap(), 0);
    assert_eq!(x.sort(0).1.to_vec::<i64>().unwrap(), [2, 3, 1, 0]);
}

#[test]
fn softmax_of_large_numbers() {
    let x = vector(&[1e30, 1e30, -1e30]);
    assert_eq!(read(&x.softmax(0)), [0.5, 0.5, 0.0]);
    let masked = vector(&[f32::NEG_INFINITY, 0.0]).softmax(0);
    assert_eq!(read(&masked), [0.0, 1.0]);
}

#[test]
fn integer_division_by_zero_and_overflow() {
    let a = Tensor::from_vec(vec![7i32, -7, i32::MIN, 0], [4]);
    let zero = Tensor::from_vec(vec![0i32; 4], [4]);
    // Defined, never a trap: x / 0 is 0 and MIN / -1 is MIN.
    assert_eq!(a.fmod(&zero).to_vec::<i32>().unwrap(), [0; 4]);
    assert_eq!(a.floor_divide(&zero).to_vec::<i32>().unwrap(), [0; 4]);
    assert_eq!(a.floor_divide(-1).to_vec::<i32>().unwrap(), [-7, 7, i32::MIN, 0]);
    assert_eq!((&a % 3).to_vec::<i32>().unwrap(), [1, 2, 1, 0]);
    assert_eq!((&a % -3).to_vec::<i32>().unwrap(), [-2, -1, -2, 0]);
    assert_eq!(a.floor_divide(2).to_vec::<i32>().unwrap(), [3, -4, i32::MIN / 2, 0]);
    let top = Tensor::from_vec(vec![i32::MAX], [1]);
    assert_eq!((&top + 1).to_vec::<i32>().unwrap(), [i32::MIN]);
    assert_eq!((&top * 2).to_vec::<i32>().unwrap(), [-2]);
    let byte = Tensor::from_vec(vec![250u8], [1]);
    assert_eq!((&byte + 10).to_vec::<u8>().unwrap(), [4]);
    // True division leaves the integers.
    let q = &a / 2;
    assert_eq!(q.dtype(), DType::F32);
    assert_eq!(read(&q)[..2], [3.5, -3.5]);
}

#[test]
fn dtypes_meet_as_in_pytorch() {
    let (f, h, i, u, b) = (
        Tensor::ones([2]),
        Tensor::ones([2]).cast(DType::F16),
        Tensor::from_vec(vec![1i32, 2], [2]),
        Tensor::from_vec(vec![1u8, 2], [2]),
        Tensor::from_vec(vec![true, false], [2]),
    );
    assert_eq!((&f + &h).dtype(), DType::F32);
    assert_eq!((&h + 1.5).dtype(), DType::F16);
    assert_eq!((&i + &u).dtype(), DType::I32);
    assert_eq!((&i + 1.5).dtype(), DType::F32);
    assert_eq!((&i + 1).dtype(), DType::I32);
    assert_eq!((&b + 1).dtype(), DType::I64);
    assert_eq!((&u * &b).dtype(), DType::U8);
    // A 0-d tensor is weak within its category.
    assert_eq!((&h + Tensor::ones([])).dtype(), DType::F16);
    assert_eq!((&i + Tensor::ones([])).dtype(), DType::F32);
    assert_eq!(i.sum(..).dtype(), DType::I64);
}

#[test]
fn zero_size_and_zero_d() {
    let empty = Tensor::zeros([0, 3]);
    assert_eq!(read(&empty), [] as [f32; 0]);
    assert_eq!(read(&empty.sum(0)), [0.0; 3]);
    assert_eq!(read(&empty.prod(..)), [1.0]);
    assert!(empty.mean(..).item::<f32>().unwrap().is_nan());
    assert_eq!(empty.matmul(&Tensor::zeros([3, 2])).shape().to_vec(), [0, 2]);
    assert_eq!(read(&Tensor::zeros([2, 0]).matmul(&Tensor::zeros([0, 2]))), [0.0; 4]);
    assert_eq!(Tensor::cat(&[&empty, &Tensor::ones([2, 3])], 0).shape().to_vec(), [2, 3]);
    assert_eq!(empty.softmax(1).shape().to_vec(), [0, 3]);
    let g = grad(|x: &Tensor| x.square().sum(..), &empty);
    assert_eq!(g.shape().to_vec(), [0, 3]);
    let s = scalar(2.0);
    assert_eq!((s.rank(), s.numel()), (0, 1));
    assert_eq!(read(&s.sum(..)), [2.0]);
    assert_eq!(read(&s.max(0)), [2.0]);
    assert_eq!(read(&s.softmax(-1)), [1.0]);
    assert_eq!(read(&s.broadcast_to([2])), [2.0, 2.0]);
    assert_eq!(read(&s.sort(0).0), [2.0]);
}

#[test]
fn an_f32_literal_meets_f64_as_it_is_written() {
    crate::devices::needs_f64!("an_f32_literal_meets_f64_as_it_is_written");
    let x = Tensor::ones([1]).cast(DType::F64);
    assert_eq!((&x * 0.1f32).item::<f64>().unwrap(), 0.1);
    assert_eq!((&x * 0.1f64).item::<f64>().unwrap(), 0.1);
}

#[test]
fn every_dtype_goes_in_and_comes_out() {
    crate::devices::needs_f64!("every_dtype_goes_in_and_comes_out");
    macro_rules! round_trip {
        ($($t:ty: $($x:expr),*;)*) => {$(
            let v: Vec<$t> = vec![$($x),*];
            assert_eq!(Tensor::from_slice(&v, [v.len()]).to_vec::<$t>().unwrap(), v);
        )*};
    }
    round_trip! {
        f32: 1.5, -0.0, f32::MAX, f32::INFINITY;
        f64: 1.5, 1e300;
        i32: i32::MIN, i32::MAX;
        i64: i64::MIN, i64::MAX;
        u32: 0, u32::MAX;
        u8: 0, 255;
        bool: true, false;
    }
    let x = vector(&[1.0, 2.5, -3.0]);
    for d in DType::ALL {
        let back = x.cast(d).cast(DType::F32);
        assert_eq!(back.numel(), 3, "{d}");
        assert_eq!(read(&back)[0], 1.0, "{d}");
    }
}

#[test]
fn dot_products_accumulate_halves_in_f32() {
    let n = 4096;
    let x = Tensor::full([1, n], 0.5).cast(DType::F16);
    let y = Tensor::ones([n, 1]).cast(DType::F16);
    assert_eq!(x.matmul(&y).item::<f32>().unwrap(), 2048.0);
    near(&x.sum(..).cast(DType::F32), &[2048.0], 0.0);
}

/// A factor that is rounded to a half type on its way into a product.
#[test]
fn factors_are_cast_on_the_way() {
    crate::devices::needs_f64!("factors_are_cast_on_the_way");
    let (a, b) = (vec![1.0f64, -2.0, 3.0, 0.5], vec![1.0f64, 0.5, 2.0, 1.5]);
    for half in [DType::F16, DType::BF16] {
        let (x, y) = (Tensor::from_vec(a.clone(), [2, 2]), Tensor::from_vec(b.clone(), [2, 2]).cast(half));
        let p = (-&x).cast(half).matmul(&y).cast(DType::F32);
        assert_eq!(p.to_vec::<f32>().unwrap(), [3.0, 2.5, -4.0, -2.25]);
    }
}
