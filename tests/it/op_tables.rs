//! Two tables of the documentation, made from one list of calls and compared with the files: what every op gives for every dtype
//! (`docs/dtypes.md`), and how many kernels it is, forward and gradient (`docs/kernels.md`). `LAZULI_BLESS=1` rewrites them.

pub mod samples;

use lazuli::prelude::*;
use lazuli::{DType, ErrorKind, Scalar};
use samples::{SAMPLES, Sample};
use std::fmt::Write as _;
use std::path::Path;

/// Inputs of a sample: small positive numbers of a dtype.
pub fn inputs(s: &Sample, dtype: DType) -> Vec<Tensor> {
    let make = |(slot, shape): (usize, &&[usize])| {
        let n = shape.iter().product::<usize>();
        let values = (0..n).map(|i| ((i * 37 + slot * 11) % 17 + 1) as f32 / 4.5).collect::<Vec<f32>>();
        Tensor::from_vec(values, *shape).cast(dtype)
    };
    let all: Vec<Tensor> = s.shapes.iter().enumerate().map(make).collect();
    lazuli::eval(&all).expect("inputs");
    all
}

#[track_caller]
fn compare(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    if std::env::var_os("LAZULI_BLESS").is_some() {
        std::fs::write(&path, made).expect("docs are writable");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let first = made.lines().zip(kept.lines()).find(|(m, k)| m != k);
    assert!(kept == made, "{file} is not what is so (LAZULI_BLESS=1 rewrites it), first: now, and in the file: {first:?}");
}

/// The result's dtype, or `None` where the op refuses with an error about dtypes.
fn result(s: &Sample, dtype: DType) -> Option<DType> {
    let x = inputs(s, dtype);
    let out = lazuli::catch(|| {
        let y = (s.call)(&x);
        lazuli::eval(&[&y]).map(|()| y.dtype())
    });
    match out {
        Ok(Ok(d)) => Some(d),
        Ok(Err(e)) | Err(e) => {
            let said = matches!(e.kind(), ErrorKind::DType | ErrorKind::Shape | ErrorKind::Argument);
            assert!(said, "{} of {dtype} fails instead of refusing: {e}", s.name);
            None
        }
    }
}

#[test]
fn dtypes() {
    let mut text = String::from(
        "# Ops and dtypes\n\nWhat each op gives for operands of a dtype (all operands of that dtype; indices and masks have their own): \
         the dtype of the result, or `-`: refused, with an error that says so. Made by the test `op_tables::dtypes`, which also \
         keeps it true.\n\nRules: two dtypes meet as PyTorch's `promote_types`; a number changes a tensor's dtype only if its category \
         (bool < int < float) is higher; float functions take integers as f32; sums and products of integers are i64; f16 and bf16 \
         accumulate in f32 and round once.\n\n| op |",
    );
    for d in DType::ALL {
        let _ = write!(text, " {d} |");
    }
    let _ = write!(text, "\n| --- |{}\n", " --- |".repeat(DType::ALL.len()));
    for s in SAMPLES {
        let _ = write!(text, "| `{}` |", s.name);
        for d in DType::ALL {
            let _ = write!(text, " {} |", result(s, d).map_or("-".to_string(), |d| d.to_string()));
        }
        text.push('\n');
    }
    compare("dtypes.md", &text);
}

#[test]
fn kernels() {
    let mut text = String::from(
        "# Ops and kernels\n\nHow many kernels an op is by itself: its value, and its gradient with respect to all float operands, \
         given the gradient of its result (the value's kernels are counted in where the gradient needs them). In a program, ops fuse with \
         their neighbours. Made by the test `op_tables::kernels`, which also keeps it true.\n\n| op | value | gradient |\n| --- | ---: | ---: |\n",
    );
    for s in SAMPLES {
        // Of floats, or of integers where floats are refused (bits).
        let dtype = if result(s, DType::F32).is_some() { DType::F32 } else { DType::I64 };
        let x = inputs(s, dtype);
        let y = (s.call)(&x);
        let forward = lazuli::explain(&[&y]).kernels().len();
        let backward = if s.gradient && y.dtype().is_float() {
            let ct = Tensor::from_vec((0..y.numel()).map(|i| (i % 13) as f32 - 6.0).collect::<Vec<f32>>(), y.shape());
            let g = grad(|x: &Vec<Tensor>| ((s.call)(x) * &ct).sum(..), &x);
            lazuli::explain(&g).kernels().len().to_string()
        } else {
            "-".to_string()
        };
        let _ = writeln!(text, "| `{}` | {forward} | {backward} |", s.name);
    }
    compare("kernels.md", &text);
}

/// 4096 times 1 + 2^-9: a sum carried in bf16 stops at 256, in f16 at 2048 or so; rounded once, it is 4104 at the dtype's precision.
#[test]
fn halves_accumulate_in_f32() {
    let n = 4096usize;
    for d in [DType::F16, DType::BF16] {
        let one = Tensor::full([n], 1.0).cast(d);
        let sums: Vec<(&str, Tensor)> = vec![
            ("sum", one.sum(..)),
            ("sum of rows", one.reshape([4, n / 4]).sum(1).cast(DType::F32).sum(..).cast(d)),
            ("dot", one.dot(&one)),
            ("matmul", one.reshape([1, n]).matmul(&one.reshape([n, 1])).reshape(Vec::<isize>::new())),
            ("mean", one.mean(..) * n as f64),
            ("cumsum", one.cumsum(0).select(0, -1)),
            ("conv", one.reshape([1, 1, n]).conv1d(&one.reshape([1, 1, n]), None, [1], [0], [1], 1).reshape(Vec::<isize>::new())),
            ("norm", one.norm(2.0, ..).cast(DType::F32).square().cast(d)),
            ("logsumexp", (one.logsumexp(..).cast(DType::F32) - 1.0).exp().cast(d)),
        ];
        for (name, t) in sums {
            let v = t.cast(DType::F32).item::<f32>().unwrap();
            assert!((v - n as f32).abs() <= 0.02 * n as f32, "{name} of {d}: {v}, expected {n}");
        }
        let small = Tensor::full([n], Scalar::Float(0.001).as_f64()).cast(d);
        let v = small.var(.., 0).cast(DType::F32).item::<f32>().unwrap();
        assert!(v.abs() < 1e-9, "var of {d}: {v}");
    }
}
