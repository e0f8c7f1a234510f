//! The reference interpreter: the meaning of a trace, op by op, and the oracle for every backend.
//!
//! Each op is computed in f64 (floats) or wrapping i64 (integers) and its result is rounded to the op's dtype; nothing inside an
//! op is rounded, so a sum of halves is the sum of exact values. It is written to be read, not to be fast, and knows nothing of
//! fusion, devices or memory plans. Regions run their body. [`HostTensor`] holds the values.

mod host;
mod ops;
#[cfg(test)]
mod tests;

pub use host::{HostData, HostTensor};
pub(super) use ops::eval as eval_op;
pub(crate) use ops::{Accumulator, total_order};

use super::ir::Trace;
use super::op::Op;
use super::region::{Region, RegionKind, Trip};
use super::verify::verify;
use crate::base::error::{Result, bail, err};
use crate::base::{DType, Scalar, Shape};
use std::collections::HashMap;

/// No value may have more elements: small shapes are what an oracle is for, and a mistaken shape should not fill memory.
const MAX_ELEMENTS: usize = 1 << 28;

/// Runs a trace; returns its outputs.
///
/// # Errors
/// What [`verify`] finds; `Shape` or `DType` if an input is not of its declared type; `Argument` if their number is wrong;
/// `Memory` if a value is too large to interpret.
pub fn interpret(t: &Trace, inputs: &[HostTensor], params: &[Scalar]) -> Result<Vec<HostTensor>> {
    let values = interpret_all(t, inputs, params)?;
    Ok(t.outputs.iter().map(|o| values[o.index()].clone()).collect())
}

/// Runs a trace; returns the value of every instruction (of a region: its first output), to find where two runs part.
///
/// # Errors
/// As [`interpret`].
pub fn interpret_all(t: &Trace, inputs: &[HostTensor], params: &[Scalar]) -> Result<Vec<HostTensor>> {
    verify(t)?;
    if inputs.len() != t.inputs.len() || params.len() != t.params.len() {
        bail!(
            Argument,
            "the trace takes {} inputs and {} parameters, got {} and {}",
            t.inputs.len(),
            t.params.len(),
            inputs.len(),
            params.len()
        );
    }
    for (i, (x, &v)) in inputs.iter().zip(&t.inputs).enumerate() {
        if x.dtype != t.dtype(v) || x.shape != *t.shape(v) || x.numel() != x.shape.numel() {
            bail!(Shape, "input {i} is {} {} of {} elements, expected {} {}", x.dtype, x.shape, x.numel(), t.dtype(v), t.shape(v));
        }
    }
    run(t, inputs, params)
}

/// Runs a verified trace. Recursion is as deep as regions nest, which the verifier bounds.
fn run(t: &Trace, inputs: &[HostTensor], params: &[Scalar]) -> Result<Vec<HostTensor>> {
    let mut values: Vec<HostTensor> = Vec::with_capacity(t.insts.len());
    let mut regions: HashMap<usize, Vec<HostTensor>> = HashMap::new();
    for (i, inst) in t.insts.iter().enumerate() {
        if inst.shape.numel() > MAX_ELEMENTS {
            bail!(Memory, "%{i} = {}: {} {} is too large to interpret", inst.op.name(), inst.dtype, inst.shape);
        }
        let args: Vec<&HostTensor> = inst.args.iter().map(|a| &values[a.index()]).collect();
        let v = match &inst.op {
            Op::Input(n) => inputs[*n as usize].clone(),
            Op::Param(n) => HostTensor::from_scalars(inst.dtype, Shape::scalar(), [params[*n as usize]]),
            Op::Region(r) => {
                let args: Vec<HostTensor> = args.into_iter().cloned().collect();
                let outs = region(r, args)?;
                let first = outs[0].clone();
                regions.insert(i, outs);
                first
            }
            Op::Output(n) => regions[&inst.args[0].index()][*n as usize].clone(),
            _ => ops::eval(inst, &args).map_err(|e| err!(Internal, "%{i} = {}: {}", inst.op.name(), e.message()))?,
        };
        debug_assert!(v.dtype == inst.dtype && v.shape == inst.shape && v.numel() == inst.shape.numel(), "%{i} {}", inst.op.name());
        values.push(v);
    }
    Ok(values)
}

/// The outputs of a verified trace without params.
fn outputs(t: &Trace, inputs: &[HostTensor]) -> Result<Vec<HostTensor>> {
    let values = run(t, inputs, &[])?;
    Ok(t.outputs.iter().map(|o| values[o.index()].clone()).collect())
}

/// The results of a region.
fn region(r: &Region, args: Vec<HostTensor>) -> Result<Vec<HostTensor>> {
    let holds = |x: &HostTensor| x.scalars().next().is_some_and(|s| s.as_f64() != 0.0);
    match &r.kind {
        RegionKind::Checkpoint(_) | RegionKind::CustomJvp(_) | RegionKind::CustomVjp(_) => outputs(&r.body, &args),
        RegionKind::Cond(other) => outputs(if holds(&args[0]) { &r.body } else { other }, &args),
        RegionKind::Loop(l) => {
            let number = |i: usize| HostTensor::from_scalars(DType::I64, Shape::scalar(), [Scalar::Int(i as i64)]);
            let (consts, rest) = args.split_at(l.consts);
            let (initial, stacks) = rest.split_at(l.carry);
            let most = match (&l.trip, l.length) {
                (Trip::Count, Some(n)) => (consts[0].scalars().next().map_or(0.0, |s| s.as_f64()).max(0.0) as usize).min(n),
                (_, n) => n.unwrap_or(usize::MAX),
            };
            let mut carry = initial.to_vec();
            let mut rows: Vec<Vec<Vec<Scalar>>> = vec![vec![Vec::new(); l.length.unwrap_or(0)]; r.body.outputs.len() - l.carry];
            let mut count = 0;
            while count < most {
                if let Trip::While(go) = &l.trip {
                    let inputs: Vec<HostTensor> = consts.iter().chain(&carry).cloned().chain([number(count)]).collect();
                    if !holds(&outputs(go, &inputs)?[0]) {
                        break;
                    }
                }
                let at = l.row(count, most);
                let row = |s: &HostTensor| {
                    let shape: Shape = s.shape[1..].into();
                    let n = shape.numel();
                    HostTensor::from_scalars(s.dtype, shape, s.scalars().skip(at * n).take(n))
                };
                let inputs: Vec<HostTensor> =
                    consts.iter().chain(&carry).cloned().chain(stacks.iter().map(row)).chain([number(count)]).collect();
                let mut outs = outputs(&r.body, &inputs)?;
                for (k, y) in outs.drain(l.carry..).enumerate() {
                    rows[k][at] = y.scalars().collect();
                }
                carry = outs;
                count += 1;
            }
            let stacked = rows.into_iter().enumerate().map(|(k, rows)| {
                let (dtype, shape) = r.result(l.carry + k);
                let n = shape[1..].iter().product::<usize>();
                let zeros = || vec![Scalar::Int(0).cast(dtype); n];
                HostTensor::from_scalars(dtype, shape, rows.into_iter().flat_map(move |row| if row.is_empty() { zeros() } else { row }))
            });
            let results: Vec<HostTensor> = carry.into_iter().chain(stacked).chain([number(count)]).collect();
            Ok(results)
        }
    }
}
