/*
 * grammar_vocab: a vocabulary prepared for masks. Private to the grammar: grammar_vocab.c makes it,
 * grammar_mask.c and grammar_close.c read it.
 *
 * Inside a string almost every token is allowed, so a walk over the vocabulary would be slow.
 * Instead two lists of tokens are made at open, for each state of the string automaton (quoted.h):
 *   - open:  the token ends inside the string. It is allowed if it begins at most `room`
 *     characters.
 *   - close: the token holds the closing quote after k characters. It is allowed if
 *     need <= k <= room and its suffix can follow the string. The suffix is the bytes after the
 *     quote; a vocabulary has a few hundred different ones.
 * For the state between characters (QUOTED_BODY) the open list is a bitset for each number of
 * characters. Every other state of the schema allows few tokens: the mask walks the tree of the
 * vocabulary.
 */
#ifndef MAS_GRAMMAR_VOCAB_H
#define MAS_GRAMMAR_VOCAB_H

#include "grammar.h"
#include "machine.h"
#include "vocab_trie.h"

struct grammar {
    struct schema sc;
};

struct string_token {
    int32_t id;
    uint32_t chars;  /* characters: begun (open) or completed (close) */
    uint32_t suffix; /* close: number of the suffix, 0 = empty */
};

struct string_list {
    struct string_token *t; /* (n) */
    size_t n, cap;
};

#define PLAIN_BITSETS 33 /* tokens of at most 0..32 characters; the few longer ones are a list */

struct cache_key {
    uint64_t grammar;       /* grammar_id */
    struct grammar_way way; /* a class (machine.h); frames after way.depth are ignored */
};

struct mask_slot {
    struct cache_key key;
    uint64_t stamp; /* clock of the last use; 0 = empty */
};

struct close_slot {
    struct cache_key key;
    size_t bytes;
    int tokens; /* -1 = empty */
};

#define MASK_CACHE_BYTES ((size_t)32 << 20) /* most bytes of cached masks */
#define MASK_WAYS 4                         /* slots of one set of the cache */
#define CLOSE_SLOTS 16384                   /* lengths of closing texts, 4.7 MB */

struct walk_level {
    struct grammar_state state;
    uint32_t at, end; /* children still to visit */
    bool clean;       /* the next level holds a copy of this state */
};

struct grammar_vocab {
    int32_t n_vocab;
    size_t n_words;
    struct vocab_piece *token; /* (n_vocab) by id; n = 0: never allowed */
    int32_t *same;             /* (n_vocab) the next token with equal bytes, -1 = none */
    uint32_t *end;             /* (n_words) bits of the end tokens */
    bool has_end;
    struct vocab_trie trie;   /* of all tokens */
    struct vocab_trie suffix; /* of the non-empty suffixes */
    size_t n_suffix;          /* suffixes, the empty one included */
    uint32_t *plain;          /* (PLAIN_BITSETS, n_words): open tokens of BODY, cumulative */
    struct string_list open[QUOTED_END]; /* by chars; BODY: tokens of PLAIN_BITSETS chars or more */
    struct string_list close[QUOTED_END];
    /* scratch: one thread uses a vocabulary */
    struct walk_level *walk;   /* (longest + 1) */
    uint32_t *suffix_ok;       /* (words of n_suffix) */
    uint32_t *joined;          /* (n_words) the mask of several ways */
    unsigned char *close_text; /* (SCHEMA_CLOSE) */
    /* caches */
    size_t n_sets;
    struct mask_slot *slot;     /* (n_sets, MASK_WAYS) */
    uint32_t *mask;             /* (n_sets, MASK_WAYS, n_words) */
    struct close_slot *closing; /* (CLOSE_SLOTS) */
    uint64_t clock;
    struct grammar_vocab_stats stats;
};

static inline size_t grammar_words(size_t bits)
{
    return (bits + 31) / 32;
}
static inline void grammar_bit(uint32_t *bits, size_t i)
{
    bits[i / 32] |= (uint32_t)1 << (i % 32);
}

/* Hash of the bytes in use of a key, and equality of two keys. */
uint64_t grammar_key_hash(const struct cache_key *k);
bool grammar_key_equal(const struct cache_key *a, const struct cache_key *b);

#endif
