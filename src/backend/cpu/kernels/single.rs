//! f32 kernels: which vector function computes each op, and for which operands there are variants.

use super::drive::{Map, NONE, ONE, TILE, Test, pick_map, pick_select, pick_test};
use super::simd::Simd;
use super::{Isa, MulAdd, Scalars, TileFn, exp_log, power, trig};
use crate::trace::elementwise::{Binary, Compare, Unary};

macro_rules! map {
    ($kernel:ident, |$s:ident, $a:pat_param, $b:pat_param, $c:pat_param| $e:expr) => {
        struct $kernel;
        impl Map for $kernel {
            #[inline(always)]
            fn call<S: Simd>($s: S, $a: S::F, $b: S::F, $c: S::F) -> S::F {
                $e
            }
        }
    };
}

macro_rules! unary {
    ($isa:expr, |$s:ident, $x:ident| $e:expr) => {{
        map!(K, |$s, $x, _, _| $e);
        pick_map::<K, TILE, NONE, NONE>($isa)
    }};
}

/// A trigonometric function, with f64 code for arguments too large for its reduction.
macro_rules! periodic {
    ($isa:expr, $f:path, $exact:path) => {{
        struct K;
        impl Map for K {
            #[inline(always)]
            fn call<S: Simd>(s: S, x: S::F, _: S::F, _: S::F) -> S::F {
                $f(s, x)
            }
            const HAS_HARD: bool = true;
            #[inline(always)]
            fn hard<S: Simd>(s: S, x: S::F, _: S::F) -> S::M {
                s.lt(s.splat(trig::REDUCIBLE), s.abs(x))
            }
            fn exact(x: f32, _: f32) -> f32 {
                $exact(x as f64) as f32
            }
        }
        pick_map::<K, TILE, NONE, NONE>($isa)
    }};
}

pub(super) fn unary(isa: Isa, op: Unary) -> Option<TileFn> {
    Some(match op {
        Unary::Neg => unary!(isa, |s, x| s.neg(x)),
        Unary::Abs => unary!(isa, |s, x| s.abs(x)),
        Unary::Sign => unary!(isa, |s, x| {
            let (zero, one) = (s.splat(0.0), s.splat(1.0));
            s.select(s.or_m(s.lt(x, zero), s.lt(zero, x)), s.copysign(one, x), x)
        }),
        Unary::Not => return None,
        Unary::Recip => unary!(isa, |s, x| s.div(s.splat(1.0), x)),
        Unary::Sqrt => unary!(isa, |s, x| s.sqrt(x)),
        Unary::Rsqrt => unary!(isa, |s, x| s.div(s.splat(1.0), s.sqrt(x))),
        Unary::Exp => unary!(isa, |s, x| exp_log::exp(s, x)),
        Unary::Exp2 => unary!(isa, |s, x| exp_log::exp2(s, x)),
        Unary::Expm1 => unary!(isa, |s, x| exp_log::expm1(s, x)),
        Unary::Log => unary!(isa, |s, x| exp_log::log(s, x)),
        Unary::Log2 => unary!(isa, |s, x| exp_log::log2(s, x)),
        Unary::Log1p => unary!(isa, |s, x| exp_log::log1p(s, x)),
        Unary::Sin => periodic!(isa, trig::sin, f64::sin),
        Unary::Cos => periodic!(isa, trig::cos, f64::cos),
        Unary::Tan => periodic!(isa, trig::tan, f64::tan),
        Unary::Asin => unary!(isa, |s, x| trig::asin(s, x)),
        Unary::Acos => unary!(isa, |s, x| trig::acos(s, x)),
        Unary::Atan => unary!(isa, |s, x| trig::atan(s, x)),
        Unary::Sinh => unary!(isa, |s, x| exp_log::sinh(s, x)),
        Unary::Cosh => unary!(isa, |s, x| exp_log::cosh(s, x)),
        Unary::Tanh => unary!(isa, |s, x| exp_log::tanh(s, x)),
        Unary::Erf => unary!(isa, |s, x| exp_log::erf(s, x)),
        Unary::Floor => unary!(isa, |s, x| s.floor(x)),
        Unary::Ceil => unary!(isa, |s, x| s.ceil(x)),
        Unary::Round => unary!(isa, |s, x| s.round(x)),
        Unary::Trunc => unary!(isa, |s, x| s.trunc(x)),
    })
}

/// The larger; NaN if either is; 0 rather than -0.
#[inline(always)]
pub(super) fn max<S: Simd>(s: S, a: S::F, b: S::F) -> S::F {
    // The two orders differ only for zeros of both signs, where "and" gives +0, and for NaN, which "or" keeps.
    let (p, q) = (s.bits(s.max(a, b)), s.bits(s.max(b, a)));
    s.float(s.bits(s.select(s.unord(a, b), s.float(s.or_i(p, q)), s.float(s.and_i(p, q)))))
}

/// The smaller; NaN if either is; -0 rather than 0.
#[inline(always)]
pub(super) fn min<S: Simd>(s: S, a: S::F, b: S::F) -> S::F {
    s.float(s.or_i(s.bits(s.min(a, b)), s.bits(s.min(b, a))))
}

/// fmod: where the quotient is below 2^28 its product with y is exact in f64, and so is the difference.
struct Rem;
impl Map for Rem {
    #[inline(always)]
    fn call<S: Simd>(s: S, x: S::F, y: S::F, _: S::F) -> S::F {
        let (dx, dy) = (s.widen(x), s.widen(y));
        let q = s.trunc_d(s.div_d(dx, dy));
        let r = s.narrow(s.sub_d(dx, s.mul_d(q, dy)));
        s.copysign(r, x)
    }
    const HAS_HARD: bool = true;
    #[inline(always)]
    fn hard<S: Simd>(s: S, x: S::F, y: S::F) -> S::M {
        let (ax, ay) = (s.abs(x), s.abs(y));
        // Infinite x, zero or infinite y, and NaN fail a comparison too.
        s.not_m(s.and_m(s.lt(s.mul(ax, s.splat(1.0 / 134217728.0)), ay), s.lt(ay, s.splat(f32::INFINITY))))
    }
    fn exact(x: f32, y: f32) -> f32 {
        x % y
    }
}

/// The three variants of a binary op: both tiles, or either operand one element.
pub(super) fn sides<K: Map>(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    match (scalars.a, scalars.b) {
        (false, false) => Some(pick_map::<K, TILE, TILE, NONE>(isa)),
        (false, true) => Some(pick_map::<K, TILE, ONE, NONE>(isa)),
        (true, false) => Some(pick_map::<K, ONE, TILE, NONE>(isa)),
        _ => None,
    }
}

/// Ops for which a scalar operand is rare: tiles only.
fn tiles<K: Map>(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    (scalars == Scalars::NONE).then(|| pick_map::<K, TILE, TILE, NONE>(isa))
}

macro_rules! binary {
    ($variants:ident, $isa:expr, $scalars:expr, |$s:ident, $a:ident, $b:ident| $e:expr) => {{
        map!(K, |$s, $a, $b, _| $e);
        $variants::<K>($isa, $scalars)
    }};
}

pub(super) fn binary(isa: Isa, op: Binary, scalars: Scalars) -> Option<TileFn> {
    match op {
        Binary::Add => binary!(sides, isa, scalars, |s, a, b| s.add(a, b)),
        Binary::Sub => binary!(sides, isa, scalars, |s, a, b| s.sub(a, b)),
        Binary::Mul => binary!(sides, isa, scalars, |s, a, b| s.mul(a, b)),
        Binary::Div => binary!(sides, isa, scalars, |s, a, b| s.div(a, b)),
        Binary::Max => binary!(sides, isa, scalars, |s, a, b| max(s, a, b)),
        Binary::Min => binary!(sides, isa, scalars, |s, a, b| min(s, a, b)),
        Binary::Pow => binary!(sides, isa, scalars, |s, a, b| power::pow(s, a, b)),
        Binary::Atan2 => binary!(tiles, isa, scalars, |s, a, b| trig::atan2(s, a, b)),
        Binary::Rem => tiles::<Rem>(isa, scalars),
        Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr => None,
    }
}

macro_rules! test {
    ($isa:expr, $scalars:expr, |$s:ident, $a:ident, $b:ident| $e:expr) => {{
        struct K;
        impl Test for K {
            #[inline(always)]
            fn call<S: Simd>($s: S, $a: S::F, $b: S::F, _: S::F) -> S::M {
                $e
            }
        }
        match ($scalars.a, $scalars.b) {
            (false, false) => Some(pick_test::<K, TILE, NONE>($isa)),
            (false, true) => Some(pick_test::<K, ONE, NONE>($isa)),
            _ => None,
        }
    }};
}

pub(super) fn compare(isa: Isa, op: Compare, scalars: Scalars) -> Option<TileFn> {
    match op {
        Compare::Eq => test!(isa, scalars, |s, a, b| s.eq(a, b)),
        Compare::Ne => test!(isa, scalars, |s, a, b| s.not_m(s.eq(a, b))),
        Compare::Lt => test!(isa, scalars, |s, a, b| s.lt(a, b)),
        Compare::Le => test!(isa, scalars, |s, a, b| s.le(a, b)),
        Compare::Gt => test!(isa, scalars, |s, a, b| s.lt(b, a)),
        Compare::Ge => test!(isa, scalars, |s, a, b| s.le(b, a)),
    }
}

pub(super) fn select(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    match (scalars.a, scalars.b, scalars.c) {
        (false, false, false) => Some(pick_select::<TILE, TILE>(isa)),
        (false, true, false) => Some(pick_select::<ONE, TILE>(isa)),
        (false, false, true) => Some(pick_select::<TILE, ONE>(isa)),
        (false, true, true) => Some(pick_select::<ONE, ONE>(isa)),
        _ => None,
    }
}

/// Every mix with a tile among the factors, `a` before `b`: the product commutes, so the caller swaps.
pub(super) fn factors<K: Map>(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    match (scalars.a, scalars.b, scalars.c) {
        (false, false, false) => Some(pick_map::<K, TILE, TILE, TILE>(isa)),
        (false, false, true) => Some(pick_map::<K, TILE, TILE, ONE>(isa)),
        (false, true, false) => Some(pick_map::<K, TILE, ONE, TILE>(isa)),
        (false, true, true) => Some(pick_map::<K, TILE, ONE, ONE>(isa)),
        _ => None,
    }
}

pub(super) fn mul_add(isa: Isa, op: MulAdd, scalars: Scalars) -> Option<TileFn> {
    map!(Plus, |s, a, b, c| s.mad(a, b, c));
    map!(Minus, |s, a, b, c| s.mad(a, b, s.neg(c)));
    map!(FromC, |s, a, b, c| s.mad(s.neg(a), b, c));
    match op {
        MulAdd::Add => factors::<Plus>(isa, scalars),
        MulAdd::Sub => factors::<Minus>(isa, scalars),
        MulAdd::NegAdd => factors::<FromC>(isa, scalars),
    }
}
