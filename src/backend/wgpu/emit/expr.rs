//! What happens at one point: expressions, indices, loads and stores.

use super::ops::{binary, cast, compare, opaque, type_of, unary};
use super::{Binding, Depends, Element, Emitter, Word};
use crate::base::error::bail;
use crate::base::{DType, Result, Scalar};
use crate::loops::legalize::{StoreForm, per_word};
use crate::loops::order::Node;
use crate::loops::{Bound, ExprId, ExprKind, Index, IndexId, Store};
use crate::trace::Binary;

impl Emitter<'_> {
    /// Computes what `roots` need, except what is there already.
    pub(super) fn compute(&mut self, roots: impl IntoIterator<Item = Node>) -> Result<()> {
        self.compute_but(roots, &[])
    }

    /// The same, but nothing that changes as one of these says.
    pub(super) fn compute_but(&mut self, roots: impl IntoIterator<Item = Node>, changes: &[&Depends]) -> Result<()> {
        for n in self.k.order(roots)? {
            let later = changes.iter().any(|d| match n {
                Node::Expr(e) => d.0[e.index()],
                Node::Index(i) => d.1[i.index()],
            });
            if later || self.scopes.iter().any(|s| s.contains_key(&n)) {
                continue;
            }
            let name = match n {
                Node::Expr(e) => self.expr(e)?,
                Node::Index(i) => self.index(i)?,
            };
            if let Some(scope) = self.scopes.last_mut() {
                scope.insert(n, name);
            }
        }
        Ok(())
    }

    /// The name under which something was computed.
    pub(super) fn name(&self, n: Node) -> String {
        let found = self.scopes.iter().rev().find_map(|s| s.get(&n));
        // Roots are computed in order, operands first.
        found.cloned().unwrap_or_else(|| format!("missing_{n:?}"))
    }

    pub(super) fn e(&self, e: ExprId) -> String {
        self.name(Node::Expr(e))
    }

    pub(super) fn n(&self, i: IndexId) -> String {
        self.name(Node::Index(i))
    }

    /// Names something from outside of the expressions.
    pub(super) fn define(&mut self, n: Node, name: impl Into<String>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(n, name.into());
        }
    }

    fn index(&mut self, i: IndexId) -> Result<String> {
        let text = match self.k.indices[i.index()] {
            Index::Axis(a) => return Ok(format!("i{a}")),
            Index::Const(c) => self.int(c),
            Index::Add(a, b) => format!("{} + {}", self.n(a), self.n(b)),
            Index::Mul(a, c) => format!("{} * {}", self.n(a), self.int(c)),
            Index::Div(a, c) | Index::Mod(a, c) => {
                let div = matches!(self.k.indices[i.index()], Index::Div(..));
                let (x, c) = (self.n(a), self.int(c));
                match (self.symbolic.range(a).0 >= 0, div) {
                    (true, true) => format!("i32(u32({x}) / u32({c}))"),
                    (true, false) => format!("i32(u32({x}) % u32({c}))"),
                    (false, true) => format!("div_floor({x}, {c})"),
                    (false, false) => format!("rem_floor({x}, {c})"),
                }
            }
            Index::Value(e, n) => {
                let x = match self.k.exprs[e.index()].dtype {
                    DType::I64 => format!("l_held({})", self.e(e)),
                    _ => self.e(e),
                };
                if n == 0 {
                    x
                } else {
                    let last = self.int(n - 1);
                    format!("clamp({x}, 0, {last})")
                }
            }
        };
        let name = format!("n{}", i.0);
        self.line(format!("let {name} = {text};"));
        Ok(name)
    }

    pub(super) fn bounds(&mut self, mask: &[Bound]) -> String {
        let one = |e: &mut Self, b: &Bound| {
            let (x, lo, hi) = (e.n(b.index), e.int(b.lo), e.int(b.hi));
            format!("({x} >= {lo} && {x} < {hi})")
        };
        let all: Vec<String> = mask.iter().map(|b| one(self, b)).collect();
        if all.is_empty() { "true".to_string() } else { all.join(" && ") }
    }

    /// A number as a value of a type.
    pub(super) fn constant(&mut self, s: Scalar, d: DType) -> String {
        match d {
            DType::F32 | DType::F16 | DType::BF16 => {
                let x = s.as_f64() as f32;
                // Zero too: compilers take x * 0 for 0 and x + 0 for x.
                if x.is_normal() {
                    return format!("{x:?}f");
                }
                let w = self.word(Word::Fixed(x.to_bits()));
                format!("bitcast<f32>({w})")
            }
            DType::F64 => {
                let x = s.as_f64();
                if x.is_normal() {
                    return format!("{x:?}lf");
                }
                self.fixed_double(x)
            }
            DType::I32 => match s.as_i64() as i32 {
                i32::MIN => "bitcast<i32>(0x80000000u ^ p[0].x)".to_string(),
                v if v < 0 => format!("({v})"),
                v => format!("{v}"),
            },
            DType::I64 => {
                let v = s.as_i64() as u64;
                format!("vec2<u32>({}u, {}u)", v as u32, (v >> 32) as u32)
            }
            DType::Bool => format!("{}", s.as_bool()),
            _ => format!("{}u", s.cast(d).as_i64() as u32),
        }
    }

    /// A number that is data, though it is always the same.
    pub(super) fn fixed_double(&mut self, x: f64) -> String {
        let bits = x.to_bits();
        let (low, high) = (self.word(Word::Fixed(bits as u32)), self.word(Word::Fixed((bits >> 32) as u32)));
        format!("d_of({low}, {high})")
    }

    fn param(&mut self, n: u32, d: DType) -> String {
        let low = self.word(Word::Param(n, false));
        match d {
            DType::F32 | DType::F16 | DType::BF16 => format!("bitcast<f32>({low})"),
            DType::I32 => format!("bitcast<i32>({low})"),
            DType::I64 => format!("vec2<u32>({low}, {})", self.word(Word::Param(n, true))),
            DType::F64 => format!("d_of({low}, {})", self.word(Word::Param(n, true))),
            DType::Bool => format!("{low} != 0u"),
            _ => low,
        }
    }

    /// Element `index` of an argument of whole words, as a place in memory.
    fn element(&mut self, arg: usize, index: &str) -> String {
        let (b, at) = self.place(arg, index);
        match self.bindings[self.uses[arg].binding as usize].element {
            Element::One => format!("{b}[{at}]"),
            Element::Four => format!("{b}[u32({at}) >> 2u][u32({at}) & 3u]"),
            Element::Long => {
                let word = format!("u32({b}[u32({at}) >> 2u][(u32({at}) >> 1u) & 1u] >> ((u32({at}) & 1u) << 5u))");
                match self.k.args[arg].dtype {
                    DType::F32 => format!("bitcast<f32>({word})"),
                    DType::I32 => format!("bitcast<i32>({word})"),
                    _ => word,
                }
            }
        }
    }

    /// Where element `index` of an argument is: the binding and the position in it.
    fn place(&mut self, arg: usize, index: &str) -> (String, String) {
        let u = self.uses[arg];
        let index = match self.moved.iter().find(|m| m.0 == arg).map(|m| m.1) {
            Some(n) => format!("({index} + row * {})", self.int(n as i64)),
            None => index.to_string(),
        };
        let at = if u.offset {
            let w = self.word(Word::Offset(arg as u32));
            format!("({index} + i32({w}))")
        } else {
            index
        };
        (format!("b{}", u.binding), at)
    }

    /// The word of a packed argument that holds an element, and the element's shift in it.
    pub(super) fn packed(&mut self, arg: usize, index: &str) -> (String, String) {
        let (b, at) = self.place(arg, index);
        match per_word(self.k.args[arg].dtype) {
            4 => (format!("{b}[u32({at}) >> 2u]"), format!("((u32({at}) & 3u) << 3u)")),
            _ => (format!("{b}[u32({at}) >> 1u]"), format!("((u32({at}) & 1u) << 4u)")),
        }
    }

    /// An element of an argument.
    pub(super) fn load(&mut self, arg: usize, index: &str) -> String {
        let d = self.k.args[arg].dtype;
        let Binding { atomic, raw, .. } = self.bindings[self.uses[arg].binding as usize];
        if per_word(d) == 1 {
            if !atomic && !raw {
                return self.element(arg, index);
            }
            let (b, at) = self.place(arg, index);
            let word = |at: &str| if atomic { format!("atomicLoad(&{b}[{at}])") } else { format!("{b}[{at}]") };
            return match d {
                DType::F32 => format!("bitcast<f32>({})", word(&at)),
                DType::I32 => format!("bitcast<i32>({})", word(&at)),
                DType::I64 => format!("vec2<u32>({}, {})", word(&format!("2 * {at}")), word(&format!("2 * {at} + 1"))),
                DType::F64 => format!("d_of({}, {})", word(&format!("2 * {at}")), word(&format!("2 * {at} + 1"))),
                _ => word(&at),
            };
        }
        let (word, shift) = self.packed(arg, index);
        let word = if atomic { format!("atomicLoad(&{word})") } else { word };
        self.unpacked(d, &format!("({word} >> {shift})"))
    }

    /// The value whose bits are the low ones of a word.
    pub(super) fn unpacked(&self, d: DType, word: &str) -> String {
        match d {
            DType::Bool => format!("({word} & 0xffu) != 0u"),
            DType::U8 => format!("{word} & 0xffu"),
            DType::F16 => format!("h_to_f32({word} & 0xffffu)"),
            _ => format!("b_to_f32({word} & 0xffffu)"),
        }
    }

    /// The bits of a value of a packed type, in the low bits of a word.
    pub(super) fn bits(&self, d: DType, value: &str) -> String {
        match d {
            DType::Bool => format!("select(0u, 1u, {value})"),
            DType::F16 => format!("f32_to_h({value})"),
            DType::BF16 => format!("f32_to_b({value})"),
            _ => value.to_string(),
        }
    }

    fn expr(&mut self, e: ExprId) -> Result<String> {
        let x = self.k.exprs[e.index()].clone();
        let of = |e: ExprId| self.k.exprs[e.index()].dtype;
        let name = format!("e{}", e.0);
        let text = match &x.kind {
            ExprKind::Const(c) => self.constant(*c, x.dtype),
            ExprKind::Param(n) => self.param(*n, x.dtype),
            ExprKind::Load { arg, index, mask, fill } => {
                let index = self.n(*index);
                if mask.is_empty() {
                    self.load(arg.index(), &index)
                } else {
                    let (fill, inside) = (self.constant(*fill, x.dtype), self.bounds(mask));
                    self.line(format!("var {name}: {} = {fill};", type_of(x.dtype)));
                    let value = self.load(arg.index(), &index);
                    self.line(format!("if ({inside}) {{ {name} = {value}; }}"));
                    return Ok(name);
                }
            }
            ExprKind::Index(i) => {
                let n = self.n(*i);
                cast(DType::I32, x.dtype, &n)
            }
            ExprKind::InBounds(mask) => self.bounds(mask),
            ExprKind::Unary(op, a) => unary(*op, x.dtype, &self.e(*a)),
            // Compilers take x - x for 0, also where x is infinite.
            ExprKind::Binary(Binary::Sub, a, b) if a == b && x.dtype.is_float() => {
                let a = self.e(*a);
                format!("{a} - {}", opaque(x.dtype, &a))
            }
            // And a + (b - a) for b, which in F64 is computed for what it leaves: compensated sums, clamps that pass derivatives on.
            ExprKind::Binary(op @ (Binary::Add | Binary::Sub), a, b) if x.dtype == DType::F64 => {
                let [a, b] = [*a, *b].map(|e| match self.k.exprs[e.index()].kind {
                    ExprKind::Binary(Binary::Add | Binary::Sub, ..) => opaque(x.dtype, &self.e(e)),
                    _ => self.e(e),
                });
                binary(*op, x.dtype, &a, &b)
            }
            ExprKind::Binary(op, a, b) => binary(*op, x.dtype, &self.e(*a), &self.e(*b)),
            ExprKind::Compare(op, a, b) => compare(*op, of(*a), &self.e(*a), &self.e(*b)),
            ExprKind::Select(m, a, b) => format!("select({}, {}, {})", self.e(*b), self.e(*a), self.e(*m)),
            ExprKind::Cast(a) => cast(of(*a), x.dtype, &self.e(*a)),
            ExprKind::Random(key, offset, i) => format!("philox({}, {}, u32({}))", self.e(*key), self.e(*offset), self.n(*i)),
            ExprKind::Reduced(p, n) => match self.reduced.get(&(*p, *n)) {
                Some(r) if self.by_lane => return Ok(format!("{r}[{}]", self.lane)),
                Some(r) => return Ok(r.clone()),
                None => bail!(Internal, "reduction {n} of pass {p} is used before it is known"),
            },
            ExprKind::Scratch(s) => bail!(Internal, "row scratch s{} is left after legalisation", s.0),
        };
        self.line(format!("let {name} = {text};"));
        Ok(name)
    }

    /// Writes a store of form `Plain` or `Shared`.
    pub(super) fn store(&mut self, s: &Store, form: StoreForm) {
        let arg = s.arg.index();
        let (index, value) = (self.n(s.index), self.e(s.value));
        self.put(arg, &index, &value, form);
    }

    /// Writes an element.
    pub(super) fn put(&mut self, arg: usize, index: &str, value: &str, form: StoreForm) {
        let d = self.k.args[arg].dtype;
        if form == StoreForm::Plain {
            let Binding { atomic, raw, .. } = self.bindings[self.uses[arg].binding as usize];
            if !atomic && !raw {
                let to = self.element(arg, index);
                self.line(format!("{to} = {value};"));
                return;
            }
            let (b, at) = self.place(arg, index);
            let words = match d {
                DType::F64 => {
                    let words = format!("d_words({value})");
                    vec![(format!("2 * {at}"), format!("{words}.x")), (format!("2 * {at} + 1"), format!("{words}.y"))]
                }
                DType::I64 => vec![(format!("2 * {at}"), format!("{value}.x")), (format!("2 * {at} + 1"), format!("{value}.y"))],
                DType::U32 => vec![(at, value.to_string())],
                _ => vec![(at, format!("bitcast<u32>({value})"))],
            };
            for (at, word) in words {
                self.line(if atomic { format!("atomicStore(&{b}[{at}], {word});") } else { format!("{b}[{at}] = {word};") });
            }
            return;
        }
        let (word, shift) = self.packed(arg, index);
        let ones = if per_word(d) == 4 { "0xffu" } else { "0xffffu" };
        let bits = self.bits(d, value);
        self.line(format!("atomicAnd(&{word}, ~({ones} << {shift}));"));
        self.line(format!("atomicOr(&{word}, ({bits}) << {shift});"));
    }
}
