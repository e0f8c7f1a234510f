//! Programs: a function recorded once for arguments of given types, that can be printed, saved, loaded and run without the code it came from.
//!
//! [`Program::new`] records, [`Program::run`] runs; [`Program::save`] and [`Program::load`] are in `file`, the text form in `text`; `export`
//! writes its kernels for engines without this crate. What a program captured (tensors its function took from outside) travels with it as
//! named *weights*; numbers become constants of the trace.
//!
//! Invariants: the inputs of the trace are the arguments, then, if the program draws random numbers, the default generator's key and counter,
//! then the weights; every name belongs to one of these or to an output. A program read from a file has been verified and keeps the same
//! rules.

#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
mod export;
mod file;
#[cfg(test)]
mod tests;
mod text;

use crate::base::error::bail;
use crate::base::{DeviceId, Scalar, Value};
use crate::function::compiled::{Compiled, Recorded, record_once};
use crate::function::graph_transform::{Captured, Known};
use crate::function::tree::{leaves, named_leaves};
use crate::function::{Outcome, Tree};
use crate::tensor::record;
use crate::trace::graph::Input;
use crate::trace::{Args, Op, Trace, ValueId, verify};
use crate::{DType, Device, Result, Shape, Tensor};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::OnceLock;

#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use export::Target;

/// The type of an argument: element type and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
}

impl Spec {
    /// Of that element type and shape.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Spec {
        Spec { dtype, shape: shape.into() }
    }
}

impl<S: Into<Shape>> From<(DType, S)> for Spec {
    fn from((dtype, shape): (DType, S)) -> Spec {
        Spec::new(dtype, shape)
    }
}

impl From<&Tensor> for Spec {
    fn from(t: &Tensor) -> Spec {
        Spec::new(t.dtype(), t.shape())
    }
}

impl From<Tensor> for Spec {
    fn from(t: Tensor) -> Spec {
        Spec::from(&t)
    }
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// A function as data: a trace with names for its inputs and outputs, and the weights it captured.
///
/// Printing shows its text form, which reads back as an equal program (`parse(print(p)) == p`), given the weights.
///
/// ```
/// use lazuli::prelude::*;
/// use lazuli::{Program, Spec};
/// let w = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0], [2, 2]);
/// let p = Program::new(|x: &[Tensor]| x[0].matmul(&w).relu() * 0.5, &[Spec::new(DType::F32, [3, 2])])?;
/// assert!(p.to_string().contains("dot"));
/// let path = std::env::temp_dir().join(format!("program-{}.lzl", std::process::id()));
/// p.save(&path)?;
/// let q = Program::load(&path)?;
/// # std::fs::remove_file(&path)?;
/// assert_eq!(p, q);
/// let y = q.run(&[Tensor::ones([3, 2])])?;
/// assert_eq!(y[0].to_vec::<f32>()?, [2.0, 3.0, 2.0, 3.0, 2.0, 3.0]);
/// # Ok::<(), lazuli::Error>(())
/// ```
pub struct Program {
    trace: Trace,
    inputs: Vec<String>,
    outputs: Vec<String>,
    weights: Vec<(String, Tensor)>,
    /// Counters that a run draws from the default generator.
    draws: u64,
    compiled: OnceLock<Compiled>,
}

impl Program {
    /// Records `f` for arguments of these types: [`Spec`]s, `(dtype, shape)` pairs, or tensors to take the types of. The arguments are named
    /// `x0`, `x1`.., outputs by their place in the tree that `f` returns.
    ///
    /// # Errors
    /// What `f` returns as an error, a slip inside of it, a host read inside of it (`item`, `to_vec`), what computing a captured tensor
    /// reports.
    pub fn new<O: Outcome, S: Clone + Into<Spec>>(f: impl Fn(&[Tensor]) -> O, specs: &[S]) -> Result<Program> {
        let specs: Vec<Spec> = specs.iter().map(|s| s.clone().into()).collect();
        let names = (0..specs.len()).map(|i| format!("x{i}")).collect();
        Program::record(names, &specs, |x| f(&x).into_result())
    }

    /// Records `f` for an argument like `example`: its tensors, named by their paths, are the program's arguments.
    ///
    /// # Errors
    /// As [`Program::new`].
    pub fn of<T: Tree, O: Outcome>(f: impl Fn(&T) -> O, example: &T) -> Result<Program> {
        let (names, specs): (Vec<String>, Vec<Spec>) = named_leaves(example).into_iter().map(|(n, t)| (n, Spec::from(&t))).unzip();
        if let Some(e) = leaves(example).iter().find_map(|t| t.0.poison()) {
            return Err(e.clone());
        }
        Program::record(names, &specs, |x| {
            let mut x = x.into_iter();
            let filled = crate::function::tree::map_tensors(example, |t, _| x.next().unwrap_or_else(|| t.clone()));
            f(&filled).into_result()
        })
    }

    fn record<R: Tree>(inputs: Vec<String>, specs: &[Spec], f: impl FnOnce(Vec<Tensor>) -> Result<R>) -> Result<Program> {
        let device = Device::current().0;
        let types: Vec<_> = specs.iter().map(|s| (s.dtype, s.shape.clone())).collect();
        let Recorded { result, body, draws, .. } = record_once(&types, device, f, leaves)?;
        let outputs = named_leaves(&result).into_iter().map(|(n, _)| n).collect();
        let first = specs.len() + if draws > 0 { 2 } else { 0 };
        // Numbers taken from outside become constants, tensors weights.
        let mut trace = Trace::new();
        let mut weights = Vec::new();
        let mut map: Vec<ValueId> = Vec::with_capacity(body.trace.insts.len());
        for inst in &body.trace.insts {
            let v = match inst.op {
                Op::Input(n) => match (n as usize).checked_sub(first).map(|k| &body.captured[k]) {
                    Some(Input::Number(x)) => trace.constant(x.value(), inst.dtype, &inst.shape),
                    Some(Input::Node(n)) => {
                        weights.push((format!("w{}", weights.len()), Tensor(n.clone())));
                        trace.input(inst.dtype, inst.shape.clone())
                    }
                    None => trace.input(inst.dtype, inst.shape.clone()),
                },
                _ => {
                    let args: Args = inst.args.iter().map(|a| map[a.index()]).collect();
                    trace.push_typed(inst.op.clone(), &args, inst.dtype, inst.shape.clone(), inst.site)
                }
            };
            map.push(v);
        }
        trace.outputs = body.trace.outputs.iter().map(|o| map[o.index()]).collect();
        let nodes: Vec<_> = weights.iter().map(|w| w.1.0.clone()).collect();
        crate::plan::evaluate(&nodes, crate::plan::Keep::Recipe)?;
        Program::from_parts(trace, inputs, outputs, weights, draws)
    }

    /// A program of a trace that takes all of its inputs as arguments.
    ///
    /// # Errors
    /// `Argument` if the trace has params; what the verifier says of one that breaks a rule.
    pub fn from_trace(trace: Trace) -> Result<Program> {
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect();
        let (inputs, outputs) = (names("x", trace.inputs.len()), names("y", trace.outputs.len()));
        verify::verify(&trace)?;
        Program::from_parts(trace, inputs, outputs, Vec::new(), 0)
    }

    /// Checks that the parts belong together.
    fn from_parts(trace: Trace, inputs: Vec<String>, outputs: Vec<String>, weights: Vec<(String, Tensor)>, draws: u64) -> Result<Program> {
        if !trace.params.is_empty() {
            bail!(Argument, "a program's trace has no params: make them inputs");
        }
        let hidden = if draws > 0 { 2 } else { 0 };
        if trace.inputs.len() != inputs.len() + hidden + weights.len() || trace.outputs.len() != outputs.len() {
            bail!(
                Format,
                "the trace has {} inputs and {} outputs; named are {} arguments, {} weights, {} outputs (random numbers: {})",
                trace.inputs.len(),
                trace.outputs.len(),
                inputs.len(),
                weights.len(),
                outputs.len(),
                if draws > 0 { "two inputs more" } else { "none" }
            );
        }
        for &i in &trace.inputs[inputs.len()..inputs.len() + hidden] {
            if trace.dtype(i) != DType::I64 || trace.shape(i).rank() != 0 {
                bail!(Format, "the random numbers' key and counter are 0-d i64, not {} {}", trace.dtype(i), trace.shape(i));
            }
        }
        for (&i, (name, w)) in trace.inputs[inputs.len() + hidden..].iter().zip(&weights) {
            if trace.dtype(i) != w.dtype() || trace.shape(i) != w.shape() {
                bail!(Format, "weight {name} is {} {}, the trace wants {} {}", w.dtype(), w.shape(), trace.dtype(i), trace.shape(i));
            }
        }
        let mut names: Vec<&String> = weights.iter().map(|w| &w.0).collect();
        names.sort_unstable();
        if let Some(w) = names.windows(2).find(|w| w[0] == w[1]) {
            bail!(Format, "two weights are named {}", w[0]);
        }
        Ok(Program { trace, inputs, outputs, weights, draws, compiled: OnceLock::new() })
    }

    /// What it computes.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Names and types of the arguments.
    pub fn inputs(&self) -> Vec<(&str, Spec)> {
        self.inputs.iter().zip(&self.trace.inputs).map(|(n, &i)| (n.as_str(), self.spec(i))).collect()
    }

    /// Names and types of the results.
    pub fn outputs(&self) -> Vec<(&str, Spec)> {
        self.outputs.iter().zip(&self.trace.outputs).map(|(n, &o)| (n.as_str(), self.spec(o))).collect()
    }

    /// The tensors it captured, by name.
    pub fn weights(&self) -> BTreeMap<String, Tensor> {
        self.weights.iter().cloned().collect()
    }

    fn spec(&self, v: ValueId) -> Spec {
        Spec::new(self.trace.dtype(v), self.trace.shape(v))
    }

    /// Runs it on arguments of the types it was recorded for; they are kept. It is compiled once, at the first run. Inside a transform it is
    /// recorded like the function it came from, so it can be differentiated and batched.
    ///
    /// # Errors
    /// `Argument`, `DType` or `Shape` if the arguments are not of its types; what the device reports.
    #[track_caller]
    pub fn run<T: Borrow<Tensor>>(&self, arguments: &[T]) -> Result<Vec<Tensor>> {
        let site = Location::caller();
        if arguments.len() != self.inputs.len() {
            bail!(Argument, "the program takes {} arguments ({}), got {}", self.inputs.len(), self.inputs.join(", "), arguments.len());
        }
        let arguments: Vec<Tensor> = arguments.iter().map(|t| t.borrow().clone()).collect();
        for ((name, want), t) in self.inputs().into_iter().zip(&arguments) {
            if let Some(e) = t.0.poison() {
                return Err(e.clone());
            }
            if t.dtype() != want.dtype {
                bail!(DType, "argument {name} is {} {}, the program takes {want}", t.dtype(), t.shape());
            }
            if *t.shape() != want.shape {
                bail!(Shape, "argument {name} is {} {}, the program takes {want}", t.dtype(), t.shape());
            }
        }
        if record::inside_transform() {
            return self.record_on(&arguments, site);
        }
        let device = arguments.first().map_or_else(|| Device::current().0, |t| t.0.device);
        let compiled = match self.compiled.get() {
            Some(c) => c,
            None => {
                let c = self.compile(device)?;
                self.compiled.get_or_init(|| c)
            }
        };
        if compiled.device == device { compiled.run(arguments) } else { self.compile(device)?.run(arguments) }
    }

    fn compile(&self, device: DeviceId) -> Result<Compiled> {
        let on = |t: &Tensor| -> Result<Value> { t.to_device(&Device::from_id(device)).value().cloned() };
        let weights = self.weights.iter().map(|w| on(&w.1)).collect::<Result<Vec<_>>>()?;
        Ok(Compiled::new(self.trace.clone(), weights, device, self.draws))
    }

    /// Records the trace on these arguments.
    fn record_on(&self, arguments: &[Tensor], site: crate::base::Site) -> Result<Vec<Tensor>> {
        if self.draws > 0 {
            bail!(Argument, "a program that draws random numbers cannot run inside a transform: give it the numbers as an argument");
        }
        let mut known: Vec<Option<Known>> = vec![None; self.trace.insts.len()];
        for (&i, t) in self.trace.inputs.iter().zip(arguments.iter().chain(self.weights.iter().map(|w| &w.1))) {
            known[i.index()] = Some(Known::Node(t.0.clone()));
        }
        let mut c = Captured { trace: self.trace.clone(), known, params: Vec::<Scalar>::new() };
        Ok(c.record(&self.trace.outputs, site))
    }
}

impl Clone for Program {
    fn clone(&self) -> Program {
        Program {
            trace: self.trace.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            weights: self.weights.clone(),
            draws: self.draws,
            compiled: OnceLock::new(),
        }
    }
}

/// The same trace, names, and bits of the weights.
impl PartialEq for Program {
    fn eq(&self, o: &Program) -> bool {
        let same = |(a, b): (&(String, Tensor), &(String, Tensor))| {
            a.0 == b.0 && a.1.dtype() == b.1.dtype() && matches!((a.1.to_bytes(), b.1.to_bytes()), (Ok(x), Ok(y)) if x == y)
        };
        self.trace == o.trace
            && self.inputs == o.inputs
            && self.outputs == o.outputs
            && self.draws == o.draws
            && self.weights.len() == o.weights.len()
            && self.weights.iter().zip(&o.weights).all(same)
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
