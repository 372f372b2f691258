#include "catalog.h"

#include <string.h>

#include "config.h"
#include "embed.h"
#include "jdoc.h"
#include "sha256.h"
#include "zio.h"

#define CATALOG_BYTES ((size_t)1 << 20)
#define CATALOG_BUILT_IN "configs/specialties.yaml"

static const char *const kind_names[] = {"generalist", "medical", "surgical"};

const char *catalog_kind_name(enum catalog_kind k)
{
    return kind_names[k];
}

int catalog_find(const struct catalog *c, const char *id)
{
    for (int i = 0; i < c->n; i++)
        if (!strcmp(c->entry[i].id, id))
            return i;
    return -1;
}

int catalog_need(const struct catalog *c, const char *id, int *out, struct err *e)
{
    int at = catalog_find(c, id), near = -1, best = 6;
    if (at >= 0) {
        *out = at;
        return 0;
    }
    for (int i = 0; i < c->n; i++) {
        int d = str_distance(id, c->entry[i].id);
        if (d < best) {
            best = d;
            near = i;
        }
    }
    if (near < 0)
        FAIL(e, ERR_CONFIG, "no specialty '%.63s' in the catalogue of %d", id, c->n);
    FAIL(e, ERR_CONFIG, "no specialty '%.63s' in the catalogue of %d, did you mean '%s'", id, c->n,
         c->entry[near].id);
}

static bool catalog_id_ok(const char *id)
{
    size_t n = strlen(id);
    return n >= 1 && n <= 63 && id[0] >= 'a' && id[0] <= 'z' &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static int catalog_kind_of(const char *s, enum catalog_kind *out, struct err *e)
{
    for (int k = 0; k < 3; k++)
        if (!strcmp(s, kind_names[k])) {
            *out = (enum catalog_kind)k;
            return 0;
        }
    FAIL(e, ERR_CONFIG, "kind is '%.40s', expected generalist, medical or surgical", s);
}

/* A copy that lives as long as the catalogue; one line of text, 1..max bytes. */
static int catalog_text(struct catalog *c, const json_t *item, const char *key, size_t max,
                        const char **out, struct err *e)
{
    const char *s = NULL;
    TRY(jdoc_string(item, key, &s, e));
    size_t n = strlen(s);
    if (n < 1 || n > max)
        FAIL(e, ERR_CONFIG, "'%s' has %zu bytes, expected 1 to %zu", key, n, max);
    if (strpbrk(s, "\n\r\t"))
        FAIL(e, ERR_CONFIG, "'%s' must be one line of text", key);
    char *copy = arena_strndup(&c->arena, s, n);
    if (!copy)
        return NOMEM(e, n + 1, "the catalogue");
    *out = copy;
    return 0;
}

static int catalog_entry_read(struct catalog *c, const json_t *item, struct err *e)
{
    static const char *const keys[] = {"id", "name", "kind", "scope", NULL};
    struct catalog_entry *n = &c->entry[c->n];
    const char *kind = NULL;
    TRY(jdoc_string(item, "id", &n->id, e));
    TRY(jdoc_only(item, keys, e));
    if (!catalog_id_ok(n->id))
        FAIL(e, ERR_CONFIG, "id '%.70s' must be 1 to 63 of a-z, 0-9 and _, a letter first", n->id);
    if (catalog_find(c, n->id) >= 0)
        FAIL(e, ERR_CONFIG, "id '%s' appears twice", n->id);
    TRY(catalog_text(c, item, "id", 63, &n->id, e));
    TRY(catalog_text(c, item, "name", 80, &n->name, e));
    TRY(catalog_text(c, item, "scope", 400, &n->scope, e));
    TRY(jdoc_string(item, "kind", &kind, e));
    TRY(catalog_kind_of(kind, &n->kind, e));
    c->n_generalist += n->kind == CATALOG_GENERALIST;
    c->n++;
    return 0;
}

static int catalog_hash(struct catalog *c, struct err *e)
{
    struct str all = STR_INIT;
    for (int i = 0; i < c->n; i++) {
        const struct catalog_entry *n = &c->entry[i];
        str_addf(&all, "%s\t%s\t%s\t%s\n", n->id, n->name, catalog_kind_name(n->kind), n->scope);
    }
    int rc = str_ok(&all, "the catalogue's hash", e);
    if (!rc)
        rc = sha256_hex(all.s, all.len, c->hash, e);
    str_free(&all);
    return rc;
}

static int catalog_fill(struct catalog *c, const json_t *doc, struct err *e)
{
    static const char *const keys[] = {"specialties", NULL};
    json_t *list = NULL;
    TRY(jdoc_only(doc, keys, e));
    TRY(jdoc_array(doc, "specialties", 1, CATALOG_MAX, &list, e));
    for (size_t i = 0; i < json_array_size(list); i++) {
        int rc = catalog_entry_read(c, json_array_get(list, i), e);
        if (rc < 0)
            return err_wrap(e, rc, "specialty %zu", i + 1);
    }
    if (!c->n_generalist)
        FAIL(e, ERR_CONFIG, "no entry of kind generalist: triage needs at least one");
    return catalog_hash(c, e);
}

int catalog_parse(const char *text, size_t n, const char *name, struct catalog *out, struct err *e)
{
    struct catalog c = {.n = 0};
    struct str json = STR_INIT;
    json_t *doc = NULL;
    int rc;
    TRY_DONE(config_yaml_to_json(text, n, name, &json, e));
    rc = jdoc_load(json.s, json.len, &doc, e);
    if (!rc)
        rc = catalog_fill(&c, doc, e);
    if (rc < 0) {
        err_wrap(e, rc, "%s", name);
        if (rc != ERR_NOMEM) { /* a catalogue is configuration, whatever the code of its fault */
            rc = ERR_CONFIG;
            if (e)
                e->code = rc;
        }
        goto done;
    }
    *out = c;
    c.arena = (struct arena){.head = NULL};
done:
    arena_free(&c.arena);
    json_decref(doc);
    str_free(&json);
    return rc;
}

int catalog_read(const char *path, struct catalog *out, struct err *e)
{
    if (!path[0]) {
        const struct embed_file *f = embed_find(CATALOG_BUILT_IN);
        if (!f)
            FAIL(e, ERR_BUG, "%s is not built in", CATALOG_BUILT_IN);
        return catalog_parse(f->data, f->size, CATALOG_BUILT_IN, out, e);
    }
    struct str text = STR_INIT;
    int rc;
    TRY_DONE(zio_read(path, CATALOG_BYTES, &text, e));
    TRY_DONE(catalog_parse(text.s, text.len, path, out, e));
done:
    str_free(&text);
    return rc;
}

void catalog_free(struct catalog *c)
{
    arena_free(&c->arena);
    *c = (struct catalog){.n = 0};
}
