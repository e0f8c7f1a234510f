//! Reductions, argument searches, moves and random bits.

#![allow(clippy::needless_range_loop)]

use super::super::arg::{ArgState, arg_extreme_for, arg_lanes_for};
use super::super::{ACC_LANES, Reduction, Scalars, TileOp, lookup_for, moves, philox, reduce};
use super::{Rng, isas};
use crate::base::{DType, Scalar};
use std::ptr::null;

const REDUCTIONS: [Reduction; 4] = [Reduction::Sum, Reduction::Prod, Reduction::Max, Reduction::Min];

/// Reduces a row as a caller would: accumulate in tiles, then fold.
fn reduce_row<T: Copy + Default>(isa: super::Isa, r: Reduction, dtype: DType, row: &[T], tile: usize) -> T {
    let accumulate = lookup_for(isa, TileOp::Accumulate(r, dtype), Scalars::NONE).unwrap();
    let fold = lookup_for(isa, TileOp::Fold(r, dtype), Scalars::NONE).unwrap();
    let mut start = [0u8; 8];
    reduce::identity(r, dtype).write(dtype, &mut start);
    // SAFETY: start holds one T.
    let mut acc = [unsafe { start.as_ptr().cast::<T>().read_unaligned() }; ACC_LANES];
    for tile in row.chunks(tile) {
        // SAFETY: the lanes and the tile have the lengths named.
        unsafe { accumulate(acc.as_mut_ptr().cast(), tile.as_ptr().cast(), null(), null(), tile.len()) };
    }
    let mut out = T::default();
    // SAFETY: as above.
    unsafe { fold((&raw mut out).cast(), acc.as_ptr().cast(), null(), null(), ACC_LANES) };
    // Whole rows at once come to the same, bit for bit.
    let (mut at_once, bytes) = ([T::default(); 2], std::mem::size_of_val(row));
    let whole = reduce::whole_for(isa, r, dtype).unwrap();
    let both = [row, row].concat();
    let step = std::mem::size_of::<T>();
    // SAFETY: two rows that follow each other, two results.
    unsafe { whole(at_once.as_mut_ptr().cast(), step, both.as_ptr().cast(), bytes as isize, 2, row.len(), u64::from_ne_bytes(start)) };
    let bits = |x: &T| -> Vec<u8> {
        // SAFETY: the bytes of a number.
        unsafe { std::slice::from_raw_parts((x as *const T).cast::<u8>(), step) }.to_vec()
    };
    assert!(at_once.iter().all(|x| bits(x) == bits(&out)), "{r:?} of {} {dtype} on {isa:?}", row.len());
    out
}

#[test]
fn rows_reduce_alike_everywhere() {
    let mut rng = Rng(5);
    for n in [1, 7, 63, 64, 65, 128, 200, 300, 1000] {
        let floats: Vec<f32> = (0..n).map(|_| (rng.unit() * 2.0 - 0.9) as f32).collect();
        let doubles: Vec<f64> = floats.iter().map(|&x| x as f64).collect();
        let ints: Vec<i32> = (0..n).map(|_| rng.next() as i32).collect();
        let longs: Vec<i64> = (0..n).map(|_| rng.next() as i64).collect();
        let bytes: Vec<u8> = (0..n).map(|_| rng.next() as u8).collect();
        let flags: Vec<u8> = (0..n).map(|_| (rng.below(50) == 0) as u8).collect();
        for r in REDUCTIONS {
            let first = reduce_row(super::Isa::Plain, r, DType::F32, &floats, 128);
            for isa in isas() {
                for tile in [64, 128, 256, 1024] {
                    assert_eq!(reduce_row(isa, r, DType::F32, &floats, tile).to_bits(), first.to_bits(), "{r:?} of {n} on {isa:?}");
                }
                let exact = match r {
                    Reduction::Sum => doubles.iter().sum::<f64>(),
                    Reduction::Prod => doubles.iter().product(),
                    Reduction::Max => doubles.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    Reduction::Min => doubles.iter().copied().fold(f64::INFINITY, f64::min),
                };
                assert!((first as f64 - exact).abs() <= 1e-5 * exact.abs().max(1.0), "{r:?} of {n}: {first}, not {exact}");
                let got = reduce_row(isa, r, DType::F64, &doubles, 128);
                assert!((got - exact).abs() <= 1e-13 * exact.abs().max(1.0));
                macro_rules! ints {
                    ($v:expr, $t:ty, $d:expr) => {{
                        let want = match r {
                            Reduction::Sum => $v.iter().fold(0 as $t, |a, &x| a.wrapping_add(x as $t)),
                            Reduction::Prod => $v.iter().fold(1 as $t, |a, &x| a.wrapping_mul(x as $t)),
                            Reduction::Max => *$v.iter().max().unwrap() as $t,
                            Reduction::Min => *$v.iter().min().unwrap() as $t,
                        };
                        assert_eq!(reduce_row(isa, r, $d, $v, 128), want, "{r:?} of {n} {:?} on {isa:?}", $d);
                    }};
                }
                ints!(&ints, i32, DType::I32);
                ints!(&longs, i64, DType::I64);
                ints!(&ints.iter().map(|&x| x as u32).collect::<Vec<_>>(), u32, DType::U32);
                ints!(&bytes, u8, DType::U8);
                if matches!(r, Reduction::Max | Reduction::Min) {
                    ints!(&flags, u8, DType::Bool);
                }
            }
        }
    }
}

#[test]
fn extremes_keep_nan() {
    for isa in isas() {
        let mut row = vec![1.0f32; 100];
        row[70] = f32::NAN;
        assert!(reduce_row(isa, Reduction::Max, DType::F32, &row, 64).is_nan());
        assert!(reduce_row(isa, Reduction::Min, DType::F32, &row, 64).is_nan());
        let row: Vec<f64> = row.iter().map(|&x| x as f64).collect();
        assert!(reduce_row(isa, Reduction::Max, DType::F64, &row, 64).is_nan());
    }
}

#[test]
fn products_accumulate() {
    let mut rng = Rng(6);
    for isa in isas() {
        for n in [1, 30, 64, 100, 256, 300] {
            let x: Vec<f32> = (0..n).map(|_| rng.unit() as f32).collect();
            let y: Vec<f32> = (0..n).map(|_| rng.unit() as f32 - 0.5).collect();
            let kernel = lookup_for(isa, TileOp::AccumulateMulAdd(DType::F32), Scalars::NONE).unwrap();
            let mut acc = [0f32; ACC_LANES];
            // SAFETY: the lanes and the tiles have the lengths named.
            unsafe { kernel(acc.as_mut_ptr().cast(), x.as_ptr().cast(), y.as_ptr().cast(), null(), n) };
            for lane in 0..ACC_LANES {
                let want: f64 = (lane..n).step_by(ACC_LANES).map(|i| x[i] as f64 * y[i] as f64).sum();
                assert!((acc[lane] as f64 - want).abs() < 1e-6);
            }
            let (x, y): (Vec<f64>, Vec<f64>) = (x.iter().map(|&v| v as f64).collect(), y.iter().map(|&v| v as f64).collect());
            let kernel = lookup_for(isa, TileOp::AccumulateMulAdd(DType::F64), Scalars::NONE).unwrap();
            let mut acc = [0f64; ACC_LANES];
            // SAFETY: as above.
            unsafe { kernel(acc.as_mut_ptr().cast(), x.as_ptr().cast(), y.as_ptr().cast(), null(), n) };
            for lane in 0..ACC_LANES {
                let want: f64 = (lane..n).step_by(ACC_LANES).map(|i| x[i] * y[i]).sum();
                assert!((acc[lane] - want).abs() < 1e-14);
            }
        }
    }
}

#[test]
fn a_fold_of_few_elements() {
    for n in 1..130usize {
        let x: Vec<i64> = (0..n as i64).map(|i| i * i).collect();
        let fold = lookup_for(super::Isa::Plain, TileOp::Fold(Reduction::Sum, DType::I64), Scalars::NONE).unwrap();
        let mut out = 0i64;
        // SAFETY: x has n elements.
        unsafe { fold((&raw mut out).cast(), x.as_ptr().cast(), null(), null(), n) };
        assert_eq!(out, x.iter().sum::<i64>());
        // The tree for every length is the one described, spelt out in f32 where order shows.
        let x: Vec<f32> = x.iter().map(|&x| (x as f32 + 0.1).sqrt()).collect();
        let mut lanes: Vec<f32> =
            (0..n.min(ACC_LANES)).map(|lane| (lane..n).step_by(ACC_LANES).map(|i| x[i]).reduce(|a, b| a + b).unwrap()).collect();
        for m in [32, 16, 8, 4, 2, 1] {
            for i in 0..m {
                if i + m < lanes.len() {
                    lanes[i] += lanes[i + m];
                }
            }
        }
        let fold = lookup_for(super::Isa::Plain, TileOp::Fold(Reduction::Sum, DType::F32), Scalars::NONE).unwrap();
        let mut out = 0f32;
        // SAFETY: as above.
        unsafe { fold((&raw mut out).cast(), x.as_ptr().cast(), null(), null(), n) };
        assert_eq!(out.to_bits(), lanes[0].to_bits());
    }
}

#[test]
fn argument_of_the_extreme() {
    let mut rng = Rng(7);
    for isa in isas() {
        for max in [true, false] {
            for n in [1, 5, 16, 64, 100, 500] {
                let mut x: Vec<f32> = (0..n).map(|_| rng.below(40) as f32 - 20.0).collect();
                for nan in [false, true] {
                    if nan {
                        for _ in 0..3 {
                            let at = rng.below(n);
                            x[at] = f32::NAN;
                        }
                    }
                    let want = x.iter().position(|v| v.is_nan()).unwrap_or_else(|| {
                        let best = x.iter().copied().fold(x[0], if max { f32::max } else { f32::min });
                        x.iter().position(|&v| v == best).unwrap()
                    });
                    let search = arg_extreme_for(isa, max, DType::F32).unwrap();
                    let mut state = ArgState::EMPTY;
                    for (k, tile) in x.chunks(48).enumerate() {
                        // SAFETY: the tile has that many elements.
                        unsafe { search(&mut state, tile.as_ptr().cast(), (k * 48) as i64, tile.len()) };
                    }
                    assert_eq!(state.index(), Some(want as i64), "max {max}, {n} elements, {isa:?}");
                    assert_eq!(f32::from_ne_bytes(state.value()[..4].try_into().unwrap()).to_bits(), x[want].to_bits());

                    // The same rows as lanes of a tile, one row after another.
                    let lanes = arg_lanes_for(isa, max, DType::F32).unwrap();
                    let (mut values, mut indices) = (vec![0f32; 21], vec![-1i64; 21]);
                    for (k, &v) in x.iter().enumerate() {
                        let row = [v; 21];
                        // SAFETY: all have 21 elements.
                        unsafe { lanes(values.as_mut_ptr().cast(), indices.as_mut_ptr(), row.as_ptr().cast(), k as i64, 21) };
                    }
                    assert_eq!(indices, vec![want as i64; 21]);
                }
            }
        }
        for (dtype, row, want) in [
            (DType::I64, [3, i64::MIN, 9, 9].iter().flat_map(|x: &i64| x.to_ne_bytes()).collect::<Vec<u8>>(), [2, 1]),
            (DType::Bool, vec![0, 1, 1, 0], [1, 0]),
            (DType::U32, [5u32, u32::MAX, 0].iter().flat_map(|x| x.to_ne_bytes()).collect(), [1, 2]),
        ] {
            for max in [true, false] {
                let aligned: Vec<u64> = row
                    .chunks(8)
                    .map(|c| {
                        let mut b = [0; 8];
                        b[..c.len()].copy_from_slice(c);
                        u64::from_ne_bytes(b)
                    })
                    .collect();
                let mut state = ArgState::EMPTY;
                assert_eq!(state.index(), None);
                // SAFETY: the row has that many elements.
                unsafe { arg_extreme_for(isa, max, dtype).unwrap()(&mut state, aligned.as_ptr().cast(), 0, row.len() / dtype.size()) };
                assert_eq!(state.index(), Some(want[!max as usize]));
            }
        }
    }
}

#[test]
fn moves_move() {
    let src: Vec<u64> = (0..4096u64).map(|i| i.wrapping_mul(0x0101_0101_0101_0101) ^ (i << 40)).collect();
    for size in [1usize, 2, 4, 8] {
        let at = |p: &[u64], i: usize| -> u64 {
            // SAFETY: i is within the data.
            let b = unsafe { std::slice::from_raw_parts(p.as_ptr().cast::<u8>().add(i * size), size) };
            b.iter().rev().fold(0, |x, &b| x << 8 | b as u64)
        };
        let base = src.as_ptr().cast::<u8>();
        for n in [1usize, 5, 16, 33, 200] {
            let mut dst = vec![0u64; 4096];
            let d = dst.as_mut_ptr().cast::<u8>();
            // SAFETY: all indices below stay within the buffers, which are aligned to 8 bytes.
            unsafe {
                moves::load_strided(d, base, 3, n, size);
                assert!((0..n).all(|i| at(&dst, i) == at(&src, 3 * i)));
                moves::load_strided(d, base.add((n - 1) * size), -1, n, size);
                assert!((0..n).all(|i| at(&dst, i) == at(&src, n - 1 - i)));
                moves::store_strided(d, 5, base, n, size);
                assert!((0..n).all(|i| at(&dst, 5 * i) == at(&src, i)));
                let index: Vec<i64> = (0..n as i64).map(|i| i * 7 % 31).collect();
                moves::gather_i64(d, base, index.as_ptr(), 2, n, size);
                assert!((0..n).all(|i| at(&dst, i) == at(&src, 2 * index[i] as usize)));
                let index: Vec<i32> = index.iter().map(|&i| i as i32).collect();
                moves::gather_i32(d, base, index.as_ptr(), 1, n, size);
                assert!((0..n).all(|i| at(&dst, i) == at(&src, index[i] as usize)));
                moves::fill(d, base.add(8 * size), n, size);
                assert!((0..n).all(|i| at(&dst, i) == at(&src, 8)));
                moves::transpose(d, n as isize + 1, base, 19, n.min(21), 19, size);
                assert!((0..n.min(21)).all(|i| (0..19).all(|j| at(&dst, j * (n + 1) + i) == at(&src, i * 19 + j))));
            }
        }
    }
    for (start, bytes) in [(0, 1000), (1, 63), (3, 64), (7, 500), (64, 128)] {
        let mut dst = vec![0u64; 4096];
        // SAFETY: within the buffers.
        unsafe { moves::stream_copy(dst.as_mut_ptr().cast::<u8>().add(start), src.as_ptr().cast(), bytes) };
        moves::stream_fence();
        // SAFETY: the buffers' bytes.
        let (d, s) = unsafe {
            (std::slice::from_raw_parts(dst.as_ptr().cast::<u8>(), 2000), std::slice::from_raw_parts(src.as_ptr().cast::<u8>(), 2000))
        };
        assert_eq!(d[start..start + bytes], s[..bytes]);
        assert!(d[..start].iter().chain(&d[start + bytes..]).all(|&b| b == 0));
    }
}

#[test]
fn fills_past_the_caches() {
    for size in [1usize, 2, 4, 8] {
        for (start, n) in [(0, 0), (0, 1), (3, 5), (0, 128), (7, 200), (1, 61), (5, 64)] {
            let value = 0x0807_0605_0403_0201u64;
            let mut d = [0u64; 300];
            let room = start * size..(start + n) * size;
            // SAFETY: room for 300 elements of any size.
            let b = unsafe {
                moves::stream_fill(d.as_mut_ptr().cast::<u8>().add(room.start), (&raw const value).cast(), n, size);
                moves::stream_fence();
                std::slice::from_raw_parts(d.as_ptr().cast::<u8>(), 2400)
            };
            for (i, &x) in b.iter().enumerate() {
                let want = if room.contains(&i) { (i % size) as u8 + 1 } else { 0 };
                assert_eq!(x, want, "byte {i} of {n} elements of {size} bytes from {start}");
            }
        }
    }
}

#[test]
fn sequences() {
    for n in [1, 16, 37] {
        for dtype in [DType::I64, DType::I32, DType::U32, DType::U8] {
            let mut d = [0u64; 40];
            // SAFETY: room for 40 elements of any dtype.
            let b = unsafe {
                moves::iota_int(d.as_mut_ptr().cast(), dtype, 5, -3, n);
                std::slice::from_raw_parts(d.as_ptr().cast::<u8>(), 320)
            };
            for k in 0..n {
                assert!(Scalar::read(dtype, &b[k * dtype.size()..]).same(Scalar::Int(5 - 3 * k as i64).cast(dtype)));
            }
        }
        for dtype in [DType::F32, DType::F64] {
            let mut d = [0u64; 40];
            // SAFETY: as above.
            let b = unsafe {
                moves::iota_float(d.as_mut_ptr().cast(), dtype, 0.5, 0.1, 100, n);
                std::slice::from_raw_parts(d.as_ptr().cast::<u8>(), 320)
            };
            for k in 0..n {
                assert!(Scalar::read(dtype, &b[k * dtype.size()..]).same(Scalar::Float(0.5 + (100 + k) as f64 * 0.1).cast(dtype)));
            }
        }
    }
}

#[test]
fn random_bits() {
    // The known answers of Random123 (kat_vectors, philox4x32-10) with the upper half of the counter zero.
    assert_eq!(philox::philox(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    let key = 0x0123_4567_89ab_cdef;
    for offset in [0u64, 1, 2, 3, 4, 29, 1 << 40, (1 << 34) - 5] {
        for n in [1usize, 3, 4, 31, 32, 64, 129] {
            let mut out = vec![7u32; n + 1];
            // SAFETY: room for n elements.
            unsafe { philox::philox_fill(out.as_mut_ptr(), key, 0, offset, n) };
            for (i, &x) in out[..n].iter().enumerate() {
                let at = offset + i as u64;
                assert_eq!(x, philox::philox(key, at / 4)[(at % 4) as usize]);
            }
            assert_eq!(out[n], 7);
        }
    }
}
