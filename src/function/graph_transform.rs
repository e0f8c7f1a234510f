//! Transforms of recorded graphs: import, transform, record what was appended.

use crate::base::error::{bail, err};
use crate::base::{DType, DeviceId, Result, Scalar, Shape, Site};
use crate::tensor::Tensor;
use crate::trace::graph::{self, Bundle, Input, Inputs, Node, NodeRef, Recipe, Through};
use crate::trace::interp::HostTensor;
use crate::trace::{Op, Trace, ValueId, adopt, import};
use crate::transform;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::panic::Location;

/// A value of a trace as it is recorded: a node, or a number that fills its shape.
#[derive(Clone)]
pub(crate) enum Known {
    Node(NodeRef),
    Splat(Input),
}

/// A graph in the form transforms work on, and what its values are.
pub(crate) struct Captured {
    pub trace: Trace,
    /// By value: the node it was imported from (values that only exist in the trace have none).
    pub known: Vec<Option<Known>>,
    pub params: Vec<Scalar>,
}

impl Captured {
    /// Imports everything below `roots`, to be differentiated; the trace's outputs are theirs. `stops` are not flagged if their recipe was
    /// flushed.
    pub fn new(roots: &[Tensor], stops: &[Tensor]) -> Result<Captured> {
        Captured::import(roots, stops, true)
    }

    /// As [`new`](Captured::new), where what was flushed is data like any other.
    pub fn with_flushed(roots: &[Tensor], stops: &[Tensor]) -> Result<Captured> {
        Captured::import(roots, stops, false)
    }

    fn import(roots: &[Tensor], stops: &[Tensor], refuse_flushed: bool) -> Result<Captured> {
        let arcs: Vec<NodeRef> = roots.iter().map(|t| t.0.clone()).collect();
        let mut owner = graph::owner();
        let walk = loop {
            let walk = graph::walk(&owner, arcs.iter().chain(stops.iter().map(|t| &t.0)), Through::Recipes);
            if graph::readable(&walk)? {
                break walk;
            }
            drop(walk);
            owner = graph::wait_for_claims(owner);
        };
        for n in &walk.order {
            if let Some(e) = n.poison() {
                return Err(e.clone());
            }
            if refuse_flushed && matches!(n.recipe(&owner), Recipe::Flushed) && !stops.iter().any(|s| s.0.same(n)) {
                let e = err!(
                    Gradient,
                    "the recipe of a {} {} was let go by the automatic flush of a very long trace, so no gradient can pass it: \
                     take gradients more often, or call eval() or detach() where the history is not needed",
                    n.dtype,
                    n.shape
                );
                return Err(e.at(n.site));
            }
        }
        let i = import::import(&owner, &walk, Through::Recipes, arcs.iter())?;
        let mut known: Vec<Option<Known>> = vec![None; i.trace.insts.len()];
        for (n, v) in walk.order.iter().zip(&i.values) {
            known[v.index()] = Some(Known::Node((*n).clone()));
        }
        Ok(Captured { trace: i.trace, known, params: i.params })
    }

    /// The value a tensor below the roots became.
    pub fn value_of(&self, t: &Tensor) -> Option<ValueId> {
        let at = |k: &Option<Known>| matches!(k, Some(Known::Node(n)) if n.same(&t.0));
        self.known.iter().position(at).map(ValueId::new)
    }

    /// The value each of these tensors became, if it is below the roots.
    pub fn values_of(&self, tensors: &[Tensor]) -> Vec<Option<ValueId>> {
        let nodes = self.known.iter().enumerate().filter_map(|(i, k)| match k {
            Some(Known::Node(n)) => Some((address(n), ValueId::new(i))),
            _ => None,
        });
        let values: HashMap<*const Node, ValueId> = nodes.collect();
        tensors.iter().map(|t| values.get(&address(&t.0)).copied()).collect()
    }

    /// An input of the trace that stands for a tensor from outside.
    pub fn add_input(&mut self, t: &Tensor) -> ValueId {
        let v = self.trace.input(t.dtype(), t.shape().clone());
        self.known.resize(self.trace.insts.len(), None);
        self.known[v.index()] = Some(Known::Node(t.0.clone()));
        v
    }

    /// Records the values as tensors; those that were imported are the tensors they came from.
    pub fn record(&mut self, values: &[ValueId], site: Site) -> Vec<Tensor> {
        let at = self.record_needed(values, site);
        values.iter().map(|&v| Tensor(self.node(v, site, at))).collect()
    }

    /// Records what the values need, and themselves; returns where.
    fn record_needed(&mut self, values: &[ValueId], site: Site) -> DeviceId {
        let nodes = self.known.iter().filter_map(|k| if let Some(Known::Node(n)) = k { Some(n) } else { None });
        let at = adopt::place(nodes).unwrap_or_else(|| crate::tensor::Device::current().0);
        let n = self.trace.insts.len();
        self.known.resize(n, None);
        let mut needed = vec![false; n];
        let mut stack: Vec<ValueId> = values.to_vec();
        while let Some(v) = stack.pop() {
            if !std::mem::replace(&mut needed[v.index()], true) && self.known[v.index()].is_none() {
                stack.extend(&self.trace[v].args);
            }
        }
        for (i, _) in needed.iter().enumerate().filter(|(_, needed)| **needed) {
            if self.known[i].is_none() {
                self.known[i] = Some(self.record_one(ValueId::new(i), site, at));
            }
        }
        at
    }

    fn record_one(&self, v: ValueId, site: Site, at: DeviceId) -> Known {
        let inst = &self.trace[v];
        let arg = |k: usize| self.known[inst.args[k].index()].clone();
        match (&inst.op, inst.args.first().and_then(|_| arg(0))) {
            (Op::Const(c), _) => return Known::Splat(Input::constant(*c, inst.dtype)),
            (Op::Param(n), _) => return Known::Splat(Input::param(self.params[*n as usize], inst.dtype)),
            (Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Flip(_) | Op::Slice(_), Some(Known::Splat(s))) => return Known::Splat(s),
            _ => {}
        }
        let takes_numbers = inst.op.is_elementwise() || matches!(inst.op, Op::Random);
        let inputs: Inputs = inst
            .args
            .iter()
            .map(|&a| match self.known[a.index()].clone() {
                Some(Known::Splat(s)) if takes_numbers => s,
                _ => Input::Node(self.node(a, site, at)),
            })
            .collect();
        Known::Node(made(inst.op.clone(), inputs, inst.dtype, inst.shape.clone(), inst.site.unwrap_or(site), at))
    }

    fn node(&self, v: ValueId, site: Site, at: DeviceId) -> NodeRef {
        match &self.known[v.index()] {
            Some(Known::Node(n)) => n.clone(),
            Some(Known::Splat(s)) => {
                let inst = &self.trace[v];
                made(Op::Broadcast, Inputs::from_iter([s.clone()]), inst.dtype, inst.shape.clone(), site, at)
            }
            None => unreachable!("operands are recorded before their users"),
        }
    }
}

fn address(n: &NodeRef) -> *const Node {
    &**n
}

/// Records a whole trace as a user's program would be, on tensors of these inputs: for tests and tools that start from a trace.
///
/// # Errors
/// `Memory` if the inputs do not fit.
#[track_caller]
pub fn record_trace(t: &Trace, inputs: &[HostTensor], params: &[Scalar]) -> Result<Vec<Tensor>> {
    let mut known: Vec<Option<Known>> = vec![None; t.insts.len()];
    for (h, v) in inputs.iter().zip(&t.inputs) {
        known[v.index()] = Some(Known::Node(Tensor::from_bytes(&h.to_bytes(), h.dtype, h.shape.clone())?.0));
    }
    let mut c = Captured { trace: t.clone(), known, params: params.to_vec() };
    Ok(c.record(&t.outputs, Location::caller()))
}

/// A node made from operands, outside the reach of the automatic flush.
fn made(op: Op, inputs: Inputs, dtype: DType, shape: Shape, site: Site, at: DeviceId) -> NodeRef {
    let below = |i: &Input| match i {
        Input::Node(n) if n.value.get().is_none() => n.depth,
        _ => 0,
    };
    let depth = inputs.iter().map(below).max().unwrap_or(0);
    NodeRef::new(Recipe::Made(op, inputs), dtype, shape, at, site, depth + 1, None)
}

/// The cotangents of `wrt`, given those of `outputs`; `None` where nothing flows.
pub(crate) fn vjp(outputs: &[(Tensor, Tensor)], wrt: &[Tensor], site: Site) -> Result<Vec<Option<Tensor>>> {
    let roots: Vec<Tensor> = outputs.iter().map(|o| o.0.clone()).collect();
    let mut c = Captured::new(&roots, wrt)?;
    let seeds: Vec<(ValueId, ValueId)> = (0..outputs.len())
        .map(|i| {
            let o = c.trace.outputs[i];
            (o, c.add_input(&outputs[i].1))
        })
        .collect();
    let targets: Vec<Option<ValueId>> = wrt.iter().map(|t| c.value_of(t)).collect();
    let reached: Vec<ValueId> = targets.iter().flatten().copied().collect();
    let found = transform::vjp(&mut c.trace, &seeds, &reached)?;
    let values: Vec<ValueId> = found.iter().flatten().copied().collect();
    let mut tensors = c.record(&values, site).into_iter();
    let mut found = found.into_iter();
    Ok(targets.into_iter().map(|t| t.and_then(|_| found.next().flatten()).and_then(|_| tensors.next())).collect())
}

/// The tangents of `outputs`, given those of some tensors below them; `None` where nothing flows.
pub(crate) fn jvp(seeds: &[(Tensor, Tensor)], outputs: &[Tensor], site: Site) -> Result<Vec<Option<Tensor>>> {
    let stops: Vec<Tensor> = seeds.iter().map(|s| s.0.clone()).collect();
    let mut c = Captured::new(outputs, &stops)?;
    let mut pairs = Vec::with_capacity(seeds.len());
    for (x, dx) in seeds {
        let Some(v) = c.value_of(x) else { continue };
        pairs.push((v, c.add_input(dx)));
    }
    let of = c.trace.outputs.clone();
    let found = transform::jvp(&mut c.trace, &pairs, &of)?;
    let values: Vec<ValueId> = found.iter().flatten().copied().collect();
    let mut tensors = c.record(&values, site).into_iter();
    Ok(found.into_iter().map(|f| f.and_then(|_| tensors.next())).collect())
}

/// A linear map recorded once: the tangents of some tensors, given those of others below them.
pub(crate) struct LinearMap {
    captured: Captured,
    /// The inputs that stand for the given tangents; `None` where nothing depends on one.
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<Option<ValueId>>,
    /// What the map takes from the point it was recorded at.
    pub coefficients: Vec<Tensor>,
}

impl LinearMap {
    /// The derivative of `outputs` as a function of `wrt`.
    pub fn new(wrt: &[Tensor], outputs: &[Tensor]) -> Result<LinearMap> {
        let mut c = Captured::new(outputs, wrt)?;
        let mut pairs = Vec::new();
        let inputs = c.values_of(wrt);
        let inputs: Vec<Option<ValueId>> = inputs
            .into_iter()
            .zip(wrt)
            .map(|(v, t)| {
                v.map(|v| {
                    let d = c.trace.input(t.dtype(), t.shape().clone());
                    pairs.push((v, d));
                    d
                })
            })
            .collect();
        let (of, mark) = (c.trace.outputs.clone(), c.trace.insts.len());
        let outputs = transform::jvp(&mut c.trace, &pairs, &of)?;
        c.known.resize(c.trace.insts.len(), None);
        // What depends on no tangent is recorded now, once for all uses.
        let mut linear = vec![false; c.trace.insts.len()];
        pairs.iter().for_each(|p| linear[p.1.index()] = true);
        let mut found: Vec<ValueId> = Vec::new();
        for i in mark..c.trace.insts.len() {
            let args = c.trace.insts[i].args.clone();
            linear[i] = args.iter().any(|a| linear[a.index()]);
            if linear[i] {
                found.extend(args.iter().filter(|a| !linear[a.index()]));
            }
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|v| !matches!(c.trace[*v].op, Op::Const(_) | Op::Param(_)) && c.trace.shape(*v).numel() > 0);
        let site = Location::caller();
        let mut coefficients = Vec::new();
        for v in found {
            c.record_needed(&[v], site);
            // A number that fills a shape stays one, so that it costs nothing.
            if let Some(Known::Node(n)) = &c.known[v.index()] {
                coefficients.push(Tensor(n.clone()));
            }
        }
        Ok(LinearMap { captured: c, inputs, outputs, coefficients })
    }

    /// The map at these tangents, which have the types of those it was made for.
    pub fn at(&self, tangents: &[Tensor], site: Site) -> Vec<Option<Tensor>> {
        let c = &self.captured;
        let mut c = Captured { trace: c.trace.clone(), known: c.known.clone(), params: c.params.clone() };
        for (v, t) in self.inputs.iter().zip(tangents) {
            if let Some(v) = v {
                c.known[v.index()] = Some(Known::Node(t.0.clone()));
            }
        }
        let values: Vec<ValueId> = self.outputs.iter().flatten().copied().collect();
        let mut tensors = c.record(&values, site).into_iter();
        self.outputs.iter().map(|o| o.and_then(|_| tensors.next())).collect()
    }
}

/// Zeros of the type of `t`, where it is.
#[track_caller]
pub(crate) fn zeros_of(t: &Tensor) -> Tensor {
    let _on = t.device().enter();
    Tensor::constant(Scalar::Int(0), t.dtype(), t.shape())
}

impl Tensor {
    /// The gradients of this 0-d float tensor with respect to tensors it was computed from, on what was recorded, without a closure.
    ///
    /// ```
    /// use lazuli::prelude::*;
    /// let w = Tensor::from_vec(vec![1f32, 2.0], [2]);
    /// let loss = (&w * &w).sum(..);
    /// let [dw] = loss.grad(&[&w]);
    /// assert_eq!(dw.to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), lazuli::Error>(())
    /// ```
    ///
    /// # Panics
    /// If this is not a single float, or a target is none of the tensors it was computed from.
    #[track_caller]
    pub fn grad<const N: usize>(&self, targets: &[&Tensor; N]) -> [Tensor; N] {
        let site = Location::caller();
        let all = |e: crate::base::Error| -> [Tensor; N] {
            let p = Tensor::poisoned(e);
            std::array::from_fn(|_| p.clone())
        };
        if let Some(e) = self.0.poison() {
            let e = e.clone();
            return std::array::from_fn(|_| Tensor::poison_quietly(e.clone(), site));
        }
        if let Err(e) = scalar_loss(self) {
            return all(e);
        }
        let one = Tensor::constant(Scalar::Int(1), self.dtype(), self.shape());
        let wrt: Vec<Tensor> = targets.iter().map(|t| (*t).clone()).collect();
        match vjp(&[(self.clone(), one)], &wrt, site) {
            Ok(found) => {
                if let Some(i) = found.iter().position(Option::is_none) {
                    let t = &wrt[i];
                    return all(err!(
                        Gradient,
                        "grad: the loss does not depend on target {i} ({} {}) through differentiable operations: was it replaced, detached, or its \
                         recipe cut by eval?",
                        t.dtype(),
                        t.shape()
                    ));
                }
                let grads: SmallVec<[Tensor; 4]> = found.into_iter().flatten().collect();
                tie(std::iter::once(self).chain(&grads));
                std::array::from_fn(|i| grads[i].clone())
            }
            Err(e) => all(e),
        }
    }
}

/// Ties the outputs of a transform together, so that evaluating one evaluates all.
pub(crate) fn tie<'a>(tensors: impl Iterator<Item = &'a Tensor>) {
    if !crate::tensor::record::inside_transform() {
        let nodes: Vec<NodeRef> = tensors.map(|t| t.0.clone()).collect();
        Bundle::tie(&nodes);
    }
}

/// Only a single float has a gradient.
pub(crate) fn scalar_loss(t: &Tensor) -> Result<()> {
    if t.numel() != 1 || !t.dtype().is_float() {
        bail!(Gradient, "grad: the loss is {} {}, but must be a single float: reduce it with sum(..) or mean(..)", t.dtype(), t.shape());
    }
    Ok(())
}
