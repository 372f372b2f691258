/*
 * spm: SentencePiece's BPE as Llama 2 uses it (Kudo, Richardson 2018;
 * github.com/google/sentencepiece). Text starts as single characters; again and again the
 * neighbouring pair whose join is the token with the highest score (the leftmost of equal ones)
 * becomes one symbol. A symbol that is no token falls back to its bytes, or to the unknown token
 * where the vocabulary has no byte tokens. U+2581 is the notation of a space in the vocabulary; in
 * text, too, the two are the same. Unused tokens never come out. Immutable after spm_init.
 */
#ifndef MAS_SPM_H
#define MAS_SPM_H

#include "token_list.h"
#include "vocab.h"

struct spm {
    uint32_t *rank;    /* (n_vocab) place of the token's score in descending order, as a sort key */
    size_t longest;    /* bytes of the longest normal token */
    int32_t byte[256]; /* token of each byte, by its type or else its name, or the unknown token */
    int32_t unknown;   /* -1 = none */
};

/* Reads tokenizer.ggml.scores; without them all are 0. unknown: the id that stands for what the
 * vocabulary lacks, -1 = none. ERR_DATA: scores of another count or not finite; a byte without
 * any token. */
int spm_init(struct spm *p, const struct vocab *v, const struct gguf *g, int32_t unknown,
             struct err *e);
void spm_free(struct spm *p);

/* Appends the tokens of s[0..n), with a space put in front if `prefix`; O(n log n). ERR_NOMEM;
 * ERR_DATA for a text of 4 GiB. On failure out may have grown. */
int spm_encode(const struct spm *p, const struct vocab *v, const char *s, size_t n, bool prefix,
               struct token_list *out, struct err *e);

#endif
