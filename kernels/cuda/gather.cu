/*
 * gather: y[i] = x[row[i]].
 *
 *   x (.., n) f32, row (n_row), y (n_row, n) f32
 *
 * Bytes: 8 n a row; 64 rows of 4096 are 2 MB, under 1 us at 3.3 TB/s: the launch costs more.
 *
 * Variants
 *   rows   a block copies 1024 elements of one row, 16 bytes a thread if rows are aligned.
 *          Not measured.
 */
#include "ctx.cuh"
#include "row4.cuh"

namespace CU_NS
{

static const int GATHER_THREADS = 256;

struct gather_call {
    const float *x;
    const int32_t *row;
    float *y;
    int64_t n;
    bool wide;
};

/* blockIdx.x counts pieces of 4 * GATHER_THREADS elements, row by row. */
__global__ void __launch_bounds__(GATHER_THREADS) k_gather_rows(const gather_call a, int pieces)
{
    const int64_t r = blockIdx.x / pieces;
    const int64_t i = 4 * ((int64_t)(blockIdx.x % pieces) * GATHER_THREADS + threadIdx.x);
    if (i >= a.n)
        return;
    float4 v = row4_load(a.x + a.row[r] * a.n, i, a.n, a.wide, 0);
    row4_store(a.y + r * a.n, i, a.n, a.wide, v);
}

int cuda_gather_rows(struct cuda_ctx *, cudaStream_t s, const struct gather_args *a, struct err *e)
{
    const gather_call call = {a->x, a->row, a->y, a->n,
                              row4_wide(a->x, a->n) && row4_wide(a->y, a->n)};
    const unsigned pieces = row4_blocks(a->n, GATHER_THREADS);
    LAUNCH(k_gather_rows, dim3(pieces * (unsigned)a->n_row), dim3(GATHER_THREADS), 0, s, call,
           (int)pieces);
    CU_LAUNCHED(e, "gather_rows");
    return 0;
}

} // namespace CU_NS
