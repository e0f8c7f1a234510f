//! Files of compiled code, for the next process: in the folder that `LAZULI_CACHE_DIR` names, else the user's cache folder. A file is whole,
//! by its checksum, or nothing; several processes may write the same one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where files of compiled code are; `None` if nowhere: `LAZULI_CACHE_DIR` is set to nothing, or there is no such folder.
pub fn folder() -> Option<PathBuf> {
    let set = |v: &str| std::env::var_os(v).filter(|x| !x.is_empty()).map(PathBuf::from);
    match std::env::var_os("LAZULI_CACHE_DIR") {
        Some(d) if d.is_empty() => None,
        Some(d) => Some(PathBuf::from(d)),
        None if cfg!(target_os = "windows") => set("LOCALAPPDATA").map(|d| d.join("lazuli")),
        None if cfg!(target_os = "macos") => set("HOME").map(|d| d.join("Library/Caches/lazuli")),
        None => set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|d| d.join(".cache"))).map(|d| d.join("lazuli")),
    }
}

/// A checksum, against accidents.
pub fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The contents of a file, if it is whole and of that kind.
pub fn read(file: &Path, kind: &[u8; 8]) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(file).ok()?;
    let (sum, data) = bytes.strip_prefix(kind.as_slice())?.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != checksum(data) {
        return None;
    }
    bytes.drain(..kind.len() + 4);
    Some(bytes)
}

/// Writes a file of that kind, whole or not at all.
///
/// # Errors
/// What the system reports.
pub fn write(file: &Path, kind: &[u8; 8], data: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    // Of this process and thread alone until it has its name.
    let temporary = file.with_extension(format!("{}_{}.tmp", std::process::id(), NEXT.fetch_add(1, Relaxed)));
    std::fs::write(&temporary, [kind.as_slice(), &checksum(data).to_le_bytes(), data].concat())?;
    std::fs::rename(&temporary, file).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_nothing() {
        let dir = std::env::temp_dir().join(format!("lazuli-files-{}", std::process::id()));
        let file = dir.join("a");
        assert_eq!(read(&file, b"a kind 1"), None);
        write(&file, b"a kind 1", b"contents").unwrap();
        assert_eq!(read(&file, b"a kind 1").as_deref(), Some(&b"contents"[..]));
        assert_eq!(read(&file, b"a kind 2"), None);
        let whole = std::fs::read(&file).unwrap();
        for n in 0..whole.len() {
            std::fs::write(&file, &whole[..n]).unwrap();
            assert_eq!(read(&file, b"a kind 1"), None, "the first {n} bytes");
            let mut other = whole.clone();
            other[n] ^= 1;
            std::fs::write(&file, other).unwrap();
            assert_eq!(read(&file, b"a kind 1"), None, "byte {n} another");
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
