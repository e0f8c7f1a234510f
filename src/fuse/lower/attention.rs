//! An attention: scores, their maximum, the weights' sum and product with the values, one pass each.

use super::*;
use crate::trace::Reduce;

impl Lowering<'_> {
    /// The value behind views of `v`, and where it is read.
    fn behind(&mut self, mut v: ValueId, e: EnvId) -> Place {
        let mut env = self.envs[e as usize].clone();
        while self.t[v].op.is_view() {
            env.point = self.ix.through(self.t, v, &env.point);
            v = self.t[v].args[0];
        }
        (v, self.env(env))
    }

    fn reduction(&mut self, kind: ReduceKind, dtype: DType) -> Pass {
        Pass { row: true, reduces: vec![ReduceSink { kind, dtype }], ..Pass::default() }
    }

    pub(super) fn attention(&mut self, v: ValueId) -> Result<()> {
        let Some(a) = self.g.attentions.get(&v).cloned() else { bail!(Internal, "{} is no attention", self.t[v].op.name()) };
        let t = self.t;
        let (result, of_scores) = (t.shape(v).clone(), t.shape(a.scores).clone());
        let (r, s) = (result.rank(), of_scores.rank());
        let (n_keys, n_depth) = (of_scores[s - 1], t.shape(t[a.scores].args[0])[s - 1]);
        self.kernel.archetype = Archetype::Attention;
        self.kernel.axes.extend([n_keys, n_depth].map(|extent| LoopAxis { extent, row: true }));
        let axis = |l: &mut Self, k: usize, d: usize| l.ix.atom(Atom::Axis(k as u8), 0, d as i64 - 1);
        let mut weight: Point = (0..r).map(|i| axis(self, i, result[i])).collect();
        let mut value = weight.clone();
        let (keys, depth) = (axis(self, r, n_keys), axis(self, r + 1, n_depth));
        weight[r - 1] = keys.clone();
        value[r - 2] = keys.clone();

        // Scores.
        let mut extents = result.clone();
        extents[r - 1] = n_keys;
        let mut query = self.ix.reshape(&weight, &extents, &of_scores);
        let mut key = query.clone();
        query[s - 1] = depth.clone();
        (key[s - 2], key[s - 1]) = (depth, keys);
        let [query, key, weight, value] = [query, key, weight, value].map(|point| self.env(Env { point, bounds: SmallVec::new() }));
        let factors = (self.eval(t[a.scores].args[0], query)?, self.eval(t[a.scores].args[1], key)?);
        let pass = self.reduction(ReduceKind::Dot(factors.0, factors.1), t.dtype(a.scores));
        self.kernel.passes.push(pass);
        self.reduced.insert(a.scores, (0, 0));
        self.memo.clear();

        // Where each step is read, from the last to the first.
        let (mut at, mut e) = self.behind(t[v].args[0], weight);
        if at != a.normal {
            (at, e) = self.behind(t[at].args[0], e);
        }
        let (divisor, divisor_env) = self.behind(t[at].args[1], e);
        let (weights, weights_env) = self.behind(t[at].args[0], e);
        let (difference, e) = self.behind(t[weights].args[0], weights_env);
        let (logits, logits_env) = self.behind(t[difference].args[0], e);
        if at != a.normal || weights != a.weights || logits != a.logits {
            bail!(Internal, "the steps of an attention are not where they were found");
        }
        let logit = self.eval(logits, logits_env)?;
        let pass = self.reduction(ReduceKind::Fold(Reduce::Max, logit), t.dtype(a.max));
        self.kernel.passes.push(pass);
        self.reduced.insert(a.max, (1, 0));
        self.memo.clear();

        // Weights are divided by their sum after the product, once a column instead of once a key.
        let dtype = t.dtype(a.weights);
        let weight = self.eval(weights, weights_env)?;
        let mut averaged = self.eval(t[v].args[1], value)?;
        if t.dtype(t[v].args[1]) != dtype {
            averaged = self.expr(ExprKind::Cast(averaged), dtype);
        }
        let mut pass = self.reduction(ReduceKind::Fold(Reduce::Sum, weight), dtype);
        pass.reduces.push(ReduceSink { kind: ReduceKind::Dot(weight, averaged), dtype });
        self.kernel.passes.push(pass);
        self.reduced.insert(a.sum, (2, 0));
        self.memo.clear();

        let (product, divisor) = (self.expr(ExprKind::Reduced(2, 1), dtype), self.eval(divisor, divisor_env)?);
        let mut mean = self.expr(ExprKind::Binary(Binary::Div, product, divisor), dtype);
        if t.dtype(v) != dtype {
            mean = self.expr(ExprKind::Cast(mean), t.dtype(v));
        }
        self.given.insert(v, mean);
        self.epilogue()
    }
}
