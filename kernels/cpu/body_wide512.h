/*
 * body_wide512: body_lanes512.h for the formats of MM_PACKS, and for many rows of other formats.
 *   lanes_any      unpacks quants in registers
 *   lanes_wide     takes unpacked strips (unpacked.h), whose blocks have scales of groups
 *   wide_rows_two  the same for two strips at once
 *   flat_rows      takes one or two unpacked strips without scales of groups
 * IQ2 and IQ3 are always unpacked, because their code books make that dearer than the products of
 * one row. CPU.md, "Prompts with AVX-512", has bounds and figures. Included by cpu_kernel_avx512.c
 * only.
 */

/* The bits 4 k .. 4 k + 3 of each lane, as bit 4 of the bytes 0 .. 3 of w. */
static inline __attribute__((always_inline)) __m512i lanes_fifth(__m512i w, __m512i high,
                                                                 const int k)
{
    const __m512i at = _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                                       _mm512_set1_epi8((char)(k / 2)));
    const __mmask64 m = _mm512_test_epi8_mask(_mm512_shuffle_epi8(high, at),
                                              _mm512_set1_epi32((int)(0x08040201u << k % 2 * 4)));
    return _mm512_mask_add_epi8(w, m, w, _mm512_set1_epi8(16));
}

/* The code book of IQ4, 128 larger. */
static inline __attribute__((always_inline)) __m512i lanes_iq4(__m512i index)
{
    const __m512i book = _mm512_xor_si512(
        _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)fmt_iq4_book)),
        _mm512_set1_epi8((char)0x80));
    return _mm512_shuffle_epi8(book, index);
}

/* Group number `at` in the order of a strip. */
static inline __attribute__((always_inline)) int any_group(const enum fmt fmt, const int at)
{
    return mm_group(fmt) == 16 ? at / 8 * 8 + at % 4 * 2 + at / 4 % 2 : at;
}

/* Word k of group g: quants plus an offset (any_start), as unsigned bytes. p: the block's words. */
static inline __attribute__((always_inline)) __m512i any_quant(const enum fmt fmt, const char *p,
                                                               const int g, const int k)
{
    const int half = g / 8, quarter = g / 2 % 4, part = g % 2;
    switch (fmt) {
    case FMT_Q4_1:
        return lanes_nibble(lanes_load(p + 64 * (1 + k % 4)), k / 4);
    case FMT_Q5_0:
        return lanes_fifth(lanes_nibble(lanes_load(p + 64 * (1 + k % 4)), k / 4), lanes_load(p), k);
    case FMT_Q5_1:
        return lanes_fifth(lanes_nibble(lanes_load(p + 64 * (2 + k % 4)), k / 4),
                           lanes_load(p + 64), k);
    case FMT_IQ4_NL:
        return lanes_iq4(lanes_nibble(lanes_load(p + 64 * (k % 4)), k / 4));
    case FMT_IQ4_XS:
        return lanes_iq4(lanes_nibble(lanes_load(p + 64 * (2 + 4 * g + k % 4)), k / 4));
    case FMT_Q2_K:
        return lanes_bits(lanes_load(p + 64 * (5 + 8 * half + 4 * part + k)), 2 * quarter, 0, 3);
    default: /* Q3_K */
        return _mm512_or_si512(
            lanes_bits(lanes_load(p + 64 * ((half ? 19 + 4 * part : 7 + 8 * part) + k)),
                       2 * quarter, 0, 3),
            lanes_bits(lanes_load(p + 64 * (3 + 8 * part + k)), 4 * half + quarter, 2, 4));
    }
}

/* The scales of group g. p: the block's words. */
static inline __attribute__((always_inline)) __m512i any_scale(const enum fmt fmt, const char *p,
                                                               const int g)
{
    const __m512i less = _mm512_set1_epi32(32);
    if (fmt == FMT_Q2_K)
        return lanes_byte(lanes_nibble(lanes_load(p + 64 * (1 + g / 4)), 0), g % 4);
    if (fmt == FMT_Q3_K) {
        const __m512i v = _mm512_or_si512(lanes_nibble(lanes_load(p + 64 * (g / 4 % 2)), g / 8),
                                          lanes_bits(lanes_load(p + 64 * 2), g / 4 * 2, 4, 48));
        return _mm512_sub_epi32(lanes_byte(v, g % 4), less);
    }
    const __m512i low = _mm512_srli_epi32(lanes_load(p + 64), (unsigned)(4 * g)),
                  high = _mm512_srli_epi32(lanes_load(p), (unsigned)(16 + 2 * g));
    return _mm512_sub_epi32(
        _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(15)),
                        _mm512_slli_epi32(_mm512_and_si512(high, _mm512_set1_epi32(3)), 4)),
        less);
}

/* A row of x in the form of these kernels. */
struct any_x {
    const int8_t *q;
    const int16_t *mix;
    const int32_t *off, *top;
    const float *d, *ds;
};

static inline __attribute__((always_inline)) void any_rows(const struct mm_x *x, int64_t r0, int nr,
                                                           const int n, struct any_x *out)
{
    for (int i = 0; i < n; i++) { /* rows beyond nr repeat the last one */
        const int64_t r = r0 + (i < nr ? i : nr - 1);
        out[i] = (struct any_x){mm_x_q(x, r),   mm_x_mix(x, r), mm_x_off(x, r),
                                mm_x_top(x, r), mm_x_d(x, r),   mm_x_ds(x, r)};
    }
}

/* Minus the offset of the quants times the sum of x, for group g of block b. */
static inline __attribute__((always_inline)) __m512i
any_start(const enum fmt fmt, const struct any_x *x, int64_t b, const int g)
{
    switch (fmt) {
    case FMT_Q5_0: /* 16 */
        return _mm512_set1_epi32(x->off[b] * 2);
    case FMT_Q3_K: /* 4 */
        return _mm512_set1_epi32(x->off[16 * b + g] / 8);
    case FMT_IQ4_NL: /* 128 */
        return _mm512_set1_epi32(x->top[b]);
    case FMT_IQ4_XS:
        return _mm512_set1_epi32(x->top[8 * b + g]);
    default:
        return _mm512_setzero_si512();
    }
}

/* The low or high f16 of each lane. */
static inline __attribute__((always_inline)) __m512 any_half(__m512i v, const int high)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(high ? _mm512_srli_epi32(v, 16) : v));
}

#define ANY_MOST (2 * MM_ROWS) /* sums of a call */

/* The results of nr rows from the eight sums of each, n of every strip. */
static inline __attribute__((always_inline)) void
wide_store(__m512 acc[8][ANY_MOST], const int ways, const int n, int nr, float *const *t)
{
    for (int w = 0; w < ways; w++)
        for (int i = 0; i < nr; i++) {
            __m512 sum[8];
            for (int b = 0; b < 8; b++)
                sum[b] = acc[b][w * n + i];
            _mm512_storeu_ps(t[w] + i * MM_TILE, lanes_sum8(sum));
        }
}

/* ways strips (1 or 2) against n rows of x, of which nr are stored. n is 1, 2, 4 or 8; fmt, ways
 * and n are constants after inlining. Two strips and eight rows share the loads of x: 10 loads for
 * 16 products instead of 18. */
static inline __attribute__((always_inline)) void
lanes_any(const struct mm_x *x, const enum fmt fmt, const int words, const bool left,
          const char *const *strip, const int ways, int64_t r0, int nr, const int n,
          float *const *t)
{
    const int block = mm_x_block(fmt), group = mm_group(fmt);
    const int groups = block == group ? 1 : group == 32 ? 8 : 16, sums = ways * n;
    const int64_t blocks = x->n_in / block;
    const __m512i even = _mm512_set1_epi32(0x00ff00ff);
    __m512 acc[8][ANY_MOST]; /* one base address for all rows */
    struct any_x row[MM_ROWS];
    size_t at = 0;
    any_rows(x, r0, nr, n, row);
    for (int i = 0; i < sums; i++)
        for (int b = 0; b < 8; b++)
            acc[b][i] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks;
         b++, at += (size_t)(64 * words + (left && b % 2 == 0 ? 64 : 0))) {
        __m512i dot[ANY_MOST], s[ANY_MOST];
#pragma GCC unroll 16
        for (int o = 0; o < groups; o++) {
            const int g = any_group(fmt, o), lines = words + left, from = lines * o / groups;
#pragma GCC unroll 2
            for (int w = 0; w < ways; w++)
                lanes_ahead(strip[w] + at + 64 * from, lines * (o + 1) / groups - from, n);
#pragma GCC unroll 16
            for (int j = 0; j < sums; j++)
                s[j] = any_start(fmt, &row[j % n], b, g);
#pragma GCC unroll 8
            for (int k = 0; k < group / 4; k++) {
                __m512i q[2];
#pragma GCC unroll 2
                for (int w = 0; w < ways; w++)
                    q[w] = any_quant(fmt, strip[w] + at, g, k);
#pragma GCC unroll 8
                for (int i = 0; i < n; i++) {
                    const int8_t *four = row[i].q + block * b + group * g + 4 * k;
                    if (ways == 1) {
                        s[i] = vnni_dot4(s[i], q[0], four);
                        continue;
                    }
                    const __m512i y = vnni_spread(four);
                    s[i] = _mm512_dpbusd_epi32(s[i], q[0], y);
                    s[n + i] = _mm512_dpbusd_epi32(s[n + i], q[1], y);
                }
            }
#pragma GCC unroll 2
            for (int w = 0; w < ways; w++) {
                const __m512i scale =
                    block == 256 ? any_scale(fmt, strip[w] + at, g) : _mm512_setzero_si512();
#pragma GCC unroll 8
                for (int i = 0; i < n; i++) {
                    const int j = w * n + i;
                    const __m512i part = block == 256 ? _mm512_mullo_epi32(s[j], scale) : s[j];
                    dot[j] = vnni_fence(o ? _mm512_add_epi32(dot[j], part) : part);
                }
            }
        }
#pragma GCC unroll 2
        for (int w = 0; w < ways; w++) {
            const char *p = strip[w] + at;
            const __m512i ds = lanes_load(p);
            const __m512 d = left ? lanes_left(p, words, b, blocks) : any_half(ds, 0);
            const __m512 m = mm_has_min(fmt) ? any_half(ds, 1) : _mm512_setzero_ps();
#pragma GCC unroll 8
            for (int i = 0; i < n; i++) {
                const __m512 dx = _mm512_set1_ps(row[i].d[b]);
                __m512 *to = &acc[b % 8][w * n + i];
                lanes_add(to, _mm512_mul_ps(d, dx), dot[w * n + i]);
                if (mm_has_min(fmt) && block == 32)
                    *to = _mm512_fmadd_ps(m, _mm512_set1_ps(row[i].ds[b]), *to);
                if (mm_has_min(fmt) && block == 256) {
                    __m512i min = _mm512_setzero_si512();
#pragma GCC unroll 4
                    for (int k = 0; k < 4; k++) {
                        const __m512i v = lanes_nibble(lanes_load(p + 64 * (1 + k)), 1);
                        const int16_t *sum = row[i].mix + 16 * b + 4 * k;
                        min = vnni_dot2(min, _mm512_and_si512(v, even), sum);
                        min = vnni_dot2(min, _mm512_srli_epi16(v, 8), sum + 2);
                    }
                    *to = _mm512_fnmadd_ps(_mm512_mul_ps(m, dx), _mm512_cvtepi32_ps(min), *to);
                }
            }
        }
    }
    wide_store(acc, ways, n, nr, t);
}

/* Functions for each format: a strip, and two strips against one row. */
#define ANY_TILE(lower, FMT, words, left)                                                          \
    static void any_tile_##lower(const struct mm_x *x, const char *strip, int64_t r0, int nr,      \
                                 float *t)                                                         \
    {                                                                                              \
        switch (nr <= 2 ? nr : nr <= 4 ? 4 : 8) {                                                  \
            LANES_CASE(1, lanes_any(x, FMT, words, left, &strip, 1, r0, nr, 1, &t));               \
            LANES_CASE(2, lanes_any(x, FMT, words, left, &strip, 1, r0, nr, 2, &t));               \
            LANES_CASE(4, lanes_any(x, FMT, words, left, &strip, 1, r0, nr, 4, &t));               \
        default:                                                                                   \
            lanes_any(x, FMT, words, left, &strip, 1, r0, nr, 8, &t);                              \
        }                                                                                          \
    }                                                                                              \
    static void any_two_##lower(const struct mm_x *x, const char *const *strip, int64_t r,         \
                                float *const *t)                                                   \
    {                                                                                              \
        lanes_any(x, FMT, words, left, strip, 2, r, 1, 1, t);                                      \
    }
/* X(lower, NAME, words of a block, a left-over f16): as lanes_of says */
#define ANY_FORMATS(X)                                                                             \
    X(q4_1, Q4_1, 5, false)                                                                        \
    X(q5_0, Q5_0, 5, true)                                                                         \
    X(q5_1, Q5_1, 6, false)                                                                        \
    X(iq4_nl, IQ4_NL, 4, true)                                                                     \
    X(iq4_xs, IQ4_XS, 34, false)                                                                   \
    X(q2_k, Q2_K, 21, false)                                                                       \
    X(q3_k, Q3_K, 27, true)
#define ANY_DEFINE(lower, NAME, words, left) ANY_TILE(lower, FMT_##NAME, words, left)
ANY_FORMATS(ANY_DEFINE)

/* Two strips against up to eight rows: blocks of 32 alone. In blocks of 256 the sums of groups and
 * of the block do not fit in the registers together, and two strips are slower than one. 128 rows,
 * 4,096 by 256 weights, best of nine, AMD EPYC (Zen 5), loaded machine, us of one strip / two:
 * IQ4_NL 593 / 542, Q5_0 658 / 609, Q3_K 746 / 1,328. */
#define ANY_PAIRS(X)                                                                               \
    X(q4_1, Q4_1, 5, false)                                                                        \
    X(q5_0, Q5_0, 5, true)                                                                         \
    X(q5_1, Q5_1, 6, false)                                                                        \
    X(iq4_nl, IQ4_NL, 4, true)
#define ANY_PAIR(lower, NAME, words, left)                                                         \
    static void any_pair_##lower(const struct mm_x *x, const char *const *strip, int64_t r0,       \
                                 int nr, float *const *t)                                          \
    {                                                                                              \
        lanes_any(x, FMT_##NAME, words, left, strip, 2, r0, nr, MM_ROWS, t);                       \
    }
ANY_PAIRS(ANY_PAIR)

/* ---- unpacked strips ------------------------------------------------------------------------- */

/* from: NULL, and `strip` is unpacked; or unpacks it block by block. group: 16 or 32. n: 1, 2, 4
 * or 8. Both are constants after inlining. */
static inline __attribute__((always_inline)) void
lanes_wide(const struct mm_x *x, const int group, const struct unpack *from,
           const struct unpacked_256 *strip, int64_t r0, int nr, const int n, float *t)
{
    __m512 acc[MM_ROWS][8];
    struct any_x row[MM_ROWS];
    _Alignas(64) struct unpacked_256 buffer;
    any_rows(x, r0, nr, n, row);
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm512_setzero_ps();
    for (int64_t b = 0; b < x->n_in / 256; b++) {
        const struct unpacked_256 *u = from ? &buffer : strip + b;
        __m512i dot[MM_ROWS], s[MM_ROWS];
        if (from)
            unpack_block(from, b, &buffer);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            dot[i] = _mm512_setzero_si512();
        for (int line = 0; line < 4; line++) { /* 64 elements: a line of scales */
            const __m512i scales = lanes_load(u->scale[line]);
#pragma GCC unroll 4
            for (int e = 0; e < 64; e += group) {
                const int64_t first = 256 * b + 64 * line + e;
#pragma GCC unroll 8
                for (int i = 0; i < n; i++)
                    s[i] = _mm512_set1_epi32(group == 32 ? row[i].top[first / 32]
                                                         : row[i].off[first / 16] * 4);
#pragma GCC unroll 8
                for (int k = 0; k < group / 4; k++) {
                    const __m512i q = lanes_load(u->q[16 * line + e / 4 + k]);
#pragma GCC unroll 8
                    for (int i = 0; i < n; i++)
                        s[i] = vnni_dot4(s[i], q, row[i].q + first + 4 * k);
                }
                const __m512i scale = lanes_signed_byte(scales, e / 16);
#pragma GCC unroll 8
                for (int i = 0; i < n; i++)
                    dot[i] = vnni_fence(_mm512_add_epi32(dot[i], _mm512_mullo_epi32(s[i], scale)));
            }
        }
        const __m512 d = _mm512_loadu_ps(u->d);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            lanes_add(&acc[i][b % 8], _mm512_mul_ps(d, _mm512_set1_ps(row[i].d[b])), dot[i]);
    }
    lanes_store(acc, nr, t);
}

#define WIDE_TILE(group)                                                                           \
    static void wide_tile_##group(const struct mm_x *x, const struct unpack *from,                 \
                                  const struct unpacked_256 *strip, int64_t r0, int nr, float *t)  \
    {                                                                                              \
        switch (nr <= 2 ? nr : nr <= 4 ? 4 : 8) {                                                  \
            LANES_CASE(1, lanes_wide(x, group, from, strip, r0, nr, 1, t));                        \
            LANES_CASE(2, lanes_wide(x, group, from, strip, r0, nr, 2, t));                        \
            LANES_CASE(4, lanes_wide(x, group, from, strip, r0, nr, 4, t));                        \
        default:                                                                                   \
            lanes_wide(x, group, from, strip, r0, nr, 8, t);                                       \
        }                                                                                          \
    }
WIDE_TILE(16)
WIDE_TILE(32)

static const __m512 wide_zeros[ANY_MOST];

/* Two unpacked strips with scales of groups, against n rows (4 or 8). Four rows are computed at a
 * time. So the sums of groups and blocks fit in the registers together. A group of 16 takes 28
 * loads for 32 products; one strip and eight rows take 44. */
static inline __attribute__((always_inline)) void
wide_rows_two(const struct mm_x *x, const int group, const void *const strip[2], int64_t r0, int nr,
              const int n, float *const t[2])
{
    __m512 acc[8][ANY_MOST];
    const char *row[MM_ROWS];
    for (int i = 0; i < n; i++) /* rows beyond nr repeat the last one */
        row[i] = x->base + (size_t)(r0 + (i < nr ? i : nr - 1)) * x->stride;
    for (int64_t b = x->n_in / 256; b < 8; b++)
        for (int j = 0; j < 2 * n; j++)
            acc[b][j] = _mm512_setzero_ps();
    for (int64_t b = 0; b < x->n_in / 256; b++)
        for (int h = 0; h < n; h += 4) {
            /* the first blocks begin the sums: 128 stores less */
            const __m512 *const from = b < 8 ? wide_zeros : acc[b % 8];
            const struct unpacked_256 *const u[2] = {(const struct unpacked_256 *)strip[0] + b,
                                                     (const struct unpacked_256 *)strip[1] + b};
            const char *p[4];
            __m512i dot[8], s[8];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                p[i] = vnni_row(row[h + i]);
            }
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++)
                dot[j] = _mm512_setzero_si512();
            for (int line = 0; line < 4; line++) /* 64 elements: a line of scales */
#pragma GCC unroll 4
                for (int e = 0; e < 64; e += group) {
                    const size_t first = (size_t)(256 * b + 64 * line + e);
#pragma GCC unroll 4
                    for (int i = 0; i < 4; i++) {
                        s[i] =
                            group == 32
                                ? vnni_spread(p[i] + x->top_at + first / 8)
                                : _mm512_slli_epi32(vnni_spread(p[i] + x->off_at + first / 4), 2);
                        s[4 + i] = s[i];
                    }
#pragma GCC unroll 8
                    for (int k = 0; k < group / 4; k++) {
                        const __m512i q0 = lanes_load(u[0]->q[16 * line + e / 4 + k]),
                                      q1 = lanes_load(u[1]->q[16 * line + e / 4 + k]);
#pragma GCC unroll 4
                        for (int i = 0; i < 4; i++) {
                            const __m512i y = vnni_spread(p[i] + first + 4 * (size_t)k);
                            s[i] = _mm512_dpbusd_epi32(s[i], q0, y);
                            s[4 + i] = _mm512_dpbusd_epi32(s[4 + i], q1, y);
                        }
                    }
#pragma GCC unroll 2
                    for (int w = 0; w < 2; w++) {
                        const __m512i scale =
                            lanes_signed_byte(lanes_load(u[w]->scale[line]), e / 16);
#pragma GCC unroll 4
                        for (int j = 4 * w; j < 4 * w + 4; j++)
                            dot[j] = vnni_fence(
                                _mm512_add_epi32(dot[j], _mm512_mullo_epi32(s[j], scale)));
                    }
                }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                float d;
                memcpy(&d, p[i] + x->d_at + 4 * b, sizeof d);
#pragma GCC unroll 2
                for (int w = 0; w < 2; w++) {
                    const int at = w * n + h + i;
                    __m512 to = from[at];
                    lanes_add(&to, _mm512_mul_ps(_mm512_loadu_ps(u[w]->d), _mm512_set1_ps(d)),
                              dot[4 * w + i]);
                    acc[b % 8][at] = to;
                }
            }
        }
    wide_store(acc, 2, n, nr, t);
}

#define WIDE_TWO(group)                                                                            \
    static void wide_two_##group(const struct mm_x *x, const void *const strip[2], int64_t r0,     \
                                 int nr, float *const t[2])                                        \
    {                                                                                              \
        if (nr <= 4)                                                                               \
            wide_rows_two(x, group, strip, r0, nr, 4, t);                                          \
        else                                                                                       \
            wide_rows_two(x, group, strip, r0, nr, 8, t);                                          \
    }
WIDE_TWO(16)
WIDE_TWO(32)

/* ---- unpacked strips without scales of groups ------------------------------------------------
 * Blocks of 32, and Q2_K and Q3_K with folded scales. A sum is that of a block, so that those of
 * eight rows and two strips fit in the registers. Two strips share the loads of x. */

/* FLAT_32: quants are 128 larger. FLAT_Q3: products are 127 larger. */
enum flat { FLAT_32, FLAT_32_MIN, FLAT_Q2, FLAT_Q3 };

/* min . sums of x. line: the four lines of minimums. */
static inline __attribute__((always_inline)) __m512i flat_min(const int8_t (*line)[UNPACKED_LINE],
                                                              const char *mix)
{
    const __m512i even = _mm512_set1_epi32(0x00ff00ff);
    __m512i min = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        const __m512i v = lanes_load(line[k]);
        min = vnni_dot2(min, _mm512_and_si512(v, even), mix + 8 * k);
        min = vnni_dot2(min, _mm512_srli_epi16(v, 8), mix + 8 * k + 4);
    }
    return min;
}

static inline __attribute__((always_inline)) __m512 flat_float(const char *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_ps(v);
}

/* Adds the products of 32 columns to s: lines l .. l + 7 of each strip, x from q_at on. */
static inline __attribute__((always_inline)) void flat_products(const char *const *p, int l,
                                                                const int ways,
                                                                const char *const *row, size_t q_at,
                                                                const int n, __m512i *s)
{
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        __m512i q[2];
#pragma GCC unroll 2
        for (int w = 0; w < ways; w++)
            q[w] = lanes_load(p[w] + 64 * (l + k));
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            const char *four = row[i] + q_at + 4 * k;
            if (ways == 1) {
                s[i] = vnni_dot4(s[i], q[0], four);
                continue;
            }
            const __m512i y = vnni_spread(four);
            s[i] = _mm512_dpbusd_epi32(s[i], q[0], y);
            s[n + i] = _mm512_dpbusd_epi32(s[n + i], q[1], y);
        }
    }
}

/* Q2_K and Q3_K: ways strips (1 or 2) against n rows of x (4 or 8), of which nr are stored. Rows
 * are addressed from one register each (vnni_row). kind, ways and n are constants after inlining.
 * A block in a function of its own, as flat_block, takes 5 % more time (Q2_K, gcc 12, Zen 5). */
static inline __attribute__((always_inline)) void
flat_rows_256(const struct mm_x *x, const enum flat kind, const char *const *strip, const int ways,
              int64_t r0, int nr, const int n, float *const *t)
{
    __m512 acc[8][ANY_MOST];
    const char *row[MM_ROWS], *p[2];
    for (int i = 0; i < n; i++) /* rows beyond nr repeat the last one */
        row[i] = x->base + (size_t)(r0 + (i < nr ? i : nr - 1)) * x->stride;
    for (int w = 0; w < ways; w++)
        p[w] = strip[w];
    for (int b = 0; b < 8; b++)
        for (int j = 0; j < ways * n; j++)
            acc[b][j] = _mm512_setzero_ps();
    for (int64_t b = 0; b < x->n_in / 256; b++) {
        const size_t q_at = (size_t)(256 * b), at = (size_t)(4 * b);
        __m512i s[ANY_MOST];
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            row[i] = vnni_row(row[i]);
            s[i] =
                kind == FLAT_Q2 ? _mm512_setzero_si512() : vnni_spread(row[i] + x->whole_at + at);
            if (ways == 2)
                s[n + i] = s[i];
        }
        for (int l = 0; l < 64; l += 8)
            flat_products(p, l, ways, row, q_at + 4 * (size_t)l, n, s);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            const __m512 dx = flat_float(row[i] + x->d_at + at);
#pragma GCC unroll 2
            for (int w = 0; w < ways; w++) {
                const struct unpacked_256 *u = (const void *)p[w];
                const __m512 d = _mm512_loadu_ps(u->d);
                __m512 *to = &acc[b % 8][w * n + i];
                lanes_add(to, _mm512_mul_ps(d, dx), s[w * n + i]);
                if (kind == FLAT_Q2)
                    *to = _mm512_fnmadd_ps(
                        _mm512_mul_ps(_mm512_loadu_ps(u->m), dx),
                        _mm512_cvtepi32_ps(flat_min(u->min, row[i] + x->mix_at + 8 * at)), *to);
            }
        }
#pragma GCC unroll 2
        for (int w = 0; w < ways; w++)
            p[w] += sizeof(struct unpacked_256);
    }
    wide_store(acc, ways, n, nr, t);
}

/* Block b, of 32, of ways strips (1 or 2) at p against n rows of x (4 or 8), into one of the eight
 * sums of each result. first: it begins that sum, which is not read. kind, ways, n and first are
 * constants after inlining. */
static inline __attribute__((always_inline)) void
flat_block(const struct mm_x *x, const enum flat kind, const char *const p[2], const int ways,
           const char *row[MM_ROWS], const int n, int64_t b, const bool first, __m512 *sum)
{
    const size_t q_at = (size_t)(32 * b), at = (size_t)(4 * b);
    __m512i s[ANY_MOST];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        row[i] = vnni_row(row[i]);
        s[i] = vnni_spread(row[i] + x->top_at + at);
        if (ways == 2)
            s[n + i] = s[i];
    }
    flat_products(p, 0, ways, row, q_at, n, s);
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        const __m512 dx = flat_float(row[i] + x->d_at + at);
#pragma GCC unroll 2
        for (int w = 0; w < ways; w++) {
            const struct unpacked_32 *u = (const void *)p[w];
            __m512 *to = &sum[w * n + i];
            if (first)
                *to = _mm512_setzero_ps();
            lanes_add(to, _mm512_mul_ps(_mm512_loadu_ps(u->d), dx), s[w * n + i]);
            if (kind == FLAT_32_MIN)
                *to =
                    _mm512_fmadd_ps(_mm512_loadu_ps(u->m), flat_float(row[i] + x->ds_at + at), *to);
        }
    }
}

/* Blocks of 32: ways strips (1 or 2) against n rows of x (4 or 8), of which nr are stored. kind,
 * ways and n are constants after inlining. */
static inline __attribute__((always_inline)) void
flat_rows_32(const struct mm_x *x, const enum flat kind, const char *const *strip, const int ways,
             int64_t r0, int nr, const int n, float *const *t)
{
    const int64_t blocks = x->n_in / 32;
    __m512 acc[8][ANY_MOST];
    const char *row[MM_ROWS], *p[2];
    for (int i = 0; i < n; i++) /* rows beyond nr repeat the last one */
        row[i] = x->base + (size_t)(r0 + (i < nr ? i : nr - 1)) * x->stride;
    for (int w = 0; w < ways; w++)
        p[w] = strip[w];
    for (int64_t b = blocks; b < 8; b++)
        for (int j = 0; j < ways * n; j++)
            acc[b][j] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b++) {
        if (b < 8)
            flat_block(x, kind, p, ways, row, n, b, true, acc[b]);
        else
            flat_block(x, kind, p, ways, row, n, b, false, acc[b % 8]);
#pragma GCC unroll 2
        for (int w = 0; w < ways; w++)
            p[w] += sizeof(struct unpacked_32);
    }
    wide_store(acc, ways, n, nr, t);
}

#define FLAT_TILE(name, elems, kind, ways)                                                         \
    static void name(const struct mm_x *x, const char *const *strip, int64_t r0, int nr,           \
                     float *const *t)                                                              \
    {                                                                                              \
        if (nr <= 4)                                                                               \
            flat_rows_##elems(x, kind, strip, ways, r0, nr, 4, t);                                 \
        else                                                                                       \
            flat_rows_##elems(x, kind, strip, ways, r0, nr, 8, t);                                 \
    }
FLAT_TILE(flat_one_32, 32, FLAT_32, 1)
FLAT_TILE(flat_one_32_min, 32, FLAT_32_MIN, 1)
FLAT_TILE(flat_one_q2, 256, FLAT_Q2, 1)
FLAT_TILE(flat_one_q3, 256, FLAT_Q3, 1)
FLAT_TILE(flat_two_32, 32, FLAT_32, 2)
FLAT_TILE(flat_two_32_min, 32, FLAT_32_MIN, 2)
FLAT_TILE(flat_two_q2, 256, FLAT_Q2, 2)
FLAT_TILE(flat_two_q3, 256, FLAT_Q3, 2)

static bool wide_both(enum fmt fmt)
{
    return mm_x_block(fmt) == 32 || fmt == FMT_Q6_K || !mm_by_rows(fmt);
}

static void wide_unpacked_both(const struct mm_x *x, enum fmt fmt, const void *const strip[2],
                               int64_t r0, int nr, float *const t[2])
{
    const char *const from[2] = {strip[0], strip[1]};
    if (fmt == FMT_Q2_K)
        flat_two_q2(x, from, r0, nr, t);
    else if (fmt == FMT_Q3_K)
        flat_two_q3(x, from, r0, nr, t);
    else if (mm_x_block(fmt) == 32 && mm_has_min(fmt))
        flat_two_32_min(x, from, r0, nr, t);
    else if (mm_x_block(fmt) == 32)
        flat_two_32(x, from, r0, nr, t);
    else if (mm_group(fmt) == 16)
        wide_two_16(x, strip, r0, nr, t);
    else
        wide_two_32(x, strip, r0, nr, t);
}

static void wide_unpacked(const struct mm_x *x, enum fmt fmt, const void *strip, int64_t r0, int nr,
                          float *t)
{
    const char *const from = strip;
    if (fmt == FMT_Q2_K)
        flat_one_q2(x, &from, r0, nr, &t);
    else if (fmt == FMT_Q3_K)
        flat_one_q3(x, &from, r0, nr, &t);
    else if (mm_x_block(fmt) == 32 && mm_has_min(fmt))
        flat_one_32_min(x, &from, r0, nr, &t);
    else if (mm_x_block(fmt) == 32)
        flat_one_32(x, &from, r0, nr, &t);
    else if (mm_group(fmt) == 16)
        wide_tile_16(x, NULL, strip, r0, nr, t);
    else
        wide_tile_32(x, NULL, strip, r0, nr, t);
}

/* ---- any format ------------------------------------------------------------------------------ */

static bool wide_unpacks(enum fmt fmt, int n_row)
{
    switch (fmt) { /* the others are unpacked in registers for a few rows */
    case FMT_IQ3_XXS:
    case FMT_IQ3_S:
    case FMT_IQ2_XXS:
    case FMT_IQ2_XS:
    case FMT_IQ2_S:
        return n_row > MM_ROWS;
    default:
        return wide_both(fmt) && n_row > 32;
    }
}

static void wide_strip(const struct mm_x *x, enum fmt fmt, const char *strip, int64_t r0, int nr,
                       float *t)
{
    struct unpack from;
    switch (fmt) {
#define ANY_CASE(lower, NAME, words, left)                                                         \
    case FMT_##NAME:                                                                               \
        any_tile_##lower(x, strip, r0, nr, t);                                                     \
        break;
        ANY_FORMATS(ANY_CASE)
#undef ANY_CASE
    case FMT_IQ3_XXS:
    case FMT_IQ3_S:
    case FMT_IQ2_XXS:
    case FMT_IQ2_XS:
    case FMT_IQ2_S:
        unpack_open(&from, fmt, strip, x->n_in);
        if (mm_group(fmt) == 16)
            wide_tile_16(x, &from, NULL, r0, nr, t);
        else
            wide_tile_32(x, &from, NULL, r0, nr, t);
        break;
    default:
        lanes_strip(x, fmt, strip, r0, nr, t);
    }
}

static int wide_several(enum fmt fmt)
{
    switch (fmt) {
#define ANY_CASE(lower, NAME, words, left) case FMT_##NAME:
        ANY_FORMATS(ANY_CASE)
#undef ANY_CASE
        return LANES_AT_ONCE;
    default:
        return lanes_several(fmt);
    }
}

static void wide_strips(const struct mm_x *x, enum fmt fmt, const char *const strip[LANES_AT_ONCE],
                        int64_t r, float *const t[LANES_AT_ONCE])
{
    switch (fmt) {
#define ANY_CASE(lower, NAME, words, left)                                                         \
    case FMT_##NAME:                                                                               \
        any_two_##lower(x, strip, r, t);                                                           \
        break;
        ANY_FORMATS(ANY_CASE)
#undef ANY_CASE
    default:
        lanes_strips(x, fmt, strip, r, t);
    }
}

static bool wide_pairs(enum fmt fmt)
{
    switch (fmt) {
#define ANY_CASE(lower, NAME, words, left) case FMT_##NAME:
        ANY_PAIRS(ANY_CASE)
#undef ANY_CASE
        return true;
    default:
        return false;
    }
}

static void wide_pair(const struct mm_x *x, enum fmt fmt, const char *const strip[2], int64_t r0,
                      int nr, float *const t[2])
{
    switch (fmt) {
#define ANY_CASE(lower, NAME, words, left)                                                         \
    case FMT_##NAME:                                                                               \
        any_pair_##lower(x, strip, r0, nr, t);                                                     \
        break;
        ANY_PAIRS(ANY_CASE)
#undef ANY_CASE
    default:
        UNREACHABLE("wide_pairs says no");
    }
}
