/*
 * amx_tile: the operations of AMX's matrix tiles, and the same operations in plain C.
 *
 * A tile has up to 16 rows of up to 64 bytes; there are eight. A product adds to the 16 x 16 int32
 * of C: C[m][n] += sum over k of A[m][k] B[k / 4][4 n + k % 4]. So a line of a strip (lanes.h) is a
 * row of B: four quants of each of sixteen weight rows. Sums wrap, as int32 do. Instructions: Intel
 * 64 and IA-32 Architectures Software Developer's Manual, volume 2, LDTILECFG to TDPBSUD.
 *
 * TILE_TWIN, defined before: plain C, which runs and can be checked on any processor. Otherwise the
 * instructions, as own assembly. gcc 12's intrinsics do not tell the compiler which memory
 * _tile_loadconfig and _tile_loadd read, so it drops stores to that memory.
 *
 * Tile numbers are literal 0 .. 7. A tile in memory is contiguous: its rows follow each other. The
 * sizes of tiles are those of the configuration; `bytes` is all memory that an operation touches.
 */
#ifndef MAS_AMX_TILE_H
#define MAS_AMX_TILE_H

#include <stdint.h>
#include <string.h>

#include "check.h"

enum { TILE_COUNT = 8, TILE_LINES = 16, TILE_LINE = 64 };

/* The memory operand of LDTILECFG. */
struct tile_config {
    uint8_t palette, start_row, zero[14];
    uint16_t line_bytes[16]; /* of each tile; the last eight are 0 */
    uint8_t lines[16];
};
_Static_assert(sizeof(struct tile_config) == 64, "as LDTILECFG reads it");

/* The tiles of one thread. */
struct tile_file {
    _Alignas(64) struct tile_config config;
#ifdef TILE_TWIN
    uint8_t tile[TILE_COUNT][TILE_LINES][TILE_LINE];
#endif
};

#ifdef TILE_TWIN

static inline void tile_open(struct tile_file *t)
{
    memset(t->tile, 0, sizeof t->tile);
}

static inline void tile_close(struct tile_file *t)
{
    t->config.palette = 0;
}

static inline void twin_zero(struct tile_file *t, int n)
{
    CHECK(t->config.palette == 1);
    memset(t->tile[n], 0, sizeof t->tile[n]);
}

static inline void twin_load(struct tile_file *t, int n, const void *p, size_t bytes)
{
    const size_t line = t->config.line_bytes[n];
    CHECK(t->config.palette == 1 && bytes == line * t->config.lines[n]);
    memset(t->tile[n], 0, sizeof t->tile[n]);
    for (int i = 0; i < t->config.lines[n]; i++)
        memcpy(t->tile[n][i], (const char *)p + (size_t)i * line, line);
}

static inline void twin_store(const struct tile_file *t, int n, void *p, size_t bytes)
{
    const size_t line = t->config.line_bytes[n];
    CHECK(t->config.palette == 1 && bytes == line * t->config.lines[n]);
    for (int i = 0; i < t->config.lines[n]; i++)
        memcpy((char *)p + (size_t)i * line, t->tile[n][i], line);
}

/* The processor faults unless the three sizes fit together. */
static inline void twin_dot(struct tile_file *t, int c, int a, int b, int b_signed)
{
    const struct tile_config *f = &t->config;
    CHECK(f->palette == 1 && f->lines[c] == f->lines[a] && f->line_bytes[c] == f->line_bytes[b] &&
          f->line_bytes[a] == 4 * f->lines[b]);
    for (int m = 0; m < f->lines[c]; m++) {
        uint32_t sum[TILE_LINE / 4];
        memcpy(sum, t->tile[c][m], sizeof sum);
        for (int k = 0; k < f->line_bytes[a]; k++) {
            const int x = (int8_t)t->tile[a][m][k];
            for (int n = 0; n < TILE_LINE / 4; n++) {
                const uint8_t w = t->tile[b][k / 4][4 * n + k % 4];
                sum[n] += (uint32_t)(x * (b_signed ? (int8_t)w : (int)w));
            }
        }
        memcpy(t->tile[c][m], sum, f->line_bytes[c]);
    }
}

#define TILE_ZERO(t, n) twin_zero(t, n)
#define TILE_LOAD(t, n, p, line, bytes) twin_load(t, n, p, bytes)
#define TILE_STORE(t, n, p, bytes) twin_store(t, n, p, bytes)
#define TILE_DOT_SS(t, c, a, b) twin_dot(t, c, a, b, 1)
#define TILE_DOT_SU(t, c, a, b) twin_dot(t, c, a, b, 0)

#else

/* Takes t->config for the calling thread and zeroes all tiles. */
static inline void tile_open(const struct tile_file *t)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(t->config));
}

/* Gives the tiles back: their state no longer travels with the thread. */
static inline void tile_close(const struct tile_file *t)
{
    (void)t;
    __asm__ volatile("tilerelease");
}

#define TILE_ZERO(t, n)                                                                            \
    do {                                                                                           \
        (void)(t);                                                                                 \
        __asm__ volatile("tilezero %%tmm" #n : :);                                                 \
    } while (0)
/* bytes at p, in lines of `line` bytes. */
#define TILE_LOAD(t, n, p, line, bytes)                                                            \
    do {                                                                                           \
        (void)(t);                                                                                 \
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n                                           \
                         :                                                                         \
                         : "r"(p), "r"((int64_t)(line)), "m"(*(const char(*)[bytes])(p)));         \
    } while (0)
/* bytes to p, in lines of 64 bytes. */
#define TILE_STORE(t, n, p, bytes)                                                                 \
    do {                                                                                           \
        (void)(t);                                                                                 \
        __asm__ volatile("tilestored %%tmm" #n ", (%1,%2,1)"                                       \
                         : "=m"(*(char(*)[bytes])(p))                                              \
                         : "r"(p), "r"((int64_t)TILE_LINE));                                       \
    } while (0)
/* C += A B: A is signed; SS: B is signed, SU: B is unsigned. */
#define TILE_DOT_SS(t, c, a, b)                                                                    \
    do {                                                                                           \
        (void)(t);                                                                                 \
        __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :);                        \
    } while (0)
#define TILE_DOT_SU(t, c, a, b)                                                                    \
    do {                                                                                           \
        (void)(t);                                                                                 \
        __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :);                        \
    } while (0)

#endif
#endif
