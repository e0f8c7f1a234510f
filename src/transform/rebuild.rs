//! Keeping only what results need: the tail a transform appended, and the bodies of the regions it makes.

use crate::trace::{Args, Op, Region, RegionKind, Trace, ValueId};

/// The op of a symbolic tangent: stands in the trace while a linear program is built and transposed, never after.
pub(super) const PLACEHOLDER: Op = Op::Input(u32::MAX);

/// Drops the instructions from `from` on that `roots` do not need; returns the roots' new names.
pub(super) fn compact(t: &mut Trace, from: usize, roots: &[Option<ValueId>]) -> Vec<Option<ValueId>> {
    let live = live(t, from, roots);
    let mut map: Vec<ValueId> = Vec::with_capacity(live.len());
    let tail = t.insts.split_off(from);
    let rename = |map: &[ValueId], v: ValueId| if v.index() < from { v } else { map[v.index() - from] };
    for (mut inst, live) in tail.into_iter().zip(live) {
        map.push(ValueId::new(t.insts.len()));
        if live {
            debug_assert!(inst.op != PLACEHOLDER, "a cotangent refers to a symbolic tangent");
            inst.args.iter_mut().for_each(|a| *a = rename(&map, *a));
            t.insts.push(inst);
        }
    }
    roots.iter().map(|r| r.map(|v| rename(&map, v))).collect()
}

/// Appends a `Checkpoint` region that computes `roots` of `body` from `args`; one value per root.
/// Inputs that the roots do not need are left out, and a root that is an input is just that operand.
pub(super) fn emit_checkpoint(t: &mut Trace, body: &Trace, args: &[ValueId], roots: &[Option<ValueId>]) -> Vec<Option<ValueId>> {
    let through = |v: ValueId| match body[v].op {
        Op::Input(i) => Some(args[i as usize]),
        _ => None,
    };
    let computed: Vec<Option<ValueId>> = roots.iter().map(|r| r.filter(|&v| through(v).is_none())).collect();
    let mut region = None;
    if computed.iter().any(|r| r.is_some()) {
        let live = live(body, 0, &computed);
        let mut out = Trace::new();
        let mut operands = Args::new();
        let mut map: Vec<ValueId> = Vec::with_capacity(live.len());
        for (inst, live) in body.insts.iter().zip(live) {
            map.push(ValueId::new(out.insts.len()));
            if !live {
                continue;
            }
            if let Op::Input(i) = inst.op {
                operands.push(args[i as usize]);
                out.input(inst.dtype, inst.shape.clone());
            } else {
                let a: Args = inst.args.iter().map(|x| map[x.index()]).collect();
                out.push_typed(inst.op.clone(), &a, inst.dtype, inst.shape.clone(), inst.site);
            }
        }
        out.outputs = computed.iter().flatten().map(|v| map[v.index()]).collect();
        region = Some(t.region(RegionKind::Checkpoint(0), out, &operands));
    }
    let mut results = region.into_iter().flatten();
    roots.iter().map(|r| r.map(|v| through(v).unwrap_or_else(|| results.next().expect("some root is computed")))).collect()
}

/// The trace with the uses of some values replaced by inputs that hold them, given `(value, input)` pairs, and the new names of `roots`.
pub(super) fn given(t: &Trace, known: &[(ValueId, ValueId)], roots: &[Option<ValueId>]) -> (Trace, Vec<Option<ValueId>>) {
    let mut out = Trace::new();
    let mut map: Vec<Option<ValueId>> = vec![None; t.insts.len()];
    for &i in &t.inputs {
        map[i.index()] = Some(out.input(t.dtype(i), t.shape(i).clone()));
    }
    for &(v, input) in known {
        map[v.index()] = map[input.index()];
    }
    for (i, inst) in t.insts.iter().enumerate() {
        if map[i].is_none() {
            let args: Args = inst.args.iter().map(|a| map[a.index()].expect("operands come first")).collect();
            map[i] = Some(out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site));
        }
    }
    let roots = roots.iter().map(|r| r.and_then(|v| map[v.index()])).collect();
    (out, roots)
}

/// A trace of its own with the values `inputs` as its inputs, in that order, that computes `outputs`, which depend on no other input.
pub(super) fn extract(t: &Trace, inputs: &[ValueId], outputs: &[ValueId]) -> Trace {
    let roots: Vec<Option<ValueId>> = outputs.iter().copied().map(Some).collect();
    let live = live(t, 0, &roots);
    let mut out = Trace::new();
    let mut map: Vec<Option<ValueId>> = vec![None; t.insts.len()];
    for &i in inputs {
        map[i.index()] = Some(out.input(t.dtype(i), t.shape(i).clone()));
    }
    for (i, inst) in t.insts.iter().enumerate() {
        if live[i] && map[i].is_none() {
            let args: Args = inst.args.iter().map(|a| map[a.index()].expect("operands come first")).collect();
            map[i] = Some(out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site));
        }
    }
    out.outputs = outputs.iter().map(|o| map[o.index()].expect("outputs are live")).collect();
    out
}

/// Appends the reading of result `k` of the region `v`.
pub(super) fn output(t: &mut Trace, v: ValueId, k: usize, r: &Region) -> ValueId {
    let (dtype, shape) = r.result(k);
    t.push_typed(Op::Output(k as u32), &[v], dtype, shape, None)
}

/// Which of the instructions from `from` on the roots need.
fn live(t: &Trace, from: usize, roots: &[Option<ValueId>]) -> Vec<bool> {
    let mut live = vec![false; t.insts.len() - from];
    let mark = |live: &mut Vec<bool>, v: ValueId| {
        if let Some(i) = v.index().checked_sub(from) {
            live[i] = true;
        }
    };
    roots.iter().flatten().for_each(|&v| mark(&mut live, v));
    for i in (0..live.len()).rev() {
        if live[i] {
            t.insts[from + i].args.iter().for_each(|&a| mark(&mut live, a));
        }
    }
    live
}
