//! The command line.

use lazuli::Device;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub const HELP: &str = "\
Trains a network to read handwritten digits.

cargo run --release --example 02_train_mnist -- [OPTIONS]

  --model mlp|cnn   784-128-10 perceptron, or two 3x3 convolutions  [mlp]
  --data DIR        folder with MNIST's four files, .gz or not      [data/mnist10k]
  --device NAME     cpu, wgpu or best                               [best]
  --epochs N        times through the training images               [5]
  --batch N         images per step                                 [64]
  --lr X            Adam's learning rate                            [0.001]
  --seed N          same seed, same result                          [0]
  --load FILE       start from these weights (.safetensors)
  --save FILE       keep the weights at the end
  --help            this text";

#[derive(Clone, Copy)]
pub enum Model {
    Mlp,
    Cnn,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Model::Mlp => "mlp",
            Model::Cnn => "cnn",
        })
    }
}

pub struct Args {
    pub model: Model,
    pub data: PathBuf,
    pub device: Device,
    pub epochs: u64,
    pub batch: usize,
    pub lr: f64,
    pub seed: u64,
    pub load: Option<PathBuf>,
    pub save: Option<PathBuf>,
}

impl Args {
    /// `None` if help is asked for.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
        let mut args = Args {
            model: Model::Mlp,
            data: default_data(),
            device: Device::best(),
            epochs: 5,
            batch: 64,
            lr: 1e-3,
            seed: 0,
            load: None,
            save: None,
        };
        while let Some(word) = words.next() {
            let (flag, joined) = match word.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            if matches!(&*flag, "--help" | "-h") {
                return Ok(None);
            }
            let mut value = || joined.clone().or_else(|| words.next()).ok_or(format!("{flag} needs a value"));
            match &*flag {
                "--model" => {
                    args.model = match &*value()? {
                        "mlp" => Model::Mlp,
                        "cnn" => Model::Cnn,
                        other => return Err(format!("--model is mlp or cnn, not {other}")),
                    }
                }
                "--data" => args.data = value()?.into(),
                "--device" => args.device = device(&value()?)?,
                "--epochs" => args.epochs = number(&flag, &value()?)?,
                "--batch" => args.batch = number(&flag, &value()?)?,
                "--lr" => args.lr = number(&flag, &value()?)?,
                "--seed" => args.seed = number(&flag, &value()?)?,
                "--load" => args.load = Some(value()?.into()),
                "--save" => args.save = Some(value()?.into()),
                _ => return Err(format!("unknown option {flag}")),
            }
        }
        if args.batch == 0 {
            return Err("--batch must be at least 1".into());
        }
        if !(args.lr.is_finite() && args.lr > 0.0) {
            return Err(format!("--lr must be a positive number, not {}", args.lr));
        }
        Ok(Some(args))
    }
}

fn number<T: FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} needs a number, not {text:?}"))
}

fn device(name: &str) -> Result<Device, String> {
    Device::named(name).map_err(|e| e.to_string())
}

/// The digits of the repository: found from a checkout, wherever it is run from.
fn default_data() -> PathBuf {
    let here = Path::new("data/mnist10k");
    if here.is_dir() { here.into() } else { Path::new(env!("CARGO_MANIFEST_DIR")).join(here) }
}
