//! Memory of a plan: which buffer each stored value gets, temporaries packed into one arena by lifetime.

use super::compile::PlanResult;
use crate::base::{Result, error::err};
use crate::fuse::launch::FusedLaunch;
use crate::loops::Access;
use crate::loops::schedule::{Control, ControlKind, Instance, Launch, Place, Schedule, Slot, SlotId};
use crate::trace::{Op, Region, Trace, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// A schedule with its memory.
pub struct Layout {
    /// Kernels and buffers.
    pub schedule: Schedule,
    /// For each output.
    pub results: Vec<PlanResult>,
    /// Largest sum of live temporary bytes at any time.
    pub live_bytes: usize,
}

/// Which inputs may be written over.
pub enum Donation<'a> {
    /// Those that hold, by any result; none if empty.
    Any(&'a [bool]),
    /// By that result only: number of the output, then of the input.
    Own(&'a [(usize, u32)]),
}

impl Donation<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Donation::Any(d) => !d.contains(&true),
            Donation::Own(d) => d.is_empty(),
        }
    }

    /// Whether input `n` may be written over by output `o`, if given, or any.
    fn allows(&self, n: u32, o: Option<usize>) -> bool {
        match self {
            Donation::Any(d) => d.get(n as usize) == Some(&true),
            Donation::Own(d) => d.iter().any(|&(to, from)| from == n && o.is_none_or(|o| o == to)),
        }
    }
}

struct Life {
    first: usize,
    last: usize,
}

fn input_number(t: &Trace, v: ValueId) -> Option<u32> {
    match t[v].op {
        Op::Input(n) => Some(n),
        _ => None,
    }
}

/// Which outputs are written over which leaves: a leaf that was given for good, of the same type and size, that is no result itself,
/// read for the last time before the output is first written, or by the very kernel that writes it, if that may. Copies that this
/// makes pointless are taken out.
fn overwrites(t: &Trace, launches: &mut Vec<FusedLaunch>, outputs: &[ValueId], donated: &Donation<'_>) -> HashMap<ValueId, ValueId> {
    let mut over = HashMap::new();
    if donated.is_empty() {
        return over;
    }
    /// Launch and instance of the first write of an output or the last read of a leaf.
    type At = (usize, usize);
    let (mut reads, mut writes): (HashMap<ValueId, Vec<At>>, HashMap<ValueId, At>) = (HashMap::new(), HashMap::new());
    for (l, launch) in launches.iter().enumerate() {
        match launch {
            FusedLaunch::Kernels(instances) => {
                for (k, i) in instances.iter().enumerate() {
                    for (&v, a) in i.args.iter().zip(&i.kernel.args) {
                        if a.access == Access::Read {
                            reads.entry(v).or_default().push((l, k));
                        } else {
                            writes.entry(v).or_insert((l, k));
                        }
                    }
                }
            }
            FusedLaunch::Control(c) => {
                c.operands.iter().for_each(|&v| reads.entry(v).or_default().push((l, 0)));
                c.results.iter().flatten().for_each(|&v| _ = writes.entry(v).or_insert((l, 0)));
            }
        }
    }
    let mut free: Vec<ValueId> = t
        .inputs
        .iter()
        .copied()
        .filter(|&v| input_number(t, v).is_some_and(|n| donated.allows(n, None)) && !outputs.contains(&v))
        .collect();
    for (number, &o) in outputs.iter().enumerate() {
        let Some(&(l, k)) = writes.get(&o) else { continue };
        if over.contains_key(&o) {
            continue;
        }
        let fits = |v: ValueId| {
            input_number(t, v).is_some_and(|n| donated.allows(n, Some(number)))
                && t.dtype(v) == t.dtype(o)
                && t.shape(v).numel() == t.shape(o).numel()
                && reads.get(&v).is_none_or(|at| {
                    at.iter().all(|&(rl, rk)| {
                        let within = || {
                            let FusedLaunch::Kernels(instances) = &launches[l] else { return false };
                            let i = &instances[k];
                            let arg = |x: ValueId| i.args.iter().position(|&a| a == x).map(|n| crate::loops::ArgId(n as u32));
                            arg(v).zip(arg(o)).is_some_and(|(r, w)| i.kernel.may_overwrite(r, w))
                        };
                        rl < l || ((rl, rk) == (l, k) && within())
                    })
                })
        };
        // Best the leaf that the writing kernel reads: its memory is at hand.
        let here = |v: &ValueId| !reads.get(v).is_some_and(|at| at.contains(&(l, k)));
        let Some(v) = free.iter().copied().filter(|&v| fits(v)).min_by_key(here) else { continue };
        free.retain(|&x| x != v);
        over.insert(o, v);
    }
    for launch in launches.iter_mut() {
        let FusedLaunch::Kernels(instances) = launch else { continue };
        instances.retain(|i| match i.args[..] {
            [a, b] => {
                let pair = |r: usize, w: usize| {
                    over.get(&i.args[w]) == Some(&i.args[r])
                        && i.kernel.copies(crate::loops::ArgId(r as u32), crate::loops::ArgId(w as u32))
                };
                a == b || !(pair(0, 1) || pair(1, 0))
            }
            _ => true,
        });
    }
    launches.retain(|l| !matches!(l, FusedLaunch::Kernels(i) if i.is_empty()));
    over
}

/// Gives every argument a slot and every temporary a place in the arena, at a multiple of `alignment` bytes. `control` makes the programs of a branch or loop.
///
/// # Errors
/// `Internal` if an output is nowhere stored.
pub fn lay_out(
    t: &Trace,
    mut launches: Vec<FusedLaunch>,
    outputs: &[ValueId],
    donated: &Donation<'_>,
    alignment: usize,
    control: &dyn Fn(&Region) -> Result<ControlKind>,
) -> Result<Layout> {
    let mut s = Schedule { params: t.params.iter().map(|&p| t.dtype(p)).collect(), ..Schedule::default() };
    let over = overwrites(t, &mut launches, outputs, donated);
    s.donated = over.values().filter_map(|&v| input_number(t, v)).collect();
    let mut slot_of: HashMap<ValueId, SlotId> = HashMap::new();
    let mut lives: Vec<Life> = Vec::new();
    let mut output_number: HashMap<ValueId, u32> = HashMap::new();
    let mut results = Vec::new();
    // A result that overwrites a leaf is that leaf.
    let own = |v: ValueId| over.get(&v).copied().unwrap_or(v);
    let mut slot = |v: ValueId, place: Place, s: &mut Schedule, lives: &mut Vec<Life>| {
        *slot_of.entry(v).or_insert_with(|| {
            s.slots.push(Slot { dtype: t.dtype(v), numel: t.shape(v).numel(), place });
            lives.push(Life { first: usize::MAX, last: 0 });
            SlotId(s.slots.len() as u32 - 1)
        })
    };
    for o in outputs.iter().map(|&o| own(o)) {
        match t[o].op {
            Op::Input(n) => results.push(PlanResult::Leaf(n)),
            _ => {
                let next = output_number.len() as u32;
                let n = *output_number.entry(o).or_insert(next);
                slot(o, Place::Output(n), &mut s, &mut lives);
                results.push(PlanResult::Output(n));
            }
        }
    }
    for (at, l) in launches.into_iter().enumerate() {
        let mut touch = |v: ValueId, s: &mut Schedule, lives: &mut Vec<Life>| {
            let v = own(v);
            let place = match t[v].op {
                Op::Input(n) => Place::Input(n),
                _ => Place::Arena(0),
            };
            let id = slot(v, place, s, lives);
            let life = &mut lives[id.0 as usize];
            let first = life.first == usize::MAX;
            life.first = life.first.min(at);
            life.last = life.last.max(at);
            (id, first && matches!(place, Place::Arena(_)))
        };
        let unwritten = |v: ValueId| err!(Internal, "a kernel reads {v:?} ({}) before any kernel writes it", t[v].op.name());
        let kernels = match l {
            FusedLaunch::Kernels(kernels) => kernels,
            FusedLaunch::Control(c) => {
                let mut operands = Vec::with_capacity(c.operands.len());
                for &v in &c.operands {
                    let (id, fresh) = touch(v, &mut s, &mut lives);
                    if fresh && t.shape(v).numel() > 0 {
                        return Err(unwritten(v));
                    }
                    operands.push(id);
                }
                let results = c.results.iter().map(|r| r.map(|v| touch(v, &mut s, &mut lives).0)).collect();
                let kind = control(&c.region)?;
                s.launches.push(Launch::Control(Box::new(Control { operands, results, kind })));
                continue;
            }
        };
        let mut instances = Vec::with_capacity(kernels.len());
        for i in kernels {
            let mut slots = Vec::with_capacity(i.args.len());
            for (&v, arg) in i.args.iter().zip(&i.kernel.args) {
                let (id, fresh) = touch(v, &mut s, &mut lives);
                if arg.access == Access::Read && fresh && arg.numel > 0 {
                    return Err(unwritten(v));
                }
                slots.push(id);
            }
            instances.push(Instance { kernel: Arc::new(i.kernel), slots, params: i.params });
        }
        s.launches.push(Launch::Kernels(instances));
    }
    let live_bytes = pack(&mut s, &lives, alignment);
    Ok(Layout { schedule: s, results, live_bytes })
}

/// An order in which temporaries are placed.
type Order = fn(size: usize, life: &Life) -> (usize, usize);
/// The first is nearly always as good as any; a few sizes that do not fit together may want another.
const ORDERS: [Order; 4] = [
    |size, life| (usize::MAX - size, life.first),
    |size, life| (usize::MAX - (life.last - life.first), usize::MAX - size),
    |size, life| (life.first, usize::MAX - size),
    |size, life| (usize::MAX - life.last, usize::MAX - size),
];

/// Places temporaries one after the other, each at the lowest offset free over its whole life. Returns the lower bound: the largest sum of
/// live bytes.
fn pack(s: &mut Schedule, lives: &[Life], alignment: usize) -> usize {
    let size = |s: &Schedule, i: usize| s.slots[i].bytes().next_multiple_of(alignment);
    let mut temps: Vec<usize> =
        (0..s.slots.len()).filter(|&i| matches!(s.slots[i].place, Place::Arena(_)) && lives[i].first != usize::MAX).collect();
    let mut live_bytes = 0;
    let mut events: Vec<(usize, isize)> = Vec::new();
    for &i in &temps {
        events.push((2 * lives[i].first, size(s, i) as isize));
        events.push((2 * lives[i].last + 1, -(size(s, i) as isize)));
    }
    events.sort_unstable();
    let mut live = 0isize;
    for (_, d) in events {
        live += d;
        live_bytes = live_bytes.max(live as usize);
    }
    let mut best: Option<(usize, Vec<(usize, usize)>)> = None;
    for order in ORDERS {
        temps.sort_by_key(|&i| order(size(s, i), &lives[i]));
        let mut placed: Vec<(usize, usize, usize)> = Vec::new();
        let mut total = 0;
        for &i in &temps {
            let need = size(s, i);
            let mut busy: Vec<(usize, usize)> = placed
                .iter()
                .filter(|&&(j, _, _)| lives[j].first <= lives[i].last && lives[i].first <= lives[j].last)
                .map(|&(_, a, b)| (a, b))
                .collect();
            busy.sort_unstable();
            let mut at = 0;
            for (a, b) in busy {
                if a >= at + need {
                    break;
                }
                at = at.max(b);
            }
            total = total.max(at + need);
            placed.push((i, at, at + need));
        }
        if best.as_ref().is_none_or(|b| total < b.0) {
            best = Some((total, placed.into_iter().map(|(i, at, _)| (i, at)).collect()));
        }
        if total <= live_bytes + live_bytes / 20 {
            break;
        }
    }
    if let Some((total, placed)) = best {
        s.arena_bytes = total;
        placed.into_iter().for_each(|(i, at)| s.slots[i].place = Place::Arena(at));
    }
    live_bytes
}
