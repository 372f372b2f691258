/*
 * fmt_q4_k: super-blocks of 256 = 8 groups of 32; 4-bit quants, a 6-bit scale and minimum per
 * group, one f16 factor for each of the two. 4.5 bits a weight.
 *
 *   x[i] = d * scale(g) * quant(i) - dmin * min(g)          g = i / 32
 *
 *   bytes 0..1     d, f16
 *   bytes 2..3     dmin, f16
 *   bytes 4..15    scales and minimums, 6 bits each (fmt_block.h)
 *   bytes 16..143  q: 32 bytes for each pair of groups; byte j of pair p holds
 *                  low nibble = quant 64p + j, high nibble = quant 64p + 32 + j
 *
 * Encoding: quant_fit.h. A minimum cannot be negative: a group of positive numbers only is fitted
 * with minimum 0. Values outside [-65504 * 63, 65504 * 63] are clamped.
 */
#ifndef MAS_FMT_Q4_K_H
#define MAS_FMT_Q4_K_H

#include "fmt_block.h"

struct fmt_q4_k {
    uint16_t d, dmin;
    uint8_t scale[12];
    uint8_t q[128];
};
static_assert(sizeof(struct fmt_q4_k) == 144, "Q4_K block");

FMT_FN int fmt_q4_k_quant(const struct fmt_q4_k *b, int i) /* 0..15 */
{
    int byte = b->q[i / 64 * 32 + i % 32];
    return i & 32 ? byte >> 4 : byte & 15;
}

/* Element i; d and dmin = those of b as f32. */
FMT_FN float fmt_q4_k_value(const struct fmt_q4_k *b, float d, float dmin, int i)
{
    float step = d * (float)fmt_k_scale(b->scale, i / 32),
          low = dmin * (float)fmt_k_min(b->scale, i / 32);
    return step * (float)fmt_q4_k_quant(b, i) - low;
}

/* Element i of a row. */
FMT_FN float fmt_q4_k_element(const void *row, int64_t i)
{
    const struct fmt_q4_k *b = (const struct fmt_q4_k *)row + i / FMT_K;
    return fmt_q4_k_value(b, FMT_LOAD_F16(b->d), FMT_LOAD_F16(b->dmin), (int)(i % FMT_K));
}

#endif
