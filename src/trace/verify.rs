//! The rules of a trace, checked. They are listed in the [module header](super).

use super::infer;
use super::ir::{Trace, ValueId};
use super::op::{ConvSpec, Op};
use super::region::{LoopSpec, Region, RegionKind, Trip};
use crate::base::error::bail;
use crate::base::{DType, Result, Scalar, Shape};
use smallvec::SmallVec;
use std::collections::HashSet;
use std::sync::Arc;

/// Deepest nesting of regions; every recursion over regions relies on it.
pub const MAX_NESTING: usize = 32;
/// Most axes of a shape.
pub const MAX_RANK: usize = 64;
/// Sizes below this leave room for arithmetic on them, in 64 bits and in 32.
const MAX_SIZE: usize = 1 << (if usize::BITS == 64 { 47 } else { 30 });
const MAX_ARGS: usize = 1 << 16;

/// Checks the rules of a trace, regions included.
///
/// # Errors
/// The first broken rule, naming the instruction.
pub fn verify(t: &Trace) -> Result<()> {
    let mut v = Verifier::new(0);
    for _ in &t.insts {
        v.next(t)?;
    }
    v.finish(t)
}

/// Verification in steps, for a trace that is still growing.
pub(super) struct Verifier {
    /// Regions around the trace.
    depth: usize,
    /// Bodies already found good, by address: traces share them.
    seen: HashSet<*const Trace>,
    /// Instructions checked so far, and the inputs and params among them.
    done: usize,
    inputs: usize,
    params: usize,
}

impl Verifier {
    /// At the start of a trace inside of `depth` regions.
    pub(super) fn new(depth: usize) -> Verifier {
        Verifier { depth, seen: HashSet::new(), done: 0, inputs: 0, params: 0 }
    }

    /// Checks the next instruction.
    pub(super) fn next(&mut self, t: &Trace) -> Result<()> {
        let i = self.done;
        self.done += 1;
        self.inst(t, i).map_err(|e| {
            // The type rules name their op already.
            let (name, m) = (t.insts[i].op.name(), e.message());
            let e = reworded(&e, if m.starts_with(name) { format!("%{i} = {m}") } else { format!("%{i} = {name}: {m}") });
            t.insts[i].site.map_or(e.clone(), |s| e.at(s))
        })
    }

    /// Checks what remains once all instructions are.
    pub(super) fn finish(&self, t: &Trace) -> Result<()> {
        if t.inputs.len() != self.inputs || t.params.len() != self.params {
            let (i, p) = (self.inputs, self.params);
            bail!(Internal, "{} inputs and {} params are listed, {i} and {p} exist", t.inputs.len(), t.params.len());
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

    fn inst(&mut self, t: &Trace, i: usize) -> Result<()> {
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
            Op::Input(n) => numbered(*n, i, &t.inputs, &mut self.inputs)?,
            Op::Param(n) => numbered(*n, i, &t.params, &mut self.params)?,
            Op::Slice(s) => sizes(&[&s.start, &s.end, &s.step])?,
            Op::Pad(p) => {
                sizes(&[&p.lo, &p.hi])?;
                is_value(p.value, inst.dtype)?;
            }
            Op::Conv(c) => conv_sizes(c)?,
            Op::Region(r) => self.region(r)?,
            _ => {}
        }
        let types: SmallVec<[(DType, &Shape); 3]> = inst.args.iter().map(|&a| (t[a].dtype, &t[a].shape)).collect();
        infer::check(&inst.op, &types, inst.dtype, &inst.shape)?;
        if let Op::Output(n) = inst.op {
            let Op::Region(r) = &t[inst.args[0]].op else { bail!(Internal, "operand {:?} is no region", inst.args[0]) };
            if n as usize >= r.results() {
                bail!(Index, "number {n} of a region of {} outputs", r.results())
            }
            let (d, s) = r.result(n as usize);
            if d != inst.dtype || s != inst.shape {
                bail!(Internal, "the region yields {d} {s}, but the type says {} {}", inst.dtype, inst.shape);
            }
        }
        Ok(())
    }

    fn region(&mut self, r: &Region) -> Result<()> {
        self.body("body", &r.body)?;
        let types = |t: &Trace, v: &[ValueId]| -> Vec<(DType, Shape)> { v.iter().map(|&v| (t[v].dtype, t[v].shape.clone())).collect() };
        let (ins, outs) = (types(&r.body, &r.body.inputs), types(&r.body, &r.body.outputs));
        let (rule, want_in, want_out) = match &r.kind {
            &RegionKind::Checkpoint(saved) => {
                if saved > 0 && saved as usize >= r.body.outputs.len() {
                    bail!(Argument, "{saved} saved outputs of {}: at least one must be a result", r.body.outputs.len());
                }
                return Ok(());
            }
            RegionKind::CustomJvp(rule) => (rule, [ins.clone(), ins].concat(), outs),
            RegionKind::CustomVjp(rule) => (rule, [ins.clone(), outs.clone(), outs].concat(), ins),
            RegionKind::Cond(other) => {
                if ins.first() != Some(&(DType::Bool, Shape::scalar())) {
                    bail!(DType, "a cond's first operand is not a single bool");
                }
                self.body("other branch", other)?;
                let (other_ins, other_outs) = (types(other, &other.inputs), types(other, &other.outputs));
                if other_ins != ins || other_outs != outs {
                    bail!(Shape, "the branches of a cond differ in type: {ins:?} -> {outs:?} and {other_ins:?} -> {other_outs:?}");
                }
                return Ok(());
            }
            RegionKind::Loop(l) => return self.repeated(l, &ins, &outs),
        };
        self.body("rule", rule)?;
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

    fn repeated(&mut self, l: &LoopSpec, ins: &[(DType, Shape)], outs: &[(DType, Shape)]) -> Result<()> {
        let number = (DType::I64, Shape::scalar());
        let own = l.consts.saturating_add(l.carry);
        if own >= ins.len() || ins.last() != Some(&number) {
            bail!(Argument, "a loop's body takes its consts, its carry, rows, and the number of the iteration, got {} inputs", ins.len());
        }
        let carried = &ins[l.consts..own];
        if outs.len() < l.carry || &outs[..l.carry] != carried {
            bail!(Shape, "a loop carries {carried:?}, but its body yields {outs:?}");
        }
        match l.length {
            None if ins.len() > own + 1 || outs.len() > l.carry || l.reverse => bail!(Argument, "a loop without a length has no rows"),
            Some(n) if n >= MAX_SIZE => bail!(Shape, "a loop of {n} iterations is too long"),
            _ => {}
        }
        for r in ins[own..ins.len() - 1].iter().chain(&outs[l.carry..]) {
            shape_size(&l.stack(&r.1))?;
        }
        match &l.trip {
            Trip::Fixed if l.length.is_none() => bail!(Argument, "a loop has neither a length nor a condition"),
            Trip::Fixed => {}
            Trip::Count if l.consts == 0 || ins[0] != number || l.length.is_none() => {
                bail!(Argument, "the first const of a counted loop is not a single i64, or it has no length")
            }
            Trip::Count => {}
            Trip::While(_) if l.reverse => bail!(Argument, "a loop with a condition cannot visit rows from the last"),
            Trip::While(go) => {
                self.body("condition", go)?;
                let want: Vec<_> = ins[..own].iter().cloned().chain([number]).collect();
                let have: Vec<_> = go.inputs.iter().map(|&v| (go[v].dtype, go[v].shape.clone())).collect();
                if have != want {
                    bail!(Shape, "a loop's condition takes {have:?}, expected {want:?}");
                }
                let yields: Vec<_> = go.outputs.iter().map(|&v| (go[v].dtype, go[v].shape.clone())).collect();
                if yields != [(DType::Bool, Shape::scalar())] {
                    bail!(DType, "a loop's condition yields {yields:?}, expected a single bool");
                }
            }
        }
        Ok(())
    }

    fn body(&mut self, what: &str, t: &Arc<Trace>) -> Result<()> {
        if self.seen.contains(&Arc::as_ptr(t)) {
            return Ok(());
        }
        if self.depth == MAX_NESTING {
            bail!(Argument, "regions are nested more than {MAX_NESTING} deep");
        }
        if !t.params.is_empty() {
            bail!(Internal, "the {what} has params: it takes them as operands");
        }
        let mut inner = Verifier::new(self.depth + 1);
        let r = (0..t.insts.len()).try_for_each(|_| inner.next(t)).and_then(|()| inner.finish(t));
        r.map_err(|e| reworded(&e, format!("in the {what}: {}", e.message())))?;
        self.seen.insert(Arc::as_ptr(t));
        Ok(())
    }
}

/// The same kind and site with another message.
fn reworded(e: &crate::base::Error, message: String) -> crate::base::Error {
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
        bail!(Shape, "shape {s} is too large");
    }
    Ok(())
}

fn sizes(lists: &[&SmallVec<[usize; 4]>]) -> Result<()> {
    match lists.iter().flat_map(|l| l.iter()).find(|&&n| n >= MAX_SIZE) {
        Some(n) => bail!(Shape, "{n} is too large"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Binary, Unary};

    fn broken(message: &str, change: impl FnOnce(&mut Trace)) {
        let text = "
            %0 = input 0 : f32[2]
            %1 = const 1.0 : f32[]
            %2 = broadcast %1 : f32[2]
            %3 = add %0 %2 : f32[2]
            %4 = region custom_jvp %3 {
              %0 = input 0 : f32[2]
              %1 = sin %0 : f32[2]
              return %1
            } rule {
              %0 = input 0 : f32[2]
              %1 = input 1 : f32[2]
              %2 = cos %0 : f32[2]
              %3 = mul %1 %2 : f32[2]
              return %3
            } : f32[2]
            %5 = output 0 %4 : f32[2]
            return %5";
        let mut t: Trace = text.parse().unwrap();
        verify(&t).unwrap();
        change(&mut t);
        let e = verify(&t).expect_err(message);
        assert!(e.message().contains(message), "{message}: {e}");
    }

    #[test]
    fn each_rule_is_checked() {
        let v = ValueId::new;
        broken("%3 = add: operand %3 does not come before", |t| t.insts[3].args[1] = v(3));
        broken("%0 = input: number 1", |t| t.insts[0].op = Op::Input(1));
        broken("listed", |t| t.inputs.push(v(0)));
        broken("%3 = add yields f32 [2], but its type says f64 [2]", |t| t.insts[3].dtype = DType::F64);
        broken("%3 = add: shapes [2] and [] differ", |t| t.insts[3].args[1] = v(1));
        broken("%2 = not is not defined for f32", |t| t.insts[2].op = Op::Unary(Unary::Not));
        broken("%2 = sub takes 2 operands", |t| t.insts[2].op = Op::Binary(Binary::Sub));
        broken("%1 = const Float(0.1) is no value of f32", |t| t.insts[1].op = Op::Const(Scalar::Float(0.1)));
        broken("output 0 is the region", |t| t.outputs[0] = v(4));
        broken("output 0 is %9", |t| t.outputs[0] = v(9));
        broken("%5 = neg: operand %4 is a region", |t| t.insts[5].op = Op::Unary(Unary::Neg));
        broken("%5 = output: number 1 of a region of 1", |t| t.insts[5].op = Op::Output(1));
        broken("%5 = output: operand %3 is no region", |t| t.insts[5].args[0] = v(3));
        broken("%5 = output: the region yields f32 [2]", |t| t.insts[5].shape = [3].into());
        broken("%0 = input: shape [140737488355328] is too large", |t| t.insts[0].shape = [1 << 47].into());
        let rule = |f: fn(&mut Trace)| {
            move |t: &mut Trace| {
                let Op::Region(r) = &t.insts[4].op else { unreachable!() };
                let RegionKind::CustomJvp(rule) = &r.kind else { unreachable!() };
                let mut rule = (**rule).clone();
                f(&mut rule);
                t.insts[4].op = Op::Region(Arc::new(Region { kind: RegionKind::CustomJvp(Arc::new(rule)), body: r.body.clone() }));
            }
        };
        broken("%4 = region: the rule has 2 outputs, expected 1", rule(|r| r.outputs.push(ValueId::new(0))));
        broken("%4 = region: in the rule: %2 = cos: operand %2", rule(|r| r.insts[2].args[0] = ValueId::new(2)));
        broken("%4 = region: the rule has params", rule(|r| _ = r.param(DType::F32)));
        broken(
            "the rule's outputs: number 0 is f32 []",
            rule(|r| r.outputs[0] = r.constant(Scalar::Float(0.0), DType::F32, &Shape::scalar())),
        );
    }
}
