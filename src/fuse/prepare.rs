//! Before grouping: what must lie in memory as it is gets a copy of its own, long reductions and products with long sums are split in two
//! phases, and very wide concatenations in parts.

use super::Limits;
use super::cost::{self, Edge};
use crate::base::{DType, Scalar, Shape};
use crate::trace::{Args, Binary, Inst, Op, PadSpec, Reduce, Trace, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// A reduction with fewer results than this and longer rows than [`SPLIT_ROW`] is split.
const SPLIT_RESULTS: usize = 64;
/// See [`SPLIT_RESULTS`].
const SPLIT_ROW: usize = 1 << 15;
/// Elements of one part: enough work to hide its launch, few enough that there are parts for every core. Depends on nothing else,
/// so that the order of summation is a property of the shape.
const PART: usize = 1 << 14;

/// A product with so many or fewer tiles of results (fours of results, where there are few rows or columns), and a sum of [`SPLIT_SUM`] or more, is split:
/// tiles are what a device shares out.
const SPLIT_TILES: usize = 16;
/// See [`SPLIT_TILES`].
const SPLIT_SUM: usize = 1 << 12;
/// Rows and columns of such a tile.
const TILE: usize = 64;
/// Fewer rows or columns than that are no tiles: what is read is used once or twice, and [`LONGER`] sums are as quick.
const NARROW: usize = 8;
/// See [`NARROW`].
const LONGER: usize = 4;
/// Products of one part: enough that the parts' results are little beside what is read. The range to choose from, so that parts are equal.
const SUM_PARTS: RangeInclusive<usize> = 512..=2048;

/// Rewrites the trace: every output and every operand of a convolution that is a view in another order than memory becomes a copy
/// (a cast to its own dtype); long reductions become a reduction of parts and one of the parts' results, products with long sums products of
/// parts and the sum of them.
pub fn prepare(t: &Trace, limits: &Limits) -> Trace {
    let mut out = Trace::new();
    let mut map: Vec<ValueId> = Vec::with_capacity(t.insts.len());
    let mut results: HashMap<(ValueId, u32), ValueId> = HashMap::new();
    let mut uses = vec![0u32; t.insts.len()];
    t.insts.iter().flat_map(|i| &i.args).chain(&t.outputs).for_each(|a| uses[a.index()] += 1);
    for v in t.values() {
        let inst = &t[v];
        let mut args: Args = inst.args.iter().map(|a| map[a.index()]).collect();
        if let Op::Conv(spec) = &inst.op {
            for a in args.iter_mut() {
                let (base, edge) = cost::base_of(&out, *a);
                if spec.groups == 1 && swaps_planes(&out, *a) {
                    continue;
                }
                if edge != Edge::Aligned || matches!(out[base].op, Op::Const(_) | Op::Param(_)) {
                    *a = copy(&mut out, *a);
                }
            }
            // The archetype's arguments 0 and 1 are two buffers.
            if cost::base_of(&out, args[0]).0 == cost::base_of(&out, args[1]).0 {
                args[1] = copy(&mut out, args[1]);
            }
        }
        if let Op::Region(_) = inst.op {
            // A branch or loop reads its operands as buffers.
            for a in args.iter_mut() {
                let (base, edge) = cost::base_of(&out, *a);
                if edge != Edge::Aligned || matches!(out[base].op, Op::Const(_) | Op::Param(_)) {
                    *a = copy(&mut out, *a);
                }
            }
        }
        let new = match &inst.op {
            // A result is one value, however often it is read.
            Op::Output(k) => *results
                .entry((args[0], *k))
                .or_insert_with(|| out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site)),
            // The transpose of a product nobody else reads is the product of the transposes: so what follows it is its epilogue.
            Op::Permute(p) if swaps_last(p) && t[inst.args[0]].op == Op::Dot && uses[inst.args[0].index()] == 1 => {
                let factors = &t[inst.args[0]].args;
                let (a, b) = (map[factors[0].index()], map[factors[1].index()]);
                let (a, b) = (out.transpose_last(a), out.transpose_last(b));
                outer_product(&mut out, b, a, inst)
                    .or_else(|| split_product(&mut out, b, a, inst))
                    .unwrap_or_else(|| out.push_typed(Op::Dot, &[b, a], inst.dtype, inst.shape.clone(), t[inst.args[0]].site))
            }
            Op::Dot => outer_product(&mut out, args[0], args[1], inst)
                .or_else(|| split_product(&mut out, args[0], args[1], inst))
                .unwrap_or_else(|| out.push_typed(Op::Dot, &args, inst.dtype, inst.shape.clone(), inst.site)),
            Op::Reduce(kind, axes) => split(&mut out, *kind, args[0], axes)
                .unwrap_or_else(|| out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site)),
            Op::Concat(axis) if args.len() > limits.operands => concat(&mut out, &args, *axis as usize, limits.operands.max(2)),
            op => out.push_typed(op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site),
        };
        map.push(new);
    }
    for o in &t.outputs {
        let v = map[o.index()];
        let v = if cost::base_of(&out, v).1 == Edge::Aligned { v } else { copy(&mut out, v) };
        out.outputs.push(v);
    }
    out
}

/// A product without a sum, `[.., M, 1]` times `[.., 1, N]`, is elementwise.
fn outer_product(t: &mut Trace, a: ValueId, b: ValueId, inst: &Inst) -> Option<ValueId> {
    let left = t.shape(a);
    if left[left.rank() - 1] != 1 {
        return None;
    }
    let (a, b) = (t.broadcast(a, &inst.shape), t.broadcast(b, &inst.shape));
    Some(t.binary(Binary::Mul, a, b))
}

/// True for the permutation that swaps the last two axes and moves no other.
fn swaps_last(p: &[u8]) -> bool {
    let r = p.len();
    r >= 2 && p[r - 1] as usize == r - 2 && p[r - 2] as usize == r - 1 && p[..r - 2].iter().enumerate().all(|(i, &x)| i == x as usize)
}

/// True where a convolution's operand differs from a buffer only by the order of its first two axes, which the archetype leaves open.
fn swaps_planes(t: &Trace, v: ValueId) -> bool {
    let Op::Permute(p) = &t[v].op else { return false };
    let (base, edge) = cost::base_of(t, t[v].args[0]);
    p.len() >= 2
        && (p[0], p[1]) == (1, 0)
        && p[2..].iter().enumerate().all(|(i, &x)| i + 2 == x as usize)
        && edge == Edge::Aligned
        && !matches!(t[base].op, Op::Const(_) | Op::Param(_))
}

fn copy(t: &mut Trace, v: ValueId) -> ValueId {
    let (dtype, shape, site) = (t.dtype(v), t.shape(v).clone(), t[v].site);
    t.push_typed(Op::Cast, &[v], dtype, shape, site)
}

/// A concatenation of at most `most` concatenations of as many, and so on.
fn concat(t: &mut Trace, parts: &[ValueId], axis: usize, most: usize) -> ValueId {
    let mut parts = parts.to_vec();
    while parts.len() > most {
        parts = parts.chunks(most).map(|some| t.concat(some, axis)).collect();
    }
    t.concat(&parts, axis)
}

/// The two phases of a product with few results and a long sum. Sums of half types stay in f32 between the phases.
fn split_product(t: &mut Trace, a: ValueId, b: ValueId, inst: &Inst) -> Option<ValueId> {
    let (left, right) = (t.shape(a).clone(), t.shape(b).clone());
    let r = left.rank();
    let (m, k, n) = (left[r - 2], left[r - 1], right[r - 1]);
    let batch: usize = left[..r - 2].iter().product();
    let narrow = m < NARROW || n < NARROW;
    let tiles = if narrow { (m * n).div_ceil(4) } else { m.div_ceil(TILE) * n.div_ceil(TILE) };
    let longer = if narrow { LONGER } else { 1 };
    if !inst.dtype.is_float() || k < SPLIT_SUM * longer || inst.shape.numel() == 0 || batch * tiles > SPLIT_TILES {
        return None;
    }
    // Of the lengths that divide the sum, one that vectors and tiles divide, near the middle.
    let (shortest, longest) = (SUM_PARTS.start() * longer, SUM_PARTS.end() * longer);
    let middle = shortest.midpoint(longest);
    let lengths = (shortest..=longest).filter(|&p| k.is_multiple_of(p));
    let part = lengths.max_by_key(|&p| (p.trailing_zeros().min(4), std::cmp::Reverse(p.abs_diff(middle))))?;
    let (acc, parts) = (inst.dtype.accumulator(), k / part);
    let (a, b) = (t.cast(a, acc), t.cast(b, acc));
    let a = t.reshape(a, &Shape::new(&[batch, m, parts, part]));
    let a = t.permute(a, &[0, 2, 1, 3]);
    let b = t.reshape(b, &Shape::new(&[batch, parts, part, n]));
    let products = t.dot(a, b);
    let sum = split(t, Reduce::Sum, products, &[1]).unwrap_or_else(|| t.reduce(Reduce::Sum, products, &[1]));
    let sum = t.cast(sum, inst.dtype);
    Some(t.reshape(sum, &inst.shape))
}

/// The two phases of a long reduction, if it is long. Sums of half types stay in f32 between the phases.
fn split(t: &mut Trace, kind: Reduce, x: ValueId, axes: &[u8]) -> Option<ValueId> {
    let shape = t.shape(x).clone();
    let row: usize = axes.iter().map(|&a| shape[a as usize]).product();
    let kept = shape.without(&axes.iter().map(|&a| a as usize).collect::<SmallVec<[usize; 8]>>());
    if kind.is_arg() || row < SPLIT_ROW || kept.numel() >= SPLIT_RESULTS || shape.numel() == 0 {
        return None;
    }
    // Bring the reduced axes together at one end. Only contiguous runs can be split without moving data; they nearly always are.
    let runs = cost::runs(&shape, |i| axes.contains(&(i as u8)));
    let (before, after) = match runs.as_slice() {
        [(_, true)] => (1, 1),
        [(o, false), (_, true)] => (*o, 1),
        [(_, true), (o, false)] => (1, *o),
        _ => return None,
    };
    let dtype = t.dtype(x);
    let acc = if matches!(kind, Reduce::Sum | Reduce::Prod) { dtype.accumulator() } else { dtype };
    let x = t.cast(x, acc);
    let flat = t.reshape(x, &Shape::new(&[before, row, after]));
    // Parts of equal length; the last is filled up with the identity.
    let part = if after == 1 { PART } else { PART.div_ceil(after).max(256) };
    let n = row.div_ceil(part);
    let padded = if n * part == row {
        flat
    } else {
        let value = identity(kind, acc);
        t.pad(flat, PadSpec { lo: SmallVec::from_slice(&[0, 0, 0]), hi: SmallVec::from_slice(&[0, n * part - row, 0]), value })
    };
    let parts = t.reshape(padded, &Shape::new(&[before, n, part, after]));
    let first = t.reduce(kind, parts, &[2]);
    let second = t.reduce(kind, first, &[1]);
    let second = t.cast(second, dtype);
    Some(t.reshape(second, &kept))
}

/// The value that changes nothing.
fn identity(kind: Reduce, dtype: DType) -> Scalar {
    let extreme = |largest: bool| match dtype {
        d if d.is_float() => Scalar::Float(if largest { f64::INFINITY } else { f64::NEG_INFINITY }),
        DType::Bool => Scalar::Bool(largest),
        DType::U8 => Scalar::Int(if largest { u8::MAX as i64 } else { 0 }),
        DType::U32 => Scalar::Int(if largest { u32::MAX as i64 } else { 0 }),
        DType::I32 => Scalar::Int(if largest { i32::MAX as i64 } else { i32::MIN as i64 }),
        _ => Scalar::Int(if largest { i64::MAX } else { i64::MIN }),
    };
    match kind {
        Reduce::Sum => Scalar::Int(0).cast(dtype),
        Reduce::Prod => Scalar::Int(1).cast(dtype),
        Reduce::Max | Reduce::ArgMax => extreme(false),
        Reduce::Min | Reduce::ArgMin => extreme(true),
    }
}
