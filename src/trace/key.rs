//! The canonical key of what is to be evaluated: one pass over a walk writes words that two programs share exactly if the
//! same plan serves both. Numbers the user supplies and call sites are not in it.

use super::graph::{Input, NodeRef, Owner, Recipe, Walk};
use super::ir::Trace;
use super::op::Op;
use super::region::{RegionKind, Trip};
use crate::base::{Scalar, Shape, Value};
use smallvec::SmallVec;

/// A canonical key and what it leaves out: the data a plan with this key is run on.
#[derive(Default)]
pub struct Keyed {
    /// The encoding.
    pub words: Vec<u64>,
    /// Leaves in order of first visit.
    pub leaves: SmallVec<[Value; 4]>,
    /// Parameters in canonical order.
    pub params: SmallVec<[Scalar; 4]>,
}

/// A 64-bit hash of a key.
pub fn hash(words: &[u64]) -> u64 {
    // Folded 128-bit multiplication, as in wyhash; hits compare whole keys, so only speed and spread matter.
    let mix = |a: u64, b: u64| {
        let m = (a as u128).wrapping_mul(b as u128);
        (m as u64) ^ (m >> 64) as u64
    };
    let (mut h, mut g) = (0x9e37_79b9_7f4a_7c15u64, 0xd6e8_feb8_6659_fd93u64);
    let mut pairs = words.chunks_exact(2);
    for p in &mut pairs {
        h = mix(h ^ p[0], g ^ p[1] ^ 0xa076_1d64_78bd_642f);
        g = g.rotate_left(23).wrapping_add(p[0]);
    }
    for &w in pairs.remainder() {
        h = mix(h ^ w, 0xe703_7ed1_a0b4_28db);
    }
    mix(h ^ words.len() as u64, g | 1)
}

#[inline]
fn tag(op: &Op) -> u64 {
    match op {
        Op::Unary(u) => 4 << 56 | *u as u64,
        Op::Binary(b) => 5 << 56 | *b as u64,
        op => rare_tag(op),
    }
}

fn rare_tag(op: &Op) -> u64 {
    let (t, sub): (u64, u64) = match op {
        Op::Input(n) => (1, *n as u64),
        Op::Param(n) => (2, *n as u64),
        Op::Const(_) => (3, 0),
        Op::Unary(u) => (4, *u as u64),
        Op::Binary(b) => (5, *b as u64),
        Op::Compare(c) => (6, *c as u64),
        Op::Select => (7, 0),
        Op::Cast => (8, 0),
        Op::Reduce(k, _) => (9, *k as u64),
        Op::Reshape => (10, 0),
        Op::Permute(_) => (11, 0),
        Op::Broadcast => (12, 0),
        Op::Slice(_) => (13, 0),
        Op::Pad(_) => (14, 0),
        Op::Flip(_) => (15, 0),
        Op::Concat(a) => (16, *a as u64),
        Op::Iota(a) => (17, *a as u64),
        Op::Gather(b) => (18, *b as u64),
        Op::Scatter(m, b) => (19, (*m as u64) << 8 | *b as u64),
        Op::Dot => (20, 0),
        Op::Conv(_) => (21, 0),
        Op::Random => (22, 0),
        Op::ArgSort(d) => (23, *d as u64),
        Op::Cumulative { kind, axis, reverse } => (24, (*kind as u64) << 16 | (*axis as u64) << 8 | *reverse as u64),
        Op::Region(r) => (
            25,
            match r.kind {
                RegionKind::Checkpoint(saved) => u64::from(saved) << 8,
                RegionKind::CustomJvp(_) => 1,
                RegionKind::CustomVjp(_) => 2,
                RegionKind::Cond(_) => 3,
                RegionKind::Loop(_) => 4,
            },
        ),
        Op::Output(i) => (26, *i as u64),
    };
    t << 56 | sub
}

fn shape_words(out: &mut Vec<u64>, s: &Shape) {
    out.push(s.rank() as u64);
    out.extend(s.iter().map(|&d| d as u64));
}

#[inline]
fn attributes(out: &mut Vec<u64>, op: &Op) {
    if !matches!(op, Op::Unary(_) | Op::Binary(_)) {
        rare_attributes(out, op);
    }
}

fn rare_attributes(out: &mut Vec<u64>, op: &Op) {
    match op {
        Op::Const(c) => out.push(c.bits()),
        Op::Reduce(_, a) | Op::Permute(a) | Op::Flip(a) => {
            out.push(a.len() as u64);
            out.extend(a.iter().map(|&x| x as u64));
        }
        Op::Slice(s) => {
            for part in [&s.start, &s.end, &s.step] {
                out.extend(part.iter().map(|&x| x as u64));
            }
        }
        Op::Pad(p) => {
            for part in [&p.lo, &p.hi] {
                out.extend(part.iter().map(|&x| x as u64));
            }
            out.push(p.value.bits());
        }
        Op::Conv(c) => {
            out.push(c.groups as u64);
            for i in 0..c.stride.len() {
                out.extend([c.stride[i] as u64, c.lo[i] as u64, c.hi[i] as u64, c.lhs_dilation[i] as u64, c.rhs_dilation[i] as u64]);
            }
        }
        Op::Region(r) => {
            trace_words(out, &r.body);
            if let RegionKind::Loop(l) = &r.kind {
                let trip = match l.trip {
                    Trip::Fixed => 0,
                    Trip::While(_) => 1,
                    Trip::Count => 2,
                };
                let flags = trip | u64::from(l.reverse) << 2 | u64::from(l.segment) << 3;
                out.extend([l.consts as u64, l.carry as u64, l.length.map_or(u64::MAX, |n| n as u64), flags]);
            }
            if let Some(other) = r.other() {
                trace_words(out, other);
            }
        }
        _ => {}
    }
}

/// Encodes a whole trace (the body of a region).
fn trace_words(out: &mut Vec<u64>, t: &Trace) {
    out.push(t.insts.len() as u64);
    for i in &t.insts {
        out.push(tag(&i.op) | (i.dtype as u64) << 40 | (i.args.len() as u64) << 48);
        shape_words(out, &i.shape);
        attributes(out, &i.op);
        out.extend(i.args.iter().map(|a| a.index() as u64));
    }
    out.push(t.outputs.len() as u64);
    out.extend(t.outputs.iter().map(|o| o.index() as u64));
}

/// The encoding of a whole trace: two traces have the same exactly if they compute the same from the same inputs and parameters.
pub fn of_trace(t: &Trace) -> Vec<u64> {
    let mut words = Vec::with_capacity(t.insts.len() * 6);
    trace_words(&mut words, t);
    words
}

/// Ops whose result shape is not given by operand shapes and attributes.
fn carries_shape(op: &Op) -> bool {
    matches!(op, Op::Reshape | Op::Broadcast | Op::Iota(_) | Op::Random | Op::Output(_))
}

const LEAF: u64 = 63 << 56;
const PARAM: u64 = 1 << 62;
const CONST: u64 = 1 << 63;

/// Encodes the walk; `roots` are the nodes whose values are wanted, in order.
pub fn encode<'a>(owner: &'a Owner, w: &Walk<'a>, roots: impl Iterator<Item = &'a NodeRef>) -> Keyed {
    let mut k = Keyed { words: Vec::with_capacity(w.order.len() * 4 + 8), ..Keyed::default() };
    for node in &w.order {
        let made = if node.value.get().is_some() { None } else { Some(node.recipe(owner)) };
        match made {
            Some(Recipe::Made(op, inputs)) => {
                k.words.push(tag(op) | (node.dtype as u64) << 40 | (inputs.len() as u64) << 48);
                if carries_shape(op) || inputs.iter().all(|i| !matches!(i, Input::Node(_))) {
                    shape_words(&mut k.words, &node.shape);
                }
                attributes(&mut k.words, op);
                for i in inputs {
                    let word = match i {
                        Input::Node(n) => n.number(w.generation).map_or(u64::MAX >> 3, u64::from),
                        Input::Number(n) if n.is_param => {
                            k.params.push(n.value());
                            PARAM | n.dtype as u64
                        }
                        Input::Number(n) => {
                            k.words.push(n.bits());
                            CONST | n.dtype as u64
                        }
                    };
                    k.words.push(word);
                }
            }
            _ => {
                k.words.push(LEAF | (node.dtype as u64) << 40 | (node.device.0 as u64) << 16);
                shape_words(&mut k.words, &node.shape);
                if let Some(v) = node.ready() {
                    k.leaves.push(v.clone());
                }
            }
        }
    }
    for r in roots {
        k.words.push(r.number(w.generation).map_or(u64::MAX, u64::from));
    }
    k
}
