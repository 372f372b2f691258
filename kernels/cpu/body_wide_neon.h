/*
 * body_wide_neon: body_lanes_neon.h for the formats of MM_PACKS. Blocks are unpacked into signed
 * bytes (unpacked.h), once for all rows of x or into a buffer, and one kernel multiplies them.
 * Included by cpu_kernel_neon.c only.
 */

struct neon_wide_x {
    const int8_t *q;
    const int16_t *mix;
    const float *d, *ds;
};

/* s[i] = the sums of a group against row i of x. first: the group's first element. */
NEON_INLINE void neon_wide_group(const uint8_t (*q)[UNPACKED_LINE], const int group,
                                 const struct neon_wide_x *row, int64_t first, const int n,
                                 struct ints *s)
{
    for (int i = 0; i < n; i++)
        s[i] = neon_zero();
#pragma GCC unroll 8
    for (int k = 0; k < group / 4; k++) {
        const struct line w = neon_load((const char *)q[k]);
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            const int8x16_t v = vld1q_s8(row[i].q + first + 16 * (k / 4));
            NEON_DOT_AT(s[i], w, v, k % 4);
        }
    }
}

NEON_INLINE struct floats neon_wide_floats(const float *p)
{
    struct floats y;
    NEON_EACH(i)
    y.r[i] = vld1q_f32(p + 4 * i);
    return y;
}

NEON_INLINE void neon_wide_256(const struct unpacked_256 *u, const int group, const bool has_min,
                               const struct neon_wide_x *row, int64_t b, const int n,
                               struct floats (*acc)[8])
{
    static const int place[4] = {0, 2, 1, 3}; /* of a group's sum in each four of mix */
    struct ints dot[NEON_ROWS], s[NEON_ROWS];
    for (int i = 0; i < n; i++)
        dot[i] = neon_zero();
    for (int g = 0; g < 256 / group; g++) {
        const int at = g * group / 16;
        neon_wide_group(u->q + group / 4 * g, group, row, 256 * b + group * g, n, s);
        const struct ints scale =
            neon_byte(neon_load((const char *)u->scale[at / 4]), at % 4, true);
        for (int i = 0; i < n; i++)
            dot[i] = neon_mla(dot[i], s[i], scale);
    }
    const struct floats d = neon_wide_floats(u->d);
    for (int i = 0; i < n; i++)
        acc[i][b % 8] = neon_add(acc[i][b % 8], d, row[i].d[b], dot[i]);
    if (!has_min)
        return;
    for (int i = 0; i < n; i++) {
        dot[i] = neon_zero();
        for (int g = 0; g < 16; g++)
            dot[i] =
                neon_mla_n(dot[i], neon_byte(neon_load((const char *)u->min[g / 4]), g % 4, false),
                           row[i].mix[16 * b + g / 4 * 4 + place[g % 4]]);
        acc[i][b % 8] = neon_sub(acc[i][b % 8], neon_wide_floats(u->m), row[i].d[b], dot[i]);
    }
}

NEON_INLINE void neon_wide_32(const struct unpacked_32 *u, const bool has_min,
                              const struct neon_wide_x *row, int64_t b, const int n,
                              struct floats (*acc)[8])
{
    struct ints s[NEON_ROWS];
    neon_wide_group(u->q, 32, row, 32 * b, n, s);
    const struct floats d = neon_wide_floats(u->d);
    for (int i = 0; i < n; i++) {
        struct floats *to = &acc[i][b % 8];
        *to = neon_add(*to, d, row[i].d[b], s[i]);
        NEON_EACH(j)
        if (has_min)
            to->r[j] = vfmaq_n_f32(to->r[j], vld1q_f32(u->m + 4 * j), row[i].ds[b]);
    }
}

/* from: NULL, and `strip` is unpacked; or unpacks it block by block. n: 1, 2 or 4. block, group,
 * has_min and n are constants after inlining. */
NEON_INLINE void neon_wide_rows(const struct mm_x *x, const int block, const int group,
                                const bool has_min, const struct unpack *from, const char *strip,
                                int64_t r0, int nr, const int n, float *t)
{
    const size_t bytes = block == 256 ? sizeof(struct unpacked_256) : sizeof(struct unpacked_32);
    struct floats acc[NEON_ROWS][8];
    struct neon_wide_x row[NEON_ROWS];
    _Alignas(64) struct unpacked_256 buffer;
    for (int i = 0; i < n; i++) { /* rows beyond nr repeat the last one */
        const int64_t r = r0 + (i < nr ? i : nr - 1);
        row[i] = (struct neon_wide_x){mm_x_q(x, r), mm_x_mix(x, r), mm_x_d(x, r), mm_x_ds(x, r)};
    }
    neon_clear(acc, n);
    for (int64_t b = 0; b < x->n_in / block; b++) {
        const void *u = from ? (const char *)&buffer : strip + (size_t)b * bytes;
        if (from)
            unpack_block(from, b, &buffer);
        if (block == 256)
            neon_wide_256(u, group, has_min, row, b, n, acc);
        else
            neon_wide_32(u, has_min, row, b, n, acc);
    }
    neon_store(acc, nr, t);
}

#define WIDE_TILE(name, block, group, has_min)                                                     \
    static void name(const struct mm_x *x, const struct unpack *from, const void *strip,           \
                     int64_t r0, int nr, float *t)                                                 \
    {                                                                                              \
        for (; nr > 0; nr -= NEON_ROWS, r0 += NEON_ROWS, t += NEON_ROWS * MM_TILE) {               \
            const int m = nr < NEON_ROWS ? nr : NEON_ROWS;                                         \
            if (m == 1)                                                                            \
                neon_wide_rows(x, block, group, has_min, from, strip, r0, m, 1, t);                \
            else if (m == 2)                                                                       \
                neon_wide_rows(x, block, group, has_min, from, strip, r0, m, 2, t);                \
            else                                                                                   \
                neon_wide_rows(x, block, group, has_min, from, strip, r0, m, 4, t);                \
        }                                                                                          \
    }
WIDE_TILE(wide_tile_32, 32, 32, false)
WIDE_TILE(wide_tile_32_min, 32, 32, true)
WIDE_TILE(wide_tile_256_16, 256, 16, false)
WIDE_TILE(wide_tile_256_16_min, 256, 16, true)
WIDE_TILE(wide_tile_256_32, 256, 32, false)
#define WIDE_STRIP_OF_OTHERS neon_strip
#include "body_wide.h"
