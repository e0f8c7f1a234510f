//! After grouping: groups that share what they read become one, so that memory is read and kernels are launched once.

use super::cost::{self, Edge, Runs};
use super::group::{Group, GroupId, Grouper, Kind, Level, MAX_ROW, row_len};
use crate::trace::{Op, ValueId};
use std::collections::HashMap;

impl Grouper<'_> {
    /// Merges elementwise groups, and row kernels over the same rows, into the kernels whose results they need: each row, or element, is still
    /// at hand there.
    pub(super) fn merge_readers(&mut self) {
        let reads = self.reads();
        for a in 0..self.g.groups.len() {
            let mut k = 0;
            while k < self.g.groups[a].succ.len() {
                let b = self.g.groups[a].succ[k];
                if self.reader_joins(a as GroupId, b, &reads) {
                    self.absorb(a as GroupId, b);
                    k = 0;
                } else {
                    k += 1;
                }
            }
        }
    }

    /// What only the value's own kernel reads, now that its readers have come there, is not stored any more.
    pub(super) fn keep_private(&mut self) {
        for v in self.t.values() {
            let Some(home) = self.g.home[v.index()] else { continue };
            let own = |c: ValueId| !self.place[c.index()].is_empty() && self.place[c.index()].iter().all(|p| p.0 == home);
            let uses = &self.uses[v.index()];
            if matches!(self.g.groups[home as usize].kind, Kind::Loop)
                && !self.output[v.index()]
                && !uses.is_empty()
                && uses.iter().all(|u| own(u.0))
            {
                self.g.stored[v.index()] = false;
            }
        }
    }

    /// Whether group `b`, elementwise or of the same rows, reads elements that group `a` reads or writes too, and of `a`'s results nothing
    /// but the same row's, or where `a` has no rows the same element's.
    fn reader_joins(&self, a: GroupId, b: GroupId, reads: &[Vec<ValueId>]) -> bool {
        let (x, y) = (&self.g.groups[a as usize], &self.g.groups[b as usize]);
        let runs = x.runs();
        let plain = !x.dead && !y.dead && matches!((x.kind, y.kind), (Kind::Loop, Kind::Loop));
        if !plain
            || !x.has_room(self.limits, y.size(), y.reductions)
            || ((y.has_row() || !x.has_row()) && y.runs() != runs)
            || (x.has_row() && (!runs.last().is_some_and(|r| r.1) || row_len(&runs) > MAX_ROW))
            || y.numel() != x.numel()
            || (!x.has_row() && x.numel() == 1)
            || x.succ.iter().any(|&s| s != b && self.path(s, b))
        {
            return false;
        }
        // How values are met going down from what `b` writes: element for element, or once a row.
        let mut at: HashMap<ValueId, Level> = HashMap::new();
        let mut open: Vec<(ValueId, Level)> = y.members.iter().map(|&m| (m, self.g.level[m.index()])).collect();
        let mut shared = false;
        while let Some((v, level)) = open.pop() {
            match at.insert(v, level) {
                Some(before) if before == level => continue,
                Some(_) => return false,
                None => {}
            }
            let op = &self.t[v].op;
            if matches!(op, Op::Const(_) | Op::Param(_)) || self.g.recomputed[v.index()] {
                at.remove(&v);
                continue;
            }
            let home = self.g.home[v.index()];
            if home.is_some_and(|h| h != b) || matches!(op, Op::Input(_)) {
                if home == Some(a) {
                    if level != self.g.level[v.index()] {
                        return false;
                    }
                    shared |= level == Level::Elem;
                } else {
                    shared |= level == Level::Elem && reads[a as usize].contains(&v);
                }
                continue;
            }
            let level = match op {
                op if op.is_elementwise() => level,
                // Over the whole row: it is one of the group.
                Op::Reduce(..) if level == Level::Row => Level::Elem,
                _ => return false,
            };
            for &o in &self.t[v].args {
                let (base, edge) = cost::base_of(self.t, o);
                let single = self.t.shape(base).numel() == 1;
                let below = match (edge, level) {
                    (Edge::Aligned, l) => l,
                    (Edge::Spread(r), Level::Elem) if r == runs && !single => Level::Row,
                    // Read in some other way: whatever it is, it must not come from `a`.
                    _ => {
                        if self.comes_from(a, base) {
                            return false;
                        }
                        continue;
                    }
                };
                open.push((base, below));
            }
        }
        shared
    }

    /// Whether computing `v` here would take a value of group `a`.
    fn comes_from(&self, a: GroupId, v: ValueId) -> bool {
        let mut seen = std::collections::HashSet::new();
        let mut open = vec![v];
        while let Some(v) = open.pop() {
            match self.g.home[v.index()] {
                Some(h) if h == a => return true,
                Some(_) => continue,
                None => {}
            }
            if seen.insert(v) {
                open.extend(self.t[v].args.iter().map(|&o| cost::base_of(self.t, o).0));
            }
        }
        false
    }

    /// Merges groups over one domain that read a common buffer, and tiny ones, so that reads and launches are shared.
    pub(super) fn merge_siblings(&mut self) {
        let reads = self.reads();
        let n = self.g.groups.len();
        let mut reads: Vec<Vec<ValueId>> = reads;
        for a in 0..n {
            for b in 0..n {
                if a == b || !self.mergeable(a, b, &reads) {
                    continue;
                }
                let (a, b) = (a as GroupId, b as GroupId);
                if self.path(a, b) || self.path(b, a) {
                    continue;
                }
                let as_row = self.g.groups[a as usize].has_row() && !self.g.groups[b as usize].has_row();
                let members = self.g.groups[b as usize].members.clone();
                self.absorb(a, b);
                for m in members.iter().filter(|m| as_row && self.g.home[m.index()] == Some(a)) {
                    self.g.level[m.index()] = Level::Row;
                }
                let moved = std::mem::take(&mut reads[b as usize]);
                reads[a as usize].extend(moved);
            }
        }
    }

    /// Group `b` becomes part of `a`.
    fn absorb(&mut self, a: GroupId, b: GroupId) {
        let mut from = std::mem::replace(
            &mut self.g.groups[b as usize],
            Group { kind: Kind::Loop, axes: Runs::new(), members: Vec::new(), reductions: 0, again: 0, succ: Vec::new(), dead: true },
        );
        for &m in &from.members {
            if self.g.home[m.index()] == Some(b) {
                self.g.home[m.index()] = Some(a);
            }
        }
        let into = &mut self.g.groups[a as usize];
        into.members.append(&mut from.members);
        into.reductions += from.reductions;
        into.again += from.again;
        for places in self.place.iter_mut().filter(|p| p.iter().any(|x| x.0 == b)) {
            if places.iter().any(|x| x.0 == a) {
                places.retain(|x| x.0 != b);
            } else {
                places.iter_mut().filter(|x| x.0 == b).for_each(|x| x.0 = a);
            }
        }
        for s in from.succ {
            if !into.succ.contains(&s) {
                into.succ.push(s);
            }
        }
        for (i, g) in self.g.groups.iter_mut().enumerate() {
            if g.succ.contains(&b) {
                g.succ.retain(|&s| s != b);
                if i != a as usize && !g.succ.contains(&a) {
                    g.succ.push(a);
                }
            }
        }
    }

    fn mergeable(&self, a: usize, b: usize, reads: &[Vec<ValueId>]) -> bool {
        let (x, y) = (&self.g.groups[a], &self.g.groups[b]);
        if x.dead || y.dead || !matches!((x.kind, y.kind), (Kind::Loop, Kind::Loop)) || !x.has_room(self.limits, y.size(), y.reductions) {
            return false;
        }
        // One element computed beside a row kernel with one row: saves a launch.
        if y.numel() == 1 && !y.has_row() && x.outer() == 1 && (x.has_row() || x.numel() == 1) {
            return true;
        }
        x.has_row() == y.has_row() && x.runs() == y.runs() && x.numel() > 1 && reads[b].iter().any(|v| reads[a].contains(v))
    }

    /// The buffers each group loads.
    fn reads(&self) -> Vec<Vec<ValueId>> {
        let mut out: Vec<Vec<ValueId>> = vec![Vec::new(); self.g.groups.len()];
        for v in self.t.values() {
            if !(self.g.stored[v.index()] || matches!(self.t[v].op, Op::Input(_))) || self.t.shape(v).numel() <= 1 {
                continue;
            }
            for (c, _, _) in &self.uses[v.index()] {
                for &(g, _) in &self.place[c.index()] {
                    if self.g.home[v.index()] != Some(g) && !out[g as usize].contains(&v) {
                        out[g as usize].push(v);
                    }
                }
            }
        }
        out
    }
}
