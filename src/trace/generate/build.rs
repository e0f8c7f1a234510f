//! The generator: a trace under construction, with the value of every instruction.

use super::stable::{clear_of_jumps, computed_alike};
use super::{Program, Rng, disturbance, tolerance};
use crate::base::dtype::round_float;
use crate::base::{DType, Scalar, Shape};
use crate::trace::elementwise::{Binary, Compare, Unary};
use crate::trace::interp::{HostTensor, eval_op};
use crate::trace::ir::{Args, Inst, Trace, ValueId};
use crate::trace::op::{AxisList, ConvSpec, Op, PadSpec, Reduce, ScatterMode, SliceSpec};
use crate::trace::region::{Region, RegionKind};
use smallvec::SmallVec;
use std::sync::Arc;

const MAX_ELEMENTS: usize = 4096;
const MAX_RANK: usize = 6;

/// What is known of one value.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) value: HostTensor,
    /// The value when every inexact result was a little off.
    disturbed: [HostTensor; 2],
    /// How far an implementation may be off; 0: every one computes the same bits.
    pub(super) tolerance: f64,
}

struct Gen {
    rng: Rng,
    t: Trace,
    known: Vec<Known>,
    inputs: Vec<HostTensor>,
    params: Vec<Scalar>,
    /// Whether an instruction has a user.
    used: Vec<bool>,
    /// Regions around.
    depth: usize,
}

pub(super) fn program(seed: u64, size: usize) -> Program {
    let mut g = Gen::new(Rng(seed ^ 0x5EED_0FBA_5E00), 0);
    g.input_of_any_type();
    g.input_of_any_type();
    g.steps(size);
    let outs = g.sinks(6);
    let tolerance = outs.iter().map(|o| g.known[o.index()].tolerance).collect();
    g.t.outputs = outs;
    Program { trace: g.t, inputs: g.inputs, params: g.params, tolerance }
}

impl Gen {
    fn new(rng: Rng, depth: usize) -> Gen {
        Gen { rng, t: Trace::new(), known: Vec::new(), inputs: Vec::new(), params: Vec::new(), used: Vec::new(), depth }
    }

    /// Adds about `size` instructions.
    fn steps(&mut self, size: usize) {
        let goal = self.t.insts.len() + size;
        for _ in 0..size * 30 {
            if self.t.insts.len() >= goal {
                break;
            }
            self.step();
        }
    }

    /// A few values that nothing uses, and now and then one that something does.
    fn sinks(&mut self, most: usize) -> Vec<ValueId> {
        let mut outs: Vec<ValueId> = self.t.values().filter(|&v| !self.is_used(v) && self.usable(v)).collect();
        while outs.len() > most {
            // The deepest are the most worth keeping.
            let i = self.rng.below(outs.len() - 1);
            outs.remove(i);
        }
        if outs.is_empty() || self.rng.percent(25) {
            outs.extend(self.pick(|_, _| true));
        }
        outs
    }

    fn is_used(&self, v: ValueId) -> bool {
        self.used.get(v.index()).copied().unwrap_or(false)
    }

    /// Appends an instruction already evaluated.
    fn push(&mut self, op: Op, args: &[ValueId], known: Known) -> ValueId {
        self.used.resize(self.t.insts.len() + 1, false);
        for a in args {
            self.used[a.index()] = true;
        }
        let (dtype, shape) = (known.value.dtype, known.value.shape.clone());
        self.known.push(known);
        self.t.push_typed(op, args, dtype, shape, None)
    }

    fn usable(&self, v: ValueId) -> bool {
        !matches!(self.t[v].op, Op::Region(_))
    }

    /// A random value of that kind, rather a late one, rather one without a user: so that programs are deep, and little is dead.
    fn pick(&mut self, fits: impl Fn(DType, &Shape) -> bool) -> Option<ValueId> {
        let all: Vec<ValueId> = self.t.values().filter(|&v| self.usable(v) && fits(self.t.dtype(v), self.t.shape(v))).collect();
        let late = self.t.insts.len().saturating_sub(10);
        let (prefer_late, prefer_unused) = (self.rng.percent(50), self.rng.percent(70));
        let good = |v: &ValueId| (!prefer_late || v.index() >= late) && (!prefer_unused || !self.is_used(*v));
        let few: Vec<ValueId> = all.iter().copied().filter(good).collect();
        let list = if few.is_empty() { all } else { few };
        (!list.is_empty()).then(|| list[self.rng.below(list.len())])
    }

    fn shape(&self, v: ValueId) -> Shape {
        self.t.shape(v).clone()
    }

    fn any_dtype(&mut self) -> DType {
        use DType::*;
        self.rng.one_of(&[F32, F32, F32, F32, F32, F32, F64, F64, F16, F16, BF16, I64, I64, I32, I32, U8, U32, Bool])
    }

    fn any_shape(&mut self) -> Shape {
        let rank = self.rng.one_of(&[0, 1, 1, 2, 2, 2, 3, 3, 4]);
        let long = self.rng.percent(12);
        let mut s: Shape = (0..rank).map(|_| self.rng.one_of(&[1, 2, 2, 3, 3, 4, 5, 7])).collect();
        if rank > 0 && self.rng.percent(4) {
            let a = self.rng.below(rank);
            s[a] = 0;
        } else if rank > 0 && long {
            let a = self.rng.below(rank);
            s[a] = self.rng.one_of(&[16, 33, 65]);
        }
        s
    }

    /// Values of one style: small whole numbers, positive numbers, or numbers around 0; integers now and then wide.
    fn data(&mut self, dtype: DType, shape: &Shape) -> HostTensor {
        let style = self.rng.below(4);
        let n = shape.numel();
        let mut one = |_| match dtype {
            DType::Bool => Scalar::Bool(self.rng.percent(50)),
            d if d.is_float() => Scalar::Float(match style {
                0 => self.rng.between(-4, 4) as f64,
                1 => self.rng.float(0.25, 2.0),
                _ => self.rng.float(-2.0, 2.0),
            }),
            DType::U8 => Scalar::Int(self.rng.between(0, 255)),
            DType::U32 if style == 0 => Scalar::Int(self.rng.bits() as u32 as i64),
            DType::U32 => Scalar::Int(self.rng.between(0, 20)),
            DType::I32 if style == 0 => Scalar::Int(self.rng.bits() as i32 as i64),
            DType::I64 if style == 0 => Scalar::Int(self.rng.bits() as i64 >> self.rng.below(64)),
            _ => Scalar::Int(self.rng.between(-6, 20)),
        };
        HostTensor::from_scalars(dtype, shape.clone(), (0..n).map(&mut one).collect::<Vec<_>>())
    }

    fn leaf(&mut self, op: Op, value: HostTensor) -> ValueId {
        self.push(op, &[], Known { disturbed: [value.clone(), value.clone()], value, tolerance: 0.0 })
    }

    /// A new input (in a region's body, which has no inputs of its own: a constant or index counter) of the given type.
    fn fresh(&mut self, value: HostTensor) -> Option<ValueId> {
        let (dtype, shape) = (value.dtype, value.shape.clone());
        if self.depth == 0 && self.rng.percent(if shape.rank() == 0 { 30 } else { 60 }) {
            let n = self.inputs.len() as u32;
            self.inputs.push(value.clone());
            return Some(self.leaf(Op::Input(n), value));
        }
        if shape.rank() > 0 && shape.numel() > 0 && shape.iter().all(|&e| e <= 100) && dtype != DType::Bool && self.rng.percent(20) {
            let axis = self.rng.below(shape.rank()) as u8;
            return self.add_typed(Op::Iota(axis), &[], dtype, shape);
        }
        let mut one = if value.numel() > 0 { value.get(0) } else { Scalar::Int(1).cast(dtype) };
        if self.rng.percent(40) {
            // Numbers of which some op knows more.
            one = Scalar::Float(self.rng.one_of(&[0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 8.0])).cast(dtype);
        }
        let scalar = HostTensor::full(dtype, Shape::scalar(), one);
        let c = if self.depth == 0 && self.rng.percent(50) {
            self.params.push(one);
            self.leaf(Op::Param(self.params.len() as u32 - 1), scalar)
        } else {
            self.leaf(Op::Const(one), scalar)
        };
        if shape.rank() == 0 { Some(c) } else { self.add_typed(Op::Broadcast, &[c], dtype, shape) }
    }

    fn input_of_any_type(&mut self) -> Option<ValueId> {
        let (d, s) = (self.any_dtype(), self.any_shape());
        let x = self.data(d, &s);
        self.fresh(x)
    }

    /// A value of exactly that type: one there is, one broadcast from there, or a new one.
    fn partner(&mut self, dtype: DType, shape: &Shape) -> Option<ValueId> {
        if self.rng.percent(50)
            && let Some(v) = self.pick(|d, s| d == dtype && s == shape)
        {
            return Some(v);
        }
        if self.rng.percent(40)
            && let Some(v) = self.pick(|d, s| d == dtype && s != shape && s.broadcast(shape).is_ok_and(|b| b == *shape))
        {
            return self.add_typed(Op::Broadcast, &[v], dtype, shape.clone());
        }
        let x = self.data(dtype, shape);
        self.fresh(x)
    }

    fn add(&mut self, op: Op, args: &[ValueId]) -> Option<ValueId> {
        let (dtype, shape) = self.t.infer(&op, args).ok()?;
        self.add_typed(op, args, dtype, shape)
    }

    /// Appends an instruction if it is small, stable and moderate.
    fn add_typed(&mut self, op: Op, args: &[ValueId], dtype: DType, shape: Shape) -> Option<ValueId> {
        if shape.numel() > MAX_ELEMENTS || shape.rank() > MAX_RANK {
            return None;
        }
        let inst = Inst { op, args: SmallVec::from_slice(args), dtype, shape, site: None };
        let known = self.evaluate(&inst)?;
        Some(self.push(inst.op, args, known))
    }

    /// The value of an instruction, unless it is unfit for comparison.
    fn evaluate(&mut self, inst: &Inst) -> Option<Known> {
        let args: Vec<&Known> = inst.args.iter().map(|a| &self.known[a.index()]).collect();
        if !clear_of_jumps(inst, &args) {
            return None;
        }
        let value = eval_op(inst, &args.iter().map(|k| &k.value).collect::<Vec<_>>()).ok()?;
        let largest = if inst.dtype == DType::F16 { 500.0 } else { 1e4 };
        if inst.dtype.is_float() && value.scalars().any(|x| !x.as_f64().is_finite() || x.as_f64().abs() > largest) {
            return None;
        }
        if args.iter().all(|k| k.tolerance == 0.0) && computed_alike(inst, &args, &value) {
            return Some(Known { disturbed: [value.clone(), value.clone()], value, tolerance: 0.0 });
        }
        let tol = args.iter().map(|k| k.tolerance).fold(tolerance(inst.dtype), f64::max);
        let mut disturbed = Vec::with_capacity(2);
        for side in 0..2 {
            let mut x = eval_op(inst, &args.iter().map(|k| &k.disturbed[side]).collect::<Vec<_>>()).ok()?;
            if inst.dtype.is_float() {
                let e = disturbance(inst.dtype);
                let off = x.scalars().map(|x| {
                    // One side always up, the other at random.
                    let sign = if side == 0 || self.rng.percent(50) { 1.0 } else { -1.0 };
                    Scalar::Float(round_float(inst.dtype, x.as_f64() * (1.0 + sign * e)))
                });
                x = HostTensor::from_scalars(inst.dtype, inst.shape.clone(), off.collect::<Vec<_>>());
                let near = |a: f64, b: f64| (a - b).abs() <= tol / 8.0 * (1.0 + b.abs());
                if x.scalars().zip(value.scalars()).any(|(a, b)| !near(a.as_f64(), b.as_f64())) {
                    return None;
                }
            } else if x != value {
                return None;
            }
            disturbed.push(x);
        }
        let [a, b]: [HostTensor; 2] = disturbed.try_into().ok()?;
        Some(Known { value, disturbed: [a, b], tolerance: if inst.dtype.is_float() { tol } else { 0.0 } })
    }

    /// Tries to add one op.
    fn step(&mut self) -> Option<ValueId> {
        match self.rng.below(120) {
            0..4 => self.input_of_any_type(),
            4..22 => {
                let u = self.rng.one_of(Unary::ALL);
                let x = self.pick(|d, _| u.accepts(d))?;
                self.add(Op::Unary(u), &[x])
            }
            22..46 => {
                let b = self.rng.one_of(Binary::ALL);
                let b = if self.rng.percent(40) { self.rng.one_of(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Max]) } else { b };
                let x = self.pick(|d, _| b.accepts(d))?;
                let (d, s) = (self.t.dtype(x), self.shape(x));
                let y = match b {
                    Binary::Shl | Binary::Shr if self.rng.percent(70) => {
                        let n = Scalar::Int(self.rng.between(0, 40)).cast(d);
                        self.fresh(HostTensor::full(d, s, n))?
                    }
                    _ => self.partner(d, &s)?,
                };
                if self.rng.percent(50) { self.add(Op::Binary(b), &[x, y]) } else { self.add(Op::Binary(b), &[y, x]) }
            }
            46..50 => {
                let x = self.pick(|_, _| true)?;
                let (d, s) = (self.t.dtype(x), self.shape(x));
                let y = self.partner(d, &s)?;
                let c = self.rng.one_of(Compare::ALL);
                self.add(Op::Compare(c), &[x, y])
            }
            50..54 => {
                let x = self.pick(|_, _| true)?;
                let (d, s) = (self.t.dtype(x), self.shape(x));
                let y = self.partner(d, &s)?;
                let m = self.partner(DType::Bool, &s)?;
                self.add(Op::Select, &[m, x, y])
            }
            54..60 => {
                let x = self.pick(|_, _| true)?;
                let (d, s) = (self.any_dtype(), self.shape(x));
                self.add_typed(Op::Cast, &[x], d, s)
            }
            60..69 => {
                let x = self.pick(|_, s| s.rank() > 0)?;
                let axes = self.some_axes(x);
                let kind = self.rng.one_of(&Reduce::ALL);
                let kind = if self.rng.percent(40) { Reduce::Sum } else { kind };
                self.add(Op::Reduce(kind, axes), &[x])
            }
            69..92 => self.view(),
            92..95 => self.gather(),
            95..98 => self.scatter(),
            98..104 => self.dot(),
            104..107 => self.conv(),
            107..109 => {
                let s = self.any_shape();
                let i64s = Shape::scalar();
                let (key, offset) = (self.partner(DType::I64, &i64s)?, self.partner(DType::I64, &i64s)?);
                self.add_typed(Op::Random, &[key, offset], DType::U32, s)
            }
            109..111 => {
                let x = self.pick(|_, s| s.rank() > 0)?;
                let d = self.rng.percent(50);
                self.add(Op::ArgSort(d), &[x])
            }
            111..115 => {
                let x = self.pick(|_, s| s.rank() > 0)?;
                let axis = self.rng.below(self.t.shape(x).rank()) as u8;
                let (kind, reverse) = (self.rng.one_of(&Reduce::ALL), self.rng.percent(50));
                self.add(Op::Cumulative { kind, axis, reverse }, &[x])
            }
            _ => self.region(),
        }
    }

    fn some_axes(&mut self, x: ValueId) -> AxisList {
        let rank = self.t.shape(x).rank();
        let mut axes: AxisList = (0..rank as u8).filter(|_| self.rng.percent(50)).collect();
        if axes.is_empty() && self.rng.percent(95) {
            axes.push(self.rng.below(rank) as u8);
        }
        axes
    }

    fn view(&mut self) -> Option<ValueId> {
        let x = self.pick(|_, s| s.rank() > 0)?;
        let (d, s) = (self.t.dtype(x), self.shape(x));
        let rank = s.rank();
        match self.rng.below(7) {
            0 => {
                // The elements in other extents: some factor split off, or neighbours joined, or ones put in.
                let mut to: SmallVec<[usize; 8]> = s.iter().copied().collect();
                let a = self.rng.below(rank);
                match self.rng.below(3) {
                    0 if rank > 1 && a + 1 < rank => {
                        let e = to.remove(a + 1);
                        to[a] *= e;
                    }
                    1 => {
                        let f = [2, 3, 5].into_iter().find(|f| to[a].is_multiple_of(*f) && to[a] > 0).unwrap_or(1);
                        to[a] /= f;
                        to.insert(a, f);
                    }
                    _ => to.insert(a, 1),
                }
                self.add_typed(Op::Reshape, &[x], d, to.into_iter().collect())
            }
            1 => {
                let mut perm: AxisList = (0..rank as u8).collect();
                for i in (1..rank).rev() {
                    perm.swap(i, self.rng.below(i + 1));
                }
                self.add(Op::Permute(perm), &[x])
            }
            2 => {
                let mut to: SmallVec<[usize; 8]> = s.iter().map(|&e| if e == 1 { self.rng.one_of(&[1, 2, 3, 6]) } else { e }).collect();
                if self.rng.percent(50) {
                    to.insert(0, self.rng.one_of(&[1, 2, 3]));
                }
                self.add_typed(Op::Broadcast, &[x], d, to.into_iter().collect())
            }
            3 => {
                let mut spec = SliceSpec { start: SmallVec::new(), end: SmallVec::new(), step: SmallVec::new() };
                for &e in s.iter() {
                    let a = if self.rng.percent(40) { 0 } else { self.rng.below(e + 1) };
                    let b = if self.rng.percent(40) { e } else { a + self.rng.below(e - a + 1) };
                    // Rather some elements than none.
                    let (a, b) = if a == b && e > 0 && self.rng.percent(90) { (e - 1, e) } else { (a, b) };
                    spec.start.push(a);
                    spec.end.push(b);
                    spec.step.push(self.rng.one_of(&[1, 1, 1, 2, 3]));
                }
                self.add(Op::Slice(Box::new(spec)), &[x])
            }
            4 => {
                let mut few = || (0..rank).map(|_| self.rng.one_of(&[0, 0, 0, 1, 2])).collect();
                let (lo, hi) = (few(), few());
                let value = self.data(d, &Shape::scalar()).get(0);
                self.add(Op::Pad(Box::new(PadSpec { lo, hi, value })), &[x])
            }
            5 => {
                let axes = self.some_axes(x);
                self.add(Op::Flip(axes), &[x])
            }
            _ => {
                let axis = self.rng.below(rank);
                let mut parts: Args = SmallVec::from_slice(&[x]);
                for _ in 0..self.rng.below(3) {
                    let mut to = s.clone();
                    if self.rng.percent(50) {
                        to[axis] = self.rng.below(4);
                    }
                    let p = self.partner(d, &to)?;
                    parts.push(p);
                }
                self.add(Op::Concat(axis as u8), &parts)
            }
        }
    }

    /// Indices into axis `batch` of `x`: a few out of range.
    fn index(&mut self, x: ValueId, batch: usize) -> Option<ValueId> {
        let s = self.shape(x);
        let mut to = Shape::new(&s[..batch]);
        for _ in 0..self.rng.below(3) {
            to = to.iter().copied().chain([self.rng.one_of(&[1, 2, 3, 5])]).collect();
        }
        let d = self.rng.one_of(&[DType::I64, DType::I64, DType::I32]);
        if self.rng.percent(30)
            && let Some(v) = self.pick(|e, t| e == d && t.rank() >= batch && t[..batch] == s[..batch])
        {
            return Some(v);
        }
        let n = s[batch] as i64;
        let ix: Vec<Scalar> = (0..to.numel()).map(|_| Scalar::Int(self.rng.between(-1, n))).collect();
        self.fresh(HostTensor::from_scalars(d, to, ix))
    }

    fn gather(&mut self) -> Option<ValueId> {
        let x = self.pick(|_, s| s.rank() > 0)?;
        let batch = self.rng.below(self.t.shape(x).rank().min(2));
        let ix = self.index(x, batch)?;
        self.add(Op::Gather(batch as u8), &[x, ix])
    }

    fn scatter(&mut self) -> Option<ValueId> {
        let x = self.pick(|_, s| s.rank() > 0)?;
        let batch = self.rng.below(self.t.shape(x).rank().min(2));
        let ix = self.index(x, batch)?;
        let (d, s) = (self.t.dtype(x), self.shape(x));
        let updates: Shape = self.t.shape(ix).iter().chain(&s[batch + 1..]).copied().collect();
        let up = if updates.numel() <= MAX_ELEMENTS { self.partner(d, &updates)? } else { return None };
        let mode = self.rng.one_of(&ScatterMode::ALL);
        if d == DType::Bool && !mode.takes_bool() {
            return None;
        }
        self.add(Op::Scatter(mode, batch as u8), &[x, ix, up])
    }

    fn dot(&mut self) -> Option<ValueId> {
        let a = self.pick(|d, s| s.rank() >= 2 && d != DType::Bool)?;
        let (d, mut s) = (self.t.dtype(a), self.shape(a));
        let r = s.rank();
        s[r - 2] = s[r - 1];
        s[r - 1] = self.rng.one_of(&[1, 2, 3, 5, 8]);
        let b = if s.numel() <= MAX_ELEMENTS { self.partner(d, &s)? } else { return None };
        self.add(Op::Dot, &[a, b])
    }

    fn conv(&mut self) -> Option<ValueId> {
        let x = match self.pick(|d, s| d.is_float() && s.rank() >= 3) {
            Some(x) => x,
            None => {
                let d = self.rng.one_of(&[DType::F32, DType::F64, DType::F16]);
                let s = [1, self.rng.one_of(&[1, 2, 4]), 5, 4];
                self.partner(d, &s.into())?
            }
        };
        let (d, s) = (self.t.dtype(x), self.shape(x));
        let n = s.rank() - 2;
        let groups = [2, 3].into_iter().find(|g| s[1].is_multiple_of(*g) && s[1] > 0).filter(|_| self.rng.percent(40)).unwrap_or(1);
        let kernel: Shape = [groups * self.rng.one_of(&[1, 2]), s[1] / groups]
            .into_iter()
            .chain((0..n).map(|_| self.rng.one_of(&[1, 2, 3])).collect::<Vec<_>>())
            .collect();
        let w = self.partner(d, &kernel)?;
        let mut list = |from: &[isize]| -> SmallVec<[isize; 3]> { (0..n).map(|_| self.rng.one_of(from)).collect() };
        let (stride, lo, hi) = (list(&[1, 1, 2]), list(&[0, 0, 1, 2, -1]), list(&[0, 0, 1, 2, -1]));
        let (lhs, rhs) = (list(&[1, 1, 1, 2]), list(&[1, 1, 1, 2]));
        let positive = |v: SmallVec<[isize; 3]>| v.into_iter().map(|x| x as usize).collect();
        let spec = ConvSpec { stride: positive(stride), lo, hi, lhs_dilation: positive(lhs), rhs_dilation: positive(rhs), groups };
        self.add(Op::Conv(Box::new(spec)), &[x, w])
    }

    /// A region around a few ops on a few operands, and its outputs. A custom rule yields zeros: no forward evaluation reads it.
    fn region(&mut self) -> Option<ValueId> {
        if self.depth >= 2 {
            return None;
        }
        let mut args = Args::new();
        for _ in 0..1 + self.rng.below(3) {
            args.extend(self.pick(|_, _| true));
        }
        let mut inner = Gen::new(Rng(self.rng.bits()), self.depth + 1);
        for &a in &args {
            let inst = &self.t[a];
            inner.t.input(inst.dtype, inst.shape.clone());
            inner.known.push(self.known[a.index()].clone());
        }
        let size = 1 + self.rng.below(6);
        inner.steps(size);
        let outs = inner.sinks(2);
        let types = |g: &Gen, v: &[ValueId]| -> Vec<(DType, Shape)> { v.iter().map(|&v| (g.t.dtype(v), g.shape(v))).collect() };
        let (ins, out_types) = (types(&inner, &inner.t.inputs), types(&inner, &outs));
        let known: Vec<Known> = outs.iter().map(|o| inner.known[o.index()].clone()).collect();
        inner.t.outputs = outs;
        let rule = |inputs: Vec<(DType, Shape)>, outputs: &[(DType, Shape)]| {
            let mut t = Trace::new();
            for (d, s) in inputs {
                t.input(d, s);
            }
            t.outputs = outputs.iter().map(|(d, s)| t.constant(Scalar::Int(0), *d, s)).collect();
            Arc::new(t)
        };
        let kind = match self.rng.below(3) {
            0 => RegionKind::CustomJvp(rule([ins.clone(), ins].concat(), &out_types)),
            1 => RegionKind::CustomVjp(rule([ins.clone(), out_types.clone(), out_types.clone()].concat(), &ins)),
            _ => RegionKind::Checkpoint(self.rng.below(known.len()) as u32),
        };
        let region = Op::Region(Arc::new(Region { kind, body: Arc::new(inner.t) }));
        let r = self.push(region, &args, known[0].clone());
        known.into_iter().enumerate().map(|(n, k)| self.push(Op::Output(n as u32), &[r], k)).last()
    }
}
