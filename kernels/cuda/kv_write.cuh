/*
 * kv_write: the encoding of rows into the cache, shared by kv_write.cu and kv_write_rope.cu. Same
 * bits as fmt_<x>_encode.
 */
#ifndef MAS_KV_WRITE_CUH
#define MAS_KV_WRITE_CUH

#include "element.cuh"
#include "kv_page.cuh"
#include "real.cuh"

namespace CU_NS
{

/* A quarter of the smallest f16: rounds to a scale of zero. */
static constexpr float KV_TINY = 0x1p-26f;

/* ---- floats --------------------------------------------------------------------------------- */

/* Clamps magnitudes beyond the format's range, as the encoders do. */
__device__ __forceinline__ float kv_write_clamp(float x, float most)
{
    return x > most ? most : x < -most ? -most : x;
}

__device__ __forceinline__ __half kv_write_f16(float x)
{
    return __float2half_rn(kv_write_clamp(x, FMT_F16_MAX));
}

__device__ __forceinline__ __nv_bfloat16 kv_write_bf16(float x)
{
    return __float2bfloat16_rn(kv_write_clamp(x, 0x1.fep127f)); /* 0x7f7f */
}

/* Elements N i .. N i + N - 1 of a row. */
template <enum fmt FMT, int N>
__device__ __forceinline__ void kv_write_elements(unsigned char *y, const float *x, int i)
{
    if constexpr (N == 1) {
        if constexpr (FMT == FMT_F32)
            reinterpret_cast<float *>(y)[i] = x[i];
        else if constexpr (FMT == FMT_F16)
            reinterpret_cast<__half *>(y)[i] = kv_write_f16(x[i]);
        else
            reinterpret_cast<__nv_bfloat16 *>(y)[i] = kv_write_bf16(x[i]);
    } else {
        const float2 v = reinterpret_cast<const float2 *>(x)[i];
        if constexpr (FMT == FMT_F32)
            reinterpret_cast<float2 *>(y)[i] = v;
        else if constexpr (FMT == FMT_F16)
            reinterpret_cast<__half2 *>(y)[i] =
                __halves2half2(kv_write_f16(v.x), kv_write_f16(v.y));
        else
            reinterpret_cast<__nv_bfloat162 *>(y)[i] =
                __halves2bfloat162(kv_write_bf16(v.x), kv_write_bf16(v.y));
    }
}

/* ---- shared by the block formats (quant_fit.h) ---------------------------------------------- */

/* The integer nearest to t (ties to even), clamped to [low, high]: as a float, and as an
 * integer. */
__device__ __forceinline__ float kv_fit_round(float t, float low, float high)
{
    t = t < low ? low : t;
    t = t > high ? high : t;
    return (t + 0x1.8p23f) - 0x1.8p23f;
}

__device__ __forceinline__ int kv_fit_quant(float t, float low, float high)
{
    t = t < low ? low : t;
    t = t > high ? high : t;
    return (int)(__float_as_uint(t + 0x1.8p23f) - 0x4b400000u);
}

/* The f16 nearest to most / steps, or the next larger one if rounding down would clip more than
 * half a step. */
__device__ __forceinline__ uint16_t kv_fit_scale(float most, int steps)
{
    float want = most / (float)steps;
    if (want >= FMT_F16_MAX)
        return 0x7bff;
    if (most < KV_TINY)
        return 0;
    const uint16_t h = vec_pack_half(want);
    const bool clips = most > f_mul(vec_half(h), (float)steps + 0.5f);
    return clips && h < 0x7bff ? (uint16_t)(h + 1) : h;
}

/* A block by a warp, one element a lane. */
__device__ __forceinline__ void kv_write_block_q8_0(fmt_q8_0 *b, float x, int lane)
{
    const uint16_t scale = kv_fit_scale(warp_max(fabsf(x)), 127);
    const float d = vec_half(scale), inv = d > 0 ? 1 / d : 0;
    b->q[lane] = (int8_t)kv_fit_quant(f_mul(x, inv), -127, 127);
    if (lane == 0)
        b->d = scale;
}

/* ---- Q4_0: quant_fit_symmetric for one block, sum by sum ------------------------------------ */

struct kv_fit {
    float inv, err, step;
};

/* One trial: the quants at t.inv, then the least-squares scale of these quants. */
__device__ __forceinline__ void kv_fit_try(const float (&x)[32], const float (&w)[32], kv_fit &t)
{
    float qq = 0, pq = 0, pp = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        float s = f_mul(x[i], t.inv), q = kv_fit_round(s, -8, 7), p = q - s;
        float wq = f_mul(w[i], q), wp = f_mul(w[i], p);
        qq += f_mul(wq, q);
        pq += f_mul(wp, q);
        pp += f_mul(wp, p);
    }
    float slope = qq > 0 ? pq / qq : 0, unit = t.inv != 0 ? 1 / t.inv : 0;
    t.step = f_mul(1 - slope, unit);
    t.err = f_mul(f_mul(pp - f_mul(slope, pq), unit), unit);
}

__device__ __forceinline__ float kv_fit_step(const float (&x)[32])
{
    const int trials = 15, polish = 2;
    float w[32], most = 0, square = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
        square += f_mul(x[i], x[i]);
    }
    const float base = fabsf(most) >= KV_TINY ? -1 / most : 0;
    const float rms = square > 0 ? 1 / sqrtf(square / 32) : 0;
#pragma unroll
    for (int i = 0; i < 32; i++)
        w[i] = 1 + f_mul(fabsf(x[i]), rms);
    kv_fit best = {0, 3.402823466e38f, 0}, t;
    for (int k = 0; k < trials + polish; k++) {
        float again = k >= trials && best.step != 0 ? 1 / best.step : 0;
        t.inv = k < trials ? f_mul(base, 8 + f_mul(0.125f, (float)(k - trials / 2))) : again;
        kv_fit_try(x, w, t);
        if (t.err < best.err)
            best = t;
    }
    return best.step;
}

/* A block by a thread. from (32) */
__device__ __forceinline__ void kv_write_block_q4_0(fmt_q4_0 *b, const float *from)
{
    const float limit = FMT_F16_MAX * 8;
    float x[32];
#pragma unroll
    for (int j = 0; j < 32; j++)
        x[j] = kv_write_clamp(from[j], limit);
    const float step = kv_fit_step(x);
    const uint16_t d = kv_fit_scale(fabsf(step), 1);
    const float size = vec_half(d), inv = size > 0 ? 1 / size : 0, way = step < 0 ? -inv : inv;
    b->d = step < 0 ? d | 0x8000 : d;
#pragma unroll
    for (int j = 0; j < 16; j++) {
        /* the unclamped elements */
        int low = kv_fit_quant(f_mul(from[j], way), -8, 7) + 8;
        int high = kv_fit_quant(f_mul(from[j + 16], way), -8, 7) + 8;
        b->q[j] = (uint8_t)(low | high << 4);
    }
}

} // namespace CU_NS

#endif
