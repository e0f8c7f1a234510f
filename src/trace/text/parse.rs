//! Reading. The text may come from anywhere: it costs memory in proportion to its length, and every instruction is verified as it is read.

use crate::base::error::{bail, err};
use crate::base::{DType, Error, Result, Scalar, Shape};
use crate::trace::elementwise::{Binary, Compare, Unary};
use crate::trace::ir::{Args, Trace, ValueId};
use crate::trace::op::{AxisList, ConvSpec, Op, PadSpec, Reduce, ScatterMode, SliceSpec};
use crate::trace::region::{LoopSpec, Region, RegionKind, Trip};
use crate::trace::verify::{MAX_NESTING, Verifier};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

impl FromStr for Trace {
    type Err = Error;

    /// Reads and verifies a trace.
    ///
    /// # Errors
    /// `Format`, with the line number.
    fn from_str(text: &str) -> Result<Trace> {
        let mut p = Parser { tokens: tokens(text)?, pos: 0 };
        let r = p.trace(0).and_then(|t| match p.next() {
            Token::End => Ok(t),
            t => Err(err!(Format, "expected the end of the text after `return`, found {}", t.show())),
        });
        r.map_err(|e| err!(Format, "line {}: {}", p.line(), e.message()))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'a> {
    /// `%name`, without the sign.
    Value(&'a str),
    /// A name or a number.
    Word(&'a str),
    Symbol(char),
    Newline,
    End,
}

impl Token<'_> {
    fn show(self) -> String {
        match self {
            Token::Value(v) => format!("`%{}`", clip(v)),
            Token::Word(w) => format!("`{}`", clip(w)),
            Token::Symbol(c) => format!("`{c}`"),
            Token::Newline => "the end of the line".into(),
            Token::End => "the end of the text".into(),
        }
    }
}

fn clip(s: &str) -> &str {
    &s[..s.len().min(40)]
}

/// Tokens with their line numbers. Names and numbers are ASCII, so cutting them anywhere is safe.
fn tokens(text: &str) -> Result<Vec<(Token<'_>, u32)>> {
    let word = |s: &str| s.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-'))).unwrap_or(s.len());
    let mut out = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let n = n as u32 + 1;
        let mut rest = line.split("//").next().unwrap_or("").trim();
        if rest.is_empty() {
            continue;
        }
        while let Some(c) = rest.chars().next() {
            let (token, len) = match c {
                '%' => {
                    let len = word(&rest[1..]);
                    if len == 0 {
                        bail!(Format, "line {n}: a value needs a name after `%`");
                    }
                    (Token::Value(&rest[1..1 + len]), 1 + len)
                }
                '[' | ']' | '{' | '}' | '=' | ':' | ',' => (Token::Symbol(c), 1),
                _ => match word(rest) {
                    0 => bail!(Format, "line {n}: unexpected character {c:?}"),
                    len => (Token::Word(&rest[..len]), len),
                },
            };
            out.push((token, n));
            rest = rest[len..].trim_start();
        }
        out.push((Token::Newline, n));
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: Vec<(Token<'a>, u32)>,
    pos: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.pos).map_or(Token::End, |t| t.0)
    }

    /// The line of the token last taken.
    fn line(&self) -> u32 {
        let at = self.pos.clamp(1, self.tokens.len().max(1)) - 1;
        self.tokens.get(at).map_or(1, |t| t.1)
    }

    fn next(&mut self) -> Token<'a> {
        let t = self.peek();
        self.pos += 1;
        t
    }

    fn accept(&mut self, t: Token<'_>) -> bool {
        let hit = self.peek() == t;
        self.pos += hit as usize;
        hit
    }

    fn expect(&mut self, t: Token<'_>) -> Result<()> {
        match self.next() {
            found if found == t => Ok(()),
            found => Err(err!(Format, "expected {}, found {}", t.show(), found.show())),
        }
    }

    fn symbol(&mut self, c: char) -> Result<()> {
        self.expect(Token::Symbol(c))
    }

    fn word(&mut self, what: &str) -> Result<&'a str> {
        match self.next() {
            Token::Word(w) => Ok(w),
            t => Err(err!(Format, "expected {what}, found {}", t.show())),
        }
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Result<T> {
        let w = self.word(what)?;
        w.parse().map_err(|_| err!(Format, "expected {what}, found `{}`", clip(w)))
    }

    /// `name=`, before an attribute.
    fn name(&mut self, name: &str) -> Result<()> {
        self.expect(Token::Word(name))?;
        self.symbol('=')
    }

    fn named<T: FromStr>(&mut self, name: &str) -> Result<T> {
        self.name(name)?;
        self.number(&format!("a number for {name}"))
    }

    /// `[a, b, ...]`.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.symbol('[')?;
        if self.accept(Token::Symbol(']')) {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.accept(Token::Symbol(',')) {
                return self.symbol(']');
            }
        }
    }

    fn numbers<A: smallvec::Array>(&mut self, what: &str) -> Result<SmallVec<A>>
    where
        A::Item: FromStr,
    {
        let mut v = SmallVec::new();
        self.list(|p| {
            v.push(p.number(what)?);
            Ok(())
        })?;
        Ok(v)
    }

    fn axes(&mut self) -> Result<AxisList> {
        self.numbers("an axis")
    }

    fn kind(&mut self) -> Result<Reduce> {
        let w = self.word("a kind of reduction")?;
        Reduce::from_name(w).ok_or_else(|| err!(Format, "`{}` is no kind of reduction", clip(w)))
    }

    /// Instructions up to and including `return`.
    fn trace(&mut self, depth: usize) -> Result<Trace> {
        if depth > MAX_NESTING {
            bail!(Format, "regions are nested more than {MAX_NESTING} deep");
        }
        let mut t = Trace::new();
        let mut names: HashMap<&'a str, ValueId> = HashMap::new();
        let mut verifier = Verifier::new(depth);
        loop {
            match self.next() {
                Token::Word("return") => break,
                Token::Value(name) => {
                    self.symbol('=')?;
                    self.instruction(&mut t, &names, depth)?;
                    verifier.next(&t)?;
                    if names.insert(name, ValueId::new(t.insts.len() - 1)).is_some() {
                        bail!(Format, "%{} is defined twice", clip(name));
                    }
                    self.expect(Token::Newline)?;
                }
                found => bail!(Format, "expected an instruction (`%name = op ...`) or `return`, found {}", found.show()),
            }
        }
        if !self.accept(Token::Newline) {
            loop {
                let v = self.value(&names)?;
                t.outputs.push(v);
                if !self.accept(Token::Symbol(',')) {
                    break;
                }
            }
            self.expect(Token::Newline)?;
        }
        verifier.finish(&t)?;
        Ok(t)
    }

    fn value(&mut self, names: &HashMap<&'a str, ValueId>) -> Result<ValueId> {
        match self.next() {
            Token::Value(name) => names.get(name).copied().ok_or_else(|| err!(Format, "%{} is not defined before this line", clip(name))),
            t => Err(err!(Format, "expected a value, found {}", t.show())),
        }
    }

    /// All after `%name = `, up to the end of the line.
    fn instruction(&mut self, t: &mut Trace, names: &HashMap<&'a str, ValueId>, depth: usize) -> Result<()> {
        let op_name = self.word("an op")?;
        // A scalar is read in the light of the type, which comes last.
        let mut literal = None;
        let mut region_kind = None;
        let mut op = match op_name {
            "input" => Op::Input(self.number("a number")?),
            "param" => Op::Param(self.number("a number")?),
            "output" => Op::Output(self.number("a number")?),
            "const" => {
                literal = Some(self.word("a value")?);
                Op::Const(Scalar::Bool(false))
            }
            "select" => Op::Select,
            "cast" => Op::Cast,
            "reshape" => Op::Reshape,
            "broadcast" => Op::Broadcast,
            "dot" => Op::Dot,
            "random" => Op::Random,
            "reduce" => {
                let kind = self.kind()?;
                self.name("axes")?;
                Op::Reduce(kind, self.axes()?)
            }
            "permute" => Op::Permute(self.axes()?),
            "flip" => {
                self.name("axes")?;
                Op::Flip(self.axes()?)
            }
            "slice" => Op::Slice(Box::new(self.slice()?)),
            "pad" => {
                let mut spec = PadSpec { lo: smallvec![], hi: smallvec![], value: Scalar::Bool(false) };
                self.list(|p| {
                    spec.lo.push(p.number("a padding")?);
                    p.symbol(':')?;
                    spec.hi.push(p.number("a padding")?);
                    Ok(())
                })?;
                self.name("value")?;
                literal = Some(self.word("a value")?);
                Op::Pad(Box::new(spec))
            }
            "concat" => Op::Concat(self.named("axis")?),
            "iota" => Op::Iota(self.named("axis")?),
            "gather" => Op::Gather(self.named("batch")?),
            "scatter" => {
                let w = self.word("a scatter mode")?;
                let mode = ScatterMode::ALL.into_iter().find(|m| m.name() == w);
                let Some(mode) = mode else { bail!(Format, "`{}` is no scatter mode", clip(w)) };
                Op::Scatter(mode, self.named("batch")?)
            }
            "conv" => Op::Conv(Box::new(self.conv()?)),
            "argsort" => Op::ArgSort(self.accept(Token::Word("descending"))),
            "cumulative" => {
                let kind = self.kind()?;
                let axis = self.named("axis")?;
                Op::Cumulative { kind, axis, reverse: self.accept(Token::Word("reverse")) }
            }
            "region" => {
                let kind = self.word("a kind of region")?;
                let attributes = match kind {
                    "loop" => Attributes::Loop(self.repeated()?),
                    "checkpoint" if self.peek() == Token::Word("saved") => Attributes::Saved(self.named("saved")?),
                    _ => Attributes::None,
                };
                region_kind = Some((kind, attributes));
                // Replaced once its traces are read.
                Op::Select
            }
            w => match (Unary::from_name(w), Binary::from_name(w), Compare::from_name(w)) {
                (Some(u), ..) => Op::Unary(u),
                (_, Some(b), _) => Op::Binary(b),
                (.., Some(c)) => Op::Compare(c),
                _ => bail!(Format, "`{}` is no op", clip(w)),
            },
        };
        let mut args: Args = SmallVec::new();
        while let Token::Value(_) = self.peek() {
            args.push(self.value(names)?);
        }
        if let Some((kind, attributes)) = region_kind {
            op = Op::Region(Arc::new(self.region(kind, attributes, depth)?));
        }
        self.symbol(':')?;
        let w = self.word("a dtype")?;
        let Some(dtype) = DType::from_name(w) else { bail!(Format, "`{}` is no dtype", clip(w)) };
        let shape: Shape = self.numbers::<[usize; 4]>("an extent")?.into_iter().collect();
        match (&mut op, literal) {
            (Op::Const(value), Some(w)) => *value = scalar(w, dtype)?,
            (Op::Pad(spec), Some(w)) => spec.value = scalar(w, dtype)?,
            _ => {}
        }
        t.push_typed(op, &args, dtype, shape, None);
        Ok(())
    }

    fn slice(&mut self) -> Result<SliceSpec> {
        let mut s = SliceSpec { start: smallvec![], end: smallvec![], step: smallvec![] };
        self.list(|p| {
            s.start.push(p.number("a start")?);
            p.symbol(':')?;
            s.end.push(p.number("an end")?);
            s.step.push(if p.accept(Token::Symbol(':')) { p.number("a step")? } else { 1 });
            Ok(())
        })?;
        Ok(s)
    }

    fn conv(&mut self) -> Result<ConvSpec> {
        self.name("stride")?;
        let stride = self.numbers("a stride")?;
        self.name("lo")?;
        let lo = self.numbers("a padding")?;
        self.name("hi")?;
        let hi = self.numbers("a padding")?;
        self.name("lhs_dilation")?;
        let lhs_dilation = self.numbers("a dilation")?;
        self.name("rhs_dilation")?;
        let rhs_dilation = self.numbers("a dilation")?;
        Ok(ConvSpec { stride, lo, hi, lhs_dilation, rhs_dilation, groups: self.named("groups")? })
    }

    /// The attributes of a loop.
    fn repeated(&mut self) -> Result<LoopSpec> {
        let (consts, carry) = (self.named("consts")?, self.named("carry")?);
        let length = if self.peek() == Token::Word("length") { Some(self.named("length")?) } else { None };
        let trip = if self.accept(Token::Word("count")) { Trip::Count } else { Trip::Fixed };
        let reverse = self.accept(Token::Word("reverse"));
        let segment = self.accept(Token::Word("segment"));
        Ok(LoopSpec { consts, carry, length, trip, reverse, segment })
    }

    fn region(&mut self, name: &str, attributes: Attributes, depth: usize) -> Result<Region> {
        let body = self.braces(depth)?;
        let kind = match (name, attributes) {
            (_, Attributes::Loop(mut spec)) => {
                if self.accept(Token::Word("while")) {
                    if spec.trip == Trip::Count {
                        bail!(Format, "a loop with a condition has no `count`");
                    }
                    spec.trip = Trip::While(self.braces(depth)?);
                }
                RegionKind::Loop(Arc::new(spec))
            }
            ("cond", _) => {
                self.expect(Token::Word("else"))?;
                RegionKind::Cond(self.braces(depth)?)
            }
            (_, Attributes::Saved(saved)) => RegionKind::Checkpoint(saved),
            ("checkpoint", _) => RegionKind::Checkpoint(0),
            ("custom_jvp" | "custom_vjp", _) => {
                self.expect(Token::Word("rule"))?;
                let rule = self.braces(depth)?;
                if name == "custom_jvp" { RegionKind::CustomJvp(rule) } else { RegionKind::CustomVjp(rule) }
            }
            (w, _) => bail!(Format, "`{}` is no kind of region", clip(w)),
        };
        Ok(Region { kind, body })
    }

    fn braces(&mut self, depth: usize) -> Result<Arc<Trace>> {
        self.symbol('{')?;
        self.expect(Token::Newline)?;
        let t = self.trace(depth + 1)?;
        self.symbol('}')?;
        Ok(Arc::new(t))
    }
}

/// What stands between the kind of a region and its operands.
enum Attributes {
    None,
    Saved(u32),
    Loop(LoopSpec),
}

/// A literal as a value of `dtype`: a float is rounded, an integer must be in range.
fn scalar(w: &str, dtype: DType) -> Result<Scalar> {
    let bad = || err!(Format, "`{}` is no value of {dtype}", clip(w));
    if !dtype.is_float() {
        let s = if dtype == DType::Bool { Scalar::Bool(w.parse().map_err(|_| bad())?) } else { Scalar::Int(w.parse().map_err(|_| bad())?) };
        return if s.same(s.cast(dtype)) { Ok(s) } else { Err(bad()) };
    }
    if let Some(bits) = w.strip_prefix("nan_") {
        let x = u64::from_str_radix(bits, 16).map(f64::from_bits).map_err(|_| bad())?;
        return if x.is_nan() { Ok(Scalar::Float(x)) } else { Err(bad()) };
    }
    // Read at once as f32: by way of f64 the shortest decimal of an f32 could round twice.
    let x = if dtype == DType::F64 { w.parse::<f64>() } else { w.parse::<f32>().map(f64::from) }.map_err(|_| bad())?;
    Ok(if x.is_nan() { Scalar::Float(f64::NAN) } else { Scalar::Float(x).cast(dtype) })
}
