/*
 * fmt_iq4_xs: super-blocks of 256 = 8 groups of 32; 4-bit numbers of entries of a table, a signed
 * 6-bit scale per group, one f16 factor. 4.25 bits a weight.
 *
 *   x[i] = d * scale(g) * fmt_iq4_book[index(i)]          g = i / 32, scales -32..31
 *
 *   bytes 0..1    d, f16
 *   bytes 2..3    bits 2g+1,2g: bits 5,4 of scale(g) plus 32
 *   bytes 4..7    bits 3..0 of it: byte g / 2, low nibble for an even g
 *   bytes 8..135  q: 16 bytes for each group, as in IQ4_NL
 *
 * Encoding: quant_fit.h. Magnitudes above 65504 * 31 * 113 are clamped.
 */
#ifndef MAS_FMT_IQ4_XS_H
#define MAS_FMT_IQ4_XS_H

#include "fmt_iq.h"

struct fmt_iq4_xs {
    uint16_t d;
    uint16_t scale_high;
    uint8_t scale_low[4];
    uint8_t q[128];
};
static_assert(sizeof(struct fmt_iq4_xs) == 136, "IQ4_XS block");

FMT_FN int fmt_iq4_xs_scale(const struct fmt_iq4_xs *b, int group) /* -32..31 */
{
    return ((b->scale_low[group / 2] >> (group % 2 * 4) & 15) | (b->scale_high >> 2 * group & 3)
                                                                    << 4) -
           32;
}

/* Element i of a row. */
FMT_FN float fmt_iq4_xs_element(const void *row, int64_t i)
{
    const struct fmt_iq4_xs *b = (const struct fmt_iq4_xs *)row + i / FMT_K;
    const int k = (int)(i % FMT_K), byte = b->q[k / 32 * 16 + k % 16];
    return FMT_LOAD_F16(b->d) * (float)fmt_iq4_xs_scale(b, k / 32) *
           (float)fmt_iq4_book[k & 16 ? byte >> 4 : byte & 15];
}

#endif
