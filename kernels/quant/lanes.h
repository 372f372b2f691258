/*
 * lanes: the order of weights that the CPU's matmul reads fastest. The 32-bit words of sixteen rows
 * of a matrix (a strip) are interleaved. So a word of a vector register belongs to one weight row.
 * A product needs no sums across a register, and scales need no shuffles. A strip holds the bytes
 * of its sixteen rows, permuted: nothing is computed, and nothing grows.
 *
 *   strip = word[block][w][row 0..15]      the block's words that are read as 32 bits
 *           d[row 0..15]                   the left-over f16, in formats that have one: those of
 *                                          two blocks, 64 bytes, after the words of the second
 *
 *   format   words of a block, in this order                       left over
 *   Q4_K     d and dmin, 3 of scales, 32 of q                      -
 *   Q5_K     d and dmin, 3 of scales, 8 of high, 32 of low         -
 *   Q6_K     4 of scales, then 16 times one of high and the two    d
 *            of low that it completes
 *   Q4_0     4 of q                                                d
 *   Q8_0     8 of q                                                d
 *   Q4_1     d and m, 4 of q                                       -
 *   Q5_0     1 of high, 4 of low                                   d
 *   Q5_1     d and m, 1 of high, 4 of low                          -
 *   Q2_K     d and dmin, 4 of scales, 16 of q                      -
 *   Q3_K     3 of scales, then high with low's first half in two   d
 *            steps of four words each, then low's second half
 *   IQ4_NL   4 of q                                                d
 *   IQ4_XS   d and scale_high, 1 of scale_low, 32 of q             -
 *   IQ3_XXS  8 times two of q and one of signs and scale           d
 *   IQ3_S    1 of scales, 2 of high, 8 times two of q and one of   d
 *            signs
 *   IQ2_XXS  16 of q                                               d
 *   IQ2_XS   2 of scales, 16 of q                                  d
 *   IQ2_S    2 of scales, 2 of high, 8 times one of q and one of   d
 *            signs
 *
 * A kernel reads a strip from its first line to its last, each line at its first use in that order.
 * Other orders cost half of the bandwidth, because the processor's prefetchers lose the sequence.
 *
 * Rows after the last whole strip keep the order of files. A strip of a packed matrix lies at the
 * place of its sixteen rows in the unpacked one: at 16 k row_bytes.
 */
#ifndef MAS_LANES_H
#define MAS_LANES_H

#include "fmt.h"

#define LANES 16
/* The name of this order in files of packed weights. Any change of a strip's bytes, of any format,
 * takes a new name: old files are then written again. tests/unit/t_lanes.c has their hashes. */
#define LANES_ORDER "lanes16-1"

struct lanes {
    int64_t elems;  /* of a block */
    size_t bytes;   /* of a block */
    int words;      /* 32-bit words of a block, without d */
    size_t word_at; /* offset of the first word in the block, bytes */
    /* (words) position of each word in the strip's block; NULL: in their order */
    const uint8_t *place;
    bool left;      /* the format has a left-over f16 */
    size_t left_at; /* its offset in the block, bytes */
};

/* false: the format has no blocks, or no such order. */
bool lanes_of(enum fmt f, struct lanes *out);

static inline int lanes_place(const struct lanes *l, int w)
{
    return l->place ? l->place[w] : w;
}

/* Bytes from the start of a strip of n blocks to the words of block b. */
static inline size_t lanes_words_at(const struct lanes *l, int64_t b)
{
    return (size_t)b * (size_t)l->words * 4 * LANES + (l->left ? (size_t)(b / 2) * 4 * LANES : 0);
}

/* Bytes from the start of a strip to the left-over f16s of block b. A last block without a partner
 * has them after its own words. */
static inline size_t lanes_left_at(const struct lanes *l, int64_t b, int64_t n)
{
    const bool alone = b % 2 == 0 && b + 1 == n;
    return lanes_words_at(l, b / 2 * 2) + (size_t)(alone ? 1 : 2) * (size_t)l->words * 4 * LANES +
           (size_t)(b % 2) * 2 * LANES;
}

/* Packs sixteen rows of n elements into a strip. Rows and strip do not overlap. */
void lanes_pack(const struct lanes *l, const char *const row[LANES], int64_t n, void *strip);
/* Block b of row j of a strip, in the order of files. */
void lanes_block(const struct lanes *l, const void *strip, int j, int64_t n, int64_t b,
                 void *block);

#endif
