/*
 * fmt_iq3_xxs: super-blocks of 256 = 8 groups of 32; each four magnitudes are a point of a code
 * book; a 4-bit scale per group, one f16 factor. 3.0625 bits a weight.
 *
 *   x[i] = d * (scale(g) + 1/2) / 2 * sign(i) * size(i)          g = i / 32, scales 0..15
 *
 *   bytes 0..1    d, f16
 *   bytes 2..65   q: byte i / 4 is the number of the point in fmt_iq3_xxs_book
 *   bytes 66..97  a 32-bit word for each group: seven sign bits (fmt_iq_signs) for each eight
 *                 elements from bit 0 on, then the scale in bits 31..28
 *
 * No encoder: the format is only read.
 */
#ifndef MAS_FMT_IQ3_XXS_H
#define MAS_FMT_IQ3_XXS_H

#include "fmt_iq.h"

struct fmt_iq3_xxs {
    uint16_t d;
    uint8_t q[64];
    uint16_t word[16]; /* a pair for each group, the low half first */
};
static_assert(sizeof(struct fmt_iq3_xxs) == 98, "IQ3_XXS block");

FMT_FN uint32_t fmt_iq3_xxs_word(const struct fmt_iq3_xxs *b, int group)
{
    return b->word[2 * group] | (uint32_t)b->word[2 * group + 1] << 16;
}

FMT_FN float fmt_iq3_xxs_step(float d, uint32_t word)
{
    return d * (0.5f + (float)(word >> 28)) * 0.5f;
}

/* Element i of a row. */
FMT_FN float fmt_iq3_xxs_element(const void *row, int64_t i)
{
    const struct fmt_iq3_xxs *b = (const struct fmt_iq3_xxs *)row + i / FMT_K;
    const int k = (int)(i % FMT_K);
    const uint32_t word = fmt_iq3_xxs_word(b, k / 32);
    const int signs = fmt_iq_signs((int)(word >> k / 8 % 4 * 7 & 127)),
              size = fmt_iq3_xxs_size(fmt_iq3_xxs_book[b->q[k / 4]], k % 4);
    return fmt_iq3_xxs_step(FMT_LOAD_F16(b->d), word) * (float)fmt_iq_signed(size, signs, k % 8);
}

#endif
