//! Kernels without a row: an invocation visits four neighbouring points at a time, some times over in large kernels; else one point, or the few
//! that share a word of a result.

use super::Emitter;
use super::wide::{WIDE, WideStores};
use crate::base::Result;
use crate::loops::legalize::{StoreForm, per_word};
use crate::loops::order::Node;

pub(super) fn emit(e: &mut Emitter<'_>) -> Result<()> {
    let k = e.k;
    let n = k.outer_len();
    let pass = &k.passes[0];
    let last = (0..k.axes.len()).rev().find(|&a| k.axes[a].extent > 1);
    if let Some(axis) = last
        && e.worth_widening(axis, &pass.roots(), true)?
    {
        return fours(e, axis);
    }
    // Points an invocation visits: those of the fullest word it writes.
    let words: Vec<usize> = (0..pass.stores.len()).filter(|&s| e.forms[0][s] == StoreForm::Words).collect();
    let items = words.iter().map(|&s| per_word(k.args[pass.stores[s].arg.index()].dtype)).max().unwrap_or(1);
    e.groups = (n.div_ceil(items) as u64).div_ceil(e.workgroup as u64);
    let (count, size) = (e.count(n), e.workgroup);
    let axes = e.axes(false);
    if items == 1 {
        e.line(format!("let at = group * {size}u + lid;"));
        e.line(format!("if (at >= {count}) {{ return; }}"));
        e.decompose("at", &axes);
        e.compute(pass.roots())?;
        for (s, store) in pass.stores.iter().enumerate() {
            e.store(store, e.forms[0][s]);
        }
        return Ok(());
    }
    e.line(format!("let first = (group * {size}u + lid) * {items}u;"));
    e.line(format!("if (first >= {count}) {{ return; }}"));
    // One word per store, or two of a half type beside bytes.
    for &s in &words {
        let per = per_word(k.args[pass.stores[s].arg.index()].dtype);
        if items == per {
            e.line(format!("var w{s} = 0u;"));
        } else {
            e.line(format!("var w{s} = vec2<u32>(0u, 0u);"));
        }
    }
    e.open(format!("for (var j = 0u; j < {items}u; j = j + 1u) {{"));
    e.line("let at = first + j;");
    e.open(format!("if (at < {count}) {{"));
    e.decompose("at", &axes);
    e.compute(pass.roots())?;
    for (s, store) in pass.stores.iter().enumerate() {
        if e.forms[0][s] != StoreForm::Words {
            e.store(store, e.forms[0][s]);
            continue;
        }
        let d = k.args[store.arg.index()].dtype;
        let (value, per) = (e.name(Node::Expr(store.value)), per_word(d));
        let bits = e.bits(d, &value);
        if items == per {
            e.line(format!("w{s} = w{s} | (({bits}) << (j * {}u));", 32 / per));
        } else {
            e.line(format!("w{s}[j >> 1u] = w{s}[j >> 1u] | (({bits}) << ((j & 1u) * 16u));"));
        }
    }
    e.close();
    e.close();
    for &s in &words {
        let store = &pass.stores[s];
        let (binding, per) = (e.uses[store.arg.index()].binding, per_word(k.args[store.arg.index()].dtype));
        if items == per {
            e.line(format!("b{binding}[first / {per}u] = w{s};"));
        } else {
            e.line(format!("b{binding}[first / 2u] = w{s}.x;"));
            e.line(format!("if (first + 2u < {count}) {{ b{binding}[first / 2u + 1u] = w{s}.y; }}"));
        }
    }
    Ok(())
}

fn fours(e: &mut Emitter<'_>, axis: usize) -> Result<()> {
    let k = e.k;
    let n = k.outer_len() / WIDE;
    e.widen(&[axis])?;
    // Enough invocations for any device first, then as many fours as hide a load behind another.
    let items = 1 << (n >> 18).clamp(1, 4).ilog2();
    let size = e.workgroup;
    e.groups = (n as u64).div_ceil(items * size as u64);
    let count = e.count(n);
    // Axes behind it have one point.
    let axes: Vec<usize> = (0..=axis).collect();
    if items > 1 {
        e.open(format!("for (var j = 0u; j < {items}u; j = j + 1u) {{"));
        e.line(format!("let at = (group * {items}u + j) * {size}u + lid;"));
        e.open(format!("if (at < {count}) {{"));
    } else {
        e.line(format!("let at = group * {size}u + lid;"));
        e.open(format!("if (at < {count}) {{"));
    }
    e.decompose_wide("at", &axes);
    (axis + 1..k.axes.len()).for_each(|a| e.line(format!("let i{a} = 0;")));
    let pass = &k.passes[0];
    e.lanes(axis, "base", &pass.roots(), Some(WideStores::of(0, None)), |_, _| Ok(()))?;
    e.close();
    if items > 1 {
        e.close();
    }
    Ok(())
}
