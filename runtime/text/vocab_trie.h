/*
 * vocab_trie: a set of byte strings as a tree. The children of a node are neighbours, sorted by
 * byte. Immutable after build.
 */
#ifndef MAS_VOCAB_TRIE_H
#define MAS_VOCAB_TRIE_H

#include "mem.h"

struct vocab_piece {
    const unsigned char *s;
    size_t n; /* >= 1 */
    int32_t id;
};

struct vocab_trie_node {
    uint32_t first; /* first child */
    int32_t id;     /* the piece that ends here, the least id among equals; -1 = none */
    uint16_t n;     /* children, <= 256 */
    unsigned char byte;
};

struct vocab_trie {
    struct vocab_trie_node *node; /* (n); node 0 is the root, its byte is unused */
    size_t n;
    size_t longest; /* bytes of the longest piece */
};

/* Builds from n pieces, which it sorts by bytes, then id. ERR_NOMEM, ERR_DATA (more than 2^32
 * nodes). */
int vocab_trie_build(struct vocab_piece *piece, size_t n, struct vocab_trie *out, struct err *e);
void vocab_trie_free(struct vocab_trie *t);
/* The longest piece at the start of s[0..n): its id and *len, or -1. */
int32_t vocab_trie_longest(const struct vocab_trie *t, const unsigned char *s, size_t n,
                           size_t *len);

#endif
