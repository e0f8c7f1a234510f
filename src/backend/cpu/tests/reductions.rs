use super::*;
use crate::trace::Reduce;

fn result(r: Reduce, d: &'static str) -> &'static str {
    if r.is_arg() { "i64" } else { d }
}

/// One reduction of [rows, cols] along either axis.
pub fn reduce(r: Reduce, d: &'static str, rows: usize, cols: usize, column: bool) -> Kernel {
    let (n, m) = (rows * cols, if column { cols } else { rows });
    let out = result(r, d);
    let kind = if column { "column_reduction" } else { "row_reduction" };
    let mut t = Text::new(kind, &[(rows, column), (cols, !column)], &format!("a0: read {d}[{n}], a1: write {out}[{m}]"), "");
    let i = t.ix(&[cols as i64, 1], 0);
    let o = if column { t.ix(&[0, 1], 0) } else { t.ix(&[1, 0], 0) };
    let x = t.e(d, &format!("load a0[{i}]"));
    let y = t.e(out, "reduced r0.0");
    t.pass(true, &[format!("r0.0: {out} = {} {x}", r.name())]);
    t.pass(false, &[format!("a1[{o}] = {y}")]);
    t.build()
}

#[test]
fn every_reduction_of_every_dtype() {
    for d in DType::ALL {
        for r in Reduce::ALL {
            if d == DType::Bool && matches!(r, Reduce::Sum | Reduce::Prod) {
                continue;
            }
            for (rows, cols) in [(1, 1), (3, 200), (5, 7), (100, 10), (70, 33), (2, 4500)] {
                for column in [false, true] {
                    if r == Reduce::Prod && (if column { rows } else { cols }) > 40 && d != DType::F64 {
                        continue;
                    }
                    check(&reduce(r, d.name(), rows, cols, column), &[]);
                }
            }
        }
    }
}

#[test]
fn long_rows_and_tall_columns() {
    check(&reduce(Reduce::Sum, "f32", 1, 140_000, false), &[]);
    check(&reduce(Reduce::Max, "f32", 2, 131_073, false), &[]);
    check(&reduce(Reduce::ArgMin, "f32", 1, 200_000, false), &[]);
    check(&reduce(Reduce::Sum, "i32", 1, 140_000, false), &[]);
    check(&reduce(Reduce::Sum, "f32", 5_000, 17, true), &[]);
    check(&reduce(Reduce::Max, "i64", 2_100, 70, true), &[]);
    check(&reduce(Reduce::ArgMax, "f32", 2_100, 70, true), &[]);
    check(&reduce(Reduce::Sum, "f16", 3_000, 40, true), &[]);
}

#[test]
fn sums_are_exact_enough() {
    let n = 1 << 24;
    let k = reduce(Reduce::Sum, "f32", 1, n, false);
    let ones = vec![1f32; n];
    let run = |x: &[f32]| {
        let exe = CpuExecutable::new(&schedule(std::slice::from_ref(&k))).unwrap();
        let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_ne_bytes()).collect();
        let out = exe.run(&[crate::backend::cpu::device().adopt(bytes).unwrap()], &[]).unwrap();
        download(&out[0], DType::F32, 1).get(0).as_f64()
    };
    assert_eq!(run(&ones), n as f64);
    let mut rng = Rng(3);
    let mut x = vec![0f32; n];
    x[..4_000_000].iter_mut().for_each(|v| *v = (rng.unit() * 2.0 - 1.0) as f32 * 10f32.powi(rng.below(5) as i32));
    let exact: f64 = x.iter().map(|&v| v as f64).sum();
    let size: f64 = x.iter().map(|&v| v.abs() as f64).sum();
    assert!((run(&x) - exact).abs() <= 1e-6 * size);
}

#[test]
fn nan_wins() {
    for column in [false, true] {
        for r in [Reduce::Max, Reduce::Min, Reduce::ArgMax, Reduce::ArgMin, Reduce::Sum] {
            let (rows, cols) = (40, 50);
            let k = reduce(r, "f32", rows, cols, column);
            let mut rng = Rng(9);
            let mut x = random(DType::F32, rows * cols, &mut rng).to_vec::<f32>();
            for i in [77, 78, 1000, 1999] {
                x[i] = f32::NAN;
            }
            let x = HostTensor::from_slice([x.len()], &x).unwrap();
            let out = HostTensor::full(k.args[1].dtype, Shape::from([k.args[1].numel]), Scalar::Int(0));
            compare(&k, vec![x, out], &[]);
        }
    }
}

/// Softmax of rows, in one kernel.
pub fn softmax(rows: usize, cols: usize, d: &str) -> Kernel {
    let n = rows * cols;
    let mut t = Text::new("row_reduction", &[(rows, false), (cols, true)], &format!("a0: read {d}[{n}], a1: write {d}[{n}]"), "");
    let i = t.ix(&[cols as i64, 1], 0);
    let x = t.e(d, &format!("load a0[{i}]"));
    let m = t.e(d, "reduced r0.0");
    let s = t.e(d, &format!("sub {x}, {m}"));
    let e = t.e(d, &format!("exp {s}"));
    let z = t.e(d, "reduced r1.0");
    let y = t.e(d, &format!("div {e}, {z}"));
    t.pass(true, &[format!("r0.0: {d} = max {x}")]);
    t.pass(true, &[format!("r1.0: {d} = sum {e}")]);
    t.pass(true, &[format!("a1[{i}] = {y}")]);
    t.build()
}

/// Softmax that keeps its exponentials in row scratch.
pub fn softmax_scratch(rows: usize, cols: usize) -> Kernel {
    let n = rows * cols;
    let mut t =
        Text::new("row_reduction", &[(rows, false), (cols, true)], &format!("a0: read f32[{n}], a1: write f32[{n}]"), "scratch f32");
    let i = t.ix(&[cols as i64, 1], 0);
    let x = t.e("f32", &format!("load a0[{i}]"));
    let m = t.e("f32", "reduced r0.0");
    let s = t.e("f32", &format!("sub {x}, {m}"));
    let e = t.e("f32", &format!("exp {s}"));
    let z = t.e("f32", "reduced r1.0");
    let k = t.e("f32", "scratch s0");
    let y = t.e("f32", &format!("div {k}, {z}"));
    t.pass(true, &[format!("r0.0: f32 = max {x}")]);
    t.pass(true, &[format!("r1.0: f32 = sum {e}"), format!("s0 = {e}")]);
    t.pass(true, &[format!("a1[{i}] = {y}")]);
    t.build()
}

#[test]
fn softmaxes() {
    for (r, c) in [(1, 1), (3, 5), (200, 10), (4, 1000), (2, 4100), (1, 140_000), (70, 64)] {
        check(&softmax(r, c, "f32"), &[]);
        check(&softmax_scratch(r, c), &[]);
        if c < 10_000 {
            check(&softmax(r, c, "bf16"), &[]);
            check(&softmax(r, c, "f64"), &[]);
        }
    }
}

/// Layer norm of rows with scale and shift; the mean goes out besides.
pub fn layer_norm(rows: usize, cols: usize) -> Kernel {
    let n = rows * cols;
    let mut t = Text::new(
        "row_reduction",
        &[(rows, false), (cols, true)],
        &format!("a0: read f32[{n}], a1: read f32[{cols}], a2: read f32[{cols}], a3: write f32[{n}], a4: write f32[{rows}]"),
        "",
    );
    let (i, c, r) = (t.ix(&[cols as i64, 1], 0), t.ix(&[0, 1], 0), t.ix(&[1, 0], 0));
    let x = t.e("f32", &format!("load a0[{i}]"));
    let g = t.e("f32", &format!("load a1[{c}]"));
    let b = t.e("f32", &format!("load a2[{c}]"));
    let k = t.e("f32", &format!("const {:?}", (1.0 / cols as f32) as f64));
    let eps = t.e("f32", &format!("const {:?}", 1e-5f32 as f64));
    let s = t.e("f32", "reduced r0.0");
    let mean = t.e("f32", &format!("mul {s}, {k}"));
    let d = t.e("f32", &format!("sub {x}, {mean}"));
    let q = t.e("f32", &format!("mul {d}, {d}"));
    let v = t.e("f32", "reduced r1.0");
    let v = t.e("f32", &format!("mul {v}, {k}"));
    let v = t.e("f32", &format!("add {v}, {eps}"));
    let v = t.e("f32", &format!("rsqrt {v}"));
    let y = t.e("f32", &format!("mul {d}, {v}"));
    let y = t.e("f32", &format!("mul {y}, {g}"));
    let y = t.e("f32", &format!("add {y}, {b}"));
    t.pass(true, &[format!("r0.0: f32 = sum {x}")]);
    t.pass(true, &[format!("r1.0: f32 = sum {q}")]);
    t.pass(true, &[format!("a3[{i}] = {y}")]);
    t.pass(false, &[format!("a4[{r}] = {mean}")]);
    t.build()
}

#[test]
fn layer_norms() {
    for (r, c) in [(1, 3), (3, 768), (500, 12), (9, 129)] {
        check(&layer_norm(r, c), &[]);
    }
}

/// Rows over two outer axes that are no single one: a row's weights depend on the first, a shift on the second. Sums of a difference, of a
/// negation and of a negated sum, row scratch, and a result per row.
fn weighted_rows(a: usize, b: usize, c: usize) -> Kernel {
    let n = a * b * c;
    let mut t = Text::new(
        "row_reduction",
        &[(a, false), (b, false), (c, true)],
        &format!("a0: read f32[{n}], a1: read f32[{}], a2: read f32[{b}], a3: write f32[{n}], a4: write f32[{}]", a * c, a * b),
        "scratch f32",
    );
    let (i, w) = (t.ix(&[(b * c) as i64, c as i64, 1], 0), t.ix(&[c as i64, 0, 1], 0));
    let (m, r) = (t.ix(&[0, 1, 0], 0), t.ix(&[b as i64, 1, 0], 0));
    let x = t.e("f32", &format!("load a0[{i}]"));
    let w = t.e("f32", &format!("load a1[{w}]"));
    let m = t.e("f32", &format!("load a2[{m}]"));
    let d = t.e("f32", &format!("sub {x}, {w}"));
    let s = t.e("f32", "reduced r0.0");
    let k = t.e("f32", &format!("const {:?}", (1.0 / c as f32) as f64));
    let s = t.e("f32", &format!("mul {s}, {k}"));
    let s = t.e("f32", &format!("add {s}, {m}"));
    let y = t.e("f32", &format!("mul {x}, {s}"));
    let p = t.e("f32", &format!("add {w}, {x}"));
    let p = t.e("f32", &format!("neg {p}"));
    let q = t.e("f32", &format!("exp {w}"));
    let q = t.e("f32", &format!("neg {q}"));
    let z = t.e("f32", "reduced r1.0");
    let v = t.e("f32", "reduced r1.1");
    let h = t.e("f32", "scratch s0");
    let u = t.e("f32", &format!("sub {z}, {v}"));
    let o = t.e("f32", &format!("mul {u}, {k}"));
    let o = t.e("f32", &format!("add {h}, {o}"));
    t.pass(true, &[format!("r0.0: f32 = sum {d}")]);
    t.pass(true, &[format!("r1.0: f32 = sum {p}"), format!("r1.1: f32 = sum {q}"), format!("s0 = {y}")]);
    t.pass(true, &[format!("a3[{i}] = {o}")]);
    t.pass(false, &[format!("a4[{r}] = {u}")]);
    t.build()
}

#[test]
fn several_rows_at_once() {
    for (a, b, c) in [(3, 7, 40), (2, 33, 63), (5, 1, 300), (1, 5, 64), (4, 19, 1030), (2, 3, 4096), (2, 3, 4097), (50, 40, 33)] {
        check(&weighted_rows(a, b, c), &[]);
    }
}

#[test]
fn rows_of_several_axes_and_empty_rows() {
    // Sum over axes 0 and 2 of [a, b, c], and the position of the largest.
    for (a, b, c) in [(4, 5, 6), (30, 3, 40), (2, 70, 1), (1, 4, 300), (64, 64, 3)] {
        let n = a * b * c;
        let mut t = Text::new(
            "row_reduction",
            &[(a, true), (b, false), (c, true)],
            &format!("a0: read f32[{n}], a1: write f32[{b}], a2: write i64[{b}]"),
            "",
        );
        let i = t.ix(&[(b * c) as i64, c as i64, 1], 0);
        let o = t.ix(&[0, 1, 0], 0);
        let x = t.e("f32", &format!("load a0[{i}]"));
        let s = t.e("f32", "reduced r0.0");
        let p = t.e("i64", "reduced r0.1");
        t.pass(true, &[format!("r0.0: f32 = sum {x}"), format!("r0.1: i64 = argmax {x}")]);
        t.pass(false, &[format!("a1[{o}] = {s}"), format!("a2[{o}] = {p}")]);
        check(&t.build(), &[]);
    }
    check(&reduce(Reduce::Sum, "f32", 5, 0, false), &[]);
    check(&reduce(Reduce::Sum, "f32", 0, 5, false), &[]);
    check(&reduce(Reduce::Prod, "f32", 0, 50, true), &[]);
}
