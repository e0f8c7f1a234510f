//! Integration tests: everything through the public interface, in one binary so that it links once.
//!
//! - [`goldens`]: values and gradients against PyTorch's;
//! - [`oracle`]: every op and dtype on the device against the reference interpreter;
//! - [`random_programs`]: fused = unfused = interpreter;
//! - [`op_tables`]: tables of ops by dtype and by kernels, kept true;
//! - [`kernel_counts`]: what fuses into how many kernels;
//! - [`arena`]: how much memory a plan takes;
//! - [`behaviour`]: what a user may rely on, by name;
//! - [`compositions`]: random stacks of transforms;
//! - `wgpu`: the modules of that backend, and what only a graphics device can get wrong;
//! - [`serial`]: tests on process totals, which run one at a time.

mod arena;
mod behaviour;
mod compositions;
mod devices;
mod goldens;
mod kernel_counts;
mod op_tables;
mod oracle;
mod random_programs;
mod rng;
mod serial;
#[cfg(feature = "wgpu")]
mod wgpu;
