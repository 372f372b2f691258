#include "grammar.h"

#include "grammar_vocab.h"

static int compile(const char *schema, size_t n, const char *name, bool own, struct grammar **out,
                   struct err *e)
{
    struct grammar *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return NOMEM(e, sizeof *g, "a grammar");
    int rc = own ? schema_compile_own(schema, n, name, &g->sc, e)
                 : schema_compile(schema, n, name, &g->sc, e);
    if (rc < 0)
        mem_free(g);
    else
        *out = g;
    return rc;
}

int grammar_compile(const char *schema, size_t n, const char *name, struct grammar **out,
                    struct err *e)
{
    return compile(schema, n, name, false, out, e);
}

/* v0 is a scalar; v1 is a scalar, or a list or object of v0; and so on. */
int grammar_any_object(struct grammar **out, struct err *e)
{
    static const char pairs[] =
        "{\"type\": \"object\", \"x-pairs\": {\"type\": \"object\", \"x-pair\": true, "
        "\"properties\": {\"name\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 100}, "
        "\"value\": {\"$ref\": \"#/$defs/v%d\"}}}";
    static const char scalar[] = "{\"type\": [\"string\", \"number\", \"boolean\", \"null\"]}";
    struct str s = STR_INIT;
    str_addf(&s, pairs, GRAMMAR_OBJECT_DEPTH - 1);
    str_addf(&s, ", \"$defs\": {\"v0\": %s", scalar);
    for (int i = 1; i < GRAMMAR_OBJECT_DEPTH; i++) {
        str_addf(&s,
                 ", \"v%d\": {\"anyOf\": [%s, {\"type\": \"array\", \"items\": {\"$ref\": "
                 "\"#/$defs/v%d\"}}, ",
                 i, scalar, i - 1);
        str_addf(&s, pairs, i - 1);
        str_adds(&s, "}]}");
    }
    str_adds(&s, "}}");
    int rc = str_ok(&s, "a grammar", e);
    if (rc == 0)
        rc = compile(s.s, s.len, "any object", true, out, e);
    str_free(&s);
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
