//! Trains a network on handwritten digits: `cargo run --release --example 02_train_mnist -- --help`.
//!
//! This file is the training; `args.rs` reads the command line, `show.rs` draws.

mod args;
mod show;

use args::Args;
use lazuli::data::{Dataset, Mnist};
use lazuli::models::{Cnn, Mlp};
use lazuli::optim::Adam;
use lazuli::prelude::*;
use show::{Progress, Report, say};
use std::process::ExitCode;
use std::time::Instant;

/// What both models have in common.
trait Classifier: Tree {
    /// Images `[n, height, width]` to one score per class `[n, classes]`.
    fn scores(&self, images: &Tensor) -> Tensor;
}
impl Classifier for Mlp {
    fn scores(&self, images: &Tensor) -> Tensor {
        self.forward(images)
    }
}
impl Classifier for Cnn {
    fn scores(&self, images: &Tensor) -> Tensor {
        self.forward(images)
    }
}

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            say!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    args.device.set_default();
    lazuli::manual_seed(args.seed);
    let data = Mnist::load(&args.data)?;
    let &[_, height, width] = &data.train.input_shape()[..] else { unreachable!("images have a height and a width") };
    let classes = data.classes()?;
    say!("device  {}", args.device.describe());
    say!(
        "data    {} training and {} test images of {height}x{width}, {classes} classes: {}",
        data.train.len(),
        data.test.len(),
        args.data.display()
    );
    match args.model {
        args::Model::Mlp => train(args, &data, Mlp::new(&[height * width, 128, classes])),
        args::Model::Cnn => train(args, &data, Cnn::new([height, width], classes)),
    }
}

fn train<M: Classifier>(args: &Args, data: &Mnist, mut model: M) -> Result<()> {
    if let Some(path) = &args.load {
        model = lazuli::safetensors::load_into(path, &model)?;
        say!("loaded  {}", path.display());
    }
    say!(
        "model   {}, {} parameters; batches of {}, learning rate {}, seed {}\n",
        args.model,
        count(&model),
        args.batch,
        args.lr,
        args.seed
    );
    let mut opt = Adam::new(args.lr);
    let mut report = Report::new();
    for epoch in 1..=args.epochs {
        let start = Instant::now();
        let batches = data.train.batches(args.batch)?.shuffle(args.seed, epoch);
        let mut progress = Progress::new(epoch, batches.len());
        let (mut loss_sum, mut seen) = (0.0, 0);
        for batch in batches.prefetch(4) {
            let (x, y) = batch?;
            let before = lazuli::stats();
            let (loss, grads) = value_and_grad(|m: &M| m.scores(&x).cross_entropy(&y), &model);
            opt.step(&mut model, &grads)?;
            let n = x.shape()[0];
            loss_sum += loss.item::<f32>()? as f64 * n as f64;
            seen += n;
            report.step(&before, &lazuli::stats());
            progress.show(seen, loss_sum / seen as f64);
        }
        let seconds = start.elapsed().as_secs_f64();
        let accuracy = accuracy(&predict(&model, &data.test)?, &labels(&data.test)?);
        progress.finish(loss_sum / seen.max(1) as f64, accuracy, seen as f64 / seconds);
    }
    say!();
    report.print();
    let (guess, truth) = (predict(&model, &data.test)?, labels(&data.test)?);
    show::confusion(&guess, &truth, data.classes()?);
    show::misread(&data.test, &guess, &truth)?;
    say!("\ntest accuracy {:.2} %", 100.0 * accuracy(&guess, &truth));
    if let Some(path) = &args.save {
        lazuli::safetensors::save(path, &model)?;
        say!("saved to {}", path.display());
    }
    Ok(())
}

/// The class with the highest score, for every image.
fn predict<M: Classifier>(model: &M, data: &Dataset) -> Result<Vec<i64>> {
    let mut guess = Vec::with_capacity(data.len());
    for batch in data.batches(500)? {
        guess.extend(model.scores(&batch?.0).argmax(-1).to_vec::<i64>()?);
    }
    Ok(guess)
}

fn labels(data: &Dataset) -> Result<Vec<i64>> {
    data.targets()?.to_vec()
}

fn accuracy(guess: &[i64], truth: &[i64]) -> f64 {
    guess.iter().zip(truth).filter(|(a, b)| a == b).count() as f64 / truth.len().max(1) as f64
}

/// The number of a model's parameters.
fn count<M: Tree>(model: &M) -> usize {
    lazuli::function::tree::leaves(model).iter().map(Tensor::numel).sum()
}
