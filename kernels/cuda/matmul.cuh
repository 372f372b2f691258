/*
 * matmul: the parts that the kernels of y_i[r] = x[r] W_i^T share: the quantised form of x, the
 * arguments, the epilogue and the order of summation.
 *
 * Numerics (binding: every variant, geometry and n_row gives the same bits)
 * - x is cut into chunks of 256. Formats of 256 quantise a chunk as one block, formats of 32 as
 *   eight blocks. d_x = amax / 127, q = nearest integer (ties to even) of x * (127 / amax). A block
 *   with a NaN or an infinity has d_x = NaN and q = 0. A block with amax < 1e-30 has d_x = 0. The
 *   CPU backend has the same numbers, so the two differ only in the order of f32 additions.
 * - Chunk k of a weight row against chunk k of x, exact in int32:
 *     of 256      dot = sum_g scale[g] (q_w . q_x)_g,  min = sum_g min[g] sum(q_x)_g
 *     of 32       dot_b = q_w . q_x of block b = 0..7,  sum_b = sum(q_x) of it
 * - In f32, into the sum s of the segment, chunk after chunk:
 *     of 256      s = fmaf(d_w d_x, dot, s); Q2_K, Q4_K, Q5_K: s = fmaf(-(dmin_w d_x), min, s)
 *     of 32       p_b = (d_w d_x)_b dot_b; Q4_1, Q5_1: p_b = fmaf((m_w d_x)_b, sum_b, p_b);
 *                 s = s + (((p0+p4) + (p2+p6)) + ((p1+p5) + (p3+p7)))
 * - The IQ formats have odd scales 2 s + 1 and d_w is divided by 4 or 8, exactly.
 * - Blocks past the end of the row count as zeros.
 * - A segment is MM_SEGMENT chunks. total = 0 + s_0 + s_1 + .. in order. So different warps or
 *   blocks can compute segments, and the bits stay the same.
 * - F16 and BF16 weights on tensor cores: matmul_float_mma.cu, with bits of their own.
 * - F32, F16, BF16 weights elsewhere, and formats without a row in MM_QUANTS, decoded: fmaf adds
 *   element i to the sum of lane i / 8 % 32, in order. Then a butterfly over 16, 8, 4, 2, 1 adds
 *   the lanes.
 * - Then + bias, then the epilogue. __fmul_rn makes the products that are added later; no compiler
 *   fuses it.
 */
#ifndef MAS_MATMUL_CUH
#define MAS_MATMUL_CUH

#include "ctx.cuh"

namespace CU_NS
{

/* elements; one block of 256 or eight blocks of 32 */
static constexpr int MM_CHUNK = SCRATCH_MM_CHUNK;
/* chunks, 2048 elements: a row of 4096 gives two warps work */
static constexpr int MM_SEGMENT = 8;
static constexpr int MM_X_BYTES = SCRATCH_MM_X; /* bytes of a quantised chunk of x */

/*
 * The formats with fast kernels: matvec and mma multiply their quants without decoding.
 * X(NAME, elements of x that are quantised as one block: the block of the format). Weights of all
 * other formats are decoded if they have blocks, and multiplied by x in f32 (matmul_float.cu).
 */
#define MM_QUANTS(X) MM_LEGACY(X) MM_K(X) MM_IQ(X)
#define MM_LEGACY(X) X(Q4_0, 32) X(Q4_1, 32) X(Q5_0, 32) X(Q5_1, 32) X(Q8_0, 32)
#define MM_K(X) X(Q2_K, 256) X(Q3_K, 256) MM_WGMMA(X)
#define MM_WGMMA(X) X(Q4_K, 256) X(Q5_K, 256) X(Q6_K, 256) /* those that wgmma multiplies as well */
#define MM_IQ(X) X(IQ4_NL, 32) X(IQ4_XS, 256) MM_IQ3(X) MM_IQ2(X)
#define MM_IQ3(X) X(IQ3_XXS, 256) X(IQ3_S, 256)
#define MM_IQ2(X) X(IQ2_XXS, 256) X(IQ2_XS, 256) X(IQ2_S, 256)

/* Elements per block of the quantised x that weights of this format meet; 0: x in f32. */
static constexpr int mm_x_block(enum fmt fmt)
{
#define MM_X_BLOCK(NAME, elems)                                                                    \
    case FMT_##NAME:                                                                               \
        return elems;
    switch (fmt) {
        MM_QUANTS(MM_X_BLOCK)
    default:
        return 0;
    }
#undef MM_X_BLOCK
}

static constexpr bool mm_on_wgmma(enum fmt fmt)
{
#define MM_IS(NAME, elems) fmt == FMT_##NAME ||
    return MM_WGMMA(MM_IS) false;
#undef MM_IS
}

/*
 * A chunk of a row of x in 8 bits. Each sum of 32 q is split into two bytes that dp4a can multiply:
 * sum = 64 hi + lo, 0 <= lo < 64. Q2_K also takes the sum of the first 16 of each 32, in the same
 * way: 16 first_hi + 4 bits of first_lo. Byte j of first_lo has the bits of group j, and above them
 * those of group j + 4.
 */
struct mm_x {
    int8_t q[MM_CHUNK];
    union {
        struct {
            int8_t hi[8], lo[8];
            float d;
            int8_t first_hi[8];
            uint8_t first_lo[4];
        } k;
        float d32[8];
    };
};
static_assert(sizeof(struct mm_x) == MM_X_BYTES && MM_X_BYTES % 16 == 0, "a quantised chunk of x");

/* The use of the result: ops.h. MM_SWIGLU stands for both gated epilogues, with the function of the
 * matrix (gelu). MM_GATE is for a gate and an up whose formats differ. There y holds the gate
 * already, and the up projection finishes it. */
enum mm_epilogue { MM_STORE, MM_ADD, MM_SWIGLU, MM_GATE };

/* One matrix, or for MM_SWIGLU the pair of gate and up. */
struct mm_matrix {
    const uint8_t *w[2]; /* (n_out, row_bytes) */
    size_t row_bytes[2];
    const float *bias[2]; /* (n_out) or NULL */
    float *y;             /* (n_row, n_out) */
    bool gelu;            /* the gate's function, else silu */
    int n_out;
    int first_tile; /* of the launch */
};

/* A launch: matrices of one format, side by side. */
struct mm_call {
    const struct mm_x *x; /* (n_row, n_chunk), quantised weights */
    const float *xf;      /* (n_row, n_in), float weights */
    const void *parts;    /* of x: matmul_float_mma.cu */
    struct mm_matrix m[3];
    int n_row, n_chunk;
    int64_t n_in;
    size_t row_used; /* bytes of a weight row that hold weights */
    enum mm_epilogue epilogue;
};

/* The matrix of `tile`; tile becomes the number within that matrix. */
__device__ __forceinline__ struct mm_matrix mm_find(const struct mm_call &a, int &tile)
{
    struct mm_matrix m = a.m[0];
    if (tile >= a.m[1].first_tile)
        m = a.m[1];
    if (tile >= a.m[2].first_tile)
        m = a.m[2];
    tile -= m.first_tile;
    return m;
}

/* ---- the order of summation ------------------------------------------------------------------ */

__device__ __forceinline__ float mm_add_dot(float s, float d_w, float d_x, int dot)
{
    return fmaf(__fmul_rn(d_w, d_x), (float)dot, s);
}

__device__ __forceinline__ float mm_add_min(float s, float dmin_w, float d_x, int min)
{
    return fmaf(-__fmul_rn(dmin_w, d_x), (float)min, s);
}

__device__ __forceinline__ float mm_product(float d_w, float d_x, int dot)
{
    return __fmul_rn(__fmul_rn(d_w, d_x), (float)dot);
}

/* sum_g min[g] sum_g(q_x): eight minimums and eight split sums, a byte each */
__device__ __forceinline__ int mm_min(uint2 min, uint4 sums)
{
    int hi = __dp4a((int)min.x, (int)sums.x, __dp4a((int)min.y, (int)sums.y, 0));
    int lo = __dp4a((int)min.x, (int)sums.z, __dp4a((int)min.y, (int)sums.w, 0));
    return 64 * hi + lo;
}

/* The product of a block of 32 with a minimum. */
__device__ __forceinline__ float mm_product_min(float product, float m_w, float d_x, int sum)
{
    return fmaf(__fmul_rn(m_w, d_x), (float)sum, product);
}

/* sum_g less[g] of the sums of the first 16; sums: d and those. */
__device__ __forceinline__ int mm_min_first(uint2 less, uint4 sums)
{
    int hi = __dp4a((int)less.x, (int)sums.y, __dp4a((int)less.y, (int)sums.z, 0));
    int lo = __dp4a((int)less.x, (int)(sums.w & 0x0f0f0f0fu),
                    __dp4a((int)less.y, (int)(sums.w >> 4 & 0x0f0f0f0fu), 0));
    return 16 * hi + lo;
}

/*
 * Sums N values of each lane over LANES neighbouring lanes. With N > 1 each step halves the number
 * of values a lane holds. Lane l ends with the sum of value l * N / LANES. The tree is the same for
 * every N: lanes that differ in the highest bit first.
 */
template <int LANES, int N, class T> __device__ __forceinline__ T mm_reduce(T (&v)[N], int lane)
{
    int n = N;
#pragma unroll
    for (int bit = LANES / 2; bit; bit /= 2) {
        const bool upper = lane & bit;
        if (n == 1) {
            v[0] += __shfl_xor_sync(0xffffffffu, v[0], bit);
            continue;
        }
        n /= 2;
#pragma unroll
        for (int i = 0; i < n; i++) {
            const T give = upper ? v[i] : v[i + n], keep = upper ? v[i + n] : v[i];
            v[i] = keep + __shfl_xor_sync(0xffffffffu, give, bit);
        }
    }
    return v[0];
}

/* ---- the end of a result --------------------------------------------------------------------- */

__device__ __forceinline__ float mm_gated(bool gelu, float v)
{
    const float cubic = fmaf(__fmul_rn(v, v), -0.0713548163f, -1.59576912f);
    return v / (1.0f + expf(gelu ? __fmul_rn(v, cubic) : -v));
}

/* result: of matrix row j and x row r. up: the result of the second matrix, MM_SWIGLU only. */
__device__ __forceinline__ void mm_store(const struct mm_matrix &m, enum mm_epilogue epilogue,
                                         int j, int r, float result, float up)
{
    float *y = m.y + (size_t)r * (size_t)m.n_out + j;
    if (m.bias[0])
        result += m.bias[0][j];
    if (epilogue == MM_STORE) {
        *y = result;
    } else if (epilogue == MM_ADD) {
        *y += result;
    } else if (epilogue == MM_GATE) {
        *y = mm_gated(m.gelu, *y) * result;
    } else {
        if (m.bias[1])
            up += m.bias[1][j];
        *y = mm_gated(m.gelu, result) * up;
    }
}

/* ---- tiles of tensor cores ------------------------------------------------------------------- */

/* Address of row i of a tile of ROWS rows of W. With MM_SWIGLU, of every 16 rows 8 are of gate and
 * 8 of up. */
template <int ROWS>
__device__ __forceinline__ const uint8_t *mm_find_row(const struct mm_call &a,
                                                      const struct mm_matrix &m, int tile, int i)
{
    const bool pair = a.epilogue == MM_SWIGLU, second = pair && (i & 8);
    int j = pair ? tile * (ROWS / 2) + i / 16 * 8 + i % 8 : tile * ROWS + i;
    j = min(j, m.n_out - 1); /* rows past the end repeat the last and are not stored */
    return (second ? m.w[1] : m.w[0]) + (size_t)j * (second ? m.row_bytes[1] : m.row_bytes[0]);
}

/* Stores the results of an mma: rows 16 warp .. + 15 of the tile, rows row0 .. + 7 of x. A thread
 * holds (lane / 4, 2 (lane % 4)), (the same, + 1), and the same two 8 rows of W later. */
template <int ROWS>
__device__ __forceinline__ void mm_store_tile(const struct mm_call &a, const struct mm_matrix &m,
                                              int tile, int warp, int lane, int row0,
                                              const float (&result)[4])
{
    const bool pair = a.epilogue == MM_SWIGLU;
    const int j0 =
        pair ? tile * (ROWS / 2) + warp * 8 + lane / 4 : tile * ROWS + warp * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int j = j0 + i / 2 * 8, r = row0 + lane % 4 * 2 + i % 2;
        if (pair && i >= 2)
            continue;
        if (j < m.n_out && r < a.n_row)
            mm_store(m, a.epilogue, j, r, result[i], result[i ^ 2]);
    }
}

/* ---- launches of one format ------------------------------------------------------------------ */

/* The checks of a call that kernels rely on. */
int mm_check(const struct matmul_args *a, struct err *e);
struct mm_matrix mm_matrix_of(const struct matmul_out *o, const struct matmul_out *second);

/* Norms x in a launch of its own, for the kernels that take x in f32. The result lies in the
 * scratch after the `need` bytes of the call itself; too little scratch is an error. *out: the
 * remaining call, which is *a or has no norm. */
int mm_norm(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a, size_t need,
            struct matmul_args *out, struct err *e);

/* The launchers below choose the geometry, launch and check. They fill a->m[i].first_tile of the n
 * matrices. */
/* x, normed where a call says so, in blocks of 32 or 256: (n_row, n_chunk). */
int mm_launch_quantise(cudaStream_t s, const struct matmul_args *a, int block, struct mm_x *out,
                       struct err *e);
/* rows: many rows of W a warp. Has an effect for at most 2 rows of x */
int mm_launch_matvec(cudaStream_t s, bool rows, enum fmt fmt, struct mm_call *a, int n,
                     struct err *e);
/* split: segments over groups of warps */
int mm_launch_mma(cudaStream_t s, bool split, enum fmt fmt, struct mm_call *a, int n,
                  struct err *e);
/* x in parts of the weights' format, F16 or BF16, and the products of the parts. */
int mm_launch_split(cudaStream_t s, enum fmt fmt, const struct matmul_args *x, void *parts,
                    struct err *e);
int mm_launch_float_mma(cudaStream_t s, enum fmt fmt, struct mm_call *a, int n, struct err *e);
/* true: the program has the kernels (MM_WGMMA, compute capability 9.0). */
bool mm_has_wgmma(void);
int mm_launch_wgmma(cudaStream_t s, enum fmt fmt, struct mm_call *a, int n, struct err *e);
int mm_launch_float(cudaStream_t s, enum fmt fmt, struct mm_call *a, int n, struct err *e);

/* Assigns tiles of `rows` rows of W to the matrices. Returns the number of tiles. */
static inline int mm_tiles(struct mm_call *a, int n, int rows)
{
    int64_t tiles = 0;
    const int64_t per_row = a->epilogue == MM_SWIGLU ? 2 : 1;
    for (int i = 0; i < 3; i++) {
        a->m[i].first_tile = i < n ? (int)tiles : INT32_MAX;
        if (i < n)
            tiles += (per_row * a->m[i].n_out + rows - 1) / rows;
    }
    return (int)tiles;
}

} // namespace CU_NS

#endif
