//! Prepared plans: modules bound to slots, and a run through them: one submission, unless data decides what comes next.
//!
//! A plan that comes again on the same buffers is replayed as it was recorded: no look-up, no binding.

use super::control::{self, Copies};
use super::emit::{ArgUse, Repeat, Word};
use super::gpu::{Gpu, PARAMS};
use super::memory::{ALIGN, Range, View, WgpuStorage};
use super::pieces::{self, Piece};
use super::pipelines::{NUMBERS_IN_STORAGE, Pipeline};
use super::preparing::Preparing;
use super::record::{Found, Ids, Recorder};
use super::results;
use crate::backend::{Artefacts, Executable, Failed, counters};
use crate::base::error::{bail, err};
use crate::base::{DType, Result, Scalar, Storage};
use crate::loops::schedule::{Control, Instance, Launch, Place, Schedule, Slot};
use crate::loops::{Access, Kernel};
use smallvec::SmallVec;
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Stands for the slots that share the last binding.
const SPILLED: u32 = u32::MAX;

/// A kernel's part, or its repetition.
#[derive(Clone, Copy, Default)]
struct How<'a> {
    piece: Option<&'a Piece>,
    repeat: Option<&'a Repeat>,
}

/// What a binding is.
struct Bound {
    slot: u32,
    bytes: u64,
    /// First byte and number of bytes touched, where the whole is too much.
    window: Option<(u64, u64)>,
    written: bool,
}

/// An argument: its binding, slot and bytes an element; elements to add to its indices.
struct ArgOf {
    binding: u32,
    slot: u32,
    size: u32,
    moved: i64,
}

/// A kernel ready to run.
pub(super) struct Code {
    pipeline: Arc<Pipeline>,
    name: Arc<str>,
    block: Vec<Word>,
    size: (u32, u32),
    bound: SmallVec<[Bound; 8]>,
    args: SmallVec<[ArgOf; 8]>,
    params: Vec<DType>,
    /// The plan's parameter behind each.
    values: SmallVec<[u32; 4]>,
    /// Workspace in the arena.
    workspace: Option<(u64, u64)>,
    spill: Option<Box<Spill>>,
}

/// Arguments beyond what a kernel can bind: parts of one buffer, which they are copied to and, if written, from.
struct Spill {
    /// Of the arena.
    at: u64,
    len: u64,
    parts: Vec<Part>,
    copies: Copies,
}

struct Part {
    slot: u32,
    /// Within the spill.
    at: u64,
    bytes: usize,
    read: bool,
    written: bool,
}

enum Step {
    Kernels(Vec<Code>),
    Control(Box<control::Code>),
}

/// The kernels of a program, on one device.
pub(super) struct Built {
    gpu: Arc<Gpu>,
    slots: Vec<Slot>,
    steps: Vec<Step>,
    pub arena: usize,
    /// Bytes of each output.
    pub outputs: Vec<usize>,
    inputs: usize,
}

/// How a program inside of a loop is called.
pub(super) struct Inside<'a> {
    /// Inputs and outputs whose values may begin anywhere in what is bound.
    pub shifted: &'a dyn Fn(Place) -> bool,
}

/// A kernel in a few words.
fn name(k: &Kernel) -> String {
    let archetype = format!("{:?}", k.archetype);
    let word = archetype.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let axes: Vec<String> = k.axes.iter().map(|a| format!("{}{}", a.extent, if a.row { " row" } else { "" })).collect();
    format!("{} [{}]", word.to_lowercase(), axes.join(", "))
}

/// Grows an arena by `bytes` that lie in one buffer; where they begin.
fn reserve(gpu: &Gpu, arena: &mut usize, bytes: usize) -> usize {
    let (part, mut at) = (gpu.largest() as usize, arena.next_multiple_of(ALIGN));
    if at / part != (at + bytes.max(1) - 1) / part {
        at = at.next_multiple_of(part);
    }
    *arena = at + bytes.next_multiple_of(ALIGN);
    at
}

impl Code {
    /// Emits and compiles one instance. `slots`: of the schedule; `inside`: it is a program of a loop or branch. A kernel of more than the
    /// device binds becomes several.
    pub(super) fn new(
        gpu: &Preparing<'_>,
        i: &Instance,
        slots: &[Slot],
        inside: Option<&Inside<'_>>,
        arena: &mut usize,
    ) -> Result<Vec<Code>> {
        let k: &Kernel = &i.kernel;
        if k.outer_len() == 0 {
            return Ok(Vec::new());
        }
        if i.slots.len() != k.args.len() || i.params.len() != k.params.len() {
            bail!(Internal, "a kernel is bound to the wrong number of buffers or parameters");
        }
        let mut buffers: SmallVec<[(u32, bool); 8]> = SmallVec::new();
        for (a, s) in k.args.iter().zip(&i.slots) {
            let Some(slot) = slots.get(s.0 as usize) else { bail!(Internal, "a kernel is bound to a slot that does not exist") };
            if a.numel * a.dtype.size() > slot.bytes() {
                bail!(Internal, "wgpu: a kernel needs {} elements of {}, its buffer has {} bytes", a.numel, a.dtype, slot.bytes());
            }
            buffers.push((s.0, slot.bytes() as u64 > gpu.span()));
        }
        if let Some(parts) = results::cut(k, &buffers) {
            let mut all = Vec::with_capacity(parts.len());
            for (kernel, args, params) in parts {
                let slots_of = args.iter().map(|&n| i.slots[n]).collect();
                let i = Instance { kernel: Arc::new(kernel), slots: slots_of, params: params.iter().map(|&p| i.params[p]).collect() };
                all.extend(Code::new(gpu, &i, slots, inside, arena)?);
            }
            return Ok(all);
        }
        if buffers.iter().all(|b| !b.1) {
            return Ok(vec![Code::piece(gpu, i, k, How::default(), slots, inside, arena)?]);
        }
        // What is bound begins at a multiple of the alignment.
        let most = gpu.span().saturating_sub(2 * ALIGN as u64).max(64);
        let (k, was) = pieces::separate(k, &buffers);
        let i = Instance { kernel: Arc::new(k), slots: was.iter().map(|&n| i.slots[n]).collect(), params: i.params.clone() };
        let buffers: Vec<(u32, bool)> = was.iter().map(|&n| buffers[n]).collect();
        let pieces = pieces::split(&i.kernel, &buffers, most)?;
        pieces.iter().map(|p| Code::piece(gpu, &i, &p.kernel, How { piece: Some(p), repeat: None }, slots, inside, arena)).collect()
    }

    /// A loop as one kernel, if it is of that kind.
    fn repeated(gpu: &Preparing<'_>, c: &Control, slots: &[Slot], inside: Option<&Inside<'_>>, arena: &mut usize) -> Result<Option<Code>> {
        let Some((i, repeat)) = super::inside::kernel(c, slots) else { return Ok(None) };
        let fits = i.slots.iter().all(|s| slots[s.0 as usize].bytes() as u64 <= gpu.span());
        if !fits || i.slots.len() > gpu.limits.max_storage_buffers_per_shader_stage as usize {
            return Ok(None);
        }
        let how = How { piece: None, repeat: Some(&repeat) };
        Code::piece(gpu, &i, &i.kernel, how, slots, inside, arena).map(Some)
    }

    fn piece(
        gpu: &Preparing<'_>,
        i: &Instance,
        k: &Kernel,
        how: How<'_>,
        slots: &[Slot],
        inside: Option<&Inside<'_>>,
        arena: &mut usize,
    ) -> Result<Code> {
        let How { piece, repeat } = how;
        let slot = |n: usize| &slots[i.slots[n].0 as usize];
        let window = |n: usize| piece.and_then(|p| p.windows[n]);
        // The largest are bound as they are; one binding is left for all the rest.
        let most = gpu.limits.max_storage_buffers_per_shader_stage as usize;
        let mut distinct: Vec<u32> = i.slots.iter().map(|s| s.0).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let mut spilled: Vec<u32> = Vec::new();
        if distinct.len() > most {
            distinct.sort_by_key(|&s| (std::cmp::Reverse(slots[s as usize].bytes()), s));
            spilled = distinct.split_off(most - 1);
        }
        let mut bound: SmallVec<[Bound; 8]> = SmallVec::new();
        let (mut uses, mut args) = (Vec::new(), SmallVec::new());
        for (n, (a, s)) in k.args.iter().zip(&i.slots).enumerate() {
            let raw = spilled.contains(&s.0);
            if raw && window(n).is_some() {
                bail!(Memory, "wgpu: a kernel reads and writes too many tensors larger than the device binds: split them");
            }
            let named = if raw { SPILLED } else { s.0 };
            // What is only read may be bound in several places.
            let apart = |b: &Bound| b.window != window(n) && !k.args.iter().zip(&i.slots).any(|(a, x)| x == s && a.access != Access::Read);
            let binding = bound.iter().position(|b| b.slot == named && !apart(b)).unwrap_or_else(|| {
                bound.push(Bound { slot: named, bytes: slot(n).bytes() as u64, window: window(n), written: false });
                bound.len() - 1
            });
            bound[binding].written |= a.access != Access::Read;
            let offset = raw || piece.is_some() || inside.is_some_and(|x| (x.shifted)(slot(n).place));
            uses.push(ArgUse { binding: binding as u32, offset, raw });
            let moved = piece.map_or(0, |p| p.moved[n]);
            args.push(ArgOf { binding: binding as u32, slot: s.0, size: a.dtype.size() as u32, moved });
        }
        // Parts of the arena are parts of one buffer, which is bound in one way only.
        let in_arena = |n: usize| matches!(slot(n).place, Place::Arena(_));
        let written = !spilled.is_empty() || (0..k.args.len()).any(|n| in_arena(n) && k.args[n].access != Access::Read);
        let mut m = gpu.module(k, &uses, written || inside.is_some(), repeat)?;
        if gpu.many_numbers(m.block.len()) {
            m.text = m.text.replacen("var<uniform> p:", NUMBERS_IN_STORAGE, 1);
        }
        let pipeline = gpu.pipeline(&m.text, &m.bindings, m.workspace > 0)?;
        if m.block.len() * 4 > PARAMS {
            bail!(Argument, "wgpu: a kernel takes {} numbers: evaluate parts of it apart", m.block.len());
        }
        if m.workspace as u64 > gpu.span() {
            bail!(
                Memory,
                "wgpu: a kernel needs {} bytes to work in, the device binds at most {}: split the tensor",
                m.workspace,
                gpu.span()
            );
        }
        let workspace = (m.workspace > 0).then(|| (reserve(gpu, arena, m.workspace) as u64, m.workspace.next_multiple_of(16) as u64));
        let spill = if spilled.is_empty() { None } else { Some(Box::new(Spill::new(gpu, i, &spilled, slots, arena)?)) };
        // Two dimensions beyond what one holds.
        let most = gpu.limits.max_compute_workgroups_per_dimension as u64;
        let x = m.groups.min(most);
        let y = m.groups.div_ceil(x.max(1));
        if y > most {
            bail!(Argument, "wgpu: a kernel of {} workgroups: split the tensor", m.groups);
        }
        let name = name(k).into();
        let (params, values) = (k.params.clone(), i.params.iter().copied().collect());
        Ok(Code { pipeline, name, block: m.block, size: (x as u32, y as u32), bound, args, params, values, workspace, spill })
    }

    /// Workgroups, if it launches anything, and those of the copies that go with it.
    pub(super) fn sizes(&self, all: &mut Vec<(u32, u32)>) {
        all.push(self.size);
        if let Some(s) = &self.spill {
            s.copies.sizes(all);
        }
    }

    /// The binding's range, and where its value begins, seen from there. What lies in two buffers is copied to one, and back by `back`.
    fn place(&self, rec: &mut Recorder, v: &View, b: &Bound, back: &mut Vec<(View, u64, Range)>) -> Result<(Range, i64)> {
        if b.window.is_none()
            && v.len <= rec.gpu.limits.max_storage_buffer_binding_size
            && let Some(r) = v.whole()
        {
            return Ok((r, v.shift as i64));
        }
        let (lo, len) = b.window.unwrap_or((0, b.bytes));
        let value = v.offset + v.shift;
        let start = (value + lo) / ALIGN as u64 * ALIGN as u64;
        let len = (value + lo + len - start).next_multiple_of(16);
        let begins = value as i64 - start as i64;
        if let Some(r) = v.range(start, len) {
            return Ok((r, begins));
        }
        let temporary = rec.memory(len as usize)?.part(0, len);
        let Some(r) = temporary.whole() else {
            bail!(Memory, "wgpu: {len} bytes are needed at once, a buffer has at most {}", rec.gpu.largest())
        };
        rec.copy(&v.ranges(start, len), std::slice::from_ref(&r))?;
        if b.written {
            back.push((v.clone(), start, r.clone()));
        }
        Ok((r, begins))
    }

    /// Records a launch.
    pub(super) fn record(&self, rec: &mut Recorder, table: &[View], arena: Option<&View>, params: &[Scalar]) -> Result<()> {
        if self.size.0 == 0 {
            return Ok(());
        }
        let place = |at: u64, len: u64| -> Result<View> {
            Ok(arena.ok_or_else(|| err!(Internal, "a kernel's workspace lies in no arena"))?.part(at, len))
        };
        let spilled = self.spill.as_ref().map(|s| place(s.at, s.len)).transpose()?;
        if let (Some(s), Some(to)) = (&self.spill, &spilled) {
            for p in s.parts.iter().filter(|p| p.read) {
                s.copies.copy(rec, &table[p.slot as usize], &to.moved(p.at as usize), p.bytes)?;
            }
        }
        let (mut ranges, mut begins): (SmallVec<[Range; 8]>, SmallVec<[i64; 8]>) = (SmallVec::new(), SmallVec::new());
        let mut back = Vec::new();
        let apart = || err!(Internal, "wgpu: a workspace lies in two buffers");
        for b in &self.bound {
            let (r, at) = match &spilled {
                Some(v) if b.slot == SPILLED => (v.whole().ok_or_else(apart)?, 0),
                _ => self.place(rec, &table[b.slot as usize], b, &mut back)?,
            };
            ranges.push(r);
            begins.push(at);
        }
        if let Some((at, len)) = self.workspace {
            ranges.push(place(at, len)?.whole().ok_or_else(apart)?);
        }
        let block = self.block.len() * 4;
        let offset = rec.reserve(block)?;
        for (n, w) in self.block.iter().enumerate() {
            let at = offset + n * 4;
            match *w {
                Word::Fixed(x) => rec.word(at, x),
                Word::Param(p, high) => rec.param(at, self.values[p as usize], self.params[p as usize], high, params)?,
                Word::Offset(a) => {
                    let a = &self.args[a as usize];
                    let part = self.spill.iter().flat_map(|s| &s.parts).find(|p| p.slot == a.slot);
                    let begins = part.map_or(begins[a.binding as usize], |p| p.at as i64);
                    rec.word(at, (begins / a.size as i64 + a.moved) as u32);
                }
            }
        }
        rec.launch(&self.pipeline, &self.name, ranges, (offset, block), self.size)?;
        for (v, start, r) in back {
            rec.copy(std::slice::from_ref(&r), &v.ranges(start, r.len))?;
        }
        if let (Some(s), Some(from)) = (&self.spill, &spilled) {
            for p in s.parts.iter().filter(|p| p.written) {
                s.copies.copy(rec, &from.moved(p.at as usize), &table[p.slot as usize], p.bytes)?;
            }
        }
        Ok(())
    }
}

impl Spill {
    fn new(gpu: &Preparing<'_>, i: &Instance, spilled: &[u32], slots: &[Slot], arena: &mut usize) -> Result<Spill> {
        let (mut end, mut parts, mut copies) = (0, Vec::new(), Copies::default());
        for &s in spilled {
            let bytes = slots[s as usize].bytes();
            let of = |other: Access| i.slots.iter().zip(&i.kernel.args).any(|(x, a)| x.0 == s && a.access != other);
            copies.prepare(gpu, bytes, false)?;
            parts.push(Part { slot: s, at: end as u64, bytes, read: of(Access::Write), written: of(Access::Read) });
            end += bytes.next_multiple_of(ALIGN);
        }
        if end as u64 > gpu.span() {
            bail!(Memory, "wgpu: a kernel's {} smaller tensors take {end} bytes, the device binds at most {}", parts.len(), gpu.span());
        }
        Ok(Spill { at: reserve(gpu, arena, end) as u64, len: end as u64, parts, copies })
    }
}

impl Built {
    /// Emits and compiles every kernel of the schedule.
    ///
    /// # Errors
    /// If the device lacks a type, or a kernel is malformed or refused.
    pub(super) fn new(gpu: &Preparing<'_>, s: &Schedule, inside: Option<&Inside<'_>>) -> Result<Built> {
        gpu.alive()?;
        let mut arena = s.arena_bytes.next_multiple_of(ALIGN);
        let mut steps = Vec::with_capacity(s.launches.len());
        for l in &s.launches {
            if let Launch::Control(c) = l {
                if c.operands.iter().chain(c.results.iter().flatten()).any(|x| x.0 as usize >= s.slots.len()) {
                    bail!(Internal, "a branch or loop is bound to a slot that does not exist");
                }
                if let Some(code) = Code::repeated(gpu, c, &s.slots, inside, &mut arena)? {
                    steps.push(Step::Kernels(vec![code]));
                    continue;
                }
                steps.push(Step::Control(Box::new(control::Code::new(gpu, c, &s.slots, inside.is_some())?)));
                continue;
            }
            let mut codes = Vec::with_capacity(l.instances().len());
            for i in l.instances() {
                codes.extend(Code::new(gpu, i, &s.slots, inside, &mut arena)?);
            }
            steps.push(Step::Kernels(codes));
        }
        let (mut outputs, mut inputs) = (Vec::new(), 0);
        for slot in &s.slots {
            match slot.place {
                Place::Input(i) => inputs = inputs.max(i as usize + 1),
                Place::Output(i) => {
                    let i = i as usize;
                    if outputs.len() <= i {
                        outputs.resize(i + 1, 0);
                    }
                    outputs[i] = outputs[i].max(slot.bytes());
                }
                Place::Arena(o) if !o.is_multiple_of(ALIGN) || o.saturating_add(slot.bytes()) > s.arena_bytes => {
                    bail!(Internal, "a slot lies outside the arena, or off its grid")
                }
                Place::Arena(_) => {}
            }
        }
        // A temporary without elements lies somewhere too.
        if s.slots.iter().any(|x| matches!(x.place, Place::Arena(_))) {
            arena = arena.max(ALIGN);
        }
        gpu.pipelines.save();
        Ok(Built { gpu: gpu.gpu.clone(), slots: s.slots.clone(), steps, arena, outputs, inputs })
    }

    /// Records all launches on these buffers.
    pub(super) fn record(
        &self,
        rec: &mut Recorder,
        inputs: &[View],
        outputs: &[View],
        arena: Option<&View>,
        params: &[Scalar],
    ) -> Result<()> {
        let mut table: Vec<View> = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            table.push(match slot.place {
                Place::Input(i) => inputs[i as usize].clone(),
                Place::Output(i) => outputs[i as usize].clone(),
                Place::Arena(o) => {
                    let a = arena.ok_or_else(|| err!(Internal, "a temporary lies in no arena"))?;
                    a.part(o as u64, (slot.bytes() as u64).next_multiple_of(16).max(16))
                }
            });
        }
        for s in &self.steps {
            match s {
                Step::Kernels(codes) => codes.iter().try_for_each(|c| c.record(rec, &table, arena, params))?,
                Step::Control(c) => c.record(rec, &table)?,
            }
        }
        Ok(())
    }

    /// The memory of what is given.
    ///
    /// # Errors
    /// `Device` if some of it is another device's, `Internal` if it is too little.
    pub(super) fn inputs<'a>(&self, gpu: &Gpu, given: &'a [Arc<dyn Storage>]) -> Result<SmallVec<[&'a WgpuStorage; 16]>> {
        if given.len() < self.inputs {
            bail!(Internal, "wgpu: the plan has {} inputs, {} were given", self.inputs, given.len());
        }
        for slot in &self.slots {
            if let Place::Input(i) = slot.place
                && given[i as usize].bytes() < slot.bytes()
            {
                bail!(Internal, "wgpu: input {i} has {} bytes, the plan expects {}", given[i as usize].bytes(), slot.bytes());
            }
        }
        given.iter().map(|s| gpu.own(&**s)).collect()
    }

    /// How many steps a run takes.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Launches of a run, roughly.
    pub(super) fn launches(&self) -> usize {
        let of = |s: &Step| match s {
            Step::Kernels(codes) => codes.len(),
            Step::Control(c) => c.launches(),
        };
        self.steps.iter().map(of).sum()
    }

    /// The sizes of all launches that a gate may have to let pass.
    pub(super) fn sizes(&self, all: &mut Vec<(u32, u32)>) {
        for s in &self.steps {
            match s {
                Step::Kernels(codes) => codes.iter().for_each(|c| c.sizes(all)),
                Step::Control(c) => c.sizes(all),
            }
        }
    }

    /// Whether it can be recorded without asking for data, and without copies between launches: so that it can stand under a gate.
    pub(super) fn gateable(&self) -> bool {
        let span = self.gpu.span();
        self.arena as u64 <= self.gpu.largest()
            && self.slots.iter().all(|s| s.bytes() as u64 <= span)
            && self.steps.iter().all(|s| match s {
                Step::Kernels(_) => true,
                Step::Control(c) => c.gateable(),
            })
    }

    pub(super) fn source(&self, launch: usize) -> String {
        match self.steps.get(launch) {
            Some(Step::Kernels(codes)) => codes.first().map_or(String::new(), |c| c.pipeline.text.clone()),
            Some(Step::Control(c)) => c.source(),
            None => String::new(),
        }
    }
}

/// A prepared plan.
pub struct Prepared {
    pub(super) number: u64,
    schedule: Schedule,
    built: Mutex<Arc<Built>>,
}

impl Prepared {
    /// Emits and compiles every kernel of the schedule.
    ///
    /// # Errors
    /// If the device lacks a type, or a kernel is malformed or refused.
    pub(super) fn new(gpu: &Arc<Gpu>, s: &Schedule, artefacts: &mut Artefacts) -> Result<Prepared> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let built = Mutex::new(Arc::new(Built::new(&Preparing::new(gpu, artefacts), s, None)?));
        Ok(Prepared { number: NEXT.fetch_add(1, Relaxed), schedule: s.clone(), built })
    }

    /// For that device, which may have been lost and opened again since.
    pub(super) fn on(&self, gpu: &Arc<Gpu>) -> Result<Arc<Built>> {
        let mut built = super::gpu::lock(&self.built);
        if !Arc::ptr_eq(&built.gpu, gpu) {
            *built = Arc::new(Built::new(&Preparing::new(gpu, &mut Artefacts::default()), &self.schedule, None)?);
        }
        Ok(built.clone())
    }

    /// Runs the plan.
    pub(super) fn run(&self, gpu: &Arc<Gpu>, inputs: &[Arc<dyn Storage>], params: &[Scalar]) -> Result<Vec<Arc<dyn Storage>>, Failed> {
        gpu.alive()?;
        let built = self.on(gpu)?;
        let own = built.inputs(gpu, inputs)?;
        own.iter().try_for_each(|s| s.ready())?;
        for &d in &self.schedule.donated {
            own[d as usize].forget_copy();
        }
        let outputs = built.outputs.iter().map(|&n| WgpuStorage::new(gpu, n)).collect::<Result<Vec<_>>>()?;
        let arena = if built.arena > 0 { Some(WgpuStorage::new(gpu, built.arena)?) } else { None };
        let buffers = own.iter().copied().chain(outputs.iter().chain(&arena).map(|s| &**s));
        let ids: Option<Ids> = buffers.map(|s| s.buffer_id(gpu)).collect();
        let _running = super::gpu::lock(&gpu.running);
        gpu.load(&own)?;
        let found = ids.as_ref().map_or(Found::Nothing, |ids| gpu.recipes.find(self.number, ids));
        if let Found::Kept(r) = &found {
            r.run(gpu, params).map_err(|error| Failed { error, started: true })?;
        } else {
            let given = own.iter().map(|s| s.view(gpu)).collect::<Result<Vec<_>>>()?;
            let to = outputs.iter().map(|s| s.view(gpu)).collect::<Result<Vec<_>>>()?;
            let arena = arena.as_ref().map(|a| a.view(gpu)).transpose()?;
            let run = || {
                let mut rec = Box::new(Recorder::new(gpu.clone()));
                built.record(&mut rec, &given, &to, arena.as_ref(), params)?;
                let (Found::Seen, Some(ids)) = (&found, &ids) else { return rec.submit() };
                match gpu.guarded(|| rec.keep())? {
                    Ok(recipe) => {
                        let recipe = Arc::new(recipe);
                        gpu.recipes.keep(self.number, ids, &recipe);
                        recipe.run(gpu, params)
                    }
                    Err(mut rec) => rec.submit(),
                }
            };
            run().map_err(|error| Failed { error, started: true })?;
        }
        counters::LAUNCHES.fetch_add(built.steps.len() as u64, Relaxed);
        Ok(outputs.into_iter().map(|s| s as Arc<dyn Storage>).collect())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let built = self.built.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        built.gpu.recipes.forget(self.number);
    }
}

impl Executable for Prepared {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn source(&self, launch: usize) -> String {
        super::gpu::lock(&self.built).source(launch)
    }
}
