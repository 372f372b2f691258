/*
 * cpu_kernel: the single-threaded inner parts of the fast CPU backend, one table per instruction
 * set. cpu_kernel_scalar.c, _neon.c, _avx2.c, _avxvnni.c and _avx512.c include the same bodies
 * (body_*.h), written in v16, and add kernels written by hand. The bits of every result are the
 * same in all of them. cpu_<op>.c divides the rows among threads.
 */
#ifndef MAS_CPU_KERNEL_H
#define MAS_CPU_KERNEL_H

#include "cpu_isa.h"
#include "lanes.h"
#include "ops.h"

#define MM_TILE 16   /* output columns (weight rows) of a tile: one v16 */
#define MM_SEVERAL 4 /* strips that a kernel reads at once, at most */
/* activation rows of a tile; a weight block is unpacked once for all of them */
#define MM_ROWS 8

/*
 * The formats with a fast kernel, which multiplies quants without decoding. A row here needs cases
 * in body_plain.h, lanes.c, body_unpack.h and the strips of each instruction set. X(NAME, elements
 * of x that are quantised as one block, elements that share a scale, minimum, tile).
 *   minimum  MM_MIN: a block or its groups have one; MM_NO_MIN
 *   tile     MM_BY_ROWS: body_dot256.h has a kernel for few rows of x and weights in the order of
 *            files; MM_PACKS: such weights are packed into a strip first, in every call
 * Weights of all other formats are decoded if they have blocks, and multiplied by x in f32
 * (body_matmul.h).
 */
#define MM_QUANTS(X)                                                                               \
    X(Q4_0, 32, 32, MM_NO_MIN, MM_BY_ROWS)                                                         \
    X(Q8_0, 32, 32, MM_NO_MIN, MM_BY_ROWS)                                                         \
    X(Q4_K, 256, 32, MM_MIN, MM_BY_ROWS)                                                           \
    X(Q5_K, 256, 32, MM_MIN, MM_BY_ROWS)                                                           \
    X(Q6_K, 256, 16, MM_NO_MIN, MM_BY_ROWS)                                                        \
    X(Q4_1, 32, 32, MM_MIN, MM_PACKS)                                                              \
    X(Q5_0, 32, 32, MM_NO_MIN, MM_PACKS)                                                           \
    X(Q5_1, 32, 32, MM_MIN, MM_PACKS)                                                              \
    X(Q2_K, 256, 16, MM_MIN, MM_PACKS)                                                             \
    X(Q3_K, 256, 16, MM_NO_MIN, MM_PACKS)                                                          \
    X(IQ4_NL, 32, 32, MM_NO_MIN, MM_PACKS)                                                         \
    X(IQ4_XS, 256, 32, MM_NO_MIN, MM_PACKS)                                                        \
    X(IQ3_XXS, 256, 32, MM_NO_MIN, MM_PACKS)                                                       \
    X(IQ3_S, 256, 32, MM_NO_MIN, MM_PACKS)                                                         \
    X(IQ2_XXS, 256, 32, MM_NO_MIN, MM_PACKS)                                                       \
    X(IQ2_XS, 256, 16, MM_NO_MIN, MM_PACKS)                                                        \
    X(IQ2_S, 256, 16, MM_NO_MIN, MM_PACKS)

enum mm_least { MM_NO_MIN, MM_MIN };
enum mm_few { MM_PACKS, MM_BY_ROWS };

/* Elements per block of the quantised x that weights of this format meet; 0: x in f32. */
static inline int mm_x_block(enum fmt fmt)
{
#define MM_X_BLOCK(NAME, elems, ...)                                                               \
    case FMT_##NAME:                                                                               \
        return elems;
    switch (fmt) {
        MM_QUANTS(MM_X_BLOCK)
    default:
        return 0;
    }
#undef MM_X_BLOCK
}

/* Elements of a group: those of a block that share a scale. */
static inline int mm_group(enum fmt fmt)
{
#define MM_GROUP(NAME, elems, group, ...)                                                          \
    case FMT_##NAME:                                                                               \
        return group;
    switch (fmt) {
        MM_QUANTS(MM_GROUP)
    default:
        return 0;
    }
#undef MM_GROUP
}

static inline bool mm_has_min(enum fmt fmt)
{
#define MM_HAS_MIN(NAME, elems, group, least, few)                                                 \
    case FMT_##NAME:                                                                               \
        return least == MM_MIN;
    switch (fmt) {
        MM_QUANTS(MM_HAS_MIN)
    default:
        return false;
    }
#undef MM_HAS_MIN
}

static inline bool mm_by_rows(enum fmt fmt)
{
#define MM_HAS_TILE(NAME, elems, group, least, few)                                                \
    case FMT_##NAME:                                                                               \
        return few == MM_BY_ROWS;
    switch (fmt) {
        MM_QUANTS(MM_HAS_TILE)
    default:
        return true; /* in f32 */
    }
#undef MM_HAS_TILE
}

/* Activation rows, in f32 and quantised to 8 bits in blocks of `block` elements (numerics:
 * cpu_matmul.c). All data of row r lies at base + r * stride. */
struct mm_x {
    const float *f; /* (n_row, n_in) */
    int64_t n_in;
    int block;  /* 256 or 32 */
    char *base; /* (n_row, stride) bytes */
    /* multiple of 64, not of 1024: rows would share lines of the cache */
    size_t stride;
    /* Offsets within a row's data, bytes; q is at 0:
     *   q     int8 (n_in)
     *   sum   int16 (n_in / 16): sums of 16 q
     *   pair  int16 (n_in / 32): sums of 32 q, in the order of groups 0 2 1 3 4 6 5 7;
     *         blocks of 256 only
     *   mix   int16 (n_in / 16): sum, each four in the order 0 2 1 3; blocks of 256 only
     *   off   int32: blocks of 256: -32 times each sum (n_in / 16);
     *         blocks of 32: -8 times the sum of 32 q (n_in / 32)
     *   top   int32 (n_in / 32): -128 times the sum of 32 q
     *   whole int32 (n_in / 256): -127 times the sum of 256 q; blocks of 256 only
     *   d     f32: scale of a block, padded with zeros to a multiple of 8
     *   ds    f32 (n_in / 32): d times the sum of 32 q; blocks of 32 only */
    size_t sum_at, pair_at, mix_at, off_at, top_at, whole_at, d_at, ds_at;
};

static inline const int8_t *mm_x_q(const struct mm_x *x, int64_t r)
{
    return (const int8_t *)(x->base + (size_t)r * x->stride);
}
static inline const int16_t *mm_x_sum(const struct mm_x *x, int64_t r)
{
    return (const int16_t *)(const void *)(x->base + (size_t)r * x->stride + x->sum_at);
}
static inline const int16_t *mm_x_pair(const struct mm_x *x, int64_t r)
{
    return (const int16_t *)(const void *)(x->base + (size_t)r * x->stride + x->pair_at);
}
static inline const int16_t *mm_x_mix(const struct mm_x *x, int64_t r)
{
    return (const int16_t *)(const void *)(x->base + (size_t)r * x->stride + x->mix_at);
}
static inline const int32_t *mm_x_top(const struct mm_x *x, int64_t r)
{
    return (const int32_t *)(const void *)(x->base + (size_t)r * x->stride + x->top_at);
}
static inline const int32_t *mm_x_whole(const struct mm_x *x, int64_t r)
{
    return (const int32_t *)(const void *)(x->base + (size_t)r * x->stride + x->whole_at);
}
static inline const float *mm_x_ds(const struct mm_x *x, int64_t r)
{
    return (const float *)(const void *)(x->base + (size_t)r * x->stride + x->ds_at);
}
static inline const int32_t *mm_x_off(const struct mm_x *x, int64_t r)
{
    return (const int32_t *)(const void *)(x->base + (size_t)r * x->stride + x->off_at);
}
static inline const float *mm_x_d(const struct mm_x *x, int64_t r)
{
    return (const float *)(const void *)(x->base + (size_t)r * x->stride + x->d_at);
}

struct fmt_q4_0;

/* A kv head and all query rows that share its K and V rows. The rows are a few of one sequence, or
 * all of neighbours in the batch whose first positions are the same. */
struct attn_item {
    const struct attention_args *a;
    int seq, n_seq, kv_head;
    /* positions that all sequences share, before the last position of each row, a multiple of
     * ATTN_BLOCK; 0 if n_seq is 1 */
    int shared;
    int row, n_row;   /* query rows row .. row + n_row - 1 of the batch */
    int head, n_head; /* query heads head .. head + n_head - 1 of the kv head's group */
    float *scratch;   /* of one worker; cpu_attention.c counts them */
};
#define KV_BLOCKS 16    /* blocks of Q4_0 that are fitted side by side: the lanes of a v16 */
#define ATTN_BLOCK 32   /* positions per step of the online softmax; part of the numerics */
#define ATTN_QUERIES 32 /* query rows x heads of an item */

/* One row of sample. */
#define SAMPLE_SCRATCH 12
struct sample_job {
    const float *x; /* (n_vocab) logits */
    int64_t n;
    const uint32_t *mask; /* NULL = all allowed */
    const struct sample_row *p;
    void *scratch; /* SAMPLE_SCRATCH bytes for each token of n_vocab rounded up to 16 */
};

/* The turning of a head's first n_rot elements, in pairs (u, v) by an angle each.
 *   ROPE_HALVES     pair i lies at i and i + n_rot / 2; c[i] is its cosine, s[i] its sine
 *   ROPE_ADJACENT   pair i lies at 2 i and 2 i + 1; c holds the factors of u, cosine and sine, and
 *                   s those of v, minus the sine and the cosine */
struct cpu_turn {
    enum rope_pairs pairs;
    int n_rot;
    const float *c, *s;
};

struct cpu_kernels {
    enum cpu_isa isa;
    /* x->f of row r -> the quantised form */
    void (*quantise)(const struct mm_x *x, int64_t r);
    /* t[i][j] (i < nr <= MM_ROWS, stride MM_TILE) = row r0 + i of x . weight row j0 + j, j < nj */
    void (*tile)(const struct mm_x *x, const struct tensor *w, int64_t j0, int nj, int64_t r0,
                 int nr, float *t);
    /* Rows r0 .. r0 + nr - 1 of x . the sixteen weight rows of a strip (lanes.h). NULL: no such
     * kernel, and no weights are packed. */
    void (*strip)(const struct mm_x *x, enum fmt fmt, const char *strip, int64_t r0, int nr,
                  float *t);
    /* Row r of x . several(fmt) strips at once, t[i] (16) for strip[i]. several NULL or 0: no such
     * kernel. */
    int (*several)(enum fmt fmt);
    void (*strips)(const struct mm_x *x, enum fmt fmt, const char *const *strip, int64_t r,
                   float *const *t);
    /* strip for two strips at once, which share the loads of x. pairs NULL or false: no such
     * kernel. */
    bool (*pairs)(enum fmt fmt);
    void (*pair)(const struct mm_x *x, enum fmt fmt, const char *const strip[2], int64_t r0, int nr,
                 float *const t[2]);
    /* The rows that meet an unpacked strip (struct unpacked). true: with so many rows of x, a strip
     * of this format is unpacked once for all of them. unpacks NULL: never. */
    bool (*unpacks)(enum fmt fmt, int n_row);
    void (*unpack)(enum fmt fmt, const char *strip, int64_t n_in, void *out);
    void (*unpacked)(const struct mm_x *x, enum fmt fmt, const void *strip, int64_t r0, int nr,
                     float *t);
    /* unpacked for two strips at once, which share the loads of x. both NULL or false: no such
     * kernel. */
    bool (*both)(enum fmt fmt);
    void (*unpacked_both)(const struct mm_x *x, enum fmt fmt, const void *const strip[2],
                          int64_t r0, int nr, float *const t[2]);
    /* lanes_pack, and the least number of rows of x for which packing a strip inside the call
     * pays, for formats with a tile */
    int pack_rows;
    void (*pack)(const struct lanes *l, const char *const row[LANES], int64_t n, void *strip);
    void (*rmsnorm)(const float *x, const float *w, float *y, int64_t n, float eps, bool add);
    void (*swiglu)(const float *gate, const float *up, float *y, int64_t n);
    void (*geglu)(const float *gate, const float *up, float *y, int64_t n);
    void (*add)(const float *x, float *y, int64_t n);
    void (*f16)(const float *x, uint16_t *y, int64_t n);
    void (*q8_0)(const float *x, void *y, int64_t n); /* x finite, n a multiple of 32 */
    /* x[i][l]: element i of block l, finite in all lanes. Writes the blocks l < n. */
    void (*q4_0)(const float (*x)[KV_BLOCKS], int n, struct fmt_q4_0 *const *y);
    void (*rope)(float *x, int n_head, int head_dim, const struct cpu_turn *t);
    void (*attention)(const struct attn_item *item);
    /* max + ln sum e^(x - max); NaN when x holds NaN or an infinite maximum */
    double (*log_sum_exp)(const float *x, int64_t n);
    int32_t (*sample)(const struct sample_job *job);
    double (*peak)(bool int8, int64_t turns, float *sink);               /* body_peak.h */
    uint64_t (*read)(const char *p, int64_t n, int streams, bool ahead); /* body_read.h */
};

extern const struct cpu_kernels cpu_kernels_scalar;
#if defined(__x86_64__)
extern const struct cpu_kernels cpu_kernels_avx2, cpu_kernels_avxvnni, cpu_kernels_avx512;
#elif defined(__aarch64__)
extern const struct cpu_kernels cpu_kernels_neon;
#endif

#endif
