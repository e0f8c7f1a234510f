//! Measuring: what a program or a machine does with its time.
//!
//! [`bench`] holds the benchmark cases and the rules by which they are timed; the command-line tool runs them.
//! Nothing here is needed to compute with tensors.

pub mod bench;
