//! Sine, cosine, tangent and the inverse functions of f32 vectors.

// Coefficients are printed to nine digits, which name an f32 whoever reads them.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use super::exp_log::MAGIC;
use super::simd::Simd;
use std::f32::consts::{FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, PI};

/// Up to here three f32 parts of pi/2 reduce an argument to full precision; beyond, the library's f64 functions do, lane by lane.
pub(super) const REDUCIBLE: f32 = 65536.0;

/// pi/2 in three parts of 24 bits.
const PIO2: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];
/// pi/2 and pi beyond their f32 part.
const PIO2_LO: f32 = PIO2[1];
const PI_LO: f32 = 2.0 * PIO2[1];

/// sin(x + quarter * pi/2) for |x| <= [`REDUCIBLE`].
#[inline(always)]
fn sin_quarter<S: Simd>(s: S, x: S::F, quarter: i32) -> S::F {
    let t = s.fma(x, s.splat(FRAC_2_PI), s.splat(MAGIC));
    let n = s.sub(t, s.splat(MAGIC));
    // The first difference is exact: both terms are multiples of 2^-23 (or of x's last place, for small x) and nearly cancel.
    let r = s.fma(n, s.splat(-PIO2[0]), x);
    let r = s.fma(n, s.splat(-PIO2[1]), r);
    let r = s.fma(n, s.splat(-PIO2[2]), r);
    let u = s.mul(r, r);
    // (sin r - r) / r^3 and (cos r - 1 + r^2/2) / r^4 of r^2, |r| <= 0.8
    let p = s.poly(u, [-1.666665375e-01, 8.332090452e-03, -1.950524020e-04]);
    let q = s.poly(u, [4.166664556e-02, -1.388725126e-03, 2.442492405e-05]);
    let sin = s.mad(s.mul(u, r), p, r);
    let cos = s.mad(s.mul(u, u), q, s.mad(u, s.splat(-0.5), s.splat(1.0)));
    // The quadrant is in the low bits of t's pattern.
    let i = s.add_i(s.bits(t), s.splat_i(quarter));
    let even = s.eq_i(s.and_i(i, s.splat_i(1)), s.splat_i(0));
    let flip = s.shl(s.and_i(i, s.splat_i(2)), 30);
    s.float(s.xor_i(s.bits(s.select(even, sin, cos)), flip))
}

#[inline(always)]
pub(super) fn sin<S: Simd>(s: S, x: S::F) -> S::F {
    let y = sin_quarter(s, x, 0);
    // Only -0 needs this: its reduction gives +0.
    s.select(s.eq(x, s.splat(0.0)), x, y)
}

#[inline(always)]
pub(super) fn cos<S: Simd>(s: S, x: S::F) -> S::F {
    sin_quarter(s, x, 1)
}

/// Tangent for |x| <= [`REDUCIBLE`]. In f64 lanes: near odd multiples of pi/4 it magnifies the error of an f32 reduction beyond 2 ulp.
#[inline(always)]
pub(super) fn tan<S: Simd>(s: S, x: S::F) -> S::F {
    const MAGIC_D: f64 = 6755399441055744.0;
    let d = s.widen(x);
    let t = s.mad_d(d, s.splat_d(std::f64::consts::FRAC_2_PI), s.splat_d(MAGIC_D));
    let n = s.sub_d(t, s.splat_d(MAGIC_D));
    // pi/2 in a part of 33 bits, whose products with n are exact, and the rest.
    let r = s.mad_d(n, s.splat_d(-1.570_796_326_734_125_6), d);
    let r = s.mad_d(n, s.splat_d(-6.077_100_506_506_192e-11), r);
    let u = s.mul_d(r, r);
    let p =
        s.poly_d(u, [-0.1666666666662952, 0.00833333332489264, -0.00019841263611894823, 2.7555312176470004e-06, -2.475830196980753e-08]);
    let q = s.poly_d(u, [0.04166666662073606, -0.0013888883570800025, 2.4799471338026474e-05, -2.7206184035587694e-07]);
    let sin = s.mad_d(s.mul_d(u, r), p, r);
    let cos = s.mad_d(s.mul_d(u, u), q, s.mad_d(u, s.splat_d(-0.5), s.splat_d(1.0)));
    // The parity of n, from the exact f32 of n: n/2 is an integer or half of one.
    let n = s.narrow(n);
    let half = s.mul(n, s.splat(0.5));
    let even = s.eq(s.round(half), half);
    let y = s.select(even, s.narrow(s.div_d(sin, cos)), s.neg(s.narrow(s.div_d(cos, sin))));
    s.select(s.eq(x, s.splat(0.0)), x, y)
}

/// Arctangent of 0 <= z <= 1.
#[inline(always)]
fn atan_unit<S: Simd>(s: S, z: S::F) -> S::F {
    let u = s.mul(z, z);
    // (atan z - z) / z^3 of z^2
    let p = s.poly(
        u,
        [
            -3.333329856e-01,
            1.999854892e-01,
            -1.426424235e-01,
            1.095218584e-01,
            -8.403450996e-02,
            5.795760825e-02,
            -3.117786162e-02,
            1.091461442e-02,
            -1.793623785e-03,
        ],
    );
    s.mad(s.mul(u, z), p, z)
}

/// `hi + lo - y`, for a constant `hi + lo`.
#[inline(always)]
fn from_const<S: Simd>(s: S, hi: f32, lo: f32, y: S::F) -> S::F {
    s.sub(s.splat(hi), s.sub(y, s.splat(lo)))
}

#[inline(always)]
pub(super) fn atan<S: Simd>(s: S, x: S::F) -> S::F {
    let a = s.abs(x);
    let large = s.lt(s.splat(1.0), a);
    let y = atan_unit(s, s.select(large, s.div(s.splat(1.0), a), a));
    s.copysign(s.select(large, from_const(s, FRAC_PI_2, PIO2_LO, y), y), x)
}

#[inline(always)]
pub(super) fn atan2<S: Simd>(s: S, y: S::F, x: S::F) -> S::F {
    let (ay, ax) = (s.abs(y), s.abs(x));
    let (inf, zero) = (s.splat(f32::INFINITY), s.splat(0.0));
    let steep = s.lt(ax, ay);
    let (lo, hi) = (s.select(steep, ax, ay), s.select(steep, ay, ax));
    let q = s.div(lo, hi);
    // 0/0 is the angle 0 and inf/inf that of the diagonal.
    let q = s.select(s.eq(hi, zero), zero, q);
    let q = s.select(s.eq(lo, inf), s.splat(1.0), q);
    let r = atan_unit(s, q);
    let r = s.select(steep, from_const(s, FRAC_PI_2, PIO2_LO, r), r);
    let left = s.lt(s.copysign(s.splat(1.0), x), zero);
    let r = s.select(left, from_const(s, PI, PI_LO, r), r);
    s.select(s.unord(x, y), s.add(x, y), s.copysign(r, y))
}

/// (asin z - z) / z^3 of u = z^2 <= 1/4.
#[inline(always)]
fn asin_poly<S: Simd>(s: S, u: S::F) -> S::F {
    s.poly(u, [1.666675359e-01, 7.495241612e-02, 4.547709972e-02, 2.414759435e-02, 4.221857712e-02])
}

/// For |x| > 1/2 the pair (z, z^2) with asin |x| = pi/2 - 2 asin z, else (|x|, x^2); and which.
#[inline(always)]
fn asin_reduce<S: Simd>(s: S, a: S::F) -> (S::M, S::F, S::F) {
    let large = s.lt(s.splat(0.5), a);
    let half = s.mul(s.sub(s.splat(1.0), a), s.splat(0.5));
    (large, s.select(large, s.sqrt(half), a), s.select(large, half, s.mul(a, a)))
}

/// pi/2 - 2 (z + d), with d small: the error of a rounded z + d would count double, and only the last sum may be as large as the result.
#[inline(always)]
fn complement<S: Simd>(s: S, z: S::F, d: S::F) -> S::F {
    let rest = s.sub(s.sub(s.add(d, d), s.splat(PIO2_LO)), s.fma(z, s.splat(-2.0), s.splat(FRAC_PI_4)));
    s.sub(s.splat(FRAC_PI_4), rest)
}

#[inline(always)]
pub(super) fn asin<S: Simd>(s: S, x: S::F) -> S::F {
    let a = s.abs(x);
    let (large, z, u) = asin_reduce(s, a);
    let d = s.mul(s.mul(u, z), asin_poly(s, u));
    s.copysign(s.select(large, complement(s, z, d), s.add(z, d)), x)
}

#[inline(always)]
pub(super) fn acos<S: Simd>(s: S, x: S::F) -> S::F {
    let (large, z, u) = asin_reduce(s, s.abs(x));
    let y = s.mad(s.mul(u, z), asin_poly(s, u), z);
    let twice = s.add(y, y);
    let far = s.select(s.lt(x, s.splat(0.0)), from_const(s, PI, PI_LO, twice), twice);
    s.select(large, far, from_const(s, FRAC_PI_2, PIO2_LO, s.copysign(y, x)))
}
