//! From an imported trace to a plan.

use super::disk::Entry;
use super::memory::{self, Donation};
use crate::backend::{self, Artefacts, Executable};
use crate::base::{DType, DeviceId, Result, error::bail};
use crate::fuse::{self, Fused, Limits, report::Refusal};
pub use crate::loops::schedule::PlanResult;
use crate::loops::schedule::{ControlKind, Launch, LoopProgram, Place, Program, Schedule};
use crate::simplify;
use crate::trace::{Binary, Op, Region, RegionKind, Trace, Trip, ValueId};
use std::sync::Arc;

/// A prepared program: run it as often as wanted on other data.
pub struct Plan {
    /// What the backend made of it.
    pub executable: Arc<dyn Executable>,
    /// For each wanted value, where it is after a run.
    pub results: Vec<PlanResult>,
    /// Indices to look at after a run; their results follow those of the wanted values.
    pub checks: Vec<super::bounds::Check>,
    /// Kernel launches a run makes.
    pub launches: usize,
    /// What is launched, for `LAZULI_DEBUG=launch`; empty else.
    pub names: Vec<String>,
    /// Memory it holds, roughly.
    pub bytes: usize,
}

/// Everything up to the backend: what `explain` shows and a plan runs.
pub struct Lowering {
    /// The trace after simplification.
    pub simplified: Trace,
    /// Kernels and memory.
    pub schedule: Schedule,
    /// For each output of the trace.
    pub results: Vec<PlanResult>,
    /// Why values were not fused, with their names.
    pub refusals: Vec<(Refusal, String)>,
    /// Largest sum of live temporary bytes at any time of the chosen order.
    pub live_bytes: usize,
}

impl Lowering {
    /// How the plan's memory is laid out, readable.
    fn memory_text(&self) -> String {
        let (mut arena, mut results, mut given) = (0, 0, 0);
        for s in &self.schedule.slots {
            match s.place {
                Place::Arena(_) => arena += s.bytes(),
                Place::Output(_) => results += s.bytes(),
                Place::Input(i) if self.schedule.donated.contains(&i) => given += s.bytes(),
                Place::Input(_) => {}
            }
        }
        format!(
            "temporaries of {arena} bytes in an arena of {} ({} alive at once); results: {results} bytes of their own, {given} over inputs",
            self.schedule.arena_bytes, self.live_bytes
        )
    }
}

/// Whether `LAZULI_FUSE=0` asks for one kernel an op.
pub fn fusing() -> bool {
    static ON: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| std::env::var("LAZULI_FUSE").map_or(true, |v| v != "0"));
    *ON
}

/// What a trace is lowered for.
#[derive(Clone, Copy)]
pub struct Target {
    /// Else every op gets a kernel of its own.
    pub fusing: bool,
    /// Temporaries start at multiples of so many bytes.
    pub alignment: usize,
    /// How large kernels may be.
    pub limits: Limits,
}

impl Target {
    /// That device, fusing unless `LAZULI_FUSE=0` is set.
    pub fn of(device: &dyn backend::Backend) -> Target {
        Target { fusing: fusing(), alignment: device.alignment(), limits: device.kernel_limits() }
    }
}

/// Simplifies, fuses and lays out a trace. `donated` says of each input whether its memory may be reused; none if empty.
///
/// # Errors
/// `Internal` if a pass broke a rule.
pub fn lower(trace: &Trace, target: Target, donated: &[bool]) -> Result<Lowering> {
    #[cfg(debug_assertions)]
    crate::trace::verify::verify(trace)?;
    let simplified = simplify::simplify(trace);
    super::debug("trace", || simplified.to_string());
    let fused = fuse::fuse(&simplified, target.fusing, &target.limits)?;
    lay_out(fused, simplified, target, &Donation::Any(donated))
}

fn lay_out(fused: Fused, simplified: Trace, target: Target, donated: &Donation<'_>) -> Result<Lowering> {
    let Fused { trace, launches, outputs, refusals } = fused;
    let refusals = refusals
        .into_iter()
        .map(|r| {
            let i = &trace[r.value];
            let site = i.site.map_or(String::new(), |s| format!(" recorded at {}:{}", s.file(), s.line()));
            let text = format!("{} {} {}{site}", i.op.name(), i.dtype, i.shape);
            (r, text)
        })
        .collect();
    let laid = memory::lay_out(&trace, launches, &outputs, donated, target.alignment, &|r| control(r, target))?;
    super::debug("fuse", || {
        laid.schedule.launches.iter().flat_map(Launch::instances).map(|i| i.kernel.to_string()).collect::<Vec<_>>().join("\n")
    });
    #[cfg(debug_assertions)]
    crate::loops::verify::verify_schedule(&laid.schedule)?;
    Ok(Lowering { simplified, schedule: laid.schedule, results: laid.results, refusals, live_bytes: laid.live_bytes })
}

/// The programs of a branch or loop. Their traces are simplified already.
fn control(r: &Region, target: Target) -> Result<ControlKind> {
    let program = |t: Trace, donated: &Donation<'_>| -> Result<Program> {
        let l = lay_out(fuse::fuse(&t, target.fusing, &target.limits)?, t, target, donated)?;
        Ok(Program { schedule: l.schedule, results: l.results })
    };
    let l = match &r.kind {
        RegionKind::Cond(other) => {
            let none = Donation::Any(&[]);
            return Ok(ControlKind::Cond(Arc::new([program((*r.body).clone(), &none)?, program((**other).clone(), &none)?])));
        }
        RegionKind::Loop(l) => l,
        _ => bail!(Internal, "a {} is no branch or loop", r.kind.name()),
    };
    let bytes = |v: ValueId| r.body.shape(v).numel() * r.body.dtype(v).size();
    let own = l.consts + l.carry;
    let mut body = (*r.body).clone();
    // Each carried value gets a buffer of its own.
    let mut seen: Vec<ValueId> = Vec::new();
    for k in 0..l.carry {
        let v = body.outputs[k];
        let base = fuse::cost::base_of(&body, v).0;
        if matches!(body[base].op, Op::Input(_)) || seen.contains(&base) {
            body.outputs[k] = body.push_typed(Op::Cast, &[v], r.body.dtype(v), r.body.shape(v).clone(), None);
        }
        seen.push(base);
    }
    let mut first = None;
    if let Trip::While(go) = &l.trip {
        // Asked at the end of an iteration about the next one: one launch less.
        let number = body.inputs[r.arity()];
        let next = body.binary_const(Binary::Add, number, 1.0);
        let args: Vec<ValueId> =
            body.inputs[..l.consts].iter().copied().chain(body.outputs[..l.carry].iter().copied()).chain([next]).collect();
        let again = body.inline(go, &args)[0];
        body.outputs.push(again);
        first = Some(program((**go).clone(), &Donation::Any(&[]))?);
    }
    // What is carried may be written over what it was.
    let over: Vec<(usize, u32)> = (0..l.carry).map(|k| (k, (l.consts + k) as u32)).collect();
    Ok(ControlKind::Loop(Arc::new(LoopProgram {
        consts: l.consts,
        carry: r.body.inputs[l.consts..own].iter().map(|&v| bytes(v)).collect(),
        stacks: r.body.inputs[own..r.arity()].iter().map(|&v| bytes(v)).collect(),
        rows: r.body.outputs[l.carry..].iter().map(|&v| bytes(v)).collect(),
        length: l.length,
        counted: l.trip == Trip::Count,
        reverse: l.reverse,
        body: program(body, &Donation::Own(&over))?,
        first,
    })))
}

/// Compiles a trace for a device. `donated` says of each input whether its memory may be reused (none if empty); `key_bytes` is what
/// its key takes in a cache.
pub(crate) fn compile(mut trace: Trace, device: DeviceId, donated: &[bool], key_bytes: usize) -> Result<Plan> {
    let backend = backend::of(device);
    check_types(&trace, backend.kind(), &|d| backend.supports(d))?;
    check_size(&trace)?;
    let mut checks = Vec::new();
    if super::debugging("bounds") {
        // Regions are gone after simplification, so their gathers are seen too.
        trace = simplify::simplify(&trace);
        checks = super::bounds::add(&mut trace);
    }
    let started = super::debugging("plan").then(std::time::Instant::now);
    let target = Target::of(backend);
    let kept = Entry::of(&trace, backend, target, donated).filter(|_| checks.is_empty());
    let (bytes, ops) = (key_bytes + trace.insts.len() * 64, trace.insts.len());
    let plan = |executable, results, launches, names| Plan { executable, results, checks, launches, names, bytes: bytes + launches * 1024 };
    if let Some((Program { schedule, results }, mut artefacts)) = kept.as_ref().and_then(Entry::read) {
        super::stats::read();
        let launches = schedule.launches.len();
        return Ok(plan(backend.prepare(&schedule, &mut artefacts)?, results, launches, Vec::new()));
    }
    let lowered = lower(&trace, target, donated)?;
    let mut artefacts = if kept.is_some() { Artefacts::kept() } else { Artefacts::default() };
    let executable = backend.prepare(&lowered.schedule, &mut artefacts)?;
    let launches = lowered.schedule.launches.len();
    super::debug("kernel", || (0..launches).map(|i| executable.source(i)).collect::<Vec<_>>().join("\n"));
    if let Some(t) = started {
        super::debug("plan", || format!("{ops} ops became {launches} launches in {:.2} ms", t.elapsed().as_secs_f64() * 1e3));
    }
    super::debug("mem", || lowered.memory_text());
    let names =
        if super::debugging("launch") { lowered.schedule.launches.iter().map(super::explain::launch_name).collect() } else { Vec::new() };
    let Lowering { schedule, results, .. } = lowered;
    let program = Program { schedule, results };
    if let Some(entry) = kept {
        entry.write(&program, artefacts);
    }
    Ok(plan(executable, program.results, launches, names))
}

/// Lowers a trace for a kind of device, none of which is open. Nothing is overwritten.
///
/// # Errors
/// `DType` for a type that it does not support, `Memory` for a value larger than any memory.
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub(crate) fn lower_for(trace: &Trace, kind: &str, supports: &dyn Fn(DType) -> bool, alignment: usize, limits: Limits) -> Result<Lowering> {
    check_types(trace, kind, supports)?;
    check_size(trace)?;
    lower(trace, Target { fusing: fusing(), alignment, limits }, &[])
}

/// Types the device has not are refused before anything is compiled.
fn check_types(t: &Trace, kind: &str, supports: &dyn Fn(DType) -> bool) -> Result<()> {
    match t.insts.iter().find(|i| !supports(i.dtype)) {
        Some(i) => {
            let e = crate::base::error::err!(DType, "the {kind} device has no {}: cast to another type, or use another device", i.dtype);
            Err(i.site.map_or(e.clone(), |s| e.at(s)))
        }
        None => Ok(()),
    }
}

/// Values too large for any address space are refused before memory is laid out.
fn check_size(t: &Trace) -> Result<()> {
    for i in &t.insts {
        let bytes = i.shape.iter().try_fold(i.dtype.size(), |n, &d| if d == 0 { Some(0) } else { n.checked_mul(d) });
        if bytes.is_none_or(|b| b > isize::MAX as usize) && !matches!(i.op, Op::Const(_)) {
            let e = crate::base::error::err!(Memory, "{} of {} {} is larger than the address space", i.op.name(), i.dtype, i.shape);
            return Err(i.site.map_or(e.clone(), |s| e.at(s)));
        }
    }
    Ok(())
}

/// How [`run_trace`] runs a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// A kernel for each op.
    Unfused,
    /// As tensors are evaluated.
    Fused,
    /// Fused, and results may be written over the inputs.
    OverInputs,
}

/// Runs a whole trace on a device without the plan cache: for tests and tools that start from a trace and not from tensors.
///
/// # Errors
/// As evaluating tensors.
pub fn run_trace(
    t: &Trace,
    inputs: &[crate::trace::interp::HostTensor],
    params: &[crate::base::Scalar],
    how: How,
    device: DeviceId,
) -> Result<Vec<crate::trace::interp::HostTensor>> {
    use crate::trace::interp::HostTensor;
    let device = backend::of(device);
    check_types(t, device.kind(), &|d| device.supports(d))?;
    check_size(t)?;
    let donated = if how == How::OverInputs { vec![true; t.inputs.len()] } else { Vec::new() };
    let l = lower(t, Target { fusing: how != How::Unfused, ..Target::of(device) }, &donated)?;
    let exe = device.prepare(&l.schedule, &mut Artefacts::default())?;
    let leaves = inputs.iter().map(|h| device.upload(&h.to_bytes())).collect::<Result<Vec<_>>>()?;
    let outs = device.run(&*exe, &leaves, params).map_err(|f| f.error)?;
    l.results
        .iter()
        .zip(&t.outputs)
        .map(|(r, &o)| {
            let (dtype, shape) = (t.dtype(o), t.shape(o).clone());
            let mut bytes = vec![0; shape.numel() * dtype.size()];
            match *r {
                PlanResult::Output(i) => device.download(&*outs[i as usize], &mut bytes)?,
                PlanResult::Leaf(i) => device.download(&*leaves[i as usize], &mut bytes)?,
            }
            HostTensor::from_bytes(dtype, shape, &bytes)
        })
        .collect()
}
