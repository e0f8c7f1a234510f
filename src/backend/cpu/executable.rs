//! Prepared plans: kernels bound to slots, and one run through them.

use super::alloc::CpuStorage;
use super::attention::{self, Attention};
use super::compile::{StoreStyle, compile, compute};
use super::conv::Conv;
use super::cut::cut;
use super::drive::{Driver, Held, Plan, SERIAL_NS};
use super::matmul::Matmul;
use super::nest::{self, Analysis, Mode, internal};
use super::pool::pool;
use super::run::{Bound, param_block};
use super::scatter::Scatter;
use super::sort::Between;
use super::split::split;
use super::{CACHE, MEMORY, control};
use crate::backend::{Executable, Failed, counters};
use crate::base::error::{bail, err};
use crate::base::{DType, Result, Scalar, Storage};
use crate::loops::schedule::{Launch, Place, Schedule, Slot};
use crate::loops::{Access, Archetype, Kernel};
use smallvec::SmallVec;
use std::any::Any;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

/// Outputs larger than this are written past the caches: half of the last one, so that a result and what it was computed of stay there
/// for whoever reads them next. Without a word from the system a small last cache is assumed.
fn stream_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let size = |index: usize| {
            let text = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
            text.trim().strip_suffix('K')?.parse::<usize>().ok()
        };
        (0..8).filter_map(size).max().map_or(8 << 20, |kib| kib << 9)
    })
}

/// A kernel ready to run.
pub(super) enum Code {
    Driven(Box<Driver>),
    /// Parts of its domain, each with a program of its own.
    Cut(Vec<Driver>),
    Scatter(Box<Scatter>),
    Matmul(Box<Matmul>),
    Conv(Box<Conv>),
    Attention(Box<Attention>),
}

/// A kernel bound to slots.
pub(super) struct Instance {
    kernel: Arc<Kernel>,
    style: StoreStyle,
    pub(super) code: Code,
    pub(super) slots: SmallVec<[u32; 8]>,
    pub(super) params: SmallVec<[u32; 4]>,
}

/// A launch: instances of one kernel, or a branch or loop.
pub(super) enum Step {
    Kernels(Vec<Instance>),
    Control(Box<control::Code>),
}

/// The buffers of a plan's slots, while it runs.
pub(super) type Table = SmallVec<[*mut u8; 32]>;

/// A prepared plan.
pub struct CpuExecutable {
    slots: Vec<Slot>,
    steps: Vec<Step>,
    arena_bytes: usize,
    outputs: Vec<usize>,
    inputs: usize,
}

/// The traversal that suits a kernel with row axes.
fn choose_mode(k: &Kernel, forms: &[nest::Form]) -> Mode {
    let last = |row: bool| (0..k.axes.len()).rev().find(|&a| k.axes[a].row == row && k.axes[a].extent > 1);
    let (Some(outer), Some(row)) = (last(false), last(true)) else { return Mode::Row };
    let (rows, lanes) = (k.row_len(), k.outer_len());
    // Row scratch of all lanes together has to stay small.
    if !k.scratch.is_empty() && rows > 2048 {
        return Mode::Row;
    }
    let (mut along, mut across) = (0usize, 0usize);
    for e in &k.exprs {
        let crate::loops::ExprKind::Load { arg, index, .. } = &e.kind else { continue };
        let f = &forms[index.index()];
        let weight = k.args[arg.index()].numel;
        match (f.strides[row].abs(), f.strides[outer].abs()) {
            (1, _) => along += weight,
            (r, 1) if r > 1 => across += weight,
            _ => {}
        }
    }
    if across > along && k.axes[outer].extent >= 16 {
        return Mode::Column;
    }
    if rows <= 32 && lanes >= 64 { Mode::Column } else { Mode::Row }
}

fn style(k: &Kernel, slots: &[u32]) -> StoreStyle {
    let shared = (1..slots.len()).any(|i| slots[..i].contains(&slots[i]));
    let late = shared || k.args.iter().any(|a| a.access == Access::Update);
    let mut stream = 0;
    for (i, a) in k.args.iter().enumerate().take(64) {
        if a.access == Access::Write && a.numel * a.dtype.size() > stream_bytes() {
            stream |= 1 << i;
        }
    }
    StoreStyle { late, stream }
}

fn mode_of(k: &Kernel, forms: &[nest::Form]) -> Mode {
    match k.archetype {
        Archetype::Pointwise | Archetype::Scatter(_) => Mode::Point,
        _ => choose_mode(k, forms),
    }
}

/// A kernel by tile programs alone.
pub(super) fn driver(k: &Kernel, style: StoreStyle) -> Result<Driver> {
    match programs(k, style)? {
        Code::Driven(d) => Ok(*d),
        _ => Err(internal("a pointwise kernel was not taken for one")),
    }
}

/// A row kernel along its rows, to be [walked](Driver::walk) by their numbers.
pub(super) fn rows(k: &Kernel, style: StoreStyle) -> Result<Driver> {
    let mut an = Analysis::new(k, nest::forms(k), Mode::Row, None, 0)?;
    let programs = CACHE.get(&mut an, 0, style, false)?;
    let results = k.passes.iter().map(|p| p.reduces.len()).sum();
    let b = Bound::new(programs, an.nest, results, &[], k.row_len(), style.stream != 0, 8)?;
    let cost = b.cost_ns();
    Ok(Driver { b, cost, plan: Plan::Tiled { piece: k.row_len(), per_task: 1 }, between: None, scratch: Vec::new(), row: k.row_len() })
}

fn prepare(k: &Kernel, style: StoreStyle) -> Result<Code> {
    match k.archetype {
        Archetype::Matmul => {
            if let Some(m) = Matmul::new(k, style)? {
                return Ok(Code::Matmul(Box::new(m)));
            }
        }
        Archetype::Conv { .. } => {
            if let Some(c) = Conv::new(k, style)? {
                return Ok(Code::Conv(Box::new(c)));
            }
        }
        Archetype::Attention => return Ok(Code::Attention(Box::new(Attention::new(k, style)?))),
        Archetype::Pointwise => {
            if let Some(parts) = parts(k) {
                return Ok(Code::Cut(parts.iter().map(|p| driver(p, style)).collect::<Result<_>>()?));
            }
        }
        _ => {}
    }
    programs(k, style)
}

/// The kernel in parts, where its domain is cut.
fn parts(k: &Kernel) -> Option<Vec<Kernel>> {
    let split = split(k);
    cut(split.as_ref().unwrap_or(k))
}

fn programs(k: &Kernel, style: StoreStyle) -> Result<Code> {
    let split = split(k);
    let k = split.as_ref().unwrap_or(k);
    let forms = nest::forms(k);
    let mode = mode_of(k, &forms);
    let scatter = matches!(k.archetype, Archetype::Scatter(_));
    let mut an = Analysis::new(k, forms, mode, None, 0)?;
    let programs = CACHE.get(&mut an, 0, style, scatter)?;
    let results = k.passes.iter().map(|p| p.reduces.len()).sum();
    let scratch: Vec<DType> = k.scratch.iter().map(|&d| compute(d)).collect();
    let mut b = Bound::new(programs, an.nest, results, &scratch, k.row_len(), style.stream != 0, 8)?;
    if let Archetype::Scatter(mode) = k.archetype {
        let Some(st) = k.passes.first().and_then(|p| p.stores.first()) else { return Err(internal("a scatter kernel without a store")) };
        return Ok(Code::Scatter(Box::new(Scatter::new(b, mode, k, st.arg.index(), st.index))));
    }
    let between = match k.archetype {
        Archetype::Sort(descending) => Some(Between::Sort { dtype: scratch[0], descending }),
        Archetype::Cumulative { kind, reverse } => Some(Between::Cumulative { dtype: scratch[0], kind, reverse }),
        _ => None,
    };
    let plan = Driver::plan(&b, between.is_some());
    if plan == Plan::RowPieces {
        b.share_rows();
    }
    let cost = b.cost_ns();
    Ok(Code::Driven(Box::new(Driver { b, cost, plan, between, scratch, row: k.row_len() })))
}

impl CpuExecutable {
    /// Prepares every kernel of the schedule.
    ///
    /// # Errors
    /// `Internal` if a kernel is malformed.
    pub fn new(s: &Schedule) -> Result<CpuExecutable> {
        let mut steps = Vec::with_capacity(s.launches.len());
        for l in &s.launches {
            if let Launch::Control(c) = l {
                if c.operands.iter().chain(c.results.iter().flatten()).any(|x| x.0 as usize >= s.slots.len()) {
                    return Err(internal("a branch or loop is bound to a slot that does not exist"));
                }
                steps.push(Step::Control(Box::new(control::Code::new(c)?)));
                continue;
            }
            let mut out = Vec::with_capacity(l.instances().len());
            for i in l.instances() {
                let slots: SmallVec<[u32; 8]> = i.slots.iter().map(|x| x.0).collect();
                if slots.len() != i.kernel.args.len() || i.params.len() != i.kernel.params.len() {
                    return Err(internal("a kernel is bound to the wrong number of buffers or parameters"));
                }
                for (a, x) in i.kernel.args.iter().zip(&slots) {
                    let Some(slot) = s.slots.get(*x as usize) else {
                        return Err(internal("a kernel is bound to a slot that does not exist"));
                    };
                    if a.numel.saturating_mul(a.dtype.size()) > slot.bytes() {
                        bail!(Internal, "cpu: a kernel needs {} elements of {}, its buffer has {} bytes", a.numel, a.dtype, slot.bytes());
                    }
                }
                let style = style(&i.kernel, &slots);
                let code = prepare(&i.kernel, style)?;
                out.push(Instance { kernel: i.kernel.clone(), style, code, slots, params: i.params.iter().copied().collect() });
            }
            steps.push(Step::Kernels(out));
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
                Place::Arena(o) => {
                    if o.saturating_add(slot.bytes()) > s.arena_bytes {
                        return Err(internal("a slot lies outside the arena"));
                    }
                }
            }
        }
        Ok(CpuExecutable { slots: s.slots.clone(), steps, arena_bytes: s.arena_bytes, outputs, inputs })
    }

    /// Runs the plan.
    ///
    /// # Errors
    /// `Memory` if outputs or the arena do not fit, `Device` for buffers of other devices.
    pub fn run(&self, inputs: &[Arc<dyn Storage>], params: &[Scalar]) -> Result<Vec<Arc<dyn Storage>>, Failed> {
        if inputs.len() < self.inputs {
            return Err(err!(Internal, "cpu: the plan has {} inputs, {} were given", self.inputs, inputs.len()).into());
        }
        let outputs = self.outputs.iter().map(|&n| MEMORY.storage(n)).collect::<Result<Vec<_>>>()?;
        let arena = if self.arena_bytes > 0 { Some(Held::new(&MEMORY, self.arena_bytes)?) } else { None };
        let at = |s: &Arc<dyn Storage>| super::own(&**s).map(CpuStorage::ptr);
        let mut table = Table::with_capacity(self.slots.len());
        for slot in &self.slots {
            table.push(match slot.place {
                Place::Input(i) => {
                    let x = &inputs[i as usize];
                    if x.bytes() < slot.bytes() {
                        return Err(err!(Internal, "cpu: input {i} has {} bytes, the plan expects {}", x.bytes(), slot.bytes()).into());
                    }
                    at(x)?
                }
                Place::Output(i) => at(&outputs[i as usize])?,
                // SAFETY: slots lie inside the arena.
                Place::Arena(o) => arena.as_ref().map_or(std::ptr::null_mut(), |a| unsafe { a.get().add(o) }),
            });
        }
        counters::LAUNCHES.fetch_add(self.steps.len() as u64, Relaxed);
        self.launch(&table, params).map_err(|error| Failed { error, started: true })?;
        Ok(outputs)
    }

    /// Its only kernel, if it is one, with the slots it is bound to.
    pub(super) fn only_kernel(&self) -> Option<(&Kernel, StoreStyle, SmallVec<[Place; 8]>)> {
        let [Step::Kernels(l)] = &self.steps[..] else { return None };
        let [i] = &l[..] else { return None };
        let places = i.slots.iter().map(|&s| self.slots[s as usize].place).collect();
        i.params.is_empty().then_some((&*i.kernel, i.style, places))
    }

    /// The launches of a run.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Bytes of arena a run needs.
    pub(super) fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Bytes of each output.
    pub(super) fn output_bytes(&self) -> &[usize] {
        &self.outputs
    }

    /// Runs a plan without parameters on pointers. `table` is there to be used again.
    ///
    /// # Safety
    /// Buffers of every input, every output and the arena, as large as the slots say.
    pub(super) unsafe fn execute(&self, inputs: &[*mut u8], outputs: &[*mut u8], arena: *mut u8, table: &mut Table) -> Result<()> {
        self.bind(inputs, outputs, arena, table);
        self.launch(table, &[])
    }

    /// Fills the table with the slots' buffers.
    pub(super) fn bind(&self, inputs: &[*mut u8], outputs: &[*mut u8], arena: *mut u8, table: &mut Table) {
        table.clear();
        table.extend(self.slots.iter().map(|slot| match slot.place {
            Place::Input(i) => inputs[i as usize],
            Place::Output(i) => outputs[i as usize],
            Place::Arena(o) => arena.wrapping_add(o),
        }));
    }

    fn launch(&self, table: &[*mut u8], params: &[Scalar]) -> Result<()> {
        // SAFETY: the table holds a buffer for every slot.
        self.steps.iter().try_for_each(|s| unsafe { self.step(s, table, params) })
    }

    /// Runs one of the plan's steps.
    ///
    /// # Safety
    /// The table holds a buffer for every slot.
    pub(super) unsafe fn step(&self, s: &Step, table: &[*mut u8], params: &[Scalar]) -> Result<()> {
        match s {
            Step::Kernels(l) => launch(l, table, params),
            // SAFETY: as promised.
            Step::Control(c) => unsafe { c.run(table, |s| self.slots[s as usize].bytes()) },
        }
    }
}

/// Pointers of one instance.
struct Call<'a> {
    driver: &'a Driver,
    args: SmallVec<[*mut u8; 16]>,
    params: SmallVec<[u64; 16]>,
    first: usize,
}

// SAFETY: tasks of one launch write disjoint memory.
unsafe impl Sync for Call<'_> {}

fn launch(l: &[Instance], table: &[*mut u8], values: &[Scalar]) -> Result<()> {
    let pool = pool();
    let mut calls: SmallVec<[Call<'_>; 1]> = SmallVec::new();
    let (mut tasks, mut cost) = (0, 0u64);
    for i in l {
        let args: SmallVec<[*mut u8; 16]> = i.slots.iter().map(|&s| table[s as usize]).collect();
        let mut params = SmallVec::new();
        param_block(&i.kernel.params, &i.params, values, &mut params);
        match &i.code {
            Code::Driven(d) => match d.tasks() {
                Some(n) => {
                    cost = cost.saturating_add(d.cost);
                    calls.push(Call { driver: d, args, params, first: tasks });
                    tasks += n;
                }
                // SAFETY: sizes were checked when the plan was prepared; Loop IR keeps indices inside.
                None => unsafe { d.regions(pool, &MEMORY, &args, params.as_ptr())? },
            },
            Code::Cut(parts) => {
                for d in parts {
                    cost = cost.saturating_add(d.cost);
                    calls.push(Call { driver: d, args: args.clone(), params: params.clone(), first: tasks });
                    // Pointwise kernels are one region.
                    tasks += d.tasks().unwrap_or(0);
                }
            }
            // SAFETY: as above.
            Code::Matmul(m) => unsafe { m.run(pool, &MEMORY, &args, params.as_ptr())? },
            // SAFETY: as above.
            Code::Conv(c) => unsafe { c.run(pool, &MEMORY, &args, params.as_ptr())? },
            // SAFETY: as above.
            Code::Attention(a) => unsafe { a.run(pool, &MEMORY, &args, params.as_ptr())? },
            // SAFETY: as above.
            Code::Scatter(s) => unsafe { s.run(pool, &args, params.as_ptr()) },
        }
    }
    let work = |t: usize| {
        let c = &calls[calls.partition_point(|c| c.first <= t) - 1];
        // SAFETY: as above.
        unsafe { c.driver.task(t - c.first, &c.args, c.params.as_ptr()) }
    };
    if tasks == 1 {
        work(0);
    } else {
        pool.run(tasks, cost > SERIAL_NS, &work);
    }
    Ok(())
}

impl Executable for CpuExecutable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn source(&self, launch: usize) -> String {
        let mut out = String::new();
        let l = match self.steps.get(launch) {
            Some(Step::Kernels(l)) => l,
            Some(Step::Control(c)) => {
                c.source(&mut out);
                return out;
            }
            None => return out,
        };
        let Some(i) = l.first() else { return out };
        if l.len() > 1 {
            let _ = writeln!(out, "{} instances of", l.len());
        }
        let mut parts = parts(&i.kernel);
        if let Some(p) = &parts {
            let _ = writeln!(out, "cut into {} parts", p.len());
        }
        if let Some(steps) = attention::steps(&i.kernel) {
            let _ = writeln!(out, "in blocks of queries, three steps each");
            parts = Some(steps.into());
        }
        for k in parts.as_deref().unwrap_or(std::slice::from_ref(&*i.kernel)) {
            if let Err(e) = text(k, i.style, &mut out) {
                let _ = writeln!(out, "{e}");
            }
        }
        out
    }
}

/// Appends the traversal and the tile programs of a kernel.
fn text(k: &Kernel, style: StoreStyle, out: &mut String) -> Result<()> {
    let split = split(k);
    let k = split.as_ref().unwrap_or(k);
    let forms = nest::forms(k);
    let mode = mode_of(k, &forms);
    let scatter = matches!(k.archetype, Archetype::Scatter(_));
    let mut an = Analysis::new(k, forms, mode, None, 0)?;
    let _ = writeln!(
        out,
        "{:?} kernel, {mode:?} traversal: base {:?} mid {:?} vector {:?}",
        k.archetype, an.nest.par, an.nest.mid, an.nest.vec
    );
    for p in 0..k.passes.len() {
        let _ = writeln!(out, " pass {p}:");
        compile(&mut an, p, style, scatter, true)?.text(out);
    }
    for (n, line) in an.nest.lines.iter().enumerate() {
        let _ = writeln!(out, " line{n} = {} + base {:?} + mid {:?} + vector {:?}", line.base, line.par, line.mid, line.vec);
    }
    Ok(())
}
