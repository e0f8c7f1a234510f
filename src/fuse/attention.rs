//! `softmax(q k) v`, recognised: a product of weights and values whose weights nobody else reads, so that neither they nor the scores they come
//! from need ever lie in memory.

use super::cost::{Edge, base_of, runs};
use crate::base::DType;
use crate::trace::{Binary, Compare, Op, Reduce, Trace, Unary, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Steps from a score to what the softmax is of, at most.
const STEPS: usize = 64;
/// Most columns of the result, and numbers a score sums: each query keeps that many at hand.
const WIDEST: usize = 256;
/// So many keys to a query at most: a kernel shares queries among threads, not keys, so few queries of many keys are better off as products.
const KEYS: usize = 64;

/// The steps of an attention before its last, the product.
#[derive(Clone, Debug)]
pub struct Attention {
    /// The product of queries and keys.
    pub scores: ValueId,
    /// What the softmax is of.
    pub logits: ValueId,
    /// Its largest, for each query.
    pub max: ValueId,
    /// `exp(logits - shift)`.
    pub weights: ValueId,
    /// Their sum.
    pub sum: ValueId,
    /// The weights divided by that.
    pub normal: ValueId,
    /// All of these and what lies between; nobody else reads them.
    pub inner: Vec<ValueId>,
}

/// Who reads a value: consumer, through which views, as which operand.
type Uses = [SmallVec<[(ValueId, Edge, u8); 2]>];

/// Products that are the last step of an attention. `uses` of every value by those that are no views, `output`: it is a result.
pub fn find(t: &Trace, uses: &Uses, output: &[bool]) -> HashMap<ValueId, Attention> {
    let mut found = HashMap::new();
    let mut taken = vec![false; t.insts.len()];
    for v in t.values().rev() {
        if t[v].op == Op::Dot
            && !taken[v.index()]
            && let Some(a) = (Matcher { t, uses, output }).attention(v)
        {
            a.inner.iter().for_each(|i| taken[i.index()] = true);
            found.insert(v, a);
        }
    }
    found
}

struct Matcher<'a> {
    t: &'a Trace,
    uses: &'a Uses,
    output: &'a [bool],
}

impl Matcher<'_> {
    /// The value an operand shows element for element.
    fn same(&self, v: ValueId) -> Option<ValueId> {
        let (b, e) = base_of(self.t, v);
        (e == Edge::Aligned).then_some(b)
    }

    /// The value an operand of `like`'s shape shows spread over the last axis.
    fn spread(&self, v: ValueId, like: ValueId) -> Option<ValueId> {
        let (b, e) = base_of(self.t, v);
        let shape = self.t.shape(like);
        (e == Edge::Spread(runs(shape, |i| i + 1 == shape.rank()))).then_some(b)
    }

    fn binary(&self, v: ValueId, op: Binary) -> Option<(ValueId, ValueId)> {
        (self.t[v].op == Op::Binary(op)).then(|| (self.t[v].args[0], self.t[v].args[1]))
    }

    fn is_number(&self, v: ValueId, x: f64) -> bool {
        matches!(self.t[base_of(self.t, v).0].op, Op::Const(c) if c.as_f64() == x)
    }

    /// What is reduced, if `v` is such a reduction over the last axis alone.
    fn reduced(&self, v: ValueId, kind: Reduce) -> Option<ValueId> {
        let Op::Reduce(k, axes) = &self.t[v].op else { return None };
        let x = self.t[v].args[0];
        (*k == kind && axes.len() == 1 && axes[0] as usize + 1 == self.t.shape(x).rank()).then(|| self.same(x)).flatten()
    }

    /// `v`, or what stands in its place where `max` is not -inf; then the value, and the steps beside `max`.
    fn guarded(&self, v: ValueId, instead: f64) -> Option<(ValueId, Option<(ValueId, ValueId)>)> {
        if self.t[v].op != Op::Select {
            return Some((v, None));
        }
        let (hidden, x) = (self.same(self.t[v].args[0])?, self.same(self.t[v].args[2])?);
        let test = self.t[hidden].op == Op::Compare(Compare::Eq) && self.is_number(self.t[hidden].args[1], f64::NEG_INFINITY);
        (test && self.is_number(self.t[v].args[1], instead)).then_some((x, Some((hidden, v))))
    }

    fn attention(&self, v: ValueId) -> Option<Attention> {
        let t = self.t;
        let mut inner = Vec::new();
        let mut normal = self.same(t[v].args[0])?;
        if t[normal].op == Op::Cast && t.dtype(v).is_float() {
            inner.push(normal);
            normal = self.same(t[normal].args[0])?;
        }
        let (weights, divisor) = self.binary(normal, Binary::Div)?;
        let weights = self.same(weights)?;
        let difference = (t[weights].op == Op::Unary(Unary::Exp)).then(|| self.same(t[weights].args[0])).flatten()?;
        let (logits, shift) = self.binary(difference, Binary::Sub)?;
        let logits = self.same(logits)?;
        let (max, of_shift) = self.guarded(self.spread(shift, weights)?, 0.0)?;
        let (sum, of_divisor) = self.guarded(self.spread(divisor, weights)?, 1.0)?;
        let tests = |g: Option<(ValueId, ValueId)>| g.is_none_or(|(hidden, _)| self.same(t[hidden].args[0]) == Some(max));
        let softmax = self.reduced(max, Reduce::Max) == Some(logits)
            && self.reduced(sum, Reduce::Sum) == Some(weights)
            && [of_shift, of_divisor].into_iter().all(tests)
            && matches!(t.dtype(weights), DType::F32 | DType::F64);
        if !softmax {
            return None;
        }
        inner.extend([normal, weights, difference, max, sum]);
        inner.extend([of_shift, of_divisor].into_iter().flatten().flat_map(|(a, b)| [a, b]));
        let scores = self.scores(logits, &mut inner)?;
        inner.sort_unstable();
        inner.dedup();
        // Domains: [batch.., queries, keys] and [batch.., queries, columns].
        let (of_scores, result) = (t.shape(scores), t.shape(v));
        let (s, r) = (of_scores.rank(), result.rank());
        let (queries, keys, depth) = (of_scores[s - 2], of_scores[s - 1], t.shape(t[scores].args[0])[s - 1]);
        let batch: usize = result[..r - 2].iter().product();
        // (Views may show a softmax over other rows than those of the product.)
        let fits = t.shape(t[v].args[0])[r - 1] == keys
            && t.shape(weights).last() == Some(&keys)
            && result[r - 2] == queries
            && of_scores.numel() == batch * queries * keys
            && (1..=WIDEST).contains(&depth)
            && (1..=WIDEST).contains(&result[r - 1]);
        let pays = queries > 1 && keys > 1 && keys <= KEYS.saturating_mul(batch * queries);
        let private = inner.iter().all(|&i| {
            let by = |c: ValueId, operand: u8| inner.binary_search(&c).is_ok() || (c == v && operand == 0);
            !self.output[i.index()] && self.uses[i.index()].iter().all(|(c, _, operand)| by(*c, *operand))
        });
        (fits && pays && private).then_some(Attention { scores, logits, max, weights, sum, normal, inner })
    }

    /// The product that the logits are computed from, element for element; it and the steps between are put to `inner`.
    fn scores(&self, logits: ValueId, inner: &mut Vec<ValueId>) -> Option<ValueId> {
        let t = self.t;
        let mut cone = vec![logits];
        let mut i = 0;
        while i < cone.len() {
            if t[cone[i]].op.is_elementwise() {
                for &a in &t[cone[i]].args {
                    let b = base_of(t, a).0;
                    if !cone.contains(&b) {
                        cone.push(b);
                    }
                }
            }
            i += 1;
            if cone.len() > STEPS {
                return None;
            }
        }
        cone.sort_unstable();
        let mut products = cone.iter().copied().filter(|&v| t[v].op == Op::Dot);
        let (scores, None) = (products.next()?, products.next()) else { return None };
        let mut steps = vec![scores];
        for &v in &cone {
            if !t[v].op.is_elementwise() {
                continue;
            }
            let mut depends = false;
            for &a in &t[v].args {
                let (b, edge) = base_of(t, a);
                if steps.contains(&b) {
                    depends = true;
                    if edge != Edge::Aligned {
                        return None;
                    }
                }
            }
            if depends {
                steps.push(v);
            }
        }
        let whole = t.dtype(scores).is_float() && steps.contains(&logits) && t.shape(logits).numel() == t.shape(scores).numel();
        inner.extend(steps);
        whole.then_some(scores)
    }
}
