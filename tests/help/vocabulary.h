/* vocabulary: made-up vocabularies for tests of constrained decoding. */
#ifndef MAS_VOCABULARY_H
#define MAS_VOCABULARY_H

#include "grammar.h"

struct vocabulary {
    size_t n;
    char **bytes; /* (n) owned */
    size_t *len;
    bool *is_end;
    struct grammar_vocab *v;
};

/* Makes a vocabulary: all 256 bytes, two end tokens, one empty token, and pieces that cross borders
 * of JSON, some of them twice. In addition `random` pieces of sample[0..n_sample), cut at any byte;
 * they depend on the seed. */
void vocabulary_init(struct vocabulary *out, const char *sample, size_t n_sample, size_t random,
                     uint64_t seed);
void vocabulary_free(struct vocabulary *x);

/* One uniformly random token of the mask, or -1. */
int32_t vocabulary_draw(const struct vocabulary *x, const uint32_t *mask, uint64_t key);
/* Appends a reply of random allowed tokens to out; at most 200,000 tokens. */
void vocabulary_reply(const struct vocabulary *x, const struct grammar *g, uint64_t seed,
                      struct str *out);
/* Compiles a schema file of tests/fuzz/corpus/grammar. */
struct grammar *vocabulary_grammar(const char *file);

#endif
