//! What a graphics processor would run, on a software adapter: large workgroups, tiles, rows shared by many lanes, which meet in subgroups and
//! in workgroup memory.

use super::fresh;
use crate::devices;
use crate::rng::Rng;
use lazuli::prelude::*;
use lazuli::tensor::AttentionOptions;
use lazuli::trace::generate::random_program;

/// With subgroups, where the adapter has them, and without.
fn each(what: &str, test: impl Fn(Device, bool)) {
    for floor in [false, true] {
        let Some(d) = fresh(what, |b| (b.hardware, b.floor) = (true, floor)) else { return };
        test(d, floor);
    }
}

const LENGTHS: [usize; 9] = [1, 3, 8, 31, 64, 100, 257, 1000, 5000];

/// What numbers there are.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Data {
    /// Few different ones, whose sums and most products are exact.
    Ties,
    /// The same, and some NaNs and infinities: none, one or several a row.
    Special,
    /// Any.
    Smooth,
}

fn data(kind: Data, n: usize, row: usize, seed: u64) -> Vec<f32> {
    let mut r = Rng(seed);
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0];
    let number = |r: &mut Rng| match kind {
        Data::Smooth => r.float(-2.0, 2.0) as f32,
        Data::Special if r.below(2 * row) == 0 => odd[r.below(4)],
        _ => r.below(33) as f32 * 0.125 - 2.0,
    };
    (0..n).map(|_| number(&mut r)).collect()
}

/// Factors whose product has few digits: powers of two, up and down in turns; of whole numbers it wraps.
fn factors(n: usize, whole: bool) -> Vec<f32> {
    let of = if whole { [-1.0, 1.0, 3.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0] } else { [-1.0, 2.0, 1.0, 0.5, 1.0, -1.0, 4.0, -0.25, 1.0] };
    (0..n).map(|i| of[(i * 7 + i / 9) % 9]).collect()
}

fn floats(t: &Tensor) -> Vec<f64> {
    t.to_device(&Device::cpu()).cast(DType::F64).to_vec::<f64>().unwrap()
}

fn compare(what: &str, got: &[Tensor], want: &[Tensor], within: f64) {
    assert_eq!(got.len(), want.len());
    // Both, so that halves are rounded where they are stored.
    lazuli::eval(got).unwrap_or_else(|e| panic!("{what}: {e}"));
    lazuli::eval(want).unwrap();
    for (n, (g, w)) in got.iter().zip(want).enumerate() {
        assert_eq!((g.dtype(), g.shape()), (w.dtype(), w.shape()), "{what}, result {n}");
        let (g, w) = (floats(g), floats(w));
        let scale = w.iter().filter(|x| x.is_finite()).fold(1.0f64, |m, x| m.max(x.abs()));
        for (i, (a, b)) in g.iter().zip(&w).enumerate() {
            let same = a == b || (a.is_nan() && b.is_nan()) || (b.is_finite() && (a - b).abs() <= within * scale);
            assert!(same, "{what}, result {n}, element {i}: {a}, on the cpu {b}");
        }
    }
}

/// The same on that device and the CPU.
fn both(what: &str, d: Device, inputs: &dyn Fn() -> Vec<Tensor>, f: &dyn Fn(&[Tensor]) -> Vec<Tensor>, within: f64) {
    let run = |d: Device| {
        d.scope(|| {
            let x = inputs();
            lazuli::eval(&x).unwrap();
            f(&x)
        })
    };
    compare(what, &run(d), &run(Device::cpu()), within);
}

/// Every fold of `x` over an axis in one kernel, where there is room; and the product of `y`.
fn folds(x: &Tensor, y: &Tensor, axis: i32) -> Vec<Tensor> {
    let mut all = vec![x.sum(axis), x.max(axis), x.min(axis), x.argmax(axis), x.argmin(axis), y.prod(axis)];
    let f = x.cast(DType::F32);
    all.extend([f.gt(1.75).any(axis), f.gt(-1.75).all(axis), f.gt(0.0).count_nonzero(axis)]);
    all
}

#[test]
fn reductions_of_every_kind_and_type() {
    each("reductions as on hardware", |d, floor| {
        let mut dtypes = vec![DType::F32, DType::F16, DType::BF16, DType::I32, DType::I64, DType::U8, DType::Bool];
        // How lanes meet without subgroups is the same for all.
        dtypes.truncate(if floor { 2 } else { dtypes.len() });
        dtypes.extend(floor.then_some(DType::I64));
        if d.scope(|| devices::f64_on_current("reductions in F64 as on hardware")) {
            dtypes.push(DType::F64);
        }
        for dtype in dtypes {
            for (n, length) in LENGTHS.into_iter().enumerate() {
                // Extents as data, and, of larger ones, as constants; rows by fours among them.
                let rows = if length >= 1000 { 68 } else { 5 };
                for axis in [0, 1] {
                    let kind = [Data::Ties, Data::Special][(n + axis) % 2];
                    let shape = if axis == 0 { [length, rows] } else { [rows, length] };
                    let inputs = || {
                        let x = data(kind, length * rows, length, (length + axis) as u64);
                        let y = factors(length * rows, !dtype.is_float());
                        let x = match dtype {
                            DType::F32 | DType::F16 | DType::BF16 | DType::F64 => Tensor::from_vec(x, shape).cast(dtype),
                            DType::I64 => {
                                Tensor::from_vec(x.iter().map(|v| (*v as i64).wrapping_mul(3_000_000_001)).collect::<Vec<_>>(), shape)
                            }
                            DType::Bool => Tensor::from_vec(x.iter().map(|v| *v > 1.9).collect::<Vec<_>>(), shape),
                            _ => Tensor::from_vec(x.iter().map(|v| (v * 8.0) as i32 & 0x7f).collect::<Vec<_>>(), shape).cast(dtype),
                        };
                        vec![x, Tensor::from_vec(y, shape).cast(if dtype == DType::Bool { DType::I32 } else { dtype })]
                    };
                    let what = format!("{dtype} {kind:?}, {rows} rows of {length}, axis {axis}, floor {floor}");
                    let x_or_i32 = |x: &Tensor| if dtype == DType::Bool { x.cast(DType::I32) } else { x.clone() };
                    both(&what, d, &inputs, &|x| folds(&x_or_i32(&x[0]), &x[1], axis as i32), 0.0);
                }
            }
        }
    });
}

/// One fold a kernel, so that lanes, fours and runs are those of that fold.
#[test]
fn reductions_by_themselves() {
    each("single reductions as on hardware", |d, floor| {
        for (outer, length) in [(1, 100_000), (3, 20_000), (40, 2048), (300, 300), (20_000, 5)] {
            for axis in [0i32, 1] {
                let shape = if axis == 0 { [length, outer] } else { [outer, length] };
                let inputs = || vec![Tensor::from_vec(data(Data::Smooth, outer * length, length, 7), shape)];
                type One = fn(&Tensor, i32) -> Tensor;
                let ones: [(&str, One); 5] = [
                    ("sum", |x, a| x.sum(a)),
                    ("max", |x, a| x.max(a)),
                    ("argmin", |x, a| x.argmin(a)),
                    ("any", |x, a| x.gt(1.999).any(a)),
                    ("var", |x, a| x.var(a, 1)),
                ];
                for (name, f) in ones {
                    both(&format!("{name} of {shape:?} over {axis}, floor {floor}"), d, &inputs, &|x| vec![f(&x[0], axis)], 1e-5);
                }
            }
        }
    });
}

#[test]
fn rows_that_are_visited_again() {
    each("softmax as on hardware", |d, floor| {
        for (outer, length) in [(3, 1), (5, 3), (7, 31), (5, 64), (6, 100), (4, 257), (70, 1000), (16, 5000)] {
            for axis in [0i32, 1] {
                let shape = if axis == 0 { [length, outer] } else { [outer, length] };
                let inputs = || {
                    let r = &mut Rng(length as u64);
                    let x = Tensor::from_vec(r.floats(outer * length, -3.0, 3.0), shape);
                    vec![
                        x,
                        Tensor::from_vec(r.floats(shape[1], 0.5, 1.5), [shape[1]]),
                        Tensor::from_vec(r.floats(shape[1], -1.0, 1.0), [shape[1]]),
                    ]
                };
                let f = |x: &[Tensor]| {
                    let g = grad(|v: &Tensor| (v.softmax(axis) * v.cos()).sum(..), &x[0]);
                    vec![
                        x[0].softmax(axis),
                        x[0].log_softmax(axis),
                        x[0].logsumexp(axis),
                        x[0].layer_norm([shape[1]], Some(&x[1]), Some(&x[2]), 1e-5),
                        g,
                    ]
                };
                both(&format!("{shape:?} along {axis}, floor {floor}"), d, &inputs, &f, 1e-5);
            }
        }
    });
}

/// Around the borders of tiles, and where twice as large ones are used; with what follows in the kernel, batched, transposed.
#[test]
fn products_by_tiles() {
    each("products as on hardware", |d, floor| {
        let sizes = [
            (15, 15, 7),
            (16, 16, 16),
            (17, 33, 16),
            (64, 64, 64),
            (65, 63, 17),
            (63, 129, 33),
            (128, 128, 1),
            (1, 200, 300),
            (200, 1, 300),
        ];
        let large = [(100, 132, 52), (130, 260, 16), (257, 255, 31)];
        for (m, n, k) in sizes.into_iter().chain(large) {
            let inputs = || {
                let r = &mut Rng((m * n + k) as u64);
                let mut t = |shape: &[usize]| Tensor::from_vec(r.floats(shape.iter().product(), -1.0, 1.0), shape);
                vec![t(&[m, k]), t(&[k, n]), t(&[n]), t(&[k, m]), t(&[n, k])]
            };
            let f = |x: &[Tensor]| {
                let plain = x[0].matmul(&x[1]);
                let after = (x[0].matmul(&x[1]) + &x[2]).relu() * 2.0;
                vec![plain, after, x[3].t().matmul(&x[4].t()), (x[0].matmul(&x[4].t()).tanh() * &x[2]).sum(1), x[4].matmul(&x[3]).t() + 1.0]
            };
            both(&format!("{m} x {n} x {k}, floor {floor}"), d, &inputs, &f, 1e-5);
        }
        // The last: so many tiles that they are of the larger kind.
        for (b, m, n, k) in [(3, 20, 24, 40), (5, 65, 16, 9), (256, 66, 68, 8)] {
            let inputs = || {
                let r = &mut Rng((b * m + n) as u64);
                let mut t = |shape: &[usize]| Tensor::from_vec(r.floats(shape.iter().product(), -1.0, 1.0), shape);
                vec![t(&[b, m, k]), t(&[b, k, n]), t(&[k, n])]
            };
            let f = |x: &[Tensor]| {
                let half = |t: &Tensor| t.cast(DType::F16);
                vec![x[0].matmul(&x[1]).relu(), x[0].matmul(&x[2]), half(&x[0]).matmul(&half(&x[1])).cast(DType::F32)]
            };
            both(&format!("{b} products {m} x {n} x {k}, floor {floor}"), d, &inputs, &f, 1e-3);
        }
    });
}

/// Keys from tiles: around their borders, with parts of the columns, masks, halves.
#[test]
fn attention_by_tiles() {
    each("attention as on hardware", |d, floor| {
        for (b, l, s, e, c) in
            [(2, 3, 5, 4, 2), (1, 65, 33, 16, 20), (3, 64, 64, 64, 64), (2, 17, 40, 68, 80), (1, 9, 21, 33, 130), (1, 70, 300, 256, 8)]
        {
            let inputs = || {
                let r = &mut Rng((l * s + e) as u64);
                let mut t = |shape: &[usize]| Tensor::from_vec(r.floats(shape.iter().product(), -1.5, 1.5), shape);
                vec![t(&[b, l, e]), t(&[b, s, e]), t(&[b, s, c]), t(&[l, s]), t(&[c])]
            };
            let f = |x: &[Tensor]| {
                let half = |t: &Tensor| t.cast(DType::F16);
                let o = AttentionOptions::new();
                // The first query sees nothing.
                let seen = x[3].gt(0.0) & Tensor::arange(l as i64).gt(0).unsqueeze(1);
                vec![
                    x[0].scaled_dot_product_attention(&x[1], &x[2], &o).tanh() + &x[4],
                    x[0].scaled_dot_product_attention(&x[1], &x[2], &o.clone().mask(&seen)),
                    x[0].scaled_dot_product_attention(&x[1], &x[2], &o.clone().mask(&x[3]).causal(true)),
                    half(&x[0]).scaled_dot_product_attention(&half(&x[1]), &half(&x[2]), &o).cast(DType::F32),
                ]
            };
            both(&format!("{b} of {l} queries, {s} keys, {e} and {c} wide, floor {floor}"), d, &inputs, &f, 1e-3);
        }
    });
}

#[test]
fn convolutions_by_tiles() {
    each("convolutions as on hardware", |d, floor| {
        for (n, c, o, size, kernel) in [(2, 3, 17, 12, 3), (1, 16, 20, 9, 1), (3, 8, 16, 16, 5)] {
            let inputs = || {
                let r = &mut Rng((c * o) as u64);
                let mut t = |shape: &[usize]| Tensor::from_vec(r.floats(shape.iter().product(), -1.0, 1.0), shape);
                vec![t(&[n, c, size, size]), t(&[o, c, kernel, kernel]), t(&[o])]
            };
            let f = |x: &[Tensor]| {
                let y = |w: &Tensor| x[0].conv2d(w, Some(&x[2]), [1], [kernel / 2], [1], 1).relu();
                vec![y(&x[1]), grad(|w: &Tensor| y(w).square().sum(..), &x[1])]
            };
            both(&format!("{n} images of {c} x {size}, {o} kernels of {kernel}, floor {floor}"), d, &inputs, &f, 1e-4);
        }
    });
}

#[test]
fn random_programs_as_on_hardware() {
    use lazuli::plan::{How, run_trace};
    each("random programs as on hardware", |d, floor| {
        let (mut ran, mut refused) = (0, 0);
        for seed in 9000..9030 {
            let p = random_program(seed, 8 + seed as usize % 30);
            match run_trace(&p.trace, &p.inputs, &p.params, How::OverInputs, d.id()) {
                Ok(out) => p.check(&out).unwrap_or_else(|e| panic!("seed {seed}, floor {floor}: {e}")),
                Err(e) if e.kind() == lazuli::ErrorKind::DType => refused += 1,
                Err(e) => panic!("seed {seed}, floor {floor}: {e}\n{}", p.trace),
            }
            ran += 1;
        }
        assert!(refused < ran / 2, "{refused} of {ran} refused");
    });
}
