//! A folder that is written whole or not at all.

use crate::base::error::{bail, err};
use crate::{Error, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const WEIGHTS: &str = "weights.safetensors";
pub(super) const KERNELS: &str = "kernels";

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| err!(Io, "{}: {e}", path.display())
}

/// Makes the folder of these files, by their paths within it. An earlier export there is replaced, anything else is left alone.
///
/// # Errors
/// `Io` if something cannot be written, or the folder holds what is no export; what was there stays then.
pub(super) fn replace(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    // A link is written through.
    let dir = &fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let occupied = replaceable(dir)?;
    let made = beside(dir, "new")?;
    let done = fill(&made, files).and_then(|()| if occupied { exchange(&made, dir) } else { rename(&made, dir) });
    if done.is_err() {
        let _ = fs::remove_dir_all(&made);
    }
    done
}

/// Whether there is a folder that may go.
fn replaceable(dir: &Path) -> Result<bool> {
    match fs::metadata(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(failed(dir)(e)),
        Ok(m) if !m.is_dir() => bail!(Io, "{}: is a file, an export is a folder", dir.display()),
        Ok(_) => {}
    }
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(failed(dir))?;
    let own = |e: &fs::DirEntry| [MANIFEST, WEIGHTS, KERNELS].iter().any(|n| e.file_name() == *n);
    if let Some(other) = entries.iter().find(|e| !own(e)) {
        bail!(Io, "{}: holds {}, which is no part of an export: name another folder", dir.display(), other.file_name().display());
    }
    Ok(true)
}

/// A name beside the folder that nothing else has.
fn beside(dir: &Path, what: &str) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = dir.file_name() else { bail!(Argument, "{}: names no folder", dir.display()) };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{}.{what}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok(dir.with_file_name(hidden))
}

fn fill(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    fs::create_dir_all(dir.join(KERNELS)).map_err(failed(dir))?;
    files.iter().try_for_each(|(name, bytes)| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(failed(&path))
    })
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(failed(to))
}

/// Puts `made` where `dir` is, which goes.
fn exchange(made: &Path, dir: &Path) -> Result<()> {
    let old = beside(dir, "old")?;
    rename(dir, &old)?;
    if let Err(e) = rename(made, dir) {
        // What was there before is better than nothing.
        let _ = fs::rename(&old, dir);
        return Err(e);
    }
    fs::remove_dir_all(&old).map_err(failed(&old))
}
