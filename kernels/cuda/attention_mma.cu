/*
 * attention on tensor cores, for caches in F16, Q8_0 or Q4_0 with head_dim 64 or 128.
 *
 * Shapes, columns, tiles and splits: attention.cuh. Bytes: the rows of K and V of a sequence, once
 * for each tile of columns. Floor for few columns: those bytes at the card's bandwidth. Decode of
 * 8192 tokens, 8 kv heads of 128 f16: 33.6 MB, 33 us at 1,008 GB/s, 7 us at 4.8 TB/s. Floor for
 * many: 8 head_dim operations for each visible position of a column, at the f16 rate of mma.sync;
 * each product is made twice (below).
 *
 * A warp has 16 columns, the rows of an mma. The positions of a tile are n for the scores and k for
 * the weighted sum. The packed accumulators of the scores are the A operands of the weights. So
 * only q, K and V go through shared memory, K and V in the format of the cache.
 *
 *        K (32 positions)                      V (32 positions)
 *   q    s = q K^T   [mma 16x8x16]   softmax   out = keep * out + p V    [mma 16x8x16]
 *   16   4 tiles of 8 positions      of rows   head_dim / 8 tiles of 8 elements
 *
 * K and V have one buffer each, filled by cp.async. V of a tile and K of the next are in flight
 * while the tile's scores and weighted sum are computed. That takes 16 KB a block for f16 and 128.
 *
 *   F16         piece c of 16 bytes of row r lies at c ^ (r % 8), so that the 8 rows of an ldmatrix
 *               lie in different banks
 *   Q8_0, Q4_0  raw blocks, read two bytes at a time; a quant becomes an f16 exactly, by putting it
 *               into the mantissa of 1024. K's scales are applied to the scores of a block, V's to
 *               the weights
 *
 * Variants: a block is
 *
 *   mma_split    one warp, 16 columns, one split; states go to scratch and k_attention_merge merges
 *                them. For few rows, whose tiles alone do not fill the device
 *
 *   mma_cascade  as mma_split, for neighbouring sequences of one row each that share the pages of a
 *                split, without a window: one block takes up to 16 of their columns. So the
 *                common part of a case's prompts is read once, and the rows of the mma are full
 *
 *   mma_walk     one warp with 16 columns (decode), or four with 64 that share K and V (prefill);
 *                a block walks all splits and merges the states as it goes
 *
 * Not measured: there was no GPU.
 *
 * Numerics. q is scaled by a power of two that makes its largest element 1 to 2. q and the weights
 * are split into two f16, high and low, 22 bits together. Products are exact; the tensor cores add
 * in f32. 2^x is ex2.approx. Tolerance of the cases: 1e-5, that of f32. Blocks of V with a scale
 * above 1023 become infinite: elements beyond 129,000 in Q8_0, 8,100 in Q4_0; F16 ends at 65,504.
 * An infinity or NaN in K or V spoils all columns of its tile, also those that do not see its
 * position.
 */
#include "attention.cuh"

namespace CU_NS
{

static constexpr int AM_COLUMNS = 16; /* of a warp */
static constexpr float AM_LOG2_E = 1.44269504f;
/* The unit of V's scales in the weights: f16 then covers 2^-30 to 1023. It is not taken from a
 * tile's scales, because a column's bits must not depend on positions that it does not see. */
static constexpr float AM_V_UNIT = 64;

/* ---- K and V in shared memory ------------------------------------------------------------ */

template <enum fmt F> struct am_format {
    static constexpr bool BLOCKS = F != FMT_F16;
    static constexpr int ELEMS = BLOCKS ? 32 : 1;
    static constexpr int BYTES = F == FMT_Q8_0 ? 34 : F == FMT_Q4_0 ? 18 : 2; /* of ELEMS */
    /* the offset that am_quants adds to a quant */
    static constexpr int BIAS = F == FMT_Q8_0 ? 128 : 8;
};

/* 32 positions of a head: two runs of 16 rows, each within a page and a multiple of 16 bytes. */
struct am_pages {
    int low, high; /* page of positions 0..15 and of 16..31 */
};

/* Of the sequence whose row of the page table begins at `table`. */
__device__ __forceinline__ am_pages am_find_pages(const attn_call &a, int table, int at, int stop)
{
    am_pages p = {0, 0};
    if (at < stop)
        p.low = a.page[table + (at >> a.kv.shift)];
    p.high = at + 16 < stop ? a.page[table + ((at + 16) >> a.kv.shift)] : p.low;
    return p;
}

/* Offsets of this thread's piece i of a tile, in the cache and in shared memory. Each counts from
 * the thread's first piece of its run. All offsets are constants. */
template <enum fmt F, int D, int THREADS> struct am_pieces {
    static constexpr int ROW = D / am_format<F>::ELEMS * am_format<F>::BYTES;
    static constexpr int RUN = ROW;                            /* pieces of 16 rows */
    static constexpr int EACH = (RUN + THREADS - 1) / THREADS; /* of a thread, of a run */
    static constexpr int STEP = 16 * THREADS;                  /* bytes from piece to piece */

    /* F16: piece c of row r lies at c ^ (r % 8), which changes only bits that a step changes too */
    __device__ __forceinline__ static int place(int thread)
    {
        if constexpr (am_format<F>::BLOCKS)
            return 16 * thread;
        const int r = thread / (ROW / 16), c = thread % (ROW / 16);
        return r * ROW + ((c ^ (r & 7)) << 4);
    }
    __device__ __forceinline__ static int step(int place, int i)
    {
        if constexpr (am_format<F>::BLOCKS)
            return place + i * STEP;
        return (place ^ (i * (STEP / ROW) & 7) << 4) + i * STEP;
    }
};

/* Starts the copy of positions at + skip .. at + n - 1 of K or V (base). The rest of the tile
 * becomes zero. A piece of 16 bytes with the end of the row before `skip` is copied whole: that end
 * has quants only, and their scale is zero. Does not wait. */
template <enum fmt F, int D, int THREADS>
__device__ __forceinline__ void am_load(const attn_call &a, const unsigned char *base, am_pages p,
                                        int kv_head, int at, int skip, int n, uint8_t *to)
{
    using P = am_pieces<F, D, THREADS>;
    const int mask = (1 << a.kv.shift) - 1, thread = (int)threadIdx.x;
    const unsigned char *low = base + kv_page_row(a.kv, p.low, kv_head, at & mask) + 16 * thread;
    const unsigned char *high =
        base + kv_page_row(a.kv, p.high, kv_head, (at + 16) & mask) + 16 * thread;
    const int place = P::place(thread);
    if (n == ATTN_TILE && skip <= 0) {
#pragma unroll 2
        for (int i = 0; i < P::EACH; i++)
            if ((i + 1) * THREADS <= P::RUN || thread + i * THREADS < P::RUN) {
                cp_async16(to + P::step(place, i), low + i * P::STEP);
                cp_async16(to + P::step(place, i) + 16 * P::ROW, high + i * P::STEP);
            }
        return;
    }
#pragma unroll 1
    for (int i = 0; i < 2 * P::EACH; i++) {
        const bool second = i >= P::EACH;
        const int k = second ? i - P::EACH : i, byte = 16 * (thread + k * THREADS);
        if (byte >= 16 * P::RUN)
            continue;
        const int end = (second ? n - 16 : n) * P::ROW, from = (second ? skip - 16 : skip) * P::ROW;
        const int left = byte + 16 <= from ? 0 : min(max(end - byte, 0), 16);
        cp_async16_part(to + P::step(place, k) + (second ? 16 * P::ROW : 0),
                        (second ? high : low) + k * P::STEP, left);
    }
}

/* Quants as pairs of f16: bytes i and j of v, each 0..255, less BIAS. */
template <int BIAS> __device__ __forceinline__ uint32_t am_halves(uint32_t v, unsigned select)
{
    const uint32_t u = __byte_perm(v, 0x64646464u, select); /* 1024 + byte */
    __half2_raw raw;
    raw.x = (unsigned short)u;
    raw.y = (unsigned short)(u >> 16);
    const float less = -(1024.0f + BIAS);
    const __half2_raw d =
        __hfma2(__half2(raw), __floats2half2_rn(1.0f, 1.0f), __floats2half2_rn(less, less));
    return (uint32_t)d.x | (uint32_t)d.y << 16;
}

__device__ __forceinline__ uint32_t am_u16(const uint8_t *p)
{
    return *reinterpret_cast<const uint16_t *>(p);
}

/* Elements of block b of a row: quants 16 half + x and x + 1 (x even). Each is a byte >= 0;
 * am_halves has the bias. */
template <enum fmt F>
__device__ __forceinline__ uint32_t am_quants(const uint8_t *row, int b, int half, int x)
{
    const uint8_t *q = row + b * am_format<F>::BYTES + 2;
    if constexpr (F == FMT_Q8_0)
        return am_u16(q + 16 * half + x) ^ 0x8080u;
    return am_u16(q + x) >> 4 * half & 0x0f0fu;
}

template <enum fmt F> __device__ __forceinline__ uint32_t am_pair(uint32_t v, unsigned select)
{
    return am_halves<am_format<F>::BIAS>(v, select);
}

/* ---- f16 in two parts -------------------------------------------------------------------- */

__device__ __forceinline__ void am_parts(float x, float y, uint32_t &high, uint32_t &low)
{
    high = vec_pack_half2(x, y);
    const float2 h = vec_half2(high);
    low = vec_pack_half2(x - h.x, y - h.y);
}

/* 2^e and 2^-e for the exponent e of x >= 0; e = 0 for zero, infinity and NaN. */
__device__ __forceinline__ float2 am_power(float x)
{
    const unsigned e = min(__float_as_uint(x) >> 23, 255u);
    if (e == 0 || e == 255)
        return make_float2(1, 1);
    const unsigned c = min(e, 253u);
    return make_float2(__uint_as_float(c << 23), __uint_as_float((254 - c) << 23));
}

/* ---- a warp's columns -------------------------------------------------------------------- */

/* The rarely used data of a column, in shared memory. */
struct am_column {
    float max, sum; /* of all splits so far, to which all_out belongs */
    int at;         /* which head of all rows it is, */
    int seen;       /* it sees positions before this one; 0: there is no such column */
};

/* A lane's part of columns g and g + 8, g = lane / 4, t = lane % 4: the fragments of mma. */
template <enum fmt F, int D> struct am_warp {
    static constexpr int ROW = D / am_format<F>::ELEMS * am_format<F>::BYTES;
    static constexpr int TILES = D / 8;

    static constexpr int PITCH = 2 * D, Q_BYTES = 2 * AM_COLUMNS * PITCH;
    static constexpr int BYTES =
        Q_BYTES + AM_COLUMNS * (int)sizeof(am_column); /* of shared memory */

    /* (2, 16, D) f16: q's high and low parts; piece c of 16 bytes of row r lies at c ^ (r % 8), so
     * that ldmatrix has no conflicts. After them am_column (16). */
    uint8_t *qs;
    float unit[2];                       /* factor of a score, in units of ln 2 */
    float max[2], sum[2], out[TILES][4]; /* the state of this split */
    float all_out[TILES][4];             /* of all splits so far */
    float s[4][4];                       /* scores, then weights, of a tile */

    __device__ __forceinline__ am_column *column(int c) const
    {
        return reinterpret_cast<am_column *>(qs + Q_BYTES) + c;
    }

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            max[h] = -REAL_INF;
            sum[h] = 0;
        }
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                out[n][i] = 0;
    }

    __device__ __forceinline__ void start()
    {
        clear();
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                all_out[n][i] = 0;
    }

    /* q of column h: D elements, or NULL */
    __device__ __forceinline__ void query(int h, const float *q, int lane, float scale)
    {
        const int g = lane / 4, t = lane % 4;
        float most = 0;
#pragma unroll 8
        for (int x = 2 * t; x < D; x += 8)
            if (q) /* read twice, the second time from L1: registers are scarce */
                most = fmaxf(most, fmaxf(fabsf(q[x]), fabsf(q[x + 1])));
        most = fmaxf(most, __shfl_xor_sync(WARP_ALL, most, 1));
        most = fmaxf(most, __shfl_xor_sync(WARP_ALL, most, 2));
        const float2 p = am_power(most);
        unit[h] = f_mul(f_mul(scale, AM_LOG2_E), p.x);
        uint8_t *row = qs + (g + 8 * h) * PITCH + 4 * t;
#pragma unroll 8
        for (int x = 2 * t, c = 0; x < D; x += 8, c++) {
            uint32_t high, low;
            am_parts(q ? f_mul(q[x], p.y) : 0, q ? f_mul(q[x + 1], p.y) : 0, high, low);
            *reinterpret_cast<uint32_t *>(row + ((c ^ (g & 7)) << 4)) = high;
            *reinterpret_cast<uint32_t *>(row + AM_COLUMNS * PITCH + ((c ^ (g & 7)) << 4)) = low;
        }
    }

    /* ldmatrix of 16 rows of f16 (q, V) and their first 16 elements: the lane's row. */
    __device__ __forceinline__ static int sixteen(int lane)
    {
        return lane % 16 * PITCH + (((lane / 16) ^ (lane % 8)) << 4);
    }

    /* The A operands of elements 16 k .. 16 k + 15: high and low parts. */
    __device__ __forceinline__ void operands(int k, int lane, uint32_t (&q)[2][4])
    {
        const uint8_t *at = qs + (sixteen(lane) ^ (k << 5));
        ldmatrix_x4(q[0], at);
        ldmatrix_x4(q[1], at + AM_COLUMNS * PITCH);
    }

    __device__ __forceinline__ static void multiply(float (&d)[4], const uint32_t (&q)[2][4],
                                                    uint32_t b0, uint32_t b1)
    {
        const uint32_t b[2] = {b0, b1};
        mma_m16n8k16_f16(d, q[0], b);
        mma_m16n8k16_f16(d, q[1], b);
    }

    /* s = q K^T, without the units */
    __device__ __forceinline__ void scores(const uint8_t *ks, int lane)
    {
        const int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[n][i] = 0;
#pragma unroll 1
        for (int b = 0; b < D / 32; b++) {
            uint32_t q[2][2][4];
            operands(2 * b, lane, q[0]);
            operands(2 * b + 1, lane, q[1]);
#pragma unroll
            for (int n = 0; n < 4; n++) {
                if constexpr (!am_format<F>::BLOCKS) {
                    uint32_t r[4];
                    ldmatrix_x4(r, ks + (8 * n + lane % 8) * ROW +
                                       (((4 * b + lane / 8) ^ (lane % 8)) << 4));
                    multiply(s[n], q[0], r[0], r[1]);
                    multiply(s[n], q[1], r[2], r[3]);
                } else {
                    const uint8_t *row = ks + (8 * n + g) * ROW;
                    const uint8_t *mine = ks + (8 * n + 2 * t) * ROW + b * am_format<F>::BYTES;
                    float dot[4] = {0, 0, 0, 0};
#pragma unroll
                    for (int half = 0; half < 2; half++)
                        multiply(dot, q[half],
                                 am_pair<F>(am_quants<F>(row, b, half, 2 * t), 0x4140),
                                 am_pair<F>(am_quants<F>(row, b, half, 2 * t + 8), 0x4140));
                    const float d[2] = {vec_half((uint16_t)am_u16(mine)),
                                        vec_half((uint16_t)am_u16(mine + ROW))};
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        s[n][i] = fmaf(d[i % 2], dot[i], s[n][i]);
                }
            }
        }
    }

    /* s becomes the weights of the tile at position `at`; keep: the factor of the earlier state */
    __device__ __forceinline__ void softmax(const attn_call &a, int at, int lane, float (&keep)[2])
    {
        const int t = lane % 4;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int seen = column(lane / 4 + 8 * h)->seen - at - 2 * t;
            float top = -REAL_INF, add = 0;
#pragma unroll
            for (int n = 0; n < 4; n++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float &x = s[n][2 * h + i];
                    x = attn_sees(a, seen, 8 * n + i) ? f_mul(x, unit[h]) : -REAL_INF;
                    top = fmaxf(top, x);
                }
            top = fmaxf(top, __shfl_xor_sync(WARP_ALL, top, 1));
            top = fmaxf(top, __shfl_xor_sync(WARP_ALL, top, 2));
            top = fmaxf(top, max[h]);
            const float base = attn_base(top);
            keep[h] = ex2_approx(max[h] - base);
            max[h] = top;
#pragma unroll
            for (int n = 0; n < 4; n++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float &x = s[n][2 * h + i];
                    x = ex2_approx(x - base);
                    add += x;
                }
            add += __shfl_xor_sync(WARP_ALL, add, 1);
            add += __shfl_xor_sync(WARP_ALL, add, 2);
            sum[h] = fmaf(sum[h], keep[h], add);
        }
    }

    /* The weights of 16 positions as an A operand; d: factors of the lane's four positions. */
    __device__ __forceinline__ void weights(int k, const float (&d)[4], uint32_t (&h)[4],
                                            uint32_t (&l)[4])
    {
#pragma unroll
        for (int i = 0; i < 4; i++) { /* columns g + 8 (i % 2), positions 8 (i / 2) + 2 t and + 1 */
            const float *x = s[2 * k + i / 2] + i % 2 * 2;
            am_parts(f_mul(x[0], d[i / 2 * 2]), f_mul(x[1], d[i / 2 * 2 + 1]), h[i], l[i]);
        }
    }

    __device__ __forceinline__ void weighted_f16(const uint8_t *vs, int lane,
                                                 const float (&keep)[2])
    {
        const float one[4] = {1, 1, 1, 1};
        uint32_t h[2][4], l[2][4];
#pragma unroll
        for (int k = 0; k < 2; k++)
            weights(k, one, h[k], l[k]);
#pragma unroll
        for (int n = 0; n < TILES; n += 2) {
            float o[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
            if (n == TILES / 2)
                __syncwarp(); /* otherwise ptxas loads all of V at once and runs out of registers */
#pragma unroll
            for (int k = 0; k < 2; k++) {
                uint32_t r[4];
                ldmatrix_x4_trans(r, vs + 16 * k * ROW + (sixteen(lane) ^ (n << 4)));
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    const uint32_t b[2] = {r[2 * j], r[2 * j + 1]};
                    mma_m16n8k16_f16(o[j], h[k], b);
                    mma_m16n8k16_f16(o[j], l[k], b);
                }
            }
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    out[n + j][i] = fmaf(out[n + j][i], keep[i / 2], o[j][i]);
        }
    }

    /* Element tiles 2 m and 2 m + 1 have the even and the odd elements of 16 m .. 16 m + 15. */
    __device__ __forceinline__ void weighted_blocks(const uint8_t *vs, int lane,
                                                    const float (&keep)[2])
    {
        const int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int b = 0; b < D / 32; b++) {
            const int at = b * am_format<F>::BYTES;
            uint32_t h[2][4], l[2][4];
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float d[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const uint8_t *row = vs + (16 * k + 8 * (i / 2) + 2 * t + i % 2) * ROW;
                    d[i] = f_mul(vec_half((uint16_t)am_u16(row + at)), AM_V_UNIT);
                }
                weights(k, d, h[k], l[k]);
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float o[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
#pragma unroll
                for (int k = 0; k < 2; k++) {
                    uint32_t q[2]; /* elements 2 g, 2 g + 1 of positions 2 t + 8 i and the next */
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        const uint8_t *row = vs + (16 * k + 8 * i + 2 * t) * ROW;
                        q[i] = am_quants<F>(row, b, half, 2 * g) |
                               am_quants<F>(row + ROW, b, half, 2 * g) << 16;
                    }
#pragma unroll
                    for (int j = 0; j < 2; j++) {
                        const unsigned select = j ? 0x4341 : 0x4240;
                        const uint32_t bits[2] = {am_pair<F>(q[0], select),
                                                  am_pair<F>(q[1], select)};
                        mma_m16n8k16_f16(o[j], h[k], bits);
                        mma_m16n8k16_f16(o[j], l[k], bits);
                    }
                }
#pragma unroll
                for (int j = 0; j < 2; j++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        float &to = out[4 * b + 2 * half + j][i];
                        to = fmaf(o[j][i], 1 / AM_V_UNIT, f_mul(to, keep[i / 2]));
                    }
            }
        }
    }

    __device__ __forceinline__ void weighted(const uint8_t *vs, int lane, const float (&keep)[2])
    {
        if constexpr (am_format<F>::BLOCKS)
            weighted_blocks(vs, lane, keep);
        else
            weighted_f16(vs, lane, keep);
    }

    /* Merges the state of this split into that of the splits before it. A split that a column does
     * not see changes nothing: its factor is 0, the earlier state's is 1. */
    __device__ __forceinline__ void merge(int lane)
    {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            am_column *c = column(lane / 4 + 8 * h);
            const attn_factors f = attn_weigh<attn_base_2>(c->max, max[h]);
            const float add = attn_mix(f, c->sum, sum[h]);
            __syncwarp(); /* the quad has read it */
            if (lane % 4 == 0) {
                c->max = f.max;
                c->sum = add;
            }
#pragma unroll
            for (int i = 0; i < 2 * TILES; i++) {
                float &to = all_out[i / 2][2 * h + i % 2];
                to = attn_mix(f, to, out[i / 2][2 * h + i % 2]);
            }
        }
        __syncwarp();
    }

    /* D results of column h to y, which is aligned to a float; v: out of the column. */
    __device__ __forceinline__ static void store(float *y, const float (&v)[2 * TILES], int t)
    {
        const unsigned odd = (unsigned)(uintptr_t)y;
#pragma unroll
        for (int m = 0; m < D / 16; m++) {
            const float *x = v + 4 * m; /* of element tiles 2 m, then 2 m + 1 */
            if constexpr (am_format<F>::BLOCKS) {
                float *to = y + 16 * m + 4 * t;
                if (odd % 16 == 0) {
                    vec_store4(to, make_float4(x[0], x[2], x[1], x[3]));
                } else {
                    to[0] = x[0];
                    to[1] = x[2];
                    to[2] = x[1];
                    to[3] = x[3];
                }
            } else {
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    float *to = y + 16 * m + 8 * j + 2 * t;
                    if (odd % 8 == 0) {
                        *reinterpret_cast<float2 *>(to) = make_float2(x[2 * j], x[2 * j + 1]);
                    } else {
                        to[0] = x[2 * j];
                        to[1] = x[2 * j + 1];
                    }
                }
            }
        }
    }
};

/* ---- the kernel -------------------------------------------------------------------------- */

template <int WARPS> __device__ __forceinline__ void am_sync()
{
    if constexpr (WARPS == 1)
        __syncwarp();
    else
        __syncthreads();
}

/* true: sequences i - 1 and i have one row each and share the pages of the split that begins at
 * `first`. Called by a whole warp. */
__device__ __forceinline__ bool am_joins(const attn_call &a, int i, int first)
{
    if (a.q_start[i] - a.q_start[i - 1] != 1 || a.q_start[i + 1] - a.q_start[i] != 1)
        return false;
    const int last = min(a.kv_len[i - 1], first + ATTN_SPAN) - 1;
    const int mine = min(a.kv_len[i], first + ATTN_SPAN) - 1;
    if (last < first || mine < first || last >> a.kv.shift != mine >> a.kv.shift)
        return false;
    bool same = true;
    for (int p = (first >> a.kv.shift) + (int)threadIdx.x % 32; p <= last >> a.kv.shift; p += 32)
        same &= a.page[(i - 1) * a.max_pages + p] == a.page[i * a.max_pages + p];
    return __all_sync(WARP_ALL, same);
}

/* Number of sequences from seq on that this block takes together; 0: an earlier sequence's block
 * takes this one. */
__device__ __forceinline__ int am_members(const attn_call &a, int seq, int first)
{
    if (seq % a.rows && am_joins(a, seq, first))
        return 0;
    int n = 1;
    while ((seq + n) % a.rows && seq + n < a.n_seq && am_joins(a, seq + n, first))
        n++;
    return n;
}

/* Grid: tiles of rows, kv heads times parts, splits (1 when walking). */
template <enum fmt F, int D, int WARPS, bool SHARE>
__global__ void __launch_bounds__(32 * WARPS, WARPS == 1 ? 8 : 2) k_attention_mma(const attn_call a)
{
    typedef am_warp<F, D> W;
    constexpr int THREADS = 32 * WARPS, TILE_BYTES = ATTN_TILE * W::ROW;
    SmemCarve carve;
    uint8_t *ks = carve.take<uint8_t>(TILE_BYTES, 128);
    uint8_t *vs = carve.take<uint8_t>(TILE_BYTES, 128);
    uint8_t *qs = carve.take<uint8_t>(WARPS * W::BYTES, 128);
    attn_rows rows = attn_find(a, (int)blockIdx.x);
    if (rows.n <= 0)
        return;
    const int kv_head = (int)blockIdx.y / a.parts, head0 = (int)blockIdx.y % a.parts * a.heads;
    const int heads = min(a.heads, a.group - head0);
    const int low = attn_low(a, rows.seen); /* the first position that a row sees */
    const int split = (low / ATTN_SPAN + (int)blockIdx.z) * ATTN_SPAN; /* not of one that walks */
    const int first = max(a.state ? split : 0, low / ATTN_TILE * ATTN_TILE);
    int last = rows.seen + rows.n - 1;
    bool shared = false; /* the tile's rows are of as many sequences */
    if constexpr (SHARE)
        if (last > first && a.q_start[rows.seq + 1] - a.q_start[rows.seq] == 1) {
            shared = true;
            rows.n = am_members(a, rows.seq, first);
            for (int i = 1; i < rows.n; i++)
                last = max(last, a.kv_len[rows.seq + i]);
        }
    if (rows.n == 0)
        return;
    const int stop = a.state ? min(last, split + ATTN_SPAN) : last;
    if (first >= stop)
        return;

    const int table = rows.seq * a.max_pages;
    am_pages pages = am_find_pages(a, table, first, stop);
    am_load<F, D, THREADS>(a, a.kv.k, pages, kv_head, first, low - first,
                           min(ATTN_TILE, stop - first), ks);
    cp_async_commit();
    am_load<F, D, THREADS>(a, a.kv.v, pages, kv_head, first, low - first,
                           min(ATTN_TILE, stop - first), vs);
    cp_async_commit();

    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, t = lane % 4;
    W w;
    w.qs = qs + warp * W::BYTES;
    if (lane < AM_COLUMNS) {
        const int c = warp * AM_COLUMNS + lane, row = c / a.heads, head = c % a.heads;
        *w.column(lane) = {-REAL_INF, 0,
                           (rows.row + row) * a.n_head + kv_head * a.group + head0 + head,
                           row >= rows.n || head >= heads ? 0
                           : shared                       ? a.kv_len[rows.seq + row]
                                                          : rows.seen + row};
    }
    __syncwarp(); /* the columns are there */
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const am_column *c = w.column(lane / 4 + 8 * h);
        w.query(h, c->seen ? a.q + (int64_t)c->at * D : NULL, lane, a.scale);
    }
    w.start();

#pragma unroll 1
    for (int at = first; at < stop; at += ATTN_TILE) {
        const bool busy = __any_sync(
            WARP_ALL, attn_sees_any(a, w.column(lane % AM_COLUMNS)->seen, at, ATTN_TILE));
        const int next = at + ATTN_TILE, more = min(ATTN_TILE, stop - next);
        float keep[2];
        pages = am_find_pages(a, table, next, stop);
        cp_async_wait<1>();
        am_sync<WARPS>(); /* K of this tile is there for all */
        if (busy)
            w.scores(ks, lane_again());
        am_sync<WARPS>(); /* and has been used by all */
        if (more > 0)
            am_load<F, D, THREADS>(a, a.kv.k, pages, kv_head, next, 0, more, ks);
        cp_async_commit();
        if (busy)
            w.softmax(a, at, lane, keep);
        cp_async_wait<1>();
        am_sync<WARPS>(); /* V is there */
        if (busy)
            w.weighted(vs, lane_again(), keep);
        am_sync<WARPS>(); /* and has been used */
        if (more > 0)
            am_load<F, D, THREADS>(a, a.kv.v, pages, kv_head, next, 0, more, vs);
        cp_async_commit();
        if (!a.state && (next % ATTN_SPAN == 0 || more <= 0)) {
            w.merge(lane);
            w.clear();
        }
    }

    const int done = (stop - 1) / ATTN_SPAN; /* the split, again: registers are scarce */
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const am_column *c = w.column(lane / 4 + 8 * h);
        if (a.state ? !attn_sees_any(a, c->seen, done * ATTN_SPAN, ATTN_SPAN) : !c->seen)
            continue;
        float v[2 * W::TILES];
        if (a.state) {
            const int64_t st = (int64_t)c->at * a.splits + done - attn_low(a, c->seen) / ATTN_SPAN;
            if (t == 0)
                a.state[st] = make_float2(w.max[h], w.sum[h]);
#pragma unroll
            for (int i = 0; i < 2 * W::TILES; i++)
                v[i] = w.out[i / 2][2 * h + i % 2];
            W::store(a.state_out + st * D, v, t);
        } else {
            const float by = attn_base_2::per(c->sum);
#pragma unroll
            for (int i = 0; i < 2 * W::TILES; i++)
                v[i] = attn_base_2::times(w.all_out[i / 2][2 * h + i % 2], by);
            W::store(a.y + (int64_t)c->at * D, v, t);
        }
    }
}

/* ---- launchers --------------------------------------------------------------------------- */

template <enum fmt F, int D, int WARPS, bool SHARE>
static int am_launch(const attn_call &c, dim3 grid, cudaStream_t s, struct err *e)
{
    typedef am_warp<F, D> W;
    const size_t bytes = 2 * (size_t)ATTN_TILE * W::ROW + WARPS * W::BYTES;
    static_assert(bytes <= CU_SMEM_LEAST, "runs on the smallest card");
    TRY(cu_smem_limit(k_attention_mma<F, D, WARPS, SHARE>, bytes, e));
    LAUNCH((k_attention_mma<F, D, WARPS, SHARE>), grid, dim3(32 * WARPS), bytes, s, c);
    CU_LAUNCHED(e, "attention_mma");
    return 0;
}

enum am_block { AM_NARROW, AM_WIDE, AM_SHARED }; /* a warp, four, a warp for several sequences */

template <enum fmt F, int D>
static int am_launch_head(const attn_call &c, enum am_block block, dim3 grid, cudaStream_t s,
                          struct err *e)
{
    if (block == AM_WIDE)
        return am_launch<F, D, 4, false>(c, grid, s, e);
    return block == AM_SHARED ? am_launch<F, D, 1, true>(c, grid, s, e)
                              : am_launch<F, D, 1, false>(c, grid, s, e);
}

template <enum fmt F>
static int am_launch_format(const attn_call &c, enum am_block block, dim3 grid, cudaStream_t s,
                            struct err *e)
{
    return c.kv.head_dim == 64 ? am_launch_head<F, 64>(c, block, grid, s, e)
                               : am_launch_head<F, 128>(c, block, grid, s, e);
}

static int am_run(const struct attention_args *a, const attn_call &c, enum am_block block,
                  cudaStream_t s, struct err *e)
{
    const dim3 grid((unsigned)attn_tiles(c, a), (unsigned)(a->kv->n_kv_head * c.parts),
                    (unsigned)(c.state ? c.depth : 1));
    if (c.kv.fmt == FMT_F16)
        return am_launch_format<FMT_F16>(c, block, grid, s, e);
    if (c.kv.fmt == FMT_Q8_0)
        return am_launch_format<FMT_Q8_0>(c, block, grid, s, e);
    return am_launch_format<FMT_Q4_0>(c, block, grid, s, e);
}

/* By the cache alone: the two families have other bits. */
bool attention_mma_reads(const struct attention_args *a, const struct cuda_ctx *)
{
    const enum fmt f = a->kv->fmt;
    return (f == FMT_F16 || f == FMT_Q8_0 || f == FMT_Q4_0) &&
           (a->kv->head_dim == 64 || a->kv->head_dim == 128);
}

bool attention_mma_states(const struct attention_args *a, const struct cuda_ctx *cx)
{
    return attention_mma_reads(a, cx) && attn_has_room(a, cx);
}

/* Without a window, which begins elsewhere in each sequence. */
bool attention_mma_joins(const struct attention_args *a, const struct cuda_ctx *cx)
{
    return attention_mma_states(a, cx) && !attn_is_windowed(a);
}

/* Mostly sequences with one row, several of which fill a tile. */
bool attention_mma_decode(const struct attention_args *a, const struct cuda_ctx *)
{
    return a->n_seq > 1 && a->n_row <= 2 * a->n_seq &&
           2 * (a->n_head / a->kv->n_kv_head) <= AM_COLUMNS;
}

/* Fewer warps than eight an SM, without splits */
bool attention_mma_few(const struct attention_args *a, const struct cuda_ctx *cx)
{
    return attn_is_few(a, AM_COLUMNS, 8 * (int64_t)cx->sm_count);
}

/* States of all splits by blocks of a warp, then merged. */
static int am_split(struct cuda_ctx *cx, cudaStream_t s, const struct attention_args *a,
                    enum am_block block, struct err *e)
{
    attn_call c;
    TRY(attn_prepare(a, AM_COLUMNS, &c, e));
    TRY(attn_lend_states(cx, a, &c, e));
    TRY(am_run(a, c, block, s, e));
    return attn_merge_states(c, a, true, s, e);
}

int cuda_attention_mma_split(struct cuda_ctx *cx, cudaStream_t s, const struct attention_args *a,
                             struct err *e)
{
    return am_split(cx, s, a, AM_NARROW, e);
}

int cuda_attention_mma_cascade(struct cuda_ctx *cx, cudaStream_t s, const struct attention_args *a,
                               struct err *e)
{
    return am_split(cx, s, a, AM_SHARED, e);
}

/* Four warps where a sequence's rows fill more than two. */
int cuda_attention_mma_walk(struct cuda_ctx *, cudaStream_t s, const struct attention_args *a,
                            struct err *e)
{
    const int64_t columns = (int64_t)a->n_row * (a->n_head / a->kv->n_kv_head);
    const bool wide = columns > 2 * (int64_t)AM_COLUMNS * a->n_seq;
    attn_call c;
    TRY(attn_prepare(a, wide ? 4 * AM_COLUMNS : AM_COLUMNS, &c, e));
    return am_run(a, c, wide ? AM_WIDE : AM_NARROW, s, e);
}

} // namespace CU_NS
