//! Convolutions: blocks of output positions as matrix products with unfolded windows, and the epilogue's tile program on each block.
//!
//! The windows of a block are unfolded row by row (one row per channel and window element) by the same segment walks that serve masked loads.
//! A 1x1 window at stride 1 reads the input in place. With one output per group, rows are accumulated directly. Half types
//! are widened, and a spread input (transposed convolution) is written out with its zeros, once before.

use super::CACHE;
use super::access;
use super::alloc::Allocator;
use super::compile::{StoreStyle, compute};
use super::drive::{Held, Ptr, Ptrs, SERIAL_NS};
use super::kernels::{MulAdd, Scalars, TileFn, TileOp, lookup, moves};
use super::matmul::gemm_block;
use super::nest::{self, Analysis, Dim, Mode, Walk};
use super::pool::Pool;
use super::run::{Bound, Task, with_scratch};
use crate::base::{DType, Result};
use crate::loops::{Archetype, ExprKind, Kernel, ReduceKind};
use crate::trace::ConvSpec;
use smallvec::{SmallVec, smallvec};

/// Elements of an unfolded block: a quarter of an L2 cache and more.
const UNFOLDED: usize = 1 << 17;

/// A convolution ready to run.
pub struct Conv {
    batch: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
    /// Input extents after spreading.
    input: Vec<usize>,
    /// Input extents as given.
    given: Vec<usize>,
    window: Vec<usize>,
    out: Vec<usize>,
    spec: ConvSpec,
    /// Storage and compute dtype.
    stored: [DType; 2],
    dtype: DType,
    /// The windows of all positions, one row: its strides per output axis.
    walk: Walk,
    in_place: bool,
    /// Positions per block.
    block: usize,
    /// Outputs (of one group) per block.
    rows: usize,
    epilogue: Bound,
    multiply_add: Option<TileFn>,
    /// Estimated nanoseconds.
    pub cost: u64,
}

impl Conv {
    /// Prepares a kernel of the Conv archetype; None where the plain row reduction has to do.
    ///
    /// # Errors
    /// `Internal` if the kernel is malformed.
    pub fn new(k: &Kernel, style: StoreStyle) -> Result<Option<Conv>> {
        let Archetype::Conv { spec, input, window } = &k.archetype else { return Ok(None) };
        let Some(ReduceKind::Dot(a, b)) = k.passes.first().and_then(|p| p.reduces.first()).map(|r| r.kind) else { return Ok(None) };
        let arg_of = |e: crate::loops::ExprId| match &k.exprs[e.index()].kind {
            ExprKind::Load { arg, .. } => Some(arg.index()),
            _ => None,
        };
        let dtype = compute(k.exprs[a.index()].dtype);
        let plain = matches!((arg_of(a), arg_of(b)), (Some(0), Some(1)) | (Some(1), Some(0)));
        if !plain || k.passes.len() != 2 || !matches!(dtype, DType::F32 | DType::F64) {
            return Ok(None);
        }
        let rank = input.len() - 2;
        let outer: Vec<usize> = (0..k.axes.len()).filter(|&a| !k.axes[a].row).collect();
        if outer.len() != rank + 2 {
            return Ok(None);
        }
        let out: Vec<usize> = outer[2..].iter().map(|&a| k.axes[a].extent).collect();
        let given: Vec<usize> = input[2..].to_vec();
        let spread: Vec<usize> = (0..rank).map(|s| if given[s] == 0 { 0 } else { (given[s] - 1) * spec.lhs_dilation[s] + 1 }).collect();
        let window_: Vec<usize> = window[2..].to_vec();
        let mut strides = vec![1i64; rank];
        for s in (0..rank.saturating_sub(1)).rev() {
            strides[s] = strides[s + 1] * spread[s + 1] as i64;
        }
        let padded = (0..rank).any(|s| {
            let last = (out[s].max(1) - 1) * spec.stride[s] + (window_[s].max(1) - 1) * spec.rhs_dilation[s];
            spec.lo[s] > 0 || last as i64 - spec.lo[s] as i64 >= spread[s] as i64
        });
        // Line 0 is the element; line 1 + s the position along axis s, which must be inside the input.
        let bounds = if padded { rank } else { 0 };
        let mut dims: SmallVec<[Dim; 2]> = SmallVec::new();
        for s in 0..rank {
            let step = spec.stride[s] as i64;
            let mut st: SmallVec<[i64; 2]> = smallvec![step * strides[s]];
            st.extend((0..bounds).map(|b| if b == s { step } else { 0 }));
            match dims.last_mut() {
                Some(d) if bounds == 0 && d.strides[0] == st[0] * out[s] as i64 => {
                    d.extent *= out[s];
                    d.strides = st;
                }
                _ => dims.push(Dim { extent: out[s], strides: st }),
            }
        }
        if dims.is_empty() {
            dims.push(Dim { extent: 1, strides: smallvec![0] });
        }
        let walk = Walk {
            lines: (0..=bounds as u16).collect(),
            element: true,
            limits: (0..bounds).map(|s| (0, spread[s] as i64)).collect(),
            dims,
        };
        let unit = (0..rank).all(|s| window_[s] == 1 && spec.stride[s] == 1 && spec.lo[s] == 0 && out[s] == spread[s]);
        let positions: usize = out.iter().product();
        let depth = window[1] * window_.iter().product::<usize>();
        let per_group = window[0] / spec.groups.max(1);
        // Blocks of positions that keep the unfolded windows in L2, evenly cut.
        let most = if unit { 4096 } else { (UNFOLDED / depth.max(1)).max(64) };
        let pieces = positions.div_ceil(most).max(1);
        let block = positions.div_ceil(pieces).next_multiple_of(16).min(positions.max(1));
        let tasks = input[0] * spec.groups * positions.div_ceil(block.max(1));
        let rows = if tasks < 4 && per_group >= 128 { per_group.div_ceil(4).next_multiple_of(16) } else { per_group.max(1) };
        let forms = nest::forms(k);
        let mut an = Analysis::new(k, forms, Mode::Point, Some(outer.get(2).copied().unwrap_or(usize::MAX)), 1)?;
        let programs = CACHE.get(&mut an, 1, style, false)?;
        let epilogue = Bound::new(programs, an.nest, 1, &[], 0, style.stream != 0, dtype.size())?;
        let flops = 2.0 * input[0] as f64 * window[0] as f64 * positions as f64 * depth as f64;
        let cost = (flops / 60.0) as u64 + epilogue.cost_ns();
        Ok(Some(Conv {
            batch: input[0],
            channels: input[1],
            outputs: window[0],
            groups: spec.groups,
            input: spread,
            given,
            window: window_,
            out,
            spec: (**spec).clone(),
            stored: [k.args[0].dtype, k.args[1].dtype],
            dtype,
            walk,
            in_place: unit,
            block,
            rows,
            epilogue,
            multiply_add: lookup(TileOp::MulAdd(MulAdd::Add, dtype), Scalars::B),
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
        let spatial: usize = self.input.iter().product();
        let wsize: usize = self.window.iter().product();
        let positions: usize = self.out.iter().product();
        if positions == 0 || self.batch == 0 || self.outputs == 0 {
            return Ok(());
        }
        let (cg, og) = (self.channels / self.groups, self.outputs / self.groups);
        let depth = cg * wsize;
        let mut held: SmallVec<[Held; 2]> = SmallVec::new();
        let mut factors = [args[0], args[1]];
        let spread = self.input != self.given;
        for (i, f) in factors.iter_mut().enumerate() {
            let from = self.stored[i];
            let planes = if i == 0 { self.batch * self.channels } else { self.outputs * cg };
            let (src_plane, dst_plane) = if i == 0 { (self.given.iter().product(), spatial) } else { (wsize, wsize) };
            if from == self.dtype && !(i == 0 && spread) {
                continue;
            }
            let h = Held::new(mem, planes * dst_plane * size)?;
            // SAFETY: as promised; the temporary has room for all planes.
            unsafe { self.widen(pool, *f, h.get(), from, planes, src_plane, dst_plane, i == 0 && spread) };
            *f = h.get();
            held.push(h);
        }
        let (input, weights) = (Ptr(factors[0]), Ptr(factors[1]));
        let args = Ptrs(args);
        let params = Ptr(params.cast_mut().cast());
        let (blocks, bands) = (positions.div_ceil(self.block), og.div_ceil(self.rows));
        let e = &self.epilogue;
        let task = |i: usize| {
            let (band, p, g, b) = (i % bands, i / bands % blocks, i / (bands * blocks) % self.groups, i / (bands * blocks * self.groups));
            let (p0, o0) = (p * self.block, band * self.rows);
            let (n, m) = (self.block.min(positions - p0), self.rows.min(og - o0));
            let ld = n.next_multiple_of(16);
            let unfolded = if self.in_place { 0 } else { (if self.by_rows(og) { 1 } else { depth }) * ld * size };
            let result = m * ld * size;
            with_scratch(unfolded + result + 64 + e.task_bytes(), |mem| {
                // SAFETY: the parts follow each other in the scratch memory; factors are complete.
                unsafe {
                    let block = mem.add(unfolded);
                    let x = input.get().add((b * self.channels + g * cg) * spatial * size);
                    let w = weights.get().add((g * og + o0) * depth * size);
                    if self.by_rows(og)
                        && let Some(f) = self.multiply_add
                    {
                        std::ptr::write_bytes(block, 0, ld * size);
                        for d in 0..depth {
                            let row = if self.in_place {
                                x.add((d * spatial + p0) * size)
                            } else {
                                self.unfold(d, wsize, spatial, x, p0, n, mem)
                            };
                            f(block, row, w.add(d * size), block, n);
                        }
                    } else if self.in_place {
                        let (ws, xs) = (depth as isize, spatial as isize);
                        gemm_block(self.dtype, (m, n, depth), (block, ld as isize, 1), (w, ws, 1), (x.add(p0 * size), xs, 1));
                    } else {
                        for d in 0..depth {
                            let to = mem.add(d * ld * size);
                            let at = self.unfold(d, wsize, spatial, x, p0, n, to);
                            if at != to {
                                moves::copy(to, at, n * size);
                            }
                        }
                        gemm_block(self.dtype, (m, n, depth), (block, ld as isize, 1), (w, depth as isize, 1), (mem, ld as isize, 1));
                    }
                    let task_mem = block.add(result.next_multiple_of(64));
                    let mut t = Task::start(e, args.get(), params.get().cast(), task_mem);
                    t.seek(b * self.outputs + g * og + o0);
                    for y in 0..m {
                        t.set_point_result(block.wrapping_offset(((y * ld) as isize - p0 as isize) * size as isize));
                        t.enter(0);
                        t.place(0, p0);
                        t.tiles(0, p0, p0 + n);
                        if y + 1 < m {
                            t.step();
                        }
                    }
                    t.finish();
                }
            });
        };
        pool.run(self.batch * self.groups * blocks * bands, self.cost > SERIAL_NS, &task);
        Ok(())
    }

    /// One output per group: its rows are accumulated one by one instead of unfolded for a product.
    fn by_rows(&self, og: usize) -> bool {
        og == 1 && self.multiply_add.is_some()
    }

    /// Row `d` (channel and window element) of the unfolded windows for positions `p0..p0 + n`: in `to`, or in the input itself.
    #[allow(clippy::too_many_arguments)]
    unsafe fn unfold(&self, d: usize, wsize: usize, spatial: usize, x: *mut u8, p0: usize, n: usize, to: *mut u8) -> *mut u8 {
        let size = self.dtype.size();
        let rank = self.input.len();
        let mut lines: SmallVec<[i64; 6]> = smallvec![0; rank + 1];
        let (mut rest, mut stride) = (d % wsize, 1i64);
        for s in (0..rank).rev() {
            let k = rest % self.window[s];
            rest /= self.window[s];
            let at = (k * self.spec.rhs_dilation[s]) as i64 - self.spec.lo[s] as i64;
            lines[1 + s] = at;
            lines[0] += at * stride;
            stride *= self.input[s] as i64;
        }
        let zero = 0u64;
        // SAFETY: inside the bounds the walk stays inside the channel's plane.
        unsafe {
            let plane = x.add(d / wsize * spatial * size);
            access::load(&self.walk, lines.as_ptr(), 0, plane, p0, n, to, (&raw const zero).cast(), size)
        }
    }

    /// Planes of the stored type to planes of the compute type, with zeros between elements if `spread`.
    #[allow(clippy::too_many_arguments)]
    unsafe fn widen(
        &self,
        pool: &Pool,
        src: *mut u8,
        dst: *mut u8,
        from: DType,
        planes: usize,
        src_plane: usize,
        dst_plane: usize,
        spread: bool,
    ) {
        let size = self.dtype.size();
        let cast = lookup(TileOp::Cast { from, to: self.dtype }, Scalars::NONE);
        let (src, dst) = (Ptr(src), Ptr(dst));
        let rank = self.given.len();
        let one = |p: usize| {
            let null = std::ptr::null();
            // SAFETY: plane p of each; rows of the source are contiguous.
            unsafe {
                let (s, d) = (src.get().add(p * src_plane * from.size()), dst.get().add(p * dst_plane * size));
                let Some(cast) = cast else { return };
                if !spread {
                    cast(d, s, null, null, src_plane);
                    return;
                }
                std::ptr::write_bytes(d, 0, dst_plane * size);
                let row = self.given[rank - 1];
                let step = self.spec.lhs_dilation[rank - 1];
                with_scratch(row * size, |tmp| {
                    for r in 0..src_plane.checked_div(row).unwrap_or(0) {
                        let (mut rest, mut at, mut stride) = (r, 0, self.input[rank - 1]);
                        for a in (0..rank - 1).rev() {
                            at += rest % self.given[a] * self.spec.lhs_dilation[a] * stride;
                            rest /= self.given[a];
                            stride *= self.input[a];
                        }
                        cast(tmp, s.add(r * row * from.size()), null, null, row);
                        moves::store_strided(d.add(at * size), step as isize, tmp, row, size);
                    }
                });
            }
        };
        pool.run(planes, planes * dst_plane > 100_000, &one);
    }
}
