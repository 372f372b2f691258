/*
 * matmul, quantised weights, many rows of x, on tensor cores:  y[r][j] = sum_i x[r][i] W[j][i]
 *
 * Shapes: W (n_out, n_in) in blocks, x (n_row, ceil(n_in / 256)) mm_x, y (n_row, n_out) f32.
 * Reads W once for each 8 NT rows of x (from L2 after the first), x once for each 64 rows of W; floor:
 * 2 n_row n_in n_out operations at the int8 rate of mma.sync, or the weights' bytes for few rows.
 *
 * A block of 4 warps makes 64 rows of W x 8 NT rows of x. A chunk of 256 of both lies raw in shared
 * memory, two stages by cp.async. A warp turns its 16 rows of W into the A operands of the whole
 * chunk, once, in registers, without a shuffle: the nibbles of one word are the k's of two groups.
 * x, in its bytes already the B operand, comes by ldmatrix.
 *
 *          x rows ->  8 NT
 *   W  16 | warp 0  mma mma mma ..       mma = m16n8k32, 8 of them a chunk (Q6_K: m16n8k16, 16, since
 *   |  16 | warp 1                       its scales hold for 16 weights); scales are applied in int32
 *   v  16 | warp 2                       behind each, so a chunk costs one conversion and one fma per
 *      16 | warp 3                       result (formats of 32: 8 products)
 *
 * For MM_SWIGLU the 16 rows of a warp are 8 of gate and the same 8 of up, which one thread then holds.
 *
 * Variants: NT = 2, 4, 8. Small n_out leaves SMs idle: splitting the segments over blocks would keep
 * the bits and is left for when it can be measured. Nothing here is measured: there was no GPU.
 * Numerics: matmul.cuh; bit for bit those of matvec.
 */
#include "matmul_block.cuh"

namespace CU_NS
{

static constexpr int MMA_WARPS = 4, MMA_THREADS = 32 * MMA_WARPS, MMA_STAGES = 2;
static constexpr int MMA_ROWS = 16 * MMA_WARPS; /* of W */
static constexpr int MMA_X =
    304; /* bytes from row to row of x: 12 words modulo 32, so that the 8 rows
                                     of an ldmatrix lie in different banks */
static_assert(MMA_X >= MM_X_BYTES, "a row of x fits");

/* Where row i of the tile of W lies. */
struct mma_row {
    const uint8_t *w, *end;
};

__device__ __forceinline__ struct mma_row mma_find_row(const struct mm_call &a,
                                                       const struct mm_matrix &m, int tile, int i)
{
    const bool pair = a.epilogue == MM_SWIGLU, second = pair && (i & 8);
    int j = pair ? tile * (MMA_ROWS / 2) + i / 16 * 8 + i % 8 : tile * MMA_ROWS + i;
    j = min(j, m.n_out - 1); /* rows past the end repeat the last and are not stored */
    struct mma_row r;
    r.w = (second ? m.w[1] : m.w[0]) + (size_t)j * (second ? m.row_bytes[1] : m.row_bytes[0]);
    r.end = r.w + a.row_used;
    return r;
}

/* What a thread adds up: results (row lane / 4, x 2t and 2t + 1), (row lane / 4 + 8, the same) of
 * each tile of 8 rows of x. */
template <enum fmt F, int NT> struct mma_chunk {
    using W = mm_format<F>;

    uint32_t a[8][4];    /* A operands of the 8 groups of 32 */
    const uint8_t *p[2]; /* the chunk of rows lane / 4 and + 8 */

    __device__ __forceinline__ void load(int t)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint32_t w[8][2];
            W::words(p[i], t, w);
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

    /* K formats */
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
                    to = mm_add_min(to, f[i].dmin, d_x, mm_min(f[i].min, vec_load16(of->k.hi)));
            }
        }
    }

    /* formats of 32: r = p_b + p_(b+4) */
    __device__ __forceinline__ void two_blocks(const uint8_t *x, const uint32_t (&b)[8][2],
                                               const float (&d)[2][8], int t, int block,
                                               float (&r)[4])
    {
        int low[4] = {0, 0, 0, 0}, high[4] = {0, 0, 0, 0};
        mma_m16n8k32_s8(low, a[block], b[block]);
        mma_m16n8k32_s8(high, a[block + 4], b[block + 4]);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const struct mm_x *of =
                reinterpret_cast<const struct mm_x *>(x + (2 * t + i % 2) * MMA_X);
            r[i] = mm_product(d[i / 2][block], of->d32[block], low[i]) +
                   mm_product(d[i / 2][block + 4], of->d32[block + 4], high[i]);
        }
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

    /* x: (8 NT, MMA_X); sums: this thread's (NT, 4), THREADS apart. The tiles of x one after the other,
     * not unrolled: their sums in registers, and all scales held for all tiles, would spill. */
    __device__ __forceinline__ void add(const uint8_t *x, int lane, float *sums)
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
        for (int n = 0; n < NT; n++, x += 8 * MMA_X, sums += 4 * MMA_THREADS) {
            uint32_t b[8][2];
            operands(x, lane, b);
            float sum[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                sum[i] = sums[i * MMA_THREADS];
            if constexpr (W::BLOCK == 256)
                add_k(x, b, f, t, sum);
            else
                add_32(x, b, d, t, sum);
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[i * MMA_THREADS] = sum[i];
        }
    }
};

/* 3 blocks on an SM: see matvec; up to 168 registers. */
template <enum fmt F, int NT>
__global__ void __launch_bounds__(MMA_THREADS, 3) k_matmul_mma(const struct mm_call a)
{
    using W = mm_format<F>;
    SmemCarve carve;
    uint8_t *ws = carve.take<uint8_t>(MMA_STAGES * MMA_ROWS * W::APART, 128);
    uint8_t *xs = carve.take<uint8_t>(MMA_STAGES * 8 * NT * MMA_X, 128);
    /* (NT, 4, THREADS): the segment under way; a thread touches only its own column. */
    float *sums = carve.take<float>(NT * 4 * MMA_THREADS) + threadIdx.x;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    /* neighbours in the grid share their rows of W */
    const int x_tiles = (a.n_row + 8 * NT - 1) / (8 * NT);
    const int row0 = (int)blockIdx.x % x_tiles * (8 * NT);
    int tile = (int)blockIdx.x / x_tiles;
    const struct mm_matrix m = mm_find(a, tile);

    /* Who copies what: W_LANES neighbours a row of W, X_LANES a row of x. */
    constexpr int W_LANES = MMA_THREADS / MMA_ROWS, X_LANES = MMA_THREADS / (8 * NT);
    const int w_row = (int)threadIdx.x / W_LANES, x_row = (int)threadIdx.x / X_LANES;
    const struct mma_row w_from = mma_find_row(a, m, tile, w_row);
    const struct mm_x *x_from = /* rows past the end repeat the last and are not stored */
        a.x + (size_t)min(row0 + x_row, a.n_row - 1) * (size_t)a.n_chunk;
    auto fetch = [&](int k) {
        if (k < a.n_chunk) {
            uint8_t *w_to = ws + (k % MMA_STAGES * MMA_ROWS + w_row) * W::APART;
            for (int i = (int)threadIdx.x % W_LANES; i < W::PIECES; i += W_LANES)
                mm_copy_piece(w_to, w_from.w + (size_t)k * W::BYTES, w_from.end, i);
            uint8_t *x_to = xs + (k % MMA_STAGES * 8 * NT + x_row) * MMA_X;
            const uint8_t *x = reinterpret_cast<const uint8_t *>(x_from + k);
            for (int i = (int)threadIdx.x % X_LANES; i < MM_X_BYTES / 16; i += X_LANES)
                cp_async16(x_to + 16 * i, x + 16 * i);
        }
        cp_async_commit();
    };

    const struct mma_row mine[2] = {mma_find_row(a, m, tile, warp * 16 + lane / 4),
                                    mma_find_row(a, m, tile, warp * 16 + lane / 4 + 8)};
    float total[NT * 4];
#pragma unroll
    for (int i = 0; i < NT * 4; i++)
        total[i] = sums[i * MMA_THREADS] = 0;
    fetch(0);
#pragma unroll 1
    for (int k = 0; k < a.n_chunk; k++) {
        fetch(k + 1);
        cp_async_wait<MMA_STAGES - 1>();
        __syncthreads(); /* chunk k has been copied by all threads */
        struct mma_chunk<F, NT> c;
#pragma unroll
        for (int i = 0; i < 2; i++)
            c.p[i] = ws + (k % MMA_STAGES * MMA_ROWS + warp * 16 + lane / 4 + 8 * i) * W::APART +
                     mm_offset(mine[i].w + (size_t)k * W::BYTES);
        c.add(xs + k % MMA_STAGES * 8 * NT * MMA_X, lane, sums);
        if (k % MM_SEGMENT == MM_SEGMENT - 1 || k == a.n_chunk - 1)
#pragma unroll
            for (int i = 0; i < NT * 4; i++) {
                total[i] += sums[i * MMA_THREADS];
                sums[i * MMA_THREADS] = 0;
            }
        __syncthreads(); /* all have read chunk k, whose place chunk k + 2 takes */
    }

    const bool pair = a.epilogue == MM_SWIGLU;
    const int j0 =
        pair ? tile * (MMA_ROWS / 2) + warp * 8 + lane / 4 : tile * MMA_ROWS + warp * 16 + lane / 4;
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int j = j0 + i / 2 * 8, r = row0 + 8 * n + lane % 4 * 2 + i % 2;
            if (pair && i >= 2)
                continue;
            if (j < m.n_out && r < a.n_row)
                mm_store(m, a.epilogue, j, r, total[4 * n + i], total[4 * n + (i ^ 2)]);
        }
}

template <enum fmt F, int NT>
static int mma_launch(cudaStream_t s, const struct mm_call &a, int tiles, struct err *e)
{
    const size_t bytes = (size_t)MMA_STAGES * (MMA_ROWS * mm_format<F>::APART + 8 * NT * MMA_X) +
                         sizeof(float) * NT * 4 * MMA_THREADS;
    const int64_t x_tiles = (a.n_row + 8 * NT - 1) / (8 * NT);
    if (x_tiles * tiles > INT32_MAX)
        FAIL(e, ERR_BUG, "matmul: mma needs %lld blocks, limit %d", (long long)(x_tiles * tiles),
             INT32_MAX);
    TRY(cu_smem_limit(k_matmul_mma<F, NT>, bytes, e));
    LAUNCH((k_matmul_mma<F, NT>), (unsigned)(x_tiles * tiles), MMA_THREADS, bytes, s, a);
    CU_LAUNCHED(e, "matmul_mma");
    return 0;
}

template <enum fmt F>
static int mma_launch_rows(cudaStream_t s, const struct mm_call &a, int tiles, struct err *e)
{
    if (a.n_row <= 16)
        return mma_launch<F, 2>(s, a, tiles, e);
    if (a.n_row <= 32)
        return mma_launch<F, 4>(s, a, tiles, e);
    return mma_launch<F, 8>(s, a, tiles, e);
}

int mm_launch_mma(cudaStream_t s, enum fmt fmt, struct mm_call *a, int n, struct err *e)
{
    const int tiles = mm_tiles(a, n, MMA_ROWS);
    switch (fmt) {
    case FMT_Q4_0:
        return mma_launch_rows<FMT_Q4_0>(s, *a, tiles, e);
    case FMT_Q8_0:
        return mma_launch_rows<FMT_Q8_0>(s, *a, tiles, e);
    case FMT_Q4_K:
        return mma_launch_rows<FMT_Q4_K>(s, *a, tiles, e);
    case FMT_Q5_K:
        return mma_launch_rows<FMT_Q5_K>(s, *a, tiles, e);
    case FMT_Q6_K:
        return mma_launch_rows<FMT_Q6_K>(s, *a, tiles, e);
    default:
        FAIL(e, ERR_BUG, "matmul: mma has no kernel for %s", fmt_info(fmt)->name);
    }
}

} // namespace CU_NS
