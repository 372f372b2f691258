/*
 * fmt_iq3_s: super-blocks of 256 = 8 groups of 32; each four magnitudes are a point of a code book;
 * a 4-bit scale per group, one f16 factor. 3.4375 bits a weight.
 *
 *   x[i] = d * (2 scale(g) + 1) * sign(i) * size(i)          g = i / 32, scales 0..15
 *
 *   bytes 0..1      d, f16
 *   bytes 2..65     q: byte i / 4 is the number of the point in fmt_iq3_s_book, less its bit 8
 *   bytes 66..73    high: bit i / 4 % 8 of byte g is that bit 8
 *   bytes 74..105   sign: bit i % 8 of byte i / 8 is set where x[i] is negative
 *   bytes 106..109  scale(g): byte g / 2, low nibble for an even g
 *
 * No encoder: the format is only read.
 */
#ifndef MAS_FMT_IQ3_S_H
#define MAS_FMT_IQ3_S_H

#include "fmt_iq.h"

struct fmt_iq3_s {
    uint16_t d;
    uint8_t q[64];
    uint8_t high[8];
    uint8_t sign[32];
    uint8_t scale[4];
};
static_assert(sizeof(struct fmt_iq3_s) == 110, "IQ3_S block");

FMT_FN float fmt_iq3_s_step(const struct fmt_iq3_s *b, float d, int group)
{
    return d * (float)(1 + 2 * (b->scale[group / 2] >> (group % 2 * 4) & 15));
}

FMT_FN int fmt_iq3_s_quant(const struct fmt_iq3_s *b, int i) /* -15..15, odd */
{
    const int point = fmt_iq3_s_book[b->q[i / 4] | (b->high[i / 32] >> i / 4 % 8 & 1) << 8];
    return fmt_iq_signed(fmt_iq3_s_size(point, i % 4), b->sign[i / 8], i % 8);
}

/* Element i of a row. */
FMT_FN float fmt_iq3_s_element(const void *row, int64_t i)
{
    const struct fmt_iq3_s *b = (const struct fmt_iq3_s *)row + i / FMT_K;
    const int k = (int)(i % FMT_K);
    return fmt_iq3_s_step(b, FMT_LOAD_F16(b->d), k / 32) * (float)fmt_iq3_s_quant(b, k);
}

#endif
