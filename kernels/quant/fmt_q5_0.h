/*
 * fmt_q5_0: as Q4_0 with 5-bit quants. 5.5 bits a weight.
 *
 *   x[i] = d * (quant(i) - 16)          quants 0..31, so -16..15 after the shift
 *
 *   bytes 0..1    d, f16
 *   bytes 2..5    high: bit i % 8 of byte i / 8 = bit 4 of quant i
 *   bytes 6..21   low[j]: bits 3..0 of quant j in the low nibble, of quant j + 16 in the high one
 *
 * Encoding: quant_fit.h; d may be negative. Magnitudes above 65504 * 16 are clamped.
 */
#ifndef MAS_FMT_Q5_0_H
#define MAS_FMT_Q5_0_H

#include "fmt_block.h"

struct fmt_q5_0 {
    uint16_t d;
    uint8_t high[4];
    uint8_t low[16];
};
static_assert(sizeof(struct fmt_q5_0) == 22, "Q5_0 block");

FMT_FN int fmt_q5_0_quant(const struct fmt_q5_0 *b, int i) /* -16..15 */
{
    return fmt_q5_quant(b->high, b->low, i) - 16;
}

/* Element i of a row. */
FMT_FN float fmt_q5_0_element(const void *row, int64_t i)
{
    const struct fmt_q5_0 *b = (const struct fmt_q5_0 *)row + i / 32;
    return FMT_LOAD_F16(b->d) * (float)fmt_q5_0_quant(b, (int)(i % 32));
}

#endif
