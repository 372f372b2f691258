/*
 * kv_write: encodes row r of k and v, head by head, into slot[r] of the cache. (With rope:
 * kv_write_rope.cu.)
 *
 *   k, v (n_row, n_kv_head, head_dim) f32; slot (n_row) = page * page_tokens + offset
 *
 * Bytes: 8 read and 2 * bytes-per-element written an element. A decode row of 8 heads of 128 is 8
 * KiB read and 4 KiB of f16 written: the launch costs more. 448 rows are 5.5 MB, 2 us at 3.3 TB/s.
 *
 * Variants (one kernel a format, all with the bits of fmt_<x>_encode). Not measured.
 *
 *   float  F32, F16, BF16: two neighbouring elements a thread, one if head_dim is odd
 *
 *   q8_0   a warp takes a block of 32: its largest magnitude by shuffles, then a quant a lane. A
 *          block is 34 bytes at an even address. The bytes of a warp are neighbours; no wider store
 *          is aligned
 *
 *   q4_0   a thread takes a block: the least-squares search of quant_fit.c adds one element after
 *          another, and its bits are the contract. Elements and weights stay in registers
 *
 * Q4_K, Q5_K and Q6_K need blocks of 256 and a search that belongs to the quantiser: no cache has
 * these formats.
 *
 * Numerics: roundings as in kernels/quant, none fused. NaN is the caller's error.
 */
#include "kv_write.cuh"

namespace CU_NS
{

static const int KV_WRITE_THREADS = 128;

struct kv_write_call {
    const float *k, *v;
    const int32_t *slot;
    kv_page kv;
    int64_t items; /* pairs or blocks of k; as many again of v */
    int per_row;   /* of one row and head */
};

/* Item i of k (0) or v (1): where it starts in x, and its row in the cache. */
struct kv_write_item {
    const float *x; /* the row of head_dim elements */
    unsigned char *y;
    int at; /* which item of the row */
};

__device__ static kv_write_item kv_write_find(const kv_write_call &a, int64_t i, int which)
{
    const int64_t row = i / a.per_row; /* of (n_row, n_kv_head) */
    const int head = (int)(row % a.kv.n_kv_head), slot = a.slot[row / a.kv.n_kv_head];
    const int page = slot >> a.kv.shift, offset = slot & ((1 << a.kv.shift) - 1);
    kv_write_item t;
    t.x = (which ? a.v : a.k) + row * a.kv.head_dim;
    t.y = (which ? a.kv.v : a.kv.k) + kv_page_row(a.kv, page, head, offset);
    t.at = (int)(i % a.per_row);
    return t;
}

/* ---- floats --------------------------------------------------------------------------------- */

template <enum fmt FMT, int N>
__global__ void __launch_bounds__(KV_WRITE_THREADS) k_kv_write_float(const kv_write_call a)
{
    const int64_t i = (int64_t)blockIdx.x * KV_WRITE_THREADS + threadIdx.x;
    if (i >= a.items)
        return;
    const kv_write_item t = kv_write_find(a, i, (int)blockIdx.y);
    kv_write_elements<FMT, N>(t.y, t.x, t.at);
}

/* ---- Q8_0 ------------------------------------------------------------------------------------ */

__global__ void __launch_bounds__(KV_WRITE_THREADS) k_kv_write_q8_0(const kv_write_call a)
{
    const int lane = threadIdx.x % 32;
    const int64_t i = ((int64_t)blockIdx.x * KV_WRITE_THREADS + threadIdx.x) / 32;
    if (i >= a.items)
        return;
    const kv_write_item t = kv_write_find(a, i, (int)blockIdx.y);
    kv_write_block_q8_0(reinterpret_cast<fmt_q8_0 *>(t.y) + t.at, t.x[32 * t.at + lane], lane);
}

__global__ void __launch_bounds__(KV_WRITE_THREADS) k_kv_write_q4_0(const kv_write_call a)
{
    const int64_t i = (int64_t)blockIdx.x * KV_WRITE_THREADS + threadIdx.x;
    if (i >= a.items)
        return;
    const kv_write_item t = kv_write_find(a, i, (int)blockIdx.y);
    kv_write_block_q4_0(reinterpret_cast<fmt_q4_0 *>(t.y) + t.at, t.x + 32 * t.at);
}

/* ---- launchers --------------------------------------------------------------------------------
 */

bool kv_write_floats(const struct kv_write_args *a, const struct cuda_ctx *)
{
    return !a->rope.q && (a->kv->fmt == FMT_F32 || a->kv->fmt == FMT_F16 || a->kv->fmt == FMT_BF16);
}

bool kv_write_blocks_q8_0(const struct kv_write_args *a, const struct cuda_ctx *)
{
    return !a->rope.q && a->kv->fmt == FMT_Q8_0;
}

bool kv_write_blocks_q4_0(const struct kv_write_args *a, const struct cuda_ctx *)
{
    return !a->rope.q && a->kv->fmt == FMT_Q4_0;
}

/* size: elements of an item */
static int kv_write_prepare(const struct kv_write_args *a, int size, kv_write_call *c,
                            struct err *e)
{
    TRY(kv_page_of("kv_write", a->kv, &c->kv, e));
    c->k = a->k;
    c->v = a->v;
    c->slot = a->slot;
    c->per_row = a->kv->head_dim / size;
    c->items = (int64_t)a->n_row * a->kv->n_kv_head * c->per_row;
    return 0;
}

/* Blocks for the items of k, and as many for those of v. */
static dim3 kv_write_grid(const kv_write_call &c, int threads_per_item)
{
    int64_t threads = c.items * threads_per_item;
    return dim3((unsigned)((threads + KV_WRITE_THREADS - 1) / KV_WRITE_THREADS), 2);
}

template <int N>
static int kv_write_float(cudaStream_t s, const struct kv_write_args *a, struct err *e)
{
    kv_write_call c;
    TRY(kv_write_prepare(a, N, &c, e));
    const dim3 grid = kv_write_grid(c, 1), block(KV_WRITE_THREADS);
    if (a->kv->fmt == FMT_F32)
        LAUNCH((k_kv_write_float<FMT_F32, N>), grid, block, 0, s, c);
    else if (a->kv->fmt == FMT_F16)
        LAUNCH((k_kv_write_float<FMT_F16, N>), grid, block, 0, s, c);
    else
        LAUNCH((k_kv_write_float<FMT_BF16, N>), grid, block, 0, s, c);
    CU_LAUNCHED(e, "kv_write_float");
    return 0;
}

int cuda_kv_write_float(struct cuda_ctx *, cudaStream_t s, const struct kv_write_args *a,
                        struct err *e)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(a->k) | reinterpret_cast<uintptr_t>(a->v);
    if (a->kv->head_dim % 2 == 0 && at % sizeof(float2) == 0)
        return kv_write_float<2>(s, a, e);
    return kv_write_float<1>(s, a, e);
}

int cuda_kv_write_q8_0(struct cuda_ctx *, cudaStream_t s, const struct kv_write_args *a,
                       struct err *e)
{
    kv_write_call c;
    TRY(kv_write_prepare(a, 32, &c, e));
    LAUNCH(k_kv_write_q8_0, kv_write_grid(c, 32), dim3(KV_WRITE_THREADS), 0, s, c);
    CU_LAUNCHED(e, "kv_write_q8_0");
    return 0;
}

int cuda_kv_write_q4_0(struct cuda_ctx *, cudaStream_t s, const struct kv_write_args *a,
                       struct err *e)
{
    kv_write_call c;
    TRY(kv_write_prepare(a, 32, &c, e));
    LAUNCH(k_kv_write_q4_0, kv_write_grid(c, 1), dim3(KV_WRITE_THREADS), 0, s, c);
    CU_LAUNCHED(e, "kv_write_q4_0");
    return 0;
}

} // namespace CU_NS
