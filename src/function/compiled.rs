//! A function recorded once as a trace, and run again and again: what `jit` and programs share.

use super::region::{self, Body};
use crate::base::error::{bail, err};
use crate::base::{DType, DeviceId, Result, Scalar, Shape, Storage, Value};
use crate::plan;
use crate::tensor::{Tensor, default_draws, record};
use crate::trace::Trace;
use crate::trace::graph::{Input, Inputs};
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

/// What a function recorded.
pub(crate) struct Recorded<R> {
    /// Its result, on stand-ins.
    pub result: R,
    /// The tensors of the result, as `leaves` named them.
    pub outputs: Vec<Tensor>,
    /// Inputs: the arguments, if it draws the generator's key and counter, then what was captured.
    pub body: Body,
    /// Counters that a call draws from the default generator.
    pub draws: u64,
}

/// Records `f` on stand-ins for arguments of these types.
///
/// # Errors
/// A slip inside of `f`, its own error, a poisoned result.
pub(crate) fn record_once<R>(
    arguments: &[(DType, Shape)],
    device: DeviceId,
    f: impl FnOnce(Vec<Tensor>) -> Result<R>,
    leaves: impl Fn(&R) -> Vec<Tensor>,
) -> Result<Recorded<R>> {
    let mut inputs: Vec<Tensor> = arguments.iter().map(|(d, s)| Tensor::placeholder(*d, s.clone(), device)).collect();
    let number = || Tensor::placeholder(DType::I64, Shape::scalar(), device);
    let (key, counter) = (number(), number());
    let stand_ins = inputs.clone();
    let (result, draws) =
        record::in_transform(|| default_draws(key.clone(), counter.clone(), || crate::catch(|| f(stand_ins)).and_then(|r| r)));
    let result = result?;
    let outputs = leaves(&result);
    if let Some(e) = outputs.iter().find_map(|t| t.0.poison()) {
        return Err(e.clone());
    }
    if draws > 0 {
        inputs.extend([key, counter]);
    }
    let body = region::close(&inputs, &outputs)?;
    Ok(Recorded { result, outputs, body, draws })
}

/// What a recorded function captured, computed.
///
/// # Errors
/// What computing it reports; among that, that it is a stand-in that leaked out of another recording.
pub(crate) fn values(captured: &Inputs, device: DeviceId) -> Result<Vec<Value>> {
    let nodes: Vec<_> = captured.iter().filter_map(|i| if let Input::Node(n) = i { Some(n.clone()) } else { None }).collect();
    plan::evaluate(&nodes, plan::Keep::Recipe)?;
    captured
        .iter()
        .map(|i| match i {
            Input::Node(n) => match n.value.get() {
                Some(v) => v.clone(),
                None => Err(err!(Internal, "a captured tensor was not computed")),
            },
            Input::Number(n) => {
                let mut bytes = [0; 8];
                n.value().write(n.dtype, &mut bytes);
                let storage = crate::backend::of(device).upload(&bytes[..n.dtype.size()])?;
                Ok(Value { storage, dtype: n.dtype })
            }
        })
        .collect()
}

/// A trace with its plans.
pub(crate) struct Compiled {
    /// Inputs: the arguments, if `draws` the generator's key and counter, then what was captured.
    pub trace: Trace,
    pub device: DeviceId,
    captured: Vec<Value>,
    shapes: Vec<Shape>,
    draws: u64,
    /// Plans by which arguments they overwrite.
    plans: Mutex<Vec<(Vec<bool>, Arc<plan::Plan>)>>,
}

fn scalar_value(x: u64, device: DeviceId) -> Result<Arc<dyn Storage>> {
    crate::backend::of(device).upload(&x.to_ne_bytes())
}

impl Compiled {
    pub fn new(trace: Trace, captured: Vec<Value>, device: DeviceId, draws: u64) -> Compiled {
        let shapes = trace.outputs.iter().map(|&o| trace.shape(o).clone()).collect();
        Compiled { trace, device, captured, shapes, draws, plans: Mutex::new(Vec::new()) }
    }

    /// Runs it on arguments that have the types it was recorded for. Those to which the caller gives its only handle may be overwritten.
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    pub fn run(&self, arguments: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let site = Location::caller();
        let nodes: Vec<_> = arguments.iter().filter(|t| t.0.value.get().is_none()).map(|t| t.0.clone()).collect();
        if !nodes.is_empty() {
            plan::evaluate(&nodes, plan::Keep::Recipe)?;
            drop(nodes);
        }
        let values = arguments.iter().map(|t| t.value().cloned()).collect::<Result<Vec<_>>>()?;
        if let Some(v) = values.iter().find(|v| v.storage.device() != self.device) {
            let name = |d| crate::tensor::Device::from_id(d);
            bail!(Device, "an argument lives on {}, the recorded function on {}", name(v.storage.device()), name(self.device));
        }
        let mut donated: Vec<bool> = arguments
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
            leaves.extend([scalar_value(key, self.device)?, scalar_value(counter, self.device)?]);
        }
        leaves.extend(self.captured.iter().map(|v| v.storage.clone()));
        let params: &[Scalar] = &[];
        let storages = plan::execute(&plan, self.device, &leaves, params, self.shapes.len()).map_err(|f| f.error.at(site))?;
        let types = self.trace.outputs.iter().map(|&o| self.trace.dtype(o));
        let tensors = storages
            .into_iter()
            .zip(types)
            .zip(&self.shapes)
            .map(|((storage, dtype), shape)| Tensor::leaf(Value { storage, dtype }, shape.clone()));
        Ok(tensors.collect())
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
