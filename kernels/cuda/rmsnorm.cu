/*
 * rmsnorm: y[r][i] = x[r][i] / sqrt(mean_i(x[r][i]^2) + eps) * w[i], in place allowed; or
 * y[r][i] += the same, as a product and then a sum.
 *
 *   x, y (n_row, n) f32; w (n) f32
 *
 * Bytes: 8 n a row (12 n for a sum) and w once; x is read twice, the second time from cache. A
 * decode row of 4096 is 32 KiB: the launch costs more than the copy. 512 rows are 17 MB, 5 us at
 * 3.3 TB/s.
 *
 * Variants
 *   block  one block a row, 16 bytes a thread and access if rows are 16-byte aligned.
 *          Not measured.
 *
 * Numerics: norm.cuh.
 */
#include "ctx.cuh"
#include "norm.cuh"

namespace CU_NS
{

struct rmsnorm_call {
    const float *x, *w;
    float *y;
    int64_t n;
    float eps;
    bool add;
    bool wide; /* rows of x, w and y are 16-byte aligned */
};

__global__ void __launch_bounds__(NORM_THREADS) k_rmsnorm_block(const rmsnorm_call a)
{
    SHARED_ARRAY(float, part, [NORM_THREADS / 32]);
    const float *x = a.x + blockIdx.x * a.n;
    float *y = a.y + blockIdx.x * a.n;
    const float factor = norm_factor(x, a.n, a.wide, a.eps, part);
    for (int64_t i = 4 * (int)threadIdx.x; i < a.n; i += 4 * NORM_THREADS) {
        float4 v = row4_load(x, i, a.n, a.wide, 0), w = row4_load(a.w, i, a.n, a.wide, 0);
        v.x = norm_apply(v.x, factor, w.x);
        v.y = norm_apply(v.y, factor, w.y);
        v.z = norm_apply(v.z, factor, w.z);
        v.w = norm_apply(v.w, factor, w.w);
        if (a.add) {
            const float4 u = row4_load(y, i, a.n, a.wide, 0);
            v.x = u.x + v.x;
            v.y = u.y + v.y;
            v.z = u.z + v.z;
            v.w = u.w + v.w;
        }
        row4_store(y, i, a.n, a.wide, v);
    }
}

int cuda_rmsnorm_block(struct cuda_ctx *, cudaStream_t s, const struct rmsnorm_args *a,
                       struct err *e)
{
    const bool wide = row4_wide(a->x, a->n) && row4_wide(a->w, a->n) && row4_wide(a->y, a->n);
    const rmsnorm_call call = {a->x, a->w, a->y, a->n, a->eps, a->add, wide};
    LAUNCH(k_rmsnorm_block, dim3((unsigned)a->n_row), dim3(NORM_THREADS), 0, s, call);
    CU_LAUNCHED(e, "rmsnorm_block");
    return 0;
}

} // namespace CU_NS
