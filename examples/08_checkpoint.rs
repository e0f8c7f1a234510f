//! What checkpoint policies save: memory between the passes of a deep residual net, and what computing again costs.
//!
//!     cargo run --release --example 08_checkpoint

use lazuli::prelude::*;
use lazuli::{Policy, checkpoint_name, checkpoint_with};
use std::time::Instant;

const WIDTH: usize = 256;
const BATCH: usize = 1024;
const BLOCKS: usize = 8;
const LAYERS: usize = 3;

/// Layers of norm, product, gelu and residual.
fn block((ws, x): &(Vec<Tensor>, Tensor)) -> Tensor {
    ws.iter().fold(x.clone(), |x, w| {
        let h = x.layer_norm([WIDTH], None, None, 1e-5).matmul(w);
        checkpoint_name(&h, "product").gelu() + x
    })
}

fn main() -> Result<()> {
    Device::from_args()?.set_default();
    manual_seed(1);
    let scale = 1.0 / (WIDTH as f32).sqrt();
    let net: Vec<Vec<Tensor>> = (0..BLOCKS).map(|_| (0..LAYERS).map(|_| Tensor::randn([WIDTH, WIDTH]) * scale).collect()).collect();
    let x = Tensor::randn([BATCH, WIDTH]);
    lazuli::eval(&[&x])?;
    lazuli::eval(&net.concat())?;
    println!("{BLOCKS} blocks of {LAYERS} layers, width {WIDTH}, batch {BATCH}; memory of a gradient besides weights and results\n");
    println!("| kept | temporaries, MiB | step, ms |\n| --- | ---: | ---: |");
    let policies = [
        ("everything (no checkpoint)", None),
        ("`Policy::everything()`", Some(Policy::everything())),
        ("`Policy::dots()`", Some(Policy::dots())),
        ("`Policy::names([\"product\"])`", Some(Policy::names(["product"]))),
        ("`Policy::nothing()`", Some(Policy::nothing())),
    ];
    for (name, policy) in policies {
        let step = || {
            let loss = |net: &Vec<Vec<Tensor>>| {
                let out = net.iter().fold(x.clone(), |h, ws| {
                    let arg = (ws.clone(), h);
                    match &policy {
                        None => block(&arg),
                        Some(p) => checkpoint_with(p.clone(), block)(&arg),
                    }
                });
                out.square().mean(..)
            };
            lazuli::function::tree::leaves(&grad(loss, &net))
        };
        let bytes = lazuli::explain(&step()).live_bytes();
        lazuli::eval(&step())?;
        let mut times: Vec<f64> = (0..5)
            .map(|_| {
                let t = Instant::now();
                lazuli::eval(&step()).map(|()| t.elapsed().as_secs_f64() * 1e3)
            })
            .collect::<Result<_>>()?;
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.1} | {:.1} |", bytes as f64 / (1 << 20) as f64, times[2]);
    }
    Ok(())
}
