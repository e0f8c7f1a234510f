//! Reference interpreter of Loop IR: what a kernel means, one point at a time, with every access checked.

use super::order::Node;
use super::schedule::{Control, ControlKind, Launch, Place, PlanResult, Program, Schedule, SlotId};
use super::verify::{binding, verify};
use super::{Access, Archetype, Bound, ExprKind, Index, Kernel, Pass, ReduceKind, Store};
use crate::base::error::{bail, err};
use crate::base::{DType, Result, Scalar, Shape};
use crate::trace::interp::{Accumulator, HostTensor, total_order};
use crate::trace::scalar::{eval_binary, eval_compare, eval_unary, philox};
use crate::trace::{Binary, Reduce};

/// Runs one kernel on flat buffers, one per argument.
///
/// Sums and products of floats are carried in f64 and rounded once, to the accumulator of their dtype.
///
/// # Errors
/// What [`verify`] finds; `Argument` if the buffers or parameters are not what the kernel declares; `Internal` if it touches
/// an element outside a buffer, writes one twice or leaves one of a `Write` argument unwritten.
pub fn run(kernel: &Kernel, args: &mut [HostTensor], params: &[Scalar]) -> Result<()> {
    verify(kernel)?;
    if args.len() != kernel.args.len() || params.len() != kernel.params.len() {
        bail!(
            Argument,
            "kernel has {} arguments and {} parameters, given {} and {}",
            kernel.args.len(),
            kernel.params.len(),
            args.len(),
            params.len()
        );
    }
    for (n, (a, h)) in kernel.args.iter().zip(args.iter()).enumerate() {
        if a.dtype != h.dtype || a.numel != h.numel() {
            bail!(Argument, "kernel argument a{n} is {}[{}], given {}[{}]", a.dtype, a.numel, h.dtype, h.numel());
        }
    }
    execute(kernel, args, params)
}

/// Runs a whole schedule; returns its outputs, flat, in order.
///
/// Slots of the arena share its bytes, and memory nothing was written to is all ones (NaN, -1), so a wrong lifetime shows.
///
/// # Errors
/// As [`run`]; `Argument` if inputs or parameters do not fit; `Internal` if a slot lies outside its memory.
pub fn run_schedule(schedule: &Schedule, inputs: &[HostTensor], params: &[Scalar]) -> Result<Vec<HostTensor>> {
    schedule_on(schedule, &mut inputs.to_vec(), params)
}

/// [`run_schedule`], after which the inputs hold what was written over them.
fn schedule_on(schedule: &Schedule, given: &mut [HostTensor], params: &[Scalar]) -> Result<Vec<HostTensor>> {
    if params.len() != schedule.params.len() {
        bail!(Argument, "schedule has {} parameters, given {}", schedule.params.len(), params.len());
    }
    let inputs: Vec<Vec<u8>> = given.iter().map(HostTensor::to_bytes).collect();
    let mut outputs: Vec<Option<(DType, Vec<u8>)>> = Vec::new();
    for (n, s) in schedule.slots.iter().enumerate() {
        match s.place {
            Place::Input(i) if inputs.get(i as usize).is_none_or(|b| b.len() != s.bytes()) => {
                bail!(Argument, "slot {n} wants {} bytes from input {i}", s.bytes())
            }
            Place::Arena(at) if at.checked_add(s.bytes()).is_none_or(|end| end > schedule.arena_bytes) => {
                bail!(Internal, "slot {n} ends beyond the arena's {} bytes", schedule.arena_bytes)
            }
            Place::Output(o) => {
                let o = o as usize;
                if o >= schedule.slots.len() {
                    bail!(Internal, "slot {n} is output {o} of a schedule of {} slots", schedule.slots.len());
                }
                outputs.resize_with(outputs.len().max(o + 1), || None);
                if outputs[o].replace((s.dtype, vec![0xff; s.bytes()])).is_some() {
                    bail!(Internal, "slot {n} is a second output {o}");
                }
            }
            _ => {}
        }
    }
    let mut memory = Bytes { inputs, outputs, arena: vec![0xff; schedule.arena_bytes], bound: vec![] };
    for launch in &schedule.launches {
        if let Launch::Control(c) = launch {
            control(schedule, c, &mut memory)?;
        }
        for instance in launch.instances() {
            verify(&instance.kernel)?;
            binding(schedule, instance)?;
            memory.bound =
                instance.slots.iter().map(|s| (schedule.slots[s.0 as usize].dtype, schedule.slots[s.0 as usize].place)).collect();
            let params: Vec<Scalar> = instance.params.iter().map(|&p| params[p as usize]).collect();
            execute(&instance.kernel, &mut memory, &params)?;
        }
    }
    for (g, bytes) in given.iter_mut().zip(&memory.inputs) {
        *g = HostTensor::from_bytes(g.dtype, g.shape.clone(), bytes)?;
    }
    let flat = |(dtype, bytes): (DType, Vec<u8>)| HostTensor::from_bytes(dtype, Shape::from([bytes.len() / dtype.size()]), &bytes);
    memory.outputs.into_iter().enumerate().map(|(n, o)| flat(o.ok_or_else(|| err!(Internal, "no slot is output {n}"))?)).collect()
}

/// Runs a program on bytes; returns its results.
fn run_program(p: &Program, inputs: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    // Of an input that no kernel reads the type is unknown, and does not matter.
    let dtype = |i: usize| {
        let slot = p.schedule.slots.iter().find(|s| s.place == Place::Input(i as u32));
        slot.map_or(DType::U8, |s| s.dtype)
    };
    let flat = |(i, b): (usize, &Vec<u8>)| HostTensor::from_bytes(dtype(i), Shape::from([b.len() / dtype(i).size()]), b);
    let mut given = inputs.iter().enumerate().map(flat).collect::<Result<Vec<_>>>()?;
    let outputs = schedule_on(&p.schedule, &mut given, &[])?;
    let bytes = |r: &PlanResult| match *r {
        PlanResult::Output(n) => outputs[n as usize].to_bytes(),
        PlanResult::Leaf(n) => given[n as usize].to_bytes(),
    };
    Ok(p.results.iter().map(bytes).collect())
}

/// Runs a branch or loop of a schedule.
fn control(s: &Schedule, c: &Control, memory: &mut Bytes) -> Result<()> {
    let get = |memory: &mut Bytes, id: SlotId| {
        let slot = &s.slots[id.0 as usize];
        memory.bound = vec![(slot.dtype, slot.place)];
        if slot.numel == 0 { Vec::new() } else { memory.whole(slot.bytes()).to_vec() }
    };
    let operands: Vec<Vec<u8>> = c.operands.iter().map(|&id| get(memory, id)).collect();
    let results = match &c.kind {
        ControlKind::Cond(branches) => run_program(&branches[usize::from(operands[0][0] == 0)], &operands)?,
        ControlKind::Loop(p) => {
            let (carry, own) = (p.carry.len(), p.consts + p.carry.len());
            let integer = |b: &[u8]| b.try_into().map_or(0, i64::from_ne_bytes);
            let most = match p.length {
                Some(n) if p.counted => n.min(integer(&operands[0]).max(0) as usize),
                n => n.unwrap_or(usize::MAX),
            };
            let mut state: Vec<Vec<u8>> = operands[p.consts..own].to_vec();
            let number = |n: usize| (n as i64).to_ne_bytes().to_vec();
            let with = |state: &[Vec<u8>]| -> Vec<Vec<u8>> { operands[..p.consts].iter().chain(state).cloned().collect() };
            let mut again = true;
            if let Some(first) = &p.first {
                let inputs: Vec<Vec<u8>> = with(&state).into_iter().chain([number(0)]).collect();
                again = run_program(first, &inputs)?[0][0] != 0;
            }
            let mut rows: Vec<Vec<u8>> = p.rows.iter().map(|b| vec![0; b * p.length.unwrap_or(0)]).collect();
            let mut count = 0;
            while again && count < most {
                let at = if p.reverse { most - 1 - count } else { count };
                let stacks = operands[own..].iter().zip(&p.stacks).map(|(s, &b)| s[at * b..(at + 1) * b].to_vec());
                let inputs: Vec<Vec<u8>> = with(&state).into_iter().chain(stacks).chain([number(count)]).collect();
                let mut out = run_program(&p.body, &inputs)?;
                let rest = out.split_off(carry);
                for ((row, stack), &b) in rest.iter().zip(&mut rows).zip(&p.rows) {
                    stack[at * b..(at + 1) * b].copy_from_slice(row);
                }
                if p.first.is_some() {
                    again = rest.last().is_some_and(|f| f[0] != 0);
                }
                state = out;
                count += 1;
            }
            state.into_iter().chain(rows).chain([number(count)]).collect()
        }
    };
    for (id, bytes) in c.results.iter().zip(results) {
        if let Some(id) = id
            && !bytes.is_empty()
        {
            let slot = &s.slots[id.0 as usize];
            memory.bound = vec![(slot.dtype, slot.place)];
            memory.whole(bytes.len()).copy_from_slice(&bytes);
        }
    }
    Ok(())
}

/// The buffers of a kernel's arguments. Indices are in range.
trait Memory {
    fn get(&self, arg: usize, i: usize) -> Scalar;
    fn set(&mut self, arg: usize, i: usize, value: Scalar);
}

impl Memory for [HostTensor] {
    fn get(&self, arg: usize, i: usize) -> Scalar {
        self[arg].get(i)
    }
    fn set(&mut self, arg: usize, i: usize, value: Scalar) {
        let dtype = self[arg].dtype;
        self[arg].set(i, value.cast(dtype));
    }
}

/// The memory of a schedule, seen through the slots that one instance binds.
struct Bytes {
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Option<(DType, Vec<u8>)>>,
    arena: Vec<u8>,
    bound: Vec<(DType, Place)>,
}

impl Bytes {
    /// The memory of the only slot bound.
    fn whole(&mut self, bytes: usize) -> &mut [u8] {
        let (memory, base) = match self.bound[0].1 {
            Place::Input(n) => (&mut self.inputs[n as usize], 0),
            Place::Output(n) => (&mut self.outputs[n as usize].as_mut().expect("made for every output slot").1, 0),
            Place::Arena(at) => (&mut self.arena, at),
        };
        &mut memory[base..base + bytes]
    }

    fn at(&mut self, arg: usize, i: usize) -> &mut [u8] {
        let (dtype, place) = self.bound[arg];
        let (memory, base) = match place {
            Place::Input(n) => (&mut self.inputs[n as usize], 0),
            Place::Output(n) => (&mut self.outputs[n as usize].as_mut().expect("made for every output slot").1, 0),
            Place::Arena(at) => (&mut self.arena, at),
        };
        &mut memory[base + i * dtype.size()..][..dtype.size()]
    }
}

impl Memory for Bytes {
    fn get(&self, arg: usize, i: usize) -> Scalar {
        let (dtype, place) = self.bound[arg];
        let (memory, base) = match place {
            Place::Input(n) => (&self.inputs[n as usize], 0),
            Place::Output(n) => (&self.outputs[n as usize].as_ref().expect("made for every output slot").1, 0),
            Place::Arena(at) => (&self.arena, at),
        };
        Scalar::read(dtype, &memory[base + i * dtype.size()..])
    }
    fn set(&mut self, arg: usize, i: usize, value: Scalar) {
        let dtype = self.bound[arg].0;
        value.cast(dtype).write(dtype, self.at(arg, i));
    }
}

/// A kernel at one point.
struct State<'k> {
    k: &'k Kernel,
    params: &'k [Scalar],
    point: Vec<i64>,
    /// Which point of the row this is.
    row: usize,
    exprs: Vec<Scalar>,
    indices: Vec<i64>,
    reduced: Vec<Vec<Scalar>>,
    /// Scores of an attention kernel, one per key.
    scores: Vec<Scalar>,
    scratch: Vec<Vec<Scalar>>,
    /// Which elements of each argument were written.
    written: Vec<Vec<bool>>,
}

fn execute<M: Memory + ?Sized>(k: &Kernel, memory: &mut M, params: &[Scalar]) -> Result<()> {
    let orders: Vec<Vec<Node>> = k.passes.iter().map(|p| k.order(p.roots())).collect::<Result<_>>()?;
    let axes = |row: bool| (0..k.axes.len()).filter(|&a| k.axes[a].row == row).collect::<Vec<_>>();
    let (outer, row) = (axes(false), axes(true));
    let mut s = State {
        k,
        params,
        point: vec![0; k.axes.len()],
        row: 0,
        exprs: vec![Scalar::Int(0); k.exprs.len()],
        indices: vec![0; k.indices.len()],
        reduced: vec![],
        scores: vec![],
        scratch: k.scratch.iter().map(|_| vec![Scalar::Int(0); k.row_len()]).collect(),
        written: k.args.iter().map(|a| vec![false; if a.access == Access::Read { 0 } else { a.numel }]).collect(),
    };
    let attention = k.archetype == Archetype::Attention;
    for _ in 0..k.outer_len() {
        s.reduced.clear();
        for (n, (pass, order)) in k.passes.iter().zip(&orders).enumerate() {
            match n {
                0 if attention => s.score(pass, order, &row, memory)?,
                // The depth is over.
                _ if attention => s.pass(pass, order, &row[..1], memory)?,
                _ => s.pass(pass, order, &row, memory)?,
            }
            if n == 0 {
                s.between();
            }
        }
        s.advance(&outer);
    }
    for (n, (a, w)) in k.args.iter().zip(&s.written).enumerate() {
        if let (Access::Write, Some(i)) = (a.access, w.iter().position(|w| !w)) {
            bail!(Internal, "kernel argument a{n}: element {i} was not written");
        }
    }
    Ok(())
}

impl State<'_> {
    /// To the next point of those axes in row-major order; after the last, to the first.
    fn advance(&mut self, axes: &[usize]) {
        for &a in axes.iter().rev() {
            self.point[a] += 1;
            if self.point[a] < self.k.axes[a].extent as i64 {
                return;
            }
            self.point[a] = 0;
        }
    }

    /// Pass 0 of an attention kernel: a fold over the depth for every key.
    fn score<M: Memory + ?Sized>(&mut self, pass: &Pass, order: &[Node], row: &[usize], memory: &mut M) -> Result<()> {
        self.scores.clear();
        for _ in 0..self.k.axes[row[0]].extent {
            self.pass(pass, order, &row[1..], memory)?;
            self.scores.extend(self.reduced.pop().and_then(|r| r.first().copied()));
            self.advance(&row[..1]);
        }
        self.reduced.push(vec![]);
        Ok(())
    }

    fn pass<M: Memory + ?Sized>(&mut self, pass: &Pass, order: &[Node], row: &[usize], memory: &mut M) -> Result<()> {
        let kind = |r: &super::ReduceSink| match r.kind {
            ReduceKind::Fold(kind, _) => kind,
            ReduceKind::Dot(..) => Reduce::Sum,
        };
        let mut folds: Vec<Accumulator> = pass.reduces.iter().map(|r| Accumulator::new(kind(r))).collect();
        let points = if pass.row { row.iter().map(|&a| self.k.axes[a].extent).product() } else { 1 };
        for r in 0..points {
            self.row = r;
            for &n in order {
                self.node(n, memory)?;
            }
            for (sink, fold) in pass.reduces.iter().zip(&mut folds) {
                fold.add(match sink.kind {
                    ReduceKind::Fold(_, e) => self.exprs[e.index()],
                    // Exact for f32 factors; rounded once more by the sum.
                    ReduceKind::Dot(a, b) => {
                        let wide = if sink.dtype.is_float() { DType::F64 } else { DType::I64 };
                        eval_binary(Binary::Mul, wide, self.exprs[a.index()], self.exprs[b.index()])
                    }
                });
            }
            for &(s, e) in &pass.scratch {
                self.scratch[s.index()][r] = self.exprs[e.index()];
            }
            for store in &pass.stores {
                self.store(store, memory)?;
            }
            if pass.row {
                self.advance(row);
            }
        }
        // A half result stays in f32 until it is cast or stored.
        let results = pass.reduces.iter().zip(&folds).map(|(r, f)| f.value(r.dtype.accumulator()).cast(r.dtype.accumulator()));
        self.reduced.push(results.collect());
        Ok(())
    }

    /// What the archetype does to the row after pass 0.
    fn between(&mut self) {
        match self.k.archetype {
            Archetype::Sort(descending) => {
                let row = &self.scratch[0];
                let mut order: Vec<usize> = (0..row.len()).collect();
                order.sort_by(|&a, &b| {
                    let (a, b) = if descending { (b, a) } else { (a, b) };
                    total_order(row[a], row[b])
                });
                self.scratch[1] = order.into_iter().map(|p| Scalar::Int(p as i64)).collect();
            }
            Archetype::Cumulative { kind, reverse } => {
                let (dtype, len) = (self.k.scratch[1].accumulator(), self.scratch[0].len());
                let mut acc = Accumulator::new(kind);
                for i in 0..len {
                    let i = if reverse { len - 1 - i } else { i };
                    acc.add(self.scratch[0][i]);
                    self.scratch[1][i] = acc.value(dtype).cast(dtype);
                }
            }
            _ => {}
        }
    }

    fn holds(&self, b: &Bound) -> bool {
        (b.lo..b.hi).contains(&self.indices[b.index.index()])
    }

    fn element(&self, arg: usize, i: i64) -> Result<usize> {
        let n = self.k.args[arg].numel;
        usize::try_from(i)
            .ok()
            .filter(|&i| i < n)
            .ok_or_else(|| err!(Internal, "kernel touches element {i} of argument a{arg}, which has {n}, at point {:?}", self.point))
    }

    fn store<M: Memory + ?Sized>(&mut self, s: &Store, memory: &mut M) -> Result<()> {
        if s.valid.is_some_and(|b| !self.holds(&b)) {
            return Ok(());
        }
        let (arg, value) = (s.arg.index(), self.exprs[s.value.index()]);
        let i = self.element(arg, self.indices[s.index.index()])?;
        let value = match self.k.archetype {
            Archetype::Scatter(mode) => match mode.combines() {
                None => value,
                Some(op) => eval_binary(op, self.k.args[arg].dtype.accumulator(), memory.get(arg, i), value),
            },
            _ if std::mem::replace(&mut self.written[arg][i], true) => {
                bail!(Internal, "kernel writes element {i} of argument a{arg} a second time at point {:?}", self.point)
            }
            _ => value,
        };
        memory.set(arg, i, value);
        Ok(())
    }

    fn node<M: Memory + ?Sized>(&mut self, n: Node, memory: &M) -> Result<()> {
        match n {
            Node::Expr(e) => self.exprs[e.index()] = self.expr(e.index(), memory)?,
            Node::Index(i) => {
                let at = |j: super::IndexId| self.indices[j.index()];
                let overflow = || err!(Internal, "index n{} overflows at point {:?}", i.0, self.point);
                self.indices[i.index()] = match self.k.indices[i.index()] {
                    Index::Axis(a) => self.point[a as usize],
                    Index::Const(c) => c,
                    Index::Add(a, b) => at(a).checked_add(at(b)).ok_or_else(overflow)?,
                    Index::Mul(a, c) => at(a).checked_mul(c).ok_or_else(overflow)?,
                    Index::Div(a, c) => at(a).div_euclid(c),
                    Index::Mod(a, c) => at(a).rem_euclid(c),
                    Index::Value(e, 0) => self.exprs[e.index()].as_i64(),
                    Index::Value(e, n) => self.exprs[e.index()].as_i64().clamp(0, n - 1),
                };
            }
        }
        Ok(())
    }

    fn expr<M: Memory + ?Sized>(&self, e: usize, memory: &M) -> Result<Scalar> {
        let expr = &self.k.exprs[e];
        // Half values are computed in f32.
        let wide = expr.dtype.accumulator();
        let at = |x: super::ExprId| self.exprs[x.index()];
        Ok(match &expr.kind {
            ExprKind::Const(c) => *c,
            ExprKind::Param(p) => self.params[*p as usize].cast(expr.dtype),
            ExprKind::Load { arg, index, mask, fill } => {
                if mask.iter().all(|b| self.holds(b)) {
                    memory.get(arg.index(), self.element(arg.index(), self.indices[index.index()])?)
                } else {
                    *fill
                }
            }
            ExprKind::Index(i) => Scalar::Int(self.indices[i.index()]).cast(wide),
            ExprKind::InBounds(mask) => Scalar::Bool(mask.iter().all(|b| self.holds(b))),
            ExprKind::Unary(op, a) => eval_unary(*op, wide, at(*a)),
            ExprKind::Binary(op, a, b) => eval_binary(*op, wide, at(*a), at(*b)),
            ExprKind::Compare(op, a, b) => Scalar::Bool(eval_compare(*op, at(*a), at(*b))),
            ExprKind::Select(mask, a, b) => at(if at(*mask).as_bool() { *a } else { *b }),
            ExprKind::Cast(a) => at(*a).cast(expr.dtype),
            ExprKind::Random(key, offset, i) => {
                let i = self.indices[i.index()] as u64;
                let words = philox(at(*key).as_i64() as u64, (at(*offset).as_i64() as u64).wrapping_add(i / 4));
                Scalar::Int(words[(i % 4) as usize] as i64)
            }
            ExprKind::Reduced(0, _) if self.k.archetype == Archetype::Attention => self.scores[self.row],
            ExprKind::Reduced(p, n) => self.reduced[*p as usize][*n as usize],
            ExprKind::Scratch(s) => self.scratch[s.index()][self.row],
        })
    }
}

#[cfg(test)]
#[path = "interp_tests.rs"]
mod tests;
