/*
 * fmt_iq2_xxs: super-blocks of 256 = 8 groups of 32; each eight magnitudes are a point of a code
 * book; a 4-bit scale per group, one f16 factor. 2.0625 bits a weight.
 *
 *   x[i] = d * (scale(g) + 1/2) / 4 * sign(i) * size(i)          g = i / 32, scales 0..15
 *
 *   bytes 0..1   d, f16
 *   bytes 2..65  eight bytes for each group: the numbers of four points in fmt_iq2_xxs_book, then a
 *                32-bit word: seven sign bits (fmt_iq_signs) for each eight elements from bit 0 on,
 *                and the scale in bits 31..28
 *
 * No encoder: the format is only read.
 */
#ifndef MAS_FMT_IQ2_XXS_H
#define MAS_FMT_IQ2_XXS_H

#include "fmt_iq.h"

struct fmt_iq2_xxs {
    uint16_t d;
    uint16_t q[32]; /* four for each group */
};
static_assert(sizeof(struct fmt_iq2_xxs) == 66, "IQ2_XXS block");

FMT_FN uint32_t fmt_iq2_xxs_word(const struct fmt_iq2_xxs *b, int group)
{
    return b->q[4 * group + 2] | (uint32_t)b->q[4 * group + 3] << 16;
}

FMT_FN float fmt_iq2_xxs_step(float d, uint32_t word)
{
    return d * (0.5f + (float)(word >> 28)) * 0.25f;
}

/* Element i of a row. */
FMT_FN float fmt_iq2_xxs_element(const void *row, int64_t i)
{
    const struct fmt_iq2_xxs *b = (const struct fmt_iq2_xxs *)row + i / FMT_K;
    const int k = (int)(i % FMT_K), group = k / 32, eight = k / 8 % 4;
    const uint32_t word = fmt_iq2_xxs_word(b, group);
    const int signs = fmt_iq_signs((int)(word >> eight * 7 & 127)),
              number = b->q[4 * group + eight / 2] >> eight % 2 * 8 & 255,
              size = fmt_iq2_size(fmt_iq2_xxs_book[number], k % 8);
    return fmt_iq2_xxs_step(FMT_LOAD_F16(b->d), word) * (float)fmt_iq_signed(size, signs, k % 8);
}

#endif
