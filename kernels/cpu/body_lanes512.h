/*
 * body_lanes512: matmul with AVX-512 VNNI on strips of sixteen weight rows (lanes.h).
 *
 * A 32-bit lane belongs to one weight row. So one vpdpbusd with four broadcast bytes of x is four
 * products of sixteen weight rows. No sum crosses lanes, and a result is sixteen neighbouring
 * columns. Quants are unpacked in registers for up to MM_ROWS rows of x, because shifts and masks
 * can use other ports than the products.
 *
 * vpdpbusd takes unsigned weights. Q6_K, Q8_0 and Q4_0 have an offset (32, 128, 8). The sums of x,
 * with which the sums of products start, take the offset back exactly. The integers are those of
 * cpu_matmul.c, and so are the bits. Included by cpu_kernel_avx512.c only.
 */

static inline __m512i lanes_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static inline __m512 lanes_sum8(const __m512 a[8])
{
    return _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(a[0], a[4]), _mm512_add_ps(a[2], a[6])),
                         _mm512_add_ps(_mm512_add_ps(a[1], a[5]), _mm512_add_ps(a[3], a[7])));
}

/* Byte i of each lane, 0..255. */
static inline __attribute__((always_inline)) __m512i lanes_byte(__m512i v, const int i)
{
    return i == 3
               ? _mm512_srli_epi32(v, 24)
               : _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(8 * i)), _mm512_set1_epi32(255));
}

/* Byte i of each lane, -128..127. */
static inline __attribute__((always_inline)) __m512i lanes_signed_byte(__m512i v, const int i)
{
    return _mm512_srai_epi32(i == 3 ? v : _mm512_slli_epi32(v, (unsigned)(24 - 8 * i)), 24);
}

/* Prefetches LANES_AHEAD bytes ahead into L2. Without it a core computes and waits in turn, because
 * its window of instructions is shorter than memory's latency.
 *
 * Measured: lanes_strip alone in a loop over 4,096 strips of 4,096 columns, one thread on AMD EPYC
 * (Zen 4), 2026-11-27, 8 rows of x. GB/s of weights:
 *
 *   format  without  6 KiB ahead  one strip again and again, without memory
 *   Q4_K    7.7      11.5         12.0
 *   Q5_K    7.8      13.2         14.2
 *   Q6_K    6.7      13.8         14.7
 *   Q4_0    6.9      11.8         12.3
 *   Q8_0    9.6      21.6         23.6
 *
 * 12 KiB ahead is as good. Prefetch into L1 gains only a tenth to three quarters.
 *
 * With one row of x the lines are asked for into L1, ONE_AHEAD bytes ahead. Zen 5's own prefetch
 * falls behind where much arithmetic stands between two lines. 4,096 columns x 14,336 rows from
 * memory, one thread, read 43 GB/s, 2026-11-30. GB/s without / 2 / 4 / 8 KiB ahead:
 *
 *   Q4_K  22.5  32.7  37.5  34.8      (two threads, read 53: 38.2  45.8  46.8  49.8)
 *   Q6_K  21.0  33.2  38.0  37.5      (38.6  49.1  49.2  50.7)
 *   Q4_0  35.4  34.5  38.9  34.6      (51.4  50.9  51.0  48.6)
 *   Q5_K  21.0   -    31.1   -        (36.5   -    44.7   - )
 *
 * Q8_0 gains nothing (39.7 / 38.2) and is left to the processor. On Zen 4, into L2 and 8 KiB ahead,
 * Q5_K and Q8_0 lost 5 and 14 % with it (2026-11-28); L1 has not been measured there. With 8 rows,
 * 4 KiB ahead into L1 loses 11 to 18 % against 8 KiB into L2. */
#define LANES_AHEAD 8192
#define ONE_AHEAD 4096
static inline __attribute__((always_inline)) void lanes_ahead(const char *p, const int lines,
                                                              const int rows)
{
#pragma GCC unroll 16
    for (int i = 0; i < lines; i++)
        if (rows > 1)
            _mm_prefetch(p + LANES_AHEAD + 64 * i, _MM_HINT_T1);
        else
            _mm_prefetch(p + ONE_AHEAD + 64 * i, _MM_HINT_T0);
}

/* The nibbles of word k of a group of 32: its low ones, or its high ones. */
static inline __attribute__((always_inline)) __m512i lanes_nibble(__m512i v, const int high)
{
    return _mm512_and_si512(high ? _mm512_srli_epi16(v, 4) : v, _mm512_set1_epi8(15));
}

/* Moves the bits at `at` (0..7) of each byte to bit `to` and masks them. The mask drops bits that
 * cross into a neighbour. */
static inline __attribute__((always_inline)) __m512i lanes_bits(__m512i v, const int at,
                                                                const int to, const int mask)
{
    v = at > to ? _mm512_srli_epi16(v, (unsigned)(at - to))
                : _mm512_slli_epi16(v, (unsigned)(to - at));
    return _mm512_and_si512(v, _mm512_set1_epi8((char)mask));
}

/* A row of x in the form of these kernels. */
struct lanes_x {
    const int8_t *q;
    const int16_t *pair;
    const int32_t *off;
    const float *d;
};

static inline __attribute__((always_inline)) void
lanes_rows(const struct mm_x *x, int64_t r0, int nr, const int n, struct lanes_x *out)
{
    for (int i = 0; i < n; i++) { /* rows beyond nr repeat the last one */
        const int64_t r = r0 + (i < nr ? i : nr - 1);
        out[i] = (struct lanes_x){mm_x_q(x, r), mm_x_pair(x, r), mm_x_off(x, r), mm_x_d(x, r)};
    }
}

/* One group of 32 quants of Q4_K or Q5_K against n rows; s[i] = its sums. word: the first of its 8
 * words of low nibbles. high: the first of the 8 words of high bits. */
static inline __attribute__((always_inline)) void lanes_group_k(enum fmt fmt, const char *word,
                                                                const char *high, const int group,
                                                                const struct lanes_x *x, int64_t at,
                                                                const int n, __m512i *s)
{
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        s[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        __m512i w = lanes_nibble(lanes_load(word + 64 * k), group % 2);
        if (fmt == FMT_Q5_K)
            w = _mm512_or_si512(w, lanes_bits(lanes_load(high + 64 * k), group, 4, 16));
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            s[i] = vnni_dot4(s[i], w, x[i].q + at + 4 * k);
    }
}

/* The left-over f16s of block b; the block's words are at `strip`. */
static inline __attribute__((always_inline)) __m512 lanes_left(const char *strip, const int words,
                                                               int64_t b, int64_t n)
{
    const int64_t at = b % 2 ? 64 * words + 32 : b + 1 == n ? 64 * words : 2 * 64 * words;
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(strip + at)));
}

/* Adds block b's part to accumulator b % 8 of a row. */
static inline __attribute__((always_inline)) void lanes_add(__m512 *acc, __m512 d, __m512i dot)
{
    *acc = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(dot), *acc);
}

static inline __attribute__((always_inline)) void lanes_store(__m512 (*acc)[8], int nr, float *t)
{
    for (int i = 0; i < nr; i++)
        _mm512_storeu_ps(t + i * MM_TILE, lanes_sum8(acc[i]));
}

/* Q4_K, Q5_K. Computes n rows and stores nr <= n. n is 1, 2, 3, 4, 6 or 8, a constant after
 * inlining. */
static inline __attribute__((always_inline)) void lanes_k(const struct mm_x *x, const enum fmt fmt,
                                                          const char *strip, int64_t r0, int nr,
                                                          const int n, float *t)
{
    const int words = fmt == FMT_Q4_K ? 36 : 44, low = words - 32;
    const __m512i six = _mm512_set1_epi8(63), four = _mm512_set1_epi8(15),
                  top = _mm512_set1_epi8(48);
    __m512 acc[MM_ROWS][8];
    struct lanes_x row[MM_ROWS];
    lanes_rows(x, r0, nr, n, row);
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm512_setzero_ps();
    for (int64_t b = 0; b < x->n_in / 256; b++, strip += 64 * words) {
        const __m512i p = lanes_load(strip + 64), q = lanes_load(strip + 128),
                      r = lanes_load(strip + 192);
        const __m512i scale[2] = {_mm512_and_si512(p, six),
                                  _mm512_or_si512(_mm512_and_si512(r, four),
                                                  _mm512_and_si512(_mm512_srli_epi16(p, 2), top))};
        __m512i dot[MM_ROWS], s[MM_ROWS];
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            if (g % 2 == 0)
                lanes_ahead(strip + 16 * words * g / 2, words / 4, n);
            lanes_group_k(fmt, strip + 64 * (low + 8 * (g / 2)), strip + 64 * 4, g, row,
                          256 * b + 32 * g, n, s);
            const __m512i factor = lanes_byte(scale[g / 4], g % 4);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++) {
                s[i] = _mm512_mullo_epi32(s[i], factor);
                dot[i] = vnni_fence(g ? _mm512_add_epi32(dot[i], s[i]) : s[i]);
            }
        }
        const __m512i even = _mm512_set1_epi32(0x00ff00ff);
        const __m512i min0 = _mm512_and_si512(q, six),
                      min1 = _mm512_or_si512(lanes_nibble(r, 1),
                                             _mm512_and_si512(_mm512_srli_epi16(q, 2), top));
        const __m512i pair[4] = {_mm512_and_si512(min0, even), _mm512_srli_epi16(min0, 8),
                                 _mm512_and_si512(min1, even), _mm512_srli_epi16(min1, 8)};
        const __m512i ds = lanes_load(strip);
        const __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(ds)),
                     dmin = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(ds, 16)));
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            __m512i min = _mm512_setzero_si512();
            for (int k = 0; k < 4; k++)
                min = vnni_dot2(min, pair[k], row[i].pair + 8 * b + 2 * k);
            const __m512 dx = _mm512_set1_ps(row[i].d[b]);
            lanes_add(&acc[i][b % 8], _mm512_mul_ps(d, dx), dot[i]);
            acc[i][b % 8] =
                _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), _mm512_cvtepi32_ps(min), acc[i][b % 8]);
        }
    }
    lanes_store(acc, nr, t);
}

/* One group of 16 quants of Q6_K against n rows; s[i] = its sums, with the offset taken back. word:
 * the first of twelve words that hold this half of each quarter: four times one of high and two of
 * low. */
static inline __attribute__((always_inline)) void lanes_group_q6(const char *word,
                                                                 const int quarter, const int group,
                                                                 const struct lanes_x *x, int64_t b,
                                                                 const int n, __m512i *s)
{
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        s[i] = _mm512_set1_epi32(x[i].off[16 * b + group]);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        const __m512i low = lanes_load(word + 64 * (3 * k + 1 + quarter % 2)),
                      high = lanes_load(word + 64 * 3 * k);
        const __m512i w =
            _mm512_or_si512(lanes_nibble(low, quarter / 2), lanes_bits(high, 2 * quarter, 4, 48));
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            s[i] = vnni_dot4(s[i], w, x[i].q + 256 * b + 16 * group + 4 * k);
    }
}

static inline __attribute__((always_inline)) void
lanes_q6(const struct mm_x *x, const char *strip, int64_t r0, int nr, const int n, float *t)
{
    __m512 acc[MM_ROWS][8];
    struct lanes_x row[MM_ROWS];
    const int64_t blocks = x->n_in / 256;
    lanes_rows(x, r0, nr, n, row);
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b++, strip += 64 * 52 + (b % 2 ? 0 : 64)) {
        __m512i dot[MM_ROWS], s[MM_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            dot[i] = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int part = 0; part < 4; part++) /* half 0 with its two 16 of each quarter, half 1 */
#pragma GCC unroll 4
            for (int quarter = 0; quarter < 4; quarter++) {
                lanes_ahead(strip + 64 * (13 * part + 3 * quarter),
                            quarter == 3 ? 4 + (part == 3) : 3, n);
                const int group = part / 2 * 8 + 2 * quarter + part % 2;
                lanes_group_q6(strip + 64 * (4 + 12 * part), quarter, group, row, b, n, s);
                const __m512i factor =
                    lanes_signed_byte(lanes_load(strip + 64 * (group / 4)), group % 4);
#pragma GCC unroll 8
                for (int i = 0; i < n; i++)
                    dot[i] = vnni_fence(_mm512_add_epi32(dot[i], _mm512_mullo_epi32(s[i], factor)));
            }
        const __m512 d = lanes_left(strip, 52, b, blocks);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            lanes_add(&acc[i][b % 8], _mm512_mul_ps(d, _mm512_set1_ps(row[i].d[b])), dot[i]);
    }
    lanes_store(acc, nr, t);
}

/* Q4_0, Q8_0: blocks of 32, each with a scale. */
static inline __attribute__((always_inline)) void lanes_32(const struct mm_x *x, const enum fmt fmt,
                                                           const char *strip, int64_t r0, int nr,
                                                           const int n, float *t)
{
    const int words = fmt == FMT_Q4_0 ? 4 : 8;
    __m512 acc[MM_ROWS][8];
    struct lanes_x row[MM_ROWS];
    const int64_t blocks = x->n_in / 32;
    lanes_rows(x, r0, nr, n, row);
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b++, strip += 64 * words + (b % 2 ? 0 : 64)) {
        __m512i s[MM_ROWS];
        if (n > 1 || fmt == FMT_Q4_0)
            lanes_ahead(strip, words + 1, n);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) { /* -8 sums, or -128 */
            s[i] = _mm512_set1_epi32(row[i].off[b]);
            if (fmt == FMT_Q8_0)
                s[i] = _mm512_slli_epi32(s[i], 4);
        }
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            const __m512i v = lanes_load(strip + 64 * (k % words));
            const __m512i w = fmt == FMT_Q4_0 ? lanes_nibble(v, k / 4)
                                              : _mm512_xor_si512(v, _mm512_set1_epi8((char)0x80));
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                s[i] = vnni_dot4(s[i], w, row[i].q + 32 * b + 4 * k);
        }
        const __m512 d = lanes_left(strip, words, b, blocks);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            lanes_add(&acc[i][b % 8], _mm512_mul_ps(d, _mm512_set1_ps(row[i].d[b])), s[i]);
    }
    lanes_store(acc, nr, t);
}

#define LANES_CASE(n, call)                                                                        \
    case n:                                                                                        \
        call;                                                                                      \
        break
/* A function for each format, so that the compiler optimises one format at a time. */
#define LANES_TILE(name, call)                                                                     \
    static void name(const struct mm_x *x, const char *strip, int64_t r0, int nr, float *t)        \
    {                                                                                              \
        switch (nr <= 4 ? nr : nr <= 6 ? 6 : 8) {                                                  \
            LANES_CASE(1, call(1));                                                                \
            LANES_CASE(2, call(2));                                                                \
            LANES_CASE(3, call(3));                                                                \
            LANES_CASE(4, call(4));                                                                \
            LANES_CASE(6, call(6));                                                                \
        default:                                                                                   \
            call(8);                                                                               \
        }                                                                                          \
    }
#define LANES_Q4_K(n) lanes_k(x, FMT_Q4_K, strip, r0, nr, n, t)
#define LANES_Q5_K(n) lanes_k(x, FMT_Q5_K, strip, r0, nr, n, t)
#define LANES_Q6_K(n) lanes_q6(x, strip, r0, nr, n, t)
#define LANES_Q4_0(n) lanes_32(x, FMT_Q4_0, strip, r0, nr, n, t)
#define LANES_Q8_0(n) lanes_32(x, FMT_Q8_0, strip, r0, nr, n, t)
LANES_TILE(lanes_tile_q4_k, LANES_Q4_K)
LANES_TILE(lanes_tile_q5_k, LANES_Q5_K)
LANES_TILE(lanes_tile_q6_k, LANES_Q6_K)
LANES_TILE(lanes_tile_q4_0, LANES_Q4_0)
LANES_TILE(lanes_tile_q8_0, LANES_Q8_0)

static void lanes_strip(const struct mm_x *x, enum fmt fmt, const char *strip, int64_t r0, int nr,
                        float *t)
{
    switch (fmt) {
    case FMT_Q4_K:
        lanes_tile_q4_k(x, strip, r0, nr, t);
        break;
    case FMT_Q5_K:
        lanes_tile_q5_k(x, strip, r0, nr, t);
        break;
    case FMT_Q6_K:
        lanes_tile_q6_k(x, strip, r0, nr, t);
        break;
    case FMT_Q4_0:
        lanes_tile_q4_0(x, strip, r0, nr, t);
        break;
    case FMT_Q8_0:
        lanes_tile_q8_0(x, strip, r0, nr, t);
        break;
    default:
        UNREACHABLE("only quantised weights are packed");
    }
}

/* ---- one row of x -------------------------------------------------------------------------------
 * Nothing but reading counts, and a core reads two places at once faster than one after the other.
 * Each number of x is loaded for both. One thread, 28,672 rows of 4,096 columns, GB/s of two strips
 * / one, medians of five turns on AMD EPYC (Zen 4), 2026-11-28: Q4_K 26.6 / 24.6, Q6_K 22.4 / 19.9,
 * Q4_0 23.5 / 21.8. Two strips of Q8_0 gained nothing (22.6 / 23.7) and of Q5_K lost (13.5 / 20.7;
 * from the cache they are as fast): not understood. Two that lie side by side, and begin anew
 * after every strip, are slower than one. */
#define LANES_AT_ONCE 2
/* Loads a line, and asks for the one ONE_AHEAD later. */
static inline __attribute__((always_inline)) __m512i one_load(const char *p)
{
    _mm_prefetch(p + ONE_AHEAD, _MM_HINT_T0);
    return lanes_load(p);
}

static inline __attribute__((always_inline)) void one_clear(__m512 (*acc)[8])
{
    for (int i = 0; i < LANES_AT_ONCE; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm512_setzero_ps();
}

static inline __attribute__((always_inline)) void one_store(__m512 (*acc)[8],
                                                            float *const t[LANES_AT_ONCE])
{
    for (int i = 0; i < LANES_AT_ONCE; i++)
        _mm512_storeu_ps(t[i], lanes_sum8(acc[i]));
}

static void one_q4_k(const struct mm_x *x, const char *const strip[LANES_AT_ONCE], int64_t r,
                     float *const t[LANES_AT_ONCE])
{
    const __m512i six = _mm512_set1_epi8(63), four = _mm512_set1_epi8(15),
                  top = _mm512_set1_epi8(48);
    const __m512i even = _mm512_set1_epi32(0x00ff00ff);
    __m512 acc[LANES_AT_ONCE][8];
    struct lanes_x row;
    lanes_rows(x, r, 1, 1, &row);
    one_clear(acc);
    for (int64_t b = 0; b < x->n_in / 256; b++) {
        const size_t at = (size_t)b * 64 * 36;
        __m512i dot[LANES_AT_ONCE], scale[LANES_AT_ONCE][2], head[LANES_AT_ONCE][4];
#pragma GCC unroll 4
        for (int i = 0; i < LANES_AT_ONCE; i++) {
            for (int k = 0; k < 4; k++)
                head[i][k] = vnni_fence(one_load(strip[i] + at + 64 * (size_t)k));
            const __m512i p = head[i][1], h = head[i][3];
            scale[i][0] = _mm512_and_si512(p, six);
            scale[i][1] = _mm512_or_si512(_mm512_and_si512(h, four),
                                          _mm512_and_si512(_mm512_srli_epi16(p, 2), top));
        }
#pragma GCC unroll 4
        for (int g = 0; g < 8; g += 2) { /* two groups share their words */
            __m512i s[LANES_AT_ONCE][2];
#pragma GCC unroll 4
            for (int i = 0; i < LANES_AT_ONCE; i++)
                s[i][0] = s[i][1] = _mm512_setzero_si512();
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++) {
                const int8_t *q = row.q + 256 * b + 32 * g + 4 * k;
                const __m512i x0 = vnni_spread(q), x1 = vnni_spread(q + 32);
#pragma GCC unroll 4
                for (int i = 0; i < LANES_AT_ONCE; i++) {
                    const __m512i v = one_load(strip[i] + at + 64 * (4 + 4 * g + k));
                    s[i][0] = _mm512_dpbusd_epi32(s[i][0], lanes_nibble(v, 0), x0);
                    s[i][1] = _mm512_dpbusd_epi32(s[i][1], lanes_nibble(v, 1), x1);
                }
            }
#pragma GCC unroll 4
            for (int i = 0; i < LANES_AT_ONCE; i++)
#pragma GCC unroll 2
                for (int h = 0; h < 2; h++) {
                    const __m512i part =
                        _mm512_mullo_epi32(s[i][h], lanes_byte(scale[i][g / 4], (g + h) % 4));
                    dot[i] = vnni_fence(g + h ? _mm512_add_epi32(dot[i], part) : part);
                }
        }
#pragma GCC unroll 4
        for (int i = 0; i < LANES_AT_ONCE; i++) {
            const __m512i q = head[i][2], h = head[i][3];
            const __m512i min0 = _mm512_and_si512(q, six),
                          min1 = _mm512_or_si512(lanes_nibble(h, 1),
                                                 _mm512_and_si512(_mm512_srli_epi16(q, 2), top));
            const __m512i pair[4] = {_mm512_and_si512(min0, even), _mm512_srli_epi16(min0, 8),
                                     _mm512_and_si512(min1, even), _mm512_srli_epi16(min1, 8)};
            const __m512i ds = head[i][0];
            const __m512 d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(ds)),
                         dmin = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(ds, 16)));
            const __m512 dx = _mm512_set1_ps(row.d[b]);
            __m512i min = _mm512_setzero_si512();
            for (int k = 0; k < 4; k++)
                min = vnni_dot2(min, pair[k], row.pair + 8 * b + 2 * k);
            lanes_add(&acc[i][b % 8], _mm512_mul_ps(d, dx), dot[i]);
            acc[i][b % 8] =
                _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), _mm512_cvtepi32_ps(min), acc[i][b % 8]);
        }
    }
    one_store(acc, t);
}

static void one_q6_k(const struct mm_x *x, const char *const strip[LANES_AT_ONCE], int64_t r,
                     float *const t[LANES_AT_ONCE])
{
    const int64_t blocks = x->n_in / 256;
    __m512 acc[LANES_AT_ONCE][8];
    struct lanes_x row;
    size_t at = 0;
    lanes_rows(x, r, 1, 1, &row);
    one_clear(acc);
    for (int64_t b = 0; b < blocks; b++, at += 64 * 52 + (b % 2 ? 0 : 64)) {
        __m512i dot[LANES_AT_ONCE], s[LANES_AT_ONCE][4], scale[LANES_AT_ONCE][4];
#pragma GCC unroll 4
        for (int i = 0; i < LANES_AT_ONCE; i++) {
            dot[i] = _mm512_setzero_si512();
            for (int k = 0; k < 4; k++) /* loaded here, so that lines are read in their order */
                scale[i][k] = vnni_fence(one_load(strip[i] + at + 64 * (size_t)k));
        }
#pragma GCC unroll 4
        for (int part = 0; part < 4; part++) {
            const int first = part / 2 * 8 + part % 2; /* its groups: first, + 2, + 4, + 6 */
#pragma GCC unroll 4
            for (int quarter = 0; quarter < 4; quarter++)
#pragma GCC unroll 4
                for (int i = 0; i < LANES_AT_ONCE; i++)
                    s[i][quarter] = _mm512_set1_epi32(row.off[16 * b + first + 2 * quarter]);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                const int8_t *q = row.q + 256 * b + 16 * first + 4 * k;
#pragma GCC unroll 4
                for (int i = 0; i < LANES_AT_ONCE; i++) {
                    const char *word = strip[i] + at + 64 * (4 + 12 * part + 3 * k);
                    const __m512i high = one_load(word),
                                  low[2] = {one_load(word + 64), one_load(word + 128)};
#pragma GCC unroll 4
                    for (int quarter = 0; quarter < 4; quarter++)
                        s[i][quarter] =
                            vnni_dot4(s[i][quarter],
                                      _mm512_or_si512(lanes_nibble(low[quarter % 2], quarter / 2),
                                                      lanes_bits(high, 2 * quarter, 4, 48)),
                                      q + 32 * quarter);
                }
            }
#pragma GCC unroll 4
            for (int quarter = 0; quarter < 4; quarter++) {
                const int group = first + 2 * quarter;
#pragma GCC unroll 4
                for (int i = 0; i < LANES_AT_ONCE; i++) {
                    const __m512i factor = lanes_signed_byte(scale[i][group / 4], group % 4);
                    dot[i] = vnni_fence(
                        _mm512_add_epi32(dot[i], _mm512_mullo_epi32(s[i][quarter], factor)));
                }
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < LANES_AT_ONCE; i++)
            lanes_add(
                &acc[i][b % 8],
                _mm512_mul_ps(lanes_left(strip[i] + at, 52, b, blocks), _mm512_set1_ps(row.d[b])),
                dot[i]);
    }
    one_store(acc, t);
}

static void one_q4_0(const struct mm_x *x, const char *const strip[LANES_AT_ONCE], int64_t r,
                     float *const t[LANES_AT_ONCE])
{
    const int64_t blocks = x->n_in / 32;
    __m512 acc[LANES_AT_ONCE][8];
    struct lanes_x row;
    size_t at = 0;
    lanes_rows(x, r, 1, 1, &row);
    one_clear(acc);
    for (int64_t b = 0; b < blocks; b++, at += 64 * 4 + (b % 2 ? 0 : 64)) {
        __m512i s[LANES_AT_ONCE];
#pragma GCC unroll 4
        for (int i = 0; i < LANES_AT_ONCE; i++)
            s[i] = _mm512_set1_epi32(row.off[b]);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            const __m512i y = vnni_spread(row.q + 32 * b + 4 * k);
#pragma GCC unroll 4
            for (int i = 0; i < LANES_AT_ONCE; i++) {
                const __m512i v = k < 4 ? one_load(strip[i] + at + 64 * (size_t)k)
                                        : lanes_load(strip[i] + at + 64 * (size_t)(k % 4));
                s[i] = _mm512_dpbusd_epi32(s[i], lanes_nibble(v, k / 4), y);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < LANES_AT_ONCE; i++)
            lanes_add(
                &acc[i][b % 8],
                _mm512_mul_ps(lanes_left(strip[i] + at, 4, b, blocks), _mm512_set1_ps(row.d[b])),
                s[i]);
    }
    one_store(acc, t);
}

static int lanes_several(enum fmt fmt)
{
    return fmt == FMT_Q4_K || fmt == FMT_Q6_K || fmt == FMT_Q4_0 ? LANES_AT_ONCE : 0;
}

static void lanes_strips(const struct mm_x *x, enum fmt fmt, const char *const strip[LANES_AT_ONCE],
                         int64_t r, float *const t[LANES_AT_ONCE])
{
    if (fmt == FMT_Q4_K)
        one_q4_k(x, strip, r, t);
    else if (fmt == FMT_Q6_K)
        one_q6_k(x, strip, r, t);
    else
        one_q4_0(x, strip, r, t);
}

/* ---- packing --------------------------------------------------------------------------------- */

/* out[k] lane j = in[j] lane k */
static inline void lanes_transpose(const __m512i in[16], __m512i out[16])
{
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int h = 0; h < 2; h++) {
            b[i + 2 * h] = _mm512_unpacklo_epi64(a[i + h], a[i + h + 2]);
            b[i + 2 * h + 1] = _mm512_unpackhi_epi64(a[i + h], a[i + h + 2]);
        }
    /* b[4g + c] holds columns c, c+4, c+8, c+12 of rows 4g .. 4g+3, 128 bits each */
    for (int c = 0; c < 4; c++) {
        __m512i p = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x44),
                q = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xee);
        __m512i r = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x44);
        __m512i s = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xee);
        out[c] = _mm512_shuffle_i32x4(p, r, 0x88);
        out[4 + c] = _mm512_shuffle_i32x4(p, r, 0xdd);
        out[8 + c] = _mm512_shuffle_i32x4(q, s, 0x88);
        out[12 + c] = _mm512_shuffle_i32x4(q, s, 0xdd);
    }
}

/* lanes_pack, up to sixteen words of sixteen rows at a time. */
static void lanes_pack512(const struct lanes *l, const char *const row[LANES], int64_t n,
                          void *strip)
{
    const int64_t blocks = n / l->elems;
    for (int64_t b = 0; b < blocks; b++) {
        const size_t at = (size_t)b * l->bytes;
        char *word = (char *)strip + lanes_words_at(l, b),
             *left = (char *)strip + lanes_left_at(l, b, blocks);
        for (int w = 0; w < l->words; w += 16) {
            const int m = l->words - w < 16 ? l->words - w : 16;
            const __mmask16 some = (__mmask16)((1u << m) - 1);
            __m512i in[16], out[16];
            for (int j = 0; j < LANES; j++)
                in[j] = _mm512_maskz_loadu_epi32(some, row[j] + at + l->word_at + 4 * (size_t)w);
            lanes_transpose(in, out);
            for (int k = 0; k < m; k++)
                _mm512_storeu_si512(word + 4 * LANES * lanes_place(l, w + k), out[k]);
        }
        for (int j = 0; l->left && j < LANES; j++)
            memcpy(left + 2 * j, row[j] + at + l->left_at, 2);
    }
}
