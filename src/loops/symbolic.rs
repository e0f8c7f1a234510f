//! Symbolic analysis of a kernel's indices: each as a sum of multiples of atoms (axes, quotients, remainders, computed values),
//! and the interval it lies in, also under a mask.

use super::order::Node;
use super::{Bound, ExprId, Index, IndexId, Kernel};
use crate::base::error::bail;
use crate::base::{DType, Result};
use std::collections::HashMap;
use std::fmt::Write;

/// What a sum is made of. Numbers refer to interned sums, so sharing costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Atom {
    Axis(u8),
    Div(u32, i64),
    Mod(u32, i64),
    Value(ExprId, i64),
    /// A sum too long or too large to analyse.
    Opaque(IndexId),
}

/// `base + sum(coefficient * atom)`, atoms ascending, coefficients not 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Sum {
    base: i64,
    terms: Vec<(u32, i64)>,
}

/// Longest sum kept; a longer one becomes an opaque atom, which keeps the analysis linear in the kernel's size.
const MAX_TERMS: usize = 64;

impl Sum {
    /// `self + factor * other`, unless it overflows or grows too long.
    fn plus(&self, other: &Sum, factor: i64) -> Option<Sum> {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut a, mut b) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(x), Some(y)) => x.0.min(y.0),
                (Some(x), None) => x.0,
                (None, Some(y)) => y.0,
            };
            let x = a.next_if(|t| t.0 == next).map_or(0, |t| t.1);
            let y = b.next_if(|t| t.0 == next).map_or(0, |t| t.1).checked_mul(factor)?;
            let c = x.checked_add(y)?;
            if c != 0 {
                terms.push((next, c));
            }
        }
        let base = self.base.checked_add(other.base.checked_mul(factor)?)?;
        (terms.len() <= MAX_TERMS).then_some(Sum { base, terms })
    }

    fn coefficient(&self, atom: u32) -> i64 {
        self.terms.binary_search_by_key(&atom, |t| t.0).map_or(0, |k| self.terms[k].1)
    }
}

/// A sum with its inclusive ends.
type Bounded<'a> = (&'a Sum, i128, i128);

/// An inclusive interval, wide enough for any product of two i64.
type Interval = (i128, i128);

fn clamp((lo, hi): Interval) -> (i64, i64) {
    let c = |x: i128| x.clamp(i64::MIN as i128, i64::MAX as i128) as i64;
    (c(lo), c(hi))
}

/// Interval ends stop here: far beyond any index, and no sum or product of two of them and an i64 overflows unnoticed.
const FAR: i128 = 1 << 100;

fn scaled((lo, hi): Interval, c: i64) -> Interval {
    let end = |x: i128| x.saturating_mul(c as i128).clamp(-FAR, FAR);
    (end(lo).min(end(hi)), end(lo).max(end(hi)))
}

fn added(a: Interval, b: Interval) -> Interval {
    ((a.0 + b.0).clamp(-FAR, FAR), (a.1 + b.1).clamp(-FAR, FAR))
}

/// The analysed indices of one kernel.
pub struct Symbolic {
    extents: Vec<usize>,
    atoms: Vec<Atom>,
    atom_ids: HashMap<Atom, u32>,
    intervals: Vec<Interval>,
    sums: Vec<Sum>,
    sum_ids: HashMap<Sum, u32>,
    of: Vec<u32>,
}

impl Symbolic {
    /// Analyses every index of the kernel.
    ///
    /// # Errors
    /// If an index refers to a later one or to an axis or expression that does not exist, or divides by less than 1.
    pub fn new(k: &Kernel) -> Result<Symbolic> {
        let mut s = Symbolic {
            extents: k.axes.iter().map(|a| a.extent).collect(),
            atoms: vec![],
            atom_ids: HashMap::new(),
            intervals: vec![],
            sums: vec![],
            sum_ids: HashMap::new(),
            of: vec![],
        };
        for (n, index) in k.indices.iter().enumerate() {
            let mut bad = None;
            index.operands(|o| match o {
                Node::Index(i) if i.index() >= n => bad = Some(o),
                Node::Expr(e) if e.index() >= k.exprs.len() => bad = Some(o),
                _ => {}
            });
            if let Some(o) = bad {
                bail!(Internal, "kernel: index n{n} uses {o:?}, which does not come before it");
            }
            let sum = match *index {
                Index::Axis(a) if a as usize >= k.axes.len() => bail!(Internal, "kernel: index n{n} names axis {a} of {}", k.axes.len()),
                Index::Axis(a) => Some(s.atom(Atom::Axis(a), (0, (k.axes[a as usize].extent as i128 - 1).max(0)))),
                Index::Const(c) => Some(Sum { base: c, terms: vec![] }),
                Index::Add(a, b) => s.sum(a).plus(s.sum(b), 1),
                Index::Mul(a, c) => Sum::default().plus(s.sum(a), c),
                Index::Div(_, c) | Index::Mod(_, c) if c < 1 => bail!(Internal, "kernel: index n{n} divides by {c}"),
                Index::Div(a, c) => s.divided(a, c).map(|(q, r)| match s.within(&r, c) {
                    true => q,
                    false => {
                        let (lo, hi) = s.interval(&r, &s.intervals);
                        let r = s.intern(r);
                        let d = s.atom(Atom::Div(r, c), (lo.div_euclid(c as i128), hi.div_euclid(c as i128)));
                        // Cannot overflow: q has at most MAX_TERMS terms, and a longer sum is opaque below.
                        q.plus(&d, 1).unwrap_or(d)
                    }
                }),
                Index::Mod(a, c) => s.divided(a, c).map(|(_, r)| match s.within(&r, c) {
                    true => r,
                    false => {
                        let r = s.intern(r);
                        s.atom(Atom::Mod(r, c), (0, c as i128 - 1))
                    }
                }),
                Index::Value(_, c) if c < 0 => bail!(Internal, "kernel: index n{n} is clamped to 0..{c}"),
                Index::Value(e, 0) => {
                    let all = match k.exprs[e.index()].dtype {
                        DType::I32 => (i32::MIN as i128, i32::MAX as i128),
                        _ => (i64::MIN as i128, i64::MAX as i128),
                    };
                    Some(s.atom(Atom::Value(e, 0), all))
                }
                Index::Value(e, c) => Some(s.atom(Atom::Value(e, c), (0, c as i128 - 1))),
            };
            let sum = match sum {
                Some(sum) => sum,
                None => s.atom(Atom::Opaque(IndexId(n as u32)), (i64::MIN as i128, i64::MAX as i128)),
            };
            let id = s.intern(sum);
            s.of.push(id);
        }
        Ok(s)
    }

    fn sum(&self, i: IndexId) -> &Sum {
        &self.sums[self.of[i.index()] as usize]
    }

    fn intern(&mut self, sum: Sum) -> u32 {
        if let Some(&id) = self.sum_ids.get(&sum) {
            return id;
        }
        self.sums.push(sum.clone());
        self.sum_ids.insert(sum, self.sums.len() as u32 - 1);
        self.sums.len() as u32 - 1
    }

    fn atom(&mut self, atom: Atom, interval: Interval) -> Sum {
        let id = *self.atom_ids.entry(atom).or_insert_with(|| {
            self.atoms.push(atom);
            self.intervals.push(interval);
            self.atoms.len() as u32 - 1
        });
        Sum { base: 0, terms: vec![(id, 1)] }
    }

    /// `(q, r)` with index = c q + r, where r keeps what c does not divide.
    fn divided(&self, i: IndexId, c: i64) -> Option<(Sum, Sum)> {
        let s = self.sum(i);
        let part = |div: bool| s.terms.iter().filter(move |t| (t.1 % c == 0) == div).copied();
        let q = Sum { base: s.base.div_euclid(c), terms: part(true).map(|(a, k)| (a, k / c)).collect() };
        let r = Sum { base: s.base.rem_euclid(c), terms: part(false).collect() };
        Some((q, r)).filter(|(q, _)| q.terms.len() < MAX_TERMS)
    }

    fn within(&self, s: &Sum, c: i64) -> bool {
        let (lo, hi) = self.interval(s, &self.intervals);
        lo >= 0 && hi < c as i128
    }

    fn interval(&self, s: &Sum, atoms: &[Interval]) -> Interval {
        s.terms.iter().fold((s.base as i128, s.base as i128), |acc, &(a, c)| added(acc, scaled(atoms[a as usize], c)))
    }

    /// Replaces `c k (x / c) + k (x mod c)` by `k x` wherever both occur.
    fn rejoined(&self, s: &Sum) -> Sum {
        let mut s = s.clone();
        // A replacement may bring in another pair, of an earlier atom each time: the loop ends.
        'again: loop {
            for &(a, k) in &s.terms {
                let Atom::Mod(x, c) = self.atoms[a as usize] else { continue };
                let Some(&d) = self.atom_ids.get(&Atom::Div(x, c)) else { continue };
                if k.checked_mul(c) == Some(s.coefficient(d)) && d != a {
                    let pair =
                        Sum { base: 0, terms: vec![(a.min(d), if a < d { k } else { k * c }), (a.max(d), if a < d { k * c } else { k })] };
                    if let Some(t) = s.plus(&pair, -1).and_then(|t| t.plus(&self.sums[x as usize], k)) {
                        s = t;
                        continue 'again;
                    }
                }
            }
            return s;
        }
    }

    /// The inclusive interval the index lies in, over all points of the axes.
    pub fn range(&self, i: IndexId) -> (i64, i64) {
        let s = self.sum(i);
        let (a, b) = (self.interval(s, &self.intervals), self.interval(&self.rejoined(s), &self.intervals));
        clamp((a.0.max(b.0), a.1.min(b.1)))
    }

    /// The interval of every atom where all bounds hold, and the bounds as sums between inclusive ends; `None` if they hold
    /// nowhere.
    fn narrowed(&self, mask: &[Bound]) -> Option<(Vec<Interval>, Vec<Bounded<'_>>)> {
        let mut atoms = self.intervals.clone();
        let mut bounds: Vec<Bounded> =
            mask.iter().map(|b| (self.sum(b.index), b.lo as i128, b.hi as i128 - 1)).filter(|b| b.1 <= b.2).collect();
        if bounds.len() < mask.len() {
            return None;
        }
        // A bound on a sum narrows each of its atoms given the others; a narrowed quotient bounds its dividend.
        for _ in 0..3 {
            let mut derived = Vec::new();
            for &(sum, lo, hi) in &bounds {
                let all = self.interval(sum, &atoms);
                if all.0 > hi || all.1 < lo {
                    return None;
                }
                for &(a, c) in &sum.terms {
                    let base = (sum.base as i128, sum.base as i128);
                    let rest = sum.terms.iter().filter(|t| t.0 != a).fold(base, |acc, &(b, c)| added(acc, scaled(atoms[b as usize], c)));
                    // lo <= rest + c x <= hi
                    let (from, to) = (lo - rest.1, hi - rest.0);
                    let c = c as i128;
                    let floor = |x: i128, y: i128| if y > 0 { x.div_euclid(y) } else { (-x).div_euclid(-y) };
                    let (x, y) = if c > 0 { (from, to) } else { (to, from) };
                    // Smallest multiple of c not below x, largest not above y.
                    let (x, y) = (-floor(-x, c), floor(y, c));
                    let t = &mut atoms[a as usize];
                    *t = (t.0.max(x), t.1.min(y));
                    if t.0 > t.1 {
                        return None;
                    }
                    if let Atom::Div(n, c) = self.atoms[a as usize] {
                        derived.push((&self.sums[n as usize], t.0 * c as i128, t.1 * c as i128 + c as i128 - 1));
                    }
                }
            }
            if bounds.len() <= mask.len() {
                bounds.extend(derived);
            }
        }
        Some((atoms, bounds))
    }

    /// The inclusive interval each axis lies in where all bounds hold, as far as they show; `None` if they hold nowhere.
    pub fn axes_where(&self, mask: &[Bound]) -> Option<Vec<(i64, i64)>> {
        let (atoms, _) = self.narrowed(mask)?;
        let mut axes: Vec<(i64, i64)> = self.extents.iter().map(|&e| (0, (e as i64 - 1).max(0))).collect();
        for (atom, interval) in self.atoms.iter().zip(atoms) {
            if let Atom::Axis(a) = *atom {
                axes[a as usize] = clamp(interval);
            }
        }
        Some(axes)
    }

    /// The inclusive interval the index lies in where all bounds hold; `None` if they hold nowhere.
    pub fn range_where(&self, i: IndexId, mask: &[Bound]) -> Option<(i64, i64)> {
        let (atoms, mut bounds) = self.narrowed(mask)?;
        let s = self.sum(i);
        let mut best = self.interval(s, &atoms);
        let mut meet = |r: Interval| best = (best.0.max(r.0), best.1.min(r.1));
        let joined = self.rejoined(s);
        meet(self.interval(&joined, &atoms));
        // A bounded sum that is a part of the index (as a padded position is) takes its bounds with it.
        bounds.sort_by_key(|b| std::cmp::Reverse(b.0.terms.len()));
        for start in [s, &joined] {
            let (mut rest, mut part) = (start.clone(), (0, 0));
            for &(sum, lo, hi) in &bounds {
                let Some(&(a, c)) = sum.terms.first() else { continue };
                let m = rest.coefficient(a) / c;
                if m == 0 || sum.terms.iter().any(|&(a, c)| c.checked_mul(m) != Some(rest.coefficient(a))) {
                    continue;
                }
                let Some(less) = m.checked_neg().and_then(|n| rest.plus(sum, n)) else { continue };
                let own = self.interval(sum, &atoms);
                rest = less;
                part = added(part, scaled((own.0.max(lo), own.1.min(hi)), m));
            }
            meet(added(part, self.interval(&rest, &atoms)));
        }
        Some(clamp(best))
    }

    /// The index as base and stride per axis, if it is affine once simplified.
    pub fn affine(&self, i: IndexId) -> Option<(i64, Vec<i64>)> {
        let s = self.rejoined(self.sum(i));
        let mut strides = vec![0; self.extents.len()];
        for &(a, c) in &s.terms {
            let Atom::Axis(k) = self.atoms[a as usize] else { return None };
            strides[k as usize] = c;
        }
        Some((s.base, strides))
    }

    /// The stride of `axis` in the index, and whether the rest of it is always a multiple of `by`; `None` if it does not step evenly. `varies`:
    /// whether a computed value changes along the axis.
    pub fn along(&self, i: IndexId, axis: usize, by: i64, varies: impl Fn(ExprId) -> bool) -> Option<(i64, bool)> {
        let s = self.rejoined(self.sum(i));
        let (mut stride, mut multiple) = (0, s.base % by == 0);
        for &(a, c) in &s.terms {
            match self.atoms[a as usize] {
                Atom::Axis(k) if k as usize == axis => stride = c,
                Atom::Axis(k) if self.extents[k as usize] == 1 => {}
                _ => {
                    // What the atom is made of.
                    let (mut seen, mut todo) = (vec![false; self.atoms.len()], vec![a]);
                    while let Some(b) = todo.pop() {
                        if std::mem::replace(&mut seen[b as usize], true) {
                            continue;
                        }
                        match self.atoms[b as usize] {
                            Atom::Axis(k) if k as usize == axis => return None,
                            Atom::Value(e, _) if varies(e) => return None,
                            Atom::Opaque(_) => return None,
                            Atom::Div(n, _) | Atom::Mod(n, _) => todo.extend(self.sums[n as usize].terms.iter().map(|t| t.0)),
                            Atom::Axis(_) | Atom::Value(..) => {}
                        }
                    }
                    multiple &= c % by == 0;
                }
            }
        }
        Some((stride, multiple))
    }

    /// Whether two indices are equal at every point as far as their simplified sums show.
    pub fn same(&self, a: IndexId, b: IndexId) -> bool {
        a == b || self.rejoined(self.sum(a)) == self.rejoined(self.sum(b))
    }

    /// The axes that decide the index, if no computed value does.
    pub fn support(&self, i: IndexId) -> Option<Vec<usize>> {
        let (mut seen, mut todo, mut axes) = (vec![false; self.atoms.len()], vec![self.of[i.index()]], Vec::new());
        while let Some(s) = todo.pop() {
            for &(a, _) in &self.sums[s as usize].terms {
                if std::mem::replace(&mut seen[a as usize], true) {
                    continue;
                }
                match self.atoms[a as usize] {
                    Atom::Axis(k) => axes.push(k as usize),
                    Atom::Div(n, _) | Atom::Mod(n, _) => todo.push(n),
                    Atom::Value(..) | Atom::Opaque(_) => return None,
                }
            }
        }
        axes.sort_unstable();
        Some(axes)
    }

    /// The index at one point. Only where [`support`](Symbolic::support) is `Some`; computed values count as 0.
    pub fn at(&self, i: IndexId, point: &[i64]) -> i64 {
        let mut values: Vec<i64> = Vec::with_capacity(self.atoms.len());
        let sum = |s: &Sum, v: &[i64]| {
            s.terms.iter().fold(s.base, |acc, &(a, c)| acc.wrapping_add(c.wrapping_mul(v.get(a as usize).copied().unwrap_or(0))))
        };
        for atom in &self.atoms {
            // An atom's sum has only earlier atoms.
            values.push(match *atom {
                Atom::Axis(k) => point[k as usize],
                Atom::Div(n, c) => sum(&self.sums[n as usize], &values).div_euclid(c),
                Atom::Mod(n, c) => sum(&self.sums[n as usize], &values).rem_euclid(c),
                Atom::Value(..) | Atom::Opaque(_) => 0,
            });
        }
        sum(self.sum(i), &values)
    }

    /// The index as a formula (`1024*i0 + i1`), unless it is long.
    pub fn formula(&self, i: IndexId) -> Option<String> {
        let mut out = String::new();
        self.write_sum(self.of[i.index()], &mut out, 0)?;
        Some(out)
    }

    fn write_sum(&self, s: u32, out: &mut String, depth: usize) -> Option<()> {
        let s = &self.sums[s as usize];
        if depth > 6 || out.len() > 160 {
            return None;
        }
        let mut first = true;
        for &(a, c) in &s.terms {
            out.push_str(match (first, c < 0) {
                (true, false) => "",
                (true, true) => "-",
                (false, false) => " + ",
                (false, true) => " - ",
            });
            first = false;
            if c.unsigned_abs() != 1 {
                write!(out, "{}*", c.unsigned_abs()).ok()?;
            }
            match self.atoms[a as usize] {
                Atom::Axis(k) => write!(out, "i{k}").ok()?,
                Atom::Value(e, 0) => write!(out, "e{}", e.0).ok()?,
                Atom::Value(e, n) => write!(out, "clamp(e{}, {n})", e.0).ok()?,
                Atom::Opaque(i) => write!(out, "n{}", i.0).ok()?,
                Atom::Div(n, c) | Atom::Mod(n, c) => {
                    out.push('(');
                    let simple = self.sums[n as usize].terms.len() == 1 && self.sums[n as usize].base == 0;
                    if !simple {
                        out.push('(');
                    }
                    self.write_sum(n, out, depth + 1)?;
                    if !simple {
                        out.push(')');
                    }
                    let sign = if matches!(self.atoms[a as usize], Atom::Div(..)) { '/' } else { '%' };
                    write!(out, "{sign}{c})").ok()?;
                }
            }
        }
        match s.base {
            b if first => write!(out, "{b}").ok()?,
            0 => {}
            b if b < 0 => write!(out, " - {}", b.unsigned_abs()).ok()?,
            b => write!(out, " + {b}").ok()?,
        }
        Some(())
    }
}
