//! A network leaves the crate: it is trained on digits, then exported as kernels that any engine can run, with images and the scores that the
//! engine gave them, so that another can be checked: `cargo run --release --features wgpu --example 09_export -- --help`.

#[path = "common/npy.rs"]
mod npy;

use lazuli::data::Mnist;
use lazuli::models::Cnn;
use lazuli::optim::Adam;
use lazuli::prelude::*;
use lazuli::{Program, Target};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Trains a network to read digits and exports it as kernels.

cargo run --release --features wgpu --example 09_export -- [OPTIONS]

  --out DIR      where to write                       [exported]
  --target NAME  wgsl, spirv, msl, hlsl or glsl       [wgsl]
  --steps N      training steps of 64 images          [150]
  --help         this text";

/// Images that the exported network is checked on.
const CHECKED: usize = 100;

struct Options {
    out: PathBuf,
    target: Target,
    steps: usize,
}

/// `None` if help is asked for.
fn options(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut o = Options { out: "exported".into(), target: Target::Wgsl, steps: 150 };
    while let Some(word) = words.next() {
        if word == "--help" {
            return Ok(None);
        }
        let value = words.next().ok_or(format!("{word} needs a value, or is no option"))?;
        match &*word {
            "--out" => o.out = value.into(),
            "--target" => {
                o.target = match &*value {
                    "wgsl" => Target::Wgsl,
                    "spirv" => Target::Spirv,
                    "msl" => Target::Msl,
                    "hlsl" => Target::Hlsl,
                    "glsl" => Target::Glsl,
                    other => return Err(format!("--target is wgsl, spirv, msl, hlsl or glsl, not {other}")),
                }
            }
            "--steps" => o.steps = value.parse().map_err(|_| format!("--steps needs a number, not {value}"))?,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(Some(o))
}

fn main() -> ExitCode {
    let done = match options(std::env::args().skip(1)) {
        Ok(Some(o)) => run(&o).map_err(|e| e.to_string()),
        Ok(None) => {
            println!("{HELP}");
            Ok(())
        }
        Err(e) => Err(format!("{e}\nTry --help.")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(o: &Options) -> Result<()> {
    lazuli::manual_seed(0);
    let data = Mnist::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist10k"))?;
    let model = train(&data, o.steps)?;
    let (images, labels) = data.test.get(&(0..CHECKED).collect::<Vec<_>>())?;

    // The network as data; what it captured becomes its weights.
    let program = Program::new(|x: &[Tensor]| model.forward(&x[0]).softmax(-1), &[&images])?;
    let scores = program.run(&[&images])?.remove(0);
    let right = scores.argmax(-1).eq(&labels).sum(..).item::<i64>()?;
    println!("network  reads {right} of {CHECKED} digits");

    let kernels = o.out.join("kernels");
    std::fs::create_dir_all(&o.out)?;
    program.export_kernels(&kernels, o.target)?;
    let [x, y] = ["images.npy", "scores.npy"].map(|name| o.out.join(name));
    npy::write(&x, &images)?;
    npy::write(&y, &scores)?;
    println!("exported {:?} to {}", o.target, kernels.display());
    if matches!(o.target, Target::Wgsl | Target::Spirv) {
        println!("check it with python and its packages wgpu and numpy:\n");
        println!("  python examples/export/run.py {} --input x0={} --expect {}", kernels.display(), x.display(), y.display());
    }
    Ok(())
}

fn train(data: &Mnist, steps: usize) -> Result<Cnn> {
    let &[_, height, width] = &data.train.input_shape()[..] else { unreachable!("images have a height and a width") };
    let mut model = Cnn::new([height, width], data.classes()?);
    let mut adam = Adam::new(1e-3);
    for batch in data.train.batches(64)?.shuffle(0, 1).take(steps) {
        let (x, y) = batch?;
        let grads = grad(|m: &Cnn| m.forward(&x).cross_entropy(&y), &model);
        adam.step(&mut model, &grads)?;
    }
    Ok(model)
}
