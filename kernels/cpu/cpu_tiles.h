/*
 * cpu_tiles: matmul with matrix tiles, for many rows of x. cpu_matmul.c states the numerics, and
 * chooses between this and the kernels for strips.
 *
 * Two strips (lanes.h) are multiplied with a chunk of rows of x. A chunk is a number of units; a
 * unit is 32 rows, two tiles. x has a form of its own, in records:
 *
 *   blocks of 256:  struct tiles_x256[chunk][block][unit]     one block of 32 rows
 *   blocks of 32:   struct tiles_x32[unit][block]             blocks in the order of tiles_place
 *
 * Rows after the last one of x are zeros.
 */
#ifndef MAS_CPU_TILES_H
#define MAS_CPU_TILES_H

#include "cpu_kernel.h"

enum {
    TILES_ROWS = 32,   /* of a unit */
    TILES_UNITS = 8,   /* of a chunk, at most: its accumulators stay in the second cache */
    TILES_X = 1 << 20, /* bytes of quantised x of a chunk of several units, at most: that cache */
    TILES_STRIPS = 2,  /* multiplied together */
    TILES_CLASSES = 8, /* accumulators of a result: block b adds to accumulator b % 8 */
};

/* q: four lines of 64 elements for each row, as tiles of 16 rows: q[tile][line][row].
 * sums: of 16 elements each, as one tile for the minimums of Q2_K: sum g is 16 times byte 16 + g
 * and byte g, 0 .. 15; the other bytes are 0. */
struct tiles_x256 {
    _Alignas(64) int8_t q[2][4][16][64];
    int8_t sums[2][16][64];
    int16_t pair[TILES_ROWS][8]; /* that of struct mm_x */
    float d[TILES_ROWS];
    int32_t whole[TILES_ROWS];
};

struct tiles_x32 {
    _Alignas(64) int8_t q[2][16][32];
    float d[TILES_ROWS], ds[TILES_ROWS];
};

struct tiles_x {
    const struct mm_x *from;
    int n_row, units; /* of a chunk; the last chunk may have fewer */
    char *base;
};

static inline int tiles_all_units(int n_row)
{
    return (n_row + TILES_ROWS - 1) / TILES_ROWS;
}

/* Units of a chunk: all chunks about as large. At least 1, also without rows or columns. */
static inline int tiles_chunk(int n_row, int64_t n_in)
{
    const int all = tiles_all_units(n_row);
    if (all < 1 || n_in < 1)
        return 1;
    int64_t most = TILES_X / TILES_ROWS / n_in;
    most = most < 1 ? 1 : most > TILES_UNITS ? TILES_UNITS : most;
    const int64_t chunks = (all + most - 1) / most;
    return (int)((all + chunks - 1) / chunks);
}

static inline int tiles_chunks(const struct tiles_x *x)
{
    return (tiles_all_units(x->n_row) + x->units - 1) / x->units;
}

static inline int tiles_units_of(const struct tiles_x *x, int chunk)
{
    const int left = tiles_all_units(x->n_row) - chunk * x->units;
    return left < x->units ? left : x->units;
}

static inline struct tiles_x256 *tiles_x256_at(const struct tiles_x *x, int chunk, int64_t b,
                                               int unit)
{
    const int64_t before = (int64_t)chunk * x->units * (x->from->n_in / 256);
    return (struct tiles_x256 *)(void *)x->base + before + b * tiles_units_of(x, chunk) + unit;
}

static inline struct tiles_x32 *tiles_x32_at(const struct tiles_x *x, int unit)
{
    return (struct tiles_x32 *)(void *)x->base + (int64_t)unit * (x->from->n_in / 32);
}

/* Blocks of accumulator 0 first, then those of accumulator 1, and so on. n: number of blocks. */
static inline int64_t tiles_place(int64_t b, int64_t n)
{
    const int64_t c = b % TILES_CLASSES, rest = n % TILES_CLASSES;
    return c * (n / TILES_CLASSES) + (c < rest ? c : rest) + b / TILES_CLASSES;
}

/* Bytes of x in this form, for blocks of `block` elements. */
static inline size_t tiles_x_bytes(int n_row, int64_t n_in, int block)
{
    return (size_t)tiles_all_units(n_row) * (size_t)(n_in / block) *
           (block == 256 ? sizeof(struct tiles_x256) : sizeof(struct tiles_x32));
}

struct cpu_tiles {
    /* The least number of rows of x for which tiles are faster than strips (tiles_rows.def). */
    int (*least_rows)(enum fmt fmt);
    /* Writes the records of a unit, from the quantised rows. */
    void (*arrange)(const struct tiles_x *x, int unit);
    /* Bytes of a worker's memory, a multiple of 64. */
    size_t (*work_bytes)(int n_row, int64_t n_in);
    /* Configures the calling thread's tiles for weights of a format, and gives them back. */
    void (*open)(void *work, enum fmt fmt);
    void (*close)(void *work);
    /* Rows of a chunk . two strips. t[i]: (rows of the chunk, MM_TILE) of strip i, in the worker's
     * memory until the next call. ahead: strips to prefetch, or NULL. */
    void (*pair)(void *work, const struct tiles_x *x, int chunk, enum fmt fmt,
                 const char *const strip[TILES_STRIPS], const char *const ahead[TILES_STRIPS],
                 const float *t[TILES_STRIPS]);
};

#if defined(__x86_64__)
extern const struct cpu_tiles cpu_tiles_amx;
#endif

#endif
