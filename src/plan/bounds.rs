//! `LAZULI_DEBUG=bounds`: run-time indices of gathers and scatters outside their axis become errors. (Else a gather clamps them and a
//! scatter drops them.)

use super::PlanResult;
use crate::backend::Backend;
use crate::base::error::err;
use crate::base::{Result, Scalar, Site, Storage};
use crate::trace::{Op, Reduce, Trace, ValueId};
use std::sync::Arc;

/// An index operand whose extremes a plan also computes.
pub struct Check {
    op: &'static str,
    extent: usize,
    shape: String,
    site: Option<Site>,
}

/// Appends to the outputs the smallest and largest index of every gather and scatter.
pub fn add(t: &mut Trace) -> Vec<Check> {
    let found: Vec<(ValueId, ValueId, usize)> = t
        .values()
        .filter_map(|v| match &t[v].op {
            Op::Gather(b) | Op::Scatter(_, b) => Some((v, t[v].args[1], *b as usize)),
            _ => None,
        })
        .filter(|&(_, i, _)| t.shape(i).numel() > 0)
        .collect();
    found
        .into_iter()
        .map(|(v, index, batch)| {
            let x = t[v].args[0];
            let axes: Vec<usize> = (0..t.shape(index).rank()).collect();
            for kind in [Reduce::Min, Reduce::Max] {
                let r = t.reduce(kind, index, &axes);
                let r = t.cast(r, crate::base::DType::I64);
                t.outputs.push(r);
            }
            Check { op: t[v].op.name(), extent: t.shape(x)[batch], shape: t.shape(x).to_string(), site: t[v].site }
        })
        .collect()
}

/// Reads the extremes of a run. `results` are those of the appended outputs.
///
/// # Errors
/// `Index`, naming op, extent and the index, for the first check that fails.
pub fn verify(
    checks: &[Check],
    results: &[PlanResult],
    outputs: &[Arc<dyn Storage>],
    leaves: &[Arc<dyn Storage>],
    device: &dyn Backend,
) -> Result<()> {
    let read = |r: &PlanResult| -> Result<i64> {
        let s = match *r {
            PlanResult::Output(i) => &outputs[i as usize],
            PlanResult::Leaf(i) => &leaves[i as usize],
        };
        let mut bytes = [0u8; 8];
        device.download(&**s, &mut bytes)?;
        Ok(Scalar::read(crate::base::DType::I64, &bytes).as_i64())
    };
    for (c, r) in checks.iter().zip(results.chunks_exact(2)) {
        for index in [read(&r[0])?, read(&r[1])?] {
            if index < 0 || index >= c.extent as i64 {
                let e = err!(Index, "{}: index {index} is out of range for an axis of {} elements of shape {}", c.op, c.extent, c.shape);
                return Err(c.site.map_or(e.clone(), |s| e.at(s)));
            }
        }
    }
    Ok(())
}
