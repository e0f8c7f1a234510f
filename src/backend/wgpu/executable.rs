//! Prepared plans: modules bound to slots, and a run through them: one submission, unless data decides what comes next.

use super::control::{self, Copies};
use super::emit::{ArgUse, Word, emit};
use super::gpu::{Gpu, PARAMS, Pipeline};
use super::memory::{ALIGN, View, WgpuStorage};
use crate::backend::{Executable, Failed, counters};
use crate::base::error::{bail, err};
use crate::base::{DType, Result, Scalar, Storage};
use crate::loops::Kernel;
use crate::loops::schedule::{Instance, Launch, Place, Schedule, Slot, SlotId};
use smallvec::SmallVec;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Stands for the slots that share the last binding.
const SPILLED: u32 = u32::MAX;

/// A kernel ready to run.
pub(super) struct Code {
    pipeline: Arc<Pipeline>,
    block: Vec<Word>,
    groups: u64,
    /// The slot behind each binding.
    slots: SmallVec<[u32; 8]>,
    /// The slot of each argument, and the bytes of its elements.
    args: SmallVec<[(u32, u32); 8]>,
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

/// A prepared plan.
pub struct Prepared {
    gpu: &'static Gpu,
    pub(super) slots: Vec<Slot>,
    steps: Vec<Step>,
    pub(super) arena: usize,
    pub(super) outputs: Vec<usize>,
    inputs: usize,
}

/// How a program inside of a loop is called.
pub(super) struct Inside<'a> {
    /// Inputs and outputs whose values may begin anywhere in what is bound.
    pub shifted: &'a dyn Fn(Place) -> bool,
}

/// The buffers of a plan's slots while it runs.
pub(super) type Table = Vec<View>;

impl Code {
    /// Emits and compiles one instance. `slots`: of the schedule; `inside`: it is a program of a loop or branch.
    pub(super) fn new(
        gpu: &'static Gpu,
        i: &Instance,
        slots: &[Slot],
        inside: Option<&Inside<'_>>,
        arena: &mut usize,
    ) -> Result<Option<Code>> {
        let k: &Kernel = &i.kernel;
        if k.outer_len() == 0 {
            return Ok(None);
        }
        let slot = |s: &SlotId| slots.get(s.0 as usize).ok_or_else(|| err!(Internal, "a kernel is bound to a slot that does not exist"));
        if i.slots.len() != k.args.len() || i.params.len() != k.params.len() {
            bail!(Internal, "a kernel is bound to the wrong number of buffers or parameters");
        }
        // The largest are bound as they are; one binding is left for all the rest.
        let most = gpu.limits.max_storage_buffers_per_shader_stage as usize;
        let mut distinct: Vec<u32> = i.slots.iter().map(|s| s.0).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let mut spilled: Vec<u32> = Vec::new();
        if distinct.len() > most {
            distinct.sort_by_key(|&s| (std::cmp::Reverse(slots.get(s as usize).map_or(0, Slot::bytes)), s));
            spilled = distinct.split_off(most - 1);
        }
        let mut bound: SmallVec<[u32; 8]> = SmallVec::new();
        let mut uses = Vec::new();
        for (a, s) in k.args.iter().zip(&i.slots) {
            let place = slot(s)?;
            if a.numel * a.dtype.size() > place.bytes() {
                bail!(Internal, "wgpu: a kernel needs {} elements of {}, its buffer has {} bytes", a.numel, a.dtype, place.bytes());
            }
            let raw = spilled.contains(&s.0);
            let binding = bound.iter().position(|&b| b == s.0 || (raw && b == SPILLED)).unwrap_or_else(|| {
                bound.push(if raw { SPILLED } else { s.0 });
                bound.len() - 1
            });
            uses.push(ArgUse { binding: binding as u32, offset: raw || inside.is_some_and(|x| (x.shifted)(place.place)), raw });
        }
        // Parts of the arena are parts of one buffer, which is bound in one way only.
        let in_arena = |a: usize| matches!(slots[i.slots[a].0 as usize].place, Place::Arena(_));
        let written = !spilled.is_empty() || (0..k.args.len()).any(|a| in_arena(a) && k.args[a].access != crate::loops::Access::Read);
        let m = emit(k, &gpu.target, &uses, written || inside.is_some())?;
        let pipeline = gpu.pipeline(&m.text, &m.bindings, m.workspace > 0)?;
        if m.block.len() * 4 > 64 << 10 {
            bail!(Internal, "wgpu: a kernel takes {} numbers", m.block.len());
        }
        let workspace = (m.workspace > 0).then(|| {
            let at = arena.next_multiple_of(ALIGN);
            *arena = at + m.workspace.next_multiple_of(ALIGN);
            (at as u64, m.workspace.next_multiple_of(16) as u64)
        });
        let spill = if spilled.is_empty() {
            None
        } else {
            let at = arena.next_multiple_of(ALIGN);
            let (mut end, mut parts, mut copies) = (at, Vec::new(), Copies::default());
            for s in spilled {
                let bytes = slots[s as usize].bytes();
                let of = |written: bool| {
                    i.slots.iter().zip(&k.args).any(|(x, a)| {
                        use crate::loops::Access;
                        x.0 == s && if written { a.access != Access::Read } else { a.access != Access::Write }
                    })
                };
                copies.prepare(gpu, bytes, false)?;
                parts.push(Part { slot: s, at: (end - at) as u64, bytes, read: of(false), written: of(true) });
                end += bytes.next_multiple_of(ALIGN);
            }
            *arena = end;
            Some(Box::new(Spill { at: at as u64, len: (end - at) as u64, parts, copies }))
        };
        let args = i.slots.iter().zip(&k.args).map(|(s, a)| (s.0, a.dtype.size() as u32)).collect();
        Ok(Some(Code {
            pipeline,
            block: m.block,
            groups: m.groups,
            slots: bound,
            args,
            params: k.params.clone(),
            values: i.params.iter().copied().collect(),
            workspace,
            spill,
        }))
    }

    /// Records a launch.
    pub(super) fn record(&self, rec: &mut Recorder, table: &[View], arena: Option<&View>, params: &[Scalar]) -> Result<()> {
        if self.groups == 0 {
            return Ok(());
        }
        let place = |at: u64, len: u64| -> Result<View> {
            let arena = arena.ok_or_else(|| err!(Internal, "a kernel's workspace lies in no arena"))?;
            Ok(View { offset: arena.offset + at, len, ..arena.clone() })
        };
        let spilled = self.spill.as_ref().map(|s| place(s.at, s.len)).transpose()?;
        if let (Some(s), Some(to)) = (&self.spill, &spilled) {
            for p in s.parts.iter().filter(|p| p.read) {
                s.copies.copy(rec, &table[p.slot as usize], &to.moved(p.at as usize), p.bytes)?;
            }
        }
        let block = self.block.len() * 4;
        let offset = rec.reserve(block)?;
        for (n, w) in self.block.iter().enumerate() {
            let word = match *w {
                Word::Fixed(x) => x,
                Word::Param(p, high) => {
                    let (d, at) = (self.params[p as usize], self.values[p as usize]);
                    let v = params.get(at as usize).ok_or_else(|| err!(Internal, "the plan has no parameter {at}"))?;
                    word_of(*v, d, high)
                }
                Word::Offset(a) => {
                    let (slot, size) = self.args[a as usize];
                    let part = self.spill.iter().flat_map(|s| &s.parts).find(|p| p.slot == slot);
                    (part.map_or(table[slot as usize].shift, |p| p.at) / size as u64) as u32
                }
            };
            rec.blob[offset + n * 4..][..4].copy_from_slice(&word.to_ne_bytes());
        }
        let view = |&s: &u32| match &spilled {
            Some(v) if s == SPILLED => v.clone(),
            _ => table[s as usize].clone(),
        };
        let mut views: SmallVec<[View; 8]> = self.slots.iter().map(view).collect();
        if let Some((at, len)) = self.workspace {
            views.push(place(at, len)?);
        }
        let group = rec.gpu.bind(&self.pipeline.layout, block, &views);
        // Two dimensions beyond what one holds.
        let most = rec.gpu.limits.max_compute_workgroups_per_dimension as u64;
        let x = self.groups.min(most);
        let y = self.groups.div_ceil(x);
        if y > most {
            bail!(Argument, "wgpu: a kernel of {} workgroups: split the tensor", self.groups);
        }
        rec.dispatches.push((self.pipeline.clone(), group, offset as u32, x as u32, y as u32));
        if let (Some(s), Some(from)) = (&self.spill, &spilled) {
            for p in s.parts.iter().filter(|p| p.written) {
                s.copies.copy(rec, &from.moved(p.at as usize), &table[p.slot as usize], p.bytes)?;
            }
        }
        Ok(())
    }
}

/// A parameter's bits.
fn word_of(v: Scalar, d: DType, high: bool) -> u32 {
    let v = v.cast(d);
    match d {
        DType::F32 | DType::F16 | DType::BF16 => (v.as_f64() as f32).to_bits(),
        DType::Bool => v.as_bool() as u32,
        _ => {
            let x = v.as_i64() as u64;
            (if high { x >> 32 } else { x }) as u32
        }
    }
}

/// Launches that are not yet submitted.
pub(super) struct Recorder {
    pub gpu: &'static Gpu,
    blob: Vec<u8>,
    dispatches: Vec<(Arc<Pipeline>, wgpu::BindGroup, u32, u32, u32)>,
    /// Memory that launches not yet submitted use.
    pub held: Vec<Arc<WgpuStorage>>,
}

impl Recorder {
    pub(super) fn new(gpu: &'static Gpu) -> Recorder {
        Recorder { gpu, blob: Vec::new(), dispatches: Vec::new(), held: Vec::new() }
    }

    /// Room for a block of numbers; its offset.
    fn reserve(&mut self, bytes: usize) -> Result<usize> {
        let align = self.gpu.limits.min_uniform_buffer_offset_alignment as usize;
        let mut at = self.blob.len().next_multiple_of(align);
        if at + bytes > PARAMS {
            self.submit()?;
            at = 0;
        }
        self.blob.resize(at + bytes, 0);
        Ok(at)
    }

    /// Temporary memory until the end of the run.
    pub(super) fn memory(&mut self, bytes: usize) -> Result<View> {
        let s = WgpuStorage::new(self.gpu, bytes)?;
        let view = s.view();
        self.held.push(s);
        Ok(view)
    }

    /// Submits everything recorded: one encoder, one pass.
    pub(super) fn submit(&mut self) -> Result<()> {
        if self.dispatches.is_empty() {
            self.blob.clear();
            return Ok(());
        }
        let gpu = self.gpu;
        let blob = std::mem::take(&mut self.blob);
        let dispatches = std::mem::take(&mut self.dispatches);
        gpu.guarded(|| {
            gpu.queue.write_buffer(&gpu.params, 0, &blob);
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: None });
                let mut last: *const Pipeline = std::ptr::null();
                for (pipeline, group, offset, x, y) in &dispatches {
                    if !std::ptr::eq(last, Arc::as_ptr(pipeline)) {
                        pass.set_pipeline(&pipeline.pipeline);
                        last = Arc::as_ptr(pipeline);
                    }
                    pass.set_bind_group(0, group, &[*offset]);
                    pass.dispatch_workgroups(*x, *y, 1);
                }
            }
            gpu.queue.submit([encoder.finish()]);
        })?;
        self.blob = blob;
        self.blob.clear();
        gpu.alive()
    }
}

impl Prepared {
    /// Emits and compiles every kernel of the schedule.
    ///
    /// # Errors
    /// If the device lacks a type, or a kernel is malformed or refused.
    pub(super) fn new(gpu: &'static Gpu, s: &Schedule, inside: Option<&Inside<'_>>) -> Result<Prepared> {
        gpu.alive()?;
        let mut arena = s.arena_bytes.next_multiple_of(ALIGN);
        let mut steps = Vec::with_capacity(s.launches.len());
        for l in &s.launches {
            if let Launch::Control(c) = l {
                if c.operands.iter().chain(c.results.iter().flatten()).any(|x| x.0 as usize >= s.slots.len()) {
                    bail!(Internal, "a branch or loop is bound to a slot that does not exist");
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
        Ok(Prepared { gpu, slots: s.slots.clone(), steps, arena, outputs, inputs })
    }

    /// Runs the plan.
    pub(super) fn run(&self, inputs: &[Arc<dyn Storage>], params: &[Scalar]) -> Result<Vec<Arc<dyn Storage>>, Failed> {
        let gpu = self.gpu;
        gpu.alive()?;
        if inputs.len() < self.inputs {
            return Err(err!(Internal, "wgpu: the plan has {} inputs, {} were given", self.inputs, inputs.len()).into());
        }
        let mut given = Vec::with_capacity(inputs.len());
        for s in inputs {
            given.push(gpu.own(&**s)?.view());
        }
        for slot in &self.slots {
            if let Place::Input(i) = slot.place
                && inputs[i as usize].bytes() < slot.bytes()
            {
                return Err(
                    err!(Internal, "wgpu: input {i} has {} bytes, the plan expects {}", inputs[i as usize].bytes(), slot.bytes()).into()
                );
            }
        }
        let outputs = self.outputs.iter().map(|&n| WgpuStorage::new(gpu, n)).collect::<Result<Vec<_>>>()?;
        let to: Vec<View> = outputs.iter().map(|s| s.view()).collect();
        let mut rec = Recorder::new(gpu);
        let arena = if self.arena > 0 { Some(rec.memory(self.arena)?) } else { None };
        let _running = super::gpu::lock(&gpu.running);
        let run = |rec: &mut Recorder| {
            self.record(rec, &given, &to, arena.as_ref(), params)?;
            rec.submit()
        };
        run(&mut rec).map_err(|error| Failed { error, started: true })?;
        counters::LAUNCHES.fetch_add(self.steps.len() as u64, Relaxed);
        Ok(outputs.into_iter().map(|s| s as Arc<dyn Storage>).collect())
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
        let mut table = Table::with_capacity(self.slots.len());
        for slot in &self.slots {
            table.push(match slot.place {
                Place::Input(i) => inputs[i as usize].clone(),
                Place::Output(i) => outputs[i as usize].clone(),
                Place::Arena(o) => {
                    let a = arena.ok_or_else(|| err!(Internal, "a temporary lies in no arena"))?;
                    View { offset: a.offset + o as u64, len: (slot.bytes() as u64).next_multiple_of(16).max(16), ..a.clone() }
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

    /// How many steps a run takes.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }
}

impl Executable for Prepared {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn source(&self, launch: usize) -> String {
        match self.steps.get(launch) {
            Some(Step::Kernels(codes)) => codes.first().map_or(String::new(), |c| c.pipeline.text.clone()),
            Some(Step::Control(c)) => c.source(),
            None => String::new(),
        }
    }
}
