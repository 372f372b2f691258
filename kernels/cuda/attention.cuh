/*
 * attention: the parts that its kernels share: the call, the rows of a block, states of the softmax
 * and their merge.
 *
 * A *column* is one query head of one row. A tile of columns holds the query heads of one kv head
 * in some rows of one sequence. So one read of a row of K or V serves all of them. Positions are
 * counted from 0 in tiles of 32 and splits of 128:
 *
 *     0        32        64        96       128       160 ..
 *     | tile 0 | tile 1  | tile 2  | tile 3  | tile 4  | ..
 *     |              split 0                 |  split 1 ..
 *
 * Two families of kernels differ in their bits. The cache alone (format and head_dim) decides which
 * family a call takes, never the batch:
 *
 *   attention.cu      f32 throughout, every format and head_dim up to 512
 *   attention_mma.cu  tensor cores: F16, Q8_0, Q4_0 with head_dim 64 or 128
 *
 * Within a family a column's bits depend on its own q and its own positions alone. The softmax is
 * online (Milakov & Gimelshein 2018) within a split. States of splits are merged in ascending
 * order.
 *
 * With a window a block starts with the tile of the first position that one of its columns sees.
 * Scratch has the states of the splits that a row sees, from its first one on.
 */
#ifndef MAS_ATTENTION_CUH
#define MAS_ATTENTION_CUH

#include "kv_page.cuh"
#include "real.cuh"

namespace CU_NS
{

static constexpr int ATTN_TILE = 32; /* positions of a tile: one a lane */
static constexpr int ATTN_SPLIT = 4; /* tiles of a split */
static constexpr int ATTN_SPAN = ATTN_TILE * ATTN_SPLIT;
static_assert(ATTN_SPAN == SCRATCH_ATTN_SPAN, "positions of a split");

struct attn_call {
    const float *q;
    float *y;
    kv_page kv;
    const int32_t *q_start, *kv_len, *page;
    int n_seq, max_pages, n_head, group;
    float scale;
    int rows, heads, parts; /* of a tile of columns: rows, query heads; number of tiles a group */
    int dim4;               /* head_dim rounded up to 4; the padding in shared memory is zero */
    bool wide;              /* cache rows are multiples of 16 bytes */
    int window;             /* positions that a row sees at most; INT_MAX: no limit */
    int splits, depth;      /* splits that a row sees at most, that a tile sees at most */
    float2 *state;          /* (n_row, n_head, splits): max and sum; NULL: walk all splits */
    float *state_out;       /* (n_row, n_head, splits, head_dim) */
};

/* ---- which rows -------------------------------------------------------------------------- */

/* The first tile of sequence s. The count gives the host a bound without reading q_start:
 * floor((a + b) / n) - floor(a / n) + 1 >= ceil(b / n). Some tiles are empty; with one row a
 * tile none is. */
__device__ __forceinline__ int attn_first_tile(const attn_call &a, int s)
{
    return a.q_start[s] / a.rows + (a.rows > 1 ? s : 0);
}

/* The first position that a row sees; end: one more than its last position. */
__device__ __forceinline__ int attn_low(const attn_call &a, int end)
{
    return max(end - a.window, 0);
}

/* true: a row sees position `at`. */
__device__ __forceinline__ bool attn_sees(const attn_call &a, int end, int at)
{
    return (unsigned)(end - 1 - at) < (unsigned)a.window;
}

/* true: a row sees one of the `n` positions from `at` on. */
__device__ __forceinline__ bool attn_sees_any(const attn_call &a, int end, int at, int n)
{
    return at < end && end - at - n < a.window;
}

struct attn_rows {
    int seq, row, n; /* rows row .. row + n - 1 of the batch; n <= 0: an empty tile */
    int seen;        /* row `row` sees positions before this one; each later row one more */
};

__device__ __forceinline__ attn_rows attn_find(const attn_call &a, int tile)
{
    int low = 0, high = a.n_seq; /* first_tile(low) <= tile < first_tile(high) */
    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (attn_first_tile(a, mid) <= tile)
            low = mid;
        else
            high = mid;
    }
    const int end = a.q_start[low + 1];
    attn_rows t;
    t.seq = low;
    t.row = a.q_start[low] + (tile - attn_first_tile(a, low)) * a.rows;
    t.n = min(a.rows, end - t.row);
    t.seen = a.kv_len[low] - end + t.row + 1;
    return t;
}

/* ---- states ------------------------------------------------------------------------------ */

/* Softmax over some positions: the largest score, the sum of b^(score - max), and this lane's share
 * of the weighted sum of V. Each family has its base b: */
struct attn_base_e {
    static __device__ __forceinline__ float power(float x)
    {
        return real_exp(x);
    }
    static __device__ __forceinline__ float divide(float out, float sum)
    {
        return out / sum;
    }
};
struct attn_base_2 { /* scores come in units of ln 2 */
    static __device__ __forceinline__ float power(float x)
    {
        return ex2_approx(x);
    }
    static __device__ __forceinline__ float per(float sum)
    {
        return 1.0f / sum;
    }
    static __device__ __forceinline__ float times(float out, float by)
    {
        return f_mul(out, by) + 0.0f; /* -0 becomes 0, as if an empty state had been added */
    }
    static __device__ __forceinline__ float divide(float out, float sum)
    {
        return times(out, per(sum)); /* a column's numbers have one sum */
    }
};

template <int N> struct attn_state {
    float max, sum, out[N];
};

template <int N> __device__ __forceinline__ void attn_clear(attn_state<N> &s)
{
    s.max = -REAL_INF;
    s.sum = 0;
#pragma unroll
    for (int i = 0; i < N; i++)
        s.out[i] = 0;
}

/* The reference of b^(score - reference): 0 instead of -inf, so that b^(-inf - -inf) is 0, not
 * NaN. */
__device__ __forceinline__ float attn_base(float max)
{
    return max == -REAL_INF ? 0 : max;
}

struct attn_factors {
    float max, keep, take;
};

template <class B> __device__ __forceinline__ attn_factors attn_weigh(float old_max, float new_max)
{
    attn_factors f;
    f.max = fmaxf(old_max, new_max);
    f.keep = B::power(old_max - attn_base(f.max));
    f.take = B::power(new_max - attn_base(f.max));
    return f;
}

__device__ __forceinline__ float attn_mix(const attn_factors &f, float old_value, float new_value)
{
    return fmaf(old_value, f.keep, f_mul(new_value, f.take));
}

/* Merges t into s; t follows s. */
template <class B, int N>
__device__ __forceinline__ void attn_merge(attn_state<N> &s, const attn_state<N> &t)
{
    const attn_factors f = attn_weigh<B>(s.max, t.max);
    s.max = f.max;
    s.sum = attn_mix(f, s.sum, t.sum);
#pragma unroll
    for (int i = 0; i < N; i++)
        s.out[i] = attn_mix(f, s.out[i], t.out[i]);
}

/* ---- on the host ------------------------------------------------------------------------- */

static inline int attn_splits(int max_kv_len)
{
    return (max_kv_len + ATTN_SPAN - 1) / ATTN_SPAN;
}

/* true: the window is shorter than a sequence may be. */
static inline bool attn_is_windowed(const struct attention_args *a)
{
    return a->window && a->window < a->max_kv_len;
}

/* Splits that `rows` neighbouring rows see together, at most. */
static inline int attn_depth(const struct attention_args *a, int rows)
{
    const int all = attn_splits(a->max_kv_len);
    if (!attn_is_windowed(a))
        return all;
    const int64_t positions = (int64_t)a->window + rows - 1;
    const int64_t most = (positions + ATTN_SPAN - 2) / ATTN_SPAN + 1;
    return most < all ? (int)most : all;
}

/* Fills c for tiles of `columns` columns, without states. */
int attn_prepare(const struct attention_args *a, int columns, attn_call *c, struct err *e);
/* Lends c scratch for the states of all splits. */
int attn_lend_states(struct cuda_ctx *cx, const struct attention_args *a, attn_call *c,
                     struct err *e);
/* Merges the states of c into y. base2: the base is 2, else e. */
int attn_merge_states(const attn_call &c, const struct attention_args *a, bool base2,
                      cudaStream_t s, struct err *e);

/* Tiles of the batch, empty ones among them. */
static inline int64_t attn_tiles(const attn_call &c, const struct attention_args *a)
{
    return a->n_row / c.rows + (c.rows > 1 ? a->n_seq : 0);
}

static inline size_t attn_state_bytes(const struct attention_args *a)
{
    return scratch_states(a->n_row, a->n_head, a->kv->head_dim, ATTN_SPAN * attn_depth(a, 1));
}

/* true: the scratch has room for the states. */
static inline bool attn_has_room(const struct attention_args *a, const struct cuda_ctx *cx)
{
    return attn_splits(a->max_kv_len) <= 65535 && attn_state_bytes(a) <= cx->scratch_bytes;
}

/* More than one split, and fewer than `few` tiles times kv heads. */
static inline bool attn_is_few(const struct attention_args *a, int columns, int64_t few)
{
    const int group = a->n_head / a->kv->n_kv_head, heads = group < columns ? group : columns;
    const int64_t tiles = a->n_row / (columns / heads) + a->n_seq;
    return attn_depth(a, 1) > 1 && tiles * a->kv->n_kv_head < few;
}

} // namespace CU_NS

#endif
