//! Every entry of the lookup table against a reference of one element: all lengths, in place, nothing touched beyond the end.

use super::super::{Isa, MulAdd, Scalars, TileOp, lookup_for};
use super::{EDGES, Rng, isas};
use crate::base::{DType, Scalar};
use crate::trace::elementwise::{Binary, Compare, Unary};
use DType::*;

const COMPUTE: [DType; 7] = [F32, F64, I32, I64, U32, U8, Bool];
/// The longest tile tested.
const LONGEST: usize = 300;
const GUARD: u8 = 0xA5;

/// Elements of any bit pattern that are also often small, equal or special.
fn element(dtype: DType, rng: &mut Rng) -> Scalar {
    match (dtype, rng.below(4)) {
        (Bool, _) => Scalar::Bool(rng.below(2) == 1),
        (d, 0) if d.is_float() => Scalar::Float(EDGES[rng.below(EDGES.len())]),
        (d, 1) if d.is_float() => Scalar::Float((rng.unit() - 0.5) * 2f64.powi(rng.below(160) as i32 - 80)),
        (d, _) if d.is_float() => Scalar::Float((rng.unit() - 0.3) * 100.0),
        (_, 0) => Scalar::Int(rng.next() as i64),
        (_, 1) => Scalar::Int([0, 1, -1, i64::MIN, i64::MAX, i32::MIN as i64, i32::MAX as i64, 31, 32, 63, 64, 255][rng.below(12)]),
        _ => Scalar::Int(rng.below(80) as i64 - 20),
    }
    .cast(dtype)
}

struct Tile {
    dtype: DType,
    bytes: Vec<u64>,
}

impl Tile {
    fn random(dtype: DType, rng: &mut Rng) -> Tile {
        let mut tile = Tile { dtype, bytes: vec![0; LONGEST + 8] };
        for i in 0..LONGEST + 7 {
            let x = element(dtype, rng);
            x.write(dtype, &mut tile.raw_mut()[i * dtype.size()..]);
        }
        tile
    }
    fn raw(&self) -> &[u8] {
        // SAFETY: the vector's bytes.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.bytes.len() * 8) }
    }
    fn raw_mut(&mut self) -> &mut [u8] {
        // SAFETY: the vector's bytes.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), self.bytes.len() * 8) }
    }
    fn get(&self, i: usize) -> Scalar {
        Scalar::read(self.dtype, &self.raw()[i * self.dtype.size()..])
    }
}

/// Whether a result is right: the same (all NaNs are), or within the accuracy of the function.
fn close(op: TileOp, dtype: DType, got: Scalar, want: Scalar) -> bool {
    match (got, want) {
        (Scalar::Float(g), Scalar::Float(w)) => {
            let inexact = match op {
                TileOp::MulAdd(..) => true,
                TileOp::Unary(u, _) => u >= Unary::Rsqrt && u <= Unary::Erf,
                TileOp::Binary(b, _) => matches!(b, Binary::Pow | Binary::Atan2),
                _ => false,
            };
            let bits = |x: f64| if dtype == F64 { x.to_bits() } else { (x as f32).to_bits() as u64 };
            (g.is_nan() && w.is_nan())
                || bits(g) == bits(w)
                || (inexact
                    && (g - w).abs() <= w.abs() * if dtype == F64 { 1e-15 } else { 4e-7 } + if dtype == F64 { 5e-324 } else { 3e-45 })
        }
        _ => got.same(want),
    }
}

fn bool_of(x: Scalar) -> bool {
    x.as_bool()
}

fn unary(op: Unary, dtype: DType, x: Scalar) -> Scalar {
    if let Scalar::Float(x) = x {
        let y = match op {
            Unary::Neg => -x,
            Unary::Abs => x.abs(),
            Unary::Sign if x == 0.0 || x.is_nan() => x,
            Unary::Sign => x.signum(),
            Unary::Not => unreachable!(),
            Unary::Recip => 1.0 / x,
            Unary::Sqrt => x.sqrt(),
            Unary::Rsqrt => 1.0 / x.sqrt(),
            Unary::Exp => x.exp(),
            Unary::Exp2 => x.exp2(),
            Unary::Expm1 => x.exp_m1(),
            Unary::Log => x.ln(),
            Unary::Log2 => x.log2(),
            Unary::Log1p => x.ln_1p(),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Tan => x.tan(),
            Unary::Asin => x.asin(),
            Unary::Acos => x.acos(),
            Unary::Atan => x.atan(),
            Unary::Sinh => x.sinh(),
            Unary::Cosh => x.cosh(),
            Unary::Tanh => x.tanh(),
            Unary::Erf => super::super::double::erf(x),
            Unary::Floor => x.floor(),
            Unary::Ceil => x.ceil(),
            Unary::Round => x.round_ties_even(),
            Unary::Trunc => x.trunc(),
        };
        return Scalar::Float(y).cast(dtype);
    }
    let i = x.as_i64();
    match op {
        Unary::Neg => Scalar::Int(i.wrapping_neg()).cast(dtype),
        Unary::Abs => Scalar::Int(i.wrapping_abs()).cast(dtype),
        Unary::Sign => Scalar::Int(i.signum()),
        Unary::Not if dtype == Bool => Scalar::Bool(i == 0),
        Unary::Not => Scalar::Int(!i).cast(dtype),
        _ => unreachable!(),
    }
}

fn float_extreme(x: f64, y: f64, max: bool) -> f64 {
    if x.is_nan() || y.is_nan() {
        f64::NAN
    } else if x == y {
        if x.is_sign_negative() == max { y } else { x }
    } else if (x > y) == max {
        x
    } else {
        y
    }
}

fn binary(op: Binary, dtype: DType, x: Scalar, y: Scalar) -> Scalar {
    if let (Scalar::Float(x), Scalar::Float(y)) = (x, y) {
        let r = match op {
            Binary::Add => x + y,
            Binary::Sub => x - y,
            Binary::Mul => x * y,
            Binary::Div => x / y,
            Binary::Rem => x % y,
            Binary::Max => float_extreme(x, y, true),
            Binary::Min => float_extreme(x, y, false),
            Binary::Pow => x.powf(y),
            Binary::Atan2 => x.atan2(y),
            _ => unreachable!(),
        };
        return Scalar::Float(r).cast(dtype);
    }
    let (a, b) = (x.as_i64(), y.as_i64());
    let width = dtype.size() as i64 * 8;
    let in_range = (0..width).contains(&b);
    let r = match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div => a.checked_div(b).unwrap_or(if b == 0 { 0 } else { a }),
        Binary::Rem => a.checked_rem(b).unwrap_or(0),
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::Pow if b < 0 => match a {
            1 => 1,
            -1 => 1 - 2 * (b & 1),
            _ => 0,
        },
        Binary::Pow => {
            // Powers repeat or vanish in wrapping arithmetic, but squaring from the top bit is another way than the kernel's.
            (0..64).rev().fold(1i64, |r, bit| r.wrapping_mul(r).wrapping_mul(if b >> bit & 1 == 1 { a } else { 1 }))
        }
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Shl => {
            if in_range {
                a.wrapping_shl(b as u32)
            } else {
                0
            }
        }
        Binary::Shr => a >> if in_range { b } else { 63 },
        Binary::Atan2 => unreachable!(),
    };
    if dtype == Bool { Scalar::Bool(r != 0) } else { Scalar::Int(r).cast(dtype) }
}

fn compare(op: Compare, x: Scalar, y: Scalar) -> bool {
    let order = match (x, y) {
        (Scalar::Float(x), Scalar::Float(y)) => x.partial_cmp(&y),
        _ => Some(x.as_i64().cmp(&y.as_i64())),
    };
    use std::cmp::Ordering::*;
    match op {
        Compare::Eq => order == Some(Equal),
        Compare::Ne => order != Some(Equal),
        Compare::Lt => order == Some(Less),
        Compare::Le => matches!(order, Some(Less | Equal)),
        Compare::Gt => order == Some(Greater),
        Compare::Ge => matches!(order, Some(Greater | Equal)),
    }
}

fn mul_add(op: MulAdd, dtype: DType, x: Scalar, y: Scalar, z: Scalar) -> Option<Scalar> {
    let (x, y, z) = (x.as_f64(), y.as_f64(), z.as_f64());
    let (x, z) = match op {
        MulAdd::Add => (x, z),
        MulAdd::Sub => (x, -z),
        MulAdd::NegAdd => (-x, z),
    };
    let r = if dtype == F64 { x.mul_add(y, z) } else { x * y + z };
    // Plain code rounds the product too: where it cancels, or overflows, or is subnormal, the two legitimately differ.
    let overflow = (x * y).abs() > if dtype == F64 { f64::MAX } else { f32::MAX as f64 };
    (r.is_nan() || !overflow && r.abs() >= (x * y).abs()).then_some(Scalar::Float(r).cast(dtype))
}

/// Operand dtypes and result dtype.
fn types(op: TileOp) -> (Vec<DType>, DType) {
    match op {
        TileOp::Unary(_, d) => (vec![d], d),
        TileOp::Binary(_, d) => (vec![d; 2], d),
        TileOp::Compare(_, d) => (vec![d; 2], Bool),
        TileOp::Select(d) => (vec![Bool, d, d], d),
        TileOp::Cast { from, to } => (vec![from], to),
        TileOp::MulAdd(_, d) => (vec![d; 3], d),
        _ => unreachable!(),
    }
}

fn expected(op: TileOp, v: &[Scalar]) -> Option<Scalar> {
    Some(match op {
        TileOp::Unary(u, d) => unary(u, d, v[0]),
        TileOp::Binary(b, d) => binary(b, d, v[0], v[1]),
        TileOp::Compare(c, _) => Scalar::Bool(compare(c, v[0], v[1])),
        TileOp::Select(_) => {
            if bool_of(v[0]) {
                v[1]
            } else {
                v[2]
            }
        }
        // A float to an unsigned type saturates on its own range, which `Scalar::cast` to small types does not.
        TileOp::Cast { to: U32, .. } if matches!(v[0], Scalar::Float(_)) => Scalar::Int(v[0].as_f64() as u32 as i64),
        TileOp::Cast { to: U8, .. } if matches!(v[0], Scalar::Float(_)) => Scalar::Int(v[0].as_f64() as u8 as i64),
        TileOp::Cast { to, .. } => v[0].cast(to),
        TileOp::MulAdd(m, d) => return mul_add(m, d, v[0], v[1], v[2]),
        _ => unreachable!(),
    })
}

/// Checks one entry; false where there is none.
fn check(isa: Isa, op: TileOp, scalars: Scalars, rng: &mut Rng) -> bool {
    let Some(kernel) = lookup_for(isa, op, scalars) else { return false };
    let (operands, result) = types(op);
    let scalar = [scalars.a, scalars.b, scalars.c];
    for round in 0..8 {
        let tiles: Vec<Tile> = operands.iter().map(|&d| Tile::random(d, rng)).collect();
        // Also starting off vector alignment.
        let start: Vec<usize> = (0..3).map(|_| rng.below(7)).collect();
        let n = [LONGEST, 1, 2 + rng.below(14), 16, 128, 17 + rng.below(47), 64 + rng.below(200), 31][round];
        let want: Vec<Option<Scalar>> = (0..n)
            .map(|i| {
                let v: Vec<Scalar> = tiles.iter().enumerate().map(|(k, t)| t.get(start[k] + if scalar[k] { 0 } else { i })).collect();
                expected(op, &v)
            })
            .collect();
        // Into a tile of its own, then into each operand of the same size.
        for place in 0..=operands.len() {
            let mut tiles: Vec<Tile> = tiles.iter().map(|t| Tile { dtype: t.dtype, bytes: t.bytes.clone() }).collect();
            let mut own = Tile { dtype: result, bytes: vec![u64::from_ne_bytes([GUARD; 8]); LONGEST + 8] };
            let size = result.size();
            let mut ptrs = [std::ptr::null_mut::<u8>(); 3];
            for (k, t) in tiles.iter_mut().enumerate() {
                let skip = start[k] * t.dtype.size();
                ptrs[k] = t.raw_mut()[skip..].as_mut_ptr();
            }
            let (at, dst) = match place {
                0 => (start[0] % 3, own.raw_mut()[start[0] % 3 * size..].as_mut_ptr()),
                p if operands[p - 1].size() == size && !scalar[p - 1] => (start[p - 1], ptrs[p - 1]),
                _ => continue,
            };
            let before = if place == 0 { own.raw().to_vec() } else { tiles[place - 1].raw().to_vec() };
            // SAFETY: every tile has room for LONGEST elements from `start` on.
            unsafe { kernel(dst, ptrs[0], ptrs[1], ptrs[2], n) };
            let out = if place == 0 { &own } else { &tiles[place - 1] };
            for (i, want) in want.iter().enumerate() {
                let got = Scalar::read(result, &out.raw()[(at + i) * size..]);
                if let Some(want) = *want {
                    assert!(close(op, result, got, want), "{op:?} {scalars:?} on {isa:?}, element {i} of {n}: {got:?}, not {want:?}");
                }
                assert!(result != Bool || out.raw()[at + i] <= 1);
            }
            assert_eq!(out.raw()[..at * size], before[..at * size], "{op:?} {scalars:?} on {isa:?} wrote before its tile");
            assert_eq!(
                out.raw()[(at + n) * size..],
                before[(at + n) * size..],
                "{op:?} {scalars:?} on {isa:?} wrote beyond its {n} elements"
            );
        }
    }
    true
}

const MIXES: [Scalars; 8] = {
    let mut all = [Scalars::NONE; 8];
    let mut i = 0;
    while i < 8 {
        all[i] = Scalars { a: i & 1 != 0, b: i & 2 != 0, c: i & 4 != 0 };
        i += 1;
    }
    all
};

#[test]
fn every_entry() {
    let mut rng = Rng(4);
    for isa in isas() {
        let mut entries = 0;
        let mut run = |op: TileOp, must: bool| {
            for scalars in MIXES {
                let there = check(isa, op, scalars, &mut rng);
                assert!(there || scalars != Scalars::NONE || !must, "{op:?} is missing on {isa:?}");
                entries += there as usize;
            }
        };
        for d in COMPUTE {
            for &u in Unary::ALL {
                run(TileOp::Unary(u, d), u.accepts(d));
            }
            for &b in Binary::ALL {
                run(TileOp::Binary(b, d), b.accepts(d));
            }
            for &c in Compare::ALL {
                run(TileOp::Compare(c, d), true);
            }
            for m in [MulAdd::Add, MulAdd::Sub, MulAdd::NegAdd] {
                run(TileOp::MulAdd(m, d), d.is_float());
            }
        }
        for d in DType::ALL {
            run(TileOp::Select(d), true);
            for to in DType::ALL {
                run(TileOp::Cast { from: d, to }, true);
            }
        }
        assert!(entries > 300, "{entries} entries on {isa:?}");
    }
}

#[test]
fn promised_scalar_variants() {
    for isa in isas() {
        for d in [F32, F64] {
            for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min, Binary::Pow] {
                for s in [Scalars::A, Scalars::B] {
                    assert!(lookup_for(isa, TileOp::Binary(op, d), s).is_some());
                }
            }
        }
        for d in COMPUTE {
            assert!(lookup_for(isa, TileOp::Compare(Compare::Lt, d), Scalars::B).is_some());
        }
        for s in [Scalars::B, Scalars::C, Scalars::BC] {
            assert!(lookup_for(isa, TileOp::Select(F32), s).is_some());
            assert!(lookup_for(isa, TileOp::MulAdd(MulAdd::Add, F32), s).is_some());
        }
    }
}
