//! Superinstructions against their parts, bit for bit; whole rows against rows one by one.

use super::super::reduce::rows_for;
use super::super::{First, Inner, Isa, MulAdd, Reduction, Scalars, Then, TileOp, fused_functions, lookup_for};
use super::{EDGES, Rng, isas};
use crate::base::DType::F32;
use crate::trace::elementwise::{Binary, Compare, Unary};

const N: usize = 203;

fn numbers(rng: &mut Rng) -> Vec<f32> {
    (0..N)
        .map(|_| match rng.below(5) {
            0 => EDGES[rng.below(EDGES.len())] as f32,
            1 => (rng.unit() as f32 - 0.5) * 1e-3,
            _ => (rng.unit() as f32 - 0.5) * 9.0,
        })
        .collect()
}

/// Runs a kernel of f32 tiles.
fn run(isa: Isa, op: TileOp, x: [&[f32]; 3], n: usize) -> Vec<f32> {
    let kernel = lookup_for(isa, op, Scalars::NONE).unwrap_or_else(|| panic!("{op:?} is missing on {isa:?}"));
    let mut y = vec![0f32; n];
    // SAFETY: all have n elements.
    unsafe { kernel(y.as_mut_ptr().cast(), x[0].as_ptr().cast(), x[1].as_ptr().cast(), x[2].as_ptr().cast(), n) };
    y
}

fn compare(isa: Isa, test: Compare, a: &[f32], b: &[f32], n: usize) -> Vec<bool> {
    let mut holds = vec![0u8; n];
    let f = lookup_for(isa, TileOp::Compare(test, F32), Scalars::NONE).unwrap();
    // SAFETY: all have n elements.
    unsafe { f(holds.as_mut_ptr(), a.as_ptr().cast(), b.as_ptr().cast(), a.as_ptr().cast(), n) };
    holds.iter().map(|&h| h == 1).collect()
}

fn first(isa: Isa, f: First, a: &[f32], b: &[f32], n: usize) -> Vec<f32> {
    let op = match f {
        First::Add => Binary::Add,
        First::Sub => Binary::Sub,
        First::Mul => Binary::Mul,
    };
    run(isa, TileOp::Binary(op, F32), [a, b, a], n)
}

/// What the parts of `op` give.
fn parts(isa: Isa, op: TileOp, [a, b, c]: [&[f32]; 3], n: usize) -> Vec<f32> {
    let neg = |x: &[f32]| run(isa, TileOp::Unary(Unary::Neg, F32), [x; 3], n);
    match op {
        TileOp::NegMul => neg(&first(isa, First::Mul, a, b, n)),
        TileOp::Greater => (0..n).map(|i| if a[i] > b[i] || a[i].is_nan() { a[i] } else { b[i] }).collect(),
        TileOp::Finite => {
            let x = parts(isa, TileOp::Limit(Compare::Lt, Compare::Gt), [a, &neg(b), b], n);
            parts(isa, TileOp::PickBy(Compare::Ne, false), [&x, &x, c], n)
        }
        TileOp::SignOrZero => {
            let zeros = vec![0.0; n];
            run(isa, TileOp::Unary(Unary::Sign, F32), [&parts(isa, TileOp::PickBy(Compare::Ne, false), [a, a, &zeros], n); 3], n)
        }
        TileOp::Of(u, inner) => {
            let x = match inner {
                Inner::Neg => neg(a),
                Inner::Add => first(isa, First::Add, a, b, n),
                Inner::Sub => first(isa, First::Sub, a, b, n),
                Inner::Mul => first(isa, First::Mul, a, b, n),
                Inner::NegMul => neg(&first(isa, First::Mul, a, b, n)),
                Inner::MulAdd => run(isa, TileOp::MulAdd(MulAdd::Add, F32), [a, b, c], n),
            };
            run(isa, TileOp::Unary(u, F32), [&x; 3], n)
        }
        TileOp::Steps(f, t) => {
            let x = first(isa, f, a, b, n);
            match t {
                Then::Add => first(isa, First::Add, &x, c, n),
                Then::Sub => first(isa, First::Sub, &x, c, n),
                Then::From => first(isa, First::Sub, c, &x, n),
                Then::Mul => first(isa, First::Mul, &x, c, n),
                Then::Div => run(isa, TileOp::Binary(Binary::Div, F32), [&x, c, c], n),
            }
        }
        TileOp::PickBy(test, keep) => {
            let holds = compare(isa, test, a, b, n);
            (0..n).map(|i| if holds[i] == keep { a[i] } else { c[i] }).collect()
        }
        TileOp::PickByMagnitude(test, keep) => {
            let holds = compare(isa, test, &run(isa, TileOp::Unary(Unary::Abs, F32), [a; 3], n), b, n);
            (0..n).map(|i| if holds[i] == keep { a[i] } else { c[i] }).collect()
        }
        TileOp::Limit(one, two) => {
            let x = parts(isa, TileOp::PickBy(one, false), [a, b, b], n);
            parts(isa, TileOp::PickBy(two, false), [&x, c, c], n)
        }
        TileOp::PickOrScaled(test) => {
            let (holds, scaled) = (compare(isa, test, a, c, n), first(isa, First::Mul, a, b, n));
            (0..n).map(|i| if holds[i] { a[i] } else { scaled[i] }).collect()
        }
        TileOp::NegateBelow => {
            let (holds, minus) = (compare(isa, Compare::Lt, b, c, n), neg(a));
            (0..n).map(|i| if holds[i] { minus[i] } else { a[i] }).collect()
        }
        _ => unreachable!(),
    }
}

fn same(x: f32, y: f32) -> bool {
    x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan())
}

fn supers() -> Vec<(TileOp, usize)> {
    let mut out = vec![(TileOp::NegMul, 2), (TileOp::Greater, 2), (TileOp::SignOrZero, 1)];
    out.extend(Compare::ALL.iter().flat_map(|&c| [true, false].map(|keep| (TileOp::PickBy(c, keep), 3))));
    for &u in fused_functions() {
        for (inner, n) in [(Inner::Neg, 1), (Inner::Add, 2), (Inner::Sub, 2), (Inner::Mul, 2), (Inner::NegMul, 2), (Inner::MulAdd, 3)] {
            out.push((TileOp::Of(u, inner), n));
        }
    }
    for f in [First::Add, First::Sub] {
        out.extend([Then::Add, Then::Sub, Then::From, Then::Mul, Then::Div].map(|t| (TileOp::Steps(f, t), 3)));
    }
    out.push((TileOp::Steps(First::Mul, Then::Mul), 3));
    out.push((TileOp::Steps(First::Mul, Then::Div), 3));
    out.extend([Compare::Le, Compare::Gt].into_iter().flat_map(|c| [true, false].map(|keep| (TileOp::PickByMagnitude(c, keep), 3))));
    let (below, above) = ([Compare::Lt, Compare::Le], [Compare::Gt, Compare::Ge]);
    out.extend(below.into_iter().zip(above).flat_map(|(x, y)| [(TileOp::Limit(x, y), 3), (TileOp::Limit(y, x), 3)]));
    out.extend(below.into_iter().chain(above).map(|c| (TileOp::PickOrScaled(c), 3)));
    out.extend([(TileOp::NegateBelow, 3), (TileOp::Finite, 3)]);
    out
}

#[test]
fn chains_are_their_parts() {
    let mut rng = Rng(11);
    for isa in isas() {
        for (op, operands) in supers() {
            for mix in 0..8 {
                let one = [mix & 1 != 0, mix & 2 != 0, mix & 4 != 0];
                let scalars = Scalars { a: one[0], b: one[1], c: one[2] };
                let Some(kernel) = lookup_for(isa, op, scalars) else {
                    assert!(mix != 0, "{op:?} is missing on {isa:?}");
                    continue;
                };
                assert!(one.iter().skip(operands).all(|x| !x), "{op:?} takes {operands} operands");
                for n in [1, 5, 8, 64, N] {
                    let x: Vec<Vec<f32>> = (0..3).map(|_| numbers(&mut rng)).collect();
                    let spread: Vec<Vec<f32>> = x.iter().zip(one).map(|(x, one)| if one { vec![x[0]; N] } else { x.clone() }).collect();
                    let want = parts(isa, op, [&spread[0], &spread[1], &spread[2]], n);
                    let mut got = vec![7f32; N];
                    // SAFETY: all have n elements.
                    unsafe { kernel(got.as_mut_ptr().cast(), x[0].as_ptr().cast(), x[1].as_ptr().cast(), x[2].as_ptr().cast(), n) };
                    for i in 0..N {
                        let want = if i < n { want[i] } else { 7.0 };
                        assert!(same(got[i], want), "{op:?} {scalars:?} on {isa:?}, element {i} of {n}: {} not {want}", got[i]);
                    }
                }
            }
        }
    }
}

#[test]
fn comparisons_and_flags() {
    let mut rng = Rng(12);
    for isa in isas() {
        for &op in Compare::ALL {
            for f in [First::Add, First::Sub, First::Mul] {
                for (b1, c1) in [(false, false), (true, false), (false, true), (true, true)] {
                    let scalars = Scalars { a: false, b: b1, c: c1 };
                    let kernel = lookup_for(isa, TileOp::CompareOf(op, f), scalars).unwrap();
                    let plain = lookup_for(isa, TileOp::Compare(op, F32), Scalars::NONE).unwrap();
                    for n in [1, 7, 16, N] {
                        let x: Vec<Vec<f32>> = (0..3).map(|_| numbers(&mut rng)).collect();
                        let b = if b1 { vec![x[1][0]; N] } else { x[1].clone() };
                        let c = if c1 { vec![x[2][0]; N] } else { x[2].clone() };
                        let sum = first(isa, f, &x[0], &b, n);
                        let (mut got, mut want) = ([7u8; N], [7u8; N]);
                        // SAFETY: all have n elements.
                        unsafe {
                            kernel(got.as_mut_ptr(), x[0].as_ptr().cast(), x[1].as_ptr().cast(), x[2].as_ptr().cast(), n);
                            plain(want.as_mut_ptr(), sum.as_ptr().cast(), c.as_ptr().cast(), c.as_ptr().cast(), n);
                        }
                        assert_eq!(got, want, "{op:?} of {f:?} {scalars:?} on {isa:?}");
                    }
                }
            }
        }
        let kernel = lookup_for(isa, TileOp::AddFlag, Scalars::NONE).unwrap();
        for n in [1, 7, 16, N] {
            let (x, flags) = (numbers(&mut rng), (0..N).map(|_| rng.below(2) as u8).collect::<Vec<_>>());
            let mut got = vec![7f32; N];
            // SAFETY: all have n elements.
            unsafe { kernel(got.as_mut_ptr().cast(), x.as_ptr().cast(), flags.as_ptr(), flags.as_ptr(), n) };
            for i in 0..N {
                assert!(same(got[i], if i < n { x[i] + flags[i] as f32 } else { 7.0 }));
            }
        }
    }
}

#[test]
fn squares() {
    let mut rng = Rng(13);
    for isa in isas() {
        let squares = lookup_for(isa, TileOp::AccumulateSquares, Scalars::B).unwrap();
        let products = lookup_for(isa, TileOp::AccumulateMulAdd(F32), Scalars::NONE).unwrap();
        for n in [1, 5, 63, 64, 65, 128, N] {
            let (x, mean) = (numbers(&mut rng), 0.25f32);
            let d = first(isa, First::Sub, &x, &vec![mean; N], n);
            let (mut got, mut want) = ([0f32; 64], [0f32; 64]);
            // SAFETY: accumulators have 64 elements, tiles n.
            unsafe {
                squares(got.as_mut_ptr().cast(), x.as_ptr().cast(), (&raw const mean).cast(), std::ptr::null(), n);
                products(want.as_mut_ptr().cast(), d.as_ptr().cast(), d.as_ptr().cast(), std::ptr::null(), n);
            }
            assert!(got.iter().zip(want).all(|(&g, w)| same(g, w)), "{n} elements on {isa:?}");
        }
    }
}

#[test]
fn sums_of_steps() {
    let mut rng = Rng(15);
    for isa in isas() {
        let plain = lookup_for(isa, TileOp::Accumulate(Reduction::Sum, F32), Scalars::NONE).unwrap();
        let (x, y) = (numbers(&mut rng), numbers(&mut rng));
        for n in [1, 5, 63, 64, 65, 128, N] {
            let step = |f| first(isa, f, &x, &y, n);
            let cases = [
                (TileOp::AccumulateOf(First::Add, false), step(First::Add), 1.0),
                (TileOp::AccumulateOf(First::Add, true), step(First::Add), -1.0),
                (TileOp::AccumulateOf(First::Sub, false), step(First::Sub), 1.0),
                (TileOp::AccumulateOf(First::Sub, true), step(First::Sub), -1.0),
                (TileOp::AccumulateNeg, x.to_vec(), -1.0),
            ];
            for (op, values, sign) in cases {
                let values: Vec<f32> = values.iter().map(|v| sign * v).collect();
                let (mut got, mut want) = ([0f32; 64], [0f32; 64]);
                let null = std::ptr::null();
                // SAFETY: accumulators have 64 elements, tiles n.
                unsafe {
                    lookup_for(isa, op, Scalars::NONE).unwrap()(got.as_mut_ptr().cast(), x.as_ptr().cast(), y.as_ptr().cast(), null, n);
                    plain(want.as_mut_ptr().cast(), values.as_ptr().cast(), null, null, n);
                }
                assert!(got.iter().zip(want).all(|(&g, w)| same(g, w)), "{op:?} of {n} elements on {isa:?}");
            }
        }
    }
}

#[test]
fn rows_are_added_in_order() {
    let mut rng = Rng(14);
    for isa in isas() {
        for (kind, op) in
            [(Reduction::Sum, Binary::Add), (Reduction::Prod, Binary::Mul), (Reduction::Max, Binary::Max), (Reduction::Min, Binary::Min)]
        {
            let rows = rows_for(isa, kind, F32).unwrap();
            for (n, count) in [(1, 3), (31, 9), (40, 64), (N, 6), (64, 1)] {
                let x: Vec<Vec<f32>> = (0..count).map(|_| numbers(&mut rng)).collect();
                let flat: Vec<f32> = x.concat();
                let mut got: Vec<f32> = numbers(&mut rng)[..n].to_vec();
                let mut want = got.clone();
                for row in &x {
                    want = run(isa, TileOp::Binary(op, F32), [&want, row, row], n);
                }
                // SAFETY: the accumulator has n elements, each row more.
                unsafe { rows(got.as_mut_ptr().cast(), flat.as_ptr().cast(), N as isize * 4, count, n) };
                assert!(got.iter().zip(&want).all(|(&g, &w)| same(g, w)), "{kind:?}: {count} rows of {n} on {isa:?}");
            }
        }
    }
}
