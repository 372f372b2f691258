/*
 * body_peak: the instructions of matmul at their highest rate, the reference of measured figures.
 * The sums are independent: enough to hide an instruction's latency, and few enough to fit the
 * registers. Nothing is loaded. Each function runs `turns` turns and returns the operations done.
 * *sink keeps the compiler from dropping the sums.
 */
#if defined(__AVX512VNNI__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

enum { PEAK_SUMS = 12 };

static double peak_f32(int64_t turns, float *sink)
{
#if defined(__AVX512VNNI__)
    typedef __m512 sum;
    const sum add = _mm512_set1_ps(*sink), by = _mm512_set1_ps(0.999f);
#define PEAK_STEP(x) _mm512_fmadd_ps(x, by, add)
#elif defined(__AVX2__)
    typedef __m256 sum;
    const sum add = _mm256_set1_ps(*sink), by = _mm256_set1_ps(0.999f);
#define PEAK_STEP(x) _mm256_fmadd_ps(x, by, add)
#elif defined(__ARM_FEATURE_DOTPROD)
    typedef float32x4_t sum;
    const sum add = vdupq_n_f32(*sink), by = vdupq_n_f32(0.999f);
#define PEAK_STEP(x) vfmaq_f32(add, x, by)
#else
    typedef float sum;
    const sum add = *sink, by = 0.999f;
#define PEAK_STEP(x) ((x)*by + add)
#endif
    sum x[PEAK_SUMS];
    float part[sizeof(x) / (sizeof(float))];
    for (int k = 0; k < PEAK_SUMS; k++)
        x[k] = add;
    for (int64_t i = 0; i < turns; i++)
        for (int k = 0; k < PEAK_SUMS; k++)
            x[k] = PEAK_STEP(x[k]);
#undef PEAK_STEP
    memcpy(part, x, sizeof part);
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        *sink += part[k];
    return 2.0 * (double)(sizeof part / sizeof *part) * (double)turns;
}

static double peak_int8(int64_t turns, float *sink)
{
#if defined(__AVX512VNNI__)
    typedef __m512i sum;
    const sum a = _mm512_set1_epi8((char)(int)*sink);
#define PEAK_STEP(x) _mm512_dpbusd_epi32(x, a, x)
#elif defined(__AVXVNNI__)
    typedef __m256i sum;
    const sum a = _mm256_set1_epi8((char)(int)*sink);
#define PEAK_STEP(x) _mm256_dpbusd_avx_epi32(x, a, x)
#elif defined(__AVX2__)
    typedef __m256i sum;
    const sum a = _mm256_set1_epi8((char)(int)*sink), ones = _mm256_set1_epi16(1);
#define PEAK_STEP(x) _mm256_add_epi32(x, _mm256_madd_epi16(_mm256_maddubs_epi16(a, x), ones))
#elif defined(__ARM_FEATURE_DOTPROD)
    typedef int32x4_t sum;
    const int8x16_t a = vdupq_n_s8((int8_t)*sink);
#define PEAK_STEP(x) vdotq_s32(x, a, vreinterpretq_s8_s32(x))
#else
    typedef int32_t sum; /* four products of bytes */
    const int32_t a = (int32_t)*sink;
#define PEAK_STEP(x)                                                                               \
    (int32_t)((uint32_t)(x) + (uint32_t)(a * (int8_t)(x)) + (uint32_t)(a * (int8_t)((x) >> 8)) +   \
              (uint32_t)(a * (int8_t)((x) >> 16)) + (uint32_t)(a * (int8_t)((x) >> 24)))
#endif
    sum x[PEAK_SUMS];
    uint32_t part[sizeof(x) / (sizeof(uint32_t))];
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        part[k] = 0x01020304u + (uint32_t)k;
    memcpy(x, part, sizeof part);
    for (int64_t i = 0; i < turns; i++)
        for (int k = 0; k < PEAK_SUMS; k++)
            x[k] = PEAK_STEP(x[k]);
#undef PEAK_STEP
    memcpy(part, x, sizeof part);
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        *sink += (float)(part[k] & 1);
    return 2.0 * 4 * (double)(sizeof part / sizeof *part) * (double)turns;
}

static double kernel_peak(bool int8, int64_t turns, float *sink)
{
    return int8 ? peak_int8(turns, sink) : peak_f32(turns, sink);
}
