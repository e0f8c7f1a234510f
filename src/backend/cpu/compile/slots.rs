//! Slots, registers, and single instructions.

use super::*;
use crate::backend::cpu::kernels::{First, Inner};
use crate::trace::{Compare, Unary};

pub(super) fn mirrored(c: Compare) -> Compare {
    match c {
        Compare::Lt => Compare::Gt,
        Compare::Le => Compare::Ge,
        Compare::Gt => Compare::Lt,
        Compare::Ge => Compare::Le,
        c => c,
    }
}

fn price(op: TileOp) -> u32 {
    let base = match op {
        TileOp::Unary(u, _) => match u {
            Unary::Neg | Unary::Abs | Unary::Not | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc | Unary::Sign => 60,
            Unary::Recip | Unary::Sqrt | Unary::Rsqrt => 120,
            _ => 500,
        },
        TileOp::Binary(b, _) => match b {
            Binary::Pow | Binary::Atan2 | Binary::Rem => 1500,
            Binary::Div => 150,
            _ => 60,
        },
        TileOp::Of(Unary::Recip, _) => 150,
        TileOp::Of(..) => 500,
        TileOp::Steps(..) | TileOp::CompareOf(..) | TileOp::PickBy(..) => 80,
        _ => 60,
    };
    let wide = matches!(op, TileOp::Unary(_, DType::F64) | TileOp::Binary(_, DType::F64));
    if wide && base >= 500 { base * 10 } else { base }
}

impl Emitter<'_, '_> {
    pub(super) fn slot(&mut self, s: Slot) -> u16 {
        self.p.slots.push(s);
        self.refs.push(0);
        // Numbers beyond the limit are reported when the pass is complete.
        (self.p.slots.len() - 1).min(NONE as usize - 1) as u16
    }

    pub(super) fn constant(&mut self, bits: u64) -> u16 {
        self.p.consts.push(bits);
        let i = self.p.consts.len() - 1;
        self.slot(Slot::Const(i as u16))
    }

    pub(super) fn scalar(&mut self) -> u16 {
        self.p.scalars += 1;
        let i = self.p.scalars - 1;
        self.slot(Slot::Scalar(i))
    }

    pub(super) fn register(&mut self, size: usize) -> u16 {
        let c = class(size);
        let s = match self.free[c].pop() {
            Some(s) => s,
            None => {
                self.p.regs[c] += 1;
                let i = self.p.regs[c] - 1;
                self.slot(Slot::Reg(c as u8, i))
            }
        };
        self.refs[s as usize] = 1;
        s
    }

    pub(super) fn drop_reg(&mut self, reg: u16) {
        if reg == NONE {
            return;
        }
        let r = &mut self.refs[reg as usize];
        *r -= 1;
        if *r == 0
            && let Slot::Reg(c, _) = self.p.slots[reg as usize]
        {
            self.free[c as usize].push(reg);
        }
    }

    pub(super) fn release(&mut self, x: u32) {
        let u = &mut self.uses[x as usize];
        *u = u.saturating_sub(1);
        if *u == 0 {
            self.drop_reg(self.vals[x as usize].reg);
        }
    }

    pub(super) fn push(&mut self, level: u8, i: Instr, name: impl FnOnce() -> String) {
        let at = level as usize;
        // The interpreter does not test for absent operands: they name some valid slot. Listings leave them out.
        let i = match i {
            Instr::Tile { f, dst, a, b, c } if !self.names => {
                let or = |s: u16| if s == NONE { dst } else { s };
                Instr::Tile { f, dst, a: or(a), b: or(b), c: or(c) }
            }
            i => i,
        };
        if level == VECTOR && self.after_clamp(i) {
            return;
        }
        if self.names {
            self.p.names[at].push(name());
        }
        match level {
            CONST => self.p.once.push(i),
            UNIFORM => self.p.base.push(i),
            _ => self.p.body.push(i),
        }
    }

    /// Whether `i` adds one number to what the last instruction clamped, which nobody else reads: then that instruction does both.
    fn after_clamp(&mut self, i: Instr) -> bool {
        let same = |f: TileFn, g: TileFn| std::ptr::fn_addr_eq(f, g);
        let Instr::Tile { f, dst, a, b, c } = i else { return false };
        let by_one = || matches!(self.p.slots[b as usize], Slot::Const(k) if self.p.consts[k as usize] == 1);
        if dst != a || !same(f, tile::axpy_scalar) || !by_one() {
            return false;
        }
        let Some(Instr::Tile { f: g, dst: d, a: x, b: n, .. }) = self.p.body.last().copied() else { return false };
        if d != a || !same(g, tile::clamp) {
            return false;
        }
        let last = self.p.body.len() - 1;
        self.p.body[last] = Instr::Tile { f: tile::clamp_plus, dst, a: x, b: n, c };
        if let Some(name) = self.p.names[VECTOR as usize].last_mut() {
            *name = "index clamp and add".into();
        }
        true
    }

    /// The value as a tile.
    pub(super) fn vector(&mut self, x: u32, size: usize) -> u16 {
        let v = self.vals[x as usize];
        if v.level == VECTOR {
            return v.slot;
        }
        if self.splats[x as usize] == NONE {
            // Never freed: it is filled outside the tile loop.
            self.p.regs[class(size)] += 1;
            let i = self.p.regs[class(size)] - 1;
            let r = self.slot(Slot::Reg(class(size) as u8, i));
            self.splats[x as usize] = r;
            self.push(v.level, Instr::Splat(tile::fill(size), r, v.slot), || "splat".into());
        }
        self.splats[x as usize]
    }

    /// Emits one arithmetic instruction and returns where its result is.
    pub(super) fn arith(&mut self, mut op: TileOp, out: DType, ops: &[u32], sizes: [usize; 3], into: Option<u16>) -> Result<Val> {
        let mut x: [u32; 3] = [u32::MAX; 3];
        x[..ops.len()].copy_from_slice(ops);
        let lv = |this: &Self, i: usize| if x[i] == u32::MAX { CONST } else { this.vals[x[i] as usize].level };
        let level = lv(self, 0).max(lv(self, 1)).max(lv(self, 2));
        let none = || internal(&format!("there is no tile kernel for {op:?}"));
        let f: TileFn;
        let mut s = [NONE; 3];
        if level < VECTOR {
            f = lookup(op, Scalars::NONE).ok_or_else(none)?;
            for i in 0..ops.len() {
                s[i] = self.vals[x[i] as usize].slot;
            }
        } else {
            let n = ops.len();
            let scalar = |this: &Self, y: u32| this.vals[y as usize].level < VECTOR;
            // Kernels take the scalar as second operand where the order is free.
            if n >= 2 && scalar(self, x[0]) && !scalar(self, x[1]) {
                let swapped = match op {
                    TileOp::MulAdd(..) | TileOp::NegMul => Some(op),
                    TileOp::Of(_, Inner::Add | Inner::Mul | Inner::NegMul | Inner::MulAdd) => Some(op),
                    TileOp::Steps(First::Add | First::Mul, _) | TileOp::CompareOf(_, First::Add | First::Mul) => Some(op),
                    TileOp::Binary(b, d) if matches!(b, Binary::Add | Binary::Mul | Binary::Max | Binary::Min) => {
                        Some(TileOp::Binary(b, d))
                    }
                    TileOp::Compare(c, d) => Some(TileOp::Compare(mirrored(c), d)),
                    _ => None,
                };
                if let Some(o) = swapped {
                    op = o;
                    x.swap(0, 1);
                }
            }
            let flag = |this: &Self, i: usize| i < n && scalar(this, x[i]);
            let flags = Scalars { a: flag(self, 0), b: flag(self, 1), c: flag(self, 2) };
            match lookup(op, flags) {
                Some(g) => {
                    f = g;
                    for i in 0..n {
                        s[i] = self.vals[x[i] as usize].slot;
                    }
                }
                None => {
                    f = lookup(op, Scalars::NONE).ok_or_else(|| internal(&format!("there is no tile kernel for {op:?}")))?;
                    for i in 0..n {
                        s[i] = self.vector(x[i], sizes[i]);
                    }
                }
            }
            self.p.cost += price(op) * out.size().max(4) as u32 / 4;
        }
        for &o in ops {
            self.release(o);
        }
        let (dst, reg) = match (level, into) {
            (VECTOR, Some(slot)) => (slot, NONE),
            (VECTOR, None) => {
                let r = self.register(out.size());
                (r, r)
            }
            _ => (self.scalar(), NONE),
        };
        self.push(level, Instr::Tile { f, dst, a: s[0], b: s[1], c: s[2] }, || format!("{op:?}"));
        Ok(Val { slot: dst, reg, level })
    }

    #[allow(clippy::too_many_arguments)]
    /// An instruction on values all of which are tiles (or all single elements), with a plain function.
    pub(super) fn plain(&mut self, name: &'static str, f: TileFn, size: usize, level: u8, a: u16, b: u16, c: u16) -> Val {
        let (dst, reg) = if level == VECTOR {
            let r = self.register(size);
            (r, r)
        } else {
            (self.scalar(), NONE)
        };
        if level == VECTOR {
            self.p.cost += 300;
        }
        self.push(level, Instr::Tile { f, dst, a, b, c }, || name.into());
        Val { slot: dst, reg, level }
    }

    /// Makes a value that belongs to no node an operand of one instruction: the tail of the tables holds it.
    pub(super) fn temporary(&mut self, v: Val) -> u32 {
        self.vals.push(v);
        self.splats.push(NONE);
        self.uses.push(1);
        self.vals.len() as u32 - 1
    }
}
