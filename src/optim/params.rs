//! What all optimisers share: which tensors are parameters, how new ones get into the model, how state is checked.

use crate::base::error::bail;
use crate::function::tree::{frozen, leaves, map_tensors, named_leaves};
use crate::tensor::eval_over;
use crate::trace::graph::NodeRef;
use crate::{Result, Tensor, Tree, catch};

/// A parameter and its gradient, in the dtype updates are computed in.
pub(super) struct Param {
    pub value: Tensor,
    pub grad: Tensor,
}

/// An update rule with its state.
pub(super) trait Rule: Clone {
    /// The new value of every parameter; the rule's state moves on.
    fn update(&mut self, params: &[Param]) -> Result<Vec<Tensor>>;
    /// The tensors of the state that `update` replaced.
    fn state(&self) -> Vec<&Tensor>;
}

/// One step: all or nothing.
pub(super) fn step<R: Rule, T: Tree>(rule: &mut R, model: &mut T, grads: &T) -> Result<()> {
    let mut new_rule = rule.clone();
    let new_model = catch(|| -> Result<T> {
        let params = params(model, grads)?;
        let values = new_rule.update(&params)?;
        Ok(put(model, values))
    })??;
    let mut all = leaves(&new_model);
    all.extend(new_rule.state().into_iter().cloned());
    // What the model and the rule let go of may be overwritten.
    let spare: Vec<NodeRef> =
        leaves(model).iter().chain(rule.state()).filter(|old| !all.iter().any(|new| new.0.same(&old.0))).map(|old| old.0.clone()).collect();
    eval_over(&all, &spare)?;
    *model = new_model;
    *rule = new_rule;
    Ok(())
}

/// True for the tensors an optimiser changes and clipping measures.
pub(super) fn trained(tensor: &Tensor, frozen: bool) -> bool {
    !frozen && tensor.dtype().is_float()
}

fn params<T: Tree>(model: &T, grads: &T) -> Result<Vec<Param>> {
    let (all, grads) = (named_leaves(model), leaves(grads));
    if grads.len() != all.len() {
        bail!(Argument, "step: the model has {} tensors, the gradients {}", all.len(), grads.len());
    }
    let mut out = Vec::new();
    for (((name, p), frozen), g) in all.into_iter().zip(frozen(model)).zip(grads) {
        if !trained(&p, frozen) {
            continue;
        }
        if p.shape() != g.shape() {
            bail!(Shape, "step: {} is {}, its gradient {}", if name.is_empty() { "the parameter" } else { &name }, p.shape(), g.shape());
        }
        let dtype = p.dtype().accumulator();
        out.push(Param { value: p.cast(dtype), grad: g.cast(dtype) });
    }
    Ok(out)
}

/// The model with new values for its parameters, in the dtypes it had.
fn put<T: Tree>(model: &T, values: Vec<Tensor>) -> T {
    let mut values = values.into_iter();
    map_tensors(model, |old, frozen| match trained(old, frozen) {
        true => values.next().expect("a value for every parameter").cast(old.dtype()),
        false => old.clone(),
    })
}

/// Makes zeros for every parameter if there is no state yet; else checks that the state belongs to these parameters.
pub(super) fn prepare(state: &mut Vec<Tensor>, params: &[Param]) -> Result<()> {
    if state.is_empty() {
        *state = params.iter().map(|p| p.value.zeros_like()).collect();
    }
    if state.len() != params.len() {
        bail!(Argument, "step: the optimiser has seen {} parameters before, now there are {}", state.len(), params.len());
    }
    for (i, (s, p)) in state.iter().zip(params).enumerate() {
        if s.shape() != p.value.shape() {
            bail!(Shape, "step: parameter {i} is {}, the optimiser has seen {} before", p.value.shape(), s.shape());
        }
    }
    Ok(())
}

/// A learning rate as a 0-d tensor: data in every plan, and an input of a function that `jit` records.
#[track_caller]
pub(super) fn rate(lr: f64) -> Tensor {
    assert!(lr.is_finite() && lr >= 0.0, "a learning rate is a finite number, not negative; got {lr}");
    Tensor::full([], lr)
}

/// `rate` on the device where the parameters are.
pub(super) fn rate_at(lr: &Tensor, params: &[Param]) -> Tensor {
    params.first().map_or_else(|| lr.clone(), |p| lr.to_device(&p.value.device()))
}

/// A factor of a moving average.
#[track_caller]
pub(super) fn decay(name: &str, x: f64) -> f64 {
    assert!((0.0..1.0).contains(&x), "{name} must be in 0..1, got {x}");
    x
}

/// A number that may not be negative.
#[track_caller]
pub(super) fn not_negative(name: &str, x: f64) -> f64 {
    assert!(x.is_finite() && x >= 0.0, "{name} must be a finite number, not negative; got {x}");
    x
}
