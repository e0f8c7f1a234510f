//! Trace to trace: what a program means under differentiation and for a batch of examples.
//!
//! - [`jvp`]: forward mode, one rule per op.
//! - [`vjp`]: reverse mode. `linearize` runs forward mode with symbolic tangents, which yields a linear program; `transpose`
//!   turns that round, and only linear ops need a rule for it.
//! - [`vmap`]: batching, one rule per op.
//! - `autocast`: heavy ops in a half type.
//! - [`check_grads`]: compares the modes with each other and with central differences.
//!
//! Simplification is not done here; rules just avoid work that is plainly superfluous.
//!
//! Invariants:
//! 1. Instructions a trace already has are neither changed nor copied: derivatives and batches are appended and refer to them. So a
//!    transform may be applied again to what another appended, which is how higher orders come about.
//! 2. A missing tangent or cotangent (`None`) is an exact zero. Integers and Bools never have one.
//! 3. A tangent or cotangent has the dtype and shape of its primal.
//! 4. The cost is linear in the trace, and nothing recurses over instructions (only over the nesting of regions).
//! 5. On an error the trace is as it was.

pub(crate) mod autocast;
mod batch;
mod check;
mod jvp;
mod linearize;
mod rebuild;
mod transpose;

#[cfg(test)]
mod tests;

pub use batch::{Lifted, vmap};
pub(crate) use batch::{move_axis, stacked};
pub use check::check_grads;
pub use jvp::jvp;

use crate::base::Result;
use crate::base::error::bail;
use crate::trace::{Op, Trace, ValueId};

/// Appends to `t` the cotangents of `wrt`, given `(output, cotangent)` pairs; `None` where no output depends on the value.
///
/// `wrt` may be any values, not only inputs. Each gets the total derivative: where one of `wrt` depends on another, the
/// latter's cotangent includes what flows through the former.
///
/// # Errors
/// `Shape` or `DType` if a cotangent has not its output's type; `Gradient` if an output is no float or a custom rule on
/// the way is not linear or yields the wrong types.
pub fn vjp(t: &mut Trace, outputs: &[(ValueId, ValueId)], wrt: &[ValueId]) -> Result<Vec<Option<ValueId>>> {
    let mark = t.insts.len();
    for &(v, c) in outputs {
        same_type(t, v, c, "cotangent")?;
    }
    or_undo(t, |t| {
        let of: Vec<ValueId> = outputs.iter().map(|o| o.0).collect();
        let linear = linearize::linearize(t, wrt, &of)?;
        let cotangents: Vec<ValueId> = outputs.iter().map(|o| o.1).collect();
        let results = transpose::transpose(t, &linear, &cotangents)?;
        Ok(rebuild::compact(t, mark, &results))
    })
}

/// Runs `f`; if it fails, takes back what it appended.
fn or_undo<R>(t: &mut Trace, f: impl FnOnce(&mut Trace) -> Result<R>) -> Result<R> {
    let mark = t.insts.len();
    let r = f(t);
    if r.is_err() {
        t.insts.truncate(mark);
    }
    r
}

/// Checks that `d` can be the tangent or cotangent (`what`) of `v`.
fn same_type(t: &Trace, v: ValueId, d: ValueId, what: &str) -> Result<()> {
    let (p, q) = (&t[v], &t[d]);
    if !p.dtype.is_float() {
        bail!(Gradient, "{what} for a value of {} ({} {}): only floats have derivatives", p.op.name(), p.dtype, p.shape);
    }
    if p.dtype != q.dtype {
        bail!(DType, "{what} of dtype {} for a value of {} ({} {})", q.dtype, p.op.name(), p.dtype, p.shape);
    }
    if p.shape != q.shape {
        bail!(Shape, "{what} of shape {} for a value of {} ({} {})", q.shape, p.op.name(), p.dtype, p.shape);
    }
    Ok(())
}

/// Gives the instructions from `mark` on the call site of the primal they differentiate.
fn set_site(t: &mut Trace, mark: usize, site: Option<crate::base::Site>) {
    for inst in &mut t.insts[mark..] {
        inst.site = site;
    }
}

/// The sum of two contributions, either of which may be zero.
fn add_opt(t: &mut Trace, a: Option<ValueId>, b: Option<ValueId>) -> Option<ValueId> {
    match (a, b) {
        (Some(a), Some(b)) => Some(t.add(a, b)),
        (a, b) => a.or(b),
    }
}

/// The number a value holds everywhere, if it is a constant seen through views.
fn literal(t: &Trace, mut v: ValueId) -> Option<f64> {
    // A constant operand is a `Const`, perhaps broadcast; longer chains are not worth following.
    for _ in 0..8 {
        let inst = &t[v];
        match &inst.op {
            Op::Const(c) => return Some(c.as_f64()),
            Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Flip(_) | Op::Slice(_) => v = inst.args[0],
            _ => return None,
        }
    }
    None
}
