//! x^y of f32 vectors, through f64 lanes: the logarithm needs more than f32 because y magnifies its error by up to 2^7.

use super::exp_log::reduce_log;
use super::simd::Simd;

/// C's `pow`.
#[inline(always)]
pub(super) fn pow<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    let (zero, one, inf) = (s.splat(0.0), s.splat(1.0), s.splat(f32::INFINITY));
    let a = s.abs(x);

    // a = 2^k m, m in [sqrt 1/2, sqrt 2]; log2 m by the series of atanh in (m - 1) / (m + 1).
    let (k, m) = reduce_log(s, a, true);
    let (dm, done) = (s.widen(m), s.splat_d(1.0));
    let z = s.div_d(s.sub_d(dm, done), s.add_d(dm, done));
    let u = s.mul_d(z, z);
    let series = s.poly_d(
        u,
        [
            2.885390081777927,
            0.9617966939243416,
            0.5770780172482335,
            0.4121984014313017,
            0.32061644336543726,
            0.26144223770527925,
            0.2429421252105694,
        ],
    );
    // At 0, infinity and NaN: -inf, inf and NaN, from whose products with y the results follow.
    let edge = s.select(s.eq(a, zero), s.splat(f32::NEG_INFINITY), s.select(s.lt(a, inf), zero, a));
    let log = s.add_d(s.mad_d(z, series, s.widen(k)), s.widen(edge));

    // 2^e with e = y log2 a, held where the result is surely 0 or infinite.
    let e = s.mul_d(s.widen(y), log);
    let e = s.min_d(s.splat_d(160.0), s.max_d(s.splat_d(-160.0), e));
    const MAGIC: f64 = 6755399441055744.0;
    let t = s.add_d(e, s.splat_d(MAGIC));
    let f = s.sub_d(e, s.sub_d(t, s.splat_d(MAGIC)));
    let p = s.poly_d(
        f,
        [
            0.9999999999616217,
            0.693147180728715,
            0.24022651198753325,
            0.05550410352834958,
            0.009618027172937546,
            0.001333392285450625,
            0.0001546931725216537,
            1.5201901148088722e-05,
        ],
    );
    let r = s.narrow(s.mul_d(p, s.pow2_of_low_bits(t)));

    // Sign, and domain. From 2^24 on every float is an even integer.
    let ay = s.abs(y);
    let big = s.le(s.splat(16777216.0), ay);
    let whole = s.or_m(big, s.eq(s.trunc(y), y));
    let half = s.mul(y, s.splat(0.5));
    let odd = s.and_m(s.not_m(big), s.and_m(whole, s.not_m(s.eq(s.trunc(half), half))));
    let r = s.float(s.or_i(s.bits(r), s.bits(s.select(odd, s.sign_bit(x), zero))));
    let invalid = s.and_m(s.and_m(s.lt(x, zero), s.lt(a, inf)), s.not_m(s.or_m(whole, s.unord(y, y))));
    let r = s.select(invalid, s.splat(f32::NAN), r);
    // x^0 and 1^y are 1 even for NaN, and so is (-1)^(+-inf).
    let unit = s.or_m(s.eq(y, zero), s.or_m(s.eq(x, one), s.and_m(s.eq(x, s.splat(-1.0)), s.eq(ay, inf))));
    s.select(unit, one, r)
}
