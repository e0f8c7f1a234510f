//! Tensors as files of NumPy.

use lazuli::prelude::*;
use lazuli::{Error, ErrorKind};
use std::path::Path;

/// Writes a `.npy` file, version 1. BF16, which NumPy has not, is written as F32.
pub fn write(path: &Path, t: &Tensor) -> Result<()> {
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, format!("{}: {e}", path.display()));
    let t = if t.dtype() == DType::BF16 { t.cast(DType::F32) } else { t.clone() };
    let kind = match t.dtype() {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::F16 => "<f2",
        DType::F64 => "<f8",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::I64 => "<i8",
        _ => "<f4",
    };
    let extents: String = t.shape().iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({extents}), }}");
    // The elements begin at a multiple of 64 bytes.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding).chain(['\n']));
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(t.to_bytes()?);
    std::fs::write(path, file).map_err(io)
}
