/*
 * body_tiles: matmul with matrix tiles (cpu_tiles.h), blocks of 256. amx_tile.h has the operations.
 *
 * A step multiplies a unit of x (two tiles of 16 rows) with two tiles of weights. These are both
 * planes of one strip, or the planes of two strips. Four sums of 16 x 16 stay in tiles for the
 * whole block:
 *
 *             B0 = tile 6    B1 = tile 7       the tiles of a step; four times, 64 elements each
 *   A0 = 4      C = 0          C = 1
 *   A1 = 5      C = 2          C = 3
 *
 * A step takes 16 products, 16 loads, 4 stores and 4 zeroes of tiles. The results of a step go to
 * memory at the start of the next one. Their ends in f32 stand between the products of that step,
 * because products run in a unit of their own. In the last step of a block, the planes of the next
 * block replace those that the products have taken.
 *
 * Blocks of one accumulator follow each other (b, b + 8, ..), so that the accumulators in use are
 * few. Each accumulator still adds its blocks in order. Included by cpu_kernel_amx.c only.
 */
#include "body_tiles_planes.h"

struct tiles_sums { /* of a step: tile 2 t + p, t: rows, p: plane or strip */
    _Alignas(64) int32_t c[4][16][16], min[4][16][16];
};

/* The memory of a worker; the accumulators and the results follow. */
struct tiles_work {
    struct tile_file file;
    struct tiles_sums sums;
    union {
        struct planes planes[TILES_STRIPS];
        struct unpacked_256 flat[TILES_STRIPS];
    };
    struct unpacked_256 buffer[TILES_STRIPS];
    /* Of this block and of the next one. A head of the next block replaces that of the last block.
     * Ends that are still due then belong to this block or to the other strip. */
    struct planes_head head[2][TILES_STRIPS];
    _Alignas(64) float unused[TILES_STRIPS][TILES_ROWS][16]; /* results before the first step */
    struct unpack from[TILES_STRIPS];
    float *acc;     /* (TILES_STRIPS, TILES_CLASSES, rows, 16) */
    float *out;     /* (TILES_STRIPS, rows, 16) */
    char *unpacked; /* body_tiles32.h */
};

/* A step whose results are not yet added. */
struct tiles_before {
    const struct tiles_x256 *x;
    const struct planes_head *head; /* of the first strip of the step */
    float *acc[TILES_STRIPS];       /* (TILES_ROWS, 16) of the step's strips */
    __mmask16 keep;                 /* 0: the accumulators begin with this block */
};

#define TILES_INLINE static inline __attribute__((always_inline))

TILES_INLINE bool tiles_flat(const enum planes_kind kind)
{
    return kind == PLANES_Q2 || kind == PLANES_Q3;
}

/* Operands that the ends of a step keep in registers. */
struct tiles_end {
    __m512 d, m;
    __m512i min[4];
};

TILES_INLINE void tiles_end_of(const enum planes_kind kind, const struct planes_head *h,
                               struct tiles_end *e)
{
    e->d = _mm512_load_ps(h->d);
    if (kind == PLANES_K || kind == PLANES_Q2)
        e->m = _mm512_load_ps(h->m);
    for (int i = 0; i < (kind == PLANES_K ? 4 : 0); i++)
        e->min[i] = h->min[i];
}

/* Adds row r of the step's results to accumulator s. */
TILES_INLINE void tiles_add(const enum planes_kind kind, const struct tiles_sums *sums,
                            const struct tiles_before *b, const struct tiles_end *e, const int s,
                            int r)
{
    const int tile = r / 16 * 2, line = r % 16;
    const __m512 dx = _mm512_set1_ps(b->x->d[r]);
    float *to = b->acc[s] + 16 * r;
    __m512 acc = _mm512_maskz_load_ps(b->keep, to);
    __m512i dot = _mm512_load_si512(sums->c[tile + (tiles_flat(kind) ? s : 0)][line]);
    if (!tiles_flat(kind))
        dot = _mm512_add_epi32(_mm512_slli_epi32(dot, kind == PLANES_K ? 3 : 8),
                               _mm512_load_si512(sums->c[tile + 1][line]));
    if (kind == PLANES_Q3)
        dot = _mm512_add_epi32(dot, _mm512_set1_epi32(b->x->whole[r]));
    acc = _mm512_fmadd_ps(_mm512_mul_ps(e->d, dx), _mm512_cvtepi32_ps(dot), acc);
    if (kind == PLANES_K || kind == PLANES_Q2) {
        __m512i min = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int i = 0; i < 4 && kind == PLANES_K; i++)
            min = vnni_dot2(min, e->min[i], b->x->pair[r] + 2 * i);
        if (kind == PLANES_Q2)
            min = _mm512_load_si512(sums->min[tile + s][line]);
        acc = _mm512_fnmadd_ps(_mm512_mul_ps(e->m, dx), _mm512_cvtepi32_ps(min), acc);
    }
    _mm512_store_ps(to, acc);
}

/* The part of the ends that stands after product i of n of the 64 elements k: all rows of
 * `tiles` tiles over k = 1 .. 3. */
TILES_INLINE void tiles_adds(const enum planes_kind kind, const struct tiles_sums *sums,
                             const struct tiles_before *b, const struct tiles_end *e,
                             const int tiles, const int k, const int i, const int n)
{
    const int each = (k == 3 ? 2 : 3) * tiles * 2 / n;
    const int first = (k - 1) * 6 * tiles + i * each, strips = tiles_flat(kind) ? 2 : 1;
    if (k == 0)
        return;
#pragma GCC unroll 6
    for (int r = first; r < first + each; r++)
#pragma GCC unroll 2
        for (int s = 0; s < strips; s++)
            tiles_add(kind, sums, b, &e[s], s, r);
}

/* B is signed in the high plane of PLANES_256 only. */
#define TILES_DOT0(c, a)                                                                           \
    do {                                                                                           \
        if (kind == PLANES_256)                                                                    \
            TILE_DOT_SS(&w->file, c, a, 6);                                                        \
        else                                                                                       \
            TILE_DOT_SU(&w->file, c, a, 6);                                                        \
    } while (0)
#define TILES_KEEP(n)                                                                              \
    do {                                                                                           \
        if (k == 0 && kind != PLANES_Q2)                                                           \
            TILE_STORE(&w->file, n, w->sums.c[n], 1024);                                           \
        if (k == 0)                                                                                \
            TILE_ZERO(&w->file, n);                                                                \
    } while (0)
#define TILES_ADDS(i) tiles_adds(kind, &w->sums, &before, e, tiles_before, k, i, 2 * tiles)

/* The results of the last step in `tiles` tiles of rows. Q2_K: also the products of its minimums
 * with the sums of x. In registers they take eight products a row and strip, 256 cycles a step. */
TILES_INLINE void tiles_results(struct tiles_work *w, const enum planes_kind kind, const int tiles,
                                const struct tiles_before *before)
{
    TILE_STORE(&w->file, 0, w->sums.c[0], 1024);
    TILE_STORE(&w->file, 1, w->sums.c[1], 1024);
    if (tiles == 2) {
        TILE_STORE(&w->file, 2, w->sums.c[2], 1024);
        TILE_STORE(&w->file, 3, w->sums.c[3], 1024);
    }
    if (kind != PLANES_Q2)
        return;
    TILE_LOAD(&w->file, 4, before->x->sums[0], 64, 1024);
    TILE_LOAD(&w->file, 6, before->head[0].tile, 64, 1024);
    TILE_ZERO(&w->file, 0);
    TILE_DOT_SU(&w->file, 0, 4, 6);
    TILE_LOAD(&w->file, 7, before->head[1].tile, 64, 1024);
    TILE_ZERO(&w->file, 1);
    TILE_DOT_SU(&w->file, 1, 4, 7);
    if (tiles == 2) {
        TILE_LOAD(&w->file, 5, before->x->sums[1], 64, 1024);
        TILE_ZERO(&w->file, 2);
        TILE_DOT_SU(&w->file, 2, 5, 6);
        TILE_ZERO(&w->file, 3);
        TILE_DOT_SU(&w->file, 3, 5, 7);
    }
    TILE_STORE(&w->file, 0, w->sums.min[0], 1024);
    TILE_STORE(&w->file, 1, w->sums.min[1], 1024);
    if (tiles == 2) {
        TILE_STORE(&w->file, 2, w->sums.min[2], 1024);
        TILE_STORE(&w->file, 3, w->sums.min[3], 1024);
    }
}

/* One step. tiles: of the unit, 1 or 2. last: the step whose ends are due, of tiles_before tiles.
 * next: the source of the next block's planes, or NULL; next_head: its head. i: the strip, for two
 * planes. */
TILES_INLINE void tiles_step(struct tiles_work *w, const enum fmt fmt, const enum planes_kind kind,
                             const int tiles, const int tiles_before, const struct tiles_x256 *x,
                             const int i, const struct tiles_before *last,
                             const struct planes_source *next, struct planes_head *next_head)
{
    const uint8_t(*b0)[1024] =
        (const void *)(tiles_flat(kind) ? w->flat[0].q[0] : w->planes[i].q[0][0][0]);
    const uint8_t(*b1)[1024] =
        (const void *)(tiles_flat(kind) ? w->flat[1].q[0] : w->planes[i].q[1][0][0]);
    const struct tiles_before before = *last; /* a copy, which no store of results can change */
    struct tiles_end e[2];
    tiles_end_of(kind, before.head, &e[0]);
    if (tiles_flat(kind))
        tiles_end_of(kind, before.head + 1, &e[1]);
    if (kind == PLANES_Q2)
        tiles_results(w, kind, tiles_before, &before);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        TILE_LOAD(&w->file, 4, x->q[0][k], 64, 1024);
        TILE_LOAD(&w->file, 6, b0[k], 64, 1024);
        TILES_KEEP(0);
        TILES_DOT0(0, 4);
        TILES_ADDS(0);
        TILE_LOAD(&w->file, 7, b1[k], 64, 1024);
        TILES_KEEP(1);
        TILE_DOT_SU(&w->file, 1, 4, 7);
        TILES_ADDS(1);
        if (k == 0 && tiles < tiles_before && kind != PLANES_Q2) {
            TILE_STORE(&w->file, 2, w->sums.c[2], 1024);
            TILE_STORE(&w->file, 3, w->sums.c[3], 1024);
        }
        if (tiles == 2) {
            TILE_LOAD(&w->file, 5, x->q[1][k], 64, 1024);
            TILES_KEEP(2);
            TILES_DOT0(2, 5);
            TILES_ADDS(2);
            TILES_KEEP(3);
            TILE_DOT_SU(&w->file, 3, 5, 7);
            TILES_ADDS(3);
        }
        if (next && !tiles_flat(kind))
            planes_step(fmt, next, k, next_head, &w->planes[i]);
    }
}

/* The block after b in the order of the kernel; -1: none. */
static int64_t tiles_after(int64_t b, int64_t blocks)
{
    if (b + TILES_CLASSES < blocks)
        return b + TILES_CLASSES;
    b = b % TILES_CLASSES + 1;
    return b < TILES_CLASSES && b < blocks ? b : -1;
}

/* Prefetches part i of n of block b's words into the second cache. */
TILES_INLINE void tiles_ahead(const struct lanes *l, const char *strip, int64_t b, int i, int n)
{
    const char *word = strip + lanes_words_at(l, b);
    const int lines = l->words + 1;
    for (int line = lines * i / n; line < lines * (i + 1) / n; line++)
        _mm_prefetch(word + 64 * line, _MM_HINT_T1);
}

/* The results of a strip: the accumulators in the order of the numerics. rows: of acc. */
TILES_INLINE void tiles_finish(const float *acc, int64_t rows, int64_t n, float *out)
{
    const size_t step = (size_t)rows * 16;
    for (int64_t r = 0; r < n; r++, acc += 16, out += 16) {
        __m512 a[8];
        for (int c = 0; c < 8; c++)
            a[c] = _mm512_load_ps(acc + (size_t)c * step);
        _mm512_store_ps(
            out,
            _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(a[0], a[4]), _mm512_add_ps(a[2], a[6])),
                          _mm512_add_ps(_mm512_add_ps(a[1], a[5]), _mm512_add_ps(a[3], a[7]))));
    }
}

/* The tiles of the last step, and their ends. */
TILES_INLINE void tiles_flush(struct tiles_work *w, const enum planes_kind kind, const int tiles,
                              const struct tiles_before *before)
{
    struct tiles_end e[2];
    tiles_results(w, kind, tiles, before);
    for (int s = 0; s < (tiles_flat(kind) ? 2 : 1); s++) {
        tiles_end_of(kind, before->head + s, &e[s]);
        for (int r = 0; r < 16 * tiles; r++)
            tiles_add(kind, &w->sums, before, &e[s], s, r);
    }
}

/* The planes of block b of both strips, with nothing beside them. */
TILES_INLINE void tiles_first(struct tiles_work *w, const enum fmt fmt, const enum planes_kind kind,
                              int64_t b, struct planes_head *h)
{
    for (int i = 0; i < TILES_STRIPS; i++) {
        struct planes_source s;
        if (tiles_flat(kind)) {
            planes_flat(kind, &w->from[i], b, &w->flat[i], &h[i]);
            continue;
        }
        planes_begin(fmt, &w->from[i], b, &w->buffer[i], &h[i], &s);
        for (int t = 0; t < 4; t++)
            planes_step(fmt, &s, t, &h[i], &w->planes[i]);
    }
}

/* Two strips and a chunk of x. single: the chunk has one unit. tiles: of the last unit. All of
 * these and fmt and kind are constants after inlining. */
TILES_INLINE void tiles_256(struct tiles_work *w, const struct tiles_x *x, int chunk,
                            const enum fmt fmt, const enum planes_kind kind, const bool single,
                            const int tiles, const char *const ahead[TILES_STRIPS])
{
    const int units = single ? 1 : tiles_units_of(x, chunk), before_tiles = single ? tiles : 2;
    const int ways = tiles_flat(kind) ? 1 : TILES_STRIPS; /* steps of a unit */
    const int64_t blocks = x->from->n_in / 256, rows = (int64_t)x->units * TILES_ROWS;
    const size_t of_class = (size_t)rows * 16, of_strip = TILES_CLASSES * of_class;
    const struct lanes *l = &w->from[0].l;
    int now = 0; /* number of the block's heads */
    struct tiles_before before = {.x = tiles_x256_at(x, chunk, 0, 0),
                                  .head = w->head[1],
                                  .acc = {w->unused[0][0], w->unused[1][0]}};
    if (blocks < TILES_CLASSES)
        memset(w->acc, 0, TILES_STRIPS * of_strip * sizeof *w->acc);
    memset(w->head[1], 0, sizeof w->head[1]);
    tiles_first(w, fmt, kind, 0, w->head[0]);
    for (int64_t b = 0, after; b >= 0; b = after) {
        after = tiles_after(b, blocks);
        const int64_t far = after >= 0 ? tiles_after(after, blocks) : -1,
                      ahead_b = after >= 0 ? 0 : tiles_after(0, blocks); /* of the next strips */
        const int next = now ^ 1;
        float *acc = w->acc + (size_t)(b % TILES_CLASSES) * of_class;
        for (int u = 0; u < units; u++) {
            const struct tiles_x256 *at = tiles_x256_at(x, chunk, b, u);
            const bool last = u == units - 1;
            for (int i = 0; i < ways; i++) {
                struct planes_source source, *from = NULL;
                for (int s = i; s < (tiles_flat(kind) ? TILES_STRIPS : i + 1); s++)
                    if (far >= 0)
                        tiles_ahead(l, w->from[s].strip, far, u, units);
                    else if (ahead && ahead_b >= 0)
                        tiles_ahead(l, ahead[s], ahead_b, u, units);
                if (last && after >= 0 && !tiles_flat(kind)) {
                    planes_begin(fmt, &w->from[i], after, &w->buffer[i], &w->head[next][i],
                                 &source);
                    from = &source;
                }
                if (last && tiles == 1)
                    tiles_step(w, fmt, kind, 1, before_tiles, at, i, &before, from,
                               &w->head[next][i]);
                else
                    tiles_step(w, fmt, kind, 2, before_tiles, at, i, &before, from,
                               &w->head[next][i]);
                before = (struct tiles_before){
                    .x = at, .head = &w->head[now][i], .keep = b < TILES_CLASSES ? 0 : 0xffff};
                for (int s = 0; s < TILES_STRIPS; s++)
                    before.acc[s] = acc + (size_t)(tiles_flat(kind) ? s : i) * of_strip +
                                    (size_t)u * TILES_ROWS * 16;
            }
            if (last && after >= 0 && tiles_flat(kind))
                for (int i = 0; i < TILES_STRIPS; i++)
                    planes_flat(kind, &w->from[i], after, &w->flat[i], &w->head[next][i]);
        }
        now = next;
    }
    tiles_flush(w, kind, before_tiles, &before);
    const int left = x->n_row - chunk * (int)rows;
    for (int i = 0; i < TILES_STRIPS; i++)
        tiles_finish(w->acc + (size_t)i * of_strip, rows, left < rows ? left : rows,
                     w->out + (size_t)i * of_class);
}

/* A function for each format and shape of a chunk, so that the compiler optimises one at a time. */
#define TILES_SHAPE(name, fmt, kind, single, tiles)                                                \
    static void name(struct tiles_work *w, const struct tiles_x *x, int chunk,                     \
                     const char *const *ahead)                                                     \
    {                                                                                              \
        tiles_256(w, x, chunk, fmt, kind, single, tiles, ahead);                                   \
    }
/* X(lower, NAME, kind). PLANES_256 without Q6_K share the text of IQ4_XS: unpack_block knows the
 * format. */
#define TILES_TEXTS(X)                                                                             \
    X(q4_k, Q4_K, PLANES_K)                                                                        \
    X(q5_k, Q5_K, PLANES_K)                                                                        \
    X(q6_k, Q6_K, PLANES_256)                                                                      \
    X(iq, IQ4_XS, PLANES_256)                                                                      \
    X(q2_k, Q2_K, PLANES_Q2)                                                                       \
    X(q3_k, Q3_K, PLANES_Q3)
#define TILES_DEFINE(lower, NAME, kind)                                                            \
    TILES_SHAPE(tiles_##lower##_one, FMT_##NAME, kind, true, 1)                                    \
    TILES_SHAPE(tiles_##lower##_two, FMT_##NAME, kind, true, 2)                                    \
    TILES_SHAPE(tiles_##lower##_half, FMT_##NAME, kind, false, 1)                                  \
    TILES_SHAPE(tiles_##lower##_whole, FMT_##NAME, kind, false, 2)
TILES_TEXTS(TILES_DEFINE)

/* Strips of blocks of 256; w->from is set. */
static void tiles_pair_256(struct tiles_work *w, const struct tiles_x *x, int chunk, enum fmt fmt,
                           const char *const ahead[TILES_STRIPS])
{
    const int units = tiles_units_of(x, chunk);
    const int left = x->n_row - (chunk * x->units + units - 1) * TILES_ROWS;
    const int shape = 2 * (units > 1) + (left > TILES_ROWS / 2);
#define TILES_CASE(lower, NAME, kind)                                                              \
    case FMT_##NAME: {                                                                             \
        static void (*const text[4])(struct tiles_work *, const struct tiles_x *, int,             \
                                     const char *const *) = {                                      \
            tiles_##lower##_one, tiles_##lower##_two, tiles_##lower##_half,                        \
            tiles_##lower##_whole};                                                                \
        text[shape](w, x, chunk, ahead);                                                           \
        break;                                                                                     \
    }
    switch (fmt == FMT_Q4_K || fmt == FMT_Q5_K || fmt == FMT_Q6_K || fmt == FMT_Q2_K ||
                    fmt == FMT_Q3_K
                ? fmt
                : FMT_IQ4_XS) {
        TILES_TEXTS(TILES_CASE)
    default:
        UNREACHABLE("a format of blocks of 256 without tiles");
    }
#undef TILES_CASE
}
