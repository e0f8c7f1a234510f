//! [`jit`]: a function recorded once for each kind of argument and replayed: no recording, no walk, no key, one run of a plan.

use super::compiled::{Compiled, Recorded, record_once, values};
use super::custom::Next;
use super::tree::{self, Leaf, Tree, TreeVisitor};
use crate::base::error::bail;
use crate::base::{Error, Result};
use crate::tensor::{Device, Tensor, record};
use crate::trace::adopt::adopt;
use crate::trace::graph::{Input, Inputs};
use std::fmt::Write;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What a recorded function may return: a tree, or a `Result` of one.
pub trait Outcome {
    /// The tree.
    type Value: Tree;
    /// The tree, or why there is none.
    ///
    /// # Errors
    /// The function's own.
    fn into_result(self) -> Result<Self::Value>;
}

impl<T: Tree> Outcome for T {
    type Value = T;
    fn into_result(self) -> Result<T> {
        Ok(self)
    }
}

impl<T: Tree> Outcome for Result<T, Error> {
    type Value = T;
    fn into_result(self) -> Result<T> {
        self
    }
}

/// A function recorded by [`jit`]: store it in a field, call it like a function.
pub struct Jit<'f, A, R> {
    call: Box<dyn Fn(A) -> Result<R> + Send + Sync + 'f>,
    records: Arc<AtomicUsize>,
}

impl<'f, A, R> Deref for Jit<'f, A, R> {
    type Target = dyn Fn(A) -> Result<R> + Send + Sync + 'f;
    fn deref(&self) -> &Self::Target {
        &*self.call
    }
}

impl<A, R> Jit<'_, A, R> {
    /// How often the function has been recorded: once for each kind of argument seen.
    pub fn records(&self) -> usize {
        self.records.load(Relaxed)
    }
}

/// Recordings kept of one function; the oldest goes when there are more.
const KEPT: usize = 64;

/// `f`, recorded at the first call with arguments of a kind and replayed after: the kind is the structure of the tree, its static
/// leaves, and the shapes, dtypes and devices of its tensors. Numbers in tensors are data: put what changes (a learning rate, a step
/// count) into a tensor of the argument. Tensors and numbers that `f` takes from outside are constants it holds. The default generator
/// goes on drawing new numbers. Arguments nobody else holds are overwritten by the results where that is possible.
///
/// Under another transform, and inside another recorded function, it is `f` itself.
///
/// ```
/// use lazuli::prelude::*;
/// let step = jit(|(w, x): (Tensor, Tensor)| {
///     let g = grad(|w: &Tensor| (w * &x).square().sum(..), &w);
///     w - g * 0.1
/// });
/// let x = Tensor::from_vec(vec![1f32, 2.0], [2]);
/// let mut w = Tensor::ones([2]);
/// for _ in 0..3 {
///     w = step((w, x.clone()))?;
/// }
/// assert_eq!(step.records(), 1);
/// assert!((w.to_vec::<f32>()?[0] - 0.512).abs() < 1e-6);
/// # Ok::<(), lazuli::Error>(())
/// ```
///
/// # Errors
/// A call returns what `f` returns as an error, what a slip inside of it says, and what the device reports. Reading a value inside `f`
/// (`item`, `to_vec`, printing) is an error, as are shapes that depend on data, and a [`Generator`](crate::Generator) of its own (it
/// would draw the same numbers in each call).
pub fn jit<'f, A: Tree, O: Outcome>(f: impl Fn(A) -> O + Send + Sync + 'f) -> Jit<'f, A, O::Value>
where
    O::Value: Send + Sync,
{
    let records = Arc::new(AtomicUsize::new(0));
    let count = records.clone();
    let kept: Mutex<Vec<Arc<Recording<O::Value>>>> = Mutex::new(Vec::new());
    let call = move |args: A| -> Result<O::Value> {
        if record::inside_transform() {
            return f(args).into_result();
        }
        let kind = Kind::of(&args)?;
        let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lock().iter().find(|r| r.key == kind.key).cloned();
        let recording = match found {
            Some(r) => r,
            None => {
                count.fetch_add(1, Relaxed);
                let r = Arc::new(Recording::make(&f, &args, &kind)?);
                let mut kept = lock();
                if kept.len() == KEPT {
                    kept.remove(0);
                }
                kept.push(r.clone());
                r
            }
        };
        // Only the handles in `kind` are left: what nobody else holds may be overwritten.
        drop(args);
        recording.run(kind)
    };
    Jit { call: Box::new(call), records }
}

/// What a call's arguments are, apart from their numbers.
struct Kind {
    key: Vec<u8>,
    leaves: Vec<Tensor>,
}

impl Kind {
    fn of<A: Tree>(args: &A) -> Result<Kind> {
        struct Look {
            key: Vec<u8>,
            text: String,
            leaves: Vec<Tensor>,
        }
        impl TreeVisitor for Look {
            fn leaf(&mut self, leaf: Leaf<'_>) {
                match leaf {
                    Leaf::Tensor(t) | Leaf::Frozen(t) => {
                        self.key.extend([matches!(leaf, Leaf::Frozen(_)) as u8, t.dtype() as u8, t.rank() as u8]);
                        self.key.extend(t.0.device.0.to_le_bytes());
                        for d in t.shape().iter() {
                            self.key.extend(d.to_le_bytes());
                        }
                        self.leaves.push(t.clone());
                    }
                    Leaf::Static(s) => {
                        self.text.clear();
                        let _ = write!(self.text, "{s:?}");
                        self.key.push(2);
                        self.key.extend(self.text.len().to_le_bytes());
                        self.key.extend(self.text.as_bytes());
                    }
                }
            }
            fn enter(&mut self, name: &str) {
                self.key.push(3);
                self.key.extend(name.as_bytes());
                self.key.push(0);
            }
            fn leave(&mut self) {
                self.key.push(4);
            }
        }
        let mut l = Look { key: Vec::new(), text: String::new(), leaves: Vec::new() };
        args.visit(&mut l);
        for t in &l.leaves {
            if let Some(e) = t.0.poison() {
                return Err(e.clone());
            }
        }
        if l.leaves.windows(2).any(|w| w[0].0.device != w[1].0.device) {
            let mut nodes: Inputs = l.leaves.iter().map(|t| Input::Node(t.0.clone())).collect();
            if let Err((a, b)) = adopt(&mut nodes) {
                bail!(Device, "jit: arguments live on {} and {}: move some with to_device", Device::from_id(a), Device::from_id(b));
            }
            l.leaves = nodes.into_iter().filter_map(|i| if let Input::Node(n) = i { Some(Tensor(n)) } else { None }).collect();
        }
        Ok(Kind { key: l.key, leaves: l.leaves })
    }
}

/// A function's program for one kind of argument.
struct Recording<R> {
    key: Vec<u8>,
    compiled: Compiled,
    /// The result, with stand-ins for its tensors.
    result: R,
}

impl<R: Tree> Recording<R> {
    fn make<A: Tree, O: Outcome<Value = R>>(f: &impl Fn(A) -> O, args: &A, kind: &Kind) -> Result<Recording<R>> {
        let device = kind.leaves.first().map_or_else(|| Device::current().0, |t| t.0.device);
        let types: Vec<_> = kind.leaves.iter().map(|t| (t.dtype(), t.shape().clone())).collect();
        let call = |inputs: Vec<Tensor>| f(args.map(&mut Next(inputs.into_iter()))).into_result();
        let Recorded { result, outputs, body, draws } = record_once(&types, device, call, tree::leaves)?;
        // What was captured is computed once and held.
        let captured = values(&body.captured)?;
        // The recorded graph is let go.
        let bare = outputs.iter().map(|t| Tensor::placeholder(t.dtype(), t.shape().clone(), device)).collect::<Vec<_>>();
        let result = result.map(&mut Next(bare.into_iter()));
        Ok(Recording { key: kind.key.clone(), compiled: Compiled::new(body.trace, captured, device, draws), result })
    }

    fn run(&self, kind: Kind) -> Result<R> {
        let Kind { leaves, .. } = kind;
        let outputs = self.compiled.run(leaves)?;
        Ok(self.result.map(&mut Next(outputs.into_iter())))
    }
}
