//! Measuring: what a program or a machine does with its time.
//!
//! [`mod@bench`] holds the benchmark cases and the rules by which they are timed; the command-line tool runs them. [`explain_text`] shows
//! what becomes of a trace written as text. Nothing here is needed to compute with tensors.

pub mod bench;

use crate::plan::{self, Report};
use crate::trace::{Trace, verify};
use crate::{Device, Result};

/// Kernels, bytes, flops and emitted code of a trace in text form, on a device.
///
/// # Errors
/// `Format` if the text is not a trace, what the verifier says of one that breaks a rule, and what the device cannot do.
pub fn explain_text(text: &str, device: Device) -> Result<Report> {
    let trace: Trace = text.parse()?;
    verify::verify(&trace)?;
    plan::of_trace(&trace, device.backend())
}
