//! Products of matrices and vectors.

use super::{Table, operand};
use crate::goldens::args::{Args, Either, R};
use crate::goldens::case::Arg;
use lazuli::{Operand, Tensor};

macro_rules! product {
    ($method:ident) => {
        |a| Ok(vec![a.tensor(0, "input")?.$method(&a.tensor(1, "other|tensor")?)])
    };
}

pub const TABLE: Table = &[
    ("matmul", product!(matmul)),
    ("__rmatmul__", |a| Ok(vec![a.tensor(1, "other")?.matmul(&a.tensor(0, "input")?)])),
    ("mm", |a| Ok(vec![a.tensor(0, "input")?.mm(&a.tensor(1, "mat2")?)])),
    ("bmm", |a| Ok(vec![a.tensor(0, "input")?.bmm(&a.tensor(1, "mat2")?)])),
    ("mv", |a| Ok(vec![a.tensor(0, "input")?.mv(&a.tensor(1, "vec")?)])),
    ("dot", product!(dot)),
    ("vdot", product!(dot)),
    ("inner", product!(inner)),
    ("outer", |a| Ok(vec![a.tensor(0, "input")?.outer(&a.tensor(1, "vec2")?)])),
    ("kron", product!(kron)),
    ("addmm", |a| added(a, Tensor::mm, |x, p, q, b, s| x.addmm(p, q, b, s), ["mat1", "mat2"])),
    ("addmv", |a| added(a, Tensor::mv, |x, p, q, b, s| x.addmv(p, q, b, s), ["mat", "vec"])),
    ("addr", |a| added(a, Tensor::outer, |x, p, q, b, s| x.addr(p, q, b, s), ["vec1", "vec2"])),
    ("addbmm", |a| added(a, |x, y| x.bmm(y).sum(0).cast(x.dtype()), |x, p, q, b, s| x.addbmm(p, q, b, s), ["batch1", "batch2"])),
    ("baddbmm", |a| added(a, Tensor::bmm, |x, p, q, b, s| x.baddbmm(p, q, b, s), ["batch1", "batch2"])),
    ("einsum", |a| {
        // OpInfo's sample is (tensors, equation); the documented call is einsum(equation, *operands).
        let (tensors, equation) = if let Some(Arg::Str(_)) = a.get(0, "equation") {
            ((1..a.count()).map(|i| a.tensors(i, "operands")).collect::<R<Vec<_>>>()?.concat(), a.str_or(0, "equation", "")?)
        } else {
            (a.tensors(0, "tensors")?, a.str_or(1, "equation", "")?)
        };
        Ok(vec![Tensor::einsum(equation, &tensors)])
    }),
    ("tensordot", |a| {
        let (x, y) = (a.tensor(0, "a")?, a.tensor(1, "b")?);
        let (p, q): (Vec<isize>, Vec<isize>) = match a.get(2, "dims") {
            Some(Arg::List(l)) if l.len() == 2 => {
                let list = |v: &Arg| -> R<Vec<isize>> {
                    let Arg::List(l) = v else { return Err(format!("dims {v:?}")) };
                    l.iter().map(|i| if let Arg::Int(i) = i { Ok(*i as isize) } else { Err(format!("dims {i:?}")) }).collect()
                };
                (list(&l[0])?, list(&l[1])?)
            }
            _ => {
                let n = a.int_or(2, "dims", 2)?;
                ((-n..0).collect(), (0..n).collect())
            }
        };
        Ok(vec![x.tensordot(&y, p, q)])
    }),
    ("linalg.multi_dot", |a| Ok(vec![Tensor::multi_dot(&a.tensors(0, "tensors")?)])),
    ("nn.functional.linear", |a| {
        let b = a.tensor_opt(2, "bias")?;
        Ok(vec![a.tensor(0, "input")?.linear(&a.tensor(1, "weight")?, b.as_ref())])
    }),
    ("nn.functional.bilinear", |a| {
        let (x, y, w) = (a.tensor(0, "input1")?, a.tensor(1, "input2")?, a.tensor(2, "weight")?);
        let b = a.tensor_opt(3, "bias")?;
        Ok(vec![x.bilinear(&y, &w, b.as_ref())])
    }),
];

fn is_zero(e: &Either) -> bool {
    matches!(e, Either::Int(0)) || matches!(e, Either::Float(f) if *f == 0.0)
}

type Scaled = fn(&Tensor, &Tensor, &Tensor, lazuli::tensor::Rhs, lazuli::tensor::Rhs) -> Tensor;

/// beta * input + alpha * product
fn added(a: &Args, product: fn(&Tensor, &Tensor) -> Tensor, method: Scaled, names: [&str; 2]) -> R {
    let (x, p, q) = (a.tensor(0, "input")?, a.tensor(1, names[0])?, a.tensor(2, names[1])?);
    if a.get(usize::MAX, "beta").is_none() && a.get(usize::MAX, "alpha").is_none() {
        // Also of truth values, which no number can be multiplied with.
        return Ok(vec![if x.dtype() == lazuli::DType::Bool { x + product(&p, &q) } else { method(&x, &p, &q, 1.operand(), 1.operand()) }]);
    }
    let factor = |name: &str| -> R<Either> {
        let whole = x.dtype() == lazuli::DType::Bool && a.get(usize::MAX, name).is_none();
        if whole { Ok(Either::Bool(true)) } else { a.either_or(usize::MAX, name, 1.0) }
    };
    let whole = |e: Either| match e {
        // PyTorch takes factors of integers as integers.
        Either::Float(f) if !x.dtype().is_float() => Either::Int(f as i64),
        e => e,
    };
    let (beta, alpha) = (whole(factor("beta")?), whole(factor("alpha")?));
    if is_zero(&beta) {
        // PyTorch then does not read the input at all, so that NaN in it is gone.
        return Ok(vec![operand!(alpha, s => product(&p, &q) * s)]);
    }
    Ok(vec![operand!(beta, b => operand!(alpha, s => method(&x, &p, &q, b.operand(), s.operand())))])
}
