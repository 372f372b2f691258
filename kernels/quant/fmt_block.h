/*
 * fmt_block: the parts that the block structs of the formats share. Everything here and in
 * fmt_<x>.h is plain data and arithmetic that all processors do alike. FMT_FN marks a function that
 * a device may call, too.
 *
 * Every fmt_<x>.h has fmt_<x>_element(row, i): element i of a row of blocks, with the bits of
 * fmt_<x>_decode. Generic kernels of a device are made of it.
 *
 * Two facts that kernels rely on:
 * - A block lies at any even address (210 and 34 bytes are no multiples of 4).
 * - Products of an f16 scale (11 significant bits), a group scale (4 to 8) and a quant (2 to 8)
 *   have at most 24 significant bits. They are exact in f32, in any order, fused or not. The only
 *   rounding of a decode is the one addition of a minimum: Q4_1, Q5_1, Q2_K, Q4_K and Q5_K.
 */
#ifndef MAS_FMT_BLOCK_H
#define MAS_FMT_BLOCK_H

#include <assert.h>
#include <stdint.h>

#ifdef __CUDACC__
#define FMT_FN static inline __device__
#else
#define FMT_FN static inline
#endif

/* f16 and bf16 -> f32, exact. Device code defines both, by its own instructions, before this. */
#ifndef FMT_LOAD_F16
#include "f16.h"
#define FMT_LOAD_F16(h) f16_to_f32(h)
#define FMT_LOAD_BF16(h) bf16_to_f32(h)
#endif

enum { FMT_K = 256 }; /* elements of a super-block of the K formats */

#define FMT_F16_MAX 65504.0f

/*
 * Eight 6-bit scales s0..s7 and eight 6-bit minimums m0..m7 in 12 bytes (Q4_K, Q5_K); bit 7 on the
 * left:
 *
 *   byte 0..3    s[j+4] bits 5,4 | s[j] bits 5..0         j = byte
 *   byte 4..7    m[j+4] bits 5,4 | m[j] bits 5..0         j = byte - 4
 *   byte 8..11   m[j+4] bits 3..0 | s[j+4] bits 3..0      j = byte - 8
 */
FMT_FN int fmt_k_scale(const uint8_t p[12], int group) /* 0..63 */
{
    return group < 4 ? p[group] & 63 : (p[group + 4] & 15) | (p[group - 4] >> 6) << 4;
}

FMT_FN int fmt_k_min(const uint8_t p[12], int group) /* 0..63 */
{
    return group < 4 ? p[group + 4] & 63 : p[group + 4] >> 4 | (p[group] >> 6) << 4;
}

FMT_FN void fmt_k_pack(const uint8_t scale[8], const uint8_t min[8], uint8_t p[12])
{
    for (int j = 0; j < 4; j++) {
        p[j] = (uint8_t)(scale[j] | (scale[j + 4] >> 4) << 6);
        p[j + 4] = (uint8_t)(min[j] | (min[j + 4] >> 4) << 6);
        p[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

/* Quant i of 32, 0..31 (Q5_0, Q5_1): bit 4 is bit i of high, bits 3..0 lie in the order of Q4_0. */
FMT_FN int fmt_q5_quant(const uint8_t high[4], const uint8_t low[16], int i)
{
    return (i < 16 ? low[i] & 15 : low[i - 16] >> 4) | (high[i / 8] >> (i % 8) & 1) << 4;
}

FMT_FN void fmt_q5_pack(const uint8_t q[32], uint8_t high[4], uint8_t low[16])
{
    for (int j = 0; j < 4; j++)
        high[j] = 0;
    for (int i = 0; i < 32; i++)
        high[i / 8] = (uint8_t)(high[i / 8] | (q[i] >> 4) << (i % 8));
    for (int i = 0; i < 16; i++)
        low[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

/* Bits 1,0 of quant i of 256 (Q2_K, Q3_K): 32 bytes for each half, bits 2q+1,2q for quarter q. */
FMT_FN int fmt_k_two_bits(const uint8_t q[64], int i)
{
    return q[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

FMT_FN void fmt_k_pack_two_bits(const uint8_t v[256], uint8_t q[64])
{
    for (int i = 0; i < 64; i++) {
        const uint8_t *p = v + i / 32 * 128 + i % 32;
        q[i] = (uint8_t)((p[0] & 3) | (p[32] & 3) << 2 | (p[64] & 3) << 4 | (p[96] & 3) << 6);
    }
}

#endif
