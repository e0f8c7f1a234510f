//! Every op of the language at about a million elements, to be put beside the same op of PyTorch's (`benches/op_sweep.py`).
//!
//! [`OPS`] says the calls: PyTorch's name, what the inputs are, and what is computed of them. The inputs are made and
//! evaluated before; a call records the op and evaluates it. The script reads the inputs from the listing, so sizes are written once.

mod ops;

pub use ops::OPS;

use super::{Outcome, Produced, Rules, data, measure};
use crate::base::Result;
use crate::{DType, Tensor, stats};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One op and its inputs.
pub struct SweptOp {
    /// PyTorch's name, with what sets it apart in parentheses.
    pub name: &'static str,
    /// The inputs: `KIND SIZExSIZE..`, separated by commas. Kinds: `normal`; `unit`, uniform in 0..1; `above`, uniform in 1..2;
    /// `mask`, Bool, half of it true; `below:N`, I64 uniform in 0..N.
    pub inputs: &'static str,
    call: fn(&[Tensor]) -> Tensor,
}

impl SweptOp {
    const fn new(name: &'static str, inputs: &'static str, call: fn(&[Tensor]) -> Tensor) -> SweptOp {
        SweptOp { name, inputs, call }
    }

    /// The inputs, computed.
    fn made(&self) -> Result<Vec<Tensor>> {
        let specs = self.inputs.split(", ").filter(|s| !s.is_empty());
        let made: Vec<Tensor> = specs.enumerate().map(|(i, spec)| input(spec, i as u64)).collect::<Result<_>>()?;
        crate::eval(&made)?;
        Ok(made)
    }

    /// Times it. A panic of the op is its outcome.
    pub fn run(&self, rules: &Rules) -> Outcome {
        let timed = catch_unwind(AssertUnwindSafe(|| {
            let inputs = self.made()?;
            let before = stats().launches;
            let mut calls = 0;
            let call = || {
                calls += 1;
                Produced::Tensors(vec![(self.call)(&inputs)]).force()
            };
            let (mut t, _) = measure::measure(rules, call, |_| Ok(f64::NAN))?;
            t.launches = Some((stats().launches - before) as f64 / calls as f64);
            Ok((t, f64::NAN))
        }));
        Outcome { name: self.name, result: super::outcome(timed) }
    }

    /// What a call runs.
    ///
    /// # Errors
    /// If the inputs cannot be made.
    pub fn explain(&self) -> Result<crate::Report> {
        Ok(crate::explain(&[(self.call)(&self.made()?)]))
    }
}

fn input(spec: &str, seed: u64) -> Result<Tensor> {
    let bad = || crate::base::error::err!(Argument, "op_sweep: `{spec}` is no input");
    let (kind, sizes) = spec.split_once(' ').ok_or_else(bad)?;
    let shape: Vec<usize> = sizes.split('x').map(|n| n.parse().map_err(|_| bad())).collect::<Result<_>>()?;
    let n = shape.iter().product();
    Ok(match kind.split_once(':') {
        None if kind == "normal" => data::randn([n], seed, 1.0),
        None if kind == "unit" => data::uniform(n, seed, 1.0),
        None if kind == "above" => data::uniform(n, seed, 1.0) + 1.0,
        None if kind == "mask" => data::ids(n, 2, seed).cast(DType::Bool),
        Some(("below", limit)) => data::ids(n, limit.parse().map_err(|_| bad())?, seed),
        _ => return Err(bad()),
    }
    .reshape(shape.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also that every op of the table computes something.
    #[test]
    fn every_op_has_inputs_that_can_be_made_and_a_name_of_its_own() {
        let mut names: Vec<&str> = OPS.iter().map(|o| o.name).collect();
        names.sort_unstable();
        names.windows(2).for_each(|w| assert_ne!(w[0], w[1]));
        for op in OPS {
            for spec in op.inputs.split(", ").filter(|s| !s.is_empty()) {
                let (_, sizes) = spec.split_once(' ').unwrap();
                let n: usize = sizes.split('x').map(|n| n.parse::<usize>().unwrap()).product();
                assert!(n <= 1 << 22, "{}: {spec}", op.name);
            }
        }
    }

    #[test]
    fn a_malformed_input_is_an_error() {
        for spec in ["normal", "normal 3xa", "below:x 3", "other 3"] {
            assert!(input(spec, 0).unwrap_err().to_string().contains(spec));
        }
    }
}
