//! Reading an image between its pixels.

use super::Table;
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::{GridMode, GridPadding, Interpolate, Tensor};

pub const TABLE: Table = &[
    ("nn.functional.interpolate", interpolate),
    ("nn.functional.upsample_nearest", |a| {
        let x = a.tensor(0, "input")?;
        let (size, scale) = (sizes(a, 1, "size", x.rank() - 2)?, scales(a, 2, "scale_factor", x.rank() - 2)?);
        Ok(vec![resize(&x, size, scale, false, "nearest", false)?])
    }),
    ("nn.functional.upsample_bilinear", |a| {
        let x = a.tensor(0, "input")?;
        let (size, scale) = (sizes(a, 1, "size", x.rank() - 2)?, scales(a, 2, "scale_factor", x.rank() - 2)?);
        Ok(vec![resize(&x, size, scale, false, "bilinear", true)?])
    }),
    ("nn.functional.grid_sample", |a| grid_sample(a, a.str_or(2, "mode", "bilinear")?, a.str_or(3, "padding_mode", "zeros")?)),
    ("grid_sampler_2d", grid_sampler),
    ("grid_sampler_3d", grid_sampler),
];

fn sizes(a: &Args, at: usize, name: &str, spatial: usize) -> R<Option<Vec<usize>>> {
    Ok(match a.ints_opt(at, name)? {
        None => None,
        Some(v) if v.len() == 1 => Some(vec![v[0] as usize; spatial]),
        Some(v) => Some(v.into_iter().map(|i| i as usize).collect()),
    })
}

fn scales(a: &Args, at: usize, name: &str, spatial: usize) -> R<Option<Vec<f64>>> {
    let number = |x: &Arg| match x {
        Arg::Int(i) => Ok(*i as f64),
        Arg::Float(f) => Ok(*f),
        x => Err(format!("{name} {x:?}")),
    };
    match a.get(at, name) {
        None => Ok(None),
        Some(Arg::List(l)) => l.iter().map(number).collect::<R<_>>().map(Some),
        Some(x) => Ok(Some(vec![number(x)?; spatial])),
    }
}

fn interpolate(a: &Args) -> R {
    let x = a.tensor(0, "input")?;
    let n = x.rank() - 2;
    let (size, scale) = (sizes(a, 1, "size", n)?, scales(a, 2, "scale_factor", n)?);
    let (mode, align) = (a.str_or(3, "mode", "nearest")?, a.bool_or(4, "align_corners", false)?);
    if a.bool_or(6, "antialias", false)? {
        return Err("antialias".into());
    }
    let again = a.bool_or(5, "recompute_scale_factor", false)?;
    Ok(vec![resize(&x, size, scale, again, mode, align)?])
}

fn resize(x: &Tensor, size: Option<Vec<usize>>, scale: Option<Vec<f64>>, again: bool, mode: &str, align: bool) -> R<Tensor> {
    let mode = match (mode, align) {
        ("nearest", _) => Interpolate::Nearest,
        ("nearest-exact", _) => Interpolate::NearestExact,
        ("linear" | "bilinear" | "trilinear", false) => Interpolate::Linear,
        ("linear" | "bilinear" | "trilinear", true) => Interpolate::LinearAlignCorners,
        ("bicubic", false) => Interpolate::Cubic,
        ("bicubic", true) => Interpolate::CubicAlignCorners,
        ("area", _) => Interpolate::Area,
        (m, _) => return Err(format!("mode {m}")),
    };
    match (size, scale) {
        (Some(s), _) => Ok(x.interpolate(&s, mode)),
        (None, Some(f)) if again => {
            let size: Vec<usize> = x.shape()[2..].iter().zip(&f).map(|(&n, f)| (n as f64 * f).floor() as usize).collect();
            Ok(x.interpolate(&size, mode))
        }
        (None, Some(f)) => Ok(x.interpolate_scale(&f, mode)),
        _ => Err("neither size nor scale_factor".into()),
    }
}

fn grid_sample(a: &Args, mode: &str, padding: &str) -> R {
    let (x, grid) = (a.tensor(0, "input")?, a.tensor(1, "grid")?);
    let mode = match mode {
        "nearest" => GridMode::Nearest,
        "bilinear" => GridMode::Linear,
        "bicubic" => GridMode::Cubic,
        m => return Err(format!("mode {m}")),
    };
    let padding = match padding {
        "zeros" => GridPadding::Zeros,
        "border" => GridPadding::Border,
        "reflection" => GridPadding::Reflection,
        p => return Err(format!("padding_mode {p}")),
    };
    Ok(vec![x.grid_sample(&grid, mode, padding, a.bool_or(4, "align_corners", false)?)])
}

/// The internal ops name modes by numbers.
fn grid_sampler(a: &Args) -> R {
    let name = |at: usize, what: &str, names: [&'static str; 3]| -> R<&'static str> {
        names.get(a.int_or(at, what, 0)? as usize).copied().ok_or_else(|| what.to_string())
    };
    let (mode, padding) = ("interpolation_mode", "padding_mode");
    grid_sample(a, name(2, mode, ["bilinear", "nearest", "bicubic"])?, name(3, padding, ["zeros", "border", "reflection"])?)
}
