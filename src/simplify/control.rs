//! Branches and loops: what only they can do better. Each trace they hold is simplified as a program of its own.
//!
//! - Two regions of the same operands, one computing more than the other, become one: reverse mode runs a loop again to keep its states, and so the
//!   loop that only yields its result need not run at all.
//! - Results nobody reads go, and with them what a loop carries only for their sake; so do operands that no trace reads.
//! - What a loop carries but never changes is a const of it.

use crate::trace::{Args, Inst, LoopSpec, Op, Region, RegionKind, Trace, Trip, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

fn control(inst: &Inst) -> Option<&Arc<Region>> {
    match &inst.op {
        Op::Region(r) if r.kind.is_control() => Some(r),
        _ => None,
    }
}

/// Whether a trace holds branches or loops.
pub(super) fn any(t: &Trace) -> bool {
    t.insts.iter().any(|i| control(i).is_some())
}

/// The numbers of the results of each region that are read, in order.
fn read(t: &Trace) -> HashMap<ValueId, Vec<usize>> {
    let mut reads: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for inst in &t.insts {
        if let Op::Output(k) = inst.op {
            reads.entry(inst.args[0]).or_default().push(k as usize);
        }
    }
    reads.values_mut().for_each(|r| {
        r.sort_unstable();
        r.dedup();
    });
    reads
}

/// Regions of equal operands and instructions become one with the results of both.
pub(super) fn merge(t: &mut Trace) {
    let regions: Vec<ValueId> = t.values().filter(|&v| control(&t[v]).is_some()).collect();
    // By region: what stands for it, and the number of each of its results there.
    let mut moved: HashMap<ValueId, (ValueId, Vec<usize>)> = HashMap::new();
    for (n, &v) in regions.iter().enumerate() {
        for &first in &regions[..n] {
            if moved.contains_key(&first) || t[first].args != t[v].args {
                continue;
            }
            let (Some(a), Some(b)) = (control(&t[first]), control(&t[v])) else { continue };
            let Some((both, numbers)) = union(a, b) else { continue };
            // The results of the first keep their numbers, but for the count of a loop, which comes last.
            let count = (a.results() - 1, both.results() - 1);
            let is_loop = matches!(both.kind, RegionKind::Loop(_));
            t.insts[first.index()].op = Op::Region(Arc::new(both));
            if is_loop && count.0 != count.1 {
                renumber(t, first, count);
                for (_, numbers) in moved.values_mut().filter(|(to, _)| *to == first) {
                    numbers.iter_mut().filter(|k| **k == count.0).for_each(|k| *k = count.1);
                }
            }
            moved.insert(v, (first, numbers));
            break;
        }
    }
    if moved.is_empty() {
        return;
    }
    for inst in &mut t.insts {
        if let Op::Output(k) = inst.op
            && let Some((to, numbers)) = moved.get(&inst.args[0])
        {
            inst.args[0] = *to;
            inst.op = Op::Output(numbers[k as usize] as u32);
        }
    }
}

fn renumber(t: &mut Trace, region: ValueId, (from, to): (usize, usize)) {
    for inst in &mut t.insts {
        if inst.op == Op::Output(from as u32) && inst.args[0] == region {
            inst.op = Op::Output(to as u32);
        }
    }
}

/// One region that yields what both do, and where it yields the results of the second.
fn union(a: &Region, b: &Region) -> Option<(Region, Vec<usize>)> {
    if !(Arc::ptr_eq(&a.body, &b.body) || a.body.insts == b.body.insts) {
        return None;
    }
    match (&a.kind, &b.kind) {
        (RegionKind::Loop(x), RegionKind::Loop(y)) if x == y && a.body.outputs[..x.carry] == b.body.outputs[..x.carry] => {
            let mut body = (*a.body).clone();
            let mut numbers: Vec<usize> = (0..x.carry).collect();
            for &o in &b.body.outputs[x.carry..] {
                let rows = &body.outputs[x.carry..];
                let at = rows.iter().position(|r| *r == o).unwrap_or_else(|| {
                    body.outputs.push(o);
                    body.outputs.len() - 1 - x.carry
                });
                numbers.push(x.carry + at);
            }
            numbers.push(body.outputs.len());
            Some((Region { kind: a.kind.clone(), body: Arc::new(body) }, numbers))
        }
        (RegionKind::Cond(x), RegionKind::Cond(y)) if x == y && a.body.outputs == b.body.outputs => {
            Some((a.clone(), (0..a.results()).collect()))
        }
        _ => None,
    }
}

/// Drops what is not read, and simplifies what is left.
pub(super) fn prune(t: &Trace) -> Trace {
    let reads = read(t);
    let mut out = Trace::new();
    let mut map: Vec<ValueId> = Vec::with_capacity(t.insts.len());
    // By new region: the new number of each old result, or the operand that it is.
    let mut results: HashMap<ValueId, Vec<Option<Place>>> = HashMap::new();
    for (i, inst) in t.insts.iter().enumerate() {
        let args: Args = inst.args.iter().map(|a| map[a.index()]).collect();
        if let Op::Output(k) = inst.op
            && let Some(r) = results.get(&args[0])
        {
            map.push(match r[k as usize] {
                Some(Place::Number(n)) => out.push_typed(Op::Output(n as u32), &args, inst.dtype, inst.shape.clone(), inst.site),
                Some(Place::Is(v)) => v,
                None => unreachable!("a result that is read is kept"),
            });
            continue;
        }
        let Some(r) = control(inst) else {
            map.push(out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site));
            continue;
        };
        let wanted = reads.get(&ValueId::new(i)).map_or(&[][..], |r| r);
        let (new, operands, numbers) = match &r.kind {
            RegionKind::Loop(l) => pruned_loop(r, l, wanted),
            RegionKind::Cond(other) => pruned_cond(r, other, wanted),
            _ => unreachable!("control regions are branches and loops"),
        };
        let new = new.with_traces(|b| Arc::new(super::simplify(b)));
        let given: Vec<ValueId> = operands.iter().map(|&i| args[i]).collect();
        let (dtype, shape) = new.result(0);
        let v = out.push_typed(Op::Region(Arc::new(new)), &given, dtype, shape, inst.site);
        let numbers = numbers.into_iter().map(|n| {
            n.map(|n| match n {
                Place::Is(operand) => Place::Is(args[operand.index()]),
                number => number,
            })
        });
        results.insert(v, numbers.collect());
        map.push(v);
    }
    out.outputs = t.outputs.iter().map(|o| map[o.index()]).collect();
    out
}

/// Where a result of a pruned region is.
#[derive(Clone, Copy)]
enum Place {
    Number(usize),
    /// It is this operand (by number), unchanged.
    Is(ValueId),
}

/// Which instructions `roots` need.
fn live(t: &Trace, roots: impl Iterator<Item = ValueId>) -> Vec<bool> {
    let mut live = vec![false; t.insts.len()];
    roots.for_each(|v| live[v.index()] = true);
    for i in (0..live.len()).rev() {
        if live[i] {
            t.insts[i].args.iter().for_each(|a| live[a.index()] = true);
        }
    }
    live
}

/// A trace that takes only the inputs `takes` of `t` and yields only `yields`.
fn part(t: &Trace, takes: &[usize], yields: &[ValueId]) -> Trace {
    let mut out = Trace::new();
    let mut map: Vec<Option<ValueId>> = vec![None; t.insts.len()];
    for &i in takes {
        let v = t.inputs[i];
        map[v.index()] = Some(out.input(t.dtype(v), t.shape(v).clone()));
    }
    let live = live(t, yields.iter().copied());
    for (i, inst) in t.insts.iter().enumerate() {
        if live[i] && map[i].is_none() {
            let args: Args = inst.args.iter().map(|a| map[a.index()].expect("operands come first")).collect();
            map[i] = Some(out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site));
        }
    }
    out.outputs = yields.iter().map(|o| map[o.index()].expect("yielded values are live")).collect();
    out
}

fn pruned_cond(r: &Region, other: &Trace, wanted: &[usize]) -> (Region, Vec<usize>, Vec<Option<Place>>) {
    let yields = |t: &Trace| -> Vec<ValueId> { wanted.iter().map(|&k| t.outputs[k]).collect() };
    let branches = [&*r.body, other];
    let lives = branches.map(|t| live(t, yields(t).into_iter()));
    let takes: Vec<usize> = (0..r.arity()).filter(|&i| i == 0 || (0..2).any(|b| lives[b][branches[b].inputs[i].index()])).collect();
    let [body, other] = branches.map(|t| Arc::new(part(t, &takes, &yields(t))));
    let mut numbers = vec![None; r.results()];
    wanted.iter().enumerate().for_each(|(n, &k)| numbers[k] = Some(Place::Number(n)));
    (Region { kind: RegionKind::Cond(other), body }, takes, numbers)
}

fn pruned_loop(r: &Region, l: &LoopSpec, wanted: &[usize]) -> (Region, Vec<usize>, Vec<Option<Place>>) {
    let (body, own) = (&*r.body, l.consts + l.carry);
    let go = match &l.trip {
        Trip::While(go) => Some(&**go),
        _ => None,
    };
    let asked = go.map(|go| live(go, go.outputs.iter().copied()));
    // What is carried and never changes.
    let fixed: Vec<bool> = (0..l.carry).map(|k| body.outputs[k] == body.inputs[l.consts + k]).collect();
    // What is carried for something that is read.
    let rows: Vec<usize> = wanted.iter().copied().filter(|&k| k >= l.carry && k < body.outputs.len()).collect();
    let reads = |t: Option<&Vec<bool>>, of: &Trace, i: usize| t.is_some_and(|live| live[of.inputs[i].index()]);
    let mut carried: Vec<bool> =
        (0..l.carry).map(|k| !fixed[k] && (wanted.contains(&k) || go.is_some_and(|go| reads(asked.as_ref(), go, l.consts + k)))).collect();
    let alive = loop {
        let roots = rows.iter().copied().chain((0..l.carry).filter(|&k| carried[k])).map(|k| body.outputs[k]);
        let alive = live(body, roots);
        let more: Vec<usize> = (0..l.carry).filter(|&k| !fixed[k] && !carried[k] && alive[body.inputs[l.consts + k].index()]).collect();
        if more.is_empty() {
            break alive;
        }
        more.iter().for_each(|&k| carried[k] = true);
    };
    let used = |i: usize| alive[body.inputs[i].index()] || (i < own && go.is_some_and(|go| reads(asked.as_ref(), go, i)));
    // Consts, then what became one; carry; stacks.
    let mut consts: Vec<usize> = (0..l.consts).filter(|&i| used(i) || (i == 0 && l.trip == Trip::Count)).collect();
    consts.extend((0..l.carry).filter(|&k| fixed[k]).map(|k| l.consts + k).filter(|&i| used(i)));
    let carry: Vec<usize> = (0..l.carry).filter(|&k| carried[k]).collect();
    let stacks: Vec<usize> = (own..r.arity()).filter(|&i| used(i)).collect();
    let operands: Vec<usize> = consts.iter().copied().chain(carry.iter().map(|k| l.consts + k)).chain(stacks.iter().copied()).collect();
    let takes: Vec<usize> = operands.iter().copied().chain([r.arity()]).collect();
    let yields: Vec<ValueId> = carry.iter().chain(&rows).map(|&k| body.outputs[k]).collect();
    let trip = match go {
        Some(go) => {
            let takes: Vec<usize> = operands[..consts.len() + carry.len()].iter().copied().chain([own]).collect();
            Trip::While(Arc::new(part(go, &takes, &go.outputs)))
        }
        None => l.trip.clone(),
    };
    let mut numbers: Vec<Option<Place>> = vec![None; r.results()];
    carry.iter().chain(&rows).enumerate().for_each(|(n, &k)| numbers[k] = Some(Place::Number(n)));
    (0..l.carry).filter(|&k| fixed[k]).for_each(|k| numbers[k] = Some(Place::Is(ValueId::new(l.consts + k))));
    numbers[r.results() - 1] = Some(Place::Number(yields.len()));
    let spec = LoopSpec { consts: consts.len(), carry: carry.len(), trip, ..l.clone() };
    (Region { kind: RegionKind::Loop(Arc::new(spec)), body: Arc::new(part(body, &takes, &yields)) }, operands, numbers)
}
