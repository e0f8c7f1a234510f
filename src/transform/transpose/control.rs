//! Reverse mode through branches and loops.
//!
//! A branch: the same branch of the reverse of each. A loop: it is run once more, now keeping the state each iteration starts with; then a loop
//! over these states from the last to the first computes each iteration again and passes the cotangents back. What an iteration computes in
//! between is never kept. A loop with a condition and a bound is cut into segments first, of which only the first states are kept,
//! and within one segment at a time all of them: some `2 sqrt(bound)` states.
//!
//! In a linear program a loop stands either as a marker, operands followed by tangents, or (from a custom forward rule) as itself, linear in
//! some operands; reverse mode through it is then taken at the point where those are zero, which for what is linear is as good as any.

use super::super::rebuild::extract;
use super::super::{add_opt, vjp};
use super::Back;
use crate::base::error::bail;
use crate::base::{DType, Result, Scalar, Shape};
use crate::trace::{Binary, Compare, Inst, LoopSpec, Region, RegionKind, Trace, Trip, ValueId};
use std::sync::Arc;

/// A loop with a condition and a longer bound is cut into segments.
const SEGMENT: usize = 32;

impl Back<'_> {
    /// Passes the cotangents of a branch's or loop's results on to the tangents of its operands.
    pub(super) fn control(&mut self, inst: &Inst, r: &Region, cotangents: &[Option<ValueId>]) -> Result<()> {
        let n = r.arity();
        let (mut operands, tangents) = (inst.args[..n].to_vec(), inst.args[inst.args.len() - n..].to_vec());
        let wanted: Vec<bool> = (0..n).map(|i| self.is_linear(tangents[i]) && r.operand(i).0.is_float()).collect();
        for v in &mut operands {
            if self.is_linear(*v) {
                *v = self.t.zeros_like(*v);
            }
        }
        let found = match &r.kind {
            RegionKind::Cond(other) => cond(self.t, &operands, &r.body, other, &wanted, cotangents)?,
            RegionKind::Loop(l) => repeated(self.t, &operands, &r.body, l, &wanted, cotangents)?,
            _ => unreachable!("called for control regions"),
        };
        for (v, c) in tangents.into_iter().zip(found) {
            if let Some(c) = c {
                self.give(v, c);
            }
        }
        Ok(())
    }
}

/// The cotangents of a branch's operands.
fn cond(
    t: &mut Trace,
    operands: &[ValueId],
    body: &Trace,
    other: &Trace,
    wanted: &[bool],
    cotangents: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>> {
    let mut branches = Vec::new();
    for body in [body, other] {
        let mut b = body.clone();
        let pairs: Vec<(ValueId, ValueId)> = body
            .outputs
            .iter()
            .zip(cotangents)
            .filter(|(_, c)| c.is_some())
            .map(|(&o, _)| {
                let (dtype, shape) = (b.dtype(o), b.shape(o).clone());
                (o, b.input(dtype, shape))
            })
            .collect();
        let wrt: Vec<ValueId> = body.inputs.iter().zip(wanted).filter(|(_, w)| **w).map(|(&i, _)| i).collect();
        let found = vjp(&mut b, &pairs, &wrt)?;
        branches.push((b, wrt, found));
    }
    let there: Vec<usize> = (0..branches[0].1.len()).filter(|&k| branches.iter().any(|b| b.2[k].is_some())).collect();
    let mut out = vec![None; operands.len()];
    if there.is_empty() {
        return Ok(out);
    }
    let mut made = branches.into_iter().map(|(mut b, wrt, found)| {
        let outputs: Vec<ValueId> = there.iter().map(|&k| found[k].unwrap_or_else(|| b.zeros_like(wrt[k]))).collect();
        let inputs = b.inputs.clone();
        extract(&b, &inputs, &outputs)
    });
    if let (Some(body), Some(other)) = (made.next(), made.next()) {
        let args: Vec<ValueId> = operands.iter().copied().chain(cotangents.iter().flatten().copied()).collect();
        let results = t.region(RegionKind::Cond(Arc::new(other)), body, &args);
        let places: Vec<usize> = (0..wanted.len()).filter(|&i| wanted[i]).collect();
        there.iter().zip(results).for_each(|(&k, r)| out[places[k]] = Some(r));
    }
    Ok(out)
}

/// The cotangents of a loop's operands.
fn repeated(
    t: &mut Trace,
    operands: &[ValueId],
    body: &Trace,
    l: &LoopSpec,
    wanted: &[bool],
    cotangents: &[Option<ValueId>],
) -> Result<Vec<Option<ValueId>>> {
    let Some(length) = l.length else {
        bail!(
            Gradient,
            "reverse mode (grad, vjp) through a while_loop without a bound: how many states to keep is unknown, so give it a most number of \
             iterations, or use forward mode (jvp)"
        )
    };
    let own = l.consts + l.carry;
    if let Trip::While(go) = &l.trip
        && length > SEGMENT
        && !l.segment
        && (operands.len(), body.outputs.len()) == (own, l.carry)
    {
        let (spec, new) = segments(body, l, go, length);
        let zero = t.constant(Scalar::Int(0), DType::I64, &Shape::scalar());
        let operands: Vec<ValueId> = operands.iter().copied().chain([zero]).collect();
        let wanted: Vec<bool> = wanted.iter().copied().chain([false]).collect();
        // The last carried value counts; behind it the number of segments.
        let mut passed = cotangents[..l.carry].to_vec();
        passed.extend([None, None]);
        let mut found = repeated(t, &operands, &new, &spec, &wanted, &passed)?;
        found.pop();
        return Ok(found);
    }
    let stacks = operands.len() - own;
    // The loop again, keeping states.
    let mut forward = body.clone();
    forward.outputs.extend(&body.inputs[l.consts..own]);
    let ran = t.region(RegionKind::Loop(Arc::new(l.clone())), forward, operands);
    let states = &ran[body.outputs.len()..body.outputs.len() + l.carry];
    let count = match l.trip {
        Trip::Fixed => None,
        _ => ran.last().copied(),
    };
    // A carried value has a cotangent if its last one has, or it gets one on the way back.
    let mut given: Vec<bool> = cotangents[..body.outputs.len()].iter().map(Option::is_some).collect();
    let back = loop {
        let back = Reverse::new(body, l, length, wanted, &given)?;
        let new: Vec<usize> = (0..l.carry).filter(|&k| back.carry[k].is_some() && !given[k]).collect();
        if new.is_empty() {
            break back;
        }
        new.iter().for_each(|&k| given[k] = true);
    };
    let Reverse { t: mut b, inputs, cotangents: seeds, carry, consts, rows } = back;
    let live: Vec<usize> = (0..l.carry).filter(|&k| given[k]).collect();
    let summed: Vec<usize> = (0..l.consts).filter(|&i| consts[i].is_some()).collect();
    let passed: Vec<usize> = (0..stacks).filter(|&i| rows[i].is_some()).collect();
    let results: Vec<usize> = (l.carry..body.outputs.len()).filter(|&k| given[k]).collect();
    // Consts; cotangents of the carry, sums for the consts; states, stacks, cotangents of the results.
    let (mut ins, mut args) = (vec![inputs[0]], Vec::new());
    let trip = match count {
        Some(c) => {
            args.push(c);
            Trip::Count
        }
        None => {
            args.push(t.constant(Scalar::Int(length as i64), DType::I64, &Shape::scalar()));
            Trip::Fixed
        }
    };
    let (values, number) = (&inputs[1..inputs.len() - 1], inputs[inputs.len() - 1]);
    ins.extend(&values[..l.consts]);
    args.extend(&operands[..l.consts]);
    let mut outs = Vec::new();
    for &k in &live {
        ins.push(seeds[k].expect("given"));
        args.push(cotangents[k].unwrap_or_else(|| t.zeros_like(operands[l.consts + k])));
        outs.push(carry[k].unwrap_or_else(|| b.zeros_like(values[l.consts + k])));
    }
    for &i in &summed {
        let (dtype, shape) = (b.dtype(values[i]), b.shape(values[i]).clone());
        let sum = b.input(dtype, shape);
        ins.push(sum);
        args.push(t.zeros_like(operands[i]));
        let more = consts[i].expect("filtered");
        outs.push(b.add(sum, more));
    }
    outs.extend(passed.iter().filter_map(|&i| rows[i]));
    ins.extend(&values[l.consts..]);
    args.extend(states);
    args.extend(&operands[own..]);
    for &k in &results {
        ins.push(seeds[k].expect("given"));
        args.push(cotangents[k].expect("given"));
    }
    ins.push(number);
    let spec = LoopSpec {
        consts: 1 + l.consts,
        carry: live.len() + summed.len(),
        length: Some(length),
        trip,
        reverse: !l.reverse,
        segment: l.segment,
    };
    let new = extract(&b, &ins, &outs);
    let found = t.region(RegionKind::Loop(Arc::new(spec)), new, &args);
    let mut out = vec![None; operands.len()];
    for (j, &k) in live.iter().enumerate() {
        if wanted[l.consts + k] {
            out[l.consts + k] = Some(found[j]);
        }
    }
    for (j, &i) in summed.iter().chain(passed.iter()).enumerate() {
        let i = if j < summed.len() { i } else { own + i };
        out[i] = add_opt(t, out[i], Some(found[live.len() + j]));
    }
    Ok(out)
}

/// One iteration, run again and reversed.
struct Reverse {
    t: Trace,
    /// The number of iterations there were, what the body takes (consts, state, rows), the number of the iteration of the reversed loop.
    inputs: Vec<ValueId>,
    /// The cotangent given for each output of the body.
    cotangents: Vec<Option<ValueId>>,
    /// Cotangents found: of the state, the consts, the rows.
    carry: Vec<Option<ValueId>>,
    consts: Vec<Option<ValueId>>,
    rows: Vec<Option<ValueId>>,
}

impl Reverse {
    fn new(body: &Trace, l: &LoopSpec, length: usize, wanted: &[bool], given: &[bool]) -> Result<Reverse> {
        let mut t = Trace::new();
        let total = t.input(DType::I64, Shape::scalar());
        let values: Vec<ValueId> = body.inputs[..wanted.len()].iter().map(|&i| t.input(body.dtype(i), body.shape(i).clone())).collect();
        let number = t.input(DType::I64, Shape::scalar());
        let count = match l.trip {
            Trip::Fixed => t.constant(Scalar::Int(length as i64), DType::I64, &Shape::scalar()),
            _ => total,
        };
        let last = t.binary_const(Binary::Sub, count, 1.0);
        let original = t.sub(last, number);
        let args: Vec<ValueId> = values.iter().copied().chain([original]).collect();
        let outs = t.inline(body, &args);
        let mut cotangents = vec![None; outs.len()];
        let mut pairs = Vec::new();
        for (k, &o) in outs.iter().enumerate().filter(|(k, _)| given[*k]) {
            let (dtype, shape) = (t.dtype(o), t.shape(o).clone());
            let c = t.input(dtype, shape);
            cotangents[k] = Some(c);
            pairs.push((o, c));
        }
        let own = l.consts + l.carry;
        // The state's always: what flows through it may reach what is wanted.
        let of: Vec<usize> =
            (0..values.len()).filter(|&i| t.dtype(values[i]).is_float() && (wanted[i] || (l.consts..own).contains(&i))).collect();
        let wrt: Vec<ValueId> = of.iter().map(|&i| values[i]).collect();
        let found = vjp(&mut t, &pairs, &wrt)?;
        let mut all = vec![None; values.len()];
        of.iter().zip(found).for_each(|(&i, c)| all[i] = c);
        let rows = all.split_off(own);
        let carry = all.split_off(l.consts);
        let inputs = [total].into_iter().chain(values).chain([number]).collect();
        Ok(Reverse { t, inputs, cotangents, carry, consts: all, rows })
    }
}

/// What a trace yields, from the values a loop's body takes and the number of the iteration.
type Yields<'a> = dyn Fn(&mut Trace, &[ValueId], ValueId) -> Vec<ValueId> + 'a;

/// A loop with a condition, without rows, as a loop over segments, each a loop of at most `sqrt(length)` iterations that reverse mode runs
/// again. It carries the number of iterations so far as its last value.
fn segments(body: &Trace, l: &LoopSpec, go: &Trace, length: usize) -> (LoopSpec, Trace) {
    let scalar = Shape::scalar();
    let part = (length as f64).sqrt().ceil() as usize;
    let own = l.consts + l.carry;
    let takes =
        |t: &mut Trace| -> Vec<ValueId> { body.inputs[..own].iter().map(|&i| t.input(body.dtype(i), body.shape(i).clone())).collect() };
    // Whether to go on, at iteration `i`.
    let going = |t: &mut Trace, values: &[ValueId], i: ValueId| {
        let args: Vec<ValueId> = values.iter().copied().chain([i]).collect();
        let holds = t.inline(go, &args)[0];
        let most = t.constant(Scalar::Int(length as i64), DType::I64, &scalar);
        let left = t.compare(Compare::Lt, i, most);
        t.binary(Binary::And, holds, left)
    };
    // Within a segment: the number of its first iteration is a const, behind the others.
    let inner = |yields: &Yields<'_>| {
        let mut t = Trace::new();
        let values: Vec<ValueId> = body.inputs[..l.consts].iter().map(|&i| t.input(body.dtype(i), body.shape(i).clone())).collect();
        let first = t.input(DType::I64, scalar.clone());
        let carry: Vec<ValueId> = body.inputs[l.consts..own].iter().map(|&i| t.input(body.dtype(i), body.shape(i).clone())).collect();
        let number = t.input(DType::I64, scalar.clone());
        let i = t.add(first, number);
        let values: Vec<ValueId> = values.into_iter().chain(carry).collect();
        t.outputs = yields(&mut t, &values, i);
        t
    };
    let inner_body = inner(&|t, values, i| {
        let args: Vec<ValueId> = values.iter().copied().chain([i]).collect();
        t.inline(body, &args)
    });
    let inner_go = inner(&|t, values, i| vec![going(t, values, i)]);
    let inner_spec = LoopSpec {
        consts: l.consts + 1,
        carry: l.carry,
        length: Some(part),
        trip: Trip::While(Arc::new(inner_go)),
        reverse: false,
        segment: true,
    };
    // The loop over segments.
    let mut t = Trace::new();
    let values = takes(&mut t);
    let first = t.input(DType::I64, scalar.clone());
    t.input(DType::I64, scalar.clone());
    let args: Vec<ValueId> = values[..l.consts].iter().copied().chain([first]).chain(values[l.consts..].iter().copied()).collect();
    let mut results = t.region(RegionKind::Loop(Arc::new(inner_spec)), inner_body, &args);
    let ran = results.pop().expect("a loop yields its number of iterations");
    let next = t.add(first, ran);
    t.outputs = results.into_iter().chain([next]).collect();
    let mut outer_go = Trace::new();
    let values = takes(&mut outer_go);
    let first = outer_go.input(DType::I64, scalar.clone());
    outer_go.input(DType::I64, scalar.clone());
    outer_go.outputs = vec![going(&mut outer_go, &values, first)];
    let spec = LoopSpec {
        consts: l.consts,
        carry: l.carry + 1,
        length: Some(length.div_ceil(part)),
        trip: Trip::While(Arc::new(outer_go)),
        reverse: false,
        segment: true,
    };
    (spec, t)
}
