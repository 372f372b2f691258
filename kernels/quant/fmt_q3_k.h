/*
 * fmt_q3_k: super-blocks of 256 = 16 groups of 16; 3-bit quants, a signed 6-bit scale per group,
 * one f16 factor. 3.4375 bits a weight.
 *
 *   x[i] = d * scale(g) * quant(i)          g = i / 16, quants -4..3, scales -32..31
 *
 *   bytes 0..31    high: bit i / 32 of byte i % 32 is set where quant i >= 0
 *   bytes 32..95   low: bits 1,0 of the quants, in the order of Q2_K's q
 *   bytes 96..107  scales plus 32: bits 3..0 of scale g in a nibble of byte g % 8 (the low one for
 *                  g < 8), bits 5,4 in bits 2 (g / 4) of byte 8 + g % 4
 *   bytes 108..109 d, f16
 *
 * Encoding: quant_fit.h. Magnitudes above 65504 * 31 * 3 are clamped.
 */
#ifndef MAS_FMT_Q3_K_H
#define MAS_FMT_Q3_K_H

#include "fmt_block.h"

struct fmt_q3_k {
    uint8_t high[32];
    uint8_t low[64];
    uint8_t scale[12];
    uint16_t d;
};
static_assert(sizeof(struct fmt_q3_k) == 110, "Q3_K block");

FMT_FN int fmt_q3_k_scale(const uint8_t p[12], int group) /* -32..31 */
{
    return ((p[group % 8] >> (group / 8 * 4) & 15) | (p[8 + group % 4] >> (group / 4 * 2) & 3)
                                                         << 4) -
           32;
}

FMT_FN int fmt_q3_k_quant(const struct fmt_q3_k *b, int i) /* -4..3 */
{
    return fmt_k_two_bits(b->low, i) + (b->high[i % 32] >> (i / 32) & 1) * 4 - 4;
}

/* Element i of a row. */
FMT_FN float fmt_q3_k_element(const void *row, int64_t i)
{
    const struct fmt_q3_k *b = (const struct fmt_q3_k *)row + i / FMT_K;
    const int k = (int)(i % FMT_K);
    return FMT_LOAD_F16(b->d) * (float)fmt_q3_k_scale(b->scale, k / 16) *
           (float)fmt_q3_k_quant(b, k);
}

#endif
