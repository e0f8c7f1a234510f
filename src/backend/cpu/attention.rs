//! Attention in blocks of queries: scores by a product, weights by a row kernel, their product with the values, while they are in the cache.
//!
//! The three steps are kernels of their own ([`steps`]) over the whole domain, run on a block of it at a time; their temporaries exist for that
//! block only, and are addressed as if they were whole. Blocks depend on the shape only.

use super::alloc::Allocator;
use super::compile::StoreStyle;
use super::drive::{Driver, Ptr, Ptrs, SERIAL_NS};
use super::executable::rows;
use super::matmul::{Block, Matmul};
use super::nest::internal;
use super::pool::Pool;
use super::rewrite::{at_axes, resolve, row_major};
use super::run::{Task, with_scratch};
use crate::base::{DType, Result};
use crate::loops::{Access, Archetype, Arg, ArgId, Expr, ExprId, ExprKind, Index, IndexId, Kernel, LoopAxis, Pass, ReduceKind, Store};
use smallvec::SmallVec;

/// Bytes of a block's scores: half of a small second cache.
const SCORES: usize = 256 << 10;
/// Queries of a block, at least where there are as many, and at most.
const QUERIES: (usize, usize) = (16, 128);
/// Columns computed at a time.
const COLUMNS: usize = 512;

/// An attention ready to run.
pub struct Attention {
    scores: Matmul,
    weights: Driver,
    mean: Matmul,
    batch: usize,
    queries: usize,
    keys: usize,
    columns: usize,
    /// Of the temporaries.
    dtype: DType,
    /// Kernel arguments; the temporaries follow them.
    args: usize,
    /// Estimated nanoseconds.
    pub cost: u64,
}

/// The steps of an attention kernel as kernels. Each has three arguments more: scores that become weights, their maximum and their sum.
pub fn steps(k: &Kernel) -> Option<[Kernel; 3]> {
    let a = k.attention()?;
    let size = |axes: std::ops::Range<usize>| k.axes[axes].iter().map(|x| x.extent).product::<usize>();
    let queries = size(0..a.columns);
    let dtype = k.exprs[a.weight.index()].dtype;
    let first = k.args.len() as u32;
    let temporaries = [queries * k.axes[a.keys].extent, queries, queries];
    // The axes of one step, of those the kernel has; the rest have one point.
    let over = |own: &[(usize, bool)], access: [Access; 3]| {
        let axes = own.iter().map(|&(x, row)| LoopAxis { extent: k.axes[x].extent, row }).collect();
        let mut q = at_axes(k, axes, |out, x| match own.iter().position(|o| o.0 == x as usize) {
            Some(n) => out.axis(n as u8),
            None => out.push(Index::Const(0)),
        });
        q.args.extend(temporaries.iter().zip(access).map(|(&numel, access)| Arg { dtype, numel, access }));
        q
    };
    let outer: Vec<(usize, bool)> = (0..a.columns).map(|x| (x, false)).collect();
    let with = |more: &[(usize, bool)]| [&outer[..], more].concat();
    let store = |n: u32, index: IndexId, value: ExprId| Store { arg: ArgId(first + n), index, value, valid: None };
    let load =
        |n: u32, index: IndexId| ExprKind::Load { arg: ArgId(first + n), index, mask: SmallVec::new(), fill: crate::Scalar::Float(0.0) };
    use Access::{Read, Update, Write};

    let mut scores = over(&with(&[(a.keys, false), (a.depth, true)]), [Write, Write, Write]);
    scores.archetype = Archetype::Matmul;
    let at = row_major(&mut scores, &(0..a.columns + 1).collect::<Vec<_>>());
    let product = scores.passes[0].clone();
    scores.passes = vec![product, Pass { stores: vec![store(0, at, a.logit)], ..Pass::default() }];

    let mut weights = over(&with(&[(a.keys, true)]), [Update, Write, Write]);
    weights.archetype = Archetype::RowReduction;
    let (at, query) =
        (row_major(&mut weights, &(0..a.columns + 1).collect::<Vec<_>>()), row_major(&mut weights, &(0..a.columns).collect::<Vec<_>>()));
    resolve(&mut weights, |exprs, n| match exprs[n].kind {
        _ if n == a.logit.index() => Some(Err(load(0, at))),
        ExprKind::Reduced(p @ 1.., r) => Some(Err(ExprKind::Reduced(p - 1, r))),
        _ => None,
    });
    let [max, sum] = [0, 1].map(|p| {
        weights.exprs.push(Expr { kind: ExprKind::Reduced(p, 0), dtype });
        ExprId(weights.exprs.len() as u32 - 1)
    });
    let mut total = weights.passes[2].clone();
    total.reduces.truncate(1);
    total.stores = vec![store(0, at, a.weight)];
    weights.passes =
        vec![weights.passes[1].clone(), total, Pass { stores: vec![store(1, query, max), store(2, query, sum)], ..Pass::default() }];

    let mut mean = over(&with(&[(a.columns, false), (a.keys, true)]), [Read, Read, Read]);
    mean.archetype = Archetype::Matmul;
    let keys: Vec<usize> = (0..a.columns).chain([a.columns + 1]).collect();
    let (at, query) = (row_major(&mut mean, &keys), row_major(&mut mean, &keys[..a.columns]));
    resolve(&mut mean, |exprs, n| match exprs[n].kind {
        _ if n == a.weight.index() => Some(Err(load(0, at))),
        ExprKind::Reduced(1, 0) => Some(Err(load(1, query))),
        ExprKind::Reduced(2, 0) => Some(Err(load(2, query))),
        ExprKind::Reduced(2, 1) => Some(Err(ExprKind::Reduced(0, 0))),
        _ => None,
    });
    let sink = mean.passes[2].reduces[1];
    debug_assert!(matches!(sink.kind, ReduceKind::Dot(w, _) if w == a.weight));
    let epilogue = mean.passes.pop()?;
    mean.passes = vec![Pass { row: true, reduces: vec![sink], ..Pass::default() }, epilogue];
    Some([scores, weights, mean])
}

impl Attention {
    /// Prepares a kernel of the attention archetype.
    ///
    /// # Errors
    /// `Internal` if the kernel is malformed.
    pub fn new(k: &Kernel, style: StoreStyle) -> Result<Attention> {
        let (Some(a), Some([scores, weights, mean])) = (k.attention(), steps(k)) else {
            return Err(internal("an attention kernel breaks its promises"));
        };
        let own = StoreStyle { late: false, stream: 0 };
        let product = |k: &Kernel, style| Matmul::new(k, style)?.ok_or_else(|| internal("a step of an attention is no product"));
        let (scores, mean) = (product(&scores, own)?, product(&mean, style)?);
        let weights = rows(&weights, StoreStyle { late: true, stream: 0 })?;
        let extent = |x: usize| k.axes[x].extent;
        let cost = scores.cost.saturating_add(weights.cost).saturating_add(mean.cost);
        Ok(Attention {
            scores,
            weights,
            mean,
            batch: (0..a.queries).map(extent).product(),
            queries: extent(a.queries),
            keys: extent(a.keys),
            columns: extent(a.columns),
            dtype: k.exprs[a.weight.index()].dtype,
            args: k.args.len(),
            cost,
        })
    }

    /// Runs the kernel.
    ///
    /// # Errors
    /// `Memory` if a temporary does not fit.
    ///
    /// # Safety
    /// `args` are the kernel's buffers, `params` its parameters.
    pub unsafe fn run(&self, pool: &Pool, mem: &'static Allocator, args: &[*mut u8], params: *const u64) -> Result<()> {
        let mut all: SmallVec<[*mut u8; 16]> = SmallVec::from_slice(args);
        all.extend([std::ptr::null_mut(); 3]);
        // SAFETY: as promised; what computes the temporaries of factors does not touch the steps' own.
        let (scores, mean) = unsafe { (self.scores.ready(pool, mem, &all, params)?, self.mean.ready(pool, mem, &all, params)?) };
        let size = self.dtype.size();
        let block = (SCORES / (self.keys * size)).clamp(QUERIES.0, QUERIES.1).min(self.queries);
        let blocks = self.queries.div_ceil(block);
        let wide = |m: usize, n: usize| Block::new(0, (0, m), (0, n.min(COLUMNS)));
        let room = (block * (self.keys + 2) * size).next_multiple_of(64);
        let work = self.scores.block_room(&wide(block, self.keys)).max(self.mean.block_room(&wide(block, self.columns)));
        let work = work.max(self.weights.b.task_bytes());
        let (of_all, of_scores, of_mean) = (Ptrs(&all), Ptrs(&scores.args), Ptrs(&mean.args));
        let offsets = [scores.offsets, mean.offsets];
        let params = Ptr(params.cast_mut().cast());
        let task = |i: usize| {
            let (batch, m0) = (i / blocks, i % blocks * block);
            let (m, first) = (block.min(self.queries - m0), batch * self.queries + m0);
            with_scratch(room + work, |mem| {
                // The temporaries of the whole, of which only the block's part is there.
                let whole = |at: usize, row: usize| mem.wrapping_add(at * size).wrapping_sub(first * row * size);
                let own = [whole(0, self.keys), whole(block * self.keys, 1), whole(block * (self.keys + 1), 1)];
                let with = |args: &[*mut u8]| {
                    let mut args: SmallVec<[*mut u8; 16]> = SmallVec::from_slice(args);
                    args[self.args..self.args + 3].copy_from_slice(&own);
                    args
                };
                let (params, work) = (params.get().cast(), mem.wrapping_add(room));
                // SAFETY: as promised; the steps touch of the temporaries what belongs to these queries.
                unsafe {
                    let blocks = |step: &Matmul, offsets: [isize; 2], args: &[*mut u8], n: usize| {
                        for n0 in (0..n).step_by(COLUMNS) {
                            step.block(&Block::new(batch, (m0, m), (n0, COLUMNS.min(n - n0))), args, offsets, params, work);
                        }
                    };
                    blocks(&self.scores, offsets[0], &with(of_scores.get()), self.keys);
                    let args = with(of_all.get());
                    let mut t = Task::start(&self.weights.b, &args, params, work);
                    self.weights.walk(&mut t, self.keys, first, first + m);
                    blocks(&self.mean, offsets[1], &with(of_mean.get()), self.columns);
                }
            });
        };
        pool.run(self.batch * blocks, self.cost > SERIAL_NS, &task);
        Ok(())
    }
}
