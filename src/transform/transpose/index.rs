//! The transposes of gather and scatter. A gather clamps indices that are outside, a scatter drops them; each transpose
//! must do what its primal did.

use super::super::literal;
use super::Back;
use crate::base::{DType, Scalar, Shape};
use crate::trace::{Binary, Compare, Op, Reduce, ScatterMode, Trace, ValueId};

impl Back<'_> {
    /// Gather reads `x[index]`: its cotangent is added there, onto what `x` has received so far.
    pub(super) fn gather(&mut self, batch: u8, x: ValueId, index: ValueId, c: ValueId) {
        if !self.is_linear(x) {
            return;
        }
        let slot = x.index() - self.start;
        let sum = self.cotangent[slot].unwrap_or_else(|| self.t.zeros_like(x));
        let n = self.t.shape(x)[batch as usize];
        let index = clamp(self.t, index, n);
        self.cotangent[slot] = Some(self.t.apply(Op::Scatter(ScatterMode::Add, batch), &[sum, index, c]));
    }

    /// Scatter Add passes everything on to the base and what lies at the index to the updates. With Set the base gets
    /// nothing where it was overwritten, and of several updates of one place only the last gets something.
    pub(super) fn scatter(&mut self, mode: ScatterMode, batch: u8, x: &[ValueId], c: ValueId) {
        let (base, index, updates) = (x[0], x[1], x[2]);
        let set = mode == ScatterMode::Set;
        self.give_with(base, |t| {
            if !set {
                return c;
            }
            let zeros = t.zeros_like(updates);
            t.apply(Op::Scatter(mode, batch), &[c, index, zeros])
        });
        self.give_with(updates, |t| {
            let b = batch as usize;
            let n = t.shape(base)[b];
            let there = t.gather(c, index, b);
            let lone = t.shape(index)[b..].iter().product::<usize>() <= 1;
            let mask = if set && !lone {
                winners(t, index, b, n)
            } else if in_range(t, index, n) {
                return there;
            } else {
                inside(t, index, n)
            };
            // The mask is per index; an update is a whole row.
            let (rank, full) = (t.shape(mask).rank(), t.shape(there).clone());
            let rows: Shape = full.iter().enumerate().map(|(i, &e)| if i < rank { e } else { 1 }).collect();
            let mask = t.reshape(mask, &rows);
            let mask = t.broadcast(mask, &full);
            let zeros = t.zeros_like(there);
            t.select(mask, there, zeros)
        });
    }
}

/// Which indices lie in `0..n`.
fn inside(t: &mut Trace, index: ValueId, n: usize) -> ValueId {
    let (zero, end) = (t.constant_like(0.0, index), t.constant_like(n as f64, index));
    let low = t.compare(Compare::Ge, index, zero);
    let high = t.compare(Compare::Lt, index, end);
    t.binary(Binary::And, low, high)
}

/// Which updates a scatter Set leaves standing: each writes its number at its place, and looks whether it is still there.
/// One outside is dropped, so it does not find its number either.
fn winners(t: &mut Trace, index: ValueId, batch: usize, n: usize) -> ValueId {
    let shape = t.shape(index).clone();
    let count: usize = shape[batch..].iter().product();
    let flat: Shape = shape[..batch].iter().copied().chain([count]).collect();
    let slots: Shape = shape[..batch].iter().copied().chain([n]).collect();
    let number = t.iota(batch, DType::I64, &flat);
    let number = t.reshape(number, &shape);
    let none = t.constant(Scalar::Int(-1), DType::I64, &slots);
    let last = t.apply(Op::Scatter(ScatterMode::Set, batch as u8), &[none, index, number]);
    let found = t.gather(last, index, batch);
    t.compare(Compare::Eq, found, number)
}

/// The index a gather from an axis of `n` reads.
fn clamp(t: &mut Trace, index: ValueId, n: usize) -> ValueId {
    if in_range(t, index, n) {
        return index;
    }
    let low = t.binary_const(Binary::Max, index, 0.0);
    t.binary_const(Binary::Min, low, n.saturating_sub(1) as f64)
}

/// Whether `index` lies in `0..n` by how it is made: positions, sorted or arg-reduced positions, clamped numbers.
fn in_range(t: &Trace, index: ValueId, n: usize) -> bool {
    let fits = |x: f64| x >= 0.0 && x < n as f64;
    let mut open = vec![index];
    // Index arithmetic is short; whatever is longer is clamped again, which is harmless.
    for _ in 0..16 {
        let Some(v) = open.pop() else { return true };
        let inst = &t[v];
        let x = &inst.args;
        match &inst.op {
            Op::Const(c) if fits(c.as_f64()) => {}
            Op::Iota(axis) if inst.shape[*axis as usize] <= n => {}
            Op::ArgSort(_) if inst.shape.last().is_some_and(|&e| e <= n) => {}
            Op::Reduce(Reduce::ArgMax | Reduce::ArgMin, axes)
                if axes.iter().map(|&a| t.shape(x[0])[a as usize]).product::<usize>() <= n => {}
            Op::Binary(Binary::Min) if literal(t, x[1]).is_some_and(fits) && bounded_below(t, x[0]) => {}
            Op::Reshape | Op::Permute(_) | Op::Broadcast | Op::Slice(_) | Op::Flip(_) | Op::Gather(_) => open.push(x[0]),
            Op::Cumulative { kind: Reduce::Max | Reduce::Min, .. } | Op::Reduce(Reduce::Max | Reduce::Min, _) => open.push(x[0]),
            Op::Select => open.extend([x[1], x[2]]),
            Op::Concat(_) => open.extend(x.iter().copied()),
            _ => return false,
        }
    }
    open.is_empty()
}

fn bounded_below(t: &Trace, v: ValueId) -> bool {
    matches!(t[v].op, Op::Binary(Binary::Max)) && literal(t, t[v].args[1]).is_some_and(|x| x >= 0.0)
}
