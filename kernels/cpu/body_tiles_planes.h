/*
 * body_tiles_planes: weights of a block of 256 as bytes for matrix tiles (body_tiles.h). Scales of
 * groups are multiplied into the quants, so that a block has one sum. The products need more than
 * a byte, so they become two planes of bytes:
 *
 *   PLANES_K     Q4_K, Q5_K: scale = 8 s1 + s0; the planes are q s1 and q s0, unsigned, at most
 *                217. The sum is 8 times the first plane's and the second's.
 *   PLANES_256   the others: the high byte of q scale, signed, and the low byte, unsigned. The
 *                products take 13 to 15 bits.
 *   PLANES_Q2    Q2_K: the products fit in a byte, 0 .. 45. One plane.
 *   PLANES_Q3    Q3_K: the same, 127 larger: 3 .. 255. One plane.
 *
 * A line of a strip is a line of a plane, and sixteen lines (64 elements) are a tile. Included by
 * cpu_kernel_amx.c only.
 */
#include "body_unpack.h"

enum planes_kind { PLANES_K, PLANES_256, PLANES_Q2, PLANES_Q3 };

/* Both planes of one strip. */
struct planes {
    _Alignas(64) uint8_t q[2][4][16][UNPACKED_LINE];
};

/* The end of a block in f32, and its minimums. */
struct planes_head {
    _Alignas(64) float d[16], m[16];
    __m512i min[4]; /* Q4_K, Q5_K: pairs of int16 in the order of pair */
    /* Q2_K: a tile for the sums of struct tiles_x256: four lines of minimums, then 16 times them */
    uint8_t tile[16][UNPACKED_LINE];
};

#define PLANES_INLINE static inline __attribute__((always_inline))

PLANES_INLINE __m512i planes_line(const char *p)
{
    return _mm512_loadu_si512(p);
}

/* Moves the bits at `at` of each byte to bit `to`, without a mask. */
PLANES_INLINE __m512i planes_shift(__m512i v, const int at, const int to)
{
    return at > to ? _mm512_srli_epi16(v, (unsigned)(at - to))
                   : _mm512_slli_epi16(v, (unsigned)(to - at));
}

/* The bits of a where mask has ones, those of b elsewhere. */
PLANES_INLINE __m512i planes_choose(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

/* Byte g of each lane, twice: at its bytes 0 and 2, or (odd) at 1 and 3. Zero elsewhere. */
PLANES_INLINE __m512i planes_scale(__m512i v, const int g, const bool odd)
{
    static const uint8_t even_at[16] = {0, 128, 0, 128, 4,  128, 4,  128,
                                        8, 128, 8, 128, 12, 128, 12, 128},
                         odd_at[16] = {128, 0, 128, 0, 128, 4,  128, 4,
                                       128, 8, 128, 8, 128, 12, 128, 12};
    const __m512i at =
        _mm512_add_epi8((__m512i)part_sixteen(odd ? odd_at : even_at), _mm512_set1_epi8((char)g));
    return _mm512_shuffle_epi8(v, at);
}

/* ---- Q4_K, Q5_K ------------------------------------------------------------------------------ */

struct planes_scales {
    __m512i s1[2], s0[2]; /* byte g of a row's word: group 4 i + g */
};

PLANES_INLINE void planes_head_k(const char *word, struct planes_head *h, struct planes_scales *s)
{
    const __m512i six = _mm512_set1_epi8(63), four = _mm512_set1_epi8(15),
                  top = _mm512_set1_epi8(48), seven = _mm512_set1_epi8(7),
                  even = _mm512_set1_epi32(0x00ff00ff);
    const __m512i p = planes_line(word + 64), q = planes_line(word + 128),
                  r = planes_line(word + 192), ds = planes_line(word);
    const __m512i scale[2] = {
        _mm512_and_si512(p, six),
        _mm512_or_si512(_mm512_and_si512(r, four), _mm512_and_si512(_mm512_srli_epi16(p, 2), top))};
    const __m512i min[2] = {_mm512_and_si512(q, six),
                            _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(r, 4), four),
                                            _mm512_and_si512(_mm512_srli_epi16(q, 2), top))};
    for (int i = 0; i < 2; i++) {
        s->s0[i] = _mm512_and_si512(scale[i], seven);
        s->s1[i] = _mm512_and_si512(_mm512_srli_epi16(scale[i], 3), seven);
        h->min[2 * i] = _mm512_and_si512(min[i], even);
        h->min[2 * i + 1] = _mm512_srli_epi16(min[i], 8);
    }
    _mm512_store_ps(h->d, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(ds)));
    _mm512_store_ps(h->m, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(ds, 16))));
}

/* Tile t of both planes: groups 2 t and 2 t + 1. A product of 16 bits is two of bytes, because that
 * of the lower byte carries nothing. */
PLANES_INLINE void planes_tile_k(const enum fmt fmt, const char *word, const int t,
                                 const struct planes_scales *s, struct planes *out)
{
    const int low = fmt == FMT_Q4_K ? 4 : 12;
    const __m512i four = _mm512_set1_epi8(15), fifth = _mm512_set1_epi8(16);
    __m512i s1[2], s0[2];
    for (int g = 0; g < 2; g++) {
        const int at = 2 * t % 4 + g;
        s1[g] = planes_scale(s->s1[t / 2], at, false);
        s0[g] = planes_scale(s->s0[t / 2], at, false);
    }
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        const __m512i v = planes_line(word + 64 * (low + 8 * t + k));
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++) {
            __m512i q = _mm512_and_si512(g ? _mm512_srli_epi16(v, 4) : v, four);
            if (fmt == FMT_Q5_K)
                q = _mm512_or_si512(
                    q, _mm512_and_si512(
                           planes_shift(planes_line(word + 64 * (4 + k)), 2 * t + g, 4), fifth));
            _mm512_store_si512(out->q[0][t][8 * g + k], _mm512_mullo_epi16(q, s1[g]));
            _mm512_store_si512(out->q[1][t][8 * g + k], _mm512_mullo_epi16(q, s0[g]));
        }
    }
}

/* ---- two bytes of a product ------------------------------------------------------------------ */

/* even, odd: products of the even and of the odd bytes, as int16. */
PLANES_INLINE void planes_store_two(__m512i even, __m512i odd, uint8_t *high, uint8_t *low)
{
    const __m512i lower = _mm512_set1_epi16(255);
    _mm512_store_si512(low, planes_choose(lower, even, _mm512_slli_epi16(odd, 8)));
    _mm512_store_si512(high, planes_choose(lower, _mm512_srli_epi16(even, 8), odd));
}

/* Q6_K: groups 8 (part / 2) + 2 quarter + part % 2, which lie in tiles 2 (part / 2) and the next
 * one. */
PLANES_INLINE void planes_part_q6(const char *word, const int part, struct planes *out)
{
    const __m512i four = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const char *s = word + 64 * (4 + 12 * part);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; quarter++) {
        const int g = part / 2 * 8 + 2 * quarter + part % 2;
        const __m512i scales = planes_line(word + 64 * (g / 4)),
                      even = planes_scale(scales, g % 4, false),
                      odd = planes_scale(scales, g % 4, true),
                      less = _mm512_srai_epi16(_mm512_slli_epi16(even, 8), 3); /* 32 scale */
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            const __m512i high = planes_line(s + 64 * 3 * k),
                          low = planes_line(s + 64 * (3 * k + 1 + quarter % 2));
            const __m512i q =
                _mm512_and_si512(planes_choose(four, quarter / 2 ? _mm512_srli_epi16(low, 4) : low,
                                               planes_shift(high, 2 * quarter, 4)),
                                 six);
            const int line = g % 4 * 4 + k;
            planes_store_two(_mm512_sub_epi16(_mm512_maddubs_epi16(q, even), less),
                             _mm512_sub_epi16(_mm512_maddubs_epi16(q, odd), less),
                             out->q[0][g / 4][line], out->q[1][g / 4][line]);
        }
    }
}

/* IQ4_XS, IQ3 and IQ2, unpacked before. */
PLANES_INLINE void planes_fold(const struct unpacked_256 *u, struct planes *out)
{
    for (int t = 0; t < 4; t++) {
        const __m512i scales = _mm512_loadu_si512(u->scale[t]);
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            const __m512i s =
                _mm512_srai_epi16(_mm512_slli_epi16(planes_scale(scales, g, false), 8), 8);
#pragma GCC unroll 4
            for (int k = 4 * g; k < 4 * g + 4; k++) {
                const __m512i q = _mm512_loadu_si512(u->q[16 * t + k]),
                              even = _mm512_srai_epi16(_mm512_slli_epi16(q, 8), 8),
                              odd = _mm512_srai_epi16(q, 8);
                planes_store_two(_mm512_mullo_epi16(even, s), _mm512_mullo_epi16(odd, s),
                                 out->q[0][t][k], out->q[1][t][k]);
            }
        }
    }
}

/* ---- a block, in steps ----------------------------------------------------------------------- */

/* The source of the next block's planes. */
struct planes_source {
    const struct unpack *from; /* of the strip */
    const char *word;          /* Q4_K, Q5_K, Q6_K: the block's words. NULL: there is no block */
    const char *left;          /* Q6_K: its d */
    int64_t block;
    struct planes_scales scales; /* Q4_K, Q5_K */
    struct unpacked_256 *buffer; /* the others */
};

/* The heads of block b of a strip. Q4_K, Q5_K, Q6_K have them before the planes, the other formats
 * after them. */
PLANES_INLINE void planes_begin(const enum fmt fmt, const struct unpack *from, int64_t b,
                                struct unpacked_256 *buffer, struct planes_head *h,
                                struct planes_source *s)
{
    s->from = from;
    s->block = b;
    s->buffer = buffer;
    s->word = from->strip + lanes_words_at(&from->l, b);
    if (fmt == FMT_Q4_K || fmt == FMT_Q5_K)
        planes_head_k(s->word, h, &s->scales);
    if (fmt == FMT_Q6_K)
        unpack_halves(from->strip + lanes_left_at(&from->l, b, from->blocks), NULL, 0, 1, h->d);
}

/* The planes that tile t may hold once the products have taken tiles 0 .. t of the block before. */
PLANES_INLINE void planes_step(const enum fmt fmt, const struct planes_source *s, const int t,
                               struct planes_head *h, struct planes *out)
{
    if (fmt == FMT_Q4_K || fmt == FMT_Q5_K)
        planes_tile_k(fmt, s->word, t, &s->scales, out);
    else if (fmt == FMT_Q6_K) {
        if (t % 2) {
            planes_part_q6(s->word, t - 1, out);
            planes_part_q6(s->word, t, out);
        }
    } else if (t == 3) {
        unpack_block(s->from, s->block, s->buffer);
        planes_fold(s->buffer, out);
        memcpy(h->d, s->buffer->d, sizeof h->d);
    }
}

/* Q2_K, Q3_K: block b of a strip. u->q is its plane. Minimums are at most 15. */
static void planes_flat(const enum planes_kind kind, const struct unpack *from, int64_t b,
                        struct unpacked_256 *u, struct planes_head *h)
{
    unpack_block(from, b, u);
    memcpy(h->d, u->d, sizeof h->d);
    if (kind != PLANES_Q2)
        return;
    memcpy(h->m, u->m, sizeof h->m);
    memset(h->tile[8], 0, 8 * sizeof h->tile[8]);
    for (int k = 0; k < 4; k++) {
        const __m512i v = _mm512_loadu_si512(u->min[k]);
        _mm512_storeu_si512(h->tile[k], v);
        _mm512_storeu_si512(h->tile[4 + k], _mm512_slli_epi16(v, 4));
    }
}
