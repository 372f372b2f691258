#include "vocab_trie.h"

#include <stdlib.h>
#include <string.h>

static int piece_order(const void *pa, const void *pb)
{
    const struct vocab_piece *a = pa, *b = pb;
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    if (!c)
        c = (a->n > b->n) - (a->n < b->n);
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

/* Nodes of the tree of sorted pieces: each piece adds its bytes after the prefix shared with the
 * previous one. */
static size_t count_nodes(const struct vocab_piece *piece, size_t n)
{
    size_t nodes = 1;
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        if (i)
            while (same < piece[i].n && same < piece[i - 1].n &&
                   piece[i].s[same] == piece[i - 1].s[same])
                same++;
        nodes += piece[i].n - same;
    }
    return nodes;
}

struct range { /* the pieces below a node: they agree in their first `depth` bytes */
    size_t lo, hi, depth;
};

/* Gives node its piece and appends its children to node[*used..) and range[*used..). */
static void expand(const struct vocab_piece *piece, struct vocab_trie_node *node,
                   struct range *range, size_t at, size_t *used)
{
    struct range r = range[at];
    node[at].id = -1;
    node[at].first = (uint32_t)*used;
    for (; r.lo < r.hi && piece[r.lo].n == r.depth; r.lo++)
        if (node[at].id < 0)
            node[at].id = piece[r.lo].id;
    while (r.lo < r.hi) {
        unsigned char b = piece[r.lo].s[r.depth];
        size_t end = r.lo + 1;
        while (end < r.hi && piece[end].s[r.depth] == b)
            end++;
        range[*used] = (struct range){.lo = r.lo, .hi = end, .depth = r.depth + 1};
        node[*used].byte = b;
        ++*used;
        node[at].n++;
        r.lo = end;
    }
}

int vocab_trie_build(struct vocab_piece *piece, size_t n, struct vocab_trie *out, struct err *e)
{
    struct vocab_trie t = {0};
    if (n)
        qsort(piece, n, sizeof *piece, piece_order);
    t.n = count_nodes(piece, n);
    if (t.n > UINT32_MAX)
        FAIL(e, ERR_DATA, "vocabulary: its tokens need %zu tree nodes; the limit is %u", t.n,
             UINT32_MAX);
    t.node = mem_zalloc(t.n, sizeof *t.node);
    struct range *range = mem_zalloc(t.n, sizeof *range);
    if (!t.node || !range) {
        vocab_trie_free(&t);
        mem_free(range);
        return NOMEM(e, t.n * (sizeof *t.node + sizeof *range), "the tree of a vocabulary");
    }
    range[0] = (struct range){.lo = 0, .hi = n, .depth = 0};
    size_t used = 1;
    for (size_t i = 0; i < used; i++)
        expand(piece, t.node, range, i, &used);
    for (size_t i = 0; i < n; i++)
        t.longest = piece[i].n > t.longest ? piece[i].n : t.longest;
    mem_free(range);
    *out = t;
    return 0;
}

void vocab_trie_free(struct vocab_trie *t)
{
    mem_free(t->node);
    *t = (struct vocab_trie){0};
}

static const struct vocab_trie_node *child_of(const struct vocab_trie *t,
                                              const struct vocab_trie_node *node, unsigned char b)
{
    size_t lo = node->first, hi = lo + node->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->node[mid].byte < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < (size_t)node->first + node->n && t->node[lo].byte == b ? &t->node[lo] : NULL;
}

int32_t vocab_trie_longest(const struct vocab_trie *t, const unsigned char *s, size_t n,
                           size_t *len)
{
    int32_t best = -1;
    const struct vocab_trie_node *node = &t->node[0];
    for (size_t i = 0; i < n; i++) {
        node = child_of(t, node, s[i]);
        if (!node)
            break;
        if (node->id >= 0) {
            best = node->id;
            *len = i + 1;
        }
    }
    return best;
}
