//! Scattered stores. Invocations own destinations, not updates: each visits all updates of its own columns in row-major order and carries
//! out those that fall into its range of rows. So no two write one element, sums come in one order, and the last of several wins.

use super::Emitter;
use super::ops::binary;
use crate::base::{DType, Result};
use crate::loops::legalize::{StoreForm, per_word};
use crate::loops::order::Node;
use crate::loops::{Index, IndexId, Kernel};
use crate::trace::ScatterMode;

/// Axes that, together with the computed row, name a destination: each steps through it with a stride of its own.
fn own_axes(k: &Kernel, index: IndexId) -> Option<Vec<usize>> {
    let (mut axes, mut todo) = (Vec::new(), vec![(index, true)]);
    while let Some((i, plain)) = todo.pop() {
        match k.indices[i.index()] {
            Index::Add(a, b) => todo.extend([(a, plain), (b, plain)]),
            Index::Mul(a, c) => todo.push((a, plain && c > 0)),
            Index::Axis(a) if plain && !axes.contains(&(a as usize)) => axes.push(a as usize),
            Index::Const(_) | Index::Value(..) => {}
            // Quotients, and an axis that comes twice: no telling.
            _ => return None,
        }
    }
    axes.sort_unstable();
    Some(axes)
}

/// Rows of the destination that one invocation owns, where rows are many.
fn range_of(updates: usize, columns: usize, rows: usize, software: bool) -> usize {
    let invocations = if software { 256 } else { 1 << 16 };
    // Each visits every update of its columns: no more ranges than updates pay for, and so few that all visits stay within reason.
    const VISITS: u64 = 1 << 32;
    let reason = (VISITS / (columns as u64).saturating_mul(updates as u64).max(1)).clamp(1, usize::MAX as u64) as usize;
    let ranges = (invocations / columns.max(1)).clamp(1, rows.max(1)).min(updates.max(1)).min(reason);
    rows.div_ceil(ranges).max(1)
}

pub(super) fn emit(e: &mut Emitter<'_>, mode: ScatterMode) -> Result<()> {
    let k = e.k;
    let store = k.passes[0].stores[0];
    let arg = store.arg.index();
    let d = k.args[arg].dtype;
    let all: Vec<usize> = (0..k.axes.len()).collect();
    let own = own_axes(k, store.index).unwrap_or_default();
    let serial: Vec<usize> = all.iter().copied().filter(|a| !own.contains(a)).collect();
    let extent = |axes: &[usize]| axes.iter().map(|&a| k.axes[a].extent).product::<usize>();
    let (columns, updates) = (extent(&own), extent(&serial));
    e.bounded(updates)?;
    let rows = store.valid.map_or(1, |b| (b.hi - b.lo).max(0) as usize);
    let range = range_of(updates, columns, rows, e.target.software);
    let ranges = rows.div_ceil(range).max(1);
    let n = columns * ranges;
    e.groups = (n as u64).div_ceil(e.workgroup as u64);
    let (count, size, columns_) = (e.count(n), e.workgroup, e.count(columns));
    e.line(format!("let at = group * {size}u + lid;"));
    e.line(format!("if (at >= {count}) {{ return; }}"));
    e.line(format!("let first = i32(at / {columns_});"));
    e.line(format!("let column = at % {columns_};"));
    let range_ = e.int(range as i64);
    let lo = store.valid.map_or(0, |b| b.lo);
    let lo_ = e.int(lo);
    e.line(format!("let row_from = first * {range_} + {lo_};"));
    e.line(format!("let row_to = row_from + {range_};"));
    if own.is_empty() {
        e.line("_ = column;");
    } else {
        e.decompose("column", &own);
    }
    for &a in &serial {
        let extent = e.int(k.axes[a].extent as i64);
        e.open(format!("for (var i{a} = 0; i{a} < {extent}; i{a} = i{a} + 1) {{"));
    }
    // Where it goes first, and only then what: most updates are others'.
    if let Some(b) = store.valid {
        e.compute([Node::Index(b.index)])?;
        let (at, inside) = (e.n(b.index), e.bounds(&[b]));
        e.open(format!("if ({inside} && {at} >= row_from && {at} < row_to) {{"));
    } else {
        e.open("{");
    }
    e.compute([Node::Index(store.index), Node::Expr(store.value)])?;
    let (index, value) = (e.n(store.index), e.e(store.value));
    let result = match mode.combines() {
        None => value,
        Some(op) => {
            let old = e.load(arg, &index);
            e.line(format!("let old = {old};"));
            binary(op, d.accumulator(), "old", &value)
        }
    };
    let form = if per_word(d) == 1 { StoreForm::Plain } else { StoreForm::Shared };
    // Narrow integers wrap in their own width.
    let result = if d == DType::U8 { format!("({result}) & 0xffu") } else { result };
    e.line(format!("let result = {result};"));
    e.put(arg, &index, "result", form);
    for _ in 0..serial.len() + 1 {
        e.close();
    }
    Ok(())
}
