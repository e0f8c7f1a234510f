//! What every folder may use: dtypes and scalars, shapes and axes, errors and the user's call site.
//!
//! Nothing here knows of tensors, traces or devices.

pub mod device;
pub mod dtype;
pub mod error;
pub mod pack;
pub mod shape;

pub use device::{DeviceId, Storage, Value};
pub use dtype::{Category, DType, Element, Scalar};
pub use error::{Error, ErrorKind, Result, Site};
pub use shape::{Axes, Axis, Dims, Shape};
