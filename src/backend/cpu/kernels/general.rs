//! Kernels of every type but f32: integers, booleans and f64, as functions of one element.

use super::drive::{NONE, ONE, TILE, Zip, pick_zip, plain_zip};
use super::{Isa, MulAdd, Scalars, TileFn, double, integer};
use crate::base::DType;
use crate::trace::elementwise::{Binary, Compare, Unary};

/// A kernel of one, two or three operands from a closure-like expression; `calls` ones are compiled once, for all instruction sets.
macro_rules! kernel {
    (@zip $a:ty, $b:ty, $c:ty => $r:ty, |$x:pat_param, $y:pat_param, $z:pat_param| $e:expr) => {
        struct K;
        impl Zip for K {
            type A = $a;
            type B = $b;
            type C = $c;
            type R = $r;
            #[inline(always)]
            fn call($x: $a, $y: $b, $z: $c) -> $r {
                $e
            }
        }
    };
    (calls, $a:ty => $r:ty, |$x:pat_param| $e:expr) => {{
        kernel!(@zip $a, u8, u8 => $r, |$x, _, _| $e);
        plain_zip::<K, TILE, NONE, NONE>()
    }};
    (calls, $a:ty, $b:ty => $r:ty, |$x:pat_param, $y:pat_param| $e:expr) => {{
        kernel!(@zip $a, $b, u8 => $r, |$x, $y, _| $e);
        plain_zip::<K, TILE, TILE, NONE>()
    }};
    ($isa:expr, $a:ty => $r:ty, |$x:pat_param| $e:expr) => {{
        kernel!(@zip $a, u8, u8 => $r, |$x, _, _| $e);
        pick_zip::<K, TILE, NONE, NONE>($isa)
    }};
    ($isa:expr, $a:ty, $b:ty => $r:ty, |$x:pat_param, $y:pat_param| $e:expr) => {{
        kernel!(@zip $a, $b, u8 => $r, |$x, $y, _| $e);
        pick_zip::<K, TILE, TILE, NONE>($isa)
    }};
    ($isa:expr, $a:ty, $b:ty, $c:ty => $r:ty, |$x:pat_param, $y:pat_param, $z:pat_param| $e:expr) => {{
        kernel!(@zip $a, $b, $c => $r, |$x, $y, $z| $e);
        pick_zip::<K, TILE, TILE, TILE>($isa)
    }};
}
pub(super) use kernel;

macro_rules! integer {
    ($t:ident, $unsigned:ty, $signed:literal) => {
        mod $t {
            use super::*;

            pub(super) fn unary(isa: Isa, op: Unary) -> Option<TileFn> {
                Some(match op {
                    Unary::Neg => kernel!(isa, $t => $t, |x| x.wrapping_neg()),
                    #[allow(unused_comparisons)]
                    Unary::Abs => kernel!(isa, $t => $t, |x| if x < 0 { x.wrapping_neg() } else { x }),
                    #[allow(unused_comparisons)]
                    Unary::Sign => kernel!(isa, $t => $t, |x| (x > 0) as $t - (x < 0) as $t),
                    Unary::Not => kernel!(isa, $t => $t, |x| !x),
                    _ => return None,
                })
            }

            /// x^y by squaring; a negative exponent leaves only 1 and -1 anything but 0.
            #[allow(unused_comparisons)]
            fn pow(x: $t, y: $t) -> $t {
                if y < 0 {
                    return if x == 1 {
                        1
                    } else if x == (0 as $t).wrapping_sub(1) {
                        if y & 1 == 0 { 1 } else { x }
                    } else {
                        0
                    };
                }
                let (mut r, mut base, mut e) = (1 as $t, x, y);
                while e > 0 {
                    if e & 1 == 1 {
                        r = r.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    e >>= 1;
                }
                r
            }

            pub(super) fn binary(isa: Isa, op: Binary) -> Option<TileFn> {
                const BITS: $unsigned = <$t>::BITS as $unsigned;
                Some(match op {
                    Binary::Add => kernel!(isa, $t, $t => $t, |x, y| x.wrapping_add(y)),
                    Binary::Sub => kernel!(isa, $t, $t => $t, |x, y| x.wrapping_sub(y)),
                    Binary::Mul => kernel!(isa, $t, $t => $t, |x, y| x.wrapping_mul(y)),
                    Binary::Div => kernel!(calls, $t, $t => $t, |x, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
                    Binary::Rem => kernel!(calls, $t, $t => $t, |x, y| if y == 0 { 0 } else { x.wrapping_rem(y) }),
                    Binary::Max => kernel!(isa, $t, $t => $t, |x, y| x.max(y)),
                    Binary::Min => kernel!(isa, $t, $t => $t, |x, y| x.min(y)),
                    Binary::Pow => kernel!(calls, $t, $t => $t, |x, y| pow(x, y)),
                    Binary::Atan2 => return None,
                    Binary::And => kernel!(isa, $t, $t => $t, |x, y| x & y),
                    Binary::Or => kernel!(isa, $t, $t => $t, |x, y| x | y),
                    Binary::Xor => kernel!(isa, $t, $t => $t, |x, y| x ^ y),
                    // As unsigned, a negative count is not below the width either.
                    Binary::Shl => kernel!(isa, $t, $t => $t, |x, y| if (y as $unsigned) < BITS { x.wrapping_shl(y as u32) } else { 0 }),
                    Binary::Shr => kernel!(isa, $t, $t => $t, |x, y| {
                        if (y as $unsigned) < BITS {
                            x.wrapping_shr(y as u32)
                        } else if $signed {
                            x.wrapping_shr(<$t>::BITS - 1)
                        } else {
                            0
                        }
                    }),
                })
            }
        }
    };
}
integer!(i32, u32, true);
integer!(i64, u64, true);
integer!(u32, u32, false);
integer!(u8, u8, false);

pub(super) fn unary(isa: Isa, op: Unary, dtype: DType) -> Option<TileFn> {
    match dtype {
        DType::F64 => unary_f64(isa, op),
        DType::I32 => i32::unary(isa, op),
        DType::I64 => i64::unary(isa, op),
        DType::U32 => u32::unary(isa, op),
        DType::U8 => u8::unary(isa, op),
        DType::Bool if op == Unary::Not => Some(kernel!(isa, u8 => u8, |x| x ^ 1)),
        _ => None,
    }
}

fn unary_f64(isa: Isa, op: Unary) -> Option<TileFn> {
    Some(match op {
        Unary::Neg => kernel!(isa, f64 => f64, |x| -x),
        Unary::Abs => kernel!(isa, f64 => f64, |x| x.abs()),
        Unary::Sign => kernel!(isa, f64 => f64, |x| if x > 0.0 {
            1.0
        } else if x < 0.0 {
            -1.0
        } else {
            x
        }),
        Unary::Not => return None,
        Unary::Recip => kernel!(isa, f64 => f64, |x| 1.0 / x),
        Unary::Sqrt => kernel!(isa, f64 => f64, |x| x.sqrt()),
        Unary::Rsqrt => kernel!(isa, f64 => f64, |x| 1.0 / x.sqrt()),
        Unary::Exp => kernel!(calls, f64 => f64, |x| x.exp()),
        Unary::Exp2 => kernel!(calls, f64 => f64, |x| x.exp2()),
        Unary::Expm1 => kernel!(calls, f64 => f64, |x| x.exp_m1()),
        Unary::Log => kernel!(calls, f64 => f64, |x| x.ln()),
        Unary::Log2 => kernel!(calls, f64 => f64, |x| x.log2()),
        Unary::Log1p => kernel!(calls, f64 => f64, |x| x.ln_1p()),
        Unary::Sin => kernel!(calls, f64 => f64, |x| x.sin()),
        Unary::Cos => kernel!(calls, f64 => f64, |x| x.cos()),
        Unary::Tan => kernel!(calls, f64 => f64, |x| x.tan()),
        Unary::Asin => kernel!(calls, f64 => f64, |x| x.asin()),
        Unary::Acos => kernel!(calls, f64 => f64, |x| x.acos()),
        Unary::Atan => kernel!(calls, f64 => f64, |x| x.atan()),
        Unary::Sinh => kernel!(calls, f64 => f64, |x| x.sinh()),
        Unary::Cosh => kernel!(calls, f64 => f64, |x| x.cosh()),
        Unary::Tanh => kernel!(calls, f64 => f64, |x| x.tanh()),
        Unary::Erf => kernel!(calls, f64 => f64, |x| double::erf(x)),
        Unary::Floor => kernel!(isa, f64 => f64, |x| x.floor()),
        Unary::Ceil => kernel!(isa, f64 => f64, |x| x.ceil()),
        Unary::Round => kernel!(isa, f64 => f64, |x| x.round_ties_even()),
        Unary::Trunc => kernel!(isa, f64 => f64, |x| x.trunc()),
    })
}

/// A binary f64 op, with variants for a scalar on either side.
macro_rules! sides {
    ($isa:expr, $scalars:expr, |$x:ident, $y:ident| $e:expr) => {{
        kernel!(@zip f64, f64, u8 => f64, |$x, $y, _| $e);
        match ($scalars.a, $scalars.b) {
            (false, false) => pick_zip::<K, TILE, TILE, NONE>($isa),
            (false, true) => pick_zip::<K, TILE, ONE, NONE>($isa),
            (true, false) => pick_zip::<K, ONE, TILE, NONE>($isa),
            _ => return None,
        }
    }};
}

/// As [`sides`], compiled once.
macro_rules! sides_of_calls {
    ($scalars:expr, |$x:ident, $y:ident| $e:expr) => {{
        kernel!(@zip f64, f64, u8 => f64, |$x, $y, _| $e);
        match ($scalars.a, $scalars.b) {
            (false, false) => plain_zip::<K, TILE, TILE, NONE>(),
            (false, true) => plain_zip::<K, TILE, ONE, NONE>(),
            (true, false) => plain_zip::<K, ONE, TILE, NONE>(),
            _ => return None,
        }
    }};
}

/// The larger; NaN if either is; 0 rather than -0.
#[inline(always)]
pub(super) fn max_f64(x: f64, y: f64) -> f64 {
    let r = if x > y { x } else { y };
    let r = if x == y { f64::from_bits(x.to_bits() & y.to_bits()) } else { r };
    if x.is_nan() { x } else { r }
}

/// The smaller; NaN if either is; -0 rather than 0.
#[inline(always)]
pub(super) fn min_f64(x: f64, y: f64) -> f64 {
    let r = if x < y { x } else { y };
    let r = if x == y { f64::from_bits(x.to_bits() | y.to_bits()) } else { r };
    if x.is_nan() { x } else { r }
}

pub(super) fn binary(isa: Isa, op: Binary, dtype: DType, scalars: Scalars) -> Option<TileFn> {
    if dtype == DType::F64 {
        return Some(match op {
            Binary::Add => sides!(isa, scalars, |x, y| x + y),
            Binary::Sub => sides!(isa, scalars, |x, y| x - y),
            Binary::Mul => sides!(isa, scalars, |x, y| x * y),
            Binary::Div => sides!(isa, scalars, |x, y| x / y),
            Binary::Max => sides!(isa, scalars, |x, y| max_f64(x, y)),
            Binary::Min => sides!(isa, scalars, |x, y| min_f64(x, y)),
            Binary::Pow => sides_of_calls!(scalars, |x, y| x.powf(y)),
            Binary::Rem if scalars == Scalars::NONE => kernel!(calls, f64, f64 => f64, |x, y| x % y),
            Binary::Atan2 if scalars == Scalars::NONE => kernel!(calls, f64, f64 => f64, |x, y| x.atan2(y)),
            _ => return None,
        });
    }
    if scalars != Scalars::NONE {
        return None;
    }
    match (dtype, op) {
        (DType::I32, _) => i32::binary(isa, op),
        (DType::I64, Binary::Div | Binary::Rem) => Some(integer::division(isa, op == Binary::Rem)),
        (DType::I64, _) => i64::binary(isa, op),
        (DType::U32, _) => u32::binary(isa, op),
        // On bytes 0 and 1 the integer functions are the logical ones.
        (DType::U8, _) | (DType::Bool, Binary::And | Binary::Or | Binary::Xor | Binary::Max | Binary::Min) => u8::binary(isa, op),
        _ => None,
    }
}

/// One comparison of two tiles, or of a tile and a scalar.
macro_rules! test {
    ($isa:expr, $scalars:expr, $t:ty, |$x:ident, $y:ident| $e:expr) => {{
        kernel!(@zip $t, $t, u8 => u8, |$x, $y, _| ($e) as u8);
        match ($scalars.a, $scalars.b) {
            (false, false) => pick_zip::<K, TILE, TILE, NONE>($isa),
            (false, true) => pick_zip::<K, TILE, ONE, NONE>($isa),
            _ => return None,
        }
    }};
}

macro_rules! compare {
    ($isa:expr, $op:expr, $scalars:expr, $t:ty) => {
        match $op {
            Compare::Eq => test!($isa, $scalars, $t, |x, y| x == y),
            Compare::Ne => test!($isa, $scalars, $t, |x, y| x != y),
            Compare::Lt => test!($isa, $scalars, $t, |x, y| x < y),
            Compare::Le => test!($isa, $scalars, $t, |x, y| x <= y),
            Compare::Gt => test!($isa, $scalars, $t, |x, y| x > y),
            Compare::Ge => test!($isa, $scalars, $t, |x, y| x >= y),
        }
    };
}

pub(super) fn compare(isa: Isa, op: Compare, dtype: DType, scalars: Scalars) -> Option<TileFn> {
    Some(match dtype {
        DType::F64 => compare!(isa, op, scalars, f64),
        DType::I32 => compare!(isa, op, scalars, i32),
        DType::I64 => compare!(isa, op, scalars, i64),
        DType::U32 => compare!(isa, op, scalars, u32),
        DType::U8 | DType::Bool => compare!(isa, op, scalars, u8),
        _ => return None,
    })
}

/// `x + n` where x is negative.
pub(super) fn wrap(isa: Isa, dtype: DType, scalars: Scalars) -> Option<TileFn> {
    macro_rules! wrapped {
        ($t:ty) => {{
            kernel!(@zip $t, $t, u8 => $t, |x, n, _| x.wrapping_add(if x < 0 { n } else { 0 }));
            match (scalars.a, scalars.b) {
                (false, false) => Some(pick_zip::<K, TILE, TILE, NONE>(isa)),
                (false, true) => Some(pick_zip::<K, TILE, ONE, NONE>(isa)),
                _ => None,
            }
        }};
    }
    match dtype {
        DType::I64 => wrapped!(i64),
        DType::I32 => wrapped!(i32),
        _ => None,
    }
}

/// Selection moves bits, so that only the size of an element matters.
pub(super) fn select(isa: Isa, dtype: DType, scalars: Scalars) -> Option<TileFn> {
    (scalars == Scalars::NONE).then(|| match dtype.size() {
        1 => kernel!(isa, u8, u8, u8 => u8, |m, x, y| if m != 0 { x } else { y }),
        2 => kernel!(isa, u8, u16, u16 => u16, |m, x, y| if m != 0 { x } else { y }),
        4 => kernel!(isa, u8, u32, u32 => u32, |m, x, y| if m != 0 { x } else { y }),
        _ => kernel!(isa, u8, u64, u64 => u64, |m, x, y| if m != 0 { x } else { y }),
    })
}

/// `f64::mul_add` where it is an instruction. Every instruction set chosen at run time has it; the plain code of x86 does not.
#[inline(always)]
fn plain_mad(x: f64, y: f64, z: f64) -> f64 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { x.mul_add(y, z) } else { x * y + z }
}

pub(super) fn mul_add_f64(isa: Isa, op: MulAdd, scalars: Scalars) -> Option<TileFn> {
    macro_rules! fused {
        (|$x:ident, $y:ident, $z:ident| $e:expr, $plain:expr) => {{
            if isa == Isa::Plain {
                kernel!(@zip f64, f64, f64 => f64, |$x, $y, $z| $plain);
                plain_zip::<K, TILE, TILE, TILE>()
            } else {
                kernel!(isa, f64, f64, f64 => f64, |$x, $y, $z| $e)
            }
        }};
    }
    (scalars == Scalars::NONE).then(|| match op {
        MulAdd::Add => fused!(|x, y, z| x.mul_add(y, z), plain_mad(x, y, z)),
        MulAdd::Sub => fused!(|x, y, z| x.mul_add(y, -z), plain_mad(x, y, -z)),
        MulAdd::NegAdd => fused!(|x, y, z| (-x).mul_add(y, z), plain_mad(-x, y, z)),
    })
}
