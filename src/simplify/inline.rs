//! Regions replaced by their bodies, but for branches and loops. Their rules are for the transforms, which are done by now.

use crate::base::Site;
use crate::trace::{Args, Op, Trace, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// The trace with every region but branches and loops, at every depth outside of those, replaced by its body, which is simplified on its own first: within one body
/// merging equal instructions is safe, across bodies it would undo a `Checkpoint`.
pub(super) fn inline(t: &Trace) -> Trace {
    let mut out = Trace::new();
    let mut bodies = HashMap::new();
    out.outputs = expand(&mut out, t, None, None, &mut bodies);
    out
}

/// Copies `t` into `out`, its inputs being `args` where given; returns its outputs. Recursion is as deep as regions nest, which the
/// verifier bounds.
fn expand(
    out: &mut Trace,
    t: &Trace,
    args: Option<&[ValueId]>,
    site: Option<Site>,
    bodies: &mut HashMap<*const Trace, Arc<Trace>>,
) -> Vec<ValueId> {
    let mut map: Vec<ValueId> = Vec::with_capacity(t.insts.len());
    let mut regions: HashMap<ValueId, Vec<ValueId>> = HashMap::new();
    for (i, inst) in t.insts.iter().enumerate() {
        let a: Args = inst.args.iter().map(|x| map[x.index()]).collect();
        let v = match (&inst.op, args) {
            (Op::Input(n), Some(args)) => args[*n as usize],
            (Op::Region(r), _) if !r.kind.is_control() => {
                let body = bodies.entry(Arc::as_ptr(&r.body)).or_insert_with(|| Arc::new(super::merged(&r.body))).clone();
                let outs = expand(out, &body, Some(&a), inst.site.or(site), bodies);
                let first = outs[0];
                regions.insert(ValueId::new(i), outs);
                // Only `Output` reads a region, and is replaced below.
                first
            }
            (Op::Output(n), _) if regions.contains_key(&inst.args[0]) => regions[&inst.args[0]][*n as usize],
            _ => out.push_typed(inst.op.clone(), &a, inst.dtype, inst.shape.clone(), inst.site.or(site)),
        };
        map.push(v);
    }
    t.outputs.iter().map(|o| map[o.index()]).collect()
}
