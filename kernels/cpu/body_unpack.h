/*
 * body_unpack: turns blocks of a strip (lanes.h) into bytes (unpacked.h), for all formats of
 * MM_PACKS. A part is one vector register of a line; its 32-bit lanes belong to UNPACK_PART / 4
 * weight rows. The text is that of the compiler's vector types, so that each instruction set has
 * it. Only look-ups are written for each of them.
 *
 * Code books of IQ2 and IQ3: two points of a row are looked up at once, one for each half of a
 * lane. struct unpack_book holds a book whose entries have been turned. Nibble j of a turned point
 * of IQ3 is magnitude j. In IQ2 it is the magnitudes j and 4 + j, two bits each. A table of sixteen
 * entries gives the magnitude of a nibble. Included by cpu_kernel_*.c only.
 *
 * UNPACK_FLIP, defined before: 0, or 0x80 where a kernel needs unsigned weights. UNPACK_FOLDS,
 * defined before: the kernel takes Q2_K and Q3_K as products of scale and quant; AVX-512 only.
 * UNPACK_BLOCKS, defined before: the kernel unpacks single blocks, never a whole strip.
 */
#include "unpacked.h"

#if defined(__AVX512BW__)
#define UNPACK_PART 64
#elif defined(__AVX2__)
#define UNPACK_PART 32
#else
#define UNPACK_PART 16
#endif

typedef uint8_t part8 __attribute__((vector_size(UNPACK_PART)));
typedef uint16_t part16 __attribute__((vector_size(UNPACK_PART)));
typedef uint32_t part32 __attribute__((vector_size(UNPACK_PART)));

#define UNPACK_INLINE static inline __attribute__((always_inline))

struct unpack_book {
    _Alignas(64) uint16_t point[1024];
};

UNPACK_INLINE part32 part_load(const char *p)
{
    part32 v;
    memcpy(&v, p, sizeof v);
    return v;
}

UNPACK_INLINE part32 part_nibble(part32 v, const int high)
{
    return v >> 4 * high & 0x0f0f0f0f;
}

/* Bit i of `bits` of each lane as bit `to` of byte i, for i = first .. first + 3. */
UNPACK_INLINE part32 part_spread(part32 bits, const int first, const int to)
{
    return ((bits >> first & 15) * 0x00204081 & 0x01010101) << to;
}

/* Sixteen bytes at p, repeated. */
UNPACK_INLINE part32 part_sixteen(const uint8_t p[16])
{
#if UNPACK_PART == 64
    return (part32)_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)p));
#elif UNPACK_PART == 32
    return (part32)_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p));
#else
    return (part32)vld1q_u8(p);
#endif
}

/* v[byte] for each byte of at, among sixteen bytes each; 0 where the byte is 128 or more. */
UNPACK_INLINE part32 part_shuffle(part32 v, part32 at)
{
#if UNPACK_PART == 64
    return (part32)_mm512_shuffle_epi8((__m512i)v, (__m512i)at);
#elif UNPACK_PART == 32
    return (part32)_mm256_shuffle_epi8((__m256i)v, (__m256i)at);
#else
    return (part32)vqtbl1q_u8((uint8x16_t)v, (uint8x16_t)at);
#endif
}

/* table[byte] for each byte, 0..15, of v. */
UNPACK_INLINE part32 part_table(const uint8_t table[16], part32 v)
{
    return part_shuffle(part_sixteen(table), v);
}

/* v, negated where bit 0 .. 3 of signs >> first is set, for the bytes 0 .. 3. With UNPACK_FLIP in v
 * it is in the result as well: 0 - (128 + q) is 128 - q. */
UNPACK_INLINE part8 part_signed(part32 v, part32 signs, const int first)
{
#if UNPACK_PART == 64
    const __m512i byte = _mm512_shuffle_epi8(
        (__m512i)signs, _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                                        _mm512_set1_epi8((char)(first / 8))));
    const __mmask64 m =
        _mm512_test_epi8_mask(byte, _mm512_set1_epi32((int)(0x08040201u << first % 8)));
    return (part8)_mm512_mask_sub_epi8((__m512i)v, m, _mm512_setzero_si512(), (__m512i)v);
#else
    const part8 m = -(part8)part_spread(signs, first, 0);
    return ((part8)v ^ m) - m;
#endif
}

UNPACK_INLINE void part_store(uint8_t *to, part8 v)
{
    v ^= UNPACK_FLIP;
    memcpy(to, &v, sizeof v);
}

/* The magnitudes of a table that contains UNPACK_FLIP, with their signs. */
UNPACK_INLINE void part_store_signed(uint8_t *to, const uint8_t table[16], part32 nibble,
                                     part32 signs, const int first)
{
    const part8 v = part_signed(part_table(table, nibble), signs, first);
    memcpy(to, &v, sizeof v);
}

/* ---- formats without a code book of points --------------------------------------------------- */

static const uint8_t unpack_iq4_book[16] = {129, 152, 173, 191, 207, 221, 234, 246,
                                            1,   13,  25,  38,  53,  69,  89,  113};

/* A block of 32: word: its words; q: lines. */
UNPACK_INLINE void unpack_part_32(const enum fmt fmt, const char *word, uint8_t (*q)[UNPACKED_LINE])
{
    const int low = fmt == FMT_IQ4_NL || fmt == FMT_Q4_0 ? 0 : fmt == FMT_Q5_1 ? 2 : 1;
    const bool five = fmt == FMT_Q5_0 || fmt == FMT_Q5_1;
    part32 high = {0};
    if (five)
        high = part_load(word + 64 * (low - 1));
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
        part32 v = part_nibble(part_load(word + 64 * (low + k % 4)), k / 4);
        if (five)
            v |= part_spread(high, 4 * k, 4);
        if (fmt == FMT_IQ4_NL)
            v = part_table(unpack_iq4_book, v);
        part_store(q[k], (part8)v - (uint8_t)(fmt == FMT_Q5_0 ? 16 : fmt == FMT_Q4_0 ? 8 : 0));
    }
}

UNPACK_INLINE void unpack_part_iq4_xs(const char *word, struct unpacked_256 *u)
{
    const part32 high = part_load(word) >> 16, low = part_load(word + 64);
    for (int k = 0; k < 64; k++)
        part_store(u->q[k],
                   (part8)part_table(
                       unpack_iq4_book,
                       part_nibble(part_load(word + 64 * (2 + k / 8 * 4 + k % 4)), k % 8 / 4)));
    for (int k = 0; k < 4; k++) { /* groups of 16: two of each scale */
        part32 s = {0};
        for (int g = 2 * k; g < 2 * k + 2; g++)
            s |= ((low >> 4 * g & 15) | (high >> 2 * g & 3) << 4) * (g % 2 ? 0x01010000u : 0x0101u);
        const part8 v = (part8)s - 32;
        memcpy(u->scale[k], &v, sizeof v);
    }
}

/* Q2_K, Q3_K. Line k of quarter c of half h holds quants 128 h + 32 c + 4 k. */
UNPACK_INLINE void unpack_part_k(const enum fmt fmt, const char *word, struct unpacked_256 *u)
{
    for (int h = 0; h < 2; h++)
        for (int k = 0; k < 8; k++) {
            const int low = fmt == FMT_Q2_K ? 5 + 8 * h + k : h ? 19 + k : 7 + k + k / 4 * 4;
            const part32 v = part_load(word + 64 * low);
            part32 high = {0};
            if (fmt == FMT_Q3_K)
                high = part_load(word + 64 * (3 + k + k / 4 * 4));
            for (int c = 0; c < 4; c++) {
                part32 q = v >> 2 * c & 0x03030303;
                if (fmt == FMT_Q3_K)
                    q |= (high >> (4 * h + c) & 0x01010101) << 2;
                part_store(u->q[32 * h + 8 * c + k], (part8)q - (uint8_t)(fmt == FMT_Q3_K ? 4 : 0));
            }
        }
    for (int k = 0; k < 4; k++) {
        const part32 s = part_load(word + 64 * (fmt == FMT_Q2_K ? 1 + k : k % 2));
        part32 scale = part_nibble(s, 0), min = part_nibble(s, 1);
        if (fmt == FMT_Q3_K) {
            scale = part_nibble(s, k / 2) | (part_load(word + 64 * 2) >> 2 * k & 0x03030303) << 4;
            scale = (part32)((part8)scale - 32);
        } else
            memcpy(u->min[k], &min, sizeof min);
        memcpy(u->scale[k], &scale, sizeof scale);
    }
}

#if UNPACK_PART == 64
UNPACK_INLINE void unpack_part_q6_k(const char *word, struct unpacked_256 *u)
{
    for (int half = 0; half < 4; half++) /* of half / 2: the first or last 16 of each 32 */
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            const char *three = word + 64 * (4 + 12 * half + 3 * k);
            const part32 high = part_load(three);
#pragma GCC unroll 4
            for (int c = 0; c < 4; c++)
                part_store(u->q[4 * (half / 2 * 8 + 2 * c + half % 2) + k],
                           (part8)(part_nibble(part_load(three + 64 * (1 + c % 2)), c / 2) |
                                   (high >> 2 * c & 0x03030303) << 4) -
                               32);
        }
    memcpy(u->scale, word, sizeof u->scale);
}

#ifdef UNPACK_FOLDS
/* The product of scale and quant for each weight of Q2_K and Q3_K. It fits in a byte, so that no
 * scale is left for a group. Q2_K: 0 .. 45. Q3_K: -124 .. 128, stored 127 larger. A table has the
 * four products of a group for each of four rows: bytes 4 row .. 4 row + 3. */
UNPACK_INLINE void unpack_part_folded(const enum fmt fmt, const char *word, struct unpacked_256 *u)
{
    static const uint8_t first[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    const bool q3 = fmt == FMT_Q3_K;
    const part32 zero = {0}, row = part_sixteen(first);
    const part8 odd = (part8)(zero + 0xff00ff00u), upper = (part8)(zero + 0xffff0000u);
    part32 scale[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        const part32 s = part_load(word + 64 * (q3 ? k % 2 : 1 + k)), min = part_nibble(s, 1);
        scale[k] = part_nibble(s, q3 ? k / 2 : 0);
        if (q3)
            scale[k] |= (part_load(word + 64 * 2) >> 2 * k & 0x03030303) << 4;
        else
            memcpy(u->min[k], &min, sizeof min);
    }
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++) {
        const int h = g / 8, c = g / 2 % 4, k = g % 2 * 4;
        part8 s = (part8)part_shuffle(scale[g / 4], row + 0x01010101u * (unsigned)(g % 4));
        if (q3)
            s -= 32;
        const part8 twice = s + s, four = twice + twice;
        part8 table = (s & odd) + (twice & upper);
        if (q3)
            table += 127 - four;
#pragma GCC unroll 4
        for (int i = k; i < k + 4; i++) {
            const part32 q = part_load(word + 64 * (!q3 ? 5 + 8 * h + i
                                                    : h ? 19 + i
                                                        : 7 + i + k)) >>
                                 2 * c &
                             0x03030303;
            part8 w = (part8)part_shuffle((part32)table, q | row);
            if (q3)
                w +=
                    four & -(part8)(part_load(word + 64 * (3 + i + k)) >> (4 * h + c) & 0x01010101);
            memcpy(u->q[32 * h + 8 * c + i], &w, sizeof w);
        }
    }
}
#endif
#endif

/* ---- code books of points -------------------------------------------------------------------- */

#define FLIPPED(q) ((q) + UNPACK_FLIP)
#define FLIPPED_4(a, b, c, d) FLIPPED(a), FLIPPED(b), FLIPPED(c), FLIPPED(d)
/* Magnitudes of a nibble: IQ2's of its bits 1,0 and of its bits 3,2 (3 does not occur). */
static const uint8_t unpack_iq2_size[2][16] = {
    {FLIPPED_4(8, 25, 43, 0), FLIPPED_4(8, 25, 43, 0), FLIPPED_4(8, 25, 43, 0)},
    {FLIPPED_4(8, 8, 8, 8), FLIPPED_4(25, 25, 25, 25), FLIPPED_4(43, 43, 43, 43)}};
static const uint8_t unpack_iq3_xxs_size[16] = {FLIPPED_4(4, 12, 20, 28),
                                                FLIPPED_4(36, 44, 52, 62)},
                     unpack_iq3_s_size[16] = {FLIPPED_4(1, 3, 5, 7), FLIPPED_4(9, 11, 13, 15)};

static void unpack_turn(const uint16_t *book, int n, bool iq2, struct unpack_book *out)
{
    for (int i = 0; i < n; i += UNPACK_PART / 2) {
        part16 v, t;
        memcpy(&v, book + i, sizeof v);
        if (iq2) {
            t = (v ^ v >> 4) & 0x00f0;
            v ^= t ^ t << 4;
            t = (v ^ v >> 2) & 0x0c0c;
            v ^= t ^ t << 2;
        } else
            v = (v & 7) | (v & 0x38) << 1 | (v & 0x1c0) << 2 | (v & 0xe00) << 3;
        memcpy(out->point + i, &v, sizeof v);
    }
}

/* The points whose numbers, less than n, are the halves of each lane. */
UNPACK_INLINE part32 unpack_look(const struct unpack_book *book, part32 number, const int n)
{
#if UNPACK_PART == 64
    const __m512i at = (__m512i)number;
    __m512i v[16];
#pragma GCC unroll 16
    for (int i = 0; i < n / 64; i++)
        v[i] = _mm512_permutex2var_epi16(_mm512_load_si512(book->point + 64 * i), at,
                                         _mm512_load_si512(book->point + 64 * i + 32));
    int left = n / 64; /* vectors, halved by each bit of the number */
#pragma GCC unroll 4
    for (int bit = 6; bit < 10; bit++) {
        const __mmask32 m = _mm512_test_epi16_mask(at, _mm512_set1_epi16((short)(1 << bit)));
        left /= 2;
#pragma GCC unroll 8
        for (int i = 0; i < left; i++)
            v[i] = _mm512_mask_blend_epi16(m, v[2 * i], v[2 * i + 1]);
    }
    return (part32)v[0];
#else
    part16 at = (part16)number;
    (void)n;
    for (int i = 0; i < UNPACK_PART / 2; i++)
        at[i] = book->point[at[i]];
    return (part32)at;
#endif
}

/* The nibbles of a lane's low half, or of its high one, as four bytes. */
UNPACK_INLINE part32 unpack_nibbles(part32 v, const int high)
{
    static const uint8_t pick[2][16] = {
        {0, 128, 1, 128, 4, 128, 5, 128, 8, 128, 9, 128, 12, 128, 13, 128},
        {2, 128, 3, 128, 6, 128, 7, 128, 10, 128, 11, 128, 14, 128, 15, 128}};
    v = part_shuffle(v, part_sixteen(pick[high]));
    return (v | v << 4) & 0x0f0f0f0f;
}

/* Four codes of seven sign bits, from bit 0 on, as four bytes of eight (fmt_iq_signs). */
UNPACK_INLINE part32 unpack_parity(part32 seven)
{
    static const uint8_t odd[16] = {0, 128, 128, 0, 128, 0, 0, 128, 128, 0, 0, 128, 0, 128, 128, 0};
    return seven |
           (part_table(odd, part_nibble(seven, 0)) ^ part_table(odd, part_nibble(seven, 1)));
}

UNPACK_INLINE part32 unpack_signs(part32 word)
{
    return unpack_parity((word & 127) | (word & 0x3f80) << 1 | (word & 0x1fc000) << 2 |
                         (word & 0xfe00000) << 3);
}

/* IQ3: the numbers of two points, whose elements are lines a and b of a group. */
UNPACK_INLINE void unpack_iq3_two(const struct unpack_book *book, const int n,
                                  const uint8_t size[16], part32 number, part32 signs, const int a,
                                  const int b, uint8_t (*q)[UNPACKED_LINE])
{
    const part32 v = unpack_look(book, number, n);
    part_store_signed(q[a], size, unpack_nibbles(v, 0), signs, 4 * a);
    part_store_signed(q[b], size, unpack_nibbles(v, 1), signs, 4 * b);
}

/* IQ2: the numbers of two points, whose elements are lines a and a + 1, b and b + 1 of a group. */
UNPACK_INLINE void unpack_iq2_two(const struct unpack_book *book, const int n, part32 number,
                                  part32 signs, const int a, const int b,
                                  uint8_t (*q)[UNPACKED_LINE])
{
    const part32 v = unpack_look(book, number, n), first = unpack_nibbles(v, 0),
                 second = unpack_nibbles(v, 1);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        part_store_signed(q[a + i], unpack_iq2_size[i], first, signs, 4 * (a + i));
        part_store_signed(q[b + i], unpack_iq2_size[i], second, signs, 4 * (b + i));
    }
}

/* Two of each scale of a byte: those of groups 2 g and 2 g + 1 of 16. */
UNPACK_INLINE void unpack_scale_32(struct unpacked_256 *u, const int at, part32 even, part32 odd)
{
    const part32 v = (2 * even + 1) * 0x0101u + (2 * odd + 1) * 0x01010000u;
    memcpy((uint8_t *)u->scale[at], &v, sizeof v);
}

UNPACK_INLINE void unpack_part_iq3_s(const struct unpack_book *book, const char *word,
                                     struct unpacked_256 *u)
{
    const part32 scale = part_load(word);
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        const part32 high = part_load(word + 64 * (1 + g / 4)) >> 8 * (g % 4),
                     signs = part_load(word + 64 * (5 + 3 * g));
#pragma GCC unroll 2
        for (int w = 0; w < 2; w++) {
            const part32 q = part_load(word + 64 * (3 + 3 * g + w)), bit = high >> 4 * w;
            unpack_iq3_two(book, 512, unpack_iq3_s_size,
                           (q & 0x00ff00ff) | (bit & 1) << 8 | (bit & 4) << 22, signs, 4 * w,
                           4 * w + 2, u->q + 8 * g);
            unpack_iq3_two(book, 512, unpack_iq3_s_size,
                           (q >> 8 & 0x00ff00ff) | (bit & 2) << 7 | (bit & 8) << 21, signs,
                           4 * w + 1, 4 * w + 3, u->q + 8 * g);
        }
        if (g % 2)
            unpack_scale_32(u, g / 2, scale >> 4 * (g - 1) & 15, scale >> 4 * g & 15);
    }
}

UNPACK_INLINE void unpack_part_iq3_xxs(const struct unpack_book *book, const char *word,
                                       struct unpacked_256 *u)
{
    part32 before = {0};
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        const part32 last = part_load(word + 64 * (3 * g + 2)), signs = unpack_signs(last);
#pragma GCC unroll 2
        for (int w = 0; w < 2; w++) {
            const part32 q = part_load(word + 64 * (3 * g + w));
            unpack_iq3_two(book, 256, unpack_iq3_xxs_size, q & 0x00ff00ff, signs, 4 * w, 4 * w + 2,
                           u->q + 8 * g);
            unpack_iq3_two(book, 256, unpack_iq3_xxs_size, q >> 8 & 0x00ff00ff, signs, 4 * w + 1,
                           4 * w + 3, u->q + 8 * g);
        }
        if (g % 2)
            unpack_scale_32(u, g / 2, before, last >> 28);
        before = last >> 28;
    }
}

UNPACK_INLINE void unpack_part_iq2_xxs(const struct unpack_book *book, const char *word,
                                       struct unpacked_256 *u)
{
    part32 before = {0};
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        const part32 q = part_load(word + 64 * (2 * g)), last = part_load(word + 64 * (2 * g + 1)),
                     signs = unpack_signs(last);
        unpack_iq2_two(book, 256, q & 0x00ff00ff, signs, 0, 4, u->q + 8 * g);
        unpack_iq2_two(book, 256, q >> 8 & 0x00ff00ff, signs, 2, 6, u->q + 8 * g);
        if (g % 2)
            unpack_scale_32(u, g / 2, before, last >> 28);
        before = last >> 28;
    }
}

/* Scales of IQ2_XS and IQ2_S: groups of 16, nibbles of two words. */
UNPACK_INLINE void unpack_scale_16(const char *word, struct unpacked_256 *u)
{
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) { /* groups 4 k .. 4 k + 3: nibbles of the k-th half word */
        part32 v = part_load(word + 64 * (k / 2)) >> 16 * (k % 2) & 0xffff;
        v = (v | v << 8) & 0x00ff00ff;
        v = (v | v << 4) & 0x0f0f0f0f;
        v = 2 * v + 0x01010101;
        memcpy((uint8_t *)u->scale[k], &v, sizeof v);
    }
}

UNPACK_INLINE void unpack_part_iq2_xs(const struct unpack_book *book, const char *word,
                                      struct unpacked_256 *u)
{
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        const part32 a = part_load(word + 64 * (2 + 2 * g)), b = part_load(word + 64 * (3 + 2 * g));
        const part32 signs =
            unpack_parity((a >> 9 & 127) | (a >> 25) << 8 | (b >> 9 & 127) << 16 | (b >> 25) << 24);
        unpack_iq2_two(book, 512, a & 0x01ff01ff, signs, 0, 2, u->q + 8 * g);
        unpack_iq2_two(book, 512, b & 0x01ff01ff, signs, 4, 6, u->q + 8 * g);
    }
    unpack_scale_16(word, u);
}

UNPACK_INLINE void unpack_part_iq2_s(const struct unpack_book *book, const char *word,
                                     struct unpacked_256 *u)
{
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        const part32 q = part_load(word + 64 * (4 + 2 * g)),
                     signs = part_load(word + 64 * (5 + 2 * g)),
                     high = part_load(word + 64 * (2 + g / 4)) >> 8 * (g % 4);
        unpack_iq2_two(book, 1024, (q & 0x00ff00ff) | (high & 3) << 8 | (high & 0x30) << 20, signs,
                       0, 4, u->q + 8 * g);
        unpack_iq2_two(book, 1024, (q >> 8 & 0x00ff00ff) | (high & 0x0c) << 6 | (high & 0xc0) << 18,
                       signs, 2, 6, u->q + 8 * g);
    }
    unpack_scale_16(word, u);
}

/* ---- blocks and strips ----------------------------------------------------------------------- */

static void unpack_book_of(enum fmt fmt, struct unpack_book *out)
{
    switch (fmt) {
    case FMT_IQ3_S:
        unpack_turn(fmt_iq3_s_book, 512, false, out);
        break;
    case FMT_IQ3_XXS:
        unpack_turn(fmt_iq3_xxs_book, 256, false, out);
        break;
    case FMT_IQ2_XXS:
        unpack_turn(fmt_iq2_xxs_book, 256, true, out);
        break;
    case FMT_IQ2_XS:
        unpack_turn(fmt_iq2_xs_book, 512, true, out);
        break;
    case FMT_IQ2_S:
        unpack_turn(fmt_iq2_s_book, 1024, true, out);
        break;
    default: /* no such book */
        break;
    }
}

/* The f16 of sixteen rows times factor: at `left`, or, left NULL, the half `half` of each of the
 * words at `word`. */
UNPACK_INLINE void unpack_halves(const char *left, const char *word, const int half,
                                 const float factor, float out[16])
{
    uint32_t both[16]; /* a loop over numbers, which compilers turn into vectors */
    uint16_t h[16];
    if (left)
        memcpy(h, left, sizeof h);
    else {
        memcpy(both, word, sizeof both);
        for (int j = 0; j < 16; j++)
            h[j] = (uint16_t)(both[j] >> 16 * half);
    }
    v16_store(out, v16_mul(v16_load_f16(h), v16_set1(factor)));
}

/* The bytes of block b's words and of its left-over f16s in a strip of n blocks. */
static void unpack_block_256(enum fmt fmt, const struct unpack_book *book, const char *word,
                             const char *left, struct unpacked_256 *u)
{
    const float factor = fmt == FMT_IQ3_XXS                                            ? 0.25f
                         : fmt == FMT_IQ2_XXS || fmt == FMT_IQ2_XS || fmt == FMT_IQ2_S ? 0.125f
                                                                                       : 1;
    unpack_halves(left, word, 0, factor, u->d);
    if (fmt == FMT_Q2_K)
        unpack_halves(NULL, word, 1, 1, u->m);
#define UNPACK_PARTS(call)                                                                         \
    for (int p = 0; p < 64; p += UNPACK_PART, word += UNPACK_PART,                                 \
             u = (struct unpacked_256 *)(void *)((char *)u + UNPACK_PART))                         \
        call;                                                                                      \
    break
    switch (fmt) {
#if UNPACK_PART == 64
    case FMT_Q6_K:
        unpack_part_q6_k(word, u);
        break;
#endif
#ifdef UNPACK_FOLDS
    case FMT_Q2_K:
        UNPACK_PARTS(unpack_part_folded(FMT_Q2_K, word, u));
    case FMT_Q3_K:
        UNPACK_PARTS(unpack_part_folded(FMT_Q3_K, word, u));
#else
    case FMT_Q2_K:
        UNPACK_PARTS(unpack_part_k(FMT_Q2_K, word, u));
    case FMT_Q3_K:
        UNPACK_PARTS(unpack_part_k(FMT_Q3_K, word, u));
#endif
    case FMT_IQ4_XS:
        UNPACK_PARTS(unpack_part_iq4_xs(word, u));
    case FMT_IQ3_S:
        UNPACK_PARTS(unpack_part_iq3_s(book, word, u));
    case FMT_IQ3_XXS:
        UNPACK_PARTS(unpack_part_iq3_xxs(book, word, u));
    case FMT_IQ2_XXS:
        UNPACK_PARTS(unpack_part_iq2_xxs(book, word, u));
    case FMT_IQ2_XS:
        UNPACK_PARTS(unpack_part_iq2_xs(book, word, u));
    case FMT_IQ2_S:
        UNPACK_PARTS(unpack_part_iq2_s(book, word, u));
    default:
        UNREACHABLE("a row of MM_PACKS in blocks of 256 without a case");
    }
#undef UNPACK_PARTS
}

static void unpack_block_32(enum fmt fmt, const char *word, const char *left, struct unpacked_32 *u)
{
    unpack_halves(left, word, 0, 1, u->d);
    if (mm_has_min(fmt))
        unpack_halves(NULL, word, 1, 1, u->m);
    for (int p = 0; p < 64; p += UNPACK_PART) {
        uint8_t(*q)[UNPACKED_LINE] = (uint8_t(*)[UNPACKED_LINE])(void *)(u->q[0] + p);
        switch (fmt) {
        case FMT_Q4_0:
            unpack_part_32(FMT_Q4_0, word + p, q);
            break;
        case FMT_Q8_0:
            for (int k = 0; k < 8; k++)
                part_store(q[k], (part8)part_load(word + p + 64 * k));
            break;
        case FMT_Q4_1:
            unpack_part_32(FMT_Q4_1, word + p, q);
            break;
        case FMT_Q5_0:
            unpack_part_32(FMT_Q5_0, word + p, q);
            break;
        case FMT_Q5_1:
            unpack_part_32(FMT_Q5_1, word + p, q);
            break;
        case FMT_IQ4_NL:
            unpack_part_32(FMT_IQ4_NL, word + p, q);
            break;
        default:
            UNREACHABLE("a row of MM_PACKS in blocks of 32 without a case");
        }
    }
}

/* Unpacks block after block of a strip. */
struct unpack {
    enum fmt fmt;
    struct lanes l;
    struct unpack_book book;
    const char *strip;
    int64_t blocks;
};

static void unpack_open(struct unpack *u, enum fmt fmt, const char *strip, int64_t n_in)
{
    u->fmt = fmt;
    CHECK(lanes_of(fmt, &u->l));
    unpack_book_of(fmt, &u->book);
    u->strip = strip;
    u->blocks = n_in / u->l.elems;
}

/* out: a struct unpacked_256 or unpacked_32. */
static void unpack_block(const struct unpack *u, int64_t b, void *out)
{
    const char *word = u->strip + lanes_words_at(&u->l, b),
               *left = u->l.left ? u->strip + lanes_left_at(&u->l, b, u->blocks) : NULL;
    if (u->l.elems == 256)
        unpack_block_256(u->fmt, &u->book, word, left, out);
    else
        unpack_block_32(u->fmt, word, left, out);
}

#ifndef UNPACK_BLOCKS
static void unpack_strip(enum fmt fmt, const char *strip, int64_t n_in, void *out)
{
    struct unpack u;
    unpack_open(&u, fmt, strip, n_in);
    const size_t bytes =
        u.l.elems == 256 ? sizeof(struct unpacked_256) : sizeof(struct unpacked_32);
    for (int64_t b = 0; b < u.blocks; b++)
        unpack_block(&u, b, (char *)out + (size_t)b * bytes);
}
#endif
