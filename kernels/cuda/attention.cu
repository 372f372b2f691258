/*
 * attention: causal softmax(scale q k^T) v over a paged cache, for a ragged batch, in f32.
 *
 *   q, y  (n_row, n_head, head_dim) f32
 *   k, v  (n_page, n_kv_head, page_tokens, head_dim) in F32, F16, BF16, Q8_0 or Q4_0
 *   g     n_head / n_kv_head query heads share a kv head
 *
 * Bytes: the rows of K and V of a sequence, once for each tile of query rows: 2 * kv_len *
 * n_kv_head * row_bytes. Decode at 8192 tokens, 8 kv heads of 128 f16: 33.6 MB, 10 us at 3.3 TB/s.
 * Flops: 4 * n_head * head_dim for each visible position of a row. Prefill of 512 of those heads is
 * 2.1 GFLOP (half masked).
 *
 * Per tile K and V are decoded to f32 in shared memory. If a row is a multiple of 16 bytes, a
 * thread reads 16 bytes of an F16, BF16 or F32 row. Q8_0 and Q4_0 blocks (34, 18 bytes) lie at even
 * addresses only. So a thread reads eight quants in 2-byte pieces, and its neighbours complete the
 * sectors. A warp has R columns. For the scores a lane has one position and all of head_dim. For
 * the weighted sum a lane has some of head_dim and all positions.
 *
 * Variants: one kernel, which walks a range of splits
 *
 *   split  a block has one split; the states (max, sum, out) go to scratch, and a second kernel
 *          merges them in ascending order. For few rows, whose tiles alone do not fill the device
 *   walk   a block walks all splits of its tile and merges the states as it goes
 *
 * Taken for caches that attention_mma.cu does not read. Not measured. Nothing is copied ahead of
 * use: several blocks an SM hide the latency.
 *
 * Numerics: q.k is added element by element in f32; the rest is that of attention.cuh. A column's
 * bits depend neither on R nor on the variant. Keys that a row does not see are not used even as
 * factors of zero. Tolerance of the cases: 1e-5.
 */
#include "attention.cuh"
#include "element.cuh"

namespace CU_NS
{

static constexpr int ATTN_WARPS = 4;
static constexpr int ATTN_THREADS = 32 * ATTN_WARPS;

/* ---- a tile of K or V, decoded to f32 in shared memory ----------------------------------- */

struct attn_source {           /* 32 positions of one head */
    const unsigned char *base; /* k or v */
    int page0, page1;          /* of the first and of the last 16 */
    int head, at;              /* at: the first position */
};

__device__ __forceinline__ const unsigned char *attn_row(const kv_page &kv, const attn_source &s,
                                                         int r)
{
    return s.base +
           kv_page_row(kv, r < 16 ? s.page0 : s.page1, s.head, (s.at + r) & ((1 << kv.shift) - 1));
}

__device__ __forceinline__ float attn_element(const kv_page &kv, const unsigned char *row, int i)
{
    if (kv.fmt == FMT_F32)
        return reinterpret_cast<const float *>(row)[i];
    if (kv.fmt == FMT_F16)
        return __half2float(reinterpret_cast<const __half *>(row)[i]);
    return __bfloat162float(reinterpret_cast<const __nv_bfloat16 *>(row)[i]);
}

/* Two neighbouring f16 or bf16 of a word. */
__device__ __forceinline__ float2 attn_pair(bool f16, uint32_t u)
{
    return f16 ? vec_half2(u) : make_float2(vec_bf16((uint16_t)u), vec_bf16((uint16_t)(u >> 16)));
}

/* Elements 8 i .. 8 i + 7 of a row of blocks. Q4_0 has quant j beside quant j + 16. */
__device__ __forceinline__ void attn_eight(const kv_page &kv, const unsigned char *row, int i,
                                           float4 (&y)[2])
{
    int q[8];
    float d;
    if (kv.fmt == FMT_Q8_0) {
        const fmt_q8_0 *b = reinterpret_cast<const fmt_q8_0 *>(row) + i / 4;
        const uint16_t *u = reinterpret_cast<const uint16_t *>(b->q) + i % 4 * 4;
        d = vec_half(b->d);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            q[2 * j] = (int8_t)(u[j] & 0xff);
            q[2 * j + 1] = (int8_t)(u[j] >> 8);
        }
    } else {
        const fmt_q4_0 *b = reinterpret_cast<const fmt_q4_0 *>(row) + i / 4;
        const uint16_t *u = reinterpret_cast<const uint16_t *>(b->q) + i % 2 * 4;
        const int high = i % 4 >= 2 ? 4 : 0; /* the upper nibbles */
        d = vec_half(b->d);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            q[2 * j] = (int)(u[j] >> high & 15) - 8;
            q[2 * j + 1] = (int)(u[j] >> (8 + high) & 15) - 8;
        }
    }
    y[0] = make_float4(d * (float)q[0], d * (float)q[1], d * (float)q[2], d * (float)q[3]);
    y[1] = make_float4(d * (float)q[4], d * (float)q[5], d * (float)q[6], d * (float)q[7]);
}

/* Rows 0 .. n - 1 to t, `stride` floats apart (a multiple of 4). */
__device__ __forceinline__ void attn_load(const attn_call &a, const attn_source &s, int n,
                                          int stride, float *t)
{
    const kv_page &kv = a.kv;
    if (kv.fmt == FMT_Q8_0 || kv.fmt == FMT_Q4_0) {
        const int per_row = kv.head_dim / 8;
        for (int i = (int)threadIdx.x; i < n * per_row; i += ATTN_THREADS) {
            float4 y[2];
            attn_eight(kv, attn_row(kv, s, i / per_row), i % per_row, y);
            float4 *to = reinterpret_cast<float4 *>(t + i / per_row * stride + i % per_row * 8);
            to[0] = y[0];
            to[1] = y[1];
        }
    } else if (a.wide) {
        const int per_row = kv.row_bytes / 16;
        for (int i = (int)threadIdx.x; i < n * per_row; i += ATTN_THREADS) {
            const uint4 u = ld_stream16(attn_row(kv, s, i / per_row) + i % per_row * 16);
            float *to = t + i / per_row * stride;
            if (kv.fmt == FMT_F32) {
                to += i % per_row * 4;
                *reinterpret_cast<float4 *>(to) =
                    make_float4(__uint_as_float(u.x), __uint_as_float(u.y), __uint_as_float(u.z),
                                __uint_as_float(u.w));
            } else {
                const bool f16 = kv.fmt == FMT_F16;
                const float2 x = attn_pair(f16, u.x), y = attn_pair(f16, u.y);
                const float2 z = attn_pair(f16, u.z), w = attn_pair(f16, u.w);
                to += i % per_row * 8;
                reinterpret_cast<float4 *>(to)[0] = make_float4(x.x, x.y, y.x, y.y);
                reinterpret_cast<float4 *>(to)[1] = make_float4(z.x, z.y, w.x, w.y);
            }
        }
    } else {
        for (int i = (int)threadIdx.x; i < n * a.dim4; i += ATTN_THREADS) {
            const int r = i / a.dim4, c = i % a.dim4;
            t[r * stride + c] = c < kv.head_dim ? attn_element(kv, attn_row(kv, s, r), c) : 0;
        }
    }
}

/* ---- the kernel -------------------------------------------------------------------------- */

/* A lane's part of a row of up to D elements: PIECES pieces of WIDTH neighbours, piece k from
 * element (32 k + lane) * WIDTH on. */
template <int D> struct attn_lane {
    static const int WIDTH = D / 32 < 4 ? D / 32 : 4, PIECES = D / 32 / WIDTH, N = D / 32;
};

/* This lane's elements of a row in shared memory; zero after the end. */
template <int D>
__device__ __forceinline__ void attn_take(const float *row, int lane, int dim4, float (&v)[D / 32])
{
    typedef attn_lane<D> L;
#pragma unroll
    for (int k = 0; k < L::PIECES; k++) {
        const int i = (32 * k + lane) * L::WIDTH;
        if constexpr (L::WIDTH == 4) {
            const float4 x =
                i < dim4 ? *reinterpret_cast<const float4 *>(row + i) : make_float4(0, 0, 0, 0);
            v[4 * k] = x.x;
            v[4 * k + 1] = x.y;
            v[4 * k + 2] = x.z;
            v[4 * k + 3] = x.w;
        } else {
            const float2 x =
                i < dim4 ? *reinterpret_cast<const float2 *>(row + i) : make_float2(0, 0);
            v[2 * k] = x.x;
            v[2 * k + 1] = x.y;
        }
    }
}

/* The element of the row that v[i] of attn_take is. */
template <int D> __device__ __forceinline__ int attn_where(int lane, int i)
{
    typedef attn_lane<D> L;
    return (32 * (i / L::WIDTH) + lane) * L::WIDTH + i % L::WIDTH;
}

/* Scores of the warp's columns at this lane's position: q of its first column, k: the lane's row.
 */
template <int R>
__device__ __forceinline__ void attn_scores(const float *q, const float *k, int dim4, float (&s)[R])
{
#pragma unroll 4
    for (int i = 0; i < dim4; i += 4) {
        const float4 x = *reinterpret_cast<const float4 *>(k + i);
#pragma unroll
        for (int j = 0; j < R; j++) {
            const float4 w = *reinterpret_cast<const float4 *>(q + j * ATTN_WARPS * dim4 + i);
            s[j] = fmaf(w.x, x.x, s[j]);
            s[j] = fmaf(w.y, x.y, s[j]);
            s[j] = fmaf(w.z, x.z, s[j]);
            s[j] = fmaf(w.w, x.w, s[j]);
        }
    }
}

/* Updates a column's maximum and sum over a tile of which it sees some positions. s is the score of
 * this lane's position. seen: the column sees that position. The weights go to p (32). */
template <int N>
__device__ __forceinline__ void attn_softmax(attn_state<N> &b, float s, float scale, bool seen,
                                             int lane, float *p)
{
    const float score = seen ? f_mul(s, scale) : -REAL_INF;
    const float top = fmaxf(b.max, warp_max(score)), base = attn_base(top);
    const float keep = real_exp(b.max - base), weight = real_exp(score - base);
    b.max = top;
    b.sum = fmaf(b.sum, keep, warp_sum(weight));
#pragma unroll
    for (int i = 0; i < N; i++)
        b.out[i] = f_mul(b.out[i], keep);
    p[lane] = weight;
}

/* out += sum of p[t] v[t], t ascending over the positions that each column sees. p of the warp's
 * first column. */
template <int D, int R>
__device__ __forceinline__ void attn_weighted(const attn_call &a, attn_state<D / 32> (&b)[R],
                                              const float *p, const float *v, int dim4,
                                              const int (&seen)[R], int lane)
{
    int most = 0, least = ATTN_TILE;
#pragma unroll
    for (int j = 0; j < R; j++) {
        most = max(most, min(seen[j], ATTN_TILE));
        if (seen[j] > 0)
            least = min(least, attn_low(a, seen[j]));
    }
    for (int t0 = least / 4 * 4; t0 < most; t0 += 4) {
        float w[R][4];
#pragma unroll
        for (int j = 0; j < R; j++) {
            const float4 x = attn_sees_any(a, seen[j], t0, 4)
                                 ? *reinterpret_cast<const float4 *>(p + j * ATTN_WARPS * 32 + t0)
                                 : make_float4(0, 0, 0, 0);
            w[j][0] = x.x;
            w[j][1] = x.y;
            w[j][2] = x.z;
            w[j][3] = x.w;
        }
#pragma unroll
        for (int u = 0; u < 4; u++) {
            if (t0 + u >= most || t0 + u < least)
                continue;
            float x[D / 32];
            attn_take<D>(v + (t0 + u) * dim4, lane, dim4, x);
#pragma unroll
            for (int j = 0; j < R; j++)
                if (attn_sees(a, seen[j], t0 + u))
#pragma unroll
                    for (int i = 0; i < D / 32; i++)
                        b[j].out[i] = fmaf(w[j][u], x[i], b[j].out[i]);
        }
    }
}

/*
 * Grid: tiles of rows, kv heads times parts, splits (1 when walking). D: head_dim at most. R:
 * columns of a warp, so 4 R of a block; column c is head c % heads of the tile's row c / heads. At
 * least 4 or 2 blocks an SM: up to 128 or 255 registers, so that nothing is spilled. Shared memory,
 * in floats:
 *   K  32 * (dim4 + 4), so that 8 lanes of a 16-byte access fall on all banks
 *   V  32 * dim4 (D above 256: V takes the place of K)
 *   q  4 R * dim4
 *   p  4 R * 32
 */
template <int D, int R>
__global__ void __launch_bounds__(ATTN_THREADS, R < 4 && D * R < 512 ? 4 : 2)
    k_attention(const attn_call a)
{
    const bool one_buffer = D > 256;
    const int columns = ATTN_WARPS * R;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim4 = a.dim4;
    SmemCarve carve;
    float *k = carve.take<float>(ATTN_TILE * (dim4 + 4));
    float *v = one_buffer ? k : carve.take<float>(ATTN_TILE * dim4);
    float *q = carve.take<float>(columns * dim4), *p = carve.take<float>(columns * 32);
    const attn_rows t = attn_find(a, (int)blockIdx.x);
    if (t.n <= 0)
        return;
    const int kv_head = (int)blockIdx.y / a.parts, head0 = (int)blockIdx.y % a.parts * a.heads;
    const int heads = min(a.heads, a.group - head0),
              last = t.seen + t.n - 1;   /* positions of the last row */
    const int low = attn_low(a, t.seen); /* the first position that a row sees */
    const int split = (low / ATTN_SPAN + (int)blockIdx.z) * ATTN_SPAN; /* not of one that walks */
    const int end = a.state ? min(last, split + ATTN_SPAN) : last;
    int at = max(a.state ? split : 0, low / ATTN_TILE * ATTN_TILE);
    if (at >= end)
        return;

    for (int i = (int)threadIdx.x; i < columns * dim4; i += ATTN_THREADS) {
        const int c = i / dim4, x = i % dim4, row = c / a.heads, head = c % a.heads;
        const int64_t from = (int64_t)(t.row + row) * a.n_head + kv_head * a.group + head0 + head;
        q[i] = row < t.n && head < heads && x < a.kv.head_dim ? a.q[from * a.kv.head_dim + x] : 0;
    }
    attn_state<D / 32> total[R], part[R];
    int seen[R]; /* this warp's columns see positions before this one; 0: there is no such column */
#pragma unroll
    for (int j = 0; j < R; j++) {
        const int c = j * ATTN_WARPS + warp, row = c / a.heads;
        seen[j] = row < t.n && c % a.heads < heads ? t.seen + row : 0;
        attn_clear(total[j]);
    }
    const int32_t *page = a.page + (int64_t)t.seq * a.max_pages;
    while (at < end) { /* split by split */
#pragma unroll
        for (int j = 0; j < R; j++)
            attn_clear(part[j]);
        const int stop = min(end, (at / ATTN_SPAN + 1) * ATTN_SPAN);
        for (; at < stop; at += ATTN_TILE) {
            const int n = min(ATTN_TILE, stop - at);
            attn_source s;
            s.page0 = page[at >> a.kv.shift];
            s.page1 = n > 16 ? page[(at + 16) >> a.kv.shift] : s.page0;
            s.head = kv_head;
            s.at = at;
            __syncthreads(); /* the tile before has been used */
#pragma unroll 1
            for (int which = 0; which < (one_buffer ? 1 : 2); which++) {
                s.base = which ? a.kv.v : a.kv.k;
                attn_load(a, s, n, which ? dim4 : dim4 + 4, which ? v : k);
            }
            __syncthreads(); /* K (and V, and at first q) are there */
            float score[R] = {};
            int see[R]; /* of this tile */
            if (lane < n)
                attn_scores<R>(q + warp * dim4, k + lane * (dim4 + 4), dim4, score);
#pragma unroll
            for (int j = 0; j < R; j++) {
                see[j] = seen[j] - at;
                if (attn_sees_any(a, see[j], 0, ATTN_TILE))
                    attn_softmax(part[j], score[j], a.scale, attn_sees(a, see[j], lane), lane,
                                 p + (j * ATTN_WARPS + warp) * 32);
            }
            if (one_buffer) {
                __syncthreads(); /* K has been used */
                s.base = a.kv.v;
                attn_load(a, s, n, dim4, v);
                __syncthreads(); /* V is there */
            } else {
                __syncwarp(); /* the warp's own weights are there */
            }
            attn_weighted<D, R>(a, part, p + warp * 32, v, dim4, see, lane);
        }
#pragma unroll
        for (int j = 0; j < R; j++)
            if ((stop - 1) / ATTN_SPAN * ATTN_SPAN < seen[j])
                attn_merge<attn_base_e>(total[j], part[j]);
    }
    const int done = (end - 1) / ATTN_SPAN; /* the split, again: registers are scarce */
#pragma unroll
    for (int j = 0; j < R; j++) {
        const int c = j * ATTN_WARPS + warp;
        if (a.state ? !attn_sees_any(a, seen[j], done * ATTN_SPAN, ATTN_SPAN) : !seen[j])
            continue;
        const int64_t to =
            (int64_t)(t.row + c / a.heads) * a.n_head + kv_head * a.group + head0 + c % a.heads;
        const int64_t st = to * a.splits + done - attn_low(a, seen[j]) / ATTN_SPAN;
        if (a.state && lane == 0)
            a.state[st] = make_float2(total[j].max, total[j].sum);
#pragma unroll
        for (int i = 0; i < D / 32; i++) {
            const int x = attn_where<D>(lane, i);
            if (x >= a.kv.head_dim)
                continue;
            if (a.state)
                a.state_out[st * a.kv.head_dim + x] = total[j].out[i];
            else
                a.y[to * a.kv.head_dim + x] = total[j].out[i] / total[j].sum;
        }
    }
}

/* A block has one row and head; a thread every 128th element. States are merged in ascending order.
 */
template <class B>
__global__ void __launch_bounds__(ATTN_THREADS) k_attention_merge(const attn_call a)
{
    const int row = (int)blockIdx.x;
    const int64_t to = (int64_t)row * a.n_head + blockIdx.y;
    int low = 0, high = a.n_seq; /* q_start[low] <= row < q_start[high] */
    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (a.q_start[mid] <= row)
            low = mid;
        else
            high = mid;
    }
    const int seen = a.kv_len[low] - a.q_start[low + 1] + row + 1;
    const int first = attn_low(a, seen) / ATTN_SPAN;
    for (int x = (int)threadIdx.x; x < a.kv.head_dim; x += ATTN_THREADS) {
        attn_state<1> total, part;
        attn_clear(total);
        for (int split = 0; (first + split) * ATTN_SPAN < seen; split++) {
            const float2 s = a.state[to * a.splits + split];
            part.max = s.x;
            part.sum = s.y;
            part.out[0] = a.state_out[(to * a.splits + split) * a.kv.head_dim + x];
            attn_merge<B>(total, part);
        }
        a.y[to * a.kv.head_dim + x] = B::divide(total.out[0], total.sum);
    }
}

/* ---- launchers --------------------------------------------------------------------------- */

/* Columns of a warp: the fewest that hold the heads of a kv head, or four if rows share it too. */
static int attn_width(const struct attention_args *a)
{
    const int group = a->n_head / a->kv->n_kv_head;
    if (a->kv->head_dim > 256)
        return 1;
    return a->n_row > a->n_seq || group > 2 * ATTN_WARPS ? 4 : group > ATTN_WARPS ? 2 : 1;
}

int attn_prepare(const struct attention_args *a, int columns, attn_call *c, struct err *e)
{
    TRY(kv_page_of("attention", a->kv, &c->kv, e));
    c->q = a->q;
    c->y = a->y;
    c->q_start = a->q_start;
    c->kv_len = a->kv_len;
    c->page = a->page;
    c->n_seq = a->n_seq;
    c->max_pages = a->max_pages;
    c->n_head = a->n_head;
    c->group = a->n_head / a->kv->n_kv_head;
    c->scale = a->scale;
    c->heads = c->group < columns ? c->group : columns;
    c->rows = columns / c->heads;
    c->parts = (c->group + c->heads - 1) / c->heads;
    c->dim4 = (a->kv->head_dim + 3) / 4 * 4;
    c->wide = c->kv.row_bytes % 16 == 0;
    c->window = attn_is_windowed(a) ? a->window : INT32_MAX;
    c->splits = attn_depth(a, 1);
    c->depth = attn_depth(a, c->rows);
    c->state = NULL;
    c->state_out = NULL;
    return 0;
}

int attn_lend_states(struct cuda_ctx *cx, const struct attention_args *a, attn_call *c,
                     struct err *e)
{
    void *scratch;
    TRY(cuda_ctx_scratch(cx, "attention", attn_state_bytes(a), &scratch, e));
    c->state = static_cast<float2 *>(scratch);
    c->state_out = reinterpret_cast<float *>(c->state + (size_t)a->n_row * (size_t)a->n_head *
                                                            (size_t)c->splits);
    return 0;
}

int attn_merge_states(const attn_call &c, const struct attention_args *a, bool base2,
                      cudaStream_t s, struct err *e)
{
    const dim3 grid((unsigned)a->n_row, (unsigned)a->n_head);
    if (base2)
        LAUNCH(k_attention_merge<attn_base_2>, grid, dim3(ATTN_THREADS), 0, s, c);
    else
        LAUNCH(k_attention_merge<attn_base_e>, grid, dim3(ATTN_THREADS), 0, s, c);
    CU_LAUNCHED(e, "attention_merge");
    return 0;
}

template <int D, int R>
static int attn_launch(const attn_call &c, dim3 grid, cudaStream_t s, struct err *e)
{
    const int columns = ATTN_WARPS * R, tiles = D > 256 ? 1 : 2; /* K alone, or K and V */
    const size_t floats = (size_t)ATTN_TILE * 4 +
                          (size_t)c.dim4 * (size_t)(ATTN_TILE * tiles + columns) +
                          (size_t)columns * 32;
    TRY(cu_smem_limit(k_attention<D, R>, floats * sizeof(float), e));
    LAUNCH((k_attention<D, R>), grid, dim3(ATTN_THREADS), floats * sizeof(float), s, c);
    CU_LAUNCHED(e, "attention");
    return 0;
}

template <int D>
static int attn_launch_width(const attn_call &c, int width, dim3 grid, cudaStream_t s,
                             struct err *e)
{
    if (width == 1)
        return attn_launch<D, 1>(c, grid, s, e);
    if (width == 2)
        return attn_launch<D, 2>(c, grid, s, e);
    return attn_launch<D, 4>(c, grid, s, e);
}

static int attn_run(const struct attention_args *a, const attn_call &c, int splits, cudaStream_t s,
                    struct err *e)
{
    const int dim = a->kv->head_dim, width = attn_width(a);
    const dim3 grid((unsigned)attn_tiles(c, a), (unsigned)(a->kv->n_kv_head * c.parts),
                    (unsigned)splits);
    if (dim <= 64)
        return attn_launch_width<64>(c, width, grid, s, e);
    if (dim <= 128)
        return attn_launch_width<128>(c, width, grid, s, e);
    if (dim <= 256)
        return attn_launch_width<256>(c, width, grid, s, e);
    if (dim <= 512)
        return attn_launch<512, 1>(c, grid, s, e);
    FAIL(e, ERR_BUG, "attention: head_dim is %d, limit 512", dim);
}

bool attention_reads(const struct attention_args *a, const struct cuda_ctx *)
{
    return kv_page_known(a->kv->fmt);
}

bool attention_states(const struct attention_args *a, const struct cuda_ctx *cx)
{
    return attention_reads(a, cx) && attn_has_room(a, cx);
}

bool attention_few(const struct attention_args *a, const struct cuda_ctx *cx)
{
    return attn_is_few(a, ATTN_WARPS * attn_width(a), 4 * (int64_t)cx->sm_count);
}

int cuda_attention_split(struct cuda_ctx *cx, cudaStream_t s, const struct attention_args *a,
                         struct err *e)
{
    attn_call c;
    TRY(attn_prepare(a, ATTN_WARPS * attn_width(a), &c, e));
    TRY(attn_lend_states(cx, a, &c, e));
    TRY(attn_run(a, c, c.depth, s, e));
    return attn_merge_states(c, a, false, s, e);
}

int cuda_attention_walk(struct cuda_ctx *, cudaStream_t s, const struct attention_args *a,
                        struct err *e)
{
    attn_call c;
    TRY(attn_prepare(a, ATTN_WARPS * attn_width(a), &c, e));
    return attn_run(a, c, 1, s, e);
}

} // namespace CU_NS
