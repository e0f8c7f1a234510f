//! `explain`: which kernels an evaluation would run, what each fuses and why not more, bytes and flops.

use super::compile;
use crate::backend;
use crate::base::Result;
use crate::loops::schedule::{Control, ControlKind, Instance, Launch, Program};
use crate::loops::{Access, Archetype, ExprKind, Kernel, ReduceKind};
use crate::tensor::Tensor;
use crate::trace::graph::{self, NodeRef, Through};
use crate::trace::import;
use std::borrow::Borrow;
use std::fmt;

/// What an evaluation would do.
pub struct Report {
    kernels: Vec<ReportKernel>,
    trace: String,
    refusals: Vec<String>,
    arena: usize,
    live: usize,
}

/// One kernel launch of a report.
pub struct ReportKernel {
    name: String,
    instances: usize,
    bytes: u64,
    flops: u64,
    text: String,
    source: String,
}

impl Report {
    /// The launches, in order.
    pub fn kernels(&self) -> &[ReportKernel] {
        &self.kernels
    }

    /// The code emitted for launch `i` by the device's backend.
    ///
    /// # Panics
    /// If there is no such launch.
    pub fn source(&self, i: usize) -> &str {
        &self.kernels[i].source
    }

    /// The simplified trace.
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Why values were not fused, one line each.
    pub fn refusals(&self) -> &[String] {
        &self.refusals
    }

    /// Bytes of the arena that temporaries share.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// The largest sum of bytes of temporaries alive at one time: no arena can be smaller in this order.
    pub fn live_bytes(&self) -> usize {
        self.live
    }
}

impl ReportKernel {
    /// Its archetype.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many buffers' worth of work the launch does (grouped launches: several).
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// Bytes of all arguments, each counted once.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Arithmetic operations.
    pub fn flops(&self) -> u64 {
        self.flops
    }

    /// The kernel in Loop IR.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} kernels, {} bytes of temporaries", self.kernels.len(), self.arena)?;
        for (i, k) in self.kernels.iter().enumerate() {
            let times = if k.instances > 1 { format!(" x{}", k.instances) } else { String::new() };
            writeln!(f, "  {i:>3} {}{times}: {} bytes, {} flop", k.name, k.bytes, k.flops)?;
            for line in k.text.lines() {
                writeln!(f, "        {line}")?;
            }
        }
        for r in &self.refusals {
            writeln!(f, "  not fused: {r}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What evaluating these tensors (and what is bundled with them) would run, without running it. A tensor that cannot be evaluated
/// gives a report without kernels that says why.
pub fn explain<T: Borrow<Tensor>>(tensors: &[T]) -> Report {
    let nodes: Vec<NodeRef> = tensors.iter().map(|t| t.borrow().0.clone()).collect();
    match report(&nodes) {
        Ok(r) => r,
        Err(e) => Report { kernels: Vec::new(), trace: String::new(), refusals: vec![e.to_string()], arena: 0, live: 0 },
    }
}

fn report(nodes: &[NodeRef]) -> Result<Report> {
    let roots = super::wanted(nodes);
    let Some(first) = roots.first() else {
        return Ok(Report { kernels: Vec::new(), trace: String::new(), refusals: Vec::new(), arena: 0, live: 0 });
    };
    if let Some(e) = nodes.iter().find_map(|n| n.poison()) {
        return Err(e.clone());
    }
    let device = first.device;
    let imported = {
        let owner = graph::owner();
        let walk = graph::walk(&owner, roots.iter(), Through::Unevaluated);
        import::import(&owner, &walk, Through::Unevaluated, roots.iter())?
    };
    of_trace(&imported.trace, backend::of(device))
}

/// The report of a whole trace on a device.
///
/// # Errors
/// If the trace cannot be compiled.
pub fn of_trace(trace: &crate::trace::Trace, device: &dyn backend::Backend) -> Result<Report> {
    let l = compile::lower(trace, compile::Target::of(device), &[])?;
    let executable = device.prepare(&l.schedule, &mut backend::Artefacts::default())?;
    let kernels = l
        .schedule
        .launches
        .iter()
        .enumerate()
        .map(|(i, launch)| {
            let slots = &l.schedule.slots;
            match launch {
                Launch::Kernels(instances) => ReportKernel {
                    name: name(&instances[0].kernel).to_string(),
                    instances: instances.len(),
                    bytes: instances.iter().map(|i| bytes(i, slots)).sum(),
                    flops: instances.iter().map(|i| flops(&i.kernel)).sum(),
                    text: instances[0].kernel.to_string(),
                    source: executable.source(i),
                },
                Launch::Control(c) => {
                    let touched = c.operands.iter().chain(c.results.iter().flatten());
                    ReportKernel {
                        name: control_name(c),
                        instances: 1,
                        bytes: touched.map(|s| slots[s.0 as usize].bytes() as u64).sum(),
                        flops: 0,
                        text: control_text(c),
                        source: executable.source(i),
                    }
                }
            }
        })
        .collect();
    Ok(Report {
        kernels,
        trace: l.simplified.to_string(),
        refusals: l.refusals.iter().map(|(r, what)| format!("{what}: {}", r.reason)).collect(),
        arena: l.schedule.arena_bytes,
        live: l.live_bytes,
    })
}

/// What a launch runs, in a few words.
pub(super) fn launch_name(l: &Launch) -> String {
    let instances = match l {
        Launch::Kernels(instances) => instances,
        Launch::Control(c) => return control_name(c),
    };
    let k = &instances[0].kernel;
    let axes: Vec<String> = k.axes.iter().map(|a| format!("{}{}", a.extent, if a.row { " row" } else { "" })).collect();
    let times = if instances.len() > 1 { format!(" x {}", instances.len()) } else { String::new() };
    format!("{} [{}]{times}", name(k), axes.join(", "))
}

/// The programs of a branch or loop, each with what it is for.
fn programs(c: &Control) -> Vec<(&'static str, &Program)> {
    match &c.kind {
        ControlKind::Cond(b) => vec![("if it holds", &b[0]), ("else", &b[1])],
        ControlKind::Loop(l) => l.first.iter().map(|f| ("before the first iteration", f)).chain([("each iteration", &l.body)]).collect(),
    }
}

fn control_name(c: &Control) -> String {
    let kernels = |p: &Program| p.schedule.launches.len();
    match &c.kind {
        ControlKind::Cond(b) => format!("cond of {} or {} kernels", kernels(&b[0]), kernels(&b[1])),
        ControlKind::Loop(l) => format!("loop of {} kernels", kernels(&l.body)),
    }
}

fn control_text(c: &Control) -> String {
    let mut out = String::new();
    for (what, p) in programs(c) {
        out += &format!("{what}:\n");
        for l in &p.schedule.launches {
            match l {
                Launch::Kernels(i) => i.iter().for_each(|i| out += &i.kernel.to_string()),
                Launch::Control(c) => out += &control_text(c),
            }
        }
    }
    out
}

fn name(k: &Kernel) -> &'static str {
    match k.archetype {
        Archetype::Pointwise => "pointwise",
        Archetype::RowReduction => "row reduction",
        Archetype::ColumnReduction => "column reduction",
        Archetype::Matmul => "matmul",
        Archetype::Attention => "attention",
        Archetype::Conv { .. } => "conv",
        Archetype::Scatter(_) => "scatter",
        Archetype::Sort(_) => "sort",
        Archetype::Cumulative { .. } => "cumulative",
    }
}

fn bytes(i: &Instance, slots: &[crate::loops::schedule::Slot]) -> u64 {
    i.slots
        .iter()
        .zip(&i.kernel.args)
        .map(|(s, a)| slots[s.0 as usize].bytes() as u64 * if a.access == Access::Update { 2 } else { 1 })
        .sum()
}

fn flops(k: &Kernel) -> u64 {
    let per = k
        .exprs
        .iter()
        .filter(|e| matches!(e.kind, ExprKind::Unary(..) | ExprKind::Binary(..) | ExprKind::Select(..) | ExprKind::Compare(..)))
        .count() as u64;
    let (outer, row) = (k.outer_len() as u64, k.row_len() as u64);
    if let Some(a) = k.attention() {
        // A score is computed once for all columns.
        let rows = outer / k.axes[a.columns].extent.max(1) as u64;
        return rows * (2 * row + k.axes[a.keys].extent as u64 * (per + 2)) + outer * (2 * k.axes[a.keys].extent as u64 + per);
    }
    let folds: u64 =
        k.passes.iter().flat_map(|p| &p.reduces).map(|r| if matches!(r.kind, ReduceKind::Dot(..)) { 2 } else { 1 } * outer * row).sum();
    let contraction = matches!(k.archetype, Archetype::Matmul | Archetype::Conv { .. });
    folds + per * outer * if contraction { 1 } else { row }
}
