/*
 * matmul, quantised weights, many rows of x, on tensor cores:  y[r][j] = sum_i x[r][i] W[j][i]
 *
 * Shapes: W (n_out, n_in) in blocks, x (n_row, ceil(n_in / 256)) mm_x, y (n_row, n_out) f32. Reads
 * W once for each 8 NT rows of x (from L2 after the first), x once for each 16 MW rows of W. Floor:
 * 2 n_row n_in n_out operations at the int8 rate of mma.sync, or the weights' bytes for few rows.
 *
 * A block of 4 warps makes 16 MW rows of W x 8 NT rows of x. Its G groups of warps take turns at
 * the segments of a row. A chunk of 256 of both lies raw in shared memory, S stages by cp.async. A
 * warp turns its 16 rows of W into the A operands of the whole chunk, once, in registers. That
 * needs no shuffle: the nibbles of one word are the k's of two groups. The bytes of x are the B
 * operand already and come by ldmatrix.
 *
 *          x rows ->  8 NT
 *   W  16 | warp 0  mma mma mma ..   mma = m16n8k32, 8 of them a chunk (Q6_K: m16n8k16, 16, since
 *   |  16 | warp 1                   its scales hold for 16 weights); scales are applied in int32
 *   v  16 | warp 2                   after each, so a chunk costs one conversion and one fma per
 *      16 | warp 3                   result (formats of 32: 8 products)
 *
 * For MM_SWIGLU the 16 rows of a warp are 8 of gate and the same 8 of up, which one thread then
 * holds.
 *
 * Variants, NT = 2, 4, 8:
 *
 *   mma        MW = 4, G = 1: 64 rows of W
 *   mma_split  MW = 2, G = 2: 32 rows, two segments at a time: twice the blocks for a matrix of few
 *              rows, and x is read twice as often; for NT = 2, 4
 *
 * Not measured: there was no GPU. Numerics: matmul.cuh; the bits of matvec.
 */
#include "matmul_block_iq.cuh"

namespace CU_NS
{

static constexpr int MMA_WARPS = 4, MMA_THREADS = 32 * MMA_WARPS;
static constexpr int MMA_X = 304; /* bytes from row to row of x: 12 words modulo 32, so that the 8
                                     rows of an ldmatrix lie in different banks */
static_assert(MMA_X >= MM_X_BYTES, "a row of x fits");

/* The geometry of a kernel. S: as many chunks as 99 KB hold. With few rows of x, W's bytes in
 * flight are the bound. */
template <int NT, int G> struct mma_shape {
    static constexpr int MW = MMA_WARPS / G, ROWS = 16 * MW, THREADS = 32 * MW; /* of a group */
    static constexpr int S = NT == 2 ? 5 - G : NT == 4 && G == 1 ? 3 : 2;
};

/* The results that a thread sums: (row lane / 4, x 2t and 2t + 1), (row lane / 4 + 8, the same) of
 * each tile of 8 rows of x. */
template <enum fmt F, int NT> struct mma_chunk {
    using W = mm_format<F>;

    uint32_t a[8][4];    /* A operands of the 8 groups of 32 */
    const uint8_t *p[2]; /* the chunk of rows lane / 4 and + 8 */
    const uint8_t *book; /* of the format, or NULL */

    __device__ __forceinline__ void load(int t)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint32_t w[8][2];
            mm_words_of<F>(p[i], t, book, w);
#pragma unroll
            for (int g = 0; g < 8; g++) {
                a[g][i] = w[g][0];
                a[g][i + 2] = w[g][1];
            }
        }
    }

    /* x: this warp's 8 rows of x, (8, MMA_X) */
    __device__ __forceinline__ void operands(const uint8_t *x, int lane, uint32_t (&b)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g += 2) {
            uint32_t r[4];
            ldmatrix_x4(r, x + lane % 8 * MMA_X + 32 * g + lane / 8 * 16);
            b[g][0] = r[0];
            b[g][1] = r[1];
            b[g + 1][0] = r[2];
            b[g + 1][1] = r[3];
        }
    }

    /* formats of 256 */
    __device__ __forceinline__ void add_k(const uint8_t *x, const uint32_t (&b)[8][2],
                                          const struct mm_factors (&f)[2], int t, float (&sum)[4])
    {
        int dot[4] = {0, 0, 0, 0};
#pragma unroll
        for (int g = 0; g < 8; g++) {
            if constexpr (W::GROUP == 32) {
                int c[4] = {0, 0, 0, 0};
                mma_m16n8k32_s8(c, a[g], b[g]);
#pragma unroll
                for (int i = 0; i < 4; i++)
                    dot[i] += W::scale(f[i / 2], g) * c[i];
            } else {
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    int c[4] = {0, 0, 0, 0};
                    const uint32_t half[2] = {a[g][2 * h], a[g][2 * h + 1]};
                    mma_m16n8k16_s8(c, half, b[g][h]);
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        dot[i] += W::scale(f[i / 2], 2 * g + h) * c[i];
                }
            }
        }
#pragma unroll
        for (int col = 0; col < 2; col++) {
            const struct mm_x *of =
                reinterpret_cast<const struct mm_x *>(x + (2 * t + col) * MMA_X);
            const float d_x = of->k.d;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float &to = sum[2 * i + col];
                to = mm_add_dot(to, f[i].d, d_x, dot[2 * i + col]);
                if constexpr (W::MIN)
                    to = mm_add_min(to, f[i].dmin, d_x, mm_chunk_min<F>(f[i], of));
            }
        }
    }

    /* Formats of 32: r = p_b + p_(b+4). A product with ones sums x for the minimums. */
    __device__ __forceinline__ void two_blocks(const uint8_t *x, const uint32_t (&b)[8][2],
                                               const float (&d)[2][8], int t, int block,
                                               float (&r)[4])
    {
        const uint32_t ones[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u};
        float part[2][4];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int at = block + 4 * h;
            int dot[4] = {0, 0, 0, 0}, sum[4] = {0, 0, 0, 0};
            mma_m16n8k32_s8(dot, a[at], b[at]);
            if constexpr (W::MIN)
                mma_m16n8k32_s8(sum, ones, b[at]);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const struct mm_x *of =
                    reinterpret_cast<const struct mm_x *>(x + (2 * t + i % 2) * MMA_X);
                part[h][i] = mm_product(d[i / 2][at], of->d32[at], dot[i]);
                if constexpr (W::MIN)
                    part[h][i] =
                        mm_product_min(part[h][i], W::m32(p[i / 2], at), of->d32[at], sum[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++)
            r[i] = part[0][i] + part[1][i];
    }

    __device__ __forceinline__ void add_32(const uint8_t *x, const uint32_t (&b)[8][2],
                                           const float (&d)[2][8], int t, float (&sum)[4])
    {
        float even[4], odd[4], next[4];
        two_blocks(x, b, d, t, 0, even);
        two_blocks(x, b, d, t, 2, next);
#pragma unroll
        for (int i = 0; i < 4; i++)
            even[i] += next[i];
        two_blocks(x, b, d, t, 1, odd);
        two_blocks(x, b, d, t, 3, next);
#pragma unroll
        for (int i = 0; i < 4; i++)
            sum[i] += even[i] + (odd[i] + next[i]);
    }

    /* x: (8 NT, MMA_X); sums: this thread's (NT, 4), `apart`. The loop over tiles of x is not
     * unrolled: sums and scales of all tiles in registers would spill. */
    __device__ __forceinline__ void add(const uint8_t *x, int lane, float *sums, int apart)
    {
        const int t = lane % 4;
        load(t);
        struct mm_factors f[2];
        float d[2][8];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            if constexpr (W::BLOCK == 256)
                f[i] = W::factors(p[i]);
            else
#pragma unroll
                for (int b = 0; b < 8; b++)
                    d[i][b] = W::d32(p[i], b);
        }
#pragma unroll 1
        for (int n = 0; n < NT; n++, x += 8 * MMA_X, sums += 4 * apart) {
            uint32_t b[8][2];
            operands(x, lane, b);
            float sum[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                sum[i] = sums[i * apart];
            if constexpr (W::BLOCK == 256)
                add_k(x, b, f, t, sum);
            else
                add_32(x, b, d, t, sum);
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[i * apart] = sum[i];
        }
    }
};

/* Blocks on an SM, by registers: up to 168 with 3 (see matvec). Two scales for each product, and
 * minimums beside steps, take more. */
template <enum fmt F> __device__ __host__ constexpr int mma_blocks()
{
    using W = mm_format<F>;
    return W::GROUP == 16 || (W::BLOCK == 32 && W::MIN) ? 2 : 3;
}

template <enum fmt F, int NT, int G>
__global__ void __launch_bounds__(MMA_THREADS, mma_blocks<F>()) k_matmul_mma(const struct mm_call a)
{
    using W = mm_format<F>;
    using H = mma_shape<NT, G>;
    SmemCarve carve;
    uint8_t *ws = carve.take<uint8_t>(G * H::S * H::ROWS * W::APART, 128);
    uint8_t *xs = carve.take<uint8_t>(G * H::S * 8 * NT * MMA_X, 128);
    /* (G, NT, 4, THREADS): the segments under way; a thread changes only its own column. */
    float *meet = carve.take<float>(NT * 4 * MMA_THREADS);
    const uint8_t *book = mm_book<F>(carve, MMA_THREADS);
    const int group = (int)threadIdx.x / H::THREADS, tid = (int)threadIdx.x % H::THREADS;
    const int warp = tid / 32, lane = tid % 32;
    ws += group * H::S * H::ROWS * W::APART;
    xs += group * H::S * 8 * NT * MMA_X;
    /* neighbours in the grid share their rows of W */
    const int x_tiles = (a.n_row + 8 * NT - 1) / (8 * NT);
    const int row0 = (int)blockIdx.x % x_tiles * (8 * NT);
    int tile = (int)blockIdx.x / x_tiles;
    const struct mm_matrix m = mm_find(a, tile);

    /* Copies: W_LANES neighbours take a row of W, X_LANES a row of x. */
    constexpr int W_LANES = H::THREADS / H::ROWS, X_LANES = H::THREADS / (8 * NT);
    const int w_row = tid / W_LANES, x_row = tid / X_LANES;
    const uint8_t *w_from = mm_find_row<H::ROWS>(a, m, tile, w_row) + 16 * (tid % W_LANES);
    const struct mm_x *x_from = /* rows past the end repeat the last and are not stored */
        a.x + (size_t)min(row0 + x_row, a.n_row - 1) * (size_t)a.n_chunk;
    /* the group's j-th chunk */
    auto chunk = [&](int j) { return (j / MM_SEGMENT * G + group) * MM_SEGMENT + j % MM_SEGMENT; };
    auto fetch = [&](int j) {
        const int k = chunk(j);
        if (k < a.n_chunk) {
            uint8_t *w_to = ws + (j % H::S * H::ROWS + w_row) * W::APART + 16 * (tid % W_LANES);
            const uint8_t *w = w_from + (size_t)k * W::BYTES;
            const int left = (int)a.row_used - k * W::BYTES;
            const bool inside = mm_is_inside<F>(left);
#pragma unroll
            for (int i = 0; i < W::PIECES; i += W_LANES)
                if (i + W_LANES <= W::PIECES || i + tid % W_LANES < W::PIECES) {
                    if (inside)
                        mm_copy_piece<F>(w_to + 16 * i, w + 16 * i);
                    else
                        mm_copy_last<F>(w_to + 16 * i, w + 16 * i, left - 16 * (i + tid % W_LANES));
                }
            uint8_t *x_to = xs + (j % H::S * 8 * NT + x_row) * MMA_X + 16 * (tid % X_LANES);
            const uint8_t *x = reinterpret_cast<const uint8_t *>(x_from + k) + 16 * (tid % X_LANES);
#pragma unroll
            for (int i = 0; i < MM_X_BYTES / 16; i += X_LANES)
                if (i + X_LANES <= MM_X_BYTES / 16 || i + tid % X_LANES < MM_X_BYTES / 16)
                    cp_async16(x_to + 16 * i, x + 16 * i);
        }
        cp_async_commit();
    };

    const uint8_t *mine[2] = {mm_find_row<H::ROWS>(a, m, tile, warp * 16 + lane / 4),
                              mm_find_row<H::ROWS>(a, m, tile, warp * 16 + lane / 4 + 8)};
    float *sums = meet + group * NT * 4 * H::THREADS + tid;
    float total[NT / G][4]; /* of tiles group, group + G .. of x, whose results this group ends */
#pragma unroll
    for (int i = 0; i < NT * 4; i++)
        sums[i * H::THREADS] = total[i / 4 / G][i % 4] = 0;
    const int rounds = (a.n_chunk + G * MM_SEGMENT - 1) / (G * MM_SEGMENT);
    const int steps = G == 1 ? a.n_chunk : rounds * MM_SEGMENT;
    for (int j = 0; j < H::S - 1; j++)
        fetch(j);
#pragma unroll 1
    for (int j = 0; j < steps; j++) {
        const int k = chunk(j);
        cp_async_wait<H::S - 2>();
        /* the chunk has arrived for the group, and nobody reads the chunk whose place is filled
         * next */
        if constexpr (G == 1)
            __syncthreads();
        else
            named_barrier(1 + group, H::THREADS);
        fetch(j + H::S - 1);
        if (k < a.n_chunk) {
            struct mma_chunk<F, NT> c;
            c.book = book;
#pragma unroll
            for (int i = 0; i < 2; i++)
                c.p[i] = ws + (j % H::S * H::ROWS + warp * 16 + lane / 4 + 8 * i) * W::APART +
                         mm_offset<F>(mine[i] + (size_t)k * W::BYTES);
            c.add(xs + j % H::S * 8 * NT * MMA_X, lane, sums, H::THREADS);
        }
        if (j % MM_SEGMENT != MM_SEGMENT - 1 && j != steps - 1)
            continue;
        const int before = j / MM_SEGMENT * G * MM_SEGMENT; /* chunks */
        if (G > 1)
            __syncthreads(); /* the sums of G segments are there */
#pragma unroll
        for (int n = 0; n < NT / G; n++)
            for (int g = 0; g < G && before + g * MM_SEGMENT < a.n_chunk; g++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    total[n][i] += meet[((g * NT + group + n * G) * 4 + i) * H::THREADS + tid];
        if (G > 1)
            __syncthreads(); /* and have been added */
#pragma unroll
        for (int i = 0; i < NT * 4; i++)
            sums[i * H::THREADS] = 0;
    }

#pragma unroll
    for (int n = 0; n < NT / G; n++)
        mm_store_tile<H::ROWS>(a, m, tile, warp, lane, row0 + 8 * (group + n * G), total[n]);
}

template <enum fmt F, int NT, int G>
static int mma_launch(cudaStream_t s, struct mm_call *a, int n, struct err *e)
{
    using H = mma_shape<NT, G>;
    const int tiles = mm_tiles(a, n, H::ROWS);
    constexpr size_t bytes = (size_t)G * H::S * (H::ROWS * mm_format<F>::APART + 8 * NT * MMA_X) +
                             sizeof(float) * NT * 4 * MMA_THREADS + mm_format<F>::BOOK;
    static_assert(bytes <= CU_SMEM_LEAST, "runs on the smallest card");
    const int64_t x_tiles = (a->n_row + 8 * NT - 1) / (8 * NT);
    if (x_tiles * tiles > INT32_MAX)
        FAIL(e, ERR_BUG, "matmul: mma needs %lld blocks, limit %d", (long long)(x_tiles * tiles),
             INT32_MAX);
    TRY(cu_smem_limit(k_matmul_mma<F, NT, G>, bytes, e));
    LAUNCH((k_matmul_mma<F, NT, G>), (unsigned)(x_tiles * tiles), MMA_THREADS, bytes, s, *a);
    CU_LAUNCHED(e, "matmul_mma");
    return 0;
}

template <enum fmt F>
static int mma_launch_rows(cudaStream_t s, struct mm_call *a, int n, bool split, struct err *e)
{
    if (a->n_row <= 16)
        return split ? mma_launch<F, 2, 2>(s, a, n, e) : mma_launch<F, 2, 1>(s, a, n, e);
    if (a->n_row <= 32 || split)
        return split ? mma_launch<F, 4, 2>(s, a, n, e) : mma_launch<F, 4, 1>(s, a, n, e);
    return mma_launch<F, 8, 1>(s, a, n, e);
}

int mm_launch_mma(cudaStream_t s, bool split, enum fmt fmt, struct mm_call *a, int n, struct err *e)
{
    switch (fmt) {
#define MMA_LAUNCH(NAME, elems)                                                                    \
    case FMT_##NAME:                                                                               \
        static_assert(mm_format<FMT_##NAME>::BLOCK == elems, "matmul.cuh and matmul_block.cuh");   \
        return mma_launch_rows<FMT_##NAME>(s, a, n, split, e);
        MM_QUANTS(MMA_LAUNCH)
#undef MMA_LAUNCH
    default:
        FAIL(e, ERR_BUG, "matmul: mma has no kernel for %s", fmt_info(fmt)->name);
    }
}

} // namespace CU_NS
