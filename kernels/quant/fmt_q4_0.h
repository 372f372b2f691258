/*
 * fmt_q4_0: blocks of 32: one f16 scale, 4-bit quants. 4.5 bits a weight.
 *
 *   x[i] = d * (quant(i) - 8)          quants 0..15, so -8..7 after the shift
 *
 *   bytes 0..1    d, f16
 *   bytes 2..17   q[j]: low nibble = quant j, high nibble = quant j + 16
 *
 * Encoding: least squares over candidate scales (quant_fit.h). Magnitudes above 65504 * 8 are
 * clamped.
 */
#ifndef MAS_FMT_Q4_0_H
#define MAS_FMT_Q4_0_H

#include "fmt_block.h"

struct fmt_q4_0 {
    uint16_t d;
    uint8_t q[16];
};
static_assert(sizeof(struct fmt_q4_0) == 18, "Q4_0 block");

FMT_FN int fmt_q4_0_quant(const struct fmt_q4_0 *b, int i) /* -8..7 */
{
    return (i < 16 ? b->q[i] & 15 : b->q[i - 16] >> 4) - 8;
}

/* Element i; d = b->d as f32. */
FMT_FN float fmt_q4_0_value(const struct fmt_q4_0 *b, float d, int i)
{
    return d * (float)fmt_q4_0_quant(b, i);
}

/* Element i of a row. */
FMT_FN float fmt_q4_0_element(const void *row, int64_t i)
{
    const struct fmt_q4_0 *b = (const struct fmt_q4_0 *)row + i / 32;
    return fmt_q4_0_value(b, FMT_LOAD_F16(b->d), (int)(i % 32));
}

#endif
