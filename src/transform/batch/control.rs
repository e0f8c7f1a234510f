//! Batched branches and loops.
//!
//! A branch that all examples share stays one; where each has its own, both are run and each example takes its result. A loop is one loop
//! over all examples; where each has its own end, it runs until the last one is done, and what the others carry stays as it is.

use super::region::{Lifting, or};
use super::{Batch, Lifted, Part, move_axis, stretch};
use crate::base::{DType, Result, Scalar, Shape};
use crate::trace::{Binary, Compare, LoopSpec, Reduce, Region, RegionKind, Trace, Trip, ValueId};
use std::sync::Arc;

/// Per example, spread over the shape of a batched value.
fn spread(t: &mut Trace, mask: ValueId, like: ValueId) -> ValueId {
    let shape = t.shape(like).clone();
    let mut column: Shape = shape.iter().map(|_| 1).collect();
    column[0] = shape[0];
    let m = t.reshape(mask, &column);
    t.broadcast(m, &shape)
}

fn any(t: &mut Trace, mask: ValueId) -> ValueId {
    t.reduce(Reduce::Max, mask, &[0])
}

impl Batch<'_> {
    /// A cond, one of whose operands is batched; `body` is its batched first branch.
    pub(super) fn cond(&mut self, operands: &[Lifted], body: Lifting, other: &Trace, draws: bool) -> Result<ValueId> {
        let ins: Vec<bool> = operands.iter().map(|o| o.batched).collect();
        let other = Lifting::new(other, self.size, &ins, draws)?;
        let args: Vec<ValueId> = operands.iter().map(|o| o.value).collect();
        if !ins[0] {
            let outs = or(&body.batched(), &other.batched());
            let parts = outs.iter().enumerate().map(|(k, &batched)| Part { number: k as u32, batched, rows: false }).collect();
            let region = Region { kind: RegionKind::Cond(other.close(&outs)), body: body.close(&outs) };
            return Ok(self.put(region, &args, parts));
        }
        // Each example chooses: a region without control, so that it is replaced by what is in it.
        let all = vec![true; body.outputs.len()];
        let (body, other) = (body.close(&all), other.close(&all));
        let mut t = Trace::new();
        let inputs: Vec<ValueId> = body.inputs.iter().map(|&i| t.input(body.dtype(i), body.shape(i).clone())).collect();
        let (a, b) = (t.inline(&body, &inputs), t.inline(&other, &inputs));
        t.outputs = a
            .into_iter()
            .zip(b)
            .map(|(a, b)| {
                let mask = spread(&mut t, inputs[0], a);
                t.select(mask, a, b)
            })
            .collect();
        let parts = (0..t.outputs.len()).map(|k| Part { number: k as u32, batched: true, rows: false }).collect();
        Ok(self.put(Region { kind: RegionKind::Checkpoint(0), body: Arc::new(t) }, &args, parts))
    }

    /// A loop, one of whose operands is batched.
    pub(super) fn repeated(&mut self, operands: &[Lifted], r: &Region, l: &LoopSpec, draws: bool) -> Result<ValueId> {
        let (size, own) = (self.size, l.consts + l.carry);
        let mut ins: Vec<bool> = operands.iter().map(|o| o.batched).collect();
        // Where each example has its own end, all that is carried is its own; and so on through the loop.
        let (body, go, apart) = loop {
            let go = match &l.trip {
                Trip::While(go) => Some(Lifting::new(go, size, &[&ins[..own], &[false]].concat(), draws)?),
                _ => None,
            };
            let apart = go.as_ref().is_some_and(|g| g.outputs[0].batched) || (l.trip == Trip::Count && ins[0]);
            if apart && ins[l.consts..own].contains(&false) {
                ins[l.consts..own].fill(true);
                continue;
            }
            // A reversed row of each example is an iteration of its own number.
            let mut flags = ins.clone();
            flags.push(apart && l.reverse);
            let body = Lifting::new(&r.body, size, &flags, draws)?;
            let new: Vec<usize> = (0..l.carry).filter(|&k| body.outputs[k].batched && !ins[l.consts + k]).collect();
            if new.is_empty() {
                break (body, go, apart);
            }
            new.iter().for_each(|&k| ins[l.consts + k] = true);
        };
        if !apart {
            let outs: Vec<bool> =
                (0..body.outputs.len()).map(|k| if k < l.carry { ins[l.consts + k] } else { body.outputs[k].batched }).collect();
            let trip = match (&l.trip, go) {
                (_, Some(go)) => Trip::While(go.close(&[false])),
                (trip, None) => trip.clone(),
            };
            let spec = LoopSpec { trip, ..l.clone() };
            let parts = outs.iter().chain([&false]).enumerate();
            let parts = parts.map(|(k, &batched)| Part { number: k as u32, batched, rows: k >= l.carry }).collect();
            let region = Region { kind: RegionKind::Loop(Arc::new(spec)), body: body.close(&outs) };
            let args = self.operands(operands, &ins, l, own);
            return Ok(self.put(region, &args, parts));
        }
        let all = vec![true; body.outputs.len()];
        let region = masked(&body.close(&all), go.map(|g| g.close(&[true])), l, size);
        let mut args = self.operands(operands, &ins, l, own);
        let zeros = self.t.constant(Scalar::Int(0), DType::I64, &Shape::new(&[size]));
        args.insert(own, zeros);
        if l.trip == Trip::Count {
            let most = any(self.t, args[0]);
            args.insert(0, most);
        }
        // Behind the carry stands the counter, which is the number of iterations of each example.
        let part = |k: usize| match k {
            k if k == r.results() - 1 => Part { number: l.carry as u32, batched: true, rows: false },
            k => Part { number: (if k < l.carry { k } else { k + 1 }) as u32, batched: true, rows: k >= l.carry },
        };
        let parts = (0..r.results()).map(part).collect();
        Ok(self.put(region, &args, parts))
    }

    /// The operands of a batched loop: what is carried with the batch axis it needs, rows first.
    fn operands(&mut self, operands: &[Lifted], ins: &[bool], l: &LoopSpec, own: usize) -> Vec<ValueId> {
        (0..operands.len())
            .map(|i| {
                let o = operands[i];
                if i >= own && o.batched {
                    move_axis(self.t, o.value, 0, 1)
                } else if (l.consts..own).contains(&i) && ins[i] && !o.batched {
                    stretch(self.t, o.value, self.size)
                } else {
                    o.value
                }
            })
            .collect()
    }
}

/// A loop in which each example has its own end: all iterate until the last is done, and a mask keeps what is done as it is. `body` is batched,
/// as is the condition `go`. A counter of each example's iterations is carried behind the rest. A counted loop takes the most of any
/// example's count in front.
fn masked(body: &Trace, go: Option<Arc<Trace>>, l: &LoopSpec, size: usize) -> Region {
    let (own, each, scalar) = (l.consts + l.carry, Shape::new(&[size]), Shape::scalar());
    let takes = |t: &mut Trace, from: usize, to: usize| -> Vec<ValueId> {
        body.inputs[from..to].iter().map(|&i| t.input(body.dtype(i), body.shape(i).clone())).collect()
    };
    let mut t = Trace::new();
    let most = go.is_none().then(|| t.input(DType::I64, scalar.clone()));
    let mut values = takes(&mut t, 0, own);
    let counts = t.input(DType::I64, each.clone());
    let rows = takes(&mut t, own, body.inputs.len() - 1);
    let mut number = t.input(DType::I64, scalar.clone());
    let active = match (&go, most) {
        // Asked again inside: what the loop itself asks is whether anybody goes on.
        (Some(go), _) => {
            let given: Vec<ValueId> = values.iter().copied().chain([number]).collect();
            t.inline(go, &given)[0]
        }
        (None, most) => {
            let mine = values[0];
            let row = match most {
                Some(most) if l.reverse => {
                    let last = t.binary_const(Binary::Sub, most, 1.0);
                    t.sub(last, number)
                }
                _ => number,
            };
            let rows = t.broadcast(row, &each);
            if l.reverse {
                let last = t.binary_const(Binary::Sub, mine, 1.0);
                number = t.sub(last, rows);
            }
            t.compare(Compare::Lt, rows, mine)
        }
    };
    let carry: Vec<ValueId> = values[l.consts..].to_vec();
    values.extend(rows.into_iter().chain([number]));
    let mut outputs = t.inline(body, &values);
    for (k, o) in outputs.iter_mut().enumerate() {
        let mask = spread(&mut t, active, *o);
        let old = if k < l.carry { carry[k] } else { t.zeros_like(*o) };
        *o = t.select(mask, *o, old);
    }
    let one = t.cast(active, DType::I64);
    let counted = t.add(counts, one);
    outputs.insert(l.carry, counted);
    t.outputs = outputs;
    let trip = match &go {
        None => Trip::Count,
        Some(go) => {
            let mut t = Trace::new();
            let values = takes(&mut t, 0, own);
            t.input(DType::I64, each);
            let number = t.input(DType::I64, scalar);
            let given: Vec<ValueId> = values.into_iter().chain([number]).collect();
            let holds = t.inline(go, &given)[0];
            t.outputs = vec![any(&mut t, holds)];
            Trip::While(Arc::new(t))
        }
    };
    let consts = l.consts + usize::from(most.is_some());
    Region { kind: RegionKind::Loop(Arc::new(LoopSpec { consts, carry: l.carry + 1, trip, ..l.clone() })), body: Arc::new(t) }
}
