/*
 * kv_write, with rope, in one launch instead of two. q is turned in place. k is turned on its way
 * into the cache. v goes into the cache unchanged.
 *
 *   q (n_row, n_head, head_dim), k, v (n_row, n_kv_head, head_dim) f32; pos, slot (n_row); inv_freq
 *   (n_rot / 2)
 *
 * Bytes: 8 an element of q, 4 an element of k and v, and the bytes of the cache. A decode row of 32
 * + 2 * 8 heads of 128 is 41 KiB: the launch costs more. 448 rows are 20 MB, 6 us at 3.3 TB/s.
 *
 * One variant: a block has one row and a run of heads, of q, then k, then v. It finds the sine and
 * cosine of every pair once. A warp takes a head. q is turned in its place. k and v go through
 * shared memory, from which they are encoded as in kv_write.cu. Not measured.
 *
 * Numerics: those of rope.cuh and kv_write.cuh, in turn; the same bits as the two ops.
 */
#include "kv_write.cuh"
#include "rope.cuh"

namespace CU_NS
{

static constexpr int KR_WARPS = 4, KR_THREADS = 32 * KR_WARPS;
static constexpr int KR_RUN = 8; /* heads of a block, enough to pay for the sines and cosines */

struct kv_rope_call {
    float *q;
    const float *k, *v;
    const int32_t *slot, *pos;
    const float *inv_freq;
    kv_page kv;
    int n_head, half, adjacent;
};

/* All pairs of a head, by a warp. */
__device__ __forceinline__ void kv_rope_turn(const kv_rope_call &a, float *x, const float2 *turn,
                                             int lane)
{
    const int step = a.adjacent ? 2 : 1, apart = a.adjacent ? 1 : a.half;
    for (int i = lane; i < a.half; i += 32)
        rope_turn(x + step * i, x + step * i + apart, turn[i]);
}

/* A row of the cache, by a warp. x (head_dim): shared */
template <enum fmt FMT>
__device__ __forceinline__ void kv_rope_store(unsigned char *y, const float *x, int head_dim,
                                              int lane)
{
    if constexpr (FMT == FMT_Q8_0) {
        for (int b = 0; b < head_dim / 32; b++)
            kv_write_block_q8_0(reinterpret_cast<fmt_q8_0 *>(y) + b, x[32 * b + lane], lane);
    } else if constexpr (FMT == FMT_Q4_0) {
        for (int b = lane; b < head_dim / 32; b += 32)
            kv_write_block_q4_0(reinterpret_cast<fmt_q4_0 *>(y) + b, x + 32 * b);
    } else if (head_dim % 2 == 0) {
        for (int i = lane; i < head_dim / 2; i += 32)
            kv_write_elements<FMT, 2>(y, x, i);
    } else {
        for (int i = lane; i < head_dim; i += 32)
            kv_write_elements<FMT, 1>(y, x, i);
    }
}

template <enum fmt FMT>
__global__ void __launch_bounds__(KR_THREADS) k_kv_write_rope(const kv_rope_call a)
{
    SHARED_ARRAY(float2, turn, [OPS_MAX_HEAD_DIM / 2]);
    SHARED_ARRAY(float, rows, [KR_WARPS][OPS_MAX_HEAD_DIM]);
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, dim = a.kv.head_dim;
    const int64_t row = blockIdx.x;
    const int n_kv = a.kv.n_kv_head, first = (int)blockIdx.y * KR_RUN;
    const int end = min(first + KR_RUN, a.n_head + 2 * n_kv);
    for (int i = (int)threadIdx.x; i < a.half; i += KR_THREADS)
        turn[i] = rope_angle(a.pos[row], a.inv_freq[i]);
    __syncthreads();
    const int slot = a.slot[row], page = slot >> a.kv.shift,
              offset = slot & ((1 << a.kv.shift) - 1);
    float *x = rows[warp];
    for (int h = first + warp; h < end; h += KR_WARPS) {
        if (h < a.n_head) {
            kv_rope_turn(a, a.q + (row * a.n_head + h) * dim, turn, lane);
            continue;
        }
        const bool is_v = h >= a.n_head + n_kv;
        const int head = h - a.n_head - (is_v ? n_kv : 0);
        const float *from = (is_v ? a.v : a.k) + (row * n_kv + head) * dim;
        for (int i = lane; i < dim; i += 32)
            x[i] = from[i];
        __syncwarp();
        if (!is_v)
            kv_rope_turn(a, x, turn, lane);
        __syncwarp();
        kv_rope_store<FMT>((is_v ? a.kv.v : a.kv.k) + kv_page_row(a.kv, page, head, offset), x, dim,
                           lane);
        __syncwarp(); /* before the next head comes into x */
    }
}

bool kv_write_turns(const struct kv_write_args *a, const struct cuda_ctx *)
{
    return a->rope.q && kv_page_known(a->kv->fmt);
}

int cuda_kv_write_rope(struct cuda_ctx *, cudaStream_t s, const struct kv_write_args *a,
                       struct err *e)
{
    kv_rope_call c;
    TRY(kv_page_of("kv_write", a->kv, &c.kv, e));
    c.q = a->rope.q;
    c.k = a->k;
    c.v = a->v;
    c.slot = a->slot;
    c.pos = a->rope.pos;
    c.inv_freq = a->rope.inv_freq;
    c.n_head = a->rope.n_head;
    c.half = a->rope.n_rot / 2;
    c.adjacent = a->rope.pairs == ROPE_ADJACENT;
    const int heads = c.n_head + 2 * a->kv->n_kv_head;
    const dim3 grid((unsigned)a->n_row, (unsigned)((heads + KR_RUN - 1) / KR_RUN)),
        block(KR_THREADS);
    switch (a->kv->fmt) {
    case FMT_F32:
        LAUNCH(k_kv_write_rope<FMT_F32>, grid, block, 0, s, c);
        break;
    case FMT_F16:
        LAUNCH(k_kv_write_rope<FMT_F16>, grid, block, 0, s, c);
        break;
    case FMT_BF16:
        LAUNCH(k_kv_write_rope<FMT_BF16>, grid, block, 0, s, c);
        break;
    case FMT_Q8_0:
        LAUNCH(k_kv_write_rope<FMT_Q8_0>, grid, block, 0, s, c);
        break;
    case FMT_Q4_0:
        LAUNCH(k_kv_write_rope<FMT_Q4_0>, grid, block, 0, s, c);
        break;
    default:
        FAIL(e, ERR_BUG, "kv_write: no kernel for a cache of %s", fmt_info(a->kv->fmt)->name);
    }
    CU_LAUNCHED(e, "kv_write_rope");
    return 0;
}

} // namespace CU_NS
