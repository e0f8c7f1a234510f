//! Forward mode with symbolic tangents: the derivative at the recorded point as a linear program.

use super::jvp::{Custom, forward};
use super::rebuild::PLACEHOLDER;
use crate::base::Result;
use crate::trace::{Inst, Trace, ValueId};
use std::ops::Range;

/// A linear program inside a trace: what of `range` depends on `tangents` is linear in them, the rest are coefficients.
///
/// It is there to be transposed: the symbolic tangents have no value, so the linear instructions cannot be run, and the
/// caller drops them.
pub(super) struct Linear {
    /// The instructions appended for it.
    pub(super) range: Range<usize>,
    /// The symbolic tangent of each value differentiated for; `None` if that is no float.
    pub(super) tangents: Vec<Option<ValueId>>,
    /// The tangent of each result; `None` if it does not depend on any of them.
    pub(super) results: Vec<Option<ValueId>>,
}

/// Appends the linearization of `of` as a function of `wrt`, at the values they have in the trace.
///
/// # Errors
/// `Gradient` if a custom rule does not fit its region.
pub(super) fn linearize(t: &mut Trace, wrt: &[ValueId], of: &[ValueId]) -> Result<Linear> {
    let start = t.insts.len();
    let mut seeds = Vec::with_capacity(wrt.len());
    let tangents: Vec<Option<ValueId>> = wrt
        .iter()
        .map(|&v| {
            let (dtype, shape) = (t.dtype(v), t.shape(v).clone());
            dtype.is_float().then(|| {
                // Not `Trace::input`: a symbolic tangent is no input of the trace.
                let p = ValueId::new(t.insts.len());
                t.insts.push(Inst { op: PLACEHOLDER, args: Default::default(), dtype, shape, site: None });
                seeds.push((v, p));
                p
            })
        })
        .collect();
    let results = forward(t, &seeds, of, start, Custom::Mark)?;
    Ok(Linear { range: start..t.insts.len(), tangents, results })
}
