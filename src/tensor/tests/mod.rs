//! What PyTorch's goldens do not cover: index expressions, slips, dtypes, random numbers, printing.

mod indexing;
mod numbers;
mod shapes;

use super::Tensor;
use crate::{ErrorKind, catch};

/// The elements of an I64 tensor.
pub(super) fn ints(t: &Tensor) -> Vec<i64> {
    t.to_vec().unwrap()
}

/// The elements as f32, whatever the dtype.
pub(super) fn floats(t: &Tensor) -> Vec<f32> {
    t.cast(crate::DType::F32).to_vec().unwrap()
}

/// `0..n` in a shape.
fn counting(shape: impl Into<crate::Shape>) -> Tensor {
    let shape = shape.into();
    Tensor::arange(shape.numel()).reshape(&shape)
}

/// The kind and message of the slip that `f` makes.
#[track_caller]
pub(super) fn slip<R>(f: impl FnOnce() -> R) -> (ErrorKind, String) {
    match catch(f) {
        Ok(_) => panic!("no slip"),
        Err(e) => (e.kind(), e.message().to_string()),
    }
}
