//! Grouping: which values are computed in which kernel, and which of them are stored.
//!
//! Values are placed last to first, so that a producer sees where all its consumers went. It joins a consumer's group where that is
//! legal (same iteration domain, no cycle among groups, one contraction a kernel, rows that stay in cache), is computed again inside
//! its consumers where that is cheap, and else founds a group of its own. Then siblings that share reads are merged.

use super::Limits;
use super::attention::{self, Attention};
use super::cost::{self, Cone, Edge, Runs};
use super::report::{Reason, Refusal};
use crate::trace::{Op, Trace, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;

/// A kernel to be.
pub type GroupId = u32;

/// Rows longer than this are not revisited within a kernel: they would fall out of the cache.
pub(super) const MAX_ROW: usize = 32 * 1024;
/// A value this dear may be computed again in several kernels instead of being stored.
const RECOMPUTE: u32 = 6;
/// Work per element that may be repeated inside one kernel where a value is read at several places.
const REPEAT: u32 = 16;

/// Most reductions of a kernel: each may be a pass of its own over the row, which computes again what it needs.
const MAX_REDUCTIONS: usize = 32;

/// What sort of kernel a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Elementwise ops and reductions.
    Loop,
    /// With that dot or convolution at its heart.
    Contraction(ValueId),
    /// That product of the weights of an attention and its values, and all that leads to the weights.
    Attention(ValueId),
    /// Writes the updates of that scatter.
    Scatter(ValueId),
    /// Writes what that scatter starts from.
    Init(ValueId),
    /// That argsort or cumulative scan.
    Row(ValueId),
    /// That branch or loop: programs of their own.
    Control(ValueId),
}

/// At which rank of a group's nest a value is computed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Once per point of the whole domain.
    Elem,
    /// Once per row.
    Row,
    /// Wherever it is read, perhaps several times.
    Free,
    /// Only as a factor of the contraction.
    Factor,
}

/// A kernel to be.
#[derive(Clone, Debug)]
pub struct Group {
    /// What sort.
    pub kind: Kind,
    /// Domain axes in row-major order: extent, part of the row.
    pub axes: Runs,
    /// Values that live here and nowhere else.
    pub members: Vec<ValueId>,
    /// How many of them are reductions.
    pub reductions: usize,
    /// How many values besides it computes for itself.
    pub again: usize,
    /// Groups that read what this one stores.
    pub succ: Vec<GroupId>,
    /// Merged into another group.
    pub dead: bool,
}

impl Group {
    pub(super) fn has_row(&self) -> bool {
        self.axes.iter().any(|a| a.1)
    }

    pub(super) fn numel(&self) -> usize {
        self.axes.iter().map(|a| a.0).product()
    }

    pub(super) fn outer(&self) -> usize {
        self.axes.iter().filter(|a| !a.1).map(|a| a.0).product()
    }

    pub(super) fn runs(&self) -> Runs {
        merge(&self.axes)
    }

    /// How many values it computes.
    pub(super) fn size(&self) -> usize {
        self.members.len() + self.again
    }

    /// Whether it could take so many more values, so many of them reductions.
    pub(super) fn has_room(&self, limits: &Limits, values: usize, reductions: usize) -> bool {
        self.size() + values <= limits.values && self.reductions + reductions <= MAX_REDUCTIONS
    }
}

fn merge(axes: &[(usize, bool)]) -> Runs {
    let extents: SmallVec<[usize; 6]> = axes.iter().map(|a| a.0).collect();
    cost::runs(&extents, |i| axes[i].1)
}

pub(super) fn row_len(r: &Runs) -> usize {
    r.iter().filter(|a| a.1).map(|a| a.0).product()
}

/// The result of grouping.
pub struct Grouping {
    /// Kernels to be; skip the dead ones.
    pub groups: Vec<Group>,
    /// The group a value lives in.
    pub home: Vec<Option<GroupId>>,
    /// The level of a value in its home.
    pub level: Vec<Level>,
    /// Values whose elements are written to memory.
    pub stored: Vec<bool>,
    /// Single numbers that every kernel computes for itself, also where they are stored.
    pub recomputed: Vec<bool>,
    /// Products that are the last step of an attention.
    pub attentions: HashMap<ValueId, Attention>,
    /// Why values were not fused.
    pub refusals: Vec<Refusal>,
}

struct Use {
    group: GroupId,
    level: Level,
    /// All reads in that group spread the value over these runs.
    spread: Option<Runs>,
    reads: u32,
}

pub(super) struct Grouper<'a> {
    pub(super) t: &'a Trace,
    pub(super) limits: &'a Limits,
    cones: Vec<Cone>,
    /// Consumers of each value: who, through which views, as which operand.
    pub(super) uses: Vec<SmallVec<[(ValueId, Edge, u8); 2]>>,
    pub(super) output: Vec<bool>,
    pub(super) place: Vec<SmallVec<[(GroupId, Level); 2]>>,
    pub(super) g: Grouping,
    fuse: bool,
}

/// Groups the values of a simplified trace. `fuse = false` gives every op a kernel of its own (views still cost nothing).
pub fn group(t: &Trace, fuse: bool, limits: &Limits) -> Grouping {
    let n = t.insts.len();
    let mut uses: Vec<SmallVec<[(ValueId, Edge, u8); 2]>> = vec![SmallVec::new(); n];
    for c in t.values().filter(|&c| !t[c].op.is_view()) {
        for (i, &a) in t[c].args.iter().enumerate() {
            let (b, edge) = cost::base_of(t, a);
            uses[b.index()].push((c, edge, i as u8));
        }
    }
    let mut output = vec![false; n];
    for &o in &t.outputs {
        output[cost::base_of(t, o).0.index()] = true;
    }
    let g = Grouping {
        groups: Vec::new(),
        home: vec![None; n],
        level: vec![Level::Elem; n],
        stored: vec![false; n],
        recomputed: vec![false; n],
        attentions: if fuse { attention::find(t, &uses, &output) } else { HashMap::new() },
        refusals: Vec::new(),
    };
    let mut s = Grouper { t, limits, cones: cost::cones(t), uses, output, place: vec![SmallVec::new(); n], g, fuse };
    for v in t.values().rev() {
        s.place(v);
    }
    if fuse {
        s.merge_siblings();
        s.merge_readers();
        s.keep_private();
    }
    s.g
}

impl Grouper<'_> {
    fn place(&mut self, v: ValueId) {
        let op = &self.t[v].op;
        if self.g.home[v.index()].is_some() {
            // A step of an attention, which its last step brought along.
            return;
        }
        if let Op::Region(_) = op {
            // Its results founded the group.
            return;
        }
        if op.is_view() || matches!(op, Op::Input(_)) || (self.uses[v.index()].is_empty() && !self.output[v.index()]) {
            return;
        }
        let uses = self.collect(v);
        match op {
            Op::Reduce(..) | Op::Dot | Op::Conv(_) => self.place_heavy(v, uses),
            Op::Scatter(..) => {
                let updates = self.t.shape(self.t[v].args[2]).clone();
                let g = self.found(Kind::Scatter(v), &updates, v, &uses);
                let init = self.new_group(Kind::Init(v), &self.t.shape(v).clone());
                self.g.groups[init as usize].succ.push(g);
            }
            Op::Output(_) => {
                let region = self.t[v].args[0];
                match self.place[region.index()].first() {
                    Some(&(g, _)) => {
                        self.settle(v, g, Level::Elem, &uses);
                        self.g.stored[v.index()] = true;
                    }
                    None => {
                        let g = self.found(Kind::Control(region), &[], v, &uses);
                        self.place[region.index()].push((g, Level::Elem));
                    }
                }
            }
            Op::ArgSort(_) | Op::Cumulative { .. } => {
                let g = self.found(Kind::Row(v), &self.t.shape(v).clone(), v, &uses);
                let axis = match self.t[v].op {
                    Op::Cumulative { axis, .. } => axis as usize,
                    _ => self.t.shape(v).rank() - 1,
                };
                let axes = self.t.shape(v).iter().enumerate().map(|(i, &d)| (d, i == axis)).collect();
                self.g.groups[g as usize].axes = axes;
            }
            _ => self.place_light(v, uses),
        }
    }

    /// Where and how the value is read, one entry a group.
    fn collect(&self, v: ValueId) -> SmallVec<[Use; 2]> {
        let mut out: SmallVec<[Use; 2]> = SmallVec::new();
        for (c, edge, operand) in &self.uses[v.index()] {
            for &(g, at) in &self.place[c.index()] {
                let (g, level) = self.level_of_use(*c, at, g, edge, *operand);
                let spread = match edge {
                    Edge::Spread(r) if at == Level::Elem && matches!(self.g.groups[g as usize].kind, Kind::Loop) && self.reads_each(*c) => {
                        Some(r.clone())
                    }
                    _ => None,
                };
                match out.iter_mut().find(|u| u.group == g) {
                    Some(u) => {
                        u.reads += 1;
                        if u.level != level {
                            u.level = if u.level == Level::Factor || level == Level::Factor { Level::Factor } else { Level::Free };
                        }
                        if u.spread != spread {
                            u.spread = None;
                        }
                    }
                    None => out.push(Use { group: g, level, spread, reads: 1 }),
                }
            }
        }
        out
    }

    /// Elementwise ops and reductions read each element of their operands' domain once.
    fn reads_each(&self, c: ValueId) -> bool {
        self.t[c].op.is_elementwise() || matches!(self.t[c].op, Op::Reduce(..))
    }

    fn level_of_use(&self, c: ValueId, at: Level, g: GroupId, edge: &Edge, operand: u8) -> (GroupId, Level) {
        let group = &self.g.groups[g as usize];
        let elem = |aligned: Level| match edge {
            Edge::Aligned => aligned,
            Edge::Spread(r) if aligned == Level::Elem && group.has_row() && matches!(group.kind, Kind::Loop) && *r == group.runs() => {
                Level::Row
            }
            _ => Level::Free,
        };
        let level = match &self.t[c].op {
            Op::Dot | Op::Conv(_) | Op::Region(_) => Level::Factor,
            Op::Scatter(..) => {
                if operand == 0 {
                    // The scatter's starting values are written by the group made right after its own.
                    return (g + 1, elem(Level::Elem));
                }
                let same = self.t.shape(self.t[c].args[1]).numel() == self.t.shape(self.t[c].args[2]).numel();
                if operand == 2 || same { elem(Level::Elem) } else { Level::Free }
            }
            Op::ArgSort(_) | Op::Cumulative { .. } | Op::Reduce(..) => elem(Level::Elem),
            Op::Gather(_) => {
                let same = operand == 1 && self.t.shape(self.t[c].args[1]).numel() == self.t.shape(c).numel();
                if same && matches!(at, Level::Elem | Level::Row) { elem(at) } else { Level::Free }
            }
            op if op.is_elementwise() => match at {
                Level::Elem | Level::Row => elem(at),
                // A prologue of a factor is read like the factor itself.
                other => other,
            },
            _ => Level::Free,
        };
        (g, level)
    }

    fn new_group(&mut self, kind: Kind, shape: &[usize]) -> GroupId {
        let axes = shape.iter().map(|&d| (d, false)).collect();
        self.g.groups.push(Group { kind, axes, members: Vec::new(), reductions: 0, again: 0, succ: Vec::new(), dead: false });
        self.g.groups.len() as GroupId - 1
    }

    /// A group of its own for `v`, which is stored.
    fn found(&mut self, kind: Kind, shape: &[usize], v: ValueId, uses: &[Use]) -> GroupId {
        let g = self.new_group(kind, shape);
        self.settle(v, g, Level::Elem, uses);
        self.g.stored[v.index()] = true;
        g
    }

    /// `v` lives in `g`; other groups that read it load it.
    fn settle(&mut self, v: ValueId, g: GroupId, level: Level, uses: &[Use]) {
        self.g.home[v.index()] = Some(g);
        self.g.level[v.index()] = level;
        self.place[v.index()] = SmallVec::from_slice(&[(g, level)]);
        let group = &mut self.g.groups[g as usize];
        group.members.push(v);
        group.reductions += usize::from(matches!(self.t[v].op, Op::Reduce(..)));
        let mut stored = self.output[v.index()];
        for u in uses.iter().filter(|u| u.group != g) {
            stored = true;
            if !self.g.groups[g as usize].succ.contains(&u.group) {
                self.g.groups[g as usize].succ.push(u.group);
            }
        }
        self.g.stored[v.index()] |= stored;
    }

    /// Whether group `to` depends on group `from`.
    pub(super) fn path(&self, from: GroupId, to: GroupId) -> bool {
        let mut seen = vec![false; self.g.groups.len()];
        let mut stack = vec![from];
        while let Some(g) = stack.pop() {
            if g == to {
                return true;
            }
            if !std::mem::replace(&mut seen[g as usize], true) {
                stack.extend(&self.g.groups[g as usize].succ);
            }
        }
        false
    }

    /// Whether `v` may live in the group of use `k` while the other groups load it from there.
    fn host_is_acyclic(&self, uses: &[Use], k: usize) -> bool {
        uses.iter().enumerate().all(|(i, u)| i == k || u.group == uses[k].group || !self.path(u.group, uses[k].group))
    }

    fn refuse(&mut self, v: ValueId, u: &Use, reason: Reason) {
        self.g.refusals.push(Refusal { value: v, group: u.group, reason });
    }

    fn place_light(&mut self, v: ValueId, uses: SmallVec<[Use; 2]>) {
        let cone = self.cones[v.index()].clone();
        let is_output = self.output[v.index()];
        let shape = self.t.shape(v).clone();
        let buffered = uses.iter().any(|u| u.level == Level::Factor && self.reads_buffers(u.group));
        let number = self.fuse && shape.numel() == 1 && !cone.heavy && !buffered && cone.depth as usize <= self.limits.values;
        let always = matches!(self.t[v].op, Op::Const(_) | Op::Param(_)) || number;
        if !self.fuse && !always {
            self.found(Kind::Loop, &shape, v, &uses);
            return;
        }
        if always {
            self.g.recomputed[v.index()] = true;
            self.clone_into(v, &uses);
            if is_output {
                let g = self.new_group(Kind::Loop, &shape);
                self.g.home[v.index()] = Some(g);
                self.g.stored[v.index()] = true;
                self.g.groups[g as usize].members.push(v);
                self.place[v.index()].push((g, Level::Elem));
            }
            return;
        }
        if uses.is_empty() {
            self.found(Kind::Loop, &shape, v, &uses);
            return;
        }
        let single = uses.len() == 1;
        let factor = uses.iter().any(|u| u.level == Level::Factor);
        if factor {
            // A prologue: only for the one contraction that reads it, and only if it is no epilogue of something else.
            let u = &uses[0];
            let bytes = (shape.numel() * self.t.dtype(v).size()) as u64;
            let here = !is_output && !buffered && !cone.heavy;
            let prologue = single && u.reads == 1 && self.t[v].op.is_elementwise() && cone.reads <= 2 * bytes;
            if here && (prologue || matches!(self.t[v].op, Op::Iota(_)) || (cost::picks_one(self.t, v) && cone.cost <= RECOMPUTE)) {
                self.clone_into(v, &uses);
            } else {
                self.found(Kind::Loop, &shape, v, &uses);
            }
            return;
        }
        // Cheap enough to compute again in every kernel that reads it?
        let bytes = (shape.numel() * self.t.dtype(v).size()) as u64;
        if !single && !is_output && !cone.dot && cone.cost <= RECOMPUTE && cone.reads <= 2 * bytes + (64 << 10) {
            self.clone_into(v, &uses);
            return;
        }
        for k in 0..uses.len() {
            // Kernels with a template of their own store only their result.
            let plain = !matches!(self.g.groups[uses[k].group as usize].kind, Kind::Scatter(_) | Kind::Row(_)) || (single && !is_output);
            if plain && self.light_joins(v, &uses[k], &cone) {
                if !self.host_is_acyclic(&uses, k) {
                    self.refuse(v, &uses[k], Reason::Cycle);
                    continue;
                }
                if !single
                    && cone.dot
                    && !matches!(self.g.groups[uses[k].group as usize].kind, Kind::Loop if !self.g.groups[uses[k].group as usize].has_row())
                {
                    // It must be stored anyway: as an epilogue of its contraction it costs nothing.
                    self.refuse(v, &uses[k], Reason::Epilogue);
                    continue;
                }
                let level = self.join_light(&uses[k]);
                self.settle(v, uses[k].group, level, &uses);
                return;
            }
        }
        if single && !is_output && uses[0].level == Level::Free {
            let u = &uses[0];
            let stretch = self.g.groups[u.group as usize].numel() / shape.numel().max(1);
            let work = cone.cost.saturating_mul(u.reads);
            if !cone.dot && (work <= 4 || (stretch <= 1 && work <= REPEAT)) {
                self.clone_into(v, &uses);
                return;
            }
        }
        self.refuse(v, &uses[0], Reason::Domain);
        self.found(Kind::Loop, &shape, v, &uses);
    }

    /// A convolution, branch or loop reads its operands as buffers.
    fn reads_buffers(&self, g: GroupId) -> bool {
        match self.g.groups[g as usize].kind {
            Kind::Contraction(c) => matches!(self.t[c].op, Op::Conv(_)),
            Kind::Control(_) => true,
            _ => false,
        }
    }

    fn clone_into(&mut self, v: ValueId, uses: &[Use]) {
        self.place[v.index()] = uses.iter().map(|u| (u.group, u.level)).collect();
        if !matches!(self.t[v].op, Op::Const(_) | Op::Param(_)) {
            uses.iter().for_each(|u| self.g.groups[u.group as usize].again += 1);
        }
    }

    /// Whether a light value can be computed once per point or per row of the group.
    fn light_joins(&mut self, v: ValueId, u: &Use, cone: &Cone) -> bool {
        let group = &self.g.groups[u.group as usize];
        if !group.has_room(self.limits, 1, 0) {
            self.refuse(v, u, Reason::Size);
            return false;
        }
        match u.level {
            Level::Elem | Level::Row => true,
            Level::Free => {
                // A per-row value above a reduction: the group becomes a row kernel, expecting that reduction to join.
                let Some(r) = &u.spread else { return false };
                let fits = matches!(group.kind, Kind::Loop) && !group.has_row() && cone.reduce.as_ref() == Some(r);
                if fits && row_len(r) > MAX_ROW {
                    self.refuse(v, u, Reason::LongRow(row_len(r)));
                    return false;
                }
                fits
            }
            Level::Factor => false,
        }
    }

    fn join_light(&mut self, u: &Use) -> Level {
        if u.level != Level::Free {
            return u.level;
        }
        if let Some(r) = &u.spread {
            self.g.groups[u.group as usize].axes = r.clone();
        }
        Level::Row
    }

    fn place_heavy(&mut self, v: ValueId, uses: SmallVec<[Use; 2]>) {
        if self.fuse {
            for k in 0..uses.len() {
                let joins = match &self.t[v].op {
                    Op::Reduce(_, axes) => {
                        let s = self.t.shape(self.t[v].args[0]);
                        let r = cost::runs(s, |i| axes.contains(&(i as u8)));
                        self.reduce_joins(v, &uses[k], &r)
                    }
                    _ => self.contraction_joins(v, &uses[k]),
                };
                match joins {
                    Err(reason) => self.refuse(v, &uses[k], reason),
                    Ok(_) if !self.host_is_acyclic(&uses, k) => self.refuse(v, &uses[k], Reason::Cycle),
                    Ok(change) => {
                        self.apply(uses[k].group, change, v);
                        let level = if matches!(self.t[v].op, Op::Reduce(..)) { Level::Row } else { Level::Elem };
                        self.settle(v, uses[k].group, level, &uses);
                        self.attend(v, uses[k].group);
                        return;
                    }
                }
            }
        }
        let shape = self.t.shape(v).clone();
        match &self.t[v].op {
            Op::Reduce(_, axes) => {
                let s = self.t.shape(self.t[v].args[0]).clone();
                let g = self.found(Kind::Loop, &shape, v, &uses);
                self.g.level[v.index()] = Level::Row;
                self.place[v.index()][0].1 = Level::Row;
                self.g.groups[g as usize].axes = cost::runs(&s, |i| axes.contains(&(i as u8)));
            }
            _ => {
                let g = self.found(Kind::Contraction(v), &shape, v, &uses);
                self.attend(v, g);
            }
        }
    }

    /// If `v` is the last step of an attention, the others come to its group too.
    fn attend(&mut self, v: ValueId, g: GroupId) {
        let Some(a) = self.g.attentions.get(&v) else { return };
        let group = &mut self.g.groups[g as usize];
        group.kind = Kind::Attention(v);
        for &i in &a.inner {
            group.members.push(i);
            self.g.home[i.index()] = Some(g);
            self.g.level[i.index()] = Level::Factor;
            self.place[i.index()] = SmallVec::from_slice(&[(g, Level::Factor)]);
        }
    }

    fn reduce_joins(&self, v: ValueId, u: &Use, r: &Runs) -> Result<Change, Reason> {
        let group = &self.g.groups[u.group as usize];
        if !matches!(group.kind, Kind::Loop) {
            return Err(Reason::Kind);
        }
        if !group.has_room(self.limits, 1, 1) {
            return Err(Reason::Size);
        }
        let revisits = u.spread.is_some();
        if revisits && row_len(r) > MAX_ROW {
            return Err(Reason::LongRow(row_len(r)));
        }
        if group.has_row() {
            let same = group.runs() == *r;
            return if u.level == Level::Row && same { Ok(Change::None) } else { Err(Reason::Domain) };
        }
        match (&u.spread, u.level) {
            (Some(s), _) if s == r => Ok(Change::Rows(r.clone())),
            // What follows the reduction element for element becomes the row's epilogue.
            (None, Level::Elem) if group.numel() == self.t.shape(v).numel() && r.iter().any(|a| a.1) => Ok(Change::Epilogue(r.clone())),
            _ => Err(Reason::Domain),
        }
    }

    fn contraction_joins(&self, v: ValueId, u: &Use) -> Result<Change, Reason> {
        let group = &self.g.groups[u.group as usize];
        if !matches!(group.kind, Kind::Loop) {
            return Err(Reason::Kind);
        }
        if group.has_row() || u.level != Level::Elem || group.numel() != self.t.shape(v).numel() {
            return Err(Reason::Domain);
        }
        Ok(Change::Contraction)
    }

    fn apply(&mut self, g: GroupId, change: Change, v: ValueId) {
        match change {
            Change::None => {}
            Change::Rows(r) => self.g.groups[g as usize].axes = r,
            Change::Epilogue(r) => {
                self.g.groups[g as usize].axes = r;
                for m in self.g.groups[g as usize].members.clone() {
                    self.g.level[m.index()] = Level::Row;
                }
                // Also what is computed again in this group, wherever its place says so.
                for p in self.place.iter_mut() {
                    for e in p.iter_mut().filter(|e| e.0 == g && e.1 == Level::Elem) {
                        e.1 = Level::Row;
                    }
                }
            }
            Change::Contraction => {
                let group = &mut self.g.groups[g as usize];
                group.kind = Kind::Contraction(v);
                group.axes = self.t.shape(v).iter().map(|&d| (d, false)).collect();
            }
        }
    }
}

/// How a group changes when a heavy value joins it.
enum Change {
    None,
    /// Its whole domain gets a row.
    Rows(Runs),
    /// Its domain becomes the outer part of these.
    Epilogue(Runs),
    Contraction,
}
