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
use super::verify::verify;
use crate::base::error::{Result, bail, err};
use crate::base::{Scalar, Shape};
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
                let inner = run(&r.body, &args, &[])?;
                let outs: Vec<HostTensor> = r.body.outputs.iter().map(|o| inner[o.index()].clone()).collect();
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
