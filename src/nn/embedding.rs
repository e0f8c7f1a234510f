//! Tables of vectors, and dropout.

use super::init;
use crate::{Tensor, Tree};

/// A table of vectors looked up by number.
#[derive(Tree, Clone)]
pub struct Embedding {
    /// `[entries, width]`.
    pub weight: Tensor,
}

impl Embedding {
    /// So many vectors of so many numbers, normally distributed.
    #[track_caller]
    pub fn new(entries: usize, width: usize) -> Embedding {
        Embedding { weight: init::normal([entries, width]) }
    }

    /// Integers `[..]` to vectors `[.., width]`.
    ///
    /// # Panics
    /// If `ids` does not hold integers.
    #[track_caller]
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        self.weight.embedding(ids)
    }
}

/// Zeroes elements at random while training, and scales the others up so that the mean stays (Srivastava et al., 2014).
#[derive(Tree, Clone)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// Each element is zeroed with probability `p`.
    ///
    /// # Panics
    /// If `p` is not in 0..=1.
    #[track_caller]
    pub fn new(p: f64) -> Dropout {
        assert!((0.0..=1.0).contains(&p), "a probability is in 0..=1, got {p}");
        Dropout { p }
    }

    /// Same shape; `x` itself unless `train`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        if train && self.p > 0.0 { x.dropout(self.p) } else { x.clone() }
    }
}
