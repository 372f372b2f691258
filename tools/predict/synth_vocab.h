/* synth_vocab: the tokenizer.* keys of a synthetic model. */
#ifndef MAS_SYNTH_VOCAB_H
#define MAS_SYNTH_VOCAB_H

#include "gguf_write.h"

/* Copies every tokenizer.* key of the GGUF file at path. *n_vocab = its number of tokens. */
int synth_vocab_copy(const char *path, struct gguf_writer *w, int64_t *n_vocab, struct err *e);

/* A vocabulary of single bytes in the form of Llama 3's, with a chat template that has Llama 3's
 * markers:
 * - 256 byte tokens in the order and notation of GPT-2, no merges;
 * - Llama 3's control tokens;
 * - unused tokens up to `least` and a multiple of 32. */
int synth_vocab_bytes(struct gguf_writer *w, int64_t least, int64_t *n_vocab, struct err *e);

#endif
