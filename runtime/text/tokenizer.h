/*
 * tokenizer: text to token ids and back, for two kinds of vocabulary:
 *
 *   tokenizer.ggml.model "gpt2"   byte-level BPE; tokenizer.ggml.pre names a row of pretokens.def
 *   tokenizer.ggml.model "llama"  SentencePiece (Llama 2, Gemma): merges by score, byte fallback
 *
 * Invariants:
 *   - Any bytes are accepted as text.
 *   - Ordinary text never becomes a control token: special pieces are recognised on request only.
 *     User-defined tokens are ordinary text and are always recognised.
 *   - Decoding returns the encoded bytes exactly. Two exceptions: SentencePiece reads U+2581 as a
 *     space, and a vocabulary may lack bytes. Such bytes are lost, and a warning names them.
 *   - A lost byte of byte-level BPE gives no token, even if the file has an unknown token. Tokens
 *     do not merge across it. SentencePiece writes the unknown token for the whole character, if
 *     the file has one. Both are as in llama.cpp.
 *   - Pieces are raw bytes everywhere: " the", not the notation of the file.
 *   - A tokenizer is immutable after open. Any thread may use it.
 */
#ifndef MAS_TOKENIZER_H
#define MAS_TOKENIZER_H

#include "gguf.h"
#include "str.h"
#include "token_list.h"

struct tokenizer;

/* pre names the pre-tokenizer in place of the file's; NULL or empty = the file's. ERR_DATA names
 * the key: a missing array, unequal lengths, a merge of unknown tokens, an unknown model or
 * pre-tokenizer. A file without a name is Llama 3's if it has Llama 3's control tokens, with a
 * warning; otherwise it is refused. A special id out of range is a warning, and the tokenizer has
 * no such token. Without types all tokens are normal; without scores all scores are 0. ERR_USAGE:
 * pre is unknown, or the file is SentencePiece. */
int tokenizer_open(const struct gguf *g, const char *pre, struct tokenizer **out, struct err *e);
void tokenizer_close(struct tokenizer *t);

enum tokenizer_flags {
    /* BOS comes first if the file asks for it. Without add_bos_token the pre-tokenizer decides:
     * Llama 3, Tekken and SentencePiece ask for it. */
    TOK_BOS = 1,
    TOK_SPECIAL = 2, /* names of control tokens become these tokens: for trusted templates only */
};

/* Appends the tokens of text[0..n) to out, which is unchanged on failure. Of several special pieces
 * at one place the longest wins. SentencePiece puts a space before the text and before each stretch
 * after a special piece; add_space_prefix = false in the file prevents that. With
 * remove_extra_whitespaces = true in the file, SentencePiece removes spaces at both ends of such a
 * stretch, and makes one of several spaces. EOS is never added. A special piece of Phi 3 takes the
 * white space after it with it. ERR_NOMEM; ERR_DATA for a word
 * (SentencePiece: a text) of 4 GiB. */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                     struct token_list *out, struct err *e);

/* tokenizer_piece appends the bytes of one token to out. Control tokens have text with TOK_SPECIAL
 * only. The bytes may end inside a UTF-8 character: use a tokenizer_stream for displayed text.
 * tokenizer_decode also removes the spaces that encoding added. Its ERR_DATA: an id outside the
 * vocabulary, with its place; out is then unchanged. In all other functions such an id is a bug of
 * the caller. */
void tokenizer_piece(const struct tokenizer *t, int32_t id, unsigned flags, struct str *out);
int tokenizer_decode(const struct tokenizer *t, const int32_t *id, size_t n, unsigned flags,
                     struct str *out, struct err *e);

/* Holds back the bytes of an incomplete UTF-8 character until the next token completes it. */
struct tokenizer_stream {
    char held[4];
    size_t n_held;
    /* SentencePiece: a stretch of text has begun, so its leading space is removed already. Set it
     * before the first push if the stream continues a text. */
    bool started;
};
void tokenizer_stream_push(const struct tokenizer *t, struct tokenizer_stream *st, int32_t id,
                           struct str *out); /* appends the complete characters */
void tokenizer_stream_end(struct tokenizer_stream *st, struct str *out); /* appends held bytes */

int32_t tokenizer_n_vocab(const struct tokenizer *t);
int32_t tokenizer_bos(const struct tokenizer *t); /* -1 = none */
int32_t tokenizer_eos(const struct tokenizer *t);
/* End of turn, -1 = none: eot_token_id, or the first such token of markers.def. */
int32_t tokenizer_eot(const struct tokenizer *t);
/* Ends a reply: EOS, EOT, EOM, and the tokens that markers.def names. */
bool tokenizer_is_end(const struct tokenizer *t, int32_t id);
bool tokenizer_is_control(const struct tokenizer *t, int32_t id); /* control, unused or unknown */
/* The token of exactly these bytes, -1 = none. A control or user-defined token takes precedence. */
int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n);

/* The vocabulary as bytes, for constrained decoding: *s points to the raw bytes of the token.
 * Control tokens have len 0: a grammar never allows them. Valid while the tokenizer lives. */
void tokenizer_bytes(const struct tokenizer *t, int32_t id, const char **s, size_t *len);
/* The same, and a control token is its name. */
void tokenizer_text(const struct tokenizer *t, int32_t id, const char **s, size_t *len);

#endif
