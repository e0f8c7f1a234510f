//! Plans that somebody else runs, in an encoder of an application for one, and plans compiled before they are wanted.

use super::cache::Slot;
use super::{Asked, Elsewhere, Keep, ask, cache, evaluate_by, plan_of, wanted};
use crate::base::Result;
use crate::base::error::err;
use crate::trace::graph::NodeRef;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// As [`evaluate`] with [`Keep::Cut`], but the plan's launches are `run`'s business. Nothing is overwritten, and nothing waited for.
///
/// # Errors
/// As [`evaluate`]; `NotReady` while the plan is being [`prepare`]d.
pub(crate) fn evaluate_elsewhere(nodes: &[NodeRef], run: &mut Elsewhere<'_>) -> Result<()> {
    evaluate_by(nodes, Keep::Cut, &[], Some(run))
}

/// A slot whose plan is being made in the background.
struct Prepared(Arc<Slot>);

impl Drop for Prepared {
    fn drop(&mut self) {
        self.0.prepared.store(false, Relaxed);
    }
}

/// Compiles the plan that [`evaluate_elsewhere`] would run, by a thread in the background.
///
/// # Errors
/// The slip a poisoned tensor carries. What compiling reports is reported by whoever runs the plan.
pub(crate) fn prepare(nodes: &[NodeRef]) -> Result<()> {
    let mut roots = wanted(nodes);
    if roots.is_empty() {
        return Ok(());
    }
    let Some(Asked { request, missing: Some(imported), .. }) = ask(&mut roots, Keep::Recipe, &[], false)? else { return Ok(()) };
    let slot = cache::plans().slot(request.hash, &request.keyed.words);
    if slot.plan.get().is_some() || slot.prepared.swap(true, Relaxed) {
        return Ok(());
    }
    // However it comes to an end, and if it never begins, the next who asks for the plan may compile it.
    let slot = Prepared(slot);
    let compile = move || {
        if let Err(e) = plan_of(&slot.0, &request, imported) {
            log::warn!("a plan could not be prepared: {e}");
        }
    };
    if cfg!(target_arch = "wasm32") {
        // There is no thread; but the browser, which is handed the kernels here, compiles them in its own time.
        compile();
        return Ok(());
    }
    let thread = std::thread::Builder::new().name("lazuli-prepare".into()).spawn(compile);
    thread.map(|_| ()).map_err(|e| err!(Device, "prepare: no thread can be started: {e}"))
}
