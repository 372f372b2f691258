/*
 * shim_warp: computes the warp collectives. w->v[l] holds the operand of lane l and receives its
 * result.
 *
 * Fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k16" and "... for mma.m16n8k32". In a
 * fragment g = lane / 4 is the group and t = lane % 4 the thread of the group.
 */
#include "shim_rt.h"

namespace cushim
{

const char *collective_name(enum collective kind)
{
    static const char *const name[] = {"__syncwarp", "shuffle",  "vote", "match",
                                       "reduce",     "ldmatrix", "mma",  "wait for wgmma"};
    return name[kind];
}

/* for each lane l of the mask m */
#define FOR_LANES(l, m)                                                                            \
    for (unsigned l##_m = (m), l = 0; l##_m && (l = (unsigned)__builtin_ctz(l##_m), true);         \
         l##_m &= l##_m - 1)

static void shuffle_lanes(struct warp *w, const struct lane_op *op, unsigned part)
{
    uint64_t in[WARP];
    memcpy(in, w->v, sizeof in);
    FOR_LANES(l, part)
    {
        unsigned src = w->src[l];
        if (!(part >> src & 1))
            return kernel_fail(
                "shuffle at %s:%d: lane %u reads lane %u, which does not take part (mask "
                "%08x, live %08x)",
                file_name(op->at.file), op->at.line, l, src, op->mask, part);
        w->v[l] = in[src];
    }
}

static void vote(struct warp *w, unsigned part)
{
    unsigned r = 0;
    FOR_LANES(l, part)
    r |= (unsigned)(w->v[l] != 0) << l;
    FOR_LANES(l, part)
    w->v[l] = r;
}

static void match(struct warp *w, const struct lane_op *op, unsigned part)
{
    uint64_t r[WARP];
    FOR_LANES(l, part)
    {
        unsigned same = 0;
        FOR_LANES(k, part)
        same |= (unsigned)(w->v[k] == w->v[l]) << k;
        r[l] = op->tag == 0 ? same : same == part ? part : 0;
    }
    FOR_LANES(l, part)
    w->v[l] = r[l];
}

/* The xor tree of warp.cuh's shuffles over all 32 lanes: every lane gets the same bits. */
template <class F> static void reduce_tree(struct warp *w, F f)
{
    float v[WARP];
    for (unsigned l = 0; l < WARP; l++)
        v[l] = from_bits<float>(w->v[l]);
    for (unsigned o = WARP / 2; o; o >>= 1)
        for (unsigned l = 0; l < o; l++)
            v[l] = f(v[l], v[l + o]);
    for (unsigned l = 0; l < WARP; l++)
        w->v[l] = to_bits(v[0]);
}

static void reduce(struct warp *w, const struct lane_op *op, unsigned part)
{
    if (op->tag >= RED_SUM_F) {
        if (part != 0xffffffffu)
            return kernel_fail("reduction at %s:%d by an incomplete warp (live lanes %08x)",
                               file_name(op->at.file), op->at.line, part);
        if (op->tag == RED_SUM_F)
            return reduce_tree(w, [](float a, float b) { return a + b; });
        return reduce_tree(w, [](float a, float b) { return fmaxf(a, b); });
    }
    uint32_t r = (uint32_t)w->v[__builtin_ctz(part)];
    FOR_LANES(l, part & (part - 1))
    {
        uint32_t v = (uint32_t)w->v[l];
        switch (op->tag) {
        case RED_ADD:
            r += v;
            break;
        case RED_MAX_S:
            r = (int32_t)v > (int32_t)r ? v : r;
            break;
        case RED_MIN_S:
            r = (int32_t)v < (int32_t)r ? v : r;
            break;
        case RED_MAX_U:
            r = v > r ? v : r;
            break;
        case RED_MIN_U:
            r = v < r ? v : r;
            break;
        case RED_OR:
            r |= v;
            break;
        case RED_AND:
            r &= v;
            break;
        default:
            r ^= v;
        }
    }
    FOR_LANES(l, part)
    w->v[l] = r;
}

/* ldmatrix: four 8x8 tiles of 16-bit elements; lane 8 i + j gives the address of row j of tile
 * i. */

static void load_tiles(struct warp *w, const struct lane_op *op)
{
    unsigned n = op->tag >> 1;
    bool trans = op->tag & 1;
    uint16_t tile[4][8][8];
    for (unsigned l = 0; l < n * 8; l++) {
        const struct ldmatrix_lane *in = reinterpret_cast<const struct ldmatrix_lane *>(w->v[l]);
        if ((uintptr_t)in->row & 15)
            return kernel_fail("ldmatrix at %s:%d: lane %u gives the misaligned row %p",
                               file_name(op->at.file), op->at.line, l, in->row);
        if (!shared_holds(w->t->block, in->row, 16))
            return kernel_fail(
                "ldmatrix at %s:%d: lane %u gives row %p, which is not inside shared memory",
                file_name(op->at.file), op->at.line, l, in->row);
        cur = w->t + l;
        race_note(in->row, 16, false, op->at);
        race_shape(in->row, 16, false, op->at);
        memcpy(tile[l / 8][l % 8], in->row, 16);
    }
    for (unsigned l = 0; l < WARP; l++) {
        const struct ldmatrix_lane *in = reinterpret_cast<const struct ldmatrix_lane *>(w->v[l]);
        unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < n; i++) {
            uint32_t lo = trans ? tile[i][2 * t][g] : tile[i][g][2 * t];
            uint32_t hi = trans ? tile[i][2 * t + 1][g] : tile[i][g][2 * t + 1];
            in->r[i] = lo | hi << 16;
        }
    }
}

/* ---- mma: D (16, 8) += A (16, K) B (K, 8) ---------------------------------------------------- */

typedef float row_f32 __attribute__((vector_size(32)));

/* All operands in f32: exact for the element types and for sums of int8 products (< 2^24). */
struct tiles {
    float a[16][32];
    row_f32 b[32], d[16];
};

/* Adds in ascending k; the order of the hardware within an mma is not defined. */
__attribute__((always_inline)) static inline void multiply_tiles(struct tiles *x, int k_end)
{
    for (int i = 0; i < 16; i++) {
        row_f32 sum = x->d[i];
        for (int k = 0; k < k_end; k++)
            sum += x->a[i][k] * x->b[k];
        x->d[i] = sum;
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void multiply_avx2(struct tiles *x, int k_end)
{
    multiply_tiles(x, k_end);
}
#endif

static void multiply(struct tiles *x, int k_end)
{
#if defined(__x86_64__)
    static const bool avx2 = __builtin_cpu_supports("avx2");
    if (avx2)
        return multiply_avx2(x, k_end); /* the same operations, eight at a time */
#endif
    multiply_tiles(x, k_end);
}

static float of_f16(uint32_t h)
{
    float f = __uint_as_float((h & 0x7fff) << 13) * 0x1p112f; /* rebias; exact for subnormals too */
    uint32_t u = __float_as_uint(f) | ((h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0);
    return __uint_as_float(u | (h & 0x8000) << 16);
}

static float of_bf16(uint32_t h)
{
    return __uint_as_float(h << 16);
}

template <float (*CONVERT)(uint32_t)> static void mma_k16(struct warp *w)
{
    struct tiles x;
    for (unsigned l = 0; l < WARP; l++) {
        const struct mma_lane *in = reinterpret_cast<const struct mma_lane *>(w->v[l]);
        const float *c = static_cast<const float *>(in->d);
        unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < 4; i++) {
            float *at = &x.a[g + 8 * (i % 2)][t * 2 + 8 * (i / 2)];
            at[0] = CONVERT(in->a[i]);
            at[1] = CONVERT(in->a[i] >> 16);
            x.d[g + 8 * (i / 2)][t * 2 + i % 2] = c[i];
        }
        for (unsigned i = 0; i < 2; i++) {
            x.b[t * 2 + 8 * i][g] = CONVERT(in->b[i]);
            x.b[t * 2 + 8 * i + 1][g] = CONVERT(in->b[i] >> 16);
        }
    }
    multiply(&x, 16);
    for (unsigned l = 0; l < WARP; l++) {
        float *out = static_cast<float *>(reinterpret_cast<const struct mma_lane *>(w->v[l])->d);
        for (unsigned i = 0; i < 4; i++)
            out[i] = x.d[l / 4 + 8 * (i / 2)][l % 4 * 2 + i % 2];
    }
}

static void mma_s8_k32(struct warp *w)
{
    struct tiles x;
    memset(x.d, 0, sizeof x.d);
    for (unsigned l = 0; l < WARP; l++) {
        const struct mma_lane *in = reinterpret_cast<const struct mma_lane *>(w->v[l]);
        unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < 16; i++)
            x.a[g + 8 * (i / 4 % 2)][t * 4 + i % 4 + 16 * (i / 8)] =
                (int8_t)(in->a[i / 4] >> 8 * (i % 4));
        for (unsigned i = 0; i < 8; i++)
            x.b[t * 4 + i % 4 + 16 * (i / 4)][g] = (int8_t)(in->b[i / 4] >> 8 * (i % 4));
    }
    multiply(&x, 32);
    for (unsigned l = 0; l < WARP; l++) {
        int *out = static_cast<int *>(reinterpret_cast<const struct mma_lane *>(w->v[l])->d);
        for (unsigned i = 0; i < 4; i++) /* wraps */
            out[i] = (int)((unsigned)out[i] +
                           (unsigned)(int)x.d[l / 4 + 8 * (i / 2)][l % 4 * 2 + i % 2]);
    }
}

void collective_compute(struct warp *w, const struct lane_op *op, unsigned part)
{
    struct thread_id *me = cur;
    switch (op->kind) {
    case SYNCWARP:
        break;
    case SHUFFLE:
        shuffle_lanes(w, op, part);
        break;
    case VOTE:
        vote(w, part);
        if (op->tag == 2) /* all: every lane said yes */
            FOR_LANES(l, part)
        w->v[l] = w->v[l] != 0;
        break;
    case MATCH:
        match(w, op, part);
        break;
    case REDUCE:
        reduce(w, op, part);
        break;
    case LDMATRIX:
        load_tiles(w, op);
        break;
    case MMA:
        if (op->tag == MMA_F16)
            mma_k16<of_f16>(w);
        else if (op->tag == MMA_BF16)
            mma_k16<of_bf16>(w);
        else
            mma_s8_k32(w);
        break;
    case WGMMA_WAIT:
        products_finish(w, op);
        break;
    }
    cur = me;
}

} /* namespace cushim */
