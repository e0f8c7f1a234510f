//! Modules as bytes, for the next process.

use super::{ArgUse, Binding, Element, Module, Word};
use crate::base::pack::{Packer, Unpacker};
use crate::loops::Kernel;
use std::hash::{DefaultHasher, Hash, Hasher};

const ELEMENTS: [Element; 3] = [Element::One, Element::Four, Element::Long];

/// Tells a module of another kernel, or of other bindings, from that of this one.
pub fn mark(k: &Kernel, uses: &[ArgUse]) -> u64 {
    // Without a key, so the same in every process.
    let mut h = DefaultHasher::new();
    (&k.axes, &k.args, &k.params, k.exprs.len(), k.indices.len(), uses).hash(&mut h);
    h.finish()
}

impl Module {
    /// As bytes, under a [mark].
    pub fn pack(&self, mark: u64) -> Vec<u8> {
        let mut p = Packer::default();
        p.number(mark);
        p.bytes(self.text.as_bytes());
        p.list(&self.bindings, |p, b| {
            p.dtype(b.dtype);
            [b.writable, b.atomic, b.raw].into_iter().for_each(|f| p.flag(f));
            p.number(b.element as u64);
        });
        p.list(&self.block, |p, w| match *w {
            Word::Fixed(x) => {
                p.number(0);
                p.number(x.into());
            }
            Word::Param(n, high) => {
                p.number(1 + u64::from(high));
                p.number(n.into());
            }
            Word::Offset(n) => {
                p.number(3);
                p.number(n.into());
            }
        });
        p.number(self.groups);
        p.size(self.workspace);
        p.0
    }

    /// What was [packed](Module::pack) under that mark.
    pub fn unpack(bytes: &[u8], mark: u64) -> Option<Module> {
        let mut u = Unpacker(bytes);
        if u.number()? != mark {
            return None;
        }
        let text = u.text()?.to_string();
        let bindings = u.list(|u| {
            let (dtype, [writable, atomic, raw]) = (u.dtype()?, [u.flag()?, u.flag()?, u.flag()?]);
            Some(Binding { dtype, writable, atomic, raw, element: *ELEMENTS.get(u.size()?)? })
        })?;
        let block = u.list(|u| {
            let (kind, n) = (u.number()?, u.word()?);
            match kind {
                0 => Some(Word::Fixed(n)),
                1 | 2 => Some(Word::Param(n, kind == 2)),
                3 => Some(Word::Offset(n)),
                _ => None,
            }
        })?;
        Some(Module { text, bindings, block, groups: u.number()?, workspace: u.size()? })
    }
}
