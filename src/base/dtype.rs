//! Element types, how they combine, and scalars of them.

use half::{bf16, f16};
use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum DType {
    /// 32-bit IEEE float, the default.
    F32,
    /// 16-bit IEEE float. Sums accumulate in f32.
    F16,
    /// The upper half of an f32. Sums accumulate in f32.
    BF16,
    /// 64-bit IEEE float.
    F64,
    /// 32-bit signed integer; arithmetic wraps.
    I32,
    /// 64-bit signed integer; arithmetic wraps. The type of indices.
    I64,
    /// 32-bit unsigned integer; arithmetic wraps.
    U32,
    /// 8-bit unsigned integer; arithmetic wraps.
    U8,
    /// `true` or `false`, one byte on the host.
    Bool,
}

/// PyTorch's categories: a scalar operand only changes a tensor's dtype if its category is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Bool.
    Bool,
    /// Every integer type.
    Int,
    /// Every floating type.
    Float,
}

impl DType {
    /// Every dtype, in declaration order.
    pub const ALL: [DType; 9] =
        [DType::F32, DType::F16, DType::BF16, DType::F64, DType::I32, DType::I64, DType::U32, DType::U8, DType::Bool];

    /// Bytes of one element in host memory.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::F64 | DType::I64 => 8,
            DType::U8 | DType::Bool => 1,
        }
    }

    /// True for F32, F16, BF16 and F64: the differentiable types.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::BF16 | DType::F64)
    }

    /// True for I32, I64, U32 and U8 (not Bool).
    pub const fn is_int(self) -> bool {
        matches!(self, DType::I32 | DType::I64 | DType::U32 | DType::U8)
    }

    /// The promotion category.
    pub const fn category(self) -> Category {
        if self.is_float() {
            Category::Float
        } else if self.is_int() {
            Category::Int
        } else {
            Category::Bool
        }
    }

    /// The dtype in which a sum or product of this dtype is carried: f32 for the half types.
    pub const fn accumulator(self) -> DType {
        match self {
            DType::F16 | DType::BF16 => DType::F32,
            d => d,
        }
    }

    /// The dtype of the result of an operation on two tensors, as PyTorch's `promote_types`.
    /// U32, which PyTorch does not promote, joins the signed types at I64.
    pub fn promote(self, other: DType) -> DType {
        use DType::*;
        let (a, b) = if self <= other { (self, other) } else { (other, self) };
        match (a, b) {
            _ if a == b => a,
            (x, y) if x.is_float() && !y.is_float() => x,
            (F16, BF16) => F32,
            (F32, F64) | (F16, F64) | (BF16, F64) => F64,
            (F32, _) => F32,
            (I32, U32) => I64,
            (I64, _) | (I32, I64) => I64,
            (I32, _) => I32,
            (U32, _) => U32,
            (U8, _) => U8,
            _ => b,
        }
    }

    /// The name used in printing and in the text form of traces.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F64 => "f64",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U32 => "u32",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }

    /// The dtype with that [`name`](DType::name).
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that can be an element: `f32`, `f64`, `half::f16`, `half::bf16`, `i32`, `i64`, `u32`, `u8`, `bool`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an element type of a tensor",
    label = "elements are f32, f64, half::f16, half::bf16, i32, i64, u32, u8 or bool",
    note = "read a value with its type, as in `x.item::<f32>()?` or `let v: Vec<f32> = x.to_vec()?`"
)]
pub trait Element: Copy + Send + Sync + 'static + fmt::Debug + PartialEq {
    /// The dtype whose elements this type holds.
    const DTYPE: DType;
    /// This value as a scalar, without loss.
    fn to_scalar(self) -> Scalar;
    /// The nearest value of this type (saturating, as Rust's `as`).
    fn from_scalar(s: Scalar) -> Self;
    /// Elements from their bytes (native endian); a rest that is no whole element is left out.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
    /// The bytes (native endian) of elements.
    fn to_bytes(data: &[Self]) -> Vec<u8>;
}

/// One number: a constant of a trace, a parameter of a plan, a value read back.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// A float of any float dtype.
    Float(f64),
    /// An integer of any integer dtype.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    /// The value as f64 (an i64 beyond 2^53 is rounded).
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Float(x) => x,
            Scalar::Int(x) => x as f64,
            Scalar::Bool(x) => x as u8 as f64,
        }
    }

    /// The value as i64 (a float is truncated and saturates).
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Float(x) => x as i64,
            Scalar::Int(x) => x,
            Scalar::Bool(x) => x as i64,
        }
    }

    /// Whether the value differs from zero; NaN does.
    pub fn as_bool(self) -> bool {
        match self {
            Scalar::Float(x) => x != 0.0,
            Scalar::Int(x) => x != 0,
            Scalar::Bool(x) => x,
        }
    }

    /// The promotion category of a scalar operand.
    pub const fn category(self) -> Category {
        match self {
            Scalar::Float(_) => Category::Float,
            Scalar::Int(_) => Category::Int,
            Scalar::Bool(_) => Category::Bool,
        }
    }

    /// The value rounded (floats, to nearest even) or wrapped (integers) to `dtype`, in the variant of its category.
    pub fn cast(self, dtype: DType) -> Scalar {
        match dtype {
            DType::F64 => Scalar::Float(self.as_f64()),
            DType::F32 => Scalar::Float(match self {
                Scalar::Int(x) => x as f32 as f64,
                s => s.as_f64() as f32 as f64,
            }),
            DType::F16 | DType::BF16 => Scalar::Float(round_float(
                dtype,
                match self {
                    // An i64 beyond 2^53 is rounded to odd for the reason given at `round_float`.
                    Scalar::Int(i) => {
                        let f = i as f64;
                        let exact = f as i128 == i as i128;
                        let down = (f.abs() as u128 > i.unsigned_abs() as u128) as u64;
                        if exact { f } else { f64::from_bits((f.to_bits() - down) | 1) }
                    }
                    x => x.as_f64(),
                },
            )),
            DType::I64 => Scalar::Int(self.as_i64()),
            DType::I32 => Scalar::Int(match self {
                Scalar::Float(x) => x as i32 as i64,
                s => s.as_i64() as i32 as i64,
            }),
            DType::U32 => Scalar::Int(self.as_i64() as u32 as i64),
            DType::U8 => Scalar::Int(self.as_i64() as u8 as i64),
            DType::Bool => Scalar::Bool(self.as_bool()),
        }
    }

    /// 64 bits that identify the value within its dtype (so -0.0 and 0.0 differ, and NaN equals itself).
    pub fn bits(self) -> u64 {
        match self {
            Scalar::Float(x) => x.to_bits(),
            Scalar::Int(x) => x as u64,
            Scalar::Bool(x) => x as u64,
        }
    }

    /// The value of `dtype` that has these [`bits`](Scalar::bits).
    pub fn from_bits(bits: u64, dtype: DType) -> Scalar {
        match dtype.category() {
            Category::Float => Scalar::Float(f64::from_bits(bits)),
            Category::Int => Scalar::Int(bits as i64),
            Category::Bool => Scalar::Bool(bits != 0),
        }
    }

    /// True if both have the same variant and [`bits`](Scalar::bits).
    pub fn same(self, other: Scalar) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other) && self.bits() == other.bits()
    }

    /// Writes the value as one element of `dtype` into the first [`DType::size`] bytes of `out` (native endian).
    pub fn write(self, dtype: DType, out: &mut [u8]) {
        match dtype {
            DType::F32 => out[..4].copy_from_slice(
                &(match self {
                    Scalar::Int(x) => x as f32,
                    s => s.as_f64() as f32,
                })
                .to_ne_bytes(),
            ),
            // Exact, once it is rounded.
            DType::F16 => out[..2].copy_from_slice(&f16::from_f64(self.cast(dtype).as_f64()).to_ne_bytes()),
            DType::BF16 => out[..2].copy_from_slice(&bf16::from_f64(self.cast(dtype).as_f64()).to_ne_bytes()),
            DType::F64 => out[..8].copy_from_slice(&self.as_f64().to_ne_bytes()),
            DType::I32 => out[..4].copy_from_slice(&(self.cast(dtype).as_i64() as i32).to_ne_bytes()),
            DType::I64 => out[..8].copy_from_slice(&self.as_i64().to_ne_bytes()),
            DType::U32 => out[..4].copy_from_slice(&(self.as_i64() as u32).to_ne_bytes()),
            DType::U8 => out[0] = self.as_i64() as u8,
            DType::Bool => out[0] = self.as_bool() as u8,
        }
    }

    /// Reads one element of `dtype` from the first [`DType::size`] bytes of `src` (native endian).
    pub fn read(dtype: DType, src: &[u8]) -> Scalar {
        fn take<const N: usize>(s: &[u8]) -> [u8; N] {
            let mut out = [0; N];
            out.copy_from_slice(&s[..N]);
            out
        }
        match dtype {
            DType::F32 => Scalar::Float(f32::from_ne_bytes(take(src)) as f64),
            DType::F16 => Scalar::Float(f16::from_ne_bytes(take(src)).to_f64()),
            DType::BF16 => Scalar::Float(bf16::from_ne_bytes(take(src)).to_f64()),
            DType::F64 => Scalar::Float(f64::from_ne_bytes(take(src))),
            DType::I32 => Scalar::Int(i32::from_ne_bytes(take(src)) as i64),
            DType::I64 => Scalar::Int(i64::from_ne_bytes(take(src))),
            DType::U32 => Scalar::Int(u32::from_ne_bytes(take(src)) as i64),
            DType::U8 => Scalar::Int(src[0] as i64),
            DType::Bool => Scalar::Bool(src[0] != 0),
        }
    }
}

/// `x` rounded once, to nearest even, to the float type `dtype`.
///
/// The half crate goes to f16 by way of f32 or of a cut mantissa, which rounds twice; here f32 is rounded to odd, so that
/// the second rounding sees whether the first lost anything.
pub fn round_float(dtype: DType, x: f64) -> f64 {
    let odd = |x: f64| {
        let f = x as f32;
        if f as f64 == x || x.is_nan() {
            return f;
        }
        let bits = f.to_bits() - ((f as f64).abs() > x.abs()) as u32;
        f32::from_bits(bits | 1)
    };
    match dtype {
        DType::F32 => x as f32 as f64,
        DType::F16 => f16::from_f32(odd(x)).to_f64(),
        DType::BF16 => bf16::from_f32(odd(x)).to_f64(),
        _ => x,
    }
}

/// By [`Scalar::same`]: variant and bits.
impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.same(*other)
    }
}

macro_rules! element {
    ($($t:ty, $d:ident, $s:ident => $to:expr, $from:expr, $read:expr, $write:expr;)*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            fn to_scalar(self) -> Scalar { Scalar::$s(($to)(self)) }
            fn from_scalar(s: Scalar) -> Self { ($from)(s) }
            fn from_bytes(bytes: &[u8]) -> Vec<$t> { bytes.as_chunks().0.iter().map(|&b| $read(b)).collect() }
            fn to_bytes(data: &[$t]) -> Vec<u8> {
                let mut out = vec![0; size_of_val(data)];
                for (x, b) in data.iter().zip(out.as_chunks_mut().0) {
                    *b = $write(*x);
                }
                out
            }
        }
    )*};
}
element! {
    f32, F32, Float => |x| x as f64, |s: Scalar| s.as_f64() as f32, f32::from_ne_bytes, f32::to_ne_bytes;
    f64, F64, Float => |x| x, |s: Scalar| s.as_f64(), f64::from_ne_bytes, f64::to_ne_bytes;
    f16, F16, Float => f16::to_f64, |s: Scalar| f16::from_f64(s.as_f64()), f16::from_ne_bytes, f16::to_ne_bytes;
    bf16, BF16, Float => bf16::to_f64, |s: Scalar| bf16::from_f64(s.as_f64()), bf16::from_ne_bytes, bf16::to_ne_bytes;
    i32, I32, Int => |x| x as i64, |s: Scalar| s.as_i64() as i32, i32::from_ne_bytes, i32::to_ne_bytes;
    i64, I64, Int => |x| x, |s: Scalar| s.as_i64(), i64::from_ne_bytes, i64::to_ne_bytes;
    u32, U32, Int => |x| x as i64, |s: Scalar| s.as_i64() as u32, u32::from_ne_bytes, u32::to_ne_bytes;
    u8, U8, Int => |x| x as i64, |s: Scalar| s.as_i64() as u8, u8::from_ne_bytes, u8::to_ne_bytes;
    bool, Bool, Bool => |x| x, |s: Scalar| s.as_bool(), |b: [u8; 1]| b[0] != 0, |x| [x as u8];
}

#[cfg(test)]
mod tests {
    use super::DType::*;
    use super::*;

    #[test]
    fn promotion_is_symmetric_and_as_pytorch() {
        for a in DType::ALL {
            for b in DType::ALL {
                assert_eq!(a.promote(b), b.promote(a), "{a} {b}");
            }
            assert_eq!(a.promote(a), a);
            assert_eq!(a.promote(Bool), a);
        }
        for (a, b, want) in [
            (F16, BF16, F32),
            (F32, F64, F64),
            (F16, I64, F16),
            (BF16, F32, F32),
            (I32, I64, I64),
            (U8, I32, I32),
            (I32, U32, I64),
            (U8, U32, U32),
            (I64, F32, F32),
        ] {
            assert_eq!(a.promote(b), want, "{a} {b}");
        }
    }

    #[test]
    fn scalars_round_and_wrap() {
        assert_eq!(Scalar::Int(300).cast(U8).as_i64(), 44);
        assert_eq!(Scalar::Float(1e10).cast(I32).as_i64(), i32::MAX as i64);
        assert_eq!(Scalar::Float(0.1).cast(F32).as_f64(), 0.1f32 as f64);
        let mut b = [0; 8];
        Scalar::Int(-2).write(I64, &mut b);
        assert_eq!(Scalar::read(I64, &b).as_i64(), -2);
    }
}
