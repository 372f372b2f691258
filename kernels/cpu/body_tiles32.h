/*
 * body_tiles32: body_tiles.h for blocks of 32. A block is one product of 32 elements: x has lines
 * of 32 bytes, the weights have eight lines. Both strips are unpacked once for all units of a
 * chunk, as signed bytes, in the order of tiles_place.
 *
 * Blocks come in runs of up to four of one accumulator. The ends of a run stand between the
 * products of the next one, eight rows of both strips at a time. So an accumulator is loaded and
 * stored once a run. Stores would bound the kernel otherwise: 64 lines of tiles and 64 of
 * accumulators a block, one store a cycle. Included by cpu_kernel_amx.c only.
 */
enum { TILES_RUN = 4 };

/* In the place of body_tiles.h's accumulators: one unit at a time. */
struct tiles_runs {
    _Alignas(64) int32_t c[2][TILES_RUN][4][16][16]; /* of this run and of the last one */
    float acc[TILES_CLASSES][TILES_STRIPS][TILES_ROWS][16];
};

struct tiles_run { /* whose ends are due */
    int n, half;   /* blocks, 0: no run; c[half] */
    const struct tiles_x32 *x;
    const struct unpacked_32 *w[TILES_STRIPS];
    float (*acc)[TILES_ROWS][16]; /* (TILES_STRIPS, ..) */
    __mmask16 keep;               /* 0: the accumulators begin with this run */
};

/* Rows 8 i .. 8 i + 7 of a run. */
TILES_INLINE void tiles_run_adds(const struct tiles_runs *s, const struct tiles_run *run,
                                 const bool min, const int i)
{
    const int t = i / 2, line = i % 2 * 8, first = 16 * t + line;
    __m512 acc[TILES_STRIPS][8];
#pragma GCC unroll 2
    for (int k = 0; k < TILES_STRIPS; k++)
#pragma GCC unroll 8
        for (int r = 0; r < 8; r++)
            acc[k][r] = _mm512_maskz_load_ps(run->keep, run->acc[k][first + r]);
    for (int b = 0; b < run->n; b++) {
        const struct tiles_x32 *x = run->x + b;
#pragma GCC unroll 2
        for (int k = 0; k < TILES_STRIPS; k++) {
            const __m512 d = _mm512_loadu_ps(run->w[k][b].d), m = _mm512_loadu_ps(run->w[k][b].m);
#pragma GCC unroll 8
            for (int r = 0; r < 8; r++) {
                const __m512i dot = _mm512_load_si512(s->c[run->half][b][2 * t + k][line + r]);
                acc[k][r] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(x->d[first + r])),
                                            _mm512_cvtepi32_ps(dot), acc[k][r]);
                if (min)
                    acc[k][r] = _mm512_fmadd_ps(m, _mm512_set1_ps(x->ds[first + r]), acc[k][r]);
            }
        }
    }
#pragma GCC unroll 2
    for (int k = 0; k < TILES_STRIPS; k++)
#pragma GCC unroll 8
        for (int r = 0; r < 8; r++)
            _mm512_store_ps(run->acc[k][first + r], acc[k][r]);
}

/* The products of a block. c: its four tiles. */
TILES_INLINE void tiles_block32(struct tiles_work *w, const int tiles, const struct tiles_x32 *x,
                                const struct unpacked_32 *w0, const struct unpacked_32 *w1,
                                int32_t (*c)[16][16])
{
    TILE_LOAD(&w->file, 4, x->q[0], 32, 512);
    TILE_LOAD(&w->file, 6, w0->q, 64, 512);
    TILE_ZERO(&w->file, 0);
    TILE_DOT_SS(&w->file, 0, 4, 6);
    TILE_LOAD(&w->file, 7, w1->q, 64, 512);
    TILE_ZERO(&w->file, 1);
    TILE_DOT_SS(&w->file, 1, 4, 7);
    if (tiles == 2) {
        TILE_LOAD(&w->file, 5, x->q[1], 32, 512);
        TILE_ZERO(&w->file, 2);
        TILE_DOT_SS(&w->file, 2, 5, 6);
        TILE_ZERO(&w->file, 3);
        TILE_DOT_SS(&w->file, 3, 5, 7);
    }
    TILE_STORE(&w->file, 0, c[0], 1024);
    TILE_STORE(&w->file, 1, c[1], 1024);
    if (tiles == 2) {
        TILE_STORE(&w->file, 2, c[2], 1024);
        TILE_STORE(&w->file, 3, c[3], 1024);
    }
}

/* A unit of x and both strips. tiles: of the unit. ahead: `bytes` of the next strips for each block
 * of this one, to prefetch. */
TILES_INLINE void tiles_unit32(struct tiles_work *w, const struct tiles_x32 *x, int64_t blocks,
                               const bool min, const int tiles, const char **ahead, size_t bytes)
{
    struct tiles_runs *s = (struct tiles_runs *)(void *)w->acc;
    const struct unpacked_32 *strip[TILES_STRIPS];
    struct tiles_run run = {0}, before = {0};
    int64_t at = 0;
    int half = 0;
    for (int i = 0; i < TILES_STRIPS; i++)
        strip[i] = (const struct unpacked_32 *)(void *)w->unpacked + i * blocks;
    for (int c = 0; c < TILES_CLASSES; c++) {
        const int64_t n = (blocks - c + TILES_CLASSES - 1) / TILES_CLASSES;
        if (n <= 0)
            memset(s->acc[c], 0, sizeof s->acc[c]);
        for (int64_t done = 0; done < n; done += run.n, at += run.n, half ^= 1) {
            run = (struct tiles_run){.n = n - done < TILES_RUN ? (int)(n - done) : TILES_RUN,
                                     .half = half,
                                     .x = x + at,
                                     .w = {strip[0] + at, strip[1] + at},
                                     .acc = s->acc[c],
                                     .keep = done ? 0xffff : 0};
            for (int b = 0; b < run.n; b++) {
                for (size_t k = 0; ahead[0] && k < bytes; k += 64) {
                    _mm_prefetch(ahead[0] + k, _MM_HINT_T1);
                    _mm_prefetch(ahead[1] + k, _MM_HINT_T1);
                }
                for (int i = 0; ahead[0] && i < TILES_STRIPS; i++)
                    ahead[i] += bytes;
                tiles_block32(w, tiles, run.x + b, run.w[0] + b, run.w[1] + b, s->c[half][b]);
                if (before.n && b < 2 * tiles)
                    tiles_run_adds(s, &before, min, b);
            }
            for (int i = run.n; before.n && i < 2 * tiles; i++)
                tiles_run_adds(s, &before, min, i);
            before = run;
        }
    }
    for (int i = 0; i < 2 * tiles; i++)
        tiles_run_adds(s, &before, min, i);
}

TILES_INLINE void tiles_32(struct tiles_work *w, const struct tiles_x *x, int chunk, const bool min,
                           const char *const next[TILES_STRIPS])
{
    const int64_t blocks = x->from->n_in / 32;
    const int units = tiles_units_of(x, chunk);
    const struct tiles_runs *s = (const struct tiles_runs *)(void *)w->acc;
    const size_t strip_bytes = (size_t)blocks * w->from[0].l.bytes * LANES;
    const size_t bytes = strip_bytes / (size_t)(units * blocks) / 64 * 64 + 64;
    const char *ahead[TILES_STRIPS] = {next ? next[0] : NULL, next ? next[1] : NULL};
    for (int i = 0; i < TILES_STRIPS; i++)
        for (int64_t b = 0; b < blocks; b++)
            unpack_block(&w->from[i], b,
                         (struct unpacked_32 *)(void *)w->unpacked + i * blocks +
                             tiles_place(b, blocks));
    for (int u = 0; u < units; u++) {
        const int unit = chunk * x->units + u, left = x->n_row - unit * TILES_ROWS;
        if (left > TILES_ROWS / 2)
            tiles_unit32(w, tiles_x32_at(x, unit), blocks, min, 2, ahead, bytes);
        else
            tiles_unit32(w, tiles_x32_at(x, unit), blocks, min, 1, ahead, bytes);
        for (int i = 0; i < TILES_STRIPS; i++)
            for (int r = 0; r < (left < TILES_ROWS ? left : TILES_ROWS); r++)
                tiles_finish(s->acc[0][i][r], TILES_STRIPS * TILES_ROWS, 1,
                             w->out + ((size_t)i * (size_t)x->units * TILES_ROWS +
                                       (size_t)u * TILES_ROWS + (size_t)r) *
                                          16);
    }
}

/* Strips of blocks of 32; w->from is set. */
static void tiles_pair_32(struct tiles_work *w, const struct tiles_x *x, int chunk, enum fmt fmt,
                          const char *const ahead[TILES_STRIPS])
{
    if (mm_has_min(fmt))
        tiles_32(w, x, chunk, true, ahead);
    else
        tiles_32(w, x, chunk, false, ahead);
}
