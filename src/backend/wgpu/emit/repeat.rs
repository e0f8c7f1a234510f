//! A loop inside of a kernel: what it carries stays in registers, each invocation runs all iterations of its own point.

use super::ops::type_of;
use super::{Depends, Emitter, Word};
use crate::base::Result;
use crate::loops::legalize::StoreForm;
use crate::loops::order::Node;
use crate::loops::{ExprId, ExprKind, IndexId};

/// What makes of a pointwise kernel the body of a loop.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Iterations.
    pub count: u32,
    /// Rows are visited from the last to the first.
    pub reverse: bool,
    /// What is carried.
    pub carried: Vec<Carried>,
    /// Arguments of which each iteration has a row, and the row's elements.
    pub rows: Vec<(usize, usize)>,
    /// Arguments of which each iteration's row is a carried value as the iteration began, and that value.
    pub kept: Vec<(usize, usize)>,
    /// Expressions that are the number of the iteration.
    pub number: Vec<ExprId>,
    /// The element of what is carried that belongs to a point.
    pub element: IndexId,
}

/// A carried value.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The argument it begins as, if anything reads that.
    pub from: Option<usize>,
    /// What it is next.
    pub next: Next,
    /// The argument that its last value goes to.
    pub to: Option<usize>,
    /// Of which type.
    pub dtype: crate::base::DType,
}

/// What a carried value is in the next iteration.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// What that store writes.
    Store(usize),
    /// What that carried value was.
    Value(usize),
}

/// What changes from iteration to iteration.
fn varies(e: &Emitter<'_>, r: &Repeat) -> Result<Depends> {
    let k = e.k;
    let (mut exprs, mut indices) = (vec![false; k.exprs.len()], vec![false; k.indices.len()]);
    for n in k.order(k.passes[0].roots())? {
        let mut own = false;
        let mut join = |m: Node| {
            own |= match m {
                Node::Expr(x) => exprs[x.index()],
                Node::Index(i) => indices[i.index()],
            }
        };
        match n {
            Node::Expr(x) => {
                k.exprs[x.index()].operands(&mut join);
                own |= match &k.exprs[x.index()].kind {
                    ExprKind::Load { arg, .. } => carried(r, arg.index()).is_some() || r.rows.iter().any(|m| m.0 == arg.index()),
                    _ => r.number.contains(&x),
                };
                exprs[x.index()] = own;
            }
            Node::Index(i) => {
                k.indices[i.index()].operands(&mut join);
                indices[i.index()] = own;
            }
        }
    }
    Ok((exprs, indices))
}

/// The carried value that begins as that argument.
fn carried(r: &Repeat, arg: usize) -> Option<usize> {
    r.carried.iter().position(|c| c.from == Some(arg))
}

pub(super) fn emit(e: &mut Emitter<'_>, r: &Repeat) -> Result<()> {
    let k = e.k;
    let n = k.outer_len();
    let pass = &k.passes[0];
    e.groups = (n as u64).div_ceil(e.workgroup as u64);
    let (points, size, count) = (e.count(n), e.workgroup, e.word(Word::Fixed(r.count)));
    e.line(format!("let at = group * {size}u + lid;"));
    e.line(format!("if (at >= {points}) {{ return; }}"));
    let axes = e.axes(false);
    e.decompose("at", &axes);
    e.compute_but(pass.roots(), &[&varies(e, r)?])?;
    e.compute([Node::Index(r.element)])?;
    let element = e.n(r.element);
    for (j, c) in r.carried.iter().enumerate() {
        let ty = type_of(c.dtype);
        let first = c.from.map_or(format!("{ty}()"), |a| e.load(a, &element));
        e.line(format!("var c{j}: {ty} = {first};"));
    }
    e.open(format!("for (var t = 0u; t < {count}; t = t + 1u) {{"));
    e.line(format!("let row = i32({});", if r.reverse { format!("{count} - 1u - t") } else { "t".to_string() }));
    e.line("let number = vec2<u32>(t, 0u);");
    for x in 0..k.exprs.len() {
        let id = ExprId(x as u32);
        if r.number.contains(&id) {
            e.define(Node::Expr(id), "number");
        } else if let ExprKind::Load { arg, .. } = &k.exprs[x].kind
            && let Some(j) = carried(r, arg.index())
        {
            e.define(Node::Expr(id), format!("c{j}"));
        }
    }
    e.moved = r.rows.clone();
    e.compute(pass.roots())?;
    for (j, c) in r.carried.iter().enumerate() {
        let next = match c.next {
            Next::Store(s) => e.e(pass.stores[s].value),
            Next::Value(v) => format!("c{v}"),
        };
        e.line(format!("let next{j} = {next};"));
    }
    for (to, v) in &r.kept {
        e.put(*to, &element, &format!("c{v}"), StoreForm::Plain);
    }
    for store in pass.stores.iter().filter(|s| r.rows.iter().any(|m| m.0 == s.arg.index())) {
        e.store(store, StoreForm::Plain);
    }
    (0..r.carried.len()).for_each(|j| e.line(format!("c{j} = next{j};")));
    e.moved.clear();
    e.close();
    for (j, c) in r.carried.iter().enumerate() {
        if let Some(to) = c.to {
            e.put(to, &element, &format!("c{j}"), StoreForm::Plain);
        }
    }
    Ok(())
}
