//! Four neighbouring points at a time: what they share is computed once, neighbouring elements are read and written together.
//!
//! A template names the axis along which an invocation visits four points ([`Emitter::widen`]), and then says what happens at a point
//! ([`Emitter::lanes`]); here is what becomes one access: a load whose index steps by one along the axis and is a multiple of four at the
//! first point. Processors without a vector gather pay by the access, not by the byte: there, where the device has 64-bit words, an element
//! of memory is one of them.

use super::ops::type_of;
use super::{Access, Emitter};
use crate::base::{DType, Result};
use crate::loops::legalize::{StoreForm, per_word};
use crate::loops::order::Node;
use crate::loops::{ExprId, ExprKind, IndexId, Pass};

/// Points visited together.
pub(super) const WIDE: usize = 4;

/// What an element of a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Element {
    /// One of the argument's elements, or a word of them.
    #[default]
    One,
    /// Four of them.
    Four,
    /// Four of them, in two words of 64 bits.
    Long,
}

/// For each expression and each index, whether it changes along an axis.
pub(super) type Depends = (Vec<bool>, Vec<bool>);

/// Stores of a pass that four points carry out together.
pub(super) struct WideStores {
    /// Number of the pass, and those of its stores.
    pass: usize,
    stores: Vec<usize>,
    /// The condition under which to store.
    guard: Option<String>,
}

impl WideStores {
    /// Every store of the pass, wherever `guard` holds.
    pub(super) fn of(pass: usize, guard: Option<&str>) -> WideStores {
        WideStores { pass, stores: Vec::new(), guard: guard.map(String::from) }
    }
}

impl Emitter<'_> {
    /// Whether the index is `base + 4 n + axis`: four neighbours from a multiple of four on.
    fn in_fours(&self, i: IndexId, axis: usize, depends: &Depends) -> bool {
        self.symbolic.along(i, axis, WIDE as i64, |e| depends.0[e.index()]) == Some((1, true))
    }

    fn may_be_wide(&self, arg: usize) -> bool {
        let (u, d) = (self.uses[arg], self.k.args[arg].dtype);
        let b = self.bindings[u.binding as usize];
        // Memory is bound in multiples of four words, so of F64 there may be less than a whole element at its end.
        let whole = || self.uses.iter().zip(self.k.args.iter()).all(|(v, a)| v.binding != u.binding || a.numel.is_multiple_of(WIDE));
        !u.offset && !b.raw && !b.atomic && (d.size() <= 4 || d == DType::F64 && whole())
    }

    /// Whether the expression is a load that becomes one access along `axis`.
    pub(super) fn wide_load(&self, e: ExprId, axis: usize, depends: &Depends) -> bool {
        let ExprKind::Load { arg, index, mask, .. } = &self.k.exprs[e.index()].kind else { return false };
        self.may_be_wide(arg.index()) && self.in_fours(*index, axis, depends) && mask.iter().all(|b| !depends.1[b.index.index()])
    }

    fn wide_store(&self, pass: usize, store: usize, axis: usize, depends: &Depends) -> bool {
        let st = &self.k.passes[pass].stores[store];
        let whole = match self.forms[pass][store] {
            StoreForm::Plain => per_word(self.k.args[st.arg.index()].dtype) == 1,
            StoreForm::Words => true,
            StoreForm::Shared => false,
        };
        whole && st.valid.is_none() && self.may_be_wide(st.arg.index()) && self.in_fours(st.index, axis, depends)
    }

    /// Whether four points along `axis` at a time save anything: there are as many, and some access along it becomes one; that of a load only, unless
    /// `stores` count.
    pub(super) fn worth_widening(&self, axis: usize, roots: &[Node], stores: bool) -> Result<bool> {
        if self.data || !self.target.wide || !self.k.axes[axis].extent.is_multiple_of(WIDE) || self.k.axes[axis].extent == 0 {
            return Ok(false);
        }
        let depends = self.depends_on(axis, false)?;
        let loads = self.k.order(roots.iter().copied())?.iter().any(|n| matches!(n, Node::Expr(e) if self.wide_load(*e, axis, &depends)));
        let stores =
            stores && (0..self.k.passes.len()).any(|p| (0..self.k.passes[p].stores.len()).any(|s| self.wide_store(p, s, axis, &depends)));
        Ok(loads || stores)
    }

    /// What changes along `axis`; also results of reductions, if `reduced`.
    pub(super) fn depends_on(&self, axis: usize, reduced: bool) -> Result<Depends> {
        super::dependence(self.k, |a| a == axis, reduced)
    }

    /// Chooses the bindings' elements, given the axes along which loads are asked for in fours. To be called before anything is printed.
    pub(super) fn widen(&mut self, axes: &[usize]) -> Result<()> {
        let roots: Vec<Node> = self.k.passes.iter().flat_map(Pass::roots).collect();
        let mut wanted = vec![false; self.bindings.len()];
        // Whether all loads of it are wide, and there is no store.
        let mut only = vec![true; self.bindings.len()];
        let depends = axes.iter().map(|&a| self.depends_on(a, true)).collect::<Result<Vec<_>>>()?;
        for n in self.k.order(roots)? {
            let Node::Expr(e) = n else { continue };
            let ExprKind::Load { arg, .. } = &self.k.exprs[e.index()].kind else { continue };
            let b = self.uses[arg.index()].binding as usize;
            let wide = axes.iter().zip(&depends).any(|(&a, d)| self.wide_load(e, a, d));
            wanted[b] |= wide;
            only[b] &= wide;
        }
        for p in 0..self.k.passes.len() {
            for s in 0..self.k.passes[p].stores.len() {
                let b = self.uses[self.k.passes[p].stores[s].arg.index()].binding as usize;
                wanted[b] |= axes.iter().zip(&depends).any(|(&a, d)| self.wide_store(p, s, a, d));
                only[b] = false;
            }
        }
        for (n, b) in self.bindings.iter_mut().enumerate() {
            let read = self.uses.iter().zip(self.k.args.iter()).all(|(u, a)| u.binding as usize != n || a.access == Access::Read);
            let four = wanted[n] && !b.raw && !b.atomic && (b.dtype.size() == 4 || b.dtype == DType::F64);
            b.element = match four {
                false => Element::One,
                true if only[n] && read && self.target.long && b.dtype.size() == 4 => Element::Long,
                true => Element::Four,
            };
        }
        Ok(())
    }

    /// The type of what a wide load reads, as `name`, and the text of each of the four.
    fn four_parts(&mut self, e: ExprId, name: &str) -> (String, Vec<String>) {
        let x = self.k.exprs[e.index()].clone();
        let ExprKind::Load { arg, mask, fill, .. } = &x.kind else { return Default::default() };
        let d = self.k.args[arg.index()].dtype;
        let element = self.bindings[self.uses[arg.index()].binding as usize].element;
        let (ty, parts): (String, Vec<String>) = match (per_word(d), element) {
            (1, Element::Long) => {
                let half = |n: usize| match n % 2 {
                    0 => format!("u32({name}[{}])", n / 2),
                    _ => format!("u32({name}[{}] >> 32u)", n / 2),
                };
                let part = |n: usize| match d {
                    DType::F32 => format!("bitcast<f32>({})", half(n)),
                    DType::I32 => format!("bitcast<i32>({})", half(n)),
                    _ => half(n),
                };
                ("vec2<u64>".to_string(), (0..4).map(part).collect())
            }
            (1, _) => (format!("vec4<{}>", type_of(d)), (0..4).map(|n| format!("{name}[{n}]")).collect()),
            (4, _) => ("u32".to_string(), (0..4).map(|n| self.unpacked(d, &format!("({name} >> {}u)", 8 * n))).collect()),
            _ => {
                let part = |n: usize| self.unpacked(d, &format!("({name}[{}] >> {}u)", n / 2, 16 * (n % 2)));
                ("vec2<u32>".to_string(), (0..4).map(part).collect())
            }
        };
        if mask.is_empty() {
            return (ty, parts);
        }
        let fill = self.constant(*fill, x.dtype);
        (ty, parts.into_iter().map(|p| format!("select({fill}, {p}, in_{name})")).collect())
    }

    /// What a wide load reads, given the index of the first of the four.
    fn four_value(&mut self, e: ExprId, ty: &str) -> String {
        let ExprKind::Load { arg, index, .. } = self.k.exprs[e.index()].kind.clone() else { return String::new() };
        let (d, u) = (self.k.args[arg.index()].dtype, self.uses[arg.index()]);
        let (b, at) = (format!("b{}", u.binding), format!("u32({})", self.n(index)));
        let words: Vec<String> = match (per_word(d), self.bindings[u.binding as usize].element) {
            (1, Element::One) => (0..4).map(|n| format!("{b}[{at} + {n}u]")).collect(),
            (2, _) => vec![format!("{b}[{at} >> 1u]"), format!("{b}[({at} >> 1u) + 1u]")],
            _ => return format!("{b}[{at} >> 2u]"),
        };
        format!("{ty}({})", words.join(", "))
    }

    /// Reads the four elements of a wide load whose index is there; returns the text of each.
    fn load_four(&mut self, e: ExprId) -> Vec<String> {
        let name = format!("w{}", e.0);
        let (ty, parts) = self.four_parts(e, &name);
        let value = self.four_value(e, &ty);
        match &self.k.exprs[e.index()].kind {
            ExprKind::Load { mask, .. } if !mask.is_empty() => {
                let inside = self.bounds(mask);
                self.line(format!("let in_{name} = {inside};"));
                self.line(format!("var {name}: {ty};"));
                self.line(format!("if (in_{name}) {{ {name} = {value}; }}"));
            }
            _ => self.line(format!("let {name} = {value};")),
        }
        parts
    }

    /// Reads the four elements of a wide load at the point where the axes are as given, for the blocks that follow; returns the text of each.
    pub(super) fn load_four_at(&mut self, e: ExprId, end: usize, axes: &[(usize, String)]) -> Result<Vec<String>> {
        let name = format!("w{}_{end}", e.0);
        let (ty, parts) = self.four_parts(e, &name);
        let ExprKind::Load { index, mask, .. } = &self.k.exprs[e.index()].kind else { return Ok(parts) };
        self.line(format!("var {name}: {ty};"));
        if !mask.is_empty() {
            self.line(format!("var in_{name} = false;"));
        }
        self.open("{");
        axes.iter().for_each(|(a, text)| self.line(format!("let i{a} = {text};")));
        self.compute(mask.iter().map(|b| b.index).chain([*index]).map(Node::Index))?;
        let value = self.four_value(e, &ty);
        if mask.is_empty() {
            self.line(format!("{name} = {value};"));
        } else {
            let inside = self.bounds(mask);
            self.line(format!("in_{name} = {inside};"));
            self.line(format!("if (in_{name}) {{ {name} = {value}; }}"));
        }
        self.close();
        Ok(parts)
    }

    /// Prints what happens at four points along `axis`, from the one at `base` (i32, a multiple of 4) on: `body` is called for each, with what
    /// `roots` need computed; then the stores are carried out. What does not change from point to point is computed once, before.
    pub(super) fn lanes(
        &mut self,
        axis: usize,
        base: &str,
        roots: &[Node],
        stores: Option<WideStores>,
        mut body: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        let depends = self.depends_on(axis, self.by_lane)?;
        let changes = |n: &Node| match n {
            Node::Expr(e) => depends.0[e.index()],
            Node::Index(i) => depends.1[i.index()],
        };
        let known = |e: &Self, n: &Node| e.scopes.iter().any(|s| s.contains_key(n));
        let order = self.k.order(roots.iter().copied())?;
        let shared: Vec<Node> = order.iter().copied().filter(|n| !changes(n)).collect();
        self.open("{");
        self.compute(shared)?;
        self.line(format!("let i{axis} = {base};"));
        let mut together: Vec<usize> = Vec::new();
        let mut indices: Vec<Node> = Vec::new();
        let loads: Vec<ExprId> = order
            .iter()
            .filter_map(|n| match n {
                Node::Expr(e) if !known(self, n) && self.wide_load(*e, axis, &depends) => Some(*e),
                _ => None,
            })
            .collect();
        for e in &loads {
            if let ExprKind::Load { index, .. } = self.k.exprs[e.index()].kind {
                indices.push(Node::Index(index));
            }
        }
        if let Some(st) = &stores {
            together = (0..self.k.passes[st.pass].stores.len()).filter(|&s| self.wide_store(st.pass, s, axis, &depends)).collect();
            indices.extend(together.iter().map(|&s| Node::Index(self.k.passes[st.pass].stores[s].index)));
        }
        self.compute(indices)?;
        let parts: Vec<Vec<String>> = loads.iter().map(|&e| self.load_four(e)).collect();
        let stores = stores.map(|s| WideStores { stores: together, ..s });
        let mut places = Vec::new();
        if let Some(st) = &stores {
            for &s in &st.stores {
                let store = self.k.passes[st.pass].stores[s];
                places.push(self.n(store.index));
                let ty = match per_word(self.k.args[store.arg.index()].dtype) {
                    1 => format!("vec4<{}>", type_of(self.k.args[store.arg.index()].dtype)),
                    2 => "vec2<u32>".to_string(),
                    _ => "u32".to_string(),
                };
                self.line(format!("var o{s}: {ty};"));
            }
        }
        // Each point computes its own.
        if let Some(scope) = self.scopes.last_mut() {
            scope.retain(|n, _| !changes(n));
        }
        for lane in 0..WIDE {
            self.open("{");
            if lane > 0 {
                self.line(format!("let i{axis} = {base} + {lane};"));
            }
            for (e, p) in loads.iter().zip(&parts) {
                self.line(format!("let e{} = {};", e.0, p[lane]));
                self.define(Node::Expr(*e), format!("e{}", e.0));
            }
            for (e, texts) in self.given.clone() {
                self.line(format!("let e{} = {};", e.0, texts[lane]));
                self.define(Node::Expr(e), format!("e{}", e.0));
            }
            self.lane = lane;
            self.compute(roots.iter().copied())?;
            body(self, lane)?;
            if let Some(st) = &stores {
                self.lane_stores(st, lane)?;
            }
            self.close();
        }
        if let Some(st) = &stores {
            self.four_stores(st, &places);
        }
        self.close();
        Ok(())
    }

    /// One point's stores: those that are carried out together are only kept.
    fn lane_stores(&mut self, st: &WideStores, lane: usize) -> Result<()> {
        let alone = st.stores.len() < self.k.passes[st.pass].stores.len();
        for &s in &st.stores {
            let store = self.k.passes[st.pass].stores[s];
            let d = self.k.args[store.arg.index()].dtype;
            let value = self.e(store.value);
            let bits = self.bits(d, &value);
            match per_word(d) {
                1 => self.line(format!("o{s}[{lane}] = {value};")),
                2 if lane.is_multiple_of(2) => self.line(format!("o{s}[{}] = {bits};", lane / 2)),
                2 => self.line(format!("o{s}[{0}] = o{s}[{0}] | (({bits}) << 16u);", lane / 2)),
                _ if lane == 0 => self.line(format!("o{s} = {bits};")),
                _ => self.line(format!("o{s} = o{s} | (({bits}) << {}u);", 8 * lane)),
            }
        }
        if alone {
            if let Some(g) = &st.guard {
                self.open(format!("if ({g}) {{"));
            }
            for s in (0..self.k.passes[st.pass].stores.len()).filter(|s| !st.stores.contains(s)) {
                let store = self.k.passes[st.pass].stores[s];
                self.store(&store, self.forms[st.pass][s]);
            }
            if st.guard.is_some() {
                self.close();
            }
        }
        Ok(())
    }

    fn four_stores(&mut self, st: &WideStores, places: &[String]) {
        if st.stores.is_empty() {
            return;
        }
        if let Some(g) = &st.guard {
            self.open(format!("if ({g}) {{"));
        }
        for (&s, at) in st.stores.iter().zip(places) {
            let arg = self.k.passes[st.pass].stores[s].arg.index();
            let b = self.uses[arg].binding;
            match (per_word(self.k.args[arg].dtype), self.bindings[b as usize].element) {
                (2, _) => {
                    self.line(format!("b{b}[u32({at}) >> 1u] = o{s}[0];"));
                    self.line(format!("b{b}[(u32({at}) >> 1u) + 1u] = o{s}[1];"));
                }
                (1, Element::One) => (0..WIDE).for_each(|n| self.line(format!("b{b}[u32({at}) + {n}u] = o{s}[{n}];"))),
                _ => self.line(format!("b{b}[u32({at}) >> 2u] = o{s};")),
            }
        }
        if st.guard.is_some() {
            self.close();
        }
    }
}
