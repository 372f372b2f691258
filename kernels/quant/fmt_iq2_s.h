/*
 * fmt_iq2_s: super-blocks of 256 = 16 groups of 16; each eight magnitudes are a point of a code
 * book; a 4-bit scale per group, one f16 factor. 2.5625 bits a weight.
 *
 *   x[i] = d * (scale(g) + 1/2) / 4 * sign(i) * size(i)          g = i / 16, scales 0..15
 *
 *   bytes 0..1    d, f16
 *   bytes 2..33   q: byte i / 8 is the number of the point in fmt_iq2_s_book, less its bits 9,8
 *   bytes 34..65  sign: bit i % 8 of byte i / 8 is set where x[i] is negative
 *   bytes 66..73  high: bits 2k+1,2k of byte i / 32 are those bits 9,8, k = i / 8 % 4
 *   bytes 74..81  scale(g): byte g / 2, low nibble for an even g
 *
 * No encoder: the format is only read.
 */
#ifndef MAS_FMT_IQ2_S_H
#define MAS_FMT_IQ2_S_H

#include "fmt_iq.h"

struct fmt_iq2_s {
    uint16_t d;
    uint8_t q[32];
    uint8_t sign[32];
    uint8_t high[8];
    uint8_t scale[8];
};
static_assert(sizeof(struct fmt_iq2_s) == 82, "IQ2_S block");

FMT_FN int fmt_iq2_s_quant(const struct fmt_iq2_s *b, int i)
{
    const int number = b->q[i / 8] | (b->high[i / 32] >> i / 8 % 4 * 2 & 3) << 8;
    return fmt_iq_signed(fmt_iq2_size(fmt_iq2_s_book[number], i % 8), b->sign[i / 8], i % 8);
}

/* Element i of a row. */
FMT_FN float fmt_iq2_s_element(const void *row, int64_t i)
{
    const struct fmt_iq2_s *b = (const struct fmt_iq2_s *)row + i / FMT_K;
    const int k = (int)(i % FMT_K);
    return fmt_iq2_step(FMT_LOAD_F16(b->d), b->scale, k / 16) * (float)fmt_iq2_s_quant(b, k);
}

#endif
