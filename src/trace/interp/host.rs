//! Values in host memory, at full width.

use crate::base::error::{Result, bail};
use crate::base::{DType, Element, Scalar, Shape};

/// A host value: elements in row-major order.
///
/// Equality is IEEE's, so NaN differs from NaN; [`same`](HostTensor::same) compares bits.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Element type; every element of `data` is a value of it.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
    /// The elements, in the variant of the dtype's category.
    pub data: HostData,
}

/// Elements by category.
#[derive(Clone, Debug, PartialEq)]
pub enum HostData {
    /// Of a float dtype.
    Float(Vec<f64>),
    /// Of an integer dtype.
    Int(Vec<i64>),
    /// Of Bool.
    Bool(Vec<bool>),
}

impl HostTensor {
    /// From scalars, each cast to `dtype`. The count must be the shape's.
    pub fn from_scalars(dtype: DType, shape: Shape, values: impl IntoIterator<Item = Scalar>) -> HostTensor {
        let values = values.into_iter().map(|s| s.cast(dtype));
        let data = if dtype.is_float() {
            HostData::Float(values.map(Scalar::as_f64).collect())
        } else if dtype.is_int() {
            HostData::Int(values.map(Scalar::as_i64).collect())
        } else {
            HostData::Bool(values.map(Scalar::as_bool).collect())
        };
        let t = HostTensor { dtype, shape, data };
        assert_eq!(t.numel(), t.shape.numel(), "{} elements for shape {}", t.numel(), t.shape);
        t
    }

    /// `value` in every element.
    pub fn full(dtype: DType, shape: Shape, value: Scalar) -> HostTensor {
        let n = shape.numel();
        HostTensor::from_scalars(dtype, shape, std::iter::repeat_n(value, n))
    }

    /// From elements of a Rust type.
    ///
    /// # Errors
    /// `Shape` if their number is not the shape's.
    pub fn from_slice<T: Element>(shape: impl Into<Shape>, values: &[T]) -> Result<HostTensor> {
        let shape = shape.into();
        if values.len() != shape.numel() {
            bail!(Shape, "{} elements for shape {shape}", values.len());
        }
        Ok(HostTensor::from_scalars(T::DTYPE, shape, values.iter().map(|v| v.to_scalar())))
    }

    /// From elements in memory (native endian).
    ///
    /// # Errors
    /// `Shape` if the number of bytes is not what dtype and shape ask for.
    pub fn from_bytes(dtype: DType, shape: Shape, bytes: &[u8]) -> Result<HostTensor> {
        if Some(bytes.len()) != shape.numel().checked_mul(dtype.size()) {
            bail!(Shape, "{} bytes for {dtype} {shape}", bytes.len());
        }
        Ok(HostTensor::from_scalars(dtype, shape, bytes.chunks_exact(dtype.size()).map(|b| Scalar::read(dtype, b))))
    }

    /// The elements in memory (native endian).
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = self.dtype.size();
        let mut out = vec![0; self.numel() * size];
        for (i, b) in out.chunks_exact_mut(size).enumerate() {
            self.get(i).write(self.dtype, b);
        }
        out
    }

    /// The elements as the nearest values of a Rust type.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        self.scalars().map(T::from_scalar).collect()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        match &self.data {
            HostData::Float(v) => v.len(),
            HostData::Int(v) => v.len(),
            HostData::Bool(v) => v.len(),
        }
    }

    /// The element at that place of the row-major order.
    pub fn get(&self, i: usize) -> Scalar {
        match &self.data {
            HostData::Float(v) => Scalar::Float(v[i]),
            HostData::Int(v) => Scalar::Int(v[i]),
            HostData::Bool(v) => Scalar::Bool(v[i]),
        }
    }

    /// All elements.
    pub fn scalars(&self) -> impl Iterator<Item = Scalar> + '_ {
        (0..self.numel()).map(|i| self.get(i))
    }

    /// True if dtype, shape and every element's value are the same: -0 differs from 0, any NaN equals any NaN.
    pub fn same(&self, other: &HostTensor) -> bool {
        let eq = |a: Scalar, b: Scalar| a.same(b) || (a.as_f64().is_nan() && b.as_f64().is_nan());
        self.dtype == other.dtype && self.shape == other.shape && self.scalars().zip(other.scalars()).all(|(a, b)| eq(a, b))
    }

    /// The elements at `places`, in a new shape.
    pub(super) fn take(&self, shape: Shape, places: &[usize]) -> HostTensor {
        let data = match &self.data {
            HostData::Float(v) => HostData::Float(places.iter().map(|&p| v[p]).collect()),
            HostData::Int(v) => HostData::Int(places.iter().map(|&p| v[p]).collect()),
            HostData::Bool(v) => HostData::Bool(places.iter().map(|&p| v[p]).collect()),
        };
        HostTensor { dtype: self.dtype, shape, data }
    }

    /// Replaces one element by a value of the same dtype.
    pub(crate) fn set(&mut self, i: usize, value: Scalar) {
        match &mut self.data {
            HostData::Float(v) => v[i] = value.as_f64(),
            HostData::Int(v) => v[i] = value.as_i64(),
            HostData::Bool(v) => v[i] = value.as_bool(),
        }
    }
}
