//! Kernels with a row: a number of lanes per row fold it and meet in workgroup memory; the row is visited as often as there are passes.
//!
//! A lane takes every T-th point; its partial results are combined pairwise, so the order depends on the shape (and the target) only.

use super::ops::{binary, compare, type_of};
use super::{Emitter, Word};
use crate::base::error::bail;
use crate::base::{DType, Result, Scalar};
use crate::loops::{Archetype, ExprId, Pass, ReduceKind};
use crate::trace::{Binary, Compare, Reduce};

/// How rows are spread over invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes {
    /// Lanes a row, a power of two.
    pub lanes: u32,
    /// Rows a workgroup.
    pub rows: u32,
    /// Neighbouring invocations have neighbouring rows rather than points of one.
    pub across: bool,
}

impl Lanes {
    /// What suits `outer` rows of `row` points.
    fn choose(e: &Emitter<'_>) -> Lanes {
        let (outer, row) = (e.k.outer_len(), e.k.row_len());
        let across = matches!(e.k.archetype, Archetype::ColumnReduction);
        let down = |n: usize| if n == 0 { 1 } else { 1u32 << n.ilog2() };
        let most = if e.target.software { 64 } else { e.target.most.min(256) };
        // Enough work a lane to be worth meeting the others, and not so much that a sum in f32 loses digits.
        let least = down((row / 512).next_power_of_two());
        let wanted = if e.target.software {
            down(row / 256)
        } else if across {
            // Without lanes, reads of neighbouring rows are one transaction; with too few rows most of the device is idle.
            down((1usize << 16).div_ceil(outer.max(1)).min(row / 8))
        } else {
            down(row / 4)
        };
        let lanes = wanted.max(least).clamp(1, most);
        let workgroup = e.target.workgroup.max(lanes);
        Lanes { lanes, rows: workgroup / lanes, across }
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
            format!(
                "{bp} == 0xffffffffu || (is_nan({x}) && (!is_nan({b}) || {xp} < {bp})) || (!is_nan({b}) && ({wins} || ({equal} && {xp} < {bp})))"
            )
        } else {
            format!("{bp} == 0xffffffffu || ({wins}) || ({equal} && {xp} < {bp})")
        }
    }
}

pub(super) fn emit(e: &mut Emitter<'_>) -> Result<()> {
    let lanes = Lanes::choose(e);
    let Lanes { lanes: t, rows, across } = lanes;
    e.workgroup = t * rows;
    e.groups = (e.k.outer_len() as u64).div_ceil(rows as u64);
    let outer = e.count(e.k.outer_len());
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
    e.decompose("at", &axes);
    let passes: Vec<Pass> = e.k.passes.clone();
    for (n, pass) in passes.iter().enumerate() {
        if pass.roots().is_empty() {
            continue;
        }
        if pass.row {
            row_pass(e, n, pass, lanes)?;
        } else {
            outer_pass(e, n, pass, lanes)?;
        }
    }
    Ok(())
}

fn outer_pass(e: &mut Emitter<'_>, n: usize, pass: &Pass, lanes: Lanes) -> Result<()> {
    if !pass.reduces.is_empty() {
        bail!(Internal, "a pass without a row reduces");
    }
    let guarded = lanes.lanes > 1;
    if guarded {
        e.open("if (live && lane == 0u) {");
    }
    e.compute(pass.roots(), false)?;
    for (s, store) in pass.stores.iter().enumerate() {
        e.store(store, e.forms[n][s]);
    }
    if guarded {
        e.close();
    }
    Ok(())
}

/// Opens the loops over a lane's part of the row; returns how many blocks to close. `position`: the variable `at_row` is wanted.
pub(super) fn open_row(e: &mut Emitter<'_>, lanes: u32, position: bool) -> usize {
    let axes = e.axes(true);
    if lanes > 1 {
        let row = e.count(e.k.row_len());
        e.open(format!("for (var r = lane; r < {row}; r = r + {lanes}u) {{"));
        e.decompose("r", &axes);
        if position {
            e.line("let at_row = r;");
        }
        return 1;
    }
    if position {
        e.line("var next = 0u;");
    }
    for &a in &axes {
        let extent = e.int(e.k.axes[a].extent as i64);
        e.open(format!("for (var i{a} = 0; i{a} < {extent}; i{a} = i{a} + 1) {{"));
    }
    if position {
        e.line("let at_row = next;");
        e.line("next = next + 1u;");
    }
    axes.len()
}

fn row_pass(e: &mut Emitter<'_>, n: usize, pass: &Pass, lanes: Lanes) -> Result<()> {
    let empty = e.k.row_len() == 0;
    e.compute(pass.roots(), true)?;
    let folds: Vec<Fold> = pass.reduces.iter().map(|r| Fold::of(e, r.kind, r.dtype)).collect();
    for (r, f) in folds.iter().enumerate() {
        let (identity, ty) = (f.identity(e, empty), type_of(f.dtype));
        e.line(format!("var r{n}_{r}: {ty} = {identity};"));
        if f.arg {
            e.line(format!("var p{n}_{r} = 0xffffffffu;"));
        }
    }
    let position = folds.iter().any(|f| f.arg);
    // Names of one pass's loop are not those of the next.
    e.open("{");
    let blocks = open_row(e, lanes.lanes, position);
    e.compute(pass.roots(), false)?;
    for (r, (sink, f)) in pass.reduces.iter().zip(&folds).enumerate() {
        match sink.kind {
            ReduceKind::Fold(_, x) if f.arg => {
                let x = e.e(x);
                let better = f.better(&x, "at_row", &format!("r{n}_{r}"), &format!("p{n}_{r}"));
                e.line(format!("if ({better}) {{ r{n}_{r} = {x}; p{n}_{r} = at_row; }}"));
            }
            ReduceKind::Fold(_, x) => {
                let joined = f.join(&format!("r{n}_{r}"), &e.e(x));
                e.line(format!("r{n}_{r} = {joined};"));
            }
            ReduceKind::Dot(a, b) => fold_product(e, f, &format!("r{n}_{r}"), a, b),
        }
    }
    let store = |e: &mut Emitter<'_>| {
        for (s, store) in pass.stores.iter().enumerate() {
            e.store(store, e.forms[n][s]);
        }
    };
    if !pass.stores.is_empty() && lanes.lanes > 1 {
        e.open("if (live) {");
        store(e);
        e.close();
    } else {
        store(e);
    }
    for _ in 0..blocks + 1 {
        e.close();
    }
    for (r, f) in folds.iter().enumerate() {
        if lanes.lanes > 1 {
            meet(e, f, &format!("r{n}_{r}"), &format!("p{n}_{r}"), lanes);
        }
        let name = if f.arg {
            e.line(format!("let x{n}_{r} = vec2<u32>(select(p{n}_{r}, 0u, p{n}_{r} == 0xffffffffu), 0u);"));
            format!("x{n}_{r}")
        } else {
            e.line(format!("let x{n}_{r} = r{n}_{r};"));
            format!("x{n}_{r}")
        };
        e.reduced.insert((n as u32, r as u32), name);
    }
    Ok(())
}

/// `acc += a * b` in the accumulator's type.
pub(super) fn fold_product(e: &mut Emitter<'_>, f: &Fold, acc: &str, a: ExprId, b: ExprId) {
    let product = binary(Binary::Mul, f.dtype, &e.e(a), &e.e(b));
    let joined = f.join(acc, &format!("({product})"));
    e.line(format!("{acc} = {joined};"));
}

/// Combines the lanes' partial results; afterwards all lanes of a row have the result.
fn meet(e: &mut Emitter<'_>, f: &Fold, value: &str, position: &str, lanes: Lanes) {
    let Lanes { lanes: t, rows, across } = lanes;
    let size = t * rows;
    // Bool is kept as a word: workgroup memory holds what storage could.
    let (ty, key) = match f.dtype {
        DType::F32 | DType::F16 | DType::BF16 => ("f32", "f"),
        DType::I32 => ("i32", "i"),
        DType::I64 => ("vec2<u32>", "l"),
        _ => ("u32", "u"),
    };
    let declare = |e: &mut Emitter<'_>, name: &str, ty: &str| {
        if !e.globals.contains(&format!("var<workgroup> {name}:")) {
            e.shared(name, ty, size);
        }
    };
    let s = format!("shared_{key}");
    declare(e, &s, ty);
    let bool_ = f.dtype == DType::Bool;
    let to = if bool_ { format!("select(0u, 1u, {value})") } else { value.to_string() };
    let read = |at: &str| if bool_ { format!("({s}[{at}] != 0u)") } else { format!("{s}[{at}]") };
    e.line(format!("{s}[lid] = {to};"));
    if f.arg {
        declare(e, "shared_p", "u32");
        e.line(format!("shared_p[lid] = {position};"));
    }
    e.line("workgroupBarrier();");
    let stride = if across { rows } else { 1 };
    e.open(format!("for (var h = {}u; h > 0u; h = h >> 1u) {{", t / 2));
    e.open("if (lane < h) {");
    let other = format!("lid + h * {stride}u");
    if f.arg {
        e.line(format!("let other = {};", read(&other)));
        e.line(format!("let where_ = shared_p[{other}];"));
        let better = f.better("other", "where_", value, position);
        e.line(format!("if (where_ != 0xffffffffu && ({better})) {{ {value} = other; {position} = where_; }}"));
        e.line(format!("{s}[lid] = {to};"));
        e.line(format!("shared_p[lid] = {position};"));
    } else {
        e.line(format!("{value} = {};", f.join(value, &read(&other))));
        e.line(format!("{s}[lid] = {to};"));
    }
    e.close();
    e.line("workgroupBarrier();");
    e.close();
    let base = if across { "sub".to_string() } else { format!("sub * {t}u") };
    e.line(format!("{value} = {};", read(&base)));
    if f.arg {
        e.line(format!("{position} = shared_p[{base}];"));
    }
    e.line("workgroupBarrier();");
}
