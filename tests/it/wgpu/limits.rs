//! The floor of WebGPU, and lower: few bindings, tensors larger than what can be bound or than a buffer.

use super::{fresh, ramp};
use lazuli::ErrorKind;
use lazuli::plan::{How, run_trace};
use lazuli::prelude::*;
use lazuli::trace::generate::random_program;

/// Sixteen operands and few bindings: what is too much is copied to one buffer.
#[test]
fn kernels_of_more_buffers_than_a_device_binds() {
    let Some(d) = fresh("few bindings", |b| (b.floor, b.bindings) = (true, Some(3))) else { return };
    d.scope(|| {
        let xs: Vec<Tensor> = (0..16).map(|i| ramp(100) + i).collect();
        let half: Vec<Tensor> = xs.iter().map(|x| x.cast(DType::F16)).collect();
        let flags: Vec<Tensor> = xs.iter().map(|x| x.gt(&Tensor::full([100], 20.0))).collect();
        lazuli::eval(&[xs.clone(), half.clone(), flags.clone()].concat()).unwrap();
        let mut sum = Tensor::zeros([100]);
        for ((x, h), f) in xs.iter().zip(&half).zip(&flags) {
            sum += Tensor::where_(f, x, &h.cast(DType::F32)) * 0.5;
        }
        let (sum, below) = (&sum * 2.0, sum.lt(&Tensor::full([100], 500.0)));
        lazuli::eval(&[&sum, &below]).unwrap();
        let want: Vec<f32> = (0..100).map(|k| (0..16).map(|i| (k + i) as f32).sum()).collect();
        assert_eq!(sum.to_vec::<f32>().unwrap(), want);
        assert_eq!(below.to_vec::<bool>().unwrap(), want.iter().map(|w| w * 0.5 < 500.0).collect::<Vec<_>>());
    });
}

/// The limits of an application that asks for nothing, and fewer bindings still.
#[test]
fn random_programs_at_the_floor() {
    for bindings in [8, 3] {
        let Some(d) = fresh("the floor's limits", |b| (b.floor, b.bindings) = (true, Some(bindings))) else { return };
        let (mut ran, mut refused) = (0, 0);
        for seed in 5000..5020 {
            let p = random_program(seed, 8 + seed as usize % 30);
            match run_trace(&p.trace, &p.inputs, &p.params, How::OverInputs, d.id()) {
                Ok(out) => p.check(&out).unwrap_or_else(|e| panic!("seed {seed}, {bindings} bindings: {e}")),
                Err(e) if e.kind() == ErrorKind::DType => refused += 1,
                Err(e) => panic!("seed {seed}, {bindings} bindings: {e}\n{}", p.trace),
            }
            ran += 1;
        }
        assert!(refused < ran / 2, "{refused} of {ran} refused");
    }
}

fn close(what: &str, got: &Tensor, want: &Tensor) {
    let (got, want) = (got.cast(DType::F32).to_vec::<f32>(), want.cast(DType::F32).to_vec::<f32>().unwrap());
    let got = got.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (a, b)) in got.iter().zip(&want).enumerate() {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{what}, element {i}: {a}, on the cpu {b}");
    }
}

type Case = (&'static str, fn(&Tensor, &Tensor) -> Vec<Tensor>);

const CASES: [Case; 16] = [
    ("elementwise", |x, y| vec![(x * y + 1.0).tanh(), x - y]),
    ("broadcast", |x, _| vec![x + &x.slice(s![3]) + &x.slice(s![.., 7..8])]),
    ("narrow types", |x, y| vec![x.gt(y), x.cast(DType::F16), (x.abs() * 100.0).cast(DType::U8), x.cast(DType::I64)]),
    ("rows", |x, _| vec![x.sum(-1), x.max(-1), x.softmax(-1), x.argmax(-1)]),
    ("whole", |x, y| vec![(x * y).sum(..), x.max(..), x.mean(..)]),
    ("transposed", |x, _| vec![x.t() + 0.0, x.reshape([1000, 300]) * 2.0]),
    ("slices", |x, _| vec![x.slice(s![10..250;3, 100..]) * 1.0, x.flip(0) * 1.0]),
    ("joined", |x, y| vec![Tensor::cat(&[x, y], 0), Tensor::stack(&[x, y], 1)]),
    ("masks", |x, y| vec![Tensor::where_(&x.gt(y), x, &(y * -1.0)), Tensor::cat(&[x, &y.slice(s![.., 0..3])], 1)]),
    ("matmul", |x, _| vec![x.matmul(&(ramp(8000).reshape([1000, 8]) * 1e-4))]),
    ("attention", |x, y| {
        let [q, k] = [x, y].map(|t| t.reshape([30, 100, 100]));
        let o = lazuli::tensor::AttentionOptions::new();
        vec![q.scaled_dot_product_attention(&k, &q, &o), k.scaled_dot_product_attention(&q, &k, &o.causal(true)).relu()]
    }),
    ("uploads", |x, y| vec![x.clone(), y.clone()]),
    ("scan along rows", |x, _| vec![x.cumsum(1)]),
    ("gather from few", |x, y| vec![(y.slice(s![0..4]) + 0.0).index_select(0, &(x.slice(s![.., 0]).abs() * 3.0).cast(DType::I64))]),
    ("a loop over rows", |x, y| {
        let (last, rows) = scan(y.slice(s![0]), x, |c: Tensor, row: Tensor| {
            let next = c * 0.5 + row;
            (next.clone(), next.sum(..))
        });
        vec![last, rows]
    }),
    ("a branch", |x, y| vec![cond(&x.sum(..).gt(&y.sum(..)), |x: &Tensor| x * 2.0, |x: &Tensor| x - 1.0, x)]),
];

/// Tensors larger than what is bound at once, and larger than a buffer, are processed in pieces.
#[test]
fn larger_than_what_can_be_bound() {
    let data = || {
        let mut r = crate::rng::Rng(17);
        let x = Tensor::from_vec(r.floats(300 * 1000, -1.0, 1.0), [300, 1000]);
        (x, Tensor::from_vec(r.floats(300 * 1000, -1.0, 1.0), [300, 1000]))
    };
    let (cx, cy) = Device::cpu().scope(data);
    let mut refused = Vec::new();
    for (bound, buffer) in [(100_000, 1 << 30), (1 << 20, 1 << 30), (1 << 30, 80_000), (70_000, 130_000)] {
        let Some(d) = fresh("small bindings", |b| (b.binding_bytes, b.buffer_bytes) = (Some(bound), Some(buffer))) else { return };
        d.scope(|| {
            let (x, y) = data();
            for (name, f) in CASES {
                let what = format!("{name}, {bound} bytes bound, buffers of {buffer}");
                let (got, want) = (f(&x, &y), Device::cpu().scope(|| f(&cx, &cy)));
                match lazuli::eval(&got) {
                    Ok(()) => got.iter().zip(&want).for_each(|(g, w)| close(&what, g, w)),
                    Err(e) => {
                        assert!(e.kind() == ErrorKind::Memory && e.message().contains("split"), "{what}: {e}");
                        refused.push(format!("{what}: {e}"));
                    }
                }
            }
            // In place.
            let (mut a, mut b) = (&x * 2.0, Device::cpu().scope(|| &cx * 2.0));
            let (g, cg) = (&x * 0.5, Device::cpu().scope(|| &cx * 0.5));
            for _ in 0..3 {
                lazuli::optim::Sgd::new(0.1).step(&mut a, &g).unwrap();
                lazuli::optim::Sgd::new(0.1).step(&mut b, &cg).unwrap();
            }
            close("an update in place", &a, &b);
            // Any element of the whole may be needed by each point.
            let e = x.index_select(0, &Tensor::from_vec(vec![5i64, 299], [2])).eval().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Memory, "{e}");
            assert!(e.message().contains("split"), "{e}");
        });
    }
    assert!(refused.is_empty(), "refused: {refused:#?}");
}

/// Programs on a device that binds a few hundred bytes: right, or refused with a reason.
#[test]
fn random_programs_in_pieces() {
    let mut ran = [0; 2];
    for (bound, buffer) in [(512, 1 << 30), (1 << 30, 512), (300, 700)] {
        let Some(d) = fresh("tiny bindings", |b| (b.binding_bytes, b.buffer_bytes) = (Some(bound), Some(buffer))) else { return };
        for seed in 7000..7010 {
            let p = random_program(seed, 8 + seed as usize % 25);
            match run_trace(&p.trace, &p.inputs, &p.params, How::OverInputs, d.id()) {
                Ok(out) => {
                    p.check(&out).unwrap_or_else(|e| panic!("seed {seed}, {bound} bytes bound, buffers of {buffer}: {e}"));
                    ran[0] += 1;
                }
                Err(e) if e.kind() == ErrorKind::DType || e.kind() == ErrorKind::Memory && e.message().contains("split") => ran[1] += 1,
                Err(e) => panic!("seed {seed}, {bound} bytes bound, buffers of {buffer}: {e}\n{}", p.trace),
            }
        }
    }
    println!("random programs in pieces: {} ran, {} were refused", ran[0], ran[1]);
    assert!(ran[0] > ran[1], "{ran:?}");
}
