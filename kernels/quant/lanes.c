#include "lanes.h"

#include <string.h>

#define FMT_HEADERS
#include "formats.def"
#undef FMT_HEADERS

static_assert(sizeof(struct fmt_q4_k) == 36 * 4 && sizeof(struct fmt_q5_k) == 44 * 4, "words only");
static_assert(offsetof(struct fmt_q6_k, d) == 52 * 4, "words, then d");

/* Bytes 64 h + 32 part + 16 jj + 4 k of low belong to bytes 32 h + 16 jj + 4 k of high (h, part, jj
 * 0..1, k 0..3). high stands at 4 + 3 n and its parts after it, n = 8 h + 4 jj + k. */
static const uint8_t lanes_q6_k[52] = {
    5,  8,  11, 14, 17, 20, 23, 26, 6,  9,  12, 15, 18, 21, 24, 27, /* low, h = 0: part 0, part 1 */
    29, 32, 35, 38, 41, 44, 47, 50, 30, 33, 36, 39, 42, 45, 48, 51, /* h = 1 */
    4,  7,  10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40, 43, 46, 49, /* high */
    0,  1,  2,  3,                                                  /* scales */
};

static_assert(sizeof(struct fmt_q4_1) == 5 * 4 && sizeof(struct fmt_q5_1) == 6 * 4, "words only");
static_assert(sizeof(struct fmt_q2_k) == 21 * 4 && sizeof(struct fmt_iq4_xs) == 34 * 4,
              "words only");
static_assert(offsetof(struct fmt_q3_k, d) == 27 * 4, "words, then d");

/* d and dmin first, then scales, then q. */
static const uint8_t lanes_q2_k[21] = {1,  2,  3,  4,                                 /* scales */
                                       5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, /* q */
                                       17, 18, 19, 20, 0};

/* Scales first. Words 0..3 of high and of low's first half, words 4..7 of both, low's second
 * half. */
static const uint8_t lanes_q3_k[27] = {
    3, 4, 5, 6,  11, 12, 13, 14,                                 /* high */
    7, 8, 9, 10, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, /* low */
    0, 1, 2,                                                     /* scales */
};

/* Scales and high first, then for each group two words of q and one of signs. */
static const uint8_t lanes_iq3_s[27] = {
    3, 4, 6,  7,  9,  10, 12, 13, 15, 16, 18, 19, 21, 22, 24, 25, /* q */
    1, 2,                                                         /* high */
    5, 8, 11, 14, 17, 20, 23, 26,                                 /* signs */
    0,                                                            /* scales */
};

/* For each group two words of q and the one of signs and scale. */
static const uint8_t lanes_iq3_xxs[24] = {
    0, 1, 3, 4,  6,  7,  9,  10, 12, 13, 15, 16, 18, 19, 21, 22, /* q */
    2, 5, 8, 11, 14, 17, 20, 23,                                 /* signs and scale */
};

/* Scales first, then q. */
static const uint8_t lanes_iq2_xs[18] = {2,  3,  4,  5,  6,  7,  8,  9, 10,
                                         11, 12, 13, 14, 15, 16, 17, 0, 1};

/* Scales and high first, then for each group a word of q and one of signs. */
static const uint8_t lanes_iq2_s[20] = {
    4, 6, 8, 10, 12, 14, 16, 18, /* q */
    5, 7, 9, 11, 13, 15, 17, 19, /* signs */
    2, 3, 0, 1,                  /* high, scales */
};

bool lanes_of(enum fmt f, struct lanes *out)
{
    switch (f) {
    case FMT_Q4_K:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_q4_k), 36, 0, NULL, false, 0};
        return true;
    case FMT_Q5_K:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_q5_k), 44, 0, NULL, false, 0};
        return true;
    case FMT_Q6_K:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_q6_k),     52, 0, lanes_q6_k,
                              true,  offsetof(struct fmt_q6_k, d)};
        return true;
    case FMT_Q4_0:
        *out = (struct lanes){
            32, sizeof(struct fmt_q4_0), 4, offsetof(struct fmt_q4_0, q), NULL, true, 0};
        return true;
    case FMT_Q8_0:
        *out = (struct lanes){
            32, sizeof(struct fmt_q8_0), 8, offsetof(struct fmt_q8_0, q), NULL, true, 0};
        return true;
    case FMT_Q4_1:
        *out = (struct lanes){32, sizeof(struct fmt_q4_1), 5, 0, NULL, false, 0};
        return true;
    case FMT_Q5_0:
        *out = (struct lanes){
            32, sizeof(struct fmt_q5_0), 5, offsetof(struct fmt_q5_0, high), NULL, true, 0};
        return true;
    case FMT_Q5_1:
        *out = (struct lanes){32, sizeof(struct fmt_q5_1), 6, 0, NULL, false, 0};
        return true;
    case FMT_IQ4_NL:
        *out = (struct lanes){
            32, sizeof(struct fmt_iq4_nl), 4, offsetof(struct fmt_iq4_nl, q), NULL, true, 0};
        return true;
    case FMT_IQ4_XS:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_iq4_xs), 34, 0, NULL, false, 0};
        return true;
    case FMT_Q2_K:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_q2_k), 21, 0, lanes_q2_k, false, 0};
        return true;
    case FMT_Q3_K:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_q3_k),     27, 0, lanes_q3_k,
                              true,  offsetof(struct fmt_q3_k, d)};
        return true;
    case FMT_IQ3_S:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_iq3_s), 27, 2, lanes_iq3_s, true, 0};
        return true;
    case FMT_IQ3_XXS:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_iq3_xxs), 24, 2, lanes_iq3_xxs, true, 0};
        return true;
    case FMT_IQ2_XXS:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_iq2_xxs), 16, 2, NULL, true, 0};
        return true;
    case FMT_IQ2_XS:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_iq2_xs), 18, 2, lanes_iq2_xs, true, 0};
        return true;
    case FMT_IQ2_S:
        *out = (struct lanes){FMT_K, sizeof(struct fmt_iq2_s), 20, 2, lanes_iq2_s, true, 0};
        return true;
    default:
        return false;
    }
}

void lanes_pack(const struct lanes *l, const char *const row[LANES], int64_t n, void *strip)
{
    const int64_t blocks = n / l->elems;
    for (int64_t b = 0; b < blocks; b++) {
        const size_t at = (size_t)b * l->bytes;
        char *word = (char *)strip + lanes_words_at(l, b),
             *left = (char *)strip + lanes_left_at(l, b, blocks);
        for (int w = 0; w < l->words; w++)
            for (int j = 0; j < LANES; j++)
                memcpy(word + 4 * (LANES * lanes_place(l, w) + j),
                       row[j] + at + l->word_at + 4 * (size_t)w, 4);
        for (int j = 0; l->left && j < LANES; j++)
            memcpy(left + 2 * j, row[j] + at + l->left_at, 2);
    }
}

void lanes_block(const struct lanes *l, const void *strip, int j, int64_t n, int64_t b, void *block)
{
    const char *word = (const char *)strip + lanes_words_at(l, b) + 4 * (size_t)j;
    const char *left = (const char *)strip + lanes_left_at(l, b, n / l->elems) + 2 * (size_t)j;
    for (int w = 0; w < l->words; w++)
        memcpy((char *)block + l->word_at + 4 * (size_t)w, word + 4 * LANES * lanes_place(l, w), 4);
    if (l->left)
        memcpy((char *)block + l->left_at, left, 2);
}
