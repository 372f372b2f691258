/*
 * matmul_block_iq: the IQ formats for matmul_block.cuh.
 *
 *   format   bytes of a chunk  pieces  apart  book   chunk begins
 *   IQ4_NL   144 = 8 x 18      10      176    -      at any even byte of the first piece
 *   IQ4_XS   136               9       144    -      at byte 0 or 8 of the first piece
 *   IQ3_XXS  98                7       112    1 KB   at any even byte of the first piece
 *   IQ3_S    110               8       144    2 KB   the same
 *   IQ2_XXS  66                5       80     2 KB   the same
 *   IQ2_XS   74                6       112    4 KB   the same
 *   IQ2_S    82                6       112    8 KB   the same
 *
 * - IQ4: a table of sixteen bytes lies in four constants. prmt reads four entries at once from
 *   each half of the table, and one prmt chooses between the halves.
 * - IQ3, IQ2: each block unpacks the code book into shared memory once: four bytes a point of an
 *   IQ3 book, eight of an IQ2 book. Lanes read different points, so accesses conflict as random
 *   ones do.
 * - A scale is an odd number 2 s + 1. The power of two that is left goes into d, exactly.
 */
#ifndef MAS_MATMUL_BLOCK_IQ_CUH
#define MAS_MATMUL_BLOCK_IQ_CUH

#include "element.cuh"
#include "matmul_block_low.cuh"

namespace CU_NS
{

/* ---- IQ4_NL, IQ4_XS -------------------------------------------------------------------------- */

/* Entries of fmt_iq4_book: of the four low nibbles of v's bytes, and of the four high ones. */
__device__ __forceinline__ void mm_iq4_entries(uint32_t v, uint32_t &low, uint32_t &high)
{
    static constexpr uint32_t BOOK[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};
    const uint32_t index = v & 0x77777777u;                     /* in a half of the book */
    const uint32_t half = (v >> 1 & 0x44444444u) | 0x32103210u; /* of the pair of entries */
    const uint32_t a = __byte_perm(__byte_perm(BOOK[0], BOOK[1], index),
                                   __byte_perm(BOOK[2], BOOK[3], index), half);
    const uint32_t b = __byte_perm(__byte_perm(BOOK[0], BOOK[1], index >> 16),
                                   __byte_perm(BOOK[2], BOOK[3], index >> 16), half >> 16);
    low = __byte_perm(a, b, 0x6420); /* a: of bytes 0 and 1, low, high, low, high */
    high = __byte_perm(a, b, 0x7531);
}

template <> struct mm_format<FMT_IQ4_NL> : mm_runs_32 {
    static constexpr int BYTES = 144, PIECES = 10, APART = 176, BLOCK = 32, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        uint32_t q[4];
        mm_even_words(p + 18 * s + 2, q); /* after the last block: the last piece */
#pragma unroll
        for (int i = 0; i < 4; i++)
            mm_iq4_entries(q[i], l.run0[i], l.run1[i]);
        l.d = d32(p, s);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int b = 0; b < 8; b++)
            mm_iq4_entries(mm_even_word(mm_even_at(p + 18 * b + 2 + 4 * t), 0), w[b][0], w[b][1]);
    }
    static __device__ __forceinline__ float d32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 18 * b));
    }
};

/* Eight nibbles of a word as eight bytes in the order of the bytes, low nibble first. */
__device__ __forceinline__ void mm_nibbles(uint32_t v, uint32_t (&w)[2])
{
    const uint32_t low = mm_low4(v), high = mm_high4(v);
    w[0] = __byte_perm(low, high, 0x5140);
    w[1] = __byte_perm(low, high, 0x7362);
}

template <> struct mm_format<FMT_IQ4_XS> : mm_runs_32, mm_byte_scales {
    static constexpr int BYTES = 136, PIECES = 9, APART = 144, BLOCK = 256, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        const uint2 head = vec_load8(p);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint2 q = vec_load8(p + 8 + 16 * s + 8 * i);
            mm_iq4_entries(q.x, l.run0[2 * i], l.run1[2 * i]);
            mm_iq4_entries(q.y, l.run0[2 * i + 1], l.run1[2 * i + 1]);
        }
        l.scale0 = (int)((head.y >> 4 * s & 15) | (head.x >> (16 + 2 * s) & 3) << 4) - 32;
        l.scale1 = l.scale0;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g++)
            mm_iq4_entries(mm_u32(p + 8 + 16 * g + 4 * t), w[g][0], w[g][1]);
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        const uint2 head = vec_load8(p);
        uint32_t high = (head.x >> 16 & 0xff) | (head.x >> 8 & 0xff0000u); /* pairs of 2 bits */
        high = (high | high << 4) & 0x0f0f0f0fu;
        struct mm_factors f = {};
        const uint32_t even = mm_low4(head.y) | (high & 0x03030303u) << 4;
        const uint32_t odd = mm_high4(head.y) | (high & 0x0c0c0c0cu) << 2;
        f.scale[0] = mm_minus<32>(__byte_perm(even, odd, 0x5140));
        f.scale[1] = mm_minus<32>(__byte_perm(even, odd, 0x7362));
        f.d = vec_half((uint16_t)(head.x & 0xffff));
        return f;
    }
};

/* ---- IQ3, IQ2: points and signs -------------------------------------------------------------- */

/* Four numbers 1..127, those negative whose bit of signs is set. */
__device__ __forceinline__ uint32_t mm_signed(uint32_t v, uint32_t signs)
{
    const uint32_t ones = (signs & 15) * 0x00204081u & 0x01010101u; /* bit k as byte k */
    return (v ^ ones * 255) + ones; /* no carry: a byte that is inverted is below 255 */
}

/* Bits 6..0 of v, and their parity as bit 7. */
__device__ __forceinline__ uint32_t mm_eight_signs(uint32_t v)
{
    const uint32_t seven = v & 127;
    return seven | (uint32_t)__popc(seven) << 7;
}

__device__ __forceinline__ uint32_t mm_odd(uint32_t scales)
{
    return scales << 1 | 0x01010101u;
}

/* Unpacks a code book: POINTS points of DIGITS magnitudes, a byte each. Called by all `threads`. */
template <int DIGITS, int (*SIZE)(int, int)>
__device__ __forceinline__ void mm_fill_book(uint8_t *to, const uint16_t *book, int points,
                                             int threads)
{
    uint32_t *w = reinterpret_cast<uint32_t *>(to);
    for (int i = (int)threadIdx.x; i < points; i += threads) {
        const int point = book[i];
#pragma unroll
        for (int k = 0; k < DIGITS; k += 4)
            w[i * (DIGITS / 4) + k / 4] =
                (uint32_t)SIZE(point, k) | (uint32_t)SIZE(point, k + 1) << 8 |
                (uint32_t)SIZE(point, k + 2) << 16 | (uint32_t)SIZE(point, k + 3) << 24;
    }
}

/* Eight weights of an IQ2 format: words 0 and 1 of a point. */
__device__ __forceinline__ void mm_iq2_eight(const uint8_t *book, uint32_t point, uint32_t signs,
                                             uint32_t &w0, uint32_t &w1)
{
    const uint2 v = vec_load8(book + 8 * point);
    w0 = mm_signed(v.x, signs);
    w1 = mm_signed(v.y, signs >> 4);
}

/* Word t & 1 of a point. */
__device__ __forceinline__ uint32_t mm_iq2_four(const uint8_t *book, uint32_t point, uint32_t signs,
                                                int t)
{
    return mm_signed(mm_u32(book + 8 * point + 4 * (t & 1)), signs >> 4 * (t & 1));
}

template <> struct mm_format<FMT_IQ3_XXS> : mm_runs_32, mm_byte_scales {
    static constexpr int BYTES = 98, PIECES = 7, APART = 112, BLOCK = 256, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 4 * 256;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void fill(uint8_t *book, int threads)
    {
        mm_fill_book<4, fmt_iq3_xxs_size>(book, fmt_iq3_xxs_book, 256, threads);
    }
    static __device__ __forceinline__ uint32_t group(const uint8_t *p, int g)
    {
        return mm_even_word(mm_even_at(p + 66 + 4 * g), 0);
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, const uint8_t *book,
                                                struct mm_lane &l)
    {
        uint32_t q[2];
        mm_even_words(p + 2 + 8 * s, q); /* the word after is of the chunk */
        const uint32_t word = group(p, s);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const uint32_t signs = mm_eight_signs(word >> 7 * e);
            uint32_t(&run)[4] = e < 2 ? l.run0 : l.run1;
            const uint32_t two = q[e / 2] >> 16 * (e % 2);
            run[e % 2 * 2] = mm_signed(mm_u32(book + 4 * (two & 255)), signs);
            run[e % 2 * 2 + 1] = mm_signed(mm_u32(book + 4 * (two >> 8 & 255)), signs >> 4);
        }
        l.scale0 = l.scale1 = (int)(2 * (word >> 28) + 1);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, const uint8_t *book,
                                                 uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g++) {
            const uint32_t word = group(p, g) >> 7 * (t / 2);
#pragma unroll
            for (int i = 0; i < 2; i++)
                w[g][i] = mm_signed(mm_u32(book + 4 * p[2 + 8 * g + 4 * i + t]),
                                    mm_eight_signs(word >> 14 * i) >> 4 * (t & 1));
        }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        struct mm_factors f = {};
#pragma unroll
        for (int g = 0; g < 8; g++)
            f.scale[g / 4] |= (2 * (group(p, g) >> 28) + 1) << 8 * (g % 4);
        f.d = 0.25f * vec_half(mm_u16(p));
        return f;
    }
};

template <> struct mm_format<FMT_IQ3_S> : mm_runs_32, mm_byte_scales {
    static constexpr int BYTES = 110, PIECES = 8, APART = 144, BLOCK = 256, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 4 * 512;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void fill(uint8_t *book, int threads)
    {
        mm_fill_book<4, fmt_iq3_s_size>(book, fmt_iq3_s_book, 512, threads);
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, const uint8_t *book,
                                                struct mm_lane &l)
    {
        uint32_t q[2], sign[1];
        mm_even_words(p + 2 + 8 * s, q); /* here and there, the word after is of the chunk */
        mm_even_words(p + 74 + 4 * s, sign);
        const uint32_t high = p[66 + s];
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const uint32_t point = (q[k / 4] >> 8 * (k % 4) & 255) | (high >> k & 1) << 8;
            uint32_t(&run)[4] = k < 4 ? l.run0 : l.run1;
            run[k % 4] = mm_signed(mm_u32(book + 4 * point), sign[0] >> 4 * k);
        }
        l.scale0 = l.scale1 = 2 * (p[106 + s / 2] >> 4 * (s & 1) & 15) + 1;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, const uint8_t *book,
                                                 uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g++) {
            const uint32_t high = (uint32_t)p[66 + g] >> t;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t point = p[2 + 8 * g + 4 * i + t] | (high >> 4 * i & 1) << 8;
                w[g][i] = mm_signed(mm_u32(book + 4 * point),
                                    (uint32_t)p[74 + 4 * g + 2 * i + t / 2] >> 4 * (t & 1));
            }
        }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        struct mm_factors f = {};
        uint32_t w[2];
        mm_nibbles(mm_even_word(mm_even_at(p + 106), 0), w);
        f.scale[0] = mm_odd(w[0]);
        f.scale[1] = mm_odd(w[1]);
        f.d = vec_half(mm_u16(p));
        return f;
    }
};

template <> struct mm_format<FMT_IQ2_XXS> : mm_runs_32, mm_byte_scales {
    static constexpr int BYTES = 66, PIECES = 5, APART = 80, BLOCK = 256, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 8 * 256;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void fill(uint8_t *book, int threads)
    {
        mm_fill_book<8, fmt_iq2_size>(book, fmt_iq2_xxs_book, 256, threads);
    }
    static __device__ __forceinline__ uint32_t group(const uint8_t *p, int g)
    {
        return mm_even_word(mm_even_at(p + 6 + 8 * g), 0);
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, const uint8_t *book,
                                                struct mm_lane &l)
    {
        const uint32_t q = mm_even_word(mm_even_at(p + 2 + 8 * s), 0), word = group(p, s);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            uint32_t(&run)[4] = e < 2 ? l.run0 : l.run1;
            mm_iq2_eight(book, q >> 8 * e & 255, mm_eight_signs(word >> 7 * e), run[e % 2 * 2],
                         run[e % 2 * 2 + 1]);
        }
        l.scale0 = l.scale1 = (int)(2 * (word >> 28) + 1);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, const uint8_t *book,
                                                 uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g++) {
            const uint32_t word = group(p, g) >> 7 * (t / 2);
#pragma unroll
            for (int i = 0; i < 2; i++)
                w[g][i] = mm_iq2_four(book, p[2 + 8 * g + 2 * i + t / 2],
                                      mm_eight_signs(word >> 14 * i), t);
        }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        struct mm_factors f = {};
#pragma unroll
        for (int g = 0; g < 8; g++)
            f.scale[g / 4] |= (2 * (group(p, g) >> 28) + 1) << 8 * (g % 4);
        f.d = 0.125f * vec_half(mm_u16(p));
        return f;
    }
};

/* The factors of IQ2_XS and IQ2_S, whose scales are nibbles of eight bytes. */
__device__ __forceinline__ struct mm_factors mm_iq2_factors(const uint8_t *p, const uint8_t *scales)
{
    const struct mm_even at = mm_even_at(scales);
    struct mm_factors f = {};
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t w[2];
        mm_nibbles(mm_even_word(at, i), w);
        f.scale[2 * i] = mm_odd(w[0]);
        f.scale[2 * i + 1] = mm_odd(w[1]);
    }
    f.d = 0.125f * vec_half(mm_u16(p));
    return f;
}

template <> struct mm_format<FMT_IQ2_XS> : mm_runs_32, mm_byte_scales {
    static constexpr int BYTES = 74, PIECES = 6, APART = 112, BLOCK = 256, GROUP = 16, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 8 * 512;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void fill(uint8_t *book, int threads)
    {
        mm_fill_book<8, fmt_iq2_size>(book, fmt_iq2_xs_book, 512, threads);
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, const uint8_t *book,
                                                struct mm_lane &l)
    {
        uint32_t q[2];
        mm_even_words(p + 2 + 8 * s, q); /* the word after is of the chunk */
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const uint32_t one = q[e / 2] >> 16 * (e % 2);
            uint32_t(&run)[4] = e < 2 ? l.run0 : l.run1;
            mm_iq2_eight(book, one & 511, mm_eight_signs(one >> 9), run[e % 2 * 2],
                         run[e % 2 * 2 + 1]);
        }
        const int scales = p[66 + s];
        l.scale0 = 2 * (scales & 15) + 1;
        l.scale1 = 2 * (scales >> 4) + 1;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, const uint8_t *book,
                                                 uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t one = mm_u16(p + 2 + 8 * g + 4 * i + t / 2 * 2);
                w[g][i] = mm_iq2_four(book, one & 511, mm_eight_signs(one >> 9), t);
            }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        return mm_iq2_factors(p, p + 66);
    }
};

template <> struct mm_format<FMT_IQ2_S> : mm_runs_32, mm_byte_scales {
    static constexpr int BYTES = 82, PIECES = 6, APART = 112, BLOCK = 256, GROUP = 16, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 8 * 1024;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void fill(uint8_t *book, int threads)
    {
        mm_fill_book<8, fmt_iq2_size>(book, fmt_iq2_s_book, 1024, threads);
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, const uint8_t *book,
                                                struct mm_lane &l)
    {
        uint32_t q[1], sign[1];
        mm_even_words(p + 2 + 4 * s, q); /* here and there, the word after is of the chunk */
        mm_even_words(p + 34 + 4 * s, sign);
        const uint32_t high = p[66 + s];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            uint32_t(&run)[4] = e < 2 ? l.run0 : l.run1;
            mm_iq2_eight(book, (q[0] >> 8 * e & 255) | (high >> 2 * e & 3) << 8, sign[0] >> 8 * e,
                         run[e % 2 * 2], run[e % 2 * 2 + 1]);
        }
        const int scales = p[74 + s];
        l.scale0 = 2 * (scales & 15) + 1;
        l.scale1 = 2 * (scales >> 4) + 1;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, const uint8_t *book,
                                                 uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g++) {
            const uint32_t high = (uint32_t)p[66 + g] >> t / 2 * 2;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int e = 4 * g + 2 * i + t / 2;
                w[g][i] = mm_iq2_four(book, p[2 + e] | (high >> 4 * i & 3) << 8, p[34 + e], t);
            }
        }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        return mm_iq2_factors(p, p + 74);
    }
};

} // namespace CU_NS

#endif
