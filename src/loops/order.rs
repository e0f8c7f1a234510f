//! Evaluation order of a kernel's expressions and indices, and what a pass needs.

use super::{Bound, Expr, ExprId, ExprKind, Index, IndexId, Kernel, Pass, ReduceKind};
use crate::base::Result;
use crate::base::error::bail;

/// An expression or an index: the two arenas refer to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A scalar expression.
    Expr(ExprId),
    /// An index expression.
    Index(IndexId),
}

impl Expr {
    /// Calls `f` for everything the expression refers to, in reading order.
    pub fn operands(&self, mut f: impl FnMut(Node)) {
        let bounds = |mask: &[Bound], f: &mut dyn FnMut(Node)| mask.iter().for_each(|b| f(Node::Index(b.index)));
        match &self.kind {
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Reduced(..) | ExprKind::Scratch(_) => {}
            ExprKind::Load { index, mask, .. } => {
                f(Node::Index(*index));
                bounds(mask, &mut f);
            }
            ExprKind::Index(i) => f(Node::Index(*i)),
            ExprKind::InBounds(mask) => bounds(mask, &mut f),
            ExprKind::Unary(_, a) | ExprKind::Cast(a) => f(Node::Expr(*a)),
            ExprKind::Binary(_, a, b) | ExprKind::Compare(_, a, b) => [a, b].into_iter().for_each(|x| f(Node::Expr(*x))),
            ExprKind::Select(a, b, c) => [a, b, c].into_iter().for_each(|x| f(Node::Expr(*x))),
            ExprKind::Random(a, b, i) => {
                f(Node::Expr(*a));
                f(Node::Expr(*b));
                f(Node::Index(*i));
            }
        }
    }
}

impl Index {
    /// Calls `f` for everything the index refers to.
    pub fn operands(&self, mut f: impl FnMut(Node)) {
        match *self {
            Index::Axis(_) | Index::Const(_) => {}
            Index::Add(a, b) => {
                f(Node::Index(a));
                f(Node::Index(b));
            }
            Index::Mul(a, _) | Index::Div(a, _) | Index::Mod(a, _) => f(Node::Index(a)),
            Index::Value(e, _) => f(Node::Expr(e)),
        }
    }
}

impl Pass {
    /// What the pass must know at each of its points: operands of its reductions, scratch writes and stores.
    pub fn roots(&self) -> Vec<Node> {
        let mut out = Vec::new();
        for r in &self.reduces {
            match r.kind {
                ReduceKind::Fold(_, e) => out.push(Node::Expr(e)),
                ReduceKind::Dot(a, b) => out.extend([Node::Expr(a), Node::Expr(b)]),
            }
        }
        out.extend(self.scratch.iter().map(|&(_, e)| Node::Expr(e)));
        for s in &self.stores {
            out.extend([Node::Index(s.index), Node::Expr(s.value)]);
            out.extend(s.valid.map(|b| Node::Index(b.index)));
        }
        out
    }
}

impl Kernel {
    /// Everything the roots depend on, operands first.
    ///
    /// # Errors
    /// If an id is out of range or the dependencies form a cycle.
    pub fn order(&self, roots: impl IntoIterator<Item = Node>) -> Result<Vec<Node>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let ne = self.exprs.len();
        let slot = |n: Node| match n {
            Node::Expr(e) if e.index() < ne => Some(e.index()),
            Node::Index(i) if i.index() < self.indices.len() => Some(ne + i.index()),
            _ => None,
        };
        let mut marks = vec![Mark::New; ne + self.indices.len()];
        let mut out = Vec::new();
        let mut stack: Vec<Node> = roots.into_iter().collect();
        stack.reverse();
        while let Some(&n) = stack.last() {
            let Some(s) = slot(n) else { bail!(Internal, "kernel: {n:?} does not exist") };
            match marks[s] {
                Mark::Done => {
                    stack.pop();
                }
                Mark::Open => {
                    // Its operands are done: everything pushed above it has been popped.
                    marks[s] = Mark::Done;
                    out.push(n);
                    stack.pop();
                }
                Mark::New => {
                    marks[s] = Mark::Open;
                    let at = stack.len();
                    let mut push = |m: Node| stack.push(m);
                    match n {
                        Node::Expr(e) => self.exprs[e.index()].operands(&mut push),
                        Node::Index(i) => self.indices[i.index()].operands(&mut push),
                    }
                    stack[at..].reverse();
                    // An open operand below us in the stack waits for us: a cycle.
                    for &m in &stack[at..] {
                        if slot(m).is_some_and(|t| marks[t] == Mark::Open) {
                            bail!(Internal, "kernel: {n:?} and {m:?} depend on each other");
                        }
                    }
                }
            }
        }
        Ok(out)
    }
}
