//! Weighing stars by watching them move: the masses of three bodies, found by gradient descent through the simulation of their orbits.
//!
//!     cargo run --release --example 04_transforms -- --out target
//!
//! Everything that makes it is a transform of a plain function: `scan` runs the time steps, `vmap` runs the same bodies from several starting
//! points, `grad` differentiates the misfit with respect to the masses, back through every step, and `jit` makes one program of
//! all of it together with the optimiser's update.

mod picture;
#[path = "../common/png.rs"]
mod png;

use lazuli::prelude::*;
use picture::Run;
use std::path::PathBuf;
use std::time::Instant;

const BODIES: usize = 3;
/// What is to be found out.
const TRUE_MASSES: [f32; BODIES] = [3.0, 0.9, 0.35];
const TIME_STEP: f32 = 0.01;
const STEPS: usize = 300;
const NOISE: f32 = 0.02;
const ITERATIONS: usize = 150;

/// Positions and velocities of all bodies, `[bodies, 2]` each.
type State = (Tensor, Tensor);

/// Newton's law, with G = 1: what each body feels of all the others.
fn acceleration(masses: &Tensor, x: &Tensor) -> Tensor {
    let apart = x.unsqueeze(0) - x.unsqueeze(1);
    // Softened, as simulations of stars do: a body does not pull itself, and near misses are gentle.
    let distance2 = apart.square().sum_keepdim(-1) + 0.05;
    (apart * masses.reshape([1, BODIES, 1]) / (&distance2 * distance2.sqrt())).sum(1)
}

/// Where the bodies are after each step of leapfrog (kick, drift, kick): `[steps, bodies, 2]`.
fn orbits(masses: &Tensor, start: &State) -> Tensor {
    let step = |(x, v, a): (Tensor, Tensor, Tensor), _time: Tensor| {
        let half = v + a * (TIME_STEP / 2.0);
        let x = x + &half * TIME_STEP;
        let a = acceleration(masses, &x);
        let v = half + &a * (TIME_STEP / 2.0);
        ((x.clone(), v, a), x)
    };
    let (x, v) = start.clone();
    let a = acceleration(masses, &x);
    scan((x, v, a), &Tensor::arange(STEPS), step).1
}

/// Four nights' starting points: a heavy star, and two lighter ones at growing distances, on nearly circular orbits.
fn starts() -> State {
    let (mut x, mut v) = (Vec::new(), Vec::new());
    for night in 0..4 {
        x.extend([0.0; 2]);
        v.extend([0.0; 2]);
        for body in 1..BODIES {
            let angle = night as f32 * 1.7 + body as f32 * (2.0 + 0.4 * night as f32);
            let radius = [0.0, 1.0, 1.8][body];
            let speed = (3.4f32 / radius).sqrt() * (0.86 + 0.06 * night as f32);
            x.extend([radius * angle.cos(), radius * angle.sin()]);
            v.extend([-speed * angle.sin(), speed * angle.cos()]);
        }
        // The whole stands still.
        let v = &mut v[night * BODIES * 2..];
        let heavy = TRUE_MASSES[0];
        v[0] = -(TRUE_MASSES[1] * v[2] + TRUE_MASSES[2] * v[4]) / heavy;
        v[1] = -(TRUE_MASSES[1] * v[3] + TRUE_MASSES[2] * v[5]) / heavy;
    }
    (Tensor::from_vec(x, [4, BODIES, 2]), Tensor::from_vec(v, [4, BODIES, 2]))
}

fn main() -> Result<()> {
    let Some(out) = arguments() else { return Ok(()) };
    Device::from_args()?.set_default();
    manual_seed(1);
    let starts = starts();
    // One function of one start becomes one of all of them; the masses are shared.
    let all_orbits = |masses: &Tensor| vmap(|start: &State| orbits(masses, start), 0)(&starts);

    // What a telescope has seen: the truth, blurred.
    let masses = Tensor::from_slice(&TRUE_MASSES, [BODIES]);
    let truth = all_orbits(&masses);
    let seen = &truth + truth.randn_like() * NOISE;
    lazuli::eval(&[&seen])?;

    // Positive whatever the step: the logarithms of the masses are moved. At first only the beginning of the orbits counts: what comes late
    // is so far off at first that its slope leads nowhere.
    let times = Tensor::arange(STEPS).reshape([1, STEPS, 1, 1]);
    let misfit = |log_masses: &Tensor, horizon: &Tensor| {
        let weights = ((horizon - &times) / 15.0).sigmoid();
        ((all_orbits(&log_masses.exp()) - &seen).square() * &weights).mean(..) / weights.mean(..)
    };
    let step = jit(|(mut log_masses, mut adam, horizon): (Tensor, Adam, Tensor)| {
        let (loss, slope) = value_and_grad(|m: &Tensor| misfit(m, &horizon), &log_masses);
        adam.step(&mut log_masses, &slope)?;
        Ok((log_masses, adam, loss))
    });

    let guess = Tensor::from_slice(&[2.0f32, 0.5, 0.5], [BODIES]);
    let (mut log_masses, mut adam) = (guess.log(), Adam::new(0.05));
    let mut history = vec![guess.to_vec::<f32>()?];
    println!("4 starting points x {STEPS} time steps of {BODIES} bodies, positions blurred by {NOISE}\n");
    println!("{:>9} {:>12}   masses", "iteration", "misfit");
    let clock = Instant::now();
    for i in 0..ITERATIONS {
        let loss;
        adam.set_lr(0.05 * (1.0 - i as f64 / ITERATIONS as f64));
        let horizon = Tensor::full([], STEPS as f32 * (0.3 + 1.2 * i as f32 / ITERATIONS as f32));
        (log_masses, adam, loss) = step((log_masses, adam, horizon))?;
        let now = log_masses.exp().to_vec::<f32>()?;
        if i % 15 == 0 || i + 1 == ITERATIONS {
            println!("{i:>9} {:>12.6}   {:.4}  {:.4}  {:.4}", loss.item::<f32>()?, now[0], now[1], now[2]);
        }
        history.push(now);
    }
    let seconds = clock.elapsed().as_secs_f64();
    println!(
        "\n{ITERATIONS} gradients through {STEPS} steps in {seconds:.1} s: the step was recorded {} times, then replayed",
        step.records()
    );

    let found = log_masses.exp();
    let got = found.to_vec::<f32>()?;
    println!("\n{:>6} {:>10} {:>10} {:>8}", "body", "true", "found", "error");
    for (i, (t, g)) in TRUE_MASSES.iter().zip(&got).enumerate() {
        println!("{:>6} {t:>10.4} {g:>10.4} {:>7.2}%", i + 1, 100.0 * (g / t - 1.0).abs());
    }
    let worst = TRUE_MASSES.iter().zip(&got).map(|(t, g)| (g / t - 1.0).abs()).fold(0f32, f32::max);

    let path = out.join("04_transforms.png");
    let lines = |t: Tensor| t.to_vec::<f32>();
    picture::write(
        &path,
        &Run {
            nights: 4,
            steps: STEPS,
            seen: &lines(seen.clone())?,
            guessed: &lines(all_orbits(&guess))?,
            fitted: &lines(all_orbits(&found))?,
            history: &history,
            truth: &TRUE_MASSES,
        },
    )?;
    println!("\n{}: dots are what was seen, faint lines the first guess, bright lines the fit;", path.display());
    println!("at the right each mass on its way to the true value (dashed)");
    assert!(worst < 0.03, "the masses found differ by {worst} from the true ones");
    Ok(())
}

/// The folder for the picture; `None` where only help was asked for.
fn arguments() -> Option<PathBuf> {
    let mut args = std::env::args().skip(1);
    let mut out = PathBuf::from(".");
    while let Some(a) = args.next() {
        match (a.as_str(), args.next()) {
            ("--out", Some(dir)) => out = dir.into(),
            ("--device", Some(_)) => {}
            (other, _) => {
                if other != "--help" {
                    eprintln!("`{other}` is not understood, or lacks its value");
                }
                println!(
                    "cargo run --release --example 04_transforms -- [--device NAME] [--out DIR]   DIR: where 04_transforms.png is written [.]"
                );
                return None;
            }
        }
    }
    Some(out)
}
