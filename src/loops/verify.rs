//! Checks that a kernel keeps the rules of Loop IR, and a schedule those of memory.
//!
//! Ranges and single writes are proved symbolically; where that is not enough, small domains are enumerated and large ones
//! probed at their corners. What neither decides is accepted: the interpreter checks every access it makes.

use super::order::Node;
use super::schedule::{Control, ControlKind, Instance, Launch, Place, Program, Schedule};
use super::symbolic::Symbolic;
use super::{Access, Archetype, Bound, ExprId, ExprKind, Index, IndexId, Kernel, Pass, ReduceKind, Store};
use crate::base::error::{Error, bail, err};
use crate::base::{DType, Result, Scalar};
use crate::trace::{ConvSpec, Reduce};

/// Domains up to this many points are enumerated where symbolic proof fails.
const ENUMERATE: usize = 1 << 16;

/// The inclusive interval that an index lies in over all points of the axes. An index that is not valid has every value.
pub fn range(k: &Kernel, i: IndexId) -> (i64, i64) {
    Symbolic::new(k).ok().filter(|_| i.index() < k.indices.len()).map_or((i64::MIN, i64::MAX), |s| s.range(i))
}

/// Checks every rule of `loops`.
///
/// # Errors
/// `Internal`, naming the first broken rule and where.
pub fn verify(k: &Kernel) -> Result<()> {
    let points = k.axes.iter().try_fold(1usize, |n, a| n.checked_mul(a.extent));
    if points.is_none_or(|n| n > i64::MAX as usize) || k.axes.len() > 64 {
        bail!(Internal, "kernel: {} axes of {:?} points are too many", k.axes.len(), points);
    }
    let symbolic = Symbolic::new(k)?;
    let all = (0..k.exprs.len()).map(|e| Node::Expr(ExprId(e as u32))).chain((0..k.indices.len()).map(|i| Node::Index(IndexId(i as u32))));
    let order = k.order(all)?;
    let c = Checker { k, symbolic, empty: points == Some(0), levels: levels(k, &order)? };
    for e in 0..k.exprs.len() {
        c.expr(e)?;
    }
    for (n, index) in k.indices.iter().enumerate() {
        if let Index::Value(e, _) = *index
            && !matches!(k.exprs[e.index()].dtype, DType::I64 | DType::I32)
        {
            bail!(Internal, "kernel: index n{n} is the value of e{}, of dtype {}", e.0, k.exprs[e.index()].dtype);
        }
    }
    for (p, pass) in k.passes.iter().enumerate() {
        c.pass(p, pass)?;
    }
    c.scratch()?;
    c.writes()?;
    c.archetype()
}

fn within(e: &Error, place: String) -> Error {
    Error::new(e.kind(), format!("{place}: {}", e.message()))
}

/// What an expression or index depends on.
#[derive(Clone, Copy, Default)]
struct Level {
    /// A row axis or scratch.
    row: bool,
    /// The first pass in which everything it needs is known.
    ready: usize,
    /// A computed value that is not clamped.
    unclamped: bool,
}

struct Checker<'k> {
    k: &'k Kernel,
    symbolic: Symbolic,
    /// No points: nothing is ever touched.
    empty: bool,
    levels: Levels,
}

struct Levels {
    exprs: Vec<Level>,
    indices: Vec<Level>,
}

impl Levels {
    fn of(&self, n: Node) -> Level {
        match n {
            Node::Expr(e) => self.exprs[e.index()],
            Node::Index(i) => self.indices[i.index()],
        }
    }
}

fn levels(k: &Kernel, order: &[Node]) -> Result<Levels> {
    let mut levels = Levels { exprs: vec![Level::default(); k.exprs.len()], indices: vec![Level::default(); k.indices.len()] };
    for &n in order {
        let mut own = Level::default();
        let mut join = |m: Node| {
            let l = levels.of(m);
            own = Level { row: own.row | l.row, ready: own.ready.max(l.ready), unclamped: own.unclamped | l.unclamped };
        };
        match n {
            Node::Expr(e) => {
                k.exprs[e.index()].operands(&mut join);
                match k.exprs[e.index()].kind {
                    ExprKind::Reduced(p, _) => {
                        own.ready = p as usize + 1;
                        own.row |= p == 0 && k.archetype == Archetype::Attention;
                    }
                    ExprKind::Scratch(s) => {
                        own.row = true;
                        own.ready = match k.passes.iter().position(|p| p.scratch.iter().any(|w| w.0 == s)) {
                            Some(p) => p + 1,
                            None if s.0 == 1 && matches!(k.archetype, Archetype::Sort(_) | Archetype::Cumulative { .. }) => 1,
                            None => bail!(Internal, "kernel: e{} reads scratch s{}, which no pass writes", e.0, s.0),
                        };
                    }
                    _ => {}
                }
            }
            Node::Index(i) => {
                k.indices[i.index()].operands(&mut join);
                match k.indices[i.index()] {
                    Index::Axis(a) => own.row |= k.axes[a as usize].row,
                    Index::Value(_, n) => own.unclamped |= n == 0,
                    _ => {}
                }
            }
        }
        match n {
            Node::Expr(e) => levels.exprs[e.index()] = own,
            Node::Index(i) => levels.indices[i.index()] = own,
        }
    }
    Ok(levels)
}

/// Whether `s` is a value of `dtype`, exactly.
fn is_value(s: Scalar, dtype: DType) -> bool {
    let c = s.cast(dtype);
    s.same(c) || (s.category() == dtype.category() && s.as_f64().is_nan() && c.as_f64().is_nan())
}

impl Checker<'_> {
    fn expr(&self, n: usize) -> Result<()> {
        let k = self.k;
        let e = &k.exprs[n];
        let mut late = None;
        e.operands(|m| {
            if matches!(m, Node::Expr(x) if x.index() >= n) {
                late = Some(m);
            }
        });
        if let Some(m) = late {
            bail!(Internal, "kernel: e{n} uses {m:?}, which does not come before it");
        }
        let of = |x: ExprId| k.exprs[x.index()].dtype;
        let ok = match &e.kind {
            ExprKind::Const(c) => is_value(*c, e.dtype),
            ExprKind::Param(p) => k.params.get(*p as usize) == Some(&e.dtype),
            ExprKind::Load { arg, index, mask, fill } => {
                let Some(a) = k.args.get(arg.index()) else { bail!(Internal, "kernel: e{n} loads from a{}, which does not exist", arg.0) };
                if a.access == Access::Write {
                    bail!(Internal, "kernel: e{n} loads from a{}, which is only written", arg.0);
                }
                if self.levels.indices[index.index()].unclamped || mask.iter().any(|b| self.levels.indices[b.index.index()].unclamped) {
                    bail!(Internal, "kernel: e{n} loads at a computed index that is not clamped");
                }
                self.in_range(*index, mask, a.numel).map_err(|e| within(&e, format!("kernel: e{n}: load from a{}", arg.0)))?;
                let updated = || {
                    k.passes
                        .iter()
                        .flat_map(|p| &p.stores)
                        .filter(|s| s.arg == *arg)
                        .all(|s| !scatters(k) && self.symbolic.same(s.index, *index))
                };
                if a.access == Access::Update && !updated() {
                    bail!(Internal, "kernel: e{n} reads the updated argument a{} elsewhere than at the index written", arg.0);
                }
                a.dtype == e.dtype && is_value(*fill, e.dtype)
            }
            ExprKind::Index(_) => e.dtype != DType::Bool,
            ExprKind::InBounds(_) => e.dtype == DType::Bool,
            ExprKind::Unary(op, a) => of(*a) == e.dtype && op.accepts(e.dtype),
            ExprKind::Binary(op, a, b) => of(*a) == e.dtype && of(*b) == e.dtype && op.accepts(e.dtype),
            ExprKind::Compare(_, a, b) => of(*a) == of(*b) && e.dtype == DType::Bool,
            ExprKind::Select(m, a, b) => of(*m) == DType::Bool && of(*a) == e.dtype && of(*b) == e.dtype,
            ExprKind::Cast(_) => true,
            ExprKind::Random(key, offset, _) => of(*key) == DType::I64 && of(*offset) == DType::I64 && e.dtype == DType::U32,
            ExprKind::Reduced(p, r) => {
                k.passes.get(*p as usize).and_then(|p| p.reduces.get(*r as usize)).is_some_and(|s| s.dtype == e.dtype)
            }
            ExprKind::Scratch(s) => k.scratch.get(s.index()) == Some(&e.dtype),
        };
        if !ok {
            bail!(Internal, "kernel: e{n} of dtype {} does not fit its operands: {:?}", e.dtype, e.kind);
        }
        Ok(())
    }

    /// Whether an index lies in `0..numel` wherever the mask holds.
    fn in_range(&self, i: IndexId, mask: &[Bound], numel: usize) -> Result<()> {
        if self.empty {
            return Ok(());
        }
        if self.symbolic.range_where(i, mask).is_none_or(|(lo, hi)| lo >= 0 && hi < numel as i64) {
            return Ok(());
        }
        let out = |found: &str| {
            let formula = self.symbolic.formula(i).map_or(String::new(), |f| format!(" = {f}"));
            err!(Internal, "index n{}{formula} {found}, of {numel} elements", i.0)
        };
        for p in self.probes(i, mask) {
            let x = self.symbolic.at(i, &p);
            if !(0..numel as i64).contains(&x) && mask.iter().all(|b| (b.lo..b.hi).contains(&self.symbolic.at(b.index, &p))) {
                return Err(out(&format!("is {x} at point {p:?}")));
            }
        }
        Ok(())
    }

    /// All points of the axes that decide these indices, if they are few, else the corners of the mask's box and of the
    /// domain: no proof, but where an affine index errs it errs at a corner. None if a computed value decides.
    fn probes(&self, i: IndexId, mask: &[Bound]) -> Vec<Vec<i64>> {
        let supports = std::iter::once(i).chain(mask.iter().map(|b| b.index)).map(|i| self.symbolic.support(i));
        let Some(axes) = supports.collect::<Option<Vec<_>>>() else { return vec![] };
        let mut axes = axes.concat();
        axes.sort_unstable();
        axes.dedup();
        if let Some(all) = self.enumerate(&axes) {
            return all;
        }
        let narrow = self.symbolic.axes_where(mask);
        let mut out = vec![vec![0; self.k.axes.len()]];
        for a in axes {
            let (lo, hi) = narrow.as_ref().map_or((0, 0), |n| n[a]);
            let mut ends = vec![lo, hi, 0, self.k.axes[a].extent as i64 - 1];
            ends.sort_unstable();
            ends.dedup();
            if out.len() * ends.len() > ENUMERATE {
                break;
            }
            let with = |p: &Vec<i64>, x: i64| {
                let mut p = p.clone();
                p[a] = x;
                p
            };
            out = out.iter().flat_map(|p| ends.iter().map(move |&x| with(p, x))).collect();
        }
        out
    }

    fn enumerate(&self, axes: &[usize]) -> Option<Vec<Vec<i64>>> {
        let n: usize = axes.iter().map(|&a| self.k.axes[a].extent).product();
        if n > ENUMERATE {
            return None;
        }
        let point = |mut at: usize| {
            let mut p = vec![0; self.k.axes.len()];
            for &a in axes.iter().rev() {
                p[a] = (at % self.k.axes[a].extent) as i64;
                at /= self.k.axes[a].extent;
            }
            p
        };
        Some((0..n).map(point).collect())
    }

    fn pass(&self, n: usize, pass: &Pass) -> Result<()> {
        let k = self.k;
        if !(pass.row || pass.reduces.is_empty() && pass.scratch.is_empty()) {
            bail!(Internal, "kernel: outer pass {n} reduces or writes scratch");
        }
        for root in pass.roots() {
            let exists = match root {
                Node::Expr(e) => e.index() < k.exprs.len(),
                Node::Index(i) => i.index() < k.indices.len(),
            };
            if !exists {
                bail!(Internal, "kernel: pass {n} uses {root:?}, which does not exist");
            }
            let level = self.levels.of(root);
            if level.ready > n {
                bail!(Internal, "kernel: pass {n} uses {root:?}, which is known from pass {} on", level.ready);
            }
            if level.row && !pass.row {
                bail!(Internal, "kernel: outer pass {n} uses {root:?}, which depends on the row");
            }
        }
        let of = |e: ExprId| k.exprs[e.index()].dtype;
        for (r, sink) in pass.reduces.iter().enumerate() {
            let ok = match sink.kind {
                ReduceKind::Fold(kind, _) if kind.is_arg() => sink.dtype == DType::I64,
                ReduceKind::Fold(Reduce::Sum | Reduce::Prod, e) => sink.dtype == of(e) && sink.dtype != DType::Bool,
                ReduceKind::Fold(_, e) => sink.dtype == of(e),
                ReduceKind::Dot(a, b) => of(a) == of(b) && sink.dtype == of(a) && sink.dtype != DType::Bool,
            };
            if !ok {
                bail!(Internal, "kernel: reduction r{n}.{r} of dtype {} does not fit {:?}", sink.dtype, sink.kind);
            }
            let needs_element = matches!(sink.kind, ReduceKind::Fold(kind, _) if !matches!(kind, Reduce::Sum | Reduce::Prod));
            if needs_element && k.row_len() == 0 && k.outer_len() > 0 {
                bail!(Internal, "kernel: reduction r{n}.{r} has no element");
            }
        }
        for &(s, e) in &pass.scratch {
            if k.scratch.get(s.index()) != Some(&of(e)) {
                bail!(Internal, "kernel: pass {n} writes e{} of dtype {} to scratch s{}", e.0, of(e), s.0);
            }
        }
        for s in &pass.stores {
            self.store(s).map_err(|e| within(&e, format!("kernel: pass {n}: store to a{}", s.arg.0)))?;
        }
        Ok(())
    }

    fn store(&self, s: &Store) -> Result<()> {
        let k = self.k;
        let Some(a) = k.args.get(s.arg.index()) else { bail!(Internal, "there is no such argument") };
        if a.access == Access::Read {
            bail!(Internal, "the argument is only read");
        }
        if k.exprs[s.value.index()].dtype != a.dtype {
            bail!(Internal, "value e{} has dtype {}, the argument {}", s.value.0, k.exprs[s.value.index()].dtype, a.dtype);
        }
        if s.valid.is_some() && !scatters(k) {
            bail!(Internal, "only a scatter drops writes");
        }
        if self.levels.indices[s.index.index()].unclamped {
            bail!(Internal, "the index is a computed value that is not clamped");
        }
        // Validity names the same value unclamped, which says nothing about the clamped index.
        self.in_range(s.index, &[], a.numel)
    }

    fn scratch(&self) -> Result<()> {
        for s in 0..self.k.scratch.len() {
            let writers = self.k.passes.iter().flat_map(|p| &p.scratch).filter(|w| w.0.index() == s).count();
            if writers > 1 {
                bail!(Internal, "kernel: scratch s{s} is written {writers} times");
            }
        }
        Ok(())
    }

    /// Rule 5: at most one write per element, and every element of a `Write` argument.
    fn writes(&self) -> Result<()> {
        if scatters(self.k) {
            return Ok(());
        }
        for (n, a) in self.k.args.iter().enumerate() {
            let stores: Vec<(&Store, Vec<usize>)> = self
                .k
                .passes
                .iter()
                .flat_map(|p| p.stores.iter().map(move |s| (s, p.row)))
                .filter(|(s, _)| s.arg.index() == n)
                .map(|(s, row)| (s, (0..self.k.axes.len()).filter(|&x| row || !self.k.axes[x].row).collect()))
                .collect();
            let sizes = stores.iter().map(|(_, axes)| axes.iter().map(|&x| self.k.axes[x].extent).product::<usize>());
            let count = sizes.fold(0usize, usize::saturating_add);
            if a.access == Access::Write && count != a.numel {
                bail!(Internal, "kernel: {count} writes to argument a{n}, which has {} elements", a.numel);
            }
            if count > 0 && self.disjoint(&stores) == Some(false) {
                bail!(Internal, "kernel: an element of argument a{n} is written more than once");
            }
        }
        Ok(())
    }

    /// Whether no two writes meet; `None`: unknown.
    fn disjoint(&self, stores: &[(&Store, Vec<usize>)]) -> Option<bool> {
        if self.spread(stores) == Some(true) {
            return Some(true);
        }
        let mut seen = std::collections::HashSet::new();
        for (s, axes) in stores {
            self.symbolic.support(s.index)?;
            for p in self.enumerate(axes)? {
                if !seen.insert(self.symbolic.at(s.index, &p)) {
                    return Some(false);
                }
            }
        }
        Some(true)
    }

    /// Proof by strides: each is larger than all that the smaller ones can add up to. Several stores of the same strides,
    /// evenly apart, count as one more axis.
    fn spread(&self, stores: &[(&Store, Vec<usize>)]) -> Option<bool> {
        let mut forms: Vec<(i64, Vec<i64>)> = stores.iter().map(|(s, _)| self.symbolic.affine(s.index)).collect::<Option<_>>()?;
        forms.sort();
        let (base, strides) = forms.first()?;
        let apart = forms.get(1).map_or(1, |f| f.0 - base);
        let even = forms.iter().enumerate().all(|(n, f)| f.1 == *strides && f.0 == base + apart * n as i64);
        let same_axes = stores.iter().all(|s| s.1 == stores[0].1);
        if !even || !same_axes || apart == 0 {
            return None;
        }
        let mut steps: Vec<(u64, usize)> = stores[0].1.iter().map(|&a| (strides[a].unsigned_abs(), self.k.axes[a].extent)).collect();
        steps.push((apart.unsigned_abs(), forms.len()));
        steps.retain(|s| s.1 > 1);
        steps.sort_unstable();
        let mut reach = 0u128;
        Some(steps.into_iter().all(|(stride, extent)| {
            let free = stride as u128 > reach;
            reach = reach.saturating_add(stride as u128 * (extent as u128 - 1));
            free
        }))
    }

    fn archetype(&self) -> Result<()> {
        let k = self.k;
        let (rows, outer) = (k.axes.iter().filter(|a| a.row).count(), k.axes.iter().filter(|a| !a.row).count());
        let kinds: Vec<bool> = k.passes.iter().map(|p| p.row).collect();
        // One row axis, the innermost; pass 0 only writes scratch 0.
        let fills_scratch = || {
            rows == 1
                && k.axes.last().is_some_and(|a| a.row)
                && kinds == [true, true]
                && k.scratch.len() == 2
                && k.passes[0].scratch.iter().map(|w| w.0.index()).eq([0])
                && k.passes[0].reduces.is_empty()
                && k.passes[0].stores.is_empty()
                && k.passes[1].scratch.is_empty()
        };
        let product_then_epilogue = || {
            kinds == [true, false]
                && matches!(k.passes[0].reduces[..], [super::ReduceSink { kind: ReduceKind::Dot(..), .. }])
                && k.passes[0].scratch.is_empty()
                && k.passes[0].stores.is_empty()
                && k.axes[outer..].iter().all(|a| a.row)
        };
        let ok = match &k.archetype {
            Archetype::Pointwise => rows == 0 && kinds == [false],
            Archetype::RowReduction | Archetype::ColumnReduction => kinds.contains(&true),
            Archetype::Matmul => rows == 1 && outer >= 2 && product_then_epilogue(),
            Archetype::Conv { spec, input, window } => product_then_epilogue() && self.conv(spec, input, window),
            Archetype::Attention => k.attention().is_some(),
            Archetype::Scatter(mode) => {
                let adds_bools =
                    !mode.takes_bool() && k.passes.iter().flat_map(|p| &p.stores).any(|s| k.args[s.arg.index()].dtype == DType::Bool);
                let one = rows == 0 && kinds == [false] && k.passes[0].stores.len() == 1 && !adds_bools;
                one && k.args[k.passes[0].stores[0].arg.index()].access == Access::Update
            }
            Archetype::Sort(_) => fills_scratch() && k.scratch[1] == DType::I64,
            Archetype::Cumulative { kind, .. } => {
                let sums_bools = k.scratch.first() == Some(&DType::Bool) && matches!(kind, Reduce::Sum | Reduce::Prod);
                fills_scratch() && k.scratch[0] == k.scratch[1] && !kind.is_arg() && !sums_bools
            }
        };
        if !ok {
            bail!(
                Internal,
                "kernel: passes {kinds:?} (row or not) over {outer} outer and {rows} row axes are not what {:?} promises",
                k.archetype
            );
        }
        Ok(())
    }

    fn conv(&self, spec: &ConvSpec, input: &[usize], window: &[usize]) -> bool {
        let k = self.k;
        let spatial = spec.stride.len();
        let lengths = [spec.lo.len(), spec.hi.len(), spec.lhs_dilation.len(), spec.rhs_dilation.len(), input.len().wrapping_sub(2)];
        if lengths.iter().any(|&l| l != spatial) || window.len() != input.len() || k.axes.len() != 2 * spatial + 3 || spec.groups == 0 {
            return false;
        }
        let numel = |s: &[usize]| s.iter().try_fold(1usize, |n, &x| n.checked_mul(x));
        if k.args.len() < 2 || numel(input) != Some(k.args[0].numel) || numel(window) != Some(k.args[1].numel) {
            return false;
        }
        let extents: Vec<usize> = k.axes.iter().map(|a| a.extent).collect();
        let channels = Some(input[1]) == window[1].checked_mul(spec.groups) && window[0].is_multiple_of(spec.groups);
        let positions = (0..spatial).all(|d| {
            let (x, w) = (input[d + 2] as i128, window[d + 2] as i128);
            let (ld, rd, step) = (spec.lhs_dilation[d] as i128, spec.rhs_dilation[d] as i128, spec.stride[d] as i128);
            let spread = |n: i128, by: i128| if n == 0 { 0 } else { (n - 1) * by + 1 };
            let free = spread(x, ld) + spec.lo[d] as i128 + spec.hi[d] as i128 - spread(w, rd);
            ld >= 1 && rd >= 1 && step >= 1 && free >= 0 && free / step + 1 == extents[d + 2] as i128
        });
        let ReduceKind::Dot(a, b) = k.passes[0].reduces[0].kind else { return false };
        let loads = |e: ExprId, from: u32| matches!(k.exprs[e.index()].kind, ExprKind::Load { arg, .. } if arg.0 == from);
        let outer = extents[0] == input[0] && extents[1] == window[0];
        channels && positions && outer && extents[spatial + 2..] == window[1..] && loads(a, 0) && loads(b, 1)
    }
}

fn scatters(k: &Kernel) -> bool {
    matches!(k.archetype, Archetype::Scatter(_))
}

/// Checks that an instance binds its kernel's arguments and parameters to slots and plan parameters of the same type.
pub(crate) fn binding(s: &Schedule, i: &Instance) -> Result<()> {
    if i.slots.len() != i.kernel.args.len() || i.params.len() != i.kernel.params.len() {
        bail!(
            Internal,
            "schedule: {} slots and {} parameters bound to {} and {}",
            i.slots.len(),
            i.params.len(),
            i.kernel.args.len(),
            i.kernel.params.len()
        );
    }
    for (n, (slot, a)) in i.slots.iter().zip(&i.kernel.args).enumerate() {
        let Some(b) = s.slots.get(slot.0 as usize) else { bail!(Internal, "schedule: slot {} does not exist", slot.0) };
        if b.dtype != a.dtype || b.numel != a.numel {
            bail!(Internal, "schedule: slot {} is {}[{}], argument a{n} {}[{}]", slot.0, b.dtype, b.numel, a.dtype, a.numel);
        }
    }
    for (n, (p, dtype)) in i.params.iter().zip(&i.kernel.params).enumerate() {
        if s.params.get(*p as usize) != Some(dtype) {
            bail!(Internal, "schedule: parameter {p} bound to kernel parameter p{n} of dtype {dtype}");
        }
    }
    Ok(())
}

/// Checks every kernel of a schedule, what its instances bind, and that slots are used soundly: written before read, caller's
/// buffers written only if donated, instances of a launch independent, memory of the arena not shared by slots that live at once.
///
/// # Errors
/// `Internal`, naming the launch or slot.
pub fn verify_schedule(s: &Schedule) -> Result<()> {
    let mut checked = std::collections::HashSet::new();
    // First and last launch that touches each slot.
    let mut life: Vec<Option<(usize, usize)>> = vec![None; s.slots.len()];
    for (n, launch) in s.launches.iter().enumerate() {
        let mut users: std::collections::HashMap<u32, (usize, bool)> = std::collections::HashMap::new();
        if let Launch::Control(c) = launch {
            control(s, c, n, &mut life).map_err(|e| within(&e, format!("launch {n}")))?;
        }
        for (m, i) in launch.instances().iter().enumerate() {
            if checked.insert(std::sync::Arc::as_ptr(&i.kernel)) {
                verify(&i.kernel).map_err(|e| within(&e, format!("launch {n}")))?;
            }
            binding(s, i).map_err(|e| within(&e, format!("launch {n}")))?;
            if let Some((a, b)) = i.kernel.bad_overlap(&i.slots) {
                bail!(
                    Internal,
                    "schedule: launch {n}: arguments a{a} and a{b} of instance {m} share slot {}, which is written",
                    i.slots[a].0
                );
            }
            for (arg, (slot, a)) in i.slots.iter().zip(&i.kernel.args).enumerate() {
                let (id, place) = (slot.0 as usize, s.slots[slot.0 as usize].place);
                let writes = a.access != Access::Read;
                if writes && matches!(place, Place::Input(i) if !s.donated.contains(&i)) {
                    bail!(Internal, "schedule: launch {n} writes slot {id}, a buffer of the caller's");
                }
                if a.access != Access::Write
                    && !matches!(place, Place::Input(_))
                    && s.slots[id].numel > 0
                    && life[id].is_none_or(|l| l.0 == n)
                {
                    bail!(Internal, "schedule: launch {n} reads slot {id} before anything was written to it");
                }
                // Two reads never conflict; anything else needs an order that a launch does not have.
                if let Some((other, wrote)) = users.insert(slot.0, (m, writes))
                    && (writes || wrote)
                    && other != m
                {
                    bail!(Internal, "schedule: launch {n}: instances {other} and {m} (argument a{arg}) share slot {id}, which is written");
                }
                life[id] = Some((life[id].map_or(n, |l| l.0), n));
            }
        }
    }
    outputs(s, &life)?;
    arena(s, &life)
}

/// A branch or loop: its programs, and what it touches.
fn control(s: &Schedule, c: &Control, n: usize, life: &mut [Option<(usize, usize)>]) -> Result<()> {
    let programs: Vec<(&Program, usize)> = match &c.kind {
        ControlKind::Cond(branches) => branches.iter().map(|b| (b, c.results.len())).collect(),
        ControlKind::Loop(p) => {
            let body = p.carry.len() + p.rows.len() + usize::from(p.first.is_some());
            if c.operands.len() != p.consts + p.carry.len() + p.stacks.len() || c.results.len() != p.carry.len() + p.rows.len() + 1 {
                bail!(Internal, "schedule: a loop is bound to {} operands and {} results", c.operands.len(), c.results.len());
            }
            p.first.iter().map(|f| (f, 1)).chain([(&p.body, body)]).collect()
        }
    };
    for (p, results) in programs {
        if p.results.len() != results || !p.schedule.params.is_empty() {
            bail!(Internal, "schedule: a program of {} results, expected {results}", p.results.len());
        }
        verify_schedule(&p.schedule)?;
    }
    for (id, writes) in c.operands.iter().map(|i| (i, false)).chain(c.results.iter().flatten().map(|i| (i, true))) {
        let Some(slot) = s.slots.get(id.0 as usize) else { bail!(Internal, "schedule: slot {} does not exist", id.0) };
        let given = matches!(slot.place, Place::Input(_));
        let life = &mut life[id.0 as usize];
        if writes && matches!(slot.place, Place::Input(i) if !s.donated.contains(&i)) {
            bail!(Internal, "schedule: a branch or loop writes slot {}, a buffer of the caller's", id.0);
        }
        if !writes && !given && slot.numel > 0 && life.is_none_or(|l| l.0 == n) {
            bail!(Internal, "schedule: a branch or loop reads slot {} before anything was written to it", id.0);
        }
        *life = Some((life.map_or(n, |l| l.0), n));
    }
    Ok(())
}

fn outputs(s: &Schedule, life: &[Option<(usize, usize)>]) -> Result<()> {
    let mut numbers = Vec::new();
    for (n, slot) in s.slots.iter().enumerate() {
        if let Place::Output(o) = slot.place {
            numbers.push(o as usize);
            if life[n].is_none() && slot.numel > 0 {
                bail!(Internal, "schedule: slot {n} is output {o} but is never written");
            }
        }
    }
    numbers.sort_unstable();
    if !numbers.iter().copied().eq(0..numbers.len()) {
        bail!(Internal, "schedule: outputs are numbered {numbers:?}");
    }
    Ok(())
}

fn arena(s: &Schedule, life: &[Option<(usize, usize)>]) -> Result<()> {
    struct Block {
        slot: usize,
        from: usize,
        to: usize,
        life: (usize, usize),
    }
    let mut blocks = Vec::new();
    for (n, slot) in s.slots.iter().enumerate() {
        let Place::Arena(from) = slot.place else { continue };
        let to = slot.numel.checked_mul(slot.dtype.size()).and_then(|b| from.checked_add(b));
        let Some(to) = to.filter(|&to| to <= s.arena_bytes) else {
            bail!(Internal, "schedule: slot {n} ends beyond the arena's {} bytes", s.arena_bytes)
        };
        if from % slot.dtype.size() != 0 {
            bail!(Internal, "schedule: slot {n} of {} is at byte {from} of the arena", slot.dtype);
        }
        blocks.extend(life[n].filter(|_| to > from).map(|life| Block { slot: n, from, to, life }));
    }
    // By birth; a block leaves the live set once a later one is born after its death.
    blocks.sort_by_key(|b| b.life.0);
    let mut live: Vec<&Block> = Vec::new();
    for b in &blocks {
        live.retain(|l| l.life.1 >= b.life.0);
        if let Some(l) = live.iter().find(|l| l.from < b.to && b.from < l.to) {
            bail!(
                Internal,
                "schedule: slots {} and {} live at the same time in the same memory, bytes {}..{} and {}..{}",
                l.slot,
                b.slot,
                l.from,
                l.to,
                b.from,
                b.to
            );
        }
        live.push(b);
    }
    Ok(())
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
