//! MNIST and its many relatives: four IDX files of small grey images and their classes.

use super::{Dataset, Idx};
use crate::base::error::{bail, err};
use crate::{Error, Result};
use std::path::Path;

/// Images with labels, as MNIST's files hold them: a training and a test part.
///
/// Inputs are F32 `[n, height, width]` in 0..=1, targets I64 `[n]`.
#[derive(Clone)]
pub struct Mnist {
    /// To learn from.
    pub train: Dataset,
    /// To judge by.
    pub test: Dataset,
}

impl Mnist {
    /// Reads the four files `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, with or without `.gz`, from a folder.
    ///
    /// # Errors
    /// `Io` if one is missing or cannot be read, `Format` if one is not such a file.
    pub fn load(dir: impl AsRef<Path>) -> Result<Mnist> {
        let dir = dir.as_ref();
        let (train, test) = (part(dir, "train")?, part(dir, "t10k")?);
        if train.input_shape()[1..] != test.input_shape()[1..] {
            bail!(Format, "{}: training images are {}, test images {}", dir.display(), train.input_shape(), test.input_shape());
        }
        Ok(Mnist { train, test })
    }

    /// One more than the largest label.
    ///
    /// # Errors
    /// What reading the labels reports.
    pub fn classes(&self) -> Result<usize> {
        let mut n = 0;
        for part in [&self.train, &self.test] {
            n = part.targets()?.to_vec::<i64>()?.into_iter().map(|y| y as usize + 1).fold(n, usize::max);
        }
        Ok(n)
    }
}

fn part(dir: &Path, name: &str) -> Result<Dataset> {
    let images = open(dir, name, "images", 3)?;
    let labels = open(dir, name, "labels", 1)?;
    let bytes = |x: &Idx, what| x.as_u8().map(<[u8]>::to_vec).ok_or_else(|| not_bytes(dir, name, what));
    let pixels = bytes(&images, "images")?.into_iter().map(|p| p as f32 / 255.0).collect();
    let classes = bytes(&labels, "labels")?.into_iter().map(i64::from).collect();
    Dataset::from_vecs(pixels, images.shape(), classes, labels.shape())
        .map_err(|e| err!(Format, "{}, part {name}: {}", dir.display(), e.message()))
}

fn not_bytes(dir: &Path, name: &str, what: &str) -> Error {
    err!(Format, "{}, part {name}: the {what} are not u8", dir.display())
}

fn open(dir: &Path, part: &str, what: &str, rank: usize) -> Result<Idx> {
    // Some archives write a dot before "idx".
    let names = ["-", "."].map(|c| format!("{part}-{what}{c}idx{rank}-ubyte"));
    let Some(path) = names.iter().flat_map(|n| [dir.join(n), dir.join(format!("{n}.gz"))]).find(|p| p.is_file()) else {
        bail!(Io, "{}: there is no {}, with or without .gz", dir.display(), names[0]);
    };
    let idx = Idx::open(&path)?;
    if idx.shape().rank() != rank {
        bail!(Format, "{}: expected {rank} axes, found extents {}", path.display(), idx.shape());
    }
    Ok(idx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_ten_thousand_digits() {
        let m = Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist10k")).unwrap();
        assert_eq!(*m.train.input_shape(), [8000, 28, 28]);
        assert_eq!(*m.test.input_shape(), [2000, 28, 28]);
        assert_eq!(*m.test.target_shape(), [2000]);
        assert_eq!(m.classes().unwrap(), 10);
        let x = m.test.inputs().unwrap().to_vec::<f32>().unwrap();
        assert!(x.iter().all(|p| (0.0..=1.0).contains(p)) && x.contains(&1.0));
        let mean = x.iter().map(|&p| p as f64).sum::<f64>() / x.len() as f64;
        assert!((0.12..0.15).contains(&mean), "MNIST's mean brightness is 0.13, this is {mean}");
    }

    #[test]
    fn missing_files_are_named() {
        let e = Mnist::load("/nowhere").err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Io);
        assert!(e.message().contains("train-images-idx3-ubyte"), "{e}");
    }
}
