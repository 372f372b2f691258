/*
 * tokenizer: text to token ids and back, for the two vocabularies of Llama files.
 *   tokenizer.ggml.model "gpt2"  + pre "llama-bpe": byte-level BPE with Llama 3's pre-tokeniser
 *   tokenizer.ggml.model "llama": SentencePiece (Llama 2), merges by score, byte fallback
 * Any bytes are accepted as text. Ordinary text never becomes a control token: special pieces are
 * recognised only when asked for (user-defined tokens, which are ordinary text, always). Decoding
 * gives the encoded bytes back exactly; SentencePiece has two exceptions: U+2581 is its space, and
 * a vocabulary without byte tokens loses what it lacks. Pieces are raw bytes everywhere: " the",
 * not the notation of the file. Immutable after open; any thread may use it (scratch is the
 * caller's or local). Lengths are size_t throughout.
 */
#ifndef MAS_TOKENIZER_H
#define MAS_TOKENIZER_H

#include "gguf.h"
#include "str.h"
#include "token_list.h"

struct tokenizer;

/* ERR_DATA names the key: missing arrays, unequal lengths, a merge of unknown tokens, an unknown
 * model or pre-tokeniser (which is named; nothing is guessed). A special id out of range is a
 * warning: there is no such token. Without types all tokens are normal, without scores all have
 * 0. */
int tokenizer_open(const struct gguf *g, struct tokenizer **out, struct err *e);
void tokenizer_close(struct tokenizer *t);

enum tokenizer_flags {
    TOK_BOS = 1,     /* put BOS first if the file says so (add_bos_token; absent = yes) */
    TOK_SPECIAL = 2, /* names of control tokens become these tokens: for trusted templates only */
};

/* Appends the tokens of text[0..n) to out, which is as before on failure. Where several special
 * pieces begin at one place the longest counts. SentencePiece puts a space in front of the text and
 * of every stretch after a special piece, unless the file says no (add_space_prefix). ERR_NOMEM;
 * ERR_DATA for a word (SentencePiece: a text) of 4 GiB. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                     struct token_list *out, struct err *e);

/* Bytes of one token, appended to out; control tokens give their text only with TOK_SPECIAL, else
 * nothing. May end inside a UTF-8 character: use a tokenizer_stream for text that people see.
 * tokenizer_decode takes back the spaces that encoding put in; an id outside the vocabulary is
 * ERR_DATA with its place, and out is as before. In all other functions such an id is the caller's
 * bug. */
void tokenizer_piece(const struct tokenizer *t, int32_t id, unsigned flags, struct str *out);
int tokenizer_decode(const struct tokenizer *t, const int32_t *id, size_t n, unsigned flags,
                     struct str *out, struct err *e);

/* Holds back the bytes of an incomplete UTF-8 character until the next token completes it. */
struct tokenizer_stream {
    char held[4];
    size_t n_held;
    bool started; /* SentencePiece: the leading space of the first piece has been dealt with; set it
                   * before the first push when the stream continues a text */
};
void tokenizer_stream_push(const struct tokenizer *t, struct tokenizer_stream *st, int32_t id,
                           struct str *out); /* appends what is complete */
void tokenizer_stream_end(struct tokenizer_stream *st, struct str *out); /* the rest, as it is */

int32_t tokenizer_n_vocab(const struct tokenizer *t);
int32_t tokenizer_bos(const struct tokenizer *t); /* -1 = none */
int32_t tokenizer_eos(const struct tokenizer *t);
int32_t tokenizer_eot(const struct tokenizer *t); /* end of turn: <|eot_id|>, -1 = none */
bool tokenizer_is_end(const struct tokenizer *t, int32_t id); /* EOS, EOT, EOM, <|end_of_text|> */
bool tokenizer_is_control(const struct tokenizer *t, int32_t id); /* control, unused or unknown */
/* The token of exactly these bytes, -1 = none; a control or user-defined one comes first. */
int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n);

/* The vocabulary as bytes, for constrained decoding: *s points to the token's raw bytes (len 0 for
 * control tokens: a grammar never allows them). Valid while the tokenizer lives. */
void tokenizer_bytes(const struct tokenizer *t, int32_t id, const char **s, size_t *len);

#endif
