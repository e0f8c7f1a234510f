//! The transposes of sub-traces.

use super::super::jvp::fits;
use super::super::rebuild::emit_checkpoint;
use super::{Back, backward};
use crate::base::Result;
use crate::base::error::bail;
use crate::trace::{Args, Inst, Region, RegionKind, Trace, ValueId};

impl Back<'_> {
    /// Passes the cotangents of a region's outputs on to its operands.
    pub(super) fn region(&mut self, inst: &Inst, r: &Region, cotangents: &[Option<ValueId>]) -> Result<()> {
        let x = &inst.args;
        if let RegionKind::CustomVjp(rule) = &r.kind
            && x.len() != r.body.inputs.len()
        {
            return self.custom_vjp(x, &r.body, rule, cotangents);
        }
        if r.kind.is_control() {
            return self.control(inst, r, cotangents);
        }
        // The body again, now transposed: coefficients are recomputed inside, from the operands it is not linear in.
        let mut body: Trace = (*r.body).clone();
        let end = body.insts.len();
        let mut args: Args = x.clone();
        let mut seeds = Vec::new();
        for (&o, c) in r.body.outputs.iter().zip(cotangents) {
            if let Some(c) = *c {
                let (dtype, shape) = (body.dtype(o), body.shape(o).clone());
                seeds.push((o, body.input(dtype, shape)));
                args.push(c);
            }
        }
        let (linear, wrt): (Vec<ValueId>, Vec<ValueId>) =
            x.iter().zip(&r.body.inputs).filter(|(a, i)| self.is_linear(**a) && body.dtype(**i).is_float()).map(|(&a, &i)| (a, i)).unzip();
        let found = backward(&mut body, 0..end, &wrt, &seeds)?;
        // Kinds other than Checkpoint come from custom rules, whose own rule says nothing of a transpose.
        let results = match r.kind {
            RegionKind::Checkpoint(_) => emit_checkpoint(self.t, &body, &args, &found),
            _ => {
                body.outputs = found.iter().flatten().copied().collect();
                let mut inlined = self.t.inline(&body, &args).into_iter();
                found.iter().map(|f| f.and_then(|_| inlined.next())).collect()
            }
        };
        for (a, c) in linear.into_iter().zip(results) {
            if let Some(c) = c {
                self.give(a, c);
            }
        }
        Ok(())
    }

    /// `x` holds the operands, the outputs and the operands' tangents; `rule` takes the operands, the outputs and the
    /// outputs' cotangents.
    fn custom_vjp(&mut self, x: &[ValueId], body: &Trace, rule: &Trace, cotangents: &[Option<ValueId>]) -> Result<()> {
        let (n, m) = (body.inputs.len(), body.outputs.len());
        if rule.inputs.len() != n + 2 * m || rule.outputs.len() != n {
            bail!(
                Gradient,
                "custom_vjp: the rule takes {} values and yields {}, expected {} (operands, outputs, cotangents) and {n}",
                rule.inputs.len(),
                rule.outputs.len(),
                n + 2 * m
            );
        }
        let mut args: Args = x[..n + m].iter().copied().collect();
        for (c, &i) in cotangents.iter().zip(&rule.inputs[n + m..]) {
            let (dtype, shape) = (rule.dtype(i), rule.shape(i));
            args.push(c.unwrap_or_else(|| self.t.constant(crate::base::Scalar::Int(0), dtype, shape)));
        }
        for (&a, &i) in args.iter().zip(&rule.inputs) {
            fits(self.t, a, &rule[i], "custom_vjp", "an input of the rule")?;
        }
        let results = self.t.inline(rule, &args);
        for ((&tangent, &c), &i) in x[n + m..].iter().zip(&results).zip(&body.inputs) {
            if self.is_linear(tangent) {
                fits(self.t, c, &body[i], "custom_vjp", "the cotangent of an operand")?;
                self.give(tangent, c);
            }
        }
        Ok(())
    }
}
