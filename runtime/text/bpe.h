/*
 * bpe: byte-level byte-pair encoding. A piece of text starts as its single bytes; again and again
 * the neighbouring pair with the least merge rank (the leftmost of equal ones) becomes one token,
 * until no pair has a rank (Sennrich, Haddow, Birch 2016; on bytes: Radford et al. 2019). A piece
 * that is a token as a whole is that token, whatever the merges say, as Llama 3 does. Immutable
 * after bpe_init.
 */
#ifndef MAS_BPE_H
#define MAS_BPE_H

#include "token_list.h"
#include "vocab.h"

struct bpe_merge { /* left < 0: free slot */
    int32_t left, right;
    uint32_t rank;
    int32_t id; /* the token both become */
};

struct bpe {
    int32_t byte[256];       /* token of each single byte */
    struct bpe_merge *merge; /* hash table, linear probing, at most half full */
    size_t mask;             /* slots - 1 */
};

/* Reads tokenizer.ggml.merges. ERR_DATA: a byte without token, a merge that is not two known tokens
 * and their join, or that repeats another. */
int bpe_init(struct bpe *b, const struct vocab *v, const struct gguf *g, struct err *e);
void bpe_free(struct bpe *b);

/* Appends the tokens of s[0..n), O(n log n) for any text. ERR_NOMEM; ERR_DATA for a single word of
 * 4 GiB. On failure out may have grown. */
int bpe_encode(const struct bpe *b, const struct vocab *v, const char *s, size_t n,
               struct token_list *out, struct err *e);

#endif
