//! Loop axes that every access steps through as one become one: so a contiguous kernel needs no division for its indices.

use crate::loops::symbolic::Symbolic;
use crate::loops::{Archetype, Index, IndexId, Kernel, LoopAxis};

/// The kernel with neighbouring outer axes joined wherever all its indices are affine and have strides that join.
pub fn collapse(k: &Kernel, s: &Symbolic) -> Kernel {
    if !matches!(k.archetype, Archetype::Pointwise) || k.axes.len() < 2 {
        return k.clone();
    }
    // Roots only: parts of an index need not join where the index does.
    let mut roots: Vec<IndexId> = Vec::new();
    for e in &k.exprs {
        e.operands(|n| {
            if let crate::loops::order::Node::Index(i) = n {
                roots.push(i);
            }
        });
    }
    roots.extend(k.passes.iter().flat_map(|p| &p.stores).map(|st| st.index));
    let Some(affine) = roots.iter().map(|&i| s.affine(i)).collect::<Option<Vec<_>>>() else { return k.clone() };
    // Groups of axes, outermost first; axes of one point join anything.
    let mut groups: Vec<(usize, Vec<i64>)> = Vec::new();
    for (a, axis) in k.axes.iter().enumerate() {
        let strides: Vec<i64> = affine.iter().map(|f| f.1[a]).collect();
        if axis.extent == 1 {
            continue;
        }
        match groups.last_mut() {
            Some((n, outer)) if outer.iter().zip(&strides).all(|(o, i)| *o == i * axis.extent as i64) => {
                *n *= axis.extent;
                *outer = strides;
            }
            _ => groups.push((axis.extent, strides)),
        }
    }
    if groups.is_empty() {
        groups.push((1, vec![0; roots.len()]));
    }
    if groups.len() >= k.axes.len() {
        return k.clone();
    }
    let mut out = k.clone();
    out.axes = groups.iter().map(|&(extent, _)| LoopAxis { extent, row: false }).collect();
    // The arena is written anew; what nobody refers to any more is nothing.
    out.indices = Vec::new();
    let mut made = std::collections::HashMap::new();
    let put = |out: &mut Kernel, i: Index| {
        out.indices.push(i);
        IndexId(out.indices.len() as u32 - 1)
    };
    for (r, &root) in roots.iter().enumerate() {
        if made.contains_key(&root) {
            continue;
        }
        let mut sum: Option<IndexId> = None;
        for (a, (_, strides)) in groups.iter().enumerate() {
            if strides[r] == 0 {
                continue;
            }
            let mut x = put(&mut out, Index::Axis(a as u8));
            if strides[r] != 1 {
                x = put(&mut out, Index::Mul(x, strides[r]));
            }
            sum = Some(match sum {
                Some(y) => put(&mut out, Index::Add(y, x)),
                None => x,
            });
        }
        let base = affine[r].0;
        let id = match sum {
            None => put(&mut out, Index::Const(base)),
            Some(x) if base == 0 => x,
            Some(x) => {
                let b = put(&mut out, Index::Const(base));
                put(&mut out, Index::Add(x, b))
            }
        };
        made.insert(root, id);
    }
    use crate::loops::ExprKind;
    for e in &mut out.exprs {
        match &mut e.kind {
            ExprKind::Load { index, mask, .. } => {
                *index = made[index];
                mask.iter_mut().for_each(|b| b.index = made[&b.index]);
            }
            ExprKind::InBounds(mask) => mask.iter_mut().for_each(|b| b.index = made[&b.index]),
            ExprKind::Index(i) | ExprKind::Random(_, _, i) => *i = made[i],
            _ => {}
        }
    }
    out.passes.iter_mut().flat_map(|p| &mut p.stores).for_each(|st| st.index = made[&st.index]);
    out
}
