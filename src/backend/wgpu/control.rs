//! Branches and loops: programs of their own over parts of buffers, recorded one iteration after the other. A loop whose number of
//! iterations is fixed is recorded whole. What a condition decides stands under a [`Gate`]: both branches are recorded, and several
//! iterations ahead, and the device itself leaves out what is not to be. Where that cannot be (a condition inside of which another is read
//! back, say) the condition is read back when it is asked.
//!
//! What a loop carries lies in two buffers that change places, or in one if its program writes in place. The first of them is the result's
//! own. Rows, and the number of the iteration, are places within what is bound: so binding groups do not change.

use super::executable::{Built, Code as Kernel, Inside};
use super::gate::{Gate, When};
use super::gpu::Gpu;
use super::memory::View;
use super::preparing::Preparing;
use super::record::Recorder;
use crate::backend::counters;
use crate::base::error::err;
use crate::base::{DType, Result, Scalar};
use crate::loops::schedule::{Control, ControlKind, Instance, LoopProgram, Place, PlanResult, Program, Slot, SlotId};
use crate::loops::{Access, Archetype, Arg, ArgId, Expr, ExprId, ExprKind, Index, IndexId, LoopAxis, Pass, Store};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Launches recorded ahead of a condition, at most.
const AHEAD: usize = 2048;

/// A branch or loop ready to run.
pub(super) struct Code {
    gpu: Arc<Gpu>,
    operands: Vec<u32>,
    results: Vec<Option<u32>>,
    /// Bytes of each result.
    sizes: Vec<usize>,
    kind: Kind,
    copies: Copies,
}

enum Kind {
    /// And the gates of both, unless the predicate has to be read back.
    Cond(Box<[Sub; 2]>, Option<[Gate; 2]>),
    Loop(Box<Loop>),
}

struct Loop {
    p: Arc<LoopProgram>,
    body: Sub,
    first: Option<Sub>,
    /// Of a loop with a condition, unless that has to be read back.
    gate: Option<Gate>,
}

/// A program ready to run.
struct Sub {
    exe: Built,
    results: Vec<PlanResult>,
    /// For each output of the executable, the first result it is.
    owner: Vec<usize>,
}

/// Kernels that copy or clear so many bytes.
#[derive(Default)]
pub(super) struct Copies {
    by_size: HashMap<(usize, bool), Vec<Kernel>>,
}

/// Bytes as elements: of a word where everything is whole words.
fn elements(bytes: usize) -> (DType, usize) {
    if bytes.is_multiple_of(4) { (DType::U32, bytes / 4) } else { (DType::U8, bytes) }
}

impl Copies {
    /// Makes sure of the kernel for `bytes`.
    pub(super) fn prepare(&mut self, gpu: &Preparing<'_>, bytes: usize, clear: bool) -> Result<()> {
        if bytes == 0 || self.by_size.contains_key(&(bytes, clear)) {
            return Ok(());
        }
        let (dtype, numel) = elements(bytes);
        let arg = |access| Arg { dtype, numel, access };
        let kind = if clear {
            ExprKind::Const(Scalar::Int(0))
        } else {
            ExprKind::Load { arg: ArgId(1), index: IndexId(0), mask: SmallVec::new(), fill: Scalar::Int(0) }
        };
        let kernel = crate::loops::Kernel {
            archetype: Archetype::Pointwise,
            axes: vec![LoopAxis { extent: numel, row: false }],
            args: if clear { vec![arg(Access::Write)] } else { vec![arg(Access::Write), arg(Access::Read)] },
            params: Vec::new(),
            exprs: vec![Expr { kind, dtype }],
            indices: vec![Index::Axis(0)],
            passes: vec![Pass {
                stores: vec![Store { arg: ArgId(0), index: IndexId(0), value: ExprId(0), valid: None }],
                ..Pass::default()
            }],
            scratch: Vec::new(),
        };
        let slots = [0, 1].map(|n| Slot { dtype, numel, place: Place::Input(n) });
        let args = kernel.args.len();
        let i = Instance { kernel: Arc::new(kernel), slots: (0..args as u32).map(SlotId).collect(), params: Vec::new() };
        let inside = Inside { shifted: &|_| true };
        self.by_size.insert((bytes, clear), Kernel::new(gpu, &i, &slots, Some(&inside), &mut 0)?);
        Ok(())
    }

    pub(super) fn sizes(&self, all: &mut Vec<(u32, u32)>) {
        self.by_size.values().flatten().for_each(|c| c.sizes(all));
    }

    pub(super) fn copy(&self, rec: &mut Recorder, from: &View, to: &View, bytes: usize) -> Result<()> {
        let same = from.id == to.id && from.offset + from.shift == to.offset + to.shift;
        match self.by_size.get(&(bytes, false)) {
            Some(k) if !same => k.iter().try_for_each(|k| k.record(rec, &[to.clone(), from.clone()], None, &[])),
            _ => Ok(()),
        }
    }

    fn clear(&self, rec: &mut Recorder, to: &View, bytes: usize) -> Result<()> {
        self.by_size.get(&(bytes, true)).map_or(Ok(()), |k| k.iter().try_for_each(|k| k.record(rec, &[to.clone()], None, &[])))
    }
}

impl Sub {
    fn new(gpu: &Preparing<'_>, p: &Program, shifted: &dyn Fn(Place) -> bool) -> Result<Sub> {
        let exe = Built::new(gpu, &p.schedule, Some(&Inside { shifted }))?;
        let owner = (0..exe.outputs.len())
            .map(|n| {
                let at = p.results.iter().position(|r| *r == PlanResult::Output(n as u32));
                at.ok_or_else(|| err!(Internal, "an output is no result"))
            })
            .collect::<Result<_>>()?;
        Ok(Sub { exe, results: p.results.clone(), owner })
    }

    /// Memory for the arena, and for outputs that nobody reads.
    fn workspace(&self, rec: &mut Recorder, to: &[Option<View>]) -> Result<(Option<View>, Vec<Option<View>>)> {
        let arena = if self.exe.arena > 0 { Some(rec.memory(self.exe.arena)?) } else { None };
        let spare = self
            .owner
            .iter()
            .zip(&self.exe.outputs)
            .map(|(&k, &bytes)| if to[k].is_none() { rec.memory(bytes).map(Some) } else { Ok(None) })
            .collect::<Result<_>>()?;
        Ok((arena, spare))
    }

    /// Records the program; result k goes to `to[k]`, of `sizes[k]` bytes, if that is somewhere.
    fn record(
        &self,
        rec: &mut Recorder,
        copies: &Copies,
        inputs: &[View],
        to: &[Option<View>],
        sizes: &[usize],
        workspace: &(Option<View>, Vec<Option<View>>),
    ) -> Result<()> {
        let outputs: Vec<View> = self
            .owner
            .iter()
            .zip(&workspace.1)
            .map(|(&k, spare)| to[k].clone().or_else(|| spare.clone()).ok_or_else(|| err!(Internal, "an output lies nowhere")))
            .collect::<Result<_>>()?;
        self.exe.record(rec, inputs, &outputs, workspace.0.as_ref(), &[])?;
        counters::LAUNCHES.fetch_add(self.exe.steps() as u64, Relaxed);
        for (k, r) in self.results.iter().enumerate().take(to.len()) {
            let from = match *r {
                PlanResult::Output(n) => &outputs[n as usize],
                PlanResult::Leaf(i) => &inputs[i as usize],
            };
            if let Some(t) = &to[k] {
                copies.copy(rec, from, t, sizes[k])?;
            }
        }
        Ok(())
    }
}

impl Code {
    /// `nested`: inside of another loop or branch, so that any of its values may begin anywhere in what is bound.
    pub(super) fn new(gpu: &Preparing<'_>, c: &Control, slots: &[Slot], nested: bool) -> Result<Code> {
        let sizes: Vec<usize> = c.results.iter().map(|r| r.map_or(0, |s| slots[s.0 as usize].bytes())).collect();
        let mut copies = Copies::default();
        let kind = match &c.kind {
            ControlKind::Cond(b) => {
                let no = |place: Place| nested && !matches!(place, Place::Arena(_));
                for &n in &sizes {
                    copies.prepare(gpu, n, false)?;
                }
                let subs = [Sub::new(gpu, &b[0], &no)?, Sub::new(gpu, &b[1], &no)?];
                let gates = if subs.iter().all(|s| s.exe.gateable()) && sizes.iter().all(|&n| n as u64 <= gpu.span()) {
                    let gate = |s: &Sub| {
                        let mut all = vec![];
                        s.exe.sizes(&mut all);
                        copies.sizes(&mut all);
                        Gate::new(gpu, all)
                    };
                    match (gate(&subs[0])?, gate(&subs[1])?) {
                        (Some(a), Some(b)) => Some([a, b]),
                        _ => None,
                    }
                } else {
                    None
                };
                Kind::Cond(Box::new(subs), gates)
            }
            ControlKind::Loop(p) => {
                let own = p.consts + p.carry.len();
                let carry = p.carry.len();
                // Rows of stacks, and the number behind them; of the results, rows.
                let rows: Vec<u32> = p
                    .body
                    .results
                    .iter()
                    .enumerate()
                    .skip(carry)
                    .filter_map(|(_, r)| match r {
                        PlanResult::Output(n) => Some(*n),
                        PlanResult::Leaf(_) => None,
                    })
                    .collect();
                let body = Sub::new(gpu, &p.body, &|place| match place {
                    Place::Input(i) => nested || i as usize >= own,
                    Place::Output(n) => nested || rows.contains(&n),
                    Place::Arena(_) => false,
                })?;
                let first = p
                    .first
                    .as_ref()
                    .map(|f| {
                        let shifted = |place: Place| match place {
                            Place::Input(i) => nested || i as usize == own,
                            _ => false,
                        };
                        Sub::new(gpu, f, &shifted)
                    })
                    .transpose()?;
                for &n in p.carry.iter().chain(&p.rows).chain([&1, &8]) {
                    copies.prepare(gpu, n, false)?;
                }
                if !Loop::fixed(p) {
                    for &n in &p.rows {
                        copies.prepare(gpu, n * p.length.unwrap_or(0), true)?;
                    }
                }
                let carried = p.carry.iter().chain(&p.rows).all(|&n| n as u64 <= gpu.span());
                let gate = if first.is_some() && body.exe.gateable() && carried {
                    let mut all = vec![];
                    body.exe.sizes(&mut all);
                    copies.sizes(&mut all);
                    Gate::new(gpu, all)?
                } else {
                    None
                };
                Kind::Loop(Box::new(Loop { p: p.clone(), body, first, gate }))
            }
        };
        let operands = c.operands.iter().map(|s| s.0).collect();
        Ok(Code { gpu: gpu.gpu.clone(), operands, results: c.results.iter().map(|r| r.map(|s| s.0)).collect(), sizes, kind, copies })
    }

    /// Records it, and runs what must be known before the rest can be recorded.
    pub(super) fn record(&self, rec: &mut Recorder, table: &[View]) -> Result<()> {
        let operands: Vec<View> = self.operands.iter().map(|&s| table[s as usize].clone()).collect();
        let results: Vec<Option<View>> = self.results.iter().map(|r| r.map(|s| table[s as usize].clone())).collect();
        match &self.kind {
            Kind::Cond(branches, Some(gates)) => {
                let before = rec.under(None);
                for (n, (branch, gate)) in branches.iter().zip(gates).enumerate() {
                    rec.under(None);
                    let w = branch.workspace(rec, &results)?;
                    gate.ask(rec, &operands[0], before.as_ref(), if n == 0 { When::Holds } else { When::Not })?;
                    rec.under(Some(gate.open()));
                    branch.record(rec, &self.copies, &operands, &results, &self.sizes, &w)?;
                }
                rec.under(before);
                Ok(())
            }
            Kind::Cond(branches, None) => {
                rec.submit_for("cond")?;
                let mut flag = [0u8];
                self.gpu.read(&operands[0], &mut flag)?;
                let branch = if flag[0] != 0 { &branches[0] } else { &branches[1] };
                let w = branch.workspace(rec, &results)?;
                branch.record(rec, &self.copies, &operands, &results, &self.sizes, &w)
            }
            Kind::Loop(l) => l.record(rec, self, &operands, &results),
        }
    }

    /// Launches of a run, roughly.
    pub(super) fn launches(&self) -> usize {
        match &self.kind {
            Kind::Cond(b, _) => b.iter().map(|s| s.exe.launches() + s.results.len() + 1).sum(),
            Kind::Loop(l) => (l.body.exe.launches() + l.body.results.len()).saturating_mul(l.p.length.unwrap_or(1)),
        }
    }

    /// The sizes of all launches that a gate around it may have to let pass.
    pub(super) fn sizes(&self, all: &mut Vec<(u32, u32)>) {
        self.copies.sizes(all);
        match &self.kind {
            // Its branches have gates of their own, within that one.
            Kind::Cond(..) => {}
            Kind::Loop(l) => {
                l.body.exe.sizes(all);
                if let Some(f) = &l.first {
                    f.exe.sizes(all);
                }
            }
        }
    }

    /// Whether it can be recorded without asking for data.
    pub(super) fn gateable(&self) -> bool {
        match &self.kind {
            Kind::Cond(_, gates) => gates.is_some(),
            Kind::Loop(l) => Loop::fixed(&l.p) && l.body.exe.gateable() && self.sizes.iter().all(|&n| n as u64 <= self.gpu.span()),
        }
    }

    pub(super) fn source(&self) -> String {
        let subs: Vec<(&str, &Sub)> = match &self.kind {
            Kind::Cond(b, _) => vec![("if it holds", &b[0]), ("else", &b[1])],
            Kind::Loop(l) => l.first.iter().map(|f| ("before the first iteration", f)).chain([("each iteration", &l.body)]).collect(),
        };
        let mut out = String::new();
        for (what, sub) in subs {
            let _ = writeln!(out, "// {what}");
            (0..sub.exe.steps()).for_each(|i| out.push_str(&sub.exe.source(i)));
        }
        out
    }
}

impl Loop {
    /// How often it runs does not depend on data.
    fn fixed(p: &LoopProgram) -> bool {
        p.first.is_none() && !p.counted
    }

    fn record(&self, rec: &mut Recorder, code: &Code, operands: &[View], results: &[Option<View>]) -> Result<()> {
        let (p, gpu, copies) = (&*self.p, &code.gpu, &code.copies);
        let carry = p.carry.len();
        let own = p.consts + carry;
        let mut most = p.length.map_or(u64::MAX, |n| n as u64);
        if p.counted {
            rec.submit_for("a loop over the iterations of a while_loop")?;
            let mut n = [0u8; 8];
            gpu.read(&operands[0], &mut n)?;
            most = most.min(i64::from_ne_bytes(n).max(0) as u64);
        }
        // Inputs of the body: consts, carry, rows, number.
        let mut inputs: Vec<View> = operands.to_vec();
        let mut numbers = gpu.numbers(most.min(1 << 10) as usize + 1)?;
        rec.held.push(numbers.clone());
        inputs.push(numbers.view(gpu)?);
        let mut current: Vec<View> = Vec::with_capacity(carry);
        let mut other: Vec<View> = Vec::with_capacity(carry);
        for k in 0..carry {
            let here = match &results[k] {
                Some(v) => v.clone(),
                None => rec.memory(p.carry[k])?,
            };
            let in_place = self.body.results[k] == PlanResult::Leaf((p.consts + k) as u32);
            other.push(if in_place { here.clone() } else { rec.memory(p.carry[k])? });
            copies.copy(rec, &operands[p.consts + k], &here, p.carry[k])?;
            current.push(here);
        }
        if !Loop::fixed(p) {
            for (j, &bytes) in p.rows.iter().enumerate() {
                if let Some(r) = &results[carry + j] {
                    copies.clear(rec, r, bytes * p.length.unwrap_or(0))?;
                }
            }
        }
        let flag = rec.memory(1)?;
        let mut go = true;
        if let Some(first) = &self.first {
            let mut given: Vec<View> = operands[..p.consts].to_vec();
            given.extend(current.iter().cloned());
            given.push(numbers.view(gpu)?);
            let to = [Some(flag.clone())];
            let w = first.workspace(rec, &to)?;
            first.record(rec, copies, &given, &to, &[1], &w)?;
            match &self.gate {
                Some(g) => g.ask(rec, &flag, None, When::First)?,
                None => go = self.asked(rec, gpu, &flag)?,
            }
        }
        let mut sizes: Vec<usize> = p.carry.iter().chain(&p.rows).copied().collect();
        sizes.resize(self.body.results.len(), 1);
        let mut to: Vec<Option<View>> = vec![None; self.body.results.len()];
        if self.first.is_some()
            && let Some(last) = to.last_mut()
        {
            *last = Some(flag.clone());
        }
        // Where rows that nobody reads go stays the same.
        let spare: Vec<Option<View>> = p
            .rows
            .iter()
            .enumerate()
            .map(|(j, &bytes)| if results[carry + j].is_none() { rec.memory(bytes).map(Some) } else { Ok(None) })
            .collect::<Result<_>>()?;
        for k in 0..carry {
            to[k] = Some(other[k].clone());
        }
        for (j, s) in spare.iter().enumerate() {
            to[carry + j] = s.clone();
        }
        let workspace = self.body.workspace(rec, &{
            let mut filled = to.clone();
            (0..p.rows.len()).for_each(|j| filled[carry + j] = Some(flag.clone()));
            filled
        })?;
        // Iterations recorded, and, under a gate, those of them that took place.
        let (mut count, mut done) = (0u64, 0u64);
        let mut ahead = 4u64;
        let each = (self.body.exe.launches() + p.carry.len() + 1).max(1);
        let started = current.clone();
        let second = other.clone();
        while count < most && go {
            let until = if self.gate.is_some() { most.min(count + ahead) } else { count + 1 };
            while (until + 1) as usize * 8 >= numbers_bytes(&numbers) {
                numbers = gpu.numbers(2 * (until as usize + 1))?;
                rec.held.push(numbers.clone());
            }
            let all = numbers.view(gpu)?;
            while count < until {
                let row = if p.reverse { most - 1 - count } else { count } as usize;
                for k in 0..carry {
                    inputs[p.consts + k] = current[k].clone();
                    to[k] = Some(other[k].clone());
                }
                for (j, &bytes) in p.stacks.iter().enumerate() {
                    inputs[own + j] = operands[own + j].moved(row * bytes);
                }
                for (j, &bytes) in p.rows.iter().enumerate() {
                    if let Some(r) = &results[carry + j] {
                        to[carry + j] = Some(r.moved(row * bytes));
                    }
                }
                inputs[own + p.stacks.len()] = all.moved(count as usize * 8);
                let before = self.gate.as_ref().map(|g| rec.under(Some(g.open())));
                let recorded = self.body.record(rec, copies, &inputs, &to, &sizes, &workspace);
                if let Some(b) = before {
                    rec.under(b);
                }
                recorded?;
                std::mem::swap(&mut current, &mut other);
                count += 1;
                if let Some(g) = &self.gate {
                    g.ask(rec, &flag, None, When::Again)?;
                }
            }
            match &self.gate {
                Some(g) => {
                    rec.submit_for("while_loop")?;
                    (go, done) = g.state(gpu)?;
                    ahead = (2 * ahead).min((AHEAD / each) as u64).max(4);
                }
                None => {
                    done = count;
                    if self.first.is_some() {
                        go = self.asked(rec, gpu, &flag)?;
                    }
                }
            }
        }
        // What those that did not take place would have changed is where it was.
        let current = if done.is_multiple_of(2) { started } else { second };
        let count = done;
        for k in 0..carry {
            if let Some(r) = &results[k] {
                copies.copy(rec, &current[k], r, p.carry[k])?;
            }
        }
        if let Some(Some(r)) = results.last() {
            copies.copy(rec, &numbers.view(gpu)?.moved(count as usize * 8), r, 8)?;
        }
        Ok(())
    }

    /// Runs what is recorded and reads the condition.
    fn asked(&self, rec: &mut Recorder, gpu: &Gpu, flag: &View) -> Result<bool> {
        rec.submit_for("while_loop")?;
        let mut byte = [0u8];
        gpu.read(flag, &mut byte)?;
        Ok(byte[0] != 0)
    }
}

fn numbers_bytes(s: &super::memory::WgpuStorage) -> usize {
    crate::base::Storage::bytes(s)
}
