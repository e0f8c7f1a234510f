//! Functions with a rule of their own: recomputed in reverse mode, or with a user's derivative.

use super::region::{self, Body};
use super::tree::{self, Tree, TreeMapper};
use crate::base::error::{bail, err};
use crate::base::{Result, Scalar};
use crate::tensor::{Tensor, record};
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

fn placeholders(leaves: &[Tensor]) -> Vec<Tensor> {
    leaves.iter().map(|t| Tensor::placeholder(t.dtype(), t.shape().clone(), t.0.device)).collect()
}

fn nodes(leaves: &[Tensor]) -> Inputs {
    leaves.iter().map(|t| Input::Node(t.0.clone())).collect()
}

/// A poisoned tensor among these, if any: regions of such are not recorded.
fn poisoned(leaves: &[Tensor]) -> Option<Tensor> {
    leaves.iter().find(|t| t.0.poison().is_some()).cloned()
}

/// `f`, whose interior reverse mode does not keep but computes again: less memory for more work. Values and gradients are the same.
///
/// ```
/// use lazuli::prelude::*;
/// let f = checkpoint(|x: &Tensor| x.tanh().exp());
/// let x = Tensor::from_vec(vec![0.5f32], [1]);
/// let a = grad(|x: &Tensor| f(x).sum(..), &x);
/// let b = grad(|x: &Tensor| x.tanh().exp().sum(..), &x);
/// assert_eq!(a.to_vec::<f32>()?, b.to_vec::<f32>()?);
/// # Ok::<(), lazuli::Error>(())
/// ```
pub fn checkpoint<'f, T: Tree, O: Tree>(f: impl Fn(&T) -> O + Send + Sync + 'f) -> Func<'f, T, O> {
    Func(Box::new(move |x: &T| {
        let args = tree::leaves(x);
        let inputs = placeholders(&args);
        let y = record::in_transform(|| f(&x.map(&mut Next(inputs.iter().cloned()))));
        let outs = tree::leaves(&y);
        if let Some(p) = poisoned(&args).or_else(|| poisoned(&outs)) {
            return y.map(&mut Next(std::iter::repeat(p)));
        }
        match region::close(&inputs, &outs) {
            Ok(Body { trace, captured }) => {
                let mut operands = nodes(&args);
                operands.extend(captured);
                let region = Region { kind: RegionKind::Checkpoint, body: Arc::new(trace) };
                y.map(&mut Next(region::record(region, operands).into_iter()))
            }
            Err(e) => y.map(&mut Next(std::iter::repeat(Tensor::poisoned(e)))),
        }
    }))
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
        let args = tree::leaves(x);
        let inputs = placeholders(&args);
        let y = record::in_transform(|| forward(&x.map(&mut Next(inputs.iter().cloned()))));
        let outs = tree::leaves(&y);
        if let Some(p) = poisoned(&args).or_else(|| poisoned(&outs)) {
            return y.map(&mut Next(std::iter::repeat(p)));
        }
        let rule = || -> Result<Vec<Tensor>> {
            let forward = region::close(&inputs, &outs)?;
            let (xs, ys, dys) = (placeholders(&args), placeholders(&outs), placeholders(&outs));
            let dx = record::in_transform(|| {
                backward(
                    &x.map(&mut Next(xs.iter().cloned())),
                    &y.map(&mut Next(ys.iter().cloned())),
                    &y.map(&mut Next(dys.iter().cloned())),
                )
            });
            let dxs = tree::leaves(&dx);
            if let Some(p) = poisoned(&dxs).and_then(|p| p.0.poison().cloned()) {
                return Err(p);
            }
            same_types("custom_vjp: the backward closure's results", &dxs, &args)?;
            let rule = region::close(&[&xs[..], &ys, &dys].concat(), &dxs)?;
            // Operands: arguments, what forward captured, what backward captured; the rule wants them all, then outputs and cotangents.
            let (n, m, k) = (args.len(), forward.captured.len(), rule.captured.len());
            let (body, rule_trace) = (with_extra_inputs(&forward.trace, &rule, n + outs.len() * 2), {
                let total = n + m + k;
                let order: Vec<usize> = (0..n).chain((0..outs.len() * 2).map(|i| total + i)).chain((0..k).map(|i| n + m + i)).collect();
                adapt(&rule.trace, &order, &types_of(&forward.trace, &rule.trace, n, outs.len()), &args, m + k)
            });
            let mut operands = nodes(&args);
            operands.extend(forward.captured);
            operands.extend(rule.captured);
            Ok(region::record(Region { kind: RegionKind::CustomVjp(Arc::new(rule_trace)), body: Arc::new(body) }, operands))
        };
        match rule() {
            Ok(new) => y.map(&mut Next(new.into_iter())),
            Err(e) => y.map(&mut Next(std::iter::repeat(Tensor::poisoned(e)))),
        }
    }))
}

/// A function with a forward-mode derivative of its own: `tangent(x, dx)` gives the tangent of the result and must be linear in `dx`;
/// reverse mode transposes it.
pub fn custom_jvp<'f, T: Tree, O: Tree>(
    forward: impl Fn(&T) -> O + Send + Sync + 'f,
    tangent: impl Fn(&T, &T) -> O + Send + Sync + 'f,
) -> Func<'f, T, O> {
    Func(Box::new(move |x: &T| {
        let args = tree::leaves(x);
        let inputs = placeholders(&args);
        let y = record::in_transform(|| forward(&x.map(&mut Next(inputs.iter().cloned()))));
        let outs = tree::leaves(&y);
        if let Some(p) = poisoned(&args).or_else(|| poisoned(&outs)) {
            return y.map(&mut Next(std::iter::repeat(p)));
        }
        let rule = || -> Result<Vec<Tensor>> {
            let forward = region::close(&inputs, &outs)?;
            let (xs, dxs) = (placeholders(&args), placeholders(&args));
            let dy = record::in_transform(|| tangent(&x.map(&mut Next(xs.iter().cloned())), &x.map(&mut Next(dxs.iter().cloned()))));
            let dys = tree::leaves(&dy);
            if let Some(p) = poisoned(&dys).and_then(|p| p.0.poison().cloned()) {
                return Err(p);
            }
            same_types("custom_jvp: the tangent closure's results", &dys, &outs)?;
            let rule = region::close(&[&xs[..], &dxs].concat(), &dys)?;
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
            let mut operands = nodes(&args);
            operands.extend(forward.captured);
            operands.extend(rule.captured);
            Ok(region::record(Region { kind: RegionKind::CustomJvp(Arc::new(t)), body: Arc::new(body) }, operands))
        };
        match rule() {
            Ok(new) => y.map(&mut Next(new.into_iter())),
            Err(e) => y.map(&mut Next(std::iter::repeat(Tensor::poisoned(e)))),
        }
    }))
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
