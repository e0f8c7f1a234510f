//! Functions that compute in a half type where that is safe.

use super::custom::{Func, Next, filled, nodes, placeholders, poisoned};
use super::graph_transform::{Captured, Known, tie};
use super::region;
use super::tree::{self, Tree};
use crate::base::DType;
use crate::base::error::{Result, bail, err};
use crate::tensor::{Tensor, record};
use crate::trace::graph::Input;
use crate::transform::autocast::{self, Cast, Rules};
use std::panic::Location;

/// Which ops [`autocast`] runs in a half type, which in F32. Made from the half type alone it has the usual lists:
///
/// | list | ops |
/// | --- | --- |
/// | half | `dot`, `conv`: all matrix products and convolutions; they add up in F32 |
/// | F32 | `exp`, `log` and their kin, `sqrt`, `rsqrt`, `recip`, `div`, `pow`, `rem`, sums and products, cumulative ones, scatters: so softmax, norms and losses |
/// | meet | all others: half if all operands are, else F32; a number is what the others are, unless half cannot hold it |
#[derive(Clone, Debug)]
pub struct Autocast(Rules);

impl Autocast {
    /// The usual lists with that half type, F16 or BF16.
    pub fn new(half: DType) -> Autocast {
        Autocast(Rules { half, own: Vec::new() })
    }

    fn with(mut self, op: &str, cast: Cast) -> Autocast {
        self.0.own.push((op.to_string(), cast));
        self
    }

    /// Puts an op on the list of those in half. Ops have the names that printed programs use; reductions that of their kind (`sum`).
    pub fn half(self, op: &str) -> Autocast {
        self.with(op, Cast::Half)
    }

    /// Puts an op on the list of those in F32.
    pub fn full(self, op: &str) -> Autocast {
        self.with(op, Cast::Full)
    }

    /// Puts an op on the list of those that compute in whatever their operands are.
    pub fn meet(self, op: &str) -> Autocast {
        self.with(op, Cast::Meet)
    }
}

impl From<DType> for Autocast {
    fn from(half: DType) -> Autocast {
        Autocast::new(half)
    }
}

/// `f` with its matrix products and convolutions in F16 or BF16 and its delicate parts in F32; [`Autocast`] has the lists. Arguments,
/// parameters and results keep their dtypes: a model stays in F32, and so do its gradients. Only what depends on the argument is changed.
///
/// With F16, scale the loss by a [`GradScaler`](crate::optim::GradScaler), or small gradients vanish.
///
/// ```
/// use lazuli::prelude::*;
/// let (w, x) = (Tensor::ones([3, 2]), Tensor::full([4, 3], 0.5));
/// let layer = autocast(DType::BF16, |w: &Tensor| x.matmul(w).softmax(-1));
/// let y = layer(&w);
/// assert_eq!(y.dtype(), DType::F32);
/// assert_eq!(grad(|w: &Tensor| layer(w).square().sum(..), &w).dtype(), DType::F32);
/// assert!(lazuli::explain(&[&y]).trace().contains("bf16[4, 2]"));
/// ```
///
/// # Panics
/// The function returned panics if the half type is none.
pub fn autocast<'f, T: Tree, O: Tree>(lists: impl Into<Autocast>, f: impl Fn(&T) -> O + Send + Sync + 'f) -> Func<'f, T, O> {
    let Autocast(rules) = lists.into();
    Func(Box::new(move |x: &T| {
        let args = tree::leaves(x);
        let inputs = placeholders(&args);
        let y = record::in_transform(|| f(&filled(x, &inputs)));
        let outs = tree::leaves(&y);
        if let Some(p) = poisoned(&args).or_else(|| poisoned(&outs)) {
            return y.map(&mut Next(std::iter::repeat(p)));
        }
        match lowered(&rules, &args, &inputs, &outs) {
            Ok(new) => {
                tie(new.iter());
                y.map(&mut Next(new.into_iter()))
            }
            Err(e) => y.map(&mut Next(std::iter::repeat(Tensor::poisoned(e)))),
        }
    }))
}

/// Records what was recorded from `inputs` to `outs` on `args`, under the rules.
fn lowered(rules: &Rules, args: &[Tensor], inputs: &[Tensor], outs: &[Tensor]) -> Result<Vec<Tensor>> {
    if !matches!(rules.half, DType::F16 | DType::BF16) {
        bail!(DType, "autocast: {} is no half type: f16 or bf16", rules.half);
    }
    if let Some((op, _)) = rules.own.iter().find(|o| !known_op(&o.0)) {
        return Err(err!(Argument, "autocast: `{op}` is no op"));
    }
    let body = region::close(inputs, outs)?;
    let operands: Vec<Input> = nodes(args).into_iter().chain(body.captured).collect();
    let number = |i: &Input| if let Input::Number(n) = i { Some(n.value().as_f64()) } else { None };
    let trace = autocast::autocast(&body.trace, rules, &operands.iter().map(number).collect::<Vec<_>>());
    let mut known: Vec<Option<Known>> = vec![None; trace.insts.len()];
    for (&i, input) in trace.inputs.iter().zip(operands) {
        known[i.index()] = Some(match input {
            Input::Node(n) => Known::Node(n),
            number => Known::Splat(number),
        });
    }
    let outputs = trace.outputs.clone();
    let mut c = Captured { trace, known, params: Vec::new() };
    Ok(c.record(&outputs, Location::caller()))
}

/// Whether an op has that name.
fn known_op(name: &str) -> bool {
    use crate::trace::{Binary, Compare, Reduce, Unary};
    const OTHERS: [&str; 9] = ["select", "dot", "conv", "concat", "gather", "scatter", "cumulative", "argsort", "cast"];
    Unary::from_name(name).is_some()
        || Binary::from_name(name).is_some()
        || Compare::from_name(name).is_some()
        || Reduce::from_name(name).is_some()
        || OTHERS.contains(&name)
}
