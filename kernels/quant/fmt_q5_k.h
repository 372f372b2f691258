/*
 * fmt_q5_k: as Q4_K with 5-bit quants. 5.5 bits a weight.
 *
 *   x[i] = d * scale(g) * quant(i) - dmin * min(g)          g = i / 32
 *
 *   bytes 0..1     d, f16
 *   bytes 2..3     dmin, f16
 *   bytes 4..15    scales and minimums, 6 bits each (fmt_block.h)
 *   bytes 16..47   high: bit g of byte j = bit 4 of quant 32g + j
 *   bytes 48..175  low: bits 3..0 of the quants, in the order of Q4_K's q
 *
 * Encoding and limits as Q4_K.
 */
#ifndef MAS_FMT_Q5_K_H
#define MAS_FMT_Q5_K_H

#include "fmt_block.h"

struct fmt_q5_k {
    uint16_t d, dmin;
    uint8_t scale[12];
    uint8_t high[32];
    uint8_t low[128];
};
static_assert(sizeof(struct fmt_q5_k) == 176, "Q5_K block");

FMT_FN int fmt_q5_k_quant(const struct fmt_q5_k *b, int i) /* 0..31 */
{
    int byte = b->low[i / 64 * 32 + i % 32], high = b->high[i % 32] >> (i / 32) & 1;
    return (i & 32 ? byte >> 4 : byte & 15) | high << 4;
}

/* Element i; d and dmin = those of b as f32. */
FMT_FN float fmt_q5_k_value(const struct fmt_q5_k *b, float d, float dmin, int i)
{
    float step = d * (float)fmt_k_scale(b->scale, i / 32),
          low = dmin * (float)fmt_k_min(b->scale, i / 32);
    return step * (float)fmt_q5_k_quant(b, i) - low;
}

/* Element i of a row. */
FMT_FN float fmt_q5_k_element(const void *row, int64_t i)
{
    const struct fmt_q5_k *b = (const struct fmt_q5_k *)row + i / FMT_K;
    return fmt_q5_k_value(b, FMT_LOAD_F16(b->d), FMT_LOAD_F16(b->dmin), (int)(i % FMT_K));
}

#endif
