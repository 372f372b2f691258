/*
 * rope: turns pair i of every head of q and k by the angle pos * inv_freq[i], in place.
 *
 *   q (n_row, n_head, head_dim), k (n_row, n_kv_head, head_dim) f32; pos (n_row);
 *   inv_freq (n_rot / 2)
 *
 * Bytes: 8 per turned element of q and k, read and written once. Floor: those bytes at the memory's
 * bandwidth: 512 rows of 32 + 8 heads of 128 are 21 MB, 6 us at 3.3 TB/s. A few kFLOP a row.
 *
 * Variants
 *   row    a block has one row and a run of heads. A thread takes one pair, finds its sine and
 *          cosine once and turns the pair in every head of the run. Neighbouring threads have
 *          neighbouring pairs: 8-byte accesses for adjacent pairs, two 4-byte ones a warp wide for
 *          halves. Not measured.
 *
 * Numerics: rope.cuh.
 */
#include "ctx.cuh"
#include "rope.cuh"

namespace CU_NS
{

static const int ROPE_PAIRS = 32; /* pairs of a block: a warp */
static const int ROPE_WARPS = 4;  /* each takes every fourth head of the run */
static const int ROPE_HEADS = 16; /* heads of a run, enough to pay for the sine and cosine */

struct rope_call {
    float *q, *k;
    const int32_t *pos;
    const float *inv_freq;
    int n_head, n_kv_head, head_dim, half;
    int adjacent;
};

__global__ void __launch_bounds__(ROPE_PAIRS *ROPE_WARPS) k_rope_row(const rope_call a)
{
    const int64_t row = blockIdx.x;
    const int i = blockIdx.y * ROPE_PAIRS + threadIdx.x, first = blockIdx.z * ROPE_HEADS;
    if (i >= a.half)
        return;
    const float2 turn = rope_angle(a.pos[row], a.inv_freq[i]);
    const int at = a.adjacent ? 2 * i : i, apart = a.adjacent ? 1 : a.half;
    const int n = min(a.n_head + a.n_kv_head, first + ROPE_HEADS);
    for (int h = first + threadIdx.y; h < n; h += ROPE_WARPS) {
        float *x = h < a.n_head ? a.q + (row * a.n_head + h) * a.head_dim
                                : a.k + (row * a.n_kv_head + h - a.n_head) * a.head_dim;
        rope_turn(x + at, x + at + apart, turn);
    }
}

int cuda_rope_row(struct cuda_ctx *, cudaStream_t s, const struct rope_args *a, struct err *e)
{
    const rope_call call = {a->q,        a->k,         a->pos,
                            a->inv_freq, a->n_head,    a->n_kv_head,
                            a->head_dim, a->n_rot / 2, a->pairs == ROPE_ADJACENT};
    const int heads = a->n_head + a->n_kv_head;
    const dim3 grid((unsigned)a->n_row, (unsigned)((call.half + ROPE_PAIRS - 1) / ROPE_PAIRS),
                    (unsigned)((heads + ROPE_HEADS - 1) / ROPE_HEADS));
    LAUNCH(k_rope_row, grid, dim3(ROPE_PAIRS, ROPE_WARPS), 0, s, call);
    CU_LAUNCHED(e, "rope_row");
    return 0;
}

} // namespace CU_NS
