//! Between host memory and tensors: making them from Rust data, reading them back.

use super::{Device, Tensor};
use crate::base::error::{bail, err};
use crate::base::{DType, Element, Result, Scalar, Shape, Value};
use crate::plan;
use std::future::Future;

impl Tensor {
    /// From a vector, row-major. The dtype is the Rust type's.
    ///
    /// # Panics
    /// If the number of elements is not that of `shape`.
    #[track_caller]
    pub fn from_vec<T: Element>(data: Vec<T>, shape: impl Into<Shape>) -> Tensor {
        Tensor::from_slice(&data, shape)
    }

    /// From a slice, row-major. The dtype is the Rust type's.
    ///
    /// # Panics
    /// If the number of elements is not that of `shape`.
    #[track_caller]
    pub fn from_slice<T: Element>(data: &[T], shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if data.len() != shape.numel() {
            return Tensor::poisoned(err!(Shape, "{} elements do not fill shape {shape} ({} elements)", data.len(), shape.numel()));
        }
        match Tensor::from_bytes(&T::to_bytes(data), T::DTYPE, shape) {
            Ok(t) => t,
            Err(e) => Tensor::poisoned(e),
        }
    }

    /// From the bytes of elements of `dtype` (native endian, row-major) on the current device.
    ///
    /// # Errors
    /// `Shape` if the number of bytes is not that of `shape`, `Memory` if they do not fit, `DType` if a Bool byte is neither 0 nor 1.
    #[track_caller]
    pub fn from_bytes(bytes: &[u8], dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.numel().checked_mul(dtype.size()) != Some(bytes.len()) {
            bail!(Shape, "{} bytes do not hold {dtype} elements of shape {shape}", bytes.len());
        }
        if dtype == DType::Bool && bytes.iter().any(|&b| b > 1) {
            bail!(DType, "a bool element is neither 0 nor 1");
        }
        let storage = Device::current().backend().upload(bytes)?;
        Ok(Tensor::leaf(Value { storage, dtype }, shape))
    }

    /// The elements, row-major, as native-endian bytes of the tensor's dtype. Computes what is not computed yet; the recipe is kept,
    /// so a gradient can still be taken.
    ///
    /// # Errors
    /// What the device reports, or the slip a poisoned tensor carries.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let value = self.value()?;
        let mut bytes = vec![0; self.numel() * self.dtype().size()];
        self.device().backend().download(&*value.storage, &mut bytes)?;
        Ok(bytes)
    }

    /// The computed value.
    pub(crate) fn value(&self) -> Result<&Value> {
        if self.0.value.get().is_none() {
            if super::record::inside_transform() {
                bail!(
                    Argument,
                    "a host read inside a transform that records a function once ({} {}): return the tensor instead",
                    self.dtype(),
                    self.shape()
                );
            }
            plan::evaluate(std::slice::from_ref(&self.0), plan::Keep::Recipe)?;
        }
        match self.0.value.get() {
            Some(Ok(v)) => Ok(v),
            Some(Err(e)) => Err(e.clone()),
            None => bail!(Internal, "evaluation left no value"),
        }
    }

    /// The elements, row-major. Computes what is not computed yet; the recipe is kept, so a gradient can still be taken.
    ///
    /// # Errors
    /// `DType` if the tensor holds another type; else as [`to_bytes`](Tensor::to_bytes).
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let site = std::panic::Location::caller();
        if let Some(e) = self.0.poison() {
            return Err(e.clone());
        }
        if T::DTYPE != self.dtype() {
            return Err(err!(DType, "the tensor holds {}, not {}: cast it first, or read that type", self.dtype(), T::DTYPE).at(site));
        }
        let bytes = self.to_bytes().map_err(|e| e.at(site))?;
        Ok(T::from_bytes(&bytes))
    }

    /// The only element, converted to `T`.
    ///
    /// # Errors
    /// `Shape` if there is not exactly one; else as [`to_bytes`](Tensor::to_bytes).
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        let site = std::panic::Location::caller();
        if let Some(e) = self.0.poison() {
            return Err(e.clone());
        }
        if self.numel() != 1 {
            return Err(err!(Shape, "item: shape {} has {} elements, not one", self.shape(), self.numel()).at(site));
        }
        let bytes = self.to_bytes().map_err(|e| e.at(site))?;
        Ok(T::from_scalar(Scalar::read(self.dtype(), &bytes)))
    }

    /// The elements, row-major, without ever blocking the thread that polls on a device that works in the background.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    pub fn read<T: Element>(&self) -> impl Future<Output = Result<Vec<T>>> + Send + 'static {
        let this = self.clone();
        async move {
            if let Some(e) = this.0.poison() {
                return Err(e.clone());
            }
            if T::DTYPE != this.dtype() {
                bail!(DType, "the tensor holds {}, not {}: cast it first, or read that type", this.dtype(), T::DTYPE);
            }
            let reading = {
                let value = this.value()?;
                this.device().backend().read(value.storage.clone(), this.numel() * this.dtype().size())
            };
            Ok(T::from_bytes(&reading.await?))
        }
    }
}
