/*
 * unpacked: sixteen weight rows with a byte for each quant. A kernel for this form serves all
 * formats of MM_PACKS. Quants stand in the order of x, four of each row in a line of 64 bytes:
 *
 *   struct unpacked_256[block] or struct unpacked_32[block]      16 rows of a strip (lanes.h)
 *
 * A quant is stored as int8, or 128 larger as uint8: UNPACK_FLIP of the instruction set. With
 * AVX-512, Q4_0, Q8_0 and Q6_K have this form, too. There Q2_K and Q3_K hold products of scale and
 * quant (unpack_part_folded), and no scales.
 */
#ifndef MAS_UNPACKED_H
#define MAS_UNPACKED_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum { UNPACKED_LINE = 64 };

struct unpacked_256 {
    uint8_t q[64][UNPACKED_LINE];
    /* int8: byte i of a row's word in line k = group 4 k + i. min: formats with one */
    int8_t scale[4][UNPACKED_LINE], min[4][UNPACKED_LINE];
    float d[16], m[16];
};

struct unpacked_32 {
    uint8_t q[8][UNPACKED_LINE];
    float d[16], m[16];
};

/* Bytes of an unpacked strip of either kind, at most. */
static inline size_t unpacked_most_bytes(int64_t n_in)
{
    return ((size_t)n_in + 31) / 32 * sizeof(struct unpacked_32);
}
static_assert(sizeof(struct unpacked_256) <= 8 * sizeof(struct unpacked_32), "the larger of both");

#endif
