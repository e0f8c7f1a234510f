//! The IDX format: one array of numbers, big-endian, with its element type and extents in front.
//!
//! Layout (<http://yann.lecun.com/exdb/mnist/>): two zero bytes, a type code, the number of axes, the extents as u32, the elements.

use crate::base::error::{bail, err};
use crate::{DType, Error, ErrorKind, Result, Shape, Tensor};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// More elements' bytes than this are refused: whoever has such data does not keep it in IDX files.
const MAX_BYTES: u64 = 1 << 34;

/// Deflate expands a byte to at most this many. A header that promises more than the compressed file can hold is a lie that is
/// seen before anything is inflated.
const MAX_RATIO: u64 = 1032;

/// The type of the elements in an IDX file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdxElement {
    /// Code 0x08.
    U8,
    /// Code 0x09.
    I8,
    /// Code 0x0B.
    I16,
    /// Code 0x0C.
    I32,
    /// Code 0x0D.
    F32,
    /// Code 0x0E.
    F64,
}

impl IdxElement {
    fn from_code(code: u8) -> Option<IdxElement> {
        use IdxElement::*;
        Some(match code {
            0x08 => U8,
            0x09 => I8,
            0x0B => I16,
            0x0C => I32,
            0x0D => F32,
            0x0E => F64,
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            IdxElement::U8 | IdxElement::I8 => 1,
            IdxElement::I16 => 2,
            IdxElement::I32 | IdxElement::F32 => 4,
            IdxElement::F64 => 8,
        }
    }

    /// The dtype of a tensor of these elements: the narrowest that holds them all.
    pub const fn dtype(self) -> DType {
        match self {
            IdxElement::U8 => DType::U8,
            IdxElement::I8 | IdxElement::I16 | IdxElement::I32 => DType::I32,
            IdxElement::F32 => DType::F32,
            IdxElement::F64 => DType::F64,
        }
    }
}

/// The contents of an IDX file.
#[derive(Clone, Debug)]
pub struct Idx {
    element: IdxElement,
    shape: Shape,
    /// As in the file: big-endian.
    bytes: Vec<u8>,
}

impl Idx {
    /// Reads an IDX file, compressed with gzip or not: the contents decide, not the name.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Format` if it is not an IDX file or its length is not what its header says.
    pub fn open(path: impl AsRef<Path>) -> Result<Idx> {
        let path = path.as_ref();
        let open = || -> Result<Idx> {
            let file = File::open(path)?;
            let length = file.metadata()?;
            if !length.is_file() {
                bail!(Io, "not a regular file");
            }
            Idx::read_limited(BufReader::with_capacity(1 << 16, file), length.len())
        };
        open().map_err(|e| Error::new(e.kind(), format!("{}: {}", path.display(), e.message())))
    }

    /// Reads from the bytes of an IDX file, compressed with gzip or not.
    ///
    /// # Errors
    /// `Format` if they are not an IDX file or their length is not what the header says.
    pub fn parse(bytes: &[u8]) -> Result<Idx> {
        Idx::read_limited(bytes, bytes.len() as u64)
    }

    /// `length` is how many bytes `source` holds.
    fn read_limited(mut source: impl Read, length: u64) -> Result<Idx> {
        let mut magic = [0; 2];
        fill(&mut source, &mut magic)?;
        let source = magic.chain(source);
        match magic {
            [0x1f, 0x8b] => Idx::read_plain(MultiGzDecoder::new(source), length.saturating_mul(MAX_RATIO), false),
            _ => Idx::read_plain(source, length, true),
        }
    }

    /// `exact`: the source holds `limit` bytes, not at most as many.
    fn read_plain(mut source: impl Read, limit: u64, exact: bool) -> Result<Idx> {
        let mut start = [0; 4];
        fill(&mut source, &mut start)?;
        let [0, 0, code, axes] = start else {
            bail!(Format, "not an IDX file: it starts with {start:02x?}, not with two zero bytes");
        };
        let Some(element) = IdxElement::from_code(code) else {
            bail!(Format, "not an IDX file: 0x{code:02x} is no element type (08 u8, 09 i8, 0b i16, 0c i32, 0d f32, 0e f64)");
        };
        let mut extents = vec![0; axes as usize * 4];
        fill(&mut source, &mut extents)?;
        let extents: Vec<u32> = extents.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
        let size = if extents.contains(&0) {
            Some(0)
        } else {
            extents.iter().try_fold(element.size() as u64, |n, &d| n.checked_mul(d as u64)).filter(|&n| n <= MAX_BYTES)
        };
        let Some(size) = size else {
            bail!(Format, "the header asks for more than {} GiB: extents {extents:?} of {element:?}", MAX_BYTES >> 30);
        };
        let header = 4 + 4 * axes as u64;
        let wrong =
            |got: &str| err!(Format, "the header promises {size} bytes of data (extents {extents:?} of {element:?}), the file has {got}");
        if header + size > limit {
            let got = if exact { (limit - header.min(limit)).to_string() } else { "fewer: it is cut short or damaged".into() };
            return Err(wrong(&got));
        }
        if exact && header + size != limit {
            return Err(wrong(&(limit - header).to_string()));
        }
        // One byte further, so that longer contents are seen and gzip's checksum is read and verified. Memory grows as data arrives.
        let mut bytes = Vec::new();
        source.take(size + 1).read_to_end(&mut bytes).map_err(damaged)?;
        match (bytes.len() as u64).cmp(&size) {
            std::cmp::Ordering::Less => Err(wrong(&bytes.len().to_string())),
            std::cmp::Ordering::Greater => Err(wrong("more")),
            std::cmp::Ordering::Equal => {
                let shape = extents.iter().map(|&d| d as usize).collect();
                Ok(Idx { element, shape, bytes })
            }
        }
    }

    /// The type of the elements in the file.
    pub fn element(&self) -> IdxElement {
        self.element
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The elements if they are u8, else `None`.
    pub fn as_u8(&self) -> Option<&[u8]> {
        (self.element == IdxElement::U8).then_some(&self.bytes)
    }

    /// The elements as a tensor of [`IdxElement::dtype`].
    ///
    /// # Errors
    /// `Memory` if the device cannot hold them.
    pub fn to_tensor(&self) -> Result<Tensor> {
        fn convert<const N: usize, const M: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> [u8; M]) -> Vec<u8> {
            bytes.chunks_exact(N).flat_map(|b| f(std::array::from_fn(|i| b[i]))).collect()
        }
        let converted = match self.element {
            IdxElement::U8 => return Tensor::from_bytes(&self.bytes, DType::U8, &self.shape),
            IdxElement::I8 => convert(&self.bytes, |b| (i8::from_be_bytes(b) as i32).to_ne_bytes()),
            IdxElement::I16 => convert(&self.bytes, |b| (i16::from_be_bytes(b) as i32).to_ne_bytes()),
            IdxElement::I32 | IdxElement::F32 => convert(&self.bytes, |b| u32::from_be_bytes(b).to_ne_bytes()),
            IdxElement::F64 => convert(&self.bytes, |b| u64::from_be_bytes(b).to_ne_bytes()),
        };
        Tensor::from_bytes(&converted, self.element.dtype(), &self.shape)
    }
}

fn fill(source: &mut impl Read, out: &mut [u8]) -> Result<()> {
    source.read_exact(out).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => err!(Format, "the file ends inside its header"),
        _ => damaged(e),
    })
}

/// What flate2 reports of bad contents is the file's fault, the rest is the reading's.
fn damaged(e: std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match e.kind() {
        InvalidData | InvalidInput | UnexpectedEof => Error::new(ErrorKind::Format, format!("the file is cut short or damaged: {e}")),
        _ => e.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Philox;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn idx(code: u8, extents: &[u32], data: &[u8]) -> Vec<u8> {
        let mut f = vec![0, 0, code, extents.len() as u8];
        f.extend(extents.iter().flat_map(|d| d.to_be_bytes()));
        f.extend(data);
        f
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut z = GzEncoder::new(Vec::new(), Compression::best());
        z.write_all(data).unwrap();
        z.finish().unwrap()
    }

    #[track_caller]
    fn refused(bytes: &[u8], part: &str) {
        for file in [bytes.to_vec(), gzip(bytes)] {
            let e = Idx::parse(&file).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Format, "{e}");
            assert!(e.message().contains(part), "{e}");
        }
    }

    #[test]
    fn reads_plain_and_compressed() {
        let plain = idx(8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
        for file in [plain.clone(), gzip(&plain)] {
            let x = Idx::parse(&file).unwrap();
            assert_eq!((x.element(), x.as_u8().unwrap()), (IdxElement::U8, &[1, 2, 3, 4, 5, 6][..]));
            assert_eq!(*x.shape(), [2, 3]);
        }
        assert_eq!(Idx::parse(&idx(8, &[0, u32::MAX, u32::MAX], &[])).unwrap().as_u8().unwrap().len(), 0);
        assert_eq!(Idx::parse(&idx(8, &[], &[7])).unwrap().as_u8().unwrap(), [7]);
    }

    #[test]
    fn every_element_type() {
        let f32s: Vec<u8> = [1.5f32, -0.25].iter().flat_map(|x| x.to_be_bytes()).collect();
        let f64s: Vec<u8> = [0.1f64, -3.0].iter().flat_map(|x| x.to_be_bytes()).collect();
        let i32s: Vec<u8> = [-70000i32, 5].iter().flat_map(|x| x.to_be_bytes()).collect();
        let i16s: Vec<u8> = [-300i16, 5].iter().flat_map(|x| x.to_be_bytes()).collect();
        let t = |code, data: &[u8]| Idx::parse(&idx(code, &[2], data)).unwrap().to_tensor().unwrap();
        assert_eq!(t(0x08, &[200, 5]).to_vec::<u8>().unwrap(), [200, 5]);
        assert_eq!(t(0x09, &[0xff, 5]).to_vec::<i32>().unwrap(), [-1, 5]);
        assert_eq!(t(0x0B, &i16s).to_vec::<i32>().unwrap(), [-300, 5]);
        assert_eq!(t(0x0C, &i32s).to_vec::<i32>().unwrap(), [-70000, 5]);
        assert_eq!(t(0x0D, &f32s).to_vec::<f32>().unwrap(), [1.5, -0.25]);
        assert_eq!(t(0x0E, &f64s).to_vec::<f64>().unwrap(), [0.1, -3.0]);
    }

    #[test]
    fn cut_foreign_and_hostile_files() {
        assert_eq!(Idx::parse(&[]).unwrap_err().kind(), ErrorKind::Format);
        refused(&[0, 0], "inside its header");
        refused(b"PK\x03\x04 a zip archive", "not an IDX file");
        refused(&idx(0x0A, &[1], &[1]), "no element type");
        refused(&[0, 0, 8, 3, 0, 0, 0, 1], "inside its header");
        refused(&idx(8, &[3], &[1, 2]), "promises 3 bytes");
        refused(&idx(8, &[3], &[1, 2, 3, 4]), "promises 3 bytes");
        refused(&idx(0x0E, &[u32::MAX; 255], &[]), "more than 16 GiB");
        refused(&idx(8, &[1 << 20, 1 << 13], &[]), "promises 8589934592 bytes");
        // Contents far longer than the header says: only one byte too many is inflated.
        refused(&idx(8, &[1], &vec![0; 50 << 20]), "promises 1 bytes");
        let mut z = gzip(&idx(8, &[4], &[1, 2, 3, 4]));
        let crc = z.len() - 8;
        z[crc] ^= 1;
        assert_eq!(Idx::parse(&z).unwrap_err().kind(), ErrorKind::Format);
    }

    #[test]
    fn random_damage_gives_errors() {
        let data: Vec<u8> = (0..=255).collect();
        let good = idx(8, &[16, 16], &data);
        let mut rng = Philox::new(1, 2);
        for file in [good.clone(), gzip(&good)] {
            for round in 0..3000 {
                let mut f = file.clone();
                if round % 3 == 0 {
                    f.truncate(rng.below(f.len() as u64) as usize);
                } else {
                    for _ in 0..1 + rng.below(4) {
                        let at = rng.below(f.len() as u64) as usize;
                        f[at] = rng.next_u32() as u8;
                    }
                }
                match Idx::parse(&f) {
                    Ok(x) => assert_eq!(x.bytes.len(), x.shape.numel() * x.element.size()),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Format, "{e}"),
                }
            }
        }
    }
}
