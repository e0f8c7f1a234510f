//! Optimisers ([`Sgd`], [`Adam`], [`AdamW`], [`RmsProp`]), gradient clipping, learning-rate [`Schedule`]s, dynamic
//! loss scaling ([`GradScaler`]).
//!
//! An optimiser is a [`Tree`](crate::Tree): its state travels through `jit`, files and clones like a model. `step` records ordinary
//! operations; outside a transform it ends by computing every new tensor of the model and of the state in one plan, which cuts the
//! trace, so memory stays flat over any number of steps. A new learning rate never compiles anything.
//!
//! Changed are the floating-point tensors that are not frozen. Half-precision parameters are updated in F32, and so is their state
//! kept. If a step fails, model and state stay as they were.

mod adam;
mod clip;
mod params;
mod rmsprop;
mod scaler;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamW};
pub use clip::{clip_grad_norm, clip_grad_value};
pub use rmsprop::RmsProp;
pub use scaler::{GradScaler, Optimizer};
pub use schedule::Schedule;
pub use sgd::Sgd;

#[cfg(test)]
mod tests;
