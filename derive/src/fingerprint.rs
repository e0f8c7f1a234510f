//! Tells states of a crate's sources apart.

use std::path::{Path, PathBuf};

/// Version and a hash of all files under `src` and `shaders` of the crate being compiled.
pub fn of_sources() -> String {
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    ["src", "shaders"].iter().for_each(|folder| below(&root.join(folder), &mut files));
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy();
        fnv(&mut hash, name.as_bytes());
        fnv(&mut hash, &std::fs::read(&file).unwrap_or_default());
    }
    format!("{} {hash:016x}", var("CARGO_PKG_VERSION"))
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { below(&path, files) } else { files.push(path) }
    }
}

/// Another piece of what is hashed (FNV-1a).
fn fnv(hash: &mut u64, piece: &[u8]) {
    for b in piece.iter().chain(&[0]) {
        *hash = (*hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    }
}
