//! The transforms along the last axis, without factors.

use super::Complex;
use crate::tensor::{Lit, LitInt};
use crate::{DType, Scalar, Shape, Tensor};
use std::f64::consts::PI;

/// The longest axis transformed by one product with a table.
const TABLE: usize = 64;
/// The longest prime axis that is: a convolution of twice the length costs more below.
const PRIME_TABLE: usize = 160;

/// Which exponent's sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Direction {
    Forward,
    Inverse,
}

/// The transform along the last axis, of at least 1 element; without `im` the input is real.
#[track_caller]
pub(super) fn dft(re: Tensor, im: Option<Tensor>, direction: Direction) -> Complex {
    let shape = re.shape().clone();
    let last = shape.rank() - 1;
    let flat = |t: Tensor| t.reshape_shape(&[shape[..last].iter().product(), shape[last]].into());
    let (re, im) = (flat(re), im.map(flat));
    let y = match (direction, im) {
        (Direction::Forward, im) => forward(re, im),
        // With real and imaginary parts exchanged before and after, a transform is its inverse.
        (Direction::Inverse, Some(im)) => swapped(forward(im, Some(re))),
        (Direction::Inverse, None) => {
            let y = forward(re, None);
            Complex { im: -y.im, re: y.re }
        }
    };
    y.map_parts(|t| t.reshape_shape(&shape))
}

fn swapped(x: Complex) -> Complex {
    Complex { re: x.im, im: x.re }
}

/// How an axis is split.
#[derive(Debug, PartialEq)]
enum Split {
    Table,
    /// The length of the inner transforms.
    Factor(usize),
    Convolution,
}

fn split(n: usize) -> Split {
    if n <= TABLE {
        return Split::Table;
    }
    // As many factors as needed, all about equal: a product with a table costs as much as its length.
    let mut levels = 2;
    while (TABLE as f64).powi(levels) < n as f64 {
        levels += 1;
    }
    let ideal = (n as f64).powf(1.0 / levels as f64).ln();
    let distance = |d: usize| ((d as f64).ln() - ideal).abs();
    let best = (2..=TABLE).filter(|d| n.is_multiple_of(*d)).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
    match best {
        Some(d) => Split::Factor(d),
        None => match (TABLE + 1..).take_while(|d| d * d <= n).find(|d| n.is_multiple_of(*d)) {
            Some(d) => Split::Factor(d),
            None if n <= PRIME_TABLE => Split::Table,
            None => Split::Convolution,
        },
    }
}

/// The forward transform of `[rows, n]`. Nests once for each factor of n.
#[track_caller]
fn forward(re: Tensor, im: Option<Tensor>) -> Complex {
    let (rows, n) = (re.shape()[0], re.shape()[1]);
    match split(n) {
        Split::Table => by_table(re, im),
        Split::Factor(inner) => {
            // Element j1 * outer + j2 is met at [j1, j2], frequency k1 + inner * k2 at [k1, k2].
            let outer = n / inner;
            let columns = |t: Tensor| {
                let t = t.reshape_shape(&[rows, inner, outer].into()).permute_axes(&[0, 2, 1]);
                t.reshape_shape(&[rows * outer, inner].into())
            };
            let y = forward(columns(re), im.map(columns));
            let turns = roots(&product_index(outer, inner), n, y.re.dtype());
            let y = y.map_parts(|t| t.reshape_shape(&[rows, outer, inner].into()));
            let y = (&y * &turns).map_parts(|t| t.permute_axes(&[0, 2, 1]).reshape_shape(&[rows * inner, outer].into()));
            let y = forward(y.re, Some(y.im));
            y.map_parts(|t| t.reshape_shape(&[rows, inner, outer].into()).permute_axes(&[0, 2, 1]).reshape_shape(&[rows, n].into()))
        }
        Split::Convolution => by_convolution(re, im),
    }
}

/// One product: `[re; im] x [cos | -sin]`.
#[track_caller]
fn by_table(re: Tensor, im: Option<Tensor>) -> Complex {
    let (rows, n) = (re.shape()[0], re.shape()[1]);
    if n == 1 {
        let im = im.unwrap_or_else(|| re.zeros_like());
        return Complex { re, im };
    }
    let w = roots(&product_index(n, n).remainder(LitInt(n as i64)), n, re.dtype());
    let table = Tensor::concat_axis(&[w.re, w.im], 1);
    let part = |t: &Tensor, row: usize, column: usize| {
        t.slice_axis(0, row * rows, (row + 1) * rows, 1).slice_axis(1, column * n, (column + 1) * n, 1)
    };
    match im {
        None => {
            let p = re.dot2(&table);
            Complex { re: part(&p, 0, 0), im: part(&p, 0, 1) }
        }
        Some(im) => {
            let p = Tensor::concat_axis(&[re, im], 0).dot2(&table);
            Complex { re: part(&p, 0, 0) - part(&p, 1, 1), im: part(&p, 0, 1) + part(&p, 1, 0) }
        }
    }
}

/// Bluestein: with jk = (j^2 + k^2 - (k - j)^2) / 2 the transform is a convolution, of any length that holds it.
#[track_caller]
fn by_convolution(re: Tensor, im: Option<Tensor>) -> Complex {
    let n = re.shape()[1];
    let m = (2 * n - 1).next_power_of_two();
    let dtype = re.dtype();
    let k = Tensor::iota_shape(&[n].into(), 0, DType::I64);
    // e^(-i pi k^2 / n)
    let chirp = roots(&(&k * &k).remainder(LitInt(2 * n as i64)), 2 * n, dtype);
    let input = match im {
        Some(im) => &Complex { re, im } * &chirp,
        None => Complex { re: &re * &chirp.re, im: &re * &chirp.im },
    };
    let zero = Scalar::Float(0.0);
    let a = input.map_parts(|t| t.pad_axis(1, 0, m - n, zero));
    // The conjugate at distances 0..n, and around the end at -(n-1)..0.
    let around = chirp.conj().map_parts(|t| {
        let back = t.slice_axis(0, 1, n, 1).flip_axes(&[0]);
        Tensor::concat_axis(&[t.pad_axis(0, 0, m - 2 * n + 1, zero), back], 0).reshape_shape(&[1, m].into())
    });
    let (a, b) = (forward(a.re, Some(a.im)), forward(around.re, Some(around.im)));
    let y = &a * &b;
    let y = swapped(forward(y.im, Some(y.re)));
    &y.map_parts(|t| t.slice_axis(1, 0, n, 1) * Lit(1.0 / m as f64)) * &chirp
}

/// `[rows, columns]`: row times column.
fn product_index(rows: usize, columns: usize) -> Tensor {
    let shape = Shape::new(&[rows, columns]);
    Tensor::iota_shape(&shape, 0, DType::I64) * Tensor::iota_shape(&shape, 1, DType::I64)
}

/// `e^(-2 pi i k / n)` for whole numbers k in `0..n`. Reduced to an eighth of the circle while still whole, so that no digit is lost.
fn roots(k: &Tensor, n: usize, dtype: DType) -> Complex {
    // The nearest quarter (any near one would do), and what is left, in units of a quarter / n.
    let quarter = (k.cast(dtype) * Lit(4.0 / n as f64)).round();
    let rest = k * LitInt(4) - quarter.cast(DType::I64) * LitInt(n as i64);
    let angle = rest.cast(dtype) * Lit(PI / 2.0 / n as f64);
    let (c, s) = (angle.cos(), angle.sin());
    let is = |q: f64| quarter.eq(Lit(q));
    let odd = is(1.0).logical_or(&is(3.0));
    let (re, im) = (Tensor::where_(&odd, &s, &c), Tensor::where_(&odd, &c, &s));
    let re_negative = is(1.0).logical_or(&is(2.0));
    // Of the negative angle.
    let im_negative = quarter.lt(Lit(2.0)).logical_or(&is(4.0));
    Complex { re: Tensor::where_(&re_negative, -&re, &re), im: Tensor::where_(&im_negative, -&im, &im) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_split_evenly_and_primes_convolved() {
        assert_eq!(split(64), Split::Table);
        assert_eq!(split(128), Split::Factor(8));
        assert_eq!(split(4096), Split::Factor(64));
        assert_eq!(split(1 << 20), Split::Factor(32));
        assert_eq!(split(127), Split::Table);
        assert_eq!(split(1009), Split::Convolution);
        assert_eq!(split(67 * 71), Split::Factor(67));
        assert_eq!(split(2 * 1009), Split::Factor(2));
    }
}
