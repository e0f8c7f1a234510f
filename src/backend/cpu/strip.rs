//! Loops whose body is one pointwise kernel: all iterations run on one strip of the elements before the next strip is begun, so that what the loop
//! carries stays in the innermost cache. Strips do not depend on each other: they are shared among threads.

use super::compile::StoreStyle;
use super::drive::Driver;
use super::executable::{CpuExecutable, driver};
use super::nest::{self, Form};
use super::pool::Pool;
use super::run::{Task, with_scratch};
use crate::base::Result;
use crate::loops::schedule::Place;
use crate::loops::{Archetype, ExprKind, Index, IndexId, Kernel, LoopAxis};
use smallvec::SmallVec;

/// Elements of a strip: a few buffers of so many fit the L1, and passing from iteration to iteration costs little beside them.
const STRIP: usize = 2048;
/// With fewer elements there is nothing to gain.
const FEWEST: usize = 2 * STRIP;

/// An argument of the body's kernel.
#[derive(Clone, Copy)]
struct Operand {
    place: Place,
    /// Bytes from one element to the next; 0: one element for all.
    size: usize,
}

/// The body of a loop, prepared to run on strips.
pub(super) struct Strips {
    numel: usize,
    driver: Driver,
    operands: SmallVec<[Operand; 8]>,
}

/// Where a buffer of an iteration is: before the first one, and how far it moves from one iteration to the next.
#[derive(Clone, Copy)]
pub(super) struct Course {
    /// In even iterations.
    pub even: *mut u8,
    /// In odd ones.
    pub odd: *mut u8,
    /// Bytes from iteration to iteration.
    pub step: isize,
}

impl Course {
    /// Always in the same place.
    pub fn fixed(p: *mut u8) -> Course {
        Course { even: p, odd: p, step: 0 }
    }
}

/// The buffers of a run.
pub(super) struct Buffers<'a> {
    /// Of each input of the body.
    pub inputs: &'a [Course],
    /// Of each of its outputs.
    pub outputs: &'a [Course],
    /// The input that is the number of the iteration.
    pub number: usize,
}

// SAFETY: strips read and write disjoint parts, as `Strips::run` demands.
unsafe impl Sync for Buffers<'_> {}

/// Element by element in row-major order (`Some(true)`), the first element for all (`Some(false)`), or neither.
fn course(f: &Form, k: &Kernel, numel: usize) -> Option<bool> {
    if f.base != 0 || !f.atoms.is_empty() {
        return None;
    }
    if numel == 1 && f.strides.iter().all(|&s| s == 0) {
        return Some(false);
    }
    let mut want = 1;
    let dense = k.axes.iter().zip(&f.strides).rev().all(|(a, &s)| {
        let ok = a.extent == 1 || s == want;
        want *= a.extent as i64;
        ok
    });
    (dense && want == numel as i64).then_some(true)
}

impl Strips {
    /// If the program is one kernel that treats all elements alike, wherever they are.
    ///
    /// # Errors
    /// `Internal` if the kernel is malformed.
    pub fn new(exe: &CpuExecutable) -> Result<Option<Strips>> {
        let Some((k, style, places)) = exe.only_kernel() else { return Ok(None) };
        let numel = k.outer_len();
        if k.archetype != Archetype::Pointwise || numel < FEWEST || k.passes.len() != 1 || k.axes.iter().any(|a| a.row) {
            return Ok(None);
        }
        // A temporary has no place of its own in a strip.
        if places.iter().any(|p| matches!(p, Place::Arena(_))) {
            return Ok(None);
        }
        let forms = nest::forms(k);
        let mut q = k.clone();
        q.axes = vec![LoopAxis { extent: STRIP, row: false }];
        q.indices = vec![Index::Const(0), Index::Axis(0)];
        let mut moves: SmallVec<[Option<bool>; 8]> = SmallVec::from_elem(None, k.args.len());
        let mut place = |arg: usize, index: &mut IndexId| {
            let Some(m) = course(&forms[index.index()], k, k.args[arg].numel) else { return false };
            *index = IndexId(m as u32);
            moves[arg].replace(m).is_none_or(|before| before == m)
        };
        for e in &mut q.exprs {
            let plain = match &mut e.kind {
                ExprKind::Load { arg, index, mask, .. } => mask.is_empty() && place(arg.index(), index),
                ExprKind::Index(_) | ExprKind::InBounds(_) | ExprKind::Random(..) => false,
                _ => true,
            };
            if !plain {
                return Ok(None);
            }
        }
        for s in &mut q.passes[0].stores {
            if s.valid.is_some() || !place(s.arg.index(), &mut s.index) {
                return Ok(None);
            }
        }
        // A number for the whole kernel has one writer.
        if q.passes[0].stores.iter().any(|s| moves[s.arg.index()] != Some(true)) {
            return Ok(None);
        }
        let operands = places
            .into_iter()
            .zip(&k.args)
            .zip(moves)
            .map(|((place, a), m)| Operand { place, size: if m == Some(true) { a.dtype.size() } else { 0 } })
            .collect();
        let driver = driver(&q, StoreStyle { stream: 0, ..style })?;
        Ok(Some(Strips { numel, driver, operands }))
    }

    /// Runs `most` iterations.
    ///
    /// # Safety
    /// The courses lead to buffers of the program's inputs and outputs in every iteration; an element of an output is no other element of an input.
    pub unsafe fn run(&self, pool: &Pool, buffers: &Buffers<'_>, most: u64) {
        let b = &self.driver.b;
        let strip = |i: usize| {
            let (from, n) = (i * STRIP, STRIP.min(self.numel - i * STRIP));
            let mut number = 0i64;
            let number: *mut i64 = &raw mut number;
            let courses: SmallVec<[Course; 8]> = self
                .operands
                .iter()
                .map(|o| {
                    let c = match o.place {
                        Place::Input(k) if k as usize == buffers.number => Course::fixed(number.cast()),
                        Place::Input(k) => buffers.inputs[k as usize],
                        Place::Output(k) => buffers.outputs[k as usize],
                        Place::Arena(_) => unreachable!("such a kernel is not taken"),
                    };
                    let at = |p: *mut u8| p.wrapping_add(from * o.size);
                    Course { even: at(c.even), odd: at(c.odd), ..c }
                })
                .collect();
            let at = |t: u64, c: &Course| if t.is_multiple_of(2) { c.even } else { c.odd }.wrapping_offset(t as isize * c.step);
            let [mut even, mut odd] = [0, 1].map(|t| courses.iter().map(|c| at(t, c)).collect::<SmallVec<[*mut u8; 8]>>());
            let (tables, args) = ([even.as_mut_ptr(), odd.as_mut_ptr()], courses.len());
            let moving: SmallVec<[usize; 4]> = (0..args).filter(|&a| courses[a].step != 0).collect();
            with_scratch(b.task_bytes(), |mem| {
                // SAFETY: as promised; a strip is inside the buffers. The table that changes is not the one the task holds.
                unsafe {
                    let mut task = Task::start(b, std::slice::from_raw_parts(tables[0], args), std::ptr::null(), mem);
                    for t in 0..most {
                        *number = t as i64;
                        let table = tables[(t % 2) as usize];
                        if t >= 2 {
                            moving.iter().for_each(|&a| *table.add(a) = at(t, &courses[a]));
                        }
                        task.rebind(std::slice::from_raw_parts(table, args));
                        for k in 0..b.programs.len() {
                            task.enter(k);
                            task.place(k, 0);
                            task.tiles(k, 0, n);
                        }
                    }
                    task.finish();
                }
            });
        };
        pool.run(self.numel.div_ceil(STRIP), true, &strip);
    }
}
