//! Pointwise kernels of very many results: several kernels of some of them each. Drivers take more than linear time for a long module.

use crate::loops::order::Node;
use crate::loops::{Access, Archetype, ExprId, ExprKind, Index, IndexId, Kernel, Pass};

/// Values of a module.
const MOST: usize = 512;

/// A kernel of some results, and which of the whole's arguments and parameters its own are.
pub(super) type Part = (Kernel, Vec<usize>, Vec<usize>);

/// The kernel cut by results; `None` if it is small
/// enough, or reads what it writes.
pub(super) fn cut(k: &Kernel, buffers: &[(u32, bool)]) -> Option<Vec<Part>> {
    if k.archetype != Archetype::Pointwise || k.exprs.len() <= MOST || k.passes.len() != 1 || k.passes[0].stores.len() < 2 {
        return None;
    }
    let written = |n: usize| buffers.iter().zip(&k.args).any(|(b, a)| b.0 == buffers[n].0 && a.access != Access::Read);
    if (0..k.args.len()).any(|n| k.args[n].access != Access::Write && written(n)) {
        return None;
    }
    let roots = |s: &crate::loops::Store| [Node::Expr(s.value), Node::Index(s.index)];
    let mut parts: Vec<Vec<crate::loops::Store>> = Vec::new();
    let mut room = 0usize;
    for s in &k.passes[0].stores {
        let cost = k.order(roots(s)).ok()?.len();
        if room < cost || parts.is_empty() {
            parts.push(Vec::new());
            room = MOST;
        }
        room = room.saturating_sub(cost);
        parts.last_mut()?.push(*s);
    }
    parts.into_iter().map(|stores| part(k, stores)).collect()
}

/// The kernel with these stores alone.
fn part(k: &Kernel, stores: Vec<crate::loops::Store>) -> Option<Part> {
    let mut out = Kernel { passes: Vec::new(), exprs: Vec::new(), indices: Vec::new(), args: Vec::new(), params: Vec::new(), ..k.clone() };
    let (mut args, mut params): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut exprs = vec![ExprId(0); k.exprs.len()];
    let mut indices = vec![IndexId(0); k.indices.len()];
    let mut arg_of = |out: &mut Kernel, n: usize| {
        let at = args.iter().position(|&a| a == n).unwrap_or_else(|| {
            args.push(n);
            out.args.push(k.args[n]);
            args.len() - 1
        });
        crate::loops::ArgId(at as u32)
    };
    let roots: Vec<Node> = stores.iter().flat_map(|s| [Node::Expr(s.value), Node::Index(s.index)]).collect();
    for n in k.order(roots).ok()? {
        match n {
            Node::Index(i) => {
                let m = |i: IndexId| indices[i.index()];
                let new = match k.indices[i.index()] {
                    Index::Add(a, b) => Index::Add(m(a), m(b)),
                    Index::Mul(a, c) => Index::Mul(m(a), c),
                    Index::Div(a, c) => Index::Div(m(a), c),
                    Index::Mod(a, c) => Index::Mod(m(a), c),
                    Index::Value(e, n) => Index::Value(exprs[e.index()], n),
                    other => other,
                };
                out.indices.push(new);
                indices[i.index()] = IndexId(out.indices.len() as u32 - 1);
            }
            Node::Expr(e) => {
                let mut x = k.exprs[e.index()].clone();
                let m = |e: &mut ExprId| *e = exprs[e.index()];
                match &mut x.kind {
                    ExprKind::Load { arg, index, mask, .. } => {
                        *arg = arg_of(&mut out, arg.index());
                        *index = indices[index.index()];
                        mask.iter_mut().for_each(|b| b.index = indices[b.index.index()]);
                    }
                    ExprKind::InBounds(mask) => mask.iter_mut().for_each(|b| b.index = indices[b.index.index()]),
                    ExprKind::Index(i) => *i = indices[i.index()],
                    ExprKind::Param(p) => {
                        let at = params.iter().position(|&q| q == *p as usize).unwrap_or_else(|| {
                            params.push(*p as usize);
                            out.params.push(k.params[*p as usize]);
                            params.len() - 1
                        });
                        *p = at as u32;
                    }
                    ExprKind::Unary(_, a) | ExprKind::Cast(a) => m(a),
                    ExprKind::Binary(_, a, b) | ExprKind::Compare(_, a, b) => {
                        m(a);
                        m(b);
                    }
                    ExprKind::Select(a, b, c) => {
                        m(a);
                        m(b);
                        m(c);
                    }
                    ExprKind::Random(a, b, i) => {
                        m(a);
                        m(b);
                        *i = indices[i.index()];
                    }
                    ExprKind::Const(_) => {}
                    ExprKind::Reduced(..) | ExprKind::Scratch(_) => return None,
                }
                out.exprs.push(x);
                exprs[e.index()] = ExprId(out.exprs.len() as u32 - 1);
            }
        }
    }
    let stores = stores
        .into_iter()
        .map(|mut s| {
            s.arg = arg_of(&mut out, s.arg.index());
            (s.index, s.value) = (indices[s.index.index()], exprs[s.value.index()]);
            s.valid.is_none().then_some(s)
        })
        .collect::<Option<_>>()?;
    out.passes.push(Pass { stores, ..k.passes[0].clone() });
    Some((out, args, params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{DType, Scalar, Shape};
    use crate::loops::interp;
    use crate::trace::interp::HostTensor;
    use std::fmt::Write;

    #[test]
    fn parts_compute_what_the_whole_does() {
        const N: usize = 400;
        let mut text = String::from("kernel pointwise\naxes 3\nargs a0: read f32[3]");
        (0..N).for_each(|n| _ = write!(text, ", a{}: write f32[3]", n + 1));
        text.push_str("\nparams f32, f32\nn0 = i0\ne0: f32 = load a0[n0]\ne1: f32 = param p0\ne2: f32 = param p1\n");
        for n in 0..N {
            _ = writeln!(text, "e{}: f32 = mul e{}, e{}", 2 * n + 3, if n % 2 == 0 { 0 } else { 2 * n + 2 }, 1 + n % 2);
            _ = writeln!(text, "e{}: f32 = add e{}, e0", 2 * n + 4, 2 * n + 3);
        }
        text.push_str("pass 0 outer\n");
        (0..N).for_each(|n| _ = writeln!(text, "  a{}[n0] = e{}", n + 1, 2 * n + 4));
        let k: Kernel = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
        let buffers: Vec<(u32, bool)> = (0..k.args.len()).map(|n| (n as u32, false)).collect();
        let tensor = |x: f64| HostTensor::from_scalars(DType::F32, Shape::new(&[3]), vec![Scalar::Float(x); 3]);
        let args: Vec<HostTensor> = (0..k.args.len()).map(|n| tensor(if n == 0 { 0.5 } else { f64::NAN })).collect();
        let given = [Scalar::Float(1.5), Scalar::Float(-0.5)];
        let mut whole = args.clone();
        interp::run(&k, &mut whole, &given).unwrap();
        let mut apart = args;
        let parts = cut(&k, &buffers).unwrap();
        assert!(parts.len() > 1 && parts.iter().all(|p| p.0.exprs.len() <= MOST));
        for (part, of, params) in parts {
            let mut own: Vec<HostTensor> = of.iter().map(|&n| apart[n].clone()).collect();
            let own_params: Vec<Scalar> = params.iter().map(|&p| given[p]).collect();
            interp::run(&part, &mut own, &own_params).unwrap();
            of.iter().zip(own).for_each(|(&n, t)| apart[n] = t);
        }
        assert!(whole.iter().zip(&apart).all(|(a, b)| a.same(b)));
    }
}
