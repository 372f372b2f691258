/*
 * rope: the turning of a pair, of kv_write_rope.cu.
 *
 * Numerics: an f32 product pos * inv_freq would be off by 0.004 rad at position 100,000, and
 * doubles are slow on most GPUs. So the angle is counted in turns, as a 64-bit fraction: step =
 * inv_freq / 2 pi mod 1. pos * step mod 2^64 is exact. The angle is right to 2 pi 2^-31 rad at any
 * position. Sine and cosine are within 1e-7. An inv_freq that is no number gives NaN.
 */
#ifndef MAS_ROPE_CUH
#define MAS_ROPE_CUH

#include "real.cuh"

namespace CU_NS
{

/* 1 / (2 pi) turns a radian, as a fraction of 2^64 */
static constexpr uint64_t ROPE_TURN = 0x28be60db9391054aull;

/* inv_freq[i] in turns, as a fraction of 2^64, mod 1 */
__device__ __forceinline__ uint64_t rope_step(float inv_freq)
{
    int shift;
    uint32_t m = real_split(fabsf(inv_freq), &shift);
    uint64_t step = real_mul_shift(ROPE_TURN, m, shift);
    return inv_freq < 0 ? 0 - step : step;
}

/* Cosine and sine of pos * inv_freq. */
__device__ __forceinline__ float2 rope_angle(int32_t pos, float inv_freq)
{
    float c, s;
    real_sincos((uint64_t)(uint32_t)pos * rope_step(inv_freq), &s, &c);
    if (!(fabsf(inv_freq) < REAL_INF))
        c = s = REAL_NAN;
    return make_float2(c, s);
}

/* Turns a pair by the angle with this cosine and sine. */
__device__ __forceinline__ void rope_turn(float *p, float *q, float2 turn)
{
    float u = *p, v = *q;
    *p = fmaf(u, turn.x, -f_mul(v, turn.y));
    *q = fmaf(u, turn.y, f_mul(v, turn.x));
}

} // namespace CU_NS

#endif
