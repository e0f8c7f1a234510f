//! Dead code: instructions that no output needs are dropped. Inputs and params stay, so their numbers keep their meaning.

use crate::trace::{Args, Op, Trace, ValueId};

/// The trace without dead instructions.
pub(super) fn dce(t: &Trace) -> Trace {
    let mut live = vec![false; t.insts.len()];
    for o in &t.outputs {
        live[o.index()] = true;
    }
    for i in (0..t.insts.len()).rev() {
        live[i] |= matches!(t.insts[i].op, Op::Input(_) | Op::Param(_));
        if live[i] {
            for a in &t.insts[i].args {
                live[a.index()] = true;
            }
        }
    }
    let mut out = Trace::new();
    let mut map: Vec<Option<ValueId>> = vec![None; t.insts.len()];
    let at = |map: &[Option<ValueId>], v: &ValueId| map[v.index()].expect("operands of live instructions are live");
    for (i, inst) in t.insts.iter().enumerate().filter(|(i, _)| live[*i]) {
        let args: Args = inst.args.iter().map(|a| at(&map, a)).collect();
        map[i] = Some(out.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site));
    }
    out.outputs = t.outputs.iter().map(|o| at(&map, o)).collect();
    out
}
