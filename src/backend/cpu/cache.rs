//! The kernel cache: tile programs by the structure of their kernel.
//!
//! The key holds all the compiler reads (expressions, dtypes, how each load and store reaches its elements) and nothing it does not:
//! extents, strides and offsets are data, so the same kernel for another batch size hits.

use super::compile::{StoreStyle, compile};
use super::nest::{Analysis, Path};
use super::program::Program;
use crate::backend::counters;
use crate::base::Result;
use crate::base::Scalar;
use crate::loops::{Bound, ExprKind, Index, ReduceKind};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of programs and keys kept.
const LIMIT: usize = 64 << 20;

/// Set by whoever comes first; the others wait.
type Cell = Arc<OnceLock<Result<Arc<Vec<Program>>>>>;

struct Entry {
    cell: Cell,
    /// 0 while it is being compiled.
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Inner {
    map: HashMap<Box<[u32]>, Entry>,
    bytes: usize,
    clock: u64,
}

/// The cache.
#[derive(Default)]
pub struct Cache(Mutex<Option<Inner>>);

impl Cache {
    /// Empty.
    pub const fn new() -> Cache {
        Cache(Mutex::new(None))
    }

    /// The programs of passes `first..` of the analysed kernel.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn get(&self, an: &mut Analysis<'_>, first: usize, style: StoreStyle, scatter: bool) -> Result<Arc<Vec<Program>>> {
        let key = key(an, first, style, scatter).into_boxed_slice();
        let cell = {
            let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let inner = guard.get_or_insert_default();
            inner.clock += 1;
            let now = inner.clock;
            match inner.map.get_mut(&key) {
                Some(e) => {
                    e.used = now;
                    e.cell.clone()
                }
                None => inner.map.entry(key.clone()).or_insert(Entry { cell: Cell::default(), bytes: 0, used: now }).cell.clone(),
            }
        };
        let mut compiled = false;
        let programs = cell
            .get_or_init(|| {
                compiled = true;
                Ok(Arc::new((first..an.k.passes.len()).map(|p| compile(an, p, style, scatter, false)).collect::<Result<Vec<_>>>()?))
            })
            .clone();
        if !compiled {
            counters::KERNEL_HITS.fetch_add(1, Relaxed);
            return programs;
        }
        counters::COMPILES.fetch_add(1, Relaxed);
        self.account(&key, programs.as_ref().map_or(0, |p| key.len() * 4 + p.iter().map(size).sum::<usize>()));
        programs
    }

    /// Notes the size of what was compiled (0: it failed, forget it) and lets old programs go.
    fn account(&self, key: &[u32], bytes: usize) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = guard.get_or_insert_default();
        if bytes == 0 {
            inner.map.remove(key);
        } else if let Some(e) = inner.map.get_mut(key) {
            inner.bytes += bytes - e.bytes;
            e.bytes = bytes;
        }
        while inner.bytes > LIMIT && inner.map.len() > 1 {
            let done = inner.map.iter().filter(|e| e.1.bytes > 0 && **e.0 != *key);
            let Some(oldest) = done.min_by_key(|e| e.1.used).map(|e| e.0.clone()) else { break };
            if let Some(e) = inner.map.remove(&oldest) {
                inner.bytes -= e.bytes;
            }
        }
    }
}

fn size(p: &Program) -> usize {
    (p.once.len() + p.base.len() + p.body.len()) * 24 + p.slots.len() * 4 + p.consts.len() * 8 + p.accesses.len() * 12 + 512
}

fn key(an: &Analysis<'_>, first: usize, style: StoreStyle, scatter: bool) -> Vec<u32> {
    let k = an.k;
    let ne = k.exprs.len();
    let mut out: Vec<u32> = Vec::with_capacity(an.order.len() * 6 + 64);
    let wide = |x: u64, out: &mut Vec<u32>| out.extend([x as u32, (x >> 32) as u32]);
    let scalar = |s: &Scalar, out: &mut Vec<u32>| {
        out.push(s.category() as u32);
        wide(s.bits(), out);
    };
    let path = |p: Path| match p {
        Path::Uniform => 0,
        Path::Stream => 1,
        Path::Indexed => 2,
        Path::Walk(w) => 3 + w as u32,
        Path::Staged(s) => 1 << 20 | s as u32,
    };
    let index = |i: crate::loops::IndexId, out: &mut Vec<u32>| {
        let i = i.index();
        let f = &an.forms[i];
        out.extend([i as u32, an.line_of[i] as u32, an.iota[i] as u32, an.index_level[i] as u32, f.atoms.len() as u32]);
        if an.line_of[i] != super::nest::NO_LINE {
            out.push(
                an.affine_zero(i) as u32 | (an.affine_varies(i) as u32) << 1 | (an.is_run(crate::loops::IndexId(i as u32)) as u32) << 2,
            );
        }
        for &(a, c) in &f.atoms {
            out.push(a);
            wide(c as u64, out);
        }
    };
    let bounds = |mask: &[Bound], exact: bool, out: &mut Vec<u32>| {
        out.push(mask.len() as u32);
        for b in mask {
            index(b.index, out);
            if exact {
                wide(b.lo as u64, out);
                wide(b.hi as u64, out);
            }
        }
    };
    out.extend([
        an.nest.mode as u32,
        first as u32,
        style.late as u32,
        scatter as u32,
        k.passes.len() as u32,
        ne as u32,
        k.indices.len() as u32,
    ]);
    wide(style.stream, &mut out);
    out.extend(k.args.iter().map(|a| a.dtype as u32));
    out.push(u32::MAX);
    out.extend(k.scratch.iter().map(|&d| d as u32));
    out.push(u32::MAX);
    for (p, pass) in k.passes.iter().enumerate() {
        out.extend([pass.row as u32, pass.reduces.len() as u32, pass.scratch.len() as u32, pass.stores.len() as u32]);
        for r in &pass.reduces {
            match r.kind {
                ReduceKind::Fold(kind, e) => out.extend([kind as u32, e.0, u32::MAX]),
                ReduceKind::Dot(a, b) => out.extend([99, a.0, b.0]),
            }
        }
        out.extend(pass.scratch.iter().flat_map(|s| [s.0.0, s.1.0]));
        for (s, st) in pass.stores.iter().enumerate() {
            out.extend([st.arg.0, st.value.0, path(an.stores[p][s]), st.valid.is_some() as u32]);
            index(st.index, &mut out);
            bounds(st.valid.as_slice(), true, &mut out);
        }
    }
    for &x in &an.order {
        out.push(x);
        let x = x as usize;
        if x >= ne {
            match k.indices[x - ne] {
                Index::Div(y, c) => {
                    out.extend([1, y.0]);
                    wide(c as u64, &mut out);
                }
                Index::Mod(y, c) => {
                    out.extend([2, y.0]);
                    wide(c as u64, &mut out);
                }
                Index::Value(e, n) => {
                    out.extend([3, e.0]);
                    wide(n as u64, &mut out);
                }
                _ => out.push(4),
            }
            index(crate::loops::IndexId((x - ne) as u32), &mut out);
            continue;
        }
        let e = &k.exprs[x];
        out.push(e.dtype as u32 | (an.level[x] as u32) << 8);
        match &e.kind {
            ExprKind::Const(c) => {
                out.push(0);
                scalar(c, &mut out);
            }
            ExprKind::Param(i) => out.extend([1, *i]),
            ExprKind::Load { arg, index: i, mask, fill } => {
                out.extend([2, arg.0, path(an.paths[x])]);
                scalar(fill, &mut out);
                index(*i, &mut out);
                bounds(mask, an.paths[x] == Path::Indexed, &mut out);
            }
            ExprKind::Index(i) => {
                out.push(3);
                index(*i, &mut out);
            }
            ExprKind::InBounds(mask) => {
                out.extend([4, path(an.paths[x])]);
                bounds(mask, an.paths[x] == Path::Indexed, &mut out);
            }
            ExprKind::Unary(u, a) => out.extend([5, *u as u32, a.0]),
            ExprKind::Binary(b, x, y) => out.extend([6, *b as u32, x.0, y.0]),
            ExprKind::Compare(c, x, y) => out.extend([7, *c as u32, x.0, y.0]),
            ExprKind::Select(a, b, c) => out.extend([8, a.0, b.0, c.0]),
            ExprKind::Cast(a) => out.extend([9, a.0]),
            ExprKind::Random(a, b, i) => {
                out.extend([10, a.0, b.0]);
                index(*i, &mut out);
            }
            ExprKind::Reduced(p, r) => out.extend([11, *p, *r]),
            ExprKind::Scratch(s) => out.extend([12, s.0]),
        }
    }
    out
}
