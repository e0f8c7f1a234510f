//! Printing: `{}` shows values as PyTorch does, `{:?}` the recorded program without computing anything.

use super::Tensor;
use crate::base::{DType, Scalar};
use crate::trace::graph::{self, Through};
use crate::trace::import;
use std::fmt;

/// More elements than this are summarised.
const THRESHOLD: usize = 1000;
/// How many indices at each end of an axis a summary shows.
const EDGE: usize = 3;
/// Digits after the point.
const PRECISION: usize = 4;
/// Columns before a row is wrapped.
const WIDTH: usize = 100;
/// Bytes of recorded program that `{:?}` shows.
const TEXT_LIMIT: usize = 16 << 10;

/// How the floats of one tensor are written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Whole numbers: `3.`
    Whole,
    /// `3.1416`
    Fixed,
    /// `3.1416e+05`
    Exponent,
}

impl Form {
    /// PyTorch's choice: an exponent if magnitudes differ by more than 1000 or leave 1e-4..1e8.
    fn choose(values: &[f64]) -> Form {
        let finite = || values.iter().copied().filter(|v| v.is_finite() && *v != 0.0).map(f64::abs);
        let (lo, hi) = finite().fold((f64::INFINITY, 0.0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
        if hi == 0.0 {
            return Form::Whole;
        }
        let whole = finite().all(|v| v.fract() == 0.0);
        if hi > 1e8 || (!whole && (hi / lo > 1e3 || lo < 1e-4)) {
            Form::Exponent
        } else if whole {
            Form::Whole
        } else {
            Form::Fixed
        }
    }

    fn write(self, v: f64) -> String {
        if v.is_nan() {
            return "nan".into();
        }
        if v.is_infinite() {
            return if v > 0.0 { "inf".into() } else { "-inf".into() };
        }
        match self {
            Form::Whole => format!("{v:.0}."),
            Form::Fixed => format!("{v:.PRECISION$}"),
            Form::Exponent => {
                let s = format!("{v:.PRECISION$e}");
                match s.split_once('e') {
                    Some((m, e)) => {
                        let (sign, digits) = e.strip_prefix('-').map_or(("+", e), |d| ("-", d));
                        format!("{m}e{sign}{digits:0>2}")
                    }
                    None => s,
                }
            }
        }
    }
}

/// Which indices of an axis are shown; `None` stands for the dots.
fn shown(extent: usize, summarise: bool) -> Vec<Option<usize>> {
    if !summarise || extent <= 2 * EDGE {
        return (0..extent).map(Some).collect();
    }
    (0..EDGE).map(Some).chain([None]).chain((extent - EDGE..extent).map(Some)).collect()
}

/// The elements that are shown, as text, by their row-major position.
struct Printer<'a> {
    shape: &'a [usize],
    summarise: bool,
    cell: &'a dyn Fn(usize) -> String,
    width: usize,
}

impl Printer<'_> {
    /// Writes the part of axes `axis..` that starts at element `base`. The recursion is as deep as there are axes.
    fn part(&self, f: &mut fmt::Formatter<'_>, axis: usize, base: usize) -> fmt::Result {
        if axis == self.shape.len() {
            return f.write_str(&(self.cell)(base));
        }
        let stride: usize = self.shape[axis + 1..].iter().product();
        f.write_str("[")?;
        let last = axis + 1 == self.shape.len();
        let mut column = axis + 1;
        for (k, index) in shown(self.shape[axis], self.summarise).into_iter().enumerate() {
            if k > 0 {
                f.write_str(",")?;
                let wrap = last && column + self.width + 2 > WIDTH;
                if !last {
                    // One empty line for every axis further in.
                    f.write_str(&"\n".repeat(self.shape.len() - axis - 1))?;
                }
                if wrap {
                    f.write_str("\n")?;
                }
                if !last || wrap {
                    f.write_str(&" ".repeat(axis + 1))?;
                    column = axis + 1;
                } else {
                    f.write_str(" ")?;
                    column += 2;
                }
            }
            match index {
                Some(i) if last => {
                    let cell = (self.cell)(base + i);
                    write!(f, "{cell:>width$}", width = self.width)?;
                    column += self.width;
                }
                Some(i) => self.part(f, axis + 1, base + i * stride)?,
                None => {
                    f.write_str("...")?;
                    column += 3;
                }
            }
        }
        f.write_str("]")
    }
}

/// The row-major positions of the elements that are shown.
fn shown_places(shape: &[usize], summarise: bool) -> Vec<usize> {
    let mut out = vec![0];
    for &n in shape {
        let axis = shown(n, summarise);
        out = out.iter().flat_map(|p| axis.iter().flatten().map(move |i| p * n + i)).collect();
    }
    out
}

/// The values as PyTorch prints them, with shape and dtype; more than 1000 elements are summarised. Computes what is not computed yet.
/// Never fails: an error is printed in the values' place.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (d, shape) = (self.dtype(), self.shape());
        let bytes = match self.to_bytes() {
            Ok(b) => b,
            Err(e) if self.0.poison().is_some() => return write!(f, "Tensor(error: {e})"),
            Err(e) => return write!(f, "Tensor({d} {shape}, error: {e})"),
        };
        let at = |p: usize| Scalar::read(d, &bytes[p * d.size()..]);
        let summarise = self.numel() > THRESHOLD;
        let places = shown_places(shape, summarise);
        let form = if d.is_float() { Form::choose(&places.iter().map(|&p| at(p).as_f64()).collect::<Vec<_>>()) } else { Form::Whole };
        let cell = |p: usize| match at(p) {
            Scalar::Float(v) => form.write(v),
            Scalar::Int(v) if d == DType::U32 => (v as u32).to_string(),
            Scalar::Int(v) => v.to_string(),
            Scalar::Bool(v) => v.to_string(),
        };
        let width = places.iter().map(|&p| cell(p).len()).max().unwrap_or(0);
        Printer { shape, summarise, cell: &cell, width }.part(f, 0, 0)?;
        write!(f, "{}{d} {shape}", if shape.rank() > 1 { "\n" } else { " " })
    }
}

/// The recorded program, from the last computed values on, as text; nothing is computed. Long programs are cut.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(e) = self.0.poison() {
            return write!(f, "Tensor(error: {e})");
        }
        write!(f, "Tensor({} {} on {}", self.dtype(), self.shape(), self.device())?;
        if self.0.ready().is_some() {
            return f.write_str(", computed)");
        }
        let text = {
            let owner = graph::owner();
            let walk = graph::walk(&owner, std::iter::once(&self.0), Through::Unevaluated);
            import::import(&owner, &walk, Through::Unevaluated, std::iter::once(&self.0)).map(|t| t.trace.to_string())
        };
        match text {
            Ok(text) if text.len() > TEXT_LIMIT => {
                let start = (text.len() - TEXT_LIMIT..).find(|&i| text.is_char_boundary(i)).unwrap_or(0);
                write!(f, ")\n... {start} bytes before\n{}", &text[start..])
            }
            Ok(text) => write!(f, ")\n{text}"),
            Err(_) => f.write_str(", an input of a function being recorded)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert!(Form::choose(&[1.0, 2.0, f64::NAN]) == Form::Whole);
        assert!(Form::choose(&[0.5, 2.0]) == Form::Fixed);
        assert!(Form::choose(&[1e-7, 2.5]) == Form::Exponent);
        assert_eq!(Form::Exponent.write(-12345.0), "-1.2345e+04");
        assert_eq!(Form::Exponent.write(1e-10), "1.0000e-10");
        assert_eq!(Form::Fixed.write(0.5), "0.5000");
        assert_eq!(Form::Whole.write(f64::NEG_INFINITY), "-inf");
    }

    #[test]
    fn summaries() {
        assert_eq!(shown(7, true), [Some(0), Some(1), Some(2), None, Some(4), Some(5), Some(6)]);
        assert_eq!(shown_places(&[2, 3], false), [0, 1, 2, 3, 4, 5]);
        assert!(shown_places(&[0, 3], false).is_empty());
        assert_eq!(shown_places(&[], false), [0]);
    }
}
