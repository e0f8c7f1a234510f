//! What a user may rely on, one named test each.

mod attention;
mod batching;
mod control;
mod control_random;
mod decompositions;
mod derivatives;
mod errors;
mod fft;
mod jit;
mod large;
mod named;
mod numbers;
mod precision;
mod products;
mod recording;
mod threads;
mod transforms;

use lazuli::prelude::*;

/// A 0-d F32 tensor holding data.
fn scalar(x: f32) -> Tensor {
    Tensor::from_vec(vec![x], [])
}

fn vector(x: &[f32]) -> Tensor {
    Tensor::from_slice(x, [x.len()])
}

fn read(t: &Tensor) -> Vec<f32> {
    t.to_vec::<f32>().unwrap()
}

#[track_caller]
fn near(got: &Tensor, want: &[f32], tolerance: f32) {
    let got = read(got);
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() <= tolerance * (1.0 + w.abs())), "{got:?}, expected {want:?}");
}
