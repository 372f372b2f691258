#include "grammar.h"

#include "grammar_vocab.h"

int grammar_compile(const char *schema, size_t n, const char *name, struct grammar **out,
                    struct err *e)
{
    struct grammar *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return NOMEM(e, sizeof *g, "a grammar");
    int rc = schema_compile(schema, n, name, &g->sc, e);
    if (rc < 0)
        mem_free(g);
    else
        *out = g;
    return rc;
}

void grammar_free(struct grammar *g)
{
    if (g)
        schema_free(&g->sc);
    mem_free(g);
}

uint64_t grammar_id(const struct grammar *g)
{
    return g->sc.hash;
}

void grammar_start(const struct grammar *g, struct grammar_state *s)
{
    machine_start(&g->sc, s);
}

bool grammar_feed(const struct grammar *g, struct grammar_state *s, const char *bytes, size_t n)
{
    struct grammar_state next;
    machine_copy(&next, s);
    for (size_t i = 0; i < n; i++)
        if (!machine_step(&g->sc, &next, (unsigned char)bytes[i]))
            return false;
    machine_copy(s, &next);
    return true;
}
