/*
 * real: f32 arithmetic that rounds the same on a GPU and on the host, operation by operation. The
 * elementary functions repeat those of kernels/cpu/v16.h step by step. So a weight, a gate or a
 * score has the bits of the CPU backend. A compiler may fuse a product into a sum. If that would
 * change a result, the code says f_mul (never fused) or fmaf (always fused).
 */
#ifndef MAS_REAL_CUH
#define MAS_REAL_CUH

#include "cu.cuh"

namespace CU_NS
{

#define REAL_INF __int_as_float(0x7f800000)
#define REAL_NAN __int_as_float(0x7fc00000)

__device__ __forceinline__ float f_mul(float a, float b)
{
    return __fmul_rn(a, b);
}

/* e^x within 1 ulp: 0 below -87.336, infinity above 88.7228, NaN for NaN; e^0 is exactly 1. */
__device__ __forceinline__ float real_exp(float x)
{
    const float lo = -87.336f, hi = 88.722839f, magic = 0x1.8p23f;
    float c = hi < x ? hi : x; /* this order keeps a NaN */
    c = lo > c ? lo : c;
    float t = fmaf(c, 1.44269504f, magic), k = t - magic;
    float r = fmaf(k, -0.693359375f, c);
    r = fmaf(k, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(f_mul(r, r), p, r);
    unsigned n = __float_as_uint(t) - 0x4b400000u; /* k as an integer; anything for a NaN */
    int half = (int)n >> 1, rest = (int)(n - (unsigned)half);
    p = f_mul(f_mul(p + 1, __uint_as_float((unsigned)(half + 127) << 23)),
              __uint_as_float((unsigned)(rest + 127) << 23));
    p = x < lo ? 0.0f : p;
    return hi < x ? REAL_INF : p;
}

/* ln x within 1 ulp, for positive normal x (not checked). */
__device__ __forceinline__ float real_log(float x)
{
    int k =
        (int)(__float_as_uint(x) - 0x3f3504f3u) >> 23; /* x = 2^k m, m in [sqrt(1/2), sqrt(2)) */
    float e = (float)k, f = __uint_as_float(__float_as_uint(x) - ((unsigned)k << 23)) - 1;
    float z = f_mul(f, f), p = 7.0376836292e-2f;
    p = fmaf(p, f, -1.1514610310e-1f);
    p = fmaf(p, f, 1.1676998740e-1f);
    p = fmaf(p, f, -1.2420140846e-1f);
    p = fmaf(p, f, 1.4249322787e-1f);
    p = fmaf(p, f, -1.6668057665e-1f);
    p = fmaf(p, f, 2.0000714765e-1f);
    p = fmaf(p, f, -2.4999993993e-1f);
    p = fmaf(p, f, 3.3333331174e-1f);
    p = f_mul(f_mul(p, f), z);
    p = fmaf(e, -2.12194440e-4f, p);
    p = fmaf(z, -0.5f, p);
    return fmaf(e, 0.693359375f, f + p);
}

/* x / (1 + e^-x) */
__device__ __forceinline__ float real_silu(float x)
{
    return x / (1 + real_exp(-x));
}

/* floor(a * m / 2^shift) mod 2^64, for m < 2^24 and any shift (negative: to the left). */
__device__ __forceinline__ uint64_t real_mul_shift(uint64_t a, uint32_t m, int shift)
{
    uint64_t low = (a & 0xffffffffu) * m, high = (a >> 32) * m + (low >> 32);
    uint64_t p0 = high << 32 | (low & 0xffffffffu), p1 = high >> 32; /* the product, 88 bits */
    if (shift <= 0)
        return shift > -64 ? p0 << -shift : 0;
    if (shift < 64)
        return p1 << (64 - shift) | p0 >> shift;
    return shift < 128 ? p1 >> (shift - 64) : 0;
}

/* x = m * 2^-shift for finite x >= 0, m < 2^24. */
__device__ __forceinline__ uint32_t real_split(float x, int *shift)
{
    uint32_t u = __float_as_uint(x), e = u >> 23 & 0xff, m = u & 0x7fffff;
    *shift = 150 - (int)(e ? e : 1);
    return e ? m | 0x800000 : m;
}

/* Sine and cosine of phase / 2^64 turns, within 1e-7. */
__device__ __forceinline__ void real_sincos(uint64_t phase, float *sine, float *cosine)
{
    unsigned quadrant = (unsigned)((phase + (1ull << 61)) >> 62);
    int64_t rest = (int64_t)(phase - ((uint64_t)quadrant << 62)); /* an eighth of a turn at most */
    float t = f_mul((float)rest, 0x1p-64f);
    float x = fmaf(t, 6.2831855f, f_mul(t, -1.7484555e-7f)); /* 2 pi in two parts */
    float z = f_mul(x, x);
    float s = fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f); /* Cephes' sinf and cosf (S. Moshier) */
    s = fmaf(s, z, -1.6666654611e-1f);
    s = fmaf(f_mul(s, z), x, x);
    float c = fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f);
    c = fmaf(c, z, 4.166664568298827e-2f);
    c = fmaf(f_mul(c, z), z, fmaf(z, -0.5f, 1.0f));
    float a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}

} // namespace CU_NS

#endif
