/* synth_vocab: the tokenizer.* keys of a synthetic model. */
#ifndef MAS_SYNTH_VOCAB_H
#define MAS_SYNTH_VOCAB_H

#include "gguf_write.h"

/* Copies every tokenizer.* key of the GGUF file at path. *n_vocab = its number of tokens. */
int synth_vocab_copy(const char *path, struct gguf_writer *w, int64_t *n_vocab, struct err *e);

/* A vocabulary in the form of Llama 3's with nothing but single bytes: 256 byte tokens in the order
 * and notation of GPT-2, no merges, Llama 3's control tokens, then unused ones up to `least` and a
 * multiple of 32; and a chat template with Llama 3's markers. */
int synth_vocab_bytes(struct gguf_writer *w, int64_t least, int64_t *n_vocab, struct err *e);

#endif
