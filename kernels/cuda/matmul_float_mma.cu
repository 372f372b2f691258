/*
 * matmul, F16 and BF16 weights, on tensor cores:  y[r][j] = sum_i x[r][i] W[j][i]
 *
 * Shapes: W (n_out, n_in), x (n_row, n_in) f32, y (n_row, n_out) f32. Rows of W and n_in are in
 * whole 16-byte pieces (8 weights), else matmul_float.cu. Moves n_out * row_bytes + 4 n_row (n_in +
 * n_out) bytes. Floor: those bytes at the card's bandwidth for few rows, P 2 n_row n_in n_out
 * operations at the f16 rate of mma.sync for many (P below).
 *
 * Tensor cores multiply f16 by f16 and bf16 by bf16, exactly, and add in f32. So x is split into P
 * parts of the weights' format whose sum is x, and each part is multiplied. Weights are read once,
 * and x keeps (nearly) all its bits:
 *
 *   F16   P = 2: x s = high + low, 22 bits. s, a power of two for each segment, keeps the parts
 *         above f16's small range (the loss is 2^-40 of the segment's largest). The segment's sum
 *         is divided by s again
 *   BF16  P = 3: x = p0 + p1 + p2, cut off after 8 bits each: exact
 *
 * A block of 4 warps makes 16 MW rows of W x 8 NT rows of x. Its G = 4 / MW groups of warps take
 * turns at the segments of a row. A chunk of 64 of W and of the parts of x lies in shared memory, S
 * stages by cp.async; both operands come by ldmatrix. For MM_SWIGLU: matmul_mma.cu.
 *
 * Variants: (NT, G) = (1, 4), (2, 4), (4, 1), (8, 1) for up to 8, 16, 32 and more rows of x. Not
 * measured: there was no GPU.
 *
 * Numerics (binding: every geometry and n_row gives the same bits). A segment is 8 chunks. Its sum
 * begins with 0 and takes k = 0..15, 16..31 .. in turn, of each the parts in turn, by one mma each.
 * The order of addition within an mma is the hardware's. total = fmaf(sum, 1 / s, total) in order
 * of segments. The bits differ from those of matmul_float.cu; the weights alone decide which of the
 * two files is used.
 */
#include "matmul.cuh"

namespace CU_NS
{

static constexpr int MH_CHUNK = SCRATCH_MH_CHUNK, MH_SEGMENT = 8; /* elements; chunks */
static constexpr int MH_SEGMENT_ELEMS = MH_CHUNK * MH_SEGMENT;
static_assert(MH_SEGMENT_ELEMS == SCRATCH_MH_SEGMENT, "elements of a segment");
static constexpr int MH_WARPS = 4, MH_THREADS = 32 * MH_WARPS;
static constexpr int MH_ROW = 144; /* bytes from row to row in shared memory: 4 words modulo 32, so
                                      that the 8 rows of an ldmatrix lie in different banks */

template <enum fmt F> static constexpr int MH_PARTS = SCRATCH_MH_PARTS(F);

__host__ __device__ static constexpr int mh_div(int64_t n, int by)
{
    return (int)((n + by - 1) / by);
}

/* After the parts: 1 / s of each segment, (n_row, n_segment). */
static const float *mh_back(enum fmt fmt, const void *parts, int64_t n_row, int64_t n_in)
{
    return reinterpret_cast<const float *>(static_cast<const char *>(parts) +
                                           scratch_parts(fmt, n_row, n_in)) -
           n_row * mh_div(n_in, MH_SEGMENT_ELEMS);
}

/* ---- x in parts ---------------------------------------------------------------------------- */

struct mh_split {
    const float *x;  /* (n_row, n_in) */
    uint16_t *parts; /* (n_row, n_chunk, P, MH_CHUNK) */
    float *back;     /* (n_row, n_segment): 1 / s */
    int64_t n_in;
    int n_row, n_chunk, n_segment;
};

/* The power of two that brings the largest magnitude, given by its bits, to 2^14 .. 2^15; its
 * inverse is a normal number too. */
__device__ __forceinline__ float mh_scale(uint32_t top, float *back)
{
    const uint32_t e = min(max(top >> 23, 41u), 254u);
    *back = __uint_as_float((e - 14) << 23);
    return __uint_as_float((268 - e) << 23);
}

template <enum fmt F> __device__ __forceinline__ void mh_cut(float v, uint16_t (&p)[MH_PARTS<F>])
{
    const uint32_t size = __float_as_uint(v) & 0x7fffffffu;
    const bool finite = size < 0x7f800000u;
    const bool nan = size > 0x7f800000u;
    if constexpr (F == FMT_F16) {
        p[0] = vec_pack_half(v);
        p[1] = finite ? vec_pack_half(v - vec_half(p[0])) : (uint16_t)0;
    } else {
#pragma unroll
        for (int k = 0; k < 3; k++) {
            p[k] = (uint16_t)(__float_as_uint(v) >> 16);
            v -= vec_bf16(p[k]);
        }
        if (!finite) { /* a NaN may have all its bits below; infinity less itself is one */
            p[0] = nan ? (uint16_t)0x7fc0 : p[0];
            p[1] = p[2] = 0;
        }
    }
}

/* A warp a segment, 16 elements a lane. */
template <enum fmt F>
__global__ void __launch_bounds__(MH_THREADS) k_matmul_split(const struct mh_split a)
{
    constexpr int P = MH_PARTS<F>;
    const int lane = (int)threadIdx.x % 32;
    const int64_t at = (int64_t)blockIdx.x * MH_WARPS + threadIdx.x / 32;
    if (at >= (int64_t)a.n_row * a.n_segment)
        return; /* the whole warp */
    const int64_t row = at / a.n_segment;
    const int segment = (int)(at % a.n_segment);
    float v[16];
    uint32_t top = 0;
#pragma unroll
    for (int h = 0; h < 2; h++) { /* 8 neighbours of every 256 */
        const int64_t i = (int64_t)segment * MH_SEGMENT_ELEMS + 256 * h + 8 * lane;
#pragma unroll
        for (int k = 0; k < 8; k += 4) { /* n_in is a multiple of 8 */
            const float4 q =
                i < a.n_in ? vec_load4(a.x + row * a.n_in + i + k) : make_float4(0, 0, 0, 0);
            v[8 * h + k] = q.x;
            v[8 * h + k + 1] = q.y;
            v[8 * h + k + 2] = q.z;
            v[8 * h + k + 3] = q.w;
        }
    }
    float scale = 1, back = 1;
    if constexpr (F == FMT_F16) {
#pragma unroll
        for (int k = 0; k < 16; k++)
            top = max(top, __float_as_uint(v[k]) & 0x7fffffffu);
#pragma unroll
        for (int bit = 1; bit < 32; bit *= 2)
            top = max(top, __shfl_xor_sync(0xffffffffu, top, bit));
        scale = mh_scale(top, &back);
    }
    if (lane == 0)
        a.back[at] = back;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int chunk = segment * MH_SEGMENT + 4 * h + lane / 8;
        uint16_t p[8][P];
#pragma unroll
        for (int k = 0; k < 8; k++)
            mh_cut<F>(__fmul_rn(v[8 * h + k], scale), p[k]);
        if (chunk >= a.n_chunk)
            continue;
        uint16_t *to = a.parts + (row * a.n_chunk + chunk) * (P * MH_CHUNK) + lane % 8 * 8;
#pragma unroll
        for (int part = 0; part < P; part++) {
            uint32_t w[4];
#pragma unroll
            for (int k = 0; k < 4; k++)
                w[k] = p[2 * k][part] | (uint32_t)p[2 * k + 1][part] << 16;
            vec_store16(to + part * MH_CHUNK, make_uint4(w[0], w[1], w[2], w[3]));
        }
    }
}

/* ---- the products -------------------------------------------------------------------------- */

struct mh_call {
    struct mm_call c;
    const uint16_t *parts;
    const float *back;
    int n_chunk, n_segment;
};

template <enum fmt F, int NT, int G> struct mh_shape {
    static constexpr int MW = MH_WARPS / G, ROWS = 16 * MW, THREADS = 32 * MW; /* of a group */
    static constexpr int X_ROWS = 8 * NT * MH_PARTS<F>;
    static constexpr int STAGE = (ROWS + X_ROWS) * MH_ROW; /* bytes */
    /* as many stages as 99 KB hold; with few rows of x, W's bytes in flight are the bound */
    static constexpr int S = NT == 1 ? 4 : NT == 8 || (NT == 2 && F == FMT_BF16) ? 2 : 3;
    static constexpr size_t BYTES =
        (size_t)G * S * STAGE + (G > 1 ? sizeof(float) * NT * 4 * MH_THREADS : 0);
};

template <enum fmt F>
__device__ __forceinline__ void mh_mma(float (&d)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2])
{
    if constexpr (F == FMT_F16)
        mma_m16n8k16_f16(d, a, b);
    else
        mma_m16n8k16_bf16(d, a, b);
}

/* A chunk: w, this warp's 16 rows; x (P, 8 NT) rows; both of MH_ROW bytes. */
template <enum fmt F, int NT>
__device__ __forceinline__ void mh_chunk(const uint8_t *w, const uint8_t *x, int lane,
                                         float (&sum)[NT][4])
{
    constexpr int P = MH_PARTS<F>;
#pragma unroll
    for (int half = 0; half < 2; half++) { /* 32 elements each */
        uint32_t a[2][4];
#pragma unroll
        for (int k = 0; k < 2; k++)
            ldmatrix_x4(a[k], w + lane % 16 * MH_ROW + 64 * half + 32 * k + lane / 16 * 16);
#pragma unroll
        for (int n = 0; n < NT; n++) {
            uint32_t b[P][4];
#pragma unroll
            for (int p = 0; p < P; p++)
                ldmatrix_x4(b[p],
                            x + (8 * (p * NT + n) + lane % 8) * MH_ROW + 64 * half + lane / 8 * 16);
#pragma unroll
            for (int k = 0; k < 2; k++)
#pragma unroll
                for (int p = 0; p < P; p++) {
                    const uint32_t of[2] = {b[p][2 * k], b[p][2 * k + 1]};
                    mh_mma<F>(sum[n], a[k], of);
                }
        }
    }
}

template <enum fmt F, int NT, int G>
__global__ void __launch_bounds__(MH_THREADS, NT == 8 ? 2 : 3)
    k_matmul_float_mma(const struct mh_call call)
{
    constexpr int P = MH_PARTS<F>;
    using H = mh_shape<F, NT, G>;
    const struct mm_call &a = call.c;
    SmemCarve carve;
    uint8_t *stages = carve.take<uint8_t>(G * H::S * H::STAGE, 128);
    float *meet = carve.take<float>(G > 1 ? NT * 4 * MH_THREADS : 0); /* (G, NT, 4, THREADS) */
    const int group = (int)threadIdx.x / H::THREADS, tid = (int)threadIdx.x % H::THREADS;
    const int warp = tid / 32, lane = tid % 32;
    stages += group * H::S * H::STAGE;
    /* neighbours in the grid share their rows of W */
    const int x_tiles = mh_div(a.n_row, 8 * NT);
    const int row0 = (int)blockIdx.x % x_tiles * (8 * NT);
    int tile = (int)blockIdx.x / x_tiles;
    const struct mm_matrix m = mm_find(a, tile);

    /* 8 neighbours copy the 128 bytes of a row of W, or of a part of a row of x. */
    constexpr int AT_ONCE = H::THREADS / 8, W_TURNS = H::ROWS / AT_ONCE;
    constexpr int X_TURNS = H::X_ROWS / AT_ONCE;
    static_assert(H::ROWS % AT_ONCE == 0 && H::X_ROWS % AT_ONCE == 0, "whole turns");
    const int piece = tid % 8, first = tid / 8;
    const uint8_t *w_from[W_TURNS];
    const uint16_t *x_from[X_TURNS];
#pragma unroll
    for (int i = 0; i < W_TURNS; i++)
        w_from[i] = mm_find_row<H::ROWS>(a, m, tile, first + i * AT_ONCE) + 16 * piece;
#pragma unroll
    for (int i = 0; i < X_TURNS; i++) { /* rows past the end repeat the last, are not stored */
        const int at = first + i * AT_ONCE, r = min(row0 + at % (8 * NT), a.n_row - 1);
        x_from[i] = call.parts + ((size_t)r * (size_t)call.n_chunk * P + at / (8 * NT)) * MH_CHUNK +
                    8 * piece;
    }
    /* the group's j-th chunk */
    auto chunk = [&](int j) { return (j / MH_SEGMENT * G + group) * MH_SEGMENT + j % MH_SEGMENT; };
    auto fetch = [&](int j) {
        const int k = chunk(j);
        if (k < call.n_chunk) {
            uint8_t *to = stages + j % H::S * H::STAGE + first * MH_ROW + 16 * piece;
            const bool ok = (int64_t)k * MH_CHUNK + 8 * piece < a.n_in;
#pragma unroll
            for (int i = 0; i < W_TURNS; i++)
                cp_async16_zfill(to + i * AT_ONCE * MH_ROW, w_from[i] + (size_t)k * (2 * MH_CHUNK),
                                 ok);
            to += H::ROWS * MH_ROW;
#pragma unroll
            for (int i = 0; i < X_TURNS; i++)
                cp_async16(to + i * AT_ONCE * MH_ROW, x_from[i] + (size_t)k * (P * MH_CHUNK));
        }
        cp_async_commit();
    };

    float sum[NT][4] = {}, total[NT][4] = {};
    const int rounds = mh_div(call.n_chunk, G * MH_SEGMENT);
    const int steps = G == 1 ? call.n_chunk : rounds * MH_SEGMENT;
    for (int j = 0; j < H::S - 1; j++)
        fetch(j);
#pragma unroll 1
    for (int j = 0; j < steps; j++) {
        cp_async_wait<H::S - 2>();
        /* the chunk has arrived for the group, and nobody reads the chunk whose place is filled
         * next */
        if constexpr (G == 1)
            __syncthreads();
        else if constexpr (H::MW == 1)
            __syncwarp();
        else
            named_barrier(1 + group, H::THREADS);
        fetch(j + H::S - 1);
        if (chunk(j) < call.n_chunk) {
            const uint8_t *at = stages + j % H::S * H::STAGE;
            mh_chunk<F, NT>(at + 16 * warp * MH_ROW, at + H::ROWS * MH_ROW, lane, sum);
        }
        if (j % MH_SEGMENT != MH_SEGMENT - 1 && j != steps - 1)
            continue;
        const int before = j / MH_SEGMENT * G; /* segments */
        if constexpr (G > 1) {
#pragma unroll
            for (int i = 0; i < NT * 4; i++)
                meet[(group * NT * 4 + i) * H::THREADS + tid] = sum[i / 4][i % 4];
            __syncthreads(); /* the sums of G segments are there */
        }
        for (int g = 0; g < G && before + g < call.n_segment && group == 0; g++)
#pragma unroll
            for (int i = 0; i < NT * 4; i++) {
                const int r = min(row0 + i / 4 * 8 + lane % 4 * 2 + i % 2, a.n_row - 1);
                const float s =
                    G == 1 ? sum[i / 4][i % 4] : meet[(g * NT * 4 + i) * H::THREADS + tid];
                total[i / 4][i % 4] =
                    fmaf(s, call.back[(size_t)r * (size_t)call.n_segment + before + g],
                         total[i / 4][i % 4]);
            }
        if constexpr (G > 1)
            __syncthreads(); /* and have been added */
#pragma unroll
        for (int i = 0; i < NT * 4; i++)
            sum[i / 4][i % 4] = 0;
    }
    if (group == 0)
#pragma unroll
        for (int n = 0; n < NT; n++)
            mm_store_tile<H::ROWS>(a, m, tile, warp, lane, row0 + 8 * n, total[n]);
}

template <enum fmt F, int NT, int G>
static int mh_launch(cudaStream_t s, struct mh_call *a, int n, struct err *e)
{
    using H = mh_shape<F, NT, G>;
    static_assert(H::BYTES <= CU_SMEM_LEAST, "runs on the smallest card");
    const int64_t blocks = (int64_t)mm_tiles(&a->c, n, H::ROWS) * mh_div(a->c.n_row, 8 * NT);
    if (blocks > INT32_MAX)
        FAIL(e, ERR_BUG, "matmul: float_mma needs %lld blocks, limit %d", (long long)blocks,
             INT32_MAX);
    TRY(cu_smem_limit(k_matmul_float_mma<F, NT, G>, H::BYTES, e));
    LAUNCH((k_matmul_float_mma<F, NT, G>), (unsigned)blocks, MH_THREADS, H::BYTES, s, *a);
    CU_LAUNCHED(e, "matmul_float_mma");
    return 0;
}

template <enum fmt F>
static int mh_launch_rows(cudaStream_t s, struct mh_call *a, int n, struct err *e)
{
    if (a->c.n_row <= 8)
        return mh_launch<F, 1, 4>(s, a, n, e);
    if (a->c.n_row <= 16)
        return mh_launch<F, 2, 4>(s, a, n, e);
    if (a->c.n_row <= 32)
        return mh_launch<F, 4, 1>(s, a, n, e);
    return mh_launch<F, 8, 1>(s, a, n, e);
}

int mm_launch_split(cudaStream_t s, enum fmt fmt, const struct matmul_args *x, void *parts,
                    struct err *e)
{
    struct mh_split a = {};
    a.x = x->x;
    a.parts = static_cast<uint16_t *>(parts);
    a.n_in = x->n_in;
    a.n_row = x->n_row;
    a.n_chunk = mh_div(a.n_in, MH_CHUNK);
    a.n_segment = mh_div(a.n_in, MH_SEGMENT_ELEMS);
    a.back = const_cast<float *>(mh_back(fmt, parts, a.n_row, a.n_in));
    const int64_t blocks = ((int64_t)a.n_row * a.n_segment + MH_WARPS - 1) / MH_WARPS;
    if (blocks > INT32_MAX)
        FAIL(e, ERR_BUG, "matmul: split needs %lld blocks, limit %d", (long long)blocks, INT32_MAX);
    if (fmt == FMT_F16)
        LAUNCH((k_matmul_split<FMT_F16>), (unsigned)blocks, MH_THREADS, 0, s, a);
    else
        LAUNCH((k_matmul_split<FMT_BF16>), (unsigned)blocks, MH_THREADS, 0, s, a);
    CU_LAUNCHED(e, "matmul_split");
    return 0;
}

int mm_launch_float_mma(cudaStream_t s, enum fmt fmt, struct mm_call *c, int n, struct err *e)
{
    struct mh_call a = {};
    a.c = *c;
    a.n_chunk = mh_div(c->n_in, MH_CHUNK);
    a.n_segment = mh_div(c->n_in, MH_SEGMENT_ELEMS);
    a.parts = static_cast<const uint16_t *>(c->parts);
    a.back = mh_back(fmt, c->parts, c->n_row, c->n_in);
    return fmt == FMT_F16 ? mh_launch_rows<FMT_F16>(s, &a, n, e)
                          : mh_launch_rows<FMT_BF16>(s, &a, n, e);
}

} // namespace CU_NS
