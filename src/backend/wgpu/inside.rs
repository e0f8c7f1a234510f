//! Loops that become one kernel: a fixed number of iterations of one pointwise kernel that reads of what is carried only its own point's.

use super::emit::{Carried, Next, Repeat};
use crate::loops::legalize::per_word;
use crate::loops::order::Node;
use crate::loops::schedule::{Control, ControlKind, Instance, Launch, Place, PlanResult, Slot, SlotId};
use crate::loops::symbolic::Symbolic;
use crate::loops::{Access, Archetype, Arg, ArgId, ExprKind, IndexId, Kernel, Store};
use std::sync::Arc;

/// Devices stop what runs for seconds: iterations times expressions of a point.
const MOST: usize = 1 << 22;
/// Some adapters stop any loop after 65535 iterations.
const LONGEST: usize = 1 << 15;

/// What an argument of the body is.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Const(usize),
    Carry(usize),
    Stack(usize),
    Number,
    /// A result of the body.
    Result(usize),
}

/// The arguments of the kernel in the making.
#[derive(Default)]
struct Args {
    args: Vec<Arg>,
    slots: Vec<SlotId>,
}

impl Args {
    fn put(&mut self, arg: Arg, slot: SlotId) -> usize {
        let known = (0..self.args.len()).find(|&n| self.slots[n] == slot && self.args[n].access == arg.access);
        known.unwrap_or_else(|| {
            self.args.push(arg);
            self.slots.push(slot);
            self.args.len() - 1
        })
    }
}

/// Whether points in row-major order have neighbouring elements, the first point the first.
fn dense(s: &Symbolic, k: &Kernel, i: IndexId) -> bool {
    let Some((0, strides)) = s.affine(i) else { return false };
    let mut want = 1i64;
    k.axes.iter().zip(&strides).rev().all(|(a, &x)| {
        let ok = a.extent == 1 || x == want;
        want *= a.extent as i64;
        ok
    })
}

/// The kernel, bound to the slots around the loop, and how it repeats; `None` if the loop is not of that kind.
pub(super) fn kernel(c: &Control, slots: &[Slot]) -> Option<(Instance, Repeat)> {
    let ControlKind::Loop(p) = &c.kind else { return None };
    let count = p.length.filter(|&n| n > 0 && n <= LONGEST && p.first.is_none() && !p.counted)?;
    let (carry, rows) = (p.carry.len(), p.rows.len());
    let own = p.consts + carry;
    // Nobody asks how often it ran.
    if c.results.len() > carry + rows && c.results[carry + rows..].iter().any(Option::is_some) {
        return None;
    }
    let [Launch::Kernels(all)] = &p.body.schedule.launches[..] else { return None };
    let [instance] = &all[..] else { return None };
    let k = &*instance.kernel;
    let point = k.exprs.len().saturating_mul(count);
    if k.archetype != Archetype::Pointwise || k.passes.len() != 1 || !k.params.is_empty() || k.outer_len() == 0 || point > MOST {
        return None;
    }
    let place = |a: usize| p.body.schedule.slots[instance.slots[a].0 as usize].place;
    let result_of = |o: u32| {
        let mut found = (0..carry + rows).filter(|&r| p.body.results.get(r) == Some(&PlanResult::Output(o)));
        found.next().filter(|_| found.next().is_none())
    };
    let role = |a: usize| match place(a) {
        Place::Input(i) => Some(match i as usize {
            i if i < p.consts => Role::Const(i),
            i if i < own => Role::Carry(i - p.consts),
            i if i < own + p.stacks.len() => Role::Stack(i - own),
            _ => Role::Number,
        }),
        Place::Output(o) => result_of(o).map(Role::Result),
        Place::Arena(_) => None,
    };
    let roles = (0..k.args.len()).map(role).collect::<Option<Vec<Role>>>()?;
    // What it writes is not what it reads, in whatever order points come.
    if c.results.iter().flatten().any(|r| c.operands.contains(r)) {
        return None;
    }
    let symbolic = Symbolic::new(k).ok()?;
    let mut element: Option<IndexId> = None;
    let mut own_element = |i: IndexId, numel: usize| {
        let ok = numel == k.outer_len() && dense(&symbolic, k, i);
        element.get_or_insert(i);
        ok
    };
    let mut out = k.clone();
    let mut args = Args::default();
    let (mut moving, mut number) = (Vec::new(), Vec::new());
    let read = |arg: Arg| Arg { access: Access::Read, ..arg };
    let mut begins: Vec<Option<usize>> = vec![None; carry];
    for n in k.order(k.passes[0].roots()).ok()? {
        let Node::Expr(x) = n else { continue };
        let ExprKind::Load { arg, index, mask, .. } = &k.exprs[x.index()].kind else { continue };
        let a = k.args[arg.index()];
        let to = match roles[arg.index()] {
            Role::Const(i) => args.put(read(a), c.operands[i]),
            Role::Carry(j) => {
                if !mask.is_empty() || !own_element(*index, a.numel) {
                    return None;
                }
                let n = args.put(read(a), c.operands[p.consts + j]);
                begins[j] = Some(n);
                n
            }
            Role::Stack(j) => {
                let row = p.stacks[j] / a.dtype.size();
                let n = args.put(Arg { numel: row * count, ..read(a) }, c.operands[own + j]);
                moving.push((n, row));
                n
            }
            Role::Number => {
                number.push(x);
                out.exprs[x.index()].kind = ExprKind::Param(0);
                continue;
            }
            Role::Result(_) => return None,
        };
        if let ExprKind::Load { arg, .. } = &mut out.exprs[x.index()].kind {
            *arg = ArgId(to as u32);
        }
    }
    // An argument is one thing only.
    if c.operands.iter().enumerate().any(|(n, s)| n >= p.consts && c.operands[..n].contains(s)) {
        return None;
    }
    let mut stores: Vec<Store> = Vec::new();
    let mut next: Vec<Option<Next>> = vec![None; carry];
    for st in &k.passes[0].stores {
        let a = k.args[st.arg.index()];
        let r = match roles[st.arg.index()] {
            Role::Result(r) => r,
            // In place: it yields what it was given, overwritten.
            Role::Carry(j) if p.body.results[j] == PlanResult::Leaf((p.consts + j) as u32) => j,
            _ => return None,
        };
        let slot = c.results[r]?;
        if per_word(a.dtype) > 1 || st.valid.is_some() {
            return None;
        }
        let arg = Arg { access: Access::Write, ..a };
        let to = if r < carry {
            if next[r].is_some() || !own_element(st.index, a.numel) {
                return None;
            }
            next[r] = Some(Next::Store(stores.len()));
            args.put(arg, slot)
        } else {
            let row = p.rows[r - carry] / a.dtype.size();
            let n = args.put(Arg { numel: row * count, ..arg }, slot);
            moving.push((n, row));
            n
        };
        stores.push(Store { arg: ArgId(to as u32), ..*st });
    }
    let in_place = |j: usize| k.passes[0].stores.iter().any(|s| roles[s.arg.index()] == Role::Carry(j));
    let mut carried = Vec::with_capacity(carry);
    for j in 0..carry {
        let next = match (next[j], p.body.results[j]) {
            (Some(n), _) => n,
            (None, PlanResult::Leaf(i)) if (p.consts..own).contains(&(i as usize)) && !in_place(i as usize - p.consts) => {
                Next::Value(i as usize - p.consts)
            }
            _ => return None,
        };
        carried.push(Carried { from: begins[j], next, to: None, dtype: slots[c.operands[p.consts + j].0 as usize].dtype });
    }
    for j in 0..carry {
        let of = |c: &Carried, access| Arg { dtype: c.dtype, numel: k.outer_len(), access };
        if let Next::Value(v) = carried[j].next
            && carried[v].from.is_none()
        {
            carried[v].from = Some(args.put(of(&carried[v], Access::Read), c.operands[p.consts + v]));
        }
        if let Some(slot) = c.results[j] {
            let (dtype, fits) = (carried[j].dtype, slots[slot.0 as usize].numel == k.outer_len());
            if per_word(dtype) > 1 || !fits {
                return None;
            }
            carried[j].to = Some(args.put(of(&carried[j], Access::Write), slot));
        }
    }
    // Rows that are what an iteration began with, as reverse mode wants them.
    let mut kept = Vec::new();
    for j in 0..rows {
        let Some(slot) = c.results[carry + j] else { continue };
        match p.body.results[carry + j] {
            PlanResult::Output(_) => {}
            PlanResult::Leaf(i) if (p.consts..own).contains(&(i as usize)) && !in_place(i as usize - p.consts) => {
                let v = i as usize - p.consts;
                let dtype = carried[v].dtype;
                if per_word(dtype) > 1 || p.rows[j] != k.outer_len() * dtype.size() {
                    return None;
                }
                if carried[v].from.is_none() {
                    let arg = Arg { dtype, numel: k.outer_len(), access: Access::Read };
                    carried[v].from = Some(args.put(arg, c.operands[i as usize]));
                }
                let n = args.put(Arg { dtype, numel: k.outer_len() * count, access: Access::Write }, slot);
                moving.push((n, k.outer_len()));
                kept.push((n, v));
            }
            PlanResult::Leaf(_) => return None,
        }
    }
    if (0..carry).any(|j| carried[j].from.is_some() && p.carry[j] != k.outer_len() * carried[j].dtype.size()) {
        return None;
    }
    out.passes[0].stores = stores;
    out.args = args.args;
    if !number.is_empty() {
        out.params = vec![crate::base::DType::I64];
    }
    let element = element?;
    moving.sort_unstable();
    moving.dedup();
    let repeat = Repeat { count: u32::try_from(count).ok()?, reverse: p.reverse, carried, rows: moving, kept, number, element };
    Some((Instance { kernel: Arc::new(out), slots: args.slots, params: Vec::new() }, repeat))
}
