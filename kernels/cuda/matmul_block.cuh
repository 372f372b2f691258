/*
 * matmul_block: a chunk of 256 weights, from shared memory to the words that dp4a and mma.sync
 * take: four signed 8-bit quants in a word, plus scales. The layouts are those of
 * kernels/quant/fmt_<x>.h. The tests compare every quant with the scalar decode there
 * (tests/cudahost).
 *
 * A chunk is copied to shared memory in pieces of 16 bytes. The first piece begins at the aligned
 * address at or below the chunk's first byte. So every global access has 16 bytes and is aligned,
 * whatever the block size:
 *
 *   format  bytes of a chunk  pieces  apart  chunk begins
 *   Q4_K    144               9       144    at a piece, always (9 x 16)
 *   Q5_K    176               11      176    at a piece, always (11 x 16)
 *   Q6_K    210               14      240    at any even byte of the first piece
 *   Q8_0    272 = 8 x 34      18      304    the same; at a piece when the row is a multiple of 16
 *   Q4_0    144 = 8 x 18      10      176    the same
 *
 * WHOLE: no piece crosses the end of a row, and every piece is aligned. "apart" is the distance
 * from row to row in shared memory: 4, 12, 28, 12, 12 words modulo 32. So 8 rows x 4 words lie in
 * different banks. Two aligned words make a word at an even address.
 *
 * lane(): lane s of 8 takes 32 of the 256 weights, in two runs of 16 that begin at x0(s) and x1(s).
 * words(), for mma.sync: words t and t + 4 of each group of 32, in the order of k.
 * BOOK: bytes of shared memory for a code book. fill() writes it once; lane() and words() read it.
 * MIN: weights have a minimum. In formats of 32 m32() gives it.
 *
 * matmul_block_low.cuh and matmul_block_iq.cuh have the other formats.
 */
#ifndef MAS_MATMUL_BLOCK_CUH
#define MAS_MATMUL_BLOCK_CUH

#include "matmul.cuh"

namespace CU_NS
{

/* Words at an even address in shared memory. */
struct mm_even {
    const uint32_t *w;
    unsigned shift; /* 0 or 16 bits */
};

__device__ __forceinline__ struct mm_even mm_even_at(const uint8_t *p)
{
    const unsigned odd = (unsigned)(uintptr_t)p & 2;
    return {reinterpret_cast<const uint32_t *>(p - odd), odd * 8};
}

/* Word i. The second word is read only when it holds a part, because it may lie after the last
 * piece. */
__device__ __forceinline__ uint32_t mm_even_word(struct mm_even at, int i)
{
    const uint32_t low = at.w[i], high = at.shift ? at.w[i + 1] : 0;
    return __funnelshift_r(low, high, at.shift);
}

/* N words from p on. Word N is read too: callers guarantee that it exists. */
template <int N> __device__ __forceinline__ void mm_even_words(const uint8_t *p, uint32_t (&v)[N])
{
    const struct mm_even at = mm_even_at(p);
    uint32_t w[N + 1];
#pragma unroll
    for (int i = 0; i <= N; i++)
        w[i] = at.w[i];
#pragma unroll
    for (int i = 0; i < N; i++)
        v[i] = __funnelshift_r(w[i], w[i + 1], at.shift);
}

__device__ __forceinline__ uint32_t mm_u32(const uint8_t *p) /* 4-byte aligned */
{
    return *reinterpret_cast<const uint32_t *>(p);
}

__device__ __forceinline__ uint16_t mm_u16(const uint8_t *p) /* 2-byte aligned */
{
    return *reinterpret_cast<const uint16_t *>(p);
}

__device__ __forceinline__ uint32_t mm_low4(uint32_t v)
{
    return v & 0x0f0f0f0fu;
}

__device__ __forceinline__ uint32_t mm_high4(uint32_t v)
{
    return v >> 4 & 0x0f0f0f0fu;
}

/* Four bytes 0..127 minus N <= 127 each, signed. With bit 7 set no borrow crosses a byte. */
template <int N> __device__ __forceinline__ uint32_t mm_minus(uint32_t v)
{
    return ((v | 0x80808080u) - 0x01010101u * N) ^ 0x80808080u;
}

/* Four bytes 0..127 minus four such bytes, signed. */
__device__ __forceinline__ uint32_t mm_minus_bytes(uint32_t v, uint32_t n)
{
    return ((v | 0x80808080u) - n) ^ 0x80808080u;
}

/* The part of a chunk that a lane of 8 holds. */
struct mm_lane {
    uint32_t run0[4], run1[4]; /* weights x0(s) .. + 15, x1(s) .. + 15, plus BIAS each */
    int scale0, scale1;        /* formats of 256: of the two runs */
    float d, m;                /* formats of 32: step and minimum of block s */
};

/* The numbers of a whole chunk of a format of 256. */
struct mm_factors {
    float d, dmin;
    uint32_t scale[4]; /* bytes: eight, Q6_K sixteen signed ones */
    uint2 min;         /* eight bytes; Q2_K: of the second half of each 32 */
    uint2 less;        /* Q2_K: eight signed bytes, the first half's minimum less the second's */
};

template <enum fmt F> struct mm_format;

/* ---- Q4_K, Q5_K: the first 16 bytes ------------------------------------------------------ */

/* fmt_block.h: groups 0..3 have their scale in bytes 0..3 and minimum in 4..7. Groups 4..7 have
 * their low 4 bits in bytes 8..11 and their high 2 in the top bits of bytes 0..7. */
__device__ __forceinline__ struct mm_factors mm_k_factors(const uint8_t *p)
{
    const uint4 h = vec_load16(p);
    struct mm_factors f = {};
    f.d = vec_half((uint16_t)(h.x & 0xffff));
    f.dmin = vec_half((uint16_t)(h.x >> 16));
    f.scale[0] = h.y & 0x3f3f3f3fu;
    f.scale[1] = (h.w & 0x0f0f0f0fu) | (h.y >> 2 & 0x30303030u);
    f.min.x = h.z & 0x3f3f3f3fu;
    f.min.y = (h.w >> 4 & 0x0f0f0f0fu) | (h.z >> 2 & 0x30303030u);
    return f;
}

/* The scales of lane s, of groups s & ~1 and s | 1: two bytes. */
__device__ __forceinline__ void mm_k_lane_scales(const uint8_t *p, int s, struct mm_lane &l)
{
    const uint4 h = vec_load16(p);
    const unsigned at = 8u * (s & 2);
    const uint32_t y = h.y >> at, w = h.w >> at;
    const uint32_t scale = s < 4 ? y & 0x3f3fu : (w & 0x0f0fu) | (y >> 2 & 0x3030u);
    l.scale0 = (int)(scale & 255);
    l.scale1 = (int)(scale >> 8);
}

/* Scale of group g of eight. */
__device__ __forceinline__ int mm_k_scale(const struct mm_factors &f, int g)
{
    return (int)((g < 4 ? f.scale[0] : f.scale[1]) >> 8 * (g & 3) & 255);
}

template <> struct mm_format<FMT_Q4_K> {
    static constexpr int BYTES = 144, PIECES = 9, APART = 144, BLOCK = 256, GROUP = 32, MIN = 1;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = true;

    static __device__ __forceinline__ int x0(int s)
    {
        return 64 * (s / 2) + 16 * (s & 1);
    }
    static __device__ __forceinline__ int x1(int s)
    {
        return x0(s) + 32;
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        const uint4 q = vec_load16(p + 16 + 16 * s);
        const uint32_t v[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            l.run0[i] = mm_low4(v[i]);
            l.run1[i] = mm_high4(v[i]);
        }
        mm_k_lane_scales(p, s, l);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int g = 0; g < 8; g += 2)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t v = mm_u32(p + 16 + 16 * g + 4 * (t + 4 * i));
                w[g][i] = mm_low4(v);
                w[g + 1][i] = mm_high4(v);
            }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        return mm_k_factors(p);
    }
    static __device__ __forceinline__ int scale(const struct mm_factors &f, int g)
    {
        return mm_k_scale(f, g);
    }
};

template <> struct mm_format<FMT_Q5_K> {
    static constexpr int BYTES = 176, PIECES = 11, APART = 176, BLOCK = 256, GROUP = 32, MIN = 1;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = true;

    static __device__ __forceinline__ int x0(int s)
    {
        return 64 * (s / 2) + 16 * (s & 1);
    }
    static __device__ __forceinline__ int x1(int s)
    {
        return x0(s) + 32;
    }
    /* bit g of each byte of h, as bit 4 */
    static __device__ __forceinline__ uint32_t high(uint32_t h, int g)
    {
        return (h >> g & 0x01010101u) << 4;
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        const uint4 h4 = vec_load16(p + 16 + 16 * (s & 1));
        const uint4 q4 = vec_load16(p + 48 + 16 * s);
        const uint32_t h[4] = {h4.x, h4.y, h4.z, h4.w}, q[4] = {q4.x, q4.y, q4.z, q4.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            l.run0[i] = mm_low4(q[i]) | high(h[i], s & ~1);
            l.run1[i] = mm_high4(q[i]) | high(h[i], s | 1);
        }
        mm_k_lane_scales(p, s, l);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint32_t h = mm_u32(p + 16 + 4 * (t + 4 * i));
#pragma unroll
            for (int g = 0; g < 8; g += 2) {
                const uint32_t v = mm_u32(p + 48 + 16 * g + 4 * (t + 4 * i));
                w[g][i] = mm_low4(v) | high(h, g);
                w[g + 1][i] = mm_high4(v) | high(h, g + 1);
            }
        }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        return mm_k_factors(p);
    }
    static __device__ __forceinline__ int scale(const struct mm_factors &f, int g)
    {
        return mm_k_scale(f, g);
    }
};

/* ---- Q6_K: half h = s / 4 or g / 4; bytes low, high, scale, d ---------------------------- */

template <> struct mm_format<FMT_Q6_K> {
    static constexpr int BYTES = 210, PIECES = 14, APART = 240, BLOCK = 256, GROUP = 16, MIN = 0;
    static constexpr int BIAS = 32, BOOK = 0;
    static constexpr bool WHOLE = false;

    /* lane s has 16 bytes of low: 16 weights of quarter q = s / 2 % 2 and 16 of quarter q + 2 */
    static __device__ __forceinline__ int x0(int s)
    {
        return 128 * (s / 4) + 16 * (s & 3);
    }
    static __device__ __forceinline__ int x1(int s)
    {
        return x0(s) + 64;
    }
    /* bits 2q and 2q + 1 of each byte of h, as bits 4 and 5 */
    static __device__ __forceinline__ uint32_t high(uint32_t h, int q)
    {
        return (h >> 2 * q & 0x03030303u) << 4;
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        const int half = s / 4, q = s / 2 & 1;
        uint32_t low[4], top[4];
        mm_even_words(p + 16 * s, low); /* the word after is of top or of the scales */
        mm_even_words(p + 128 + 32 * half + 16 * (s & 1), top);
#pragma unroll
        for (int i = 0; i < 4; i++) { /* bits 2q, 2q + 1, then 2q + 4, 2q + 5, as bits 4 and 5 */
            l.run0[i] = mm_low4(low[i]) | (top[i] << (4 - 2 * q) & 0x30303030u);
            l.run1[i] = mm_high4(low[i]) | (top[i] >> 2 * q & 0x30303030u);
        }
        l.scale0 = (int8_t)p[192 + 8 * half + (s & 3)];
        l.scale1 = (int8_t)p[192 + 8 * half + (s & 3) + 4];
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
        const struct mm_even low = mm_even_at(p + 4 * t), top = mm_even_at(p + 128 + 4 * t);
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t h = mm_even_word(top, 8 * half + 4 * i);
#pragma unroll
                for (int q = 0; q < 2; q++) {
                    const uint32_t v = mm_even_word(low, 16 * half + 8 * q + 4 * i);
                    w[4 * half + q][i] = mm_minus<32>(mm_low4(v) | high(h, q));
                    w[4 * half + q + 2][i] = mm_minus<32>(mm_high4(v) | high(h, q + 2));
                }
            }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        const struct mm_even at = mm_even_at(p + 192);
        struct mm_factors f = {};
#pragma unroll
        for (int i = 0; i < 4; i++)
            f.scale[i] = mm_even_word(at, i);
        f.d = vec_half(mm_u16(p + 208));
        return f;
    }
    static __device__ __forceinline__ int scale(const struct mm_factors &f, int g)
    {
        return (int8_t)(f.scale[g / 4] >> 8 * (g % 4));
    }
};

/* ---- Q8_0, Q4_0: lane s takes block s ---------------------------------------------------- */

template <> struct mm_format<FMT_Q8_0> {
    static constexpr int BYTES = 272, PIECES = 18, APART = 304, BLOCK = 32, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ int x0(int s)
    {
        return 32 * s;
    }
    static __device__ __forceinline__ int x1(int s)
    {
        return 32 * s + 16;
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        uint32_t q[8];
        mm_even_words(p + 34 * s + 2, q); /* after the last block: zeros of the last piece */
#pragma unroll
        for (int i = 0; i < 4; i++) {
            l.run0[i] = q[i];
            l.run1[i] = q[i + 4];
        }
        l.d = d32(p, s);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int b = 0; b < 8; b++) {
            const struct mm_even q = mm_even_at(p + 34 * b + 2 + 4 * t);
            w[b][0] = mm_even_word(q, 0);
            w[b][1] = mm_even_word(q, 4);
        }
    }
    static __device__ __forceinline__ float d32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 34 * b));
    }
};

template <> struct mm_format<FMT_Q4_0> {
    static constexpr int BYTES = 144, PIECES = 10, APART = 176, BLOCK = 32, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 8, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ int x0(int s)
    {
        return 32 * s;
    }
    static __device__ __forceinline__ int x1(int s)
    {
        return 32 * s + 16;
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        uint32_t q[4];
        mm_even_words(p + 18 * s + 2, q); /* after the last block: the last piece */
#pragma unroll
        for (int i = 0; i < 4; i++) {
            l.run0[i] = mm_low4(q[i]);
            l.run1[i] = mm_high4(q[i]);
        }
        l.d = d32(p, s);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int b = 0; b < 8; b++) {
            const uint32_t v = mm_even_word(mm_even_at(p + 18 * b + 2 + 4 * t), 0);
            w[b][0] = mm_minus<8>(mm_low4(v));
            w[b][1] = mm_minus<8>(mm_high4(v));
        }
    }
    static __device__ __forceinline__ float d32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 18 * b));
    }
};

/* ---- with or without a code book ----------------------------------------------------------- */

/* The block's code book, filled; NULL if the format has none. All `threads` of the block call. */
template <enum fmt F>
__device__ __forceinline__ const uint8_t *mm_book(SmemCarve &carve, int threads)
{
    if constexpr (mm_format<F>::BOOK > 0) {
        uint8_t *book = carve.take<uint8_t>(mm_format<F>::BOOK, 16);
        mm_format<F>::fill(book, threads);
        __syncthreads(); /* the book is whole */
        return book;
    } else {
        return nullptr;
    }
}

template <enum fmt F>
__device__ __forceinline__ void mm_lane_of(const uint8_t *p, int s, const uint8_t *book,
                                           struct mm_lane &l)
{
    if constexpr (mm_format<F>::BOOK > 0)
        mm_format<F>::lane(p, s, book, l);
    else
        mm_format<F>::lane(p, s, l);
}

template <enum fmt F>
__device__ __forceinline__ void mm_words_of(const uint8_t *p, int t, const uint8_t *book,
                                            uint32_t (&w)[8][2])
{
    if constexpr (mm_format<F>::BOOK > 0)
        mm_format<F>::words(p, t, book, w);
    else
        mm_format<F>::words(p, t, w);
}

/* The sum of a chunk's minimums, each times the sum of the x that it meets. */
template <enum fmt F>
__device__ __forceinline__ int mm_chunk_min(const struct mm_factors &f, const struct mm_x *x)
{
    const int min = mm_min(f.min, vec_load16(x->k.hi));
    if constexpr (mm_format<F>::GROUP == 32)
        return min;
    else
        return min + mm_min_first(f.less, vec_load16(&x->k.d));
}

/* ---- from global to shared memory -------------------------------------------------------- */

/* Copies the 16 bytes at p to `to`. When p is not aligned, copies from the aligned address below p
 * on. The chunk that begins at p then lies at to + mm_offset<F>(p). */
template <enum fmt F> __device__ __forceinline__ void mm_copy_piece(uint8_t *to, const uint8_t *p)
{
    cp_async16(to, mm_format<F>::WHOLE ? p : p - ((uintptr_t)p & 15));
}

/* true: mm_copy_piece can copy a chunk that has `left` bytes up to the end of its row. */
template <enum fmt F> __device__ __forceinline__ bool mm_is_inside(int left)
{
    return mm_format<F>::WHOLE || left >= 16 * mm_format<F>::PIECES;
}

/* Otherwise: copies as mm_copy_piece when the row ends `left` bytes after p, and fills with zeros
 * after the end. Nothing outside the row is read except the bytes below p in its first piece. They
 * belong to the row before, since the matrix begins at a multiple of 16. */
template <enum fmt F>
__device__ __forceinline__ void mm_copy_last(uint8_t *to, const uint8_t *p, int left)
{
    const int low = (int)((uintptr_t)p & 15);
    cp_async16_part(to, p - low, min(max(left + low, 0), 16));
}

template <enum fmt F> __device__ __forceinline__ int mm_offset(const uint8_t *p)
{
    return mm_format<F>::WHOLE ? 0 : (int)((uintptr_t)p & 15);
}

} // namespace CU_NS

#endif
