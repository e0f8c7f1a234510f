//! Plans that outlive the process: lowered schedules, and what the device's backend made of them, as [files].
//!
//! A file is used if it is whole, was written by the same build of this crate, for a device of the same identity, from the same trace; what
//! is in it is verified like a schedule just made. Else it is written anew. Builds with debug assertions keep no files unless
//! `LAZULI_CACHE_DIR` is set: they are for finding out what the engine does.

use super::compile::Target;
use crate::backend::{Artefacts, Backend, files};
use crate::base::pack::{Packer, Unpacker};
use crate::loops::packed;
use crate::loops::schedule::Program;
use crate::loops::verify;
use crate::trace::{Trace, key};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::SystemTime;

/// Begins every file.
const KIND: &[u8; 8] = b"lzlplan1";
/// Smaller traces are compiled sooner than a file is read.
const WORTHWHILE: usize = 16;
/// Bytes of files kept; the oldest go first.
const MOST: u64 = 256 << 20;

/// What tells builds of this crate apart.
const BUILD: &str = lazuli_derive::fingerprint!();

/// The file of a plan, whether it exists or not.
pub struct Entry {
    file: PathBuf,
    /// What the plan is a plan of.
    key: Vec<u8>,
}

impl Entry {
    /// The file for that trace on that device; `None` if none is kept.
    pub fn of(trace: &Trace, backend: &dyn Backend, target: Target, donated: &[bool]) -> Option<Entry> {
        if trace.insts.len() < WORTHWHILE || super::debugging_anything() {
            return None;
        }
        if cfg!(debug_assertions) && std::env::var_os("LAZULI_CACHE_DIR").is_none() {
            return None;
        }
        let folder = files::folder()?.join("plans");
        let mut p = Packer::default();
        for text in [BUILD, &backend.identity()] {
            p.bytes(text.as_bytes());
        }
        p.flag(target.fusing);
        p.size(target.alignment);
        p.size(target.limits.values);
        p.size(target.limits.operands);
        p.list(donated, |p, &d| p.flag(d));
        p.list(&key::of_trace(trace), |p, &w| p.number(w));
        let words: Vec<u64> = p.0.chunks(8).map(|c| c.iter().fold(0, |w, &b| w << 8 | u64::from(b))).collect();
        // Plans of one name are told apart by the key inside; the later one is kept.
        Some(Entry { file: folder.join(format!("{:016x}", key::hash(&words))), key: p.0 })
    }

    /// The plan, and what to prepare it with.
    pub fn read(&self) -> Option<(Program, Artefacts)> {
        let bytes = files::read(&self.file, KIND)?;
        let mut u = Unpacker(&bytes);
        if u.bytes()? != self.key {
            return None;
        }
        let program = packed::unpack(&mut u)?;
        let artefacts = u.list(|u| u.bytes().map(<[u8]>::to_vec))?;
        verify::verify_schedule(&program.schedule).ok()?;
        Some((program, Artefacts::given(artefacts)))
    }

    /// Keeps a plan. What goes wrong is logged: a plan is as good without its file.
    pub fn write(&self, program: &Program, artefacts: Artefacts) {
        let mut p = Packer::default();
        p.bytes(&self.key);
        p.0.append(&mut packed::pack(program));
        p.list(&artefacts.made(), |p, a| p.bytes(a));
        if let Err(e) = files::write(&self.file, KIND, &p.0) {
            log::warn!("a plan cannot be kept in {}: {e}", self.file.display());
        }
        static TIDY: Once = Once::new();
        TIDY.call_once(|| self.file.parent().into_iter().for_each(|dir| tidy(dir, MOST)));
    }
}

/// Removes the oldest files of a folder where all take more than `most` bytes.
fn tidy(dir: &Path, most: u64) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter_map(|e| {
            let e = e.ok()?;
            let about = e.metadata().ok()?;
            Some((about.modified().ok()?, about.len(), e.path()))
        })
        .collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|f| f.1).sum();
    for (_, n, file) in files {
        if bytes <= most {
            break;
        }
        // Another process may have been first.
        let _ = std::fs::remove_file(file);
        bytes -= n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_go_first() {
        let dir = std::env::temp_dir().join(format!("lazuli-tidy-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for n in 0..5u64 {
            let file = std::fs::File::create(dir.join(n.to_string())).unwrap();
            file.set_len(100).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000 - n)).unwrap();
        }
        tidy(&dir, 250);
        let mut left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["0", "1"]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
