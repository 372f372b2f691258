/*
 * fmt_q2_k: super-blocks of 256 = 16 groups of 16; 2-bit quants, a 4-bit scale and minimum per
 * group, one f16 factor for each of the two. 2.625 bits a weight.
 *
 *   x[i] = d * scale(g) * quant(i) - dmin * min(g)          g = i / 16
 *
 *   bytes 0..15   low nibble = scale(g), high nibble = min(g)
 *   bytes 16..79  q: 32 bytes for each half h of the block; byte j of half h holds the quants
 *                 128h + j, + 32 + j, + 64 + j and + 96 + j in bits 1,0 / 3,2 / 5,4 / 7,6
 *   bytes 80..81  d, f16
 *   bytes 82..83  dmin, f16
 *
 * Encoding and limits as Q4_K, with codes to 15.
 */
#ifndef MAS_FMT_Q2_K_H
#define MAS_FMT_Q2_K_H

#include "fmt_block.h"

struct fmt_q2_k {
    uint8_t scale[16];
    uint8_t q[64];
    uint16_t d, dmin;
};
static_assert(sizeof(struct fmt_q2_k) == 84, "Q2_K block");

/* Element i of a row. */
FMT_FN float fmt_q2_k_element(const void *row, int64_t i)
{
    const struct fmt_q2_k *b = (const struct fmt_q2_k *)row + i / FMT_K;
    const int k = (int)(i % FMT_K), code = b->scale[k / 16];
    const float step = FMT_LOAD_F16(b->d) * (float)(code & 15),
                low = FMT_LOAD_F16(b->dmin) * (float)(code >> 4);
    return step * (float)fmt_k_two_bits(b->q, k) - low;
}

#endif
