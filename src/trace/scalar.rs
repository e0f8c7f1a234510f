//! What one element of an elementwise op is: the reference semantics that constant folding and the interpreters share.
//!
//! Floats are computed in f64 and rounded once to the dtype; integers are computed in i64 and wrapped to it.

use super::elementwise::{Binary, Compare, Unary};
use crate::base::dtype::round_float;
use crate::base::{DType, Scalar};

/// One element of a unary op on `dtype`.
///
/// # Panics
/// If the op is not defined for `dtype`.
pub fn eval_unary(op: Unary, dtype: DType, x: Scalar) -> Scalar {
    assert!(op.accepts(dtype), "{} is not defined for {dtype}", op.name());
    match x {
        Scalar::Float(x) => Scalar::Float(round_float(dtype, float_unary(op, x))),
        Scalar::Int(x) => Scalar::Int(match op {
            Unary::Neg => x.wrapping_neg(),
            Unary::Abs => x.wrapping_abs(),
            Unary::Sign => x.signum(),
            _ => !x,
        })
        .cast(dtype),
        Scalar::Bool(x) => Scalar::Bool(!x),
    }
}

fn float_unary(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        }
        Unary::Recip => 1.0 / x,
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Exp => x.exp(),
        Unary::Exp2 => x.exp2(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Log => x.ln(),
        Unary::Log2 => x.log2(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Tanh => x.tanh(),
        Unary::Erf => erf(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Trunc => x.trunc(),
        Unary::Not => unreachable!("not is refused for floats"),
    }
}

/// One element of a binary op on `dtype`. `Max` and `Min` order -0 below 0 here; devices need not.
///
/// # Panics
/// If the op is not defined for `dtype`, or the operands are not both values of it.
pub fn eval_binary(op: Binary, dtype: DType, a: Scalar, b: Scalar) -> Scalar {
    assert!(op.accepts(dtype), "{} is not defined for {dtype}", op.name());
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(round_float(dtype, float_binary(op, a, b))),
        (Scalar::Int(a), Scalar::Int(b)) => Scalar::Int(int_binary(op, dtype, a, b)).cast(dtype),
        (Scalar::Bool(a), Scalar::Bool(b)) => Scalar::Bool(match op {
            Binary::Max | Binary::Or => a | b,
            Binary::Min | Binary::And => a & b,
            _ => a ^ b,
        }),
        _ => panic!("{} of {a:?} and {b:?}", op.name()),
    }
}

fn float_binary(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Rem => a % b,
        // Of two zeros the positive one is larger.
        Binary::Max | Binary::Min if a == b => {
            if a.is_sign_positive() == (op == Binary::Max) {
                a
            } else {
                b
            }
        }
        Binary::Max if a.is_nan() || a > b => a,
        Binary::Min if a.is_nan() || a < b => a,
        Binary::Max | Binary::Min => b,
        // The library's square need not be rounded correctly.
        Binary::Pow if b == 2.0 => a * a,
        Binary::Pow => a.powf(b),
        Binary::Atan2 => a.atan2(b),
        _ => unreachable!("bit operations are refused for floats"),
    }
}

fn int_binary(op: Binary, dtype: DType, a: i64, b: i64) -> i64 {
    let in_width = (0..8 * dtype.size() as i64).contains(&b);
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div => {
            if b == 0 {
                0
            } else {
                a.wrapping_div(b)
            }
        }
        Binary::Rem => {
            if b == 0 {
                0
            } else {
                a.wrapping_rem(b)
            }
        }
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::Pow => int_pow(a, b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Shl => {
            if in_width {
                a << b
            } else {
                0
            }
        }
        Binary::Shr => a >> if in_width { b } else { 63 },
        Binary::Atan2 => unreachable!("atan2 is refused for integers"),
    }
}

/// x^y by wrapping multiplication. Wrapping to a narrower type may come last: it commutes with multiplication.
fn int_pow(mut x: i64, mut y: i64) -> i64 {
    if y < 0 {
        return match x {
            1 => 1,
            -1 => 1 - 2 * (y & 1),
            _ => 0,
        };
    }
    let mut r = 1i64;
    while y > 0 {
        if y & 1 == 1 {
            r = r.wrapping_mul(x);
        }
        x = x.wrapping_mul(x);
        y >>= 1;
    }
    r
}

/// One element of a comparison.
///
/// # Panics
/// If the operands are of different categories.
pub fn eval_compare(op: Compare, a: Scalar, b: Scalar) -> bool {
    use std::cmp::Ordering::*;
    let order = match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a.partial_cmp(&b),
        (Scalar::Int(a), Scalar::Int(b)) => Some(a.cmp(&b)),
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(&b)),
        _ => panic!("{} of {a:?} and {b:?}", op.name()),
    };
    match op {
        Compare::Eq => order == Some(Equal),
        Compare::Ne => order != Some(Equal),
        Compare::Lt => order == Some(Less),
        Compare::Le => matches!(order, Some(Less | Equal)),
        Compare::Gt => order == Some(Greater),
        Compare::Ge => matches!(order, Some(Greater | Equal)),
    }
}

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011): the four words at `counter`, which
/// fills the two low counter words.
pub fn philox(key: u64, counter: u64) -> [u32; 4] {
    let mut c = [counter as u32, (counter >> 32) as u32, 0, 0];
    let mut k = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        let (p, q) = (c[0] as u64 * 0xD251_1F53, c[2] as u64 * 0xCD9E_8D57);
        c = [(q >> 32) as u32 ^ c[1] ^ k[0], q as u32, (p >> 32) as u32 ^ c[3] ^ k[1], p as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// The error function, within one unit in the last place: the rational approximations of fdlibm's `s_erf.c`.
// Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Permission to use, copy, modify, and distribute this
// software is freely granted, provided that this notice is preserved.
#[allow(clippy::excessive_precision)]
pub fn erf(x: f64) -> f64 {
    // Coefficients, lowest power first: numerator and denominator of each range of |x|.
    const SMALL: ([f64; 5], [f64; 6]) = (
        [
            1.28379167095512558561e-01,
            -3.25042107247001499370e-01,
            -2.84817495755985104766e-02,
            -5.77027029648944159157e-03,
            -2.37630166566501626084e-05,
        ],
        [
            1.0,
            3.97917223959155352819e-01,
            6.50222499887672944485e-02,
            5.08130628187576562776e-03,
            1.32494738004321644526e-04,
            -3.96022827877536812320e-06,
        ],
    );
    const MIDDLE: ([f64; 7], [f64; 7]) = (
        [
            -2.36211856075265944077e-03,
            4.14856118683748331666e-01,
            -3.72207876035701323847e-01,
            3.18346619901161753674e-01,
            -1.10894694282396677476e-01,
            3.54783043256182359371e-02,
            -2.16637559486879084300e-03,
        ],
        [
            1.0,
            1.06420880400844228286e-01,
            5.40397917702171048937e-01,
            7.18286544141962662868e-02,
            1.26171219808761642112e-01,
            1.36370839120290507362e-02,
            1.19844998467991074170e-02,
        ],
    );
    const LARGE: ([f64; 8], [f64; 9]) = (
        [
            -9.86494403484714822705e-03,
            -6.93858572707181764372e-01,
            -1.05586262253232909814e+01,
            -6.23753324503260060396e+01,
            -1.62396669462573470355e+02,
            -1.84605092906711035994e+02,
            -8.12874355063065934246e+01,
            -9.81432934416914548592e+00,
        ],
        [
            1.0,
            1.96512716674392571292e+01,
            1.37657754143519042600e+02,
            4.34565877475229228821e+02,
            6.45387271733267880336e+02,
            4.29008140027567833386e+02,
            1.08635005541779435134e+02,
            6.57024977031928170135e+00,
            -6.04244152148580987438e-02,
        ],
    );
    const LARGER: ([f64; 7], [f64; 8]) = (
        [
            -9.86494292470009928597e-03,
            -7.99283237680523006574e-01,
            -1.77579549177547519889e+01,
            -1.60636384855821916062e+02,
            -6.37566443368389627722e+02,
            -1.02509513161107724954e+03,
            -4.83519191608651397019e+02,
        ],
        [
            1.0,
            3.03380607434824582924e+01,
            3.25792512996573918826e+02,
            1.53672958608443695994e+03,
            3.19985821950859553908e+03,
            2.55305040643316442583e+03,
            4.74528541206955367215e+02,
            -2.24409524465858183362e+01,
        ],
    );
    let poly = |c: &[f64], x: f64| c.iter().rev().fold(0.0, |p, &c| p * x + c);
    let a = x.abs();
    let y = if a < 0.84375 {
        if a < 1e-150 {
            // The quotient below would be lost in underflow; erf(x) = 2x/sqrt(pi) here, scaled so as to round once.
            return 0.125 * (8.0 * x + 1.02703333676410069053 * x);
        }
        let z = x * x;
        return x + x * (poly(&SMALL.0, z) / poly(&SMALL.1, z));
    } else if a < 1.25 {
        let s = a - 1.0;
        8.45062911510467529297e-01 + poly(&MIDDLE.0, s) / poly(&MIDDLE.1, s)
    } else if a < 6.0 {
        let s = 1.0 / (a * a);
        let q = if a < 1.0 / 0.35 { poly(&LARGE.0, s) / poly(&LARGE.1, s) } else { poly(&LARGER.0, s) / poly(&LARGER.1, s) };
        // exp(-a^2) in two factors, the first of an a cut to half its mantissa, whose square is exact.
        let z = f64::from_bits(a.to_bits() & 0xFFFF_FFFF_0000_0000);
        1.0 - (-z * z - 0.5625).exp() * ((z - a) * (z + a) + q).exp() / a
    } else if a.is_nan() {
        return x;
    } else {
        1.0
    };
    y.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DType::*;

    #[test]
    fn erf_agrees_with_its_series() {
        // Independent: erf(x) = 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!, all terms positive.
        for i in 0..6000 {
            let x = i as f64 * 1e-3;
            let (mut term, mut sum) = (x, x);
            let mut n = 1.0;
            while term > sum * 1e-18 {
                term *= 2.0 * x * x / (2.0 * n + 1.0);
                sum += term;
                n += 1.0;
            }
            let want = 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum;
            assert!((erf(x) - want).abs() <= 4e-15 * want, "{x}: {} against {want}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        // Correctly rounded values (Abramowitz and Stegun 7.1, extended).
        for (x, want) in [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7)] {
            assert!((erf(x) - want).abs() <= 2.3e-16, "{x}: {}", erf(x));
        }
        assert_eq!(erf(f64::INFINITY), 1.0);
        assert_eq!(erf(f64::NEG_INFINITY), -1.0);
        assert!(erf(f64::NAN).is_nan());
        assert!(erf(-0.0).is_sign_negative() && erf(5e-324) > 0.0);
    }

    #[test]
    fn philox_matches_the_authors_vectors() {
        // Known answers of the Random123 distribution (kat_vectors, philox4x32 10) that leave the upper counter words zero.
        assert_eq!(philox(0, 0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    }

    #[test]
    fn halves_round_once() {
        // 1 + 2^-11 is half way between two f16; a part below f32's precision decides.
        let half_way = 1.0 + 2f64.powi(-11);
        assert_eq!(round_float(F16, half_way), 1.0);
        assert_eq!(round_float(F16, half_way + 2f64.powi(-40)), 1.0 + 2f64.powi(-10));
        assert_eq!(round_float(F16, half_way - 2f64.powi(-40)), 1.0);
        assert_eq!(round_float(BF16, -(1.0 + 2f64.powi(-8) + 2f64.powi(-40))), -(1.0 + 2f64.powi(-7)));
        assert_eq!(round_float(F16, 1e300), f64::INFINITY);
        assert_eq!(round_float(BF16, -1e300), f64::NEG_INFINITY);
        assert_eq!(round_float(F16, 65519.99999999), 65504.0);
        assert!(round_float(F16, f64::NAN).is_nan());
        assert_eq!(round_float(F16, -1e-300).to_bits(), (-0.0f64).to_bits());
        assert_eq!(Scalar::Int((1 << 62) + (1 << 54) + 1).cast(BF16).as_f64(), 2f64.powi(62) + 2f64.powi(55));
        assert_eq!(Scalar::Int(i64::MIN).cast(BF16).as_f64(), -2f64.powi(63));
    }

    #[test]
    fn integers() {
        let b = |op, d, x: i64, y: i64| eval_binary(op, d, Scalar::Int(x), Scalar::Int(y)).as_i64();
        let u = |op, d, x: i64| eval_unary(op, d, Scalar::Int(x)).as_i64();
        assert_eq!(b(Binary::Add, U8, 250, 10), 4);
        assert_eq!(b(Binary::Sub, U32, 0, 1), u32::MAX as i64);
        assert_eq!(b(Binary::Mul, I32, 1 << 20, 1 << 20), 0);
        assert_eq!(b(Binary::Div, I32, i32::MIN as i64, -1), i32::MIN as i64);
        assert_eq!(b(Binary::Div, I64, i64::MIN, -1), i64::MIN);
        assert_eq!(b(Binary::Rem, I64, i64::MIN, -1), 0);
        assert_eq!((b(Binary::Div, I64, -7, 2), b(Binary::Rem, I64, -7, 2)), (-3, -1));
        assert_eq!((b(Binary::Div, U8, 3, 0), b(Binary::Rem, I64, 3, 0)), (0, 0));
        assert_eq!((b(Binary::Shl, I32, 1, 31), b(Binary::Shl, I32, 1, 32), b(Binary::Shl, I32, 1, -1)), (i32::MIN as i64, 0, 0));
        assert_eq!((b(Binary::Shr, I32, -8, 1), b(Binary::Shr, I32, -8, 99), b(Binary::Shr, U8, 200, 8)), (-4, -1, 0));
        assert_eq!((b(Binary::Pow, I32, 3, 4), b(Binary::Pow, I32, -1, -3), b(Binary::Pow, I32, 2, -1)), (81, -1, 0));
        assert_eq!(b(Binary::Pow, U8, 3, 200), (0..200).fold(1u8, |p, _| p.wrapping_mul(3)) as i64);
        assert_eq!((u(Unary::Not, U8, 1), u(Unary::Not, I32, 0), u(Unary::Neg, U32, 1)), (254, -1, u32::MAX as i64));
        assert_eq!((u(Unary::Abs, I32, i32::MIN as i64), u(Unary::Sign, I64, -9)), (i32::MIN as i64, -1));
    }

    #[test]
    fn nan_rules() {
        let (nan, one) = (Scalar::Float(f64::NAN), Scalar::Float(1.0));
        for op in [Binary::Max, Binary::Min] {
            assert!(eval_binary(op, F32, nan, one).as_f64().is_nan() && eval_binary(op, F32, one, nan).as_f64().is_nan());
        }
        for op in Compare::ALL {
            assert_eq!(eval_compare(*op, nan, one), *op == Compare::Ne);
        }
        assert!(eval_unary(Unary::Sign, F64, nan).as_f64().is_nan());
    }
}
