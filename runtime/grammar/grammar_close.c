#include <string.h>

#include "check.h"
#include "grammar_vocab.h"

/* Writes the closing text of one way to text[0..SCHEMA_CLOSE); returns its length. */
static size_t close_bytes(const struct schema *sc, const struct grammar_way *w, unsigned char *text)
{
    struct grammar_way at = *w;
    size_t n = 0;
    for (int b; (b = machine_close_byte(sc, &at)) >= 0;) {
        CHECK_MSG(n < SCHEMA_CLOSE, "a closing text beyond its bound");
        bool taken = machine_way_step(sc, &at, (unsigned char)b);
        CHECK_MSG(taken, "a closing byte that cannot follow");
        text[n++] = (unsigned char)b;
    }
    return n;
}

/* Advances `at` if the schema allows exactly one byte next; false: it allows several, or none. */
static bool close_forced_byte(const struct schema *sc, struct grammar_state *at)
{
    struct grammar_state probe, only;
    int allowed = 0;
    for (int b = 0; b < 256 && allowed < 2; b++) {
        machine_copy(&probe, at);
        if (machine_step(sc, &probe, (unsigned char)b) && allowed++ == 0)
            machine_copy(&only, &probe);
    }
    if (allowed == 1)
        machine_copy(at, &only);
    return allowed == 1;
}

size_t grammar_forced(const struct grammar *g, const struct grammar_state *s)
{
    struct grammar_state at;
    size_t n = 0;
    machine_copy(&at, s);
    while (!at.done && close_forced_byte(&g->sc, &at))
        n++;
    return n;
}

/* Cuts text into tokens by longest match. Appends them to out, unless out is NULL. */
static int close_cut(const struct grammar_vocab *v, const unsigned char *text, size_t n,
                     struct token_list *out, struct err *e)
{
    int count = 0;
    for (size_t i = 0, len = 0; i < n; i += len, count++) {
        int32_t id = vocab_trie_longest(&v->trie, text + i, n - i, &len);
        if (id < 0)
            FAIL(e, ERR_DATA, "the vocabulary has no token for byte 0x%02x of a closing text",
                 text[i]);
        if (out)
            TRY(token_list_push(out, id, e));
    }
    return count;
}

int grammar_close(const struct grammar_vocab *v, const struct grammar *g,
                  const struct grammar_state *s, struct token_list *out, struct err *e)
{
    unsigned char *text = mem_zalloc(SCHEMA_CLOSE, 2), *best = text, *other = text + SCHEMA_CLOSE;
    if (!text)
        return NOMEM(e, SCHEMA_CLOSE * (size_t)2, "a closing text");
    size_t before = out->n, n = close_bytes(&g->sc, &s->way[0], best);
    for (int i = 1; i < s->n; i++) {
        size_t m = close_bytes(&g->sc, &s->way[i], other);
        if (m < n) {
            unsigned char *was = best;
            best = other;
            other = was;
            n = m;
        }
    }
    int rc = close_cut(v, best, n, out, e);
    if (rc < 0)
        out->n = before;
    mem_free(text);
    return rc < 0 ? rc : 0;
}

/* Length of one way's closing text in bytes and in tokens, cached. ERR_DATA. */
static int close_length(struct grammar_vocab *v, const struct grammar *g,
                        const struct grammar_way *w, size_t *bytes, int *tokens)
{
    struct cache_key key = {.grammar = g->sc.hash};
    machine_close_class(&g->sc, w, &key.way);
    struct close_slot *slot = &v->closing[grammar_key_hash(&key) % CLOSE_SLOTS];
    if (slot->tokens >= 0 && grammar_key_equal(&slot->key, &key)) {
        v->stats.close_hits++;
    } else {
        v->stats.close_misses++;
        size_t n = close_bytes(&g->sc, w, v->close_text);
        int count = close_cut(v, v->close_text, n, NULL, NULL);
        if (count < 0)
            return count;
        slot->key = key;
        slot->bytes = n;
        slot->tokens = count;
    }
    *bytes = slot->bytes;
    *tokens = slot->tokens;
    return 0;
}

int grammar_close_tokens(struct grammar_vocab *v, const struct grammar *g,
                         const struct grammar_state *s)
{
    size_t best = SIZE_MAX, bytes;
    int least = 0, tokens;
    for (int i = 0; i < s->n && !s->done; i++) {
        TRY(close_length(v, g, &s->way[i], &bytes, &tokens));
        if (bytes < best) {
            best = bytes;
            least = tokens;
        }
    }
    return least;
}
