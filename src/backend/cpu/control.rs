//! Branches and loops: programs of their own, run by pointers, without a key, a plan or an allocation per iteration.
//!
//! What a loop carries lies in two buffers that change places, or in one if its program writes in place. The first of them is the result's own.

use super::drive::Held;
use super::executable::{CpuExecutable, Table};
use super::pool::pool;
use super::resident::{self, Body};
use super::strip::{Buffers, Course, Strips};
use super::{MEMORY, nest::internal};
use crate::backend::counters;
use crate::base::Result;
use crate::loops::schedule::{Control, ControlKind, LoopProgram, PlanResult, Program};
use smallvec::SmallVec;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Buffers inside of a workspace start at multiples of this.
const ALIGN: usize = 64;

/// A branch or loop ready to run.
pub(super) struct Code {
    operands: SmallVec<[u32; 8]>,
    results: SmallVec<[Option<u32>; 8]>,
    kind: Kind,
}

enum Kind {
    Cond(Box<[Sub; 2]>),
    Loop(Box<Loop>),
}

/// A program ready to run.
struct Sub {
    exe: CpuExecutable,
    results: Vec<PlanResult>,
    /// For each output of the executable, the first result it is.
    owner: Vec<usize>,
}

struct Loop {
    p: Arc<LoopProgram>,
    body: Sub,
    first: Option<Sub>,
    /// Of each carried value: whether the body writes it in place.
    in_place: Vec<bool>,
    /// Offsets in the workspace: of each carried value's other buffer, of those whose last value nobody reads, of rows nobody reads.
    others: Vec<usize>,
    unread: Vec<usize>,
    rows: Vec<usize>,
    arena: usize,
    number: usize,
    flag: usize,
    /// Of the body's kernels, set up for all iterations.
    body_memory: usize,
    workspace: usize,
    /// Runs all iterations on a strip of the elements at a time.
    strips: Option<Strips>,
}

impl Sub {
    fn new(p: &Program) -> Result<Sub> {
        let exe = CpuExecutable::new(&p.schedule)?;
        let outputs = exe.output_bytes().len();
        let owner = (0..outputs)
            .map(|n| p.results.iter().position(|r| *r == PlanResult::Output(n as u32)).ok_or_else(|| internal("an output is no result")))
            .collect::<Result<_>>()?;
        Ok(Sub { exe, results: p.results.clone(), owner })
    }

    /// Runs the program; result k goes to `to[k]`, of `sizes[k]` bytes, if that is not null.
    ///
    /// # Safety
    /// The pointers are buffers of the program's inputs and results.
    unsafe fn run(&self, inputs: &[*mut u8], to: &[*mut u8], sizes: &[usize]) -> Result<()> {
        // Behind the arena what nobody reads.
        let mut bytes = self.exe.arena_bytes().next_multiple_of(ALIGN);
        let places: SmallVec<[usize; 8]> = self
            .owner
            .iter()
            .zip(self.exe.output_bytes())
            .map(|(&k, &size)| {
                let at = bytes;
                bytes += if to[k].is_null() { size.next_multiple_of(ALIGN) } else { 0 };
                at
            })
            .collect();
        let held = Held::new(&MEMORY, bytes)?;
        let place = |(&k, &at): (&usize, &usize)| if to[k].is_null() { held.get().wrapping_add(at) } else { to[k] };
        let outputs: SmallVec<[*mut u8; 8]> = self.owner.iter().zip(&places).map(place).collect();
        // SAFETY: as promised; the workspace holds the rest.
        unsafe {
            self.exe.execute(inputs, &outputs, held.get(), &mut Table::new())?;
            self.copies(inputs, &outputs, to, sizes);
        }
        counters::LAUNCHES.fetch_add(self.exe.steps().len() as u64, Relaxed);
        Ok(())
    }

    /// Copies results that are inputs, or outputs that another result owns.
    ///
    /// # Safety
    /// As [`run`](Sub::run).
    unsafe fn copies(&self, inputs: &[*mut u8], outputs: &[*mut u8], to: &[*mut u8], sizes: &[usize]) {
        for (k, r) in self.results.iter().enumerate().take(to.len()) {
            let from = match *r {
                PlanResult::Output(n) => outputs[n as usize],
                PlanResult::Leaf(i) => inputs[i as usize],
            };
            if from != to[k] && !to[k].is_null() {
                // SAFETY: two buffers of that size; they do not overlap.
                unsafe { std::ptr::copy_nonoverlapping(from, to[k], sizes[k]) };
            }
        }
    }
}

impl Code {
    pub(super) fn new(c: &Control) -> Result<Code> {
        let kind = match &c.kind {
            ControlKind::Cond(branches) => Kind::Cond(Box::new([Sub::new(&branches[0])?, Sub::new(&branches[1])?])),
            ControlKind::Loop(p) => Kind::Loop(Box::new(Loop::new(p, &c.results.iter().map(Option::is_some).collect::<Vec<_>>())?)),
        };
        Ok(Code { operands: c.operands.iter().map(|s| s.0).collect(), results: c.results.iter().map(|r| r.map(|s| s.0)).collect(), kind })
    }

    /// Runs it. `bytes` are the sizes of the slots.
    ///
    /// # Safety
    /// `table` holds a buffer for each slot.
    pub(super) unsafe fn run(&self, table: &[*mut u8], bytes: impl Fn(u32) -> usize) -> Result<()> {
        let operands: SmallVec<[*mut u8; 16]> = self.operands.iter().map(|&s| table[s as usize]).collect();
        match &self.kind {
            Kind::Cond(branches) => {
                // SAFETY: operand 0 is a single Bool.
                let branch = if unsafe { *operands[0] } != 0 { &branches[0] } else { &branches[1] };
                let mut sizes: SmallVec<[usize; 8]> = SmallVec::new();
                let mut to: SmallVec<[*mut u8; 8]> = SmallVec::new();
                for r in &self.results {
                    sizes.push(r.map_or(0, &bytes));
                    to.push(r.map_or(std::ptr::null_mut(), |s| table[s as usize]));
                }
                // SAFETY: the verifier of traces saw that either branch takes and yields this.
                unsafe { branch.run(&operands, &to, &sizes) }
            }
            Kind::Loop(l) => {
                let results: SmallVec<[*mut u8; 16]> =
                    self.results.iter().map(|r| r.map_or(std::ptr::null_mut(), |s| table[s as usize])).collect();
                // SAFETY: as promised.
                unsafe { l.run(&operands, &results) }
            }
        }
    }

    pub(super) fn source(&self, out: &mut String) {
        let subs: Vec<(&str, &Sub)> = match &self.kind {
            Kind::Cond(b) => vec![("if it holds", &b[0]), ("else", &b[1])],
            Kind::Loop(l) => l.first.iter().map(|f| ("before the first iteration", f)).chain([("each iteration", &l.body)]).collect(),
        };
        for (what, sub) in subs {
            let _ = writeln!(out, "{what}:");
            if let Kind::Loop(l) = &self.kind
                && l.strips.is_some()
            {
                let _ = writeln!(out, "all iterations on one strip of the elements after the other");
            }
            (0..sub.exe.steps().len()).for_each(|i| out.push_str(&crate::backend::Executable::source(&sub.exe, i)));
        }
    }
}

impl Loop {
    fn new(p: &Arc<LoopProgram>, read: &[bool]) -> Result<Loop> {
        let (body, first) = (Sub::new(&p.body)?, p.first.as_ref().map(Sub::new).transpose()?);
        let mut workspace = 0;
        let mut place = |bytes: usize| {
            let at = workspace;
            workspace += bytes.next_multiple_of(ALIGN);
            at
        };
        let leaf = |k: usize| body.results[k] == PlanResult::Leaf((p.consts + k) as u32);
        let in_place: Vec<bool> = (0..p.carry.len()).map(leaf).collect();
        let others = p.carry.iter().zip(&in_place).map(|(&b, &here)| if here { 0 } else { place(b) }).collect();
        let unread = p.carry.iter().zip(read).map(|(&b, &read)| if read { 0 } else { place(b) }).collect();
        let rows = p.rows.iter().zip(&read[p.carry.len()..]).map(|(&b, &read)| if read { 0 } else { place(b) }).collect();
        let (arena, number, flag) = (place(body.exe.arena_bytes()), place(8), place(1));
        let body_memory = place(resident::bytes(&body.exe));
        // A condition looks at all elements, and what is copied between iterations is no part of the kernel.
        let own =
            |k: usize| matches!(body.results[k], PlanResult::Output(n) if body.owner[n as usize] == k) || in_place.get(k) == Some(&true);
        let plain = first.is_none() && body.results.len() == p.carry.len() + p.rows.len() && (0..body.results.len()).all(own);
        let strips = if plain { Strips::new(&body.exe)? } else { None };
        Ok(Loop { p: p.clone(), body, first, in_place, others, unread, rows, arena, number, flag, body_memory, workspace, strips })
    }

    /// # Safety
    /// `operands` and `results` are buffers of the sizes the program says, results nobody reads are null.
    unsafe fn run(&self, operands: &[*mut u8], results: &[*mut u8]) -> Result<()> {
        let (p, carry) = (&*self.p, self.p.carry.len());
        let own = p.consts + carry;
        let held = Held::new(&MEMORY, self.workspace)?;
        let at = |offset: usize| held.get().wrapping_add(offset);
        let (number, flag) = (at(self.number).cast::<i64>(), at(self.flag));
        let result = |k: usize, else_at: usize| if results[k].is_null() { at(else_at) } else { results[k] };
        // SAFETY: the workspace holds all that was placed in it; the rest is the caller's promise.
        unsafe {
            let most = match p.length {
                Some(n) if p.counted => (operands[0].cast::<i64>().read_unaligned().max(0) as u64).min(n as u64),
                Some(n) => n as u64,
                None => u64::MAX,
            };
            // Inputs of the body: consts, carry, rows, number.
            let mut inputs: SmallVec<[*mut u8; 16]> = operands.iter().copied().chain([number.cast()]).collect();
            let mut current: SmallVec<[*mut u8; 8]> = (0..carry).map(|k| result(k, self.unread[k])).collect();
            let mut other: SmallVec<[*mut u8; 8]> =
                (0..carry).map(|k| if self.in_place[k] { current[k] } else { at(self.others[k]) }).collect();
            for k in 0..carry {
                std::ptr::copy_nonoverlapping(operands[p.consts + k], current[k], p.carry[k]);
            }
            *number = 0;
            *flag = 1;
            if let Some(first) = &self.first {
                let mut given: SmallVec<[*mut u8; 16]> = inputs[..own].into();
                given.push(number.cast());
                first.run(&given, &[flag], &[1])?;
            }
            let (mut count, mut stripped) = (0u64, false);
            if let Some(strips) = &self.strips
                && most != u64::MAX
            {
                // Rows go the other way in reverse.
                let row = |first: *mut u8, bytes: usize| {
                    let (start, step) = if p.reverse { (most.max(1) - 1, -(bytes as isize)) } else { (0, bytes as isize) };
                    let first = first.wrapping_add(start as usize * bytes);
                    Course { even: first, odd: first, step }
                };
                let from = |k: usize| match k.checked_sub(p.consts) {
                    Some(c) if c < carry => Course { even: current[c], odd: other[c], step: 0 },
                    Some(c) if c < carry + p.stacks.len() => row(operands[k], p.stacks[c - carry]),
                    _ => Course::fixed(inputs[k]),
                };
                let to = |&k: &usize| match k.checked_sub(carry) {
                    None => Course { even: other[k], odd: current[k], step: 0 },
                    Some(j) if results[k].is_null() => Course::fixed(at(self.rows[j])),
                    Some(j) => row(results[k], p.rows[j]),
                };
                let outputs: SmallVec<[Course; 16]> = self.body.owner.iter().map(to).collect();
                let number = inputs.len() - 1;
                let inputs: SmallVec<[Course; 16]> = (0..inputs.len()).map(from).collect();
                strips.run(pool(), &Buffers { inputs: &inputs, outputs: &outputs, number }, most);
                if most % 2 == 1 {
                    std::mem::swap(&mut current, &mut other);
                }
                (count, stripped) = (most, true);
            }
            let mut to: SmallVec<[*mut u8; 16]> = SmallVec::from_elem(flag, self.body.results.len());
            let mut outputs: SmallVec<[*mut u8; 16]> = SmallVec::from_elem(flag, self.body.owner.len());
            let mut body = Body::new(&self.body.exe, at(self.body_memory));
            let mut sizes: SmallVec<[usize; 16]> = p.carry.iter().chain(&p.rows).copied().collect();
            sizes.resize(self.body.results.len(), 1);
            while count < most && *flag != 0 {
                *number = count as i64;
                let row = if p.reverse { most - 1 - count } else { count } as usize;
                for k in 0..carry {
                    inputs[p.consts + k] = current[k];
                    to[k] = other[k];
                }
                for (j, &bytes) in p.stacks.iter().enumerate() {
                    inputs[own + j] = operands[own + j].wrapping_add(row * bytes);
                }
                for (j, &bytes) in p.rows.iter().enumerate() {
                    let r = results[carry + j];
                    to[carry + j] = if r.is_null() { at(self.rows[j]) } else { r.wrapping_add(row * bytes) };
                }
                for (o, &k) in outputs.iter_mut().zip(&self.body.owner) {
                    *o = to[k];
                }
                body.run(&inputs, &outputs, at(self.arena))?;
                self.body.copies(&inputs, &outputs, &to, &sizes);
                std::mem::swap(&mut current, &mut other);
                count += 1;
            }
            counters::LAUNCHES.fetch_add(if stripped { 1 } else { count * self.body.exe.steps().len() as u64 }, Relaxed);
            for k in 0..carry {
                if !results[k].is_null() && current[k] != results[k] {
                    std::ptr::copy_nonoverlapping(current[k], results[k], p.carry[k]);
                }
            }
            // Rows that were not reached.
            for (j, &bytes) in p.rows.iter().enumerate() {
                if let (Some(n), false) = (p.length, results[carry + j].is_null()) {
                    let done = count as usize * bytes;
                    std::ptr::write_bytes(results[carry + j].add(done), 0, n * bytes - done);
                }
            }
            if let Some(&r) = results.last()
                && !r.is_null()
            {
                r.cast::<i64>().write_unaligned(count as i64);
            }
        }
        Ok(())
    }
}
