//! Sixteen lanes: AVX-512.

use super::simd::Simd;
use std::arch::x86_64::*;

/// Proof of AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor has AVX-512 F, BW, DQ and VL.
    #[inline(always)]
    pub(super) unsafe fn new() -> Avx512 {
        Avx512(())
    }
}

/// A mask of the first `n <= 16` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;
    type D = [__m512d; 2];

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_set1_pd(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, x: __m512) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm512_storeu_ps(p, x) }
    }
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm512_maskz_loadu_ps(first(n), p) }
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, x: __m512) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm512_mask_storeu_ps(p, first(n), x) }
    }
    #[inline(always)]
    unsafe fn load_mask(self, p: *const u8) -> __mmask16 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe {
            let b = _mm_loadu_si128(p.cast());
            _mm_test_epi8_mask(b, b)
        }
    }
    #[inline(always)]
    unsafe fn store_mask(self, p: *mut u8, m: __mmask16) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm_storeu_si128(p.cast(), _mm_maskz_set1_epi8(m, 1)) }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u16) -> __m512i {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_u16(self, p: *mut u16, x: __m512i) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(x)) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, x: __m512) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn mad(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn floor(self, a: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn ceil(self, a: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn trunc(self, a: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn bits(self, a: __m512) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_castps_si512(a) }
    }
    #[inline(always)]
    fn float(self, a: __m512i) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_castsi512_ps(a) }
    }
    #[inline(always)]
    fn to_f(self, a: __m512i) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    fn add_i(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub_i(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn and_i(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or_i(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn xor_i(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    fn shl(self, a: __m512i, n: i32) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_sllv_epi32(a, _mm512_set1_epi32(n)) }
    }
    #[inline(always)]
    fn shr(self, a: __m512i, n: i32) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_srlv_epi32(a, _mm512_set1_epi32(n)) }
    }
    #[inline(always)]
    fn sar(self, a: __m512i, n: i32) -> __m512i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_srav_epi32(a, _mm512_set1_epi32(n)) }
    }
    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn le(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn unord(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b) }
    }
    #[inline(always)]
    fn eq_i(self, a: __m512i, b: __m512i) -> __mmask16 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_cmpeq_epi32_mask(a, b) }
    }
    #[inline(always)]
    fn select(self, m: __mmask16, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_mask_blend_ps(m, b, a) }
    }
    #[inline(always)]
    fn widen(self, a: __m512) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(a))] }
    }
    #[inline(always)]
    fn narrow(self, a: [__m512d; 2]) -> __m512 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(_mm512_cvtpd_ps(a[0])), _mm512_cvtpd_ps(a[1])) }
    }
    #[inline(always)]
    fn add_d(self, a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_add_pd(a[0], b[0]), _mm512_add_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub_d(self, a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_sub_pd(a[0], b[0]), _mm512_sub_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul_d(self, a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_mul_pd(a[0], b[0]), _mm512_mul_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn div_d(self, a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_div_pd(a[0], b[0]), _mm512_div_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn min_d(self, a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_min_pd(a[0], b[0]), _mm512_min_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn max_d(self, a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_max_pd(a[0], b[0]), _mm512_max_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn mad_d(self, a: [__m512d; 2], b: [__m512d; 2], c: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm512_fmadd_pd(a[0], b[0], c[0]), _mm512_fmadd_pd(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn trunc_d(self, a: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe {
            const TO_ZERO: i32 = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
            [_mm512_roundscale_pd::<TO_ZERO>(a[0]), _mm512_roundscale_pd::<TO_ZERO>(a[1])]
        }
    }
    #[inline(always)]
    fn pow2_of_low_bits(self, a: [__m512d; 2]) -> [__m512d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe {
            let pow2 =
                |x| _mm512_castsi512_pd(_mm512_add_epi64(_mm512_slli_epi64::<52>(_mm512_castpd_si512(x)), _mm512_set1_epi64(1023 << 52)));
            [pow2(a[0]), pow2(a[1])]
        }
    }
    #[inline(always)]
    fn and_m(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }
    #[inline(always)]
    fn or_m(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }
    #[inline(always)]
    fn not_m(self, a: __mmask16) -> __mmask16 {
        !a
    }
    #[inline(always)]
    fn any(self, m: __mmask16) -> bool {
        m != 0
    }
    #[inline(always)]
    fn all(self, m: __mmask16) -> bool {
        m == !0
    }
    #[inline(always)]
    fn first(self, a: __m512) -> f32 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm512_cvtss_f32(a) }
    }
}
