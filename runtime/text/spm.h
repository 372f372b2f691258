/*
 * spm: SentencePiece's BPE as Llama 2 uses it (Kudo, Richardson 2018;
 * github.com/google/sentencepiece).
 *
 * Text starts as single characters, one symbol each. Each step joins the neighbouring pair whose
 * join is the token with the highest score, the leftmost pair among equals. A symbol that is no
 * token becomes its bytes, or the unknown token if the vocabulary has no byte tokens. U+2581 means
 * a space, in the vocabulary and in text. Unused tokens never come out. Immutable after spm_init.
 */
#ifndef MAS_SPM_H
#define MAS_SPM_H

#include "token_list.h"
#include "vocab.h"

struct spm {
    uint32_t *rank; /* (n_vocab) rank of the token's score in descending order, as a sort key */
    size_t longest; /* bytes of the longest normal token */
    /* Token of each byte, by its type or by its name, or the unknown token, -1 = none of them. */
    int32_t byte[256];
    int32_t unknown; /* -1 = none */
    bool squeeze;    /* spaces at both ends of a text go, and runs of spaces become one */
};

/* Reads tokenizer.ggml.scores; without them all scores are 0. Reads remove_extra_whitespaces, false
 * if absent. unknown: the id for text that the
 * vocabulary lacks, -1 = none. ERR_DATA: the number of scores differs; a score is not finite. */
int spm_init(struct spm *p, const struct vocab *v, const struct gguf *g, int32_t unknown,
             struct err *e);
void spm_free(struct spm *p);

/* Appends the tokens of s[0..n) in O(n log n). `prefix` puts a space before the text. Adds to
 * lost[b] how often the byte b had no token; of a character that became the unknown token the first
 * such byte counts. ERR_NOMEM; ERR_DATA for a text of 4 GiB. After a failure out may hold some of
 * the tokens. */
int spm_encode(const struct spm *p, const struct vocab *v, const char *s, size_t n, bool prefix,
               struct token_list *out, size_t lost[256], struct err *e);

#endif
