//! Scatter kernels: tiles compute positions, validity and values; a loop applies them in row-major order.
//!
//! The order of updates is part of the result (the last one wins, sums round in order), so threads share out destinations. Where the outermost axis
//! decides which part of the destination its points update, each takes some of its indices; else each runs over all points and applies those that
//! fall into its range of the destination.

use super::drive::{Ptr, Ptrs};
use super::kernels::{Scalars, TileFn, TileOp, lookup};
use super::pool::Pool;
use super::program::{Instr, NONE, Program, Slot};
use super::run::{Bound, FETCH, Task, with_scratch};
use super::tile;
use crate::base::DType;
use crate::loops::{Arg, Index, IndexId, Kernel};
use crate::trace::ScatterMode;
use half::{bf16, f16};

/// A bound scatter kernel.
pub struct Scatter {
    /// Its program, which leaves positions and values in slots.
    pub b: Bound,
    /// What an update does.
    pub mode: ScatterMode,
    /// The destination.
    pub arg: usize,
    /// Its dtype.
    pub dtype: DType,
    /// Its elements.
    pub numel: usize,
    /// Updates a run of neighbouring elements; None for half types.
    run: Option<TileFn>,
    /// Base points of one index of the outermost axis, where no two of these update the same element.
    apart: Option<usize>,
    /// How positions follow from a buffer of indices, where the tile program does nothing else: then it is not run.
    direct: Option<Direct>,
}

/// Positions `offset + index`, for indices within `0..n` after those below 0 have had `wrap` added.
#[derive(Clone, Copy)]
struct Direct {
    /// Slots of the I64 indices and of the offset (or NONE).
    index: u16,
    offset: u16,
    wrap: i64,
    n: i64,
}

impl Direct {
    /// What the body of `p` computes, if it is that.
    fn of(p: &Program) -> Option<Direct> {
        let [(at, false), (valid, false), _] = p.scatter? else { return None };
        let number = |s: u16, k: usize| match p.slots.get(s as usize)? {
            Slot::Const(i) => p.consts.get(*i as usize + k).map(|&c| c as i64),
            _ => None,
        };
        let streams = |s: u16| matches!(p.slots.get(s as usize), Some(Slot::Access(a)) if p.accesses[*a as usize].stream);
        let steps: Option<Vec<_>> =
            p.body.iter().map(|i| if let Instr::Tile { f, dst, a, b, c } = *i { Some((f, dst, a, b, c)) } else { None }).collect();
        let mut steps = steps?.into_iter().peekable();
        let is = |f: TileFn, g: TileFn| std::ptr::fn_addr_eq(f, g);
        let wraps = lookup(TileOp::Wrap(DType::I64), Scalars::B)?;
        let first = *steps.peek()?;
        let (index, wrapped, wrap) = if is(first.0, wraps) {
            steps.next();
            (first.2, first.1, number(first.3, 0)?)
        } else {
            (first.2, first.2, 0)
        };
        let clamp = steps.next().filter(|s| s.2 == wrapped)?;
        let n = number(clamp.3, 0)?;
        let (place, offset) = if is(clamp.0, tile::clamp_plus) {
            (clamp.1, clamp.4)
        } else if !is(clamp.0, tile::clamp) {
            return None;
        } else if let Some(sum) = steps.next_if(|s| is(s.0, tile::axpy_scalar)) {
            if sum.2 != clamp.1 || number(sum.3, 0)? != 1 {
                return None;
            }
            (sum.1, sum.4)
        } else {
            (clamp.1, NONE)
        };
        let range = steps.next()?;
        let ranges =
            is(range.0, tile::in_range) && range.2 == wrapped && range.1 == valid && (number(range.3, 0)?, number(range.3, 1)?) == (0, n);
        (ranges && steps.next().is_none() && place == at && streams(index)).then_some(Direct { index, offset, wrap, n })
    }
}

/// An element type as destination: how a value of its compute type updates it.
trait Cell: Copy {
    type Value: Copy;
    fn set(v: Self::Value) -> Self;
    fn add(self, v: Self::Value) -> Self;
    fn max(self, v: Self::Value) -> Self;
    fn min(self, v: Self::Value) -> Self;
    fn mul(self, v: Self::Value) -> Self;
}
macro_rules! int_cells {
    ($($t:ty),*) => {$( impl Cell for $t {
        type Value = $t;
        fn set(v: $t) -> $t { v }
        fn add(self, v: $t) -> $t { self.wrapping_add(v) }
        fn max(self, v: $t) -> $t { Ord::max(self, v) }
        fn min(self, v: $t) -> $t { Ord::min(self, v) }
        fn mul(self, v: $t) -> $t { self.wrapping_mul(v) }
    } )*};
}
macro_rules! float_cells {
    ($($t:ty, $v:ty, $to:expr, $from:expr;)*) => {$( impl Cell for $t {
        type Value = $v;
        fn set(v: $v) -> $t { ($from)(v) }
        fn add(self, v: $v) -> $t { ($from)(($to)(self) + v) }
        fn mul(self, v: $v) -> $t { ($from)(($to)(self) * v) }
        fn max(self, v: $v) -> $t { let x: $v = ($to)(self); if x.is_nan() || !(v > x || v.is_nan()) { self } else { ($from)(v) } }
        fn min(self, v: $v) -> $t { let x: $v = ($to)(self); if x.is_nan() || !(v < x || v.is_nan()) { self } else { ($from)(v) } }
    } )*};
}
int_cells!(i32, i64, u32, u8);
float_cells! {
    f32, f32, |x| x, |x| x;
    f64, f64, |x| x, |x| x;
    f16, f32, f16::to_f32, f16::from_f32;
    bf16, f32, bf16::to_f32, bf16::from_f32;
}

/// Operands of a tile of updates; a stride of 0 repeats one element.
struct Updates {
    /// What positions are computed of: then `index` has indices, and every one counts that is in range.
    direct: Option<(Direct, i64)>,
    index: *const i64,
    index_step: usize,
    valid: *const u8,
    valid_step: usize,
    value: *const u8,
    value_step: usize,
    n: usize,
}

unsafe fn apply<T: Cell>(mode: ScatterMode, dst: *mut u8, u: &Updates, from: i64, to: i64) {
    #[inline(always)]
    unsafe fn go<T: Cell>(dst: *mut T, u: &Updates, from: i64, to: i64, f: impl Fn(T, T::Value) -> T) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some((d, offset)) = u.direct {
                return direct(dst, u, from, to, d, offset, f);
            }
            let all_valid = u.valid.is_null() || (u.valid_step == 1 && (0..u.n).fold(1, |all, i| all & *u.valid.add(i)) == 1);
            match (u.index_step, u.value_step) {
                (1, 1) if all_valid => valid(dst, u, from, to, 1, f),
                (1, 0) if all_valid => valid(dst, u, from, to, 0, f),
                _ => some(dst, u, from, to, f),
            }
        }
    }
    #[inline(always)]
    unsafe fn direct<T: Cell>(dst: *mut T, u: &Updates, from: i64, to: i64, d: Direct, offset: i64, f: impl Fn(T, T::Value) -> T) {
        let (value, width) = (u.value.cast::<T::Value>(), to.wrapping_sub(from) as u64);
        let dst = dst.wrapping_offset(offset as isize);
        let wrapped = |i: usize| {
            // SAFETY: indices have n elements.
            let at = unsafe { *u.index.add(i) };
            at.wrapping_add((at >> 63) & d.wrap)
        };
        if from == 0 && to == i64::MAX {
            for i in 0..u.n {
                let at = wrapped(i);
                if (at as u64) < d.n as u64 {
                    // SAFETY: values have n elements or repeat one; the position is tested.
                    unsafe {
                        let to = dst.offset(at as isize);
                        *to = f(*to, *value.add(i * u.value_step));
                    }
                }
            }
            return;
        }
        let mut elsewhere = [std::mem::MaybeUninit::<T>::zeroed(); 16];
        let elsewhere = elsewhere.as_mut_ptr().cast::<T>();
        for i in 0..u.n {
            let at = wrapped(i);
            if at as u64 >= d.n as u64 {
                continue;
            }
            let inside = ((offset + at).wrapping_sub(from) as u64) < width;
            // SAFETY: as above, where the position is in the range too.
            unsafe {
                let to = std::hint::select_unpredictable(inside, dst.wrapping_offset(at as isize), elsewhere.add(i % 16));
                *to = f(*to, *value.add(i * u.value_step));
            }
        }
    }
    /// Every update counts.
    #[inline(always)]
    unsafe fn valid<T: Cell>(dst: *mut T, u: &Updates, from: i64, to: i64, value_step: usize, f: impl Fn(T, T::Value) -> T) {
        let (value, width) = (u.value.cast::<T::Value>(), to.wrapping_sub(from) as u64);
        if from == 0 && to == i64::MAX {
            for i in 0..u.n {
                // SAFETY: operands have n elements or repeat one; positions lie in the destination.
                unsafe {
                    let d = dst.offset(*u.index.add(i) as isize);
                    *d = f(*d, *value.add(i * value_step));
                }
            }
            return;
        }
        // Whether a position is in the range is anybody's guess: no branch, but places to throw the others away. Several, so that they need not
        // wait for each other.
        let mut elsewhere = [std::mem::MaybeUninit::<T>::zeroed(); 16];
        let elsewhere = elsewhere.as_mut_ptr().cast::<T>();
        for i in 0..u.n {
            // SAFETY: as above, where the position is in the range.
            unsafe {
                let at = *u.index.add(i);
                let inside = (at.wrapping_sub(from) as u64) < width;
                let d = std::hint::select_unpredictable(inside, dst.wrapping_offset(at as isize), elsewhere.add(i % 16));
                *d = f(*d, *value.add(i * value_step));
            }
        }
    }
    #[inline(always)]
    unsafe fn some<T: Cell>(dst: *mut T, u: &Updates, from: i64, to: i64, f: impl Fn(T, T::Value) -> T) {
        let (value, width) = (u.value.cast::<T::Value>(), to.wrapping_sub(from) as u64);
        for i in 0..u.n {
            // SAFETY: operands have n elements or repeat one; positions are tested against the range.
            unsafe {
                let at = *u.index.add(i * u.index_step);
                if at.wrapping_sub(from) as u64 >= width || (!u.valid.is_null() && *u.valid.add(i * u.valid_step) == 0) {
                    continue;
                }
                let d = dst.offset(at as isize);
                *d = f(*d, *value.add(i * u.value_step));
            }
        }
    }
    let dst = dst.cast::<T>();
    // SAFETY: as above.
    unsafe {
        match mode {
            ScatterMode::Set => go(dst, u, from, to, |_, v| T::set(v)),
            ScatterMode::Add => go(dst, u, from, to, T::add),
            ScatterMode::Max => go(dst, u, from, to, T::max),
            ScatterMode::Min => go(dst, u, from, to, T::min),
            ScatterMode::Prod => go(dst, u, from, to, T::mul),
        }
    }
}

unsafe fn apply_typed(mode: ScatterMode, dtype: DType, dst: *mut u8, u: &Updates, from: i64, to: i64) {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            DType::F32 => apply::<f32>(mode, dst, u, from, to),
            DType::F64 => apply::<f64>(mode, dst, u, from, to),
            DType::F16 => apply::<f16>(mode, dst, u, from, to),
            DType::BF16 => apply::<bf16>(mode, dst, u, from, to),
            DType::I32 => apply::<i32>(mode, dst, u, from, to),
            DType::I64 => apply::<i64>(mode, dst, u, from, to),
            DType::U32 => apply::<u32>(mode, dst, u, from, to),
            // Booleans are bytes 0 and 1: the larger is "any", the smaller "all".
            DType::U8 | DType::Bool => apply::<u8>(mode, dst, u, from, to),
        }
    }
}

impl Scatter {
    /// A scatter of `k` into argument `arg`, at `index`.
    pub fn new(b: Bound, mode: ScatterMode, k: &Kernel, arg: usize, index: IndexId) -> Scatter {
        let to: &Arg = &k.args[arg];
        let d = to.dtype;
        let run = if d == d.accumulator() {
            match mode.combines() {
                None => Some(tile::copy(d.size())),
                Some(op) => lookup(TileOp::Binary(op, d), Scalars::NONE),
            }
        } else {
            None
        };
        let apart = apart(k, index, &b);
        let direct = if b.programs[0].scatter_run { None } else { Direct::of(&b.programs[0]) };
        let mut b = b;
        if direct.is_some() {
            let mut programs = (*b.programs).clone();
            programs[0].body.clear();
            b.programs = std::sync::Arc::new(programs);
        }
        Scatter { b, mode, arg, dtype: d, numel: to.numel, run, apart, direct }
    }

    /// Nothing is computed for the lanes of a point: its updates lie in a buffer.
    fn whole(&self, slots: [(u16, bool); 3]) -> bool {
        let p = &self.b.programs[0];
        p.body.is_empty() && p.accesses.iter().any(|a| a.slot == slots[2].0 && a.stream)
    }

    /// Lanes `v0..v1` of all points, for such updates. The places of several points are found, and fetched, before the first is updated.
    unsafe fn run_whole(&self, f: TileFn, slots: [(u16, bool); 3], t: &mut Task<'_>, v0: usize, v1: usize) {
        const AHEAD: usize = 8;
        let (b, n) = (&self.b, v1 - v0);
        let bytes = n * self.dtype.size();
        let null = std::ptr::null();
        let mut places = [(std::ptr::null_mut::<u8>(), std::ptr::null_mut::<u8>()); AHEAD];
        let mut at = 0;
        while at < b.par_total {
            let mut found = 0;
            for _ in 0..AHEAD.min(b.par_total - at) {
                // SAFETY: the point is inside the domain; the slot of the condition holds a byte.
                let valid = unsafe {
                    t.enter(0);
                    t.place(0, v0);
                    slots[1].0 == NONE || *t.earlier(0, slots[1].0, 0) != 0
                };
                if valid {
                    let x = (t.earlier(0, slots[0].0, 0), t.earlier(0, slots[2].0, 0));
                    super::kernels::moves::fetch(x.0, bytes.min(FETCH));
                    places[found] = x;
                    found += 1;
                }
                at += 1;
                if at < b.par_total {
                    t.step();
                }
            }
            for &(to, value) in &places[..found] {
                // SAFETY: both have these lanes.
                unsafe {
                    match self.mode {
                        ScatterMode::Set => f(to, value, null, null, n),
                        _ => f(to, to, value, null, n),
                    }
                }
            }
        }
    }

    /// Threads share out the lanes: every destination sees its updates in order.
    unsafe fn run_lanes(&self, slots: [(u16, bool); 3], pool: &Pool, args: &[*mut u8], params: *const u64) {
        let b = &self.b;
        let args = Ptrs(args);
        let params = Ptr(params.cast_mut().cast());
        let most = b.vec_total.div_ceil(16);
        let parts = if b.cost_ns() > super::drive::SERIAL_NS { pool.threads().min(most) } else { 1 };
        let bound = |p: usize| (b.vec_total * p / parts).next_multiple_of(16).min(b.vec_total);
        let work = |part: usize| {
            let (v0, v1) = (bound(part), bound(part + 1));
            if v0 >= v1 {
                return;
            }
            with_scratch(b.task_bytes() + b.tile * 16, |mem| {
                // SAFETY: as promised; lanes of parts are disjoint, so are the elements they update.
                unsafe {
                    let (spread, lanes) = (mem, mem.add(b.tile * 8).cast::<i64>());
                    (0..b.tile).for_each(|i| *lanes.add(i) = i as i64);
                    let mut t = Task::start(b, args.get(), params.get().cast(), mem.add(b.tile * 16));
                    t.seek(0);
                    if let Some(f) = self.run.filter(|_| self.whole(slots)) {
                        self.run_whole(f, slots, &mut t, v0, v1);
                        return;
                    }
                    for at in 0..b.par_total {
                        t.enter(0);
                        t.place(0, v0);
                        let valid = slots[1].0 == NONE || *t.earlier(0, slots[1].0, 0) != 0;
                        let mut v = v0;
                        while valid && v < v1 {
                            let n = b.tile.min(v1 - v);
                            t.tiles(0, v, v + n);
                            let to = t.earlier(0, slots[0].0, n);
                            let mut value = t.earlier(0, slots[2].0, n);
                            if slots[2].1 {
                                super::kernels::moves::fill(spread, value, n, self.dtype.accumulator().size());
                                value = spread;
                            }
                            match (self.run, self.mode) {
                                (Some(f), ScatterMode::Set) => f(to, value, std::ptr::null(), std::ptr::null(), n),
                                (Some(f), _) => f(to, to, value, std::ptr::null(), n),
                                // Half types round after every update.
                                (None, mode) => {
                                    let index = lanes.cast_const();
                                    let u = Updates {
                                        direct: None,
                                        index,
                                        index_step: 1,
                                        valid: std::ptr::null(),
                                        valid_step: 0,
                                        value,
                                        value_step: 1,
                                        n,
                                    };
                                    apply_typed(mode, self.dtype, to, &u, 0, n as i64);
                                }
                            }
                            v += n;
                        }
                        if at + 1 < b.par_total {
                            t.step();
                        }
                    }
                }
            })
        };
        pool.run(parts, parts > 1, &work);
    }

    /// Applies all updates.
    ///
    /// # Safety
    /// As [`Task::start`].
    pub unsafe fn run(&self, pool: &Pool, args: &[*mut u8], params: *const u64) {
        let b = &self.b;
        if b.par_total == 0 || b.vec_total == 0 {
            return;
        }
        let Some(slots) = b.programs[0].scatter else { return };
        if b.programs[0].scatter_run {
            // SAFETY: as promised.
            unsafe { self.run_lanes(slots, pool, args, params) };
            return;
        }
        let args = Ptrs(args);
        let params = Ptr(params.cast_mut().cast());
        // More parts repeat the tile program more often; it costs less than the memory accesses it spares each thread.
        let parts = if b.cost_ns() > super::drive::SERIAL_NS { pool.threads().min(8) } else { 1 };
        let bound = |p: usize| (self.numel as u128 * p as u128 / parts as u128) as i64;
        // (first and last base point, range of the destination)
        let share = |part: usize| match self.apart {
            Some(each) => {
                let at = |p: usize| (b.par_total / each * p / parts) * each;
                (at(part), at(part + 1), 0, i64::MAX)
            }
            None if parts == 1 => (0, b.par_total, 0, i64::MAX),
            None => (0, b.par_total, bound(part), bound(part + 1)),
        };
        let work = |part: usize| {
            let (first, last, from, to) = share(part);
            if first >= last {
                return;
            }
            with_scratch(b.task_bytes(), |mem| {
                // SAFETY: as promised; parts of the destination are disjoint.
                unsafe {
                    let mut t = Task::start(b, args.get(), params.get().cast(), mem);
                    t.seek(first);
                    let dst = args.get()[self.arg];
                    for at in first..last {
                        t.enter(0);
                        t.place(0, 0);
                        let mut v = 0;
                        while v < b.vec_total {
                            let n = b.tile.min(b.vec_total - v);
                            t.tiles(0, v, v + n);
                            let get = |i: usize| (t.earlier(0, slots[i].0, n), !slots[i].1 as usize);
                            let ((index, index_step), (value, value_step)) = (get(0), get(2));
                            let (valid, valid_step) = if slots[1].0 == NONE { (std::ptr::null_mut(), 0) } else { get(1) };
                            let mut u = Updates { direct: None, index: index.cast(), index_step, valid, valid_step, value, value_step, n };
                            if let Some(d) = self.direct {
                                let offset = if d.offset == NONE { 0 } else { *t.earlier(0, d.offset, n).cast::<i64>() };
                                u.index = t.earlier(0, d.index, n).cast();
                                u.direct = Some((d, offset));
                            }
                            apply_typed(self.mode, self.dtype, dst, &u, from, to);
                            v += n;
                        }
                        if at + 1 < last {
                            t.step();
                        }
                    }
                }
            })
        };
        pool.run(parts, parts > 1, &work);
    }
}

/// Base points of one index of the outermost axis, if the position `at` grows along that axis by more than all else it depends on.
fn apart(k: &Kernel, at: IndexId, b: &Bound) -> Option<usize> {
    let axis = k.axes.iter().position(|a| a.extent > 1)?;
    let extent = k.axes[axis].extent;
    if !b.par_total.is_multiple_of(extent) {
        return None;
    }
    // Of every index: its step along the axis, and the range of the rest. Operands come first.
    let mut parts: Vec<Option<(i128, i128, i128)>> = Vec::with_capacity(at.index() + 1);
    for i in &k.indices[..=at.index()] {
        let of = |x: &IndexId| parts[x.index()];
        parts.push(match i {
            Index::Axis(a) if *a as usize == axis => Some((1, 0, 0)),
            Index::Axis(a) => Some((0, 0, k.axes[*a as usize].extent as i128 - 1)),
            Index::Const(c) => Some((0, *c as i128, *c as i128)),
            Index::Add(x, y) => of(x).zip(of(y)).map(|(x, y)| (x.0 + y.0, x.1 + y.1, x.2 + y.2)),
            Index::Mul(x, c) => of(x).map(|x| {
                let c = *c as i128;
                (x.0 * c, (x.1 * c).min(x.2 * c), (x.1 * c).max(x.2 * c))
            }),
            Index::Div(x, c) => of(x).filter(|x| x.0 == 0).map(|x| (0, x.1.div_euclid(*c as i128), x.2.div_euclid(*c as i128))),
            Index::Mod(x, c) => of(x).filter(|x| x.0 == 0).map(|_| (0, 0, *c as i128 - 1)),
            Index::Value(_, n) => (*n > 0).then_some((0, 0, *n as i128 - 1)),
        });
    }
    let (step, low, high) = parts[at.index()]?;
    (high - low < step).then_some(b.par_total / extent)
}
