/*
 * grammar: constrained decoding from a JSON Schema.
 *
 *   schema text -- grammar_compile ---> struct grammar        immutable, shared by threads
 *   tokenizer   -- grammar_vocab_open -> struct grammar_vocab  for one engine thread
 *   one reply                            struct grammar_state  plain data, a copy is a fork
 *
 * Invariants:
 *   - Every finished reply validates against the schema. schema.h lists the valid values that are
 *     never written, and the limits.
 *   - Every prefix that grammar_feed accepts can be completed.
 *   - A reply is canonical JSON. Keys keep the order of the schema. The separators are ": " and
 *     ", "; no other white space occurs. The escapes are \" \\ \n \t \r \uXXXX.
 *   - Strings hold valid UTF-8. Control characters occur as escapes only; NUL never occurs.
 *     Lengths count characters: a code point, an escape or an escaped surrogate pair is one.
 *
 * Supported keywords:
 *   any value  type (one or a list), enum, const, allOf, anyOf, $ref without recursion to the same
 *              schema, oneOf of forms that exclude each other
 *   object     properties, required, additionalProperties, minProperties, maxProperties
 *   array      items, prefixItems, minItems, maxItems, uniqueItems over an enum
 *   string     minLength, maxLength, pattern, format
 *   number     minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, x-decimals = most
 *              digits after the point; never an exponent or "-0"; also for integers
 * Annotations ($schema, title, description, default..) are ignored. Any other keyword is an error;
 * the message names its JSON path and a replacement. A bare number is refused as the root.
 *
 * Speed: the mask of a string is the union of bitsets made at open. Every other state walks the few
 * tokens that fit. Masks are kept in a cache of 32 MiB; its key omits details that cannot matter
 * any more (grammar_mask.c).
 */
#ifndef MAS_GRAMMAR_H
#define MAS_GRAMMAR_H

#include "str.h"
#include "token_list.h"

struct tokenizer;     /* tokenizer.h */
struct grammar;       /* compiled schema */
struct grammar_vocab; /* trie of a vocabulary and the cache of masks */

/* Compiles schema[0..n); name appears in messages. ERR_CONFIG: an unsupported keyword, with its
 * JSON path. ERR_NOMEM. */
int grammar_compile(const char *schema, size_t n, const char *name, struct grammar **out,
                    struct err *e);
/* A grammar of any JSON object: names of 1 to 100 characters, and values nested up to
 * GRAMMAR_OBJECT_DEPTH deep in objects and arrays. A name may occur twice. ERR_NOMEM. */
#define GRAMMAR_OBJECT_DEPTH 5
int grammar_any_object(struct grammar **out, struct err *e);
void grammar_free(struct grammar *g);         /* accepts NULL */
uint64_t grammar_id(const struct grammar *g); /* hash of the schema's meaning: key of caches */

/* Prepares the vocabulary of t and borrows the bytes of its tokens. Takes about 50 MB for 128 K
 * tokens, caches included. ERR_NOMEM. */
int grammar_vocab_open(const struct tokenizer *t, struct grammar_vocab **out, struct err *e);
/* Prepares a vocabulary from arrays of n elements: bytes[i][0..len[i]) are borrowed. A token with
 * len 0 is never allowed; the bytes of an end token are ignored. ERR_NOMEM, ERR_DATA (n out of
 * range). */
int grammar_vocab_open_tokens(size_t n, const char *const *bytes, const size_t *len,
                              const bool *is_end, struct grammar_vocab **out, struct err *e);
void grammar_vocab_close(struct grammar_vocab *v); /* accepts NULL */

struct grammar_vocab_stats {           /* totals since open */
    uint64_t hits, misses;             /* grammar_mask */
    uint64_t close_hits, close_misses; /* grammar_close_tokens */
};
void grammar_vocab_stats(const struct grammar_vocab *v, struct grammar_vocab_stats *out);

#define GRAMMAR_DEPTH 16 /* nesting of a schema; deeper is refused at compile time */
#define GRAMMAR_WAYS 32  /* ways of reading; a schema that could need more is refused */

/* One schema node that is being written. `node` is its number in the schema; the other fields
 * depend on its kind (schema.h):
 *
 *           object             array       string      pattern    choice           number
 *   index   property number    item no.    characters  characters first value      whole digits
 *   at      byte of literal    phase       phase       state      byte of literal  digits after
 *                                                                                the point
 *   sub     property that      -           -           phase      end of values    sign and point
 *           fits the bytes
 *   used    properties         values      -           character  -                its digits as
 *           written            taken                   begun                       one integer
 *
 * Values of a choice are those still possible. Values taken matter under uniqueItems only. */
struct grammar_frame {
    uint16_t node;
    uint16_t index;
    uint16_t at;
    uint16_t sub;
    uint64_t used;
};

struct grammar_way {                       /* one way to read the bytes so far */
    int depth;                             /* frames in use; 0 = the value is complete */
    struct grammar_frame f[GRAMMAR_DEPTH]; /* outermost first */
};

/* Plain data: assignment forks it. Several alternatives may fit the same bytes; each is then read
 * in a way of its own. Ways stand in the schema's order. Ways beyond n and frames beyond depth are
 * ignored. */
struct grammar_state {
    int n;     /* ways, 1 or more */
    bool done; /* the JSON value is complete: only end-of-turn may follow */
    struct grammar_way way[GRAMMAR_WAYS];
};

void grammar_start(const struct grammar *g, struct grammar_state *s);
/* Advances by n bytes; false (state unchanged) if no valid reply continues so. */
bool grammar_feed(const struct grammar *g, struct grammar_state *s, const char *bytes, size_t n);
/* Number of bytes after s that the schema forces: each has exactly one allowed value. */
size_t grammar_forced(const struct grammar *g, const struct grammar_state *s);

/* Bitmask of the tokens allowed next: ceil(n_vocab/32) words. End tokens are allowed exactly when
 * s->done. *mask stays valid until the next call; nothing is allocated. ERR_DATA: no token is
 * allowed. A vocabulary with all 256 bytes and an end token never reaches such a state by allowed
 * tokens. */
int grammar_mask(struct grammar_vocab *v, const struct grammar *g, const struct grammar_state *s,
                 const uint32_t **mask, struct err *e);
/* Advances by one token that the mask allowed; an end token does not change the state. */
bool grammar_accept(const struct grammar_vocab *v, const struct grammar *g, struct grammar_state *s,
                    int32_t token);

/* Appends to out the tokens of the shortest completion of the reply in s. The completion closes
 * strings and fills required values with the least ones (rules: machine.h). Its text is cut into
 * tokens by longest match. out is unchanged on failure. ERR_NOMEM; ERR_DATA: the vocabulary lacks a
 * byte.
 *
 * A caller with a token limit compares grammar_close_tokens of the new state with the tokens left,
 * after each sampled token. If the completion is longer, the caller drops that token and emits
 * grammar_close of the old state. If the completion of the start state fits the limit, every reply
 * is then valid. The model did not say the completion: report such a reply as closed. */
int grammar_close(const struct grammar_vocab *v, const struct grammar *g,
                  const struct grammar_state *s, struct token_list *out, struct err *e);
/* Number of tokens that grammar_close would append; 0 when done; ERR_DATA as there. The result is
 * cached, so a call on every step is cheap. */
int grammar_close_tokens(struct grammar_vocab *v, const struct grammar *g,
                         const struct grammar_state *s);

#endif
