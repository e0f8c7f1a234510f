//! Reading along one axis at computed places: several elements for each of the output's. Cells of unequal size (`adaptive_*_pool`).
//!
//! Places depend on the index along that axis alone, so they are one small tensor, whatever the other extents. Where long rows lie behind the
//! axis, whole rows are read; else places are numbers of elements within a block of rows, so that what is read at once is long.

use super::compose::{AxisVec, compute_dtype, pass_poison, slip_now};
use super::{Lit, LitInt, PoolOptions, Tensor};
use crate::base::{DType, Shape};
use crate::trace::{Op, Reduce};
use smallvec::SmallVec;

/// Cells with more elements than this along an axis are a reduction, not one term for each.
const MAX_TERMS: usize = 16;
/// Rows of at least this many elements are read as rows.
const LONG_ROW: usize = 32;
/// Places that are computed at most, where more rows could share them.
const MAX_PLACES: usize = 1024;

/// One axis of a tensor, to be read at `m` outputs.
pub(super) struct Reader {
    /// `[.., n, behind..]`, or `[blocks, elements of a block]`.
    x: Tensor,
    /// Of the places: `[m]`, or `[rows of a block, m, behind]`.
    places: Shape,
    /// The axis of `places` along which outputs are numbered.
    along: usize,
    /// Elements behind the axis, and of one row of a block.
    behind: usize,
    row: usize,
    /// The axis of `x`, and what reading gives.
    axis: usize,
    full: Shape,
    out: Shape,
}

impl Reader {
    /// To read `x` along an axis.
    #[track_caller]
    pub(super) fn new(x: &Tensor, axis: usize, m: usize) -> Reader {
        let mut out = x.shape().clone();
        out[axis] = m;
        let (n, behind) = (x.shape()[axis], x.count_along(&(axis + 1..x.rank()).collect::<AxisVec>()));
        let rows = x.count_along(&(0..axis).collect::<AxisVec>());
        if behind >= LONG_ROW || x.numel() == 0 || m == 0 {
            let places = Shape::new(&[m]);
            return Reader { x: x.clone(), places, along: 0, behind: 1, row: n, axis, full: out.clone(), out };
        }
        // Whole axes, from the last one, and a part of the next.
        let most = (MAX_PLACES / (m * behind)).max(1);
        let mut block = 1;
        for &extent in x.shape()[..axis].iter().rev() {
            let part = (1..=extent.min(most / block)).rev().find(|b| extent.is_multiple_of(*b)).unwrap_or(1);
            block *= part;
            if part < extent {
                break;
            }
        }
        let row = n * behind;
        Reader {
            x: x.reshape_shape(&Shape::new(&[rows / block, block * row])),
            places: Shape::new(&[block, m, behind]),
            along: 1,
            behind,
            row,
            axis: 1,
            full: Shape::new(&[rows / block, block * m * behind]),
            out,
        }
    }

    /// The number of the output at every place.
    #[track_caller]
    pub(super) fn number(&self, dtype: DType) -> Tensor {
        Tensor::iota_shape(&self.places, self.along, dtype)
    }

    /// What lies at the given indices along the axis, which are I64 in the shape of the numbers and in range.
    #[track_caller]
    pub(super) fn read(&self, at: &Tensor) -> Tensor {
        let mut at = at.clone();
        if self.places.rank() > 1 {
            if self.behind > 1 {
                at = at * LitInt(self.behind as i64) + Tensor::iota_shape(&self.places, 2, DType::I64);
            }
            if self.places[0] > 1 {
                at += Tensor::iota_shape(&self.places, 0, DType::I64) * LitInt(self.row as i64);
            }
        }
        let each: Shape = self.full[..self.axis].iter().copied().chain([self.places.numel()]).collect();
        let at = at.flatten_all().broadcast_shape(&each);
        Tensor::record(Op::Gather(self.axis as u8), &[&self.x, &at])
    }

    /// A number for every output, spread over what reading gives.
    #[track_caller]
    pub(super) fn spread(&self, x: &Tensor) -> Tensor {
        let mut shape: Shape = self.full.iter().map(|_| 1).collect();
        shape[self.axis] = self.places.numel();
        x.reshape_shape(&shape).broadcast_shape(&self.full)
    }

    /// In the shape of the result.
    #[track_caller]
    pub(super) fn done(&self, y: &Tensor) -> Tensor {
        pass_poison!(y);
        y.reshape_shape(&self.out)
    }
}

impl Tensor {
    /// Means over `out[i]` cells along each of the last axes: cell j of n input elements and m cells is
    /// `floor(j n / m)..ceil((j + 1) n / m)`.
    ///
    /// # Panics
    /// If there are fewer axes than numbers, or an extent or number is 0.
    #[track_caller]
    pub fn adaptive_avg_pool(&self, out: &[usize]) -> Tensor {
        pass_poison!(self);
        if !self.dtype().is_float() {
            slip_now!(DType, "adaptive_avg_pool: the input is {}, not a float: cast it first", self.dtype());
        }
        self.adaptive(out, false)
    }

    /// The largest of each cell: see [`adaptive_avg_pool`](Tensor::adaptive_avg_pool). The first of equal elements gets the gradient.
    ///
    /// # Panics
    /// As [`adaptive_avg_pool`](Tensor::adaptive_avg_pool).
    #[track_caller]
    pub fn adaptive_max_pool(&self, out: &[usize]) -> Tensor {
        self.adaptive(out, true)
    }

    #[track_caller]
    fn adaptive(&self, out: &[usize], max: bool) -> Tensor {
        pass_poison!(self);
        let op = if max { "adaptive_max_pool" } else { "adaptive_avg_pool" };
        let Some(lead) = self.rank().checked_sub(out.len()) else {
            slip_now!(Shape, "{op}: {} cells for shape {}", out.len(), self.shape())
        };
        if self.shape()[lead..].iter().chain(out).any(|&n| n == 0) {
            slip_now!(Shape, "{op}: shape {} into {out:?} cells", self.shape());
        }
        if self.shape()[lead..].iter().zip(out).all(|(n, m)| n % m == 0) {
            // Equal cells tile the input.
            let kernel: SmallVec<[usize; 3]> = self.shape()[lead..].iter().zip(out).map(|(n, m)| n / m).collect();
            let o = PoolOptions::new(kernel);
            return if max { self.max_pool(out.len(), &o) } else { self.avg_pool(out.len(), &o) };
        }
        let _on = self.device().enter();
        let d = self.dtype();
        let mut x = if max { self.clone() } else { self.cast(compute_dtype(d)) };
        for j in 0..out.len() {
            // Sums go by whole rows first. Of equal largest the first in row-major order wins: so there the last axis goes first.
            let i = if max { out.len() - 1 - j } else { j };
            if x.shape()[lead + i] != out[i] {
                x = x.cells(lead + i, out[i], max);
            }
        }
        x.cast(d)
    }

    /// The largest or the mean of each of `m` cells along an axis.
    #[track_caller]
    fn cells(&self, axis: usize, m: usize, max: bool) -> Tensor {
        let n = self.shape()[axis];
        let longest = (0..m).map(|j| ((j + 1) * n).div_ceil(m) - j * n / m).max().unwrap_or(1);
        let bounds = |j: &Tensor| {
            let first = (j * LitInt(n as i64)).whole_part(m);
            let last = ((j + LitInt(1)) * LitInt(n as i64) + LitInt(m as i64 - 1)).whole_part(m) - LitInt(1);
            (first, last)
        };
        if longest > MAX_TERMS {
            return self.long_cells(axis, m, longest, max, bounds);
        }
        let reader = Reader::new(self, axis, m);
        let (first, last) = bounds(&reader.number(DType::I64));
        // A shorter cell reads its last element again: the largest stays what it is, and for the mean the repetitions share its part.
        let terms = (0..longest).map(|k| reader.read(&(&first + LitInt(k as i64)).minimum(&last)));
        if max {
            let best = terms.reduce(|best, x| {
                let wins = x.gt(&best);
                let wins = if x.dtype().is_float() { wins.bitwise_or(x.isnan()) } else { wins };
                Tensor::where_(&wins, &x, &best)
            });
            return best.map_or_else(|| self.clone(), |b| reader.done(&b));
        }
        let before = &last - &first;
        let share = (before.cast(self.dtype()) + Lit(1.0)).reciprocal();
        let again = (before.neg_of() + LitInt(longest as i64)).cast(self.dtype());
        let repeated = &share / again;
        let terms = terms.enumerate().map(|(k, x)| {
            let part = Tensor::where_(&before.gt(LitInt(k as i64)), &share, &repeated);
            x * reader.spread(&part)
        });
        terms.reduce(|a, b| a + b).map_or_else(|| self.clone(), |y| reader.done(&y))
    }

    /// The same by a reduction over the elements of a cell.
    #[track_caller]
    fn long_cells(&self, axis: usize, m: usize, longest: usize, max: bool, bounds: impl Fn(&Tensor) -> (Tensor, Tensor)) -> Tensor {
        let shape = Shape::new(&[m, longest]);
        let (first, last) = bounds(&Tensor::iota_shape(&shape, 0, DType::I64));
        let k = Tensor::iota_shape(&shape, 1, DType::I64);
        let at = &first + &k;
        let x = self.gather_rows(axis, &at.minimum(&last));
        pass_poison!(x);
        if max {
            return x.max_with_indices(axis + 1).0;
        }
        let along: Shape = (0..x.rank()).map(|a| if a == axis || a == axis + 1 { x.shape()[a] } else { 1 }).collect();
        let mask = at.le(&last).reshape_shape(&along);
        let sum = x.keep_where(&mask, 0.0).reduce_axes(Reduce::Sum, &[axis + 1]);
        let size = (&last - &first).slice_axis(1, 0, 1, 1).cast(self.dtype()) + Lit(1.0);
        let along: Shape = (0..self.rank()).map(|a| if a == axis { m } else { 1 }).collect();
        sum / size.reshape_shape(&along)
    }

    /// The quotient of whole numbers that are not negative.
    #[track_caller]
    fn whole_part(&self, by: usize) -> Tensor {
        let by = Tensor::constant(crate::base::Scalar::Int(by as i64), self.dtype(), self.shape());
        Tensor::record(Op::Binary(crate::trace::Binary::Div), &[self, &by])
    }
}

#[cfg(test)]
mod tests {
    use crate::Tensor;
    use crate::tensor::tests::floats;

    /// Cells of one axis of `[outer, n, behind]`, one by one.
    fn want(x: &[f32], [outer, n, behind]: [usize; 3], m: usize, max: bool) -> Vec<f32> {
        let mut out = Vec::new();
        for (o, j, b) in (0..outer).flat_map(|o| (0..m).flat_map(move |j| (0..behind).map(move |b| (o, j, b)))) {
            let cell: Vec<f32> = (j * n / m..((j + 1) * n).div_ceil(m)).map(|i| x[(o * n + i) * behind + b]).collect();
            out.push(if max {
                cell.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            } else {
                cell.iter().sum::<f32>() / cell.len() as f32
            });
        }
        out
    }

    #[test]
    fn cells_of_unequal_size() {
        // Elements and rows, short and long cells, more cells than elements.
        for (shape, m) in [([6, 10, 1], 4), ([3, 10, 5], 7), ([2, 9, 40], 4), ([4, 3, 2], 5), ([2, 70, 1], 3), ([1, 70, 33], 3)] {
            let n = shape.iter().product::<usize>();
            let data: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32 * 0.25 - 12.0).collect();
            let x = Tensor::from_vec(data.clone(), shape);
            for max in [false, true] {
                let (got, want) = (floats(&x.cells(1, m, max)), want(&data, shape, m, max));
                assert_eq!(got.len(), want.len());
                for (g, w) in got.iter().zip(&want) {
                    assert!((g - w).abs() <= 1e-5 * (1.0 + w.abs()), "{shape:?} into {m} cells, largest {max}: {g} not {w}");
                }
            }
        }
    }

    #[test]
    fn an_infinity_stays_in_its_cells() {
        let x = Tensor::from_vec(vec![1.0f32, f32::INFINITY, 3.0, 4.0, 5.0], [1, 5]);
        assert_eq!(floats(&x.adaptive_avg_pool(&[3])), [f32::INFINITY, f32::INFINITY, 4.5]);
        assert_eq!(floats(&x.adaptive_max_pool(&[3])), [f32::INFINITY, f32::INFINITY, 5.0]);
    }
}
