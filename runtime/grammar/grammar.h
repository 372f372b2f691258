/*
 * grammar: constrained decoding from a JSON Schema.
 *
 * A schema is compiled once into a grammar (immutable, shared by threads); each reply has a small
 * grammar_state (plain data, copy = fork) that advances by tokens. Output is canonical JSON: keys
 * in the schema's order, ": " and ", " as separators, no other white space, \" \\ \n \t \r \uXXXX
 * as the only escapes.
 *
 * Supported, so that each reply validates (schema.h says what is never written): $ref to places of
 * the same schema without recursion, allOf, anyOf, oneOf of forms that surely differ, type and
 * lists of types, enum and const of any values; objects (properties, required,
 * additionalProperties, minProperties, maxProperties), arrays (items, prefixItems, minItems,
 * maxItems, uniqueItems over an enum), strings (minLength, maxLength, pattern, format), integers
 * and numbers (minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, x-decimals = most
 * digits after the point; no exponent, no "-0"), boolean, null. Annotations ($schema, title,
 * description, default..) are ignored. Everything else is an error with its JSON path and what to
 * write instead. The root is no bare number. Limits: schema.h.
 *
 * Strings hold valid UTF-8; control characters and NUL do not occur (as escapes: all but NUL); one
 * code point, escape or escaped surrogate pair is one character. Every prefix that grammar_feed
 * accepts can be completed.
 *
 * Speed: masks of strings are put together from bitsets made at open, other states walk the few
 * tokens that fit; both land in a cache of 32 MiB keyed by what can still matter (grammar_mask.c).
 * Not thread-safe: one grammar_vocab per engine thread; grammars are immutable and shared.
 */
#ifndef MAS_GRAMMAR_H
#define MAS_GRAMMAR_H

#include "str.h"
#include "token_list.h"

struct tokenizer;     /* tokenizer.h */
struct grammar;       /* compiled schema */
struct grammar_vocab; /* trie of a vocabulary and the cache of masks */

/* name is for messages. ERR_CONFIG with the JSON path of what is not supported; ERR_NOMEM. */
int grammar_compile(const char *schema, size_t n, const char *name, struct grammar **out,
                    struct err *e);
void grammar_free(struct grammar *g);         /* accepts NULL */
uint64_t grammar_id(const struct grammar *g); /* hash of the schema's meaning: key of caches */

/* Borrows the bytes of t's tokens. ERR_NOMEM. About 50 MB for 128 K tokens, caches included. */
int grammar_vocab_open(const struct tokenizer *t, struct grammar_vocab **out, struct err *e);
/* The same from arrays (n): bytes[i][0..len[i]) are borrowed; len 0 = never allowed; end tokens'
 * bytes do not matter. ERR_NOMEM, ERR_DATA (n out of range). */
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

struct grammar_frame { /* one schema node being written; a field's meaning depends on its kind */
    uint16_t node;     /* schema node */
    uint16_t index;    /* property or item number; characters written; first possible enum value */
    uint16_t at; /* byte of literal text; phase of an array or a string; digits of a fraction; state
                  * of a pattern */
    uint16_t sub;  /* end of the possible enum values; sign and point of a number; a property that
                    * fits what is written of its name; phase of a pattern */
    uint64_t used; /* array: values taken (uniqueItems); number: its digits as an integer; object:
                    * properties written; pattern: the character that has begun */
};

struct grammar_way {                       /* one way to read the bytes so far */
    int depth;                             /* frames in use; 0 = the value is complete */
    struct grammar_frame f[GRAMMAR_DEPTH]; /* outermost first */
};

/* Plain data: assignment forks it. Alternatives that fit the same bytes are read at once, each in a
 * way of its own, in the schema's order; ways beyond n and frames beyond depth do not count. */
struct grammar_state {
    int n;     /* ways, 1 or more */
    bool done; /* the JSON value is complete: only end-of-turn may follow */
    struct grammar_way way[GRAMMAR_WAYS];
};

void grammar_start(const struct grammar *g, struct grammar_state *s);
/* Feeds bytes; false (state unchanged) if they cannot be continued to a valid reply. */
bool grammar_feed(const struct grammar *g, struct grammar_state *s, const char *bytes, size_t n);
/* How many bytes after s are forced: at each of them the schema allows one byte and no other. */
size_t grammar_forced(const struct grammar *g, const struct grammar_state *s);

/* Bitmask of the tokens allowed next: ceil(n_vocab/32) words; the end tokens are allowed exactly
 * when s->done. *mask stays valid until the next call; nothing is allocated. A state without any
 * allowed token cannot be reached by feeding allowed tokens of a vocabulary with all 256 bytes and
 * an end token; otherwise ERR_DATA. */
int grammar_mask(struct grammar_vocab *v, const struct grammar *g, const struct grammar_state *s,
                 const uint32_t **mask, struct err *e);
/* Advances by one token that the mask allowed (an end token leaves the state as it is). */
bool grammar_accept(const struct grammar_vocab *v, const struct grammar *g, struct grammar_state *s,
                    int32_t token);

/* The shortest-by-rule text that completes the reply from s (closes strings, fills what is required
 * with the least values: machine.h), cut into tokens by longest match and appended to out
 * (unchanged on failure). Rule for callers: after sampling a token, if grammar_close_tokens of the
 * new state exceeds the tokens left, drop the token and emit grammar_close of the old state
 * instead. From a start state that fits, this always ends in a valid reply. What it fills in was
 * not said by the model: such a reply must be reported as closed. ERR_NOMEM; ERR_DATA when the
 * vocabulary lacks a byte. */
int grammar_close(const struct grammar_vocab *v, const struct grammar *g,
                  const struct grammar_state *s, struct token_list *out, struct err *e);
/* How many tokens that is, cached: cheap enough for every step. 0 when done; ERR_DATA. */
int grammar_close_tokens(struct grammar_vocab *v, const struct grammar *g,
                         const struct grammar_state *s);

#endif
