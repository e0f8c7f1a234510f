//! PyTorch's ops, by their OpInfo names, in terms of Tensor methods. One table a family.
//!
//! A dispatcher only reads arguments and calls the public interface; where PyTorch has one function for what a user of this library
//! composes, it composes. What cannot be expressed is an `Err` that says what.

mod conv;
mod elementwise;
mod index;
mod linalg;
mod loss;
mod nn;
mod reduce;
mod resample;
mod shape;

use super::args::{Args, R};
use super::case::{Case, Files};
use lazuli::{Axis, Tensor};
use std::collections::HashMap;

/// From arguments to outputs.
pub type OpFn = fn(&Args) -> R;

/// A family's ops.
pub type Table = &'static [(&'static str, OpFn)];

const TABLES: [Table; 9] =
    [elementwise::TABLE, reduce::TABLE, shape::TABLE, index::TABLE, linalg::TABLE, nn::TABLE, loss::TABLE, conv::TABLE, resample::TABLE];

/// The dispatcher of an op.
pub fn find(op: &str) -> Option<OpFn> {
    TABLES.iter().flat_map(|t| t.iter()).find(|(n, _)| *n == op).map(|(_, f)| *f)
}

/// Overloads that are knowingly left out: op and the start of the reason.
const GAPS: &[(&str, &str)] = &[("nn.functional.scaled_dot_product_attention", "dropout is random")];

pub fn known_gap(op: &str, why: &str) -> bool {
    GAPS.iter().any(|(o, w)| *o == op && why.starts_with(w))
}

/// Calls a method that takes any operand with a tensor or a number: `operand!(a.either(1, "other")?, o => x.add(o))`.
macro_rules! operand {
    ($e:expr, $x:ident => $body:expr) => {
        match $e {
            $crate::goldens::args::Either::Tensor(t) => {
                let $x = &t;
                $body
            }
            $crate::goldens::args::Either::Int($x) => $body,
            $crate::goldens::args::Either::Float($x) => $body,
            $crate::goldens::args::Either::Bool($x) => $body,
        }
    };
}
pub(super) use operand;

/// The axis number of a PyTorch `dim`.
pub fn axis_of(x: &Tensor, dim: isize) -> R<usize> {
    Axis(dim).resolve(x.rank(), "dim").map_err(|e| e.to_string())
}

/// Ascending axis numbers; none given means all.
pub fn axes_of(x: &Tensor, dims: Option<Vec<isize>>) -> R<Vec<usize>> {
    match dims {
        Some(d) if !d.is_empty() => {
            let mut v: Vec<usize> = d.iter().map(|&i| axis_of(x, i)).collect::<R<_>>()?;
            v.sort_unstable();
            v.dedup();
            v.retain(|&a| a < x.rank());
            Ok(v)
        }
        _ => Ok((0..x.rank()).collect()),
    }
}

/// The operand of a sort, and its axis, to judge indices by.
pub fn sorted_input(case: &Case, files: &Files, tensors: &HashMap<String, Tensor>) -> R<Tensor> {
    Args::new(case, files, tensors).tensor(0, "input")
}

pub fn sort_axis(case: &Case, files: &Files, tensors: &HashMap<String, Tensor>) -> R<usize> {
    let a = Args::new(case, files, tensors);
    let x = a.tensor(0, "input")?;
    axis_of(&x, a.int_or(if case.op == "topk" { 2 } else { 1 }, "dim", -1)?)
}
