//! Fourier transforms and decompositions of small matrices. Complex results are compared as PyTorch's `view_as_real`.

use super::Table;
use crate::goldens::args::{Args, R};
use lazuli::Tensor;
use lazuli::fft::{self, Norm};

fn norm(a: &Args, at: usize) -> R<Norm> {
    match a.str_or(at, "norm", "backward")? {
        "backward" => Ok(Norm::Backward),
        "ortho" => Ok(Norm::Ortho),
        "forward" => Ok(Norm::Forward),
        other => Err(format!("norm {other}")),
    }
}

/// Number of points, axis, norm.
fn line(a: &Args) -> R<(Option<usize>, isize, Norm)> {
    Ok((a.int_opt(1, "n")?.map(|n| n as usize), a.int_or(2, "dim", -1)?, norm(a, 3)?))
}

/// Sizes, axes, norm.
fn plane(a: &Args) -> R<(Option<[usize; 2]>, [isize; 2], Norm)> {
    let pair = |v: Vec<isize>| <[isize; 2]>::try_from(v).map_err(|v| format!("{} axes", v.len()));
    let sizes = a.ints_opt(1, "s")?.map(pair).transpose()?.map(|s| s.map(|n| n as usize));
    Ok((sizes, a.ints_opt(2, "dim")?.map(pair).transpose()?.unwrap_or([-2, -1]), norm(a, 3)?))
}

macro_rules! transform {
    ($arguments:ident, $f:path) => {
        |a| {
            let (n, axes, norm) = $arguments(a)?;
            Ok(vec![$f(&a.tensor(0, "input")?, n, axes, norm).to_real()])
        }
    };
    (real $arguments:ident, $f:path) => {
        |a| {
            let (n, axes, norm) = $arguments(a)?;
            Ok(vec![$f(&a.tensor(0, "input")?, n, axes, norm)])
        }
    };
}

fn mode(a: &Args) -> R<()> {
    match a.str_or(1, "mode", "reduced")? {
        "reduced" => Ok(()),
        other => Err(format!("qr mode {other}")),
    }
}

fn cholesky(a: &Args) -> R {
    Ok(vec![a.tensor(0, "input|A")?.cholesky(a.bool_or(1, "upper", false)?)])
}

fn slogdet(a: &Args) -> R {
    let (sign, log) = a.tensor(0, "input|A")?.slogdet();
    Ok(vec![sign, log])
}

fn pair((q, r): (Tensor, Tensor)) -> R {
    Ok(vec![q, r])
}

pub const TABLE: Table = &[
    ("fft.fft", transform!(line, fft::fft)),
    ("fft.ifft", transform!(line, fft::ifft)),
    ("fft.rfft", transform!(line, fft::rfft)),
    ("fft.irfft", transform!(real line, fft::irfft)),
    ("fft.fft2", transform!(plane, fft::fft2)),
    ("fft.ifft2", transform!(plane, fft::ifft2)),
    ("fft.rfft2", transform!(plane, fft::rfft2)),
    ("fft.irfft2", transform!(real plane, fft::irfft2)),
    ("linalg.cholesky", cholesky),
    ("cholesky", cholesky),
    ("linalg.inv", |a| Ok(vec![a.tensor(0, "input|A")?.inverse()])),
    ("inverse", |a| Ok(vec![a.tensor(0, "input|A")?.inverse()])),
    ("linalg.det", |a| Ok(vec![a.tensor(0, "input|A")?.det()])),
    ("det", |a| Ok(vec![a.tensor(0, "input|A")?.det()])),
    ("linalg.slogdet", slogdet),
    ("slogdet", slogdet),
    ("logdet", |a| {
        let (sign, log) = a.tensor(0, "input|A")?.slogdet();
        Ok(vec![Tensor::where_(&sign.lt(0.0), f32::NAN, &log)])
    }),
    ("linalg.qr", |a| {
        mode(a)?;
        pair(a.tensor(0, "input|A")?.qr())
    }),
    ("qr", |a| match a.bool_or(1, "some", true)? {
        true => pair(a.tensor(0, "input|A")?.qr()),
        false => Err("the complete form of qr".into()),
    }),
    ("linalg.solve", |a| match a.bool_or(2, "left", true)? {
        true => Ok(vec![a.tensor(0, "input|A")?.solve(&a.tensor(1, "other|B")?)]),
        false => Err("solve from the right".into()),
    }),
    ("linalg.solve_triangular", |a| {
        let (upper, left) = (a.bool_or(2, "upper", false)?, a.bool_or(3, "left", true)?);
        Ok(vec![a.tensor(0, "input|A")?.solve_triangular(&a.tensor(1, "other|B")?, upper, left, a.bool_or(4, "unitriangular", false)?)])
    }),
    ("triangular_solve", |a| {
        let (b, m, transpose) = (a.tensor(0, "input|b")?, a.tensor(1, "A")?, a.bool_or(3, "transpose", false)?);
        let upper = a.bool_or(2, "upper", true)?;
        let t = if transpose { m.transpose(-2, -1) } else { m.clone() };
        Ok(vec![t.solve_triangular(&b, upper != transpose, true, a.bool_or(4, "unitriangular", false)?), m])
    }),
];
