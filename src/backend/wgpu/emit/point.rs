//! Kernels without a row: an invocation visits four neighbouring points at a time, some times over in large kernels; else one point, or the few
//! that share a word of a result.

use super::Emitter;
use super::wide::{WIDE, WideStores};
use crate::base::Result;
use crate::loops::ExprId;
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
    let across = across(e, axis)?;
    let n = k.outer_len() / if across.is_some() { WIDE * WIDE } else { WIDE };
    e.widen(&[Some(axis), across].into_iter().flatten().collect::<Vec<_>>())?;
    let size = e.workgroup;
    // Workgroups that are squares of blocks, if there is a whole number of them: lines of memory are then read whole.
    let side = 1usize << (size.ilog2() / 2);
    let squares = across.is_some_and(|b| [axis, b].iter().all(|&a| k.axes[a].extent.is_multiple_of(WIDE * side)));
    // Enough invocations for any device first, then as many fours as hide a load behind another.
    let items = if squares { 1 } else { 1 << (n >> 18).clamp(1, 4).ilog2() };
    let by = if squares { side * side } else { 1 };
    if squares {
        e.workgroup = by as u32;
    }
    e.groups = (n as u64).div_ceil(items * e.workgroup as u64);
    let count = e.count(n / by);
    if items > 1 {
        e.open(format!("for (var j = 0u; j < {items}u; j = j + 1u) {{"));
        e.line(format!("let at = (group * {items}u + j) * {size}u + lid;"));
    } else if squares {
        e.line("let at = group;");
    } else {
        e.line(format!("let at = group * {size}u + lid;"));
    }
    e.open(format!("if (at < {count}) {{"));
    let step = if squares { WIDE * side } else { WIDE };
    let part = |a: usize| match k.axes[a].extent {
        n if a == axis => ("quad_".to_string(), n / step),
        n if Some(a) == across => ("block_".to_string(), n / step),
        n => (format!("i{a}"), n),
    };
    // Axes behind it have one point.
    let parts: Vec<(String, usize)> = (0..=axis).map(part).collect();
    e.split("at", &parts);
    (axis + 1..k.axes.len()).for_each(|a| e.line(format!("let i{a} = 0;")));
    if squares {
        e.line(format!("let base = quad_ * {step} + i32(lid % {side}u) * {WIDE};"));
        e.line(format!("let side = block_ * {step} + i32(lid / {side}u) * {WIDE};"));
    } else {
        e.line(format!("let base = quad_ * {WIDE};"));
        if across.is_some() {
            e.line(format!("let side = block_ * {WIDE};"));
        }
    }
    let roots = k.passes[0].roots();
    match across {
        None => e.lanes(axis, "base", &roots, Some(WideStores::of(0, None)), |_, _| Ok(()))?,
        Some(b) => blocks(e, axis, b, &roots)?,
    }
    e.close();
    if items > 1 {
        e.close();
    }
    Ok(())
}

/// Another axis along which neighbours in memory are read, as in a transposition.
fn across(e: &Emitter<'_>, axis: usize) -> Result<Option<usize>> {
    for b in (0..axis).rev().filter(|&b| e.k.axes[b].extent.is_multiple_of(WIDE)) {
        if !loads_along(e, b)?.is_empty() {
            return Ok(Some(b));
        }
    }
    Ok(None)
}

fn loads_along(e: &Emitter<'_>, axis: usize) -> Result<Vec<ExprId>> {
    let d = e.depends_on(axis, false)?;
    let order = e.k.order(e.k.passes[0].roots())?;
    let load = |n: Node| match n {
        Node::Expr(x) if e.wide_load(x, axis, &d) => Some(x),
        _ => None,
    };
    Ok(order.into_iter().filter_map(load).collect())
}

/// Four by four points: what is read along `b` is read for all of them first.
fn blocks(e: &mut Emitter<'_>, axis: usize, b: usize, roots: &[Node]) -> Result<()> {
    let loads = loads_along(e, b)?;
    let mut all: Vec<Vec<Vec<String>>> = vec![Vec::new(); loads.len()];
    for c in 0..WIDE {
        for (&x, all) in loads.iter().zip(&mut all) {
            all.push(e.load_four_at(x, c, &[(axis, format!("base + {c}")), (b, "side".to_string())])?);
        }
    }
    for r in 0..WIDE {
        e.open("{");
        e.line(format!("let i{b} = side + {r};"));
        e.given = loads.iter().zip(&all).map(|(&x, all)| (x, all.iter().map(|four| four[r].clone()).collect())).collect();
        e.lanes(axis, "base", roots, Some(WideStores::of(0, None)), |_, _| Ok(()))?;
        e.given.clear();
        e.close();
    }
    Ok(())
}
