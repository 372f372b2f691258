#include "fmt_random.h"

#include <string.h>

#include "check.h"
#include "f16.h"
#include "fmt_iq2_s.h"
#include "fmt_iq2_xs.h"
#include "fmt_iq2_xxs.h"
#include "fmt_iq3_s.h"
#include "fmt_iq3_xxs.h"
#include "fmt_iq4_nl.h"
#include "fmt_iq4_xs.h"
#include "fmt_q2_k.h"
#include "fmt_q3_k.h"
#include "fmt_q4_0.h"
#include "fmt_q4_k.h"
#include "fmt_q5_0.h"
#include "fmt_q5_k.h"
#include "fmt_q6_k.h"
#include "fmt_q8_0.h"
#include "rng.h"

enum { WORDS = 32 }; /* 8-byte draws a block may take; Q6_K takes 26 */

/* Root mean squares of what the draws below give. */
#define RMS_UNIT 0.57735027f  /* uniform in (-1, 1): 1 / sqrt 3 */
#define RMS_Q4_0 4.6368092f   /* integers -8..7 */
#define RMS_Q8_0 73.467675f   /* integers -128..127 with 0 for -128 */
#define RMS_Q4 4.6097722f     /* integers 0..15 less 7.5 */
#define RMS_Q5 9.2330927f     /* integers 0..31 less 15.5 */
#define RMS_Q6 18.479719f     /* integers -32..31 */
#define RMS_SCALE 23.947860f  /* integers 16..31 */
#define RMS_Q2 1.1180340f     /* integers 0..3 less 1.5 */
#define RMS_SCALE4 11.726039f /* integers 8..15 */

static void random_bytes(uint64_t key, int64_t block, int word, void *out, size_t n)
{
    unsigned char *p = out;
    for (; n >= 8; n -= 8, p += 8, word++) {
        uint64_t u = rng_u64(key, (uint64_t)block * WORDS + (uint64_t)word);
        memcpy(p, &u, 8);
    }
    if (n) {
        uint64_t u = rng_u64(key, (uint64_t)block * WORDS + (uint64_t)word);
        memcpy(p, &u, n);
    }
}

/* Element i of a one-element format: 16 of its own bits, uniform in (-1, 1). */
static float random_unit(uint64_t key, int64_t i)
{
    uint32_t bits = (uint32_t)(rng_u64(key, (uint64_t)i / 4) >> 16 * (i % 4)) & 0xffff;
    return ((float)bits - 32767.5f) * 0x1p-15f;
}

static void random_f32(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    float *y = out;
    for (int64_t i = 0; i < n; i++)
        y[i] = random_unit(key, first + i) * (std / RMS_UNIT);
}

static void random_f16(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    uint16_t *y = out;
    for (int64_t i = 0; i < n; i++)
        y[i] = f32_to_f16(random_unit(key, first + i) * (std / RMS_UNIT));
}

static void random_bf16(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    uint16_t *y = out;
    for (int64_t i = 0; i < n; i++)
        y[i] = f32_to_bf16(random_unit(key, first + i) * (std / RMS_UNIT));
}

static void random_q4_0(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    struct fmt_q4_0 *b = out;
    uint16_t d = f32_to_f16(std / RMS_Q4_0);
    for (int64_t k = 0; k < n; k++, b++) {
        uint8_t sign;
        random_bytes(key, first + k, 0, b->q, sizeof b->q);
        random_bytes(key, first + k, 2, &sign, 1);
        b->d = (uint16_t)(d | (sign & 1) << 15);
    }
}

static void random_q8_0(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    struct fmt_q8_0 *b = out;
    uint16_t d = f32_to_f16(std / RMS_Q8_0);
    for (int64_t k = 0; k < n; k++, b++) {
        b->d = d;
        random_bytes(key, first + k, 0, b->q, sizeof b->q);
        for (int i = 0; i < 32; i++)
            b->q[i] = b->q[i] == -128 ? 0 : b->q[i];
    }
}

/* Scales 16..31, and minimums equal to them: with dmin = middle * d every group has mean zero. */
static void random_k_scales(uint64_t key, int64_t block, uint8_t p[12])
{
    uint8_t scale[8];
    random_bytes(key, block, 0, scale, sizeof scale);
    for (int g = 0; g < 8; g++)
        scale[g] = (uint8_t)(16 + (scale[g] & 15));
    fmt_k_pack(scale, scale, p);
}

static void random_q4_k(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    struct fmt_q4_k *b = out;
    uint16_t d = f32_to_f16(std / (RMS_Q4 * RMS_SCALE)), dmin = f32_to_f16(7.5f * f16_to_f32(d));
    for (int64_t k = 0; k < n; k++, b++) {
        b->d = d;
        b->dmin = dmin;
        random_k_scales(key, first + k, b->scale);
        random_bytes(key, first + k, 1, b->q, sizeof b->q);
    }
}

static void random_q5_k(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    struct fmt_q5_k *b = out;
    uint16_t d = f32_to_f16(std / (RMS_Q5 * RMS_SCALE)), dmin = f32_to_f16(15.5f * f16_to_f32(d));
    for (int64_t k = 0; k < n; k++, b++) {
        b->d = d;
        b->dmin = dmin;
        random_k_scales(key, first + k, b->scale);
        random_bytes(key, first + k, 1, b->high, sizeof b->high);
        random_bytes(key, first + k, 5, b->low, sizeof b->low);
    }
}

/* Scales 8..15, and minimums equal to them. */
static void random_q2_k(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    struct fmt_q2_k *b = out;
    uint16_t d = f32_to_f16(std / (RMS_Q2 * RMS_SCALE4)), dmin = f32_to_f16(1.5f * f16_to_f32(d));
    for (int64_t k = 0; k < n; k++, b++) {
        b->d = d;
        b->dmin = dmin;
        random_bytes(key, first + k, 0, b->scale, sizeof b->scale);
        for (int g = 0; g < 16; g++)
            b->scale[g] = (uint8_t)((8 + (b->scale[g] & 7)) * 0x11);
        random_bytes(key, first + k, 2, b->q, sizeof b->q);
    }
}

static void random_q6_k(uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    struct fmt_q6_k *b = out;
    uint16_t d = f32_to_f16(std / (RMS_Q6 * RMS_SCALE));
    for (int64_t k = 0; k < n; k++, b++) {
        b->d = d;
        random_bytes(key, first + k, 0, b->scale, sizeof b->scale);
        for (int g = 0; g < 16; g++) {
            int size = 16 + (b->scale[g] & 15);
            b->scale[g] = (int8_t)(b->scale[g] < 0 ? -size : size);
        }
        random_bytes(key, first + k, 2, b->low, sizeof b->low);
        random_bytes(key, first + k, 18, b->high, sizeof b->high);
    }
}

/* Formats in which any bytes are a block: all bytes are drawn, then d is set, with a random sign. A
 * subnormal d is rounded up or down at random, so that it is right on average. */
static const struct random_scaled {
    size_t d_at; /* byte of the f16 factor */
    float rms;   /* of the numbers of random blocks with d = 1; 0: no such format */
} random_scaled[FMT_COUNT] = {
    [FMT_Q5_0] = {offsetof(struct fmt_q5_0, d), 9.246621f},      /* integers -16..15 */
    [FMT_Q3_K] = {offsetof(struct fmt_q3_k, d), 43.338782f},     /* scales -32..31, quants -4..3 */
    [FMT_IQ4_NL] = {offsetof(struct fmt_iq4_nl, d), 67.438861f}, /* the book */
    [FMT_IQ4_XS] = {offsetof(struct fmt_iq4_xs, d), 1246.2512f}, /* scales -32..31, the book */
    [FMT_IQ3_XXS] = {offsetof(struct fmt_iq3_xxs, d), 142.41433f}, /* (s + 1/2) / 2, s in 0..15 */
    [FMT_IQ3_S] = {offsetof(struct fmt_iq3_s, d), 140.23591f},     /* 2 s + 1 */
    [FMT_IQ2_XXS] = {offsetof(struct fmt_iq2_xxs, d), 53.362072f}, /* (s + 1/2) / 4 */
    [FMT_IQ2_XS] = {offsetof(struct fmt_iq2_xs, d), 55.90007f},
    [FMT_IQ2_S] = {offsetof(struct fmt_iq2_s, d), 56.391906f},
};

static void random_any(const struct fmt_info *f, const struct random_scaled *s, uint64_t key,
                       int64_t first, int64_t n, float std, unsigned char *out)
{
    const float size = std / s->rms, step = size < 0x1p-14f ? 0x1p-24f : 0;
    for (int64_t k = first; k < first + n; k++, out += f->block_bytes) {
        random_bytes(key, k, 0, out, f->block_bytes);
        const float u = (float)out[s->d_at + 1] * (1 / 255.0f) - 0.5f;
        const uint16_t d = (uint16_t)(f32_to_f16(size + u * step) | (out[s->d_at] & 1) << 15);
        memcpy(out + s->d_at, &d, sizeof d);
    }
}

/* A format that has a generator of its own, of blocks first .. first + n - 1; the others encode. */
typedef void (*random_blocks)(uint64_t key, int64_t first, int64_t n, float std, void *out);

static const random_blocks random_table[FMT_COUNT] = {
    [FMT_F32] = random_f32,   [FMT_F16] = random_f16,   [FMT_BF16] = random_bf16,
    [FMT_Q4_0] = random_q4_0, [FMT_Q8_0] = random_q8_0, [FMT_Q4_K] = random_q4_k,
    [FMT_Q5_K] = random_q5_k, [FMT_Q6_K] = random_q6_k, [FMT_Q2_K] = random_q2_k,
};

/* Uniform numbers of block k, encoded. Blocks come in pairs of opposite signs: their mean is 0. */
static void random_pattern(const struct fmt_info *f, uint64_t key, int64_t k, float std, char *out)
{
    float x[FMT_MOST_ELEMS];
    random_f32(key, k / 2 * f->block_elems, f->block_elems, k % 2 ? -std : std, x);
    f->encode(x, NULL, out, f->block_elems);
}

/* Every block is one of PATTERNS, by its number: an encoder is slow, a copy is not. */
static void random_encoded(const struct fmt_info *f, uint64_t key, int64_t first, int64_t n,
                           float std, char *out)
{
    enum { PATTERNS = 256 };
    char pattern[PATTERNS][FMT_MOST_BYTES];
    bool made[PATTERNS] = {false};
    for (int64_t k = first; k < first + n; k++, out += f->block_bytes) {
        const size_t p = (size_t)(rng_u64(key, (uint64_t)k) % PATTERNS);
        if (!made[p])
            random_pattern(f, key, (int64_t)p, std, pattern[p]);
        made[p] = true;
        memcpy(out, pattern[p], f->block_bytes);
    }
}

void fmt_random(enum fmt f, uint64_t key, int64_t first, int64_t n, float std, void *out)
{
    CHECK(first >= 0 && n >= 0 && (unsigned)f < FMT_COUNT);
    if (random_table[f])
        random_table[f](key, first, n, std, out);
    else if (random_scaled[f].rms > 0)
        random_any(fmt_info(f), &random_scaled[f], key, first, n, std, out);
    else
        random_encoded(fmt_info(f), key, first, n, std, out);
}
