/*
 * body_wide256: body_lanes256.h for the formats of MM_PACKS. Blocks are unpacked into bytes
 * (unpacked.h), once for all rows of x or into a buffer, and one kernel multiplies them. Without
 * AVX-VNNI, |w| is multiplied by x with w's sign, as Q8_0's quants are. Included by
 * cpu_kernel_avx2.c and cpu_kernel_avxvnni.c only.
 */

struct wide_x {
    const int8_t *q;
    const int16_t *mix;
    const int32_t *off, *top;
    const float *d, *ds;
};

/* The sums of a group of one half of sixteen rows against n rows of x, in s. q: the group's first
 * line, at the half. first: the group's first element. */
static inline __attribute__((always_inline)) void wide_group(const uint8_t *q, const int group,
                                                             const struct wide_x *row,
                                                             int64_t first, const int n,
                                                             __m256i factor, __m256i *dot)
{
    __m256i s[HALF_ROWS];
    for (int i = 0; i < n && HALF_VNNI; i++)
        s[i] = _mm256_set1_epi32(group == 32 ? row[i].top[first / 32] : row[i].off[first / 16] * 4);
#pragma GCC unroll 8
    for (int k = 0; k < group / 4; k++) {
        const __m256i w = half_load(q + UNPACKED_LINE * k);
        const __m256i size = HALF_VNNI ? w : _mm256_abs_epi8(w);
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            const int8_t *four = row[i].q + first + 4 * k;
            if (HALF_VNNI)
                s[i] = half_dot4(s[i], w, four);
            else
                dot[i] = _mm256_add_epi32(
                    dot[i], _mm256_madd_epi16(
                                _mm256_maddubs_epi16(size, _mm256_sign_epi8(half_spread(four), w)),
                                factor));
        }
    }
    for (int i = 0; i < n && HALF_VNNI; i++)
        dot[i] = _mm256_add_epi32(dot[i], _mm256_mullo_epi32(s[i], factor));
}

/* min . sums of x, of block b. min: the four lines, at the half. */
static inline __attribute__((always_inline)) __m256i wide_min(const int8_t *min, const int16_t *mix)
{
    __m256i s = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        const __m256i v = half_load(min + UNPACKED_LINE * k);
        const __m256i a = _mm256_and_si256(v, _mm256_set1_epi32(0x00ff00ff)),
                      c = _mm256_srli_epi16(v, 8);
        s = _mm256_add_epi32(s, _mm256_madd_epi16(a, half_spread(mix + 4 * k)));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(c, half_spread(mix + 4 * k + 2)));
    }
    return s;
}

/* One half of an unpacked block b; acc: accumulator b % 8 of each row. */
static inline __attribute__((always_inline)) void
wide_half_256(const struct unpacked_256 *u, const int half, const int group, const bool has_min,
              const struct wide_x *row, int64_t b, const int n, __m256 (*acc)[8])
{
    __m256i dot[HALF_ROWS];
    for (int i = 0; i < n; i++)
        dot[i] = _mm256_setzero_si256();
    for (int k = 0; k < 4; k++) { /* 64 elements: a line of scales */
        const __m256i bytes = half_load(u->scale[k] + 32 * half);
#pragma GCC unroll 4
        for (int i = 0; i < 64; i += group)
            wide_group(u->q[16 * k + i / 4] + 32 * half, group, row, 256 * b + 64 * k + i, n,
                       HALF_VNNI ? half_signed_byte32(bytes, i / 16)
                                 : half_signed_byte(bytes, i / 16),
                       dot);
    }
    const __m256 d = _mm256_loadu_ps(u->d + 8 * half);
#pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
        const __m256 dx = _mm256_set1_ps(row[i].d[b]);
        __m256 *to = &acc[i][b % 8];
        *to = _mm256_fmadd_ps(_mm256_mul_ps(d, dx), _mm256_cvtepi32_ps(dot[i]), *to);
        if (has_min)
            *to = _mm256_fnmadd_ps(
                _mm256_mul_ps(_mm256_loadu_ps(u->m + 8 * half), dx),
                _mm256_cvtepi32_ps(wide_min(u->min[0] + 32 * half, row[i].mix + 16 * b)), *to);
    }
}

static inline __attribute__((always_inline)) void wide_half_32(const struct unpacked_32 *u,
                                                               const int half, const bool has_min,
                                                               const struct wide_x *row, int64_t b,
                                                               const int n, __m256 (*acc)[8])
{
    __m256i dot[HALF_ROWS];
    for (int i = 0; i < n; i++)
        dot[i] = _mm256_setzero_si256();
    wide_group(u->q[0] + 32 * half, 32, row, 32 * b, n,
               HALF_VNNI ? _mm256_set1_epi32(1) : _mm256_set1_epi16(1), dot);
    const __m256 d = _mm256_loadu_ps(u->d + 8 * half);
#pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
        __m256 *to = &acc[i][b % 8];
        *to = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(row[i].d[b])),
                              _mm256_cvtepi32_ps(dot[i]), *to);
        if (has_min)
            *to = _mm256_fmadd_ps(_mm256_loadu_ps(u->m + 8 * half), _mm256_set1_ps(row[i].ds[b]),
                                  *to);
    }
}

/* from: NULL, and `strip` is unpacked; or unpacks it block by block. n: 1, 2 or 4. block, group,
 * has_min and n are constants after inlining. */
static inline __attribute__((always_inline)) void
wide_rows(const struct mm_x *x, const int block, const int group, const bool has_min,
          const struct unpack *from, const char *strip, int64_t r0, int nr, const int n, float *t)
{
    const size_t bytes = block == 256 ? sizeof(struct unpacked_256) : sizeof(struct unpacked_32);
    __m256 acc[2][HALF_ROWS][8];
    struct wide_x row[HALF_ROWS];
    _Alignas(64) struct unpacked_256 buffer;
    for (int i = 0; i < n; i++) { /* rows beyond nr repeat the last one */
        const int64_t r = r0 + (i < nr ? i : nr - 1);
        row[i] = (struct wide_x){mm_x_q(x, r),   mm_x_mix(x, r), mm_x_off(x, r),
                                 mm_x_top(x, r), mm_x_d(x, r),   mm_x_ds(x, r)};
    }
    half_clear(acc[0], n);
    half_clear(acc[1], n);
    for (int64_t b = 0; b < x->n_in / block; b++) {
        const void *u = from ? (const char *)&buffer : strip + (size_t)b * bytes;
        if (from)
            unpack_block(from, b, &buffer);
        for (int half = 0; half < 2; half++)
            if (block == 256)
                wide_half_256(u, half, group, has_min, row, b, n, acc[half]);
            else
                wide_half_32(u, half, has_min, row, b, n, acc[half]);
    }
    half_store(acc[0], nr, t);
    half_store(acc[1], nr, t + 8);
}

#define WIDE_TILE(name, block, group, has_min)                                                     \
    static void name(const struct mm_x *x, const struct unpack *from, const void *strip,           \
                     int64_t r0, int nr, float *t)                                                 \
    {                                                                                              \
        for (; nr > 0; nr -= HALF_ROWS, r0 += HALF_ROWS, t += HALF_ROWS * MM_TILE) {               \
            const int m = nr < HALF_ROWS ? nr : HALF_ROWS;                                         \
            if (m == 1)                                                                            \
                wide_rows(x, block, group, has_min, from, strip, r0, m, 1, t);                     \
            else if (m == 2)                                                                       \
                wide_rows(x, block, group, has_min, from, strip, r0, m, 2, t);                     \
            else                                                                                   \
                wide_rows(x, block, group, has_min, from, strip, r0, m, 4, t);                     \
        }                                                                                          \
    }
WIDE_TILE(wide_tile_32, 32, 32, false)
WIDE_TILE(wide_tile_32_min, 32, 32, true)
WIDE_TILE(wide_tile_256_16, 256, 16, false)
WIDE_TILE(wide_tile_256_16_min, 256, 16, true)
WIDE_TILE(wide_tile_256_32, 256, 32, false)
#define WIDE_STRIP_OF_OTHERS half_strip
#include "body_wide.h"
