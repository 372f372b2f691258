#include <string.h>

#include "grammar_vocab.h"

/* Sets the bits of all pieces of the tree that the schema allows after w. `same` chains further ids
 * with equal bytes; NULL = none. */
static void walk_tree(struct grammar_vocab *v, const struct schema *sc, const struct vocab_trie *t,
                      const struct grammar_way *w, const int32_t *same, uint32_t *bits)
{
    struct walk_level *l = v->walk;
    l->state.n = 1;
    l->state.done = w->depth == 0;
    l->state.way[0] = *w;
    l->at = t->node[0].first;
    l->end = l->at + t->node[0].n;
    l->clean = false;
    for (;;) {
        if (l->at == l->end) {
            if (l == v->walk)
                return;
            l--;
            continue;
        }
        const struct vocab_trie_node *node = &t->node[l->at++];
        if (!l->clean) {
            machine_copy(&l[1].state, &l->state);
            l->clean = true;
        }
        if (!machine_step(sc, &l[1].state, node->byte))
            continue;
        l->clean = false;
        if (node->id >= 0) {
            grammar_bit(bits, (size_t)node->id);
            for (int32_t id = same ? same[node->id] : -1; id >= 0; id = same[id])
                grammar_bit(bits, (size_t)id);
        }
        if (node->n) {
            l++;
            l->at = node->first;
            l->end = l->at + node->n;
            l->clean = false;
        }
    }
}

/* Tokens that end inside the string. */
static void mask_open(const struct grammar_vocab *v, const struct machine_string *in,
                      uint32_t *bits)
{
    const struct string_list *l = &v->open[in->q];
    if (in->q == QUOTED_BODY) {
        size_t k = in->room < PLAIN_BITSETS ? in->room : PLAIN_BITSETS - 1;
        memcpy(bits, v->plain + k * v->n_words, v->n_words * sizeof *bits);
    }
    for (size_t i = 0; i < l->n && l->t[i].chars <= in->room; i++)
        grammar_bit(bits, (size_t)l->t[i].id);
}

/* Tokens that close the string. */
static void mask_close(struct grammar_vocab *v, const struct schema *sc,
                       const struct grammar_way *w, const struct machine_string *in, uint32_t *bits)
{
    const struct string_list *l = &v->close[in->q];
    struct grammar_way after = *w;
    machine_leave(sc, &after);
    memset(v->suffix_ok, 0, grammar_words(v->n_suffix) * sizeof *v->suffix_ok);
    v->suffix_ok[0] = 1; /* nothing after the quote */
    walk_tree(v, sc, &v->suffix, &after, NULL, v->suffix_ok);
    for (size_t i = 0; i < l->n; i++) {
        const struct string_token *t = &l->t[i];
        if (t->chars >= in->need && t->chars <= in->room &&
            (v->suffix_ok[t->suffix / 32] >> (t->suffix % 32) & 1))
            grammar_bit(bits, (size_t)t->id);
    }
}

static bool mask_make(struct grammar_vocab *v, const struct schema *sc, const struct grammar_way *w,
                      uint32_t *bits)
{
    struct machine_string in;
    if (machine_in_string(sc, w, &in) && in.q == QUOTED_BODY) {
        mask_open(v, &in, bits);
        mask_close(v, sc, w, &in, bits);
    } else {
        memset(bits, 0, v->n_words * sizeof *bits);
        if (machine_in_string(sc, w, &in)) {
            mask_open(v, &in, bits);
            mask_close(v, sc, w, &in, bits);
        } else {
            walk_tree(v, sc, &v->trie, w, v->same, bits);
        }
    }
    for (size_t i = 0; i < v->n_words; i++)
        if (bits[i])
            return true;
    return false;
}

/* The slot of key in its set: the one that holds it, otherwise the least recently used. */
static size_t mask_place(struct grammar_vocab *v, const struct cache_key *key, bool *hit)
{
    size_t first = grammar_key_hash(key) % v->n_sets * MASK_WAYS, oldest = first;
    for (size_t i = first; i < first + MASK_WAYS; i++) {
        *hit = v->slot[i].stamp && grammar_key_equal(&v->slot[i].key, key);
        if (*hit)
            return i;
        if (v->slot[i].stamp < v->slot[oldest].stamp)
            oldest = i;
    }
    return oldest;
}

/* The mask of one way, from the cache if it holds that mask; NULL = no token continues the way. */
static const uint32_t *way_mask(struct grammar_vocab *v, const struct grammar *g,
                                const struct grammar_way *w)
{
    struct cache_key key = {.grammar = g->sc.hash};
    machine_class(&g->sc, w, v->trie.longest, &key.way);
    bool hit;
    size_t at = mask_place(v, &key, &hit);
    struct mask_slot *slot = &v->slot[at];
    uint32_t *bits = v->mask + at * v->n_words;
    if (hit) {
        v->stats.hits++;
    } else {
        v->stats.misses++;
        slot->stamp = 0;
        if (!mask_make(v, &g->sc, w, bits))
            return NULL;
        slot->key = key;
    }
    slot->stamp = ++v->clock;
    return bits;
}

int grammar_mask(struct grammar_vocab *v, const struct grammar *g, const struct grammar_state *s,
                 const uint32_t **mask, struct err *e)
{
    if (s->done) {
        if (!v->has_end)
            FAIL(e, ERR_DATA, "the vocabulary has no end token to end a reply with");
        *mask = v->end;
        return 0;
    }
    const uint32_t *bits = s->n == 1 ? way_mask(v, g, &s->way[0]) : NULL;
    if (s->n > 1)
        memset(v->joined, 0, v->n_words * sizeof *v->joined);
    for (int i = 0; s->n > 1 && i < s->n; i++) {
        const uint32_t *one = way_mask(v, g, &s->way[i]);
        for (size_t k = 0; one && k < v->n_words; k++)
            v->joined[k] |= one[k];
        bits = one ? v->joined : bits;
    }
    if (!bits) {
        struct grammar_way w = s->way[0];
        FAIL(e, ERR_DATA, "the vocabulary has no token that continues the reply at byte \"%c\"",
             machine_close_byte(&g->sc, &w));
    }
    *mask = bits;
    return 0;
}

bool grammar_accept(const struct grammar_vocab *v, const struct grammar *g, struct grammar_state *s,
                    int32_t token)
{
    if (token < 0 || token >= v->n_vocab)
        return false;
    if (v->end[token / 32] >> (token % 32) & 1)
        return s->done;
    const struct vocab_piece *p = &v->token[token];
    return p->n && grammar_feed(g, s, (const char *)p->s, p->n);
}
