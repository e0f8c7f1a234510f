//! Autocast: the same program with its heavy ops in a half type and its delicate ones in F32.
//!
//! Every F32 value has a form in use, F32 or half. Ops on the *half* list (products, convolutions) take their operands in half and yield half;
//! ops on the *full* list (exp, log, powers, sums, scans...) take F32; views and cheap unary functions keep the form of their operand; all
//! others meet: half if every operand is, F32 if any is not (a number is whatever the others are). Results have the dtypes they had, so a
//! gradient with respect to F32 parameters (*masters*) is F32: it passes the casts.
//!
//! F64, integers and what the program casts itself stay as they are. The bodies of checkpoints, branches and loops are treated like the rest, but
//! what goes in and out of them, such as a loop's state, keeps its type; a body with a rule of its own, and the condition of a loop, keep F32.

use crate::base::{DType, Scalar};
use crate::trace::{Args, Binary, Inst, Op, Reduce, Region, RegionKind, Trace, Unary, ValueId};
use std::sync::Arc;

/// What becomes of an op.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cast {
    /// Operands in half, result in half.
    Half,
    /// Operands in F32, result in F32.
    Full,
    /// Half if all operands are.
    Meet,
}

/// What becomes of each op.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The half type.
    pub half: DType,
    /// Exceptions, by the op's name; the last that names it counts. Reductions are named by their kind: `sum`, `max`.
    pub own: Vec<(String, Cast)>,
}

/// The name by which rules know an op.
pub fn name(op: &Op) -> &'static str {
    match op {
        Op::Reduce(k, _) => k.name(),
        op => op.name(),
    }
}

impl Rules {
    /// The rule for an op.
    pub fn of(&self, op: &Op) -> Cast {
        let name = name(op);
        if let Some(own) = self.own.iter().rev().find(|o| o.0 == name) {
            return own.1;
        }
        match op {
            Op::Dot | Op::Conv(_) => Cast::Half,
            Op::Unary(u) => match u {
                Unary::Neg | Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc => Cast::Meet,
                // Bounded, and no steeper than the identity.
                Unary::Tanh | Unary::Erf | Unary::Sin | Unary::Cos | Unary::Atan => Cast::Meet,
                _ => Cast::Full,
            },
            Op::Binary(Binary::Pow | Binary::Div | Binary::Rem | Binary::Atan2) => Cast::Full,
            Op::Reduce(Reduce::Sum | Reduce::Prod, _) => Cast::Full,
            Op::Cumulative { kind: Reduce::Sum | Reduce::Prod, .. } => Cast::Full,
            // Adds up.
            Op::Scatter(..) => Cast::Full,
            _ => Cast::Meet,
        }
    }
}

/// The program under the rules, of the same inputs and outputs. `numbers` holds, for each input, the value if it is a user's number: like a
/// constant it takes the form of what it meets.
pub fn autocast(t: &Trace, rules: &Rules, numbers: &[Option<f64>]) -> Trace {
    let n = t.insts.len();
    let mut c = Caster { t, rules, out: Trace::new(), map: Vec::with_capacity(n), other: vec![None; n], number: Vec::with_capacity(n) };
    for inst in &t.insts {
        let from = c.out.insts.len();
        c.number.push(match inst.op {
            Op::Const(k) => Some(k.as_f64()),
            Op::Input(i) => numbers.get(i as usize).copied().flatten(),
            Op::Broadcast | Op::Reshape => c.number[inst.args[0].index()],
            _ => None,
        });
        let new = c.instruction(inst);
        c.out.insts[from..].iter_mut().for_each(|i| i.site = inst.site);
        c.map.push(new);
    }
    c.out.outputs = t.outputs.iter().map(|&o| c.in_dtype(o, t.dtype(o))).collect();
    c.out
}

struct Caster<'a> {
    t: &'a Trace,
    rules: &'a Rules,
    out: Trace,
    /// The form in use of each value.
    map: Vec<ValueId>,
    /// Its other form, once it was needed.
    other: Vec<Option<ValueId>>,
    /// The number that fills a value.
    number: Vec<Option<f64>>,
}

impl Caster<'_> {
    /// The value `v` of the program in a dtype: its own, or, if that is F32, half.
    fn in_dtype(&mut self, v: ValueId, dtype: DType) -> ValueId {
        let new = self.map[v.index()];
        if self.out.dtype(new) == dtype {
            return new;
        }
        *self.other[v.index()].get_or_insert_with(|| self.out.cast(new, dtype))
    }

    /// Whether a value has a say in the form of what it meets: a number has none, unless half cannot hold it.
    fn decides(&self, v: ValueId) -> bool {
        self.number[v.index()].is_none_or(|x| x.is_finite() && !Scalar::Float(x).cast(self.rules.half).as_f64().is_finite())
    }

    /// The region with its bodies under the rules. What goes in and out of them has the types it had.
    fn region(&self, r: &Region, inst: &Inst) -> Op {
        let mut numbers: Vec<Option<f64>> = inst.args.iter().map(|a| self.number[a.index()]).collect();
        let kind = match &r.kind {
            RegionKind::Checkpoint(_) => r.kind.clone(),
            RegionKind::Cond(other) => RegionKind::Cond(Arc::new(autocast(other, self.rules, &numbers))),
            // What a loop carries is a number in its first iteration only. Whether to go on is decided as without autocast.
            RegionKind::Loop(l) => {
                numbers.truncate(l.consts);
                r.kind.clone()
            }
            RegionKind::CustomJvp(_) | RegionKind::CustomVjp(_) => return inst.op.clone(),
        };
        Op::Region(Arc::new(Region { kind, body: Arc::new(autocast(&r.body, self.rules, &numbers)) }))
    }

    fn instruction(&mut self, inst: &Inst) -> ValueId {
        let t = self.t;
        let full: Vec<bool> = inst.args.iter().map(|&a| t.dtype(a) == DType::F32).collect();
        if let Op::Region(r) = &inst.op {
            let args: Args = inst.args.iter().map(|&a| self.in_dtype(a, t.dtype(a))).collect();
            return self.out.push_typed(self.region(r, inst), &args, inst.dtype, inst.shape.clone(), inst.site);
        }
        // What has no F32 operand has nothing to choose; what the program casts itself is as it was.
        let own_cast = matches!(inst.op, Op::Cast) && inst.dtype != DType::F32;
        if !full.contains(&true) || matches!(inst.op, Op::Output(_)) || own_cast {
            let args: Args = inst.args.iter().map(|&a| self.map[a.index()]).collect();
            return self.out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site);
        }
        let to = match if inst.op.is_view() { Cast::Meet } else { self.rules.of(&inst.op) } {
            Cast::Half => self.rules.half,
            Cast::Full => DType::F32,
            Cast::Meet => {
                let mut deciding = inst.args.iter().zip(&full).filter(|(a, f)| **f && self.decides(**a)).peekable();
                // Numbers alone stay as they are.
                let any = deciding.peek().is_some();
                if any && deciding.all(|(a, _)| self.out.dtype(self.map[a.index()]) == self.rules.half) {
                    self.rules.half
                } else {
                    DType::F32
                }
            }
        };
        let args: Args =
            inst.args.iter().zip(&full).map(|(&a, &full)| if full { self.in_dtype(a, to) } else { self.map[a.index()] }).collect();
        let dtype = if inst.dtype == DType::F32 { to } else { inst.dtype };
        let mut op = inst.op.clone();
        if let Op::Pad(p) = &mut op {
            p.value = p.value.cast(dtype);
        }
        self.out.push_typed(op, &args, dtype, inst.shape.clone(), inst.site)
    }
}
