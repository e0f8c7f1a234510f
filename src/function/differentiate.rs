//! Derivatives of closures over trees.

use super::custom::Func;
use super::graph_transform::{self, LinearMap, tie, zeros_of};
use super::tree::{self, Leaf, Tree, TreeMapper, TreeVisitor};
use crate::base::error::{err, slip};
use crate::base::{Error, Result, Scalar};
use crate::tensor::{Tensor, record};
use crate::trace::Op;
use std::panic::Location;

/// What a differentiated function may return: a single float tensor, or that and anything else (`aux`), which is handed through.
pub trait Loss: Tree {
    /// The value that is differentiated.
    fn loss(&self) -> &Tensor;
}

impl Loss for Tensor {
    fn loss(&self) -> &Tensor {
        self
    }
}

impl<A: Tree> Loss for (Tensor, A) {
    fn loss(&self) -> &Tensor {
        &self.0
    }
}

/// Gives every differentiable leaf a tensor that stands for it alone, so that a derivative with respect to it is not one with respect
/// to another use of the same tensor.
#[derive(Default)]
struct Stand {
    vars: Vec<Tensor>,
    /// For each leaf of the tree, whether it is differentiated.
    active: Vec<bool>,
}

impl TreeMapper for Stand {
    fn tensor(&mut self, t: &Tensor, frozen: bool) -> Tensor {
        let active = !frozen && t.dtype().is_float() && t.0.poison().is_none();
        self.active.push(active);
        if !active {
            return t.clone();
        }
        let v = Tensor::record_typed(Op::Reshape, &[t], t.dtype(), t.shape().clone());
        self.vars.push(v.clone());
        v
    }
}

/// Puts derivatives in the places of the leaves they belong to; the others are zeros.
struct Place<I> {
    found: I,
    active: std::vec::IntoIter<bool>,
}

impl<I: Iterator<Item = Option<Tensor>>> TreeMapper for Place<I> {
    fn tensor(&mut self, t: &Tensor, _: bool) -> Tensor {
        let active = self.active.next().unwrap_or(false);
        active.then(|| self.found.next().flatten()).flatten().unwrap_or_else(|| zeros_of(t))
    }
}

struct Poison(Tensor);
impl TreeMapper for Poison {
    fn tensor(&mut self, _: &Tensor, _: bool) -> Tensor {
        self.0.clone()
    }
}

/// The gradient of `f` at `at`, shaped like `at`. Integer and frozen leaves get zeros.
///
/// ```
/// use lazuli::prelude::*;
/// let w = Tensor::from_vec(vec![1f32, 2.0], [2]);
/// let g = grad(|w: &Tensor| (w * w).sum(..), &w);
/// assert_eq!(g.to_vec::<f32>()?, [2.0, 4.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If the loss is not a single float, or an op on the way has no derivative.
#[track_caller]
pub fn grad<T: Tree, L: Loss>(f: impl Fn(&T) -> L, at: &T) -> T {
    value_and_grad(f, at).1
}

/// The value of `f` and its gradient at `at`; see [`grad`]. Evaluating one evaluates both.
///
/// # Panics
/// As [`grad`].
#[track_caller]
pub fn value_and_grad<T: Tree, L: Loss>(f: impl Fn(&T) -> L, at: &T) -> (L, T) {
    let site = Location::caller();
    let mut stand = Stand::default();
    let (value, grads) = record::in_transform(|| {
        let vars = at.map(&mut stand);
        let value = f(&vars);
        let loss = value.loss();
        let grads: Result<Vec<Option<Tensor>>> = if let Some(e) = loss.0.poison() {
            Err(e.clone())
        } else {
            graph_transform::scalar_loss(loss).and_then(|()| {
                let one = Tensor::constant(Scalar::Int(1), loss.dtype(), loss.shape());
                graph_transform::vjp(&[(loss.clone(), one)], &stand.vars, site)
            })
        };
        (value, grads)
    });
    match grads {
        Ok(found) => {
            let g = at.map(&mut Place { found: found.into_iter(), active: stand.active.into_iter() });
            let outputs: Vec<Tensor> = tree::leaves(&value).into_iter().chain(tree::leaves(&g)).collect();
            tie(outputs.iter());
            (value, g)
        }
        Err(e) => {
            // A poisoned loss was reported where it was recorded.
            let p = match value.loss().0.poison() {
                Some(_) => value.loss().clone(),
                None => Tensor::poisoned(e),
            };
            let g = at.map(&mut Poison(p));
            (value, g)
        }
    }
}

/// The tensors of a tree that are outputs with derivatives.
fn float_leaves<T: Tree>(t: &T) -> Vec<Option<Tensor>> {
    struct Look(Vec<Option<Tensor>>);
    impl TreeVisitor for Look {
        fn leaf(&mut self, leaf: Leaf<'_>) {
            match leaf {
                Leaf::Tensor(t) | Leaf::Frozen(t) => self.0.push(t.dtype().is_float().then(|| t.clone())),
                Leaf::Static(_) => {}
            }
        }
    }
    let mut l = Look(Vec::new());
    t.visit(&mut l);
    l.0
}

/// `f(x)` and its directional derivative along `dx`, which has the structure of `x` (forward mode).
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![3f32], [1]);
/// let (y, dy) = jvp(|x: &Tensor| x * x, &x, &Tensor::ones([1]));
/// assert_eq!((y.item::<f32>()?, dy.item::<f32>()?), (9.0, 6.0));
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If `dx` does not match `x`, or an op on the way has no forward derivative (a [`custom_vjp`](super::custom_vjp)).
#[track_caller]
pub fn jvp<T: Tree, O: Tree>(f: impl Fn(&T) -> O, x: &T, dx: &T) -> (O, O) {
    let site = Location::caller();
    let mut stand = Stand::default();
    let (y, found) = record::in_transform(|| {
        let vars = x.map(&mut stand);
        let y = f(&vars);
        let all = tree::leaves(dx);
        let tangents: Vec<Tensor> = all.into_iter().zip(&stand.active).filter(|(_, a)| **a).map(|(t, _)| t).collect();
        if let Some((v, d)) = stand.vars.iter().zip(&tangents).find(|(v, d)| v.shape() != d.shape() || v.dtype() != d.dtype()) {
            let e = err!(Shape, "jvp: a tangent is {} {}, its tensor {} {}", d.dtype(), d.shape(), v.dtype(), v.shape());
            return (y, Err(e));
        }
        let seeds: Vec<(Tensor, Tensor)> = stand.vars.iter().cloned().zip(tangents).collect();
        let outs: Vec<Tensor> = float_leaves(&y).into_iter().flatten().collect();
        let r = match outs.iter().find_map(|o| o.0.poison()) {
            Some(e) => Err(e.clone()),
            None => graph_transform::jvp(&seeds, &outs, site),
        };
        (y, r)
    });
    match found {
        Ok(found) => {
            let active: Vec<bool> = float_leaves(&y).iter().map(Option::is_some).collect();
            let dy = y.map(&mut Place { found: found.into_iter(), active: active.into_iter() });
            let outputs: Vec<Tensor> = tree::leaves(&y).into_iter().chain(tree::leaves(&dy)).collect();
            tie(outputs.iter());
            (y, dy)
        }
        Err(e) => {
            let p = match tree::leaves(&y).into_iter().find(|t| t.0.poison().is_some()) {
                Some(p) => p,
                None => Tensor::poisoned(e),
            };
            let dy = y.map(&mut Poison(p));
            (y, dy)
        }
    }
}

/// The derivative of a function at a point, recorded once: maps tangents of its input to tangents of its output. Call it like a function.
pub type Linearized<T, O> = Func<'static, T, O>;

/// `f(x)` and its derivative there as a linear map: as [`jvp`] for many directions, without recording or differentiating `f` again. What the
/// map takes from the point is computed once.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0], [2]);
/// let (y, lin) = linearize(|x: &Tensor| x * x * x, &x);
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 8.0]);
/// for v in [1.0, 10.0] {
///     assert_eq!(lin(&Tensor::full([2], v)).to_vec::<f32>()?, [3.0 * v as f32, 12.0 * v as f32]);
/// }
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If an op on the way has no forward derivative. The map panics if a tangent does not match its tensor.
#[track_caller]
pub fn linearize<T: Tree, O: Tree + Send + Sync>(f: impl Fn(&T) -> O, x: &T) -> (O, Linearized<T, O>) {
    let site = Location::caller();
    let mut stand = Stand::default();
    let y = record::in_transform(|| {
        let vars = x.map(&mut stand);
        f(&vars)
    });
    let outs = float_leaves(&y);
    let active: Vec<bool> = outs.iter().map(Option::is_some).collect();
    let like = tree::map_tensors(&y, |t, _| t.clone());
    let Stand { vars, active: wanted } = stand;
    let roots: Vec<Tensor> = outs.into_iter().flatten().collect();
    let map = match tree::leaves(&y).iter().find_map(|t| t.0.poison()) {
        Some(e) => Err(e.clone()),
        None => LinearMap::new(&vars, &roots).map_err(|e| {
            let e = e.at(site);
            slip(&e);
            e
        }),
    };
    if let Ok(m) = &map {
        // Computed with the value, or with the first use of the map.
        tie(roots.iter().chain(&m.coefficients));
    }
    let lin = move |dx: &T| {
        let dy = map.as_ref().map_err(Error::clone).and_then(|m| {
            let tangents: Vec<Tensor> = tree::leaves(dx).into_iter().zip(&wanted).filter(|(_, a)| **a).map(|(t, _)| t).collect();
            if tangents.len() != vars.len() {
                return Err(err!(Argument, "linearize: {} tangents for {} tensors", tangents.len(), vars.len()));
            }
            if let Some(e) = tangents.iter().find_map(|t| t.0.poison()) {
                return Err(e.clone());
            }
            if let Some((v, d)) = vars.iter().zip(&tangents).find(|(v, d)| v.shape() != d.shape() || v.dtype() != d.dtype()) {
                return Err(err!(Shape, "linearize: a tangent is {} {}, its tensor {} {}", d.dtype(), d.shape(), v.dtype(), v.shape()));
            }
            Ok(record::in_transform(|| m.at(&tangents, site)))
        });
        match dy {
            Ok(found) => {
                let dy = like.map(&mut Place { found: found.into_iter(), active: active.clone().into_iter() });
                tie(tree::leaves(&dy).iter());
                dy
            }
            Err(e) => like.map(&mut Poison(Tensor::poisoned(e.at(site)))),
        }
    };
    (y, Func(Box::new(lin)))
}

/// The tree with the derivatives of its tensors cut: to every transform they are constants. As [`Tensor::detach`] of each.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![3f32], []);
/// assert_eq!(grad(|x: &Tensor| x * stop_gradient(x), &x).item::<f32>()?, 3.0);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[track_caller]
pub fn stop_gradient<T: Tree>(x: &T) -> T {
    tree::map_tensors(x, |t, _| if t.dtype().is_float() { t.detach() } else { t.clone() })
}

/// The pullback of a function at a point: maps cotangents of its output to cotangents of its input. Call it like a function.
pub type Pullback<O, T> = Func<'static, O, T>;

/// `f(x)` and its pullback (reverse mode).
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, 2.0], [2]);
/// let (y, pull) = vjp(|x: &Tensor| x * x, &x);
/// assert_eq!(pull(&Tensor::ones([2])).to_vec::<f32>()?, [2.0, 4.0]);
/// # let _ = y; Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// The pullback panics if the cotangent does not match the output.
#[track_caller]
pub fn vjp<T: Tree + Clone + Send + Sync, O: Tree>(f: impl Fn(&T) -> O, x: &T) -> (O, Pullback<O, T>) {
    let site = Location::caller();
    let mut stand = Stand::default();
    let y = record::in_transform(|| {
        let vars = x.map(&mut stand);
        f(&vars)
    });
    let outs = float_leaves(&y);
    let at = x.clone();
    let Stand { vars, active } = stand;
    let pull = move |ct: &O| {
        let cts = tree::leaves(ct);
        let mut pairs = Vec::new();
        for (o, c) in outs.iter().zip(cts) {
            let Some(o) = o else { continue };
            if o.shape() != c.shape() || o.dtype() != c.dtype() {
                let e = err!(Shape, "vjp: a cotangent is {} {}, its output {} {}", c.dtype(), c.shape(), o.dtype(), o.shape());
                return at.map(&mut Poison(Tensor::poisoned(e.at(site))));
            }
            pairs.push((o.clone(), c));
        }
        match record::in_transform(|| graph_transform::vjp(&pairs, &vars, site)) {
            Ok(found) => at.map(&mut Place { found: found.into_iter(), active: active.clone().into_iter() }),
            Err(e) => at.map(&mut Poison(Tensor::poisoned(e.at(site)))),
        }
    };
    (y, Func(Box::new(pull)))
}
