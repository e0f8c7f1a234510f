//! How the lanes of a row meet: their partial results become one, which all of them then have.
//!
//! In workgroup memory, by halves, with a barrier each; or, where a subgroup's invocations are neighbours and their number is known, in subgroups, and
//! one value a subgroup through workgroup memory. Either way what is joined with what depends on the numbers of lanes only.

use super::{Emitter, Fold, Lanes, Rows};
use crate::base::DType;
use std::collections::BTreeMap;

/// What lanes meet with: a fold, and the variables of its value and perhaps its position.
pub(super) type Partial<'a> = (&'a Fold, String, String);

/// Where the partial results are in workgroup memory: an array and a place in it, for the value and perhaps the position.
type Places = Vec<(Place, Option<Place>)>;
type Place = (&'static str, u32);

fn at(place: &Place, at: &str) -> String {
    match place.1 {
        0 => format!("{}[{at}]", place.0),
        n => format!("{}[{at} + {n}u]", place.0),
    }
}

/// A value as memory and subgroups have it: no Bool.
fn outward(f: &Fold, value: &str) -> String {
    if f.dtype == DType::Bool { format!("select(0u, 1u, {value})") } else { value.to_string() }
}

/// And back.
fn inward(f: &Fold, text: &str) -> String {
    if f.dtype == DType::Bool { format!("({text} != 0u)") } else { text.to_string() }
}

/// Joins what another lane has, `theirs` at position `there`, as number `n` of those that meet.
fn join(e: &mut Emitter<'_>, n: usize, partial: &Partial<'_>, theirs: &str, there: &str) {
    let (f, value, position) = partial;
    if f.arg {
        e.line(format!("let v{n} = {theirs};"));
        e.line(format!("let w{n} = {there};"));
        let better = f.better(&format!("v{n}"), &format!("w{n}"), value, position);
        e.line(format!("if (w{n} != 0xffffffffu && ({better})) {{ {value} = v{n}; {position} = w{n}; }}"));
    } else {
        e.line(format!("{value} = {};", f.join(value, theirs)));
    }
}

impl Rows {
    /// Combines the lanes' partial results; afterwards all lanes of a row have them.
    pub(super) fn meet(&mut self, e: &mut Emitter<'_>, all: &[Partial<'_>]) {
        // Neighbours of a subgroup are of one row only where rows do not lie across.
        if e.target.subgroup > 1 && !self.lanes.across { self.in_subgroups(e, all) } else { self.by_halves(e, all) }
    }

    /// Room in workgroup memory for `size` of each.
    fn room(&mut self, all: &[Partial<'_>], size: u32) -> Places {
        let mut used: BTreeMap<&'static str, u32> = BTreeMap::new();
        let mut room_of = |name: &'static str, ty: &'static str| -> Place {
            let n = used.entry(name).or_default();
            let at = *n;
            *n += size;
            let known = self.shared.entry(name.to_string()).or_insert((ty, 0));
            known.1 = known.1.max(*n);
            (name, at)
        };
        let places = all.iter().map(|(f, ..)| {
            let (name, ty) = match f.dtype {
                DType::F32 | DType::F16 | DType::BF16 => ("shared_f", "f32"),
                DType::I32 => ("shared_i", "i32"),
                DType::F64 => ("shared_d", "f64"),
                DType::I64 => ("shared_l", "vec2<u32>"),
                // Bool too: workgroup memory holds what storage could.
                _ => ("shared_u", "u32"),
            };
            (room_of(name, ty), f.arg.then(|| room_of("shared_p", "u32")))
        });
        places.collect()
    }

    fn write(e: &mut Emitter<'_>, all: &[Partial<'_>], places: &Places, to: &str) {
        for ((f, value, position), (v, p)) in all.iter().zip(places) {
            e.line(format!("{} = {};", at(v, to), outward(f, value)));
            if let Some(p) = p {
                e.line(format!("{} = {position};", at(p, to)));
            }
        }
    }

    fn read(e: &mut Emitter<'_>, all: &[Partial<'_>], places: &Places, from: &str) {
        for ((f, value, position), (v, p)) in all.iter().zip(places) {
            e.line(format!("{value} = {};", inward(f, &at(v, from))));
            if let Some(p) = p {
                e.line(format!("{position} = {};", at(p, from)));
            }
        }
    }

    /// Joins what is in memory.
    fn join_from(e: &mut Emitter<'_>, all: &[Partial<'_>], places: &Places, from: &str) {
        for (n, (partial, (v, p))) in all.iter().zip(places).enumerate() {
            let there = p.as_ref().map_or(String::new(), |p| at(p, from));
            join(e, n, partial, &inward(partial.0, &at(v, from)), &there);
        }
    }

    /// Half of the lanes join what the other half has, and so on.
    fn by_halves(&mut self, e: &mut Emitter<'_>, all: &[Partial<'_>]) {
        let Lanes { lanes: t, rows, across, .. } = self.lanes;
        let places = self.room(all, t * rows);
        Self::write(e, all, &places, "lid");
        e.line("workgroupBarrier();");
        let stride = if across { rows } else { 1 };
        e.open(format!("for (var h = {}u; h > 0u; h = h >> 1u) {{", t / 2));
        e.open("if (lane < h) {");
        e.line(format!("let other = lid + h * {stride}u;"));
        Self::join_from(e, all, &places, "other");
        Self::write(e, all, &places, "lid");
        e.close();
        e.line("workgroupBarrier();");
        e.close();
        let base = if across { "sub".to_string() } else { format!("sub * {t}u") };
        Self::read(e, all, &places, &base);
        e.line("workgroupBarrier();");
    }

    /// Neighbours first; what a subgroup then has goes to the others of the row by way of workgroup memory.
    fn in_subgroups(&mut self, e: &mut Emitter<'_>, all: &[Partial<'_>]) {
        let Lanes { lanes: t, rows, .. } = self.lanes;
        let s = e.target.subgroup.min(t);
        Self::butterfly(e, all, s);
        // Subgroups of a row.
        let several = t / s;
        if several == 1 {
            return;
        }
        let places = self.room(all, several * rows);
        e.open(format!("if (lane % {s}u == 0u) {{"));
        Self::write(e, all, &places, &format!("(lid / {s}u)"));
        e.close();
        e.line("workgroupBarrier();");
        // Each lane of a subgroup takes one, or every so manieth.
        let each = several.min(s);
        e.open("{");
        e.line(format!("let first = sub * {several}u + lane % {each}u;"));
        Self::read(e, all, &places, "first");
        if several > each {
            e.open(format!("for (var j = {each}u; j < {several}u; j = j + {each}u) {{"));
            e.line("let other = first + j;");
            Self::join_from(e, all, &places, "other");
            e.close();
        }
        e.close();
        Self::butterfly(e, all, each);
        e.line("workgroupBarrier();");
    }

    /// Joins what `n` neighbours have, pairs at ever larger distances: afterwards all of them have it, to the bit, as joining is commutative.
    fn butterfly(e: &mut Emitter<'_>, all: &[Partial<'_>], n: u32) {
        for h in (0..n.ilog2()).map(|i| 1u32 << i) {
            e.open("{");
            for (n, partial) in all.iter().enumerate() {
                let (f, value, position) = partial;
                let theirs = inward(f, &format!("subgroupShuffleXor({}, {h}u)", outward(f, value)));
                join(e, n, partial, &theirs, &format!("subgroupShuffleXor({position}, {h}u)"));
            }
            e.close();
        }
    }
}
