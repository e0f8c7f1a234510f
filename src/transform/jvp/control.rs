//! Tangents of branches and loops: the same branch or loop, of values and tangents together.

use super::super::rebuild::extract;
use super::{Custom, Tangents, forward};
use crate::base::Result;
use crate::trace::{Inst, LoopSpec, RegionKind, Trace, Trip, ValueId};
use std::sync::Arc;

/// A body with tangents: those of the operands for which `given` holds as new inputs, in order.
struct Tangent {
    t: Trace,
    seeds: Vec<ValueId>,
    outputs: Vec<Option<ValueId>>,
}

impl Tangent {
    fn of(body: &Trace, given: &[bool]) -> Result<Tangent> {
        let (mut t, end) = (body.clone(), body.insts.len());
        let with: Vec<ValueId> = body.inputs.iter().zip(given).filter(|(_, given)| **given).map(|(&i, _)| i).collect();
        let pairs: Vec<(ValueId, ValueId)> = with
            .into_iter()
            .map(|i| {
                let (dtype, shape) = (t.dtype(i), t.shape(i).clone());
                (i, t.input(dtype, shape))
            })
            .collect();
        let outputs = forward(&mut t, &pairs, &body.outputs, end, Custom::Refuse)?;
        Ok(Tangent { t, seeds: pairs.into_iter().map(|p| p.1).collect(), outputs })
    }

    /// The tangent of output `k`, zeros if it is none.
    fn output(&mut self, body: &Trace, k: usize) -> ValueId {
        self.outputs[k].unwrap_or_else(|| self.t.zeros_like(body.outputs[k]))
    }
}

/// The tangents of the results that are wanted, of the branch taken.
pub(super) fn cond(
    t: &mut Trace,
    inst: &Inst,
    body: &Arc<Trace>,
    other: &Arc<Trace>,
    d: &Tangents,
    wanted: &[bool],
) -> Result<Vec<Option<ValueId>>> {
    let given: Vec<bool> = d.iter().map(Option::is_some).collect();
    let mut branches = [Tangent::of(body, &given)?, Tangent::of(other, &given)?];
    let there: Vec<usize> = (0..wanted.len()).filter(|&k| wanted[k] && branches.iter().any(|b| b.outputs[k].is_some())).collect();
    let mut made = Vec::new();
    for (b, body) in branches.iter_mut().zip([body, other]) {
        let outputs: Vec<ValueId> = there.iter().map(|&k| b.output(body, k)).collect();
        let inputs: Vec<ValueId> = body.inputs.iter().chain(&b.seeds).copied().collect();
        made.push(extract(&b.t, &inputs, &outputs));
    }
    let mut out = vec![None; wanted.len()];
    if let (false, Some(other), Some(body)) = (there.is_empty(), made.pop(), made.pop()) {
        let args: Vec<ValueId> = inst.args.iter().copied().chain(d.iter().flatten().copied()).collect();
        let results = t.region(RegionKind::Cond(Arc::new(other)), body, &args);
        there.iter().zip(results).for_each(|(&k, r)| out[k] = Some(r));
    }
    Ok(out)
}

/// The tangents of a loop's results that are wanted.
pub(super) fn repeated(
    t: &mut Trace,
    inst: &Inst,
    body: &Arc<Trace>,
    l: &LoopSpec,
    d: &Tangents,
    wanted: &[bool],
) -> Result<Vec<Option<ValueId>>> {
    let own = l.consts + l.carry;
    // A carried value has a tangent if it starts with one, or gets one on the way.
    let mut given: Vec<bool> = d.iter().map(Option::is_some).collect();
    let mut b = loop {
        let b = Tangent::of(body, &given)?;
        let new: Vec<usize> = (0..l.carry).filter(|&k| b.outputs[k].is_some() && !given[l.consts + k]).collect();
        if new.is_empty() {
            break b;
        }
        new.iter().for_each(|&k| given[l.consts + k] = true);
    };
    let carried: Vec<usize> = (0..l.carry).filter(|&k| given[l.consts + k]).collect();
    let rows: Vec<usize> = (l.carry..body.outputs.len()).filter(|&k| wanted[k] && b.outputs[k].is_some()).collect();
    // Consts, carry and rows, each with its tangents behind it.
    let order = |values: &[ValueId], seeds: &[ValueId]| -> Vec<ValueId> {
        let mut seeds = seeds.iter();
        let mut part = |from: usize, to: usize| -> Vec<ValueId> {
            let with = (from..to).filter(|&i| given[i]).count();
            values[from..to].iter().chain(seeds.by_ref().take(with)).copied().collect()
        };
        let mut all = part(0, l.consts);
        all.extend(part(l.consts, own));
        all.extend(part(own, given.len()));
        all
    };
    let mut inputs = order(&body.inputs, &b.seeds);
    inputs.push(body.inputs[given.len()]);
    let mut outputs = body.outputs[..l.carry].to_vec();
    for &k in &carried {
        let d = b.output(body, k);
        outputs.push(d);
    }
    outputs.extend(rows.iter().filter_map(|&k| b.outputs[k]));
    let new_body = extract(&b.t, &inputs, &outputs);
    let consts = l.consts + given[..l.consts].iter().filter(|g| **g).count();
    let trip = match &l.trip {
        Trip::While(go) => {
            let mut new = Trace::new();
            // The values come first in either part.
            let all: Vec<ValueId> = inputs[..consts + l.carry + carried.len()]
                .iter()
                .chain(inputs.last())
                .map(|&i| new.input(b.t.dtype(i), b.t.shape(i).clone()))
                .collect();
            let values: Vec<ValueId> = (0..l.consts).chain(consts..consts + l.carry).chain([all.len() - 1]).map(|i| all[i]).collect();
            new.outputs = new.inline(go, &values);
            Trip::While(Arc::new(new))
        }
        trip => trip.clone(),
    };
    let tangents: Vec<ValueId> =
        (0..given.len()).filter(|&i| given[i]).map(|i| d[i].unwrap_or_else(|| t.zeros_like(inst.args[i]))).collect();
    let args = order(&inst.args, &tangents);
    let spec = LoopSpec { consts, carry: l.carry + carried.len(), trip, ..l.clone() };
    let results = t.region(RegionKind::Loop(Arc::new(spec)), new_body, &args);
    let mut out = vec![None; wanted.len()];
    for (&k, &r) in carried.iter().chain(&rows).zip(&results[l.carry..]) {
        out[k] = wanted[k].then_some(r);
    }
    Ok(out)
}
