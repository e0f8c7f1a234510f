//! Sorting along an axis.

use super::Tensor;
use super::compose::pass_poison;
use crate::base::error::{Result, bail};
use crate::base::{Axis, DType, Scalar};
use crate::trace::Op;

impl Tensor {
    /// Sorted along an axis, ascending and stable: `(values, I64 indices)`. NaN comes last.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn sort(&self, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.sorted(axis.into(), false, None)
    }

    /// As [`sort`](Tensor::sort), descending: NaN comes first.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn sort_descending(&self, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.sorted(axis.into(), true, None)
    }

    /// The I64 positions along an axis in ascending (or descending) order of the elements, stable. NaN counts as largest.
    ///
    /// # Panics
    /// If the axis is out of range.
    #[track_caller]
    pub fn argsort(&self, axis: impl Into<Axis>, descending: bool) -> Tensor {
        pass_poison!(self);
        match self.order(axis.into(), descending, "argsort") {
            Ok((_, order)) => order,
            Err(e) => Tensor::poisoned(e),
        }
    }

    /// The `k` largest along an axis, descending, and where they are: `(values, I64 indices)`.
    ///
    /// # Panics
    /// If the axis is out of range or `k` is more than its extent.
    #[track_caller]
    pub fn topk(&self, k: usize, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.sorted(axis.into(), true, Some(k))
    }

    /// The `k` smallest along an axis, ascending, and where they are: `(values, I64 indices)`.
    ///
    /// # Panics
    /// As [`topk`](Tensor::topk).
    #[track_caller]
    pub fn bottomk(&self, k: usize, axis: impl Into<Axis>) -> (Tensor, Tensor) {
        self.sorted(axis.into(), false, Some(k))
    }

    #[track_caller]
    fn sorted(&self, axis: Axis, descending: bool, k: Option<usize>) -> (Tensor, Tensor) {
        if self.0.poison().is_some() {
            return (self.clone(), self.clone());
        }
        match self.take_sorted(axis, descending, k) {
            Ok(both) => both,
            Err(e) => {
                let p = Tensor::poisoned(e);
                (p.clone(), p)
            }
        }
    }

    #[track_caller]
    fn take_sorted(&self, axis: Axis, descending: bool, k: Option<usize>) -> Result<(Tensor, Tensor)> {
        let (a, order) = self.order(axis, descending, if k.is_some() { "topk" } else { "sort" })?;
        let Some(a) = a else { return Ok((self.clone(), order)) };
        let n = self.shape()[a];
        let order = match k {
            Some(k) if k > n => bail!(Argument, "topk: {k} of axis {a} of extent {n} (shape {})", self.shape()),
            Some(k) => order.slice_axis(a, 0, k, 1),
            None => order,
        };
        if order.numel() == 0 {
            return Ok((self.slice_axis(a, 0, order.shape()[a], 1), order));
        }
        Ok((self.gather_axis(a, &order), order))
    }

    /// The axis (`None` for a 0-d tensor) and the sorting positions along it.
    #[track_caller]
    fn order(&self, axis: Axis, descending: bool, op: &str) -> Result<(Option<usize>, Tensor)> {
        let Some(a) = self.axis(axis, op)? else {
            let _on = self.device().enter();
            return Ok((None, Tensor::constant(Scalar::Int(0), DType::I64, self.shape())));
        };
        let last = self.rank() - 1;
        let order = Tensor::record(Op::ArgSort(descending), &[&self.move_axis(a, last)]).move_axis(last, a);
        Ok((Some(a), order))
    }
}
