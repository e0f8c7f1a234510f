//! WGSL from Loop IR: a thin printer. One `let` per expression, names by number, so that equal kernels are equal text.
//!
//! [`emit`] chooses a template by archetype ([`point`], [`rows`], [`matmul`], [`attention`], [`scatter`], [`scan`], [`sort`]); the template prints loops and
//! synchronisation, [`Emitter`] what happens at a point, [`ops`] a scalar op, [`prelude`] adds the functions a module calls. Numbers that
//! change from run to run (parameters, offsets) come from a block of words, binding 0; so do, in small kernels, extents and strides: then a
//! new shape of the same structure is no new module.
//!
//! Invariants: the text depends on the kernel, the target and the way arguments share buffers only; no infinity or NaN is ever written as
//! a literal; barriers stand in uniform control flow.

mod attention;
mod expr;
mod matmul;
pub mod ops;
pub(super) mod packed;
mod point;
mod prelude;
mod repeat;
mod rows;
mod scan;
mod scatter;
mod sort;
mod wide;

use crate::base::error::bail;
use crate::base::{DType, Result};
use crate::loops::legalize::{self, StoreForm};
use crate::loops::order::Node;
use crate::loops::symbolic::Symbolic;
use crate::loops::{Access, Archetype, ExprId, Kernel};
pub use repeat::{Carried, Next, Repeat};
use std::collections::HashMap;
use std::fmt::Write;
pub use wide::Element;
use wide::{Depends, WIDE};

/// What modules are made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Invocations of a workgroup where nothing else decides.
    pub workgroup: u32,
    /// Most invocations of a workgroup.
    pub most: u32,
    /// Bytes of workgroup memory.
    pub shared: u32,
    /// Barriers are dear: the adapter is a processor.
    pub software: bool,
    /// Kernels of at most this many points get extents and strides as data.
    pub data_points: usize,
    /// Larger ones visit four points at a time.
    pub wide: bool,
    /// Loads of 64 bits are used for four elements at a time: it has them, and pays by the load.
    pub long: bool,
    /// It has f64, and words of 64 bits, which f64's bits are.
    pub double: bool,
    /// Invocations of every subgroup, which are neighbours; 0: it has none, or of different sizes.
    pub subgroup: u32,
}

impl Target {
    /// What every WebGPU device has.
    pub fn floor() -> Target {
        Target {
            workgroup: 256,
            most: 256,
            shared: 16 << 10,
            software: false,
            data_points: DATA_POINTS,
            wide: true,
            long: false,
            double: false,
            subgroup: 0,
        }
    }
}

/// Below, a launch costs more than the divisions that constants would save.
pub const DATA_POINTS: usize = 1 << 16;

/// Iterations that every software adapter runs.
const LONGEST: usize = 65_000;

/// How an argument is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArgUse {
    /// Arguments in one buffer share a binding.
    pub binding: u32,
    /// Its first element is not the binding's: a word of the block says which.
    pub offset: bool,
    /// The binding is words, shared with arguments of other types.
    pub raw: bool,
}

impl ArgUse {
    /// A binding of its own.
    pub fn alone(binding: u32) -> ArgUse {
        ArgUse { binding, offset: false, raw: false }
    }
}

/// A word of a kernel's block of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Always that.
    Fixed(u32),
    /// The parameter of that number, its low or high word.
    Param(u32, bool),
    /// The first element of that argument within its binding.
    Offset(u32),
}

/// A storage binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// Its elements' type.
    pub dtype: DType,
    /// Written, or in a buffer that another binding writes.
    pub writable: bool,
    /// Written by atomic operations.
    pub atomic: bool,
    /// Words, whatever the type of the arguments.
    pub raw: bool,
    /// What an element holds.
    pub element: Element,
}

/// An emitted kernel.
#[derive(Clone, Debug)]
pub struct Module {
    /// WGSL, entry point `main`.
    pub text: String,
    /// Storage bindings, from binding 1 on.
    pub bindings: Vec<Binding>,
    /// The block of numbers, binding 0, in words; a multiple of 4.
    pub block: Vec<Word>,
    /// Workgroups to launch.
    pub groups: u64,
    /// Bytes of memory it needs besides, bound after the others.
    pub workspace: usize,
}

/// Prints a kernel. `uses` has one entry an argument; `all_writable`: any two bindings may be parts of one buffer.
///
/// # Errors
/// `DType` for types the target has not, `Argument` for what is too large.
pub fn emit(k: &Kernel, target: &Target, uses: &[ArgUse], all_writable: bool) -> Result<Module> {
    emit_repeated(k, target, uses, all_writable, None)
}

/// The same; `repeat`: the kernel is the body of a loop, which runs inside of it.
///
/// # Errors
/// As [`emit`].
pub fn emit_repeated(k: &Kernel, target: &Target, uses: &[ArgUse], all_writable: bool, repeat: Option<&Repeat>) -> Result<Module> {
    let k = match k.archetype {
        Archetype::Sort(_) | Archetype::Cumulative { .. } => k.clone(),
        _ => legalize::inline_scratch(k),
    };
    let k = if repeat.is_some() || uses.iter().any(|u| u.offset) { k } else { legalize::collapse(&k, &Symbolic::new(&k)?) };
    let mut e = Emitter::new(&k, target, uses, all_writable)?;
    if let Some(r) = repeat {
        repeat::emit(&mut e, r)?;
        return Ok(e.finish());
    }
    match &k.archetype {
        Archetype::Pointwise => point::emit(&mut e)?,
        Archetype::RowReduction | Archetype::ColumnReduction => rows::emit(&mut e)?,
        Archetype::Matmul | Archetype::Conv { .. } => matmul::emit(&mut e)?,
        Archetype::Attention => attention::emit(&mut e)?,
        Archetype::Scatter(mode) => scatter::emit(&mut e, *mode)?,
        Archetype::Cumulative { kind, reverse } => scan::emit(&mut e, *kind, *reverse)?,
        Archetype::Sort(descending) => sort::emit(&mut e, *descending)?,
    }
    Ok(e.finish())
}

/// A module in the making.
pub(super) struct Emitter<'a> {
    k: &'a Kernel,
    symbolic: Symbolic,
    target: &'a Target,
    uses: &'a [ArgUse],
    bindings: Vec<Binding>,
    forms: Vec<Vec<StoreForm>>,
    /// Extents and strides are data.
    data: bool,
    block: Vec<Word>,
    /// Words of parameters and offsets.
    known: HashMap<Word, String>,
    /// Before `main`.
    globals: String,
    body: String,
    depth: usize,
    /// Names of what has been computed, innermost scope last.
    scopes: Vec<HashMap<Node, String>>,
    /// Names of reductions' results.
    reduced: HashMap<(u32, u32), String>,
    /// Whether expressions and indices depend on a row axis.
    row: Depends,
    /// Results of reductions are four, one for each point visited together, of which this is the one.
    by_lane: bool,
    lane: usize,
    /// Loads that were made before, and the text of each of the four points visited together.
    given: Vec<(ExprId, Vec<String>)>,
    /// Arguments of which row `row` is meant, and the row's elements.
    moved: Vec<(usize, usize)>,
    workgroup: u32,
    groups: u64,
    workspace: usize,
}

impl<'a> Emitter<'a> {
    fn new(k: &'a Kernel, target: &'a Target, uses: &'a [ArgUse], all_writable: bool) -> Result<Emitter<'a>> {
        let types = || k.exprs.iter().map(|e| e.dtype).chain(k.args.iter().map(|a| a.dtype)).chain(k.params.iter().copied());
        if let Some(d) = types().find(|&d| d == DType::F64 && !target.double) {
            bail!(DType, "this wgpu device has no {d}: cast to f32, or use the cpu device");
        }
        let symbolic = Symbolic::new(k)?;
        legalize::check_width(k, &symbolic)?;
        let forms = legalize::store_forms(k, &symbolic, |a| uses[a].offset);
        let scatters = matches!(k.archetype, Archetype::Scatter(_));
        let mut bindings: Vec<Binding> = Vec::new();
        for (u, a) in uses.iter().zip(&k.args) {
            let n = u.binding as usize;
            if n == bindings.len() {
                bindings.push(Binding { dtype: a.dtype, writable: all_writable, atomic: false, raw: u.raw, element: Element::One });
            }
            let Some(b) = bindings.get_mut(n) else { bail!(Internal, "binding {n} comes before those below it") };
            if b.dtype != a.dtype && !u.raw {
                bail!(Internal, "one buffer is bound as {} and {}", b.dtype, a.dtype);
            }
            b.writable |= a.access != Access::Read;
        }
        for (pass, forms) in k.passes.iter().zip(&forms) {
            for (s, form) in pass.stores.iter().zip(forms) {
                let arg = &k.args[s.arg.index()];
                // Scattered halves and bytes are put by atomic operations too: their neighbours may be another invocation's.
                bindings[uses[s.arg.index()].binding as usize].atomic |=
                    *form == StoreForm::Shared || (scatters && legalize::per_word(arg.dtype) > 1);
            }
        }
        let row = dependence(k, |a| k.axes[a].row, false)?;
        Ok(Emitter {
            data: k.outer_len().saturating_mul(k.row_len()) <= target.data_points,
            k,
            symbolic,
            target,
            uses,
            bindings,
            forms,
            // The first word is zero, see `shaders/float.wgsl`.
            block: vec![Word::Fixed(0)],
            known: HashMap::new(),
            globals: String::new(),
            body: String::new(),
            depth: 1,
            scopes: vec![HashMap::new()],
            reduced: HashMap::new(),
            row,
            by_lane: false,
            lane: 0,
            given: Vec::new(),
            moved: Vec::new(),
            workgroup: target.workgroup,
            groups: 0,
            workspace: 0,
        })
    }

    fn finish(mut self) -> Module {
        while !self.block.len().is_multiple_of(4) {
            self.block.push(Word::Fixed(0));
        }
        let mut text = format!("@group(0) @binding(0) var<uniform> p: array<vec4<u32>, {}>;\n", self.block.len() / 4);
        for (n, b) in self.bindings.iter().enumerate() {
            let access = if b.writable { "read_write" } else { "read" };
            let element = match (b.dtype, b.atomic) {
                (_, true) => "atomic<u32>",
                _ if b.raw => "u32",
                _ if b.element == Element::Long => "vec2<u64>",
                (DType::F32, _) if b.element == Element::Four => "vec4<f32>",
                (DType::I32, _) if b.element == Element::Four => "vec4<i32>",
                (DType::U32, _) if b.element == Element::Four => "vec4<u32>",
                (DType::F64, _) if b.element == Element::Four => "vec4<f64>",
                (DType::F32, _) => "f32",
                (DType::I32, _) => "i32",
                (DType::I64, _) => "vec2<u32>",
                (DType::F64, _) => "f64",
                _ => "u32",
            };
            let _ = writeln!(text, "@group(0) @binding({}) var<storage, {access}> b{n}: array<{element}>;", n + 1);
        }
        if self.workspace > 0 {
            let n = self.bindings.len();
            let _ = writeln!(text, "@group(0) @binding({}) var<storage, read_write> workspace: array<u32>;", n + 1);
        }
        text.push_str(&self.globals);
        text.push('\n');
        text.push_str(&prelude::needed(&format!("{}{}", self.globals, self.body)));
        let _ = write!(
            text,
            "@compute @workgroup_size({})\nfn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, \
             @builtin(local_invocation_index) lid: u32) {{\n    let group = wid.y * nwg.x + wid.x;\n{}}}\n",
            self.workgroup, self.body
        );
        Module { text, bindings: self.bindings, block: self.block, groups: self.groups, workspace: self.workspace }
    }

    /// Refuses so many iterations in one invocation where the adapter would end them early: lavapipe stops at 65535 in all.
    fn bounded(&self, iterations: usize) -> Result<()> {
        if self.target.software && iterations > LONGEST {
            bail!(Argument, "wgpu: {iterations} iterations in one invocation, this adapter runs at most {LONGEST}: split the tensor");
        }
        Ok(())
    }

    fn line(&mut self, text: impl AsRef<str>) {
        for _ in 0..self.depth {
            self.body.push_str("    ");
        }
        self.body.push_str(text.as_ref());
        self.body.push('\n');
    }

    /// A line that opens a block and a scope of names.
    fn open(&mut self, text: impl AsRef<str>) {
        self.line(text);
        self.depth += 1;
        self.scopes.push(HashMap::new());
    }

    fn close(&mut self) {
        self.scopes.pop();
        self.depth -= 1;
        self.line("}");
    }

    /// Another word of the block, as `u32`.
    fn word(&mut self, w: Word) -> String {
        if let Some(s) = self.known.get(&w) {
            return s.clone();
        }
        let n = self.block.len();
        self.block.push(w);
        let text = format!("p[{}].{}", n / 4, ["x", "y", "z", "w"][n % 4]);
        if !matches!(w, Word::Fixed(_)) {
            self.known.insert(w, text.clone());
        }
        text
    }

    /// A number that is structure: an extent, a stride.
    fn int(&mut self, v: i64) -> String {
        let v = v.clamp(i32::MIN as i64, i32::MAX as i64) as i32;
        if self.data && !(-1..=1).contains(&v) {
            let w = self.word(Word::Fixed(v as u32));
            return format!("bitcast<i32>({w})");
        }
        match v {
            i32::MIN => "bitcast<i32>(0x80000000u ^ p[0].x)".to_string(),
            v if v < 0 => format!("({v})"),
            v => v.to_string(),
        }
    }

    /// As [`int`](Self::int), unsigned; an extent of 1 is data too, so that it is no structure.
    fn count(&mut self, v: usize) -> String {
        if self.data { self.word(Word::Fixed(v as u32)) } else { format!("{v}u") }
    }

    /// Declares the variables of `axes` from the linear position `at` (u32) among them, row-major.
    fn decompose(&mut self, at: &str, axes: &[usize]) {
        let parts: Vec<(String, usize)> = axes.iter().map(|&a| (format!("i{a}"), self.k.axes[a].extent)).collect();
        self.split(at, &parts);
    }

    /// The same where four points along the last of the axes share a position: of the first of them, that axis is `base`.
    fn decompose_wide(&mut self, at: &str, axes: &[usize]) {
        let mut parts: Vec<(String, usize)> = axes.iter().map(|&a| (format!("i{a}"), self.k.axes[a].extent)).collect();
        if let Some(last) = parts.last_mut() {
            *last = ("quad_".to_string(), last.1 / WIDE);
        }
        self.split(at, &parts);
        self.line(format!("let base = quad_ * {WIDE};"));
    }

    /// Declares `i32` coordinates, named and of these extents, of the linear position `at` (u32).
    fn split(&mut self, at: &str, parts: &[(String, usize)]) {
        let mut rest = at.to_string();
        for (n, (name, extent)) in parts.iter().enumerate().rev() {
            if n == 0 {
                self.line(format!("let {name} = i32({rest});"));
                break;
            }
            let extent = self.count(*extent);
            let (q, r) = (format!("q_{name}"), rest);
            self.line(format!("let {q} = {r} / {extent};"));
            self.line(format!("let {name} = i32({r} - {q} * {extent});"));
            rest = q;
        }
    }

    /// Axes that are, or are not, part of the row.
    fn axes(&self, row: bool) -> Vec<usize> {
        (0..self.k.axes.len()).filter(|&a| self.k.axes[a].row == row).collect()
    }

    /// Reserves workgroup memory.
    fn shared(&mut self, name: &str, element: &str, n: u32) {
        let _ = writeln!(self.globals, "var<workgroup> {name}: array<{element}, {n}>;");
    }
}

/// Which expressions and indices depend on certain axes or on row scratch; also on results of reductions, if `reduced`.
fn dependence(k: &Kernel, axis: impl Fn(usize) -> bool, reduced: bool) -> Result<Depends> {
    use crate::loops::{ExprKind, Index, IndexId};
    let all = (0..k.exprs.len()).map(|e| Node::Expr(ExprId(e as u32))).chain((0..k.indices.len()).map(|i| Node::Index(IndexId(i as u32))));
    let (mut exprs, mut indices) = (vec![false; k.exprs.len()], vec![false; k.indices.len()]);
    for n in k.order(all)? {
        let mut own = false;
        let mut join = |m: Node| {
            own |= match m {
                Node::Expr(e) => exprs[e.index()],
                Node::Index(i) => indices[i.index()],
            }
        };
        match n {
            Node::Expr(e) => {
                k.exprs[e.index()].operands(&mut join);
                own |= match k.exprs[e.index()].kind {
                    ExprKind::Scratch(_) => true,
                    ExprKind::Reduced(..) => reduced,
                    _ => false,
                };
                exprs[e.index()] = own;
            }
            Node::Index(i) => {
                k.indices[i.index()].operands(&mut join);
                own |= matches!(k.indices[i.index()], Index::Axis(a) if axis(a as usize));
                indices[i.index()] = own;
            }
        }
    }
    Ok((exprs, indices))
}
