//! Domains large enough that a backend treats parts of them, or blocks, differently.

use super::{near, read};
use lazuli::prelude::*;
use lazuli::tensor::PadMode;

/// Numbers that tell where they come from, with some spread.
fn numbers(shape: [usize; 3]) -> (Tensor, Vec<f32>) {
    let v: Vec<f32> = (0..shape.iter().product()).map(|i| ((i * 7919) % 65_521) as f32 / 64.0 - 500.0).collect();
    (Tensor::from_vec(v.clone(), shape), v)
}

/// The tensor whose element at each point is `f` of that point.
fn made(shape: [usize; 3], f: impl Fn([usize; 3]) -> f32) -> Vec<f32> {
    let points = (0..shape[0]).flat_map(|i| (0..shape[1]).flat_map(move |j| (0..shape[2]).map(move |k| [i, j, k])));
    points.map(f).collect()
}

#[track_caller]
fn same(got: &Tensor, want: &[f32]) {
    let got = read(got);
    assert_eq!(got.len(), want.len());
    if let Some(i) = (0..want.len()).find(|&i| got[i].to_bits() != want[i].to_bits()) {
        panic!("element {i}: {}, expected {}", got[i], want[i]);
    }
}

const SHAPE: [usize; 3] = [9, 70, 65];

fn at(v: &[f32], [i, j, k]: [usize; 3]) -> f32 {
    v[(i * SHAPE[1] + j) * SHAPE[2] + k]
}

#[test]
fn pads_of_every_sort() {
    let (x, v) = numbers(SHAPE);
    let (lo, hi) = (3isize, 2isize);
    let to = [SHAPE[0], SHAPE[1] + 5, SHAPE[2] + 5];
    let place = |f: &dyn Fn(isize, isize) -> Option<isize>| {
        made(to, |[i, j, k]| {
            let (j, k) = (f(j as isize - lo, SHAPE[1] as isize), f(k as isize - lo, SHAPE[2] as isize));
            j.zip(k).map_or(7.0, |(j, k)| at(&v, [i, j as usize, k as usize]))
        })
    };
    let widths = [(0, 0), (lo, hi), (lo, hi)];
    same(&x.pad(&widths, 7.0), &place(&|p, n| (0..n).contains(&p).then_some(p)));
    same(&x.pad_with(&widths, PadMode::Replicate), &place(&|p, n| Some(p.clamp(0, n - 1))));
    same(&x.pad_with(&widths, PadMode::Circular), &place(&|p, n| Some(p.rem_euclid(n))));
    let reflected = |p: isize, n: isize| {
        Some(if p < 0 {
            -p
        } else if p >= n {
            2 * n - 2 - p
        } else {
            p
        })
    };
    same(&x.pad_with(&widths, PadMode::Reflect), &place(&reflected));
    // Arithmetic around it, and a gradient through it: the inner elements are counted once more for each reflection.
    let loss = |x: &Tensor| (x.pad_with(&widths, PadMode::Reflect) * 2.0).sum(..);
    let times = |p: usize, n: usize| 1 + (1..=3).contains(&p) as usize + (n - 3..=n - 2).contains(&p) as usize;
    same(&grad(loss, &x), &made(SHAPE, |[_, j, k]| 2.0 * (times(j, SHAPE[1]) * times(k, SHAPE[2])) as f32));
}

#[test]
fn pieces_put_together() {
    let (x, v) = numbers(SHAPE);
    let y = &x * -1.0;
    for axis in 0..3 {
        let mut to = SHAPE;
        to[axis] *= 2;
        let want = made(to, |mut p| {
            let second = p[axis] >= SHAPE[axis];
            p[axis] %= SHAPE[axis];
            at(&v, p) * if second { -1.0 } else { 1.0 }
        });
        same(&Tensor::cat(&[&x, &y], axis), &want);
        // With work on the way in and out.
        let (a, b) = (&x + 1.0, y.abs());
        let want: Vec<f32> = made(to, |mut p| {
            let second = p[axis] >= SHAPE[axis];
            p[axis] %= SHAPE[axis];
            if second { at(&v, p).abs() * 3.0 } else { (at(&v, p) + 1.0) * 3.0 }
        });
        same(&(Tensor::cat(&[&a, &b], axis) * 3.0), &want);
    }
    let stacked = Tensor::stack(&[&x, &y, &x], -1);
    same(&stacked, &v.iter().flat_map(|&a| [a, -a, a]).collect::<Vec<_>>());
    same(&x.roll(&[3, -5], [1, 2]), &made(SHAPE, |[i, j, k]| at(&v, [i, (j + 67) % 70, (k + 5) % 65])));
}

#[test]
fn turned_around() {
    let (x, v) = numbers(SHAPE);
    same(&x.flip([2]), &made(SHAPE, |[i, j, k]| at(&v, [i, j, 64 - k])));
    same(&x.flip([0, 1]), &made(SHAPE, |[i, j, k]| at(&v, [8 - i, 69 - j, k])));
    let turned = [SHAPE[0], SHAPE[2], SHAPE[1]];
    same(&x.rot90(1, 1, 2), &made(turned, |[i, j, k]| at(&v, [i, k, 64 - j])));
    same(&x.rot90(3, 1, 2), &made(turned, |[i, j, k]| at(&v, [i, 69 - k, j])));
    same(&(x.rot90(-1, 1, 2) + 1.0), &made(turned, |[i, j, k]| at(&v, [i, 69 - k, j]) + 1.0));
    for step in [2isize, 3, 4, 5] {
        let s = x.slice(s![.., .., 1..;step]);
        let to = [SHAPE[0], SHAPE[1], (SHAPE[2] - 1).div_ceil(step as usize)];
        same(&(&s + 0.0), &made(to, |[i, j, k]| at(&v, [i, j, 1 + k * step as usize])));
    }
    // Windows are read where they lie.
    let to = [SHAPE[0], SHAPE[1], 30];
    let windows = x.unfold(2, 5, 2);
    let want: Vec<f32> = made([SHAPE[0] * SHAPE[1], 31, 5], |[r, w, k]| v[r * SHAPE[2] + 2 * w + k]);
    assert_eq!(to[0] * to[1] * 31 * 5, want.len());
    same(&windows, &want);
}

#[test]
fn positions_as_bounds() {
    let n = 200;
    let (x, v) = numbers([1, n, n]);
    let x = x.reshape([n as isize, n as isize]);
    for d in [-150isize, -1, 0, 3, 199, 250] {
        let keep = |i: usize, j: usize| j as isize - i as isize <= d;
        let lower: Vec<f32> = (0..n * n).map(|p| if keep(p / n, p % n) { v[p] } else { 0.0 }).collect();
        let upper: Vec<f32> = (0..n * n).map(|p| if (p % n) as isize - (p / n) as isize >= d { v[p] } else { 0.0 }).collect();
        same(&x.tril(d), &lower);
        same(&x.triu(d), &upper);
    }
    let i = Tensor::arange(n as i64).unsqueeze(1);
    let j = Tensor::arange(n as i64);
    type Test = fn(i64, i64) -> bool;
    let tests: [(Tensor, Test); 6] = [
        ((&i * 2 + 5).lt(&j), |i, j| i * 2 + 5 < j),
        ((&i - &j).le(-7), |i, j| i - j <= -7),
        (j.eq(&i), |i, j| i == j),
        (j.ne(&(&i + 1)), |i, j| j != i + 1),
        ((&i * 3).ge(&(&j - 2)), |i, j| i * 3 >= j - 2),
        (j.gt(&(&i * 10 + 1000)), |i, j| j > i * 10 + 1000),
    ];
    for (k, (got, want)) in tests.iter().enumerate() {
        let want: Vec<bool> = (0..n * n).map(|p| want((p / n) as i64, (p % n) as i64)).collect();
        let got = got.broadcast_to([n, n]).to_vec::<bool>().unwrap();
        assert!(got == want, "test {k}");
    }
}

#[test]
fn a_matrix_times_a_vector() {
    for (m, k) in [(1usize, 1usize), (3, 7), (32, 100), (65, 33), (130, 16), (5, 9000), (700, 64)] {
        let a: Vec<f32> = (0..m * k).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let x: Vec<f32> = (0..k).map(|i| ((i * 53) % 97) as f32 / 48.0 - 1.0).collect();
        let y: Vec<f32> = (0..m).map(|i| ((i * 29) % 89) as f32 / 44.0 - 1.0).collect();
        let (ta, tx, ty) = (Tensor::from_vec(a.clone(), [m, k]), Tensor::from_slice(&x, [k]), Tensor::from_slice(&y, [m]));
        let dot = |row: &mut dyn Iterator<Item = (f32, f32)>| row.map(|(a, b)| a as f64 * b as f64).sum::<f64>() as f32;
        let ax: Vec<f32> = (0..m).map(|i| dot(&mut (0..k).map(|j| (a[i * k + j], x[j])))).collect();
        let ya: Vec<f32> = (0..k).map(|j| dot(&mut (0..m).map(|i| (a[i * k + j], y[i])))).collect();
        let tolerance = 1e-6 * (m.max(k) as f32).sqrt();
        near(&ta.matmul(&tx), &ax, tolerance);
        near(&ta.t().matmul(&ty), &ya, tolerance);
        near(&ty.matmul(&ta), &ya, tolerance);
        near(&tx.matmul(&ta.t()), &ax, tolerance);
        // From a place that a computed number names, and into every second element.
        let two = Tensor::stack(&[&ta, &(&ta * 2.0)], 0);
        two.eval().unwrap();
        let second = two.index_select(0, &Tensor::from_vec(vec![1i64], [1])).reshape([m as isize, k as isize]);
        near(&second.matmul(&tx), &ax.iter().map(|v| v * 2.0).collect::<Vec<_>>(), tolerance);
        near(&grad(|w: &Tensor| (ta.matmul(w) * &ty).sum(..), &tx), &ya, tolerance);
    }
}

#[test]
fn loops_over_many_elements() {
    let n = 10_007;
    let (x, v) = numbers([1, 1, n]);
    let x = x.reshape([n as isize]);
    let c = &x / 1000.0;
    // A number that each iteration has, numbers for all, and a carried value that does not change.
    let f =
        |x: &Tensor| fori_loop(0..37, (x.clone(), Tensor::zeros([n])), |i, (x, s)| ((&x * 0.9 + &c * i.cast(DType::F32)).sin(), s + &x)).1;
    let (mut state, mut sum) = (v.clone(), vec![0f32; n]);
    for i in 0..37 {
        for ((x, s), v) in state.iter_mut().zip(&mut sum).zip(&v) {
            *s += *x;
            *x = (*x * 0.9 + v / 1000.0 * i as f32).sin();
        }
    }
    near(&f(&x), &sum, 1e-4);
    // Rows in and out, forwards and backwards.
    let rows = Tensor::arange(21i64).cast(DType::F32).reshape([21, 1]) + x.unsqueeze(0);
    rows.eval().unwrap();
    let given = read(&rows);
    let step = |s: Tensor, row: Tensor| {
        let s = s * 0.5 + row;
        (s.clone(), &s * 2.0)
    };
    for reverse in [false, true] {
        let (last, out) = if reverse { scan_reversed(Tensor::zeros([n]), &rows, step) } else { scan(Tensor::zeros([n]), &rows, step) };
        let (mut s, mut want) = (vec![0f32; n], vec![0f32; 21 * n]);
        for t in 0..21 {
            let t = if reverse { 20 - t } else { t };
            for i in 0..n {
                s[i] = s[i] * 0.5 + given[t * n + i];
                want[t * n + i] = s[i] * 2.0;
            }
        }
        near(&last, &s, 1e-6);
        near(&out, &want, 1e-6);
    }
    // The gradient is a loop too: d/dx of x after n halvings and additions.
    let g = grad(|x: &Tensor| scan(x.clone(), &rows, step).0.sum(..), &x);
    near(&g, &vec![0.5f32.powi(21); n], 1e-6);
    // A condition that three carried values read.
    let escape = |(z, count, most): (Tensor, Tensor, Tensor)| {
        let alive = z.abs().le(2.0);
        let next = Tensor::where_(&alive, &z * &z + &c, &z);
        (next, count + &alive, Tensor::where_(&alive, z.abs(), &most))
    };
    let zero = Tensor::zeros([n]);
    let (_, count, most) = fori_loop(0..20, (zero.clone(), zero.clone(), zero), |_, s| escape(s));
    let (mut counts, mut largest) = (vec![0f32; n], vec![0f32; n]);
    for i in 0..n {
        let mut z = 0f32;
        for _ in 0..20 {
            if z.abs() <= 2.0 {
                largest[i] = z.abs();
                counts[i] += 1.0;
                z = z * z + v[i] / 1000.0;
            }
        }
    }
    near(&count, &counts, 0.0);
    near(&most, &largest, 1e-4);
    let swap = fori_loop(0..5, (x.clone(), &x * 2.0), |_, (a, b)| (b, a));
    near(&swap.0, &v.iter().map(|x| x * 2.0).collect::<Vec<_>>(), 0.0);
}
