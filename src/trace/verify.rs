//! The rules of a trace, checked. They are listed in the [module header](super).

use super::infer;
use super::ir::{Trace, ValueId};
use super::op::{ConvSpec, Op, Region, RegionKind};
use crate::base::error::{bail, err};
use crate::base::{DType, Result, Scalar, Shape};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::sync::Arc;

/// Deepest nesting of regions; every recursion over regions relies on it.
pub const MAX_NESTING: usize = 32;
/// Most axes of a shape.
pub const MAX_RANK: usize = 64;
const MAX_SIZE: usize = 1 << 47;
const MAX_ARGS: usize = 1 << 16;

/// Checks the rules of a trace, regions included.
///
/// # Errors
/// The first broken rule, naming the instruction.
pub fn verify(t: &Trace) -> Result<()> {
    Verifier { seen: HashSet::new() }.trace(t, 0)
}

struct Verifier {
    /// Bodies already found good, by address and depth: traces share them.
    seen: HashSet<(*const Trace, usize)>,
}

impl Verifier {
    fn trace(&mut self, t: &Trace, depth: usize) -> Result<()> {
        if depth > MAX_NESTING {
            bail!(Argument, "regions are nested more than {MAX_NESTING} deep");
        }
        let (mut inputs, mut params) = (0, 0);
        for (i, inst) in t.insts.iter().enumerate() {
            self.inst(t, i, depth, &mut inputs, &mut params).map_err(|e| {
                let e = err_like(&e, format!("%{i} = {}: {}", inst.op.name(), e.message()));
                inst.site.map_or(e.clone(), |s| e.at(s))
            })?;
        }
        if t.inputs.len() != inputs || t.params.len() != params {
            bail!(Internal, "{} inputs and {} params are listed, {inputs} and {params} exist", t.inputs.len(), t.params.len());
        }
        for (n, o) in t.outputs.iter().enumerate() {
            if o.index() >= t.insts.len() {
                bail!(Internal, "output {n} is {o:?}, which does not exist");
            }
            if matches!(t[*o].op, Op::Region(_)) {
                bail!(Internal, "output {n} is the region {o:?}: a region is read through `output`");
            }
        }
        Ok(())
    }

    fn inst(&mut self, t: &Trace, i: usize, depth: usize, inputs: &mut usize, params: &mut usize) -> Result<()> {
        let inst = &t.insts[i];
        if inst.args.len() > MAX_ARGS {
            bail!(Argument, "{} operands", inst.args.len());
        }
        for a in &inst.args {
            if a.index() >= i {
                bail!(Internal, "operand {a:?} does not come before its user");
            }
            if matches!(t[*a].op, Op::Region(_)) && !matches!(inst.op, Op::Output(_)) {
                bail!(Internal, "operand {a:?} is a region: a region is read through `output`");
            }
        }
        shape_size(&inst.shape)?;
        match &inst.op {
            Op::Input(n) => numbered(*n, i, &t.inputs, inputs)?,
            Op::Param(n) => numbered(*n, i, &t.params, params)?,
            Op::Slice(s) => sizes(&[&s.start, &s.end, &s.step])?,
            Op::Pad(p) => {
                sizes(&[&p.lo, &p.hi])?;
                is_value(p.value, inst.dtype)?;
            }
            Op::Conv(c) => conv_sizes(c)?,
            Op::Region(r) => self.region(r, depth)?,
            _ => {}
        }
        let types: SmallVec<[(DType, &Shape); 3]> = inst.args.iter().map(|&a| (t[a].dtype, &t[a].shape)).collect();
        infer::check(&inst.op, &types, inst.dtype, &inst.shape)?;
        if let Op::Output(n) = inst.op {
            let Op::Region(r) = &t[inst.args[0]].op else { bail!(Internal, "operand {:?} is no region", inst.args[0]) };
            let Some(&o) = r.body.outputs.get(n as usize) else {
                bail!(Index, "output {n} of a region of {} outputs", r.body.outputs.len())
            };
            if r.body[o].dtype != inst.dtype || r.body[o].shape != inst.shape {
                let (d, s) = (r.body[o].dtype, &r.body[o].shape);
                bail!(Internal, "the region yields {d} {s}, but the type says {} {}", inst.dtype, inst.shape);
            }
        }
        Ok(())
    }

    fn region(&mut self, r: &Region, depth: usize) -> Result<()> {
        self.body("body", &r.body, depth)?;
        let types = |t: &Trace, v: &[ValueId]| -> Vec<(DType, Shape)> { v.iter().map(|&v| (t[v].dtype, t[v].shape.clone())).collect() };
        let (ins, outs) = (types(&r.body, &r.body.inputs), types(&r.body, &r.body.outputs));
        let (rule, want_in, want_out) = match &r.kind {
            RegionKind::Checkpoint => return Ok(()),
            RegionKind::CustomJvp(rule) => (rule, [ins.clone(), ins].concat(), outs),
            RegionKind::CustomVjp(rule) => (rule, [ins.clone(), outs.clone(), outs].concat(), ins),
        };
        self.body("rule", rule, depth)?;
        for (what, have, want) in [("inputs", types(rule, &rule.inputs), want_in), ("outputs", types(rule, &rule.outputs), want_out)] {
            if have.len() != want.len() {
                bail!(Argument, "the rule has {} {what}, expected {}", have.len(), want.len());
            }
            for (n, (h, w)) in have.iter().zip(&want).enumerate() {
                // The tangent of an integer is nothing a rule may look at: its type is free.
                if h != w && w.0.is_float() {
                    bail!(Shape, "the rule's {what}: number {n} is {} {}, expected {} {}", h.0, h.1, w.0, w.1);
                }
            }
        }
        Ok(())
    }

    fn body(&mut self, what: &str, t: &Arc<Trace>, depth: usize) -> Result<()> {
        if self.seen.contains(&(Arc::as_ptr(t), depth)) {
            return Ok(());
        }
        if !t.params.is_empty() {
            bail!(Internal, "the {what} has params: it takes them as operands");
        }
        self.trace(t, depth + 1).map_err(|e| err_like(&e, format!("in the {what}: {}", e.message())))?;
        self.seen.insert((Arc::as_ptr(t), depth));
        Ok(())
    }
}

/// The same kind and site with another message.
fn err_like(e: &crate::base::Error, message: String) -> crate::base::Error {
    let new = crate::base::Error::new(e.kind(), message);
    e.site().map_or(new.clone(), |s| new.at(s))
}

fn numbered(n: u32, i: usize, list: &[ValueId], count: &mut usize) -> Result<()> {
    if n as usize != *count || list.get(*count).map(|v| v.index()) != Some(i) {
        bail!(Internal, "number {n} is not the next one, {count}, of the trace's list");
    }
    *count += 1;
    Ok(())
}

fn shape_size(s: &Shape) -> Result<()> {
    let n = s.iter().fold(1usize, |n, &d| n.saturating_mul(d.max(1)));
    if s.rank() > MAX_RANK || n >= MAX_SIZE {
        return Err(err!(Shape, "shape {s} is too large"));
    }
    Ok(())
}

fn sizes(lists: &[&SmallVec<[usize; 4]>]) -> Result<()> {
    match lists.iter().flat_map(|l| l.iter()).find(|&&n| n >= MAX_SIZE) {
        Some(n) => Err(err!(Shape, "{n} is too large")),
        None => Ok(()),
    }
}

fn conv_sizes(c: &ConvSpec) -> Result<()> {
    let n = c.stride.len();
    if c.lo.len() != n || c.hi.len() != n || c.lhs_dilation.len() != n || c.rhs_dilation.len() != n {
        bail!(Argument, "stride, padding and dilation are not all of {n} spatial axes");
    }
    // Below 2^16, so that an extent times a dilation, or channels times groups, stays below 2^63.
    let mut factors = c.stride.iter().chain(&c.lhs_dilation).chain(&c.rhs_dilation).chain([&c.groups]);
    if let Some(n) = factors.find(|&&n| n >= 1 << 16) {
        bail!(Argument, "{n} is too large for a stride, a dilation or a number of groups");
    }
    if c.lo.iter().chain(&c.hi).any(|p| p.unsigned_abs() >= MAX_SIZE) {
        bail!(Argument, "padding is too large");
    }
    Ok(())
}

fn is_value(c: Scalar, dtype: DType) -> Result<()> {
    if !c.same(c.cast(dtype)) {
        bail!(DType, "{c:?} is no value of {dtype}");
    }
    Ok(())
}
