/*
 * matmul, F32, F16 and BF16 weights:  y[r][j] = sum_i x[r][i] W[j][i]
 *
 * Shapes: W (n_out, n_in), x (n_row, n_in) f32, y (n_row, n_out) f32. Moves n_out * row_bytes + 4
 * n_row (n_in + n_out) bytes. Floor: those bytes at the card's bandwidth for few rows, 2 n_row n_in
 * n_out operations at the fp32 rate for many.
 *
 * A warp computes R rows of W x C rows of x. Each lane takes 8 neighbouring elements of every 256:
 * one 16-byte load for F16 and BF16, two for F32, coalesced. If some row does not begin at a
 * multiple of 16 bytes, or n_in is no multiple of 8, the matrix is read element by element.
 *
 * For F32 weights, and for rows of F16 and BF16 that matmul_float_mma.cu cannot take. Also for
 * every format of blocks without a row in MM_QUANTS: a lane decodes its elements by the scalar
 * decoder of kernels/quant. That works for any format but is slow. A fast kernel is a row of
 * MM_QUANTS; today every format of blocks has one. Variants: (R, C) = (2, 1), (2, 2), (2, 4),
 * (4, 8); a format of blocks has (2, 1) and (2, 4). Not measured: there was no GPU.
 * Numerics: matmul.cuh: f32 fmaf in one order; the tolerance is that of f32 sums of n_in terms.
 */
#include "element.cuh"
#include "matmul.cuh"

namespace CU_NS
{

static constexpr int MF_WARPS = 4, MF_RUN = FMT_RUN; /* elements of a lane */

/* A format of blocks, decoded. ALIGN: of a row, so that run() can read it. */
template <enum fmt F> struct mf_weights {
    static constexpr size_t ALIGN = 1;
    static __device__ __forceinline__ float one(const uint8_t *row, int64_t i)
    {
        return fmt_element<F>(row, i);
    }
    static __device__ __forceinline__ void run(const uint8_t *row, int64_t i, float (&w)[MF_RUN])
    {
        fmt_run<F>(row, i, w);
    }
};

template <> struct mf_weights<FMT_F32> {
    static constexpr size_t ALIGN = 16;
    static __device__ __forceinline__ float one(const uint8_t *row, int64_t i)
    {
        return reinterpret_cast<const float *>(row)[i];
    }
    static __device__ __forceinline__ void run(const uint8_t *row, int64_t i, float (&w)[MF_RUN])
    {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const uint4 v = ld_stream16(row + 4 * i + 16 * h);
            w[4 * h] = __uint_as_float(v.x);
            w[4 * h + 1] = __uint_as_float(v.y);
            w[4 * h + 2] = __uint_as_float(v.z);
            w[4 * h + 3] = __uint_as_float(v.w);
        }
    }
};

template <> struct mf_weights<FMT_F16> {
    static constexpr size_t ALIGN = 16;
    static __device__ __forceinline__ float one(const uint8_t *row, int64_t i)
    {
        return vec_half(reinterpret_cast<const uint16_t *>(row)[i]);
    }
    static __device__ __forceinline__ void run(const uint8_t *row, int64_t i, float (&w)[MF_RUN])
    {
        const uint4 v = ld_stream16(row + 2 * i);
        const uint32_t u[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float2 f = vec_half2(u[k]);
            w[2 * k] = f.x;
            w[2 * k + 1] = f.y;
        }
    }
};

template <> struct mf_weights<FMT_BF16> {
    static constexpr size_t ALIGN = 16;
    static __device__ __forceinline__ float one(const uint8_t *row, int64_t i)
    {
        return vec_bf16(reinterpret_cast<const uint16_t *>(row)[i]);
    }
    static __device__ __forceinline__ void run(const uint8_t *row, int64_t i, float (&w)[MF_RUN])
    {
        const uint4 v = ld_stream16(row + 2 * i);
        const uint32_t u[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            w[2 * k] = __uint_as_float(u[k] << 16);
            w[2 * k + 1] = __uint_as_float(u[k] & 0xffff0000u);
        }
    }
};

/* Elements i .. i + 7 of a row, zeros from n on. */
template <enum fmt F, bool ALIGNED>
__device__ __forceinline__ void mf_load(const uint8_t *row, int64_t i, int64_t n,
                                        float (&v)[MF_RUN])
{
    if constexpr (ALIGNED) {
        mf_weights<F>::run(row, i, v);
    } else {
#pragma unroll
        for (int k = 0; k < MF_RUN; k++)
            v[k] = i + k < n ? mf_weights<F>::one(row, i + k) : 0.0f;
    }
}

template <bool ALIGNED>
__device__ __forceinline__ void mf_load_x(const float *x, int64_t i, int64_t n, float (&v)[MF_RUN])
{
#pragma unroll
    for (int k = 0; k < MF_RUN; k += 4) {
        if constexpr (ALIGNED) {
            const float4 q = vec_load4(x + i + k);
            v[k] = q.x;
            v[k + 1] = q.y;
            v[k + 2] = q.z;
            v[k + 3] = q.w;
        } else {
#pragma unroll
            for (int h = k; h < k + 4; h++)
                v[h] = i + h < n ? x[i + h] : 0.0f;
        }
    }
}

/* 3 blocks on an SM: see matvec; up to 168 registers. */
template <enum fmt F, int R, int C, bool ALIGNED>
__global__ void __launch_bounds__(MF_WARPS * 32, 3) k_matmul_float(const struct mm_call a)
{
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int pair = a.epilogue == MM_SWIGLU; /* then row v is row v / 2 of w[v % 2] */
    int tile = (int)blockIdx.x;
    const struct mm_matrix m = mm_find(a, tile);
    const int v0 = (tile * MF_WARPS + warp) * R, row0 = (int)blockIdx.y * C;

    const uint8_t *w[R];
    const float *x = a.xf + (size_t)row0 * (size_t)a.n_in;
    int at[C]; /* from there to each of the rows of x */
#pragma unroll
    for (int r = 0; r < R; r++) { /* past the end: the last row again, not stored */
        const int v = min(v0 + r, (m.n_out << pair) - 1), second = v & pair;
        w[r] = (second ? m.w[1] : m.w[0]) +
               (size_t)(v >> pair) * (second ? m.row_bytes[1] : m.row_bytes[0]);
    }
#pragma unroll
    for (int c = 0; c < C; c++)
        at[c] = min(c, a.n_row - 1 - row0) * (int)a.n_in;

    float sum[R * C] = {};
    for (int64_t i = lane * MF_RUN; i < a.n_in; i += 32 * MF_RUN) {
        float wv[R][MF_RUN];
#pragma unroll
        for (int r = 0; r < R; r++)
            mf_load<F, ALIGNED>(w[r], i, a.n_in, wv[r]);
#pragma unroll
        for (int c = 0; c < C; c++) {
            float xv[MF_RUN];
            mf_load_x<ALIGNED>(x + at[c], i, a.n_in, xv);
#pragma unroll
            for (int r = 0; r < R; r++)
#pragma unroll
                for (int k = 0; k < MF_RUN; k++)
                    sum[r * C + c] = fmaf(wv[r][k], xv[k], sum[r * C + c]);
        }
    }
    const float result = mm_reduce<32>(sum, lane);
    const float up = __shfl_xor_sync(0xffffffffu, result, 32 / R); /* of row v ^ 1 */
    const int own = lane * (R * C) / 32, v = v0 + own / C, r = row0 + own % C;
    if (lane % (32 / (R * C)) == 0 && !(v & pair) && v >> pair < m.n_out && r < a.n_row)
        mm_store(m, a.epilogue, v >> pair, r, result, up);
}

template <enum fmt F, int R, int C>
static int mf_launch(cudaStream_t s, struct mm_call *a, int n, bool aligned, struct err *e)
{
    const int tiles = mm_tiles(a, n, MF_WARPS * R);
    const dim3 grid((unsigned)tiles, (unsigned)((a->n_row + C - 1) / C));
    if constexpr (mf_weights<F>::ALIGN == 1) { /* whole runs: blocks are multiples of 16 elements */
        LAUNCH((k_matmul_float<F, R, C, true>), grid, MF_WARPS * 32, 0, s, *a);
    } else if (aligned) {
        LAUNCH((k_matmul_float<F, R, C, true>), grid, MF_WARPS * 32, 0, s, *a);
    } else {
        LAUNCH((k_matmul_float<F, R, C, false>), grid, MF_WARPS * 32, 0, s, *a);
    }
    CU_LAUNCHED(e, "matmul_float");
    return 0;
}

/* Every row of every matrix, and of x, begins at a multiple of 16 bytes and is whole runs long. */
static bool mf_aligned(const struct mm_call *a, int n)
{
    uintptr_t bits = (uintptr_t)a->xf | (uintptr_t)(a->n_in % MF_RUN);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < (a->epilogue == MM_SWIGLU ? 2 : 1); k++)
            bits |= (uintptr_t)a->m[i].w[k] | a->m[i].row_bytes[k];
    return bits % 16 == 0;
}

template <enum fmt F>
static int mf_launch_rows(cudaStream_t s, struct mm_call *a, int n, struct err *e)
{
    const bool aligned = mf_aligned(a, n);
    if (a->n_row == 1)
        return mf_launch<F, 2, 1>(s, a, n, aligned, e);
    if constexpr (mf_weights<F>::ALIGN == 1) { /* decoding takes the registers of more */
        return mf_launch<F, 2, 4>(s, a, n, aligned, e);
    } else {
        if (a->n_row == 2)
            return mf_launch<F, 2, 2>(s, a, n, aligned, e);
        if (a->n_row <= 4)
            return mf_launch<F, 2, 4>(s, a, n, aligned, e);
        return mf_launch<F, 4, 8>(s, a, n, aligned, e);
    }
}

template <enum fmt F>
static int mf_launch_format(cudaStream_t s, struct mm_call *a, int n, struct err *e)
{
    if constexpr (mm_x_block(F) == 0)
        return mf_launch_rows<F>(s, a, n, e);
    else
        FAIL(e, ERR_BUG, "matmul: float has no kernel for %s", fmt_info(F)->name);
}

int mm_launch_float(cudaStream_t s, enum fmt fmt, struct mm_call *a, int n, struct err *e)
{
    switch (fmt) {
#define X(NAME, lower, ...)                                                                        \
    case FMT_##NAME:                                                                               \
        return mf_launch_format<FMT_##NAME>(s, a, n, e);
#include "formats.def"
    default:
        FAIL(e, ERR_BUG, "matmul: no format %d", (int)fmt);
    }
}

} // namespace CU_NS
