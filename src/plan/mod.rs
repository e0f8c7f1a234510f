//! Executable plans: from recorded nodes to values.
//!
//! [`evaluate`] walks the graph once to a canonical key. A hit in the plan cache runs the stored plan: no pass, no code generation.
//! A miss imports, simplifies, fuses, lays out memory and asks the backend to prepare the schedule, once per key however many threads
//! ask. Numbers the user wrote and the leaves' data are looked up anew for each run.
//!
//! Invariants: no lock is held while compiling or running; a node's value is set once, the first thread that has it wins; a plan's
//! results depend on the key, the leaves and the parameters alone.

pub mod bounds;
mod cache;
pub(crate) mod compile;
mod disk;
mod donate;
#[cfg(feature = "wgpu")]
mod elsewhere;
mod explain;
mod memory;
mod stats;

pub(crate) use compile::compile;
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub(crate) use compile::lower_for;
pub use compile::{How, Plan, PlanResult, run_trace};
pub(crate) use donate::WORTHWHILE;
#[cfg(feature = "wgpu")]
pub(crate) use elsewhere::{evaluate_elsewhere, prepare};
pub use explain::{Report, ReportKernel, explain, of_trace};
pub(crate) use stats::looked_up;
pub use stats::{Stats, stats};

use crate::backend;
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Result, Scalar, Storage, Value};
use crate::trace::graph::{self, NodeRef, Through, WeakNode};
use crate::trace::{import, key};
use cache::Slot;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// What becomes of the recipe of an evaluated value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// It stays, so that a gradient can still be taken.
    Recipe,
    /// It is let go: the value becomes a leaf.
    Cut,
}

/// Runs a plan on leaves and parameters and returns its first results, so many: another way than [`execute`].
pub(crate) type Elsewhere<'a> =
    dyn FnMut(&Plan, &[Arc<dyn Storage>], &[Scalar], usize) -> Result<Vec<Arc<dyn Storage>>, backend::Failed> + 'a;

/// What a walk found out, before anything is compiled.
struct Request {
    keyed: key::Keyed,
    hash: u64,
    device: DeviceId,
    /// For each leaf, whether it may be overwritten; empty if none may.
    donated: Vec<bool>,
}

/// Computes the nodes' values, and those of what is bundled with them and still held.
///
/// # Errors
/// The slip a poisoned tensor carries; what the device reports. Nothing is set then, and the engine works on.
pub fn evaluate(nodes: &[NodeRef], keep: Keep) -> Result<()> {
    evaluate_over(nodes, keep, &[])
}

/// As [`evaluate`], for a caller that lets go of one handle of each node of `spare` (which holds another) if this succeeds: what nobody
/// else holds may be overwritten.
///
/// # Errors
/// As [`evaluate`]. If the device fails half way, what was overwritten is lost: later uses are a `Memory` error.
pub fn evaluate_over(nodes: &[NodeRef], keep: Keep, spare: &[NodeRef]) -> Result<()> {
    evaluate_by(nodes, keep, spare, None)
}

fn evaluate_by(nodes: &[NodeRef], keep: Keep, spare: &[NodeRef], mut elsewhere: Option<&mut Elsewhere<'_>>) -> Result<()> {
    if let Some(e) = nodes.iter().find_map(|n| n.poison()) {
        return Err(e.clone());
    }
    let mut roots = wanted(nodes);
    let mut claimed = None;
    while !roots.is_empty() {
        match run(&mut roots, keep, spare, elsewhere.as_deref_mut())? {
            Ran::Now(c) => {
                claimed = Some(c);
                break;
            }
            Ran::NotYet => roots = wanted(nodes),
        }
    }
    if keep == Keep::Cut {
        let cut: Vec<_> = {
            let mut owner = graph::owner();
            roots.iter().chain(nodes).filter_map(|n| n.cut(&mut owner, false)).collect()
        };
        // Only now nobody comes upon what was overwritten.
        drop(claimed);
        // Recipes are dropped here, without the owner: a long chain takes its time.
        drop(cut);
    }
    Ok(())
}

/// The nodes without a value, and those bundled with them.
fn wanted(nodes: &[NodeRef]) -> Vec<NodeRef> {
    let mut roots: Vec<NodeRef> = Vec::with_capacity(nodes.len());
    let mut add = |n: NodeRef| {
        if n.value.get().is_none() && !roots.iter().any(|r| r.same(&n)) {
            roots.push(n);
        }
    };
    let mut bundles: Vec<*const graph::Bundle> = Vec::new();
    for n in nodes {
        add(n.clone());
        if n.value.get().is_none()
            && let Some(b) = n.bundle.get()
            && !bundles.contains(&Arc::as_ptr(b))
        {
            bundles.push(Arc::as_ptr(b));
            b.0.iter().filter_map(WeakNode::upgrade).for_each(&mut add);
        }
    }
    roots
}

/// Members of bundles below the roots, and their mates, that somebody holds besides the recipes walked here: a training step evaluates
/// the new parameters, below which lie the gradients, whose mate is the loss the user is about to print.
fn held_mates(owner: &graph::Owner, walk: &graph::Walk<'_>, roots: &[NodeRef]) -> Vec<NodeRef> {
    let mut bundles: Vec<&Arc<graph::Bundle>> = Vec::new();
    for n in &walk.order {
        if n.value.get().is_none()
            && let Some(b) = n.bundle.get()
            && !bundles.iter().any(|x| Arc::ptr_eq(x, b))
        {
            bundles.push(b);
        }
    }
    if bundles.is_empty() {
        return Vec::new();
    }
    // How often each node is an operand within this walk.
    let mut uses = vec![0usize; walk.order.len()];
    for n in walk.order.iter().filter(|n| n.value.get().is_none()) {
        if let graph::Recipe::Made(_, inputs) = n.recipe(owner) {
            for i in inputs {
                if let graph::Input::Node(x) = i
                    && let Some(k) = x.number(walk.generation)
                {
                    uses[k as usize] += 1;
                }
            }
        }
    }
    bundles
        .iter()
        .flat_map(|b| b.0.iter().filter_map(WeakNode::upgrade))
        .filter(|m| {
            let inside = m.number(walk.generation).map_or(0, |k| uses[k as usize]);
            // One count is the upgrade's own.
            m.value.get().is_none() && m.holders() > inside + 1 && !roots.iter().any(|r| r.same(m))
        })
        .collect()
}

/// Whether a run took place.
enum Ran {
    Now(Claimed),
    /// Another thread was overwriting a leaf; it is done, and may have set wanted values.
    NotYet,
}

/// A plan that is wanted, and what is there of it.
struct Asked {
    request: Request,
    claimed: Claimed,
    found: Option<Arc<Plan>>,
    /// What to compile if none was found; `None` also if that is being done already.
    missing: Option<import::Imported>,
}

/// What is to run for these values; `None` if another thread was overwriting a leaf of theirs.
fn ask(roots: &mut Vec<NodeRef>, keep: Keep, spare: &[NodeRef], donate: bool) -> Result<Option<Asked>> {
    let device = roots[0].device;
    if let Some(other) = roots.iter().find(|n| n.device != device) {
        return Err(err!(Device, "tensors on device {} and {} are evaluated together: evaluate them apart", device.0, other.device.0)
            .at(other.site));
    }
    {
        let mut owner = graph::owner();
        let mut walk = graph::walk(&owner, roots.iter(), Through::Unevaluated);
        let mates = if walk.bundled { held_mates(&owner, &walk, roots) } else { Vec::new() };
        if !mates.is_empty() {
            drop(walk);
            roots.extend(mates);
            walk = graph::walk(&owner, roots.iter(), Through::Unevaluated);
        }
        if walk.poisoned
            && let Some(e) = walk.order.iter().find_map(|n| n.poison())
        {
            return Err(e.clone());
        }
        if !graph::readable(&walk)? {
            drop(walk);
            drop(graph::wait_for_claims(owner));
            return Ok(None);
        }
        let donated = match keep {
            Keep::Cut if donate && !debugging("bounds") => donate::donated(&owner, &walk, roots, spare),
            _ => Vec::new(),
        };
        let mut keyed = key::encode(&owner, &walk, roots.iter());
        // Of numbers alone there is no leaf that names the device.
        keyed.words.push(device.0 as u64);
        keyed.words.extend(donated.iter().enumerate().filter(|(_, d)| **d).map(|(i, _)| i as u64));
        let hash = key::hash(&keyed.words);
        let found = cache::plans().find(hash, &keyed.words);
        // A frame that comes too early costs no more than this.
        let early = !donate && found.is_none() && cache::plans().preparing(hash, &keyed.words);
        // Imported under the same lock, so that the trace is the one the key describes.
        let imported =
            if found.is_some() || early { None } else { Some(import::import(&owner, &walk, Through::Unevaluated, roots.iter())?) };
        let claimed: Vec<NodeRef> = if donated.is_empty() { Vec::new() } else { donate::leaves(&owner, &walk, &donated) };
        drop(walk);
        graph::set_claims(&mut owner, &claimed, graph::Claim::Taken);
        Ok(Some(Asked { request: Request { keyed, hash, device, donated }, claimed: Claimed(claimed), found, missing: imported }))
    }
}

fn run(roots: &mut Vec<NodeRef>, keep: Keep, spare: &[NodeRef], elsewhere: Option<&mut Elsewhere<'_>>) -> Result<Ran> {
    let Some(Asked { request, mut claimed, found, missing }) = ask(roots, keep, spare, elsewhere.is_none())? else {
        return Ok(Ran::NotYet);
    };
    let early = || Err(err!(NotReady, "the program is still being prepared: ask again in a later frame").at(roots[0].site));
    let plan = match (found, missing) {
        (Some(plan), _) => {
            debug("plan", || format!("found: {} launches", plan.launches));
            stats::looked_up(true);
            plan
        }
        (None, Some(imported)) => {
            let slot = cache::plans().slot(request.hash, &request.keyed.words);
            // Its preparation may have begun just now.
            if elsewhere.is_some() && slot.is_preparing() {
                return early();
            }
            plan_of(&slot, &request, imported)?
        }
        (None, None) => return early(),
    };
    let site = roots[0].site;
    let leaves: SmallVec<[Arc<dyn Storage>; 4]> = request.keyed.leaves.iter().map(|v| v.storage.clone()).collect();
    let params = &request.keyed.params;
    let results = match elsewhere {
        Some(run) => run(&plan, &leaves, params, roots.len()),
        None => execute(&plan, request.device, &leaves, params, roots.len()),
    };
    let results = results.map_err(|f| {
        if f.started {
            claimed.settle(graph::Claim::Lost);
        }
        f.error.at(site)
    })?;
    for (node, storage) in roots.iter().zip(results) {
        let _ = node.value.set(Ok(Value { storage, dtype: node.dtype }));
    }
    Ok(Ran::Now(claimed))
}

/// Runs a plan on leaves and parameters; returns its first `wanted` results.
///
/// # Errors
/// What the device reports, or an index out of bounds where `LAZULI_DEBUG=bounds` asks for it.
pub(crate) fn execute(
    plan: &Plan,
    device: DeviceId,
    leaves: &[Arc<dyn Storage>],
    params: &[Scalar],
    wanted: usize,
) -> Result<Vec<Arc<dyn Storage>>, backend::Failed> {
    let backend = backend::of(device);
    let started = debugging("launch").then(std::time::Instant::now);
    let storages = backend.run(&*plan.executable, leaves, params)?;
    if let Some(t) = started {
        debug("launch", || format!("{} launches in {:.3} ms: {}", plan.launches, t.elapsed().as_secs_f64() * 1e3, plan.names.join("; ")));
    }
    if !plan.checks.is_empty() {
        bounds::verify(&plan.checks, &plan.results[wanted..], &storages, leaves, backend)?;
    }
    Ok(results_of(plan, storages, leaves, wanted))
}

/// The first results of a plan that has run.
pub(crate) fn results_of(plan: &Plan, outputs: Vec<Arc<dyn Storage>>, leaves: &[Arc<dyn Storage>], wanted: usize) -> Vec<Arc<dyn Storage>> {
    // Nearly always they are the outputs as they come.
    if plan.results.len() == wanted && plan.results.iter().enumerate().all(|(k, r)| *r == PlanResult::Output(k as u32)) {
        return outputs;
    }
    let storage = |r: &PlanResult| match *r {
        PlanResult::Output(i) => outputs[i as usize].clone(),
        PlanResult::Leaf(i) => leaves[i as usize].clone(),
    };
    plan.results[..wanted].iter().map(storage).collect()
}

/// Leaves this thread is about to overwrite. However it comes to an end, those who wait go on.
struct Claimed(Vec<NodeRef>);

impl Claimed {
    fn settle(&mut self, claim: graph::Claim) {
        let leaves = std::mem::take(&mut self.0);
        if !leaves.is_empty() {
            graph::set_claims(&mut graph::owner(), &leaves, claim);
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.settle(graph::Claim::Free);
    }
}

/// The plan of a slot; whoever comes first compiles, the others wait for it.
fn plan_of(slot: &Arc<Slot>, request: &Request, imported: import::Imported) -> Result<Arc<Plan>> {
    let mut compiled = false;
    let plan = slot.plan.get_or_init(|| {
        compiled = true;
        one_device(&request.keyed.leaves, request.device)?;
        compile::compile(imported.trace, request.device, &request.donated, request.keyed.words.len() * 8).map(Arc::new)
    });
    stats::looked_up(!compiled);
    match plan {
        Ok(p) => {
            if compiled {
                cache::plans().grown(request.hash, &request.keyed.words, p.bytes);
            }
            Ok(p.clone())
        }
        Err(e) => {
            // A failure (no memory, say) may pass: the next call tries again.
            cache::plans().remove(request.hash, &request.keyed.words);
            Err(e.clone())
        }
    }
}

/// Values computed by the automatic flush whose recipes are still kept.
const KEPT_FLUSHES: usize = 16;

thread_local! {
    static FLUSHED: RefCell<VecDeque<WeakNode>> = const { RefCell::new(VecDeque::new()) };
}

/// Computes a node whose recipe has grown long. Its recipe is kept for a while, then cut and marked: a gradient that meets the mark is
/// an error. A failure leaves the node unevaluated; the next fallible call reports it.
pub fn flush(node: &NodeRef) {
    if let Err(e) = evaluate(std::slice::from_ref(node), Keep::Recipe) {
        log::warn!("automatic flush: {e}");
        return;
    }
    stats::flushed();
    let old = FLUSHED.with_borrow_mut(|q| {
        q.push_back(node.downgrade());
        if q.len() > KEPT_FLUSHES { q.pop_front() } else { None }
    });
    if let Some(n) = old.and_then(|w| w.upgrade()) {
        let recipe = n.cut(&mut graph::owner(), true);
        drop(recipe);
    }
}

/// Refuses a request for a plan that mixes devices.
fn one_device(leaves: &[Value], device: DeviceId) -> Result<()> {
    match leaves.iter().find(|v| v.storage.device() != device) {
        Some(v) => bail!(Device, "data on device {} is used on device {}: move it with to_device", v.storage.device().0, device.0),
        None => Ok(()),
    }
}

/// Prints to stderr what `LAZULI_DEBUG` names (a comma-separated list).
pub(crate) fn debug(what: &str, text: impl FnOnce() -> String) {
    if debugging(what) {
        eprintln!("lazuli {what}:\n{}", text());
    }
}

static DEBUG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| std::env::var("LAZULI_DEBUG").unwrap_or_default());

/// Whether `LAZULI_DEBUG` names `what`.
pub(crate) fn debugging(what: &str) -> bool {
    !DEBUG.is_empty() && DEBUG.split(',').any(|w| w.trim() == what)
}

/// Whether `LAZULI_DEBUG` names anything.
fn debugging_anything() -> bool {
    !DEBUG.is_empty()
}
