//! Derivatives of sub-traces.

use super::super::rebuild::{emit_checkpoint, given, output};
use super::{Custom, Tangents, control, forward};
use crate::base::error::bail;
use crate::base::{Result, Scalar};
use crate::trace::{Args, Inst, Op, Region, RegionKind, Trace, ValueId};
use std::collections::HashMap;

/// Which outputs of each region are read where, and whether a tangent can matter there.
pub(super) struct Reads(HashMap<ValueId, Vec<(u32, ValueId, bool)>>);

impl Reads {
    pub(super) fn of(t: &Trace, end: usize, needed: &[bool]) -> Reads {
        let mut map: HashMap<ValueId, Vec<(u32, ValueId, bool)>> = HashMap::new();
        for (i, inst) in t.insts[..end].iter().enumerate() {
            if let Op::Output(k) = inst.op {
                map.entry(inst.args[0]).or_default().push((k, ValueId::new(i), needed[i] && inst.dtype.is_float()));
            }
        }
        Reads(map)
    }

    fn wanted(&self, region: ValueId, k: usize) -> bool {
        self.0.get(&region).is_some_and(|r| r.iter().any(|&(j, _, wanted)| j as usize == k && wanted))
    }

    /// The value of output `k`: an existing reading, else a new one.
    fn value(&self, t: &mut Trace, region: ValueId, k: usize, r: &Region) -> ValueId {
        let existing = self.0.get(&region).and_then(|reads| reads.iter().find(|read| read.0 as usize == k));
        existing.map_or_else(|| output(t, region, k, r), |read| read.1)
    }
}

/// The tangents of all outputs of the region `v`.
pub(super) fn region(
    t: &mut Trace,
    v: ValueId,
    inst: &Inst,
    r: &Region,
    d: &Tangents,
    reads: &Reads,
    custom: Custom,
) -> Result<Vec<Option<ValueId>>> {
    let outputs = r.results();
    let wanted: Vec<bool> = (0..outputs).map(|k| reads.wanted(v, k)).collect();
    if !wanted.contains(&true) {
        return Ok(vec![None; outputs]);
    }
    match &r.kind {
        // A region of its own, which computes the primal again: nothing of the interior is kept but what is to be saved.
        &RegionKind::Checkpoint(saved) => {
            let mut body = (*r.body).clone();
            let end = body.insts.len();
            let mut args = inst.args.clone();
            let mut seeds = Vec::new();
            for (i, d) in d.iter().enumerate() {
                if let Some(d) = *d {
                    let (dtype, shape) = (t.dtype(d), t.shape(d).clone());
                    seeds.push((body.inputs[i], body.input(dtype, shape)));
                    args.push(d);
                }
            }
            let of: Vec<ValueId> = (0..outputs).filter(|&k| wanted[k]).map(|k| body.outputs[k]).collect();
            let mut tangents = forward(&mut body, &seeds, &of, end, custom)?;
            if saved > 0 {
                let mut known = Vec::new();
                for k in outputs - saved as usize..outputs {
                    let value = reads.value(t, v, k, r);
                    let (dtype, shape) = (t.dtype(value), t.shape(value).clone());
                    known.push((body.outputs[k], body.input(dtype, shape)));
                    args.push(value);
                }
                (body, tangents) = given(&body, &known, &tangents);
            }
            let mut found = emit_checkpoint(t, &body, &args, &tangents).into_iter();
            Ok(wanted.iter().map(|&w| if w { found.next().flatten() } else { None }).collect())
        }
        RegionKind::CustomJvp(jvp) => {
            let n = inst.args.len();
            if jvp.inputs.len() != 2 * n || jvp.outputs.len() != outputs {
                bail!(
                    Gradient,
                    "custom_jvp: the rule takes {} values and yields {}, expected {} (operands, tangents) and {outputs}",
                    jvp.inputs.len(),
                    jvp.outputs.len(),
                    2 * n
                );
            }
            let mut args = inst.args.clone();
            for (i, d) in d.iter().enumerate() {
                let want = &jvp[jvp.inputs[n + i]];
                let d = d.unwrap_or_else(|| t.constant(Scalar::Int(0), want.dtype, &want.shape));
                args.push(d);
            }
            for (&a, &i) in args.iter().zip(&jvp.inputs) {
                fits(t, a, &jvp[i], "custom_jvp", "an input of the rule")?;
            }
            let tangents = t.inline(jvp, &args);
            (0..outputs)
                .map(|k| {
                    if !wanted[k] {
                        return Ok(None);
                    }
                    fits(t, tangents[k], &r.body[r.body.outputs[k]], "custom_jvp", "the tangent of an output")?;
                    Ok(Some(tangents[k]))
                })
                .collect()
        }
        // What reverse mode makes of these is no transposed loop: a marker with the operands and the tangents stands in until then.
        RegionKind::Cond(_) | RegionKind::Loop(_) if custom == Custom::Mark => {
            let tangents = inst.args.iter().zip(d).map(|(&x, d)| d.unwrap_or(x));
            let args: Args = inst.args.iter().copied().chain(tangents).collect();
            let marker = t.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site);
            Ok((0..outputs).map(|k| wanted[k].then(|| output(t, marker, k, r))).collect())
        }
        RegionKind::Cond(other) => control::cond(t, inst, &r.body, other, d, &wanted),
        RegionKind::Loop(l) => control::repeated(t, inst, &r.body, l, d, &wanted),
        RegionKind::CustomVjp(_) if custom == Custom::Refuse => {
            bail!(
                Gradient,
                "forward mode (jvp) through a function that has only a reverse rule (custom_vjp): use vjp or grad, or give it a forward rule"
            )
        }
        // A marker with the operands, the outputs and the tangents (for a zero one, the operand again: it is not linear).
        // No real region has so many operands, which is how the transpose knows it.
        RegionKind::CustomVjp(_) => {
            let values: Args = (0..outputs).map(|k| reads.value(t, v, k, r)).collect();
            let tangents = inst.args.iter().zip(d).map(|(&x, d)| d.unwrap_or(x));
            let args: Args = inst.args.iter().copied().chain(values).chain(tangents).collect();
            let marker = t.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site);
            Ok((0..outputs).map(|k| wanted[k].then(|| output(t, marker, k, r))).collect())
        }
    }
}

/// Checks that a value of a custom rule has the type it must have.
pub(in super::super) fn fits(t: &Trace, v: ValueId, want: &Inst, rule: &str, what: &str) -> Result<()> {
    if t.dtype(v) != want.dtype || t.shape(v) != &want.shape {
        bail!(Gradient, "{rule}: {what} is {} {}, expected {} {}", t.dtype(v), t.shape(v), want.dtype, want.shape);
    }
    Ok(())
}
