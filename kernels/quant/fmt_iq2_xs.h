/*
 * fmt_iq2_xs: super-blocks of 256 = 16 groups of 16; each eight magnitudes are a point of a code
 * book; a 4-bit scale per group, one f16 factor. 2.3125 bits a weight.
 *
 *   x[i] = d * (scale(g) + 1/2) / 4 * sign(i) * size(i)          g = i / 16, scales 0..15
 *
 *   bytes 0..1    d, f16
 *   bytes 2..65   q[i / 8]: bits 8..0 are the number of the point in fmt_iq2_xs_book, bits 15..9
 *                 seven sign bits (fmt_iq_signs)
 *   bytes 66..73  scale(g): byte g / 2, low nibble for an even g
 *
 * No encoder: the format is only read.
 */
#ifndef MAS_FMT_IQ2_XS_H
#define MAS_FMT_IQ2_XS_H

#include "fmt_iq.h"

struct fmt_iq2_xs {
    uint16_t d;
    uint16_t q[32];
    uint8_t scale[8];
};
static_assert(sizeof(struct fmt_iq2_xs) == 74, "IQ2_XS block");

/* Element i of a row. */
FMT_FN float fmt_iq2_xs_element(const void *row, int64_t i)
{
    const struct fmt_iq2_xs *b = (const struct fmt_iq2_xs *)row + i / FMT_K;
    const int k = (int)(i % FMT_K), q = b->q[k / 8];
    const int size = fmt_iq2_size(fmt_iq2_xs_book[q & 511], k % 8);
    return fmt_iq2_step(FMT_LOAD_F16(b->d), b->scale, k / 16) *
           (float)fmt_iq_signed(size, fmt_iq_signs(q >> 9), k % 8);
}

#endif
