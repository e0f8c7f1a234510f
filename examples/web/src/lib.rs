//! A network that learns to read handwritten digits in a page: what the page's script calls.
//!
//! Training submits to the device and goes on; only losses, accuracies and probabilities come back, as promises. Nothing blocks.

mod pad;

use js_sys::{Float32Array, Promise};
use lazuli::data::{Batches, Dataset, Idx};
use lazuli::models::Mlp;
use lazuli::optim::Adam;
use lazuli::prelude::*;
use std::future::Future;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    fn error(text: &str);
}

/// A panic ends the module: the console says why.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}

/// Opens the browser's graphics device and says what it is.
///
/// # Errors
/// If it has none.
#[wasm_bindgen]
pub async fn open() -> Result<String, JsError> {
    let device = Device::wgpu_async().await?;
    device.set_default();
    Ok(device.describe())
}

/// Digits to learn from and others to judge by.
#[wasm_bindgen]
pub struct Digits {
    train: Dataset,
    test: Dataset,
}

#[wasm_bindgen]
impl Digits {
    /// From the contents of MNIST's files, compressed or not.
    ///
    /// # Errors
    /// If they are something else.
    #[wasm_bindgen(constructor)]
    pub fn new(train_images: &[u8], train_labels: &[u8], test_images: &[u8], test_labels: &[u8]) -> Result<Digits, JsError> {
        Ok(Digits { train: dataset(train_images, train_labels)?, test: dataset(test_images, test_labels)? })
    }

    /// The images to learn from.
    #[wasm_bindgen(getter)]
    pub fn count(&self) -> usize {
        self.train.len()
    }
}

fn dataset(images: &[u8], labels: &[u8]) -> Result<Dataset, JsError> {
    let (images, labels) = (Idx::parse(images)?, Idx::parse(labels)?);
    let bytes = |x: &Idx| x.as_u8().map(<[u8]>::to_vec).ok_or_else(|| JsError::new("the digits' files hold no bytes"));
    let pixels = bytes(&images)?.into_iter().map(|p| p as f32 / 255.0).collect();
    let classes = bytes(&labels)?.into_iter().map(i64::from).collect();
    Ok(Dataset::from_vecs(pixels, images.shape(), classes, labels.shape())?)
}

/// A perceptron of 784, 128 and 10 units, its optimiser, and the batches to come.
#[wasm_bindgen]
pub struct Network {
    model: Mlp,
    optimiser: Adam,
    data: Dataset,
    batches: Batches,
    size: usize,
    seed: u64,
    epoch: u64,
    test: (Tensor, Tensor),
}

#[wasm_bindgen]
impl Network {
    /// An untrained one. The same seed, batch size and learning rate give the same losses.
    ///
    /// # Errors
    /// What the device reports.
    #[wasm_bindgen(constructor)]
    pub fn new(digits: &Digits, size: usize, rate: f64, seed: u32) -> Result<Network, JsError> {
        let (data, seed) = (digits.train.clone(), u64::from(seed));
        lazuli::manual_seed(seed);
        let (model, optimiser) = lazuli::catch(|| (Mlp::new(&[784, 128, 10]), Adam::new(rate)))?;
        let batches = epoch(&data, size, seed, 1)?;
        let test = (digits.test.inputs()?, digits.test.targets()?);
        Ok(Network { model, optimiser, data, batches, size, seed, epoch: 1, test })
    }

    /// The next batch, of the next epoch after the last.
    fn next(&mut self) -> lazuli::Result<(Tensor, Tensor)> {
        loop {
            if let Some(batch) = self.batches.next() {
                return batch;
            }
            self.epoch += 1;
            self.batches = epoch(&self.data, self.size, self.seed, self.epoch)?;
        }
    }

    /// Submits so many training steps; a promise of their losses.
    ///
    /// # Errors
    /// What the device reports.
    pub fn steps(&mut self, count: usize) -> Result<Promise, JsError> {
        let mut losses = Vec::with_capacity(count);
        for _ in 0..count {
            let (x, y) = self.next()?;
            let (loss, gradients) = value_and_grad(|m: &Mlp| m.forward(&x).cross_entropy(&y), &self.model);
            self.optimiser.step(&mut self.model, &gradients)?;
            losses.push(loss);
        }
        Ok(later(Tensor::stack(&losses, 0).read()))
    }

    /// Another learning rate from now on.
    ///
    /// # Errors
    /// If it is negative or no number.
    pub fn set_rate(&mut self, rate: f64) -> Result<(), JsError> {
        Ok(lazuli::catch(|| self.optimiser.set_lr(rate))?)
    }

    /// A promise of the share of test digits that are read correctly.
    pub fn accuracy(&self) -> Promise {
        let (x, y) = &self.test;
        later(self.model.forward(x).argmax(-1).eq(y).cast(DType::F32).mean(..).reshape([1]).read())
    }

    /// A promise of ten probabilities for what is drawn: the opacity of each pixel of a square pad. An empty pad gives none.
    pub fn read(&self, ink: &[u8]) -> Promise {
        let Some(image) = pad::centred(ink) else { return later(std::future::ready(Ok(Vec::new()))) };
        let image = Tensor::from_vec(image, [1, pad::SIDE, pad::SIDE]);
        later(self.model.forward(&image).softmax(-1).read())
    }

    /// What the device runs for the loss of a batch and its gradients.
    ///
    /// # Errors
    /// What the device reports.
    pub fn kernels(&self) -> Result<Vec<Kernel>, JsError> {
        let (x, y) = self.data.get(&(0..self.size.min(self.data.len())).collect::<Vec<_>>())?;
        let (loss, gradients) = value_and_grad(|m: &Mlp| m.forward(&x).cross_entropy(&y), &self.model);
        let mut wanted = lazuli::function::tree::leaves(&gradients);
        wanted.push(loss);
        let report = lazuli::explain(&wanted);
        let kernel = |(i, k): (usize, &lazuli::plan::ReportKernel)| Kernel {
            name: k.name().to_string(),
            fused: fused(k.text()),
            bytes: k.bytes() as f64,
            flops: k.flops() as f64,
            source: report.source(i).to_string(),
        };
        Ok(report.kernels().iter().enumerate().map(kernel).collect())
    }
}

/// A kernel of a training step.
#[wasm_bindgen(getter_with_clone)]
pub struct Kernel {
    /// Its archetype.
    pub name: String,
    /// The operations in it, each with how often it is there.
    pub fused: String,
    /// Bytes of all arguments.
    pub bytes: f64,
    /// Arithmetic operations.
    pub flops: f64,
    /// WGSL.
    pub source: String,
}

fn epoch(data: &Dataset, size: usize, seed: u64, n: u64) -> lazuli::Result<Batches> {
    Ok(data.batches(size.min(data.len()))?.shuffle(seed, n).drop_last(true))
}

/// The operations of a kernel in Loop IR: `e3: f32 = exp e2`, `r0.0: f32 = max e0`.
fn fused(text: &str) -> String {
    let mut found: Vec<(&str, usize)> = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.trim_start().split_once(": ") else { continue };
        let defines = name.starts_with(['e', 'r']) && name[1..].starts_with(|c: char| c.is_ascii_digit());
        let operation = rest.split_once(" = ").and_then(|(_, r)| r.split_whitespace().next());
        let Some(o) = operation.filter(|o| defines && !["load", "reduced", "const", "param", "index"].contains(o)) else { continue };
        match found.iter_mut().find(|(f, _)| *f == o) {
            Some((_, n)) => *n += 1,
            None => found.push((o, 1)),
        }
    }
    let words = found.iter().map(|(o, n)| if *n > 1 { format!("{o} ×{n}") } else { o.to_string() });
    words.collect::<Vec<_>>().join(", ")
}

/// Values that are read, as a promise of a `Float32Array`.
fn later(values: impl Future<Output = lazuli::Result<Vec<f32>>> + 'static) -> Promise {
    wasm_bindgen_futures::future_to_promise(async {
        let values = values.await.map_err(JsError::from)?;
        Ok(Float32Array::from(&values[..]).into())
    })
}
