//! Programs in files. A name that ends in `.txt` is written as text, with the weights beside it in `NAME.safetensors`; any other in binary
//! form, one file with everything:
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | `89 4c 5a 4c 0d 0a 1a 0a`: what a transfer as text would break |
//! | 4 | version |
//! | 8, 8, 8 | bytes of the text, of its compressed form, of the weights |
//! | .. | the text form, deflated |
//! | .. | the weights, a whole safetensors file (none: no bytes) |
//! | 4 | CRC-32 of all before |
//!
//! Numbers are little-endian. One grammar serves both forms, so an op has one place where it is written and one where it is verified.

use super::Program;
use super::text::{self, VERSION, checksum};
use crate::base::error::{bail, err};
use crate::{Error, Result, Tensor, safetensors};
use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

pub(super) const MAGIC: [u8; 8] = [0x89, b'L', b'Z', b'L', b'\r', b'\n', 0x1a, b'\n'];
/// Bytes before the compressed text.
const FRONT: usize = 8 + 4 + 3 * 8;
/// No deflate stream expands further.
const MOST_EXPANSION: u64 = 1032;

impl Program {
    /// Writes the program and its weights, replacing the file atomically: in binary form, or, if the name ends in `.txt`, as text with the
    /// weights beside it in `NAME.safetensors`.
    ///
    /// # Errors
    /// `Io` if it cannot be written; the old file stays then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write = |path: &Path, bytes: &[u8]| safetensors::replace(path, bytes).map_err(|e| err!(Io, "{}: {e}", path.display()));
        if !is_text(path) {
            return write(path, &self.to_bytes()?);
        }
        let weights = self.weight_bytes()?;
        if let Some(bytes) = &weights {
            write(&beside(path), bytes)?;
        }
        write(path, self.text(weights.as_deref().map(checksum)).as_bytes())
    }

    /// Reads what [`save`](Program::save) wrote, in either form, on the current device.
    ///
    /// # Errors
    /// `Io` if it cannot be read; `Format` if it is cut, changed, foreign, or written by a newer version.
    pub fn load(path: impl AsRef<Path>) -> Result<Program> {
        let path = path.as_ref();
        let named = |e: Error| Error::new(e.kind(), format!("{}: {}", path.display(), e.message()));
        let bytes = safetensors::bytes(path).map_err(named)?;
        if !bytes.starts_with(text::HEAD.as_bytes()) {
            return Program::from_bytes(&bytes).map_err(named);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| named(err!(Format, "not valid UTF-8")))?;
        let parsed = text::parse(text).map_err(named)?;
        let mut weights = None;
        if let Some(want) = parsed.sum {
            let bytes = safetensors::bytes(&beside(path)).map_err(|e| named(err!(Io, "{}: {}", beside(path).display(), e.message())))?;
            if checksum(&bytes) != want {
                return Err(named(err!(Format, "the weights in {} are not those it was saved with", beside(path).display())));
            }
            weights = Some(bytes);
        }
        with_weights(parsed, weights.as_deref()).map_err(named)
    }

    /// The binary form.
    ///
    /// # Errors
    /// What reading a weight reports.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let text = self.text(None);
        let mut packed = Vec::new();
        DeflateEncoder::new(text.as_bytes(), Compression::default()).read_to_end(&mut packed)?;
        let weights = self.weight_bytes()?.unwrap_or_default();
        let mut out = Vec::with_capacity(FRONT + packed.len() + weights.len() + 4);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        for n in [text.len(), packed.len(), weights.len()] {
            out.extend((n as u64).to_le_bytes());
        }
        out.extend(packed);
        out.extend(weights);
        let sum = checksum(&out);
        out.extend(sum.to_le_bytes());
        Ok(out)
    }

    /// From the binary form.
    ///
    /// # Errors
    /// `Format`: cut, changed, foreign, or of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Program> {
        if bytes.len() < 12 || bytes[..8] != MAGIC {
            bail!(Format, "not a program: it begins with neither form's mark");
        }
        let (front, content) = bytes.split_at(bytes.len().min(FRONT));
        let number = |at: usize| front.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let version = u32::from_le_bytes([front[8], front[9], front[10], front[11]]);
        if version > VERSION {
            bail!(Format, "written by a newer version: form {version}, this one reads up to {VERSION}");
        }
        if version != VERSION {
            bail!(Format, "{version} is no version of a program");
        }
        let (Some(text_len), Some(packed_len), Some(weights_len)) = (number(12), number(20), number(28)) else {
            bail!(Format, "the program is cut: {} bytes", bytes.len());
        };
        let want = packed_len.checked_add(weights_len).and_then(|n| n.checked_add(4));
        if want != Some(content.len() as u64) {
            bail!(Format, "the program is cut or has something appended: {} bytes after its head", content.len());
        }
        let (checked, sum) = bytes.split_at(bytes.len() - 4);
        if sum != checksum(checked).to_le_bytes() {
            bail!(Format, "the program was changed: its checksum does not fit");
        }
        let (packed, weights) = content[..content.len() - 4].split_at(packed_len as usize);
        if text_len > packed_len.saturating_mul(MOST_EXPANSION).saturating_add(64) {
            bail!(Format, "{packed_len} compressed bytes cannot hold {text_len}");
        }
        let mut text = String::new();
        let read = DeflateDecoder::new(packed).take(text_len + 1).read_to_string(&mut text);
        if read.is_err() || text.len() as u64 != text_len {
            bail!(Format, "the compressed text is damaged");
        }
        let parsed = text::parse(&text)?;
        with_weights(parsed, (weights_len > 0).then_some(weights))
    }

    /// The weights as a safetensors file; `None` if there are none.
    pub(super) fn weight_bytes(&self) -> Result<Option<Vec<u8>>> {
        if self.weights.is_empty() { Ok(None) } else { safetensors::encode(&self.weights()).map(Some) }
    }
}

fn with_weights(parsed: text::Parsed, bytes: Option<&[u8]>) -> Result<Program> {
    let mut found: BTreeMap<String, Tensor> = match bytes {
        Some(b) => safetensors::parse(b)?,
        None => BTreeMap::new(),
    };
    let p = parsed.program(|name| found.remove(name).ok_or_else(|| err!(Format, "weight {name} is missing")))?;
    match found.keys().next() {
        Some(name) => bail!(Format, "the program has no weight named {name}"),
        None => Ok(p),
    }
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt"))
}

/// Where the weights of a program in text form lie.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".safetensors");
    PathBuf::from(name)
}
