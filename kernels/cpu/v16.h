/*
 * v16: sixteen f32 lanes, in one of four forms: an array (scalar), two AVX registers, one AVX-512
 * register, four NEON registers. The flags of the including file choose the form. Every function is
 * exact or correctly rounded per lane, and sums have one fixed shape. So a kernel written in v16
 * gives the same bits in all forms. Comparisons take the second operand when one is NaN (the rule
 * of maxps).
 */
#ifndef MAS_V16_H
#define MAS_V16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "f16.h"

#define V16 16

#if defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif
#if defined(__AVX2__)
#include <immintrin.h>

/* The last three steps of v16_sum for four vectors at once. */
static inline void v16_fold4(__m256 a, __m256 b, __m256 c, __m256 d, float out[4])
{
    __m128 r0 = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 r1 = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    __m128 r2 = _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));
    __m128 r3 = _mm_add_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1));
    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(r0, r2), _mm_add_ps(r1, r3)));
}

/* The largest lane; none is NaN. */
static inline float v16_top256(__m256 a)
{
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

/* The sum of sixteen int8. */
static inline int v16_sum_i8(__m128i v)
{
    /* each + 128 */
    __m128i u = _mm_sad_epu8(_mm_xor_si128(v, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(_mm_add_epi32(u, _mm_srli_si128(u, 8))) - 16 * 128;
}
#endif

#if defined(__AVX512F__)

struct v16 {
    __m512 v;
};
#define V16_MAKE(x) ((struct v16){x})

static inline struct v16 v16_set1(float x)
{
    return V16_MAKE(_mm512_set1_ps(x));
}
static inline struct v16 v16_load(const float *p)
{
    return V16_MAKE(_mm512_loadu_ps(p));
}
static inline void v16_store(float *p, struct v16 a)
{
    _mm512_storeu_ps(p, a.v);
}
static inline __mmask16 v16_mask(int64_t n)
{
    return (__mmask16)((1u << n) - 1);
}
/* n in 0..15; the other lanes are zero, and their memory is not read */
static inline struct v16 v16_load_n(const float *p, int64_t n)
{
    return V16_MAKE(_mm512_maskz_loadu_ps(v16_mask(n), p));
}
static inline void v16_store_n(float *p, struct v16 a, int64_t n)
{
    _mm512_mask_storeu_ps(p, v16_mask(n), a.v);
}
static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm512_add_ps(a.v, b.v));
}
static inline struct v16 v16_sub(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm512_sub_ps(a.v, b.v));
}
static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm512_mul_ps(a.v, b.v));
}
static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm512_div_ps(a.v, b.v));
}
static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c) /* a * b + c */
{
    return V16_MAKE(_mm512_fmadd_ps(a.v, b.v, c.v));
}
static inline struct v16 v16_max(struct v16 a, struct v16 b) /* a > b ? a : b */
{
    return V16_MAKE(_mm512_max_ps(a.v, b.v));
}
static inline struct v16 v16_min(struct v16 a, struct v16 b) /* a < b ? a : b */
{
    return V16_MAKE(_mm512_min_ps(a.v, b.v));
}
static inline struct v16 v16_abs(struct v16 a)
{
    return V16_MAKE(_mm512_abs_ps(a.v));
}
/* a < b ? x : y */
static inline struct v16 v16_if_lt(struct v16 a, struct v16 b, struct v16 x, struct v16 y)
{
    return V16_MAKE(_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v));
}
/* lane i: bit i of bits ? x : y */
static inline struct v16 v16_if_bit(uint32_t bits, struct v16 x, struct v16 y)
{
    return V16_MAKE(_mm512_mask_blend_ps((__mmask16)bits, y.v, x.v));
}
/* a[i / 2 * 2], the even lane of each pair in both; v16_odds: a[i / 2 * 2 + 1] */
static inline struct v16 v16_evens(struct v16 a)
{
    return V16_MAKE(_mm512_moveldup_ps(a.v));
}
static inline struct v16 v16_odds(struct v16 a)
{
    return V16_MAKE(_mm512_movehdup_ps(a.v));
}
static inline uint32_t v16_lt_bits(struct v16 a, struct v16 b) /* bit i: a[i] < b[i] */
{
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ);
}
static inline uint32_t v16_nan_bits(struct v16 a)
{
    return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
}
static inline struct v16 v16_load_f16(const uint16_t *p)
{
    return V16_MAKE(_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)));
}
static inline struct v16 v16_set1_f16(uint16_t h)
{
    return V16_MAKE(_mm512_cvtph_ps(_mm256_set1_epi16((short)h)));
}
static inline void v16_store_f16(uint16_t *p, struct v16 a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
static inline struct v16 v16_load_bf16(const uint16_t *p)
{
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return V16_MAKE(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)));
}
/* The lower (shift 0) or upper (shift 4) four bits of 16 bytes, less 8. */
static inline struct v16 v16_load_q4(const uint8_t *p, int shift)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    b = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(b, shift), _mm_set1_epi8(15)), _mm_set1_epi8(8));
    return V16_MAKE(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b)));
}
static inline struct v16 v16_load_i8(const int8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return V16_MAKE(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b)));
}
/* Nearest integer (ties to even) of lanes within +-127. */
static inline int v16_store_i8(int8_t *p, struct v16 a)
{
    __m128i b = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v));
    _mm_storeu_si128((__m128i *)(void *)p, b);
    return v16_sum_i8(b);
}
/* p * 2^k, where t = 1.5 * 2^23 + k with an integer k in -254..254: one rounding */
static inline struct v16 v16_scale2(struct v16 p, struct v16 t)
{
    return V16_MAKE(_mm512_scalef_ps(p.v, _mm512_sub_ps(t.v, _mm512_set1_ps(0x1.8p23f))));
}
/* x = m * 2^e with m in [sqrt(1/2), sqrt(2)), for positive normal x */
static inline struct v16 v16_split2(struct v16 x, struct v16 *e)
{
    __m512i i = _mm512_sub_epi32(_mm512_castps_si512(x.v), _mm512_set1_epi32(0x3f3504f3));
    __m512i k = _mm512_srai_epi32(i, 23);
    e->v = _mm512_cvtepi32_ps(k);
    i = _mm512_sub_epi32(_mm512_castps_si512(x.v), _mm512_slli_epi32(k, 23));
    return V16_MAKE(_mm512_castsi512_ps(i));
}
/* lanes 0..7 + lanes 8..15, then halves again: ((0+8)+(4+12)) + ((2+10)+(6+14)) + the odd ones
 * alike */
static inline float v16_sum(struct v16 a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
/* out[i] = v16_sum of vector i */
static inline void v16_sum4(struct v16 a, struct v16 b, struct v16 c, struct v16 d, float out[4])
{
#define V16_FOLD(x) _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1))
    v16_fold4(V16_FOLD(a), V16_FOLD(b), V16_FOLD(c), V16_FOLD(d), out);
#undef V16_FOLD
}
static inline float v16_top(struct v16 a)
{
    return v16_top256(_mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)));
}

/* There are enough registers for sixteen sums and their operands. */
#define V16_MANY 1

/* Two vectors become one. Neighbouring lanes are added; the results of x come before those of y. */
#define V16_MEET(shuffle, low, high, x, y) _mm512_add_ps(shuffle(x, y, low), shuffle(x, y, high))
#define V16_PAIRS(x, y, high)                                                                      \
    _mm512_castpd_ps(high ? _mm512_unpackhi_pd(_mm512_castps_pd(x), _mm512_castps_pd(y))           \
                          : _mm512_unpacklo_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)))
/* Lane i: v16_sum of vector i. */
static inline struct v16 v16_sum16(const struct v16 a[V16])
{
    __m512 r[8];
    /* vectors in an order that puts their sums side by side in the end */
    for (int i = 0; i < 8; i++) {
        const __m512 x = a[i % 2 * 8 + i / 2].v, y = a[i % 2 * 8 + i / 2 + 4].v;
        r[i] = V16_MEET(_mm512_shuffle_f32x4, 0x44, 0xee, x, y);
    }
    for (int i = 0; i < 4; i++)
        r[i] = V16_MEET(_mm512_shuffle_f32x4, 0x88, 0xdd, r[2 * i], r[2 * i + 1]);
    for (int i = 0; i < 2; i++)
        r[i] = _mm512_add_ps(V16_PAIRS(r[2 * i], r[2 * i + 1], 0),
                             V16_PAIRS(r[2 * i], r[2 * i + 1], 1));
    return V16_MAKE(V16_MEET(_mm512_shuffle_ps, 0x88, 0xdd, r[0], r[1]));
}
#undef V16_MEET
#undef V16_PAIRS

#elif defined(__AVX2__)

struct v16 {
    __m256 a, b;
};
#define V16_MAKE(x, y) ((struct v16){x, y})

static inline struct v16 v16_set1(float x)
{
    return V16_MAKE(_mm256_set1_ps(x), _mm256_set1_ps(x));
}
static inline struct v16 v16_load(const float *p)
{
    return V16_MAKE(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
static inline void v16_store(float *p, struct v16 a)
{
    _mm256_storeu_ps(p, a.a);
    _mm256_storeu_ps(p + 8, a.b);
}
static inline struct v16 v16_load_n(const float *p, int64_t n)
{
    float t[V16] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return v16_load(t);
}
static inline void v16_store_n(float *p, struct v16 a, int64_t n)
{
    float t[V16];
    v16_store(t, a);
    memcpy(p, t, (size_t)n * sizeof *t);
}
static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm256_add_ps(a.a, b.a), _mm256_add_ps(a.b, b.b));
}
static inline struct v16 v16_sub(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm256_sub_ps(a.a, b.a), _mm256_sub_ps(a.b, b.b));
}
static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm256_mul_ps(a.a, b.a), _mm256_mul_ps(a.b, b.b));
}
static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm256_div_ps(a.a, b.a), _mm256_div_ps(a.b, b.b));
}
static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
    return V16_MAKE(_mm256_fmadd_ps(a.a, b.a, c.a), _mm256_fmadd_ps(a.b, b.b, c.b));
}
static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm256_max_ps(a.a, b.a), _mm256_max_ps(a.b, b.b));
}
static inline struct v16 v16_min(struct v16 a, struct v16 b)
{
    return V16_MAKE(_mm256_min_ps(a.a, b.a), _mm256_min_ps(a.b, b.b));
}
static inline struct v16 v16_abs(struct v16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return V16_MAKE(_mm256_andnot_ps(sign, a.a), _mm256_andnot_ps(sign, a.b));
}
static inline struct v16 v16_if_lt(struct v16 a, struct v16 b, struct v16 x, struct v16 y)
{
    return V16_MAKE(_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ)),
                    _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ)));
}
static inline struct v16 v16_if_bit(uint32_t bits, struct v16 x, struct v16 y)
{
    __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i lo = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
    __m256i hi = _mm256_and_si256(_mm256_set1_epi32((int)(bits >> 8)), lane);
    return V16_MAKE(_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(lo, lane))),
                    _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(_mm256_cmpeq_epi32(hi, lane))));
}
static inline struct v16 v16_evens(struct v16 a)
{
    return V16_MAKE(_mm256_moveldup_ps(a.a), _mm256_moveldup_ps(a.b));
}
static inline struct v16 v16_odds(struct v16 a)
{
    return V16_MAKE(_mm256_movehdup_ps(a.a), _mm256_movehdup_ps(a.b));
}
static inline uint32_t v16_lt_bits(struct v16 a, struct v16 b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ)) |
           (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ)) << 8;
}
static inline uint32_t v16_nan_bits(struct v16 a)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.a, a.a, _CMP_UNORD_Q)) |
           (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.b, a.b, _CMP_UNORD_Q)) << 8;
}
static inline struct v16 v16_load_f16(const uint16_t *p)
{
    return V16_MAKE(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8))));
}
static inline struct v16 v16_set1_f16(uint16_t h)
{
    const __m256 x = _mm256_cvtph_ps(_mm_set1_epi16((short)h));
    return V16_MAKE(x, x);
}
static inline void v16_store_f16(uint16_t *p, struct v16 a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(a.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(void *)(p + 8), _mm256_cvtps_ph(a.b, _MM_FROUND_TO_NEAREST_INT));
}
static inline __m256 v16_half_bf16(const uint16_t *p)
{
    __m256i h = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(h, 16));
}
static inline struct v16 v16_load_bf16(const uint16_t *p)
{
    return V16_MAKE(v16_half_bf16(p), v16_half_bf16(p + 8));
}
static inline struct v16 v16_load_q4(const uint8_t *p, int shift)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    b = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(b, shift), _mm_set1_epi8(15)), _mm_set1_epi8(8));
    return V16_MAKE(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8))));
}
static inline struct v16 v16_load_i8(const int8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return V16_MAKE(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8))));
}
static inline int v16_store_i8(int8_t *p, struct v16 a)
{
    __m256i w = _mm256_packs_epi32(_mm256_cvtps_epi32(a.a), _mm256_cvtps_epi32(a.b));
    w = _mm256_permute4x64_epi64(w, 0xd8); /* packs works in 128-bit halves */
    __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)(void *)p, b);
    return v16_sum_i8(b);
}
static inline __m256 v16_half_scale2(__m256 p, __m256 t)
{
    __m256i k = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(0x4b400000));
    __m256i half = _mm256_srai_epi32(k, 1), bias = _mm256_set1_epi32(127);
    __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(k, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
static inline struct v16 v16_scale2(struct v16 p, struct v16 t)
{
    return V16_MAKE(v16_half_scale2(p.a, t.a), v16_half_scale2(p.b, t.b));
}
static inline __m256 v16_half_split2(__m256 x, __m256 *e)
{
    __m256i i = _mm256_sub_epi32(_mm256_castps_si256(x), _mm256_set1_epi32(0x3f3504f3));
    __m256i k = _mm256_srai_epi32(i, 23);
    *e = _mm256_cvtepi32_ps(k);
    return _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(k, 23)));
}
static inline struct v16 v16_split2(struct v16 x, struct v16 *e)
{
    __m256 a = v16_half_split2(x.a, &e->a);
    return V16_MAKE(a, v16_half_split2(x.b, &e->b));
}
static inline float v16_sum(struct v16 a)
{
    __m256 b = _mm256_add_ps(a.a, a.b);
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
static inline void v16_sum4(struct v16 a, struct v16 b, struct v16 c, struct v16 d, float out[4])
{
    v16_fold4(_mm256_add_ps(a.a, a.b), _mm256_add_ps(b.a, b.b), _mm256_add_ps(c.a, c.b),
              _mm256_add_ps(d.a, d.b), out);
}
static inline float v16_top(struct v16 a)
{
    return v16_top256(_mm256_max_ps(a.a, a.b));
}

#elif defined(__ARM_FEATURE_DOTPROD)

struct v16 {
    float32x4_t r[4];
};
#define V16_R(expr)                                                                                \
    struct v16 y;                                                                                  \
    for (int i = 0; i < 4; i++)                                                                    \
        y.r[i] = (expr);                                                                           \
    return y

static inline struct v16 v16_set1(float x)
{
    V16_R(vdupq_n_f32(x));
}
static inline struct v16 v16_load(const float *p)
{
    V16_R(vld1q_f32(p + 4 * i));
}
static inline void v16_store(float *p, struct v16 a)
{
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, a.r[i]);
}
static inline struct v16 v16_load_n(const float *p, int64_t n)
{
    float t[V16] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return v16_load(t);
}
static inline void v16_store_n(float *p, struct v16 a, int64_t n)
{
    float t[V16];
    v16_store(t, a);
    memcpy(p, t, (size_t)n * sizeof *t);
}
static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
    V16_R(vaddq_f32(a.r[i], b.r[i]));
}
static inline struct v16 v16_sub(struct v16 a, struct v16 b)
{
    V16_R(vsubq_f32(a.r[i], b.r[i]));
}
static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
    V16_R(vmulq_f32(a.r[i], b.r[i]));
}
static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
    V16_R(vdivq_f32(a.r[i], b.r[i]));
}
static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
    V16_R(vfmaq_f32(c.r[i], a.r[i], b.r[i]));
}
/* vmaxq_f32 has another rule for NaN */
static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
    V16_R(vbslq_f32(vcgtq_f32(a.r[i], b.r[i]), a.r[i], b.r[i]));
}
static inline struct v16 v16_min(struct v16 a, struct v16 b)
{
    V16_R(vbslq_f32(vcltq_f32(a.r[i], b.r[i]), a.r[i], b.r[i]));
}
static inline struct v16 v16_abs(struct v16 a)
{
    V16_R(vabsq_f32(a.r[i]));
}
static inline struct v16 v16_if_lt(struct v16 a, struct v16 b, struct v16 x, struct v16 z)
{
    V16_R(vbslq_f32(vcltq_f32(a.r[i], b.r[i]), x.r[i], z.r[i]));
}
static inline struct v16 v16_if_bit(uint32_t bits, struct v16 x, struct v16 z)
{
    const uint32x4_t lane = {1, 2, 4, 8};
    V16_R(vbslq_f32(vtstq_u32(vdupq_n_u32(bits >> 4 * i), lane), x.r[i], z.r[i]));
}
static inline uint32_t v16_bits(const uint32x4_t mask[4])
{
    const uint32x4_t lane = {1, 2, 4, 8};
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= vaddvq_u32(vandq_u32(mask[i], lane)) << 4 * i;
    return bits;
}
static inline struct v16 v16_evens(struct v16 a)
{
    V16_R(vtrn1q_f32(a.r[i], a.r[i]));
}
static inline struct v16 v16_odds(struct v16 a)
{
    V16_R(vtrn2q_f32(a.r[i], a.r[i]));
}
static inline uint32_t v16_lt_bits(struct v16 a, struct v16 b)
{
    uint32x4_t m[4];
    for (int i = 0; i < 4; i++)
        m[i] = vcltq_f32(a.r[i], b.r[i]);
    return v16_bits(m);
}
static inline uint32_t v16_nan_bits(struct v16 a)
{
    uint32x4_t m[4];
    for (int i = 0; i < 4; i++)
        m[i] = vmvnq_u32(vceqq_f32(a.r[i], a.r[i]));
    return v16_bits(m);
}
static inline struct v16 v16_load_f16(const uint16_t *p)
{
    V16_R(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}
static inline void v16_store_f16(uint16_t *p, struct v16 a)
{
    for (int i = 0; i < 4; i++)
        vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.r[i])));
}
static inline struct v16 v16_load_bf16(const uint16_t *p)
{
    V16_R(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
static inline struct v16 v16_of_i8(int8x16_t b)
{
    const int16x8_t half[2] = {vmovl_s8(vget_low_s8(b)), vmovl_s8(vget_high_s8(b))};
    V16_R(vcvtq_f32_s32(vmovl_s16(i % 2 ? vget_high_s16(half[i / 2]) : vget_low_s16(half[i / 2]))));
}
static inline struct v16 v16_load_q4(const uint8_t *p, int shift)
{
    const uint8x16_t b =
        vandq_u8(vshlq_u8(vld1q_u8(p), vdupq_n_s8((int8_t)-shift)), vdupq_n_u8(15));
    return v16_of_i8(vsubq_s8(vreinterpretq_s8_u8(b), vdupq_n_s8(8)));
}
static inline struct v16 v16_load_i8(const int8_t *p)
{
    return v16_of_i8(vld1q_s8(p));
}
static inline int v16_store_i8(int8_t *p, struct v16 a)
{
    int16x4_t w[4];
    for (int i = 0; i < 4; i++)
        w[i] = vmovn_s32(vcvtnq_s32_f32(a.r[i]));
    const int8x16_t b =
        vcombine_s8(vmovn_s16(vcombine_s16(w[0], w[1])), vmovn_s16(vcombine_s16(w[2], w[3])));
    vst1q_s8(p, b);
    return vaddlvq_s8(b);
}
static inline float32x4_t v16_part_scale2(float32x4_t p, float32x4_t t)
{
    const int32x4_t k = vsubq_s32(vreinterpretq_s32_f32(t), vdupq_n_s32(0x4b400000));
    const int32x4_t half = vshrq_n_s32(k, 1), bias = vdupq_n_s32(127);
    const int32x4_t a = vshlq_n_s32(vaddq_s32(half, bias), 23);
    const int32x4_t b = vshlq_n_s32(vaddq_s32(vsubq_s32(k, half), bias), 23);
    return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(a)), vreinterpretq_f32_s32(b));
}
static inline struct v16 v16_scale2(struct v16 p, struct v16 t)
{
    V16_R(v16_part_scale2(p.r[i], t.r[i]));
}
static inline struct v16 v16_split2(struct v16 x, struct v16 *e)
{
    struct v16 m;
    for (int i = 0; i < 4; i++) {
        const int32x4_t bits = vreinterpretq_s32_f32(x.r[i]);
        const int32x4_t k = vshrq_n_s32(vsubq_s32(bits, vdupq_n_s32(0x3f3504f3)), 23);
        e->r[i] = vcvtq_f32_s32(k);
        m.r[i] = vreinterpretq_f32_s32(vsubq_s32(bits, vshlq_n_s32(k, 23)));
    }
    return m;
}
static inline float v16_sum(struct v16 a)
{
    float32x4_t c = vaddq_f32(vaddq_f32(a.r[0], a.r[2]), vaddq_f32(a.r[1], a.r[3]));
    const float32x2_t d = vadd_f32(vget_low_f32(c), vget_high_f32(c));
    return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}
static inline void v16_sum4(struct v16 a, struct v16 b, struct v16 c, struct v16 d, float out[4])
{
    out[0] = v16_sum(a), out[1] = v16_sum(b), out[2] = v16_sum(c), out[3] = v16_sum(d);
}
static inline float v16_top(struct v16 a)
{
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.r[0], a.r[1]), vmaxq_f32(a.r[2], a.r[3])));
}

#else

struct v16 {
    float f[V16];
};
#define V16_EACH(expr)                                                                             \
    struct v16 y;                                                                                  \
    for (int i = 0; i < V16; i++)                                                                  \
        y.f[i] = (expr);                                                                           \
    return y

static inline struct v16 v16_set1(float x)
{
    V16_EACH(x);
}
static inline struct v16 v16_load(const float *p)
{
    V16_EACH(p[i]);
}
static inline void v16_store(float *p, struct v16 a)
{
    memcpy(p, a.f, sizeof a.f);
}
static inline struct v16 v16_load_n(const float *p, int64_t n)
{
    V16_EACH(i < n ? p[i] : 0);
}
static inline void v16_store_n(float *p, struct v16 a, int64_t n)
{
    memcpy(p, a.f, (size_t)n * sizeof *p);
}
static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
    V16_EACH(a.f[i] + b.f[i]);
}
static inline struct v16 v16_sub(struct v16 a, struct v16 b)
{
    V16_EACH(a.f[i] - b.f[i]);
}
static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
    V16_EACH(a.f[i] * b.f[i]);
}
static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
    V16_EACH(a.f[i] / b.f[i]);
}
static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
    V16_EACH(fmaf(a.f[i], b.f[i], c.f[i]));
}
static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
    V16_EACH(a.f[i] > b.f[i] ? a.f[i] : b.f[i]);
}
static inline struct v16 v16_min(struct v16 a, struct v16 b)
{
    V16_EACH(a.f[i] < b.f[i] ? a.f[i] : b.f[i]);
}
static inline struct v16 v16_abs(struct v16 a)
{
    V16_EACH(fabsf(a.f[i]));
}
static inline struct v16 v16_if_lt(struct v16 a, struct v16 b, struct v16 x, struct v16 z)
{
    V16_EACH(a.f[i] < b.f[i] ? x.f[i] : z.f[i]);
}
static inline struct v16 v16_if_bit(uint32_t bits, struct v16 x, struct v16 z)
{
    V16_EACH(bits >> i & 1 ? x.f[i] : z.f[i]);
}
static inline struct v16 v16_evens(struct v16 a)
{
    V16_EACH(a.f[i & ~1]);
}
static inline struct v16 v16_odds(struct v16 a)
{
    V16_EACH(a.f[i | 1]);
}
static inline uint32_t v16_lt_bits(struct v16 a, struct v16 b)
{
    uint32_t bits = 0;
    for (int i = 0; i < V16; i++)
        bits |= (uint32_t)(a.f[i] < b.f[i]) << i;
    return bits;
}
static inline uint32_t v16_nan_bits(struct v16 a)
{
    uint32_t bits = 0;
    for (int i = 0; i < V16; i++)
        bits |= (uint32_t)(a.f[i] != a.f[i]) << i;
    return bits;
}
static inline struct v16 v16_load_f16(const uint16_t *p)
{
    V16_EACH(f16_to_f32(p[i]));
}
static inline void v16_store_f16(uint16_t *p, struct v16 a)
{
    for (int i = 0; i < V16; i++)
        p[i] = f32_to_f16(a.f[i]);
}
static inline struct v16 v16_load_bf16(const uint16_t *p)
{
    V16_EACH(bf16_to_f32(p[i]));
}
static inline struct v16 v16_load_q4(const uint8_t *p, int shift)
{
    V16_EACH((float)((p[i] >> shift & 15) - 8));
}
static inline struct v16 v16_load_i8(const int8_t *p)
{
    V16_EACH((float)p[i]);
}
static inline int v16_store_i8(int8_t *p, struct v16 a)
{
    int sum = 0;
    /* adding 1.5 * 2^23 rounds to the nearest integer, ties to even */
    for (int i = 0; i < V16; i++) {
        p[i] = (int8_t)(int32_t)(f32_bits(a.f[i] + 0x1.8p23f) - 0x4b400000u);
        sum += p[i];
    }
    return sum;
}
static inline float v16_pow2(int32_t k)
{
    return f32_from_bits((uint32_t)(k + 127) << 23);
}
static inline float v16_lane_scale2(float p, float t)
{
    int32_t k = (int32_t)(f32_bits(t) - 0x4b400000u), half = k >> 1;
    return p * v16_pow2(half) * v16_pow2(k - half);
}
static inline struct v16 v16_scale2(struct v16 p, struct v16 t)
{
    V16_EACH(v16_lane_scale2(p.f[i], t.f[i]));
}
static inline struct v16 v16_split2(struct v16 x, struct v16 *e)
{
    struct v16 m;
    for (int i = 0; i < V16; i++) {
        int32_t k = (int32_t)(f32_bits(x.f[i]) - 0x3f3504f3u) >> 23;
        e->f[i] = (float)k;
        m.f[i] = f32_from_bits(f32_bits(x.f[i]) - ((uint32_t)k << 23));
    }
    return m;
}
static inline float v16_sum(struct v16 a)
{
    for (int step = V16 / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            a.f[i] += a.f[i + step];
    return a.f[0];
}
static inline void v16_sum4(struct v16 a, struct v16 b, struct v16 c, struct v16 d, float out[4])
{
    out[0] = v16_sum(a);
    out[1] = v16_sum(b);
    out[2] = v16_sum(c);
    out[3] = v16_sum(d);
}
static inline float v16_top(struct v16 a) /* the largest lane; none is NaN */
{
    float top = a.f[0];
    for (int i = 1; i < V16; i++)
        top = a.f[i] > top ? a.f[i] : top;
    return top;
}
#undef V16_EACH
#endif

#if !defined(__AVX2__)
static inline struct v16 v16_set1_f16(uint16_t h)
{
    return v16_set1(f16_to_f32(h));
}
#endif

static inline struct v16 v16_zero(void)
{
    return v16_set1(0);
}

#endif
