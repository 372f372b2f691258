/*
 * add: y[i] += x[i].
 *
 *   x, y (n_row, n) f32, taken as one run of n_row * n elements
 *
 * Bytes: 12 an element; 512 rows of 4096 are 25 MB, 8 us at 3.3 TB/s. The matmul's epilogue does
 * the same without the round trip.
 *
 * Variants
 *   flat   four neighbouring elements a thread: 16-byte accesses, coalesced. Not measured.
 *
 * Numerics: one rounding an element.
 */
#include "ctx.cuh"
#include "row4.cuh"

namespace CU_NS
{

static const int ADD_THREADS = 256;

struct add_call {
    const float *x;
    float *y;
    int64_t n;
    bool wide;
};

__global__ void __launch_bounds__(ADD_THREADS) k_add_flat(const add_call a)
{
    const int64_t i = 4 * ((int64_t)blockIdx.x * ADD_THREADS + threadIdx.x);
    if (i >= a.n)
        return;
    const bool wide = a.wide && i + 4 <= a.n;
    float4 x = row4_load(a.x, i, a.n, wide, 0), y = row4_load(a.y, i, a.n, wide, 0);
    y.x += x.x;
    y.y += x.y;
    y.z += x.z;
    y.w += x.w;
    row4_store(a.y, i, a.n, wide, y);
}

int cuda_add_flat(struct cuda_ctx *, cudaStream_t s, const struct add_args *a, struct err *e)
{
    const int64_t n = a->n_row * a->n;
    const add_call call = {a->x, a->y, n, row4_wide(a->x, 4) && row4_wide(a->y, 4)};
    LAUNCH(k_add_flat, dim3(row4_blocks(n, ADD_THREADS)), dim3(ADD_THREADS), 0, s, call);
    CU_LAUNCHED(e, "add_flat");
    return 0;
}

} // namespace CU_NS
