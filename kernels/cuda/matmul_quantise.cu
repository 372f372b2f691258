/*
 * matmul, its activations in 8 bits:  q = round(x * 127 / amax), d = amax / 127 per block
 *
 * Shapes: x (n_row, n_in) f32, out (n_row, ceil(n_in / 256)) mm_x; blocks of 256 or 32; w (n_in)
 * f32 of a norm before it. Moves n_row * (4 n_in + 288 ceil(n_in / 256)) bytes: 5.1 a number. One
 * row of 4096 is 21 KB, so the launch bounds a decode step.
 *
 * Kernels
 *   quantise       a warp makes a chunk: 8 elements a lane, two 16-byte loads, one 8-byte store.
 *                  Zeros fill up a short last block, so that no reader needs to know its length
 *   norm_quantise  RMSNorm and quantise in one launch instead of two: a block has a row, reads it
 *                  once for its mean square and once more, from the cache, to quantise it
 *
 * Numerics: norm.cuh, matmul.cuh; exact but for d and the products x * (127 / amax), both rounded
 * once.
 */
#include "matmul.cuh"
#include "norm.cuh"

namespace CU_NS
{

static constexpr int MQ_WARPS = 8;

struct mq_args {
    const float *x;   /* (n_row, n_in) */
    const float *w;   /* (n_in), norm_quantise only */
    struct mm_x *out; /* (n_row, n_chunk) */
    int64_t n_in;
    int n_row, n_chunk;
    float eps;
};

static constexpr float MQ_TINY = 1e-30f; /* below it 127 / amax would overflow: counts as zero */

/* Eight bytes of one word pair: the lane's quants. */
__device__ __forceinline__ uint2 mq_pack(const float (&v)[8], float scale)
{
    uint32_t w[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i / 4] |= ((uint32_t)__float2int_rn(__fmul_rn(v[i], scale)) & 255u) << 8 * (i % 4);
    return make_uint2(w[0], w[1]);
}

/* Elements i .. i + 7 of a row, zeros after its end. n_in is a multiple of 32, so all eight are
 * zeros, or none. */
__device__ __forceinline__ void mq_load(const float *x, int64_t i, int64_t n_in, float (&v)[8])
{
    float4 v0 = make_float4(0, 0, 0, 0), v1 = v0;
    if (i < n_in) {
        const float4 *p = reinterpret_cast<const float4 *>(x + i);
        v0 = p[0], v1 = p[1];
    }
    v[0] = v0.x, v[1] = v0.y, v[2] = v0.z, v[3] = v0.w;
    v[4] = v1.x, v[5] = v1.y, v[6] = v1.z, v[7] = v1.w;
}

/* A warp's chunk: v are elements 8 lane .. 8 lane + 7 of it. */
template <int BLOCK>
__device__ __forceinline__ void mq_chunk(const float (&v)[8], int lane, struct mm_x *out)
{
    /* The largest magnitude, on the bits: infinity and NaNs compare above every number. */
    uint32_t top = 0;
#pragma unroll
    for (int k = 0; k < 8; k++)
        top = max(top, __float_as_uint(v[k]) & 0x7fffffffu);
#pragma unroll
    for (int bit = 1; bit < BLOCK / 8; bit *= 2)
        top = max(top, __shfl_xor_sync(0xffffffffu, top, bit));
    const bool bad = top >= 0x7f800000u;
    const float amax = bad ? 0.0f : __uint_as_float(top);
    const bool zero = !(amax >= MQ_TINY);
    const uint2 q = zero ? make_uint2(0, 0) : mq_pack(v, 127.0f / amax);
    const float d = bad ? __uint_as_float(0x7fc00000u) : zero ? 0.0f : amax / 127.0f;

    *reinterpret_cast<uint2 *>(out->q + 8 * lane) = q;
    if constexpr (BLOCK == 32) {
        if (lane % 4 == 0)
            out->d32[lane / 4] = d;
    } else {
        int first = __dp4a((int)q.x, 0x01010101, __dp4a((int)q.y, 0x01010101, 0));
        first += __shfl_xor_sync(0xffffffffu, first, 1);
        const int sum = first + __shfl_xor_sync(0xffffffffu, first, 2);
        const int later = __shfl_xor_sync(0xffffffffu, first, 16); /* of the group 4 later */
        if (lane % 4 == 0) {
            out->k.lo[lane / 4] = (int8_t)(sum & 63);
            out->k.hi[lane / 4] = (int8_t)(sum >> 6);         /* |sum| <= 32 * 127: -64 .. 63 */
            out->k.first_hi[lane / 4] = (int8_t)(first >> 4); /* |first| <= 16 * 127 */
            if (lane < 16)
                out->k.first_lo[lane / 4] = (uint8_t)((first & 15) | (later & 15) << 4);
        }
        if (lane == 0)
            out->k.d = d;
    }
}

template <int BLOCK>
__global__ void __launch_bounds__(MQ_WARPS * 32) k_matmul_quantise(const struct mq_args a)
{
    const int lane = (int)threadIdx.x % 32;
    const int64_t at = (int64_t)blockIdx.x * MQ_WARPS + threadIdx.x / 32;
    if (at >= (int64_t)a.n_row * a.n_chunk)
        return; /* the whole warp */
    float v[8];
    mq_load(a.x + at / a.n_chunk * a.n_in, at % a.n_chunk * MM_CHUNK + 8 * lane, a.n_in, v);
    mq_chunk<BLOCK>(v, lane, a.out + at);
}

template <int BLOCK>
__global__ void __launch_bounds__(NORM_THREADS) k_matmul_norm_quantise(const struct mq_args a)
{
    SHARED_ARRAY(float, part, [NORM_THREADS / 32]);
    const int lane = (int)threadIdx.x % 32;
    const float *x = a.x + blockIdx.x * a.n_in;
    const float factor = norm_factor(x, a.n_in, true, a.eps, part);
    for (int c = (int)threadIdx.x / 32; c < a.n_chunk; c += NORM_THREADS / 32) {
        const int64_t i = (int64_t)c * MM_CHUNK + 8 * lane;
        float v[8], w[8];
        mq_load(x, i, a.n_in, v);
        mq_load(a.w, i, a.n_in, w);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = norm_apply(v[k], factor, w[k]);
        mq_chunk<BLOCK>(v, lane, a.out + (int64_t)blockIdx.x * a.n_chunk + c);
    }
}

int mm_launch_quantise(cudaStream_t s, const struct matmul_args *m, int block, struct mm_x *out,
                       struct err *e)
{
    const int n_chunk = (int)((m->n_in + MM_CHUNK - 1) / MM_CHUNK);
    const struct mq_args a = {m->x, m->norm.w, out, m->n_in, m->n_row, n_chunk, m->norm.eps};
    const int64_t blocks = ((int64_t)m->n_row * n_chunk + MQ_WARPS - 1) / MQ_WARPS;
    if (blocks > INT32_MAX)
        FAIL(e, ERR_BUG, "matmul: quantise needs %lld blocks, limit %d", (long long)blocks,
             INT32_MAX);
    const dim3 some((unsigned)blocks), rows((unsigned)m->n_row);
    if (a.w && block == 32)
        LAUNCH((k_matmul_norm_quantise<32>), rows, NORM_THREADS, 0, s, a);
    else if (a.w)
        LAUNCH((k_matmul_norm_quantise<256>), rows, NORM_THREADS, 0, s, a);
    else if (block == 32)
        LAUNCH((k_matmul_quantise<32>), some, MQ_WARPS * 32, 0, s, a);
    else
        LAUNCH((k_matmul_quantise<256>), some, MQ_WARPS * 32, 0, s, a);
    CU_LAUNCHED(e, "matmul_quantise");
    return 0;
}

} // namespace CU_NS
