//! The tolerances, and how a result is held against its golden.

use super::case::{Case, Files};
use lazuli::Tensor;
use lazuli::trace::interp::HostTensor;
use std::collections::HashMap;

/// The smallest positive f32.
const SMALLEST: f64 = 1.401_298_464_324_817e-45;

struct Tolerance {
    rtol: f64,
    atol: f64,
}

/// Of outputs. `accum` also covers goldens that are themselves off.
fn of_output(case: &Case) -> Tolerance {
    let (rtol, atol) = match case.class.as_str() {
        "exact" => (0.0, 0.0),
        "accum" => (1e-4, 1e-5),
        _ => (1e-5, 1e-6),
    };
    let atol = if matches!(case.op.as_str(), "log1p" | "expm1") { 0.0 } else { atol };
    widened(case, rtol, atol)
}

/// Where the golden itself is farther than 1e-5 from the f64 result, four times that distance, which is relative to 1e-3 + |result|.
fn widened(case: &Case, rtol: f64, atol: f64) -> Tolerance {
    if case.f32_vs_f64 <= 1e-5 {
        return Tolerance { rtol, atol };
    }
    Tolerance { rtol: rtol.max(4.0 * case.f32_vs_f64), atol: atol.max(4.0 * case.f32_vs_f64 * 1e-3) }
}

fn host(t: &Tensor) -> Result<HostTensor, String> {
    let bytes = t.to_bytes().map_err(|e| format!("read: {e}"))?;
    HostTensor::from_bytes(t.dtype(), t.shape().clone(), &bytes).map_err(|e| e.to_string())
}

fn same(got: &HostTensor, want: &HostTensor, tol: &Tolerance) -> Result<(), String> {
    if got.shape != want.shape || got.dtype != want.dtype {
        return Err(format!("{} {}, expected {} {}", got.dtype, got.shape, want.dtype, want.shape));
    }
    let (mut wrong, mut first) = (0, None);
    for (i, (g, w)) in got.scalars().zip(want.scalars()).enumerate() {
        let good = if got.dtype.is_float() {
            let (g, w) = (g.as_f64(), w.as_f64());
            // The smallest subnormal number is the least that any f32 result can be off.
            let limit = if tol.rtol == 0.0 { 0.0 } else { tol.atol.max(SMALLEST) + tol.rtol * w.abs() };
            g == w || (g.is_nan() && w.is_nan()) || ((g - w).abs() <= limit && w.is_finite())
        } else {
            g.same(w)
        };
        if !good {
            wrong += 1;
            first.get_or_insert((i, g, w));
        }
    }
    match first {
        None => Ok(()),
        Some((i, g, w)) => Err(format!(
            "{wrong} of {} elements of {} {} off, first at {i}: {g:?}, expected {w:?} (rtol {}, atol {})",
            got.numel(),
            got.dtype,
            got.shape,
            tol.rtol,
            tol.atol
        )),
    }
}

/// Output `i` of a case. The indices of a sort may have any order among equal values: what they pick must be sorted as the golden's.
pub fn output(
    case: &Case,
    files: &Files,
    tensors: &HashMap<String, Tensor>,
    i: usize,
    all: &[Tensor],
    want: &HostTensor,
) -> Result<(), String> {
    let got = host(&all[i])?;
    let result = same(&got, want, &of_output(case));
    if result.is_err() && i == 1 && matches!(case.op.as_str(), "kthvalue" | "median") && got.dtype == want.dtype && got.shape == want.shape
    {
        // Which of equal elements is named is nobody's business.
        let axis = super::ops::sort_axis(case, files, tensors)?;
        let x = host(&super::ops::sorted_input(case, files, tensors)?)?;
        let mut kept = x.shape.to_vec();
        kept[axis] = 1;
        let as_kept = |t: &HostTensor| HostTensor::from_bytes(t.dtype, lazuli::Shape::new(&kept), &t.to_bytes()).map_err(|e| e.to_string());
        return picks_the_same(&x, axis, &as_kept(&got)?, &as_kept(want)?);
    }
    let indices = (case.op == "argsort" && i == 0) || (matches!(case.op.as_str(), "sort" | "topk") && i == 1);
    if result.is_err() && indices && got.shape == want.shape && got.dtype == want.dtype {
        let axis = super::ops::sort_axis(case, files, tensors)?;
        let x = host(&super::ops::sorted_input(case, files, tensors)?)?;
        return picks_the_same(&x, axis, &got, want);
    }
    result
}

fn picks_the_same(x: &HostTensor, axis: usize, got: &HostTensor, want: &HostTensor) -> Result<(), String> {
    let inner: usize = x.shape[axis + 1..].iter().product();
    let (n, k) = (x.shape[axis], want.shape[axis]);
    let outer: usize = x.shape[..axis].iter().product();
    for o in 0..outer {
        for r in 0..inner {
            let mut used = vec![false; n];
            for j in 0..k {
                let at = (o * k + j) * inner + r;
                let (g, w) = (got.get(at).as_i64() as usize, want.get(at).as_i64() as usize);
                let value = |p: usize| x.get((o * n + p) * inner + r).as_f64();
                if g >= n || std::mem::replace(&mut used[g], true) {
                    return Err(format!("index {g} is out of range or there twice"));
                }
                if value(g) != value(w) && !(value(g).is_nan() && value(w).is_nan()) {
                    return Err(format!("index {g} picks {}, expected {}", value(g), value(w)));
                }
            }
        }
    }
    Ok(())
}

/// The gradient with respect to the stored tensor `key`.
pub fn gradient(case: &Case, files: &Files, key: &str, got: &Tensor) -> Result<(), String> {
    let got = host(got)?;
    let mut tol = widened(case, 1e-4, 1e-5);
    if case.op.contains("grid_sample")
        && let Some(k) = &case.grads[key]
    {
        // At the border of an image the parts of a coordinate's gradient cancel: what is left is the rounding error of its largest parts.
        let largest = files.host[k].scalars().map(|s| s.as_f64().abs()).filter(|x| x.is_finite()).fold(0.0, f64::max);
        tol.atol = tol.atol.max(1e-6 * largest);
    }
    match &case.grads[key] {
        Some(k) => same(&got, &files.host[k], &tol),
        None => {
            let zero = HostTensor::full(got.dtype, files.host[key].shape.clone(), lazuli::Scalar::Int(0));
            same(&got, &zero, &Tolerance { rtol: 0.0, atol: 0.0 })
        }
    }
}
