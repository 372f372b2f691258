#include <string.h>

#include "check.h"
#include "grammar_vocab.h"

/* The closing text of s in text[0..SCHEMA_CLOSE); returns its length. */
static size_t close_bytes(const struct schema *sc, const struct grammar_state *s,
                          unsigned char *text)
{
    struct grammar_state at = *s;
    size_t n = 0;
    for (int b; (b = machine_close_byte(sc, &at)) >= 0;) {
        CHECK_MSG(n < SCHEMA_CLOSE, "a closing text beyond its bound");
        bool taken = machine_step(sc, &at, (unsigned char)b);
        CHECK_MSG(taken, "a closing byte that cannot follow");
        text[n++] = (unsigned char)b;
    }
    return n;
}

/* Does the schema allow another byte than b after s? */
static bool close_may_differ(const struct schema *sc, const struct grammar_state *s, int b)
{
    for (int other = 0; other < 256; other++) {
        struct grammar_state at = *s;
        if (other != b && machine_step(sc, &at, (unsigned char)other))
            return true;
    }
    return false;
}

size_t grammar_forced(const struct grammar *g, const struct grammar_state *s)
{
    struct grammar_state at = *s;
    size_t n = 0;
    for (int b; (b = machine_close_byte(&g->sc, &at)) >= 0 && !close_may_differ(&g->sc, &at, b); n++) {
        bool taken = machine_step(&g->sc, &at, (unsigned char)b);
        CHECK_MSG(taken, "a closing byte that cannot follow");
    }
    return n;
}

/* Cuts text into tokens by longest match; appends them to out unless that is NULL. */
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
    unsigned char *text = mem_zalloc(SCHEMA_CLOSE, 1);
    if (!text)
        return NOMEM(e, SCHEMA_CLOSE, "a closing text");
    size_t before = out->n;
    int rc = close_cut(v, text, close_bytes(&g->sc, s, text), out, e);
    if (rc < 0)
        out->n = before;
    mem_free(text);
    return rc < 0 ? rc : 0;
}

int grammar_close_tokens(struct grammar_vocab *v, const struct grammar *g,
                         const struct grammar_state *s)
{
    struct cache_key key = {.grammar = g->sc.hash};
    machine_close_class(&g->sc, s, &key.state);
    struct close_slot *slot = &v->closing[grammar_key_hash(&key) % CLOSE_SLOTS];
    if (slot->tokens >= 0 && grammar_key_equal(&slot->key, &key)) {
        v->stats.close_hits++;
        return slot->tokens;
    }
    v->stats.close_misses++;
    size_t n = close_bytes(&g->sc, s, v->close_text);
    int count = close_cut(v, v->close_text, n, NULL, NULL);
    if (count >= 0) {
        slot->key = key;
        slot->tokens = count;
    }
    return count;
}
