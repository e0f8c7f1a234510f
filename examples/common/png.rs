//! Pictures as files.

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use lazuli::{Error, ErrorKind, Result};
use std::io::Write;
use std::path::Path;

/// Writes an 8-bit RGB PNG of `width` pixels a row; makes the folder it is to lie in.
pub fn write(path: &Path, width: usize, rgb: &[u8]) -> Result<()> {
    let io = |e: std::io::Error| Error::new(ErrorKind::Io, format!("{}: {e}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(io)?;
    }
    std::fs::write(path, encode(width, rgb).map_err(io)?).map_err(io)
}

fn encode(width: usize, rgb: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::best());
    for row in rgb.chunks(width * 3) {
        // Filter 0: the bytes as they are.
        rows.write_all(&[0])?;
        rows.write_all(row)?;
    }
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend(((rgb.len() / (width * 3)) as u32).to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in [(b"IHDR", header), (b"IDAT", rows.finish()?), (b"IEND", Vec::new())] {
        out.extend((data.len() as u32).to_be_bytes());
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(&data);
        out.extend(name);
        out.extend(data);
        out.extend(crc.sum().to_be_bytes());
    }
    Ok(out)
}
