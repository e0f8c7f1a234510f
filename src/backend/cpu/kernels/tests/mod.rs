//! Every kernel on every instruction set this processor has, against references of one element.

mod accuracy;
mod pieces;
mod speed;
mod supers;
mod table;

use super::{Isa, detect};

/// The instruction sets to test.
pub(super) fn isas() -> Vec<Isa> {
    match detect() {
        Isa::Plain => vec![Isa::Plain],
        Isa::Avx2 => vec![Isa::Plain, Isa::Avx2],
        Isa::Avx512 => vec![Isa::Plain, Isa::Avx2, Isa::Avx512],
    }
}

/// A small generator of test data (SplitMix64).
pub(super) struct Rng(pub(super) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Floats at which functions have their special cases.
const EDGES: [f64; 22] = [
    0.0,
    1.0,
    0.5,
    2.0,
    3.0,
    1.5,
    -1.0,
    -0.5,
    -2.0,
    -3.0,
    -2.5,
    -0.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1e-45,
    -1e-45,
    1.1754942e-38,
    f32::MAX as f64,
    f32::MIN as f64,
    88.72284,
    16777217.0,
];
