//! Inputs: seeded, standard normal unless said.

use crate::Tensor;
use crate::base::Shape;

/// A small generator (xorshift): quick, and good enough for inputs whose values do not change the time.
struct Bits(u64);

impl Bits {
    fn new(seed: u64) -> Bits {
        Bits(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In 0..1, never 0.
    fn uniform(&mut self) -> f32 {
        ((self.next() >> 40) as f32 + 0.5) / (1u64 << 24) as f32
    }
}

/// Normal numbers (Box and Muller).
pub fn normal(n: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut bits = Bits::new(seed);
    let mut v = Vec::with_capacity(n + 1);
    while v.len() < n {
        let radius = (-2.0 * bits.uniform().ln()).sqrt() * scale;
        let angle = bits.uniform() * std::f32::consts::TAU;
        v.push(radius * angle.cos());
        v.push(radius * angle.sin());
    }
    v.truncate(n);
    v
}

/// A normal tensor.
pub fn randn(shape: impl Into<Shape>, seed: u64, scale: f32) -> Tensor {
    let shape = shape.into();
    Tensor::from_vec(normal(shape.numel(), seed, scale), shape)
}

/// Uniform numbers in 0..scale.
pub fn uniform(n: usize, seed: u64, scale: f32) -> Tensor {
    let mut bits = Bits::new(seed);
    Tensor::from_vec((0..n).map(|_| bits.uniform() * scale).collect(), [n])
}

/// Uniform integers in 0..below, I64.
pub fn ids(n: usize, below: u64, seed: u64) -> Tensor {
    let mut bits = Bits::new(seed);
    Tensor::from_vec((0..n).map(|_| ((bits.next() >> 33) % below) as i64).collect(), [n])
}

/// The weight `[inputs, outputs]` and the bias of a dense layer.
pub fn dense(inputs: usize, outputs: usize, seed: u64) -> [Tensor; 2] {
    [randn([inputs, outputs], seed, (inputs as f32).powf(-0.5)), randn([outputs], seed + 1000, 0.01)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let v = normal(100_001, 1, 1.0);
        let mean = v.iter().map(|&x| x as f64).sum::<f64>() / v.len() as f64;
        let var = v.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / v.len() as f64;
        assert_eq!(v.len(), 100_001);
        assert!(mean.abs() < 0.02 && (var - 1.0).abs() < 0.02, "{mean} {var}");
    }
}
