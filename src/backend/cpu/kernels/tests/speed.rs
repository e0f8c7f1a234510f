//! Nanoseconds per element of a tile in L1: `cargo test --release kernels::tests::speed -- --ignored --nocapture`.

use super::super::{ACC_LANES, Isa, MulAdd, Reduction, Scalars, TileFn, TileOp, lookup_for};
use super::{Rng, isas};
use crate::base::DType;
use crate::trace::elementwise::{Binary, Compare, Unary};
use std::time::Instant;

const N: usize = 128;

/// The best of several rounds of `f` over tiles of `N` elements (8 bytes each in memory, so that any dtype fits).
fn time(f: TileFn, tiles: &mut [Vec<u64>; 4]) -> f64 {
    let [d, a, b, c] = tiles;
    let (d, a, b, c) = (d.as_mut_ptr().cast::<u8>(), a.as_ptr().cast::<u8>(), b.as_ptr().cast::<u8>(), c.as_ptr().cast::<u8>());
    let mut best = f64::INFINITY;
    for _ in 0..30 {
        let start = Instant::now();
        for _ in 0..300 {
            // SAFETY: every tile has N elements of the widest type.
            unsafe { std::hint::black_box(f)(d, a, b, c, N) };
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / (300 * N) as f64);
    }
    best
}

/// A tile of numbers between 0.5 and 2 of `dtype` (Bool: both values).
fn tile(dtype: DType, rng: &mut Rng) -> Vec<u64> {
    let mut v = vec![0u64; N.max(ACC_LANES)];
    // SAFETY: the vector's bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast::<u8>(), v.len() * 8) };
    for k in 0..N {
        let x = crate::base::Scalar::Float(if dtype == DType::Bool { rng.below(2) as f64 } else { 0.5 + 1.5 * rng.unit() });
        x.write(dtype, &mut bytes[k * dtype.size()..]);
    }
    v
}

#[test]
#[ignore = "asserts nothing, prints times: cargo test --release --lib -- --ignored kernels::tests::speed --nocapture"]
fn speed() {
    use DType::*;
    let mut ops: Vec<(TileOp, Scalars)> = Vec::new();
    let tiles = |op| (op, Scalars::NONE);
    ops.extend(Unary::ALL.iter().filter(|u| u.accepts(F32)).map(|&u| tiles(TileOp::Unary(u, F32))));
    ops.extend(Binary::ALL.iter().filter(|u| u.accepts(F32)).map(|&u| tiles(TileOp::Binary(u, F32))));
    ops.push((TileOp::Binary(Binary::Mul, F32), Scalars::B));
    ops.push(tiles(TileOp::MulAdd(MulAdd::Add, F32)));
    ops.push((TileOp::MulAdd(MulAdd::Add, F32), Scalars::BC));
    ops.push(tiles(TileOp::Compare(Compare::Lt, F32)));
    ops.push(tiles(TileOp::Select(F32)));
    for d in [F64, I32, I64, U32, U8] {
        for u in [Unary::Neg, Unary::Abs, Unary::Sign] {
            ops.push(tiles(TileOp::Unary(u, d)));
        }
        for b in Binary::ALL.iter().filter(|b| b.accepts(d)) {
            ops.push(tiles(TileOp::Binary(*b, d)));
        }
        ops.push(tiles(TileOp::Compare(Compare::Lt, d)));
        ops.push(tiles(TileOp::Select(d)));
    }
    ops.push(tiles(TileOp::MulAdd(MulAdd::Add, F64)));
    for from in DType::ALL {
        for to in DType::ALL {
            if from != to {
                ops.push(tiles(TileOp::Cast { from, to }));
            }
        }
    }
    for d in [F32, F64, I32, I64, U32, U8] {
        for r in [Reduction::Sum, Reduction::Prod, Reduction::Max, Reduction::Min] {
            ops.push(tiles(TileOp::Accumulate(r, d)));
        }
        ops.push(tiles(TileOp::Fold(Reduction::Sum, d)));
    }
    ops.push(tiles(TileOp::AccumulateMulAdd(F32)));
    ops.push(tiles(TileOp::AccumulateMulAdd(F64)));

    let isas: Vec<Isa> = isas();
    println!("ns per element, tiles of {N}: {isas:?}");
    for (op, scalars) in ops {
        let dtype = match op {
            TileOp::Unary(_, d) | TileOp::Binary(_, d) | TileOp::Compare(_, d) | TileOp::Select(d) | TileOp::MulAdd(_, d) => d,
            TileOp::Accumulate(_, d) | TileOp::AccumulateMulAdd(d) | TileOp::Fold(_, d) => d,
            TileOp::Cast { from, .. } => from,
            _ => F32,
        };
        let mut rng = Rng(3);
        let first = if matches!(op, TileOp::Select(_)) { Bool } else { dtype };
        let mut data = [tile(dtype, &mut rng), tile(first, &mut rng), tile(dtype, &mut rng), tile(dtype, &mut rng)];
        let times: Vec<String> =
            isas.iter().map(|&isa| format!("{:7.3}", time(lookup_for(isa, op, scalars).unwrap(), &mut data))).collect();
        println!("{} {op:?} {}", times.join(" "), if scalars == Scalars::NONE { String::new() } else { format!("{scalars:?}") });
    }
}
