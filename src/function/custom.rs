//! Functions with a derivative of the user's own; how a closure becomes a region.

use super::checkpoint::named;
use super::region::{self, Body};
use super::tree::{self, Tree, TreeMapper};
use crate::base::error::{bail, err};
use crate::base::{Result, Scalar};
use crate::tensor::{Tensor, draws, record};
use crate::trace::graph::{Input, Inputs};
use crate::trace::{Region, RegionKind, Trace, ValueId};
use std::ops::Deref;
use std::sync::Arc;

/// A transformed function with a name: store it in a field, call it like a function.
pub struct Func<'f, A, R>(pub(super) Box<dyn Fn(&A) -> R + Send + Sync + 'f>);

impl<'f, A, R> Deref for Func<'f, A, R> {
    type Target = dyn Fn(&A) -> R + Send + Sync + 'f;
    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Replaces leaves by the next tensors of an iterator.
pub(super) struct Next<I>(pub I);
impl<I: Iterator<Item = Tensor>> TreeMapper for Next<I> {
    fn tensor(&mut self, t: &Tensor, _: bool) -> Tensor {
        self.0.next().unwrap_or_else(|| t.clone())
    }
}

pub(super) fn placeholders(leaves: &[Tensor]) -> Vec<Tensor> {
    leaves.iter().map(|t| Tensor::placeholder(t.dtype(), t.shape().clone(), t.0.device)).collect()
}

pub(super) fn nodes(leaves: &[Tensor]) -> Inputs {
    leaves.iter().map(|t| Input::Node(t.0.clone())).collect()
}

/// A poisoned tensor among these, if any: regions of such are not recorded.
pub(super) fn poisoned(leaves: &[Tensor]) -> Option<Tensor> {
    leaves.iter().find(|t| t.0.poison().is_some()).cloned()
}

/// A function with a reverse-mode derivative of its own: `backward(x, y, dy)` gives the cotangent of `x`. What either closure takes from
/// outside is a constant to the derivative. Forward mode through it is refused.
///
/// ```
/// use lazuli::prelude::*;
/// // An identity whose gradient is clipped.
/// let clip = custom_vjp(|x: &Tensor| x.clone(), |_x: &Tensor, _y: &Tensor, dy: &Tensor| dy.clamp(-1.0, 1.0));
/// let x = Tensor::from_vec(vec![2f32], [1]);
/// let g = grad(|x: &Tensor| (clip(x) * 5.0).sum(..), &x);
/// assert_eq!(g.to_vec::<f32>()?, [1.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
pub fn custom_vjp<'f, T: Tree, O: Tree>(
    forward: impl Fn(&T) -> O + Send + Sync + 'f,
    backward: impl Fn(&T, &O, &O) -> T + Send + Sync + 'f,
) -> Func<'f, T, O> {
    Func(Box::new(move |x: &T| {
        as_region(x, &forward, |Call { y, args, outs, body: forward, .. }| {
            let (xs, ys, dys) = (placeholders(&args), placeholders(&outs), placeholders(&outs));
            let dx = record::in_transform(|| backward(&filled(x, &xs), &filled(y, &ys), &filled(y, &dys)));
            let rule = rule_body("custom_vjp: the backward closure's results", &[&xs[..], &ys, &dys].concat(), &tree::leaves(&dx), &args)?;
            // Operands: arguments, what forward captured, what backward captured; the rule wants them all, then outputs and cotangents.
            let (n, m, k) = (args.len(), forward.captured.len(), rule.captured.len());
            let total = n + m + k;
            let order: Vec<usize> = (0..n).chain((0..outs.len() * 2).map(|i| total + i)).chain((0..k).map(|i| n + m + i)).collect();
            let body = with_extra_inputs(&forward.trace, &rule, n + outs.len() * 2);
            let rule_trace = adapt(&rule.trace, &order, &types_of(&forward.trace, &rule.trace, n, outs.len()), &args, m + k);
            let captured = forward.captured.into_iter().chain(rule.captured).collect();
            Ok((Region { kind: RegionKind::CustomVjp(Arc::new(rule_trace)), body: Arc::new(body) }, captured))
        })
    }))
}

/// A function with a forward-mode derivative of its own: `tangent(x, dx)` gives the tangent of the result and must be linear in `dx`;
/// reverse mode transposes it.
pub fn custom_jvp<'f, T: Tree, O: Tree>(
    forward: impl Fn(&T) -> O + Send + Sync + 'f,
    tangent: impl Fn(&T, &T) -> O + Send + Sync + 'f,
) -> Func<'f, T, O> {
    Func(Box::new(move |x: &T| {
        as_region(x, &forward, |Call { args, outs, body: forward, .. }| {
            let (xs, dxs) = (placeholders(&args), placeholders(&args));
            let dy = record::in_transform(|| tangent(&filled(x, &xs), &filled(x, &dxs)));
            let rule = rule_body("custom_jvp: the tangent closure's results", &[&xs[..], &dxs].concat(), &tree::leaves(&dy), &outs)?;
            // The rule takes all operands, then all their tangents (those of captured values are not looked at).
            let (n, m, k) = (args.len(), forward.captured.len(), rule.captured.len());
            let total = n + m + k;
            let body = with_extra_inputs(&forward.trace, &rule, n * 2);
            let mut t = Trace::new();
            let operand_types: Vec<_> = body.inputs.iter().map(|&i| (body.dtype(i), body.shape(i).clone())).collect();
            let mut all: Vec<ValueId> = Vec::with_capacity(2 * total);
            for _ in 0..2 {
                for (d, s) in &operand_types {
                    all.push(t.input(*d, s.clone()));
                }
            }
            let map: Vec<ValueId> = (0..n).chain((0..n).map(|i| total + i)).chain((0..k).map(|i| n + m + i)).map(|i| all[i]).collect();
            t.outputs = t.inline(&rule.trace, &map);
            let captured = forward.captured.into_iter().chain(rule.captured).collect();
            Ok((Region { kind: RegionKind::CustomJvp(Arc::new(t)), body: Arc::new(body) }, captured))
        })
    }))
}

/// A closure recorded on stand-ins for the tensors of its argument.
pub(super) struct Call<'a, O> {
    /// Its result on the stand-ins.
    pub y: &'a O,
    /// The tensors of the argument.
    pub args: Vec<Tensor>,
    /// The tensors of `y`.
    pub outs: Vec<Tensor>,
    /// What was recorded, and what it took from outside.
    pub body: Body,
    /// The values it named.
    pub named: Vec<(String, ValueId)>,
}

/// Records `f` on stand-ins for the tensors of `x` and puts the region that `make` forms of it in place; `make` also says what the region
/// takes besides the argument.
pub(super) fn as_region<T: Tree, O: Tree>(x: &T, f: &impl Fn(&T) -> O, make: impl FnOnce(Call<'_, O>) -> Result<(Region, Inputs)>) -> O {
    let args = tree::leaves(x);
    let inputs = placeholders(&args);
    let before = draws::count();
    let (y, names) = named(|| record::in_transform(|| f(&filled(x, &inputs))));
    let outs = tree::leaves(&y);
    if let Some(p) = poisoned(&args).or_else(|| poisoned(&outs)) {
        return y.map(&mut Next(std::iter::repeat(p)));
    }
    let mut operands = nodes(&args);
    let (names, tensors): (Vec<String>, Vec<Tensor>) = names.into_iter().unzip();
    let closed = region::close_with(&inputs, &outs, &tensors).and_then(|(body, values)| {
        let named = names.into_iter().zip(values).filter_map(|(n, v)| v.map(|v| (n, v))).collect();
        make(Call { y: &y, args, outs, body, named })
    });
    match closed {
        Ok((region, captured)) => {
            operands.extend(captured);
            y.map(&mut Next(region::record(region, operands, draws::count() > before).into_iter()))
        }
        Err(e) => y.map(&mut Next(std::iter::repeat(Tensor::poisoned(e)))),
    }
}

/// The tree with other tensors.
pub(super) fn filled<T: Tree>(tree: &T, tensors: &[Tensor]) -> T {
    tree.map(&mut Next(tensors.iter().cloned()))
}

/// What a user's rule recorded from `inputs` to `results`, which must be of the types of `want`.
fn rule_body(what: &str, inputs: &[Tensor], results: &[Tensor], want: &[Tensor]) -> Result<Body> {
    if let Some(e) = poisoned(results).and_then(|p| p.0.poison().cloned()) {
        return Err(e);
    }
    same_types(what, results, want)?;
    region::close(inputs, results)
}

fn same_types(what: &str, got: &[Tensor], want: &[Tensor]) -> Result<()> {
    if got.len() != want.len() {
        bail!(Gradient, "{what} hold {} tensors, expected {}", got.len(), want.len());
    }
    match got.iter().zip(want).find(|(g, w)| g.shape() != w.shape() || g.dtype() != w.dtype()) {
        Some((g, w)) => Err(err!(Gradient, "{what} hold a {} {} where a {} {} is expected", g.dtype(), g.shape(), w.dtype(), w.shape())),
        None => Ok(()),
    }
}

/// `body` with more inputs that it does not read: what the rule captured, which starts at its input `from`.
fn with_extra_inputs(body: &Trace, rule: &Body, from: usize) -> Trace {
    let mut t = Trace::new();
    let args: Vec<ValueId> = body.inputs.iter().map(|&i| t.input(body.dtype(i), body.shape(i).clone())).collect();
    for &i in &rule.trace.inputs[from..] {
        t.input(rule.trace.dtype(i), rule.trace.shape(i).clone());
    }
    t.outputs = t.inline(body, &args);
    t
}

/// Types of the rule's operands: those of the region (arguments, both captures), then outputs and cotangents.
fn types_of(forward: &Trace, rule: &Trace, n: usize, outputs: usize) -> Vec<(crate::base::DType, crate::base::Shape)> {
    let of = |t: &Trace, i: ValueId| (t.dtype(i), t.shape(i).clone());
    let mut out: Vec<_> = forward.inputs.iter().map(|&i| of(forward, i)).collect();
    out.extend(rule.inputs[n + 2 * outputs..].iter().map(|&i| of(rule, i)));
    out.extend(rule.inputs[n..n + 2 * outputs].iter().map(|&i| of(rule, i)));
    out
}

/// The rule with its inputs in the order a region wants, and zero cotangents for `captured` operands after the arguments'.
fn adapt(rule: &Trace, order: &[usize], types: &[(crate::base::DType, crate::base::Shape)], args: &[Tensor], captured: usize) -> Trace {
    let mut t = Trace::new();
    let all: Vec<ValueId> = types.iter().map(|(d, s)| t.input(*d, s.clone())).collect();
    let map: Vec<ValueId> = order.iter().map(|&i| all[i]).collect();
    t.outputs = t.inline(rule, &map);
    for (d, s) in &types[args.len()..args.len() + captured] {
        let z = t.constant(Scalar::Int(0), *d, s);
        t.outputs.push(z);
    }
    t
}
