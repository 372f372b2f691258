/*
 * vocab: the token table of a model file: bytes and type of each token, and a lookup from bytes to
 * token.
 *
 * The file writes text in a notation of its own. Here every token is its raw bytes:
 *
 *   VOCAB_BYTE_LEVEL  the file has one printable character for each byte of a normal token (the
 *   table
 *                     of encoder.py in openai/gpt-2); a space is U+0120
 *   VOCAB_SENTENCE    U+2581 is a space
 *
 * The file writes tokens of type byte as "<0xAB>". It writes control, unknown, unused and
 * user-defined tokens without a notation. A normal token that the notation cannot write is unused,
 * with a warning. Texts may be empty and may repeat: a lookup never finds an empty one, and finds
 * the least id among equals. Immutable after vocab_init.
 */
#ifndef MAS_VOCAB_H
#define MAS_VOCAB_H

#include "gguf.h"

/* Values of tokenizer.ggml.token_type. Tokens are normal if the key is absent or the type is 0. A
 * user-defined token is no control token: it is ordinary text, matched as a whole. */
enum vocab_type {
    VOCAB_NORMAL = 1,
    VOCAB_UNKNOWN,
    VOCAB_CONTROL,
    VOCAB_USER,
    VOCAB_UNUSED,
    VOCAB_BYTE,
};

enum vocab_form { VOCAB_BYTE_LEVEL, VOCAB_SENTENCE };

struct vocab_slot {
    uint32_t hash;
    int32_t id; /* -1 = free */
};

struct vocab_map { /* open addressing, linear probing, at most half full */
    struct vocab_slot *slot;
    size_t mask; /* slots - 1 */
};

struct vocab_spotted {
    const char *s;
    size_t len;
    int32_t id;
};

struct vocab {
    int32_t n;               /* tokens, >= 1 */
    unsigned char *type;     /* (n) enum vocab_type */
    char *bytes;             /* all tokens, one after the other */
    size_t *at;              /* (n + 1) token i is bytes[at[i] .. at[i+1]) */
    struct vocab_map plain;  /* normal tokens; byte tokens whose byte is no normal token */
    struct vocab_map marked; /* control, unknown, unused and user-defined tokens */
    /* (n_spotted) control, unknown and user-defined tokens by their text, then id; none empty */
    struct vocab_spotted *spotted;
    size_t n_spotted;
    bool starts[256]; /* first bytes of the spotted tokens */
    int32_t n_odd;    /* normal tokens outside the byte-level alphabet, now unused */
};

/* Reads tokenizer.ggml.tokens and .token_type of g. control[0..n_control) are the ids of control
 * tokens such as end of text; -1 = none. They are control tokens even if the file types them as
 * normal or user-defined. So are the tokens with a name of markers.def. No text ever becomes
 * a control token. ERR_DATA names key and token; ERR_NOMEM. */
int vocab_init(struct vocab *v, const struct gguf *g, enum vocab_form form, const int32_t *control,
               size_t n_control, struct err *e);
void vocab_free(struct vocab *v); /* accepts all zero */

const char *vocab_text(const struct vocab *v, int32_t id, size_t *len); /* 0 <= id < n */
int32_t vocab_plain(const struct vocab *v, const char *s, size_t n);    /* -1 = none */
int32_t vocab_marked(const struct vocab *v, const char *s, size_t n);   /* -1 = none */

/* The longest control, unknown or user-defined token at the start of s[0..n); -1 = none. Without
 * `control` only user-defined tokens count. */
int32_t vocab_spot(const struct vocab *v, const char *s, size_t n, bool control);

/* Writes the raw bytes of a normal token to out, which has room for len bytes. Returns their
 * number, or SIZE_MAX when the notation lacks a character of s. */
size_t vocab_unescape(enum vocab_form form, const char *s, size_t len, char *out);

#endif
