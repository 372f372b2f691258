/*
 * norm: the factor of RMSNorm, for the kernels that normalise a row: 1 / sqrt(mean(x^2) + eps).
 *
 * Numerics: squares are added in f32. A thread adds elements 4t .. 4t + 3, then the four at 4 *
 * NORM_THREADS later, and so on. A tree adds the threads' sums. The order depends on n alone. Root
 * and division are correctly rounded.
 */
#ifndef MAS_NORM_CUH
#define MAS_NORM_CUH

#include "ctx.cuh"
#include "real.cuh"
#include "row4.cuh"

namespace CU_NS
{

static constexpr int NORM_THREADS = 256;

/* All threads of a block call it and get the same value. x (n); part: shared, NORM_THREADS / 32;
 * wide: row4_wide(x, n). */
__device__ __forceinline__ float norm_factor(const float *x, int64_t n, bool wide, float eps,
                                             float *part)
{
    float sum = 0;
#pragma unroll 4
    for (int64_t i = 4 * (int)threadIdx.x; i < n; i += 4 * NORM_THREADS) {
        float4 v = row4_load(x, i, n, wide, 0);
        sum = fmaf(v.x, v.x, sum);
        sum = fmaf(v.y, v.y, sum);
        sum = fmaf(v.z, v.z, sum);
        sum = fmaf(v.w, v.w, sum);
    }
    sum = block_sum<NORM_THREADS>(sum, part);
    return 1 / sqrtf(sum / (float)n + eps);
}

/* Element i of the result. */
__device__ __forceinline__ float norm_apply(float x, float factor, float w)
{
    return f_mul(f_mul(x, factor), w);
}

/* The op itself (rmsnorm.cu), for ops that norm their input. */
int cuda_rmsnorm_block(struct cuda_ctx *cx, cudaStream_t s, const struct rmsnorm_args *a,
                       struct err *e);

} // namespace CU_NS

#endif
