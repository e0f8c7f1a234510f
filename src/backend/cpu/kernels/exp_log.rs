//! Exponentials, logarithms, hyperbolic functions and the error function of f32 vectors.
//!
//! Polynomials are minimax fits (Remez) in the stated form and interval; together with the rounding of each step every function stays
//! within 2 ulp, subnormal arguments and results included.

// Coefficients are printed to nine digits, which name an f32 whoever reads them.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use super::simd::Simd;
use std::f32::consts::LOG2_E;

/// 1.5 * 2^23: adding it rounds a small float to an integer, which then sits in the low bits of the sum's pattern.
pub(super) const MAGIC: f32 = 12582912.0;
const LN2_HI: f32 = 0.693_145_75;
const LN2_LO: f32 = 1.428_606_8e-6;
/// log2(e) to twice the precision.
const LOG2E_HI: f32 = 1.442_695;
const LOG2E_LO: f32 = 1.925_963e-8;

/// x = n ln2 + r with |r| <= ln2 / 2: n as a sum with [`MAGIC`], and r. |x| < 2^20.
#[inline(always)]
fn reduce_exp<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let t = s.fma(x, s.splat(LOG2_E), s.splat(MAGIC));
    let n = s.sub(t, s.splat(MAGIC));
    let r = s.fma(n, s.splat(-LN2_HI), x);
    (t, s.fma(n, s.splat(-LN2_LO), r))
}

/// The integer in a sum with [`MAGIC`].
#[inline(always)]
fn magic_int<S: Simd>(s: S, t: S::F) -> S::I {
    s.sub_i(s.bits(t), s.splat_i(MAGIC.to_bits() as i32))
}

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn pow2<S: Simd>(s: S, n: S::I) -> S::F {
    s.float(s.shl(s.add_i(n, s.splat_i(127)), 23))
}

/// y * 2^n for y near 1 and the n in `t`, a sum with [`MAGIC`], where the result is surely normal. (The shift drops the bits of the sum.)
#[inline(always)]
fn scale_normal<S: Simd>(s: S, y: S::F, t: S::F) -> S::F {
    s.float(s.add_i(s.bits(y), s.shl(s.bits(t), 23)))
}

/// y * 2^n for |n| <= 252 and y near 1, rounded once. Two factors, because 2^n alone may be no normal float; the first product is exact.
#[inline(always)]
fn scale<S: Simd>(s: S, y: S::F, n: S::I) -> S::F {
    let half = s.sar(n, 1);
    s.mul(s.mul(y, pow2(s, half)), pow2(s, s.sub_i(n, half)))
}

/// `x` held within [lo, hi]; NaN stays.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::F, lo: f32, hi: f32) -> S::F {
    s.min(s.splat(hi), s.max(s.splat(lo), x))
}

/// e^r for |r| <= ln2 / 2.
#[inline(always)]
fn exp_unit<S: Simd>(s: S, r: S::F) -> S::F {
    // (e^r - 1 - r) / r^2
    let q = s.poly(r, [4.999999702e-01, 1.666654199e-01, 4.166720435e-02, 8.366647176e-03, 1.388249686e-03]);
    s.add(s.mad(s.mul(r, r), q, r), s.splat(1.0))
}

/// e^x * 2^shift.
#[inline(always)]
fn exp_shifted<S: Simd>(s: S, x: S::F, shift: i32) -> S::F {
    let (t, r) = reduce_exp(s, clamp(s, x, -105.0, 90.0));
    scale(s, exp_unit(s, r), s.add_i(magic_int(s, t), s.splat_i(shift)))
}

#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // Where no result is subnormal or infinite, scaling is one addition.
    if s.rare_unless(s.lt(s.abs(x), s.splat(87.0))) {
        return exp_shifted(s, x, 0);
    }
    let (t, r) = reduce_exp(s, x);
    scale_normal(s, exp_unit(s, r), t)
}

/// 2^x as 2^r 2^n: 2^r, and n as a sum with [`MAGIC`]. |x| < 2^20.
#[inline(always)]
fn exp2_parts<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let t = s.add(x, s.splat(MAGIC));
    let r = s.sub(x, s.sub(t, s.splat(MAGIC)));
    // (2^r - 1) / r on |r| <= 1/2
    let q = s.poly(r, [6.931471825e-01, 2.402264774e-01, 5.550331250e-02, 9.618442506e-03, 1.339939074e-03, 1.535294577e-04]);
    (s.mad(r, q, s.splat(1.0)), t)
}

#[inline(always)]
pub(super) fn exp2<S: Simd>(s: S, x: S::F) -> S::F {
    if s.rare_unless(s.lt(s.abs(x), s.splat(125.0))) {
        let (y, t) = exp2_parts(s, clamp(s, x, -152.0, 130.0));
        return scale(s, y, magic_int(s, t));
    }
    let (y, t) = exp2_parts(s, x);
    scale_normal(s, y, t)
}

#[inline(always)]
pub(super) fn expm1<S: Simd>(s: S, x: S::F) -> S::F {
    // Above the upper bound the result overflows, below the lower one it rounds to -1.
    let (t, r) = reduce_exp(s, clamp(s, x, -20.0, 88.8));
    // (e^r - 1 - r) / r^2
    let q = s.poly(r, [5.000000000e-01, 1.666666567e-01, 4.166635871e-02, 8.333389647e-03, 1.394082326e-03, 1.984589180e-04]);
    let p = s.mad(s.mul(r, r), q, r);
    // Half the result, so that 2^n stays finite where e^x - 1 still is: 2^(n-1) p + (2^(n-1) - 1/2).
    let h = s.float(s.shl(s.add_i(s.bits(t), s.splat_i(126)), 23));
    let y = s.fma(h, p, s.sub(h, s.splat(0.5)));
    // Halving would drop bits of a subnormal.
    let tiny = s.mad(s.mul(x, s.splat(0.5)), x, x);
    s.copysign(s.select(s.lt(s.abs(x), s.splat(1e-6)), tiny, s.add(y, y)), x)
}

#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let a = s.abs(x);
    let u = s.mul(a, a);
    // (tanh x - x) / x^3 of x^2, |x| < 0.5625
    let p = s.poly(u, [-3.333331347e-01, 1.333245188e-01, -5.383742973e-02, 2.100746334e-02, -6.179816090e-03]);
    let small = s.mad(s.mul(u, a), p, a);
    // 1 - 2 / (e^2x + 1); from 9.02 on tanh rounds to 1.
    let b = s.min(s.splat(9.1), a);
    let (t, r) = reduce_exp(s, s.add(b, b));
    let e = scale_normal(s, exp_unit(s, r), t);
    let large = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))));
    // NaN takes the side of the polynomial, which keeps it.
    s.copysign(s.select(s.le(s.splat(0.5625), a), large, small), x)
}

#[inline(always)]
pub(super) fn sinh<S: Simd>(s: S, x: S::F) -> S::F {
    let a = s.abs(x);
    let h = exp_shifted(s, a, -1);
    let large = s.sub(h, s.div(s.splat(0.25), h));
    let u = s.mul(a, a);
    // (sinh x - x) / x^3 of x^2, |x| <= 1
    let p = s.poly(u, [1.666666716e-01, 8.333351463e-03, 1.983596158e-04, 2.818063194e-06]);
    let small = s.mad(s.mul(u, a), p, a);
    s.copysign(s.select(s.lt(a, s.splat(1.0)), small, large), x)
}

#[inline(always)]
pub(super) fn cosh<S: Simd>(s: S, x: S::F) -> S::F {
    let h = exp_shifted(s, s.abs(x), -1);
    s.add(h, s.div(s.splat(0.25), h))
}

/// x = 2^k m with m in [sqrt 1/2, sqrt 2) for positive normal x.
#[inline(always)]
fn reduce_normal<S: Simd>(s: S, x: S::F) -> (S::I, S::F) {
    const SQRT_HALF: i32 = 0x3f35_04f3;
    let i = s.sub_i(s.bits(x), s.splat_i(SQRT_HALF));
    let m = s.float(s.add_i(s.and_i(i, s.splat_i(0x007f_ffff)), s.splat_i(SQRT_HALF)));
    (s.sar(i, 23), m)
}

/// Which x are no positive normal numbers.
#[inline(always)]
fn not_normal<S: Simd>(s: S, x: S::F) -> S::M {
    s.not_m(s.and_m(s.le(s.splat(f32::MIN_POSITIVE), x), s.lt(x, s.splat(f32::INFINITY))))
}

/// x = 2^k m with m in [sqrt 1/2, sqrt 2) for positive finite x, subnormal ones too if `rare`; k as float.
#[inline(always)]
pub(super) fn reduce_log<S: Simd>(s: S, x: S::F, rare: bool) -> (S::F, S::F) {
    if rare {
        let tiny = s.lt(x, s.splat(f32::MIN_POSITIVE));
        let (k, m) = reduce_normal(s, s.select(tiny, s.mul(x, s.splat(8388608.0)), x));
        return (s.add(s.to_f(k), s.select(tiny, s.splat(-23.0), s.splat(0.0))), m);
    }
    let (k, m) = reduce_normal(s, x);
    (s.to_f(k), m)
}

/// log(1 + f) + k ln2 for 1 + f in [sqrt 1/2, sqrt 2].
#[inline(always)]
fn log_from<S: Simd>(s: S, k: S::F, f: S::F) -> S::F {
    // (log(1 + f) - f + f^2/2) / f^3
    let r = s.poly(
        f,
        [
            3.333331347e-01,
            -2.500000894e-01,
            2.000211924e-01,
            -1.666799635e-01,
            1.421955228e-01,
            -1.240558922e-01,
            1.188816130e-01,
            -1.167565063e-01,
            6.746640056e-02,
        ],
    );
    let ff = s.mul(f, f);
    let y = s.mad(s.mul(ff, f), r, s.mul(k, s.splat(LN2_LO)));
    let y = s.add(s.mad(ff, s.splat(-0.5), y), f);
    s.mad(k, s.splat(LN2_HI), y)
}

/// What every logarithm is at 0 (-inf), below (NaN), at +inf (inf) and NaN, given the argument and the result elsewhere.
#[inline(always)]
fn log_edges<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    let inf = s.splat(f32::INFINITY);
    // x + inf is NaN for NaN, and infinite for infinite x; -inf is caught below.
    let y = s.select(s.lt(x, inf), y, s.add(x, inf));
    let y = s.select(s.lt(x, s.splat(0.0)), s.splat(f32::NAN), y);
    s.select(s.eq(x, s.splat(0.0)), s.splat(f32::NEG_INFINITY), y)
}

#[inline(always)]
pub(super) fn log<S: Simd>(s: S, x: S::F) -> S::F {
    let rare = s.rare(not_normal(s, x));
    let (k, m) = reduce_log(s, x, rare);
    let y = log_from(s, k, s.sub(m, s.splat(1.0)));
    if rare { log_edges(s, x, y) } else { y }
}

#[inline(always)]
pub(super) fn log2<S: Simd>(s: S, x: S::F) -> S::F {
    let rare = s.rare(not_normal(s, x));
    let (k, m) = reduce_log(s, x, rare);
    let f = s.sub(m, s.splat(1.0));
    // (log2(1 + f) / f - log2 e) / f
    let p = s.poly(
        f,
        [
            -7.213473320e-01,
            4.808982313e-01,
            -3.606965840e-01,
            2.885674834e-01,
            -2.396184057e-01,
            2.046004683e-01,
            -1.910559386e-01,
            1.861716956e-01,
            -1.099590957e-01,
        ],
    );
    let low = s.mul(f, s.mad(f, p, s.splat(LOG2E_LO)));
    let y = s.add(k, s.fma(f, s.splat(LOG2E_HI), low));
    if rare { log_edges(s, x, y) } else { y }
}

#[inline(always)]
pub(super) fn log1p<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let u = s.add(x, one);
    let (k, m) = reduce_normal(s, u);
    // (1 + x) 2^-k - 1 without the rounding of 1 + x.
    let p = s.float(s.shl(s.sub_i(s.splat_i(127), k), 23));
    let f = s.fma(x, p, s.sub(p, one));
    let kf = s.to_f(k);
    // From 2^60 on the rounding does not matter, and 2^-k may be subnormal.
    if s.rare(s.not_m(s.and_m(s.lt(s.splat(-1.0), x), s.lt(x, s.splat(1e18))))) {
        let f = s.select(s.lt(x, s.splat(1e18)), f, s.sub(m, one));
        return log1p_edge(s, x, log_edges(s, u, log_from(s, kf, f)));
    }
    log1p_edge(s, x, log_from(s, kf, f))
}

/// Keeps the sign of zero, and what is too small to square.
#[inline(always)]
fn log1p_edge<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    s.select(s.lt(s.abs(x), s.splat(1e-10)), x, y)
}

#[inline(always)]
pub(super) fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let a = s.abs(x);
    let u = s.mul(a, a);
    // erf x / x - 1 of x^2 on |x| < 0.9
    let p = s.poly(
        u,
        [1.283791661e-01, -3.761263788e-01, 1.128373072e-01, -2.686123736e-02, 5.205444992e-03, -8.191986126e-04, 8.577320114e-05],
    );
    let small = s.mad(a, p, a);
    // log2(1 - erf x) on [0.9, 4]; from 3.92 on erf rounds to 1.
    let t = s.min(s.splat(4.0), a);
    let g = s.poly(
        t,
        [-2.301908389e-04, -1.627109170e+00, -9.188909531e-01, -1.502677351e-01, 3.222503141e-02, -4.430435132e-03, 2.867816074e-04],
    );
    let (y, n) = exp2_parts(s, g);
    let large = s.sub(s.splat(1.0), scale_normal(s, y, n));
    // NaN takes the side of the polynomial, which keeps it.
    s.copysign(s.select(s.le(s.splat(0.9), a), large, small), x)
}
