/*
 * matmul, Q4_K, Q5_K and Q6_K, many rows of x, on Hopper's tensor cores:
 * y[r][j] = sum_i x[r][i] W[j][i]
 *
 * Shapes and numbers as matmul_mma.cu; only for compute capability 9.0 (this file is compiled for
 * sm_90a alone). Floor: 2 P n_row n_in n_out operations at the int8 rate of wgmma, P = 2.
 *
 * mma.sync does not reach the full rate of these tensor cores. matmul_mma.cu also multiplies every
 * result by a scale for each 16 or 32 weights. With 64 rows of x that takes more issue slots than
 * the products (kernels/CUDA.md, "Cost of a byte"). Here the scale goes into the weights instead:
 *
 *   scale q = 2^SHIFT high + low      high, low: 8 bits each
 *
 * So a chunk of 256 is 8 products of k = 32 with the high parts, one shift of the sums, and 8
 * products with the low parts. The sum of a chunk fits one int32 and is exact, so it equals that of
 * the other kernels.
 *
 *   Q4_K, Q5_K  scale = 8 s1 + s0, three bits each. s1 q and s0 q are at most 7 x 31, and one
 *               multiplication makes four of them, side by side in a word; SHIFT = 3
 *   Q6_K        scale q from -4064 to 4096, two in a word; SHIFT = 7
 *
 * A block of two warpgroups makes 128 rows of W x N rows of x. Rows of x lie in shared memory in
 * the layout of wgmma (128 bytes a row, 16-byte pieces exchanged: "128B swizzle"), for both groups.
 * W lies raw, as in matmul_mma.cu. Two stages by cp.async. While one group unpacks or scales its
 * sums, the other group multiplies.
 *
 * Variants: N = 64 for up to 64 rows of x, else 128. Never run on a GPU; therefore only a call that
 * names the variant takes it.
 *
 * Numerics: matmul.cuh; the bits of matvec.
 */
#include "matmul_block.cuh"

namespace CU_NS
{

#if !defined(__CUDACC__) || defined(MAS_SM90A)

static constexpr int WG_THREADS = 256, WG_ROWS = 128;
static constexpr int WG_META = 32; /* bytes of an mm_x after its quants */

template <enum fmt F, int N> struct wg_shape {
    static constexpr int X_HALF = N * 128; /* bytes: 128 of the 256 k of N rows */
    static constexpr int X = 2 * X_HALF, META = N * WG_META, W = WG_ROWS * mm_format<F>::APART;
    static constexpr int STAGE = (X + META + W + 1023) / 1024 * 1024;
    static constexpr int SUMS = N / 2 * WG_THREADS * (int)sizeof(float);
    static constexpr int BYTES = 1024 + 2 * STAGE + SUMS; /* 1024: to align the stages */
};

/* ---- weights times their scales, in two parts ---------------------------------------------- */

template <enum fmt F> struct wg_parts { /* Q4_K, Q5_K */
    static constexpr int SHIFT = 3;
    static constexpr bool SIGNED = false;
    /* Four q in a word. */
    static __device__ __forceinline__ void make(uint32_t q, int s, uint32_t &high, uint32_t &low)
    {
        high = q * ((uint32_t)s >> 3);
        low = q * ((uint32_t)s & 7);
    }
};

template <> struct wg_parts<FMT_Q6_K> {
    static constexpr int SHIFT = 7;
    static constexpr bool SIGNED = true;
    /* Four signed q of 6 bits. With 16384 added each product is a positive number of 16 bits, so
     * two products in a word do not disturb each other. 16384 = 128 x 128, so in the high part it
     * is the sign bit. */
    static __device__ __forceinline__ void make(uint32_t w, int s, uint32_t &high, uint32_t &low)
    {
        const uint32_t q = (w ^ 0x80808080u) - 0x60606060u; /* q + 32, byte by byte */
        const uint32_t add = (uint32_t)(16384 - 32 * s) * 0x00010001u;
        const uint32_t even = (q & 0x00ff00ffu) * (uint32_t)s + add;
        const uint32_t odd = (q >> 8 & 0x00ff00ffu) * (uint32_t)s + add;
        high = ((even >> 7 & 0x00ff00ffu) | (odd << 1 & 0xff00ff00u)) ^ 0x80808080u;
        low = (even & 0x007f007fu) | (odd & 0x007f007fu) << 8;
    }
};

/* The A operands of a chunk: rows lane / 4 and + 8 of the warp's 16, at p. */
template <enum fmt F>
__device__ __forceinline__ void wg_weights(const uint8_t *const (&p)[2],
                                           const struct mm_factors (&f)[2], int t,
                                           uint32_t (&high)[8][4], uint32_t (&low)[8][4])
{
    using W = mm_format<F>;
    constexpr int PER = 32 / W::GROUP; /* scales of 32 weights */
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t w[8][2];
        W::words(p[i], t, w);
#pragma unroll
        for (int g = 0; g < 8; g++)
#pragma unroll
            for (int k = 0; k < 2; k++)
                wg_parts<F>::make(w[g][k], W::scale(f[i], PER * g + k * (PER - 1)),
                                  high[g][i + 2 * k], low[g][i + 2 * k]);
    }
#pragma unroll
    for (int g = 0; g < 8; g++) {
        make_now(high[g]);
        make_now(low[g]);
    }
}

/* ---- the kernel ---------------------------------------------------------------------------- */

/* dot += the chunk, x: (2, N, 128) bytes */
template <enum fmt F, int N>
__device__ __forceinline__ void wg_multiply(int (&dot)[N / 2], const uint32_t (&a)[8][4],
                                            const uint8_t *x, bool add)
{
    const wgmma_tile b = wgmma_tile_128(x);
    wgmma_fence();
#pragma unroll
    for (int g = 0; g < 8; g++)
        wgmma_m64k32<N, wg_parts<F>::SIGNED>(
            dot, a[g], wgmma_tile_move(b, g / 4 * wg_shape<F, N>::X_HALF + g % 4 * 32),
            add || g > 0);
    wgmma_commit();
}

template <enum fmt F, int N>
__global__ void __launch_bounds__(WG_THREADS, 1) k_matmul_wgmma(const struct mm_call a)
{
    using W = mm_format<F>;
    using H = wg_shape<F, N>;
    SmemCarve carve;
    uint8_t *stages = carve.take<uint8_t>(H::BYTES, 128);
    stages += wgmma_align(stages);
    float *totals =
        reinterpret_cast<float *>(stages + 2 * H::STAGE) + threadIdx.x; /* (N / 2, 256) */
    const int tid = (int)threadIdx.x, warp = tid / 32, lane = tid % 32, t = lane % 4;
    /* neighbours in the grid share their rows of W */
    const int x_tiles = (a.n_row + N - 1) / N;
    const int row0 = (int)blockIdx.x % x_tiles * N;
    int tile = (int)blockIdx.x / x_tiles;
    const struct mm_matrix m = mm_find(a, tile);

    /* Copies: two neighbours take a row of W, eight take 128 bytes of a row of x. */
    const int w_row = tid / 2, x_piece = tid % 8;
    const uint8_t *w_from = mm_find_row<WG_ROWS>(a, m, tile, w_row) + 16 * (tid % 2);
    /* rows past the end repeat the last and are not stored */
    auto x_at = [&](int r) { return a.x + (size_t)min(row0 + r, a.n_row - 1) * (size_t)a.n_chunk; };
    auto fetch = [&](int k) {
        if (k < a.n_chunk) {
            uint8_t *to = stages + k % 2 * H::STAGE;
#pragma unroll 1
            for (int r = tid / 8; r < N; r += WG_THREADS / 8) {
                const int8_t *q = x_at(r)[k].q;
#pragma unroll
                for (int half = 0; half < 2; half++)
                    cp_async16(to + half * H::X_HALF + r * 128 + (x_piece ^ r % 8) * 16,
                               q + 128 * half + 16 * x_piece);
            }
            for (int i = tid; i < 2 * N; i += WG_THREADS)
                cp_async16(to + H::X + i * 16, reinterpret_cast<const uint8_t *>(x_at(i / 2) + k) +
                                                   MM_CHUNK + i % 2 * 16);
            uint8_t *w_to = to + H::X + H::META + w_row * W::APART + 16 * (tid % 2);
            const uint8_t *w = w_from + (size_t)k * W::BYTES;
            const int left = (int)a.row_used - k * W::BYTES;
            const bool inside = mm_is_inside<F>(left);
#pragma unroll
            for (int i = 0; i < W::PIECES; i += 2)
                if (i + 2 <= W::PIECES || i + tid % 2 < W::PIECES) {
                    if (inside)
                        mm_copy_piece<F>(w_to + 16 * i, w + 16 * i);
                    else
                        mm_copy_last<F>(w_to + 16 * i, w + 16 * i, left - 16 * (i + tid % 2));
                }
        }
        cp_async_commit();
    };

    const uint8_t *mine[2] = {mm_find_row<WG_ROWS>(a, m, tile, warp * 16 + lane / 4),
                              mm_find_row<WG_ROWS>(a, m, tile, warp * 16 + lane / 4 + 8)};
    float sum[N / 2]; /* of the segment: results (4 of mma) of each 8 rows of x */
#pragma unroll
    for (int i = 0; i < N / 2; i++)
        sum[i] = totals[i * WG_THREADS] = 0;
    fetch(0);
#pragma unroll 1
    for (int k = 0; k < a.n_chunk; k++) {
        cp_async_wait<0>();
        fence_proxy_async(); /* makes the copied bytes visible to wgmma */
        __syncthreads();     /* the chunk has arrived, and nobody reads the one before */
        fetch(k + 1);
        const uint8_t *x = stages + k % 2 * H::STAGE, *meta = x + H::X;
        const uint8_t *p[2];
        struct mm_factors f[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            p[i] = meta + H::META + (warp * 16 + lane / 4 + 8 * i) * W::APART +
                   mm_offset<F>(mine[i] + (size_t)k * W::BYTES);
            f[i] = W::factors(p[i]);
        }
        int dot[N / 2];
        uint32_t high[8][4], low[8][4];
        wg_weights<F>(p, f, t, high, low);
        wg_multiply<F, N>(dot, high, x, false);
        wgmma_wait<0>();
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            dot[i] *= 1 << wg_parts<F>::SHIFT;
        wg_multiply<F, N>(dot, low, x, true);
        wgmma_wait<0>();
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int col = 0; col < 2; col++) {
                const uint8_t *of = meta + (8 * n + 2 * t + col) * WG_META;
                const float d_x = *reinterpret_cast<const float *>(of + 16);
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int at = 4 * n + 2 * i + col;
                    sum[at] = mm_add_dot(sum[at], f[i].d, d_x, dot[at]);
                    if constexpr (W::MIN)
                        sum[at] =
                            mm_add_min(sum[at], f[i].dmin, d_x, mm_min(f[i].min, vec_load16(of)));
                }
            }
        if (k % MM_SEGMENT == MM_SEGMENT - 1 || k == a.n_chunk - 1)
#pragma unroll
            for (int i = 0; i < N / 2; i++) {
                totals[i * WG_THREADS] += sum[i];
                sum[i] = 0;
            }
    }
#pragma unroll
    for (int n = 0; n < N / 8; n++) {
        float result[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            result[i] = totals[(4 * n + i) * WG_THREADS];
        mm_store_tile<WG_ROWS>(a, m, tile, warp, lane, row0 + 8 * n, result);
    }
}

template <enum fmt F, int N>
static int wg_launch(cudaStream_t s, struct mm_call *a, int n, struct err *e)
{
    using H = wg_shape<F, N>;
    static_assert(H::BYTES <= CU_SMEM_HOPPER, "fits an SM");
    const int64_t blocks = (int64_t)mm_tiles(a, n, WG_ROWS) * ((a->n_row + N - 1) / N);
    if (blocks > INT32_MAX)
        FAIL(e, ERR_BUG, "matmul: wgmma needs %lld blocks, limit %d", (long long)blocks, INT32_MAX);
    TRY(cu_smem_limit(k_matmul_wgmma<F, N>, H::BYTES, e));
    LAUNCH((k_matmul_wgmma<F, N>), (unsigned)blocks, WG_THREADS, H::BYTES, s, *a);
    CU_LAUNCHED(e, "matmul_wgmma");
    return 0;
}

template <enum fmt F>
static int wg_launch_rows(cudaStream_t s, struct mm_call *a, int n, struct err *e)
{
    return a->n_row <= 64 ? wg_launch<F, 64>(s, a, n, e) : wg_launch<F, 128>(s, a, n, e);
}

bool mm_has_wgmma(void)
{
    return true;
}

int mm_launch_wgmma(cudaStream_t s, enum fmt fmt, struct mm_call *a, int n, struct err *e)
{
    switch (fmt) {
#define WG_LAUNCH(NAME, elems)                                                                     \
    case FMT_##NAME:                                                                               \
        return wg_launch_rows<FMT_##NAME>(s, a, n, e);
        MM_WGMMA(WG_LAUNCH)
#undef WG_LAUNCH
    default:
        FAIL(e, ERR_BUG, "matmul: wgmma has no kernel for %s", fmt_info(fmt)->name);
    }
}

#else /* a build without sm_90 */

bool mm_has_wgmma(void)
{
    return false;
}

int mm_launch_wgmma(cudaStream_t, enum fmt, struct mm_call *, int, struct err *e)
{
    FAIL(e, ERR_BUG, "matmul: this program was built without sm_90, which the kernel wgmma needs");
}

#endif

} // namespace CU_NS
