/* synth_vocab: the tokenizer.* keys of a synthetic model. */
#ifndef MAS_SYNTH_VOCAB_H
#define MAS_SYNTH_VOCAB_H

#include "gguf_write.h"

/* Copies every tokenizer.* key of the GGUF file at path. *n_vocab = its number of tokens. */
int synth_vocab_copy(const char *path, struct gguf_writer *w, int64_t *n_vocab, struct err *e);

enum { SYNTH_VOCAB_LEAST = 272, SYNTH_VOCAB_MOST = 1 << 24 }; /* tokens */

/* A vocabulary of single bytes in the form of Llama 3's, with a chat template that has Llama 3's
 * markers:
 * - 256 byte tokens in the order and notation of GPT-2, no merges;
 * - Llama 3's control tokens;
 * - unused tokens up to `least` and a multiple of 32. */
int synth_vocab_bytes(struct gguf_writer *w, int64_t least, int64_t *n_vocab, struct err *e);

/* Exactly n tokens, SYNTH_VOCAB_LEAST to SYNTH_VOCAB_MOST: the bytes and control tokens of
 * synth_vocab_bytes, then made-up words. Each word is an even number of letters, once with a space
 * before it and once without. The tokenizer finds a word that stands alone in a text; it splits all
 * other text into bytes. */
int synth_vocab_words(struct gguf_writer *w, int64_t n, struct err *e);

#endif
