//! Random valid programs with inputs, to compare backends, passes and transforms on.
//!
//! A program can be compared across implementations only if its results do not hang on rounding. So every instruction is
//! evaluated as it is generated, once by the reference and twice with every float off by a few units in the last place; an instruction that
//! would be too large, or whose disturbed results stray too far, is not taken. Ops that jump (comparisons, roundings, casts to integers)
//! are only applied where their operand is exact (integers, or floats that every implementation computes alike) or stays clear of
//! the jump. What remains is a tolerance for each output ([`Program::check`]).
//!
//! Public for the integration tests only; not part of the crate's interface.

mod build;
mod stable;
#[cfg(test)]
mod tests;

use super::interp::{HostTensor, interpret};
use super::ir::Trace;
use crate::base::error::{Result, bail};
use crate::base::{DType, Scalar};

/// A random program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Valid, without dead regions, with at least one output.
    pub trace: Trace,
    /// One per input of the trace.
    pub inputs: Vec<HostTensor>,
    /// One per parameter.
    pub params: Vec<Scalar>,
    /// For each output, how far a result may be off, relative to 1 + |expected|; 0 where every implementation gives the same.
    pub tolerance: Vec<f64>,
}

/// A program of about `size` ops; the same for the same arguments.
pub fn random_program(seed: u64, size: usize) -> Program {
    build::program(seed, size)
}

/// [`random_program`], as parts.
pub fn random_trace(seed: u64, size: usize) -> (Trace, Vec<HostTensor>, Vec<Scalar>) {
    let p = random_program(seed, size);
    (p.trace, p.inputs, p.params)
}

impl Program {
    /// The outputs by the reference interpreter.
    ///
    /// # Panics
    /// Never for a generated program.
    pub fn expected(&self) -> Vec<HostTensor> {
        interpret(&self.trace, &self.inputs, &self.params).expect("generated programs are valid")
    }

    /// Compares outputs with the reference's.
    ///
    /// # Errors
    /// `Argument`, naming the first element that is off, with the program as text.
    pub fn check(&self, outputs: &[HostTensor]) -> Result<()> {
        let want = self.expected();
        if want.len() != outputs.len() {
            bail!(Argument, "{} outputs, expected {}\n{}", outputs.len(), want.len(), self.trace);
        }
        for (n, (have, want)) in outputs.iter().zip(&want).enumerate() {
            if have.dtype != want.dtype || have.shape != want.shape {
                bail!(Argument, "output {n} is {} {}, expected {} {}\n{}", have.dtype, have.shape, want.dtype, want.shape, self.trace);
            }
            for (i, (h, w)) in have.scalars().zip(want.scalars()).enumerate() {
                let (x, y) = (h.as_f64(), w.as_f64());
                let good = if have.dtype.is_float() { x == y || (x - y).abs() <= self.tolerance[n] * (1.0 + y.abs()) } else { h.same(w) };
                if !good {
                    let v = self.trace.outputs[n];
                    bail!(
                        Argument,
                        "output {n} ({v:?}), element {i}: {h:?}, expected {w:?} within {:e}\n{}",
                        self.tolerance[n],
                        self.trace
                    );
                }
            }
        }
        Ok(())
    }
}

/// How far results of a dtype may be off where they hang on rounding, relative to 1 + |expected|.
fn tolerance(d: DType) -> f64 {
    match d {
        DType::F64 => 1e-9,
        DType::F32 => 1e-3,
        DType::F16 => 0.03,
        DType::BF16 => 0.15,
        _ => 0.0,
    }
}

/// The relative error put on every inexact result when looking for instability: about eight units in the last place, a
/// half for the half types (which implementations compute in f32).
fn disturbance(d: DType) -> f64 {
    match d {
        DType::F64 => 1e-12,
        DType::F32 => 1e-6,
        DType::F16 => 5e-4,
        DType::BF16 => 4e-3,
        _ => 0.0,
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `0..n`.
    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// In `lo..=hi`.
    fn between(&mut self, lo: i64, hi: i64) -> i64 {
        lo + (self.bits() % (hi - lo + 1) as u64) as i64
    }

    fn percent(&mut self, p: usize) -> bool {
        self.below(100) < p
    }

    /// In `lo..hi`.
    fn float(&mut self, lo: f64, hi: f64) -> f64 {
        lo + (hi - lo) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}
