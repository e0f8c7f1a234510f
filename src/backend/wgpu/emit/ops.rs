//! What one scalar op is in WGSL: text from text. 64-bit integers are pairs of words, U8 and U32 are `u32`, half types `f32`. Functions of
//! f32 begin with `f_` in the library, those of f64 with `d_`.

use crate::base::DType;
use crate::trace::{Binary, Compare, Unary};

/// The WGSL type a value of `dtype` is computed in.
pub fn type_of(d: DType) -> &'static str {
    match d {
        DType::F32 | DType::F16 | DType::BF16 => "f32",
        DType::I32 => "i32",
        DType::U32 | DType::U8 => "u32",
        DType::I64 => "vec2<u32>",
        DType::Bool => "bool",
        DType::F64 => "f64",
    }
}

/// Integers narrower than their WGSL type wrap.
fn wrapped(d: DType, text: String) -> String {
    if d == DType::U8 { format!("(({text}) & 0xffu)") } else { text }
}

/// What the library's functions of a float type begin with.
fn family(d: DType) -> &'static str {
    if d == DType::F64 { "d" } else { "f" }
}

/// A finite number as a float type is computed in.
pub fn literal(x: f64, d: DType) -> String {
    if d == DType::F64 { format!("{x:?}lf") } else { format!("{x:?}") }
}

/// Whether it is NaN.
pub fn is_nan(d: DType, a: &str) -> String {
    if d == DType::F64 { format!("d_is_nan({a})") } else { format!("is_nan({a})") }
}

/// The same value, where compilers cannot see that.
pub fn opaque(d: DType, a: &str) -> String {
    if d == DType::F64 { format!("opaque_d({a})") } else { format!("opaque_f({a})") }
}

/// One operand.
pub fn unary(op: Unary, d: DType, a: &str) -> String {
    let call = |f: &str| format!("{f}({a})");
    if d.is_float() {
        let own = |f: &str| format!("{}_{f}({a})", family(d));
        return match op {
            Unary::Neg => format!("-{a}"),
            Unary::Abs => call("abs"),
            Unary::Sign => own("sign"),
            Unary::Not => call("not_defined"),
            Unary::Recip => format!("{} / {a}", literal(1.0, d)),
            Unary::Sqrt => own("sqrt"),
            Unary::Rsqrt => own("rsqrt"),
            Unary::Exp => own("exp"),
            Unary::Exp2 => own("exp2"),
            Unary::Expm1 => own("expm1"),
            Unary::Log => own("log"),
            Unary::Log2 => own("log2"),
            Unary::Log1p => own("log1p"),
            Unary::Sin => own("sin"),
            Unary::Cos => own("cos"),
            Unary::Tan => own("tan"),
            Unary::Asin => own("asin"),
            Unary::Acos => own("acos"),
            Unary::Atan => own("atan"),
            Unary::Sinh => own("sinh"),
            Unary::Cosh => own("cosh"),
            Unary::Tanh => own("tanh"),
            Unary::Erf => own("erf"),
            Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc if d == DType::F64 => own(op.name()),
            Unary::Floor => call("floor"),
            Unary::Ceil => call("ceil"),
            Unary::Round => call("round"),
            Unary::Trunc => call("trunc"),
        };
    }
    match (op, d) {
        (Unary::Not, DType::Bool) => format!("!{a}"),
        (Unary::Not, _) => wrapped(d, format!("~{a}")),
        (Unary::Neg, DType::I64) => call("l_neg"),
        (Unary::Neg, DType::I32) => format!("0 - {a}"),
        (Unary::Neg, _) => wrapped(d, format!("0u - {a}")),
        (Unary::Abs, DType::I64) => call("l_abs"),
        (Unary::Abs, DType::I32) => call("abs"),
        (Unary::Abs, _) => a.to_string(),
        (Unary::Sign, DType::I64) => call("l_sign"),
        (Unary::Sign, DType::I32) => call("sign"),
        (Unary::Sign, _) => format!("min({a}, 1u)"),
        _ => call("not_defined"),
    }
}

/// Two operands of one type.
pub fn binary(op: Binary, d: DType, a: &str, b: &str) -> String {
    let call = |f: &str| format!("{f}({a}, {b})");
    let infix = |f: &str| format!("{a} {f} {b}");
    if d.is_float() {
        let own = |f: &str| format!("{}_{f}({a}, {b})", family(d));
        return match op {
            Binary::Add => infix("+"),
            Binary::Sub => infix("-"),
            Binary::Mul => infix("*"),
            Binary::Div => infix("/"),
            Binary::Rem => own("rem"),
            Binary::Max => own("max"),
            Binary::Min => own("min"),
            Binary::Pow => own("pow"),
            Binary::Atan2 => own("atan2"),
            _ => call("not_defined"),
        };
    }
    if d == DType::Bool {
        return match op {
            Binary::Max | Binary::Or => infix("|"),
            Binary::Min | Binary::And => infix("&"),
            Binary::Xor => infix("!="),
            _ => call("not_defined"),
        };
    }
    if d == DType::I64 {
        return match op {
            Binary::Add => call("l_add"),
            Binary::Sub => call("l_sub"),
            Binary::Mul => call("l_mul"),
            Binary::Div => call("l_div"),
            Binary::Rem => call("l_rem"),
            Binary::Max => call("l_max"),
            Binary::Min => call("l_min"),
            Binary::Pow => call("l_pow"),
            Binary::And => infix("&"),
            Binary::Or => infix("|"),
            Binary::Xor => infix("^"),
            Binary::Shl => call("l_shl"),
            Binary::Shr => call("l_shr"),
            Binary::Atan2 => call("not_defined"),
        };
    }
    let (signed, byte) = (d == DType::I32, d == DType::U8);
    let f = |i: &str, u: &str| call(if signed { i } else { u });
    match op {
        Binary::Add => wrapped(d, infix("+")),
        Binary::Sub => wrapped(d, infix("-")),
        Binary::Mul => wrapped(d, infix("*")),
        Binary::Div => f("i_div", "u_div"),
        Binary::Rem => f("i_rem", "u_rem"),
        Binary::Max => call("max"),
        Binary::Min => call("min"),
        Binary::Pow => wrapped(d, f("i_pow", "u_pow")),
        Binary::And => infix("&"),
        Binary::Or => infix("|"),
        Binary::Xor => infix("^"),
        // A byte's bits are all gone from 8 places on, by either shift.
        Binary::Shl => wrapped(d, f("i_shl", "u_shl")),
        Binary::Shr if byte => call("u_shr"),
        Binary::Shr => f("i_shr", "u_shr"),
        Binary::Atan2 => call("not_defined"),
    }
}

/// A comparison of operands of type `d`.
pub fn compare(op: Compare, d: DType, a: &str, b: &str) -> String {
    let infix = |f: &str| format!("{a} {f} {b}");
    match d {
        DType::I64 => match op {
            Compare::Eq => format!("l_eq({a}, {b})"),
            Compare::Ne => format!("!l_eq({a}, {b})"),
            Compare::Lt => format!("l_lt({a}, {b})"),
            Compare::Le => format!("!l_lt({b}, {a})"),
            Compare::Gt => format!("l_lt({b}, {a})"),
            Compare::Ge => format!("!l_lt({a}, {b})"),
        },
        DType::Bool => match op {
            Compare::Eq => infix("=="),
            Compare::Ne => infix("!="),
            Compare::Lt => format!("!{a} & {b}"),
            Compare::Le => format!("!{a} | {b}"),
            Compare::Gt => format!("{a} & !{b}"),
            Compare::Ge => format!("{a} | !{b}"),
        },
        _ => match op {
            Compare::Eq => infix("=="),
            Compare::Ne if d.is_float() => format!("{}_ne({a}, {b})", family(d)),
            Compare::Ne => infix("!="),
            Compare::Lt => infix("<"),
            Compare::Le => infix("<="),
            Compare::Gt => infix(">"),
            Compare::Ge => infix(">="),
        },
    }
}

/// To another type, by the rules of `Scalar::cast`.
pub fn cast(from: DType, to: DType, a: &str) -> String {
    use DType::*;
    let float = |d: DType| matches!(d, F32 | F16 | BF16);
    match (from, to) {
        _ if from == to => a.to_string(),
        (F64, F32) => format!("d_to_f32({a})"),
        (F64, F16) => format!("round_h(d_to_f32_odd({a}))"),
        (F64, BF16) => format!("round_b(d_to_f32_odd({a}))"),
        (F64, Bool) => format!("d_not_zero({a})"),
        (F64, I32) => format!("d_to_i32({a})"),
        (F64, I64) => format!("d_to_l({a})"),
        (F64, U32) => format!("d_to_l({a}).x"),
        (F64, U8) => format!("d_to_l({a}).x & 0xffu"),
        (F32 | F16 | BF16, F64) => format!("d_from_f32({a})"),
        (Bool, F64) => format!("select(0.0lf, 1.0lf, {a})"),
        (I64, F64) => format!("d_from_l({a})"),
        (I32 | U32 | U8, F64) => format!("f64({a})"),
        (_, F32) if float(from) => a.to_string(),
        (_, F16) if float(from) => format!("round_h({a})"),
        (_, BF16) if float(from) => format!("round_b({a})"),
        // By bits: some devices take a subnormal for zero.
        (_, Bool) if float(from) => format!("(bitcast<u32>({a}) & 0x7fffffffu) != 0u"),
        (_, I32) if float(from) => format!("f32_to_i32({a})"),
        (_, I64) if float(from) => format!("f32_to_l({a})"),
        (_, U32) if float(from) => format!("f32_to_l({a}).x"),
        (_, U8) if float(from) => format!("f32_to_l({a}).x & 0xffu"),
        (Bool, _) if float(to) => format!("select(0.0, 1.0, {a})"),
        (Bool, I32) => format!("select(0, 1, {a})"),
        (Bool, I64) => format!("vec2<u32>(select(0u, 1u, {a}), 0u)"),
        (Bool, _) => format!("select(0u, 1u, {a})"),
        (I64, Bool) => format!("({a}.x | {a}.y) != 0u"),
        (I32, Bool) => format!("{a} != 0"),
        (_, Bool) => format!("{a} != 0u"),
        (I64, F32) => format!("l_to_f32({a})"),
        (I64, F16) => format!("round_h(l_to_f32_odd({a}))"),
        (I64, BF16) => format!("round_b(l_to_f32_odd({a}))"),
        (I64, I32) => format!("l_to_i32({a})"),
        (I64, U32) => format!("{a}.x"),
        (I64, U8) => format!("{a}.x & 0xffu"),
        (I32, F32) => format!("l_to_f32(l_from_i32({a}))"),
        (I32, F16) => format!("round_h(l_to_f32_odd(l_from_i32({a})))"),
        (I32, BF16) => format!("round_b(l_to_f32_odd(l_from_i32({a})))"),
        (I32, I64) => format!("l_from_i32({a})"),
        (I32, U32) => format!("bitcast<u32>({a})"),
        (I32, U8) => format!("bitcast<u32>({a}) & 0xffu"),
        (U8, F32) => format!("f32({a})"),
        (U8, F16 | BF16) => format!("f32({a})"),
        (U32, F32) => format!("ul_to_f32(vec2<u32>({a}, 0u))"),
        (U32, F16) => format!("round_h(l_to_f32_odd(vec2<u32>({a}, 0u)))"),
        (U32, BF16) => format!("round_b(l_to_f32_odd(vec2<u32>({a}, 0u)))"),
        (U32 | U8, I64) => format!("vec2<u32>({a}, 0u)"),
        (U32 | U8, I32) => format!("bitcast<i32>({a})"),
        (U32, U8) => format!("{a} & 0xffu"),
        (U8, U32) => a.to_string(),
        _ => format!("not_defined({a})"),
    }
}
