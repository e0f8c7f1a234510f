//! The text form of a trace: printed by `Display`, read back by `FromStr`; reading what was printed gives an equal trace.
//!
//! ```text
//! %0 = input 0 : f32[4, 3]
//! %1 = const 2.0 : f32[]                       // a 0-d value has the shape []
//! %2 = broadcast %1 : f32[4, 3]
//! %3 = mul %0 %2 : f32[4, 3]
//! %4 = slice [0:4:2, 1:3] %3 : f32[2, 2]       // start:end:step along each axis, a step of 1 left out
//! %5 = region checkpoint %4 {
//!   %0 = input 0 : f32[2, 2]
//!   %1 = reduce sum axes=[1] %0 : f32[2]
//!   return %1
//! } : f32[2]
//! %6 = output 0 %5 : f32[2]
//! return %6
//! ```
//!
//! One instruction a line: name, op, the op's attributes, operands, type. Printing names values by position; when reading, a name
//! is any word after `%`, given once before it is used. `//` starts a comment. `{:#}` adds the user's line to each instruction
//! as a comment. A custom rule follows its body: `} rule {`, the other branch of a
//! `cond` `} else {`, the condition of a `loop` `} while {`. A checkpoint that keeps its last n outputs is a
//! `region checkpoint saved=n`.

mod parse;
#[cfg(test)]
mod tests;

use super::ir::{Inst, Trace};
use super::op::Op;
use super::region::{RegionKind, Trip};
use crate::base::{DType, Scalar};
use std::fmt::{self, Display, Formatter, Write};

impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        trace(self, f, 0)
    }
}

fn indent(f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
    (0..depth).try_for_each(|_| f.write_str("  "))
}

fn trace(t: &Trace, f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
    for (i, inst) in t.insts.iter().enumerate() {
        indent(f, depth)?;
        write!(f, "%{i} = ")?;
        instruction(inst, f, depth)?;
        write!(f, " : {}{}", inst.dtype, inst.shape)?;
        if let (true, Some(s)) = (f.alternate(), inst.site) {
            write!(f, "  // {}:{}", s.file(), s.line())?;
        }
        f.write_char('\n')?;
    }
    indent(f, depth)?;
    f.write_str("return")?;
    for (i, o) in t.outputs.iter().enumerate() {
        write!(f, "{}{o:?}", if i == 0 { " " } else { ", " })?;
    }
    f.write_char('\n')
}

fn instruction(inst: &Inst, f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
    f.write_str(inst.op.name())?;
    match &inst.op {
        Op::Input(n) | Op::Param(n) | Op::Output(n) => write!(f, " {n}")?,
        Op::Const(c) => {
            f.write_char(' ')?;
            scalar(*c, inst.dtype, f)?;
        }
        Op::Reduce(kind, axes) => write!(f, " {} axes={axes:?}", kind.name())?,
        Op::Permute(perm) => write!(f, " {perm:?}")?,
        Op::Slice(s) => ranges(f, s.start.len(), |f, i| match s.step[i] {
            1 => write!(f, "{}:{}", s.start[i], s.end[i]),
            step => write!(f, "{}:{}:{step}", s.start[i], s.end[i]),
        })?,
        Op::Pad(p) => {
            ranges(f, p.lo.len(), |f, i| write!(f, "{}:{}", p.lo[i], p.hi[i]))?;
            f.write_str(" value=")?;
            scalar(p.value, inst.dtype, f)?;
        }
        Op::Flip(axes) => write!(f, " axes={axes:?}")?,
        Op::Concat(axis) | Op::Iota(axis) => write!(f, " axis={axis}")?,
        Op::Gather(batch) => write!(f, " batch={batch}")?,
        Op::Scatter(mode, batch) => write!(f, " {} batch={batch}", mode.name())?,
        Op::Conv(c) => write!(
            f,
            " stride={:?} lo={:?} hi={:?} lhs_dilation={:?} rhs_dilation={:?} groups={}",
            c.stride, c.lo, c.hi, c.lhs_dilation, c.rhs_dilation, c.groups
        )?,
        Op::ArgSort(descending) => f.write_str(if *descending { " descending" } else { "" })?,
        Op::Cumulative { kind, axis, reverse } => {
            write!(f, " {} axis={axis}{}", kind.name(), if *reverse { " reverse" } else { "" })?;
        }
        Op::Region(r) => {
            write!(f, " {}", r.kind.name())?;
            if let RegionKind::Checkpoint(saved @ 1..) = r.kind {
                write!(f, " saved={saved}")?;
            }
            if let RegionKind::Loop(l) = &r.kind {
                write!(f, " consts={} carry={}", l.consts, l.carry)?;
                l.length.map_or(Ok(()), |n| write!(f, " length={n}"))?;
                for (flag, on) in [("count", l.trip == Trip::Count), ("reverse", l.reverse), ("segment", l.segment)] {
                    if on {
                        write!(f, " {flag}")?;
                    }
                }
            }
        }
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Cast => {}
        Op::Reshape | Op::Broadcast | Op::Dot | Op::Random => {}
    }
    for a in &inst.args {
        write!(f, " {a:?}")?;
    }
    if let Op::Region(r) = &inst.op {
        f.write_str(" {\n")?;
        trace(&r.body, f, depth + 1)?;
        if let Some(other) = r.other() {
            indent(f, depth)?;
            writeln!(f, "}} {} {{", joint(&r.kind))?;
            trace(other, f, depth + 1)?;
        }
        indent(f, depth)?;
        f.write_char('}')?;
    }
    Ok(())
}

/// The word between a region's two traces.
fn joint(kind: &RegionKind) -> &'static str {
    match kind {
        RegionKind::Cond(_) => "else",
        RegionKind::Loop(_) => "while",
        _ => "rule",
    }
}

fn ranges(f: &mut Formatter<'_>, n: usize, one: impl Fn(&mut Formatter<'_>, usize) -> fmt::Result) -> fmt::Result {
    f.write_str(" [")?;
    for i in 0..n {
        f.write_str(if i == 0 { "" } else { ", " })?;
        one(f, i)?;
    }
    f.write_char(']')
}

/// The shortest decimal that reads back as the same value of the dtype; a NaN other than the usual one with its bits.
fn scalar(s: Scalar, dtype: DType, f: &mut Formatter<'_>) -> fmt::Result {
    match s {
        Scalar::Float(x) if x.is_nan() && x.to_bits() != f64::NAN.to_bits() => write!(f, "nan_{:016x}", x.to_bits()),
        Scalar::Float(x) if x.is_nan() => f.write_str("nan"),
        // `{:#?}` prints floats as `{:?}` does: the alternate flag may be passed through.
        Scalar::Float(x) if dtype == DType::F64 || (x as f32) as f64 != x => write!(f, "{x:?}"),
        Scalar::Float(x) => write!(f, "{:?}", x as f32),
        Scalar::Int(x) => write!(f, "{x}"),
        Scalar::Bool(x) => write!(f, "{x}"),
    }
}
