//! The tile program of one pass: straight-line instructions over tiles of consecutive points.
//!
//! Operands are numbers of entries in a table of pointers (its *slots*): registers, scalars, constants, and pointers into buffers. What a
//! slot points to is set up once per task, moved per base point or advanced per tile; an instruction only passes the pointers on.
//! A program holds the structure of its pass; extents, strides and offsets are data of the `Nest` it runs over.

use super::kernels::{TileFn, reduce::Reduction};
use crate::base::DType;
use std::fmt::Write;

/// No slot.
pub const NONE: u16 = u16::MAX;

/// What a slot of the pointer table points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Tile register of 1 << .0 bytes per lane.
    Reg(u8, u16),
    /// A uniform value in the scalar area.
    Scalar(u16),
    /// An element of the constant pool.
    Const(u16),
    /// A kernel parameter.
    Param(u16),
    /// Set by `Program::accesses[.0]`.
    Access(u16),
    /// Set by the walk instruction that loads it.
    Walked,
    /// Accumulator of that reduction of this pass.
    Acc(u16),
    /// Result of a reduction: one element, or a tile where lanes are rows.
    Reduced(u16),
    /// That row scratch at the tile.
    Scratch(u16),
    /// Transposed block of that stage at the tile.
    Staged(u16),
}

/// A pointer into a buffer: constant per base point, or advancing with the tiles.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The slot it sets.
    pub slot: u16,
    /// Kernel argument.
    pub arg: u16,
    /// Line (element offset) of the nest.
    pub line: u16,
    /// Slot of an I64 scalar added to the offset.
    pub dynamic: u16,
    /// Bytes per element.
    pub size: u8,
    /// Advances with the vector position.
    pub stream: bool,
}

/// What a walk does with each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkKind {
    /// Element of the argument where the bounds hold, else the constant in that slot.
    Load {
        /// Kernel argument.
        arg: u16,
        /// Slot of the fill value.
        fill: u16,
    },
    /// The line's value as I64.
    Iota,
    /// Whether the bounds hold.
    InBounds,
    /// Writes to the argument.
    Store {
        /// Kernel argument.
        arg: u16,
    },
}

/// The structural half of a walk; the strides are `Nest::walks` of the same number.
#[derive(Clone, Copy, Debug)]
pub struct WalkOp {
    /// What it does.
    pub kind: WalkKind,
    /// Number of the walk in the nest.
    pub walk: u16,
    /// Slot of an I64 scalar added to the first line.
    pub dynamic: u16,
    /// Bytes per element.
    pub size: u8,
    /// Register it fills (loads), or slot it reads (stores).
    pub reg: u16,
    /// Slot that is pointed at the result: the register, or the buffer itself where the tile lies contiguous in it. None: the elements are wanted
    /// where `reg` points.
    pub out: u16,
}

/// An access by an index tile.
#[derive(Clone, Copy, Debug)]
pub struct Indexed {
    /// Kernel argument.
    pub arg: u16,
    /// Bytes per element.
    pub size: u8,
    /// I64 tile of element offsets.
    pub index: u16,
    /// Bool tile, or NONE.
    pub mask: u16,
    /// Constant where the mask does not hold.
    pub fill: u16,
    /// Register written (gather) or read (scatter).
    pub reg: u16,
}

/// An instruction.
#[derive(Clone, Copy)]
pub enum Instr {
    /// A tile function.
    Tile {
        /// The function.
        f: TileFn,
        /// Result.
        dst: u16,
        /// Operand.
        a: u16,
        /// Operand.
        b: u16,
        /// Operand.
        c: u16,
    },
    /// Fills a whole register from one element, whatever the tile's length.
    Splat(TileFn, u16, u16),
    /// `Program::walks[.0]`.
    Walk(u16),
    /// `Program::indexed[.0]`, reading.
    Gather(u16),
    /// `Program::indexed[.0]`, writing.
    Scatter(u16),
    /// Points `Program::accesses[.0]`, whose offset has a computed part.
    Point(u16),
    /// Random bits: dst, key, offset, index tile.
    Random(u16, u16, u16, u16),
    /// Random bits of consecutive elements: dst, key, offset, scalar slot of the first element number, line stepping by one.
    RandomRun(u16, u16, u16, u16),
    /// Arg reduction number .0 over the tile in slot .1.
    Arg(u16, u16),
}

/// A reduction of the pass.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// How elements combine.
    pub kind: Reduction,
    /// Compute dtype of the elements.
    pub dtype: DType,
    /// The result is the position of the extreme element.
    pub arg: bool,
    /// Slot of the accumulator.
    pub acc: u16,
    /// Number of the result among all passes' results.
    pub result: u16,
}

/// The code of one pass.
#[derive(Clone, Default)]
pub struct Program {
    /// It runs over the row axes too.
    pub row: bool,
    /// Once per task, one lane.
    pub once: Vec<Instr>,
    /// Once per base point, one lane (splats: whole registers).
    pub base: Vec<Instr>,
    /// Once per tile.
    pub body: Vec<Instr>,
    /// The pointer table.
    pub slots: Vec<Slot>,
    /// Constant pool.
    pub consts: Vec<u64>,
    /// Registers by log2 of bytes per lane.
    pub regs: [u16; 4],
    /// Entries of the scalar area.
    pub scalars: u16,
    /// Pointers into buffers.
    pub accesses: Vec<Access>,
    /// Walks.
    pub walks: Vec<WalkOp>,
    /// Gathers and scatters.
    pub indexed: Vec<Indexed>,
    /// Reductions.
    pub sinks: Vec<Sink>,
    /// For scatter kernels: slots of the store's index, validity (or NONE) and value, and whether each is one element.
    pub scatter: Option<[(u16, bool); 3]>,
    /// The index slot of a scatter points at the destinations themselves, which follow each other.
    pub scatter_run: bool,
    /// The body is one copy between these slots (result, source), and arguments do not overlap.
    pub copy: Option<(u16, u16)>,
    /// Estimated picoseconds per lane.
    pub cost: u32,
    /// Names for the text form, one per instruction of once, base and body.
    pub names: [Vec<String>; 3],
}

impl Program {
    /// Bytes per lane of the register file.
    pub fn lane_bytes(&self) -> usize {
        (0..4).map(|c| (self.regs[c] as usize) << c).sum()
    }

    fn slot_name(&self, s: u16) -> String {
        if s == NONE {
            return "-".into();
        }
        match self.slots[s as usize] {
            Slot::Reg(c, i) => format!("r{}.{i}", 8usize << c),
            Slot::Scalar(i) => format!("s{i}"),
            Slot::Const(i) => format!("const{i}"),
            Slot::Param(i) => format!("param{i}"),
            Slot::Access(a) => {
                let a = &self.accesses[a as usize];
                format!(
                    "arg{}[line{}{}{}]",
                    a.arg,
                    a.line,
                    if a.dynamic != NONE { " + dynamic" } else { "" },
                    if a.stream { " + v" } else { "" }
                )
            }
            Slot::Walked => format!("w{s}"),
            Slot::Acc(i) => format!("acc{i}"),
            Slot::Reduced(i) => format!("reduced{i}"),
            Slot::Scratch(i) => format!("scratch{i}[v]"),
            Slot::Staged(i) => format!("stage{i}[v]"),
        }
    }

    /// The program as text, one instruction a line.
    pub fn text(&self, out: &mut String) {
        let sections = [("once", &self.once), ("base", &self.base), ("tile", &self.body)];
        for (k, (title, code)) in sections.into_iter().enumerate() {
            if code.is_empty() {
                continue;
            }
            let _ = writeln!(out, "  {title}:");
            for (i, instr) in code.iter().enumerate() {
                let name = self.names[k].get(i).map_or("?", |s| s.as_str());
                let s = |x: u16| self.slot_name(x);
                let line = match *instr {
                    Instr::Tile { dst, a, b, c, .. } => {
                        let ops: Vec<String> = [a, b, c].into_iter().filter(|&x| x != NONE).map(s).collect();
                        format!("{} = {name} {}", s(dst), ops.join(", "))
                    }
                    Instr::Splat(_, dst, a) => format!("{} = {name} {}", s(dst), s(a)),
                    Instr::Walk(w) => {
                        let w = &self.walks[w as usize];
                        match w.kind {
                            WalkKind::Store { arg } => format!("{name} arg{arg}[walk{}] = {}", w.walk, s(w.reg)),
                            WalkKind::Load { arg, .. } if w.out == NONE => format!("{} = {name} arg{arg}[walk{}]", s(w.reg), w.walk),
                            WalkKind::Load { arg, .. } => format!("{} = {name} arg{arg}[walk{}] ({})", s(w.out), w.walk, s(w.reg)),
                            _ => format!("{} = {name} walk{} ({})", s(w.out), w.walk, s(w.reg)),
                        }
                    }
                    Instr::Gather(g) => {
                        let g = &self.indexed[g as usize];
                        format!("{} = {name} arg{}[{}] mask {}", s(g.reg), g.arg, s(g.index), s(g.mask))
                    }
                    Instr::Scatter(g) => {
                        let g = &self.indexed[g as usize];
                        format!("{name} arg{}[{}] = {}", g.arg, s(g.index), s(g.reg))
                    }
                    Instr::Point(a) => format!("{name} {}", s(self.accesses[a as usize].slot)),
                    Instr::Random(d, k, o, i) | Instr::RandomRun(d, k, o, i) => format!("{} = {name} {}, {}, {}", s(d), s(k), s(o), s(i)),
                    Instr::Arg(k, v) => format!("{name} acc{k}, {}", s(v)),
                };
                let _ = writeln!(out, "    {line}");
            }
        }
    }
}
