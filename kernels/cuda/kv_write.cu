/*
 * kv_write: encodes row r of k and v, head by head, into slot[r] of the cache.
 *
 *   k, v (n_row, n_kv_head, head_dim) f32; slot (n_row) = page * page_tokens + offset
 *
 * Bytes: 8 read and 2 * bytes-per-element written an element: a decode row of 8 heads of 128 is 8
 * KiB read, 4 KiB of f16 written. The launch costs more; 448 rows are 5.5 MB, 2 us at 3.3 TB/s.
 *
 * Variants (one kernel a format, all bit for bit what fmt_<x>_encode writes)
 *   float    F32, F16, BF16: two neighbouring elements a thread, one where head_dim is odd
 *   q8_0     a warp takes a block of 32: its largest magnitude by shuffles, then a quant a lane. A
 * block is 34 bytes at an even address: the bytes of a warp are neighbours, no wider store is
 * aligned. q4_0     a thread takes a block: the least-squares search of quant_fit.c adds up one
 * element after another, and its bits are the contract. Elements and weights stay in registers. Not
 * measured. Q4_K, Q5_K and Q6_K need blocks of 256 and a search that belongs to the quantiser: not
 * offered as a cache.
 *
 * Numerics: roundings as in kernels/quant, none fused. NaN is the caller's error.
 */
#include "fmt_q4_0.h"
#include "fmt_q8_0.h"
#include "kv_page.cuh"
#include "real.cuh"

namespace CU_NS
{

static const int KV_WRITE_THREADS = 128;
static const float KV_TINY =
    0x1p-26f; /* a quarter of the smallest f16: rounds to a scale of zero */

struct kv_write_call {
    const float *k, *v;
    const int32_t *slot;
    kv_page kv;
    int64_t items; /* pairs or blocks of k; as many again of v */
    int per_row;   /* of one row and head */
};

/* Item i of k (0) or v (1): where it starts in x, and its row in the cache. */
struct kv_write_item {
    const float *x; /* the row of head_dim elements */
    unsigned char *y;
    int at; /* which item of the row */
};

__device__ static kv_write_item kv_write_find(const kv_write_call &a, int64_t i, int which)
{
    const int64_t row = i / a.per_row; /* of (n_row, n_kv_head) */
    const int head = (int)(row % a.kv.n_kv_head), slot = a.slot[row / a.kv.n_kv_head];
    const int page = slot >> a.kv.shift, offset = slot & ((1 << a.kv.shift) - 1);
    kv_write_item t;
    t.x = (which ? a.v : a.k) + row * a.kv.head_dim;
    t.y = (which ? a.kv.v : a.kv.k) + kv_page_row(a.kv, page, head, offset);
    t.at = (int)(i % a.per_row);
    return t;
}

/* ---- floats --------------------------------------------------------------------------------- */

/* Magnitudes beyond what fits are clamped, as the encoders do. */
__device__ static float kv_write_clamp(float x, float most)
{
    return x > most ? most : x < -most ? -most : x;
}

__device__ static __half kv_write_f16(float x)
{
    return __float2half_rn(kv_write_clamp(x, FMT_F16_MAX));
}

__device__ static __nv_bfloat16 kv_write_bf16(float x)
{
    return __float2bfloat16_rn(kv_write_clamp(x, 0x1.fep127f)); /* 0x7f7f */
}

/* Elements N i .. N i + N - 1 of a row. */
template <enum fmt FMT, int N>
__device__ static void kv_write_elements(unsigned char *y, const float *x, int i)
{
    if constexpr (N == 1) {
        if constexpr (FMT == FMT_F32)
            reinterpret_cast<float *>(y)[i] = x[i];
        else if constexpr (FMT == FMT_F16)
            reinterpret_cast<__half *>(y)[i] = kv_write_f16(x[i]);
        else
            reinterpret_cast<__nv_bfloat16 *>(y)[i] = kv_write_bf16(x[i]);
    } else {
        const float2 v = reinterpret_cast<const float2 *>(x)[i];
        if constexpr (FMT == FMT_F32)
            reinterpret_cast<float2 *>(y)[i] = v;
        else if constexpr (FMT == FMT_F16)
            reinterpret_cast<__half2 *>(y)[i] =
                __halves2half2(kv_write_f16(v.x), kv_write_f16(v.y));
        else
            reinterpret_cast<__nv_bfloat162 *>(y)[i] =
                __halves2bfloat162(kv_write_bf16(v.x), kv_write_bf16(v.y));
    }
}

template <enum fmt FMT, int N>
__global__ void __launch_bounds__(KV_WRITE_THREADS) k_kv_write_float(const kv_write_call a)
{
    const int64_t i = (int64_t)blockIdx.x * KV_WRITE_THREADS + threadIdx.x;
    if (i >= a.items)
        return;
    const kv_write_item t = kv_write_find(a, i, (int)blockIdx.y);
    kv_write_elements<FMT, N>(t.y, t.x, t.at);
}

/* ---- what the block formats share (quant_fit.h) ------------------------------------------------
 */

/* Nearest integer (ties to even) of t clamped to [low, high]: as a float, and as an integer. */
__device__ static float kv_fit_round(float t, float low, float high)
{
    t = t < low ? low : t;
    t = t > high ? high : t;
    return (t + 0x1.8p23f) - 0x1.8p23f;
}

__device__ static int kv_fit_quant(float t, float low, float high)
{
    t = t < low ? low : t;
    t = t > high ? high : t;
    return (int)(__float_as_uint(t + 0x1.8p23f) - 0x4b400000u);
}

/* The f16 next to most / steps; one larger where rounding down would clip more than half a step. */
__device__ static uint16_t kv_fit_scale(float most, int steps)
{
    float want = most / (float)steps;
    if (want >= FMT_F16_MAX)
        return 0x7bff;
    if (most < KV_TINY)
        return 0;
    const uint16_t h = vec_pack_half(want);
    const bool clips = most > f_mul(vec_half(h), (float)steps + 0.5f);
    return clips && h < 0x7bff ? (uint16_t)(h + 1) : h;
}

/* ---- Q8_0 ------------------------------------------------------------------------------------ */

__global__ void __launch_bounds__(KV_WRITE_THREADS) k_kv_write_q8_0(const kv_write_call a)
{
    const int lane = threadIdx.x % 32;
    const int64_t i = ((int64_t)blockIdx.x * KV_WRITE_THREADS + threadIdx.x) / 32;
    if (i >= a.items)
        return;
    const kv_write_item t = kv_write_find(a, i, (int)blockIdx.y);
    const float x = t.x[32 * t.at + lane];
    const uint16_t scale = kv_fit_scale(warp_max(fabsf(x)), 127);
    const float d = vec_half(scale), inv = d > 0 ? 1 / d : 0;
    fmt_q8_0 *b = reinterpret_cast<fmt_q8_0 *>(t.y) + t.at;
    b->q[lane] = (int8_t)kv_fit_quant(f_mul(x, inv), -127, 127);
    if (lane == 0)
        b->d = scale;
}

/* ---- Q4_0: quant_fit_symmetric for one block, sum by sum
 * ------------------------------------------ */

struct kv_fit {
    float inv, err, step;
};

/* One trial: quants at t.inv, then the least-squares step for them. */
__device__ static void kv_fit_try(const float (&x)[32], const float (&w)[32], kv_fit &t)
{
    float qq = 0, pq = 0, pp = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        float s = f_mul(x[i], t.inv), q = kv_fit_round(s, -8, 7), p = q - s;
        float wq = f_mul(w[i], q), wp = f_mul(w[i], p);
        qq += f_mul(wq, q);
        pq += f_mul(wp, q);
        pp += f_mul(wp, p);
    }
    float slope = qq > 0 ? pq / qq : 0, unit = t.inv != 0 ? 1 / t.inv : 0;
    t.step = f_mul(1 - slope, unit);
    t.err = f_mul(f_mul(pp - f_mul(slope, pq), unit), unit);
}

__device__ static float kv_fit_step(const float (&x)[32])
{
    const int trials = 15, polish = 2;
    float w[32], most = 0, square = 0;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
        square += f_mul(x[i], x[i]);
    }
    const float base = fabsf(most) >= KV_TINY ? -1 / most : 0;
    const float rms = square > 0 ? 1 / sqrtf(square / 32) : 0;
#pragma unroll
    for (int i = 0; i < 32; i++)
        w[i] = 1 + f_mul(fabsf(x[i]), rms);
    kv_fit best = {0, 3.402823466e38f, 0}, t;
    for (int k = 0; k < trials + polish; k++) {
        float again = k >= trials && best.step != 0 ? 1 / best.step : 0;
        t.inv = k < trials ? f_mul(base, 8 + f_mul(0.125f, (float)(k - trials / 2))) : again;
        kv_fit_try(x, w, t);
        if (t.err < best.err)
            best = t;
    }
    return best.step;
}

__global__ void __launch_bounds__(KV_WRITE_THREADS) k_kv_write_q4_0(const kv_write_call a)
{
    const int64_t i = (int64_t)blockIdx.x * KV_WRITE_THREADS + threadIdx.x;
    if (i >= a.items)
        return;
    const kv_write_item t = kv_write_find(a, i, (int)blockIdx.y);
    const float limit = FMT_F16_MAX * 8;
    float x[32];
#pragma unroll
    for (int j = 0; j < 32; j++)
        x[j] = kv_write_clamp(t.x[32 * t.at + j], limit);
    const float step = kv_fit_step(x);
    const uint16_t d = kv_fit_scale(fabsf(step), 1);
    const float size = vec_half(d), inv = size > 0 ? 1 / size : 0, way = step < 0 ? -inv : inv;
    fmt_q4_0 *b = reinterpret_cast<fmt_q4_0 *>(t.y) + t.at;
    b->d = step < 0 ? d | 0x8000 : d;
#pragma unroll
    for (int j = 0; j < 16; j++) {
        /* the elements as they came, unclamped */
        int low = kv_fit_quant(f_mul(t.x[32 * t.at + j], way), -8, 7) + 8;
        int high = kv_fit_quant(f_mul(t.x[32 * t.at + j + 16], way), -8, 7) + 8;
        b->q[j] = (uint8_t)(low | high << 4);
    }
}

/* ---- launchers --------------------------------------------------------------------------------
 */

bool kv_write_floats(const struct kv_write_args *a, const struct cuda_ctx *)
{
    return a->kv->fmt == FMT_F32 || a->kv->fmt == FMT_F16 || a->kv->fmt == FMT_BF16;
}

bool kv_write_blocks_q8_0(const struct kv_write_args *a, const struct cuda_ctx *)
{
    return a->kv->fmt == FMT_Q8_0;
}

bool kv_write_blocks_q4_0(const struct kv_write_args *a, const struct cuda_ctx *)
{
    return a->kv->fmt == FMT_Q4_0;
}

/* size: elements of an item */
static int kv_write_prepare(const struct kv_write_args *a, int size, kv_write_call *c,
                            struct err *e)
{
    TRY(kv_page_of("kv_write", a->kv, &c->kv, e));
    c->k = a->k;
    c->v = a->v;
    c->slot = a->slot;
    c->per_row = a->kv->head_dim / size;
    c->items = (int64_t)a->n_row * a->kv->n_kv_head * c->per_row;
    return 0;
}

/* Blocks for the items of k, and as many for those of v. */
static dim3 kv_write_grid(const kv_write_call &c, int threads_per_item)
{
    int64_t threads = c.items * threads_per_item;
    return dim3((unsigned)((threads + KV_WRITE_THREADS - 1) / KV_WRITE_THREADS), 2);
}

template <int N>
static int kv_write_float(cudaStream_t s, const struct kv_write_args *a, struct err *e)
{
    kv_write_call c;
    TRY(kv_write_prepare(a, N, &c, e));
    const dim3 grid = kv_write_grid(c, 1), block(KV_WRITE_THREADS);
    if (a->kv->fmt == FMT_F32)
        LAUNCH((k_kv_write_float<FMT_F32, N>), grid, block, 0, s, c);
    else if (a->kv->fmt == FMT_F16)
        LAUNCH((k_kv_write_float<FMT_F16, N>), grid, block, 0, s, c);
    else
        LAUNCH((k_kv_write_float<FMT_BF16, N>), grid, block, 0, s, c);
    CU_LAUNCHED(e, "kv_write_float");
    return 0;
}

int cuda_kv_write_float(struct cuda_ctx *, cudaStream_t s, const struct kv_write_args *a,
                        struct err *e)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(a->k) | reinterpret_cast<uintptr_t>(a->v);
    if (a->kv->head_dim % 2 == 0 && at % sizeof(float2) == 0)
        return kv_write_float<2>(s, a, e);
    return kv_write_float<1>(s, a, e);
}

int cuda_kv_write_q8_0(struct cuda_ctx *, cudaStream_t s, const struct kv_write_args *a,
                       struct err *e)
{
    kv_write_call c;
    TRY(kv_write_prepare(a, 32, &c, e));
    LAUNCH(k_kv_write_q8_0, kv_write_grid(c, 32), dim3(KV_WRITE_THREADS), 0, s, c);
    CU_LAUNCHED(e, "kv_write_q8_0");
    return 0;
}

int cuda_kv_write_q4_0(struct cuda_ctx *, cudaStream_t s, const struct kv_write_args *a,
                       struct err *e)
{
    kv_write_call c;
    TRY(kv_write_prepare(a, 32, &c, e));
    LAUNCH(k_kv_write_q4_0, kv_write_grid(c, 1), dim3(KV_WRITE_THREADS), 0, s, c);
    CU_LAUNCHED(e, "kv_write_q4_0");
    return 0;
}

} // namespace CU_NS
