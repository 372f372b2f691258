/*
 * rmsnorm: y[r][i] = x[r][i] / sqrt(mean_i(x[r][i]^2) + eps) * w[i]. In place allowed.
 *
 *   x, y (n_row, n) f32; w (n) f32
 *
 * Bytes: 8 n a row and w once; x is read twice, the second time from cache. A decode row of 4096 is
 * 32 KiB: the launch costs more than the copy. 512 rows are 17 MB, 5 us at 3.3 TB/s.
 *
 * Variants
 *   block  one block a row, 16 bytes a thread and access where rows are 16-byte aligned. Not
 * measured.
 *
 * Numerics: squares are added in f32: a thread adds elements 4t .. 4t + 3, then the four that lie 4
 * * threads further on; the threads' sums are added in a tree. The order depends on n alone. Root
 * and division are correctly rounded.
 */
#include "ctx.cuh"
#include "real.cuh"
#include "row4.cuh"

namespace CU_NS
{

static const int RMSNORM_THREADS = 256;

struct rmsnorm_call {
    const float *x, *w;
    float *y;
    int64_t n;
    float eps;
    bool wide; /* rows of x, w and y are 16-byte aligned */
};

__global__ void __launch_bounds__(RMSNORM_THREADS) k_rmsnorm_block(const rmsnorm_call a)
{
    SHARED_ARRAY(float, part, [RMSNORM_THREADS / 32]);
    const float *x = a.x + blockIdx.x * a.n;
    float *y = a.y + blockIdx.x * a.n, sum = 0;
    for (int64_t i = 4 * (int)threadIdx.x; i < a.n; i += 4 * RMSNORM_THREADS) {
        float4 v = row4_load(x, i, a.n, a.wide, 0);
        sum = fmaf(v.x, v.x, sum);
        sum = fmaf(v.y, v.y, sum);
        sum = fmaf(v.z, v.z, sum);
        sum = fmaf(v.w, v.w, sum);
    }
    sum = block_sum<RMSNORM_THREADS>(sum, part);
    const float scale = 1 / sqrtf(sum / (float)a.n + a.eps);
    for (int64_t i = 4 * (int)threadIdx.x; i < a.n; i += 4 * RMSNORM_THREADS) {
        float4 v = row4_load(x, i, a.n, a.wide, 0), w = row4_load(a.w, i, a.n, a.wide, 0);
        v.x = f_mul(f_mul(v.x, scale), w.x);
        v.y = f_mul(f_mul(v.y, scale), w.y);
        v.z = f_mul(f_mul(v.z, scale), w.z);
        v.w = f_mul(f_mul(v.w, scale), w.w);
        row4_store(y, i, a.n, a.wide, v);
    }
}

int cuda_rmsnorm_block(struct cuda_ctx *, cudaStream_t s, const struct rmsnorm_args *a,
                       struct err *e)
{
    const bool wide = row4_wide(a->x, a->n) && row4_wide(a->w, a->n) && row4_wide(a->y, a->n);
    const rmsnorm_call call = {a->x, a->w, a->y, a->n, a->eps, wide};
    LAUNCH(k_rmsnorm_block, dim3((unsigned)a->n_row), dim3(RMSNORM_THREADS), 0, s, call);
    CU_LAUNCHED(e, "rmsnorm_block");
    return 0;
}

} // namespace CU_NS
