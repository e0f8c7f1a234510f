//! Kernels whose arguments are larger than what a device binds: the same kernel over boxes of its outer axes, one after the other, each
//! of which touches little enough.
//!
//! Where all indices are affine the boxes of one size are one kernel, and where they lie is data.

use crate::base::Result;
use crate::base::error::bail;
use crate::loops::symbolic::Symbolic;
use crate::loops::{Access, Archetype, Bound, ExprKind, Index, IndexId, Kernel};

/// A kernel over one box.
pub(super) struct Piece {
    pub kernel: Kernel,
    /// Of each argument that is too large as a whole: first byte touched, and bytes.
    pub windows: Vec<Option<(u64, u64)>>,
    /// Elements to add to every index of each argument.
    pub moved: Vec<i64>,
}

/// First point and number of points along each axis.
type Box_ = Vec<(usize, usize)>;

/// More launches than that are no way to run a kernel.
const MOST: usize = 1 << 14;

struct Split<'a> {
    k: &'a Kernel,
    /// The buffer of each argument, and whether it is too large.
    buffers: &'a [(u32, bool)],
    /// Most bytes of one buffer that a piece may touch.
    most: u64,
    /// Strides of each argument, if all its indices are affine with the same.
    strides: Option<Vec<Vec<i64>>>,
    out: Vec<Piece>,
}

/// Every index by which arguments are read or written, and under which mask.
fn accesses(k: &Kernel) -> impl Iterator<Item = (usize, IndexId, &[Bound])> {
    let loads = k.exprs.iter().filter_map(|e| match &e.kind {
        ExprKind::Load { arg, index, mask, .. } => Some((arg.index(), *index, &mask[..])),
        _ => None,
    });
    let stores = k.passes.iter().flat_map(|p| &p.stores).map(|s| (s.arg.index(), s.index, &[][..]));
    loads.chain(stores)
}

/// Gives every way in which a large argument is read an argument of its own, so that each has its own window. Returns the kernel and, for
/// each of its arguments, the one it was.
pub(super) fn separate(k: &Kernel, buffers: &[(u32, bool)]) -> (Kernel, Vec<usize>) {
    let mut out = k.clone();
    let mut was: Vec<usize> = (0..k.args.len()).collect();
    let mut seen: Vec<(usize, IndexId, u32)> = Vec::new();
    for e in &mut out.exprs {
        let ExprKind::Load { arg, index, .. } = &mut e.kind else { continue };
        let a = arg.index();
        let written = (0..k.args.len()).any(|n| buffers[n].0 == buffers[a].0 && k.args[n].access != Access::Read);
        if !buffers[a].1 || written {
            continue;
        }
        if let Some(&(.., n)) = seen.iter().find(|s| (s.0, s.1) == (a, *index)) {
            arg.0 = n;
            continue;
        }
        let first = seen.iter().all(|s| s.0 != a);
        let n = if first { a as u32 } else { out.args.len() as u32 };
        if !first {
            out.args.push(k.args[a]);
            was.push(a);
        }
        seen.push((a, *index, n));
        arg.0 = n;
    }
    (out, was)
}

/// Cuts a kernel up. `buffers`: the buffer of each argument, and whether it is larger than `most` bytes.
///
/// # Errors
/// `Memory` if a single point (or row) touches more than that.
pub(super) fn split(k: &Kernel, buffers: &[(u32, bool)], most: u64) -> Result<Vec<Piece>> {
    let whole: Box_ = k.axes.iter().map(|a| (0, a.extent)).collect();
    let mut s = Split { k, buffers, most, strides: strides(k)?, out: Vec::new() };
    s.cut(whole)?;
    Ok(s.out)
}

/// Strides of each argument along the axes, if that is all there is to its indices and nothing else asks where a point lies.
fn strides(k: &Kernel) -> Result<Option<Vec<Vec<i64>>>> {
    let symbolic = Symbolic::new(k)?;
    let asked = k.exprs.iter().any(|e| match &e.kind {
        ExprKind::Load { mask, .. } => !mask.is_empty(),
        ExprKind::Index(_) | ExprKind::InBounds(_) | ExprKind::Random(..) => true,
        _ => false,
    });
    if asked || k.passes.iter().flat_map(|p| &p.stores).any(|s| s.valid.is_some()) || matches!(k.archetype, Archetype::Conv { .. }) {
        return Ok(None);
    }
    let mut all: Vec<Option<Vec<i64>>> = vec![None; k.args.len()];
    for (arg, index, _) in accesses(k) {
        let Some((_, s)) = symbolic.affine(index) else { return Ok(None) };
        match &all[arg] {
            Some(known) if *known != s => return Ok(None),
            _ => all[arg] = Some(s),
        }
    }
    Ok(Some(all.into_iter().map(|s| s.unwrap_or_else(|| vec![0; k.axes.len()])).collect()))
}

/// The kernel over a box: its axes count from 0 again.
fn over(k: &Kernel, at: &Box_) -> Kernel {
    let mut out = k.clone();
    out.axes.iter_mut().zip(at).for_each(|(a, b)| a.extent = b.1);
    out.indices.clear();
    let mut new: Vec<IndexId> = Vec::with_capacity(k.indices.len());
    let put = |out: &mut Kernel, i: Index| {
        out.indices.push(i);
        IndexId(out.indices.len() as u32 - 1)
    };
    for i in &k.indices {
        let m = |i: IndexId| new[i.index()];
        let id = match *i {
            Index::Axis(a) if at[a as usize].0 > 0 => {
                let (x, c) = (put(&mut out, *i), put(&mut out, Index::Const(at[a as usize].0 as i64)));
                put(&mut out, Index::Add(x, c))
            }
            Index::Add(a, b) => put(&mut out, Index::Add(m(a), m(b))),
            Index::Mul(a, c) => put(&mut out, Index::Mul(m(a), c)),
            Index::Div(a, c) => put(&mut out, Index::Div(m(a), c)),
            Index::Mod(a, c) => put(&mut out, Index::Mod(m(a), c)),
            other => put(&mut out, other),
        };
        new.push(id);
    }
    let m = |i: &mut IndexId| *i = new[i.index()];
    for e in &mut out.exprs {
        match &mut e.kind {
            ExprKind::Load { index, mask, .. } => {
                m(index);
                mask.iter_mut().for_each(|b| m(&mut b.index));
            }
            ExprKind::InBounds(mask) => mask.iter_mut().for_each(|b| m(&mut b.index)),
            ExprKind::Index(i) | ExprKind::Random(_, _, i) => m(i),
            _ => {}
        }
    }
    for s in out.passes.iter_mut().flat_map(|p| &mut p.stores) {
        m(&mut s.index);
        if let Some(b) = &mut s.valid {
            m(&mut b.index);
        }
    }
    out
}

impl Split<'_> {
    /// Whether two arguments are bound as one.
    fn share(&self, a: usize, b: usize) -> bool {
        let written = |n: usize| self.buffers[n].0 == self.buffers[a].0 && self.k.args[n].access != Access::Read;
        a == b || self.buffers[a].0 == self.buffers[b].0 && (0..self.k.args.len()).any(written)
    }

    /// The bytes that a kernel touches of each argument's buffer, first and beyond the last; only of those that are too large.
    fn touched(&self, k: &Kernel) -> Result<Vec<Option<(u64, u64)>>> {
        let symbolic = Symbolic::new(k)?;
        let mut all: Vec<Option<(u64, u64)>> = vec![None; k.args.len()];
        for (arg, index, mask) in accesses(k).filter(|a| self.buffers[a.0].1) {
            let a = &k.args[arg];
            let range = if mask.is_empty() { Some(symbolic.range(index)) } else { symbolic.range_where(index, mask) };
            let Some((lo, hi)) = range else { continue };
            let last = a.numel as i64 - 1;
            let (lo, hi) = (lo.clamp(0, last), hi.clamp(0, last));
            let (from, to) = (lo as u64 * a.dtype.size() as u64, (hi as u64 + 1) * a.dtype.size() as u64);
            // Arguments in one buffer that is written share its window.
            for (other, w) in all.iter_mut().enumerate() {
                if self.share(arg, other) {
                    *w = Some(w.map_or((from, to), |(x, y)| (x.min(from), y.max(to))));
                }
            }
        }
        // What a box does not touch at all is bound nevertheless.
        for (w, _) in all.iter_mut().zip(self.buffers).filter(|(_, b)| b.1) {
            w.get_or_insert((0, 4));
        }
        Ok(all)
    }

    /// The bytes of each argument's buffer that a box touches.
    fn spans(&self, at: &Box_) -> Result<Vec<u64>> {
        Ok(self.touched(&over(self.k, at))?.iter().map(|w| w.map_or(0, |w| w.1 - w.0)).collect())
    }

    /// How much of that is too much.
    fn excess(&self, spans: &[u64]) -> u64 {
        spans.iter().map(|s| s.saturating_sub(self.most)).sum()
    }

    fn cut(&mut self, at: Box_) -> Result<()> {
        let spans = self.spans(&at)?;
        let cost = self.excess(&spans);
        if cost == 0 {
            return self.push(&at);
        }
        // Updates of one element come in order.
        let in_order = matches!(self.k.archetype, Archetype::Scatter(_));
        let part = |a: usize, n: usize| {
            let mut b = at.clone();
            b[a].1 = n;
            b
        };
        let mut best: Option<(u64, usize, Vec<u64>)> = None;
        for a in (0..at.len()).filter(|&a| !self.k.axes[a].row && at[a].1 > 1) {
            let spans = self.spans(&part(a, 1))?;
            let c = self.excess(&spans);
            if c < best.as_ref().map_or(if in_order { u64::MAX } else { cost }, |b| b.0) {
                best = Some((c, a, spans));
            }
            if in_order {
                break;
            }
        }
        let Some((_, axis, single)) = best else {
            let most = spans.iter().max().copied().unwrap_or(0);
            bail!(
                Memory,
                "wgpu: a kernel needs {most} bytes of one tensor at once, the device binds at most {}: split the tensor",
                self.most
            );
        };
        // As many points at a time as let those arguments fit that fit at all.
        let (first, extent) = at[axis];
        let (mut fits, mut too_many) = (1, extent);
        while too_many - fits > 1 {
            let n = fits + (too_many - fits) / 2;
            let now = self.spans(&part(axis, n))?;
            if now.iter().zip(&single).all(|(now, least)| *now <= self.most || *least > self.most) { fits = n } else { too_many = n }
        }
        if extent.div_ceil(fits) > MOST {
            bail!(Memory, "wgpu: a kernel would take {} pieces of what the device binds: split the tensor", extent.div_ceil(fits));
        }
        for from in (first..first + extent).step_by(fits) {
            let mut b = at.clone();
            b[axis] = (from, fits.min(first + extent - from));
            self.cut(b)?;
        }
        Ok(())
    }

    fn push(&mut self, at: &Box_) -> Result<()> {
        if self.out.len() >= MOST {
            bail!(Memory, "wgpu: a kernel would take more than {MOST} pieces of what the device binds: split the tensor");
        }
        let moved_kernel = over(self.k, at);
        let windows = self.touched(&moved_kernel)?.into_iter().map(|w| w.map(|(from, to)| (from, to - from))).collect();
        let piece = match &self.strides {
            Some(all) => {
                let moved = all.iter().map(|s| s.iter().zip(at).map(|(s, b)| s * b.0 as i64).sum()).collect();
                Piece { kernel: over(self.k, &at.iter().map(|b| (0, b.1)).collect()), windows, moved }
            }
            None => Piece { windows, moved: vec![0; self.k.args.len()], kernel: moved_kernel },
        };
        self.out.push(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(text: &str) -> Kernel {
        text.trim_start().parse().unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    #[test]
    fn affine_kernels_are_one_kernel_for_all_boxes_of_a_size() {
        let k = kernel(
            "kernel pointwise\naxes 10, 64\nargs a0: read f32[640], a1: read f32[64], a2: write f32[640]\nn0 = i0\nn1 = n0 * 64\nn2 = i1\n\
             n3 = n1 + n2\ne0: f32 = load a0[n3]\ne1: f32 = load a1[n2]\ne2: f32 = add e0, e1\npass 0 outer\n  a2[n3] = e2\n",
        );
        let pieces = split(&k, &[(0, true), (1, false), (2, true)], 3 * 64 * 4).unwrap();
        assert_eq!(pieces.len(), 4);
        assert!(pieces[..3].iter().all(|p| p.kernel == pieces[0].kernel));
        assert_eq!(pieces[3].kernel.axes[0].extent, 1);
        let at: Vec<_> = pieces.iter().map(|p| (p.windows[0], p.windows[1], p.moved[0], p.moved[1])).collect();
        assert_eq!(at[1], (Some((768, 768)), None, 192, 0));
        assert_eq!(at[3], (Some((2304, 256)), None, 576, 0));
    }

    #[test]
    fn rows_are_cut_between_and_what_cannot_be_cut_is_an_error() {
        let k = kernel(
            "kernel row_reduction\naxes 6, 100 row\nargs a0: read f32[600], a1: write f32[6]\nn0 = i0\nn1 = n0 * 100\nn2 = i1\nn3 = n1 + n2\n\
             e0: f32 = load a0[n3]\ne1: f32 = reduced r0.0\npass 0 row\n  r0.0: f32 = sum e0\npass 1 outer\n  a1[n0] = e1\n",
        );
        assert_eq!(split(&k, &[(0, true), (1, false)], 900).unwrap().len(), 3);
        let e = split(&k, &[(0, true), (1, false)], 300).err().unwrap();
        assert!(e.message().contains("400 bytes") && e.message().contains("300"), "{e}");
    }

    /// Where positions matter the boxes know where they are.
    #[test]
    fn masks_keep_their_meaning() {
        let k = kernel(
            "kernel pointwise\naxes 8\nargs a0: read f32[4], a1: write f32[8]\nn0 = i0\nn1 = -2\nn2 = n0 + n1\n\
             e0: f32 = load a0[n2] where 0 <= n2 < 4 else 0.0\npass 0 outer\n  a1[n0] = e0\n",
        );
        let pieces = split(&k, &[(0, false), (1, true)], 12).unwrap();
        assert_eq!(pieces.len(), 3);
        let mut windows = pieces.iter().map(|p| p.windows[1].unwrap());
        assert!(windows.by_ref().eq([(0, 12), (12, 12), (24, 8)]));
        let s = Symbolic::new(&pieces[1].kernel).unwrap();
        let store = pieces[1].kernel.passes[0].stores[0].index;
        assert_eq!(s.range(store), (3, 5));
    }
}
