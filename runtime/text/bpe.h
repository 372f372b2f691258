/*
 * bpe: byte-level byte-pair encoding (Sennrich, Haddow, Birch 2016; on bytes: Radford et al. 2019).
 *
 * A piece of text starts as its single bytes. Each step joins the neighbouring pair with the least
 * merge rank into one token, the leftmost pair among equals. The piece is done when no pair has a
 * rank. With whole_first a piece that is itself a token becomes that token, whatever the merges
 * say, as in Llama 3. A byte without a token gives no token, and nothing merges across it.
 * Immutable after bpe_init.
 */
#ifndef MAS_BPE_H
#define MAS_BPE_H

#include "pretoken.h"
#include "token_list.h"
#include "vocab.h"

struct bpe_merge { /* left < 0: free slot */
    int32_t left, right;
    uint32_t rank;
    int32_t id; /* the token of the joined pair */
};

struct bpe {
    const struct pretoken *pre;
    int32_t byte[256];       /* token of each single byte, -1 = none */
    struct bpe_merge *merge; /* hash table, linear probing, at most half full */
    size_t mask;             /* slots - 1 */
};

/* Reads tokenizer.ggml.merges. ERR_DATA: a merge repeats another; a half of a merge or its join is
 * no known token. */
int bpe_init(struct bpe *b, const struct vocab *v, const struct gguf *g, const struct pretoken *pre,
             struct err *e);
void bpe_free(struct bpe *b);

/* Appends the tokens of s[0..n) in O(n log n) for any text. Adds to lost[b] how often the byte b
 * had no token. ERR_NOMEM; ERR_DATA for a single word of 4 GiB. After a failure out may hold some
 * of the tokens. */
int bpe_encode(const struct bpe *b, const struct vocab *v, const char *s, size_t n,
               struct token_list *out, size_t lost[256], struct err *e);

#endif
