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
pub mod random;
mod reduce;
mod resample;
mod shape;
mod spectral;

use super::args::{Args, R};
use super::case::{Arg, Case, Files};
use lazuli::{Axis, Tensor};
use std::collections::HashMap;

/// From arguments to outputs.
pub type OpFn = fn(&Args) -> R;

/// A family's ops.
pub type Table = &'static [(&'static str, OpFn)];

const TABLES: [Table; 11] = [
    elementwise::TABLE,
    reduce::TABLE,
    shape::TABLE,
    index::TABLE,
    linalg::TABLE,
    spectral::TABLE,
    nn::TABLE,
    loss::TABLE,
    conv::TABLE,
    resample::TABLE,
    random::TABLE,
];

/// Every name that is dispatched.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().flat_map(|t| t.iter()).map(|(n, _)| *n)
}

/// The dispatcher of an op. A view and its copy are one here, and so are checked and "unsafe" splits.
pub fn find(op: &str) -> Option<OpFn> {
    let op = op.strip_suffix("_copy").filter(|o| *o != "index").unwrap_or(op);
    let op = op.strip_prefix("unsafe_").unwrap_or(op);
    TABLES.iter().flat_map(|t| t.iter()).find(|(n, _)| *n == op).map(|(_, f)| *f)
}

/// Overloads that are knowingly left out: op and the start of the reason.
const GAPS: &[(&str, &str)] =
    &[("norm", "norm nuc"), ("linalg.norm", "norm nuc"), ("linalg.norm", "a matrix norm"), ("nn.functional.interpolate", "antialias")];

/// Ops that take floats only, or no truth values, where PyTorch takes more.
const FLOATS: &[&str] = &[
    "nn.functional.conv1d",
    "nn.functional.conv2d",
    "nn.functional.conv3d",
    "nn.functional.conv_transpose1d",
    "nn.functional.conv_transpose2d",
    "nn.functional.conv_transpose3d",
    "nn.functional.avg_pool1d",
    "nn.functional.avg_pool2d",
    "nn.functional.avg_pool3d",
    "nn.functional.adaptive_avg_pool1d",
    "nn.functional.adaptive_avg_pool2d",
    "nn.functional.adaptive_avg_pool3d",
    "nn.functional.fold",
    "nn.functional.interpolate",
    "nn.functional.local_response_norm",
    "nn.functional.max_unpool1d",
    "nn.functional.max_unpool2d",
    "nn.functional.max_unpool3d",
    "nn.functional.upsample_bilinear",
];

/// Whether an error about dtypes is the documented answer.
pub fn refuses(case: &Case, files: &Files) -> bool {
    let first = files.host.get(&format!("{}/in0", case.id));
    FLOATS.contains(&case.op.as_str()) && first.is_some_and(|t| !t.dtype.is_float())
}

/// Cases in which PyTorch's number is not the one to have: id, hash of its inputs, which check, why. They are reported apart, never as
/// passed. The hash says that it is this case, and not another of that number in another directory.
const DIFFERENCES: &[(&str, u64, &str, &str)] = &[
    (
        "nn.functional.gelu/013",
        0xbfd45dcf029c0d37,
        "value",
        "gelu(inf) is inf and gelu(f32::MAX) is f32::MAX; PyTorch's kernel overflows on the way",
    ),
    (
        "matmul/028",
        0xce74b34b0a91c27d,
        "value",
        "a product that overflows f32 is added before it is rounded (fused multiply-add), so inf - inf does not arise",
    ),
    (
        "copysign/018",
        0x576f715d5e1166a5,
        "gradient",
        "the slope of |x| at an infinity is 1; PyTorch divides the result by x, which is NaN there",
    ),
    ("var/032", 0x2e51d7702beb7531, "gradient", "squares overflow f32; PyTorch's CPU kernel accumulates in f64"),
    ("std/032", 0x2e51d7702beb7531, "value", "squares overflow f32; PyTorch's CPU kernel accumulates in f64"),
    (
        "nn.functional.scaled_dot_product_attention/001",
        0x7f9a64a1b33db33e,
        "gradient",
        "a saturated softmax: 0 in exact arithmetic, a rounding error of 1.09e-5 in PyTorch",
    ),
];

/// The inputs of a case, as a number (FNV-1a over their bytes).
fn hash(case: &Case, files: &Files) -> u64 {
    let prefix = format!("{}/in", case.id);
    let mut keys: Vec<&String> = files.host.keys().filter(|k| k.starts_with(&prefix)).collect();
    keys.sort();
    let bytes = keys.into_iter().flat_map(|k| files.host[k].to_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x0100_0000_01b3))
}

/// Why a check of a case is known to differ, if it is.
pub fn difference(case: &Case, files: &Files, what: &str) -> Option<&'static str> {
    let found = DIFFERENCES.iter().find(|(i, _, w, _)| *i == case.id && *w == what)?;
    (hash(case, files) == found.1).then_some(found.3)
}

/// Why a check that failed need not pass, whatever the numbers are.
pub fn rounding(case: &Case, files: &Files, what: &str) -> Option<&'static str> {
    let twice = |t: &lazuli::trace::interp::HostTensor| {
        let mut seen = std::collections::HashSet::new();
        t.scalars().any(|s| !seen.insert(s.as_i64()))
    };
    let prefix = format!("{}/in", case.id);
    let mut indices = files.host.iter().filter(|(k, t)| k.starts_with(&prefix) && t.dtype.is_int()).map(|(_, t)| t);
    if matches!(case.op.as_str(), "index_put" | "scatter" | "index_copy") && what == "gradient" && indices.any(twice) {
        return Some("an element is written twice; PyTorch also gives those updates a gradient that are written over");
    }
    if case.tags.iter().any(|t| t == "extreme") && what == "gradient" {
        return Some("a gradient where the value or the way to it is infinite or NaN");
    }
    let one = |a: &Arg| matches!(a, Arg::Int(1)) || matches!(a, Arg::List(l) if l.iter().all(|x| matches!(x, Arg::Int(1))));
    let over = case.args.get(1).or_else(|| case.kwargs.get("normalized_shape"));
    if case.op == "nn.functional.layer_norm" && what == "gradient" && over.is_some_and(one) {
        return Some("one element less its mean is 0; PyTorch's is its rounding error times 1/sqrt(eps)");
    }
    None
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

/// A tensor of what may be a number.
pub fn tensor_of(o: impl lazuli::Operand) -> Tensor {
    match o.operand() {
        lazuli::tensor::Rhs::Tensor(t) => t,
        n => Tensor::full([], n),
    }
}

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
    axis_of(&x, a.int_or(if matches!(case.op.as_str(), "topk" | "kthvalue") { 2 } else { 1 }, "dim", -1)?)
}
