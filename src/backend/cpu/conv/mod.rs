//! Convolutions as matrix products that unfold windows only as far as caches reach, and the epilogue's tile program on each finished block.
//!
//! The input is staged first, where that is needed at all: planes of the compute type with their padding and the zeros of a spread (transposed
//! convolution), so that nothing behind it tests a bound. Then, by shape:
//!
//! - [`unfold`]: outputs times positions. Windows of 16 positions at a time are packed, the kernel is read where it lies.
//! - [`taps`]: windows larger than the result, above all a kernel's gradient (the window is the output's cotangent, the positions are the kernel's
//!   elements): positions times outputs. The images are read where they lie, the windows are packed.
//! - [`depthwise`]: one output per group: rows times numbers.
//!
//! Half types are widened while they are staged. Blocks depend on shapes only.

mod depthwise;
mod taps;
mod unfold;

use super::CACHE;
use super::alloc::Allocator;
use super::compile::{StoreStyle, compute};
use super::drive::{Held, Ptr};
use super::kernels::{MulAdd, Scalars, TileFn, TileOp, lookup, moves};
use super::micro::{Micro, STRIP, micro};
use super::nest::{self, Analysis, Mode};
use super::pool::Pool;
use super::run::{Bound, with_scratch};
use crate::base::{DType, Result};
use crate::loops::{Archetype, ExprKind, Kernel, ReduceKind};
use crate::trace::ConvSpec;
use smallvec::SmallVec;

/// Steps of the contraction that are packed at once: a strip of them is half an L1 cache.
const DEPTH: usize = 256;

/// Points of some axes in row-major order: extent and distance of each axis, neighbours merged where they are one run.
struct Grid {
    dims: SmallVec<[(usize, isize); 3]>,
}

impl Grid {
    fn new(extents: &[usize], strides: impl Iterator<Item = isize>) -> Grid {
        let mut dims: SmallVec<[(usize, isize); 3]> = SmallVec::new();
        for (&e, s) in extents.iter().zip(strides) {
            match dims.last_mut() {
                Some((n, by)) if e == 1 || *by == s * e as isize => (*n, *by) = (*n * e, if e == 1 { *by } else { s }),
                Some((n, by)) if *n == 1 => (*n, *by) = (e, s),
                _ => dims.push((e, s)),
            }
        }
        if dims.is_empty() {
            dims.push((1, 1));
        }
        Grid { dims }
    }

    /// The innermost axis.
    fn inner(&self) -> (usize, isize) {
        self.dims[self.dims.len() - 1]
    }

    fn offset(&self, mut p: usize) -> isize {
        let mut at = 0;
        for &(n, by) in self.dims.iter().rev() {
            at += (p % n.max(1)) as isize * by;
            p /= n.max(1);
        }
        at
    }

    /// Calls `f` with the first point (counted from `from`), the offset and the length of each run of `n` points.
    fn runs(&self, from: usize, n: usize, mut f: impl FnMut(usize, isize, usize)) {
        let inner = self.inner().0.max(1);
        let mut at = 0;
        while at < n {
            let m = (inner - (from + at) % inner).min(n - at);
            f(at, self.offset(from + at), m);
            at += m;
        }
    }
}

/// How a convolution runs.
enum Way {
    Unfold,
    Taps(taps::Blocks),
    Depthwise(TileFn),
}

/// A convolution ready to run.
pub struct Conv {
    batch: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
    /// Input extents as given.
    given: Vec<usize>,
    /// Extents of a staged plane.
    reach: Vec<usize>,
    spec: ConvSpec,
    /// Storage and compute dtype.
    stored: [DType; 2],
    dtype: DType,
    /// The input has to be staged.
    staged: bool,
    /// Elements of a staged plane; elements before the first position's first.
    plane: usize,
    origin: isize,
    /// Distance of images and of channels, as given and as the products read them; of outputs and channels of the window.
    given_strides: [usize; 2],
    strides: [usize; 2],
    window_strides: [usize; 2],
    /// Output positions and window elements within a plane.
    positions: Grid,
    taps: Grid,
    npositions: usize,
    ntaps: usize,
    way: Way,
    micro: Micro,
    epilogue: Bound,
    /// Estimated nanoseconds.
    pub cost: u64,
}

/// What a run works on.
struct Call<'a> {
    pool: &'a Pool,
    mem: &'static Allocator,
    /// Planes, and the byte behind the last.
    input: Ptr,
    end: Ptr,
    weights: Ptr,
    window_strides: [usize; 2],
    args: &'a [*mut u8],
    params: Ptr,
}

impl Conv {
    /// Prepares a kernel of the Conv archetype; None where the plain row reduction has to do.
    ///
    /// # Errors
    /// `Internal` if the kernel is malformed.
    pub fn new(k: &Kernel, style: StoreStyle) -> Result<Option<Conv>> {
        let Archetype::Conv { spec, input, window } = &k.archetype else { return Ok(None) };
        let Some(ReduceKind::Dot(a, b)) = k.passes.first().and_then(|p| p.reduces.first()).map(|r| r.kind) else { return Ok(None) };
        let forms = nest::forms(k);
        let load = |e: crate::loops::ExprId| match &k.exprs[e.index()].kind {
            ExprKind::Load { arg, index, .. } => Some((arg.index(), &forms[index.index()])),
            _ => None,
        };
        let dtype = compute(k.exprs[a.index()].dtype);
        let (Some((0, x)), Some((1, w))) = (load(a), load(b)) else { return Ok(None) };
        let Some(micro) = micro(dtype) else { return Ok(None) };
        if k.passes.len() != 2 {
            return Ok(None);
        }
        let rank = input.len() - 2;
        let outer: Vec<usize> = (0..k.axes.len()).filter(|&a| !k.axes[a].row).collect();
        if outer.len() != rank + 2 {
            return Ok(None);
        }
        let out: Vec<usize> = outer[2..].iter().map(|&a| k.axes[a].extent).collect();
        let given: Vec<usize> = input[2..].to_vec();
        let reach: Vec<usize> =
            (0..rank).map(|s| (out[s].max(1) - 1) * spec.stride[s] + (window[s + 2].max(1) - 1) * spec.rhs_dilation[s] + 1).collect();
        let inside = (0..rank).all(|s| {
            let (lo, last) = (-(spec.lo[s] as i64), reach[s] as i64 - spec.lo[s] as i64);
            spec.lhs_dilation[s] == 1 && lo >= 0 && last <= given[s] as i64
        });
        let stored = [k.args[0].dtype, k.args[1].dtype];
        let staged = !inside || stored[0] != dtype;
        let extents = if staged { &reach } else { &given };
        let mut strides = vec![1isize; rank];
        for s in (0..rank.saturating_sub(1)).rev() {
            strides[s] = strides[s + 1] * extents[s + 1] as isize;
        }
        let mut plane: usize = extents.iter().product();
        if staged {
            // An odd number of cache lines, so that planes do not compete for the same sets.
            plane = (plane.div_ceil(STRIP / dtype.size()) | 1) * (STRIP / dtype.size());
        }
        let origin = if staged { 0 } else { (0..rank).map(|s| -spec.lo[s] * strides[s]).sum() };
        // With one group, the first two axes of either may be exchanged in memory: what the indices say counts.
        let (own, wsize) = (given.iter().product::<usize>(), window[2..].iter().product::<usize>());
        let (mut given_strides, mut window_strides) = ([input[1] * own, own], [window[1] * wsize, wsize]);
        if spec.groups == 1 {
            let channel = outer.len();
            given_strides = [x.strides[outer[0]], x.strides[channel]].map(|s| s.max(0) as usize);
            window_strides = [w.strides[outer[1]], w.strides[channel]].map(|s| s.max(0) as usize);
        }
        let strides_ = if staged { [input[1] * plane, plane] } else { given_strides };
        let positions = Grid::new(&out, (0..rank).map(|s| spec.stride[s] as isize * strides[s]));
        let taps = Grid::new(&window[2..], (0..rank).map(|s| spec.rhs_dilation[s] as isize * strides[s]));
        let (npositions, ntaps) = (out.iter().product::<usize>(), window[2..].iter().product::<usize>());
        let per_group = window[0] / spec.groups.max(1);
        let last = rank.saturating_sub(1);
        let wide = rank > 0 && ntaps > npositions && window[last + 2] >= 8 && window[last + 2] > out[last];
        let multiply_add = lookup(TileOp::MulAdd(MulAdd::Add, dtype), Scalars::B);
        let way = match multiply_add {
            _ if wide => Way::Taps(taps::Blocks::new(&taps)),
            Some(f) if per_group == 1 => Way::Depthwise(f),
            _ => Way::Unfold,
        };
        // Lanes of the epilogue: the positions, and with taps the outputs too.
        let lanes = outer.get(if wide { 1 } else { 2 }).copied();
        let mut an = Analysis::new(k, forms, Mode::Point, Some(lanes.unwrap_or(usize::MAX)), 1)?;
        let programs = CACHE.get(&mut an, 1, style, false)?;
        let epilogue = Bound::new(programs, an.nest, 1, &[], 0, style.stream != 0, dtype.size())?;
        let flops = 2.0 * input[0] as f64 * window[0] as f64 * npositions as f64 * (window[1] * ntaps) as f64;
        let cost = (flops / 60.0) as u64 + epilogue.cost_ns();
        Ok(Some(Conv {
            batch: input[0],
            channels: input[1],
            outputs: window[0],
            groups: spec.groups,
            given,
            reach,
            spec: (**spec).clone(),
            stored,
            dtype,
            staged,
            plane,
            origin,
            given_strides,
            strides: strides_,
            window_strides,
            positions,
            taps,
            npositions,
            ntaps,
            way,
            micro,
            epilogue,
            cost,
        }))
    }

    /// Runs the convolution.
    ///
    /// # Errors
    /// `Memory` if a temporary does not fit.
    ///
    /// # Safety
    /// `args` are the kernel's buffers, `params` its parameters.
    pub unsafe fn run(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<()> {
        let size = self.dtype.size();
        if self.npositions == 0 || self.batch == 0 || self.outputs == 0 {
            return Ok(());
        }
        let mut held: SmallVec<[Held; 2]> = SmallVec::new();
        let planes = self.batch * self.channels;
        let (mut input, mut bytes) = (args[0], planes * if self.staged { self.plane } else { self.given.iter().product() } * size);
        if self.staged {
            // Strips may be read beyond the last plane.
            let h = Held::new(mem, bytes + 2 * STRIP)?;
            // SAFETY: as promised; the temporary has room for all planes and two strips.
            unsafe {
                self.stage(pool, input, h.get(), planes);
                std::ptr::write_bytes(h.get().add(bytes), 0, 2 * STRIP);
            }
            bytes += 2 * STRIP;
            input = h.get();
            held.push(h);
        }
        let mut weights = args[1];
        let (cg, from) = (self.channels / self.groups, self.stored[1]);
        let mut window_strides = self.window_strides;
        let rows = !matches!(self.way, Way::Taps(_));
        if from != self.dtype
            || (rows && cg > 1 && window_strides[1] != self.ntaps)
            || (rows && self.outputs > 1 && window_strides[0] != cg * self.ntaps)
        {
            // The compute type, in the order of the contraction.
            let h = Held::new(mem, self.outputs * cg * self.ntaps * size)?;
            let (src, dst) = (Ptr(weights), Ptr(h.get()));
            let cast = lookup(TileOp::Cast { from, to: self.dtype }, Scalars::NONE);
            let [so, sc] = window_strides;
            // SAFETY: rows are disjoint and inside both.
            let one = |o: usize| unsafe {
                for c in 0..cg {
                    let (s, null) = (src.get().add((o * so + c * sc) * from.size()), std::ptr::null());
                    let d = dst.get().add((o * cg + c) * self.ntaps * size);
                    match cast {
                        Some(f) if from != self.dtype => f(d, s, null, null, self.ntaps),
                        _ => moves::copy(d, s, self.ntaps * size),
                    }
                }
            };
            pool.run(self.outputs, self.outputs * cg * self.ntaps > 100_000, &one);
            window_strides = [cg * self.ntaps, self.ntaps];
            weights = h.get();
            held.push(h);
        }
        let end = Ptr(input.wrapping_add(bytes));
        let input = Ptr(input.wrapping_offset(self.origin * size as isize));
        let call = Call { pool, mem, input, end, weights: Ptr(weights), window_strides, args, params: Ptr(params.cast_mut().cast()) };
        // SAFETY: as promised; the factors are complete.
        unsafe {
            match &self.way {
                Way::Unfold => self.run_unfolded(&call),
                Way::Taps(blocks) => self.run_taps(&call, blocks)?,
                Way::Depthwise(f) => self.run_depthwise(&call, *f),
            }
        }
        Ok(())
    }

    /// Planes of the stored type to planes of the compute type with padding, and zeros between elements of a spread input.
    unsafe fn stage(&self, pool: &Pool, src: *mut u8, dst: *mut u8, planes: usize) {
        let (from, size) = (self.stored[0], self.dtype.size());
        let cast = if from == self.dtype { None } else { lookup(TileOp::Cast { from, to: self.dtype }, Scalars::NONE) };
        let (src, dst) = (Ptr(src), Ptr(dst));
        let rank = self.given.len();
        let last = rank.wrapping_sub(1);
        let (row, by, lo) =
            if rank == 0 { (1, 1, 0) } else { (self.given[last], self.spec.lhs_dilation[last] as i64, self.spec.lo[last] as i64) };
        let width = if rank == 0 { 1 } else { self.reach[last] as i64 };
        // Elements i of a row with 0 <= i * by + lo < width.
        let first = if lo >= 0 { 0 } else { (-lo + by - 1) / by }.min(row as i64);
        let behind = ((width - lo + by - 1).max(0) / by).clamp(first, row as i64);
        let (first, n) = (first as usize, (behind - first) as usize);
        let rows: usize = if rank == 0 { 1 } else { self.given[..last].iter().product() };
        let [image, channel] = self.given_strides;
        let one = |p: usize| {
            // SAFETY: plane p of each; rows that do not reach into the staged plane are left out.
            unsafe {
                let at = p / self.channels * image + p % self.channels * channel;
                let (s, d) = (src.get().add(at * from.size()), dst.get().add(p * self.plane * size));
                std::ptr::write_bytes(d, 0, self.plane * size);
                if n == 0 {
                    return;
                }
                let start = (lo + first as i64 * by) as usize;
                'rows: for r in 0..rows {
                    let (mut rest, mut at, mut stride) = (r, start, width as usize);
                    for a in (0..rank.saturating_sub(1)).rev() {
                        let u = (rest % self.given[a] * self.spec.lhs_dilation[a]) as i64 + self.spec.lo[a] as i64;
                        if u < 0 || u >= self.reach[a] as i64 {
                            continue 'rows;
                        }
                        at += u as usize * stride;
                        rest /= self.given[a];
                        stride *= self.reach[a];
                    }
                    let (s, d) = (s.add((r * row + first) * from.size()), d.add(at * size));
                    let null = std::ptr::null();
                    match cast {
                        None if by == 1 => moves::copy(d, s, n * size),
                        None => moves::store_strided(d, by as isize, s, n, size),
                        Some(f) if by == 1 => f(d, s, null, null, n),
                        Some(f) => with_scratch(n * size, |tmp| {
                            f(tmp, s, null, null, n);
                            moves::store_strided(d, by as isize, tmp, n, size);
                        }),
                    }
                }
            }
        };
        pool.run(planes, planes * self.plane > 50_000, &one);
    }
}
