//! Matrix products and convolutions: blocks of the result in registers, so that what is read is used often.
//!
//! Both are sums of products of two factors, of which the left does not change along some axes of the result, the *columns*, and the right not
//! along another, the *rows*. Devices get a tile of the result per workgroup, the factors' tiles in workgroup memory. Processors, where
//! barriers and loads are dear and arithmetic is not, get a block per subgroup: each invocation has four columns of all of its rows, and
//! hands its share of the left factor round. What follows the product is computed on the registers.

use super::ops::{literal, type_of};
use super::rows;
use super::wide::{WIDE, WideStores};
use super::{Depends, Emitter, LONGEST};
use crate::base::error::bail;
use crate::base::{DType, Result};
use crate::loops::order::Node;
use crate::loops::{Archetype, ExprId, Index, ReduceKind};

/// Depth of a tile.
const DEPTH: usize = 16;
/// Invocations along a side of a tile, each with four rows and columns, or twice four.
const SIDE: usize = 16;
/// Tiles of the larger kind that keep a device busy.
const MANY: usize = 256;
/// Products from which a block has twice as many rows, and four times: its module takes as much longer to compile.
const LARGER: [usize; 2] = [1 << 21, 1 << 26];

/// A product as the templates see it.
struct Product {
    /// Axes of the result that both factors may change along.
    batch: Vec<usize>,
    row: usize,
    columns: Vec<usize>,
    /// Summed over.
    depth: Vec<usize>,
    left: ExprId,
    right: ExprId,
    /// Four columns from a multiple of four on are neighbours along the last axis of the columns.
    fours: bool,
    /// What it is summed in: F32 or F64.
    dtype: DType,
}

/// The axes an expression depends on.
fn depends(e: &Emitter<'_>, x: ExprId) -> Result<Vec<usize>> {
    let nodes = e.k.order([Node::Expr(x)])?;
    let axis = |n: &Node| match n {
        Node::Index(i) => match e.k.indices[i.index()] {
            Index::Axis(a) => Some(a as usize),
            _ => None,
        },
        Node::Expr(_) => None,
    };
    Ok(nodes.iter().filter_map(axis).filter(|&a| e.k.axes[a].extent > 1).collect())
}

pub(super) fn emit(e: &mut Emitter<'_>) -> Result<()> {
    let k = e.k;
    let sink = k.passes[0].reduces[0];
    let ReduceKind::Dot(a, b) = sink.kind else { bail!(Internal, "a product without a dot") };
    let of = sink.dtype.accumulator();
    if k.passes.len() != 2 || k.passes[0].reduces.len() != 1 || !of.is_float() {
        return rows::emit(e);
    }
    match Product::of(e, a, b, of)? {
        Some(p) if e.target.software && p.extent(e, &p.depth) > LONGEST => rows::emit(e),
        Some(p) if e.target.software => p.blocks(e),
        Some(p) => p.tiles(e),
        None => rows::emit(e),
    }
}

impl Product {
    /// `None` if no axis is rows only or columns only, or too few are.
    fn of(e: &Emitter<'_>, a: ExprId, b: ExprId, dtype: DType) -> Result<Option<Product>> {
        let outer = e.axes(false);
        let (of_a, of_b) = (depends(e, a)?, depends(e, b)?);
        let extent = |axes: &[usize]| axes.iter().map(|&x| e.k.axes[x].extent).product::<usize>();
        let (row, columns, left, right) = match &e.k.archetype {
            Archetype::Matmul if outer.len() >= 2 => {
                let (m, n) = (outer[outer.len() - 2], outer[outer.len() - 1]);
                if of_a.contains(&n) || of_b.contains(&m) {
                    return Ok(None);
                }
                (m, vec![n], a, b)
            }
            Archetype::Conv { .. } if outer.len() >= 2 => {
                let m = outer[1];
                let columns: Vec<usize> = outer.iter().copied().filter(|&x| x != m).collect();
                let (left, right) = if of_a.contains(&m) { (a, b) } else { (b, a) };
                let (of_left, of_right) = if of_a.contains(&m) { (&of_a, &of_b) } else { (&of_b, &of_a) };
                if of_right.contains(&m) || columns.iter().any(|x| of_left.contains(x)) {
                    return Ok(None);
                }
                (m, columns, left, right)
            }
            _ => return Ok(None),
        };
        let least = if e.target.software { 4 } else { 16 };
        if e.k.axes[row].extent < least.min(8) || extent(&columns) < least {
            return Ok(None);
        }
        let batch = outer.iter().copied().filter(|x| *x != row && !columns.contains(x)).collect();
        let fours = !e.data && columns.last().is_some_and(|&c| e.k.axes[c].extent.is_multiple_of(WIDE));
        Ok(Some(Product { batch, row, columns, depth: e.axes(true), left, right, fours, dtype }))
    }

    /// The type of four of its numbers.
    fn four(&self) -> String {
        format!("vec4<{}>", type_of(self.dtype))
    }

    /// Four zeros.
    fn zeros(&self) -> String {
        let zero = literal(0.0, self.dtype);
        format!("{}({zero}, {zero}, {zero}, {zero})", self.four())
    }

    fn extent(&self, e: &Emitter<'_>, axes: &[usize]) -> usize {
        axes.iter().map(|&a| e.k.axes[a].extent).product()
    }

    /// Whether `factor` has a load that four points along `axis` share.
    fn shares(&self, e: &Emitter<'_>, factor: ExprId, axis: usize) -> Result<bool> {
        if e.data || !e.target.wide || !e.k.axes[axis].extent.is_multiple_of(WIDE) {
            return Ok(false);
        }
        let d: Depends = e.depends_on(axis, false)?;
        Ok(e.k.order([Node::Expr(factor)])?.iter().any(|n| matches!(n, Node::Expr(x) if e.wide_load(*x, axis, &d))))
    }

    /// The last axis of the sum that has several points.
    fn deepest(&self, e: &Emitter<'_>) -> usize {
        let found = self.depth.iter().rev().find(|&&a| e.k.axes[a].extent > 1);
        found.or(self.depth.last()).copied().unwrap_or_default()
    }

    fn last(&self) -> usize {
        self.columns.last().copied().unwrap_or_default()
    }

    /// `let` of the batch's axes, from its number `at` (u32).
    fn batch(&self, e: &mut Emitter<'_>, at: &str) {
        if self.batch.is_empty() {
            e.line(format!("_ = {at};"));
        } else {
            e.decompose(at, &self.batch);
        }
    }

    /// Declares where four columns are, given the number of the four (u32): all axes and `base`, or, where the four are not together, all axes of
    /// each.
    fn four_columns(&self, e: &mut Emitter<'_>, quad: &str) {
        if self.fours {
            e.decompose_wide(quad, &self.columns);
            return;
        }
        let last = e.count(self.extent(e, &self.columns).saturating_sub(1));
        for c in 0..WIDE {
            let parts: Vec<(String, usize)> = self.columns.iter().map(|&a| (format!("c{c}_{a}"), e.k.axes[a].extent)).collect();
            e.line(format!("let at{c} = min({quad} * {WIDE}u + {c}u, {last});"));
            e.split(&format!("at{c}"), &parts);
        }
    }

    /// Within a block: the axes are those of column `c` of four that are not together.
    fn column(&self, e: &mut Emitter<'_>, c: usize) {
        self.columns.iter().for_each(|a| e.line(format!("let i{a} = c{c}_{a};")));
    }

    /// What follows the product, at four columns of the row at hand, `acc`.
    fn finish(&self, e: &mut Emitter<'_>, quad: &str) -> Result<()> {
        let roots = e.k.passes[1].roots();
        if self.fours {
            e.by_lane = true;
            e.reduced.insert((0, 0), "acc".to_string());
            e.lanes(self.last(), "base", &roots, Some(WideStores::of(1, None)), |_, _| Ok(()))?;
            e.by_lane = false;
            return Ok(());
        }
        let total = e.count(self.extent(e, &self.columns));
        for c in 0..WIDE {
            e.open(format!("if ({quad} * {WIDE}u + {c}u < {total}) {{"));
            self.column(e, c);
            e.reduced.insert((0, 0), format!("acc[{c}]"));
            e.compute(roots.iter().copied())?;
            for (s, store) in e.k.passes[1].stores.iter().enumerate() {
                e.store(store, e.forms[1][s]);
            }
            e.close();
        }
        Ok(())
    }

    /// Without workgroup memory.
    fn blocks(&self, e: &mut Emitter<'_>) -> Result<()> {
        let lanes = e.target.subgroup.max(1) as usize;
        let (m, depth) = (e.k.axes[self.row].extent, self.extent(e, &self.depth));
        let columns = self.extent(e, &self.columns);
        let batches = self.extent(e, &self.batch);
        let kl = self.deepest(e);
        // Points of the sum at a time.
        let steps = if !e.data && e.k.axes[kl].extent.is_multiple_of(WIDE) { WIDE } else { 1 };
        let products = batches.saturating_mul(m).saturating_mul(columns).saturating_mul(depth);
        let size: usize = LARGER.iter().map(|&n| 1 + usize::from(products >= n)).product();
        let by_row = self.shares(e, self.left, self.row)?;
        let by_depth = steps > 1 && self.shares(e, self.left, kl)?;
        // Shares of the left factor an invocation holds: of several rows, far apart, or of four neighbours.
        let neighbours = by_row && !by_depth && m >= WIDE * lanes && size > 1;
        let most = if lanes == 1 { 2 * size } else { size };
        let held = if neighbours { WIDE } else { m.div_ceil(lanes).next_power_of_two().min(most) };
        let high = held * lanes;
        let (quads, high_blocks) = (columns.div_ceil(WIDE), m.div_ceil(high));
        let wide_blocks = quads.div_ceil(lanes);
        let total = batches * high_blocks * wide_blocks;
        // Several workgroups, if there are several blocks.
        let each = (total / 8).clamp(1, (e.target.workgroup as usize / lanes).max(1));
        e.widen(&[kl, self.row, self.last()])?;
        e.workgroup = (each * lanes) as u32;
        e.groups = total.div_ceil(each) as u64;
        let (count, wide_, high_) = (e.count(total), e.count(wide_blocks), e.count(high_blocks));
        e.line(format!("let block = group * {each}u + lid / {lanes}u;"));
        e.line(format!("if (block >= {count}) {{ return; }}"));
        e.line(format!("let lane = lid % {lanes}u;"));
        e.line(format!("let above = block / {wide_};"));
        e.line(format!("let quad = (block % {wide_}) * {lanes}u + lane;"));
        e.line(format!("let m0 = i32(above % {high_}) * {high};"));
        e.line(format!("let batch = above / {high_};"));
        self.batch(e, "batch");
        let quads_ = e.count(quads);
        let ragged = !quads.is_multiple_of(lanes);
        if ragged {
            e.line(format!("let live = quad < {quads_};"));
            e.line(format!("let held = min(quad, {quads_} - 1u);"));
            self.four_columns(e, "held");
        } else {
            self.four_columns(e, "quad");
        }
        for r in 0..high {
            e.line(format!("var acc{r} = {};", self.zeros()));
        }
        let mut blocks = 0;
        for &a in &self.depth {
            let n = e.k.axes[a].extent;
            if a != kl && n == 1 {
                e.line(format!("let i{a} = 0;"));
                continue;
            }
            let extent = e.int(n as i64);
            blocks += 1;
            if a == kl && steps > 1 {
                e.open(format!("for (var k0 = 0; k0 < {extent}; k0 = k0 + {steps}) {{"));
            } else {
                e.open(format!("for (var i{a} = 0; i{a} < {extent}; i{a} = i{a} + 1) {{"));
            }
        }
        self.hold_left(e, kl, steps, held, lanes, neighbours)?;
        self.hold_right(e, kl, steps, ragged)?;
        let four = self.four();
        for s in 0..steps {
            for r in 0..high {
                let (lane, of) =
                    if neighbours { (r / WIDE, format!("left{s}[{}]", r % WIDE)) } else { (r % lanes, format!("left{}[{s}]", r / lanes)) };
                let x = if lanes == 1 { of } else { format!("subgroupBroadcast({of}, {lane}u)") };
                e.line(format!("acc{r} = fma({four}({x}), right{s}, acc{r});"));
            }
        }
        (0..blocks).for_each(|_| e.close());
        // The registers by number.
        let all: Vec<String> = (0..high).map(|r| format!("acc{r}")).collect();
        e.line(format!("var accs = array<{four}, {high}>({});", all.join(", ")));
        let m_ = e.int(m as i64);
        if ragged {
            e.open("if (live) {");
        }
        e.open(format!("for (var r = 0; r < {high}; r = r + 1) {{"));
        e.line(format!("let i{} = m0 + r;", self.row));
        e.open(format!("if (i{} < {m_}) {{", self.row));
        e.line("let acc = accs[r];");
        self.finish(e, "quad")?;
        for _ in 0..2 + usize::from(ragged) {
            e.close();
        }
        Ok(())
    }

    /// An invocation's share of the left factor, as vectors `left`: for each of its rows, of the steps; or for each step, of its rows.
    fn hold_left(&self, e: &mut Emitter<'_>, kl: usize, steps: usize, held: usize, lanes: usize, neighbours: bool) -> Result<()> {
        let m = e.k.axes[self.row].extent;
        let m_ = e.int(m as i64);
        let uneven = !m.is_multiple_of(held * lanes);
        let x = self.left;
        for n in 0..if neighbours { steps } else { held } {
            e.line(format!("var left{n} = {};", self.zeros()));
            let first = if neighbours { format!("m0 + i32(lane) * {WIDE}") } else { format!("m0 + i32(lane) + {}", n * lanes) };
            e.open("{");
            e.line(format!("let row = {first};"));
            if uneven {
                e.open(format!("if (row < {m_}) {{"));
            }
            let keep = |e: &mut Emitter<'_>, at: usize| {
                let value = e.e(x);
                e.line(format!("left{n}[{at}] = {value};"));
                Ok(())
            };
            if neighbours {
                if steps > 1 {
                    e.line(format!("let i{kl} = k0 + {n};"));
                }
                e.lanes(self.row, "row", &[Node::Expr(x)], None, keep)?;
            } else {
                e.line(format!("let i{} = row;", self.row));
                if steps > 1 {
                    e.lanes(kl, "k0", &[Node::Expr(x)], None, keep)?;
                } else {
                    e.compute([Node::Expr(x)])?;
                    keep(e, 0)?;
                }
            }
            if uneven {
                e.close();
            }
            e.close();
        }
        Ok(())
    }

    /// An invocation's four columns of the right factor, a vector `right` for each step.
    fn hold_right(&self, e: &mut Emitter<'_>, kl: usize, steps: usize, ragged: bool) -> Result<()> {
        let x = self.right;
        let along = self.fours && (self.shares(e, x, self.last())? || steps == 1 || !self.shares(e, x, kl)?);
        for s in 0..steps {
            e.line(format!("var right{s} = {};", self.zeros()));
        }
        if ragged {
            e.open("if (live) {");
        }
        if along {
            for s in 0..steps {
                e.open("{");
                if steps > 1 {
                    e.line(format!("let i{kl} = k0 + {s};"));
                }
                e.lanes(self.last(), "base", &[Node::Expr(x)], None, |e, c| {
                    let value = e.e(x);
                    e.line(format!("right{s}[{c}] = {value};"));
                    Ok(())
                })?;
                e.close();
            }
        } else {
            for c in 0..WIDE {
                e.open("{");
                if self.fours {
                    e.line(format!("let i{} = base + {c};", self.last()));
                } else {
                    self.column(e, c);
                }
                if steps > 1 {
                    e.lanes(kl, "k0", &[Node::Expr(x)], None, |e, s| {
                        let value = e.e(x);
                        e.line(format!("right{s}[{c}] = {value};"));
                        Ok(())
                    })?;
                } else {
                    e.compute([Node::Expr(x)])?;
                    let value = e.e(x);
                    e.line(format!("right0[{c}] = {value};"));
                }
                e.close();
            }
        }
        if ragged {
            e.close();
        }
        Ok(())
    }

    /// Through workgroup memory.
    fn tiles(&self, e: &mut Emitter<'_>) -> Result<()> {
        let (m, n) = (e.k.axes[self.row].extent, self.extent(e, &self.columns));
        let batches = self.extent(e, &self.batch);
        let count = |tile: usize| batches * m.div_ceil(tile) * n.div_ceil(tile);
        // Fours of rows, and of columns, an invocation has.
        let halves =
            if !e.data && count(2 * SIDE * WIDE) >= MANY && e.target.shared as usize >= (4 << 10) * self.dtype.size() { 2 } else { 1 };
        let tile = SIDE * WIDE * halves;
        e.widen(&[self.deepest(e), self.row, self.last()])?;
        e.workgroup = (SIDE * SIDE) as u32;
        e.groups = count(tile) as u64;
        let depth = self.extent(e, &self.depth);
        let (total, across, down) = (e.count(count(tile)), e.count(n.div_ceil(tile)), e.count(m.div_ceil(tile)));
        for name in ["tile_l", "tile_r"] {
            e.shared(name, &self.four(), (tile * DEPTH / WIDE) as u32);
        }
        // Groups beyond the last (of a two-dimensional launch) leave together.
        e.line(format!("if (group >= {total}) {{ return; }}"));
        e.line(format!("let tile_n = (group % {across}) * {tile}u;"));
        e.line(format!("let above = group / {across};"));
        e.line(format!("let tile_m = (above % {down}) * {tile}u;"));
        e.line(format!("let batch = above / {down};"));
        self.batch(e, "batch");
        e.line(format!("let tx = lid % {SIDE}u;"));
        e.line(format!("let ty = lid / {SIDE}u;"));
        for r in 0..WIDE * halves {
            for g in 0..halves {
                e.line(format!("var acc{r}_{g} = {};", self.zeros()));
            }
        }
        let (m_, depth_) = (e.count(m), e.count(depth));
        e.open(format!("for (var k0 = 0u; k0 < {depth_}; k0 = k0 + {DEPTH}u) {{"));
        let n_ = e.count(n);
        self.fill(e, tile, self.left, &[self.row], ("tile_l", "tile_m", &m_), &depth_)?;
        self.fill(e, tile, self.right, &self.columns, ("tile_r", "tile_n", &n_), &depth_)?;
        e.line("workgroupBarrier();");
        e.open(format!("for (var d = 0u; d < {DEPTH}u; d = d + 1u) {{"));
        let fours = tile / WIDE;
        for g in 0..halves {
            e.line(format!("let left{g} = tile_l[d * {fours}u + ty + {}u];", g * SIDE));
            e.line(format!("let right{g} = tile_r[d * {fours}u + tx + {}u];", g * SIDE));
        }
        for r in 0..WIDE * halves {
            for g in 0..halves {
                e.line(format!("acc{r}_{g} = acc{r}_{g} + left{}[{}] * right{g};", r / WIDE, r % WIDE));
            }
        }
        e.close();
        e.line("workgroupBarrier();");
        e.close();
        let quads = e.count(n.div_ceil(WIDE));
        for g in 0..halves {
            e.open("{");
            e.line(format!("let quad = tile_n / {WIDE}u + tx + {}u;", g * SIDE));
            e.open(format!("if (quad < {quads}) {{"));
            self.four_columns(e, "quad");
            for r in 0..WIDE * halves {
                e.open("{");
                e.line(format!("let row = tile_m + {}u + ty * {WIDE}u;", r / WIDE * SIDE * WIDE + r % WIDE));
                e.open(format!("if (row < {m_}) {{"));
                e.line(format!("let i{} = i32(row);", self.row));
                e.line(format!("let acc = acc{r}_{g};"));
                self.finish(e, "quad")?;
                e.close();
                e.close();
            }
            e.close();
            e.close();
        }
        Ok(())
    }

    /// Fills a factor's tile: depth by side, four neighbours of the side an element. `side`: the axes of the side; `of`: the tile, where it begins,
    /// and how far the factor reaches.
    fn fill(&self, e: &mut Emitter<'_>, tile: usize, x: ExprId, side: &[usize], of: (&str, &str, &str), depth: &str) -> Result<()> {
        let (name, origin, extent) = of;
        let fours = tile / WIDE;
        let threads = SIDE * SIDE;
        let last = side[side.len() - 1];
        let kl = self.deepest(e);
        let own_depth: Vec<usize> = self.depth.iter().copied().filter(|&a| a <= kl).collect();
        let behind: Vec<usize> = self.depth.iter().copied().filter(|&a| a > kl).collect();
        let point = |e: &mut Emitter<'_>| behind.iter().for_each(|a| e.line(format!("let i{a} = 0;")));
        if self.shares(e, x, last)? {
            e.open(format!("for (var j = lid; j < {}u; j = j + {threads}u) {{", fours * DEPTH));
            e.line(format!("let s = {origin} + (j % {fours}u) * {WIDE}u;"));
            e.line(format!("let d = k0 + j / {fours}u;"));
            e.line(format!("var x = {};", self.zeros()));
            e.open(format!("if (s < {extent} && d < {depth}) {{"));
            e.decompose("d", &own_depth);
            point(e);
            e.line(format!("let four = s / {WIDE}u;"));
            e.decompose_wide("four", side);
            e.lanes(last, "base", &[Node::Expr(x)], None, |e, l| {
                let value = e.e(x);
                e.line(format!("x[{l}] = {value};"));
                Ok(())
            })?;
            e.close();
            e.line(format!("{name}[j] = x;"));
        } else if self.shares(e, x, kl)? {
            const PARTS: usize = DEPTH / WIDE;
            e.open(format!("for (var j = lid; j < {}u; j = j + {threads}u) {{", fours * DEPTH));
            e.line(format!("let s = j / {PARTS}u;"));
            e.line(format!("let d = (j % {PARTS}u) * {WIDE}u;"));
            e.line(format!("var x = {};", self.zeros()));
            e.line(format!("let there = {origin} + s;"));
            e.open(format!("if (there < {extent} && k0 + d < {depth}) {{"));
            e.decompose("there", side);
            e.line(format!("let four = (k0 + d) / {WIDE}u;"));
            e.decompose_wide("four", &own_depth);
            point(e);
            e.lanes(kl, "base", &[Node::Expr(x)], None, |e, l| {
                let value = e.e(x);
                e.line(format!("x[{l}] = {value};"));
                Ok(())
            })?;
            e.close();
            for l in 0..WIDE {
                e.line(format!("{name}[(d + {l}u) * {fours}u + (s >> 2u)][s & 3u] = x[{l}];"));
            }
        } else {
            // Neighbouring invocations have neighbours of the side.
            e.open(format!("for (var j = lid; j < {}u; j = j + {threads}u) {{", tile * DEPTH));
            e.line(format!("let s = j % {tile}u;"));
            e.line(format!("let d = j / {tile}u;"));
            e.line(format!("var x = {};", literal(0.0, self.dtype)));
            e.line(format!("let there = {origin} + s;"));
            e.line("let deep = k0 + d;");
            e.open(format!("if (there < {extent} && deep < {depth}) {{"));
            e.decompose("there", side);
            e.decompose("deep", &own_depth);
            point(e);
            e.compute([Node::Expr(x)])?;
            let value = e.e(x);
            e.line(format!("x = {value};"));
            e.close();
            e.line(format!("{name}[d * {fours}u + (s >> 2u)][s & 3u] = x;"));
        }
        e.close();
        Ok(())
    }
}
