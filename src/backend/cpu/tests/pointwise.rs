use super::*;
use crate::trace::{Binary, Compare, Unary};

/// Row-major strides.
fn strides(shape: &[usize]) -> Vec<i64> {
    let mut s = vec![1i64; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        s[i] = s[i + 1] * shape[i + 1] as i64;
    }
    s
}

fn axes(shape: &[usize]) -> Vec<(usize, bool)> {
    shape.iter().map(|&e| (e, false)).collect()
}

const SHAPES: &[&[usize]] = &[
    &[],
    &[0],
    &[1],
    &[16],
    &[127],
    &[128],
    &[129],
    &[1000],
    &[3, 5],
    &[2, 0, 3],
    &[7, 600],
    &[40, 3],
    &[5, 7, 11],
    &[300, 2, 2],
    &[2, 70_000],
    &[20, 600],
    &[100, 1, 513],
    &[2, 64, 600],
    &[3, 1, 17, 1, 9],
];

/// y = tanh(x * 2 + 1) * x + 0.5.
pub fn chain(n: usize) -> Kernel {
    let mut t = Text::new("pointwise", &[(n, false)], &format!("a0: read f32[{n}], a1: write f32[{n}]"), "");
    let i = t.ix(&[1], 0);
    let x = t.e("f32", &format!("load a0[{i}]"));
    let (two, one, half) = (t.e("f32", "const 2.0"), t.e("f32", "const 1.0"), t.e("f32", "const 0.5"));
    let m = t.e("f32", &format!("mul {x}, {two}"));
    let a = t.e("f32", &format!("add {m}, {one}"));
    let h = t.e("f32", &format!("tanh {a}"));
    let m = t.e("f32", &format!("mul {h}, {x}"));
    let y = t.e("f32", &format!("add {m}, {half}"));
    t.pass(false, &[format!("a1[{i}] = {y}")]);
    t.build()
}

#[test]
fn chains_of_every_length() {
    for n in [0, 1, 2, 63, 64, 65, 128, 300, 4099, 70_001] {
        check(&chain(n), &[]);
    }
}

#[test]
fn broadcasts_transposes_and_flips() {
    for shape in SHAPES {
        let (n, s) = (shape.iter().product::<usize>(), strides(shape));
        let rank = shape.len();
        let last = shape.last().copied().unwrap_or(1);
        // The operand's axes in reversed order.
        let mut reversed: Vec<usize> = shape.to_vec();
        reversed.reverse();
        let mut t_strides = strides(&reversed);
        t_strides.reverse();
        let mut t = Text::new(
            "pointwise",
            &axes(shape),
            &format!(
                "a0: read f32[{n}], a1: read f32[{last}], a2: read f32[{n}], a3: read f32[{n}], a4: write f32[{n}], a5: write f32[{n}]"
            ),
            "params f32",
        );
        let i = t.ix(&s, 0);
        let mut bias = vec![0; rank];
        if rank > 0 {
            bias[rank - 1] = 1;
        }
        let b = t.ix(&bias, 0);
        let tr = t.ix(&t_strides, 0);
        let flip: Vec<i64> = s.iter().map(|x| -x).collect();
        let f = t.ix(&flip, n as i64 - 1);
        let x = t.e("f32", &format!("load a0[{i}]"));
        let y = t.e("f32", &format!("load a1[{b}]"));
        let z = t.e("f32", &format!("load a2[{tr}]"));
        let w = t.e("f32", &format!("load a3[{f}]"));
        let p = t.e("f32", "param p0");
        let e = t.e("f32", &format!("mul {x}, {y}"));
        let e = t.e("f32", &format!("sub {e}, {z}"));
        let e = t.e("f32", &format!("add {e}, {w}"));
        let e = t.e("f32", &format!("max {e}, {p}"));
        t.pass(false, &[format!("a4[{i}] = {e}"), format!("a5[{tr}] = {z}")]);
        check(&t.build(), &[Scalar::Float(0.25)]);
    }
}

#[test]
fn row_uniform_operands() {
    // Per-row scale, computed once per row, over a long and a short row.
    for (rows, cols) in [(5, 1000), (700, 3), (1, 50), (9, 513)] {
        let n = rows * cols;
        let mut t = Text::new(
            "pointwise",
            &[(rows, false), (cols, false)],
            &format!("a0: read f32[{n}], a1: read f32[{rows}], a2: write f32[{n}]"),
            "",
        );
        let i = t.ix(&[cols as i64, 1], 0);
        let r = t.ix(&[1, 0], 0);
        let x = t.e("f32", &format!("load a0[{i}]"));
        let s = t.e("f32", &format!("load a1[{r}]"));
        let s2 = t.e("f32", &format!("exp {s}"));
        let y = t.e("f32", &format!("mul {x}, {s2}"));
        let y = t.e("f32", &format!("sub {s}, {y}"));
        t.pass(false, &[format!("a2[{i}] = {y}")]);
        check(&t.build(), &[]);
    }
}

#[test]
fn every_function_of_every_dtype() {
    let n = 200;
    for d in DType::ALL {
        let name = d.name();
        for u in Unary::ALL.iter().filter(|u| u.accepts(d)) {
            let mut t = Text::new("pointwise", &[(n, false)], &format!("a0: read {name}[{n}], a1: write {name}[{n}]"), "");
            let i = t.ix(&[1], 0);
            let x = t.e(name, &format!("load a0[{i}]"));
            let y = t.e(name, &format!("{} {x}", u.name()));
            t.pass(false, &[format!("a1[{i}] = {y}")]);
            check(&t.build(), &[]);
        }
        for b in Binary::ALL.iter().filter(|b| b.accepts(d)) {
            for scalar in [0, 1, 2] {
                let mut t = Text::new(
                    "pointwise",
                    &[(n, false)],
                    &format!("a0: read {name}[{n}], a1: read {name}[{n}], a2: write {name}[{n}]"),
                    &format!("params {name}"),
                );
                let i = t.ix(&[1], 0);
                let x = t.e(name, &format!("load a0[{i}]"));
                let y = t.e(name, &format!("load a1[{i}]"));
                let p = t.e(name, "param p0");
                let (x, y) = match scalar {
                    0 => (x, y),
                    1 => (p, y),
                    _ => (x, p),
                };
                let z = t.e(name, &format!("{} {x}, {y}", b.name()));
                t.pass(false, &[format!("a2[{i}] = {z}")]);
                let p = match d {
                    DType::Bool => Scalar::Bool(true),
                    d if d.is_float() => Scalar::Float(1.5),
                    _ => Scalar::Int(3),
                };
                check(&t.build(), &[p]);
            }
        }
        for c in Compare::ALL {
            let mut t =
                Text::new("pointwise", &[(n, false)], &format!("a0: read {name}[{n}], a1: read {name}[{n}], a2: write {name}[{n}]"), "");
            let i = t.ix(&[1], 0);
            let x = t.e(name, &format!("load a0[{i}]"));
            let y = t.e(name, &format!("load a1[{i}]"));
            let m = t.e("bool", &format!("{} {x}, {y}", c.name()));
            let m2 = t.e("bool", &format!("not {m}"));
            let z = t.e(name, &format!("select {m2}, {x}, {y}"));
            t.pass(false, &[format!("a2[{i}] = {z}")]);
            check(&t.build(), &[]);
        }
        for to in DType::ALL {
            let mut t = Text::new("pointwise", &[(n, false)], &format!("a0: read {name}[{n}], a1: write {}[{n}]", to.name()), "");
            let i = t.ix(&[1], 0);
            let x = t.e(name, &format!("load a0[{i}]"));
            let y = t.e(to.name(), &format!("cast {x}"));
            t.pass(false, &[format!("a1[{i}] = {y}")]);
            check(&t.build(), &[]);
        }
    }
}

#[test]
fn masks_indices_and_bounds() {
    for (h, w, lo, hi) in [(3, 5, 1, 2), (20, 40, 3, 0), (2, 700, 1, 1), (1, 1, 0, 3), (6, 2, 0, 0), (0, 3, 2, 1)] {
        let (oh, ow) = (h + lo + hi, w + lo + hi);
        let n = oh * ow;
        let mut t = Text::new(
            "pointwise",
            &[(oh, false), (ow, false)],
            &format!("a0: read f16[{}], a1: write f32[{n}], a2: write i32[{n}]", h * w),
            "",
        );
        let l = lo as i64;
        let i = t.ix(&[w as i64, 1], -l * w as i64 - l);
        let (r, c) = (t.ix(&[1, 0], -l), t.ix(&[0, 1], -l));
        let o = t.ix(&[ow as i64, 1], 0);
        let x = t.e("f16", &format!("load a0[{i}] where 0 <= {r} < {h}, 0 <= {c} < {w} else -1.0"));
        let m = t.e("bool", &format!("inbounds 1 <= {r} < {h}, 0 <= {c} < {w}"));
        let v = t.e("f32", &format!("index {o}"));
        let x2 = t.e("f32", &format!("cast {x}"));
        let y = t.e("f32", &format!("select {m}, {x2}, {v}"));
        let z = t.e("i32", &format!("index {c}"));
        t.pass(false, &[format!("a1[{o}] = {y}"), format!("a2[{o}] = {z}")]);
        check(&t.build(), &[]);
    }
}

#[test]
fn quotients_and_remainders() {
    // [a, b, c] with the last two axes exchanged, read through the flat index of [a, c, b].
    for (a, b, c) in [(2, 3, 4), (5, 7, 300), (1, 64, 64), (3, 1, 5)] {
        let n = a * b * c;
        let mut t = Text::new("pointwise", &[(n, false)], &format!("a0: read f32[{n}], a1: update f32[{n}]"), "");
        let i = t.n("i0");
        let q = t.n(&format!("{i} / {}", b * c));
        let r = t.n(&format!("{i} % {}", b * c));
        let (y, x) = (t.n(&format!("{r} / {b}")), t.n(&format!("{r} % {b}")));
        let q = t.n(&format!("{q} * {}", b * c));
        let x = t.n(&format!("{x} * {c}"));
        let s = t.n(&format!("{q} + {x}"));
        let s = t.n(&format!("{s} + {y}"));
        let u = t.e("f32", &format!("load a0[{s}]"));
        let v = t.e("f32", &format!("load a1[{i}]"));
        let z = t.e("f32", &format!("add {u}, {v}"));
        t.pass(false, &[format!("a1[{i}] = {z}")]);
        check(&t.build(), &[]);
    }
}

#[test]
fn gathers() {
    // Rows at computed positions; rows long (a stream with a computed offset) and short (an index tile).
    for (rows, picks, cols) in [(50, 40, 800), (50, 1000, 130), (50, 300, 3), (7, 200, 1), (1, 1, 1)] {
        for d in ["i64", "i32"] {
            let mut t = Text::new(
                "pointwise",
                &[(picks, false), (cols, false)],
                &format!("a0: read f32[{}], a1: read {d}[{picks}], a2: write f32[{}]", rows * cols, picks * cols),
                "",
            );
            let at = t.ix(&[1, 0], 0);
            let k = t.e(d, &format!("load a1[{at}]"));
            let v = t.n(&format!("value {k} clamp {rows}"));
            let v = t.n(&format!("{v} * {cols}"));
            let c = t.n("i1");
            let s = t.n(&format!("{v} + {c}"));
            let o = t.ix(&[cols as i64, 1], 0);
            let x = t.e("f32", &format!("load a0[{s}]"));
            t.pass(false, &[format!("a2[{o}] = {x}")]);
            check(&t.build(), &[]);
        }
    }
}

#[test]
fn random_bits() {
    for n in [1, 5, 64, 1000, 40_000] {
        let mut t = Text::new("pointwise", &[(n, false)], &format!("a0: write u32[{n}], a1: write u32[{n}]"), "params i64, i64");
        let (i, j) = (t.ix(&[1], 0), t.ix(&[3], 2));
        let (k, o) = (t.e("i64", "param p0"), t.e("i64", "param p1"));
        let a = t.e("u32", &format!("random {k}, {o}, {i}"));
        let b = t.e("u32", &format!("random {k}, {o}, {j}"));
        t.pass(false, &[format!("a0[{i}] = {a}"), format!("a1[{i}] = {b}")]);
        check(&t.build(), &[Scalar::Int(0x1234_5678_9abc), Scalar::Int(77)]);
    }
}

#[test]
fn long_chains() {
    let n = 16;
    let mut t = Text::new("pointwise", &[(n, false)], &format!("a0: read f32[{n}], a1: write f32[{n}]"), "");
    let i = t.ix(&[1], 0);
    let x = t.e("f32", &format!("load a0[{i}]"));
    let mut y = x.clone();
    for k in 0..3000 {
        let c = t.e("f32", &format!("const {:?}", 0.5 + (k % 7) as f64 * 0.125));
        y = match k % 3 {
            0 => t.e("f32", &format!("mul {y}, {c}")),
            1 => t.e("f32", &format!("add {y}, {x}")),
            _ => t.e("f32", &format!("sub {c}, {y}")),
        };
    }
    t.pass(false, &[format!("a1[{i}] = {y}")]);
    check(&t.build(), &[]);
}
