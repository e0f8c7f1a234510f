//! A schedule as bytes, kernels in their [text form](super::text), each once however often it is launched. It comes back equal, or, from
//! bytes that are none, not at all; what comes back may break the rules that [`verify`](super::verify) checks.

use super::Kernel;
use super::schedule::{Control, ControlKind, Instance, Launch, LoopProgram, Place, PlanResult, Program, Schedule, Slot, SlotId};
use crate::base::pack::{Packer, Unpacker};
use std::collections::HashMap;
use std::sync::Arc;

/// Deeper nests of branches and loops are not read: nobody writes them.
const DEEPEST: usize = 64;

/// A schedule, and where its results are, as bytes.
pub fn pack(program: &Program) -> Vec<u8> {
    let (mut kernels, mut body) = (Kernels::default(), Packer::default());
    put_program(&mut body, program, &mut kernels);
    let mut p = Packer::default();
    p.list(&kernels.list, |p, k| p.bytes(k.to_string().as_bytes()));
    p.0.append(&mut body.0);
    p.0
}

/// What was [packed](pack).
pub fn unpack(u: &mut Unpacker<'_>) -> Option<Program> {
    let kernels = u.list(|u| Some(Arc::new(u.text()?.parse::<Kernel>().ok()?)))?;
    take_program(u, &kernels, 0)
}

/// Kernels by number.
#[derive(Default)]
struct Kernels {
    list: Vec<Arc<Kernel>>,
    number: HashMap<*const Kernel, usize>,
}

impl Kernels {
    fn number(&mut self, k: &Arc<Kernel>) -> usize {
        *self.number.entry(Arc::as_ptr(k)).or_insert_with(|| {
            self.list.push(k.clone());
            self.list.len() - 1
        })
    }
}

fn put_program(p: &mut Packer, program: &Program, kernels: &mut Kernels) {
    let s = &program.schedule;
    p.list(&s.slots, |p, s| {
        p.dtype(s.dtype);
        p.size(s.numel);
        let (kind, n) = match s.place {
            Place::Input(n) => (0, n as usize),
            Place::Output(n) => (1, n as usize),
            Place::Arena(at) => (2, at),
        };
        p.number(kind);
        p.size(n);
    });
    p.list(&s.params, |p, &d| p.dtype(d));
    p.size(s.arena_bytes);
    p.list(&s.donated, |p, &n| p.number(n.into()));
    p.list(&program.results, |p, r| {
        let (leaf, n) = match *r {
            PlanResult::Output(n) => (false, n),
            PlanResult::Leaf(n) => (true, n),
        };
        p.flag(leaf);
        p.number(n.into());
    });
    p.list(&s.launches, |p, l| match l {
        Launch::Kernels(instances) => {
            p.number(0);
            p.list(instances, |p, i| {
                p.size(kernels.number(&i.kernel));
                p.list(&i.slots, |p, s| p.number(s.0.into()));
                p.list(&i.params, |p, &n| p.number(n.into()));
            });
        }
        Launch::Control(c) => {
            p.number(1);
            p.list(&c.operands, |p, s| p.number(s.0.into()));
            p.list(&c.results, |p, r| p.option(*r, |p, s| p.number(s.0.into())));
            put_control(p, &c.kind, kernels);
        }
    });
}

fn put_control(p: &mut Packer, kind: &ControlKind, kernels: &mut Kernels) {
    match kind {
        ControlKind::Cond(programs) => {
            p.number(0);
            programs.iter().for_each(|x| put_program(p, x, kernels));
        }
        ControlKind::Loop(l) => {
            p.number(1);
            p.size(l.consts);
            for sizes in [&l.carry, &l.stacks, &l.rows] {
                p.list(sizes, |p, &n| p.size(n));
            }
            p.option(l.length, |p, n| p.size(n));
            p.flag(l.counted);
            p.flag(l.reverse);
            put_program(p, &l.body, kernels);
            p.option(l.first.as_ref(), |p, x| put_program(p, x, kernels));
        }
    }
}

fn take_program(u: &mut Unpacker<'_>, kernels: &[Arc<Kernel>], depth: usize) -> Option<Program> {
    if depth > DEEPEST {
        return None;
    }
    let slots = u.list(|u| {
        let (dtype, numel) = (u.dtype()?, u.size()?);
        let place = match u.number()? {
            0 => Place::Input(u.word()?),
            1 => Place::Output(u.word()?),
            2 => Place::Arena(u.size()?),
            _ => return None,
        };
        Some(Slot { dtype, numel, place })
    })?;
    let params = u.list(|u| u.dtype())?;
    let (arena_bytes, donated) = (u.size()?, u.list(|u| u.word())?);
    let results = u.list(|u| Some(if u.flag()? { PlanResult::Leaf(u.word()?) } else { PlanResult::Output(u.word()?) }))?;
    let launches = u.list(|u| match u.number()? {
        0 => Some(Launch::Kernels(u.list(|u| {
            let kernel = kernels.get(u.size()?)?.clone();
            Some(Instance { kernel, slots: u.list(|u| u.word().map(SlotId))?, params: u.list(|u| u.word())? })
        })?)),
        1 => {
            let operands = u.list(|u| u.word().map(SlotId))?;
            let results = u.list(|u| u.option(|u| u.word().map(SlotId)))?;
            Some(Launch::Control(Box::new(Control { operands, results, kind: take_control(u, kernels, depth + 1)? })))
        }
        _ => None,
    })?;
    Some(Program { schedule: Schedule { slots, launches, params, arena_bytes, donated }, results })
}

fn take_control(u: &mut Unpacker<'_>, kernels: &[Arc<Kernel>], depth: usize) -> Option<ControlKind> {
    match u.number()? {
        0 => Some(ControlKind::Cond(Arc::new([take_program(u, kernels, depth)?, take_program(u, kernels, depth)?]))),
        1 => {
            let consts = u.size()?;
            let [carry, stacks, rows] = [u.list(|u| u.size())?, u.list(|u| u.size())?, u.list(|u| u.size())?];
            let (length, counted, reverse) = (u.option(|u| u.size())?, u.flag()?, u.flag()?);
            let body = take_program(u, kernels, depth)?;
            let first = u.option(|u| take_program(u, kernels, depth))?;
            Some(ControlKind::Loop(Arc::new(LoopProgram { consts, carry, stacks, rows, length, counted, reverse, body, first })))
        }
        _ => None,
    }
}
