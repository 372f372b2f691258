/*
 * matmul_block_low: Q4_1, Q5_0, Q5_1, Q2_K and Q3_K for matmul_block.cuh.
 *
 *   format  bytes of a chunk  pieces  apart  chunk begins
 *   Q4_1    160 = 8 x 20      11      176    at any word of the first piece
 *   Q5_0    176 = 8 x 22      12      208    at any even byte of the first piece
 *   Q5_1    192 = 8 x 24      13      208    at byte 0 or 8 of the first piece
 *   Q2_K    84                6       112    at any word of the first piece
 *   Q3_K    110               8       144    at any even byte of the first piece
 */
#ifndef MAS_MATMUL_BLOCK_LOW_CUH
#define MAS_MATMUL_BLOCK_LOW_CUH

#include "matmul_block.cuh"

namespace CU_NS
{

/* Lane s takes block s. */
struct mm_runs_32 {
    static __device__ __forceinline__ int x0(int s)
    {
        return 32 * s;
    }
    static __device__ __forceinline__ int x1(int s)
    {
        return 32 * s + 16;
    }
};

/* Lane s takes 16 weights of quarter q = s / 2 % 2 of half s / 4, and 16 of quarter q + 2. */
struct mm_runs_16 {
    static __device__ __forceinline__ int x0(int s)
    {
        return 128 * (s / 4) + 16 * (s & 3);
    }
    static __device__ __forceinline__ int x1(int s)
    {
        return x0(s) + 64;
    }
};

/* Scales of a chunk as signed bytes. */
struct mm_byte_scales {
    static __device__ __forceinline__ int scale(const struct mm_factors &f, int g)
    {
        return (int8_t)(f.scale[g / 4] >> 8 * (g % 4));
    }
};

/* ---- Q5_0, Q5_1, Q4_1 ------------------------------------------------------------------------ */

/* Bits 0..3 of v as bit 4 of the bytes 0..3: each bit meets one of the four shifts 4, 11, 18, 25 at
 * its place, and no two products meet. */
__device__ __forceinline__ uint32_t mm_fifth_bits(uint32_t v)
{
    return (v & 15) * 0x02040810u & 0x10101010u;
}

template <> struct mm_format<FMT_Q4_1> : mm_runs_32 {
    static constexpr int BYTES = 160, PIECES = 11, APART = 176, BLOCK = 32, GROUP = 32, MIN = 1;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t v = mm_u32(p + 20 * s + 4 + 4 * i);
            l.run0[i] = mm_low4(v);
            l.run1[i] = mm_high4(v);
        }
        const float2 both = vec_half2(mm_u32(p + 20 * s));
        l.d = both.x;
        l.m = both.y;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int b = 0; b < 8; b++) {
            const uint32_t v = mm_u32(p + 20 * b + 4 + 4 * t);
            w[b][0] = mm_low4(v);
            w[b][1] = mm_high4(v);
        }
    }
    static __device__ __forceinline__ float d32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 20 * b));
    }
    static __device__ __forceinline__ float m32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 20 * b + 2));
    }
};

template <> struct mm_format<FMT_Q5_0> : mm_runs_32 {
    static constexpr int BYTES = 176, PIECES = 12, APART = 208, BLOCK = 32, GROUP = 32, MIN = 0;
    static constexpr int BIAS = 16, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        uint32_t v[5]; /* high, then low; after the last block: the last piece */
        mm_even_words(p + 22 * s + 2, v);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            l.run0[i] = mm_low4(v[1 + i]) | mm_fifth_bits(v[0] >> 4 * i);
            l.run1[i] = mm_high4(v[1 + i]) | mm_fifth_bits(v[0] >> (16 + 4 * i));
        }
        l.d = d32(p, s);
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int b = 0; b < 8; b++) {
            const uint32_t h = mm_even_word(mm_even_at(p + 22 * b + 2), 0) >> 4 * t;
            const uint32_t v = mm_even_word(mm_even_at(p + 22 * b + 6 + 4 * t), 0);
            w[b][0] = mm_minus<16>(mm_low4(v) | mm_fifth_bits(h));
            w[b][1] = mm_minus<16>(mm_high4(v) | mm_fifth_bits(h >> 16));
        }
    }
    static __device__ __forceinline__ float d32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 22 * b));
    }
};

template <> struct mm_format<FMT_Q5_1> : mm_runs_32 {
    static constexpr int BYTES = 192, PIECES = 13, APART = 208, BLOCK = 32, GROUP = 32, MIN = 1;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        const uint2 head = vec_load8(p + 24 * s), a = vec_load8(p + 24 * s + 8),
                    b = vec_load8(p + 24 * s + 16);
        const uint32_t v[4] = {a.x, a.y, b.x, b.y};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            l.run0[i] = mm_low4(v[i]) | mm_fifth_bits(head.y >> 4 * i);
            l.run1[i] = mm_high4(v[i]) | mm_fifth_bits(head.y >> (16 + 4 * i));
        }
        const float2 both = vec_half2(head.x);
        l.d = both.x;
        l.m = both.y;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int b = 0; b < 8; b++) {
            const uint32_t h = mm_u32(p + 24 * b + 4) >> 4 * t;
            const uint32_t v = mm_u32(p + 24 * b + 8 + 4 * t);
            w[b][0] = mm_low4(v) | mm_fifth_bits(h);
            w[b][1] = mm_high4(v) | mm_fifth_bits(h >> 16);
        }
    }
    static __device__ __forceinline__ float d32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 24 * b));
    }
    static __device__ __forceinline__ float m32(const uint8_t *p, int b)
    {
        return vec_half(mm_u16(p + 24 * b + 2));
    }
};

/* ---- Q2_K: bytes scale and minimum, q, d, dmin ----------------------------------------------- */

template <> struct mm_format<FMT_Q2_K> : mm_runs_16, mm_byte_scales {
    static constexpr int BYTES = 84, PIECES = 6, APART = 112, BLOCK = 256, GROUP = 16, MIN = 1;
    static constexpr int BIAS = 0, BOOK = 0;
    static constexpr bool WHOLE = false;

    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        const int q = s / 2 & 1, first = 8 * (s / 4) + (s & 3);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t v = mm_u32(p + 16 + 32 * (s / 4) + 16 * (s & 1) + 4 * i) >> 2 * q;
            l.run0[i] = v & 0x03030303u;
            l.run1[i] = v >> 4 & 0x03030303u;
        }
        l.scale0 = p[first] & 15;
        l.scale1 = p[first + 4] & 15;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t v = mm_u32(p + 16 + 32 * half + 4 * (t + 4 * i));
#pragma unroll
                for (int q = 0; q < 4; q++)
                    w[4 * half + q][i] = v >> 2 * q & 0x03030303u;
            }
    }
    /* min: of the odd groups; less: of the even ones minus those */
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        struct mm_factors f = {};
        uint32_t min[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t v = mm_u32(p + 4 * i);
            f.scale[i] = mm_low4(v);
            min[i] = mm_high4(v);
        }
        f.min.x = __byte_perm(min[0], min[1], 0x7531);
        f.min.y = __byte_perm(min[2], min[3], 0x7531);
        f.less.x = mm_minus_bytes(__byte_perm(min[0], min[1], 0x6420), f.min.x);
        f.less.y = mm_minus_bytes(__byte_perm(min[2], min[3], 0x6420), f.min.y);
        const float2 both = vec_half2(mm_u32(p + 80));
        f.d = both.x;
        f.dmin = both.y;
        return f;
    }
};

/* ---- Q3_K: bytes high, low, scale, d --------------------------------------------------------- */

template <> struct mm_format<FMT_Q3_K> : mm_runs_16, mm_byte_scales {
    static constexpr int BYTES = 110, PIECES = 8, APART = 144, BLOCK = 256, GROUP = 16, MIN = 0;
    static constexpr int BIAS = 4, BOOK = 0;
    static constexpr bool WHOLE = false;

    /* bit g of each byte of h, as bit 2 */
    static __device__ __forceinline__ uint32_t high(uint32_t h, int g)
    {
        return (h >> g & 0x01010101u) << 2;
    }
    static __device__ __forceinline__ void lane(const uint8_t *p, int s, struct mm_lane &l)
    {
        const int half = s / 4, q = s / 2 & 1;
        uint32_t low[4], top[4];
        mm_even_words(p + 32 + 32 * half + 16 * (s & 1), low); /* the word after is of the chunk */
        mm_even_words(p + 16 * (s & 1), top);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t v = low[i] >> 2 * q, h = top[i] >> (4 * half + q);
            l.run0[i] = (v & 0x03030303u) | high(h, 0);
            l.run1[i] = (v >> 4 & 0x03030303u) | high(h, 2);
        }
        const uint8_t *c = p + 96 + (s & 3);
        const int both = c[8] >> 4 * half; /* bits 5,4 of the one, then of the other */
        l.scale0 = ((c[0] >> 4 * half & 15) | (both & 3) << 4) - 32;
        l.scale1 = ((c[4] >> 4 * half & 15) | (both >> 2 & 3) << 4) - 32;
    }
    static __device__ __forceinline__ void words(const uint8_t *p, int t, uint32_t (&w)[8][2])
    {
        const struct mm_even top = mm_even_at(p + 4 * t), low = mm_even_at(p + 32 + 4 * t);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint32_t h = mm_even_word(top, 4 * i);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const uint32_t v = mm_even_word(low, 8 * half + 4 * i);
#pragma unroll
                for (int q = 0; q < 4; q++)
                    w[4 * half + q][i] =
                        mm_minus<4>((v >> 2 * q & 0x03030303u) | high(h, 4 * half + q));
            }
        }
    }
    static __device__ __forceinline__ struct mm_factors factors(const uint8_t *p)
    {
        const struct mm_even at = mm_even_at(p + 96);
        const uint32_t top = mm_even_word(at, 2);
        struct mm_factors f = {};
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint32_t v = mm_even_word(at, i);
            f.scale[i] = mm_minus<32>(mm_low4(v) | (top >> 2 * i & 0x03030303u) << 4);
            f.scale[i + 2] = mm_minus<32>(mm_high4(v) | (top >> (4 + 2 * i) & 0x03030303u) << 4);
        }
        f.d = vec_half(mm_u16(p + 108));
        return f;
    }
};

} // namespace CU_NS

#endif
