//! The scalar functions of the op set: what one element of an elementwise op computes, on every device.
//!
//! Rules: float arithmetic is IEEE; integer arithmetic wraps; NaN propagates through `Max` and `Min`.

/// One operand. Float unless said; the result has the operand's dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Unary {
    /// Every numeric dtype.
    Neg,
    /// Every numeric dtype.
    Abs,
    /// -1, 0 or 1 (NaN for NaN, zero keeps its value 0). Every numeric dtype.
    Sign,
    /// Bool: logical not. Integers: bitwise not.
    Not,
    /// 1/x.
    Recip,
    /// Square root.
    Sqrt,
    /// 1/sqrt(x).
    Rsqrt,
    /// e^x.
    Exp,
    /// 2^x.
    Exp2,
    /// e^x - 1, accurate near 0.
    Expm1,
    /// Natural logarithm.
    Log,
    /// Base-2 logarithm.
    Log2,
    /// log(1 + x), accurate near 0.
    Log1p,
    /// Sine, x in radians.
    Sin,
    /// Cosine, x in radians.
    Cos,
    /// Tangent, x in radians.
    Tan,
    /// Inverse sine.
    Asin,
    /// Inverse cosine.
    Acos,
    /// Inverse tangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Nearest integer, ties to even.
    Round,
    /// Integer part.
    Trunc,
}

/// Two operands of one dtype; the result has that dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Binary {
    /// Numeric. (On Bool use `Or`.)
    Add,
    /// Numeric.
    Sub,
    /// Numeric. (On Bool use `And`.)
    Mul,
    /// Floats: IEEE quotient. Integers: truncated quotient; x/0 = 0 and MIN/-1 = MIN.
    Div,
    /// Remainder of the truncated quotient, sign of the dividend (C's `fmod`). Integers: x rem 0 = 0, MIN rem -1 = 0.
    Rem,
    /// The larger; NaN if either is. Every dtype (false < true).
    Max,
    /// The smaller; NaN if either is. Every dtype.
    Min,
    /// x^y. Floats as C's `pow`; integers by repeated wrapping multiplication, a negative exponent gives 0 unless x is 1 or -1.
    Pow,
    /// Angle of the point (y = first, x = second). Float.
    Atan2,
    /// Bool: logical; integers: bitwise.
    And,
    /// Bool: logical; integers: bitwise.
    Or,
    /// Bool: logical; integers: bitwise.
    Xor,
    /// Integers: x << y; 0 when y is not below the width.
    Shl,
    /// Integers: x >> y, arithmetic for signed types; all sign bits when y is not below the width.
    Shr,
}

/// Two operands of one dtype, a Bool result. Comparisons with NaN are false, but `Ne` is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Compare {
    /// ==
    Eq,
    /// !=
    Ne,
    /// <
    Lt,
    /// <=
    Le,
    /// >
    Gt,
    /// >=
    Ge,
}

macro_rules! names {
    ($t:ident: $($v:ident $n:literal),* $(,)?) => {
        impl $t {
            /// Every member, in declaration order.
            pub const ALL: &'static [$t] = &[$($t::$v),*];
            /// The name in the text form of traces.
            pub const fn name(self) -> &'static str { match self { $($t::$v => $n),* } }
            /// The member with that name.
            pub fn from_name(name: &str) -> Option<$t> { $t::ALL.iter().copied().find(|x| x.name() == name) }
        }
    };
}
names!(Unary: Neg "neg", Abs "abs", Sign "sign", Not "not", Recip "recip", Sqrt "sqrt", Rsqrt "rsqrt", Exp "exp", Exp2 "exp2", Expm1 "expm1",
    Log "log", Log2 "log2", Log1p "log1p", Sin "sin", Cos "cos", Tan "tan", Asin "asin", Acos "acos", Atan "atan", Sinh "sinh", Cosh "cosh",
    Tanh "tanh", Erf "erf", Floor "floor", Ceil "ceil", Round "round", Trunc "trunc");
names!(Binary: Add "add", Sub "sub", Mul "mul", Div "div", Rem "rem", Max "max", Min "min", Pow "pow", Atan2 "atan2",
    And "and", Or "or", Xor "xor", Shl "shl", Shr "shr");
names!(Compare: Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge");

use crate::base::DType;

impl Unary {
    /// Whether the op is defined for operands of `dtype`.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            Unary::Neg | Unary::Abs | Unary::Sign => dtype != DType::Bool,
            Unary::Not => !dtype.is_float(),
            _ => dtype.is_float(),
        }
    }
}

impl Binary {
    /// Whether the op is defined for operands of `dtype`.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Rem | Binary::Pow => dtype != DType::Bool,
            Binary::Max | Binary::Min => true,
            Binary::Atan2 => dtype.is_float(),
            Binary::And | Binary::Or | Binary::Xor => !dtype.is_float(),
            Binary::Shl | Binary::Shr => dtype.is_int(),
        }
    }
}
