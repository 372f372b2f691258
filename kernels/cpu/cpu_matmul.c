/*
 * cpu_matmul: y_i[r] = x[r] W_i^T.
 *
 * Numerics (binding: every instruction set, thread count and n_row gives the same bits)
 * - A row of x is quantised to int8, in blocks of 256 or 32 as MM_QUANTS says. d_x =
 *   amax / 127 in f32, q = nearest integer (ties to even) of x * (127 / amax), and the sums of q
 *   over 16 elements. A block with NaN or infinity has d_x = NaN.
 * - Per block, exact in int32: dot = sum_g scale[g] (q_w . q_x)_g and min = sum_g min[g]
 *   sum_g(q_x). The format has w = d_w scale[g] q_w - dmin_w min[g] (blocks of 32: scale 1; Q4_1
 *   and Q5_1: w = d_w q_w + m_w). IQ3_XXS and IQ2: d_w is a fraction of the stored f16, so that
 *   scales are whole: 2 scale + 1.
 * - In f32, block b into accumulator b % 8, in block order:
 *     acc = fmaf(d_w * d_x, (float)dot, acc)
 *     Q4_K, Q5_K, Q2_K then  acc = fmaf(-(dmin_w * d_x), (float)min, acc)
 *     Q4_1, Q5_1 then        acc = fmaf(m_w, d_x * (float)sum(q_x), acc)
 *     at the end  ((0+4)+(2+6)) + ((1+5)+(3+7))
 * - F32, F16, BF16, and formats without a row in MM_QUANTS, decoded: fmaf adds element i to
 *   accumulator i % 16; then v16_sum.
 * - Then bias, then the epilogue; silu and gelu as in v16.
 * - norm: x is the result of the kernel of rmsnorm.
 *
 * Work: threads share the output columns, in strips of MM_TILE weight rows. All rows of x pass,
 * MM_ROWS at a time, while a few strips lie in the core's cache. Weights in strips (lanes.h) are
 * multiplied in place. Other weights are packed into strips first, if there are enough rows to pay
 * for that and the instruction set has a kernel for strips. From some number of rows on, matrix
 * tiles multiply pairs of strips (cpu_tiles.h). Columns without a pair take the way of strips.
 */
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "check.h"
#include "mem.h"
#include "ops_check.h"
#include "ops_cpu.h"
#include "unpacked.h"

/* Lays out one quantised row of x and its parts. Returns the bytes from row to row. */
static size_t cpu_x_layout(struct mm_x *x, int64_t n_in, int block)
{
    x->n_in = n_in;
    x->block = block;
    x->sum_at = size_align((size_t)n_in, 64);
    x->pair_at = x->sum_at + size_align((size_t)(n_in / 16) * sizeof(int16_t), 64);
    x->mix_at = x->pair_at + size_align((size_t)(n_in / 32) * sizeof(int16_t), 64);
    x->off_at = x->mix_at + size_align((size_t)(n_in / 16) * sizeof(int16_t), 64);
    x->top_at = x->off_at + size_align((size_t)(n_in / 16) * sizeof(int32_t), 64);
    x->whole_at = x->top_at + size_align((size_t)(n_in / 32) * sizeof(int32_t), 64);
    x->d_at = x->whole_at + size_align((size_t)(n_in / 256) * sizeof(int32_t), 64);
    x->ds_at = x->d_at + size_align(((size_t)(n_in / block) + 8) * sizeof(float), 64);
    x->stride = x->ds_at + size_align((size_t)(n_in / 32) * sizeof(float), 64);
    if (x->stride % 1024 == 0)
        x->stride += 64;
    return x->stride;
}

/* Sixteen weight rows of any packed format. */
static size_t cpu_strip_bytes(int64_t n_in)
{
    return size_align((size_t)n_in * LANES + (size_t)n_in, 64); /* Q8_0: 34 bytes for 32 elements */
}

/* Sixteen weight rows, packed and unpacked. */
static size_t cpu_slot_bytes(int64_t n_in)
{
    return cpu_strip_bytes(n_in) + unpacked_most_bytes(n_in);
}

/* Offsets of the parts of a call in its scratch, bytes. */
struct matmul_layout {
    size_t x[2];           /* both forms of x, since the weights of one call may need both */
    size_t slots;          /* two for each thread (gate and up) */
    size_t tiles_x[2];     /* both forms of x for tiles */
    size_t work, per_work; /* of tiles, for each thread */
    size_t normed;         /* rows of n_norm */
    size_t end;
};

static struct matmul_layout cpu_matmul_layout(const struct ops_cpu *c, int n_row, int64_t n_in,
                                              int64_t n_norm)
{
    struct mm_x x;
    struct matmul_layout l = {0};
    const size_t threads = (size_t)pool_threads(c->pool), rows = (size_t)n_row;
    l.x[1] = rows * cpu_x_layout(&x, n_in, 256);
    l.slots = l.x[1] + rows * cpu_x_layout(&x, n_in, 32);
    l.tiles_x[0] = l.slots + size_align(threads * 2 * cpu_slot_bytes(n_in), 64);
    l.tiles_x[1] = l.work = l.normed = l.tiles_x[0];
    if (c->tiles) {
        l.tiles_x[1] += tiles_x_bytes(n_row, n_in, 256);
        l.work = l.tiles_x[1] + tiles_x_bytes(n_row, n_in, 32);
        l.per_work = c->tiles->work_bytes(n_row, n_in);
        l.normed = l.work + threads * l.per_work;
    }
    l.end = l.normed + rows * (size_t)n_norm * sizeof(float);
    return l;
}

size_t cpu_matmul_scratch(const struct ops_cpu *c, int n_row, int64_t n_in, int64_t n_norm)
{
    return cpu_matmul_layout(c, n_row, n_in, n_norm).end;
}

/* bytes of strips that stay in a core's cache while the rows of x pass */
#define MM_CACHE ((size_t)256 << 10)

struct matmul_job {
    const struct matmul_args *a;
    const struct cpu_kernels *k;
    struct mm_x x[2]; /* in blocks of 256, of 32; float weights take f of either */
    bool ready[2];
    float *normed; /* (n_row, n_in), where a norms x */
    bool normed_ready;
    char *slots;   /* (n_threads, 2, cpu_slot_bytes): a strip, then its unpacked form */
    int n_product; /* calls of the epilogue: 1 for a gated one */
    const struct cpu_tiles *tiles; /* or NULL */
    int tile_rows;                 /* the least number of rows for tiles; 0: that of the format */
    struct tiles_x tiles_x[2];
    bool arranged[2];
    char *work; /* (n_threads, work_bytes) */
    size_t work_bytes;
};

static int cpu_x_form(enum fmt fmt)
{
    return mm_x_block(fmt) == 32;
}

struct mm_prepare { /* of rows of x */
    const struct matmul_job *job;
    const struct mm_x *x; /* to quantise them, or NULL */
    bool norm;
};

static void cpu_prepare_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct mm_prepare *p = arg;
    const struct matmul_args *a = p->job->a;
    for (int64_t r = begin; r < end; r++) {
        if (p->norm)
            p->job->k->rmsnorm(a->x + r * a->n_in, a->norm.w, p->job->normed + r * a->n_in, a->n_in,
                               a->norm.eps, false);
        if (p->x)
            p->job->k->quantise(p->x, r);
    }
}

static void cpu_add_bias(const float *bias, int64_t j0, int nj, int nr, float *t)
{
    for (int r = 0; bias && r < nr; r++)
        for (int j = 0; j < nj; j++)
            t[r * MM_TILE + j] += bias[j0 + j];
}

static char *cpu_matmul_slot(const struct matmul_job *job, int worker, int second)
{
    return job->slots + (size_t)(2 * worker + second) * cpu_slot_bytes(job->a->n_in);
}

static bool cpu_matmul_unpacks(const struct matmul_job *job, enum fmt fmt)
{
    return job->k->unpacks && job->k->unpacks(fmt, job->a->n_row);
}

/* Whether nj columns of a matrix become a strip; else they are used as rows. */
static bool cpu_matmul_packs(const struct matmul_job *job, const struct tensor *w, int64_t nj)
{
    struct lanes l;
    if (w->lanes && nj == LANES)
        return true;
    return job->k->pack && lanes_of(w->fmt, &l) &&
           (!mm_by_rows(w->fmt) || job->a->n_row >= job->k->pack_rows);
}

/* Columns j0 .. j0 + nj - 1 of a matrix as a strip: in place, or packed into the worker's memory.
 * NULL: the columns are used as rows. */
static const char *cpu_matmul_pack(const struct matmul_job *job, const struct tensor *w, int64_t j0,
                                   int nj, int worker, int second)
{
    struct lanes l;
    const char *rows = (const char *)w->data + (size_t)j0 * w->row_bytes, *row[LANES];
    if (w->lanes && nj == LANES)
        return rows;
    if (!cpu_matmul_packs(job, w, nj) || !lanes_of(w->fmt, &l))
        return NULL;
    char *strip = cpu_matmul_slot(job, worker, second);
    for (int j = 0; j < LANES; j++) /* lanes beyond nj repeat the last row and are not used */
        row[j] = rows + (size_t)(j < nj ? j : nj - 1) * w->row_bytes;
    job->k->pack(&l, row, job->a->n_in, strip);
    return strip;
}

/* The same columns, unpacked into the worker's memory if that pays. */
static const char *cpu_matmul_strip(const struct matmul_job *job, const struct tensor *w,
                                    int64_t j0, int nj, int worker, int second)
{
    const char *strip = cpu_matmul_pack(job, w, j0, nj, worker, second);
    if (!strip || !cpu_matmul_unpacks(job, w->fmt))
        return strip;
    char *out = cpu_matmul_slot(job, worker, second) + cpu_strip_bytes(job->a->n_in);
    job->k->unpack(w->fmt, strip, job->a->n_in, out);
    return out;
}

/* t = rows r0 .. r0 + nr - 1, columns j0 .. j0 + nj - 1 of one product, with bias */
static void cpu_matmul_product(const struct matmul_job *job, const struct matmul_out *o,
                               const char *strip, int64_t j0, int nj, int64_t r0, int nr, float *t)
{
    const struct mm_x *x = &job->x[cpu_x_form(o->w->fmt)];
    if (strip && cpu_matmul_unpacks(job, o->w->fmt))
        job->k->unpacked(x, o->w->fmt, strip, r0, nr, t);
    else if (strip)
        job->k->strip(x, o->w->fmt, strip, r0, nr, t);
    else
        job->k->tile(x, o->w, j0, nj, r0, nr, t);
    cpu_add_bias(o->bias, j0, nj, nr, t);
}

/* The number of rows from which results pass by the caches (non-temporal stores). A line of y has
 * one tile of columns, and the next line of the same tile is a row away. So a plain store first
 * reads its line from memory, and puts out one of x or of the weights.
 *
 * GOP/s by processor time of one call without and with it, in turn, medians of five. Weights
 * packed, one thread, AMD EPYC (family 26, model 2, Zen 5), loaded machine, 2026-11-30:
 *
 *   rows x inputs -> outputs   Q4_K          Q6_K          Q8_0
 *   64 x 4,096 -> 14,336       566 -> 616    515 -> 544    469 -> 493
 *   128 x 4,096 -> 4,096       587 -> 645    557 -> 596    543 -> 573
 *   512 x 4,096 -> 14,336      637 -> 682    612 -> 637    609 -> 645
 *   512 x 14,336 -> 4,096      541 -> 576    448 -> 526    611 -> 621 */
#define MM_STREAM_ROWS 64

/* Whole lines of y at a time; MM_TILE results. */
static bool cpu_matmul_streams(const struct matmul_job *job, const float *y, int nj)
{
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
    return job->a->n_row >= MM_STREAM_ROWS && nj == MM_TILE && (uintptr_t)y % 64 == 0;
#else
    (void)job, (void)y, (void)nj;
    return false;
#endif
}

static void cpu_matmul_stream(float *y, const float *t)
{
#if defined(__x86_64__)
    for (int i = 0; i < MM_TILE; i += 4)
        _mm_stream_ps(y + i, _mm_load_ps(t + i));
#else
    (void)y, (void)t;
#endif
}

/* Before another thread reads y. */
static void cpu_matmul_streamed(void)
{
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

/* nj results of a row, from column j0 on, through the epilogue into y; up: of the next product
 * of a gated epilogue. t is aligned to 64 bytes. */
static void cpu_matmul_finish(const struct matmul_job *job, const struct matmul_out *o, int64_t r,
                              int64_t j0, int nj, const float *t, const float *up)
{
    _Alignas(64) float gated[MM_TILE];
    float *y = o->y + r * tensor_rows(o->w) + j0;
    if (job->a->epilogue == EPI_ADD) {
        job->k->add(t, y, nj);
        return;
    }
    if (job->a->epilogue == EPI_SWIGLU)
        job->k->swiglu(t, up, gated, nj);
    else if (job->a->epilogue == EPI_GEGLU)
        job->k->geglu(t, up, gated, nj);
    t = matmul_is_gated(job->a->epilogue) ? gated : t;
    if (cpu_matmul_streams(job, y, nj))
        cpu_matmul_stream(y, t);
    else
        memcpy(y, t, (size_t)nj * sizeof *y);
}

/* Rows r0 .. r0 + nr - 1, columns j0 .. j0 + nj - 1 of product o (and the next one, if gated),
 * through the epilogue into y. */
static void cpu_matmul_tile(const struct matmul_job *job, const struct matmul_out *o,
                            const char *const strip[2], int64_t j0, int nj, int64_t r0, int nr)
{
    _Alignas(64) float t[MM_ROWS * MM_TILE], up[MM_ROWS * MM_TILE];
    cpu_matmul_product(job, o, strip[0], j0, nj, r0, nr, t);
    if (matmul_is_gated(job->a->epilogue))
        cpu_matmul_product(job, o + 1, strip[1], j0, nj, r0, nr, up);
    for (int r = 0; r < nr; r++)
        cpu_matmul_finish(job, o, r0 + r, j0, nj, t + r * MM_TILE, up + r * MM_TILE);
}

/* Whether the strips at columns j and j + MM_TILE, or those of gate and up at j, are multiplied
 * together. end: of the columns of this call. */
static bool cpu_matmul_has_pair(const struct matmul_job *job, const struct matmul_out *o, int64_t j,
                                int64_t end, int nr)
{
    const bool gated = matmul_is_gated(job->a->epilogue);
    return nr > MM_ROWS / 2 && !cpu_matmul_unpacks(job, o->w->fmt) && job->k->pairs &&
           job->k->pairs(o->w->fmt) && o->w->lanes && end - j >= (gated ? MM_TILE : 2 * MM_TILE) &&
           (!gated || (o[1].w->lanes && o[1].w->fmt == o->w->fmt));
}

/* The results t of two strips through the epilogue into y: columns j and second, or gate and up at
 * j. Rows r0 .. r0 + nr - 1. */
static void cpu_matmul_finish_two(const struct matmul_job *job, const struct matmul_out *o,
                                  int64_t j, int64_t second, int64_t r0, int nr,
                                  float (*t)[MM_ROWS * MM_TILE])
{
    const int gated = matmul_is_gated(job->a->epilogue);
    cpu_add_bias(o->bias, j, MM_TILE, nr, t[0]);
    cpu_add_bias(o[gated].bias, second, MM_TILE, nr, t[1]);
    for (int r = 0; r < nr; r++) {
        cpu_matmul_finish(job, o, r0 + r, j, MM_TILE, t[0] + r * MM_TILE, t[1] + r * MM_TILE);
        if (!gated)
            cpu_matmul_finish(job, o, r0 + r, second, MM_TILE, t[1] + r * MM_TILE, NULL);
    }
}

/* Rows r0 .. r0 + nr - 1 of such a pair. Returns the columns that are done. */
static int64_t cpu_matmul_pair(const struct matmul_job *job, const struct matmul_out *o, int64_t j,
                               int64_t r0, int nr)
{
    _Alignas(64) float t[2][MM_ROWS * MM_TILE];
    const int gated = matmul_is_gated(job->a->epilogue);
    const int64_t second = gated ? j : j + MM_TILE;
    const char *const strip[2] = {(const char *)o->w->data + (size_t)j * o->w->row_bytes,
                                  (const char *)o[gated].w->data +
                                      (size_t)second * o[gated].w->row_bytes};
    float *const to[2] = {t[0], t[1]};
    job->k->pair(&job->x[cpu_x_form(o->w->fmt)], o->w->fmt, strip, r0, nr, to);
    cpu_matmul_finish_two(job, o, j, second, r0, nr, t);
    return gated ? MM_TILE : 2 * MM_TILE;
}

/* Columns whose two strips are unpacked and multiplied together: 0 if the product has no such
 * kernel. */
static int64_t cpu_matmul_both(const struct matmul_job *job, const struct matmul_out *o)
{
    const enum fmt fmt = o->w->fmt;
    const bool gated = matmul_is_gated(job->a->epilogue);
    if (!cpu_matmul_unpacks(job, fmt) || !job->k->both || !job->k->both(fmt) ||
        (gated && o[1].w->fmt != fmt))
        return 0;
    return gated ? MM_TILE : 2 * MM_TILE;
}

/* All rows of those columns, from j on. */
static void cpu_matmul_unpacked_both(const struct matmul_job *job, const struct matmul_out *o,
                                     int64_t j, int worker)
{
    _Alignas(64) float t[2][MM_ROWS * MM_TILE];
    const int gated = matmul_is_gated(job->a->epilogue);
    const int64_t second = gated ? j : j + MM_TILE;
    const void *const strip[2] = {cpu_matmul_strip(job, o->w, j, MM_TILE, worker, 0),
                                  cpu_matmul_strip(job, o[gated].w, second, MM_TILE, worker, 1)};
    float *const to[2] = {t[0], t[1]};
    for (int64_t r0 = 0; r0 < job->a->n_row; r0 += MM_ROWS) {
        const int nr = job->a->n_row - r0 < MM_ROWS ? (int)(job->a->n_row - r0) : MM_ROWS;
        job->k->unpacked_both(&job->x[cpu_x_form(o->w->fmt)], o->w->fmt, strip, r0, nr, to);
        cpu_matmul_finish_two(job, o, j, second, r0, nr, t);
    }
}

/* One row of x, columns from `begin` on. Reads several strips at once, each in its own part of the
 * range. Returns the first column that is left. */
static int64_t cpu_matmul_several(const struct matmul_job *job, const struct matmul_out *o,
                                  int64_t begin, int64_t end)
{
    _Alignas(64) float t[MM_SEVERAL][MM_TILE];
    float *to[MM_SEVERAL];
    const char *strip[MM_SEVERAL];
    const int both = matmul_is_gated(job->a->epilogue) ? 2 : 1;
    const int ways = (job->k->several ? job->k->several(o->w->fmt) : 0) / both;
    const struct mm_x *x = &job->x[cpu_x_form(o->w->fmt)];
    if (job->a->n_row != 1 || !ways || !o[0].w->lanes || !o[both - 1].w->lanes ||
        o[both - 1].w->fmt != o[0].w->fmt)
        return begin;
    const int64_t n = (end - begin) / MM_TILE / ways; /* strips of each way */
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < ways * both; k++) {
            const int64_t j = begin + MM_TILE * (k / both * n + i);
            strip[k] = (const char *)o[k % both].w->data + (size_t)j * o[0].w->row_bytes;
            to[k] = t[k];
        }
        job->k->strips(x, o->w->fmt, strip, 0, to);
        for (int k = 0; k < ways * both; k++)
            cpu_add_bias(o[k % both].bias, begin + MM_TILE * (k / both * n + i), MM_TILE, 1, t[k]);
        for (int k = 0; k < ways; k++)
            cpu_matmul_finish(job, o, 0, begin + MM_TILE * (k * n + i), MM_TILE, t[k * both],
                              t[k * both + both - 1]);
    }
    return begin + MM_TILE * ways * n;
}

/* Columns j0 .. end - 1 of all rows: one strip, or several strips that are packed already. */
static void cpu_matmul_strips(const struct matmul_job *job, const struct matmul_out *o, int64_t j0,
                              int64_t end, int worker)
{
    const bool gated = matmul_is_gated(job->a->epilogue);
    const char *strip[2] = {NULL, NULL};
    if (end - j0 == cpu_matmul_both(job, o)) {
        cpu_matmul_unpacked_both(job, o, j0, worker);
        return;
    }
    for (int64_t r0 = 0; r0 < job->a->n_row; r0 += MM_ROWS) {
        const int nr = job->a->n_row - r0 < MM_ROWS ? (int)(job->a->n_row - r0) : MM_ROWS;
        for (int64_t j = j0; j < end; j += MM_TILE) {
            while (cpu_matmul_has_pair(job, o, j, end, nr))
                j += cpu_matmul_pair(job, o, j, r0, nr);
            if (j >= end)
                break;
            const int nj = end - j < MM_TILE ? (int)(end - j) : MM_TILE;
            for (int i = 0; i <= gated; i++)
                if (!strip[i] || end - j0 > MM_TILE) /* else that of the rows before */
                    strip[i] = cpu_matmul_strip(job, o[i].w, j, nj, worker, i);
            cpu_matmul_tile(job, o, strip, j, nj, r0, nr);
        }
    }
}

/* Columns whose strips are held in the cache together. */
static int64_t cpu_matmul_group(const struct matmul_job *job, const struct matmul_out *o)
{
    const int64_t both = cpu_matmul_both(job, o);
    size_t bytes = 0;
    if (both)
        return both;
    for (int i = 0; i <= matmul_is_gated(job->a->epilogue); i++) {
        if (!o[i].w->lanes || cpu_matmul_unpacks(job, o[i].w->fmt))
            return MM_TILE;
        bytes += MM_TILE * o[i].w->row_bytes;
    }
    const int64_t n = (int64_t)(MM_CACHE / bytes);
    return MM_TILE * (n > 1 ? n : 1);
}

/* Whether matrix tiles multiply weights of this format in this call. */
static bool cpu_matmul_has_tiles(const struct matmul_job *job, enum fmt fmt)
{
    return job->tiles && mm_x_block(fmt) &&
           job->a->n_row >= (job->tile_rows ? job->tile_rows : job->tiles->least_rows(fmt));
}

/* Columns of a pair of strips that tiles multiply together: 0 if they do not multiply this product.
 */
static int64_t cpu_matmul_tile_columns(const struct matmul_job *job, const struct matmul_out *o)
{
    const bool gated = matmul_is_gated(job->a->epilogue);
    if (!cpu_matmul_has_tiles(job, o->w->fmt) || (gated && o[1].w->fmt != o->w->fmt))
        return 0;
    for (int i = 0; i <= gated; i++)
        if (!cpu_matmul_packs(job, o[i].w, MM_TILE))
            return 0;
    return gated ? MM_TILE : 2 * MM_TILE;
}

/* The strips of such a pair that are in place already, to be prefetched; NULL: there are none. */
static const char *const *cpu_matmul_tile_ahead(const struct matmul_out *o, const bool gated,
                                                int64_t j, int64_t end, const char *to[2])
{
    const int64_t second = gated ? j : j + MM_TILE;
    if (!o->w->lanes || !o[gated].w->lanes || second + MM_TILE > end)
        return NULL;
    to[0] = (const char *)o->w->data + (size_t)j * o->w->row_bytes;
    to[1] = (const char *)o[gated].w->data + (size_t)second * o[gated].w->row_bytes;
    return to;
}

/* The results t of two strips and n rows from r0 on, as those of cpu_matmul_finish_two. */
static void cpu_matmul_tiles_finish(const struct matmul_job *job, const struct matmul_out *o,
                                    int64_t j, int64_t second, int64_t r0, int64_t n,
                                    const float *const t[TILES_STRIPS])
{
    _Alignas(64) float both[TILES_STRIPS][MM_ROWS * MM_TILE];
    for (int64_t r = 0; r < n; r += MM_ROWS) {
        const int nr = n - r < MM_ROWS ? (int)(n - r) : MM_ROWS;
        for (int i = 0; i < TILES_STRIPS; i++)
            memcpy(both[i], t[i] + r * MM_TILE, (size_t)nr * MM_TILE * sizeof(float));
        cpu_matmul_finish_two(job, o, j, second, r0 + r, nr, both);
    }
}

/* Columns begin .. end - 1 of one product, as many as there are in whole pairs of strips, by tiles.
 * Returns the first column that is left. */
static int64_t cpu_matmul_tiles(const struct matmul_job *job, const struct matmul_out *o,
                                int64_t begin, int64_t end, int worker)
{
    const int64_t columns = cpu_matmul_tile_columns(job, o);
    const int gated = matmul_is_gated(job->a->epilogue);
    const struct tiles_x *x = &job->tiles_x[cpu_x_form(o->w->fmt)];
    char *work = job->work + (size_t)worker * job->work_bytes;
    if (!columns || end - begin < columns)
        return begin;
    end = begin + (end - begin) / columns * columns;
    job->tiles->open(work, o->w->fmt);
    for (int chunk = 0; chunk < tiles_chunks(x); chunk++) {
        const int64_t r0 = (int64_t)chunk * x->units * TILES_ROWS;
        const int64_t rows = (int64_t)tiles_units_of(x, chunk) * TILES_ROWS,
                      left = job->a->n_row - r0;
        for (int64_t j = begin; j < end; j += columns) {
            const int64_t second = gated ? j : j + MM_TILE;
            const char *next[TILES_STRIPS];
            const float *t[TILES_STRIPS];
            const char *const strip[TILES_STRIPS] = {
                cpu_matmul_pack(job, o->w, j, MM_TILE, worker, 0),
                cpu_matmul_pack(job, o[gated].w, second, MM_TILE, worker, 1)};
            CHECK(strip[0] && strip[1]);
            job->tiles->pair(work, x, chunk, o->w->fmt, strip,
                             cpu_matmul_tile_ahead(o, gated, j + columns, end, next), t);
            cpu_matmul_tiles_finish(job, o, j, second, r0, left < rows ? left : rows, t);
        }
    }
    job->tiles->close(work);
    return end;
}

/* Columns begin .. end - 1 of one product, in strips and groups of strips. */
static void cpu_matmul_range(const struct matmul_job *job, const struct matmul_out *o,
                             int64_t begin, int64_t end, int worker)
{
    const int64_t group = cpu_matmul_group(job, o);
    const int64_t whole = o->w->lanes ? tensor_rows(o->w) / MM_TILE * MM_TILE : end;
    begin = cpu_matmul_tiles(job, o, begin, whole < end ? whole : end, worker);
    for (int64_t j = cpu_matmul_several(job, o, begin, whole < end ? whole : end); j < end;) {
        const int64_t stop = j < whole && j + group > whole ? whole : j + group;
        cpu_matmul_strips(job, o, j, stop < end ? stop : end, worker);
        j = stop;
    }
}

/* Strips begin .. end - 1 of all products, one after the other. */
static void cpu_matmul_columns(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct matmul_job *job = arg;
    int64_t at = 0; /* number of the product's first strip */
    for (int i = 0; i < job->n_product && at < end; i++) {
        const int64_t rows = tensor_rows(job->a->out[i].w), n = (rows + MM_TILE - 1) / MM_TILE;
        const int64_t from = begin > at ? begin - at : 0, to = end - at < n ? end - at : n;
        if (from < to)
            cpu_matmul_range(job, &job->a->out[i], MM_TILE * from,
                             MM_TILE * to < rows ? MM_TILE * to : rows, worker);
        at += n;
    }
    cpu_matmul_streamed();
}

/* Norms x and quantises it for weights of this format, once per call. */
static void cpu_matmul_prepare(struct ops_cpu *c, struct matmul_job *job, enum fmt fmt)
{
    const int form = cpu_x_form(fmt);
    const bool quantise = mm_x_block(fmt) && !job->ready[form];
    struct mm_prepare p = {job, quantise ? &job->x[form] : NULL,
                           job->a->norm.w && !job->normed_ready};
    if (!p.x && !p.norm)
        return;
    pool_run(c->pool, job->a->n_row, cpu_prepare_rows, &p);
    job->ready[form] |= quantise;
    job->normed_ready = true;
}

struct arrange_job {
    const struct cpu_tiles *tiles;
    const struct tiles_x *x;
};

static void cpu_arrange_units(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct arrange_job *job = arg;
    (void)worker;
    for (int64_t unit = begin; unit < end; unit++)
        job->tiles->arrange(job->x, (int)unit);
}

/* Gives x the form of tiles for weights of this format, once per call. */
static void cpu_matmul_arrange(struct ops_cpu *c, struct matmul_job *job, enum fmt fmt)
{
    const int form = cpu_x_form(fmt);
    if (!cpu_matmul_has_tiles(job, fmt) || job->arranged[form])
        return;
    struct arrange_job arrange = {job->tiles, &job->tiles_x[form]};
    pool_run(c->pool, tiles_all_units(job->a->n_row), cpu_arrange_units, &arrange);
    job->arranged[form] = true;
}

int cpu_matmul(struct ops *ops, struct stream *s, const struct matmul_args *a, struct err *e)
{
    (void)s;
    struct ops_cpu *c = ops_cpu(ops);
    TRY(ops_check_matmul(a, e));
    if (a->n_row == 0)
        return 0;
    struct matmul_job job = {.a = a, .k = c->k, .tiles = c->tiles, .tile_rows = c->tile_rows};
    const struct matmul_layout l = cpu_matmul_layout(c, a->n_row, a->n_in, a->norm.w ? a->n_in : 0);
    TRY(ops_check_scratch("matmul", l.end, c->scratch, c->scratch_bytes, e));
    job.normed = (float *)(void *)(c->scratch + l.normed);
    job.slots = c->scratch + l.slots;
    job.work = c->scratch + l.work;
    job.work_bytes = l.per_work;
    for (int i = 0; i < 2; i++) {
        cpu_x_layout(&job.x[i], a->n_in, i ? 32 : 256);
        job.x[i].f = a->norm.w ? job.normed : a->x;
        job.x[i].base = c->scratch + l.x[i];
        job.tiles_x[i] = (struct tiles_x){&job.x[i], a->n_row, tiles_chunk(a->n_row, a->n_in),
                                          c->scratch + l.tiles_x[i]};
    }
    for (int i = 0; i < a->n_out; i++) {
        cpu_matmul_prepare(c, &job, a->out[i].w->fmt);
        cpu_matmul_arrange(c, &job, a->out[i].w->fmt);
    }
    int64_t strips = 0;
    job.n_product = matmul_is_gated(a->epilogue) ? 1 : a->n_out;
    for (int i = 0; i < job.n_product; i++)
        strips += (tensor_rows(a->out[i].w) + MM_TILE - 1) / MM_TILE;
    /* Many rows: two strips together. One that is left alone at the end of a part takes longer. */
    const bool pairs = a->n_row > MM_ROWS / 2 && !matmul_is_gated(a->epilogue) &&
                       (c->tiles || c->k->both || c->k->pairs);
    pool_run_grain(c->pool, strips, pairs ? 2 : 1, cpu_matmul_columns, &job);
    return 0;
}
