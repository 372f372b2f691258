/*
 * matmul, quantised weights, few rows of x:  y[r][j] = sum_i x[r][i] W[j][i]
 *
 * Shapes: W (n_out, n_in) in blocks, x (n_row, ceil(n_in / 256)) mm_x, y (n_row, n_out) f32.
 * Moves n_out * row_bytes + n_row * (1.125 n_in + 4 n_out) bytes; each weight is read once for up to
 * 8 rows of x, and again for each further 8. Floor: those bytes at the card's bandwidth, e.g. 4096 x
 * 4096 Q4_K 9.4 MB: 9.4 us at 1,008 GB/s, 2.0 us at 4.8 TB/s.
 *
 * A warp computes 4 rows of W x one segment (8 chunks of 256) x C rows of x. Its 8 lanes of a row
 * share a chunk: each multiplies 32 weights by dp4a with C rows of x, and mm_reduce leaves each lane
 * the total of one of them, so the f32 part is done once per result, not once per lane.
 *
 *        chunk      k                k + 1
 *   row 0   lanes  0..7 | 32 weights each ...        warps of a block: `groups` groups of 4 rows x
 *   row 1   lanes  8..15                             all segments; their sums meet in shared memory
 *   row 2   lanes 16..23                             and are added in the order of segments
 *   row 3   lanes 24..31
 *
 * Weights come by cp.async, 16 bytes each, into a ring of MV_STAGES chunks that belongs to the warp:
 * MV_STAGES - 1 chunks x 4 rows are in flight (1.7 to 3.3 KB a warp, 14 to 26 KB a block). Where
 * blocks are no multiple of 16 bytes the piece between two chunks is fetched twice, the second time
 * from L2. x is read through L1: all rows of the warp, and most warps of the block, want the same.
 *
 * Variants: C = 1, 2, 4, 8 rows of x at once. Not measured: there was no GPU.
 * Numerics: matmul.cuh; bit for bit those of mma.
 */
#include "matmul_block.cuh"

namespace CU_NS
{

static constexpr int MV_WARPS = 8;
static constexpr int MV_ROWS =
    4; /* of W for a warp: 8 lanes each, whose 32 weights are 16-byte runs */
static constexpr int MV_STAGES = 4; /* chunks of the ring: Q8_0, the largest, makes 38 KB a block */

struct mv_args {
    struct mm_call c;
    int groups;   /* of MV_ROWS rows of W for a block */
    int segments; /* of a row */
};

/* sum of one segment for (row of this lane, row of x number lane % 8 * C / 8) */
template <enum fmt F, int C> struct mv_segment {
    using W = mm_format<F>;

    uint8_t *ring;          /* (MV_STAGES, MV_ROWS, APART) */
    const uint8_t *w, *end; /* this lane's row of W: chunk 0 of the segment, end of the row */
    const struct mm_x *x;   /* chunk 0 of the segment, first row of x */
    int at[C];              /* from there to each of the rows */
    int own;                /* from there to the row that this lane finishes */
    int row, s;

    __device__ __forceinline__ void fetch(int k, int n)
    {
        if (k < n)
            for (int i = s; i < W::PIECES; i += 8)
                mm_copy_piece(ring + (k % MV_STAGES * MV_ROWS + row) * W::APART,
                              w + (size_t)k * W::BYTES, end, i);
        cp_async_commit();
    }

    __device__ __forceinline__ float chunk(int k, float sum)
    {
        const uint8_t *p =
            ring + (k % MV_STAGES * MV_ROWS + row) * W::APART + mm_offset(w + (size_t)k * W::BYTES);
        struct mm_lane l;
        W::lane(p, s, l);
        if constexpr (W::BLOCK == 256) {
            int dot[C];
#pragma unroll
            for (int c = 0; c < C; c++) {
                int d0 = 0, d1 = 0;
                run(x + at[c] + k, l, d0, d1);
                dot[c] = l.scale0 * d0 + l.scale1 * d1;
            }
            const int all = mm_reduce<8>(dot, s);
            const struct mm_factors f = W::factors(p);
            const struct mm_x *mine = x + own + k;
            const float d_x = mine->k.d;
            sum = mm_add_dot(sum, f.d, d_x, all);
            if constexpr (W::MIN)
                sum = mm_add_min(sum, f.dmin, d_x, mm_min(f.min, vec_load16(mine->k.hi)));
            return sum;
        } else {
            float product[C];
#pragma unroll
            for (int c = 0; c < C; c++) {
                int dot = 0;
                run(x + at[c] + k, l, dot, dot);
                product[c] = mm_product(l.d, x[at[c] + k].d32[s], dot);
            }
            return sum + mm_reduce<8>(product, s);
        }
    }

    /* this lane's 32 products: the first run into a, the second into b */
    __device__ __forceinline__ void run(const struct mm_x *at, const struct mm_lane &l, int &a,
                                        int &b)
    {
        const uint4 q0 = vec_load16(at->q + W::x0(s));
        const uint4 q1 = vec_load16(at->q + W::x1(s));
        a = __dp4a((int)l.run0[0], (int)q0.x, a);
        a = __dp4a((int)l.run0[1], (int)q0.y, a);
        a = __dp4a((int)l.run0[2], (int)q0.z, a);
        a = __dp4a((int)l.run0[3], (int)q0.w, a);
        b = __dp4a((int)l.run1[0], (int)q1.x, b);
        b = __dp4a((int)l.run1[1], (int)q1.y, b);
        b = __dp4a((int)l.run1[2], (int)q1.z, b);
        b = __dp4a((int)l.run1[3], (int)q1.w, b);
    }

    __device__ __forceinline__ float all(int n)
    {
        float sum = 0;
        for (int k = 0; k < MV_STAGES - 1; k++)
            fetch(k, n);
#pragma unroll 1
        for (int k = 0; k < n; k++) {
            cp_async_wait<MV_STAGES - 2>();
            __syncwarp(); /* chunk k is there for all lanes, and all have done with k - 1, whose
                             place k + MV_STAGES - 1 takes */
            fetch(k + MV_STAGES - 1, n);
            sum = chunk(k, sum);
        }
        __syncwarp(); /* all have read the last chunk before the next task fills the ring; of today's
                         sizes the fill would miss its place, which nothing here relies on */
        return sum;
    }
};

/* Blocks on an SM: asked for, ptxas uses what registers that leaves (80, 128); not asked, it spills a
 * few to arrive at a rounder number. */
template <enum fmt F, int C>
__global__ void __launch_bounds__(MV_WARPS * 32, C == 1 ? 3 : 2)
    k_matmul_matvec(const struct mv_args a)
{
    using W = mm_format<F>;
    SmemCarve carve;
    uint8_t *ring = carve.take<uint8_t>(MV_WARPS * MV_STAGES * MV_ROWS * W::APART, 128);
    const int tasks = a.groups * a.segments;
    float *part = carve.take<float>((unsigned)(tasks * MV_ROWS * C)); /* (segment, group, row, C) */
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int pair =
        a.c.epilogue == MM_SWIGLU; /* then row v of the tile is row v / 2 of w[v % 2] */
    int tile = (int)blockIdx.x;
    const struct mm_matrix m = mm_find(a.c, tile);
    const int row0 = (int)blockIdx.y * C;

    struct mv_segment<F, C> g;
    g.ring = ring + warp * MV_STAGES * MV_ROWS * W::APART;
    g.row = lane / 8;
    g.s = lane % 8;
    const int col = g.s * C / 8;
#pragma unroll
    for (int c = 0; c < C; c++) /* rows past the end repeat the last and are not stored */
        g.at[c] = min(c, a.c.n_row - 1 - row0) * a.c.n_chunk;
    g.own = min(col, a.c.n_row - 1 - row0) * a.c.n_chunk;
    for (int task = warp; task < tasks; task += MV_WARPS) {
        const int group = task % a.groups, segment = task / a.groups;
        const int first = segment * MM_SEGMENT;
        const int n = a.c.n_chunk - first < MM_SEGMENT ? a.c.n_chunk - first : (int)MM_SEGMENT;
        int v = (tile * a.groups + group) * MV_ROWS + g.row;
        v = min(v, (m.n_out << pair) - 1); /* here too */
        const int second = v & pair;
        const uint8_t *w = (second ? m.w[1] : m.w[0]) +
                           (size_t)(v >> pair) * (second ? m.row_bytes[1] : m.row_bytes[0]);
        g.end = w + a.c.row_used;
        g.w = w + (size_t)first * W::BYTES;
        g.x = a.c.x + (size_t)row0 * (size_t)a.c.n_chunk + first;
        const float sum = g.all(n);
        if (g.s % (8 / C) == 0)
            part[(task * MV_ROWS + g.row) * C + col] = sum;
    }
    __syncthreads(); /* every segment is in part */

    const int results = a.groups * (MV_ROWS >> pair) * C;
    for (int i = (int)threadIdx.x; i < results; i += MV_WARPS * 32) {
        const int c = i % C, v = (i / C) << pair; /* row of the tile */
        float total[2] = {0, 0};
        for (int k = 0; k < a.segments; k++) {
            const float *p = part + (k * a.groups * MV_ROWS + v) * C + c;
            total[0] += p[0];
            if (pair)
                total[1] += p[C];
        }
        const int j = (tile * a.groups * MV_ROWS + v) >> pair;
        if (j < m.n_out && row0 + c < a.c.n_row)
            mm_store(m, a.c.epilogue, j, row0 + c, total[0], total[1]);
    }
}

template <enum fmt F, int C>
static int mv_launch(cudaStream_t s, const struct mv_args &a, int tiles, struct err *e)
{
    const size_t ring = (size_t)MV_WARPS * MV_STAGES * MV_ROWS * mm_format<F>::APART;
    const size_t part = sizeof(float) * (size_t)a.groups * (size_t)a.segments * MV_ROWS * C;
    const dim3 grid((unsigned)tiles, (unsigned)((a.c.n_row + C - 1) / C));
    TRY(cu_smem_limit(k_matmul_matvec<F, C>, ring + part, e));
    LAUNCH((k_matmul_matvec<F, C>), grid, MV_WARPS * 32, ring + part, s, a);
    CU_LAUNCHED(e, "matmul_matvec");
    return 0;
}

template <enum fmt F>
static int mv_launch_rows(cudaStream_t s, const struct mv_args &a, int tiles, struct err *e)
{
    if (a.c.n_row == 1)
        return mv_launch<F, 1>(s, a, tiles, e);
    if (a.c.n_row == 2)
        return mv_launch<F, 2>(s, a, tiles, e);
    if (a.c.n_row <= 4)
        return mv_launch<F, 4>(s, a, tiles, e);
    return mv_launch<F, 8>(s, a, tiles, e);
}

int mm_launch_matvec(cudaStream_t s, enum fmt fmt, struct mm_call *call, int n, struct err *e)
{
    struct mv_args a;
    a.segments = (call->n_chunk + MM_SEGMENT - 1) / MM_SEGMENT;
    a.groups = 1; /* enough that every warp of a block has a task, no more: many blocks */
    while (a.groups < MV_WARPS && a.groups * a.segments < MV_WARPS)
        a.groups *= 2;
    const int tiles = mm_tiles(call, n, a.groups * MV_ROWS);
    a.c = *call;
    switch (fmt) {
    case FMT_Q4_0:
        return mv_launch_rows<FMT_Q4_0>(s, a, tiles, e);
    case FMT_Q8_0:
        return mv_launch_rows<FMT_Q8_0>(s, a, tiles, e);
    case FMT_Q4_K:
        return mv_launch_rows<FMT_Q4_K>(s, a, tiles, e);
    case FMT_Q5_K:
        return mv_launch_rows<FMT_Q5_K>(s, a, tiles, e);
    case FMT_Q6_K:
        return mv_launch_rows<FMT_Q6_K>(s, a, tiles, e);
    default:
        FAIL(e, ERR_BUG, "matmul: matvec has no kernel for %s", fmt_info(fmt)->name);
    }
}

} // namespace CU_NS
