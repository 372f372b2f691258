/*
 * grammar: constrained decoding from a JSON Schema.
 *
 * A schema is compiled once into a grammar (immutable, shared by threads); each reply has a small
 * grammar_state (plain data, copy = fork) that advances by tokens. Output is canonical JSON: keys in the
 * schema's order, ": " and ", " as separators, no other white space, \" \\ \n \t \r \uXXXX as the only escapes.
 *
 * Supported: type object (properties in order, all of them required unless additionalProperties
 * is given as true, which is an error), array (items, minItems, maxItems, uniqueItems for enums), string
 * (enum, const, minLength, maxLength in characters), integer and number (minimum, maximum, and
 * x-decimals = most digits after the point, default 2), boolean, null, const, enum of strings. An
 * unknown keyword or an unbounded form is an error with its JSON path: nothing is ignored silently
 * ($schema, $id, title, description and $comment excepted).
 *
 * Speed: a token mask is found in a cache by state class; computing a new one walks a trie of the
 * vocabulary. After warm-up < 1 ms for 128 K tokens. Not thread-safe: one vocab_trie + mask cache per
 * engine thread.
 */
#ifndef MAS_GRAMMAR_H
#define MAS_GRAMMAR_H

#include "str.h"
#include "tokenizer.h"

struct grammar;      /* compiled schema */
struct grammar_vocab; /* trie of a vocabulary and the cache of masks */

int grammar_compile(const char *schema, size_t n, const char *name, struct grammar **out, struct err *e);
void grammar_free(struct grammar *g);
uint64_t grammar_id(const struct grammar *g); /* hash of the schema's meaning: key of caches */

int grammar_vocab_open(const struct tokenizer *t, struct grammar_vocab **out, struct err *e);
void grammar_vocab_close(struct grammar_vocab *v);

#define GRAMMAR_DEPTH 16 /* nesting of a schema; deeper is refused at compile time */

struct grammar_frame {
    uint16_t node;  /* schema node */
    uint16_t index; /* property or item number, character count of a string */
    uint16_t at;    /* byte position inside literal text, enum candidate range, escape progress .. */
    uint16_t sub;
    uint64_t used;  /* enum values already taken (uniqueItems); still-possible alternatives */
};

struct grammar_state { /* plain data: assignment forks it */
    int depth; /* frames in use; 0 = complete */
    bool done; /* the JSON value is complete: only end-of-turn may follow */
    char num[24]; /* text of the number being written */
    uint8_t n_num;
    struct grammar_frame f[GRAMMAR_DEPTH];
};

void grammar_start(const struct grammar *g, struct grammar_state *s);
/* Feeds bytes; false (state unchanged) if they cannot be continued to a valid reply. */
bool grammar_feed(const struct grammar *g, struct grammar_state *s, const char *bytes, size_t n);

/* Bitmask of the tokens allowed next: ceil(n_vocab/32) words; the end tokens are allowed exactly when
 * s->done. *mask stays valid until the next call. ERR_NOMEM only. A state without any allowed token
 * cannot be reached by feeding allowed tokens of a vocabulary with all 256 bytes; otherwise ERR_DATA. */
int grammar_mask(struct grammar_vocab *v, const struct grammar *g, const struct grammar_state *s,
                 const uint32_t **mask, struct err *e);
/* Advances by one token that the mask allowed (an end token leaves the state as it is). */
bool grammar_accept(const struct grammar_vocab *v, const struct grammar *g, struct grammar_state *s,
                    int32_t token);

/* The shortest-by-rule text that completes the reply from s (closes strings, fills what is required
 * with the least values), and its tokens by longest match. Used when the token limit comes near: as
 * long as grammar_close(..)'s length <= tokens left, a reply can always be closed validly. */
int grammar_close(const struct grammar_vocab *v, const struct grammar *g,
                  const struct grammar_state *s, struct token_list *out, struct err *e);
/* Only the length of the above, cached: cheap enough for every step. */
int grammar_close_tokens(struct grammar_vocab *v, const struct grammar *g,
                         const struct grammar_state *s);

#endif
