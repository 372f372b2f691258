#include "grammar_vocab.h"

#include <stdlib.h>
#include <string.h>

#include "rng.h"
#include "tokenizer.h"

struct suffix { /* the bytes of a token after its closing quote */
    const unsigned char *s;
    size_t n;
    enum quoted from;
    size_t at; /* the token is close[from].t[at] */
};

struct suffix_list {
    struct suffix *x;
    size_t n, cap;
};

/* Reads one token from state `from` of a string and adds it to the open or the close list. */
static int file_token(struct grammar_vocab *v, enum quoted from, int32_t id, struct suffix_list *sx,
                      struct err *e)
{
    const struct vocab_piece *p = &v->token[id];
    enum quoted q = from;
    uint32_t chars = 0;
    size_t i = 0;
    while (i < p->n && q < QUOTED_END) {
        q = quoted_step(q, p->s[i++]);
        chars += q == QUOTED_BODY;
    }
    if (q == QUOTED_BAD)
        return 0;
    struct string_list *l = q == QUOTED_END ? &v->close[from] : &v->open[from];
    struct string_token t = {.id = id, .chars = chars + (q != QUOTED_END && q != QUOTED_BODY)};
    if (q == QUOTED_END && i < p->n) {
        TRY(mem_grow(&sx->x, &sx->cap, sx->n + 1, sizeof *sx->x, "endings of tokens", e));
        sx->x[sx->n++] = (struct suffix){.s = p->s + i, .n = p->n - i, .from = from, .at = l->n};
    } else if (q != QUOTED_END && from == QUOTED_BODY && t.chars < PLAIN_BITSETS) {
        grammar_bit(v->plain + t.chars * v->n_words, (size_t)id);
        return 0;
    }
    TRY(mem_grow(&l->t, &l->cap, l->n + 1, sizeof *l->t, "tokens of a string", e));
    l->t[l->n++] = t;
    return 0;
}

static int suffix_order(const void *pa, const void *pb)
{
    const struct suffix *a = pa, *b = pb;
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

/* Numbers the distinct suffixes from 1, stores the numbers in the close lists, builds their
 * tree. */
static int number_suffixes(struct grammar_vocab *v, struct suffix_list *sx, struct err *e)
{
    if (sx->n)
        qsort(sx->x, sx->n, sizeof *sx->x, suffix_order);
    struct vocab_piece *piece = mem_zalloc(sx->n, sizeof *piece);
    if (!piece)
        return NOMEM(e, sx->n * sizeof *piece, "endings of tokens");
    size_t n = 0;
    for (size_t i = 0; i < sx->n; i++) {
        if (!i || suffix_order(&sx->x[i - 1], &sx->x[i])) {
            piece[n] = (struct vocab_piece){sx->x[i].s, sx->x[i].n, (int32_t)(n + 1)};
            n++;
        }
        v->close[sx->x[i].from].t[sx->x[i].at].suffix = (uint32_t)n;
    }
    v->n_suffix = n + 1;
    int rc = vocab_trie_build(piece, n, &v->suffix, e);
    mem_free(piece);
    return rc;
}

static int chars_order(const void *pa, const void *pb)
{
    const struct string_token *a = pa, *b = pb;
    return a->chars != b->chars ? (a->chars > b->chars) - (a->chars < b->chars)
                                : (a->id > b->id) - (a->id < b->id);
}

static int build_strings(struct grammar_vocab *v, struct err *e)
{
    struct suffix_list sx = {0};
    int rc = 0;
    for (enum quoted q = QUOTED_BODY; q < QUOTED_END; q++)
        for (int32_t id = 0; id < v->n_vocab; id++)
            if (v->token[id].n)
                TRY_DONE(file_token(v, q, id, &sx, e));
    for (enum quoted q = QUOTED_BODY; q < QUOTED_END; q++)
        if (v->open[q].n)
            qsort(v->open[q].t, v->open[q].n, sizeof *v->open[q].t, chars_order);
    for (size_t k = 1; k < PLAIN_BITSETS; k++) /* "exactly k" to "at most k" */
        for (size_t w = 0; w < v->n_words; w++)
            v->plain[k * v->n_words + w] |= v->plain[(k - 1) * v->n_words + w];
    TRY_DONE(number_suffixes(v, &sx, e));
done:
    mem_free(sx.x);
    return rc;
}

/* Builds the tree from a copy, because vocab_trie_build sorts its pieces. Tokens with equal bytes
 * are neighbours after the sort; `same` chains them. */
static int build_tree(struct grammar_vocab *v, struct err *e)
{
    struct vocab_piece *sorted = mem_zalloc((size_t)v->n_vocab, sizeof *sorted);
    if (!sorted)
        return NOMEM(e, (size_t)v->n_vocab * sizeof *sorted, "sorted tokens");
    size_t n = 0;
    for (int32_t id = 0; id < v->n_vocab; id++) {
        v->same[id] = -1;
        if (v->token[id].n)
            sorted[n++] = v->token[id];
    }
    int rc = vocab_trie_build(sorted, n, &v->trie, e);
    for (size_t i = 1; rc == 0 && i < n; i++)
        if (sorted[i].n == sorted[i - 1].n && !memcmp(sorted[i].s, sorted[i - 1].s, sorted[i].n))
            v->same[sorted[i - 1].id] = sorted[i].id;
    mem_free(sorted);
    return rc;
}

static int build_scratch(struct grammar_vocab *v, struct err *e)
{
    size_t row = v->n_words * sizeof *v->mask;
    v->n_sets = MASK_CACHE_BYTES / (row + sizeof *v->slot) / MASK_WAYS;
    if (v->n_sets > 1024)
        v->n_sets = 1024; /* small vocabularies */
    if (v->n_sets < 1)
        v->n_sets = 1;
    size_t n_slots = v->n_sets * MASK_WAYS;
    v->walk = mem_zalloc(v->trie.longest + 1, sizeof *v->walk);
    v->suffix_ok = mem_zalloc(grammar_words(v->n_suffix), sizeof *v->suffix_ok);
    v->joined = mem_zalloc(v->n_words, sizeof *v->joined);
    v->close_text = mem_zalloc(SCHEMA_CLOSE, 1);
    v->slot = mem_zalloc(n_slots, sizeof *v->slot);
    v->mask = mem_zalloc(n_slots * v->n_words, sizeof *v->mask);
    v->closing = mem_zalloc(CLOSE_SLOTS, sizeof *v->closing);
    if (!v->walk || !v->suffix_ok || !v->joined || !v->close_text || !v->slot || !v->mask ||
        !v->closing)
        return NOMEM(e, n_slots * row, "the cache of masks");
    for (size_t i = 0; i < CLOSE_SLOTS; i++)
        v->closing[i].tokens = -1;
    return 0;
}

static int vocab_alloc(size_t n, struct grammar_vocab **out, struct err *e)
{
    if (n < 1 || n > (1u << 24))
        FAIL(e, ERR_DATA, "vocabulary: %zu tokens; 1 to %u are supported", n, 1u << 24);
    struct grammar_vocab *v = mem_zalloc(1, sizeof *v);
    if (!v)
        return NOMEM(e, sizeof *v, "a vocabulary");
    v->n_vocab = (int32_t)n;
    v->n_words = grammar_words(n);
    v->token = mem_zalloc(n, sizeof *v->token);
    v->same = mem_zalloc(n, sizeof *v->same);
    v->end = mem_zalloc(v->n_words, sizeof *v->end);
    v->plain = mem_zalloc(PLAIN_BITSETS * v->n_words, sizeof *v->plain);
    if (!v->token || !v->same || !v->end || !v->plain) {
        grammar_vocab_close(v);
        return NOMEM(e, n * (sizeof *v->token + sizeof *v->same), "a vocabulary");
    }
    *out = v;
    return 0;
}

static void vocab_token(struct grammar_vocab *v, int32_t id, const char *s, size_t n, bool is_end)
{
    if (is_end) {
        grammar_bit(v->end, (size_t)id);
        v->has_end = true;
        n = 0;
    }
    v->token[id] = (struct vocab_piece){.s = (const unsigned char *)s, .n = n, .id = id};
}

static int vocab_build(struct grammar_vocab *v, struct grammar_vocab **out, struct err *e)
{
    int rc = build_tree(v, e);
    if (rc == 0)
        rc = build_strings(v, e);
    if (rc == 0)
        rc = build_scratch(v, e);
    if (rc < 0)
        grammar_vocab_close(v);
    else
        *out = v;
    return rc;
}

int grammar_vocab_open_tokens(size_t n, const char *const *bytes, const size_t *len,
                              const bool *is_end, struct grammar_vocab **out, struct err *e)
{
    struct grammar_vocab *v = NULL;
    TRY(vocab_alloc(n, &v, e));
    for (size_t i = 0; i < n; i++)
        vocab_token(v, (int32_t)i, bytes[i], len[i], is_end[i]);
    return vocab_build(v, out, e);
}

int grammar_vocab_open(const struct tokenizer *t, struct grammar_vocab **out, struct err *e)
{
    struct grammar_vocab *v = NULL;
    TRY(vocab_alloc((size_t)tokenizer_n_vocab(t), &v, e));
    for (int32_t id = 0; id < v->n_vocab; id++) {
        const char *s = "";
        size_t n = 0;
        if (!tokenizer_is_control(t, id))
            tokenizer_bytes(t, id, &s, &n);
        vocab_token(v, id, s, n, tokenizer_is_end(t, id));
    }
    return vocab_build(v, out, e);
}

void grammar_vocab_close(struct grammar_vocab *v)
{
    if (!v)
        return;
    for (enum quoted q = QUOTED_OPEN; q < QUOTED_END; q++) {
        mem_free(v->open[q].t);
        mem_free(v->close[q].t);
    }
    mem_free(v->closing);
    mem_free(v->mask);
    mem_free(v->slot);
    mem_free(v->close_text);
    mem_free(v->joined);
    mem_free(v->suffix_ok);
    mem_free(v->walk);
    vocab_trie_free(&v->suffix);
    vocab_trie_free(&v->trie);
    mem_free(v->plain);
    mem_free(v->end);
    mem_free(v->same);
    mem_free(v->token);
    mem_free(v);
}

void grammar_vocab_stats(const struct grammar_vocab *v, struct grammar_vocab_stats *out)
{
    *out = v->stats;
}

uint64_t grammar_key_hash(const struct cache_key *k)
{
    uint64_t h = rng_mix(k->grammar), word;
    const unsigned char *p = (const unsigned char *)&k->way;
    for (size_t n = machine_class_size(&k->way), i = 0; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        h = rng_mix(h ^ word);
    }
    return h;
}

bool grammar_key_equal(const struct cache_key *a, const struct cache_key *b)
{
    return a->grammar == b->grammar && a->way.depth == b->way.depth &&
           !memcmp(&a->way, &b->way, machine_class_size(&a->way));
}
