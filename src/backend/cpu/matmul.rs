//! Matrix products: `gemm` per block of the result, and the epilogue's tile program on the block while it is in cache.
//!
//! A factor that is more than a load (or of a half type) is computed once into a packed temporary, in the type of accumulation. Blocks depend on
//! the shape only. Integer products use kernels of our own. Factors that depend on both sides' axes make a plain row reduction.

use super::alloc::Allocator;
use super::compile::{StoreStyle, compute};
use super::drive::{Driver, Held, Ptr, Ptrs, SERIAL_NS};
use super::executable::driver;
use super::kernels::matvec::matvec;
use super::micro::micro;
use super::nest::{self, Analysis, Form, Mode, post_order};
use super::packed;
use super::pool::Pool;
use super::rewrite::row_major;
use super::run::{Bound, Task, with_scratch};
use super::{CACHE, MEMORY};
use crate::base::{DType, Result};
use crate::loops::{Access, Arg, ArgId, Expr, ExprId, ExprKind, IndexId, Kernel, Pass, ReduceKind, Store};
use smallvec::SmallVec;

/// Largest block of the result.
const BLOCK_M: usize = 512;
const BLOCK_N: usize = 512;
/// Rows of fewer elements are too short to be vectors of their own.
const ROW_LANES: usize = 16;

/// A factor as a strided matrix per batch.
struct Factor {
    /// Argument, or the temporary.
    arg: usize,
    base: i64,
    batch: SmallVec<[i64; 4]>,
    outer: isize,
    inner: isize,
    /// Computes the temporary.
    make: Option<Box<Driver>>,
    bytes: usize,
    /// Computes what is to be added to `base`: one number for the whole kernel.
    offset: Option<Box<Driver>>,
}

/// A destination: argument, offset, batch strides, row and column stride.
type Direct = (usize, i64, SmallVec<[i64; 4]>, isize, isize);

/// A block of the result.
pub struct Block {
    batch: usize,
    m0: usize,
    n0: usize,
    m: usize,
    n: usize,
}

impl Block {
    /// Of one batch's product: first row and rows, first column and columns.
    pub fn new(batch: usize, (m0, m): (usize, usize), (n0, n): (usize, usize)) -> Block {
        Block { batch, m0, n0, m, n }
    }
}

/// Buffers of a product that is about to run.
pub struct Ready {
    /// The kernel's, then the temporaries of its factors, which are computed.
    pub args: SmallVec<[*mut u8; 16]>,
    /// Where each factor begins.
    pub offsets: [isize; 2],
    _held: SmallVec<[Held; 2]>,
}

/// A matrix product ready to run.
pub struct Matmul {
    batch: SmallVec<[usize; 4]>,
    m: usize,
    n: usize,
    k: usize,
    dtype: DType,
    a: Factor,
    b: Factor,
    /// Where the product itself goes, without an epilogue.
    direct: Option<Direct>,
    epilogue: Bound,
    /// The epilogue's vectors run over rows too; a block then holds whole rows.
    rows_at_once: bool,
    /// Kernel arguments; temporaries follow them.
    args: usize,
    /// Estimated nanoseconds.
    pub cost: u64,
}

/// Indices that expression `e` depends on.
fn reached(k: &Kernel, forms: &[Form], e: ExprId) -> Vec<usize> {
    let ne = k.exprs.len();
    post_order(ne + k.indices.len(), &[e.0], |x, out| nest::children(k, forms, x as usize, out))
        .into_iter()
        .filter(|&x| x as usize >= ne)
        .map(|x| x as usize - ne)
        .collect()
}

/// A kernel that computes `e` over the given axes into a new argument, row-major in `dtype`.
fn materialise(k: &Kernel, e: ExprId, axes: &[usize], dtype: DType) -> (Kernel, usize) {
    let mut q = k.clone();
    q.archetype = crate::loops::Archetype::Pointwise;
    for (i, a) in q.axes.iter_mut().enumerate() {
        a.row = false;
        if !axes.contains(&i) {
            a.extent = 1;
        }
    }
    let index = row_major(&mut q, axes);
    let numel = axes.iter().map(|&a| k.axes[a].extent).product();
    q.args.push(Arg { dtype, numel, access: Access::Write });
    let arg = ArgId(q.args.len() as u32 - 1);
    q.passes = vec![Pass { row: false, stores: vec![Store { arg, index, value: e, valid: None }], ..Pass::default() }];
    q.scratch.clear();
    (q, numel)
}

/// Whether an index that is no affine function is the same everywhere.
fn constant(k: &Kernel, forms: &[Form], i: usize) -> bool {
    let ne = k.exprs.len();
    let reached = post_order(ne + k.indices.len(), &[(ne + i) as u32], |x, out| nest::children(k, forms, x as usize, out));
    let moves = |x: &u32| *x as usize >= ne && forms[*x as usize - ne].strides.iter().any(|&s| s != 0);
    let varies = |x: &u32| matches!(k.exprs.get(*x as usize).map(|e| &e.kind), Some(ExprKind::Reduced(..) | ExprKind::Scratch(_)));
    !reached.iter().any(|x| moves(x) || varies(x))
}

/// A kernel that computes an index at the first point of all axes.
fn origin(k: &Kernel, index: IndexId) -> Result<Driver> {
    let mut q = k.clone();
    q.exprs.push(Expr { kind: ExprKind::Index(index), dtype: DType::I64 });
    let e = ExprId(q.exprs.len() as u32 - 1);
    let (q, _) = materialise(&q, e, &[], DType::I64);
    driver(&q, StoreStyle { late: false, stream: 0 })
}

#[allow(clippy::too_many_arguments)]
fn factor(
    k: &Kernel,
    forms: &[Form],
    e: ExprId,
    batch: &[usize],
    outer: usize,
    inner: usize,
    outer_first: bool,
    args: usize,
) -> Result<Factor> {
    let x = &k.exprs[e.index()];
    let dtype = compute(x.dtype);
    if let ExprKind::Load { arg, index, mask, .. } = &x.kind
        && mask.is_empty()
        && k.args[arg.index()].dtype == dtype
        && let f = &forms[index.index()]
        && f.atoms.iter().all(|a| constant(k, forms, a.0 as usize))
    {
        let offset = if f.atoms.is_empty() { None } else { Some(Box::new(origin(k, *index)?)) };
        return Ok(Factor {
            arg: arg.index(),
            base: if offset.is_some() { 0 } else { f.base },
            batch: batch.iter().map(|&a| f.strides[a]).collect(),
            outer: f.strides[outer] as isize,
            inner: f.strides[inner] as isize,
            make: None,
            bytes: 0,
            offset,
        });
    }
    // Batch axes the factor does not depend on are not repeated.
    let ix = reached(k, forms, e);
    let used: Vec<usize> = batch.iter().copied().filter(|&a| ix.iter().any(|&i| forms[i].strides[a] != 0)).collect();
    let (first, second) = if outer_first { (outer, inner) } else { (inner, outer) };
    let axes: Vec<usize> = used.iter().copied().chain([first, second]).collect();
    let (q, numel) = materialise(k, e, &axes, dtype);
    let mut stride = (k.axes[outer].extent * k.axes[inner].extent) as i64;
    let mut strides: SmallVec<[i64; 4]> = SmallVec::from_elem(0, batch.len());
    for (i, a) in batch.iter().enumerate().rev() {
        if used.contains(a) {
            strides[i] = stride;
            stride *= k.axes[*a].extent as i64;
        }
    }
    let row = k.axes[second].extent as isize;
    let (o, i) = if outer_first { (row, 1) } else { (1, row) };
    let make = driver(&q, StoreStyle { late: false, stream: 0 })?;
    Ok(Factor {
        arg: args,
        base: 0,
        batch: strides,
        outer: o,
        inner: i,
        make: Some(Box::new(make)),
        bytes: numel * dtype.size(),
        offset: None,
    })
}

impl Matmul {
    /// Prepares a kernel of the Matmul archetype; None where the plain row reduction has to do.
    ///
    /// # Errors
    /// `Internal` if the kernel is malformed.
    pub fn new(k: &Kernel, style: StoreStyle) -> Result<Option<Matmul>> {
        let (outer, row): (Vec<usize>, Vec<usize>) = (0..k.axes.len()).partition(|&a| !k.axes[a].row);
        let Some(ReduceKind::Dot(x, y)) = k.passes.first().and_then(|p| p.reduces.first()).map(|r| r.kind) else { return Ok(None) };
        let dtype = compute(k.exprs[x.index()].dtype);
        if outer.len() < 2 || row.len() != 1 || k.passes.len() != 2 || k.passes[0].reduces.len() != 1 || micro(dtype).is_none() {
            return Ok(None);
        }
        let (batch, ma, na, ka) = (&outer[..outer.len() - 2], outer[outer.len() - 2], outer[outer.len() - 1], row[0]);
        let forms = nest::forms(k);
        let depends = |e: ExprId, axis: usize| {
            let n = k.exprs.len() + k.indices.len();
            // Through atoms too: their operands are reached.
            debug_assert!(e.index() < n);
            reached(k, &forms, e).iter().any(|&i| forms[i].strides[axis] != 0)
        };
        let (x, y) = if !depends(x, na) && !depends(y, ma) {
            (x, y)
        } else if !depends(x, ma) && !depends(y, na) {
            (y, x)
        } else {
            return Ok(None);
        };
        let a = factor(k, &forms, x, batch, ma, ka, true, k.args.len())?;
        let b = factor(k, &forms, y, batch, na, ka, false, k.args.len() + a.make.is_some() as usize)?;
        let mut direct = None;
        if let [st] = &k.passes[1].stores[..]
            && matches!(k.exprs[st.value.index()].kind, ExprKind::Reduced(0, 0))
            && k.args[st.arg.index()].dtype == dtype
            && forms[st.index.index()].atoms.is_empty()
        {
            let f = &forms[st.index.index()];
            let strides = batch.iter().map(|&a| f.strides[a]).collect();
            direct = Some((st.arg.index(), f.base, strides, f.strides[ma] as isize, f.strides[na] as isize));
        }
        // Columns too few for a vector: the epilogue runs over whole blocks of rows.
        let rows_at_once = k.axes[na].extent < ROW_LANES && na == ma + 1;
        let mut an = Analysis::new(k, forms, Mode::Point, Some(if rows_at_once { ma } else { na }), 1)?;
        let programs = CACHE.get(&mut an, 1, style, false)?;
        let epilogue = Bound::new(programs, an.nest, 1, &[], 0, style.stream != 0, dtype.size())?;
        let (m, n, kk) = (k.axes[ma].extent, k.axes[na].extent, k.axes[ka].extent);
        let batch: SmallVec<[usize; 4]> = batch.iter().map(|&a| k.axes[a].extent).collect();
        let flops = batch.iter().product::<usize>() as f64 * m as f64 * n as f64 * kk as f64 * 2.0;
        let cost = (flops / if dtype == DType::F64 { 40.0 } else { 80.0 }) as u64 + epilogue.cost_ns();
        Ok(Some(Matmul { batch, m, n, k: kk, dtype, a, b, direct, epilogue, rows_at_once, args: k.args.len(), cost }))
    }

    /// Computes the temporaries of the factors.
    ///
    /// # Errors
    /// `Memory` if one does not fit.
    ///
    /// # Safety
    /// `args` are the kernel's buffers, `params` its parameters; those that no factor reads need not be there.
    pub unsafe fn ready(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<Ready> {
        let mut all: SmallVec<[*mut u8; 16]> = SmallVec::from_slice(args);
        let mut held: SmallVec<[Held; 2]> = SmallVec::new();
        for f in [&self.a, &self.b] {
            if let Some(d) = &f.make {
                let h = Held::new(mem, f.bytes)?;
                let mut own: SmallVec<[*mut u8; 16]> = SmallVec::from_slice(args);
                own.push(h.get());
                // SAFETY: as promised; the temporary is the synthetic kernel's last argument.
                unsafe { d.run(pool, &MEMORY, &own, params)? };
                all.push(h.get());
                held.push(h);
            }
        }
        let offset = |f: &Factor| -> Result<isize> {
            let Some(d) = &f.offset else { return Ok(0) };
            let mut at = 0i64;
            let mut own: SmallVec<[*mut u8; 16]> = SmallVec::from_slice(args);
            own.push((&raw mut at).cast());
            // SAFETY: as promised; the number is the synthetic kernel's last argument.
            unsafe { d.run(pool, &MEMORY, &own, params)? };
            Ok(at as isize)
        };
        let offsets = [offset(&self.a)?, offset(&self.b)?];
        debug_assert!(all.len() >= self.args);
        Ok(Ready { args: all, offsets, _held: held })
    }

    /// Runs the product.
    ///
    /// # Errors
    /// `Memory` if a temporary does not fit.
    ///
    /// # Safety
    /// `args` are the kernel's buffers, `params` its parameters.
    pub unsafe fn run(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<()> {
        // SAFETY: as promised.
        let ready = unsafe { self.ready(pool, mem, args, params)? };
        let (bm, bn) = self.block_size();
        let (rows, cols) = (self.m.div_ceil(bm), self.n.div_ceil(bn));
        let (all, offsets) = (Ptrs(&ready.args), ready.offsets);
        let params = Ptr(params.cast_mut().cast());
        let task = |i: usize| {
            let (c, r, batch) = (i % cols, i / cols % rows, i / (cols * rows));
            let (m0, n0) = (r * bm, c * bn);
            let x = Block { batch, m0, n0, m: bm.min(self.m - m0), n: bn.min(self.n - n0) };
            // SAFETY: as promised.
            with_scratch(self.block_room(&x), |mem| unsafe { self.block(&x, all.get(), offsets, params.get().cast(), mem) });
        };
        pool.run(self.batch.iter().product::<usize>() * rows * cols, self.cost > SERIAL_NS, &task);
        Ok(())
    }

    /// Bytes that [`block`](Matmul::block) works in.
    pub fn block_room(&self, x: &Block) -> usize {
        if self.direct.is_some() { 0 } else { self.block_bytes(x) + self.epilogue.task_bytes() }
    }

    /// Computes a block of the result.
    ///
    /// # Safety
    /// `args` and `offsets` are [`ready`](Matmul::ready), `params` the kernel's, `mem` has [`block_room`](Matmul::block_room).
    pub unsafe fn block(&self, x: &Block, args: &[*mut u8], offsets: [isize; 2], params: *const u64, mem: *mut u8) {
        // SAFETY: as promised; the block's product comes first, then the task's memory.
        unsafe {
            self.product(x, args, offsets, mem);
            if self.direct.is_none() {
                self.finish(&mut Task::start(&self.epilogue, args, params, mem.add(self.block_bytes(x))), x, mem);
            }
        }
    }

    /// Rows and columns of a block.
    fn block_size(&self) -> (usize, usize) {
        let batches: usize = self.batch.iter().product();
        // Tall and narrow results are cut along their long side; small ones not at all.
        let work = self.m as f64 * self.n as f64 * self.k as f64;
        let (mut bm, mut bn) = (self.m.clamp(1, BLOCK_M), self.n.clamp(1, BLOCK_N));
        let blocks = |bm: usize, bn: usize| batches * self.m.div_ceil(bm) * self.n.div_ceil(bn);
        while blocks(bm, bn) < 4 && work / blocks(bm, bn).max(1) as f64 > 4e6 {
            if bm >= bn && bm > 32 {
                bm = bm.div_ceil(2).next_multiple_of(16);
            } else if bn > 32 {
                bn = bn.div_ceil(2).next_multiple_of(16);
            } else {
                break;
            }
        }
        (bm, bn)
    }

    /// The result as one block that is worth no second thread, if its factors are read where they are.
    pub fn single(&self) -> Option<Block> {
        let one = self.batch.iter().product::<usize>() == 1 && self.block_size() == (self.m, self.n);
        (one && self.cost <= SERIAL_NS && self.a.make.is_none() && self.b.make.is_none()).then_some(Block {
            batch: 0,
            m0: 0,
            n0: 0,
            m: self.m,
            n: self.n,
        })
    }

    /// What computes where each factor begins, if that depends on values: an I64, the last argument after the kernel's.
    pub fn offsets(&self) -> [Option<&Driver>; 2] {
        [self.a.offset.as_deref(), self.b.offset.as_deref()]
    }

    /// What is computed of a block's product, unless that is the result as it is.
    pub fn epilogue(&self) -> Option<&Bound> {
        self.direct.is_none().then_some(&self.epilogue)
    }

    /// Bytes of a block's product.
    pub fn block_bytes(&self, x: &Block) -> usize {
        (x.m * x.n * self.dtype.size()).next_multiple_of(64)
    }

    /// Computes the product of a block: into the result, or row-major into `to` where there is an epilogue.
    ///
    /// # Safety
    /// `args` are the kernel's buffers and the temporaries of its factors, `offsets` where these begin; `to` has
    /// [`block_bytes`](Matmul::block_bytes).
    pub unsafe fn product(&self, x: &Block, args: &[*mut u8], offsets: [isize; 2], to: *mut u8) {
        let size = self.dtype.size();
        let at = |base: i64, strides: &[i64]| {
            let mut o = base;
            let mut rest = x.batch;
            for (e, s) in self.batch.iter().zip(strides).rev() {
                o += s * (rest % e) as i64;
                rest /= e;
            }
            o as isize
        };
        let pointer = |arg: usize, o: isize| args[arg].wrapping_offset(o * size as isize);
        let a = pointer(self.a.arg, at(self.a.base, &self.a.batch) + offsets[0] + x.m0 as isize * self.a.outer);
        let b = pointer(self.b.arg, at(self.b.base, &self.b.batch) + offsets[1] + x.n0 as isize * self.b.outer);
        let to = match &self.direct {
            Some((arg, base, strides, rs, cs)) => (pointer(*arg, at(*base, strides) + x.m0 as isize * rs + x.n0 as isize * cs), *rs, *cs),
            None => (to, x.n as isize, 1),
        };
        // SAFETY: the blocks lie inside the factors and the destination.
        unsafe { gemm_block(self.dtype, (x.m, x.n, self.k), to, (a, self.a.outer, self.a.inner), (b, self.b.inner, self.b.outer)) }
    }

    /// Runs the epilogue on a block's product.
    ///
    /// # Safety
    /// `t` is a task of the [`epilogue`](Matmul::epilogue), `from` what [`product`](Matmul::product) wrote.
    pub unsafe fn finish(&self, t: &mut Task<'_>, x: &Block, from: *mut u8) {
        let size = self.dtype.size() as isize;
        let &Block { batch, m0, n0, m, n } = x;
        // SAFETY: as promised.
        unsafe {
            if self.rows_at_once {
                t.seek(batch);
                t.set_point_result(from.wrapping_offset(-((m0 * n) as isize * size)));
                t.enter(0);
                t.place(0, m0 * n);
                t.tiles(0, m0 * n, (m0 + m) * n);
                t.finish();
                return;
            }
            t.seek(batch * self.m + m0);
            for y in 0..m {
                t.set_point_result(from.wrapping_offset(((y * n) as isize - n0 as isize) * size));
                t.enter(0);
                t.place(0, n0);
                t.tiles(0, n0, n0 + n);
                if y + 1 < m {
                    t.step();
                }
            }
            t.finish();
        }
    }
}

/// dst = a b, each with its row and column stride in elements.
///
/// # Safety
/// The matrices `[m, k]`, `[k, n]` and `[m, n]` with these strides are valid; dst overlaps neither factor.
pub unsafe fn gemm_block(
    dtype: DType,
    (m, n, k): (usize, usize, usize),
    (dst, drs, dcs): (*mut u8, isize, isize),
    (a, ars, acs): (*mut u8, isize, isize),
    (b, brs, bcs): (*mut u8, isize, isize),
) {
    macro_rules! go {
        ($t:ty) => {{
            let (dst, a, b) = (dst.cast::<$t>(), a.cast::<$t>(), b.cast::<$t>());
            if k == 0 {
                for i in 0..m as isize {
                    for j in 0..n as isize {
                        // SAFETY: as promised.
                        unsafe { *dst.offset(i * drs + j * dcs) = 0.0 };
                    }
                }
            } else {
                let none = gemm::Parallelism::None;
                // SAFETY: as promised.
                unsafe { gemm::gemm(m, n, k, dst, dcs, drs, false, a, acs, ars, b, bcs, brs, 0.0, 1.0, false, false, false, none) }
            }
        }};
    }
    if dtype == DType::F32 && k > 0 && (m == 1 || n == 1) {
        let (to, a, b) = (dst.cast::<f32>(), a.cast::<f32>().cast_const(), b.cast::<f32>().cast_const());
        // SAFETY: as promised.
        let done = unsafe {
            if n == 1 { matvec((m, k), (to, drs), (a, ars, acs), (b, brs)) } else { matvec((n, k), (to, dcs), (b, bcs, brs), (a, acs)) }
        };
        if done {
            return;
        }
    }
    match dtype {
        DType::F32 => go!(f32),
        DType::F64 => go!(f64),
        _ => {
            let Some(f) = micro(dtype) else { return };
            // SAFETY: as promised.
            unsafe { packed::product(&f, dtype.size(), (m, n, k), (dst, drs, dcs), (a, ars, acs), (b, brs, bcs)) }
        }
    }
}
