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

/// Cases in which PyTorch's number is not the one to have: id, which check, why. They are reported apart, never as passed.
pub const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("nn.functional.gelu/013", "value", "gelu(inf) is inf and gelu(f32::MAX) is f32::MAX; PyTorch's kernel overflows on the way"),
    ("matmul/028", "value", "a product that overflows f32 is added before it is rounded (fused multiply-add), so inf - inf does not arise"),
    ("copysign/018", "gradient", "the slope of |x| at an infinity is 1; PyTorch divides the result by x, which is NaN there"),
    ("var/032", "gradient", "squares overflow f32; PyTorch's CPU kernel accumulates in f64"),
    ("std/032", "value", "squares overflow f32; PyTorch's CPU kernel accumulates in f64"),
    ("nn.functional.layer_norm/002", "gradient", "one element less its mean is 0; PyTorch's is 2e-5, its rounding error times 1/sqrt(eps)"),
    (
        "nn.functional.scaled_dot_product_attention/001",
        "gradient",
        "a saturated softmax: 0 in exact arithmetic, a rounding error of 1.09e-5 in PyTorch",
    ),
];

/// Why a check of a case is known to differ, if it is.
pub fn difference(id: &str, what: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(i, w, _)| *i == id && *w == what).map(|(_, _, why)| *why)
}

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
