/*
 * vocab: the log of the sum of exponentials of a row of logits. The row is cut into chunks of 4096,
 * counted from 0; a block of 256 threads takes a chunk. Each chunk gives its largest logit and its
 * sum of exponentials. The cut, and therefore every bit, depends on n_vocab alone. Used by logprob
 * and sample.
 */
#ifndef MAS_VOCAB_CUH
#define MAS_VOCAB_CUH

#include "ctx.cuh"
#include "real.cuh"
#include "row4.cuh"

namespace CU_NS
{

static const int VOCAB_THREADS = 256;
/* quads of a thread; quad k begins at element 4 (threads k + thread) */
static const int VOCAB_QUADS = 4;
static const int VOCAB_CHUNK = 4 * VOCAB_THREADS * VOCAB_QUADS;
static_assert(VOCAB_CHUNK == SCRATCH_VOCAB_CHUNK, "logits of a chunk");

static inline int vocab_chunks(int64_t n_vocab)
{
    return (int)((n_vocab + VOCAB_CHUNK - 1) / VOCAB_CHUNK);
}

struct vocab_part { /* of a chunk */
    float max;      /* -inf when all logits are */
    float sum;      /* of e^(x - max); NaN when a logit is NaN or +inf */
};
static_assert(sizeof(vocab_part) == SCRATCH_VOCAB_PART, "a part of a chunk");

/* The first element of this thread's quad k in a chunk; >= n: the quad is empty. */
__device__ __forceinline__ int64_t vocab_at(int chunk, int k)
{
    return (int64_t)chunk * VOCAB_CHUNK + 4 * (VOCAB_THREADS * k + (int)threadIdx.x);
}

/* This thread's elements of a chunk of x (n); -inf after the end. */
__device__ __forceinline__ void vocab_load(const float *x, int64_t n, bool wide, int chunk,
                                           float4 (&v)[VOCAB_QUADS])
{
#pragma unroll
    for (int k = 0; k < VOCAB_QUADS; k++) {
        const int64_t i = vocab_at(chunk, k);
        const float none = -REAL_INF;
        v[k] = i < n ? row4_load(x, i, n, wide, none) : make_float4(none, none, none, none);
    }
}

__device__ __forceinline__ bool vocab_nan(const float4 &v)
{
    return v.x != v.x || v.y != v.y || v.z != v.z || v.w != v.w;
}

/* The chunk's part, in every thread. All threads call it; part is the block's shared memory. */
__device__ __forceinline__ vocab_part vocab_reduce(const float4 (&v)[VOCAB_QUADS], float *part)
{
    float top = -REAL_INF, sum = 0;
#pragma unroll
    for (int k = 0; k < VOCAB_QUADS; k++)
        top = fmaxf(fmaxf(fmaxf(top, v[k].x), fmaxf(v[k].y, v[k].z)), v[k].w);
    vocab_part r;
    r.max = block_max<VOCAB_THREADS>(top, part);
    const float base = r.max == -REAL_INF ? 0 : r.max;
#pragma unroll
    for (int k = 0; k < VOCAB_QUADS; k++)
        sum += (real_exp(v[k].x - base) + real_exp(v[k].y - base)) +
               (real_exp(v[k].z - base) + real_exp(v[k].w - base));
    r.sum = block_sum<VOCAB_THREADS>(sum, part);
    return r;
}

/* The row's largest logit and the log of its sum of e^(x - max), from its parts (n). Every lane of
 * the calling warp gets both. Both are NaN when a logit is NaN or the largest is infinite. */
__device__ __forceinline__ float2 vocab_log_sum(const vocab_part *part, int n)
{
    const int lane = (int)threadIdx.x % 32;
    float top = -REAL_INF, sum = 0;
    for (int i = lane; i < n; i += 32)
        top = fmaxf(top, part[i].max);
    top = warp_max(top);
    for (int i = lane; i < n; i += 32)
        sum = fmaf(part[i].sum, real_exp(part[i].max - top), sum);
    sum = warp_sum(sum);
    const bool fine = fabsf(top) < REAL_INF && sum < REAL_INF; /* false for a NaN */
    return fine ? make_float2(top, real_log(sum)) : make_float2(REAL_NAN, REAL_NAN);
}

/* x - max - log_sum. The rounding error of the first difference is added back. */
__device__ __forceinline__ float vocab_logprob(float x, float2 log_sum)
{
    const float d = x - log_sum.x, b = d - x;
    const float lost = (x - (d - b)) + (-log_sum.x - b);
    return fabsf(x) < REAL_INF ? (d - log_sum.y) + lost : x + log_sum.x; /* -inf, NaN */
}

} // namespace CU_NS

#endif
