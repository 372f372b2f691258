/*
 * body_lanes256: matmul with AVX2 on strips of sixteen weight rows (lanes.h), eight rows of a strip
 * at a time: one half of each line. As in body_lanes512.h a 32-bit lane belongs to one weight row,
 * so that no sum crosses lanes.
 *
 * vpmaddubsw gives two int16 sums of two products a lane. They are added as int16 as long as they
 * fit: eight, four and two of them for quants of 4, 5 and 6 bits times 127. Then vpmaddwd
 * multiplies by the scale and adds the halves. Q8_0's quants are signed: |w| is multiplied by x
 * with w's sign, and two such sums do not fit.
 *
 * With AVX-VNNI (HALF_VNNI) vpdpbusd makes four products a lane and sums them as int32, as in
 * body_lanes512.h. The integers are those of cpu_matmul.c, and so are the bits. Included by
 * cpu_kernel_avx2.c and cpu_kernel_avxvnni.c only.
 */

/* rows of x that an unpacked word is multiplied with; more do not fit in 16 registers */
#define HALF_ROWS 4

static inline __m256i half_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* The four bytes at p in every lane. */
static inline __m256i half_spread(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

#if defined(__AVXVNNI__)
#define HALF_DPBUSD _mm256_dpbusd_avx_epi32
#else
#define HALF_DPBUSD _mm256_dpbusd_epi32
#endif

/* s + the products of four unsigned bytes of w with the four signed ones at p, in each lane. */
static inline __attribute__((always_inline)) __m256i half_dot4(__m256i s, __m256i w, const void *p)
{
#if HALF_VNNI
    return HALF_DPBUSD(s, w, half_spread(p));
#else
    (void)w, (void)p;
    UNREACHABLE("no AVX-VNNI here");
    return s;
#endif
}

static inline __attribute__((always_inline)) __m256i half_nibble(__m256i v, const int high)
{
    return _mm256_and_si256(high ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
}

/* As lanes_bits of body_lanes512.h. */
static inline __attribute__((always_inline)) __m256i half_bits(__m256i v, const int at,
                                                               const int to, const int mask)
{
    v = at > to ? _mm256_srli_epi16(v, at - to) : _mm256_slli_epi16(v, to - at);
    return _mm256_and_si256(v, _mm256_set1_epi8((char)mask));
}

/* Byte i (0..255) of each lane as both of its int16. */
static inline __attribute__((always_inline)) __m256i half_byte(__m256i v, const int i)
{
    const int one = 0x8000 | i, both = (int)((unsigned)one << 16 | (unsigned)one);
    const __m256i base = _mm256_setr_epi8(0, 0, 0, 0, 4, 0, 4, 0, 8, 0, 8, 0, 12, 0, 12, 0, 0, 0, 0,
                                          0, 4, 0, 4, 0, 8, 0, 8, 0, 12, 0, 12, 0);
    return _mm256_shuffle_epi8(v, _mm256_add_epi8(base, _mm256_set1_epi32(both)));
}

/* Byte i (-128..127) of each lane as both of its int16. */
static inline __attribute__((always_inline)) __m256i half_signed_byte(__m256i v, const int i)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(half_byte(v, i), 8), 8);
}

/* Byte i of each lane as its int32: 0..255, or -128..127. */
static inline __attribute__((always_inline)) __m256i half_byte32(__m256i v, const int i)
{
    return i == 3 ? _mm256_srli_epi32(v, 24)
                  : _mm256_and_si256(_mm256_srli_epi32(v, 8 * i), _mm256_set1_epi32(255));
}
static inline __attribute__((always_inline)) __m256i half_signed_byte32(__m256i v, const int i)
{
    return _mm256_srai_epi32(_mm256_slli_epi32(v, 24 - 8 * i), 24);
}

/* The low int16 of each lane is an f16. */
static inline __m256 half_f16(__m256i v)
{
    v = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    return _mm256_cvtph_ps(
        _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

static inline __m256 half_sum8(const __m256 a[8])
{
    return _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(a[0], a[4]), _mm256_add_ps(a[2], a[6])),
                         _mm256_add_ps(_mm256_add_ps(a[1], a[5]), _mm256_add_ps(a[3], a[7])));
}

/* Prefetches a page or two ahead, into L2 (lanes_ahead of body_lanes512.h). */
static inline __attribute__((always_inline)) void half_ahead(const char *p, const int lines)
{
    for (int i = 0; i < lines; i++)
        _mm_prefetch(p + 8192 + 64 * i, _MM_HINT_T1);
}

struct half_x {
    const int8_t *q;
    const int16_t *sum, *pair;
    const int32_t *off;
    const float *d;
};

static inline __attribute__((always_inline)) void half_rows(const struct mm_x *x, int64_t r0,
                                                            int nr, const int n, struct half_x *out)
{
    for (int i = 0; i < n; i++) { /* rows beyond nr repeat the last one */
        const int64_t r = r0 + (i < nr ? i : nr - 1);
        out[i] = (struct half_x){mm_x_q(x, r), mm_x_sum(x, r), mm_x_pair(x, r), mm_x_off(x, r),
                                 mm_x_d(x, r)};
    }
}

static inline __attribute__((always_inline)) void half_clear(__m256 (*acc)[8], const int n)
{
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm256_setzero_ps();
}

static inline __attribute__((always_inline)) void half_store(__m256 (*acc)[8], int nr, float *t)
{
    for (int i = 0; i < nr; i++)
        _mm256_storeu_ps(t + i * MM_TILE, half_sum8(acc[i]));
}

/* Q4_K, Q5_K: one half of a strip, at `strip`, against n rows. n is 1, 2 or 4, a constant after
 * inlining. */
static inline __attribute__((always_inline)) void half_k(const struct mm_x *x, const enum fmt fmt,
                                                         const char *strip, int64_t r0, int nr,
                                                         bool ahead, const int n, float *t)
{
    const int words = fmt == FMT_Q4_K ? 36 : 44, low = words - 32, fit = fmt == FMT_Q4_K ? 8 : 4;
    const __m256i six = _mm256_set1_epi8(63), top = _mm256_set1_epi8(48),
                  even = _mm256_set1_epi32(0x00ff00ff);
    __m256 acc[HALF_ROWS][8];
    struct half_x row[HALF_ROWS];
    half_rows(x, r0, nr, n, row);
    half_clear(acc, n);
    for (int64_t b = 0; b < x->n_in / 256; b++, strip += 64 * words) {
        const __m256i p = half_load(strip + 64), q = half_load(strip + 128),
                      r = half_load(strip + 192);
        const __m256i scale[2] = {
            _mm256_and_si256(p, six),
            _mm256_or_si256(half_nibble(r, 0), _mm256_and_si256(_mm256_srli_epi16(p, 2), top))};
        __m256i dot[HALF_ROWS], s[HALF_ROWS];
        for (int i = 0; i < n; i++)
            dot[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++) {
            if (ahead && g % 2 == 0)
                half_ahead(strip + 16 * words * g / 2, words / 4);
            const __m256i factor =
                HALF_VNNI ? half_byte32(scale[g / 4], g % 4) : half_byte(scale[g / 4], g % 4);
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++) {
                __m256i w = half_nibble(half_load(strip + 64 * (low + 8 * (g / 2) + k)), g % 2);
                if (fmt == FMT_Q5_K)
                    w = _mm256_or_si256(w, half_bits(half_load(strip + 64 * (4 + k)), g, 4, 16));
#pragma GCC unroll 4
                for (int i = 0; i < n; i++) {
                    const int8_t *four = row[i].q + 256 * b + 32 * g + 4 * k;
                    if (HALF_VNNI) {
                        s[i] = half_dot4(k ? s[i] : _mm256_setzero_si256(), w, four);
                        if (k == 7)
                            dot[i] = _mm256_add_epi32(dot[i], _mm256_mullo_epi32(s[i], factor));
                        continue;
                    }
                    const __m256i two = _mm256_maddubs_epi16(w, half_spread(four));
                    s[i] = k % fit ? _mm256_add_epi16(s[i], two) : two;
                    if (k % fit == fit - 1)
                        dot[i] = _mm256_add_epi32(dot[i], _mm256_madd_epi16(s[i], factor));
                }
            }
        }
        const __m256i min0 = _mm256_and_si256(q, six),
                      min1 = _mm256_or_si256(half_nibble(r, 1),
                                             _mm256_and_si256(_mm256_srli_epi16(q, 2), top));
        const __m256i pair[4] = {_mm256_and_si256(min0, even), _mm256_srli_epi16(min0, 8),
                                 _mm256_and_si256(min1, even), _mm256_srli_epi16(min1, 8)};
        const __m256i ds = half_load(strip);
        const __m256 d = half_f16(ds), dmin = half_f16(_mm256_srli_epi32(ds, 16));
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            __m256i min = _mm256_setzero_si256();
            for (int k = 0; k < 4; k++)
                min = _mm256_add_epi32(
                    min, _mm256_madd_epi16(pair[k], half_spread(row[i].pair + 8 * b + 2 * k)));
            const __m256 dx = _mm256_set1_ps(row[i].d[b]);
            __m256 *to = &acc[i][b % 8];
            *to = _mm256_fmadd_ps(_mm256_mul_ps(d, dx), _mm256_cvtepi32_ps(dot[i]), *to);
            *to = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, dx), _mm256_cvtepi32_ps(min), *to);
        }
    }
    half_store(acc, nr, t);
}

/* The left-over f16s of block b, of this half. The block's words are at `strip`. */
static inline __attribute__((always_inline)) __m256 half_left(const char *strip, const int half,
                                                              const int words, int64_t b, int64_t n)
{
    const int64_t at = b % 2 ? 64 * words + 32 : b + 1 == n ? 64 * words : 2 * 64 * words;
    return _mm256_cvtph_ps(
        _mm_loadu_si128((const __m128i *)(const void *)(strip - 32 * half + at + 16 * half)));
}

static inline __attribute__((always_inline)) void half_q6(const struct mm_x *x, const char *strip,
                                                          const int half, int64_t r0, int nr,
                                                          bool ahead, const int n, float *t)
{
    const int64_t blocks = x->n_in / 256;
    __m256 acc[HALF_ROWS][8];
    struct half_x row[HALF_ROWS];
    half_rows(x, r0, nr, n, row);
    half_clear(acc, n);
    for (int64_t b = 0; b < blocks; b++, strip += 64 * 52 + (b % 2 ? 0 : 64)) {
        __m256i dot[HALF_ROWS], s[HALF_ROWS];
        for (int i = 0; i < n; i++)
            dot[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (int part = 0; part < 4; part++)
#pragma GCC unroll 4
            for (int quarter = 0; quarter < 4; quarter++) {
                const int group = part / 2 * 8 + 2 * quarter + part % 2;
                if (ahead)
                    half_ahead(strip + 64 * (13 * part + 3 * quarter),
                               quarter == 3 ? 4 + (part == 3) : 3);
                const __m256i bytes = half_load(strip + 64 * (group / 4));
                const __m256i factor = HALF_VNNI ? half_signed_byte32(bytes, group % 4)
                                                 : half_signed_byte(bytes, group % 4);
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++) {
                    const char *word = strip + 64 * (4 + 12 * part + 3 * k);
                    const __m256i w = _mm256_or_si256(
                        half_nibble(half_load(word + 64 * (1 + quarter % 2)), quarter / 2),
                        half_bits(half_load(word), 2 * quarter, 4, 48));
#pragma GCC unroll 4
                    for (int i = 0; i < n; i++) {
                        const int8_t *four = row[i].q + 256 * b + 16 * group + 4 * k;
                        if (HALF_VNNI) {
                            s[i] = half_dot4(
                                k ? s[i] : _mm256_set1_epi32(row[i].off[16 * b + group]), w, four);
                            if (k == 3)
                                dot[i] = _mm256_add_epi32(dot[i], _mm256_mullo_epi32(s[i], factor));
                            continue;
                        }
                        const __m256i two = _mm256_maddubs_epi16(w, half_spread(four));
                        s[i] = k % 2 ? _mm256_add_epi16(s[i], two) : two;
                        if (k % 2)
                            dot[i] = _mm256_add_epi32(dot[i], _mm256_madd_epi16(s[i], factor));
                    }
                }
            }
#pragma GCC unroll 8
        /* 32 times the scales of two groups, against their sums */
        for (int g = 0; g < 16 && !HALF_VNNI; g += 2) {
            const __m256i bytes = half_load(strip + 64 * (g / 4));
            const __m256i a = half_signed_byte(bytes, g % 4),
                          c = half_signed_byte(bytes, g % 4 + 1);
            const __m256i both = _mm256_slli_epi16(_mm256_blend_epi16(a, c, 0xaa), 5);
#pragma GCC unroll 4
            for (int i = 0; i < n; i++)
                dot[i] = _mm256_sub_epi32(
                    dot[i], _mm256_madd_epi16(both, half_spread(row[i].sum + 16 * b + g)));
        }
        const __m256 d = half_left(strip, half, 52, b, blocks);
#pragma GCC unroll 4
        for (int i = 0; i < n; i++)
            acc[i][b % 8] = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(row[i].d[b])),
                                            _mm256_cvtepi32_ps(dot[i]), acc[i][b % 8]);
    }
    half_store(acc, nr, t);
}

static inline __attribute__((always_inline)) void half_32(const struct mm_x *x, const enum fmt fmt,
                                                          const char *strip, const int half,
                                                          int64_t r0, int nr, bool ahead,
                                                          const int n, float *t)
{
    const int words = fmt == FMT_Q4_0 ? 4 : 8;
    const int64_t blocks = x->n_in / 32;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 acc[HALF_ROWS][8];
    struct half_x row[HALF_ROWS];
    half_rows(x, r0, nr, n, row);
    half_clear(acc, n);
    for (int64_t b = 0; b < blocks; b++, strip += 64 * words + (b % 2 ? 0 : 64)) {
        __m256i s[HALF_ROWS], dot[HALF_ROWS];
        if (ahead)
            half_ahead(strip, words + 1);
        for (int i = 0; i < n; i++) {
            dot[i] = fmt == FMT_Q4_0 || HALF_VNNI ? _mm256_set1_epi32(row[i].off[b])
                                                  : _mm256_setzero_si256();
            if (fmt == FMT_Q8_0 && HALF_VNNI) /* -128 sums instead of -8 */
                dot[i] = _mm256_slli_epi32(dot[i], 4);
        }
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            const __m256i v = half_load(strip + 64 * (k % words));
            const __m256i w = fmt == FMT_Q4_0 ? half_nibble(v, k / 4)
                              : HALF_VNNI     ? _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80))
                                              : _mm256_abs_epi8(v); /* 0..128 */
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                if (HALF_VNNI) {
                    dot[i] = half_dot4(dot[i], w, row[i].q + 32 * b + 4 * k);
                    continue;
                }
                __m256i y = half_spread(row[i].q + 32 * b + 4 * k);
                if (fmt == FMT_Q8_0)
                    y = _mm256_sign_epi8(y, v);
                const __m256i two = _mm256_maddubs_epi16(w, y);
                if (fmt == FMT_Q4_0)
                    s[i] = k ? _mm256_add_epi16(s[i], two) : two;
                if (fmt == FMT_Q8_0 || k == 7)
                    dot[i] = _mm256_add_epi32(
                        dot[i], _mm256_madd_epi16(fmt == FMT_Q8_0 ? two : s[i], ones));
            }
        }
        const __m256 d = half_left(strip, half, words, b, blocks);
#pragma GCC unroll 4
        for (int i = 0; i < n; i++)
            acc[i][b % 8] = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(row[i].d[b])),
                                            _mm256_cvtepi32_ps(dot[i]), acc[i][b % 8]);
    }
    half_store(acc, nr, t);
}

/* Both halves, HALF_ROWS rows at a time; a function for each format. */
#define HALF_TILE(name, call)                                                                      \
    static void name(const struct mm_x *x, const char *strip, int64_t r0, int nr, float *t)        \
    {                                                                                              \
        for (int at = 0; at < nr; at += HALF_ROWS, r0 += HALF_ROWS, t += HALF_ROWS * MM_TILE)      \
            for (int half = 0; half < 2; half++) {                                                 \
                const int m = nr - at < HALF_ROWS ? nr - at : HALF_ROWS;                           \
                if (m == 1)                                                                        \
                    call(1);                                                                       \
                else if (m == 2)                                                                   \
                    call(2);                                                                       \
                else                                                                               \
                    call(4);                                                                       \
            }                                                                                      \
    }
#define HALF_Q4_K(n) half_k(x, FMT_Q4_K, strip + 32 * half, r0, m, at + half == 0, n, t + 8 * half)
#define HALF_Q5_K(n) half_k(x, FMT_Q5_K, strip + 32 * half, r0, m, at + half == 0, n, t + 8 * half)
#define HALF_Q6_K(n) half_q6(x, strip + 32 * half, half, r0, m, at + half == 0, n, t + 8 * half)
#define HALF_Q4_0(n)                                                                               \
    half_32(x, FMT_Q4_0, strip + 32 * half, half, r0, m, at + half == 0, n, t + 8 * half)
#define HALF_Q8_0(n)                                                                               \
    half_32(x, FMT_Q8_0, strip + 32 * half, half, r0, m, at + half == 0, n, t + 8 * half)
HALF_TILE(half_tile_q4_k, HALF_Q4_K)
HALF_TILE(half_tile_q5_k, HALF_Q5_K)
HALF_TILE(half_tile_q6_k, HALF_Q6_K)
HALF_TILE(half_tile_q4_0, HALF_Q4_0)
HALF_TILE(half_tile_q8_0, HALF_Q8_0)

static void half_strip(const struct mm_x *x, enum fmt fmt, const char *strip, int64_t r0, int nr,
                       float *t)
{
    switch (fmt) {
    case FMT_Q4_K:
        half_tile_q4_k(x, strip, r0, nr, t);
        break;
    case FMT_Q5_K:
        half_tile_q5_k(x, strip, r0, nr, t);
        break;
    case FMT_Q6_K:
        half_tile_q6_k(x, strip, r0, nr, t);
        break;
    case FMT_Q4_0:
        half_tile_q4_0(x, strip, r0, nr, t);
        break;
    case FMT_Q8_0:
        half_tile_q8_0(x, strip, r0, nr, t);
        break;
    default:
        UNREACHABLE("only quantised weights are packed");
    }
}
