/* cpu_kernel_amx: matmul with AMX's int8 tiles. The rest of a matmul, and every other operation,
 * are the kernels with AVX-512. The tests compile this file with TILE_TWIN as well, which has the
 * tiles in plain C. */
#if defined(__AVX512VNNI__) && (defined(__AMX_INT8__) || defined(TILE_TWIN))
#include "cpu_tiles.h"

#include "amx_tile.h"
#include "mem.h"
#define FMT_HEADERS
#include "formats.def"
#undef FMT_HEADERS
#include "v16.h"
#include "vnni512.h"

#define UNPACK_FLIP 0
#define UNPACK_FOLDS
#define UNPACK_BLOCKS
#include "body_tiles.h"
#include "body_tiles32.h"

static int amx_least_rows(enum fmt fmt)
{
#define X(NAME, rows, source)                                                                      \
    case FMT_##NAME:                                                                               \
        return rows;
    switch (fmt) {
#include "tiles_rows.def"
    default:
        return INT32_MAX; /* no integers */
    }
#undef X
}

/* Sixteen sums, at most 16 x 127, as bytes (struct tiles_x256). */
static void amx_arrange_sums(const int16_t sum[16], int8_t out[64])
{
    for (int g = 0; g < 16; g++) {
        out[g] = (int8_t)(sum[g] & 15);
        out[16 + g] = (int8_t)((sum[g] - (sum[g] & 15)) / 16);
    }
}

/* One row of a unit, or zeros. */
static void amx_arrange_256(const struct tiles_x *x, int unit, int i, bool in)
{
    const struct mm_x *from = x->from;
    const int64_t r = (int64_t)unit * TILES_ROWS + i;
    const int chunk = unit / x->units;
    for (int64_t b = 0; b < from->n_in / 256; b++) {
        struct tiles_x256 *to = tiles_x256_at(x, chunk, b, unit % x->units);
        for (int k = 0; k < 4; k++)
            _mm512_store_si512(to->q[i / 16][k][i % 16],
                               in ? _mm512_loadu_si512(mm_x_q(from, r) + 256 * b + 64 * k)
                                  : _mm512_setzero_si512());
        memset(to->pair[i], 0, sizeof to->pair[i]);
        memset(to->sums[i / 16][i % 16], 0, sizeof to->sums[i / 16][i % 16]);
        if (in) {
            memcpy(to->pair[i], mm_x_pair(from, r) + 8 * b, sizeof to->pair[i]);
            amx_arrange_sums(mm_x_sum(from, r) + 16 * b, to->sums[i / 16][i % 16]);
        }
        to->d[i] = in ? mm_x_d(from, r)[b] : 0;
        to->whole[i] = in ? mm_x_whole(from, r)[b] : 0;
    }
}

static void amx_arrange_32(const struct tiles_x *x, int unit, int i, bool in)
{
    const struct mm_x *from = x->from;
    const int64_t r = (int64_t)unit * TILES_ROWS + i, blocks = from->n_in / 32;
    for (int64_t b = 0; b < blocks; b++) {
        struct tiles_x32 *to = tiles_x32_at(x, unit) + tiles_place(b, blocks);
        memset(to->q[i / 16][i % 16], 0, 32);
        if (in)
            memcpy(to->q[i / 16][i % 16], mm_x_q(from, r) + 32 * b, 32);
        to->d[i] = in ? mm_x_d(from, r)[b] : 0;
        to->ds[i] = in ? mm_x_ds(from, r)[b] : 0;
    }
}

static void amx_arrange(const struct tiles_x *x, int unit)
{
    for (int i = 0; i < TILES_ROWS; i++) {
        const bool in = unit * TILES_ROWS + i < x->n_row;
        if (x->from->block == 256)
            amx_arrange_256(x, unit, i, in);
        else
            amx_arrange_32(x, unit, i, in);
    }
}

/* Accumulators of a chunk, or the runs of blocks of 32. */
static size_t amx_acc_bytes(int n_row, int64_t n_in)
{
    const size_t rows = (size_t)tiles_chunk(n_row, n_in) * TILES_ROWS,
                 bytes = TILES_STRIPS * TILES_CLASSES * rows * 16 * sizeof(float);
    return bytes > sizeof(struct tiles_runs) ? bytes : sizeof(struct tiles_runs);
}

static size_t amx_out_bytes(int n_row, int64_t n_in)
{
    return TILES_STRIPS * (size_t)tiles_chunk(n_row, n_in) * TILES_ROWS * 16 * sizeof(float);
}

static size_t amx_work_bytes(int n_row, int64_t n_in)
{
    return size_align(sizeof(struct tiles_work), 64) + amx_acc_bytes(n_row, n_in) +
           amx_out_bytes(n_row, n_in) +
           TILES_STRIPS * size_align((size_t)n_in / 32 * sizeof(struct unpacked_32), 64);
}

/* Tiles 0 .. 3 are sums, 4 and 5 are x, 6 and 7 are weights. */
static void amx_open(void *work, enum fmt fmt)
{
    struct tiles_work *w = work;
    const int elems = mm_x_block(fmt) == 32 ? 32 : 64;
    w->file.config = (struct tile_config){.palette = 1};
    for (int i = 0; i < TILE_COUNT; i++) {
        w->file.config.lines[i] = (uint8_t)(i < 6 ? 16 : elems / 4);
        w->file.config.line_bytes[i] = (uint16_t)(i == 4 || i == 5 ? elems : TILE_LINE);
    }
    tile_open(&w->file);
}

static void amx_close(void *work)
{
    struct tiles_work *w = work;
    tile_close(&w->file);
}

static void amx_pair(void *work, const struct tiles_x *x, int chunk, enum fmt fmt,
                     const char *const strip[TILES_STRIPS], const char *const ahead[TILES_STRIPS],
                     const float *t[TILES_STRIPS])
{
    struct tiles_work *w = work;
    const int64_t n_in = x->from->n_in;
    w->acc = (float *)(void *)((char *)work + size_align(sizeof *w, 64));
    w->out = (float *)(void *)((char *)w->acc + amx_acc_bytes(x->n_row, n_in));
    w->unpacked = (char *)w->out + amx_out_bytes(x->n_row, n_in);
    for (int i = 0; i < TILES_STRIPS; i++) {
        unpack_open(&w->from[i], fmt, strip[i], n_in);
        t[i] = w->out + (size_t)i * (size_t)x->units * TILES_ROWS * 16;
    }
    if (mm_x_block(fmt) == 32)
        tiles_pair_32(w, x, chunk, fmt, ahead);
    else
        tiles_pair_256(w, x, chunk, fmt, ahead);
}

const struct cpu_tiles cpu_tiles_amx = {
    .least_rows = amx_least_rows,
    .arrange = amx_arrange,
    .work_bytes = amx_work_bytes,
    .open = amx_open,
    .close = amx_close,
    .pair = amx_pair,
};
#endif
