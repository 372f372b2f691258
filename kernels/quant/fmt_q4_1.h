/*
 * fmt_q4_1: blocks of 32: an f16 step, an f16 minimum, 4-bit quants. 5 bits a weight.
 *
 *   x[i] = d * quant(i) + m          quants 0..15
 *
 *   bytes 0..1    d, f16
 *   bytes 2..3    m, f16
 *   bytes 4..19   q[j]: low nibble = quant j, high nibble = quant j + 16
 *
 * Encoding: the line of least squares over candidate steps. Magnitudes above 65504 are clamped.
 */
#ifndef MAS_FMT_Q4_1_H
#define MAS_FMT_Q4_1_H

#include "fmt_block.h"

struct fmt_q4_1 {
    uint16_t d, m;
    uint8_t q[16];
};
static_assert(sizeof(struct fmt_q4_1) == 20, "Q4_1 block");

FMT_FN int fmt_q4_1_quant(const struct fmt_q4_1 *b, int i) /* 0..15 */
{
    return i < 16 ? b->q[i] & 15 : b->q[i - 16] >> 4;
}

/* Element i of a row. */
FMT_FN float fmt_q4_1_element(const void *row, int64_t i)
{
    const struct fmt_q4_1 *b = (const struct fmt_q4_1 *)row + i / 32;
    return FMT_LOAD_F16(b->d) * (float)fmt_q4_1_quant(b, (int)(i % 32)) + FMT_LOAD_F16(b->m);
}

#endif
