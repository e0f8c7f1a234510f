//! Matrix products: a tile of the result per workgroup, its factors' tiles in workgroup memory, four by four results an invocation in
//! registers; on a processor, where barriers are dear, the registers alone. What follows the product is computed on the registers.

use super::Emitter;
use super::rows;
use crate::base::error::bail;
use crate::base::{DType, Result};
use crate::loops::order::Node;
use crate::loops::{ExprId, ExprKind, Index, ReduceKind};

/// Rows and columns of a workgroup's tile, and its depth.
const TILE: usize = 64;
const DEPTH: usize = 16;
/// Rows and columns of an invocation.
const BLOCK: usize = 4;

/// The axes of a product.
struct Axes {
    batch: Vec<usize>,
    m: usize,
    n: usize,
    k: usize,
}

/// The axes an expression depends on.
fn depends(e: &Emitter<'_>, x: ExprId) -> Result<Vec<usize>> {
    let nodes = e.k.order([Node::Expr(x)])?;
    let mut axes: Vec<usize> = nodes
        .iter()
        .filter_map(|n| match n {
            Node::Index(i) => match e.k.indices[i.index()] {
                Index::Axis(a) => Some(a as usize),
                _ => None,
            },
            _ => None,
        })
        .collect();
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// Whether neighbouring elements in memory are neighbours along `axis`.
fn along(e: &Emitter<'_>, x: ExprId, axis: usize) -> bool {
    e.k.order([Node::Expr(x)]).is_ok_and(|nodes| {
        nodes.iter().any(|n| match n {
            Node::Expr(l) => match &e.k.exprs[l.index()].kind {
                ExprKind::Load { index, .. } => e.symbolic.affine(*index).is_some_and(|(_, s)| s[axis] == 1),
                _ => false,
            },
            Node::Index(_) => false,
        })
    })
}

pub(super) fn emit(e: &mut Emitter<'_>) -> Result<()> {
    let k = e.k;
    let outer = e.axes(false);
    let row = e.axes(true);
    let sink = k.passes[0].reduces[0];
    let ReduceKind::Dot(a, b) = sink.kind else { bail!(Internal, "a product without a dot") };
    if row.len() != 1 || outer.len() < 2 || k.passes.len() != 2 || sink.dtype.accumulator() != DType::F32 {
        return rows::emit(e);
    }
    let (m, n) = (outer[outer.len() - 2], outer[outer.len() - 1]);
    let ax = Axes { batch: outer[..outer.len() - 2].to_vec(), m, n, k: row[0] };
    let extent = |a: usize| k.axes[a].extent;
    let small = if e.target.software { extent(m) < BLOCK || extent(n) < BLOCK } else { extent(m) < 16 || extent(n) < 16 };
    if small || depends(e, a)?.contains(&n) || depends(e, b)?.contains(&m) {
        return rows::emit(e);
    }
    if e.target.software { registers(e, &ax, a, b) } else { tiles(e, &ax, a, b) }
}

/// `let` of the axes, from the batch number `batch` (u32).
fn batch(e: &mut Emitter<'_>, ax: &Axes, at: &str) {
    if ax.batch.is_empty() {
        e.line(format!("_ = {at};"));
    } else {
        e.decompose(at, &ax.batch);
    }
}

/// The epilogue on the registers `acc{r}[c]`, from row `m0` and column `n0` (i32) on.
fn epilogue(e: &mut Emitter<'_>, ax: &Axes) -> Result<()> {
    let (m, n) = (e.int(e.k.axes[ax.m].extent as i64), e.int(e.k.axes[ax.n].extent as i64));
    for r in 0..BLOCK {
        e.open(format!("if (m0 + {r} < {m}) {{"));
        e.line(format!("let i{} = m0 + {r};", ax.m));
        for c in 0..BLOCK {
            e.open(format!("if (n0 + {c} < {n}) {{"));
            e.line(format!("let i{} = n0 + {c};", ax.n));
            e.reduced.insert((0, 0), format!("acc{r}[{c}]"));
            let pass = &e.k.passes[1];
            e.compute(pass.roots(), false)?;
            for (s, store) in pass.stores.iter().enumerate() {
                e.store(store, e.forms[1][s]);
            }
            e.close();
        }
        e.close();
    }
    Ok(())
}

/// Without workgroup memory.
fn registers(e: &mut Emitter<'_>, ax: &Axes, a: ExprId, b: ExprId) -> Result<()> {
    let extent = |a: usize| e.k.axes[a].extent;
    let (rows, columns) = (extent(ax.m).div_ceil(BLOCK), extent(ax.n).div_ceil(BLOCK));
    let batches: usize = ax.batch.iter().map(|&a| extent(a)).product();
    let n = batches * rows * columns;
    let depth = extent(ax.k);
    let (m_last, n_last) = (extent(ax.m) as i64 - 1, extent(ax.n) as i64 - 1);
    e.groups = (n as u64).div_ceil(e.workgroup as u64);
    let (count, rows, columns, size) = (e.count(n), e.count(rows), e.count(columns), e.workgroup);
    let (m_last, n_last, depth) = (e.int(m_last), e.int(n_last), e.int(depth as i64));
    e.line(format!("let at = group * {size}u + lid;"));
    e.line(format!("if (at >= {count}) {{ return; }}"));
    e.line(format!("let n0 = i32(at % {columns}) * {BLOCK};"));
    e.line(format!("let above = at / {columns};"));
    e.line(format!("let m0 = i32(above % {rows}) * {BLOCK};"));
    e.line(format!("let batch = above / {rows};"));
    batch(e, ax, "batch");
    for r in 0..BLOCK {
        e.line(format!("var acc{r} = vec4<f32>(0.0, 0.0, 0.0, 0.0);"));
    }
    e.open(format!("for (var i{0} = 0; i{0} < {depth}; i{0} = i{0} + 1) {{", ax.k));
    e.line("var column = vec4<f32>(0.0, 0.0, 0.0, 0.0);");
    for c in 0..BLOCK {
        e.open("{");
        e.line(format!("let i{} = min(n0 + {c}, {n_last});", ax.n));
        e.compute([Node::Expr(b)], false)?;
        let x = e.e(b);
        e.line(format!("column[{c}] = {x};"));
        e.close();
    }
    for r in 0..BLOCK {
        e.open("{");
        e.line(format!("let i{} = min(m0 + {r}, {m_last});", ax.m));
        e.compute([Node::Expr(a)], false)?;
        let x = e.e(a);
        e.line(format!("acc{r} = acc{r} + {x} * column;"));
        e.close();
    }
    e.close();
    epilogue(e, ax)
}

/// Through workgroup memory.
fn tiles(e: &mut Emitter<'_>, ax: &Axes, a: ExprId, b: ExprId) -> Result<()> {
    const SIDE: usize = TILE / BLOCK;
    let extent = |a: usize| e.k.axes[a].extent;
    let (rows, columns) = (extent(ax.m).div_ceil(TILE), extent(ax.n).div_ceil(TILE));
    let batches: usize = ax.batch.iter().map(|&a| extent(a)).product();
    e.workgroup = (SIDE * SIDE) as u32;
    e.groups = (batches * rows * columns) as u64;
    let (m, n, depth) = (extent(ax.m) as i64, extent(ax.n) as i64, extent(ax.k) as i64);
    let total = e.count(batches * rows * columns);
    let (rows, columns) = (e.count(rows), e.count(columns));
    let (m, n, depth) = (e.int(m), e.int(n), e.int(depth));
    e.shared("tile_a", "f32", (TILE * DEPTH) as u32);
    e.shared("tile_b", "f32", (TILE * DEPTH) as u32);
    // Groups beyond the last (of a two-dimensional launch) leave together.
    e.line(format!("if (group >= {total}) {{ return; }}"));
    e.line(format!("let tile_n = i32(group % {columns}) * {TILE};"));
    e.line(format!("let above = group / {columns};"));
    e.line(format!("let tile_m = i32(above % {rows}) * {TILE};"));
    e.line(format!("let batch = above / {rows};"));
    batch(e, ax, "batch");
    e.line(format!("let tx = lid % {SIDE}u;"));
    e.line(format!("let ty = lid / {SIDE}u;"));
    for r in 0..BLOCK {
        e.line(format!("var acc{r} = vec4<f32>(0.0, 0.0, 0.0, 0.0);"));
    }
    e.open(format!("for (var k0 = 0; k0 < {depth}; k0 = k0 + {DEPTH}) {{"));
    for (tile, factor, side, origin, extent) in [("tile_a", a, ax.m, "tile_m", &m), ("tile_b", b, ax.n, "tile_n", &n)] {
        // Neighbouring invocations read neighbouring elements.
        let (along_side, along_depth) = if along(e, factor, side) && !along(e, factor, ax.k) {
            (format!("j % {TILE}u"), format!("j / {TILE}u"))
        } else {
            (format!("j / {DEPTH}u"), format!("j % {DEPTH}u"))
        };
        e.open(format!("for (var j = lid; j < {}u; j = j + {}u) {{", TILE * DEPTH, SIDE * SIDE));
        e.line(format!("let s = {along_side};"));
        e.line(format!("let d = {along_depth};"));
        e.line(format!("let i{side} = {origin} + i32(s);"));
        e.line(format!("let i{} = k0 + i32(d);", ax.k));
        e.line("var x = 0.0;");
        e.open(format!("if (i{side} < {extent} && i{} < {depth}) {{", ax.k));
        e.compute([Node::Expr(factor)], false)?;
        let x = e.e(factor);
        e.line(format!("x = {x};"));
        e.close();
        e.line(format!("{tile}[d * {TILE}u + s] = x;"));
        e.close();
    }
    e.line("workgroupBarrier();");
    e.open(format!("for (var d = 0u; d < {DEPTH}u; d = d + 1u) {{"));
    e.line(format!("let ra = d * {TILE}u + ty * {BLOCK}u;"));
    e.line(format!("let rb = d * {TILE}u + tx * {BLOCK}u;"));
    e.line("let column = vec4<f32>(tile_b[rb], tile_b[rb + 1u], tile_b[rb + 2u], tile_b[rb + 3u]);");
    for r in 0..BLOCK {
        e.line(format!("acc{r} = acc{r} + tile_a[ra + {r}u] * column;"));
    }
    e.close();
    e.line("workgroupBarrier();");
    e.close();
    e.line(format!("let m0 = tile_m + i32(ty) * {BLOCK};"));
    e.line(format!("let n0 = tile_n + i32(tx) * {BLOCK};"));
    epilogue(e, ax)
}
