/*
 * fmt_iq4_nl: blocks of 32: one f16 scale, 4-bit numbers of entries of a table. 4.5 bits a weight.
 *
 *   x[i] = d * fmt_iq4_book[index(i)]
 *
 *   bytes 0..1    d, f16
 *   bytes 2..17   q[j]: low nibble = index j, high nibble = index j + 16
 *
 * Encoding: quant_fit.h; d may be negative. Magnitudes above 65504 * 113 are clamped.
 */
#ifndef MAS_FMT_IQ4_NL_H
#define MAS_FMT_IQ4_NL_H

#include "fmt_iq.h"

struct fmt_iq4_nl {
    uint16_t d;
    uint8_t q[16];
};
static_assert(sizeof(struct fmt_iq4_nl) == 18, "IQ4_NL block");

/* Element i of a row. */
FMT_FN float fmt_iq4_nl_element(const void *row, int64_t i)
{
    const struct fmt_iq4_nl *b = (const struct fmt_iq4_nl *)row + i / 32;
    const int k = (int)(i % 32);
    return FMT_LOAD_F16(b->d) * (float)fmt_iq4_book[k < 16 ? b->q[k] & 15 : b->q[k - 16] >> 4];
}

#endif
