//! What the grouping weighs: how dear it is to compute a value again, and how an operand is read.

use crate::base::Shape;
use crate::trace::{Binary, Op, Trace, Unary, ValueId};
use smallvec::SmallVec;

/// Axes of a domain as maximal runs of the same sort: (extent, reduced). Extents of 1 vanish. Two reductions with the same runs
/// walk memory in the same order, whatever shapes the user wrote.
pub type Runs = SmallVec<[(usize, bool); 4]>;

/// The runs of `shape` with `axes` reduced.
pub fn runs(shape: &[usize], axes: impl Fn(usize) -> bool) -> Runs {
    let mut out = Runs::new();
    for (i, &d) in shape.iter().enumerate() {
        if d == 1 {
            continue;
        }
        match out.last_mut() {
            Some((n, r)) if *r == axes(i) => *n *= d,
            _ => out.push((d, axes(i))),
        }
    }
    out
}

/// How a consumer reads a base value through views.
#[derive(Clone, Debug, PartialEq)]
pub enum Edge {
    /// Element for element, in row-major order.
    Aligned,
    /// Spread over the reduced runs of a domain of these runs.
    Spread(Runs),
    /// Otherwise: permuted, cut, padded, gathered, stretched in another way.
    Other,
}

/// Follows views from an operand to the value they show.
pub fn base_of(t: &Trace, mut v: ValueId) -> (ValueId, Edge) {
    let mut edge = Edge::Aligned;
    loop {
        let inst = &t[v];
        if !inst.op.is_view() {
            return (v, edge);
        }
        let from = t.shape(inst.args[0]);
        edge = match (&inst.op, edge) {
            (Op::Reshape, e) => e,
            (Op::Broadcast, e) if from.numel() == inst.shape.numel() => e,
            (Op::Broadcast, Edge::Aligned) => {
                let lead = inst.shape.rank() - from.rank();
                Edge::Spread(runs(&inst.shape, |i| i < lead || (from[i - lead] == 1 && inst.shape[i] != 1)))
            }
            (Op::Permute(p), e) if moves_only_ones(from, p) => e,
            _ => Edge::Other,
        };
        v = inst.args[0];
    }
}

/// True if the permutation keeps the order of all axes longer than 1.
fn moves_only_ones(from: &Shape, perm: &[u8]) -> bool {
    let long: SmallVec<[u8; 8]> = perm.iter().copied().filter(|&p| from[p as usize] != 1).collect();
    long.windows(2).all(|w| w[0] < w[1])
}

/// A concatenation of more operands asks at each element which it is.
const MANY_PARTS: usize = 16;

/// The work of one element of an op, in units of a simple vector instruction.
pub fn op_cost(op: &Op) -> u32 {
    match op {
        Op::Unary(u) => match u {
            Unary::Neg | Unary::Abs | Unary::Not | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc | Unary::Sign => 1,
            Unary::Sqrt | Unary::Recip | Unary::Rsqrt => 3,
            _ => 12,
        },
        Op::Binary(b) => match b {
            Binary::Div => 3,
            Binary::Pow | Binary::Atan2 | Binary::Rem => 20,
            _ => 1,
        },
        Op::Compare(_) | Op::Select | Op::Cast => 1,
        Op::Iota(_) => 1,
        Op::Gather(_) => 6,
        Op::Concat(_) => 4,
        Op::Random => 12,
        _ => 0,
    }
}

/// Per value: the cost of computing it again from heavy results and leaves, and what its cone holds.
#[derive(Clone, Debug, Default)]
pub struct Cone {
    /// Sum of [`op_cost`] over the light ops above heavy results and leaves.
    pub cost: u32,
    /// The longest chain of them.
    pub depth: u32,
    /// Bytes of the leaves and heavy results it reads, at most as often as they are read in the cone.
    pub reads: u64,
    /// A reduction, dot or convolution feeds it through light ops.
    pub heavy: bool,
    /// A dot or convolution feeds it element for element.
    pub dot: bool,
    /// The runs of a reduction that feeds it element for element.
    pub reduce: Option<Runs>,
}

/// Light ops can be computed inside any kernel, at any index.
pub fn is_light(op: &Op) -> bool {
    op.is_elementwise() || matches!(op, Op::Iota(_) | Op::Random | Op::Gather(_) | Op::Concat(_) | Op::Const(_) | Op::Param(_))
}

/// Whether a value is a row (or slab) that a single computed number picks: read like a slice, from a place known once per kernel.
pub fn picks_one(t: &Trace, v: ValueId) -> bool {
    matches!(t[v].op, Op::Gather(_)) && t.shape(t[v].args[1]).numel() == 1
}

/// By how much a value may become cheaper because a row of elements shares it.
const SHARED: usize = 16;

/// The cones of all values of a trace.
pub fn cones(t: &Trace) -> Vec<Cone> {
    let mut out: Vec<Cone> = Vec::with_capacity(t.insts.len());
    for v in t.values() {
        let inst = &t[v];
        let bytes = (inst.shape.numel() * inst.dtype.size()) as u64;
        let mut c = Cone::default();
        match &inst.op {
            op if op.is_view() => {
                c = out[inst.args[0].index()].clone();
                let (_, edge) = base_of(t, v);
                if edge != Edge::Aligned {
                    (c.dot, c.reduce) = (false, None);
                }
                // What all elements of a row share is computed once a row (where rows are short, or lie across, more often: hence the limit).
                let from = t.shape(inst.args[0]);
                let stretched = |d: usize| from.rank() + d < inst.shape.rank() || from[from.rank() + d - inst.shape.rank()] == 1;
                if inst.op == Op::Broadcast
                    && let Some(last) = (0..inst.shape.rank()).rev().find(|&d| inst.shape[d] != 1)
                    && stretched(last)
                {
                    c.cost /= inst.shape[last].clamp(1, SHARED) as u32;
                }
            }
            Op::Gather(_) if picks_one(t, v) => {
                let (x, i) = (&out[inst.args[0].index()], &out[inst.args[1].index()]);
                // The number itself is computed once in each kernel.
                c = Cone {
                    cost: 1 + x.cost + i.cost / SHARED as u32,
                    depth: 1 + x.depth.max(i.depth),
                    reads: bytes + i.reads,
                    heavy: x.heavy || i.heavy,
                    ..c
                };
            }
            op if is_light(op) => {
                c.cost = op_cost(op);
                if matches!(op, Op::Concat(_)) && inst.args.len() > MANY_PARTS {
                    c.cost = inst.args.len() as u32;
                }
                for &a in &inst.args {
                    let x = &out[a.index()];
                    c.cost = c.cost.saturating_add(x.cost);
                    c.depth = c.depth.max(x.depth + 1);
                    c.reads = c.reads.saturating_add(x.reads);
                    c.heavy |= x.heavy;
                    if inst.op.is_elementwise() {
                        c.dot |= x.dot;
                        c.reduce = c.reduce.take().or_else(|| x.reduce.clone());
                    }
                }
            }
            Op::Reduce(_, axes) => {
                let s = t.shape(inst.args[0]);
                c = Cone { reads: bytes, heavy: true, reduce: Some(runs(s, |i| axes.contains(&(i as u8)))), ..c };
            }
            Op::Dot | Op::Conv(_) => c = Cone { reads: bytes, heavy: true, dot: true, ..c },
            Op::Input(_) => c.reads = bytes,
            _ => c = Cone { reads: bytes, heavy: true, ..c },
        }
        out.push(c);
    }
    out
}
