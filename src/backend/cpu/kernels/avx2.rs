//! Eight lanes: AVX2 with FMA and F16C.

use super::simd::Simd;
use std::arch::x86_64::*;

/// Proof of AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor has AVX2, FMA and F16C.
    #[inline(always)]
    pub(super) unsafe fn new() -> Avx2 {
        Avx2(())
    }
}

/// A mask of the first `n <= 8` lanes.
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    const ONES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    debug_assert!(n <= 8);
    // SAFETY: eight elements from 8 - n <= 8 on lie within the sixteen.
    unsafe { _mm256_loadu_si256(ONES.as_ptr().add(8 - n).cast()) }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F = __m256;
    type I = __m256i;
    type M = __m256;
    type D = [__m256d; 2];

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_set1_pd(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, x: __m256) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_storeu_ps(p, x) }
    }
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_maskload_ps(p, first(n)) }
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize, x: __m256) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_maskstore_ps(p, first(n), x) }
    }
    #[inline(always)]
    unsafe fn load_mask(self, p: *const u8) -> __m256 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe {
            let m = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()));
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(m, _mm256_setzero_si256()))
        }
    }
    #[inline(always)]
    unsafe fn store_mask(self, p: *mut u8, m: __m256) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe {
            let m = _mm256_castps_si256(m);
            let w = _mm_packs_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256::<1>(m));
            let b = _mm_and_si128(_mm_packs_epi16(w, w), _mm_set1_epi8(1));
            _mm_storel_epi64(p.cast(), b)
        }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u16) -> __m256i {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_u16(self, p: *mut u16, x: __m256i) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm_storeu_si128(p.cast(), _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, x: __m256) {
        // SAFETY: the token proves the instructions, the caller the pointer.
        unsafe { _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn mad(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn floor(self, a: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn ceil(self, a: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn trunc(self, a: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn bits(self, a: __m256) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_castps_si256(a) }
    }
    #[inline(always)]
    fn float(self, a: __m256i) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_castsi256_ps(a) }
    }
    #[inline(always)]
    fn to_f(self, a: __m256i) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_cvtepi32_ps(a) }
    }
    #[inline(always)]
    fn add_i(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn sub_i(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn and_i(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn or_i(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    fn xor_i(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_xor_si256(a, b) }
    }
    #[inline(always)]
    fn shl(self, a: __m256i, n: i32) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_sllv_epi32(a, _mm256_set1_epi32(n)) }
    }
    #[inline(always)]
    fn shr(self, a: __m256i, n: i32) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_srlv_epi32(a, _mm256_set1_epi32(n)) }
    }
    #[inline(always)]
    fn sar(self, a: __m256i, n: i32) -> __m256i {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_srav_epi32(a, _mm256_set1_epi32(n)) }
    }
    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn le(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_cmp_ps::<_CMP_LE_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn unord(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_cmp_ps::<_CMP_UNORD_Q>(a, b) }
    }
    #[inline(always)]
    fn eq_i(self, a: __m256i, b: __m256i) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)) }
    }
    #[inline(always)]
    fn and_m(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_and_ps(a, b) }
    }
    #[inline(always)]
    fn or_m(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_or_ps(a, b) }
    }
    #[inline(always)]
    fn not_m(self, a: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_castsi256_ps(_mm256_xor_si256(_mm256_castps_si256(a), _mm256_set1_epi32(-1))) }
    }
    #[inline(always)]
    fn any(self, m: __m256) -> bool {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_movemask_ps(m) != 0 }
    }
    #[inline(always)]
    fn all(self, m: __m256) -> bool {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_movemask_ps(m) == 0xff }
    }
    #[inline(always)]
    fn first(self, a: __m256) -> f32 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_cvtss_f32(a) }
    }
    #[inline(always)]
    fn select(self, m: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_blendv_ps(b, a, m) }
    }
    #[inline(always)]
    fn widen(self, a: __m256) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(a))] }
    }
    #[inline(always)]
    fn narrow(self, a: [__m256d; 2]) -> __m256 {
        // SAFETY: the token proves that the instructions exist.
        unsafe { _mm256_set_m128(_mm256_cvtpd_ps(a[1]), _mm256_cvtpd_ps(a[0])) }
    }
    #[inline(always)]
    fn add_d(self, a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_add_pd(a[0], b[0]), _mm256_add_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub_d(self, a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_sub_pd(a[0], b[0]), _mm256_sub_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul_d(self, a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_mul_pd(a[0], b[0]), _mm256_mul_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn div_d(self, a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_div_pd(a[0], b[0]), _mm256_div_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn min_d(self, a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_min_pd(a[0], b[0]), _mm256_min_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn max_d(self, a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_max_pd(a[0], b[0]), _mm256_max_pd(a[1], b[1])] }
    }
    #[inline(always)]
    fn mad_d(self, a: [__m256d; 2], b: [__m256d; 2], c: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe { [_mm256_fmadd_pd(a[0], b[0], c[0]), _mm256_fmadd_pd(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn trunc_d(self, a: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe {
            const TO_ZERO: i32 = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
            [_mm256_round_pd::<TO_ZERO>(a[0]), _mm256_round_pd::<TO_ZERO>(a[1])]
        }
    }
    #[inline(always)]
    fn pow2_of_low_bits(self, a: [__m256d; 2]) -> [__m256d; 2] {
        // SAFETY: the token proves that the instructions exist.
        unsafe {
            let pow2 =
                |x| _mm256_castsi256_pd(_mm256_add_epi64(_mm256_slli_epi64::<52>(_mm256_castpd_si256(x)), _mm256_set1_epi64x(1023 << 52)));
            [pow2(a[0]), pow2(a[1])]
        }
    }
}
