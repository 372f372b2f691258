/*
 * quant_fit: the least-squares searches of the encoders.
 *
 * Groups of a weight row are fitted eight at a time, one per lane. An array (n, QUANT_FIT_LANES)
 * holds element i of eight groups side by side. So every sum runs down a lane, no sum crosses
 * lanes, and a compiler may vectorise without reordering additions. The result of a group does not
 * depend on the groups in the other lanes.
 *
 * The search. For a trial scale, the quants are q = round(t), t the scaled element. The best line
 * through (q, t) follows from sums of the rounding residual p = q - t. p is small, so the error
 * comes out of f32 sums without cancellation. Trials lie on a grid around the scale that spans the
 * group. The best trial is then polished: requantise with the fitted line, fit again. The weight of
 * an element is 1 + |x| / rms, because a large weight of a matrix is more likely to matter. Given
 * importances multiply it.
 *
 * w: importance of each element, in the order of x; positive and finite. NULL: all are alike.
 */
#ifndef MAS_QUANT_FIT_H
#define MAS_QUANT_FIT_H

#include <stdint.h>

enum { QUANT_FIT_LANES = 8, QUANT_FIT_GROUP = 32 };

/* A quarter of the smallest f16: rounds to zero in every format. */
#define QUANT_FIT_TINY 0x1p-26f

/* Nearest integer (ties to even) of t clamped to [low, high]; |low|, |high| < 2^22. No libm call,
 * so a loop over it vectorises. */
static inline float quant_fit_round(float t, float low, float high)
{
    const float shift = 0x1.8p23f;
    t = t < low ? low : t;
    t = t > high ? high : t;
    return (t + shift) - shift;
}

/* The f16 nearest to most / steps, or the next larger one if rounding down would clip more than
 * half a step (tiny, subnormal scales). 0 when everything rounds to zero. Never infinite: capped at
 * 65504. */
uint16_t quant_fit_scale(float most, int steps);

/* Fits x ~ step * q with q in [-bottom, bottom - 1] in every lane. step may be negative; then the
 * largest element is positive and takes the extra level. Step 0 for a lane of zeros. n <= 32 rows.
 * |x| < 1e12; |x| below 2^-26 counts as zero. */
void quant_fit_symmetric(const float (*x)[QUANT_FIT_LANES], const float (*w)[QUANT_FIT_LANES],
                         int n, int bottom, float step[QUANT_FIT_LANES]);

/* The importances of `lanes` groups of n elements, side by side as a search takes them; 1 in the
 * other lanes. Returns t, or NULL for w = NULL. */
const float (*quant_fit_spread(const float *w, int lanes, int n,
                               float (*t)[QUANT_FIT_LANES]))[QUANT_FIT_LANES];
/* The weights of n elements of a search: see above. */
void quant_fit_weights(const float (*x)[QUANT_FIT_LANES], const float (*w)[QUANT_FIT_LANES], int n,
                       float (*out)[QUANT_FIT_LANES]);

/* A block of 32 of Q4_0 or Q5_0, before packing. */
struct quant_fit_centred {
    uint16_t d;    /* may be negative */
    uint8_t q[32]; /* quant + bottom, so 0..2 bottom - 1 */
};

/* Fits n <= QUANT_FIT_LANES blocks of x ~ d * quant, quants -bottom..bottom - 1. x (n, 32), finite;
 * magnitudes above 65504 * bottom are clamped. */
void quant_fit_centred(const float *x, const float *w, int n, int bottom,
                       struct quant_fit_centred out[QUANT_FIT_LANES]);

/* A block of 32 of Q4_1 or Q5_1, before packing. */
struct quant_fit_min {
    uint16_t d, m;
    uint8_t q[32]; /* 0..top */
};

/* Fits n <= QUANT_FIT_LANES blocks of x ~ d * q + m. x (n, 32), finite; magnitudes above 65504 are
 * clamped. */
void quant_fit_min(const float *x, const float *w, int n, int top,
                   struct quant_fit_min out[QUANT_FIT_LANES]);

/* One super-block of Q2_K, Q4_K or Q5_K, before packing. */
struct quant_fit_k {
    uint16_t d, dmin;
    uint8_t scale[16], min[16]; /* 0..codes, of each group */
    uint8_t q[256];             /* 0..top, in the order of the elements */
};

/* Fits x ~ d * scale * q - dmin * min in groups of n = 16 or 32 elements. x (256), finite. */
void quant_fit_k(const float *x, const float *w, int n, int top, int codes,
                 struct quant_fit_k *out);

/* One super-block of Q3_K or Q6_K, before packing: groups of 16. */
struct quant_fit_signed {
    uint16_t d;
    int8_t scale[16]; /* -codes..codes - 1 */
    uint8_t q[256];   /* quant + bottom, so 0..2 bottom - 1, in the order of the elements */
};

/* Fits x ~ d * scale * quant, quants -bottom..bottom - 1. x (256), finite; magnitudes above
 * 65504 * (codes - 1) * (bottom - 1) are clamped. */
void quant_fit_signed(const float *x, const float *w, int bottom, int codes,
                      struct quant_fit_signed *out);

/* A block of IQ4_NL before packing: d, and q = numbers of entries of the book. n, x and limits as
 * quant_fit_centred with bottom = 113. */
void quant_fit_iq4(const float *x, const float *w, int n,
                   struct quant_fit_centred out[QUANT_FIT_LANES]);

/* A super-block of IQ4_XS before packing: d, eight scales -32..31 of groups of 32, and q = numbers
 * of entries. Magnitudes above 65504 * 31 * 113 are clamped. */
void quant_fit_iq4_groups(const float *x, const float *w, struct quant_fit_signed *out);

#endif
