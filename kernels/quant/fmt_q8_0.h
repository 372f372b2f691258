/*
 * fmt_q8_0: blocks of 32: one f16 scale, int8 quants. 8.5 bits a weight.
 *
 *   x[i] = d * q[i]
 *
 *   bytes 0..1    d, f16
 *   bytes 2..33   q, int8; the encoder keeps to -127..127 so that a kernel may negate a quant
 *
 * Encoding: d is the smallest f16 near max|x| / 127 that clips nothing, so the error is at most d
 * / 2. Magnitudes above 65504 * 127 are clamped.
 */
#ifndef MAS_FMT_Q8_0_H
#define MAS_FMT_Q8_0_H

#include "fmt_block.h"

struct fmt_q8_0 {
    uint16_t d;
    int8_t q[32];
};
static_assert(sizeof(struct fmt_q8_0) == 34, "Q8_0 block");

/* Element i; d = b->d as f32. */
FMT_FN float fmt_q8_0_value(const struct fmt_q8_0 *b, float d, int i)
{
    return d * (float)b->q[i];
}

/* Element i of a row. */
FMT_FN float fmt_q8_0_element(const void *row, int64_t i)
{
    const struct fmt_q8_0 *b = (const struct fmt_q8_0 *)row + i / 32;
    return fmt_q8_0_value(b, FMT_LOAD_F16(b->d), (int)(i % 32));
}

#endif
