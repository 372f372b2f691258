/*
 * fmt_q5_1: as Q4_1 with 5-bit quants. 6 bits a weight.
 *
 *   x[i] = d * quant(i) + m          quants 0..31
 *
 *   bytes 0..1    d, f16
 *   bytes 2..3    m, f16
 *   bytes 4..7    high: bit i % 8 of byte i / 8 = bit 4 of quant i
 *   bytes 8..23   low[j]: bits 3..0 of quant j in the low nibble, of quant j + 16 in the high one
 *
 * Encoding and limits as Q4_1.
 */
#ifndef MAS_FMT_Q5_1_H
#define MAS_FMT_Q5_1_H

#include "fmt_block.h"

struct fmt_q5_1 {
    uint16_t d, m;
    uint8_t high[4];
    uint8_t low[16];
};
static_assert(sizeof(struct fmt_q5_1) == 24, "Q5_1 block");

FMT_FN int fmt_q5_1_quant(const struct fmt_q5_1 *b, int i) /* 0..31 */
{
    return fmt_q5_quant(b->high, b->low, i);
}

/* Element i of a row. */
FMT_FN float fmt_q5_1_element(const void *row, int64_t i)
{
    const struct fmt_q5_1 *b = (const struct fmt_q5_1 *)row + i / 32;
    return FMT_LOAD_F16(b->d) * (float)fmt_q5_1_quant(b, (int)(i % 32)) + FMT_LOAD_F16(b->m);
}

#endif
