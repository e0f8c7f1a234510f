//! Positions that sort a row: a bitonic network over keys with their positions, which no two elements share, so that it is stable. In
//! workgroup memory if the row fits, else in a workspace, one workgroup a row.

use super::Emitter;
use crate::base::{DType, Result};
use crate::loops::order::Node;
use crate::loops::{ExprId, ExprKind};

/// Workgroups that sort at the same time in a workspace.
const ROWS_AT_ONCE: usize = 64;

/// The words of a value's key, most significant last: unsigned order is the order of the values.
fn key(d: DType, x: &str) -> Vec<String> {
    match d {
        DType::F32 | DType::F16 | DType::BF16 => vec![format!("sort_key({x})")],
        DType::I32 => vec![format!("bitcast<u32>({x}) ^ 0x80000000u")],
        DType::F64 => vec![format!("d_sort_key({x}).x"), format!("d_sort_key({x}).y")],
        DType::I64 => vec![format!("{x}.x"), format!("{x}.y ^ 0x80000000u")],
        DType::Bool => vec![format!("select(0u, 1u, {x})")],
        _ => vec![x.to_string()],
    }
}

pub(super) fn emit(e: &mut Emitter<'_>, descending: bool) -> Result<()> {
    let k = e.k;
    let (outer_len, row_len) = (k.outer_len(), k.row_len());
    let d = k.scratch[0];
    let key_words = if matches!(d, DType::I64 | DType::F64) { 2 } else { 1 };
    let padded = row_len.next_power_of_two().max(2);
    let bytes = padded * (key_words + 1) * 4;
    let local = bytes <= e.target.shared.min(16 << 10) as usize;
    let most = if e.target.software { 64 } else { 256 };
    e.workgroup = ((padded / 2) as u32).clamp(1, most);
    let at_once = if local { outer_len } else { outer_len.min(ROWS_AT_ONCE) };
    e.groups = at_once as u64;
    let w = e.workgroup;
    let (outer, row, p) = (e.count(outer_len), e.count(row_len), format!("{padded}u"));
    // Arrays of keys and positions: the position's is the last.
    let names: Vec<String> = (0..key_words + 1).map(|n| format!("sorted{n}")).collect();
    if local {
        names.iter().for_each(|n| e.shared(n, "u32", padded as u32));
    } else {
        e.workspace = at_once * bytes;
    }
    let place = |n: usize, at: &str| {
        if local { format!("sorted{n}[{at}]") } else { format!("workspace[base + {n}u * {p} + ({at})]") }
    };
    let barrier = if local { "workgroupBarrier();" } else { "storageBarrier();" };
    if !local {
        e.line(format!("let base = group * {}u;", padded * (key_words + 1)));
    }
    e.open(format!("for (var at = group; at < {outer}; at = at + {at_once}u) {{"));
    let axes = e.axes(false);
    e.decompose("at", &axes);
    let axis = e.axes(true)[0];
    let value = k.passes[0].scratch[0].1;
    e.open(format!("for (var r = lid; r < {p}; r = r + {w}u) {{"));
    // What pads the row comes after everything: no element has its position.
    for n in 0..key_words {
        e.line(format!("var key{n} = 0xffffffffu;"));
    }
    e.open(format!("if (r < {row}) {{"));
    e.line(format!("let i{axis} = i32(r);"));
    e.compute([Node::Expr(value)])?;
    let x = e.e(value);
    for (n, text) in key(d, &x).iter().enumerate() {
        let text = if descending { format!("~({text})") } else { text.clone() };
        e.line(format!("key{n} = {text};"));
    }
    e.close();
    for n in 0..key_words {
        e.line(format!("{} = key{n};", place(n, "r")));
    }
    e.line(format!("{} = r;", place(key_words, "r")));
    e.close();
    e.line(barrier);
    e.open(format!("for (var size = 2u; size <= {p}; size = size << 1u) {{"));
    e.open("for (var stride = size >> 1u; stride > 0u; stride = stride >> 1u) {");
    e.open(format!("for (var i = lid; i < {}u; i = i + {w}u) {{", padded / 2));
    e.line("let low = 2u * i - (i & (stride - 1u));");
    e.line("let high = low + stride;");
    let mut after = String::from("false");
    for n in (0..key_words + 1).rev() {
        // The position decides last, the key's low word before it.
        e.line(format!("let x{n} = {};", place(n, "low")));
        e.line(format!("let y{n} = {};", place(n, "high")));
    }
    for n in [vec![key_words], (0..key_words).collect()].concat() {
        after = format!("(x{n} > y{n} || (x{n} == y{n} && {after}))");
    }
    e.open(format!("if ({after} == ((low & size) == 0u)) {{"));
    for n in 0..key_words + 1 {
        e.line(format!("{} = y{n};", place(n, "low")));
        e.line(format!("{} = x{n};", place(n, "high")));
    }
    e.close();
    e.close();
    e.line(barrier);
    e.close();
    e.close();
    e.open(format!("for (var r = lid; r < {row}; r = r + {w}u) {{"));
    e.line(format!("let i{axis} = i32(r);"));
    e.line(format!("let position = vec2<u32>({}, 0u);", place(key_words, "r")));
    for x in 0..k.exprs.len() {
        if matches!(k.exprs[x].kind, ExprKind::Scratch(s) if s.0 == 1) {
            e.define(Node::Expr(ExprId(x as u32)), "position");
        }
    }
    for p in 1..k.passes.len() {
        e.compute(k.passes[p].roots())?;
        for (s, store) in k.passes[p].stores.iter().enumerate() {
            e.store(store, e.forms[p][s]);
        }
    }
    e.close();
    e.line(barrier);
    e.close();
    Ok(())
}
