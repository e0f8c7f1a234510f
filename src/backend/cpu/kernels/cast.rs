//! Conversions between all element types: Rust's `as` for numbers, `!= 0` to Bool, round to nearest even for the half types.

use super::drive::{NONE, TILE, Test, Zip, pick, pick_test, pick_zip, plain_zip};
use super::general::kernel;
use super::simd::{Plain, Simd};
use super::{Isa, TileFn, integer};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use crate::base::DType;
use crate::base::dtype::round_float;
use half::{bf16, f16};

pub(super) fn f16_to_f32(x: u16) -> f32 {
    f16::from_bits(x).to_f32()
}

pub(super) fn f32_to_f16(x: f32) -> u16 {
    f16::from_f32(x).to_bits()
}

/// A conversion between f32 and a 16-bit type.
pub(super) trait Half {
    /// # Safety
    /// `p` is valid for reading `LANES` words.
    unsafe fn load<S: Simd>(s: S, p: *const u16) -> S::F;
    /// # Safety
    /// `p` is valid for writing `LANES` words.
    unsafe fn store<S: Simd>(s: S, p: *mut u16, x: S::F);
}

struct F16;
impl Half for F16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u16) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load_f16(p) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u16, x: S::F) {
        // SAFETY: the caller's promise.
        unsafe { s.store_f16(p, x) }
    }
}

/// In integers: the instructions for this type take subnormals for zero.
struct BF16;
impl Half for BF16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u16) -> S::F {
        // SAFETY: the caller's promise.
        s.float(s.shl(unsafe { s.load_u16(p) }, 16))
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut u16, x: S::F) {
        let i = s.bits(x);
        let odd = s.and_i(s.shr(i, 16), s.splat_i(1));
        let rounded = s.float(s.add_i(i, s.add_i(odd, s.splat_i(0x7fff))));
        let quiet = s.float(s.or_i(i, s.splat_i(0x0040_0000)));
        let y = s.select(s.unord(x, x), quiet, rounded);
        // SAFETY: the caller's promise; a logical shift leaves 16 bits.
        unsafe { s.store_u16(p, s.shr(s.bits(y), 16)) };
    }
}

const MAX_LANES: usize = 16;

/// NaN is not zero either.
struct NotZero;
impl Test for NotZero {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, _: S::F, _: S::F) -> S::M {
        s.not_m(s.eq(a, s.splat(0.0)))
    }
}

#[inline(always)]
unsafe fn from_half<S: Simd, H: Half>(s: S, dst: *mut u8, a: *const u8, n: usize) {
    let (dst, a) = (dst.cast::<f32>(), a.cast::<u16>());
    let mut i = 0;
    while i + S::LANES <= n {
        // SAFETY: i + LANES <= n.
        unsafe { s.store(dst.add(i), H::load(s, a.add(i))) };
        i += S::LANES;
    }
    if i < n {
        let mut x = [0u16; MAX_LANES];
        // SAFETY: n - i elements are left, fewer than LANES; x has room for a vector.
        unsafe {
            std::ptr::copy_nonoverlapping(a.add(i), x.as_mut_ptr(), n - i);
            s.store_first(dst.add(i), n - i, H::load(s, x.as_ptr()));
        }
    }
}

#[inline(always)]
unsafe fn to_half<S: Simd, H: Half>(s: S, dst: *mut u8, a: *const u8, n: usize) {
    let (dst, a) = (dst.cast::<u16>(), a.cast::<f32>());
    let mut i = 0;
    while i + S::LANES <= n {
        // SAFETY: i + LANES <= n.
        unsafe { H::store(s, dst.add(i), s.load(a.add(i))) };
        i += S::LANES;
    }
    if i < n {
        let mut x = [0u16; MAX_LANES];
        // SAFETY: n - i elements are left, fewer than LANES; x has room for a vector.
        unsafe {
            H::store(s, x.as_mut_ptr(), s.load_first(a.add(i), n - i));
            std::ptr::copy_nonoverlapping(x.as_ptr(), dst.add(i), n - i);
        }
    }
}

pick! {
    pick_from [H: Half] [] (dst: *mut u8, a: *const u8, _b: *const u8, _c: *const u8, n: usize),
    from_half::<Plain, H>(Plain, dst, a, n),
    from_half::<Avx2, H>(Avx2::new(), dst, a, n),
    from_half::<Avx512, H>(Avx512::new(), dst, a, n)
}
pick! {
    pick_to [H: Half] [] (dst: *mut u8, a: *const u8, _b: *const u8, _c: *const u8, n: usize),
    to_half::<Plain, H>(Plain, dst, a, n),
    to_half::<Avx2, H>(Avx2::new(), dst, a, n),
    to_half::<Avx512, H>(Avx512::new(), dst, a, n)
}

/// From a Rust type whose elements are `$from` in memory and become `$value` by `$get`, to every dtype.
macro_rules! to_all {
    ($isa:expr, $to:expr, $from:ty, |$x:ident| $float:expr) => {
        match $to {
            DType::F32 => kernel!($isa, $from => f32, |$x| $x as f32),
            DType::F64 => kernel!($isa, $from => f64, |$x| $x as f64),
            DType::I32 => kernel!($isa, $from => i32, |$x| $x as i32),
            DType::I64 => kernel!($isa, $from => i64, |$x| $x as i64),
            DType::U32 => kernel!($isa, $from => u32, |$x| $x as u32),
            DType::U8 => kernel!($isa, $from => u8, |$x| $x as u8),
            DType::Bool => kernel!($isa, $from => u8, |$x| ($x != (0 as $from)) as u8),
            // Through f64, which every value below the half types' overflow fits: rounded once. (The half crate alone goes by way of f32.)
            DType::F16 => kernel!(calls, $from => u16, |$x| f16::from_f64(round_float(DType::F16, $float)).to_bits()),
            DType::BF16 => kernel!(calls, $from => u16, |$x| bf16::from_f64(round_float(DType::BF16, $float)).to_bits()),
        }
    };
}

/// From a half type to every dtype but F32: through f32, which holds it exactly.
macro_rules! half_to_all {
    ($to:expr, |$x:ident| $value:expr) => {
        match $to {
            DType::F64 => kernel!(calls, u16 => f64, |$x| $value as f64),
            DType::I32 => kernel!(calls, u16 => i32, |$x| $value as i32),
            DType::I64 => kernel!(calls, u16 => i64, |$x| $value as i64),
            DType::U32 => kernel!(calls, u16 => u32, |$x| $value as u32),
            DType::U8 => kernel!(calls, u16 => u8, |$x| $value as u8),
            DType::Bool => kernel!(calls, u16 => u8, |$x| ($value != 0.0) as u8),
            DType::F16 => kernel!(calls, u16 => u16, |$x| f16::from_f32($value).to_bits()),
            DType::BF16 => kernel!(calls, u16 => u16, |$x| bf16::from_f32($value).to_bits()),
            DType::F32 => kernel!(calls, u16 => f32, |$x| $value),
        }
    };
}

pub(super) fn cast(isa: Isa, from: DType, to: DType) -> TileFn {
    match (from, to) {
        _ if from == to => match from.size() {
            1 => kernel!(isa, u8 => u8, |x| x),
            2 => kernel!(isa, u16 => u16, |x| x),
            4 => kernel!(isa, u32 => u32, |x| x),
            _ => kernel!(isa, u64 => u64, |x| x),
        },
        (DType::F16, DType::F32) => pick_from::<F16>(isa),
        (DType::BF16, DType::F32) => pick_from::<BF16>(isa),
        (DType::F32, DType::F16) => pick_to::<F16>(isa),
        (DType::F32, DType::BF16) => pick_to::<BF16>(isa),
        (DType::F16, _) => half_to_all!(to, |x| f16::from_bits(x).to_f32()),
        (DType::BF16, _) => half_to_all!(to, |x| bf16::from_bits(x).to_f32()),
        (DType::F32, DType::Bool) => pick_test::<NotZero, NONE, NONE>(isa),
        (DType::F32, DType::I64) => integer::truncation(isa),
        (DType::F32, _) => to_all!(isa, to, f32, |x| x as f64),
        (DType::F64, _) => to_all!(isa, to, f64, |x| x),
        (DType::I32, _) => to_all!(isa, to, i32, |x| x as f64),
        (DType::I64, _) => to_all!(isa, to, i64, |x| x as f64),
        (DType::U32, _) => to_all!(isa, to, u32, |x| x as f64),
        (DType::U8 | DType::Bool, _) => to_all!(isa, to, u8, |x| x as f64),
    }
}
