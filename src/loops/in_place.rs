//! When a kernel may write a result over a buffer it reads.

use super::order::Node;
use super::{Access, Archetype, ArgId, ExprKind, IndexId, Kernel, Store};
use std::collections::HashSet;

impl Kernel {
    /// Whether argument `write` may be the same memory as argument `read`: each point reads of it only the element that the same point
    /// writes, no pass after the writing one reads it, and no other argument gets a plain copy of it. An emitter that is given such a pair loads all it needs of a point (or tile)
    /// before it stores anything of it.
    pub fn may_overwrite(&self, read: ArgId, write: ArgId) -> bool {
        let (r, w) = (&self.args[read.index()], &self.args[write.index()]);
        if r.access != Access::Read || w.access != Access::Write || r.numel != w.numel || r.dtype != w.dtype {
            return false;
        }
        // Factors of a contraction are read by points that write elsewhere; sorting moves whole rows.
        let first = match self.archetype {
            Archetype::Pointwise | Archetype::RowReduction | Archetype::ColumnReduction => 0,
            Archetype::Matmul => 1,
            _ => return false,
        };
        let stores = || self.passes.iter().enumerate().flat_map(|(p, pass)| pass.stores.iter().map(move |s| (p, s)));
        let mut to = stores().filter(|(_, s)| s.arg == write);
        let (Some((last, store)), None) = (to.next(), to.next()) else { return false };
        let copied = |s: &Store| matches!(&self.exprs[s.value.index()].kind, ExprKind::Load { arg, .. } if *arg == read);
        store.valid.is_none()
            && stores().all(|(_, s)| s.arg == write || !copied(s))
            && self.passes.iter().enumerate().all(|(p, pass)| {
                let Ok(needed) = self.order(pass.roots()) else { return false };
                needed.into_iter().all(|n| match n {
                    Node::Expr(e) => match &self.exprs[e.index()].kind {
                        ExprKind::Load { arg, index, .. } if *arg == read => {
                            p >= first && p <= last && self.same_index(*index, store.index)
                        }
                        _ => true,
                    },
                    Node::Index(_) => true,
                })
            })
    }

    /// Whether the kernel does nothing but copy `read` to `write`, element by element.
    pub fn copies(&self, read: ArgId, write: ArgId) -> bool {
        let [pass] = &self.passes[..] else { return false };
        let [store] = &pass.stores[..] else { return false };
        self.archetype == Archetype::Pointwise
            && store.arg == write
            && matches!(&self.exprs[store.value.index()].kind, ExprKind::Load { arg, index, mask, .. }
                if *arg == read && mask.is_empty() && self.same_index(*index, store.index))
            && self.may_overwrite(read, write)
    }

    /// Whether two index expressions are the same at every point and read no data.
    fn same_index(&self, a: IndexId, b: IndexId) -> bool {
        a == b && self.order([Node::Index(a)]).is_ok_and(|n| n.iter().all(|n| matches!(n, Node::Index(_))))
            || self.affine(a).is_some_and(|x| self.affine(b) == Some(x))
    }

    /// Pairs of a launch's arguments bound to one buffer that are no such case. `slots` is the buffer of each argument.
    pub(super) fn bad_overlap<S: Eq + std::hash::Hash + Copy>(&self, slots: &[S]) -> Option<(usize, usize)> {
        let written: HashSet<S> = slots.iter().zip(&self.args).filter(|(_, a)| a.access != Access::Read).map(|(s, _)| *s).collect();
        (0..slots.len()).filter(|&i| written.contains(&slots[i])).find_map(|i| {
            (i + 1..slots.len())
                .find(|&j| slots[i] == slots[j])
                .filter(|&j| {
                    let (i, j) = (ArgId(i as u32), ArgId(j as u32));
                    !self.may_overwrite(i, j) && !self.may_overwrite(j, i)
                })
                .map(|j| (i, j))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn kernel(text: &str) -> Kernel {
        text.trim_start().parse().unwrap()
    }

    #[test]
    fn rows_and_points_may_be_overwritten_others_not() {
        let k = kernel(samples::SOFTMAX);
        assert!(k.may_overwrite(ArgId(0), ArgId(1)) && !k.copies(ArgId(0), ArgId(1)));
        assert!(!k.may_overwrite(ArgId(1), ArgId(0)), "an argument that is read is not the one to write");
        // Read again after it was written.
        let late =
            samples::SOFTMAX.replace("args a0: read f32[6], a1: write f32[6]", "args a0: read f32[6], a1: write f32[6], a2: write f32[6]");
        let late = format!("{}pass 3 row\n  a2[n3] = e2\n", late.trim_start());
        assert!(!kernel(&late).may_overwrite(ArgId(0), ArgId(1)));
        assert!(kernel(&late).may_overwrite(ArgId(0), ArgId(2)));
        // Another number of elements.
        assert!(!kernel(samples::COLUMN).may_overwrite(ArgId(0), ArgId(1)));
        let reversed = "kernel pointwise\naxes 6\nargs a0: read f32[6], a1: write f32[6]\nn0 = i0\nn1 = n0 * -1\nn2 = 5\nn3 = n1 + n2\n\
             e0: f32 = load a0[n3]\npass 0 outer\n  a1[n0] = e0\n";
        assert!(!kernel(reversed).may_overwrite(ArgId(0), ArgId(1)));
        let copy = reversed.replace("a0[n3]", "a0[n0]");
        assert!(kernel(&copy).copies(ArgId(0), ArgId(1)));
    }
}
