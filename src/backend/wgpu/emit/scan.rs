//! Running combinations along a row: each lane has a piece of it, folded once for the lanes behind and once more to store.

use super::Emitter;
use super::ops::type_of;
use super::rows::Fold;
use crate::base::{DType, Result};
use crate::loops::order::Node;
use crate::loops::{ExprId, ExprKind};
use crate::trace::Reduce;

pub(super) fn emit(e: &mut Emitter<'_>, kind: Reduce, reverse: bool) -> Result<()> {
    let k = e.k;
    let (outer_len, row_len) = (k.outer_len(), k.row_len());
    let dtype = k.scratch[1];
    let f = Fold { kind, dtype: dtype.accumulator(), arg: false };
    let most = if e.target.software { 32 } else { 256 };
    let t: u32 = if row_len < 128 { 1 } else { (1u32 << (row_len / 64).ilog2()).clamp(1, most) };
    e.bounded(2 * row_len.div_ceil(t as usize) + t as usize)?;
    let rows = e.target.workgroup.max(t) / t;
    e.workgroup = t * rows;
    e.groups = (outer_len as u64).div_ceil(rows as u64);
    let (outer, row) = (e.count(outer_len), e.count(row_len));
    e.line(format!("let lane = lid % {t}u;"));
    e.line(format!("let sub = lid / {t}u;"));
    e.line(format!("let live = group * {rows}u + sub < {outer};"));
    e.line(format!("let at = min(group * {rows}u + sub, {outer} - 1u);"));
    let axes = e.axes(false);
    e.decompose("at", &axes);
    let axis = e.axes(true)[0];
    let value = k.passes[0].scratch[0].1;
    let ty = type_of(f.dtype);
    e.line(format!("let piece = ({row} + {}u) / {t}u;", t - 1));
    e.line("let from_ = min(lane * piece, ".to_string() + &row + ");");
    e.line(format!("let to_ = min(from_ + piece, {row});"));
    let step = |e: &mut Emitter<'_>| {
        if reverse {
            e.line(format!("let i{axis} = i32({row} - 1u - r);"));
        } else {
            e.line(format!("let i{axis} = i32(r);"));
        }
    };
    let identity = f.identity(e, false);
    e.line(format!("var acc: {ty} = {identity};"));
    if t > 1 {
        e.open("for (var r = from_; r < to_; r = r + 1u) {");
        step(e);
        e.compute([Node::Expr(value)])?;
        let joined = f.join("acc", &e.e(value));
        e.line(format!("acc = {joined};"));
        e.close();
        let (element, to, from) = match f.dtype {
            DType::Bool => ("u32", "select(0u, 1u, acc)", "(pieces[sub * LANESu + before] != 0u)"),
            _ => (ty, "acc", "pieces[sub * LANESu + before]"),
        };
        let from = from.replace("LANES", &t.to_string());
        e.shared("pieces", element, t * rows);
        e.line(format!("pieces[lid] = {to};"));
        e.line("workgroupBarrier();");
        e.line(format!("acc = {identity};"));
        e.open("for (var before = 0u; before < lane; before = before + 1u) {");
        e.line(format!("acc = {};", f.join("acc", &from)));
        e.close();
    }
    e.open("if (live) {");
    e.open("for (var r = from_; r < to_; r = r + 1u) {");
    step(e);
    e.compute([Node::Expr(value)])?;
    let joined = f.join("acc", &e.e(value));
    e.line(format!("acc = {joined};"));
    // The stores see what the row has come to.
    e.line("let running = acc;");
    for x in 0..k.exprs.len() {
        match k.exprs[x].kind {
            ExprKind::Scratch(s) if s.0 == 1 => e.define(Node::Expr(ExprId(x as u32)), "running"),
            ExprKind::Scratch(_) => {
                let name = e.e(value);
                e.define(Node::Expr(ExprId(x as u32)), name);
            }
            _ => {}
        }
    }
    for p in 1..k.passes.len() {
        e.compute(k.passes[p].roots())?;
        for (s, store) in k.passes[p].stores.iter().enumerate() {
            e.store(store, e.forms[p][s]);
        }
    }
    e.close();
    e.close();
    Ok(())
}
