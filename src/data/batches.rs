//! Examples in host memory, and the order in which they are handed out.

use super::{Philox, Prefetch};
use crate::base::error::bail;
use crate::{DType, Element, Result, Shape, Tensor};
use std::sync::Arc;

/// The rows of one array: native-endian bytes, row-major.
#[derive(Clone)]
struct Rows {
    bytes: Arc<Vec<u8>>,
    dtype: DType,
    shape: Shape,
}

impl Rows {
    fn from_tensor(t: &Tensor) -> Result<Rows> {
        if t.rank() == 0 {
            bail!(Shape, "a data set needs at least one axis: the examples");
        }
        Ok(Rows { bytes: Arc::new(t.to_bytes()?), dtype: t.dtype(), shape: t.shape().clone() })
    }

    fn from_vec<T: Element>(data: Vec<T>, shape: Shape) -> Result<Rows> {
        if shape.rank() == 0 || shape.numel() != data.len() {
            bail!(Shape, "{} elements do not fill the examples {shape}", data.len());
        }
        let size = T::DTYPE.size();
        let mut bytes = vec![0; data.len() * size];
        for (x, out) in data.iter().zip(bytes.chunks_exact_mut(size)) {
            x.to_scalar().write(T::DTYPE, out);
        }
        Ok(Rows { bytes: Arc::new(bytes), dtype: T::DTYPE, shape })
    }

    fn gather(&self, rows: &[usize]) -> Result<Tensor> {
        let width = self.shape[1..].iter().product::<usize>() * self.dtype.size();
        let mut bytes = Vec::with_capacity(rows.len() * width);
        for &r in rows {
            bytes.extend_from_slice(&self.bytes[r * width..(r + 1) * width]);
        }
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        Tensor::from_bytes(&bytes, self.dtype, shape)
    }

    fn all(&self) -> Result<Tensor> {
        Tensor::from_bytes(&self.bytes, self.dtype, &self.shape)
    }
}

/// Examples in host memory: row `i` of the inputs belongs to row `i` of the targets. Cheap to clone.
#[derive(Clone)]
pub struct Dataset {
    inputs: Rows,
    targets: Rows,
}

impl Dataset {
    /// From two tensors whose first axes have the same extent; their values are copied to the host.
    ///
    /// # Errors
    /// `Shape` if the extents differ; what reading a tensor reports.
    pub fn new(inputs: &Tensor, targets: &Tensor) -> Result<Dataset> {
        Dataset::from_rows(Rows::from_tensor(inputs)?, Rows::from_tensor(targets)?)
    }

    /// From two vectors, row-major.
    ///
    /// # Errors
    /// `Shape` if a vector does not fill its shape or the numbers of examples differ.
    pub fn from_vecs<X: Element, Y: Element>(
        inputs: Vec<X>,
        input_shape: impl Into<Shape>,
        targets: Vec<Y>,
        target_shape: impl Into<Shape>,
    ) -> Result<Dataset> {
        Dataset::from_rows(Rows::from_vec(inputs, input_shape.into())?, Rows::from_vec(targets, target_shape.into())?)
    }

    fn from_rows(inputs: Rows, targets: Rows) -> Result<Dataset> {
        if inputs.shape[0] != targets.shape[0] {
            bail!(Shape, "{} inputs but {} targets: every example needs both", inputs.shape[0], targets.shape[0]);
        }
        Ok(Dataset { inputs, targets })
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.inputs.shape[0]
    }

    /// True if there are no examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of all inputs: `[len, ..]`.
    pub fn input_shape(&self) -> &Shape {
        &self.inputs.shape
    }

    /// The shape of all targets: `[len, ..]`.
    pub fn target_shape(&self) -> &Shape {
        &self.targets.shape
    }

    /// All inputs, on the current device.
    ///
    /// # Errors
    /// `Memory` if the device cannot hold them.
    pub fn inputs(&self) -> Result<Tensor> {
        self.inputs.all()
    }

    /// All targets, on the current device.
    ///
    /// # Errors
    /// `Memory` if the device cannot hold them.
    pub fn targets(&self) -> Result<Tensor> {
        self.targets.all()
    }

    /// The examples at `rows`, in that order, on the current device.
    ///
    /// # Errors
    /// `Index` if a row is out of range, `Memory` if the device cannot hold them.
    pub fn get(&self, rows: &[usize]) -> Result<(Tensor, Tensor)> {
        if let Some(r) = rows.iter().find(|&&r| r >= self.len()) {
            bail!(Index, "row {r} is out of range for {} examples", self.len());
        }
        Ok((self.inputs.gather(rows)?, self.targets.gather(rows)?))
    }

    /// Its examples in batches of `size`, in order unless [`shuffled`](Batches::shuffle).
    ///
    /// # Errors
    /// `Argument` if `size` is 0.
    pub fn batches(&self, size: usize) -> Result<Batches> {
        if size == 0 {
            bail!(Argument, "a batch needs at least one example");
        }
        Ok(Batches { data: self.clone(), size, order: (0..self.len()).collect(), at: 0, drop_last: false })
    }
}

/// An iterator over a data set that gives `(inputs, targets)` batch by batch.
///
/// ```
/// use lazuli::data::Dataset;
/// let data = Dataset::from_vecs(vec![1f32, 2., 3., 4., 5.], [5, 1], vec![0i64, 1, 0, 1, 0], [5])?;
/// let sizes: Vec<usize> = data.batches(2)?.shuffle(7, 0).map(|b| Ok(b?.0.shape()[0])).collect::<lazuli::Result<_>>()?;
/// assert_eq!(sizes, [2, 2, 1]);
/// # Ok::<(), lazuli::Error>(())
/// ```
#[derive(Clone)]
pub struct Batches {
    data: Dataset,
    size: usize,
    order: Vec<usize>,
    at: usize,
    drop_last: bool,
}

impl Batches {
    /// Hands the examples out in an order that depends on `seed` and `epoch` alone.
    pub fn shuffle(mut self, seed: u64, epoch: u64) -> Batches {
        self.order.sort_unstable();
        Philox::new(seed, epoch).shuffle(&mut self.order);
        self
    }

    /// Leaves out a last batch that is not full.
    pub fn drop_last(mut self, yes: bool) -> Batches {
        self.drop_last = yes;
        self
    }

    /// The same batches, made by a thread that works ahead by up to `ahead` of them.
    pub fn prefetch(self, ahead: usize) -> Prefetch<(Tensor, Tensor)> {
        Prefetch::new(self, ahead)
    }
}

impl Iterator for Batches {
    type Item = Result<(Tensor, Tensor)>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.order.len() - self.at;
        if left == 0 || self.drop_last && left < self.size {
            return None;
        }
        let rows = &self.order[self.at..self.at + left.min(self.size)];
        self.at += rows.len();
        Some(self.data.get(rows))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.order.len() - self.at;
        let n = if self.drop_last { left / self.size } else { left.div_ceil(self.size) };
        (n, Some(n))
    }
}

impl ExactSizeIterator for Batches {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn data(n: usize) -> Dataset {
        Dataset::from_vecs((0..2 * n).map(|i| i as f32).collect(), [n, 2], (0..n as i64).collect(), [n]).unwrap()
    }

    fn rows(b: impl Iterator<Item = Result<(Tensor, Tensor)>>) -> Vec<Vec<i64>> {
        b.map(|b| {
            let (x, y) = b.unwrap();
            let y = y.to_vec::<i64>().unwrap();
            let want: Vec<f32> = y.iter().flat_map(|&i| [2.0 * i as f32, 2.0 * i as f32 + 1.0]).collect();
            assert_eq!(x.to_vec::<f32>().unwrap(), want);
            y
        })
        .collect()
    }

    #[test]
    fn order_and_last_batch() {
        let b = data(5).batches(2).unwrap();
        assert_eq!(b.len(), 3);
        assert_eq!(rows(b.clone()), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(rows(b.drop_last(true)), [vec![0, 1], vec![2, 3]]);
        assert_eq!(data(0).batches(2).unwrap().count(), 0);
    }

    #[test]
    fn seed_and_epoch_decide() {
        let b = |s, e| rows(data(50).batches(7).unwrap().shuffle(s, e));
        assert_eq!(b(1, 0), b(1, 0));
        assert_ne!(b(1, 0), b(1, 1));
        assert_ne!(b(1, 0), b(2, 0));
        let mut all: Vec<i64> = b(1, 0).concat();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        assert_eq!(b(3, 4), rows(data(50).batches(7).unwrap().shuffle(3, 4).prefetch(2)));
    }

    #[test]
    fn what_does_not_fit() {
        assert_eq!(data(3).batches(0).err().unwrap().kind(), ErrorKind::Argument);
        assert_eq!(data(3).get(&[3]).err().unwrap().kind(), ErrorKind::Index);
        assert_eq!(Dataset::from_vecs(vec![0f32; 2], [2], vec![0i64; 3], [3]).err().unwrap().kind(), ErrorKind::Shape);
        assert_eq!(Dataset::from_vecs(vec![0f32; 2], [3], vec![0i64; 3], [3]).err().unwrap().kind(), ErrorKind::Shape);
    }
}
