use super::*;

/// Matrix product [batch, m, k] x [batch, k, n] with operand layouts, an optional prologue on the left and an epilogue.
#[allow(clippy::too_many_arguments)]
pub fn matmul(d: &str, batch: usize, m: usize, n: usize, k: usize, ta: bool, tb: bool, prologue: bool, epilogue: bool) -> Kernel {
    let (an, bn, cn) = (batch * m * k, batch * k * n, batch * m * n);
    let mut t = Text::new(
        "matmul",
        &[(batch, false), (m, false), (n, false), (k, true)],
        &format!("a0: read {d}[{an}], a1: read {d}[{bn}], a2: read {d}[{n}], a3: write {d}[{cn}]"),
        "",
    );
    let (m_, n_, k_) = (m as i64, n as i64, k as i64);
    let ia = if ta { t.ix(&[m_ * k_, 1, 0, m_], 0) } else { t.ix(&[m_ * k_, k_, 0, 1], 0) };
    let ib = if tb { t.ix(&[n_ * k_, 0, k_, 1], 0) } else { t.ix(&[n_ * k_, 0, 1, n_], 0) };
    let (ic, io) = (t.ix(&[0, 0, 1, 0], 0), t.ix(&[m_ * n_, n_, 1, 0], 0));
    let mut a = t.e(d, &format!("load a0[{ia}]"));
    let b = t.e(d, &format!("load a1[{ib}]"));
    if prologue {
        a = t.e(d, &format!("tanh {a}"));
    }
    let mut y = t.e(d, "reduced r0.0");
    if epilogue {
        let c = t.e(d, &format!("load a2[{ic}]"));
        y = t.e(d, &format!("add {y}, {c}"));
        let z = t.e(d, "const 0.0");
        y = t.e(d, &format!("max {y}, {z}"));
    }
    t.pass(true, &[format!("r0.0: {d} = dot {a}, {b}")]);
    t.pass(false, &[format!("a3[{io}] = {y}")]);
    t.build()
}

#[test]
fn products() {
    for (batch, m, n, k) in
        [(1, 1, 1, 1), (1, 3, 5, 7), (1, 65, 130, 33), (3, 8, 40, 16), (2, 1, 300, 20), (1, 70, 1, 90), (1, 4, 4, 0), (2, 0, 3, 4)]
    {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            for epilogue in [false, true] {
                check(&matmul("f32", batch, m, n, k, ta, tb, false, epilogue), &[]);
            }
        }
        check(&matmul("f32", batch, m, n, k, false, true, true, true), &[]);
        check(&matmul("f64", batch, m, n, k, true, false, false, true), &[]);
        check(&matmul("f16", batch, m, n, k, false, false, false, true), &[]);
        check(&matmul("bf16", batch, m, n, k, false, true, false, false), &[]);
    }
    // Integers: the prologue and the epilogue's constant are float functions.
    for (ta, tb) in [(false, false), (true, true)] {
        check(&matmul("i32", 2, 9, 17, 21, ta, tb, false, false), &[]);
        check(&matmul("i64", 1, 5, 3, 40, ta, tb, false, false), &[]);
    }
}

/// A convolution in one or two dimensions.
#[derive(Clone)]
pub struct Conv {
    pub batch: usize,
    pub channels: usize,
    pub outputs: usize,
    pub groups: usize,
    pub input: Vec<usize>,
    pub window: Vec<usize>,
    pub stride: usize,
    pub lo: i64,
    pub hi: i64,
    pub lhs: usize,
    pub rhs: usize,
}

pub fn conv(d: &str, c: &Conv, epilogue: bool) -> Kernel {
    let r = c.input.len();
    let out: Vec<usize> = (0..r)
        .map(|i| {
            let x = (c.input[i] as i64 - 1) * c.lhs as i64 + 1 + c.lo + c.hi;
            let w = (c.window[i] as i64 - 1) * c.rhs as i64 + 1;
            if x < w { 0 } else { ((x - w) / c.stride as i64 + 1) as usize }
        })
        .collect();
    let cg = c.channels / c.groups;
    let og = c.outputs / c.groups;
    let list = |v: &[i64]| format!("[{}]", v.iter().map(|x| x.to_string()).collect::<Vec<_>>().join(", "));
    let rep = |x: i64| list(&vec![x; r]);
    let full =
        |a: usize, b: usize, s: &[usize]| list(&[a as i64, b as i64].into_iter().chain(s.iter().map(|&x| x as i64)).collect::<Vec<_>>());
    let head = format!(
        "conv stride {} lo {} hi {} lhs_dilation {} rhs_dilation {} groups {} input {} window {}",
        rep(c.stride as i64),
        rep(c.lo),
        rep(c.hi),
        rep(c.lhs as i64),
        rep(c.rhs as i64),
        c.groups,
        full(c.batch, c.channels, &c.input),
        full(c.outputs, cg, &c.window)
    );
    let mut axes = vec![(c.batch, false), (c.outputs, false)];
    axes.extend(out.iter().map(|&o| (o, false)));
    axes.push((cg, true));
    axes.extend(c.window.iter().map(|&w| (w, true)));
    let numel = |a: usize, b: usize, s: &[usize]| a * b * s.iter().product::<usize>();
    let (ni, nw, no) = (numel(c.batch, c.channels, &c.input), numel(c.outputs, cg, &c.window), numel(c.batch, c.outputs, &out));
    let mut t =
        Text::new(&head, &axes, &format!("a0: read {d}[{ni}], a1: read {d}[{nw}], a2: read {d}[{}], a3: write {d}[{no}]", c.outputs), "");
    let rank = axes.len();
    let unit = |k: usize, s: i64| {
        let mut v = vec![0; rank];
        v[k] = s;
        v
    };
    // Channel: group * cg + c.
    let (i1, ic) = (t.n("i1"), t.n(&format!("i{}", 2 + r)));
    let g = t.n(&format!("{i1} / {og}"));
    let g = t.n(&format!("{g} * {cg}"));
    let ch = t.n(&format!("{g} + {ic}"));
    let in_size: usize = c.input.iter().product();
    let mut at = t.n(&format!("{ch} * {in_size}"));
    let batch = t.ix(&unit(0, (c.channels * in_size) as i64), 0);
    at = t.n(&format!("{at} + {batch}"));
    let mut mask = Vec::new();
    for s in 0..r {
        let mut v = unit(2 + s, c.stride as i64);
        v[3 + r + s] = c.rhs as i64;
        let p = t.ix(&v, -c.lo);
        let q = if c.lhs > 1 {
            let m = t.n(&format!("{p} % {}", c.lhs));
            mask.push(format!("0 <= {m} < 1"));
            t.n(&format!("{p} / {}", c.lhs))
        } else {
            p
        };
        mask.push(format!("0 <= {q} < {}", c.input[s]));
        let q = t.n(&format!("{q} * {}", c.input[s + 1..].iter().product::<usize>()));
        at = t.n(&format!("{at} + {q}"));
    }
    let wsize: usize = c.window.iter().product();
    let mut w = vec![0; rank];
    w[1] = (cg * wsize) as i64;
    w[2 + r] = wsize as i64;
    let mut o = vec![0; rank];
    o[0] = (c.outputs * out.iter().product::<usize>()) as i64;
    o[1] = out.iter().product::<usize>() as i64;
    for s in 0..r {
        w[3 + r + s] = c.window[s + 1..].iter().product::<usize>() as i64;
        o[2 + s] = out[s + 1..].iter().product::<usize>() as i64;
    }
    let (iw, io, ib) = (t.ix(&w, 0), t.ix(&o, 0), t.ix(&unit(1, 1), 0));
    let zero = if d.starts_with('i') { "0" } else { "0.0" };
    let x = t.e(d, &format!("load a0[{at}] where {} else {zero}", mask.join(", ")));
    let k = t.e(d, &format!("load a1[{iw}]"));
    let mut y = t.e(d, "reduced r0.0");
    if epilogue {
        let b = t.e(d, &format!("load a2[{ib}]"));
        y = t.e(d, &format!("add {y}, {b}"));
        y = t.e(d, &format!("tanh {y}"));
    }
    t.pass(true, &[format!("r0.0: {d} = dot {x}, {k}")]);
    t.pass(false, &[format!("a3[{io}] = {y}")]);
    t.build()
}

pub fn plain_conv() -> Conv {
    Conv { batch: 2, channels: 4, outputs: 6, groups: 1, input: vec![9, 8], window: vec![3, 3], stride: 1, lo: 1, hi: 1, lhs: 1, rhs: 1 }
}

#[test]
fn convolutions() {
    let p = plain_conv();
    let cases = [
        p.clone(),
        Conv { window: vec![1, 1], lo: 0, hi: 0, ..p.clone() },
        Conv { window: vec![1, 1], lo: 0, hi: 0, stride: 2, ..p.clone() },
        Conv { stride: 2, lo: 0, hi: 2, ..p.clone() },
        Conv { groups: 2, ..p.clone() },
        Conv { groups: 4, outputs: 4, ..p.clone() },
        Conv { groups: 4, outputs: 8, stride: 2, ..p.clone() },
        Conv { lhs: 2, lo: 2, hi: 1, ..p.clone() },
        Conv { rhs: 2, lo: 2, hi: 2, ..p.clone() },
        Conv { lo: -1, hi: -2, ..p.clone() },
        Conv { lhs: 3, rhs: 2, stride: 2, lo: -1, hi: 3, groups: 2, ..p.clone() },
        Conv { input: vec![30], window: vec![5], ..p.clone() },
        Conv { batch: 1, input: vec![40, 37], ..p.clone() },
        Conv { input: vec![4, 3, 5], window: vec![2, 2, 2], ..p.clone() },
    ];
    for c in &cases {
        for epilogue in [false, true] {
            check(&conv("f32", c, epilogue), &[]);
        }
        check(&conv("f64", c, true), &[]);
        check(&conv("f16", c, true), &[]);
        check(&conv("i32", c, false), &[]);
    }
    let cases = [
        // Windows larger than the result, as of a kernel's gradient: whole rows, padded, strided, in groups, long enough to be cut.
        Conv { input: vec![12, 13], window: vec![12, 13], ..p.clone() },
        Conv { input: vec![12, 13], window: vec![11, 12], lo: 0, hi: 0, outputs: 20, ..p.clone() },
        Conv { input: vec![20, 21], window: vec![9, 10], rhs: 2, lo: 1, hi: 0, ..p.clone() },
        Conv { input: vec![20, 21], window: vec![17, 19], stride: 2, lhs: 2, lo: -3, hi: -2, groups: 2, ..p.clone() },
        Conv { input: vec![40, 41], window: vec![40, 41], groups: 4, outputs: 4, ..p.clone() },
        Conv { batch: 30, input: vec![1100], window: vec![1099], ..p.clone() },
        Conv { input: vec![3, 5, 600], window: vec![2, 5, 599], lo: 0, hi: 0, ..p.clone() },
        Conv { input: vec![24, 24], window: vec![24, 24], lo: 0, hi: 0, ..p.clone() },
    ];
    for c in &cases {
        // Numbers whose long sums are exact in any order.
        let k = conv("f32", c, false);
        let mut rng = Rng(c.window[0] as u64);
        let round =
            |t: HostTensor| HostTensor::from_slice([t.numel()], &t.to_vec::<f32>().iter().map(|x| (x * 8.0).round()).collect::<Vec<_>>());
        compare(&k, k.args.iter().map(|a| round(random(a.dtype, a.numel, &mut rng)).unwrap()).collect(), &[]);
        check(&conv("f64", c, true), &[]);
        check(&conv("i32", c, false), &[]);
    }
    check(&conv("i64", &p, false), &[]);
    check(&conv("i64", &Conv { groups: 4, outputs: 4, ..p.clone() }, false), &[]);
}

fn sort(rows: usize, cols: usize, d: &str, descending: bool) -> Kernel {
    let n = rows * cols;
    let mut t = Text::new(
        if descending { "sort descending" } else { "sort ascending" },
        &[(rows, false), (cols, true)],
        &format!("a0: read {d}[{n}], a1: write i64[{n}], a2: write {d}[{n}]"),
        &format!("scratch {d}, i64"),
    );
    let i = t.ix(&[cols as i64, 1], 0);
    let x = t.e(d, &format!("load a0[{i}]"));
    let p = t.e("i64", "scratch s1");
    let v = t.n(&format!("value {p} clamp {}", cols.max(1)));
    let r = t.ix(&[cols as i64, 0], 0);
    let at = t.n(&format!("{r} + {v}"));
    let y = t.e(d, &format!("load a0[{at}]"));
    t.pass(true, &[format!("s0 = {x}")]);
    t.pass(true, &[format!("a1[{i}] = {p}"), format!("a2[{i}] = {y}")]);
    t.build()
}

#[test]
fn sorts() {
    for (r, c) in [(1, 1), (5, 40), (100, 3), (2, 3000)] {
        for d in ["f32", "f64", "f16", "i32", "i64", "u8", "bool"] {
            check(&sort(r, c, d, false), &[]);
            check(&sort(r, c, d, true), &[]);
        }
    }
}

fn cumulative(kind: &str, reverse: bool, rows: usize, cols: usize, d: &str, column: bool) -> Kernel {
    let n = rows * cols;
    let way = if reverse { "reverse" } else { "forward" };
    let mut t = Text::new(
        &format!("cumulative {kind} {way}"),
        &[(rows, false), (cols, true)],
        &format!("a0: read {d}[{n}], a1: write {d}[{n}]"),
        &format!("scratch {d}, {d}"),
    );
    let i = if column { t.ix(&[1, rows as i64], 0) } else { t.ix(&[cols as i64, 1], 0) };
    let x = t.e(d, &format!("load a0[{i}]"));
    let y = t.e(d, "scratch s1");
    t.pass(true, &[format!("s0 = {x}")]);
    t.pass(true, &[format!("a1[{i}] = {y}")]);
    t.build()
}

#[test]
fn running_combinations() {
    for (r, c) in [(1, 1), (5, 33), (100, 7), (40, 300)] {
        for column in [false, true] {
            for reverse in [false, true] {
                for d in ["f32", "f64", "i32", "f16", "u8"] {
                    check(&cumulative("sum", reverse, r, c, d, column), &[]);
                    check(&cumulative("max", reverse, r, c, d, column), &[]);
                    check(&cumulative("min", reverse, r, c, d, column), &[]);
                }
                check(&cumulative("prod", reverse, r, c, "f64", column), &[]);
            }
        }
    }
}

pub fn scatter(mode: &str, d: &str, rows: usize, cols: usize, updates: usize) -> Kernel {
    let mut t = Text::new(
        &format!("scatter {mode}"),
        &[(updates, false), (cols, false)],
        &format!("a0: update {d}[{}], a1: read i64[{updates}], a2: read {d}[{}]", rows * cols, updates * cols),
        "",
    );
    let at = t.ix(&[1, 0], 0);
    let k = t.e("i64", &format!("load a1[{at}]"));
    let raw = t.n(&format!("value {k}"));
    let v = t.n(&format!("value {k} clamp {rows}"));
    let v = t.n(&format!("{v} * {cols}"));
    let c = t.n("i1");
    let o = t.n(&format!("{v} + {c}"));
    let i = t.ix(&[cols as i64, 1], 0);
    let x = t.e(d, &format!("load a2[{i}]"));
    t.pass(false, &[format!("a0[{o}] = {x} where 0 <= {raw} < {rows}")]);
    t.build()
}

#[test]
fn scatters() {
    for mode in ["set", "add", "max", "min"] {
        for d in ["f32", "f64", "f16", "i32", "i64", "u8"] {
            for (rows, cols, updates) in [(3, 2, 4), (8, 1, 500), (6, 700, 30), (9, 5, 1), (4, 3, 0)] {
                check(&scatter(mode, d, rows, cols, updates), &[]);
            }
        }
    }
}
