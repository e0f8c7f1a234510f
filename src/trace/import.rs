//! From recorded nodes to a [`Trace`], in the canonical order of the walk.

use super::graph::{Input, NodeRef, Owner, Recipe, Through, Walk};
use super::ir::{Args, Trace, ValueId};
use crate::base::{Result, Scalar, Shape, error::bail};
use std::collections::HashMap;

/// A trace made from nodes, and which value each node became.
pub struct Imported {
    /// The program; leaves are its inputs in canonical order.
    pub trace: Trace,
    /// The value of each node of the walk, by its number.
    pub values: Vec<ValueId>,
    /// For each input of the trace, the number of the leaf node it stands for.
    pub leaves: Vec<u32>,
    /// The numbers behind the params of the trace.
    pub params: Vec<Scalar>,
}

/// Imports a walk; the trace's outputs are the values of `roots`. `through` must be the one the walk was made with.
///
/// # Errors
/// `Internal` if a leaf has no value where one is needed (a leaked tracer of a region or program).
pub fn import<'a>(owner: &'a Owner, w: &Walk<'a>, through: Through, roots: impl Iterator<Item = &'a NodeRef>) -> Result<Imported> {
    let mut t = Trace::new();
    let mut values: Vec<ValueId> = Vec::with_capacity(w.order.len());
    let (mut leaves, mut params) = (Vec::new(), Vec::new());
    // A constant of one value, type and shape is one instruction, however often it was written.
    let mut consts: HashMap<(u64, u8, Shape), ValueId> = HashMap::new();
    for (number, node) in w.order.iter().enumerate() {
        let recipe = node.recipe(owner);
        let v = match recipe {
            Recipe::Made(op, inputs) if through == Through::Recipes || node.value.get().is_none() => {
                // Scalars stretch to the shape of an elementwise op; elsewhere (random, pad values) they are 0-d.
                let scalar_shape = if op.is_elementwise() { node.shape.clone() } else { Shape::scalar() };
                let args: Args = inputs
                    .iter()
                    .map(|i| match i {
                        Input::Node(n) => values[n.number(w.generation).expect("operands are walked first") as usize],
                        Input::Number(n) if n.is_param => {
                            params.push(n.value());
                            let p = t.param(n.dtype);
                            t.broadcast(p, &scalar_shape)
                        }
                        Input::Number(n) => *consts
                            .entry((n.bits(), n.dtype as u8, scalar_shape.clone()))
                            .or_insert_with(|| t.constant(n.value(), n.dtype, &scalar_shape)),
                    })
                    .collect();
                t.push_typed(op.clone(), &args, node.dtype, node.shape.clone(), Some(node.site))
            }
            Recipe::Placeholder(_) if through == Through::Unevaluated => bail!(
                Argument,
                "a tensor that stands for an input of a function being recorded (jit, checkpoint, custom_vjp) was evaluated or used outside that function: \
                 return it from the function instead"
            ),
            _ => {
                leaves.push(number as u32);
                let v = t.input(node.dtype, node.shape.clone());
                t.insts[v.index()].site = Some(node.site);
                v
            }
        };
        values.push(v);
    }
    t.outputs = roots.filter_map(|r| r.number(w.generation)).map(|n| values[n as usize]).collect();
    Ok(Imported { trace: t, values, leaves, params })
}
