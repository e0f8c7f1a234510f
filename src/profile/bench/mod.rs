//! The benchmark cases: the same work as is measured in other engines, timed by the same rules.
//!
//! A [`Case`] says what is computed and how many flops and bytes that takes at least; its `build` makes the inputs and returns the
//! closure that does one whole forced call. [`run`] times it: one first call (compilation included), a warm-up, then repeats.
//! Every call records its operations anew from the leaves: a tensor that has a value is not computed again.
//! [`control`] is hand-written code for some of the same work, timed in the same run, so that a slow machine shows.
//!
//! Not here: judging. A report prints what was measured; what counts as slow is the reader's business.

mod contraction;
pub mod control;
mod data;
mod elementwise;
pub mod floor;
mod layers;
mod measure;
mod memory;
pub mod report;
mod simulate;
pub mod sweep;
mod train;

pub use measure::{Rules, Timing};

use crate::base::Result;
use crate::{Device, Report, Tensor, eval, explain, stats};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// What one call leaves.
pub enum Produced {
    /// Tensors, perhaps still to be computed.
    Tensors(Vec<Tensor>),
    /// A number that was read back, such as a loss.
    Number(f64),
}

impl Produced {
    fn of<const N: usize>(tensors: [Tensor; N]) -> Result<Produced> {
        Ok(Produced::Tensors(tensors.into()))
    }

    /// Computes the tensors.
    fn force(self) -> Result<Produced> {
        if let Produced::Tensors(t) = &self {
            eval(t)?;
        }
        Ok(self)
    }

    /// The number, or the mean of the magnitudes of the first tensor, summed in f64.
    fn check(&self) -> Result<f64> {
        match self {
            Produced::Number(x) => Ok(*x),
            Produced::Tensors(t) => {
                let v = t[0].to_vec::<f32>()?;
                Ok(v.iter().map(|x| x.abs() as f64).sum::<f64>() / v.len().max(1) as f64)
            }
        }
    }
}

/// One whole call, but for computing what it returns.
pub type Step = Box<dyn FnMut() -> Result<Produced>>;

/// A benchmark case.
pub struct Case {
    /// Its name in reports.
    pub name: &'static str,
    /// The exact work.
    pub work: &'static str,
    /// Floating-point operations of one call; 0 where bytes are what counts.
    pub flop: f64,
    /// Bytes that one call must move.
    pub bytes: f64,
    /// What else the report says of it.
    pub rate: Rate,
    build: fn() -> Result<Step>,
}

/// A figure derived from the time of a call.
#[derive(Clone, Copy)]
pub enum Rate {
    /// None.
    Plain,
    /// Microseconds for each of so many items, under that name.
    Micros(&'static str, f64),
    /// So many steps a second.
    Steps(f64),
}

impl Case {
    const fn new(name: &'static str, work: &'static str, flop: f64, bytes: f64, build: fn() -> Result<Step>) -> Case {
        Case { name, work, flop, bytes, rate: Rate::Plain, build }
    }

    const fn rate(mut self, rate: Rate) -> Case {
        self.rate = rate;
        self
    }
}

const MIB: f64 = 1048576.0;

/// Every case, in the order of reports.
pub fn cases() -> Vec<Case> {
    [elementwise::cases(), memory::cases(), contraction::cases(), layers::cases(), train::cases(), simulate::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// What evaluating the result of a case runs; `None` if the case evaluates on its own, as training steps do.
///
/// # Errors
/// If the inputs cannot be made.
pub fn explain_case(case: &Case) -> Result<Option<Report>> {
    Ok(match (case.build)()?()? {
        Produced::Tensors(t) => Some(explain(&t)),
        Produced::Number(_) => None,
    })
}

/// The kernels of one call of a case, in the order in which they ran, and the microseconds each took on the device, by its own clock. An earlier call
/// has compiled them.
///
/// # Errors
/// `Device` if the device cannot tell; what the case reports.
pub fn kernels_of(case: &Case, device: Device) -> Result<Vec<(String, f64)>> {
    let mut step = (case.build)()?;
    for _ in 0..2 {
        step()?.force()?;
    }
    device.synchronize()?;
    let (made, kernels) = device.time_kernels(|| step()?.force())?;
    made.map(|_| kernels)
}

/// Times of the first and of the second call of `ew_chain` at 1Mi, in ms: what a fresh process has to pay. Making the input is not
/// counted.
///
/// # Errors
/// What the device reports.
pub fn cold() -> Result<(f64, f64)> {
    let mut step = elementwise::chain(1 << 20)?;
    let mut timed = || -> Result<f64> {
        let start = Instant::now();
        let made = step()?.force()?;
        let ms = measure::ms(start);
        drop(made);
        Ok(ms)
    };
    Ok((timed()?, timed()?))
}

/// What came of a case.
pub struct Outcome {
    /// The case's name.
    pub name: &'static str,
    /// Its time and the check of its first result, or why there is none.
    pub result: Result<(Timing, f64), String>,
}

/// Times a case. A panic of the case is its outcome.
pub fn run(case: &Case, rules: &Rules) -> Outcome {
    let timed = catch_unwind(AssertUnwindSafe(|| -> Result<(Timing, f64)> {
        let mut step = (case.build)()?;
        let mut calls = 0;
        let before = stats();
        let (mut t, check) = measure::measure(
            rules,
            || {
                calls += 1;
                step()?.force()
            },
            Produced::check,
        )?;
        t.launches = Some((stats().launches - before.launches) as f64 / calls as f64);
        Ok((t, check))
    }));
    Outcome { name: case.name, result: outcome(timed) }
}

/// The result, or the text of the error or of the panic.
fn outcome(timed: std::thread::Result<Result<(Timing, f64)>>) -> Result<(Timing, f64), String> {
    match timed {
        Ok(Ok(r)) => Ok(r),
        Ok(Err(e)) => Err(e.to_string()),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()))
            .unwrap_or_else(|| "panicked".to_string())),
    }
}
