//! Attention, streamed: an invocation has a query and walks the keys, with the largest logit so far, the sum of weights and the weighted sum of
//! values in registers; where a logit is larger than all before, the sums are scaled down to it (Milakov and Gimelshein 2018; Dao et al. 2022).
//!
//! Devices read keys and values from tiles in workgroup memory. Processors, where barriers are dear, have each invocation of a subgroup hold a key
//! and its values and hand them round; small work, and adapters without subgroups, read them at the point: that module is the smallest.

use super::ops::{literal, type_of, unary};
use super::rows::Fold;
use super::wide::{WIDE, WideStores};
use super::{Emitter, LONGEST, Word};
use crate::base::error::bail;
use crate::base::{DType, Result};
use crate::loops::order::Node;
use crate::loops::{Attention, ExprId};
use crate::trace::{Reduce, Unary};

/// Invocations of a workgroup, at most.
const QUERIES: usize = 64;
/// Columns an invocation has, at most; others compute the same scores for the rest.
const COLUMNS: usize = 64;
/// Keys of a tile, at most.
const TILE: usize = 32;
/// Bytes of a tile that leave room for several workgroups at a time.
const ROOM: usize = 16 << 10;
/// Keys treated together.
const TOGETHER: usize = 4;
/// Products from which handing round pays for the size of its module.
const LARGE: usize = 1 << 20;

/// Where keys and values are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// In tiles of so many keys in workgroup memory.
    Tile(usize),
    /// From the invocation of the subgroup that holds them; so many.
    Lanes(usize),
    /// Where they are.
    Memory,
}

struct Stream {
    a: Attention,
    from: From,
    /// Fours of a score's terms.
    depth: usize,
    /// Fours of columns an invocation has, and how many invocations share a query's.
    columns: usize,
    parts: usize,
    /// Type of scores, of logits and weights.
    score: &'static str,
    of: DType,
    lowest: String,
}

pub(super) fn emit(e: &mut Emitter<'_>) -> Result<()> {
    let Some(a) = e.k.attention() else { bail!(Internal, "an attention kernel breaks its promises") };
    let extent = |x: usize| e.k.axes[x].extent;
    let (queries, keys, depth, columns) = (extent(a.queries), extent(a.keys), extent(a.depth), extent(a.columns));
    let batch: Vec<usize> = (0..a.queries).collect();
    let batches: usize = batch.iter().map(|&x| extent(x)).product();
    let of = e.k.exprs[a.weight.index()].dtype;
    let own = columns.min(COLUMNS).div_ceil(WIDE);
    let s = (depth.div_ceil(WIDE), own, columns.div_ceil(own * WIDE));
    let work = batches.saturating_mul(queries).saturating_mul(keys).saturating_mul(depth + columns);
    let lanes = e.target.subgroup as usize;
    let from = if !e.target.software {
        let key = (s.0 + s.1) * WIDE * of.size();
        let most = ((e.target.shared as usize).min(ROOM) / key).clamp(1, TILE).min(keys.next_power_of_two());
        From::Tile((1usize << most.ilog2()).max(1))
    } else if lanes > 1 && work >= LARGE {
        From::Lanes(lanes)
    } else {
        From::Memory
    };
    let from = match from {
        // Where an adapter ends long loops early, the shorter ones.
        From::Memory if lanes > 1 && keys.saturating_mul(s.0 + s.1 + 1) > LONGEST => From::Lanes(lanes),
        from => from,
    };
    let iterations = match from {
        From::Tile(n) => keys.div_ceil(n).saturating_mul(1 + n / TOGETHER.min(n)),
        From::Lanes(n) => keys.div_ceil(n),
        From::Memory => keys.saturating_mul(s.0 + s.1 + 1),
    };
    e.bounded(iterations + s.0 + s.1)?;
    let score = type_of(e.k.passes[0].reduces[0].dtype.accumulator());
    let lowest = Fold { kind: Reduce::Max, dtype: of, arg: false }.identity(e, false);
    let stream = Stream { a, from, depth: s.0, columns: s.1, parts: s.2, score, of, lowest };

    e.widen(&[a.depth, a.columns])?;
    let group = queries.next_power_of_two().clamp(lanes.clamp(8, QUERIES), QUERIES);
    let blocks = queries.div_ceil(group);
    e.workgroup = group as u32;
    e.groups = (batches * blocks * stream.parts) as u64;
    let (total, parts_, blocks_, queries_) = (e.count(batches * blocks * stream.parts), stream.parts, e.count(blocks), e.count(queries));
    // Groups beyond the last (of a two-dimensional launch) leave together.
    e.line(format!("if (group >= {total}) {{ return; }}"));
    e.line(format!("let first_column = i32(group % {parts_}u) * {};", stream.columns * WIDE));
    e.line(format!("let above = group / {parts_}u;"));
    e.line(format!("let query = (above % {blocks_}) * {group}u + lid;"));
    e.line(format!("let batch = above / {blocks_};"));
    if batch.is_empty() {
        e.line("_ = batch;");
    } else {
        e.decompose("batch", &batch);
    }
    // Queries beyond the last are computed like it, and not stored: barriers are for all.
    e.line(format!("let live = query < {queries_};"));
    e.line(format!("let i{} = i32(min(query, {queries_} - 1u));", a.queries));
    stream.begin(e)?;
    stream.walk(e)?;
    stream.finish(e)
}

impl Stream {
    fn four(&self, ty: &str) -> String {
        format!("vec4<{ty}>")
    }

    fn zeros(&self, ty: &str) -> String {
        let zero = if ty == "f64" { literal(0.0, DType::F64) } else { literal(0.0, DType::F32) };
        format!("vec4<{ty}>({zero}, {zero}, {zero}, {zero})")
    }

    fn zero(&self) -> String {
        literal(0.0, self.of)
    }

    /// Registers, or an array of them where they are asked for by a number that is not constant.
    fn indexed(&self) -> bool {
        self.from == From::Memory
    }

    /// Calls `keep` for each of the four elements of `x` along `axis` from `base` (i32, a multiple of 4) on that exist.
    fn four_of(
        &self,
        e: &mut Emitter<'_>,
        x: ExprId,
        axis: usize,
        base: &str,
        keep: &mut dyn FnMut(&mut Emitter<'_>, usize, String),
    ) -> Result<()> {
        let n = e.k.axes[axis].extent;
        let extent = e.int(n as i64);
        if n.is_multiple_of(WIDE) {
            // The last part of the columns may be a shorter one.
            let short = axis == self.a.columns && n < self.parts * self.columns * WIDE;
            if short {
                e.open(format!("if ({base} < {extent}) {{"));
            }
            e.lanes(axis, base, &[Node::Expr(x)], None, |e, l| {
                let value = e.e(x);
                keep(e, l, value);
                Ok(())
            })?;
            if short {
                e.close();
            }
            return Ok(());
        }
        for l in 0..WIDE {
            e.open(format!("if ({base} + {l} < {extent}) {{"));
            e.line(format!("let i{axis} = {base} + {l};"));
            e.compute([Node::Expr(x)])?;
            let value = e.e(x);
            keep(e, l, value);
            e.close();
        }
        Ok(())
    }

    /// The query, and nothing seen.
    fn begin(&self, e: &mut Emitter<'_>) -> Result<()> {
        let (score, zeros) = (self.four(self.score), self.zeros(self.score));
        e.line(format!("var query_ = array<{score}, {}>();", self.depth));
        e.open(format!("for (var c = 0; c < {}; c = c + 1) {{", self.depth));
        e.line(format!("let at = c * {WIDE};"));
        e.line(format!("query_[c] = {zeros};"));
        self.four_of(e, self.a.query, self.a.depth, "at", &mut |e, l, value| e.line(format!("query_[c][{l}] = {value};")))?;
        e.close();
        let (ty, zeros) = (self.four(type_of(self.of)), self.zeros(type_of(self.of)));
        if self.indexed() {
            e.line(format!("var mean = array<{ty}, {}>();", self.columns));
        } else {
            (0..self.depth).for_each(|c| e.line(format!("let query{c} = query_[{c}];")));
            (0..self.columns).for_each(|c| e.line(format!("var mean{c} = {zeros};")));
        }
        e.line(format!("let lowest = {};", self.lowest));
        e.line("var highest = lowest;");
        e.line(format!("var total = {};", self.zero()));
        Ok(())
    }

    fn walk(&self, e: &mut Emitter<'_>) -> Result<()> {
        let keys = e.int(e.k.axes[self.a.keys].extent as i64);
        match self.from {
            From::Memory => {
                e.open(format!("for (var key = 0; key < {keys}; key = key + 1) {{"));
                e.line(format!("let i{} = key;", self.a.keys));
                e.line(format!("var score0 = {};", literal(0.0, if self.score == "f64" { DType::F64 } else { DType::F32 })));
                e.open(format!("for (var c = 0; c < {}; c = c + 1) {{", self.depth));
                e.line(format!("let at = c * {WIDE};"));
                e.line("let q = query_[c];");
                self.four_of(e, self.a.key, self.a.depth, "at", &mut |e, l, value| {
                    e.line(format!("score0 = fma(q[{l}], {value}, score0);"))
                })?;
                e.close();
                self.weigh(e, &["key".to_string()], &keys, false)?;
                e.open(format!("for (var c = 0; c < {}; c = c + 1) {{", self.columns));
                e.line(format!("let at = first_column + c * {WIDE};"));
                e.line("var four = mean[c];");
                self.four_of(e, self.a.value, self.a.columns, "at", &mut |e, l, value| {
                    e.line(format!("four[{l}] = fma(weight0, {value}, four[{l}]);"))
                })?;
                e.line("mean[c] = four;");
                e.close();
                e.close();
            }
            From::Lanes(lanes) => {
                e.line(format!("let lane = i32(lid % {lanes}u);"));
                e.open(format!("for (var first = 0; first < {keys}; first = first + {lanes}) {{"));
                e.line(format!("let i{} = min(first + lane, {keys} - 1);", self.a.keys));
                self.hold(e, self.a.key, self.a.depth, ("held_key", self.score, self.depth), "0")?;
                self.hold(e, self.a.value, self.a.columns, ("held_value", type_of(self.of), self.columns), "first_column")?;
                let ragged = !e.k.axes[self.a.keys].extent.is_multiple_of(lanes);
                for some in (0..lanes).collect::<Vec<_>>().chunks(TOGETHER) {
                    e.open("{");
                    let at = |what: &str, c: usize, u: usize| format!("subgroupBroadcast({what}{c}, {}u)", some[u]);
                    let keys_: Vec<String> = some.iter().map(|l| format!("first + {l}")).collect();
                    self.together(e, &keys_, &keys, ragged, &|c, u| at("held_key", c, u), &|c, u| at("held_value", c, u))?;
                    e.close();
                }
                e.close();
            }
            From::Tile(tile) => {
                e.shared("tile_key", &self.four(self.score), (tile * self.depth) as u32);
                e.shared("tile_value", &self.four(type_of(self.of)), (tile * self.columns) as u32);
                e.open(format!("for (var first = 0; first < {keys}; first = first + {tile}) {{"));
                self.fill(e, tile, self.a.key, self.a.depth, ("tile_key", self.score, self.depth), "0")?;
                self.fill(e, tile, self.a.value, self.a.columns, ("tile_value", type_of(self.of), self.columns), "first_column")?;
                e.line("workgroupBarrier();");
                let step = TOGETHER.min(tile);
                e.open(format!("for (var near = 0; near < {tile}; near = near + {step}) {{"));
                let ragged = !e.k.axes[self.a.keys].extent.is_multiple_of(tile);
                let keys_: Vec<String> = (0..step).map(|u| format!("first + near + {u}")).collect();
                let (depth, columns) = (self.depth, self.columns);
                self.together(e, &keys_, &keys, ragged, &|c, u| format!("tile_key[(near + {u}) * {depth} + {c}]"), &|c, u| {
                    format!("tile_value[(near + {u}) * {columns} + {c}]")
                })?;
                e.close();
                e.line("workgroupBarrier();");
                e.close();
            }
        }
        Ok(())
    }

    /// Registers of this invocation's own key: `of`: their names, type and number; `first`: the first element along the axis.
    fn hold(&self, e: &mut Emitter<'_>, x: ExprId, axis: usize, of: (&str, &str, usize), first: &str) -> Result<()> {
        let (name, ty, n) = of;
        let zeros = self.zeros(ty);
        for c in 0..n {
            e.line(format!("var {name}{c} = {zeros};"));
            e.open("{");
            e.line(format!("let at = {first} + {};", c * WIDE));
            self.four_of(e, x, axis, "at", &mut |e, l, value| e.line(format!("{name}{c}[{l}] = {value};")))?;
            e.close();
        }
        Ok(())
    }

    /// Fills a tile, a key a row, by all invocations.
    fn fill(&self, e: &mut Emitter<'_>, tile: usize, x: ExprId, axis: usize, of: (&str, &str, usize), first: &str) -> Result<()> {
        let (name, ty, n) = of;
        let (zeros, group) = (self.zeros(ty), e.workgroup);
        let keys = e.int(e.k.axes[self.a.keys].extent as i64);
        e.open(format!("for (var j = lid; j < {}u; j = j + {group}u) {{", tile * n));
        e.line(format!("var four = {zeros};"));
        e.line(format!("let i{} = first + i32(j / {n}u);", self.a.keys));
        e.open(format!("if (i{} < {keys}) {{", self.a.keys));
        e.line(format!("let at = {first} + i32(j % {n}u) * {WIDE};"));
        self.four_of(e, x, axis, "at", &mut |e, l, value| e.line(format!("four[{l}] = {value};")))?;
        e.close();
        e.line(format!("{name}[j] = four;"));
        e.close();
        Ok(())
    }

    /// Some keys at a time: `at_key(c, u)`, `at_value(c, u)`: four number `c` of key `u`.
    fn together(
        &self,
        e: &mut Emitter<'_>,
        at: &[String],
        keys: &str,
        ragged: bool,
        at_key: &dyn Fn(usize, usize) -> String,
        at_value: &dyn Fn(usize, usize) -> String,
    ) -> Result<()> {
        // Two sums a key: as many as are under way at a time, and no more registers.
        let zeros = format!("vec2<{}>()", self.score);
        for u in 0..at.len() {
            e.line(format!("var dot{u} = {zeros};"));
        }
        for c in 0..self.depth {
            for u in 0..at.len() {
                e.line(format!("let key{c}_{u} = {};", at_key(c, u)));
                e.line(format!("dot{u} = fma(query{c}.xy, key{c}_{u}.xy, dot{u});"));
                e.line(format!("dot{u} = fma(query{c}.zw, key{c}_{u}.zw, dot{u});"));
            }
        }
        for u in 0..at.len() {
            e.line(format!("let score{u} = dot{u}.x + dot{u}.y;"));
        }
        self.weigh(e, at, keys, ragged)?;
        let ty = self.four(type_of(self.of));
        for c in 0..self.columns {
            for u in 0..at.len() {
                e.line(format!("mean{c} = fma({ty}(weight{u}), {}, mean{c});", at_value(c, u)));
            }
        }
        Ok(())
    }

    /// The weights of keys whose scores are there; what was summed so far is scaled to the largest logit.
    fn weigh(&self, e: &mut Emitter<'_>, at: &[String], keys: &str, ragged: bool) -> Result<()> {
        let fold = Fold { kind: Reduce::Max, dtype: self.of, arg: false };
        let (ty, zero) = (type_of(self.of), self.zero());
        let x = self.a.logit;
        for (u, key) in at.iter().enumerate() {
            e.line(format!("var logit{u}: {ty};"));
            e.open("{");
            // Keys beyond the last have no weight.
            let inside = if ragged { format!("min({key}, {keys} - 1)") } else { key.clone() };
            e.line(format!("let i{} = {inside};", self.a.keys));
            e.reduced.insert((0, 0), format!("score{u}"));
            e.compute([Node::Expr(x)])?;
            let value = e.e(x);
            let value = if ragged { format!("select(lowest, {value}, {key} < {keys})") } else { value };
            e.line(format!("logit{u} = {value};"));
            e.close();
        }
        let mut top = "highest".to_string();
        for u in 0..at.len() {
            e.line(format!("let top{u} = {};", fold.join(&top, &format!("logit{u}"))));
            top = format!("top{u}");
        }
        let exp = |x: &str| unary(Unary::Exp, self.of, x);
        e.open(format!("if ({top} != highest) {{"));
        // Before the first weight there is nothing to scale.
        e.line(format!("let less = highest - {top};"));
        e.line(format!("let scale = select({}, {zero}, highest == lowest);", exp("less")));
        e.line("total = total * scale;");
        let four = self.four(ty);
        if self.indexed() {
            e.line(format!("for (var c = 0; c < {}; c = c + 1) {{ mean[c] = mean[c] * {four}(scale); }}", self.columns));
        } else {
            (0..self.columns).for_each(|c| e.line(format!("mean{c} = mean{c} * {four}(scale);")));
        }
        e.line(format!("highest = {top};"));
        e.close();
        e.line(format!("let shift = select(highest, {zero}, highest == lowest);"));
        for u in 0..at.len() {
            e.line(format!("let less{u} = logit{u} - shift;"));
            e.line(format!("let weight{u} = {};", exp(&format!("less{u}"))));
            e.line(format!("total = total + weight{u};"));
        }
        Ok(())
    }

    /// What follows the sums.
    fn finish(&self, e: &mut Emitter<'_>) -> Result<()> {
        let four = self.four(type_of(self.of));
        if !self.indexed() {
            let all: Vec<String> = (0..self.columns).map(|c| format!("mean{c}")).collect();
            e.line(format!("var mean = array<{four}, {}>({});", self.columns, all.join(", ")));
        }
        if !self.a.guarded {
            // All logits -inf: -inf - -inf is no number, and neither is what follows.
            let nan = match self.of {
                DType::F64 => e.fixed_double(f64::NAN),
                _ => format!("bitcast<f32>({})", e.word(Word::Fixed(f32::NAN.to_bits()))),
            };
            e.open("if (highest == lowest) {");
            e.line(format!("let nan = {nan};"));
            e.line("total = nan;");
            e.line(format!("for (var c = 0; c < {}; c = c + 1) {{ mean[c] = {four}(nan); }}", self.columns));
            e.close();
        }
        let roots = e.k.passes[3].roots();
        let columns = e.k.axes[self.a.columns].extent;
        e.line(format!("let highest4 = {four}(highest);"));
        e.line(format!("let total4 = {four}(total);"));
        e.open("if (live) {");
        e.open(format!("for (var c = 0; c < {}; c = c + 1) {{", self.columns));
        e.line(format!("let at = first_column + c * {WIDE};"));
        e.line("let own = mean[c];");
        let columns_ = e.int(columns as i64);
        if columns.is_multiple_of(WIDE) {
            e.open(format!("if (at < {columns_}) {{"));
            e.by_lane = true;
            for (n, name) in [((1, 0), "highest4"), ((2, 0), "total4"), ((2, 1), "own")] {
                e.reduced.insert(n, name.to_string());
            }
            e.lanes(self.a.columns, "at", &roots, Some(WideStores::of(3, None)), |_, _| Ok(()))?;
            e.by_lane = false;
            e.close();
        } else {
            for l in 0..WIDE {
                e.open(format!("if (at + {l} < {columns_}) {{"));
                e.line(format!("let i{} = at + {l};", self.a.columns));
                for (n, name) in [((1, 0), "highest".to_string()), ((2, 0), "total".to_string()), ((2, 1), format!("own[{l}]"))] {
                    e.reduced.insert(n, name);
                }
                e.compute(roots.iter().copied())?;
                for (s, store) in e.k.passes[3].stores.iter().enumerate() {
                    e.store(store, e.forms[3][s]);
                }
                e.close();
            }
        }
        e.close();
        e.close();
        Ok(())
    }
}
