//! Einstein summation: `Tensor::einsum("bij,bjk->bik", &[&a, &b])`.

use super::Tensor;
use super::compose::{AxisVec, or_poison, pass_poison};
use super::linalg::same_dtype;
use crate::base::error::{Result, bail};
use crate::base::{DType, Shape};
use crate::trace::Reduce;
use std::borrow::Borrow;

/// A label of an axis: a letter, or the number of an axis that `...` stands for, counted from the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Rest(std::cmp::Reverse<usize>),
    Letter(char),
}

/// An operand and the labels of its axes, each once.
struct Term {
    x: Tensor,
    labels: Vec<Label>,
}

impl Tensor {
    /// Products of operands summed over the labels that the output does not name. Letters label axes; a letter repeated within one
    /// operand takes its diagonal; `...` stands for axes that broadcast. Without `->`, the output has the letters that occur once, in
    /// alphabetical order. Operands are multiplied left to right; dtypes promote.
    ///
    /// # Panics
    /// If the equation is malformed or does not fit the operands.
    #[track_caller]
    pub fn einsum<T: Borrow<Tensor>>(equation: &str, tensors: &[T]) -> Tensor {
        let list: Vec<Tensor> = tensors.iter().map(|t| t.borrow().clone()).collect();
        Tensor::einsum_all(equation, &list)
    }

    #[track_caller]
    fn einsum_all(equation: &str, list: &[Tensor]) -> Tensor {
        for t in list {
            pass_poison!(t);
        }
        let (inputs, output) = or_poison!(parse(equation, list));
        let mut terms = Vec::with_capacity(list.len());
        for (x, labels) in list.iter().zip(inputs) {
            terms.push(or_poison!(diagonals(x, labels)));
        }
        or_poison!(check_extents(equation, &terms));
        let mut terms = terms.into_iter();
        let Some(mut acc) = terms.next() else { unreachable!("parse checks that there are operands") };
        let mut rest: Vec<Term> = terms.collect();
        while !rest.is_empty() {
            let next = rest.remove(0);
            let needed = |l: &Label| output.contains(l) || rest.iter().any(|t| t.labels.contains(l));
            let keep: Vec<Label> = acc.labels.iter().chain(&next.labels).copied().filter(|l| needed(l)).collect();
            acc = or_poison!(contract(acc, next, &keep));
        }
        let acc = sum_out(acc, &output);
        let perm: AxisVec = output.iter().filter_map(|l| acc.labels.iter().position(|m| m == l)).collect();
        acc.x.permute_axes(&perm)
    }
}

/// The labels of each operand and of the output.
fn parse(equation: &str, list: &[Tensor]) -> Result<(Vec<Vec<Label>>, Vec<Label>)> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((l, r)) => (l, Some(r)),
        None => (&text[..], None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != list.len() || list.is_empty() {
        bail!(Argument, "einsum: {equation:?} names {} operands, got {}", parts.len(), list.len());
    }
    let mut inputs = Vec::new();
    for (part, x) in parts.iter().zip(list) {
        inputs.push(labels(equation, part, Some(x.rank()))?);
    }
    let rest = inputs.iter().flatten().filter_map(|l| if let Label::Rest(r) = l { Some(r.0 + 1) } else { None }).max().unwrap_or(0);
    let output = match right {
        Some(r) => {
            let mut out = Vec::new();
            for l in labels(equation, r, None)? {
                match l {
                    Label::Rest(_) => out.extend((0..rest).rev().map(|i| Label::Rest(std::cmp::Reverse(i)))),
                    l => out.push(l),
                }
            }
            if let Some(l) = out.iter().find(|l| !inputs.iter().flatten().any(|m| m == *l)) {
                bail!(Argument, "einsum: {equation:?}: the output names {l:?}, which no operand has");
            }
            if (1..out.len()).any(|i| out[..i].contains(&out[i])) {
                bail!(Argument, "einsum: {equation:?}: the output names a label twice");
            }
            out
        }
        None => {
            let all: Vec<Label> = inputs.iter().flatten().copied().collect();
            let mut out: Vec<Label> =
                all.iter().copied().filter(|l| matches!(l, Label::Rest(_)) || all.iter().filter(|m| *m == l).count() == 1).collect();
            out.sort_unstable();
            out.dedup();
            out
        }
    };
    Ok((inputs, output))
}

/// The labels of one operand of the given rank; of the output (no rank), `...` is one placeholder.
fn labels(equation: &str, part: &str, rank: Option<usize>) -> Result<Vec<Label>> {
    let letters = |s: &str| -> Result<Vec<Label>> {
        match s.chars().find(|c| !c.is_ascii_alphabetic()) {
            Some(c) => bail!(Argument, "einsum: {equation:?}: {c:?} is no label: labels are letters"),
            None => Ok(s.chars().map(Label::Letter).collect()),
        }
    };
    let (before, after, dots) = match part.split_once("...") {
        Some((a, b)) => (letters(a)?, letters(b)?, true),
        None => (letters(part)?, Vec::new(), false),
    };
    let named = before.len() + after.len();
    let rest = match rank {
        Some(r) if named > r || (!dots && named != r) => {
            bail!(Shape, "einsum: {equation:?}: {part:?} labels {named} axes of an operand that has {r}")
        }
        Some(r) => r - named,
        None => dots as usize,
    };
    let rest = (0..rest).rev().map(|i| Label::Rest(std::cmp::Reverse(i)));
    Ok(before.into_iter().chain(rest).chain(after).collect())
}

/// Takes the diagonal of labels that an operand repeats.
#[track_caller]
fn diagonals(x: &Tensor, mut labels: Vec<Label>) -> Result<Term> {
    let mut x = x.clone();
    while let Some((i, j)) = (0..labels.len()).find_map(|j| labels[..j].iter().position(|l| *l == labels[j]).map(|i| (i, j))) {
        if x.shape()[i] != x.shape()[j] {
            bail!(Shape, "einsum: a label repeated in one operand has extents {} and {}", x.shape()[i], x.shape()[j]);
        }
        x = x.diagonal(0, i, j);
        let l = labels.remove(j);
        labels.remove(i);
        labels.push(l);
    }
    Ok(Term { x, labels })
}

/// Every label has one extent, or 1.
fn check_extents(equation: &str, terms: &[Term]) -> Result<()> {
    let mut seen: Vec<(Label, usize)> = Vec::new();
    for t in terms {
        for (&l, &n) in t.labels.iter().zip(t.x.shape().iter()) {
            match seen.iter_mut().find(|(m, _)| *m == l) {
                None => seen.push((l, n)),
                Some((_, m)) if *m == 1 => *m = n,
                Some((_, m)) if n != 1 && *m != n => bail!(Shape, "einsum: {equation:?}: a label has extents {m} and {n}"),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Sums out what is not kept.
#[track_caller]
fn sum_out(t: Term, keep: &[Label]) -> Term {
    let axes: AxisVec = (0..t.labels.len()).filter(|&i| !keep.contains(&t.labels[i])).collect();
    if axes.is_empty() {
        return t;
    }
    let labels = t.labels.into_iter().filter(|l| keep.contains(l)).collect();
    let x = if t.x.dtype().is_float() { t.x } else { t.x.cast(DType::I64) };
    Term { x: x.reduce_axes(Reduce::Sum, &axes), labels }
}

/// The product of two terms, summed over what is not kept.
#[track_caller]
fn contract(a: Term, b: Term, keep: &[Label]) -> Result<Term> {
    let both =
        |x: &Term, y: &Term| -> Vec<Label> { x.labels.iter().copied().filter(|l| keep.contains(l) || y.labels.contains(l)).collect() };
    let (ka, kb) = (both(&a, &b), both(&b, &a));
    let (a, b) = (sum_out(a, &ka), sum_out(b, &kb));
    let extent = |t: &Term, l: Label| t.labels.iter().position(|m| *m == l).map_or(1, |i| t.x.shape()[i]);
    let size = |l: Label| extent(&a, l).max(extent(&b, l)) * usize::from(extent(&a, l) != 0 && extent(&b, l) != 0);
    let only = |x: &Term, y: &Term| -> Vec<Label> { x.labels.iter().copied().filter(|l| !y.labels.contains(l)).collect() };
    let shared: Vec<Label> = a.labels.iter().copied().filter(|l| b.labels.contains(l)).collect();
    let (batch, inner): (Vec<Label>, Vec<Label>) = shared.into_iter().partition(|l| keep.contains(l));
    let (rows, columns) = (only(&a, &b), only(&b, &a));
    let (xa, xb) = same_dtype("einsum", &a.x, &b.x)?;
    let arrange = |labels: &[Label], order: [&[Label]; 3]| -> (AxisVec, Shape) {
        let flat: Vec<Label> = order.concat();
        let perm = flat.iter().filter_map(|l| labels.iter().position(|m| m == l)).collect();
        (perm, flat.iter().map(|&l| size(l)).collect())
    };
    let out: Vec<Label> = batch.iter().chain(&rows).chain(&columns).copied().collect();
    let count = |labels: &[Label]| labels.iter().map(|&l| size(l)).product::<usize>();
    let (pa, wa) = arrange(&a.labels, [&batch, &rows, &inner]);
    let (pb, wb) = arrange(&b.labels, [&batch, &inner, &columns]);
    let (ya, yb) = (xa.permute_axes(&pa).broadcast_shape(&wa), xb.permute_axes(&pb).broadcast_shape(&wb));
    let out_shape: Shape = out.iter().map(|&l| size(l)).collect();
    let (nb, m, k, n) = (count(&batch), count(&rows), count(&inner), count(&columns));
    let x = if inner.is_empty() {
        // Nothing to sum: a plain product, which fuses with what surrounds it.
        ya.reshape_shape(&[nb, m, 1].into()) * yb.reshape_shape(&[nb, 1, n].into())
    } else {
        ya.reshape_shape(&[nb, m, k].into()).dot2(&yb.reshape_shape(&[nb, k, n].into()))
    };
    Ok(Term { x: x.reshape_shape(&out_shape), labels: out })
}
