//! Recording a closure once as a sub-trace, with everything it captured made explicit.

use super::graph_transform::{Captured, Known};
use crate::base::Result;
use crate::tensor::{Tensor, draw_token, draws};
use crate::trace::graph::{Input, Inputs};
use crate::trace::{Args, LoopSpec, Op, Region, RegionKind, Trace, ValueId};
use std::sync::Arc;

/// A closure's body as a trace: inputs are the placeholders, then what was captured.
pub(crate) struct Body {
    pub trace: Trace,
    /// Tensors and numbers the closure took from outside.
    pub captured: Inputs,
}

/// Turns what was recorded from `placeholders` to `outputs` into a body. Values that depend on no placeholder are captured whole; they
/// are not part of the body.
pub(crate) fn close(placeholders: &[Tensor], outputs: &[Tensor]) -> Result<Body> {
    Ok(close_with(placeholders, outputs, &[])?.0)
}

/// As [`close`]; also says which value of the body each of `inner` is, if it is part of it.
pub(crate) fn close_with(placeholders: &[Tensor], outputs: &[Tensor], inner: &[Tensor]) -> Result<(Body, Vec<Option<ValueId>>)> {
    let c = Captured::new(outputs, placeholders)?;
    let n = c.trace.insts.len();
    let mut inside = vec![false; n];
    for p in placeholders {
        if let Some(v) = c.value_of(p) {
            inside[v.index()] = true;
        }
    }
    for v in c.trace.values() {
        inside[v.index()] |= c.trace[v].args.iter().any(|a| inside[a.index()]);
    }
    let mut body = Trace::new();
    let mut map: Vec<Option<ValueId>> = vec![None; n];
    for p in placeholders {
        let v = body.input(p.dtype(), p.shape().clone());
        if let Some(old) = c.value_of(p) {
            map[old.index()] = Some(v);
        }
    }
    // What the inside reads from outside, in order.
    let mut captured = Inputs::new();
    let mut capture = |v: ValueId, body: &mut Trace, map: &mut Vec<Option<ValueId>>| {
        if map[v.index()].is_some() {
            return;
        }
        let inst = &c.trace[v];
        // A number spread over a shape is captured as the number.
        let (mut root, mut splat) = (v, None);
        loop {
            match c.trace[root].op {
                Op::Param(k) => {
                    splat = Some(Input::param(c.params[k as usize], inst.dtype));
                    break;
                }
                Op::Const(k) => {
                    let k = body.constant(k, inst.dtype, &inst.shape);
                    map[v.index()] = Some(k);
                    return;
                }
                Op::Broadcast if c.known[root.index()].is_none() => root = c.trace[root].args[0],
                _ => break,
            }
        }
        let new = match (splat, &c.known[v.index()]) {
            (Some(s), _) => {
                captured.push(s);
                let i = body.input(inst.dtype, crate::base::Shape::scalar());
                body.broadcast(i, &inst.shape)
            }
            (None, Some(Known::Node(node))) => {
                captured.push(Input::Node(node.clone()));
                body.input(inst.dtype, inst.shape.clone())
            }
            _ => unreachable!("values without a node are numbers and their broadcasts"),
        };
        map[v.index()] = Some(new);
    };
    // Inputs must come first in a body, so everything captured is found before the inside is copied.
    for v in c.trace.values().filter(|v| inside[v.index()]) {
        for &a in &c.trace[v].args {
            if !inside[a.index()] {
                capture(a, &mut body, &mut map);
            }
        }
    }
    for &o in &c.trace.outputs {
        if !inside[o.index()] {
            capture(o, &mut body, &mut map);
        }
    }
    for v in c.trace.values().filter(|v| inside[v.index()]) {
        if map[v.index()].is_some() {
            continue;
        }
        let inst = &c.trace[v];
        let args: Args = inst.args.iter().filter_map(|a| map[a.index()]).collect();
        debug_assert_eq!(args.len(), inst.args.len());
        map[v.index()] = Some(body.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site));
    }
    body.outputs = c.trace.outputs.iter().filter_map(|o| map[o.index()]).collect();
    let inner = c.values_of(inner).into_iter().map(|v| v.filter(|v| inside[v.index()]).and_then(|v| map[v.index()])).collect();
    Ok((Body { trace: body, captured }, inner))
}

/// Records a region on `inputs` and returns its results.
///
/// A region inside of which random numbers were drawn (`drew`), in a function recorded for many examples, also gets a draw that it does not
/// read: so it is each example's own, like what it draws.
#[track_caller]
pub(crate) fn record(region: Region, inputs: Inputs, drew: bool) -> Vec<Tensor> {
    let custom = matches!(region.kind, RegionKind::CustomJvp(_) | RegionKind::CustomVjp(_));
    let (region, inputs) = if !custom && drew && draws::examples() > 1 { with_token(region, inputs) } else { (region, inputs) };
    let types: Vec<_> = (0..region.results()).map(|k| region.result(k)).collect();
    let Some((d, s)) = types.first().cloned() else { return Vec::new() };
    let r = Tensor::record_inputs(Op::Region(Arc::new(region)), inputs, d, s);
    types.into_iter().enumerate().map(|(k, (d, s))| Tensor::record_typed(Op::Output(k as u32), &[&r], d, s)).collect()
}

/// A region with one more operand, a draw that it does not read.
fn with_token(r: Region, mut operands: Inputs) -> (Region, Inputs) {
    let token = draw_token();
    let (dtype, shape) = (token.dtype(), token.shape().clone());
    // Among the consts of a loop.
    let at = match &r.kind {
        RegionKind::Loop(l) => l.consts,
        _ => r.arity(),
    };
    let wider = |t: &Arc<Trace>| -> Arc<Trace> {
        let mut new = Trace::new();
        let mut args: Vec<ValueId> = Vec::new();
        for (i, &v) in t.inputs.iter().enumerate() {
            if i == at {
                new.input(dtype, shape.clone());
            }
            args.push(new.input(t.dtype(v), t.shape(v).clone()));
        }
        if at >= t.inputs.len() {
            new.input(dtype, shape.clone());
        }
        new.outputs = new.inline(t, &args);
        Arc::new(new)
    };
    let mut new = r.with_traces(wider);
    if let RegionKind::Loop(l) = &new.kind {
        new.kind = RegionKind::Loop(Arc::new(LoopSpec { consts: l.consts + 1, ..(**l).clone() }));
    }
    operands.insert(at, Input::Node(token.0));
    (new, operands)
}
