/*
 * fmt_q6_k: super-blocks of 256 = 16 groups of 16; 6-bit quants, an int8 scale per group, one f16
 * factor. 6.5625 bits a weight.
 *
 *   x[i] = d * scale[g] * (quant(i) - 32)          g = i / 16
 *
 *   bytes 0..127    low: bits 3..0 of the quants; 64 bytes for each half h of the block
 *   bytes 128..191  high: bits 5,4; 32 bytes for each half
 *   bytes 192..207  scale, int8
 *   bytes 208..209  d, f16
 *
 * In half h, with j in 0..31, the quants 128h + j, + 32 + j, + 64 + j and + 96 + j are
 *
 *   low nibbles of low[64h + j] and low[64h + 32 + j], high nibbles of the same two bytes;
 *   bits 1,0 / 3,2 / 5,4 / 7,6 of high[32h + j]
 *
 * Encoding: quant_fit.h. Magnitudes above 65504 * 127 * 31 are clamped.
 */
#ifndef MAS_FMT_Q6_K_H
#define MAS_FMT_Q6_K_H

#include "fmt_block.h"

struct fmt_q6_k {
    uint8_t low[128];
    uint8_t high[64];
    int8_t scale[16];
    uint16_t d;
};
static_assert(sizeof(struct fmt_q6_k) == 210, "Q6_K block");

FMT_FN int fmt_q6_k_quant(const struct fmt_q6_k *b, int i) /* -32..31 */
{
    int half = i / 128, quarter = i / 32 % 4, j = i % 32;
    int byte = b->low[64 * half + 32 * (quarter & 1) + j];
    int low = quarter & 2 ? byte >> 4 : byte & 15;
    return (low | (b->high[32 * half + j] >> 2 * quarter & 3) << 4) - 32;
}

/* Element i; d = b->d as f32. */
FMT_FN float fmt_q6_k_value(const struct fmt_q6_k *b, float d, int i)
{
    return d * (float)b->scale[i / 16] * (float)fmt_q6_k_quant(b, i);
}

/* Element i of a row. */
FMT_FN float fmt_q6_k_element(const void *row, int64_t i)
{
    const struct fmt_q6_k *b = (const struct fmt_q6_k *)row + i / FMT_K;
    return fmt_q6_k_value(b, FMT_LOAD_F16(b->d), (int)(i % FMT_K));
}

#endif
