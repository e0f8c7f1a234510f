//! Random tensors. Every one is counter-based: its bits follow from a key and a range of counters reserved when it is recorded, so it
//! has the same values on every device and however often it is computed.

pub(crate) mod draws;

use super::compose::{or_poison, pass_poison, slip_now};
use super::{Lit, LitInt, Operand, Rhs, Tensor};
use crate::base::{Axis, DType, Scalar, Shape};
use crate::trace::Op;
use crate::trace::graph::{Input, Inputs};
use std::cell::RefCell;
use std::f64::consts::PI;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The key and next counter of the process's default generator. One lock, so that a key never goes with another key's counter.
static DEFAULT: Mutex<(u64, u64)> = Mutex::new((0, 0));

/// The default generator inside a recorded function: its key and counter are inputs, and what is drawn is counted.
struct Recorded {
    key: Tensor,
    counter: Tensor,
    drawn: u64,
}

thread_local! {
    static RECORDED: RefCell<Option<Recorded>> = const { RefCell::new(None) };
}

/// Runs `f` with the default generator's state given by two 0-d I64 tensors; also returns how many counters it drew.
pub(crate) fn default_draws<R>(key: Tensor, counter: Tensor, f: impl FnOnce() -> R) -> (R, u64) {
    /// Puts the state back also when `f` panics.
    struct Back(Option<Recorded>);
    impl Drop for Back {
        fn drop(&mut self) {
            RECORDED.with_borrow_mut(|r| *r = self.0.take());
        }
    }
    let back = Back(RECORDED.replace(Some(Recorded { key, counter, drawn: 0 })));
    let r = f();
    let drawn = RECORDED.with_borrow(|r| r.as_ref().map_or(0, |r| r.drawn));
    drop(back);
    (r, drawn)
}

/// Reserves counters of the default generator; returns its key and the first of them.
pub(crate) fn reserve_draws(counters: u64) -> (u64, u64) {
    let mut state = DEFAULT.lock().unwrap_or_else(PoisonError::into_inner);
    let first = state.1;
    state.1 = first.wrapping_add(counters);
    (state.0, first)
}

fn number(x: u64) -> Input {
    Input::param(Scalar::Int(x as i64), DType::I64)
}

/// Reserves counters of the default generator, or of what stands for it in a recorded function: its key and the first of them, as operands.
#[track_caller]
pub(crate) fn reserve_default(counters: u64) -> [Input; 2] {
    let recorded = RECORDED.with_borrow_mut(|r| {
        r.as_mut().map(|r| {
            let at = r.drawn;
            r.drawn += counters;
            (r.key.clone(), r.counter.clone(), at)
        })
    });
    match recorded {
        Some((key, counter, at)) => [Input::Node(key.0), Input::Node((counter + LitInt(at as i64)).0)],
        None => {
            let (key, offset) = reserve_draws(counters);
            [number(key), number(offset)]
        }
    }
}

/// A single word of random bits.
#[track_caller]
pub(crate) fn draw_token() -> Tensor {
    Source::Default.bits(&Shape::scalar())
}

/// Seeds the default generator: the same program run after it draws the same values.
pub fn manual_seed(seed: u64) {
    *DEFAULT.lock().unwrap_or_else(PoisonError::into_inner) = (seed, 0);
}

/// A generator of its own: its values follow from its seed and the order of its calls, whatever else draws numbers.
///
/// ```
/// use lazuli::Generator;
/// let g = Generator::new(7);
/// let x = g.randn([2, 3]);
/// assert_eq!(x.shape().to_vec(), [2, 3]);
/// ```
#[derive(Debug)]
pub struct Generator {
    key: u64,
    next: AtomicU64,
}

/// Where an op gets its bits.
#[derive(Clone, Copy)]
enum Source<'a> {
    Default,
    Own(&'a Generator),
}

impl Source<'_> {
    /// U32 bits of the given shape: reserves one counter for every four words, of all examples where many are recorded as one.
    #[track_caller]
    fn bits(self, shape: &Shape) -> Tensor {
        let counters = (shape.numel() as u64).saturating_mul(draws::examples()).div_ceil(4);
        let inputs = match self {
            Source::Default => reserve_default(counters),
            Source::Own(_) if RECORDED.with_borrow(Option::is_some) => slip_now!(
                Argument,
                "a Generator inside a recorded function would draw the same numbers in each call: use the default generator, or give the \
                 numbers as an argument"
            ),
            Source::Own(g) => [number(g.key), number(g.next.fetch_add(counters, Ordering::Relaxed))],
        };
        let bits = Tensor::record_inputs(Op::Random, Inputs::from_buf(inputs), DType::U32, shape.clone());
        draws::note(&bits);
        bits
    }

    /// Uniform in [0, 1), of a float dtype: every multiple of 2^-24 in F32, 2^-53 in F64, 2^-11 in F16, 2^-8 in BF16.
    #[track_caller]
    fn uniform(self, shape: &Shape, dtype: DType) -> Tensor {
        let unit = |bits: Tensor, keep: i32| (bits >> LitInt(32 - keep as i64)).cast(dtype) * Lit(2f64.powi(-keep));
        match dtype {
            DType::F64 => {
                let [high, low] = self.two(shape);
                ((high >> LitInt(5)).cast(dtype) * Lit(67_108_864.0) + (low >> LitInt(6)).cast(dtype)) * Lit(2f64.powi(-53))
            }
            DType::F16 => unit(self.bits(shape), 11),
            DType::BF16 => unit(self.bits(shape), 8),
            _ => unit(self.bits(shape), 24),
        }
    }

    /// Two independent tensors of bits from one draw.
    #[track_caller]
    fn two(self, shape: &Shape) -> [Tensor; 2] {
        let both: Shape = std::iter::once(2).chain(shape.iter().copied()).collect();
        let bits = self.bits(&both);
        if bits.0.poison().is_some() {
            return [bits.clone(), bits];
        }
        [bits.slice_axis(0, 0, 1, 1).reshape_shape(shape), bits.slice_axis(0, 1, 2, 1).reshape_shape(shape)]
    }

    /// Standard normal, by Box and Muller: `sqrt(-2 ln u) cos(2 pi v)`. With u from all 32 bits, never 0, values reach 6.7 and are
    /// never infinite.
    #[track_caller]
    fn normal(self, shape: &Shape, dtype: DType) -> Tensor {
        let d = super::compose::compute_dtype(dtype);
        let [a, b] = self.two(shape);
        let u = (a.cast(d) + Lit(0.5)) * Lit(2f64.powi(-32));
        let v = (b >> LitInt(8)).cast(d) * Lit(2.0 * PI * 2f64.powi(-24));
        ((u.log() * Lit(-2.0)).sqrt() * v.cos()).cast(dtype)
    }

    #[track_caller]
    fn integers(self, low: i64, high: i64, shape: &Shape) -> Tensor {
        if low >= high {
            slip_now!(Argument, "randint: there is no integer in {low}..{high}");
        }
        let span = high.wrapping_sub(low) as u64;
        let value = if span <= u32::MAX as u64 {
            // The span is data: a new one compiles nothing.
            let span = Input::param(Scalar::Int(span as i64), DType::U32);
            let bits = self.bits(shape);
            let inputs = Inputs::from_buf([Input::Node(bits.0), span]);
            Tensor::record_inputs(Op::Binary(crate::trace::Binary::Rem), inputs, DType::U32, shape.clone()).cast(DType::I64)
        } else {
            if span > i64::MAX as u64 {
                slip_now!(Argument, "randint: the range {low}..{high} has more than 2^63 numbers");
            }
            let [a, b] = self.two(shape);
            let wide = (a.cast(DType::I64) << LitInt(31)).bitwise_xor(b.cast(DType::I64));
            wide.fmod(span as i64)
        };
        value + low
    }

    #[track_caller]
    fn coin(self, p: Rhs, shape: &Shape) -> Tensor {
        if let Some(t) = p.tensor() {
            pass_poison!(t);
            if !t.dtype().is_float() {
                slip_now!(DType, "bernoulli: probabilities are {}, not floats", t.dtype());
            }
        }
        let d = p.tensor().map_or(DType::F32, |t| t.dtype());
        self.uniform(shape, super::compose::compute_dtype(d)).lt(p).cast(d)
    }

    #[track_caller]
    fn shuffled(self, n: usize) -> Tensor {
        self.bits(&Shape::new(&[n])).argsort(0, false)
    }
}

macro_rules! draws {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $t:ty),*) |$s:ident| $body:expr;)*) => {
        /// Random tensors from the process's default generator: see [`manual_seed`].
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name($($arg: $t),*) -> Tensor {
                let $s = Source::Default;
                $body
            }
        )*}
        impl Generator {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self $(, $arg: $t)*) -> Tensor {
                let $s = Source::Own(self);
                $body
            }
        )*}
    };
}
draws! {
    /// Uniform in [0, 1), F32.
    rand(shape: impl Into<Shape>) |s| s.uniform(&shape.into(), DType::F32);
    /// Standard normal, F32. Never infinite.
    randn(shape: impl Into<Shape>) |s| s.normal(&shape.into(), DType::F32);
    /// Integers of `low..high`, I64.
    ///
    /// # Panics
    /// If the range is empty.
    randint(low: i64, high: i64, shape: impl Into<Shape>) |s| s.integers(low, high, &shape.into());
    /// 1 with probability `p` (a number, or a float tensor that broadcasts to `shape`), else 0: F32, or the dtype of `p`.
    ///
    /// # Panics
    /// If `p` is a tensor that is no float or does not broadcast.
    bernoulli(p: impl Operand, shape: impl Into<Shape>) |s| s.coin(p.operand(), &shape.into());
    /// The numbers `0..n` in random order, I64 `[n]`.
    permutation(n: usize) |s| s.shuffled(n);
}

impl Generator {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Generator {
        Generator { key: seed, next: AtomicU64::new(0) }
    }

    /// A generator whose seed is derived from this one's and `n`: independent streams, as for worker threads.
    pub fn split(&self, n: u64) -> Generator {
        // A key of its own, by the finaliser of SplitMix64.
        let mut z = self.key.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Generator::new(z ^ (z >> 31))
    }
}

/// Random tensors shaped like others.
impl Tensor {
    /// Uniform in [0, 1), of this tensor's shape and (float) dtype.
    ///
    /// # Panics
    /// If it is no float.
    #[track_caller]
    pub fn rand_like(&self) -> Tensor {
        pass_poison!(self);
        let d = or_poison!(self.random_dtype("rand_like"));
        let _on = self.device().enter();
        Source::Default.uniform(self.shape(), d)
    }

    /// Standard normal, of this tensor's shape and (float) dtype.
    ///
    /// # Panics
    /// If it is no float.
    #[track_caller]
    pub fn randn_like(&self) -> Tensor {
        pass_poison!(self);
        let d = or_poison!(self.random_dtype("randn_like"));
        let _on = self.device().enter();
        Source::Default.normal(self.shape(), d)
    }

    fn random_dtype(&self, op: &str) -> crate::Result<DType> {
        if !self.dtype().is_float() {
            crate::base::error::bail!(DType, "{op}: {} is no float dtype", self.dtype());
        }
        Ok(self.dtype())
    }

    /// Every element set to 0 with probability `p`, else divided by `1 - p`. Draws anew at each call.
    ///
    /// # Panics
    /// If `p` is not in 0..=1.
    #[track_caller]
    pub fn dropout(&self, p: f64) -> Tensor {
        pass_poison!(self);
        if !(0.0..=1.0).contains(&p) {
            slip_now!(Argument, "dropout: a probability of {p}");
        }
        let x = self.to_float();
        if p == 1.0 {
            return x.zeros_like();
        }
        let _on = self.device().enter();
        let keep = Source::Default.uniform(x.shape(), super::compose::compute_dtype(x.dtype())).ge(p);
        (&x * (1.0 / (1.0 - p))).keep_where(&keep, 0.0)
    }

    /// 1 with the probability that each element of this float tensor says, else 0, in its shape and dtype.
    ///
    /// # Panics
    /// If it is no float.
    #[track_caller]
    pub fn bernoulli_like(&self) -> Tensor {
        pass_poison!(self);
        let _on = self.device().enter();
        Source::Default.coin(self.operand(), self.shape())
    }

    /// Integers of `low..high` in this tensor's shape and dtype.
    ///
    /// # Panics
    /// If the range is empty.
    #[track_caller]
    pub fn randint_like(&self, low: i64, high: i64) -> Tensor {
        pass_poison!(self);
        let _on = self.device().enter();
        Source::Default.integers(low, high, self.shape()).cast(self.dtype())
    }

    /// PyTorch's name of [`permutation`](Tensor::permutation).
    #[track_caller]
    pub fn randperm(n: usize) -> Tensor {
        Tensor::permutation(n)
    }

    /// `count` indices drawn with probabilities proportional to the weights `[K]` or `[N, K]`, which need not add up to 1: I64
    /// `[count]` or `[N, count]`. Without replacement, all are different, drawn one after the other among what is left.
    ///
    /// # Panics
    /// If this is no float of one or two axes, or more are to be drawn without replacement than there are.
    #[track_caller]
    pub fn multinomial(&self, count: usize, replacement: bool) -> Tensor {
        pass_poison!(self);
        if !self.dtype().is_float() || !(1..=2).contains(&self.rank()) {
            slip_now!(Shape, "multinomial: weights {} {}: expected floats [K] or [N, K]", self.dtype(), self.shape());
        }
        let k = self.shape()[self.rank() - 1];
        if count == 0 || k == 0 || (!replacement && count > k) {
            slip_now!(Argument, "multinomial: {count} of {k} indices");
        }
        let weights = self.cast(super::compose::compute_dtype(self.dtype()));
        if replacement {
            return weights.detach().draws_by_sums(count);
        }
        // The order of exponential clocks is the order of draws without replacement.
        let log = weights.log();
        (&log + log.gumbel()).topk(count, -1).1
    }

    /// Draws along the last axis by weights, with replacement: the first index whose sum of weights so far exceeds a random part of all.
    /// (A weight of 0 leaves the sum as it is, so its index is never the first.)
    #[track_caller]
    fn draws_by_sums(&self, count: usize) -> Tensor {
        let _on = self.device().enter();
        let last = self.rank() - 1;
        let k = self.shape()[last];
        let sums = self.cumsum(-1);
        pass_poison!(sums);
        let shape: Shape = self.shape()[..last].iter().copied().chain([count]).collect();
        let at = sums.slice_axis(last, k - 1, k, 1).broadcast_shape(&shape) * Tensor::open_unit(&shape, self.dtype());
        // By bisection: as many as can be passed of the greatest power of two, then of half of that, and so on.
        let mut passed = Tensor::constant(crate::base::Scalar::Int(0), DType::I64, &shape);
        let mut step = k.next_power_of_two();
        while step > 0 {
            let next = &passed + LitInt(step as i64);
            let sum = Tensor::record(Op::Gather(last as u8), &[&sums, &(&next - LitInt(1))]);
            let passes = sum.le(&at).bitwise_and(next.lt(LitInt(k as i64)));
            passed = Tensor::where_(&passes, &next, &passed);
            step /= 2;
        }
        passed
    }

    /// Uniform in (0, 1), both ends excluded in f32 too.
    #[track_caller]
    fn open_unit(shape: &Shape, d: DType) -> Tensor {
        let u = (Source::Default.bits(shape).cast(d) + Lit(0.5)) * Lit(2f64.powi(-32));
        u.minimum(Lit(1.0 - 2f64.powi(-24)))
    }

    /// Gumbel noise in this float tensor's shape.
    #[track_caller]
    fn gumbel(&self) -> Tensor {
        let _on = self.device().enter();
        let d = super::compose::compute_dtype(self.dtype());
        // Both logarithms are finite.
        Tensor::open_unit(self.shape(), d).log().neg_of().log().neg_of()
    }

    /// An index drawn along an axis of logits (log-probabilities up to a constant), by Gumbel's trick: I64, without the axis.
    ///
    /// # Panics
    /// If the axis is out of range or has no elements.
    #[track_caller]
    pub fn categorical(&self, axis: impl Into<Axis>) -> Tensor {
        let x = self.to_float();
        pass_poison!(x);
        (x.cast(super::compose::compute_dtype(x.dtype())) + x.gumbel()).argmax(axis)
    }
}
