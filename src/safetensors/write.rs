//! Tensors to bytes.

use super::read::swapped;
use crate::base::error::{bail, err};
use crate::function::tree::named_leaves;
use crate::{DType, Error, Result, Tensor, Tree};
use safetensors::{Dtype, View, serialize};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes every tensor of a tree under its field path, replacing the file atomically.
///
/// # Errors
/// `Io` if it cannot be written; `Argument` if two tensors have one name; what computing a tensor reports. The old file stays then.
pub fn save<T: Tree>(path: impl AsRef<Path>, tree: &T) -> Result<()> {
    let mut map = BTreeMap::new();
    for (name, t) in named_leaves(tree) {
        if let Some((name, _)) = map.insert(name.clone(), t).map(|t| (name, t)) {
            bail!(Argument, "two tensors of the tree are named {name}");
        }
    }
    save_map(path, &map)
}

/// Writes named tensors, replacing the file atomically.
///
/// # Errors
/// As [`save`].
pub fn save_map(path: impl AsRef<Path>, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let path = path.as_ref();
    let bytes = encode(tensors)?;
    replace(path, &bytes).map_err(|e| err!(Io, "{}: {e}", path.display()))
}

/// A tensor whose elements are fetched when they are written. The format's trait has no room for an error, so it is kept aside.
struct Lazy<'a> {
    tensor: &'a Tensor,
    dtype: Dtype,
    failed: &'a RefCell<Option<Error>>,
}

impl View for Lazy<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.tensor.to_bytes().unwrap_or_else(|e| {
            self.failed.borrow_mut().get_or_insert(e);
            vec![0; self.data_len()]
        });
        Cow::Owned(swapped(&bytes, self.tensor.dtype()).unwrap_or(bytes))
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.dtype().size()
    }
}

pub(crate) fn encode(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    let failed = RefCell::new(None);
    let mut views = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let dtype = match tensor.dtype() {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::F64 => Dtype::F64,
            DType::I32 => Dtype::I32,
            DType::I64 => Dtype::I64,
            DType::U32 => Dtype::U32,
            DType::U8 => Dtype::U8,
            DType::Bool => Dtype::BOOL,
        };
        views.push((name, Lazy { tensor, dtype, failed: &failed }));
    }
    let bytes = serialize(views, None).map_err(|e| err!(Argument, "the tensors cannot be written: {e}"))?;
    match failed.into_inner() {
        Some(e) => Err(e),
        None => Ok(bytes),
    }
}

/// Writes beside the target, makes it durable, then renames: the target is never seen half written.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path names no file"));
    };
    // A link is written through, as any program that opens the path would.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = folder.join(hidden);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        // The rename itself lives in the folder, which only Unix lets one make durable.
        if cfg!(unix) {
            File::open(&folder)?.sync_all()?;
        }
        Ok(())
    };
    write().inspect_err(|e| {
        if e.kind() != std::io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(&temporary);
        }
    })
}
