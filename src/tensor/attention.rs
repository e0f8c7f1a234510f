//! Attention with all of PyTorch's options, and attention of several heads with its projections.

use super::compose::{compute_dtype, or_poison, pass_poison, slip_now};
use super::{Lit, LitInt, Tensor};
use crate::base::error::err;
use crate::base::{DType, Shape};

/// Options of [`Tensor::scaled_dot_product_attention`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AttentionOptions {
    /// Broadcasts to `[.., L, S]`: Bool keeps where it is true, a float is added to the scores.
    pub mask: Option<Tensor>,
    /// The probability with which a weight is dropped.
    pub dropout: f64,
    /// Whether position i sees only positions up to i.
    pub causal: bool,
    /// The factor of the scores; `1 / sqrt(E)` by default.
    pub scale: Option<f64>,
    /// Whether keys and values may have fewer heads (axis -3), each shared by a group of the queries' heads.
    pub grouped: bool,
}

impl AttentionOptions {
    /// No mask, no dropout, not causal.
    pub fn new() -> Self {
        Self::default()
    }
    /// Where to look (Bool), or what to add to scores (float).
    pub fn mask(mut self, mask: &Tensor) -> Self {
        self.mask = Some(mask.clone());
        self
    }
    /// The probability with which a weight is dropped.
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }
    /// Whether position i sees only positions up to i.
    pub fn causal(mut self, yes: bool) -> Self {
        self.causal = yes;
        self
    }
    /// The factor of the scores.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = Some(scale);
        self
    }
    /// Whether keys and values may have fewer heads (PyTorch's `enable_gqa`).
    pub fn grouped(mut self, yes: bool) -> Self {
        self.grouped = yes;
        self
    }
}

/// The parameters of [`Tensor::multi_head_attention`]: projections `x w^T + b`.
#[derive(Clone, Debug)]
pub struct AttentionWeights {
    /// Of queries, keys and values: `[E, E]`, `[E, K]`, `[E, V]`.
    pub input: [Tensor; 3],
    /// Of queries, keys and values, each `[E]`.
    pub input_bias: Option<[Tensor; 3]>,
    /// Of the result, `[E, E]`.
    pub output: Tensor,
    /// Of the result, `[E]`.
    pub output_bias: Option<Tensor>,
    /// One more key and value of every sequence, `[E]` each, after projection.
    pub extra: Option<[Tensor; 2]>,
    /// Whether every sequence also gets a key and value of zeros.
    pub zero_key: bool,
}

impl AttentionWeights {
    /// From PyTorch's packed `in_proj_weight` `[3 E, E]` and `in_proj_bias` `[3 E]`.
    ///
    /// # Panics
    /// If they do not divide into three.
    #[track_caller]
    pub fn packed(weight: &Tensor, bias: Option<&Tensor>, output: &Tensor, output_bias: Option<&Tensor>) -> Self {
        let three = |t: &Tensor| -> [Tensor; 3] {
            let parts = t.chunk(3, 0);
            std::array::from_fn(|i| {
                parts.get(i).cloned().unwrap_or_else(|| Tensor::poisoned(err!(Shape, "attention: {} is no packed projection", t.shape())))
            })
        };
        AttentionWeights {
            input: three(weight),
            input_bias: bias.map(three),
            output: output.clone(),
            output_bias: output_bias.cloned(),
            extra: None,
            zero_key: false,
        }
    }
}

impl Tensor {
    /// Scaled dot-product attention, `softmax(q k^T * scale + mask) v`, with `self` as q `[.., L, E]`, k `[.., S, E]`, v `[.., S, V]`:
    /// `[.., L, V]`. A row that a mask hides completely is 0.
    ///
    /// # Panics
    /// If shapes do not fit, `dropout` is not in 0..=1, or grouped heads do not divide.
    #[track_caller]
    pub fn scaled_dot_product_attention(&self, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Tensor {
        pass_poison!(self, k, v);
        let (mut k, mut v) = (k.clone(), v.clone());
        if options.grouped && self.rank() > 2 {
            let heads = self.shape()[self.rank() - 3];
            for t in [&mut k, &mut v] {
                let own = if t.rank() > 2 { t.shape()[t.rank() - 3] } else { 0 };
                if own == 0 || !heads.is_multiple_of(own) {
                    slip_now!(Shape, "attention: {heads} heads of queries {} share the heads of {}", self.shape(), t.shape());
                }
                *t = t.repeat_interleave(heads / own, -3);
            }
        }
        let weights = self.attention_weights(&k, options.mask.as_ref(), options.causal, options.scale);
        pass_poison!(weights);
        let weights = if options.dropout == 0.0 { weights } else { weights.dropout(options.dropout) };
        weights.matmul(&v)
    }

    /// `softmax(q k^T * scale + mask)`: `[.., L, S]`.
    #[track_caller]
    pub(super) fn attention_weights(&self, k: &Tensor, mask: Option<&Tensor>, causal: bool, scale: Option<f64>) -> Tensor {
        if self.rank() < 2 || k.rank() < 2 || self.shape()[self.rank() - 1] != k.shape()[k.rank() - 1] {
            slip_now!(Shape, "attention: q {} and k {} are not [.., L, E] and [.., S, E]", self.shape(), k.shape());
        }
        let width = self.shape()[self.rank() - 1];
        let scale = scale.unwrap_or(1.0 / (width as f64).sqrt());
        let mut scores = (self * Lit(scale)).matmul(&k.mt());
        pass_poison!(scores);
        let (l, s) = (scores.shape()[scores.rank() - 2], scores.shape()[scores.rank() - 1]);
        let _on = self.device().enter();
        if causal {
            scores = scores.keep_where(&Tensor::lower_mask(l, s, 0), f64::NEG_INFINITY);
        }
        let Some(m) = mask else { return scores.softmax(-1) };
        pass_poison!(m);
        scores = if m.dtype() == DType::Bool { scores.keep_where(m, f64::NEG_INFINITY) } else { scores + m.cast(self.dtype()) };
        pass_poison!(scores);
        if s == 0 {
            return scores;
        }
        // A softmax whose shift is a number also where everything is hidden: there all weights are 0, and their sum is taken for 1.
        let x = scores.cast(compute_dtype(scores.dtype()));
        let highest = x.detach().max_keepdim(-1);
        let hidden = highest.eq(Lit(f64::NEG_INFINITY));
        let weights = (&x - highest.replace(&hidden, 0.0)).exp();
        let sum = weights.sum_keepdim(-1).replace(&hidden, 1.0);
        (weights / sum).cast(scores.dtype())
    }

    /// Attention of several heads (Vaswani et al. 2017): queries `[B, L, E]` (this), keys `[B, S, K]` and values `[B, S, V]` are
    /// projected, attention runs in `heads` parts of E, and the result is projected: `[B, L, E]`, and the weights `[B, heads, L, S]`.
    /// Of the options, mask (broadcasts to `[B, heads, L, S]`), dropout, causal and scale count. Without a batch axis, all have an axis
    /// less.
    ///
    /// # Panics
    /// If shapes do not fit or E does not divide by `heads`.
    #[track_caller]
    pub fn multi_head_attention(
        &self,
        keys: &Tensor,
        values: &Tensor,
        heads: usize,
        weights: &AttentionWeights,
        options: &AttentionOptions,
    ) -> (Tensor, Tensor) {
        let out = self.heads(keys, values, heads, weights, options);
        match out {
            Ok(both) => both,
            Err(p) => (p.clone(), p),
        }
    }

    #[track_caller]
    fn heads(&self, k: &Tensor, v: &Tensor, heads: usize, w: &AttentionWeights, o: &AttentionOptions) -> Result<(Tensor, Tensor), Tensor> {
        for t in [self, k, v] {
            if t.0.poison().is_some() {
                return Err(t.clone());
            }
        }
        if self.rank() == 2 && k.rank() == 2 && v.rank() == 2 {
            let (y, a) = self.unsqueeze(0).heads(&k.unsqueeze(0), &v.unsqueeze(0), heads, w, o)?;
            return Ok((y.squeeze_axis(0), a.squeeze_axis(0)));
        }
        let width = w.input[0].shape().first().copied().unwrap_or(0);
        let fits =
            self.rank() == 3 && k.rank() == 3 && v.rank() == 3 && k.shape()[..2] == v.shape()[..2] && k.shape()[0] == self.shape()[0];
        if !fits || heads == 0 || width == 0 || !width.is_multiple_of(heads) {
            return Err(Tensor::poisoned(err!(
                Shape,
                "multi_head_attention: q {}, k {}, v {} and {heads} heads of {width}: expected [B, L, E], [B, S, K], [B, S, V]",
                self.shape(),
                k.shape(),
                v.shape()
            )));
        }
        let bias = |i: usize| w.input_bias.as_ref().map(|b| &b[i]);
        let q = self.linear(&w.input[0], bias(0));
        let (mut k, mut v) = (k.linear(&w.input[1], bias(1)), v.linear(&w.input[2], bias(2)));
        let batch = self.shape()[0];
        let row: Shape = [batch, 1, width].into();
        let mut added = 0;
        if let Some([ek, ev]) = &w.extra {
            (k, v) = (Tensor::cat(&[k, ek.flatten_all().broadcast_to(&row)], 1), Tensor::cat(&[v, ev.flatten_all().broadcast_to(&row)], 1));
            added += 1;
        }
        if w.zero_key {
            let zeros = Tensor::constant(crate::Scalar::Int(0), k.dtype(), &row);
            (k, v) = (Tensor::cat(&[&k, &zeros], 1), Tensor::cat(&[&v, &zeros], 1));
            added += 1;
        }
        // [B, heads, length, part]
        let apart = |t: &Tensor| t.unflatten(-1, [heads, width / heads]).transpose(1, 2);
        let mask = o.mask.as_ref().map(|m| {
            // What was added can always be seen.
            let seen = if m.dtype() == DType::Bool { crate::Scalar::Bool(true) } else { crate::Scalar::Int(0) };
            if added > 0 && m.rank() > 0 { m.pad_axis(m.rank() - 1, 0, added, seen) } else { m.clone() }
        });
        let mut a = apart(&q).attention_weights(&apart(&k), mask.as_ref(), o.causal, o.scale);
        if o.dropout != 0.0 {
            a = a.dropout(o.dropout);
        }
        let y = a.matmul(&apart(&v)).transpose(1, 2).flatten(-2, -1).linear(&w.output, w.output_bias.as_ref());
        if y.0.poison().is_some() { Err(y) } else { Ok((y, a)) }
    }
}

/// Dropping whole channels, and dropping so that mean and variance stay.
impl Tensor {
    /// [`dropout`](Tensor::dropout) of whole channels: each `[N, C]` of `[N, C, ..]` is kept or set to 0 as one (PyTorch's `dropout1d`,
    /// `dropout2d`, `dropout3d`).
    ///
    /// # Panics
    /// If `p` is not in 0..=1 or there are fewer than two axes.
    #[track_caller]
    pub fn feature_dropout(&self, p: f64) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        let like = or_poison!(x.channels("feature_dropout", p));
        if p == 1.0 { x.zeros_like() } else { &x * like.dropout(p) }
    }

    /// Elements set to the negative limit of [`selu`](Tensor::selu) with probability `p`, then scaled and shifted so that mean 0 and
    /// variance 1 stay (Klambauer et al. 2017).
    ///
    /// # Panics
    /// If `p` is not in 0..=1.
    #[track_caller]
    pub fn alpha_dropout(&self, p: f64) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        if !(0.0..=1.0).contains(&p) {
            slip_now!(Argument, "alpha_dropout: a probability of {p}");
        }
        x.alpha_dropped(&x, p)
    }

    /// [`alpha_dropout`](Tensor::alpha_dropout) of whole channels.
    ///
    /// # Panics
    /// As [`feature_dropout`](Tensor::feature_dropout).
    #[track_caller]
    pub fn feature_alpha_dropout(&self, p: f64) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        let like = or_poison!(x.channels("feature_alpha_dropout", p));
        x.alpha_dropped(&like, p)
    }

    /// Ones of shape `[N, C, 1, ..]`.
    #[track_caller]
    fn channels(&self, op: &str, p: f64) -> crate::Result<Tensor> {
        if self.rank() < 2 || !(0.0..=1.0).contains(&p) {
            return Err(err!(Argument, "{op}: a probability of {p} for channels (axis 1) of shape {}", self.shape()));
        }
        let _on = self.device().enter();
        let shape: Shape = self.shape().iter().enumerate().map(|(i, &n)| if i < 2 { n } else { 1 }).collect();
        Ok(Tensor::constant(crate::Scalar::Int(1), self.dtype(), &shape))
    }

    #[track_caller]
    fn alpha_dropped(&self, like: &Tensor, p: f64) -> Tensor {
        if p == 0.0 {
            return self.clone();
        }
        if p == 1.0 {
            return self * LitInt(0);
        }
        // selu's limit: -scale * alpha.
        let limit = -1.758_099_340_847_376_6;
        let a = 1.0 / ((1.0 - p) * (1.0 + p * limit * limit)).sqrt();
        let kept = like.rand_like().ge(p);
        Tensor::where_(&kept, self, Lit(limit)) * a + (-a * p * limit)
    }
}

#[cfg(test)]
mod tests {
    use super::{AttentionOptions, AttentionWeights};
    use crate::tensor::tests::{floats, slip};
    use crate::{ErrorKind, Generator, Tensor, tensor};

    #[test]
    fn a_hidden_row_is_zero_and_so_is_its_gradient() {
        let g = Generator::new(1);
        let (q, k, v) = (g.randn([2, 4]), g.randn([3, 4]), g.randn([3, 5]));
        let mask = tensor![[true, false, true], [false, false, false]];
        let o = AttentionOptions::new().mask(&mask);
        let y = floats(&q.scaled_dot_product_attention(&k, &v, &o));
        assert!(y[..5].iter().all(|x| *x != 0.0) && y[5..].iter().all(|x| *x == 0.0), "{y:?}");
        let d = floats(&crate::grad(|q: &Tensor| q.scaled_dot_product_attention(&k, &v, &o).sum(..), &q));
        assert!(d.iter().all(|x| x.is_finite()) && d[4..].iter().all(|x| *x == 0.0), "{d:?}");
    }

    #[test]
    fn slips() {
        let z = |s: &[usize]| Tensor::zeros(s);
        let o = AttentionOptions::new();
        assert_eq!(slip(|| z(&[2, 3]).scaled_dot_product_attention(&z(&[2, 4]), &z(&[2, 4]), &o)).0, ErrorKind::Shape);
        let grouped = o.clone().grouped(true);
        assert_eq!(slip(|| z(&[4, 2, 3]).scaled_dot_product_attention(&z(&[3, 2, 3]), &z(&[3, 2, 3]), &grouped)).0, ErrorKind::Shape);
        let w = AttentionWeights::packed(&z(&[12, 4]), None, &z(&[4, 4]), None);
        assert_eq!(slip(|| z(&[1, 2, 4]).multi_head_attention(&z(&[1, 2, 4]), &z(&[1, 2, 4]), 3, &w, &o).0).0, ErrorKind::Shape);
        assert_eq!(slip(|| z(&[3]).feature_dropout(0.5)).0, ErrorKind::Argument);
        assert_eq!(slip(|| z(&[3]).alpha_dropout(1.5)).0, ErrorKind::Argument);
    }

    #[test]
    fn channels_drop_as_one() {
        let y = floats(&Tensor::ones([8, 8, 5]).feature_dropout(0.5).max(-1));
        assert!(y.contains(&0.0) && y.contains(&2.0) && y.iter().all(|x| *x == 0.0 || *x == 2.0));
        let x = Generator::new(3).randn([20_000]);
        let y = x.alpha_dropout(0.3);
        let (m, v) = y.mean_var(.., 1);
        assert!(floats(&m)[0].abs() < 0.03 && (floats(&v)[0] - 1.0).abs() < 0.05);
    }
}
