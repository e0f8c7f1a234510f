//! [`jit`]: a function recorded once for each kind of argument and replayed: no recording, no walk, no key, one run of a plan.

use super::custom::Next;
use super::region;
use super::tree::{self, Leaf, Tree, TreeVisitor};
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Error, Result, Scalar, Shape, Storage, Value};
use crate::plan;
use crate::tensor::{Tensor, default_draws, record};
use crate::trace::Trace;
use crate::trace::graph::Input;
use std::fmt::Write;
use std::ops::Deref;
use std::panic::Location;
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
        Ok(Kind { key: l.key, leaves: l.leaves })
    }
}

/// A function's program for one kind of argument.
struct Recording<R> {
    key: Vec<u8>,
    /// Inputs: the arguments, the generator's key and counter, then what was captured.
    trace: Trace,
    captured: Vec<Value>,
    device: DeviceId,
    /// The result, with stand-ins for its tensors.
    result: R,
    shapes: Vec<Shape>,
    /// Counters that a call draws from the default generator.
    draws: u64,
    /// Stands for the generator's state where nothing is drawn.
    zero: Value,
    /// Plans by which arguments they overwrite.
    plans: Mutex<Vec<(Vec<bool>, Arc<plan::Plan>)>>,
}

fn scalar_value(x: u64, device: DeviceId) -> Result<Value> {
    let storage = crate::backend::of(device).upload(&x.to_ne_bytes())?;
    Ok(Value { storage, dtype: crate::DType::I64 })
}

impl<R: Tree> Recording<R> {
    #[track_caller]
    fn make<A: Tree, O: Outcome<Value = R>>(f: &impl Fn(A) -> O, args: &A, kind: &Kind) -> Result<Recording<R>> {
        let device = kind.leaves.first().map_or_else(|| crate::tensor::Device::current().0, |t| t.0.device);
        if let Some(t) = kind.leaves.iter().find(|t| t.0.device != device) {
            bail!(Device, "jit: arguments live on {} and {}", crate::tensor::Device::from_id(device), t.device());
        }
        let mut inputs: Vec<Tensor> = kind.leaves.iter().map(|t| Tensor::placeholder(t.dtype(), t.shape().clone(), t.0.device)).collect();
        let stand_ins = args.map(&mut Next(inputs.iter().cloned()));
        let number = || Tensor::placeholder(crate::DType::I64, Shape::scalar(), device);
        let (key, counter) = (number(), number());
        let (result, draws) = record::in_transform(|| {
            default_draws(key.clone(), counter.clone(), || crate::catch(|| f(stand_ins).into_result()).and_then(|r| r))
        });
        let result = result?;
        let outputs = tree::leaves(&result);
        if let Some(e) = outputs.iter().find_map(|t| t.0.poison()) {
            return Err(e.clone());
        }
        inputs.extend([key, counter]);
        let body = region::close(&inputs, &outputs)?;
        // What was captured is computed once and held.
        let nodes: Vec<_> = body.captured.iter().filter_map(|i| if let Input::Node(n) = i { Some(n.clone()) } else { None }).collect();
        plan::evaluate(&nodes, plan::Keep::Recipe)?;
        let captured = body
            .captured
            .iter()
            .map(|i| match i {
                Input::Node(n) => match n.value.get() {
                    Some(v) => v.clone(),
                    None => Err(err!(Internal, "jit: a captured tensor was not computed")),
                },
                Input::Number(n) => {
                    let mut bytes = [0; 8];
                    n.value().write(n.dtype, &mut bytes);
                    let storage = crate::backend::of(device).upload(&bytes[..n.dtype.size()])?;
                    Ok(Value { storage, dtype: n.dtype })
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let shapes = outputs.iter().map(|t| t.shape().clone()).collect();
        // The recorded graph is let go.
        let bare = outputs.iter().map(|t| Tensor::placeholder(t.dtype(), t.shape().clone(), device)).collect::<Vec<_>>();
        let result = result.map(&mut Next(bare.into_iter()));
        Ok(Recording {
            key: kind.key.clone(),
            trace: body.trace,
            captured,
            device,
            result,
            shapes,
            draws,
            zero: scalar_value(0, device)?,
            plans: Mutex::new(Vec::new()),
        })
    }

    fn run(&self, kind: Kind) -> Result<R> {
        let nodes: Vec<_> = kind.leaves.iter().filter(|t| t.0.value.get().is_none()).map(|t| t.0.clone()).collect();
        if !nodes.is_empty() {
            plan::evaluate(&nodes, plan::Keep::Recipe)?;
            drop(nodes);
        }
        let values = kind.leaves.iter().map(|t| t.value().cloned()).collect::<Result<Vec<_>>>()?;
        let mut donated: Vec<bool> = kind
            .leaves
            .iter()
            .zip(&values)
            // One handle is this call's own; the value is held by the node and by `values`.
            .map(|(t, v)| t.0.holders() == 1 && Arc::strong_count(&v.storage) == 2 && v.storage.bytes() >= plan::WORTHWHILE)
            .collect();
        donated.resize(self.trace.inputs.len(), false);
        let plan = self.plan(donated)?;
        let mut leaves: Vec<Arc<dyn Storage>> = values.into_iter().map(|v| v.storage).collect();
        if self.draws > 0 {
            let (key, counter) = crate::tensor::reserve_draws(self.draws);
            leaves.extend([scalar_value(key, self.device)?.storage, scalar_value(counter, self.device)?.storage]);
        } else {
            leaves.extend([self.zero.storage.clone(), self.zero.storage.clone()]);
        }
        leaves.extend(self.captured.iter().map(|v| v.storage.clone()));
        let site = Location::caller();
        let params: &[Scalar] = &[];
        let storages = plan::execute(&plan, self.device, &leaves, params, self.shapes.len()).map_err(|f| f.error.at(site))?;
        let types = self.trace.outputs.iter().map(|&o| self.trace.dtype(o));
        let tensors = storages
            .into_iter()
            .zip(types)
            .zip(&self.shapes)
            .map(|((storage, dtype), shape)| Tensor::leaf(Value { storage, dtype }, shape.clone()));
        Ok(self.result.map(&mut Next(tensors)))
    }

    fn plan(&self, donated: Vec<bool>) -> Result<Arc<plan::Plan>> {
        // Held while compiling: who asks for the same plan waits, other recordings go on.
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, p)) = plans.iter().find(|(d, _)| *d == donated) {
            plan::looked_up(true);
            return Ok(p.clone());
        }
        plan::looked_up(false);
        let p = Arc::new(plan::compile(self.trace.clone(), self.device, &donated, 0)?);
        plans.push((donated, p.clone()));
        Ok(p)
    }
}
