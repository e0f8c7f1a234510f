//! Sums, means and maxima of bags of table rows.

use super::Tensor;
use super::compose::{compute_dtype, lowest, or_poison, pass_poison, slip_now};
use super::index::integer;
use super::{Lit, LitInt};
use crate::base::{DType, Scalar, Shape};
use crate::trace::{Op, ScatterMode};

/// Bags of at most so many rows are sums of as many terms.
const MAX_TERMS: usize = 16;

/// What [`Tensor::embedding_bag`] makes of the rows of a bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BagMode {
    /// The sum.
    Sum,
    /// The arithmetic mean.
    #[default]
    Mean,
    /// The largest, for each column. Where rows are equal they share the gradient.
    Max,
}

/// Options of [`Tensor::embedding_bag`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BagOptions {
    /// Mean by default.
    pub mode: BagMode,
    /// A factor for each id, for sums: in the shape of the ids.
    pub weights: Option<Tensor>,
    /// An id that does not count.
    pub padding: Option<usize>,
}

impl BagOptions {
    /// The mean of all rows of a bag.
    pub fn new() -> Self {
        Self::default()
    }
    /// What is made of the rows of a bag.
    pub fn mode(mut self, mode: BagMode) -> Self {
        self.mode = mode;
        self
    }
    /// A factor for each id (PyTorch's `per_sample_weights`).
    pub fn weights(mut self, weights: &Tensor) -> Self {
        self.weights = Some(weights.clone());
        self
    }
    /// An id that does not count (PyTorch's `padding_idx`).
    pub fn padding(mut self, id: usize) -> Self {
        self.padding = Some(id);
        self
    }
}

impl Tensor {
    /// Bags of this table's rows `[V, D]`: `ids` `[B, L]` has a bag in every row; or `ids` is `[N]`, and bag b has the ids from
    /// `offsets[b]` up to the next offset (the last one: up to the end). `[B, D]`; an empty bag is 0.
    ///
    /// # Panics
    /// If shapes or dtypes do not fit, or weights are given for another mode than the sum.
    #[track_caller]
    pub fn embedding_bag(&self, ids: &Tensor, offsets: Option<&Tensor>, options: &BagOptions) -> Tensor {
        pass_poison!(self, ids);
        let op = "embedding_bag";
        or_poison!(integer(op, ids));
        let _on = self.device().enter();
        if !self.dtype().is_float() {
            slip_now!(DType, "{op}: the table is {}, not a float: cast it first", self.dtype());
        }
        if self.rank() != 2 {
            slip_now!(Shape, "{op}: the table has shape {}, expected [V, D]", self.shape());
        }
        let count = ids.numel();
        let at = Tensor::iota_shape(&Shape::new(&[count]), 0, DType::I64);
        let (bag, bags) = match (ids.rank(), offsets) {
            (2, None) => (at.floor_divide(LitInt(ids.shape()[1].max(1) as i64)), ids.shape()[0]),
            (1, Some(o)) => {
                pass_poison!(o);
                or_poison!(integer(op, o));
                if o.rank() != 1 {
                    slip_now!(Shape, "{op}: offsets of shape {} are no vector", o.shape());
                }
                // An id lies in the last bag that starts at or before it.
                (o.cast(DType::I64).searchsorted(&at, true) - LitInt(1), o.numel())
            }
            _ => slip_now!(
                Shape,
                "{op}: ids of shape {} {} offsets: expected [B, L] without or [N] with",
                ids.shape(),
                if offsets.is_some() { "with" } else { "without" }
            ),
        };
        let flat = ids.flatten_all();
        let bag = match options.padding {
            // An update of no bag is dropped.
            Some(p) => bag.replace(&flat.eq(LitInt(p as i64)), -1.0),
            None => bag,
        };
        let out = Shape::new(&[bags, self.shape()[1]]);
        let zeros = Tensor::constant(Scalar::Int(0), self.dtype(), &out);
        if count == 0 || bags == 0 {
            return zeros;
        }
        let mut rows = self.embedding(&flat);
        if let Some(w) = &options.weights {
            pass_poison!(w);
            if options.mode != BagMode::Sum || w.shape() != ids.shape() {
                slip_now!(
                    Argument,
                    "{op}: weights of shape {} for ids {} and {:?}: they are for sums",
                    w.shape(),
                    ids.shape(),
                    options.mode
                );
            }
            rows *= w.flatten_all().unsqueeze(1);
        }
        if let ([_, len], true) = (&ids.shape()[..], options.mode != BagMode::Max) {
            // Bags of one length are an axis; a few ids are as many terms.
            let counts = options.padding.map(|p| ids.ne(LitInt(p as i64)));
            let sum = if *len <= MAX_TERMS && self.dtype() == compute_dtype(self.dtype()) {
                let terms = (0..*len as isize).map(|k| {
                    let row = self.embedding(&ids.select(1, k));
                    let row = match &options.weights {
                        Some(w) => row * w.select(1, k).unsqueeze(1),
                        None => row,
                    };
                    match &counts {
                        Some(c) => row.keep_where(&c.select(1, k).unsqueeze(-1), 0.0),
                        None => row,
                    }
                });
                terms.reduce(|a, b| a + b).unwrap_or(zeros)
            } else {
                let rows = rows.reshape_shape(&Shape::new(&[bags, *len, self.shape()[1]]));
                let rows = match &counts {
                    Some(c) => rows.keep_where(&c.unsqueeze(-1), 0.0),
                    None => rows,
                };
                rows.reduce_axes(crate::trace::Reduce::Sum, &[1])
            };
            return match counts {
                _ if options.mode == BagMode::Sum => sum,
                None => sum / Lit(*len as f64),
                Some(c) => {
                    let n = c.cast(DType::I64).reduce_axes(crate::trace::Reduce::Sum, &[1]);
                    sum / n.maximum(LitInt(1)).cast(self.dtype()).unsqueeze(1)
                }
            };
        }
        if options.mode == BagMode::Sum {
            return Tensor::record(Op::Scatter(ScatterMode::Add, 0), &[&zeros, &bag, &rows]);
        }
        let ones = at.ones_like();
        let sizes = Tensor::constant(Scalar::Int(0), DType::I64, &Shape::new(&[bags]));
        let sizes = Tensor::record(Op::Scatter(ScatterMode::Add, 0), &[&sizes, &bag, &ones]).unsqueeze(1);
        if options.mode == BagMode::Mean {
            let sum = Tensor::record(Op::Scatter(ScatterMode::Add, 0), &[&zeros, &bag, &rows]);
            return sum / sizes.maximum(LitInt(1)).cast(self.dtype());
        }
        let start = Tensor::constant(lowest(self.dtype()), self.dtype(), &out);
        let max = Tensor::record(Op::Scatter(ScatterMode::Max, 0), &[&start, &bag, &rows]);
        Tensor::where_(&sizes.gt(LitInt(0)), &max, Lit(0.0))
    }
}

#[cfg(test)]
mod tests {
    use crate::tensor::tests::{floats, slip};
    use crate::tensor::{BagMode, BagOptions};
    use crate::{ErrorKind, Tensor, tensor};

    #[test]
    fn bags() {
        let table = tensor![[1., 2.], [3., 4.], [5., 6.]];
        let (ids, offsets) = (tensor![0, 2, 1, 1], tensor![0, 1, 1]);
        let sum = BagOptions::new().mode(BagMode::Sum);
        assert_eq!(floats(&table.embedding_bag(&ids, Some(&offsets), &sum)), [1., 2., 0., 0., 11., 14.]);
        let max = BagOptions::new().mode(BagMode::Max);
        assert_eq!(floats(&table.embedding_bag(&ids, Some(&offsets), &max)), [1., 2., 0., 0., 5., 6.]);
        let mean = BagOptions::new().padding(2);
        assert_eq!(floats(&table.embedding_bag(&ids.reshape([2, 2]), None, &mean)), [1., 2., 3., 4.]);
        let weights = sum.clone().weights(&tensor![2., 1., 1., 0.]);
        assert_eq!(floats(&table.embedding_bag(&ids, Some(&offsets), &weights)), [2., 4., 0., 0., 8., 10.]);
    }

    #[test]
    fn slips() {
        let table = Tensor::zeros([3, 2]);
        assert_eq!(slip(|| table.embedding_bag(&tensor![0, 1], None, &BagOptions::new())).0, ErrorKind::Shape);
        assert_eq!(slip(|| table.embedding_bag(&tensor![0., 1.], None, &BagOptions::new())).0, ErrorKind::DType);
        let weights = BagOptions::new().weights(&tensor![1., 1.]);
        assert_eq!(slip(|| table.embedding_bag(&tensor![0, 1], Some(&tensor![0]), &weights)).0, ErrorKind::Argument);
    }
}
