//! Branches and loops in the trace: [`cond`], [`while_loop`], [`scan`], [`fori_loop`].
//!
//! A Rust `if` or `for` is run while recording; these are recorded as they are. Their closures are recorded once, so a loop costs the same to
//! compile whatever its number of iterations, and its condition may depend on what is computed. What the closures take from outside is
//! passed along; numbers they take are data. Random numbers drawn inside of a loop are new in every iteration.

use super::custom::Next;
use super::region::{self, Body};
use super::tree::{self, Tree};
use crate::base::error::{Error, bail, err, slip};
use crate::base::{DType, DeviceId, Result, Scalar, Shape, Site};
use crate::tensor::{Tensor, default_draws, draws, record, reserve_default};
use crate::trace::graph::{Input, Inputs};
use crate::trace::{LoopSpec, Region, RegionKind, Trace, Trip, ValueId, adopt};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

/// Counters that a loop without a bound takes from the generator for each of what an iteration draws: as many as it will ever run.
const UNBOUNDED_DRAWS: u64 = 1 << 32;

/// Where the operands of a region live, and stand-ins for each group of them there.
fn stand_ins<const N: usize>(groups: [&[Tensor]; N]) -> (DeviceId, [Vec<Tensor>; N]) {
    let nodes = groups.iter().flat_map(|g| g.iter()).map(|t| &t.0);
    let at = adopt::place(nodes).unwrap_or_else(|| crate::tensor::Device::current().0);
    (at, groups.map(|g| g.iter().map(|t| Tensor::placeholder(t.dtype(), t.shape().clone(), at)).collect()))
}

fn poison_of(leaves: &[Tensor]) -> Option<Error> {
    leaves.iter().find_map(|t| t.0.poison().cloned())
}

fn types(t: &Tensor) -> String {
    format!("{} {}", t.dtype(), t.shape())
}

/// Checks that two trees have the same structure and types of tensors; `from` and `to` say what they are.
fn alike<T: Tree>(what: &str, from: (&str, &T), to: (&str, &T)) -> Result<()> {
    let (a, b) = (tree::named_leaves(from.1), tree::named_leaves(to.1));
    for ((name, x), (_, y)) in a.iter().zip(&b) {
        if x.dtype() != y.dtype() || x.shape() != y.shape() {
            let kind = if x.dtype() == y.dtype() { crate::base::ErrorKind::Shape } else { crate::base::ErrorKind::DType };
            let which = if name.is_empty() { "the tensor".to_string() } else { format!("tensor `{name}`") };
            return Err(Error::new(kind, format!("{what}: {which} is {} {}, but {} {}", types(x), from.0, types(y), to.0)));
        }
    }
    if a.len() != b.len() || tree::structure(from.1) != tree::structure(to.1) {
        bail!(
            Argument,
            "{what}: the structure {} ({} tensors) differs from that {} ({} tensors); numbers, flags and enums in it must be equal too",
            from.0,
            a.len(),
            to.0,
            b.len()
        );
    }
    Ok(())
}

/// What a failed call gives: the tree, poisoned.
fn failed<T: Tree>(tree: &T, e: Error, site: Site) -> T {
    tree.map(&mut Next(std::iter::repeat(Tensor::poison_quietly(e, site))))
}

/// As `failed`, of a slip of this call.
fn slipped<T: Tree>(tree: &T, e: Error, site: Site) -> T {
    let e = e.at(site);
    slip(&e);
    failed(tree, e, site)
}

/// Runs one of two functions on `x`: `yes` where `predicate` holds, else `no`. Only one is computed, and only through that one do derivatives
/// flow. Under `vmap` with a predicate for each example both are computed.
///
/// ```
/// use lazuli::prelude::*;
/// let x = Tensor::from_vec(vec![1f32, -2.0], [2]);
/// let f = |x: &Tensor| cond(&x.sum(..).gt(0.0), |x: &Tensor| x * 2.0, |x: &Tensor| x.exp(), x);
/// assert_eq!(f(&-&x).to_vec::<f32>()?, [-2.0, 4.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If the predicate is no single Bool, or the branches' results differ in structure, shape or dtype.
#[track_caller]
pub fn cond<T: Tree, R: Tree>(predicate: &Tensor, yes: impl Fn(&T) -> R, no: impl Fn(&T) -> R, x: &T) -> R {
    let site = Location::caller();
    let args = tree::leaves(x);
    let (_, [inputs]) = stand_ins([&args]);
    let on = |f: &dyn Fn(&T) -> R| record::in_transform(|| f(&x.map(&mut Next(inputs.iter().cloned()))));
    let before = draws::count();
    let (a, b) = (on(&yes), on(&no));
    let drew = draws::count() > before;
    let (outs, others) = (tree::leaves(&a), tree::leaves(&b));
    if let Some(e) = poison_of(std::slice::from_ref(predicate)).or_else(|| poison_of(&args)) {
        return failed(&a, e, site);
    }
    if let Some(e) = poison_of(&outs).or_else(|| poison_of(&others)) {
        return failed(&a, e, site);
    }
    if predicate.dtype() != DType::Bool || predicate.numel() != 1 {
        let e = err!(DType, "cond: the predicate is {}, expected a single bool: use a comparison and any(..) or all(..)", types(predicate));
        return slipped(&a, e, site);
    }
    if let Err(e) = alike("cond", ("where the predicate holds", &a), ("where it does not", &b)) {
        return slipped(&a, e, site);
    }
    if outs.is_empty() {
        return a;
    }
    let bodies = region::close(&inputs, &outs).and_then(|a| Ok((a, region::close(&inputs, &others)?)));
    let (body, other) = match bodies {
        Ok(b) => b,
        Err(e) => return slipped(&a, e, site),
    };
    let mut operands: Inputs =
        std::iter::once(predicate.reshape_shape(&Shape::scalar())).chain(args.iter().cloned()).map(|t| Input::Node(t.0)).collect();
    let n = args.len();
    let (k, l) = (body.captured.len(), other.captured.len());
    let wider = |t: &Trace, from: usize, to: usize| {
        let mut new = Trace::new();
        new.input(DType::Bool, Shape::scalar());
        let mut all: Vec<ValueId> = t.inputs[..n].iter().map(|&i| new.input(t.dtype(i), t.shape(i).clone())).collect();
        let captured =
            body.trace.inputs[n..].iter().map(|&i| (&body.trace, i)).chain(other.trace.inputs[n..].iter().map(|&i| (&other.trace, i)));
        let captured: Vec<ValueId> = captured.map(|(t, i)| new.input(t.dtype(i), t.shape(i).clone())).collect();
        all.extend(&captured[from..to]);
        new.outputs = new.inline(t, &all);
        new
    };
    let (yes, no) = (wider(&body.trace, 0, k), wider(&other.trace, k, k + l));
    operands.extend(body.captured.into_iter().chain(other.captured));
    let results = region::record(Region { kind: RegionKind::Cond(Arc::new(no)), body: Arc::new(yes) }, operands, drew);
    a.map(&mut Next(results.into_iter()))
}

/// One iteration: the state, rows and the number of the iteration give the next state and what is yielded.
type Iteration<'a, S, Y> = dyn Fn(S, Vec<Tensor>, &Tensor) -> (S, Y) + 'a;

/// A loop being recorded.
struct Recording<'a, S, Y> {
    state: &'a S,
    /// The state after an iteration, and what it yields, on stand-ins.
    next: S,
    yields: Y,
    body: Body,
    go: Option<Body>,
    /// Rows read, counters drawn by an iteration.
    rows: usize,
    draws: u64,
}

/// Records the closures of a loop. `step` gets the state, rows, and the number of the iteration.
fn record_loop<'a, S: Tree, Y: Tree>(
    what: &'static str,
    state: &'a S,
    rows: &[Tensor],
    go: Option<&dyn Fn(&S) -> Tensor>,
    step: &Iteration<'_, S, Y>,
) -> std::result::Result<Recording<'a, S, Y>, Error> {
    let carried = tree::leaves(state);
    if let Some(e) = poison_of(&carried).or_else(|| poison_of(rows)) {
        return Err(e);
    }
    let (device, [ins, taken]) = stand_ins([&carried, rows]);
    let number = || Tensor::placeholder(DType::I64, Shape::scalar(), device);
    let (key, counter, index) = (number(), number(), number());
    let filled = || state.map(&mut Next(ins.iter().cloned()));
    let ((next, yields), draws) =
        record::in_transform(|| default_draws(key.clone(), counter.clone(), || step(filled(), taken.clone(), &index)));
    let outs: Vec<Tensor> = tree::leaves(&next).into_iter().chain(tree::leaves(&yields)).collect();
    if let Some(e) = poison_of(&outs) {
        return Err(e);
    }
    alike(what, ("before an iteration", state), ("after it", &next))?;
    let inputs: Vec<Tensor> = ins.iter().chain(&taken).chain([&key, &counter, &index]).cloned().collect();
    let body = region::close(&inputs, &outs)?;
    let go = match go {
        None => None,
        Some(go) => {
            let (holds, drawn) = record::in_transform(|| default_draws(key.clone(), counter.clone(), || go(&filled())));
            if let Some(e) = holds.0.poison() {
                return Err(e.clone());
            }
            if holds.dtype() != DType::Bool || holds.numel() != 1 {
                bail!(DType, "{what}: the condition is {}, expected a single bool: use a comparison and any(..) or all(..)", types(&holds));
            }
            if drawn > 0 {
                bail!(Argument, "{what}: the condition draws random numbers: draw them in the body and carry them in the state");
            }
            let holds = record::in_transform(|| holds.reshape_shape(&Shape::scalar()));
            Some(region::close(&ins, &[holds])?)
        }
    };
    Ok(Recording { state, next, yields, body, go, rows: rows.len(), draws })
}

impl<S: Tree, Y: Tree> Recording<'_, S, Y> {
    /// Records the loop over the stacks `xs`; returns the last state and the stacked yields.
    #[track_caller]
    fn place(self, xs: &[Tensor], length: Option<usize>, reverse: bool) -> Result<(S, Y)> {
        let carried = tree::leaves(self.state);
        let (s, x, d) = (carried.len(), self.rows, usize::from(self.draws > 0));
        if s + self.body.trace.outputs.len() == 0 {
            return Ok((self.next, self.yields));
        }
        let (body, go) = (&self.body.trace, self.go.as_ref());
        let of = |t: &Trace, i: ValueId| (t.dtype(i), t.shape(i).clone());
        let captured: Vec<_> = body.inputs[s + x + 3..].iter().map(|&i| of(body, i)).collect();
        let asked: Vec<_> = go.map_or(Vec::new(), |g| g.trace.inputs[s..].iter().map(|&i| of(&g.trace, i)).collect());
        let own: Vec<_> = body.inputs[..s + x].iter().map(|&i| of(body, i)).collect();
        let scalar = (DType::I64, Shape::scalar());
        let take =
            |t: &mut Trace, types: &[(DType, Shape)]| -> Vec<ValueId> { types.iter().map(|(d, s)| t.input(*d, s.clone())).collect() };
        // Consts: what the body captured, what the condition captured, the generator's key. Carry: the state, the generator's counter.
        let key: &[_] = if d > 0 { std::slice::from_ref(&scalar) } else { &[] };
        let mut t = Trace::new();
        let (c, _, k) = (take(&mut t, &captured), take(&mut t, &asked), take(&mut t, key));
        let (state, n, rows) = (take(&mut t, &own[..s]), take(&mut t, key), take(&mut t, &own[s..]));
        let index = t.input(DType::I64, Shape::scalar());
        // What is not drawn from is not read: any single I64 does.
        let (key_in, counter_in) = (k.first().copied().unwrap_or(index), n.first().copied().unwrap_or(index));
        let args: Vec<ValueId> = state.into_iter().chain(rows).chain([key_in, counter_in, index]).chain(c).collect();
        let mut outs = t.inline(body, &args);
        if let Some(&n) = n.first() {
            let step = t.constant(Scalar::Int(self.draws as i64), DType::I64, &Shape::scalar());
            let next = t.add(n, step);
            outs.insert(s, next);
        }
        t.outputs = outs;
        let trip = match go {
            None => Trip::Fixed,
            Some(g) => {
                let mut t = Trace::new();
                let (_, a, _) = (take(&mut t, &captured), take(&mut t, &asked), take(&mut t, key));
                let (state, _) = (take(&mut t, &own[..s]), take(&mut t, key));
                t.input(DType::I64, Shape::scalar());
                let args: Vec<ValueId> = state.into_iter().chain(a).collect();
                t.outputs = t.inline(&g.trace, &args);
                Trip::While(Arc::new(t))
            }
        };
        let spec = LoopSpec { consts: captured.len() + asked.len() + d, carry: s + d, length, trip, reverse, segment: false };
        let mut operands: Inputs = self.body.captured.into_iter().chain(self.go.into_iter().flat_map(|g| g.captured)).collect();
        let mut counter = None;
        if d > 0 {
            let most = length.map_or(UNBOUNDED_DRAWS, |n| n as u64);
            let [key, first] = reserve_default(self.draws.saturating_mul(most));
            operands.push(key);
            counter = Some(first);
        }
        operands.extend(carried.iter().map(|t| Input::Node(t.0.clone())));
        operands.extend(counter);
        operands.extend(xs.iter().map(|t| Input::Node(t.0.clone())));
        let mut results = region::record(Region { kind: RegionKind::Loop(Arc::new(spec)), body: Arc::new(t) }, operands, d > 0);
        let rest = results.split_off(s);
        Ok((self.next.map(&mut Next(results.into_iter())), self.yields.map(&mut Next(rest.into_iter().skip(d)))))
    }
}

/// Runs `body` on the state as long as `condition` holds, `max` times at most (`None`: no bound). The state keeps its structure, shapes and
/// dtypes.
///
/// Forward mode (`jvp`) works in any case. Reverse mode (`grad`, `vjp`) needs the bound, keeps some `2 sqrt(max)` states and runs the loop
/// twice more. Under `vmap` each example stops by itself.
///
/// ```
/// use lazuli::prelude::*;
/// // How often can a number be halved?
/// let halvings = |x: &Tensor| while_loop((x.clone(), tensor!(0i64)), |(x, _)| x.ge(2.0), |(x, n)| (x / 2.0, n + 1), None).1;
/// assert_eq!(halvings(&tensor!(1000.0)).item::<i64>()?, 9);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If the state changes its structure, or a tensor of it its shape or dtype; if the condition is no single Bool.
#[track_caller]
pub fn while_loop<S: Tree>(state: S, condition: impl Fn(&S) -> Tensor, body: impl Fn(S) -> S, max: impl Into<Option<usize>>) -> S {
    let site = Location::caller();
    let step = |s: S, _: Vec<Tensor>, _: &Tensor| (body(s), ());
    let made = record_loop("while_loop", &state, &[], Some(&condition), &step).and_then(|r| r.place(&[], max.into(), false));
    match made {
        Ok((s, ())) => s,
        Err(e) => slipped(&state, e, site),
    }
}

/// Runs `body(i, state)` for each number of a range, a 0-d I64; returns the last state, which keeps its structure, shapes and dtypes. Reverse
/// mode keeps the state of every iteration.
///
/// ```
/// use lazuli::prelude::*;
/// let sum_of_squares = fori_loop(1..11, tensor!(0i64), |i, s| s + i * i);
/// assert_eq!(sum_of_squares.item::<i64>()?, 385);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// As [`while_loop`].
#[track_caller]
pub fn fori_loop<S: Tree>(range: Range<usize>, state: S, body: impl Fn(&Tensor, S) -> S) -> S {
    let site = Location::caller();
    let start = range.start as i64;
    let step = |s: S, _: Vec<Tensor>, i: &Tensor| {
        if start == 0 { (body(i, s), ()) } else { (body(&(i + start), s), ()) }
    };
    let made = record_loop("fori_loop", &state, &[], None, &step).and_then(|r| r.place(&[], Some(range.len()), false));
    match made {
        Ok((s, ())) => s,
        Err(e) => slipped(&state, e, site),
    }
}

/// Goes through the rows (along axis 0) of the tensors of `xs` with a state: `f(state, row)` gives the next state and a result; returns the last
/// state and the results, stacked along a new axis 0. Reverse mode keeps the state of every iteration.
///
/// ```
/// use lazuli::prelude::*;
/// // A running product.
/// let x = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0], [4]);
/// let (last, all) = scan(tensor!(1.0), &x, |p, x| { let p = p * x; (p.clone(), p) });
/// assert_eq!(last.item::<f32>()?, 24.0);
/// assert_eq!(all.to_vec::<f32>()?, [1.0, 2.0, 6.0, 24.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Panics
/// If `xs` has no tensor, a tensor without axes, or tensors of different lengths; if the state changes its structure, shapes or dtypes.
#[track_caller]
pub fn scan<C: Tree, X: Tree, Y: Tree>(init: C, xs: &X, f: impl Fn(C, X) -> (C, Y)) -> (C, Y) {
    scan_in(init, xs, f, false, Location::caller())
}

/// [`scan`] from the last row to the first: the results stand at the rows they come from.
///
/// # Panics
/// As [`scan`].
#[track_caller]
pub fn scan_reversed<C: Tree, X: Tree, Y: Tree>(init: C, xs: &X, f: impl Fn(C, X) -> (C, Y)) -> (C, Y) {
    scan_in(init, xs, f, true, Location::caller())
}

#[track_caller]
fn scan_in<C: Tree, X: Tree, Y: Tree>(init: C, xs: &X, f: impl Fn(C, X) -> (C, Y), reverse: bool, site: Site) -> (C, Y) {
    let stacks = tree::named_leaves(xs);
    let tensors: Vec<Tensor> = stacks.iter().map(|(_, t)| t.clone()).collect();
    let row = |t: &Tensor| {
        let shape: Shape = if t.rank() == 0 { Shape::scalar() } else { t.shape()[1..].into() };
        Tensor::placeholder(t.dtype(), shape, t.0.device)
    };
    let rows: Vec<Tensor> = tensors.iter().map(row).collect();
    let step = |c: C, rows: Vec<Tensor>, _: &Tensor| f(c, xs.map(&mut Next(rows.into_iter())));
    let made = poison_of(&tensors)
        .map_or(Ok(()), Err)
        .and_then(|()| length_of(&stacks))
        .and_then(|n| record_loop("scan", &init, &rows, None, &step)?.place(&tensors, Some(n), reverse));
    match made {
        Ok(r) => r,
        Err(e) => {
            // Inside `catch`: some result has to be there, and only `f` knows of what structure.
            let (_, y) = record::in_transform(|| {
                step(
                    init.map(&mut Next(tree::leaves(&init).into_iter())),
                    rows.clone(),
                    &Tensor::placeholder(DType::I64, Shape::scalar(), DeviceId(0)),
                )
            });
            (slipped(&init, e.clone(), site), failed(&y, e, site))
        }
    }
}

/// How many rows the stacks have.
fn length_of(stacks: &[(String, Tensor)]) -> Result<usize> {
    let name = |n: &str| if n.is_empty() { "the tensor".to_string() } else { format!("tensor `{n}`") };
    let Some((first, t)) = stacks.first() else {
        bail!(Argument, "scan: there is no tensor to go through: use fori_loop for a number of iterations")
    };
    for (n, x) in stacks {
        if x.rank() == 0 {
            bail!(Shape, "scan: {} is {}, which has no axis 0 to go along", name(n), types(x));
        }
        if x.shape()[0] != t.shape()[0] {
            bail!(Shape, "scan: {} ({}) has {} rows, {} ({}) has {}", name(first), types(t), t.shape()[0], name(n), types(x), x.shape()[0]);
        }
    }
    Ok(t.shape()[0])
}
