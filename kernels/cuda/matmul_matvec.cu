/*
 * matmul, quantised weights, few rows of x:  y[r][j] = sum_i x[r][i] W[j][i]
 *
 * Shapes: W (n_out, n_in) in blocks, x (n_row, ceil(n_in / 256)) mm_x, y (n_row, n_out) f32. Moves
 * n_out * row_bytes + n_row * (1.125 n_in + 4 n_out) bytes. Each weight is read once for up to 8
 * rows of x, and again for each further 8. Floor: those bytes at the card's bandwidth, e.g. 4096 x
 * 4096 Q4_K 9.4 MB: 9.4 us at 1,008 GB/s, 2.0 us at 4.8 TB/s.
 *
 * A warp computes 4 R rows of W x one segment (8 chunks of 256) x C rows of x. Its 8 lanes of a row
 * share a chunk. Each lane multiplies 32 weights by dp4a with C rows of x, for R rows of W one
 * after the other. mm_reduce leaves each lane the total of one of the R C results. So the f32 part
 * is done once per result, not once per lane.
 *
 *             chunk      k              k + 1
 *   rows 0, 4 ..   lanes  0..7 | 32 weights each ..   warps of a block: `groups` groups of 4 R rows
 *   rows 1, 5 ..   lanes  8..15                       x all segments; their sums meet in shared
 *   rows 2, 6 ..   lanes 16..23                       memory and are added in the order of
 *   rows 3, 7 ..   lanes 24..31                       segments
 *
 * Weights come by cp.async, 16 bytes each, into a ring of `stages` chunks that belongs to the warp:
 * stages - 1 chunks x 4 R rows are in flight. If blocks are no multiple of 16 bytes, the piece
 * between two chunks is fetched twice, the second time from L2. x is read through L1, because all
 * rows of the warp, and most warps of the block, need the same x.
 *
 * Variants: C = 1, 2, 4, 8 rows of x at once; for C = 1, 2
 *
 *   matvec       4 rows of W a warp (R = 1)
 *   matvec_rows  16 (R = 4, for one row of x, if 16 rows fit: mv_rows) or 8 (R = 2). x is read once
 *                for all of them and fewer lanes repeat the f32 part: fewer instructions a byte
 *                (kernels/CUDA.md). Taken when the matrix still gives every SM 16 warps
 *
 * Predicted, never measured on a GPU. The table has the shares of an RTX 4090's issue slots that
 * one row of x takes at 1,008 GB/s (instructions of the main loop, sm_89). All are below 100 %, so
 * the bytes bound every format. The 21 GB of a 70B in IQ2_XS would take 20.8 ms a token.
 *
 *   format  matvec  matvec_rows    format  matvec  matvec_rows    format   matvec  matvec_rows
 *   Q4_1    17 %    11 %           Q3_K    32 %    24 %           IQ3_S    38 %    31 %
 *   Q5_0    19 %    15 %           IQ4_NL  27 %    20 %           IQ2_XXS  57 %    44 %
 *   Q5_1    17 %    14 %           IQ4_XS  30 %    21 %           IQ2_XS   51 %    38 %
 *   Q2_K    36 %    19 %           IQ3_XXS 42 %    33 %           IQ2_S    45 %    39 %
 *
 * Numerics: matmul.cuh; the bits of mma.
 */
#include "matmul_block_iq.cuh"

namespace CU_NS
{

static constexpr int MV_WARPS = 8;
static constexpr int MV_GROUPS = 4; /* of 8 lanes in a warp, whose 32 weights are 16-byte runs */

/* R of matvec_rows for C rows of x, limited by registers and shared memory. */
template <enum fmt F, int C> __device__ __host__ constexpr int mv_rows()
{
    return C == 1 && mm_format<F>::APART < 200 && mm_format<F>::BOOK < 8192 ? 4 : 2;
}

/* Chunks of the ring: with 16 rows two are 4.6 KB of a warp ahead, as many as 99 KB hold. */
template <int R> __device__ __host__ constexpr int mv_stages()
{
    return R == 4 ? 3 : 4;
}

struct mv_args {
    struct mm_call c;
    int groups;   /* of 4 R rows of W for a block */
    int segments; /* of a row */
};

/* Sum of one segment of the result that this lane finishes: number s R C / 8 of the R C results of
 * its group of lanes. Results are counted by rows of W, then rows of x. */
template <enum fmt F, int R, int C> struct mv_segment {
    using W = mm_format<F>;
    static constexpr int STAGES = mv_stages<R>(), ROWS = MV_GROUPS * R, N = R * C;
    static constexpr int STAGE = ROWS * W::APART, NEXT_ROW = MV_GROUPS * W::APART; /* bytes */
    static constexpr int PIECES = R * W::PIECES, MINE = (PIECES + 7) / 8; /* lane s: s, s + 8 .. */

    uint8_t *ring; /* (STAGES, ROWS, APART), from this group's first row on */
    /* offsets in the ring of the current chunk and of the next to fetch */
    int read, write;
    const uint8_t *from[MINE]; /* this lane's pieces of the next chunk */
    int left;                  /* bytes of the row from the next chunk on */
    unsigned low[R], own_low;  /* low 4 bits of the address of the chunk in use, of each row */
    const struct mm_x *x;      /* the chunk in use of the first row of x */
    int at[C];                 /* from there to each of the rows */
    int own_w, own_x;          /* of the result: the row of W, and the offset from x to the row */
    const uint8_t *book;       /* of the format, or NULL */
    int s;

    /* The group's r-th row: its segment begins at w. */
    __device__ __forceinline__ void set_row(int r, const uint8_t *w)
    {
        low[r] = (unsigned)(uintptr_t)w & 15;
        own_low = r == own_w ? low[r] : own_low;
#pragma unroll
        for (int j = 0; j < MINE; j++) {
            const int e = s + 8 * j - r * W::PIECES; /* piece of this row, if it is one */
            if (e >= 0 && e < W::PIECES)
                from[j] = w + 16 * e;
        }
    }

    __device__ __forceinline__ static int advance(int stage)
    {
        return stage == (STAGES - 1) * STAGE ? 0 : stage + STAGE;
    }

    /* Asks for the next chunk if there is one. */
    __device__ __forceinline__ void fetch(bool more)
    {
        const bool inside = mm_is_inside<F>(left);
        if (more)
#pragma unroll
            for (int j = 0; j < MINE; j++) {
                const int e = s + 8 * j;
                if (8 * j + 8 > PIECES && e >= PIECES)
                    continue;
                uint8_t *to = ring + write + e / W::PIECES * NEXT_ROW + e % W::PIECES * 16;
                if (inside)
                    mm_copy_piece<F>(to, from[j]);
                else
                    mm_copy_last<F>(to, from[j], left - e % W::PIECES * 16);
                from[j] += W::BYTES;
            }
        left -= W::BYTES;
        write = advance(write);
        cp_async_commit();
    }

    /* The chunk in use of row r of the group. */
    __device__ __forceinline__ const uint8_t *chunk_at(int r) const
    {
        return ring + read + r * NEXT_ROW + (W::WHOLE ? 0 : low[r]);
    }

    __device__ __forceinline__ float chunk(float sum)
    {
        uint4 q[C][2];
        int less[C][2];
        if constexpr (R > 1) /* x stays, W passes; else x passes */
#pragma unroll
            for (int c = 0; c < C; c++)
                load(x + at[c], q[c], less[c]);
        if constexpr (W::BLOCK == 256) {
            int dot[N];
#pragma unroll
            for (int r = 0; r < R; r++) {
                struct mm_lane l;
                mm_lane_of<F>(chunk_at(r), s, book, l);
#pragma unroll
                for (int c = 0; c < C; c++) {
                    if constexpr (R == 1)
                        load(x + at[c], q[c], less[c]);
                    int d0 = less[c][0], d1 = less[c][1];
                    run(q[c], l, d0, d1);
                    dot[r * C + c] = l.scale0 * d0 + l.scale1 * d1;
                }
            }
            const int all = mm_reduce<8>(dot, s);
            const struct mm_factors f =
                W::factors(ring + read + own_w * NEXT_ROW + (W::WHOLE ? 0 : own_low));
            const struct mm_x *mine = x + own_x;
            const float d_x = mine->k.d;
            sum = mm_add_dot(sum, f.d, d_x, all);
            if constexpr (W::MIN)
                sum = mm_add_min(sum, f.dmin, d_x, mm_chunk_min<F>(f, mine));
            return sum;
        } else {
            float product[N], d_x[C];
            if constexpr (R > 1)
#pragma unroll
                for (int c = 0; c < C; c++)
                    d_x[c] = x[at[c]].d32[s];
#pragma unroll
            for (int r = 0; r < R; r++) {
                struct mm_lane l;
                mm_lane_of<F>(chunk_at(r), s, book, l);
#pragma unroll
                for (int c = 0; c < C; c++) {
                    if constexpr (R == 1) {
                        load(x + at[c], q[c], less[c]);
                        d_x[c] = x[at[c]].d32[s];
                    }
                    const int extra = less[c][0] + less[c][1];
                    int dot = W::MIN ? 0 : extra;
                    run(q[c], l, dot, dot);
                    float &p = product[r * C + c];
                    p = mm_product(l.d, d_x[c], dot);
                    if constexpr (W::MIN)
                        p = mm_product_min(p, l.m, d_x[c], extra);
                }
            }
            return sum + mm_reduce<8>(product, s);
        }
    }

    /* x for this lane's two runs, and minus the contribution of the weights' bias to each. Formats
     * of 32 with minimums: the sums of x in place of that. */
    __device__ __forceinline__ void load(const struct mm_x *at, uint4 (&q)[2], int (&less)[2])
    {
        q[0] = vec_load16(at->q + W::x0(s));
        q[1] = vec_load16(at->q + W::x1(s));
        less[0] = less[1] = 0;
        constexpr bool SUMS = W::BLOCK == 32 && W::MIN;
        static_assert(!SUMS || W::BIAS == 0, "one of the two");
        if constexpr (W::BIAS != 0 || SUMS) {
            const uint32_t minus = (SUMS ? 1 : (uint8_t)-W::BIAS) * 0x01010101u;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                less[i] = __dp4a((int)q[i].x, (int)minus, less[i]);
                less[i] = __dp4a((int)q[i].y, (int)minus, less[i]);
                less[i] = __dp4a((int)q[i].z, (int)minus, less[i]);
                less[i] = __dp4a((int)q[i].w, (int)minus, less[i]);
            }
        }
    }

    /* this lane's 32 products: the first run into a, the second into b */
    __device__ __forceinline__ static void run(const uint4 (&q)[2], const struct mm_lane &l, int &a,
                                               int &b)
    {
        const uint4 q0 = q[0], q1 = q[1];
        a = __dp4a((int)l.run0[0], (int)q0.x, a);
        a = __dp4a((int)l.run0[1], (int)q0.y, a);
        a = __dp4a((int)l.run0[2], (int)q0.z, a);
        a = __dp4a((int)l.run0[3], (int)q0.w, a);
        b = __dp4a((int)l.run1[0], (int)q1.x, b);
        b = __dp4a((int)l.run1[1], (int)q1.y, b);
        b = __dp4a((int)l.run1[2], (int)q1.z, b);
        b = __dp4a((int)l.run1[3], (int)q1.w, b);
    }

    /* n chunks */
    __device__ __forceinline__ float all(int n)
    {
        float sum = 0;
        read = write = 0;
#pragma unroll
        for (int k = 0; k < STAGES - 1; k++)
            fetch(k < n);
#pragma unroll 1
        for (int more = n - STAGES + 1; more > 1 - STAGES; more--) {
            cp_async_wait<STAGES - 2>();
            /* the chunk has arrived for all lanes, and nobody reads the one before, whose place the
             * next takes */
            __syncwarp();
            fetch(more > 0);
            sum = chunk(sum);
            x++;
            read = advance(read);
            if constexpr (W::BYTES % 16 != 0) {
#pragma unroll
                for (int r = 0; r < R; r++)
                    low[r] = (low[r] + W::BYTES) & 15;
                own_low = (own_low + W::BYTES) & 15;
            }
        }
        __syncwarp(); /* all have read the last chunk before the next task fills its place */
        return sum;
    }
};

/* Blocks on an SM. With the bound ptxas uses the registers that it leaves (80, 128). Without the
 * bound ptxas spills a few to reach a rounder number. */
template <enum fmt F, int R, int C>
__global__ void __launch_bounds__(MV_WARPS * 32, R *C == 1                 ? 3
                                                 : F == FMT_Q5_K && C == 8 ? 1
                                                                           : 2)
    k_matmul_matvec(const struct mv_args a)
{
    using S = mv_segment<F, R, C>;
    using W = mm_format<F>;
    SmemCarve carve;
    uint8_t *ring = carve.take<uint8_t>(MV_WARPS * S::STAGES * S::ROWS * W::APART, 128);
    const int tasks = a.groups * a.segments;
    float *part = carve.take<float>((unsigned)(tasks * S::ROWS * C)); /* (segment, group, row, C) */
    const uint8_t *book = mm_book<F>(carve, MV_WARPS * 32);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, row = lane / 8;
    const int pair =
        a.c.epilogue == MM_SWIGLU; /* then row v of the tile is row v / 2 of w[v % 2] */
    int tile = (int)blockIdx.x;
    const struct mm_matrix m = mm_find(a.c, tile);
    const int row0 = (int)blockIdx.y * C;

    S g;
    g.ring = ring + (warp * S::STAGES * S::ROWS + row) * W::APART;
    g.s = lane % 8;
    g.book = book;
    const int own = g.s * S::N / 8, col = own % C;
#pragma unroll
    for (int c = 0; c < C; c++) /* rows past the end repeat the last and are not stored */
        g.at[c] = min(c, a.c.n_row - 1 - row0) * a.c.n_chunk;
    g.own_w = own / C;
    g.own_x = min(col, a.c.n_row - 1 - row0) * a.c.n_chunk;
    for (int task = warp; task < tasks; task += MV_WARPS) {
        const int group = task % a.groups, segment = task / a.groups;
        const int first = segment * MM_SEGMENT;
        const int n = a.c.n_chunk - first < MM_SEGMENT ? a.c.n_chunk - first : (int)MM_SEGMENT;
#pragma unroll
        for (int r = 0; r < R; r++) {
            int v = (tile * a.groups + group) * S::ROWS + r * MV_GROUPS + row;
            v = min(v, (m.n_out << pair) - 1); /* here too */
            const int second = v & pair;
            const uint8_t *w = (second ? m.w[1] : m.w[0]) +
                               (size_t)(v >> pair) * (second ? m.row_bytes[1] : m.row_bytes[0]);
            g.set_row(r, w + (size_t)first * W::BYTES);
        }
        g.left = (int)a.c.row_used - first * W::BYTES;
        g.x = a.c.x + (size_t)row0 * (size_t)a.c.n_chunk + first;
        const float sum = g.all(n);
        if (g.s % (8 / S::N) == 0)
            part[(task * S::ROWS + g.own_w * MV_GROUPS + row) * C + col] = sum;
    }
    __syncthreads(); /* every segment is in part */

    const int results = a.groups * (S::ROWS >> pair) * C;
    for (int i = (int)threadIdx.x; i < results; i += MV_WARPS * 32) {
        const int c = i % C, v = (i / C) << pair; /* row of the tile */
        float total[2] = {0, 0};
        for (int k = 0; k < a.segments; k++) {
            const float *p = part + (k * a.groups * S::ROWS + v) * C + c;
            total[0] += p[0];
            if (pair)
                total[1] += p[C];
        }
        const int j = (tile * a.groups * S::ROWS + v) >> pair;
        if (j < m.n_out && row0 + c < a.c.n_row)
            mm_store(m, a.c.epilogue, j, row0 + c, total[0], total[1]);
    }
}

template <enum fmt F, int R, int C>
static int mv_launch(cudaStream_t s, struct mm_call *c, int n, struct err *e)
{
    constexpr int ROWS = MV_GROUPS * R;
    struct mv_args a;
    a.segments = (c->n_chunk + MM_SEGMENT - 1) / MM_SEGMENT;
    a.groups = 1; /* enough that every warp of a block has a task, no more: many blocks */
    while (a.groups < MV_WARPS && a.groups * a.segments < MV_WARPS)
        a.groups *= 2;
    const int tiles = mm_tiles(c, n, a.groups * ROWS);
    a.c = *c;
    const size_t ring = (size_t)MV_WARPS * mv_stages<R>() * ROWS * mm_format<F>::APART;
    const size_t part = sizeof(float) * (size_t)a.groups * (size_t)a.segments * ROWS * C;
    const dim3 grid((unsigned)tiles, (unsigned)((a.c.n_row + C - 1) / C));
    static_assert(MV_WARPS * mv_stages<R>() * ROWS * mm_format<F>::APART + mm_format<F>::BOOK <=
                      CU_SMEM_LEAST - 4096,
                  "runs on the smallest card");
    const size_t bytes = ring + size_align(part, 16) + mm_format<F>::BOOK;
    TRY(cu_smem_limit(k_matmul_matvec<F, R, C>, bytes, e));
    LAUNCH((k_matmul_matvec<F, R, C>), grid, MV_WARPS * 32, bytes, s, a);
    CU_LAUNCHED(e, "matmul_matvec");
    return 0;
}

template <enum fmt F>
static int mv_launch_rows(cudaStream_t s, struct mm_call *c, int n, bool rows, struct err *e)
{
    if (c->n_row == 1)
        return rows ? mv_launch<F, mv_rows<F, 1>(), 1>(s, c, n, e) : mv_launch<F, 1, 1>(s, c, n, e);
    if (c->n_row == 2)
        return rows ? mv_launch<F, mv_rows<F, 2>(), 2>(s, c, n, e) : mv_launch<F, 1, 2>(s, c, n, e);
    if (c->n_row <= 4)
        return mv_launch<F, 1, 4>(s, c, n, e);
    return mv_launch<F, 1, 8>(s, c, n, e);
}

int mm_launch_matvec(cudaStream_t s, bool rows, enum fmt fmt, struct mm_call *c, int n,
                     struct err *e)
{
    switch (fmt) {
#define MV_LAUNCH(NAME, elems)                                                                     \
    case FMT_##NAME:                                                                               \
        static_assert(mm_format<FMT_##NAME>::BLOCK == elems, "matmul.cuh and matmul_block.cuh");   \
        return mv_launch_rows<FMT_##NAME>(s, c, n, rows, e);
        MM_QUANTS(MV_LAUNCH)
#undef MV_LAUNCH
    default:
        FAIL(e, ERR_BUG, "matmul: matvec has no kernel for %s", fmt_info(fmt)->name);
    }
}

} // namespace CU_NS
