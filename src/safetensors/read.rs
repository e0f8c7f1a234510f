//! Bytes to tensors.

use crate::base::error::{bail, err};
use crate::function::tree::{from_leaves, named_leaves};
use crate::{DType, Error, ErrorKind, Result, Tensor, Tree};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Every tensor of a file, by name, on the current device.
///
/// Types the engine lacks are widened where nothing is lost: I8 and I16 become I32, U16 becomes U32, U64 becomes I64 if every value
/// fits.
///
/// # Errors
/// `Io` if the file cannot be read, `Format` if it is cut, foreign or hostile, `DType` if it holds a type that has no counterpart (float
/// types of 8 bits and fewer, complex numbers), `Memory` if the device cannot hold it.
pub fn load(path: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>> {
    let path = path.as_ref();
    bytes(path).and_then(|b| parse(&b)).map_err(|e| named(path, e))
}

/// As [`load`], from the bytes of a file.
///
/// # Errors
/// As [`load`].
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| err!(Format, "not a valid safetensors file: {e}"))?;
    file.iter().map(|(name, view)| Ok((name.to_owned(), tensor(name, &view)?))).collect()
}

/// A tree shaped like `like` with the tensors of a file, matched by field path. Each must have the shape of its counterpart; floats
/// are converted to the dtype of theirs. What is not a tensor is taken from `like`.
///
/// # Errors
/// As [`load`]; `Format` that names every missing, left over and misshapen tensor.
pub fn load_into<T: Tree>(path: impl AsRef<Path>, like: &T) -> Result<T> {
    let path = path.as_ref();
    let mut file = load(path)?;
    let mut wrong = Vec::new();
    let mut wanted = BTreeSet::new();
    let mut found = Vec::new();
    for (name, old) in named_leaves(like) {
        match file.get(&name) {
            None => wrong.push(format!("{name} is missing")),
            Some(new) if new.shape() != old.shape() => wrong.push(format!("{name} is {} instead of {}", new.shape(), old.shape())),
            Some(new) if new.dtype() != old.dtype() && !(new.dtype().is_float() && old.dtype().is_float()) => {
                wrong.push(format!("{name} is {} instead of {}", new.dtype(), old.dtype()));
            }
            Some(new) => found.push(new.cast(old.dtype())),
        }
        wanted.insert(name);
    }
    file.retain(|name, _| !wanted.contains(name));
    wrong.extend(file.keys().map(|name| format!("{name} is not in the model")));
    if !wrong.is_empty() {
        return Err(named(path, err!(Format, "the tensors do not fit: {}", wrong.join(", "))));
    }
    Ok(from_leaves(like, found))
}

fn named(path: &Path, e: Error) -> Error {
    Error::new(e.kind(), format!("{}: {}", path.display(), e.message()))
}

/// The whole file, but no more than it says it has.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        bail!(Io, "not a regular file");
    }
    let length = usize::try_from(about.len()).map_err(|_| err!(Memory, "{} bytes are more than this process can address", about.len()))?;
    let mut out = Vec::new();
    out.try_reserve_exact(length).map_err(|_| err!(Memory, "no memory for the file's {length} bytes"))?;
    file.take(about.len()).read_to_end(&mut out)?;
    Ok(out)
}

fn tensor(name: &str, view: &TensorView) -> Result<Tensor> {
    fn each<const N: usize, const M: usize>(bytes: &[u8], mut f: impl FnMut([u8; N]) -> [u8; M]) -> Vec<u8> {
        bytes.chunks_exact(N).flat_map(|b| f(std::array::from_fn(|i| b[i]))).collect()
    }
    let little = view.data();
    let mut fits = true;
    let (dtype, widened) = match view.dtype() {
        Dtype::F32 => (DType::F32, None),
        Dtype::F16 => (DType::F16, None),
        Dtype::BF16 => (DType::BF16, None),
        Dtype::F64 => (DType::F64, None),
        Dtype::I32 => (DType::I32, None),
        Dtype::I64 => (DType::I64, None),
        Dtype::U32 => (DType::U32, None),
        Dtype::U8 => (DType::U8, None),
        Dtype::BOOL => (DType::Bool, None),
        Dtype::I8 => (DType::I32, Some(each(little, |b| (i8::from_le_bytes(b) as i32).to_le_bytes()))),
        Dtype::I16 => (DType::I32, Some(each(little, |b| (i16::from_le_bytes(b) as i32).to_le_bytes()))),
        Dtype::U16 => (DType::U32, Some(each(little, |b| (u16::from_le_bytes(b) as u32).to_le_bytes()))),
        Dtype::U64 => (
            DType::I64,
            Some(each(little, |b| {
                fits &= u64::from_le_bytes(b) <= i64::MAX as u64;
                b
            })),
        ),
        other => bail!(DType, "tensor {name} holds {other}, which has no counterpart here"),
    };
    if !fits {
        bail!(DType, "tensor {name} holds U64 values beyond I64");
    }
    let native = swapped(widened.as_deref().unwrap_or(little), dtype);
    let bytes = native.as_deref().or(widened.as_deref()).unwrap_or(little);
    Tensor::from_bytes(bytes, dtype, view.shape()).map_err(|e| {
        let kind = if e.kind() == ErrorKind::Memory { ErrorKind::Memory } else { ErrorKind::Format };
        Error::new(kind, format!("tensor {name}: {}", e.message()))
    })
}

/// Between little-endian and the machine's order; `None` where they are the same.
pub(super) fn swapped(bytes: &[u8], dtype: DType) -> Option<Vec<u8>> {
    if cfg!(target_endian = "little") || dtype.size() == 1 {
        return None;
    }
    Some(bytes.chunks_exact(dtype.size()).flat_map(|b| b.iter().rev().copied()).collect())
}
