//! Reading an image between its pixels.

use super::Table;
use crate::goldens::args::{Args, R};
use crate::goldens::case::Arg;
use lazuli::{DType, Tensor};

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
    ("nn.functional.grid_sample", |a| {
        let (x, grid) = (a.tensor(0, "input")?, a.tensor(1, "grid")?);
        let (mode, padding) = (a.str_or(2, "mode", "bilinear")?, a.str_or(3, "padding_mode", "zeros")?);
        let align = a.bool_or(4, "align_corners", false)?;
        if x.rank() != 4 {
            return Err(format!("grid_sample of rank {}", x.rank()));
        }
        grid_sample(&x, &grid, mode, padding, align)
    }),
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

/// One axis after another: which source pixels an output pixel reads and with what weights is structure.
fn resize(x: &Tensor, size: Option<Vec<usize>>, scale: Option<Vec<f64>>, again: bool, mode: &str, align: bool) -> R<Tensor> {
    let mut t = x.clone();
    for i in 0..x.rank() - 2 {
        let n = x.shape()[i + 2];
        let m = match (&size, &scale) {
            (Some(s), _) => s[i],
            (None, Some(f)) => (n as f64 * f[i]).floor() as usize,
            _ => return Err("neither size nor scale_factor".into()),
        };
        // PyTorch computes positions in f32.
        let ratio = match &scale {
            Some(f) if size.is_none() && !again => (1.0 / f[i]) as f32,
            _ => n as f32 / m as f32,
        };
        let pick = |index: Vec<i64>| t.index_select(i + 2, &Tensor::from_vec(index, [m]));
        let clamp = |v: i64| v.clamp(0, n as i64 - 1);
        let centre = |o: usize| {
            if align { if m > 1 { o as f32 * (n - 1) as f32 / (m - 1) as f32 } else { 0.0 } } else { (o as f32 + 0.5) * ratio - 0.5 }
        };
        let along = |w: Vec<f32>| {
            let mut shape = vec![1; x.rank()];
            shape[i + 2] = m;
            Tensor::from_vec(w, shape)
        };
        t = match mode {
            "nearest" => pick((0..m).map(|o| clamp((o as f32 * ratio).floor() as i64)).collect()),
            "nearest-exact" => pick((0..m).map(|o| clamp(((o as f32 + 0.5) * ratio).floor() as i64)).collect()),
            "linear" | "bilinear" | "trilinear" => {
                let at: Vec<f32> = (0..m).map(|o| centre(o).max(0.0)).collect();
                let low = pick(at.iter().map(|c| clamp(c.floor() as i64)).collect());
                let high = pick(at.iter().map(|c| clamp(c.floor() as i64 + 1)).collect());
                let w: Vec<f32> = at.iter().map(|c| c - c.floor()).collect();
                low * along(w.iter().map(|w| 1.0 - w).collect()) + high * along(w)
            }
            "bicubic" => {
                let at: Vec<f32> = (0..m).map(centre).collect();
                let mut sum: Option<Tensor> = None;
                for k in -1..3 {
                    let part = pick(at.iter().map(|c| clamp(c.floor() as i64 + k)).collect());
                    let w = along(at.iter().map(|c| cubic_weight(k as f32 - (c - c.floor()))).collect());
                    sum = Some(sum.map_or(&part * &w, |s| s + &part * &w));
                }
                sum.ok_or("no taps")?
            }
            "area" => return Err("mode area".into()),
            m => return Err(format!("mode {m}")),
        };
    }
    Ok(t)
}

/// Keys' cubic convolution with a = -0.75, as PyTorch.
fn cubic_weight(d: f32) -> f32 {
    let (a, d) = (-0.75, d.abs());
    if d <= 1.0 { ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0 } else { ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a }
}

/// `[n, c, h, w]` read at `grid` `[n, oh, ow, 2]` of (x, y) in -1..1.
fn grid_sample(image: &Tensor, grid: &Tensor, mode: &str, padding: &str, align: bool) -> R {
    let s = image.shape().to_vec();
    let (n, c, h, w) = (s[0], s[1], s[2], s[3]);
    let place = |t: Tensor, extent: usize| {
        let e = extent as f64;
        if align { (t + 1.0) / 2.0 * (e - 1.0) } else { ((t + 1.0) * e - 1.0) / 2.0 }
    };
    let (x, y) = (place(grid.select(-1, 0), w), place(grid.select(-1, 1), h));
    // A coordinate brought into the image; zeros leave it.
    let inside = |t: &Tensor, extent: usize| -> R<Tensor> {
        let top = extent as f64 - 1.0;
        Ok(match padding {
            "zeros" => t.clone(),
            // Both borders have derivative 0 at the limit itself.
            "border" => t.hardtanh(0.0, top),
            "reflection" => {
                let (low, high) = if align { (0.0, top) } else { (-0.5, extent as f64 - 0.5) };
                if high == low {
                    t.zeros_like()
                } else {
                    let span = high - low;
                    let d = (t - low).abs();
                    let extra = d.fmod(span);
                    let flips = (&d / span).floor();
                    let even = flips.remainder(2.0).eq(0.0);
                    Tensor::where_(&even, &extra + low, extra.neg() + span + low).hardtanh(0.0, top)
                }
            }
            p => return Err(format!("padding_mode {p}")),
        })
    };
    // The pixels at whole coordinates, as [n, c, oh, ow].
    let flat = image.reshape([n, c, h * w]);
    let (oh, ow) = (grid.shape()[1], grid.shape()[2]);
    let pixel = |ix: &Tensor, iy: &Tensor| -> Tensor {
        let valid = ix.ge(0.0).logical_and(&ix.le(w as f64 - 1.0)).logical_and(&iy.ge(0.0)).logical_and(&iy.le(h as f64 - 1.0));
        let (cx, cy) = (ix.clamp(0.0, w as f64 - 1.0).cast(DType::I64), iy.clamp(0.0, h as f64 - 1.0).cast(DType::I64));
        let index = (cy * w + cx).reshape([n, 1, oh * ow]).broadcast_to([n, c, oh * ow]);
        let got = flat.gather(2, &index).reshape([n, c, oh, ow]);
        Tensor::where_(&valid.unsqueeze(1), got, 0.0)
    };
    Ok(vec![match mode {
        "nearest" => {
            let (x, y) = (inside(&x, w)?.round(), inside(&y, h)?.round());
            pixel(&x, &y)
        }
        "bilinear" => {
            let (x, y) = (inside(&x, w)?, inside(&y, h)?);
            let (x0, y0) = (x.floor().detach(), y.floor().detach());
            let (fx, fy) = (&x - &x0, &y - &y0);
            let term = |dx: f64, dy: f64| {
                let wx = if dx == 0.0 { 1.0 - &fx } else { fx.clone() };
                let wy = if dy == 0.0 { 1.0 - &fy } else { fy.clone() };
                pixel(&(&x0 + dx), &(&y0 + dy)) * (wx * wy).unsqueeze(1)
            };
            term(0.0, 0.0) + term(1.0, 0.0) + term(0.0, 1.0) + term(1.0, 1.0)
        }
        "bicubic" => {
            let (x0, y0) = (x.floor().detach(), y.floor().detach());
            let (fx, fy) = (&x - &x0, &y - &y0);
            let weight = |f: &Tensor, k: i32| {
                let a = -0.75;
                let d = (f - k as f64).abs();
                if (0..2).contains(&k) {
                    (&d * (a + 2.0) - (a + 3.0)) * &d * &d + 1.0
                } else {
                    ((&d * a - 5.0 * a) * &d + 8.0 * a) * &d - 4.0 * a
                }
            };
            let mut sum: Option<Tensor> = None;
            for j in -1..3 {
                for i in -1..3 {
                    // Every tap is brought into the image by itself.
                    let (px, py) = (inside(&(&x0 + i as f64), w)?, inside(&(&y0 + j as f64), h)?);
                    let part = pixel(&px, &py) * (weight(&fx, i) * weight(&fy, j)).unsqueeze(1);
                    sum = Some(match sum {
                        Some(s) => s + part,
                        None => part,
                    });
                }
            }
            sum.ok_or("no taps")?
        }
        m => return Err(format!("mode {m}")),
    }])
}
