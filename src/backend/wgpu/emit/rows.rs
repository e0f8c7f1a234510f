//! Kernels with a row: a number of lanes per row fold it and meet ([`meet`]); the row is visited as often as there are passes.
//!
//! A lane takes every T-th point; its partial results are combined pairwise, so the order depends on the shape (and the target) only.

mod meet;

use super::ops::{binary, compare, is_nan, type_of};
use super::wide::{WIDE, WideStores};
use super::{Depends, Emitter, LONGEST, Word};
use crate::base::error::bail;
use crate::base::{DType, Result, Scalar};
use crate::loops::order::Node;
use crate::loops::{Archetype, ExprId, Pass, ReduceKind};
use crate::trace::{Binary, Compare, Reduce};
use std::collections::BTreeMap;

/// How rows are spread over invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes {
    /// Lanes a row, a power of two.
    pub lanes: u32,
    /// Rows a workgroup; four times as many, where an invocation has four neighbours.
    pub rows: u32,
    /// Neighbouring invocations have neighbouring rows rather than points of one.
    pub across: bool,
    /// A lane sums so many points (or fours) at a time, and then the sums; 0: all at once.
    pub run: usize,
}

/// Points (or fours) that are summed one after another: more, and a sum in f32 loses digits.
const RUN: usize = 512;

/// What an invocation visits four at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fours {
    No,
    /// Points of its row, along that axis.
    Points(usize),
    /// Rows, neighbours along that axis.
    Rows(usize),
}

impl Lanes {
    /// What suits `outer` rows (or fours of them) of `row` points (or fours).
    fn choose(e: &Emitter<'_>, outer: usize, row: usize) -> Lanes {
        let across = matches!(e.k.archetype, Archetype::ColumnReduction);
        let down = |n: usize| if n == 0 { 1 } else { 1u32 << n.ilog2() };
        let most = if e.target.software { 64 } else { e.target.most.min(256) };
        // Not so much work a lane that a sum in f32 loses digits.
        let least = down((row / RUN).next_power_of_two());
        // Where meeting is dear, and there are rows enough, a lane does that alone.
        let alone = e.target.software
            && least > 1
            && outer >= 256
            && row <= LONGEST / 4
            && e.axes(true).iter().filter(|&&a| e.k.axes[a].extent > 1).count() == 1;
        let least = if alone { 1 } else { least };
        let wanted = if e.target.software {
            // Loads are what costs there, whoever makes them.
            1
        } else if across {
            // Without lanes, reads of neighbouring rows are one transaction; with too few rows most of the device is idle.
            down((1usize << 16).div_ceil(outer.max(1)).min(row / 8))
        } else {
            down(row / 4)
        };
        let lanes = wanted.max(least).clamp(1, most);
        // Few rows are spread over several workgroups.
        let all = if e.target.software { (outer.saturating_mul(lanes as usize) / 8).clamp(8, 64) } else { 256 };
        let workgroup = e.target.workgroup.min(down(all)).max(lanes);
        Lanes { lanes, rows: workgroup / lanes, across, run: if alone { RUN } else { 0 } }
    }
}

/// The binary op that joins two partial results.
fn joins(kind: Reduce) -> Binary {
    match kind {
        Reduce::Sum => Binary::Add,
        Reduce::Prod => Binary::Mul,
        Reduce::Max | Reduce::ArgMax => Binary::Max,
        Reduce::Min | Reduce::ArgMin => Binary::Min,
    }
}

/// A fold as the templates see it.
pub(super) struct Fold {
    pub kind: Reduce,
    /// Of the values folded.
    pub dtype: DType,
    /// For positions: which.
    pub arg: bool,
}

impl Fold {
    pub(super) fn of(e: &Emitter<'_>, kind: ReduceKind, dtype: DType) -> Fold {
        match kind {
            ReduceKind::Fold(k @ (Reduce::ArgMax | Reduce::ArgMin), x) => {
                Fold { kind: k, dtype: e.k.exprs[x.index()].dtype.accumulator(), arg: true }
            }
            ReduceKind::Fold(k, _) => Fold { kind: k, dtype: dtype.accumulator(), arg: false },
            ReduceKind::Dot(..) => Fold { kind: Reduce::Sum, dtype: dtype.accumulator(), arg: false },
        }
    }

    /// What an empty part of the row contributes; of an empty row, the result.
    pub(super) fn identity(&self, e: &mut Emitter<'_>, empty: bool) -> String {
        let d = self.dtype;
        if self.arg {
            return match d {
                DType::Bool => "false".to_string(),
                _ => format!("{}()", type_of(d)),
            };
        }
        let lowest = |low: bool| -> Scalar {
            match d {
                DType::Bool => Scalar::Bool(!low),
                DType::I32 => Scalar::Int(if low { i32::MIN as i64 } else { i32::MAX as i64 }),
                DType::I64 => Scalar::Int(if low { i64::MIN } else { i64::MAX }),
                DType::U32 => Scalar::Int(if low { 0 } else { u32::MAX as i64 }),
                DType::U8 => Scalar::Int(if low { 0 } else { 255 }),
                _ => Scalar::Float(if low { f64::NEG_INFINITY } else { f64::INFINITY }),
            }
        };
        let s = match self.kind {
            Reduce::Prod => Scalar::Int(1),
            Reduce::Max if !empty => lowest(true),
            Reduce::Min if !empty => lowest(false),
            _ => Scalar::Int(0),
        };
        let s = s.cast(d);
        // As data, so that empty rows and infinities are no structure.
        if d == DType::F64 && !matches!(self.kind, Reduce::Sum | Reduce::Prod) {
            return e.fixed_double(s.as_f64());
        }
        if d.is_float() && !matches!(self.kind, Reduce::Sum | Reduce::Prod) {
            let w = e.word(Word::Fixed((s.as_f64() as f32).to_bits()));
            return format!("bitcast<f32>({w})");
        }
        e.constant(s, d)
    }

    /// The combination of two values.
    pub(super) fn join(&self, a: &str, b: &str) -> String {
        binary(joins(self.kind), self.dtype, a, b)
    }

    /// Whether value `x` at position `xp` comes before `b` at `bp`: larger (smaller), NaN first of all, else the earlier.
    pub(super) fn better(&self, x: &str, xp: &str, b: &str, bp: &str) -> String {
        let op = if self.kind == Reduce::ArgMax { Compare::Gt } else { Compare::Lt };
        let (wins, equal) = (compare(op, self.dtype, x, b), compare(Compare::Eq, self.dtype, x, b));
        if self.dtype.is_float() {
            let (nan_x, nan_b) = (is_nan(self.dtype, x), is_nan(self.dtype, b));
            format!("{bp} == 0xffffffffu || ({nan_x} && (!{nan_b} || {xp} < {bp})) || (!{nan_b} && ({wins} || ({equal} && {xp} < {bp})))")
        } else {
            format!("{bp} == 0xffffffffu || ({wins}) || ({equal} && {xp} < {bp})")
        }
    }
}

pub(super) fn emit(e: &mut Emitter<'_>) -> Result<()> {
    let passes: Vec<Pass> = e.k.passes.clone();
    let fours = fours(e, &passes)?;
    let by = |on: bool| if on { WIDE } else { 1 };
    let outer = e.k.outer_len() / by(matches!(fours, Fours::Rows(_)));
    let lanes = Lanes::choose(e, outer, e.k.row_len() / by(matches!(fours, Fours::Points(_))));
    let Lanes { lanes: t, rows, across, .. } = lanes;
    let visits = passes.iter().filter(|p| p.row).count();
    e.bounded(visits * e.k.row_len().div_ceil(by(matches!(fours, Fours::Points(_))) * t as usize))?;
    e.workgroup = t * rows;
    e.groups = (outer as u64).div_ceil(rows as u64);
    let outer = e.count(outer);
    if t == 1 {
        e.line(format!("let at = group * {rows}u + lid;"));
        e.line(format!("if (at >= {outer}) {{ return; }}"));
    } else {
        let (lane, sub) =
            if across { (format!("lid / {rows}u"), format!("lid % {rows}u")) } else { (format!("lid % {t}u"), format!("lid / {t}u")) };
        e.line(format!("let lane = {lane};"));
        e.line(format!("let sub = {sub};"));
        // Rows beyond the last are computed like it, and not stored: barriers are for all.
        e.line(format!("let live = group * {rows}u + sub < {outer};"));
        e.line(format!("let at = min(group * {rows}u + sub, {outer} - 1u);"));
    }
    let axes = e.axes(false);
    let mut rows = Rows { lanes, fours, varies: None, shared: BTreeMap::new() };
    match fours {
        Fours::Rows(v) => {
            e.widen(&[v])?;
            e.by_lane = true;
            rows.varies = Some(e.depends_on(v, true)?);
            let own: Vec<usize> = axes.iter().copied().filter(|&a| a <= v).collect();
            e.decompose_wide("at", &own);
            axes.iter().filter(|&&a| a > v).for_each(|a| e.line(format!("let i{a} = 0;")));
        }
        Fours::Points(v) => {
            e.widen(&[v])?;
            e.decompose("at", &axes);
        }
        Fours::No => e.decompose("at", &axes),
    }
    for (n, pass) in passes.iter().enumerate() {
        if pass.roots().is_empty() {
            continue;
        }
        if pass.row {
            rows.row_pass(e, n, pass)?;
        } else {
            rows.outer_pass(e, n, pass)?;
        }
    }
    for (name, (ty, n)) in rows.shared {
        e.shared(&name, ty, n);
    }
    Ok(())
}

/// Four points of a row at a time, or four rows: what makes neighbours in memory neighbours here.
fn fours(e: &Emitter<'_>, passes: &[Pass]) -> Result<Fours> {
    let last = |row: bool| e.axes(row).into_iter().rev().find(|&a| e.k.axes[a].extent > 1);
    let roots = |row: bool| -> Vec<Node> { passes.iter().filter(|p| p.row || !row).flat_map(Pass::roots).collect() };
    let of_row = match last(true) {
        Some(v) if e.worth_widening(v, &roots(true), false)? => Fours::Points(v),
        _ => Fours::No,
    };
    let of_rows = match last(false) {
        Some(v) if e.worth_widening(v, &roots(true), false)? => Fours::Rows(v),
        _ => Fours::No,
    };
    let column = matches!(e.k.archetype, Archetype::ColumnReduction);
    Ok(match (column, of_row, of_rows) {
        (true, other, Fours::No) | (false, Fours::No, other) => other,
        (true, _, rows) => rows,
        (false, row, _) => row,
    })
}

/// The passes of a kernel with a row.
struct Rows {
    lanes: Lanes,
    fours: Fours,
    /// What changes from row to row of four.
    varies: Option<Depends>,
    /// Workgroup memory by name: of what, how many.
    shared: BTreeMap<String, (&'static str, u32)>,
}

impl Rows {
    fn outer_pass(&self, e: &mut Emitter<'_>, n: usize, pass: &Pass) -> Result<()> {
        if !pass.reduces.is_empty() {
            bail!(Internal, "a pass without a row reduces");
        }
        let guarded = self.lanes.lanes > 1;
        if guarded {
            e.open("if (live && lane == 0u) {");
        }
        if let Fours::Rows(v) = self.fours {
            e.lanes(v, "base", &pass.roots(), Some(WideStores::of(n, None)), |_, _| Ok(()))?;
        } else {
            e.compute(pass.roots())?;
            for (s, store) in pass.stores.iter().enumerate() {
                e.store(store, e.forms[n][s]);
            }
        }
        if guarded {
            e.close();
        }
        Ok(())
    }

    /// Opens the loops over a lane's part of the row; returns how many blocks to close. `position`: the variable `at_row` is wanted, the position of
    /// the (first) point. Points visited four at a time begin at `base`.
    fn open_row(&self, e: &mut Emitter<'_>, position: bool) -> usize {
        let axes = e.axes(true);
        let t = self.lanes.lanes;
        let wide = match self.fours {
            Fours::Points(v) => Some(v),
            _ => None,
        };
        let by = if wide.is_some() { WIDE } else { 1 };
        // Axes behind the one visited by fours have one point.
        let (own, rest): (Vec<usize>, Vec<usize>) = axes.iter().partition(|&&a| wide.is_none_or(|v| a <= v));
        if t > 1 {
            let row = e.count(e.k.row_len() / by);
            e.open(format!("for (var r = lane; r < {row}; r = r + {t}u) {{"));
            if by > 1 {
                e.decompose_wide("r", &own);
            } else {
                e.decompose("r", &own);
            }
            rest.iter().for_each(|a| e.line(format!("let i{a} = 0;")));
            if position {
                e.line(format!("let at_row = r * {by}u;"));
            }
            return 1;
        }
        if position && self.lanes.run == 0 {
            e.line("var next = 0u;");
        }
        for &a in &own {
            let extent = e.int(e.k.axes[a].extent as i64);
            if self.lanes.run > 0 && e.k.axes[a].extent > 1 {
                let (name, step) = if Some(a) == wide { ("base".to_string(), WIDE) } else { (format!("i{a}"), 1) };
                e.open(format!(
                    "for (var {name} = from_; {name} < min(from_ + {}, {extent}); {name} = {name} + {step}) {{",
                    self.lanes.run * step
                ));
            } else if Some(a) == wide {
                e.open(format!("for (var base = 0; base < {extent}; base = base + {WIDE}) {{"));
            } else {
                e.open(format!("for (var i{a} = 0; i{a} < {extent}; i{a} = i{a} + 1) {{"));
            }
        }
        rest.iter().for_each(|a| e.line(format!("let i{a} = 0;")));
        if position {
            e.line("let at_row = next;");
            e.line(format!("next = next + {by}u;"));
        }
        own.len()
    }

    fn row_pass(&mut self, e: &mut Emitter<'_>, n: usize, pass: &Pass) -> Result<()> {
        let empty = e.k.row_len() == 0;
        let row = e.row.clone();
        let ahead: Vec<&Depends> = [Some(&row), self.varies.as_ref()].into_iter().flatten().collect();
        e.compute_but(pass.roots(), &ahead)?;
        let folds: Vec<Fold> = pass.reduces.iter().map(|r| Fold::of(e, r.kind, r.dtype)).collect();
        let fours = self.fours;
        let by_row = matches!(fours, Fours::Rows(_));
        // One partial result, one for each of four points, or one for each of four rows.
        let many = |f: &Fold| by_row || (matches!(fours, Fours::Points(_)) && !f.arg);
        for (r, f) in folds.iter().enumerate() {
            let (identity, ty) = (f.identity(e, empty), type_of(f.dtype));
            if many(f) {
                e.line(format!("var r{n}_{r} = array<{ty}, 4>({identity}, {identity}, {identity}, {identity});"));
            } else {
                e.line(format!("var r{n}_{r}: {ty} = {identity};"));
            }
            if f.arg && by_row {
                e.line(format!("var p{n}_{r} = vec4<u32>(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu);"));
            } else if f.arg {
                e.line(format!("var p{n}_{r} = 0xffffffffu;"));
            }
        }
        let position = folds.iter().any(|f| f.arg);
        // Names of one pass's loop are not those of the next.
        e.open("{");
        let run = self.lanes.run;
        if run > 0 {
            if position {
                e.line("var next = 0u;");
            }
            let extent = e.int(e.k.row_len() as i64);
            let step = if matches!(fours, Fours::Points(_)) { WIDE } else { 1 };
            e.open(format!("for (var from_ = 0; from_ < {extent}; from_ = from_ + {}) {{", run * step));
            for (r, f) in folds.iter().enumerate().filter(|(_, f)| !f.arg) {
                let (identity, ty) = (f.identity(e, empty), type_of(f.dtype));
                if many(f) {
                    e.line(format!("var t{n}_{r} = array<{ty}, 4>({identity}, {identity}, {identity}, {identity});"));
                } else {
                    e.line(format!("var t{n}_{r}: {ty} = {identity};"));
                }
            }
        }
        let blocks = self.open_row(e, position);
        let guard = (self.lanes.lanes > 1).then_some("live");
        let points = matches!(fours, Fours::Points(_));
        let fold = |e: &mut Emitter<'_>, lane: Option<usize>| {
            for (r, (sink, f)) in pass.reduces.iter().zip(&folds).enumerate() {
                let part = |name: &str| match lane {
                    Some(l) if by_row || (name == "r" && many(f)) => format!("{name}{n}_{r}[{l}]"),
                    _ => format!("{name}{n}_{r}"),
                };
                let (mut value, place) = (part("r"), part("p"));
                if run > 0 && !f.arg {
                    value.replace_range(..1, "t");
                }
                match sink.kind {
                    ReduceKind::Fold(_, x) if f.arg => {
                        let x = e.e(x);
                        let at = match lane {
                            Some(l) if points && l > 0 => format!("(at_row + {l}u)"),
                            _ => "at_row".to_string(),
                        };
                        let better = f.better(&x, &at, &value, &place);
                        e.line(format!("if ({better}) {{ {value} = {x}; {place} = {at}; }}"));
                    }
                    ReduceKind::Fold(_, x) => {
                        let joined = f.join(&value, &e.e(x));
                        e.line(format!("{value} = {joined};"));
                    }
                    ReduceKind::Dot(a, b) => fold_product(e, f, &value, a, b),
                }
            }
        };
        if let Fours::Points(v) | Fours::Rows(v) = self.fours {
            e.lanes(v, "base", &pass.roots(), Some(WideStores::of(n, guard)), |e, lane| {
                fold(e, Some(lane));
                Ok(())
            })?;
        } else {
            e.compute(pass.roots())?;
            fold(e, None);
            if !pass.stores.is_empty() {
                if let Some(g) = guard {
                    e.open(format!("if ({g}) {{"));
                }
                for (s, store) in pass.stores.iter().enumerate() {
                    e.store(store, e.forms[n][s]);
                }
                if guard.is_some() {
                    e.close();
                }
            }
        }
        (0..blocks).for_each(|_| e.close());
        if run > 0 {
            for (r, f) in folds.iter().enumerate().filter(|(_, f)| !f.arg) {
                for l in if many(f) { (0..WIDE).map(|l| format!("[{l}]")).collect() } else { vec![String::new()] } {
                    let joined = f.join(&format!("r{n}_{r}{l}"), &format!("t{n}_{r}{l}"));
                    e.line(format!("r{n}_{r}{l} = {joined};"));
                }
            }
            e.close();
        }
        e.close();
        let mut meeting = Vec::new();
        for (r, f) in folds.iter().enumerate() {
            let name = format!("r{n}_{r}");
            if !by_row && many(f) {
                let pair = |a: usize, b: usize| f.join(&format!("{name}[{a}]"), &format!("{name}[{b}]"));
                e.line(format!("let h{n}_{r} = {};", pair(0, 1)));
                e.line(format!("let g{n}_{r} = {};", pair(2, 3)));
                e.line(format!("var s{n}_{r} = {};", f.join(&format!("h{n}_{r}"), &format!("g{n}_{r}"))));
            }
            let of = |p: char| match (p, !by_row && many(f)) {
                ('r', true) => format!("s{n}_{r}"),
                _ => format!("{p}{n}_{r}"),
            };
            if by_row {
                meeting.extend((0..WIDE).map(|l| (f, format!("{}[{l}]", of('r')), format!("{}[{l}]", of('p')))));
            } else {
                meeting.push((f, of('r'), of('p')));
            }
            e.reduced.insert((n as u32, r as u32), format!("x{n}_{r}"));
        }
        if self.lanes.lanes > 1 {
            // As many at a time as workgroup memory holds.
            let most = ((e.target.shared / 2) / (self.lanes.lanes * self.lanes.rows * 12)).max(1) as usize;
            for some in meeting.chunks(most) {
                self.meet(e, some);
            }
        }
        for (r, f) in folds.iter().enumerate() {
            let place = |p: &str| format!("vec2<u32>(select({p}, 0u, {p} == 0xffffffffu), 0u)");
            let name = format!("p{n}_{r}");
            let x = match (f.arg, by_row) {
                (true, false) => place(&name),
                (true, true) => {
                    let all: Vec<String> = (0..WIDE).map(|l| place(&format!("{name}[{l}]"))).collect();
                    format!("array<vec2<u32>, 4>({})", all.join(", "))
                }
                (false, _) if !by_row && many(f) => format!("s{n}_{r}"),
                (false, _) => format!("r{n}_{r}"),
            };
            // Its elements are asked for by number.
            e.line(format!("let x{n}_{r} = {x};"));
        }
        Ok(())
    }
}

/// `acc += a * b` in the accumulator's type.
pub(super) fn fold_product(e: &mut Emitter<'_>, f: &Fold, acc: &str, a: ExprId, b: ExprId) {
    let product = binary(Binary::Mul, f.dtype, &e.e(a), &e.e(b));
    let joined = f.join(acc, &format!("({product})"));
    e.line(format!("{acc} = {joined};"));
}
