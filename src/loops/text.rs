//! The text form of a kernel: printed by `explain` and golden files, and parsed back to an equal kernel.
//!
//! ```text
//! kernel row_reduction
//! axes 4, 8 row
//! args a0: read f32[32], a1: write f32[4]
//! n0 = i0
//! n1 = n0 * 8
//! n2 = i1
//! n3 = n1 + n2                        # 8*i0 + i1
//! e0: f32 = load a0[n3]               # 8*i0 + i1
//! e1: f32 = reduced r0.0
//! pass 0 row
//!   r0.0: f32 = max e0
//! pass 1 outer
//!   a1[n0] = e1                       # i0
//! ```
//!
//! The arenas are printed in their order (`n`: indices, `e`: expressions); what follows `#` is for the reader. Parsing checks
//! the notation only: what it yields may break the rules that [`verify`](super::verify::verify) checks.

use super::symbolic::Symbolic;
use super::*;
use crate::base::error::{Error, bail, err};
use crate::base::{DType, Result, Scalar};
use crate::trace::{Binary, Compare, ConvSpec, Reduce, ScatterMode, Unary};
use std::fmt;
use std::str::FromStr;

/// Column at which comments start.
const COMMENT: usize = 44;

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbolic = Symbolic::new(self).ok();
        let formula = |i: IndexId| symbolic.as_ref().filter(|_| i.index() < self.indices.len()).and_then(|s| s.formula(i));
        writeln!(f, "kernel {}", archetype(&self.archetype))?;
        list(f, "axes", &self.axes, |a, _| format!("{}{}", a.extent, if a.row { " row" } else { "" }))?;
        list(f, "args", &self.args, |a, n| format!("a{n}: {} {}[{}]", access(a.access), a.dtype, a.numel))?;
        list(f, "params", &self.params, |d, _| d.to_string())?;
        list(f, "scratch", &self.scratch, |d, _| d.to_string())?;
        for (n, i) in self.indices.iter().enumerate() {
            let plain = matches!(i, Index::Axis(_) | Index::Const(_));
            line(f, format!("n{n} = {}", index(i)), if plain { None } else { formula(IndexId(n as u32)) })?;
        }
        for (n, e) in self.exprs.iter().enumerate() {
            let note = match &e.kind {
                ExprKind::Load { index, .. } | ExprKind::Index(index) | ExprKind::Random(_, _, index) => formula(*index),
                _ => None,
            };
            line(f, format!("e{n}: {} = {}", e.dtype, expr(e)), note)?;
        }
        for (n, p) in self.passes.iter().enumerate() {
            writeln!(f, "pass {n} {}", if p.row { "row" } else { "outer" })?;
            for (m, r) in p.reduces.iter().enumerate() {
                let what = match r.kind {
                    ReduceKind::Fold(kind, e) => format!("{} e{}", kind.name(), e.0),
                    ReduceKind::Dot(a, b) => format!("dot e{}, e{}", a.0, b.0),
                };
                writeln!(f, "  r{n}.{m}: {} = {what}", r.dtype)?;
            }
            for (s, e) in &p.scratch {
                writeln!(f, "  s{} = e{}", s.0, e.0)?;
            }
            for s in &p.stores {
                let valid = s.valid.map_or(String::new(), |b| format!(" where {}", bound(&b)));
                line(f, format!("  a{}[n{}] = e{}{valid}", s.arg.0, s.index.0, s.value.0), formula(s.index))?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, text: String, note: Option<String>) -> fmt::Result {
    match note {
        Some(note) => writeln!(f, "{text:<COMMENT$}# {note}"),
        None => writeln!(f, "{text}"),
    }
}

fn list<T>(f: &mut fmt::Formatter<'_>, name: &str, items: &[T], show: impl Fn(&T, usize) -> String) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "{name} {}", items.iter().enumerate().map(|(n, x)| show(x, n)).collect::<Vec<_>>().join(", "))
}

fn numbers<T: fmt::Display>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(|x| x.to_string()).collect::<Vec<_>>().join(", "))
}

fn archetype(a: &Archetype) -> String {
    match a {
        Archetype::Pointwise => "pointwise".into(),
        Archetype::RowReduction => "row_reduction".into(),
        Archetype::ColumnReduction => "column_reduction".into(),
        Archetype::Matmul => "matmul".into(),
        Archetype::Attention => "attention".into(),
        Archetype::Conv { spec, input, window } => format!(
            "conv stride {} lo {} hi {} lhs_dilation {} rhs_dilation {} groups {} input {} window {}",
            numbers(&spec.stride),
            numbers(&spec.lo),
            numbers(&spec.hi),
            numbers(&spec.lhs_dilation),
            numbers(&spec.rhs_dilation),
            spec.groups,
            numbers(input),
            numbers(window)
        ),
        Archetype::Scatter(mode) => format!("scatter {}", mode.name()),
        Archetype::Sort(descending) => format!("sort {}", if *descending { "descending" } else { "ascending" }),
        Archetype::Cumulative { kind, reverse } => format!("cumulative {} {}", kind.name(), if *reverse { "reverse" } else { "forward" }),
    }
}

fn access(a: Access) -> &'static str {
    match a {
        Access::Read => "read",
        Access::Write => "write",
        Access::Update => "update",
    }
}

fn index(i: &Index) -> String {
    match *i {
        Index::Axis(a) => format!("i{a}"),
        Index::Const(c) => c.to_string(),
        Index::Add(a, b) => format!("n{} + n{}", a.0, b.0),
        Index::Mul(a, c) => format!("n{} * {c}", a.0),
        Index::Div(a, c) => format!("n{} / {c}", a.0),
        Index::Mod(a, c) => format!("n{} % {c}", a.0),
        Index::Value(e, 0) => format!("value e{}", e.0),
        Index::Value(e, n) => format!("value e{} clamp {n}", e.0),
    }
}

fn bound(b: &Bound) -> String {
    format!("{} <= n{} < {}", b.lo, b.index.0, b.hi)
}

fn bounds(mask: &[Bound]) -> String {
    mask.iter().map(bound).collect::<Vec<_>>().join(", ")
}

/// Keeps every bit: floats print as the shortest decimal that reads back, other NaNs than the usual one as their bits.
fn scalar(s: Scalar) -> String {
    match s {
        Scalar::Float(x) if x.is_nan() && x.to_bits() != f64::NAN.to_bits() => format!("nan:{:#x}", x.to_bits()),
        Scalar::Float(x) if x.is_nan() => "nan".into(),
        Scalar::Float(x) => format!("{x:?}"),
        Scalar::Int(x) => x.to_string(),
        Scalar::Bool(x) => x.to_string(),
    }
}

/// The fill a load has when the text names none.
fn no_fill(dtype: DType) -> Scalar {
    Scalar::Int(0).cast(dtype)
}

fn expr(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Const(c) => format!("const {}", scalar(*c)),
        ExprKind::Param(p) => format!("param p{p}"),
        ExprKind::Load { arg, index, mask, fill } => {
            let mut s = format!("load a{}[n{}]", arg.0, index.0);
            if !mask.is_empty() {
                s += &format!(" where {}", bounds(mask));
            }
            if !mask.is_empty() || !fill.same(no_fill(e.dtype)) {
                s += &format!(" else {}", scalar(*fill));
            }
            s
        }
        ExprKind::Index(i) => format!("index n{}", i.0),
        ExprKind::InBounds(mask) => format!("inbounds {}", bounds(mask)).trim_end().into(),
        ExprKind::Unary(op, a) => format!("{} e{}", op.name(), a.0),
        ExprKind::Binary(op, a, b) => format!("{} e{}, e{}", op.name(), a.0, b.0),
        ExprKind::Compare(op, a, b) => format!("{} e{}, e{}", op.name(), a.0, b.0),
        ExprKind::Select(m, a, b) => format!("select e{}, e{}, e{}", m.0, a.0, b.0),
        ExprKind::Cast(a) => format!("cast e{}", a.0),
        ExprKind::Random(key, offset, i) => format!("random e{}, e{}, n{}", key.0, offset.0, i.0),
        ExprKind::Reduced(p, r) => format!("reduced r{p}.{r}"),
        ExprKind::Scratch(s) => format!("scratch s{}", s.0),
    }
}

/// Most entries of one list of a parsed kernel: a bound on what hostile text can ask for.
const MAX_ENTRIES: usize = 1 << 16;

impl FromStr for Kernel {
    type Err = Error;

    /// # Errors
    /// `Format`, with the line number, if the text is not that of a kernel.
    fn from_str(text: &str) -> Result<Kernel> {
        let mut k = Kernel {
            archetype: Archetype::Pointwise,
            axes: vec![],
            args: vec![],
            params: vec![],
            exprs: vec![],
            indices: vec![],
            passes: vec![],
            scratch: vec![],
        };
        let mut headed = false;
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let at = |e: Error| err!(Format, "kernel text, line {}: {}", n + 1, e.message());
            let mut p = Parser { tokens: tokens(line).map_err(at)?, at: 0 };
            match (headed, p.word("kernel")) {
                (false, true) => k.archetype = p.archetype().map_err(at)?,
                (true, false) => p.line(&mut k).map_err(at)?,
                (false, false) => return Err(at(err!(Format, "expected `kernel` and its archetype"))),
                (true, true) => return Err(at(err!(Format, "a second kernel"))),
            }
            headed = true;
            p.end().map_err(at)?;
            let longest = [k.exprs.len(), k.indices.len(), k.passes.len(), k.args.len(), k.params.len()];
            if longest.into_iter().any(|l| l > MAX_ENTRIES) {
                return Err(at(err!(Format, "more than {MAX_ENTRIES} entries")));
            }
        }
        match headed {
            true => Ok(k),
            false => bail!(Format, "kernel text: no kernel"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    /// Letters, digits, `_`, `.`, and what continues a number (`1e-7`, `nan:0x..`).
    Word(&'a str),
    Sign(&'a str),
}

fn tokens(line: &str) -> Result<Vec<Token<'_>>> {
    let mut out = Vec::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let b = rest.as_bytes();
        let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'.';
        let len = if c.is_whitespace() {
            rest = &rest[c.len_utf8()..];
            continue;
        } else if word(b[0]) || (c == '-' && b.get(1).is_some_and(|&d| word(d))) {
            let number = b[0] == b'-' || b[0].is_ascii_digit();
            let mut n = 1;
            while n < b.len() && (word(b[n]) || (number && b[n] == b'-' && b[n - 1] == b'e') || (b[n] == b':' && &b[..n] == b"nan")) {
                n += 1;
            }
            n
        } else if rest.starts_with("<=") {
            2
        } else if c.is_ascii_punctuation() {
            1
        } else {
            bail!(Format, "unexpected character {c:?}");
        };
        let (token, tail) = rest.split_at(len);
        out.push(if word(b[0]) || len > 1 && b[0] == b'-' { Token::Word(token) } else { Token::Sign(token) });
        rest = tail;
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn word(&mut self, word: &str) -> bool {
        let hit = self.tokens.get(self.at) == Some(&Token::Word(word));
        self.at += hit as usize;
        hit
    }

    fn sign(&mut self, sign: &str) -> bool {
        let hit = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += hit as usize;
        hit
    }

    fn wrong(&self, expected: &str) -> Error {
        match self.tokens.get(self.at) {
            Some(Token::Word(t) | Token::Sign(t)) => {
                err!(Format, "expected {expected}, found `{}`", t.chars().take(40).collect::<String>())
            }
            None => err!(Format, "expected {expected}, found the end of the line"),
        }
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.wrong(&format!("`{sign}`"))) }
    }

    fn keyword(&mut self, word: &str) -> Result<()> {
        if self.word(word) { Ok(()) } else { Err(self.wrong(&format!("`{word}`"))) }
    }

    fn end(&self) -> Result<()> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.wrong("the end of the line")) }
    }

    /// The next word, as `read` understands it.
    fn read<T>(&mut self, what: &str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T> {
        let found = match self.tokens.get(self.at) {
            Some(Token::Word(w)) => read(w),
            _ => None,
        };
        match found {
            Some(t) => {
                self.at += 1;
                Ok(t)
            }
            None => Err(self.wrong(what)),
        }
    }

    fn number<T: FromStr>(&mut self) -> Result<T> {
        self.read("a number", |w| w.parse().ok())
    }

    fn dtype(&mut self) -> Result<DType> {
        self.read("a dtype", DType::from_name)
    }

    /// A letter with a number, as `e12`.
    fn id(&mut self, letter: char) -> Result<u32> {
        self.read(&format!("`{letter}` with a number"), |w| id(w, letter))
    }

    fn expr_id(&mut self) -> Result<ExprId> {
        self.id('e').map(ExprId)
    }

    fn index_id(&mut self) -> Result<IndexId> {
        self.id('n').map(IndexId)
    }

    /// `r0.1`.
    fn reduced(&mut self) -> Result<(u32, u32)> {
        self.read("a reduction as `r0.0`", |w| {
            let (p, r) = w.strip_prefix('r')?.split_once('.')?;
            Some((digits(p)?, digits(r)?))
        })
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self, usize) -> Result<T>) -> Result<Vec<T>> {
        let mut out = vec![item(self, 0)?];
        while self.sign(",") {
            out.push(item(self, out.len())?);
        }
        Ok(out)
    }

    fn array<T: FromStr>(&mut self, name: &str) -> Result<Vec<T>> {
        self.keyword(name)?;
        self.expect("[")?;
        if self.sign("]") {
            return Ok(vec![]);
        }
        let out = self.list(|p, _| p.number())?;
        self.expect("]")?;
        Ok(out)
    }

    fn archetype(&mut self) -> Result<Archetype> {
        let name = self.read("an archetype", Some)?;
        Ok(match name {
            "pointwise" => Archetype::Pointwise,
            "row_reduction" => Archetype::RowReduction,
            "column_reduction" => Archetype::ColumnReduction,
            "matmul" => Archetype::Matmul,
            "attention" => Archetype::Attention,
            "conv" => {
                let stride = self.array("stride")?.into();
                let (lo, hi) = (self.array("lo")?.into(), self.array("hi")?.into());
                let (lhs_dilation, rhs_dilation) = (self.array("lhs_dilation")?.into(), self.array("rhs_dilation")?.into());
                self.keyword("groups")?;
                let spec = ConvSpec { stride, lo, hi, lhs_dilation, rhs_dilation, groups: self.number()? };
                Archetype::Conv { spec: Box::new(spec), input: self.array("input")?.into(), window: self.array("window")?.into() }
            }
            "scatter" => Archetype::Scatter(self.read("a scatter mode", |w| ScatterMode::ALL.into_iter().find(|m| m.name() == w))?),
            "sort" => Archetype::Sort(self.either("descending", "ascending")?),
            "cumulative" => {
                let kind = self.read("a reduction", Reduce::from_name)?;
                Archetype::Cumulative { kind, reverse: self.either("reverse", "forward")? }
            }
            _ => {
                self.at -= 1;
                return Err(self.wrong("an archetype"));
            }
        })
    }

    fn either(&mut self, yes: &str, no: &str) -> Result<bool> {
        if self.word(yes) {
            return Ok(true);
        }
        if self.word(no) { Ok(false) } else { Err(self.wrong(&format!("`{yes}` or `{no}`"))) }
    }

    /// A line after the first.
    fn line(&mut self, k: &mut Kernel) -> Result<()> {
        let once = |empty: bool| if empty { Ok(()) } else { Err(err!(Format, "given twice")) };
        if self.word("axes") {
            once(k.axes.is_empty())?;
            k.axes = self.list(|p, _| Ok(LoopAxis { extent: p.number()?, row: p.word("row") }))?;
        } else if self.word("args") {
            once(k.args.is_empty())?;
            k.args = self.list(|p, n| p.arg(n))?;
        } else if self.word("params") {
            once(k.params.is_empty())?;
            k.params = self.list(|p, _| p.dtype())?;
        } else if self.word("scratch") {
            once(k.scratch.is_empty())?;
            k.scratch = self.list(|p, _| p.dtype())?;
        } else if self.word("pass") {
            let n: usize = self.number()?;
            self.numbered(n, k.passes.len())?;
            k.passes.push(Pass { row: self.either("row", "outer")?, ..Pass::default() });
        } else {
            match self.tokens.get(self.at) {
                Some(Token::Word(w)) if id(w, 'n').is_some() => {
                    let n = self.id('n')? as usize;
                    self.numbered(n, k.indices.len())?;
                    self.expect("=")?;
                    k.indices.push(self.index()?);
                }
                Some(Token::Word(w)) if id(w, 'e').is_some() => {
                    let n = self.id('e')? as usize;
                    self.numbered(n, k.exprs.len())?;
                    self.expect(":")?;
                    let dtype = self.dtype()?;
                    self.expect("=")?;
                    k.exprs.push(Expr { kind: self.expr(dtype)?, dtype });
                }
                _ => {
                    let n = k.passes.len();
                    match k.passes.last_mut() {
                        Some(pass) => self.sink(pass, n - 1)?,
                        None => return Err(self.wrong("a part of a kernel")),
                    }
                }
            }
        }
        Ok(())
    }

    fn numbered(&self, n: usize, next: usize) -> Result<()> {
        if n == next { Ok(()) } else { Err(err!(Format, "number {n} where {next} comes next")) }
    }

    fn arg(&mut self, n: usize) -> Result<Arg> {
        let id = self.id('a')? as usize;
        self.numbered(id, n)?;
        self.expect(":")?;
        let access =
            self.read("read, write or update", |w| [Access::Read, Access::Write, Access::Update].into_iter().find(|a| access(*a) == w))?;
        let dtype = self.dtype()?;
        self.expect("[")?;
        let numel = self.number()?;
        self.expect("]")?;
        Ok(Arg { dtype, numel, access })
    }

    fn index(&mut self) -> Result<Index> {
        if self.word("value") {
            let e = self.expr_id()?;
            return Ok(Index::Value(e, if self.word("clamp") { self.number()? } else { 0 }));
        }
        let Some(Token::Word(w)) = self.tokens.get(self.at) else { return Err(self.wrong("an index")) };
        if id(w, 'i').is_some() {
            return self.read("an axis below 256", |w| Some(Index::Axis(u8::try_from(id(w, 'i')?).ok()?)));
        }
        if id(w, 'n').is_none() {
            return Ok(Index::Const(self.number()?));
        }
        let a = self.index_id()?;
        Ok(match self.tokens.get(self.at) {
            Some(Token::Sign("+")) => {
                self.at += 1;
                Index::Add(a, self.index_id()?)
            }
            Some(&Token::Sign(op @ ("*" | "/" | "%"))) => {
                self.at += 1;
                let c = self.number()?;
                match op {
                    "*" => Index::Mul(a, c),
                    "/" => Index::Div(a, c),
                    _ => Index::Mod(a, c),
                }
            }
            _ => return Err(self.wrong("`+`, `*`, `/` or `%`")),
        })
    }

    fn bound(&mut self) -> Result<Bound> {
        let lo = self.number()?;
        self.expect("<=")?;
        let index = self.index_id()?;
        self.expect("<")?;
        Ok(Bound { index, lo, hi: self.number()? })
    }

    fn scalar(&mut self) -> Result<Scalar> {
        self.read("a number", |w| {
            if let Some(bits) = w.strip_prefix("nan:0x") {
                let x = f64::from_bits(u64::from_str_radix(bits, 16).ok()?);
                return Some(Scalar::Float(x)).filter(|_| x.is_nan());
            }
            match w {
                "nan" => Some(Scalar::Float(f64::NAN)),
                "inf" => Some(Scalar::Float(f64::INFINITY)),
                "-inf" => Some(Scalar::Float(f64::NEG_INFINITY)),
                "true" => Some(Scalar::Bool(true)),
                "false" => Some(Scalar::Bool(false)),
                _ if !w.bytes().any(|b| b.is_ascii_digit()) => None,
                _ if w.contains(['.', 'e']) => w.parse().ok().map(Scalar::Float),
                _ => w.parse().ok().map(Scalar::Int),
            }
        })
    }

    fn expr(&mut self, dtype: DType) -> Result<ExprKind> {
        let name = self.read("an operation", Some)?;
        let pair = |p: &mut Self| -> Result<(ExprId, ExprId)> {
            let a = p.expr_id()?;
            p.expect(",")?;
            Ok((a, p.expr_id()?))
        };
        Ok(match name {
            "const" => ExprKind::Const(self.scalar()?),
            "param" => ExprKind::Param(self.id('p')?),
            "load" => {
                let arg = ArgId(self.id('a')?);
                self.expect("[")?;
                let index = self.index_id()?;
                self.expect("]")?;
                let mask = if self.word("where") { self.list(|p, _| p.bound())?.into() } else { SmallVec::new() };
                ExprKind::Load { arg, index, mask, fill: if self.word("else") { self.scalar()? } else { no_fill(dtype) } }
            }
            "index" => ExprKind::Index(self.index_id()?),
            "inbounds" if self.at == self.tokens.len() => ExprKind::InBounds(SmallVec::new()),
            "inbounds" => ExprKind::InBounds(self.list(|p, _| p.bound())?.into()),
            "select" => {
                let m = self.expr_id()?;
                self.expect(",")?;
                let (a, b) = pair(self)?;
                ExprKind::Select(m, a, b)
            }
            "cast" => ExprKind::Cast(self.expr_id()?),
            "random" => {
                let (key, offset) = pair(self)?;
                self.expect(",")?;
                ExprKind::Random(key, offset, self.index_id()?)
            }
            "reduced" => {
                let (p, r) = self.reduced()?;
                ExprKind::Reduced(p, r)
            }
            "scratch" => ExprKind::Scratch(ScratchId(self.id('s')?)),
            _ => {
                if let Some(op) = Unary::from_name(name) {
                    ExprKind::Unary(op, self.expr_id()?)
                } else if let Some(op) = Binary::from_name(name) {
                    let (a, b) = pair(self)?;
                    ExprKind::Binary(op, a, b)
                } else if let Some(op) = Compare::from_name(name) {
                    let (a, b) = pair(self)?;
                    ExprKind::Compare(op, a, b)
                } else {
                    self.at -= 1;
                    return Err(self.wrong("an operation"));
                }
            }
        })
    }

    /// A line of a pass.
    fn sink(&mut self, pass: &mut Pass, n: usize) -> Result<()> {
        let Some(Token::Word(w)) = self.tokens.get(self.at) else { return Err(self.wrong("a reduction, scratch or store")) };
        match w.as_bytes()[0] {
            b'r' => {
                let (p, r) = self.reduced()?;
                self.numbered(p as usize, n)?;
                self.numbered(r as usize, pass.reduces.len())?;
                self.expect(":")?;
                let dtype = self.dtype()?;
                self.expect("=")?;
                let kind = if self.word("dot") {
                    let a = self.expr_id()?;
                    self.expect(",")?;
                    ReduceKind::Dot(a, self.expr_id()?)
                } else {
                    let kind = self.read("a reduction or `dot`", Reduce::from_name)?;
                    ReduceKind::Fold(kind, self.expr_id()?)
                };
                pass.reduces.push(ReduceSink { kind, dtype });
            }
            b's' => {
                let s = ScratchId(self.id('s')?);
                self.expect("=")?;
                pass.scratch.push((s, self.expr_id()?));
            }
            _ => {
                let arg = ArgId(self.id('a')?);
                self.expect("[")?;
                let index = self.index_id()?;
                self.expect("]")?;
                self.expect("=")?;
                let value = self.expr_id()?;
                let valid = if self.word("where") { Some(self.bound()?) } else { None };
                pass.stores.push(Store { arg, index, value, valid });
            }
        }
        Ok(())
    }
}

fn digits(s: &str) -> Option<u32> {
    s.parse().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()))
}

fn id(word: &str, letter: char) -> Option<u32> {
    digits(word.strip_prefix(letter)?)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
