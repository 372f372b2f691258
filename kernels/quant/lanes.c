#include "lanes.h"

#include <string.h>

#include "fmt_q4_0.h"
#include "fmt_q4_k.h"
#include "fmt_q5_k.h"
#include "fmt_q6_k.h"
#include "fmt_q8_0.h"

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
