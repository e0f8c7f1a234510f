//! The few vector operations the f32 kernels are written in, and their plain implementation.
//!
//! An implementor is a *token*: holding one proves that the processor has the instructions its methods use, so the methods are safe and
//! the mathematics above them is safe code, written once. Methods are `inline(always)`: they carry no target features themselves and
//! become single instructions inside the `#[target_feature]` wrappers of [`drive`](super::drive).

/// A vector of f32 lanes with its companions: `I` (as many i32), `M` (as many truth values), `D` (as many f64, in two registers).
pub(super) trait Simd: Copy {
    /// Lanes of one vector.
    const LANES: usize;
    /// f32 lanes.
    type F: Copy;
    /// i32 lanes.
    type I: Copy;
    /// One truth value a lane.
    type M: Copy;
    /// f64 lanes, as many as `F` has.
    type D: Copy;

    fn splat(self, x: f32) -> Self::F;
    fn splat_i(self, x: i32) -> Self::I;
    fn splat_d(self, x: f64) -> Self::D;

    /// # Safety
    /// `p` is valid for reading `LANES` elements.
    unsafe fn load(self, p: *const f32) -> Self::F;
    /// # Safety
    /// `p` is valid for writing `LANES` elements.
    unsafe fn store(self, p: *mut f32, x: Self::F);
    /// The first `n < LANES` lanes; the others are zero.
    /// # Safety
    /// `p` is valid for reading `n` elements.
    unsafe fn load_first(self, p: *const f32, n: usize) -> Self::F;
    /// # Safety
    /// `p` is valid for writing `n` elements.
    unsafe fn store_first(self, p: *mut f32, n: usize, x: Self::F);
    /// Bytes 0 or 1 of truth values.
    /// # Safety
    /// `p` is valid for reading `LANES` bytes.
    unsafe fn load_mask(self, p: *const u8) -> Self::M;
    /// # Safety
    /// `p` is valid for writing `LANES` bytes.
    unsafe fn store_mask(self, p: *mut u8, m: Self::M);
    /// `LANES` 16-bit words, zero-extended.
    /// # Safety
    /// `p` is valid for reading `LANES` words.
    unsafe fn load_u16(self, p: *const u16) -> Self::I;
    /// The low 16 bits of each lane, all of which are below 2^16.
    /// # Safety
    /// `p` is valid for writing `LANES` words.
    unsafe fn store_u16(self, p: *mut u16, x: Self::I);
    /// `LANES` half-precision floats.
    /// # Safety
    /// `p` is valid for reading `LANES` words.
    unsafe fn load_f16(self, p: *const u16) -> Self::F;
    /// Rounds to nearest even.
    /// # Safety
    /// `p` is valid for writing `LANES` words.
    unsafe fn store_f16(self, p: *mut u16, x: Self::F);

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// `a < b ? a : b`: the second operand if either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? a : b`: the second operand if either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once, or nearly so (plain code without the instruction goes through f64): for error terms and range reduction.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a * b + c` in whichever way is fastest: for polynomials.
    fn mad(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn floor(self, a: Self::F) -> Self::F;
    fn ceil(self, a: Self::F) -> Self::F;
    fn trunc(self, a: Self::F) -> Self::F;
    /// Ties to even.
    fn round(self, a: Self::F) -> Self::F;

    fn bits(self, a: Self::F) -> Self::I;
    /// The inverse of `bits`.
    fn float(self, a: Self::I) -> Self::F;
    /// Nearest f32 of each integer.
    fn to_f(self, a: Self::I) -> Self::F;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn sub_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn or_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn xor_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl(self, a: Self::I, n: i32) -> Self::I;
    /// Logical.
    fn shr(self, a: Self::I, n: i32) -> Self::I;
    /// Arithmetic.
    fn sar(self, a: Self::I, n: i32) -> Self::I;

    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    fn le(self, a: Self::F, b: Self::F) -> Self::M;
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    /// Either is NaN.
    fn unord(self, a: Self::F, b: Self::F) -> Self::M;
    fn eq_i(self, a: Self::I, b: Self::I) -> Self::M;
    fn and_m(self, a: Self::M, b: Self::M) -> Self::M;
    fn or_m(self, a: Self::M, b: Self::M) -> Self::M;
    fn not_m(self, a: Self::M) -> Self::M;
    fn any(self, m: Self::M) -> bool;
    fn all(self, m: Self::M) -> bool;
    /// Lane 0.
    fn first(self, a: Self::F) -> f32;
    /// `m ? a : b`.
    fn select(self, m: Self::M, a: Self::F, b: Self::F) -> Self::F;

    fn widen(self, a: Self::F) -> Self::D;
    /// Rounds to nearest even; overflows to infinity.
    fn narrow(self, a: Self::D) -> Self::F;
    fn add_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn sub_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn mul_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn div_d(self, a: Self::D, b: Self::D) -> Self::D;
    /// `a * b + c`, one rounding or two.
    fn mad_d(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
    /// The second operand if either is NaN.
    fn min_d(self, a: Self::D, b: Self::D) -> Self::D;
    /// The second operand if either is NaN.
    fn max_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn trunc_d(self, a: Self::D) -> Self::D;
    /// 2^k where the low bits of `a`'s pattern hold the integer k (|k| < 1000), as after adding 1.5 * 2^52 to it.
    fn pow2_of_low_bits(self, a: Self::D) -> Self::D;

    // Derived operations.

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        self.float(self.and_i(self.bits(a), self.splat_i(0x7fff_ffff)))
    }
    #[inline(always)]
    fn neg(self, a: Self::F) -> Self::F {
        self.float(self.xor_i(self.bits(a), self.splat_i(i32::MIN)))
    }
    /// Whether rare cases need care. Plain code always takes it, without a branch that would keep its loop from being vectorised.
    #[inline(always)]
    fn rare(self, m: Self::M) -> bool {
        Self::LANES == 1 || self.any(m)
    }
    /// As [`rare`](Simd::rare), for lanes where `m` does not hold.
    #[inline(always)]
    fn rare_unless(self, m: Self::M) -> bool {
        Self::LANES == 1 || !self.all(m)
    }
    /// -0.0 where the sign bit is set, else 0.0.
    #[inline(always)]
    fn sign_bit(self, a: Self::F) -> Self::F {
        self.float(self.and_i(self.bits(a), self.splat_i(i32::MIN)))
    }
    /// The magnitude of `a` with the sign bit of `sign`.
    #[inline(always)]
    fn copysign(self, a: Self::F, sign: Self::F) -> Self::F {
        self.float(self.or_i(self.bits(self.abs(a)), self.bits(self.sign_bit(sign))))
    }
    /// The polynomial with these coefficients, constant term first, by Horner's rule.
    #[inline(always)]
    fn poly<const N: usize>(self, x: Self::F, c: [f32; N]) -> Self::F {
        let mut y = self.splat(c[N - 1]);
        let mut i = N - 1;
        while i > 0 {
            i -= 1;
            y = self.mad(y, x, self.splat(c[i]));
        }
        y
    }
    /// As [`poly`](Simd::poly), in f64.
    #[inline(always)]
    fn poly_d<const N: usize>(self, x: Self::D, c: [f64; N]) -> Self::D {
        let mut y = self.splat_d(c[N - 1]);
        let mut i = N - 1;
        while i > 0 {
            i -= 1;
            y = self.mad_d(y, x, self.splat_d(c[i]));
        }
        y
    }
}

/// One lane of ordinary code, which the compiler vectorises as the target allows (SSE2, NEON, wasm).
#[derive(Clone, Copy)]
pub(super) struct Plain;

/// Whether `f32::mul_add` is an instruction rather than a call.
const HAS_FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

impl Simd for Plain {
    const LANES: usize = 1;
    type F = f32;
    type I = i32;
    type M = bool;
    type D = f64;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> i32 {
        x
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> f64 {
        x
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *p }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, x: f32) {
        // SAFETY: the caller's promise.
        unsafe { *p = x }
    }
    #[inline(always)]
    unsafe fn load_first(self, _: *const f32, _: usize) -> f32 {
        0.0
    }
    #[inline(always)]
    unsafe fn store_first(self, _: *mut f32, _: usize, _: f32) {}
    #[inline(always)]
    unsafe fn load_mask(self, p: *const u8) -> bool {
        // SAFETY: the caller's promise.
        unsafe { *p != 0 }
    }
    #[inline(always)]
    unsafe fn store_mask(self, p: *mut u8, m: bool) {
        // SAFETY: the caller's promise.
        unsafe { *p = m as u8 }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u16) -> i32 {
        // SAFETY: the caller's promise.
        unsafe { *p as i32 }
    }
    #[inline(always)]
    unsafe fn store_u16(self, p: *mut u16, x: i32) {
        // SAFETY: the caller's promise.
        unsafe { *p = x as u16 }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> f32 {
        // SAFETY: the caller's promise.
        super::cast::f16_to_f32(unsafe { *p })
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, x: f32) {
        // SAFETY: the caller's promise.
        unsafe { *p = super::cast::f32_to_f16(x) }
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        a.sqrt()
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        if HAS_FMA { a.mul_add(b, c) } else { (a as f64 * b as f64 + c as f64) as f32 }
    }
    #[inline(always)]
    fn mad(self, a: f32, b: f32, c: f32) -> f32 {
        if HAS_FMA { a.mul_add(b, c) } else { a * b + c }
    }
    #[inline(always)]
    fn floor(self, a: f32) -> f32 {
        let t = self.trunc(a);
        self.copysign(if t > a { t - 1.0 } else { t }, a)
    }
    #[inline(always)]
    fn ceil(self, a: f32) -> f32 {
        let t = self.trunc(a);
        self.copysign(if t < a { t + 1.0 } else { t }, a)
    }
    // Without SSE4.1 the library functions are calls, which would keep the loop from being vectorised.
    #[inline(always)]
    fn trunc(self, a: f32) -> f32 {
        let r = self.round(a);
        self.copysign(if r.abs() > a.abs() { r.abs() - 1.0 } else { r }, a)
    }
    #[inline(always)]
    fn round(self, a: f32) -> f32 {
        const BIG: f32 = 8388608.0;
        let x = a.abs();
        // From 2^23 on every float is an integer, and NaN stays as it is.
        let r = (x + BIG) - BIG;
        self.copysign(if x < BIG { r } else { x }, a)
    }
    #[inline(always)]
    fn bits(self, a: f32) -> i32 {
        a.to_bits() as i32
    }
    #[inline(always)]
    fn float(self, a: i32) -> f32 {
        f32::from_bits(a as u32)
    }
    #[inline(always)]
    fn to_f(self, a: i32) -> f32 {
        a as f32
    }
    #[inline(always)]
    fn add_i(self, a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn sub_i(self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    fn and_i(self, a: i32, b: i32) -> i32 {
        a & b
    }
    #[inline(always)]
    fn or_i(self, a: i32, b: i32) -> i32 {
        a | b
    }
    #[inline(always)]
    fn xor_i(self, a: i32, b: i32) -> i32 {
        a ^ b
    }
    #[inline(always)]
    fn shl(self, a: i32, n: i32) -> i32 {
        a.wrapping_shl(n as u32)
    }
    #[inline(always)]
    fn shr(self, a: i32, n: i32) -> i32 {
        (a as u32).wrapping_shr(n as u32) as i32
    }
    #[inline(always)]
    fn sar(self, a: i32, n: i32) -> i32 {
        a.wrapping_shr(n as u32)
    }
    #[inline(always)]
    fn lt(self, a: f32, b: f32) -> bool {
        a < b
    }
    #[inline(always)]
    fn le(self, a: f32, b: f32) -> bool {
        a <= b
    }
    #[inline(always)]
    fn eq(self, a: f32, b: f32) -> bool {
        a == b
    }
    #[inline(always)]
    fn unord(self, a: f32, b: f32) -> bool {
        a.is_nan() | b.is_nan()
    }
    #[inline(always)]
    fn eq_i(self, a: i32, b: i32) -> bool {
        a == b
    }
    #[inline(always)]
    fn and_m(self, a: bool, b: bool) -> bool {
        a & b
    }
    #[inline(always)]
    fn or_m(self, a: bool, b: bool) -> bool {
        a | b
    }
    #[inline(always)]
    fn not_m(self, a: bool) -> bool {
        !a
    }
    #[inline(always)]
    fn any(self, m: bool) -> bool {
        m
    }
    #[inline(always)]
    fn all(self, m: bool) -> bool {
        m
    }
    #[inline(always)]
    fn first(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    fn select(self, m: bool, a: f32, b: f32) -> f32 {
        if m { a } else { b }
    }
    #[inline(always)]
    fn widen(self, a: f32) -> f64 {
        a as f64
    }
    #[inline(always)]
    fn narrow(self, a: f64) -> f32 {
        a as f32
    }
    #[inline(always)]
    fn add_d(self, a: f64, b: f64) -> f64 {
        a + b
    }
    #[inline(always)]
    fn sub_d(self, a: f64, b: f64) -> f64 {
        a - b
    }
    #[inline(always)]
    fn mul_d(self, a: f64, b: f64) -> f64 {
        a * b
    }
    #[inline(always)]
    fn div_d(self, a: f64, b: f64) -> f64 {
        a / b
    }
    #[inline(always)]
    fn mad_d(self, a: f64, b: f64, c: f64) -> f64 {
        if HAS_FMA { a.mul_add(b, c) } else { a * b + c }
    }
    #[inline(always)]
    fn min_d(self, a: f64, b: f64) -> f64 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn max_d(self, a: f64, b: f64) -> f64 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn trunc_d(self, a: f64) -> f64 {
        a.trunc()
    }
    #[inline(always)]
    fn pow2_of_low_bits(self, a: f64) -> f64 {
        f64::from_bits((a.to_bits() << 52).wrapping_add(1023 << 52))
    }
}
