use super::super::samples::*;
use super::super::schedule::{Instance, Launch, Slot, SlotId};
use super::*;
use std::sync::Arc;

fn flat<T: crate::base::Element>(v: &[T]) -> HostTensor {
    HostTensor::from_slice([v.len()], v).unwrap()
}

fn unset(dtype: DType, n: usize) -> HostTensor {
    HostTensor::full(dtype, Shape::from([n]), Scalar::Int(77).cast(dtype))
}

fn go(text: &str, mut args: Vec<HostTensor>, params: &[Scalar]) -> Vec<HostTensor> {
    run(&text.parse().unwrap(), &mut args, params).unwrap();
    args
}

fn close(got: &HostTensor, want: &[f64]) {
    let got: Vec<f64> = got.to_vec();
    assert!(got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0)), "{got:?} {want:?}");
}

#[test]
fn softmax() {
    let x = [1.0f32, 2.0, 3.0, -1.0, 0.0, 500.0];
    let args = go(SOFTMAX, vec![flat(&x), unset(DType::F32, 6)], &[]);
    let z: f64 = [1f64, 2.0, 3.0].iter().map(|x| x.exp()).sum();
    close(&args[1], &[1f64.exp() / z, 2f64.exp() / z, 3f64.exp() / z, 0.0, 0.0, 1.0]);
}

#[test]
fn column_mean_and_deviation() {
    let x = [1f32, 10.0, -1.0, 2.0, 10.0, 1.0, 3.0, 10.0, -1.0, 4.0, 10.0, 1.0];
    let args = go(COLUMN, vec![flat(&x), unset(DType::F32, 3), unset(DType::F32, 3)], &[]);
    close(&args[1], &[2.5, 10.0, 0.0]);
    close(&args[2], &[1.25f64.sqrt(), 0.0, 1.0]);
}

#[test]
fn pad_with_a_mask_and_a_parameter() {
    let args = go(PAD, vec![flat(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]), unset(DType::F32, 20)], &[Scalar::Float(10.0)]);
    let m = -1.0;
    close(&args[1], &[m, m, m, m, m, m, 10.0, 20.0, 30.0, m, m, 40.0, 50.0, 60.0, m, m, m, m, m, m]);
}

#[test]
fn gather_clamps() {
    let x: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let args = go(GATHER, vec![flat(&x), flat(&[2i64, -7, 99]), unset(DType::F32, 6)], &[]);
    close(&args[2], &[4.0, 5.0, 0.0, 1.0, 8.0, 9.0]);
}

#[test]
fn attention_with_a_mask() {
    let at = |n: usize| (n * 7 % 11) as f32 * 0.25 - 1.0;
    let (q, k, v): (Vec<f32>, Vec<f32>, Vec<f32>) = ((0..24).map(at).collect(), (3..43).map(at).collect(), (5..25).map(at).collect());
    let mask: Vec<bool> = (0..15).map(|n| n >= 5 && n % 4 > 0).collect();
    let args = go(ATTENTION, vec![flat(&q), flat(&k), flat(&mask), flat(&v), unset(DType::F32, 12)], &[]);
    let mut want = Vec::new();
    for (b, l) in (0..2).flat_map(|b| (0..3).map(move |l| (b, l))) {
        let score = |s: usize| (0..4).map(|e| q[(b * 3 + l) * 4 + e] as f64 * k[(b * 5 + s) * 4 + e] as f64).sum::<f64>() / 2.0;
        let weights: Vec<f64> = (0..5).map(|s| if mask[l * 5 + s] { score(s).exp() } else { 0.0 }).collect();
        let total: f64 = weights.iter().sum();
        for c in 0..2 {
            let sum: f64 = (0..5).map(|s| weights[s] * v[(b * 5 + s) * 2 + c] as f64).sum();
            want.push(if total > 0.0 { sum / total } else { 0.0 });
        }
    }
    close(&args[4], &want);
}

#[test]
fn matmul_with_epilogue() {
    let a = [1f32, 2.0, 3.0, 4.0, -1.0, 0.0, 1.0, 0.0];
    let b: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let args = go(MATMUL, vec![flat(&a), flat(&b), flat(&[0f32, 1.0, -100.0]), unset(DType::F32, 6)], &[]);
    close(&args[3], &[60.0, 71.0, 0.0, 6.0, 7.0, 0.0]);
}

#[test]
fn grouped_strided_conv() {
    let x = [1f32, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0];
    let args = go(CONV, vec![flat(&x), flat(&[1f32, 10.0, 100.0, 1.0, 0.0, 0.0]), unset(DType::F32, 6)], &[]);
    // Position o of group g reads 2 o - 1 .. 2 o + 2.
    close(&args[2], &[210.0, 432.0, 54.0, 0.0, 20.0, 40.0]);
}

#[test]
fn sort_is_stable_and_nan_is_largest() {
    let x = [3f32, f32::NAN, 1.0, 1.0, 0.0, -0.0, f32::INFINITY, -1.0];
    let args = go(SORT, vec![flat(&x), unset(DType::I64, 8)], &[]);
    assert_eq!(args[1].to_vec::<i64>(), [2, 3, 0, 1, 3, 0, 1, 2]);
    let args = go(&SORT.replace("ascending", "descending"), vec![flat(&x), unset(DType::I64, 8)], &[]);
    assert_eq!(args[1].to_vec::<i64>(), [1, 0, 2, 3, 2, 0, 1, 3]);
}

#[test]
fn cumulative_both_ways() {
    let x = [1f32, 2.0, 3.0, 4.0, 0.0, 1.0, 0.0, 2.0];
    let args = go(CUMULATIVE, vec![flat(&x), unset(DType::F32, 8)], &[]);
    close(&args[1], &[1.0, 5.0, 14.0, 30.0, 0.0, 1.0, 1.0, 5.0]);
    let args = go(&CUMULATIVE.replace("sum forward", "max reverse"), vec![flat(&x), unset(DType::F32, 8)], &[]);
    close(&args[1], &[16.0, 16.0, 16.0, 16.0, 4.0, 4.0, 4.0, 4.0]);
}

#[test]
fn scatter_drops_what_is_outside() {
    let u = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let args = || vec![flat(&[100f32, 100.0, 200.0, 200.0, 300.0, 300.0]), flat(&[1i64, 3, 1, -1]), flat(&u)];
    close(&go(SCATTER, args(), &[])[0], &[100.0, 100.0, 206.0, 208.0, 300.0, 300.0]);
    close(&go(&SCATTER.replace("add", "set"), args(), &[])[0], &[100.0, 100.0, 5.0, 6.0, 300.0, 300.0]);
    close(&go(&SCATTER.replace("add", "min"), args(), &[])[0], &[100.0, 100.0, 1.0, 2.0, 300.0, 300.0]);
}

#[test]
fn half_values_are_computed_in_f32() {
    let f16 = |x: f64| half::f16::from_f64(x);
    let (x, y): (Vec<_>, Vec<_>) = ((0..24).map(|_| f16(1.0)).collect(), (0..12).map(|i| f16(i as f64 / 2048.0)).collect());
    let args = go(UPDATE, vec![flat(&x), flat(&y)], &[]);
    let want: Vec<f64> = (0..24).map(|i| f16(((1.0 + y[i / 6 * 3 + i % 3].to_f64()) as f32).powi(2) as f64).to_f64()).collect();
    assert_eq!(args[0].to_vec::<f64>(), want);
}

#[test]
fn row_positions_and_empty_rows() {
    // Row axes 0 and 2 around an outer axis: positions count row-major over both.
    let text = "
        kernel row_reduction
        axes 2 row, 2, 3 row
        args a0: read i32[12], a1: write i64[2]
        n0 = i0
        n1 = n0 * 6
        n2 = i1
        n3 = n2 * 3
        n4 = i2
        n5 = n1 + n3
        n6 = n5 + n4
        e0: i32 = load a0[n6]
        e1: i64 = reduced r0.0
        pass 0 row
          r0.0: i64 = argmax e0
        pass 1 outer
          a1[n2] = e1";
    let args = go(text, vec![flat(&[0i32, 1, 0, 5, 5, 5, 0, 0, 9, 5, 5, 6]), unset(DType::I64, 2)], &[]);
    assert_eq!(args[1].to_vec::<i64>(), [5, 5]);
    let text = COLUMN.replace("axes 4 row", "axes 0 row").replace("f32[12]", "f32[0]");
    let args = go(&text, vec![flat::<f32>(&[]), unset(DType::F32, 3), unset(DType::F32, 3)], &[]);
    close(&args[1], &[0.0; 3]);
}

#[test]
fn random_bits_are_philox() {
    let text = "
        kernel pointwise
        axes 6
        args a0: write u32[6]
        params i64, i64
        n0 = i0
        e0: i64 = param p0
        e1: i64 = param p1
        e2: u32 = random e0, e1, n0
        pass 0 outer
          a0[n0] = e2";
    let args = go(text, vec![unset(DType::U32, 6)], &[Scalar::Int(7), Scalar::Int(3)]);
    let words: Vec<u32> = philox(7, 3).into_iter().chain(philox(7, 4)).take(6).collect();
    assert_eq!(args[0].to_vec::<u32>(), words);
}

#[test]
fn bad_access_and_bad_arguments_are_errors() {
    // The verifier is passed by: what it cannot prove, the interpreter must notice.
    let unchecked = |text: &str, args: &mut [HostTensor]| execute(&text.parse().unwrap(), args, &[]).unwrap_err().message().to_string();
    let x = flat(&[0f32; 6]);
    let e = unchecked(&SOFTMAX.replace("n0 * 3", "n0 * 4"), &mut [x.clone(), unset(DType::F32, 6)]);
    assert!(e.contains("element 6 of argument a0"), "{e}");
    let e = unchecked(&SOFTMAX.replace("a1[n3]", "a1[n2]"), &mut [x.clone(), unset(DType::F32, 6)]);
    assert!(e.contains("second time"), "{e}");
    let e = unchecked(&SOFTMAX.replace("write f32[6]", "write f32[7]"), &mut [x.clone(), unset(DType::F32, 7)]);
    assert!(e.contains("element 6 was not written"), "{e}");
    let k: Kernel = SOFTMAX.parse().unwrap();
    assert!(run(&k, &mut [x.clone()], &[]).is_err());
    assert!(run(&k, &mut [x.clone(), unset(DType::F64, 6)], &[]).is_err());
    assert!(run(&k, &mut [x.clone(), unset(DType::F32, 6)], &[Scalar::Int(1)]).is_err());
}

/// y = x + 1 for 4 elements of f32.
const ADD_ONE: &str = "
    kernel pointwise
    axes 4
    args a0: read f32[4], a1: write f32[4]
    n0 = i0
    e0: f32 = load a0[n0]
    e1: f32 = const 1.0
    e2: f32 = add e0, e1
    pass 0 outer
      a1[n0] = e2";

/// Input 0 -> slot 1 -> slot 2 -> slot 3 -> output, where the intermediate slots lie at those bytes of the arena.
fn chain(offsets: [usize; 3]) -> Schedule {
    let kernel: Arc<Kernel> = Arc::new(ADD_ONE.parse().unwrap());
    let slot = |place| Slot { dtype: DType::F32, numel: 4, place };
    let mut slots = vec![slot(Place::Input(0))];
    slots.extend(offsets.map(|o| slot(Place::Arena(o))));
    slots.push(slot(Place::Output(0)));
    let step = |a, b| Launch::Kernels(vec![Instance { kernel: kernel.clone(), slots: vec![SlotId(a), SlotId(b)], params: vec![] }]);
    Schedule { slots, launches: (0..4).map(|n| step(n, n + 1)).collect(), params: vec![], arena_bytes: 64, donated: vec![] }
}

#[test]
fn schedules_share_arena_bytes() {
    let x = flat(&[1f32, 2.0, 3.0, 4.0]);
    let good = run_schedule(&chain([0, 16, 0]), std::slice::from_ref(&x), &[]).unwrap();
    close(&good[0], &[5.0, 6.0, 7.0, 8.0]);
    // Overlapping by half within one launch: the second half reads what the first wrote.
    let bad = run_schedule(&chain([0, 8, 32]), std::slice::from_ref(&x), &[]).unwrap();
    close(&bad[0], &[5.0, 6.0, 6.0, 7.0]);
    // A read of what nothing wrote is NaN.
    let mut unwritten = chain([0, 16, 32]);
    unwritten.launches.remove(1);
    assert!(run_schedule(&unwritten, std::slice::from_ref(&x), &[]).unwrap()[0].to_vec::<f32>().iter().all(|x| x.is_nan()));
    assert!(run_schedule(&chain([0, 16, 60]), std::slice::from_ref(&x), &[]).is_err());
    assert!(run_schedule(&chain([0, 16, 0]), &[], &[]).is_err());
}
