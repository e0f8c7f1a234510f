//! Batched sub-traces: the body and the rule of a region are batched each for itself, so that what the region means to the transforms
//! (recompute this, differentiate it so) holds for the batch.

use super::super::rebuild::{extract, output};
use super::{Batch, Batched, Lifted, Part, lift, move_axis, stacked, stretch};
use crate::base::{Result, Scalar};
use crate::trace::{Binary, Inst, Op, Reduce, Region, RegionKind, Trace, ValueId};
use std::sync::Arc;

/// A body with the batched forms of its outputs appended.
pub(super) struct Lifting {
    pub(super) t: Trace,
    /// The inputs of the body to be.
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<Lifted>,
    size: usize,
}

impl Lifting {
    /// Batches a body over the inputs for which `batched` holds. `draws`: what it draws, it draws for each example anew.
    pub(super) fn new(body: &Trace, size: usize, batched: &[bool], draws: bool) -> Result<Lifting> {
        debug_assert_eq!(body.inputs.len(), batched.len());
        let mut t = body.clone();
        let mut seeds = Vec::new();
        let inputs = body
            .inputs
            .iter()
            .zip(batched)
            .map(|(&i, &batched)| {
                if !batched {
                    return i;
                }
                let new = t.input(body.dtype(i), stacked(size, body.shape(i)));
                seeds.push((i, new));
                new
            })
            .collect();
        let draws: Vec<ValueId> = body.values().filter(|&v| draws && body[v].op == Op::Random).collect();
        let outputs = lift(&mut t, size, &seeds, &draws, &body.outputs)?;
        Ok(Lifting { t, inputs, outputs, size })
    }

    pub(super) fn batched(&self) -> Vec<bool> {
        self.outputs.iter().map(|o| o.batched).collect()
    }

    /// The body whose outputs have a batch axis where `batched` says, which it must where they depend on the example.
    pub(super) fn close(mut self, batched: &[bool]) -> Arc<Trace> {
        let t = &mut self.t;
        let outputs = self.outputs.iter().zip(batched);
        let outputs = outputs.map(|(o, &batched)| if batched && !o.batched { stretch(t, o.value, self.size) } else { o.value });
        let outputs: Vec<ValueId> = outputs.collect();
        Arc::new(extract(t, &self.inputs, &outputs))
    }

    /// The rule that yields a cotangent of each operand: of one that the examples share, the sum of theirs.
    fn close_cotangents(mut self, batched: &[bool]) -> Arc<Trace> {
        let (t, size) = (&mut self.t, self.size);
        for (o, _) in self.outputs.iter_mut().zip(batched).filter(|(_, batched)| !**batched) {
            let dtype = t.dtype(o.value);
            o.value = match (dtype.is_float(), o.batched) {
                (true, true) => t.reduce(Reduce::Sum, o.value, &[0]),
                // The same for every example.
                (true, false) => t.binary_const(Binary::Mul, o.value, size as f64),
                // No cotangent at all.
                (false, true) => {
                    let shape = t.shape(o.value).without(&[0]);
                    t.constant(Scalar::Int(0), dtype, &shape)
                }
                (false, false) => o.value,
            };
            o.batched = false;
        }
        self.close(batched)
    }
}

pub(super) fn or(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| *a || *b).collect()
}

impl Batch<'_> {
    /// A region with at least one batched operand; its outputs are read by [`Batch::output`]. The value returned stands for the region.
    pub(super) fn region(&mut self, inst: &Inst, r: &Region) -> Result<ValueId> {
        let size = self.size;
        if size == 0 {
            // What stands for the region is never read: its outputs have no elements.
            let value = self.no_elements(inst);
            self.regions.insert(value, Batched { region: None, outputs: Vec::new() });
            return Ok(value);
        }
        let operands: Vec<Lifted> = inst.args.iter().map(|&a| self.of(a)).collect();
        let ins: Vec<bool> = operands.iter().map(|o| o.batched).collect();
        let draws = inst.args.iter().any(|a| self.drawn[a.index()]);
        if let RegionKind::Loop(l) = &r.kind {
            return self.repeated(&operands, r, l, draws);
        }
        let body = Lifting::new(&r.body, size, &ins, draws)?;
        let (kind, outs) = match &r.kind {
            RegionKind::Cond(other) => return self.cond(&operands, body, other, draws),
            RegionKind::Loop(_) => unreachable!("done above"),
            &RegionKind::Checkpoint(saved) => (RegionKind::Checkpoint(saved), body.batched()),
            RegionKind::CustomJvp(rule) => {
                // The tangent of an output has the output's type, and so the batch axis if either has it.
                let rule = Lifting::new(rule, size, &[&ins[..], &ins].concat(), draws)?;
                let outs = or(&body.batched(), &rule.batched());
                (RegionKind::CustomJvp(rule.close(&outs)), outs)
            }
            RegionKind::CustomVjp(rule) => {
                // Every output has a batch axis: the cotangent of one that had none would be that of all examples together, which the rule
                // would count once for each of them.
                let outs = vec![true; body.outputs.len()];
                let rule = Lifting::new(rule, size, &[&ins[..], &outs, &outs].concat(), draws)?;
                (RegionKind::CustomVjp(rule.close_cotangents(&ins)), outs)
            }
        };
        let args: Vec<ValueId> = operands.iter().map(|o| o.value).collect();
        let parts = outs.iter().enumerate().map(|(k, &batched)| Part { number: k as u32, batched, rows: false }).collect();
        Ok(self.put(Region { kind, body: body.close(&outs) }, &args, parts))
    }

    /// Appends a batched region.
    pub(super) fn put(&mut self, region: Region, args: &[ValueId], outputs: Vec<Part>) -> ValueId {
        let value = self.t.apply(Op::Region(Arc::new(region)), args);
        self.regions.insert(value, Batched { region: Some(value), outputs });
        value
    }

    /// Output `k` of a region that did not stay as it was.
    pub(super) fn output(&mut self, k: u32, inst: &Inst) -> Lifted {
        let region = self.of(inst.args[0]).value;
        let Some(Batched { region: new, outputs }) = self.regions.get(&region) else {
            let value = self.t.push_typed(Op::Output(k), &[region], inst.dtype, inst.shape.clone(), inst.site);
            return Lifted { value, batched: false };
        };
        match new {
            Some(new) => {
                let (new, part) = (*new, outputs[k as usize]);
                let Op::Region(r) = self.t[new].op.clone() else { unreachable!("a region became one") };
                let value = output(self.t, new, part.number as usize, &r);
                let value = if part.rows && part.batched { move_axis(self.t, value, 1, 0) } else { value };
                Lifted { value, batched: part.batched }
            }
            None => Lifted { value: self.no_elements(inst), batched: true },
        }
    }
}
