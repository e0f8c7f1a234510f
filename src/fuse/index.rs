//! Index arithmetic during lowering: linear combinations of atoms with known ranges, simplified as they are built, so that a chain
//! of views usually ends as a plain affine index.

use crate::loops::{ExprId, Index, IndexId};
use crate::trace::{Op, Trace, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Something an index varies with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Atom {
    /// A loop axis.
    Axis(u8),
    /// Quotient of a combination by a constant that does not divide it.
    Div(Lin, i64),
    /// Remainder of it.
    Mod(Lin, i64),
    /// A computed index, clamped to `0..n` (0: as it is).
    Value(ExprId, i64),
}

/// Position of an atom in its arena.
pub type AtomId = u32;

/// `base + sum(coefficient * atom)`, atoms ascending, no zero coefficients.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Lin {
    /// The constant part.
    pub base: i64,
    /// Atoms and their coefficients.
    pub terms: SmallVec<[(AtomId, i64); 3]>,
}

impl Lin {
    /// A constant.
    pub fn constant(c: i64) -> Lin {
        Lin { base: c, terms: SmallVec::new() }
    }
}

/// The arena of atoms of one kernel.
#[derive(Default)]
pub struct Indices {
    atoms: Vec<(Atom, i64, i64)>,
    ids: HashMap<Atom, AtomId>,
}

/// The index of each axis of a value.
pub type Point = SmallVec<[Lin; 4]>;

impl Indices {
    /// The combination that is one atom with values in `lo..=hi`.
    pub fn atom(&mut self, a: Atom, lo: i64, hi: i64) -> Lin {
        if lo == hi {
            return Lin::constant(lo);
        }
        let id = match self.ids.get(&a) {
            Some(&id) => id,
            None => {
                let id = self.atoms.len() as AtomId;
                self.atoms.push((a.clone(), lo, hi));
                self.ids.insert(a, id);
                id
            }
        };
        Lin { base: 0, terms: SmallVec::from_slice(&[(id, 1)]) }
    }

    /// Smallest and largest value.
    pub fn range(&self, l: &Lin) -> (i64, i64) {
        l.terms.iter().fold((l.base, l.base), |(lo, hi), &(a, c)| {
            let (_, x, y) = self.atoms[a as usize];
            let (p, q) = (c.saturating_mul(x), c.saturating_mul(y));
            (lo.saturating_add(p.min(q)), hi.saturating_add(p.max(q)))
        })
    }

    /// a * c.
    pub fn mul(&self, a: &Lin, c: i64) -> Lin {
        if c == 0 {
            return Lin::constant(0);
        }
        Lin { base: a.base * c, terms: a.terms.iter().map(|&(t, k)| (t, k * c)).collect() }
    }

    /// a + b.
    pub fn add(&self, a: &Lin, b: &Lin) -> Lin {
        let mut terms: SmallVec<[(AtomId, i64); 3]> = SmallVec::new();
        let (mut i, mut j) = (0, 0);
        while i < a.terms.len() || j < b.terms.len() {
            let x = a.terms.get(i).map_or(AtomId::MAX, |t| t.0);
            let y = b.terms.get(j).map_or(AtomId::MAX, |t| t.0);
            let mut c = 0;
            if x <= y {
                c += a.terms[i].1;
                i += 1;
            }
            if y <= x {
                c += b.terms[j].1;
                j += 1;
            }
            if c != 0 {
                terms.push((x.min(y), c));
            }
        }
        self.rejoin(Lin { base: a.base + b.base, terms })
    }

    /// `c*k * (x / c) + k * (x % c)` is `k * x`.
    fn rejoin(&self, l: Lin) -> Lin {
        for (i, &(t, k)) in l.terms.iter().enumerate() {
            let Atom::Mod(x, c) = &self.atoms[t as usize].0 else { continue };
            let Some(&div) = self.ids.get(&Atom::Div(x.clone(), *c)) else { continue };
            let Some(j) = l.terms.iter().position(|&(u, m)| u == div && m == k * c) else { continue };
            let rest =
                Lin { base: l.base, terms: l.terms.iter().enumerate().filter(|&(n, _)| n != i && n != j).map(|(_, &t)| t).collect() };
            return self.add(&rest, &self.mul(x, k));
        }
        l
    }

    /// The parts of `a` that a positive `c` divides (already divided), and the rest.
    fn split(&self, a: &Lin, c: i64) -> (Lin, Lin) {
        let (mut whole, mut rest) = (Lin::constant(a.base.div_euclid(c)), Lin::constant(a.base.rem_euclid(c)));
        for &(t, k) in &a.terms {
            if k % c == 0 { whole.terms.push((t, k / c)) } else { rest.terms.push((t, k)) }
        }
        (whole, rest)
    }

    /// Euclidean quotient by a positive constant.
    pub fn div(&mut self, a: &Lin, c: i64) -> Lin {
        if c == 1 {
            return a.clone();
        }
        let (whole, rest) = self.split(a, c);
        let (lo, hi) = self.range(&rest);
        if lo.div_euclid(c) == hi.div_euclid(c) {
            return self.add(&whole, &Lin::constant(lo.div_euclid(c)));
        }
        let q = self.atom(Atom::Div(rest, c), lo.div_euclid(c), hi.div_euclid(c));
        self.add(&whole, &q)
    }

    /// Euclidean remainder by a positive constant.
    pub fn rem(&mut self, a: &Lin, c: i64) -> Lin {
        if c == 1 {
            return Lin::constant(0);
        }
        let (_, rest) = self.split(a, c);
        let (lo, hi) = self.range(&rest);
        if lo.div_euclid(c) == hi.div_euclid(c) {
            return self.add(&rest, &Lin::constant(-c * lo.div_euclid(c)));
        }
        self.atom(Atom::Mod(rest, c), 0, c - 1)
    }

    /// Row-major offset of a point of `shape`.
    pub fn linear(&self, p: &Point, shape: &[usize]) -> Lin {
        let mut stride = 1i64;
        let mut out = Lin::constant(0);
        for (x, &d) in p.iter().zip(shape).rev() {
            out = self.add(&out, &self.mul(x, stride));
            stride *= d as i64;
        }
        out
    }

    /// The point of `shape` at a row-major offset.
    pub fn delinear(&mut self, l: &Lin, shape: &[usize]) -> Point {
        let mut out: Point = SmallVec::from_elem(Lin::constant(0), shape.len());
        let mut rest = l.clone();
        let first = shape.iter().position(|&d| d > 1).unwrap_or(0);
        for k in (0..shape.len()).rev() {
            if shape[k] <= 1 {
                continue;
            }
            if k == first {
                out[k] = rest;
                break;
            }
            out[k] = self.rem(&rest, shape[k] as i64);
            rest = self.div(&rest, shape[k] as i64);
        }
        out
    }

    /// The same elements in row-major order under another shape. Runs of equal axes are kept as they are.
    pub fn reshape(&mut self, p: &Point, from: &[usize], to: &[usize]) -> Point {
        if from == to {
            return p.clone();
        }
        // Walk both shapes in chunks of equal products, so that axes a reshape does not mix are not touched.
        let mut out: Point = SmallVec::new();
        let (mut i, mut j) = (0, 0);
        while i < from.len() || j < to.len() {
            let (a, b) = (i, j);
            let (mut m, mut n) = (1usize, 1usize);
            loop {
                if m == n && (i > a || j > b) && m != 1 {
                    break;
                }
                if m <= n && i < from.len() {
                    m *= from[i];
                    i += 1;
                } else if j < to.len() {
                    n *= to[j];
                    j += 1;
                } else if i < from.len() {
                    m *= from[i];
                    i += 1;
                } else {
                    break;
                }
            }
            let l = self.linear(&p[a..i].iter().cloned().collect(), &from[a..i]);
            out.extend(self.delinear(&l, &to[b..j]));
        }
        out
    }

    /// Where the operand of a view op is read for a point of its result. `Pad` is not handled here (it adds bounds).
    pub fn through(&mut self, t: &Trace, v: ValueId, p: &Point) -> Point {
        let inst = &t[v];
        let from = t.shape(inst.args[0]);
        match &inst.op {
            Op::Reshape => self.reshape(p, &inst.shape, from),
            Op::Permute(perm) => {
                let mut out: Point = SmallVec::from_elem(Lin::constant(0), from.rank());
                for (x, &k) in p.iter().zip(perm) {
                    out[k as usize] = x.clone();
                }
                out
            }
            Op::Broadcast => {
                let lead = p.len() - from.rank();
                from.iter().enumerate().map(|(k, &d)| if d == 1 { Lin::constant(0) } else { p[k + lead].clone() }).collect()
            }
            Op::Slice(s) => {
                p.iter().enumerate().map(|(k, x)| self.add(&self.mul(x, s.step[k] as i64), &Lin::constant(s.start[k] as i64))).collect()
            }
            Op::Flip(axes) => p
                .iter()
                .enumerate()
                .map(
                    |(k, x)| {
                        if axes.contains(&(k as u8)) { self.add(&Lin::constant(from[k] as i64 - 1), &self.mul(x, -1)) } else { x.clone() }
                    },
                )
                .collect(),
            Op::Pad(s) => p.iter().enumerate().map(|(k, x)| self.add(x, &Lin::constant(-(s.lo[k] as i64)))).collect(),
            _ => p.clone(),
        }
    }

    /// Writes the combination into a kernel's index arena; `memo` holds what was already written. Recursion is as deep as reshapes
    /// of reshapes that do not simplify: a handful.
    pub fn emit(&self, l: &Lin, out: &mut Vec<Index>, memo: &mut HashMap<Index, IndexId>) -> IndexId {
        fn put(i: Index, out: &mut Vec<Index>, memo: &mut HashMap<Index, IndexId>) -> IndexId {
            *memo.entry(i).or_insert_with(|| {
                out.push(i);
                IndexId(out.len() as u32 - 1)
            })
        }
        let mut acc: Option<IndexId> = None;
        for &(a, c) in &l.terms {
            let atom = match &self.atoms[a as usize].0 {
                Atom::Axis(k) => Index::Axis(*k),
                Atom::Value(e, n) => Index::Value(*e, *n),
                Atom::Div(x, d) => Index::Div(self.emit(x, out, memo), *d),
                Atom::Mod(x, d) => Index::Mod(self.emit(x, out, memo), *d),
            };
            let atom = put(atom, out, memo);
            let term = if c == 1 { atom } else { put(Index::Mul(atom, c), out, memo) };
            acc = Some(acc.map_or(term, |x| put(Index::Add(x, term), out, memo)));
        }
        match acc {
            None => put(Index::Const(l.base), out, memo),
            Some(x) if l.base == 0 => x,
            Some(x) => {
                let b = put(Index::Const(l.base), out, memo);
                put(Index::Add(x, b), out, memo)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_cancel() {
        let mut ix = Indices::default();
        let i = ix.atom(Atom::Axis(0), 0, 5);
        let p: Point = SmallVec::from_vec(vec![i.clone()]);
        let q = ix.reshape(&p, &[6], &[2, 3]);
        assert_eq!(ix.linear(&q, &[2, 3]), i);
        let (a, b) = (ix.atom(Atom::Axis(1), 0, 1), ix.atom(Atom::Axis(2), 0, 2));
        let p: Point = SmallVec::from_vec(vec![a.clone(), b.clone()]);
        let q = ix.reshape(&p, &[2, 3], &[6]);
        assert_eq!(ix.reshape(&q, &[6], &[2, 1, 3])[2], b);
        assert_eq!(ix.reshape(&q, &[6], &[2, 1, 3])[0], a);
    }

    #[test]
    fn axes_a_reshape_does_not_mix_are_kept() {
        let mut ix = Indices::default();
        let p: Point = (0..3).map(|k| ix.atom(Atom::Axis(k), 0, [3, 4, 5][k as usize] - 1)).collect();
        let q = ix.reshape(&p, &[3, 4, 5], &[3, 20]);
        assert_eq!(q[0], p[0]);
        assert_eq!(q[1], ix.add(&ix.mul(&p[1], 5), &p[2]));
        let r = ix.reshape(&p, &[3, 4, 5], &[1, 3, 1, 2, 2, 5]);
        assert_eq!((&r[1], &r[5]), (&p[0], &p[2]));
    }
}
