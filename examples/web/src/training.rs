//! The training: nothing here knows of a page, so that the same steps can be run natively and compared.

use lazuli::data::{Batches, Dataset, Idx};
use lazuli::function::tree::leaves;
use lazuli::models::Mlp;
use lazuli::prelude::*;
use lazuli::{Error, ErrorKind, Report};

const BATCH: usize = 64;
const RATE: f64 = 2e-3;
const SEED: u64 = 0;

/// A network, its optimiser and the digits they learn from, on one device.
pub struct Training {
    device: Device,
    train: Dataset,
    test: Dataset,
    images: Tensor,
    labels: Tensor,
    model: Mlp,
    opt: Adam,
    batches: Batches,
    epoch: u64,
}

/// Images and their classes from two files of MNIST's.
fn digits(images: &[u8], labels: &[u8]) -> Result<Dataset> {
    let (images, labels) = (Idx::parse(images)?, Idx::parse(labels)?);
    let bytes = |x: &Idx| x.as_u8().map(<[u8]>::to_vec).ok_or_else(|| Error::new(ErrorKind::Format, "the digits are not bytes"));
    let pixels: Vec<f32> = bytes(&images)?.into_iter().map(|p| p as f32 / 255.0).collect();
    let classes: Vec<i64> = bytes(&labels)?.into_iter().map(i64::from).collect();
    Dataset::from_vecs(pixels, images.shape(), classes, labels.shape())
}

impl Training {
    /// `files`: images and labels to learn from, images and labels to judge by.
    pub fn new(device: Device, files: [&[u8]; 4]) -> Result<Training> {
        let (train, test) = (digits(files[0], files[1])?, digits(files[2], files[3])?);
        device.scope(|| {
            lazuli::manual_seed(SEED);
            let (images, labels) = (test.inputs()?, test.targets()?);
            let batches = train.batches(BATCH)?.drop_last(true).shuffle(SEED, 0);
            let model = Mlp::new(&[28 * 28, 128, 10]);
            Ok(Training { device, train, test, images, labels, model, opt: Adam::new(RATE), batches, epoch: 0 })
        })
    }

    /// From the beginning.
    pub fn reset(&mut self) -> Result<()> {
        self.device.scope(|| {
            lazuli::manual_seed(SEED);
            self.model = Mlp::new(&[28 * 28, 128, 10]);
            self.opt = Adam::new(RATE);
            self.epoch = 0;
            self.batches = self.train.batches(BATCH)?.drop_last(true).shuffle(SEED, 0);
            Ok(())
        })
    }

    fn batch(&mut self) -> Result<(Tensor, Tensor)> {
        loop {
            if let Some(b) = self.batches.next() {
                return b;
            }
            self.epoch += 1;
            self.batches = self.train.batches(BATCH)?.drop_last(true).shuffle(SEED, self.epoch);
        }
    }

    /// Learns from one batch; its loss before that. On a graphics device nothing is waited for.
    pub fn step(&mut self) -> Result<Tensor> {
        let device = self.device;
        device.scope(|| {
            let (x, y) = self.batch()?;
            let (loss, grads) = value_and_grad(|m: &Mlp| m.forward(&x).cross_entropy(&y), &self.model);
            self.opt.step(&mut self.model, &grads)?;
            Ok(loss)
        })
    }

    /// The share of the test images that are read rightly.
    pub fn accuracy(&self) -> Tensor {
        self.device.scope(|| self.model.forward(&self.images).argmax(-1).eq(&self.labels).cast(DType::F32).mean(..))
    }

    /// How probable each digit is for an image of 28 x 28.
    pub fn recognise(&self, pixels: Vec<f32>) -> Tensor {
        self.device.scope(|| self.model.forward(&Tensor::from_vec(pixels, [1, 28, 28])).softmax(-1))
    }

    /// The `n`-th test image.
    pub fn digit(&self, n: usize) -> Result<(Tensor, Tensor)> {
        Device::cpu().scope(|| self.test.get(&[n % self.test.len()]))
    }

    /// What a step runs: the loss and its gradients.
    pub fn kernels(&self) -> Result<Report> {
        self.device.scope(|| {
            let (x, y) = self.train.get(&(0..BATCH).collect::<Vec<_>>())?;
            let (loss, grads) = value_and_grad(|m: &Mlp| m.forward(&x).cross_entropy(&y), &self.model);
            let mut all = vec![loss];
            all.extend(leaves(&grads));
            Ok(lazuli::explain(&all))
        })
    }
}
