//! Random kernels: shapes, layouts, masks and expressions that nobody thought of.

use super::*;

/// A load's or store's layout over the axes: strides, offset, elements of its buffer, and bounds (axis, shift, extent).
struct Layout {
    strides: Vec<i64>,
    base: i64,
    numel: usize,
    bounds: Vec<(usize, i64, usize)>,
}

/// Any reading of a buffer: permuted, repeated, reversed, strided or shifted out of bounds.
fn reading(shape: &[usize], rng: &mut Rng, allowed: &[bool]) -> Layout {
    let rank = shape.len();
    let mut order: Vec<usize> = (0..rank).collect();
    if rng.below(3) == 0 {
        for i in (1..rank).rev() {
            order.swap(i, rng.below(i + 1));
        }
    }
    let mut l = Layout { strides: vec![0; rank], base: 0, numel: 1, bounds: Vec::new() };
    for &a in order.iter().rev() {
        if !allowed[a] || rng.below(5) == 0 {
            continue;
        }
        let unit = l.numel as i64;
        match rng.below(8) {
            // Reversed.
            0 => {
                l.strides[a] = -unit;
                l.base += unit * (shape[a] as i64 - 1);
                l.numel *= shape[a];
            }
            // Every second element.
            1 => {
                l.strides[a] = 2 * unit;
                l.numel *= 2 * shape[a];
            }
            // Shifted: a few points fall outside.
            2 => {
                let shift = rng.below(4) as i64 - 1;
                let extent = shape[a].saturating_sub(rng.below(3)).max(1);
                l.strides[a] = unit;
                l.base -= shift * unit;
                l.bounds.push((a, -shift, extent));
                l.numel *= extent;
            }
            _ => {
                l.strides[a] = unit;
                l.numel *= shape[a];
            }
        }
    }
    l
}

/// Every point its own element, in some order of the axes.
fn writing(shape: &[usize], rng: &mut Rng, allowed: &[bool]) -> Layout {
    let mut order: Vec<usize> = (0..shape.len()).filter(|&a| allowed[a]).collect();
    if rng.below(3) == 0 {
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i + 1));
        }
    }
    let mut l = Layout { strides: vec![0; shape.len()], base: 0, numel: 1, bounds: Vec::new() };
    for &a in order.iter().rev() {
        l.strides[a] = l.numel as i64;
        l.numel *= shape[a];
    }
    l
}

struct Gen {
    shape: Vec<usize>,
    dtype: &'static str,
    loads: Vec<Layout>,
    stores: Vec<(Layout, &'static str)>,
}

fn kernel(seed: u64) -> Kernel {
    let mut rng = Rng(seed);
    let rank = 1 + rng.below(4);
    let most = [1500, 60, 16, 8][rank - 1];
    let shape: Vec<usize> = (0..rank).map(|_| if rng.below(8) == 0 { 1 } else { 1 + rng.below(most) }).collect();
    let dtype = ["f32", "f32", "f64", "i32", "f16", "i64"][rng.below(6)];
    let float = dtype.starts_with('f');
    let reduction = rng.below(2) == 1;
    let mut row: Vec<bool> = (0..rank).map(|_| reduction && rng.below(2) == 1).collect();
    if reduction && !row.iter().any(|&r| r) {
        row[rng.below(rank)] = true;
    }
    let all = vec![true; rank];
    let outer: Vec<bool> = row.iter().map(|r| !r).collect();
    let g = Gen {
        loads: (0..1 + rng.below(3)).map(|_| reading(&shape, &mut rng, &all)).collect(),
        stores: if reduction {
            vec![
                (writing(&shape, &mut rng, &outer), dtype),
                (writing(&shape, &mut rng, &outer), "i64"),
                (writing(&shape, &mut rng, &all), dtype),
            ]
        } else {
            (0..1 + rng.below(2)).map(|_| (writing(&shape, &mut rng, &all), dtype)).collect()
        },
        shape,
        dtype,
    };
    let args: Vec<String> = g
        .loads
        .iter()
        .map(|l| format!("read {dtype}[{}]", l.numel))
        .chain(g.stores.iter().map(|(l, d)| format!("write {d}[{}]", l.numel)))
        .enumerate()
        .map(|(i, a)| format!("a{i}: {a}"))
        .collect();
    let axes: Vec<(usize, bool)> = g.shape.iter().copied().zip(row.iter().copied()).collect();
    let kind = match (reduction, row[rank - 1]) {
        (false, _) => "pointwise",
        (_, true) => "row_reduction",
        _ => "column_reduction",
    };
    let mut t = Text::new(kind, &axes, &args.join(", "), &format!("params {dtype}"));
    let mut values = Vec::new();
    for (i, l) in g.loads.iter().enumerate() {
        let at = t.ix(&l.strides, l.base);
        let bounds: Vec<String> = l
            .bounds
            .iter()
            .map(|&(a, shift, extent)| {
                let mut s = vec![0; rank];
                s[a] = 1;
                format!("0 <= {} < {extent}", t.ix(&s, shift))
            })
            .collect();
        let mask = if bounds.is_empty() {
            String::new()
        } else {
            format!(" where {} else {}", bounds.join(", "), if float { "1.0" } else { "1" })
        };
        values.push(t.e(g.dtype, &format!("load a{i}[{at}]{mask}")));
    }
    let first = values[0].clone();
    values.push(t.e(dtype, "param p0"));
    values.push(t.e(dtype, &format!("const {}", if float { "0.5" } else { "3" })));
    let loads = g.loads.len();
    let grow = |t: &mut Text, values: &mut Vec<String>, rng: &mut Rng, n: usize| {
        for _ in 0..n {
            let pick = |rng: &mut Rng| values[rng.below(values.len())].clone();
            let (a, b) = (pick(rng), pick(rng));
            let v = match rng.below(9) {
                0 | 1 => t.e(dtype, &format!("add {a}, {b}")),
                2 => t.e(dtype, &format!("sub {a}, {b}")),
                3 => t.e(dtype, &format!("max {a}, {b}")),
                4 => t.e(dtype, &format!("min {a}, {b}")),
                5 => t.e(dtype, &format!("abs {a}")),
                6 if float => t.e(dtype, &format!("tanh {a}")),
                7 => {
                    // Compared are loads only: they are exact on both sides.
                    let (x, y) = (values[rng.below(loads)].clone(), values[rng.below(loads)].clone());
                    let m = t.e("bool", &format!("lt {x}, {y}"));
                    t.e(dtype, &format!("select {m}, {a}, {b}"))
                }
                _ if float => {
                    let s = t.e(dtype, &format!("tanh {a}"));
                    t.e(dtype, &format!("mul {s}, {b}"))
                }
                _ => t.e(dtype, &format!("mul {a}, {b}")),
            };
            values.push(v);
        }
    };
    let n = rng.below(10);
    grow(&mut t, &mut values, &mut rng, n);
    let store = |t: &mut Text, i: usize, v: &str| {
        let at = t.ix(&g.stores[i].0.strides, 0);
        format!("a{}[{at}] = {v}", g.loads.len() + i)
    };
    if !reduction {
        let lines: Vec<String> = (0..g.stores.len()).map(|i| store(&mut t, i, &values[values.len() - 1 - i].clone())).collect();
        t.pass(false, &lines);
        return t.build();
    }
    let v = values.last().cloned().unwrap_or_default();
    let kind = ["sum", "max", "min"][rng.below(3)];
    t.pass(true, &[format!("r0.0: {dtype} = {kind} {v}"), format!("r0.1: i64 = argmax {first}")]);
    let (r, p) = (t.e(dtype, "reduced r0.0"), t.e("i64", "reduced r0.1"));
    values.push(r.clone());
    let scaled = if float { t.e(dtype, &format!("tanh {r}")) } else { t.e(dtype, &format!("add {r}, {r}")) };
    values.push(scaled.clone());
    let n = 1 + rng.below(4);
    grow(&mut t, &mut values, &mut rng, n);
    let w = values.last().cloned().unwrap_or_default();
    let lines = [store(&mut t, 0, &scaled), store(&mut t, 1, &p)];
    t.pass(false, &lines);
    let w = t.e(dtype, &format!("sub {w}, {first}"));
    let line = store(&mut t, 2, &w);
    t.pass(true, &[line]);
    t.build()
}

#[test]
fn random_kernels() {
    for seed in 0..600 {
        let k = kernel(seed);
        let float = k.params[0].is_float();
        let p = if float { Scalar::Float(0.75) } else { Scalar::Int(2) };
        let mut rng = Rng(seed ^ 0xabcd);
        let args: Vec<HostTensor> = k.args.iter().map(|a| random(a.dtype, a.numel, &mut rng)).collect();
        let mut want = args.clone();
        interp::run(&k, &mut want, &[p]).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{k}"));
        let got = run_device(&k, &args, &[p]);
        let written = k.args.iter().zip(want).filter(|(a, _)| a.access != Access::Read);
        for (n, ((a, w), g)) in written.zip(&got).enumerate() {
            // Sums cancel: errors are relative to their terms.
            assert_close(g, &w, 20.0 * tolerance(a.dtype), &format!("seed {seed}, output {n} of\n{k}"));
        }
    }
}
